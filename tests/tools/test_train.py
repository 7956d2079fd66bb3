"""The command that trains: weights, log, recipes."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("sklearn")

import typer  # noqa: E402
from typer.testing import CliRunner  # noqa: E402

from refsnn import files  # noqa: E402
from refsnn.ann import project  # noqa: E402
from refsnn.ann.forward import forward  # noqa: E402
from tools import train  # noqa: E402

RECIPES = sorted((Path(train.__file__).parent / "recipes").glob("*.toml"))


@pytest.fixture(scope="module")
def digits():
    return train.digits()


def run(arguments):
    application = typer.Typer()
    application.command()(train.main)
    return CliRunner().invoke(application, arguments)


def test_digits_are_bytes_and_split_once(digits):
    assert digits.test.images.shape == (1000, 1, 8, 8)
    assert digits.train.images.shape == (797, 1, 8, 8)
    assert (digits.test.images.min(), digits.test.images.max()) == (0, 255)


def test_weights_and_log(tmp_path, digits):
    out = tmp_path / "weights.h5"
    training = "--data digits --network cnn --width 8 --epochs 4 --batch 32 --mean 0.25 --std 0.5 --threads 1"
    stored = "--test-images 100 --calibration-images 20"
    result = run([*training.split(), *stored.split(), "--out", str(out)])
    assert result.exit_code == 0, result.output
    model = project.read(out)
    np.testing.assert_array_equal(model.test.images, digits.test.images[:100])
    np.testing.assert_array_equal(model.calibration.images, digits.train.images[:20])
    assert model.test.class_names == tuple("0123456789")
    x = model.graph.preprocessing.table(1)[0, digits.test.images]
    accuracy = (forward(model.graph, x).argmax(1) == digits.test.labels).mean()
    assert accuracy > 0.8
    assert f"test accuracy {accuracy:.4f} on 1000 images" in result.output

    log = json.loads(out.with_suffix(".json").read_text())
    assert log["settings"]["network"] == "cnn"
    assert log["settings"]["mean"] == [0.25]
    assert [epoch["epoch"] for epoch in log["epochs"]] == [1, 2, 3, 4]
    assert log["epochs"][-1]["test_accuracy"] == pytest.approx(accuracy)
    assert log["weights"]["sha256"] == files.sha256(out)
    assert log["data"]["train"]["images"] == 797
    assert log["made_with"]["threads"] == 1


def test_log_of_a_resumed_training_is_whole(tmp_path):
    """The second call finds a training that stopped after its log's first lines: it goes on."""
    out, checkpoint = tmp_path / "weights.h5", tmp_path / "checkpoint.pt"
    options = ["--data", "digits", "--network", "cnn", "--width", "4", "--threads", "1", "--resume", "--epochs"]
    files_of_it = ["--out", str(out), "--checkpoint", str(checkpoint)]

    whole = run([*options, "2", "--out", str(tmp_path / "whole.h5")])
    assert whole.exit_code == 0, whole.output
    stop = train.train

    def interrupted(*arguments, report, **more):
        def stopping(epochs):
            report(epochs)
            raise KeyboardInterrupt

        return stop(*arguments, report=stopping, **more)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(train, "train", interrupted)
        assert run([*options, "2", *files_of_it]).exit_code == 130
    assert not out.exists()
    assert len(json.loads(out.with_suffix(".json").read_text())["epochs"]) == 1

    resumed = run([*options, "2", *files_of_it])
    assert resumed.exit_code == 0, resumed.output
    assert out.read_bytes() == (tmp_path / "whole.h5").read_bytes()
    logs = [json.loads(path.with_suffix(".json").read_text()) for path in (out, tmp_path / "whole.h5")]
    for log in logs:
        log["weights"].pop("file")
        for epoch in log["epochs"]:
            epoch.pop("seconds")
    assert logs[0] == logs[1]


def test_recipe_and_what_replaces_it(tmp_path):
    recipe = tmp_path / "recipe.toml"
    recipe.write_text('network = "cnn"\nwidth = 4\nepochs = 1\nflip = true\nrate = 0.05\nmean = "0.25"\n')
    out = tmp_path / "weights.h5"
    arguments = ["--recipe", str(recipe), "--data", "digits", "--out", str(out), "--threads", "1"]
    result = run([*arguments, "--rate", "0.02", "--no-flip", "--half"])
    assert result.exit_code == 0, result.output
    log = json.loads(out.with_suffix(".json").read_text())
    assert log["recipe"] == "recipe.toml"
    settings = log["settings"]
    assert (settings["network"], settings["width"], settings["epochs"], settings["mean"]) == ("cnn", 4, 1, [0.25])
    assert (settings["rate"], settings["flip"]) == (0.02, False)
    assert settings["batch"] == 128
    assert log["weights"]["half_precision"]
    weights = project.read(out).graph["conv0"].weights
    np.testing.assert_array_equal(weights, weights.astype(np.float16))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("epoch = 3", "'epoch' is no option of a training; there are: activation, "),
        ("epochs 3", "is no recipe that can be read"),
        ("epochs = 0", "epochs"),
        ('network = "vgg"', "there is no network 'vgg'"),
    ],
)
def test_bad_recipes(tmp_path, text, message):
    recipe = tmp_path / "recipe.toml"
    recipe.write_text(text)
    result = run(["--data", "digits", "--out", str(tmp_path / "weights.h5"), "--recipe", str(recipe), "--threads", "1"])
    assert result.exit_code == 2
    assert message in result.output
    assert not (tmp_path / "weights.h5").exists()


def test_missing_recipe(tmp_path):
    result = run(["--data", "digits", "--out", str(tmp_path / "weights.h5"), "--recipe", str(tmp_path / "none.toml")])
    assert result.exit_code == 2
    assert "is no recipe that can be read" in result.output


@pytest.mark.parametrize("recipe", RECIPES, ids=lambda path: path.stem)
def test_every_recipe_runs(tmp_path, recipe):
    """An epoch of each at a tiny width: that its options fit together."""
    out = tmp_path / "weights.h5"
    smaller = ["--width", "4", "--epochs", "1", "--batch", "400", "--class-names", "", "--threads", "1"]
    result = run(["--data", "digits", "--recipe", str(recipe), *smaller, "--out", str(out)])
    assert result.exit_code == 0, result.output
    log = json.loads(out.with_suffix(".json").read_text())
    assert log["recipe"] == recipe.name
    assert log["settings"]["network"].replace("_", "-") in recipe.stem.replace("_", "-")


def test_there_is_a_recipe_of_each_kind():
    assert len(RECIPES) == 7
