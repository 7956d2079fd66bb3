"""Packing into the core's memories and back; numbers that no field holds."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from amaranth.hdl import signed, unsigned
from amaranth.lib import data
from hypothesis import given
from hypothesis import strategies as st

from hdl.core import Target, part_layout, word_widths
from hdl.parameters import Parameters
from hdl.tables import tap_layout
from hdl.words import (
    bit_planes,
    chunks,
    event_parts,
    pack_events,
    part_values,
    plane_words,
    planes,
    row_words,
    table_parts,
    unpack_events,
    weight_parts,
)
from refsnn.errors import WidthError

SIZES = [
    Parameters(pixels=1, columns=1, banks=2),
    Parameters(pixels=4, columns=2, banks=2),
    Parameters(pixels=2, columns=4, banks=4),
]
SMALL = Parameters(channels=5, pixels=2, columns=2, banks=2)


@given(st.sampled_from(SIZES), st.integers(0, 3), st.randoms(use_true_random=False), st.data())
def test_events_are_found_where_the_gather_looks(parameters: Parameters, lead: int, random: Any, given: Any) -> None:
    """Group g of a row lies in bank g mod B; channels, rows, chunks and groups follow each other in this order."""
    shape = tuple(given.draw(st.integers(1, most)) for most in (9, 3, 4, 11))
    length, channels, height, width = shape
    events = np.random.default_rng(random.randrange(1 << 30)).integers(-1, 2, shape).astype(np.int8)
    words = pack_events(events, lead, parameters)
    assert len(words) == channels * plane_words(height, width, lead + length, parameters)
    found = unpack_events(words, parameters)
    pitch = chunks(lead + length, parameters) * row_words(width, parameters)
    seen = 0
    for (t, c, y, x), event in np.ndenumerate(events):
        chunk, column = divmod(lead + t, parameters.columns)
        group, pixel = divmod(x, parameters.pixels)
        address = (c * height + y) * pitch + chunk * row_words(width, parameters) + group // parameters.banks
        assert found[address, group % parameters.banks, pixel, column] == event
        seen += abs(int(event))
    assert np.abs(found).sum() == seen  # nothing else


def test_words_that_hold_a_map() -> None:
    parameters = Parameters(pixels=4, columns=2, banks=2)
    assert [row_words(width, parameters) for width in (1, 8, 9, 16, 17)] == [1, 1, 2, 2, 3]
    assert [chunks(columns, parameters) for columns in (1, 2, 3)] == [1, 1, 2]
    assert plane_words(5, 9, 3, parameters) == 5 * 2 * 2


@pytest.mark.parametrize(
    ("low", "high", "number"),
    [(0, 1, 8), (0, 255, 8), (0, 256, 9), (-1, 0, 8), (-128, 127, 8), (-129, 0, 9), (-1, 128, 9)],
)
def test_planes_hold_a_range(low: int, high: int, number: int) -> None:
    assert planes(low, high) == number


@given(st.lists(st.integers(-3000, 3000), min_size=1, max_size=9))
def test_planes_add_up_to_their_values(values: list[int]) -> None:
    graded = np.array(values).reshape(-1, 1, 1)
    number = planes(min(values), max(values))
    columns = bit_planes(graded, number)
    total = sum(columns[at].astype(int) << (number - 1 - at) for at in range(number))
    np.testing.assert_array_equal(total, graded)


def test_only_a_sign_plane_is_negative() -> None:
    columns = bit_planes(np.array([[[-128, 127]]]), 8)
    np.testing.assert_array_equal(columns[:, 0, 0, 0], [-1, 0, 0, 0, 0, 0, 0, 0])
    np.testing.assert_array_equal(columns[:, 0, 0, 1], [0, 1, 1, 1, 1, 1, 1, 1])
    assert bit_planes(np.array([[[255]]]), 8).min() == 1


def words_back(parts: np.ndarray, width: int) -> list[tuple[int, int, int]]:
    """Parts put together as the core does: target, address, and the word."""
    result, value, at = [], 0, 0
    for target, last, address, part in parts.tolist():
        value |= part << at
        at += 32
        if last:
            assert at >= width > at - 32
            result.append((target, address, value))
            value = at = 0
    assert at == 0
    return result


def test_parts_of_weights_and_events() -> None:
    weights = np.array([[-128, 127, -1, 0, 1], [5, 4, 3, 2, 1]], np.int8)
    target = Target.WEIGHTS.value
    first = int.from_bytes(bytes([0x80, 0x7F, 0xFF, 0x00, 0x01]), "little")
    second = int.from_bytes(bytes([5, 4, 3, 2, 1]), "little")
    assert words_back(weight_parts(weights, SMALL), 40) == [(target, 0, first), (target, 1, second)]
    words = np.zeros((2, 2, SMALL.word_bits), np.uint8)
    words[1, 0, 0] = words[1, 1, 7] = 1
    found = words_back(event_parts(words, 10, SMALL), SMALL.word_bits)
    assert found == [(0, 20, 0), (0, 21, 0), (0, 22, 1), (0, 23, 128)]


def test_parts_of_tables() -> None:
    layout = tap_layout(SMALL)
    entries = [{"shift": 3, "wide": 1, "lanes": 2, "weight": 1023, "high": 0}, {"weight": 7, "high": True}]
    found = words_back(table_parts(Target.TAPS, layout, entries, SMALL, first=4), word_widths(SMALL)[Target.TAPS])
    assert [(target, address) for target, address, _ in found] == [(Target.TAPS.value, 4), (Target.TAPS.value, 5)]
    for (_, _, word), entry in zip(found, entries, strict=True):
        value = layout.from_bits(word)
        assert {name: getattr(value, name) for name in entry} == entry


def test_part_values_are_the_wires_of_the_core() -> None:
    parts = weight_parts(np.full((3, 5), -1, np.int8), SMALL)
    layout = part_layout(SMALL)
    for part, value in zip(parts.tolist(), part_values(parts, SMALL).tolist(), strict=True):
        wires = layout.from_bits(value)
        assert [wires.target.value, wires.last, wires.address, wires.data] == part


LAYOUT = data.StructLayout(
    {"count": unsigned(4), "low": signed(4), "offset": unsigned(4), "inner": data.StructLayout({"bit": 1})}
)


@pytest.mark.parametrize(
    ("entry", "text", "bits"),
    [
        ({"count": 16}, "core's taps: 'count' would be 16; 0 to 15 are possible", 5),
        ({"count": -1}, "'count' would be -1; 0 to 15 are possible", None),
        ({"low": 8}, "'low' would be 8; -8 to 7 are possible", 5),
        ({"low": -9}, "'low' would be -9; -8 to 7 are possible", 5),
        ({"inner": {"bit": 2}}, "'bit' would be 2; 0 to 1 are possible", 2),
    ],
)
def test_numbers_that_no_field_holds(entry: dict[str, Any], text: str, bits: int | None) -> None:
    with pytest.raises(WidthError, match=text) as error:
        table_parts(Target.TAPS, LAYOUT, [{"count": 15, "low": -8}, entry], SMALL)
    assert bits in (None, error.value.bits)


def test_offsets_wrap() -> None:
    (*_, part) = table_parts(Target.TAPS, LAYOUT, [{"offset": 0x2F}], SMALL)[0].tolist()
    assert part == 0xF00
