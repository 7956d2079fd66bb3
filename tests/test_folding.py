"""Four rows of spikes in three: the bytes, the sums that are found again, and where it is not done."""

from __future__ import annotations

import numba
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from refsnn import kernels
from refsnn.kernels import folding, plan
from refsnn.kernels.job import JOB, job_at
from refsnn.kernels.maps import COLUMNS, Memory
from refsnn.kernels.vectors import SIGNED_BITS, UNSIGNED_BITS, WORD
from refsnn.network import NO_CAP, Input, Network, Projection, Readout, Spiking
from refsnn.simulate import simulate
from tests.networks import RATE
from tests.test_kernels import images_for, layered, needs, same_as_the_twin


@numba.njit
def fold(address, first, start, stop):
    folding.fold(job_at(address), first, start, stop)


@numba.njit
def unfold(address, positions, sums):
    folding.unfold(job_at(address), positions, sums)


def aligned(shape, dtype):
    """Anything that begins a cache line, with a word behind it that may be read."""
    size = int(np.prod(shape)) * np.dtype(dtype).itemsize
    return Memory().room("any", 0, size + WORD)[:size].view(dtype).reshape(shape)


def obvious(rows, bits):
    """Rows ``(R, ...)`` of spikes or of sums, folded."""
    quarter = len(rows) // 4
    return np.concatenate([rows[: 3 * quarter] + (rows[quarter : 4 * quarter] << bits), rows[4 * quarter :]])


@pytest.mark.parametrize("bits", [UNSIGNED_BITS, SIGNED_BITS])
@given(
    rows=st.integers(1, 35),
    units=st.integers(1, 3),
    size=st.integers(1, 70),
    step=st.integers(1, 3),
    span=st.integers(1, 4),
    cut=st.integers(1, 3),
    seed=st.integers(0, 2**32 - 1),
)
def test_bytes_are_as_the_formula_says(bits, rows, units, size, step, span, cut, seed):
    """All lines from the first that any of four outer positions reads to the last, however these are cut."""
    signed = bits == SIGNED_BITS
    lines = 1 + 3 * step + span + 1  # one in front, one behind
    random = np.random.default_rng(seed)
    source = aligned((2, lines, units, rows, size), np.int8)
    source[:] = random.integers(-1 if signed else 0, 2, source.shape)
    target = np.full((2, lines, units, folding.folded_rows(rows), size), 77, np.int8)
    how = np.zeros(2, folding.FOLD)
    for block in range(2):
        addresses = source[block].ctypes.data, target[block].ctypes.data, source.strides[1], target.strides[1]
        how[block] = (*addresses, units, size, 1, step, span)
    job = np.zeros(1, JOB)
    job["folds_number"], job["folds"], job["rows"], job["fold_bits"] = 2, how.ctypes.data, rows, bits
    for start, stop in ((0, cut), (cut, 4)):
        fold(job.ctypes.data, 0, start, stop)
    expected = np.full(target.shape, 77)
    gap = range(1 + (cut - 1) * step + span, 1 + cut * step)  # which no position reads
    for block, line, unit in np.ndindex(2, lines, units):
        if 0 < line < lines - 1 and line not in gap:
            whole = obvious(source[block, line, unit].astype(np.int64), bits)
            expected[block, line, unit] = whole + 128 if signed else whole
    assert expected.min() >= 0
    assert expected.max() <= 255
    np.testing.assert_array_equal(target.view(np.uint8), expected)


@pytest.mark.parametrize("bits", [UNSIGNED_BITS, SIGNED_BITS])
@given(rows=st.integers(1, 35), positions=st.integers(1, 3), data=st.data())
def test_sums_are_found_again(bits, rows, positions, data):
    most = folding.largest_sum(bits)
    corners = st.sampled_from([-most - 1, -most, most, -1, 0, 1])
    few = data.draw(st.lists(st.one_of(corners, st.integers(-most, most)), min_size=1, max_size=40))
    sums = np.resize(np.array(few, np.int64), (positions, rows, COLUMNS))
    folded = aligned((positions, folding.folded_rows(rows), COLUMNS), np.int32)
    folded[:] = [obvious(each, bits) for each in sums]
    found = aligned(sums.shape, np.int32)
    job = np.zeros(1, JOB)
    job["rows"], job["dense_rows"], job["fold_bits"] = rows, folded.shape[1], bits
    job["folded"] = folded.ctypes.data
    unfold(job.ctypes.data, positions, found.ctypes.data)
    np.testing.assert_array_equal(found, sums)


@pytest.mark.parametrize(("neuron", "inputs"), [("if", 8256), ("signed", 1032)])
@pytest.mark.parametrize("more", [0, 1])
def test_a_layer_is_folded_as_long_as_its_sums_fit(neuron, inputs, more, monkeypatch):
    """Every neuron spikes in every step, to a readout with weights of 127: the largest sums that fit, or one more."""
    needs("vnni")
    monkeypatch.setattr(plan, "FOLDING", -1)
    most = folding.largest_sum(UNSIGNED_BITS if neuron == "if" else SIGNED_BITS)
    assert inputs == most // 127
    number = inputs + more
    bias = np.where((np.arange(number) % 2 > 0) & (neuron == "signed"), -100, 100).astype(np.int32)
    ends = np.stack([np.full(number, 127), np.full(number, -127), 127 * np.sign(bias)]).astype(np.int8)
    network = Network(
        populations=(
            Input(name="input", shape=(1,), table=np.arange(256, dtype=np.int16)[np.newaxis], unit=1.0, schedule=RATE),
            Spiking(
                name="a",
                shape=(number,),
                neuron=neuron,
                threshold=np.full(number, 100, np.int32),
                negative_threshold=np.full(number, 100, np.int32),
                initial_membrane=np.zeros(number, np.int32),
                bias=bias,
                cap=NO_CAP,
                unit=np.ones(number),
                schedule=RATE,
            ),
            Readout(name="readout", shape=(3,), bias=np.zeros(3, np.int32), unit=1.0, schedule=RATE),
        ),
        projections=(
            Projection(source="input", target="a", kind="dense", weights=np.zeros((number, 1), np.int8)),
            Projection(source="a", target="readout", kind="dense", weights=ends),
        ),
        membrane_bits=16,
    )
    same_as_the_twin("vnni", network, 4, batch=2)
    dense = kernels.select("vnni").dense
    planned = plan.plan(network, dense, dict.fromkeys(("a", "readout"), 1 << 21), 4)["readout"]
    assert (planned.fold_bits > 0) == (more == 0)
    assert {bool(made.folds) for made in planned.prepared.values()} == {more == 0}


@pytest.mark.parametrize("neuron", ["if", "dual"])
@pytest.mark.parametrize(("size", "kernel", "batch", "steps"), [(6, 3, 1, 5), (6, 3, 5, 1), (12, 1, 2, 3)])
def test_folded_maps_as_large_as_their_sums_have_memory_of_their_own(neuron, size, kernel, batch, steps, monkeypatch):
    needs("vnni")
    for cost in ("FOLDING", "UNFOLDING"):
        monkeypatch.setattr(plan, cost, -1)
    network = layered((4, 4), size, kernel, neuron=neuron)
    images = images_for(network, batch)
    got, expected = (
        simulate(network, images, steps, kernels=name, batch=batch, threads=1) for name in ("vnni", "portable")
    )
    np.testing.assert_array_equal(got.membranes, expected.membranes)
    for name, spikes in expected.spikes.items():
        np.testing.assert_array_equal(got.spikes[name], spikes)


def test_scratch_and_rooms_never_share_memory():
    memory = Memory()
    assert memory.scratch("any", 0, 64) != memory.room("any", 0, 64).ctypes.data
