"""HDF5 habits in one place: opening with clear errors, schema and version checks, atomic and repeatable writing.

Files that refsnn writes carry the root attributes ``schema``, ``schema_version`` and ``creator``, hold no time stamps
(equal content is an equal file), and appear whole or not at all.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import os
import tempfile
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from refsnn.errors import InputError

CREATOR = "refsnn"


def check_target(path: Path) -> None:
    """Find out, before the work, that a file has no folder to be written into.

    Raises:
        InputError: the folder does not exist.
    """
    folder = path.absolute().parent
    if not folder.is_dir():
        raise InputError(f"{path}: there is no folder {folder}; make it, or name another file")


@contextmanager
def atomic(path: str | os.PathLike[str]) -> Iterator[Path]:
    """Write a file whole or not at all.

    Yields the path of a temporary file in the target's own folder. When the block ends without an error, the file is
    flushed to the disk and renamed over the target; otherwise it is removed and the old file survives.

    Raises:
        InputError: the folder does not exist or cannot be written, or the disk is full.
    """
    target = Path(path)
    try:
        handle, name = tempfile.mkstemp(prefix=f".{target.name}.", suffix=".part", dir=target.parent)
    except OSError as error:
        raise InputError(f"{target}: cannot write into the folder {target.parent}: {error.strerror}") from error
    os.close(handle)
    temporary = Path(name)
    try:
        yield temporary
        with temporary.open("rb") as written:
            os.fsync(written.fileno())
        temporary.chmod(0o666 & ~_umask())
        temporary.replace(target)
    except OSError as error:
        raise InputError(f"{target}: could not be written, the old content is untouched: {error}") from error
    finally:
        temporary.unlink(missing_ok=True)


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask


def write_text(path: str | os.PathLike[str], text: str) -> None:
    """Write a text file (UTF-8) atomically."""
    with atomic(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


@contextmanager
def create(path: str | os.PathLike[str], schema: str, version: int) -> Iterator[h5py.File]:
    """Create an HDF5 file atomically, with its schema in the root attributes.

    The yielded file is open for writing; it replaces ``path`` when the block ends without an error. It is built in
    memory: HDF5 crashes the process at its end where a full disk has kept it from closing a file.
    """
    with atomic(path) as temporary:
        with h5py.File(temporary, "w", track_order=False, driver="core", backing_store=False) as file:
            file.attrs["schema"] = schema
            file.attrs["schema_version"] = version
            file.attrs["creator"] = CREATOR
            yield file
            file.flush()
            image = file.id.get_file_image()
        temporary.write_bytes(image)


def put(group: h5py.Group, name: str, array: np.ndarray, *, axes: str = "", compress: bool = True) -> None:
    """Store an array without time stamps, compressed where that can pay, with its axes named in an attribute."""
    options: dict[str, Any] = {}
    if compress and array.size > 1024:
        options = {"compression": "gzip", "compression_opts": 6, "shuffle": True, "fletcher32": True}
    dataset = group.create_dataset(name, data=array, track_times=False, **options)
    if axes:
        dataset.attrs["axes"] = axes


@contextmanager
def open_hdf5(path: str | os.PathLike[str]) -> Iterator[h5py.File]:
    """Open an HDF5 file for reading.

    Raises:
        InputError: the file is missing, a folder, truncated, or not HDF5 at all.
    """
    source = Path(path)
    if not source.exists():
        raise InputError(f"{source}: there is no such file")
    if source.is_dir():
        raise InputError(f"{source}: is a folder; an HDF5 file was expected")
    try:
        file = h5py.File(source, "r")
    except OSError as error:
        if not h5py.is_hdf5(source):
            kind = "is empty" if source.stat().st_size == 0 else "is not an HDF5 file"
            raise InputError(f"{source}: {kind}; a network saved as HDF5 was expected") from error
        raise InputError(f"{source}: is truncated or damaged HDF5 ({error}); copy or save it again") from error
    with file:
        yield file


def text(value: Any) -> str:
    """An HDF5 string attribute, which old writers store as bytes, as text."""
    return value.decode("utf-8") if isinstance(value, bytes | np.bytes_) else str(value)


def check_schema(file: h5py.File, path: str | os.PathLike[str], schema: str, version: int) -> int:
    """Check the root attributes of one of the project's own files; return the version it has.

    Raises:
        InputError: another schema, none at all, or a version newer than this program reads.
    """
    found = text(file.attrs.get("schema", ""))
    if found != schema:
        raise InputError(f"{path}: has the schema '{found or 'none'}'; '{schema}' was expected")
    number = int(file.attrs.get("schema_version", 0))
    if not 1 <= number <= version:
        raise InputError(
            f"{path}: is version {number} of the schema '{schema}', this program reads up to {version}; update refsnn"
        )
    return number


def sha256(path: str | os.PathLike[str]) -> str:
    """The SHA-256 of a file's bytes, in hexadecimal."""
    with Path(path).open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def write_records(group: h5py.Group, records: Iterable[Any]) -> None:
    """Store dataclass instances, a subgroup each: arrays as data sets, everything else as JSON in attributes.

    Floating-point arrays are stored in the narrowest type that holds them exactly, and read back as float64.
    """
    for index, record in enumerate(records):
        subgroup = group.create_group(f"{index:04d}")
        subgroup.attrs["type"] = type(record).__name__
        for key, value in record_fields(record):
            if isinstance(value, np.ndarray):
                put(subgroup, key, _narrow(value))
            else:
                subgroup.attrs[key] = json.dumps(value)


def read_records(group: h5py.Group, kinds: Iterable[type[Any]], nested: Mapping[str, type[Any]]) -> tuple[Any, ...]:
    """Read what ``write_records`` stored.

    Args:
        group: the parent group.
        kinds: the dataclasses that may occur.
        nested: field names whose values are small dataclasses themselves.

    Raises:
        KeyError, TypeError: an unknown kind, a missing or a surplus field.
    """
    by_name = {kind.__name__: kind for kind in kinds}
    records = []
    for subgroup in group.values():
        values: dict[str, Any] = {key: _widen(np.asarray(value[()])) for key, value in subgroup.items()}
        for key, stored in subgroup.attrs.items():
            if key == "type":
                continue
            value = json.loads(text(stored))
            if key in nested and value is not None:
                value = nested[key](**{name: _tuple(item) for name, item in value.items()})
            values[key] = _tuple(value)
        records.append(by_name[text(subgroup.attrs["type"])](**values))
    return tuple(records)


def record_fields(record: Any) -> Iterator[tuple[str, Any]]:
    """Field names and values of a dataclass instance, nested ones as plain dictionaries."""
    for field in dataclasses.fields(record):
        value = getattr(record, field.name)
        nested = dataclasses.is_dataclass(value) and not isinstance(value, type)
        yield field.name, dataclasses.asdict(value) if nested else value


def _tuple(value: Any) -> Any:
    return tuple(value) if isinstance(value, list) else value


def _narrow(array: np.ndarray) -> np.ndarray:
    if array.dtype.kind == "f":
        for narrower in (np.float16, np.float32):
            with np.errstate(over="ignore"):
                candidate = array.astype(narrower)
            if np.array_equal(candidate, array):
                return candidate
    return array


def _widen(array: np.ndarray) -> np.ndarray:
    return array.astype(np.float64) if array.dtype.kind == "f" else array
