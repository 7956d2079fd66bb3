"""Compiled cores are made once for all tests."""

from __future__ import annotations

import pytest


@pytest.fixture(scope="session")
def cores(tmp_path_factory, worker_id):
    """A folder for compiled cores that all processes of a test run share."""
    root = tmp_path_factory.getbasetemp()
    return (root if worker_id == "master" else root.parent) / "cores"
