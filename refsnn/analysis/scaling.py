"""Does the network see the pixels that it was trained on? Labels tell."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from refsnn.analysis import outputs
from refsnn.ann.forward import forward_images
from refsnn.ann.graph import Array, Graph, Preprocessing

SURE = 30
"""Fewer labelled images than this say nothing about guessing."""
TRIAL = 256
"""Images on which other scalings are tried."""
DOUBTFUL = 1 / 3
"""Other scalings are tried up to this part of the way from guessing to perfection."""
BETTER = 0.1
"""One that gets so much more right is worth a word."""


def usual(channels: int) -> dict[str, Preprocessing]:
    """The usual scalings of pixels, by the options that ask for them."""
    found = {
        "--scale 1": Preprocessing(),
        "--scale 255": Preprocessing(scale=255),
        "--scale 127.5 --mean 1": Preprocessing(scale=127.5, mean=(1.0,)),
    }
    if channels == 1:
        found["--scale 255 --mean 0.1307 --std 0.3081"] = Preprocessing(scale=255, mean=(0.1307,), std=(0.3081,))
    if channels == 3:
        for mean, std in (
            ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225)),
            ((0.4914, 0.4822, 0.4465), (0.247, 0.2435, 0.2616)),
        ):
            option = f"--scale 255 --mean {','.join(map(str, mean))} --std {','.join(map(str, std))}"
            found[option] = Preprocessing(scale=255, mean=mean, std=std)
    return found


def advice(
    graph: Graph,
    images: NDArray[np.uint8],
    labels: NDArray[np.int64],
    logits: Array,
    preprocessing: Preprocessing,
    classes: int,
    activation: str,
    *,
    threads: int = 0,
) -> list[str]:
    """What to say where the labels show the ANN guessing: the usual scalings, and which of them works.

    Args:
        graph: the network.
        images, labels: what it was measured on.
        logits: what it made of them.
        preprocessing: the pixels that it got.
        classes: how many it tells apart.
        activation: what follows the logits.
        threads: workers.

    Returns:
        Nothing, or one sentence.
    """
    accuracy = outputs.fraction_equal(outputs.predictions(logits, activation), labels)
    if accuracy is None or len(labels) < SURE or accuracy > 1 / classes + (1 - 1 / classes) * DOUBTFUL:
        return []
    tried = {}
    for option, other in usual(graph.input.shape[0]).items():
        if other != preprocessing:
            found = forward_images(graph, images[:TRIAL], other, threads=threads)
            tried[option] = outputs.fraction_equal(outputs.predictions(found, activation), labels[:TRIAL]) or 0.0
    best = max(tried, key=lambda option: tried[option])
    start = f"the ANN gets {100 * accuracy:.1f} % right"
    if tried[best] > max(accuracy + BETTER, outputs.chance_threshold(classes, min(TRIAL, len(labels)))):
        return [f"{start}, but {100 * tried[best]:.1f} % with {best}: say with these what it expects of a pixel"]
    if accuracy > outputs.chance_threshold(classes, len(labels)):
        return []
    return [
        f"{start}, as if it were guessing among {classes} classes: are these its images and labels? None of the usual "
        f"scalings helps ({'; '.join(tried)}); say with --scale, --mean and --std what it expects of a pixel"
    ]
