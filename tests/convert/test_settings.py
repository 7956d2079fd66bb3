from __future__ import annotations

import dataclasses

import pytest

from refsnn.convert import METHODS, preset
from refsnn.errors import InputError
from refsnn.network import CAP_STEPS


def test_presets_are_settings_of_one_neuron():
    assert dataclasses.replace(preset("qcfs"), method="opi") == preset("opi")
    assert dataclasses.replace(preset("fast_snn"), method="ecl") == preset("ecl")
    assert preset("ecl").cap == CAP_STEPS
    assert preset("snm").initial_membrane == 0
    assert preset("spikeconverter").needs_steps
    assert not preset("spikeconverter-rate").needs_steps
    assert preset("spikeconverter-rate", threshold="mse").needs_steps
    assert len(METHODS) == 7


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        ({"weight_bits": 1}, "weight_bits is 1; 2 .. 8"),
        ({"membrane_bits": 33}, "membrane_bits is 33; 8 .. 32"),
        ({"threshold": "median"}, "threshold is 'median'"),
        ({"threshold": "percentile:0"}, "percentile:P with 0 < P <= 100"),
        ({"threshold": "percentile:many"}, "percentile:P with 0 < P <= 100"),
        ({"negative_threshold": -0.5}, "negative_threshold is -0.5"),
        ({"initial_membrane": 2.0}, "initial_membrane is 2.0"),
        ({"cap": -2}, "cap is -2"),
        ({"drain": -2}, "drain is -2"),
    ],
)
def test_values_out_of_range(overrides, message):
    with pytest.raises(InputError, match=message):
        preset("ecl", **overrides)


def test_contradictions():
    with pytest.raises(InputError, match="drain has no meaning"):
        preset("spikeconverter", drain=2)
    with pytest.raises(InputError, match="needs a cap"):
        preset("snm", drain=-1)
    with pytest.raises(InputError, match="there is no method 'ttfs'; there are ecl, qcfs"):
        preset("ttfs")
