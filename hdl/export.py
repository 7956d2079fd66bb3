"""A network's core as a folder: Verilog, memory images, sidecar, testbenches and, from a golden case, their vectors."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace
from importlib.resources import files
from pathlib import Path
from string import Template

import numpy as np
from numpy.typing import NDArray

from golden.case import Case
from golden.folder import replaced
from golden.layout import stem
from golden.records import encode
from hdl import sidecar, vectors
from hdl.collector import word_layout
from hdl.core import PART_BITS, Core, part_layout, word_widths
from hdl.execute import job_parts, source_parts
from hdl.fit import layers
from hdl.layer import BIAS_MAP, Job, Layer
from hdl.parameters import Parameters
from hdl.sidecar import JobRecord, LayerRecord, NetworkRecord, Sidecar, SourceRecord
from hdl.toolchain import verilog
from hdl.words import Parts, part_values
from refsnn.errors import InputError
from refsnn.network import Network, Readout

SHIPPED = ("README.txt", "Makefile", "testbench.sv", "test_core.py", "lint.vlt")
CELLS = "cells.v"
"""What the cells of devices do, for simulators; a core for any device needs none."""
PLAN = "plan.txt"
SENTINEL = re.compile(r"^  reg (\\\$auto\$verilog_backend\.cc:\d+:dump_module\$\d+ ) = 0;\n", re.MULTILINE)
"""The register that Yosys has combinational processes read."""


def export(
    network: Network,
    file: str,
    out: Path,
    parameters: Parameters,
    steps: int,
    drain: int,
    case: Case | None = None,
    images: Sequence[int] = (0,),
) -> Sidecar:
    """Write the folder of a network's core; the same bytes every time.

    Args:
        network: the network. file: its name, for the record.
        out: the folder; an exported one that is there is replaced.
        parameters: of the core.
        steps, drain: T, and the drain steps that events have room for.
        case: a golden case of the network, from which vectors for the testbenches are made.
        images: of the case.

    Returns:
        what ``core.json`` says.

    Raises:
        InputError, WidthError: the core cannot hold the network, with the numbers; another network's case; something
            else is at ``out``.
    """
    if case is not None:
        check_case(case, network, steps, images)
    found = layers(network, steps, drain, parameters)
    with replaced(out, check_target) as folder:
        return _Export(network, file, folder, parameters, steps, drain, found).write(case, images)


def check_target(path: Path) -> None:
    """Check that a core may be exported to ``path``: nothing is there, an empty folder, or an exported core.

    Raises:
        InputError: something else is there.
    """
    if not path.exists() or (path / sidecar.FILE).is_file():
        return
    if not path.is_dir():
        raise InputError(f"{path}: is a file; name a folder for the core")
    if any(path.iterdir()):
        raise InputError(f"{path}: is not empty and is no exported core; name another folder, or remove it")


def check_case(case: Case, network: Network, steps: int, images: Sequence[int]) -> None:
    """Check that a case is one of this network, of so many steps, with these images.

    Raises:
        InputError: it is not.
    """
    if case.network.digest() != network.digest():
        raise InputError(
            f"{case.path}: its network has the digest {case.network.digest()}, the exported one {network.digest()}: "
            "make the case with that network"
        )
    if case.steps != steps:
        raise InputError(f"{case.path}: is a case of T = {case.steps}; --steps is {steps}")
    for image in images:
        if not 0 <= image < len(case):
            raise InputError(f"{case.path}: has no image {image}; there are {len(case)}, counted from 0")


class _Export:
    def __init__(
        self,
        network: Network,
        file: str,
        folder: Path,
        parameters: Parameters,
        steps: int,
        drain: int,
        found: list[Layer],
    ) -> None:
        self.network, self.file, self.folder, self.parameters = network, file, folder, parameters
        self.steps, self.drain, self.layers = steps, drain, found
        order = [population.name for population in network.populations]
        self.stems = {layer.population: stem(order.index(layer.population), layer.population) for layer in found}

    def write(self, case: Case | None, images: Sequence[int]) -> Sidecar:
        record = self._sidecar()
        self._text(sidecar.FILE, encode(record))
        self._text("core.v", awake(verilog(Core(self.parameters), "core")))
        self._text("core.svh", header(self.parameters, record))
        for layer in self.layers:
            for number, job in enumerate(layer.jobs):
                self._job(layer, number, job)
        if case is not None:
            for image in images:
                self._vectors(case, image, record)
        self._ship(record)
        return record

    def _text(self, name: str, text: str) -> None:
        path = self.folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8", newline="\n")

    def _ship(self, record: Sidecar) -> None:
        cells = () if self.parameters.device == "generic" else (CELLS,)
        for name in (*SHIPPED, *cells):
            text = (files("hdl") / "testbench" / name).read_text(encoding="utf-8")
            if name == "README.txt":
                text = Template(text).substitute(
                    file=self.file,
                    digest=record.network.digest,
                    steps=self.steps,
                    drain=self.drain,
                    lanes=record.lanes,
                    layers=len(record.layers),
                    jobs=sum(len(layer.jobs) for layer in record.layers),
                )
            self._text(name, text)

    def _sidecar(self) -> Sidecar:
        return Sidecar(
            schema=sidecar.SCHEMA,
            version=sidecar.VERSION,
            creator=sidecar.CREATOR,
            network=NetworkRecord(file=self.file, digest=self.network.digest(), steps=self.steps, drain=self.drain),
            parameters=self.parameters,
            lanes=self.parameters.lanes,
            ports=sidecar.ports(self.parameters),
            part_bits=PART_BITS,
            memories=sidecar.memories(self.parameters),
            words=sidecar.words(self.parameters),
            layers=tuple(self._layer(layer) for layer in self.layers),
        )

    def _layer(self, layer: Layer) -> LayerRecord:
        return LayerRecord(
            name=layer.population,
            stem=self.stems[layer.population],
            shape=layer.shape,
            membranes=isinstance(self.network[layer.population], Readout),
            static=self.network.is_static(layer.population),
            columns=layer.columns.length,
            lead=layer.columns.lead,
            sources=tuple(
                SourceRecord(
                    name=source.name,
                    shape=source.shape,
                    address=source.address,
                    words=source.words(self.parameters),
                    columns=source.columns.length,
                    lead=source.columns.lead,
                    static=source.static,
                )
                for source in layer.sources
            ),
            jobs=tuple(self._job_record(layer, number, job) for number, job in enumerate(layer.jobs)),
        )

    def _job_record(self, layer: Layer, number: int, job: Job) -> JobRecord:
        _, height, width = layer.shape
        pixels = self.parameters.pixels
        channels = min(job.fields["channels"], layer.shape[0])
        membranes = isinstance(self.network[layer.population], Readout)
        groups, each = -(-width // pixels), min(pixels, width) if membranes else layer.columns.chunks(self.parameters)
        parts = self._parts(layer, number, job)
        lengths = {
            target.name: int(parts[parts[:, 0] == target.value, 1].sum()) for target in word_widths(self.parameters)
        }
        return JobRecord(
            load=f"load/{self.stems[layer.population]}.{number}.hex",
            channel=job.channel,
            channels=channels,
            rows=height,
            groups=groups,
            each=each,
            words=channels * height * (width if membranes else groups * each),
            memories={name: length for name, length in lengths.items() if length},
        )

    def _parts(self, layer: Layer, number: int, job: Job) -> Parts:
        """What the network gives a job: its tables; and to a layer's first one, a map of biases."""
        own = replace(layer, sources=[source for source in layer.sources if source.name == BIAS_MAP])
        stored = [source_parts(own, {}, self.parameters)] if own.sources and number == 0 else []
        return np.concatenate([*stored, job_parts(job, self.parameters)])

    def _job(self, layer: Layer, number: int, job: Job) -> None:
        name = f"{self.stems[layer.population]}.{number}"
        parts = self._parts(layer, number, job)
        self._text(f"load/{name}.hex", self._part_lines(parts))
        for target, width in word_widths(self.parameters).items():
            chosen = parts[parts[:, 0] == target.value]
            if len(chosen):
                words = chosen[:, 3].astype("<u4").reshape(-1, -(-width // PART_BITS))
                bits = np.unpackbits(words.view(np.uint8), axis=1, bitorder="little")[:, :width]
                first = int(chosen[0, 2])
                text = lines(bits) if first == 0 else f"@{first:x}\n{lines(bits)}"
                self._text(f"memory/{name}.{target.name.lower()}.hex", text)

    def _part_lines(self, parts: Parts) -> str:
        digits = -(-part_layout(self.parameters).size // 4)
        return "".join(f"{value:0{digits}x}\n" for value in part_values(parts, self.parameters).tolist())

    def _vectors(self, case: Case, image: int, record: Sidecar) -> None:
        plan = []
        for layer, written in zip(self.layers, record.layers, strict=True):
            computed = vectors.result(case, image, layer, self.parameters)
            events = f"vectors/{image}/{written.stem}.events.hex"
            own = replace(layer, sources=[source for source in layer.sources if source.name != BIAS_MAP])
            self._text(events, self._part_lines(vectors.stimulus(case, image, own, self.parameters)))
            for number, (job, each) in enumerate(zip(layer.jobs, written.jobs, strict=True)):
                words = f"vectors/{image}/{written.stem}.{number}.words.hex"
                self._text(words, lines(vectors.expected_words(layer, job, computed, self.parameters)))
                sizes = f"{each.channel} {each.channels} {each.rows} {each.groups} {each.each}"
                plan.append(f"{written.stem} {number} {sizes} {events if number == 0 else '-'} {each.load} {words}\n")
        self._text(f"vectors/{image}/{PLAN}", "".join(plan))


def awake(text: str) -> str:
    """Verilog whose combinational processes all run when a simulation starts.

    Yosys has each of them read a register that never changes. Verilog's ``always @*`` waits for a change, and
    SystemVerilog sets first values before any process waits: what depends on constants and first values only would stay
    unknown. Here that register changes once, when all processes wait.
    """
    return SENTINEL.sub(r"\g<0>  initial \1 <= 1;\n", text)


def lines(words: NDArray[np.uint8]) -> str:
    """Words ``(N, bits)``, the least significant bit first, as ``$readmemh`` text: a word a line."""
    digits = -(-words.shape[1] // 4)
    padded = np.zeros((len(words), digits * 4), np.uint8)
    padded[:, : words.shape[1]] = words
    nibbles = padded.reshape(len(words), digits, 4) @ np.array([1, 2, 4, 8], np.uint8)
    text = np.full((len(words), digits + 1), ord("\n"), np.uint8)
    text[:, :digits] = np.frombuffer(b"0123456789abcdef", np.uint8)[nibbles[:, ::-1]]
    return text.tobytes().decode()


def header(parameters: Parameters, record: Sidecar) -> str:
    """Widths for the testbench, as Verilog macros."""
    sizes = {"PART_BITS": part_layout(parameters).size, "WORD_BITS": word_layout(parameters).size}
    for name in ("membrane", "channel", "row", "group", "index", "data"):
        field = word_layout(parameters)[name]
        sizes |= {f"{name.upper()}_AT": field.offset, f"{name.upper()}_BITS": field.width}
    sizes["MOST_WORDS"] = max(
        job.channels * job.rows * job.groups * job.each for layer in record.layers for job in layer.jobs
    )
    return "".join(f"`define {name} {value}\n" for name, value in sizes.items())
