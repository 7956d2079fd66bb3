"""What dense kernels are told of one call: what is summed, what it becomes, where it goes."""

from __future__ import annotations

import numpy as np

from refsnn.kernels.vectors import make_record

JOB = np.dtype(
    [
        (name, np.int64)
        for name in (
            "address",  # of this
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
            "update",  # address of the compiled function, of ``rows``, that takes them
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
            "count",  # address of the compiled function that counts events
            "counted",  # address, or 0: events are added, see Call; then distances by step, outer and inner position
            "counted_step",
            "counted_outer",
            "counted_inner",
        )
    ]
)
"""What a kernel needs to know of one call."""

job_at = make_record(JOB)
