"""What the tests of golden cases share: a small case, folders as bytes, and a manifest that follows a change."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import h5py
import numpy as np

import golden
from golden import manifest as manifests
from golden.directed import suite
from refsnn import files

ROOT = Path(__file__).parents[2]
SUITE = ROOT / "golden" / "suite"
SCHEMA = json.loads((ROOT / "docs" / "golden.schema.json").read_text())


def directed(name):
    """A directed case by its name."""
    return next(case for case in suite() if case.name == name)


def write(name, path):
    """A directed case in a folder of one's own."""
    case = directed(name)
    return golden.write(case.network, case.images, case.steps, path, reason=case.reason, expects=case.expects)


def tree(path):
    """Every file of a folder as bytes."""
    return {file.relative_to(path).as_posix(): file.read_bytes() for file in path.rglob("*") if file.is_file()}


def reseal(path, **changes):
    """Make the manifest say what is in the folder now, so that only the content can be wrong."""
    manifest = manifests.read(path / manifests.FILE)
    digests = {name: files.sha256(path / name) for name in manifest.files}
    dataclasses.replace(manifest, **{"files": digests} | changes).write(path / manifests.FILE)


def change(path, name, index, value):
    """Set one entry of an array in ``vectors.h5``; the value before."""
    with h5py.File(path / manifests.VECTORS, "r+") as file:
        array = file[name]
        before = int(array[index])
        array[index] = value
    return before


def images_for(network, number, seed=0):
    """Random images."""
    return np.random.default_rng(seed).integers(0, 256, (number, *network.input.shape)).astype(np.uint8)
