"""``$readmemh`` text: arrays as lines of packed two's-complement fields, and back."""

from __future__ import annotations

import re
from typing import Any

import numpy as np
from numpy.typing import NDArray

from refsnn.errors import InputError

UNKNOWN = 255
LONGEST = 1 << 24
"""No file has so many lines; an address beyond is a mistake."""
_DIGITS = np.frombuffer(b"0123456789abcdef", np.uint8)
_VALUES = np.full(256, 254, np.uint8)
_VALUES[np.frombuffer(b"0123456789abcdef", np.uint8)] = np.arange(16)
_VALUES[np.frombuffer(b"ABCDEF", np.uint8)] = np.arange(10, 16)
_VALUES[np.frombuffer(b"xXzZ", np.uint8)] = UNKNOWN
_COMMENTS = re.compile(r"/\*.*?\*/", re.DOTALL)


def pack(array: NDArray[Any], bits: int) -> bytes:
    """An array ``(..., W)`` as text, a line for each row, x = 0 in the least significant bits.

    Raises:
        InputError: a number does not fit ``bits`` bits.
    """
    rows = array.reshape(-1, array.shape[-1]).astype(np.int64)
    half = 1 << (bits - 1)
    if rows.size and not (-half <= rows.min() and rows.max() <= half - 1):
        raise InputError(f"numbers from {rows.min()} to {rows.max()} do not fit fields of {bits} bits")
    digits = digits_of(rows.shape[1], bits)
    ones = np.zeros((len(rows), digits * 4), np.uint8)
    ones[:, : rows.shape[1] * bits] = ((rows[..., None] >> np.arange(bits)) & 1).reshape(
        len(rows), rows.shape[1] * bits
    )
    values = ones.reshape(len(rows), digits, 4) @ np.array([1, 2, 4, 8], np.uint8)
    text = np.full((len(rows), digits + 1), ord("\n"), np.uint8)
    text[:, :digits] = _DIGITS[values[:, ::-1]]
    return text.tobytes()


def digits_of(width: int, bits: int) -> int:
    """The hexadecimal digits of a line."""
    return -(-width * bits // 4)


def unpack(text: str, width: int, bits: int, where: str) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
    """Read text as ``$readmemh`` does: comments, ``_``, ``@address`` and short lines included.

    Args:
        text: the file's content.
        width: fields of a line (W).
        bits: of a field.
        where: the file, for errors.

    Returns:
        The fields ``(lines, W)``, and which of them are known: not so are those with an ``x`` or ``z``, and the lines
        that an ``@address`` skips.

    Raises:
        InputError: something that is not hexadecimal, or a line with more digits than its fields have.
    """
    digits = digits_of(width, bits)
    lines: dict[int, tuple[str, int]] = {}
    address = 0
    plain = _COMMENTS.sub(lambda match: "\n" * match[0].count("\n"), text)
    for number, line in enumerate(plain.splitlines(), 1):
        for word in line.partition("//")[0].split():
            if word.startswith("@"):
                address = _address(word, where, number)
                continue
            lines[address] = word.replace("_", ""), number
            address += 1
    values = np.zeros((max(lines, default=-1) + 1, digits), np.uint8)
    values[:] = UNKNOWN
    for address, (word, number) in lines.items():
        if len(word) > digits:
            raise InputError(
                f"{where}, line {number}: has {len(word)} digits; {digits} were expected "
                f"({width} fields of {bits} bits)"
            )
        values[address] = _VALUES[np.frombuffer(word.rjust(digits, "0").encode("latin-1", "replace"), np.uint8)]
        if (values[address] == 254).any():
            raise InputError(f"{where}, line {number}: '{word[:40]}' is not hexadecimal")
    values = values[:, ::-1]
    shifts = np.arange(4, dtype=np.uint8)
    ones = (
        (values[..., None] >> shifts & 1).reshape(len(values), digits * 4)[:, : width * bits].reshape(-1, width, bits)
    )
    present = np.repeat(values != UNKNOWN, 4, axis=1)[:, : width * bits]
    known = np.asarray(present.reshape(-1, width, bits).all(axis=2))
    weights = np.int64(1) << np.arange(bits, dtype=np.int64)
    weights[-1:] *= -1
    fields: NDArray[np.int64] = ones.astype(np.int64) @ weights
    fields[~known] = 0
    return fields, known


def _address(word: str, where: str, number: int) -> int:
    try:
        address = int(word[1:].replace("_", ""), 16)
    except ValueError as error:
        raise InputError(f"{where}, line {number}: '{word}' is not an address") from error
    if not 0 <= address < LONGEST:
        raise InputError(f"{where}, line {number}: the address '{word}' is beyond any array")
    return address
