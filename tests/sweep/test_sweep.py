"""Sweeps: the same results whoever does the work, kept block by block, gone on with after any kind of end."""

from __future__ import annotations

import csv
import io
import json
import os
import pickle
import signal
import subprocess
import sys
import time
from collections import Counter
from dataclasses import replace
from multiprocessing import active_children
from pathlib import Path

import jsonschema
import numpy as np
import pytest
from referencing import Registry, Resource
from typer.testing import CliRunner

from refsnn import experiment
from refsnn.__main__ import application
from refsnn.ann import project
from refsnn.errors import InputError, WidthError
from refsnn.sweep import local
from refsnn.sweep.blocks import WorkersError
from refsnn.sweep.local import Here, Processes
from refsnn.sweep.perform import perform
from tests.small import classifier, images
from tests.sweep.helpers import BITS, Counting, Watch, documents, timeless

DOCS = Path(__file__).parents[2] / "docs"
RUNNER = CliRunner()


@pytest.fixture(scope="module")
def expected(request_) -> dict:
    """What the main job finds, a number of weight bits after the other: the slow, obvious twin."""
    found = {b: experiment.perform(replace(request_, overrides={"weight_bits": b})).results for b in BITS}
    return {bits: timeless(json.loads(results.json())) for bits, results in found.items()}


@pytest.mark.parametrize("block", [7, 45, 1000])
def test_results_are_those_of_the_main_job_for_any_size_of_block(request_, expected, tmp_path, block):
    workers = Counting()
    found = perform(request_, workers, tmp_path, bits=BITS, block=block)
    assert documents(found) == expected
    assert max(Counter(workers.done).values()) == 1
    # 8 different networks: ecl, qcfs = opi and the separated rate code for all T, base 2 for each T of two bits
    assert len(workers.done) == 2 * 6 * -(-90 // block)


def test_results_do_not_depend_on_the_order_in_which_blocks_are_done(request_, expected, tmp_path):
    class Backwards(Here):
        def run(self, blocks):
            return super().run(reversed(list(blocks)))

    assert documents(perform(request_, Backwards(), tmp_path, bits=BITS, block=20)) == expected


@pytest.mark.parametrize("stop", [1, 13])
def test_a_sweep_that_was_stopped_goes_on(request_, expected, tmp_path, stop):
    first, second, third = Counting(stop=stop), Counting(), Counting()
    with pytest.raises(KeyboardInterrupt):
        perform(request_, first, tmp_path, bits=BITS, block=30)
    again = perform(request_, second, tmp_path, bits=BITS, block=30)
    assert documents(again) == expected
    assert not set(first.done) & set(second.done)
    assert len(first.done + second.done) == 36
    assert f"{stop} of 36 blocks" in again.notes[0]
    assert documents(perform(request_, third, tmp_path, bits=BITS, block=30)) == expected
    assert third.done == []


def test_other_options_are_other_blocks_in_the_same_folder(request_, expected, tmp_path):
    narrow, wide, other = Counting(), Counting(), Counting()
    perform(request_, narrow, tmp_path, bits=(4,), block=90)
    assert documents(perform(request_, wide, tmp_path, bits=BITS, block=90)) == expected
    assert len(narrow.done) == len(wide.done) == 6
    changed = replace(request_, overrides={"threshold": "max"})
    assert documents(perform(changed, other, tmp_path, bits=(4,), block=90))[4] != expected[4]
    assert len(other.done) == 6


@pytest.mark.parametrize("harm", [lambda data: b"", lambda data: data[:700], lambda data: b"no block" + data[8:]])
def test_a_damaged_block_is_done_again(request_, expected, tmp_path, harm):
    first, second = Counting(), Counting()
    perform(request_, first, tmp_path, bits=BITS, block=90)
    victim = sorted(tmp_path.glob("blocks/*/*.h5"))[3]
    victim.write_bytes(harm(victim.read_bytes()))
    assert documents(perform(request_, second, tmp_path, bits=BITS, block=90)) == expected
    assert second.done == [victim.stem]


def test_a_folder_is_about_one_network_and_some_images(request_, weights, tmp_path):
    perform(request_, Here(), tmp_path / "out", bits=(8,))
    other = tmp_path / "other.h5"
    project.write(other, classifier(3.0), writer="the tests", test=images(90, seed=1))
    with pytest.raises(InputError, match=r"other weights \(net.h5.*\) than this one \(other.h5.*--out"):
        perform(replace(request_, weights=other), Here(), tmp_path / "out")
    with pytest.raises(InputError, match=r"other images \(90 images.*\) than this one \(40 images.*--out"):
        perform(replace(request_, limit=40), Here(), tmp_path / "out")
    (tmp_path / "out" / "folder.json").write_text("{")
    with pytest.raises(InputError, match=r"folder.json: is damaged"):
        perform(request_, Here(), tmp_path / "out")


def test_what_cannot_run_is_refused_beside_what_can(request_, tmp_path):
    wide = replace(request_, methods=("spikeconverter", "opi"), steps=(2, 28))
    found = perform(wide, Here(), tmp_path, bits=(8,)).results[8]
    assert [(run.method, run.steps) for run in found.runs] == [("spikeconverter", 2), ("opi", 2), ("opi", 28)]
    (refused,) = found.refused
    assert (refused.method, refused.steps) == ("spikeconverter", 28)
    assert refused.bits > 32
    with pytest.raises(WidthError):
        perform(replace(wide, methods=("spikeconverter",), steps=(40,)), Here(), tmp_path)


@pytest.mark.slow
def test_processes_do_the_same_and_a_killed_one_costs_only_its_block(request_, expected, tmp_path, monkeypatch):
    pools = []

    class Pool(local.ProcessPoolExecutor):
        def __init__(self, *arguments, **named) -> None:
            super().__init__(*arguments, **named)
            pools.append(self)

    def kill() -> None:
        (child, *_) = [each for each in active_children() if each.is_alive()]
        os.kill(child.pid, signal.SIGKILL)

    monkeypatch.setattr(local, "ProcessPoolExecutor", Pool)
    workers = Counting(Processes(2))
    found = perform(request_, workers, tmp_path, bits=BITS, block=15, progress=Watch(kill))
    assert documents(found) == expected
    assert len(pools) == 2
    assert sorted(workers.done) == sorted(path.stem for path in tmp_path.glob("blocks/*/*.h5"))
    assert not active_children()


def test_errors_travel_between_processes():
    error = pickle.loads(pickle.dumps(WidthError("too wide", 40)))
    assert (str(error), error.bits) == ("too wide", 40)


class Deadly:
    """Ends the process that reads it."""

    def __reduce__(self):
        return os._exit, (1,)


@pytest.mark.slow
def test_workers_that_die_again_and_again_are_given_up(request_, tmp_path):
    class Murderer(Processes):
        def run(self, blocks):
            return super().run(replace(block, images=Deadly()) for block in blocks)

    with pytest.raises(WorkersError, match=r"died 3 times in a row.*--workers, --block"):
        perform(request_, Murderer(1), tmp_path, bits=(8,))


@pytest.mark.slow
def test_a_killed_command_leaves_no_processes_and_goes_on(weights, expected, tmp_path):
    command = [
        *(sys.executable, "-m", "refsnn.sweep", weights, "--steps", "1,2,4", "--bits", "8,4"),
        *("--workers", "2", "--block", "5", "--out", tmp_path / "out"),
    ]
    running = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    children = Path(f"/proc/{running.pid}/task/{running.pid}/children")
    if not children.exists():
        running.kill()
        pytest.skip("needs /proc")
    while not list(tmp_path.glob("out/blocks/*/*.h5")):
        assert running.poll() is None
        time.sleep(0.01)
    offspring = [int(word) for word in children.read_text().split()]
    running.kill()
    running.wait()
    before = {path: path.stat().st_mtime_ns for path in tmp_path.glob("out/blocks/*/*.h5")}
    assert offspring
    deadline = time.monotonic() + 30
    while any(_alive(pid) for pid in offspring):
        assert time.monotonic() < deadline, "workers outlive the command"
        time.sleep(0.05)
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "blocks were in" in done.stderr
    assert {path: path.stat().st_mtime_ns for path in before} == before
    document = json.loads((tmp_path / "out" / "sweep.json").read_text())
    assert {each["weight_bits"]: timeless(each["results"]) for each in document["sweep"]} == expected


def _alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def sweep(*arguments: object, status: int = 0):
    result = RUNNER.invoke(application(), ["sweep", *map(str, arguments)])
    assert result.exit_code == status, (result.output, result.exception)
    return result


def test_the_command_writes_tables_json_and_csv(weights, expected, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    result = sweep(weights, "--steps", "1,2,4", "--bits", "8,4", "--workers", "1")
    titles = [line for line in result.stdout.splitlines() if "on 90 images" in line]
    assert titles == [f"net.h5 on 90 images of patterns, {bits}-bit weights" for bits in BITS]
    assert "qcfs and opi are the same integers here and ran once" in result.stderr
    text = (tmp_path / "net-sweep" / "sweep.json").read_text()
    document = json.loads(text)
    schema = json.loads((DOCS / "sweep.schema.json").read_text())
    results = Resource.from_contents(json.loads((DOCS / "results.schema.json").read_text()))
    registry = Registry().with_resource("results.schema.json", results)
    jsonschema.Draft202012Validator(schema, registry=registry).validate(document)
    assert {each["weight_bits"]: timeless(each["results"]) for each in document["sweep"]} == expected
    rows = list(csv.DictReader(io.StringIO((tmp_path / "net-sweep" / "sweep.csv").read_text())))
    assert len(rows) == 2 * 5 * 3
    for row in rows:
        runs = expected[int(row["weight_bits"])]["runs"]
        (run,) = [each for each in runs if (each["method"], str(each["steps"])) == (row["method"], row["steps"])]
        assert float(row["accuracy"]) == run["accuracy"]
        assert row["same_as"] == (run["same_as"] or "")
        # two spiking layers and the readout, each a window behind the one before
        alone = 3 * run["steps"] if row["method"].startswith("spikeconverter") else run["steps"]
        assert (int(row["latency_alone"]), int(row["latency_pipelined"])) == (alone, run["steps"])
        assert run["latency"] == {"alone": alone, "pipelined": run["steps"]}


def test_the_command_refines_as_the_main_job_does(request_, weights, tmp_path):
    options = ["--refine", "means", "--method", "ecl", "--steps", "2", "--calibration-images", "50"]
    sweep(weights, *options, "--workers", "1", "--out", tmp_path)
    refined = replace(
        request_, methods=("ecl",), steps=(2,), calibration_images=50, overrides={"refine": "means", "weight_bits": 8}
    )
    (found,) = json.loads((tmp_path / "sweep.json").read_text())["sweep"]
    assert timeless(found["results"]) == timeless(json.loads(experiment.perform(refined).results.json()))


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["missing.h5"], ["missing.h5", "no such file"]),
        (["net.h5", "--bits", "9"], ["weight_bits is 9"]),
        (["net.h5", "--bits", "eight"], ["--bits", "eight"]),
        (["net.h5", "--steps", "0"], ["steps is 0"]),
        (["net.h5", "--block", "0"], ["block is 0"]),
        (["net.h5", "--workers", "-1"], ["--workers is -1"]),
        (["net.h5", "--methods", "magic"], ["magic", "ecl, qcfs, opi"]),
        (["net.h5", "--out", "net.h5"], ["net.h5", "--out"]),
        (["integer.h5"], ["integer.h5", "refsnn run"]),
    ],
)
def test_bad_input(weights, tmp_path, monkeypatch, arguments, words):
    import refsnn

    (tmp_path / "net.h5").symlink_to(weights)
    refsnn.convert(weights, "opi").save(tmp_path / "integer.h5")
    monkeypatch.chdir(tmp_path)
    message = " ".join(sweep(*arguments, status=2).output.split())
    for word in words:
        assert word in message
    assert np.all([path.suffix != ".json" for path in tmp_path.glob("*/sweep.json")])
