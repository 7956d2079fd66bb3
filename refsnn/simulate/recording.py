"""What a recorder sees of a population: everything the contract names, in every step, channels first.

The kernels keep only what the next population needs. The rest follows exactly from the currents and the events, and is
computed again here.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from refsnn.geometry import Shape
from refsnn.network import Spiking


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Activity:
    """What one population did for one image, step by step. Channels first; the equations' letters in brackets.

    A population's steps are its own: with temporal separation those in which it sends; ``current`` and
    ``accumulated`` then belong to the steps in which it takes in. Where neurons run until they are quiet, the last step
    is the last one with a current or a spike of this image, but never before T.

    Attributes:
        events: ``(T', *shape) int8`` spikes or digits sent [s]; a static population's events ``(1, *shape) int16``,
            the same in every step; None for the readout.
        current: ``(T', *shape) int32`` [I]; with temporal separation ``(T'', *shape)``, only what non-static sources
            send in that step. None for populations without projections.
        static_current: ``(*shape) int32``: what static sources add in a step (already in ``current`` in rate
            schedules; added once, at the end of the accumulation, with temporal separation: T times it in base 1). None
            for populations without projections.
        accumulated: ``(T'', *shape) int64``: the sum after each step of taking in; None in rate schedules.
        before: ``(T', *shape) int32`` membrane after the current and the clamp, before the reset [u]; with temporal
            separation before each digit, the first being the closed and clamped accumulation. None for the readout and
            populations without projections.
        membrane: ``(T', *shape)`` after the step [v]: int32, for the readout int64. With temporal separation a
            readout's is ``(1, *shape)``: after the bias. None for populations without projections.
        count: ``(T', *shape) int32`` sum of the events so far, in base 2 weighted as a code [n]; None for the readout
            and static populations.
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
        """Take a population's activity in the run of ``steps`` time-steps; an image's populations come in order."""


def source_activity(events: NDArray[Any], base: int) -> Activity:
    """Of a max-pool: ``(T', *shape) int8`` events."""
    return Activity(events=events, count=weighted_sums(events, base))


def rate_activity(
    population: Spiking,
    events: NDArray[np.int8],
    current: NDArray[np.int32],
    static: NDArray[np.int32],
    width: tuple[int, int],
    shortest: int,
) -> Activity:
    """Of a spiking population that fires while it takes in; ``current`` may be shorter than ``events``."""
    shape = population.shape
    currents = np.zeros(events.shape, np.int32)
    currents[: len(current)] = current
    length = active_steps(shortest, events, currents)
    events, currents = events[:length], currents[:length]
    before = np.empty(events.shape, np.int32)
    membrane = np.empty(events.shape, np.int32)
    threshold = _per_channel(population.threshold, shape)
    v = np.broadcast_to(_per_channel(population.initial_membrane, shape).astype(np.int64), shape)
    for step in range(length):
        before[step] = np.clip(v + currents[step], *width)
        v = before[step] - events[step] * threshold
        membrane[step] = v
    return Activity(
        events=events,
        current=currents,
        static_current=static,
        before=before,
        membrane=membrane,
        count=weighted_sums(events, 1),
    )


def separated_activity(
    population: Spiking,
    events: NDArray[np.int8],
    current: NDArray[np.int32],
    static: NDArray[np.int32],
    closing: NDArray[np.int64],
    width: tuple[int, int],
) -> Activity:
    """Of a spiking population that takes in before it sends; ``closing`` is added to the accumulation at its end."""
    base, steps = population.schedule.base, len(events)
    accumulated = weighted_sums(current, base)
    before = np.empty(events.shape, np.int32)
    membrane = np.empty(events.shape, np.int32)
    threshold = _per_channel(population.threshold, population.shape).astype(np.int64)
    v = np.clip(accumulated[-1] + closing, *width)
    for step in range(steps):
        before[step] = v
        v = v - events[step] * threshold * base ** (steps - 1 - step)
        membrane[step] = v
    return Activity(
        events=events,
        current=current,
        static_current=static,
        accumulated=accumulated,
        before=before,
        membrane=membrane,
        count=weighted_sums(events, base),
    )


def active_steps(shortest: int, *arrays: NDArray[Any]) -> int:
    """How many steps it takes, at least ``shortest``, until nothing follows in any of the ``(T', ...)`` arrays."""
    length = shortest
    for array in arrays:
        active = np.flatnonzero(array.reshape(len(array), -1).any(axis=1))
        length = max(length, int(active.max(initial=-1)) + 1)
    return length


def weighted_sums(events: NDArray[Any], base: int) -> NDArray[Any]:
    """``P(t) = base * P(t - 1) + events(t)``: int32 for events, int64 for currents."""
    sums = np.empty(events.shape, np.int32 if events.dtype == np.int8 else np.int64)
    running = np.zeros(events.shape[1:], sums.dtype)
    for step in range(len(events)):
        running = base * running + events[step]
        sums[step] = running
    return sums


def _per_channel(values: NDArray[np.int32], shape: Shape) -> NDArray[np.int32]:
    return values.reshape(-1, *[1] * (len(shape) - 1))
