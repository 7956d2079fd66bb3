"""Which real value a layer's full spike train represents: theta, by the rule that the settings name."""

from __future__ import annotations

import numpy as np

from refsnn.ann.graph import Array
from refsnn.convert.calibration import Calibration, Histogram
from refsnn.convert.lower import RealPopulation
from refsnn.convert.settings import Settings
from refsnn.errors import InputError

DEFAULT_PERCENTILE = 99.9
GRID = 48
"""Candidates of the coarse search for the least squared error; its minimum is then refined."""


def is_learned(population: RealPopulation, settings: Settings) -> bool:
    """Whether the file's own learned bound is the threshold."""
    activation = population.activation
    return settings.threshold in ("auto", "learned") and activation is not None and activation.bound is not None


def choose(population: RealPopulation, settings: Settings, levels: int, calibration: Calibration | None) -> Array:
    """``(C,)``: theta of a firing population, 0 for a channel that is dead on the calibration images.

    Args:
        population: rectified or signed; a signed layer's theta is a statistic of ``|z|``.
        settings: the rule, and whether a channel or a layer has one.
        levels: the largest count or code of the run; only the least squared error looks at it.
        calibration: may be None where everything is learned.

    Raises:
        InputError: the rule needs calibration images and there are none, or a learned threshold that is not there.
    """
    channels = population.shape[0]
    activation = population.activation
    if is_learned(population, settings):
        assert activation is not None
        assert activation.bound is not None
        theta = np.broadcast_to(activation.bound, (channels,)).astype(np.float64)
    else:
        if settings.threshold == "learned" and population.kind == "rectified":
            raise InputError(
                f"layer '{population.operation}' has no learned threshold in the file; "
                "use --threshold percentile:99.9 (or max, mse) with calibration images"
            )
        if calibration is None:
            raise InputError(
                f"layer '{population.operation}' has no learned threshold: calibration images are needed to find one"
            )
        theta = np.broadcast_to(_statistic(population, settings, levels, calibration), (channels,)).copy()
    if activation is not None and activation.maximum is not None:
        theta = np.minimum(theta, activation.maximum)
    return theta


def _statistic(population: RealPopulation, settings: Settings, levels: int, calibration: Calibration) -> Array:
    if settings.threshold == "max":
        maxima = calibration.maxima[population.operation]
        return maxima if settings.per_channel else maxima.max(keepdims=True)
    histogram = calibration.histogram(population.operation, per_channel=settings.per_channel)
    if settings.threshold == "mse":
        return np.array([_least_error(histogram, k, levels) for k in range(len(histogram.maximum))])
    percent = DEFAULT_PERCENTILE if settings.threshold in ("auto", "learned") else settings.percentile
    return histogram.percentile(percent)


def squared_error(theta: float, values: Array, counts: Array, levels: int) -> float:
    """The squared error of ``values`` (occurring ``counts`` times) quantised to ``levels`` steps of ``0 .. theta``."""
    step = theta / levels
    quantised = np.clip(np.floor(values / step + 0.5), 0, levels) * step
    return float((counts * (values - quantised) ** 2).sum())


def _least_error(histogram: Histogram, k: int, levels: int) -> float:
    """Theta with the least squared quantisation error of one row of a histogram: a grid, then a bounded search."""
    from scipy.optimize import minimize_scalar  # a third of a second that most runs need not pay

    maximum = float(histogram.maximum[k])
    if maximum == 0:
        return 0.0
    present = histogram.counts[k] > 0
    values, counts = histogram.centres[k][present], histogram.counts[k][present].astype(np.float64)
    grid = maximum * np.geomspace(1 / 64, 1, GRID)
    errors = [squared_error(theta, values, counts, levels) for theta in grid]
    best = int(np.argmin(errors))
    bounds = (grid[max(best - 1, 0)], grid[min(best + 1, GRID - 1)])
    found = minimize_scalar(
        squared_error, bounds=bounds, args=(values, counts, levels), method="bounded", options={"xatol": maximum * 1e-4}
    )
    return float(found.x if found.fun < errors[best] else grid[best])
