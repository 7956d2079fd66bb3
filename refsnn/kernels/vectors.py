"""Numba intrinsics in LLVM's generic vector IR: the same code for AVX-512, AVX2, NEON or no vector unit at all.

LLVM cuts a vector into the registers that the machine has. Accumulators are stack slots of the function that the
intrinsic is inlined into; LLVM promotes them to registers, so they are never in memory inside a loop. Addresses are
plain integers (``array.ctypes.data``): the caller keeps the arrays alive and answers for the bounds.
"""

from __future__ import annotations

from typing import Any

import numba
import numpy as np
from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic
from numpy.typing import NDArray

LANES = 32
"""Output channels in one vector."""

WORD = 64
"""Channels in one word of ``signs``."""

UNSIGNED_BITS = 7
"""k of ``folding`` where spikes are never negative."""

SIGNED_BITS = 6
"""k where they may be."""

COPIED = 64
"""``shifted_copy`` works on so many entries at a time: room that must follow source and destination."""

_ARRAYS = ("sums", "settings", "membranes", "counts", "events")
"""The arrays of ``make_access``."""

_stack_slot: Any = cgutils.alloca_once
_function: Any = cgutils.get_or_insert_function

_I8, _I16, _I32, _I64 = (ir.IntType(bits) for bits in (8, 16, 32, 64))


def _vector(element: ir.Type, lanes: int = LANES) -> ir.VectorType:
    return ir.VectorType(element, lanes)


def _constant(vector: ir.VectorType, value: int) -> ir.Constant:
    return ir.Constant(vector, [value] * vector.count)


def _load(builder: ir.IRBuilder, address: ir.Value, kind: ir.Type, align: int) -> ir.Value:
    return builder.load(builder.inttoptr(address, kind.as_pointer()), align=align)


def _store(builder: ir.IRBuilder, value: ir.Value, address: ir.Value, align: int) -> None:
    builder.store(value, builder.inttoptr(address, value.type.as_pointer()), align=align)


def _splat(builder: ir.IRBuilder, scalar: ir.Value, lanes: int) -> ir.Value:
    undefined = ir.Constant(_vector(scalar.type, lanes), ir.Undefined)
    single = builder.insert_element(undefined, scalar, ir.Constant(_I32, 0))
    return builder.shuffle_vector(single, undefined, _constant(_vector(_I32, lanes), 0))


def _offset(builder: ir.IRBuilder, base: ir.Value, index: ir.Value, size: int) -> ir.Value:
    return builder.add(base, builder.mul(index, ir.Constant(_I64, size)))


def pair(weights: NDArray[np.int8]) -> NDArray[np.int16]:
    """Weights in pairs, as ``make_gather`` reads them: ``(rows, lanes)`` to ``(rows, lanes / 2)``.

    A word holds ``256 * high + (low + 128)``. The low ones are the first half of each group of 64 lanes (of all, where
    there are 32), the high ones the second. The low byte is biased so that it is never negative and borrows nothing.
    """
    rows, lanes = weights.shape
    halves = weights.astype(np.int16).reshape(rows, -1, 2, _words(lanes // LANES))
    words: NDArray[np.int16] = (halves[:, :, 1] * np.int16(256) + (halves[:, :, 0] + np.int16(128))).reshape(rows, -1)
    return words


def _words(vectors: int) -> int:
    """Pairs in one register: a single vector of lanes takes half of one."""
    return LANES if vectors > 1 else LANES // 2


def make_gather(vectors: int, *, graded: bool = False, wide: bool = False) -> Any:
    """Build the inner loop of the event-driven gather, for a block of ``32 * vectors`` output channels.

    The intrinsic ``gather(offsets, values, count, chunk, sign, weights, currents)`` does, for every listed event e,
    ``currents[lane] += sign * value[e] * weight[offsets[e]][lane]`` with exact int32 results:

    - ``offsets``: address of ``count`` int32: where an event's row of weights begins, in bytes from ``weights``;
    - ``values``: address of ``count`` int32, read only where ``graded``; otherwise every value is 1;
    - ``chunk``: after so many events the accumulators are added to the currents and cleared. They are int16 unless
      ``wide``; with ``|weight| <= 128`` they are exact while the sum of ``|value|`` in a chunk is at most 255;
    - ``sign``: 1 or -1, constant for the whole list;
    - ``weights``: address of rows of words made by ``pair``;
    - ``currents``: address of ``32 * vectors`` int32.

    Algorithm:
        Widening bytes costs more than adding them, so pairs are added as they are: ``both`` sums the words, ``high``
        their upper bytes. In int16, that is modulo 2^16, ``both - 256 * high - 128 * sum(value)`` is the sum of the
        low weights, exact because it fits.
    """
    words = _words(vectors)
    groups = max(1, vectors // 2)

    @intrinsic
    def gather(
        context: Any, offsets: Any, values: Any, count: Any, chunk: Any, sign: Any, weights: Any, currents: Any
    ) -> Any:
        def generate(context: Any, builder: ir.IRBuilder, signature: Any, arguments: Any) -> Any:
            offsets, values, count, chunk, sign, weights, currents = arguments
            word, total = _vector(_I16, words), _vector(_I32, words)
            vector = total if wide else word
            byte = _constant(word, 8)
            slots = [(_stack_slot(builder, vector), _stack_slot(builder, vector)) for _ in range(groups)]
            factors = _stack_slot(builder, _I16)
            minus = builder.icmp_signed("<", sign, ir.Constant(_I64, 0))

            def accumulate(slot: ir.Value, value: ir.Value) -> None:
                builder.store(builder.add(builder.load(slot), value), slot)

            def add(position: int, value: ir.Value) -> None:
                address = builder.add(currents, ir.Constant(_I64, 4 * words * position))
                before = _load(builder, address, total, 4)
                after = builder.select(minus, builder.sub(before, value), builder.add(before, value))
                _store(builder, after, address, 4)

            with cgutils.for_range(builder, _chunks(builder, count, chunk), intp=_I64) as chunks:
                for slot in (slot for both in slots for slot in both):
                    builder.store(_constant(vector, 0), slot)
                builder.store(ir.Constant(_I16, 0), factors)
                start = builder.mul(chunks.index, chunk)
                left = builder.sub(count, start)
                length = builder.select(builder.icmp_signed("<", left, chunk), left, chunk)
                with cgutils.for_range(builder, length, intp=_I64) as loop:
                    event = builder.add(start, loop.index)
                    offset = builder.sext(_load(builder, _offset(builder, offsets, event, 4), _I32, 4), _I64)
                    row = builder.add(weights, offset)
                    if graded:
                        value = _load(builder, _offset(builder, values, event, 4), _I32, 4)
                        short = builder.trunc(value, _I16)
                        builder.store(builder.add(builder.load(factors), short), factors)
                        factor = _splat(builder, value if wide else short, words)
                    for index, (low, high) in enumerate(slots):
                        address = builder.add(row, ir.Constant(_I64, 2 * words * index))
                        both = _load(builder, address, word, 2 * words)
                        upper = builder.ashr(both, byte)
                        if wide:
                            signed = builder.xor(both, _constant(word, 128))
                            both = builder.sext(builder.ashr(builder.shl(signed, byte), byte), total)
                            upper = builder.sext(upper, total)
                        if graded:
                            both, upper = builder.mul(both, factor), builder.mul(upper, factor)
                        accumulate(low, both)
                        accumulate(high, upper)
                if not wide:
                    events = builder.load(factors) if graded else builder.trunc(length, _I16)
                    bias = _splat(builder, builder.mul(events, ir.Constant(_I16, 128)), words)
                for index, (low, high) in enumerate(slots):
                    first, second = builder.load(low), builder.load(high)
                    if not wide:
                        first = builder.sub(builder.sub(first, builder.shl(second, byte)), bias)
                        first, second = builder.sext(first, total), builder.sext(second, total)
                    add(2 * index, first)
                    add(2 * index + 1, second)
            return context.get_dummy_value()

        return types.void(*[types.intp] * 7), generate

    return gather


def _chunks(builder: ir.IRBuilder, count: ir.Value, chunk: ir.Value) -> ir.Value:
    rounded = builder.add(count, builder.sub(chunk, ir.Constant(_I64, 1)))
    return builder.sdiv(rounded, chunk)


def make_taps(rows: int, *, wide: bool) -> Any:
    """Build the sums of what has one weight for each lane and tap, for so many rows of 32 lanes.

    The intrinsic ``taps(events, distance, offsets, weights, count, sums, fresh)`` does, for every tap t and row r,
    ``sums[r][lane] += weights[t][lane] * events[r * distance + offsets[t] + lane]`` with exact int32 results:

    - ``events``: address of int8; ``distance``: bytes from one row's to the next;
    - ``offsets``: address of ``count`` int64, in bytes;
    - ``weights``: address of ``(count, 32)`` int16, which is exact while the sum over taps of ``|weight * event|`` fits
      int16; int32 if ``wide``;
    - ``sums``: address of ``(rows, 32)`` int32; if ``fresh``, they are 0 so far, whatever is there.
    """
    vector, total = _vector(_I32 if wide else _I16), _vector(_I32)
    size = vector.element.width // 8 * LANES

    @intrinsic
    def taps(
        context: Any, events: Any, distance: Any, offsets: Any, weights: Any, count: Any, sums: Any, fresh: Any
    ) -> Any:
        def generate(context: Any, builder: ir.IRBuilder, signature: Any, arguments: Any) -> Any:
            events, distance, offsets, weights, count, sums, fresh = arguments
            slots = [_stack_slot(builder, vector) for _ in range(rows)]
            for slot in slots:
                builder.store(_constant(vector, 0), slot)
            with cgutils.for_range(builder, count, intp=_I64) as loop:
                weight = _load(builder, _offset(builder, weights, loop.index, size), vector, size // LANES)
                at = builder.add(events, _load(builder, _offset(builder, offsets, loop.index, 8), _I64, 8))
                for slot in slots:
                    event = builder.sext(_load(builder, at, _vector(_I8), 1), vector)
                    builder.store(builder.add(builder.load(slot), builder.mul(event, weight)), slot)
                    at = builder.add(at, distance)
            for row, slot in enumerate(slots):
                address = builder.add(sums, ir.Constant(_I64, 4 * LANES * row))
                found = builder.load(slot) if wide else builder.sext(builder.load(slot), total)
                before = builder.select(fresh, _constant(total, 0), _load(builder, address, total, 4))
                _store(builder, builder.add(before, found), address, 4)
            return context.get_dummy_value()

        return types.void(*[types.intp] * 6, types.boolean), generate

    return taps


def _fold(context: Any, source: Any, target: Any, units: Any, quarter: Any, rest: Any, signed: Any) -> Any:
    def generate(context: Any, builder: ir.IRBuilder, signature: Any, arguments: Any) -> Any:
        source, target, units, quarter, rest, signed = arguments
        events, word = _vector(_I8, WORD), ir.Constant(_I64, WORD)
        lanes = ir.Constant(events, list(range(WORD)))
        mask = ir.VectorType(ir.IntType(1), WORD)
        kind = ir.FunctionType(ir.VoidType(), [events, events.as_pointer(), _I32, mask])
        store = _function(builder.module, kind, f"llvm.masked.store.v{WORD}i8.p0v{WORD}i8")
        flip = builder.select(signed, _constant(events, -128), _constant(events, 0))
        paired = builder.mul(quarter, ir.Constant(_I64, 3))
        folded = builder.add(paired, rest)
        whole = builder.add(folded, quarter)

        def fold(source: ir.Value, target: ir.Value, begin: ir.Value, end: ir.Value, both: bool) -> None:
            with cgutils.for_range(builder, _chunks(builder, builder.sub(end, begin), word), intp=_I64) as loop:
                at = builder.add(begin, builder.mul(loop.index, word))
                here = builder.add(source, at)
                later = _load(builder, builder.add(here, quarter), events, 1)
                if both:
                    low = builder.shl(later, _constant(events, SIGNED_BITS))
                    high = builder.shl(later, _constant(events, UNSIGNED_BITS))
                    later = builder.add(_load(builder, here, events, 1), builder.select(signed, low, high))
                left = builder.sub(end, at)
                left = builder.select(builder.icmp_signed("<", left, word), left, word)
                inside = builder.icmp_signed("<", lanes, _splat(builder, builder.trunc(left, _I8), WORD))
                address = builder.inttoptr(builder.add(target, at), events.as_pointer())
                builder.call(store, [builder.add(later, flip), address, ir.Constant(_I32, 1), inside])

        with cgutils.for_range(builder, units, intp=_I64) as loop:
            here = builder.add(source, builder.mul(loop.index, whole))
            there = builder.add(target, builder.mul(loop.index, folded))
            fold(here, there, ir.Constant(_I64, 0), paired, True)
            fold(here, there, paired, folded, False)
        return context.get_dummy_value()

    return types.void(*[types.intp] * 5, types.boolean), generate


def _unfold(context: Any, folded: Any, sums: Any, quarter: Any, rest: Any, bits: Any) -> Any:
    def generate(context: Any, builder: ir.IRBuilder, signature: Any, arguments: Any) -> Any:
        folded, sums, quarter, rest, bits = arguments
        total, size = _vector(_I32), ir.Constant(_I64, 4 * LANES)
        by = _splat(builder, builder.trunc(bits, _I32), LANES)
        left = builder.sub(_constant(total, 32), builder.mul(by, _constant(total, 3)))

        def each_row(count: ir.Value) -> Any:
            return cgutils.for_range(builder, builder.sdiv(count, size), intp=_I64)

        with each_row(quarter) as loop:
            at = builder.mul(loop.index, size)
            rows = []
            for part in range(3):
                start = builder.add(at, builder.mul(quarter, ir.Constant(_I64, part)))
                rows.append(_load(builder, builder.add(folded, start), total, WORD))
            mixed = builder.sub(builder.shl(rows[2], by), rows[1])
            mixed = builder.add(builder.shl(mixed, by), rows[0])
            found = [builder.ashr(builder.shl(mixed, left), left)]
            for row in rows:
                found.append(builder.ashr(builder.sub(row, found[-1]), by))
            for each in found:
                _store(builder, each, builder.add(sums, at), WORD)
                at = builder.add(at, quarter)
        with each_row(rest) as loop:
            start = builder.add(builder.mul(loop.index, size), builder.mul(quarter, ir.Constant(_I64, 3)))
            row = _load(builder, builder.add(folded, start), total, WORD)
            _store(builder, row, builder.add(sums, builder.add(start, quarter)), WORD)
        return context.get_dummy_value()

    return types.void(*[types.intp] * 5), generate


def _count_rows(context: Any, events: Any, distance: Any, rows: Any, totals: Any) -> Any:
    def generate(context: Any, builder: ir.IRBuilder, signature: Any, arguments: Any) -> Any:
        events, distance, rows, totals = arguments
        kind, total = _vector(_I8), _vector(_I32)
        found = _stack_slot(builder, _vector(_I16))
        builder.store(_constant(_vector(_I16), 0), found)
        with cgutils.for_range(builder, rows, intp=_I64) as loop:
            row = _load(builder, builder.add(events, builder.mul(loop.index, distance)), kind, 1)
            minus = builder.sext(builder.icmp_signed("!=", row, _constant(kind, 0)), _vector(_I16))
            builder.store(builder.sub(builder.load(found), minus), found)
        before = _load(builder, totals, total, 4)
        _store(builder, builder.add(before, builder.zext(builder.load(found), total)), totals, 4)
        return context.get_dummy_value()

    return types.void(*[types.intp] * 4), generate


def _shifted_copy(context: Any, source: Any, target: Any, count: Any, shift: Any, scale: Any) -> Any:
    def generate(context: Any, builder: ir.IRBuilder, signature: Any, arguments: Any) -> Any:
        source, target, count, shift, scale = arguments
        lanes = 16
        shifts = _splat(builder, builder.trunc(shift, _I32), lanes)
        scales = _splat(builder, builder.trunc(scale, _I32), lanes)
        with cgutils.for_range(builder, _chunks(builder, count, ir.Constant(_I64, COPIED)), intp=_I64) as loop:
            for part in range(0, 4 * COPIED, 4 * lanes):
                at = builder.add(builder.mul(loop.index, ir.Constant(_I64, 4 * COPIED)), ir.Constant(_I64, part))
                entries = _load(builder, builder.add(source, at), _vector(_I32, lanes), 4)
                moved = builder.shl(builder.add(entries, shifts), scales)
                _store(builder, moved, builder.add(target, at), 4)
        return context.get_dummy_value()

    return types.void(*[types.intp] * 5), generate


def _make_mask(comparison: str) -> Any:
    @intrinsic
    def mask(context: Any, address: Any) -> Any:
        def generate(context: Any, builder: ir.IRBuilder, signature: Any, arguments: Any) -> Any:
            vector = _vector(_I8, WORD)
            events = _load(builder, arguments[0], vector, 1)
            return builder.bitcast(builder.icmp_signed(comparison, events, _constant(vector, 0)), _I64)

        return types.uint64(types.intp), generate

    return mask


def _trailing_zeros(context: Any, word: Any) -> Any:
    def generate(context: Any, builder: ir.IRBuilder, signature: Any, arguments: Any) -> Any:
        return builder.cttz(arguments[0], ir.Constant(ir.IntType(1), 0))

    return types.intp(types.uint64), generate


def _population_count(context: Any, word: Any) -> Any:
    def generate(context: Any, builder: ir.IRBuilder, signature: Any, arguments: Any) -> Any:
        return builder.ctpop(arguments[0])

    return word(word), generate


def make_record(dtype: np.dtype[np.void]) -> Any:
    """Build ``record(address)``: a structured scalar in place. As an argument it would take too long to recognise."""
    record = numba.from_dtype(dtype)

    @intrinsic
    def at(context: Any, address: Any) -> Any:
        def generate(context: Any, builder: ir.IRBuilder, signature: Any, arguments: Any) -> Any:
            return builder.inttoptr(arguments[0], context.get_value_type(record))

        return record(types.intp), generate

    return at


def make_access(array: str, dtype: type[np.generic]) -> tuple[Any, Any]:
    """Build ``load(address, index)`` and ``store(address, index, value)`` of one element of an array known by a name.

    Addresses are all that such code has of its arrays, so LLVM must be told that arrays of different names never
    overlap: otherwise it would check that before each short loop, or not use vectors at all.
    """
    scalar = numba.from_dtype(np.dtype(dtype))
    kind = ir.IntType(8 * np.dtype(dtype).itemsize)

    def mark(builder: ir.IRBuilder, instruction: Any) -> None:
        module = builder.module
        domain = module.add_metadata(["refsnn"])
        scopes = {name: module.add_metadata([f"refsnn.{name}", domain]) for name in _ARRAYS}
        others = [scope for name, scope in scopes.items() if name != array]
        instruction.set_metadata("alias.scope", module.add_metadata([scopes[array]]))
        instruction.set_metadata("noalias", module.add_metadata(others))

    def element(builder: ir.IRBuilder, address: ir.Value, index: ir.Value) -> ir.Value:
        return builder.gep(builder.inttoptr(address, kind.as_pointer()), [index])

    @intrinsic
    def load(context: Any, address: Any, index: Any) -> Any:
        def generate(context: Any, builder: ir.IRBuilder, signature: Any, arguments: Any) -> Any:
            value = builder.load(element(builder, *arguments), align=kind.width // 8)
            mark(builder, value)
            return value

        return scalar(types.intp, types.intp), generate

    @intrinsic
    def store(context: Any, address: Any, index: Any, value: Any) -> Any:
        def generate(context: Any, builder: ir.IRBuilder, signature: Any, arguments: Any) -> Any:
            address, index, value = arguments
            mark(builder, builder.store(value, element(builder, address, index), align=kind.width // 8))
            return context.get_dummy_value()

        return types.void(types.intp, types.intp, scalar), generate

    return load, store


def _prefer_wide_vectors(context: Any) -> Any:
    def generate(context: Any, builder: ir.IRBuilder, signature: Any, arguments: Any) -> Any:
        # llvmlite lists the attributes it lets through, and this one is not among them.
        set.add(builder.function.attributes, '"prefer-vector-width"="512"')
        return context.get_dummy_value()

    return types.void(), generate


AVX2 = ("avx", "avx2", "bmi", "bmi2", "f16c", "fma", "lzcnt", "movbe", "popcnt", "sse4.1", "sse4.2", "ssse3")
"""What ``only_avx2`` allows the compiler to use."""


def _only_avx2(context: Any) -> Any:
    def generate(context: Any, builder: ir.IRBuilder, signature: Any, arguments: Any) -> Any:
        features = ",".join(f"+{name}" for name in AVX2)
        for attribute in ('"target-cpu"="haswell"', f'"target-features"="{features}"'):
            set.add(builder.function.attributes, attribute)
        return context.get_dummy_value()

    return types.void(), generate


only_avx2: Any = intrinsic(_only_avx2)
"""Compile the calling function for a processor with AVX2 and nothing newer, whatever this one has.

Generates no code itself.
"""

prefer_wide_vectors: Any = intrinsic(_prefer_wide_vectors)
"""Let LLVM use 512-bit registers in the loops of the calling function; by itself it stops at 256 on many processors.

Generates no code, and means nothing where there are no such registers.
"""

count_rows: Any = intrinsic(_count_rows)
"""``count_rows(events, distance, rows, totals)``: add to 32 int32 in how many rows the int8 of their lane is not 0.

Rows are ``distance`` bytes apart; fewer than 2^16.
"""

fold: Any = intrinsic(_fold)
"""``fold(source, target, units, quarter, rest, signed)``: bytes of spikes as ``folding`` says.

``quarter`` is the number of bytes in a quarter of the rows of a unit, ``rest`` that in those left over. If ``signed``,
top bits are flipped in the end. Up to ``WORD - 1`` bytes behind the source are read; none is written behind the target.
"""

unfold: Any = intrinsic(_unfold)
"""``unfold(folded, sums, quarter, rest, bits)``: the sums of ``LANES`` int32 a row, of those of what ``fold`` made.

``quarter`` is the number of bytes in a quarter of the rows of sums, ``rest`` that in those left over, ``bits`` is k.
Addresses are multiples of ``WORD``.
"""

shifted_copy: Any = intrinsic(_shifted_copy)
"""``shifted_copy(source, target, count, shift, scale)``: ``target[i] = (source[i] + shift) << scale``, on int32.

``COPIED`` entries are read and written at a time, so up to ``COPIED - 1`` past the end are touched: lists of like
lengths then take the same path through the code, which the processor predicts.
"""

positive_mask = _make_mask(">")
"""Bit i of the uint64: whether the i-th of the 64 int8 at an address is positive."""

negative_mask = _make_mask("<")
"""Bit i of the uint64: whether the i-th of the 64 int8 at an address is negative."""

nonzero_mask = _make_mask("!=")
"""Bit i of the uint64: whether the i-th of the 64 int8 at an address is not 0."""

trailing_zeros: Any = intrinsic(_trailing_zeros)
"""The index of the lowest set bit of a uint64; 64 for 0."""

population_count: Any = intrinsic(_population_count)
"""The number of set bits of an integer, of its type."""
