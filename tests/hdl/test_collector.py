# amaranth: UnusedElaboratable=no
"""The collector against its model: random spikes and membranes, a receiver that pauses."""

from __future__ import annotations

from random import Random
from typing import Any

import pytest

from hdl.collector import Collector
from hdl.parameters import Parameters
from tests.hdl.streams import SIZES, matches, parameters, receive, simulate

WIDE = {"channels": 2, "rows": 1, "pixels": 8, "columns": 4, "banks": 2}
"""Groups of events have more bits than a membrane, which fills them with its sign."""

Chunk = tuple[dict[str, int], list[list[int]]]
"""A tile, and what is pushed for it."""


def random_tile(sizes: Parameters, random: Random) -> dict[str, int]:
    """In the middle of a map, or at its end: with channels, rows and pixels that are not there."""
    channel, row = random.randrange(5) * sizes.channels, random.randrange(5) * sizes.rows
    return {
        "channel": channel,
        "channels": channel + random.randint(1, 2 * sizes.channels),
        "row": row,
        "rows": row + random.randint(1, 2 * sizes.rows),
        "group": random.randrange(1024),
        "index": random.randrange(64),
        "last": random.choice([(1 << sizes.pixels) - 1, (1 << random.randint(1, sizes.pixels)) - 1]),
    }


def random_chunk(sizes: Parameters, random: Random) -> Chunk:
    """Columns may be missing in front."""
    columns = random.choice([sizes.columns, random.randint(1, sizes.columns)])
    pushed = [[random.choice((-1, 0, 1)) for _ in range(sizes.channels)] for _ in range(columns * sizes.places)]
    return random_tile(sizes, random), pushed


async def request(context: Any, collector: Collector, port: Any) -> None:
    """Pulse ``emit`` or ``show``, and wait until the last word has been chosen."""
    context.set(port, 1)
    await context.tick()
    context.set(port, 0)
    assert context.get(collector.sending)
    while context.get(collector.sending):
        await context.tick()


def describe(collector: Collector, context: Any, tile: dict[str, int]) -> None:
    for name, value in tile.items():
        context.set(getattr(collector, name), value)


@pytest.mark.parametrize("stalls", [0.0, 0.5])
@pytest.mark.parametrize("size", SIZES, ids=str)
def test_random_chunks(size: dict[str, int], stalls: float) -> None:
    """Also the next chunk may be pushed while the last word of the one before still waits."""
    random = Random(f"{size} {stalls}")
    sizes = parameters(size)
    collector = Collector(sizes)
    chunks = [random_chunk(sizes, random) for _ in range(25)]
    expected = [word for tile, pushed in chunks for word in collector.model(tile, pushed)]
    found: list[Any] = []

    async def feed(context: Any) -> None:
        pause = Random(2)
        for tile, pushed in chunks:
            describe(collector, context, tile)
            for spikes in pushed:
                while pause.random() < stalls:
                    await context.tick()
                context.set(collector.push, 1)
                context.set(collector.spikes, [(0, 1, 3)[spike] for spike in spikes])
                await context.tick()
                context.set(collector.push, 0)
            await request(context, collector, collector.emit)
            describe(collector, context, dict.fromkeys(("channel", "row", "group", "index", "last"), 0))
        for _ in range(40):
            await context.tick()
        assert not context.get(collector.busy)

    async def take(context: Any) -> None:
        found.extend(await receive(context, collector.words, len(expected), stalls, Random(1)))

    simulate(collector, feed, take)
    assert len(expected) >= 25
    for word, wanted in zip(found, expected, strict=True):
        assert matches(word, wanted), wanted


@pytest.mark.parametrize("stalls", [0.0, 0.5])
@pytest.mark.parametrize("size", [*SIZES, WIDE], ids=str)
def test_random_membranes(size: dict[str, int], stalls: float) -> None:
    random = Random(f"{size} {stalls}")
    sizes = parameters(size)
    collector = Collector(sizes)
    bound = 1 << sizes.state_bits - 1
    shown = []
    for _ in range(12):
        tile = random_tile(sizes, random)
        for place in range(sizes.places):
            membranes = [
                random.choice((-bound, bound - 1, random.randrange(-bound, bound))) for _ in range(size["channels"])
            ]
            shown.append((tile, place, membranes))
    expected = [word for tile, place, membranes in shown for word in collector.model_membranes(tile, place, membranes)]
    found: list[Any] = []

    async def feed(context: Any) -> None:
        for tile, place, membranes in shown:
            describe(collector, context, tile | {"index": 0})
            await context.tick()
            context.set(collector.place, place)
            context.set(collector.membranes, membranes)
            await request(context, collector, collector.show)

    async def take(context: Any) -> None:
        found.extend(await receive(context, collector.words, len(expected), stalls, Random(1)))

    simulate(collector, feed, take)
    for word, wanted in zip(found, expected, strict=True):
        assert matches(word, wanted), wanted


def test_a_word_a_cycle() -> None:
    """A channel that is not in the map takes its cycles all the same."""
    sizes = parameters(SIZES[1])
    collector = Collector(sizes)
    offered = ""

    async def bench(context: Any) -> None:
        nonlocal offered
        tile = {"channel": 0, "channels": 2, "row": 0, "rows": 2, "last": 15}
        describe(collector, context, tile)
        context.set(collector.words.ready, 1)
        await context.tick()
        context.set(collector.emit, 1)
        for cycle in range(14):
            offered += str(context.get(collector.words.valid))
            assert context.get(collector.sending) == (1 <= cycle <= 8)
            await context.tick()
            context.set(collector.emit, 0)

    simulate(collector, bench)
    assert offered == "0" * collector.latency + "11110000"


def test_the_model_packs_pixel_by_pixel() -> None:
    """Two pixels, two columns: of the second pixel the second column is negative, and nothing else."""
    sizes = parameters({"channels": 1, "rows": 1, "pixels": 2, "columns": 2, "banks": 2})
    collector = Collector(sizes)
    tile = {"channel": 0, "channels": 1, "row": 0, "rows": 1, "group": 4, "index": 5, "last": 3}
    word = {"membrane": 0, "channel": 0, "row": 0, "group": 4, "index": 5, "data": 0b11_00_00_00}
    assert collector.model(tile, [[0], [0], [0], [-1]]) == [word]
    assert collector.model(tile, [[0], [-1]]) == [word]
    assert collector.model(tile | {"last": 1}, [[0], [0], [0], [-1]]) == [word | {"data": 0}]
    assert collector.model_membranes(tile, 1, [-1]) == [word | {"membrane": 1, "index": 1, "data": (1 << 24) - 1}]
    assert collector.model_membranes(tile | {"last": 1}, 1, [-1]) == []
