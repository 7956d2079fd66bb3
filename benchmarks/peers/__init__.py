"""Who is measured: a module each, behind one small protocol.

A module has ``engines(case)``, which makes what runs one case. It imports its library at the top; where that is
missing the module's engines are left out, and the table says why.
"""

from __future__ import annotations

import importlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol, cast

import numpy as np
from numpy.typing import NDArray

from refsnn.errors import InputError
from refsnn.network import Network

PEERS = ("refsnn", "spikingjelly", "snntorch", "onnxruntime")
"""The modules of this package that are peers."""

REFSNN = "refsnn"
"""How the names of refsnn's engines begin: what every exact engine is compared with."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Case:
    """What an engine is to run.

    Attributes:
        network: of ``benchmarks.networks``, thresholds set.
        steps: T.
        batch: images handed over at a time.
        threads: of every engine.
        images: ``(N, C, H, W) uint8``: some of the images, to calibrate with and to try settings on.
        kernels: refsnn's kernel sets.
        compiled: whether settings that need a compiler at run time are tried; that takes about a minute a case.
    """

    network: Network
    steps: int
    batch: int
    threads: int
    images: NDArray[np.uint8]
    kernels: tuple[str, ...]
    compiled: bool = True


@dataclass(frozen=True, slots=True, eq=False)
class Outcome:
    """What a run gives.

    Attributes:
        outputs: ``(N, classes)``: the readout's membranes; of engines that are not exact, something like it.
        seconds: what the run took, without preparing the images for the library.
    """

    outputs: NDArray[Any]
    seconds: float


def deviation(found: Outcome, plain: Outcome) -> str:
    """How far outputs are from those of the same library in fp32, in words."""
    error = float(np.sqrt(((found.outputs - plain.outputs) ** 2).mean() / (plain.outputs**2).mean()))
    return f"outputs {100 * error:.1f} % off its fp32"


class Engine(Protocol):
    """One way to run a case, with everything prepared: weights packed, graphs optimised.

    Attributes:
        name: unique, the heading in the table.
        note: the setting it chose, or how far it is from exact; may be empty.
        exact: whether its outputs must equal refsnn's, bit for bit.
    """

    name: str
    note: str
    exact: bool

    def run(self, images: NDArray[np.uint8]) -> Outcome:
        """Run images ``(N, C, H, W)``, ``case.batch`` at a time."""


class Peer(Protocol):
    """What a module of this package offers."""

    def engines(self, case: Case) -> list[Engine]:
        """Make the engines for a case."""


def load(names: Sequence[str]) -> tuple[list[Peer], dict[str, str]]:
    """The peers by name, and the reasons for those that cannot run here.

    Raises:
        InputError: there is no such peer.
    """
    peers: list[Peer] = []
    missing: dict[str, str] = {}
    for name in names:
        if name not in PEERS:
            raise InputError(f"there is no peer '{name}'; there are {', '.join(PEERS)}")
        try:
            peers.append(cast(Peer, importlib.import_module(f"benchmarks.peers.{name}")))
        except ImportError as error:
            missing[name] = f"{error}; install it with: pip install 'refsnn[peers]'"
    return peers, missing
