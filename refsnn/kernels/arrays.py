"""The kernels of ``populations`` in NumPy, under the same names: nothing is compiled.

The neuron's mathematics is that of ``refsnn.neurons``, on whole arrays; arguments and results are those of
``populations``.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray

from refsnn.geometry import Pair
from refsnn.neurons import fire, send


def integrate_and_fire(
    currents: NDArray[np.int32],
    membrane: NDArray[np.int32],
    count: NDArray[np.int32],
    neuron: tuple[NDArray[np.int32], NDArray[np.int32], NDArray[np.int32]],
    limits: Pair,
    width: Pair,
    arithmetic: type[np.signedinteger[Any]],
    first: int,
    part: Pair,
    train: NDArray[np.int8],
    saturated: NDArray[np.int64],
) -> None:
    """Run neurons through the steps of ``currents``."""
    threshold, negative_threshold, initial = neuron
    rows = slice(*part)
    v, n = membrane[:, rows], count[:, rows]
    if first == 0:
        v[:] = initial
        n[:] = 0
    for step in range(currents.shape[1]):
        total = v.astype(arithmetic) + currents[:, step, rows]
        u = np.clip(total, *width)
        spike = fire(u, n, threshold, negative_threshold, *limits)
        train[:, first + step, rows] = spike
        v[:] = u - spike * threshold
        n[:] = n + spike
        saturated[first + step] += np.count_nonzero(u != total)


def accumulate_and_send(
    sums: NDArray[np.int32],
    closing: NDArray[np.int64],
    threshold: NDArray[np.int32],
    signed: bool,
    base: int,
    steps: int,
    width: Pair,
    arithmetic: type[np.signedinteger[Any]],
    membrane: NDArray[Any],
    codes: NDArray[np.int32],
    spikes: NDArray[np.int64],
) -> int:
    """Close the accumulation of temporally separated neurons and send their digits, as one code for each neuron."""
    total = sums + closing
    v = np.clip(total, *width)
    clamped = int(np.count_nonzero(v != total))
    codes[:] = 0
    for step in range(steps):
        weighted = threshold.astype(np.int64) * base ** (steps - 1 - step)
        digit = send(v, weighted, threshold, signed)
        v -= digit * weighted
        codes[:] = base * codes + digit
        spikes += np.count_nonzero(digit, axis=(0, 2))
    return clamped


def count_events(train: NDArray[np.int8], counts: NDArray[np.int64]) -> None:
    """Add the number of non-zero ternary events of each pixel to ``counts``."""
    counts += np.count_nonzero(train, axis=(0, 3))


def window_maximum(maps: NDArray[Any], window: tuple[int, ...], zero_padding: bool, maxima: NDArray[np.int32]) -> None:
    """The largest value in each window."""
    kernel, stride, before = window[:2], window[2:4], window[4:]
    outside = 0 if zero_padding else np.iinfo(np.int32).min
    widths = [(0, 0)]
    for axis in (0, 1):
        end = (maxima.shape[1 + axis] - 1) * stride[axis] + kernel[axis]
        widths.append((before[axis], max(0, end - before[axis] - maps.shape[1 + axis])))
    padded = np.pad(maps.astype(np.int32), [*widths, (0, 0)], constant_values=outside)
    windows = sliding_window_view(padded, kernel, (1, 2))[:, :: stride[0], :: stride[1]]
    windows[:, : maxima.shape[1], : maxima.shape[2]].max(axis=(-2, -1), out=maxima)
