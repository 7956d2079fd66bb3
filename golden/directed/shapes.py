"""Projections of every shape: convolutions, pools, identities, several into one population."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from golden.directed.build import (
    BASE_1,
    BASE_2,
    RATE,
    Directed,
    bytes_in,
    conv,
    dense,
    identity,
    network,
    plain,
    readout,
    signed,
    spiking,
    weights,
)
from golden.images import pixels
from refsnn.network import MaxPool, Projection, Schedule, SumPool

MAP = (2, 5, 5)
IMAGE = pixels(50, 1).reshape(MAP)


def cases() -> Iterator[Directed]:
    """The cases of this family."""
    yield _convolutions()
    yield _residual()
    yield _max_pool("max-pool", "equal spikes", RATE)
    yield _max_pool("max-pool-base-2", "a binary code", BASE_2)


def _convolutions() -> Directed:
    shapes = {
        "strided": (3, 3, 2),
        "dilated": (2, 3, 3),
        "grouped": (4, 5, 5),
        "depthwise": (8, 4, 5),
    }
    hidden = [
        conv("first", "strided", weights(2, 3, 4, 3, 2), stride=(2, 3), padding=(1, 1, 0, 1)),
        conv("first", "dilated", weights(3, 2, 4, 2, 2), dilation=(2, 2)),
        conv("first", "grouped", weights(4, 4, 2, 3, 3), groups=2, padding=(1, 1, 1, 1)),
        conv("first", "depthwise", weights(5, 8, 1, 2, 1), groups=4),
    ]
    read = [
        dense(name, "readout", weights(6 + seed, 3, int(np.prod(shape))))
        for seed, (name, shape) in enumerate(shapes.items())
    ]
    return Directed(
        name="convolutions",
        reason="Convolutions with strides, dilations, groups, one group a channel, and uneven zero padding.",
        expects=("stride", "dilation", "groups", "depthwise", "zero padding", "uneven padding", "negative spike"),
        network=network(
            [
                plain(MAP),
                spiking("first", (4, 5, 5), "dual", 12000),
                *(spiking(name, shape, "dual", 90) for name, shape in shapes.items()),
                readout(3),
            ],
            [conv("input", "first", weights(1, 4, 2, 1, 1)), *hidden, *read],
        ),
        images=IMAGE[None],
        steps=3,
    )


def _residual() -> Directed:
    border = weights(20, 4, 3, 3).astype(np.int32)
    padded = SumPool(kernel=(2, 2), stride=(2, 2), padding=(1, 0, 1, 0))
    whole = SumPool(kernel=(3, 3), stride=(3, 3))
    return Directed(
        name="residual",
        reason="Populations fed by convolutions, sum-pools and shortcuts with strides and a channel offset; a bias for "
        "the border.",
        expects=(
            "several projections",
            "identity",
            "stride",
            "channel offset",
            "border bias",
            "graded event",
            "padded sum-pool",
        ),
        network=network(
            [
                plain(MAP, BASE_1),
                spiking("first", (2, 5, 5), "if", 12000, schedule=BASE_1),
                spiking("sum", (4, 3, 3), "signed", 100, bias=border, schedule=BASE_1),
                spiking("pooled", (4, 3, 3), "if", 150, schedule=BASE_1),
                readout(3, BASE_1, bias=[5, -5, 0]),
            ],
            [
                conv("input", "first", weights(21, 2, 2, 1, 1)),
                conv("first", "sum", weights(22, 4, 2, 3, 3), stride=(2, 2), padding=(1, 1, 1, 1)),
                identity("first", "sum", [300, -40], stride=(2, 2), channel=2),
                identity("sum", "pooled", [90, -90, 1000, 1]),
                conv("first", "pooled", weights(24, 2, 2, 1, 1), pool=padded),
                identity("first", "pooled", [50, -30], pool=padded, channel=2),
                Projection(source="pooled", target="readout", kind="dense", weights=weights(23, 3, 4), pool=whole),
            ],
        ),
        images=IMAGE[None],
        steps=3,
    )


def _max_pool(name: str, code: str, schedule: Schedule) -> Directed:
    """Maxima of signed events: a window whose neurons all send negative ones tells ignored padding from zeros."""

    def pool(name: str, source: str, *, zeros: bool) -> MaxPool:
        return MaxPool(
            name=name,
            shape=(2, 3, 3),
            source=source,
            kernel=(3, 3),
            stride=(2, 2),
            padding=(1, 1, 1, 1),
            zero_padding=zeros,
            schedule=schedule,
        )

    pixels_pool = pool("pixels", "input", zeros=False)
    return Directed(
        name=name,
        reason=f"Max-pools over signed neurons that send {code}, with padding ignored and real, and one over pixels.",
        expects=(
            "maximum falls",
            "maximum below zero",
            "padded maximum, ignored",
            "padded maximum, zero",
            "overlapping maxima",
        ),
        network=network(
            [
                signed(MAP, schedule),
                pixels_pool,
                spiking("first", (2, 5, 5), "signed", [900, 3000], bias=[-1200, 0], schedule=schedule),
                pool("ignored", "first", zeros=False),
                pool("zeros", "first", zeros=True),
                readout(2, schedule),
            ],
            [
                conv("input", "first", weights(40, 2, 2, 1, 1)),
                dense("pixels", "readout", weights(41, 2, 18)),
                dense("ignored", "readout", weights(42, 2, 18)),
                dense("zeros", "readout", weights(43, 2, 18)),
            ],
        ),
        images=bytes_in(MAP, IMAGE),
        steps=4,
    )
