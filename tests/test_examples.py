"""The two networks that ship: what their files promise."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from refsnn.ann import graph, project
from refsnn.ann.forward import forward

EXAMPLES = Path(__file__).parents[1] / "examples"


@pytest.fixture(scope="module", params=["digits.h5", "fashion_resnet8.h5"])
def model(request):
    return project.read(EXAMPLES / request.param)


def test_size_and_images(model):
    assert model.path.stat().st_size < 2_000_000
    assert len(model.test) == 1000
    assert len(model.calibration) == 256
    assert len(model.test.class_names) == 10
    assert model.test.labels is not None
    test = {image.tobytes() for image in model.test.images}
    assert not any(image.tobytes() in test for image in model.calibration.images)


def test_activations_are_quantised_to_4_levels(model):
    activations = [operation for operation in model.graph if isinstance(operation, graph.ReLU)]
    assert len(activations) >= 3
    assert {operation.levels for operation in activations} == {4}


def test_accuracy(model):
    data = model.test[:200]
    x = model.graph.preprocessing.table(1)[0, data.images]
    assert np.mean(forward(model.graph, x).argmax(1) == data.labels) > 0.9
