"""Arrays to bytes with channels first, and labels to numbers."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from refsnn.data import layout
from refsnn.errors import InputError

BYTES = np.random.default_rng(0).integers(0, 256, (5, 3, 6, 8), dtype=np.uint8)


@pytest.mark.parametrize("kind", ["uint8", "int16", "uint64", "float32", "float64"])
def test_whole_numbers_are_bytes(kind):
    found = layout.pixels(BYTES.astype(kind), "file")
    assert found.dtype == np.uint8
    np.testing.assert_array_equal(found, BYTES)


@pytest.mark.parametrize(
    ("images", "message"),
    [
        (BYTES / 255, "--scale"),
        (np.ones((2, 4)), "before any scaling"),
        (BYTES + 0.5, "before any scaling"),
        (BYTES.astype(int) - 1, "from -1 to"),
        (BYTES.astype(int) + 1, "to 256"),
        (np.full((2, 4), np.nan), "NaN"),
        (np.full((2, 4), "x"), "pixel bytes"),
        (np.zeros((0, 4)), r"shape \(0, 4\)"),
    ],
)
def test_anything_else_is_refused(images, message):
    with pytest.raises(InputError, match=f"file: .*{message}"):
        layout.pixels(images, "file")


@given(size=st.tuples(*[st.integers(1, 5)] * 3), last=st.booleans())
def test_the_expected_shape_settles_the_order(size, last):
    images = np.arange(2 * np.prod(size), dtype=np.uint8).reshape(2, *size)
    given_images = np.moveaxis(images, 1, 3) if last else images
    found = layout.maps(given_images, size, "file")
    ambiguous = given_images.shape == images.shape
    np.testing.assert_array_equal(found, given_images if ambiguous else images)


def test_without_it_the_axis_of_1_or_3_is_the_channels():
    np.testing.assert_array_equal(layout.maps(BYTES, None, "file"), BYTES)
    np.testing.assert_array_equal(layout.maps(np.moveaxis(BYTES, 1, 3), None, "file"), BYTES)
    np.testing.assert_array_equal(layout.maps(BYTES[:, 0], None, "file"), BYTES[:, :1])
    for shape, which in (((2, 3, 8, 3), "both"), ((2, 4, 8, 5), "neither")):
        with pytest.raises(InputError, match=f"file: .*{which} of whose axes"):
            layout.maps(np.zeros(shape, np.uint8), None, "file")
    with pytest.raises(InputError, match="was expected"):
        layout.maps(np.zeros(5, np.uint8), None, "file")


def test_one_channel_is_also_features():
    images = BYTES[:, :1]
    np.testing.assert_array_equal(layout.maps(images[:, 0], (48,), "file"), images.reshape(5, 48))
    np.testing.assert_array_equal(layout.maps(images.reshape(5, 48), (1, 6, 8), "file"), images)
    with pytest.raises(InputError, match=r"file: images of shape \(3, 6, 8\); the network expects \(144,\)"):
        layout.maps(BYTES, (144,), "file")
    with pytest.raises(InputError, match="the network expects"):
        layout.maps(BYTES.reshape(5, 144), (3, 6, 8), "file")
    with pytest.raises(InputError, match="the network expects"):
        layout.maps(images, (1, 8, 6), "file")


@pytest.mark.parametrize("kind", ["int8", "uint8", "int32", "uint64"])
def test_labels(kind):
    for shape in ((4,), (4, 1)):
        found = layout.numbers(np.array([3, 0, 1, 2], kind).reshape(shape), "file")
        assert found.dtype == np.int64
        np.testing.assert_array_equal(found, [3, 0, 1, 2])


@pytest.mark.parametrize(
    ("labels", "message"),
    [
        (np.eye(3, dtype=int), "argmax"),
        (np.array([0.0, 1.0]), "float64"),
        (np.array(["cat"]), "<U3"),
        (np.array([0, 2, -1]), "image 2 is -1"),
    ],
)
def test_no_labels(labels, message):
    with pytest.raises(InputError, match=message):
        layout.numbers(labels, "file")


def test_labels_beyond_the_classes():
    layout.check_range(None, 3, "file")
    layout.check_range(np.array([0, 2]), 3, "file")
    with pytest.raises(InputError, match="file: the label of image 1 is 3; there are 3 classes"):
        layout.check_range(np.array([0, 3, 4]), 3, "file")
