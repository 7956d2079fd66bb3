"""Options that several commands have, each described once."""

from __future__ import annotations

from typing import Annotated

import typer

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
Half = Annotated[bool, typer.Option("--half", help="Round matrices and kernels to half precision: half the file.")]
