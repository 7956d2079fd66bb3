# amaranth: UnusedElaboratable=no
"""The queue against a list, with a sender that goes on for as long as it may once there is no more room."""

from __future__ import annotations

from random import Random
from typing import Any

import pytest

from hdl.queue import Queue
from tests.hdl.streams import receive, simulate

WORDS = 300


@pytest.mark.parametrize(("depth", "late"), [(1, 0), (2, 1), (8, 4), (16, 0)])
@pytest.mark.parametrize("stalls", [0.0, 0.3, 0.8])
def test_words_come_out_in_order(depth: int, late: int, stalls: float) -> None:
    queue = Queue(8, depth, late)
    random = Random(f"{depth} {late} {stalls}")
    words = [random.randrange(256) for _ in range(WORDS)]
    found: list[int] = []
    fullest = 0

    async def feed(context: Any) -> None:
        nonlocal fullest
        # Decisions under way: each is taken ``late - 1`` cycles before its word comes in.
        coming = [0] * max(late - 1, 0)
        decided = put = 0
        while put < WORDS:
            coming.append(int(decided < WORDS and context.get(queue.room) and random.random() < 0.9))
            if not late:
                coming[-1] &= put - len(found) < depth  # whoever counts words needs no room
            decided += coming[-1]
            context.set(queue.put, coming[0])
            if coming.pop(0):
                context.set(queue.word, words[put])
                put += 1
            fullest = max(fullest, put - len(found))
            await context.tick()
        context.set(queue.put, 0)

    async def take(context: Any) -> None:
        while len(found) < WORDS:
            found.extend(await receive(context, queue.words, 1, stalls, random))
        await context.tick()
        assert context.get(queue.empty)

    simulate(queue, feed, take)
    assert found == words
    assert fullest >= min(depth, depth - late) or not stalls


def test_a_word_a_cycle_two_cycles_later() -> None:
    queue = Queue(8, 8, 4)
    offered = []

    async def bench(context: Any) -> None:
        context.set(queue.words.ready, 1)
        for cycle in range(24):
            context.set(queue.put, cycle < 20)
            context.set(queue.word, cycle)
            offered.append(context.get(queue.words.payload) if context.get(queue.words.valid) else None)
            assert context.get(queue.room)
            await context.tick()

    simulate(queue, bench)
    assert offered == [None, None, *range(20), None, None]
