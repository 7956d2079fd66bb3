"""Shapes of maps and sliding windows, as the ANN and the integer network both see them.

Maps are ``(C, H, W)``; kernels, strides and dilations ``(height, width)``; paddings ``(top, bottom, left, right)``.
"""

from __future__ import annotations

from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

Shape: TypeAlias = tuple[int, ...]
Pair: TypeAlias = tuple[int, int]
Padding: TypeAlias = tuple[int, int, int, int]

NO_PADDING: Padding = (0, 0, 0, 0)


def window_output(
    size: Shape, kernel: Pair, stride: Pair, padding: Padding = NO_PADDING, dilation: Pair = (1, 1)
) -> Pair:
    """Height and width of what a sliding window makes of a map of the height and width ``size``."""
    height = (size[0] + padding[0] + padding[1] - dilation[0] * (kernel[0] - 1) - 1) // stride[0] + 1
    width = (size[1] + padding[2] + padding[3] - dilation[1] * (kernel[1] - 1) - 1) // stride[1] + 1
    return height, width


def taps(
    size: int, outputs: int, kernel: int, stride: int, before: int, dilation: int = 1
) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
    """Along one axis: the cell that each tap of each window reads, and whether it lies inside the map.

    Args:
        size: cells of the map.
        outputs: windows.
        kernel, stride, dilation: of the window.
        before: padding in front.

    Returns:
        Both ``(kernel, outputs)``.
    """
    cells = np.arange(outputs)[None, :] * stride - before + np.arange(kernel)[:, None] * dilation
    return cells, (cells >= 0) & (cells < size)
