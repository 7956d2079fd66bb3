"""One population after the other on a slice of images: event trains in, event train out.

A network is feed-forward, so running a population through all its steps before the next one starts gives the integers
of running the whole network step by step (numerics.md, sections 3 and 5). Between temporally separated populations
codes take the place of trains: accumulation is exact, so one pass over them equals the T passes.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from refsnn.geometry import NO_PADDING, Shape
from refsnn.kernels import Workspace
from refsnn.kernels.maps import Layout, Maps
from refsnn.kernels.remembered import remember
from refsnn.network import Input, MaxPool, Network, Population, Projection, Readout, Spiking
from refsnn.simulate.links import Link
from refsnn.simulate.recording import (
    Activity,
    active_steps,
    rate_activity,
    separated_activity,
    source_activity,
    weighted_sums,
)
from refsnn.simulate.run import Run, Totals
from refsnn.simulate.signals import (
    Signal,
    channels_first,
    channels_last,
    count_spikes,
    digits,
    max_pool,
    spatial,
)
from refsnn.simulate.trains import Neurons

if TYPE_CHECKING:
    from refsnn.kernels.plan import Dense, Feed

CHUNK_BYTES = 1 << 20
"""Currents worked on at a time: they stay in the second-level cache between the synapses and the neurons."""


@dataclass(slots=True)
class Script:
    """What is done to every slice of so many images: written down with the first, repeated for the others.

    Where each population goes the dense way, slices differ in nothing but pixels, and what Python does between the
    kernels would take as long as the kernels of a small network.

    Attributes:
        fill: takes the images in.
        steps: what follows, in order.
        end: the readout's membranes.
        drained: of ``Totals``.
        possible: whether it has not come to something that depends on more than events in maps.
    """

    fill: Callable[[NDArray[np.uint8]], None] | None = None
    steps: list[Callable[[], None]] = field(default_factory=list)
    end: Callable[[], NDArray[np.int64]] | None = None
    drained: int = 0
    possible: bool = True

    @property
    def complete(self) -> bool:
        """Whether it can be repeated."""
        return self.possible and self.fill is not None and self.end is not None

    def __call__(self, images: NDArray[np.uint8]) -> NDArray[np.int64]:
        assert self.fill is not None
        assert self.end is not None
        self.fill(images)
        for step in self.steps:
            step()
        return self.end()


class Slice:
    """The state of one slice on its way through the network.

    Attributes:
        membranes: of the readout, in the end.
        script: what was done.
    """

    def __init__(
        self,
        run: Run,
        first: int,
        images: NDArray[np.uint8],
        wanted: list[int],
        workspace: Workspace,
        totals: Totals,
    ) -> None:
        self._run = run
        self._first = first
        self._images = images
        self._wanted = wanted
        self._workspace = workspace
        self._totals = totals
        self._memory = workspace.memory
        self._dense = {} if wanted else run.dense
        self._signals: dict[str, Signal] = {}
        self._feeds: dict[Feed, Maps] = {}
        self.membranes = np.zeros((len(run.marks), len(images), *run.network.readout.shape), np.int64)
        self.script = Script()

    def run(self) -> None:
        """Run all populations."""
        network = self._run.network
        last = remember(network, "last readers", lambda: _last_readers(network))
        for population in self._run.network.populations:
            if isinstance(population, Input):
                self._input(population)
            elif isinstance(population, Spiking) and population.name in self._dense:
                self._dense_spiking(population, self._dense[population.name])
            elif isinstance(population, Readout) and population.name in self._dense:
                self._dense_readout(population, self._dense[population.name])
            elif isinstance(population, MaxPool):
                self._max_pool(population)
            elif isinstance(population, Readout):
                self._readout(population)
            elif population.schedule.separated:
                self._separated(population)
            else:
                self._rate(population)
            if isinstance(population, Input | MaxPool):
                self._record_source(population)
            for name in last[population.name]:
                self._forget(name)
        self._totals.drained = max(self._totals.drained, self.script.drained)

    def _do(self, step: Callable[[], None]) -> None:
        """Do what is to be done to every slice."""
        step()
        self.script.steps.append(step)

    def _input(self, population: Input) -> None:
        if not self._wanted and any(feed[0] == population.name for feed in self._run.halos):
            self._dense_input(population)
            return
        channels = np.arange(population.shape[0])
        pixels = self._images.reshape(-1, *spatial(population.shape)).transpose(0, 2, 3, 1)
        values = population.table[channels, pixels].astype(np.int32)[:, np.newaxis]
        self._signals[population.name] = Signal(plain=values, graded=True, static=True, largest=population.largest)

    def _forget(self, name: str) -> None:
        """Let go of what a population sent."""
        signal = self._signals.pop(name, None)
        held = [] if signal is None or signal.maps is None else [signal.maps]
        for feed in [feed for feed in self._feeds if feed[0] == name]:
            maps = self._feeds.pop(feed)
            if maps not in held:
                held.append(maps)
        for maps in held:
            self._memory.give(maps)

    def _max_pool(self, population: MaxPool) -> None:
        source = self._signals[population.source]
        signal = None
        if not source.static and source.maps is not None and not self._wanted:
            from refsnn.kernels import pools  # what the dense kernels need is loaded with them

            if source.length <= pools.LONGEST:
                signal = self._dense_max_pool(population, source, source.maps)
        if signal is None:
            self.script.possible = False
            signal = max_pool(self._run.kernels, population, source)
            if not signal.static:
                self._totals.add(Totals({population.name: self._run.in_steps(signal.spikes)}))
        self._signals[population.name] = signal

    # Dense kernels

    def _dense_input(self, population: Input) -> None:
        signal = Signal(graded=True, static=True, largest=population.largest)
        signal.maps = maps = self._take(population.name, signal, len(self._images))
        fill = partial(maps.look_up, population.table)
        fill(self._images)
        self.script.fill = fill
        self._signals[population.name] = signal

    def _take(self, name: str, signal: Signal, rows: int) -> Maps:
        """Maps for the events of a population."""
        from refsnn.kernels.plan import LARGEST, OFFSET  # what the dense kernels need is loaded with them

        layout = Layout(spatial(self._run.network[name].shape), rows, self._run.halos.get((name, None), NO_PADDING))
        offset = OFFSET if signal.graded and signal.largest > LARGEST else 0
        return self._memory.take(layout, len(self._images), offset)

    def _dense_max_pool(self, population: MaxPool, source: Signal, held: Maps) -> Signal:
        from refsnn.kernels import pools

        maps = self._take(population.name, source, held.layout.rows)
        key = population.name, held, maps
        if key not in self._memory.calls:
            self._memory.calls[key] = pools.Maximum(held, maps, population, source.base)
        self._do(self._memory.calls[key].run)
        return dataclasses.replace(source, plain=None, maps=maps)

    def _dense_spiking(self, population: Spiking, dense: Dense) -> None:
        number, steps = len(self._images), self._run.steps
        signal = Signal(steps=steps)
        if population.schedule.separated:
            signal.graded, signal.base = True, population.schedule.base
            signal.largest = population.schedule.levels(steps)
        else:
            self.script.drained = dense.length - steps
        maps = self._take(population.name, signal, number if signal.graded else number * dense.length)
        call = dense.call(self._dense_feeds(dense), number, maps, self._memory)
        beside = self._beside(population, dense)
        if beside is not None:
            call.add(beside)
            self.script.possible = False
        self._do(call.run)
        signal.maps = maps
        self._signals[population.name] = signal

    def _dense_readout(self, population: Readout, dense: Dense) -> None:
        number = len(self._images)
        call = dense.call(self._dense_feeds(dense), number, None, self._memory)
        self._do(call.run)
        assert call.sums is not None
        static = self._beside(population, dense)
        self.script.possible &= static is None
        self.script.end = end = partial(dense.membranes, call.sums, number, static, self._run.marks)
        self.membranes = end()

    def _dense_feeds(self, dense: Dense) -> dict[Feed, Maps]:
        """The events that a population reads, among others, in its layout; made once for all that read them."""
        for feed in dense.feeds:
            if feed not in self._feeds:
                self._feeds[feed] = self._feed(feed, dense.length)
        return self._feeds

    def _feed(self, feed: Feed, length: int) -> Maps:
        name, pool = feed
        signal = self._signals[name]
        number = len(self._images)
        rows = number if signal.graded else number * length
        if signal.maps is None:
            self.script.possible = False
            signal.maps = self._take(name, signal, rows)
            signal.maps.fill(signal.values if signal.graded else signal.train(length))
        if pool is None:
            return signal.maps
        from refsnn.kernels.pools import Sum

        shape = pool.output(spatial(self._run.network[name].shape))
        pooled = self._memory.take(Layout(shape, rows, self._run.halos[feed]), number)
        self._do(Sum(signal.maps, pooled, pool).run)
        return pooled

    def _beside(self, population: Spiking | Readout, dense: Dense) -> NDArray[np.int32] | None:
        """The currents from static sources ``(N, H, W, C)`` of a population that reads others as well."""
        if not dense.beside:
            return None
        times = self._run.steps if population.schedule.separated and population.schedule.base == 1 else 1
        beside: NDArray[np.int32] = times * self._static_currents(population)[:, 0]
        return beside

    # Kernels that the plan left out

    def _rate(self, population: Spiking) -> None:
        self.script.possible = False
        channels, height, width = spatial(population.shape)
        static = self._static_currents(population)
        neurons = Neurons(population, self._run, len(self._images), self._length(population))
        kept: dict[int, NDArray[np.int32]] = {}
        for begin, end, currents in self._rate_currents(population, static):
            for image in self._wanted_in(begin, end):
                kept[image] = channels_first(currents[image - begin], population.shape)
            neurons.run(currents, begin, end, self._workspace)
        flat, saturated = neurons.finish()
        train = flat.reshape(len(self._images), -1, height, width, channels)
        signal = Signal(plain=train, steps=self._run.steps, spikes=count_spikes(self._run.kernels, train))
        self._signals[population.name] = signal
        self._totals.drained = max(self._totals.drained, signal.length - self._run.steps)
        self._count(population, signal, saturated)
        for image, current in kept.items():
            events = channels_first(train[image], population.shape)
            constant = _of_image(static, image, population.shape)
            activity = rate_activity(population, events, current, constant, self._run.width, self._run.shortest)
            self._record(population, image, activity)

    def _separated(self, population: Spiking) -> None:
        self.script.possible = False
        channels, height, width = spatial(population.shape)
        base, steps = population.schedule.base, self._run.steps
        static = self._static_currents(population)
        closing = self._closing(population, static) + population.initial_membrane
        codes = np.empty((len(self._images), 1, height, width, channels), np.int32)
        spikes = np.zeros((1, height * width), np.int64)
        saturated = 0
        most = int(population.threshold.max()) * base ** (steps - 1)
        arithmetic = np.int32 if max(most, 1 << self._run.network.membrane_bits) < 2**31 else np.int64
        membrane = np.empty(channels, arithmetic)
        for begin, end, currents in self._sums(population):
            flat = (-1, height * width, channels)
            saturated += self._run.kernels.accumulate_and_send(
                currents.reshape(flat),
                _part(closing, begin, end).reshape(flat),
                population.threshold,
                population.neuron == "signed",
                base,
                steps,
                self._run.width,
                arithmetic,
                membrane,
                codes[begin:end].reshape(flat),
                spikes[0],
            )
        largest = population.schedule.levels(steps)
        signal = Signal(plain=codes, graded=True, largest=largest, base=base, steps=steps, spikes=spikes)
        self._signals[population.name] = signal
        self._count(population, signal, np.array([saturated]))
        for image in self._wanted:
            activity = separated_activity(
                population,
                channels_first(digits(codes[image : image + 1], base, steps)[0], population.shape),
                self._taken_in(population, image),
                _of_image(static, image, population.shape),
                _of_image(closing, image, population.shape),
                self._run.width,
            )
            self._record(population, image, activity)

    def _readout(self, population: Readout) -> None:
        self.script.possible = False
        static = self._static_currents(population)
        if population.schedule.separated:
            self._separated_readout(population, static)
        else:
            self._rate_readout(population, static)

    def _rate_readout(self, population: Readout, static: NDArray[np.int32]) -> None:
        marks = self._run.marks
        for begin, end, currents in self._rate_currents(population, static):
            sums = channels_first(np.cumsum(currents, axis=1, dtype=np.int64), population.shape)
            ends = [-1] if len(marks) == 1 else [mark - 1 for mark in marks]
            self.membranes[:, begin:end] = np.moveaxis(sums[:, ends], 1, 0)
            for image in self._wanted_in(begin, end):
                current = channels_first(currents[image - begin], population.shape)
                length = active_steps(self._run.shortest, current)
                activity = Activity(
                    current=current[:length],
                    static_current=_of_image(static, image, population.shape),
                    membrane=sums[image - begin, :length],
                )
                self._record(population, image, activity)

    def _separated_readout(self, population: Readout, static: NDArray[np.int32]) -> None:
        closing = self._closing(population, static)
        for begin, end, currents in self._sums(population):
            closed = (currents + _part(closing, begin, end))[:, 0]
            self.membranes[0, begin:end] = channels_first(closed, population.shape)
        for image in self._wanted:
            current = self._taken_in(population, image)
            activity = Activity(
                current=current,
                static_current=_of_image(static, image, population.shape),
                accumulated=weighted_sums(current, population.schedule.base),
                membrane=self.membranes[:, image],
            )
            self._record(population, image, activity)

    # Currents

    def _moving(self, population: Spiking | Readout) -> Iterator[tuple[Link, Signal]]:
        """The projections from sources that are not static."""
        for link in self._run.links.get(population.name, ()):
            signal = self._signals[link.projection.source]
            if not signal.static:
                yield link, signal

    def _length(self, population: Spiking | Readout) -> int:
        """The steps that a population in a rate schedule runs for certain."""
        return max([self._run.shortest, *(source.length for _, source in self._moving(population))])

    def _rate_currents(
        self, population: Spiking | Readout, static: NDArray[np.int32]
    ) -> Iterator[tuple[int, int, NDArray[np.int32]]]:
        """The currents of each step for a few images at a time: ``begin, end, (N, T', H, W, C)``."""
        steps, length = self._run.steps, self._length(population)
        constant = static + channels_last(population.bias)
        sources = [(link, signal.train(length)) for link, signal in self._moving(population)]
        for begin, end, currents in self._chunks(population, length):
            currents[:, :steps] = _part(constant, begin, end)
            currents[:, steps:] = 0
            for link, train in sources:
                link.synapses.add(train[begin:end], 1, currents, self._workspace)
            yield begin, end, currents

    def _sums(self, population: Spiking | Readout) -> Iterator[tuple[int, int, NDArray[np.int32]]]:
        """What an accumulation takes in, for a few images at a time: ``begin, end, (N, 1, H, W, C)``."""
        sources = [(link, signal.code()) for link, signal in self._moving(population)]
        for begin, end, currents in self._chunks(population, 1):
            currents.fill(0)
            for link, code in sources:
                link.synapses.add(code.values[begin:end], code.largest, currents, self._workspace)
            yield begin, end, currents

    def _chunks(self, population: Spiking | Readout, length: int) -> Iterator[tuple[int, int, NDArray[np.int32]]]:
        channels, height, width = spatial(population.shape)
        shape = (length, height, width, channels)
        size = max(1, CHUNK_BYTES // (4 * int(np.prod(shape))))
        for begin in range(0, len(self._images), size):
            end = min(begin + size, len(self._images))
            yield begin, end, self._workspace.currents("currents", (end - begin, *shape))

    def _static_currents(self, population: Spiking | Readout) -> NDArray[np.int32]:
        """What static sources add in a step: ``(N, 1, H, W, C)``, or ``(1, 1, H, W, C)`` where there are none."""
        channels, height, width = spatial(population.shape)
        result = np.zeros((1, 1, height, width, channels), np.int32)
        for link in self._run.links.get(population.name, ()):
            signal = self._signals[link.projection.source]
            if signal.static:
                sums = self._workspace.currents("static", (len(self._images), 1, height, width, channels))
                sums.fill(0)
                link.synapses.add(signal.values, signal.largest, sums, self._workspace)
                result = result + _shifted(link.projection, sums)
        return result

    def _closing(self, population: Spiking | Readout, static: NDArray[np.int32]) -> NDArray[np.int64]:
        """What an accumulation ends with, the initial membrane excepted: ``(N or 1, 1, H, W, C) int64``."""
        times = 1 if population.schedule.base == 2 else self._run.steps
        return times * (static.astype(np.int64) + channels_last(population.bias))

    def _taken_in(self, population: Spiking | Readout, image: int) -> NDArray[np.int32]:
        """One image's currents in each step of an accumulation: ``(T'', *shape)``."""
        channels, height, width = spatial(population.shape)
        moving = [(link, signal.image(image)) for link, signal in self._moving(population)]
        length = max([self._run.steps, *(signal.length for _, signal in moving)])
        currents = self._workspace.currents("recorded", (1, length, height, width, channels))
        currents.fill(0)
        for link, signal in moving:
            link.synapses.add(signal.train(length), 1, currents, self._workspace)
        current: NDArray[np.int32] = channels_first(currents[0], population.shape)
        return current[: active_steps(self._run.steps, current)]

    # Counters and recording

    def _count(self, population: Spiking, signal: Signal, saturated: NDArray[np.int64]) -> None:
        name, in_steps = population.name, self._run.in_steps
        self._totals.add(Totals({name: in_steps(signal.spikes)}, {name: in_steps(saturated)}))

    def _wanted_in(self, begin: int, end: int) -> list[int]:
        return [image for image in self._wanted if begin <= image < end]

    def _record(self, population: Population, image: int, activity: Activity) -> None:
        assert self._run.recorder is not None
        self._run.recorder.record(self._run.steps, self._first + image, population.name, activity)

    def _record_source(self, population: Input | MaxPool) -> None:
        for image in self._wanted:
            signal = self._signals[population.name].image(image)
            if signal.static:
                events = channels_first(signal.values[0].astype(np.int16), population.shape)
                self._record(population, image, Activity(events=events))
            else:
                events = channels_first(signal.train(signal.length)[0], population.shape)
                shortest = self._run.steps if population.schedule.separated else self._run.shortest
                events = events[: active_steps(min(shortest, len(events)), events)]
                self._record(population, image, source_activity(events, signal.base))


def _last_readers(network: Network) -> dict[str, list[str]]:
    """For each population, the sources that no later one reads."""
    names = [population.name for population in network.populations]
    last = dict(zip(names, names, strict=True))
    for population in network.populations:
        sources = [projection.source for projection in network.incoming(population.name)]
        if isinstance(population, MaxPool):
            sources = [population.source]
        for source in sources:
            last[source] = population.name
    return {reader: [name for name in last if last[name] == reader] for reader in last}


def _shifted(projection: Projection, sums: NDArray[np.int32]) -> NDArray[np.int32]:
    """The rounding right shift, one for each row of weights, on ``(N, 1, H, W, C)`` sums of the whole target."""
    if projection.shift is None:
        return sums
    height, width, channels = sums.shape[2:]
    if projection.kind == "dense":
        shift = channels_last(projection.shift.reshape(channels, height, width))
    else:
        shift = np.zeros(channels, np.int32)
        shift[projection.channel : projection.channel + len(projection.shift)] = projection.shift
    rounded: NDArray[np.int32] = (sums + ((np.int32(1) << shift) >> 1)) >> shift
    return rounded


def _part(constant: NDArray[Any], begin: int, end: int) -> NDArray[Any]:
    """The images ``begin`` to ``end`` of an array that may be the same for all."""
    return constant[begin:end] if len(constant) > 1 else constant


def _of_image(constant: NDArray[Any], image: int, shape: Shape) -> NDArray[Any]:
    """One image's map, channels first, of an array ``(N or 1, 1, H, W, C)`` that may be the same for all."""
    return channels_first(constant[image if len(constant) > 1 else 0, 0], shape)
