"""Which arrays a population has, what they are called and how wide a field of theirs is in ``mem/``."""

from __future__ import annotations

import re
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from golden.manifest import MEM, MemRecord
from refsnn.geometry import Shape
from refsnn.network import Input, MaxPool, Network, Population, Readout, Spiking
from refsnn.simulate import Activity

Arrays: TypeAlias = dict[str, NDArray[Any]]
"""What one population does for one image, by quantity: ``(T', C, H, W)``, ``static_current`` ``(C, H, W)``."""

QUANTITIES = {
    "static_current": "what static sources (the input, max-pools over it) add in a step, shifted; once an image",
    "current": "I: the current of step t, bias and static current included; with temporal separation what the other "
    "sources send in step t, without them",
    "accumulated": "with temporal separation: base * accumulated(t - 1) + current(t), exact",
    "before": "u: the membrane after the current and the clamp, before the reset; with temporal separation before the "
    "digit of step t",
    "events": "s: what it sends in step t; of a static population the same in every step, once an image",
    "membrane": "v: the membrane after step t; with temporal separation a readout's after the bias, once an image",
    "count": "n: the sum of the events up to and with step t; in base 2 the code so far, 2 n + s",
}
"""The arrays in the order of cause and effect within a step."""

LETTERS = {
    "static_current": "I static",
    "current": "I",
    "accumulated": "sum",
    "before": "u",
    "events": "s",
    "membrane": "v",
    "count": "n",
}

LAYOUT = MemRecord(
    path=f"{MEM}/IMAGE/STEM.QUANTITY.hex",
    line="one for each (t, c, y), y fastest, then c, then t: line number = (t * C + c) * H + y, counted from 0; "
    "arrays without the axis t: c * H + y",
    field="W fields of 'bits' bits, x = 0 in the least significant bits: bit x * bits is the lowest of field x. Two's "
    "complement; ternary events have 2 bits: bit 0 is 1 for an event, bit 1 is 1 for a negative one. Hexadecimal, "
    "padded with zero bits in front to whole digits",
)


def spatial(shape: Shape) -> Shape:
    """``(C,)`` as ``(C, 1, 1)``."""
    return shape if len(shape) == 3 else (shape[0], 1, 1)


def stem(index: int, name: str) -> str:
    """A population's name as files and HDF5 groups have it: its place in the network, and letters, digits and ``_``."""
    return f"{index:02d}-{re.sub(r'[^A-Za-z0-9_]+', '_', name)}"


def dataset(image: int, population: str, quantity: str) -> str:
    """The name of an array in ``vectors.h5``; ``population`` is a stem."""
    return f"{image}/{population}.{quantity}"


def mem_file(image: int, population: str, quantity: str) -> str:
    """The name of the same array's text file in the case's folder."""
    return f"{MEM}/{dataset(image, population, quantity)}.hex"


def kind(population: Population) -> str:
    """The population's kind in the manifest."""
    return {Input: "input", Spiking: "spiking", MaxPool: "max_pool", Readout: "readout"}[type(population)]


def sources(network: Network, population: Population) -> tuple[str, ...]:
    """The populations that a population reads, each once."""
    if isinstance(population, MaxPool):
        return (population.source,)
    return tuple(dict.fromkeys(projection.source for projection in network.incoming(population.name)))


def maps(activity: Activity, population: Population) -> Arrays:
    """What a recorder sees of a population, every neuron at ``(c, y, x)``."""
    shape = spatial(population.shape)
    arrays = {quantity: getattr(activity, quantity) for quantity in QUANTITIES}
    return {
        quantity: array.reshape(*array.shape[: array.ndim - len(population.shape)], *shape)
        for quantity, array in arrays.items()
        if array is not None
    }


def bits(network: Network, population: Population, quantity: str) -> int:
    """The width of a field: of numbers a multiple of 4, so that each is a whole number of hexadecimal digits."""
    if quantity == "events":
        return 16 if network.is_static(population.name) else 2
    if isinstance(population, Spiking) and quantity in ("before", "membrane"):
        # A negative spike lifts a membrane to below the threshold, which a narrow membrane need not hold.
        lifted = (int(population.threshold.max()) - 1).bit_length() + 1
        return -(-max(network.membrane_bits, lifted) // 4) * 4
    return 64 if quantity == "membrane" else 32


def axes(quantity: str) -> str:
    """The axes of an array of one image."""
    return "c y x" if quantity == "static_current" else "t c y x"


def per_channel(values: NDArray[np.int32]) -> NDArray[np.int64]:
    """``(C,)`` or ``(C, H, W)`` settings, ready to be combined with ``(..., C, H, W)``."""
    return values.astype(np.int64).reshape(*values.shape, *[1] * (3 - values.ndim))
