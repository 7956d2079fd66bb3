"""Checkpoints: every layout computes the same in the zoo's network; what does not fit is named; nothing runs code."""

from __future__ import annotations

import argparse
from dataclasses import dataclass, field

import numpy as np
import pytest

torch = pytest.importorskip("torch")

import typer  # noqa: E402
from torch import nn  # noqa: E402
from typer.testing import CliRunner  # noqa: E402

from refsnn.ann import graph, project  # noqa: E402
from refsnn.ann.forward import forward  # noqa: E402
from refsnn.errors import InputError  # noqa: E402
from tests.tools import theirs  # noqa: E402
from tests.tools.zoo import lifelike  # noqa: E402
from tools import activations, checkpoints, networks  # noqa: E402

SHAPE = (3, 32, 32)


@dataclass
class Case:
    """A network of theirs, and the options of ours."""

    theirs: nn.Module
    network: str
    layout: str
    activation: str = "relu"
    width: int = 4
    options: dict = field(default_factory=dict)

    def build(self, **changes):
        return networks.build(
            self.network,
            SHAPE,
            5,
            lambda: activations.activation(self.activation),
            **({"width": self.width} | self.options | changes),
        )


IMAGENET = {"stem": "imagenet", "pool": "max"}
CASES = {
    "resnet18": lambda: Case(
        theirs.TorchvisionResNet((2, 2, 2, 2), 4, 5, True), "resnet18", "torchvision", options=IMAGENET
    ),
    "resnet34": lambda: Case(
        theirs.TorchvisionResNet((3, 4, 6, 3), 4, 5, True), "resnet34", "torchvision", options=IMAGENET
    ),
    "resnet20": lambda: Case(theirs.TorchvisionResNet((3, 3, 3), 4, 5, False), "resnet20", "torchvision"),
    "cifar resnet18": lambda: Case(
        theirs.TorchvisionResNet((2, 2, 2, 2), 4, 5, False, "shortcut", "linear"), "resnet18", "torchvision"
    ),
    "vgg16": lambda: Case(
        theirs.TorchvisionVGG16(4, 5, 8), "vgg16", "torchvision", options={"pool": "max", "hidden": 8}
    ),
    "mobilenet_v2": lambda: Case(
        theirs.TorchvisionMobileNetV2(8, 5), "mobilenet_v2", "torchvision", "relu6", 8, {"stem": "imagenet"}
    ),
    "qcfs resnet20": lambda: Case(theirs.QCFSResNet((3, 3, 3), 4, 5, "thresh"), "resnet20", "qcfs", "qcfs"),
    "qcfs resnet18, first version": lambda: Case(
        theirs.QCFSResNet((2, 2, 2, 2), 4, 5, "up"), "resnet18", "qcfs", "qcfs"
    ),
    "qcfs vgg16": lambda: Case(theirs.QCFSVGG16(4, 5, 8, "thresh"), "vgg16", "qcfs", "qcfs", options={"hidden": 8}),
    "qcfs vgg16, first version": lambda: Case(
        theirs.QCFSVGG16(4, 5, 8, "up"), "vgg16", "qcfs", "qcfs", options={"hidden": 8}
    ),
}


def scrambled(module: nn.Module) -> nn.Module:
    """No two tensors alike, so that none can stand for another."""
    generator = torch.Generator().manual_seed(1)
    for name, value in module.state_dict().items():
        if name.endswith(("running_var", "thresh", "up")):
            value.uniform_(0.5, 2, generator=generator)
        elif value.is_floating_point() and value.ndim == 1:
            value.uniform_(-0.3, 1, generator=generator)
    return module.eval()


@pytest.mark.parametrize("name", CASES)
def test_the_same_network(name, tmp_path):
    torch.manual_seed(0)
    case = CASES[name]()
    original = scrambled(case.theirs)
    torch.save(original.state_dict(), tmp_path / "their.pth")
    for layout in ("auto", case.layout):
        network = case.build()
        used = checkpoints.fit(network, checkpoints.read(tmp_path / "their.pth"), tmp_path / "their.pth", layout)
        assert used == case.layout
        x = torch.rand(2, *SHAPE, dtype=torch.float64)
        with torch.no_grad():
            expected, found = original.double()(x), network.eval().double()(x)
        np.testing.assert_allclose(found, expected, rtol=1e-9, atol=1e-9)


def test_known_names():
    """Names as they are in the files that people have."""
    network = CASES["resnet18"]().build()
    table = checkpoints.LAYOUTS["torchvision"](network)
    assert {"conv1", "bn1", "layer1.0.conv1", "layer4.1.bn2", "layer2.0.downsample.0", "fc"} <= set(table)
    table = checkpoints.LAYOUTS["torchvision"](CASES["mobilenet_v2"]().build())
    assert {"features.0.0", "features.1.conv.0.0", "features.1.conv.1", "features.1.conv.2"} <= set(table)
    assert {"features.17.conv.3", "features.18.1", "classifier.1"} <= set(table)
    table = checkpoints.LAYOUTS["torchvision"](CASES["vgg16"]().build())
    assert {"features.0", "features.7", "features.40", "features.41", "classifier.6"} <= set(table)
    table = checkpoints.LAYOUTS["qcfs"](network)
    assert {"conv1.2", "conv2_x.0.residual_function.2", "conv5_x.1.act", "conv3_x.0.relu", "fc"} <= set(table)
    table = checkpoints.LAYOUTS["qcfs"](CASES["vgg16"]().build())
    assert {"layer1.0", "layer3.10", "layer5.9", "classifier.5", "classifier.7"} <= set(table)


@pytest.mark.parametrize(
    "wrap",
    [
        lambda state: {"state_dict": state, "epoch": 3},
        lambda state: {"model": {f"module.{name}": value for name, value in state.items()}},
        lambda state: {f"module._orig_mod.{name}": value.half() for name, value in state.items()},
        lambda state: {name: value for name, value in state.items() if not name.endswith("num_batches_tracked")},
    ],
)
def test_wrappers_prefixes_and_half_precision(wrap, tmp_path):
    case = CASES["resnet20"]()
    network = case.build()
    torch.save(wrap(case.theirs.state_dict()), tmp_path / "wrapped.pt")
    checkpoints.fit(network, checkpoints.read(tmp_path / "wrapped.pt"), tmp_path / "wrapped.pt")
    found = network.state_dict()["blocks.8.norm2.running_var"]
    assert torch.equal(found, case.theirs.state_dict()["layer3.2.bn2.running_var"])
    assert torch.allclose(network.state_dict()["stem.0.weight"], case.theirs.state_dict()["conv1.weight"], atol=1e-3)


def refusal(state, network, layout="auto"):
    with pytest.raises(InputError) as caught:
        checkpoints.fit(network, state, "some.pt", layout)
    return str(caught.value)


def test_what_does_not_fit_is_named():
    case = CASES["resnet18"]()
    state = case.theirs.state_dict()
    del state["layer3.1.bn2.running_mean"], state["fc.bias"]
    state |= {"fc.scale": torch.ones(5), "ema.decay": torch.ones(()), "fc.weight": torch.ones(7, 32)}
    message = refusal(state, case.build())
    assert message.startswith("some.pt: does not fit the network in the layout 'torchvision' (the closest). ")
    assert "2 missing: layer3.1.bn2.running_mean, fc.bias;" in message
    assert "2 surplus: fc.scale, ema.decay;" in message
    assert message.endswith("1 of another shape: fc.weight is (7, 32), the network's (5, 32)")


def test_the_list_of_names_is_short():
    message = refusal(CASES["resnet18"]().theirs.state_dict(), CASES["resnet34"]().build(), "torchvision")
    assert "80 missing: layer1.2.conv1.weight, layer1.2.bn1.weight, layer1.2.bn1.bias, " in message
    assert message.count(",") < 15
    assert "and 75 more" in message


def test_missing_thresholds_have_the_name_of_the_layout():
    case = CASES["qcfs resnet20"]()
    state = case.theirs.state_dict()
    del state["conv1.2.thresh"], state["conv4_x.2.act.thresh"]
    assert "2 missing: conv1.2.thresh, conv4_x.2.act.thresh" in refusal(state, case.build())
    assert "missing: stem.2.bound, blocks.0.activation1.bound" in refusal(
        CASES["resnet20"]().theirs.state_dict(), case.build(), "torchvision"
    )


@pytest.mark.parametrize("value", [-0.25, 0.0, float("nan")])
def test_a_learned_threshold_that_is_not_above_0_is_refused(value):
    case = CASES["qcfs resnet18, first version"]()
    state = case.theirs.state_dict()
    state["conv3_x.0.relu.up"].fill_(value)
    message = refusal(state, case.build())
    assert f"the learned threshold 'conv3_x.0.relu.up' is {value:g}; thresholds must be above 0" in message


def test_layouts_that_do_not_exist():
    network = CASES["resnet18"]().build()
    assert "there is no layout 'keras'; there are: auto, own, torchvision, qcfs" in refusal({}, network, "keras")
    mobile = CASES["mobilenet_v2"]().build()
    assert "no names in the layout 'qcfs'" in refusal({"a": torch.ones(1)}, mobile, "qcfs")
    assert "holds no tensors under epoch, optimizer" in refusal({"epoch": 1, "optimizer": {}}, network)


def test_files_that_are_no_state_dicts(tmp_path):
    class Bomb:
        def __reduce__(self):
            return print, ("boom",)

    def read(content):
        torch.save(content, tmp_path / "file.pt")
        return checkpoints.read(tmp_path / "file.pt")

    with pytest.raises(InputError, match=r"holds more than tensors \(\S*print\).*weights_only=False"):
        read({"weight": Bomb()})
    with pytest.raises(InputError, match=r"holds more than tensors \(argparse.Namespace\)"):
        read({"state_dict": {}, "args": argparse.Namespace(lr=1)})
    with pytest.raises(InputError, match="holds a list; a state dict was expected"):
        read([1, 2])
    with pytest.raises(InputError, match="there is no such file"):
        checkpoints.read(tmp_path / "absent.pt")
    whole = (tmp_path / "file.pt").read_bytes()
    for damaged in (b"", b"PK\x03\x04", b"some text\n", whole[: len(whole) // 2]):
        (tmp_path / "damaged.pt").write_bytes(damaged)
        with pytest.raises(InputError, match=r"is no file of torch\.save, or damaged"):
            checkpoints.read(tmp_path / "damaged.pt")


def run(*arguments):
    application = typer.Typer()
    application.command()(checkpoints.main)
    return CliRunner().invoke(application, [str(argument) for argument in arguments])


def test_command(tmp_path):
    network = lifelike("resnet20", "qcfs", classes=7)
    torch.save({"network": network.state_dict(), "epoch": 3}, tmp_path / "own.pt")
    out = tmp_path / "weights.h5"
    options = ["--network", "resnet20", "--shape", "3,8,8", "--activation", "qcfs", "--mean", "0.5,0.5,0.25"]
    result = run(tmp_path / "own.pt", *options, "--width", 4, "--out", out)
    assert result.exit_code == 0, result.output
    assert "layout 'own'" in result.output
    model = project.read(out)
    assert model.graph.preprocessing == graph.Preprocessing(scale=255.0, mean=(0.5, 0.5, 0.25), std=(1.0,))
    x = np.random.default_rng(0).random((2, 3, 8, 8))
    with torch.no_grad():
        expected = network.double()(torch.tensor(x)).numpy()
    np.testing.assert_allclose(forward(model.graph, x), expected, rtol=1e-9, atol=1e-9)

    wrong = run(tmp_path / "own.pt", *options, "--width", 5, "--out", out)
    assert wrong.exit_code == 2
    assert "of another shape: stem.0.weight is (4, 3, 3, 3), the network's (5, 3, 3, 3)" in wrong.output
    shape = run(tmp_path / "own.pt", *options[:2], "--shape", "8,8", "--activation", "relu", "--out", out)
    assert shape.exit_code == 2
    assert "--shape 8,8: 3 numbers separated by commas were expected" in shape.output
