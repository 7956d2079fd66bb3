"""Dataclasses as JSON and back, every key checked: what is missing, surplus or of another type is named."""

from __future__ import annotations

import dataclasses
import json
import re
import types
import typing
from typing import Any, TypeVar

from refsnn.errors import InputError

Record = TypeVar("Record")

_WORDS = {int: "a whole number", str: "a text", bool: "true or false"}
_NUMBERS = re.compile(r"\[\s+((?:-?\d+,?\s+)+)\]")


def encode(record: Any) -> str:
    """A dataclass instance as JSON text: keys in the order of the fields, a list of numbers on one line."""
    text = json.dumps(dataclasses.asdict(record), indent=1, ensure_ascii=False)
    return _NUMBERS.sub(lambda match: f"[{' '.join(match[1].split())}]", text) + "\n"


def decode(kind: type[Record], value: Any, where: str) -> Record:
    """A dataclass instance from parsed JSON.

    Args:
        kind: the dataclass. Fields may be ``int``, ``str``, ``bool``, texts as ``Literal``, dataclasses,
            ``tuple[X, ...]``, ``dict[str, X]`` and ``X | None``.
        value: what ``json.loads`` gave.
        where: file and key, for the error.

    Raises:
        InputError: a key is missing, unknown or of another type; the message names it.
    """
    result: Record = _decode(kind, value, where)
    return result


def _decode(kind: Any, value: Any, where: str) -> Any:
    if dataclasses.is_dataclass(kind):
        hints = typing.get_type_hints(kind)
        found = _expect(dict, value, where, "an object")
        for problem, keys in (("missing", hints.keys() - found.keys()), ("unknown", found.keys() - hints.keys())):
            if keys:
                raise InputError(f"{where}: the key '{min(keys)}' is {problem}")
        return kind(**{key: _decode(hints[key], found[key], f"{where}: {key}") for key in hints})  # type: ignore[operator]
    origin, arguments = typing.get_origin(kind), typing.get_args(kind)
    if origin is types.UnionType:
        return None if value is None else _decode(arguments[0], value, where)
    if origin is typing.Literal:
        return _expect_one(arguments, value, where)
    if origin is tuple:
        items = _expect(list, value, where, "a list")
        return tuple(_decode(arguments[0], item, f"{where}[{index}]") for index, item in enumerate(items))
    if origin is dict:
        found = _expect(dict, value, where, "an object")
        return {key: _decode(arguments[1], item, f"{where}: {key}") for key, item in found.items()}
    return _expect(kind, value, where, _WORDS[kind])


def _expect(kind: type, value: Any, where: str, words: str) -> Any:
    if not isinstance(value, kind) or (kind is int and isinstance(value, bool)):
        raise InputError(f"{where}: is {json.dumps(value)[:60]}; {words} was expected")
    return value


def _expect_one(choices: tuple[str, ...], value: Any, where: str) -> Any:
    if value not in choices:
        raise InputError(f"{where}: is {json.dumps(value)[:60]}; one of {', '.join(choices)} was expected")
    return value
