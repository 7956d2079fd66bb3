"""What others call the layers of the zoo's networks: the layouts of their checkpoints.

A layout maps the path of a module in the file to the path of the module in the zoo's network. Aliases of a module are
several entries; the first is how error messages call it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TypeAlias

from torch import nn

from tools.networks.mobilenet import MobileNetV2
from tools.networks.resnet import ResNet
from tools.networks.vgg import STAGES, VGG16

Table: TypeAlias = dict[str, str]
"""Path of a module in the file: path of the module in the network."""

LEAVES = {"thresh": "bound", "up": "bound"}
"""Names of a learned threshold inside its layer, in the QCFS code: now, and in its first version."""


def own(network: nn.Module) -> Table:
    """The zoo's own names."""
    return {name: name for name, _ in network.named_modules()}


def torchvision(network: nn.Module) -> Table | None:
    """torchvision's names of ResNets (of any number of stages), VGG-16 with batch norms, and MobileNet-v2.

    In ResNets ``shortcut`` and ``linear``, as many CIFAR networks have it, stand for ``downsample`` and ``fc`` too.
    """
    if isinstance(network, ResNet):
        return _torchvision_resnet(network)
    if isinstance(network, VGG16):
        return _torchvision_vgg()
    if isinstance(network, MobileNetV2):
        return _torchvision_mobilenet(network)
    return None


def qcfs(network: nn.Module) -> Table | None:
    """The names of the QCFS code (Bu et al., ICLR 2022): putshua/SNN_conversion_QCFS and putshua/ANN_SNN_QCFS."""
    if isinstance(network, ResNet):
        return _qcfs_resnet(network)
    if isinstance(network, VGG16):
        return _qcfs_vgg()
    return None


LAYOUTS: dict[str, Callable[[nn.Module], Table | None]] = {"own": own, "torchvision": torchvision, "qcfs": qcfs}


def _torchvision_resnet(network: ResNet) -> Table:
    table = {"conv1": "stem.0", "bn1": "stem.1"}
    for theirs, ours in _blocks(network, "layer{}.{}", first=1):
        for layer in "12":
            table |= {f"{theirs}.conv{layer}": f"{ours}.conv{layer}", f"{theirs}.bn{layer}": f"{ours}.norm{layer}"}
        for shortcut in ("downsample", "shortcut"):
            table |= {f"{theirs}.{shortcut}.{part}": f"{ours}.shortcut.{part}" for part in "01"}
    return table | {"fc": "classifier", "linear": "classifier"}


def _torchvision_vgg() -> Table:
    table = {}
    index = 0
    for stage, layers in enumerate(STAGES, start=1):
        for layer in range(1, layers + 1):
            for part in ("conv", "norm", "activation"):
                table[f"features.{index}"] = f"features.{part}{stage}_{layer}"
                index += 1
        index += 1  # the pool
    return table | {
        "classifier.0": "classifier.fc6",
        "classifier.3": "classifier.fc7",
        "classifier.6": "classifier.fc8",
    }


def _torchvision_mobilenet(network: MobileNetV2) -> Table:
    table = {f"features.0.{part}": f"stem.{part}" for part in "01"}
    for block in range(len(network.blocks)):
        theirs, ours = f"features.{block + 1}.conv", f"blocks.{block}"
        layers = ("expand", "depthwise") if block else ("depthwise",)
        for index, layer in enumerate(layers):
            table |= {f"{theirs}.{index}.{part}": f"{ours}.{layer}.{part}" for part in "01"}
        table |= {f"{theirs}.{len(layers) + part}": f"{ours}.project.{part}" for part in (0, 1)}
    table |= {f"features.{len(network.blocks) + 1}.{part}": f"head.{part}" for part in "01"}
    return table | {"classifier.1": "classifier"}


def _qcfs_resnet(network: ResNet) -> Table:
    table = {f"conv1.{part}": f"stem.{part}" for part in "012"}
    for theirs, ours in _blocks(network, "conv{}_x.{}", first=2):
        parts = ("conv1", "norm1", "activation1", "conv2", "norm2")
        table |= {f"{theirs}.residual_function.{index}": f"{ours}.{part}" for index, part in enumerate(parts)}
        table |= {f"{theirs}.shortcut.{part}": f"{ours}.shortcut.{part}" for part in "01"}
        table |= {f"{theirs}.{name}": f"{ours}.activation2" for name in ("act", "relu")}
    return table | {"fc": "classifier"}


def _qcfs_vgg() -> Table:
    table = {}
    for stage, layers in enumerate(STAGES, start=1):
        for layer in range(1, layers + 1):
            for index, part in enumerate(("conv", "norm", "activation")):  # and a dropout
                table[f"layer{stage}.{4 * (layer - 1) + index}"] = f"features.{part}{stage}_{layer}"
    parts = {1: "fc6", 2: "activation6", 4: "fc7", 5: "activation7", 7: "fc8"}
    return table | {f"classifier.{index}": f"classifier.{part}" for index, part in parts.items()}


def _blocks(network: ResNet, pattern: str, first: int) -> Iterator[tuple[str, str]]:
    """Their name and ours of each block; their stages count from ``first``."""
    block = 0
    for stage, count in enumerate(network.stages, start=first):
        for index in range(count):
            yield pattern.format(stage, index), f"blocks.{block}"
            block += 1
