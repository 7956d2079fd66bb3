"""The slow, obvious twin of the simulator: ``docs/numerics.md`` word for word, one neuron after the other.

Nothing here knows the kernels. Every projection becomes an explicit matrix, one entry a synapse, on neurons flattened
channels first; every sum is an int64; every neuron is a plain Python loop over the scalar functions of the contract on
Python's unbounded integers.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from itertools import product

import numpy as np

from refsnn.network import UNTIL_QUIET, Input, MaxPool, Network, Projection, Readout, Spiking
from refsnn.neurons import clamp, fire, send


@dataclass
class Result:
    """What ``simulate`` gives for one T; trains ``(N, T', neurons)`` as ``{population: train}``."""

    membranes: np.ndarray
    spikes: dict[str, int] = field(default_factory=dict)
    saturations: dict[str, int] = field(default_factory=dict)
    synaptic_operations: dict[str, int] = field(default_factory=dict)
    input_operations: int = 0
    drain_steps: int = 0
    trains: dict[str, np.ndarray] = field(default_factory=dict)
    befores: dict[str, np.ndarray] = field(default_factory=dict)
    currents: dict[str, np.ndarray] = field(default_factory=dict)


def cells(shape):
    """``(C,)`` as ``(C, 1, 1)``."""
    return shape if len(shape) == 3 else (shape[0], 1, 1)


def matrix(projection: Projection, source, target):
    """All synapses of a projection: weights ``(targets, sources) int64``, and how many each source has."""
    pool = projection.pool
    pooled = pool.output(source) if pool else source
    weights = np.zeros((*target, *pooled), np.int64)
    exists = np.zeros_like(weights)
    if projection.kind == "dense":
        weights[:] = projection.weights.reshape(weights.shape)
        exists[:] = 1
    elif projection.kind == "identity":
        for c, y, x in product(*map(range, pooled)):
            if y % projection.stride[0] == 0 and x % projection.stride[1] == 0:
                at = projection.channel + c, y // projection.stride[0], x // projection.stride[1], c, y, x
                weights[at] = projection.weights[c]
                exists[at] = 1
    else:
        outputs, depth, height, width = projection.weights.shape
        each = outputs // projection.groups
        for y, x, i, j in product(*map(range, target[1:]), range(height), range(width)):
            sy = y * projection.stride[0] - projection.padding[0] + i * projection.dilation[0]
            sx = x * projection.stride[1] - projection.padding[2] + j * projection.dilation[1]
            if 0 <= sy < pooled[1] and 0 <= sx < pooled[2]:
                for o in range(outputs):
                    first = o // each * depth
                    at = projection.channel + o, y, x, slice(first, first + depth), sy, sx
                    weights[at] = projection.weights[o, :, i, j]
                    exists[at] = 1
    weights = weights.reshape(int(np.prod(target)), -1)
    number = exists.reshape(weights.shape).sum(axis=0)
    if pool is None:
        return weights, number
    pools = np.zeros((*pooled, *source), np.int64)
    channels = np.arange(source[0])
    for y, x, i, j in product(*map(range, pooled[1:]), *map(range, pool.kernel)):
        sy, sx = y * pool.stride[0] - pool.padding[0] + i, x * pool.stride[1] - pool.padding[2] + j
        if 0 <= sy < source[1] and 0 <= sx < source[2]:
            pools[channels, y, x, channels, sy, sx] += 1
    pools = pools.reshape(len(number), -1)
    return weights @ pools, number @ pools


def shifted(projection: Projection, sums, target):
    """The rounding shift of each row of weights; ``sums`` is ``(..., targets)``."""
    if projection.shift is None:
        return sums
    shift = np.zeros(target, np.int64)
    if projection.kind == "dense":
        shift[:] = projection.shift.reshape(target)
    else:
        for c, s in enumerate(projection.shift):
            shift[projection.channel + c] = s
    shift = shift.reshape(-1)
    return (sums + ((1 << shift) >> 1)) >> shift


def over(values, shape):
    """``(C,)`` or ``(C, H, W)`` values for each neuron of a population, flattened channels first."""
    values = np.asarray(values, np.int64)
    return np.broadcast_to(values.reshape(*values.shape, *[1] * (3 - values.ndim)), cells(shape)).reshape(-1)


def pixels(network: Network, images):
    """The quantised input ``(N, neurons)``."""
    table = network.input.table
    return np.array(
        [[[int(table[c, b]) for b in image[c].ravel()] for c in range(len(image))] for image in images]
    ).reshape(len(images), -1)


def window(population: MaxPool, source, values):
    """Maximum over each window of ``values``, ``(neurons of source,)``."""
    maps = values.reshape(source)
    result = []
    for c, y, x in product(*map(range, cells(population.shape))):
        seen = []
        for i, j in product(*map(range, population.kernel)):
            sy = y * population.stride[0] - population.padding[0] + i
            sx = x * population.stride[1] - population.padding[2] + j
            if 0 <= sy < source[1] and 0 <= sx < source[2]:
                seen.append(maps[c, sy, sx])
            elif population.zero_padding:
                seen.append(0)
        result.append(max(seen))
    return np.array(result)


class Twin:
    """A network with its matrices; reusable for several runs."""

    def __init__(self, network: Network) -> None:
        self.network = network
        self.matrices = [
            (p, *matrix(p, cells(network[p.source].shape), cells(network[p.target].shape))) for p in network.projections
        ]
        self.low = -(2 ** (network.membrane_bits - 1))
        self.high = 2 ** (network.membrane_bits - 1) - 1

    def run(self, images, steps: int, drain: int | None = None) -> Result:
        """One image after the other, layer after layer, step after step."""
        drain = self.network.drain if drain is None else drain
        readout = self.network.readout
        parts = [self._image(values, steps, drain) for values in pixels(self.network, images)]
        total = Result(np.array([part.membranes for part in parts]).reshape(len(parts), *readout.shape))
        for name in ("spikes", "saturations", "synaptic_operations"):
            counters = [getattr(part, name) for part in parts]
            setattr(total, name, {key: sum(each[key] for each in counters) for key in counters[0]})
        for name in ("trains", "befores", "currents"):
            setattr(total, name, [getattr(part, name) for part in parts])
        total.input_operations = sum(part.input_operations for part in parts)
        total.drain_steps = max(part.drain_steps for part in parts)
        return total

    def _image(self, values, steps, drain):
        network = self.network
        base = network.schedule.base
        result = Result(np.zeros(0))
        trains, static = result.trains, {}
        fixed = drain if drain >= 0 else 0
        rate = [p for p in network.spiking if not p.schedule.separated]
        for population in network.populations:
            name, shape = population.name, cells(population.shape)
            if isinstance(population, Input):
                static[name] = values
                continue
            if isinstance(population, MaxPool):
                source = cells(network[population.source].shape)
                if population.source in static:
                    static[name] = window(population, source, static[population.source])
                    continue
                running = np.zeros(int(np.prod(source)), np.int64)
                before = np.zeros(int(np.prod(shape)), np.int64)
                out = []
                for events in trains[population.source]:
                    running = base * running + events
                    now = window(population, source, running)
                    out.append(now - base * before)
                    before = now
                trains[name] = np.array(out)
                continue
            constant = np.zeros(int(np.prod(shape)), np.int64)
            moving = []
            for projection, weights, fan in self.matrices:
                if projection.target != name:
                    continue
                if projection.source in static:
                    constant = constant + shifted(projection, weights @ static[projection.source], shape)
                    result.input_operations += int(fan.sum())
                else:
                    moving.append((weights, trains[projection.source]))
                    spikes = np.abs(trains[projection.source]).sum(axis=0)
                    counts = result.synaptic_operations
                    counts[projection.label] = counts.get(projection.label, 0) + int(spikes @ fan)
            constant = constant + over(population.bias, population.shape)
            length = max([len(train) for _, train in moving], default=0)
            if not population.schedule.separated:
                length = max(length, steps + fixed)
            currents = []
            for t in range(length):
                current = np.zeros_like(constant)
                for weights, train in moving:
                    if t < len(train):
                        current = current + weights @ train[t]
                currents.append(current)
            if isinstance(population, Readout):
                result.membranes = self._accumulate(population, currents, constant, steps)
            elif population.schedule.separated:
                self._separated(population, currents, constant, steps, result)
            else:
                for t in range(min(steps, length)):
                    currents[t] = currents[t] + constant
                self._rate(population, currents, steps, drain, result)
        if drain >= 0:
            result.drain_steps = drain if rate else 0
        else:
            lasts = [np.flatnonzero(trains[p.name].any(axis=1)).max(initial=-1) + 1 for p in rate]
            result.drain_steps = max(0, max(lasts, default=0) - steps)
        return result

    def _accumulate(self, population, currents, constant, steps):
        """Exactly, in Python's integers: the readout, or a separated population before it closes."""
        base = population.schedule.base
        v = [0] * len(constant)
        for current in currents:
            v = [base * before + int(now) for before, now in zip(v, current, strict=True)]
        return [before + (1 if base == 2 else steps) * int(c) for before, c in zip(v, constant, strict=True)]

    def _separated(self, population: Spiking, currents, constant, steps, result):
        base = population.schedule.base
        closed = self._accumulate(population, currents, constant, steps)
        threshold, initial = (
            over(population.threshold, population.shape),
            over(population.initial_membrane, population.shape),
        )
        train = np.zeros((steps, len(closed)), np.int64)
        before = np.zeros_like(train)
        saturated = 0
        for i, total in enumerate(closed):
            exact = total + int(initial[i])
            v = clamp(exact, self.low, self.high)
            saturated += v != exact
            for t in range(steps):
                weighted = int(threshold[i]) * base ** (steps - 1 - t)
                before[t, i] = v
                digit = send(v, weighted, int(threshold[i]), population.neuron == "signed")
                v -= digit * weighted
                train[t, i] = digit
        self._keep(population, train, before, currents, saturated, result)

    def _rate(self, population: Spiking, currents, steps, drain, result):
        low, high = population.limits(steps)
        threshold, negative = (over(v, population.shape) for v in (population.threshold, population.negative_threshold))
        v = [int(x) for x in over(population.initial_membrane, population.shape)]
        n = [0] * len(v)
        train, before = [], []
        saturated = 0
        silence = np.zeros(len(v), np.int64)
        while len(train) < len(currents) or (drain == UNTIL_QUIET and (len(train) == len(currents) or any(train[-1]))):
            current = currents[len(train)] if len(train) < len(currents) else silence
            row, us = [], []
            for i in range(len(v)):
                exact = v[i] + int(current[i])
                u = clamp(exact, self.low, self.high)
                saturated += u != exact
                s = fire(u, n[i], int(threshold[i]), int(negative[i]), low, high)
                v[i] = u - s * int(threshold[i])
                n[i] += s
                row.append(s)
                us.append(u)
            train.append(row)
            before.append(us)
        self._keep(population, np.array(train), np.array(before), currents, saturated, result)

    def _keep(self, population, train, before, currents, saturated, result):
        result.trains[population.name] = train
        result.befores[population.name] = before
        result.currents[population.name] = np.array(currents, np.int64).reshape(len(currents), train.shape[1])
        result.spikes[population.name] = int(np.abs(train).sum())
        result.saturations[population.name] = saturated


def quantised_ann(network: Network, images, steps: int):
    """The integer ANN that a drained or a separated network equals: ``clip((S + v0) // threshold)`` layer by layer.

    Counts (base 1) or codes (base 2) go from layer to layer; nothing here knows of time. Returns the readout's sums
    ``(N, *shape)``; membranes must be wide enough not to saturate.
    """
    levels, times = network.schedule.levels(steps), steps if network.schedule.base == 1 else 1
    sent = {network.input.name: pixels(network, images)}
    for population in network.populations:
        shape = cells(population.shape)
        if isinstance(population, MaxPool):
            source = cells(network[population.source].shape)
            sent[population.name] = np.array([window(population, source, row) for row in sent[population.source]])
        elif isinstance(population, Spiking | Readout):
            sums = times * over(population.bias, population.shape)[np.newaxis]
            for projection in network.incoming(population.name):
                weights, _ = matrix(projection, cells(network[projection.source].shape), shape)
                part = sent[projection.source] @ weights.T
                if network.is_static(projection.source):
                    part = times * shifted(projection, part, shape)
                sums = sums + part
            if isinstance(population, Readout):
                return sums.reshape(-1, *population.shape)
            initial, threshold = (
                over(v, population.shape) for v in (population.initial_membrane, population.threshold)
            )
            lowest = -levels if population.neuron == "signed" else 0
            sent[population.name] = np.clip((sums + initial) // threshold, lowest, levels)
    raise AssertionError("a network has a readout")
