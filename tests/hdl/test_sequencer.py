"""The sequencer against its model: random tables, stalls, late constants."""

from __future__ import annotations

from itertools import pairwise
from random import Random
from typing import Any

import pytest

from hdl.parameters import Parameters
from hdl.sequencer import Sequencer
from hdl.tables import fetch_layout, segment_layout
from tests.hdl.streams import SIZES, fill, matches, parameters, simulate

Tables = tuple[dict[str, int], list[dict[str, int]], list[dict[str, int]]]


def tables(sizes: Parameters, random: Random, pooling: bool) -> Tables:
    """A job with its segments and fetches; segments of a pass have equally many chunks."""

    def below(bound: int) -> int:
        return random.randrange(bound)

    fetches = [
        {
            "row": below(7) - 3,
            "offset": below(64),
            "group": below(7) - 3,
            "care": random.getrandbits(sizes.visible),
            "first": below(32),
            "number": 1 + below(31),
        }
        for _ in range(6)
    ]
    blocks = random.randint(1, 3)
    unused = below(3)
    segments: list[dict[str, int]] = []
    for _ in range(unused + (1 if pooling else blocks)):
        passes = 1 if pooling else random.randint(1, 3)
        for number in range(passes):
            chunks = random.randint(1, 3)
            several = 1 if pooling else random.randint(1, 2)
            for each in range(several):
                first = below(6)
                segments.append(
                    {name: below(64) for name in ("events", "plane", "tile_offset", "row_offset", "chunk_offset")}
                    | {name: below(5) for name in ("tile_rows", "row_stride", "tile_groups")}
                    | {"weights": below(64), "advance": below(64), "inputs": 1 if pooling else random.randint(1, 3)}
                    | {"rows": below(1024), "groups": below(1024), "edge": random.getrandbits(sizes.pixels)}
                    | {"first": first, "number": 1 + below(6 - first), "chunks": chunks}
                    | {"last": int(each == several - 1), "end": int(each == several - 1 and number == passes - 1)}
                    | {"static": below(2), "shifted": below(2)}
                )
    ends = [0] + [at + 1 for at, segment in enumerate(segments) if segment["end"]]
    job = {
        "blocks": blocks,
        "segments": ends[unused],
        "tile_rows": random.randint(1, 3),
        "tile_columns": random.randint(1, 3),
        "pooling": int(pooling),
    }
    return job, segments, fetches


def run(sequencer: Sequencer, jobs: list[Tables], stalls: float, seed: str) -> list[list[list[Any]]]:
    """Every job's blocks of requests: all that are taken between one ``ready`` and the next."""
    found: list[list[list[Any]]] = []
    taking, serving = Random(f"take {seed}"), Random(f"serve {seed}")

    async def take(context: Any) -> None:
        for job, segments, fetches in jobs:
            await fill(context, sequencer.write_segment, segment_layout(sequencer.parameters), segments)
            await fill(context, sequencer.write_fetch, fetch_layout(sequencer.parameters), fetches)
            context.set(sequencer.job, job)
            context.set(sequencer.start, 1)
            await context.tick()
            context.set(sequencer.start, 0)
            found.append([])
            while context.get(sequencer.busy):
                context.set(sequencer.requests.ready, taking.random() >= stalls)
                stream = sequencer.requests
                _, _, valid, ready, request = await context.tick().sample(stream.valid, stream.ready, stream.payload)
                if valid and ready:
                    found[-1][-1].append(request)
            assert not context.get(sequencer.requests.valid)

    async def serve(context: Any) -> None:
        while True:
            _, _, block = await context.tick().sample(sequencer.block)
            if not block:
                continue
            for _ in range(serving.randrange(30)):
                await context.tick()
            while context.get(sequencer.requests.valid):
                await context.tick()
            found[-1].append([])
            context.set(sequencer.ready, 1)
            await context.tick()
            context.set(sequencer.ready, 0)

    simulate(sequencer, take, background=[serve])
    return found


@pytest.mark.parametrize("size", SIZES, ids=str)
@pytest.mark.parametrize("stalls", [0.0, 0.5])
def test_random_tables(size: dict[str, int], stalls: float) -> None:
    random = Random(f"{size} {stalls}")
    sequencer = Sequencer(parameters(size))
    jobs = [tables(sequencer.parameters, random, pooling=number % 3 == 2) for number in range(3)]
    found = run(sequencer, jobs, stalls, f"{size}")
    for job, blocks in zip(jobs, found, strict=True):
        for requests, expected in zip(blocks, sequencer.model(*job), strict=True):
            assert len(requests) == len(expected)
            for request, wanted in zip(requests, expected, strict=True):
                assert matches(request, wanted), wanted


def test_requests_are_as_close_as_documented() -> None:
    sequencer = Sequencer(parameters(SIZES[1]))
    job, segments, fetches = tables(sequencer.parameters, Random(1), pooling=False)
    times: list[tuple[int, int]] = []

    async def bench(context: Any) -> None:
        await fill(context, sequencer.write_segment, segment_layout(sequencer.parameters), segments)
        await fill(context, sequencer.write_fetch, fetch_layout(sequencer.parameters), fetches)
        context.set(sequencer.job, job)
        context.set(sequencer.ready, 1)
        context.set(sequencer.requests.ready, 1)
        context.set(sequencer.start, 1)
        await context.tick()
        context.set(sequencer.start, 0)
        cycle = 0
        while context.get(sequencer.busy):
            if context.get(sequencer.requests.valid):
                times.append((cycle, context.get(sequencer.requests.payload.marks)))
            await context.tick()
            cycle += 1

    simulate(sequencer, bench)
    gaps: dict[tuple[int, int], set[int]] = {(before, after): set() for before in (0, 1) for after in (0, 1)}
    for (earlier, before), (later, after) in pairwise(times):
        gaps[before, after].add(later - earlier - 1)
    assert times[0][0] == 12  # the block is told in cycle 0, and ``ready`` seen in cycle 1
    assert gaps == {(0, 0): {0, 6}, (0, 1): {0}, (1, 0): {5, 6, 9}, (1, 1): set()}
