"""The first divergence: where in the flow of data a dump leaves the case, and how much differs in all."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from golden import layout
from golden.case import Case, load
from golden.dump import Dump, Dumped, Key, open_dump
from golden.manifest import Place
from refsnn.network import Spiking

TAKING_IN = ("current", "accumulated")
SENDING = ("before", "events", "membrane", "count")


@dataclass(frozen=True, slots=True, kw_only=True)
class Tally:
    """How much of one array differs, over all images."""

    population: str
    quantity: str
    compared: int
    differing: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Divergence:
    """The first entry that differs.

    Attributes:
        image, population, quantity: the array.
        t: the step, counted from 0; None: once an image.
        neuron: ``(c, y, x)``.
        expected, found: the values, in the dump's scale; None: there is none (not dumped, undefined, a step too many).
        file, line, low, high: the text file where it is, its line counted from 0, and the bits of the field.
    """

    image: int
    population: str
    quantity: str
    t: int | None
    neuron: tuple[int, int, int]
    expected: int | None
    found: int | None
    file: str
    line: int
    low: int
    high: int

    @property
    def place(self) -> Place:
        """Where it is."""
        return Place(image=self.image, population=self.population, t=self.t, neuron=self.neuron)


@dataclass(frozen=True, slots=True, kw_only=True)
class Comparison:
    """A dump beside its case.

    Attributes:
        case, dump: both.
        images: how many images are in the dump.
        tallies: of each array that was dumped, in the order of the network.
        first: the first divergence: by image, population, taking in before sending, step, neuron, cause before effect.
            None: equal.
    """

    case: Case
    dump: Dump
    images: int
    tallies: tuple[Tally, ...]
    first: Divergence | None


def diff(
    case: Case | str | os.PathLike[str], dump: str | os.PathLike[str], *, membrane_scale: str | None = None
) -> Comparison:
    """Compare a dump with a case.

    Args:
        case: a case, or its folder.
        dump: the dump's file or folder (``golden.dump``).
        membrane_scale: in place of what the dump declares: ``plain`` or ``doubled``.

    Raises:
        InputError: no case, or no dump of it.
    """
    opened = case if isinstance(case, Case) else load(case)
    read = open_dump(Path(dump), opened, membrane_scale)
    counts: dict[tuple[str, str], tuple[int, int]] = {}
    first: Divergence | None = None
    for image in sorted({key[0] for key in read.keys}):
        for population in opened.populations:
            for _, phase in phases(opened, population):
                masks = {}
                for quantity in phase:
                    key = image, population, quantity
                    if key in read.keys:
                        masks[quantity] = differing(*both(opened, read, key))
                        before = counts.get(key[1:], (0, 0))
                        now = masks[quantity].size, int(np.count_nonzero(masks[quantity]))
                        counts[key[1:]] = before[0] + now[0], before[1] + now[1]
                if first is None:
                    first = _first(opened, read, image, population, masks)
    return Comparison(
        case=opened,
        dump=read,
        images=len({key[0] for key in read.keys}),
        tallies=tuple(
            Tally(population=key[0], quantity=key[1], compared=compared, differing=wrong)
            for key, (compared, wrong) in counts.items()
        ),
        first=first,
    )


def phases(case: Case, population: str) -> Iterator[tuple[str, tuple[str, ...]]]:
    """A population's quantities in the order in which they come about; those of a phase step by step."""
    yield "once", ("static_current",)
    if case.record(population).separated:
        yield "taking in", TAKING_IN
        yield "sending", SENDING
    else:
        yield "step by step", (*TAKING_IN, *SENDING)


def both(case: Case, dump: Dump, key: Key) -> tuple[Dumped, Dumped]:
    """What a case expects and what a dump holds of an array, equally long and in the dump's scale."""
    image, population, quantity = key
    values = case.read(population, quantity, image).astype(np.int64) * scale(case, dump, population, quantity)
    expected, found = (values, np.ones(values.shape, np.bool_)), dump.read(key)
    if values.ndim == 3:
        return expected, found
    length = max(len(values), len(found[0]))
    return _longer(expected, length), _longer(found, length)


def scale(case: Case, dump: Dump, population: str, quantity: str) -> NDArray[np.int64]:
    """By what the case's numbers are multiplied: 2^t in membranes of base 2 that were doubled, else 1."""
    neurons = case.network[population]
    doubled = dump.declaration.membrane_scale == "doubled" and quantity in ("before", "membrane")
    if not (doubled and isinstance(neurons, Spiking) and neurons.schedule.base == 2):
        return np.ones(1, np.int64)
    return (np.int64(1) << np.arange(case.steps)).reshape(-1, 1, 1, 1)


def differing(expected: Dumped, found: Dumped) -> NDArray[np.bool_]:
    """Where two arrays differ: another value, or only one of them known."""
    mask: NDArray[np.bool_] = (expected[0] != found[0]) | (expected[1] != found[1])
    return mask


def _longer(dumped: Dumped, length: int) -> Dumped:
    values, known = dumped
    missing = [(0, length - len(values)), (0, 0), (0, 0), (0, 0)]
    return np.pad(values, missing), np.pad(known, missing)


def _first(
    case: Case, dump: Dump, image: int, population: str, masks: dict[str, NDArray[np.bool_]]
) -> Divergence | None:
    firsts = [(np.argwhere(mask)[0].tolist(), order) for order, mask in enumerate(masks.values()) if mask.any()]
    if not firsts:
        return None
    index, order = min(firsts)
    return _divergence(case, dump, (image, population, list(masks)[order]), tuple(index))


def _divergence(case: Case, dump: Dump, key: Key, index: tuple[Any, ...]) -> Divergence:
    image, population, quantity = key
    expected, found = (int(values[index]) if known[index] else None for values, known in both(case, dump, key))
    *steps, c, y, x = index
    record = case.record(population)
    bits = dump.declaration.bits.get(quantity, record.arrays[quantity].bits)
    channels, height, _ = record.shape
    return Divergence(
        image=image,
        population=population,
        quantity=quantity,
        t=steps[0] if steps else None,
        neuron=(c, y, x),
        expected=expected,
        found=found,
        file=layout.mem_file(image, record.stem, quantity),
        line=((steps[0] if steps else 0) * channels + c) * height + y,
        low=x * bits,
        high=(x + 1) * bits - 1,
    )
