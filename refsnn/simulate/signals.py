"""What populations send to each other inside the simulator: trains of ternary events, or one graded event a neuron.

Maps are channels last, ``(N, T, H, W, C)``; a ``(C,)`` population is ``(C, 1, 1)``.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from refsnn.geometry import Shape
from refsnn.kernels import Events, Populations
from refsnn.kernels.maps import Maps
from refsnn.network import MaxPool


@dataclass(slots=True, kw_only=True, eq=False)
class Signal:
    """What a population sends for a slice of images.

    Attributes:
        plain: see ``values``; None where there are only ``maps`` so far.
        maps: the same in the layout of the dense kernels; None where it was not asked for.
        graded: whether there is one graded event a neuron, and not a train.
        static: whether the graded events are the same in every step.
        largest: no graded event's magnitude exceeds this.
        base, steps: of the code.
        spikes: ``(T', P) int64``: number of non-zero ternary events in each step at each pixel, over the slice; of a
            code ``(1, P)``, its digits. Empty where ``static``, and where the kernel counts them (``maps.KernelCall``).
    """

    plain: Events | None = None
    maps: Maps | None = None
    graded: bool = False
    static: bool = False
    largest: int = 1
    base: int = 1
    steps: int = 0
    spikes: NDArray[np.int64] = field(default_factory=lambda: np.zeros((1, 0), np.int64))

    @property
    def values(self) -> Events:
        """``(N, T', H, W, C) int8``: a train of ternary events; or ``(N, 1, H, W, C) int32``: one graded event.

        It is that of the whole run (net count or binary code), or of each step where ``static``.
        """
        if self.plain is None:
            assert self.maps is not None
            events = self.maps.plain()
            self.plain = events.astype(np.int32) if self.graded else events
        return self.plain

    @property
    def is_train(self) -> bool:
        """Whether there are events for each step."""
        return not self.graded

    @property
    def length(self) -> int:
        """Steps of the train."""
        if self.graded:
            return self.steps
        return self.maps.steps if self.plain is None and self.maps is not None else self.values.shape[1]

    def train(self, length: int) -> NDArray[Any]:
        """The ternary events, with steps of silence behind up to ``length``."""
        values = self.values if self.is_train else digits(self.values, self.base, self.steps)
        if values.shape[1] == length:
            return values
        padded = np.zeros((values.shape[0], length, *values.shape[2:]), np.int8)
        padded[:, : values.shape[1]] = values
        return padded

    def code(self) -> Signal:
        """One graded event for each neuron instead of a train."""
        if not self.is_train:
            return self
        counts = self.values.sum(axis=1, dtype=np.int32, keepdims=True)
        return Signal(plain=counts, graded=True, largest=self.length, steps=self.steps)

    def image(self, index: int) -> Signal:
        """The signal of one image of the slice, without counters."""
        values = self.values[index : index + 1]
        return Signal(
            plain=values, graded=self.graded, static=self.static, largest=self.largest, base=self.base, steps=self.steps
        )


def digits(codes: NDArray[Any], base: int, steps: int) -> NDArray[np.int8]:
    """The ternary digits of codes ``(N, 1, H, W, C)``, most significant first: ``(N, T, H, W, C) int8``."""
    step = np.arange(steps).reshape(1, -1, 1, 1, 1)
    magnitude = np.abs(codes)
    present = magnitude > step if base == 1 else (magnitude >> (steps - 1 - step)) & 1
    signed: NDArray[np.int8] = (np.sign(codes) * present).astype(np.int8)
    return signed


def count_spikes(kernels: Populations, train: NDArray[Any]) -> NDArray[np.int64]:
    """The number of non-zero events in each step at each pixel of ``(N, T, H, W, C)`` maps: ``(T, P)``."""
    number, steps, height, width, channels = train.shape
    counts = np.zeros((steps, height * width), np.int64)
    kernels.count_events(train.reshape(number, steps, height * width, channels), counts)
    return counts


def max_pool(kernels: Populations, population: MaxPool, source: Signal) -> Signal:
    """What a max-pool sends.

    Its events telescope: after any step their weighted sum is the maximum of the sources' weighted sums. So the code is
    the maximum of the codes, and static events are the maximum of static events.
    """
    if source.is_train:
        running = np.cumsum(source.values, axis=1, dtype=np.int32)
        train = np.diff(_maximum(kernels, population, running), axis=1, prepend=np.int32(0)).astype(np.int8)
        return Signal(plain=train, steps=source.steps, spikes=count_spikes(kernels, train))
    maxima = _maximum(kernels, population, source.values)
    spikes = np.zeros((1, 0), np.int64)
    if not source.static:
        magnitude = np.abs(maxima)
        sent = magnitude if source.base == 1 else np.bitwise_count(magnitude)
        spikes = sent.sum(axis=(0, 4), dtype=np.int64).reshape(1, -1)
    return Signal(
        plain=maxima,
        graded=True,
        static=source.static,
        largest=source.largest,
        base=source.base,
        steps=source.steps,
        spikes=spikes,
    )


def _maximum(kernels: Populations, population: MaxPool, values: NDArray[Any]) -> NDArray[np.int32]:
    """The maxima in each window of ``(N, T, H, W, C)`` maps."""
    number, steps, _, _, channels = values.shape
    maxima = np.empty((number, steps, *population.shape[1:], channels), np.int32)
    kernels.window_maximum(
        values.reshape(-1, *values.shape[2:]),
        (*population.kernel, *population.stride, population.padding[0], population.padding[2]),
        population.zero_padding,
        maxima.reshape(-1, *maxima.shape[2:]),
    )
    return maxima


def spatial(shape: Shape) -> Shape:
    """``(C,)`` as ``(C, 1, 1)``."""
    return shape if len(shape) == 3 else (shape[0], 1, 1)


def channels_last(bias: NDArray[np.int32]) -> NDArray[np.int32]:
    """A ``(C,)`` or ``(C, H, W)`` bias, ready to be added to ``(..., H, W, C)``."""
    return bias if bias.ndim == 1 else np.ascontiguousarray(bias.transpose(1, 2, 0))


def channels_first(maps: NDArray[Any], shape: Shape) -> NDArray[Any]:
    """A copy of ``(..., H, W, C)`` maps as ``(..., *shape)``."""
    return np.moveaxis(maps, -1, -3).copy(order="C").reshape(*maps.shape[:-3], *shape)
