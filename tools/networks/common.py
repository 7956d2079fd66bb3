"""What the families share: the type of their arguments, and pools."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeAlias

from torch import nn

from refsnn.errors import InputError

Shape: TypeAlias = tuple[int, int, int]
"""``(C, H, W)`` of an image."""
Activation: TypeAlias = Callable[[], nn.Module]
"""Makes a new activation for every layer."""

STEMS = ("cifar", "imagenet")
POOLS = ("average", "max")


def make_pool(kind: str, kernel: int, stride: int, padding: int = 0) -> nn.Module:
    """A pool of the kind ``average`` (padded zeros count) or ``max``."""
    check("pool", kind, POOLS)
    maker = nn.AvgPool2d if kind == "average" else nn.MaxPool2d
    return maker(kernel, stride, padding)


def check(option: str, value: str, values: tuple[str, ...]) -> None:
    """Raise InputError unless the value of an option is one of ``values``."""
    if value not in values:
        raise InputError(f"the {option} '{value}' is none of: {', '.join(values)}")
