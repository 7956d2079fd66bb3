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

from refsnn.kernels.compiled import inlined, once, specialise
from refsnn.kernels.folding import fold, unfold
from refsnn.kernels.maps import ROWS
from refsnn.kernels.rows import (
    LINE,
    SETTINGS,
    add_taps,
    adjust,
    count_codes,
    count_spikes,
    fire_once,
    fires,
    keep,
    load_index,
)
from refsnn.kernels.vectors import make_record

JOB = np.dtype(
    [
        (name, np.int64)
        for name in (
            # What is summed. Distances and addresses are in bytes.
            "sources",  # address of (S, 4) int64: the first event, distance of outer and inner positions, and of rows
            "number",  # S
            "offsets",  # address of (K,) int64: of the events of each step of a sum, from their source
            "bounds",  # address of (blocks, S + 1) int64: the steps of each block of columns and source
            "quads",  # address of (K, 3) int64: see Dense.quads
            "weights",  # address of (K, 2, 16, 16, 4) int8: step, half of the columns, inputs by four, column, input
            "corrections",  # address of (blocks, COLUMNS) int32: minus 128 times the sums of weights if signed, else 0
            "tap_offsets",  # address of (Q,) int64, as offsets
            "tap_bounds",  # address of (blocks, S + 1) int64, as bounds
            "tap_weights",  # address of (Q, COLUMNS): a weight for each column
            "tap_wide",  # whether they are int32, and not int16
            "blocks",  # blocks of columns
            "inner",  # inner positions; the outer ones are given to the call
            "group",  # inner positions in one go
            "rows",  # of sums at each position
            "dense_rows",  # of them, or what they are folded to, for the dense part
            "fold_bits",  # k of folding, or 0
            "folds",  # address of (F,) of folding.FOLD
            "folds_number",  # F
            "folded",  # memory for the sums of folded rows of one group
            "band",  # outer positions for which a block of columns is worked on before the next block
            "outers_abreast",  # outer positions that are worked on by turns, as their events share cache lines,
            "blocks_abreast",  # or blocks of columns
            "adjust",  # address of (blocks, 3, COLUMNS) int32 for rows.adjust, or 0
            "times",  # for rows.adjust
            # What it becomes.
            "keeps",  # whether the sums are stored as they are, and not the neurons' events
            "constant",  # address of int32 currents, then distances by block, outer and inner position, image
            "constant_block",
            "constant_outer",
            "constant_inner",
            "constant_image",
            "settings",  # address of (blocks, 4, COLUMNS) int32: see rows.SETTINGS
            "low",  # of neurons.fire; with temporal separation: whether there are negative digits
            "high",
            "smallest",  # membrane
            "largest",
            "base",
            "images",
            "steps",
            "input_steps",  # the steps with the constant
            "step_rows",  # rows of sums from one step to the next: 0 where they are the same in all
            # Where it goes.
            "out",  # address, then distances by pair of blocks, block in a pair, outer and inner position, row
            "out_pair",
            "out_block",
            "out_outer",
            "out_inner",
            "out_row",
            "out_offset",  # subtracted from codes
            "out_wide",  # whether a pair of blocks is one row
            "pixels",  # neighbouring pixels in a block of columns
            "depth",  # columns of each
            "lines_inner",  # whether inner positions are lines of the map and not its columns
            "width",  # of the map
            "scratch",  # memory for the sums of two groups, and the bytes of one
            "scratch_half",
            "membranes",  # memory of rows.SCRATCH bytes
            "saturated",  # address of (T',) int64: clamps are added
            "counted",  # address, or 0: events are added, see Call; then distances by step, outer and inner position
            "counted_step",
            "counted_outer",
            "counted_inner",
        )
    ]
)
"""What a kernel needs to know of one call."""

_job_at = make_record(JOB)


@dataclass(frozen=True)
class Kernel:
    """How a kernel set sums a block: two jitted functions, and ``add``, a plain one that finds ``finish`` among its
    module's global names.

    Attributes:
        begin, end: around the blocks of a call.
        add: ``add(job, block, outer, inner, row, rows, sums, ready, before, done, items)``: the dense part of the sums
            of a block of columns, which has one, for ``rows`` (at most ``ROWS``) rows from ``row`` on, counted from the
            position's first; writes up to ``ROWS`` rows of ``COLUMNS`` int32 at the address ``sums``. In between it may
            finish images of the group before, ``ready`` (block, outer, inner) with its sums at ``before``: those from
            ``done`` on, of ``items``. Returns how many are done then.
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

    def rate(self, counted: bool, clamped: bool) -> Callable[..., None]:
        """Of spiking populations in rate schedules; see ``rows.make_fire``."""
        name = "rate" + "_counted" * counted + "_clamped" * clamped
        return self.make(name, fires[counted, clamped], count_spikes)

    def separated(self) -> Callable[..., None]:
        """Of spiking populations with temporal separation."""
        return self.make("separated", fire_once, count_codes)

    def make(self, name: str, neurons: Callable[..., None], count: Callable[..., None]) -> Callable[..., None]:
        """The kernel of populations with certain neurons, once; ``name`` is theirs."""
        return make_layer(self.name, self.kernel, name, neurons, count)


@once
def make_layer(
    kernels: str, kernel: Kernel, name: str, neurons: Callable[..., None], count: Callable[..., None]
) -> Callable[..., None]:
    """``_layer`` with these parts, for a kernel set."""
    finish = _make_finish(name, neurons)
    add = specialise(kernel.add, f"add_{kernels}_{name}", {"finish": finish}, within=True)
    parts = {"begin": kernel.begin, "end": kernel.end, "add": add, "finish": finish, "count": count}
    made: Callable[..., None] = specialise(_layer, f"layer_{kernels}_{name}", parts)
    return made


@once
def _make_finish(name: str, neurons: Callable[..., None]) -> Callable[..., None]:
    """All kernel sets have the same."""
    made: Callable[..., None] = specialise(_finish, f"finish_{name}", {"neurons": neurons}, within=True)
    return made


begin: Any = None
add: Any = None
end: Any = None
finish: Any = None
neurons: Any = None
count: Any = None
"""Stand for the parts of ``_layer`` and ``_finish``, which ``Kernels`` puts in."""


def _layer(address, first, last):  # type: ignore[no-untyped-def]
    """Run the outer positions ``first`` to ``last``.

    While a group is summed, the one before it is finished: ``add`` may do so in between, as the processor then does
    both at a time.
    """
    job = _job_at(address)
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
                none: Any = np.int64(0)  # as in _finish
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
                            count(job, b // 2, o)
    end()


@inlined
def _has_steps(job, block):  # type: ignore[no-untyped-def]
    """Whether a block of columns has dense sums; if not, they are not made: its taps begin them."""
    bounds = block * (job.number + 1)
    return load_index(job.bounds, bounds) < load_index(job.bounds, bounds + job.number)


def _finish(job, ready, sums, first, last):  # type: ignore[no-untyped-def]
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
        if job.keeps:
            keep(job, rows, out, begin, end)
        else:
            neurons(job, rows, columns, constant, job.settings + block * SETTINGS * LINE, out, begin, end)
