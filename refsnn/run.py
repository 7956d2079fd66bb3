"""The main job's command line: ``python -m refsnn.run WEIGHTS``, or ``refsnn run WEIGHTS``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from refsnn import options
from refsnn.terminal import Bars, Version, notice, run_command, show_table, user_errors

if TYPE_CHECKING:
    from refsnn.experiment import Request
    from refsnn.results import Results

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


def run(
    weights: options.Weights,
    data: options.Data = None,
    calibration: options.Calibration = None,
    calibration_images: options.CalibrationImages = 1000,
    limit: options.Limit = None,
    scale: options.Scale = None,
    mean: options.Numbers = None,
    std: options.Numbers = None,
    method: Annotated[str, options.methods()] = "all",
    steps: options.Steps = None,
    threshold: options.Threshold = None,
    per_channel: options.PerChannel = None,
    refine: options.Refine = None,
    weight_bits: options.WeightBits = None,
    membrane_bits: options.MembraneBits = None,
    drain: options.Drain = None,
    cap: options.Cap = None,
    negative_threshold: options.NegativeThreshold = None,
    initial_membrane: options.InitialMembrane = None,
    threads: options.Threads = 0,
    batch: options.Batch = 32,
    kernels: options.Kernels = "auto",
    out: Annotated[
        Path | None,
        typer.Option(
            metavar="DIR",
            help="Write results.json, the integer networks, predictions.h5 (every image's logits and prediction) and "
            "report.html.",
            rich_help_panel=options.OUTPUT,
        ),
    ] = None,
    report: Annotated[
        bool, typer.Option("--report/--no-report", help="With --out: the HTML report.", rich_help_panel=options.OUTPUT)
    ] = True,
    json: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Write the results as JSON.", rich_help_panel=options.OUTPUT)
    ] = None,
    version: Version = False,
) -> None:
    from refsnn.experiment import Request

    with user_errors():
        request = Request(
            weights=weights,
            data=data,
            calibration=calibration,
            methods=options.method_names(method),
            steps=None if steps is None else options.numbers("--steps", steps, int),
            overrides=options.overrides(
                threshold=threshold,
                per_channel=per_channel,
                refine=refine,
                weight_bits=weight_bits,
                membrane_bits=membrane_bits,
                drain=drain,
                cap=cap,
                negative_threshold=negative_threshold,
                initial_membrane=initial_membrane,
            ),
            calibration_images=calibration_images,
            **options.preprocessing(scale, mean, std),
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
    if json is not None:
        files.check_target(json)
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


if __name__ == "__main__":
    main()
