"""The sizes of a core: everything that is fixed when it is made."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any, Literal, TypeAlias

from refsnn.errors import InputError

Device: TypeAlias = Literal["generic", "ecp5", "ice40"]
DEVICES: tuple[Device, ...] = ("generic", "ecp5", "ice40")

THRESHOLD_BITS = 15
"""Unsigned bits of a threshold: the contract has 1 .. 2^14."""
SHIFT_BITS = 5
"""Unsigned bits of the input's rounding shift."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Parameters:
    """The sizes of a core.

    Attributes:
        channels: C, output channels computed at a time; each has a neuron of its own.
        rows: R, output rows computed at a time.
        pixels: P, neighbouring output pixels of a row computed at a time; a power of two. Maps are stored in groups
            of P pixels.
        columns: J, time-steps (or digits of a code, bit-planes of a pixel) computed at a time; a power of two.
        banks: groups of a row that can be seen at a time; a power of two. 4 let strides up to 2 run at full rate.
        weight_planes: 1: weights have 8 bits. 2: wide identity weights may take a second pass, shifted by 8 bits.
        accumulator_bits: width A of a lane; it must hold the sum of one column, not what comes on the way there.
        state_bits: width X of accumulations, membranes, static currents and readouts.
        membrane_bits: width B to which membranes are clamped, at most ``state_bits``.
        count_bits: signed width of a neuron's net count.
        event_words, weight_words: depth of the event memory (of each bank) and of the weight memory.
        fetches, taps, segments, neurons: depths of the tables that describe a layer.
        device: what the integrate lanes are made for; ``generic`` is plain logic.
        pooling: whether there is a max-pool unit.
        trace: whether every neuron's current, membranes and spike are brought out, step by step.
    """

    channels: int = 16
    rows: int = 1
    pixels: int = 8
    columns: int = 4
    banks: int = 4
    weight_planes: int = 2
    accumulator_bits: int = 20
    state_bits: int = 24
    membrane_bits: int = 20
    count_bits: int = 8
    event_words: int = 1024
    weight_words: int = 4096
    fetches: int = 256
    taps: int = 256
    segments: int = 64
    neurons: int = 256
    device: Device = "generic"
    pooling: bool = True
    trace: bool = False

    def __post_init__(self) -> None:
        for name in ("pixels", "columns", "banks"):
            value = getattr(self, name)
            if value < 1 or value & (value - 1):
                raise InputError(f"{name} is {value}; a power of two was expected")
        for name, least in (("channels", 1), ("rows", 1), ("event_words", 2), ("weight_words", 2), ("count_bits", 3)):
            if getattr(self, name) < least:
                raise InputError(f"{name} is {getattr(self, name)}; at least {least} was expected")
        for name in ("fetches", "taps", "segments", "neurons"):
            if getattr(self, name) < 2:
                raise InputError(f"{name} is {getattr(self, name)}; at least 2 were expected")
        if self.banks < 2:
            raise InputError(f"banks is {self.banks}; at least 2 were expected")
        if self.weight_planes not in (1, 2):
            raise InputError(f"weight planes is {self.weight_planes}; 1 or 2 was expected")
        if not 8 <= self.membrane_bits <= self.state_bits:
            raise InputError(
                f"membrane bits is {self.membrane_bits}; 8 to the {self.state_bits} state bits are possible"
            )
        if not THRESHOLD_BITS + 1 <= self.state_bits <= 40:
            raise InputError(f"state bits is {self.state_bits}; {THRESHOLD_BITS + 1} to 40 are possible")
        if not 8 * self.weight_planes <= self.accumulator_bits <= self.state_bits:
            raise InputError(
                f"accumulator bits is {self.accumulator_bits}; a weight's {8 * self.weight_planes} to the "
                f"{self.state_bits} state bits are possible"
            )
        if self.device not in DEVICES:
            raise InputError(f"device is '{self.device}'; one of {', '.join(DEVICES)} was expected")

    @property
    def lanes(self) -> int:
        """Integrate lanes: R * C * P * J."""
        return self.rows * self.channels * self.pixels * self.columns

    @property
    def places(self) -> int:
        """Pixels of a tile: R * P. A neuron unit serves that many neurons in turn."""
        return self.rows * self.pixels

    @property
    def weight_bits(self) -> int:
        """Width of a weight on its way to the lanes."""
        return 8 * self.weight_planes

    @property
    def visible(self) -> int:
        """Pixels of a row that a fetch makes visible."""
        return self.banks * self.pixels

    @property
    def word_bits(self) -> int:
        """Bits of a stored group: P pixels of J ternary events."""
        return 2 * self.pixels * self.columns

    def plain(self) -> dict[str, Any]:
        """As a plain dictionary, for the JSON sidecar."""
        return asdict(self)
