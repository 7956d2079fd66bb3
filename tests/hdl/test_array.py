"""The integrate array against its model, in Amaranth's simulator."""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any

import pytest
from amaranth.sim import Simulator

from hdl.array import Array
from hdl.parameters import Device
from tests.hdl import pair

SIZES = [
    # rows, channels, columns, pixels, weight bits, accumulator bits
    (1, 1, 1, 1, 8, 8),
    (1, 3, 1, 2, 8, 20),
    (2, 2, 2, 2, 8, 12),
    (1, 9, 4, 1, 16, 20),  # two copies of an event
    (2, 1, 4, 4, 16, 21),  # four copies of a weight
    (3, 2, 1, 5, 4, 9),
]
Operation = tuple[list[int], int, int, int]
"""Weights, enable, negative, shift."""


def random_operation(array: Array, choose: random.Random) -> Operation:
    """Extreme weights, and no or all events, are frequent."""
    low, high = -1 << (array.weight_bits - 1), (1 << (array.weight_bits - 1)) - 1
    weights = [choose.choice([low, high, -1, 0, choose.randint(low, high)]) for _ in range(array.channels)]
    places = array.rows * array.pixels * array.columns
    full = (1 << places) - 1
    enable = choose.choice([0, full, choose.getrandbits(places), choose.getrandbits(places)])
    negative = enable & choose.choice([0, full, choose.getrandbits(places)])
    return weights, enable, negative, int(choose.random() < 0.2)


def simulate(array: Array, operations: list[Operation]) -> list[list[int]]:
    """The sums that each operation finds."""
    found = []

    async def drive(context: Any) -> None:
        for cycle in range(len(operations) + array.latency):
            for port, value in zip(
                (array.weights, array.enable, array.negative, array.shift),
                operations[min(cycle, len(operations) - 1)],
                strict=True,
            ):
                context.set(port, value)
            if cycle >= array.latency:
                found.append([context.get(each) for each in array.sums])
            await context.tick()

    simulator = Simulator(array)
    simulator.add_clock(1e-6)
    simulator.add_testbench(drive)
    simulator.run()
    return found


@pytest.mark.parametrize("size", SIZES, ids=str)
def test_random_operations(size: tuple[int, ...]) -> None:
    array = Array(*size)
    choose = random.Random(str(size))
    cleared: list[Operation] = [([0] * array.channels, 0, 0, 1)] * array.pixels
    operations = cleared + [random_operation(array, choose) for _ in range(300)]
    totals = [0] * (array.rows * array.channels * array.columns * array.pixels)
    expected = []
    for each in operations:
        totals, sums = array.model(totals, *each)
        expected.append(sums)
    assert sum(any(sums) for sums in expected) > 100
    found = simulate(array, operations)
    assert found[array.pixels :] == expected[array.pixels :]


def test_a_chain_is_read_last_pixel_first_and_left_cleared() -> None:
    clear, add, more = ([0], 0, 0, 1), ([7], 0b111, 0b010, 0), ([5], 0b100, 0, 0)
    read, idle = ([100], 0b111, 0, 1), ([100], 0, 0, 0)
    found = simulate(Array(1, 1, 1, 3, 8, 20), [*[clear] * 3, add, more, *[read] * 3, idle, idle])
    assert found[5:] == [[12], [-7], [7], [0], [0]]


@pytest.mark.parametrize("device", ["ecp5", "ice40"])
def test_arrays_of_other_devices_agree(device: Device, tmp_path: Path) -> None:
    size = (1, 2, 1, 2, 2, 2)  # lanes are proved by themselves; this is about what connects them
    plain = Array(*size)
    arrays = pair.source(plain, Array(*size, device))
    cleared = plain.latency + plain.pixels
    given = " ".join(f"-set-at {cycle} shift 1" for cycle in range(1, cleared + 1))
    assert pair.agree(arrays, 2 * cleared, cleared, given, tmp_path)
    assert not pair.agree(arrays, 2 * cleared, 0, given, tmp_path)  # contents at power-up are arbitrary


def test_wrong_sizes_are_refused() -> None:
    with pytest.raises(ValueError, match="columns is 0"):
        Array(1, 1, 0, 1, 8, 20)
