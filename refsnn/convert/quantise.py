"""From real weights and thresholds to the integer network: numerics.md, section 2, to the letter."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from refsnn.ann.graph import Array, Preprocessing
from refsnn.convert.lower import RealPopulation, Term
from refsnn.convert.settings import Settings
from refsnn.errors import WidthError
from refsnn.network import (
    CAP_STEPS,
    Input,
    MaxPool,
    Population,
    Projection,
    Readout,
    Schedule,
    Spiking,
)

Integers: TypeAlias = NDArray[np.int8] | NDArray[np.int32]

LARGEST_THRESHOLD = 1 << 14
FREE_THRESHOLD = 1 << 10
"""Threshold of a channel without conv or dense weights: nothing else sets its scale."""
INPUT_THRESHOLD_BITS = 12
LARGEST_SHIFT = 30


@dataclass(kw_only=True, eq=False)
class Scales:
    """The integer threshold and real unit of each channel of a population, and what was noticed.

    Attributes:
        threshold: ``(C,) int64``.
        unit: ``(C,)``: real value of a membrane of 1; 0 for a silent channel.
        shift: ``(C,) int32``: right shift of projections from the input.
        dwarfed: ``(C,) bool``: the weights dwarf the threshold, a spike is worth more than theta.
    """

    threshold: NDArray[np.int64]
    unit: Array
    shift: NDArray[np.int32]
    dwarfed: NDArray[np.bool_]

    @property
    def silent(self) -> NDArray[np.bool_]:
        """``(C,)``: channels that nothing reads, because they were dead on the calibration images."""
        result: NDArray[np.bool_] = self.unit == 0
        return result


@dataclass(kw_only=True, eq=False)
class Quantised:
    """An integer network in the making, and the scales of its firing populations."""

    populations: list[Population] = field(default_factory=list)
    projections: list[Projection] = field(default_factory=list)
    scales: dict[str, Scales] = field(default_factory=dict)


def quantise(
    populations: tuple[RealPopulation, ...],
    theta: dict[str, Array],
    settings: Settings,
    steps: int,
    preprocessing: Preprocessing,
) -> Quantised:
    """The integer populations and projections.

    Args:
        populations: from ``refsnn.convert.lower``.
        theta: ``(C,)`` a firing population: the real value of a full spike train.
        settings: widths, neuron and schedule.
        steps: T; only base 2 depends on it.
        preprocessing: from pixel bytes to real inputs.

    Raises:
        WidthError: a bias or an identity's weight does not fit int32.
    """
    quantiser = Quantiser(settings, steps, preprocessing)
    for population in populations:
        quantiser.add(population, theta.get(population.name))
    return quantiser.result


def term_rows(term: Term, population: RealPopulation) -> NDArray[np.int64]:
    """The population's channel that each row of a term's weights feeds."""
    if term.kind == "dense":
        return np.repeat(np.arange(population.shape[0]), len(term.weights) // population.shape[0])
    return np.arange(term.channel, term.channel + len(term.weights))


def negative_threshold(fraction: float, threshold: NDArray[Any]) -> NDArray[Any]:
    """A fraction of the threshold; of integers the largest that lies strictly below it, since firing is strict."""
    if not np.issubdtype(threshold.dtype, np.integer):
        return fraction * threshold
    result: NDArray[Any] = np.maximum(np.ceil(fraction * threshold).astype(np.int64) - 1, 0)
    return result


def _integer_settings(settings: Settings, population: RealPopulation, threshold: NDArray[np.int64]) -> dict[str, Any]:
    """Neuron kind, thresholds, initial membrane and cap of a firing population."""
    signed = population.kind == "signed"
    negative = negative_threshold(0.0 if signed else settings.negative_threshold, threshold)
    separated = settings.schedule.separated
    return {
        "neuron": "signed" if signed else "if" if separated else settings.neuron,
        "cap": CAP_STEPS if signed or separated else settings.cap,
        "threshold": threshold.astype(np.int32),
        "negative_threshold": negative.astype(np.int32),
        "initial_membrane": np.floor(settings.initial_membrane * threshold).astype(np.int32),
    }


class Quantiser:
    """Makes the integer network population by population, in topological order.

    Attributes:
        result: what there is so far.
        amplitude: ``(C,)`` a population: the real value of one event of each channel.
        static: the input and what only pools it.
        largest: M, the largest weight.
    """

    def __init__(self, settings: Settings, steps: int, preprocessing: Preprocessing) -> None:
        self.settings = settings
        self.schedule: Schedule = settings.schedule
        self.divisor = self.schedule.levels(steps) if self.schedule.base == 2 else 1
        self.preprocessing = preprocessing
        self.largest = (1 << (settings.weight_bits - 1)) - 1
        self.result = Quantised()
        self.amplitude: dict[str, Array] = {}
        self.static: set[str] = set()

    def add(self, population: RealPopulation, theta: Array | None = None) -> None:
        """Quantise a population of any kind; a firing one needs its theta ``(C,)``."""
        match population.kind:
            case "input":
                self._input(population)
            case "max_pool":
                self._max_pool(population)
            case "readout":
                self.readout(population, self.readout_scales(population))
            case _:
                assert theta is not None
                self.spiking(population, self.scales(population, theta))

    def _input(self, population: RealPopulation) -> None:
        real = self.preprocessing.table(population.shape[0])
        largest = 255 if real.min() >= 0 else 127
        unit = float(np.abs(real).max()) / largest or 1.0
        table = np.rint(real / unit).astype(np.int16)
        self.amplitude[population.name] = np.full(population.shape[0], unit)
        self.static.add(population.name)
        self.result.populations.append(
            Input(name=population.name, shape=population.shape, table=table, unit=unit, schedule=self.schedule)
        )

    def _max_pool(self, population: RealPopulation) -> None:
        assert population.pool is not None
        self.amplitude[population.name] = self.amplitude[population.source]
        if population.source in self.static:
            self.static.add(population.name)
        self.result.populations.append(
            MaxPool(
                name=population.name,
                shape=population.shape,
                source=population.source,
                kernel=population.pool.kernel,
                stride=population.pool.stride,
                padding=population.pool.padding,
                zero_padding=population.pool.zero_padding,
                schedule=self.schedule,
            )
        )

    def spiking(
        self,
        population: RealPopulation,
        scales: Scales,
        integers: list[Integers] | None = None,
        initial_membrane: NDArray[np.int32] | None = None,
    ) -> None:
        """Add a firing population; weights and initial membrane are rounded here where they are not given."""
        self.result.scales[population.name] = scales
        self.amplitude[population.name] = scales.threshold * scales.unit
        self._project(population, scales, integers)
        chosen = _integer_settings(self.settings, population, scales.threshold)
        if initial_membrane is not None:
            chosen["initial_membrane"] = initial_membrane
        self.result.populations.append(
            Spiking(
                name=population.name,
                shape=population.shape,
                bias=self.bias(population, scales),
                unit=scales.unit,
                schedule=self.schedule,
                **chosen,
            )
        )

    def readout_scales(self, population: RealPopulation) -> Scales:
        """One unit for all channels of the readout; its threshold means nothing."""
        peak, from_input = self._peaks(population)
        largest = max(float(peak.max()), float(from_input.max()))
        if largest > 0:
            unit = largest / self.largest
        else:  # only identities, if anything: as fine as a free threshold
            sizes = [np.abs(self.real(term)).max() for term in population.terms]
            unit = max([float(size) for size in sizes], default=0.0) / FREE_THRESHOLD or 1.0
        channels = population.shape[0]
        return Scales(
            threshold=np.ones(channels, np.int64),
            unit=np.full(channels, unit),
            shift=np.zeros(channels, np.int32),
            dwarfed=np.zeros(channels, bool),
        )

    def readout(self, population: RealPopulation, scales: Scales, integers: list[Integers] | None = None) -> None:
        """Add the readout; weights are rounded here where they are not given."""
        self._project(population, scales, integers)
        self.result.populations.append(
            Readout(
                name=population.name,
                shape=population.shape,
                bias=self.bias(population, scales),
                unit=float(scales.unit[0]),
                activation=population.output,
                schedule=self.schedule,
            )
        )

    def real(self, term: Term) -> Array:
        """``W * a``: the weights times the real value of one event of their source channel."""
        amplitude = self.amplitude[term.source]
        if term.kind == "identity":
            return term.weights * amplitude
        if term.kind == "dense":
            size = term.weights.shape[1] // len(amplitude)
            return term.weights * np.repeat(amplitude, size)
        outputs, per_group, *kernel = term.weights.shape
        grouped = term.weights.reshape(term.groups, outputs // term.groups, per_group, *kernel)
        result: Array = (grouped * amplitude.reshape(term.groups, 1, per_group, 1, 1)).reshape(term.weights.shape)
        return result

    def _peaks(self, population: RealPopulation) -> tuple[Array, Array]:
        """``(C,)`` each: the largest ``|W * a|`` of conv and dense projections, from populations and from the input."""
        channels = population.shape[0]
        peaks = np.zeros((2, channels))
        for term in population.terms:
            if term.kind == "identity":
                continue
            real = np.abs(self.real(term))
            where = peaks[int(term.source in self.static)]
            if term.kind == "dense":
                np.maximum(where, real.max(axis=1).reshape(channels, -1).max(axis=1), out=where)
            else:
                where[term.channels] = np.maximum(where[term.channels], real.max(axis=(1, 2, 3)))
        return peaks[0], peaks[1]

    def scales(self, population: RealPopulation, theta: Array, shrink: Array | None = None) -> Scales:
        """The scales of a firing population.

        Args:
            population: its terms.
            theta: ``(C,)``: the real value of a full spike train.
            shrink: ``(C,)``: a fraction of the peak that is enough; larger weights are then clipped.
        """
        theta = theta / self.divisor
        peak, from_input = self._peaks(population)
        if shrink is not None:
            peak, from_input = peak * shrink, from_input * shrink
        m, channels = self.largest, population.shape[0]
        threshold = np.full(channels, FREE_THRESHOLD, np.int64)
        shift = np.zeros(channels, np.int32)
        dwarfed = np.zeros(channels, bool)
        unit = np.zeros(channels)
        for c in range(channels):
            if theta[c] == 0:
                continue
            if peak[c] > 0:
                threshold[c], unit[c], dwarfed[c] = self._scale(theta[c], peak[c])
                if from_input[c] > m * unit[c]:  # even unshifted the input's weights would not fit: they set the unit
                    threshold[c], unit[c], dwarfed[c] = self._scale(theta[c], from_input[c])
                elif from_input[c] > 0:
                    shift[c] = min(int(np.floor(np.log2(m * unit[c] / from_input[c]))), LARGEST_SHIFT)
                    shift[c] -= from_input[c] * 2.0 ** shift[c] > m * unit[c]
            elif from_input[c] > 0:
                wide = int(min(m * theta[c] / from_input[c], 2.0 ** (INPUT_THRESHOLD_BITS + LARGEST_SHIFT) - 1))
                if wide < 1:
                    threshold[c], unit[c], dwarfed[c] = self._scale(theta[c], from_input[c])
                else:
                    shift[c] = max(0, wide.bit_length() - INPUT_THRESHOLD_BITS)
                    threshold[c] = wide >> int(shift[c])
                    unit[c] = theta[c] / threshold[c]
            else:
                unit[c] = theta[c] / FREE_THRESHOLD
        return Scales(threshold=threshold, unit=unit, shift=shift, dwarfed=dwarfed)

    def _scale(self, theta: float, peak: float) -> tuple[int, float, bool]:
        """Threshold, unit, and whether the weights dwarf the threshold."""
        whole = int(min(self.largest * theta / peak, LARGEST_THRESHOLD))
        if whole < 1:
            return 1, peak / self.largest, True
        return whole, theta / whole, False

    def scaled(self, population: RealPopulation, scales: Scales) -> list[Array]:
        """The weights of every term in units of an integer weight, not yet rounded; 0 in silent channels."""
        safe = np.where(scales.unit > 0, scales.unit, np.inf)
        result = []
        for term in population.terms:
            rows = term_rows(term, population)
            factor = (2.0 ** scales.shift[rows] if self.has_shift(term) else 1.0) / safe[rows]
            real = self.real(term)
            result.append(real * factor.reshape(-1, *(1,) * (real.ndim - 1)))
        return result

    def has_shift(self, term: Term) -> bool:
        """Whether the term's sums are shifted: those of conv and dense terms from the input are."""
        return term.source in self.static and term.kind != "identity"

    def rounded(self, population: RealPopulation, scales: Scales) -> list[Integers]:
        """The integer weights of every term, each the nearest."""
        return [
            self._int32(values, f"the identity into '{population.operation}'")
            if term.kind == "identity"
            else np.clip(np.rint(values), -self.largest, self.largest).astype(np.int8)
            for term, values in zip(population.terms, self.scaled(population, scales), strict=True)
        ]

    def _project(self, population: RealPopulation, scales: Scales, integers: list[Integers] | None) -> None:
        if integers is None:
            integers = self.rounded(population, scales)
        for term, weights in zip(population.terms, integers, strict=True):
            shift = scales.shift[term_rows(term, population)]
            self.result.projections.append(
                Projection(
                    source=term.source,
                    target=population.name,
                    kind=term.kind,
                    weights=weights,
                    shift=shift if self.has_shift(term) and shift.any() else None,
                    pool=term.pool,
                    stride=term.stride,
                    padding=term.padding,
                    dilation=term.dilation,
                    groups=term.groups,
                    channel=term.channel,
                )
            )

    def bias(self, population: RealPopulation, scales: Scales) -> NDArray[np.int32]:
        """The integer bias, ``(C,)`` or ``(C, H, W)``."""
        safe = np.where(scales.unit > 0, scales.unit, np.inf).reshape(-1, *(1,) * (population.bias.ndim - 1))
        return self._int32(population.bias / safe, f"the bias of '{population.operation}'")

    def _int32(self, values: Array, what: str) -> NDArray[np.int32]:
        """Rounded half to even, if they fit."""
        rounded = np.rint(values)
        bits = int(np.abs(rounded).max(initial=0)).bit_length() + 1
        if bits > 32:
            cure = (
                "use fewer steps"
                if self.schedule.base == 2
                else "its threshold is tiny beside it, choose another threshold rule or fewer weight bits"
            )
            raise WidthError(f"{what} would need {bits} bits, 32 are there: {cure}", bits)
        return rounded.astype(np.int32)
