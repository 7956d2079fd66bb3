"""The first divergence of a dump: planted, and found exactly."""

from __future__ import annotations

import json
import shutil

import h5py
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from golden import hexfile
from golden.diff import diff
from golden.history import histories
from golden.history import settings as neuron_settings
from refsnn.errors import InputError
from tests.golden.cases import write

ORDER = ("static_current", "current", "accumulated", "before", "events", "membrane", "count")
EARLY = ("static_current", "current", "accumulated")


@pytest.fixture(scope="module", params=["residual", "rate-until-quiet", "max-pool-base-2"])
def case(request, tmp_path_factory):
    return write(request.param, tmp_path_factory.mktemp("golden") / "case")


@pytest.fixture
def tiny(tmp_path):
    return write("base-2", tmp_path / "case")


def dump_text(case, path, arrays, bits=None):
    """Arrays ``{(image, population, quantity): array}`` as a board would write them."""
    for (image, population, quantity), array in arrays.items():
        record = case.record(population)
        file = path / str(image) / f"{record.stem}.{quantity}.hex"
        file.parent.mkdir(parents=True, exist_ok=True)
        width = (bits or {}).get(quantity, record.arrays[quantity].bits)
        file.write_bytes(hexfile.pack(array, width))
    return path


def dump_hdf5(case, path, arrays):
    """The same as HDF5."""
    with h5py.File(path, "w") as file:
        for (image, population, quantity), array in arrays.items():
            file[f"{image}/{case.record(population).stem}.{quantity}"] = array
    return path


def everything(case):
    """All arrays of a case, to be changed."""
    return {
        (image, population, quantity): case.read(population, quantity, image)
        for image in range(len(case))
        for population in case.populations
        for quantity in case.record(population).arrays
    }


def rank(case, key, index):
    """When an entry comes about: image, population, taking in, step, neuron, cause before effect."""
    image, population, quantity = key
    separated = case.record(population).separated
    phase = 0 if quantity == "static_current" else 1 if quantity in EARLY or not separated else 2
    return image, case.populations.index(population), phase, index, ORDER.index(quantity)


@settings(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.data())
def test_the_first_of_several_planted_divergences_is_named(case, tmp_path_factory, data):
    arrays = everything(case)
    keys = data.draw(st.lists(st.sampled_from(sorted(arrays)), min_size=1, max_size=6, unique=True))
    dumped = {key: arrays[key] for key in keys}
    planted = []
    for _ in range(data.draw(st.integers(1, 3))):
        key = data.draw(st.sampled_from(keys))
        index = tuple(data.draw(st.integers(0, size - 1)) for size in dumped[key].shape)
        dumped[key][index] = 0 if dumped[key][index] else 1
        planted.append((key, index))
    wrong = [(key, index) for key, index in planted if dumped[key][index] != case.read(key[1], key[2], key[0])[index]]
    path = tmp_path_factory.mktemp("dump")
    for dump in (dump_text(case, path, dumped), dump_hdf5(case, path / "dump.h5", dumped)):
        comparison = diff(case, dump)
        assert sum(tally.differing for tally in comparison.tallies) == len(set(wrong))
        assert sum(tally.compared for tally in comparison.tallies) == sum(array.size for array in dumped.values())
        if not wrong:
            assert comparison.first is None
            continue
        key, index = min(wrong, key=lambda each: rank(case, *each))
        first = comparison.first
        *steps, c, y, x = index
        assert (first.image, first.population, first.quantity) == key
        assert (first.t, first.neuron) == (steps[0] if steps else None, (c, y, x))
        assert first.found == dumped[key][index]
        assert first.expected == case.read(key[1], key[2], key[0])[index]
        line = (path / str(first.image) / first.file.rpartition("/")[2]).read_text().splitlines()[first.line]
        field = int(line, 16) >> first.low & (1 << first.high - first.low + 1) - 1
        assert field == first.found % (1 << first.high - first.low + 1)
        if key[2] != "static_current":
            cells = [cell for history in histories(comparison, first) for row in history.rows for cell in row]
            assert f"{first.found} *" in cells


def test_a_case_equals_itself(case):
    comparison = diff(case.path, case.path)
    assert comparison.first is None
    assert comparison.images == len(case)
    assert len(comparison.tallies) == sum(len(case.record(p).arrays) for p in case.populations)


def test_the_histories_of_a_neuron(tiny, tmp_path):
    events = tiny.events("plain")[0].copy()
    events[1, 0, 0, 0] ^= 1
    comparison = diff(tiny, dump_text(tiny, tmp_path / "dump", {(0, "plain", "events"): events}))
    taking_in, sending = histories(comparison, comparison.first)
    assert taking_in.columns == ("t", "I", "sum")
    assert taking_in.rows[-1][2] == str(tiny.accumulated("plain")[0, 2, 0, 0, 0])
    assert sending.columns == ("t", "u", "s", "s found", "v", "n")
    assert [row[2:4] for row in sending.rows] == [("1", "1  "), ("0", "1 *"), ("0", "0  ")]
    assert neuron_settings(comparison, comparison.first) == (
        "'if' neuron, threshold 9 * 2^(2 - t), initial membrane 4, membrane of 16 bits, bias 0, static current 0"
    )


def test_one_image_needs_no_folder(tiny, tmp_path):
    for name in ("02-plain.events.hex", "02-plain.before.hex"):
        shutil.copy(tiny.path / "mem/0" / name, tmp_path / name)
    comparison = diff(tiny, tmp_path)
    assert comparison.first is None
    assert {tally.quantity for tally in comparison.tallies} == {"events", "before"}


def test_a_mem_folder_inside_a_dump(tiny, tmp_path):
    shutil.copytree(tiny.path / "mem", tmp_path / "dump/mem")
    assert diff(tiny, tmp_path / "dump").first is None


def test_undefined_bits_differ(tiny, tmp_path):
    lines = (tiny.path / "mem/0/02-plain.events.hex").read_text().splitlines()
    lines[16] = "x"
    (tmp_path / "02-plain.events.hex").write_text("\n".join(lines))
    first = diff(tiny, tmp_path).first
    assert (first.t, first.neuron, first.found) == (1, (2, 0, 0), None)


@pytest.mark.parametrize("lines", [0, 1, 20])
def test_a_dump_that_ends_early_differs_where_it_ends(tiny, tmp_path, lines):
    text = (tiny.path / "mem/0/02-plain.events.hex").read_text().splitlines()
    (tmp_path / "02-plain.events.hex").write_text("\n".join(text[:lines]))
    comparison = diff(tiny, tmp_path)
    channels = tiny.record("plain").shape[0]
    assert (comparison.first.t, comparison.first.neuron) == (lines // channels, (lines % channels, 0, 0))
    assert comparison.first.found is None
    assert comparison.tallies[0].differing == len(text) - lines


def test_a_dump_that_runs_on_differs_where_the_case_ends(tiny, tmp_path):
    events = np.concatenate([tiny.events("plain")[0], np.zeros((1, 14, 1, 1), np.int8)])
    comparison = diff(tiny, dump_text(tiny, tmp_path, {(0, "plain", "events"): events}))
    assert (comparison.first.t, comparison.first.neuron, comparison.first.expected) == (3, (0, 0, 0), None)
    assert comparison.tallies[0].differing == 14


def test_a_doubled_membrane_declares_its_scale(tiny, tmp_path):
    scale = 2 ** np.arange(3).reshape(3, 1, 1, 1)
    arrays = {(0, "plain", quantity): tiny.read("plain", quantity) * scale for quantity in ("before", "membrane")}
    path = dump_text(tiny, tmp_path / "text", arrays, bits={"before": 18, "membrane": 20})
    with pytest.raises(InputError, match=r"before\.hex, line 1: has 5 digits; 4 were expected"):
        diff(tiny, path)
    (path / "dump.json").write_text(json.dumps({"membrane_scale": "doubled", "bits": {"before": 18, "membrane": 20}}))
    assert diff(tiny, path).first is None
    file = dump_hdf5(tiny, tmp_path / "dump.h5", arrays)
    assert diff(tiny, file).first is not None
    assert diff(tiny, file, membrane_scale="doubled").first is None
    with h5py.File(file, "r+") as content:
        content.attrs["membrane_scale"] = "doubled"
        content["0/02-plain.before"][2, 5, 0, 0] += 4
    first = diff(tiny, file).first
    assert (first.t, first.neuron, first.quantity) == (2, (5, 0, 0), "before")
    assert first.expected == 4 * tiny.before("plain")[0, 2, 5, 0, 0] == first.found - 4


def test_arrays_without_height_and_width(tiny, tmp_path):
    file = dump_hdf5(tiny, tmp_path / "dump.h5", {(0, "plain", "events"): tiny.events("plain")[0].reshape(3, 14)})
    assert diff(tiny, file).first is None


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("0/02-plain.event.hex", "0", "'02-plain' has no 'event' in the case; it has: static_current"),
        (
            "0/02-plane.events.hex",
            "0",
            "is no array of the case; the names are STEM.QUANTITY, with STEM one of 00-input",
        ),
        ("1/02-plain.events.hex", "0", "is of image '1'; the case has the images 0 to 0"),
        ("0/02-plain.events.hex", "00", "line 1: has 2 digits; 1 were expected (1 fields of 2 bits)"),
        ("0/02-plain.static_current.hex", "0\n" * 15, "has 15 lines; 14 were expected"),
        ("dump.json", '{"membrane_scale": "half"}', "membrane_scale is 'half'; plain or doubled was expected"),
        ("dump.json", '{"bits": {"before": 99}}', "bits: 'before' of 99 bits"),
        ("dump.json", '{"scale": 2}', "the key 'scale' is unknown"),
        ("notes.txt", "", "holds nothing to compare"),
    ],
)
def test_what_is_no_dump_is_refused(tiny, tmp_path, name, content, message):
    file = tmp_path / "dump" / name
    file.parent.mkdir(parents=True)
    file.write_text(content)
    with pytest.raises(InputError) as caught:
        diff(tiny, tmp_path / "dump")
    assert message in str(caught.value)


def test_hdf5_that_is_no_dump_is_refused(tiny, tmp_path):
    file = tmp_path / "dump.h5"
    for array, message in (
        (np.zeros((3, 14, 1, 1)), "is float64; whole numbers were expected"),
        (np.zeros((3, 15, 1, 1), int), "has shape (3, 15, 1, 1); (T', 14, 1, 1) was expected"),
    ):
        with pytest.raises(InputError) as caught:
            diff(tiny, dump_hdf5(tiny, file, {(0, "plain", "events"): array}))
        assert message in str(caught.value)
    with pytest.raises(InputError, match="there is no such file"):
        diff(tiny, tmp_path / "nothing")
    with pytest.raises(InputError, match="membrane_scale is 'half'"):
        diff(tiny, tiny.path, membrane_scale="half")


def test_another_networks_case_is_refused(tiny, tmp_path):
    other = write("max-pool", tmp_path / "other")
    with pytest.raises(InputError, match="is no array of the case"):
        diff(tiny, other.path)
    (other.path / "mem/0/00-input.events.hex").write_text("0")
    with pytest.raises(InputError, match="its SHA-256 is"):
        diff(tiny, other.path)
