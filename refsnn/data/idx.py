"""IDX, the format of MNIST and its relatives (Y. LeCun, "The MNIST database", file format), gzipped or not."""

from __future__ import annotations

import gzip
import re
import zlib
from dataclasses import replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from refsnn.data import Dataset, layout
from refsnn.errors import InputError

GZIP = b"\x1f\x8b"
UNSIGNED_BYTE = 8
IMAGES = re.compile(r"(.*-)?(?P<split>train|t10k|test)-images[-.]idx3-ubyte(\.gz)?")


def content(path: Path) -> bytes:
    """A file's bytes, decompressed where it is gzip.

    Raises:
        InputError: truncated or damaged gzip.
    """
    data = path.read_bytes()
    if not data.startswith(GZIP):
        return data
    try:
        return gzip.decompress(data)
    except (EOFError, OSError, zlib.error) as error:
        raise InputError(f"{path}: is truncated or damaged gzip ({error}); download or copy it again") from error


def dimensions(head: bytes) -> int:
    """How many axes an IDX file with these first bytes has; 0 if it is none of unsigned bytes."""
    return head[3] if len(head) >= 4 and head[:3] == bytes([0, 0, UNSIGNED_BYTE]) else 0


def read(path: Path) -> NDArray[np.uint8]:
    """An IDX file's array: images ``(N, H, W) uint8`` or labels ``(N,) uint8``.

    Raises:
        InputError: another magic number, or more or fewer bytes than the header states.
    """
    data = content(path)
    axes = dimensions(data)
    if not axes:
        raise InputError(f"{path}: starts with {data[:4].hex(' ')}; an IDX file of unsigned bytes starts with 00 00 08")
    start = 4 + 4 * axes
    if len(data) < start:
        raise InputError(f"{path}: ends within its header; download or copy it again")
    shape = tuple(int(size) for size in np.frombuffer(data, ">u4", axes, 4))
    expected = int(np.prod([int(size) for size in shape]))
    if len(data) - start != expected:
        raise InputError(
            f"{path}: holds {len(data) - start} bytes of data, its header {shape} says {expected}; "
            "download or copy it again"
        )
    return np.frombuffer(data, np.uint8, expected, start).reshape(shape).copy()  # the buffer's own is read-only


def read_pair(path: Path) -> Dataset:
    """An images file, and the labels file next to it where there is one: ``images-idx3`` becomes ``labels-idx1``.

    Raises:
        InputError: labels given as images, another number of labels than of images, or a damaged file.
    """
    images = read(path)
    if images.ndim != 3:
        raise InputError(
            f"{path}: holds an array of shape {images.shape}; name the images file, whose shape is (N, H, W), or the "
            "folder of all four files"
        )
    labels_path = _labels_path(path)
    labels = None
    if labels_path is not None:
        labels = layout.numbers(read(labels_path), str(labels_path))
        if len(labels) != len(images):
            raise InputError(f"{labels_path}: {len(labels)} labels, but {path.name} holds {len(images)} images")
    return Dataset(images=images[:, None], labels=labels, name=path.name.partition(".")[0])


def read_folder(folder: Path) -> tuple[Dataset, Dataset | None] | None:
    """The four usual files of a folder, gzipped or not; None where it has none of them.

    Raises:
        InputError: no test images, images without labels, several data sets in one folder, or a damaged file.
    """
    found: dict[str, Path] = {}
    for path in sorted(folder.iterdir()):
        match = IMAGES.fullmatch(path.name)
        if match:
            split = "train" if match["split"] == "train" else "test"
            if split in found and path.name != f"{found[split].name}.gz":
                raise InputError(f"{folder}: has {found[split].name} and {path.name}; name one of the two files")
            found.setdefault(split, path)
    if not found:
        return None
    if "test" not in found:
        raise InputError(f"{folder}: has {found['train'].name} but no test images (t10k-images-idx3-ubyte)")
    data = {}
    for split, path in found.items():
        if _labels_path(path) is None:
            raise InputError(f"{path}: the labels file next to it ({_labels_name(path)}) is missing")
        data[split] = replace(read_pair(path), name=folder.resolve().name)
    return data["test"], data.get("train")


def _labels_name(images: Path) -> str:
    return images.name.replace("images", "labels").replace("idx3", "idx1")


def _labels_path(images: Path) -> Path | None:
    name = _labels_name(images)
    other = name.removesuffix(".gz") if name.endswith(".gz") else f"{name}.gz"
    for each in (name, other):
        path = images.with_name(each)
        if each != images.name and path.is_file():
            return path
    return None
