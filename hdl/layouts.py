"""The core's memory map and the bits of its words, as Markdown: ``python -m hdl.layouts``."""

from __future__ import annotations

import inspect
import re
from collections.abc import Iterator
from dataclasses import fields
from pathlib import Path
from typing import Annotated, Any

import typer
from amaranth.hdl import Shape
from amaranth.lib import data

from hdl.collector import word_layout
from hdl.core import PART_BITS, Target, depths, part_layout, word_widths
from hdl.figures import insert
from hdl.neuron import constants_layout, settings_layout
from hdl.parameters import Parameters
from hdl.tables import fetch_layout, job_layout, segment_layout, tap_layout
from refsnn.errors import InputError
from refsnn.terminal import Version, run_command, user_errors

HELP = """
Show the memory map of a core and the bits of every word that goes in or out, as Markdown.

[bold]Examples[/bold]

    python -m hdl.layouts

    python -m hdl.layouts channels=32 rows=2 weight_words=8192
"""

CONTENTS = {
    Target.EVENTS: "P pixels of J ternary events",
    Target.WEIGHTS: "a signed byte for each of C channels",
    Target.CONSTANTS: "what is particular to a channel",
    Target.FETCHES: "one row of one input channel",
    Target.TAPS: "one micro-operation",
    Target.SEGMENTS: "a projection, for a block of channels",
    Target.JOB: "what starts the work",
}
WORDS = {
    "`load`, one part": part_layout,
    "`words`, one word": word_layout,
    "CONSTANTS": constants_layout,
    "FETCHES": fetch_layout,
    "TAPS": tap_layout,
    "SEGMENTS": segment_layout,
    "JOB": job_layout,
}
"""What has fields, by its heading."""
INSIDE = {"settings": settings_layout}
"""Structures inside them."""
NAMES = re.compile(r"(?:^|(?<=[.;] ))((?:[a-z_]+, )*[a-z_]+): ")
"""Where the description of a field, or of several, begins."""


def flat(layout: data.StructLayout, at: int = 0, prefix: str = "") -> Iterator[tuple[str, int, int, bool]]:
    """The fields of a layout, those of a structure inside one by one: name, lowest bit, width, signed."""
    for name, field in layout:
        if isinstance(field.shape, data.StructLayout):
            yield from flat(field.shape, at + field.offset, f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}", at + field.offset, field.width, Shape.cast(field.shape).signed


def meanings(layout: Any) -> dict[str, str]:
    """What the docstring of a function that makes a layout says of its fields."""
    _, _, text = (inspect.getdoc(layout) or "").partition("Fields")
    _, _, text = text.partition(":\n")
    _, *parts = NAMES.split(" ".join(text.split()).replace("``", "`"))
    found = zip(parts[::2], parts[1::2], strict=True)
    return {name: part.strip(" .;") for names, part in found for name in names.split(", ")}


def memory_map(parameters: Parameters) -> str:
    """The targets of ``load``, a row each."""
    rows = ["| target | | words | bits | parts | a word holds |", "|---:|---|---:|---:|---:|---|"]
    for target, width in word_widths(parameters).items():
        cells = (target.value, target.name, f"{depths(parameters)[target]:,}", width, -(-width // PART_BITS))
        rows.append(f"| {' | '.join(map(str, cells))} | {CONTENTS[target]} |")
    return "\n".join([*rows, ""])


def bits(layout: Any, parameters: Parameters) -> str:
    """The fields of a word, a row each."""
    meant = meanings(layout)
    for name, inner in INSIDE.items():
        meant |= {f"{name}.{field}": text for field, text in meanings(inner).items()}
    rows = ["| field | bits | width | |", "|---|---:|---:|---|"]
    for name, low, width, signed in flat(layout(parameters)):
        place = f"{low + width - 1}:{low}" if width > 1 else str(low)
        rows.append(f"| `{name}` | {place} | {width}{', signed' if signed else ''} | {meant.get(name, '')} |")
    return "\n".join([*rows, ""])


def markdown(parameters: Parameters) -> str:
    """Memory map and words of a core."""
    sizes = ", ".join(f"{name} {value}" for name, value in parameters.plain().items())
    sections = [f"A core of {parameters.lanes:,} lanes: {sizes}.\n", memory_map(parameters)]
    for heading, layout in WORDS.items():
        sections.append(f"#### {heading}: {layout(parameters).size} bits\n\n{bits(layout, parameters)}")
    return "\n".join(sections)


def sized(assignments: list[str]) -> Parameters:
    """Parameters from ``name=value``.

    Raises:
        InputError: there is no such parameter, or it cannot have that value.
    """
    defaults = Parameters().plain()
    chosen: dict[str, Any] = {}
    for assignment in assignments:
        name, _, value = assignment.partition("=")
        if name not in defaults:
            raise InputError(f"there is no parameter '{name}'; {', '.join(each.name for each in fields(Parameters))}")
        if isinstance(defaults[name], str):
            chosen[name] = value
            continue
        if not value.isdecimal():
            raise InputError(f"{name} is '{value}'; a whole number was expected")
        chosen[name] = type(defaults[name])(int(value))
    return Parameters(**chosen)


def layouts(
    sizes: Annotated[list[str] | None, typer.Argument(metavar="[NAME=VALUE]...", help="Sizes of the core.")] = None,
    page: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Also write it into this page, below a comment with the command."),
    ] = None,
    version: Version = False,
) -> None:
    with user_errors():
        text = markdown(sized(sizes or []))
        print(text, end="")
        if page is not None:
            insert(page, " ".join(["python -m hdl.layouts", *(sizes or [])]), text)


def main() -> None:
    """Run the command."""
    run_command(layouts, HELP, "python -m hdl.layouts")


if __name__ == "__main__":
    main()
