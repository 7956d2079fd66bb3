"""The checker: files, manifest and text agree, and every integer is derived again, step by step."""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from golden import hexfile, layout
from golden import manifest as manifests
from golden.case import Case, load
from golden.describe import describe
from golden.flags import Watcher
from golden.layout import Arrays
from golden.manifest import Place
from golden.reference import derive
from refsnn import files
from refsnn.errors import InputError
from refsnn.ranges import analyse


class WrongError(InputError):
    """A case whose files are whole, but whose content contradicts itself or the contract."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Checked:
    """What was checked, and found right.

    Attributes:
        case: the case.
        arrays: how many, each in ``vectors.h5`` and in ``mem/``.
        numbers: integers derived again.
    """

    case: Case
    arrays: int
    numbers: int


def check(path: str | os.PathLike[str]) -> Checked:
    """Check a golden case.

    Raises:
        InputError: refused: no case, a newer version, files that are missing, surplus or changed (``golden.load``).
        WrongError: wrong: the message names the first file, population, step and neuron, what is there and what was
            derived.
    """
    case = load(path)
    _check_manifest(case)
    watcher = Watcher(case.network, case.steps)
    arrays = numbers = 0
    predictions = []
    for image, pixels in enumerate(_pixels(case)):
        for population, expected in derive(case.network, pixels, case.steps):
            _check_names(case, image, population.name, expected)
            for quantity, array in expected.items():
                found = _read(case, image, population.name, quantity, array)
                _check_mem(case, image, population.name, quantity, found)
                _check_array(case, image, population.name, quantity, found, array)
                arrays += 1
                numbers += array.size
            watcher.see(image, population.name, expected)
        predictions.append(int(expected["membrane"][-1].argmax()))
    where = case.path / manifests.FILE
    if tuple(predictions) != case.predictions:
        raise WrongError(f"{where}: says that the predictions are {case.predictions}; derived: {tuple(predictions)}")
    _check_flags(case, watcher)
    return Checked(case=case, arrays=arrays, numbers=numbers)


def _check_manifest(case: Case) -> None:
    """What the manifest says of the network and its populations follows from the network."""
    manifest, network = case.manifest, case.network
    where = case.path / manifests.FILE
    network.check_steps(case.steps)
    said = manifest.drain, manifest.network.membrane_bits, manifest.network.made_for
    actual = network.drain, network.membrane_bits, network.steps
    if said != actual:
        raise WrongError(f"{where}: says (drain, membrane_bits, made_for) = {said}; the network has {actual}")
    ranges = analyse(network, case.steps)
    for index, record in enumerate(manifest.populations):
        derived = describe(network, index, case.steps, ranges.get(record.name), record.arrays)
        for key in derived.__slots__:
            if getattr(record, key) != getattr(derived, key):
                raise WrongError(
                    f"{where}: says of '{record.name}' that its {key} is {getattr(record, key)}; the network has "
                    f"{getattr(derived, key)}"
                )


def _pixels(case: Case) -> NDArray[np.uint8]:
    pixels = case.pixels
    shape = (len(case), *layout.spatial(case.network.input.shape))
    if pixels.dtype != np.uint8 or pixels.shape != shape:
        raise WrongError(
            f"{case.path / manifests.VECTORS}: 'pixels' are {pixels.dtype} of shape {pixels.shape}; uint8 of {shape} "
            "were expected"
        )
    return pixels


def _check_names(case: Case, image: int, population: str, expected: Arrays) -> None:
    record = case.record(population)
    path = case.path / manifests.VECTORS
    with files.open_hdf5(path) as file:
        names = [name.rpartition(".") for name in file.get(str(image), ())]
    present = {quantity for stem, _, quantity in names if stem == record.stem}
    for where, found in ((path, present), (case.path / manifests.FILE, set(record.arrays))):
        if found != expected.keys():
            raise WrongError(
                f"{where}: '{population}' has, for image {image}, the arrays {sorted(found)}; expected: "
                f"{sorted(expected)}"
            )


def _read(case: Case, image: int, population: str, quantity: str, expected: NDArray[Any]) -> NDArray[Any]:
    """An array of ``vectors.h5``, of the type and shape that the manifest and the derived one have."""
    record = case.array(population, quantity)
    found = case.read(population, quantity, image)
    where = f"image {image}, '{population}', {quantity}"
    if found.dtype != expected.dtype or found.shape != expected.shape:
        raise WrongError(
            f"{case.path / manifests.VECTORS}: {where}: is {found.dtype} of shape {found.shape}; derived: "
            f"{expected.dtype} of {expected.shape}"
        )
    axes, bits = layout.axes(quantity), layout.bits(case.network, case.network[population], quantity)
    steps = record.steps[image] if record.steps and image < len(record.steps) else None
    said = record.dtype, record.axes, record.bits, steps
    actual = str(expected.dtype), axes, bits, len(expected) if axes.startswith("t") else None
    if said != actual:
        raise WrongError(
            f"{case.path / manifests.FILE}: {where}: says (dtype, axes, bits, steps) = {said}; derived: {actual}"
        )
    return found


def _check_mem(case: Case, image: int, population: str, quantity: str, found: NDArray[Any]) -> None:
    path = case.mem(population, quantity, image)
    bits = case.array(population, quantity).bits
    text, expected = path.read_bytes(), hexfile.pack(found, bits)
    if text == expected:
        return
    lines, wanted = text.splitlines(), expected.splitlines()
    if len(lines) != len(wanted):
        raise WrongError(f"{path}: has {len(lines)} lines; {manifests.VECTORS} makes {len(wanted)}")
    line = next((i for i, pair in enumerate(zip(lines, wanted, strict=True)) if pair[0] != pair[1]), len(lines) - 1)
    index = np.unravel_index(line * found.shape[-1], found.shape)
    values, _ = hexfile.unpack(text.decode("latin-1"), found.shape[-1], bits, str(path))
    wrong = np.flatnonzero(values[line] != found.reshape(-1, found.shape[-1])[line])
    if not len(wrong):
        raise WrongError(f"{path}, line {line + 1}: is not written as the manifest says: '{lines[line].decode()[:60]}'")
    index = (*index[:-1], wrong[0])
    raise WrongError(
        f"{path}, line {line + 1}: {place(image, population, index)}: {quantity} is {values[line][wrong[0]]}; "
        f"{manifests.VECTORS} has {found[index]}"
    )


def _check_array(
    case: Case, image: int, population: str, quantity: str, found: NDArray[Any], expected: NDArray[Any]
) -> None:
    if not np.array_equal(found, expected):
        index = tuple(np.argwhere(found != expected)[0])
        raise WrongError(
            f"{case.path / manifests.VECTORS}: {place(image, population, index)}: {quantity} is {found[index]}; "
            f"derived: {expected[index]}"
        )


def _check_flags(case: Case, watcher: Watcher) -> None:
    where = case.path / manifests.FILE
    said = {record.name: record for record in case.manifest.flags}
    derived = {record.name: record for record in watcher.records()}
    for flag in case.manifest.expects:
        if flag not in derived:
            raise WrongError(f"{where}: expects the flag '{flag}', which does not occur")
    for flag in [*derived, *said]:
        if said.get(flag) != derived.get(flag):
            words = [
                "absent" if record is None else f"{record.count} times, first at {record.first}"
                for record in (said.get(flag), derived.get(flag))
            ]
            raise WrongError(f"{where}: says that the flag '{flag}' is {words[0]}; derived: {words[1]}")


def place(image: int, population: str, index: tuple[Any, ...]) -> Place:
    """Where an entry of an array ``([t,] c, y, x)`` is."""
    *steps, c, y, x = (int(each) for each in index)
    return Place(image=image, population=population, t=steps[0] if steps else None, neuron=(c, y, x))
