"""What an implementation dumped: any subset of a case's arrays, as HDF5 or as text, told apart by content."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Protocol, TypeAlias

import h5py
import numpy as np
from numpy.typing import NDArray

from golden import case as cases
from golden import hexfile, records
from golden import manifest as manifests
from golden.case import Case
from golden.layout import QUANTITIES, mem_file
from refsnn import files
from refsnn.errors import InputError

DECLARATION = "dump.json"
Key: TypeAlias = tuple[int, str, str]
"""Image, population, quantity."""
Dumped: TypeAlias = tuple[NDArray[np.int64], NDArray[np.bool_]]
"""The values ``(T', C, H, W)``, without axis t ``(C, H, W)``, and which of them are known."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Declaration:
    """What a dump says of itself in ``dump.json`` (an HDF5 file: in the root attribute ``membrane_scale``).

    Attributes:
        membrane_scale: ``plain``; or ``doubled``: of populations of base 2, ``before`` and ``membrane`` are 2^t times
            the case's (hardware that doubles the membrane instead of halving the threshold).
        bits: fields of another width than the case's, by quantity.
    """

    membrane_scale: str
    bits: dict[str, int]


class Dump(Protocol):
    """A dump of a case.

    Attributes:
        path: the folder or file.
        declaration: what it says of itself.
        keys: the arrays that are there.
    """

    path: Path
    declaration: Declaration
    keys: frozenset[Key]

    def read(self, key: Key) -> Dumped:
        """One array."""


def open_dump(path: Path, case: Case, membrane_scale: str | None = None) -> Dump:
    """Open a dump: a golden case, an HDF5 file laid out like ``vectors.h5``, or a folder of text like ``mem/``.

    Args:
        path: file or folder.
        case: of which it is a dump.
        membrane_scale: in place of what the dump declares.

    Raises:
        InputError: missing, nothing of the kind, damaged, with an array that the case does not have, or with none.
    """
    if not path.exists():
        raise InputError(f"{path}: there is no such file or folder")
    dump: Dump
    if path.is_file():
        dump = _Vectors(path, path, case)
    elif (path / manifests.FILE).is_file():
        cases.load(path)
        dump = _Vectors(path, path / manifests.VECTORS, case)
    else:
        dump = _Text(path, case)
    if not dump.keys:
        raise InputError(
            f"{path}: holds nothing to compare; a golden case, an HDF5 file like {manifests.VECTORS}, or text files "
            f"named like {mem_file(0, case.manifest.populations[0].stem, 'events')} were expected"
        )
    if membrane_scale is not None:
        dump.declaration = _checked(replace(dump.declaration, membrane_scale=membrane_scale), "--membrane-scale")
    return dump


class _Vectors:
    """Arrays ``IMAGE/STEM.QUANTITY``."""

    def __init__(self, path: Path, file: Path, case: Case) -> None:
        self.path = path
        self._file = file
        self._case = case
        with files.open_hdf5(file) as content:
            scale = files.text(content.attrs.get("membrane_scale", "plain"))
            self.declaration = _checked(Declaration(membrane_scale=scale, bits={}), str(file))
            self._names = dict(self._find(content))
        self.keys = frozenset(self._names)

    def read(self, key: Key) -> Dumped:
        """One array."""
        name = self._names[key]
        with files.open_hdf5(self._file) as content:
            values = np.asarray(content[name][()])
        shape = self._case.record(key[1]).shape
        where = f"{self._file}: '{name}'"
        if values.dtype.kind not in "iu":
            raise InputError(f"{where}: is {values.dtype}; whole numbers were expected")
        stepped = self._case.array(key[1], key[2]).steps is not None
        lead = values.shape[:1] if stepped else ()
        if values.shape not in ((*lead, *shape), (*lead, shape[0])) or values.size != np.prod((*lead, *shape)):
            expected = ("T'", *map(str, shape)) if stepped else tuple(map(str, shape))
            raise InputError(f"{where}: has shape {values.shape}; ({', '.join(expected)}) was expected")
        return values.reshape(*lead, *shape).astype(np.int64), np.ones((*lead, *shape), np.bool_)

    def _find(self, content: h5py.File) -> Iterator[tuple[Key, str]]:
        for image, group in content.items():
            if isinstance(group, h5py.Group):
                for name in group:
                    yield _key(self._case, image, name, f"{self._file}: '{image}/{name}'"), f"{image}/{name}"


class _Text:
    """Files ``[mem/]IMAGE/STEM.QUANTITY.hex``; of image 0 also without the folder ``IMAGE``."""

    def __init__(self, path: Path, case: Case) -> None:
        self.path = path
        self._case = case
        self.declaration = _declaration(path / DECLARATION)
        room = path / manifests.MEM if (path / manifests.MEM).is_dir() else path
        self._files = dict(self._find(room))
        self.keys = frozenset(self._files)

    def read(self, key: Key) -> Dumped:
        """One array; lines that are missing at the end are not known."""
        _, population, quantity = key
        record = self._case.array(population, quantity)
        shape = self._case.record(population).shape
        bits = self.declaration.bits.get(quantity, record.bits)
        file = self._files[key]
        values, known = hexfile.unpack(file.read_text("latin-1"), shape[2], bits, str(file))
        lines = shape[0] * shape[1]
        steps = -(-len(values) // lines) if record.steps is not None else 1
        whole = np.zeros((steps * lines, shape[2]), np.int64)
        present = np.zeros(whole.shape, np.bool_)
        if len(values) > len(whole):
            raise InputError(f"{file}: has {len(values)} lines; {lines} were expected")
        whole[: len(values)], present[: len(values)] = values, known
        full = (steps, *shape) if record.steps is not None else shape
        return whole.reshape(full), present.reshape(full)

    def _find(self, room: Path) -> Iterator[tuple[Key, Path]]:
        for file in sorted([*room.glob("*.hex"), *room.glob("*/*.hex")]):
            image = "0" if file.parent == room else file.parent.name
            yield _key(self._case, image, file.name.removesuffix(".hex"), str(file)), file


def _key(case: Case, image: str, name: str, where: str) -> Key:
    """The array that an image's number and ``STEM.QUANTITY`` name."""
    if not (image.isascii() and image.isdecimal() and int(image) < len(case)):
        raise InputError(f"{where}: is of image '{image}'; the case has the images 0 to {len(case) - 1}")
    stem, _, quantity = name.rpartition(".")
    stems = {record.stem: record for record in case.manifest.populations}
    if stem not in stems:
        raise InputError(
            f"{where}: is no array of the case; the names are STEM.QUANTITY, with STEM one of {', '.join(stems)}"
        )
    if quantity not in stems[stem].arrays:
        raise InputError(f"{where}: '{stem}' has no '{quantity}' in the case; it has: {', '.join(stems[stem].arrays)}")
    return int(image), stems[stem].name, quantity


def _declaration(file: Path) -> Declaration:
    if not file.exists():
        return Declaration(membrane_scale="plain", bits={})
    try:
        content: Any = json.loads(file.read_text(encoding="utf-8"))
    except ValueError as error:
        raise InputError(f"{file}: is not JSON ({error})") from error
    if isinstance(content, dict):
        content = {"membrane_scale": "plain", "bits": {}} | content
    return _checked(records.decode(Declaration, content, str(file)), str(file))


def _checked(declaration: Declaration, where: str) -> Declaration:
    if declaration.membrane_scale not in ("plain", "doubled"):
        raise InputError(f"{where}: membrane_scale is '{declaration.membrane_scale}'; plain or doubled was expected")
    for quantity, bits in declaration.bits.items():
        if quantity not in QUANTITIES or not 2 <= bits <= 64:
            raise InputError(f"{where}: bits: '{quantity}' of {bits} bits; one of {', '.join(QUANTITIES)}, 2 to 64")
    return declaration
