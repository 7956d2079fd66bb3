"""Where the time of dense kernels goes, layer by layer: ``python -m benchmarks.layers``.

Every layer's kernel is timed in many short simulations, and the fastest of each is taken: what a layer needs when the
machine is not busy with something else. What is left of the fastest simulation is Python between the layers, and
memory. ``--without`` leaves out sums or neurons, to see what the other half takes by itself; outputs are wrong then.

The last line is the wall: how many images the machine could do if nothing but the kernel set's instruction ran, on
registers alone. The instruction also multiplies zeros, where channels or pixels do not fill its rows; the column
``packed`` has products for each synapse and step. Depthwise convolutions and identities are added without it.
"""

from __future__ import annotations

import math
import time
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import replace
from typing import Annotated, Any
from unittest import mock

import typer

from benchmarks import roofline, session
from benchmarks.networks import multiply_adds
from refsnn import kernels as kernel_sets
from refsnn.errors import InputError
from refsnn.kernels.compiled import within
from refsnn.kernels.dense import Kernels, make_layer
from refsnn.kernels.plan import Call, Dense
from refsnn.kernels.rows import keep
from refsnn.simulate import simulate
from refsnn.terminal import user_errors


def main(
    network: Annotated[str, typer.Option(help="One of those of the benchmark.")] = "ResNet-18",
    kernels: Annotated[str, typer.Option(help="A dense kernel set.")] = "amx",
    steps: Annotated[int, typer.Option(help="T.")] = 4,
    spiking: Annotated[float, typer.Option(help="Per cent of neurons that spike in a step.")] = 15,
    batch: Annotated[int, typer.Option(help="Images in a slice.")] = 32,
    images: Annotated[int, typer.Option(help="Of one simulation.")] = 32,
    runs: Annotated[int, typer.Option(help="Simulations.")] = 30,
    without: Annotated[str, typer.Option(metavar="PART", help="sums or neurons: is left out.")] = "",
) -> None:
    """Print microseconds for each image, and dense-equivalent multiply-adds a second, of every layer."""
    with user_errors():
        if kernel_sets.select(kernels).dense is None:
            raise InputError(f"the kernel set '{kernels}' has no dense kernels")
        if without not in ("", "sums", "neurons"):
            raise InputError(f"--without is '{without}'; sums or neurons was expected")
        made, pixels = session.prepare(network, steps, spiking, images)
        fastest: dict[str, float] = defaultdict(lambda: math.inf)
        whole = math.inf
        instruction = roofline.usable(kernels)
        peak = 0.0
        with left_out(without), _timed() as (spent, packed):
            for run in range(runs + 1):
                if instruction is not None and run in (0, runs):
                    peak = max(peak, roofline.peak(instruction, 1))
                spent.clear()
                packed.clear()
                begin = time.perf_counter()
                simulate(made, pixels, steps, kernels=kernels, threads=1, batch=batch)
                whole = min(whole, time.perf_counter() - begin)
                fastest.update({name: min(fastest[name], seconds) for name, seconds in spent.items()})
    print(
        f"{network}, {kernels}, T = {steps}, batch {batch}, {spiking:g} % spike: fastest of {runs} simulations", end=""
    )
    print(f" without {without}" if without else "")
    print(f"{'layer':10} {'shape':16} {'us/image':>9} {'1e9 MAC/s':>10} {'packed':>7}")
    for name, seconds in fastest.items():
        shape = " x ".join(map(str, made[name].shape))
        synapses = multiply_adds(made, steps, name) * images
        rate = synapses / seconds * 1e-9
        print(f"{name:10} {shape:16} {1e6 * seconds / images:9.1f} {rate:10,.0f} {packed[name] / synapses:7.2f}")
    layers = sum(fastest.values())
    print(f"layers {1e3 * layers / images:.2f} ms, whole {1e3 * whole / images:.2f} ms an image", end=", ")
    print(f"{images / whole:,.0f} images/s")
    if instruction is not None:
        total = sum(packed.values()) / images
        print(f"{1e-6 * total:,.0f}e6 products an image; {instruction.name}: {1e-9 * peak:,.0f}e9/s", end=", ")
        print(f"at most {peak / total:,.0f} images/s")


@contextmanager
def _timed() -> Iterator[tuple[dict[str, float], dict[str, int]]]:
    """The seconds that each population's kernel takes while this context lasts, and the products that it makes."""
    run = Call.run
    spent: dict[str, float] = defaultdict(float)
    packed: dict[str, int] = defaultdict(int)

    def timed(call: Call) -> None:
        begin = time.perf_counter()
        run(call)
        spent[call.population] += time.perf_counter() - begin
        packed[call.population] += call.multiply_adds

    with mock.patch.object(Call, "run", timed):
        yield spent, packed


@within
def _no_neurons(address, sums, columns, constant, settings, out, first, last):  # type: ignore[no-untyped-def]
    """Stands for a population's neurons: nothing is sent."""


@within
def _no_sums(job, block, outer, inner, row, rows, sums, ready, before, done, items):  # type: ignore[no-untyped-def]
    """Stands for ``add`` of a kernel set: sums are what the scratch memory holds."""
    return done


@contextmanager
def left_out(part: str) -> Iterator[None]:
    """Populations that are planned while this context lasts lack a part."""
    original = Dense.neurons

    def neurons(population: Dense) -> tuple[Any, Any]:
        update, count = original(population)
        return update if update is keep else _no_neurons, count

    def layer(kernels: Kernels) -> Any:
        return make_layer(f"{kernels.name}_without_sums", replace(kernels.kernel, add=_no_sums))

    patches = {
        "sums": mock.patch.object(Kernels, "layer", layer),
        "neurons": mock.patch.object(Dense, "neurons", neurons),
    }
    with patches[part] if part else nullcontext():
        yield


if __name__ == "__main__":
    typer.run(main)
