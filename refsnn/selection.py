"""Which images the figures are about, and which ones the thresholds are calibrated on: never the same."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from refsnn.data import Dataset, layout
from refsnn.data.readers import read
from refsnn.errors import InputError
from refsnn.geometry import Shape

SMALLEST_REST = 10
"""At least one in so many of the images must be left for the figures when some are taken to calibrate."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Selection:
    """Images for one run of the main job.

    Attributes:
        evaluation: what the figures are about.
        calibration: ``(N, *shape) uint8``, or None where none are needed.
        origin: where the calibration images come from, in words.
        notes: what the user must hear.
    """

    evaluation: Dataset
    calibration: NDArray[np.uint8] | None
    origin: str
    notes: tuple[str, ...] = ()


def select(
    shape: Shape,
    *,
    network: str,
    classes: int | None = None,
    inside: Dataset | None = None,
    inside_calibration: Dataset | None = None,
    data: Path | None = None,
    calibration: Path | None = None,
    calibration_images: int = 1000,
    calibrate: bool = True,
    limit: int | None = None,
) -> Selection:
    """Choose the images to measure and to calibrate on.

    Calibration images are, in this order of preference, those that the user names, the train split of the data, those
    inside the network's file, and the first of the data themselves, which are then left out of the figures.

    Args:
        shape: of one image, as the network expects it.
        network: the network file's name, for errors.
        classes: of the network: labels are checked against it; None: labels are not looked at.
        inside, inside_calibration: the images in the network's file.
        data, calibration: files or folders named by the user.
        calibration_images: how many to calibrate on, at most.
        calibrate: False where nothing needs calibration.
        limit: how many to measure on, at most.

    Raises:
        InputError: there are no images, they or their labels do not fit the network, or too few are left beside the
            calibration images.
    """
    for name, value in (("--calibration-images", calibration_images), ("--limit", limit)):
        if value is not None and value < 1:
            raise InputError(f"{name} is {value}; at least 1 image is needed")
    train: Dataset | None = None
    if data is not None:
        splits = read(data, shape, classes)
        evaluation, train = splits.test, splits.train
    elif inside is not None:
        evaluation = _fit(inside, shape, classes, network)
    else:
        raise InputError(f"{network}: has no images inside; name some with --data FILE-OR-FOLDER")
    origin = str(data or network)
    notes: list[str] = []

    images, calibrated_on = None, "none"
    if calibrate:
        images, calibrated_on = _own_calibration(shape, network, evaluation, train, inside_calibration, calibration)
    taken = None if images is None else images[:calibration_images]
    if calibrate and taken is None:
        taken = evaluation.images[:calibration_images]
        rest = len(evaluation) - len(taken)
        if rest * SMALLEST_REST < len(evaluation):
            raise InputError(
                f"{origin}: has {len(evaluation)} images; calibrating on {calibration_images} of them would leave "
                f"{rest or 'none'} to measure on. Name other images with --calibration FILE-OR-FOLDER, "
                "or take fewer with --calibration-images N"
            )
        evaluation = evaluation[len(taken) :]
        calibrated_on = f"first {len(taken)} images of the data"
        notes.append(
            f"calibrated on the first {len(taken)} images of {origin}, which are left out of the figures; "
            f"{rest} remain (--calibration names other images)"
        )
    elif taken is not None:
        notes.append(f"calibrated on {len(taken)} images: {calibrated_on}")
    else:
        notes.append("no calibration: every threshold is in the network's file")
    if limit is not None:
        evaluation = evaluation[:limit]
    if not len(evaluation):
        raise InputError(f"{origin}: holds no images to measure on")
    return Selection(evaluation=evaluation, calibration=taken, origin=calibrated_on, notes=tuple(notes))


def _own_calibration(
    shape: Shape,
    network: str,
    evaluation: Dataset,
    train: Dataset | None,
    inside: Dataset | None,
    named: Path | None,
) -> tuple[NDArray[np.uint8] | None, str]:
    """The calibration images of their own and where they are from, or None: then the data must do."""
    if named is not None:
        splits = read(named, shape)
        if splits.train is not None:
            return splits.train.images, f"train images of {named.name}"
        images = _without(splits.test.images, evaluation.images)
        return (images, named.name) if len(images) else (None, "")
    if train is not None:
        return train.images, f"train images of {train.name}"
    if inside is not None:
        return _fit(inside, shape, None, network).images, "calibration images inside the network's file"
    return None, ""


def _fit(data: Dataset, shape: Shape, classes: int | None, network: str) -> Dataset:
    """Images inside the network's file, checked like any other."""
    if classes is not None:
        layout.check_range(data.labels, classes, network)
    return replace(data, images=layout.fit(data.images, shape, network))


def _without(images: NDArray[np.uint8], others: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """The images that are not among others, byte for byte."""
    known = {image.tobytes() for image in others}
    return images[[image.tobytes() not in known for image in images]]
