"""The lane against its model, and the ECP5 lane proved equal to the plain one."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from amaranth.sim import Simulator
from hypothesis import given
from hypothesis import strategies as st

from hdl.lane import Lane
from tests.hdl import pair

ALWAYS = "-set-at 1 equal 1"
"""Totals that are equal stay equal, whatever the inputs."""
AFTER_A_SHIFT = "-set-at 1 shift 1"
"""A shift makes them equal, whatever they held."""


@pytest.mark.parametrize("accumulator_bits", [20, 21])
@pytest.mark.parametrize("weight_bits", [8, 16])
def test_the_ecp5_lane_is_equivalent(accumulator_bits: int, weight_bits: int, tmp_path: Path) -> None:
    lanes = pair.source(Lane(accumulator_bits, weight_bits), Lane(accumulator_bits, weight_bits, "ecp5"))
    assert pair.agree(lanes, 2, 1, ALWAYS, tmp_path)
    assert pair.agree(lanes, 2, 1, AFTER_A_SHIFT, tmp_path)


@pytest.mark.parametrize(
    ("right", "wrong", "given"),
    [
        (".CIN(negative)", ".CIN(1'h0)", ALWAYS),
        (".INIT1(16'h96aa)", ".INIT1(16'h69aa)", ALWAYS),
        (".C0(negative)", ".C0(1'h0)", ALWAYS),
        (".D1(enable)", ".D1(1'h1)", ALWAYS),
        ('.LSRMODE("PRLD")', '.LSRMODE("LSR")', AFTER_A_SHIFT),
    ],
)
def test_a_wrong_lane_is_found(right: str, wrong: str, given: str, tmp_path: Path) -> None:
    lanes = pair.source(Lane(20, 16), Lane(20, 16, "ecp5"))
    assert right in lanes
    assert not pair.agree(lanes.replace(right, wrong, 1), 2, 1, given, tmp_path)


WEIGHTS = st.sampled_from([-128, -1, 0, 127]) | st.integers(-128, 127)


@given(
    st.integers(8, 12),
    st.lists(st.tuples(WEIGHTS, st.sampled_from([(0, 0), (1, 0), (1, 1)]), st.booleans(), WEIGHTS), max_size=50),
)
def test_the_plain_lane_follows_its_model(width: int, operations: list[tuple[int, tuple[int, int], bool, int]]) -> None:
    lane = Lane(width, 8)

    async def drive(context: Any) -> None:
        total = 0
        for weight, (enable, negative), shift, previous in operations:
            values = (weight, enable, negative, int(shift), previous)
            for port, value in zip(
                (lane.weight, lane.enable, lane.negative, lane.shift, lane.previous), values, strict=True
            ):
                context.set(port, value)
            await context.tick()
            total = Lane.model(width, total, *values)
            assert context.get(lane.total) == total

    simulator = Simulator(lane)
    simulator.add_clock(1e-6)
    simulator.add_testbench(drive)
    simulator.run()


def test_the_model_wraps() -> None:
    assert Lane.model(8, 100, 100, 1, 0, 0, 0) == -56
    assert Lane.model(8, -100, 100, 1, 1, 0, 0) == 56
    assert Lane.model(8, 5, -128, 1, 1, 0, 0) == -123


def test_weights_wider_than_the_accumulator_are_refused() -> None:
    with pytest.raises(ValueError, match="8 bits cannot add weights of 9 bits"):
        Lane(8, 9)
