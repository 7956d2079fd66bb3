"""A network to sweep over."""

from __future__ import annotations

from pathlib import Path

import pytest

from refsnn.ann import project
from refsnn.experiment import Request
from tests.small import classifier, images
from tests.sweep.helpers import STEPS


@pytest.fixture(scope="session")
def weights(tmp_path_factory) -> Path:
    """A network with images inside."""
    path = tmp_path_factory.mktemp("network") / "net.h5"
    test, calibration = images(90, seed=1), images(60, seed=2)
    project.write(path, classifier(), writer="the tests", test=test, calibration=calibration)
    return path


@pytest.fixture(scope="session")
def request_(weights) -> Request:
    return Request(weights=weights, steps=STEPS, threads=1)
