"""Train a network of the zoo and write it as ``refsnn-ann`` (``docs/formats.md``).

``python -m tools.train --data FOLDER --network resnet8 --activation qcfs --levels 4 --out weights.h5``

The same command, seed, number of threads and machine give the same weights, whether or not the training was interrupted
and resumed: every epoch seeds its random numbers from the seed and its own number.
"""

from __future__ import annotations

import math
import os
import time
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Annotated

import numpy as np
import torch
import typer
from torch import Tensor, nn

from refsnn import files
from refsnn.ann import project
from refsnn.ann.graph import Preprocessing
from refsnn.data import Dataset
from refsnn.data.readers import Splits, read
from refsnn.errors import InputError, require
from tools import activations, export, networks


@dataclass(frozen=True, kw_only=True)
class Settings:
    """What the weights depend on, besides the data.

    Attributes:
        network, width: of ``tools.networks``; width None is the network's own.
        activation, levels: of ``tools.activations``.
        epochs, batch, rate, momentum, decay: SGD with Nesterov momentum; the rate rises over the first twentieth of
            all steps and then falls to 0 along a cosine. The decay spares batch norm, biases and bounds.
        smoothing: label smoothing.
        flip, shift, cutout: mirror half of the images; move each by up to ``shift`` pixels either way; blank a square
            with sides of ``cutout`` pixels.
        bf16: forward and backward pass in bfloat16, weights in float32; the evaluation is in float32 always.
        seed: of the initial weights, the order of the images and their augmentation.
        scale, mean, std: ``x = (byte / scale - mean) / std``.
    """

    network: str = "resnet8"
    width: int | None = None
    activation: str = "qcfs"
    levels: int = 4
    epochs: int = 30
    batch: int = 128
    rate: float = 0.1
    momentum: float = 0.9
    decay: float = 5e-4
    smoothing: float = 0.0
    flip: bool = False
    shift: int = 0
    cutout: int = 0
    bf16: bool = False
    seed: int = 0
    scale: float = 255.0
    mean: tuple[float, ...] = (0.0,)
    std: tuple[float, ...] = (1.0,)

    @property
    def preprocessing(self) -> Preprocessing:
        """As the exported file states it."""
        return Preprocessing(scale=self.scale, mean=self.mean, std=self.std)


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


def augment(images: Tensor, settings: Settings) -> Tensor:
    """Mirror, shift and blank each image of a batch on its own: ``(N, C, H, W) uint8`` to the same."""
    count, _, height, width = images.shape
    device = images.device
    if settings.flip:
        mirrored = torch.rand(count, 1, 1, 1, device=device) < 0.5
        images = torch.where(mirrored, images.flip(3), images)
    rows, columns = torch.arange(height, device=device), torch.arange(width, device=device)
    if settings.shift:
        margin = settings.shift
        padded = nn.functional.pad(images, (margin,) * 4)
        offset = torch.randint(0, 2 * margin + 1, (2, count, 1), device=device)
        which = torch.arange(count, device=device)[:, None, None]
        moved = padded[which, :, (offset[0] + rows)[:, :, None], (offset[1] + columns)[:, None, :]]
        images = moved.permute(0, 3, 1, 2)  # indexing put the channels last
    if settings.cutout:
        side = settings.cutout
        top = torch.randint(1 - side, height, (count, 1), device=device)
        left = torch.randint(1 - side, width, (count, 1), device=device)
        inside_rows = (rows >= top) & (rows < top + side)
        inside_columns = (columns >= left) & (columns < left + side)
        images = images.masked_fill((inside_rows[:, :, None] & inside_columns[:, None, :])[:, None], 0)
    return images


def train(
    settings: Settings,
    data: Splits,
    *,
    checkpoint: Path | None = None,
    resume: bool = False,
    device: str = "cpu",
    report: Callable[[str], None] = lambda line: None,
) -> nn.Module:
    """Train on ``data.train``; ``data.test`` is measured after every epoch for the report, and never chosen by.

    Args:
        settings: what to train and how.
        data: both splits with labels, images ``(N, C, H, W) uint8``.
        checkpoint: written (atomically) after every epoch.
        resume: go on from ``checkpoint`` where it exists.
        device: of PyTorch.
        report: receives a line an epoch.

    Raises:
        InputError: no training images or labels; a checkpoint of other settings; the loss is not finite any more.
    """
    images, labels = _tensors(data.train, "training", device)
    network = build(settings, data).to(device, memory_format=torch.channels_last)
    optimizer = _optimizer(network, settings)
    first = 0
    if resume and checkpoint is not None and checkpoint.exists():
        first = _restore(checkpoint, settings, network, optimizer)
        report(f"resumed from {checkpoint} after epoch {first}")
    prepare = _preparation(settings, images.shape[1], device)
    criterion = nn.CrossEntropyLoss(label_smoothing=settings.smoothing)
    batches = math.ceil(len(images) / settings.batch)
    for epoch in range(first, settings.epochs):
        start = time.perf_counter()
        _seed(settings.seed, epoch + 1)
        network.train()
        total = torch.zeros((), device=device)
        for index, chosen in enumerate(torch.randperm(len(images)).split(settings.batch)):
            for group in optimizer.param_groups:
                group["lr"] = settings.rate * _schedule((epoch * batches + index) / (settings.epochs * batches))
            chosen = chosen.to(device)
            x = prepare(augment(images[chosen], settings))
            with torch.autocast(device, torch.bfloat16) if settings.bf16 else nullcontext():
                loss = criterion(network(x), labels[chosen])
            optimizer.zero_grad(set_to_none=True)
            loss.backward()
            optimizer.step()
            total += loss.detach() * len(chosen)
        mean_loss = total.item() / len(images)
        if not math.isfinite(mean_loss):
            raise InputError(f"the loss became {mean_loss} in epoch {epoch + 1}; use a smaller --rate")
        if checkpoint is not None:
            _save(checkpoint, settings, network, optimizer, epoch + 1)
        seconds = time.perf_counter() - start
        report(
            f"epoch {epoch + 1}/{settings.epochs}: loss {mean_loss:.4f}, "
            f"test accuracy {evaluate(network, data.test, settings, device):.4f}, {seconds:.1f} s"
        )
    return network.eval()


def build(settings: Settings, data: Splits) -> nn.Module:
    """The untrained network, its weights drawn from the seed."""
    classes = len(data.test.class_names) or 1 + max(_labels(part).max() for part in (data.test, data.train) if part)
    shape = data.test.images.shape[1:]
    _seed(settings.seed, 0)
    try:
        return networks.build(
            settings.network,
            (shape[0], shape[1], shape[2]),
            int(classes),
            lambda: activations.activation(settings.activation, settings.levels),
            settings.width,
        )
    except ValueError as error:
        raise InputError(str(error)) from error


@torch.no_grad()
def evaluate(network: nn.Module, data: Dataset, settings: Settings, device: str = "cpu") -> float:
    """The fraction of images that the network gets right, in float32."""
    network.eval()
    images, labels = _tensors(data, "test", device)
    prepare = _preparation(settings, images.shape[1], device)
    right = 0
    for x, y in zip(images.split(500), labels.split(500), strict=True):
        right += int((network(prepare(x)).argmax(1) == y).sum())
    return right / len(images)


def _tensors(data: Dataset | None, role: str, device: str) -> tuple[Tensor, Tensor]:
    if data is None:
        raise InputError(f"the data have no {role} split; give a file or folder with one")
    if data.images.ndim != 4:
        raise InputError(f"{data.name}: images have shape {data.images.shape}; (N, C, H, W) was expected")
    return torch.tensor(data.images, device=device), torch.tensor(_labels(data), device=device)


def _labels(data: Dataset) -> np.ndarray:
    if data.labels is None:
        raise InputError(f"{data.name}: has no labels; training and its evaluation need them")
    return data.labels


def _preparation(settings: Settings, channels: int, device: str) -> Callable[[Tensor], Tensor]:
    """Bytes to what the network sees. The bytes go through the very table that the exported file stands for."""
    table = torch.tensor(settings.preprocessing.table(channels), dtype=torch.float32, device=device)
    channel = torch.arange(channels, device=device)[None, :, None, None]

    def prepare(images: Tensor) -> Tensor:
        return table[channel, images.int()].contiguous(memory_format=torch.channels_last)

    return prepare


def _optimizer(network: nn.Module, settings: Settings) -> torch.optim.Optimizer:
    parameters = list(network.parameters())
    groups = [
        {"params": [p for p in parameters if p.ndim > 1], "weight_decay": settings.decay},
        {"params": [p for p in parameters if p.ndim <= 1], "weight_decay": 0.0},
    ]
    return torch.optim.SGD(groups, lr=settings.rate, momentum=settings.momentum, nesterov=settings.momentum > 0)


def _schedule(progress: float) -> float:
    return min(1.0, 20 * progress) * (1 + math.cos(math.pi * progress)) / 2


def _seed(seed: int, epoch: int) -> None:
    torch.manual_seed(int(np.random.SeedSequence([seed, epoch]).generate_state(1)[0]))


def _save(path: Path, settings: Settings, network: nn.Module, optimizer: torch.optim.Optimizer, epoch: int) -> None:
    state = {
        "epoch": epoch,
        "settings": asdict(settings),
        "network": network.state_dict(),
        "optimizer": optimizer.state_dict(),
    }
    with files.atomic(path) as temporary:
        torch.save(state, temporary)


def _restore(path: Path, settings: Settings, network: nn.Module, optimizer: torch.optim.Optimizer) -> int:
    state = export.load(path)
    if state.get("settings") != asdict(settings):
        raise InputError(
            f"{path}: was trained with {state.get('settings', 'unknown settings')}, now {asdict(settings)} are asked "
            "for; resume with the same options or start another checkpoint"
        )
    network.load_state_dict(state["network"])
    optimizer.load_state_dict(state["optimizer"])
    return int(state["epoch"])


def main(
    data: Annotated[str, typer.Option(help="'digits' (scikit-learn), or any file or folder that refsnn reads.")],
    out: Annotated[Path, typer.Option(help="The refsnn-ann file to write.")],
    network: Annotated[str, typer.Option(help=f"One of {', '.join(networks.NETWORKS)}.")] = "resnet8",
    width: Annotated[
        int | None, typer.Option(help="Channels of the first layer; the network's own if not given.")
    ] = None,
    activation: Annotated[str, typer.Option(help=f"One of {', '.join(activations.KINDS)}.")] = "qcfs",
    levels: Annotated[int, typer.Option(help="Levels of qcfs: L = T converts without loss.", min=1)] = 4,
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
    seed: Annotated[int, typer.Option(min=0)] = 0,
    scale: Annotated[float, typer.Option(help="Divisor of the pixel bytes.")] = 255.0,
    mean: Annotated[
        str, typer.Option(help="Subtracted after scaling, one or one a channel. 0 keeps inputs unsigned.")
    ] = "0",
    std: Annotated[str, typer.Option(help="Divisor after that, one or one a channel.")] = "1",
    class_names: Annotated[str, typer.Option(help="Names of the classes, separated by commas.")] = "",
    test_images: Annotated[int, typer.Option(help="Test images stored in the file: the first ones.", min=0)] = 1000,
    calibration_images: Annotated[
        int, typer.Option(help="Calibration images stored: the first of the training split.", min=0)
    ] = 256,
    checkpoint: Annotated[Path | None, typer.Option(help="Written after every epoch.")] = None,
    resume: Annotated[bool, typer.Option(help="Go on from the checkpoint where it exists.")] = False,
    threads: Annotated[int, typer.Option(help="0: as many as there are cores.", min=0)] = 0,
) -> None:
    """Train a network and write it with preprocessing, test and calibration images inside."""
    torch.set_num_threads(threads or os.cpu_count() or 1)
    try:
        settings = Settings(
            network=network,
            width=width,
            activation=activation,
            levels=levels,
            epochs=epochs,
            batch=batch,
            rate=rate,
            momentum=momentum,
            decay=decay,
            smoothing=smoothing,
            flip=flip,
            shift=shift,
            cutout=cutout,
            bf16=bf16,
            seed=seed,
            scale=scale,
            mean=export.numbers(mean),
            std=export.numbers(std),
        )
        splits = digits() if data == "digits" else read(data)
        if class_names:
            names = tuple(class_names.split(","))
            splits = Splits(test=replace(splits.test, class_names=names), train=splits.train)
        device = "cuda" if torch.cuda.is_available() else "cpu"
        report = _stderr
        model = train(settings, splits, checkpoint=checkpoint, resume=resume, device=device, report=report)
        accuracy = evaluate(model, splits.test, settings, device)
        shape = splits.test.images.shape[1:]
        graph = export.export(model.cpu(), (shape[0], shape[1], shape[2]), settings.preprocessing)
        assert splits.train is not None
        project.write(
            out,
            graph,
            writer=f"refsnn tools.train, PyTorch {torch.__version__}",
            test=splits.test[:test_images] if test_images else None,
            calibration=splits.train[:calibration_images] if calibration_images else None,
        )
    except InputError as error:
        typer.echo(f"error: {error}", err=True)
        raise typer.Exit(2) from error
    parameters = sum(p.numel() for p in model.parameters())
    typer.echo(
        f"{out}: {parameters} parameters, test accuracy {accuracy:.4f} on {len(splits.test)} images, "
        f"{out.stat().st_size} bytes, SHA-256 {files.sha256(out)}"
    )


def _stderr(line: str) -> None:
    typer.echo(line, err=True)


if __name__ == "__main__":
    typer.run(main)
