# amaranth: UnusedElaboratable=no
"""The max-pool unit against its model: random cells, codes and counts, chunk by chunk, a receiver that pauses."""

from __future__ import annotations

from itertools import product
from random import Random
from typing import Any

import pytest

from hdl.parameters import Parameters
from hdl.pool import Pool
from tests.hdl.streams import SIZES, matches, parameters, receive, simulate

Cell = dict[tuple[int, int], list[int] | None]
"""A cell of every pixel's window, by row and pixel: the events of all columns; None: outside the map."""
Chunk = tuple[list[dict[str, int]], dict[str, int]]
"""Operations, and the mark at their end."""


def random_tile(sizes: Parameters, random: Random, chunks: int) -> list[Cell]:
    """Windows of a few cells, at least one of them inside; the same pixels lie inside in every chunk."""
    places = list(product(range(sizes.rows), range(sizes.pixels)))
    cells: list[Cell] = []
    for number in range(random.randint(1, 4)):
        inside = {place: number == 0 or random.random() < 0.7 for place in places}
        density = random.choice((0.1, 0.9))
        cells.append(
            {
                place: [
                    random.choice((-1, 1)) if random.random() < density else 0 for _ in range(chunks * sizes.columns)
                ]
                if inside[place]
                else None
                for place in places
            }
        )
    random.shuffle(cells)
    return cells


def chunks_of(sizes: Parameters, cells: list[Cell], chunks: int, random: Random) -> list[Chunk]:
    """What the lanes' side sends for a tile; what lies outside the map is noise."""
    result = []
    for chunk in range(chunks):
        operations = []
        for cell in cells:
            enable = negative = inside = 0
            for (row, pixel), column in product(cell, range(sizes.columns)):
                place = row * sizes.pixels + pixel
                events = cell[row, pixel]
                event = events[chunk * sizes.columns + column] if events else random.choice((-1, 0, 1))
                enable |= int(event != 0) << place * sizes.columns + column
                negative |= int(event < 0) << place * sizes.columns + column
                inside |= int(events is not None) << place
            operations.append({"enable": enable, "negative": negative, "inside": inside})
        last = int(chunk == chunks - 1)
        mark = {"static": 0, "shifted": 0, "first": int(chunk == 0), "last": last, "end": last}
        result.append((operations, mark))
    return result


def words_of(pool: Pool, cells: list[Cell], chunks: int, job: dict[str, Any], at: tuple[int, int, int]) -> list[Any]:
    """The words of a tile at channel, tile row, tile column."""
    sizes = pool.parameters
    channel, tile_row, group = at
    gains = {place: pool.model([cell[place] for cell in cells], job["double"]) for place in cells[0]}
    words = []
    for chunk, row in product(range(chunks), range(sizes.rows)):
        data = 0
        for pixel, column in product(range(sizes.pixels), range(sizes.columns)):
            if group < job["tile_columns"] - 1 or job["last"] >> pixel & 1:
                event = gains[row, pixel][chunk * sizes.columns + column]
                data |= (0, 1, 3)[event] << 2 * (pixel * sizes.columns + column)
        word = {"membrane": 0, "channel": channel, "row": tile_row * sizes.rows + row, "group": group, "index": chunk}
        if word["row"] < job["rows"]:
            words.append(word | {"data": data})
    return words


@pytest.mark.parametrize("stalls", [0.0, 0.5])
@pytest.mark.parametrize("double", [0, 1])
@pytest.mark.parametrize("size", SIZES, ids=str)
def test_random_windows(size: dict[str, int], double: int, stalls: float) -> None:
    """Two jobs, one after the other without a reset."""
    random = Random(f"{size} {double} {stalls}")
    sizes = parameters(size, count_bits=12)
    pool = Pool(sizes)
    jobs, expected = [], []
    for _ in range(2):
        chunks = random.randint(1, 8 // sizes.columns)
        job = {"pooling": 1, "double": double, "channels": 2, "tile_rows": 2, "tile_columns": 2}
        job |= {"rows": sizes.rows + random.randint(1, sizes.rows), "last": (1 << random.randint(1, sizes.pixels)) - 1}
        sent: list[Chunk] = []
        for at in product(range(2), repeat=3):
            cells = random_tile(sizes, random, chunks)
            sent += chunks_of(sizes, cells, chunks, random)
            expected += words_of(pool, cells, chunks, job, at)
        jobs.append((job, sent))
    found: list[Any] = []

    async def feed(context: Any) -> None:
        pause = Random(1)
        for job, sent in jobs:
            context.set(pool.job, job)
            context.set(pool.begin, 1)
            await context.tick()
            context.set(pool.begin, 0)
            for operations, mark in sent:
                for fields in operations:
                    while pause.random() < stalls:
                        await context.tick()
                    for name, value in fields.items():
                        context.set(getattr(pool, name), value)
                    context.set(pool.operation, 1)
                    await context.tick()
                    context.set(pool.operation, 0)
                while not context.get(pool.room):
                    await context.tick()
                context.set(pool.ends, 1)
                context.set(pool.mark, mark)
                await context.tick()
                context.set(pool.ends, 0)
                for _ in range(Pool.pause(sizes)):
                    await context.tick()
            while context.get(pool.busy):
                await context.tick()

    async def take(context: Any) -> None:
        found.extend(await receive(context, pool.words, len(expected), stalls, Random(2)))

    simulate(pool, feed, take)
    for word, wanted in zip(found, expected, strict=True):
        assert matches(word, wanted), wanted


@pytest.mark.parametrize(
    ("cells", "double", "sent"),
    [
        ([[1, 0, 1], [0, 1, 1]], False, [1, 0, 1]),
        ([[1, 0, 0], [0, 1, 1]], False, [1, 0, 1]),
        ([[1, 0, 0], [0, 1, 1]], True, [1, 0, 0]),
        ([[-1, 0], None], False, [-1, 0]),
        ([[0, 0], [-1, 0]], False, [0, 0]),
    ],
)
def test_the_model_sends_what_the_largest_sum_gains(
    cells: list[list[int] | None], double: bool, sent: list[int]
) -> None:
    assert Pool(parameters(SIZES[0])).model(cells, double) == sent
