"""The networks that ship: what their files promise."""

from __future__ import annotations

import json
import tomllib
from pathlib import Path

import numpy as np
import pytest

from refsnn import files
from refsnn.ann import graph, project
from refsnn.ann.forward import forward

EXAMPLES = Path(__file__).parents[1] / "examples"


@pytest.fixture(scope="module", params=["digits.h5", "fashion_resnet8.h5", "fashion-resnet20-qcfs.h5"])
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


LOGS = sorted(EXAMPLES.glob("*.json"))


@pytest.mark.parametrize("log", LOGS, ids=lambda path: path.stem)
def test_a_trained_network_is_the_one_that_its_log_and_its_recipe_are_about(log):
    """The digest in the log, and the recipe's options among the settings."""
    document = json.loads(log.read_text())
    weights = log.with_suffix(".h5")
    assert document["weights"]["sha256"] == files.sha256(weights)
    assert document["weights"]["sha256"] in (EXAMPLES / "README.md").read_text()
    recipe = tomllib.loads((EXAMPLES.parent / "tools" / "recipes" / document["recipe"]).read_text())
    recipe.pop("class_names", None)
    assert recipe.items() <= document["settings"].items()
    assert [epoch["epoch"] for epoch in document["epochs"]] == list(range(1, recipe["epochs"] + 1))
    thresholds = [operation for operation in project.read(weights).graph if isinstance(operation, graph.ReLU)]
    assert len(thresholds) == {"resnet18": 17, "resnet20": 19}[document["settings"]["network"]]
    assert all(operation.bound is not None for operation in thresholds)
