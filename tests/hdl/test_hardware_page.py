"""What the page for hardware teams says, done."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pytest

from golden.diff import diff
from hdl.array import Array
from hdl.bank import latency
from hdl.collector import Collector, word_layout
from hdl.core import Core, part_layout
from hdl.gather import Gather
from hdl.issue import Issue
from hdl.layer import lower
from hdl.neuron import revisit
from hdl.parameters import Parameters
from hdl.toolchain import verilog
from refsnn.network import CAP_STEPS, Input, Network, Projection, Readout, Spiking

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs" / "hardware.md"


@pytest.fixture(scope="module")
def page() -> str:
    return PAGE.read_text(encoding="utf-8")


@pytest.mark.slow
def test_the_dump_is_equal(page: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (code,) = re.findall(r"```python\n(.*?)```", page, re.DOTALL)
    (tmp_path / "golden").symlink_to(ROOT / "golden")
    monkeypatch.chdir(tmp_path)
    exec(compile(code, "docs/hardware.md", "exec"), {})
    found = diff("golden/suite/residual", "dump.h5")
    assert found.first is None
    assert [(tally.population, tally.quantity) for tally in found.tallies][-1] == ("readout", "membrane")


@pytest.mark.parametrize("columns", [1, 2, 4])
def test_latencies_are_those_of_the_components(page: str, columns: int) -> None:
    parameters = Parameters(columns=columns)
    adders = max(1, (columns - 1).bit_length())
    rows = dict(re.findall(r"^\| (an? [^|]*) \| [^|]* \| (\d+)[^|]*\|$", page, re.MULTILINE))
    assert rows == {
        "a request": str(Gather.latency),
        "a tap": str(Issue.latency),
        "an operation": str(Array.latency),
        "a beat": str(latency(parameters) - adders),
        "a neuron's beat": str(revisit(parameters) - adders),
        "a chunk of columns": str(Collector.latency),
    }


def convolution(channels: int, size: int) -> Network:
    """A 3x3 convolution of a map, padded by 1, between an identity of the input and a readout."""
    ones = np.ones(channels, np.int32)
    weights = np.random.default_rng(0).integers(-127, 128, (channels, channels, 3, 3)).astype(np.int8)
    first = Spiking(
        name="first",
        shape=(channels, size, size),
        neuron="dual",
        threshold=10 * ones,
        negative_threshold=0 * ones,
        initial_membrane=5 * ones,
        bias=0 * ones,
        cap=CAP_STEPS,
        unit=np.ones(channels),
    )
    return Network(
        populations=(
            Input(
                name="input", shape=first.shape, table=np.tile(np.arange(256, dtype=np.int16), (channels, 1)), unit=1.0
            ),
            first,
            replace(first, name="second"),
            Readout(name="readout", shape=(1,), bias=np.zeros(1, np.int32), unit=1.0, activation=None),
        ),
        projections=(
            Projection(source="input", target="first", kind="identity", weights=ones, shift=0 * ones),
            Projection(source="first", target="second", kind="conv", weights=weights, padding=(1, 1, 1, 1)),
            Projection(
                source="second",
                target="readout",
                kind="dense",
                weights=np.ones((1, first.threshold.size * size**2), np.int8),
            ),
        ),
        membrane_bits=20,
    )


def test_the_example_is_lowered_as_told(page: str) -> None:
    layer = lower(convolution(32, 16), "second", 4, 0, Parameters())
    (job,) = layer.jobs
    for number, fetch in enumerate(job.fetches):
        seen = [bit for bit in range(32) if fetch["care"] >> bit & 1]
        assert seen == list(range(7, 17))
        cells = (
            number,
            fetch["row"],
            fetch["offset"],
            fetch["group"],
            "pixels 7 .. 16",
            fetch["first"],
            fetch["number"],
        )
        assert f"| {' | '.join(map(str, cells))} |" in page
    assert [(tap["shift"], tap["weight"], tap["lanes"], tap["wide"]) for tap in job.taps] == [
        (7 + tap % 3, tap, 255, False) for tap in range(9)
    ]
    tiles = job.fields["blocks"] * job.fields["tile_rows"] * job.fields["tile_columns"]
    assert len(job.weights) == 2 * 288
    assert job.operations == tiles * 288 == 18_432
    assert f"{tiles} x (288 + 8) = {tiles * 296:,} cycles" in page


def test_the_ports_are_those_of_the_verilog(page: str) -> None:
    text = verilog(Core(Parameters(channels=1, pixels=1, columns=1, banks=2)), "core")
    ports = set(re.search(r"module core\((.*?)\);", text, re.DOTALL).group(1).replace("\n", " ").split(", "))
    told = re.findall(r"^\| ((?:`\w+`(?:, )?)+) \| (?:in|out)", page, re.MULTILINE)
    assert {name.strip() for name in ports} == set(re.findall(r"`(\w+)`", " ".join(told)))
    assert f"`load__payload` | in | 1, {part_layout(Parameters()).size} |" in page
    assert f"`words__payload` | out | 1, {word_layout(Parameters()).size} |" in page


def test_pictures_are_well_formed(page: str) -> None:
    pictures = re.findall(r"!\[.*?\]\((.*?)\)", page)
    assert pictures == ["pictures/core.svg", "pictures/neuron.svg"]
    for name in pictures:
        assert ElementTree.parse(PAGE.parent / name).getroot().tag == "{http://www.w3.org/2000/svg}svg"
