"""The command line of the main job, through its own entry and in processes of their own."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import h5py
import jsonschema
import numpy as np
import pytest
from typer.testing import CliRunner

from refsnn import __version__, files
from refsnn.__main__ import application
from refsnn.ann import graph as ann
from refsnn.ann import project
from refsnn.data import Dataset
from refsnn.network import Network
from refsnn.results import MEASURED
from tests.small import CLASSES, SHAPE, autoencoder, classifier, images

ROOT = Path(__file__).parents[1]
SCHEMA = json.loads((ROOT / "docs" / "results.schema.json").read_text())
RUNNER = CliRunner()


def refsnn(*arguments: object, status: int = 0):
    """Run ``refsnn run`` and check its exit status."""
    result = RUNNER.invoke(application(), ["run", *map(str, arguments), "--threads", "1"])
    assert result.exit_code == status, (result.output, result.exception)
    return result


def results(folder: Path, *arguments: object) -> dict:
    """Run, and read the JSON document; it always fits its schema."""
    file = folder / "results-of-test.json"
    refsnn(*arguments, "--json", file)
    document = json.loads(file.read_text())
    jsonschema.validate(document, SCHEMA)
    return document


def refused(*arguments: object) -> str:
    """Run something that the user has to mend; the message, which is no traceback."""
    result = refsnn(*arguments, status=2)
    assert "Traceback" not in result.output
    return " ".join(result.output.split())


def timeless(document: object) -> object:
    """The document without the measured times."""
    if isinstance(document, dict):
        return {key: timeless(value) for key, value in document.items() if key not in MEASURED}
    return [timeless(value) for value in document] if isinstance(document, list) else document


@pytest.fixture(scope="module")
def room(tmp_path_factory) -> Path:
    """Networks and images as files."""
    folder = tmp_path_factory.mktemp("networks")
    test, calibration = images(120, seed=1), images(60, seed=2)
    project.write(folder / "learned.h5", classifier(3.0), writer="the tests", test=test)
    project.write(folder / "plain.h5", classifier(), writer="the tests", test=test, calibration=calibration)
    project.write(folder / "bare.h5", classifier(), writer="the tests")
    project.write(folder / "silent.h5", classifier(3.0, stated=False), writer="the tests", calibration=calibration)
    project.write(folder / "sigmoid.h5", classifier(output="sigmoid"), writer="the tests", test=test)
    project.write(folder / "relu.h5", classifier(output="relu"), writer="the tests", test=test)
    project.write(folder / "linear.h5", classifier(output="linear"), writer="the tests", test=test)
    flat = Dataset(images=test.images.reshape(len(test), -1), labels=test.labels, name="flat")
    project.write(folder / "autoencoder.h5", autoencoder(), writer="the tests", test=flat)
    np.savez(folder / "test.npz", images=test.images[:, 0], labels=test.labels)
    np.savez(folder / "unlabelled.npz", images=test.images[:, 0])
    np.savez(folder / "calibration.npz", images=calibration.images[:, 0])
    np.savez(folder / "both.npz", x_test=test.images[:, 0], y_test=test.labels, x_train=calibration.images[:, 0])
    return folder


def test_the_table_has_a_row_a_method_and_t(room):
    result = refsnn(room / "learned.h5")
    lines = result.stdout.splitlines()
    assert "learned.h5 on 120 images of patterns" in lines[0]
    assert re.split(r" {2,}", lines[2].strip()) == [
        *("method", "T", "accuracy", "difference", "agreement", "spikes/image", "syn. ops/image", "saturations"),
        "images/s",
    ]
    rows = [line.split()[:2] for line in lines[4:] if line.strip()]
    methods = ("ecl", "qcfs", "opi", "spikeconverter", "spikeconverter-rate")
    assert rows == [["ANN", "-"], *([method, t] for method in methods for t in "1248")]
    assert "qcfs and opi are the same integers here and ran once" in result.stderr
    assert "no calibration" in result.stderr
    assert "note" not in result.stdout


def test_results_are_what_the_python_interface_gives(room, tmp_path):
    import refsnn as library

    document = results(tmp_path, room / "plain.h5", "--method", "ecl,spikeconverter", "--steps", "2,5")
    model = library.load(room / "plain.h5")
    assert [(run["method"], run["steps"]) for run in document["runs"]] == [
        ("ecl", 2), ("ecl", 5), ("spikeconverter", 2), ("spikeconverter", 5),
    ]  # fmt: skip
    assert document["weights"]["sha256"] == files.sha256(room / "plain.h5")
    assert document["data"]["name"] == "patterns"
    assert document["data"]["images"] == 120
    assert document["ann"]["accuracy"] > 0.9
    for run in document["runs"]:
        steps = (2, 5) if run["method"] == "ecl" else run["steps"]
        network = library.convert(model, run["method"], steps=steps)
        found = library.simulate(network, model.test, steps=run["steps"], threads=1)
        assert run["network"] == network.digest()
        assert run["accuracy"] == np.mean(found.predictions[0] == model.test.labels)
        spikes = sum(int(values[0]) for values in found.spikes.values())
        operations = sum(int(values[0]) for values in found.synaptic_operations.values())
        assert run["spikes_per_image"] == spikes / 120
        assert run["synaptic_operations_per_image"] == operations / 120
        assert run["input_operations_per_image"] == found.input_operations / 120
        assert run["saturations"] == 0
        assert sum(layer["spikes_per_image"] for layer in run["layers"]) == pytest.approx(spikes / 120)
        assert run["settings"]["threshold"] == "auto"
        assert "method" not in run["settings"]
    best = max(run["accuracy"] for run in document["runs"])
    assert best > 0.9


def test_methods_with_the_same_integers_run_once_and_say_so(room, tmp_path):
    document = results(tmp_path, room / "learned.h5", "--method", "all,snm,fast_snn", "--steps", "4")
    same = {run["method"]: run["same_as"] for run in document["runs"]}
    assert same == {
        "ecl": None, "qcfs": None, "opi": "qcfs", "spikeconverter": None, "spikeconverter-rate": None,
        "snm": None, "fast_snn": "ecl",
    }  # fmt: skip
    by_method = {run["method"]: timeless(run) for run in document["runs"]}
    for name in ("accuracy", "network", "spikes_per_image"):
        assert by_method["opi"][name] == by_method["qcfs"][name]


def test_a_table_of_bits_where_base_2_does_not_fit(room):
    result = refsnn(room / "plain.h5", "--method", "spikeconverter,ecl", "--steps", "3,30")
    assert re.search(r"spikeconverter +30 +needs 3\d bits", result.stdout)
    assert re.search(r"spikeconverter +3 +\d+\.\d\d %", result.stdout)
    assert "spikeconverter at T = 30 did not run" in result.stderr
    assert "need 39 bits, 32 are there" in refused(room / "plain.h5", "--method", "spikeconverter", "--steps", "30")
    assert "bits" in refused(room / "plain.h5", "--method", "spikeconverter", "--steps", "64")


def test_settings_reach_the_network(room, tmp_path):
    out = tmp_path / "out"
    refsnn(
        *(room / "plain.h5", "--method", "ecl", "--steps", "4", "--threshold", "max", "--per-channel"),
        *("--weight-bits", "4", "--membrane-bits", "12", "--drain", "quiet", "--cap", "3"),
        *("--negative-threshold", "0.25", "--initial-membrane", "0.75", "--out", out, "--no-report"),
    )
    network = Network.load(out / "network-ecl.h5")
    assert network.membrane_bits == 12
    assert network.drain == -1
    for population in network.spiking:
        assert population.cap == 3
        np.testing.assert_array_equal(population.initial_membrane, population.threshold * 3 // 4)
        assert (population.negative_threshold > 0).any()
    largest = [np.abs(p.weights).max() for p in network.projections if p.kind != "identity" and p.source != "input"]
    assert max(largest) == 7
    document = json.loads((out / "results.json").read_text())
    assert document["runs"][0]["drain_steps"] > 0
    assert document["runs"][0]["settings"] == {
        "neuron": "dual", "schedule": {"separated": False, "base": 1}, "negative_threshold": 0.25,
        "initial_membrane": 0.75, "cap": 3, "drain": -1, "threshold": "max", "per_channel": True, "weight_bits": 4,
        "membrane_bits": 12, "refine": "",
    }  # fmt: skip
    assert not (out / "report.html").exists()


def test_drain_and_temporal_separation_refuse_each_other(room):
    result = refsnn(room / "learned.h5", "--drain", "2", "--steps", "2")
    assert "spikeconverter at T = 2 did not run" in result.stderr
    assert "drain" in refused(room / "learned.h5", "--drain", "2", "--steps", "2", "--method", "spikeconverter")


def test_saturations_are_counted(room, tmp_path):
    document = results(
        tmp_path, room / "plain.h5", "--method", "qcfs", "--steps", "8", "--membrane-bits", "8", "--threshold", "max"
    )
    run = document["runs"][0]
    assert run["membrane_bits"] == 8
    assert run["saturations"] == sum(layer["saturations"] for layer in run["layers"]) > 0
    assert any("saturate" in note for note in document["notes"])


def test_calibration_on_the_first_images_leaves_them_out_and_says_so(room, tmp_path):
    result = refsnn(room / "bare.h5", "--data", room / "test.npz", "--calibration-images", "50", "--steps", "2")
    assert "on 70 images" in result.stdout
    assert "calibrated on the first 50 images" in result.stderr
    assert "left out of the figures" in result.stderr
    document = results(
        tmp_path, room / "bare.h5", "--data", room / "test.npz", "--calibration-images", "50", "--steps", "2"
    )
    assert document["data"]["images"] == 70
    assert document["data"]["calibration_images"] == 50


def test_too_few_images_left_name_calibration(room):
    assert "--calibration FILE-OR-FOLDER" in refused(room / "bare.h5", "--data", room / "test.npz")
    message = refused(room / "bare.h5", "--data", room / "test.npz", "--calibration-images", "115")
    assert "would leave 5" in message
    same = ("--calibration", room / "test.npz")
    assert "--calibration" in refused(room / "bare.h5", "--data", room / "test.npz", *same)


@pytest.mark.parametrize(
    "arguments", [("--data", "both.npz"), ("--data", "test.npz", "--calibration", "calibration.npz")]
)
def test_calibration_images_of_their_own(room, tmp_path, arguments):
    arguments = [room / word if word.endswith(".npz") else word for word in arguments]
    document = results(tmp_path, room / "bare.h5", *arguments, "--steps", "4", "--method", "ecl")
    inside = results(tmp_path, room / "plain.h5", "--steps", "4", "--method", "ecl")
    assert document["data"]["images"] == 120
    assert document["data"]["calibration_images"] == 60
    assert document["runs"][0]["network"] == inside["runs"][0]["network"]
    assert document["runs"][0]["accuracy"] == inside["runs"][0]["accuracy"]


def test_limit(room, tmp_path):
    assert results(tmp_path, room / "learned.h5", "--limit", "7", "--steps", "1")["data"]["images"] == 7
    assert "--limit is 0" in refused(room / "learned.h5", "--limit", "0")


def test_without_labels_there_is_agreement_only(room, tmp_path):
    arguments = (room / "plain.h5", "--data", room / "unlabelled.npz", "--steps", "8")
    document = results(tmp_path, *arguments)
    assert document["ann"]["accuracy"] is None
    assert {run["accuracy"] for run in document["runs"]} == {None}
    assert all(run["agreement"] > 0.7 for run in document["runs"])
    heading = refsnn(*arguments).stdout.splitlines()[2]
    assert "agreement" in heading
    assert "accuracy" not in heading


@pytest.mark.parametrize("name", ["sigmoid.h5", "linear.h5", "relu.h5"])
def test_other_ends_are_judged_by_agreement_and_the_error_of_outputs(room, tmp_path, name):
    arguments = (room / name, "--calibration-images", "40", "--steps", "1,16", "--method", "spikeconverter-rate")
    document = results(tmp_path, *arguments)
    assert document["ann"]["activation"] == name[:-3]
    coarse, fine = (run["output_error"] for run in document["runs"])
    assert 0 < fine["rmse"] < coarse["rmse"]
    assert 0 < fine["mae"] <= fine["rmse"]
    assert document["runs"][1]["agreement"] > 0.8
    assert "output error" in refsnn(*arguments).stdout


def test_an_autoencoder_has_no_accuracy(room, tmp_path):
    document = results(tmp_path, room / "autoencoder.h5", "--calibration-images", "40", "--steps", "8")
    assert document["data"]["classes"] == 0
    assert document["ann"]["accuracy"] is None
    assert all(run["accuracy"] is None for run in document["runs"])
    assert all(0 < run["output_error"]["relative"] < 0.3 for run in document["runs"])
    assert any("not classes" in note for note in document["notes"])


def test_guessing_names_the_scaling_that_works(room, tmp_path):
    arguments = (room / "silent.h5", "--data", room / "test.npz", "--steps", "4", "--method", "ecl")
    document = results(tmp_path, *arguments)
    assert document["ann"]["accuracy"] < 0.5
    advice = next(note for note in document["notes"] if note.startswith("the ANN gets"))
    assert re.search(r"but \d+\.\d % with --scale 127.5 --mean 1:", advice)
    fixed = results(tmp_path, *arguments, "--scale", "127.5", "--mean", "1")
    assert fixed["ann"]["accuracy"] > 0.9
    assert fixed["data"]["preprocessing"] == {"scale": 127.5, "mean": [1.0], "std": [1.0], "from": "the command"}
    assert not any(note.startswith("the ANN gets") for note in fixed["notes"])


def test_guessing_whatever_the_scaling_names_all(room, tmp_path):
    labels = np.random.default_rng(5).integers(0, CLASSES, 120)
    np.savez(tmp_path / "shuffled.npz", images=images(120, seed=1).images[:, 0], labels=labels)
    result = refsnn(room / "plain.h5", "--data", tmp_path / "shuffled.npz", "--steps", "1", "--method", "ecl")
    for option in ("--scale 1;", "--scale 255;", "--scale 255 --mean 0.1307 --std 0.3081"):
        assert option in result.stderr


def test_out_holds_everything(room, tmp_path):
    out = tmp_path / "deep" / "out"
    refsnn(room / "plain.h5", "--out", out, "--steps", "2,4")
    assert {path.name for path in out.iterdir()} == {
        *("results.json", "report.html", "predictions.h5", "network-ecl.h5", "network-qcfs.h5"),
        *("network-spikeconverter-T2.h5", "network-spikeconverter-T4.h5", "network-spikeconverter-rate.h5"),
    }
    document = json.loads((out / "results.json").read_text())
    jsonschema.validate(document, SCHEMA)
    with h5py.File(out / "predictions.h5") as file:
        assert file.attrs["schema"] == "refsnn-predictions"
        labels = file["labels"][()]
        assert np.mean(file["ann/predictions"][()] == labels) == document["ann"]["accuracy"]
        for run in document["runs"]:
            group = file[f"runs/{run['method']}/T{run['steps']}"]
            predictions = group["predictions"][()]
            assert group["logits"].shape == (120, CLASSES)
            np.testing.assert_array_equal(group["logits"][()].argmax(axis=1), predictions)
            np.testing.assert_array_equal(group["membranes"][()].argmax(axis=1), predictions)
            assert np.mean(predictions == labels) == run["accuracy"]
            assert np.mean(predictions == file["ann/predictions"][()]) == run["agreement"]


def test_an_integer_network_runs_without_conversion(room, tmp_path):
    refsnn(room / "plain.h5", "--out", tmp_path, "--steps", "2,4", "--method", "ecl,spikeconverter", "--no-report")
    made = json.loads((tmp_path / "results.json").read_text())["runs"]
    for name, steps in (("network-ecl.h5", [2, 4]), ("network-spikeconverter-T4.h5", [4])):
        document = results(tmp_path, tmp_path / name, "--data", room / "test.npz")
        assert [run["steps"] for run in document["runs"]] == steps
        assert document["ann"]["accuracy"] is None
        for run in document["runs"]:
            twin = next(other for other in made if (other["method"], other["steps"]) == (run["method"], run["steps"]))
            for key in ("accuracy", "spikes_per_image", "network", "saturations", "settings"):
                assert run[key] == twin[key]
    network = tmp_path / "network-ecl.h5"
    assert "--data" in refused(network)
    data = ("--data", room / "test.npz")
    assert "--method, --weight-bits" in refused(network, *data, "--method", "opi", "--weight-bits", "4")
    assert "T = 4" in refused(tmp_path / "network-spikeconverter-T4.h5", *data, "--steps", "3")
    assert "ANN" not in refsnn(network, *data).stdout.splitlines()[4]
    refsnn(network, *data, "--out", tmp_path / "again")
    assert (tmp_path / "again" / "network-ecl.h5").read_bytes() == network.read_bytes()


def test_the_same_command_gives_the_same_files(room, tmp_path):
    for name in ("first", "second"):
        threads = {"first": "1", "second": "2"}[name]
        subprocess.run(
            [sys.executable, "-m", "refsnn.run", room / "plain.h5", "--out", tmp_path / name, "--threads", threads],
            check=True,
            capture_output=True,
        )
    first, second = (sorted((tmp_path / name).iterdir()) for name in ("first", "second"))
    assert [path.name for path in first] == [path.name for path in second]
    for left, right in zip(first, second, strict=True):
        if left.name == "results.json":
            assert timeless(json.loads(left.read_text())) == timeless(json.loads(right.read_text()))
        else:
            assert left.read_bytes() == right.read_bytes(), left.name


def _bad_images(folder: Path) -> None:
    np.savez(folder / "large.npz", images=np.zeros((20, 9, 9), np.uint8))
    np.savez(folder / "labels.npz", images=np.zeros((20, *SHAPE[1:]), np.uint8), labels=np.arange(20))
    np.savez(folder / "floats.npz", images=np.full((20, *SHAPE[1:]), 0.5))
    np.savez(folder / "negative.npz", images=np.full((20, *SHAPE[1:]), -3))


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["missing.h5"], ["missing.h5", "no such file"]),
        (["junk.h5"], ["junk.h5"]),
        (["cut.h5"], ["cut.h5"]),
        (["bare.h5"], ["bare.h5", "--data"]),
        (["plain.h5", "--data", "nowhere.npz"], ["nowhere.npz"]),
        (["plain.h5", "--data", "large.npz"], ["large.npz", "(1, 9, 9)", "(1, 6, 6)"]),
        (["plain.h5", "--data", "labels.npz"], ["labels.npz", "4", "0..3"]),
        (["plain.h5", "--data", "floats.npz"], ["floats.npz", "uint8"]),
        (["plain.h5", "--data", "negative.npz"], ["negative.npz", "-3"]),
        (["plain.h5", "--steps", "0"], ["steps is 0"]),
        (["plain.h5", "--steps", "2,-1"], ["at least 1"]),
        (["plain.h5", "--steps", "two"], ["--steps", "two"]),
        (["plain.h5", "--method", "magic"], ["magic", "ecl, qcfs, opi"]),
        (["plain.h5", "--threshold", "learned"], ["relu1", "no learned threshold"]),
        (["plain.h5", "--threshold", "percentile:200"], ["percentile:200"]),
        (["plain.h5", "--threshold", "guess"], ["guess", "percentile:P"]),
        (["plain.h5", "--weight-bits", "9"], ["weight_bits is 9"]),
        (["plain.h5", "--membrane-bits", "7"], ["membrane_bits is 7"]),
        (["plain.h5", "--membrane-bits", "many"], ["--membrane-bits", "auto"]),
        (["plain.h5", "--drain", "-2"], ["drain is -2"]),
        (["plain.h5", "--cap", "some"], ["--cap", "none"]),
        (["plain.h5", "--negative-threshold", "2"], ["negative_threshold is 2"]),
        (["plain.h5", "--scale", "0"], ["scale"]),
        (["plain.h5", "--mean", "0.1,0.2"], ["mean has 2 numbers", "1 channels"]),
        (["plain.h5", "--std", "0"], ["std"]),
        (["plain.h5", "--threads", "-1"], ["threads"]),
        (["plain.h5", "--batch", "0"], ["batch"]),
        (["plain.h5", "--kernels", "quantum"], ["quantum"]),
        (["plain.h5", "--calibration-images", "0"], ["--calibration-images is 0"]),
        (["plain.h5", "--json", "nowhere/results.json"], ["nowhere"]),
        (["plain.h5", "--out", "junk.h5"], ["junk.h5", "--out"]),
        (["plain.h5", "--colour", "red"], ["--colour"]),
        ([], ["WEIGHTS"]),
    ],
)
def test_bad_input(room, tmp_path, monkeypatch, arguments, expected):
    for name in ("plain.h5", "bare.h5"):
        (tmp_path / name).symlink_to(room / name)
    (tmp_path / "junk.h5").write_bytes(b"certainly no network")
    (tmp_path / "cut.h5").write_bytes((room / "plain.h5").read_bytes()[:3000])
    _bad_images(tmp_path)
    monkeypatch.chdir(tmp_path)
    result = RUNNER.invoke(application(), ["run", *arguments])
    output = " ".join(re.sub(r"[│╭╮╰╯─]", " ", result.output).split())
    assert result.exit_code == 2, output
    assert "Traceback" not in output
    for word in expected:
        assert word in output


def test_a_network_that_cannot_work_is_refused_by_name(tmp_path):
    data = images(20, seed=1)
    project.write(tmp_path / "net.h5", classifier(), writer="the tests", test=data)
    for value in (np.nan, np.inf):
        with h5py.File(tmp_path / "net.h5", "r+") as file:
            weights = next(g for g in file["operations"].values() if g.attrs.get("name") == '"conv2"')["weights"]
            weights[0, 0, 0, 0] = value
        assert "'conv2'" in refused(tmp_path / "net.h5")


def test_errors_that_are_not_the_users_exit_with_1(room, monkeypatch):
    def fail(*_: object) -> None:
        raise RuntimeError("a defect")

    monkeypatch.setattr("refsnn.experiment.load", fail)
    result = RUNNER.invoke(application(), ["run", str(room / "plain.h5")])
    assert result.exit_code == 1
    assert isinstance(result.exception, RuntimeError)


def test_a_missing_extra_is_named_before_any_work(room, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    out = tmp_path / "out"
    assert "pip install 'refsnn[report]'" in refused(room / "plain.h5", "--out", out)
    assert not out.exists()
    refsnn(room / "plain.h5", "--out", out, "--no-report", "--steps", "1")
    assert (out / "results.json").exists()


def test_version_and_help():
    for arguments in (["--version"], ["run", "--version"], ["inspect", "--version"]):
        result = RUNNER.invoke(application(), arguments)
        assert (result.exit_code, result.output.strip()) == (0, f"refsnn {__version__}")
    page = RUNNER.invoke(application(), ["run", "--help"]).output
    for word in ("Examples", "agreement", "saturations", "--calibration-images", "--negative-threshold", "Exit status"):
        assert word in page


def test_a_process_of_its_own(room, tmp_path):
    for command in ([sys.executable, "-m", "refsnn.run"], [sys.executable, "-m", "refsnn", "run"]):
        done = subprocess.run([*command, room / "learned.h5", "--steps", "2"], capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
        assert "spikeconverter-rate" in done.stdout
        assert "\x1b" not in done.stdout + done.stderr  # no colours, no progress: neither end is a terminal
    done = subprocess.run([*command, tmp_path / "none.h5"], capture_output=True, text=True)
    assert done.returncode == 2
    assert done.stdout == ""
    assert done.stderr.startswith("error: ")


def test_importing_the_package_is_quick():
    script = "import sys, refsnn; sys.exit(any(name in sys.modules for name in ('numpy', 'numba', 'h5py', 'typer')))"
    assert subprocess.run([sys.executable, "-c", script]).returncode == 0
    script = (
        "import sys\nfrom refsnn.__main__ import application\napplication()\n"
        "sys.exit(any(name in sys.modules for name in ('numba', 'matplotlib', 'jinja2', 'scipy')))"
    )
    assert subprocess.run([sys.executable, "-c", script]).returncode == 0


def test_a_small_network_runs_without_numba(room):
    """Loading it takes longer than the run, and compiling with it longer still."""
    script = (
        "import sys\nfrom refsnn.run import main\n"
        f"sys.argv = ['refsnn', {str(room / 'learned.h5')!r}]\n"
        "try:\n    main()\nfinally:\n    assert 'numpy' in sys.modules and 'numba' not in sys.modules\n"
    )
    environment = {name: value for name, value in os.environ.items() if name != "REFSNN_KERNELS"}
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, env=environment)
    assert done.returncode == 0, done.stderr
    assert "spikeconverter-rate" in done.stdout


def test_a_kill_while_writing_leaves_the_old_results(room, tmp_path):
    """A process that is killed between writing the new bytes and the rename leaves the old file as it was."""
    target = tmp_path / "results.json"
    refsnn(room / "learned.h5", "--steps", "1", "--json", target)
    before = target.read_bytes()
    script = (
        "import os, signal\n"
        "os.fsync = lambda handle: os.kill(os.getpid(), signal.SIGKILL)\n"
        "import sys\nfrom refsnn.run import main\n"
        f"sys.argv = ['refsnn', {str(room / 'learned.h5')!r}, '--steps', '2', '--json', {str(target)!r}]\nmain()\n"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True)
    assert done.returncode == -signal.SIGKILL
    assert target.read_bytes() == before


def test_a_full_disk_leaves_the_old_files(room, tmp_path):
    """The system refuses to write beyond some bytes, to HDF5 as to everything else."""
    resource = pytest.importorskip("resource", reason="needs POSIX resource limits")
    out = tmp_path / "out"
    arguments = ["--out", out, "--no-report", "--method", "ecl"]
    refsnn(room / "learned.h5", *arguments, "--steps", "1")
    before = {path.name: path.read_bytes() for path in out.iterdir()}
    done = subprocess.run(
        [sys.executable, "-m", "refsnn.run", room / "learned.h5", *arguments, "--steps", "2"],
        capture_output=True,
        text=True,
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (4096, 4096)),
    )
    assert done.returncode == 2, done.stderr
    assert "the old content is untouched" in done.stderr
    assert str(out) in done.stderr
    assert "ecl" in done.stdout  # what was measured is not lost
    assert {path.name: path.read_bytes() for path in out.iterdir()} == before


def test_single_sigmoid_output_is_a_binary_classifier(tmp_path):
    graph = classifier(output="linear")
    dense = graph["dense"]
    two = ann.Dense(name="dense", inputs=dense.inputs, weights=dense.weights[:1], bias=dense.bias[:1])
    body = (*graph.operations[:-1], two, ann.Sigmoid(name="end", inputs=("dense",)))
    data = images(150, seed=3)
    binary = Dataset(images=data.images, labels=(data.labels == 0).astype(np.int64), name="is it 0")
    network = ann.Graph(operations=body, preprocessing=graph.preprocessing)
    project.write(tmp_path / "binary.h5", network, writer="the tests", test=binary)
    document = results(tmp_path, tmp_path / "binary.h5", "--calibration-images", "50", "--steps", "16")
    assert document["data"]["classes"] == 2
    assert document["ann"]["accuracy"] > 0.9
    assert all(run["accuracy"] > 0.85 and run["agreement"] > 0.85 for run in document["runs"])
