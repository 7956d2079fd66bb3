"""Dense sums with the neurons fused: what every kernel set with dense kernels shares.

A population's current is a sum of products: ``ROWS`` rows of events (images and steps, at one pixel or several) times
``COLUMNS`` outputs, 64 inputs a step. What a kernel set brings is only how such a block is summed (``Kernel``). The
neurons take the block while it is in the first-level cache (``rows``), for all steps of a pixel, and write their events
where the next layer reads them (``maps``). Convolutions of every stride, padding, dilation and grouping, dense layers
and identities onto other channels differ in offsets and packed weights alone (``plan``). Depthwise convolutions and
plain identities, which have one weight for each column and tap, are added to the block.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from refsnn.kernels.compiled import call, inlined, once, specialise, within
from refsnn.kernels.folding import fold, unfold
from refsnn.kernels.job import job_at
from refsnn.kernels.maps import ROWS
from refsnn.kernels.rows import LINE, SETTINGS, add_taps, adjust, load_index


@dataclass(frozen=True)
class Kernel:
    """How a kernel set sums a block: jitted functions.

    Attributes:
        begin, end: around the blocks of a call.
        add: ``add(job, block, outer, inner, row, rows, sums, ready, before, done, items)``: the dense part of the sums
            of a block of columns, which has one, for ``rows`` (at most ``ROWS``) rows from ``row`` on, counted from the
            position's first; writes up to ``ROWS`` rows of ``COLUMNS`` int32 at the address ``sums``. In between it may
            ``finish`` images of the group before, ``ready`` (block, outer, inner) with its sums at ``before``: those
            from ``done`` on, of ``items``. Returns how many are done then.
    """

    begin: Callable[..., None]
    add: Callable[..., None]
    end: Callable[..., None]


class Kernels:
    """A kernel set's dense kernels, compiled when they are first used.

    Attributes:
        name: of the set.
        kernel: how it sums.
        unsigned: whether they read events as unsigned bytes: those of maps with negative ones are to be flipped.
        halves: whether they leave out the inputs of a step that have no weights for half of the columns.
        folds: if they sum four rows of spikes as three (``folding``), how many rows they sum to have so many; or None.
    """

    def __init__(
        self,
        name: str,
        kernel: Kernel,
        *,
        unsigned: bool = False,
        halves: bool = False,
        folds: Callable[[int], int] | None = None,
    ) -> None:
        self.name = name
        self.folds = folds
        self.halves = halves
        self.unsigned = unsigned
        self.kernel = kernel

    def layer(self) -> Callable[..., None]:
        """The kernel of all populations, once."""
        return make_layer(self.name, self.kernel)


@once
def make_layer(name: str, kernel: Kernel) -> Callable[..., None]:
    """``_layer`` with the parts of a kernel set."""
    made: Callable[..., None] = specialise(_layer, f"layer_{name}", vars(kernel))
    return made


begin: Any = None
add: Any = None
end: Any = None
"""Stand for the parts of ``_layer``, which ``make_layer`` puts in."""


def _layer(address, first, last):  # type: ignore[no-untyped-def]
    """Run the outer positions ``first`` to ``last``.

    While a group is summed, the one before it is finished: ``add`` may do so in between, as the processor then does
    both at a time.
    """
    job = job_at(address)
    begin()
    for start in range(first, last, job.band):
        stop = min(start + job.band, last)
        fold(job, first, start, stop)
        for block in range(0, job.blocks, job.blocks_abreast):
            end_block = min(block + job.blocks_abreast, job.blocks)
            for outer in range(start, stop, job.outers_abreast):
                end_outer = min(outer + job.outers_abreast, stop)
                now = job.scratch
                before = job.scratch + job.scratch_half
                none: Any = np.int64(0)  # as in finish
                ready, items = (block, outer, none), none
                for inner in range(0, job.inner, job.group):
                    positions = min(job.group, job.inner - inner)
                    total = positions * job.dense_rows
                    for b in range(block, end_block):
                        summed = total if _has_steps(job, b) else none
                        for o in range(outer, end_outer):
                            done = none
                            sums = job.folded if job.fold_bits else now
                            for row in range(0, summed, ROWS):
                                rows = min(ROWS, summed - row)
                                done = add(job, b, o, inner, row, rows, sums + row * LINE, ready, before, done, items)
                            if job.fold_bits and summed:
                                unfold(job, positions, now)
                            finish(job, ready, before, done, items)
                            now, before = before, now
                            ready, items = (b, o, inner), positions * job.images
                finish(job, ready, before, none, items)
                for b in range(block, end_block):
                    if job.counted and (b % 2 or b + 1 == job.blocks):
                        for o in range(outer, end_outer):
                            call(job.count, (address, b // 2, o))
    end()


@inlined
def _has_steps(job, block):  # type: ignore[no-untyped-def]
    """Whether a block of columns has dense sums; if not, they are not made: its taps begin them."""
    bounds = block * (job.number + 1)
    return load_index(job.bounds, bounds) < load_index(job.bounds, bounds + job.number)


@within
def finish(job, ready, sums, first, last):  # type: ignore[no-untyped-def]
    """Take the sums of the images ``first`` to ``last`` of a group: all its positions' images are counted on.

    Args:
        ready: the group's block of columns, outer position, and first inner one.
        sums: its address.
    """
    block, outer, inner = ready
    images = job.images
    none: Any = np.int64(0)  # of a literal 0 Numba would compile versions of its own
    while first < last:
        position = first // images if first >= images else 0
        begin = first - position * images
        end = min(last - position * images, images)
        first = position * images + end
        at = inner + position
        x = (outer if job.lines_inner else at) * job.pixels
        columns = min(job.pixels, job.width - x) * job.depth
        rows = sums + position * job.rows * LINE
        bounds = job.tap_bounds + 8 * block * (job.number + 1)
        fresh = not _has_steps(job, block)
        for index in range(job.number):
            tap, end_tap = load_index(bounds, index), load_index(bounds, index + 1)
            if tap < end_tap:
                source = job.sources + 32 * index
                events = load_index(source, 0) + outer * load_index(source, 1) + at * load_index(source, 2)
                add_taps(job, rows, events, load_index(source, 3), tap, end_tap, begin, end, fresh)
                fresh = False
        if fresh:
            add_taps(job, rows, rows, none, none, none, begin, end, fresh)
        if job.adjust:
            adjust(job, rows, job.adjust + block * 3 * LINE, begin, end)
        constant = job.constant + block * job.constant_block
        constant += outer * job.constant_outer + at * job.constant_inner
        out = job.out + (block // 2) * job.out_pair + (block % 2) * job.out_block
        out += outer * job.out_outer + at * job.out_inner
        settings = job.settings + block * SETTINGS * LINE
        call(job.update, (job.address, rows, columns, constant, settings, out, begin, end))
