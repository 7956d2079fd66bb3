"""A component as a netlist, and all its mutants in one."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hdl.toolchain import run
from refsnn.errors import require

ORIGINAL, MUTANT = "original", "mutant"
"""Names of the two modules, and of their files."""
SELECT = "mutsel"
"""The port that chooses a mutant; 0 is none of them."""
CLOCK = "CLK"
"""Flip-flops' clocks are not mutated: a design with two clock edges is not one that an error of ours would make."""


@dataclass(frozen=True, slots=True)
class Mutant:
    """One mutation of a netlist.

    Attributes:
        number: what selects it, above 0.
        mode: inv, const0, const1: a bit inverted or constant; cnot0, cnot1: inverted where another bit is 0 or 1.
        cell, port, bit: where.
        source: the lines of Python that made the cell.
        command: for yosys.
    """

    number: int
    mode: str
    cell: str
    port: str
    bit: int
    source: tuple[str, ...]
    command: str


@dataclass(frozen=True, slots=True)
class Netlist:
    """The files of a component: ``original.il``, ``mutant.il`` and ``mutant.cc``.

    In ``mutant.il`` the port ``SELECT`` chooses. In both, the registers are brought out as further outputs.

    Attributes:
        folder: where they are.
        inputs: names and widths; among them ``clk``, ``rst`` and ``SELECT``.
        outputs, registers: names and widths.
        mutants: all of them.
    """

    folder: Path
    inputs: dict[str, int]
    outputs: dict[str, int]
    registers: dict[str, int]
    mutants: tuple[Mutant, ...]


def mutate(component: Any, count: int, seed: int, folder: Path) -> Netlist:
    """Have yosys make mutants of a component, spread evenly over its cells, wires and lines.

    Args:
        component: with one clock.
        count: how many.
        seed: of the choice.
        folder: for the files; made if it is not there.

    Raises:
        MissingExtraError: a tool is not installed.
        ToolError: a tool failed.
    """
    folder.mkdir(parents=True, exist_ok=True)
    text = require("amaranth.back.rtlil", "hdl").convert(component, name=ORIGINAL, emit_src=True)
    (folder / "component.il").write_text(text, encoding="utf-8")
    candidates = count + count // 2 + 10
    steps = "read_rtlil component.il; proc; flatten; opt_expr; splitcells; opt_clean; write_rtlil flat.il; "
    steps += f"mutate -list {candidates} -seed {seed} -o candidates.txt"
    run("yosys", ["-q", "-p", steps], folder, makes=["flat.il", "candidates.txt"])
    lines = (folder / "candidates.txt").read_text(encoding="utf-8").splitlines()
    mutants = [parse(number, line) for number, line in enumerate(lines, 1)]
    mutants = [mutant for mutant in mutants if mutant.port != CLOCK][:count]
    control = f"-ctrl {SELECT} {len(lines).bit_length()}"
    script = [
        "read_rtlil flat.il",
        "expose -dff",
        f"write_rtlil {ORIGINAL}.il",
        *(f"{mutant.command} {control} {mutant.number}" for mutant in mutants),
        f"rename {ORIGINAL} {MUTANT}",
        f"write_json {MUTANT}.json",
        f"write_rtlil {MUTANT}.il",
        f"write_cxxrtl {MUTANT}.cc",
    ]
    (folder / "mutate.ys").write_text("\n".join(script) + "\n", encoding="utf-8")
    made = [f"{ORIGINAL}.il", *(f"{MUTANT}.{kind}" for kind in ("json", "il", "cc"))]
    run("yosys", ["-q", "mutate.ys"], folder, makes=made)
    design = json.loads((folder / f"{MUTANT}.json").read_text(encoding="utf-8"))
    ports = {name: (port["direction"], len(port["bits"])) for name, port in design["modules"][MUTANT]["ports"].items()}
    declared = set(component.signature.members)
    inputs = {name: width for name, (direction, width) in ports.items() if direction == "input"}
    outputs = {name: width for name, (direction, width) in ports.items() if direction == "output"}
    return Netlist(
        folder,
        inputs,
        {name: width for name, width in outputs.items() if name in declared},
        {name: width for name, width in outputs.items() if name not in declared},
        tuple(mutants),
    )


def parse(number: int, line: str) -> Mutant:
    """A line of ``mutate -list``."""
    words = line.split()
    options = list(zip(words[1::2], words[2::2], strict=True))
    values = dict(options)
    source = tuple(Path(value).name for option, value in options if option == "-src")
    return Mutant(number, values["-mode"], values["-cell"], values["-port"], int(values["-portbit"]), source, line)
