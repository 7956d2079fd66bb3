"""The text that ``$readmemh`` reads and ``$writememh`` writes."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from golden.hexfile import pack, unpack
from refsnn.errors import InputError


@given(st.integers(1, 9), st.integers(0, 5), st.integers(2, 64), st.integers(0, 2**32 - 1))
def test_what_was_packed_is_unpacked(width, lines, bits, seed):
    random = np.random.default_rng(seed)
    low, high = -(1 << (bits - 1)), (1 << (bits - 1)) - 1
    array = random.integers(low, high, (lines, width), endpoint=True)
    array.reshape(-1)[:2] = [low, high][: array.size]
    values, known = unpack(pack(array, bits).decode(), width, bits, "file")
    np.testing.assert_array_equal(values, array)
    assert known.all()


def test_lines_as_the_format_describes_them():
    """x = 0 in the lowest bits; events of 2 bits: bit 0 an event, bit 1 a negative one."""
    assert pack(np.array([[1, 0, 0, -1, 1]]), 2) == b"1c1\n"
    assert pack(np.array([[1, -1], [-32768, 32767]]), 16) == b"ffff0001\n7fff8000\n"
    assert pack(np.array([[-1, 2]]), 20) == b"00002fffff\n"
    assert pack(np.array([[-1, 3, 0]]), 5) == f"{0b00000_00011_11111:04x}\n".encode()


def test_what_simulators_write_is_read():
    text = """// 0x00000000
    FFFF_0001 // a comment
    /* two
    lines */ zz02x1X3
    @4
    5
    """
    values, known = unpack(text, 2, 16, "file")
    np.testing.assert_array_equal(values, [[1, -1], [0, 0], [0, 0], [0, 0], [5, 0]])
    np.testing.assert_array_equal(known, [[1, 1], [0, 0], [0, 0], [0, 0], [1, 1]])


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("0\n12345", "file, line 2: has 5 digits; 4 were expected (2 fields of 8 bits)"),
        ("0\n\n12g4", "file, line 3: '12g4' is not hexadecimal"),
        ("@xyz 1", "file, line 1: '@xyz' is not an address"),
        ("@fffffffff 1", "file, line 1: the address '@fffffffff' is beyond any array"),
    ],
)
def test_what_is_not_such_text_is_refused_by_line(text, message):
    with pytest.raises(InputError) as caught:
        unpack(text, 2, 8, "file")
    assert str(caught.value) == message


def test_numbers_that_do_not_fit_are_refused():
    with pytest.raises(InputError, match="from -3 to 1 do not fit fields of 2 bits"):
        pack(np.array([1, -3]), 2)
