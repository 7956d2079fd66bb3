"""The properties that are proved, and how a solver is asked."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hdl.formal.code import Code
from hdl.formal.equivalence import Columns, Equivalence
from hdl.formal.rate import Conservation, Firing, NetCount, NoWrap, OneSpike
from hdl.neuron import neuron_latency, revisit
from hdl.parameters import Parameters
from hdl.toolchain import Verdict, program, prove, verilog

SMALL = Parameters(
    columns=2, weight_planes=1, accumulator_bits=10, state_bits=16, membrane_bits=12, count_bits=4, trace=True
)
"""Widths of proofs that take seconds. Nothing in the neuron depends on a width but the number of its adders."""
FULL = Parameters(trace=True)
"""The widths of a core as it is built."""

SOLVER = "yices"


@dataclass(frozen=True, slots=True)
class Property:
    """Something to prove.

    Attributes:
        statement: in words.
        bench: makes the design that asserts it.
        depth: the k of k-induction: from any k cycles in which all assertions hold, the next one follows. The first k
            cycles are checked from reset.
    """

    statement: str
    bench: Callable[[Parameters], Any]
    depth: Callable[[Parameters], int]


def flushed(parameters: Parameters) -> int:
    """Cycles after which nothing is under way that entered before the first."""
    return neuron_latency(parameters) + 3


def visits(parameters: Parameters) -> int:
    """Cycles in which a neuron is loaded and makes a step, as fast as it may, and is looked at."""
    return 2 * revisit(parameters) + 2


PROPERTIES = {
    "equivalence": Property("pipelined and naive neuron agree in every output, for all beats", Equivalence, flushed),
    "columns": Property("the naive neuron's sum, half by half, is that of column after column", Columns, lambda _: 1),
    "conservation": Property("v + threshold n - sum of I = initial, unless clamped", Conservation, visits),
    "net-count": Property("low <= n if gated, n <= high if capped", NetCount, visits),
    "no-wrap": Property("the membrane has B bits after every step, and nothing wraps", NoWrap, visits),
    "one-spike": Property("never both spikes; v and n move by the one that is sent", OneSpike, visits),
    "firing": Property("a spike exactly when the contract's fire has one", Firing, visits),
    "code": Property("digits sent are those of floor(v / threshold), limited to T bits", Code, lambda _: 2),
}
"""By name, in the order of the table."""


@dataclass(frozen=True, slots=True)
class Proof:
    """What came out.

    Attributes:
        verdict: PASS: proved without bound. FAIL: a counterexample from reset. UNKNOWN: no counterexample from reset
            within ``depth`` cycles, but the induction does not close.
        depth: the k of k-induction.
        seconds: by the clock.
        output: of the tools.
    """

    verdict: Verdict
    depth: int
    seconds: float
    output: str


def check(name: str, parameters: Parameters, folder: Path, bench: Callable[[Parameters], Any] | None = None) -> Proof:
    """Prove a property by k-induction.

    Args:
        name: a key of ``PROPERTIES``.
        parameters: widths; with a trace.
        folder: for the Verilog, the script, and counterexamples; made if it is not there.
        bench: instead of the property's own: with a planted bug.

    Raises:
        MissingExtraError: a tool is not installed.
        ToolError: a tool failed.
    """
    folder.mkdir(parents=True, exist_ok=True)
    program(SOLVER)
    wanted = PROPERTIES[name]
    depth = wanted.depth(parameters)
    (folder / f"{name}.v").write_text(verilog((bench or wanted.bench)(parameters), "bench"), encoding="utf-8")
    script = f"""[options]
mode prove
depth {depth}
[engines]
smtbmc {SOLVER}
[script]
read_verilog -formal {name}.v
prep -top bench
[files]
{name}.v
"""
    start = time.perf_counter()
    verdict, output = prove(name, script, folder)
    return Proof(verdict, depth, time.perf_counter() - start, output)
