# amaranth: UnusedElaboratable=no
"""The fetching of rows against its model: random memories and requests, stalls on both sides."""

from __future__ import annotations

from random import Random
from typing import Any

import pytest

from hdl.gather import DEPTH, Gather
from hdl.parameters import Parameters
from tests.hdl.streams import SIZES, matches, parameters, receive, send, simulate

SIZES_HERE = [*({**size, "pooling": True} for size in SIZES), {**SIZES[1], "pooling": False}]


def random_word(sizes: Parameters, random: Random) -> int:
    """A stored group: mostly silent."""
    events = (random.choice((0, 0, 0, 1, 3)) for _ in range(sizes.word_bits // 2))
    return sum(event << 2 * at for at, event in enumerate(events))


def random_request(sizes: Parameters, random: Random) -> dict[str, Any]:
    """Rows and groups in and around a small map, or the end of a pass."""
    bits = ("static", "shifted", "first", "last", "end")
    if random.random() < 0.15:
        return {"marks": 1, "mark": {name: random.getrandbits(1) for name in bits}}
    full = (1 << sizes.visible) - 1
    return {
        "marks": 0,
        "address": random.randrange(sizes.event_words),
        "row_offset": random.randrange(sizes.event_words),
        "row": random.randint(-3, 4),
        "row_stride": random.randint(0, 3),
        "rows": random.randint(2, 5),
        "group": random.randint(-4, 4),
        "groups": random.randint(2, 9),
        "last": random.getrandbits(sizes.pixels),
        "care": random.choice((0, full, full, random.getrandbits(sizes.visible))),
        "first": random.randrange(sizes.taps),
        "number": random.choice((1, random.randrange(sizes.taps))),
        "weights": random.randrange(sizes.weight_words),
    }


async def store(context: Any, gather: Gather, stored: list[list[int]]) -> None:
    """Fill the memory."""
    for bank, words in enumerate(stored):
        for address, word in enumerate(words):
            context.set(gather.store, {"enable": 1, "bank": bank, "address": address, "data": word})
            await context.tick()
    context.set(gather.store.enable, 0)


@pytest.mark.parametrize("stalls", [(0.0, 0.0), (0.0, 0.9), (0.4, 0.4)], ids=str)
@pytest.mark.parametrize("size", SIZES_HERE, ids=str)
def test_random_requests(size: dict[str, int], stalls: tuple[float, float]) -> None:
    random = Random(f"{size} {stalls}")
    sizes = parameters(size, event_words=16)
    gather = Gather(sizes)
    stored = [[random_word(sizes, random) for _ in range(sizes.event_words)] for _ in range(sizes.banks)]
    requests = [random_request(sizes, random) for _ in range(120)]
    for keep, zeros in ((0, 0), (1, random.getrandbits(1))):
        windows = [gather.model(stored, request, keep, zeros) for request in requests]
        expected = [window for window in windows if window]
        assert sum(any(window.get("events", [])) for window in expected) >= 5
        found: list[Any] = []
        dropped = 0

        async def feed(context: Any, keep: int = keep, zeros: int = zeros) -> None:
            await store(context, gather, stored)
            context.set(gather.keep, keep)
            context.set(gather.zeros, zeros)
            await send(context, gather.requests, requests, stalls[0], Random(1))
            for _ in range(12):
                await context.tick()

        async def take(context: Any, number: int = len(expected), found: list[Any] = found) -> None:
            found += await receive(context, gather.windows, number, stalls[1], Random(2))

        async def count(context: Any) -> None:
            nonlocal dropped
            while True:
                dropped += (await context.tick().sample(gather.dropped))[2]

        simulate(gather, feed, take, background=[count])
        assert dropped == len(requests) - len(expected)
        for window, wanted in zip(found, expected, strict=True):
            assert matches(window, wanted), wanted


def quiet(sizes: Parameters, **fields: int) -> dict[str, Any]:
    """A request that sees one row of a map that begins at address 0."""
    request = {"rows": 1, "groups": 1, "last": (1 << sizes.pixels) - 1, "care": (1 << sizes.visible) - 1}
    return request | {"row_stride": 1, "marks": 0, "row": 0, "group": 0, "address": 0, "row_offset": 0} | fields


def test_the_first_window_comes_after_the_latency_then_one_a_cycle() -> None:
    sizes = parameters(SIZES[0])
    gather = Gather(sizes)
    times: list[int] = []

    async def bench(context: Any) -> None:
        await store(context, gather, [[1], [0]])
        context.set(gather.requests.payload, quiet(sizes) | dict.fromkeys(("first", "number", "weights"), 0))
        context.set(gather.requests.valid, 1)
        context.set(gather.windows.ready, 1)
        for cycle in range(50):
            assert context.get(gather.requests.ready)
            if context.get(gather.windows.valid):
                times.append(cycle)
            await context.tick()

    simulate(gather, bench)
    assert times == list(range(gather.latency, 50))


def test_requests_wait_when_windows_do() -> None:
    """As many are taken as there is room for, and none is lost or doubled; silent ones give their room back."""
    sizes = parameters(SIZES[0])
    gather = Gather(sizes)
    full = [quiet(sizes, first=at % 8, number=1, weights=at) for at in range(DEPTH + 4)]
    silent = [quiet(sizes, first=0, number=1, weights=0, row=1)] * 3
    taken = 0
    found: list[int] = []

    async def feed(context: Any) -> None:
        nonlocal taken
        await store(context, gather, [[1], [0]])
        for request in silent + full:
            await send(context, gather.requests, [request], 0.0, Random(0))
            taken += 1

    async def take(context: Any) -> None:
        for _ in range(80):
            await context.tick()
        assert taken == len(silent) + DEPTH
        assert not context.get(gather.requests.ready)
        found.extend(window.weights for window in await receive(context, gather.windows, len(full), 0.5, Random(0)))

    simulate(gather, feed, take)
    assert found == list(range(len(full)))


@pytest.mark.parametrize("row", [-1, 1])
def test_rows_outside_the_map_are_silent(row: int) -> None:
    gather = Gather(parameters(SIZES[0]))
    request = quiet(gather.parameters, row=row, first=0, number=1, weights=0)
    assert gather.model([[1], [1]], request) is None
    window = gather.model([[1] * 64, [1] * 64], request, keep=1)
    assert window is not None
    assert (window["events"], window["inside"]) == ([0], [0])
    inside = gather.model([[1] * 64, [1] * 64], request | {"row": 0})
    assert inside is not None
    assert (inside["events"], inside["inside"]) == ([1], [1])
