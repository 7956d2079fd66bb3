"""Writing a case: the simulator runs image by image, and each population goes to the files as it is recorded."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import h5py
import numpy as np
from numpy.typing import NDArray

from golden import case, hexfile, layout
from golden import manifest as manifests
from golden.case import Case
from golden.describe import describe
from golden.flags import FLAGS, Watcher
from golden.folder import replaced
from golden.manifest import (
    ArrayRecord,
    ImagesRecord,
    Manifest,
    NetworkRecord,
)
from refsnn import files
from refsnn.errors import InputError
from refsnn.network import Network
from refsnn.ranges import analyse
from refsnn.simulate import Activity, simulate


def write(
    network: Network,
    images: NDArray[np.uint8],
    steps: int,
    path: str | os.PathLike[str],
    *,
    reason: str,
    source: str = "given as an array",
    expects: Sequence[str] = (),
    drain: int | None = None,
    progress: Callable[[int], None] | None = None,
) -> Case:
    """Run a network on images and write everything that happens as a golden case.

    Equal arguments give equal folders, byte for byte. One population of one image is held at a time, besides
    ``vectors.h5``, which is built in memory (compressed).

    Args:
        network: the network.
        images: ``(N, C, H, W)`` or ``(N, C) uint8`` pixel bytes.
        steps: T.
        path: the folder; a golden case that is there already is replaced.
        reason: why the case exists, a sentence.
        source: where the images come from, in words.
        expects: flags (``golden.flags.FLAGS``) that the case exists for: they must occur.
        drain: in place of the network's own; the network inside the case has it.
        progress: called with the number of images done since its last call.

    Raises:
        InputError: what ``refsnn.simulate`` refuses; an expected flag that does not occur; a folder that holds
            something else.
    """
    if drain is not None:
        network = replace(network, drain=drain)
    network.check_steps(steps)
    unknown = set(expects) - FLAGS.keys()
    if unknown:
        raise InputError(f"there is no flag '{min(unknown)}'; there are: {', '.join(FLAGS)}")
    with replaced(Path(path)) as folder:
        network.save(folder / manifests.NETWORK)
        with files.create(folder / manifests.VECTORS, case.VECTORS_SCHEMA, case.VECTORS_VERSION) as file:
            file.attrs["axes"] = f"{layout.axes('events')}; static_current {layout.axes('static_current')}"
            recorder = _Recorder(network, steps, folder, file)
            result = simulate(network, images, steps, threads=1, batch=1, record=recorder, progress=progress)
            shape = layout.spatial(network.input.shape)
            files.put(file, "pixels", images.reshape(-1, *shape), axes="image c y x")
        flags = recorder.watcher.records()
        missing = [flag for flag in expects if flag not in {found.name for found in flags}]
        if missing:
            raise InputError(f"{path}: the flag '{missing[0]}' is expected and does not occur; nothing was written")
        ranges = analyse(network, steps)
        digests = {manifests.NETWORK: files.sha256(folder / manifests.NETWORK)}
        digests[manifests.VECTORS] = files.sha256(folder / manifests.VECTORS)
        Manifest(
            schema=manifests.SCHEMA,
            version=manifests.VERSION,
            creator=manifests.CREATOR,
            reason=reason,
            expects=tuple(expects),
            steps=steps,
            drain=network.drain,
            network=NetworkRecord(
                file=manifests.NETWORK,
                digest=network.digest(),
                membrane_bits=network.membrane_bits,
                made_for=network.steps,
            ),
            images=ImagesRecord(count=len(images), source=source),
            predictions=tuple(int(index) for index in result.predictions[0]),
            quantities=layout.QUANTITIES,
            mem=layout.LAYOUT,
            populations=tuple(
                describe(network, index, steps, ranges.get(population.name), recorder.arrays[population.name])
                for index, population in enumerate(network.populations)
            ),
            flags=flags,
            files=digests | {name: recorder.digests[name] for name in sorted(recorder.digests)},
        ).write(folder / manifests.FILE)
    return case.load(path)


class _Recorder:
    """Takes what the simulator records, population by population (a ``refsnn.simulate.Recorder``)."""

    def __init__(self, network: Network, steps: int, folder: Path, file: h5py.File) -> None:
        self._network = network
        self._folder = folder
        self._file = file
        self._stems = {p.name: layout.stem(index, p.name) for index, p in enumerate(network.populations)}
        self.watcher = Watcher(network, steps)
        self.arrays: dict[str, dict[str, ArrayRecord]] = {p.name: {} for p in network.populations}
        self.digests: dict[str, str] = {}

    def wants(self, image: int) -> bool:
        """Every image."""
        return True

    def record(self, steps: int, image: int, population: str, activity: Activity) -> None:
        """Write a population's arrays for an image."""
        arrays = layout.maps(activity, self._network[population])
        self.watcher.see(image, population, arrays)
        for quantity, array in arrays.items():
            files.put(self._file, layout.dataset(image, self._stems[population], quantity), array)
            bits = layout.bits(self._network, self._network[population], quantity)
            self._mem(layout.mem_file(image, self._stems[population], quantity), hexfile.pack(array, bits))
            self._note(population, quantity, array, bits)

    def _mem(self, name: str, text: bytes) -> None:
        path = self._folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(text)
        self.digests[name] = hashlib.sha256(text).hexdigest()

    def _note(self, population: str, quantity: str, array: NDArray[Any], bits: int) -> None:
        axes = layout.axes(quantity)
        steps = None
        if axes.startswith("t"):
            before = self.arrays[population].get(quantity)
            steps = (*(before.steps or () if before else ()), len(array))
        self.arrays[population][quantity] = ArrayRecord(dtype=str(array.dtype), axes=axes, bits=bits, steps=steps)
