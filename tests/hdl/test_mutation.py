"""The vectors of the neuron and of the array kill every mutant that is not proved equivalent."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from random import Random

import pytest

from hdl.mutation.parts import PARTS
from hdl.mutation.score import measure
from hdl.stimuli import Cycles
from hdl.toolchain import ToolError

pytestmark = pytest.mark.slow


@pytest.mark.parametrize("name", PARTS)
def test_no_mutant_that_differs_survives(name: str, tmp_path: Path) -> None:
    found = measure(PARTS[name], 60, 1, tmp_path)
    assert len(found.mutants) == 60
    assert len(found.killed) + len(found.survivors) == 60
    assert set(found.survivors.values()) <= {"equivalent"}
    assert found.score == 1
    assert len(found.killed) >= 50


@pytest.mark.parametrize("name", PARTS)
def test_vectors_with_a_hole_are_found_out(name: str, tmp_path: Path) -> None:
    """Vectors that never look at the outputs let a mutant live; the solver says that it differs."""
    component = PARTS[name].component()
    cycles = PARTS[name].stimuli(component, Random(1))
    blind = Cycles(cycles.inputs, [{} for _ in cycles.expected])
    found = measure(PARTS[name], 1, 1, tmp_path, blind)
    assert list(found.survivors.values()) == ["differs"]
    assert found.score == 0


def test_vectors_that_the_part_itself_fails_are_refused(tmp_path: Path) -> None:
    array = PARTS["array"].component()
    cycles = PARTS["array"].stimuli(array, Random(1))
    last = cycles.expected[-1]["sums"]
    cycles.expected[-1]["sums"] = [last[0] + 1, *last[1:]]
    with pytest.raises(ToolError, match="the component itself differs"):
        measure(PARTS["array"], 2, 1, tmp_path, cycles)


def test_command_prints_a_table_and_writes_json(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "hdl.mutation", "--folder", str(tmp_path)]
    done = subprocess.run([*command, "--parts", "array", "--mutants", "4"], capture_output=True, text=True, check=True)
    assert "| array | 4 | 4 | 0 | 0 | 0 | 100.0 % |" in done.stdout
    content = json.loads((tmp_path / "score.json").read_text(encoding="utf-8"))
    assert len(content["parts"]["array"]["mutants"]) == 4
    done = subprocess.run([*command, "--parts", "pool"], capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert "the part is 'pool'" in done.stderr
