"""Counting a network's multiply-adds."""

from __future__ import annotations

import math

from refsnn.ann.graph import Conv, Dense, Graph, Operation
from refsnn.geometry import Shape, taps


def multiply_adds(graph: Graph) -> int:
    """The multiply-adds of one image, those with padding left out: what a synaptic operation is to a spike."""
    return sum(of_operation(operation, graph) for operation in graph)


def of_operation(operation: Operation, graph: Graph) -> int:
    """The multiply-adds of one layer; 0 for all but convolutions and dense layers."""
    if isinstance(operation, Dense):
        return int(operation.weights.size)
    if not isinstance(operation, Conv):
        return 0
    source: Shape = graph.shapes[operation.inputs[0]]
    output = graph.shapes[operation.name]
    top, _, left, _ = operation.padding
    inside = [
        int(taps(source[axis], output[axis], operation.weights.shape[axis + 1], stride, before, dilation)[1].sum())
        for axis, stride, before, dilation in zip(
            (1, 2), operation.stride, (top, left), operation.dilation, strict=True
        )
    ]
    return int(math.prod(inside) * operation.weights.shape[0] * operation.weights.shape[1])
