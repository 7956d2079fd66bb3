"""The network with gradients: forward the simulator's integers, backward a way downhill."""

from __future__ import annotations

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from refsnn.convert import Calibration, finish, fit, preset  # noqa: E402
from refsnn.simulate import simulate  # noqa: E402
from tests.convert.graphs import FAMILIES, channels_last, mobile  # noqa: E402
from tests.convert.test_refine import CENTRED, METHODS, images  # noqa: E402
from tools.spiking import SpikingNetwork  # noqa: E402

KINDS = {"weights": 0.8, "bias": 0.8, "theta": 0.6}
"""Of the parameters, and how much of a promise is kept at least."""


@pytest.mark.parametrize("family", FAMILIES, ids=lambda f: f.__name__)
@pytest.mark.parametrize(("method", "settings"), METHODS, ids=lambda v: v if isinstance(v, str) else "-".join(v))
def test_forward_it_is_the_integers(family, method, settings):
    graph = family(3)[1].graph()
    data = images(graph, 7)
    calibration = Calibration.measure(graph, data, CENTRED, threads=1)
    chosen = preset(method, **settings)
    fitted = fit(graph, chosen, 3, CENTRED, calibration)
    network = SpikingNetwork(fitted, chosen, 3, CENTRED)
    integers = finish(network.refitted(), chosen, [3]).network
    logits = simulate(integers, data, 3, threads=1).logits[0]
    found = network(torch.from_numpy(data)).detach().numpy()
    np.testing.assert_allclose(found, logits, rtol=1e-5, atol=1e-6)
    unit = integers.readout.unit
    np.testing.assert_array_equal(np.rint(found / unit * 12), np.rint(logits / unit * 12))


@pytest.mark.parametrize(("method", "steps"), [("spikeconverter", 8), ("ecl", 64)])
@pytest.mark.parametrize("family", [channels_last, mobile], ids=lambda f: f.__name__)
def test_backward_it_is_the_slope_where_steps_are_fine(family, method, steps):
    """A step along a tensor's gradient changes the integers' logits by what the gradient promises."""
    graph = family(3)[1].graph()
    data = images(graph, 24)
    chosen = preset(method, threshold="percentile:90", per_channel=True)
    fitted = fit(graph, chosen, steps, CENTRED, Calibration.measure(graph, data, CENTRED, threads=1))
    network = SpikingNetwork(fitted, chosen, steps, CENTRED)
    direction = torch.tensor(np.random.default_rng(1).normal(size=(24, 5)), dtype=torch.float32)

    def value() -> torch.Tensor:
        return (network(torch.from_numpy(data)) * direction).sum()

    value().backward()
    changed, promised = dict.fromkeys(KINDS, 0.0), dict.fromkeys(KINDS, 0.0)
    for name, parameter in network.named_parameters():
        gradient = parameter.grad
        step = 0.05 * parameter.detach().norm() / gradient.norm() * gradient
        with torch.no_grad():
            parameter += step
            after = value().item()
            parameter -= 2 * step
            before = value().item()
            parameter += step
        kind = next(kind for kind in KINDS if kind in name)
        changed[kind] += (after - before) / 2
        promised[kind] += (step * gradient).sum().item()
    # Neurons begin and cease to be clipped on the way, and of thresholds only these feel anything.
    for kind, low in KINDS.items():
        assert low < changed[kind] / promised[kind] < 1.25, kind
