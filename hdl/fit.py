"""The smallest core that holds a network."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from math import prod
from typing import Any

import numpy as np

from hdl.layer import Layer, cells, lower
from hdl.parameters import Parameters
from refsnn.errors import InputError
from refsnn.network import Input, MaxPool, Network, Population

LANES = 128
"""Integrate lanes, unless said otherwise."""
MOST_PIXELS = 8
MOST_COLUMNS = 4
"""More are only made when asked for: few maps are as wide, few runs as long as to fill them."""
ROOMY = {
    **dict.fromkeys(("event_words", "weight_words", "fetches", "taps", "segments", "neurons"), 1 << 20),
    **dict.fromkeys(("accumulator_bits", "state_bits", "count_bits"), 40),
}
"""The core that is lowered for, to see what is needed."""


def computed(network: Network) -> Iterable[Population]:
    """The populations that a core computes, in order."""
    return (population for population in network.populations if not isinstance(population, Input))


def layers(network: Network, steps: int, drain: int, parameters: Parameters) -> list[Layer]:
    """Every population as jobs for a core.

    Raises:
        InputError, WidthError: the core cannot hold one; the message says what it needs and what there is.
    """
    return [lower(network, population.name, steps, drain, parameters) for population in computed(network)]


def fit(
    network: Network, steps: int, drain: int, lanes: int = LANES, fixed: Mapping[str, Any] | None = None
) -> Parameters:
    """Parameters for a network: lanes arranged by ``arrange``, widths and depths as small as its layers let them be.

    Every layer is one job, unless ``fixed`` gives less weight memory, or smaller tables, than that takes.

    Args:
        network: the network.
        steps, drain: T, and the drain steps that events have room for.
        lanes: R * C * P * J.
        fixed: parameters that are given, by name.

    Raises:
        InputError, WidthError: no core holds it, or not with what is given.
    """
    wide = any(
        projection.kind == "identity" and np.abs(projection.weights.astype(np.int64)).max(initial=0) > 127
        for projection in network.projections
    )
    pooling = any(isinstance(population, MaxPool) for population in network.populations)
    given = {"weight_planes": 2 if wide else 1, "pooling": pooling, **(fixed or {})}
    given |= arrange(network, steps + drain, lanes, given)
    roomy = Parameters(**{**given, **ROOMY, "membrane_bits": network.membrane_bits})
    found = layers(network, steps, drain, roomy)
    fitted = Parameters(**{**_widths(network, roomy, found, given), **_depths(roomy, found), **given})
    layers(network, steps, drain, fitted)
    return fitted


def arrange(network: Network, columns: int, lanes: int, given: Mapping[str, Any]) -> dict[str, int]:
    """Lanes as rows, channels, pixels and columns, by this rule.

    1. Columns: as many as there are steps, at most 4; pixels: as many as the widest map has, at most 8; both rounded up
       to a power of two, and halved until they divide the lanes.
    2. What is left is channels and rows: as many channels as divide it, at most as many as the highest maps have at
       least, so that no lanes are idle there; the rest is rows, at most as many as the highest map has.

    What is given is not chosen.

    Raises:
        InputError: with what is given, so many lanes cannot be.
    """
    if lanes < 1:
        raise InputError(f"lanes is {lanes}; at least 1 was expected")
    shapes = [cells(population.shape) for population in computed(network)]
    highest = max(height for _, height, _ in shapes)
    wanted = {"columns": min(MOST_COLUMNS, columns), "pixels": min(MOST_PIXELS, max(width for *_, width in shapes))}
    found = {name: int(given[name]) for name in ("rows", "channels", "columns", "pixels") if name in given}
    left = lanes // max(1, prod(found.values()))
    for name, most in wanted.items():
        if name not in found:
            found[name] = 1 << (most - 1).bit_length()
            while left % found[name]:
                found[name] //= 2
            left //= found[name]
    if "channels" not in found and "rows" not in found:
        fewest = min(channels for channels, height, _ in shapes if height == highest)
        divisors = [size for size in range(1, left + 1) if left % size == 0]
        found["channels"] = max(
            max(size for size in divisors if size <= fewest), min(size for size in divisors if left // size <= highest)
        )
        left //= found["channels"]
    for name in ("channels", "rows"):
        if name not in found:
            found[name], left = left, 1
    if prod(found.values()) != lanes:
        sizes = " x ".join(f"{size} {each}" for each, size in found.items())
        raise InputError(f"lanes is {lanes}, but {sizes} are {prod(found.values())}: choose others")
    return found


def _power(need: int) -> int:
    return max(2, 1 << (need - 1).bit_length())


def _depths(roomy: Parameters, found: list[Layer]) -> dict[str, int]:
    """Memories and tables of powers of two; a table's last entry is left free, so that its length can be counted."""
    jobs = [job for layer in found for job in layer.jobs]
    channels = roomy.channels
    return {
        "event_words": _power(max(sum(source.words(roomy) for source in layer.sources) for layer in found)),
        "weight_words": _power(max(len(job.weights) for job in jobs)),
        "fetches": _power(1 + max(len(job.fetches) for job in jobs)),
        "taps": _power(1 + max(len(job.taps) for job in jobs)),
        "segments": _power(max(len(job.segments) for job in jobs)),
        "neurons": _power(max(channels, *(-(-len(job.constants) // channels) * channels for job in jobs))),
    }


def _widths(network: Network, roomy: Parameters, found: list[Layer], given: Mapping[str, Any]) -> dict[str, int]:
    needs: dict[str, int] = {}
    for layer in found:
        for name, bits in layer.widths.items():
            needs[name] = max(bits, needs.get(name, 0))
    membrane = given.get("membrane_bits", max(8, min(network.membrane_bits, needs.get("membrane_bits", 8))))
    accumulator = max(8 * roomy.weight_planes, needs.get("accumulator_bits", 8))
    state = max(16, needs.get("state_bits", 16), membrane, given.get("accumulator_bits", accumulator))
    return {
        "accumulator_bits": min(accumulator, given.get("state_bits", accumulator)),
        "state_bits": state,
        "membrane_bits": membrane,
        "count_bits": max(3, needs.get("count_bits", 3)),
    }
