"""What the command lines share: tables on stdout, everything else on stderr, and errors without tracebacks."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

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


def run_command(command: Callable[..., None], text: str, name: str) -> None:
    """Run a command that stands alone.

    Args:
        text: its help. name: how it is called.
    """
    application = typer.Typer(add_completion=False, rich_markup_mode="rich", pretty_exceptions_enable=False)
    application.command(help=text)(command)
    application(prog_name=name)


def commands(name: str, text: str, default: Callable[..., None], *others: Callable[..., None]) -> typer.Typer:
    """Commands as one application, each by its function's name; the default one goes without its name.

    Args:
        name: of the application. text: its help.
    """

    class WithDefault(TyperGroup):
        def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
            """Put the default command in front of arguments that name none."""
            if args and args[0] not in self.commands and args[0] not in ("--help", "--version"):
                args = [default.__name__, *args]
            return super().parse_args(ctx, args)

    app = typer.Typer(
        name=name,
        help=text,
        cls=WithDefault,
        add_completion=False,
        no_args_is_help=True,
        rich_markup_mode="rich",
        pretty_exceptions_enable=False,
    )

    @app.callback()
    def options(version: Version = False) -> None:
        pass

    for command in (default, *others):
        app.command()(command)
    return app


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
