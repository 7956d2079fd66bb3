"""The zoo: the published shapes, exported without loss, converted by every method, and run in integers."""

from __future__ import annotations

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from torch import nn  # noqa: E402

import refsnn  # noqa: E402
from refsnn.ann import graph  # noqa: E402
from refsnn.ann.forward import forward  # noqa: E402
from refsnn.network import UNTIL_QUIET  # noqa: E402
from tests.test_lossless import quantised_ann  # noqa: E402
from tests.tools.zoo import SIZES, lifelike  # noqa: E402
from tools import export, networks  # noqa: E402

PIXELS = graph.Preprocessing(scale=255.0)
VARIANTS = [
    ("resnet8", {}),
    ("resnet18", {}),
    ("resnet18", {"stem": "imagenet", "pool": "max"}),
    ("resnet20", {}),
    ("resnet20", {"stem": "imagenet", "pool": "average"}),
    ("resnet34", {}),
    ("vgg16", {"hidden": 64}),
    ("vgg16", {"pool": "max", "hidden": 0}),
    ("mobilenet_v2", {}),
    ("mobilenet_v2", {"stem": "imagenet", "bottleneck": "rectified"}),
]


def relu(name, shape=(3, 32, 32), classes=10, **options):
    return networks.build(name, shape, classes, nn.ReLU, **options)


def parameters(module):
    return sum(parameter.numel() for parameter in module.parameters())


def test_published_sizes():
    """Numbers of parameters as published: He et al., tables 1 and 6; torchvision's pages of its models."""
    assert parameters(relu("resnet20", width=16)) == 272_474  # 0.27 M, and two shortcuts of option B
    assert parameters(relu("resnet18", classes=1000, stem="imagenet", pool="max")) == 11_689_512
    assert parameters(relu("resnet34", classes=1000, stem="imagenet", pool="max")) == 21_797_672
    with torch.device("meta"):
        assert parameters(relu("vgg16", (3, 224, 224), 1000, pool="max")) == 138_365_992
    assert parameters(relu("mobilenet_v2", classes=1000, stem="imagenet")) == 3_504_872


@pytest.mark.parametrize(
    ("name", "options", "size", "expected"),
    [
        ("resnet18", {}, 32, (512, 4, 4)),
        ("resnet18", {"stem": "imagenet"}, 64, (512, 2, 2)),
        ("resnet20", {}, 32, (64, 8, 8)),
        ("vgg16", {}, 32, (512, 1, 1)),
        ("vgg16", {}, 28, (512, 1, 1)),
        ("mobilenet_v2", {}, 32, (320, 4, 4)),
        ("mobilenet_v2", {"stem": "imagenet"}, 64, (320, 2, 2)),
    ],
)
def test_last_map(name, options, size, expected):
    network = relu(name, (3, size, size), **options).eval()
    shapes = []
    body = network.features if name == "vgg16" else network.blocks
    body.register_forward_hook(lambda module, inputs, output: shapes.append(tuple(output.shape[1:])))
    assert network(torch.zeros(1, 3, size, size)).shape == (1, 10)
    assert shapes == [expected]


CASES = [(*variant, kind) for variant in VARIANTS for kind in ("relu", "qcfs")]
CASES += [(*variant, kind) for variant in VARIANTS[2::3] for kind in ("relu6", "clip")]


@pytest.mark.parametrize(("name", "options", "kind"), CASES)
def test_exported_converted_and_run(name, options, kind):
    network = lifelike(name, kind, **options)
    side = SIZES[name]
    exported = export.export(network, (3, side, side), PIXELS)
    images = np.random.default_rng(0).integers(0, 256, (6, 3, side, side)).astype(np.uint8)
    x = images[:2] / 255
    with torch.no_grad():
        expected = network.double()(torch.tensor(x)).numpy()
    np.testing.assert_allclose(forward(exported, x), expected, rtol=1e-9, atol=1e-9)
    # Without learned bounds, and between linear bottlenecks always, thresholds come from images.
    learned = kind in ("clip", "qcfs") and (name != "mobilenet_v2" or "bottleneck" in options)
    for method, steps in (("ecl", 2), ("qcfs", 2), ("opi", 2), ("spikeconverter", 5)):
        converted = refsnn.convert(exported, method, steps, calibration=None if learned else images[2:])
        result = refsnn.simulate(converted, images[:2], steps, threads=1)
        assert np.isfinite(result.logits).all()
        assert next(iter(result.spikes.values())) > 0
    assert min(result.spikes.values()) > 0  # with 31 levels something arrives everywhere
    if name in ("resnet8", "vgg16") and kind != "qcfs":  # random weights amplify what rounding does, layer by layer
        assert np.abs(result.logits[0] - expected).max() <= 0.3 * np.abs(expected).max()


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("resnet18", {}),
        ("resnet20", {"stem": "imagenet"}),
        ("vgg16", {"hidden": 64}),
        ("mobilenet_v2", {"bottleneck": "rectified"}),
    ],
)
def test_nothing_is_lost_with_learned_thresholds(name, options):
    """Without calibration images, at T = L: each spiking network is its quantised ANN in whole numbers."""
    side = SIZES[name]
    exported = export.export(lifelike(name, "qcfs", **options), (3, side, side), PIXELS)
    images = np.random.default_rng(0).integers(0, 256, (3, 3, side, side)).astype(np.uint8)
    for method, settings in (("spikeconverter-rate", {}), ("ecl", {"drain": UNTIL_QUIET})):
        converted = refsnn.convert(exported, method, 4, **settings)
        result = refsnn.simulate(converted, images, 4, threads=1)
        np.testing.assert_array_equal(result.membranes[0], quantised_ann(converted, images, 4))


def test_wrong_name_option_and_value():
    with pytest.raises(ValueError, match="there is no network 'resnet50'"):
        relu("resnet50")
    with pytest.raises(ValueError, match="'vgg16' has no stem to choose"):
        relu("vgg16", stem="cifar")
    with pytest.raises(ValueError, match="the stem 'tall' is none of: cifar, imagenet"):
        relu("resnet18", stem="tall")
    with pytest.raises(ValueError, match="the pool 'min' is none of: average, max"):
        relu("vgg16", pool="min")
    with pytest.raises(ValueError, match="the bottleneck 'open' is none of: linear, rectified"):
        relu("mobilenet_v2", bottleneck="open")
