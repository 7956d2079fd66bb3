"""Neurons in a rate schedule: every branch of ``fire``, the clamp and the drain, with currents written step by step."""

from __future__ import annotations

from collections.abc import Iterator

from golden.directed.build import Directed, bytes_in, dense, network, plain, readout, scripted, spiking, weights
from refsnn.network import NO_CAP, UNTIL_QUIET

ONE = bytes_in((1,), 1)
"""The image of scripted networks."""


def cases() -> Iterator[Directed]:
    """The cases of this family."""
    yield _neurons()
    yield _narrow()
    yield _drained()
    yield _quiet()


def _neurons() -> Directed:
    plain_currents = [
        [5, 0, 0, 0],  # 5 + 5 meets the threshold
        [4, 0, 0, 0],  # one below
        [-20, 10, 10, 10],  # no negative spike, and none before it is made up for
        [10, 10, 10, 10],  # a spike in every step, and always the same membrane
        [127, 0, 0, 0],  # spikes left over when the run ends
    ]
    dual_currents = [
        [5, -10, 0, 0],  # an early spike, taken back
        [-20, 40, 0, 0],  # the gate: nothing has been sent that could be taken back
        [5, -3, -1, 0],  # at minus the negative threshold, then one below
        [5, -1, -127, 0],  # a negative spike, after which the gate is shut though the membrane is far below
        [127, -1, -127, 0],  # at the cap, until the membrane falls
    ]
    signed_currents = [
        [-20, -20, -20, -20],  # down to minus the cap, then the gate
        [30, 30, 30, 30],  # up to the cap
        [6, -20, 20, -20],  # through zero and back
        [-5, -1, 0, 0],  # at minus the negative threshold, then one below
    ]
    negative = [0, 0, 3, 0, 7]
    scripts = [
        (spiking("if", (5,), "if", 10, cap=NO_CAP), plain_currents),
        (spiking("if_capped", (5,), "if", 10, cap=2), plain_currents),
        (spiking("dual", (5,), "dual", 10, negative=negative), dual_currents),
        (spiking("dual_capped", (5,), "dual", 10, negative=negative, cap=1), dual_currents),
        (spiking("signed", (4,), "signed", 10, cap=2), signed_currents),
    ]
    return Directed(
        name="rate-neurons",
        reason="Every neuron of the rate schedule at its thresholds and one below them, at its gate and at its cap.",
        expects=(
            "threshold met exactly",
            "one below the threshold",
            "negative spike",
            "negative threshold met exactly",
            "one below the negative threshold",
            "negative spike blocked by the gate",
            "cap reached",
            "event in every step",
        ),
        network=scripted(4, scripts),
        images=ONE,
        steps=4,
    )


def _narrow() -> Directed:
    currents = [
        [127, 127, 127, -127],
        [-127, -127, 127, 0],
        [64, 64, -127, -127],
    ]
    low = spiking("low", (3,), "dual", 50)
    high = spiking("high", (3,), "signed", 200)  # a threshold that no membrane of 8 bits reaches
    return Directed(
        name="rate-narrow",
        reason="A membrane of 8 bits that clamps at both ends, and one that a negative spike lifts beyond them.",
        expects=("saturation high", "saturation low", "membrane beyond its width", "negative spike"),
        network=scripted(4, [(low, currents), (high, currents)], membrane_bits=8),
        images=ONE,
        steps=4,
    )


def _drained() -> Directed:
    currents = [
        [0, 0, 90],  # three spikes, two of them in the drain, then the cap
        [10, 10, -40],  # two spikes, one of them taken back in the drain, then the gate
        [0, 0, 40],  # the bias would go on for ever if it entered the drain
        [-30, 0, 5],
    ]
    dual = spiking("dual", (4,), "dual", 10, bias=[0, 0, 3, 7])
    return Directed(
        name="rate-drain",
        reason="Three steps of drain after T = 3: no input, no bias, the cap still T.",
        expects=("drain step fired", "cap reached", "negative spike blocked by the gate"),
        network=scripted(3, [(dual, currents)], drain=3),
        images=ONE,
        steps=3,
    )


def _quiet() -> Directed:
    first = spiking("first", (3,), "if", [5, 9, 30], cap=NO_CAP, bias=[0, 1, 0])
    second = spiking("second", (3,), "signed", 40, bias=[0, -9, 0], cap=6)
    tiny = network(
        [plain((2,)), first, second, readout(2)],
        [
            dense("input", "first", [[3, 1], [2, 0], [1, 5]]),
            dense("first", "second", [[70, -20, 5], [-60, 30, 9], [10, 10, -90]]),
            dense("second", "readout", weights(7, 2, 3)),
        ],
        drain=UNTIL_QUIET,
    )
    return Directed(
        name="rate-until-quiet",
        reason="Neurons that run until they are quiet, which takes another number of steps for each image.",
        expects=("runs of different lengths", "drain step fired", "negative spike", "silent population"),
        network=tiny,
        images=bytes_in((2,), [0, 0], [3, 4], [20, 9]),
        steps=2,
    )
