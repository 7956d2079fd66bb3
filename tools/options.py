"""Options that several commands have, each described once."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from refsnn.errors import InputError
from tools import activations, networks
from tools.networks.common import POOLS, STEMS
from tools.networks.mobilenet import BOTTLENECKS

Network = Annotated[str, typer.Option(help=f"One of {', '.join(networks.NETWORKS)}.")]
Width = Annotated[int | None, typer.Option(help="Channels of the first layer, if not the network's own.", min=1)]
Stem = Annotated[str | None, typer.Option(help=f"Of ResNets and MobileNet-v2: {' or '.join(STEMS)}.")]
Pool = Annotated[str | None, typer.Option(help=f"Of VGG-16 and the ImageNet stem: {' or '.join(POOLS)}.")]
Hidden = Annotated[int | None, typer.Option(help="Features of VGG-16's two hidden linear layers; 0: none.", min=0)]
Bottleneck = Annotated[str | None, typer.Option(help=f"Of MobileNet-v2: {' or '.join(BOTTLENECKS)}.")]
Activation = Annotated[str, typer.Option(help=f"One of {', '.join(activations.KINDS)}.")]
Levels = Annotated[int, typer.Option(help="Levels of qcfs: L = T converts without loss.", min=1)]
Scale = Annotated[float, typer.Option(help="Divisor of the pixel bytes.")]
Mean = Annotated[str, typer.Option(help="Subtracted after scaling, one or one a channel. 0 keeps inputs unsigned.")]
Std = Annotated[str, typer.Option(help="Divisor after that, one or one a channel.")]


def numbers(option: str, value: str, kind: type[Any] = float, count: int | None = None) -> tuple[Any, ...]:
    """Numbers separated by commas, as an option gives them.

    Raises:
        InputError: something else, or another ``count`` of them.
    """
    try:
        result = tuple(kind(part) for part in value.split(","))
    except ValueError as error:
        raise InputError(f"--{option} {value}: numbers separated by commas were expected") from error
    if count is not None and len(result) != count:
        raise InputError(f"--{option} {value}: {count} numbers separated by commas were expected")
    return result
