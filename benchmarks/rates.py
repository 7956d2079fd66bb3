"""Thresholds that make a wanted fraction of each layer's neurons spike in a step."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from benchmarks.networks import LARGEST_THRESHOLD, with_threshold
from benchmarks.peers.floats import FloatNetwork, Folded, Tensor, convolution_settings, floats
from refsnn.network import Network, Projection, Spiking
from refsnn.simulate import simulate


class Currents(FloatNetwork):
    """A network of which only the currents are of interest."""

    def make_convolution(self, projection: Projection, bias: bool) -> Any:
        """PyTorch's convolution."""
        return Folded(**convolution_settings(projection, bias))

    def make_neurons(self, population: Spiking) -> torch.nn.Module:
        """None: spikes are made while the threshold is looked for."""
        return torch.nn.Identity()


def set_rates(network: Network, images: NDArray[np.uint8], steps: int, fraction: float) -> Network:
    """Choose each population's threshold, the same for all its neurons, one layer after the other.

    Args:
        images: ``(N, C, H, W)``: over these and all steps the average is taken.
        fraction: of neurons that spike in a step.

    Returns:
        The network with these thresholds, and membranes that start at half of them.
    """
    module = Currents(network, steps)
    sent = {"input": floats(images).unsqueeze(0)}
    with torch.inference_mode():
        for population in module.populations:
            currents = module.currents(population, sent)
            low, high = 1, LARGEST_THRESHOLD
            while low < high:
                middle = (low + high) // 2
                if float(_spikes(currents, middle).mean()) > fraction:
                    low = middle + 1
                else:
                    high = middle
            network = with_threshold(network, population.name, low)
            sent[population.name] = _spikes(currents, low)
    return network


def _spikes(currents: Tensor, threshold: int) -> Tensor:
    membrane = torch.full_like(currents[0], threshold >> 1)
    spikes = torch.empty_like(currents)
    for current, sent in zip(currents, spikes, strict=True):
        membrane += current
        torch.ge(membrane, threshold, out=sent)
        membrane.sub_(sent, alpha=threshold)
    return spikes


def reached(network: Network, images: NDArray[np.uint8], steps: int) -> dict[str, float]:
    """The fraction of each population's neurons that spike in a step, over these images."""
    spikes = simulate(network, images, steps).spikes
    return {p.name: float(spikes[p.name][0]) / (len(images) * steps * int(np.prod(p.shape))) for p in network.spiking}
