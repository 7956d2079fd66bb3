"""Early exit: an image's answer before all T steps have run, in rate schedules without drain.

**Proved.** The readout's membranes after t of T steps are ``m``. In each of the ``r = T - t`` steps that are left,
class a gains on class b at least

    G[a, b] = bias[a] - bias[b] + sum over j of min over e in low[j] .. high[j] of (w[a, j] - w[b, j]) e

where ``low[j] .. high[j]`` are the events that source neuron j can send in one step, whatever the image: they follow
from its kind of neuron alone (``refsnn.ranges``). Each step adds ``bias + sum of w e`` to the membranes, exactly and
without a clamp, so in the end ``m'[a] - m'[b] >= m[a] - m[b] + r G[a, b]``. If that is above 0 for every b, or equal to
0 and a < b (ties go to the lowest index), then a is what all T steps will answer, and nothing that may happen can
change it.

The bound knows nothing of the image but the readout's membranes. It is attained by events that no image may cause, so
it decides late; what it decides is certain.

**By margin.** Stop when the largest logit is ahead of the second by a margin, in the unit of the ANN's logits, taken
from the mean of the steps so far: ``m unit / t``. This may be wrong, and decides early.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from refsnn.errors import InputError
from refsnn.network import Network, Projection
from refsnn.ranges import Events, event_bounds, projected
from refsnn.simulate import Simulation

Integers = NDArray[np.int64]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Exits:
    """When each of N images stopped, and with which answer.

    Attributes:
        steps: ``(N,) int64``, 1..T.
        answers: ``(N,) int64``, classes.
    """

    steps: Integers
    answers: Integers


def check(network: Network) -> None:
    """Check that a network can stop early.

    Raises:
        InputError: temporal separation, drain steps, or outputs that are not classes.
    """
    shape = network.readout.shape
    if any(p.schedule.separated for p in network.populations) or network.drain:
        raise InputError(
            "early exit needs a rate schedule without drain steps: with temporal separation the readout sees nothing "
            "of an image before all layers have sent it; choose ecl, qcfs, opi, snm or fast_snn"
        )
    if math.prod(shape) < 2 or math.prod(shape[1:]) > 1:
        raise InputError(f"early exit needs classes to choose from; the network's outputs have the shape {shape}")


def gains(network: Network, steps: int) -> Integers:
    """``(K, K)``: what class a gains on class b in each step at least, G in the module's docstring.

    Raises:
        InputError: of ``check``.
    """
    check(network)
    bounds = event_bounds(network, steps)
    readout = network.readout
    bias = readout.bias.reshape(-1).astype(np.int64)
    found = bias[:, None] - bias[None, :]
    for projection in network.incoming(readout.name):
        found = found + _gains(projection, bounds[projection.source], network)
    np.fill_diagonal(found, 0)
    return found


def _gains(projection: Projection, source: Events, network: Network) -> Integers:
    """One projection's part of G."""
    shape = network[projection.source].shape
    pool = projection.pool
    inside = pool.output(shape) if pool else shape
    weights = projection.weights.astype(np.int64)
    reads_all = projection.kind == "dense" or (
        projection.kind == "conv"
        and projection.groups == 1
        and (len(inside) == 1 or (weights.shape[2:] == inside[1:] and not any(projection.padding)))
    )
    if projection.shift is not None or not reads_all:  # class by class: valid, and wider than class against class
        low, high = projected(projection, source.low, source.high, network.readout.shape[0])
        return low[:, None] - high[None, :]
    window = math.prod(pool.kernel) if pool else 1
    weights = weights.reshape(len(weights), -1)
    low, high = (np.repeat(each * window, weights.shape[1] // len(each)) for each in (source.low, source.high))
    ahead = weights[:, None] - weights[None, :]
    found: Integers = np.maximum(ahead, 0) @ low + np.minimum(ahead, 0) @ high
    return found


def decided(membranes: Integers, least: Integers, left: int) -> Integers:
    """``(N,)``: the class that nothing can overtake any more, or -1 where there is none.

    Args:
        membranes: ``(N, K)``, the readout's.
        least: ``(K, K)`` of ``gains``.
        left: steps that are still to come.
    """
    classes = np.arange(membranes.shape[1])
    lead = membranes[:, :, None] - membranes[:, None, :] + left * least
    ahead = (lead > 0) | ((lead == 0) & (classes[:, None] <= classes[None, :]))
    certain = ahead.all(axis=2)
    return np.where(certain.any(axis=1), certain.argmax(axis=1), -1)


def proved(network: Network, simulation: Simulation) -> Exits:
    """Stop when the answer is certain; it is always that of all steps.

    Args:
        simulation: of the network at every T from 1 to the last.
    """
    membranes = _every_step(simulation)
    steps = len(membranes)
    least = gains(network, steps)
    answers = np.stack([decided(each, least, steps - t) for t, each in enumerate(membranes, start=1)])
    return _first(answers >= 0, answers)


def by_margin(network: Network, simulation: Simulation, margin: float) -> Exits:
    """Stop when the largest logit is ahead of the second by ``margin``, and after all steps in any case.

    Args:
        simulation: of the network at every T from 1 to the last.
    """
    check(network)
    _every_step(simulation)
    logits = simulation.logits.reshape(*simulation.logits.shape[:2], -1)
    ordered = np.sort(logits, axis=2)
    stop = ordered[:, :, -1] - ordered[:, :, -2] >= margin
    stop[-1] = True
    return _first(stop, simulation.predictions)


def _first(stop: NDArray[np.bool_], answers: Integers) -> Exits:
    """The first step of each image at which it may stop: ``(T, N)`` each."""
    index = stop.argmax(axis=0)
    return Exits(steps=index + 1, answers=answers[index, np.arange(answers.shape[1])])


def _every_step(simulation: Simulation) -> Integers:
    """``(T, N, K)``."""
    if simulation.steps != tuple(range(1, len(simulation.steps) + 1)):
        raise ValueError(f"a simulation at every T from 1 on is needed, not at {simulation.steps}")
    membranes: Integers = simulation.membranes.reshape(*simulation.membranes.shape[:2], -1)
    return membranes
