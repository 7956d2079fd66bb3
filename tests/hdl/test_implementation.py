# amaranth: UnusedElaboratable=no
"""What is done to a netlist between synthesis and placement."""

from __future__ import annotations

import json
from typing import Any

import pytest
from amaranth.hdl import Module, unsigned
from amaranth.lib.wiring import Component, In, Out

from hdl.delay import later
from hdl.implementation import TARGETS, finish
from hdl.ram import ram, registered
from hdl.toolchain import run, verilog


class Reader(Component):
    """A memory with a register behind it, which is of the memory's kind or has a reset."""

    def __init__(self, kind: str) -> None:
        self.kind = kind
        super().__init__({"address": In(10), "data": In(18), "write": In(1), "found": Out(18)})

    def elaborate(self, platform: Any) -> Module:
        m = Module()
        m.submodules.memory = memory = ram(unsigned(18), 1024)
        write, read = memory.write_port(), memory.read_port()
        m.d.comb += [write.addr.eq(self.address), write.data.eq(self.data), write.en.eq(self.write)]
        m.d.comb += read.addr.eq(self.address + 1)
        if self.kind == "own":
            found = registered(m, read, unsigned(18), "found", 2)
        else:
            found = later(m, read.data, unsigned(18), "found", 2)
        m.d.comb += self.found.eq(found)
        return m


@pytest.mark.parametrize(("kind", "mode", "flip_flops"), [("own", "OUTREG", 18), ("reset", "NOREG", 36)])
def test_a_block_ram_takes_the_register_behind_it(kind: str, mode: str, flip_flops: int, tmp_path: Any) -> None:
    (tmp_path / "top.v").write_text(verilog(Reader(kind), "top"))
    run("yosys", ["-p", "read_verilog top.v; synth_ecp5 -top top -json top.json"], tmp_path, makes=["top.json"])
    before = json.loads((tmp_path / "top.json").read_text())["modules"]["top"]["cells"]
    assert sum(cell["type"] == "TRELLIS_FF" for cell in before.values()) == 36
    assert finish(tmp_path / "top.json", "top", TARGETS["ecp5-85"], "")[0] == flip_flops
    after = json.loads((tmp_path / "top.json").read_text())["modules"]["top"]["cells"]
    memories = [cell for cell in after.values() if cell["type"] == "DP16KD"]
    assert [memory["parameters"]["REGMODE_B"] for memory in memories] == [mode]
    read = {bits[0] for port, bits in memories[0]["connections"].items() if port.startswith("DO")}
    listening = [
        cell for cell in after.values() if cell["type"] == "TRELLIS_FF" and cell["connections"]["DI"][0] in read
    ]
    assert len(listening) == 18  # the next register, or the one that stayed
