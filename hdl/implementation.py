"""What a design costs on a device: synthesis, place and route with the open tools, and the numbers they report."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hdl.parameters import Device
from hdl.toolchain import run
from refsnn.errors import InputError

LUTS = {"LUT4": 1, "SB_LUT4": 1, "CCU2C": 2, "TRELLIS_DPR16X4": 4}
"""Look-up tables that a cell of a netlist takes."""


@dataclass(frozen=True, slots=True)
class Target:
    """A device as the open tools know it.

    Attributes:
        device: what lanes and registers are made of.
        synthesis: the command of yosys.
        options: of nextpnr. Its placer has to mind the clock more than it does by itself, or a neuron of a large core
            is torn apart here and there.
        settings: of nextpnr's that have no option; it takes them from the netlist. ``router2`` raises the price of a
            wire that is still taken twice with each pass, until it leads another one 10 ns around to something near
            rather than share. Raised more slowly, it finds shorter ways in about as many passes.
        cells: what its report calls look-up tables, block RAMs and multipliers.
        flip_flops: how the names of flip-flops begin in the netlist.
    """

    device: Device
    synthesis: str
    options: tuple[str, ...]
    settings: Mapping[str, str]
    cells: tuple[str, str, str]
    flip_flops: str


TARGETS = {
    "ecp5-85": Target(
        "ecp5",
        "synth_ecp5",
        (
            *("--85k", "--package", "CABGA756", "--speed", "6", "--lpf-allow-unconstrained"),
            *("--placer-heap-timingweight", "30"),  # of the placer ``heap`` alone
        ),
        {"router2/currCongWeightMult": "0.5"},  # 2 by itself
        ("TRELLIS_COMB", "DP16KD", "MULT18X18D"),
        "TRELLIS_FF",
    ),
    "ice40-up5k": Target(
        "ice40",
        "synth_ice40 -device u -dsp",
        ("--up5k", "--package", "sg48", "--pcf-allow-unconstrained"),
        {},
        ("ICESTORM_LC", "ICESTORM_RAM", "ICESTORM_DSP"),
        "SB_DFF",
    ),
}
"""Devices that figures are measured for; the ECP5 in speed grade 6, the slowest."""

ROUTERS = ("router2", "router1")
"""Of nextpnr: ``router2`` ends, but leads a wire here and there far around to something that is near; ``router1`` does
not, takes three times as long at best, and does not always end."""
PLACERS = ("heap", "static")
"""Of nextpnr: ``static`` spreads the cells better, so that ``router1`` ended where it did not after ``heap``, but it
places worse where the device is two thirds full."""


@dataclass(frozen=True, kw_only=True)
class Way:
    """How to place and route.

    Attributes:
        seed: of the placer.
        megahertz: what the tools aim at. A lower result is no error.
        placer: one of ``PLACERS``.
        router: one of ``ROUTERS``.
    """

    seed: int = 1
    megahertz: float = 150
    placer: str = PLACERS[0]
    router: str = ROUTERS[0]

    @property
    def options(self) -> tuple[str, ...]:
        """Of nextpnr."""
        aims = ("--seed", str(self.seed), "--freq", str(self.megahertz))
        return (*aims, "--placer", self.placer, "--router", self.router)


@dataclass(frozen=True, slots=True)
class Figures:
    """What place and route found.

    Attributes:
        luts, flip_flops, block_rams, multipliers: used. ``luts`` of an iCE40 are its logic cells, of one look-up table
            and one flip-flop each.
        luts_inside: look-up tables of a part of the netlist, before anything is packed; a CCU2C counts as two.
        available: look-up tables (logic cells), block RAMs and multipliers of the device.
        megahertz: the largest frequency of the slowest clock.
        seed: of the placer.
        synthesis_seconds, place_seconds: by the clock.
    """

    luts: int
    flip_flops: int
    block_rams: int
    multipliers: int
    luts_inside: int
    available: tuple[int, int, int]
    megahertz: float
    seed: int
    synthesis_seconds: float
    place_seconds: float


def target_named(name: str) -> Target:
    """One of ``TARGETS``.

    Raises:
        InputError: there is none of that name.
    """
    if name not in TARGETS:
        raise InputError(f"the device is '{name}'; one of {', '.join(TARGETS)} was expected")
    return TARGETS[name]


def implement(source: str, top: str, target: Target, folder: Path, way: Way, *, inside: str = "") -> Figures:
    """Synthesise, place and route.

    Args:
        source: Verilog.
        top: its top module, which has a clock ``clk``.
        target: the device.
        folder: for the netlist, the report and the logs; made if it is not there.
        way: how to place and route.
        inside: how the names of the cells begin that ``luts_inside`` counts.

    Raises:
        MissingExtraError: a tool is not installed.
        ToolError: one failed: the design does not fit, or has errors.
    """
    folder.mkdir(parents=True, exist_ok=True)
    verilog, netlist, report = f"{top}.v", f"{top}.json", f"{top}.report.json"
    (folder / verilog).write_text(source, encoding="utf-8")
    script = f"read_verilog {verilog}; {target.synthesis} -top {top} -json {netlist}"
    synthesis = run("yosys", ["-p", script], folder, makes=[netlist])
    (folder / f"{top}.synthesis.log").write_text(synthesis.output, encoding="utf-8")
    flip_flops, luts_inside = finish(folder / netlist, top, target, inside)
    place = run(
        f"nextpnr-{target.device}",
        [*target.options, "--json", netlist, "--report", report, "--timing-allow-fail", *way.options],
        folder,
        makes=[report],
    )
    (folder / f"{top}.place.log").write_text(place.output, encoding="utf-8")
    found = json.loads((folder / report).read_text(encoding="utf-8"))
    used = [found["utilization"][cell]["used"] for cell in target.cells]
    available = [found["utilization"][cell]["available"] for cell in target.cells]
    return Figures(
        luts=used[0],
        flip_flops=flip_flops,
        block_rams=used[1],
        multipliers=used[2],
        luts_inside=luts_inside,
        available=(available[0], available[1], available[2]),
        megahertz=round(min(clock["achieved"] for clock in found["fmax"].values()), 1),
        seed=way.seed,
        synthesis_seconds=round(synthesis.seconds, 1),
        place_seconds=round(place.seconds, 1),
    )


def finish(netlist: Path, top: str, target: Target, inside: str) -> tuple[int, int]:
    """Do what vendors' synthesis does and yosys leaves, and add the target's settings of nextpnr.

    Returns the flip-flops, and the look-up tables inside a part.

    Carries that nothing reads are disconnected: yosys gives every unread output a net of its own, and nextpnr spends a
    cell of an ECP5 to bring out the end of a carry chain that has one. It also spends one to feed in a chain's first
    carry: this is counted. Registers behind block RAMs are put into those.
    """
    design = json.loads(netlist.read_text(encoding="utf-8"))
    cells, ports = design["modules"][top]["cells"], design["modules"][top]["ports"]
    users = Counter(bit for cell in cells.values() for bits in cell["connections"].values() for bit in bits)
    users.update(bit for port in ports.values() for bit in port["bits"])
    chained, luts = set(), 0
    for cell in cells.values():
        if cell["type"] == "CCU2C":
            chained.add(cell["connections"]["COUT"][0])
            if users[cell["connections"]["COUT"][0]] == 1:
                cell["connections"]["COUT"] = ["x"]
    for name, cell in cells.items():
        if name.startswith(inside):
            luts += LUTS.get(cell["type"], 0)
            luts += cell["type"] == "CCU2C" and 2 * (cell["connections"]["CIN"][0] not in chained)
    _use_output_registers(cells, users)
    design["modules"][top]["settings"] = dict(target.settings)
    netlist.write_text(json.dumps(design), encoding="utf-8")
    return sum(cell["type"].startswith(target.flip_flops) for cell in cells.values()), luts


def _use_output_registers(cells: dict[str, Any], users: Mapping[Any, int]) -> None:
    """Let an ECP5's block RAMs hold what they read in registers of their own, wherever a plain register follows.

    A plain one always listens, is never reset, and has the memory's clock; nothing else reads the memory's output. All
    bits of a memory have one, or it stays as it is.
    """
    registers = {
        cell["connections"]["DI"][0]: name
        for name, cell in cells.items()
        if cell["type"] == "TRELLIS_FF"
        and cell["connections"].get("LSR", ["0"]) == ["0"]
        and "CE" not in cell["connections"]
        and cell["parameters"]["CEMUX"].strip() == "1"
        and cell["parameters"]["REGSET"] == "RESET"
    }
    for memory in [cell for cell in cells.values() if cell["type"] == "DP16KD"]:
        wires = memory["connections"]
        read = {
            port: bits[0]
            for port, bits in wires.items()
            if memory["port_directions"][port] == "output" and users[bits[0]] > 1
        }
        behind = [registers.get(bit, "") for bit in read.values()]
        if not all(
            name and users[bit] == 2 and cells[name]["connections"]["CLK"] == wires["CLKB"]
            for bit, name in zip(read.values(), behind, strict=True)
        ):
            continue
        for port, name in zip(read, behind, strict=True):
            wires[port] = cells.pop(name)["connections"]["Q"]
        memory["parameters"] |= {"REGMODE_A": "OUTREG", "REGMODE_B": "OUTREG"}
        wires |= {"OCEA": ["1"], "OCEB": ["1"]}
