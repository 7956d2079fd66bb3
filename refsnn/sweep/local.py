"""Workers that are processes of this machine, and the one that is this very process."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Iterable, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from itertools import chain
from multiprocessing import get_context, parent_process

from refsnn.errors import InputError
from refsnn.machine import processors
from refsnn.simulate import Simulation
from refsnn.sweep.blocks import Block, Done, Workers, WorkersError, run

LIVES = 3
"""So many times in a row, without a block done in between, may workers die."""


class Here:
    """One worker: this process."""

    name = "this process"

    def run(self, blocks: Iterable[Block]) -> Iterator[Done]:
        """``Workers.run``."""
        for block in blocks:
            yield block, run(block.network, block.images, block.steps, block.kernels, block.batch)


class Processes:
    """Workers that are processes; they read networks from their files.

    Processes and not threads, so that one that dies, for want of memory or by somebody's hand, costs its block and not
    the sweep. They are spawned: a fork of a process in which Numba has started threads may hang. When one dies, the
    pool is lost as a whole; a new one does again what was not done.
    """

    def __init__(self, number: int) -> None:
        self.number = number
        self.name = f"{number} processes"

    def run(self, blocks: Iterable[Block]) -> Iterator[Done]:
        """``Workers.run``."""
        left, lives = iter(blocks), LIVES
        while True:
            running: dict[Future[Simulation | InputError], Block] = {}
            pool = ProcessPoolExecutor(self.number, get_context("spawn"), initializer=_begin)
            try:
                for done in self._run(pool, left, running):
                    lives = LIVES
                    yield done
                return
            except BrokenProcessPool as error:
                lives -= 1
                if not lives:
                    raise WorkersError(
                        f"worker processes died {LIVES} times in a row, perhaps for want of memory: try fewer workers "
                        "or smaller blocks (--workers, --block). The blocks that were done are kept"
                    ) from error
                left = chain(list(running.values()), left)
            finally:
                pool.shutdown(cancel_futures=True)

    def _run(
        self, pool: ProcessPoolExecutor, left: Iterator[Block], running: dict[Future[Simulation | InputError], Block]
    ) -> Iterator[Done]:
        """Keep a pool busy; ``running`` is what has not come back, also after an error."""
        ended = False
        while not ended or running:
            while not ended and len(running) < 2 * self.number:  # one to do, one to wait for
                block = next(left, None)
                if block is None:
                    ended = True
                else:
                    running[_submit(pool, block)] = block
            for future in wait(running, return_when=FIRST_COMPLETED).done:
                found = future.result()
                yield running.pop(future), found


def local(number: int = 0) -> Workers:
    """Workers on this machine.

    Args:
        number: how many; 0: as many as this process may use processors; 1: this process itself.
    """
    number = number or processors()
    return Here() if number == 1 else Processes(number)


def _submit(pool: ProcessPoolExecutor, block: Block) -> Future[Simulation | InputError]:
    try:
        return pool.submit(run, str(block.path), block.images, block.steps, block.kernels, block.batch)
    except BrokenProcessPool as error:  # since the last look: the block is among those to do again
        broken: Future[Simulation | InputError] = Future()
        broken.set_exception(error)
        return broken


def _begin() -> None:
    """What a worker begins with: it leaves Ctrl-C to its parent, and ends when that is gone."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_follow, daemon=True).start()


def _follow() -> None:
    parent = parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)
