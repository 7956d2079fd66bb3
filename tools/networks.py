"""The zoo: networks that convert well. No maximum pooling, and an activation after every sum.

Each takes the shape of its images ``(C, H, W)``, the number of classes, a maker of activations, and a width.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeAlias

from torch import Tensor, nn

Shape: TypeAlias = tuple[int, int, int]
Activation: TypeAlias = Callable[[], nn.Module]


class Block(nn.Module):
    """The basic residual block: two 3x3 convolutions and a shortcut, a 1x1 convolution where the shape changes.

    Source: He et al., "Deep residual learning for image recognition", CVPR 2016, figure 2 and option B.
    """

    def __init__(self, inputs: int, outputs: int, stride: int, activation: Activation) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(inputs, outputs, 3, stride, padding=1, bias=False)
        self.norm1 = nn.BatchNorm2d(outputs)
        self.activation1 = activation()
        self.conv2 = nn.Conv2d(outputs, outputs, 3, padding=1, bias=False)
        self.norm2 = nn.BatchNorm2d(outputs)
        self.shortcut: nn.Module = nn.Identity()
        if stride != 1 or inputs != outputs:
            self.shortcut = nn.Sequential(
                nn.Conv2d(inputs, outputs, 1, stride, bias=False),
                nn.BatchNorm2d(outputs),
            )
        self.activation2 = activation()

    def forward(self, x: Tensor) -> Tensor:
        y = self.activation1(self.norm1(self.conv1(x)))
        y = self.norm2(self.conv2(y)) + self.shortcut(x)
        result: Tensor = self.activation2(y)
        return result


class ResNet(nn.Module):
    """A CIFAR-style residual network: a 3x3 stem, three stages that halve the map, global average, linear.

    Args:
        blocks: blocks a stage: 1 gives ResNet-8 (the shape of MLPerf Tiny's), 3 ResNet-20.
        width: channels of the first stage; the next ones have twice and four times as many.
    """

    def __init__(self, blocks: int, shape: Shape, classes: int, activation: Activation, width: int) -> None:
        super().__init__()
        self.stem = nn.Sequential(
            nn.Conv2d(shape[0], width, 3, padding=1, bias=False), nn.BatchNorm2d(width), activation()
        )
        stages = []
        inputs = width
        for stage in range(3):
            outputs = width << stage
            for block in range(blocks):
                stages.append(Block(inputs, outputs, 2 if stage > 0 and block == 0 else 1, activation))
                inputs = outputs
        self.blocks = nn.Sequential(*stages)
        self.average = nn.AdaptiveAvgPool2d(1)
        self.flatten = nn.Flatten()
        self.classifier = nn.Linear(inputs, classes)

    def forward(self, x: Tensor) -> Tensor:
        result: Tensor = self.classifier(self.flatten(self.average(self.blocks(self.stem(x)))))
        return result


def resnet8(shape: Shape, classes: int, activation: Activation, width: int = 16) -> nn.Module:
    """ResNet-8."""
    return ResNet(1, shape, classes, activation, width)


def resnet20(shape: Shape, classes: int, activation: Activation, width: int = 16) -> nn.Module:
    """ResNet-20."""
    return ResNet(3, shape, classes, activation, width)


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


NETWORKS: dict[str, Callable[..., nn.Module]] = {"resnet8": resnet8, "resnet20": resnet20, "cnn": cnn, "mlp": mlp}


def build(name: str, shape: Shape, classes: int, activation: Activation, width: int | None = None) -> nn.Module:
    """A network of the zoo by name, ``width`` None meaning its own default.

    Raises:
        ValueError: there is no such network.
    """
    if name not in NETWORKS:
        raise ValueError(f"there is no network '{name}' in the zoo; there are: {', '.join(NETWORKS)}")
    options = {} if width is None else {"width": width}
    return NETWORKS[name](shape, classes, activation, **options)
