"""Mutants of a part, what became of each of them, and the score."""

from __future__ import annotations

import time
from dataclasses import asdict, dataclass
from pathlib import Path
from random import Random
from typing import Any

from hdl.mutation.netlist import Mutant, mutate
from hdl.mutation.parts import Part
from hdl.mutation.simulation import simulate
from hdl.mutation.survivors import Answer, compare
from hdl.stimuli import Cycles


@dataclass(frozen=True, slots=True)
class Score:
    """The mutants of a part.

    Attributes:
        killed: the cycle in which a mutant is first seen, by number.
        survivors: what the solver says of the others.
        mutants: all of them.
        cycles: of the vectors.
        depth: the k of the solver's inductions, in cycles.
        horizon: how many cycles from power-up it has looked at where they do not close.
        seconds: by the clock.
    """

    mutants: tuple[Mutant, ...]
    killed: dict[int, int]
    survivors: dict[int, Answer]
    cycles: int
    depth: int
    horizon: int
    seconds: float

    def count(self, answer: Answer) -> int:
        """Survivors of a kind."""
        return list(self.survivors.values()).count(answer)

    @property
    def score(self) -> float:
        """Killed, as a part of those that are not proved equivalent."""
        return len(self.killed) / max(1, len(self.mutants) - self.count("equivalent"))

    def plain(self) -> dict[str, Any]:
        """For the JSON file."""
        mutants = [
            asdict(mutant)
            | {"killed in cycle": self.killed.get(mutant.number), "survivor": self.survivors.get(mutant.number)}
            for mutant in self.mutants
        ]
        found = {"score": self.score, "cycles": self.cycles, "depth": self.depth, "horizon": self.horizon}
        return found | {"seconds": round(self.seconds, 1), "mutants": mutants}


def measure(part: Part, count: int, seed: int, folder: Path, stimuli: Cycles | None = None) -> Score:
    """Make mutants, run them all, and have a solver look at those that survive.

    Args:
        part: to mutate.
        count: mutants.
        seed: of their choice, and of the stimuli.
        folder: for all files; made if it is not there.
        stimuli: other than the part's own.

    Raises:
        MissingExtraError: a tool is not installed.
        ToolError: a tool failed, or the part itself does not do what its model says.
    """
    start = time.perf_counter()
    netlist = mutate(part.component(), count, seed, folder)
    component = part.component()
    verdicts = simulate(netlist, component, stimuli or part.stimuli(component, Random(seed)))
    survivors = {
        mutant.number: compare(part.pair, part.component, netlist, mutant, part.depth, part.horizon)
        for mutant in netlist.mutants
        if verdicts.killed[mutant.number] < 0
    }
    killed = {number: cycle for number, cycle in verdicts.killed.items() if cycle >= 0}
    return Score(
        netlist.mutants, killed, survivors, verdicts.cycles, part.depth, part.horizon, time.perf_counter() - start
    )
