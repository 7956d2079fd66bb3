"""CIFAR-10 and CIFAR-100 as their authors publish them, binary and Python versions (A. Krizhevsky, 2009).

An image is 3072 bytes: 1024 of red, then green, then blue, row by row. A record of the binary version has the label in
front; of CIFAR-100 the coarse and the fine one. Fine labels are read.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from refsnn.data import Dataset, layout, pickles
from refsnn.data.trees import Tree
from refsnn.errors import InputError

SHAPE = (3, 32, 32)
PIXELS = 3 * 32 * 32


@dataclass(frozen=True, slots=True, kw_only=True)
class _Version:
    name: str
    test: str
    train: tuple[str, ...]
    names: str
    labels: str = ""  # the key of a pickle; empty: the binary version
    names_key: str = ""
    label_bytes: int = 1

    @property
    def files(self) -> tuple[str, ...]:
        return (self.test, *self.train, self.names)


_BATCHES = tuple(f"data_batch_{number}" for number in range(1, 6))
_VERSIONS = (
    _Version(
        name="CIFAR-10",
        test="test_batch",
        train=_BATCHES,
        names="batches.meta",
        labels="labels",
        names_key="label_names",
    ),
    _Version(
        name="CIFAR-10",
        test="test_batch.bin",
        train=tuple(f"{each}.bin" for each in _BATCHES),
        names="batches.meta.txt",
    ),
    _Version(
        name="CIFAR-100",
        test="test",
        train=("train",),
        names="meta",
        labels="fine_labels",
        names_key="fine_label_names",
    ),
    _Version(name="CIFAR-100", test="test.bin", train=("train.bin",), names="fine_label_names.txt", label_bytes=2),
)


def read(tree: Tree) -> tuple[Dataset, Dataset | None] | None:
    """The test and training images of a CIFAR archive or its folder; None where it is none.

    Raises:
        InputError: damaged or incomplete files, or a pickle that would run code.
    """
    version = next((each for each in _VERSIONS if each.test in tree.names), None)
    if version is None:
        return None
    contents = dict(tree.read(name for name in version.files if name in tree.names))
    missing = [name for name in version.train if name not in contents]
    if missing and len(missing) < len(version.train):
        raise InputError(f"{tree.source}: {version.name} lacks {', '.join(missing)}; download or copy it again")
    names = _class_names(version, contents, tree)

    def split(parts: tuple[str, ...]) -> Dataset:
        batches = [_batch(version, contents[part], f"{tree.source}, {part}") for part in parts]
        images, labels = (np.concatenate(arrays) for arrays in zip(*batches, strict=True))
        return Dataset(images=images, labels=labels, class_names=names, name=version.name)

    return split((version.test,)), None if missing else split(version.train)


def _batch(version: _Version, content: bytes, where: str) -> tuple[np.ndarray, np.ndarray]:
    if version.labels:
        batch = _dictionary(content, where)
        images, labels = (_entry(batch, key, where) for key in ("data", version.labels))
        images, labels = layout.pixels(np.asarray(images), where), layout.numbers(np.asarray(labels), where)
        if images.ndim != 2 or images.shape[1] != PIXELS or len(images) != len(labels):
            raise InputError(
                f"{where}: images of shape {images.shape} with {len(labels)} labels; (N, {PIXELS}) with N was expected"
            )
        return images.reshape(-1, *SHAPE), labels
    record = version.label_bytes + PIXELS
    if len(content) % record:
        raise InputError(f"{where}: has {len(content)} bytes, no multiple of {record}; download or copy it again")
    records = np.frombuffer(content, np.uint8).reshape(-1, record)
    return records[:, -PIXELS:].reshape(-1, *SHAPE), records[:, version.label_bytes - 1].astype(np.int64)


def _class_names(version: _Version, contents: dict[str, bytes], tree: Tree) -> tuple[str, ...]:
    content, where = contents.get(version.names), f"{tree.source}, {version.names}"
    if content is None:
        return ()
    if version.labels:
        names = _entry(_dictionary(content, where), version.names_key, where)
        return tuple(name.decode() if isinstance(name, bytes) else str(name) for name in names)
    return tuple(content.decode().split())


def _dictionary(content: bytes, where: str) -> dict[Any, Any]:
    batch = pickles.loads(content, where)
    if not isinstance(batch, dict):
        raise InputError(f"{where}: holds a {type(batch).__name__}; a dictionary was expected")
    return batch


def _entry(batch: dict[Any, Any], key: str, where: str) -> Any:
    """Under a name that Python 2 wrote as bytes, Python 3 as text."""
    for each in (key.encode(), key):
        if each in batch:
            return batch[each]
    raise InputError(f"{where}: holds {sorted(map(str, batch))}, but not '{key}'")
