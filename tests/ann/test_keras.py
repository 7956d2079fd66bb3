"""Keras files: those that Keras itself wrote, and small ones in the layouts of all versions."""

from __future__ import annotations

import json
import shutil
import zipfile
from itertools import product
from pathlib import Path

import h5py
import numpy as np
import pytest

from refsnn.ann import graph, keras
from refsnn.ann.forward import forward, forward_images
from refsnn.errors import InputError
from tests.ann.keras_writer import functional, layer, sequential, single, write

FILES = Path(__file__).parent / "files"
RANDOM = np.random.default_rng(0)


def normal(*shape):
    """Numbers that single precision holds."""
    return RANDOM.normal(size=shape).astype(np.float32).astype(float)


def output(network, x):
    """The last operation's output."""
    seen = []
    forward(network, x, lambda operation, array: seen.append(array))
    return seen[-1]


# --- files by Keras ---------------------------------------------------------------------------------------------------


def reads_as(path, predictions, writer):
    reader = keras.read_archive if path.suffix == ".keras" else keras.read
    model = reader(path)
    with np.load(predictions) as stored:
        x, y = stored["x"].astype(float), stored["y"]
    if "channels-last" in predictions.name:
        x = x.transpose(0, 3, 1, 2)
    np.testing.assert_allclose(forward(model.graph, x), y, rtol=1e-4, atol=1e-3)
    assert model.writer == writer


@pytest.mark.parametrize(
    ("name", "writer"),
    [
        ("keras-2.2.4-theano-channels-first.h5", "Keras 2.2.4, Theano backend"),
        ("keras-2.2.4-theano-channels-last.h5", "Keras 2.2.4, Theano backend"),
        ("keras-2.21.0-tensorflow-channels-last.h5", "Keras 2.21.0, TensorFlow backend"),
        ("keras-2.21.0-tensorflow-channels-last.keras", "Keras 2.21.0"),
        ("keras-3.15.1-torch-channels-first.h5", "Keras 3.15.1, PyTorch backend"),
        ("keras-3.15.1-torch-channels-first.keras", "Keras 3.15.1"),
        ("keras-3.15.1-torch-channels-last.h5", "Keras 3.15.1, PyTorch backend"),
        ("keras-3.15.1-torch-channels-last.keras", "Keras 3.15.1"),
    ],
)
def test_predicts_what_keras_predicted(name, writer):
    reads_as(FILES / name, (FILES / name).with_suffix(".npz"), writer)


@pytest.mark.parametrize("order", ["first", "last"])
def test_keras_1_on_theano_predicts_so_once_the_backend_is_stated(tmp_path, order):
    source = FILES / f"keras-1.2.2-theano-channels-{order}.h5"
    assert "backend not recorded" in keras.read(source).writer
    path = shutil.copy(source, tmp_path / "network.h5")
    with h5py.File(path, "a") as file:
        file.attrs["backend"] = "theano"
    reads_as(path, source.with_suffix(".npz"), "Keras 1.2.2, Theano backend")


@pytest.mark.data
def test_resnet8_of_mlperf_tiny(shared_data):
    model = keras.read(shared_data / "mlperf-tiny-ic" / "pretrainedResnet.h5")
    assert model.writer == "Keras 2.4.0, TensorFlow backend"
    assert model.graph.preprocessing is None
    with np.load(shared_data / "cifar10-lossless.npz") as data:
        images, labels = data["test_images"].transpose(0, 3, 1, 2), data["test_labels"]
    assert len(images) == 1017
    logits = forward_images(model.graph, images, graph.Preprocessing(), threads=2)
    assert int((logits.argmax(1) == labels).sum()) == 895


def test_predicts_what_the_installed_keras_predicts(tmp_path):
    installed = pytest.importorskip("keras")
    layers = installed.layers
    base = installed.Sequential([layers.Input((9, 5, 4)), layers.Conv2D(4, 3, activation="relu")], name="base")
    image = layers.Input((13, 12, 3))
    x = layers.Conv2D(4, 3, strides=2, padding="same", activation="relu")(layers.Rescaling(1 / 127.5, -1.0)(image))
    x = layers.SeparableConv2D(4, 2, depth_multiplier=2, strides=1)(layers.BatchNormalization()(x))
    x = layers.Reshape((-1, 5, 4))(layers.Conv2D(6, 1)(x))
    x = layers.Dense(3, activation="relu")(layers.GaussianNoise(0.1)(x))
    x = base(layers.ZeroPadding2D((0, 0))(layers.Conv2D(4, 1)(x)))
    model = installed.Model(image, layers.Softmax()(layers.Dense(3)(layers.GlobalMaxPooling2D(keepdims=False)(x))))
    images = np.random.default_rng(1).integers(0, 256, size=(5, 13, 12, 3), dtype=np.uint8)
    expected = model.predict(images.astype(np.float32), verbose=0)
    for name, reader in (("m.h5", keras.read), ("m.keras", keras.read_archive)):
        model.save(tmp_path / name)
        network = reader(tmp_path / name).graph
        table = network.preprocessing.table(3)
        x = table[np.arange(3)[:, None, None], images.transpose(0, 3, 1, 2)]
        np.testing.assert_allclose(output(network, x), expected, atol=1e-5)


# --- single layers ----------------------------------------------------------------------------------------------------


def naive_same(x, kernel, stride, backend):
    """One image ``(H, W, C)``, padded with zeros, as TensorFlow or Theano do it for ``same``."""
    sides = []
    for size, k, s in zip(x.shape[:2], kernel, stride, strict=True):
        total = max((int(np.ceil(size / s)) - 1) * s + k - size, 0)
        before = k // 2 if backend == "theano" else total // 2
        sides.append((before, max(total - before, 0)))
    return np.pad(x, (*sides, (0, 0)))


@pytest.mark.parametrize("backend", ["tensorflow", "theano"])
@pytest.mark.parametrize("stride", [(1, 1), (2, 2), (2, 3)])
@pytest.mark.parametrize("kernel", [(3, 3), (2, 3), (4, 1)])
def test_same_convolution(tmp_path, backend, stride, kernel):
    weights, bias = normal(*kernel, 2, 3), normal(3)
    settings = {"filters": 3, "kernel_size": kernel, "strides": stride, "padding": "same"}
    arrays = {"kernel": weights, "bias": bias}
    path = single(tmp_path / "n.h5", "Conv2D", (7, 6, 2), arrays, backend=backend, **settings)
    image = normal(7, 6, 2)
    padded = naive_same(image, kernel, stride, backend)
    applied = weights[::-1, ::-1] if backend == "theano" else weights
    expected = np.zeros((3, -(-7 // stride[0]), -(-6 // stride[1])))
    for o, r, c in np.ndindex(*expected.shape):
        window = padded[r * stride[0] :, c * stride[1] :][: kernel[0], : kernel[1]]
        expected[o, r, c] = (window * applied[..., o]).sum() + bias[o]
    np.testing.assert_allclose(output(keras.read(path).graph, image.transpose(2, 0, 1)[None])[0], expected)


@pytest.mark.parametrize("kind", ["MaxPooling2D", "AveragePooling2D"])
def test_same_pooling_ignores_the_padding(tmp_path, kind):
    path = single(tmp_path / "n.h5", kind, (5, 4, 1), {}, pool_size=[3, 3], strides=[2, 2], padding="same")
    x = np.arange(20.0).reshape(5, 4) - 30
    windows = {0: slice(0, 2), 1: slice(1, 4), 2: slice(3, 5)}, {0: slice(0, 3), 1: slice(2, 4)}
    take = np.max if kind == "MaxPooling2D" else np.mean
    expected = [[take(x[windows[0][r], windows[1][c]]) for c in range(2)] for r in range(3)]
    np.testing.assert_allclose(output(keras.read(path).graph, x[None, None])[0, 0], expected)


def test_depthwise_multiplier_order(tmp_path):
    weights = normal(2, 2, 3, 2)
    path = single(
        tmp_path / "n.h5",
        "DepthwiseConv2D",
        (4, 4, 3),
        {"depthwise_kernel": weights},
        kernel_size=[2, 2],
        depth_multiplier=2,
        use_bias=False,
    )
    image = normal(4, 4, 3)
    result = output(keras.read(path).graph, image.transpose(2, 0, 1)[None])[0]
    for channel, m, r, c in product(range(3), range(2), range(3), range(3)):
        expected = (image[r : r + 2, c : c + 2, channel] * weights[:, :, channel, m]).sum()
        np.testing.assert_allclose(result[channel * 2 + m, r, c], expected)


def test_grouped_and_dilated_convolution(tmp_path):
    weights = normal(2, 1, 2, 6)
    settings = {"filters": 6, "kernel_size": [2, 1], "groups": 2, "dilation_rate": [3, 1], "use_bias": False}
    path = single(tmp_path / "n.h5", "Conv2D", (5, 2, 4), {"kernel": weights}, **settings)
    x = normal(5, 2, 4)
    result = output(keras.read(path).graph, x.transpose(2, 0, 1)[None])[0]
    for o, r, c in np.ndindex(6, 2, 2):
        inputs = slice(0, 2) if o < 3 else slice(2, 4)
        expected = x[r, c, inputs] @ weights[0, 0, :, o] + x[r + 3, c, inputs] @ weights[1, 0, :, o]
        np.testing.assert_allclose(result[o, r, c], expected)


def test_dense_on_a_map_acts_on_the_channels(tmp_path):
    weights, bias = normal(3, 2), normal(2)
    path = single(tmp_path / "n.h5", "Dense", (4, 5, 3), {"kernel": weights, "bias": bias}, units=2, activation="relu")
    x = normal(4, 5, 3)
    expected = np.maximum(x @ weights + bias, 0).transpose(2, 0, 1)
    np.testing.assert_allclose(output(keras.read(path).graph, x.transpose(2, 0, 1)[None])[0], expected)


@pytest.mark.parametrize("keepdims", [False, True])
def test_global_pooling(tmp_path, keepdims):
    x = normal(1, 3, 4, 5)
    for kind, axis_function in (("GlobalAveragePooling2D", np.mean), ("GlobalMaxPooling2D", np.max)):
        path = single(tmp_path / "n.h5", kind, (4, 5, 3), {}, keepdims=keepdims)
        expected = axis_function(x, axis=(2, 3), keepdims=keepdims)
        np.testing.assert_allclose(output(keras.read(path).graph, x), expected)


@pytest.mark.parametrize(("scale", "center"), list(product([True, False], repeat=2)))
def test_batch_norm_without_gamma_or_beta(tmp_path, scale, center):
    arrays = {"moving_mean": normal(3), "moving_variance": np.abs(normal(3)) + 1}
    arrays |= {"gamma": normal(3)} if scale else {}
    arrays |= {"beta": normal(3)} if center else {}
    path = single(
        tmp_path / "n.h5", "BatchNormalization", (2, 2, 3), arrays, axis=[3], epsilon=0.01, scale=scale, center=center
    )
    stored = {key: np.asarray(value, np.float32).astype(float) for key, value in arrays.items()}
    x = normal(2, 2, 3)
    expected = (x - stored["moving_mean"]) / np.sqrt(stored["moving_variance"] + 0.01)
    expected = expected * stored.get("gamma", 1.0) + stored.get("beta", 0.0)
    result = output(keras.read(path).graph, x.transpose(2, 0, 1)[None])[0]
    np.testing.assert_allclose(result, expected.transpose(2, 0, 1))


FLATTEN_ORDERS = [  # layout of the network, Flatten's own setting, order in which Keras reads the map
    ("channels_last", "channels_last", "hwc"),
    ("channels_last", None, "hwc"),
    ("channels_first", None, "chw"),
    ("channels_first", "channels_last", "chw"),
    ("channels_first", "channels_first", "hwc"),
]


@pytest.mark.parametrize(("layout", "setting", "order"), FLATTEN_ORDERS)
def test_order_of_flatten(tmp_path, layout, setting, order):
    shape = [2, 3, 4] if layout == "channels_first" else [3, 4, 2]
    model = sequential(
        layer("InputLayer", "input", batch_shape=[None, *shape]),
        layer("ZeroPadding2D", "pad", padding=[[0, 0], [0, 0]], data_format=layout),
        layer("Flatten", "flatten", **({} if setting is None else {"data_format": setting})),
    )
    network = keras.read(write(tmp_path / "n.h5", model, {})).graph
    x = np.arange(24.0).reshape(1, 2, 3, 4)
    assert network.input.shape == (2, 3, 4)
    expected = x.ravel() if order == "chw" else x.transpose(0, 2, 3, 1).ravel()
    assert output(network, x)[0].tolist() == expected.tolist()


def test_reshape_keeps_keras_order(tmp_path):
    path = single(tmp_path / "n.h5", "Reshape", (2, 6, 2), {}, target_shape=[3, -1, 2])
    x = normal(2, 6, 2)
    result = output(keras.read(path).graph, x.transpose(2, 0, 1)[None])[0]
    np.testing.assert_array_equal(result, x.reshape(3, 4, 2).transpose(2, 0, 1))


def test_images_without_a_channel_axis(tmp_path):
    model = sequential(
        layer("Flatten", "flatten", batch_input_shape=[None, 3, 4]), layer("Dense", "dense", units=2, use_bias=False)
    )
    kernel = normal(12, 2)
    path = write(tmp_path / "n.h5", model, {"flatten": {}, "dense": {"dense/kernel:0": kernel}})
    network = keras.read(path).graph
    assert network.input.shape == (1, 3, 4)
    x = normal(1, 1, 3, 4)
    np.testing.assert_allclose(output(network, x), x.reshape(1, 12) @ kernel)
    path = single(tmp_path / "m.h5", "Dense", (3, 4), {"kernel": normal(4, 2), "bias": normal(2)}, units=2)
    with pytest.raises(InputError, match=r"'layer' \(Dense\) reads images without a channel axis"):
        keras.read(path)


# --- preprocessing ----------------------------------------------------------------------------------------------------


def preprocessing(path, *layers, weights=None):
    model = sequential(layer("InputLayer", "input", batch_shape=[None, 2, 2, 3]), *layers, layer("ReLU", "relu"))
    return keras.read(write(path, model, weights or {})).graph


def test_rescaling_becomes_preprocessing(tmp_path):
    network = preprocessing(tmp_path / "n.h5", layer("Rescaling", "rescaling", scale=1 / 127.5, offset=-1.0))
    assert [type(operation) for operation in network] == [graph.Input, graph.ReLU]
    assert network.preprocessing.scale == pytest.approx(127.5)
    np.testing.assert_allclose(network.preprocessing.table(3)[1], np.arange(256) / 127.5 - 1, atol=1e-15)


def test_rescaling_and_normalization_become_one_preprocessing(tmp_path):
    mean, variance = np.array([0.5, 0.25, 0.125]), np.array([0.25, 4.0, 1.0])
    network = preprocessing(
        tmp_path / "n.h5",
        layer("Rescaling", "rescaling", scale=1 / 255, offset=0.0),
        layer("Normalization", "normalization", axis=[-1], mean=None, variance=None),
        weights={"normalization": {"mean:0": mean, "variance:0": variance, "count:0": np.array(7.0)}},
    )
    expected = (np.arange(256) / 255 - mean[:, None]) / np.sqrt(variance)[:, None]
    np.testing.assert_allclose(network.preprocessing.table(3), expected, atol=1e-12)


def test_normalization_of_stated_numbers(tmp_path):
    network = preprocessing(
        tmp_path / "n.h5", layer("Normalization", "normalization", axis=-1, mean=[1.0, 2.0, 3.0], variance=[4.0] * 3)
    )
    expected = (np.arange(256) - np.array([[1.0], [2.0], [3.0]])) / 2
    np.testing.assert_allclose(network.preprocessing.table(3), expected)


def test_rescaling_inside_the_network_stays_there(tmp_path):
    network = preprocessing(
        tmp_path / "n.h5",
        layer("ReLU", "first", max_value=6.0),
        layer("Rescaling", "rescaling", scale=-2.0, offset=1.0),
    )
    assert network.preprocessing is None
    x = normal(1, 3, 2, 2)
    np.testing.assert_allclose(output(network, x), np.maximum(1 - 2 * np.clip(x, 0, 6), 0))


# --- architectures ----------------------------------------------------------------------------------------------------


def test_layers_of_a_functional_model_may_stand_in_any_order(tmp_path):
    kernel = normal(2, 2)
    model = functional(
        layer("InputLayer", "in", [], batch_input_shape=[None, 2]),
        layer("Add", "sum", ["b", "a"]),
        layer("ReLU", "b", ["a"]),
        layer("Dense", "a", ["in"], units=2, use_bias=False),
        outputs=["sum"],
    )
    network = keras.read(write(tmp_path / "n.h5", model, {"a": {"a/kernel:0": kernel}})).graph
    x = normal(1, 2)
    np.testing.assert_allclose(output(network, x), x @ kernel + np.maximum(x @ kernel, 0))


def test_layer_that_is_called_twice(tmp_path):
    kernel = normal(2, 2)
    twice = layer("Dense", "d", ["in"], units=2, use_bias=False, activation="relu")
    twice["inbound_nodes"] = [[["in", 0, 0, {}]], [["d", 0, 0, {}]]]
    model = functional(layer("InputLayer", "in", [], batch_input_shape=[None, 2]), twice)
    model["config"]["output_layers"] = [["d", 1, 0]]
    network = keras.read(write(tmp_path / "n.h5", model, {"d": {"d/kernel:0": kernel}})).graph
    x = normal(3, 2)
    np.testing.assert_allclose(output(network, x), np.maximum(np.maximum(x @ kernel, 0) @ kernel, 0))


def test_operators_written_as_functions(tmp_path):
    plus = layer("TFOpLambda", "tf.__operators__.add", ["in"], function="__operators__.add")
    plus["inbound_nodes"] = [["in", 0, 0, {"y": ["relu", 0, 0], "name": None}]]
    start = layer("InputLayer", "in", [], batch_input_shape=[None, 2]), layer("ReLU", "relu", ["in"])
    network = keras.read(write(tmp_path / "n.h5", functional(*start, plus), {})).graph
    assert output(network, np.array([[2.0, -1.0]])).tolist() == [[4.0, -1.0]]
    plus["config"]["function"] = "math.tanh"
    with pytest.raises(InputError, match=r"'tf.__operators__.add' \(function math.tanh\) is not supported"):
        keras.read(write(tmp_path / "n.h5", functional(*start, plus), {}))


def test_softmax_before_a_last_reshape_moves_behind_it(tmp_path):
    model = sequential(
        layer("InputLayer", "in", batch_shape=[None, 1, 1, 3]),
        layer("Activation", "probabilities", activation="softmax"),
        layer("Reshape", "out", target_shape=[3]),
    )
    network = keras.read(write(tmp_path / "n.h5", model, {})).graph
    assert [type(operation) for operation in network] == [graph.Input, graph.Reshape, graph.Softmax]


@pytest.mark.parametrize("order", ["tf", "th"])
def test_keras_1_kernels(tmp_path, order):
    weights, bias = normal(2, 3, 2, 4), normal(4)
    stored = weights if order == "tf" else weights.transpose(3, 2, 0, 1)
    shape = [5, 6, 2] if order == "tf" else [2, 5, 6]
    convolution = layer(
        "Convolution2D",
        "conv",
        batch_input_shape=[None, *shape],
        nb_filter=4,
        nb_row=2,
        nb_col=3,
        border_mode="valid",
        subsample=[1, 1],
        dim_ordering=order,
        activation="linear",
        bias=True,
    )
    model = {"class_name": "Sequential", "config": [convolution]}
    path = write(tmp_path / "n.h5", model, {"conv": {"conv_W": stored, "conv_b": bias}}, backend=None, version="1.1.0")
    x = normal(5, 6, 2)
    result = output(keras.read(path).graph, x.transpose(2, 0, 1)[None])[0]
    for o, r, c in np.ndindex(4, 4, 4):
        np.testing.assert_allclose(result[o, r, c], (x[r : r + 2, c : c + 3] * weights[..., o]).sum() + bias[o])


def test_split_attributes(tmp_path):
    model = sequential(
        layer("InputLayer", "in", batch_shape=[None, 2]), *(layer("Dense", f"d{i}", units=2) for i in range(5))
    )
    weights = {f"d{i}": {f"d{i}/kernel:0": normal(2, 2), f"d{i}/bias:0": normal(2)} for i in range(5)}
    networks = [keras.read(write(tmp_path / f"{n}.h5", model, weights, chunk=n)).graph for n in (1, 2, None)]
    x = normal(1, 2)
    for network in networks[:2]:
        np.testing.assert_array_equal(output(network, x), output(networks[2], x))


# --- refusals ---------------------------------------------------------------------------------------------------------

MAP = (4, 4, 2)
REFUSED = [
    ("LeakyReLU", MAP, {"alpha": 0.1}, r"'layer' \(LeakyReLU\) is not supported; replace it by ReLU, train on"),
    ("PReLU", MAP, {}, r"'layer' \(PReLU\) is not supported; replace it by ReLU"),
    ("ELU", MAP, {}, r"'layer' \(ELU\) is not supported; replace it by ReLU"),
    ("ReLU", MAP, {"negative_slope": 0.2}, "its negative_slope is 0.2; 0 is supported"),
    ("ReLU", MAP, {"threshold": 1.0}, "its threshold is 1.0; 0 is supported"),
    ("Activation", MAP, {"activation": "tanh"}, "the activation 'tanh' is not supported"),
    ("Permute", MAP, {"dims": [3, 1, 2]}, r"'layer' \(Permute\) is not supported; it changes the order"),
    ("LSTM", MAP, {}, r"'layer' \(LSTM\) is not supported; rebuild the network without LSTM"),
    ("Lambda", MAP, {}, "it hides Python code"),
    ("Reshape", MAP, {"target_shape": [4, 8]}, r"reshapes to \(4, 8\); features or maps"),
    ("BatchNormalization", MAP, {"axis": 1}, "acts on axis 1; the channels of this channels_last network are axis 3"),
    ("Concatenate", MAP, {}, "reads 1 layers; two or more"),
    ("Add", MAP, {}, "adds a constant or nothing"),
    ("GlobalAveragePooling2D", (5,), {}, r"reads features of shape \(5,\); a map was expected"),
    ("MaxPooling2D", MAP, {"pool_size": 2, "padding": "full"}, "padding 'full' is not supported"),
    ("MaxPooling2D", MAP, {}, "its settings cannot be understood"),
    ("Normalization", MAP, {"mean": [1.0], "variance": [1.0], "invert": True}, "invert=True is not supported"),
    ("ReLU", (None, None, 3), {}, "leaves sizes open"),
]


@pytest.mark.parametrize(("kind", "shape", "settings", "message"), REFUSED)
def test_refused_by_name(tmp_path, kind, shape, settings, message):
    path = single(tmp_path / "n.h5", kind, shape, {}, **settings)
    with pytest.raises(InputError, match=message) as caught:
        keras.read(path)
    assert str(caught.value).startswith(str(path))


def test_softmax_inside_is_refused(tmp_path):
    model = sequential(
        layer("InputLayer", "in", batch_shape=[None, 2]),
        layer("Dense", "attention", units=2, activation="softmax"),
        layer("Activation", "relu", activation="relu"),
    )
    weights = {"attention": {"attention/kernel:0": normal(2, 2), "attention/bias:0": normal(2)}}
    with pytest.raises(InputError, match=r"'attention.softmax': a softmax inside the network"):
        keras.read(write(tmp_path / "n.h5", model, weights))


def test_mixed_layouts_are_refused(tmp_path):
    model = sequential(
        layer("InputLayer", "in", batch_shape=[None, 4, 4, 4]),
        layer("ZeroPadding2D", "one", padding=[1, 1], data_format="channels_first"),
        layer("ZeroPadding2D", "two", padding=[1, 1], data_format="channels_last"),
    )
    with pytest.raises(InputError, match=r"'one' \(ZeroPadding2D\) is channels_first, layer 'two'"):
        keras.read(write(tmp_path / "n.h5", model, {}))


@pytest.mark.parametrize(("ends", "word"), [("inputs", "input"), ("outputs", "output")])
def test_several_inputs_or_outputs_are_refused(tmp_path, ends, word):
    first, second = (layer("InputLayer", name, [], batch_input_shape=[None, 2]) for name in "ab")
    model = functional(first, second, layer("Add", "c", ["a", "b"]), **{ends: ["a", "b"]})
    with pytest.raises(InputError, match=rf"the model has 2 {word}s \('a', 'b'\)"):
        keras.read(write(tmp_path / "n.h5", model, {}))


def test_unknown_backends_pad_only_where_it_is_clear(tmp_path):
    arrays = {"kernel": normal(3, 3, 2, 1), "bias": normal(1)}
    settings = {"filters": 1, "kernel_size": [3, 3], "padding": "same", "backend": "cntk"}
    assert (
        keras.read(single(tmp_path / "n.h5", "Conv2D", MAP, arrays, **settings)).writer == "Keras 2.4.0, CNTK backend"
    )
    with pytest.raises(InputError, match="how the backend 'cntk' pads"):
        keras.read(single(tmp_path / "n.h5", "Conv2D", MAP, arrays, strides=[2, 2], **settings))


def test_average_pooling_that_pytorch_pads_otherwise_is_refused(tmp_path):
    settings = {"pool_size": [2, 2], "strides": [1, 1], "padding": "same"}
    with pytest.raises(InputError, match="averages a repeated border"):
        keras.read(single(tmp_path / "n.h5", "AveragePooling2D", MAP, {}, backend="torch", **settings))


DENSE = {"kernel": np.ones((5, 2)), "bias": np.ones(2)}
DAMAGED = [
    ({"kernel": DENSE["kernel"]}, r"'layer' \(Dense\): its bias is missing; the file has \['layer/kernel:0'\]"),
    ({**DENSE, "recurrent": np.ones(3)}, "holds weights that no layer uses: layer: layer/recurrent:0"),
    ({**DENSE, "kernel": np.ones((4, 2))}, r"kernel has shape \(4, 2\) in the file, expected \(5, 2\)"),
    ({**DENSE, "bias": np.ones(3)}, r"bias has shape \(3,\), expected \(2,\)"),
    ({**DENSE, "kernel": np.full((5, 2), np.nan)}, "'layer': 10 of 10 values of weights are NaN or infinite"),
    ({**DENSE, "my_kernel": np.ones((5, 2))}, "two weights could be its kernel"),
]


@pytest.mark.parametrize(("arrays", "message"), DAMAGED)
def test_weights_that_do_not_fit(tmp_path, arrays, message):
    path = single(tmp_path / "n.h5", "Dense", (5,), arrays, units=2)
    with pytest.raises(InputError, match=message) as caught:
        keras.read(path)
    assert str(caught.value).startswith(str(path))


def test_quantised_weights_are_refused(tmp_path):
    path = single(tmp_path / "n.h5", "Dense", (5,), DENSE, units=2)
    with h5py.File(path, "a") as file:
        group = file["model_weights/layer/layer"]
        del group["kernel:0"]
        group["kernel:0"] = np.ones((5, 2), np.int8)
    with pytest.raises(InputError, match="holds int8; floating-point numbers were expected"):
        keras.read(path)


def test_weights_missing_in_the_file(tmp_path):
    path = single(tmp_path / "n.h5", "Dense", (5,), DENSE, units=2)
    with h5py.File(path, "a") as file:
        del file["model_weights/layer/layer/kernel:0"]
    with pytest.raises(InputError, match="there is no array 'layer/kernel:0' in the file"):
        keras.read(path)
    with h5py.File(path, "a") as file:
        del file["model_weights/layer"]
    with pytest.raises(InputError, match="layer 'layer': its weights are missing"):
        keras.read(path)
    with h5py.File(path, "a") as file:
        del file["model_weights"]
    with pytest.raises(InputError, match="an architecture but no weights"):
        keras.read(path)


@pytest.mark.parametrize(
    "config", [b"{", b'{"class_name": "Sequential"}', b'{"class_name": "Sequential", "config": 3}']
)
def test_damaged_architecture(tmp_path, config):
    path = single(tmp_path / "n.h5", "Dense", (5,), DENSE, units=2)
    with h5py.File(path, "a") as file:
        file.attrs["model_config"] = config
    with pytest.raises(InputError, match="its architecture is damaged"):
        keras.read(path)


def test_subclassed_models_are_refused(tmp_path):
    path = write(tmp_path / "n.h5", {"class_name": "MyModel", "config": {}}, {})
    with pytest.raises(InputError, match="the model is a MyModel; Sequential and functional models are supported"):
        keras.read(path)


ARCHIVE = FILES / "keras-3.15.1-torch-channels-last.keras"


def rewritten(target, **replaced):
    """The archive with some members replaced, or left out where the new content is None."""
    with zipfile.ZipFile(ARCHIVE) as source, zipfile.ZipFile(target, "w") as archive:
        for name in source.namelist():
            content = replaced.get(name.replace(".", "_"), source.read(name))
            if content is not None:
                archive.writestr(name, content)
    return target


def test_damaged_archives(tmp_path):
    path = tmp_path / "n.keras"
    path.write_bytes(ARCHIVE.read_bytes()[:-200])
    with pytest.raises(InputError, match="is a damaged archive"):
        keras.read_archive(path)
    with pytest.raises(InputError, match="not a whole Keras model"):
        keras.read_archive(rewritten(path, model_weights_h5=None))
    with pytest.raises(InputError, match=r"model\.weights\.h5 inside is damaged"):
        keras.read_archive(rewritten(path, model_weights_h5=b"nothing"))


def test_archive_whose_weights_do_not_fit_its_layers(tmp_path):
    with zipfile.ZipFile(ARCHIVE) as archive:
        stored, config = archive.read("model.weights.h5"), json.loads(archive.read("config.json"))
    (tmp_path / "w.h5").write_bytes(stored)
    with h5py.File(tmp_path / "w.h5", "a") as file:
        del file["layers/dense/vars/1"]
        file["layers/dense/vars/1"] = np.ones(9, np.float32)
    path = rewritten(tmp_path / "n.keras", model_weights_h5=(tmp_path / "w.h5").read_bytes())
    with pytest.raises(InputError, match=r"bias has shape \(9,\), expected \(5,\)"):
        keras.read_archive(path)
    with h5py.File(tmp_path / "w.h5", "a") as file:
        del file["layers/dense/vars/1"]
    path = rewritten(tmp_path / "n.keras", model_weights_h5=(tmp_path / "w.h5").read_bytes())
    with pytest.raises(InputError, match=r"\(Dense\): its bias is missing; model.weights.h5 has 1 weights"):
        keras.read_archive(path)
    dense = next(entry for entry in config["config"]["layers"] if entry["class_name"] == "Dense")
    dense["config"]["use_bias"] = False
    path = rewritten(tmp_path / "n.keras", config_json=json.dumps(config))
    with pytest.raises(InputError, match="holds weights that no layer uses: layers/dense/vars/1"):
        keras.read_archive(path)
