"""ONNX files: the graph computes what ONNX Runtime does; what has no counterpart is refused by operator and node."""

from __future__ import annotations

import warnings

import numpy as np
import pytest

onnx = pytest.importorskip("onnx")
onnxruntime = pytest.importorskip("onnxruntime")

import typer  # noqa: E402
from onnx import TensorProto, helper, numpy_helper  # noqa: E402
from typer.testing import CliRunner  # noqa: E402

import refsnn  # noqa: E402
from refsnn import errors  # noqa: E402
from refsnn.ann import graph, project  # noqa: E402
from refsnn.ann.forward import forward  # noqa: E402
from refsnn.errors import InputError  # noqa: E402
from tests.tools.onnx_files import Builder  # noqa: E402
from tools import onnx as reader  # noqa: E402
from tools import onnx_operators  # noqa: E402


def agrees(path, shape=(3, 12, 12), images=2, **options):
    """Read a file, and compare with ONNX Runtime on images of another seed than the reader's own comparison."""
    found = reader.load(path, **options)
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    x = np.random.default_rng(1).normal(size=(images, *shape)).astype(np.float32)
    (expected,) = session.run(None, {session.get_inputs()[0].name: x})
    outputs = []
    forward(found, x.astype(np.float64), lambda operation, output: outputs.append(output.copy()))
    np.testing.assert_allclose(outputs[-1], expected, rtol=1e-4, atol=1e-4)
    return found


def kinds(network):
    return [type(operation).__name__ for operation in network]


def test_convolutions_with_everything(tmp_path):
    build = Builder()
    x = build.conv("image", 3, 8, pads=[1, 2, 0, 1], strides=[1, 2], dilations=[2, 1])
    x = build.node("Relu", x)
    x = build.conv(x, 8, 8, (3, 1), groups=8, bias=False, auto_pad="SAME_UPPER", strides=[2, 1])
    x = build.conv(x, 8, 12, (2, 4), groups=2, auto_pad="SAME_LOWER", strides=[1, 3])
    agrees(build.save(tmp_path / "x.onnx"))


def test_pools(tmp_path):
    build = Builder()
    x = build.node("MaxPool", "image", kernel_shape=[3, 2], strides=[2, 1], pads=[1, 0, 1, 0])
    y = build.node("AveragePool", x, kernel_shape=[3, 3], pads=[1, 1, 1, 1])
    z = build.node("AveragePool", x, kernel_shape=[3, 3], pads=[1, 1, 1, 1], count_include_pad=1)
    y = build.node("MaxPool", y, kernel_shape=[1, 1], outputs=2)  # indices that nobody reads
    x = build.node("Concat", y, z, axis=1)
    x = build.node("MaxPool", x, kernel_shape=[2, 2], strides=[2, 2], auto_pad="SAME_UPPER")
    x = build.node("AveragePool", x, kernel_shape=[3, 2], strides=[3, 2], ceil_mode=1)  # nothing hangs over
    network = agrees(build.save(tmp_path / "x.onnx"))
    assert [op.count_padding for op in network if isinstance(op, graph.AveragePool)] == [False, True, False]


@pytest.mark.parametrize("kind", ["MaxPool", "AveragePool"])
@pytest.mark.parametrize("size", [6, 7, 8, 9, 10])
@pytest.mark.parametrize(("kernel", "stride", "after"), [(2, 2, 0), (3, 2, 1), (2, 3, 0), (3, 3, 1)])
def test_ceil_mode_is_right_or_refused(tmp_path, kind, size, kernel, stride, after):
    build = Builder(shape=("N", 3, size, size))
    pads, sides = [0, 0, after, after], {"kernel_shape": [kernel] * 2, "strides": [stride] * 2}
    build.node(kind, "image", **sides, pads=pads, ceil_mode=1)
    path = build.save(tmp_path / "x.onnx")
    whole = (size + after - kernel) // stride + 1
    if whole * stride < size and whole * stride + kernel > size + after:
        with pytest.raises(InputError, match="ceil_mode is not supported where windows hang over the edge"):
            reader.load(path)
    else:
        agrees(path, (3, size, size))


@pytest.mark.parametrize("kind", ["GlobalAveragePool", "GlobalMaxPool", "ReduceMean", "ReduceMean of 18", "Squeeze"])
def test_ends_of_a_network(tmp_path, kind):
    build = Builder(opset=18 if kind.endswith("18") else 13)
    x = build.node("Relu", build.conv("image", 3, 8, strides=[2, 2]))
    if kind == "ReduceMean":
        x = build.node("ReduceMean", x, axes=[-2, -1], keepdims=0)
    elif kind == "ReduceMean of 18":
        x = build.node("Flatten", build.node("ReduceMean", x, build.constant(np.array([2, 3]))))
    elif kind == "Squeeze":
        x = build.node("Squeeze", build.node("GlobalAveragePool", x), build.constant(np.array([2, 3])))
    else:
        x = build.node("Flatten", build.node(kind, x))
    x = build.node("Gemm", x, build.weights(8, 5), build.weights(5), alpha=0.5, beta=2.0)
    x = build.node("Softmax", build.node("Identity", build.node("Dropout", x)), axis=1)
    network = agrees(build.save(tmp_path / "x.onnx"))
    assert isinstance(network.output, graph.Softmax)


def test_dense_layers_and_arithmetic(tmp_path):
    """Normalisation inside the network, MatMul and Add, factors a channel."""
    build = Builder()
    x = build.node("Sub", "image", build.positive(3, 1, 1))
    x = build.node("Div", x, build.positive(1, 3, 1, 1))
    x = build.node("Relu", build.conv(x, 3, 4, strides=[3, 3]))
    x = build.node("Mul", build.constant(np.float32(0.5)), x)
    x = build.node("BatchNormalization", x, *(build.positive(4) for _ in range(4)), epsilon=1e-3)
    x = build.node("Sum", x, x, x)
    x = build.node("Reshape", x, build.constant(np.array([0, -1])))
    x = build.node("Relu", build.node("Add", build.node("MatMul", x, build.weights(64, 6)), build.weights(6)))
    x = build.node("Add", build.weights(5), build.node("MatMul", x, build.weights(6, 5)))
    build.node("Sigmoid", x)
    network = agrees(build.save(tmp_path / "x.onnx"))
    images = np.random.default_rng(0).integers(0, 256, (6, 3, 12, 12)).astype(np.uint8)
    converted = refsnn.convert(
        network, "spikeconverter", 6, calibration=images, preprocessing=graph.Preprocessing(scale=255.0)
    )
    result = refsnn.simulate(converted, images, 6, threads=1).logits[0]
    expected = forward(network, images / 255)
    assert np.abs(result - expected).max() < 0.1 * np.abs(expected).max()


def test_clips(tmp_path):
    build = Builder(opset=11)
    x = build.node("Clip", build.conv("image", 3, 4), build.constant(np.float32(0)), build.constant(np.float32(6)))
    x = build.node("Min", build.node("Relu", build.conv(x, 4, 4)), build.constant(np.float32(0.5)))
    x = build.node("Clip", build.conv(x, 4, 4), build.constant(np.float32(0)))
    y = build.node("Relu", build.conv(x, 4, 4))
    z = build.node("Min", build.constant([0.25]), y)  # does not take the ReLU's place: another node reads that too
    build.node("Add", y, z)
    path = build.save(tmp_path / "x.onnx")
    assert [op.maximum for op in agrees(path) if isinstance(op, graph.ReLU)] == [6, 0.5, None, None, 0.25]
    learned = [op.bound for op in agrees(path, learned_bounds=True) if isinstance(op, graph.ReLU)]
    assert [bound is None or float(bound) for bound in learned] == [6, 0.5, True, True, 0.25]


def test_old_operators(tmp_path):
    """What was an attribute once: bounds of Clip, pads of Pad, axes of Squeeze."""
    build = Builder(opset=7)
    x = build.node("Pad", "image", pads=[0, 1, 1, 0, 0, 2, 3, 1])
    x = build.node("Clip", build.conv(x, 6, 4), min=0.0, max=2.0)
    x = build.node("Squeeze", build.node("GlobalAveragePool", x), axes=[2, 3])
    x = build.node("Gemm", x, build.weights(5, 4), build.weights(5), transB=1)
    network = agrees(build.save(tmp_path / "x.onnx"))
    assert kinds(network)[:4] == ["Input", "PadChannels", "Pad", "Conv"]


def test_shape_arithmetic_is_computed_first(tmp_path):
    """How PyTorch writes x.view(x.size(0), -1) for open batches, and x[:, :, ::2, ::2]."""
    build = Builder()
    x = build.node("Slice", "image", *(build.constant(np.array(v)) for v in ([0, 0], [99, 99], [2, 3], [2, 2])))
    size = build.node("Gather", build.node("Shape", x), build.constant(np.array(0)), axis=0)
    size = build.node("Unsqueeze", size, build.constant(np.array([0])))
    rest = build.node("Constant", value=numpy_helper.from_array(np.array([-1])))
    x = build.node("Reshape", x, build.node("Concat", size, rest, axis=0))
    build.node("Gemm", x, build.weights(108, 5))
    agrees(build.save(tmp_path / "x.onnx"))


def test_a_fixed_batch_and_what_nobody_reads(tmp_path):
    build = Builder(shape=(1, 3, 12, 12))
    x = build.node("Reshape", "image", build.constant(np.array([1, 432])))
    build.node("LeakyRelu", "image")  # of no consequence
    y = build.node("Reshape", build.node("Gemm", x, build.weights(432, 8)), build.constant(np.array([1, 2, 2, 2])))
    y = build.conv(y, 2, 4, 2)
    network = agrees(build.save(tmp_path / "x.onnx", y), images=1)
    assert kinds(network) == ["Input", "Flatten", "Dense", "Reshape", "Conv"]


@pytest.mark.parametrize(("kind", "name"), [("relu", "resnet8"), ("relu", "vgg16"), ("clip", "resnet20")])
def test_networks_out_of_pytorch(tmp_path, kind, name):
    torch = pytest.importorskip("torch")
    from tests.tools.zoo import SIZES, lifelike

    network = lifelike(name, kind, **({"hidden": 8, "pool": "max"} if name == "vgg16" else {}))
    shape = (3, SIZES[name], SIZES[name])
    check_export(torch, network, shape, tmp_path / "x.onnx")
    found = agrees(tmp_path / "x.onnx", shape, learned_bounds=True)
    bounds = [p.item() for key, p in network.named_parameters() if key.endswith("bound")]
    assert [float(op.bound) for op in found if isinstance(op, graph.ReLU) and op.bound is not None] == bounds


def test_mobilenet_out_of_pytorch(tmp_path):
    torch = pytest.importorskip("torch")
    from tests.tools.zoo import lifelike

    network = lifelike("mobilenet_v2", "relu6")
    check_export(torch, network, (3, 16, 16), tmp_path / "x.onnx")
    found = agrees(tmp_path / "x.onnx", (3, 16, 16))
    assert [op.maximum for op in found if isinstance(op, graph.ReLU)] == [6] * 35


def check_export(torch, network, shape, path):
    """By PyTorch's older exporter, which needs no further package, batch norms left as they are."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.onnx.export(
            network,
            (torch.zeros(1, *shape),),
            str(path),
            dynamo=False,
            input_names=["image"],
            dynamic_axes={"image": {0: "N"}},
            training=torch.onnx.TrainingMode.PRESERVE,
            do_constant_folding=False,
        )


def relu_of(*, kind, **attributes):
    return lambda build: build.node(kind, "image", name="guilty", **attributes)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (relu_of(kind="LeakyRelu"), r"node 'guilty' \(LeakyRelu\): this operator cannot be converted; docs/formats"),
        (relu_of(kind="Transpose", perm=[0, 2, 3, 1]), r"node 'guilty' \(Transpose\): this operator cannot"),
        (relu_of(kind="ReduceMean", axes=[1]), r"'guilty' \(ReduceMean\): a mean over the axes \[1\]"),
        (relu_of(kind="ReduceMean"), r"a mean over the axes all is not supported"),
        (relu_of(kind="Flatten", axis=2), "flattening from axis 2"),
        (relu_of(kind="MaxPool", kernel_shape=[2, 2], dilations=[2, 2]), "dilation is not supported"),
        (relu_of(kind="AveragePool", kernel_shape=[5, 5], strides=[4, 4], ceil_mode=1), "ceil_mode is not supported"),
        (relu_of(kind="Softmax", axis=2), "along axis 2"),
        (lambda b: b.node("Clip", "image", b.constant(np.float32(-1)), name="guilty"), "a clip from -1.0"),
        (lambda b: b.node("Min", "image", b.constant(np.float32(1))), "a minimum is supported of a ReLU"),
        (lambda b: b.node("Mul", "image", "image", name="guilty"), r"'guilty' \(Mul\): its input 1, 'image', depends"),
        (lambda b: b.node("Add", "image", b.weights(12, 12)), "a constant of shape"),
        (lambda b: b.node("Concat", "image", "image", axis=2), "along axis 2"),
        (lambda b: b.node("Reshape", "image", b.constant(np.array([-1, 12]))), "the first axis must stay"),
        (lambda b: b.node("Pad", "image", b.constant(np.array([0] * 7 + [-1]))), "padding by"),
        (lambda b: b.node("Pad", "image", b.constant(np.array([0] * 7 + [1])), mode="edge"), "in mode 'edge'"),
        (lambda b: b.node("MatMul", "image", b.weights(12, 4)), "layer 'MatMul_0_node': weights"),
        (lambda b: b.node("Conv", "image", b.node("Relu", "image"), name="guilty"), "input 1, 'Relu_0', depends"),
        (lambda b: b.node("Relu", b.weights(2, 2)), "does not depend on the image"),
        (lambda b: b.node("Mul", b.node("MaxPool", "image", kernel_shape=[2, 2], outputs=2), "MaxPool_0b"), "indices"),
    ],
)
def test_refused_by_operator_and_node(tmp_path, make, message):
    build = Builder()
    last = make(build)
    build.save(tmp_path / "x.onnx", last)
    with pytest.raises(InputError, match=message) as caught:
        reader.load(tmp_path / "x.onnx")
    assert str(caught.value).startswith(f"{tmp_path / 'x.onnx'}: ")


def test_files_that_are_no_such_network(tmp_path):
    with pytest.raises(InputError, match="there is no such file"):
        reader.load(tmp_path / "absent.onnx")
    for content in (b"", b"\x89HDF nonsense"):
        (tmp_path / "x.onnx").write_bytes(content)
        with pytest.raises(InputError, match="is no ONNX file"):
            reader.load(tmp_path / "x.onnx")

    build = Builder(shape=("N", 3, "height", "width"))
    build.conv("image", 3, 4)
    path = build.save(tmp_path / "x.onnx")
    with pytest.raises(InputError, match=r"the shape \('\?', 3, '\?', '\?'\).*Say with --shape"):
        reader.load(path)
    assert reader.load(path, (3, 9, 7)).input.shape == (3, 9, 7)
    with pytest.raises(InputError, match=r"has the shape \(3, 0, 0\), not \(1, 9, 7\)"):
        reader.load(path, (1, 9, 7))

    build = Builder()
    first = build.node("Relu", "image")
    path = build.save(tmp_path / "x.onnx", first, build.node("Relu", first))
    with pytest.raises(InputError, match="has the outputs Relu_0, Relu_1; networks with one"):
        reader.load(path)

    model = build.model()
    model.graph.input.append(helper.make_tensor_value_info("other", TensorProto.FLOAT, [1]))
    onnx.save(model, path)
    with pytest.raises(InputError, match="has the inputs image, other; networks with one"):
        reader.load(path)


def test_what_means_something_else_is_noticed(tmp_path, monkeypatch):
    build = Builder()
    build.node("Relu", "image")
    monkeypatch.setitem(onnx_operators.OPERATORS, "Relu", onnx_operators.Translation._sigmoid)
    with pytest.raises(InputError, match="differs from ONNX Runtime by"):
        reader.load(build.save(tmp_path / "x.onnx"))


def test_missing_package_names_the_extra(tmp_path, monkeypatch):
    build = Builder()
    build.node("Relu", "image")
    path = build.save(tmp_path / "x.onnx")

    def absent(name):
        raise ImportError(name)

    monkeypatch.setattr(errors.importlib, "import_module", absent)
    with pytest.raises(InputError, match=r"the package 'onnx': install it with: pip install 'refsnn\[onnx\]'"):
        reader.load(path)


def test_command(tmp_path):
    build = Builder()
    build.node("Flatten", build.node("Relu", build.conv("image", 3, 4)))
    path = build.save(tmp_path / "x.onnx")
    application = typer.Typer()
    application.command()(reader.main)
    out = tmp_path / "weights.h5"
    result = CliRunner().invoke(application, [str(path), "--out", str(out), "--scale", "255", "--mean", "0.5"])
    assert result.exit_code == 0, result.output
    model = project.read(out)
    assert model.graph.preprocessing == graph.Preprocessing(scale=255.0, mean=(0.5,), std=(1.0,))
    assert model.writer.startswith("refsnn tools.onnx, onnx ")
    assert CliRunner().invoke(application, [str(path), "--out", str(out)]).exit_code == 0
    assert project.read(out).graph.preprocessing is None

    build.node("Elu", "image", name="guilty")
    result = CliRunner().invoke(application, [str(build.save(path)), "--out", str(out)])
    assert result.exit_code == 2
    assert "node 'guilty' (Elu): this operator cannot be converted" in result.output
