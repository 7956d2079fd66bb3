"""Images inside HDF5: the project's own data file, schema ``refsnn-data``, and the groups of a ``refsnn-ann`` file."""

from __future__ import annotations

import json
import os
from pathlib import Path

import h5py

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
    """Read what ``put`` stored."""
    where = f"{group.file.filename}, {group.name}"
    return Dataset(
        images=layout.pixels(group["images"][()], where),
        labels=layout.numbers(group["labels"][()], where) if "labels" in group else None,
        class_names=tuple(json.loads(files.text(group.attrs.get("class_names", "[]")))),
        name=files.text(group.attrs.get("name", Path(group.file.filename).stem)),
    )
