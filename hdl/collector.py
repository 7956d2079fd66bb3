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
from hdl.register import copy
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


NEIGHBOURS = 4
"""Channels among which a word is chosen at first: wires, not logic, limit the clock."""


class Collector(Component):
    """Collects a chunk of columns of a tile, and sends it out, channel by channel.

    Ports:
        push: In(1): ``spikes`` are the next ones: C times 2 bits, all pixels of a column, then the next column.
        clear: In(1): forget; missing columns in front are silent.
        emit: In(1): a pulse: send the chunk, what is pushed in this cycle included. show: In(1): a pulse: send
            ``membranes`` of the pixel ``place`` instead, as they are from the next cycle on. Both stay meanwhile.
        sending: Out(1), from the cycle after such a pulse on: words are still to be chosen. Meanwhile there is no other
            pulse, and nothing is pushed or cleared.
        channel: In: the first of the C channels; row, group, index: In: of the tile; last: In(P): the pixels that exist
            in this tile's group. Taken with the pulse.
        channels, rows: In: of the map; steady.
        words: Out, stream of ``word_layout``.
        busy: Out(1): a word has not been taken yet.

    A word is offered ``latency`` cycles after ``emit`` or ``show``, then one a cycle while they are taken; a word that
    is not in the map takes its cycle all the same.
    """

    latency = 5

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
        for c, train in enumerate(trains):
            # A copy for each channel: wires, not the trains, limit the clock.
            pushed = copy(m, Cat(self.spikes[c], self.push, self.clear), parameters.device, f"pushed_{c}", reset=True)
            with m.If(pushed[3]):
                m.d.sync += train.eq(0)
            with m.Elif(pushed[2]):
                m.d.sync += train.eq(Cat(train[2:], pushed[:2]))

        # What is sent, and of which tile. What is left of the map is known when the first word is chosen.
        tile = Signal(
            data.StructLayout(
                {name: getattr(self, name).shape() for name in ("channel", "row", "group", "index", "last")}
            )
        )
        started, showing, sending, leaving = Signal(), Signal(), Signal(), Signal(2)
        channels_left, rows_left = Signal(COUNT_BITS), Signal(COORDINATE_BITS - 1)
        m.d.sync += [
            started.eq(self.emit | self.show),
            channels_left.eq(self.channels - tile.channel),
            rows_left.eq(self.rows - tile.row),
        ]
        with m.If(self.emit | self.show):
            m.d.sync += [
                showing.eq(self.show),
                *(getattr(tile, name).eq(getattr(self, name)) for name in ("channel", "row", "group", "index", "last")),
            ]
        with m.If(started):
            m.d.sync += sending.eq(1)
        m.d.comb += self.sending.eq(started | sending | leaving.any())

        # A word is chosen among neighbouring channels first, then among those, then it is offered.
        at_channel = Signal(range(max(channels, 2)))
        at_row = Signal(range(max(rows, 2)))
        free, last = Signal(), Signal()
        m.d.comb += [
            free.eq(~self.words.valid | self.words.ready),
            last.eq((at_channel == channels - 1) & (showing | (at_row == rows - 1))),
        ]
        with m.If(free & sending):
            m.d.sync += at_row.eq(at_row + 1)
            with m.If(showing | (at_row == rows - 1)):
                m.d.sync += [at_row.eq(0), at_channel.eq(at_channel + 1)]
            with m.If(last):
                m.d.sync += [at_channel.eq(0), sending.eq(0)]

        def held(value: Any, shape: Any, name: str) -> Any:
            register = Signal(shape, name=name)
            with m.If(free):
                m.d.sync += register.eq(value)
            return register

        place_row, place_pixel = self.place // pixels, self.place % pixels
        row = Mux(showing, place_row, at_row)
        in_word = [2 * (j * places + p) for p in range(pixels) for j in range(columns)]
        words = [
            Choice([Cat(train[2 * r * pixels + bit :][:2] for bit in in_word) for r in range(rows)])[at_row]
            for train in trains
        ]
        word: dict[str, Any] = {
            "leaving": sending,
            "within": sending & (at_channel < channels_left) & (row < rows_left),
            "exists": ~showing | tile.last.bit_select(place_pixel, 1),
            "channel": tile.channel + at_channel,
            "row": tile.row + row,
        }
        shapes = {"leaving": 1, "within": 1, "exists": 1, "channel": unsigned(COUNT_BITS), "row": self.row.shape()}
        for stage in (1, 2):
            word = {name: held(value, shapes[name], f"{name}_{stage}") for name, value in word.items()}
            m.d.comb += leaving[stage - 1].eq(word["leaving"])
        block = held(at_channel // NEIGHBOURS, range(max(-(-channels // NEIGHBOURS), 2)), "block")

        def chosen(values: list[Any], shape: Any, name: str) -> Any:
            """Of all channels' values the one at hand, two stages later."""
            near = [
                held(Choice(values[first : first + NEIGHBOURS])[at_channel % NEIGHBOURS], shape, f"{name}_{first}")
                for first in range(0, channels, NEIGHBOURS)
            ]
            return held(Choice(near)[block], shape, name)

        events = chosen(words, parameters.word_bits, "events")
        membrane = chosen([self.membranes[c] for c in range(channels)], parameters.state_bits, "membrane")
        existing = Cat(tile.last[p].replicate(2 * columns) for p in range(pixels))
        payload = self.words.payload
        with m.If(free):
            m.d.sync += [
                self.words.valid.eq(word["within"] & word["exists"]),
                payload.membrane.eq(showing),
                payload.channel.eq(word["channel"]),
                payload.row.eq(word["row"]),
                payload.group.eq(tile.group),
                payload.index.eq(Mux(showing, place_pixel, tile.index)),
                payload.data.eq(Mux(showing, membrane, events & existing)),
            ]
        m.d.comb += self.busy.eq(self.sending | self.words.valid)
        return m
