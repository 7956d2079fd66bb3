"""A block: some images through one network, the unit of work that a sweep hands out and keeps.

A block's result depends on the network's integers, the images and the numbers of steps, and on nothing else
(numerics.md, section 8): not on who computes it, beside whom, or how often. So blocks are named by a digest of these
three, may be done again after a worker has died, and are added up in the order of the images.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Protocol, TypeAlias

import numpy as np
from numpy.typing import NDArray

from refsnn import __version__
from refsnn.errors import InputError
from refsnn.network import Network
from refsnn.simulate import Simulation, simulate

VERSION = 1
"""Of what a block's result holds; in its name, so that another version's results are not taken for these."""

_warm: set[tuple[int, tuple[int, ...]]] = set()
"""What this process has run before: by the network's identity and the steps."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Block:
    """A block of images to be simulated.

    Attributes:
        name: of its result.
        network: the integer network.
        path: the file that holds the network.
        images: ``(N, *shape) uint8``.
        steps: every T.
        kernels: kernel set, or ``auto``.
        batch: images simulated at a time.
    """

    name: str
    network: Network
    path: Path
    images: NDArray[np.uint8]
    steps: tuple[int, ...]
    kernels: str
    batch: int


Done: TypeAlias = tuple[Block, Simulation | InputError]
"""A block and what came out of it: its results, or why its network cannot run."""


class Workers(Protocol):
    """Those who simulate blocks."""

    @property
    def name(self) -> str:
        """Who they are, in words."""

    def run(self, blocks: Iterable[Block]) -> Iterator[Done]:
        """Simulate blocks, in any order, each until it is done: after a worker has died, on another one.

        Raises:
            WorkersError: there are no workers (any more), or they die again and again.
        """


class WorkersError(InputError):
    """Those who should do the work do not: nothing is wrong with the work."""


def name(digest: str, images: NDArray[np.uint8], steps: Sequence[int]) -> str:
    """The name of a block's result: a digest of all that it depends on.

    Args:
        digest: of the network.
    """
    state = hashlib.sha256(json.dumps([VERSION, digest, list(steps), list(images.shape)]).encode())
    state.update(np.ascontiguousarray(images).data)
    return state.hexdigest()


def run(
    network: Network | str,
    images: NDArray[np.uint8],
    steps: tuple[int, ...],
    kernels: str,
    batch: int,
    version: str = __version__,
) -> Simulation | InputError:
    """Simulate a block in one thread: what a worker does, in a process of its own.

    Args:
        network: a network, or the path of its file.
        version: of the refsnn that asks.

    Returns:
        The results, or why this network cannot run.

    Raises:
        WorkersError: this worker has another version of refsnn.
    """
    if version != __version__:
        raise WorkersError(f"a worker has refsnn {__version__}, this is {version}: install the same on all")
    if isinstance(network, str):
        network = _load(network)
    try:
        if (id(network), steps) not in _warm:
            simulate(network, images[:1], steps, kernels=kernels, threads=1)  # compiles, outside the measured time
            _warm.add((id(network), steps))
        return simulate(network, images, steps, kernels=kernels, threads=1, batch=batch)
    except InputError as error:
        return error


def merge(parts: Sequence[Simulation]) -> Simulation:
    """The simulation of all images from those of consecutive blocks; ``seconds`` are added up."""

    def summed(counters: list[dict[str, NDArray[np.int64]]]) -> dict[str, NDArray[np.int64]]:
        return {key: np.sum([each[key] for each in counters], axis=0) for key in counters[0]}

    first = parts[0]
    return Simulation(
        steps=first.steps,
        membranes=np.concatenate([part.membranes for part in parts], axis=1),
        logits=np.concatenate([part.logits for part in parts], axis=1),
        predictions=np.concatenate([part.predictions for part in parts], axis=1),
        spikes=summed([part.spikes for part in parts]),
        saturations=summed([part.saturations for part in parts]),
        synaptic_operations=summed([part.synaptic_operations for part in parts]),
        input_operations=sum(part.input_operations for part in parts),
        drain_steps=tuple(int(each) for each in np.max([part.drain_steps for part in parts], axis=0)),
        seconds=tuple(float(each) for each in np.sum([part.seconds for part in parts], axis=0)),
    )


@lru_cache(maxsize=4)
def _load(path: str) -> Network:
    return Network.load(path)
