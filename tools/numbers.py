"""Numbers separated by commas, as options give them."""

from __future__ import annotations

from typing import Any

from refsnn.errors import InputError


def read(option: str, value: str, kind: type[Any] = float, count: int | None = None) -> tuple[Any, ...]:
    """The numbers of an option.

    Raises:
        InputError: something else, or another ``count`` of them.
    """
    try:
        result = tuple(kind(part) for part in value.split(","))
    except ValueError as error:
        raise InputError(f"--{option} {value}: numbers separated by commas were expected") from error
    if count is not None and len(result) != count:
        raise InputError(f"--{option} {value}: {count} numbers separated by commas were expected")
    return result
