"""Flags against occurrences counted by hand."""

from __future__ import annotations

import dataclasses

import numpy as np

import golden
from golden.directed import build
from golden.manifest import Place


def flags(network, images, steps, path):
    """What is found: ``{flag: (count, t, neuron)}``, and the records."""
    case = golden.write(network, images, steps, path, reason="counted by hand")
    records = {record.name: record for record in case.manifest.flags}
    return {name: (record.count, record.first.t, record.first.neuron) for name, record in records.items()}, records


def test_neurons_step_by_step(tmp_path):
    """u and n of every neuron were worked out on paper. In ``pulses``, with thresholds of 1 to 4, u counts up to the
    spike and, from 1 again, up to the cap.
    """
    currents = [
        [5, -10, 0, 0],  # u = 10, -10, 0, 0
        [-20, 40, 0, 0],  # u = -15, 25, 15, 5
        [5, -3, -1, 0],  # u = 10, -3, -4, 6
        [5, -1, -127, 0],  # u = 10, -1, -118, -118
        [127, -1, -127, 0],  # u = 132, 121, -16, -6
    ]
    dual = build.spiking("dual", (5,), "dual", 10, negative=[0, 0, 3, 0, 7])
    found, records = flags(build.scripted(4, [(dual, currents)]), build.bytes_in((1,), 1), 4, tmp_path / "case")
    assert found["threshold met exactly"] == (4 + 3, 0, (0, 0, 0))
    assert found["one below the threshold"] == (3 + 1, 0, (1, 0, 0))
    assert found["cap reached"] == (3 + 1, 1, (0, 0, 0))
    assert found["negative spike"] == (4, 1, (0, 0, 0))
    assert found["negative threshold met exactly"] == (1, 1, (2, 0, 0))
    assert found["one below the negative threshold"] == (2, 1, (3, 0, 0))
    assert found["negative spike blocked by the gate"] == (3, 0, (1, 0, 0))
    assert records["negative spike"].first == Place(image=0, population="dual", t=1, neuron=(0, 0, 0))
    assert "event in every step" not in found
    assert "drain step fired" not in found
    assert "saturation high" not in found


def test_the_clamp(tmp_path):
    """8 bits: 25 + 127 and 127 + 1 clamp to 127, 127 does not; the threshold of 50 is then taken off."""
    currents = [[127, 102, 102, 0], [102, 0, -127, -127]]
    neurons = build.spiking("if", (2,), "if", 50)
    found, _ = flags(
        build.scripted(4, [(neurons, currents)], membrane_bits=8), build.bytes_in((1,), 1), 4, tmp_path / "case"
    )
    # Neuron 0: 152, 77 + 102, 77 + 102, 77. Neuron 1: 127, 77, 27 - 127 = -100, -227.
    assert found["saturation high"] == (3, 0, (0, 0, 0))
    assert found["saturation low"] == (1, 3, (1, 0, 0))
    assert found["event in every step"] == (1, None, (0, 0, 0))


def test_pixels_and_shifts(tmp_path):
    """Of the sums 3, -3, 2 and 1, shifted by 1, 1, 1 and 0, two are halves and one of the shifted is negative."""
    project = build.dense("input", "first", [[3], [-3], [2], [1]])
    network = build.network(
        [build.signed((1,)), build.spiking("first", (4,), "if", 100), build.readout(2)],
        [
            dataclasses.replace(project, shift=np.array([1, 1, 1, 0], np.int32)),
            build.dense("first", "readout", [[127, 1, -127, 0], [0, 0, 0, 0]]),
        ],
    )
    found, records = flags(network, build.bytes_in((1,), 129, 128, 127), 1, tmp_path / "case")
    assert found["half rounded up"] == (2 + 0 + 2, None, (0, 0, 0))
    assert found["negative sum shifted"] == (1 + 0 + 2, None, (1, 0, 0))
    assert found["negative pixel"] == (1, 0, (0, 0, 0))
    assert records["all-zero image"].first == Place(image=1, population="input")
    assert found["silent population"][0] == 3
    assert found["tie of the argmax"][0] == 3
    assert found["extreme weights"] == (3, None, None)
