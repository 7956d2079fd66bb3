"""Train a network of the zoo and write it as ``refsnn-ann`` (``docs/training.md``).

``python -m tools.train --recipe tools/recipes/fashion-resnet20-qcfs.toml --data FOLDER --out weights.h5``
"""

from __future__ import annotations

from refsnn.errors import require

require("torch", "train")

import hashlib
import json
import os
from dataclasses import asdict, fields, replace
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import torch
import typer

from refsnn import files
from refsnn.ann import project
from refsnn.data import Dataset
from refsnn.data.readers import Splits, read
from refsnn.terminal import run_command, user_errors
from tools import export, numbers, options, recipes
from tools.training import Epoch, Settings, evaluate, train


def digits() -> Splits:
    """scikit-learn's digits: the last 1,000 of its 1,797 images for the test, 0..16 stretched to the bytes 0..255."""
    bunch = require("sklearn.datasets", "test").load_digits()
    images = np.rint(bunch.images * (255 / 16)).astype(np.uint8)[:, None]
    everything = Dataset(
        images=images,
        labels=bunch.target.astype(np.int64),
        class_names=tuple(str(name) for name in bunch.target_names),
        name="digits",
    )
    return Splits(test=everything[-1000:], train=everything[:-1000])


def _follow(context: typer.Context, recipe: Path | None) -> Path | None:
    """The action of ``--recipe``: what it says becomes the defaults of the other options."""
    if recipe is not None:
        known = {str(parameter.name) for parameter in context.command.params} - {"recipe", "help"}
        with user_errors():
            context.default_map = {**(context.default_map or {}), **recipes.read(recipe, known)}
    return recipe


def main(
    context: typer.Context,
    data: Annotated[str, typer.Option(help="'digits' (scikit-learn), or any file or folder that refsnn reads.")],
    out: Annotated[Path, typer.Option(help="The refsnn-ann file to write; the log goes beside it, as .json.")],
    recipe: Annotated[
        Path | None,
        typer.Option(
            help="A file of options (tools/recipes); those given replace its.", callback=_follow, is_eager=True
        ),
    ] = None,
    network: options.Network = "resnet8",
    width: options.Width = None,
    stem: options.Stem = None,
    pool: options.Pool = None,
    hidden: options.Hidden = None,
    bottleneck: options.Bottleneck = None,
    activation: options.Activation = "qcfs",
    levels: options.Levels = 4,
    epochs: Annotated[int, typer.Option(min=1)] = 30,
    batch: Annotated[int, typer.Option(min=1)] = 128,
    rate: Annotated[float, typer.Option(help="Learning rate at its peak.")] = 0.1,
    momentum: Annotated[float, typer.Option()] = 0.9,
    decay: Annotated[float, typer.Option(help="Weight decay of convolutions and linear layers.")] = 5e-4,
    smoothing: Annotated[float, typer.Option(help="Label smoothing.")] = 0.0,
    flip: Annotated[bool, typer.Option(help="Mirror half of the images.")] = False,
    shift: Annotated[int, typer.Option(help="Move images by up to so many pixels.", min=0)] = 0,
    cutout: Annotated[int, typer.Option(help="Blank a square with sides of so many pixels.", min=0)] = 0,
    bf16: Annotated[bool, typer.Option(help="bfloat16 autocast: faster where the processor has it.")] = False,
    compiled: Annotated[
        bool, typer.Option(help="Through torch.compile (needs a C++ compiler): twice as fast.")
    ] = False,
    seed: Annotated[int, typer.Option(min=0)] = 0,
    scale: options.Scale = 255.0,
    mean: options.Mean = "0",
    std: options.Std = "1",
    class_names: Annotated[str, typer.Option(help="Names of the classes, separated by commas.")] = "",
    test_images: Annotated[int, typer.Option(help="Test images stored in the file: the first ones.", min=0)] = 1000,
    calibration_images: Annotated[
        int, typer.Option(help="Calibration images stored: the first of the training split.", min=0)
    ] = 256,
    half: options.Half = False,
    checkpoint: Annotated[Path | None, typer.Option(help="Written after every epoch.")] = None,
    resume: Annotated[bool, typer.Option(help="Go on from the checkpoint where it exists.")] = False,
    threads: Annotated[int, typer.Option(help="0: as many as there are cores.", min=0)] = 0,
) -> None:
    torch.set_num_threads(threads or os.cpu_count() or 1)
    with user_errors():
        given = {field.name: context.params[field.name] for field in fields(Settings)}
        given |= {"mean": numbers.read("mean", mean), "std": numbers.read("std", std)}
        settings = Settings(**given)
        splits = digits() if data == "digits" else read(data)
        if class_names:
            names = tuple(class_names.split(","))
            splits = Splits(test=replace(splits.test, class_names=names), train=splits.train)
        device = "cuda" if torch.cuda.is_available() else "cpu"
        log: dict[str, Any] = {
            "settings": asdict(settings),
            "recipe": recipe and recipe.name,
            "data": {role: _digest(part) for role, part in (("train", splits.train), ("test", splits.test))},
            "made_with": {"torch": torch.__version__, "device": device, "threads": torch.get_num_threads()},
        }

        def report(done: tuple[Epoch, ...]) -> None:
            typer.echo(f"{done[-1]} (of {epochs})", err=True)
            _write_log(out, log, done)

        trained = train(settings, splits, checkpoint=checkpoint, resume=resume, device=device, report=report)
        if half:
            export.halve(trained.network)
        accuracy = evaluate(trained.network, splits.test, settings, device)
        parameters = sum(p.numel() for p in trained.network.parameters())
        shape = splits.test.images.shape[1:]
        graph = export.export(trained.network.cpu(), (shape[0], shape[1], shape[2]), settings.preprocessing)
        assert splits.train is not None
        project.write(
            out,
            graph,
            writer=f"refsnn tools.train, PyTorch {torch.__version__}",
            test=splits.test[:test_images] if test_images else None,
            calibration=splits.train[:calibration_images] if calibration_images else None,
        )
        log["weights"] = {
            "file": out.name,
            "bytes": out.stat().st_size,
            "sha256": files.sha256(out),
            "parameters": parameters,
            "test_accuracy": accuracy,
            "test_images": len(splits.test),
            "half_precision": half,
        }
        _write_log(out, log, trained.epochs)
    typer.echo(
        f"{out}: {parameters} parameters, test accuracy {accuracy:.4f} on {len(splits.test)} images, "
        f"{out.stat().st_size} bytes, SHA-256 {files.sha256(out)}"
    )


def _digest(data: Dataset | None) -> dict[str, Any] | None:
    if data is None or data.labels is None:
        return None
    digest = hashlib.sha256(data.images.tobytes())
    digest.update(data.labels.tobytes())
    return {"name": data.name, "images": len(data), "sha256_of_images_and_labels": digest.hexdigest()}


def _write_log(out: Path, log: dict[str, Any], epochs: tuple[Epoch, ...]) -> None:
    document = {**log, "epochs": [asdict(epoch) for epoch in epochs]}
    files.write_text(out.with_suffix(".json"), json.dumps(document, indent=1) + "\n")


if __name__ == "__main__":
    run_command(main, "Train a network of the zoo and write it as refsnn-ann.", "python -m tools.train")
