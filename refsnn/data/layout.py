"""From whatever an array holds to pixel bytes with channels first, and labels to numbers: checked, never guessed."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from refsnn.errors import InputError
from refsnn.geometry import Shape

CHANNELS = (1, 3)


def pixels(images: NDArray[Any], where: str) -> NDArray[np.uint8]:
    """Any array of whole numbers 0..255 as bytes.

    Raises:
        InputError: fractions (images that someone has normalised already), or numbers outside 0..255.
    """
    if images.dtype == np.uint8:
        return images
    if images.dtype.kind not in "iuf" or not images.size:
        raise InputError(f"{where}: {images.dtype} of shape {images.shape}; images of pixel bytes 0..255 were expected")
    low, high = images.min(), images.max()
    if images.dtype.kind == "f":
        if not (np.isfinite(low) and np.isfinite(high)):
            raise InputError(f"{where}: holds NaN or infinite values; pixel bytes 0..255 were expected")
        if high <= 1 or (images != np.rint(images)).any():
            raise InputError(
                f"{where}: {images.dtype} numbers from {low:g} to {high:g}; pixel bytes 0..255 were expected. Save the "
                "images as uint8 before any scaling (of 0..1: numpy.rint(255 * images).astype('uint8')), and say with "
                "--scale, --mean and --std what the network expects"
            )
    if low < 0 or high > 255:
        raise InputError(f"{where}: numbers from {low:g} to {high:g}; pixel bytes 0..255 were expected")
    return images.astype(np.uint8)


def maps(images: NDArray[np.uint8], shape: Shape | None, where: str) -> NDArray[np.uint8]:
    """An array with channels first, last or none as ``(N, C, H, W)``; ``(N, C)`` features stay as they are.

    Args:
        images: ``(N, C, H, W)``, ``(N, H, W, C)``, ``(N, H, W)`` or ``(N, C)``.
        shape: what the network expects, ``(C, H, W)`` or ``(C,)``; None: the axis that has 1 or 3 is the channels'.
        where: file and array, for the error.

    Raises:
        InputError: no such array, both or neither axis could be the channels', or nothing fits ``shape``.
    """
    if images.ndim == 3:
        images = images[:, None]
    if images.ndim not in (2, 4):
        raise InputError(
            f"{where}: an array of shape {images.shape}; (N, C, H, W), (N, H, W, C), (N, H, W) or (N, C) was expected"
        )
    if images.ndim == 4:
        last = np.moveaxis(images, 3, 1)
        if shape is not None and len(shape) == 3:
            channels_last = images.shape[1:] != shape and last.shape[1:] == shape
        else:
            channels_last = images.shape[3] in CHANNELS
            if channels_last == (images.shape[1] in CHANNELS):
                which = "both" if channels_last else "neither"
                raise InputError(
                    f"{where}: an array of shape {images.shape}, {which} of whose axes 1 and 3 could be the channels; "
                    "save it as (N, C, H, W) in a refsnn-data file"
                )
        if channels_last:
            images = np.ascontiguousarray(last)
    return images if shape is None else fit(images, shape, where)


def fit(images: NDArray[np.uint8], shape: Shape, where: str) -> NDArray[np.uint8]:
    """Check that images ``(N, C, H, W)`` or ``(N, C)`` have the network's shape; of one channel, maps and features
    are the same thing.

    Raises:
        InputError: another shape.
    """
    if images.shape[1:] == shape:
        return images
    single = all(len(each) == 1 or each[0] == 1 for each in (shape, images.shape[1:]))
    if single and np.prod(images.shape[1:]) == np.prod(shape) and len(shape) + 1 != images.ndim:
        return images.reshape(-1, *shape)
    raise InputError(f"{where}: images of shape {images.shape[1:]}; the network expects {shape}")


def numbers(labels: NDArray[Any], where: str) -> NDArray[np.int64]:
    """Labels of any integer type, ``(N,)`` or ``(N, 1)``, as ``(N,) int64``.

    Raises:
        InputError: another type or shape, or a negative label.
    """
    if labels.ndim == 2 and labels.shape[1] == 1:
        labels = labels[:, 0]
    if labels.dtype.kind not in "iu" or labels.ndim != 1:
        advice = "; of one-hot labels save labels.argmax(axis=1)" if labels.ndim == 2 else ""
        found = f"labels are {labels.dtype} of shape {labels.shape}"
        raise InputError(f"{where}: {found}; whole numbers of shape (N,) were expected{advice}")
    if labels.size and labels.min() < 0:
        raise InputError(f"{where}: the label of image {int(labels.argmin())} is {labels.min()}; labels start at 0")
    return labels.astype(np.int64)


def check_range(labels: NDArray[np.int64] | None, classes: int, where: str) -> None:
    """Check labels against the number of classes.

    Raises:
        InputError: a label outside ``0 .. classes - 1``; the message names the first such image.
    """
    if labels is None:
        return
    wrong = np.flatnonzero((labels < 0) | (labels >= classes))
    if len(wrong):
        raise InputError(
            f"{where}: the label of image {wrong[0]} is {labels[wrong[0]]}; there are {classes} classes, "
            f"so labels 0..{classes - 1} were expected"
        )
