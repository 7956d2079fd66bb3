"""SpikingJelly's integrate-and-fire neuron sends the same spikes where its arithmetic is exact (extra ``peers``)."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from refsnn.network import NO_CAP
from refsnn.simulate import simulate
from tests.test_simulate import small

torch = pytest.importorskip("torch", reason="install it with: pip install 'refsnn[peers]'")
try:
    from spikingjelly.activation_based import neuron
except ImportError:
    pytest.skip("SpikingJelly is not installed: pip install 'refsnn[peers]'", allow_module_level=True)


class Events:
    """A recorder of every population's events and membranes."""

    def __init__(self):
        self.activities = {}

    def wants(self, image):
        return True

    def record(self, steps, image, population, activity):
        self.activities[population, image] = activity


@pytest.mark.parametrize("threshold", [64, 600, 4096])
def test_spikes_and_membranes_are_the_same(threshold):
    """Weights, thresholds and pixels are integers below 2^24: exact in float64, so nothing may differ."""
    steps, number = 8, 4
    network = small(neuron="if", cap=NO_CAP, threshold=threshold, channels=(9, 7))
    first = dataclasses.replace(network.projections[0], shift=None)
    weights = (first.weights.astype(np.int16) // 16).astype(np.int8)
    first = dataclasses.replace(first, weights=weights)
    network = dataclasses.replace(network, projections=(first, *network.projections[1:]))
    images = np.random.default_rng(1).integers(0, 256, (number, 2, 5, 5)).astype(np.uint8)
    events = Events()
    result = simulate(network, images, steps, record=events)

    def peer(values):
        return torch.from_numpy(values.astype(np.float64))

    sent = peer(images).expand(steps, *images.shape)
    for name, projection in (("a", network.projections[0]), ("b", network.projections[1])):
        population = network[name]
        flat = torch.nn.functional.conv2d(
            sent.flatten(0, 1), peer(projection.weights), peer(population.bias), padding=1
        )
        currents = flat.unflatten(0, (steps, number))
        node = neuron.IFNode(v_threshold=float(threshold), v_reset=None, step_mode="m", store_v_seq=True)
        node.v = torch.full(currents.shape[1:], float(threshold >> 1), dtype=torch.float64)
        with torch.no_grad():
            sent = node(currents)
        for image in range(number):
            activity = events.activities[name, image]
            np.testing.assert_array_equal(activity.events, sent[:, image].numpy().astype(np.int64))
            np.testing.assert_array_equal(activity.membrane, node.v_seq[:, image].numpy().astype(np.int64))
        assert 0 < float(sent.mean()) < 1
    sums = sent.sum(dim=0).flatten(1) @ peer(network.projections[2].weights).T
    np.testing.assert_array_equal(result.membranes[0], sums.numpy().astype(np.int64))
