"""Four rows of spikes in three: a spike takes one bit, or two, of the byte that it is multiplied as.

Of a row ``s0`` of spikes and the rows ``s1``, ``s2``, ``s3`` that are a quarter of all rows apart, three are made::

    f0 = s0 + 2^k s1        f1 = s1 + 2^k s2        f2 = s2 + 2^k s3

which bytes hold: unsigned ones with k = 7 where spikes are 0 or 1, signed ones with k = 6 where they may be -1. Sums of
products with weights are linear, so ``F0 = S0 + 2^k S1`` and so on for the sums, and ::

    F0 - 2^k F1 + 2^2k F2 = S0 + 2^3k S3

is S0 modulo 2^3k: S0 itself, if ``-2^(3k-1) <= S0 < 2^(3k-1)``, as the plan proves from the weights. Then ``S1 = (F0 -
S0) / 2^k``, ``S2 = (F1 - S1) / 2^k`` and ``S3 = (F2 - S2) / 2^k``, all exact. What remains of the rows, up to three, is
summed as it is. So a kernel that is bound by its multiplications takes three quarters of the time.
"""

from __future__ import annotations

import numpy as np

from refsnn.kernels import vectors
from refsnn.kernels.compiled import within
from refsnn.kernels.rows import LINE
from refsnn.kernels.vectors import SIGNED_BITS, make_record

FOLDED = 4
"""Rows that become one fewer."""


def folded_rows(rows: int) -> int:
    """How many rows become of so many."""
    return rows - rows // FOLDED


def largest_sum(bits: int) -> int:
    """The largest magnitude of a sum that is found again, with k ``bits``."""
    return int((1 << (3 * bits - 1)) - 1)


FOLD = np.dtype(
    [
        (name, np.int64)
        for name in (
            "source",  # address of a reader's maps, in the first line and one block of channels, and of their copy
            "target",
            "source_line",  # distances between lines
            "target_line",
            "units",  # of a line: stretches of memory in which all rows follow each other
            "size",  # bytes of a row in one
            "first",  # the line that the first outer position begins with
            "step",  # lines from one outer position to the next
            "span",  # lines that one reads
        )
    ]
)
"""What folding takes for one reader and block of channels."""

_fold_at = make_record(FOLD)
_fold_bytes = FOLD.itemsize


@within
def fold(job, first, start, stop):  # type: ignore[no-untyped-def]
    """Fold the lines up to the last that the outer positions ``start`` to ``stop`` read, those before excepted.

    Positions begin with ``first``. So a line is near when it is read; and what threads share may be folded by two of
    them, to the same bytes.
    """
    signed = job.fold_bits == SIGNED_BITS
    for index in range(job.folds_number):
        how = _fold_at(job.folds + index * _fold_bytes)
        quarter = job.rows // FOLDED * how.size
        rest = job.rows % FOLDED * how.size
        begin = how.first + start * how.step
        end = begin + (stop - start - 1) * how.step + how.span
        if start > first and how.span > how.step:
            begin += how.span - how.step
        for line in range(begin, end):
            source = how.source + line * how.source_line
            target = how.target + line * how.target_line
            vectors.fold(source, target, how.units, quarter, rest, signed)


@within
def unfold(job, positions, sums):  # type: ignore[no-untyped-def]
    """Make the sums of all rows of those of folded ones, at ``job.folded``, for so many positions.

    Args:
        sums: address of the first position's.
    """
    quarter = job.rows // FOLDED * LINE
    rest = job.rows % FOLDED * LINE
    folded = job.folded
    for _ in range(positions):
        vectors.unfold(folded, sums, quarter, rest, job.fold_bits)
        folded += job.dense_rows * LINE
        sums += job.rows * LINE
