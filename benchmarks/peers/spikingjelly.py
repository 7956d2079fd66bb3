"""SpikingJelly: multi-step integrate-and-fire neurons, soft reset, without gradients.

Three engines: fp32 as one would write it; fp32 in the fastest setting found, of those that give the same spikes; and
bfloat16, which rounds currents, so that its outputs differ.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from spikingjelly.activation_based import functional, layer, neuron

from benchmarks.peers import Case, Engine, Outcome, deviation
from benchmarks.peers.floats import (
    FloatNetwork,
    Tensor,
    TorchEngine,
    compiled,
    convolution_settings,
)
from refsnn.network import Projection, Spiking

PLAIN, LAST = torch.contiguous_format, torch.channels_last

TRIALS = 4
"""Rounds in which the fastest setting is looked for."""


class Jelly(FloatNetwork):
    """The network in SpikingJelly."""

    def make_convolution(self, projection: Projection, bias: bool) -> Any:
        """Its convolution of sequences."""
        return layer.Conv2d(**convolution_settings(projection, bias), step_mode="m")

    def make_neurons(self, population: Spiking) -> torch.nn.Module:
        """Its integrate-and-fire neuron; ``restart`` sets the membrane."""
        return neuron.IFNode(v_threshold=float(population.threshold[0]), v_reset=None, step_mode="m")

    def restart(self) -> None:
        """Forget the images before: every membrane is back at its initial value."""
        functional.reset_net(self)
        for population in self.populations:
            self.neurons[population.name].v = float(population.initial_membrane[0])

    def forward(self, images: Tensor) -> Tensor:
        """Reset, then run."""
        self.restart()
        return super().forward(images)


class Half(Jelly):
    """In bfloat16, by PyTorch's automatic mixed precision."""

    def forward(self, images: Tensor) -> Tensor:
        """Reset, then run."""
        with torch.autocast("cpu", torch.bfloat16):
            return super().forward(images)


class Fastest:
    """The fastest of several engines, by a trial on some images; one that fails is named in the note."""

    exact = True

    def __init__(self, name: str, candidates: Iterator[TorchEngine], images: NDArray[np.uint8]) -> None:
        self.name = name
        working, failed = [], ""
        for each in candidates:
            try:
                each.run(images)
                working.append(each)
            except Exception as error:  # a compiler has many ways to fail, and then there are the other settings
                failed += f"; {each.note}: {type(error).__name__}"
        rounds = [[each.run(images).seconds for each in working] for _ in range(TRIALS)]
        fastest = [min(seconds) for seconds in zip(*rounds, strict=True)]
        self.engine = working[fastest.index(min(fastest))]
        self.note = self.engine.note + failed

    def run(self, images: NDArray[np.uint8]) -> Outcome:
        """Run images."""
        return self.engine.run(images)


def engines(case: Case) -> list[Engine]:
    """Plain fp32, the fastest fp32, and bfloat16."""
    torch.set_num_threads(case.threads)
    name, network, steps = "SpikingJelly", case.network, case.steps

    def candidates() -> Iterator[TorchEngine]:
        yield TorchEngine(name, Jelly(network, steps), PLAIN, case.batch, note="eager")
        yield TorchEngine(name, Jelly(network, steps), LAST, case.batch, note="eager, channels last")
        if case.compiled:
            yield TorchEngine(
                name, Jelly(network, steps), LAST, case.batch, note="compiled, channels last", wrap=compiled
            )

    some = case.images[: case.batch]
    plain = TorchEngine(f"{name} fp32", Jelly(network, steps), PLAIN, case.batch)
    half = TorchEngine(f"{name} bf16", Half(network, steps), LAST, case.batch, exact=False)
    half.note = deviation(half.run(some), plain.run(some))
    return [plain, Fastest(f"{name} fastest", candidates(), some), half]
