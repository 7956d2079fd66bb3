# amaranth: UnusedElaboratable=no
"""Micro-operations against their model: random windows, taps and weights; windows and room come late."""

from __future__ import annotations

from random import Random
from typing import Any

import pytest
from amaranth.hdl import signed
from amaranth.lib import data

from hdl.issue import Issue
from hdl.parameters import Parameters
from hdl.pool import Pool
from hdl.tables import address_bits, tap_layout
from tests.hdl.streams import SIZES, fill, matches, parameters, send, simulate

WIDE = {"channels": 2, "rows": 1, "pixels": 8, "columns": 1, "banks": 4}
"""The shifter shifts by 8, 2 and 1."""
SIZES_HERE = [*({**size, "pooling": True} for size in (*SIZES, WIDE)), {**SIZES[1], "pooling": False}]
MARKS = ("static", "shifted", "first", "last", "end")


def random_taps(sizes: Parameters, random: Random) -> list[dict[str, int]]:
    """A full table."""
    return [
        {
            "shift": random.randrange(sizes.visible),
            "wide": random.getrandbits(1),
            "lanes": random.choice([(1 << sizes.pixels) - 1, random.getrandbits(sizes.pixels)]),
            "weight": random.randrange(sizes.weight_words),
            "high": random.getrandbits(1) if sizes.weight_planes == 2 else 0,
        }
        for _ in range(sizes.taps)
    ]


def random_window(sizes: Parameters, random: Random, pooling: int) -> dict[str, Any]:
    """Ternary events, or the end of a pass."""
    if random.random() < 0.2:
        single = int(sizes.pixels == 1 and not pooling)
        return {"marks": 1, "single": single, "mark": {name: random.getrandbits(1) for name in MARKS}}
    first = random.randrange(sizes.taps - 1)
    number = random.randint(1, min(6, sizes.taps - first))
    window: dict[str, Any] = {
        "marks": 0,
        "first": first,
        "number": number,
        "single": int(number == 1),
        "weights": random.randrange(sizes.weight_words),
        "events": [
            sum(random.choice((0, 1, 3)) << 2 * at for at in range(sizes.visible * sizes.columns))
            for _ in range(sizes.rows)
        ],
    }
    if sizes.pooling:
        window["inside"] = [random.getrandbits(sizes.visible) for _ in range(sizes.rows)]
    return window


def watched(issue: Issue) -> list[Any]:
    """What leaves in every cycle, and what of it is late."""
    operation = issue.operation
    signals = [issue.active, issue.marked, issue.mark, operation, issue.stored, issue.slot, issue.filled]
    return [*signals, issue.windows.ready]


@pytest.mark.parametrize("stalls", [0.0, 0.4])
@pytest.mark.parametrize("size", SIZES_HERE, ids=str)
def test_random_windows(size: dict[str, int], stalls: float) -> None:
    random = Random(f"{size} {stalls}")
    sizes = parameters(size)
    issue = Issue(sizes)
    taps = random_taps(sizes, random)
    words = [[random.choice((-128, 127, random.randint(-128, 127))) for _ in range(sizes.channels)] for _ in range(64)]
    for pooling in range(1 + sizes.pooling):
        windows = [random_window(sizes, random, pooling) for _ in range(60)]
        cycles: list[list[Any]] = []

        async def feed(
            context: Any,
            pooling: int = pooling,
            windows: list[dict[str, Any]] = windows,
            cycles: list[list[Any]] = cycles,
        ) -> None:
            await fill(context, issue.write_tap, tap_layout(sizes), taps)
            await fill(context, issue.write_weights, data.ArrayLayout(signed(8), sizes.channels), words)
            context.set(issue.pooling, pooling)
            for _ in range(sizes.pixels + issue.latency):  # the lanes are cleared
                await context.tick()
            cycles.clear()
            await send(context, issue.windows, windows, stalls, Random(1))
            for _ in range(issue.latency):
                await context.tick()

        async def watch(context: Any, cycles: list[list[Any]] = cycles) -> None:
            room = Random(2)
            while True:
                context.set(issue.room, room.random() >= stalls)
                _, _, *values = await context.tick().sample(*watched(issue))
                cycles.append(values)

        simulate(issue, feed, background=[watch])
        expected = [each for window in windows for each in issue.model(window, taps, words, pooling)]
        check(cycles, expected, [window["mark"] for window in windows if window["marks"]], issue, pooling)


def check(
    cycles: list[list[Any]], expected: list[dict[str, Any]], marks: list[dict[str, int]], issue: Issue, pooling: int
) -> None:
    """Every operation leaves ``latency`` cycles after its tap was reached, and nothing else happens."""
    sizes = issue.parameters
    taps = [operation for operation in expected if "weights" in operation]
    reached = [at for at, values in enumerate(cycles) if values[0]]
    assert len(reached) == len(taps)
    due = dict(zip((at + issue.latency for at in reached), taps, strict=True))
    marked = [at for at, values in enumerate(cycles) if values[1]]
    told = [cycles[at][2] for at in marked]
    if not pooling:
        assert len(told) == len(marks)
        assert all(map(matches, told, marks))
    slots = [at for at, values in enumerate(cycles) if values[4]]
    assert [cycles[at][5] for at in slots] == [operation["slot"] for operation in expected if "slot" in operation]
    assert [cycles[at][6] for at in slots] == [int(cycles[at][5] == 0) for at in slots]
    assert slots == [at + issue.latency + pixel for at in marked for pixel in range(sizes.pixels)]
    ended = []
    for at, (*_, operation, stored, _, _, _) in enumerate(cycles):
        assert operation.shift == stored or pooling
        assert not (operation.shift and at in due)
        if at in due:
            assert matches(operation, due[at]), due[at]
        else:
            assert operation.enable == 0
        if sizes.pooling:
            assert operation.pooled == (pooling and at in due)
            if operation.ends:
                ended.append((at, operation.mark))
    if pooling:
        assert not marked
        assert len(ended) == len(marks)
        for (at, mark), wanted in zip(ended, marks, strict=True):
            assert matches(mark, wanted)
            assert not any(at <= other <= at + Pool.pause(sizes) for other in due)
            assert all(cycles[at + pixel][3].shift for pixel in range(sizes.pixels))  # the lanes are cleared


def test_windows_follow_each_other_without_a_gap() -> None:
    """A tap a cycle, P cycles for the end of a pass."""
    sizes = parameters(SIZES[1])
    issue = Issue(sizes)
    window = {"marks": 0, "first": 0, "number": 3, "weights": 0, "events": [0] * sizes.rows}
    ends = {"marks": 1, "mark": dict.fromkeys(MARKS, 0)}
    active: list[int] = []

    async def feed(context: Any) -> None:
        context.set(issue.room, 1)
        await send(context, issue.windows, [window, window, ends, window], 0.0, Random(0))

    async def watch(context: Any) -> None:
        while True:
            active.append((await context.tick().sample(issue.active))[2])

    simulate(issue, feed, background=[watch])
    assert "".join(map(str, active)).strip("0") == "111111" + "0" * sizes.pixels + "111"


def test_the_lanes_are_cleared_after_a_reset() -> None:
    """Shifts without storing."""
    sizes = parameters(SIZES[1])
    issue = Issue(sizes)
    seen: list[tuple[int, int]] = []

    async def bench(context: Any) -> None:
        for _ in range(sizes.pixels + issue.latency + 2):
            seen.append((context.get(issue.operation.shift), context.get(issue.stored)))
            await context.tick()

    simulate(issue, bench)
    assert seen == [(0, 0)] * issue.latency + [(1, 0)] * sizes.pixels + [(0, 0)] * 2


def test_the_model_reaches_every_other_pixel() -> None:
    sizes = parameters({"channels": 1, "rows": 1, "pixels": 2, "columns": 1, "banks": 2}, pooling=False)
    issue = Issue(sizes)
    window = {"marks": 0, "first": 0, "number": 1, "weights": 3, "events": [0b01_11_00_01]}
    tap = {"shift": 1, "wide": 1, "lanes": 0b11, "weight": 2, "high": 1}
    words = [[number] for number in range(1 << address_bits(sizes.weight_words))]
    expected = {"weights": [5 * 256], "enable": 0b10, "negative": 0b00}
    assert issue.model(window, [tap], words) == [expected]
