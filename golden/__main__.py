"""``python -m golden``."""

from __future__ import annotations

from golden.command import application


def main() -> None:
    """Run the command line."""
    application()(prog_name="python -m golden")


if __name__ == "__main__":
    main()
