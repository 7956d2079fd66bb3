"""Convolutions and dense layers as products: what the neurons at chosen places read, one row a neuron (im2col)."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray

from refsnn.convert.lower import Term
from refsnn.geometry import NO_PADDING, Padding, Pair, Shape
from refsnn.network import SumPool


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Sites:
    """Places in the maps of a population, the same in all of its channels.

    Attributes:
        image, row, column: ``(n,)`` each.
    """

    image: NDArray[np.int64]
    row: NDArray[np.int64]
    column: NDArray[np.int64]

    @classmethod
    def spread(cls, images: Iterable[int], shape: Shape, each: int) -> Sites:
        """``each`` places of every image (all, where the map has no more), evenly spread, shifted from image to image.

        Args:
            images: their indices, which the choice depends on; the sites count from 0.
            shape: the population's.
            each: places an image.
        """
        width, size = (shape[2], shape[1] * shape[2]) if len(shape) == 3 else (1, 1)
        each = min(each, size)
        steps = np.arange(each) * size // each
        cells = np.array([(steps + (index if each < size else 0)) % size for index in images]).ravel()
        return cls(image=np.repeat(np.arange(len(cells) // each), each), row=cells // width, column=cells % width)

    def __len__(self) -> int:
        return len(self.image)

    def thinned(self, every: int) -> Sites:
        """One site in ``every``."""
        return Sites(image=self.image[::every], row=self.row[::every], column=self.column[::every])

    def maps(self, values: NDArray[Any], shape: Shape) -> NDArray[Any]:
        """Of all sites of N images: ``(length, n, C)`` as ``(N, length, *shape)``."""
        whole = values.reshape(len(values), -1, *shape[1:], shape[0])
        return np.moveaxis(np.moveaxis(whole, -1, 2), 0, 1)

    def of(self, maps: NDArray[Any]) -> NDArray[Any]:
        """The values ``(n, C)`` of maps ``(N, C, H, W)`` or features ``(N, C)``; ``N = 1`` serves every image."""
        image = self.image if len(maps) > 1 else 0
        result: NDArray[Any] = maps[image] if maps.ndim == 2 else maps[image, :, self.row, self.column]
        return result


def columns(term: Term, values: NDArray[Any], sites: Sites) -> NDArray[Any]:
    """What each site reads through a conv or dense term: ``(groups, n, K)``, K as in the flattened weights of a row.

    Args:
        term: its geometry.
        values: ``(N, *shape)`` of its source.
        sites: places in the target's maps.
    """
    pooled = pool(term.pool, values)
    if term.kind == "dense":
        return pooled.reshape(len(pooled), -1)[sites.image][np.newaxis]
    height, width = term.weights.shape[2:]
    view = windows(pooled, (height, width), term.stride, term.padding, term.dilation)
    found = view[sites.image, :, sites.row, sites.column]
    return found.reshape(len(sites), term.groups, -1).swapaxes(0, 1)


def currents(
    term: Term, weights: NDArray[Any], values: NDArray[Any], sites: Sites, target: Shape, dtype: Any
) -> NDArray[Any]:
    """What a term adds at each site: ``(n, C)`` of the target's channels that it feeds.

    Args:
        term: its geometry.
        weights: in place of its own.
        values: ``(N, *shape)`` of its source.
        sites: places in the target's maps.
        target: the target's shape.
        dtype: floating point in which to compute: float32, or float64 where integers of 2^24 and more occur.
    """
    if term.kind == "identity":
        pooled = pool(term.pool, values)
        if pooled.ndim == 4:
            pooled = pooled[:, :, :: term.stride[0], :: term.stride[1]]
        passed: NDArray[Any] = sites.of(pooled).astype(dtype) * weights.astype(dtype)
        return passed
    if term.kind == "dense" and len(target) == 3:
        flat = pool(term.pool, values).reshape(len(values), -1).astype(dtype)
        return sites.of((flat @ weights.T.astype(dtype)).reshape(-1, *target))
    read = columns(term, values.astype(dtype, copy=False), sites)
    grouped = weights.reshape(term.groups, len(weights) // term.groups, -1).astype(dtype)
    result: NDArray[Any] = (read @ grouped.swapaxes(1, 2)).swapaxes(0, 1).reshape(len(sites), -1)
    return result


def pool(pooling: SumPool | None, values: NDArray[Any]) -> NDArray[Any]:
    """Sums over the windows of a sum-pool, if there is one."""
    if pooling is None:
        return values
    view = windows(values, pooling.kernel, pooling.stride, pooling.padding)
    sums: NDArray[Any] = view.sum(axis=(4, 5), dtype=_wide(values.dtype))
    return sums


def _wide(dtype: Any) -> Any:
    """The type of sums: int8 events would wrap."""
    return np.int32 if np.issubdtype(dtype, np.integer) else dtype


def windows(
    x: NDArray[Any], kernel: Pair, stride: Pair, padding: Padding = NO_PADDING, dilation: Pair = (1, 1)
) -> NDArray[Any]:
    """``(N, C, H', W', Kh, Kw)``: a view of every window of the maps ``(N, C, H, W)``, padded with zeros."""
    if padding != NO_PADDING:
        top, bottom, left, right = padding
        x = np.pad(x, ((0, 0), (0, 0), (top, bottom), (left, right)))
    extent = tuple(step * (size - 1) + 1 for size, step in zip(kernel, dilation, strict=True))
    view = sliding_window_view(x, extent, axis=(2, 3))
    return view[:, :, :: stride[0], :: stride[1], :: dilation[0], :: dilation[1]]
