"""Synapses as matrix products of whole numbers in floating point: BLAS, and nothing to compile.

A sum of products of integers is exact in floating point, in whatever order it is added up, as long as the sum of their
magnitudes is below 2^24 in float32, or 2^53 in float64. What spikes and what does not costs the same. For networks so
small that compiling kernels would take longer than running them.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray

from refsnn.geometry import Shape
from refsnn.kernels import Events, Workspace, arrays
from refsnn.network import Projection, SumPool

EXACT = 1 << 24
"""float32 holds every integer up to this."""

COLUMNS = 1 << 20
"""Numbers that unfolded windows may take at once: 4 or 8 MB."""

dense = None
"""One way for every layer."""

populations = arrays


def available() -> bool:
    """Whether this machine can run it: any can."""
    return True


def connect(projection: Projection, source: Shape, target: Shape) -> Synapses:
    """Prepare a projection's weights, for populations of the shapes ``(C, H, W)``."""
    inside = projection.pool.output(source) if projection.pool else source
    weights = projection.weights
    number = len(weights)
    heaviest = int(np.abs(weights.astype(np.int64)).reshape(number, -1).sum(axis=1).max(initial=0))
    if projection.kind == "dense":
        weights = weights.reshape(-1, *inside).transpose(0, 2, 3, 1)
        weights = weights.reshape(*target, -1).transpose(1, 2, 0, 3).reshape(1, number, -1)
    elif projection.kind == "identity":
        weights = weights.reshape(number, 1, 1)
    else:
        weights = weights.transpose(0, 2, 3, 1).reshape(projection.groups, number // projection.groups, -1)
    return Synapses(projection, weights.transpose(0, 2, 1), heaviest)


@dataclass(frozen=True, slots=True)
class Synapses:
    """A projection.

    Attributes:
        weights: ``(groups, inputs of a window, outputs)``; channels are the last axis of the inputs.
        heaviest: the largest sum of magnitudes of one output's weights.
    """

    projection: Projection
    weights: NDArray[Any]
    heaviest: int

    def add(self, events: Events, largest: int, currents: NDArray[np.int32], workspace: Workspace) -> None:
        """See ``refsnn.kernels.Synapses``."""
        frames = events.shape[0] * events.shape[1]
        maps = events.reshape(frames, *events.shape[2:])
        sums = currents.reshape(frames, *currents.shape[2:])
        pool = self.projection.pool
        if pool:
            maps = _pooled(maps, pool)
            largest *= pool.kernel[0] * pool.kernel[1]
        exact = np.float32 if self.heaviest * largest < EXACT else np.float64
        if self.projection.kind == "dense":
            products = maps.reshape(frames, -1).astype(exact) @ self.weights[0].astype(exact)
            sums += products.reshape(sums.shape).astype(np.int32)
            return
        first, outputs = self.projection.channel, self.weights.shape[0] * self.weights.shape[2]
        part = sums[..., first : first + outputs]
        if self.projection.kind == "identity":
            down, along = self.projection.stride
            part += maps[:, ::down, ::along].astype(np.int32) * self.weights[:, 0, 0]
        else:
            weights = self.weights.astype(exact)

            def work(_: int, first: int, last: int) -> None:
                self._convolve(maps[first:last], weights, part[first:last])

            workspace.memory.share(frames, part.size, work)

    def _convolve(self, maps: NDArray[Any], weights: NDArray[Any], sums: NDArray[np.int32]) -> None:
        """Unfold the windows of a few frames at a time, and multiply."""
        projection = self.projection
        kernel, stride, dilation = projection.weights.shape[2:], projection.stride, projection.dilation
        top, bottom, left, right = projection.padding
        groups, length, outputs = weights.shape
        frames, height, width = sums.shape[:3]
        size = max(1, COLUMNS // (groups * length * height * width))
        for begin in range(0, frames, size):
            padded = np.pad(maps[begin : begin + size], ((0, 0), (top, bottom), (left, right), (0, 0)))
            span = [(taps - 1) * apart + 1 for taps, apart in zip(kernel, dilation, strict=True)]
            windows = sliding_window_view(padded, span, (1, 2))
            windows = windows[:, :: stride[0], :: stride[1], :, :: dilation[0], :: dilation[1]]
            number, channels = len(windows), windows.shape[3] // groups
            split = windows.transpose(0, 1, 2, 4, 5, 3).reshape(number, height, width, *kernel, groups, channels)
            rows = np.moveaxis(split, 5, 0).reshape(groups, -1, length).astype(weights.dtype)
            products = (rows @ weights).reshape(groups, number, height, width, outputs)
            sums[begin : begin + size] += (
                products.transpose(1, 2, 3, 0, 4).reshape(number, height, width, -1).astype(np.int32)
            )


def _pooled(maps: NDArray[Any], pool: SumPool) -> NDArray[np.int32]:
    """Sums over windows of ``(F, H, W, C)`` maps."""
    top, bottom, left, right = pool.padding
    padded = np.pad(maps, ((0, 0), (top, bottom), (left, right), (0, 0)))
    windows = sliding_window_view(padded, pool.kernel, (1, 2))[:, :: pool.stride[0], :: pool.stride[1]]
    sums: NDArray[np.int32] = windows.sum(axis=(-2, -1), dtype=np.int32)
    return sums
