# amaranth: UnusedElaboratable=no
"""The components that are mutated: each with its stimuli and the question for the survivors."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from random import Random
from typing import Any

from hdl.array import Array
from hdl.mutation.survivors import Arrays, Neurons, Pair
from hdl.neuron import Neuron, neuron_latency
from hdl.parameters import Parameters
from hdl.stimuli import Cycles, random_beats, random_operations

WIDTHS = Parameters(
    columns=4, weight_planes=1, accumulator_bits=15, state_bits=18, membrane_bits=16, count_bits=4, trace=False
)
"""Of the neuron: every width is different, and thresholds of all sizes can be met."""


@dataclass(frozen=True, slots=True)
class Part:
    """A component to mutate.

    Attributes:
        component: makes one.
        stimuli: for one, with what its model expects.
        pair: makes the design that asserts of an original and a mutant that no legal input tells them apart.
        depth: cycles after which nothing is under way that entered before the first.
        horizon: cycles in which any difference can come out, from power-up.
    """

    component: Callable[[], Any]
    stimuli: Callable[[Any, Random], Cycles]
    pair: Pair
    depth: int
    horizon: int


PARTS = {
    "neuron": Part(
        lambda: Neuron(WIDTHS),
        lambda neuron, random: random_beats(neuron, random, 8000),
        Neurons,
        depth=neuron_latency(WIDTHS) + 4,
        horizon=2 * neuron_latency(WIDTHS) + 4,
    ),
    "array": Part(
        lambda: Array(1, 2, 2, 2, 8, 12),
        lambda array, random: random_operations(array, random, 4000),
        Arrays,
        depth=Array.latency + 3,
        horizon=Array.latency + 7,
    ),
}
"""By name."""
