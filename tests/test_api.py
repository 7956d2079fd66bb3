"""``refsnn.load``, ``refsnn.convert`` and ``refsnn.simulate``."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest

import refsnn
from refsnn.ann import Model, project
from refsnn.errors import InputError
from refsnn.network import Network
from tests.small import classifier, images


@pytest.fixture
def file(tmp_path):
    data = images(40, seed=1)
    project.write(tmp_path / "net.h5", classifier(), writer="the tests", test=data, calibration=images(30, seed=2))
    return tmp_path / "net.h5"


def test_in_a_few_lines(file):
    model = refsnn.load(file)
    assert isinstance(model, Model)
    network = refsnn.convert(model, "ecl", steps=8)
    result = refsnn.simulate(network, model.test, steps=(4, 8))
    assert result.steps == (4, 8)
    assert (result.predictions[1] == model.test.labels).mean() > 0.8


def test_a_converted_network_is_loaded_as_one(file, tmp_path):
    network = refsnn.convert(file, "opi", steps=4, weight_bits=4)
    network.save(tmp_path / "network.h5")
    again = refsnn.load(str(tmp_path / "network.h5"))
    assert isinstance(again, Network)
    assert again.digest() == network.digest()
    with pytest.raises(InputError, match="integer network already"):
        refsnn.convert(tmp_path / "network.h5")


def test_calibration_may_be_an_array_or_a_data_set(file):
    graph, calibration = classifier(), images(30, seed=2)
    digests = {
        refsnn.convert(file).digest(),
        refsnn.convert(graph, calibration=calibration).digest(),
        refsnn.convert(graph, calibration=calibration.images, threads=2).digest(),
    }
    assert len(digests) == 1
    assert refsnn.convert(graph, calibration=images(30, seed=3)).digest() not in digests
    with pytest.raises(InputError, match="calibration images are needed"):
        refsnn.convert(graph)


def test_images_may_be_an_array(file):
    network, data = refsnn.convert(file), images(5, seed=4)
    left, right = refsnn.simulate(network, data), refsnn.simulate(network, data.images)
    np.testing.assert_array_equal(left.membranes, right.membranes)


@pytest.mark.parametrize(
    "first",
    ["import refsnn.convert", "from refsnn.simulate import simulate", "import refsnn.experiment", "import refsnn"],
)
def test_functions_whatever_was_imported_before(first):
    """``refsnn.convert`` is a package and a function, in any order of imports."""
    script = (
        f"{first}\nimport refsnn\n"
        "assert callable(refsnn.convert) and callable(refsnn.simulate) and callable(refsnn.load)\n"
        "from refsnn.convert import preset\nfrom refsnn import convert, simulate\n"
        "assert convert.preset is preset and simulate.simulate.__name__ == 'simulate'\n"
        "try:\n    refsnn.convert('nowhere.h5')\nexcept refsnn.errors.InputError as error:\n    print(error)\n"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert "nowhere.h5" in done.stdout, done.stderr


def test_unknown_names_are_attribute_errors():
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        _ = refsnn.nothing
