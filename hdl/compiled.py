"""A core compiled to machine code, by Verilator and a C++ compiler: as exact as the Verilog, and fast."""

from __future__ import annotations

import ctypes
import hashlib
import os
import tempfile
from concurrent.futures import ThreadPoolExecutor
from importlib.resources import files
from pathlib import Path
from typing import Any

import numpy as np
from amaranth.lib import data
from numpy.typing import NDArray

from hdl.collector import word_layout
from hdl.core import Core, part_layout
from hdl.execute import Words
from hdl.neuron import trace_layout
from hdl.parameters import Parameters
from hdl.toolchain import run, verilog, versions
from hdl.words import Parts, part_values
from refsnn.errors import InputError

PATIENCE = 10_000_000
"""Cycles without a word in or out after which a core is taken to hang."""

VERILATE = ["--cc", "-O3", "--x-assign", "fast", "--x-initial", "fast", "--no-timing", "-Wno-fatal", "-Wno-lint"]
COMPILE = ["-std=c++20", "-fPIC", "-fno-gnu-unique", "-DVM_COVERAGE=0", "-DVM_SC=0", "-DVM_TIMING=0", "-DVM_TRACE=0"]
OPTIMISE = "-O1"
LIBRARY = "machine.so"


def wrapper(parameters: Parameters) -> str:
    """A module ``machine`` around the core, whose ports have names that C++ can say."""
    ports = {
        "clk": ("input", 1),
        "rst": ("input", 1),
        "load_valid": ("input", 1),
        "load_ready": ("output", 1),
        "load_payload": ("input", part_layout(parameters).size),
        "words_valid": ("output", 1),
        "words_ready": ("input", 1),
        "words_payload": ("output", word_layout(parameters).size),
        "busy": ("output", 1),
        "active": ("output", 1),
        "dropped": ("output", 1),
    }
    pins = [(name.replace("_", "__"), name) for name in ports]
    if parameters.trace:
        ports["trace_valid"] = ("output", 1)
        ports["trace_neurons"] = ("output", parameters.channels * trace_layout(parameters).size)
        pins.append(("trace", "{trace_neurons, trace_valid}"))
    declared = ",\n".join(f"  {way} [{width - 1}:0] {name}" for name, (way, width) in ports.items())
    connected = ",\n".join(f"    .{pin}({name})" for pin, name in pins)
    return f"module machine(\n{declared}\n);\n  core core(\n{connected}\n  );\nendmodule\n"


def build(parameters: Parameters, folder: Path) -> Path:
    """The compiled core, made unless a core of the very same Verilog is there already.

    Args:
        parameters: of the core.
        folder: that keeps compiled cores, by a digest of their Verilog, the harness and the tools.

    Returns:
        the shared library.

    Raises:
        MissingExtraError: Verilator or the C++ compiler is not installed.
        ToolError: one failed.
    """
    folder.mkdir(parents=True, exist_ok=True)
    shipped = files("hdl") / "testbench"
    cells = "" if parameters.device == "generic" else (shipped / "cells.v").read_text(encoding="utf-8")
    sources = {
        "core.v": verilog(Core(parameters), "core") + cells + wrapper(parameters),
        "machine.cpp": (shipped / "machine.cpp").read_text(encoding="utf-8"),
    }
    numbers = versions(["verilator", "g++"], folder)
    recipe = repr((sources, numbers, OPTIMISE, Path(__file__).read_text(encoding="utf-8")))
    home = folder / hashlib.sha256(recipe.encode()).hexdigest()[:16]
    if (home / LIBRARY).is_file():
        return home / LIBRARY
    with tempfile.TemporaryDirectory(dir=folder) as scratch:
        work = Path(scratch) / "work"
        work.mkdir()
        for name, text in sources.items():
            (work / name).write_text(text, encoding="utf-8")
        _compile(work, parameters.trace)
        home.mkdir(exist_ok=True)
        os.replace(work / LIBRARY, home / LIBRARY)
    return home / LIBRARY


def _compile(work: Path, trace: bool) -> None:
    run("verilator", [*VERILATE, "--top-module", "machine", "-Mdir", "made", "core.v"], work, makes=["made"])
    shared = _verilator_files(work)
    flags = [*COMPILE, "-Imade", f"-I{shared}", f"-I{shared / 'vltstd'}", *(["-DTRACE"] if trace else [])]
    made = {path.name for path in (work / "made").glob("*.cpp")}
    once = {name for name in made if "Slow" in name}
    called = {"Vmachine.cpp"}
    units = {
        "once.cpp": ("-O0", ["verilated.cpp", "verilated_threads.cpp", *sorted(once)]),
        "harness.cpp": (OPTIMISE, ["machine.cpp", *sorted(called)]),
        **{f"part_{name}": (OPTIMISE, [name]) for name in sorted(made - once - called)},
    }

    def compiled(unit: str) -> str:
        level, names = units[unit]
        (work / unit).write_text("".join(f'#include "{name}"\n' for name in names), encoding="utf-8")
        compiled = f"{unit}.o"
        run("g++", [*flags, level, "-c", unit, "-o", compiled], work, makes=[compiled])
        return compiled

    with ThreadPoolExecutor(os.cpu_count()) as pool:
        objects = list(pool.map(compiled, units))
    run("g++", ["-shared", "-pthread", *objects, "-o", LIBRARY], work, makes=[LIBRARY])


def _verilator_files(work: Path) -> Path:
    """Where Verilator's own C++ sources are."""
    root = run("verilator", ["--getenv", "VERILATOR_ROOT"], work).output.strip()
    return Path(root) / "include"


class Compiled:
    """A ``Machine`` in machine code. Its core goes from job to job without a reset.

    Args:
        parameters: of the core; of one for a device, the cells are simulated.
        folder: that keeps compiled cores. They are found again by a digest of all that they are made from.
        stalls: how often, of 1, the sender pauses and the receiver is not ready, in any cycle.
        seed: of the stalls.

    Attributes:
        cycles: cycles that jobs have run; active: of these, cycles in which the lanes were given a tap; dropped: silent
            rows that were skipped.
        traces: if the core has a trace, for each job its beats ``(beats, C, 6) int64``: current, before, spike (-1, 0,
            1), membrane, count, saturated.

    Raises:
        InputError: stalls of 1 and more, or below 0.
        MissingExtraError, ToolError: see ``build``.
    """

    def __init__(self, parameters: Parameters, folder: Path, stalls: float = 0.0, seed: int = 0) -> None:
        if not 0 <= stalls < 1:
            raise InputError(f"stalls is {stalls}; 0 to less than 1 was expected")
        self.parameters = parameters
        self.library = _library(build(parameters, folder))
        self.machine = self.library.machine_new(stalls, seed)
        self.counts = np.zeros(3, np.uint64)
        self.traces: list[NDArray[np.int64]] = []

    def __del__(self) -> None:
        if hasattr(self, "machine"):
            self.library.machine_delete(self.machine)

    @property
    def cycles(self) -> int:
        """Cycles that jobs have run."""
        return int(self.counts[0])

    @property
    def active(self) -> int:
        """Cycles in which the lanes were given a tap."""
        return int(self.counts[1])

    @property
    def dropped(self) -> int:
        """Silent rows that were skipped."""
        return int(self.counts[2])

    def run(self, parts: Parts) -> Words:
        """Load the parts and collect the words of the job that they start.

        Raises:
            RuntimeError: the core hangs.
        """
        values = part_values(parts, self.parameters)
        if self.library.machine_run(self.machine, values.ctypes, len(values), PATIENCE, self.counts.ctypes):
            raise RuntimeError(f"the core neither took nor sent anything for {PATIENCE:,} cycles")
        if self.parameters.trace:
            self.traces.append(self._trace())
        layout = word_layout(self.parameters)
        bits = self._bits("machine_words", layout.size)
        fields = [unsigned_field(bits, layout, name) for name in ("membrane", "channel", "row", "group", "index")]
        at = layout["data"].offset
        return Words(fields=np.stack(fields, axis=1), data=bits[:, at : at + layout["data"].width])

    def _bits(self, what: str, width: int) -> NDArray[np.uint8]:
        """What came, ``(N, width)``, the least significant bit first."""
        size = ctypes.c_uint64()
        pointer = getattr(self.library, what)(self.machine, ctypes.byref(size))
        length = max(2, -(-width // 32))  # Verilator's ports of 33 to 64 bits are one 64-bit integer
        if not size.value:
            return np.zeros((0, width), np.uint8)
        whole = np.ctypeslib.as_array(pointer, (size.value // length, length)).astype("<u4")
        return np.unpackbits(whole.view(np.uint8), axis=1, bitorder="little")[:, :width]

    def _trace(self) -> NDArray[np.int64]:
        layout, channels = trace_layout(self.parameters), self.parameters.channels
        bits = self._bits("machine_trace", channels * layout.size).reshape(-1, channels, layout.size)
        names = ("current", "before", "spike", "membrane", "count", "saturated")
        values = np.stack([unsigned_field(bits, layout, name) for name in names], axis=-1)
        for column, name in enumerate(names):
            if name not in ("spike", "saturated"):
                sign = 1 << layout[name].width - 1
                values[..., column] = (values[..., column] ^ sign) - sign
        values[..., 2] = np.array([0, 1, 0, -1])[values[..., 2]]
        return values


def unsigned_field(bits: NDArray[np.uint8], layout: data.StructLayout, name: str) -> NDArray[np.int64]:
    """A field of words given as bits ``(..., size)``, as unsigned integers ``(...)``."""
    field = layout[name]
    part = bits[..., field.offset : field.offset + field.width].astype(np.int64)
    return part @ (np.int64(1) << np.arange(field.width, dtype=np.int64))


def _library(path: Path) -> Any:
    library = ctypes.CDLL(str(path))
    machine, size = ctypes.c_void_p, ctypes.POINTER(ctypes.c_uint64)
    library.machine_new.argtypes, library.machine_new.restype = [ctypes.c_double, ctypes.c_uint64], machine
    library.machine_delete.argtypes, library.machine_delete.restype = [machine], None
    library.machine_run.argtypes = [machine, ctypes.c_void_p, ctypes.c_uint64, ctypes.c_uint64, ctypes.c_void_p]
    for name in ("machine_words", "machine_trace"):
        function = getattr(library, name)
        function.argtypes, function.restype = [machine, size], ctypes.POINTER(ctypes.c_uint32)
    return library
