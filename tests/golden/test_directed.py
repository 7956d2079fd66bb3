"""The committed suite: remade byte for byte, right, and covering what it is there for."""

from __future__ import annotations

import h5py
import pytest

import golden
from golden.check import check
from golden.directed import suite, write_suite
from golden.flags import FLAGS
from golden.layout import QUANTITIES
from golden.manifest import FILE
from refsnn.network import UNTIL_QUIET, Input, MaxPool, Readout
from tests.golden.cases import ROOT, SUITE, tree


def test_the_suite_is_remade_byte_for_byte(tmp_path):
    cases = write_suite(tmp_path / "suite")
    made, committed = tree(tmp_path / "suite"), tree(SUITE)
    assert made.keys() == committed.keys()
    different = [name for name in sorted(made) if made[name] != committed[name]]
    assert not different, f"python -m golden directed --out golden/suite, and look at why {different[0]} differs"
    assert [case.path.name for case in cases] == [case.name for case in suite()]


@pytest.mark.parametrize("path", sorted(SUITE.iterdir()), ids=lambda path: path.name)
def test_the_suite_is_right(path):
    manifest = check(path).case.manifest
    assert manifest.expects
    assert set(manifest.expects) <= {flag.name for flag in manifest.flags}


def test_every_flag_occurs():
    cases = [golden.load(path) for path in SUITE.iterdir()]
    assert {flag.name for case in cases for flag in case.manifest.flags} == set(FLAGS)


def test_every_kind_of_neuron_schedule_and_projection_occurs():
    networks = [case.network for case in suite()]
    spiking = [population for network in networks for population in network.spiking]
    assert {(p.neuron, p.schedule.separated, p.schedule.base) for p in spiking} >= {
        ("if", False, 1),
        ("dual", False, 1),
        ("signed", False, 1),
        ("if", True, 1),
        ("signed", True, 1),
        ("if", True, 2),
        ("signed", True, 2),
    }
    assert {type(p) for network in networks for p in network.populations} >= {Input, MaxPool, Readout}
    assert {p.kind for network in networks for p in network.projections} == {"conv", "dense", "identity"}
    assert {min(network.drain, 1) for network in networks} == {UNTIL_QUIET, 0, 1}


def test_the_suite_is_small():
    assert sum(file.stat().st_size for file in SUITE.rglob("*") if file.is_file()) < 1_000_000
    assert {file.name for file in SUITE.glob("*/*")} == {FILE, "network.h5", "vectors.h5", "mem"}


def test_the_suite_depends_on_no_compressor():
    """So that another zlib makes the same bytes."""

    def plain(_, item):
        assert not isinstance(item, h5py.Dataset) or item.compression is None

    for path in SUITE.glob("*/*.h5"):
        with h5py.File(path) as file:
            file.visititems(plain)


def test_the_page_names_every_flag_and_quantity():
    page = (ROOT / "docs" / "golden.md").read_text()
    for flag, meaning in FLAGS.items():
        assert f"| {flag} | {meaning} |" in page
    for quantity in QUANTITIES:
        assert f"| `{quantity}` |" in page
