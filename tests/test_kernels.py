"""Every kernel set against the naive twin, and all against each other."""

from __future__ import annotations

import dataclasses
import re
from pathlib import Path
from types import SimpleNamespace

import numba
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from llvmlite import binding

from refsnn import kernels
from refsnn.ann.project import read
from refsnn.errors import InputError
from refsnn.experiment import Request, perform
from refsnn.kernels import amx, avx2, maps, plan, vnni
from refsnn.network import CAP_STEPS, NO_CAP, Input, MaxPool, Network, Projection, Readout, Spiking, SumPool
from refsnn.simulate import simulate
from tests import emulated
from tests.naive import Twin
from tests.networks import BINARY, RATE, SEPARATED, networks

wide = settings(
    max_examples=25,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large, HealthCheck.function_scoped_fixture],
)
COUNTERS = ("spikes", "saturations", "synaptic_operations")


def needs(name):
    if name not in kernels.available():
        pytest.skip(f"this machine cannot run the kernel set '{name}'")


FOLDING = "vnni, always folding"


@pytest.fixture(params=(*kernels.SETS, FOLDING, emulated.NAME))
def name(request, monkeypatch):
    """Every kernel set, also folding where that does not pay, and ``amx`` without its instructions."""
    if request.param == emulated.NAME:
        emulated.put_in(monkeypatch)
    name = request.param.partition(",")[0]
    needs(name)
    if request.param == FOLDING:
        monkeypatch.setattr(plan, "FOLDING", -1)
        monkeypatch.setattr(plan, "UNFOLDING", -1)
    return name


def images_for(network, number, seed=0):
    return np.random.default_rng(seed).integers(0, 256, (number, *network.input.shape)).astype(np.uint8)


def same_as_the_twin(name, network, steps, batch=2, number=3, seed=0):
    images = images_for(network, number, seed)
    got = simulate(network, images, steps, kernels=name, batch=batch, threads=1)
    expected = Twin(network).run(images, steps)
    np.testing.assert_array_equal(got.membranes[0], expected.membranes)
    for counter in COUNTERS:
        assert {key: int(value[0]) for key, value in getattr(got, counter).items()} == getattr(expected, counter)
    assert got.drain_steps[0] == expected.drain_steps


@wide
@given(
    network=st.one_of(networks(), networks(drains=(1, 2)), networks(schedules=(SEPARATED,))),
    steps=st.integers(1, 4),
    batch=st.integers(1, 3),
)
def test_random_networks_equal_the_twin(name, network, steps, batch):
    same_as_the_twin(name, network, steps, batch)


@wide
@given(network=networks(schedules=(BINARY,)), steps=st.integers(1, 8))
def test_binary_networks_equal_the_twin(name, network, steps):
    same_as_the_twin(name, network, steps)


def layered(channels, size, kernel=3, *, stride=1, groups=1, neuron="dual", schedule=RATE, weight=None, cap=CAP_STEPS):
    """Input, a stem, a convolution with a residual from the stem where shapes allow, sum-pool and dense readout."""
    random = np.random.default_rng(sum(channels) + size)
    first, second = channels

    def weights(*shape):
        return random.integers(-127, 128, shape).astype(np.int8) if weight is None else np.full(shape, weight, np.int8)

    def spiking(name, shape, threshold):
        number = shape[0]
        return Spiking(
            name=name,
            shape=shape,
            neuron=neuron,
            threshold=random.integers(1, threshold, number).astype(np.int32),
            negative_threshold=random.integers(0, 50, number).astype(np.int32),
            initial_membrane=random.integers(-20, 50, number).astype(np.int32),
            bias=random.integers(-50, 50, shape if size % 2 else number).astype(np.int32),
            cap=cap,
            unit=np.ones(number),
            schedule=schedule,
        )

    pad = kernel // 2
    inside, outside = (first, size, size), (second, -(-size // stride), -(-size // stride))
    table = np.tile(np.arange(256, dtype=np.int16), (3, 1))
    projections = [
        Projection(
            source="input",
            target="a",
            kind="conv",
            weights=weights(first, 3, 3, 3),
            padding=(1, 1, 1, 1),
            shift=np.full(first, 5, np.int32),
        ),
        Projection(
            source="a",
            target="b",
            kind="conv",
            weights=weights(second, first // groups, kernel, kernel),
            padding=(pad, pad, pad, pad),
            stride=(stride, stride),
            groups=groups,
        ),
    ]
    if first <= second:
        identity = random.integers(-2000, 2000, first).astype(np.int32)
        projections.append(
            Projection(
                source="a",
                target="b",
                kind="identity",
                weights=identity,
                stride=(stride, stride),
                channel=(second - first) // 2,
            )
        )
    pool = SumPool(kernel=(2, 2), stride=(2, 2))
    pooled = pool.output(outside)
    projections.append(
        Projection(source="b", target="readout", kind="dense", weights=weights(5, int(np.prod(pooled))), pool=pool)
    )
    return Network(
        populations=(
            Input(name="input", shape=(3, size, size), table=table, unit=1 / 255, schedule=schedule),
            spiking("a", inside, 3000),
            spiking("b", outside, 2000),
            Readout(
                name="readout", shape=(5,), bias=random.integers(-9, 9, 5).astype(np.int32), unit=1.0, schedule=schedule
            ),
        ),
        projections=tuple(projections),
        membrane_bits=16,
    )


SHAPES = {
    "padded to a wide map": {"channels": (33, 70), "size": 4},
    "several blocks": {"channels": (64, 130), "size": 3},
    "a narrow map of odd width": {"channels": (16, 16), "size": 7},
    "onto other channels": {"channels": (16, 32), "size": 6, "stride": 2},
    "from wide to narrow": {"channels": (40, 12), "size": 5},
    "from narrow to wide": {"channels": (24, 48), "size": 5, "stride": 2},
    "depthwise": {"channels": (64, 64), "size": 5, "groups": 64},
    "wide, every second pixel": {"channels": (40, 70), "size": 7, "stride": 2},
    "depthwise, every third pixel": {"channels": (64, 64), "size": 8, "groups": 64, "stride": 3},
    "extreme depthwise": {"channels": (64, 64), "size": 5, "groups": 64, "kernel": 5, "weight": 127},
    "narrow depthwise": {"channels": (32, 32), "size": 5, "groups": 32, "stride": 2},
    "groups": {"channels": (36, 36), "size": 4, "groups": 3},
    "1 x 1": {"channels": (80, 24), "size": 4, "kernel": 1},
    "5 x 5": {"channels": (8, 40), "size": 6, "kernel": 5},
    "extreme weights": {"channels": (70, 66), "size": 4, "weight": 127},
}


@pytest.mark.parametrize("schedule", [RATE, SEPARATED, BINARY], ids=["rate", "separated", "binary"])
@pytest.mark.parametrize("case", SHAPES)
def test_layers_of_every_shape_equal_the_portable_kernels(name, case, schedule):
    """The portable set has its own test against the twin, which is too slow for maps of this size."""
    for index, neuron in enumerate(("if", "dual", "signed")):
        network = layered(**SHAPES[case], schedule=schedule, neuron=neuron, cap=NO_CAP if neuron == "if" else CAP_STEPS)
        images = images_for(network, 5)
        for batch in (1, 5) if index else (2,):
            steps = 8 if schedule is BINARY and batch == 5 else 4  # codes up to 255
            got = simulate(network, images, steps, kernels=name, batch=batch, threads=1)
            expected = simulate(network, images, steps, kernels="portable", batch=5, threads=1)
            np.testing.assert_array_equal(got.membranes, expected.membranes)
            assert any(value.any() for value in expected.spikes.values())
            for counter in COUNTERS:
                for key, value in getattr(expected, counter).items():
                    np.testing.assert_array_equal(getattr(got, counter)[key], value, err_msg=f"{counter} of {key}")


@pytest.mark.parametrize("schedule", [RATE, BINARY], ids=["rate", "binary"])
@pytest.mark.parametrize("case", ["padded to a wide map", "a narrow map of odd width", "onto other channels"])
@pytest.mark.parametrize("dense", [True, False], ids=["without", "pooled"])
def test_a_sum_pool_may_be_part_of_the_dense_projection_behind_it(name, schedule, case, dense, monkeypatch):
    """Of maps of 7 x 7 the windows leave out the last line and column."""
    if not dense:
        monkeypatch.setattr(plan, "PANEL_BYTES", 0)
    network = layered(**SHAPES[case], schedule=schedule)
    readout = network.projections[-1]
    assert (plan._without_pool(readout, network[readout.source].shape).pool is None) == dense
    images = images_for(network, 5)
    got = simulate(network, images, 4, kernels=name, batch=2, threads=1)
    expected = simulate(network, images, 4, kernels="blas", batch=5, threads=1)
    np.testing.assert_array_equal(got.membranes, expected.membranes)
    assert expected.membranes.any()


@pytest.mark.parametrize("zero_padding", [True, False])
@pytest.mark.parametrize("neuron", ["if", "dual", "signed"])
@pytest.mark.parametrize("channels", [12, 40])
def test_codes_of_eight_digits_go_through_layers_and_pools(name, neuron, channels, zero_padding):
    """Without negative ones they are held in 8 bits with an offset, and need no event-driven kernel."""
    network = layered((channels, channels), 6, schedule=BINARY, neuron=neuron)
    pool = MaxPool(
        name="pool",
        shape=(channels, 4, 4),
        source="b",
        kernel=(3, 3),
        stride=(2, 2),
        padding=(2, 1, 1, 2),
        zero_padding=zero_padding,
        schedule=BINARY,
    )
    *projections, last = network.projections
    random = np.random.default_rng(channels)
    weights = random.integers(-127, 128, (5, channels * 16)).astype(np.int8)
    network = dataclasses.replace(
        network,
        populations=(*network.populations[:-1], pool, network.readout),
        projections=(*projections, dataclasses.replace(last, source="pool", pool=None, weights=weights)),
    )
    same_as_the_twin(name, network, 8)
    dense = kernels.select(name).dense
    if dense is not None:
        planned = plan.plan(network, dense, dict.fromkeys((p.name for p in network.populations), 1 << 20), 8)
        assert set(planned) == (set() if neuron == "signed" else {"a", "b", "readout"})


@given(st.integers(0, 2**32 - 1))
def test_what_is_left_out_of_a_step_has_no_weights(seed):
    """Weights in a random stretch of inputs for each half of the columns, at times none."""
    random = np.random.default_rng(seed)
    weights = np.zeros((5, 2, 16, 16, 4), np.int8)
    for half in weights.reshape(-1, 16, 16, 4):
        begin, end = sorted(random.integers(0, 17, 2))
        half[begin:end] = random.integers(-1, 2, half[begin:end].shape)
    quads = plan.Dense.quads.func(SimpleNamespace(weights=weights))
    left = weights.copy()
    for step, rest, (second, first, end) in zip(weights, left, quads, strict=True):
        rest[0, :first] = 0
        rest[1, second:end] = 0
        assert 0 <= second <= first <= end <= 16
        assert not first or step[0, first - 1].any()
        assert second == first or step[1, second].any()
        assert not end or step[:, end - 1].any()
    assert not left.any()


class Broken:
    """A recorder that fails at the last image of three."""

    def wants(self, image):
        return image == 2

    def record(self, *arguments):
        raise RuntimeError


@wide
@given(
    network=st.one_of(
        networks(), networks(drains=(2,)), networks(schedules=(SEPARATED,)), networks(schedules=(BINARY,))
    )
)
def test_what_is_kept_from_run_to_run_changes_nothing(name, network):
    """Memory, calls and the order of work serve the next run; counts of a run that failed are lost."""
    same_as_the_twin(name, network, 2, batch=2, number=5)
    same_as_the_twin(name, network, 2, batch=2, number=4, seed=1)
    same_as_the_twin(name, network, 3, batch=1)
    same_as_the_twin(name, network, 2, batch=2, number=4, seed=2)
    with pytest.raises(RuntimeError):
        simulate(network, images_for(network, 3), 2, kernels=name, batch=1, threads=1, record=Broken())
    same_as_the_twin(name, network, 2, batch=1, seed=3)


@pytest.mark.parametrize("case", ["several blocks", "a narrow map of odd width"])
def test_threads_that_share_an_image_give_the_same_bits(name, case, monkeypatch):
    monkeypatch.setattr(maps, "WORTH_SHARING", 0)
    network = dataclasses.replace(layered(**SHAPES[case]), membrane_bits=9)
    images = images_for(network, 2)
    alone = simulate(network, images, 3, kernels=name, batch=1, threads=1)
    assert any(value.any() for value in alone.saturations.values())
    for threads in (2, 3, 7):  # for two slices
        shared = simulate(network, images, 3, kernels=name, batch=1, threads=threads)
        np.testing.assert_array_equal(shared.membranes, alone.membranes)
        for counter in COUNTERS:
            for key, value in getattr(alone, counter).items():
                np.testing.assert_array_equal(getattr(shared, counter)[key], value, err_msg=f"{counter} of {key}")


def test_a_single_wide_layer_equals_the_twin(name):
    """The dense kernels' own shapes, small enough for the twin."""
    same_as_the_twin(name, layered((40, 40), 3), 3)
    same_as_the_twin(name, layered((16, 16), 3, weight=127), 2)


def compare(name, request):
    """Each network of a job, simulated by a kernel set and by the portable one."""
    mine, portable = (perform(dataclasses.replace(request, kernels=each)) for each in (name, "portable"))
    assert mine.simulated
    for got, expected in zip(mine.simulated, portable.simulated, strict=True):
        np.testing.assert_array_equal(got.simulation.membranes, expected.simulation.membranes)
        for counter in COUNTERS:
            for key, value in getattr(expected.simulation, counter).items():
                np.testing.assert_array_equal(
                    getattr(got.simulation, counter)[key], value, err_msg=f"{counter} of {key}"
                )


def test_shipped_examples_are_the_same_image_for_image(name):
    examples = sorted((Path(__file__).parents[1] / "examples").glob("*.h5"))
    with_images = [example for example in examples if read(example).test is not None]
    assert len(with_images) >= 3
    for example in with_images:
        compare(name, Request(weights=example, steps=(1, 4), limit=5 if name == emulated.NAME else 100))


@pytest.mark.data
@pytest.mark.slow
def test_mlperf_tiny_resnet8_is_the_same_image_for_image(name, shared_data):
    compare(
        name,
        Request(
            weights=shared_data / "mlperf-tiny-ic" / "pretrainedResnet.h5",
            data=shared_data / "cifar10-lossless.npz",
            methods=("ecl", "spikeconverter"),
            steps=(4,),
            limit=20 if name == emulated.NAME else None,
        ),
    )


def test_the_avx2_set_holds_nothing_newer():
    """No 512-bit register, none of the sixteen that AVX-512 adds, no mask register."""
    needs("avx2")
    same_as_the_twin("avx2", layered((33, 40), 3), 2)
    same_as_the_twin("avx2", layered((16, 16), 3, neuron="signed", schedule=BINARY), 3)
    loops = avx2.loops()
    newer = re.compile(r"%zmm|%[xy]mm(1[6-9]|2[0-9]|3[01])\b|%k[0-7]\b")
    for loop in (loops.list_signs, loops.list_graded, loops.gather_signs, loops.gather_graded, loops.add_channelwise):
        fresh = numba.njit(nogil=True)(loop.py_func)  # what comes from the cache cannot be inspected
        fresh.compile(loop.signatures[0])
        (code,) = fresh.inspect_asm().values()
        assert "%ymm" in code
        assert not newer.search(code)


def forget_what_is_available():
    for kernel_set in (amx, vnni, avx2):
        kernel_set.available.cache_clear()


def test_a_set_that_this_machine_lacks_is_refused(monkeypatch):
    """What is available is decided by the processor's features, before anything is compiled."""
    real = binding.get_host_cpu_features()
    old = {name: real[name] and not name.startswith(("amx", "avx512")) for name in real}
    monkeypatch.setattr(binding, "get_host_cpu_features", lambda: old)
    forget_what_is_available()
    available = kernels.available()
    assert "portable" in available
    assert not {"amx", "vnni"} & set(available)
    network = layered((8, 8), 3)
    for name in ("amx", "vnni"):
        with pytest.raises(InputError, match=f"'{name}' cannot run on this machine; available here: .*portable"):
            simulate(network, images_for(network, 1), 1, kernels=name)
    forget_what_is_available()
