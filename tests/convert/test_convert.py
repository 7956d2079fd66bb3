"""Converted networks, simulated, compute what the ANN computes: closely where there are many levels."""

from __future__ import annotations

import numpy as np
import pytest

from refsnn.ann import graph as ann
from refsnn.ann.forward import forward_images
from refsnn.convert import Calibration, convert, preset
from refsnn.network import UNTIL_QUIET, Network
from refsnn.simulate import simulate
from tests.convert.graphs import FAMILIES

UNIT = ann.Preprocessing(scale=255.0)
CENTRED = ann.Preprocessing(scale=127.5, mean=(1.0,))


def images(graph: ann.Graph, count: int = 16) -> np.ndarray:
    return np.random.default_rng(5).integers(0, 256, (count, *graph.input.shape)).astype(np.uint8)


def real(result, network: Network) -> np.ndarray:
    logits = result.logits[0]
    return np.maximum(logits, 0) if network.readout.activation == "relu" else logits


@pytest.mark.parametrize("family", FAMILIES, ids=lambda f: f.__name__)
@pytest.mark.parametrize("preprocessing", [UNIT, CENTRED], ids=["unsigned", "signed"])
@pytest.mark.parametrize(("method", "steps"), [("spikeconverter", 8), ("spikeconverter-rate", 64), ("ecl", 64)])
def test_many_levels_come_close_to_the_ann(family, preprocessing, method, steps):
    graph = family(1)[1].graph()
    pixels = images(graph)
    calibration = Calibration.measure(graph, pixels, preprocessing)
    expected = forward_images(graph, pixels, preprocessing, threads=1)
    drain = UNTIL_QUIET if method == "ecl" else None
    settings = preset(method, threshold="max", per_channel=True, drain=drain)
    network = convert(graph, settings, steps, preprocessing=preprocessing, calibration=calibration).network
    result = simulate(network, pixels, steps, threads=1)
    error = np.abs(real(result, network).reshape(expected.shape) - expected).mean() / np.abs(expected).mean()
    assert error < 0.06
    assert not any(clamped.any() for clamped in result.saturations.values())


@pytest.mark.parametrize("bits", [8, 12, 16])
def test_a_narrow_membrane_is_counted(bits):
    graph = FAMILIES[2](0)[1].graph()
    pixels = images(graph)
    calibration = Calibration.measure(graph, pixels, UNIT)
    conversion = convert(graph, preset("opi", membrane_bits=bits), 4, preprocessing=UNIT, calibration=calibration)
    result = simulate(conversion.network, pixels, 4, threads=1)
    clamped = sum(int(values[0]) for values in result.saturations.values())
    needed = max(layer.membrane_bits for layer in conversion.layers if layer.kind != "readout")
    assert conversion.network.membrane_bits == bits
    assert (clamped > 0) == (bits < 16)
    assert (needed > bits) == any("may saturate" in note for note in conversion.notes)


def test_fewer_weight_bits_are_coarser():
    graph = FAMILIES[0](2)[1].graph()
    pixels = images(graph)
    calibration = Calibration.measure(graph, pixels, UNIT)
    expected = forward_images(graph, pixels, UNIT, threads=1)
    errors = []
    for bits in (8, 5, 3, 2):
        settings = preset("spikeconverter", threshold="max", weight_bits=bits)
        network = convert(graph, settings, 6, preprocessing=UNIT, calibration=calibration).network
        errors.append(np.abs(simulate(network, pixels, 6, threads=1).logits[0] - expected).mean())
    assert errors == sorted(errors)


def test_a_network_survives_its_file(tmp_path):
    graph = FAMILIES[4](0)[1].graph()
    calibration = Calibration.measure(graph, images(graph), CENTRED)
    network = convert(graph, preset("ecl"), 4, preprocessing=CENTRED, calibration=calibration).network
    network.save(tmp_path / "one.h5")
    loaded = Network.load(tmp_path / "one.h5")
    loaded.save(tmp_path / "two.h5")
    assert loaded.digest() == network.digest()
    assert loaded.information == network.information
    assert (tmp_path / "one.h5").read_bytes() == (tmp_path / "two.h5").read_bytes()
