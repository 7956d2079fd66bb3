"""The export from PyTorch: the graph computes what the module computes, and what has no counterpart is refused."""

from __future__ import annotations

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from torch import nn  # noqa: E402
from torch.nn import functional  # noqa: E402

from refsnn.ann import graph, project  # noqa: E402
from refsnn.ann.forward import forward  # noqa: E402
from refsnn.errors import InputError  # noqa: E402
from tools import activations, export, networks  # noqa: E402

IMAGE = (3, 12, 12)


def scrambled(module: nn.Module) -> nn.Module:
    """Random batch-norm statistics and bounds, without which many a mistake would not show."""
    generator = torch.Generator().manual_seed(1)
    for part in module.modules():
        if isinstance(part, nn.BatchNorm1d | nn.BatchNorm2d):
            part.running_mean.normal_(generator=generator)
            part.running_var.uniform_(0.5, 2, generator=generator)
            if part.affine:
                nn.init.uniform_(part.weight, 0.5, 2, generator=generator)
                nn.init.normal_(part.bias, generator=generator)
        if isinstance(part, activations.QCFS | activations.Clip):
            nn.init.uniform_(part.bound, 1, 3, generator=generator)
    return module


def agrees(module: nn.Module, shape: tuple[int, ...] = IMAGE) -> graph.Graph:
    """Export, and compare in the module's own single precision."""
    torch.manual_seed(0)
    module = scrambled(module).eval()
    exported = export.export(module, shape)
    x = torch.randn(5, *shape)
    expected = module(x).detach().numpy()
    np.testing.assert_allclose(forward(exported, x.double().numpy()), expected, rtol=1e-5, atol=1e-5)
    return exported


@pytest.mark.parametrize("name", networks.NETWORKS)
@pytest.mark.parametrize("kind", ["relu", "clip"])
def test_zoo(name, kind):
    agrees(networks.build(name, (1, 16, 16), 10, lambda: activations.activation(kind), 4), (1, 16, 16))


def test_qcfs_network_carries_bounds_and_levels():
    module = scrambled(networks.build("resnet8", IMAGE, 10, lambda: activations.activation("qcfs", 4), 4))
    exported = export.export(module, IMAGE)
    bounds = {name: p.item() for name, p in module.named_parameters() if name.endswith("bound")}
    found = {f"{op.name}.bound": float(op.bound) for op in exported if isinstance(op, graph.ReLU)}
    assert found == bounds
    assert len(found) == 7
    assert all(op.levels == 4 for op in exported if isinstance(op, graph.ReLU))


class Functions(nn.Module):
    """Functions and methods instead of layers."""

    def __init__(self):
        super().__init__()
        self.first = nn.Conv2d(3, 8, 3, padding="same", dilation=2)
        self.depthwise = nn.Conv2d(8, 8, (3, 1), (2, 1), padding=(1, 0), groups=8)
        self.pointwise = nn.Conv2d(8, 12, 1, padding="valid")
        self.norm = nn.BatchNorm2d(12, affine=False)

    def forward(self, x):
        x = functional.relu(self.first(x))
        x = torch.clamp(self.depthwise(x), 0, 1.5)
        x = functional.relu6(self.norm(self.pointwise(functional.dropout(x, 0.5, self.training))))
        x = functional.max_pool2d(functional.pad(x, (1, 1, 2, 0)), (2, 2), stride=(1, 2))
        y = functional.avg_pool2d(x, 3, 1, padding=1, count_include_pad=False)
        x = torch.cat([x, (y + x).clamp(min=0)], 1)
        return functional.adaptive_avg_pool2d(x, (1, 7))


class Shortcuts(nn.Module):
    """Option A of CIFAR ResNets, a mean as global pooling, a reshape by the input's size, and a softmax."""

    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(3, 8, 3, 2, 1, bias=False)
        self.dense = nn.Linear(8 * 36, 8)
        self.last = nn.Linear(8, 4)

    def forward(self, x):
        y = torch.relu(self.conv(x) + functional.pad(x[:, :, ::2, ::2], (0, 0, 0, 0, 2, 3)))
        z = torch.add(self.dense(y.view(y.size(0), -1)), y.mean(dim=(-2, -1)))
        return self.last(z.contiguous())


def test_layers():
    exported = agrees(
        nn.Sequential(
            nn.ZeroPad2d((1, 0, 2, 1)),
            nn.Conv2d(3, 8, 3, padding=1),
            nn.BatchNorm2d(8),
            nn.ReLU6(),
            nn.MaxPool2d(3, 2, padding=1),
            nn.Dropout2d(),
            nn.AvgPool2d(2, padding=1),
            nn.Hardtanh(0, 2),
            nn.AdaptiveAvgPool2d((1, 2)),
            nn.Flatten(),
            nn.Dropout(),
            nn.Linear(16, 16, bias=False),
            nn.BatchNorm1d(16),
            nn.ReLU(),
            nn.Unflatten(1, (4, 2, 2)),
            nn.Identity(),
            nn.Flatten(),
            nn.Linear(16, 4),
        )
    )
    assert exported["3"].maximum == 6
    assert exported["7"].maximum == 2


def test_functions_and_methods():
    exported = agrees(Functions())
    pooled = [op for op in exported if isinstance(op, graph.AveragePool)]
    assert [op.count_padding for op in pooled] == [False, True]
    assert [op.maximum for op in exported if isinstance(op, graph.ReLU)] == [None, 1.5, 6, None]


def test_parameter_free_shortcut():
    exported = agrees(Shortcuts())
    (channels,) = (op for op in exported if isinstance(op, graph.PadChannels))
    assert (channels.before, channels.after) == (2, 3)


@pytest.mark.parametrize("last", [nn.Softmax(dim=1), nn.Sigmoid()])
def test_output_layer(last):
    exported = export.export(nn.Sequential(nn.Flatten(), nn.Linear(432, 5), last), IMAGE)
    assert type(exported.output).__name__ == type(last).__name__


def test_one_layer_used_twice_is_two_operations():
    class Twice(nn.Module):
        def __init__(self):
            super().__init__()
            self.conv = nn.Conv2d(3, 3, 3, padding=1)

        def forward(self, x):
            return self.conv(torch.relu(self.conv(x)))

    exported = agrees(Twice())
    first, second = (op for op in exported if isinstance(op, graph.Conv))
    assert first.name != second.name
    np.testing.assert_array_equal(first.weights, second.weights)


def test_module_is_left_as_it_was():
    module = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.ReLU()).train()
    before = {name: value.clone() for name, value in module.state_dict().items()}
    export.export(module, IMAGE)
    assert module.training
    assert all(torch.equal(value, before[name]) for name, value in module.state_dict().items())


def test_half_precision_takes_half_the_space(tmp_path):
    module = scrambled(networks.build("cnn", (1, 12, 12), 10, lambda: activations.activation("qcfs"), 32)).eval()
    sizes = []
    for name in ("whole", "half"):
        path = tmp_path / f"{name}.h5"
        project.write(path, export.export(module, (1, 12, 12)), writer="test")
        sizes.append(path.stat().st_size)
        before = {key: value.clone() for key, value in module.state_dict().items()}
        export.halve(module)
    assert sizes[1] < 0.6 * sizes[0]
    for key, value in module.state_dict().items():  # rounded once, and only what is large
        assert torch.equal(value, before[key])
    assert (module.conv0.weight == module.conv0.weight.half()).all()
    assert (module.norm0.weight != module.norm0.weight.half()).any()


class Lambda(nn.Module):
    def __init__(self, function):
        super().__init__()
        self.function = function

    def forward(self, x):
        return self.function(x)


@pytest.mark.parametrize(
    ("module", "message"),
    [
        (nn.LeakyReLU(), "layer '_1'.*LeakyReLU is not supported"),
        (nn.GELU(), "GELU is not supported"),
        (nn.Conv2d(3, 4, 3, padding=1, padding_mode="reflect"), "padding mode 'reflect'"),
        (nn.BatchNorm2d(3, track_running_stats=False), "without running statistics"),
        (nn.MaxPool2d(3, 2, ceil_mode=True), "ceil_mode"),
        (nn.AvgPool2d(2, divisor_override=3), "divisor_override"),
        (nn.AdaptiveAvgPool2d(5), "windows of several sizes"),
        (nn.Hardtanh(), "clip from -1.0 to 1.0"),
        (nn.Softmax(dim=2), "along axis 2"),
        (Lambda(lambda x: x * 2), "layer 'mul': call function mul"),
        (Lambda(lambda x: x + 1), "layer 'add': the constant 1"),
        (Lambda(lambda x: torch.add(x, x, alpha=2)), "alpha = 2"),
        (Lambda(lambda x: x.abs()), "layer 'abs_1': call method abs"),
        (Lambda(lambda x: x[:, 1:]), "index"),
        (Lambda(lambda x: torch.cat([x, x], 2)), "along axis 2"),
        (Lambda(lambda x: functional.pad(x, (1, 1, 1, 1), value=1.0)), "padding by"),
        (Lambda(lambda x: functional.pad(x, (-1, 1))), "padding by"),
        (Lambda(lambda x: x.mean()), "batch axis|mean over None"),
        (Lambda(lambda x: (x, x)), "returns several values"),
        (Lambda(lambda x: x if x.sum() > 0 else -x), "torch.fx cannot trace"),
        (nn.Conv2d(4, 4, 3), "torch.fx cannot trace"),
    ],
)
def test_refused_by_name(module, message):
    with pytest.raises(InputError, match=message):
        export.export(nn.Sequential(nn.Conv2d(3, 3, 1), module), IMAGE)


def test_a_trace_that_hides_state_is_noticed():
    class Moody(nn.Module):
        calls = 0

        def forward(self, x):
            Moody.calls += 1
            return torch.relu(x) if Moody.calls == 1 else torch.relu(x) + x

    with pytest.raises(InputError, match="differs from the module"):
        export.export(Moody(), IMAGE)
