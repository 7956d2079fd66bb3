"""The exported testbenches: they pass with the core, and fail with anything else.

A core that only sends what a file says shows what they make of words that are wrong, lost, doubled, late or unknown.
"""

from __future__ import annotations

import shutil
import sys

import pytest

import golden
from golden.diff import diff
from golden.directed import suite
from hdl import sidecar
from hdl.dump import convert
from hdl.export import export
from hdl.fit import fit
from hdl.toolchain import program, run
from refsnn.errors import InputError, MissingExtraError

CASES = {case.name: case for case in suite()}

FAKE = """module core(
  input clk, rst, load__valid, words__ready, input [PART-1:0] load__payload,
  output load__ready, words__valid, busy, active, dropped, output [WORD-1:0] words__payload
);
  // Sends the words of a file, in the order of the lines, when a job has come; a line of zeros is a pause.
  reg [WORD-1:0] words[0:1023];
  reg [9:0] at = 0;
  reg running = 0;
  initial $readmemh("FILE", words);
  wire pause = words[at] === 0;
  assign {busy, active, dropped} = {running, 2'b00};
  assign load__ready = !running, words__valid = running && !pause, words__payload = words[at];
  always @(posedge clk) begin
    if (load__valid && load__ready && load__payload[2:0] == 3'd6 && load__payload[3]) running <= 1;
    if (running && (pause || words__ready)) begin
      at <= at + 1;
      if (words[at + 1] === {WORD{1'bx}}) running <= 0;
    end
  end
endmodule
"""


def make(folder, target, *settings, **variables):
    """Run a target of the exported Makefile: its exit status and what it said."""
    tools = {"VERILATOR": program("verilator"), "IVERILOG": program("iverilog"), "VVP": program("vvp")}
    given = [f"{name}={value}" for name, value in {**tools, "PYTHON": sys.executable}.items()]
    done = run("make", ["-s", target, *given, *settings], folder, accepts=(0, 1, 2), variables=variables)
    return done.status, done.output


def exported(path, name, **fixed):
    """A core, its vectors and its golden case."""
    directed = CASES[name]
    case = golden.write(directed.network, directed.images, directed.steps, path / "case", reason="a test")
    drain = case.network.drain
    parameters = fit(case.network, case.steps, drain, 8, fixed)
    export(case.network, "network.h5", path / "core", parameters, case.steps, drain, case)
    return path / "core"


def number_of_words(folder):
    """The words that all jobs send."""
    return sum(job.words for layer in sidecar.read(folder / "core.json").layers for job in layer.jobs)


def flipped(folder, name="bad", line=3):
    """Other vectors in which one bit of one expected word is wrong; the name of the layer."""
    bad = folder / "vectors" / name
    shutil.copytree(folder / "vectors/0", bad)
    plan = (bad / "plan.txt").read_text()
    (bad / "plan.txt").write_text(plan.replace("vectors/0/", f"vectors/{name}/"))
    words = sorted(bad.glob("*.words.hex"))[1]
    lines = words.read_text().splitlines()
    lines[line] = f"{int(lines[line], 16) ^ 1 << 41:0{len(lines[line])}x}"
    words.write_text("\n".join(lines) + "\n")
    return words.name.split(".")[0]


@pytest.fixture(scope="module")
def residual(tmp_path_factory):
    """Several jobs a layer, a border bias, membranes."""
    return exported(tmp_path_factory.mktemp("residual"), "residual", weight_words=64)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "fixed"),
    [("residual", {"device": "ecp5"}), ("max-pool-base-2", {}), ("rate-drain", {"trace": True})],
)
def test_icarus_passes(tmp_path, name, fixed):
    folder = exported(tmp_path, name, **fixed)
    status, said = make(folder, "icarus", "PLUSARGS=+stalls=40 +seed=2")
    assert status == 0, said
    jobs = sum(len(layer.jobs) for layer in sidecar.read(folder / "core.json").layers)
    assert f"PASS: {number_of_words(folder)} words of {jobs} jobs" in said


@pytest.mark.slow
def test_verilator_passes_and_fails_on_one_bit(residual):
    status, said = make(residual, "verilator", "PLUSARGS=+stalls=40")
    assert status == 0, said
    assert f"PASS: {number_of_words(residual)} words of" in said
    layer = flipped(residual, "verilated")
    done = run(str(residual / "build/verilator/testbench"), ["+vectors=vectors/verilated"], residual, accepts=(1, 134))
    assert f"FAIL: layer {layer}, channel " in done.output
    assert f"FAIL: 1 of {number_of_words(residual)} words" in done.output


@pytest.mark.slow
def test_icarus_fails_on_one_bit(residual):
    layer = flipped(residual, "icarus")
    assert make(residual, "icarus")[0] == 0
    status, said = make(residual, "icarus", "IMAGE=icarus")
    assert status != 0
    assert f"FAIL: layer {layer}, channel " in said
    assert f"FAIL: 1 of {number_of_words(residual)} words" in said
    assert "PASS" not in said


@pytest.mark.slow
def test_cocotb_passes_and_fails_on_one_bit(residual):
    layer = flipped(residual, "cocotb")
    status, said = make(residual, "cocotb", STALLS="30")
    assert status == 0, said
    assert said.splitlines()[-1] == "PASS"
    status, said = make(residual, "cocotb", "IMAGE=cocotb")
    assert status != 0
    assert f"FAIL: layer {layer}, channel " in said
    assert "PASS\n" not in said


@pytest.fixture(scope="module")
def fake(tmp_path_factory):
    """A folder whose core sends what ``fake.hex`` says, for one job; and the words that are expected."""
    folder = exported(tmp_path_factory.mktemp("fake"), "residual")
    ports = sidecar.read(folder / "core.json").ports
    text = FAKE.replace("PART", str(ports["load__payload"].bits)).replace("WORD", str(ports["words__payload"].bits))
    (folder / "core.v").write_text(text.replace("FILE", str(folder / "fake.hex")))
    plan = (folder / "vectors/0/plan.txt").read_text().splitlines(keepends=True)
    (folder / "vectors/0/plan.txt").write_text(plan[1])
    return folder, (folder / plan[1].split()[-1]).read_text().split()


PAUSE = "0"
SENT = {
    "in order": (lambda words: words, None),
    "in another order": (lambda words: [*words[::-1]], None),
    "with pauses": (lambda words: [each for word in words for each in (PAUSE, word)], None),
    "one lost": (lambda words: words[:4] + words[5:], "did not come"),
    "the last lost": (lambda words: words[:-1], "did not come"),
    "none": (lambda words: [PAUSE], "did not come"),
    "one doubled": (lambda words: [*words[:4], words[3], *words[4:]], "came twice"),
    "one doubled at the end": (lambda words: [*words, words[0]], "came twice"),
    "one in the place of another": (lambda words: [*words[:4], words[3], *words[5:]], "came twice"),
    "one too many": (lambda words: [*words, f"{int(words[0], 16) | 99 << 1:x}"], "this word does not exist"),
    "another bit": (lambda words: [f"{int(words[0], 16) ^ 1 << 50:x}", *words[1:]], "expected "),
    "a membrane": (lambda words: [f"{int(words[0], 16) ^ 1:x}", *words[1:]], "expected "),
    "an unknown bit": (lambda words: ["x" + words[0][1:], *words[1:]], "received "),
}


@pytest.mark.slow
@pytest.mark.parametrize("target", ["icarus", "cocotb"])
@pytest.mark.parametrize("sent", SENT)
def test_what_a_core_may_and_may_not_send(fake, target, sent):
    folder, words = fake
    change, error = SENT[sent]
    (folder / "fake.hex").write_text("\n".join(change(words)) + "\n")
    status, said = make(folder, target, STALLS="20")
    assert (status == 0) == (error is None), said
    assert (error or "PASS") in said


@pytest.mark.slow
@pytest.mark.parametrize("target", ["icarus", "cocotb"])
def test_a_core_that_hangs_fails(fake, target):
    folder, words = fake
    (folder / "fake.hex").write_text("\n".join([*words[:5], *[PAUSE] * 200, *words[5:]]) + "\n")
    status, said = make(folder, target, "PLUSARGS=+patience=100", PATIENCE="100")
    assert status != 0
    assert "layer 02-sum: the core neither takes nor sends anything" in said


@pytest.mark.slow
@pytest.mark.parametrize("target", ["icarus", "cocotb"])
def test_a_plan_without_jobs_fails(fake, target, tmp_path):
    folder = tmp_path / "core"
    shutil.copytree(fake[0], folder, ignore=shutil.ignore_patterns("build"))
    (folder / "vectors/0/plan.txt").write_text("")
    status, said = make(folder, target)
    assert status != 0
    assert "plan.txt: " in said


def test_dumps_are_compared_neuron_by_neuron(residual, tmp_path):
    """The expected words as a dump equal the case; a bit of one is a neuron of the case."""
    case = golden.load(residual.parent / "case")
    lines = []
    for line in (residual / "vectors/0/plan.txt").read_text().splitlines():
        stem, job, *_, words = line.split()
        lines += [f"{stem} {job} {word}" for word in (residual / words).read_text().split()]
    (tmp_path / "words.txt").write_text("\n".join(lines) + "\n")
    written = convert(residual, tmp_path / "words.txt", case, 0, tmp_path / "dump")
    assert written == list(case.populations[1:])
    assert diff(case, tmp_path / "dump").first is None

    record = sidecar.read(residual / "core.json")
    at = {field.name: field.low for field in record.words["words"].fields}
    stem, job, word = lines[30].split()
    assert (stem, job) == ("02-sum", "0")
    (tmp_path / "bad.txt").write_text("\n".join([*lines[:30], f"{stem} {job} {int(word, 16) ^ 3 << at['data']:x}"]))
    convert(residual, tmp_path / "bad.txt", case, 0, tmp_path / "bad")
    first = diff(case, tmp_path / "bad").first
    place = [int(word, 16) >> at[name] & 0xFF for name in ("channel", "row", "group")]
    pixels = record.parameters.pixels
    assert (first.population, first.quantity) == ("sum", "events")
    assert first.neuron == (place[0], place[1], place[2] * pixels)


@pytest.mark.slow
def test_the_testbenches_dump_what_they_receive(residual, tmp_path):
    case = golden.load(residual.parent / "case")
    dumps = []
    for target, settings in (("icarus", {}), ("cocotb", {"DUMP": "cocotb.txt"})):
        status, said = make(residual, target, "PLUSARGS=+dump=icarus.txt +stalls=10", **settings)
        assert status == 0, said
        convert(residual, residual / f"{target}.txt", case, 0, tmp_path / target)
        assert diff(case, tmp_path / target).first is None
        dumps.append([[*line.split()[:2], int(line.split()[2], 16)] for line in (residual / f"{target}.txt").open()])
    assert dumps[0] == dumps[1]


@pytest.mark.parametrize(
    ("text", "error"),
    [
        ("02-sum 0 12 34", "line 1: '02-sum 0 12 34' is no word of this core"),
        ("02-other 0 12", "is no word"),
        ("02-sum 9 12", "is no word"),
        ("02-sum 0 hello", "is no word"),
        ("02-sum 0 ffffffffff", "outside the layer"),
        ("02-sum 0 0\n02-sum 0 0", "line 2: the word came twice"),
        ("", "holds nothing to compare"),
    ],
)
def test_lines_that_are_no_words_are_refused(residual, tmp_path, text, error):
    (tmp_path / "words.txt").write_text(text)
    with pytest.raises(InputError, match=error):
        convert(residual, tmp_path / "words.txt", golden.load(residual.parent / "case"), 0, tmp_path / "dump")


def test_what_did_not_come_is_unknown(residual, tmp_path):
    """Of a group that is missing, the neurons are x, and the diff says that nothing was found."""
    case = golden.load(residual.parent / "case")
    (tmp_path / "words.txt").write_text("02-sum 0 0\n")
    convert(residual, tmp_path / "words.txt", case, 0, tmp_path / "dump")
    assert "x" in (tmp_path / "dump/0/02-sum.events.hex").read_text()
    first = diff(case, tmp_path / "dump").first
    assert first.found is None or first.found != first.expected


def test_a_missing_make_is_named(monkeypatch, tmp_path):
    monkeypatch.setattr("hdl.toolchain.search_path", lambda: str(tmp_path))
    with pytest.raises(MissingExtraError, match="apt-get install make"):
        program("make")
