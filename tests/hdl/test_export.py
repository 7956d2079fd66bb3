"""Exported cores: the same bytes again, a sidecar that says what is there, Verilog that passes the lint; refusals."""

from __future__ import annotations

import json
import re
import sys
from pathlib import Path

import jsonschema
import numpy as np
import pytest
from typer.testing import CliRunner

import golden
from golden.directed import suite
from golden.records import encode
from hdl import sidecar
from hdl.command import application
from hdl.export import awake, export
from hdl.fit import fit, layers
from hdl.toolchain import program, run
from refsnn.errors import InputError
from tests.golden.cases import tree

CASES = {case.name: case for case in suite()}
RUNNER = CliRunner()


def written(out, name="residual", lanes=8, **fixed):
    case = CASES[name]
    parameters = fit(case.network, case.steps, 0, lanes, fixed)
    return export(case.network, "network.h5", out, parameters, case.steps, 0)


@pytest.fixture(scope="module")
def exported(tmp_path_factory):
    """A core with a trace, of several jobs a layer."""
    out = tmp_path_factory.mktemp("exported") / "core"
    written(out, weight_words=64, trace=True)
    return out


def test_the_same_bytes_again(exported, tmp_path):
    written(tmp_path / "again", weight_words=64, trace=True)
    assert tree(tmp_path / "again") == tree(exported)


def test_the_sidecar_follows_its_schema(exported):
    schema = json.loads((Path(__file__).parents[2] / "docs" / "core.schema.json").read_text())
    document = json.loads((exported / "core.json").read_text())
    jsonschema.validate(document, schema)
    layer = document["layers"][0]
    for broken in (
        document | {"version": 2},
        document | {"colour": "red"},
        {key: value for key, value in document.items() if key != "lanes"},
        document | {"layers": [layer | {"columns": "4"}]},
    ):
        with pytest.raises(jsonschema.ValidationError):
            jsonschema.validate(broken, schema)


def test_the_sidecar_is_read_again(exported):
    record = sidecar.read(exported / "core.json")
    assert encode(record) == (exported / "core.json").read_text()
    assert record.network.digest == CASES["residual"].network.digest()
    assert max(len(layer.jobs) for layer in record.layers) > 1


def test_ports_are_those_of_the_verilog(exported):
    text = (exported / "core.v").read_text()
    module = text[text.index("module core(") :].partition("endmodule")[0]
    found = {
        name: (way, int(high or 0) + 1)
        for way, high, name in re.findall(r"^  (input|output) (?:\[(\d+):0\] )?(\w+);", module, re.MULTILINE)
    }
    ports = sidecar.read(exported / "core.json").ports
    assert found == {name: (port.direction, port.bits) for name, port in ports.items()}


def test_fields_cover_every_word_once(exported):
    record = sidecar.read(exported / "core.json")
    for name, word in record.words.items():
        taken = np.zeros(word.bits, int)
        for field in word.fields:
            taken[field.low : field.low + field.width] += 1
        assert (taken == 1).all(), name
    for name, memory in record.memories.items():
        assert record.words[name].bits == memory.bits
    for port in record.ports.values():
        assert port.word is None or record.words[port.word].bits == port.bits


def field(word, name, value):
    """A field of a word, by what the sidecar says."""
    found = next(each for each in word.fields if each.name == name)
    plain = value >> found.low & ((1 << found.width) - 1)
    return plain - (1 << found.width) * (found.signed and plain >> found.width - 1)


def test_parts_fill_the_memories_as_the_images_say(exported):
    """Loading a job's parts by nothing but the sidecar gives the memory images."""
    record = sidecar.read(exported / "core.json")
    names = {memory.target: name for name, memory in record.memories.items()}
    for layer in record.layers:
        for number, job in enumerate(layer.jobs):
            filled, pending = {}, []
            for line in (exported / job.load).read_text().split():
                part = int(line, 16)
                pending.append(field(record.words["load"], "data", part))
                if field(record.words["load"], "last", part):
                    name = names[field(record.words["load"], "target", part)]
                    assert len(pending) == record.memories[name].parts
                    word = sum(piece << record.part_bits * index for index, piece in enumerate(pending))
                    filled.setdefault(name, {})[field(record.words["load"], "address", part)] = word
                    pending = []
            assert not pending
            assert {name: len(words) for name, words in filled.items()} == job.memories
            for name, words in filled.items():
                image = (exported / "memory" / f"{layer.stem}.{number}.{name.lower()}.hex").read_text().split()
                first = int(image.pop(0)[1:], 16) if image[0].startswith("@") else 0
                assert words == {first + at: int(line, 16) for at, line in enumerate(image)}
                assert max(words) < record.memories[name].depth


def test_layers_are_those_that_are_lowered(exported):
    """Addresses, jobs and their fields, read from the folder, against the lowered network."""
    record = sidecar.read(exported / "core.json")
    lowered = layers(CASES["residual"].network, 3, 0, record.parameters)
    assert [layer.name for layer in record.layers] == [layer.population for layer in lowered]
    for layer, expected in zip(record.layers, lowered, strict=True):
        assert [(each.name, each.address) for each in layer.sources] == [(s.name, s.address) for s in expected.sources]
        for number, (job, lowered_job) in enumerate(zip(layer.jobs, expected.jobs, strict=True)):
            image = (exported / "memory" / f"{layer.stem}.{number}.job.hex").read_text()
            for name, value in lowered_job.fields.items():
                if not isinstance(value, dict):
                    assert field(record.words["JOB"], name, int(image, 16)) == int(value), name
            assert job.channels == lowered_job.fields["channels"]
            weights = (exported / "memory" / f"{layer.stem}.{number}.weights.hex").read_text().split()
            for line, word in zip(weights, lowered_job.weights, strict=True):
                read = [field(record.words["WEIGHTS"], f"channel_{c}", int(line, 16)) for c in range(len(word))]
                assert read == word.tolist()


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "settings"),
    [
        ("residual", {}),
        ("max-pool", {"trace": True}),
        ("residual", {"device": "ecp5"}),
        ("residual", {"device": "ice40"}),
    ],
)
def test_the_lint_is_silent(tmp_path, name, settings):
    written(tmp_path / "core", name, **settings)
    tools = [f"VERILATOR={program('verilator')}", f"IVERILOG={program('iverilog')}"]
    said = run("make", ["-s", "lint", *tools], tmp_path / "core").output
    assert not [line for line in said.splitlines() if not line.startswith("- ")]


def test_every_combinational_process_wakes(exported):
    text = (exported / "core.v").read_text()
    read = set(re.findall(r"if \((\\\S*dump_module\$\d+) \) begin end", text))
    woken = set(re.findall(r"^  initial (\S+)  <= 1;", text, re.MULTILINE))
    assert read
    assert read == woken


ASLEEP = r"""module top(output reg [7:0] answer);
  reg \$auto$verilog_backend.cc:1:dump_module$1  = 0;
  reg state = 1'h0;
  always @* begin
    if (\$auto$verilog_backend.cc:1:dump_module$1 ) begin end
    answer = state ? 8'd7 : 8'd42;
  end
endmodule
module bench;
  wire [7:0] answer;
  top top(.answer(answer));
  initial #1 $display("%0d", answer);
endmodule
"""


@pytest.mark.parametrize(("text", "answer"), [(ASLEEP, "x"), (awake(ASLEEP), "42")])
def test_what_hangs_on_first_values_alone_is_known(tmp_path, text, answer):
    """In SystemVerilog a process that waits for a change does not see first values."""
    (tmp_path / "top.sv").write_text(text)
    run("iverilog", ["-g2012", "-s", "bench", "-o", "top.vvp", "top.sv"], tmp_path, makes=["top.vvp"])
    assert run("vvp", ["-n", "top.vvp"], tmp_path).output.split() == [answer]


@pytest.fixture(scope="module")
def case(tmp_path_factory):
    directed = CASES["residual"]
    path = tmp_path_factory.mktemp("case") / "case"
    return golden.write(directed.network, directed.images, directed.steps, path, reason="a test")


def invoke(*arguments):
    return RUNNER.invoke(application(), [str(argument) for argument in arguments])


def test_the_command(case, tmp_path):
    out = tmp_path / "core"
    done = invoke(case.path / "network.h5", "--golden", case.path, "--lanes", 8, "--out", out)
    assert done.exit_code == 0, done.output
    assert "8 lanes (1 x 1 x 2 x 4), T = 3" in done.output
    again = invoke("export", case.path / "network.h5", "--golden", case.path, "--lanes", 16, "--rows", 1, "--out", out)
    assert again.exit_code == 0
    assert sidecar.read(out / "core.json").lanes == 16
    assert len((out / "vectors/0/plan.txt").read_text().splitlines()) == 4


@pytest.mark.parametrize(
    ("options", "text"),
    [
        ((), "network.h5: runs for any number of steps; say which with --steps T"),
        (("--steps", 3, "--state-bits", 17), r"network.h5: '\w+': \w+ need 18 bits, the core has 17 state bits"),
        (("--steps", 3, "--event-words", 4), r"network.h5: '\w+' needs \d+ event words, the core has 4"),
        (("--steps", 3, "--weight-words", 2), r"network.h5: '\w+' needs \d+ weight words, the core has 2"),
        (("--steps", 300), "network.h5: the core's segments: 'chunks' would be 75; 0 to 63 are possible"),
        (("--steps", 3, "--lanes", 24, "--channels", 5), "network.h5: lanes is 24, but .* are"),
        (("--steps", 3, "--lanes", 96, "--pixels", 3), "network.h5: pixels is 3; a power of two was expected"),
        (("--steps", 3, "--device", "asic"), "network.h5: device is 'asic'; one of generic, ecp5, ice40"),
    ],
)
def test_refusals_name_the_file_and_the_numbers(case, tmp_path, options, text):
    done = invoke(case.path / "network.h5", "--out", tmp_path / "core", *options)
    assert done.exit_code == 2
    assert re.search(f"^error: .*{text}", done.stderr), done.stderr
    assert not (tmp_path / "core").exists()


def test_kinds_that_a_core_lacks_are_refused(tmp_path):
    directed = CASES["max-pool"]
    with pytest.raises(InputError, match="is a max-pool; the core was made without a max-pool unit"):
        fit(directed.network, directed.steps, 0, 8, {"pooling": False})


def test_only_exported_cores_are_replaced(case, tmp_path):
    (tmp_path / "mine.txt").write_text("precious")
    done = invoke(case.path / "network.h5", "--steps", 3, "--out", tmp_path)
    assert done.exit_code == 2
    assert "is not empty and is no exported core" in done.stderr
    assert (tmp_path / "mine.txt").read_text() == "precious"


def test_cases_of_other_networks_are_refused(case, tmp_path):
    other = CASES["base-1"]
    golden.write(other.network, other.images, other.steps, tmp_path / "other", reason="a test")
    done = invoke(case.path / "network.h5", "--golden", tmp_path / "other", "--out", tmp_path / "core")
    assert done.exit_code == 2
    assert "its network has the digest" in done.stderr
    done = invoke(case.path / "network.h5", "--golden", case.path, "--image", 1, "--out", tmp_path / "core")
    assert "has no image 1; there are 1" in done.stderr


def test_without_amaranth_the_extra_is_named(case, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "amaranth", None)
    done = invoke(case.path / "network.h5", "--out", tmp_path / "core")
    assert done.exit_code == 2
    assert "pip install 'refsnn[hdl]'" in done.stderr


@pytest.mark.parametrize(
    ("change", "text"),
    [
        ({"schema": "other"}, "has the schema \"other\"; 'refsnn-hdl-core' was expected"),
        ({"version": 2}, "is version 2"),
        ({"lanes": "many"}, 'lanes: is "many"; a whole number was expected'),
        ({"surplus": 1}, "the key 'surplus' is unknown"),
    ],
)
def test_sidecars_of_another_kind_are_refused(exported, tmp_path, change, text):
    content = json.loads((exported / "core.json").read_text()) | change
    (tmp_path / "core.json").write_text(json.dumps(content))
    with pytest.raises(InputError, match=re.escape(text)):
        sidecar.read(tmp_path / "core.json")
