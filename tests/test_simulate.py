"""The simulator against its naive twin, and what users see of it."""

from __future__ import annotations

import dataclasses
import tracemalloc
from collections import defaultdict

import numpy as np
import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

from refsnn import kernels
from refsnn.data.readers import read
from refsnn.errors import InputError
from refsnn.network import (
    CAP_STEPS,
    NO_CAP,
    UNTIL_QUIET,
    Input,
    MaxPool,
    Network,
    Projection,
    Readout,
    Schedule,
    Spiking,
)
from refsnn.simulate import simulate
from tests.naive import Twin, cells, quantised_ann
from tests.networks import BINARY, RATE, SEPARATED, networks

wide = settings(max_examples=60, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large])


@pytest.fixture(autouse=True, scope="module", params=("compiled", "blas"))
def _kernel_set(request):
    """Everything here with the fastest compiled kernels, and with those that need no compiling."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("REFSNN_KERNELS", "blas" if request.param == "blas" else kernels.available()[0])
        yield


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


class Keep:
    """A recorder that keeps all but the second image."""

    def __init__(self):
        self.activities = defaultdict(dict)

    def wants(self, image):
        return image != 1

    def record(self, steps, image, population, activity):
        self.activities[image][population] = activity


@wide
@given(
    st.one_of(
        networks(drains=(0, 2, UNTIL_QUIET)),
        networks(schedules=(BINARY,)),
        networks(schedules=(RATE, SEPARATED), drains=(0, UNTIL_QUIET)),
    ),
    st.integers(1, 4),
)
def test_recorded_activity_equals_the_twin(network, steps):
    images = images_for(network, 3)
    expected = Twin(network).run(images, steps)
    keep, again = Keep(), Keep()
    simulate(network, images, steps, batch=3, threads=1, record=keep)
    simulate(network, images, steps, batch=1, threads=2, record=again)
    assert set(keep.activities) == {0, 2}
    for image, activities in keep.activities.items():
        assert list(activities) == [population.name for population in network.populations]
        for population in network.populations:
            activity = activities[population.name]
            for name in ("events", "current", "static_current", "accumulated", "before", "membrane", "count"):
                mine, other = getattr(activity, name), getattr(again.activities[image][population.name], name)
                assert (mine is None) == (other is None)
                if mine is not None:
                    np.testing.assert_array_equal(mine, other, err_msg=name)
            if isinstance(population, Spiking):
                check_neurons(network, population, activity, expected, image)
        np.testing.assert_array_equal(activities["readout"].membrane[-1], expected.membranes[image])


def check_neurons(network, population, activity, expected, image):
    """A recorded spiking population against the twin's own record of it."""
    train = expected.trains[image][population.name]
    length = len(activity.events)
    np.testing.assert_array_equal(activity.events.reshape(length, -1), train[:length])
    assert not train[length:].any()
    np.testing.assert_array_equal(
        activity.before.reshape(length, -1), expected.befores[image][population.name][:length]
    )
    currents = expected.currents[image][population.name]
    taken = activity.current.reshape(len(activity.current), -1)
    shared = min(len(taken), len(currents))
    np.testing.assert_array_equal(taken[:shared], currents[:shared])
    assert not taken[shared:].any()
    assert not currents[shared:].any()
    base = population.schedule.base
    threshold = population.threshold.reshape(-1, *[1] * (len(population.shape) - 1)).astype(np.int64)
    count = 0
    for step in range(length):
        digit = base ** (length - 1 - step) if population.schedule.separated else 1
        count = base * count + activity.events[step].astype(np.int64)
        np.testing.assert_array_equal(activity.count[step], count)
        after = activity.before[step] - activity.events[step] * threshold * digit
        np.testing.assert_array_equal(activity.membrane[step], after)


@wide
@given(
    st.one_of(
        networks(neurons=("dual", "signed"), drains=(UNTIL_QUIET,), lossless=True),
        networks(schedules=(SEPARATED,), lossless=True),
        networks(schedules=(BINARY,), lossless=True),
    ),
    st.integers(1, 5),
)
def test_lossless_modes_equal_the_quantised_ann(network, steps):
    """Theorems 2 and 3 on whole networks: nothing is lost between the quantised ANN and the spikes."""
    images = images_for(network, 4)
    result = simulate(network, images, steps)
    assume(not any(value.any() for value in result.saturations.values()))
    np.testing.assert_array_equal(result.membranes[0], quantised_ann(network, images, steps))


# Directed cases


def small(
    schedule=RATE, *, neuron="dual", threshold=600, weight=None, channels=(6, 5), size=5, drain=0, bits=32, **spiking
):
    """Input ``(2, size, size)``, two convolutions, a dense readout of four."""
    random = np.random.default_rng(3)

    def weights(*shape):
        return random.integers(-127, 128, shape).astype(np.int8) if weight is None else np.full(shape, weight, np.int8)

    def population(name, number):
        settings = {
            "neuron": neuron,
            "threshold": np.full(number, threshold, np.int32),
            "negative_threshold": np.zeros(number, np.int32),
            "initial_membrane": np.full(number, threshold >> 1, np.int32),
            "bias": random.integers(-50, 50, number).astype(np.int32),
            "cap": CAP_STEPS,
            "unit": np.ones(number),
        }
        return Spiking(name=name, shape=(number, size, size), schedule=schedule, **settings | spiking)

    table = np.tile(np.arange(256, dtype=np.int16), (2, 1))
    first, second = channels
    return Network(
        populations=(
            Input(name="input", shape=(2, size, size), table=table, unit=1 / 255, schedule=schedule),
            population("a", first),
            population("b", second),
            Readout(name="readout", shape=(4,), bias=np.zeros(4, np.int32), unit=0.5, schedule=schedule),
        ),
        projections=(
            Projection(
                source="input",
                target="a",
                kind="conv",
                weights=weights(first, 2, 3, 3),
                shift=np.full(first, 7, np.int32),
                padding=(1, 1, 1, 1),
            ),
            Projection(source="a", target="b", kind="conv", weights=weights(second, first, 3, 3), padding=(1, 1, 1, 1)),
            Projection(source="b", target="readout", kind="dense", weights=weights(4, second * size * size)),
        ),
        membrane_bits=bits,
        drain=drain,
    )


def test_wide_layers_equal_the_twin():
    """More output channels than the widest block, more active inputs than an int16 can add, extreme weights."""
    for weight in (None, 127, -127):
        same(small(threshold=40, weight=weight, channels=(70, 300), size=3), (2,), number=1)


@pytest.mark.parametrize("steps", [2, 4, 5, 6, 9])
def test_codes_of_every_size_equal_the_twin(steps):
    """Small codes are added in int16, large ones in int32."""
    same(small(BINARY, threshold=9, neuron="signed", weight=127, channels=(40, 9), size=3), (steps,), number=2)


@pytest.mark.parametrize("schedule", [RATE, SEPARATED, BINARY])
def test_any_batch_and_any_number_of_threads_give_the_same_bits(schedule):
    network = small(schedule, drain=UNTIL_QUIET if schedule is RATE else 0)
    images = images_for(network, 13)
    first = simulate(network, images, 3, batch=13, threads=1)
    for batch, threads in ((1, 1), (4, 2), (5, 3), (100, 2), (13, 3)):
        other = simulate(network, images, 3, batch=batch, threads=threads)
        np.testing.assert_array_equal(first.membranes, other.membranes)
        for name in ("spikes", "saturations", "synaptic_operations"):
            for key, value in getattr(first, name).items():
                np.testing.assert_array_equal(value, getattr(other, name)[key])
        assert (first.input_operations, first.drain_steps) == (other.input_operations, other.drain_steps)


def test_several_steps_at_once_equal_single_runs():
    network = small()
    images = images_for(network, 4)
    together = simulate(network, images, (4, 1, 2))
    assert together.steps == (4, 1, 2)
    for index, steps in enumerate(together.steps):
        alone = simulate(network, images, steps)
        np.testing.assert_array_equal(together.membranes[index], alone.membranes[0])
        np.testing.assert_array_equal(together.logits[index], alone.logits[0])
        for name in ("spikes", "saturations", "synaptic_operations"):
            for key, value in getattr(alone, name).items():
                assert getattr(together, name)[key][index] == value[0]


def test_logits_are_in_the_unit_of_the_ann():
    images = images_for(small(), 3)
    rate = simulate(small(), images, (2, 4))
    np.testing.assert_array_equal(rate.logits, rate.membranes * 0.5 / np.array([2, 4]).reshape(2, 1, 1))
    binary = simulate(small(BINARY), images, 4)
    np.testing.assert_array_equal(binary.logits, binary.membranes * 0.5)


def test_ties_go_to_the_lowest_index():
    network = small()
    dense = network.projections[2]
    rows = np.repeat(dense.weights[:1], 4, axis=0)
    tied = dataclasses.replace(
        network, projections=(*network.projections[:2], dataclasses.replace(dense, weights=rows))
    )
    assert not simulate(tied, images_for(tied, 5), 3).predictions.any()


def test_the_drain_of_a_call_replaces_that_of_the_network():
    network, drained = small(), small(drain=2)
    images = images_for(network, 3)
    given_here = simulate(network, images, 3, drain=2)
    np.testing.assert_array_equal(given_here.membranes, simulate(drained, images, 3).membranes)
    assert given_here.drain_steps == (2,)
    assert simulate(small(SEPARATED), images, 3, drain=2).drain_steps == (0,)


def test_saturations_are_counted_and_nothing_wraps():
    """Membranes of 8 bits against currents of thousands."""
    network = small(bits=8, threshold=100)
    result = simulate(network, images_for(network, 3), 4)
    assert result.saturations["a"][0] > 0
    same(network, (4,))


def test_uncapped_neurons_run_until_quiet():
    network = small(drain=UNTIL_QUIET, neuron="if", cap=NO_CAP, threshold=300)
    assert simulate(network, images_for(network, 2), 2).drain_steps[0] > 2
    same(network, (2,), number=2)


def test_a_network_that_does_not_become_quiet_is_refused_by_name():
    network = small(drain=UNTIL_QUIET, neuron="if", cap=NO_CAP, threshold=1, weight=127)
    with pytest.raises(InputError, match=r"population 'a' still fires after .* steps: give"):
        simulate(network, np.full((1, 2, 5, 5), 255, np.uint8), 8, batch=1)


def test_progress_reports_every_image_once():
    done = []
    network = small(drain=1)
    simulate(network, images_for(network, 7), (1, 2, 3), batch=2, progress=done.append)
    assert sum(done) == 7


@pytest.mark.parametrize("threads", [1, 2])
def test_memory_does_not_grow_with_the_number_of_images(tmp_path, threads):
    """But for the outputs, and the images themselves where they are not left in their file."""
    network = small()
    np.save(tmp_path / "images.npy", images_for(network, 256))
    images = read(tmp_path / "images.npy", network.input.shape).test.images

    def peak(number):
        tracemalloc.start()
        try:
            simulate(network, images[:number], 4, threads=threads, batch=1)
            return tracemalloc.get_traced_memory()[1]
        finally:
            tracemalloc.stop()

    # Without what is made once, in Python too, and perhaps late: it depends on the tests before, and on the threads.
    few, many = (min(peak(number) for _ in range(3)) for number in (16, 256))
    outputs = 3 * 8 * network.readout.shape[0] + 8  # membranes twice, logits, prediction
    objects = 1000  # an array for the membranes of each slice, here of each image
    assert many - few < (outputs + objects) * (256 - 16)


def test_a_max_pool_over_nothing_but_padding_is_refused():
    network = small()
    pool = MaxPool(name="pool", shape=(6, 6, 6), source="a", kernel=(2, 2), stride=(1, 1), padding=(2, 0, 1, 1))
    populations = (*network.populations[:2], pool, *network.populations[2:])
    with pytest.raises(InputError, match="max-pool 'pool'"):
        simulate(dataclasses.replace(network, populations=populations), images_for(network, 1), 1)


@pytest.mark.parametrize(
    ("images", "message"),
    [
        (np.zeros((3, 2, 5, 4), np.uint8), r"\(3, 2, 5, 4\).*\(N, 2, 5, 5\)"),
        (np.zeros((2, 5, 5), np.uint8), r"\(N, 2, 5, 5\)"),
        (np.zeros((0, 2, 5, 5), np.uint8), "at least one image"),
        (np.zeros((1, 2, 5, 5), np.float32), "float32.*uint8"),
    ],
)
def test_wrong_images_are_refused(images, message):
    with pytest.raises(InputError, match=message):
        simulate(small(), images, 2)


def test_wrong_settings_are_refused():
    network = small()
    images = images_for(network, 1)
    for options, message in (
        ({"steps": 0}, "at least 1 time-step"),
        ({"steps": ()}, "steps is empty"),
        ({"drain": -2}, "drain is -2"),
        ({"batch": 0}, "batch is 0"),
        ({"threads": -1}, "threads -1"),
        ({"kernels": "abacus"}, r"'abacus' is unknown; available here: .*portable"),
    ):
        with pytest.raises(InputError, match=message):
            simulate(network, images, **{"steps": 2, **options})
    with pytest.raises(InputError, match="T = 3"):
        simulate(dataclasses.replace(network, steps=3), images, 2)


def test_the_environment_chooses_kernels(monkeypatch):
    network = small()
    monkeypatch.setenv("REFSNN_KERNELS", "abacus")
    with pytest.raises(InputError, match="'abacus' is unknown"):
        simulate(network, images_for(network, 1), 1)
    simulate(network, images_for(network, 1), 1, kernels="portable")


def test_small_networks_need_no_compiling(monkeypatch):
    monkeypatch.delenv("REFSNN_KERNELS")
    network = small()
    assert kernels.select("auto", network).__name__ == "refsnn.kernels.blas"
    monkeypatch.setattr(kernels, "SMALL", 1)
    assert kernels.select("auto", network) is kernels.select(kernels.available()[0])


def test_sums_that_do_not_fit_are_refused_with_the_bits_they_need():
    network = small(BINARY, threshold=1, weight=127, channels=(40, 9))
    images = images_for(network, 1)
    first = dataclasses.replace(network.projections[0], shift=None)
    network = dataclasses.replace(network, projections=(first, *network.projections[1:]))
    simulate(network, images, 15)
    with pytest.raises(InputError, match=r"'b'.*T = 20.* bits"):
        simulate(network, images, 20)
    network = small(channels=(6, 6))
    heavy = Projection(source="a", target="b", kind="identity", weights=np.full(6, 2**31 - 1, np.int32))
    projections = (network.projections[0], heavy, dataclasses.replace(heavy), network.projections[2])
    with pytest.raises(InputError, match=r"'b'.* bits"):
        simulate(dataclasses.replace(network, projections=projections), images, 1)


def test_cells_are_channels_first():
    """The readout of a dense layer onto a map, flattened by the twin's convention, lands where its shape says."""
    network = small()
    shape = (2, 3, 2)
    readout = Readout(name="readout", shape=shape, bias=np.arange(12, dtype=np.int32).reshape(shape), unit=1.0)
    dense = dataclasses.replace(network.projections[2], weights=np.zeros((12, 125), np.int8))
    shaped = dataclasses.replace(
        network, populations=(*network.populations[:3], readout), projections=(*network.projections[:2], dense)
    )
    result = simulate(shaped, images_for(shaped, 1), 3)
    assert cells(shape) == shape
    np.testing.assert_array_equal(result.membranes[0, 0], 3 * readout.bias)
    assert Schedule() == RATE
