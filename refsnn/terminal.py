"""What the command lines share: tables on stdout, everything else on stderr, and errors without tracebacks."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Annotated, Any

import typer

from refsnn import __version__
from refsnn.errors import InputError

WIDE = 400
"""Columns of output that is not a terminal: no table is folded."""


@contextmanager
def user_errors() -> Iterator[None]:
    """Errors that the user can mend: a message without a traceback, exit status 2."""
    try:
        yield
    except InputError as error:
        print(f"error: {error}", file=sys.stderr)
        raise typer.Exit(2) from error


def show_version(wanted: bool) -> None:
    """The action of ``--version``."""
    if wanted:
        print(f"refsnn {__version__}")
        raise typer.Exit


Version = Annotated[
    bool, typer.Option("--version", help="Show the version and exit.", callback=show_version, is_eager=True)
]
"""The option ``--version`` of every command."""


def notice(text: str) -> None:
    """Something the user should know, on stderr."""
    print(f"note: {text}", file=sys.stderr)


def show_table(
    title: str,
    columns: Sequence[str],
    rows: Sequence[Sequence[str]],
    *,
    left: Sequence[str] = ("method",),
    breaks: Sequence[bool] = (),
) -> None:
    """Print a table on stdout, as wide as it is.

    Args:
        title: printed above.
        columns: headings.
        rows: cells.
        left: columns whose cells start at the left; numbers end at the right.
        breaks: where there is a line in front of a row.
    """
    from rich import box
    from rich.console import Console
    from rich.markup import escape
    from rich.table import Table

    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    for column in columns:
        table.add_column(column, justify="left" if column in left else "right", no_wrap=True)
    for index, row in enumerate(rows):
        table.add_row(*map(escape, row), end_section=any(breaks[index + 1 : index + 2]))
    terminal = Console()
    console = terminal if terminal.is_terminal else Console(width=WIDE)
    with console.capture() as capture:
        console.print(table)
    print(title)
    print("\n".join(line.rstrip() for line in capture.get().splitlines()).rstrip(), flush=True)


class Bars:
    """Progress bars on stderr, where that is a terminal (a ``refsnn.experiment.Progress``)."""

    def __enter__(self) -> Bars:
        from rich.console import Console
        from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

        console = Console(stderr=True)
        self.progress = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TimeRemainingColumn(),
            console=console,
            transient=True,
            disable=not console.is_terminal,
        )
        self.task: Any = None
        self.progress.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.progress.stop()

    def stage(self, text: str, images: int) -> None:
        """A new bar in place of the one before."""
        if self.task is not None:
            self.progress.remove_task(self.task)
        self.task = self.progress.add_task(text, total=images or None)

    def advance(self, images: int) -> None:
        """Move the bar."""
        self.progress.advance(self.task, images)
