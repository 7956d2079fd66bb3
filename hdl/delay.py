"""What pipelines are made of: registers in a row, and sums and comparisons in one chain of adders."""

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


def less(one: Any, other: Any) -> Any:
    """``one < other``, signed, by the sign of a difference: a carry that leaves its chain takes longer."""
    return (one - other)[-1]


def exceeds(gate: Any, one: Any, other: Any, *, equal: bool = False) -> Any:
    """``gate & (one > other)``, or ``>=`` with ``equal``, of signed values of equal widths, all in one chain of adders.

    ``one + ~other`` carries if ``one`` is greater (sign bits inverted, to compare as unsigned). The carry goes through
    ``gate + 0``, which passes it on if there is a gate, and is the sum of two zeros after that.
    """
    assert len(one) == len(other), (len(one), len(other))
    carry = Const(equal, 1)
    one, other = Cat(one[:-1], ~one[-1]), ~Cat(other[:-1], ~other[-1])
    return (Cat(carry, one, gate) + Cat(carry, other))[len(one) + 2]
