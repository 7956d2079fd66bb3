"""Static range analysis: bounds of every current and membrane, and the widths that follow (numerics.md, section 6).

The bounds hold for every image. They rest on two facts. A source's events in one step lie in a known range, and so does
the sum of its events since the start (its net count, or its code): the current of one step and the current summed over
the run follow, channel by channel. And firing only pulls a membrane towards its threshold: a membrane is at most what
flowed in since it was last below 0, at least what flowed out since it was last above the threshold.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from refsnn.errors import WidthError
from refsnn.network import UNTIL_QUIET, Input, MaxPool, Network, Projection, Readout, Spiking

INT32_BITS = 32
Bounds = NDArray[np.int64]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Range:
    """Bounds of a population that integrates, each ``(C,) int64``.

    Attributes:
        current_low, current_high: the current I of one step; with temporal separation the summed current.
        membrane_low, membrane_high: the membrane u before firing, or a readout's.
    """

    current_low: Bounds
    current_high: Bounds
    membrane_low: Bounds
    membrane_high: Bounds

    @property
    def current_bits(self) -> int:
        """Signed bits that hold every current."""
        return signed_bits(self.current_low, self.current_high)

    @property
    def membrane_bits(self) -> int:
        """Signed bits that hold every membrane without clamping."""
        return signed_bits(self.membrane_low, self.membrane_high)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Events:
    """What a population sends: bounds of one step's event and of the sum since the start, ``(C,)`` each."""

    low: Bounds
    high: Bounds
    sum_low: Bounds
    sum_high: Bounds


def signed_bits(low: Bounds, high: Bounds) -> int:
    """The width of a two's-complement number that holds ``low`` .. ``high``."""
    return 1 + max(
        int(high.max(initial=0)).bit_length(), (-int(low.min(initial=0)) - 1).bit_length() * int(low.min(initial=0) < 0)
    )


def analyse(network: Network, steps: int) -> dict[str, Range]:
    """The ranges of every spiking population and of the readout for a run of ``steps`` time-steps.

    Raises:
        WidthError: a current does not fit int32; the message names the population and the bits it needs.
    """
    return _analyse(network, steps)[1]


def event_bounds(network: Network, steps: int) -> dict[str, Events]:
    """What every population but the readout may send in a run of ``steps`` time-steps.

    Raises:
        WidthError: of ``analyse``.
    """
    return _analyse(network, steps)[0]


def _analyse(network: Network, steps: int) -> tuple[dict[str, Events], dict[str, Range]]:
    events: dict[str, Events] = {}
    ranges: dict[str, Range] = {}
    for population in network.populations:
        if isinstance(population, Input):
            events[population.name] = _input_events(population, steps)
        elif isinstance(population, MaxPool):
            events[population.name] = events[population.source]
        else:
            ranges[population.name] = found = _integrate(network, population, events, steps)
            if found.current_bits > INT32_BITS:
                cure = "fewer steps" if population.schedule.base == 2 else "fewer weight bits"
                raise WidthError(
                    f"'{population.name}': at T = {steps} its sums need {found.current_bits} bits, "
                    f"{INT32_BITS} are there: use {cure}",
                    found.current_bits,
                )
            if isinstance(population, Spiking):
                events[population.name] = _spiking_events(network, population, found, steps)
    return events, ranges


def _input_events(population: Input, steps: int) -> Events:
    low = np.minimum(population.table.min(axis=1), 0).astype(np.int64)
    high = np.maximum(population.table.max(axis=1), 0).astype(np.int64)
    times = 1 if population.schedule.base == 2 else steps
    return Events(low=low, high=high, sum_low=times * low, sum_high=times * high)


def _spiking_events(network: Network, population: Spiking, found: Range, steps: int) -> Events:
    channels = population.shape[0]
    ones = np.ones(channels, np.int64)
    signed = population.neuron == "signed"
    if population.schedule.separated:
        most = ones * population.schedule.levels(steps)
        reach = np.maximum(found.membrane_high // population.threshold, 0)
        high = np.minimum(most, reach)
        low = np.maximum(-most, np.minimum(found.membrane_low // population.threshold, 0)) if signed else 0 * ones
        if population.schedule.base == 2:
            return Events(low=low, high=high, sum_low=low, sum_high=high)
        return Events(low=np.maximum(low, -1), high=np.minimum(high, 1), sum_low=low, sum_high=high)
    cap = np.int64(population.limits(steps)[1])
    if network.drain == UNTIL_QUIET:
        # Every spike takes a threshold out of what flowed in.
        high = np.minimum(np.maximum(found.membrane_high // population.threshold, 0), cap)
        low = -np.minimum(np.maximum(-found.membrane_low // population.threshold + 1, 0), cap)
    else:
        high = np.minimum(cap, ones * (steps + network.drain))
        low = -high
    return Events(
        low=0 * ones if population.neuron == "if" else -ones,
        high=ones,
        sum_low=low if signed else 0 * ones,
        sum_high=high,
    )


def _integrate(network: Network, population: Spiking | Readout, events: dict[str, Events], steps: int) -> Range:
    channels = population.shape[0]
    schedule = population.schedule
    times = 1 if schedule.base == 2 else steps
    low, high, sum_low, sum_high = (np.zeros(channels, np.int64) for _ in range(4))
    for projection in network.incoming(population.name):
        source = events[projection.source]
        step = projected(projection, source.low, source.high, channels)
        if network.is_static(projection.source):  # the shift comes before the sum over the steps
            whole = times * step[0], times * step[1]
        else:
            whole = projected(projection, source.sum_low, source.sum_high, channels)
        low += step[0]
        high += step[1]
        sum_low += whole[0]
        sum_high += whole[1]
    flat = population.bias.reshape(channels, -1).astype(np.int64)
    bias_low, bias_high = flat.min(axis=1), flat.max(axis=1)
    total_low, total_high = sum_low + times * bias_low, sum_high + times * bias_high
    if isinstance(population, Readout):
        current = (total_low, total_high) if schedule.separated else (low + bias_low, high + bias_high)
        return Range(current_low=current[0], current_high=current[1], membrane_low=total_low, membrane_high=total_high)
    initial = population.initial_membrane.astype(np.int64)
    if schedule.separated:
        return Range(
            current_low=total_low,
            current_high=total_high,
            # Sending ends with the remainder of a floor division, 0 .. threshold - 1.
            membrane_low=np.minimum(initial + np.minimum(total_low, 0), 0),
            membrane_high=np.maximum(initial + np.maximum(total_high, 0), population.threshold - 1),
        )
    step_low, step_high = low + bias_low, high + bias_high
    if network.drain:
        # What can flow in or out between any two moments, bias included; the last steps are without it.
        span = sum_high - sum_low + times * np.maximum(np.abs(bias_low), np.abs(bias_high))
        membrane_low = np.minimum(initial + np.minimum(total_low, sum_low), -span)
        membrane_high = np.maximum(initial + np.maximum(total_high, sum_high), span + population.threshold)
        step_low, step_high = np.minimum(step_low, low), np.maximum(step_high, high)
    else:
        membrane_low, membrane_high = _step_by_step(population, step_low, step_high, steps)
    return Range(current_low=step_low, current_high=step_high, membrane_low=membrane_low, membrane_high=membrane_high)


def _step_by_step(population: Spiking, low: Bounds, high: Bounds, steps: int) -> tuple[Bounds, Bounds]:
    """Bounds of the membrane by interval iteration; with a drain the summed currents bound it better."""
    threshold = population.threshold.astype(np.int64)
    v_low = v_high = population.initial_membrane.astype(np.int64)
    u_low, u_high = v_low, v_high
    capped = population.limits(steps)[1] < steps
    for _ in range(steps):
        now_low, now_high = v_low + low, v_high + high
        u_low, u_high = np.minimum(u_low, now_low), np.maximum(u_high, now_high)
        # What fires stays at 0 or above; what does not stays where it is.
        v_low = np.where(now_low >= threshold, 0, np.minimum(now_low, 0))
        v_high = now_high if capped else np.maximum(np.minimum(now_high, threshold - 1), now_high - threshold)
        if population.neuron != "if":  # a negative spike lifts a membrane below 0 to below the threshold
            v_high = np.maximum(v_high, threshold - 1)
    return u_low, u_high


def projected(projection: Projection, low: Bounds, high: Bounds, channels: int) -> tuple[Bounds, Bounds]:
    """Bounds of a projection's sum for events of a source channel in ``low .. high``, ``(channels,)`` each."""
    windows = int(np.prod(projection.pool.kernel)) if projection.pool else 1
    low, high = low * windows, high * windows
    weights = projection.weights.astype(np.int64)
    if projection.kind == "identity":
        rows = np.sort(np.stack([weights * low, weights * high]), axis=0)
    else:
        positive, negative = np.maximum(weights, 0), np.minimum(weights, 0)
        if projection.kind == "dense":
            size = weights.shape[1] // len(low)
            low, high = np.repeat(low, size), np.repeat(high, size)
            rows = np.stack([positive @ low + negative @ high, positive @ high + negative @ low])
        else:
            outputs, per_group = weights.shape[:2]
            group = np.repeat(np.arange(projection.groups), outputs // projection.groups)
            low, high = low.reshape(-1, per_group)[group], high.reshape(-1, per_group)[group]
            up, down = positive.sum(axis=(2, 3)), negative.sum(axis=(2, 3))
            rows = np.stack([(up * low + down * high).sum(axis=1), (up * high + down * low).sum(axis=1)])
    if projection.shift is not None:
        shift = projection.shift.astype(np.int64)
        rows = (rows + ((np.int64(1) << shift) >> 1)) >> shift
    result = np.zeros((2, channels), np.int64)
    if projection.kind == "dense":
        by_channel = rows.reshape(2, channels, -1)
        result[0], result[1] = by_channel[0].min(axis=1), by_channel[1].max(axis=1)
    else:
        result[:, projection.channel : projection.channel + rows.shape[1]] = rows
    return result[0], result[1]
