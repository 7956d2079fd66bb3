"""``refsnn``, also ``python -m refsnn``: every command under one name.

The one place in ``refsnn`` that knows of ``golden`` and ``hdl``; nothing imports this module but the command itself.
"""

from __future__ import annotations

import typer

from golden.command import application as golden
from hdl.command import application as hdl
from refsnn import early_exit, inspect, run
from refsnn.sweep import command as sweep
from refsnn.terminal import Version


def application() -> typer.Typer:
    """The commands as one application."""
    app = typer.Typer(
        name="refsnn",
        help="Exact integer spiking networks, converted from ordinary trained ones.",
        add_completion=False,
        no_args_is_help=True,
        rich_markup_mode="rich",
        pretty_exceptions_enable=False,
    )

    @app.callback()
    def options(
        version: Version = False,
    ) -> None:
        pass

    app.command(name="run", help=run.HELP)(run.run)
    app.command(name="inspect", help=inspect.HELP)(inspect.inspect)
    app.command(name="early-exit", help=early_exit.HELP)(early_exit.early_exit)
    app.command(name="sweep", help=sweep.HELP)(sweep.sweep)
    app.add_typer(golden(), name="golden")
    app.add_typer(hdl(), name="hdl")
    return app


def main() -> None:
    """Run the command line."""
    application()(prog_name="refsnn")


if __name__ == "__main__":
    main()
