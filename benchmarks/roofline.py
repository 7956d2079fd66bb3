"""What the machine can do at most: multiply-adds of the instructions that kernels use, and memory bandwidth.

An instruction is repeated on independent registers, without memory; the fastest of several runs counts. Instructions
are written as they are (inline assembly), and only those are compiled that the processor is found to have.
"""

from __future__ import annotations

import platform
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cache, partial
from typing import Any

import numba
import numpy as np
from llvmlite import binding, ir
from numba import types
from numba.extending import intrinsic
from numpy.typing import NDArray

from refsnn import kernels
from refsnn.errors import InputError

FLOATS = "fp32"
"""The peak that is measured besides those of kernel sets: what a framework in float32 could do."""

TRIES = 40
"""Short ones, so that some are not disturbed."""
SECONDS = 0.01
READS = 7
BYTES = 1 << 29
"""Read by each thread to measure the bandwidth: more than its share of any cache."""


@dataclass(frozen=True, slots=True)
class Instruction:
    """Something to repeat.

    Attributes:
        name: of the instruction, with its width where there are several.
        multiply_adds: of one pass through ``lines``.
        lines: assembly in AT&T's order, one pass.
        clobbers: the registers that it changes.
        first, last: assembly in front of the loop and behind it.
    """

    name: str
    multiply_adds: int
    lines: tuple[str, ...]
    clobbers: tuple[str, ...]
    first: str = ""
    last: str = ""


def _vector(mnemonic: str, register: str, each: int, *, name: str = "", plus: str = "") -> Instruction:
    """Twelve accumulators; with ``plus`` the product goes to a register of its own and is added."""
    lines = []
    for index in range(12):
        target = f"%{register}{12 + index % 2 if plus else index}"
        lines.append(f"{mnemonic} %{register}15, %{register}14, {target}")
        if plus:
            lines.append(f"{plus} {target}, %{register}{index}, %{register}{index}")
    return Instruction(name or mnemonic, 12 * each, tuple(lines), tuple(f"xmm{i}" for i in range(16)))


_TILES = Instruction(
    "tdpbssd",
    4 * 16 * 16 * 64,
    tuple(f"tdpbssd %tmm{b}, %tmm{a}, %tmm{c}" for c, (a, b) in enumerate(((4, 6), (4, 7), (5, 6), (5, 7)))),
    (),
    first="ldtilecfg ($0)\n" + "\n".join(f"tilezero %tmm{i}" for i in range(8)),
    last="tilerelease",
)

_WIDE, _NARROW = "zmm", "ymm"
_CANDIDATES: dict[str, tuple[tuple[tuple[str, ...], Instruction], ...]] = {
    "amx": ((("amx-int8",), _TILES),),
    "vnni": (
        (("avx512vnni",), _vector("vpdpbusd", _WIDE, 64, name="vpdpbusd, 512 bits")),
        (("avxvnni",), _vector("{vex} vpdpbusd", _NARROW, 32, name="vpdpbusd, 256 bits")),
    ),
    "avx2": ((("avx2",), _vector("vpmaddwd", _NARROW, 16, name="vpmaddwd, 256 bits", plus="vpaddd")),),
    "portable": (
        (("avx512bw",), _vector("vpmaddwd", _WIDE, 32, name="vpmaddwd, 512 bits", plus="vpaddd")),
        (("avx2",), _vector("vpmaddwd", _NARROW, 16, name="vpmaddwd, 256 bits", plus="vpaddd")),
    ),
    FLOATS: (
        (("avx512f",), _vector("vfmadd231ps", _WIDE, 16, name="vfmadd231ps, 512 bits")),
        (("fma",), _vector("vfmadd231ps", _NARROW, 8, name="vfmadd231ps, 256 bits")),
    ),
}
"""By kernel set, the best first: the features that it needs, and the instruction."""


@dataclass(frozen=True, slots=True)
class Roofline:
    """Limits of the machine for a number of threads.

    Attributes:
        threads: together they reach this.
        peaks: by kernel set, and ``fp32``: the instruction's name, and multiply-adds in a second.
        bandwidth: bytes read from memory in a second.
    """

    threads: int
    peaks: dict[str, tuple[str, float]]
    bandwidth: float


def measure(sets: tuple[str, ...], threads: int) -> Roofline:
    """Measure the peaks of these kernel sets, as far as a processor of this kind is known here, and the bandwidth."""
    peaks = {}
    for name in (*sets, FLOATS):
        instruction = usable(name)
        if instruction is not None:
            peaks[name] = (instruction.name, peak(instruction, threads))
    return Roofline(threads, peaks, bandwidth(threads))


def usable(name: str) -> Instruction | None:
    """The instruction to measure for a kernel set, or None: an unknown processor, or one that cannot run the set."""
    if platform.machine().lower() not in ("x86_64", "amd64"):
        return None
    if name != FLOATS:
        try:
            kernels.select(name)  # also asks the operating system where that is needed
        except InputError:
            return None
    features = binding.get_host_cpu_features()
    for needed, instruction in _CANDIDATES.get(name, ()):
        if all(features.get(feature) for feature in needed):
            return instruction
    return None


def peak(instruction: Instruction, threads: int) -> float:
    """Multiply-adds in a second, by the fastest of several runs."""
    work, multiply_adds = burst(instruction, SECONDS)
    return threads * multiply_adds / min(elapsed(work, threads) for _ in range(TRIES))


def burst(instruction: Instruction, seconds: float) -> tuple[Callable[[], None], float]:
    """A loop on registers that takes at least so many seconds of one thread, and its multiply-adds."""
    run = partial(loop(instruction), tile_configuration())
    count = 1000
    while elapsed(partial(run, count)) < seconds:
        count *= 2
    return partial(run, count), count * instruction.multiply_adds


def bandwidth(threads: int) -> float:
    """Bytes in a second that a sum over large arrays reads, by the fastest of several runs."""
    array = np.ones((threads, BYTES // 8), np.int64)
    _total(array[0, :8])
    with ThreadPoolExecutor(threads) as pool:
        best = float("inf")
        for _ in range(READS):
            begin = time.perf_counter()
            list(pool.map(_total, array))
            best = min(best, time.perf_counter() - begin)
    return array.nbytes / best


def elapsed(work: Callable[[], object], threads: int = 1) -> float:
    """Seconds by the clock until so many threads have each done it."""
    if threads == 1:
        begin = time.perf_counter()
        work()
        return time.perf_counter() - begin
    with ThreadPoolExecutor(threads) as pool:
        begin = time.perf_counter()
        for future in [pool.submit(work) for _ in range(threads)]:
            future.result()
        return time.perf_counter() - begin


@numba.njit(nogil=True)
def _total(array):  # type: ignore[no-untyped-def]
    total = np.int64(0)
    for index in range(array.size):
        total += array[index]
    return total


@cache
def loop(instruction: Instruction) -> Callable[[NDArray[np.uint8], int], None]:
    """``run(tiles, count)``, compiled: that many passes, with a tile configuration."""
    binding.initialize_native_asmparser()
    first = _assembly(instruction.first or "nop", (*instruction.clobbers, "memory"))
    body = _assembly("\n".join(instruction.lines), instruction.clobbers)
    last = _assembly(instruction.last or "nop", instruction.clobbers)

    @numba.njit(nogil=True)
    def repeat(tiles, count):  # type: ignore[no-untyped-def]
        first(tiles)
        for _ in range(count):
            body(tiles)
        last(tiles)

    def run(tiles: NDArray[np.uint8], count: int) -> None:
        repeat(tiles.ctypes.data, count)

    run(tile_configuration(), 1)
    return run


def _assembly(text: str, clobbers: tuple[str, ...]) -> Any:
    constraints = ",".join(("r", *(f"~{{{register}}}" for register in clobbers)))

    @intrinsic
    def emit(context: Any, address: Any) -> Any:
        def generate(context: Any, builder: ir.IRBuilder, signature: Any, arguments: Any) -> Any:
            kind = ir.FunctionType(ir.VoidType(), [ir.IntType(64)])
            builder.call(ir.InlineAsm(kind, text, constraints, side_effect=True), arguments)
            return context.get_dummy_value()

        return types.void(types.intp), generate

    return emit


def tile_configuration() -> np.ndarray:
    """Eight tiles of 16 rows of 64 bytes."""
    configuration = np.zeros(64, np.uint8)
    configuration[0] = 1
    configuration[16:32].view(np.uint16)[:] = 64
    configuration[48:56] = 16
    return configuration
