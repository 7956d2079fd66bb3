"""The two histories of one neuron: what the case has and what was dumped, step by step."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from golden.diff import Comparison, Divergence, both, differing, phases
from golden.dump import Dumped
from golden.layout import LETTERS
from refsnn.network import Readout, Spiking


@dataclass(frozen=True, slots=True, kw_only=True)
class History:
    """A table: a row a step, for each quantity the expected value and, where it was dumped, the one found.

    Attributes:
        title: what it is about.
        columns: headings.
        rows: cells; ``*`` behind a found value that differs, ``x`` for one that is undefined or missing, ``-`` where
            none is expected.
    """

    title: str
    columns: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]


def settings(comparison: Comparison, divergence: Divergence) -> str:
    """The neuron's own settings, in words."""
    case, (c, y, x) = comparison.case, divergence.neuron
    population = case.network[divergence.population]
    if not isinstance(population, Spiking | Readout):
        return f"{case.record(population.name).kind}, no neuron"
    words = ["readout"]
    if isinstance(population, Spiking):
        weighted = f" * 2^({case.steps - 1} - t)" if population.schedule.base == 2 else ""
        words = [f"'{population.neuron}' neuron", f"threshold {population.threshold[c]}{weighted}"]
        if population.neuron != "if" and not population.schedule.separated:
            words.append(f"negative threshold {population.negative_threshold[c]}")
        words.append(f"initial membrane {population.initial_membrane[c]}")
        words.append(f"membrane of {case.network.membrane_bits} bits")
    words.append(f"bias {population.bias[c] if population.bias.ndim == 1 else population.bias[c, y, x]}")
    words.append(f"static current {case.static_current(population.name)[divergence.image, c, y, x]}")
    return ", ".join(words)


def histories(comparison: Comparison, divergence: Divergence) -> Iterator[History]:
    """The neuron's history: with temporal separation one of taking in and one of sending."""
    for title, phase in phases(comparison.case, divergence.population):
        arrays = comparison.case.record(divergence.population).arrays
        columns = [
            column
            for quantity in phase
            if quantity in arrays and quantity != "static_current"
            for column in _columns(comparison, divergence, quantity)
        ]
        if columns:
            length = max(len(cells) for _, cells in columns)
            filled = [cells + ["-"] * (length - len(cells)) for _, cells in columns]
            yield History(
                title=title,
                columns=("t", *(heading for heading, _ in columns)),
                rows=tuple((str(t), *(cells[t] for cells in filled)) for t in range(length)),
            )


def _columns(comparison: Comparison, divergence: Divergence, quantity: str) -> Iterator[tuple[str, list[str]]]:
    case, dump, (c, y, x) = comparison.case, comparison.dump, divergence.neuron
    key = divergence.image, divergence.population, quantity
    if key not in dump.keys:
        values = case.read(divergence.population, quantity, divergence.image)[:, c, y, x]
        yield LETTERS[quantity], [str(value) for value in values]
        return
    expected, found = both(case, dump, key)
    marks = np.where(differing(expected, found)[:, c, y, x], "*", " ")
    yield LETTERS[quantity], _cells(expected, divergence, "-")
    dumped = _cells(found, divergence, "x")
    yield f"{LETTERS[quantity]} found", [f"{cell} {mark}" for cell, mark in zip(dumped, marks, strict=True)]


def _cells(dumped: Dumped, divergence: Divergence, missing: str) -> list[str]:
    """A neuron's values, step by step."""
    values, known = (each[:, *divergence.neuron] for each in dumped)
    return [str(value) if there else missing for value, there in zip(values, known, strict=True)]
