"""The project's own ANN file: what is written comes back, what is damaged is named."""

from __future__ import annotations

import dataclasses

import h5py
import numpy as np
import pytest

from refsnn.ann import graph, project
from refsnn.ann.graph import Graph, Preprocessing
from refsnn.data import Dataset
from refsnn.errors import InputError

RANDOM = np.random.default_rng(0)


def every_operation():
    """A network that has every operation, with settings that are not the defaults."""
    single = RANDOM.normal(size=(4, 3, 3, 2)).astype(np.float32).astype(float)
    ones = np.ones(4)
    return Graph(
        preprocessing=Preprocessing(scale=255.0, mean=(0.5, 0.25, 0.125), std=(0.3,)),
        operations=(
            graph.Input(name="in", shape=(3, 8, 8)),
            graph.Conv(
                name="conv", inputs=("in",), weights=single, stride=(2, 1), padding=(1, 0, 2, 0), dilation=(1, 2)
            ),
            graph.BatchNorm(
                name="bn",
                inputs=("conv",),
                mean=RANDOM.normal(size=4),
                variance=ones,
                gamma=ones,
                beta=-ones,
                epsilon=1e-4,
            ),
            graph.ReLU(name="relu", inputs=("bn",), bound=np.array([1.0, 2.0, 3.0, 4.0]), levels=4),
            graph.ReLU(name="relu6", inputs=("bn",), maximum=6.0),
            graph.Add(name="add", inputs=("relu", "relu6")),
            graph.Concatenate(name="cat", inputs=("add", "relu")),
            graph.MaxPool(
                name="max", inputs=("cat",), kernel=(2, 2), stride=(1, 1), padding=(0, 1, 0, 1), zero_padding=True
            ),
            graph.AveragePool(name="avg", inputs=("max",), kernel=(2, 1), stride=(1, 1), count_padding=False),
            graph.Pad(name="pad", inputs=("avg",), padding=(0, 1, 1, 0)),
            graph.PadChannels(name="channels", inputs=("pad",), before=1, after=3),
            graph.Reshape(name="reshape", inputs=("channels",), shape=(12, 9, 4), order="hwc"),
            graph.Flatten(name="flat", inputs=("reshape",), order="hwc"),
            graph.Dense(name="dense", inputs=("flat",), weights=RANDOM.normal(size=(5, 432)), bias=np.zeros(5)),
            graph.Sigmoid(name="out", inputs=("dense",)),
        ),
    )


def same(one, other):
    assert type(one) is type(other)
    for field in dataclasses.fields(one):
        a, b = getattr(one, field.name), getattr(other, field.name)
        if isinstance(a, np.ndarray):
            np.testing.assert_array_equal(a, b)
            assert a.dtype == b.dtype
        else:
            assert a == b, field.name


@pytest.fixture(scope="module")
def network():
    return every_operation()


@pytest.fixture
def path(tmp_path, network):
    data = Dataset(
        images=RANDOM.integers(0, 256, size=(5, 3, 8, 8), dtype=np.uint8),
        labels=np.arange(5),
        class_names=("a", "b", "c", "d", "e"),
        name="five",
    )
    target = tmp_path / "n.h5"
    project.write(target, network, writer="a test", test=data, calibration=Dataset(images=data.images[:2]))
    return target


def test_everything_comes_back(path, network):
    model = project.read(path)
    assert (model.format, model.writer, model.path) == ("refsnn-ann", "a test", path)
    assert model.graph.preprocessing == network.preprocessing
    assert len(model.graph.operations) == len(network.operations)
    for one, other in zip(network, model.graph, strict=True):
        same(one, other)
    assert model.test.name == "five"
    assert model.test.class_names == ("a", "b", "c", "d", "e")
    assert model.test.labels.tolist() == [0, 1, 2, 3, 4]
    assert model.calibration.labels is None
    np.testing.assert_array_equal(model.calibration.images, model.test.images[:2])


def test_equal_networks_give_equal_files(tmp_path, network):
    contents = []
    for name in ("one.h5", "two.h5"):
        project.write(tmp_path / name, network, writer="a test")
        contents.append((tmp_path / name).read_bytes())
    assert contents[0] == contents[1]
    assert project.read(tmp_path / "one.h5").test is None


def test_a_newer_version_is_refused(path):
    with h5py.File(path, "a") as file:
        file.attrs["schema_version"] = 99
    with pytest.raises(InputError, match="version 99 of the schema 'refsnn-ann', this program reads up to 1; update"):
        project.read(path)


def test_another_schema_is_refused(path):
    with h5py.File(path, "a") as file:
        file.attrs["schema"] = "refsnn-network"
    with pytest.raises(InputError, match="has the schema 'refsnn-network'; 'refsnn-ann' was expected"):
        project.read(path)


def test_a_truncated_file_is_refused(path):
    path.write_bytes(path.read_bytes()[:2000])
    with pytest.raises(InputError, match="truncated or damaged"):
        project.read(path)


@pytest.mark.parametrize("damage", ["type", "field", "operations", "surplus", "preprocessing"])
def test_damage_is_named(path, damage):
    with h5py.File(path, "a") as file:
        if damage == "type":
            file["operations/0001"].attrs["type"] = "Convolve"
        elif damage == "field":
            del file["operations/0001/weights"]
        elif damage == "operations":
            del file["operations"]
        elif damage == "surplus":
            file["operations/0001"].attrs["colour"] = '"red"'
        else:
            file.attrs["preprocessing"] = "{"
    with pytest.raises(InputError, match="is damaged") as caught:
        project.read(path)
    assert str(caught.value).startswith(str(path))


def test_a_network_that_does_not_fit_names_file_and_layer(path):
    with h5py.File(path, "a") as file:
        del file["operations/0001/weights"]
        file["operations/0001/weights"] = np.ones((4, 2, 3, 3))
    with pytest.raises(InputError, match=r"n.h5: layer 'conv': weights \(4, 2, 3, 3\) with 1 groups do not fit"):
        project.read(path)


def test_a_failed_write_keeps_the_old_file(path, network, monkeypatch):
    before = path.read_bytes()

    def stop(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("refsnn.files.write_records", stop)
    with pytest.raises(InputError, match="the old content is untouched"):
        project.write(path, network, writer="a test")
    assert path.read_bytes() == before
    assert [entry.name for entry in path.parent.iterdir()] == ["n.h5"]
