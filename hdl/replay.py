"""A golden case on a compiled core: is every layer right, and how busy are the lanes: ``python -m hdl.replay``."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import typer
from numpy.typing import NDArray

import golden
from golden.case import Case
from hdl.compiled import Compiled
from hdl.execute import run_layer
from hdl.fit import computed, fit
from hdl.layer import Layer, cells, lower
from hdl.words import bit_planes
from refsnn.errors import InputError
from refsnn.network import Network, Readout
from refsnn.simulate.links import fan_out
from refsnn.terminal import Version, run_command, show_table, user_errors

HELP = """
Run the layers of a golden case on a core compiled to machine code.

Each layer gets the events that the case says its sources sent. What the core
sends is compared with the case, word by word.

[bold]The table[/bold]
  cycles       of the core, from the start of a layer's job to its end
  active       cycles in which the lanes are given events
  utilisation  of all lane-cycles, those that add a synapse's weight or could
  skipped      silent rows of a channel that cost no lane-cycles
  syn. ops     additions that the spikes ask for, a weight and an event each;
               a pixel's bit-planes count as one
  a second     the same at --megahertz, of this layer

Exit status: 0 equal, 1 differs, 2 wrong use or input.
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Replayed:
    """What a layer did.

    Attributes:
        population: its name.
        differing: events or membranes that are not those of the case.
        cycles, active, dropped: of the machine.
        useful: of the lane-cycles of all its micro-operations, silent ones included, those that belong to a synapse.
        operations: synaptic operations of its sources' events.
    """

    population: str
    differing: int
    cycles: int
    active: int
    dropped: int
    useful: float
    operations: int

    @property
    def utilisation(self) -> float:
        """Busy lane-cycles over all."""
        return self.useful * self.active / self.cycles


def replay(case: Case, image: int, machine: Compiled) -> Iterator[Replayed]:
    """Run the layers of a case, each on the events that the case has for its sources.

    Args:
        case: the golden case.
        image: which of its images.
        machine: the core.
    """
    network = case.network
    steps, drain = case.steps, drained(case, image)
    for population in computed(network):
        layer = lower(network, population.name, steps, drain, machine.parameters)
        sources = {
            source.name: _events(case, source.name, image)
            for source in layer.sources
            if source.name not in layer.constants
        }
        before = machine.cycles, machine.active, machine.dropped
        readout = isinstance(population, Readout)
        found = run_layer(machine, layer, sources, readout=readout)
        if readout:
            expected = case.membranes()[image].reshape(layer.shape)
        else:
            expected = _events(case, population.name, image)
            if network.is_static(population.name):
                expected = bit_planes(expected, layer.columns.length)
        padded = np.zeros(found.shape, np.int64)
        padded[: len(expected)] = expected
        yield Replayed(
            population=population.name,
            differing=int((found != padded).sum()),
            cycles=machine.cycles - before[0],
            active=machine.active - before[1],
            dropped=machine.dropped - before[2],
            useful=useful(network, layer, machine.parameters.lanes),
            operations=operations(case, population.name, image),
        )


def drained(case: Case, image: int) -> int:
    """The steps after the T that a case's image took."""
    return max(len(case.events(each.name)[image]) - case.steps for each in case.network.spiking)


def _events(case: Case, population: str, image: int) -> NDArray[Any]:
    events = np.asarray(case.events(population)[image])
    return events[0] if case.network.is_static(population) else events


def useful(network: Network, layer: Layer, lanes: int) -> float:
    """Of a layer's lane-cycles, if nothing is silent, those that belong to a synapse of the network."""
    synapses = 0
    for projection in network.incoming(layer.population):
        source = cells(network[projection.source].shape)
        columns = next(each.columns.length for each in layer.sources if each.name == projection.source)
        synapses += columns * source[0] * int(fan_out(projection, source, layer.shape).sum())
    whole = sum(job.operations for job in layer.jobs)
    return synapses / (whole * lanes) if whole else 0.0


def operations(case: Case, population: str, image: int) -> int:
    """The additions that the events of a population's sources ask for; a static source counts once, all pixels."""
    network = case.network
    total = 0
    for projection in network.incoming(population):
        source, target = cells(network[projection.source].shape), cells(network[population].shape)
        fan = fan_out(projection, source, target)
        events = np.abs(_events(case, projection.source, image).reshape(-1, *source))
        total += int(((events != 0).sum(axis=(0, 1)) * fan).sum())
    return total


def command(
    folder: Annotated[Path, typer.Argument(metavar="CASE", help="The golden case's folder.", show_default=False)],
    lanes: Annotated[int, typer.Option(metavar="N", help="Integrate lanes.")] = 128,
    image: Annotated[int, typer.Option(metavar="K", help="Which of the case's images.")] = 0,
    stalls: Annotated[float, typer.Option(metavar="P", help="How often both sides pause, of 1.")] = 0.0,
    megahertz: Annotated[float, typer.Option(metavar="X", help="The clock of the rates.")] = 100.0,
    cores: Annotated[Path, typer.Option(metavar="DIR", help="Keeps compiled cores.")] = Path("runs/cores"),
    version: Version = False,
) -> None:
    with user_errors():
        case = golden.load(folder)
        if not 0 <= image < len(case):
            raise InputError(f"{folder}: has {len(case)} images; --image {image} is none of them")
        parameters = fit(case.network, case.steps, drained(case, image), lanes)
        cores.mkdir(parents=True, exist_ok=True)
        machine = Compiled(parameters, cores, stalls=stalls)
        layers = list(replay(case, image, machine))
    rows = []
    for each in layers:
        rate = each.operations / each.cycles * megahertz / 1000
        rows.append(
            (
                each.population,
                "yes" if not each.differing else f"{each.differing:,} differ",
                f"{each.cycles:,}",
                f"{100 * each.active / each.cycles:.1f} %",
                f"{100 * each.utilisation:.1f} %",
                f"{each.dropped:,}",
                f"{each.operations:,}",
                f"{rate:.2f} G",
            )
        )
    cycles, done = sum(each.cycles for each in layers), sum(each.operations for each in layers)
    rows.append(("all", "", f"{cycles:,}", "", "", "", f"{done:,}", f"{done / cycles * megahertz / 1000:.2f} G"))
    sizes = f"{parameters.channels} channels x {parameters.rows} rows x {parameters.pixels} pixels"
    show_table(
        f"{folder.name}: {parameters.lanes:,} lanes ({sizes} x {parameters.columns} columns), {megahertz:g} MHz",
        ("layer", "equal", "cycles", "active", "utilisation", "skipped", "syn. ops", "a second"),
        rows,
        left=("layer", "equal"),
        breaks=[False] * len(layers) + [True],
    )
    if any(each.differing for each in layers):
        raise typer.Exit(1)


def main() -> None:
    """Run the command."""
    run_command(command, HELP, "python -m hdl.replay")


if __name__ == "__main__":
    main()
