"""Distillation of a trained network into its own conversion: the integers learn to answer as the ANN does.

Labels are not needed: the ANN's output on the same image is what the integer network's is drawn to (Hinton et al.,
"Distilling the knowledge in a neural network", 2015, at temperature 1; Mishra and Marr, "Apprentice", ICLR 2018, for
networks of few bits). Images are few, so they are mirrored and moved, and the ANN is asked about what comes of that.
The weights are averaged over the last steps (Polyak and Juditsky, 1992; an exponential average), because with few
images and coarse activations single steps are noise.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from refsnn.ann.forward import forward_images
from refsnn.ann.graph import Graph
from refsnn.convert import Fitted
from refsnn.errors import InputError
from tools.augment import augment
from tools.spiking import SpikingNetwork

SMALLEST_THETA = 0.1
"""No threshold falls below this fraction of where it began."""


@dataclass(frozen=True, kw_only=True)
class Settings:
    """What the result depends on, besides the network and the images.

    Attributes:
        epochs: how often every image is seen.
        batch: images in a step.
        rate: of Adam, relative to the mean size of the parameters of each tensor; falls to 0 along a cosine.
        memory: of the average, as a fraction of it that is kept in each step.
        flip, shift: of ``tools.augment``.
        seed: of the images' order and of what is done to them.
    """

    epochs: int = 4
    batch: int = 50
    rate: float = 0.003
    memory: float = 0.99
    flip: bool = True
    shift: int = 4
    seed: int = 0


def distil(
    network: SpikingNetwork,
    graph: Graph,
    images: NDArray[np.uint8],
    settings: Settings,
    *,
    threads: int = 0,
    report: Callable[[int, float], None] = lambda epoch, loss: None,
) -> Fitted:
    """Train the network's weights, biases and thresholds. It repeats on one machine with one number of threads.

    Args:
        network: fitted; its parameters are changed.
        graph: the ANN.
        images: ``(N, C, H, W)`` or ``(N, C)`` uint8; never test images.
        settings: how.
        threads: of the ANN; 0: as many as there are processors.
        report: receives every epoch's number, from 1, and mean Kullback-Leibler divergence from the ANN's outputs.

    Returns:
        The averaged parameters and their integers.

    Raises:
        InputError: no images, outputs that are no classes, or a loss that is not finite.
    """
    if not len(images):
        raise InputError("distilling needs at least one image")
    if len(network.fitted.populations[-1].shape) != 1:
        raise InputError(f"distilling needs outputs that are classes; these are {network.fitted.populations[-1].shape}")
    torch.manual_seed(settings.seed)
    parameters = list(network.parameters())
    sizes = [p.detach().abs().mean().item() for p in parameters]
    rates = [settings.rate * size for size in sizes]
    optimizer = torch.optim.Adam([{"params": [p]} for p in parameters], betas=(0.9, 0.99))
    thetas = [p for name, p in network.named_parameters() if name.endswith(".theta")]
    lowest = [SMALLEST_THETA * theta.detach() for theta in thetas]
    average = [p.detach().clone() for p in parameters]
    everything = torch.from_numpy(images)
    total = settings.epochs * math.ceil(len(images) / settings.batch)
    step = 0
    for epoch in range(settings.epochs):
        order = torch.randperm(len(images))
        seen = (
            augment(everything[order], flip=settings.flip, shift=settings.shift)
            if images.ndim == 4
            else everything[order]
        )
        wanted = torch.tensor(forward_images(graph, seen.numpy(), network.preprocessing, threads=threads))
        wanted = wanted.softmax(1).float()
        losses = 0.0
        for x, y in zip(torch.split(seen, settings.batch), torch.split(wanted, settings.batch), strict=True):
            for group, rate in zip(optimizer.param_groups, rates, strict=True):
                group["lr"] = rate * (1 + math.cos(math.pi * step / total)) / 2
            loss = divergence(network(x), y)
            optimizer.zero_grad(set_to_none=True)
            loss.backward()  # type: ignore[no-untyped-call]  # PyTorch's
            optimizer.step()
            losses += loss.item() * len(x)
            if not math.isfinite(losses):
                raise InputError(f"the loss became {losses} in epoch {epoch + 1}; use a smaller --rate")
            step += 1
            with torch.no_grad():
                for theta, low in zip(thetas, lowest, strict=True):
                    theta.copy_(torch.maximum(theta, low))
                for mean, now in zip(average, parameters, strict=True):
                    mean.lerp_(now, 1 - min(settings.memory, step / (step + 10)))
        report(epoch + 1, losses / len(images))
    with torch.no_grad():
        for now, mean in zip(parameters, average, strict=True):
            now.copy_(mean)
    return network.refitted()


def divergence(logits: Tensor, wanted: Tensor) -> Tensor:
    """The mean Kullback-Leibler divergence of the outputs of logits ``(N, K)`` from ``(N, K)`` wanted ones."""
    return functional.kl_div(logits.log_softmax(1), wanted, reduction="batchmean")
