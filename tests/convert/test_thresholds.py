from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from refsnn.ann.forward import forward
from refsnn.ann.graph import Preprocessing
from refsnn.convert import Calibration
from refsnn.convert.calibration import Histogram
from refsnn.convert.normalise import normalise
from refsnn.convert.thresholds import _least_error, squared_error
from tests.convert.graphs import FAMILIES


def histogram(values: np.ndarray, bins: int = 1 << 14) -> Histogram:
    result = Histogram(maximum=values.max(axis=1), counts=np.zeros((len(values), bins), np.int64))
    result.add(values)
    return result


@given(seed=st.integers(0, 1000), percent=st.floats(50, 100))
def test_percentile_is_numpys_within_a_bin(seed, percent):
    values = np.maximum(np.random.default_rng(seed).normal(size=(2, 5000)), 0)
    got = histogram(values).percentile(percent)
    ordered = np.sort(values, axis=1)
    rank = percent / 100 * 5000
    low = ordered[:, max(int(np.floor(rank)) - 2, 0)]
    high = ordered[:, min(int(np.ceil(rank)) + 1, 4999)]
    bin_width = values.max(axis=1) / (1 << 14)
    assert (got >= low - bin_width).all()
    assert (got <= high + bin_width).all()


@pytest.mark.parametrize("levels", [1, 2, 4, 15])
def test_least_squared_error_beats_every_other_threshold(levels):
    values = np.maximum(np.random.default_rng(levels).normal(size=(1, 20000)), 0)
    h = histogram(values)
    found = _least_error(h, 0, levels)
    counts, centres = h.counts[0].astype(float), h.centres[0]
    best = squared_error(found, centres, counts, levels)
    others = [squared_error(t, centres, counts, levels) for t in np.linspace(0.02, 1, 400) * h.maximum[0]]
    assert best <= min(others) * 1.002


def test_statistics_are_those_of_the_forward_pass_for_any_number_of_threads():
    graph = FAMILIES[2](0)[1].graph()
    images = np.random.default_rng(0).integers(0, 256, (40, 3, 8, 8)).astype(np.uint8)
    one, two = (Calibration.measure(graph, images, Preprocessing(scale=255), threads=t) for t in (1, 2))
    seen: dict[str, np.ndarray] = {}
    forward(normalise(graph), images / 255.0, lambda op, v: seen.__setitem__(op.name, np.abs(v)))
    for name, maximum in one.maxima.items():
        np.testing.assert_allclose(maximum, np.moveaxis(seen[name], 1, 0).reshape(len(maximum), -1).max(axis=1))
        for per_channel in (False, True):
            a, b = (c.histogram(name, per_channel=per_channel) for c in (one, two))
            assert np.array_equal(a.counts, b.counts)
            assert np.array_equal(a.maximum, b.maximum)
            assert a.counts.sum() == seen[name].size
