"""What projections and max-pools make of events, the plain way: int64 sums, tap by tap, no kernel of refsnn.

Maps are ``(T, C, H, W)``; a ``(C,)`` population is ``(C, 1, 1)``. The contract is ``docs/numerics.md``.
"""

from __future__ import annotations

from itertools import product
from typing import Any

import numpy as np
from numpy.typing import NDArray

from golden.layout import spatial
from refsnn.geometry import Padding, Pair, Shape
from refsnn.network import MaxPool, Projection, SumPool

Maps = NDArray[np.int64]
SMALLEST = np.iinfo(np.int64).min


def pooled(pool: SumPool | None, events: NDArray[Any]) -> Maps:
    """Events behind a projection's sum-pool."""
    maps = events.astype(np.int64)
    if pool is None:
        return maps
    padded = _pad(maps, pool.padding, 0)
    size = pool.output(maps.shape[1:])[1:]
    made: Maps = np.sum([_tap(padded, tap, size, pool.stride) for tap in _taps(pool.kernel)], axis=0)
    return made


def sums(projection: Projection, events: NDArray[Any], target: Shape) -> Maps:
    """The sums of weight * event in each step, in front of a shift, where they belong in the target ``(C, H, W)``."""
    maps = pooled(projection.pool, events)
    weights = projection.weights.astype(np.int64)
    result = np.zeros((len(maps), *target), np.int64)
    if projection.kind == "dense":
        result[:] = (maps.reshape(len(maps), -1) @ weights.T).reshape(result.shape)
        return result
    if projection.kind == "identity":
        made = maps[:, :, :: projection.stride[0], :: projection.stride[1]] * weights[:, None, None]
    else:
        made = _convolve(projection, weights, maps, target[1:])
    result[:, projection.channel : projection.channel + made.shape[1]] = made
    return result


def _convolve(projection: Projection, weights: Maps, maps: Maps, size: Shape) -> Maps:
    outputs, inputs, *kernel = weights.shape
    per_group = outputs // projection.groups
    padded = _pad(maps, projection.padding, 0)
    made = np.zeros((len(maps), outputs, *size), np.int64)
    for (i, j), group in product(_taps((kernel[0], kernel[1])), range(projection.groups)):
        tap = i * projection.dilation[0], j * projection.dilation[1]
        seen = _tap(padded[:, group * inputs : (group + 1) * inputs], tap, size, projection.stride)
        rows = slice(group * per_group, (group + 1) * per_group)
        made[:, rows] += np.moveaxis(np.tensordot(weights[rows, :, i, j], seen, axes=(1, 1)), 0, 1)
    return made


def shifts(projection: Projection, target: Shape) -> Maps:
    """The right shift of each neuron of the target ``(C, H, W)``; 0 where the projection has none."""
    result = np.zeros(target, np.int64)
    if projection.shift is not None:
        if projection.kind == "dense":
            result[:] = projection.shift.reshape(target)
        else:
            result[projection.channel : projection.channel + len(projection.shift)] = projection.shift[:, None, None]
    return result


def shifted(maps: Maps, shift: Maps) -> Maps:
    """The arithmetic right shift, rounding half up."""
    result: Maps = (maps + ((np.int64(1) << shift) >> 1)) >> shift
    return result


def window_maximum(pool: MaxPool, maps: NDArray[Any]) -> Maps:
    """The maxima over the windows of ``(T, C, H, W)`` maps; padded cells are ignored, or a real 0."""
    padded = _pad(maps.astype(np.int64), pool.padding, 0 if pool.zero_padding else SMALLEST)
    size = spatial(pool.shape)[1:]
    maxima: Maps = np.max([_tap(padded, tap, size, pool.stride) for tap in _taps(pool.kernel)], axis=0)
    return maxima


def _taps(kernel: Pair) -> list[Pair]:
    return list(product(range(kernel[0]), range(kernel[1])))


def _pad(maps: Maps, padding: Padding, value: int) -> Maps:
    top, bottom, left, right = padding
    return np.pad(maps, ((0, 0), (0, 0), (top, bottom), (left, right)), constant_values=value)


def _tap(padded: Maps, tap: Pair, size: Shape, stride: Pair) -> Maps:
    """The cell that each window sees at one tap."""
    rows = slice(tap[0], tap[0] + stride[0] * (size[0] - 1) + 1, stride[0])
    columns = slice(tap[1], tap[1] + stride[1] * (size[1] - 1) + 1, stride[1])
    return padded[:, :, rows, columns]
