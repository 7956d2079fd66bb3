"""Conversion settings, and the published methods as presets over the one neuron (numerics.md, sections 3 and 5)."""

from __future__ import annotations

import dataclasses
import math
from dataclasses import dataclass
from typing import Any

from refsnn.errors import InputError
from refsnn.network import CAP_STEPS, NO_CAP, UNTIL_QUIET, NeuronKind, Schedule

CORRECTIONS = ("weights", "rounding", "means")
"""What can be refined: weights by regression, their rounding by error feedback, biases by matched means."""

_RATE = Schedule()
_SEPARATED = Schedule(separated=True)
_BINARY = Schedule(separated=True, base=2)


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """Everything that a conversion can be told.

    Attributes:
        method: the preset's name; no code asks for it.
        neuron: kind of the rectified layers: ``if`` or ``dual``. Linear layers are always ``signed``.
        schedule: rate code, or temporal separation in base 1 or 2.
        negative_threshold: fraction f of the threshold; fires when the membrane is at most ``-f threshold``, and below
            0 where f = 0.
        initial_membrane: fraction of the threshold, rounded down; 1/2 is the optimum of OPI.
        cap: largest net count: ``CAP_STEPS`` (T), ``NO_CAP`` or a number.
        drain: steps without input after the T steps, or ``UNTIL_QUIET``.
        threshold: ``auto`` (learned where the file has it, else the 99.9th percentile), ``learned``, ``max``,
            ``percentile:P`` or ``mse`` (least squared error at the run's T).
        per_channel: a threshold for each channel instead of one for each layer.
        weight_bits: 2..8.
        membrane_bits: 8..32, or None: the smallest width that cannot saturate.
        refine: corrections of each layer in turn for what the layers before it really send (``refsnn.convert.refine``):
            ``all``, some of ``CORRECTIONS`` with commas between them, or empty: none. Thresholds that are neither
            learned nor asked for by a rule are then those of the least squared error, by channel.

    Raises:
        InputError: a value out of range, or settings that contradict each other.
    """

    method: str = "custom"
    neuron: NeuronKind = "if"
    schedule: Schedule = _RATE
    negative_threshold: float = 0.0
    initial_membrane: float = 0.5
    cap: int = NO_CAP
    drain: int = 0
    threshold: str = "auto"
    per_channel: bool = False
    weight_bits: int = 8
    membrane_bits: int | None = None
    refine: str = ""

    def __post_init__(self) -> None:
        def check(fine: bool, name: str, expected: str) -> None:
            if not fine:
                raise InputError(f"{name} is {getattr(self, name)!r}; {expected} was expected")

        check(self.neuron in ("if", "dual"), "neuron", "if or dual")
        check(0 <= self.negative_threshold <= 1, "negative_threshold", "a fraction of the threshold, 0 .. 1,")
        check(0 <= self.initial_membrane <= 1, "initial_membrane", "a fraction of the threshold, 0 .. 1,")
        check(self.cap >= CAP_STEPS, "cap", "-1 (the number of steps), 0 (none) or a positive number")
        check(self.drain >= UNTIL_QUIET, "drain", "a number of steps, or -1 (until quiet)")
        check(2 <= self.weight_bits <= 8, "weight_bits", "2 .. 8")
        check(self.membrane_bits is None or 8 <= self.membrane_bits <= 32, "membrane_bits", "8 .. 32, or auto")
        rule = self.threshold.partition(":")[0]
        check(
            rule in ("auto", "learned", "max", "percentile", "mse"),
            "threshold",
            "auto, learned, max, percentile:P or mse",
        )
        if rule == "percentile":
            self.percentile  # noqa: B018  (raises)
        if self.drain == UNTIL_QUIET and self.neuron == "dual" and self.cap == NO_CAP:
            raise InputError(f"{self.method}: draining until quiet needs a cap; give one (-1 is the number of steps)")
        unknown = self.corrections.difference(CORRECTIONS)
        check(not unknown, "refine", f"all, or some of {', '.join(CORRECTIONS)}")
        if self.refine and self.drain == UNTIL_QUIET and self.neuron == "if":
            raise InputError(
                f"{self.method}: refining knows no neurons that drain until quiet without taking spikes back; "
                "leave out one of the two, or choose a method with dual neurons"
            )
        if self.schedule.separated and self.drain:
            raise InputError(f"{self.method}: drain has no meaning with temporal separation, which is exact without it")

    @property
    def percentile(self) -> float:
        """The percentile of ``percentile:P``."""
        try:
            value = float(self.threshold.partition(":")[2])
        except ValueError:
            value = math.nan
        if not 0 < value <= 100:
            raise InputError(f"threshold is {self.threshold!r}; percentile:P with 0 < P <= 100 was expected")
        return value

    @property
    def corrections(self) -> frozenset[str]:
        """What ``refine`` names."""
        names = {name.strip() for name in self.refine.split(",")} - {""}
        return frozenset(CORRECTIONS if names == {"all"} else names)

    @property
    def needs_steps(self) -> bool:
        """Whether the integers depend on T, so that each T needs a network of its own."""
        return self.schedule.base == 2 or self.threshold == "mse" or bool(self.refine)


PRESETS: dict[str, Settings] = {
    # Liu et al., ICML 2025. Its negative threshold and gate could not be checked against its text: provisional.
    "ecl": Settings(method="ecl", neuron="dual", cap=CAP_STEPS),
    # Bu et al., ICLR 2022: threshold = the learned bound, membrane at half.
    "qcfs": Settings(method="qcfs"),
    # Bu et al., AAAI 2022: the same integers as qcfs at run time; the threshold comes from any clipped ReLU.
    "opi": Settings(method="opi"),
    # Wang et al., IJCAI 2022 (signed neuron with memory): negative spikes at minus the threshold, membrane at 0.
    "snm": Settings(method="snm", neuron="dual", negative_threshold=1.0, initial_membrane=0.0),
    # Hu et al., TPAMI 2023: negative spikes below 0 while the net count is above 0.
    "fast_snn": Settings(method="fast_snn", neuron="dual", cap=CAP_STEPS),
    # Liu et al., AAAI 2022: accumulate, then fire; binary weighted spikes, with rounding (membrane at half).
    "spikeconverter": Settings(method="spikeconverter", schedule=_BINARY),
    "spikeconverter-rate": Settings(method="spikeconverter-rate", schedule=_SEPARATED),
}

METHODS = tuple(PRESETS)


def preset(method: str, **overrides: Any) -> Settings:
    """The settings of a published method, with some of them replaced; an override of None keeps the preset's value.

    Raises:
        InputError: an unknown method or value.
    """
    if method not in PRESETS:
        raise InputError(f"there is no method '{method}'; there are {', '.join(METHODS)}")
    given = {name: value for name, value in overrides.items() if value is not None}
    return dataclasses.replace(PRESETS[method], **given)
