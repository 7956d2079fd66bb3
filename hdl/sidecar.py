"""``core.json``: everything about an exported core that a program may want to know (``docs/hardware-export.md``)."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from amaranth.lib import data

from golden.records import decode
from hdl.collector import word_layout
from hdl.core import PART_BITS, depths, part_layout, word_widths
from hdl.layouts import INSIDE, flat, meanings
from hdl.neuron import constants_layout, trace_layout
from hdl.parameters import Parameters
from hdl.tables import fetch_layout, job_layout, segment_layout, tap_layout
from refsnn.errors import InputError

SCHEMA = "refsnn-hdl-core"
VERSION = 1
CREATOR = "refsnn hdl"
FILE = "core.json"


@dataclass(frozen=True, slots=True, kw_only=True)
class NetworkRecord:
    """The network that the core was made for.

    Attributes:
        file: its name when it was exported.
        digest: ``Network.digest``: SHA-256 over everything that determines the integers.
        steps, drain: T, and the drain steps that events have room for.
    """

    file: str
    digest: str
    steps: int
    drain: int


@dataclass(frozen=True, slots=True, kw_only=True)
class PortRecord:
    """A port of the module ``core``.

    Attributes:
        direction: ``input`` or ``output``.
        bits: its width.
        word: the layout of its bits, a key of ``words``; None: it is a number.
    """

    direction: str
    bits: int
    word: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class FieldRecord:
    """Some bits of a word: ``word[low +: width]``, two's complement if ``signed``."""

    name: str
    low: int
    width: int
    signed: bool
    meaning: str


@dataclass(frozen=True, slots=True, kw_only=True)
class WordRecord:
    """The bits of a word, or of a port."""

    bits: int
    fields: tuple[FieldRecord, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class MemoryRecord:
    """A target of ``load``.

    Attributes:
        target: its number in the field ``target`` of a part.
        depth: its words.
        bits: of a word, of the layout ``words[name]``.
        parts: in which a word comes, the least significant one first.
    """

    target: int
    depth: int
    bits: int
    parts: int


@dataclass(frozen=True, slots=True, kw_only=True)
class SourceRecord:
    """What a layer reads from the event memory.

    Attributes:
        name: the population; ``bias`` is the layer's own map of biases, which its first job's file brings along.
        shape: ``(C, H, W)``.
        address: of its first word, in each bank; words: how many follow, in each bank.
        columns: used; lead: silent ones in front of them.
        static: the columns are bit-planes of graded values, the most significant one first.
    """

    name: str
    shape: tuple[int, ...]
    address: int
    words: int
    columns: int
    lead: int
    static: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class JobRecord:
    """One run of the core.

    Attributes:
        load: the file of its parts.
        channel, channels: the layer's channels that it computes; a word's channel counts from ``channel``.
        rows, groups, each: of the map; words that come for a channel, row and group (at most, of membranes).
        words: that come.
        memories: the words that it fills in each memory; ``memory/STEM.JOB.NAME.hex`` holds them, in lower case.
    """

    load: str
    channel: int
    channels: int
    rows: int
    groups: int
    each: int
    words: int
    memories: dict[str, int]


@dataclass(frozen=True, slots=True, kw_only=True)
class LayerRecord:
    """A population as the core computes it.

    Attributes:
        name, stem: the population, and how its files are called, in golden cases too.
        shape: ``(C, H, W)``.
        membranes: it sends membranes, being the readout, and not events.
        static: its columns are bit-planes of graded values: a max-pool over the input.
        columns, lead: of its events, as in ``SourceRecord``.
        sources: in the event memory.
        jobs: to be run one after the other.
    """

    name: str
    stem: str
    shape: tuple[int, ...]
    membranes: bool
    static: bool
    columns: int
    lead: int
    sources: tuple[SourceRecord, ...]
    jobs: tuple[JobRecord, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Sidecar:
    """The whole file.

    Attributes:
        schema, version, creator: ``refsnn-hdl-core``, 1, the program.
        network: of it.
        parameters: of the core.
        lanes: integrate lanes.
        ports: of the module ``core``.
        part_bits: data bits of a part.
        memories: by target.
        words: layouts: of ``load``, ``words``, ``trace``, and of each memory.
        layers: in the order in which they are run.
    """

    schema: str
    version: int
    creator: str
    network: NetworkRecord
    parameters: Parameters
    lanes: int
    ports: dict[str, PortRecord]
    part_bits: int
    memories: dict[str, MemoryRecord]
    words: dict[str, WordRecord]
    layers: tuple[LayerRecord, ...]


def read(path: Path) -> Sidecar:
    """Read a sidecar.

    Raises:
        InputError: missing, not JSON, another schema, a newer version, or a key that is missing, unknown or wrong.
    """
    try:
        content: Any = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror}); python -m hdl writes such a file") from error
    except ValueError as error:
        raise InputError(f"{path}: is not JSON ({error})") from error
    schema, version = (content.get(key) if isinstance(content, dict) else None for key in ("schema", "version"))
    if schema != SCHEMA:
        raise InputError(f"{path}: has the schema {json.dumps(schema)}; '{SCHEMA}' was expected")
    if version != VERSION:
        raise InputError(f"{path}: is version {json.dumps(version)} of '{SCHEMA}', this program reads {VERSION}")
    return decode(Sidecar, content, str(path))


def ports(parameters: Parameters) -> dict[str, PortRecord]:
    """The ports of the module ``core``."""

    def port(direction: str, bits: int = 1, word: str | None = None) -> PortRecord:
        return PortRecord(direction=direction, bits=bits, word=word)

    found = {
        "clk": port("input"),
        "rst": port("input"),
        "load__valid": port("input"),
        "load__ready": port("output"),
        "load__payload": port("input", part_layout(parameters).size, "load"),
        "words__valid": port("output"),
        "words__ready": port("input"),
        "words__payload": port("output", word_layout(parameters).size, "words"),
        "busy": port("output"),
        "active": port("output"),
        "dropped": port("output"),
    }
    if parameters.trace:
        found["trace"] = port("output", 1 + parameters.channels * trace_layout(parameters).size, "trace")
    return found


def memories(parameters: Parameters) -> dict[str, MemoryRecord]:
    """The memory map."""
    return {
        target.name: MemoryRecord(
            target=target.value, depth=depths(parameters)[target], bits=bits, parts=-(-bits // PART_BITS)
        )
        for target, bits in word_widths(parameters).items()
    }


def words(parameters: Parameters) -> dict[str, WordRecord]:
    """The layouts of all words."""
    layouts = {
        "load": part_layout,
        "words": word_layout,
        "CONSTANTS": constants_layout,
        "FETCHES": fetch_layout,
        "TAPS": tap_layout,
        "SEGMENTS": segment_layout,
        "JOB": job_layout,
    }
    found = {name: _word(layout(parameters), meanings(layout)) for name, layout in layouts.items()}
    found["EVENTS"] = _events(parameters)
    found["WEIGHTS"] = WordRecord(
        bits=8 * parameters.channels,
        fields=tuple(
            FieldRecord(name=f"channel_{c}", low=8 * c, width=8, signed=True, meaning="")
            for c in range(parameters.channels)
        ),
    )
    if parameters.trace:
        neurons = data.ArrayLayout(trace_layout(parameters), parameters.channels)
        found["trace"] = _word(data.StructLayout({"valid": 1, "neurons": neurons}), {})
    return found


def _word(layout: data.StructLayout, meant: dict[str, str]) -> WordRecord:
    inside = {f"{name}.{field}": text for name, inner in INSIDE.items() for field, text in meanings(inner).items()}
    return WordRecord(
        bits=layout.size,
        fields=tuple(
            FieldRecord(name=name, low=low, width=width, signed=signed, meaning=(meant | inside).get(name, ""))
            for name, low, width, signed in _fields(layout)
        ),
    )


def _fields(layout: data.StructLayout) -> Iterator[tuple[str, int, int, bool]]:
    for name, field in layout:
        if isinstance(field.shape, data.ArrayLayout):
            for index in range(field.shape.length):
                inner = field.shape.elem_shape
                at = field.offset + index * inner.size
                yield from flat(inner, at, f"{name}_{index}.")
        else:
            yield from flat(data.StructLayout({name: field.shape}), field.offset)


def _events(parameters: Parameters) -> WordRecord:
    meant = {"event": "1: an event", "negative": "1: a negative one"}
    return WordRecord(
        bits=parameters.word_bits,
        fields=tuple(
            FieldRecord(
                name=f"pixel_{pixel}.column_{column}.{name}",
                low=2 * (pixel * parameters.columns + column) + bit,
                width=1,
                signed=False,
                meaning=text,
            )
            for pixel in range(parameters.pixels)
            for column in range(parameters.columns)
            for bit, (name, text) in enumerate(meant.items())
        ),
    )
