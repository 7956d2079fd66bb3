"""Convert a trained network and distil it into its own integers (``docs/accuracy.md``).

    python -m tools.distil weights.h5 --data DATA --method ecl --steps 4 --out network.h5

It takes the calibration images, unlabelled, and writes an integer network, which ``refsnn run`` runs.
"""

from __future__ import annotations

from refsnn.errors import InputError, require

require("torch", "train")

import os
import time
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import numpy as np
import torch
import typer
from numpy.typing import NDArray

from refsnn import experiment, files, options
from refsnn.ann import Model
from refsnn.api import load, origin
from refsnn.convert import METHODS, finish, fit, preset
from refsnn.network import Network
from refsnn.simulate import simulate
from refsnn.terminal import notice, run_command, user_errors
from tools.distillation import Settings, distil
from tools.spiking import SpikingNetwork


def main(
    weights: options.Weights,
    method: Annotated[str, typer.Option(help=f"One of {', '.join(METHODS)}.")],
    steps: Annotated[int, typer.Option(metavar="T", help="Time-steps.", min=1)],
    out: Annotated[Path, typer.Option(metavar="FILE", help="The integer network (refsnn-network) to write.")],
    data: options.Data = None,
    calibration: options.Calibration = None,
    calibration_images: options.CalibrationImages = 8000,
    limit: options.Limit = None,
    scale: options.Scale = None,
    mean: options.Numbers = None,
    std: options.Numbers = None,
    threshold: options.Threshold = None,
    per_channel: options.PerChannel = None,
    refine: options.Refine = "weights",
    weight_bits: options.WeightBits = None,
    epochs: Annotated[int, typer.Option(help="How often every image is seen.", min=1)] = Settings.epochs,
    batch: Annotated[int, typer.Option(help="Images in a step.", min=1)] = Settings.batch,
    rate: Annotated[float, typer.Option(help="Learning rate, relative to a tensor's mean size.")] = Settings.rate,
    flip: Annotated[bool, typer.Option(help="Mirror half of the images.")] = Settings.flip,
    shift: Annotated[int, typer.Option(help="Move images by up to so many pixels.", min=0)] = Settings.shift,
    seed: Annotated[int, typer.Option(min=0)] = Settings.seed,
    threads: options.Threads = 0,
) -> None:
    """Convert, distil, measure both on the test images, and write the integer network."""
    torch.set_num_threads(threads or os.cpu_count() or 1)
    with user_errors():
        files.check_target(out)
        model = load(weights)
        if not isinstance(model, Model):
            raise InputError(f"{weights}: is an integer network already; a trained network was expected")
        request = experiment.Request(
            weights=weights,
            data=data,
            calibration=calibration,
            calibration_images=calibration_images,
            methods=(method,),
            overrides=options.overrides(
                threshold=threshold, per_channel=per_channel, refine=refine, weight_bits=weight_bits
            ),
            **options.preprocessing(scale, mean, std),
            limit=limit,
            threads=threads,
        )
        material = experiment.gather(request, model, experiment.Silent())
        for note in material.notes:
            notice(note)
        if material.calibration is None:
            raise InputError(f"{weights}: distilling needs calibration images: give --refine, or a --threshold rule")
        chosen = preset(method, **request.overrides)
        fitted = fit(model.graph, chosen, steps, material.preprocessing, material.calibration)
        images, labels = material.selection.evaluation.images, material.labels
        judge(weights.name, material.logits.argmax(1), labels)
        before = finish(fitted, chosen, [steps]).network
        judge(f"{method}, T = {steps}, converted", predict(before, images, steps, threads), labels)

        started = time.perf_counter()
        unlabelled = material.calibration.images
        how = Settings(epochs=epochs, batch=batch, rate=rate, flip=flip, shift=shift, seed=seed)
        network = SpikingNetwork(fitted, chosen, steps, material.preprocessing)
        learned = distil(
            network,
            fitted.graph,
            unlabelled,
            how,
            threads=threads,
            report=lambda epoch, loss: notice(f"epoch {epoch} of {epochs}: divergence {loss:.4f}"),
        )
        told = {**asdict(how), "images": len(unlabelled)}
        after = finish(learned, chosen, [steps], {**origin(model), "distilled": told}).network
        judge(f"{method}, T = {steps}, distilled", predict(after, images, steps, threads), labels)
        after.save(out)
        notice(f"{out}: distilled in {time.perf_counter() - started:.0f} s")


def predict(network: Network, images: NDArray[np.uint8], steps: int, threads: int) -> NDArray[np.int64]:
    predictions: NDArray[np.int64] = simulate(network, images, steps, threads=threads).predictions[0]
    return predictions


def judge(what: str, predictions: NDArray[np.int64], labels: NDArray[np.int64] | None) -> None:
    """Say how many predictions are right, if that is known."""
    if labels is not None:
        typer.echo(f"{what}: {int((predictions == labels).sum())} of {len(labels)} right")


if __name__ == "__main__":
    run_command(main, __doc__ or "", "python -m tools.distil")
