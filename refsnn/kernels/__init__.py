"""The simulator's arithmetic made fast: one file a kernel set, chosen at run time. All sets give the same integers.

A kernel set is a module here with what ``KernelSet`` says: the synapses are where the time goes and where instruction
sets differ. ``portable`` gathers what spikes, and ``avx2`` is the same for processors with no more than that; ``vnni``
and ``amx`` sum densely where ``plan`` finds that they can, and gather elsewhere. What these share is in ``rows`` and
``populations``. ``blas`` is NumPy alone, for networks that are run sooner than compiled. A kernel sees weights, events
and currents, never the name of a method.
"""

from __future__ import annotations

import importlib
import math
import os
from typing import TYPE_CHECKING, Any, Protocol, TypeAlias, cast

import numpy as np
from numpy.typing import NDArray

from refsnn.errors import InputError
from refsnn.geometry import Shape
from refsnn.kernels.maps import Memory
from refsnn.network import Network, Projection

if TYPE_CHECKING:
    from refsnn.kernels.dense import Kernels

ENVIRONMENT = "REFSNN_KERNELS"
"""Environment variable that names the kernel set where the caller asks for ``auto``."""

SETS = ("amx", "vnni", "portable", "avx2", "blas")
"""The kernel sets, the fastest first: each is the module of this package with that name."""

SMALL = 1_000_000
"""Synapses, each counted once for every pixel that it serves, below which ``auto`` is ``blas``."""

SLACK = 512
"""Entries behind an array of currents that a kernel may add 0 to."""

Events: TypeAlias = NDArray[np.int8] | NDArray[np.int32]


class Workspace:
    """Scratch memory of one thread, kept from call to call.

    Attributes:
        memory: of the dense kernels.
    """

    def __init__(self, memory: Memory | None = None) -> None:
        self._buffers: dict[str, NDArray[Any]] = {}
        self.memory = memory or Memory()

    def take(self, name: str, size: int, dtype: type[np.generic]) -> NDArray[Any]:
        """A flat array of at least ``size`` entries, with whatever the last taker of ``name`` left in it."""
        buffer = self._buffers.get(name)
        if buffer is None or buffer.size < size or buffer.dtype != dtype:
            self._buffers[name] = buffer = np.empty(size, dtype)
        return buffer

    def currents(self, name: str, shape: Shape) -> NDArray[np.int32]:
        """An uninitialised array of currents with the slack behind it that ``Synapses.add`` needs."""
        size = int(np.prod(shape))
        return self.take(name, size + SLACK, np.int32)[:size].reshape(shape)


class Synapses(Protocol):
    """The weights of one projection, packed for a kernel set."""

    def add(self, events: Events, largest: int, currents: NDArray[np.int32], workspace: Workspace) -> None:
        """Add what the projection makes of the source's events to the target's currents.

        Args:
            events: ``(N, T, H, W, C)``, contiguous: ternary int8, or graded int32. ``(C,)`` is ``(C, 1, 1)``.
            largest: no event's magnitude exceeds this.
            currents: ``(N, T, H, W, C) int32`` of the whole target, contiguous, with ``SLACK`` writable entries behind.
            workspace: of the calling thread.
        """


class Populations(Protocol):
    """What neurons and max-pools make of currents and events: see ``refsnn.kernels.populations``."""

    integrate_and_fire: Any
    accumulate_and_send: Any
    count_events: Any
    window_maximum: Any


class KernelSet(Protocol):
    """What a module of this package offers."""

    dense: Kernels | None
    """Kernels for the populations of ``plan``; None: there are none."""

    populations: Populations
    """For the populations that ``plan`` leaves out."""

    def available(self) -> bool:
        """Whether this machine can run it."""

    def connect(self, projection: Projection, source: Shape, target: Shape) -> Synapses:
        """Pack a projection's weights, for populations of the shapes ``(C, H, W)``."""


def available() -> tuple[str, ...]:
    """The kernel sets that this machine can run, the fastest first."""
    return tuple(name for name in SETS if _module(name).available())


def select(name: str = "auto", network: Network | None = None) -> KernelSet:
    """The kernel set of that name.

    ``auto`` is the one that ``REFSNN_KERNELS`` names; else ``blas`` for a small network, else the fastest available.

    Raises:
        InputError: there is no such set, or this machine cannot run it.
    """
    wanted = os.environ.get(ENVIRONMENT, "auto") if name == "auto" else name
    if wanted == "auto" and network is not None and _synapses(network) < SMALL:
        wanted = "blas"
    if wanted == "blas":
        return _module(wanted)  # asking for the others would load Numba
    found = available()
    if wanted == "auto":
        return _module(found[0])
    if wanted not in found:
        reason = "cannot run on this machine" if wanted in SETS else "is unknown"
        raise InputError(f"the kernel set '{wanted}' {reason}; available here: {', '.join(found)}, or auto")
    return _module(wanted)


def _synapses(network: Network) -> int:
    """All synapses, each counted once for every pixel that it serves."""
    total = 0
    for projection in network.projections:
        output = projection.output(network[projection.source].shape, network[projection.target].shape)
        total += projection.weights.size * (1 if projection.kind == "dense" else math.prod(output[1:]))
    return total


def _module(name: str) -> KernelSet:
    return cast(KernelSet, importlib.import_module(f"refsnn.kernels.{name}"))
