"""From a trained network to an integer spiking network."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from refsnn.ann.graph import Array, Graph, Preprocessing
from refsnn.convert.calibration import Calibration
from refsnn.convert.lower import RealPopulation, lower
from refsnn.convert.normalise import normalise
from refsnn.convert.quantise import Quantised, quantise
from refsnn.convert.refine import refine
from refsnn.convert.settings import METHODS, Settings, preset
from refsnn.convert.thresholds import choose, is_learned
from refsnn.errors import InputError, WidthError
from refsnn.network import Network
from refsnn.ranges import INT32_BITS, Range, analyse

__all__ = [
    "METHODS",
    "Calibration",
    "Conversion",
    "Fitted",
    "LayerReport",
    "Range",
    "Settings",
    "analyse",
    "convert",
    "finish",
    "fit",
    "needs_calibration",
    "preset",
]


@dataclass(frozen=True, slots=True, kw_only=True)
class LayerReport:
    """What a conversion did to one population that integrates.

    Attributes:
        name: the population's.
        kind: ``rectified``, ``signed`` or ``readout``.
        operation: the operation of the normalised graph that it represents.
        learned: whether its thresholds come from the file.
        theta_min, theta_max: real value of a full spike train, over the channels (0 for a readout).
        threshold_min, threshold_max: integer thresholds (0 for a readout).
        silent: channels that were dead on the calibration images; nothing reads them.
        dwarfed: channels whose weights dwarf their threshold: a spike of theirs is worth more than theta.
        current_low, current_high, membrane_low, membrane_high: proved bounds.
        membrane_bits: smallest width that cannot saturate.
    """

    name: str
    kind: str
    operation: str
    learned: bool
    theta_min: float
    theta_max: float
    threshold_min: int
    threshold_max: int
    silent: int
    dwarfed: int
    current_low: int
    current_high: int
    membrane_low: int
    membrane_high: int
    membrane_bits: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Conversion:
    """A converted network and what there is to say about it.

    Attributes:
        network: the integer network.
        graph: the normalised ANN graph that it represents, population by operation.
        layers: a report for each population that integrates.
        notes: sentences the user should read.
    """

    network: Network
    graph: Graph
    layers: tuple[LayerReport, ...]
    notes: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Fitted:
    """A network on its way: what is to be rounded, and what it was rounded to.

    Attributes:
        graph: the normalised ANN graph.
        populations: its populations, refined where the settings ask for it.
        theta: ``(C,)`` of every firing population: the real value of a full spike train.
        quantised: the integers.
    """

    graph: Graph
    populations: tuple[RealPopulation, ...]
    theta: dict[str, Array]
    quantised: Quantised


def needs_calibration(graph: Graph, settings: Settings) -> bool:
    """Whether calibration images are needed: for some layer's threshold, or to refine."""
    if settings.refine:
        return True
    populations = lower(normalise(graph))
    return any(p.kind in ("rectified", "signed") and not is_learned(p, settings) for p in populations)


def convert(
    graph: Graph,
    settings: Settings,
    steps: int | Sequence[int],
    *,
    preprocessing: Preprocessing | None = None,
    calibration: Calibration | None = None,
    information: dict[str, Any] | None = None,
) -> Conversion:
    """Convert a network.

    Args:
        graph: the trained network.
        settings: a method's preset or settings of one's own.
        steps: every T that the network is to run for; one T where ``settings.needs_steps``. Widths hold for the
            largest.
        preprocessing: from pixel bytes to the graph's input; None: what the graph's file says, else raw bytes.
        calibration: statistics; may be None where every threshold is learned.
        information: kept in the network beside the settings.

    Raises:
        InputError: a layer has no equivalent in spikes, calibration images are needed and missing, several T for
            settings that depend on T, or widths that do not suffice.
    """
    wanted = (steps,) if isinstance(steps, int) else tuple(steps)
    if not wanted or min(wanted) < 1:
        raise InputError(f"steps is {wanted}; numbers of time-steps of at least 1 were expected")
    if settings.needs_steps and len(wanted) > 1:
        fitted = f"threshold {settings.threshold}{' and refining' * bool(settings.refine)}"
        raise InputError(f"{settings.method} with {fitted} needs a network for each T; give one T")
    largest = max(wanted)
    if settings.schedule.base == 2 and largest > INT32_BITS - 2:
        raise WidthError(
            f"base 2 at T = {largest} needs {largest + 2} bits or more, {INT32_BITS} are there: use fewer steps",
            largest + 2,
        )
    preprocessing = preprocessing or graph.preprocessing or Preprocessing()
    return finish(fit(graph, settings, largest, preprocessing, calibration), settings, wanted, information)


def fit(
    graph: Graph, settings: Settings, steps: int, preprocessing: Preprocessing, calibration: Calibration | None
) -> Fitted:
    """The first half of ``convert``, whose errors these are: real weights and thresholds, and their integers."""
    graph = normalise(graph)
    populations = lower(graph)
    if settings.refine:
        if calibration is None:
            raise InputError("refining needs calibration images: name some, or leave refining out")
        calibration = dataclasses.replace(calibration, preprocessing=preprocessing)
        populations, theta, quantised = refine(populations, settings, steps, calibration)
    else:
        levels = settings.schedule.levels(steps)
        firing = [p for p in populations if p.kind in ("rectified", "signed")]
        theta = {p.name: choose(p, settings, levels, calibration) for p in firing}
        quantised = quantise(populations, theta, settings, steps, preprocessing)
    return Fitted(graph=graph, populations=populations, theta=theta, quantised=quantised)


def finish(
    fitted: Fitted, settings: Settings, steps: Sequence[int], information: dict[str, Any] | None = None
) -> Conversion:
    """The second half of ``convert``: proved widths, the integer network, and reports on its layers."""
    largest = max(steps)
    quantised, theta = fitted.quantised, fitted.theta
    wide = Network(
        populations=tuple(quantised.populations),
        projections=tuple(quantised.projections),
        drain=settings.drain,
        steps=largest if settings.needs_steps else None,
        information={**(information or {}), "settings": dataclasses.asdict(settings), "steps": list(steps)},
    )
    ranges = analyse(wide, largest)
    needed = max((ranges[p.name].membrane_bits for p in wide.spiking), default=8)
    bits = settings.membrane_bits or min(max(needed, 8), INT32_BITS)
    network = dataclasses.replace(wide, membrane_bits=bits)
    integrating = [p for p in fitted.populations if p.name in ranges]
    layers = tuple(_report(p, settings, theta, quantised, ranges[p.name]) for p in integrating)
    return Conversion(network=network, graph=fitted.graph, layers=layers, notes=_notes(layers, bits, needed))


def _report(
    population: RealPopulation,
    settings: Settings,
    theta: dict[str, np.ndarray],
    quantised: Quantised,
    found: Range,
) -> LayerReport:
    scales = quantised.scales.get(population.name)
    real = theta.get(population.name, np.zeros(1))
    threshold = np.zeros(1, np.int64) if scales is None else scales.threshold
    return LayerReport(
        name=population.name,
        kind=population.kind,
        operation=population.operation,
        learned=is_learned(population, settings),
        theta_min=float(real.min()),
        theta_max=float(real.max()),
        threshold_min=int(threshold.min()),
        threshold_max=int(threshold.max()),
        silent=0 if scales is None else int(scales.silent.sum()),
        dwarfed=0 if scales is None else int(scales.dwarfed.sum()),
        current_low=int(found.current_low.min()),
        current_high=int(found.current_high.max()),
        membrane_low=int(found.membrane_low.min()),
        membrane_high=int(found.membrane_high.max()),
        membrane_bits=found.membrane_bits,
    )


def _notes(layers: tuple[LayerReport, ...], bits: int, needed: int) -> tuple[str, ...]:
    notes = []
    for layer in layers:
        if layer.silent:
            notes.append(
                f"'{layer.name}': {layer.silent} channels were 0 on every calibration image; nothing reads them"
            )
        if layer.dwarfed:
            notes.append(
                f"'{layer.name}': the weights of {layer.dwarfed} channels dwarf their threshold; "
                "their spikes are worth more than the threshold asked for"
            )
    if needed > bits:
        notes.append(
            f"membranes of {bits} bits may saturate (none can at {needed} bits); saturations are counted in the results"
        )
    return tuple(notes)
