"""Memories of the core."""

from __future__ import annotations

from typing import Any

from amaranth.lib import memory


def ram(shape: Any, depth: int, **attributes: Any) -> memory.Memory:
    """A memory; what is read in the very cycle in which its address is written is never used.

    Synthesis is told so: otherwise it puts a comparison of the addresses and a bypass behind a block RAM, which is slow
    enough as it is.
    """
    return memory.Memory(shape=shape, depth=depth, init=[], attrs={"no_rw_check": 1, **attributes})
