"""The command line: ``python -m hdl``, also ``refsnn hdl``."""

from __future__ import annotations

from math import prod
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from refsnn.errors import InputError, require
from refsnn.terminal import commands, show_table, user_errors

if TYPE_CHECKING:
    from golden.case import Case
    from hdl.sidecar import Sidecar
    from refsnn.network import Network

HELP = """
The neuron-array core for an integer network: Verilog, memory images, and testbenches that compare it with golden
vectors.

[bold]Examples[/bold]

    python -m hdl out/network-spikeconverter-T4.h5 --out core --lanes 512

    python -m hdl case/network.h5 --golden case --out core && make -C core icarus

    python -m hdl dump core words.txt --golden case --out dump && python -m golden diff case dump

A first argument that is no command is the network of [bold]export[/bold].

Exit status: 0 done; 2 wrong use or input.
"""

_CORE = "The core"
_MEMORIES = "Memories, in words. Default: what the network needs"
_WIDTHS = "Widths, in bits. Default: what the network needs"
SHAPE = ("rows", "channels", "pixels", "columns")


def application() -> typer.Typer:
    """The commands as one application."""
    return commands("hdl", HELP, export, dump)


def _size(panel: str, text: str) -> Any:
    return typer.Option(metavar="N", min=1, help=text, rich_help_panel=panel, show_default=False)


def export(
    network: Annotated[
        Path,
        typer.Argument(
            metavar="NETWORK.h5", help="An integer network (refsnn run ... --out writes some).", show_default=False
        ),
    ],
    out: Annotated[
        Path,
        typer.Option(metavar="DIR", help="The core's folder; one that is there is replaced.", show_default=False),
    ],
    steps: Annotated[
        int | None,
        typer.Option(metavar="T", help="Time-steps. Default: the network's, or the golden case's.", show_default=False),
    ] = None,
    drain: Annotated[
        int | None,
        typer.Option(
            metavar="N",
            min=0,
            help="Drain steps to have room for. Default: the network's.",
            show_default=False,
        ),
    ] = None,
    golden: Annotated[
        Path | None,
        typer.Option(
            metavar="CASE", help="A golden case of the network: vectors for the testbenches.", show_default=False
        ),
    ] = None,
    image: Annotated[list[int] | None, typer.Option(metavar="K", help="Of the case, from 0; more than once.")] = None,
    lanes: Annotated[
        int | None,
        typer.Option(
            metavar="N",
            help="Integrate lanes: rows x channels x pixels x columns. Default: 128, or what these four give.",
            rich_help_panel=_CORE,
            show_default=False,
        ),
    ] = None,
    device: Annotated[
        str, typer.Option(metavar="generic|ecp5|ice40", help="What lanes are made of.", rich_help_panel=_CORE)
    ] = "generic",
    channels: Annotated[int | None, _size(_CORE, "Output channels at a time.")] = None,
    rows: Annotated[int | None, _size(_CORE, "Output rows at a time.")] = None,
    pixels: Annotated[int | None, _size(_CORE, "Pixels of a row at a time, a power of two.")] = None,
    columns: Annotated[int | None, _size(_CORE, "Time-steps or digits at a time, a power of two.")] = None,
    banks: Annotated[int | None, _size(_CORE, "Groups of pixels seen at a time, a power of two. Default: 4.")] = None,
    trace: Annotated[
        bool, typer.Option("--trace", help="Bring out every neuron's membrane.", rich_help_panel=_CORE)
    ] = False,
    event_words: Annotated[int | None, _size(_MEMORIES, "Of each bank of the event memory.")] = None,
    weight_words: Annotated[
        int | None, _size(_MEMORIES, "Of the weight memory; layers that do not fit take several jobs.")
    ] = None,
    fetches: Annotated[int | None, _size(_MEMORIES, "Of the table of fetches.")] = None,
    taps: Annotated[int | None, _size(_MEMORIES, "Of the table of taps.")] = None,
    segments: Annotated[int | None, _size(_MEMORIES, "Of the table of segments.")] = None,
    neurons: Annotated[int | None, _size(_MEMORIES, "Of the table of neurons' constants.")] = None,
    accumulator_bits: Annotated[int | None, _size(_WIDTHS, "Of a lane.")] = None,
    state_bits: Annotated[int | None, _size(_WIDTHS, "Of accumulations and membranes.")] = None,
    membrane_bits: Annotated[int | None, _size(_WIDTHS, "To which membranes are clamped.")] = None,
    count_bits: Annotated[int | None, _size(_WIDTHS, "Of net counts.")] = None,
) -> None:
    """Export a core: the smallest one of so many lanes that holds NETWORK.h5."""
    sizes = {
        "channels": channels,
        "rows": rows,
        "pixels": pixels,
        "columns": columns,
        "banks": banks,
        "event_words": event_words,
        "weight_words": weight_words,
        "fetches": fetches,
        "taps": taps,
        "segments": segments,
        "neurons": neurons,
        "accumulator_bits": accumulator_bits,
        "state_bits": state_bits,
        "membrane_bits": membrane_bits,
        "count_bits": count_bits,
    }
    given = {name: value for name, value in sizes.items() if value is not None}
    with user_errors():
        require("amaranth", "hdl")
        from golden.case import load
        from hdl.export import check_case, check_target
        from hdl.export import export as write
        from hdl.fit import LANES, fit
        from refsnn.network import Network

        check_target(out)
        loaded = Network.load(network)
        case = None if golden is None else load(golden)
        if case is not None:
            check_case(case, loaded, steps or case.steps, image or [0])
        if lanes is None:
            lanes = prod(given[name] for name in SHAPE) if all(name in given for name in SHAPE) else LANES
        try:
            chosen, room = _steps(loaded, case, steps), _drain(loaded, drain)
            parameters = fit(loaded, chosen, room, lanes, {**given, "device": device, "trace": trace})
            record = write(loaded, network.name, out, parameters, chosen, room, case, image or [0])
        except InputError as error:
            raise InputError(f"{network}: {error}") from error
        _show(out, record)


def _steps(network: Network, case: Case | None, steps: int | None) -> int:
    """T as it was given, as the case has it, or as the network was made for."""
    chosen = steps or (network.steps if case is None else case.steps)
    if chosen is None:
        raise InputError("runs for any number of steps; say which with --steps T")
    network.check_steps(chosen)
    return chosen


def _drain(network: Network, drain: int | None) -> int:
    if drain is not None:
        return drain
    from refsnn.network import UNTIL_QUIET

    if network.drain == UNTIL_QUIET:
        raise InputError("runs until it is quiet; say with --drain N how many steps after T its events have room for")
    return network.drain


def _show(out: Path, record: Sidecar) -> None:
    parameters = record.parameters
    size = sum(file.stat().st_size for file in out.rglob("*") if file.is_file())
    rows = [
        (
            layer.name,
            " x ".join(map(str, layer.shape)),
            str(len(layer.jobs)),
            *(f"{sum(job.memories.get(name, 0) for job in layer.jobs):,}" for name in ("WEIGHTS", "FETCHES", "TAPS")),
            f"{sum(job.words for job in layer.jobs):,}",
        )
        for layer in record.layers
    ]
    title = (
        f"{out}: {record.lanes:,} lanes ({parameters.rows} x {parameters.channels} x {parameters.pixels} x "
        f"{parameters.columns}), T = {record.network.steps}, {size / 1e6:.1f} MB"
    )
    columns = ("layer", "shape", "jobs", "weight words", "fetches", "taps", "words out")
    show_table(title, columns, rows, left=("layer", "shape"))


def dump(
    core: Annotated[Path, typer.Argument(metavar="DIR", help="The exported core's folder.", show_default=False)],
    words: Annotated[
        Path,
        typer.Argument(
            metavar="WORDS", help="What a testbench wrote (+dump=WORDS): lines STEM JOB WORD.", show_default=False
        ),
    ],
    golden: Annotated[Path, typer.Option(metavar="CASE", help="A golden case of the network.", show_default=False)],
    out: Annotated[Path, typer.Option(metavar="DUMP", help="The folder to write.", show_default=False)],
    image: Annotated[int, typer.Option(metavar="K", help="Of the case, counted from 0.")] = 0,
) -> None:
    """Turn words that a core sent into the text that golden diff compares with a case."""
    with user_errors():
        require("amaranth", "hdl")
        from golden.case import load
        from hdl.dump import convert

        layers = convert(core, words, load(golden), image, out)
        print(f"{out}: {', '.join(layers)}; compare with: python -m golden diff {golden} {out}")
