"""``python -m hdl.mutation``: mutants of the core's parts, made by yosys; which of them the vectors kill."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

from hdl.figures import insert
from hdl.mutation.netlist import Mutant
from hdl.mutation.parts import PARTS
from hdl.mutation.score import Score, measure
from hdl.toolchain import versions
from refsnn import files
from refsnn.errors import InputError
from refsnn.terminal import Version, notice, run_command, user_errors

HELP = """
Have yosys make mutants of the neuron and of the integrate array, and run them against the vectors of the tests.

Survivors are compared with the original by a solver, for all legal inputs. Exit status 1 if one differs: then the
vectors have a hole.
"""
COLUMNS = ("part", "mutants", "killed", "proved equivalent", "equal within the horizon", "differ", "score")
SURVIVORS = ("part", "survivor", "mutation", "cell", "bit", "lines", "it is")


def row(name: str, found: Score) -> tuple[str, ...]:
    """Cells of the table."""
    answers = (
        found.count("equivalent"),
        found.count("equivalent within the horizon"),
        found.count("differs"),
    )
    counts = (len(found.mutants), len(found.killed), *answers)
    return (name, *(str(count) for count in counts), f"{100 * found.score:.1f} %")


def survivor(name: str, mutant: Mutant, answer: str) -> tuple[str, ...]:
    """Cells of the list of survivors."""
    place = f"`{mutant.cell}` {mutant.port}", str(mutant.bit), ", ".join(mutant.source)
    return (name, str(mutant.number), mutant.mode, *place, answer)


def table(columns: tuple[str, ...], rows: list[tuple[str, ...]]) -> str:
    """A table in Markdown."""
    lines = [columns, ("---",) * len(columns), *rows]
    return "".join(f"| {' | '.join(cells)} |\n" for cells in lines)


def mutation(
    mutants: Annotated[int, typer.Option(metavar="N", help="Of each part.")] = 60,
    seed: Annotated[int, typer.Option(metavar="N", help="Of the mutants and of the vectors.")] = 1,
    parts: Annotated[str, typer.Option(metavar="NAME[,NAME]")] = ",".join(PARTS),
    folder: Annotated[Path, typer.Option(metavar="DIR", help="Netlists, logs, and score.json.")] = Path(
        "runs/mutation"
    ),
    page: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Also write the tables into this page, below a comment with the command."),
    ] = None,
    version: Version = False,
) -> None:
    with user_errors():
        chosen = parts.split(",")
        for name in chosen:
            if name not in PARTS:
                raise InputError(f"the part is '{name}'; one of {', '.join(PARTS)} was expected")
        if mutants < 1:
            raise InputError(f"--mutants is {mutants}; at least 1 was expected")
        scores = {}
        for name in chosen:
            notice(f"{name}: {mutants} mutants")
            scores[name] = measure(PARTS[name], mutants, seed, folder / name)
        tools = versions(("yosys", "yices", "g++"), folder)
        left = [
            survivor(name, mutant, found.survivors[mutant.number])
            for name, found in scores.items()
            for mutant in found.mutants
            if mutant.number in found.survivors
        ]
        text = table(COLUMNS, [row(name, found) for name, found in scores.items()])
        text += "\n" + (table(SURVIVORS, left) if left else "No mutant survives.\n")
        text += "".join(
            f"\n{name}: {found.cycles:,} cycles of vectors; k = {found.depth}, horizon {found.horizon} cycles; "
            f"{found.seconds:.0f} s.\n"
            for name, found in scores.items()
        )
        print(text, end="")
        content = {"seed": seed, "tools": tools, "parts": {name: found.plain() for name, found in scores.items()}}
        files.write_text(folder / "score.json", json.dumps(content, indent=2) + "\n")
        if page is not None:
            insert(page, f"python -m hdl.mutation --mutants {mutants} --seed {seed}", text)
        if any(found.count("differs") for found in scores.values()):
            raise typer.Exit(1)


def main() -> None:
    """Run the command."""
    run_command(mutation, HELP, "python -m hdl.mutation")


if __name__ == "__main__":
    main()
