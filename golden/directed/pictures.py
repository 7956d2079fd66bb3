"""From pixels to currents: signed pixels, the rounding shift, images of nothing."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from golden.directed.build import BASE_2, Directed, bytes_in, conv, dense, network, readout, signed, spiking, weights
from golden.images import pixels

MAP = (2, 4, 4)


def cases() -> Iterator[Directed]:
    """The cases of this family."""
    kernel = weights(50, 4, 2, 3, 3).copy()
    kernel[0] = 127
    kernel[1] = -127
    shift = np.array([0, 1, 4, 9], np.int32)
    yield Directed(
        name="pixels",
        reason="Signed pixels through the largest weights and several shifts; an image of zeros that stays silent.",
        expects=(
            "negative pixel",
            "all-zero image",
            "half rounded up",
            "negative sum shifted",
            "extreme weights",
            "silent population",
            "tie of the argmax",
        ),
        network=network(
            [
                signed(MAP, BASE_2),
                spiking("first", (4, 4, 4), "if", [9000, 9000, 500, 16], schedule=BASE_2),
                spiking("second", (3, 2, 2), "if", 200, schedule=BASE_2),
                readout(3, BASE_2),
            ],
            [
                conv("input", "first", kernel, padding=(1, 1, 1, 1), shift=shift),
                conv("first", "second", weights(51, 3, 4, 2, 2), stride=(2, 2)),
                dense("second", "readout", weights(52, 3, 12)),
            ],
        ),
        images=bytes_in(MAP, pixels(32, 2).reshape(MAP), 128),
        steps=3,
    )
