"""The theorems of ``docs/numerics.md``, section 4, on the scalar functions that every kernel inlines."""

from __future__ import annotations

from itertools import product

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from refsnn.kernels import neurons as compiled
from refsnn.neurons import NEVER, clamp, fire, send

thresholds = st.integers(1, 1 << 14)
steps_of_a_run = st.integers(1, 12)


def quantised(total, threshold, low, high):
    """Q(S) with exact halves."""
    return min(max((total + (threshold >> 1)) // threshold, low), high)


def run(currents, threshold, low, high, negative=0):
    """A neuron through all currents, unclamped: its spikes, and its final membrane."""
    v, n, spikes = threshold >> 1, 0, []
    for current in currents:
        u = v + current
        s = fire(u, n, threshold, negative, low, high)
        v, n = u - s * threshold, n + s
        spikes.append(s)
    return spikes, v


def sent(v, threshold, base, steps, signed):
    """The digits of a temporally separated neuron whose accumulation has ended at ``v``."""
    result = []
    for step in range(steps):
        weighted = threshold * base ** (steps - 1 - step)
        digit = send(v, weighted, threshold, signed)
        v -= digit * weighted
        result.append(digit)
    return result


def weighted(digits, base):
    total = 0
    for digit in digits:
        total = base * total + digit
    return total


def test_half_thresholds_round_as_the_fraction_does():
    for threshold, total in product(range(1, 12), range(-40, 90)):
        assert quantised(total, threshold, 0, 5) == min(max((2 * total + threshold) // (2 * threshold), 0), 5)


@given(thresholds, steps_of_a_run, st.data())
def test_constant_current_without_drain_is_exact(threshold, steps, data):
    current = data.draw(st.integers(-3 * threshold, 3 * threshold))
    spikes, _ = run([current] * steps, threshold, NEVER, NEVER)
    assert sum(spikes) == quantised(steps * current, threshold, 0, steps)


@given(thresholds, steps_of_a_run, st.data())
def test_dual_neurons_are_exact_after_draining(threshold, steps, data):
    currents = data.draw(st.lists(st.integers(-3 * threshold, 3 * threshold), min_size=steps, max_size=steps))
    spikes, _ = run(currents + [0] * (steps - 1), threshold, 0, steps)
    assert sum(spikes) == quantised(sum(currents), threshold, 0, steps)


@given(thresholds, steps_of_a_run, st.data())
def test_signed_neurons_are_exact_after_draining(threshold, steps, data):
    currents = data.draw(st.lists(st.integers(-3 * threshold, 3 * threshold), min_size=steps, max_size=steps))
    spikes, _ = run(currents + [0] * (2 * steps - 1), threshold, -steps, steps)
    assert sum(spikes) == quantised(sum(currents), threshold, -steps, steps)


@pytest.mark.parametrize("steps", [1, 2, 3])
@pytest.mark.parametrize("threshold", [1, 2, 3, 4])
def test_drained_neurons_are_exact_for_every_small_input(threshold, steps):
    reach = range(-2 * threshold, 2 * threshold + 1)
    for currents in product(reach, repeat=steps):
        total = sum(currents)
        for low, drain in ((0, steps - 1), (-steps, 2 * steps - 1)):
            spikes, _ = run([*currents, *[0] * drain], threshold, low, steps)
            assert sum(spikes) == quantised(total, threshold, low, steps), (currents, low)


@pytest.mark.parametrize(("low", "drain"), [(0, 1), (-3, 3)])
def test_fewer_drain_steps_are_too_few(low, drain):
    """The theorem's T - 1 steps are needed by dual neurons; signed ones need 2T - 2 (it promises 2T - 1)."""
    threshold, steps = 2, 3
    inputs = list(product(range(-10, 11), repeat=steps))

    def wrong(drain):
        spikes = (sum(run([*currents, *[0] * drain], threshold, low, steps)[0]) for currents in inputs)
        return sum(
            count != quantised(sum(currents), threshold, low, steps)
            for count, currents in zip(spikes, inputs, strict=True)
        )

    assert wrong(drain) > 0
    assert wrong(drain + 1) == 0


@given(
    st.sampled_from([(1, steps) for steps in range(1, 13)] + [(2, steps) for steps in range(1, 13)]),
    thresholds,
    st.data(),
)
def test_accumulate_then_fire_is_exact(schedule, threshold, data):
    base, steps = schedule
    levels = steps if base == 1 else 2**steps - 1
    total = data.draw(st.integers(-2 * levels * threshold, 2 * levels * threshold))
    v = total + (threshold >> 1)
    assert weighted(sent(v, threshold, base, steps, False), base) == quantised(total, threshold, 0, levels)
    assert weighted(sent(v, threshold, base, steps, True), base) == quantised(total, threshold, -levels, levels)


@pytest.mark.parametrize("base", [1, 2])
def test_accumulate_then_fire_is_exact_for_every_small_total(base):
    for steps, threshold in product(range(1, 5), range(1, 6)):
        levels = steps if base == 1 else 2**steps - 1
        for v in range(-(levels + 2) * threshold, (levels + 2) * threshold):
            for signed in (False, True):
                code = min(max(v // threshold, -levels if signed else 0), levels)
                digits = sent(v, threshold, base, steps, signed)
                assert weighted(digits, base) == code
                ones = abs(code) if base == 1 else abs(code).bit_count()
                assert sum(map(abs, digits)) == ones


@given(st.integers(2, 1 << 14), st.integers(1, 12), st.data())
def test_doubling_a_saturating_membrane_leaves_the_digits_unchanged(threshold, steps, data):
    """Hardware keeps the threshold at that of the first digit and doubles the membrane, which may saturate upward."""
    most = threshold << (steps - 1)
    v = data.draw(st.integers(0, 6 * most))
    largest = data.draw(st.integers(2 * most, 8 * most))
    doubled, digits = min(v, largest), []
    for _ in range(steps):
        digit = int(doubled >= most)
        doubled = min(2 * (doubled - digit * most), largest)
        digits.append(digit)
    assert digits == sent(v, threshold, 2, steps, False)


wide = st.integers(-(2**33), 2**33)
settings_of_a_neuron = st.tuples(
    thresholds, st.integers(0, 1 << 14), st.sampled_from([(NEVER, NEVER), (0, 4), (-4, 4), (0, NEVER), (-NEVER, NEVER)])
)


@given(wide, st.integers(-9, 9), settings_of_a_neuron)
def test_compiled_neurons_equal_unbounded_integers(v, n, neuron):
    threshold, negative, (low, high) = neuron
    for bits in (8, 16, 32):
        limits = -(2 ** (bits - 1)), 2 ** (bits - 1) - 1
        u = clamp(v, *limits)
        assert compiled.clamp(np.int64(v), *limits) == u
        expected = fire(u, n, threshold, negative, low, high)
        narrow = [np.int32(value) for value in (u, n, threshold, negative, low, high)]
        after = u - expected * threshold
        assert compiled.fire(*narrow) == (expected, after)
        assert compiled.fire(u, n, threshold, negative, low, high) == (expected, after)
        assert fire(*(np.array([value]) for value in narrow[:2]), threshold, negative, low, high) == [expected]
        for step in range(13):
            digit = send(u, threshold << step, threshold, True)
            assert compiled.send(np.int64(u), np.int64(threshold << step), np.int64(threshold), True) == digit
            assert send(np.array([u], np.int64), threshold << step, threshold, True) == [digit]
