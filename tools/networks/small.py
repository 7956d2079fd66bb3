"""Networks for small images and quick trials."""

from __future__ import annotations

from torch import nn

from tools.networks.common import Activation, Shape


def cnn(shape: Shape, classes: int, activation: Activation, width: int = 16) -> nn.Module:
    """Three convolutions, two of them with stride 2, global average, linear: for images as small as 8x8."""
    network = nn.Sequential()
    inputs = shape[0]
    for stage in range(3):
        outputs = width << stage
        network.add_module(f"conv{stage}", nn.Conv2d(inputs, outputs, 3, 2 if stage else 1, padding=1, bias=False))
        network.add_module(f"norm{stage}", nn.BatchNorm2d(outputs))
        network.add_module(f"activation{stage}", activation())
        inputs = outputs
    network.add_module("average", nn.AdaptiveAvgPool2d(1))
    network.add_module("flatten", nn.Flatten())
    network.add_module("classifier", nn.Linear(inputs, classes))
    return network


def mlp(shape: Shape, classes: int, activation: Activation, width: int = 64) -> nn.Module:
    """Two hidden layers of ``width`` features."""
    network = nn.Sequential()
    network.add_module("flatten", nn.Flatten())
    inputs = shape[0] * shape[1] * shape[2]
    for stage in range(2):
        network.add_module(f"dense{stage}", nn.Linear(inputs, width, bias=False))
        network.add_module(f"norm{stage}", nn.BatchNorm1d(width))
        network.add_module(f"activation{stage}", activation())
        inputs = width
    network.add_module("classifier", nn.Linear(inputs, classes))
    return network
