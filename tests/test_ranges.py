"""The proved bounds hold for what networks do, and the width that they give never saturates."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from refsnn.errors import InputError
from refsnn.network import UNTIL_QUIET, Input, Network, Projection, Readout, Schedule, Spiking
from refsnn.ranges import analyse, signed_bits
from tests.naive import Twin, over
from tests.networks import BINARY, RATE, SEPARATED, networks

wide = settings(max_examples=20, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large])


def check(network: Network, steps: int) -> None:
    network = dataclasses.replace(network, membrane_bits=32)
    ranges = analyse(network, steps)
    random = np.random.default_rng(steps)
    shape = (1, *network.input.shape)
    images = np.concatenate([random.integers(0, 256, (2, *network.input.shape)), np.zeros(shape), np.full(shape, 255)])
    result = Twin(network).run(images.astype(np.uint8), steps)
    for population in network.spiking:
        bounds = ranges[population.name]
        low, high = (over(b, population.shape) for b in (bounds.membrane_low, bounds.membrane_high))
        for befores, currents in zip(result.befores, result.currents, strict=True):
            assert (befores[population.name] >= low).all()
            assert (befores[population.name] <= high).all()
            if not population.schedule.separated and len(currents[population.name]):
                assert (currents[population.name] >= over(bounds.current_low, population.shape)).all()
                assert (currents[population.name] <= over(bounds.current_high, population.shape)).all()
    bounds, shape = ranges[network.readout.name], network.readout.shape
    final = result.membranes.reshape(len(images), -1)
    assert (final >= over(bounds.membrane_low, shape)).all()
    assert (final <= over(bounds.membrane_high, shape)).all()
    needed = max(max(ranges[p.name].membrane_bits for p in network.spiking), 8)
    if needed <= 32:
        exact = dataclasses.replace(network, membrane_bits=needed)
        assert not any(Twin(exact).run(images.astype(np.uint8), steps).saturations.values())


@wide
@given(networks(), st.integers(1, 5))
def test_rate(network, steps):
    check(network, steps)


@wide
@given(networks(drains=(1, 3, UNTIL_QUIET)), st.integers(1, 4))
def test_drained(network, steps):
    check(network, steps)


@wide
@given(networks(schedules=(SEPARATED,)), st.integers(1, 5))
def test_separated(network, steps):
    check(network, steps)


@wide
@given(networks(schedules=(BINARY,)), st.integers(1, 6))
def test_binary(network, steps):
    check(network, steps)


@wide
@given(networks(schedules=(RATE, SEPARATED)), st.integers(1, 4))
def test_mixed(network, steps):
    check(network, steps)


def chain(weight: int, bias: int, schedule: Schedule = RATE, threshold: int = 100) -> Network:
    """A pixel that drives one neuron that drives the readout."""

    def array(value: int) -> np.ndarray:
        return np.array([value], np.int32)

    return Network(
        populations=(
            Input(name="pixel", shape=(1,), table=np.arange(256, dtype=np.int16)[None], unit=1.0, schedule=schedule),
            Spiking(
                name="neuron",
                shape=(1,),
                neuron="if",
                threshold=array(threshold),
                negative_threshold=array(0),
                initial_membrane=array(50),
                bias=array(bias),
                cap=0,
                unit=np.ones(1),
                schedule=schedule,
            ),
            Readout(name="out", shape=(1,), bias=array(0), unit=1.0, schedule=schedule),
        ),
        projections=(
            Projection(source="pixel", target="neuron", kind="dense", weights=np.array([[weight]], np.int8)),
            Projection(source="neuron", target="out", kind="dense", weights=np.array([[3]], np.int8)),
        ),
    )


def test_bounds_are_tight_where_one_neuron_meets_them():
    bounds = analyse(chain(2, -30), 4)["neuron"]
    assert bounds.current_low == -30
    assert bounds.current_high == 2 * 255 - 30
    assert bounds.membrane_low == 3 * -30  # three dark steps behind a spike that leaves 0
    assert bounds.membrane_high == 50 + 4 * 480 - 3 * 100  # a bright pixel: a spike in each step
    assert analyse(chain(2, -30), 4)["out"].membrane_high == 12


@pytest.mark.parametrize(
    ("low", "high", "bits"), [(0, 0, 1), (0, 1, 2), (-1, 0, 1), (-128, 127, 8), (-129, 0, 9), (0, 128, 9)]
)
def test_signed_bits(low, high, bits):
    assert signed_bits(np.array([low]), np.array([high])) == bits


def test_sums_beyond_int32_are_refused_with_the_bits_they_need():
    with pytest.raises(InputError, match=r"'neuron': .* its sums need 33 bits, 32 are there"):
        analyse(chain(127, 2**31 - 1), 1)
    with pytest.raises(InputError, match=r"'out': at T = 31 its sums need 33 bits, 32 are there: use fewer steps"):
        analyse(chain(127, 2**30, BINARY, threshold=1), 31)
