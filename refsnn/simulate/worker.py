"""What a thread does with one slice of images after the other."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from refsnn.kernels import Workspace
from refsnn.kernels.maps import Memory
from refsnn.simulate.layers import Script, Slice
from refsnn.simulate.run import Run, Totals


class Worker:
    """What one thread keeps from slice to slice, and for later runs of the same network, steps and kernels.

    Attributes:
        alone: whether nobody shares its work.
    """

    def __init__(self, memory: Memory) -> None:
        self.alone = memory.helpers is None
        self._workspace = Workspace(memory)
        self._totals = Totals()
        self._scripts: dict[int, Script] = {}

    def slice(self, run: Run, first: int, images: NDArray[np.uint8]) -> NDArray[np.int64]:
        """Run a slice of the images, the first of which has the index ``first``.

        Returns:
            The readout's membranes ``(S, N, *shape)``, an entry for each requested T.
        """
        number = len(images)
        wanted = [] if run.recorder is None else [i for i in range(number) if run.recorder.wants(first + i)]
        script = None if wanted else self._scripts.get(number)
        if script is not None:
            self._totals.drained = max(self._totals.drained, script.drained)
            return script(images)
        slice_ = Slice(run, first, images, wanted, self._workspace, self._totals)
        slice_.run()
        if slice_.script.complete:
            self._scripts[number] = slice_.script
        return slice_.membranes

    def finish(self, run: Run) -> Totals:
        """Give away the counters of all slices, and begin new ones."""
        totals, self._totals = self._totals, Totals()
        for call in self._workspace.memory.calls.values():
            counts = call.take_counts()
            found = Totals()
            if counts.spikes is not None:
                found.spikes[call.population] = run.in_steps(counts.spikes)
            if counts.saturated is not None:
                found.saturations[call.population] = run.in_steps(counts.saturated)
            totals.add(found)
        return totals
