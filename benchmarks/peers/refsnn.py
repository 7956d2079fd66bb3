"""This project's simulator, once for each kernel set."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from benchmarks.peers import REFSNN, Case, Engine, Outcome
from refsnn.simulate import simulate


class Simulator:
    """``refsnn.simulate`` with one kernel set.

    Its own measurement is taken, which leaves out the packing of weights: no library packs them for each run.
    """

    note = ""
    exact = True

    def __init__(self, case: Case, kernels: str) -> None:
        self.name = f"{REFSNN} {kernels}"
        self.case = case
        self.kernels = kernels

    def run(self, images: NDArray[np.uint8]) -> Outcome:
        """Hand the images over; never more than a batch is worked on at a time."""
        case = self.case
        together = len(images) if case.batch % case.threads == 0 else case.batch
        slices = -(-case.batch // case.threads)
        parts = [
            simulate(
                case.network,
                images[first : first + together],
                case.steps,
                kernels=self.kernels,
                threads=case.threads,
                batch=slices,
            )
            for first in range(0, len(images), together)
        ]
        outputs = np.concatenate([part.membranes[0] for part in parts])
        return Outcome(outputs, sum(part.seconds[0] for part in parts))


def engines(case: Case) -> list[Engine]:
    """An engine for each kernel set that was asked for."""
    return [Simulator(case, kernels) for kernels in case.kernels]
