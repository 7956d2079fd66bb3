"""The folder of a sweep: what was done is kept there, so that a sweep that is stopped goes on where it was.

    sweep.json, sweep.csv       the results, once all is done
    folder.json                 which network and which images the folder is about
    ann.h5                      the trained network's logits
    networks/DIGEST.h5          the integer networks
    blocks/DIGEST/NAME.h5       results of blocks, by their networks and names (``blocks.name``)

Files appear whole or not at all. A block's name says all that its result depends on: other methods, steps or bits are
other blocks in the same folder. Another network or other images are refused. Several sweeps may share a folder at once.
"""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from refsnn import files
from refsnn.errors import InputError
from refsnn.network import Network
from refsnn.simulate import Simulation

SCHEMA, LOGITS = "refsnn-block", "refsnn-logits"
VERSION = 1


class Folder:
    """The folder of a sweep.

    Raises:
        InputError: it cannot be made or written, or is about another network.
    """

    def __init__(self, path: Path, weights: Path) -> None:
        self.path = path
        self._subject: dict[str, Any] = {
            "schema": "refsnn-sweep-folder",
            "version": VERSION,
            "weights": weights.name,
            "weights_sha256": files.sha256(weights),
        }
        for each in (path, path / "networks", path / "blocks"):
            try:
                each.mkdir(parents=True, exist_ok=True)
            except OSError as error:
                raise InputError(f"{each}: cannot be made ({error.strerror}); name another with --out") from error
        self._check("weights")

    def claim(self, images: NDArray[np.uint8]) -> None:
        """Say which images the folder is about.

        Raises:
            InputError: it is about others.
        """
        state = hashlib.sha256(json.dumps(images.shape).encode())
        state.update(np.ascontiguousarray(images).data)
        self._subject |= {"images": f"{len(images):,} images", "images_sha256": state.hexdigest()}
        self._check("images")
        files.write_text(self.path / "folder.json", json.dumps(self._subject, indent=2) + "\n")

    def _check(self, what: str) -> None:
        """Compare ``folder.json`` with what this sweep is about."""
        path = self.path / "folder.json"
        if not path.exists():
            return
        try:
            kept = json.loads(path.read_text(encoding="utf-8"))
            found, digest = str(kept[what]), str(kept[f"{what}_sha256"])
        except (ValueError, KeyError, TypeError) as error:
            raise InputError(f"{path}: is damaged; remove it, or name another folder with --out") from error
        mine = self._subject[f"{what}_sha256"]
        if digest != mine:
            raise InputError(
                f"{self.path}: holds a sweep with other {what} ({found}, SHA-256 {digest[:12]}) than this one "
                f"({self._subject[what]}, {mine[:12]}): name another folder with --out, or remove that one"
            )

    def network(self, network: Network, digest: str) -> Path:
        """The file of a network, written if it is not there."""
        path = self.path / "networks" / f"{digest}.h5"
        if not path.exists():
            network.save(path)
        return path

    def logits(self, key: str) -> NDArray[np.float64] | None:
        """The ANN's logits if they are there and were made for the same ``key``."""
        try:
            with files.open_hdf5(self.path / "ann.h5") as file:
                files.check_schema(file, self.path, LOGITS, VERSION)
                if files.text(file.attrs["key"]) == key:
                    logits: NDArray[np.float64] = file["logits"][()]
                    return logits
        except (InputError, KeyError, OSError):  # missing or damaged: made again
            pass
        return None

    def keep_logits(self, key: str, logits: NDArray[np.float64]) -> None:
        """Keep the ANN's logits."""
        with files.create(self.path / "ann.h5", LOGITS, VERSION) as file:
            file.attrs["key"] = key
            files.put(file, "logits", logits, axes="N ...")

    def block(self, digest: str, name: str) -> Simulation | None:
        """The result of a block of a network, if it is there and whole."""
        try:
            with files.open_hdf5(self._block(digest, name)) as file:
                files.check_schema(file, name, SCHEMA, VERSION)
                return _read(file)
        except (InputError, KeyError, OSError, ValueError):  # missing or damaged: to be done again
            return None

    def keep_block(self, digest: str, name: str, simulation: Simulation) -> None:
        """Keep the result of a block."""
        path = self._block(digest, name)
        path.parent.mkdir(exist_ok=True)
        with files.create(path, SCHEMA, VERSION) as file:
            _write(file, simulation)

    def _block(self, digest: str, name: str) -> Path:
        return self.path / "blocks" / digest[:16] / f"{name}.h5"


_ARRAYS = ("membranes", "logits", "predictions")
_COUNTERS = ("spikes", "saturations", "synaptic_operations")
_NUMBERS = ("steps", "input_operations", "drain_steps", "seconds")


def _write(file: Any, simulation: Simulation) -> None:
    for field in _ARRAYS:
        files.put(file, field, getattr(simulation, field))
    for field in _COUNTERS:
        counters = getattr(simulation, field)
        file.attrs[f"{field} of"] = json.dumps(list(counters))
        files.put(file, field, np.array(list(counters.values()), np.int64).reshape(-1, len(simulation.steps)))
    for field in _NUMBERS:
        file.attrs[field] = json.dumps(getattr(simulation, field))


def _read(file: Any) -> Simulation:
    numbers = {field: json.loads(files.text(file.attrs[field])) for field in _NUMBERS}
    values: dict[str, Any] = {key: tuple(value) if isinstance(value, list) else value for key, value in numbers.items()}
    values |= {field: file[field][()] for field in _ARRAYS}
    for field in _COUNTERS:
        names = json.loads(files.text(file.attrs[f"{field} of"]))
        values[field] = dict(zip(names, file[field][()], strict=True))
    return Simulation(**values)
