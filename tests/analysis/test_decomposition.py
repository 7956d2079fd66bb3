"""The conversion error's three parts, against definitions written out for one neuron at a time."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from refsnn.analysis.decomposition import bits_needed, decompose, width_histogram
from refsnn.analysis.diagnosis import diagnose
from refsnn.ann.graph import Preprocessing
from refsnn.convert import convert, preset
from refsnn.network import CAP_STEPS, Schedule, Spiking
from tests.small import classifier, images


def population(thresholds, units, neuron="dual", schedule=None, size=3):
    channels = len(thresholds)
    threshold = np.array(thresholds, np.int32)
    return Spiking(
        name="layer",
        shape=(channels, size, 1),
        neuron=neuron,
        threshold=threshold,
        negative_threshold=np.zeros(channels, np.int32),
        initial_membrane=threshold >> 1,
        bias=np.zeros(channels, np.int32),
        cap=CAP_STEPS,
        unit=np.array(units, np.float64),
        schedule=schedule or Schedule(),
    )


def by_hand(neurons, total, sent, steps):
    """The definitions of the module's docstring in exact fractions, neuron by neuron."""
    base, signed = neurons.schedule.base, neurons.neuron == "signed"
    levels = steps if base == 1 else 2**steps - 1
    sums = [Fraction(0)] * 4
    for index in np.ndindex(total.shape):
        h, unit = int(neurons.threshold[index[1]]), Fraction(float(neurons.unit[index[1]]))
        current = int(total[index])
        z = current * unit / (steps if base == 1 else 1)
        theta = h * unit * (1 if base == 1 else levels)
        ideal = z if signed else max(z, Fraction(0))
        clipped = min(max(z, -theta if signed else Fraction(0)), theta)
        q = min(max((current + h // 2) // h, -levels if signed else 0), levels)
        quantised, actual = theta / levels * q, theta / levels * int(sent[index])
        for place, part in enumerate((ideal, ideal - clipped, clipped - quantised, quantised - actual)):
            sums[place] += abs(part)
    size = sums[0]
    return [float(part / size) if size else 0.0 for part in sums[1:]]


@given(
    seed=st.integers(0, 2**32 - 1),
    steps=st.integers(1, 9),
    neuron=st.sampled_from(["if", "dual", "signed"]),
    schedule=st.sampled_from([Schedule(), Schedule(separated=True), Schedule(separated=True, base=2)]),
)
def test_equals_the_definitions(seed, steps, neuron, schedule):
    random = np.random.default_rng(seed)
    neurons = population(random.integers(1, 40, 2), random.uniform(0.01, 2, 2), neuron, schedule)
    total = random.integers(-400, 400, (4, *neurons.shape))
    sent = random.integers(-steps, steps + 1, total.shape)
    found = decompose(neurons, total, sent, steps)
    expected = by_hand(neurons, total, sent, steps)
    np.testing.assert_allclose([found.clipping, found.quantisation, found.unevenness], expected, rtol=1e-9, atol=1e-12)


def test_each_part_alone():
    neurons = population([10], [0.5])
    one = np.ones((1, 1, 3, 1), np.int64)
    clipped = decompose(neurons, 80 * one, 4 * one, 4)  # twice what four spikes can carry
    assert (clipped.clipping, clipped.quantisation, clipped.unevenness) == (0.5, 0.0, 0.0)
    between = decompose(neurons, 24 * one, 2 * one, 4)
    assert (between.clipping, between.unevenness) == (0.0, 0.0)
    assert between.quantisation == pytest.approx(4 / 24)
    uneven = decompose(neurons, 20 * one, 3 * one, 4)
    assert (uneven.clipping, uneven.quantisation, uneven.unevenness) == (0.0, 0.0, 0.5)
    silent = decompose(neurons, -5 * one, 0 * one, 4)
    assert (silent.clipping, silent.quantisation, silent.unevenness) == (0.0, 0.0, 0.0)


@given(st.lists(st.integers(-(2**31), 2**31 - 1), min_size=1, max_size=30))
def test_bits_needed(values):
    found = bits_needed(np.array(values, np.int32))
    for value, bits in zip(values, found, strict=True):
        assert -(2 ** (bits - 1)) <= value < 2 ** (bits - 1)
        assert bits == 1 or not -(2 ** (bits - 2)) <= value < 2 ** (bits - 2)
    counts = width_histogram(np.array(values, np.int32))
    assert counts.shape == (33,)
    assert counts.sum() == len(values)


@pytest.mark.parametrize("steps", [2, 4])
def test_lossless_modes_have_no_unevenness(steps):
    """Theorems 2 and 3: what is left is clipping and quantisation; plain integrate-and-fire has unevenness too."""
    graph, data = classifier(3.0), images(10, seed=4).images

    def unevenness(method, **settings):
        network = convert(graph, preset(method, **settings), steps, preprocessing=Preprocessing(scale=127.5, mean=(1,)))
        found = diagnose(network.network, data, steps, methods=(method,))
        assert found.images == 10
        assert [layer.name for layer in found.layers] == [p.name for p in network.network.spiking]
        for layer in found.layers:
            used = np.flatnonzero(layer.widths).max()
            assert used <= found.membrane_bits
            assert layer.error.quantisation > 0
        return sum(layer.error.unevenness for layer in found.layers)

    assert unevenness("ecl", drain=-1) == 0
    assert unevenness("spikeconverter-rate") == 0
    assert unevenness("spikeconverter") == 0
    assert unevenness("opi") > 0


def test_a_diagnosis_depends_on_neither_threads_nor_more_images():
    graph, data = classifier(3.0), images(100, seed=4).images
    network = convert(graph, preset("ecl"), 4).network
    one, two = (diagnose(network, data[:n], 4, methods=("ecl",), threads=t) for n, t in ((64, 1), (100, 2)))
    assert two.images == 64
    for left, right in zip(one.layers, two.layers, strict=True):
        assert left.error == right.error
        np.testing.assert_array_equal(left.widths, right.widths)
