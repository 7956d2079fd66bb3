"""The sweep's command line: ``python -m refsnn.sweep WEIGHTS``, or ``refsnn sweep WEIGHTS``."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from refsnn import options
from refsnn.errors import InputError
from refsnn.terminal import Bars, Version, notice, run_command, show_table, user_errors

if TYPE_CHECKING:
    from refsnn.sweep.blocks import Workers
    from refsnn.sweep.results import Sweep

HELP = """
Measure a trained network over methods, time-steps and weight bits.

Images are cut into blocks, which worker processes simulate, or the workers of
a Dask cluster. Finished blocks are kept in a folder: give the same command
again, and it goes on where it was stopped. The results are the same, bit for
bit, whoever did the work.

[bold]Examples[/bold]
  refsnn sweep examples/digits.h5 --steps 1,2,4,8,16 --bits 8,6,4
  refsnn sweep model.h5 --data test.npz --methods ecl,opi --out results
  refsnn sweep model.h5 --data test.npz --scheduler tcp://10.0.0.1:8786

The folder holds sweep.json and sweep.csv in the end, and the integer networks.

Exit status: 0 done, 2 wrong use or input or no workers, 1 anything else.
"""

_WORKERS = "Workers"


def sweep(
    weights: options.Weights,
    data: options.Data = None,
    calibration: options.Calibration = None,
    calibration_images: options.CalibrationImages = 1000,
    limit: options.Limit = None,
    scale: options.Scale = None,
    mean: options.Numbers = None,
    std: options.Numbers = None,
    methods: Annotated[str, options.methods("--methods", "--method")] = "all",
    steps: options.Steps = None,
    bits: Annotated[
        str,
        typer.Option(
            "--bits", "--weight-bits", metavar="B[,B..]", help="Weight bits, 2..8.", rich_help_panel=options.CONVERSION
        ),
    ] = "8",
    threshold: options.Threshold = None,
    per_channel: options.PerChannel = None,
    refine: options.Refine = None,
    membrane_bits: options.MembraneBits = None,
    drain: options.Drain = None,
    cap: options.Cap = None,
    negative_threshold: options.NegativeThreshold = None,
    initial_membrane: options.InitialMembrane = None,
    workers: Annotated[
        int,
        typer.Option(
            metavar="N",
            help="Processes; 0: as many as there are processors; 1: no process of its own.",
            rich_help_panel=_WORKERS,
        ),
    ] = 0,
    scheduler: Annotated[
        str | None,
        typer.Option(
            metavar="tcp://HOST:PORT",
            help="Let the workers of a Dask cluster do it (pip install 'refsnn[dask]' there and here).",
            rich_help_panel=_WORKERS,
        ),
    ] = None,
    wait: Annotated[
        float,
        typer.Option(
            metavar="SECONDS", help="How long to wait for the scheduler and its workers.", rich_help_panel=_WORKERS
        ),
    ] = 30.0,
    block: Annotated[int, typer.Option(metavar="N", help="Images in a block.", rich_help_panel=_WORKERS)] = 256,
    batch: options.Batch = 32,
    kernels: options.Kernels = "auto",
    out: Annotated[
        Path | None,
        typer.Option(
            metavar="DIR",
            help="Keep everything here. Default: NAME-sweep in the current folder, NAME that of WEIGHTS.",
            rich_help_panel=options.OUTPUT,
        ),
    ] = None,
    version: Version = False,
) -> None:
    with user_errors():
        from refsnn import files
        from refsnn.experiment import Request
        from refsnn.sweep.perform import perform

        request = Request(
            weights=weights,
            data=data,
            calibration=calibration,
            methods=options.method_names(methods),
            steps=None if steps is None else options.numbers("--steps", steps, int),
            overrides=options.overrides(
                threshold=threshold,
                per_channel=per_channel,
                refine=refine,
                membrane_bits=membrane_bits,
                drain=drain,
                cap=cap,
                negative_threshold=negative_threshold,
                initial_membrane=initial_membrane,
            ),
            calibration_images=calibration_images,
            **options.preprocessing(scale, mean, std),
            limit=limit,
            threads=workers,
            batch=batch,
            kernels=kernels,
        )
        numbers = options.numbers("--bits", bits, int)
        if not weights.is_file():
            raise InputError(f"{weights}: there is no such file")
        folder = out or Path(f"{weights.stem}-sweep")
        with crew(workers, scheduler, wait) as who, Bars() as bars:
            found = perform(request, who, folder, bits=numbers, block=block, progress=bars)
        show(found)
        files.write_text(folder / "sweep.json", found.json())
        files.write_text(folder / "sweep.csv", found.csv())
        notice(f"sweep.json and sweep.csv are in {folder}")


def main() -> None:
    """Run the command."""
    run_command(sweep, HELP, "refsnn sweep")


@contextmanager
def crew(number: int, scheduler: str | None, wait: float) -> Iterator[Workers]:
    """Who does the work."""
    if number < 0:
        raise InputError(f"--workers is {number}; at least 0 was expected (0: as many as there are processors)")
    if scheduler is not None:
        from refsnn.sweep.cluster import Cluster

        cluster = Cluster(scheduler, wait)
        try:
            yield cluster
        finally:
            cluster.close()
    else:
        from refsnn.sweep.local import local

        yield local(number)


def show(found: Sweep) -> None:
    """A table for each number of weight bits on stdout, notes on stderr."""
    from refsnn.analysis.table import main as table

    said = [note for results in found.results.values() for note in results.notes]
    said += [
        f"{item.method} at T = {item.steps} with {bits}-bit weights did not run: {item.reason}"
        for bits, results in found.results.items()
        for item in results.refused
    ]
    for note in dict.fromkeys([*found.notes, *said]):
        notice(note)
    for bits, results in found.results.items():
        content = table(results, timed=True)
        title = f"{results.weights.name} on {results.data.images:,} images of {results.data.name}, {bits}-bit weights"
        rows = [row.cells for row in content.rows]
        show_table(title, content.columns, rows, breaks=[row.first for row in content.rows])
        print()
