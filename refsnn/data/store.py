"""Images inside HDF5: the project's own data file, schema ``refsnn-data``, and the groups of a ``refsnn-ann`` file."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import h5py
import numpy as np
from numpy.typing import NDArray

from refsnn import files
from refsnn.data import Dataset, layout
from refsnn.errors import InputError

SCHEMA = "refsnn-data"
VERSION = 1


def write(path: str | os.PathLike[str], data: Dataset) -> None:
    """Write a data set as a file of its own, atomically."""
    with files.create(path, SCHEMA, VERSION) as file:
        put(file, data)


def read(path: str | os.PathLike[str]) -> tuple[Dataset, Dataset | None]:
    """The test and the calibration images of a ``refsnn-data`` or ``refsnn-ann`` file.

    Raises:
        InputError: another schema, a newer version, a damaged file, or a network without images inside.
    """
    with files.open_hdf5(path) as file:
        try:
            if files.text(file.attrs.get("schema", "")) == "refsnn-ann":
                if "test" not in file:
                    raise InputError(f"{path}: this network carries no test images; name a data file or folder")
                return get(file["test"]), get(file["calibration"]) if "calibration" in file else None
            files.check_schema(file, path, SCHEMA, VERSION)
            return get(file), None
        except (KeyError, TypeError, json.JSONDecodeError, OSError) as error:
            raise InputError(f"{path}: is damaged: {error}; write it again") from error


def put(group: h5py.Group, data: Dataset) -> None:
    """Store a data set in an open file's group."""
    group.attrs["name"] = data.name
    group.attrs["class_names"] = json.dumps(data.class_names)
    files.put(group, "images", data.images, axes="N C H W" if data.images.ndim == 4 else "N C")
    if data.labels is not None:
        files.put(group, "labels", data.labels, axes="N")


def get(group: h5py.Group) -> Dataset:
    """Read what ``put`` stored. Images that another program stored in one piece stay there until they are needed."""
    where = f"{group.file.filename}, {group.name}"
    return Dataset(
        images=layout.pixels(_array(group["images"]), where),
        labels=layout.numbers(group["labels"][()], where) if "labels" in group else None,
        class_names=tuple(json.loads(files.text(group.attrs.get("class_names", "[]")))),
        name=files.text(group.attrs.get("name", Path(group.file.filename).stem)),
    )


def _array(dataset: h5py.Dataset) -> NDArray[Any]:
    """A data set's numbers: in place where the file holds them as they are, one after the other, else a copy."""
    offset = dataset.id.get_offset() if isinstance(dataset, h5py.Dataset) else None
    if offset is None or dataset.dtype != np.uint8 or dataset.external or dataset.file.userblock_size:
        array: NDArray[Any] = dataset[()]
        return array
    return np.asarray(np.memmap(dataset.file.filename, np.uint8, "r", offset, dataset.shape))
