"""Training of the zoo's networks: stochastic gradient descent that repeats, and resumes where it was interrupted.

Every epoch seeds its random numbers from the seed and its own number, so that the same settings, number of threads and
machine give the same weights, whether or not the training was interrupted.
"""

from __future__ import annotations

import math
import os
import shutil
import time
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from refsnn import files
from refsnn.ann.graph import Preprocessing
from refsnn.data import Dataset
from refsnn.data.readers import Splits
from refsnn.errors import InputError
from refsnn.terminal import notice
from tools import activations, checkpoints, networks
from tools.augment import augment


@dataclass(frozen=True, kw_only=True)
class Settings:
    """What the weights depend on, besides the data.

    Attributes:
        network, width, stem, pool, hidden, bottleneck: of ``tools.networks``; None is the network's own.
        activation, levels: of ``tools.activations``.
        epochs, batch, rate, momentum, decay: SGD with Nesterov momentum; the rate rises over the first twentieth of
            all steps and then falls to 0 along a cosine. The decay spares batch norm, biases and bounds.
        smoothing: label smoothing.
        flip, shift, cutout: of ``tools.augment``.
        bf16: forward and backward pass in bfloat16, weights in float32; the evaluation is in float32 always.
        compiled: whole batches through ``torch.compile``, which needs a C++ compiler: a minute, then twice the speed.
        seed: of the initial weights, the order of the images and their augmentation.
        scale, mean, std: ``x = (byte / scale - mean) / std``.
    """

    network: str = "resnet8"
    width: int | None = None
    stem: str | None = None
    pool: str | None = None
    hidden: int | None = None
    bottleneck: str | None = None
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
    compiled: bool = False
    seed: int = 0
    scale: float = 255.0
    mean: tuple[float, ...] = (0.0,)
    std: tuple[float, ...] = (1.0,)

    @property
    def preprocessing(self) -> Preprocessing:
        """As the exported file states it."""
        return Preprocessing(scale=self.scale, mean=self.mean, std=self.std)


@dataclass(frozen=True, kw_only=True)
class Epoch:
    """What is known after an epoch: its number from 1, the mean loss, the fraction of test images right, its time."""

    epoch: int
    loss: float
    test_accuracy: float
    seconds: float

    def __str__(self) -> str:
        accuracy = f"test accuracy {self.test_accuracy:.4f}"
        return f"epoch {self.epoch}: loss {self.loss:.4f}, {accuracy}, {self.seconds:.1f} s"


@dataclass(frozen=True)
class Trained:
    """A trained network in evaluation mode, and its epochs, those before an interruption included."""

    network: nn.Module
    epochs: tuple[Epoch, ...]


def train(
    settings: Settings,
    data: Splits,
    *,
    checkpoint: Path | None = None,
    resume: bool = False,
    device: str = "cpu",
    report: Callable[[tuple[Epoch, ...]], None] = lambda epochs: None,
) -> Trained:
    """Train on ``data.train``; ``data.test`` is measured after every epoch for the report, and never chosen by.

    Args:
        settings: what to train and how.
        data: both splits with labels, images ``(N, C, H, W) uint8``.
        checkpoint: written (atomically) after every epoch.
        resume: go on from ``checkpoint`` where it exists.
        device: of PyTorch.
        report: receives all epochs so far after every epoch.

    Raises:
        InputError: no training images or labels; a checkpoint of other settings; the loss is not finite any more, or a
            learned threshold not above 0.
    """
    images, labels = _tensors(data.train, "training", device)
    network = build(settings, data).to(device)
    network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]  # of a module: undeclared
    optimizer = _optimizer(network, settings)
    epochs: tuple[Epoch, ...] = ()
    first = 0
    if resume and checkpoint is not None and checkpoint.exists():
        first, epochs = _restore(checkpoint, settings, network, optimizer)
        notice(f"resumed from {checkpoint} after epoch {first} of {settings.epochs}")
    prepare = _preparation(settings, images.shape[1], device)
    criterion = nn.CrossEntropyLoss(label_smoothing=settings.smoothing)
    batches = math.ceil(len(images) / settings.batch)
    compiled = _compiled(network) if settings.compiled else network
    for epoch in range(first, settings.epochs):
        start = time.perf_counter()
        _seed(settings.seed, epoch + 1)
        network.train()
        total = torch.zeros((), device=device)
        for index, chosen in enumerate(torch.split(torch.randperm(len(images)), settings.batch)):
            for group in optimizer.param_groups:
                group["lr"] = settings.rate * _schedule((epoch * batches + index) / (settings.epochs * batches))
            chosen = chosen.to(device)
            x = prepare(augment(images[chosen], flip=settings.flip, shift=settings.shift, cutout=settings.cutout))
            forward = compiled if len(x) == settings.batch else network  # an epoch's last batch is no case of its own
            with _precision(device, settings.bf16):
                loss = criterion(forward(x), labels[chosen])
            optimizer.zero_grad(set_to_none=True)
            loss.backward()
            optimizer.step()
            total += loss.detach() * len(chosen)
        mean_loss = total.item() / len(images)
        _check(network, mean_loss, epoch + 1)
        accuracy = evaluate(network, data.test, settings, device, bf16=settings.bf16)
        seconds = time.perf_counter() - start
        epochs = (*epochs, Epoch(epoch=epoch + 1, loss=mean_loss, test_accuracy=accuracy, seconds=seconds))
        if checkpoint is not None:
            _save(checkpoint, settings, network, optimizer, epochs)
        report(epochs)
    return Trained(network.eval(), epochs)


def build(settings: Settings, data: Splits) -> nn.Module:
    """The untrained network, its weights drawn from the seed."""
    classes = len(data.test.class_names) or 1 + max(_labels(part).max() for part in (data.test, data.train) if part)
    shape = data.test.images.shape[1:]
    _seed(settings.seed, 0)
    return networks.build(
        settings.network,
        (shape[0], shape[1], shape[2]),
        int(classes),
        lambda: activations.activation(settings.activation, settings.levels),
        settings.width,
        stem=settings.stem,
        pool=settings.pool,
        hidden=settings.hidden,
        bottleneck=settings.bottleneck,
    )


@torch.no_grad()
def evaluate(
    network: nn.Module, data: Dataset, settings: Settings, device: str = "cpu", *, bf16: bool = False
) -> float:
    """The fraction of images that the network gets right, in float32 or, as it was trained, with ``bf16``."""
    network.eval()
    images, labels = _tensors(data, "test", device)
    prepare = _preparation(settings, images.shape[1], device)
    right = 0
    for x, y in zip(torch.split(images, 500), torch.split(labels, 500), strict=True):
        with _precision(device, bf16):
            right += int((network(prepare(x)).argmax(1) == y).sum())
    return right / len(images)


def _precision(device: str, bf16: bool) -> AbstractContextManager[Any]:
    return torch.autocast(device, torch.bfloat16) if bf16 else nullcontext()


def _compiled(network: nn.Module) -> Callable[[Tensor], Tensor]:
    """``network`` through ``torch.compile``: the same parameters, other rounding."""
    compiler = os.environ.get("CXX", "g++")  # as PyTorch looks for it
    if shutil.which(compiler) is None:
        raise InputError(f"--compiled needs a C++ compiler, and there is no '{compiler}'; install it or leave that out")
    # Blocks are one function to the compiler, which otherwise gives up after a few of them.
    torch._dynamo.config.recompile_limit = max(torch._dynamo.config.recompile_limit, sum(1 for _ in network.modules()))
    compiled: Callable[[Tensor], Tensor] = torch.compile(network, dynamic=False)
    return compiled


def _check(network: nn.Module, loss: float, epoch: int) -> None:
    if not math.isfinite(loss):
        raise InputError(f"the loss became {loss} in epoch {epoch}; use a smaller --rate")
    for name, value in network.named_parameters():
        if name.endswith(".bound") and not value.item() > 0:
            raise InputError(
                f"the learned threshold '{name}' became {value.item():g} in epoch {epoch}; use a smaller --rate"
            )


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


def _save(
    path: Path, settings: Settings, network: nn.Module, optimizer: torch.optim.Optimizer, epochs: tuple[Epoch, ...]
) -> None:
    state = {
        "epoch": epochs[-1].epoch,
        "settings": asdict(settings),
        "network": network.state_dict(),
        "optimizer": optimizer.state_dict(),
        "epochs": [asdict(epoch) for epoch in epochs],
    }
    with files.atomic(path) as temporary:
        torch.save(state, temporary)


def _restore(
    path: Path, settings: Settings, network: nn.Module, optimizer: torch.optim.Optimizer
) -> tuple[int, tuple[Epoch, ...]]:
    """How many epochs are done, and what is known of them."""
    state = checkpoints.read(path)
    try:
        trained = Settings(**state["settings"])  # settings that a file does not know yet have their defaults
        done = int(state["epoch"])
        weights, moments = state["network"], state["optimizer"]
        epochs = tuple(Epoch(**epoch) for epoch in state.get("epochs", ()))
    except (KeyError, TypeError) as error:
        raise InputError(f"{path}: is no checkpoint of tools.train: {error}; start another one") from error
    if trained != settings:
        before, now = asdict(trained), asdict(settings)
        other = ", ".join(f"{key} {before[key]} then, {now[key]} now" for key in now if before[key] != now[key])
        raise InputError(f"{path}: was trained with other settings: {other}; resume with those or start another one")
    network.load_state_dict(weights)
    optimizer.load_state_dict(moments)
    return done, epochs
