"""Rounding weights so that what one rounding spoils, the weights not yet rounded make good."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from refsnn.ann.graph import Array

DAMPING = 0.01
"""Added to the diagonal of the second moments, as a fraction of its mean."""


def nearest(weights: Array, grid: Array, largest: int) -> NDArray[Any]:
    """``rint(weights / grid)``, limited to ``+-largest``."""
    result: NDArray[Any] = np.clip(np.rint(weights / grid), -largest, largest)
    return result


def with_feedback(weights: Array, grid: Array, largest: int, moments: Array) -> Array:
    """Integers q, ``|q| <= largest``, such that ``(q * grid - weights) x`` is small on average over the inputs x.

    Algorithm: the columns are rounded one by one, those with the largest second moment first. The error of each is
    spread over the columns that are still to come so that the squared error of the outputs grows least: with
    ``H^-1 = U^T U``, U upper triangular, column j's error ``e`` adds ``-e U[j, k] / U[j, j]`` to column k.

    Source: Frantar et al., "GPTQ: accurate post-training quantization for generative pre-trained transformers",
    ICLR 2023, section 3. Departure: rounding never leaves the grid's limits, and the grid may differ by row and column.

    Args:
        weights: ``(R, K)``.
        grid: ``(R, K)``, above 0: the value of an integer 1.
        largest: of an integer.
        moments: ``(K, K)``: the second moments ``H`` of the inputs, on any scale.

    Returns:
        ``(R, K)`` whole numbers.
    """
    from scipy.linalg import cholesky, inv

    size = np.diag(moments)
    if not size.any():
        return nearest(weights, grid, largest)
    order = np.argsort(-size, kind="stable")
    damped = moments[np.ix_(order, order)] + DAMPING * size.mean() * np.eye(len(size))
    factor = cholesky(inv(damped), lower=False)
    left, steps = weights[:, order].copy(), grid[:, order]
    result = np.empty_like(left)
    for j in range(len(order)):
        result[:, j] = nearest(left[:, j], steps[:, j], largest)
        error = (left[:, j] - result[:, j] * steps[:, j]) / factor[j, j]
        left[:, j + 1 :] -= error[:, np.newaxis] * factor[j, j + 1 :]
    back = np.empty_like(result)
    back[:, order] = result
    return back
