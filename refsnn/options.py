"""Options that several commands have: of images, of conversion and of simulation."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Annotated, Any, TypeVar

import typer

from refsnn.errors import InputError

Value = TypeVar("Value")

IMAGES, CONVERSION, RUNNING, OUTPUT = "Images", "Conversion", "Simulation", "Output"
"""Panels of the help."""

Weights = Annotated[Path, typer.Argument(metavar="WEIGHTS", help="The network's file.", show_default=False)]

Data = Annotated[
    Path | None,
    typer.Option(
        metavar="FILE-OR-FOLDER",
        help="Images to measure on: .npz, IDX (MNIST), CIFAR archives, a folder of images per class, refsnn-data. "
        "Default: the images inside WEIGHTS.",
        rich_help_panel=IMAGES,
    ),
]
Calibration = Annotated[
    Path | None,
    typer.Option(
        metavar="FILE-OR-FOLDER",
        help="Images to choose thresholds on. Default: the train split of the data, or those inside WEIGHTS, or "
        "the first of the data, which are then left out of the figures.",
        rich_help_panel=IMAGES,
    ),
]
CalibrationImages = Annotated[
    int, typer.Option(metavar="N", help="Calibrate on at most N images.", rich_help_panel=IMAGES)
]
Limit = Annotated[int | None, typer.Option(metavar="N", help="Measure on at most N images.", rich_help_panel=IMAGES)]
Scale = Annotated[
    float | None,
    typer.Option(
        metavar="X",
        help="The network expects (byte / scale - mean) / std. Default: what the file says, else raw bytes.",
        rich_help_panel=IMAGES,
    ),
]
Numbers = Annotated[
    str | None, typer.Option(metavar="X[,X..]", help="One number, or one a channel.", rich_help_panel=IMAGES)
]

Steps = Annotated[
    str | None,
    typer.Option(metavar="T[,T..]", help="Numbers of time-steps. Default: 1,2,4,8.", rich_help_panel=CONVERSION),
]
Threshold = Annotated[
    str | None,
    typer.Option(
        metavar="RULE",
        help="learned, max, percentile:P, or mse (least squared error at each T). Default: learned where the file "
        "has them, else percentile:99.9.",
        rich_help_panel=CONVERSION,
    ),
]
PerChannel = Annotated[
    bool | None,
    typer.Option(
        "--per-channel/--per-layer",
        help="A threshold for each channel, or one for each layer. Default: per layer.",
        rich_help_panel=CONVERSION,
    ),
]
Refine = Annotated[
    str | None,
    typer.Option(
        metavar="PART[,PART..]",
        help="Correct each layer in turn for the spikes that it really receives, on the calibration images: all, or "
        "some of weights, rounding, means; thresholds by channel in any case. A network for each T, made in minutes.",
        rich_help_panel=CONVERSION,
    ),
]
WeightBits = Annotated[int | None, typer.Option(metavar="2..8", help="Default: 8.", rich_help_panel=CONVERSION)]
MembraneBits = Annotated[
    str | None,
    typer.Option(
        metavar="auto|8..32",
        help="Default: auto, the smallest width that cannot saturate.",
        rich_help_panel=CONVERSION,
    ),
]
Drain = Annotated[
    str | None,
    typer.Option(
        metavar="N|quiet",
        help="Steps without input after the T, in rate schedules; quiet: until no neuron fires, which makes the "
        "dual neuron exact. Default: the method's, 0.",
        rich_help_panel=CONVERSION,
    ),
]
Cap = Annotated[
    str | None,
    typer.Option(
        metavar="T|none|N",
        help="The largest net count of a neuron. Default: the method's (ecl, fast_snn: T).",
        rich_help_panel=CONVERSION,
    ),
]
NegativeThreshold = Annotated[
    float | None,
    typer.Option(
        metavar="0..1",
        help="Of dual neurons, as a fraction of the threshold. Default: the method's (ecl 0, snm 1).",
        rich_help_panel=CONVERSION,
    ),
]
InitialMembrane = Annotated[
    float | None,
    typer.Option(
        metavar="0..1",
        help="As a fraction of the threshold. Default: the method's (0.5, snm 0).",
        rich_help_panel=CONVERSION,
    ),
]

Threads = Annotated[int, typer.Option(metavar="N", help="0: as many as there are processors.", rich_help_panel=RUNNING)]
Batch = Annotated[
    int, typer.Option(metavar="N", help="Images that a thread simulates at a time.", rich_help_panel=RUNNING)
]
Kernels = Annotated[
    str,
    typer.Option(
        metavar="NAME",
        help="amx, vnni, avx2, portable, blas or auto; all give the same integers.",
        rich_help_panel=RUNNING,
    ),
]


def methods(*names: str) -> Any:
    """The option that names methods."""
    return typer.Option(
        *names,
        metavar="NAME[,NAME..]",
        help="ecl, qcfs, opi, spikeconverter, spikeconverter-rate, snm, fast_snn; all: the first five.",
        rich_help_panel=CONVERSION,
    )


def method_names(text: str) -> tuple[str, ...] | None:
    """The methods that a user named; None: all."""
    from refsnn.experiment import METHODS

    if text.strip() == "all":
        return None
    names = [name.strip() for name in text.split(",") if name.strip()]
    return tuple(dict.fromkeys(each for name in names for each in (METHODS if name == "all" else (name,))))


def numbers(option: str, text: str, kind: Callable[[str], Value]) -> tuple[Value, ...]:
    """Numbers with commas between them."""
    try:
        return tuple(kind(part) for part in text.split(","))
    except ValueError as error:
        raise InputError(f"{option} is '{text}'; numbers with commas between them were expected") from error


def preprocessing(scale: float | None, mean: str | None, std: str | None) -> dict[str, Any]:
    """What the user said of pixels, as fields of ``refsnn.experiment.Request``."""
    return {
        "scale": scale,
        "mean": None if mean is None else numbers("--mean", mean, float),
        "std": None if std is None else numbers("--std", std, float),
    }


def overrides(
    *, membrane_bits: str | None = None, drain: str | None = None, cap: str | None = None, **others: Any
) -> dict[str, Any]:
    """The settings of the conversion that the user gave, as fields of ``refsnn.convert.Settings``."""
    values = {
        **others,
        "membrane_bits": _word("--membrane-bits", membrane_bits, {"auto": None}),
        "drain": _word("--drain", drain, {"quiet": -1}),
        "cap": _word("--cap", cap, {"T": -1, "none": 0}),
    }
    return {name: value for name, value in values.items() if value is not None}


def _word(option: str, text: str | None, words: Mapping[str, int | None]) -> int | None:
    """A number, or a word that stands for one."""
    if text is None or text in words:
        return None if text is None else words[text]
    try:
        return int(text)
    except ValueError as error:
        raise InputError(f"{option} is '{text}'; {' or '.join(words)} or a number was expected") from error
