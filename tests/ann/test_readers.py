"""Files are told apart by what is inside, whatever they are called."""

from __future__ import annotations

import json
import shutil
import zipfile
from pathlib import Path

import h5py
import numpy as np
import pytest

from refsnn.ann import graph, project
from refsnn.ann.readers import kind_of, read
from refsnn.errors import InputError
from tests.ann.keras_writer import single
from tests.ann.test_nir import chain, fire

FILES = Path(__file__).parent / "files"


def keras_file(path):
    return single(path, "Dense", (3,), {"kernel": np.ones((3, 2)), "bias": np.zeros(2)}, units=2)


def keras_archive(path):
    return Path(shutil.copy(FILES / "keras-3.15.1-torch-channels-last.keras", path))


def own_file(path):
    operations = (graph.Input(name="in", shape=(3,)), graph.ReLU(name="relu", inputs=("in",)))
    project.write(path, graph.Graph(operations=operations), writer="a test")
    return path


def nir_file(path):
    return chain(path, fire((3,)), shape=(3,))


READ = [("keras", keras_file), ("keras-archive", keras_archive), ("refsnn-ann", own_file), ("nir", nir_file)]


@pytest.mark.parametrize(("kind", "make"), READ)
@pytest.mark.parametrize("name", ["network.h5", "network.keras", "network.pt"])
def test_told_apart_by_content(tmp_path, kind, make, name):
    path = make(tmp_path / name)
    assert kind_of(path) == kind
    model = read(path)
    assert model.format == kind
    assert model.path == path
    assert len(model.sha256) == 64


def weights_of_keras_2(path):
    with h5py.File(keras_file(path), "a") as file:
        file.copy("model_weights/layer", file)
        del file["model_weights"], file.attrs["model_config"]
        file.attrs["layer_names"] = [b"layer"]


def weights_of_keras_2_with_many_layers(path):
    weights_of_keras_2(path)
    with h5py.File(path, "a") as file:
        file.attrs["layer_names0"] = file.attrs["layer_names"]
        del file.attrs["layer_names"]


def weights_of_keras_3(path):
    with zipfile.ZipFile(FILES / "keras-3.15.1-torch-channels-last.keras") as archive:
        path.write_bytes(archive.read("model.weights.h5"))


@pytest.mark.parametrize(
    "make", [weights_of_keras_2, weights_of_keras_2_with_many_layers, weights_of_keras_3], ids=lambda f: f.__name__
)
def test_weights_without_architecture_say_how_to_save_the_whole(tmp_path, make):
    path = tmp_path / "network.h5"
    make(path)
    assert kind_of(path) == "weights-only"
    with pytest.raises(InputError, match=r"n[a-z.5]*h5: holds weights without the network's architecture.*model\.save"):
        read(path)


def test_integer_networks_and_data_are_no_trained_networks(tmp_path):
    path = tmp_path / "n.h5"
    for schema, message in (("refsnn-network", "is an integer network, already converted"), ("refsnn-data", "not a")):
        with h5py.File(path, "w") as file:
            file.attrs["schema"] = schema
        assert kind_of(path) == schema
        with pytest.raises(InputError, match=message):
            read(path)


def torch_file(path):
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("archive/data.pkl", b"")


def other_archive(path):
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("readme", b"")


def other_hdf5(path):
    with h5py.File(path, "w") as file:
        file["images"] = np.zeros(3)


def truncated(path):
    content = keras_file(path).read_bytes()
    path.write_bytes(content[: len(content) // 2])


def saved_model(path):
    path.mkdir()
    (path / "saved_model.pb").touch()


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (torch_file, r"is a PyTorch file; .* python -m tools\.checkpoints"),
        (lambda path: path.write_bytes(b"\x08\x09\x12\x07pytorch"), r"is an ONNX file; .* python -m tools\.onnx"),
        (other_archive, "is a zip archive without a Keras model"),
        (other_hdf5, "is HDF5, but no network that is known here"),
        (truncated, "is truncated or damaged HDF5"),
        (saved_model, "is a TensorFlow SavedModel"),
        (lambda path: path.mkdir(), "is a folder"),
        (lambda path: path.write_bytes(b""), "is empty"),
        (lambda path: path.write_text(json.dumps({})), "is not an HDF5 file"),
        (lambda path: None, "there is no such file"),
    ],
    ids=["torch", "onnx", "zip", "hdf5", "truncated", "saved-model", "folder", "empty", "text", "missing"],
)
def test_what_is_no_network_is_said_so(tmp_path, make, message):
    path = tmp_path / "network.h5"
    make(path)
    with pytest.raises(InputError, match=message) as caught:
        read(path)
    assert str(caught.value).startswith(str(path))
