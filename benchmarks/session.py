"""A run of the benchmark: case after case, each kept as soon as it is measured."""

from __future__ import annotations

import logging
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from benchmarks import networks as shapes
from benchmarks import peers as everyone
from benchmarks import plot, results, roofline, table
from benchmarks.measure import check, keep_memory, measure
from benchmarks.peers import REFSNN, Case, Engine, Peer
from benchmarks.results import Results, Row
from refsnn import files
from refsnn.errors import InputError, require
from refsnn.network import Network

IMAGES = 1024
"""At most so many images in a measured run."""

TRIAL = 8
"""Thresholds are set on so many images."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """What holds for every case of a run; the options of the command.

    Attributes:
        kernels: refsnn's kernel sets.
        peers: modules of ``benchmarks.peers``, without refsnn's own.
        seconds: how long a measured run takes, about.
        again: measure cases too that were measured before.
    """

    threads: int
    kernels: tuple[str, ...]
    peers: tuple[str, ...]
    compiled: bool
    rounds: int
    seconds: float
    seed: int
    again: bool


def run(
    folder: Path,
    settings: Settings,
    networks: Sequence[str],
    spiking: Sequence[float],
    steps: Sequence[int],
    batches: Sequence[int],
) -> None:
    """Measure every combination that is missing in ``folder/results.json``.

    Raises:
        InputError: an unknown name; no PyTorch; results of another machine; engines that must agree and do not.
    """
    for name in networks:
        _check(name)
    require("matplotlib", "peers")  # now, not after hours
    logging.getLogger("torch._library").setLevel(logging.ERROR)  # it misses Triton, of use on graphics cards alone
    require("torch", "peers")
    keep_memory()
    from benchmarks.rates import reached, set_rates

    peers, missing = everyone.load((REFSNN, *settings.peers))
    path = folder / "results.json"
    found = _open(path)
    found.missing.update(missing)
    cases = [(n, s, t, b) for s in spiking for n in networks for t in steps for b in batches]
    wanted = [case for case in cases if settings.again or not _measured(found, settings, case)]
    _tell(f"{len(cases) - len(wanted)} of {len(cases)} cases are there already")
    if wanted:
        _tell("roofline")
        found.add_roofline(roofline.measure(settings.kernels, settings.threads))
        found.save(path)
    before, network, rates = None, None, {}
    for index, (name, percent, time_steps, batch) in enumerate(wanted):
        _tell(f"[{index + 1}/{len(wanted)}] {name}, {percent:g} %, T = {time_steps}, batch {batch}")
        images = pixels(shapes.NETWORKS[name](settings.seed), max(IMAGES // batch, 1) * batch, settings.seed)
        if (name, percent, time_steps) != before:
            plain = shapes.NETWORKS[name](settings.seed)
            network = set_rates(plain, images[:TRIAL], time_steps, percent / 100)
            rates = reached(network, images[:TRIAL], time_steps)
            before = name, percent, time_steps
        assert network is not None
        case = Case(
            network=network,
            steps=time_steps,
            batch=batch,
            threads=settings.threads,
            images=images[: max(TRIAL // batch, 1) * batch],
            kernels=settings.kernels,
            compiled=settings.compiled,
        )
        row = _row(case, name, percent, rates, peers, images, settings)
        _tell(f"  {table.rates(row)}")
        _tell(f"  {table.cores(row)}")
        for engine in row.engines:
            _tell(f"  {engine.name:<24}{engine.median:>10,.1f} images/s   {engine.note}")
        found.add(row)
        found.save(path)


def render(folder: Path) -> None:
    """Print the tables of ``folder/results.json``; write them as ``tables.md``, and ``speed.svg`` and ``speed.png``.

    Raises:
        InputError: there is nothing to show; no matplotlib.
    """
    found = results.load(folder / "results.json")
    if not found.rows:
        raise InputError(f"{folder / 'results.json'}: no case has been measured yet")
    tables = (table.speeds(found), table.ratios(found))
    for each in tables:
        each.show()
        print()
    text = [each.markdown() for each in tables]
    text.append("\n".join(f"- {note}" for note in table.notes(found)) + "\n")
    files.write_text(folder / "tables.md", "\n".join(text))
    for reason in (f"left out: {peer}: {reason}" for peer, reason in found.missing.items()):
        print(reason)
    for suffix in (".svg", ".png"):
        plot.draw(found, folder / f"speed{suffix}")
    print(f"{folder}: tables.md, speed.svg, speed.png, results.json")


def prepare(name: str, steps: int, percent: float, images: int) -> tuple[Network, NDArray[np.uint8]]:
    """A network of which so many per cent of the neurons spike in a step, and random images for it.

    Raises:
        InputError: there is no such network.
    """
    from benchmarks.rates import set_rates

    _check(name)
    plain = shapes.NETWORKS[name](0)
    found = pixels(plain, max(images, TRIAL), 0)
    return set_rates(plain, found[:TRIAL], steps, percent / 100), found[:images]


def _check(name: str) -> None:
    if name not in shapes.NETWORKS:
        raise InputError(f"there is no network '{name}'; there are {', '.join(shapes.NETWORKS)}")


def pixels(network: Network, number: int, seed: int) -> NDArray[np.uint8]:
    """Random images for a network."""
    return np.random.default_rng(seed).integers(0, 256, (number, *network.input.shape)).astype(np.uint8)


def _row(
    case: Case,
    name: str,
    percent: float,
    rates: dict[str, float],
    peers: Sequence[Peer],
    images: NDArray[np.uint8],
    settings: Settings,
) -> Row:
    engines: list[Engine] = [engine for peer in peers for engine in peer.engines(case)]
    check(engines, case.images)
    measured, cores = measure(engines, images, case.batch, settings.rounds, settings.seconds)
    return Row(
        network=name,
        spiking=percent,
        steps=case.steps,
        batch=case.batch,
        threads=case.threads,
        cores=cores,
        reached=rates,
        multiply_adds=shapes.multiply_adds(case.network, case.steps),
        plain_multiply_adds=shapes.multiply_adds(case.network, 1),
        traffic=shapes.traffic(case.network, case.steps, case.batch),
        plain_traffic=shapes.traffic(case.network, 1, case.batch),
        engines=measured,
    )


def _open(path: Path) -> Results:
    here = results.machine()
    if not path.exists():
        return Results(here)
    found = results.load(path)
    differ = [key for key in {**found.machine, **here} if found.machine.get(key) != here.get(key)]
    if differ:
        raise InputError(
            f"{path}: was measured with another {', '.join(differ)}; name another folder with --out, or show what is "
            "there with --render"
        )
    return found


def _measured(found: Results, settings: Settings, case: tuple[str, float, int, int]) -> bool:
    row = found.find((*case, settings.threads))
    if row is None:
        return False
    own = {each.name: len(each.per_second) for each in row.engines}
    return all(own.get(f"{REFSNN} {kernels}", 0) >= settings.rounds for kernels in settings.kernels)


def _tell(text: str) -> None:
    print(text, file=sys.stderr, flush=True)
