"""What the manifest says of a population: settings of its neurons, widths, sources."""

from __future__ import annotations

from golden import layout
from golden.manifest import ArrayRecord, NeuronRecord, PopulationRecord, WidthsRecord
from refsnn.network import Network, Spiking
from refsnn.neurons import NEVER
from refsnn.ranges import Range


def describe(
    network: Network, index: int, steps: int, widths: Range | None, arrays: dict[str, ArrayRecord]
) -> PopulationRecord:
    """The record of a population.

    Args:
        network: the network.
        index: of the population.
        steps: T.
        widths: of ``refsnn.ranges.analyse``; None: the population does not integrate.
        arrays: what there is of it, by quantity.
    """
    population = network.populations[index]
    return PopulationRecord(
        name=population.name,
        stem=layout.stem(index, population.name),
        kind=layout.kind(population),
        shape=layout.spatial(population.shape),
        separated=population.schedule.separated,
        base=population.schedule.base,
        sources=layout.sources(network, population),
        neuron=_neuron(population, steps) if isinstance(population, Spiking) else None,
        widths=None if widths is None else WidthsRecord(current=widths.current_bits, membrane=widths.membrane_bits),
        arrays=arrays,
    )


def _neuron(population: Spiking, steps: int) -> NeuronRecord:
    low, high = population.limits(steps)
    gated = not population.schedule.separated
    return NeuronRecord(
        kind=population.neuron,
        threshold=tuple(population.threshold.tolist()),
        negative_threshold=tuple(population.negative_threshold.tolist()),
        initial_membrane=tuple(population.initial_membrane.tolist()),
        low=low if gated and abs(low) != NEVER else None,
        high=high if gated and high != NEVER else None,
    )
