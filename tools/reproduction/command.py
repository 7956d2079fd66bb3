"""The command: sweep over every entry, write the page."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import Annotated

import typer

from refsnn import files, options
from refsnn.errors import InputError
from refsnn.experiment import Request
from refsnn.sweep.command import crew
from refsnn.sweep.perform import perform
from refsnn.sweep.results import Sweep
from refsnn.terminal import Bars, notice, run_command, user_errors
from tools.reproduction.entries import ROOT, Entry, Places, entries, unpacked
from tools.reproduction.page import page

HELP = """
Measure every network that the project knows, by all methods, at many T and
with several weight bits, and write docs/results.md.

It goes on where it was stopped: finished blocks are kept in --work. Networks
that are not trained, and data that are not there, are said to be so.

[bold]Examples[/bold]
  python tools/reproduce.py
  python tools/reproduce.py digits mlperf-resnet8 --limit 2000
"""


def reproduce(
    names: Annotated[list[str] | None, typer.Argument(metavar="[NAME..]", help="Default: all.")] = None,
    steps: Annotated[str, typer.Option(metavar="T[,T..]", help="Numbers of time-steps.")] = "1,2,4,8,16,32",
    bits: Annotated[str, typer.Option(metavar="B[,B..]", help="Weight bits.")] = "8,6,4",
    limit: Annotated[int | None, typer.Option(metavar="N", help="At most N images of each data set.")] = None,
    data: Annotated[
        Path | None, typer.Option(metavar="DIR", help="The data that do not ship. Default: REFSNN_SHARED_DATA.")
    ] = None,
    fashion: Annotated[Path | None, typer.Option(metavar="DIR", help="Fashion-MNIST.")] = None,
    weights: Annotated[
        Path | None, typer.Option(metavar="DIR", help="Networks trained by tools/recipes. Default: examples.")
    ] = None,
    work: Annotated[Path, typer.Option(metavar="DIR", help="What is done is kept here.")] = ROOT / "runs" / "reproduce",
    out: Annotated[Path, typer.Option(metavar="FILE", help="The page.")] = ROOT / "docs" / "results.md",
    workers: Annotated[int, typer.Option(metavar="N", help="Processes; 0: one a processor.")] = 0,
    scheduler: Annotated[str | None, typer.Option(metavar="tcp://HOST:PORT", help="A Dask cluster instead.")] = None,
    wait: Annotated[float, typer.Option(metavar="SECONDS", help="For the scheduler.")] = 30.0,
) -> None:
    with user_errors():
        usual = Places.usual()
        places = Places(data=data or usual.data, fashion=fashion or usual.fashion, weights=weights or usual.weights)
        known = {entry.name: entry for entry in entries(places)}
        unknown = [name for name in names or () if name not in known]
        if unknown:
            raise InputError(f"there is no network '{unknown[0]}'; there are {', '.join(known)}")
        chosen = [known[name] for name in names] if names else list(known.values())
        every_t, every_b = options.numbers("--steps", steps, int), options.numbers("--bits", bits, int)
        measured: list[tuple[Entry, Sweep | None]] = []
        with crew(workers, scheduler, wait) as who:
            for entry in chosen:
                if entry.missing:
                    notice(f"{entry.name}: {entry.missing}")
                    measured.append((entry, None))
                    continue
                notice(f"{entry.name}: {entry.network} on {entry.data}")
                with Bars() as bars:
                    request = _request(entry, every_t, limit, workers, work)
                    measured.append((entry, perform(request, who, work / entry.name, bits=every_b, progress=bars)))
        said = ["python tools/reproduce.py", *(shlex.quote(name) for name in names or ())]
        for option, value, default in (
            ("--steps", steps, "1,2,4,8,16,32"),
            ("--bits", bits, "8,6,4"),
            ("--limit", limit, None),
        ):
            said += [f"{option} {value}"] * (value != default)
        files.write_text(out, page(measured, steps=every_t, bits=every_b, command=" ".join(said)))
        notice(f"{out} is written")


def _request(entry: Entry, steps: tuple[int, ...], limit: int | None, threads: int, work: Path) -> Request:
    assert entry.weights is not None
    work.mkdir(parents=True, exist_ok=True)
    return Request(weights=entry.weights, data=unpacked(entry.images, work), steps=steps, limit=limit, threads=threads)


def main() -> None:
    """Run the command."""
    run_command(reproduce, HELP, "reproduce")
