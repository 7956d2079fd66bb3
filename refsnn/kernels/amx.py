"""Dense sums in the tile registers of AMX: 16 rows of 64 int8 times 64 x 16 weights in one instruction.

Two tiles of rows and two of weights make four tiles of sums, which stay in registers through all steps of a sum.
"""

from __future__ import annotations

import ctypes
import platform
import sys
from functools import cache
from typing import Any

import numba
import numpy as np
from llvmlite import binding, ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

from refsnn.kernels.compiled import within
from refsnn.kernels.dense import Kernel, Kernels, finish
from refsnn.kernels.portable import connect, populations
from refsnn.kernels.rows import LINE, load_index

__all__ = ["available", "connect", "dense", "populations"]

_ARCH_PRCTL = 158
_REQUEST_PERMISSION = 0x1023
_TILE_DATA = 18

HALF = 16
"""Rows of a tile."""

AT_ONCE = 4
"""Images, at least, that are finished in one go."""

STEP = 2048
"""Bytes of weights in one step."""

_function: Any = cgutils.get_or_insert_function
_I8, _I64 = ir.IntType(8), ir.IntType(64)


@cache
def available() -> bool:
    """Whether the processor has AMX for int8 and the operating system lets this process use it."""
    features = binding.get_host_cpu_features()
    if not (features.get("amx-tile") and features.get("amx-int8") and features.get("avx512bw")):
        return False
    if not (sys.platform == "linux" and platform.machine() == "x86_64"):
        return False
    return bool(ctypes.CDLL(None).syscall(_ARCH_PRCTL, _REQUEST_PERMISSION, _TILE_DATA) == 0)


def _operation(name: str, *tiles: int, memory: bool = False) -> Any:
    """An instruction on given tiles; with ``memory`` it takes an address and the distance between rows."""

    def generate(context: Any, builder: ir.IRBuilder, signature: Any, arguments: Any) -> Any:
        kinds = [_I8] * len(tiles) + ([_I8.as_pointer(), _I64] if memory else [])
        function = _function(builder.module, ir.FunctionType(ir.VoidType(), kinds), f"llvm.x86.{name}")
        operands = [ir.Constant(_I8, tile) for tile in tiles]
        if memory:
            operands += [builder.inttoptr(arguments[0], _I8.as_pointer()), arguments[1]]
        builder.call(function, operands)
        return context.get_dummy_value()

    def plain(context: Any) -> Any:
        return types.void(), generate

    def of_memory(context: Any, address: Any, distance: Any) -> Any:
        return types.void(types.intp, types.intp), generate

    return intrinsic(of_memory if memory else plain)


def _configure(context: Any, address: Any) -> Any:
    def generate(context: Any, builder: ir.IRBuilder, signature: Any, arguments: Any) -> Any:
        kind = ir.FunctionType(ir.VoidType(), [_I8.as_pointer()])
        function = _function(builder.module, kind, "llvm.x86.ldtilecfg")
        builder.call(function, [builder.inttoptr(arguments[0], _I8.as_pointer())])
        return context.get_dummy_value()

    return types.void(types.intp), generate


_set_up: Any = intrinsic(_configure)
_zero_0, _zero_1, _zero_2, _zero_3 = (_operation("tilezero", tile) for tile in range(4))
_load_4, _load_5, _load_6, _load_7 = (_operation("tileloadd64", tile, memory=True) for tile in range(4, 8))
_store_0, _store_1, _store_2, _store_3 = (_operation("tilestored64", tile, memory=True) for tile in range(4))
_multiply_0, _multiply_1 = _operation("tdpbssd", 0, 4, 6), _operation("tdpbssd", 1, 4, 7)
_multiply_2, _multiply_3 = _operation("tdpbssd", 2, 5, 6), _operation("tdpbssd", 3, 5, 7)
_release: Any = _operation("tilerelease")


def _configuration() -> Any:
    """All eight tiles with 16 rows of 64 bytes."""
    table = np.zeros(64, np.uint8)
    table[0] = 1
    table[16:32].view(np.uint16)[:] = 64
    table[48:56] = 16
    return table


_TABLE = _configuration()


@numba.njit(nogil=True)
def _begin():  # type: ignore[no-untyped-def]
    """Each call of a kernel sets the tiles up for its thread, and gives them back in the end."""
    _set_up(_TABLE.ctypes.data)


@numba.njit(nogil=True)
def _end():  # type: ignore[no-untyped-def]
    _release()


@within
def _add(job, block, outer, inner, row, rows, sums, ready, before, done, items):  # type: ignore[no-untyped-def]
    """See ``dense.Kernel``. Images are finished between steps, in the time that the tiles take."""
    _zero_0()
    _zero_1()
    if rows > HALF:
        _zero_2()
        _zero_3()
    bounds = job.bounds + 8 * block * (job.number + 1)
    pace = AT_ONCE + (items - done) // max(1, load_index(bounds, job.number) - load_index(bounds, 0))
    for index in range(job.number):
        source = job.sources + 32 * index
        distance = load_index(source, 3)
        base = load_index(source, 0) + outer * load_index(source, 1) + inner * load_index(source, 2) + row * distance
        for step in range(load_index(bounds, index), load_index(bounds, index + 1)):
            events = base + load_index(job.offsets, step)
            weights = job.weights + step * STEP
            _load_4(events, distance)
            _load_6(weights, 64)
            _load_7(weights + STEP // 2, 64)
            if rows > HALF:
                _load_5(events + HALF * distance, distance)
            _multiply_0()
            _multiply_1()
            if rows > HALF:
                _multiply_2()
                _multiply_3()
            if done < items:
                until = min(done + pace, items)
                finish(job, ready, before, done, until)
                done = until
    _store_0(sums, LINE)
    _store_1(sums + LINE // 2, LINE)
    if rows > HALF:
        _store_2(sums + HALF * LINE, LINE)
        _store_3(sums + HALF * LINE + LINE // 2, LINE)
    return done


dense = Kernels("amx", Kernel(begin=_begin, add=_add, end=_end))
