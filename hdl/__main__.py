"""``python -m hdl``."""

from __future__ import annotations

from hdl.command import application


def main() -> None:
    """Run the command line."""
    application()(prog_name="python -m hdl")


if __name__ == "__main__":
    main()
