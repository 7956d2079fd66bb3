"""Least squares for the weights of a population: which columns its rows read, their moments, and the ridge solution."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from refsnn.ann.graph import Array
from refsnn.convert.lower import RealPopulation

RIDGE = 0.01
"""How much a change of a weight costs, as a fraction of the mean second moment of what the weights read."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Piece:
    """The group of a term that some rows read.

    Attributes:
        term: index of the term.
        group: which of its groups.
        rows: ``(R,)`` of the term's weights.
    """

    term: int
    group: int
    rows: NDArray[np.int64]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Part:
    """Channels of a population that read the same columns; K is the length of their pieces together.

    Attributes:
        channels: ``(R,)``.
        pieces: from the terms with conv or dense weights.
    """

    channels: NDArray[np.int64]
    pieces: tuple[Piece, ...]

    def gather(self, weights: Sequence[Array]) -> Array:
        """``(R, K)`` from the weights of every term."""
        return np.concatenate([weights[p.term][p.rows].reshape(len(p.rows), -1) for p in self.pieces], axis=1)

    def scatter(self, matrix: Array, weights: Sequence[NDArray[Any]]) -> None:
        """Write ``(R, K)`` into the weights of every term."""
        begin = 0
        for p in self.pieces:
            shape = (len(p.rows), *weights[p.term].shape[1:])
            size = int(np.prod(shape[1:]))
            weights[p.term][p.rows] = matrix[:, begin : begin + size].reshape(shape)
            begin += size

    def read(self, columns: dict[int, NDArray[Any]]) -> NDArray[Any]:
        """``(n, K)`` from the columns ``(groups, n, K')`` of every term."""
        return np.concatenate([columns[p.term][p.group] for p in self.pieces], axis=1)


def parts(population: RealPopulation) -> tuple[Part, ...]:
    """The channels of a population by the columns that they read; none where a dense layer makes a map."""
    terms = {i: t for i, t in enumerate(population.terms) if t.kind != "identity"}
    if len(population.shape) == 3 and any(term.kind == "dense" for term in terms.values()):
        return ()
    readers: dict[tuple[tuple[int, int], ...], list[int]] = {}
    for channel in range(population.shape[0]):
        key = []
        for i, term in terms.items():
            row = channel - term.channel
            if 0 <= row < len(term.weights):
                key.append((i, row * term.groups // len(term.weights)))
        if key:
            readers.setdefault(tuple(key), []).append(channel)
    return tuple(
        Part(
            channels=np.array(channels),
            pieces=tuple(Piece(term=i, group=g, rows=np.array(channels) - terms[i].channel) for i, g in key),
        )
        for key, channels in readers.items()
    )


@dataclass(kw_only=True, eq=False)
class Moments:
    """Sums over sites of what a part reads, x ``(K,)``, and of its targets y ``(R,)``.

    Attributes:
        count: sites.
        x, xx, y, xy: ``(K,)``, ``(K, K)``, ``(R,)``, ``(K, R)``: the sums of x, of x x^T, of y and of x y^T.
    """

    count: int
    x: Array
    xx: Array
    y: Array
    xy: Array

    @property
    def covariance(self) -> Array:
        """``(K, K)`` of x."""
        mean = self.x / self.count
        result: Array = self.xx / self.count - np.outer(mean, mean)
        return result

    def solve(self, weights: Array, scale: Array, fixed: NDArray[np.bool_]) -> tuple[Array, Array]:
        """The weights and constants with the least squared error of ``y``, drawn towards the given weights.

        Minimises the mean of ``|W (scale x) + c - y|^2`` plus ``RIDGE m |W - weights|^2``, where m is the mean
        variance of ``scale x``.

        Args:
            weights: ``(R, K)``.
            scale: ``(K,)``: the real value of an x of 1.
            fixed: ``(K,)``: columns whose weights stay.

        Returns:
            ``(R, K)`` and ``(R,)``.
        """
        from scipy.linalg import cho_factor, cho_solve

        covariance = self.covariance * np.outer(scale, scale)
        mean = self.x / self.count * scale
        cross = (self.xy / self.count - np.outer(self.x, self.y) / self.count**2) * scale[:, np.newaxis]
        free = ~fixed
        variance = np.diag(covariance)[free].mean() if free.any() else 0.0
        result = weights.copy()
        if variance > 0:
            matrix = covariance[np.ix_(free, free)] + RIDGE * variance * np.eye(int(free.sum()))
            residual = (cross - covariance @ weights.T)[free]
            result[:, free] += cho_solve(cho_factor(matrix), residual).T
        return result, self.y / self.count - result @ mean
