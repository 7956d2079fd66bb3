"""Networks of the zoo that are small and behave as if they were trained."""

from __future__ import annotations

import torch
from torch import nn

from tools import activations, networks

SIZES = {
    "resnet18": 16,
    "resnet34": 16,
    "vgg16": 32,
    "mobilenet_v2": 16,
    "cnn": 8,
    "mlp": 4,
    "resnet8": 8,
    "resnet20": 8,
}
"""The smallest images that a network is any good for."""


def lifelike(
    name: str, kind: str, *, width: int = 4, classes: int = 5, channels: int = 3, size: int | None = None, **options
) -> nn.Module:
    """A network whose batch norms have seen images, in evaluation mode: no value vanishes or explodes.

    Scales, shifts and bounds are random, without which many a mistake would not show.
    """
    torch.manual_seed(0)
    side = size or SIZES[name]
    network = networks.build(
        name, (channels, side, side), classes, lambda: activations.activation(kind), width, **options
    )
    for part in network.modules():
        if isinstance(part, nn.BatchNorm1d | nn.BatchNorm2d):
            part.momentum = None  # averages over all that it sees
            nn.init.uniform_(part.weight, 0.5, 2)
            nn.init.normal_(part.bias, 0, 0.2)
        if isinstance(part, activations.QCFS | activations.Clip):
            nn.init.uniform_(part.bound, 0.5, 2)
    with torch.no_grad():
        network.train()(torch.rand(16, channels, side, side))
    return network.eval()
