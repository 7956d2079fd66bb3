# amaranth: UnusedElaboratable=no
"""The beats of tiles against their model: every schedule, sums that come late, words that leave late."""

from __future__ import annotations

from itertools import pairwise, product
from random import Random
from typing import Any

import pytest

from hdl.bank import HALVES
from hdl.firing import Action, Firing
from hdl.neuron import Constant, Neuron
from tests.hdl.streams import SIZES, parameters, simulate

Mark = dict[str, int]
FIELDS = ("mask", "double", "keep", "clamp", "restart", "halve", "commit", "again", "shifted", "recount")
SCHEDULES: dict[str, dict[str, int]] = {
    "rate": {"steps": 5, "length": 5},
    "drain": {"steps": 3, "length": 7},
    "static rate": {"steps": 6, "length": 6, "static": 1},
    "still rate": {"steps": 5, "length": 6, "static": 1, "still": 1},
    "base 1": {"separated": 1, "steps": 3, "length": 5, "repeats": 3},
    "static base 1": {"separated": 1, "steps": 3, "length": 3, "repeats": 3, "static": 1},
    "base 2": {"separated": 1, "steps": 5, "length": 5, "repeats": 1, "double": 1},
    "still base 2": {"separated": 1, "steps": 3, "length": 3, "repeats": 1, "double": 1, "static": 1, "still": 1},
    "readout": {"readout": 1, "steps": 4, "length": 4, "repeats": 4},
    "static readout": {"readout": 1, "steps": 2, "length": 2, "repeats": 2, "static": 1},
    "still readout of a code": {"readout": 1, "steps": 4, "length": 4, "repeats": 1, "static": 1, "still": 1},
}


def job_of(schedule: dict[str, int], columns: int) -> dict[str, int]:
    """A job of two by two tiles; codes end with a chunk."""
    names = ("separated", "readout", "double", "still", "static", "repeats")
    lead = -schedule["length"] % columns if schedule.get("double") else 0
    return dict.fromkeys(names, 0) | {"lead": lead, "tile_rows": 2, "tile_columns": 2} | schedule


def marks_of(job: dict[str, int], columns: int) -> list[Mark]:
    """A tile's marks: two passes over static input, the second one shifted; then one over what moves."""
    passes = [(1, 0, 2), (1, 1, 1)] if job["static"] else []
    if not job["still"]:
        passes.append((0, 0, -(-(job["lead"] + job["length"]) // columns)))
    marks = []
    for number, (static, shifted, chunks) in enumerate(passes):
        for chunk in range(chunks):
            last = chunk == chunks - 1
            end = last and number == len(passes) - 1
            mark = {"static": static, "shifted": shifted, "first": int(chunk == 0), "last": int(last), "end": int(end)}
            marks.append(mark)
    return marks


class Bench:
    """Lanes that leave sums, a collector that takes words, and a record of what the unit does, cycle by cycle."""

    def __init__(self, firing: Firing, job: dict[str, int], blocks: int, stalls: float) -> None:
        self.firing, self.job, self.blocks, self.stalls = firing, job, blocks, stalls
        self.marks = marks_of(job, firing.parameters.columns)
        self.told = self.filled = self.released = 0
        self.shown: int | None = None
        self.actions: list[tuple[int, str, dict[str, int]]] = []

    async def begin(self, context: Any) -> None:
        """Block after block."""
        context.set(self.firing.job, self.job)
        for _ in range(self.blocks):
            await context.tick()
            assert context.get(self.firing.idle)
            context.set(self.firing.begin, 1)
            await context.tick()
            context.set(self.firing.begin, 0)
            await context.tick()
            await context.tick().until(self.firing.idle)
        for _ in range(self.firing.latency + 2):
            await context.tick()

    async def leave(self, context: Any) -> None:
        """Leave the sums of every pass while there is room: told first, filled some cycles later."""
        firing, random = self.firing, Random(1)
        for mark in self.marks * (4 * self.blocks):
            while self.told == self.released + HALVES or random.random() < self.stalls:
                await context.tick()
            context.set(firing.marked, 1)
            context.set(firing.mark, mark)
            self.told += 1
            await context.tick()
            context.set(firing.marked, 0)
            for _ in range(firing.parameters.pixels + random.randrange(3)):
                await context.tick()
            context.set(firing.filled, 1)
            await context.tick()
            context.set(firing.filled, 0)
            self.filled += 1

    async def take(self, context: Any) -> None:
        """Words take some cycles after each pulse."""
        firing, random = self.firing, Random(2)
        while True:
            _, _, asked = await context.tick().sample(firing.emit | firing.show)
            if not asked:
                continue
            context.set(firing.sending, 1)
            for _ in range(random.randint(1, int(1 + 60 * self.stalls))):
                await context.tick()
            context.set(firing.sending, 0)

    async def watch(self, context: Any) -> None:
        """Sums are only used while they are there, from the half that was filled."""
        firing, cycle = self.firing, 0
        names = (
            "beat",
            "place",
            "half",
            "push",
            "released",
            "emit",
            "show",
            "sending",
            "row",
            "group",
            "index",
        )
        while True:
            _, _, *values = await context.tick().sample(*(getattr(firing, name) for name in names))
            now = dict(zip(names, values, strict=True))
            beat, place = now["beat"], {"place": now["place"]}
            tile = {"row": now["row"], "group": now["group"]}
            if beat.valid:
                fields = {name: getattr(beat, name) for name in FIELDS}
                fields |= {"constant": Constant(beat.constant).value, "fire": beat.fire.value}
                self.actions.append((cycle, "beat", place | {name: each for name, each in fields.items() if each}))
                assert not beat.mask or (now["half"] == self.released % 2 and self.filled > self.released)
            for name in ("push", "released"):
                if now[name]:
                    self.actions.append((cycle, name, {}))
                    assert name == "released" or not now["sending"]
            for name, more in (("emit", {"index": now["index"]}), ("show", place)):
                if now[name]:
                    self.actions.append((cycle, name, tile | more))
                    assert not now["sending"]
            if self.shown is not None and now["sending"]:
                assert now["place"] == self.shown
            self.shown = now["place"] if now["show"] or (now["sending"] and self.shown is not None) else None
            self.released += now["released"]
            cycle += 1

    def run(self) -> None:
        """All tiles of all blocks."""
        simulate(self.firing, self.begin, background=[self.leave, self.take, self.watch])


@pytest.mark.parametrize(("size", "stalls"), [*product(SIZES, [0.6]), (SIZES[1], 0.0)], ids=str)
@pytest.mark.parametrize("schedule", SCHEDULES)
def test_tiles_of_every_schedule(schedule: str, size: dict[str, int], stalls: float) -> None:
    firing = Firing(parameters(size))
    job = job_of(SCHEDULES[schedule], firing.parameters.columns)
    blocks = 1 if stalls else 2
    bench = Bench(firing, job, blocks, stalls)
    bench.run()
    expected: list[Action] = []
    for _, y, x in product(range(blocks), range(2), range(2)):
        tile = {"row": y * firing.parameters.rows, "group": x}
        for name, fields in firing.model(job, bench.marks):
            expected.append((name, fields | (tile if name in ("emit", "show") else {})))
    found = [action[1:] for action in bench.actions]
    # Pushes are late, but they are all there when a chunk is sent; the next tile begins before that.
    assert only(found, "beat", "released") == only(expected, "beat", "released")
    assert only(found, "push", "emit", "show") == only(expected, "push", "emit", "show")
    sums = {"beat", "show"} if job["readout"] else {"emit", "show"}
    assert only(found, *sums) == only(expected, *sums)
    check_distances(bench)


def only(actions: list[Action], *names: str) -> list[Action]:
    return [action for action in actions if action[0] in names]


def check_distances(bench: Bench) -> None:
    """Firing beats are pushed when their spikes are there; no beat comes before its neuron's state is there."""
    neuron = Neuron(bench.firing.parameters)
    pushes = {cycle for cycle, name, _ in bench.actions if name == "push"}
    stored: dict[int, int] = {}
    committed: dict[int, int] = {}
    for cycle, name, beat in bench.actions:
        if name == "show":
            assert cycle + 1 - stored[beat["place"]] > bench.firing.latency
        if name != "beat":
            continue
        place = beat["place"]
        assert "fire" not in beat or cycle + bench.firing.latency in pushes
        assert cycle - stored.get(place, -99) >= neuron.revisit
        if beat.get("constant") == Constant.STATIC.value or "again" in beat:
            assert cycle - committed.get(place, -99) >= neuron.settled
        stored[place] = cycle
        if "commit" in beat:
            committed[place] = cycle


def test_the_model_of_a_small_code() -> None:
    """Two digits of one neuron, after a chunk of two columns: accumulate, add the bias once, send two spikes."""
    firing = Firing(parameters(SIZES[0] | {"columns": 2}))
    job = job_of({"separated": 1, "double": 1, "steps": 2, "length": 2, "repeats": 1}, 2)
    whole = {"static": 0, "shifted": 0, "first": 1, "last": 1, "end": 1}
    fire = {"place": 0, "keep": 1, "clamp": 1, "fire": 1}
    assert firing.model(job, [whole]) == [
        ("beat", {"place": 0, "mask": 3, "double": 1}),
        ("released", {}),
        ("beat", {"place": 0, "constant": 1, "keep": 1}),
        ("beat", fire | {"constant": 3, "restart": 1}),
        ("push", {}),
        ("beat", fire | {"halve": 1}),
        ("push", {}),
        ("emit", {"index": 0}),
    ]


def test_a_sweep_takes_as_long_as_a_neuron_or_its_pixels() -> None:
    for size in SIZES:
        firing = Firing(parameters(size))
        assert firing.span == max(firing.parameters.places, Neuron(firing.parameters).revisit)
        job = job_of(SCHEDULES["rate"] | {"length": 8 * firing.parameters.columns, "steps": 511}, size["columns"])
        bench = Bench(firing, job, 1, 0.0)
        bench.run()
        first = [cycle for cycle, name, fields in bench.actions if name == "beat" and fields["place"] == 0]
        gaps = {later - earlier for earlier, later in pairwise(first)}
        # With one column there is a cycle between any two: each follows the first sweep of a tile, or a chunk.
        assert min(gaps) == firing.span + (firing.parameters.columns == 1)
