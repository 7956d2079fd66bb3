"""Parts of directed cases: tiny networks whose every current is chosen."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from golden.images import pixels
from refsnn.geometry import Shape
from refsnn.network import (
    CAP_STEPS,
    Input,
    Network,
    NeuronKind,
    Population,
    Projection,
    Readout,
    Schedule,
    Spiking,
)

RATE = Schedule()
BASE_1 = Schedule(separated=True)
BASE_2 = Schedule(separated=True, base=2)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Directed:
    """A case made for something.

    Attributes:
        name: of its folder.
        reason: why it exists, a sentence.
        expects: the flags that it exists for.
        network: of it.
        images: ``(N, *shape) uint8``.
        steps: T.
    """

    name: str
    reason: str
    expects: tuple[str, ...]
    network: Network
    images: NDArray[np.uint8]
    steps: int


def bytes_in(shape: Shape, *values: Any) -> NDArray[np.uint8]:
    """Images ``(N, *shape)``: each a number for all pixels, or all pixels."""
    return np.stack([np.broadcast_to(np.asarray(value, np.uint8), shape) for value in values])


def weights(seed: int, *shape: int) -> NDArray[np.int8]:
    """Weights that look random, -127 .. 127."""
    return np.maximum(pixels(int(np.prod(shape)), seed).view(np.int8), -127).reshape(shape)


def plain(shape: Shape, schedule: Schedule = RATE) -> Input:
    """An input whose quantised pixels are its bytes."""
    table = np.tile(np.arange(256, dtype=np.int16), (shape[0], 1))
    return Input(name="input", shape=shape, table=table, unit=1.0, schedule=schedule)


def signed(shape: Shape, schedule: Schedule = RATE) -> Input:
    """An input whose byte 128 is 0: -127 .. 127."""
    table = np.tile(np.maximum(np.arange(256, dtype=np.int16) - 128, -127), (shape[0], 1))
    return Input(name="input", shape=shape, table=table, unit=1.0, schedule=schedule)


def spiking(
    name: str,
    shape: Shape,
    neuron: NeuronKind,
    threshold: int | Sequence[int],
    *,
    initial: int | None = None,
    negative: int | Sequence[int] = 0,
    bias: Any = 0,
    cap: int = CAP_STEPS,
    schedule: Schedule = RATE,
) -> Spiking:
    """A spiking population; one number is for all channels, no initial membrane is half the threshold."""
    channels = shape[:1]
    thresholds = np.broadcast_to(np.asarray(threshold, np.int32), channels)
    return Spiking(
        name=name,
        shape=shape,
        neuron=neuron,
        threshold=thresholds,
        negative_threshold=np.broadcast_to(np.asarray(negative, np.int32), channels),
        initial_membrane=thresholds >> 1 if initial is None else np.full(channels, initial, np.int32),
        bias=np.broadcast_to(np.asarray(bias, np.int32), shape if np.ndim(bias) == 3 else channels),
        cap=cap,
        unit=np.ones(channels),
        schedule=schedule,
    )


def readout(channels: int, schedule: Schedule = RATE, bias: Any = 0) -> Readout:
    """A readout of so many outputs."""
    biases = np.broadcast_to(np.asarray(bias, np.int32), (channels,))
    return Readout(name="readout", shape=(channels,), bias=biases, unit=1.0, schedule=schedule)


def dense(source: str, target: str, values: Any) -> Projection:
    """A dense projection with weights ``(targets, sources)``."""
    return Projection(source=source, target=target, kind="dense", weights=np.asarray(values, np.int8))


def conv(source: str, target: str, values: Any, **geometry: Any) -> Projection:
    """A convolution with weights ``(Cout, Cin / groups, Kh, Kw)``."""
    return Projection(source=source, target=target, kind="conv", weights=np.asarray(values, np.int8), **geometry)


def identity(source: str, target: str, values: Any, **geometry: Any) -> Projection:
    """One weight a channel."""
    return Projection(source=source, target=target, kind="identity", weights=np.asarray(values, np.int32), **geometry)


def network(
    populations: Sequence[Population], projections: Sequence[Projection], *, membrane_bits: int = 16, drain: int = 0
) -> Network:
    """A network, its projections in the order of their targets."""
    order = [population.name for population in populations]
    ordered = sorted(projections, key=lambda projection: order.index(projection.target))
    return Network(populations=tuple(populations), projections=tuple(ordered), membrane_bits=membrane_bits, drain=drain)


def scripted(
    steps: int, scripts: Sequence[tuple[Spiking, Sequence[Sequence[int]]]], outputs: int = 2, **settings: Any
) -> Network:
    """A rate network in which every neuron's current of every step is written down.

    ``pulses`` has one neuron for each step, which fires in that step and in no other (a current of 1, thresholds
    1, 2, 3, ..., a cap of 1). The weights from it to a neuron are then that neuron's currents, step by step.

    Args:
        steps: T; also the length of each script.
        scripts: populations ``(C,)``, with the currents ``(C, T)`` of their neurons, -127 .. 127.
        outputs: of the readout, which reads all of them.
        settings: of the network.
    """
    pulses = spiking("pulses", (steps,), "if", range(1, steps + 1), initial=0, cap=1)
    populations: list[Population] = [plain((1,)), pulses]
    projections = [dense("input", "pulses", np.ones((steps, 1)))]
    for seed, (population, currents) in enumerate(scripts):
        populations.append(population)
        projections.append(dense("pulses", population.name, currents))
        projections.append(dense(population.name, "readout", weights(seed, outputs, population.shape[0])))
    return network([*populations, readout(outputs)], projections, **settings)
