"""Refined conversion: its view of the ANN is the ANN, its view of the spikes is the simulator's, and it pays."""

from __future__ import annotations

import numpy as np
import pytest

from refsnn.ann import graph as ann
from refsnn.ann.forward import forward, forward_images, pixels
from refsnn.convert import Calibration, convert, fit, preset
from refsnn.convert.lower import lower
from refsnn.convert.normalise import normalise
from refsnn.convert.quantise import quantise
from refsnn.convert.refine import Refiner
from refsnn.errors import InputError
from refsnn.network import UNTIL_QUIET, Network
from refsnn.simulate import simulate
from tests.convert.graphs import FAMILIES, Builder

UNIT = ann.Preprocessing(scale=255.0)
CENTRED = ann.Preprocessing(scale=127.5, mean=(1.0,))
METHODS = [
    ("ecl", {}),
    ("ecl", {"drain": UNTIL_QUIET, "refine": "means"}),
    ("ecl", {"drain": 2, "weight_bits": 4}),
    ("snm", {}),
    ("qcfs", {"membrane_bits": 10}),
    ("spikeconverter", {"weight_bits": 4}),
    ("spikeconverter-rate", {"threshold": "max", "per_channel": True}),
]


def images(graph: ann.Graph, count: int, seed: int = 5) -> np.ndarray:
    """Noise of a coarse grain, so that neighbouring pixels and channels have something in common."""
    channels, height, width = graph.input.shape
    random = np.random.default_rng(seed)
    grain = random.uniform(0, 255, (count, channels, height // 4 + 1, width // 4 + 1)).repeat(4, 2).repeat(4, 3)
    noise = random.normal(0, 20, (count, channels, height, width))
    return np.clip(grain[:, :, :height, :width] + noise, 0, 255).astype(np.uint8)


def refined(graph: ann.Graph, method: str, steps: int, calibration: Calibration, **settings) -> Network:
    chosen = preset(method, refine="all", **settings)
    return convert(graph, chosen, steps, preprocessing=calibration.preprocessing, calibration=calibration).network


class Counts:
    """A recorder that keeps every population's net counts or codes."""

    def __init__(self) -> None:
        self.found: dict[str, list[np.ndarray]] = {}

    def wants(self, image: int) -> bool:
        return True

    def record(self, steps, image, population, activity) -> None:
        if activity.count is not None:
            self.found.setdefault(population, []).append(activity.count[-1])


@pytest.mark.parametrize("family", FAMILIES, ids=lambda f: f.__name__)
@pytest.mark.parametrize(("method", "settings"), METHODS, ids=lambda v: v if isinstance(v, str) else "-".join(v))
def test_it_sees_what_the_ann_and_the_integers_do(family, method, settings):
    """On every kind of graph: reals are the forward pass, events the simulator's, bit for bit."""
    graph = normalise(family(3)[1].graph())
    data = images(graph, 7)
    calibration = Calibration.measure(graph, data, CENTRED, threads=1)
    chosen = preset(method, **{"refine": "all", **settings})
    refiner = Refiner(chosen, 3, calibration)
    populations = lower(graph)
    for population in populations:
        refiner.add(population)

    values: dict[str, np.ndarray] = {}
    forward(graph, pixels(data, CENTRED.table(3)), lambda op, value: values.update({op.name: value.copy()}))
    for population in populations:
        if population.kind in ("rectified", "signed"):
            real = refiner.reals[population.name]
            np.testing.assert_allclose(real, values[population.operation], rtol=1e-4, atol=1e-4)

    network = convert(graph, chosen, 3, preprocessing=CENTRED, calibration=calibration).network
    recorder = Counts()
    simulate(network, data, 3, threads=1, record=recorder)
    assert recorder.found
    for name, counts in recorder.found.items():
        np.testing.assert_array_equal(refiner.events[name].sum(axis=1), np.array(counts), err_msg=name)


@pytest.mark.parametrize("family", FAMILIES, ids=lambda f: f.__name__)
def test_what_was_fitted_is_what_was_rounded(family):
    graph = family(3)[1].graph()
    chosen = preset("ecl", refine="weights,means")
    fitted = fit(graph, chosen, 3, CENTRED, Calibration.measure(graph, images(graph, 7), CENTRED, threads=1))
    again = quantise(fitted.populations, fitted.theta, chosen, 3, CENTRED)
    for found, expected in zip(fitted.quantised.projections, again.projections, strict=True):
        np.testing.assert_array_equal(found.weights, expected.weights)
    for found, expected in zip(fitted.quantised.populations, again.populations, strict=True):
        np.testing.assert_array_equal(getattr(found, "bias", 0), getattr(expected, "bias", 0))


@pytest.mark.parametrize(
    ("method", "steps", "bits"),
    [("spikeconverter", 2, 8), ("spikeconverter", 3, 4), ("spikeconverter-rate", 4, 8), ("ecl", 4, 8), ("ecl", 4, 4)],
)
def test_it_pays(method, steps, bits):
    """Closer to the ANN, on images that it did not see, than the best thresholds alone."""
    ratios = []
    for family in (FAMILIES[0], FAMILIES[2], FAMILIES[4]):
        graph = family(1)[1].graph()
        calibration = Calibration.measure(graph, images(graph, 200), UNIT, threads=1)
        data = images(graph, 100, seed=6)
        expected = forward_images(graph, data, UNIT, threads=1)
        plain = preset(method, threshold="mse", per_channel=True, weight_bits=bits)
        networks = [
            convert(graph, plain, steps, preprocessing=UNIT, calibration=calibration).network,
            refined(graph, method, steps, calibration, weight_bits=bits),
        ]
        before, after = [
            np.square(simulate(network, data, steps, threads=1).logits[0] - expected).mean() for network in networks
        ]
        ratios.append(after / before)
    assert max(ratios) < 1
    assert np.mean(ratios) < 0.9


def test_weights_stay_in_their_bits_and_threads_change_nothing():
    graph = FAMILIES[2](2)[1].graph()
    data = images(graph, 40)
    digests = set()
    for threads in (1, 3):
        calibration = Calibration.measure(graph, data, UNIT, threads=threads)
        network = refined(graph, "ecl", 3, calibration, weight_bits=3)
        digests.add(network.digest())
        assert max(np.abs(p.weights).max() for p in network.projections if p.kind != "identity") <= 3
    assert len(digests) == 1


def test_learned_thresholds_stay():
    b = Builder(4)
    x = b.relu(b.conv("input", 6), bound=np.array(0.9))
    graph = (b.dense(b.flatten(b.relu(b.conv(x, 6), bound=np.array(0.7))), 4), b.graph())[1]
    network = refined(graph, "ecl", 4, Calibration.measure(graph, images(graph, 20), UNIT, threads=1))
    for population, bound in zip(network.spiking, (0.9, 0.7), strict=True):
        np.testing.assert_allclose(population.amplitude, bound)


def test_a_dead_network_stays_silent():
    """Channels, and whole layers, that never see anything but zeros neither fire nor fail."""
    b = Builder(0)
    dark = b.add(ann.Conv(name="dark", inputs=("input",), weights=np.zeros((4, 3, 1, 1)), bias=-np.ones(4)))
    graph = (b.dense(b.flatten(b.relu(b.conv(b.relu(dark), 5))), 4), b.graph())[1]
    data = images(graph, 10)
    for method in ("ecl", "spikeconverter"):
        network = refined(graph, method, 2, Calibration.measure(graph, data, UNIT, threads=1))
        result = simulate(network, data, 2, threads=1)
        assert not result.spikes["relu_2" if "relu_2" in result.spikes else next(iter(result.spikes))].any()
        expected = forward_images(graph, data, UNIT, threads=1)
        np.testing.assert_allclose(result.logits[0], expected, atol=0.05 * np.abs(expected).max())


def test_bad_use():
    graph = FAMILIES[0](0)[1].graph()
    with pytest.raises(InputError, match="refining needs calibration images"):
        convert(graph, preset("ecl", refine="all"), 4)
    with pytest.raises(InputError, match="give one T"):
        convert(graph, preset("ecl", refine="all"), (2, 4))
    with pytest.raises(InputError, match="weights, rounding, means"):
        preset("ecl", refine="weights,biases")
    with pytest.raises(InputError, match="until quiet"):
        preset("qcfs", refine="all", drain=UNTIL_QUIET)
