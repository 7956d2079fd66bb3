"""``refsnn inspect``: every kind of file, and what it says of it."""

from __future__ import annotations

import numpy as np
import pytest
from typer.testing import CliRunner

from refsnn.__main__ import application
from refsnn.analysis.operations import multiply_adds
from refsnn.ann import project
from refsnn.convert import Calibration, analyse, convert, preset
from refsnn.files import sha256
from tests.small import SHAPE, classifier, images


def inspect(*arguments: object, status: int = 0) -> str:
    """What the command prints, with single spaces."""
    result = CliRunner().invoke(application(), ["inspect", *map(str, arguments)])
    assert result.exit_code == status, result.output
    return " ".join(result.output.split())


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    file = tmp_path_factory.mktemp("networks") / "model.h5"
    project.write(
        file, classifier(3.0), writer="a certain trainer 1.2", test=images(30, seed=1), calibration=images(20, seed=2)
    )
    return file


def test_a_trained_network(model):
    graph = classifier(3.0)
    text = inspect(model)
    assert "a trained network (refsnn-ann)" in text
    assert "a certain trainer 1.2" in text
    assert sha256(model) in text
    assert "(byte / 127.5 - mean) / std with mean 1, std 1" in text
    assert "30 of 1x6x6, labels 0..3; patterns" in text
    assert f"{multiply_adds(graph):,} an image" in text
    for operation in graph:
        assert f"{operation.name} {type(operation).__name__}" in text
    assert "kernel 3x3, stride 1x1, padding 1, 1, 1, 1" in text
    assert "learned threshold 3" in text


def test_widths_are_those_of_the_conversion(model):
    text = inspect(model, "--steps", "3,40")
    graph = classifier(3.0)
    network = convert(graph, preset("ecl"), 3).network
    ranges = analyse(network, 3)
    current = max(each.current_bits for each in ranges.values())
    assert f"ecl {current} / {network.membrane_bits} / {ranges['dense'].membrane_bits}" in text
    assert "spikeconverter" in text
    assert "base 2 at T = 40 needs 42 bits" in text


def test_widths_without_calibration_images(tmp_path):
    project.write(tmp_path / "bare.h5", classifier(stated=False), writer="the tests")
    text = inspect(tmp_path / "bare.h5")
    assert "not stated: raw bytes" in text
    assert "refsnn run FILE --data IMAGES" in text


def test_an_integer_network(tmp_path):
    graph, data = classifier(), images(20, seed=2)
    calibration = Calibration.measure(graph, data.images, graph.preprocessing)
    conversion = convert(
        graph, preset("spikeconverter"), 4, calibration=calibration, information={"weights": "origin.h5"}
    )
    conversion.network.save(tmp_path / "network.h5")
    text = inspect(tmp_path / "network.h5")
    assert "an integer network (refsnn-network)" in text
    assert conversion.network.digest() in text
    assert "origin.h5" in text
    assert "4 and no other" in text
    ranges = analyse(conversion.network, 4)
    for population in conversion.network.spiking:
        bits = f"{ranges[population.name].current_bits} / {ranges[population.name].membrane_bits}"
        low, high = population.threshold.min(), population.threshold.max()
        assert f"if, accumulate then fire, base 2, threshold {low}..{high}, cap T {bits}" in text
    assert "dense" in text
    assert "sum-pool 2x2" in text
    assert "T = 4" in inspect(tmp_path / "network.h5", "--steps", "5", status=2)


def test_images(tmp_path):
    data = images(12, seed=1)
    np.savez(tmp_path / "data.npz", x_test=data.images[:, 0], y_test=data.labels, x_train=data.images[:5, 0])
    text = inspect(tmp_path / "data.npz")
    assert f"12 of {'x'.join(map(str, SHAPE))}, labels 0..3" in text
    assert "5 of 1x6x6, without labels" in text


@pytest.mark.parametrize(
    ("name", "steps"), [("missing.h5", "1"), ("junk.h5", "1"), ("model.h5", "0"), ("model.h5", "x")]
)
def test_bad_input(model, tmp_path, name, steps):
    (tmp_path / "junk.h5").write_bytes(b"nothing that anyone could read")
    (tmp_path / "model.h5").symlink_to(model)
    text = inspect(tmp_path / name, "--steps", steps, status=2)
    assert text.startswith("error: ")
    assert ("--steps" if name == "model.h5" else name) in text
