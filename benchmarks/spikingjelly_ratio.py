"""Images a second: refsnn's simulator against SpikingJelly on the same spiking network, on a processor.

The network has the shape of ResNet-18 on 32 x 32 images (stem 3 x 3 with 64 channels, stages of 64, 128, 256 and 512,
two blocks each), random integer weights, and integrate-and-fire neurons whose thresholds are set so that the wanted
fraction of neurons spikes in each layer and time-step. Its integers are exact in float32, so both simulators must send
the same spikes: the benchmark checks that their readouts are equal before it measures. SpikingJelly runs in its
multi-step mode without gradients, its stem once instead of T times, in the faster of the two memory layouts. Both take
turns in one process, and the medians are compared.

    pip install -e '.[peers]'
    python benchmarks/spikingjelly_ratio.py
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Annotated, Any

import numpy as np
import torch
import typer
from spikingjelly.activation_based import functional, layer, neuron

from refsnn.network import NO_CAP, Input, Network, Population, Projection, Readout, Spiking
from refsnn.simulate import Simulation, simulate

STAGES = (64, 128, 256, 512)
CLASSES = 10
PIXEL = 255.0


@dataclass
class Layer:
    """A population of the residual network and what feeds it; the weights are integers.

    Attributes:
        convolutions: (source, weights, stride) of each incoming convolution.
        shortcut: (source, weight) of an identity, or None.
        threshold: the same for all neurons.
    """

    name: str
    shape: tuple[int, int, int]
    convolutions: list[tuple[str, np.ndarray, int]]
    shortcut: tuple[str, int] | None = None
    threshold: int = 1


@dataclass
class Residual:
    """The network as a list of layers, and a dense readout of the last one's sums over the map."""

    layers: list[Layer] = field(default_factory=list)
    dense: np.ndarray = field(default_factory=lambda: np.zeros((0, 0), np.int8))


def residual(seed: int) -> Residual:
    """ResNet-18's shape with random weights; thresholds are still 1."""
    random = np.random.default_rng(seed)

    def weights(*shape: int) -> np.ndarray:
        return random.integers(-127, 128, shape).astype(np.int8)

    stem = random.integers(-4, 5, (64, 3, 3, 3)).astype(np.int8)  # small: pixels are large, and thresholds have 14 bits
    network = Residual([Layer("stem", (64, 32, 32), [("input", stem, 1)])])
    before, size = network.layers[0], 32
    for stage, channels in enumerate(STAGES):
        for block in range(2):
            stride = 2 if stage and not block else 1
            size //= stride
            shape, name = (channels, size, size), f"stage {stage} block {block}"
            first = Layer(f"{name} a", shape, [(before.name, weights(channels, before.shape[0], 3, 3), stride)])
            second = Layer(f"{name} b", shape, [(first.name, weights(channels, channels, 3, 3), 1)])
            if stride == 1:
                second.shortcut = (before.name, 1000)
            else:
                second.convolutions.append((before.name, weights(channels, before.shape[0], 1, 1), stride))
            network.layers += [first, second]
            before = second
    network.dense = weights(CLASSES, before.shape[0])
    return network


class Peer(torch.nn.Module):
    """The network in SpikingJelly."""

    def __init__(self, network: Residual) -> None:
        super().__init__()
        self.network = network
        self.modules_by_name = torch.nn.ModuleDict()
        for each in network.layers:
            for index, (_, weights, stride) in enumerate(each.convolutions):
                padding = weights.shape[2] // 2
                made = layer.Conv2d(
                    weights.shape[1], weights.shape[0], weights.shape[2], stride, padding, bias=False, step_mode="m"
                )
                made.weight.data = torch.from_numpy(weights.astype(np.float32))
                self.modules_by_name[f"{each.name}/{index}"] = made
            self.modules_by_name[each.name] = neuron.IFNode(
                v_threshold=float(each.threshold), v_reset=None, step_mode="m"
            )
        self.dense = torch.nn.Linear(network.dense.shape[1], CLASSES, bias=False)
        self.dense.weight.data = torch.from_numpy(network.dense.astype(np.float32))

    def currents(self, each: Layer, sent: dict[str, torch.Tensor], steps: int) -> torch.Tensor:
        """``(T, N, C, H, W)``: what flows into a layer."""
        total: torch.Tensor | None = None
        for index, (source, _, _) in enumerate(each.convolutions):
            part = self.modules_by_name[f"{each.name}/{index}"](sent[source])
            total = part if total is None else total + part
        assert total is not None
        if each.shortcut is not None:
            total = torch.add(total, sent[each.shortcut[0]], alpha=each.shortcut[1])
        return total.expand(steps, *total.shape[1:]) if total.shape[0] == 1 else total

    def forward(
        self, images: torch.Tensor, steps: int, observe: Callable[[str, torch.Tensor], None] | None = None
    ) -> Any:
        """Sums of the readout ``(N, classes)`` for images ``(N, 3, 32, 32)``."""
        functional.reset_net(self)
        sent = {"input": images.unsqueeze(0)}
        for each in self.network.layers:
            sent[each.name] = self.modules_by_name[each.name](self.currents(each, sent, steps))
            if observe is not None:
                observe(each.name, sent[each.name])
        return self.dense(sent[self.network.layers[-1].name].sum(dim=(0, 3, 4)))


def set_thresholds(network: Residual, images: torch.Tensor, steps: int, fraction: float) -> None:
    """Set each layer's threshold so that ``fraction`` of its neurons spike in a step, on average over some images."""
    peer = Peer(network)
    sent = {"input": images.unsqueeze(0)}
    with torch.no_grad():
        for each in network.layers:
            currents = peer.currents(each, sent, steps)
            low, high = 1, 1 << 14
            while low < high:
                middle = (low + high) // 2
                if _spikes(currents, middle).mean() > fraction:
                    low = middle + 1
                else:
                    high = middle
            each.threshold = low
            sent[each.name] = _spikes(currents, low)


def _spikes(currents: torch.Tensor, threshold: int) -> torch.Tensor:
    node = neuron.IFNode(v_threshold=float(threshold), v_reset=None, step_mode="m")
    spikes: torch.Tensor = node(currents)
    return spikes


def integer_network(network: Residual) -> Network:
    """The same network for refsnn."""
    table = np.tile(np.arange(256, dtype=np.int16), (3, 1))
    populations: list[Population] = [Input(name="input", shape=(3, 32, 32), table=table, unit=1 / PIXEL)]
    projections = []
    for each in network.layers:
        channels = each.shape[0]
        zeros = np.zeros(channels, np.int32)
        populations.append(
            Spiking(
                name=each.name,
                shape=each.shape,
                neuron="if",
                threshold=np.full(channels, each.threshold, np.int32),
                negative_threshold=zeros,
                initial_membrane=zeros,
                bias=zeros,
                cap=NO_CAP,
                unit=np.ones(channels),
            )
        )
        for source, weights, stride in each.convolutions:
            pad = weights.shape[2] // 2
            projections.append(
                Projection(
                    source=source,
                    target=each.name,
                    kind="conv",
                    weights=weights,
                    stride=(stride, stride),
                    padding=(pad, pad, pad, pad),
                )
            )
        if each.shortcut is not None:
            source, weight = each.shortcut
            identity = np.full(channels, weight, np.int32)
            projections.append(Projection(source=source, target=each.name, kind="identity", weights=identity))
    last = network.layers[-1]
    populations.append(Readout(name="readout", shape=(CLASSES,), bias=np.zeros(CLASSES, np.int32), unit=1.0))
    spread = np.repeat(network.dense, last.shape[1] * last.shape[2], axis=1)
    projections.append(Projection(source=last.name, target="readout", kind="dense", weights=spread))
    return Network(populations=tuple(populations), projections=tuple(projections), membrane_bits=24)


def spread(values: list[float]) -> str:
    """The median, with the fastest and the slowest."""
    return f"{statistics.median(values):8.1f}  ({min(values):.1f} .. {max(values):.1f})"


def main(
    spiking: Annotated[str, typer.Option(help="Per cent of neurons that spike in a step, with commas.")] = "15,5,40",
    steps: Annotated[int, typer.Option(help="Time-steps.")] = 4,
    images: Annotated[int, typer.Option(help="Images in each measured run.")] = 256,
    batch: Annotated[int, typer.Option(help="Images that each simulator takes at a time.")] = 32,
    rounds: Annotated[int, typer.Option(help="Measured runs of each simulator.")] = 5,
    threads: Annotated[int, typer.Option(help="Threads of both simulators.")] = 1,
    kernels: Annotated[str, typer.Option(help="refsnn's kernel set.")] = "portable",
    seed: Annotated[int, typer.Option(help="Of weights and images.")] = 0,
) -> None:
    """Measure and print images a second of both simulators, and their ratio."""
    torch.set_num_threads(threads)
    pixels = np.random.default_rng(seed).integers(0, 256, (images, 3, 32, 32)).astype(np.uint8)
    plain = torch.from_numpy(pixels.astype(np.float32))
    print(f"ResNet-18's shape, T = {steps}, {images} images by {batch}, threads: {threads}, medians of {rounds} rounds")
    for percent in (float(each) for each in spiking.split(",")):
        network = residual(seed)
        set_thresholds(network, plain[:4], steps, percent / 100)
        converted, peer = integer_network(network), Peer(network)
        layouts = {"contiguous": (peer, plain)}
        last = torch.channels_last
        layouts["channels last"] = (Peer(network).to(memory_format=last), plain.contiguous(memory_format=last))

        def ours(converted: Network = converted) -> Simulation:
            return simulate(converted, pixels, steps, kernels=kernels, threads=threads, batch=batch)

        def theirs(name: str, layouts: dict[str, Any] = layouts) -> Any:
            module, inputs = layouts[name]
            with torch.no_grad():
                return [module(part, steps) for part in inputs.split(batch)]

        rates: dict[str, float] = {}
        with torch.no_grad():
            sums = peer(plain[:batch], steps, lambda name, sent, into=rates: into.update({name: float(sent.mean())}))
        result = ours()
        spikes = sum(int(value[0]) for value in result.spikes.values())
        agree = np.array_equal(result.membranes[0, :batch], sums.numpy().astype(np.int64))
        print(
            f"\n{percent:g} % wanted; spiking in a step, by layer: "
            + " ".join(f"{100 * r:.1f}" for r in rates.values())
        )
        print(f"{spikes / images:,.0f} spikes an image; readouts {'equal' if agree else 'DIFFER'}")
        if not agree:
            raise typer.Exit(1)
        best = min(layouts, key=lambda name: min(_seconds(theirs, name) for _ in range(2)))
        own, peers = [], []
        for _ in range(rounds):
            own.append(images / _seconds(ours))
            peers.append(images / _seconds(theirs, best))
        print(f"refsnn, {kernels:<26} {spread(own)} images/s")
        print(f"SpikingJelly, {best:<20} {spread(peers)} images/s")
        print(f"ratio {statistics.median(own) / statistics.median(peers):.1f}")


def _seconds(work: Callable[..., Any], *arguments: Any) -> float:
    begin = time.perf_counter()
    work(*arguments)
    return time.perf_counter() - begin


if __name__ == "__main__":
    typer.run(main)
