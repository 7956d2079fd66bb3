"""VGG-16 with batch norms.

Source: Simonyan and Zisserman, "Very deep convolutional networks for large-scale image recognition", ICLR 2015,
table 1, configuration D; names of layers as in their own model. Batch norms behind the convolutions as has been usual
since.
"""

from __future__ import annotations

from torch import Tensor, nn

from tools.networks.common import Activation, Shape, make_pool

STAGES = (2, 2, 3, 3, 3)
"""Convolutions of each stage, all 3x3; a 2x2 pool ends a stage."""


class VGG16(nn.Module):
    """Five stages of convolutions and pools, then one or three linear layers.

    A pool in front of which the map has a side of 1 already is left out: images below 32 pixels a side go through too.

    Args:
        width: channels of the first stage; the others have 2, 4, 8 and 8 times as many.
        pool: ``average``, or ``max`` as published.
        hidden: features of the two hidden linear layers; None: 64 times the width, 4096 as published; 0: there are no
            such layers.
    """

    def __init__(
        self,
        shape: Shape,
        classes: int,
        activation: Activation,
        width: int = 64,
        pool: str = "average",
        hidden: int | None = None,
    ) -> None:
        super().__init__()
        hidden = 64 * width if hidden is None else hidden
        self.features = nn.Sequential()
        inputs, side = shape[0], min(shape[1:])
        size = [shape[1], shape[2]]
        for stage, count in enumerate(STAGES, start=1):
            outputs = width * min(1 << (stage - 1), 8)
            for layer in range(1, count + 1):
                self.features.add_module(f"conv{stage}_{layer}", nn.Conv2d(inputs, outputs, 3, padding=1))
                self.features.add_module(f"norm{stage}_{layer}", nn.BatchNorm2d(outputs))
                self.features.add_module(f"activation{stage}_{layer}", activation())
                inputs = outputs
            if side > 1:
                self.features.add_module(f"pool{stage}", make_pool(pool, 2, 2))
                size, side = [length // 2 for length in size], side // 2
        self.flatten = nn.Flatten()
        self.classifier = nn.Sequential()
        inputs *= size[0] * size[1]
        for layer in (6, 7) if hidden else ():
            self.classifier.add_module(f"fc{layer}", nn.Linear(inputs, hidden))
            self.classifier.add_module(f"activation{layer}", activation())
            inputs = hidden
        self.classifier.add_module("fc8", nn.Linear(inputs, classes))

    def forward(self, x: Tensor) -> Tensor:
        result: Tensor = self.classifier(self.flatten(self.features(x)))
        return result
