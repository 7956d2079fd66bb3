# amaranth: UnusedElaboratable=no
"""The neurons with their memories against their model: random beats, each pixel's state, sums from either half."""

from __future__ import annotations

from random import Random
from typing import Any

import pytest

from hdl.bank import HALVES, NeuronBank
from hdl.neuron import Constant, Neuron, beat_layout, constants_layout
from hdl.stimuli import random_neurons, reads_static
from tests.hdl.streams import SIZES, fill, parameters, simulate

Beat = dict[str, int]
SETTINGS = {"negative": 1, "capped": 1, "gated": 1, "low": -2, "high": 3}
WIDTHS = {"state_bits": 40, "accumulator_bits": 16, "membrane_bits": 12, "count_bits": 8}


def random_beat(random: Random, columns: int, known: bool) -> Beat:
    """The first beat of a pixel reads nothing that was not written."""
    beat = {name: random.getrandbits(1) for name in beat_layout(parameters(SIZES[0])).members}
    constants = [Constant.NONE, Constant.BIAS, Constant.INITIAL, *([Constant.STATIC] if known else [])]
    doubling = int(random.random() < 0.2)
    beat |= {"valid": 1, "mask": random.getrandbits(columns), "constant": random.choice(constants).value, "halve": 0}
    beat |= {"double": doubling, "keep": int(beat["keep"] and known and not doubling), "fire": int(known)}
    beat |= {"clamp": int(known), "restart": int(not known or random.random() < 0.2)}
    return beat | {
        "recount": int(not known),
        "commit": int(not known or beat["commit"]),
        "again": int(beat["again"] and known),
    }


class Bench:
    """Drives a bank: beats as soon as their pixel's state is there, sums into halves that are not read."""

    def __init__(self, bank: NeuronBank, random: Random, hurry: float) -> None:
        self.bank, self.random, self.hurry = bank, random, hurry
        self.parameters = bank.parameters
        self.neuron = Neuron(bank.parameters)
        self.beats: list[tuple[int, Beat, list[list[int]]]] = []
        self.spikes: list[list[int]] = []
        self.membranes: dict[int, list[int]] = {}

    async def run(self, context: Any, constants: list[dict[str, int]], first: int, number: int) -> None:
        """Load the constants, enter so many beats, and look at all membranes."""
        bank, sizes, random = self.bank, self.parameters, self.random
        places, columns, channels = sizes.places, sizes.columns, sizes.channels
        await fill(context, bank.write, constants_layout(sizes), [{}] * first + constants)
        context.set(bank.settings, SETTINGS)
        context.set(bank.load, 1)
        context.set(bank.first, first)
        await context.tick()
        context.set(bank.load, 0)
        waited = 1
        while not context.get(bank.loaded):
            await context.tick()
            waited += 1
        assert waited == channels + 3
        await context.tick()
        left = [[[0] * len(bank.store.sums) for _ in range(sizes.pixels)] for _ in range(HALVES)]
        due: dict[int, list[Any]] = {}
        stored = [-99] * places
        committed = [-99] * places
        entered = cycle = reading = 0
        for half in range(HALVES):
            for slot in range(sizes.pixels):
                await self.store(context, left, half, slot)
                await context.tick()
        context.set(bank.store.enable, 0)
        while entered < number or due:
            if cycle in due:
                del due[cycle]
                self.spikes.append([context.get(spike) for spike in bank.spikes])
            ready = [place for place in range(places) if cycle - stored[place] >= self.neuron.revisit]
            before, reading = reading, random.randrange(HALVES)
            context.set(bank.store.enable, 0)
            if reading == before:
                await self.store(context, left, 1 - reading, random.randrange(sizes.pixels))
            context.set(bank.beat.valid, 0)
            if entered < number and ready and random.random() < self.hurry:
                place = random.choice(ready)
                beat = random_beat(random, columns, stored[place] >= 0)
                if not reads_static(beat) or cycle - committed[place] >= self.neuron.settled:
                    context.set(bank.beat, beat)
                    context.set(bank.place, place)
                    context.set(bank.half, reading)
                    row, pixel = divmod(place, sizes.pixels)
                    sums = left[reading][pixel]
                    starts = [(row * channels + c) * columns for c in range(channels)]
                    self.beats.append((place, beat, [sums[start : start + columns] for start in starts]))
                    stored[place] = cycle
                    if beat["commit"]:
                        committed[place] = cycle
                    due[cycle + bank.latency] = []
                    entered += 1
            await context.tick()
            cycle += 1
        context.set(bank.beat.valid, 0)
        for place in range(places):
            context.set(bank.place, place)
            for _ in range(3):
                await context.tick()
            self.membranes[place] = [context.get(membrane) for membrane in bank.membranes]

    async def store(self, context: Any, left: list[list[list[int]]], half: int, slot: int) -> None:
        """Other sums for a pixel, from this cycle's end on."""
        sums = [self.random.randint(-2000, 2000) for _ in left[half][slot]]
        left[half][slot] = sums
        context.set(self.bank.store, {"enable": 1, "half": half, "slot": slot, "sums": sums})


@pytest.mark.parametrize("hurry", [1.0, 0.5])
@pytest.mark.parametrize("size", SIZES, ids=str)
def test_random_beats(size: dict[str, int], hurry: float) -> None:
    random = Random(f"{size} {hurry}")
    sizes = parameters(size, **WIDTHS)
    bank = NeuronBank(sizes)
    bench = Bench(bank, random, hurry)
    constants = [
        random_neurons(sizes, random)[0]
        | {
            "bias": random.randint(-900, 900),
            "initial": random.randint(-900, 900),
            "threshold": 600,
            "up": 600,
            "down": -99,
        }
        for _ in range(sizes.channels)
    ]

    async def drive(context: Any) -> None:
        await bench.run(context, constants, 3, 60 + 6 * sizes.places)

    simulate(bank, drive)
    expected = bank.model(bench.beats, constants, SETTINGS)
    assert bench.spikes == [[(0, 1, 3)[found["spike"]] for found in each] for each in expected]
    assert {1, 3} <= {spike for each in bench.spikes for spike in each}
    last = {place: each for (place, *_), each in zip(bench.beats, expected, strict=True)}
    for place, each in last.items():
        assert bench.membranes[place] == [found["membrane"] for found in each]
