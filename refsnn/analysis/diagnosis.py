"""A closer look at a network on a few images: each layer's conversion error, and how wide its membranes get."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from refsnn.analysis.decomposition import Integers, LayerError, bits_needed, decompose, width_histogram
from refsnn.network import Network, Spiking
from refsnn.simulate import Activity, simulate

IMAGES = 64
"""How many images a diagnosis looks at, at most."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class LayerDiagnosis:
    """One spiking population.

    Attributes:
        error: its conversion error in three parts.
        widths: ``(33,)``: how many membranes, before firing, over neurons, images and steps, need each width in bits.
        threshold_bits: the width that its largest threshold needs, sign included.
    """

    error: LayerError
    widths: NDArray[np.int64]
    threshold_bits: int

    @property
    def name(self) -> str:
        """The population's name."""
        return self.error.name


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Diagnosis:
    """One network at one T.

    Attributes:
        methods: the methods whose network this is.
        steps: T.
        images: how many images it looked at.
        membrane_bits: width of the membranes.
        layers: in the order of the network.
    """

    methods: tuple[str, ...]
    steps: int
    images: int
    membrane_bits: int
    layers: tuple[LayerDiagnosis, ...]

    @property
    def title(self) -> str:
        """The methods and T, for headings."""
        return f"{' = '.join(self.methods)}, T = {self.steps}"


class _Observer:
    """Keeps what the diagnosis needs of every spiking population (a ``refsnn.simulate.Recorder``)."""

    def __init__(self, network: Network) -> None:
        self.populations = {population.name: population for population in network.spiking}
        # by image: they come in any order
        self.total: dict[str, dict[int, Integers]] = {name: {} for name in self.populations}
        self.sent: dict[str, dict[int, Integers]] = {name: {} for name in self.populations}
        self.widths = {name: np.zeros(33, np.int64) for name in self.populations}

    def wants(self, image: int) -> bool:
        return True

    def record(self, steps: int, image: int, population: str, activity: Activity) -> None:
        neurons = self.populations.get(population)
        if neurons is None:
            return
        assert activity.membrane is not None
        assert activity.before is not None
        assert activity.count is not None
        sent = activity.count[-1].astype(np.int64)
        initial, threshold = (_spread(values, neurons) for values in (neurons.initial_membrane, neurons.threshold))
        self.total[population][image] = activity.membrane[-1].astype(np.int64) - initial + sent * threshold
        self.sent[population][image] = sent
        self.widths[population] += width_histogram(activity.before)


def diagnose(
    network: Network, images: NDArray[np.uint8], steps: int, *, methods: tuple[str, ...], threads: int = 0
) -> Diagnosis:
    """Run a network on at most ``IMAGES`` of the images and look at every spiking population.

    Args:
        network: the network.
        images: ``(N, *shape) uint8``.
        steps: T.
        methods: what to call it.
        threads: workers; the result does not depend on it.
    """
    images = images[:IMAGES]
    observer = _Observer(network)
    simulate(network, images, steps, threads=threads, batch=8, record=observer)
    layers = []
    for name, population in observer.populations.items():
        total, sent = (
            np.stack([found[name][image] for image in range(len(images))]) for found in (observer.total, observer.sent)
        )
        layers.append(
            LayerDiagnosis(
                error=decompose(population, total, sent, steps),
                widths=observer.widths[name],
                threshold_bits=int(bits_needed(population.threshold).max()),
            )
        )
    return Diagnosis(
        methods=methods,
        steps=steps,
        images=len(images),
        membrane_bits=network.membrane_bits,
        layers=tuple(layers),
    )


def _spread(values: NDArray[np.int32], population: Spiking) -> Integers:
    """``(C,)`` in a shape that broadcasts against the population's."""
    return values.astype(np.int64).reshape(-1, *[1] * (len(population.shape) - 1))
