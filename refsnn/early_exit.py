"""``refsnn early-exit WEIGHTS``: what stopping early costs and saves, by the proved bound and by margins."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from refsnn import options
from refsnn.errors import InputError
from refsnn.terminal import Bars, Version, notice, show_table, user_errors

if TYPE_CHECKING:
    from refsnn.analysis.early_exit import Exits
    from refsnn.experiment import Request

HELP = """
Stop before all T steps have run, and see what it saves and costs.

Three kinds of rule: a smaller T for every image; the proved bound, which stops
when nothing that may still happen can change the answer; and margins, which
stop when the largest logit is so far ahead of the second. For methods in rate
schedules: ecl, qcfs, opi, snm, fast_snn.

[bold]Examples[/bold]
  refsnn early-exit examples/digits.h5 --method ecl --steps 32
  refsnn early-exit model.h5 --data test.npz --margins 1,2,5

[bold]The table[/bold]
  mean steps      of all images
  early           images that stopped before T
  accuracy        of the labels
  agreement       with the answers of all T steps
"""


def early_exit(
    weights: options.Weights,
    data: options.Data = None,
    calibration: options.Calibration = None,
    calibration_images: options.CalibrationImages = 1000,
    limit: options.Limit = None,
    scale: options.Scale = None,
    mean: options.Numbers = None,
    std: options.Numbers = None,
    method: Annotated[
        str, typer.Option(metavar="NAME", help="One method.", rich_help_panel=options.CONVERSION)
    ] = "ecl",
    steps: Annotated[int, typer.Option(metavar="T", help="The most steps.", rich_help_panel=options.CONVERSION)] = 16,
    margins: Annotated[
        str, typer.Option(metavar="X[,X..]", help="In the unit of the logits.", rich_help_panel=options.CONVERSION)
    ] = "1,2,4,8",
    threshold: options.Threshold = None,
    per_channel: options.PerChannel = None,
    weight_bits: options.WeightBits = None,
    threads: options.Threads = 0,
    kernels: options.Kernels = "auto",
    json: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Write the table as JSON.", rich_help_panel=options.OUTPUT)
    ] = None,
    version: Version = False,
) -> None:
    with user_errors():
        from refsnn.experiment import Request

        request = Request(
            weights=weights,
            data=data,
            calibration=calibration,
            methods=(method.strip(),),
            steps=(steps,),
            overrides=options.overrides(threshold=threshold, per_channel=per_channel, weight_bits=weight_bits),
            calibration_images=calibration_images,
            **options.preprocessing(scale, mean, std),
            limit=limit,
            threads=threads,
            kernels=kernels,
        )
        wanted = options.numbers("--margins", margins, float)
        if not all(each >= 0 for each in wanted):
            raise InputError(f"--margins is '{margins}'; numbers of at least 0 were expected")
        document = measure(request, wanted)
        for note in document["notes"]:
            notice(note)
        _show(document)
        if json is not None:
            import json as text

            from refsnn import files

            files.write_text(json, text.dumps(document, indent=2) + "\n")


def measure(request: Request, margins: tuple[float, ...]) -> dict[str, Any]:
    """Stop a method's network by every rule.

    Args:
        request: with one method and one T.
        margins: in the unit of the logits.

    Returns:
        What ``--json`` writes: schema ``refsnn-early-exit``, with a row a rule.

    Raises:
        InputError: of the main job; a method without a rate schedule; outputs that are not classes.
    """
    import numpy as np

    from refsnn.analysis import early_exit as rules
    from refsnn.api import load
    from refsnn.experiment import gather, plan_methods
    from refsnn.network import Network
    from refsnn.simulate import simulate

    (method,), (steps,) = request.methods or (), request.steps or ()
    if steps < 1:
        raise InputError(f"steps is {steps}; at least 1 was expected")
    model = load(request.weights)
    if isinstance(model, Network):
        raise InputError(f"{request.weights}: is an integer network already; a trained network was expected")
    with Bars() as bars:
        plan = plan_methods(request, gather(request, model, bars), bars)
        if not plan.jobs:
            raise next(iter(plan.refused.values()))
        network, images = plan.jobs[0].network, plan.images
        rules.check(network)
        bars.stage(f"{method}, every T to {steps}", len(images))
        simulation = simulate(
            network,
            images,
            tuple(range(1, steps + 1)),
            kernels=request.kernels,
            threads=request.threads,
            batch=request.batch,
            progress=bars.advance,
        )
    last = simulation.predictions[-1]

    def row(rule: str, exits: Exits) -> dict[str, Any]:
        return {
            "rule": rule,
            "mean_steps": float(exits.steps.mean()),
            "early": float((exits.steps < steps).mean()),
            "accuracy": None if plan.labels is None else float((exits.answers == plan.labels).mean()),
            "agreement": float((exits.answers == last).mean()),
        }

    fixed = sorted({*(1 << power for power in range(steps.bit_length())), steps})
    rows = [
        row(f"T = {t}", rules.Exits(steps=np.full(len(images), t), answers=simulation.predictions[t - 1]))
        for t in fixed
    ]
    rows.append(row("proved", rules.proved(network, simulation)))
    rows += [row(f"margin {margin:g}", rules.by_margin(network, simulation, margin)) for margin in margins]
    return {
        "schema": "refsnn-early-exit",
        "version": 1,
        "weights": plan.weights.name,
        "data": plan.data.name,
        "images": len(images),
        "method": method,
        "steps": steps,
        "weight_bits": request.overrides.get("weight_bits", 8),
        "ann_accuracy": plan.ann.accuracy,
        "rules": rows,
        "notes": list(plan.notes),
    }


def _show(document: dict[str, Any]) -> None:
    from refsnn.analysis.table import percent

    columns = ("rule", "mean steps", "early", "accuracy", "agreement")
    rows = [
        (
            each["rule"],
            f"{each['mean_steps']:.2f}",
            percent(each["early"]),
            percent(each["accuracy"]),
            percent(each["agreement"]),
        )
        for each in document["rules"]
    ]
    about = f"{document['weights']} on {document['images']:,} images of {document['data']}"
    show_table(f"{about}, {document['method']}, T = {document['steps']}", columns, rows, left=("rule",))
