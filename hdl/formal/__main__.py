"""``python -m hdl.formal``: prove the neuron, and show what was proved, how, and how long it took."""

from __future__ import annotations

from dataclasses import asdict, replace
from pathlib import Path
from typing import Annotated

import typer

from hdl.figures import insert
from hdl.formal.proof import FULL, PROPERTIES, SMALL, SOLVER, Proof, check
from hdl.parameters import Parameters
from hdl.toolchain import versions
from refsnn.errors import InputError
from refsnn.terminal import Version, notice, run_command, user_errors

HELP = """
Prove the neuron, without bound, by k-induction.

Exit status 1 if a property is refuted or stays open; counterexamples are in --folder.
"""
COLUMNS = ("property", "name", "method", "k", "J, A, X, B, count bits", "result", "seconds")
RESULTS = {"PASS": "proved, unbounded", "FAIL": "refuted", "UNKNOWN": "open: holds for k cycles from reset"}


def row(name: str, parameters: Parameters, proof: Proof) -> tuple[str, ...]:
    """Cells of the table."""
    widths = asdict(parameters)
    named = ("columns", "accumulator_bits", "state_bits", "membrane_bits", "count_bits")
    return (
        PROPERTIES[name].statement,
        name,
        f"k-induction, {SOLVER}",
        str(proof.depth),
        ", ".join(str(widths[width]) for width in named),
        RESULTS[proof.verdict],
        f"{proof.seconds:.0f}",
    )


def formal(
    names: Annotated[list[str] | None, typer.Argument(metavar="[NAME]...", help=f"{', '.join(PROPERTIES)}.")] = None,
    full: Annotated[bool, typer.Option("--full", help="At the widths of a core as it is built: minutes.")] = False,
    columns: Annotated[int | None, typer.Option(metavar="J", help="Columns; 2, or with --full 4.")] = None,
    folder: Annotated[Path, typer.Option(metavar="DIR", help="Scripts, logs, counterexamples.")] = Path("runs/formal"),
    page: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Also write the table into this page, below a comment with the command."),
    ] = None,
    version: Version = False,
) -> None:
    with user_errors():
        chosen = names or list(PROPERTIES)
        for name in chosen:
            if name not in PROPERTIES:
                raise InputError(f"the property is '{name}'; one of {', '.join(PROPERTIES)} was expected")
        parameters = FULL if full else SMALL
        if columns is not None:
            parameters = replace(parameters, columns=columns)
        proofs = {}
        for name in chosen:
            notice(f"{name}: {PROPERTIES[name].statement}")
            proofs[name] = check(name, parameters, folder)
        lines = [COLUMNS, ["---"] * len(COLUMNS), *(row(name, parameters, proof) for name, proof in proofs.items())]
        text = "".join(f"| {' | '.join(cells)} |\n" for cells in lines)
        tools = versions(("yosys", "yices"), folder)
        text += f"\n{'; '.join(f'{name}: {version}' for name, version in tools.items())}\n"
        print(text, end="")
        if page is not None:
            insert(page, " ".join(["python -m hdl.formal", *(names or []), *(["--full"] if full else [])]), text)
        if any(proof.verdict != "PASS" for proof in proofs.values()):
            raise typer.Exit(1)


def main() -> None:
    """Run the command."""
    run_command(formal, HELP, "python -m hdl.formal")


if __name__ == "__main__":
    main()
