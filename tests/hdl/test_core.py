"""The whole core against the simulator: random networks, random shapes of cores, stalls on both sides."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from hdl.compiled import Compiled
from hdl.parameters import Parameters
from hdl.simulation import Simulated
from tests.hdl.layers import compare
from tests.networks import BINARY, RATE, SEPARATED, networks

SHAPES = (
    {"channels": 1, "rows": 1, "pixels": 1, "columns": 1, "banks": 2},
    {"channels": 2, "rows": 1, "pixels": 2, "columns": 2, "banks": 2},
    {"channels": 3, "rows": 2, "pixels": 4, "columns": 2, "banks": 4},
    {"channels": 4, "rows": 1, "pixels": 2, "columns": 4, "banks": 2},
    {"channels": 2, "rows": 2, "pixels": 2, "columns": 1, "banks": 4},
    {"channels": 1, "rows": 3, "pixels": 1, "columns": 4, "banks": 2},
)
DEPTHS = {"event_words": 4096, "fetches": 1024, "taps": 4096, "segments": 128, "neurons": 64}
WIDTHS = {"state_bits": 38, "accumulator_bits": 24, "count_bits": 12}

KNOWN_REFUSALS = (
    "is dense into a map",
    "pads a pooled map",
    "shifted projections",
    "weights need",
    "state bits",
    "accumulator bits",
    "count bits",
    "membranes need",
)
"""What random networks ask for that a core may refuse."""

SCHEDULES = {
    "rate": ((RATE,), (0,)),
    "drain": ((RATE,), (2, -1)),
    "base-1": ((SEPARATED,), (0,)),
    "base-2": ((BINARY,), (0,)),
    "mixed": ((RATE, SEPARATED), (0, 3)),
}


def case(data, schedules, drains, membrane_bits):
    """A random network whose membranes clamp at so many bits, an image, and T."""
    network = replace(data.draw(networks(schedules=schedules, drains=drains)), membrane_bits=membrane_bits)
    random = np.random.default_rng(data.draw(st.integers(0, 99)))
    images = random.integers(0, 256, (1, *network.input.shape)).astype(np.uint8)
    return network, images, data.draw(st.integers(1, 5))


@pytest.mark.slow
@pytest.mark.parametrize("kind", SCHEDULES)
@settings(max_examples=3, deadline=None, suppress_health_check=list(HealthCheck))
@given(data=st.data())
def test_small_layers_on_any_core(kind, data):
    """In Amaranth's simulator: any shape of core, any widths, stalls; layers of a few hundred micro-operations."""
    membrane_bits = data.draw(st.sampled_from((8, 12, 20, 31)))
    network, images, steps = case(data, *SCHEDULES[kind], membrane_bits)
    shape = data.draw(st.sampled_from(SHAPES))
    weight_words = data.draw(st.sampled_from((256, 4096)))
    parameters = Parameters(**shape, **DEPTHS, **WIDTHS, weight_words=weight_words, membrane_bits=membrane_bits)
    stalls, seed = data.draw(st.sampled_from((0.0, 0.3))), data.draw(st.integers(0, 99))
    machine = Simulated(parameters, stalls=stalls, seed=seed)
    _, refused = compare(network, images, steps, machine, most=300)
    for refusal in refused:
        assert any(known in refusal for known in KNOWN_REFUSALS), refusal


@pytest.mark.slow
@pytest.mark.parametrize(
    "parameters",
    [
        Parameters(
            channels=3, rows=2, pixels=4, columns=2, banks=4, weight_words=4096, membrane_bits=20, **DEPTHS, **WIDTHS
        ),
        Parameters(
            channels=4, rows=1, pixels=2, columns=4, banks=2, weight_words=512, membrane_bits=12, **DEPTHS, **WIDTHS
        ),
    ],
    ids=["traced", "narrow"],
)
def test_random_networks_compiled(parameters, cores):
    """Compiled by Verilator: whole random networks, job after job without a reset, stalls on both sides.

    With a trace, also the current, membranes and count of every neuron in every step.
    """
    machine = Compiled(parameters, cores, stalls=0.2, seed=1)
    ran = []

    @settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))
    @given(data=st.data())
    def networks_of_every_kind(data):
        schedules, drains = SCHEDULES[data.draw(st.sampled_from(sorted(SCHEDULES)))]
        network, images, steps = case(data, schedules, drains, parameters.membrane_bits)
        done, refused = compare(network, images, steps, machine)
        ran.extend(done)
        for refusal in refused:
            assert any(known in refusal for known in KNOWN_REFUSALS), refusal

    networks_of_every_kind()
    assert len(ran) > 60  # most layers are not refused
