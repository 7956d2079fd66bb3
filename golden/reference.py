"""The slow derivation of everything in a case: the contract's recurrences, population by population, in plain int64.

Nothing here shares code with the simulator but the network and the layout of the arrays, so that a case which the
simulator wrote and this derives has been computed twice.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from golden import synapses
from golden.layout import Arrays, per_channel, spatial
from golden.synapses import Maps
from refsnn.network import UNTIL_QUIET, Input, MaxPool, Network, Population, Readout, Spiking


def derive(network: Network, pixels: NDArray[np.uint8], steps: int) -> Iterator[tuple[Population, Arrays]]:
    """Everything that a network does for one image, one population after the other.

    Args:
        network: the network.
        pixels: ``(C, H, W)`` or ``(C,) uint8``.
        steps: T.
    """
    sent: dict[str, NDArray[Any]] = {}
    for population in network.populations:
        if isinstance(population, Input):
            arrays = _input(population, pixels)
        elif isinstance(population, MaxPool):
            arrays = _max_pool(network, population, sent[population.source], steps)
        else:
            arrays = _integrate(network, population, sent, steps)
        if "events" in arrays:
            sent[population.name] = arrays["events"]
        yield population, arrays


def _input(population: Input, pixels: NDArray[np.uint8]) -> Arrays:
    channels = np.arange(population.shape[0])[:, None, None]
    return {"events": population.table[channels, pixels.reshape(spatial(population.shape))][None]}


def _max_pool(network: Network, population: MaxPool, events: NDArray[Any], steps: int) -> Arrays:
    if network.is_static(population.source):
        return {"events": synapses.window_maximum(population, events).astype(np.int16)}
    base = network.schedule.base
    maxima = synapses.window_maximum(population, _weighted(events, base))
    before = np.concatenate([np.zeros_like(maxima[:1]), maxima[:-1]])
    made = maxima - base * before
    shortest = steps if population.schedule.separated else _shortest(network, steps)
    made = made[: _active(min(shortest, len(made)), made)]
    return {"events": made.astype(np.int8), "count": _weighted(made, base).astype(np.int32)}


def _integrate(network: Network, population: Spiking | Readout, sent: dict[str, NDArray[Any]], steps: int) -> Arrays:
    shape = spatial(population.shape)
    static = np.zeros(shape, np.int64)
    moving: list[Maps] = []
    for projection in network.incoming(population.name):
        made = synapses.sums(projection, sent[projection.source], shape)
        if network.is_static(projection.source):
            static += synapses.shifted(made, synapses.shifts(projection, shape))[0]
        else:
            moving.append(made)
    derive_schedule = _separated if population.schedule.separated else _rate
    arrays = derive_schedule(network, population, static, moving, steps)
    return {"static_current": static.astype(np.int32), **arrays}


def _rate(network: Network, population: Spiking | Readout, static: Maps, moving: list[Maps], steps: int) -> Arrays:
    shortest = _shortest(network, steps)
    current = _total(moving, shortest, static.shape)
    current[:steps] += static + per_channel(population.bias)
    if isinstance(population, Readout):
        current = current[: _active(shortest, current)]
        return {"current": current.astype(np.int32), "membrane": np.cumsum(current, axis=0)}
    threshold, negative = per_channel(population.threshold), per_channel(population.negative_threshold)
    low, high = population.limits(steps)
    v = np.broadcast_to(per_channel(population.initial_membrane), static.shape)
    n = np.zeros(static.shape, np.int64)
    history: list[tuple[Maps, Maps, Maps, Maps]] = []
    while len(history) < len(current) or (network.drain == UNTIL_QUIET and history[-1][1].any()):
        now = current[len(history)] if len(history) < len(current) else np.zeros_like(n)
        u = np.clip(v + now, *_width(network))
        rises = (u >= threshold) & (n < high)
        falls = (u < -negative) & (n > low) & ~rises
        s = rises.astype(np.int64) - falls
        v, n = u - s * threshold, n + s
        history.append((u, s, v, n))
    u, s, v, n = (np.stack(each) for each in zip(*history, strict=True))
    whole = np.zeros_like(s)
    whole[: len(current)] = current
    length = _active(shortest, s, whole)
    arrays: Arrays = {"current": whole, "before": u, "events": s, "membrane": v, "count": n}
    return {
        quantity: array[:length].astype(np.int8 if quantity == "events" else np.int32)
        for quantity, array in arrays.items()
    }


def _separated(network: Network, population: Spiking | Readout, static: Maps, moving: list[Maps], steps: int) -> Arrays:
    base = population.schedule.base
    current = _total(moving, steps, static.shape)
    current = current[: _active(steps, current)]
    accumulated = _weighted(current, base)
    taken: Arrays = {"current": current.astype(np.int32), "accumulated": accumulated}
    times = 1 if base == 2 else steps
    closed = accumulated[-1] + times * (static + per_channel(population.bias))
    if isinstance(population, Readout):
        return taken | {"membrane": closed[None]}
    threshold = per_channel(population.threshold)
    signed = population.neuron == "signed"
    v = np.clip(closed + per_channel(population.initial_membrane), *_width(network))
    before, events, membrane = [], [], []
    for t in range(steps):
        weighted = threshold * base ** (steps - 1 - t)
        rises = (v >= 0) & (v >= weighted)
        falls = (v < 0) & (threshold - 1 - v >= weighted) & signed
        s = rises.astype(np.int64) - falls
        before.append(v)
        v = v - s * weighted
        events.append(s)
        membrane.append(v)
    return taken | {
        "before": np.stack(before).astype(np.int32),
        "events": np.stack(events).astype(np.int8),
        "membrane": np.stack(membrane).astype(np.int32),
        "count": _weighted(np.stack(events), base).astype(np.int32),
    }


def _width(network: Network) -> tuple[int, int]:
    half = 1 << (network.membrane_bits - 1)
    return -half, half - 1


def _shortest(network: Network, steps: int) -> int:
    """The steps that a population in a rate schedule runs in any case."""
    return steps + max(network.drain, 0)


def _total(moving: list[Maps], shortest: int, shape: tuple[int, ...]) -> Maps:
    """The sum of what several projections add, as long as the longest, at least ``shortest`` steps."""
    total = np.zeros((max([shortest, *map(len, moving)]), *shape), np.int64)
    for each in moving:
        total[: len(each)] += each
    return total


def _weighted(events: NDArray[Any], base: int) -> Maps:
    """``P(t) = base * P(t - 1) + events(t)``."""
    result = events.astype(np.int64)
    for t in range(1, len(result)):
        result[t] += base * result[t - 1]
    return result


def _active(shortest: int, *arrays: NDArray[Any]) -> int:
    """The steps until nothing follows in any array, at least ``shortest``."""
    lasts = [np.flatnonzero(array.reshape(len(array), -1).any(axis=1)).max(initial=-1) + 1 for array in arrays]
    return int(max([shortest, *lasts]))
