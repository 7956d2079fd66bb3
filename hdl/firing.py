"""When neurons take in and fire: what the lanes left of each tile, as beats for the neurons."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, TypeAlias

from amaranth.hdl import Module, Mux, Signal, unsigned
from amaranth.lib import fifo
from amaranth.lib.wiring import Component, In, Out

from hdl.bank import HALVES
from hdl.neuron import Constant, Fire, beat_layout, latency, revisit
from hdl.parameters import Parameters
from hdl.sequencer import mark_layout
from hdl.tables import CHUNK_BITS, COORDINATE_BITS, STEP_BITS, address_bits, job_layout

Action: TypeAlias = tuple[str, dict[str, int]]
"""What is done to a tile, by the name of a port, and its fields."""


class Firing(Component):
    """Tells the neurons what to do with the tiles that the lanes leave.

    A **sweep** is one beat for every pixel of the tile. It takes R * P cycles, or as many as a neuron needs between two
    beats. Static input takes a sweep a chunk of bit-planes; accumulating, a sweep a chunk of columns; firing, a sweep a
    time-step.

    Ports:
        job: In, ``job_layout``.
        begin: In(1): a pulse: the constants of a block are there, tiles will follow.
        idle: Out(1): all tiles of the block are done.
        marked, mark: In: a pass will leave sums; never more than ``HALVES`` ahead.
        filled: In(1): a pulse: they are all there.
        released: Out(1): a pulse: they are not needed any more.
        beat: Out, ``beat_layout``; place, half: Out.
        push: Out(1): ``Neuron.latency`` cycles after a beat that belongs to a train (also an empty one).
        clear: Out(1): a new tile: the trains are empty.
        emit: Out(1): a chunk of columns is complete; show: Out(1): membranes of ``place`` are ready. Both hold until
            ``emitted``: In(1), a pulse.
        row, group, index: Out: of the tile: its first row, its group; of the words: the chunk.
    """

    def __init__(self, parameters: Parameters) -> None:
        self.parameters = parameters
        self.latency = latency(parameters)
        self.span = max(parameters.places, revisit(parameters))
        super().__init__(
            {
                "job": In(job_layout(parameters)),
                "begin": In(1),
                "idle": Out(1),
                "marked": In(1),
                "mark": In(mark_layout()),
                "filled": In(1),
                "released": Out(1),
                "beat": Out(beat_layout(parameters)),
                "place": Out(unsigned(address_bits(parameters.places))),
                "half": Out(1),
                "push": Out(1),
                "clear": Out(1),
                "emit": Out(1),
                "show": Out(1),
                "emitted": In(1),
                "row": Out(unsigned(COORDINATE_BITS - 1)),
                "group": Out(unsigned(COORDINATE_BITS - 1)),
                "index": Out(unsigned(CHUNK_BITS)),
            }
        )

    def model(self, job: Mapping[str, Any], marks: Sequence[Mapping[str, int]]) -> list[Action]:
        """A tile in plain integers.

        Args:
            job: fields of ``job_layout``.
            marks: the tile's, fields of ``mark_layout``.

        Returns:
            in order: ``beat`` with its ``place`` and the fields that are not 0; ``push``; ``released``; ``emit`` with
            ``index``; ``show`` with ``place``. A push is counted with its beat.
        """
        columns, places = self.parameters.columns, self.parameters.places
        whole = (1 << columns) - 1
        constants: Any = Constant
        _, bias, static, initial = (constant.value for constant in constants)
        actions: list[Action] = []

        def sweep(at_first: Mapping[str, int] | None = None, **fields: int) -> None:
            for place in range(places):
                beat = fields | dict(at_first or {}) if place == 0 else fields
                found = {name: int(value) for name, value in beat.items() if value}
                actions.append(("beat", {"place": place} | found))

        released: Action = ("released", {})
        again = 0
        for mark in (mark for mark in marks if mark["static"]):
            sweep(
                mask=whole,
                double=1,
                keep=not mark["first"],
                commit=mark["last"],
                again=again,
                shifted=mark["shifted"],
            )
            actions.append(released)
            again |= mark["last"]
        additional = static if job["static"] else bias
        charging = not (job["separated"] or job["readout"])
        if charging:
            sweep(constant=initial, recount=1)
        else:
            moving = [mark for mark in marks if not mark["static"]]
            for mark in moving:
                sweep(mask=whole, double=job["double"], keep=not mark["first"])
                actions.append(released)
            for number in range(job["repeats"]):
                sweep(constant=additional, keep=bool(moving) or number > 0)
        if job["readout"]:
            return [*actions, *(("show", {"place": place}) for place in range(places))]
        for chunk in range(-(-(job["lead"] + job["length"]) // columns)):
            for column in range(0 if chunk else job["lead"], columns):
                step = chunk * columns + column - job["lead"]
                if charging and step < job["length"]:
                    constant = additional if step < job["steps"] else 0
                    mask = 0 if job["still"] else 1 << column
                    sweep({"restart": 1}, mask=mask, keep=1, constant=constant, clamp=1, fire=1)
                elif not charging and step < job["steps"]:
                    start = {"restart": 1} if step == 0 else {"halve": job["double"]}
                    sweep(start, keep=1, constant=0 if step else initial, clamp=1, fire=1)
                actions += [("push", {})] * places
            if charging and not job["still"]:
                actions.append(released)
            actions.append(("emit", {"index": chunk}))
        return actions

    def elaborate(self, platform: Any) -> Module:
        m = Module()
        parameters, job, beat = self.parameters, self.job, self.beat
        places, columns = parameters.places, parameters.columns

        m.submodules.marks = marks = fifo.SyncFIFO(width=mark_layout().size, depth=HALVES)
        mark = Signal(mark_layout())
        full = Signal(range(HALVES + 1))
        m.d.comb += [
            marks.w_en.eq(self.marked),
            marks.w_data.eq(self.mark.as_value()),
            mark.as_value().eq(marks.r_data),
            marks.r_en.eq(self.released),
        ]
        m.d.sync += full.eq(full + self.filled - self.released)
        with m.If(self.released):
            m.d.sync += self.half.eq(~self.half)

        counter = Signal(range(max(self.span, self.latency + 2)))
        sweeping, swept = Signal(), Signal()
        pushing = Signal()
        column = Signal(range(max(columns, 2)))
        step = Signal(STEP_BITS)
        again = Signal()
        first = Signal()
        tile_row, tile_column = Signal(COORDINATE_BITS - 1), Signal(COORDINATE_BITS - 1)
        within = counter < places
        m.d.comb += swept.eq(sweeping & (counter == self.span - 1))
        with m.If(sweeping):
            m.d.comb += [beat.valid.eq(within), self.place.eq(counter)]
            m.d.sync += counter.eq(Mux(swept, 0, counter + 1))

        pushes: Any = pushing & within
        for cycle in range(self.latency):
            late = Signal(name=f"push_{cycle + 1}")
            m.d.sync += late.eq(pushes)
            pushes = late
        m.d.comb += self.push.eq(pushes)

        last_column = Signal()
        m.d.comb += last_column.eq(column == columns - 1)
        additional = Mux(job.static, Constant.STATIC, Constant.BIAS)
        with m.FSM():
            with m.State("idle"):
                m.d.comb += self.idle.eq(1)
                with m.If(self.begin):
                    m.d.sync += [tile_row.eq(0), tile_column.eq(0), self.row.eq(0)]
                    m.next = "tile"
            with m.State("tile"):
                m.d.comb += self.clear.eq(1)
                m.d.sync += [again.eq(0), first.eq(1), step.eq(0), column.eq(job.lead), self.index.eq(0)]
                m.d.sync += self.group.eq(tile_column)
                m.next = "wait"
            with m.State("wait"), m.If(full != 0):
                with m.If(mark.static):
                    m.next = "static"
                with m.Elif(job.separated | job.readout):
                    m.next = "accumulate"
                with m.Elif(first):
                    m.next = "initial"
                with m.Else():
                    m.next = "step"
            with m.State("static"):
                m.d.comb += [
                    sweeping.eq(1),
                    beat.mask.eq(~0),
                    beat.double.eq(1),
                    beat.keep.eq(~mark.first),
                    beat.commit.eq(mark.last),
                    beat.again.eq(again),
                    beat.shifted.eq(mark.shifted),
                ]
                with m.If(swept):
                    m.d.comb += self.released.eq(1)
                    m.d.sync += again.eq(again | mark.last)
                    m.next = "settle"
                    with m.If(~mark.end):
                        m.next = "wait"
            with m.State("settle"):
                # A static current takes a cycle longer than a membrane to be there.
                m.next = "constant"
                with m.If(~job.separated & ~job.readout):
                    m.next = "initial"
            with m.State("initial"):
                m.d.comb += [sweeping.eq(1), beat.constant.eq(Constant.INITIAL), beat.recount.eq(1)]
                with m.If(swept):
                    m.d.sync += first.eq(0)
                    m.next = "step"
            with m.State("step"):
                charged = step < job.steps
                m.d.comb += [
                    sweeping.eq(1),
                    pushing.eq(1),
                    beat.valid.eq(within & (step < job.length)),
                    beat.mask.eq(Mux(job.still, 0, 1 << column)),
                    beat.keep.eq(1),
                    beat.constant.eq(Mux(charged, additional, Constant.NONE)),
                    beat.clamp.eq(1),
                    beat.fire.eq(Fire.YES),
                    beat.restart.eq(counter == 0),
                ]
                with m.If(swept):
                    m.d.sync += [step.eq(step + 1), column.eq(column + 1)]
                    with m.If(last_column):
                        m.d.comb += self.released.eq(~job.still)
                        m.d.sync += column.eq(0)
                        m.next = "land"
            with m.State("accumulate"):
                m.d.comb += [
                    sweeping.eq(1),
                    beat.mask.eq(~0),
                    beat.double.eq(job.double),
                    beat.keep.eq(~mark.first),
                ]
                with m.If(swept):
                    m.d.comb += self.released.eq(1)
                    m.d.sync += first.eq(0)
                    m.next = "wait"
                    with m.If(mark.end):
                        m.next = "constant"
            with m.State("constant"):
                m.d.comb += [sweeping.eq(1), beat.constant.eq(additional), beat.keep.eq(~first)]
                with m.If(swept):
                    m.d.sync += [first.eq(0), step.eq(step + 1)]
                    with m.If(step == job.repeats - 1):
                        m.d.sync += step.eq(0)
                        m.next = "send"
                        with m.If(job.readout):
                            m.next = "show"
            with m.State("send"):
                begins = step == 0
                m.d.comb += [
                    sweeping.eq(1),
                    pushing.eq(1),
                    beat.valid.eq(within & (step < job.steps)),
                    beat.keep.eq(1),
                    beat.constant.eq(Mux(begins, Constant.INITIAL, Constant.NONE)),
                    beat.clamp.eq(1),
                    beat.fire.eq(Fire.YES),
                    beat.restart.eq(begins & (counter == 0)),
                    beat.halve.eq(~begins & job.double & (counter == 0)),
                ]
                with m.If(swept):
                    m.d.sync += [step.eq(step + 1), column.eq(column + 1)]
                    with m.If(last_column):
                        m.d.sync += column.eq(0)
                        m.next = "land"
            with m.State("land"):
                # The last beats are still under way.
                m.d.sync += counter.eq(counter + 1)
                with m.If(counter == self.latency):
                    m.d.sync += counter.eq(0)
                    m.next = "emit"
            with m.State("emit"):
                m.d.comb += self.emit.eq(1)
                with m.If(self.emitted):
                    m.d.sync += self.index.eq(self.index + 1)
                    with m.If(step >= job.length):
                        m.next = "next"
                    with m.Elif(job.separated):
                        m.next = "send"
                    with m.Elif(job.still):
                        m.next = "step"
                    with m.Else():
                        m.next = "wait"
            with m.State("show"):
                # ``place`` holds while the membranes of its channels leave.
                shown = Signal()
                m.d.comb += [self.place.eq(counter), self.show.eq(shown)]
                m.d.sync += shown.eq(1)
                with m.If(self.emitted):
                    m.d.sync += [counter.eq(counter + 1), shown.eq(0)]
                    with m.If(counter == places - 1):
                        m.d.sync += counter.eq(0)
                        m.next = "next"
            with m.State("next"):
                last_tile_column = tile_column == job.tile_columns - 1
                m.d.sync += tile_column.eq(tile_column + 1)
                m.next = "tile"
                with m.If(last_tile_column):
                    m.d.sync += [
                        tile_column.eq(0),
                        tile_row.eq(tile_row + 1),
                        self.row.eq(self.row + parameters.rows),
                    ]
                    with m.If(tile_row == job.tile_rows - 1):
                        m.next = "idle"
        return m
