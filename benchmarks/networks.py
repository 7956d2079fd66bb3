"""The networks that are measured: well-known shapes for 32 x 32 images, random integer weights, wanted spike rates.

Every network is a ``refsnn.network.Network`` of integrate-and-fire neurons that start from half their threshold and
subtract it when they fire; a peer builds its own from that. Its integers are exact in float32, so that simulators in
floating point must send the same spikes.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping

import numpy as np

from refsnn.geometry import window_output
from refsnn.network import (
    NO_CAP,
    Input,
    Network,
    Population,
    Projection,
    Readout,
    Spiking,
    SumPool,
)

CLASSES = 10
LARGEST_THRESHOLD = 1 << 14
IDENTITY = 512
"""Weight of a shortcut without a convolution: of the order of the thresholds."""


class Builder:
    """Grows a network layer by layer; thresholds are still 1.

    Attributes:
        last: name of the newest population.
    """

    def __init__(self, seed: int, size: int = 32) -> None:
        self._random = np.random.default_rng(seed)
        table = np.tile(np.arange(256, dtype=np.int16), (3, 1))
        self._populations: list[Population] = [Input(name="input", shape=(3, size, size), table=table, unit=1 / 255)]
        self._projections: list[Projection] = []
        self._pool: SumPool | None = None
        self.last = "input"

    def shape(self, name: str) -> tuple[int, ...]:
        """``(C, H, W)`` of a population."""
        return next(p.shape for p in self._populations if p.name == name)

    def pool(self) -> None:
        """Sum over 2 x 2 windows in front of the next layer."""
        self._pool = SumPool(kernel=(2, 2), stride=(2, 2))

    def layer(self, channels: int, kernel: int = 3, stride: int = 1, groups: int = 1) -> str:
        """Append a convolution and its neurons; returns the population's name."""
        name = f"layer {len(self._populations)}"
        projection = self._convolution(self.last, name, channels, kernel, stride, groups, self._pool)
        source = self.shape(self.last)
        pooled = self._pool.output(source) if self._pool else source
        size = window_output(pooled[1:], (kernel, kernel), projection.stride, projection.padding, (1, 1))
        self._pool = None
        zeros = np.zeros(channels, np.int32)
        self._populations.append(
            Spiking(
                name=name,
                shape=(channels, *size),
                neuron="if",
                threshold=np.ones(channels, np.int32),
                negative_threshold=zeros,
                initial_membrane=zeros,
                bias=self._random.integers(-100, 101, channels).astype(np.int32),
                cap=NO_CAP,
                unit=np.ones(channels),
            )
        )
        self._projections.append(projection)
        self.last = name
        return name

    def shortcut(self, source: str) -> None:
        """Feed an earlier population to the newest too: as it is, or by a 1 x 1 convolution where shapes differ."""
        before, after = self.shape(source), self.shape(self.last)
        if before == after:
            weights = np.full(after[0], IDENTITY, np.int32)
            self._projections.append(Projection(source=source, target=self.last, kind="identity", weights=weights))
        else:
            stride = before[1] // after[1]
            self._projections.append(self._convolution(source, self.last, after[0], 1, stride, 1, None))

    def finish(self) -> Network:
        """Append the readout: a dense layer behind a sum over the whole map."""
        shape = self.shape(self.last)
        whole = SumPool(kernel=(shape[1], shape[2]), stride=(shape[1], shape[2]))
        self._populations.append(Readout(name="readout", shape=(CLASSES,), bias=np.zeros(CLASSES, np.int32), unit=1.0))
        weights = self._weights(CLASSES, shape[0])
        self._projections.append(
            Projection(source=self.last, target="readout", kind="dense", weights=weights, pool=whole)
        )
        return Network(populations=tuple(self._populations), projections=tuple(self._projections), membrane_bits=24)

    def _convolution(
        self, source: str, target: str, channels: int, kernel: int, stride: int, groups: int, pool: SumPool | None
    ) -> Projection:
        shape = (channels, self.shape(source)[0] // groups, kernel, kernel)
        if source == "input":  # pixels are large, and thresholds have 14 bits
            weights = self._random.integers(-2, 3, shape).astype(np.int8)
        else:
            weights = self._weights(*shape)
        pad = kernel // 2
        return Projection(
            source=source,
            target=target,
            kind="conv",
            weights=weights,
            stride=(stride, stride),
            padding=(pad, pad, pad, pad),
            groups=groups,
            pool=pool,
        )

    def _weights(self, *shape: int) -> np.ndarray:
        return self._random.integers(-127, 128, shape).astype(np.int8)


def residual(seed: int, width: int, stages: int, blocks: int) -> Network:
    """A residual network of two 3 x 3 convolutions a block; each stage doubles the channels and halves the map."""
    builder = Builder(seed)
    builder.layer(width)
    for stage in range(stages):
        for block in range(blocks):
            before = builder.last
            builder.layer(width << stage, stride=2 if stage and not block else 1)
            builder.layer(width << stage)
            builder.shortcut(before)
    return builder.finish()


def vgg16(seed: int) -> Network:
    """Thirteen 3 x 3 convolutions in five stages, sum-pooled between them."""
    builder = Builder(seed)
    for stage, (channels, layers) in enumerate(((64, 2), (128, 2), (256, 3), (512, 3), (512, 3))):
        if stage:
            builder.pool()
        for _ in range(layers):
            builder.layer(channels)
    return builder.finish()


MOBILE = ((1, 16, 1, 1), (6, 24, 2, 1), (6, 32, 3, 2), (6, 64, 4, 2), (6, 96, 3, 1), (6, 160, 3, 2), (6, 320, 1, 1))
"""Expansion, channels, blocks and first stride of MobileNet-v2's stages, for 32 x 32 images."""


def mobilenet_v2(seed: int, stages: tuple[tuple[int, int, int, int], ...] = MOBILE, head: int = 1280) -> Network:
    """Inverted residuals: 1 x 1 to more channels, depthwise 3 x 3, 1 x 1 to fewer, neurons after each of them."""
    builder = Builder(seed)
    builder.layer(32)
    for expansion, channels, blocks, first in stages:
        for block in range(blocks):
            before, stride = builder.last, first if block == 0 else 1
            depth = builder.shape(before)[0] * expansion
            if expansion > 1:
                builder.layer(depth, kernel=1)
            builder.layer(depth, stride=stride, groups=depth)
            builder.layer(channels, kernel=1)
            if builder.shape(before) == builder.shape(builder.last):
                builder.shortcut(before)
    builder.layer(head, kernel=1)
    return builder.finish()


def tiny(seed: int) -> Network:
    """Every kind of layer of the others on 8 x 8 images: to try the benchmark itself."""
    builder = Builder(seed, size=8)
    first = builder.layer(8)
    builder.layer(8)
    builder.shortcut(first)
    builder.pool()
    second = builder.layer(16)
    builder.layer(16, groups=16)
    builder.layer(16, kernel=1)
    builder.shortcut(second)
    builder.layer(24, stride=2)
    builder.shortcut(second)
    return builder.finish()


NETWORKS: Mapping[str, Callable[[int], Network]] = {
    "ResNet-18": lambda seed: residual(seed, width=64, stages=4, blocks=2),
    "ResNet-20": lambda seed: residual(seed, width=16, stages=3, blocks=3),
    "VGG-16": vgg16,
    "MobileNet-v2": mobilenet_v2,
    "tiny": tiny,
}
"""By name, each made from a seed."""


def with_threshold(network: Network, name: str, threshold: int) -> Network:
    """The network with another threshold in one population, whose membranes start at half of it."""
    population = network[name]
    assert isinstance(population, Spiking)
    thresholds = np.full_like(population.threshold, threshold)
    changed = dataclasses.replace(population, threshold=thresholds, initial_membrane=thresholds >> 1)
    return dataclasses.replace(
        network, populations=tuple(changed if p.name == name else p for p in network.populations)
    )


def multiply_adds(network: Network, steps: int, target: str | None = None) -> int:
    """Of one image: every synapse of every step, padded ones too; what reads the input is computed once.

    Args:
        target: only what this population reads.
    """
    total = 0
    for projection in network.projections if target is None else network.incoming(target):
        neurons = int(np.prod(network[projection.target].shape))
        times = 1 if network.is_static(projection.source) else steps
        total += times * neurons * int(np.prod(projection.weights.shape[1:]))
    return total


def traffic(network: Network, steps: int, batch: int) -> float:
    """Bytes of one image, if caches kept nothing from layer to layer: int8 weights are read once a batch, events are
    bytes, written once and read once by each projection."""
    total = float(int(np.prod(network.input.shape)))
    for projection in network.projections:
        source = int(np.prod(network[projection.source].shape))
        total += projection.weights.size / batch + source * (1 if network.is_static(projection.source) else steps)
    for population in network.spiking:
        total += steps * int(np.prod(population.shape))
    return total
