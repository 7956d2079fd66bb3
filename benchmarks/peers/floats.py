"""A refsnn network as a PyTorch module: what the peers that compute in floating point share, all but the neurons."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from benchmarks.peers import Outcome
from refsnn.network import Network, Projection, Spiking, SumPool

Tensor = torch.Tensor


class FloatNetwork(torch.nn.Module):
    """Spiking layers one after the other, all steps of a layer at once; maps are ``(T, N, C, H, W)``.

    The input is the same in each step, so what reads it is computed once. The readout is a dense layer on the sum of
    all spikes over steps and pixels.

    Args:
        network: without drain steps, its populations as ``benchmarks.networks`` makes them.
        steps: T.
    """

    def __init__(self, network: Network, steps: int) -> None:
        super().__init__()
        self.steps = steps
        self.populations = list(network.spiking)
        self.incoming = {p.name: network.incoming(p.name) for p in self.populations}
        self.synapses = torch.nn.ModuleDict()
        self.neurons = torch.nn.ModuleDict()
        for population in self.populations:
            for projection in self.incoming[population.name]:
                if projection.kind == "conv":
                    first = projection is self.incoming[population.name][0]
                    made = self.make_convolution(projection, bias=first)
                    made.weight.data = floats(projection.weights)
                    if first:
                        made.bias.data = floats(population.bias)
                    self.synapses[projection.label] = made
            self.neurons[population.name] = self.make_neurons(population)
        (self.readout,) = network.incoming(network.readout.name)
        self.last_reader = {p.source: name for name, incoming in self.incoming.items() for p in incoming}
        self.dense = torch.nn.Linear(self.readout.weights.shape[1], self.readout.weights.shape[0], bias=False)
        self.dense.weight.data = floats(self.readout.weights)
        self.eval()

    def make_convolution(self, projection: Projection, bias: bool) -> Any:
        """The module of a projection, for maps ``(T, N, C, H, W)``; its weights and bias are set afterwards."""
        raise NotImplementedError

    def make_neurons(self, population: Spiking) -> torch.nn.Module:
        """From currents ``(T, N, C, H, W)`` to spikes of that shape, from the initial membrane."""
        raise NotImplementedError

    def currents(self, population: Spiking, sent: dict[str, Tensor]) -> Tensor:
        """``(T, N, C, H, W)``: what flows into a population."""
        total: Tensor | None = None
        for projection in self.incoming[population.name]:
            source = sent[projection.source]
            if projection.kind == "identity":
                assert total is not None
                total = torch.add(total, source, alpha=int(projection.weights[0]))
                continue
            part = self.synapses[projection.label](sum_pool(source, projection.pool))
            total = part if total is None else total + part
        assert total is not None
        return total.expand(self.steps, *total.shape[1:]) if total.shape[0] == 1 else total

    def forward(self, images: Tensor) -> Tensor:
        """The readout's membranes ``(N, classes)`` for pixels ``(N, C, H, W)``."""
        sent = {"input": images.unsqueeze(0)}
        for population in self.populations:
            sent[population.name] = self.neurons[population.name](self.currents(population, sent))
            for source in [name for name, reader in self.last_reader.items() if reader == population.name]:
                del sent[source]  # so that its memory is used again while the caches still hold it
        outputs: Tensor = self.dense(sent[self.readout.source].sum(dim=(0, 3, 4)))
        return outputs


class Folded(torch.nn.Conv2d):
    """A convolution of maps ``(T, N, C, H, W)``: time-steps are more images to it."""

    def forward(self, maps: Tensor) -> Tensor:
        """Convolve."""
        return super().forward(maps.flatten(0, 1)).unflatten(0, maps.shape[:2])


def convolution_settings(projection: Projection, bias: bool) -> dict[str, Any]:
    """The arguments of ``torch.nn.Conv2d``."""
    weights = projection.weights
    return {
        "in_channels": weights.shape[1] * projection.groups,
        "out_channels": weights.shape[0],
        "kernel_size": weights.shape[2],
        "stride": projection.stride,
        "padding": projection.padding[0],
        "groups": projection.groups,
        "bias": bias,
    }


def sum_pool(maps: Tensor, pool: SumPool | None) -> Tensor:
    """Sums over windows of maps ``(T, N, C, H, W)``."""
    if pool is None:
        return maps
    pooled = torch.nn.functional.avg_pool2d(maps.flatten(0, 1), pool.kernel, pool.stride, divisor_override=1)
    return pooled.unflatten(0, maps.shape[:2])


def floats(array: NDArray[Any]) -> Tensor:
    """In float32."""
    return torch.from_numpy(array.astype(np.float32))


class TorchEngine:
    """An engine that runs a PyTorch module (a ``benchmarks.peers.Engine``).

    Args:
        layout: memory format of the module and of the images.
        wrap: what is done to the module before it runs.
    """

    def __init__(
        self,
        name: str,
        module: torch.nn.Module,
        layout: torch.memory_format,
        batch: int,
        *,
        exact: bool = True,
        note: str = "",
        wrap: Callable[[torch.nn.Module], Callable[[Tensor], Tensor]] = lambda module: module,
    ) -> None:
        self.name, self.exact, self.note = name, exact, note
        self.layout, self.batch = layout, batch
        self.forward = wrap(module.to(memory_format=layout))

    def run(self, images: NDArray[np.uint8]) -> Outcome:
        """Run images."""
        parts = [part.contiguous(memory_format=self.layout) for part in floats(images).split(self.batch)]
        with torch.inference_mode():
            begin = time.perf_counter()
            outputs = [self.forward(part) for part in parts]
            seconds = time.perf_counter() - begin
        return Outcome(torch.cat(outputs).double().numpy(), seconds)


def compiled(module: torch.nn.Module) -> Callable[[Tensor], Tensor]:
    """By PyTorch's compiler, for one shape of images; the functions of a layer are compiled once for each layer."""
    torch._dynamo.reset()
    torch._dynamo.config.recompile_limit = 1024
    torch._dynamo.config.accumulated_recompile_limit = 1024
    return torch.compile(module, dynamic=False)
