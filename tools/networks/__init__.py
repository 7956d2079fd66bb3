"""The zoo: the papers' networks, and two small ones. An activation follows every sum and, as a rule, every convolution.

Each takes the shape of its images ``(C, H, W)``, the number of classes, a maker of activations, a width, and options of
its own. Defaults convert well (average pools); what is published and differs from them is an option.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable
from functools import partial

from torch import nn

from refsnn.errors import InputError
from tools.networks.common import Activation, Shape
from tools.networks.mobilenet import MobileNetV2
from tools.networks.resnet import ResNet
from tools.networks.small import cnn, mlp
from tools.networks.vgg import VGG16

NETWORKS: dict[str, Callable[..., nn.Module]] = {
    "resnet8": partial(ResNet, (1, 1, 1), width=16),  # the shape of MLPerf Tiny's
    "resnet18": partial(ResNet, (2, 2, 2, 2), width=64),
    "resnet20": partial(ResNet, (3, 3, 3), width=16),
    "resnet34": partial(ResNet, (3, 4, 6, 3), width=64),
    "vgg16": VGG16,
    "mobilenet_v2": MobileNetV2,
    "cnn": cnn,
    "mlp": mlp,
}


def build(
    name: str,
    shape: Shape,
    classes: int,
    activation: Activation,
    width: int | None = None,
    **options: str | int | None,
) -> nn.Module:
    """A network of the zoo by name.

    Args:
        width, **options: None: the network's own default.

    Raises:
        InputError: there is no such network, it has no such option, or the option no such value.
    """
    if name not in NETWORKS:
        raise InputError(f"there is no network '{name}' in the zoo; there are: {', '.join(NETWORKS)}")
    maker = NETWORKS[name]
    given = {key: value for key, value in {"width": width, **options}.items() if value is not None}
    for key in given:
        if key not in inspect.signature(maker).parameters:
            raise InputError(f"the network '{name}' has no {key} to choose")
    return maker(shape, classes, activation, **given)
