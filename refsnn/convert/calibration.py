"""What the ANN's values look like on calibration images: the statistics from which thresholds are chosen."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from threading import Lock

import numpy as np
from numpy.typing import NDArray

from refsnn.ann import graph as ann
from refsnn.ann.forward import forward, map_blocks
from refsnn.ann.graph import Array, Graph, Preprocessing
from refsnn.convert.lower import lower
from refsnn.convert.normalise import normalise
from refsnn.errors import InputError

LAYER_BINS = 1 << 16
CHANNEL_BINS = 1 << 11


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Histogram:
    """Sizes ``|z|`` of one layer's values, zeros included; integer counts, so any order of summing gives the same.

    Attributes:
        maximum: ``(K,)``: the largest value; K is 1 for a layer, C for its channels.
        counts: ``(K, bins) int64``: how many values lie in each of ``bins`` equal parts of ``0 .. maximum``.
    """

    maximum: Array
    counts: NDArray[np.int64]

    @property
    def centres(self) -> Array:
        """``(K, bins)``: the middle of each bin; that of the first is 0, where a rectifier puts most values."""
        bins = self.counts.shape[1]
        middle = (np.arange(bins) + 0.5) / bins
        middle[0] = 0.0
        result: Array = self.maximum[:, None] * middle
        return result

    def add(self, sizes: Array) -> None:
        """Count ``(K, n)`` sizes."""
        rows, bins = self.counts.shape
        scale = bins / np.where(self.maximum > 0, self.maximum, np.inf)
        index = np.minimum((sizes * scale[:, None]).astype(np.int64), bins - 1)
        index += np.arange(rows)[:, None] * bins
        self.counts[:] += np.bincount(index.ravel(), minlength=rows * bins).reshape(rows, bins)

    def percentile(self, percent: float) -> Array:
        """``(K,)``: the value below which ``percent`` of the values lie, interpolated within its bin."""
        bins = self.counts.shape[1]
        result = np.empty(len(self.maximum))
        for k, row in enumerate(self.counts):
            total = np.cumsum(row)
            wanted = total[-1] * percent / 100
            index = min(int(np.searchsorted(total, wanted)), bins - 1)
            before = total[index] - row[index]
            inside = (wanted - before) / row[index] if row[index] else 1.0
            # Of the first bin most values are exactly 0: a percentile that falls there is 0.
            result[k] = 0.0 if index == 0 else self.maximum[k] * (index + inside) / bins
        return result


@dataclass(kw_only=True, eq=False)
class Calibration:
    """Statistics of a network on calibration images; nothing is computed before it is asked for.

    Attributes:
        graph: the network (as read; it is normalised here as the conversion does).
        images: ``(N, C, H, W) uint8``; never the test images.
        preprocessing: from bytes to the network's input.
        threads: workers; the result does not depend on it.
    """

    graph: Graph
    images: NDArray[np.uint8]
    preprocessing: Preprocessing
    threads: int = 1

    @classmethod
    def measure(
        cls, graph: Graph, images: NDArray[np.uint8], preprocessing: Preprocessing, *, threads: int = 1
    ) -> Calibration:
        """Prepare the statistics of ``graph`` on ``images``.

        Raises:
            InputError: there are no images.
        """
        if len(images) == 0:
            raise InputError("calibration needs at least one image")
        return cls(graph=graph, images=images, preprocessing=preprocessing, threads=threads)

    @cached_property
    def _normalised(self) -> Graph:
        return normalise(self.graph)

    @cached_property
    def _observed(self) -> dict[str, int]:
        """The operations whose values populations represent, with their channels."""
        return {
            population.operation: population.shape[0]
            for population in lower(self._normalised)
            if population.kind in ("rectified", "signed")
        }

    def _each(self, see: Callable[[str, Array], None]) -> None:
        """Call ``see`` with the name and ``|z|`` as ``(C, n)`` of each observed operation, one call at a time.

        What ``see`` gathers must not depend on the order of the calls.
        """
        turn = Lock()

        def observe(operation: ann.Operation, values: Array) -> None:
            if operation.name in self._observed:
                sizes = np.moveaxis(np.abs(values), 1, 0).reshape(values.shape[1], -1)
                with turn:
                    see(operation.name, sizes)

        network = self._normalised
        map_blocks(
            lambda x: forward(network, x, observe) is None,
            network,
            self.images,
            self.preprocessing,
            threads=self.threads,
        )

    @cached_property
    def maxima(self) -> dict[str, Array]:
        """``(C,)`` an operation: the largest ``|z|`` of each channel."""
        result = {name: np.zeros(channels) for name, channels in self._observed.items()}

        def see(name: str, sizes: Array) -> None:
            np.maximum(result[name], sizes.max(axis=1), out=result[name])

        self._each(see)
        return result

    @cached_property
    def _by_layer(self) -> dict[str, Histogram]:
        return self._histograms({name: maximum.max(keepdims=True) for name, maximum in self.maxima.items()}, LAYER_BINS)

    @cached_property
    def _by_channel(self) -> dict[str, Histogram]:
        return self._histograms(self.maxima, CHANNEL_BINS)

    def _histograms(self, maxima: dict[str, Array], bins: int) -> dict[str, Histogram]:
        result = {
            name: Histogram(maximum=maximum, counts=np.zeros((len(maximum), bins), np.int64))
            for name, maximum in maxima.items()
        }
        self._each(lambda name, sizes: result[name].add(sizes.reshape(len(maxima[name]), -1)))
        return result

    def histogram(self, operation: str, *, per_channel: bool) -> Histogram:
        """The histogram of ``|z|`` of an operation's output, of the layer or of each channel."""
        return (self._by_channel if per_channel else self._by_layer)[operation]
