"""Parameters chosen for a network: lanes by the rule, widths and depths that suffice and that are not generous."""

from __future__ import annotations

from dataclasses import asdict, replace

import pytest

from golden.directed import suite
from hdl.execute import job_parts
from hdl.fit import arrange, fit, layers
from hdl.simulation import Simulated
from refsnn.errors import InputError, WidthError
from refsnn.network import UNTIL_QUIET
from tests.hdl.layers import Reference, compare

CASES = {case.name: case for case in suite()}


def drain_of(case):
    return 8 if case.network.drain == UNTIL_QUIET else case.network.drain


@pytest.mark.slow
@pytest.mark.parametrize("name", sorted(CASES.keys() - {"convolutions"}))  # which takes as long as all others
def test_the_fitted_core_is_wide_and_deep_enough(name):
    case = CASES[name]
    network = case.network
    reference = Reference(network, case.images[:1], case.steps)
    machine = Simulated(fit(network, case.steps, max(reference.drain, 0), lanes=8))
    ran, refused = compare(network, case.images[:1], case.steps, machine, reference)
    assert not refused
    assert len(ran) == len(network.populations) - 1


@pytest.mark.parametrize("name", ["residual", "rate-drain", "max-pool", "convolutions"])
def test_no_width_and_no_depth_is_generous(name):
    """A bit less, or half the words, and the network is refused, or split into more jobs."""
    case = CASES[name]
    drain = drain_of(case)
    parameters = fit(case.network, case.steps, drain, lanes=8)
    jobs = sum(len(layer.jobs) for layer in layers(case.network, case.steps, drain, parameters))
    least = {"accumulator_bits": 8 * parameters.weight_planes, "state_bits": 16, "membrane_bits": 8, "count_bits": 3}
    least |= dict.fromkeys(("event_words", "weight_words", "fetches", "taps", "segments", "neurons"), 2)
    for name, value in asdict(parameters).items():
        if name not in least or value == least[name]:
            continue
        smaller = value - 1 if name.endswith("bits") else value // 2
        if name == "membrane_bits" and value == case.network.membrane_bits:
            continue  # as wide as the network's, which clamps there
        if name in ("fetches", "taps"):
            smaller //= 2  # one entry is left free
            if smaller < 2:
                continue
        try:
            found = layers(case.network, case.steps, drain, replace(parameters, **{name: smaller}))
        except InputError:
            continue
        assert sum(len(layer.jobs) for layer in found) > jobs, name


@pytest.mark.parametrize(
    ("lanes", "given", "expected"),
    [
        (8, {}, {"columns": 4, "pixels": 2, "channels": 1, "rows": 1}),
        (64, {}, {"columns": 4, "pixels": 8, "channels": 2, "rows": 1}),
        (512, {}, {"columns": 4, "pixels": 8, "channels": 4, "rows": 4}),
        (512, {"rows": 1}, {"columns": 4, "pixels": 8, "channels": 16, "rows": 1}),
        (96, {"pixels": 2}, {"columns": 4, "pixels": 2, "channels": 4, "rows": 3}),
        (12, {"channels": 3, "columns": 2, "pixels": 1}, {"columns": 2, "pixels": 1, "channels": 3, "rows": 2}),
    ],
)
def test_lanes_are_arranged(lanes, given, expected):
    """Its largest maps have 4 channels of 5 x 5 pixels; 4 columns where there are 4 steps and more."""
    assert arrange(CASES["convolutions"].network, 6, lanes, given) == expected


def test_dense_layers_have_no_pixels():
    case = CASES["rate-drain"]
    assert arrange(case.network, 6, 32, {}) == {"columns": 4, "pixels": 1, "channels": 8, "rows": 1}


@pytest.mark.parametrize(
    ("lanes", "given", "text"),
    [
        (100, {"channels": 3}, "lanes is 100, but 3 channels x .* are 99"),
        (64, {"rows": 1, "channels": 2, "columns": 4, "pixels": 4}, "lanes is 64, but .* are 32"),
        (0, {}, "lanes is 0"),
    ],
)
def test_lanes_that_cannot_be_arranged(lanes, given, text):
    with pytest.raises(InputError, match=text):
        arrange(CASES["convolutions"].network, 6, lanes, given)


def test_numbers_that_no_field_holds_are_refused():
    """A run of 300 steps has 75 chunks of 4 columns."""
    network = CASES["convolutions"].network
    parameters = fit(network, 300, 0, lanes=8)
    job = layers(network, 300, 0, parameters)[1].jobs[0]
    with pytest.raises(WidthError, match="'chunks' would be 75; 0 to 63 are possible"):
        job_parts(job, parameters)


@pytest.mark.parametrize(
    ("given", "text"),
    [
        ({"state_bits": 16}, r"'\w+': currents need \d+ bits, the core has 16 state bits"),
        ({"event_words": 2}, r"'\w+' needs [\d,]+ event words, the core has 2"),
        ({"weight_words": 2}, r"'\w+' needs [\d,]+ weight words, the core has 2"),
        ({"pooling": False}, "is a max-pool; the core was made without"),
    ],
)
def test_what_is_given_and_too_small_is_refused_with_the_numbers(given, text):
    case = CASES["max-pool"]
    with pytest.raises(InputError, match=text):
        fit(case.network, case.steps, 0, lanes=8, fixed=given)
