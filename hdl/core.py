"""The core: a layer at a time, from events in its memory to a stream of words."""

from __future__ import annotations

from typing import Any

from amaranth.hdl import Cat, Module, Mux, Signal, unsigned
from amaranth.lib import data, enum, stream
from amaranth.lib.wiring import Component, In, Out

from hdl.array import Array
from hdl.bank import HALVES, NeuronBank
from hdl.collector import Collector, word_layout
from hdl.delay import at_last, later
from hdl.firing import Firing
from hdl.gather import Gather
from hdl.issue import Issue
from hdl.neuron import constants_layout, trace_layout
from hdl.parameters import Parameters
from hdl.pool import Pool
from hdl.register import copy
from hdl.sequencer import Sequencer, mark_layout
from hdl.tables import COUNT_BITS, address_bits, fetch_layout, job_layout, segment_layout, tap_layout

PART_BITS = 32
"""Width of the way in: wider words come in several parts, the least significant one first."""


class Target(enum.Enum, shape=3):  # type: ignore[call-arg]
    """What a word that comes in is for."""

    EVENTS = 0
    WEIGHTS = 1
    CONSTANTS = 2
    FETCHES = 3
    TAPS = 4
    SEGMENTS = 5
    JOB = 6


def word_widths(parameters: Parameters) -> dict[Any, int]:
    """Bits of a word of each target."""
    return {
        Target.EVENTS: parameters.word_bits,
        Target.WEIGHTS: 8 * parameters.channels,
        Target.CONSTANTS: constants_layout(parameters).size,
        Target.FETCHES: fetch_layout(parameters).size,
        Target.TAPS: tap_layout(parameters).size,
        Target.SEGMENTS: segment_layout(parameters).size,
        Target.JOB: job_layout(parameters).size,
    }


def depths(parameters: Parameters) -> dict[Any, int]:
    """Words of each target. Groups of events are addressed by word, and the bank in the lowest bits."""
    return {
        Target.EVENTS: parameters.event_words * parameters.banks,
        Target.WEIGHTS: parameters.weight_words,
        Target.CONSTANTS: parameters.neurons,
        Target.FETCHES: parameters.fetches,
        Target.TAPS: parameters.taps,
        Target.SEGMENTS: parameters.segments,
        Target.JOB: 1,
    }


def part_layout(parameters: Parameters) -> data.StructLayout:
    """A part of a word that comes in.

    Fields:
        target: ``Target``; address: of the word; last: the word is complete with this part. Of a word's other parts
            only ``data`` is looked at.
        data: 32 bits.
    """
    address = max(address_bits(depth) for depth in depths(parameters).values())
    return data.StructLayout({"target": Target, "last": 1, "address": unsigned(address), "data": unsigned(PART_BITS)})


class Core(Component):
    """The neuron-array core.

    Everything comes in through ``load``: events, weights and tables, and last the job, which starts the work. While a
    job runs, ``load`` waits. The job's events or membranes leave through ``words``; when ``load`` is ready again, all
    of them have left.

    Ports:
        load: In, stream of ``part_layout``.
        words: Out, stream of ``word_layout``.
        busy: Out(1): a job runs.
        active: Out(1): the lanes are given a tap in this cycle. dropped: Out(1): a silent row is skipped.
        trace: Out, if the parameters ask for it: ``valid``: a beat that belongs to a train ends, of the R * P pixels'
            ``place`` (in the order of beats), with C times ``trace_layout``.
    """

    def __init__(self, parameters: Parameters) -> None:
        self.parameters = parameters
        ports: dict[str, Any] = {
            "load": In(stream.Signature(part_layout(parameters))),
            "words": Out(stream.Signature(word_layout(parameters))),
            "busy": Out(1),
            "active": Out(1),
            "dropped": Out(1),
        }
        if parameters.trace:
            neurons = data.ArrayLayout(trace_layout(parameters), parameters.channels)
            ports["trace"] = Out(data.StructLayout({"valid": 1, "neurons": neurons}))
        super().__init__(ports)

    def elaborate(self, platform: Any) -> Module:
        m = Module()
        parameters = self.parameters
        m.submodules.sequencer = sequencer = Sequencer(parameters)
        m.submodules.gather = gather = Gather(parameters)
        m.submodules.issue = issue = Issue(parameters)
        m.submodules.array = array = Array(
            parameters.rows,
            parameters.channels,
            parameters.columns,
            parameters.pixels,
            parameters.weight_bits,
            parameters.accumulator_bits,
            parameters.device,
        )
        m.submodules.bank = bank = NeuronBank(parameters)
        m.submodules.firing = firing = Firing(parameters)
        m.submodules.collector = collector = Collector(parameters)
        job = Signal(job_layout(parameters))
        start = self._load(m, job, sequencer, gather, issue, bank)

        # Blocks: the neurons take their constants when the block before is done.
        channel, following = Signal(COUNT_BITS), Signal(COUNT_BITS)
        waiting, load, loading = Signal(), Signal(), Signal()
        pooling = Signal()
        if parameters.pooling:
            m.d.sync += pooling.eq(job.pooling)
        m.d.comb += [
            bank.load.eq(load),
            firing.begin.eq(bank.loaded),
            sequencer.ready.eq(later(m, bank.loaded | pooling, 1, "ready")),
        ]
        m.d.sync += load.eq(0)
        with m.If(sequencer.block):
            m.d.sync += waiting.eq(~pooling)
        with m.If(waiting & firing.idle):
            m.d.sync += [
                waiting.eq(0),
                load.eq(1),
                bank.first.eq(job.constants + following),
                loading.eq(1),
                channel.eq(following),
                following.eq(following + parameters.channels),
            ]
        with m.If(bank.loaded):
            m.d.sync += loading.eq(0)
        with m.If(start):
            m.d.sync += following.eq(0)

        # Requests, windows, operations, sums.
        halves = Signal(range(HALVES + 1), init=HALVES)
        filling = Signal()
        marked, mark = later(m, issue.marked, 1, "marked"), later(m, issue.mark, mark_layout(), "mark")
        m.d.sync += halves.eq(halves - marked + firing.released)
        operation = issue.operation
        m.d.comb += [
            sequencer.job.eq(job),
            sequencer.start.eq(start),
            issue.room.eq(halves != 0),
            issue.pooling.eq(pooling),
            gather.keep.eq(pooling),
            gather.zeros.eq(job.zeros),
            array.weights.eq(operation.weights),
            array.enable.eq(operation.enable),
            array.negative.eq(operation.negative),
            array.shift.eq(operation.shift),
            self.active.eq(issue.active),
            self.dropped.eq(gather.dropped),
        ]
        for source, sink in ((sequencer.requests, gather.requests), (gather.windows, issue.windows)):
            m.d.comb += [sink.payload.eq(source.payload), sink.valid.eq(source.valid), source.ready.eq(sink.ready)]
        stored, slot, filled = (
            later(m, port, port.shape(), name, array.latency)
            for name, port in (("stored", issue.stored), ("slot", issue.slot), ("filled", issue.filled))
        )
        m.d.comb += [
            bank.store.enable.eq(stored),
            bank.store.slot.eq(slot),
            bank.store.half.eq(filling),
            bank.store.sums.eq(array.sums),
        ]
        m.d.sync += filling.eq(filling ^ filled)

        # Beats, spikes, words.
        last = Signal(parameters.pixels)
        m.d.sync += last.eq(Mux(at_last(m, firing.group, job.tile_columns, "rightmost"), job.last, ~0))
        working = Signal()
        m.d.sync += self.busy.eq(working)
        m.d.comb += [
            firing.job.eq(job),
            firing.marked.eq(marked),
            firing.mark.eq(mark),
            firing.filled.eq(filled),
            firing.sending.eq(collector.sending),
            bank.beat.eq(firing.beat),
            bank.place.eq(firing.place),
            bank.half.eq(firing.half),
            bank.settings.eq(job.settings),
            collector.push.eq(firing.push),
            collector.emit.eq(firing.emit),
            collector.show.eq(firing.show),
            collector.spikes.eq(bank.spikes),
            collector.membranes.eq(bank.membranes),
            collector.place.eq(firing.place),
            collector.channel.eq(channel),
            collector.channels.eq(job.channels),
            collector.row.eq(firing.row),
            collector.rows.eq(job.rows),
            collector.group.eq(firing.group),
            collector.index.eq(firing.index),
            collector.last.eq(last),
            self.words.payload.eq(collector.words.payload),
            self.words.valid.eq(collector.words.valid),
            collector.words.ready.eq(self.words.ready),
            working.eq(sequencer.busy | waiting | loading | ~firing.idle | collector.busy),
        ]
        if parameters.trace:
            m.d.comb += [self.trace.valid.eq(firing.push), self.trace.neurons.eq(bank.trace)]
        if parameters.pooling:
            m.submodules.pool = pool = Pool(parameters)
            with m.If(pooling):
                m.d.comb += [
                    issue.room.eq(pool.room),
                    self.words.payload.eq(pool.words.payload),
                    self.words.valid.eq(pool.words.valid),
                    pool.words.ready.eq(self.words.ready),
                ]
            with m.If(pool.busy):
                m.d.comb += working.eq(1)
            m.d.comb += [
                pool.job.eq(job),
                pool.begin.eq(start),
                pool.operation.eq(operation.pooled),
                pool.enable.eq(operation.enable),
                pool.negative.eq(operation.negative),
                pool.inside.eq(operation.inside),
                pool.ends.eq(operation.ends),
                pool.mark.eq(operation.mark),
            ]
        return m

    def _load(
        self, m: Module, job: Signal, sequencer: Sequencer, gather: Gather, issue: Issue, bank: NeuronBank
    ) -> Signal:
        """Put parts together and write the words; returns the pulse that starts a job."""
        parameters = self.parameters
        widths = word_widths(parameters)
        parts = {target: -(-width // PART_BITS) for target, width in widths.items()}
        staging = Signal(PART_BITS * max(parts.values()))
        start, started = Signal(), Signal()
        accepting = Signal(init=1)
        address = Signal.like(self.load.payload.address)
        arrived = {target: Signal(name=f"arrived_{target.name.lower()}") for target in widths}
        m.d.comb += self.load.ready.eq(accepting)
        m.d.sync += [start.eq(0), started.eq(start)]
        m.d.sync += [signal.eq(0) for signal in arrived.values()]
        taken, part = Signal(), later(m, self.load.payload, self.load.payload.shape(), "part")
        m.d.sync += taken.eq(self.load.valid & self.load.ready)
        with m.If(
            self.load.valid & self.load.ready & self.load.payload.last & (self.load.payload.target == Target.JOB)
        ):
            m.d.sync += accepting.eq(0)
        with m.If(taken):
            m.d.sync += [
                staging.eq(Cat(staging, part.data)[PART_BITS:]),
                *(signal.eq(part.last & (part.target == target)) for target, signal in arrived.items()),
                address.eq(part.address),
            ]

        with m.If(~(accepting | taken | arrived[Target.JOB] | start | started | self.busy)):
            m.d.sync += accepting.eq(1)

        def word(of: Any) -> Any:
            return staging[len(staging) - PART_BITS * parts[of] :][: widths[of]]

        tables: dict[Any, Any] = {
            Target.WEIGHTS: issue.write_weights,
            Target.CONSTANTS: bank.write,
            Target.FETCHES: sequencer.write_fetch,
            Target.TAPS: issue.write_tap,
            Target.SEGMENTS: sequencer.write_segment,
        }
        # The memories lie all over the device: each kind has a register of its own.
        for of, write in tables.items():
            content = Cat(arrived[of], address[: len(write.address)], word(of))
            m.d.comb += write.as_value().eq(copy(m, content, parameters.device, f"write_{of.name.lower()}"))
        bank_bits = address_bits(parameters.banks)
        content = Cat(arrived[Target.EVENTS], address, word(Target.EVENTS))
        content = copy(m, content, parameters.device, "write_events")
        m.d.comb += [
            gather.store.enable.eq(content[0]),
            gather.store.bank.eq(content[1:][:bank_bits]),
            gather.store.address.eq(content[1 + bank_bits : 1 + len(address)]),
            gather.store.data.eq(content[1 + len(address) :]),
        ]
        with m.If(arrived[Target.JOB]):
            m.d.sync += [job.as_value().eq(word(Target.JOB)), start.eq(1)]
        return start
