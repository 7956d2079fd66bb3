"""The integers obey section 2 of the contract, on random networks and corner cases."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from refsnn.ann import graph as ann
from refsnn.convert import Calibration, convert, preset
from refsnn.convert.lower import lower
from refsnn.convert.normalise import normalise
from refsnn.convert.quantise import quantise
from refsnn.errors import InputError
from refsnn.network import Input, Readout, Spiking
from tests.convert.graphs import FAMILIES, Builder


def images(graph: ann.Graph, count: int = 6) -> np.ndarray:
    return np.random.default_rng(7).integers(0, 256, (count, *graph.input.shape)).astype(np.uint8)


CENTRED = ann.Preprocessing(scale=127.5, mean=(1.0,))


@given(
    family=st.sampled_from(FAMILIES),
    seed=st.integers(0, 99),
    bits=st.integers(2, 8),
    method=st.sampled_from(["ecl", "opi", "snm", "spikeconverter", "spikeconverter-rate"]),
    per_channel=st.booleans(),
    rule=st.sampled_from(["max", "percentile:95", "mse"]),
)
def test_integers_represent_the_real_numbers(family, seed, bits, method, per_channel, rule):
    graph = family(seed)[1].graph()
    settings = preset(method, weight_bits=bits, per_channel=per_channel, threshold=rule)
    calibration = Calibration.measure(graph, images(graph), CENTRED)
    network = convert(graph, settings, 3, preprocessing=CENTRED, calibration=calibration).network
    largest = 2 ** (bits - 1) - 1
    real = {p.name: p for p in lower(normalise(graph))}
    amplitude = {network.input.name: np.full(network.input.shape[0], network.input.unit)}
    for population in network.populations:
        if isinstance(population, Input):
            continue
        if not isinstance(population, Spiking | Readout):
            amplitude[population.name] = amplitude[population.source]
            continue
        unit = np.broadcast_to(population.unit, population.shape[:1])
        if isinstance(population, Spiking):
            amplitude[population.name] = population.amplitude
            assert (population.threshold >= 1).all()
            assert (population.threshold <= 1 << 14).all()
        for projection, term in zip(network.incoming(population.name), real[population.name].terms, strict=True):
            assert np.abs(projection.weights[unit[0] >= 0]).max(initial=0) <= largest or term.kind == "identity"
            source = amplitude[term.source]
            if term.kind == "conv":
                per_group = term.weights.shape[1]
                group = np.arange(len(term.weights)) // (len(term.weights) // term.groups)
                wanted = term.weights * source.reshape(-1, per_group)[group][:, :, None, None]
                rows = unit[term.channels]
            elif term.kind == "dense":
                wanted = term.weights * np.repeat(source, term.weights.shape[1] // len(source))
                rows = np.repeat(unit, len(term.weights) // len(unit))
            else:
                wanted, rows = term.weights * source, unit[term.channels]
            alive = rows > 0
            shift = 0 if projection.shift is None else projection.shift
            step = (rows / 2.0**shift)[alive].reshape(-1, *(1,) * (wanted.ndim - 1))
            got = projection.weights[alive] * step
            assert (np.abs(got - wanted[alive]) <= 0.5 * step * (1 + 1e-9)).all()
            assert not projection.weights[~alive].any()


def one_neuron(weight: float, theta: float, bits: int = 8, source_theta: float = 1.0):
    """input -> a (theta 1) -> b (theta), one weight between them."""
    b = Builder(0, (1,))
    first = b.add(ann.Dense(name="first", inputs=("input",), weights=np.array([[1.0]])))
    x = b.relu(first, bound=np.array(source_theta))
    second = b.add(ann.Dense(name="second", inputs=(x,), weights=np.array([[weight]])))
    y = b.relu(second, bound=np.array(theta))
    b.add(ann.Dense(name="out", inputs=(y,), weights=np.array([[1.0]])))
    return convert(b.graph(), preset("qcfs", weight_bits=bits), 4)


def test_threshold_is_the_floor_and_the_unit_exact():
    network = one_neuron(0.3, 1.0).network
    second = list(network.spiking)[1]
    assert second.threshold[0] == int(127 * 1.0 / 0.3)
    assert second.amplitude[0] == pytest.approx(1.0, rel=1e-15)
    assert network.incoming(second.name)[0].weights[0, 0] == 127
    assert second.initial_membrane[0] == second.threshold[0] >> 1


def test_weights_that_dwarf_the_threshold_are_reported():
    conversion = one_neuron(300.0, 1.0)
    second = list(conversion.network.spiking)[1]
    assert second.threshold[0] == 1
    assert second.amplitude[0] == pytest.approx(300 / 127)
    assert any("dwarf" in note for note in conversion.notes)


def test_thresholds_are_limited_and_zero_weights_get_a_free_one():
    assert list(one_neuron(1e-9, 1.0).network.spiking)[1].threshold[0] == 1 << 14
    assert list(one_neuron(0.0, 1.0).network.spiking)[1].threshold[0] == 1 << 10


def test_first_layer_keeps_twelve_bits_of_threshold():
    network = one_neuron(1.0, 1.0, source_theta=200.0).network
    first = next(network.spiking)
    projection = network.incoming(first.name)[0]
    wide = 127 * 200
    assert projection.shift[0] == wide.bit_length() - 12
    assert first.threshold[0] == wide >> projection.shift[0]
    assert projection.weights[0, 0] == round(2.0 ** projection.shift[0] / first.unit[0])


def test_a_channel_dead_in_calibration_is_silent():
    b = Builder(3)
    conv = b.conv("input", 4, bias=False)
    b.operations[-1] = ann.Conv(
        name=conv,
        inputs=("input",),
        weights=b.operations[-1].weights,
        bias=np.array([0, 0, -1e6, 0.0]),
        padding=(1,) * 4,
    )
    b.dense(b.flatten(b.relu(conv)), 3)
    graph = b.graph()
    calibration = Calibration.measure(graph, images(graph), ann.Preprocessing())
    conversion = convert(graph, preset("opi", per_channel=True), 4, calibration=calibration)
    spiking = next(conversion.network.spiking)
    assert conversion.layers[0].silent == 1
    assert spiking.unit[2] == 0
    assert spiking.bias[2] == 0
    assert not conversion.network.projections[0].weights[2].any()
    readout = conversion.network.projections[1].weights.reshape(3, 4, -1)
    assert not readout[:, 2].any()
    assert readout[:, 1].any()


def test_raw_pixels_keep_all_bits_and_zero_is_zero():
    b = Builder(0)
    b.flatten(b.relu(b.conv("input", 2)))
    for preprocessing, low, high in ((ann.Preprocessing(), 0, 255), (CENTRED, -127, 127)):
        real = lower(normalise(b.graph()))
        theta = {p.name: np.ones(p.shape[0]) for p in real}
        table = quantise(real, theta, preset("opi"), 4, preprocessing).populations[0].table
        assert table.min() == low
        assert table.max() == high
        assert table.dtype == np.int16
    assert (table[:, 127] <= 0).all()
    assert (table[:, 128] >= 0).all()


def test_a_bias_beyond_int32_is_refused_by_name():
    b = Builder(0, (1,))
    first = b.add(ann.Dense(name="huge", inputs=("input",), weights=np.array([[1e-9]]), bias=np.array([1e9])))
    b.add(ann.Dense(name="out", inputs=(b.relu(first, bound=np.array(1e-3)),), weights=np.array([[1.0]])))
    with pytest.raises(InputError, match="bias of 'relu_2'"):
        convert(b.graph(), preset("qcfs"), 4)


def test_calibration_is_asked_for_only_where_needed():
    b = Builder(0)
    b.flatten(b.relu(b.conv("input", 2), bound=np.array(1.0)))
    assert convert(b.graph(), preset("qcfs"), 4).layers[0].learned
    with pytest.raises(InputError, match="calibration images are needed"):
        convert(b.graph(), preset("qcfs", threshold="max"), 4)
    b = Builder(0)
    b.flatten(b.relu(b.conv("input", 2)))
    with pytest.raises(InputError, match="no learned threshold in the file"):
        convert(b.graph(), preset("qcfs", threshold="learned"), 4)


def test_a_maximum_caps_theta():
    b = Builder(0)
    b.flatten(b.relu(b.conv("input", 2), maximum=0.25))
    calibration = Calibration.measure(b.graph(), images(b.graph()), ann.Preprocessing())
    layer = convert(b.graph(), preset("opi", threshold="max"), 4, calibration=calibration).layers[0]
    assert layer.theta_max == 0.25


def test_base_two_names_the_bits_it_needs():
    graph = FAMILIES[0](0)[1].graph()
    calibration = Calibration.measure(graph, images(graph), ann.Preprocessing())
    with pytest.raises(InputError, match=r"needs? \d+ bits|needs more than \d+ bits"):
        convert(graph, preset("spikeconverter"), 24, calibration=calibration)
