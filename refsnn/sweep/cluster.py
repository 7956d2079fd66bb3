"""Workers of a Dask cluster, reached through its scheduler's address (extra ``dask``).

They need refsnn installed, and nothing else: no common folder. A network travels once to each worker that needs it, as
a task of its own, so that the cluster can make it again where a worker has died with it; blocks of images travel with
their tasks. What was running on a worker that dies runs again on another; that is Dask's own doing.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

from refsnn import __version__
from refsnn.errors import InputError, require
from refsnn.network import Network
from refsnn.simulate import Simulation
from refsnn.sweep.blocks import Block, Done, WorkersError, run

WAIT = 30.0
"""Seconds to wait for a scheduler's answer, and for a first worker."""
LOST = 2.0
"""Seconds to wait for a result that was said to be there: the worker that holds it may be dead."""


class Cluster:
    """The workers of a Dask cluster.

    Args:
        address: the scheduler's, ``tcp://host:port``.
        patience: seconds to wait for its answer, and for workers where there are none.

    Raises:
        WorkersError: the scheduler does not answer, or has no workers.
        MissingExtraError: Dask is not installed.
    """

    def __init__(self, address: str, patience: float = WAIT) -> None:
        self._distributed = require("distributed", "dask")
        self.address = address
        self.patience = patience
        try:
            self._client = self._distributed.Client(address, timeout=patience, set_as_default=False)
        except (OSError, TimeoutError, ValueError) as error:
            raise WorkersError(
                f"{address}: no Dask scheduler answers there (waited {patience:g} s; {error or type(error).__name__}). "
                "Start one with: dask scheduler, and workers with: dask worker ADDRESS; or leave out --scheduler"
            ) from error
        try:
            self._look_for_workers()
            self.name = f"{len(self._threads())} workers of the cluster at {address}"
        except WorkersError:
            self._client.close()
            raise

    def close(self) -> None:
        """Leave the cluster as it was."""
        self._client.close()

    def run(self, blocks: Iterable[Block]) -> Iterator[Done]:
        """``Workers.run``."""
        try:
            yield from self._run(blocks)
        except self._lost as error:
            raise self._gone() from error
        except RuntimeError as error:
            if str(error) != "IOLoop is closed":  # Dask has no class for it
                raise
            raise self._gone() from error

    def _run(self, blocks: Iterable[Block]) -> Iterator[Done]:
        left = iter(blocks)
        running: dict[Any, Block] = {}
        networks: dict[int, Any] = {}
        ended = False
        while not ended or running:
            while not ended and len(running) < self._wanted():
                block = next(left, None)
                if block is None:
                    ended = True
                else:
                    running[self._submit(block, networks)] = block
            in_use = {id(block.network) for block in running.values()}
            networks = {key: future for key, future in networks.items() if key in in_use}
            for future in self._finished(running):
                found = self._result(future)
                if found is not None:
                    yield running.pop(future), found

    def _submit(self, block: Block, networks: dict[int, Any]) -> Any:
        key = id(block.network)
        if key not in networks:
            networks[key] = self._client.submit(_same, block.network, pure=False)
        return self._client.submit(
            run, networks[key], block.images, block.steps, block.kernels, block.batch, __version__, pure=False
        )

    def _wanted(self) -> int:
        """How many blocks to hand out: one for each thread to do and one to wait for."""
        return 2 * max(1, sum(self._threads().values()))

    def _threads(self) -> dict[str, int]:
        """Each worker's threads, by its address."""
        if self._client.status == "closed":  # Dask's own after it has tried long enough to reach the scheduler again
            raise self._gone()
        try:
            return dict(self._client.nthreads())
        except OSError as error:
            raise self._gone() from error

    def _finished(self, running: dict[Any, Block]) -> list[Any]:
        """The blocks that came back: one at least."""
        while running:
            try:
                with self._client.as_current():
                    return list(self._distributed.wait(list(running), self.patience, "FIRST_COMPLETED").done)
            except TimeoutError:
                self._look_for_workers()
        return []

    @property
    def _lost(self) -> tuple[type[BaseException], ...]:
        """What Dask raises when its scheduler goes away, by what the client was doing at that moment.

        Waiting for a block, fetching one, or handing one out.
        """
        from concurrent.futures import CancelledError

        dask = self._distributed
        return CancelledError, dask.CancelledError, dask.comm.CommClosedError, dask.client.ClosedClientError

    def _result(self, future: Any) -> Simulation | InputError | None:
        """What came back; None: it was lost with the worker that held it, and is being made again."""
        try:
            found: Simulation | InputError = future.result(timeout=min(self.patience, LOST))
            return found
        except TimeoutError:
            self._look_for_workers()
            return None
        except self._distributed.KilledWorker as error:
            raise WorkersError(
                f"{self.address}: workers died of the same block again and again, perhaps for want of memory: try "
                "fewer threads a worker or smaller blocks (--block). The blocks that were done are kept"
            ) from error
        except ModuleNotFoundError as error:
            raise WorkersError(
                f"{self.address}: a worker cannot import '{error.name}': install refsnn {__version__} on all workers"
            ) from error

    def _look_for_workers(self) -> None:
        try:
            if not self._threads():
                self._client.wait_for_workers(1, timeout=self.patience)
        except TimeoutError:
            raise WorkersError(
                f"{self.address}: the scheduler has no workers (waited {self.patience:g} s); start some with: "
                f"dask worker {self.address}"
            ) from None
        except OSError as error:
            raise self._gone() from error

    def _gone(self) -> WorkersError:
        return WorkersError(
            f"{self.address}: the scheduler does not answer any more. The blocks that were done are kept: give the "
            "same command again once there is a scheduler"
        )


def _same(network: Network) -> Network:
    return network
