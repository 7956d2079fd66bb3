"""snnTorch: its leaky neuron without a leak, soft reset, one step at a time.

It fires above the threshold, not at it. Membranes of integers that begin a half higher make the two the same.
"""

from __future__ import annotations

from typing import Any

import snntorch
import torch

from benchmarks.peers import Case, Engine
from benchmarks.peers.floats import FloatNetwork, Folded, Tensor, TorchEngine, convolution_settings
from refsnn.network import Projection, Spiking


class Steps(torch.nn.Module):
    """A layer of its neurons through all steps."""

    def __init__(self, population: Spiking) -> None:
        super().__init__()
        self.start = float(population.initial_membrane[0]) + 0.5
        self.neuron = snntorch.Leaky(beta=1.0, threshold=float(population.threshold[0]), reset_mechanism="subtract")

    def forward(self, currents: Tensor) -> Tensor:
        """Spikes of currents ``(T, N, C, H, W)``."""
        membrane = torch.full_like(currents[0], self.start)
        spikes = []
        for current in currents:
            sent, membrane = self.neuron(current, membrane)
            spikes.append(sent)
        return torch.stack(spikes)


class Leaky(FloatNetwork):
    """The network in snnTorch, whose layers are PyTorch's."""

    def make_convolution(self, projection: Projection, bias: bool) -> Any:
        """PyTorch's convolution."""
        return Folded(**convolution_settings(projection, bias))

    def make_neurons(self, population: Spiking) -> torch.nn.Module:
        """Its neurons."""
        return Steps(population)


def engines(case: Case) -> list[Engine]:
    """fp32."""
    torch.set_num_threads(case.threads)
    module = Leaky(case.network, case.steps)
    return [TorchEngine("snnTorch fp32", module, torch.contiguous_format, case.batch)]
