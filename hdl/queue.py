"""A queue for words that are already under way: whoever sends them asks for room beforehand."""

from __future__ import annotations

from typing import Any

from amaranth.hdl import Module, Mux, Signal, Value
from amaranth.lib import memory, stream
from amaranth.lib.wiring import Component, In, Out


class Queue(Component):
    """First in, first out, and a register at the way out. Nothing is asked in the cycle in which it is needed.

    Args:
        shape: of a word.
        depth: words that wait, besides the one that is offered.
        late: words that may still be put once ``room`` is 0: those under way, and one for ``room`` being a register.

    Ports:
        put: In(1): ``word`` comes in; never more than there is room for.
        words: Out, stream of the shape. A word is offered two cycles after it was put.
        room: Out(1): ``late`` words and this one would fit; as it was a cycle ago.
        empty: Out(1): no word waits or is offered.
    """

    def __init__(self, shape: Any, depth: int, late: int = 0) -> None:
        self.depth, self.late = depth, late
        super().__init__(
            {
                "put": In(1),
                "word": In(shape),
                "words": Out(stream.Signature(shape)),
                "room": Out(1, init=1),
                "empty": Out(1),
            }
        )

    def elaborate(self, platform: Any) -> Module:
        m = Module()
        shape = self.signature.members["word"].shape
        m.submodules.storage = storage = memory.Memory(shape=shape, depth=self.depth, init=[])
        write, read = storage.write_port(), storage.read_port(domain="comb")
        waiting, several, takes = Signal(), Signal(), Signal()
        level, following = Signal(range(self.depth + 1)), Signal(range(self.depth + 2))
        m.d.comb += [
            write.en.eq(self.put),
            write.data.eq(self.word),
            takes.eq(waiting & (~self.words.valid | self.words.ready)),
            following.eq(level + self.put - takes),
            self.empty.eq(~waiting & ~self.words.valid),
        ]
        m.d.sync += [
            level.eq(following),
            # Two flags rather than a comparison of the level: the first one waits for nobody but the receiver.
            waiting.eq(self.put | several | (waiting & ~takes)),
            several.eq(following > 1),
            self.room.eq(level + self.late < self.depth),
        ]
        with m.If(self.put):
            m.d.sync += write.addr.eq(self._after(write.addr))
        with m.If(takes):
            m.d.sync += [Value.cast(self.words.payload).eq(Value.cast(read.data)), read.addr.eq(self._after(read.addr))]
        with m.If(self.words.ready | takes):
            m.d.sync += self.words.valid.eq(takes)
        return m

    def _after(self, address: Any) -> Any:
        return Mux(address == self.depth - 1, 0, address + 1)
