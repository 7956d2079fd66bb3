"""What is worth having in a test, in words, found in the data: never asserted by hand."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from golden import synapses
from golden.layout import Arrays, per_channel, spatial
from golden.manifest import FlagRecord, Place
from refsnn.network import Input, MaxPool, Network, Projection, Readout, Spiking

Mask = NDArray[np.bool_]
"""Where something occurs: ``(T', C, H, W)``, ``(C, H, W)`` (once an image), ``(T',)`` (a whole step) or ``()``."""

FLAGS = {
    "threshold met exactly": "u equals the threshold (in base 2 that of the step), and the neuron fires",
    "one below the threshold": "u is the threshold (in base 2 that of the step) minus 1, and the neuron does not fire",
    "negative spike": "a neuron sends -1",
    "negative threshold met exactly": "u equals minus the negative threshold, which is not below it: no spike",
    "one below the negative threshold": "u is 1 below minus the negative threshold, and the neuron sends -1",
    "negative spike blocked by the gate": "u is below minus the negative threshold, but the net count is at its lowest",
    "cap reached": "u is at or above the threshold, but the net count is at its highest",
    "saturation high": "v + I, or a closed accumulation, is above the largest membrane and is clamped",
    "saturation low": "v + I, or a closed accumulation, is below the smallest membrane and is clamped",
    "membrane beyond its width": "a negative spike leaves v above the largest membrane: only u is clamped",
    "event in every step": "a neuron sends an event in each of the T steps; in base 2 the largest code",
    "drain step fired": "a neuron fires after the T steps",
    "silent step": "nothing at all is sent in a step, by a population that sends something in another",
    "silent population": "nothing at all is sent for an image",
    "runs of different lengths": "a population runs until quiet, and not equally long for all images",
    "graded event": "a sum-pool makes an event beyond -1 .. 1",
    "maximum falls": "a max-pool sends -1",
    "maximum below zero": "the largest count of a max-pool's window is negative",
    "negative pixel": "a quantised pixel is below 0: the sign plane of the input",
    "all-zero image": "every quantised pixel is 0",
    "half rounded up": "what an input's shift cuts off is exactly one half",
    "negative sum shifted": "an input's shift works on a negative sum",
    "stride": "a convolution or an identity skips neurons of its source",
    "dilation": "the taps of a convolution are apart",
    "groups": "a convolution has groups of several channels",
    "depthwise": "a convolution has a group for each channel",
    "zero padding": "a convolution's windows reach beyond the map, where events are 0",
    "uneven padding": "and not equally far on all sides",
    "identity": "a projection has one weight a channel",
    "channel offset": "a projection feeds a population's channels from another than the first on",
    "several projections": "a population has more than one",
    "padded sum-pool": "a sum-pool's windows reach beyond the map",
    "padded maximum, ignored": "a max-pool's windows reach beyond the map; those cells are ignored",
    "padded maximum, zero": "a max-pool's windows reach beyond the map; those cells are a real 0",
    "overlapping maxima": "a max-pool's windows share neurons",
    "extreme weights": "a projection has weights of both -127 and 127",
    "border bias": "a bias differs within a channel",
    "tie of the argmax": "the readout's largest membrane occurs more than once; the lowest index wins",
}


class Watcher:
    """Collects flags from the populations of one image after the other."""

    def __init__(self, network: Network, steps: int) -> None:
        self._network = network
        self._steps = steps
        self._events: dict[str, NDArray[Any]] = {}
        self._lengths: dict[str, int] = {}
        self._counts: dict[str, int] = {}
        self._first: dict[str, Place] = {}

    def see(self, image: int, name: str, arrays: Arrays) -> None:
        """Take a population's arrays; an image's populations come in the network's order."""
        population = self._network[name]
        if isinstance(population, Input):
            found = self._input(arrays)
        elif isinstance(population, MaxPool):
            found = self._max_pool(population, arrays)
        elif isinstance(population, Readout):
            found = self._readout(arrays)
        else:
            found = self._spiking(population, arrays)
        for flag, mask in found:
            self._note(flag, mask, image, name)
        incoming = self._network.incoming(name)
        self._note("several projections", np.bool_(len(incoming) > 1), image, name)
        for projection in incoming:
            for flag, mask in (*self._projection(projection), *_geometry(projection)):
                self._note(flag, mask, image, name)
        if "events" in arrays:
            self._events[name] = arrays["events"]
            length = self._lengths.setdefault(name, len(arrays["events"]))
            self._note("runs of different lengths", np.bool_(len(arrays["events"]) != length), image, name)

    def records(self) -> tuple[FlagRecord, ...]:
        """What was found, in the order of ``FLAGS``."""
        return tuple(
            FlagRecord(name=flag, meaning=meaning, count=self._counts[flag], first=self._first[flag])
            for flag, meaning in FLAGS.items()
            if flag in self._counts
        )

    def _note(self, flag: str, mask: Mask | np.bool_, image: int, name: str) -> None:
        count = int(np.count_nonzero(mask))
        if not count:
            return
        self._counts[flag] = self._counts.get(flag, 0) + count
        if flag not in self._first:
            where = [int(index) for index in np.argwhere(mask)[0]]
            t = where.pop(0) if len(where) in (1, 4) else None
            self._first[flag] = Place(image=image, population=name, t=t, neuron=tuple(where) or None)

    def _input(self, arrays: Arrays) -> Iterator[tuple[str, Mask | np.bool_]]:
        yield "negative pixel", arrays["events"] < 0
        yield "all-zero image", ~arrays["events"].any()

    def _max_pool(self, population: MaxPool, arrays: Arrays) -> Iterator[tuple[str, Mask | np.bool_]]:
        padded = any(population.padding)
        yield "padded maximum, ignored", np.bool_(padded and not population.zero_padding)
        yield "padded maximum, zero", np.bool_(padded and population.zero_padding)
        windows = zip(population.kernel, population.stride, strict=True)
        yield "overlapping maxima", np.bool_(any(kernel > stride for kernel, stride in windows))
        if "count" in arrays:
            yield "maximum falls", arrays["events"] < 0
            yield "maximum below zero", arrays["count"] < 0
            yield from self._silence(arrays["events"])

    def _readout(self, arrays: Arrays) -> Iterator[tuple[str, Mask | np.bool_]]:
        largest = arrays["membrane"][-1] == arrays["membrane"][-1].max()
        yield "tie of the argmax", np.bool_(np.count_nonzero(largest) > 1)
        yield "border bias", _border(self._network.readout.bias)

    def _spiking(self, population: Spiking, arrays: Arrays) -> Iterator[tuple[str, Mask | np.bool_]]:
        events = arrays["events"]
        separated, base = population.schedule.separated, population.schedule.base
        digit = base ** np.arange(len(events) - 1, -1, -1) if separated else np.ones(len(events), np.int64)
        threshold = per_channel(population.threshold) * digit.reshape(-1, 1, 1, 1)
        before = arrays["before"].astype(np.int64)
        yield "threshold met exactly", (before == threshold) & (events == 1)
        yield "one below the threshold", (before == threshold - 1) & (events == 0)
        yield "negative spike", events < 0
        if not separated:
            yield from self._limits(population, arrays)
        yield from self._saturation(population, arrays)
        yield "event in every step", (events[: self._steps] != 0).all(axis=0)
        yield from self._silence(events)
        yield "border bias", _border(population.bias)

    def _limits(self, population: Spiking, arrays: Arrays) -> Iterator[tuple[str, Mask]]:
        """Of a rate schedule: the negative threshold, the gate, the cap, the drain."""
        u, s = arrays["before"].astype(np.int64), arrays["events"]
        n = arrays["count"] - s
        low, high = population.limits(self._steps)
        negative = -per_channel(population.negative_threshold)
        if population.neuron != "if":
            yield "negative threshold met exactly", (u == negative) & (n > low) & (s == 0)
            yield "one below the negative threshold", (u == negative - 1) & (s == -1)
            yield "negative spike blocked by the gate", (u < negative) & (n <= low)
        yield "cap reached", (u >= per_channel(population.threshold)) & (n >= high)
        late = np.arange(len(s)).reshape(-1, 1, 1, 1) >= self._steps
        yield "drain step fired", (s != 0) & late

    def _saturation(self, population: Spiking, arrays: Arrays) -> Iterator[tuple[str, Mask]]:
        initial = per_channel(population.initial_membrane)
        half = 1 << (self._network.membrane_bits - 1)
        if population.schedule.separated:
            times = 1 if population.schedule.base == 2 else self._steps
            closing = arrays["static_current"].astype(np.int64) + per_channel(population.bias)
            exact = arrays["accumulated"][-1] + times * closing + initial
        else:
            before = arrays["membrane"].astype(np.int64)
            start = np.broadcast_to(initial, spatial(population.shape))
            exact = np.concatenate([start[None], before[:-1]]) + arrays["current"]
        yield "saturation high", exact > half - 1
        yield "saturation low", exact < -half
        yield "membrane beyond its width", arrays["membrane"] > half - 1

    def _silence(self, events: NDArray[Any]) -> Iterator[tuple[str, Mask | np.bool_]]:
        active = events.reshape(len(events), -1).any(axis=1)
        yield "silent step", ~active & active.any()
        yield "silent population", ~active.any()

    def _projection(self, projection: Projection) -> Iterator[tuple[str, Mask | np.bool_]]:
        events = self._events[projection.source]
        if projection.kind != "identity":
            yield "extreme weights", np.bool_((projection.weights == 127).any() and (projection.weights == -127).any())
        if projection.pool is not None and not self._network.is_static(projection.source):
            pooled = np.abs(synapses.pooled(projection.pool, events))
            yield "graded event", (pooled > 1).reshape(len(pooled), -1).any(axis=1)
        if projection.shift is not None:
            shape = spatial(self._network[projection.target].shape)
            shift = synapses.shifts(projection, shape)
            total = synapses.sums(projection, events, shape)[0]
            half = (np.int64(1) << shift) >> 1
            yield "half rounded up", (half > 0) & ((total & ((np.int64(1) << shift) - 1)) == half)
            yield "negative sum shifted", (shift > 0) & (total < 0)


def _border(bias: NDArray[np.int32]) -> np.bool_:
    flat = bias.reshape(len(bias), -1)
    return np.bool_((flat != flat[:, :1]).any())


def _geometry(projection: Projection) -> Iterator[tuple[str, np.bool_]]:
    """What a projection's shape is about."""
    conv = projection.kind == "conv"
    each = projection.weights.shape[1] if conv else 0
    yield "stride", np.bool_(projection.stride != (1, 1))
    yield "dilation", np.bool_(projection.dilation != (1, 1))
    yield "groups", np.bool_(conv and projection.groups > 1 and each > 1)
    yield "depthwise", np.bool_(conv and projection.groups > 1 and each == 1)
    yield "zero padding", np.bool_(any(projection.padding))
    yield "uneven padding", np.bool_(len(set(projection.padding)) > 1)
    yield "identity", np.bool_(projection.kind == "identity")
    yield "channel offset", np.bool_(projection.channel > 0)
    yield "padded sum-pool", np.bool_(projection.pool is not None and any(projection.pool.padding))
