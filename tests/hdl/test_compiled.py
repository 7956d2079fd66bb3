"""The compiled core: the same words, traces and counts as Amaranth's simulator; found again, never stale."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from golden.directed import suite
from hdl.compiled import Compiled, build
from hdl.execute import job_parts, source_parts
from hdl.layer import lower
from hdl.parameters import Parameters
from hdl.simulation import Simulated
from hdl.toolchain import ToolError
from refsnn.errors import InputError
from tests.hdl.layers import Reference, compare

pytestmark = pytest.mark.slow

PARAMETERS = Parameters(
    channels=2,
    pixels=4,
    columns=2,
    event_words=256,
    weight_words=256,
    fetches=64,
    taps=64,
    segments=16,
    neurons=16,
    membrane_bits=16,
    trace=True,
)
CASES = {case.name: case for case in suite()}
RESIDUAL = CASES["residual"]


def test_every_layer_after_the_other_with_stalls(cores):
    """Job after job without a reset: what a layer leaves behind does not disturb the next."""
    machine = Compiled(PARAMETERS, cores, stalls=0.3, seed=2)
    for name in ("residual", "max-pool", "rate-drain"):
        case = CASES[name]
        ran, refused = compare(case.network, case.images, case.steps, machine)
        assert not refused
        assert len(ran) == len(case.network.populations) - 1


def test_words_traces_and_counts_are_the_simulators(cores):
    """Layers that fill whole blocks of channels: what the lanes beyond them trace is of no job."""
    case = CASES["convolutions"]
    network, reference = case.network, Reference(case.network, case.images, 3)
    compiled, simulated = Compiled(PARAMETERS, cores), Simulated(PARAMETERS)
    for name in ("first", "grouped"):
        layer = lower(network, name, 3, 0, PARAMETERS)
        stored = source_parts(layer, reference.sources(0), PARAMETERS)
        parts = np.concatenate([stored, job_parts(layer.jobs[0], PARAMETERS)])
        found, expected = compiled.run(parts), simulated.run(parts)
        np.testing.assert_array_equal(found.fields, expected.fields)
        np.testing.assert_array_equal(found.data, expected.data)
        np.testing.assert_array_equal(compiled.traces[-1], np.array(simulated.traces[-1]))
    assert (compiled.active, compiled.dropped) == (simulated.active, simulated.dropped)


def test_stalls_cost_cycles_and_nothing_else(cores):
    network = RESIDUAL.network
    reference = Reference(network, RESIDUAL.images, 3)
    layer = lower(network, "first", 3, 0, PARAMETERS)
    parts = np.concatenate(
        [source_parts(layer, reference.sources(0), PARAMETERS), job_parts(layer.jobs[0], PARAMETERS)]
    )
    cycles, words = [], []
    for stalls, seed in ((0.0, 0), (0.7, 1), (0.7, 1), (0.7, 2)):
        machine = Compiled(PARAMETERS, cores, stalls=stalls, seed=seed)
        words.append(machine.run(parts).data.tolist())
        cycles.append(machine.cycles)
    assert all(each == words[0] for each in words)
    assert cycles[0] < cycles[1] == cycles[2] != cycles[3]


def test_found_again_and_made_anew_for_other_verilog(cores, monkeypatch):
    first = build(PARAMETERS, cores)
    made = first.stat().st_mtime_ns
    assert build(PARAMETERS, cores) == first
    assert first.stat().st_mtime_ns == made
    monkeypatch.setattr("hdl.compiled.wrapper", lambda _: "module machine; nonsense")
    with pytest.raises(ToolError, match="verilator failed"):
        build(PARAMETERS, cores)


def test_the_lanes_of_a_device_compute_the_same(cores):
    machine = Compiled(replace(PARAMETERS, device="ecp5", trace=False), cores)
    assert not compare(RESIDUAL.network, RESIDUAL.images, RESIDUAL.steps, machine)[1]


def test_stalls_that_never_end_are_refused(cores):
    with pytest.raises(InputError, match=r"stalls is 1\.0; 0 to less than 1 was expected"):
        Compiled(PARAMETERS, cores, stalls=1.0)
