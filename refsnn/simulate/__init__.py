"""Running an integer network on images: exact, for any batch size, number of threads and kernel set.

The semantics are ``docs/numerics.md``. Images are cut into slices of ``batch``; each slice passes the network layer by
layer (``layers``) in a thread of its own, and only integer counters are added up, so nothing depends on the cut.
"""

from __future__ import annotations

import dataclasses
import threading
import time
from collections import deque
from collections.abc import Callable, Hashable, Iterator, Sequence
from concurrent.futures import Executor, Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import cache, partial
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray
from threadpoolctl import ThreadpoolController

from refsnn import kernels as kernel_sets
from refsnn.errors import InputError
from refsnn.geometry import Padding
from refsnn.kernels import KernelSet
from refsnn.kernels.maps import Layout, Memory
from refsnn.kernels.remembered import remember
from refsnn.machine import processors
from refsnn.network import UNTIL_QUIET, MaxPool, Network
from refsnn.simulate.links import connect, input_operations, largest_currents
from refsnn.simulate.recording import Activity, Recorder
from refsnn.simulate.run import Counters, Run, Totals
from refsnn.simulate.signals import spatial
from refsnn.simulate.worker import Worker

if TYPE_CHECKING:
    from refsnn.kernels.plan import Dense, Feed

SLICE_ROWS = 32
"""Images times steps that dense kernels take at a time: enough to fill their tiles, few enough for the caches."""

SLICE_BYTES = 4 << 20
"""Where the events of a population would take more, half as many rows are taken: they leave the second-level cache."""

AHEAD = 4
"""Slices for each thread that may wait for the one in front of them."""

__all__ = ["Activity", "Recorder", "Simulation", "simulate"]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Simulation:
    """The outputs and counters of a network on N images, for each of S numbers of time-steps.

    Attributes:
        steps: the S numbers of time-steps, as asked for.
        membranes: ``(S, N, *readout shape) int64``: the readout's membranes at the end.
        logits: ``(S, N, *readout shape) float64`` in the ANN's unit: ``membranes * unit / T``, in base 2 not over T.
        predictions: ``(S, N) int64``: index of the largest membrane, the lowest of equals, flattened channels first.
        spikes: by spiking population ``(S,) int64``: the sum of ``|s|`` over neurons, steps and images.
        saturations: by spiking population ``(S,) int64``: how often ``v + I`` was clamped.
        synaptic_operations: by projection label, from sources that are not static, ``(S,) int64``: in-bounds synapses
            of non-zero spikes, through the sum-pool. Projections with the same ends are counted together.
        input_operations: in-bounds multiply-adds of projections from static sources, over all images, each image once.
        drain_steps: the steps after the T: the number asked for, or until quiet the most in which a neuron still fired.
        seconds: measured time of the run that each entry came out of (one run may serve several).
    """

    steps: tuple[int, ...]
    membranes: NDArray[np.int64]
    logits: NDArray[np.float64]
    predictions: NDArray[np.int64]
    spikes: dict[str, NDArray[np.int64]]
    saturations: dict[str, NDArray[np.int64]]
    synaptic_operations: dict[str, NDArray[np.int64]]
    input_operations: int
    drain_steps: tuple[int, ...]
    seconds: tuple[float, ...]


def simulate(
    network: Network,
    images: NDArray[np.uint8],
    steps: int | Sequence[int] = (1, 2, 4, 8),
    *,
    drain: int | None = None,
    kernels: str = "auto",
    threads: int = 0,
    batch: int = 32,
    record: Recorder | None = None,
    progress: Callable[[int], None] | None = None,
) -> Simulation:
    """Run a network on images.

    Several numbers of steps come out of a single run where the schedule allows it: a rate code without drain steps
    passes the state of T = 1 on its way to T = 8. Otherwise there is a run for each.

    Args:
        network: the network.
        images: ``(N, C, H, W) uint8`` pixel bytes, or ``(N, C)``.
        steps: T, the number of time-steps; or several.
        drain: steps without input and bias after the T, in rate schedules; ``UNTIL_QUIET``; None: the network's own.
        kernels: the kernel set by name, or ``auto``.
        threads: 0: as many as this process may use.
        batch: images in a slice: a matter of speed and memory only.
        record: receives what every population does for the images it wants. In a run that serves several numbers of
            steps it is called once, with the largest.
        progress: called, by one thread at a time, with the number of images done since its last call; in all, N.

    Raises:
        InputError: images of another shape or type than the network's input; T below 1 or another than the network was
            made for; sums that do not fit int32; an unknown kernel set; a network that does not become quiet.
    """
    wanted = (steps,) if isinstance(steps, int | np.integer) else tuple(steps)
    _check(network, images, wanted, batch, threads)
    if drain is not None:
        if drain < UNTIL_QUIET:
            raise InputError(f"drain is {drain}; a number of steps, or {UNTIL_QUIET} for until quiet, was expected")
        network = dataclasses.replace(network, drain=drain)
    kernel_set = kernel_sets.select(kernels, network)
    links = remember(network, ("links", kernel_set), lambda: connect(network, kernel_set))
    shared = network.drain == 0 and not any(p.schedule.separated for p in network.populations)
    groups = [tuple(sorted(set(wanted)))] if shared else [(each,) for each in sorted(set(wanted))]
    results: dict[int, tuple[_Group, int]] = {}
    done = _Done(progress, len(groups))
    for marks in groups:
        begin = time.perf_counter()
        bounds = partial(largest_currents, network, links, marks[-1])
        largest = remember(network, ("largest currents", kernel_set, marks[-1]), bounds)
        dense, halos = _plan(network, kernel_set, largest, marks[-1])
        run = Run(
            network=network,
            links=links,
            kernels=kernel_set.populations,
            dense=dense,
            halos=halos,
            largest=largest,
            steps=marks[-1],
            marks=marks,
            recorder=None if record is None else _Serialised(record),
        )
        rows = remember(network, "slice rows", lambda: _slice_rows(network))
        slice_size = min(batch, max(1, rows // marks[-1])) if dense else batch
        crew = _Crew(_idle(network, (kernel_set, marks)))
        parts = list(_run(run, images, slice_size, threads or processors(), done, crew))
        totals = crew.finish(run)
        seconds = time.perf_counter() - begin
        found = _Group(np.concatenate(parts, axis=1), run.counters(totals), totals.drained, seconds)
        results.update({mark: (found, index) for index, mark in enumerate(marks)})
    chosen = [results[each] for each in wanted]
    readout = network.readout
    membranes = np.stack([group.membranes[index] for group, index in chosen])
    times = np.array([1 if readout.schedule.base == 2 else each for each in wanted], np.float64)

    def counted(counters: Callable[[Counters], dict[str, NDArray[np.int64]]]) -> dict[str, NDArray[np.int64]]:
        names = counters(chosen[0][0].counters)
        return {name: np.array([counters(group.counters)[name][index] for group, index in chosen]) for name in names}

    return Simulation(
        steps=wanted,
        membranes=membranes,
        logits=membranes * readout.unit / times.reshape(-1, *[1] * (membranes.ndim - 1)),
        predictions=membranes.reshape(*membranes.shape[:2], -1).argmax(axis=-1),
        spikes=counted(lambda found: found.spikes),
        saturations=counted(lambda found: found.saturations),
        synaptic_operations=counted(lambda found: found.synaptic_operations),
        input_operations=len(images) * input_operations(network, links),
        drain_steps=tuple(group.drained for group, _ in chosen),
        seconds=tuple(group.seconds for group, _ in chosen),
    )


def _plan(
    network: Network, kernels: KernelSet, largest: dict[str, int], steps: int
) -> tuple[dict[str, Dense], dict[Feed, Padding]]:
    """The populations that go densely, and the halos that they need."""
    if kernels.dense is None:
        return {}, {}
    from refsnn.kernels.plan import compile_for, halos, plan

    found = plan(network, kernels.dense, largest, steps)
    remember(network, ("compiled", kernels, steps), lambda: compile_for(found))
    return found, remember(network, ("halos", kernels, steps), lambda: halos(found))


def _slice_rows(network: Network) -> int:
    """Images times steps in a slice of dense kernels."""
    most = max(Layout(spatial(population.shape), SLICE_ROWS).bytes for population in network.populations)
    return SLICE_ROWS if most <= SLICE_BYTES else SLICE_ROWS // 2


def _run(
    run: Run, images: NDArray[np.uint8], batch: int, threads: int, done: _Done, crew: _Crew
) -> Iterator[NDArray[np.int64]]:
    """Run every slice, in threads of their own; where there are fewer, several threads share a slice.

    Yields:
        The membranes of each slice, in order.
    """
    mine = threading.local()
    starts = range(0, len(images), batch)
    workers = min(threads, len(starts))
    shared = threads // workers

    def work(first: int, helpers: Executor | None) -> NDArray[np.int64]:
        if not hasattr(mine, "worker"):
            mine.worker = crew.worker(helpers, shared)
        part = images[first : first + batch]
        worker: Worker = mine.worker
        membranes = worker.slice(run, first, part)
        done(len(part))
        return membranes

    with _blas().limit(limits=1, user_api="blas"):
        if threads == 1:
            yield from (work(first, None) for first in starts)
            return
        with ThreadPoolExecutor(workers) as pool, ThreadPoolExecutor(threads) as helpers:
            futures: deque[Future[NDArray[np.int64]]] = deque()
            try:
                for first in starts:
                    futures.append(pool.submit(work, first, helpers if shared > 1 else None))
                    if len(futures) > AHEAD * workers:
                        yield futures.popleft().result()
                while futures:
                    yield futures.popleft().result()
            finally:
                for future in futures:
                    future.cancel()


def _idle(network: Network, kind: Hashable) -> list[Worker]:
    """Workers that an earlier run of this kind left; those of other kinds are let go, as they hold memory."""
    kept: dict[Hashable, list[Worker]] = remember(network, "idle workers", dict)
    if kind not in kept:
        kept.clear()
    return kept.setdefault(kind, [])


@dataclass(frozen=True, slots=True)
class _Crew:
    """The workers of a run.

    Attributes:
        idle: those of earlier runs, which it may take, and to which its own are added.
        busy: its own.
    """

    idle: list[Worker]
    busy: list[Worker] = field(default_factory=list)

    def worker(self, helpers: Executor | None, parts: int) -> Worker:
        """One for a thread, whose work ``helpers`` share in so many parts."""
        try:
            worker = Worker(Memory(helpers, parts)) if helpers else self.idle.pop()
        except IndexError:
            worker = Worker(Memory())
        self.busy.append(worker)
        return worker

    def finish(self, run: Run) -> Totals:
        """What all of them counted. Those that need no helpers wait for another run."""
        totals = Totals()
        for worker in self.busy:
            totals.add(worker.finish(run))
            if worker.alone:
                self.idle.append(worker)
        return totals


@cache
def _blas() -> ThreadpoolController:
    """Of the threads of BLAS: finding its library takes longer than a small slice."""
    return ThreadpoolController()


@dataclass(frozen=True, slots=True)
class _Group:
    """What came out of one run: membranes ``(S, N, *shape)`` and counters for the numbers of steps that it serves."""

    membranes: NDArray[np.int64]
    counters: Counters
    drained: int
    seconds: float


class _Done:
    """Reports progress in images, of which each of ``runs`` runs does its part."""

    def __init__(self, progress: Callable[[int], None] | None, runs: int) -> None:
        self.progress = progress
        self.runs = runs
        self.passed = 0
        self.lock = threading.Lock()

    def __call__(self, images: int) -> None:
        with self.lock:
            before = self.passed // self.runs
            self.passed += images
            if self.progress is not None:
                self.progress(self.passed // self.runs - before)


class _Serialised:
    """A recorder that threads may share."""

    def __init__(self, recorder: Recorder) -> None:
        self.recorder = recorder
        self.wants = recorder.wants
        self.lock = threading.Lock()

    def record(self, steps: int, image: int, population: str, activity: Activity) -> None:
        with self.lock:
            self.recorder.record(steps, image, population, activity)


def _check(network: Network, images: NDArray[np.uint8], steps: tuple[int, ...], batch: int, threads: int) -> None:
    if not steps:
        raise InputError("steps is empty; at least one number of time-steps is needed")
    for each in steps:
        network.check_steps(each)
    if batch < 1 or threads < 0:
        raise InputError(f"batch is {batch} and threads {threads}; at least 1, and at least 0 (0: all), were expected")
    expected = network.input.shape
    if images.dtype != np.uint8:
        raise InputError(f"images are {images.dtype}; pixel bytes (uint8, 0..255) were expected")
    if images.shape[1:] != expected or not len(images):
        raise InputError(
            f"images have shape {images.shape}; (N, {', '.join(map(str, expected))}), at least one image, was expected"
        )
    for population in network.populations:
        if isinstance(population, MaxPool):
            kernel = population.kernel
            if any(pad >= kernel[side // 2] for side, pad in enumerate(population.padding)):
                raise InputError(
                    f"max-pool '{population.name}': a padding of {population.padding} leaves windows of {kernel} "
                    "empty; less padding than kernel was expected"
                )
