"""Residual networks of basic blocks: ResNet-8 and ResNet-20 (three stages), ResNet-18 and ResNet-34 (four).

Source: He et al., "Deep residual learning for image recognition", CVPR 2016: sections 3.3 (ImageNet: table 1) and 4.2
(CIFAR-10), with convolutions in the shortcuts where the shape changes (option B) everywhere.
"""

from __future__ import annotations

from torch import Tensor, nn

from tools.networks.common import STEMS, Activation, Shape, check, make_pool


class Block(nn.Module):
    """The basic residual block: two 3x3 convolutions and a shortcut, a 1x1 convolution where the shape changes.

    Source: He et al., figure 2 and option B.
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
    """A stem, stages of basic blocks of which all but the first halve the map, global average, linear.

    Args:
        stages: blocks of each stage.
        width: channels of the first stage; each of the next ones has twice as many as the one before.
        stem: ``cifar``: a 3x3 convolution; ``imagenet``: a 7x7 convolution with stride 2 and a 3x3 pool with stride 2.
        pool: of the ImageNet stem: ``average``, or ``max`` as published.
    """

    def __init__(
        self,
        stages: tuple[int, ...],
        shape: Shape,
        classes: int,
        activation: Activation,
        width: int,
        stem: str = "cifar",
        pool: str = "average",
    ) -> None:
        super().__init__()
        self.stages = stages
        self.stem = _stem(shape[0], width, activation, stem, pool)
        blocks = []
        inputs = width
        for stage, count in enumerate(stages):
            outputs = width << stage
            for block in range(count):
                blocks.append(Block(inputs, outputs, 2 if stage > 0 and block == 0 else 1, activation))
                inputs = outputs
        self.blocks = nn.Sequential(*blocks)
        self.average = nn.AdaptiveAvgPool2d(1)
        self.flatten = nn.Flatten()
        self.classifier = nn.Linear(inputs, classes)

    def forward(self, x: Tensor) -> Tensor:
        result: Tensor = self.classifier(self.flatten(self.average(self.blocks(self.stem(x)))))
        return result


def _stem(inputs: int, width: int, activation: Activation, kind: str, pool: str) -> nn.Sequential:
    check("stem", kind, STEMS)
    if kind == "cifar":
        conv = nn.Conv2d(inputs, width, 3, padding=1, bias=False)
        return nn.Sequential(conv, nn.BatchNorm2d(width), activation())
    conv = nn.Conv2d(inputs, width, 7, 2, padding=3, bias=False)
    return nn.Sequential(conv, nn.BatchNorm2d(width), activation(), make_pool(pool, 3, 2, padding=1))
