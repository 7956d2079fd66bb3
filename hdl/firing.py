"""When neurons take in and fire: what the lanes left of each tile, as beats for the neurons."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, TypeAlias

from amaranth.hdl import Cat, Module, Mux, Signal, unsigned
from amaranth.lib import enum
from amaranth.lib.wiring import Component, In, Out

from hdl.bank import HALVES, latency
from hdl.delay import at_last, later
from hdl.neuron import Constant, Fire, beat_layout, revisit
from hdl.parameters import Parameters
from hdl.queue import Queue
from hdl.sequencer import mark_layout
from hdl.tables import CHUNK_BITS, COORDINATE_BITS, STEP_BITS, address_bits, job_layout


class Sweep(enum.Enum, shape=3):  # type: ignore[call-arg]
    """What a sweep is for."""

    NONE = 0
    STATIC = 1
    INITIAL = 2
    STEP = 3
    ACCUMULATE = 4
    CONSTANT = 5
    SEND = 6


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
        idle: Out(1), from two cycles after ``begin`` on: all tiles of the block are done, and their words chosen.
        marked, mark: In: a pass will leave sums; never more than ``HALVES`` ahead.
        filled: In(1): a pulse: they are all there.
        released: Out(1): a pulse: they are not needed any more.
        beat: Out, ``beat_layout``; place, half: Out.
        push: Out(1): ``NeuronBank.latency`` cycles after a beat that belongs to a train (also an empty one).
        emit: Out(1): a pulse: a chunk of columns is complete, with the push of this cycle. show: Out(1): a pulse: the
            membranes of ``place`` are there from the next cycle on.
        sending: In(1), from the cycle after ``emit`` or ``show`` on: words are still to come. Meanwhile nothing is
            pushed; but the next tile's sums are taken in.
        row, group, index: Out, with ``emit`` or ``show``: of the tile: its first row, its group; of the words: the
            chunk.

    Beats come ``ahead`` cycles after they have been decided.
    """

    ahead = 2

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
                "emit": Out(1),
                "show": Out(1),
                "sending": In(1),
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
        parameters, job = self.parameters, self.job
        columns = parameters.columns

        m.submodules.marks = marks = Queue(mark_layout(), HALVES)
        mark = marks.words.payload
        full = Signal(range(HALVES + 1))
        releases, half = Signal(), Signal()
        released = later(m, releases, 1, "released_1")
        m.d.comb += [marks.put.eq(self.marked), marks.word.eq(self.mark), marks.words.ready.eq(released)]
        m.d.sync += [full.eq(full + self.filled - released), half.eq(half ^ released)]

        # A sweep goes on until another one, or none, is entered.
        sweep = Signal(Sweep)
        counter = Signal(range(max(self.span, self.latency + 2)))
        column = Signal(range(max(columns, 2)))
        step = Signal(STEP_BITS)
        again, first = Signal(), Signal()
        show, shown = Signal(), Signal()
        tile_row, tile_column = Signal(COORDINATE_BITS - 1), Signal(COORDINATE_BITS - 1)
        # What is compared changes some cycles before it matters: its comparison waits in a register.
        swept, stepped, added = Signal(), Signal(), Signal()
        ends_chunk, complete, landed = Signal(), Signal(), Signal()
        accumulates = later(m, job.separated | job.readout, 1, "accumulates")
        unmoved = later(m, job.separated | job.still, 1, "unmoved")
        there = later(m, (full != 0) & ~releases & ~released, 1, "there")
        stepping = (sweep == Sweep.CONSTANT) | (sweep == Sweep.STEP) | (sweep == Sweep.SEND)
        repeated = at_last(m, step, job.repeats, "repeated")
        ends_row = at_last(m, tile_column, job.tile_columns, "ends_row")
        ends_map = at_last(m, tile_row, job.tile_rows, "ends_map")
        m.d.sync += [
            swept.eq((sweep != Sweep.NONE) & (counter == self.span - 2)),
            stepped.eq(stepping & (counter == self.span - 2)),
            added.eq((sweep == Sweep.CONSTANT) & repeated & (counter == self.span - 2)),
            ends_chunk.eq(column == columns - 1),
            complete.eq(step >= job.length),
            landed.eq((sweep == Sweep.NONE) & (counter == self.latency)),
        ]
        with m.If(sweep != Sweep.NONE):
            m.d.sync += counter.eq(Mux(swept, 0, counter + 1))
        with m.If(stepped):
            m.d.sync += step.eq(step + 1)
        with m.If(added):
            m.d.sync += step.eq(0)

        begins, turns = Signal(), Signal()
        with m.If(later(m, begins | turns, 1, "begun")):
            m.d.sync += [again.eq(0), first.eq(1), step.eq(0), column.eq(job.lead), self.index.eq(0)]
        with m.If(later(m, turns, 1, "turned")):
            m.d.sync += tile_column.eq(Mux(ends_row, 0, tile_column + 1))
            with m.If(ends_row):
                m.d.sync += [
                    tile_row.eq(Mux(ends_map, 0, tile_row + 1)),
                    self.row.eq(Mux(ends_map, 0, self.row + parameters.rows)),
                ]

        def enter(state: str, kind: Any = Sweep.NONE) -> None:
            m.next = state
            m.d.sync += sweep.eq(kind)

        m.d.sync += [self.idle.eq(0), self.emit.eq(0)]
        with m.FSM():
            with m.State("idle"):
                m.d.sync += self.idle.eq(~self.sending)
                m.d.comb += begins.eq(self.begin)
                with m.If(self.begin):
                    m.next = "tile"
            with m.State("tile"):
                m.next = "wait"
            with m.State("wait"), m.If(there):
                with m.If(mark.static):
                    enter("static", Sweep.STATIC)
                with m.Elif(accumulates):
                    enter("accumulate", Sweep.ACCUMULATE)
                with m.Elif(first):
                    enter("initial", Sweep.INITIAL)
                with m.Else():
                    enter("train")
            with m.State("static"), m.If(swept):
                m.d.comb += releases.eq(1)
                m.d.sync += again.eq(again | mark.last)
                enter("settle")
                with m.If(~mark.end):
                    enter("wait")
            with m.State("settle"):
                # A static current takes a cycle longer than a membrane to be there.
                enter("constant", Sweep.CONSTANT)
                with m.If(~accumulates):
                    enter("initial", Sweep.INITIAL)
            with m.State("initial"), m.If(swept):
                m.d.sync += first.eq(0)
                enter("train")
            with m.State("accumulate"), m.If(swept):
                m.d.comb += releases.eq(1)
                m.d.sync += first.eq(0)
                enter("wait")
                with m.If(mark.end):
                    enter("constant", Sweep.CONSTANT)
            with m.State("constant"):
                with m.If(swept):
                    m.d.sync += first.eq(0)
                with m.If(added):
                    enter("train")
                    with m.If(job.readout):
                        enter("show")
            with m.State("train"), m.If(~self.sending):
                # The words of the chunk before have left.
                enter("fire", Mux(job.separated, Sweep.SEND, Sweep.STEP))
            with m.State("fire"), m.If(swept):
                m.d.sync += column.eq(column + 1)
                with m.If(ends_chunk):
                    m.d.comb += releases.eq(~unmoved)
                    m.d.sync += column.eq(0)
                    enter("land")
            with m.State("land"):
                # The last beats are still under way.
                m.d.sync += counter.eq(counter + 1)
                with m.If(landed):
                    m.d.sync += [counter.eq(0), self.emit.eq(1)]
                    m.next = "emitted"
            with m.State("emitted"):
                m.d.sync += self.index.eq(self.index + 1)
                with m.If(complete):
                    m.next = "next"
                with m.Elif(unmoved):
                    m.next = "train"
                with m.Else():
                    m.next = "wait"
            with m.State("show"):
                m.d.comb += show.eq(1)
                m.d.sync += shown.eq(0)
                m.next = "shown"
            with m.State("shown"):
                m.d.sync += shown.eq(shown | self.show)
                with m.If(shown & ~self.sending):
                    m.d.sync += counter.eq(counter + 1)
                    m.next = "show"
                    with m.If(counter == parameters.places - 1):
                        m.d.sync += counter.eq(0)
                        m.next = "next"
            with m.State("next"):
                m.d.comb += turns.eq(1)
                m.next = "tile"
                with m.If(ends_row & ends_map):
                    m.next = "idle"
        self._beats(m, sweep, counter, step, column, mark, again, first)
        m.d.comb += [
            self.group.eq(tile_column),
            self.released.eq(later(m, released, 1, "released", self.ahead - 1)),
            self.half.eq(later(m, half, 1, "half", self.ahead)),
            self.place.eq(later(m, counter, self.place.shape(), "place", self.ahead)),
            self.show.eq(later(m, show, 1, "show", self.ahead + 2)),
        ]
        return m

    def _beats(
        self,
        m: Module,
        sweep: Signal,
        counter: Signal,
        step: Signal,
        column: Signal,
        mark: Any,
        again: Signal,
        first: Signal,
    ) -> None:
        """A sweep's beats: a register first, and one for what comes of it."""
        job, beat = self.job, Signal(beat_layout(self.parameters))

        def when(*kinds: Any) -> Any:
            """Whether the sweep is of these kinds."""
            return later(m, Cat(sweep == kind for kind in kinds).any(), 1, f"is_{kinds[0].name.lower()}_{len(kinds)}")

        static, accumulates, moves, sends = (
            when(kind) for kind in (Sweep.STATIC, Sweep.ACCUMULATE, Sweep.STEP, Sweep.SEND)
        )
        initial, constant, fires = when(Sweep.INITIAL), when(Sweep.CONSTANT), when(Sweep.STEP, Sweep.SEND)
        within = later(m, (sweep != Sweep.NONE) & (counter < self.parameters.places), 1, "within")
        starts = later(m, counter == 0, 1, "starts")
        begins = later(m, step == 0, 1, "begins")
        charged = later(m, step < job.steps, 1, "charged")
        inside = later(m, step < job.length, 1, "inside")
        columns = later(m, Mux(job.still, 0, 1 << column), beat.mask.shape(), "columns")
        fresh = later(m, Mux(sweep == Sweep.CONSTANT, first, mark.first), 1, "fresh")
        bits = {
            name: later(m, bit, 1, name)
            for name, bit in (("commits", mark.last), ("adds", again), ("shifts", mark.shifted))
        }
        m.d.comb += [
            beat.valid.eq(within & Mux(moves, inside, ~sends | charged)),
            beat.mask.eq(Mux(moves, columns, (static | accumulates).replicate(len(beat.mask)))),
            beat.double.eq(static | (accumulates & job.double)),
            beat.keep.eq(fires | ((static | accumulates | constant) & ~fresh)),
            beat.clamp.eq(fires),
            beat.fire.eq(Mux(fires, Fire.YES, Fire.NO)),
            beat.restart.eq(starts & (moves | (sends & begins))),
            beat.halve.eq(starts & sends & ~begins & job.double),
            beat.commit.eq(static & bits["commits"]),
            beat.again.eq(static & bits["adds"]),
            beat.shifted.eq(static & bits["shifts"]),
            beat.recount.eq(initial),
        ]
        # No conditional statement: Icarus does not take a variable of which only some bits are assigned under one.
        additional = Mux(constant | (moves & charged), Mux(job.static, Constant.STATIC, Constant.BIAS), Constant.NONE)
        m.d.comb += beat.constant.eq(Mux(initial | (sends & begins), Constant.INITIAL, additional))
        m.d.sync += self.beat.eq(beat)
        push = later(m, fires & within, 1, "push_0")
        m.d.comb += self.push.eq(later(m, push, 1, "push", self.latency))
