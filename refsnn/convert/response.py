"""What firing neurons answer to currents, whether these are integers or still real numbers."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from refsnn.ann.graph import Array
from refsnn.convert.quantise import negative_threshold
from refsnn.convert.settings import Settings
from refsnn.network import CAP_STEPS, NO_CAP, UNTIL_QUIET
from refsnn.neurons import NEVER, fire

ROWS = 1 << 13
"""Neurons simulated at a time: they stay in the caches."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Response:
    """The neurons of a population in a run of ``steps`` time-steps: numerics.md, sections 3 to 5.

    Attributes:
        steps: T.
        exact: whether the net count depends on the summed current alone: temporal separation, and neurons that take
            spikes back until they are quiet. ``levels`` then limits it.
        levels: the largest net count, in base 2 the largest code.
        length: time-steps that events are sent in: T and the drain steps; 1 where codes stand for them.
        times: by how much a summed current exceeds what it stands for: T, in base 2 1.
        low, high: of ``refsnn.neurons.fire``; ``low`` also of an exact response.
        negative: negative threshold as a fraction of the threshold.
        initial: initial membrane as a fraction of the threshold.
        limit: membranes are limited to ``-limit .. limit - 1``.
    """

    steps: int
    exact: bool
    levels: int
    length: int
    times: int
    low: int
    high: int
    negative: float
    initial: float
    limit: float

    @classmethod
    def of(cls, settings: Settings, steps: int, *, signed: bool) -> Response:
        """The response of the rectified or signed populations of a conversion."""
        schedule = settings.schedule
        exact = schedule.separated or settings.drain == UNTIL_QUIET
        neuron = "signed" if signed else settings.neuron
        cap = CAP_STEPS if signed or exact else settings.cap
        high = {CAP_STEPS: steps, NO_CAP: NEVER}.get(cap, cap)
        levels = schedule.levels(steps) if schedule.separated else high
        if exact:
            low = -levels if signed else 0
        else:
            low = {"if": NEVER, "dual": 0, "signed": -high}[neuron]
        return cls(
            steps=steps,
            exact=exact,
            levels=levels,
            length=1 if exact else steps + settings.drain,
            times=1 if schedule.base == 2 else steps,
            low=low,
            high=high,
            negative=0.0 if signed else settings.negative_threshold,
            initial=settings.initial_membrane,
            limit=np.inf if settings.membrane_bits is None else 2.0 ** (settings.membrane_bits - 1),
        )

    def counts(self, currents: NDArray[Any], constant: Array, threshold: NDArray[Any], initial: Array) -> NDArray[Any]:
        """The net counts (codes) ``(n, C)``; arguments as for ``events``."""
        sums: NDArray[Any] = self.events(currents, constant, threshold, initial).sum(axis=0)
        return sums

    def events(self, currents: NDArray[Any], constant: Array, threshold: NDArray[Any], initial: Array) -> NDArray[Any]:
        """The events (codes) sent.

        Args:
            currents: ``(length, n, C)``, of each time-step; with ``length`` 1 their weighted sum.
            constant: ``(C,)`` or ``(n, C)``: added in each of the steps 1..T.
            threshold: ``(C,)``, of the least significant spike; of an integer type if it is one.
            initial: ``(C,)``: the membrane before the first step.

        Returns:
            ``(length, n, C)`` whole numbers.
        """
        if self.exact:
            membrane = currents[0] + (self.times * constant + initial)
            np.clip(membrane, -self.limit, self.limit - 1, out=membrane)
            codes: NDArray[Any] = np.clip(np.floor(membrane / threshold), self.low, self.levels)
            return codes[np.newaxis]
        result = np.empty(currents.shape, np.int8)
        size = max(1, ROWS // currents.shape[2])
        negative = negative_threshold(self.negative, threshold)
        for start in range(0, currents.shape[1], size):
            part = slice(start, start + size)
            added = constant if constant.ndim == 1 else constant[part]
            v = np.broadcast_to(initial, currents[0, part].shape)
            n = np.zeros(v.shape, np.int32)
            for step in range(len(currents)):
                u = v + currents[step, part]
                if step < self.steps:
                    u += added
                if np.isfinite(self.limit):
                    np.clip(u, -self.limit, self.limit - 1, out=u)
                s = fire(u, n, threshold, negative, self.low, self.high)
                v = u - s * threshold
                n += s
                result[step, part] = s
        return result
