"""MobileNet-v2.

Source: Sandler et al., "MobileNetV2: inverted residuals and linear bottlenecks", CVPR 2018, tables 1 and 2.
"""

from __future__ import annotations

from torch import Tensor, nn

from tools.networks.common import STEMS, Activation, Shape, check

STAGES = ((1, 16, 1, 1), (6, 24, 2, 2), (6, 32, 3, 2), (6, 64, 4, 2), (6, 96, 3, 1), (6, 160, 3, 2), (6, 320, 1, 1))
"""Table 2: expansion, channels, blocks, stride of the first of them; channels for a width of 32."""
BOTTLENECKS = ("linear", "rectified")


class InvertedResidual(nn.Module):
    """A 1x1 convolution to ``expansion`` times the channels, a depthwise 3x3 one, and a 1x1 one down to ``outputs``.

    A shortcut joins input and output where they have the same shape.

    Args:
        rectified: an activation behind the sum.
    """

    def __init__(
        self, inputs: int, outputs: int, expansion: int, stride: int, activation: Activation, rectified: bool
    ) -> None:
        super().__init__()
        self.residual = stride == 1 and inputs == outputs
        hidden = inputs * expansion
        self.expand: nn.Module = nn.Identity()
        if expansion != 1:
            self.expand = _layer(nn.Conv2d(inputs, hidden, 1, bias=False), activation())
        self.depthwise = _layer(nn.Conv2d(hidden, hidden, 3, stride, 1, groups=hidden, bias=False), activation())
        self.project = nn.Sequential(nn.Conv2d(hidden, outputs, 1, bias=False), nn.BatchNorm2d(outputs))
        self.activation: nn.Module = activation() if rectified else nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        y = self.project(self.depthwise(self.expand(x)))
        result: Tensor = self.activation(x + y if self.residual else y)
        return result


class MobileNetV2(nn.Module):
    """A 3x3 stem, 17 inverted residuals, a 1x1 convolution, global average, linear.

    Args:
        width: channels of the stem, 32 as published; everything else is in proportion.
        stem: ``imagenet``: stem and second stage with stride 2; ``cifar``: both with stride 1.
        bottleneck: ``linear`` as published: between blocks there is no activation, and the conversion represents the
            values there by signed spikes with thresholds of its own. ``rectified``, a departure: an activation ends
            each block, so that every threshold can be learned.
    """

    def __init__(
        self,
        shape: Shape,
        classes: int,
        activation: Activation,
        width: int = 32,
        stem: str = "cifar",
        bottleneck: str = "linear",
    ) -> None:
        super().__init__()
        check("stem", stem, STEMS)
        check("bottleneck", bottleneck, BOTTLENECKS)
        first = 2 if stem == "imagenet" else 1
        self.stem = _layer(nn.Conv2d(shape[0], width, 3, first, 1, bias=False), activation())
        blocks = []
        inputs = width
        for stage, (expansion, channels, count, stride) in enumerate(STAGES):
            outputs = max(1, channels * width // 32)
            for block in range(count):
                step = 1 if block else first if stage == 1 else stride
                rectified = bottleneck == "rectified"
                blocks.append(InvertedResidual(inputs, outputs, expansion, step, activation, rectified))
                inputs = outputs
        self.blocks = nn.Sequential(*blocks)
        self.head = _layer(nn.Conv2d(inputs, 40 * width, 1, bias=False), activation())
        self.average = nn.AdaptiveAvgPool2d(1)
        self.flatten = nn.Flatten()
        self.dropout = nn.Dropout(0.2)
        self.classifier = nn.Linear(40 * width, classes)

    def forward(self, x: Tensor) -> Tensor:
        x = self.flatten(self.average(self.head(self.blocks(self.stem(x)))))
        result: Tensor = self.classifier(self.dropout(x))
        return result


def _layer(conv: nn.Conv2d, activation: nn.Module) -> nn.Sequential:
    return nn.Sequential(conv, nn.BatchNorm2d(conv.out_channels), activation)
