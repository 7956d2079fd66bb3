"""How far an exported graph is from what it was made from."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from refsnn.ann.forward import forward
from refsnn.ann.graph import Graph


def difference(graph: Graph, x: NDArray[np.float64], expected: NDArray[np.floating]) -> float:
    """The largest difference between the outputs, over the largest output (or 1, where that is more).

    Args:
        x: ``(N, *shape)``: what the network reads.
        expected: what the original makes of it, a final softmax or sigmoid included.
    """
    outputs: list[NDArray[np.float64]] = []

    def keep(_: object, output: NDArray[np.float64]) -> None:
        outputs[:] = [output.copy()]

    forward(graph, x, keep)
    return float(np.abs(outputs[0] - expected).max() / max(1.0, np.abs(expected).max()))
