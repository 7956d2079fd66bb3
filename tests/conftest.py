"""Fixtures and the Hypothesis profile that every test shares."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from hypothesis import settings

# Before NumPy and PyTorch are loaded. Tests run in a process for each core; threads of BLAS in each of them wait for
# each other for twenty times as long as they work.
for variable in ("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS"):
    os.environ.setdefault(variable, "1")

settings.register_profile("repeatable", derandomize=True, deadline=None, max_examples=50)
settings.load_profile("repeatable")


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """The folder of data sets that the project does not ship; the test is skipped where it is absent."""
    folder = Path(os.environ.get("REFSNN_SHARED_DATA", Path(__file__).parents[2] / "shared" / "data"))
    if not folder.is_dir():
        pytest.skip(f"the data sets are not there: set REFSNN_SHARED_DATA (looked in {folder})")
    return folder
