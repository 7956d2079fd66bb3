"""Data sets: images with labels, and readers for the files people have."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from refsnn.errors import InputError


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Dataset:
    """Images and what they show.

    Attributes:
        images: ``(N, C, H, W) uint8`` pixel bytes, or ``(N, C) uint8`` features.
        labels: ``(N,) int64``, or None where there are none.
        class_names: a name for each label, or empty.
        name: what to call it in reports.
    """

    images: NDArray[np.uint8]
    labels: NDArray[np.int64] | None = None
    class_names: tuple[str, ...] = ()
    name: str = "images"

    def __post_init__(self) -> None:
        if self.images.dtype != np.uint8:
            raise InputError(f"{self.name}: images are {self.images.dtype}; pixel bytes (uint8, 0..255) were expected")
        if self.labels is not None and self.labels.shape != (len(self.images),):
            raise InputError(f"{self.name}: {len(self.images)} images but labels of shape {self.labels.shape}")

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, part: slice) -> Dataset:
        labels = None if self.labels is None else self.labels[part]
        return Dataset(images=self.images[part], labels=labels, class_names=self.class_names, name=self.name)
