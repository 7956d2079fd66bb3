"""From spikes, channel beside channel, to stored groups, pixel beside pixel: the way out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from itertools import product
from typing import Any

from amaranth.hdl import Array as Choice
from amaranth.hdl import Cat, Const, Module, Mux, Signal, signed, unsigned
from amaranth.lib import data, stream
from amaranth.lib.wiring import Component, In, Out

from hdl.delay import later
from hdl.parameters import Parameters
from hdl.queue import Queue
from hdl.register import copy
from hdl.tables import CHUNK_BITS, COORDINATE_BITS, COUNT_BITS, address_bits


def data_bits(parameters: Parameters) -> int:
    """Width of a word's ``data``."""
    return max(parameters.word_bits, parameters.state_bits)


def word_layout(parameters: Parameters) -> data.StructLayout:
    """A word of a job's output.

    Fields:
        membrane: 1: ``data`` is the membrane of a readout's neuron, in two's complement in all its bits; 0: a group of
            P pixels of J events, as stored.
        channel, row, group: of the map.
        index: of a membrane its pixel in the group, of events their chunk of columns.
    """
    index = max(CHUNK_BITS, address_bits(parameters.pixels))
    return data.StructLayout(
        {
            "membrane": 1,
            "channel": unsigned(COUNT_BITS),
            "row": unsigned(COORDINATE_BITS - 1),
            "group": unsigned(COORDINATE_BITS - 1),
            "index": unsigned(index),
            "data": unsigned(data_bits(parameters)),
        }
    )


QUEUE = 8
"""Words that may wait to be taken."""
UNDER_WAY = 4
"""Words between the decision to send them and the queue's count of them."""


class Collector(Component):
    """Collects a chunk of columns of a tile, and sends it out, channel by channel.

    Channels move up: the word that is sent is always the first one's, and each channel takes over what the next one
    holds. So no word crosses the core on its way out, and a chunk that has been sent leaves silence behind.

    Ports:
        push: In(1): ``spikes`` are the next ones: C times 2 bits, all pixels of a column, then the next column.
            Columns that are missing in front, since the chunk before has been sent, are silent.
        emit: In(1): a pulse: send the chunk, what is pushed in this cycle included. show: In(1): a pulse: send
            ``membranes`` of the pixel ``place`` instead, as they are in the next cycle.
        sending: Out(1), from the cycle after such a pulse on: words are still to be chosen. Meanwhile there is no other
            pulse, and nothing is pushed.
        channel: In: the first of the C channels; row, group, index: In: of the tile; last: In(P): the pixels that exist
            in this tile's group. All and ``place`` are taken with the pulse.
        channels, rows: In: of the map; steady.
        words: Out, stream of ``word_layout``.
        busy: Out(1): a word has not been taken yet.

    A word is offered ``latency`` cycles after ``emit`` or ``show``, then one a cycle while they are taken; a word that
    is not in the map takes its cycle all the same.
    """

    latency = 6

    def __init__(self, parameters: Parameters) -> None:
        self.parameters = parameters
        coordinate = unsigned(COORDINATE_BITS - 1)
        super().__init__(
            {
                "push": In(1),
                "spikes": In(data.ArrayLayout(2, parameters.channels)),
                "emit": In(1),
                "show": In(1),
                "sending": Out(1),
                "membranes": In(data.ArrayLayout(signed(parameters.state_bits), parameters.channels)),
                "place": In(unsigned(address_bits(parameters.places))),
                "channel": In(unsigned(COUNT_BITS)),
                "channels": In(unsigned(COUNT_BITS)),
                "row": In(coordinate),
                "rows": In(coordinate),
                "group": In(coordinate),
                "index": In(unsigned(CHUNK_BITS)),
                "last": In(unsigned(parameters.pixels)),
                "words": Out(stream.Signature(word_layout(parameters))),
                "busy": Out(1),
            }
        )

    def model(self, tile: Mapping[str, int], spikes: Sequence[Sequence[int]]) -> list[dict[str, int]]:
        """The words of a chunk, in plain integers.

        Args:
            tile: ``channel``, ``channels``, ``row``, ``rows``, ``group``, ``index``, ``last``, as at the ports.
            spikes: of the pushes since the chunk before, J * R * P at most: C times -1, 0 or 1.
        """
        parameters = self.parameters
        places = parameters.places
        silent = [[0] * parameters.channels] * (places * parameters.columns - len(spikes))
        train = [*silent, *spikes]
        words = []
        for c, r in product(range(parameters.channels), range(parameters.rows)):
            packed = 0
            for pixel, column in product(range(parameters.pixels), range(parameters.columns)):
                spike = train[column * places + r * parameters.pixels + pixel][c]
                if tile["last"] >> pixel & 1:
                    packed |= (0, 1, 3)[spike] << 2 * (pixel * parameters.columns + column)
            words.append(self._word(tile, c, r) | {"membrane": 0, "index": tile["index"], "data": packed})
        return self._in_map(tile, words)

    def model_membranes(self, tile: Mapping[str, int], place: int, membranes: Sequence[int]) -> list[dict[str, int]]:
        """The words of the membranes of a pixel's C channels, in plain integers."""
        row, pixel = divmod(place, self.parameters.pixels)
        if not tile["last"] >> pixel & 1:
            return []
        words = [
            self._word(tile, c, row)
            | {"membrane": 1, "index": pixel, "data": membrane % (1 << data_bits(self.parameters))}
            for c, membrane in enumerate(membranes)
        ]
        return self._in_map(tile, words)

    def _word(self, tile: Mapping[str, int], channel: int, row: int) -> dict[str, int]:
        return {"channel": tile["channel"] + channel, "row": tile["row"] + row, "group": tile["group"]}

    def _in_map(self, tile: Mapping[str, int], words: list[dict[str, int]]) -> list[dict[str, int]]:
        return [word for word in words if word["channel"] < tile["channels"] and word["row"] < tile["rows"]]

    def elaborate(self, platform: Any) -> Module:
        m = Module()
        channels, rows = self.parameters.channels, self.parameters.rows
        pixels, columns = self.parameters.pixels, self.parameters.columns
        m.submodules.queue = queue = Queue(word_layout(self.parameters), QUEUE, UNDER_WAY)

        # What is sent, and of which tile.
        kept = ("row", "group", "index", "last", "place")
        tile = Signal(data.StructLayout({name: getattr(self, name).shape() for name in kept}))
        showing, sending, moves_on, advance = Signal(), Signal(), Signal(), Signal()
        channel, number, at_row = Signal.like(self.channel), Signal(range(channels + 1)), Signal(range(rows + 1))
        ends_channel = showing | (at_row == rows - 1) if rows > 1 else Const(1)
        m.d.comb += [moves_on.eq(sending & queue.room), advance.eq(moves_on & ends_channel)]
        with m.If(self.emit | self.show):
            m.d.sync += [sending.eq(1), showing.eq(self.show), channel.eq(self.channel)]
            m.d.sync += [getattr(tile, name).eq(getattr(self, name)) for name in kept]
        with m.If(moves_on):
            m.d.sync += at_row.eq(at_row + 1)
        with m.If(advance):
            m.d.sync += [at_row.eq(0), channel.eq(channel + 1), number.eq(number + 1)]
            with m.If(number == channels - 1):
                m.d.sync += [number.eq(0), sending.eq(0)]

        # The first channel's word a cycle later, which of the map it is, and the word as it waits to be taken.
        train, membrane = self._first(m, advance)
        moved, left = later(m, moves_on, 1, "moved"), Signal()
        at_channel = later(m, channel, channel.shape(), "at_channel")
        place_row, place_pixel = tile.place // pixels, tile.place % pixels
        chosen_row = later(m, at_row, at_row.shape(), "chosen_row")
        row = later(m, tile.row + Mux(showing, place_row, at_row), tile.row.shape(), "row")
        in_word = [2 * (j * rows * pixels + p) for p in range(pixels) for j in range(columns)]
        of_rows = [Cat(train[2 * r * pixels + bit :][:2] for bit in in_word) for r in range(rows)]
        word, existing = queue.word, Cat(tile.last[p].replicate(2 * columns) for p in range(pixels))
        found = later(m, Mux(showing, membrane, Choice(of_rows)[chosen_row]), word.data.shape(), "found")
        exists = Mux(showing, tile.last.bit_select(place_pixel, 1), 1)
        within = later(m, moved & (at_channel < self.channels) & (row < self.rows), 1, "within")
        m.d.sync += [
            left.eq(moved),
            queue.put.eq(within & exists),
            word.membrane.eq(showing),
            word.channel.eq(later(m, at_channel, channel.shape(), "word_channel")),
            word.row.eq(later(m, row, row.shape(), "word_row")),
            word.group.eq(tile.group),
            word.index.eq(Mux(showing, place_pixel, tile.index)),
            word.data.eq(Mux(showing, found, found & existing)),
        ]
        m.d.comb += [
            self.sending.eq(sending | moved | left),
            self.busy.eq(self.sending | queue.put | ~queue.empty),
            self.words.payload.eq(queue.words.payload),
            self.words.valid.eq(queue.words.valid),
            queue.words.ready.eq(self.words.ready),
        ]
        return m

    def _first(self, m: Module, advance: Signal) -> tuple[Signal, Signal]:
        """The first channel's spikes since the chunk before, and its membrane; two cycles after ``advance`` the next's.

        Each channel listens to a copy of its own: wires, not logic, limit the clock.
        """
        parameters = self.parameters
        spikes = Signal(2 * parameters.places * parameters.columns)
        membrane = Signal(signed(parameters.state_bits))
        own = partial(copy, m, device=parameters.device, reset=True)
        for c in reversed(range(parameters.channels)):
            pushed = own(Cat(self.push | advance, self.push, self.spikes[c]), name=f"pushed_{c}")
            shown = own(Cat(self.show | advance, self.show), name=f"shown_{c}")
            after_spikes, after_membrane = spikes, membrane
            spikes, membrane = Signal.like(spikes, name=f"train_{c}"), Signal.like(membrane, name=f"membrane_{c}")
            with m.If(pushed[0]):
                m.d.sync += spikes.eq(Mux(pushed[1], Cat(spikes[2:], pushed[2:]), after_spikes))
            with m.If(shown[0]):
                m.d.sync += membrane.eq(Mux(shown[1], self.membranes[c], after_membrane))
        return spikes, membrane
