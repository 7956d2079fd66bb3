"""From spikes, channel beside channel, to stored groups, pixel beside pixel: the way out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import product
from typing import Any

from amaranth.hdl import Array as Choice
from amaranth.hdl import Cat, Module, Mux, Signal, signed, unsigned
from amaranth.lib import data, stream
from amaranth.lib.wiring import Component, In, Out

from hdl.parameters import Parameters
from hdl.tables import CHUNK_BITS, COORDINATE_BITS, COUNT_BITS, address_bits


def word_layout(parameters: Parameters) -> data.StructLayout:
    """A word of a job's output.

    Fields:
        membrane: 1: ``data`` is the membrane of a readout's neuron; 0: a group of P pixels of J events, as stored.
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
            "data": unsigned(max(parameters.word_bits, parameters.state_bits)),
        }
    )


class Collector(Component):
    """Collects a chunk of columns of a tile, and sends it out, channel by channel.

    Ports:
        push: In(1): ``spikes`` are the next ones: C times 2 bits, all pixels of a column, then the next column.
        clear: In(1): forget; missing columns in front are silent.
        emit: In(1): send the chunk; show: In(1): send ``membranes`` of the pixel ``place`` instead. Held until
            ``emitted``: Out(1), the last word is on its way.
        channel: In: the first of the C channels; channels: In: of the map. row, group, index: In: of the tile.
        rows: In: of the map. last: In(P): the pixels that exist in this tile's group. Channels and rows are there a
            cycle before ``emit`` or ``show``.
        words: Out, stream of ``word_layout``.
        busy: Out(1): a word has not been taken yet.

    A word is offered the cycle after ``emit`` or ``show``, then one a cycle while they are taken; a word that is not in
    the map takes its cycle all the same.
    """

    def __init__(self, parameters: Parameters) -> None:
        self.parameters = parameters
        coordinate = unsigned(COORDINATE_BITS - 1)
        super().__init__(
            {
                "push": In(1),
                "spikes": In(data.ArrayLayout(2, parameters.channels)),
                "clear": In(1),
                "emit": In(1),
                "show": In(1),
                "emitted": Out(1),
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
            spikes: of the last pushes since ``clear``, J * R * P at most: C times -1, 0 or 1.
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
            | {"membrane": 1, "index": pixel, "data": membrane % (1 << self.parameters.state_bits)}
            for c, membrane in enumerate(membranes)
        ]
        return self._in_map(tile, words)

    def _word(self, tile: Mapping[str, int], channel: int, row: int) -> dict[str, int]:
        return {"channel": tile["channel"] + channel, "row": tile["row"] + row, "group": tile["group"]}

    def _in_map(self, tile: Mapping[str, int], words: list[dict[str, int]]) -> list[dict[str, int]]:
        return [word for word in words if word["channel"] < tile["channels"] and word["row"] < tile["rows"]]

    def elaborate(self, platform: Any) -> Module:
        m = Module()
        parameters = self.parameters
        channels, rows, pixels = parameters.channels, parameters.rows, parameters.pixels
        columns, places = parameters.columns, parameters.places
        trains = [Signal(2 * places * columns, name=f"train_{c}") for c in range(channels)]
        with m.If(self.clear):
            m.d.sync += [train.eq(0) for train in trains]
        with m.Elif(self.push):
            m.d.sync += [train.eq(Cat(train[2:], self.spikes[c])) for c, train in enumerate(trains)]

        payload = self.words.payload
        at_channel = Signal(range(max(channels, 2)))
        at_row = Signal(range(max(rows, 2)))
        place_row = Signal(range(max(rows, 2)))
        place_pixel = Signal(range(max(pixels, 2)))
        m.d.comb += [place_row.eq(self.place // pixels), place_pixel.eq(self.place % pixels)]
        channel, row = Signal(COUNT_BITS), Signal(COORDINATE_BITS - 1)
        exists, last = Signal(), Signal()
        # What is left of the map is known long before words leave: a short comparison in time.
        channels_left, rows_left = Signal(COUNT_BITS, name="channels_left"), Signal(COORDINATE_BITS, name="rows_left")
        m.d.sync += [channels_left.eq(self.channels - self.channel), rows_left.eq(self.rows - self.row)]
        row_within = Mux(self.show, place_row, at_row)
        alive = Signal()
        m.d.comb += [
            channel.eq(self.channel + at_channel),
            row.eq(self.row + row_within),
            alive.eq(~self.show | self.last.bit_select(place_pixel, 1)),
            exists.eq((at_channel < channels_left) & (row_within < rows_left) & alive),
            last.eq((at_channel == channels - 1) & (self.show | (at_row == rows - 1))),
        ]
        words = []
        for c in range(channels):
            for r in range(rows):
                bits = []
                for p in range(pixels):
                    for j in range(columns):
                        at = 2 * (j * places + r * pixels + p)
                        bits.append(trains[c][at : at + 2] & self.last[p].replicate(2))
                words.append(Cat(*bits))
        chosen = Choice(words)[at_channel * rows + at_row]
        membrane = Choice([self.membranes[c] for c in range(channels)])[at_channel]
        free = Signal()
        m.d.comb += [free.eq(~self.words.valid | self.words.ready), self.busy.eq(self.words.valid)]
        with m.If(self.words.ready):
            m.d.sync += self.words.valid.eq(0)
        with m.If((self.emit | self.show) & free):
            m.d.sync += [
                self.words.valid.eq(exists),
                payload.membrane.eq(self.show),
                payload.channel.eq(channel),
                payload.row.eq(row),
                payload.group.eq(self.group),
                payload.index.eq(Mux(self.show, place_pixel, self.index)),
                payload.data.eq(Mux(self.show, membrane, chosen)),
            ]
            m.d.comb += self.emitted.eq(last)
            m.d.sync += at_row.eq(at_row + 1)
            with m.If(self.show | (at_row == rows - 1)):
                m.d.sync += [at_row.eq(0), at_channel.eq(Mux(last, 0, at_channel + 1))]
        return m
