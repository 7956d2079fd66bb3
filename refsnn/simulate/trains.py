"""Event-driven neurons of a rate schedule, some images at a time."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from refsnn.errors import InputError
from refsnn.kernels import Workspace
from refsnn.kernels.maps import Memory
from refsnn.network import UNTIL_QUIET, Spiking
from refsnn.simulate.links import LONGEST_DRAIN
from refsnn.simulate.run import Run
from refsnn.simulate.signals import spatial

ROW = 2048
"""Neurons updated in one go, roughly: their membranes, counts and settings fit the first-level cache."""


class Neurons:
    """Neurons of a rate schedule and their train ``(N, T', P, C)``, which grows where they run until quiet."""

    def __init__(self, population: Spiking, run: Run, number: int, length: int) -> None:
        channels, height, width = spatial(population.shape)
        self.population = population
        self.kernels = run.kernels
        self.shape = (height * width, channels)
        self.until_quiet = run.network.drain == UNTIL_QUIET
        # A sum that provably fits int32 runs twice as fast.
        largest = 1 << (run.network.membrane_bits - 1)
        self.arithmetic = np.int32 if largest + run.largest[population.name] < 2**31 else np.int64
        self.limits = population.limits(run.steps)
        self.width = run.width
        pixels = next(n for n in range(max(1, ROW // channels), 0, -1) if self.shape[0] % n == 0)
        self.row = pixels * channels
        settings = population.threshold, population.negative_threshold, population.initial_membrane
        self.neuron = tuple(np.tile(values, pixels) for values in settings)
        self.length = length
        self.train = np.empty((number, length, *self.shape), np.int8)
        self.saturated = np.zeros(length, np.int64)

    def run(self, currents: NDArray[np.int32], begin: int, end: int, workspace: Workspace) -> None:
        """Run the images ``begin`` to ``end`` through currents ``(N, T, H, W, C)``, and on until they are quiet."""
        number, steps = currents.shape[:2]
        rows = (number, self.shape[0] * self.shape[1] // self.row, self.row)
        size = int(np.prod(rows))
        membrane = workspace.take("membrane", size, np.int32)[:size].reshape(rows)
        count = workspace.take("count", size, np.int32)[:size].reshape(rows)
        self._fire(
            currents.reshape(number, steps, *rows[1:]), membrane, count, 0, self.train[begin:end], workspace.memory
        )
        if not self.until_quiet:
            return
        silence = np.zeros((number, 1, *rows[1:]), np.int32)
        step = steps
        while True:
            if step == self.train.shape[1]:
                self._grow()
            self._fire(silence, membrane, count, step, self.train[begin:end], workspace.memory)
            if not self.train[begin:end, step].any():
                break
            step += 1
            self.length = max(self.length, step)

    def _fire(
        self, currents: Any, membrane: Any, count: Any, first: int, images: NDArray[np.int8], memory: Memory
    ) -> None:
        """Run some images' neurons on from the step ``first``; the threads of a slice share their rows."""
        train = images.reshape(*images.shape[:2], *currents.shape[2:])
        saturated = np.zeros((memory.parts, len(self.saturated)), np.int64)

        def work(part: int, begin: int, end: int) -> None:
            self.kernels.integrate_and_fire(
                currents,
                membrane,
                count,
                self.neuron,
                self.limits,
                self.width,
                self.arithmetic,
                first,
                (begin, end),
                train,
                saturated[part],
            )

        memory.share(currents.shape[2], currents.size, work)
        self.saturated += saturated.sum(axis=0)

    def _grow(self) -> None:
        steps = self.train.shape[1]
        if steps > LONGEST_DRAIN:
            raise InputError(
                f"population '{self.population.name}' still fires after {steps} steps: "
                "give the drain a number of steps, or the neurons a cap"
            )
        self.train = np.concatenate([self.train, np.zeros_like(self.train)], axis=1)
        self.saturated = np.concatenate([self.saturated, np.zeros_like(self.saturated)])

    def finish(self) -> tuple[NDArray[np.int8], NDArray[np.int64]]:
        """The train, contiguous, and the saturations of each step; membranes may still clamp in the first quiet one."""
        return np.ascontiguousarray(self.train[:, : self.length]), self.saturated
