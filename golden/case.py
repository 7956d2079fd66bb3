"""A case as Python sees it: ``golden.load`` checks the files and reads arrays when they are asked for."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any, overload

import numpy as np
from numpy.typing import NDArray

from golden import manifest as manifests
from golden.layout import dataset, mem_file, spatial
from golden.manifest import ArrayRecord, Manifest, PopulationRecord
from refsnn import files
from refsnn.errors import InputError
from refsnn.network import Network

VECTORS_SCHEMA = "refsnn-golden-vectors"
VECTORS_VERSION = 1


class PerImage(Sequence[NDArray[Any]]):
    """One array of one population for each image, read when indexed.

    ``arrays[image]`` is the array of an image, ``arrays[image, t, c, y, x]`` goes on into it. Images are not stacked:
    where neurons run until they are quiet, each has a length of its own.
    """

    def __init__(self, case: Case, population: str, quantity: str) -> None:
        self._case = case
        self._population = population
        self._quantity = quantity

    def __len__(self) -> int:
        return len(self._case)

    def __iter__(self) -> Iterator[NDArray[Any]]:
        return (self[image] for image in range(len(self)))

    @overload
    def __getitem__(self, key: int) -> NDArray[Any]: ...
    @overload
    def __getitem__(self, key: slice) -> list[NDArray[Any]]: ...
    @overload
    def __getitem__(self, key: tuple[Any, ...]) -> Any: ...
    def __getitem__(self, key: Any) -> Any:
        if isinstance(key, slice):
            return [self[image] for image in range(len(self))[key]]
        image, *inside = key if isinstance(key, tuple) else (key,)
        array = self._case.read(self._population, self._quantity, range(len(self))[image])
        return array[tuple(inside)] if inside else array


class Case:
    """A golden case: a network, images, and everything that every population does for them in every step.

    ``t`` counts from 0. Neurons are at ``(c, y, x)``; a ``(C,)`` population is ``(C, 1, 1)``. A population is named as
    in the network. The quantities, each ``[image][t, c, y, x]``, are:

    - ``events`` [s]: ``(T', C, H, W) int8``; of the input and of max-pools over it the graded events, which are the
      same in every step: ``(1, C, H, W) int16``.
    - ``current`` [I] ``int32``; with temporal separation ``(T'', C, H, W)``, what non-static sources send.
    - ``static_current`` ``(C, H, W) int32``: what static sources add in a step.
    - ``accumulated`` ``(T'', C, H, W) int64``: with temporal separation the sum after each step of taking in.
    - ``before`` [u] and ``membrane`` [v] ``int32``, a readout's membrane ``int64``; ``count`` [n] ``int32``.

    Attributes:
        path: the folder.
        manifest: what ``manifest.json`` says.
        network: the network that made the case.
    """

    def __init__(self, path: Path, manifest: Manifest, network: Network) -> None:
        self.path = path
        self.manifest = manifest
        self.network = network
        self._records = {record.name: record for record in manifest.populations}

    @property
    def steps(self) -> int:
        """T."""
        return self.manifest.steps

    def __len__(self) -> int:
        """The number of images."""
        return self.manifest.images.count

    @property
    def populations(self) -> tuple[str, ...]:
        """The populations' names, in topological order."""
        return tuple(self._records)

    @property
    def predictions(self) -> tuple[int, ...]:
        """For each image the index of the largest membrane of the readout, flattened channels first."""
        return self.manifest.predictions

    @cached_property
    def pixels(self) -> NDArray[np.uint8]:
        """``(N, C, H, W) uint8``: the images as bytes, in front of the input's table."""
        return self._vectors("pixels")

    def record(self, population: str) -> PopulationRecord:
        """What the manifest says of a population.

        Raises:
            InputError: there is none of that name.
        """
        if population not in self._records:
            raise InputError(f"{self.path}: has no population '{population}'; there are: {', '.join(self._records)}")
        return self._records[population]

    def array(self, population: str, quantity: str) -> ArrayRecord:
        """What the manifest says of one of a population's arrays.

        Raises:
            InputError: the population has no such array.
        """
        arrays = self.record(population).arrays
        if quantity not in arrays:
            raise InputError(f"{self.path}: '{population}' has no '{quantity}'; it has: {', '.join(arrays)}")
        return arrays[quantity]

    def read(self, population: str, quantity: str, image: int = 0) -> NDArray[Any]:
        """One array: ``(T', C, H, W)``, ``static_current`` ``(C, H, W)``.

        Raises:
            InputError: there is no such population, array or image.
        """
        self.array(population, quantity)
        if not 0 <= image < len(self):
            raise InputError(f"{self.path}: has no image {image}; there are {len(self)}, counted from 0")
        return self._vectors(dataset(image, self.record(population).stem, quantity))

    def _vectors(self, name: str) -> NDArray[Any]:
        path = self.path / manifests.VECTORS
        with files.open_hdf5(path) as file:
            try:
                return np.asarray(file[name][()])
            except (KeyError, OSError, TypeError, AttributeError) as error:
                raise InputError(f"{path}: '{name}' cannot be read ({error}); make the case again") from error

    def mem(self, population: str, quantity: str, image: int = 0) -> Path:
        """The ``$readmemh`` file of one array."""
        self.array(population, quantity)
        return self.path / mem_file(image, self.record(population).stem, quantity)

    def events(self, population: str) -> PerImage:
        """What a population sends [s]."""
        return PerImage(self, population, "events")

    def current(self, population: str) -> PerImage:
        """The current of each step [I]."""
        return PerImage(self, population, "current")

    def static_current(self, population: str) -> PerImage:
        """What static sources add in a step."""
        return PerImage(self, population, "static_current")

    def accumulated(self, population: str) -> PerImage:
        """The sum after each step of taking in, with temporal separation."""
        return PerImage(self, population, "accumulated")

    def before(self, population: str) -> PerImage:
        """The membrane before the reset [u]."""
        return PerImage(self, population, "before")

    def membrane(self, population: str) -> PerImage:
        """The membrane after the step [v]."""
        return PerImage(self, population, "membrane")

    def membranes(self) -> NDArray[np.int64]:
        """``(N, C, H, W)``: the readout's membranes at the end."""
        return np.stack([array[-1] for array in self.membrane(self.network.readout.name)])

    def count(self, population: str) -> PerImage:
        """The net count of events so far [n]."""
        return PerImage(self, population, "count")


def load(path: str | os.PathLike[str]) -> Case:
    """Open a case: its files are those that the manifest names, with these digests.

    Raises:
        InputError: not a golden case, a newer version, a file that is missing, surplus or another than the manifest
            says, or a network of another digest. The message names the file.
    """
    folder = Path(path)
    if not folder.is_dir():
        raise InputError(f"{folder}: is not a folder; a golden case is a folder with a {manifests.FILE} in it")
    manifest = manifests.read(folder / manifests.FILE)
    _check_files(folder, manifest)
    network = Network.load(folder / manifest.network.file)
    if network.digest() != manifest.network.digest:
        raise InputError(
            f"{folder / manifest.network.file}: its digest is {network.digest()}, the manifest says "
            f"{manifest.network.digest}: the case was made with another network; make it again"
        )
    _check_populations(folder, manifest, network)
    with files.open_hdf5(folder / manifests.VECTORS) as file:
        files.check_schema(file, folder / manifests.VECTORS, VECTORS_SCHEMA, VECTORS_VERSION)
    return Case(folder, manifest, network)


def _check_files(folder: Path, manifest: Manifest) -> None:
    present = {file.relative_to(folder).as_posix() for file in folder.rglob("*") if file.is_file()}
    present.discard(manifests.FILE)
    named = {manifest.network.file, manifests.VECTORS, *manifest.files}
    for name in sorted(named - present):
        raise InputError(f"{folder / name}: is missing, the manifest names it; make the case again")
    for name in sorted(present - manifest.files.keys()):
        raise InputError(f"{folder / name}: is not in the manifest; remove it, or make the case again")
    for name, expected in manifest.files.items():
        found = files.sha256(folder / name)
        if found != expected:
            raise InputError(
                f"{folder / name}: its SHA-256 is {found}, the manifest says {expected}: make the case again"
            )


def _check_populations(folder: Path, manifest: Manifest, network: Network) -> None:
    """The manifest and the network speak of the same populations, of the same shapes."""
    stated = [(record.name, record.shape) for record in manifest.populations]
    actual = [(population.name, spatial(population.shape)) for population in network.populations]
    for said, found in zip(stated, actual, strict=False):
        if said != found:
            raise InputError(
                f"{folder / manifests.FILE}: says '{said[0]}' {said[1]} where the network has '{found[0]}' {found[1]}"
            )
    if len(stated) != len(actual):
        raise InputError(f"{folder / manifests.FILE}: has {len(stated)} populations, the network has {len(actual)}")
