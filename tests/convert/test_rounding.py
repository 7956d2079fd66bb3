"""Error feedback and the ridge solution against what defines them."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from refsnn.convert.refit import RIDGE, Moments
from refsnn.convert.rounding import nearest, with_feedback


def correlated(random, count, size):
    return random.normal(size=(count, size)) @ random.normal(size=(size, size)) + random.normal(size=size)


@given(seed=st.integers(0, 999), largest=st.sampled_from([1, 3, 7, 127]))
def test_feedback_keeps_to_the_grid_and_its_limits(seed, largest):
    random = np.random.default_rng(seed)
    weights = random.normal(size=(4, 9)) * largest
    grid = 2.0 ** -random.integers(0, 3, (4, 9))
    x = correlated(random, 30, 9)
    result = with_feedback(weights, grid, largest, x.T @ x)
    assert (np.rint(result) == result).all()
    assert np.abs(result).max() <= largest


def test_feedback_beats_the_nearest():
    random = np.random.default_rng(1)
    for size in (9, 36):
        x = correlated(random, 500, size)
        weights, grid = random.normal(size=(8, size)) * 2, np.ones((8, size))
        errors = [
            np.square((rounded - weights) @ x.T).mean()
            for rounded in (nearest(weights, grid, 7), with_feedback(weights, grid, 7, x.T @ x / 500))
        ]
        assert errors[1] < 0.7 * errors[0]


def test_feedback_leaves_alone_what_is_on_the_grid_or_reads_nothing():
    random = np.random.default_rng(2)
    whole = random.integers(-7, 8, (3, 12)).astype(float)
    x = correlated(random, 50, 12)
    np.testing.assert_array_equal(with_feedback(whole, np.ones((3, 12)), 7, x.T @ x), whole)
    part = whole + random.uniform(-0.4, 0.4, whole.shape)
    np.testing.assert_array_equal(with_feedback(part, np.ones((3, 12)), 7, np.zeros((12, 12))), whole)


@pytest.mark.parametrize("frozen", [0, 3, 8])
def test_the_ridge_solution_is_that_of_least_squares(frozen):
    """Against an ordinary least-squares problem with the penalty as further rows."""
    random = np.random.default_rng(3)
    n, size, rows = 60, 8, 3
    x, y = correlated(random, n, size), random.normal(size=(n, rows))
    scale, weights = random.uniform(0.5, 2, size), random.normal(size=(rows, size))
    fixed = np.arange(size) < frozen
    moments = Moments(count=n, x=x.sum(0), xx=x.T @ x, y=y.sum(0), xy=x.T @ y)
    found, constant = moments.solve(weights, scale, fixed)
    real = x * scale
    if frozen < size:
        penalty = np.sqrt(RIDGE * real.var(axis=0)[~fixed].mean() * n) * np.eye(size - frozen)
        a = np.block([[real[:, ~fixed], np.ones((n, 1))], [penalty, np.zeros((size - frozen, 1))]])
        b = np.vstack([y - real[:, fixed] @ weights[:, fixed].T, (weights[:, ~fixed] @ penalty).T])
        expected = np.linalg.lstsq(a, b, rcond=None)[0]
        np.testing.assert_allclose(found[:, ~fixed], expected[:-1].T, atol=1e-8)
        np.testing.assert_allclose(constant, expected[-1], atol=1e-8)
    np.testing.assert_array_equal(found[:, fixed], weights[:, fixed])
    np.testing.assert_allclose((real @ found.T + constant - y).mean(axis=0), 0, atol=1e-8)
