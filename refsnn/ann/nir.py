"""NIR graphs (Pedersen et al., Nature Communications, 2024), read with h5py alone, where their meaning allows.

NIR describes spiking networks; what is imported is the ANN that an integrate-and-fire network computes by its rates.
An ``IF`` node of resistance R, with ``v_threshold`` and ``v_reset``, fires ``R I / (v_threshold - v_reset)`` spikes of
value 1 in a unit of time, never fewer than 0 and, in time-steps, at most 1: a clipped ReLU with the bound 1.
Departures: the spike trains are those of refsnn's conversion, not of the original (it resets by subtraction, fires at
``>=`` where NIR writes ``>``, and starts at half the threshold). Neurons with a leak, delays and recurrent edges have
no such ANN and are refused by name.

Layout: ``/node/nodes/<name>/type`` and the parameters beside it; ``/node/edges`` ``(E, 2)`` names; ``/version``.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeAlias

import h5py
import numpy as np

from refsnn import files
from refsnn.ann import Model, graph
from refsnn.ann.graph import Array
from refsnn.errors import InputError
from refsnn.geometry import Pair, Shape


def is_nir(file: h5py.File) -> bool:
    """Whether an HDF5 file has NIR's layout."""
    node = file.get("node")
    return isinstance(node, h5py.Group) and "type" in node


def read(path: str | os.PathLike[str]) -> Model:
    """Read a NIR graph.

    Raises:
        InputError: a node that is not supported, recurrence, or a damaged file; the message names file and node.
    """
    with files.open_hdf5(path) as file:
        try:
            version = files.text(file["version"][()]) if "version" in file else "of unknown version"
            network = graph.Graph(operations=tuple(_Import(file["node"]).operations()))
        except (KeyError, TypeError, ValueError, OSError) as error:
            what = error if isinstance(error, InputError) else f"is damaged: {error}; export the graph again"
            raise InputError(f"{path}: {what}") from error
    return Model(graph=network, path=Path(path), format="nir", writer=f"NIR {version}", sha256=files.sha256(path))


class _Import:
    """Turns the nodes of a graph into operations, sources first."""

    def __init__(self, root: h5py.Group) -> None:
        if files.text(root["type"][()]) != "NIRGraph":
            raise InputError(f"holds a single {files.text(root['type'][()])}; a NIRGraph was expected")
        self.nodes: dict[str, h5py.Group] = dict(root["nodes"].items())
        self.sources: dict[str, list[str]] = {name: [] for name in self.nodes}
        self.targets: dict[str, list[str]] = {name: [] for name in self.nodes}
        for row in root["edges"][()]:
            source, target = map(files.text, row)
            for name in (source, target):
                if name not in self.nodes:
                    raise InputError(f"an edge names the node '{name}', which is not there")
            self.sources[target].append(source)
            self.targets[source].append(target)
        self.done: list[graph.Operation] = []
        self.shapes: dict[str, Shape] = {}
        self.outputs: dict[str, str] = {}

    def operations(self) -> list[graph.Operation]:
        """The operations, the input first."""
        for kind in ("Input", "Output"):
            found = [name for name in self.nodes if self.kind(name) == kind]
            if len(found) != 1:
                raise InputError(f"has {len(found)} nodes of type {kind} ({found}); one was expected")
        waiting = dict.fromkeys(self.nodes)
        while waiting:
            ready = [name for name in waiting if all(source in self.outputs for source in self.sources[name])]
            if not ready:
                raise InputError(
                    f"the nodes {sorted(waiting)} hang on each other or on a loop: recurrent networks are not supported"
                )
            for name in ready:
                del waiting[name]
                self.outputs[name] = self._convert(name)
        return self.done

    def kind(self, name: str) -> str:
        """A node's type."""
        return files.text(self.nodes[name]["type"][()])

    def add(self, operation: graph.Operation) -> str:
        """Append an operation; returns its name."""
        self.done.append(operation)
        self.shapes[operation.name] = graph.output_shape(operation, [self.shapes[name] for name in operation.inputs])
        return operation.name

    def scaled(self, name: str, source: str, factors: Any) -> str:
        """Multiply what ``source`` sends by ``factors``, of its shape; nothing is added where all are 1."""
        gamma = self.per_channel(name, factors, self.shapes[source])
        if (gamma == 1).all():
            return source
        zeros, ones = np.zeros_like(gamma), np.ones_like(gamma)
        return self.add(
            graph.BatchNorm(
                name=name, inputs=(source,), mean=zeros, variance=ones, gamma=gamma, beta=zeros, epsilon=0.0
            )
        )

    def per_channel(self, name: str, values: Any, shape: Shape) -> Array:
        """``(C,)`` of values given for each neuron, which have to agree within a channel."""
        try:
            full: Array = np.broadcast_to(np.asarray(values, np.float64), shape).reshape(shape[0], -1)
        except ValueError as error:
            raise InputError(f"node '{name}': has values of shape {np.shape(values)} for neurons {shape}") from error
        if (full != full[:, :1]).any():
            raise InputError(
                f"node '{name}': its values differ between neurons of one channel; one for each channel is supported"
            )
        return full[:, 0].copy()

    def _convert(self, name: str) -> str:
        kind = self.kind(name)
        if kind not in _RULES:
            raise InputError(
                f"node '{name}' ({kind}) is not supported: {_REASONS.get(kind, 'it has no ANN counterpart')}"
            )
        sources = tuple(self.outputs[source] for source in self.sources[name])
        if kind == "Input":
            if sources:
                raise InputError(f"node '{name}' (Input) is written by {list(sources)}")
            return self.add(graph.Input(name=name, shape=tuple(map(int, self.nodes[name]["shape"][()]))))
        if not sources:
            raise InputError(f"node '{name}' ({kind}) reads nothing")
        # Currents of several edges add up.
        source = sources[0] if len(sources) == 1 else self.add(graph.Add(name=f"{name}.sum", inputs=sources))
        return _RULES[kind](self, name, self.nodes[name], source)


def _conv2d(b: _Import, name: str, node: h5py.Group, source: str) -> str:
    weights = np.asarray(node["weight"][()], np.float64)
    stride, dilation = _pair(node["stride"][()]), _pair(node["dilation"][()])
    stated = node["padding"][()]
    if isinstance(stated, bytes | str):
        padding = (0, 0, 0, 0)
        if files.text(stated) == "same":
            if stride != (1, 1):
                raise InputError(f"node '{name}' (Conv2d): padding 'same' with stride {stride} is not defined")
            rows, columns = (step * (size - 1) for step, size in zip(dilation, weights.shape[2:], strict=True))
            padding = (rows // 2, rows - rows // 2, columns // 2, columns - columns // 2)
    else:
        padding = _padding(stated)
    return b.add(
        graph.Conv(
            name=name,
            inputs=(source,),
            weights=weights,
            bias=np.asarray(node["bias"][()], np.float64) if "bias" in node else None,
            stride=stride,
            padding=padding,
            dilation=dilation,
            groups=int(node["groups"][()]),
        )
    )


def _linear(b: _Import, name: str, node: h5py.Group, source: str) -> str:
    bias = np.asarray(node["bias"][()], np.float64) if "bias" in node else None
    return b.add(
        graph.Dense(name=name, inputs=(source,), weights=np.asarray(node["weight"][()], np.float64), bias=bias)
    )


def _pool(b: _Import, name: str, node: h5py.Group, source: str) -> str:
    kernel = _pair(node["kernel_size"][()])
    pooled = b.add(
        graph.AveragePool(
            name=name,
            inputs=(source,),
            kernel=kernel,
            stride=_pair(node["stride"][()]),
            padding=_padding(node["padding"][()]),
        )
    )
    if b.kind(name) == "AvgPool2d":
        return pooled
    return b.scaled(f"{name}.sum", pooled, float(kernel[0] * kernel[1]))


def _flatten(b: _Import, name: str, node: h5py.Group, source: str) -> str:
    # Exporters differ in whether they count the batch axis: from 0 or from 1 on is everything in either case.
    start, end, axes = int(node["start_dim"][()]), int(node["end_dim"][()]), len(b.shapes[source])
    if start not in (0, 1) or end not in (-1, axes - 1, axes):
        raise InputError(f"node '{name}' (Flatten): flattens axes {start} to {end}; all of them were expected")
    return b.add(graph.Flatten(name=name, inputs=(source,))) if axes == 3 else source


def _integrate_and_fire(b: _Import, name: str, node: h5py.Group, source: str) -> str:
    threshold = np.asarray(node["v_threshold"][()], np.float64)
    height = threshold - (node["v_reset"][()] if "v_reset" in node else 0.0)
    if not (np.isfinite(height) & (height > 0)).all():
        raise InputError(f"node '{name}' (IF): v_threshold - v_reset is {np.min(height):g}; it must be above 0")
    scaled = b.scaled(f"{name}.gain", source, node["r"][()] / height)
    return b.add(graph.ReLU(name=name, inputs=(scaled,), bound=np.array(1.0)))


def _integrator(b: _Import, name: str, node: h5py.Group, source: str) -> str:
    if any(b.kind(target) != "Output" for target in b.targets[name]):
        raise InputError(f"node '{name}' (I) integrates without firing; that is supported in front of the output only")
    return b.scaled(name, source, node["r"][()])


def _scale(b: _Import, name: str, node: h5py.Group, source: str) -> str:
    return b.scaled(name, source, node["scale"][()])


def _nothing(b: _Import, name: str, node: h5py.Group, source: str) -> str:
    return source


_Rule: TypeAlias = Callable[[_Import, str, h5py.Group, str], str]

_RULES: dict[str, _Rule] = {
    "Input": _nothing,
    "Output": _nothing,
    "Conv2d": _conv2d,
    "Linear": _linear,
    "Affine": _linear,
    "AvgPool2d": _pool,
    "SumPool2d": _pool,
    "Flatten": _flatten,
    "IF": _integrate_and_fire,
    "I": _integrator,
    "Scale": _scale,
}
_LEAK = "its membrane leaks, so its rate depends on when spikes come; use IF neurons"
_REASONS = {
    "LIF": _LEAK,
    "LI": _LEAK,
    "CubaLIF": _LEAK,
    "CubaLI": _LEAK,
    "Delay": "the rates of an ANN know no time; build the network without delays",
    "Threshold": "it fires without a membrane; use IF neurons",
    "Conv1d": "networks on images (Conv2d) and features (Linear) are supported",
    "NIRGraph": "write the nodes of the inner graph into the outer one",
}


def _pair(value: Any) -> Pair:
    height, width = np.broadcast_to(np.asarray(value), 2)
    return int(height), int(width)


def _padding(value: Any) -> tuple[int, int, int, int]:
    height, width = _pair(value)
    return height, height, width, width
