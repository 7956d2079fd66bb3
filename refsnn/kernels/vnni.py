"""Dense sums by VNNI: ``vpdpbusd`` adds four products of bytes to each of 16 int32.

Its first operand is unsigned. Where events may be negative the plan hands over a copy of their map with every top bit
flipped, which adds 128 to them; what that adds to a sum is the same for all rows, and the sums begin with minus that
(``corrections`` of the plan).
"""

from __future__ import annotations

from functools import cache
from typing import Any

import numpy as np
from llvmlite import binding, ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

from refsnn.kernels.compiled import inlined, within
from refsnn.kernels.dense import Kernel, Kernels
from refsnn.kernels.portable import connect, populations
from refsnn.kernels.rows import LINE, load_index

__all__ = ["available", "connect", "dense", "populations"]

FEW, MANY = 8, 12
"""Rows whose sums, two registers each, stay in registers: many where these are all rows, or half of them."""

STEPS_AT_ONCE = 8
"""Steps whose weights, 2 kB each, stay in the first-level cache while all rows take them."""

_LANES = 16
_STEP = 2048

_tables: Any = types.UniTuple
_for_range: Any = cgutils.for_range
_stack_slot: Any = cgutils.alloca_once
_function: Any = cgutils.get_or_insert_function
_I8, _I32, _I64 = (ir.IntType(bits) for bits in (8, 32, 64))
_SUMS = ir.VectorType(_I32, _LANES)
_BYTES = ir.VectorType(_I8, 4 * _LANES)


@cache
def available() -> bool:
    """Whether the processor has VNNI with 512-bit registers."""
    features = binding.get_host_cpu_features()
    return bool(features.get("avx512vnni") and features.get("avx512bw"))


def _make_dot(rows: int, *, halves: bool) -> Any:
    """Build ``dot(events, distance, (offsets, quads, weights), first, last, initial, between, sums)``.

    It takes some steps of so many rows, beginning with sums at ``initial``, which are so many bytes apart. With
    ``halves`` it leaves out what has no weights for half of the columns: three loops for LLVM to compile, where
    otherwise there is one.
    """
    loops = ((0,), (0, 1), (1,)) if halves else ((0, 1),)

    def generate(context: Any, builder: ir.IRBuilder, signature: Any, arguments: Any) -> Any:
        events, distance, tables, first, last, initial, between, sums = arguments
        offsets, quads, weights = (builder.extract_value(tables, index) for index in range(3))
        kind = ir.FunctionType(_SUMS, [_SUMS, _BYTES, _BYTES])
        instruction = _function(builder.module, kind, "llvm.x86.avx512.vpdpbusd.512")

        def load(address: ir.Value, kind: ir.Type, align: int) -> ir.Value:
            return builder.load(builder.inttoptr(address, kind.as_pointer()), align=align)

        def ahead(address: ir.Value, distance: int) -> ir.Value:
            return builder.add(address, ir.Constant(_I64, distance))

        def entry(address: ir.Value, index: ir.Value, size: int) -> ir.Value:
            return builder.add(address, builder.mul(index, ir.Constant(_I64, size)))

        slots = [[_stack_slot(builder, _SUMS) for _ in range(2)] for _ in range(rows)]
        for row, pair in enumerate(slots):
            for half, slot in enumerate(pair):
                address = builder.add(initial, builder.mul(between, ir.Constant(_I64, row)))
                builder.store(load(ahead(address, 64 * half), _SUMS, 4), slot)
        with _for_range(builder, last, start=first, intp=_I64) as steps:
            base = builder.add(events, load(entry(offsets, steps.index, 8), _I64, 8))
            panel = entry(weights, steps.index, _STEP)
            ends = [load(ahead(entry(quads, steps.index, 24), 8 * part), _I64, 8) for part in range(3)]
            starts = [base]
            for _ in range(1, rows):
                starts.append(builder.add(starts[-1], distance))
            begin: ir.Value = ir.Constant(_I64, 0)
            for columns, end in zip(loops, ends[-len(loops) :], strict=True):
                with _for_range(builder, end, start=begin, intp=_I64) as inputs:
                    line = entry(panel, inputs.index, 64)
                    operands = {half: load(ahead(line, _STEP // 2 * half), _BYTES, 64) for half in columns}
                    inside = builder.mul(inputs.index, ir.Constant(_I64, 4))
                    for start, pair in zip(starts, slots, strict=True):
                        quad = load(builder.add(start, inside), _I32, 4)
                        event = builder.bitcast(_splat(builder, quad), _BYTES)
                        for half, operand in operands.items():
                            total = builder.call(instruction, [builder.load(pair[half]), event, operand])
                            builder.store(total, pair[half])
                begin = end
        for row, pair in enumerate(slots):
            for half, slot in enumerate(pair):
                address = ahead(sums, row * LINE + 64 * half)
                builder.store(builder.load(slot), builder.inttoptr(address, _SUMS.as_pointer()), align=64)
        return context.get_dummy_value()

    @intrinsic
    def dot(
        context: Any,
        events: Any,
        distance: Any,
        tables: Any,
        first: Any,
        last: Any,
        initial: Any,
        between: Any,
        sums: Any,
    ) -> Any:
        return types.void(types.intp, types.intp, _tables(types.intp, 3), *[types.intp] * 5), generate

    return dot


_dot_few, _dot_many = _make_dot(FEW, halves=True), _make_dot(MANY, halves=False)


def _splat(builder: ir.IRBuilder, scalar: ir.Value) -> ir.Value:
    undefined = ir.Constant(_SUMS, ir.Undefined)
    single = builder.insert_element(undefined, scalar, ir.Constant(_I32, 0))
    return builder.shuffle_vector(single, undefined, ir.Constant(ir.VectorType(_I32, _LANES), [0] * _LANES))


def rows_at_once(rows: int) -> int:
    """Of so many rows."""
    return FEW if rows % MANY else MANY


_at_once = inlined(rows_at_once)


@inlined
def _nothing():  # type: ignore[no-untyped-def]
    """There is nothing to set up."""


@within
def _add(job, block, outer, inner, row, rows, sums, ready, before, done, items):  # type: ignore[no-untyped-def]
    """See ``dense.Kernel``. Some steps are taken for all rows before the next, while their weights are near."""
    initial = job.corrections + block * LINE
    between: Any = np.int64(0)
    for index in range(job.number):
        source = job.sources + 32 * index
        distance = load_index(source, 3)
        events = load_index(source, 0) + outer * load_index(source, 1) + inner * load_index(source, 2)
        bounds = block * (job.number + 1) + index
        end = load_index(job.bounds, bounds + 1)
        for first in range(load_index(job.bounds, bounds), end, STEPS_AT_ONCE):
            last = min(first + STEPS_AT_ONCE, end)
            tables = job.offsets, job.quads, job.weights
            at_once = _at_once(rows)
            for begin in range(0, rows, at_once):
                here = events + (row + begin) * distance
                start, to = initial + begin * between, sums + begin * LINE
                if at_once == FEW:
                    _dot_few(here, distance, tables, first, last, start, between, to)
                else:
                    _dot_many(here, distance, tables, first, last, start, between, to)
            initial, between = sums, LINE
    return done


def _rows_taken(rows: int) -> int:
    """How many rows are summed to have so many."""
    at_once = rows_at_once(rows)
    return -(-rows // at_once) * at_once


dense = Kernels("vnni", Kernel(begin=_nothing, add=_add, end=_nothing), unsigned=True, halves=True, folds=_rows_taken)
