"""Peak memory of a simulation, each case in a process of its own: ``python -m benchmarks.memory``. Linux only."""

from __future__ import annotations

import subprocess
import sys
import tempfile
from itertools import product
from pathlib import Path
from typing import Annotated

import numpy as np
import typer

from benchmarks.networks import NETWORKS
from refsnn import kernels as kernel_sets

PROCESS = """
import sys
import numpy as np
from refsnn.data.readers import read
from refsnn.network import Network
from refsnn.simulate import simulate

def megabytes():
    status = dict(line.split(":") for line in open("/proc/self/status") if line.startswith("Vm"))
    return int(status["VmHWM"].split()[0]) / 1024

folder, kernels, steps, batch, threads, images = sys.argv[1:]
network = Network.load(folder + "/network.h5")
pixels = read(folder + "/images.npy", network.input.shape).test.images[: int(images)]
loaded = megabytes()
simulate(network, pixels, int(steps), kernels=kernels, batch=int(batch), threads=int(threads))
print(loaded, megabytes())
"""


def main(
    network: Annotated[str, typer.Option(help="One of those of the benchmark.")] = "ResNet-18",
    kernels: Annotated[str, typer.Option(help="Kernel sets by name, or all.")] = "all",
    steps: Annotated[int, typer.Option(help="T.")] = 4,
    batch: Annotated[int, typer.Option(help="Images in a slice.")] = 32,
    threads: Annotated[str, typer.Option(help="Numbers of threads.")] = "1,2",
    images: Annotated[str, typer.Option(help="Numbers of images.")] = "64,256",
) -> None:
    """Print a row for each case: megabytes before and after. Linux counts what the libraries map, too."""
    chosen = kernel_sets.available() if kernels == "all" else tuple(kernels.split(","))
    with tempfile.TemporaryDirectory() as folder:
        made = NETWORKS[network](0)
        made.save(Path(folder) / "network.h5")
        number = max(map(int, images.split(",")))
        pixels = np.random.default_rng(0).integers(0, 256, (number, *made.input.shape)).astype(np.uint8)
        np.save(Path(folder) / "images.npy", pixels)
        print(f"{network}, T = {steps}, batch {batch}: peak MB when it is loaded, and in the end")
        for name, workers, count in product(chosen, threads.split(","), images.split(",")):
            settings = [folder, name, str(steps), str(batch), workers, count]
            for _ in range(2):  # the first one compiles, which takes memory of its own
                done = subprocess.run(
                    [sys.executable, "-c", PROCESS, *settings], capture_output=True, text=True, check=True
                )
            before, after = map(float, done.stdout.split())
            print(f"{name:8} threads {workers}  images {count:>5}  {before:6.0f}  {after:6.0f}", flush=True)


if __name__ == "__main__":
    typer.run(main)
