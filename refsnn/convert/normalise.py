"""Rewrites of the ANN graph that change no result and leave fewer cases for the lowering."""

from __future__ import annotations

from dataclasses import replace

from refsnn.ann.graph import Flatten, Graph, MaxPool, Operation, ReLU, Reshape


def normalise(graph: Graph) -> Graph:
    """An equivalent graph in which rectification comes before max-pooling and after reshaping.

    - ``max-pool, ReLU`` becomes ``ReLU, max-pool``: the maximum commutes with any monotonic function, and the pooled
      values are then spikes of a rectified population instead of a signed one.
    - ``ReLU, Reshape`` to a map becomes ``Reshape, ReLU``, so that the population gets the map's shape.
    - A Flatten of features and a Reshape to the same shape are dropped.
    """
    while True:
        swap = next((pair for pair in (_swap(graph, op) for op in graph) if pair), None)
        if swap is not None:
            graph = _exchange(graph, *swap)
            continue
        idle = next((op for op in graph if _is_idle(graph, op)), None)
        if idle is None:
            return graph
        graph = _drop(graph, idle)


def _swap(graph: Graph, second: Operation) -> tuple[Operation, Operation] | None:
    """The two neighbours to exchange, if ``second`` and the operation before it are such a pair."""
    if len(second.inputs) != 1:
        return None
    first = graph[second.inputs[0]]
    if len(graph.readers[first.name]) != 1:
        return None
    per_layer = isinstance(second, ReLU) or (isinstance(first, ReLU) and (first.bound is None or first.bound.ndim == 0))
    if isinstance(first, MaxPool) and isinstance(second, ReLU):
        return first, second
    if isinstance(first, ReLU) and isinstance(second, Reshape) and len(second.shape) == 3 and per_layer:
        return first, second
    return None


def _exchange(graph: Graph, first: Operation, second: Operation) -> Graph:
    """``first, second`` in the other order; who read the second now reads the first."""
    operations = []
    for operation in graph:
        if operation is first:
            continue
        if operation is second:
            operations.append(replace(second, inputs=first.inputs))
            operations.append(replace(first, inputs=(second.name,)))
        else:
            inputs = tuple(first.name if name == second.name else name for name in operation.inputs)
            operations.append(replace(operation, inputs=inputs))
    return Graph(operations=tuple(operations), preprocessing=graph.preprocessing)


def _is_idle(graph: Graph, operation: Operation) -> bool:
    if isinstance(operation, Flatten | Reshape):
        return graph.shapes[operation.name] == graph.shapes[operation.inputs[0]]
    return False


def _drop(graph: Graph, idle: Operation) -> Graph:
    operations = [
        replace(op, inputs=tuple(idle.inputs[0] if name == idle.name else name for name in op.inputs))
        for op in graph
        if op is not idle
    ]
    return Graph(operations=tuple(operations), preprocessing=graph.preprocessing)
