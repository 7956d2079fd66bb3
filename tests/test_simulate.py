"""The simulator against its naive twin, and what users see of it."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from refsnn.network import UNTIL_QUIET
from refsnn.simulate import simulate
from tests.naive import Twin
from tests.networks import BINARY, RATE, SEPARATED, networks

wide = settings(max_examples=60, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large])


def images_for(network, number, seed=0):
    return np.random.default_rng(seed).integers(0, 256, (number, *network.input.shape)).astype(np.uint8)


def same(network, steps, *, batch=2, threads=1, number=3):
    """Assert that the simulator equals the twin in everything it reports."""
    images = images_for(network, number)
    got = simulate(network, images, steps, batch=batch, threads=threads)
    twin = Twin(network)
    for index, each in enumerate(steps):
        expected = twin.run(images, each)
        np.testing.assert_array_equal(got.membranes[index], expected.membranes)
        for name in ("spikes", "saturations", "synaptic_operations"):
            found = {key: int(value[index]) for key, value in getattr(got, name).items()}
            assert found == getattr(expected, name), name
        assert got.drain_steps[index] == expected.drain_steps
        assert got.input_operations == expected.input_operations


@wide
@given(networks(), st.integers(1, 4), st.integers(1, 2))
def test_rate_networks_equal_the_twin(network, batch, threads):
    same(network, (1, 3, 2), batch=batch, threads=threads)


@wide
@given(networks(drains=(1, 3)), st.integers(1, 4))
def test_drained_networks_equal_the_twin(network, steps):
    same(network, (steps,))


@wide
@given(networks(drains=(UNTIL_QUIET,)), st.integers(1, 3))
def test_networks_that_run_until_quiet_equal_the_twin(network, steps):
    same(network, (steps,))


@wide
@given(networks(schedules=(SEPARATED,)), st.integers(1, 4))
def test_separated_networks_equal_the_twin(network, steps):
    same(network, (steps, 1))


@wide
@given(networks(schedules=(BINARY,)), st.integers(1, 7))
def test_binary_networks_equal_the_twin(network, steps):
    same(network, (steps, 2))


@wide
@given(networks(schedules=(RATE, SEPARATED), drains=(0, 2, UNTIL_QUIET)), st.integers(1, 3))
def test_mixed_schedules_equal_the_twin(network, steps):
    same(network, (steps,))
