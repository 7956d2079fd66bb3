"""Images in NumPy's own files: ``.npz`` with the usual names, and ``.npy``."""

from __future__ import annotations

import zipfile
import zlib
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from refsnn.data import Dataset, layout
from refsnn.errors import InputError
from refsnn.geometry import Shape

TEST = (("images", "labels"), ("x", "y"), ("x_test", "y_test"), ("test_images", "test_labels"))
TRAIN = (("x_train", "y_train"), ("train_images", "train_labels"))


def read_npz(path: Path, shape: Shape | None) -> tuple[Dataset, Dataset | None]:
    """The test and training arrays of an ``.npz`` under one of the usual pairs of names.

    Raises:
        InputError: no such names or several, a damaged file, an array of Python objects, or of another shape or type.
    """
    arrays = _load(path, {name for pair in (*TEST, *TRAIN) for name in pair})
    test, train = (_split(arrays, pairs, path, shape) for pairs in (TEST, TRAIN))
    if test is None:
        usual = ", ".join(f"{images}/{labels}" for images, labels in TEST)
        with np.load(path) as archive:
            raise InputError(
                f"{path}: holds the arrays {archive.files}; images and labels are expected as one of {usual}"
            )
    return test, train


def read_npy(path: Path, shape: Shape | None) -> Dataset:
    """The images of an ``.npy``, without labels. Bytes with channels first stay in the file until they are needed.

    Raises:
        InputError: a damaged file, an array of Python objects, or of another shape or type.
    """
    images = _load(path, set())[""]
    return Dataset(images=layout.maps(layout.pixels(images, str(path)), shape, str(path)), name=path.stem)


def _load(path: Path, names: set[str]) -> dict[str, NDArray[Any]]:
    """The arrays called ``names``; the one of an ``.npy`` under the empty name, and left in its file until needed."""
    try:
        content = np.load(path, mmap_mode="r", allow_pickle=False)
        if isinstance(content, np.ndarray):
            return {"": np.asarray(content)}
        with content as archive:
            return {name: archive[name] for name in archive.files if name in names}
    except (ValueError, OSError, EOFError, zipfile.BadZipFile, zlib.error) as error:
        if "allow_pickle" in str(error) or "Python objects" in str(error):
            raise InputError(
                f"{path}: holds pickled Python objects, which could run code and are never loaded; save plain arrays"
            ) from error
        raise InputError(f"{path}: is truncated or damaged ({error}); copy or save it again") from error


def _split(
    arrays: dict[str, NDArray[Any]], pairs: tuple[tuple[str, str], ...], path: Path, shape: Shape | None
) -> Dataset | None:
    found = [pair for pair in pairs if pair[0] in arrays]
    if not found:
        return None
    if len(found) > 1:
        raise InputError(f"{path}: holds images as {' and '.join(pair[0] for pair in found)}; keep one of them")
    images_name, labels_name = found[0]
    where = f"{path}, array '{images_name}'"
    labels: NDArray[np.int64] | None = None
    if labels_name in arrays:
        labels = layout.numbers(arrays[labels_name], f"{path}, array '{labels_name}'")
    return Dataset(
        images=layout.maps(layout.pixels(arrays[images_name], where), shape, where), labels=labels, name=path.stem
    )
