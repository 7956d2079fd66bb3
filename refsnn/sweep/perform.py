"""The sweep as a function: every method, T and number of weight bits, in blocks of images that are kept."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from refsnn.ann.graph import Array, Graph, Preprocessing
from refsnn.api import load
from refsnn.errors import InputError
from refsnn.experiment import (
    Job,
    Progress,
    Request,
    Silent,
    Simulated,
    ann_logits,
    gather,
    judge,
    plan_methods,
)
from refsnn.network import Network
from refsnn.simulate import Simulation
from refsnn.sweep import blocks
from refsnn.sweep.blocks import Block, Workers
from refsnn.sweep.folder import Folder
from refsnn.sweep.results import Sweep

BITS = (8,)
BLOCK = 256
"""Images in a block, unless the caller says otherwise."""


def perform(
    request: Request,
    workers: Workers,
    folder: Path,
    *,
    bits: Sequence[int] = BITS,
    block: int = BLOCK,
    progress: Progress | None = None,
) -> Sweep:
    """Sweep over a request's methods and T, at several numbers of weight bits.

    The results depend on neither the workers nor the size of the blocks, bit for bit, but for the measured times.
    Conversion and the ANN's own pass are done here, once; workers only run integer networks.

    Args:
        request: what to measure; its ``threads`` are those of the conversion.
        workers: who simulates.
        folder: where results of blocks are kept, and found when the same sweep runs again.
        bits: numbers of weight bits.
        block: images in a block.

    Raises:
        InputError: of the main job; the folder is about another network or other images; ``bits`` in the request as
            well; an integer network, whose conversion is done already.
        WorkersError: the workers are gone. What was done is kept.
    """
    watch = progress or Silent()
    if request.steps is not None and min(request.steps, default=0) < 1:
        raise InputError(f"steps is {', '.join(map(str, request.steps))}; every T must be at least 1")
    if block < 1 or request.batch < 1:
        raise InputError(f"block is {block} and batch {request.batch}; at least 1 image was expected")
    if not bits or "weight_bits" in request.overrides:
        raise InputError("weight bits are given as bits, at least one number of them")
    model = load(request.weights)
    if isinstance(model, Network):
        raise InputError(
            f"{request.weights}: is an integer network already: there is nothing to sweep over; refsnn run measures it"
        )
    kept = Folder(folder, request.weights)

    def run(graph: Graph, images: NDArray[np.uint8], preprocessing: Preprocessing) -> Array:
        kept.claim(images)
        key = json.dumps([model.sha256, dataclasses.asdict(preprocessing)])
        logits = kept.logits(key)
        if logits is None:
            logits = ann_logits(graph, images, preprocessing, threads=request.threads, progress=watch)
            kept.keep_logits(key, logits)
        return logits

    material = gather(request, model, watch, run=run)
    plans = {}
    for each in dict.fromkeys(bits):
        overrides = {**request.overrides, "weight_bits": each}
        plans[each] = plan_methods(replace(request, overrides=overrides), material, watch)
    starts = range(0, len(material.logits), block)
    tasks = [
        _Task(job, digest, blocks.name(digest, plan.images[start : start + block], job.steps), start)
        for plan in plans.values()
        for job in plan.jobs
        for digest in [job.network.digest()]
        for start in starts
    ]
    missing = {task.name: task for task in tasks if kept.block(task.digest, task.name) is None}
    images = material.selection.evaluation.images

    def work() -> Iterator[Block]:
        for task in missing.values():
            yield Block(
                name=task.name,
                network=task.job.network,
                path=kept.network(task.job.network, task.digest),
                images=images[task.start : task.start + block],
                steps=task.job.steps,
                kernels=request.kernels,
                batch=request.batch,
            )

    left = sum(len(images[task.start : task.start + block]) for task in missing.values())
    watch.stage(f"{len(missing)} blocks on {workers.name}", left)
    cannot: dict[tuple[str, tuple[int, ...]], InputError] = {}
    for done, found in workers.run(work()):
        task = missing[done.name]
        if isinstance(found, InputError):
            cannot[task.digest, task.job.steps] = found
        else:
            kept.keep_block(task.digest, done.name, found)
        watch.advance(len(done.images))

    results = {}
    for each, plan in plans.items():
        simulated = []
        for job in plan.jobs:
            mine = [task for task in tasks if task.job is job]
            error = cannot.get((mine[0].digest, job.steps))
            if error is not None:
                plan.refused.update({(method, t): error for method in job.methods for t in job.steps})
            else:
                simulation = blocks.merge([_kept(kept, task) for task in mine])
                simulated.append(Simulated(methods=job.methods, network=job.network, simulation=simulation))
        results[each] = judge(plan, tuple(simulated)).results
    there = len(tasks) - len(missing)
    return Sweep(results=results, notes=(f"{there} of {len(tasks)} blocks were in {folder} already",) * bool(there))


def _kept(folder: Folder, task: _Task) -> Simulation:
    found = folder.block(task.digest, task.name)
    if found is None:
        raise InputError(f"{folder.path}: block {task.name[:12]} was there and is not any more: give the command again")
    return found


@dataclasses.dataclass(frozen=True, slots=True)
class _Task:
    """A job on the block of images that begins at ``start``; its result's network and name."""

    job: Job
    digest: str
    name: str
    start: int
