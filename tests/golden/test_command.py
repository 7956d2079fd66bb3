"""``python -m golden`` as people type it, and as a part of ``refsnn``."""

from __future__ import annotations

import json
import subprocess
import sys

import numpy as np
import pytest
from typer.testing import CliRunner

import golden
from golden.command import application
from refsnn.__main__ import application as refsnn
from tests.golden.cases import ROOT, SUITE, directed, tree, write

RUNNER = CliRunner()


def run(*arguments, status=0, app=application):
    """Run the command and check its exit status; the output, folded into one line."""
    result = RUNNER.invoke(app(), list(map(str, arguments)))
    assert result.exit_code == status, (result.output, result.exception)
    assert "Traceback" not in result.output
    return " ".join(result.output.split())


@pytest.fixture
def network(tmp_path):
    path = tmp_path / "network.h5"
    directed("convolutions").network.save(path)
    return path


def test_random_pixels_are_the_same_every_time(network, tmp_path):
    output = run(network, "--images", 2, "--steps", 2, "--out", tmp_path / "a")
    assert "2 images, T = 2" in output
    run("write", network, "--images", 2, "--steps", 2, "--out", tmp_path / "b")
    run("golden", network, "--images", 2, "--steps", 2, "--out", tmp_path / "c", app=refsnn)
    assert tree(tmp_path / "a") == tree(tmp_path / "b") == tree(tmp_path / "c")
    case = golden.load(tmp_path / "a")
    assert case.manifest.images.source == "random pixels (SHAKE-256, seed 0)"
    run(network, "--images", 2, "--steps", 2, "--seed", 1, "--out", tmp_path / "a")
    assert not np.array_equal(golden.load(tmp_path / "a").pixels, case.pixels[:0])
    assert "seed 1" in golden.load(tmp_path / "a").manifest.images.source


def test_images_of_a_data_set(network, tmp_path):
    pixels = np.random.default_rng(0).integers(0, 256, (5, 2, 5, 5)).astype(np.uint8)
    np.savez(tmp_path / "data.npz", images=pixels)
    options = "--data", tmp_path / "data.npz", "--steps", 3, "--drain", 1, "--reason", "a test", "--out", tmp_path / "a"
    run(network, "--images", 2, "--first", 1, *options)
    case = golden.load(tmp_path / "a")
    np.testing.assert_array_equal(case.pixels, pixels[1:3])
    assert case.manifest.images.source == "images 1 to 2 of data.npz, counted from 0"
    assert (case.manifest.reason, case.manifest.drain, case.steps) == ("a test", 1, 3)
    assert "right: " in run("check", tmp_path / "a")
    assert "has 5 images; 3 from image 4 on" in run(network, "--images", 3, "--first", 4, *options, status=2)


def test_the_command_in_a_process_of_its_own():
    result = subprocess.run(
        [sys.executable, "-m", "golden", "check", SUITE / "base-2"], cwd=ROOT, capture_output=True, text=True
    )
    assert result.returncode == 0, result.stderr
    assert result.stdout.startswith("right: ")


def test_check_says_what_is_wrong(tmp_path):
    case = write("base-2", tmp_path / "case")
    document = json.loads((case.path / "manifest.json").read_text())
    document["reason"] = "another"
    (case.path / "manifest.json").write_text(json.dumps(document))
    assert "manifest.json: its digest is" in run("check", case.path, status=2)


def test_diff_shows_the_first_divergence(tmp_path):
    case = write("rate-neurons", tmp_path / "case")
    file = tmp_path / "04-dual.events.hex"
    lines = case.mem("dual", "events").read_text().splitlines()
    lines[7] = "1"
    file.write_text("\n".join(lines))
    output = run("diff", case.path, tmp_path, status=1)
    assert "first at image 0, 'dual', t = 1, neuron (2, 0, 0) (population 5 of 8)" in output
    assert "events (s): expected 0, found 1" in output
    assert "mem/0/04-dual.events.hex: address 7 (line 8), bits 1:0" in output
    assert "'dual' neuron, threshold 10, negative threshold 3, initial membrane 5" in output
    assert "step by step t I u s s found v n" in output
    assert "1 -3 -3 0 1 * -3 1" in output
    assert "dual events 20 1" in output
    assert "equal: " in run("diff", case.path, case.path)


def test_the_suite_is_made_by_a_command(tmp_path):
    assert "11 cases in" in run("directed", "--out", tmp_path / "suite")
    assert tree(tmp_path / "suite") == tree(SUITE)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("network.h5", "--out", "case"), "runs for any number of steps; say which with --steps T"),
        (("network.h5", "--steps", "0", "--out", "case"), "steps is 0; at least 1"),
        (("network.h5", "--steps", "2", "--images", "0", "--out", "case"), "--images is 0; at least 1"),
        (
            ("network.h5", "--steps", "2", "--drain", "-1", "--out", "case"),
            "--drain is -1; a number of steps, or quiet",
        ),
        (("network.h5", "--steps", "2", "--drain", "soon", "--out", "case"), "--drain is 'soon'; a number"),
        (("nothing.h5", "--steps", "2", "--out", "case"), "nothing.h5: there is no such file"),
        (("weights.h5", "--steps", "2", "--out", "case"), "make one with: refsnn run weights.h5 --method ecl"),
        (("--steps", "2"), "Missing"),
        (("check", "nothing"), "nothing: is not a folder"),
        (("diff", "nothing", "nothing"), "nothing: is not a folder"),
    ],
)
def test_wrong_use_is_explained(network, tmp_path, monkeypatch, arguments, message):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "weights.h5").write_bytes((ROOT / "examples" / "digits.h5").read_bytes())
    assert message in run(*arguments, status=2)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["network.h5", "weights.h5"]


def test_help_names_every_command():
    output = run("--help")
    for command in ("write", "check", "diff", "directed"):
        assert f"│ {command} " in output
    assert "refsnn 0." in run("--version")
