"""Cases of random networks: complete, right, the same every time, and readable from Python."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import golden
from golden.check import check
from golden.layout import spatial
from refsnn.errors import InputError
from refsnn.network import UNTIL_QUIET, Spiking
from tests.golden.cases import directed, images_for, tree, write
from tests.naive import Twin
from tests.networks import BINARY, RATE, SEPARATED, networks

some = settings(max_examples=25, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large])


@some
@given(
    st.one_of(
        networks(drains=(0, 2, UNTIL_QUIET)),
        networks(schedules=(BINARY,)),
        networks(schedules=(RATE, SEPARATED), drains=(0, UNTIL_QUIET)),
    ),
    st.integers(1, 4),
)
def test_cases_of_random_networks_are_right(tmp_path_factory, network, steps):
    """The checker derives what the simulator wrote; the naive twin agrees with both."""
    images = images_for(network, 2)
    path = tmp_path_factory.mktemp("golden") / "case"
    case = golden.write(network, images, steps, path, reason="a random network")
    check(path)
    twin = Twin(network).run(images, steps)
    for image in range(2):
        for population in network.populations:
            if isinstance(population, Spiking):
                events = case.events(population.name)[image]
                train = twin.trains[image][population.name]
                np.testing.assert_array_equal(events.reshape(len(events), -1), train[: len(events)])
                assert not train[len(events) :].any()
    np.testing.assert_array_equal(case.membranes().reshape(twin.membranes.shape), twin.membranes)
    assert case.predictions == tuple(twin.membranes.reshape(2, -1).argmax(axis=1))


def test_equal_arguments_give_equal_folders(tmp_path):
    write("rate-until-quiet", tmp_path / "a")
    write("rate-until-quiet", tmp_path / "b")
    assert tree(tmp_path / "a") == tree(tmp_path / "b")


def test_a_case_is_read_from_python(tmp_path):
    case = write("rate-until-quiet", tmp_path / "case")
    wanted = directed("rate-until-quiet")
    assert len(case) == len(wanted.images) == 3
    assert case.steps == 2
    assert case.populations == ("input", "first", "second", "readout")
    assert case.network.digest() == wanted.network.digest()
    np.testing.assert_array_equal(case.pixels.reshape(wanted.images.shape), wanted.images)
    events = case.events("first")
    assert len(events) == 3
    assert [len(each) for each in events] == list(case.array("first", "events").steps)
    assert len({len(each) for each in events}) > 1
    assert events[2].dtype == np.int8
    assert events[2].shape[1:] == spatial(case.network["first"].shape)
    assert events[2, 0, 1, 0, 0] == events[-1][0, 1, 0, 0]
    assert [len(each) for each in events[1:]] == [len(events[1]), len(events[2])]
    assert case.events("input")[0].dtype == np.int16
    assert case.membrane("readout")[0].dtype == np.int64
    np.testing.assert_array_equal(case.count("second")[1], np.cumsum(case.events("second")[1], axis=0))
    np.testing.assert_array_equal(case.current("first")[1][0], case.before("first")[1][0] - [[[2]], [[4]], [[15]]])
    assert case.static_current("first")[0].shape == (3, 1, 1)
    assert case.mem("first", "events", 2) == case.path / "mem/2/01-first.events.hex"


@pytest.mark.parametrize(
    ("ask", "message"),
    [
        (lambda case: case.events("other")[0], "has no population 'other'; there are: input, first, second, readout"),
        (lambda case: case.accumulated("first")[0], "'first' has no 'accumulated'; it has: "),
        (lambda case: case.read("first", "events", 3), "has no image 3; there are 3, counted from 0"),
    ],
)
def test_what_a_case_does_not_have_is_named(tmp_path, ask, message):
    case = write("rate-until-quiet", tmp_path / "case")
    with pytest.raises(InputError) as caught:
        ask(case)
    assert message in str(caught.value)


def test_a_case_is_replaced_whole(tmp_path):
    """No file of a larger case before is left."""
    write("rate-until-quiet", tmp_path / "case")
    write("base-1", tmp_path / "case")
    write("base-1", tmp_path / "other")
    assert tree(tmp_path / "case") == tree(tmp_path / "other")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["case", "other"]


def test_nothing_else_is_replaced(tmp_path):
    (tmp_path / "notes").mkdir()
    (tmp_path / "notes" / "mine.txt").write_text("keep")
    with pytest.raises(InputError, match="is not empty and is no golden case"):
        write("base-1", tmp_path / "notes")
    assert (tmp_path / "notes" / "mine.txt").read_text() == "keep"
    with pytest.raises(InputError, match="is a file; name a folder"):
        write("base-1", tmp_path / "notes" / "mine.txt")


def test_a_case_that_fails_leaves_nothing(tmp_path):
    case = directed("base-1")
    for expects, message in (
        (("drain step fired",), "expected and does not occur"),
        (("no such",), "no flag 'no such'"),
    ):
        with pytest.raises(InputError, match=message):
            golden.write(case.network, case.images, 3, tmp_path / "case", reason="wrong", expects=expects)
    with pytest.raises(InputError, match="images have shape"):
        golden.write(case.network, case.images[:, :, None], 3, tmp_path / "case", reason="wrong")
    assert not list(tmp_path.iterdir())


def test_a_drain_in_place_of_the_networks_own(tmp_path):
    case = directed("rate-drain")
    drained = golden.write(case.network, case.images, 3, tmp_path / "case", reason="no drain", drain=0)
    assert drained.manifest.drain == drained.network.drain == 0
    assert "drain step fired" not in {flag.name for flag in drained.manifest.flags}
    assert check(tmp_path / "case").case.array("dual", "events").steps == (3,)
