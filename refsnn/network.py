"""The integer network: populations of neurons, joined by projections. Everything else knows it; it knows nothing.

An instance is the whole truth about a converted network: two implementations that follow ``docs/numerics.md`` on the
same ``Network`` produce the same integers. Arrays are channels first; shapes are ``(C, H, W)`` or ``(C,)``.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, Literal, TypeAlias

import numpy as np
from numpy.typing import NDArray

from refsnn import files
from refsnn.errors import InputError
from refsnn.geometry import NO_PADDING, Padding, Pair, Shape, window_output
from refsnn.neurons import NEVER

SCHEMA = "refsnn-network"
VERSION = 1

NeuronKind: TypeAlias = Literal["if", "dual", "signed"]
ProjectionKind: TypeAlias = Literal["conv", "dense", "identity"]

CAP_STEPS = -1
"""As a cap: the number of time-steps of the run."""
NO_CAP = 0
"""As a cap: none."""
UNTIL_QUIET = -1
"""As a number of drain steps: until no neuron fires any more."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Schedule:
    """When a population takes in current and when it fires (numerics.md, sections 3 and 5).

    Attributes:
        separated: False: current and firing in the same step (rate code). True: temporal separation, the population
            accumulates its whole input window without firing, then sends its own window without input.
        base: the weight ratio between one step and the next: 1 (every spike counts the same) or 2 (a binary code,
            most significant step first; needs ``separated``).
    """

    separated: bool = False
    base: int = 1

    def __post_init__(self) -> None:
        if self.base not in (1, 2):
            raise InputError(f"a schedule's base is 1 or 2, not {self.base}")
        if self.base == 2 and not self.separated:
            raise InputError("a schedule of base 2 needs temporal separation")

    def levels(self, steps: int) -> int:
        """The largest net count (base 1) or code (base 2) of a population in ``steps`` time-steps."""
        return steps if self.base == 1 else (1 << steps) - 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Input:
    """The input population: sends its quantised pixels.

    Attributes:
        shape: ``(C, H, W)`` or ``(C,)``.
        table: ``(C, 256) int16``: quantised value of each pixel byte, 0..255 in all channels or -127..127
            (numerics.md, section 7).
        unit: real value of 1.
    """

    name: str
    shape: Shape
    table: NDArray[np.int16]
    unit: float
    schedule: Schedule = Schedule()

    @property
    def largest(self) -> int:
        """The largest magnitude of a quantised pixel."""
        return int(np.abs(self.table.astype(np.int32)).max(initial=0))


@dataclass(frozen=True, slots=True, kw_only=True)
class Spiking:
    """A population of integrate-and-fire neurons.

    Attributes:
        shape: ``(C, H, W)`` or ``(C,)``.
        neuron: the kind: ``if`` (no negative spikes), ``dual`` (negative spikes while the net count is above 0),
            ``signed`` (net count down to minus the cap).
        threshold: ``(C,) int32``, 1 .. 2^14.
        negative_threshold: ``(C,) int32``, at least 0; fires below minus this.
        initial_membrane: ``(C,) int32``.
        bias: ``(C,) int32`` or ``(C, H, W) int32``, added in each of the steps 1..T.
        cap: largest net count: ``CAP_STEPS``, ``NO_CAP`` or a number.
        unit: ``(C,) float64``, real value of a membrane of 1. One spike is worth ``threshold * unit``.
    """

    name: str
    shape: Shape
    neuron: NeuronKind
    threshold: NDArray[np.int32]
    negative_threshold: NDArray[np.int32]
    initial_membrane: NDArray[np.int32]
    bias: NDArray[np.int32]
    cap: int
    unit: NDArray[np.float64]
    schedule: Schedule = Schedule()

    @property
    def amplitude(self) -> NDArray[np.float64]:
        """``(C,)``: real value of one (least significant) spike."""
        return self.threshold * self.unit

    def limits(self, steps: int) -> tuple[int, int]:
        """``(low, high)`` of ``refsnn.neurons.fire`` for a run of ``steps`` time-steps."""
        high = {CAP_STEPS: steps, NO_CAP: NEVER}.get(self.cap, self.cap)
        low = {"if": NEVER, "dual": 0, "signed": -high}[self.neuron]
        return low, high


@dataclass(frozen=True, slots=True, kw_only=True)
class MaxPool:
    """A population that sends the increments of the running maximum of its source (numerics.md, section 3).

    Attributes:
        source: name of the one population that it reads.
        kernel, stride: ``(height, width)``.
        padding: ``(top, bottom, left, right)``.
        zero_padding: True: padded cells are a real 0. False: they are ignored.
    """

    name: str
    shape: Shape
    source: str
    kernel: Pair
    stride: Pair
    padding: Padding = NO_PADDING
    zero_padding: bool = False
    schedule: Schedule = Schedule()


@dataclass(frozen=True, slots=True, kw_only=True)
class Readout:
    """The output population: accumulates exactly, never fires; starts at 0.

    Attributes:
        bias: ``shape`` or ``(C,)``, int32, added in each of the steps 1..T.
        unit: real value of a membrane of 1, the same for every channel.
        activation: what the ANN applies to these logits: ``linear``, ``softmax`` or ``sigmoid``.
    """

    name: str
    shape: Shape
    bias: NDArray[np.int32]
    unit: float
    activation: str = "linear"
    schedule: Schedule = Schedule()


Population: TypeAlias = Input | Spiking | MaxPool | Readout


@dataclass(frozen=True, slots=True, kw_only=True)
class SumPool:
    """Sums of events over windows, in front of a projection's weights; padded cells count as 0.

    Attributes:
        kernel, stride: ``(height, width)``.
        padding: ``(top, bottom, left, right)``.
    """

    kernel: Pair
    stride: Pair
    padding: Padding = NO_PADDING

    def output(self, shape: Shape) -> Shape:
        """The shape of the pooled events for a source of ``shape``."""
        return (shape[0], *window_output(shape[1:], self.kernel, self.stride, self.padding))


@dataclass(frozen=True, slots=True, kw_only=True)
class Projection:
    """Synapses from one population to another.

    Attributes:
        source, target: names of populations.
        kind: ``conv``, ``dense`` or ``identity``.
        weights: conv ``(Cout, Cin/groups, Kh, Kw) int8``; dense ``(targets, sources) int8``, both sides flattened
            channels first; identity ``(Cin,) int32``.
        shift: only from a static population (the input): ``(Cout,) int32``, the right shift of the sum, rounding half
            up; None elsewhere.
        pool: sum-pooling in front.
        stride, padding, dilation, groups: of a conv; identity uses ``stride`` alone. Padding is
            ``(top, bottom, left, right)``.
        channel: first channel of the target that this projection feeds (concatenation, zero-padded shortcuts). A
            dense projection feeds the whole target.
    """

    source: str
    target: str
    kind: ProjectionKind
    weights: NDArray[np.int8] | NDArray[np.int32]
    shift: NDArray[np.int32] | None = None
    pool: SumPool | None = None
    stride: Pair = (1, 1)
    padding: Padding = NO_PADDING
    dilation: Pair = (1, 1)
    groups: int = 1
    channel: int = 0

    @property
    def label(self) -> str:
        """A name for reports and errors."""
        return f"{self.source} -> {self.target}"

    def output(self, source: Shape, target: Shape) -> Shape:
        """The shape of what this projection adds to its target, for a source and a target population's shape."""
        if self.kind == "dense":
            return target
        pooled = self.pool.output(source) if self.pool else source
        if len(pooled) == 1:
            return (self.weights.shape[0],)
        if self.kind == "identity":
            return (pooled[0], *(-(-size // step) for size, step in zip(pooled[1:], self.stride, strict=True)))
        kernel = (self.weights.shape[2], self.weights.shape[3])
        return (
            self.weights.shape[0],
            *window_output(pooled[1:], kernel, self.stride, self.padding, self.dilation),
        )


@dataclass(frozen=True, kw_only=True)
class Network:
    """A converted network.

    Attributes:
        populations: in topological order: a population comes after all that it reads.
        projections: in the order of their targets.
        membrane_bits: width B of every firing population's membrane, 8..32; it clamps, never wraps.
        drain: steps without input and bias after the T steps of a run, in rate schedules: a number, or
            ``UNTIL_QUIET``.
        steps: the one T that this network was made for (base 2, thresholds fitted to T); None: any T.
        information: where it came from and how it was made: method, settings, source file, digests. Plain JSON.

    Raises:
        InputError: a projection names an unknown population, or shapes do not fit.
    """

    populations: tuple[Population, ...]
    projections: tuple[Projection, ...]
    membrane_bits: int = 32
    drain: int = 0
    steps: int | None = None
    information: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self._check()

    def __getitem__(self, name: str) -> Population:
        return self._by_name[name]

    @cached_property
    def _by_name(self) -> dict[str, Population]:
        return {population.name: population for population in self.populations}

    @property
    def input(self) -> Input:
        """The input population."""
        return next(p for p in self.populations if isinstance(p, Input))

    @property
    def readout(self) -> Readout:
        """The readout population."""
        return next(p for p in self.populations if isinstance(p, Readout))

    @property
    def spiking(self) -> Iterator[Spiking]:
        """The firing populations, in order."""
        return (p for p in self.populations if isinstance(p, Spiking))

    @property
    def schedule(self) -> Schedule:
        """The schedule of the readout: what the run as a whole follows."""
        return self.readout.schedule

    def incoming(self, name: str) -> tuple[Projection, ...]:
        """The projections that feed a population."""
        return self._incoming.get(name, ())

    @cached_property
    def _incoming(self) -> dict[str, tuple[Projection, ...]]:
        result: dict[str, tuple[Projection, ...]] = {}
        for projection in self.projections:
            result[projection.target] = (*result.get(projection.target, ()), projection)
        return result

    def is_static(self, name: str) -> bool:
        """Whether a population sends the same graded events in every step: the input, and max-pools over it."""
        population = self[name]
        return isinstance(population, Input) or (isinstance(population, MaxPool) and self.is_static(population.source))

    def check_steps(self, steps: int) -> None:
        """Check that this network can run for ``steps`` time-steps.

        Raises:
            InputError: fewer than 1, or another T than the network was made for.
        """
        if steps < 1:
            raise InputError(f"steps is {steps}; at least 1 time-step is needed")
        if self.steps is not None and steps != self.steps:
            raise InputError(
                f"this network was converted for T = {self.steps} and cannot run T = {steps}: convert it for that T"
            )

    def digest(self) -> str:
        """SHA-256 over everything that determines the integers (not ``information``), in hexadecimal."""
        state = hashlib.sha256()
        for item in (*self.populations, *self.projections):
            for key, value in files.record_fields(item):
                state.update(f"{type(item).__name__}.{key}=".encode())
                if isinstance(value, np.ndarray):
                    state.update(f"{value.dtype.str}{value.shape}".encode())
                    state.update(np.ascontiguousarray(value).tobytes())
                else:
                    state.update(json.dumps(value).encode())
        state.update(json.dumps([self.membrane_bits, self.drain, self.steps]).encode())
        return state.hexdigest()

    def _check(self) -> None:
        names = [population.name for population in self.populations]
        if len(set(names)) != len(names):
            raise InputError(f"two populations share a name: {sorted({n for n in names if names.count(n) > 1})}")
        for kind in (Input, Readout):
            if sum(isinstance(p, kind) for p in self.populations) != 1:
                raise InputError(f"a network has exactly one population of the kind {kind.__name__.lower()}")
        if not 8 <= self.membrane_bits <= 32:
            raise InputError(f"membrane bits is {self.membrane_bits}; 8 to 32 are possible")
        if len({population.schedule.base for population in self.populations}) != 1:
            raise InputError("all populations of a network share one base")
        position = {name: index for index, name in enumerate(names)}
        for population in self.populations:
            if isinstance(population, MaxPool) and not (
                population.source in position and position[population.source] < position[population.name]
            ):
                raise InputError(
                    f"max-pool '{population.name}': its source '{population.source}' does not come before it"
                )
            if isinstance(population, Spiking):
                channels = (population.shape[0],)
                for key in ("threshold", "negative_threshold", "initial_membrane", "unit"):
                    found = getattr(population, key).shape
                    if found != channels:
                        raise InputError(
                            f"population '{population.name}': {key} has shape {found}, expected {channels}"
                        )
                if (population.threshold < 1).any() or (population.threshold > 1 << 14).any():
                    raise InputError(f"population '{population.name}': thresholds must lie in 1 .. 16384")
                if (population.negative_threshold < 0).any():
                    raise InputError(f"population '{population.name}': a negative threshold is given by its size, >= 0")
            if isinstance(population, Spiking | Readout) and population.bias.shape not in (
                population.shape,
                population.shape[:1],
            ):
                raise InputError(
                    f"population '{population.name}': bias has shape {population.bias.shape}, "
                    f"expected {population.shape[:1]} or {population.shape}"
                )
        for projection in self.projections:
            label = f"projection '{projection.label}'"
            for end in (projection.source, projection.target):
                if end not in position:
                    raise InputError(f"{label}: there is no population '{end}'")
            if position[projection.source] >= position[projection.target]:
                raise InputError(f"{label}: its source must come before its target")
            source, target = self[projection.source], self[projection.target]
            if not isinstance(target, Spiking | Readout):
                raise InputError(f"{label}: only spiking populations and the readout take projections")
            if projection.kind == "dense":
                pooled = projection.pool.output(source.shape) if projection.pool else source.shape
                expected = (int(np.prod(target.shape)), int(np.prod(pooled)))
                if projection.weights.shape != expected:
                    raise InputError(f"{label}: weights have shape {projection.weights.shape}, expected {expected}")
            output = projection.output(source.shape, target.shape)
            if output[1:] != target.shape[1:] or projection.channel + output[0] > target.shape[0]:
                raise InputError(
                    f"{label}: makes {output} from channel {projection.channel} on, which does not fit the target's "
                    f"{target.shape}"
                )
            if projection.shift is not None and not self.is_static(projection.source):
                raise InputError(f"{label}: only projections from the input carry a shift")

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the network as HDF5, schema ``refsnn-network``; atomic, and equal networks give equal files."""
        with files.create(path, SCHEMA, VERSION) as file:
            file.attrs["membrane_bits"] = self.membrane_bits
            file.attrs["drain"] = self.drain
            file.attrs["steps"] = -1 if self.steps is None else self.steps
            file.attrs["information"] = json.dumps(self.information, sort_keys=True)
            for room, items in (("populations", self.populations), ("projections", self.projections)):
                files.write_records(file.create_group(room), items)

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> Network:
        """Read a network that ``save`` wrote.

        Raises:
            InputError: not such a file, a newer version, or a damaged one.
        """
        with files.open_hdf5(path) as file:
            files.check_schema(file, path, SCHEMA, VERSION)
            try:
                return cls(
                    populations=files.read_records(file["populations"], _POPULATIONS, _NESTED),
                    projections=files.read_records(file["projections"], (Projection,), _NESTED),
                    membrane_bits=int(file.attrs["membrane_bits"]),
                    drain=int(file.attrs["drain"]),
                    steps=None if file.attrs["steps"] < 0 else int(file.attrs["steps"]),
                    information=json.loads(files.text(file.attrs["information"])),
                )
            except (KeyError, TypeError, json.JSONDecodeError, OSError) as error:
                raise InputError(f"{path}: is damaged: {error}; convert the network again") from error
            except InputError as error:
                raise InputError(f"{path}: {error}") from error


_POPULATIONS: tuple[type[Any], ...] = (Input, Spiking, MaxPool, Readout)
_NESTED: dict[str, type[Any]] = {"schedule": Schedule, "pool": SumPool}
