"""One entry for every kind of image file, told apart by content.

Schema ``refsnn-data``, the images inside a ``refsnn-ann`` file, IDX, NumPy's files, CIFAR's archives and folders of
pictures (``docs/formats.md``).
"""

from __future__ import annotations

import os
from dataclasses import dataclass, replace
from pathlib import Path

import h5py

from refsnn.data import Dataset, arrays, cifar, idx, layout, pictures, store, trees
from refsnn.errors import InputError
from refsnn.geometry import Shape

KINDS = (
    "HDF5 of refsnn, IDX (a file or the folder of four), .npz, .npy, CIFAR-10 and -100 (archive or folder) and "
    "PNG or JPEG pictures as [train|test/]CLASS/PICTURE (archive or folder)"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Splits:
    """What a file or folder holds: the images to measure on, and the ones to calibrate or train on, if any."""

    test: Dataset
    train: Dataset | None = None


def read(path: str | os.PathLike[str], shape: Shape | None = None, classes: int | None = None) -> Splits:
    """Read images and labels from any file or folder of the kinds above.

    Args:
        path: the file or folder.
        shape: what the network expects, ``(C, H, W)`` or ``(C,)``: settles the order of axes, and is checked.
        classes: of the network: labels are checked against it.

    Raises:
        InputError: missing, of no known kind, damaged, of another shape or range. The message names the file.
    """
    source = Path(path)
    if not source.exists():
        raise InputError(f"{source}: there is no such file or folder")
    test, train = _folder(source) if source.is_dir() else _file(source, shape)
    test = _checked(test, shape, classes, source)
    return Splits(test=test, train=None if train is None else _checked(train, shape, classes, source))


def _folder(source: Path) -> tuple[Dataset, Dataset | None]:
    found = idx.read_folder(source) or _tree(source)
    if found is None:
        raise InputError(f"{source}: no data set is recognised in this folder; refsnn reads {KINDS}")
    return found


def _tree(source: Path) -> tuple[Dataset, Dataset | None] | None:
    tree = trees.Tree(source)
    return cifar.read(tree) or pictures.read(tree)


def _file(source: Path, shape: Shape | None) -> tuple[Dataset, Dataset | None]:
    if h5py.is_hdf5(source):
        return store.read(source)
    with source.open("rb") as file:
        head = file.read(8)
    if head.startswith(b"PK\x03\x04"):
        return arrays.read_npz(source, shape)
    if head.startswith(b"\x93NUMPY"):
        return arrays.read_npy(source, shape), None
    if trees.is_archive(source):
        found = _tree(source)
        if found is None:
            raise InputError(f"{source}: no data set is recognised in this archive; refsnn reads {KINDS}")
        return found
    if head.startswith(idx.GZIP):
        head = idx.content(source)[:8]
    if idx.dimensions(head):
        return idx.read_pair(source), None
    raise InputError(f"{source}: starts with {head.hex(' ') or 'nothing'}, no kind that is known; refsnn reads {KINDS}")


def _checked(data: Dataset, shape: Shape | None, classes: int | None, source: Path) -> Dataset:
    if not len(data):
        raise InputError(f"{source}: holds no images")
    if classes is not None or data.class_names:
        layout.check_range(data.labels, classes if classes is not None else len(data.class_names), str(source))
    return data if shape is None else replace(data, images=layout.fit(data.images, shape, str(source)))
