"""Sweeps on a real Dask cluster: workers in processes of their own, one of which is killed in the middle."""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from typer.testing import CliRunner

from refsnn.__main__ import application
from refsnn.errors import MissingExtraError
from refsnn.sweep.blocks import WorkersError
from refsnn.sweep.cluster import Cluster
from refsnn.sweep.local import Here
from refsnn.sweep.perform import perform
from tests.sweep.helpers import BITS, Counting, Watch, documents

RUNNER = CliRunner()
distributed = pytest.importorskip("distributed", reason="needs the extra dask")


@pytest.fixture(scope="module")
def scheduler() -> Iterator[str]:
    """The address of a scheduler without workers."""
    with distributed.LocalCluster(n_workers=0, processes=True, dashboard_address=None, silence_logs=50) as cluster:
        yield cluster.scheduler_address


def start(program: str, *arguments: str) -> subprocess.Popen:
    """A program of Dask's in a process of its own."""
    return subprocess.Popen(
        [sys.executable, "-m", f"distributed.cli.{program}", *arguments, "--no-dashboard"],
        env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )


def start_worker(scheduler: str, folder: Path) -> subprocess.Popen:
    """A worker without a nanny: dead is dead."""
    return start("dask_worker", scheduler, "--no-nanny", "--nthreads", "1", "--local-directory", str(folder))


@pytest.fixture
def workers(scheduler, tmp_path) -> Iterator[list[subprocess.Popen]]:
    """Two workers."""
    found = [start_worker(scheduler, tmp_path / "dask") for _ in range(2)]
    with distributed.Client(scheduler, set_as_default=False) as client:
        client.wait_for_workers(2, timeout=60)
        yield found
        for each in found:
            each.kill()
            each.wait()
        deadline = time.monotonic() + 60
        while client.nthreads() and time.monotonic() < deadline:
            time.sleep(0.05)


@pytest.mark.slow
def test_a_cluster_does_the_same_with_a_worker_killed_in_the_middle(request_, workers, scheduler, tmp_path):
    expected = documents(perform(request_, Here(), tmp_path / "here", bits=BITS, block=90))
    cluster = Counting(Cluster(scheduler, 30))
    assert cluster.workers.name == f"2 workers of the cluster at {scheduler}"
    found = perform(request_, cluster, tmp_path / "there", bits=BITS, block=6, progress=Watch(workers[0].kill))
    cluster.workers.close()
    assert documents(found) == expected
    assert workers[0].wait() != 0
    assert workers[1].poll() is None
    assert len(cluster.done) == len(set(cluster.done)) == 12 * 15


@pytest.mark.slow
def test_when_all_workers_are_gone_the_address_is_said_and_the_sweep_goes_on_elsewhere(
    request_, workers, scheduler, tmp_path
):
    def kill() -> None:
        for each in workers:
            each.kill()

    cluster = Cluster(scheduler, 2)
    with pytest.raises(WorkersError, match=rf"{scheduler}: the scheduler has no workers \(waited 2 s\)"):
        perform(request_, cluster, tmp_path, bits=BITS, block=6, progress=Watch(kill))
    cluster.close()
    rest = Counting()
    found = perform(request_, rest, tmp_path, bits=BITS, block=6)
    assert 0 < len(rest.done) < 12 * 15
    assert documents(found) == documents(perform(request_, Here(), tmp_path / "here", bits=BITS, block=90))


@pytest.fixture
def mortal(tmp_path) -> Iterator[tuple[str, subprocess.Popen]]:
    """A scheduler with one worker: its address, and its process, which a test may kill."""
    file = tmp_path / "scheduler.json"
    process = start("dask_scheduler", "--port", "0", "--host", "127.0.0.1", "--scheduler-file", str(file))
    deadline = time.monotonic() + 60
    while not file.exists() or not file.read_text().strip():
        assert time.monotonic() < deadline
        time.sleep(0.05)
    address = json.loads(file.read_text())["address"]
    worker = start_worker(address, tmp_path / "dask")
    yield address, process
    for each in (process, worker):
        each.kill()
        each.wait()


@pytest.mark.slow
@pytest.mark.parametrize(
    "moment", ["between blocks", "a block is fetched", "after Dask has given up", "its loop is closed"]
)
def test_a_scheduler_that_goes_away_is_named_and_what_was_done_is_kept(request_, mortal, tmp_path, moment, monkeypatch):
    address, scheduler = mortal
    cluster = Cluster(address, 30)
    client = cluster._client

    def kill() -> None:
        if moment == "between blocks":
            scheduler.kill()
        elif moment == "a block is fetched":
            fetch = client._gather_remote

            async def killed(*arguments):
                answer = asyncio.ensure_future(fetch(*arguments))
                scheduler.kill()
                return await answer

            monkeypatch.setattr(client, "_gather_remote", killed)
        elif moment == "its loop is closed":

            def closed(*arguments, **named):  # as distributed.utils.sync does then
                raise RuntimeError("IOLoop is closed")

            monkeypatch.setattr("distributed.client.Future.result", closed)
        else:
            client.close()

    with pytest.raises(WorkersError, match=rf"{address}: the scheduler does not answer any more.*are kept"):
        perform(request_, cluster, tmp_path / "out", bits=BITS, block=6, progress=Watch(kill))
    cluster.close()
    assert list(tmp_path.glob("out/blocks/*/*.h5"))


def test_a_scheduler_that_does_not_answer_is_named(weights, tmp_path):
    address = "tcp://127.0.0.1:1"
    arguments = ["sweep", str(weights), "--scheduler", address, "--wait", "1", "--out", str(tmp_path / "out")]
    result = RUNNER.invoke(application(), arguments)
    assert result.exit_code == 2, result.output
    assert f"{address}: no Dask scheduler answers there (waited 1 s" in result.output
    assert "Traceback" not in result.output
    result = RUNNER.invoke(application(), [*arguments[:3], "nonsense", *arguments[4:]])
    assert result.exit_code == 2, result.output
    assert "nonsense: no Dask scheduler answers there" in result.output


def test_a_scheduler_without_workers_is_named(scheduler):
    with pytest.raises(WorkersError, match=rf"{scheduler}: the scheduler has no workers \(waited 0.5 s\)"):
        Cluster(scheduler, 0.5)


def test_the_missing_extra_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "distributed", None)
    with pytest.raises(MissingExtraError, match=r"pip install 'refsnn\[dask\]'"):
        Cluster("tcp://127.0.0.1:1")
