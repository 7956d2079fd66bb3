"""Events, pixels and tables as words of the core's memories, and the core's output words as maps again."""

from __future__ import annotations

from typing import Any

import numpy as np
from amaranth.hdl import Shape
from amaranth.lib import data
from numpy.typing import NDArray

from hdl.core import PART_BITS, Target, part_layout, word_widths
from hdl.parameters import Parameters
from refsnn.errors import WidthError

OFFSETS = frozenset({"offset", "plane", "tile_offset", "row_offset", "chunk_offset", "advance"})
"""Fields that are added to addresses, which wrap."""
Parts = NDArray[np.uint64]
"""``(N, 4)``: target, last, address and data of what goes into ``Core.load``, part after part."""


def chunks(columns: int, parameters: Parameters) -> int:
    """Chunks of J that hold so many columns."""
    return -(-columns // parameters.columns)


def row_words(width: int, parameters: Parameters) -> int:
    """Words in a bank that hold one chunk of a row of ``width`` pixels."""
    return -(-width // parameters.visible)


def plane_words(height: int, width: int, columns: int, parameters: Parameters) -> int:
    """Words in a bank that hold one channel."""
    return height * chunks(columns, parameters) * row_words(width, parameters)


def pack_events(events: NDArray[Any], lead: int, parameters: Parameters) -> NDArray[np.uint8]:
    """Ternary events as stored groups.

    Args:
        events: ``(L, C, H, W)``: -1, 0, 1 in each of L columns.
        lead: silent columns in front of the first one.

    Returns:
        ``(C * H * chunks * row words, banks, word bits) uint8``: the bits of every bank's words, from the address of
        the first channel on; the least significant bit first.
    """
    length, channels, height, width = events.shape
    pixels, columns = parameters.pixels, parameters.columns
    whole, wide = chunks(lead + length, parameters), row_words(width, parameters)
    padded = np.zeros((whole * columns, channels, height, wide * parameters.visible), np.int8)
    padded[lead : lead + length, :, :, :width] = events
    grouped = padded.reshape(whole, columns, channels, height, wide, parameters.banks, pixels)
    ordered = grouped.transpose(2, 3, 0, 4, 5, 6, 1)  # channel, row, chunk, word, bank, pixel, column
    bits = np.stack([ordered != 0, ordered < 0], axis=-1).astype(np.uint8)
    return bits.reshape(channels * height * whole * wide, parameters.banks, parameters.word_bits)


def planes(low: int, high: int) -> int:
    """Bit-planes that hold ``low`` .. ``high``: at least 8, the first one a sign plane where ``low`` is negative."""
    if low >= 0:
        return max(8, high.bit_length())
    return max(8, 1 + max(high.bit_length(), (-low - 1).bit_length()))


def bit_planes(values: NDArray[Any], number: int) -> NDArray[np.int8]:
    """Static input as ternary columns, the most significant plane first; the sign plane is negative.

    Args:
        values: ``(C, H, W)`` integers.
        number: of planes: what ``planes`` says for the source.

    Returns:
        ``(number, C, H, W)``.
    """
    wide = values.astype(np.int64)
    columns = np.stack([(wide >> (number - 1 - plane)) & 1 for plane in range(number)]).astype(np.int8)
    if wide.min(initial=0) < 0:
        columns[0] = -columns[0]
    return columns


def event_parts(words: NDArray[np.uint8], address: int, parameters: Parameters) -> Parts:
    """The parts that store groups from a bank's ``address`` on."""
    count = words.shape[0] * parameters.banks
    addresses = np.arange(count, dtype=np.uint64) + np.uint64(address * parameters.banks)
    return _parts(Target.EVENTS, addresses, words.reshape(count, -1), parameters)


def weight_parts(words: NDArray[np.int8], parameters: Parameters) -> Parts:
    """The parts that store weight words ``(N, C)``."""
    bits = np.unpackbits(np.ascontiguousarray(words).view(np.uint8), axis=1, bitorder="little")
    return _parts(Target.WEIGHTS, np.arange(len(words), dtype=np.uint64), bits, parameters)


def table_parts(
    target: Any, layout: data.StructLayout, entries: list[dict[str, Any]], parameters: Parameters, first: int = 0
) -> Parts:
    """The parts that fill a table.

    Raises:
        WidthError: a number is too large for its field.
    """
    for entry in entries:
        _check_fields(target, layout, entry)
    width = word_widths(parameters)[target]
    bits = np.zeros((len(entries), width), np.uint8)
    for row, entry in enumerate(entries):
        value = layout.const(entry).as_value().value & ((1 << width) - 1)
        bits[row] = [value >> bit & 1 for bit in range(width)]
    return _parts(target, np.arange(first, first + len(entries), dtype=np.uint64), bits, parameters)


def _check_fields(target: Target, layout: data.StructLayout, entry: dict[str, Any]) -> None:
    for name, value in entry.items():
        if isinstance(value, dict):
            _check_fields(target, layout[name].shape, value)
            continue
        shape = Shape.cast(layout[name].shape)
        low, high = (-1 << shape.width - 1, (1 << shape.width - 1) - 1) if shape.signed else (0, (1 << shape.width) - 1)
        if name not in OFFSETS and not low <= value <= high:
            raise WidthError(
                f"the core's {target.name.lower()}: '{name}' would be {value:,}; {low:,} to {high:,} are possible",
                int(value).bit_length() + shape.signed,
            )


def _parts(target: Any, addresses: NDArray[np.uint64], bits: NDArray[np.uint8], parameters: Parameters) -> Parts:
    count, width = bits.shape
    number = -(-width // PART_BITS)
    padded = np.zeros((count, number * PART_BITS), np.uint8)
    padded[:, :width] = bits
    values = np.packbits(padded.reshape(count, number, PART_BITS), axis=2, bitorder="little").view("<u4")
    parts = np.zeros((count, number, 4), np.uint64)
    parts[:, :, 0] = target.value
    parts[:, -1, 1] = 1
    parts[:, :, 2] = addresses[:, None]
    parts[:, :, 3] = values[:, :, 0]
    return parts.reshape(-1, 4)


def part_values(parts: Parts, parameters: Parameters) -> NDArray[np.uint64]:
    """Parts as the integers on the wires of ``Core.load``."""
    layout = part_layout(parameters)
    values = np.zeros(len(parts), np.uint64)
    for column, name in enumerate(("target", "last", "address", "data")):
        values |= parts[:, column] << np.uint64(layout[name].offset)
    return values


def unpack_events(words: NDArray[Any], parameters: Parameters) -> NDArray[np.int8]:
    """Stored groups as ternary events: word bits ``(..., word bits)`` to ``(..., P, J)``."""
    bits = words.reshape(*words.shape[:-1], parameters.pixels, parameters.columns, 2).astype(np.int8)
    events: NDArray[np.int8] = bits[..., 0] * (1 - 2 * bits[..., 1])
    return events
