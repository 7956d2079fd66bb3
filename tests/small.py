"""A small classifier that really classifies, trained in closed form in milliseconds, and its images."""

from __future__ import annotations

from functools import cache

import numpy as np

from refsnn.ann import graph as ann
from refsnn.ann.forward import forward_images
from refsnn.data import Dataset

CLASSES = 4
SHAPE = (1, 6, 6)
CENTRED = ann.Preprocessing(scale=127.5, mean=(1.0,))


def images(count: int, seed: int) -> Dataset:
    """Two patterns, each in the dark and in the light, under noise: their brightness matters, so their scaling does."""
    patterns = np.repeat(np.random.default_rng(0).integers(0, 2, (CLASSES // 2, *SHAPE)) * 80, 2, axis=0)
    patterns += np.array([20, 120, 20, 120])[:, None, None, None]
    random = np.random.default_rng(seed)
    labels = random.integers(0, CLASSES, count)
    pixels = patterns[labels] + random.normal(0, 25, (count, *SHAPE))
    return Dataset(images=np.clip(pixels, 0, 255).astype(np.uint8), labels=labels, name="patterns")


@cache
def classifier(bound: float | None = None, stated: bool = True, output: str = "softmax") -> ann.Graph:
    """A residual network with random convolutions and a fitted dense layer.

    Args:
        bound: learned threshold of every layer, or None.
        stated: whether it says that it expects pixels in -1..1.
        output: ``softmax``, ``sigmoid``, ``relu`` or ``linear``.
    """
    random = np.random.default_rng(1)

    def conv(name, source, inputs):
        weights = random.normal(size=(6, inputs, 3, 3)) / np.sqrt(5 * inputs)
        return ann.Conv(name=name, inputs=(source,), weights=weights, bias=np.full(6, 0.05), padding=(1, 1, 1, 1))

    def relu(name, source):
        return ann.ReLU(name=name, inputs=(source,), bound=None if bound is None else np.array(bound))

    body = (
        ann.Input(name="input", shape=SHAPE),
        conv("conv1", "input", 1),
        relu("relu1", "conv1"),
        conv("conv2", "relu1", 6),
        ann.Add(name="add", inputs=("conv2", "relu1")),
        relu("relu2", "add"),
        ann.AveragePool(name="pool", inputs=("relu2",), kernel=(2, 2), stride=(2, 2)),
        ann.Flatten(name="flatten", inputs=("pool",)),
    )
    data = images(400, seed=99)
    features = forward_images(ann.Graph(operations=body), data.images, CENTRED)
    design = np.hstack([features, np.ones((len(features), 1))])
    targets = np.eye(CLASSES)[data.labels] * 4 - 2
    weights = np.linalg.solve(design.T @ design + np.eye(design.shape[1]), design.T @ targets).T
    dense = ann.Dense(name="dense", inputs=("flatten",), weights=weights[:, :-1].copy(), bias=weights[:, -1].copy())
    ends = {
        "softmax": (ann.Softmax(name="end", inputs=("dense",)),),
        "sigmoid": (ann.Sigmoid(name="end", inputs=("dense",)),),
        "relu": (ann.ReLU(name="end", inputs=("dense",)),),
    }
    operations = (*body, dense, *ends.get(output, ()))
    return ann.Graph(operations=operations, preprocessing=CENTRED if stated else None)


@cache
def autoencoder() -> ann.Graph:
    """A network with as many outputs as inputs, sigmoid at the end."""
    random = np.random.default_rng(2)
    size = int(np.prod(SHAPE))
    down, up = random.normal(size=(12, size)) / 6, random.normal(size=(size, 12)) / 3
    return ann.Graph(
        operations=(
            ann.Input(name="input", shape=(size,)),
            ann.Dense(name="encode", inputs=("input",), weights=down),
            ann.ReLU(name="relu", inputs=("encode",)),
            ann.Dense(name="decode", inputs=("relu",), weights=up),
            ann.Sigmoid(name="end", inputs=("decode",)),
        ),
        preprocessing=ann.Preprocessing(scale=255),
    )
