"""One population after the other on a few images: event trains in, event train out (numerics.md, sections 3 and 5).

A network is feed-forward, so running a population through all its steps before the next one starts gives the integers
of running the whole network step by step. Inside, maps are channels last: ``(N, T, H, W, C)``; a ``(C,)`` population is
``(C, 1, 1)``.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from refsnn.errors import InputError
from refsnn.geometry import Shape
from refsnn.kernels import Events, KernelSet, Synapses, Workspace
from refsnn.kernels.populations import accumulate_and_send, count_events, integrate_and_fire, window_maximum
from refsnn.network import UNTIL_QUIET, Input, MaxPool, Network, Projection, Readout, Spiking
from refsnn.ranges import analyse

CHUNK_BYTES = 1 << 20
"""Currents worked on at a time: they stay in the second-level cache between the synapses and the neurons."""

ROW = 2048
"""Neurons updated in one go, roughly: their membranes, counts and settings fit the first-level cache."""

LONGEST_DRAIN = 4096
"""A population that still fires after so many steps without input has no cap and a hopeless membrane."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Activity:
    """What one population did for one image, step by step. Channels first; the equations' letters in brackets.

    A population's steps are its own: with temporal separation those in which it sends; ``current`` and
    ``accumulated`` then belong to the steps in which it takes in.

    Attributes:
        events: ``(T', *shape) int8`` spikes or digits sent [s]; a static population's events ``(1, *shape) int16``,
            the same in every step; None for the readout.
        current: ``(T', *shape) int32`` [I]; with temporal separation ``(T'', *shape)``, only what non-static sources
            send in that step. None for populations without projections.
        static_current: ``(*shape) int32``: what static sources add in a step (already in ``current`` in rate
            schedules, added once, at the end of the accumulation, with temporal separation). None for populations
            without projections.
        accumulated: ``(T'', *shape) int64``: the sum after each step of taking in; None in rate schedules.
        before: ``(T', *shape) int32`` membrane after the current and the clamp, before the reset [u]; None for the
            readout and populations without projections.
        membrane: ``(T', *shape)`` after the step [v]: int32, for the readout int64. With temporal separation a
            readout's is ``(1, *shape)``: after the bias. None for populations without projections.
        count: ``(T', *shape) int32`` sum of the events so far, in base 2 each weighted by the base [n]; None for the
            readout and static populations.
    """

    events: NDArray[np.int8] | NDArray[np.int16] | None = None
    current: NDArray[np.int32] | None = None
    static_current: NDArray[np.int32] | None = None
    accumulated: NDArray[np.int64] | None = None
    before: NDArray[np.int32] | None = None
    membrane: NDArray[np.int32] | NDArray[np.int64] | None = None
    count: NDArray[np.int32] | None = None


class Recorder(Protocol):
    """Receives what populations do for the images it wants. Calls never overlap, but come in any order of images."""

    def wants(self, image: int) -> bool:
        """Whether to record an image, by its index in the images given to ``simulate``."""

    def record(self, steps: int, image: int, population: str, activity: Activity) -> None:
        """Take a population's activity in the run of ``steps`` time-steps; populations come in order."""


@dataclass(frozen=True, slots=True, eq=False)
class Link:
    """A projection, made ready.

    Attributes:
        synapses: its packed weights.
        fan_out: ``(H, W) int64``: the synapses of one neuron of the source at each pixel.
        weight: no event of 1 from every source at once changes a target by more, the sum-pool included.
    """

    projection: Projection
    synapses: Synapses
    fan_out: NDArray[np.int64]
    weight: int


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Signal:
    """What a population sends for a slice of images.

    Attributes:
        values: ``(N, T', H, W, C) int8``: a train of ternary events; or ``(N, 1, H, W, C) int32``: one graded event for
            the whole run (net count or binary code), or for each step where ``static``.
        static: whether the graded events are the same in every step.
        largest: no graded event's magnitude exceeds this.
        base, steps: of the code.
        spikes: ``(T', P) int64``: number of non-zero ternary events in each step at each pixel, over the slice; of a
            code ``(1, P)``: of its digits. Empty where ``static``.
    """

    values: Events
    static: bool = False
    largest: int = 1
    base: int = 1
    steps: int = 0
    spikes: NDArray[np.int64] = field(default_factory=lambda: np.zeros((1, 0), np.int64))

    def train(self, length: int) -> NDArray[Any]:
        """The ternary events, with steps of silence behind up to ``length``."""
        values = self.values if self.values.dtype == np.int8 else digits(self.values, self.base, self.steps)
        if values.shape[1] == length:
            return values
        padded = np.zeros((values.shape[0], length, *values.shape[2:]), np.int8)
        padded[:, : values.shape[1]] = values
        return padded

    @property
    def length(self) -> int:
        """Steps of the train."""
        return self.values.shape[1] if self.values.dtype == np.int8 else self.steps

    def code(self) -> Signal:
        """One graded event for each neuron instead of a train."""
        if self.values.dtype == np.int32:
            return self
        counts = self.values.sum(axis=1, dtype=np.int32, keepdims=True)
        return Signal(values=counts, largest=self.length, steps=self.steps)


def digits(codes: NDArray[Any], base: int, steps: int) -> NDArray[np.int8]:
    """The ternary digits of codes ``(N, 1, H, W, C)``, most significant first: ``(N, T, H, W, C) int8``."""
    step = np.arange(steps).reshape(1, -1, 1, 1, 1)
    magnitude = np.abs(codes)
    present = magnitude > step if base == 1 else (magnitude >> (steps - 1 - step)) & 1
    return (np.sign(codes) * present).astype(np.int8)


def fan_out(projection: Projection, source: Shape, target: Shape) -> NDArray[np.int64]:
    """In-bounds synapses of one neuron at each pixel of the source, through the sum-pool: ``(H, W) int64``."""
    pool = projection.pool
    pooled = pool.output(source) if pool else source
    output = projection.output(source, target)
    lines = []
    for axis in (0, 1):
        if projection.kind == "dense":
            reached = np.ones(pooled[1 + axis], np.int64)
        else:
            kernel = 1 if projection.kind == "identity" else projection.weights.shape[2 + axis]
            reached = _reached(
                np.ones(output[1 + axis], np.int64),
                pooled[1 + axis],
                kernel,
                projection.stride[axis],
                projection.padding[2 * axis] if projection.kind == "conv" else 0,
                projection.dilation[axis],
            )
        if pool:
            reached = _reached(reached, source[1 + axis], pool.kernel[axis], pool.stride[axis], pool.padding[2 * axis])
        lines.append(reached)
    if projection.kind == "dense":
        channels = int(np.prod(target))
    else:
        channels = 1 if projection.kind == "identity" else projection.weights.shape[0] // projection.groups
    return channels * np.outer(*lines)


def _reached(
    worth: NDArray[np.int64], size: int, kernel: int, stride: int, padding: int, dilation: int = 1
) -> NDArray[np.int64]:
    """Along one axis: the worth of the outputs of a sliding window, summed over those that read each input."""
    result = np.zeros(size, np.int64)
    for tap in range(kernel):
        read = np.arange(len(worth)) * stride - padding + tap * dilation
        inside = (read >= 0) & (read < size)
        np.add.at(result, read[inside], worth[inside])
    return result


@dataclass(slots=True)
class Totals:
    """Counters of a slice of images, one entry for each requested T.

    Attributes:
        membranes: ``(S, N, *readout shape) int64``.
        spikes, saturations: by population, ``(S,) int64``.
        synaptic_operations: by projection, ``(S,) int64``.
        drained: steps beyond T in which a neuron fired, or the number of drain steps asked for.
    """

    membranes: NDArray[np.int64]
    spikes: dict[str, NDArray[np.int64]] = field(default_factory=dict)
    saturations: dict[str, NDArray[np.int64]] = field(default_factory=dict)
    synaptic_operations: dict[str, NDArray[np.int64]] = field(default_factory=dict)
    drained: int = 0


def spatial(shape: Shape) -> Shape:
    """``(C,)`` as ``(C, 1, 1)``."""
    return shape if len(shape) == 3 else (shape[0], 1, 1)


def connect(network: Network, kernels: KernelSet) -> dict[str, tuple[Link, ...]]:
    """The projections of each population, made ready."""
    links: dict[str, tuple[Link, ...]] = {}
    for projection in network.projections:
        source, target = spatial(network[projection.source].shape), spatial(network[projection.target].shape)
        link = Link(
            projection,
            kernels.connect(projection, source, target),
            fan_out(projection, source, target),
            _heaviest(projection),
        )
        links[projection.target] = (*links.get(projection.target, ()), link)
    return links


def _heaviest(projection: Projection) -> int:
    """The largest sum of weight magnitudes of a target, times the window of the sum-pool."""
    weights = projection.weights
    magnitudes = np.abs(weights, dtype=np.int16 if weights.dtype == np.int8 else np.int64)
    if projection.kind != "identity":
        magnitudes = magnitudes.reshape(len(weights), -1).sum(axis=1, dtype=np.int64)
    window = int(np.prod(projection.pool.kernel)) if projection.pool else 1
    return int(magnitudes.max(initial=0)) * window


def largest_currents(network: Network, links: dict[str, tuple[Link, ...]], steps: int) -> dict[str, int]:
    """By population, a bound of a step's current, or with temporal separation of the accumulation.

    Raises:
        InputError: a current might not fit int32.
    """
    bounds = {}
    for population in network.populations:
        if not isinstance(population, Spiking | Readout):
            continue
        separated = population.schedule.separated
        static = int(np.abs(population.bias.astype(np.int64)).max(initial=0))
        moving = 0
        for link in links.get(population.name, ()):
            source = link.projection.source
            if network.is_static(source):
                sums = link.weight * int(np.abs(network.input.table.astype(np.int64)).max(initial=0))
                if sums >= 2**31:  # in front of the shift, of which range analysis does not speak
                    raise InputError(
                        f"projection '{link.projection.label}': its sums need {sums.bit_length() + 1} bits, 32 are there; "
                        "use fewer weight bits"
                    )
                static += sums
            else:
                moving += link.weight * (_largest_code(network, source, steps) if separated else 1)
        times = population.schedule.levels(steps) if separated and population.schedule.base == 1 else 1
        bounds[population.name] = moving + times * static
    if max(bounds.values()) >= 2**31:
        analyse(network, steps)  # proves that the sums fit after all, or refuses
        bounds = {name: min(bound, 2**31) for name, bound in bounds.items()}
    return bounds


def _largest_code(network: Network, name: str, steps: int) -> int:
    """The largest sum of a population's events, weighted in base 2."""
    population = network[name]
    if isinstance(population, MaxPool):
        return _largest_code(network, population.source, steps)
    if population.schedule.separated:
        return population.schedule.levels(steps)
    return steps + (network.drain if network.drain >= 0 else 2 * LONGEST_DRAIN)


class Run:
    """A network, ready to run for a number of time-steps.

    Args:
        network: the network.
        links: of ``connect``.
        largest: of ``largest_currents`` for these steps.
        steps: T.
        marks: the numbers of steps to report on: several only in rate schedules without drain.
        drain: drain steps of rate schedules.
        recorder: or None.
    """

    def __init__(
        self,
        network: Network,
        links: dict[str, tuple[Link, ...]],
        largest: dict[str, int],
        steps: int,
        marks: tuple[int, ...],
        drain: int,
        recorder: Recorder | None,
    ) -> None:
        self.network = network
        self.links = links
        self.largest = largest
        self.steps = steps
        self.marks = marks
        self.drain = drain
        self.recorder = recorder

    def slice(self, first: int, images: NDArray[np.uint8], workspace: Workspace) -> Totals:
        """Run a slice of the images, the first of which has the index ``first``."""
        return _Slice(self, first, images, workspace).totals


class _Slice:
    """The state of one slice on its way through the network."""

    def __init__(self, run: Run, first: int, images: NDArray[np.uint8], workspace: Workspace) -> None:
        self.run = run
        self.first = first
        self.number = len(images)
        self.workspace = workspace
        self.wanted = [i for i in range(self.number) if run.recorder is not None and run.recorder.wants(first + i)]
        self.signals: dict[str, Signal] = {}
        shape = run.network.readout.shape
        self.totals = Totals(np.zeros((len(run.marks), self.number, *shape), np.int64))
        last = _last_readers(run.network)
        for population in run.network.populations:
            if isinstance(population, Input):
                self._input(population, images)
            elif isinstance(population, MaxPool):
                self._max_pool(population)
            elif isinstance(population, Readout):
                self._readout(population)
            elif population.schedule.separated:
                self._separated(population)
            else:
                self._rate(population)
            for name in last[population.name]:
                del self.signals[name]

    def _input(self, population: Input, images: NDArray[np.uint8]) -> None:
        channels = np.arange(population.shape[0])
        pixels = images.reshape(self.number, *spatial(population.shape)).transpose(0, 2, 3, 1)
        values = population.table[channels, pixels].astype(np.int32)[:, np.newaxis]
        largest = int(np.abs(population.table.astype(np.int32)).max(initial=0))
        self.signals[population.name] = Signal(values=values, static=True, largest=largest)
        self._record_source(population.name, population.shape)

    def _max_pool(self, population: MaxPool) -> None:
        source = self.signals[population.source]
        if source.values.dtype == np.int32:
            maxima = _maximum(population, source.values)
            spikes = np.zeros((1, 0), np.int64)
            if not source.static:
                magnitude = np.abs(maxima)
                sent = magnitude if source.base == 1 else np.bitwise_count(magnitude)
                spikes = sent.sum(axis=(0, 4), dtype=np.int64).reshape(1, -1)
            signal = Signal(
                values=maxima,
                static=source.static,
                largest=source.largest,
                base=source.base,
                steps=source.steps,
                spikes=spikes,
            )
        else:
            running = np.cumsum(source.values, axis=1, dtype=np.int32)
            maxima = _maximum(population, running)
            train = np.diff(maxima, axis=1, prepend=np.int32(0)).astype(np.int8)
            signal = Signal(values=train, steps=source.steps, spikes=_counted(train))
        self.signals[population.name] = signal
        self._record_source(population.name, population.shape)

    def _readout(self, population: Readout) -> None:
        if population.schedule.separated:
            self._separated_readout(population)
            return
        base = self._static_currents(population) + _channels_last(population.bias, population.shape)
        chunks = _Chunks(self, population, self._length(population))
        for begin, end, currents in chunks:
            self._fill(currents, base, begin, end)
            chunks.add(currents, begin, end)
            sums = np.cumsum(currents, axis=1, dtype=np.int64)
            at_mark = [sums[:, -1 if len(self.run.marks) == 1 else mark - 1] for mark in self.run.marks]
            self.totals.membranes[:, begin:end] = _channels_first(np.stack(at_mark), population.shape)
            for image in self._wanted_in(begin, end):
                self._record(
                    population.name,
                    image,
                    Activity(
                        current=_channels_first(currents[image - begin].copy(), population.shape),
                        static_current=self._static_part(population, image),
                        membrane=_channels_first(sums[image - begin], population.shape),
                    ),
                )
        self._count_synapses(population)

    def _rate(self, population: Spiking) -> None:
        run = self.run
        channels, height, width = spatial(population.shape)
        length = self._length(population)
        base = self._static_currents(population) + _channels_last(population.bias, population.shape)
        neurons = _Neurons(population, run, self.number, length)
        kept: dict[int, NDArray[np.int32]] = {}
        chunks = _Chunks(self, population, length)
        for begin, end, currents in chunks:
            self._fill(currents, base, begin, end)
            chunks.add(currents, begin, end)
            for image in self._wanted_in(begin, end):
                kept[image] = currents[image - begin].copy()
            neurons.run(currents, begin, end, self.workspace)
        flat, saturated = neurons.finish()
        train = flat.reshape(self.number, -1, height, width, channels)
        spikes = _counted(train)
        if run.drain == UNTIL_QUIET:
            self.totals.drained = max(self.totals.drained, train.shape[1] - run.steps)
        else:
            self.totals.drained = run.drain
        self.signals[population.name] = Signal(values=train, steps=run.steps, spikes=spikes)
        self.totals.spikes[population.name] = self._at_marks(spikes.sum(axis=1))
        self.totals.saturations[population.name] = self._at_marks(saturated)
        self._count_synapses(population)
        for image, current in kept.items():
            self._record_rate(population, image, current)

    def _separated(self, population: Spiking) -> None:
        run = self.run
        channels, height, width = spatial(population.shape)
        base, steps = population.schedule.base, run.steps
        closing = self._closing(population) + population.initial_membrane.astype(np.int64)
        codes = np.empty((self.number, 1, height, width, channels), np.int32)
        spikes = np.zeros((1, height * width), np.int64)
        signed = population.neuron == "signed"
        saturated = 0
        chunks = _Chunks(self, population, 1, folded=True)
        for begin, end, currents in chunks:
            currents.fill(0)
            chunks.add(currents, begin, end)
            flat = (end - begin, height * width, channels)
            part = closing[begin:end] if len(closing) > 1 else closing
            saturated += accumulate_and_send(
                currents.reshape(flat),
                part.reshape(len(part), *flat[1:]),
                population.threshold,
                signed,
                base,
                steps,
                _width(run.network),
                codes[begin:end].reshape(flat),
                spikes[0],
            )
        self.signals[population.name] = Signal(
            values=codes, largest=population.schedule.levels(steps), base=base, steps=steps, spikes=spikes
        )
        self.totals.spikes[population.name] = spikes.sum(axis=1)
        self.totals.saturations[population.name] = np.array([saturated])
        self._count_synapses(population)
        for image in self.wanted:
            self._record_separated(population, image, codes[image : image + 1], closing)

    def _separated_readout(self, population: Readout) -> None:
        closing = self._closing(population)
        chunks = _Chunks(self, population, 1, folded=True)
        for begin, end, currents in chunks:
            currents.fill(0)
            chunks.add(currents, begin, end)
            part = closing[begin:end] if len(closing) > 1 else closing
            self.totals.membranes[0, begin:end] = _channels_first((currents + part)[:, 0], population.shape)
        self._count_synapses(population)
        for image in self.wanted:
            current, accumulated = self._taken_in(population, image)
            self._record(
                population.name,
                image,
                Activity(
                    current=_channels_first(current, population.shape),
                    static_current=self._static_part(population, image),
                    accumulated=_channels_first(accumulated, population.shape),
                    membrane=self.totals.membranes[:, image],
                ),
            )

    def _length(self, population: Spiking | Readout) -> int:
        """The steps that a population in a rate schedule runs for certain."""
        longest = max((source.length for _, source in self._moving(population)), default=0)
        return max(longest, self.run.steps + max(self.run.drain, 0))

    def _moving(self, population: Spiking | Readout) -> Iterable[tuple[Link, Signal]]:
        """The projections from sources that are not static."""
        for link in self.run.links.get(population.name, ()):
            signal = self.signals[link.projection.source]
            if not signal.static:
                yield link, signal

    def _static_currents(self, population: Spiking | Readout) -> NDArray[np.int32]:
        """What static sources add in a step: ``(N, 1, H, W, C)``, or ``(1, 1, H, W, C)`` where there are none."""
        channels, height, width = spatial(population.shape)
        result = np.zeros((1, 1, height, width, channels), np.int32)
        for link in self.run.links.get(population.name, ()):
            signal = self.signals[link.projection.source]
            if not signal.static:
                continue
            sums = self.workspace.currents("static", (self.number, 1, height, width, channels))
            sums.fill(0)
            link.synapses.add(signal.values, signal.largest, sums, self.workspace)
            result = result + _shifted(link.projection, sums, spatial(population.shape))
        return result

    def _closing(self, population: Spiking | Readout) -> NDArray[np.int64]:
        """What an accumulation ends with, the initial membrane excepted: ``(N or 1, 1, H, W, C) int64``."""
        times = 1 if population.schedule.base == 2 else self.run.steps
        bias = _channels_last(population.bias, population.shape)
        return times * (self._static_currents(population).astype(np.int64) + bias)

    def _fill(self, currents: NDArray[np.int32], base: NDArray[np.int32], begin: int, end: int) -> None:
        """Start a chunk's currents with bias and static current; drain steps with nothing."""
        currents[:, : self.run.steps] = base[begin:end] if len(base) > 1 else base
        currents[:, self.run.steps :] = 0

    def _at_marks(self, per_step: NDArray[np.int64]) -> NDArray[np.int64]:
        """Totals up to each requested T of counts in each step."""
        if len(self.run.marks) == 1:
            return per_step.sum(keepdims=True)
        return np.cumsum(per_step)[np.array(self.run.marks) - 1]

    def _count_synapses(self, population: Spiking | Readout) -> None:
        counts = self.totals.synaptic_operations
        for link, signal in self._moving(population):
            label = link.projection.label
            counts[label] = counts.get(label, 0) + self._at_marks(signal.spikes @ link.fan_out.ravel())

    # Recording: what the kernels do not keep is computed again from currents and events.

    def _wanted_in(self, begin: int, end: int) -> list[int]:
        return [image for image in self.wanted if begin <= image < end]

    def _record(self, name: str, image: int, activity: Activity) -> None:
        assert self.run.recorder is not None
        self.run.recorder.record(self.run.steps, self.first + image, name, activity)

    def _record_source(self, name: str, shape: Shape) -> None:
        signal = self.signals[name]
        for image in self.wanted:
            values = signal.values[image : image + 1]
            if signal.static:
                self._record(name, image, Activity(events=_channels_first(values[0].astype(np.int16), shape)))
            else:
                one = Signal(values=values, base=signal.base, steps=signal.steps)
                events = _channels_first(one.train(one.length)[0], shape)
                self._record(name, image, Activity(events=events, count=_weighted_sum(events, signal.base)))

    def _record_rate(self, population: Spiking, image: int, current: NDArray[np.int32]) -> None:
        shape = population.shape
        events = _channels_first(self.signals[population.name].values[image], shape)
        currents = np.zeros(events.shape, np.int32)
        currents[: len(current)] = _channels_first(current, shape)
        before = np.empty(events.shape, np.int32)
        membrane = np.empty(events.shape, np.int32)
        threshold = _per_channel(population.threshold, shape)
        v = np.broadcast_to(_per_channel(population.initial_membrane, shape).astype(np.int64), shape)
        for step in range(len(events)):
            before[step] = np.clip(v + currents[step], *_width(self.run.network))
            membrane[step] = v = before[step] - events[step] * threshold
        self._record(
            population.name,
            image,
            Activity(
                events=events,
                current=currents,
                static_current=self._static_part(population, image),
                before=before,
                membrane=membrane,
                count=_weighted_sum(events, 1),
            ),
        )

    def _record_separated(
        self, population: Spiking, image: int, codes: NDArray[np.int32], closing: NDArray[np.int64]
    ) -> None:
        shape = population.shape
        base, steps = population.schedule.base, self.run.steps
        current, accumulated = self._taken_in(population, image)
        events = _channels_first(digits(codes, base, steps)[0], shape)
        before = np.empty(events.shape, np.int32)
        membrane = np.empty(events.shape, np.int32)
        threshold = _per_channel(population.threshold, shape).astype(np.int64)
        closed = accumulated[-1] + closing[image if len(closing) > 1 else 0, 0]
        v = np.clip(_channels_first(closed, shape), *_width(self.run.network))
        for step in range(steps):
            before[step] = v
            membrane[step] = v = v - events[step] * threshold * base ** (steps - 1 - step)
        self._record(
            population.name,
            image,
            Activity(
                events=events,
                current=_channels_first(current, shape),
                static_current=self._static_part(population, image),
                accumulated=_channels_first(accumulated, shape),
                before=before,
                membrane=membrane,
                count=_weighted_sum(events, base),
            ),
        )

    def _taken_in(self, population: Spiking | Readout, image: int) -> tuple[NDArray[np.int32], NDArray[np.int64]]:
        """One image's currents and sums in each step of an accumulation: ``(T'', H, W, C)`` each."""
        channels, height, width = spatial(population.shape)
        moving = [(link, replace_values(signal, image)) for link, signal in self._moving(population)]
        length = max([signal.length for _, signal in moving], default=self.run.steps)
        currents = self.workspace.currents("recorded", (1, length, height, width, channels))
        currents.fill(0)
        for link, signal in moving:
            link.synapses.add(signal.train(length), 1, currents, self.workspace)
        current = currents[0].copy()
        return current, _weighted_sum(current, population.schedule.base)

    def _static_part(self, population: Spiking | Readout, image: int) -> NDArray[np.int32]:
        currents = self._static_currents(population)
        return _channels_first(currents[image if len(currents) > 1 else 0, 0], population.shape)


def replace_values(signal: Signal, image: int) -> Signal:
    """The signal of one image of the slice."""
    return Signal(values=signal.values[image : image + 1], base=signal.base, steps=signal.steps)


class _Chunks:
    """The images of a slice, a few at a time, with an array for the currents of a population."""

    def __init__(self, owner: _Slice, population: Spiking | Readout, length: int, *, folded: bool = False) -> None:
        self.owner = owner
        channels, height, width = spatial(population.shape)
        self.shape = (length, height, width, channels)
        self.sources = [
            (link, source.code() if folded else Signal(values=source.train(length)))
            for link, source in owner._moving(population)
        ]

    def __iter__(self) -> Iterable[tuple[int, int, NDArray[np.int32]]]:
        size = max(1, CHUNK_BYTES // (4 * int(np.prod(self.shape))))
        for begin in range(0, self.owner.number, size):
            end = min(begin + size, self.owner.number)
            yield begin, end, self.owner.workspace.currents("currents", (end - begin, *self.shape))

    def add(self, currents: NDArray[np.int32], begin: int, end: int) -> None:
        """Add what the sources send to the currents of a chunk."""
        for link, signal in self.sources:
            link.synapses.add(signal.values[begin:end], signal.largest, currents, self.owner.workspace)


class _Neurons:
    """Neurons of a rate schedule and their train ``(N, T', P, C)``, which grows where they run until quiet."""

    def __init__(self, population: Spiking, run: Run, number: int, length: int) -> None:
        channels, height, width = spatial(population.shape)
        self.population = population
        self.shape = (height * width, channels)
        self.until_quiet = run.drain == UNTIL_QUIET
        # A sum that provably fits int32 runs twice as fast.
        largest = 1 << (run.network.membrane_bits - 1)
        self.arithmetic = np.int32 if largest + run.largest[population.name] < 2**31 else np.int64
        self.limits = population.limits(run.steps)
        self.width = _width(run.network)
        pixels = next(n for n in range(max(1, ROW // channels), 0, -1) if self.shape[0] % n == 0)
        self.row = pixels * channels
        settings = population.threshold, population.negative_threshold, population.initial_membrane
        self.neuron = tuple(np.tile(values, pixels) for values in settings)
        self.length = length
        self.train = np.empty((number, length, *self.shape), np.int8)
        self.saturated = np.zeros(length, np.int64)

    def run(self, currents: NDArray[np.int32], begin: int, end: int, workspace: Workspace) -> None:
        """Run the images from ``begin`` to ``end`` through ``(N, T, H, W, C)`` currents, and on until they are quiet."""
        number, steps = currents.shape[:2]
        rows = (number, self.shape[0] * self.shape[1] // self.row, self.row)
        size = int(np.prod(rows))
        membrane = workspace.take("membrane", size, np.int32)[:size].reshape(rows)
        count = workspace.take("count", size, np.int32)[:size].reshape(rows)
        self._fire(currents.reshape(number, steps, *rows[1:]), membrane, count, 0, begin, end)
        if not self.until_quiet:
            return
        silence = np.zeros((number, 1, *rows[1:]), np.int32)
        step = steps
        while True:
            if step == self.train.shape[1]:
                self._grow()
            self._fire(silence, membrane, count, step, begin, end)
            if not self.train[begin:end, step].any():
                break
            step += 1
            self.length = max(self.length, step)

    def _fire(self, currents: Any, membrane: Any, count: Any, first: int, begin: int, end: int) -> None:
        part = self.train[begin:end]
        integrate_and_fire(
            currents,
            membrane,
            count,
            self.neuron,
            self.limits,
            self.width,
            self.arithmetic,
            first,
            part.reshape(*part.shape[:2], *currents.shape[2:]),
            self.saturated,
        )

    def _grow(self) -> None:
        steps = self.train.shape[1]
        if steps > LONGEST_DRAIN:
            raise InputError(
                f"population '{self.population.name}' still fires after {steps} steps: "
                "give the drain a number of steps, or the neurons a cap"
            )
        self.train = np.concatenate([self.train, np.zeros_like(self.train)], axis=1)
        self.saturated = np.concatenate([self.saturated, np.zeros_like(self.saturated)])

    def finish(self) -> tuple[NDArray[np.int8], NDArray[np.int64]]:
        """The train, contiguous, and the saturations of each step; membranes may still clamp in the first quiet one."""
        return np.ascontiguousarray(self.train[:, : self.length]), self.saturated


def _counted(train: NDArray[np.int8]) -> NDArray[np.int64]:
    """The number of non-zero events in each step at each pixel of ``(N, T, H, W, C)`` maps: ``(T, P)``."""
    number, steps, height, width, channels = train.shape
    counts = np.zeros((steps, height * width), np.int64)
    count_events(train.reshape(number, steps, height * width, channels), counts)
    return counts


def _width(network: Network) -> tuple[int, int]:
    """Smallest and largest membrane."""
    return -(1 << (network.membrane_bits - 1)), (1 << (network.membrane_bits - 1)) - 1


def _last_readers(network: Network) -> dict[str, list[str]]:
    """For each population, the sources that no later one reads."""
    last = {population.name: population.name for population in network.populations}
    last.update({projection.source: projection.target for projection in network.projections})
    order = {population.name: index for index, population in enumerate(network.populations)}
    for name in last:
        readers = [p.target for p in network.projections if p.source == name]
        readers += [p.name for p in network.populations if isinstance(p, MaxPool) and p.source == name]
        last[name] = max(readers, key=order.__getitem__, default=name)
    released: dict[str, list[str]] = {name: [] for name in last}
    for name, reader in last.items():
        if name != network.readout.name:
            released[reader].append(name)
    return released


def _maximum(population: MaxPool, values: NDArray[Any]) -> NDArray[np.int32]:
    """The maxima in each window of ``(N, T, H, W, C)`` maps."""
    number, steps, _, _, channels = values.shape
    maxima = np.empty((number, steps, *population.shape[1:], channels), np.int32)
    window_maximum(
        values.reshape(-1, *values.shape[2:]),
        (*population.kernel, *population.stride, population.padding[0], population.padding[2]),
        population.zero_padding,
        maxima.reshape(-1, *maxima.shape[2:]),
    )
    return maxima


def _shifted(projection: Projection, sums: NDArray[np.int32], target: Shape) -> NDArray[np.int32]:
    """The rounding right shift of each output channel, on ``(N, 1, H, W, C)`` sums of the whole target."""
    if projection.shift is None:
        return sums
    shift = np.zeros(target[0], np.int32)
    if projection.kind == "dense" and len(projection.shift) != target[0]:
        each = projection.shift.reshape(target).transpose(1, 2, 0)
        return (sums + ((np.int32(1) << each) >> 1)) >> each
    shift[projection.channel : projection.channel + len(projection.shift)] = projection.shift
    return (sums + ((np.int32(1) << shift) >> 1)) >> shift


def _channels_last(bias: NDArray[np.int32], shape: Shape) -> NDArray[np.int32]:
    """A ``(C,)`` or ``(C, H, W)`` bias, ready to be added to ``(..., H, W, C)``."""
    return bias if bias.ndim == 1 else np.ascontiguousarray(bias.transpose(1, 2, 0))


def _channels_first(maps: NDArray[Any], shape: Shape) -> NDArray[Any]:
    """``(..., H, W, C)`` maps as ``(..., *shape)``."""
    return np.ascontiguousarray(np.moveaxis(maps, -1, -3)).reshape(*maps.shape[:-3], *shape)


def _per_channel(values: NDArray[np.int32], shape: Shape) -> NDArray[np.int32]:
    return values.reshape(-1, *[1] * (len(shape) - 1))


def _weighted_sum(events: NDArray[Any], base: int) -> NDArray[Any]:
    """``P(t) = base * P(t - 1) + events(t)``: int32 for events, int64 for currents."""
    sums = np.empty(events.shape, np.int32 if events.dtype == np.int8 else np.int64)
    running = np.zeros(events.shape[1:], sums.dtype)
    for step in range(len(events)):
        sums[step] = running = base * running + events[step]
    return sums
