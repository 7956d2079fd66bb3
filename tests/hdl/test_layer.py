"""Layers as tables: every tap of every lane, a convolution by hand, and every refusal with its numbers."""

from __future__ import annotations

from itertools import product
from typing import Any

import numpy as np
import pytest

from golden.directed.build import BASE_2, conv, dense, identity, network, plain, readout, spiking
from hdl.layer import Layer, lower
from hdl.parameters import Parameters
from refsnn.errors import InputError, WidthError
from refsnn.geometry import window_output
from refsnn.network import MaxPool, Network, Projection, Schedule, SumPool

ROOMY: dict[str, Any] = {"channels": 2, "pixels": 4, "columns": 2, "banks": 2, "state_bits": 32, "accumulator_bits": 24}


def after(
    shape: tuple[int, ...], *projections: Projection, drive: dict[str, Any] | None = None, **settings: Any
) -> Network:
    """The input (1, 6, 6), ``source`` with 2 channels, ``target`` which takes the projections, a readout."""
    populations = [
        plain((1, 6, 6), settings.get("schedule", Schedule())),
        spiking("source", (2, 6, 6), "if", 100, schedule=settings.get("schedule", Schedule())),
        spiking("target", shape, **{"neuron": "if", "threshold": 100, **settings}),
        readout(1, settings.get("schedule", Schedule())),
    ]
    size = int(np.prod(shape))
    first = conv("input", "source", np.ones((2, 1, 1, 1)))
    last = dense("target", "readout", np.ones((1, size)))
    return network(populations, [first, *projections, last], **(drive or {}))


def small(
    shape: tuple[int, ...], weights: Any, steps: int = 2, core: dict[str, Any] | None = None, **geometry: Any
) -> Layer:
    """``target`` with one convolution, lowered."""
    projection = conv("source", "target", weights, **geometry)
    return lower(after(shape, projection), "target", steps, 0, Parameters(**(ROOMY | (core or {}))))


def test_a_convolution_by_hand() -> None:
    """3 x 3, padded by 1; P = 4 and 8 pixels to be seen: pixels -4 .. 3 serve the taps -1 and 0, then 0 .. 7 tap 1."""
    weights = np.arange(2 * 2 * 9).reshape(2, 2, 3, 3) + 1
    layer = small((2, 6, 6), weights, padding=(1, 1, 1, 1))
    (job,) = layer.jobs
    wrapped = {"group": -1, "care": 0b1111_1000, "number": 2}
    whole = {"group": 0, "care": 0b0001_1110, "number": 1}
    assert job.fetches == [
        {"row": -1, "offset": -1, "first": 0, **wrapped},
        {"row": -1, "offset": -1, "first": 2, **whole},
        {"row": 0, "offset": 0, "first": 3, **wrapped},
        {"row": 0, "offset": 0, "first": 5, **whole},
        {"row": 1, "offset": 1, "first": 6, **wrapped},
        {"row": 1, "offset": 1, "first": 8, **whole},
    ]
    shifts = [3, 4, 1] * 3
    assert job.taps == [
        {"shift": shift, "wide": False, "lanes": 0b1111, "weight": weight, "high": False}
        for weight, shift in enumerate(shifts)
    ]
    (segment,) = job.segments
    expected = {"events": 0, "plane": 6, "inputs": 2, "advance": 9, "first": 0, "number": 6, "chunks": 1, "last": True}
    expected |= {"rows": 6, "groups": 2, "edge": 0b0011, "tile_rows": 1, "tile_groups": 1, "row_stride": 1, "end": True}
    assert segment | expected == segment
    np.testing.assert_array_equal(job.weights, weights.transpose(1, 2, 3, 0).reshape(18, 2))
    fields = {"blocks": 1, "channels": 2, "rows": 6, "tile_rows": 6, "tile_columns": 2, "last": 0b0011}
    assert job.fields | fields == job.fields
    assert job.operations == 6 * 2 * 2 * 9


@pytest.mark.parametrize("banks", [2, 4])
@pytest.mark.parametrize("pixels", [1, 4])
@pytest.mark.parametrize(
    ("kernel", "stride", "padding", "dilation"),
    [(1, 1, 0, 1), (3, 1, 1, 1), (3, 2, 1, 1), (2, 2, 0, 2), (2, 3, 1, 1), (3, 4, 2, 2), (6, 1, 3, 1), (4, 2, 3, 1)],
)
def test_every_lane_finds_every_pixel_once(
    kernel: int, stride: int, padding: int, dilation: int, pixels: int, banks: int
) -> None:
    """Whatever the stride: each (lane, source pixel, weight) once, inside what its fetch shows and cares for."""
    core = {"pixels": pixels, "banks": banks, "fetches": 1024, "taps": 1024}
    geometry = {"stride": (stride, stride), "padding": (padding,) * 4, "dilation": (dilation, dilation)}
    size = window_output((6, 6), (kernel, kernel), (stride, stride), (padding,) * 4, (dilation, dilation))
    layer = small((1, *size), np.ones((1, 2, kernel, kernel)), core=core, **geometry)
    job = layer.jobs[0]
    found = []
    cared = []
    for fetch in job.fetches:
        seen = 0
        for tap in job.taps[fetch["first"] : fetch["first"] + fetch["number"]]:
            for lane in range(pixels):
                if tap["lanes"] >> lane & 1:
                    at = tap["shift"] + lane * (2 if tap["wide"] else 1)
                    assert at < pixels * banks
                    seen |= 1 << at
                    found.append((lane, fetch["row"], fetch["group"] * pixels + at, tap["weight"]))
        cared.append(seen == fetch["care"])
    assert all(cared)
    expected = [
        (lane, i * dilation - padding, lane * stride + j * dilation - padding, i * kernel + j)
        for lane, i, j in product(range(pixels), range(kernel), range(kernel))
    ]
    assert sorted(found) == sorted(expected)


def test_weight_memory_splits_a_layer_into_jobs() -> None:
    weights = np.arange(6 * 2 * 9).reshape(6, 2, 3, 3) % 127 + 1
    layer = small((6, 4, 4), weights, core={"weight_words": 40})
    assert [(job.channel, job.fields["channels"], len(job.weights)) for job in layer.jobs] == [(0, 4, 36), (4, 2, 18)]
    assert [segment["weights"] for segment in layer.jobs[0].segments] == [0, 18]


def test_input_channels_that_a_block_does_not_use_are_skipped() -> None:
    """Grouped: the second block of two channels reads the second source channel only."""
    weights = np.ones((4, 1, 1, 1))
    layer = small((4, 6, 6), weights, groups=2)
    first, second = layer.jobs[0].segments
    assert (first["events"], first["inputs"]) == (0, 1)
    assert (second["events"], second["inputs"]) == (first["plane"], 1)


ONE = np.ones((2, 2, 1, 1))
LEAVES_OVER = SumPool(kernel=(4, 4), stride=(4, 4))
ACROSS = np.ones((2, 72))


def plain_target(**settings: Any) -> Network:
    return after((2, 6, 6), conv("source", "target", ONE), **settings)


def pooled() -> Network:
    net = plain_target()
    pool = MaxPool(name="pool", shape=(2, 3, 3), source="target", kernel=(2, 2), stride=(2, 2))
    return network(
        [*net.populations[:-1], pool, readout(1)], [*net.projections[:-1], dense("pool", "readout", np.ones((1, 18)))]
    )


def three_windows() -> Network:
    each = [conv("source", "target", ONE) for _ in range(3)]
    return after((2, 6, 6), *each)


def shifted(*amounts: int) -> Network:
    each = [conv("input", "target", np.ones((2, 1, 1, 1)), shift=np.full(2, amount, np.int32)) for amount in amounts]
    return after((2, 6, 6), *each)


def wide(largest: int) -> Network:
    return after((2, 6, 6), identity("source", "target", [largest, 1]))


def padded_pool() -> Network:
    return after((2, 2, 2), conv("source", "target", np.ones((2, 2, 2, 2)), pool=LEAVES_OVER, padding=(1, 1, 1, 1)))


def bright() -> Network:
    """Currents that are large before they are shifted, and small afterwards."""
    weights = np.full((2, 1, 6, 6), 127)
    return after((2, 1, 1), conv("input", "target", weights, shift=np.full(2, 9, np.int32)))


REFUSALS: dict[str, tuple[Network, str, dict[str, Any], int, str]] = {
    "input": (plain_target(), "input", {}, 2, "'input' is the input; only what reads events is computed"),
    "fetches": (
        after((2, 6, 6), conv("source", "target", np.ones((2, 2, 3, 3)), padding=(1, 1, 1, 1))),
        "target",
        {"fetches": 5},
        2,
        "'target' needs 6 fetches, the core has 5: make it with more fetches",
    ),
    "taps": (
        after((2, 6, 6), conv("source", "target", np.ones((2, 2, 3, 3)), padding=(1, 1, 1, 1))),
        "target",
        {"taps": 8},
        2,
        "'target' needs 9 taps, the core has 8",
    ),
    "event words": (plain_target(), "target", {"event_words": 11}, 2, "needs 12 event words, the core has 11"),
    "weight words": (
        after((2,), dense("source", "target", ACROSS)),
        "target",
        {"weight_words": 71},
        2,
        "needs 72 weight words, the core has 71",
    ),
    "segments": (three_windows(), "target", {"segments": 2}, 2, "needs 3 segments, the core has 2"),
    "neurons": (plain_target(), "target", {"channels": 4, "neurons": 2}, 2, "needs 4 neurons, the core has 2"),
    "pooling": (pooled(), "pool", {"pooling": False}, 2, "is a max-pool; the core was made without a max-pool unit"),
    "sums of a pool": (pooled(), "pool", {"count_bits": 4}, 8, "sums of a max-pool need 5 bits, the core has 4 count"),
    "net counts": (plain_target(), "target", {"count_bits": 4}, 8, "net counts of 8 steps need 5 bits, the core has 4"),
    "input shift": (shifted(32), "target", {}, 2, "'target' has an input shift of 32; up to 31 are possible"),
    "two shifts": (shifted(1, 2), "target", {}, 2, "takes 2 shifted projections from the input; the core has one"),
    "dense map": (
        after((1, 6, 6), dense("source", "target", np.ones((36, 72)))),
        "target",
        {},
        2,
        r"'source -> target': is dense into a map of \(1, 6, 6\)",
    ),
    "identity": (wide(200), "target", {"weight_planes": 1}, 2, "weights need 9 bits, the core has 8"),
    "wider identity": (wide(40000), "target", {}, 2, "weights need 17 bits, the core has 16"),
    "padded pool": (padded_pool(), "target", {}, 2, "pads a pooled map whose windows leave pixels over"),
    "currents": (
        after((2,), dense("source", "target", 127 * ACROSS), bias=60000),
        "target",
        {"state_bits": 16, "accumulator_bits": 16},
        2,
        "currents need 18 bits, the core has 16 state bits",
    ),
    "membranes": (
        network(
            [plain((1, 6, 6)), readout(1, bias=30000)],
            [dense("input", "readout", np.zeros((1, 36)))],
        ),
        "readout",
        {"state_bits": 16, "accumulator_bits": 16},
        4,
        "membranes need 18 bits, the core has 16 state bits",
    ),
    "initial": (
        plain_target(initial=1 << 20),
        "target",
        {"state_bits": 20, "accumulator_bits": 16},
        2,
        "initial membranes need 22 bits, the core has 20 state bits",
    ),
    "negative": (
        plain_target(negative=1 << 20, neuron="dual"),
        "target",
        {"state_bits": 20, "accumulator_bits": 16},
        2,
        "negative thresholds need 22 bits, the core has 20 state bits",
    ),
    "thresholds": (
        plain_target(threshold=16384, schedule=BASE_2),
        "target",
        {"state_bits": 20, "accumulator_bits": 16},
        7,
        "thresholds need 22 bits, the core has 20 state bits",
    ),
    "input currents": (
        bright(),
        "target",
        {"state_bits": 20, "accumulator_bits": 16},
        1,
        "input currents need 22 bits, the core has 20 state bits",
    ),
    "sums": (
        after((2,), dense("source", "target", 127 * ACROSS)),
        "target",
        {"weight_planes": 1, "accumulator_bits": 14},
        2,
        "the sums of a step need 15 bits, the core has 14 accumulator bits",
    ),
    "clamp": (
        plain_target(initial=5000, drive={"membrane_bits": 16}),
        "target",
        {"membrane_bits": 12},
        2,
        "membranes need 14 bits; the network clamps them to 16, the core to 12",
    ),
}


@pytest.mark.parametrize("name", REFUSALS)
def test_what_a_core_cannot_hold_is_refused_with_the_numbers(name: str) -> None:
    net, population, changes, steps, text = REFUSALS[name]
    given = ROOMY | changes
    given["membrane_bits"] = changes.get("membrane_bits", min(given["state_bits"], 16))
    with pytest.raises(InputError, match=text) as error:
        lower(net, population, steps, 0, Parameters(**given))
    assert isinstance(error.value, WidthError) == (" bits" in text)


def test_the_widths_that_a_layer_needs_are_told() -> None:
    layer = lower(plain_target(), "target", 8, 0, Parameters(**ROOMY))
    assert layer.widths["count_bits"] == 5
    assert layer.widths["accumulator_bits"] == 3  # two weights of 1
