"""Whatever is changed in a case, the checker finds it and says where."""

from __future__ import annotations

import dataclasses
import json
import shutil

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import golden
from golden import hexfile
from golden import manifest as manifests
from golden.check import WrongError, check
from refsnn import files
from refsnn.errors import InputError
from refsnn.network import Network
from tests.golden.cases import SUITE, change, directed, reseal, write


@pytest.fixture
def case(tmp_path):
    return write("base-2", tmp_path / "case")


@pytest.fixture(scope="module")
def room(tmp_path_factory):
    return write("base-2", tmp_path_factory.mktemp("golden") / "case").path


@settings(max_examples=100, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.data())
def test_a_flipped_bit_in_any_file_is_refused_by_name(room, data):
    name = data.draw(st.sampled_from(sorted({manifests.FILE, *manifests.read(room / manifests.FILE).files})))
    content = (room / name).read_bytes()
    bit = data.draw(st.integers(0, 8 * len(content) - 1))
    broken = bytearray(content)
    broken[bit // 8] ^= 1 << bit % 8
    (room / name).write_bytes(broken)
    try:
        with pytest.raises(InputError) as caught:
            check(room)
        assert str(room / name) in str(caught.value)
    finally:
        (room / name).write_bytes(content)


@pytest.mark.parametrize("name", [manifests.FILE, manifests.NETWORK, manifests.VECTORS, "mem/0/02-plain.before.hex"])
def test_a_missing_file_is_refused_by_name(case, name):
    (case.path / name).unlink()
    with pytest.raises(InputError) as caught:
        golden.load(case.path)
    assert str(case.path / name) in str(caught.value)


def test_a_surplus_file_is_refused_by_name(case):
    (case.path / "mem/0/02-plain.before.hex~").write_text("0\n")
    with pytest.raises(InputError, match=r"before\.hex~: is not in the manifest"):
        golden.load(case.path)


def test_a_newer_version_of_the_vectors_is_refused(case):
    with files.create(case.path / manifests.VECTORS, "refsnn-golden-vectors", 2):
        pass
    reseal(case.path)
    with pytest.raises(InputError, match="is version 2 of the schema 'refsnn-golden-vectors'"):
        golden.load(case.path)


def test_what_is_no_case_is_refused(tmp_path):
    with pytest.raises(InputError, match="is not a folder"):
        golden.load(tmp_path / "nothing")
    with pytest.raises(InputError, match=r"manifest\.json: there is no such file"):
        golden.load(tmp_path)


def another(case, **changes):
    """Put a network into a case that differs from its own in one population, ``plain``."""
    network = Network.load(case.path / manifests.NETWORK)
    populations = [dataclasses.replace(p, **changes) if p.name == "plain" else p for p in network.populations]
    swapped = dataclasses.replace(network, populations=tuple(populations))
    swapped.save(case.path / manifests.NETWORK)
    return swapped


def test_another_network_is_refused_by_its_digest(case):
    another(case, bias=case.network["plain"].bias + 1)
    reseal(case.path)
    with pytest.raises(InputError, match=r"network\.h5: its digest is .*made with another network"):
        golden.load(case.path)


def test_a_network_that_does_not_do_what_the_vectors_say(case):
    """Everything is sealed again: only deriving it finds the first wrong integer."""
    bias = case.network["plain"].bias.copy()
    bias[3] += 8
    swapped = another(case, bias=bias)
    reseal(case.path, network=dataclasses.replace(case.manifest.network, digest=swapped.digest()))
    before = case.before("plain")[0][0, 3, 0, 0]
    with pytest.raises(WrongError) as caught:
        check(case.path)
    assert str(caught.value).endswith(
        f"vectors.h5: image 0, 'plain', t = 0, neuron (3, 0, 0): before is {before}; derived: {before + 8}"
    )


def test_settings_that_are_not_the_networks(case):
    swapped = another(case, threshold=case.network["plain"].threshold + 1)
    reseal(case.path, network=dataclasses.replace(case.manifest.network, digest=swapped.digest()))
    with pytest.raises(WrongError, match="says of 'plain' that its neuron is NeuronRecord"):
        check(case.path)


@settings(max_examples=30, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.data())
def test_any_wrong_integer_is_found_where_it_is(tmp_path_factory, data):
    """In both files and sealed, so that nothing but the derivation can tell."""
    path = tmp_path_factory.mktemp("golden") / "case"
    shutil.copytree(SUITE / "residual", path)
    case = golden.load(path)
    population = data.draw(st.sampled_from(case.populations))
    quantity = data.draw(st.sampled_from(sorted(case.record(population).arrays)))
    array = case.read(population, quantity)
    index = tuple(data.draw(st.integers(0, size - 1)) for size in array.shape)
    changed = array.copy()
    changed[index] = 1 if array[index] == 0 else 0
    change(path, f"0/{case.record(population).stem}.{quantity}", index, changed[index])
    case.mem(population, quantity).write_bytes(hexfile.pack(changed, case.array(population, quantity).bits))
    reseal(path)
    *steps, c, y, x = index
    step = f"t = {steps[0]}, " if steps else ""
    with pytest.raises(WrongError) as caught:
        check(path)
    assert str(caught.value).endswith(
        f"vectors.h5: image 0, '{population}', {step}neuron ({c}, {y}, {x}): {quantity} is {changed[index]}; "
        f"derived: {array[index]}"
    )


def test_text_that_is_not_the_vectors(case):
    file = case.mem("signed", "events")
    array = case.events("signed")[0].copy()
    assert array[1, 13, 0, 0] == -1
    array[1, 13, 0, 0] = 1
    file.write_bytes(hexfile.pack(array, 2))
    reseal(case.path)
    with pytest.raises(WrongError) as caught:
        check(case.path)
    assert str(caught.value) == (
        f"{file}, line 28: image 0, 'signed', t = 1, neuron (13, 0, 0): events is 1; vectors.h5 has -1"
    )


def test_text_that_is_not_written_as_the_format_says(case):
    file = case.mem("plain", "before")
    text = file.read_text()
    file.write_text(text.upper())
    reseal(case.path)
    with pytest.raises(WrongError, match="is not written as the manifest says"):
        check(case.path)
    file.write_text(text + "0000\n")
    reseal(case.path)
    with pytest.raises(WrongError, match="has 43 lines"):
        check(case.path)


def test_flags_are_found_again(case):
    wrong = [dataclasses.replace(case.manifest.flags[0], count=1), *case.manifest.flags[1:]]
    reseal(case.path, flags=tuple(wrong))
    with pytest.raises(WrongError, match="says that the flag 'threshold met exactly' is 1 times"):
        check(case.path)
    reseal(case.path, flags=case.manifest.flags[1:])
    with pytest.raises(WrongError, match="'threshold met exactly' is absent"):
        check(case.path)
    reseal(case.path, flags=case.manifest.flags, expects=("cap reached",))
    with pytest.raises(WrongError, match="expects the flag 'cap reached', which does not occur"):
        check(case.path)


def test_predictions_and_settings_of_the_run_are_derived_again(case):
    reseal(case.path, predictions=(1 - case.predictions[0],))
    with pytest.raises(WrongError, match="says that the predictions are"):
        check(case.path)
    reseal(case.path, predictions=case.predictions, drain=3)
    with pytest.raises(WrongError, match=r"says \(drain, membrane_bits, made_for\) = \(3, 16, None\)"):
        check(case.path)


def test_pixels_of_another_shape(case):
    with files.create(case.path / manifests.VECTORS, "refsnn-golden-vectors", 1) as file:
        files.put(file, "pixels", np.zeros((2, 1, 1, 1), np.uint8))
    reseal(case.path)
    with pytest.raises(WrongError, match="'pixels' are uint8 of shape"):
        check(case.path)


def test_a_right_case_says_what_was_derived(case):
    checked = check(case.path)
    document = json.loads((case.path / manifests.FILE).read_text())
    assert checked.arrays == sum(len(p["arrays"]) for p in document["populations"])
    assert checked.numbers == sum(
        case.read(p, quantity).size for p in case.populations for quantity in case.record(p).arrays
    )
    assert directed("base-2").reason == document["reason"]
