"""What several threads do over one, for simulations and for the processor itself: ``python -m benchmarks.threads``.

Two processors of a virtual machine may be one core, or a core that others use as well. So a loop on registers, which
shares nothing, is timed with one thread and with several, in turns with simulations, all by the clock: a simulation
cannot gain more than that loop does.
"""

from __future__ import annotations

from functools import partial
from typing import Annotated

import numpy as np
import typer

from benchmarks import roofline, session
from refsnn.errors import InputError
from refsnn.simulate import simulate
from refsnn.terminal import user_errors


def main(
    network: Annotated[str, typer.Option(help="One of those of the benchmark.")] = "ResNet-18",
    kernels: Annotated[str, typer.Option(help="A kernel set.")] = "amx",
    steps: Annotated[int, typer.Option(help="T.")] = 4,
    spiking: Annotated[float, typer.Option(help="Per cent of neurons that spike in a step.")] = 15,
    images: Annotated[int, typer.Option(help="Of one simulation.")] = 64,
    threads: Annotated[int, typer.Option(help="The number that is compared with one.")] = 2,
    rounds: Annotated[int, typer.Option(help="Each times everything once.")] = 30,
) -> None:
    """Print the medians with one thread and with several, and the median of the ratios of a round."""
    with user_errors():
        instruction = roofline.usable(kernels)
        if instruction is None:
            raise InputError(f"no peak is known here for the kernel set '{kernels}'")
        if threads < 2:
            raise InputError(f"--threads is {threads}; at least 2 was expected")
        made, pixels = session.prepare(network, steps, spiking, images)
        loop, multiply_adds = roofline.burst(instruction, roofline.SECONDS)

        def run(number: int) -> None:
            simulate(made, pixels, steps, kernels=kernels, threads=number)

        run(1), run(threads)
        peaks, speeds = [], []
        for _ in range(rounds):
            peaks.append([number * multiply_adds * 1e-9 / roofline.elapsed(loop, number) for number in (1, threads)])
            speeds.append([images / roofline.elapsed(partial(run, number)) for number in (1, threads)])
        print(f"{'median, and median of ratios':38} {'1':>8} {threads:8} {'ratio':>8}")
        for text, found in ((f"{instruction.name}, 1e9 multiply-adds/s", peaks), ("images/s", speeds)):
            one, several = np.array(found).T
            print(f"{text:38} {np.median(one):8,.0f} {np.median(several):8,.0f} {np.median(several / one):8.2f}")


if __name__ == "__main__":
    typer.run(main)
