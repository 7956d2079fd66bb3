"""What holds for a whole run: the network with its links and plans, the numbers of steps, and counters."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from refsnn.geometry import Padding
from refsnn.kernels import Populations
from refsnn.network import Network
from refsnn.simulate.links import Links
from refsnn.simulate.recording import Recorder

if TYPE_CHECKING:
    from refsnn.kernels.plan import Dense, Feed


@dataclass(slots=True)
class Totals:
    """Counters of some images, as they come; ``Run.counters`` makes totals of them.

    Attributes:
        spikes: by population that sends any, ``(T', P) int64``: those of each step at each pixel; of all steps together
            ``(1, P)`` where a single T was asked for.
        saturations: by firing population, ``(T',) int64`` or ``(1,)``, likewise.
        drained: steps beyond T in which a neuron fired, or the number of drain steps asked for.
    """

    spikes: dict[str, NDArray[np.int64]] = field(default_factory=dict)
    saturations: dict[str, NDArray[np.int64]] = field(default_factory=dict)
    drained: int = 0

    def add(self, other: Totals) -> None:
        """Add the counters of other images."""
        for ours, theirs in ((self.spikes, other.spikes), (self.saturations, other.saturations)):
            for key, count in theirs.items():
                ours[key] = ours[key] + count if key in ours else count
        self.drained = max(self.drained, other.drained)


@dataclass(frozen=True, slots=True)
class Counters:
    """Counters by population and by projection label, ``(S,) int64`` each: an entry for each requested T."""

    spikes: dict[str, NDArray[np.int64]]
    saturations: dict[str, NDArray[np.int64]]
    synaptic_operations: dict[str, NDArray[np.int64]]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Run:
    """A network, ready to run for a number of time-steps.

    Attributes:
        links: of ``links.connect``.
        kernels: of the kernel set.
        largest: of ``links.largest_currents`` for these steps.
        steps: T.
        marks: the numbers of steps to report on: several only in rate schedules without drain.
        dense: of ``kernels.dense.plan``: the populations that go that way, unless one of a slice's images is recorded.
        halos: of ``kernels.dense.halos``.
        recorder: or None.
    """

    network: Network
    links: Links
    kernels: Populations
    dense: dict[str, Dense]
    halos: dict[Feed, Padding]
    largest: dict[str, int]
    steps: int
    marks: tuple[int, ...]
    recorder: Recorder | None

    def counters(self, totals: Totals) -> Counters:
        """What is reported of the counters of all images."""
        operations: dict[str, NDArray[np.int64]] = {}
        for link in (link for group in self.links.values() for link in group):
            projection = link.projection
            if not self.network.is_static(projection.source):
                found = self._at_marks(totals.spikes[projection.source] @ link.fan_out.ravel())
                label = projection.label
                operations[label] = operations[label] + found if label in operations else found
        return Counters(
            {p.name: self._at_marks(totals.spikes[p.name].sum(axis=1)) for p in self.network.spiking},
            {p.name: self._at_marks(totals.saturations[p.name]) for p in self.network.spiking},
            operations,
        )

    def _at_marks(self, per_step: NDArray[np.int64]) -> NDArray[np.int64]:
        """Totals up to each requested T of counts in each step."""
        if len(self.marks) == 1:
            return np.array([per_step.sum()])
        until: NDArray[np.int64] = np.cumsum(per_step)[np.array(self.marks) - 1]
        return until

    def in_steps(self, counts: NDArray[np.int64]) -> NDArray[np.int64]:
        """Counts in each step, or of all steps together where a single T was asked for."""
        return counts.sum(axis=0, keepdims=True) if len(self.marks) == 1 else counts

    @property
    def width(self) -> tuple[int, int]:
        """Smallest and largest membrane."""
        half = 1 << (self.network.membrane_bits - 1)
        return -half, half - 1

    @property
    def shortest(self) -> int:
        """The steps that a population in a rate schedule runs in any case."""
        return self.steps + max(self.network.drain, 0)
