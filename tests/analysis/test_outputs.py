"""Predictions, classes, errors of outputs, operations and energy."""

from __future__ import annotations

import numpy as np
import pytest

from refsnn.analysis import energy, outputs
from refsnn.analysis.operations import multiply_adds
from refsnn.ann import graph as ann
from tests.convert.graphs import FAMILIES


def test_ties_go_to_the_lowest_index():
    logits = np.array([[1.0, 3.0, 3.0], [2.0, 2.0, 1.0]])
    np.testing.assert_array_equal(outputs.predictions(logits, "softmax"), [1, 0])


def test_a_relu_makes_equals_of_all_below_0():
    logits = np.array([[-3.0, -1.0], [-1.0, 2.0]])
    np.testing.assert_array_equal(outputs.predictions(logits, "relu"), [0, 1])
    assert outputs.output_error(logits, np.maximum(logits, 0), "relu").rmse == 0


def test_one_output():
    logits = np.array([[-1.0], [0.0], [0.5]])
    np.testing.assert_array_equal(outputs.predictions(logits, "sigmoid"), [0, 0, 1])
    assert outputs.predictions(logits, "linear") is None


@pytest.mark.parametrize(
    ("shape", "activation", "expected"),
    [
        ((10,), "softmax", 10),
        ((10, 1, 1), "linear", 10),
        ((1,), "sigmoid", 2),
        ((1,), "linear", 0),
        ((36,), "sigmoid", 0),  # as many as inputs
        ((36,), "softmax", 36),
        ((3, 4, 4), "linear", 0),  # a map
    ],
)
def test_classes(shape, activation, expected):
    assert outputs.classes(shape, activation, (1, 6, 6)) == expected


def test_output_error_is_of_what_the_network_gives():
    logits, reference = np.array([[0.0, 2.0]]), np.array([[1.0, 2.0]])
    error = outputs.output_error(logits, reference, "linear")
    assert error.mae == 0.5
    assert error.rmse == pytest.approx(np.sqrt(0.5))
    assert error.relative == pytest.approx(np.sqrt(0.5 / 2.5))
    squashed = outputs.output_error(logits, reference, "sigmoid")
    assert squashed.mae == pytest.approx((1 / (1 + np.exp(-1)) - 0.5) / 2)
    huge = outputs.output_error(np.array([[-1e9, 1e9]]), np.array([[1e9, 1e9]]), "sigmoid")
    assert huge.mae == 0.5


def test_chance():
    assert outputs.chance_threshold(10, 10_000) == pytest.approx(0.2)
    assert 0.5 < outputs.chance_threshold(2, 1000) < 0.6
    assert outputs.chance_threshold(10, 5) > 0.4


def naive_multiply_adds(graph):
    """Every output, every tap: does it read a real cell?"""
    total = 0
    for operation in graph:
        if isinstance(operation, ann.Dense):
            total += operation.weights.shape[0] * operation.weights.shape[1]
        if isinstance(operation, ann.Conv):
            _, height, width = graph.shapes[operation.inputs[0]]
            outputs_, rows, columns = graph.shapes[operation.name]
            _, inputs, kernel_height, kernel_width = operation.weights.shape
            for y, x, i, j in np.ndindex(rows, columns, kernel_height, kernel_width):
                row = y * operation.stride[0] - operation.padding[0] + i * operation.dilation[0]
                column = x * operation.stride[1] - operation.padding[2] + j * operation.dilation[1]
                total += outputs_ * inputs * (0 <= row < height and 0 <= column < width)
    return total


@pytest.mark.parametrize("family", FAMILIES)
def test_multiply_adds(family):
    _, builder = family(3)
    graph = builder.graph()
    assert multiply_adds(graph) == naive_multiply_adds(graph) > 0


def test_energy_is_the_stated_model():
    found = energy.spiking(1e6, 2e6, 3e6, 4e6)
    assert found.synapses == pytest.approx(0.1)
    assert found.neurons == pytest.approx(1.5)
    assert found.input == pytest.approx(0.6)
    assert found.weight_reads == pytest.approx(3e6 * 1.25e-6)
    assert found.arithmetic == pytest.approx(2.2)
    assert energy.ann(1e6) == pytest.approx({"int8": 0.3, "float32": 4.6, "weight_reads": 1.25})
