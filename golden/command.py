"""The command line: ``python -m golden``, also ``refsnn golden``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from refsnn.errors import InputError
from refsnn.terminal import Bars, commands, show_table, user_errors

if TYPE_CHECKING:
    from golden.case import Case
    from golden.diff import Comparison, Divergence

HELP = """
Golden vectors: everything that an integer network does, population by population, step by step and neuron by neuron,
for simulations and boards to compare with.

[bold]Examples[/bold]

    python -m golden out/network-ecl.h5 --steps 4 --images 3 --data test.npz --out case

    python -m golden check case

    python -m golden diff case dump

A first argument that is no command is the network of [bold]write[/bold].

Exit status: 0 done, right, equal; 1 wrong (check) or different (diff); 2 wrong use or input.
"""


def application() -> typer.Typer:
    """The commands as one application."""
    return commands("golden", HELP, write, check, diff, directed)


def write(
    network: Annotated[
        Path,
        typer.Argument(
            metavar="NETWORK.h5", help="An integer network (refsnn run ... --out writes some).", show_default=False
        ),
    ],
    out: Annotated[
        Path,
        typer.Option(metavar="DIR", help="The case's folder; a case that is there is replaced.", show_default=False),
    ],
    images: Annotated[int, typer.Option(metavar="N", help="How many images.")] = 1,
    data: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE-OR-FOLDER",
            help="Whatever images refsnn run reads. Default: random pixels.",
            show_default=False,
        ),
    ] = None,
    first: Annotated[int, typer.Option(metavar="K", help="With --data: the first image to take, counted from 0.")] = 0,
    seed: Annotated[int, typer.Option(metavar="S", help="Without --data: of the random pixels.")] = 0,
    steps: Annotated[
        int | None,
        typer.Option(metavar="T", help="Time-steps. Default: those that the network was made for.", show_default=False),
    ] = None,
    drain: Annotated[
        str | None,
        typer.Option(
            metavar="N|quiet",
            help="Steps after the T, in rate schedules; quiet: until no neuron fires. Default: the network's.",
            show_default=False,
        ),
    ] = None,
    reason: Annotated[
        str | None,
        typer.Option(metavar="TEXT", help="Why the case exists, a sentence for the manifest.", show_default=False),
    ] = None,
) -> None:
    """Write a case: run NETWORK.h5 on images and keep everything that happens."""
    with user_errors():
        from golden import images as sources
        from golden.writer import write as write_case

        loaded = sources.network(network)
        chosen = loaded.steps if steps is None else steps
        if chosen is None:
            raise InputError(f"{network}: runs for any number of steps; say which with --steps T")
        pixels, source = (
            sources.random(loaded, images, seed) if data is None else sources.read(loaded, data, images, first)
        )
        with Bars() as bars:
            bars.stage(f"{network.name} at T = {chosen}", images)
            case = write_case(
                loaded,
                pixels,
                chosen,
                out,
                reason=reason or f"Everything that {network.name} does for {source}.",
                source=source,
                drain=None if drain is None else _drain(drain),
                progress=bars.advance,
            )
        _show_case(case)


def check(
    case: Annotated[Path, typer.Argument(metavar="DIR", help="The case's folder.", show_default=False)],
) -> None:
    """Check a case: every file against the manifest, and every integer derived again."""
    with user_errors():
        from golden.check import WrongError
        from golden.check import check as check_case

        try:
            checked = check_case(case)
        except WrongError as error:
            print(f"wrong: {error}")
            raise typer.Exit(1) from error
        print(
            f"right: {case}: {checked.arrays:,} arrays in vectors.h5 and in mem/, {checked.numbers:,} integers derived "
            f"again; {_images(len(checked.case))}, T = {checked.case.steps}, {len(checked.case.manifest.flags)} flags"
        )


def diff(
    case: Annotated[Path, typer.Argument(metavar="DIR", help="The case's folder.", show_default=False)],
    dump: Annotated[
        Path,
        typer.Argument(
            metavar="DUMP",
            help="What an implementation dumped: a case, an HDF5 file like vectors.h5, or a folder of text like mem/; "
            "any subset of images, populations and quantities.",
            show_default=False,
        ),
    ],
    membrane_scale: Annotated[
        str | None,
        typer.Option(
            metavar="plain|doubled",
            help="doubled: membranes of base 2 are 2^t times the case's. Default: what the dump declares, else plain.",
            show_default=False,
        ),
    ] = None,
) -> None:
    """Compare a dump with a case: the first layer, step and neuron that differ, with both histories of that neuron."""
    with user_errors():
        from golden.diff import diff as compare

        comparison = compare(case, dump, membrane_scale=membrane_scale)
        if comparison.first is None:
            compared = sum(tally.compared for tally in comparison.tallies)
            number = f"{compared:,} entries of {len(comparison.tallies)} arrays, {_images(comparison.images)}"
            print(f"equal: {dump}: {number}")
            return
        _show_divergence(comparison, comparison.first)
        raise typer.Exit(1)


def directed(
    out: Annotated[
        Path, typer.Option(metavar="DIR", help="A folder; each case is a folder in it.", show_default=False)
    ],
) -> None:
    """Make the directed cases: tiny networks built in code, each for flags that it names."""
    with user_errors():
        from golden.directed import write_suite

        cases = write_suite(out)
        rows = [(case.path.name, ", ".join(case.manifest.expects)) for case in cases]
        show_table(f"{len(cases)} cases in {out}", ("case", "flags"), rows, left=("case", "flags"))


def _show_case(case: Case) -> None:
    size = sum(file.stat().st_size for file in case.path.rglob("*") if file.is_file())
    rows = [(flag.name, f"{flag.count:,}", str(flag.first)) for flag in case.manifest.flags]
    title = (
        f"{case.path}: {_images(len(case))}, T = {case.steps}, {len(case.populations)} populations, "
        f"{len(case.manifest.files) + 1} files, {size / 1e6:.1f} MB"
    )
    show_table(title, ("what occurs", "times", "first"), rows, left=("what occurs", "first"))


def _show_divergence(comparison: Comparison, first: Divergence) -> None:
    from golden.history import histories, settings
    from golden.layout import LETTERS

    populations = comparison.case.populations
    print(f"different: {comparison.dump.path}")
    print(f"first at {first.place} (population {populations.index(first.population) + 1} of {len(populations)})")
    expected, found = ("nothing" if value is None else value for value in (first.expected, first.found))
    print(f"  {first.quantity} ({LETTERS[first.quantity]}): expected {expected}, found {found}")
    print(f"  {first.file}: address {first.line} (line {first.line + 1}), bits {first.high}:{first.low}")
    print(f"  {settings(comparison, first)}")
    if comparison.dump.declaration.membrane_scale == "doubled":
        print("  u and v of base 2 are shown doubled, 2^t times the case's")
    for history in histories(comparison, first):
        print()
        show_table(history.title, history.columns, history.rows, left=())
    print()
    rows = [
        (tally.population, tally.quantity, f"{tally.compared:,}", f"{tally.differing:,}")
        for tally in comparison.tallies
    ]
    show_table("entries", ("population", "quantity", "compared", "different"), rows, left=("population", "quantity"))


def _images(count: int) -> str:
    return f"{count} image{'s' if count != 1 else ''}"


def _drain(text: str) -> int:
    """A number of steps, or until quiet."""
    if text == "quiet":
        from refsnn.network import UNTIL_QUIET

        return UNTIL_QUIET
    try:
        number = int(text)
    except ValueError as error:
        raise InputError(f"--drain is '{text}'; a number of steps, or quiet, was expected") from error
    if number < 0:
        raise InputError(f"--drain is {number}; a number of steps, or quiet, was expected")
    return number
