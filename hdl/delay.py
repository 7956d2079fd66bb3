"""What pipelines are made of: registers in a row, and sums in one chain of adders."""

from __future__ import annotations

from typing import Any

from amaranth.hdl import Cat, Const, Module, Signal


def later(m: Module, value: Any, shape: Any, name: str, cycles: int = 1) -> Any:
    """``value``, ``cycles`` cycles later.

    Args:
        value: a value, or a view of ``shape``.
        name: of the registers; those of several cycles are counted from 1.
    """
    for cycle in range(cycles):
        register = Signal(shape, name=name if cycles == 1 else f"{name}_{cycle + 1}")
        m.d.sync += register.eq(value)
        value = register
    return value


def at_last(m: Module, counter: Any, number: Any, name: str) -> Any:
    """Whether a counter from 0 is at the last of ``number``, from two cycles after a change on.

    ``counter == number - 1``, in two steps: both change long before it matters.
    """
    return later(m, counter == later(m, number - 1, counter.shape(), f"{name}_last"), 1, name)


def carried(one: Any, other: Any, carry: Any) -> Any:
    """``one + other + carry`` in a single chain of adders: the carry goes in below the least significant bit."""

    def below(bit: Any, value: Any) -> Any:
        wide = Cat(bit, value)
        return wide.as_signed() if value.shape().signed else wide

    return (below(Const(1, 1), one) + below(carry, other)) >> 1
