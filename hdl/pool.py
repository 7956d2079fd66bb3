"""The max-pool unit: running sums of the sources of each pixel, their maximum, and its increments."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any

from amaranth.hdl import Array as Choice
from amaranth.hdl import Cat, Module, Mux, Signal, signed, unsigned
from amaranth.lib import data, stream
from amaranth.lib.wiring import Component, In, Out

from hdl.collector import word_layout
from hdl.delay import at_last, exceeds, later
from hdl.parameters import Parameters
from hdl.ram import ram, registered
from hdl.register import copy
from hdl.sequencer import mark_layout
from hdl.tables import COUNT_BITS, address_bits, job_layout


class Pool(Component):
    """Max-pooling of ternary events (docs/numerics.md): sends ``max P(t) - k max P(t-1)``, P(t) = k P(t-1) + s(t).

    Each of the R * P pixels of a tile has a unit for its J columns. An operation brings one cell of every pixel's
    window; the running sums at the end of a chunk wait in a memory, one word a cell, for the next chunk.

    Ports:
        job: In, ``job_layout``.
        begin: In(1): a pulse: a job begins.
        operation: In(1): the next cell of the windows is there, in ``enable``, ``negative``, ``inside`` (as in
            ``operation_layout``).
        ends: In(1): the pass that ``mark`` tells has ended; no operation follows for ``pause`` cycles.
        room: Out(1): a pass may end.
        words: Out, stream of ``word_layout``. busy: Out(1): from ``begin`` of a max-pool until its last word is taken.
    """

    def __init__(self, parameters: Parameters) -> None:
        self.parameters = parameters
        events = parameters.places * parameters.columns
        super().__init__(
            {
                "job": In(job_layout(parameters)),
                "begin": In(1),
                "operation": In(1),
                "enable": In(events),
                "negative": In(events),
                "inside": In(parameters.places),
                "ends": In(1),
                "mark": In(mark_layout()),
                "room": Out(1),
                "words": Out(stream.Signature(word_layout(parameters))),
                "busy": Out(1),
            }
        )

    @staticmethod
    def pause(parameters: Parameters) -> int:
        """Cycles without operations that a pass's end needs, for the sums to be where the next chunk looks."""
        return parameters.columns + 6

    def model(self, cells: Sequence[Sequence[int] | None], double: bool) -> list[int]:
        """One pixel in plain integers: the events sent, for the events of each cell (None: ignored)."""
        base = 2 if double else 1
        sums: list[list[int]] = []
        for cell in cells:
            if cell is not None:
                running, total = [], 0
                for event in cell:
                    total = base * total + event
                    running.append(total)
                sums.append(running)
        largest = [max(step) for step in zip(*sums, strict=True)]
        return [now - base * before for now, before in zip(largest, [0, *largest], strict=False)]

    def elaborate(self, platform: Any) -> Module:
        m = Module()
        parameters, job = self.parameters, self.job
        rows, pixels, columns, places = parameters.rows, parameters.pixels, parameters.columns, parameters.places
        width = parameters.count_bits
        number = signed(width)

        # Cells: their sums so far are read when they come, and written when the last column has been added.
        m.submodules.sums = sums = ram(data.ArrayLayout(number, places), parameters.taps)
        read, write = sums.read_port(), sums.write_port()
        cell, fresh = Signal(address_bits(parameters.taps)), Signal()
        m.d.comb += read.addr.eq(cell)
        with m.If(self.operation):
            m.d.sync += cell.eq(cell + 1)
        with m.If(self.ends | self.begin):
            m.d.sync += cell.eq(0)

        late = partial(later, m)

        shape = unsigned(places * columns)
        valid, address = late(self.operation, 1, "valid_read"), late(cell, cell.shape(), "address_read")
        valid, address = late(valid, 1, "valid_0", 2), late(address, cell.shape(), "address_0", 2)
        enable = late(self.enable, shape, "enable_0", 3)
        negative = late(self.negative, shape, "negative_0", 3)
        # A pixel's sum counts where there is an operation and the cell is inside the map.
        counts = late(self.inside & self.operation.replicate(places), places, "counts_0", 3)
        found = registered(m, read, data.ArrayLayout(number, places), "found")
        running: list[Any] = [late(Mux(fresh, 0, found[place]), number, f"so_far_{place}") for place in range(places)]
        least = -1 << width - 1
        largest = [
            [Signal(number, name=f"largest_{place}_{j}", init=least) for j in range(columns)] for place in range(places)
        ]
        empties = Signal()
        # All units read what a job says; each has a copy of its own, long before it matters.
        doubles = [copy(m, job.double, parameters.device, f"double_{place}") for place in range(places)]
        emptied = [copy(m, empties, parameters.device, f"emptied_{place}", reset=True) for place in range(places)]
        for j in range(columns):
            for place in range(places):
                at = place * columns + j
                event = Mux(enable[at], Mux(negative[at], -1, 1), 0)
                running[place] = late(
                    Mux(doubles[place], running[place] << 1, running[place]) + event, number, f"running_{place}_{j}"
                )
            valid, address = late(valid, 1, f"valid_{j + 1}"), late(address, cell.shape(), f"address_{j + 1}")
            enable, negative = late(enable, shape, f"enable_{j + 1}"), late(negative, shape, f"negative_{j + 1}")
            counts = late(counts, places, f"counts_{j + 1}")
            for place in range(places):
                # Nothing is less than what a window begins with.
                with m.If(emptied[place]):
                    m.d.sync += largest[place][j].eq(least)
                with m.Elif(exceeds(counts[place], running[place], largest[place][j])):
                    m.d.sync += largest[place][j].eq(running[place])
        m.d.comb += [
            write.en.eq(valid),
            write.addr.eq(address),
            *(write.data[place].eq(running[place]) for place in range(places)),
        ]

        # The end of a pass: what the maxima gained leaves, a word a row.
        ending = Signal(range(self.pause(parameters) + 1))
        mark = Signal(mark_layout())
        held = [Signal(number, name=f"held_{place}") for place in range(places)]
        word = Signal(data.ArrayLayout(unsigned(parameters.word_bits), rows))
        left, sent = Signal(range(rows + 1)), Signal()
        channel = Signal(COUNT_BITS)
        tile_row, tile_column = Signal.like(job.tile_rows), Signal.like(job.tile_columns)
        row, chunk = Signal.like(job.rows), Signal(6)
        # What is compared changes some cycles before it matters: its comparison waits in a register.
        ends_row = at_last(m, tile_column, job.tile_columns, "ends_row")
        ends_map = at_last(m, tile_row, job.tile_rows, "ends_map")
        ends_job = at_last(m, channel, job.channels, "ends_job")
        ends_channel, within = Signal(), Signal(rows)
        m.d.sync += [
            ends_channel.eq(ends_row & ends_map),
            within.eq(Cat(row + r < job.rows for r in range(rows))),
            self.room.eq((left == 0) & (ending == 0) & ~self.ends),
        ]
        with m.If(self.begin):
            m.d.sync += self.busy.eq(job.pooling)
            m.d.sync += [fresh.eq(1), channel.eq(0)]
        with m.If(self.ends):
            m.d.sync += [ending.eq(columns + 4), mark.eq(self.mark)]
        with m.Elif(ending != 0):
            m.d.sync += ending.eq(ending - 1)
        m.d.comb += empties.eq(ending == 2)
        with m.If(later(m, empties, 1, "emptied")):
            for place in range(places):
                before: Any = Mux(mark.first, 0, held[place])
                for j in range(columns):
                    now = largest[place][j]
                    gain = Signal(signed(2), name=f"gain_{place}_{j}")
                    m.d.comb += gain.eq(now - Mux(doubles[place], before << 1, before))
                    exists = ~ends_row | job.last[place % pixels]
                    at = 2 * ((place % pixels) * columns + j)
                    m.d.sync += word[place // pixels][at : at + 2].eq(Cat(gain[0] & exists, gain[1] & exists))
                    before = now
                m.d.sync += held[place].eq(before)
            m.d.sync += [left.eq(rows), fresh.eq(mark.last)]
        payload = self.words.payload
        at_row = (rows - left)[: max((rows - 1).bit_length(), 1)]
        m.d.comb += [
            payload.channel.eq(channel),
            payload.row.eq(row + at_row),
            payload.group.eq(tile_column),
            payload.index.eq(chunk),
            payload.data.eq(Choice([word[r] for r in range(rows)])[at_row]),
            self.words.valid.eq((left != 0) & within.bit_select(at_row, 1)),
        ]
        m.d.sync += sent.eq(0)
        with m.If((left != 0) & (self.words.ready | ~self.words.valid)):
            m.d.sync += [left.eq(left - 1), sent.eq(left == 1)]
        with m.If(sent):
            m.d.sync += chunk.eq(chunk + 1)
            with m.If(mark.end):
                m.d.sync += [chunk.eq(0), tile_column.eq(tile_column + 1)]
                with m.If(ends_row):
                    m.d.sync += [tile_column.eq(0), tile_row.eq(tile_row + 1), row.eq(row + rows)]
                with m.If(ends_channel):
                    m.d.sync += [tile_row.eq(0), row.eq(0), channel.eq(channel + 1)]
                    with m.If(ends_job):
                        m.d.sync += self.busy.eq(0)
        return m
