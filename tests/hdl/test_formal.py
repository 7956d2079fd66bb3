"""The proofs of the neuron hold, and a planted bug breaks each of them."""

from __future__ import annotations

import inspect
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

import hdl.formal.code
import hdl.formal.equivalence
import hdl.formal.twin
import hdl.neuron
from hdl import toolchain
from hdl.formal.proof import PROPERTIES, SMALL, check

pytestmark = pytest.mark.slow

BUGS = [
    # property, what stands in the neuron, what a careless hand could have written
    ("equivalence", "less(count, settings.high)", "~less(settings.high, count)"),
    ("equivalence", "beats[at].valid & beats[at].halve", "beats[at].halve"),
    ("equivalence", "coarse >> fine_amount", "coarse >> amount[:2]"),
    ("conservation", "Mux(low, repaid, unspent)", "Mux(low, spent, unspent)"),
    ("net-count", "less(settings.low, count)", "~less(count, settings.low)"),
    ("no-wrap", "top = total[membrane - 1 :]", "top = total[membrane:]"),
    ("one-spike", "Mux(positive, risen, Mux(low, fallen, count))", "Mux(positive, risen, count)"),
    ("firing", "equal=True", "equal=False"),
]


def broken(module: Any, name: str, good: str, bad: str) -> Any:
    """A class, or function, of a module in which one place reads differently."""
    source = inspect.getsource(module)
    assert source.count(good) == 1
    namespace: dict[str, Any] = {"__name__": module.__name__}
    exec(compile(source.replace(good, bad), str(module.__file__), "exec"), namespace)
    return namespace[name]


@pytest.mark.parametrize("name", PROPERTIES)
def test_property_is_proved_without_bound(name: str, tmp_path: Path) -> None:
    proof = check(name, SMALL, tmp_path)
    assert proof.verdict == "PASS", proof.output


@pytest.mark.parametrize(("name", "good", "bad"), BUGS)
def test_bug_in_the_neuron_is_found(name: str, good: str, bad: str, tmp_path: Path) -> None:
    neuron = broken(hdl.neuron, "Neuron", good, bad)
    bench: Any = PROPERTIES[name].bench
    assert check(name, SMALL, tmp_path, lambda parameters: bench(parameters, neuron)).verdict == "FAIL"


def test_bug_in_the_code_is_found(tmp_path: Path) -> None:
    twin = broken(hdl.formal.twin, "Twin", "self.u < self.down", "self.u <= self.down")
    code = hdl.formal.code.Code
    assert check("code", SMALL, tmp_path, lambda parameters: code(parameters, twin)).verdict == "FAIL"


def test_bug_in_the_sum_is_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    wrong = broken(hdl.formal.twin, "in_halves", "first << half", "first << 1")
    monkeypatch.setattr(hdl.formal.equivalence, "in_halves", wrong)
    assert check("columns", replace(SMALL, columns=4), tmp_path).verdict == "FAIL"


def test_missing_solver_names_the_extra(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(toolchain.PROGRAMS, "yices", ("no-such-solver",))
    with pytest.raises(toolchain.MissingExtraError, match=r"yices.*refsnn\[hdl\]"):
        check("columns", SMALL, tmp_path)


def test_command_prints_a_table_and_refuses_unknown_properties(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "hdl.formal", "--folder", str(tmp_path)]
    done = subprocess.run([*command, "columns"], capture_output=True, text=True, check=True)
    assert "| columns | k-induction, yices | 1 | 2, 10, 16, 12, 4 | proved, unbounded |" in done.stdout
    done = subprocess.run([*command, "speed"], capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert "the property is 'speed'" in done.stderr
