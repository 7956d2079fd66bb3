"""PyTorch on one thread: the networks of these tests are too small for more."""

from __future__ import annotations

import pytest


@pytest.fixture(autouse=True)
def one_thread():
    pytest.importorskip("torch").set_num_threads(1)
