"""Which network and which images a case is made of."""

from __future__ import annotations

import hashlib
from pathlib import Path

import h5py
import numpy as np
from numpy.typing import NDArray

from refsnn import files
from refsnn.data import readers
from refsnn.errors import InputError
from refsnn.network import SCHEMA, Network


def network(path: Path) -> Network:
    """The integer network in a file.

    Raises:
        InputError: no such file, or one of another kind; the message says how to make a network of it.
    """
    schema = SCHEMA
    if path.is_file():
        schema = ""
        if h5py.is_hdf5(path):
            with files.open_hdf5(path) as file:
                schema = files.text(file.attrs.get("schema", ""))
    if schema != SCHEMA:
        raise InputError(
            f"{path}: is no integer network. Of a trained network make one with: "
            f"refsnn run {path} --method ecl --steps 4 --out DIR, and name DIR/network-ecl.h5"
        )
    return Network.load(path)


def pixels(count: int, seed: int) -> NDArray[np.uint8]:
    """``count`` bytes that look random and are the same on every machine and in every version: SHAKE-256 of a seed."""
    return np.frombuffer(hashlib.shake_256(f"refsnn golden {seed}".encode()).digest(count), np.uint8)


def random(network: Network, count: int, seed: int) -> tuple[NDArray[np.uint8], str]:
    """Images of random pixels, and what to call them.

    Raises:
        InputError: fewer than one image.
    """
    _check("--images", count, 1)
    shape = (count, *network.input.shape)
    return pixels(int(np.prod(shape)), seed).reshape(shape), f"random pixels (SHAKE-256, seed {seed})"


def read(network: Network, data: Path, count: int, first: int) -> tuple[NDArray[np.uint8], str]:
    """Images of a data set, and what to call them.

    Raises:
        InputError: what ``refsnn.data.readers`` refuses; not so many images.
    """
    _check("--images", count, 1)
    _check("--first", first, 0)
    images = readers.read(data, network.input.shape).test.images
    if first + count > len(images):
        raise InputError(f"{data}: has {len(images)} images; {count} from image {first} on were asked for")
    last = first + count - 1
    which = f"image {first}" if count == 1 else f"images {first} to {last}"
    return images[first : first + count], f"{which} of {data.name}, counted from 0"


def _check(option: str, value: int, least: int) -> None:
    if value < least:
        raise InputError(f"{option} is {value}; at least {least} was expected")
