"""Expected words, packed from golden cases, are those that a core sends, in every bit."""

from __future__ import annotations

import numpy as np
import pytest

import golden
from golden.directed import suite
from golden.directed.build import RATE, conv, network, plain, spiking, weights
from golden.images import pixels
from hdl.collector import word_layout
from hdl.execute import collect, job_parts
from hdl.fit import fit, layers
from hdl.simulation import Simulated
from hdl.vectors import FIELDS, expected_words, result, stimulus
from refsnn.errors import InputError
from refsnn.network import Readout

CASES = {case.name: case for case in suite()}


def map_readout():
    """A readout that is a map of 5 pixels a row: a group of 4 and one of 1."""
    readout = Readout(name="readout", shape=(2, 2, 5), bias=np.array([1, -2], np.int32), unit=1.0, schedule=RATE)
    first = spiking("first", (2, 2, 5), "dual", 300)
    projections = [conv("input", "first", weights(1, 2, 1, 1, 1)), conv("first", "readout", weights(2, 2, 2, 1, 1))]
    return network([plain((1, 2, 5)), first, readout], projections), pixels(10, 3).reshape(1, 1, 2, 5), 2


def directed(name):
    case = CASES[name]
    return case.network, case.images, case.steps


@pytest.mark.slow
@pytest.mark.parametrize("make", [map_readout, lambda: directed("max-pool-base-2"), lambda: directed("rate-drain")])
def test_a_core_sends_the_expected_words(tmp_path, make):
    net, images, steps = make()
    case = golden.write(net, images, steps, tmp_path / "case", reason="a test")
    parameters = fit(net, steps, net.drain, 8)
    machine = Simulated(parameters)
    layout = word_layout(parameters)
    weight = 1 << np.arange(layout.size, dtype=object)
    for layer in layers(net, steps, net.drain, parameters):
        computed = result(case, 0, layer, parameters)
        parts = stimulus(case, 0, layer, parameters)
        for job in layer.jobs:
            sent = machine.run(np.concatenate([parts, job_parts(job, parameters)]))
            again = np.zeros_like(computed)
            collect(layer, job, sent, parameters, again)
            rows = slice(job.channel, job.channel + job.fields["channels"])
            axis = 0 if computed.ndim == 3 else 1
            np.testing.assert_array_equal(np.moveaxis(again, axis, 0)[rows], np.moveaxis(computed, axis, 0)[rows])
            words = {
                sum(int(value) << layout[name].offset for name, value in zip(("membrane", *FIELDS), place, strict=True))
                + (int(data @ weight[: len(data)]) << layout["data"].offset)
                for place, data in zip(sent.fields, sent.data, strict=True)
            }
            assert words == {int(bits @ weight) for bits in expected_words(layer, job, computed, parameters)}
            parts = parts[:0]


def test_runs_that_are_longer_than_the_core_has_room_for_are_refused(tmp_path):
    net, images, steps = directed("rate-drain")
    case = golden.write(net, images, steps, tmp_path / "case", reason="a test")
    parameters = fit(net, steps, 1, 8)
    layer = layers(net, steps, 1, parameters)[1]
    for wanted in (stimulus, result):
        with pytest.raises(InputError, match="image 0 ran for 6 steps, the core has room for 4: export with --drain 3"):
            wanted(case, 0, layer, parameters)
