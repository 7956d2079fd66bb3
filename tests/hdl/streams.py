"""Senders and receivers of streams that pause at random, and what runs them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from random import Random
from typing import Any, TypeAlias

from amaranth.hdl import Value
from amaranth.lib import data
from amaranth.sim import Simulator

from hdl.parameters import Parameters

SIZES = (
    {"channels": 1, "rows": 1, "pixels": 1, "columns": 1, "banks": 2},
    {"channels": 3, "rows": 2, "pixels": 4, "columns": 2, "banks": 4},
    {"channels": 2, "rows": 3, "pixels": 2, "columns": 4, "banks": 2, "weight_planes": 1},
)
"""Shapes of cores with every size once at its least."""

PATIENCE = 20_000
"""No simulation here takes so many cycles: something waits for what never comes."""


def parameters(size: Mapping[str, int], **others: Any) -> Parameters:
    """A small core."""
    small = {"event_words": 64, "weight_words": 64, "fetches": 32, "taps": 32, "segments": 32, "neurons": 32}
    return Parameters(**{**small, **size, **others})


Process: TypeAlias = Callable[[Any], Any]


def simulate(component: Any, *processes: Process, background: Iterable[Process] = ()) -> None:
    """Run processes until all of them have ended; those in the ``background`` do not count."""

    async def watch(context: Any) -> None:
        for _ in range(PATIENCE):
            await context.tick()
        raise TimeoutError(f"not done after {PATIENCE:,} cycles")

    simulator = Simulator(component)
    simulator.add_clock(1e-6)
    for process in processes:
        simulator.add_testbench(process)
    for process in (*background, watch):
        simulator.add_testbench(process, background=True)
    simulator.run()


async def fill(context: Any, write: Any, layout: data.Layout, entries: list[Any]) -> None:
    """Write a table's entries, or a memory's words, from address 0 on."""
    for address, entry in enumerate(entries):
        word = Value.cast(layout.const(entry)).value
        context.set(write, {"enable": 1, "address": address, "data": word & (1 << layout.size) - 1})
        await context.tick()
    context.set(write.enable, 0)


async def send(context: Any, stream: Any, items: list[Any], stalls: float, random: Random) -> None:
    """Offer items one after the other; ``stalls``: how often, of 1, not yet."""
    for item in items:
        while random.random() < stalls:
            await context.tick()
        context.set(stream.payload, item)
        context.set(stream.valid, 1)
        await context.tick().until(stream.ready)
        context.set(stream.valid, 0)


async def receive(context: Any, stream: Any, number: int, stalls: float, random: Random) -> list[Any]:
    """Take so many items; ``stalls``: how often, of 1, not ready. What is offered must stay until it is taken."""
    found: list[Any] = []
    offered = None
    while len(found) < number:
        context.set(stream.ready, random.random() >= stalls)
        _, _, valid, ready, payload = await context.tick().sample(stream.valid, stream.ready, stream.payload)
        assert offered is None or (valid and payload == offered), "an offer was withdrawn"
        offered = None
        if valid and ready:
            found.append(payload)
        elif valid:
            offered = payload
    context.set(stream.ready, 0)
    return found


def matches(found: Any, expected: Any) -> bool:
    """Whether a structure's or array's fields are as expected; fields that are not mentioned may be anything."""
    if isinstance(expected, Mapping):
        return all(matches(getattr(found, name), value) for name, value in expected.items())
    if isinstance(expected, list):
        return all(matches(found[index], value) for index, value in enumerate(expected))
    return bool(found == expected)
