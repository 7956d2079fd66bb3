"""Where conversion loses: each layer's error split in three, method by method, as a table and as pictures.

    python -m tools.error_study digits fashion-resnet8 mlperf-resnet8

Networks are those of ``tools/reproduce.py``. The pictures go to ``docs/pictures``, the table to stdout.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import numpy as np
import typer

from refsnn import files, options
from refsnn.analysis.diagnosis import IMAGES, Diagnosis
from refsnn.analysis.pictures import errors
from refsnn.errors import InputError
from refsnn.experiment import Request, diagnose_all, perform
from refsnn.terminal import notice, run_command, user_errors
from tools.reproduction.entries import ROOT, Entry, Places, entries

METHODS = ("ecl", "qcfs", "spikeconverter", "spikeconverter-rate")
PARTS = ("clipping", "quantisation", "unevenness")


def study(
    names: Annotated[list[str], typer.Argument(metavar="NAME..", help="Networks of tools/reproduce.py.")],
    steps: Annotated[str, typer.Option(metavar="T[,T..]", help="Numbers of time-steps.")] = "2,4,8",
    picture: Annotated[int, typer.Option(metavar="T", help="The one of the pictures.")] = 4,
    pictures: Annotated[Path, typer.Option(metavar="DIR", help="Where they go.")] = ROOT / "docs" / "pictures",
    threads: Annotated[int, typer.Option(metavar="N", help="0: one a processor.")] = 0,
) -> None:
    """Split each layer's conversion error into clipping, quantisation and unevenness."""
    with user_errors():
        known = {entry.name: entry for entry in entries(Places.usual())}
        wanted = options.numbers("--steps", steps, int)
        print(row("network", "method", "T", *(f"{part}, %" for part in PARTS), "sum, %"))
        print("|" + "---|" * (len(PARTS) + 4))
        for name in names:
            if name not in known or known[name].missing:
                raise InputError(f"'{name}': {known[name].missing if name in known else 'there is no such network'}")
            for t in wanted:
                found = measure(known[name], t, threads)
                for each in found:
                    means = split(each)
                    print(row(name, each.methods[0], str(t), *(f"{100 * mean:.1f}" for mean in (*means, sum(means)))))
                if t == picture:
                    files.write_text(pictures / f"errors-{name}.svg", errors(found))
        notice(f"means over the layers, {IMAGES} images; pictures at T = {picture} are in {pictures}")


def measure(entry: Entry, steps: int, threads: int = 0) -> tuple[Diagnosis, ...]:
    """A diagnosis of every method at one T."""
    assert entry.weights is not None
    request = Request(
        weights=entry.weights, data=entry.images, methods=METHODS, steps=(steps,), limit=IMAGES, threads=threads
    )
    return diagnose_all(perform(request), threads=threads)


def split(diagnosis: Diagnosis) -> tuple[float, ...]:
    """The means over the layers of the three parts."""
    return tuple(float(np.mean([getattr(layer.error, part) for layer in diagnosis.layers])) for part in PARTS)


def row(*cells: str) -> str:
    """A line of a table."""
    return f"| {' | '.join(cells)} |"


def main() -> None:
    """Run the command."""
    run_command(study, study.__doc__ or "", "error_study")


if __name__ == "__main__":
    main()
