"""Directed cases: tiny networks built in code, each there for flags that it names and that must occur."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from golden.case import Case
from golden.directed import pictures, rate, separated, shapes
from golden.directed.build import Directed
from golden.writer import write

__all__ = ["Directed", "suite", "write_suite"]


def suite() -> Iterator[Directed]:
    """All directed cases."""
    for family in (rate, separated, pictures, shapes):
        yield from family.cases()


def write_suite(path: Path) -> list[Case]:
    """Write every directed case into a folder of its name in ``path``; the same bytes every time.

    Raises:
        InputError: a folder that is no golden case is in the way, or cannot be written.
    """
    return [
        write(
            case.network,
            case.images,
            case.steps,
            path / case.name,
            reason=case.reason,
            source="made in code (golden.directed)",
            expects=case.expects,
        )
        for case in suite()
    ]
