"""Memories of the core."""

from __future__ import annotations

from typing import Any

from amaranth.hdl import Module, Signal
from amaranth.lib import memory

from hdl.delay import later


def ram(shape: Any, depth: int, **attributes: Any) -> memory.Memory:
    """A memory; what is read in the very cycle in which its address is written is never used.

    Synthesis is told so: otherwise it puts a comparison of the addresses and a bypass behind a block RAM, which is slow
    enough as it is.
    """
    return memory.Memory(shape=shape, depth=depth, init=[], attrs={"no_rw_check": 1, **attributes})


def registered(m: Module, port: Any, shape: Any, name: str, cycles: int = 1) -> Any:
    """What a memory's port reads, ``cycles`` cycles later.

    The first register has no reset: it becomes the block RAM's own, which makes the memory fast
    (``hdl/implementation.py``, and vendors' tools). The others may lie far away.
    """
    first = Signal(shape, name=f"{name}_read", reset_less=True)
    m.d.sync += first.eq(port.data)
    return later(m, first, shape, name, cycles - 1)
