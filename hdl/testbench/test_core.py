"""Runs the core layer by layer and compares every word that it sends with the golden vectors: cocotb 2.

    python3 test_core.py

It needs cocotb (PyPI) and a simulator, nothing else. The exit status is 0 if every word came, once, and as expected.
The environment may hold: ``SIM``, the simulator (icarus); ``VECTORS``, a folder of vectors (vectors/0); ``STALLS``,
percent of the cycles in which the sender pauses and the receiver is not ready (0), with ``SEED`` (1); ``DUMP``, a file
for every word received, for ``python -m hdl dump``; ``PATIENCE``, cycles without a word in or out until the core is
taken to hang (1000000).
"""

from __future__ import annotations

import json
import os
import random
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cocotb
from cocotb.clock import Clock
from cocotb.triggers import FallingEdge, Timer

SETTLED = 16
"""Cycles without a word after which a job is over."""
PATIENCE = int(os.environ.get("PATIENCE", "1000000"))
"""Cycles without a word in or out after which the core is taken to hang."""


@dataclass
class Job:
    """A line of the plan.

    Attributes:
        layer, number: which job it is.
        channel: the layer's channel that the job's channel 0 is.
        sizes: channels, rows, groups, words a group: where words may belong.
        sources, load: files of what goes in; ``sources`` may be missing (-).
        words: file of the expected words.
    """

    layer: str
    number: int
    channel: int
    sizes: tuple[int, int, int, int]
    sources: str
    load: str
    words: str

    @classmethod
    def of(cls, line: str) -> Job:
        """Read a line."""
        layer, number, channel, channels, rows, groups, each, sources, load, words = line.split()
        sizes = int(channels), int(rows), int(groups), int(each)
        return cls(layer, int(number), int(channel), sizes, sources, load, words)

    def parts(self) -> Iterator[int]:
        """What goes into ``load``."""
        for name in (self.sources, self.load):
            if name != "-":
                yield from numbers(name)


class Bench:
    """The core, what it has sent, and what was wrong with it."""

    def __init__(self, core: Any, stalls: int, seed: int) -> None:
        self.core = core
        self.stalls = stalls
        self.random = random.Random(seed)
        layout = json.loads(Path("core.json").read_text(encoding="utf-8"))["words"]["words"]["fields"]
        self.fields: dict[str, tuple[int, int]] = {
            field["name"]: (field["low"], (1 << field["width"]) - 1) for field in layout
        }
        self.dump: list[str] = []
        self.errors: list[str] = []
        self.cycles = self.received = 0

    def field(self, word: int, name: str) -> int:
        """A field of a word."""
        low, mask = self.fields[name]
        return word >> low & mask

    def place(self, word: int) -> tuple[int, ...]:
        """Where a word belongs: channel, row, group, pixel or chunk."""
        return tuple(self.field(word, name) for name in ("channel", "row", "group", "index"))

    def wrong(self, job: Job, word: int, what: str) -> None:
        """Note an error."""
        channel, row, group, index = self.place(word)
        kind = "pixel" if self.field(word, "membrane") else "chunk"
        self.errors.append(
            f"layer {job.layer}, channel {job.channel + channel}, row {row}, group {group}, {kind} {index}: {what}"
        )

    def stalled(self) -> bool:
        """Whether something waits in this cycle."""
        return self.random.random() * 100 < self.stalls

    async def run(self, job: Job) -> None:
        """Run a job and compare what comes."""
        core = self.core
        expected = {self.place(word): word for word in numbers(job.words)}
        outside = [place for place in expected if any(at >= size for at, size in zip(place, job.sizes, strict=True))]
        assert not outside, f"{job.words}: a word is outside the layer"
        seen: set[tuple[int, ...]] = set()
        parts = job.parts()
        part: int | None = None
        more, quiet, idle = True, 0, 0
        while quiet < SETTLED:
            await FallingEdge(core.clk)
            if more and part is None and not self.stalled():
                part = next(parts, None)
                more = part is not None
            core.load__valid.value = part is not None
            if part is not None:
                core.load__payload.value = part
            ready = not self.stalled()
            core.words__ready.value = ready
            await Timer(2, "step")  # what is there now is what the rising edge sees
            self.cycles += 1
            taken = part is not None and bool(core.load__ready.value)
            came = ready and bool(core.words__valid.value)
            if came:
                self.receive(job, core.words__payload.value, expected, seen)
            over = not more and part is None and bool(core.load__ready.value) and not bool(core.words__valid.value)
            if taken:
                part = None
            quiet = quiet + 1 if over else 0
            idle = 0 if taken or came or over else idle + 1
            assert idle <= PATIENCE, f"layer {job.layer}: the core neither takes nor sends anything"
        for place, word in expected.items():
            if place not in seen:
                self.wrong(job, word, "did not come")

    def receive(self, job: Job, value: Any, expected: dict[tuple[int, ...], int], seen: set[tuple[int, ...]]) -> None:
        """Compare a word."""
        self.received += 1
        if not value.is_resolvable:
            self.errors.append(f"layer {job.layer}: received {value}, which is not known in all bits")
            return
        word = int(value)
        self.dump.append(f"{job.layer} {job.number} {word:x}\n")
        place = self.place(word)
        if place not in expected:
            self.wrong(job, word, "this word does not exist")
        elif place in seen:
            self.wrong(job, word, "came twice")
        elif word != expected[place]:
            self.wrong(job, word, f"expected {expected[place]:x}, received {word:x}")
        seen.add(place)


def numbers(name: str) -> Iterator[int]:
    """The hexadecimal numbers of a file, one a line."""
    with open(name, encoding="ascii") as file:
        for line in file:
            yield int(line, 16)


@cocotb.test()
async def layers_send_the_golden_words(core: Any) -> None:
    """Every word of every job comes, once, and is the golden one."""
    bench = Bench(core, int(os.environ.get("STALLS", "0")), int(os.environ.get("SEED", "1")))
    plan = Path(os.environ.get("VECTORS", "vectors/0")) / "plan.txt"
    jobs = [Job.of(line) for line in plan.read_text(encoding="utf-8").splitlines()]
    assert jobs, f"{plan}: has no jobs"
    core.load__valid.value = core.words__ready.value = core.load__payload.value = 0
    core.rst.value = 1
    Clock(core.clk, 10, "step").start()
    for _ in range(2):
        await FallingEdge(core.clk)
    core.rst.value = 0
    for job in jobs:
        await bench.run(job)
    if "DUMP" in os.environ:
        Path(os.environ["DUMP"]).write_text("".join(bench.dump), encoding="ascii")
    first = bench.errors[0] if bench.errors else ""
    assert not bench.errors, f"FAIL: {first} ({len(bench.errors)} words are wrong or missing)"
    core._log.info("PASS: %d words of %d jobs in %d cycles", bench.received, len(jobs), bench.cycles)


def main() -> int:
    """Build and run; the exit status."""
    from cocotb_tools.check_results import get_results
    from cocotb_tools.runner import get_runner

    folder = Path("build/cocotb")
    runner = get_runner(os.environ.get("SIM", "icarus"))
    sources = [path for path in (Path("core.v"), Path("cells.v")) if path.exists()]
    runner.build(sources=sources, hdl_toplevel="core", build_dir=folder, always=True, build_args=arguments(runner))
    results = runner.test(hdl_toplevel="core", test_module="test_core", build_dir=folder, test_dir=".")
    tests, failures = get_results(results)
    passed = tests > 0 and failures == 0
    print("PASS" if passed else "FAIL")
    return 0 if passed else 1


def arguments(runner: Any) -> list[str]:
    """What the simulator's compiler is told besides."""
    return ["-Wno-fatal"] if type(runner).__name__ == "Verilator" else ["-g2012"]


if __name__ == "__main__":
    sys.exit(main())
