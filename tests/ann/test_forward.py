"""The forward pass against loops that anyone can check, and against PyTorch."""

from __future__ import annotations

from itertools import product

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from refsnn.ann import graph
from refsnn.ann.forward import evaluate, forward, forward_images, map_blocks
from refsnn.ann.graph import Graph, Preprocessing
from refsnn.errors import InputError
from refsnn.geometry import window_output


def naive_window(x, row, column, operation, kernel, dilation=(1, 1)):
    """Values of one window of one channel ``(H, W)``, None where it reaches over the border."""
    top, _, left, _ = operation.padding
    for i, j in product(range(kernel[0]), range(kernel[1])):
        r = row * operation.stride[0] + i * dilation[0] - top
        c = column * operation.stride[1] + j * dilation[1] - left
        yield i, j, x[r, c] if 0 <= r < x.shape[0] and 0 <= c < x.shape[1] else None


def naive(operation, x):
    """One image ``(C, H, W)`` through a windowed operation, a number at a time."""
    if isinstance(operation, graph.Conv):
        kernel, dilation, channels = operation.weights.shape[2:], operation.dilation, len(operation.weights)
    else:
        kernel, dilation, channels = operation.kernel, (1, 1), len(x)
    result = np.zeros((channels, *window_output(x.shape[1:], kernel, operation.stride, operation.padding, dilation)))
    for channel, row, column in np.ndindex(*result.shape):
        if isinstance(operation, graph.Conv):
            inputs = operation.weights.shape[1]
            first = channel // (channels // operation.groups) * inputs
            total = 0.0 if operation.bias is None else operation.bias[channel]
            for source in range(inputs):
                for i, j, value in naive_window(x[first + source], row, column, operation, kernel, dilation):
                    total += operation.weights[channel, source, i, j] * (value or 0.0)
            result[channel, row, column] = total
            continue
        values = [value for *_, value in naive_window(x[channel], row, column, operation, kernel)]
        inside = [value for value in values if value is not None]
        if isinstance(operation, graph.MaxPool):
            padded = operation.zero_padding and len(inside) < len(values)
            result[channel, row, column] = max([*inside, *([0.0] if padded else [])])
        else:
            result[channel, row, column] = sum(inside) / len(values if operation.count_padding else inside)
    return result


@st.composite
def windowed(draw):
    """A random convolution or pooling, and images that fit it."""
    random = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    pair = st.tuples(st.integers(1, 3), st.integers(1, 3))
    kernel, stride = draw(pair), draw(pair)
    # Paddings below the kernel, so that no window lies wholly outside.
    padding = tuple(draw(st.integers(0, kernel[side // 2] - 1)) for side in range(4))
    common = {"name": "o", "inputs": ("i",), "stride": stride, "padding": padding}
    kind = draw(st.sampled_from(["conv", "depthwise", "max", "average"]))
    flag, groups = draw(st.booleans()), draw(st.integers(1, 3))
    inputs = groups * (1 if kind == "depthwise" else draw(st.integers(1, 2)))
    if kind in ("conv", "depthwise"):
        outputs = groups * draw(st.integers(1, 2))
        operation = graph.Conv(
            **common,
            weights=random.normal(size=(outputs, inputs // groups, *kernel)),
            bias=random.normal(size=outputs) if flag else None,
            dilation=draw(st.tuples(st.integers(1, 2), st.integers(1, 2))),
            groups=groups,
        )
    elif kind == "max":
        operation = graph.MaxPool(**common, kernel=kernel, zero_padding=flag)
    else:
        operation = graph.AveragePool(**common, kernel=kernel, count_padding=flag)
    return operation, random.normal(size=(2, inputs, draw(st.integers(5, 8)), draw(st.integers(5, 8))))


@given(windowed())
def test_windowed_operations_equal_the_loops(case):
    operation, x = case
    np.testing.assert_allclose(evaluate(operation, [x]), [naive(operation, image) for image in x], atol=1e-12)


def test_large_convolutions_go_in_parts(monkeypatch):
    random = np.random.default_rng(0)
    conv = graph.Conv(name="c", inputs=("i",), weights=random.normal(size=(3, 2, 3, 3)), padding=(1, 1, 1, 1))
    x = random.normal(size=(5, 2, 6, 6))
    whole = evaluate(conv, [x])
    monkeypatch.setattr("refsnn.ann.forward._COLUMNS", 2 * 2 * 9 * 36)
    np.testing.assert_array_equal(evaluate(conv, [x]), whole)


def test_qcfs_levels():
    bound = np.array([1.0, 2.0])
    relu = graph.ReLU(name="r", inputs=("i",), bound=bound, levels=4)
    # Steps at odd multiples of bound / 8, both ends clipped.
    x = np.array([[-1.0, 0.1], [0.124, 0.25], [0.125, 1.0], [0.374, 1.24], [0.9, 9.0]])
    expected = [[0.0, 0.0], [0.0, 0.5], [0.25, 1.0], [0.25, 1.0], [1.0, 2.0]]
    np.testing.assert_array_equal(evaluate(relu, [x]), expected)


def test_relu_bounds():
    x = np.array([[-1.0, 5.0], [7.0, 1.0]])
    relu = graph.ReLU(name="r", maximum=6.0)
    np.testing.assert_array_equal(evaluate(relu, [x]), [[0.0, 5.0], [6.0, 1.0]])
    learned = graph.ReLU(name="r", bound=np.array([3.0, 4.0]))
    np.testing.assert_array_equal(evaluate(learned, [x]), [[0.0, 4.0], [3.0, 1.0]])


def test_batch_norm_is_per_channel():
    random = np.random.default_rng(1)
    mean, gamma, beta = random.normal(size=(3, 4))
    variance = random.random(4) + 0.1
    norm = graph.BatchNorm(name="b", mean=mean, variance=variance, gamma=gamma, beta=beta, epsilon=1e-3)
    x = random.normal(size=(2, 4, 3, 3))
    y = evaluate(norm, [x])
    for n, c in product(range(2), range(4)):
        expected = gamma[c] * (x[n, c] - mean[c]) / np.sqrt(variance[c] + 1e-3) + beta[c]
        np.testing.assert_allclose(y[n, c], expected)


def test_flatten_and_reshape_orders():
    x = np.arange(24.0).reshape(1, 2, 3, 4)
    flat = evaluate(graph.Flatten(name="f", order="hwc"), [x])[0]
    assert flat[:4].tolist() == [0.0, 12.0, 1.0, 13.0]
    np.testing.assert_array_equal(evaluate(graph.Flatten(name="f"), [x])[0], np.arange(24.0))
    back = evaluate(graph.Reshape(name="r", shape=(2, 3, 4), order="hwc"), [flat[None]])
    np.testing.assert_array_equal(back, x)
    # Keras: a (3, 4, 2) map to (2, 2, 6) keeps the order of (row, column, channel).
    keras_view = x[0].transpose(1, 2, 0).reshape(2, 2, 6).transpose(2, 0, 1)
    np.testing.assert_array_equal(evaluate(graph.Reshape(name="r", shape=(6, 2, 2), order="hwc"), [x])[0], keras_view)


def residual(random):
    """A network that has every operation without windows, two readers of one map, and one map added to itself."""

    def conv(name, source, outputs, inputs):
        return graph.Conv(name=name, inputs=(source,), weights=random.normal(size=(outputs, inputs, 1, 1)))

    return Graph(
        operations=(
            graph.Input(name="input", shape=(2, 4, 4)),
            conv("a", "input", 3, 2),
            graph.ReLU(name="b", inputs=("a",)),
            graph.PadChannels(name="c", inputs=("input",), before=0, after=1),
            graph.Add(name="d", inputs=("b", "c", "b")),
            graph.Concatenate(name="e", inputs=("d", "b")),
            graph.Pad(name="f", inputs=("e",), padding=(1, 0, 0, 2)),
            graph.Flatten(name="g", inputs=("f",)),
            graph.Dense(name="h", inputs=("g",), weights=random.normal(size=(5, 180)), bias=random.normal(size=5)),
            graph.Softmax(name="i", inputs=("h",)),
        )
    )


def test_logits_of_a_network_with_branches():
    random = np.random.default_rng(2)
    network, x = residual(random), np.random.default_rng(3).normal(size=(3, 2, 4, 4))
    a = np.einsum("oi,nihw->nohw", network["a"].weights[:, :, 0, 0], x)
    b = np.maximum(a, 0)
    c = np.zeros_like(b)
    c[:, :2] = x
    f = np.zeros((3, 6, 5, 6))
    f[:, :, 1:, :4] = np.concatenate([b + c + b, b], axis=1)
    logits = f.reshape(3, -1) @ network["h"].weights.T + network["h"].bias
    seen = {}
    result = forward(network, x, lambda operation, array: seen.__setitem__(operation.name, array.copy()))
    np.testing.assert_allclose(result, logits)
    assert list(seen) == [operation.name for operation in network]
    np.testing.assert_allclose(seen["i"], np.exp(logits) / np.exp(logits).sum(1, keepdims=True))
    np.testing.assert_allclose(seen["f"], f)


def test_sigmoid_is_left_out_of_the_logits_and_does_not_overflow():
    network = Graph(operations=(graph.Input(name="x", shape=(3,)), graph.Sigmoid(name="y", inputs=("x",))))
    x = np.array([[-1000.0, 0.0, 2.0]])
    seen = []
    np.testing.assert_array_equal(forward(network, x, lambda operation, array: seen.append(array)), x)
    np.testing.assert_allclose(seen[1], [[0.0, 0.5, 1 / (1 + np.exp(-2.0))]])


def test_images_apply_the_byte_table_and_threads_change_nothing():
    random = np.random.default_rng(4)
    network = residual(random)
    images = random.integers(0, 256, size=(21, 2, 4, 4), dtype=np.uint8)
    settings = Preprocessing(scale=255, mean=(0.5, 0.25), std=(0.5, 2.0))
    x = (images / 255 - np.array([0.5, 0.25])[:, None, None]) / np.array([0.5, 2.0])[:, None, None]
    logits = forward_images(network, images, settings, block=4, threads=1)
    np.testing.assert_allclose(logits, forward(network, x), atol=1e-12)
    np.testing.assert_array_equal(forward_images(network, images, settings, block=4, threads=3), logits)
    sizes = map_blocks(len, network, images, settings, block=4, threads=3)
    assert sizes == [4, 4, 4, 4, 4, 1]


def test_preprocessing_of_the_file_holds_unless_another_is_given():
    operations = (graph.Input(name="x", shape=(1,)), graph.ReLU(name="y", inputs=("x",)))
    network = Graph(operations=operations, preprocessing=Preprocessing(scale=2.0))
    images = np.array([[10]], dtype=np.uint8)
    assert forward_images(network, images).tolist() == [[5.0]]
    assert forward_images(network, images, Preprocessing()).tolist() == [[10.0]]
    assert forward_images(network, images[:0]).shape == (0, 1)


def test_images_of_another_shape_are_refused():
    network = residual(np.random.default_rng(0))
    with pytest.raises(InputError, match=r"images have the shape \(4, 4, 2\), the network's input is \(2, 4, 4\)"):
        forward_images(network, np.zeros((1, 4, 4, 2), np.uint8))
    with pytest.raises(InputError, match="images have the shape"):
        forward(network, np.zeros((1, 2, 4, 5)))


def test_equals_pytorch():
    torch = pytest.importorskip("torch")
    functional = torch.nn.functional
    random = np.random.default_rng(5)
    x, weights, bias = random.normal(size=(3, 4, 9, 8)), random.normal(size=(6, 2, 3, 2)), random.normal(size=6)
    options = {"stride": (2, 1), "dilation": (1, 2), "groups": 2}
    ours = evaluate(graph.Conv(name="c", weights=weights, bias=bias, padding=(1, 1, 2, 2), **options), [x])
    theirs = functional.conv2d(*map(torch.tensor, (x, weights, bias)), padding=(1, 2), **options)
    np.testing.assert_allclose(ours, theirs.numpy(), atol=1e-12)
    window = {"kernel": (3, 2), "stride": (2, 2), "padding": (1, 1, 1, 1)}
    ours = evaluate(graph.MaxPool(name="m", **window), [x])
    np.testing.assert_array_equal(ours, functional.max_pool2d(torch.tensor(x), (3, 2), 2, 1).numpy())
    for count in (True, False):
        ours = evaluate(graph.AveragePool(name="a", **window, count_padding=count), [x])
        theirs = functional.avg_pool2d(torch.tensor(x), (3, 2), 2, 1, count_include_pad=count)
        np.testing.assert_allclose(ours, theirs.numpy())
