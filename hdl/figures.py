"""The table of implementation figures: ``python -m hdl.figures``."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path
from typing import Annotated, Any

import typer

from hdl.array import Array
from hdl.core import Core
from hdl.harness import Harness
from hdl.implementation import PLACERS, ROUTERS, TARGETS, Figures, Way, implement, target_named
from hdl.parameters import Parameters
from hdl.toolchain import verilog, versions
from refsnn import files
from refsnn.errors import InputError
from refsnn.options import numbers
from refsnn.terminal import Version, notice, run_command, user_errors

HELP = """
Place and route a part of the core for several numbers of lanes, and show what it costs.

What was measured once is kept in --folder and not measured again while the
Verilog, the seed and the tools are the same. 1,024 lanes of the core take 45 minutes.
"""


def array(parameters: Parameters) -> Any:
    """The bare integrate array."""
    return Array(
        parameters.rows,
        parameters.channels,
        parameters.columns,
        parameters.pixels,
        parameters.weight_bits,
        parameters.accumulator_bits,
        parameters.device,
    )


@dataclass(frozen=True, slots=True)
class Part:
    """Something to measure.

    Attributes:
        make: the component; its ports are in its signature.
        lanes: how the names of the cells of lanes begin. The broadcast in front of them has no look-up tables.
    """

    make: Callable[[Parameters], Any]
    lanes: str


PARTS = {"array": Part(array, "design.lane_"), "core": Part(Core, "design.array.lane_")}
"""What can be measured."""

SIZES: dict[int, dict[str, Any]] = {
    4: {"rows": 1, "channels": 2, "pixels": 2, "columns": 1},
    8: {"rows": 1, "channels": 2, "pixels": 2, "columns": 2},
    16: {"rows": 1, "channels": 4, "pixels": 1, "columns": 4},
    32: {"rows": 1, "channels": 4, "pixels": 2, "columns": 4},
    64: {"rows": 1, "channels": 8, "pixels": 2, "columns": 4},
    128: {"rows": 1, "channels": 8, "pixels": 4, "columns": 4},
    256: {"rows": 1, "channels": 8, "pixels": 8, "columns": 4},
    512: {"rows": 1, "channels": 16, "pixels": 8, "columns": 4},
    1024: {"rows": 2, "channels": 16, "pixels": 8, "columns": 4},
}
"""Lanes, and how they are arranged."""

DEPTHS: dict[str, dict[str, Any]] = {
    "ecp5-85": {},
    "ice40-up5k": {
        "banks": 2,
        "weight_planes": 1,
        "accumulator_bits": 16,
        "state_bits": 18,
        "membrane_bits": 16,
        "event_words": 256,
        "weight_words": 256,
        "fetches": 64,
        "taps": 32,
        "segments": 16,
        "neurons": 16,
        "pooling": False,
    },
}
"""What differs from a core's defaults to suit a device: an iCE40 UP5K has 30 block RAMs of 512 bytes."""

COLUMNS = ("lanes", "arranged as", "LUT", "FF", "block RAM", "DSP", "MHz", "integrate: LUT a lane", "seconds")


def parameters_of(lanes: int, device: str) -> Parameters:
    """The core of a number of lanes.

    Raises:
        InputError: there is no arrangement for that number, or no such device.
    """
    if lanes not in SIZES:
        raise InputError(f"--lanes has {lanes}; {', '.join(map(str, SIZES))} were expected")
    return replace(Parameters(device=target_named(device).device, **DEPTHS[device]), **SIZES[lanes])


def measure(part: str, parameters: Parameters, device: str, way: Way, folder: Path) -> Figures:
    """The figures of one design, without the harness around it, measured or remembered.

    Args:
        part: a key of ``PARTS``.
        parameters: of the core.
        device: a key of ``hdl.implementation.TARGETS``.
        way: of place and route.
        folder: holds a folder for each result.
    """
    target = target_named(device)
    harness = Harness(PARTS[part].make(parameters))
    source = verilog(harness, "harness")
    kinds = [field.name for field in fields(Figures)]
    key = json.dumps([source, asdict(target), asdict(way), tools(target.device, folder), kinds])
    place = folder / f"{part}-{device}-{parameters.lanes}-{hashlib.sha256(key.encode()).hexdigest()[:16]}"
    result = place / "figures.json"
    if result.exists():
        return Figures(**json.loads(result.read_text(encoding="utf-8")))
    notice(f"{part}, {parameters.lanes:,} lanes, {device}, seed {way.seed}: synthesis, place and route")
    found = implement(source, "harness", target, place, way, inside=PARTS[part].lanes)
    # On an iCE40 a look-up table of the harness and its flip-flop count as one logic cell.
    luts = found.luts - (harness.luts if target.device == "ecp5" else harness.flip_flops)
    found = replace(found, luts=luts, flip_flops=found.flip_flops - harness.flip_flops)
    files.write_text(result, json.dumps(asdict(found), indent=2) + "\n")
    return found


def tools(device: str, folder: Path) -> dict[str, str]:
    """The versions of the tools that make the figures."""
    return versions(("yosys", f"nextpnr-{device}"), folder)


def row(parameters: Parameters, found: Sequence[Figures]) -> tuple[str, ...]:
    """Cells of a table's row, from the results of one or more seeds."""
    first = found[0]
    synthesis, place = ([getattr(each, name) for each in found] for name in ("synthesis_seconds", "place_seconds"))
    return (
        f"{parameters.lanes:,}",
        f"{parameters.rows} x {parameters.channels} x {parameters.pixels} x {parameters.columns}",
        f"{first.luts:,} ({100 * first.luts / first.available[0]:.0f} %)",
        f"{first.flip_flops:,}",
        f"{first.block_rams} of {first.available[1]}",
        f"{first.multipliers} of {first.available[2]}",
        span([each.megahertz for each in found], ".1f"),
        f"{first.luts_inside / parameters.lanes:.1f}",
        f"{span(synthesis, '.0f')} / {span(place, '.0f')}",
    )


def span(values: Sequence[float], form: str) -> str:
    """One number, or the least and the largest."""
    least, largest = format(min(values), form), format(max(values), form)
    return least if least == largest else f"{least} to {largest}"


def table(rows: Sequence[Sequence[str]]) -> str:
    """A table in Markdown."""
    lines = [COLUMNS, ["---:"] * len(COLUMNS), *rows]
    return "".join(f"| {' | '.join(cells)} |\n" for cells in lines)


def insert(page: Path, command: str, text: str) -> None:
    """Put a table into a page, between the lines ``<!-- command -->`` and ``<!-- end -->``.

    Raises:
        InputError: there are no such lines.
    """
    content = page.read_text(encoding="utf-8") if page.exists() else ""
    before, start, rest = content.partition(f"<!-- {command} -->\n")
    _, end, after = rest.partition("<!-- end -->\n")
    if not end:
        raise InputError(f"{page}: the lines '<!-- {command} -->' and '<!-- end -->' were expected around the table")
    files.write_text(page, f"{before}{start}{text}{end}{after}")


def figures(
    part: Annotated[str, typer.Option(metavar="NAME", help=f"{', '.join(PARTS)}.")] = "array",
    device: Annotated[str, typer.Option(metavar="NAME", help=f"{', '.join(TARGETS)}.")] = "ecp5-85",
    lanes: Annotated[str, typer.Option(metavar="N[,N..]", help=f"{', '.join(map(str, SIZES))}.")] = "256,512,1024",
    seeds: Annotated[str, typer.Option(metavar="N[,N..]", help="Of the placer; the table shows the spread.")] = "1",
    megahertz: Annotated[float, typer.Option(metavar="X", help="What the tools aim at.")] = Way.megahertz,
    placer: Annotated[
        str, typer.Option(metavar="NAME", help=f"{', '.join(PLACERS)}: of nextpnr; static spreads cells better.")
    ] = Way.placer,
    router: Annotated[
        str,
        typer.Option(
            metavar="NAME", help=f"{', '.join(ROUTERS)}: of nextpnr; router1 is slow, often better, or does not end."
        ),
    ] = Way.router,
    folder: Annotated[Path, typer.Option(metavar="DIR", help="Netlists, logs and results.")] = Path("runs/figures"),
    page: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Also write the table into this page, below a comment with the command."),
    ] = None,
    version: Version = False,
) -> None:
    with user_errors():
        if part not in PARTS:
            raise InputError(f"--part is '{part}'; one of {', '.join(PARTS)} was expected")
        for option, value, known in (("--placer", placer, PLACERS), ("--router", router, ROUTERS)):
            if value not in known:
                raise InputError(f"{option} is '{value}'; one of {', '.join(known)} was expected")
        chosen = [parameters_of(each, device) for each in numbers("--lanes", lanes, int)]
        placer_seeds = numbers("--seeds", seeds, int)
        folder.mkdir(parents=True, exist_ok=True)
        ways = [Way(seed=seed, megahertz=megahertz, placer=placer, router=router) for seed in placer_seeds]
        rows = [row(each, [measure(part, each, device, way, folder) for way in ways]) for each in chosen]
        named = ", ".join(f"{name} {version}" for name, version in tools(target_named(device).device, folder).items())
        text = f"{table(rows)}\nPlacer seeds {seeds}; {named}.\n"
        print(text, end="")
        if page is not None:
            options = f"--part {part} --device {device} --lanes {lanes} --seeds {seeds}"
            aims = f"--megahertz {megahertz:g} --placer {placer} --router {router}"
            insert(page, f"python -m hdl.figures {options} {aims}", text)


def main() -> None:
    """Run the command."""
    run_command(figures, HELP, "python -m hdl.figures")


if __name__ == "__main__":
    main()
