"""Measuring one case: every engine checked first, then all of them in turns."""

from __future__ import annotations

import contextlib
import ctypes
import math
import time
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from benchmarks.peers import REFSNN, Engine
from benchmarks.results import Rates
from refsnn.errors import InputError

PAUSE = 0.02
"""Seconds between two runs: threads that wait actively for more work go to sleep, and disturb nobody."""


def keep_memory() -> None:
    """Let freed memory stay with the process (glibc), for large arrays too: fresh pages cost frameworks up to a fifth
    of their speed. A system without it keeps its own way."""
    with contextlib.suppress(OSError, AttributeError):
        library = ctypes.CDLL(None)
        trim_threshold, mmap_max = -1, -4
        library.mallopt(trim_threshold, 2**31 - 1)
        library.mallopt(mmap_max, 0)


def check(engines: Sequence[Engine], images: NDArray[np.uint8]) -> None:
    """Run some images on every engine and compare.

    Raises:
        InputError: an exact engine gives other outputs than the first of refsnn's.
    """
    outputs = {engine.name: engine.run(images).outputs for engine in engines}
    exact = [engine.name for engine in engines if engine.exact]
    first = next((name for name in exact if name.startswith(REFSNN)), exact[0] if exact else None)
    for name in exact:
        assert first is not None
        wanted, found = outputs[first], outputs[name]
        if found.shape != wanted.shape or not np.array_equal(found, wanted):
            where = "in their shape"
            if found.shape == wanted.shape:
                differ = (found != wanted).any(axis=1)
                where = f"for {int(differ.sum())} of {len(differ)} images, first for image {int(differ.argmax())}"
            raise InputError(
                f"{name} and {first} must give the same outputs and do not, {where}; nothing was measured: one of the "
                "two has a defect, or its sums are not exact"
            )


def measure(
    engines: Sequence[Engine], images: NDArray[np.uint8], batch: int, rounds: int, seconds: float
) -> tuple[list[Rates], float]:
    """Images a second of each engine, ``rounds`` times.

    In each round every engine runs once, and another one begins. An engine gets as many batches as it can do in about
    ``seconds``, at least one and at most all.

    Args:
        images: ``(N, C, H, W)``, N a multiple of ``batch``; checked already, so that all engines are warm.

    Returns:
        The rates, and the processor time of the measured runs over their time: the number of cores that they had.
    """
    counts = [_count(engine, images, batch, seconds) for engine in engines]
    rates: list[list[float]] = [[] for _ in engines]
    processor = passed = 0.0
    for each in range(rounds):
        for turn in range(len(engines)):
            index = (turn + each) % len(engines)
            time.sleep(PAUSE)
            before = time.process_time(), time.perf_counter()
            outcome = engines[index].run(images[: counts[index]])
            processor += time.process_time() - before[0]
            passed += time.perf_counter() - before[1]
            rates[index].append(counts[index] / outcome.seconds)
    made = [
        Rates(engine.name, engine.note, engine.exact, count, rate)
        for engine, count, rate in zip(engines, counts, rates, strict=True)
    ]
    return made, processor / passed


def _count(engine: Engine, images: NDArray[np.uint8], batch: int, seconds: float) -> int:
    taken = min(engine.run(images[:batch]).seconds for _ in range(2))
    return min(len(images), batch * max(1, math.ceil(seconds / taken)))
