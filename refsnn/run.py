"""The main job's command line: ``python -m refsnn.run WEIGHTS``, or ``refsnn run WEIGHTS``."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, TypeVar

import typer

from refsnn.errors import InputError
from refsnn.terminal import Bars, Version, notice, run_command, show_table, user_errors

if TYPE_CHECKING:
    from refsnn.experiment import Request
    from refsnn.results import Results

Value = TypeVar("Value")

HELP = """
Convert a trained network to an exact integer spiking network, and measure it.

WEIGHTS is a Keras model saved with its architecture (.h5, .keras), a NIR
graph, a refsnn-ann file, or an integer network that refsnn wrote.

[bold]Examples[/bold]
  refsnn run examples/fashion_resnet8.h5 --out out
  refsnn run model.h5 --data cifar-10-batches-py --scale 255
  refsnn run model.h5 --data test.npz --calibration train.npz
      --method ecl,opi --steps 4,8,16 --threshold mse

[bold]Methods[/bold]
  ecl                  dual threshold: negative spikes take back early ones
  qcfs, opi            plain integrate-and-fire from half the threshold
  spikeconverter       accumulate, then send a binary code of T bits
  spikeconverter-rate  accumulate, then send up to T equal spikes
  snm, fast_snn        other dual thresholds, by name

[bold]The table[/bold]
  accuracy        of the labels; the first line is the trained network (ANN)
  difference      to the ANN, in percentage points
  agreement       how often the ANN predicts the same
  output error    without softmax: RMS difference of outputs, relative
  spikes/image    sum of |s| over all spiking neurons and time-steps
  syn. ops/image  in-bounds synapses of these spikes, an addition each
  saturations     membranes clamped to their width, over images and steps
  images/s        measured; the only figure that another run may change

Exit status: 0 done, 2 wrong use or input, 1 anything else.
"""

_IMAGES, _CONVERSION, _RUNNING, _OUTPUT = "Images", "Conversion", "Simulation", "Output"


def run(
    weights: Annotated[Path, typer.Argument(metavar="WEIGHTS", help="The network's file.", show_default=False)],
    data: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE-OR-FOLDER",
            help="Images to measure on: .npz, IDX (MNIST), CIFAR archives, a folder of images per class, refsnn-data. "
            "Default: the images inside WEIGHTS.",
            rich_help_panel=_IMAGES,
        ),
    ] = None,
    calibration: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE-OR-FOLDER",
            help="Images to choose thresholds on. Default: the train split of the data, or those inside WEIGHTS, or "
            "the first of the data, which are then left out of the figures.",
            rich_help_panel=_IMAGES,
        ),
    ] = None,
    calibration_images: Annotated[
        int, typer.Option(metavar="N", help="Calibrate on at most N images.", rich_help_panel=_IMAGES)
    ] = 1000,
    limit: Annotated[
        int | None, typer.Option(metavar="N", help="Measure on at most N images.", rich_help_panel=_IMAGES)
    ] = None,
    scale: Annotated[
        float | None,
        typer.Option(
            metavar="X",
            help="The network expects (byte / scale - mean) / std. Default: what the file says, else raw bytes.",
            rich_help_panel=_IMAGES,
        ),
    ] = None,
    mean: Annotated[
        str | None, typer.Option(metavar="X[,X..]", help="One number, or one a channel.", rich_help_panel=_IMAGES)
    ] = None,
    std: Annotated[
        str | None, typer.Option(metavar="X[,X..]", help="One number, or one a channel.", rich_help_panel=_IMAGES)
    ] = None,
    method: Annotated[
        str,
        typer.Option(
            metavar="NAME[,NAME..]",
            help="ecl, qcfs, opi, spikeconverter, spikeconverter-rate, snm, fast_snn; all: the first five.",
            rich_help_panel=_CONVERSION,
        ),
    ] = "all",
    steps: Annotated[
        str | None,
        typer.Option(metavar="T[,T..]", help="Numbers of time-steps. Default: 1,2,4,8.", rich_help_panel=_CONVERSION),
    ] = None,
    threshold: Annotated[
        str | None,
        typer.Option(
            metavar="RULE",
            help="learned, max, percentile:P, or mse (least squared error at each T). Default: learned where the file "
            "has them, else percentile:99.9.",
            rich_help_panel=_CONVERSION,
        ),
    ] = None,
    per_channel: Annotated[
        bool | None,
        typer.Option(
            "--per-channel/--per-layer",
            help="A threshold for each channel, or one for each layer. Default: per layer.",
            rich_help_panel=_CONVERSION,
        ),
    ] = None,
    weight_bits: Annotated[
        int | None, typer.Option(metavar="2..8", help="Default: 8.", rich_help_panel=_CONVERSION)
    ] = None,
    membrane_bits: Annotated[
        str | None,
        typer.Option(
            metavar="auto|8..32",
            help="Default: auto, the smallest width that cannot saturate.",
            rich_help_panel=_CONVERSION,
        ),
    ] = None,
    drain: Annotated[
        str | None,
        typer.Option(
            metavar="N|quiet",
            help="Steps without input after the T, in rate schedules; quiet: until no neuron fires, which makes the "
            "dual neuron exact. Default: the method's, 0.",
            rich_help_panel=_CONVERSION,
        ),
    ] = None,
    cap: Annotated[
        str | None,
        typer.Option(
            metavar="T|none|N",
            help="The largest net count of a neuron. Default: the method's (ecl, fast_snn: T).",
            rich_help_panel=_CONVERSION,
        ),
    ] = None,
    negative_threshold: Annotated[
        float | None,
        typer.Option(
            metavar="0..1",
            help="Of dual neurons, as a fraction of the threshold. Default: the method's (ecl 0, snm 1).",
            rich_help_panel=_CONVERSION,
        ),
    ] = None,
    initial_membrane: Annotated[
        float | None,
        typer.Option(
            metavar="0..1",
            help="As a fraction of the threshold. Default: the method's (0.5, snm 0).",
            rich_help_panel=_CONVERSION,
        ),
    ] = None,
    threads: Annotated[
        int, typer.Option(metavar="N", help="0: as many as there are processors.", rich_help_panel=_RUNNING)
    ] = 0,
    batch: Annotated[
        int, typer.Option(metavar="N", help="Images that a thread simulates at a time.", rich_help_panel=_RUNNING)
    ] = 32,
    kernels: Annotated[
        str,
        typer.Option(
            metavar="NAME",
            help="amx, vnni, avx2, portable or auto; all give the same integers.",
            rich_help_panel=_RUNNING,
        ),
    ] = "auto",
    out: Annotated[
        Path | None,
        typer.Option(
            metavar="DIR",
            help="Write results.json, the integer networks, predictions.h5 (every image's logits and prediction) and "
            "report.html.",
            rich_help_panel=_OUTPUT,
        ),
    ] = None,
    report: Annotated[
        bool, typer.Option("--report/--no-report", help="With --out: the HTML report.", rich_help_panel=_OUTPUT)
    ] = True,
    json: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Write the results as JSON.", rich_help_panel=_OUTPUT)
    ] = None,
    version: Version = False,
) -> None:
    from refsnn.experiment import Request

    with user_errors():
        request = Request(
            weights=weights,
            data=data,
            calibration=calibration,
            methods=None if method.strip() == "all" else _names(method),
            steps=None if steps is None else numbers("--steps", steps, int),
            overrides={
                name: value
                for name, value in (
                    ("threshold", threshold),
                    ("per_channel", per_channel),
                    ("weight_bits", weight_bits),
                    ("membrane_bits", _word("--membrane-bits", membrane_bits, {"auto": None})),
                    ("drain", _word("--drain", drain, {"quiet": -1})),
                    ("cap", _word("--cap", cap, {"T": -1, "none": 0})),
                    ("negative_threshold", negative_threshold),
                    ("initial_membrane", initial_membrane),
                )
                if value is not None
            },
            calibration_images=calibration_images,
            scale=scale,
            mean=None if mean is None else numbers("--mean", mean, float),
            std=None if std is None else numbers("--std", std, float),
            limit=limit,
            threads=threads,
            batch=batch,
            kernels=kernels,
        )
        _execute(request, out, report, json)


def main() -> None:
    """Run the command."""
    run_command(run, HELP, "refsnn run")


def _execute(request: Request, out: Path | None, report: bool, json: Path | None) -> None:
    from refsnn import files, output
    from refsnn.experiment import diagnose_all, perform

    if out is not None:
        if report:
            from refsnn.analysis.report import check_installed

            check_installed()
        output.prepare(out)
    if json is not None and not json.absolute().parent.is_dir():
        raise InputError(f"{json}: there is no folder {json.absolute().parent}; make it, or name another file")
    with Bars() as bars:
        outcome = perform(request, bars)
        diagnoses = None
        if out is not None and report:
            diagnoses = diagnose_all(outcome, threads=request.threads, progress=bars)
    for note in outcome.results.notes:
        notice(note)
    for each in outcome.results.refused:
        notice(f"{each.method} at T = {each.steps} did not run: {each.reason}")
    _show(outcome.results)
    if out is not None:
        output.write(out, outcome, diagnoses)
    if json is not None:
        files.write_text(json, outcome.results.json())


def _show(results: Results) -> None:
    """The table on stdout."""
    from refsnn.analysis.table import main

    content = main(results, timed=True)
    data = results.data
    title = f"{results.weights.name} on {data.images:,} images of {data.name}"
    show_table(title, content.columns, [row.cells for row in content.rows], breaks=[row.first for row in content.rows])


def _names(text: str) -> tuple[str, ...]:
    from refsnn.experiment import METHODS

    names = [name.strip() for name in text.split(",") if name.strip()]
    return tuple(dict.fromkeys(each for name in names for each in (METHODS if name == "all" else (name,))))


def numbers(option: str, text: str, kind: Callable[[str], Value]) -> tuple[Value, ...]:
    try:
        return tuple(kind(part) for part in text.split(","))
    except ValueError as error:
        raise InputError(f"{option} is '{text}'; numbers with commas between them were expected") from error


def _word(option: str, text: str | None, words: Mapping[str, int | None]) -> int | None:
    """A number, or a word that stands for one."""
    if text is None or text in words:
        return None if text is None else words[text]
    try:
        return int(text)
    except ValueError as error:
        raise InputError(f"{option} is '{text}'; {' or '.join(words)} or a number was expected") from error


if __name__ == "__main__":
    main()
