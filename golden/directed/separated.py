"""Temporal separation in base 1 and 2: digits at and below their thresholds, negative codes, the closing clamp."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from golden.directed.build import BASE_1, BASE_2, Directed, bytes_in, dense, network, plain, readout, spiking, weights
from refsnn.network import Network, Population, Schedule

ONE = bytes_in((1,), 1)


def cases() -> Iterator[Directed]:
    """The cases of this family."""
    exact = ("threshold met exactly", "one below the threshold", "event in every step", "negative spike")
    yield Directed(
        name="base-1",
        reason="Accumulate, then send up to three equal spikes, with a membrane of 8 bits: sums at multiples of the "
        "threshold, one below, and at both ends of the width, where the closed sum clamps once.",
        expects=(*exact, "saturation high", "saturation low"),
        network=_network(BASE_1, [5, 4, 14, 13, 23, 22, 123, 124, -4, -5, -13, -14, -132, -133], 9, membrane_bits=8),
        images=ONE,
        steps=3,
    )
    yield Directed(
        name="base-2",
        reason="Accumulate, then send a binary code of three digits: sums at each digit's threshold and one below.",
        expects=exact,
        network=_network(BASE_2, [32, 31, 14, 13, 5, 4, 127, -4, -5, -13, -14, -31, -32, -127], 9),
        images=ONE,
        steps=3,
    )


def _network(schedule: Schedule, values: list[int], threshold: int, **settings: Any) -> Network:
    """A population of plain and one of signed neurons, each of which takes in one of ``values`` in all.

    ``sources`` sends the counts or codes 1, 2 and the largest, L; the weights are such that every digit is at work.
    """
    largest = schedule.levels(3)
    biases = [4, 6, 10] if schedule.base == 1 else [10, 20, 70]
    rows = [[value - 2 * (value // 4), value // 4 + largest, -2] for value in values]
    neurons: list[Population] = [
        spiking("sources", (3,), "if", 10, bias=biases, schedule=schedule),
        spiking("plain", (len(values),), "if", threshold, schedule=schedule),
        spiking("signed", (len(values),), "signed", threshold, schedule=schedule),
    ]
    joined = [dense("sources", name, rows) for name in ("plain", "signed")]
    read = [dense(name, "readout", weights(seed, 2, len(values))) for seed, name in enumerate(("plain", "signed"))]
    silent = dense("input", "sources", [[0], [0], [0]])
    return network([plain((1,), schedule), *neurons, readout(2, schedule)], [silent, *joined, *read], **settings)
