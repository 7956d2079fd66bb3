"""Where a conversion loses: clipping, quantisation and unevenness, layer by layer.

For every neuron the total current that it received stands against the net count that it sent. With ``T`` steps,
``L`` levels (``T``, or ``2^T - 1`` in base 2), the threshold ``h`` and its membrane before and after the run, ``v_0``
and ``v_T`` (after drain steps, where there are any), and ``n`` its net count (in base 2 its code)::

    S         = v_T - v_0 + n h                          exact as long as no membrane saturated
    z         = S unit / T          (base 2: S unit)     the ANN's pre-activation for this layer's own input
    theta     = h unit              (base 2: L h unit)   the largest value that the neuron can send
    ideal     = max(z, 0)           (signed: z)
    clipped   = clip(z, 0, theta)   (signed: clip(z, -theta, theta))
    quantised = theta / L * Q(S)    Q(S) = clip((S + (h >> 1)) // h, 0, L); signed: from -L
    actual    = theta / L * n

The three errors are the means over neurons and images of ``|ideal - clipped|``, ``|clipped - quantised|`` and
``|quantised - actual|``, each relative to the mean of ``|ideal|``. They are local: each layer is judged on the input
that it really got, errors of the layers before included. The third is what the order of spikes in time does, and is
exactly 0 in the lossless modes (numerics.md, section 4).

Source: Bu et al., "Optimal ANN-SNN conversion", ICLR 2022, section 3, names the three errors. Departures: they are
measured and not bounded, in integers up to the last scale, and the quantiser rounds as the contract's ``Q`` does.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from refsnn.network import Spiking

Integers = NDArray[np.int64]


@dataclass(frozen=True, slots=True, kw_only=True)
class LayerError:
    """The errors of one population, relative to the mean of ``|ideal|`` (all 0 where that is 0)."""

    name: str
    clipping: float
    quantisation: float
    unevenness: float


def decompose(population: Spiking, total: Integers, sent: Integers, steps: int) -> LayerError:
    """Split the conversion error of one population.

    Args:
        population: the neurons, for their thresholds, units and kind.
        total: ``(N, *shape)``, the summed current S of each neuron in each image.
        sent: ``(N, *shape)``, the net count of its spikes, in base 2 its code.
        steps: T.
    """
    channels = (len(population.threshold), *([1] * (len(population.shape) - 1)))
    threshold = population.threshold.astype(np.int64).reshape(channels)
    base = population.schedule.base
    levels = population.schedule.levels(steps)
    scale = population.unit.reshape(channels) / (steps if base == 1 else 1)
    signed = population.neuron == "signed"

    z = total * scale
    limit = threshold * levels * scale
    ideal = z if signed else np.maximum(z, 0)
    clipped = np.clip(z, -limit if signed else 0, limit)
    level = np.clip((total + (threshold >> 1)) // threshold, -levels if signed else 0, levels)
    size = float(np.abs(ideal).mean())

    def relative(difference: NDArray[np.float64]) -> float:
        return float(np.abs(difference).mean()) / size if size else 0.0

    return LayerError(
        name=population.name,
        clipping=relative(ideal - clipped),
        quantisation=relative(clipped - level * threshold * scale),
        # from the integers: 0 must be exactly 0
        unevenness=relative((level - sent) * threshold * scale),
    )


def bits_needed(values: NDArray[np.integer]) -> Integers:
    """The width in bits, 1..32, that each int32 value needs in two's complement; same shape."""
    magnitude = np.where(values < 0, ~values, values).astype(np.float64)
    # frexp's exponent of an integer below 2^53 is its bit length
    return (np.frexp(magnitude)[1] + 1).astype(np.int64)


def width_histogram(membranes: NDArray[np.integer]) -> Integers:
    """``(33,)``: how many of the membranes need each width in bits (entry 0 stays 0)."""
    return np.bincount(bits_needed(membranes).ravel(), minlength=33)
