"""Predictions, accuracy, agreement and the error of outputs: how a network's answers are judged."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from refsnn.geometry import Shape
from refsnn.results import OutputError

Logits = NDArray[np.float64]


def predictions(logits: Logits, activation: str) -> NDArray[np.int64] | None:
    """What each image shows, according to a network.

    Args:
        logits: ``(N, *shape)``, in front of what the network ends in.
        activation: what it ends in: ``softmax``, ``sigmoid``, ``relu`` or ``linear``.

    Returns:
        ``(N,) int64``: the largest output, ties to the lowest index; for one sigmoid output 1 above a probability of
        1/2, else 0; None for one linear output, which predicts a quantity and not a class.
    """
    flat = logits.reshape(len(logits), -1)
    if activation == "relu":  # which makes equals of all that is below 0
        flat = np.maximum(flat, 0)
    if flat.shape[1] > 1:
        largest: NDArray[np.int64] = flat.argmax(axis=1)
        return largest
    return (flat[:, 0] > 0).astype(np.int64) if activation == "sigmoid" else None


def classes(shape: Shape, activation: str, input_shape: Shape) -> int:
    """How many classes a network tells apart; 0 where its outputs are not classes.

    Outputs are not classes where they form a map, where there are as many as inputs (an autoencoder), or where there
    is one linear one.
    """
    outputs = math.prod(shape)
    if outputs == 1:
        return 2 if activation == "sigmoid" else 0
    if math.prod(shape[1:]) > 1 or (activation != "softmax" and outputs == math.prod(input_shape)):
        return 0
    return outputs


def fraction_equal(left: NDArray[np.int64] | None, right: NDArray[np.int64] | None) -> float | None:
    """The fraction 0..1 of equal entries; None where either side is missing."""
    return None if left is None or right is None else float(np.mean(left == right))


def output_error(logits: Logits, reference: Logits, activation: str) -> OutputError:
    """The error of a spiking network's outputs against the ANN's.

    Outputs are what the file's network gives: after the sigmoid or ReLU where it ends in one. Behind a softmax they
    are the logits, because the softmax hides differences.
    """
    found, expected = (_final(values, activation) for values in (logits.reshape(reference.shape), reference))
    rmse = float(np.sqrt(np.mean((found - expected) ** 2)))
    size = float(np.sqrt(np.mean(expected**2)))
    return OutputError(rmse=rmse, mae=float(np.mean(np.abs(found - expected))), relative=rmse / size if size else 0.0)


def _final(logits: Logits, activation: str) -> Logits:
    if activation == "relu":
        return np.maximum(logits, 0)
    # tanh cannot overflow where exp(-x) does
    return 0.5 * (1 + np.tanh(0.5 * logits)) if activation == "sigmoid" else logits


def chance_threshold(number: int, images: int) -> float:
    """The accuracy below which a classifier of ``number`` classes counts as guessing on ``images`` images.

    Guessing gets ``1 / number``. Above it stand three standard deviations of guessing, and at least a ninth of the way
    to perfection: twice chance for ten classes.
    """
    chance = 1 / number
    return chance + max(3 * math.sqrt(chance * (1 - chance) / max(images, 1)), (1 - chance) / 9)
