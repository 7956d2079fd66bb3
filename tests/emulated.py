"""The kernel set ``amx`` with its instructions in NumPy, to test all else of it where the processor has no AMX.

The kernels are compiled as always, but what would be an instruction calls a function here. Source: Intel 64 and IA-32
Architectures Software Developer's Manual, volume 2: LDTILECFG, TILELOADD, TILESTORED, TILEZERO, TDPBSSD, TILERELEASE.
"""

from __future__ import annotations

import ctypes
import sys
import threading
from types import FunctionType

import numba
import numpy as np
from llvmlite import binding

from refsnn import kernels
from refsnn.kernels import amx
from refsnn.kernels.compiled import specialise
from refsnn.kernels.dense import Kernel, Kernels
from refsnn.kernels.portable import connect, populations

__all__ = ["NAME", "available", "connect", "dense", "populations", "put_in"]

NAME = "emulated"

TILES, BYTES = 8, 1024

state = threading.local()


def view(address, rows, columns, distance):
    """Bytes in memory, rows ``distance`` bytes apart."""
    memory = (ctypes.c_int8 * ((rows - 1) * distance + columns)).from_address(address)
    return np.ndarray((rows, columns), np.int8, memory, strides=(distance, 1))


def ldtilecfg(address):
    table = view(address, 1, 64, 64)[0].view(np.uint8)
    assert table[0] == 1
    state.columns = table[16:32].view(np.uint16).astype(int)
    state.rows = table[48:56].astype(int)
    assert state.rows.max() <= 16
    assert state.columns.max() <= 64
    state.tiles = [np.zeros((rows, columns), np.int8) for rows, columns in zip(state.rows, state.columns, strict=True)]


def tilerelease():
    del state.tiles


def tilezero(tile):
    state.tiles[tile][:] = 0


def tileloadd64(tile, address, distance):
    state.tiles[tile][:] = view(address, state.rows[tile], state.columns[tile], distance)


def tilestored64(tile, address, distance):
    view(address, state.rows[tile], state.columns[tile], distance)[:] = state.tiles[tile]


def tdpbssd(target, first, second):
    """int32 ``target[m, n] += sum_k first[m, k] * second[k // 4, 4 * n + k % 4]``."""
    assert len({target, first, second}) == 3
    left = state.tiles[first].astype(np.int32)
    right = state.tiles[second].reshape(-1, state.columns[target] // 4, 4).astype(np.int32)
    sums = state.tiles[target].view(np.int32)
    sums += left @ right.transpose(0, 2, 1).reshape(left.shape[1], -1)


_tile, _address, _distance = ctypes.c_int8, ctypes.c_void_p, ctypes.c_int64
INSTRUCTIONS = {
    instruction.__name__: ctypes.CFUNCTYPE(None, *kinds)(instruction)
    for instruction, kinds in (
        (ldtilecfg, [_address]),
        (tilerelease, []),
        (tilezero, [_tile]),
        (tileloadd64, [_tile, _address, _distance]),
        (tilestored64, [_tile, _address, _distance]),
        (tdpbssd, [_tile] * 3),
    )
}


def available():
    return True


def copy(function):
    """Like the original, with a name of its own."""
    return FunctionType(function.__code__, function.__globals__, f"{NAME}_{function.__name__}")


dense = Kernels(
    NAME,
    Kernel(
        begin=numba.njit(nogil=True)(copy(amx._begin.py_func)),
        add=specialise(amx._add.py_func, f"add_{NAME}", {}, within=True),
        end=numba.njit(nogil=True)(copy(amx._end.py_func)),
    ),
)


def put_in(monkeypatch):
    """Make it the last of the kernel sets, until the test ends."""
    for name, callback in INSTRUCTIONS.items():
        binding.add_symbol(f"{NAME}_{name}", ctypes.cast(callback, ctypes.c_void_p).value)
    insert = amx._function
    monkeypatch.setattr(
        amx, "_function", lambda module, kind, name: insert(module, kind, name.replace("llvm.x86.", f"{NAME}_"))
    )
    monkeypatch.setattr(kernels, "SETS", (*kernels.SETS, NAME))
    monkeypatch.setitem(sys.modules, f"refsnn.kernels.{NAME}", sys.modules[__name__])
