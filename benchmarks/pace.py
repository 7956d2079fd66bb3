"""Simulation speed against what the processor gives at that moment: ``python -m benchmarks.pace``.

A virtual machine shares its cores with others, and what an instruction costs there changes within a second. So bursts
of the instruction that a kernel set rests on, repeated on registers, are timed in front of each short simulation and
behind it, all in processor time.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Annotated

import numpy as np
import typer

from benchmarks import roofline, session
from refsnn.errors import InputError
from refsnn.simulate import simulate
from refsnn.terminal import user_errors

BURST = 5e-4
"""Seconds."""


def main(
    network: Annotated[str, typer.Option(help="One of those of the benchmark.")] = "ResNet-18",
    kernels: Annotated[str, typer.Option(help="A kernel set.")] = "amx",
    steps: Annotated[int, typer.Option(help="T.")] = 4,
    spiking: Annotated[float, typer.Option(help="Per cent of neurons that spike in a step.")] = 15,
    images: Annotated[int, typer.Option(help="Of one simulation.")] = 16,
    runs: Annotated[int, typer.Option(help="Simulations.")] = 100,
) -> None:
    """Print slowest, median and fastest of peaks and simulations, and how far they go together."""
    with user_errors():
        instruction = roofline.usable(kernels)
        if instruction is None:
            raise InputError(f"no peak is known here for the kernel set '{kernels}'")
        made, pixels = session.prepare(network, steps, spiking, images)
        loop, multiply_adds = roofline.burst(instruction, BURST)
        peaks, speeds = [], []
        for _ in range(runs + 1):
            before = 1e-9 * multiply_adds / _seconds(loop)
            seconds = _seconds(lambda: simulate(made, pixels, steps, kernels=kernels, threads=1))
            peaks.append((before + 1e-9 * multiply_adds / _seconds(loop)) / 2)
            speeds.append(images / seconds)
        for text, values in ((f"{instruction.name}, 1e9 multiply-adds/s", peaks[1:]), ("images/s", speeds[1:])):
            low, middle, high = np.percentile(values, (0, 50, 100))
            print(f"{text:38} {low:8,.0f} {middle:8,.0f} {high:8,.0f}")
        together = float(np.corrcoef(np.log(peaks[1:]), np.log(speeds[1:]))[0, 1])
        print(f"{'correlation of their logarithms':38} {together:8.2f}")


def _seconds(work: Callable[[], object]) -> float:
    begin = time.thread_time()
    work()
    return time.thread_time() - begin


if __name__ == "__main__":
    typer.run(main)
