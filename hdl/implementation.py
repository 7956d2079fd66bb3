"""What a design costs on a device: synthesis, place and route with the open tools, and the numbers they report."""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

from hdl.parameters import Device
from hdl.toolchain import run
from refsnn.errors import InputError


@dataclass(frozen=True, slots=True)
class Target:
    """A device as the open tools know it.

    Attributes:
        device: what lanes and registers are made of.
        synthesis: the command of yosys.
        options: of nextpnr.
        cells: what its report calls look-up tables, block RAMs and multipliers.
        flip_flops: how the names of flip-flops begin in the netlist.
    """

    device: Device
    synthesis: str
    options: tuple[str, ...]
    cells: tuple[str, str, str]
    flip_flops: str


TARGETS = {
    "ecp5-85": Target(
        "ecp5",
        "synth_ecp5",
        ("--85k", "--package", "CABGA756", "--speed", "6", "--lpf-allow-unconstrained"),
        ("TRELLIS_COMB", "DP16KD", "MULT18X18D"),
        "TRELLIS_FF",
    ),
    "ice40-up5k": Target(
        "ice40",
        "synth_ice40 -device u -dsp",
        ("--up5k", "--package", "sg48", "--pcf-allow-unconstrained"),
        ("ICESTORM_LC", "ICESTORM_RAM", "ICESTORM_DSP"),
        "SB_DFF",
    ),
}
"""Devices that figures are measured for; the ECP5 in speed grade 6, the slowest."""


@dataclass(frozen=True, slots=True)
class Figures:
    """What place and route found.

    Attributes:
        luts, flip_flops, block_rams, multipliers: used. ``luts`` of an iCE40 are its logic cells, of one look-up table
            and one flip-flop each.
        available: look-up tables (logic cells), block RAMs and multipliers of the device.
        megahertz: the largest frequency of the slowest clock.
        seed: of the placer.
        synthesis_seconds, place_seconds: by the clock.
    """

    luts: int
    flip_flops: int
    block_rams: int
    multipliers: int
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


def implement(source: str, top: str, target: Target, folder: Path, *, seed: int = 1, megahertz: float = 150) -> Figures:
    """Synthesise, place and route.

    Args:
        source: Verilog.
        top: its top module, which has a clock ``clk``.
        target: the device.
        folder: for the netlist, the report and the logs; made if it is not there.
        seed: of the placer.
        megahertz: what the tools aim at. A lower result is no error.

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
    used_flip_flops = finish(folder / netlist, top, target)
    place = run(
        f"nextpnr-{target.device}",
        [
            *target.options,
            *("--json", netlist, "--report", report, "--timing-allow-fail"),
            *("--seed", str(seed), "--freq", str(megahertz)),
        ],
        folder,
        makes=[report],
    )
    (folder / f"{top}.place.log").write_text(place.output, encoding="utf-8")
    found = json.loads((folder / report).read_text(encoding="utf-8"))
    used = [found["utilization"][cell]["used"] for cell in target.cells]
    available = [found["utilization"][cell]["available"] for cell in target.cells]
    return Figures(
        luts=used[0],
        flip_flops=used_flip_flops,
        block_rams=used[1],
        multipliers=used[2],
        available=(available[0], available[1], available[2]),
        megahertz=round(min(clock["achieved"] for clock in found["fmax"].values()), 1),
        seed=seed,
        synthesis_seconds=round(synthesis.seconds, 1),
        place_seconds=round(place.seconds, 1),
    )


def finish(netlist: Path, top: str, target: Target) -> int:
    """Disconnect the carries that nothing reads, and count flip-flops.

    Yosys gives every unread output a net of its own, and nextpnr spends a cell of an ECP5 to bring out the end of a
    carry chain that has one.
    """
    design = json.loads(netlist.read_text(encoding="utf-8"))
    cells, ports = design["modules"][top]["cells"].values(), design["modules"][top]["ports"].values()
    users = Counter(bit for cell in cells for bits in cell["connections"].values() for bit in bits)
    users.update(bit for port in ports for bit in port["bits"])
    for cell in cells:
        if cell["type"] == "CCU2C" and users[cell["connections"]["COUT"][0]] == 1:
            cell["connections"]["COUT"] = ["x"]
    netlist.write_text(json.dumps(design), encoding="utf-8")
    return sum(cell["type"].startswith(target.flip_flops) for cell in cells)
