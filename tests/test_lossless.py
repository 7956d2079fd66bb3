"""On whole trained networks the lossless modes give exactly the quantised ANN, for every image.

The quantised ANN is evaluated here by itself: no time-steps, no spikes and none of the simulator's code, but one
convolution a layer in whole numbers (float64 holds them exactly) and ``Q(S) = clip((S + v0) // threshold, 0, levels)``.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from refsnn.ann import graph as ann
from refsnn.ann.forward import evaluate
from refsnn.ann.readers import read
from refsnn.convert import convert, preset
from refsnn.network import UNTIL_QUIET, Input, Network, Projection, Spiking
from refsnn.simulate import simulate

EXAMPLES = Path(__file__).parents[1] / "examples"


def sums(projection: Projection, source: np.ndarray, target: tuple[int, ...]) -> np.ndarray:
    """What a projection adds, ``(N, *target)``, whole numbers in float64."""
    if projection.pool is not None:
        pool = projection.pool
        average = ann.AveragePool(name="pool", kernel=pool.kernel, stride=pool.stride, padding=pool.padding)
        source = np.rint(evaluate(average, [source]) * np.prod(pool.kernel))
    weights = projection.weights.astype(np.float64)
    if projection.kind == "dense":
        return (source.reshape(len(source), -1) @ weights.T).reshape(len(source), *target)
    result = np.zeros((len(source), *target))
    part = slice(projection.channel, projection.channel + len(weights))
    if projection.kind == "identity":
        step = projection.stride
        result[:, part] = source[:, :, :: step[0], :: step[1]] * weights[:, None, None]
        return result
    conv = ann.Conv(
        name="conv",
        weights=weights,
        stride=projection.stride,
        padding=projection.padding,
        dilation=projection.dilation,
        groups=projection.groups,
    )
    found = evaluate(conv, [source])
    if projection.shift is not None:
        half, divisor = (2.0**projection.shift // 2)[:, None, None], (2.0**projection.shift)[:, None, None]
        found = np.floor((found + half) / divisor)
    result[:, part] = found
    return result


def per_neuron(values: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    return values.reshape(values.shape + (1,) * (len(shape) - values.ndim)).astype(np.float64)


def quantised_ann(network: Network, images: np.ndarray, steps: int) -> np.ndarray:
    """The readout's sums ``(N, classes)``."""
    base = network.schedule.base
    levels, times = (steps, steps) if base == 1 else (2**steps - 1, 1)
    sent: dict[str, np.ndarray] = {}
    for population in network.populations:
        if isinstance(population, Input):
            channel = np.arange(population.shape[0])[:, None, None]
            sent[population.name] = population.table[channel, images].astype(np.float64)
            continue
        total = times * per_neuron(population.bias, population.shape)[None]
        for projection in network.incoming(population.name):
            factor = times if network.is_static(projection.source) else 1
            total = total + factor * sums(projection, sent[projection.source], population.shape)
        assert np.abs(total).max() < 2**53
        if not isinstance(population, Spiking):
            return total.astype(np.int64)
        threshold = per_neuron(population.threshold, population.shape)
        initial = per_neuron(population.initial_membrane, population.shape)
        sent[population.name] = np.clip(np.floor((total + initial) / threshold), 0, levels)
    raise AssertionError("a network has a readout")


MODES = [
    ("spikeconverter-rate", 4, {}),
    ("spikeconverter", 3, {}),
    ("ecl", 4, {"drain": UNTIL_QUIET}),
    ("ecl", 2, {"drain": UNTIL_QUIET, "weight_bits": 4}),
]


@pytest.mark.parametrize("name", ["digits.h5", "fashion_resnet8.h5"])
@pytest.mark.parametrize(("method", "steps", "overrides"), MODES, ids=lambda v: str(v))
def test_every_logit_is_that_of_the_quantised_ann(name, method, steps, overrides):
    model = read(EXAMPLES / name)
    images = model.test.images
    network = convert(model.graph, preset(method, **overrides), steps).network
    result = simulate(network, images, steps)
    expected = np.concatenate([quantised_ann(network, images[i : i + 100], steps) for i in range(0, len(images), 100)])
    assert len(images) == 1000
    np.testing.assert_array_equal(result.membranes[0], expected)
    assert not any(result.saturations[name].any() for name in result.saturations)


def test_without_drain_spikes_come_too_early_and_some_logits_differ():
    """The comparison above can fail: the same network without drain is not lossless."""
    model = read(EXAMPLES / "digits.h5")
    network = convert(model.graph, preset("ecl"), 4).network
    images = model.test.images[:100]
    assert (simulate(network, images, 4).membranes[0] != quantised_ann(network, images, 4)).any()
