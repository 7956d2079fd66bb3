"""What a neuron costs in the dense kernels, its loop alone in the first-level cache: ``python -m benchmarks.neurons``.

LLVM must turn these loops into vectors, whatever T; a change that keeps it from doing so costs a factor of ten and
shows nowhere else but in the clock.
"""

from __future__ import annotations

import math
import time
from typing import Annotated

import numpy as np
import typer

from refsnn.kernels import rows
from refsnn.kernels.compiled import address_of, call, compiled
from refsnn.kernels.job import JOB, job_at
from refsnn.kernels.maps import COLUMNS, DEPTH, ROWS, Memory


def main(
    steps: Annotated[str, typer.Option(help="Numbers of time-steps.")] = "1,2,3,4,6,8",
    runs: Annotated[int, typer.Option(help="Of which the fastest counts.")] = 50,
) -> None:
    """Print nanoseconds for a neuron and time-step: plain, with net counts, with clamped membranes, with both."""
    print("T     plain  counted  clamped     both   ns a neuron and step")
    updates = {key: address_of(update) for key, update in rows.fires.items()}
    for each in map(int, steps.split(",")):
        found = [
            _nanoseconds(updates[key], each, runs)
            for key in ((False, False), (True, False), (False, True), (True, True))
        ]
        print(f"{each:<3}", *(f"{value:8.3f}" for value in found))


@compiled
def _repeat(update, address, sums, constant, settings, out, times):  # type: ignore[no-untyped-def]
    job = job_at(address)
    for _ in range(times):
        call(update, (address, sums, COLUMNS, constant, settings, out, 0, job.images))


def _nanoseconds(update: int, steps: int, runs: int, times: int = 500) -> float:
    images = max(1, ROWS // steps)
    memory = Memory()
    sums = memory.room("sums", 0, rows.LINE * images * steps)
    sums.view(np.int32)[:] = np.random.default_rng(0).integers(-200, 300, sums.size // 4)
    settings = memory.room("settings", 0, rows.SETTINGS * rows.LINE)
    settings.fill(0)
    settings.view(np.int32)[:COLUMNS] = 500
    constant = memory.room("constant", 0, rows.LINE)
    constant.fill(0)
    out, scratch = memory.room("out", 0, DEPTH * images * steps), memory.room("neurons", 0, rows.SCRATCH)
    clamps = np.zeros(steps, np.int64)
    job = np.zeros(1, JOB)
    values = {"images": images, "steps": steps, "input_steps": steps, "step_rows": images, "out_row": DEPTH}
    values |= {"high": 1 << 20, "smallest": -(1 << 22), "largest": (1 << 22) - 1}
    values |= {"membranes": scratch.ctypes.data, "saturated": clamps.ctypes.data}
    for name, value in values.items():
        job[name] = value
    addresses = [array.ctypes.data for array in (job, sums, constant, settings, out)]
    best = math.inf
    for _ in range(runs + 1):
        begin = time.perf_counter()
        _repeat(update, *addresses, times)
        best = min(best, time.perf_counter() - begin)
    return 1e9 * best / (times * images * steps * COLUMNS)


if __name__ == "__main__":
    typer.run(main)
