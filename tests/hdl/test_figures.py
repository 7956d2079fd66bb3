"""The table of figures, and what is measured for it."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
from amaranth.hdl import Module
from amaranth.lib.wiring import Component, In, Out

from hdl import figures, implementation, toolchain
from hdl.harness import Harness
from hdl.implementation import Figures, Way, implement, target_named
from hdl.toolchain import ToolError
from refsnn.errors import InputError

FOUND = Figures(
    luts=6000,
    flip_flops=5000,
    block_rams=3,
    multipliers=0,
    luts_inside=5760,
    available=(83640, 208, 156),
    megahertz=201.5,
    seed=1,
    synthesis_seconds=10.2,
    place_seconds=80.1,
)


class Adders(Component):
    """A sum and a product, registered."""

    def __init__(self) -> None:
        super().__init__({"a": In(8), "b": In(8), "total": Out(9), "product": Out(16)})

    def elaborate(self, platform: object) -> Module:
        m = Module()
        m.d.sync += [self.total.eq(self.a + self.b), self.product.eq(self.a * self.b)]
        return m


@pytest.mark.slow
@pytest.mark.parametrize(("device", "multipliers"), [("ecp5-85", 1), ("ice40-up5k", 1)])
def test_a_small_design_is_measured(device: str, multipliers: int, tmp_path: Path) -> None:
    harness = Harness(Adders())
    target = target_named(device)
    found = implement(toolchain.verilog(harness, "harness"), "harness", target, tmp_path, Way(seed=3), inside="design.")
    assert found.multipliers == multipliers
    assert 0 < found.luts_inside < found.luts < 200
    assert found.flip_flops >= 16 + harness.flip_flops
    assert found.megahertz > 20
    with pytest.raises(ToolError, match="yosys failed"):
        implement("module harness(input clk); wrong endmodule", "harness", target, tmp_path, Way())
    assert not (tmp_path / "harness.json").exists()


@pytest.mark.slow
def test_nextpnr_reads_the_settings(tmp_path: Path) -> None:
    target = replace(target_named("ecp5-85"), settings=dict.fromkeys(target_named("ecp5-85").settings, "no number"))
    with pytest.raises(ToolError, match="nextpnr-ecp5 failed"):
        implement(toolchain.verilog(Harness(Adders()), "harness"), "harness", target, tmp_path, Way())


def test_unread_carries_are_disconnected_and_cells_counted(tmp_path: Path) -> None:
    def cell(carry_in: object, carry_out: object) -> dict[str, object]:
        return {"type": "CCU2C", "connections": {"CIN": [carry_in], "COUT": [carry_out]}}

    cells = {"in.first": cell("0", 2), "in.last": cell(2, 3), "other": cell("0", 4)}
    parameters = {"CEMUX": "1 ", "REGSET": "RESET"}
    cells["bit"] = {"type": "TRELLIS_FF", "parameters": parameters, "connections": {"DI": [6], "Q": [5]}}
    cells["in.table"] = {"type": "LUT4", "connections": {"Z": [5]}}
    netlist = tmp_path / "top.json"
    netlist.write_text(json.dumps({"modules": {"top": {"cells": cells, "ports": {"out": {"bits": [4]}}}}}))
    assert implementation.finish(netlist, "top", target_named("ecp5-85"), "in.") == (1, 7)
    module = json.loads(netlist.read_text())["modules"]["top"]
    assert module["settings"] == target_named("ecp5-85").settings
    found = module["cells"]
    assert [found[name]["connections"]["COUT"] for name in ("in.first", "in.last", "other")] == [[2], ["x"], [4]]


def test_nothing_is_measured_twice(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    calls = []

    def fake(source: str, top: str, target: object, folder: Path, way: Way, **options: object) -> Figures:
        calls.append(way.seed)
        folder.mkdir()
        return FOUND

    monkeypatch.setattr(figures, "implement", fake)
    parameters = figures.parameters_of(16, "ecp5-85")
    for seed in (1, 1, 2):
        found = figures.measure("array", parameters, "ecp5-85", Way(seed=seed), tmp_path)
    assert calls == [1, 2]
    # The harness: 73 inputs, 320 outputs in a tree of 80 + 20 + 5 + 2 + 1, of which one of the 2 folds a single bit.
    assert found.luts == FOUND.luts - 180
    assert found.flip_flops == FOUND.flip_flops - 181


def test_rows_show_the_spread_of_seeds() -> None:
    parameters = figures.parameters_of(256, "ecp5-85")
    slower = Figures(**{name: getattr(FOUND, name) for name in Figures.__slots__} | {"megahertz": 180.0, "seed": 2})
    cells = dict(zip(figures.COLUMNS, figures.row(parameters, [FOUND, slower]), strict=True))
    assert cells["lanes"] == "256"
    assert cells["arranged as"] == "1 x 8 x 8 x 4"
    assert cells["LUT"] == "6,000 (7 %)"
    assert cells["MHz"] == "180.0 to 201.5"
    assert cells["integrate: LUT a lane"] == "22.5"
    assert cells["seconds"] == "10 / 80"


def test_a_table_is_put_into_its_page(tmp_path: Path) -> None:
    page = tmp_path / "figures.md"
    page.write_text("before\n<!-- command -->\nold\n<!-- end -->\nafter\n")
    figures.insert(page, "command", "| new |\n")
    assert page.read_text() == "before\n<!-- command -->\n| new |\n<!-- end -->\nafter\n"
    with pytest.raises(InputError, match=r"figures\.md: the lines '<!-- other -->'"):
        figures.insert(page, "other", "| new |\n")


def test_wrong_options_are_refused() -> None:
    with pytest.raises(InputError, match="--lanes has 17; 4, 8, 16, 32"):
        figures.parameters_of(17, "ecp5-85")
    with pytest.raises(InputError, match="the device is 'ecp6'; one of ecp5-85"):
        figures.parameters_of(16, "ecp6")


def test_sizes_are_what_they_say() -> None:
    for lanes in figures.SIZES:
        assert figures.parameters_of(lanes, "ecp5-85").lanes == lanes
