"""What each ONNX operator does at inference, in the operations of ``refsnn.ann.graph``.

Source: the operators' definitions (https://onnx.ai/onnx/operators), all versions since 7. One without a counterpart is
refused by its name and its node's.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from refsnn.ann import graph
from refsnn.errors import InputError
from refsnn.geometry import NO_PADDING, Padding, Pair, Shape

Array: TypeAlias = NDArray[Any]


@dataclass(frozen=True)
class Node:
    """One node of the file; ``proto`` is ONNX's own."""

    kind: str
    name: str
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    attributes: dict[str, Any]
    proto: Any = None

    def get(self, key: str, default: Any) -> Any:
        """An attribute."""
        return self.attributes.get(key, default)

    def refuse(self, message: str) -> InputError:
        """The error that names this node."""
        return InputError(f"node '{self.name}' ({self.kind}): {message}")


class Translation:
    """Turns nodes into operations, one after the other.

    Attributes:
        constants: values by their tensors' names: what depends on no image.
        operations: so far.

    Args:
        image, shape: name of the input and shape of an image; batch: how many.
        readers: how many nodes read each tensor.
        learned_bounds: the maxima of clips are learned thresholds.
    """

    def __init__(
        self,
        image: str,
        shape: Shape,
        batch: int,
        constants: dict[str, Array],
        readers: Counter[str],
        learned_bounds: bool,
    ) -> None:
        self.constants = constants
        self.operations: list[graph.Operation] = []
        self._batch = batch
        self._readers = readers
        self._learned = learned_bounds
        self._shapes: dict[str, Shape] = {}
        self._names: dict[str, str] = {}  # of operations, by tensors
        self._add(graph.Input(name=image, shape=shape), image)

    def translate(self, node: Node) -> None:
        """Append what a node does.

        Raises:
            InputError: it has no counterpart; the message names it.
        """
        handler = OPERATORS.get(node.kind)
        if handler is None:
            raise node.refuse("this operator cannot be converted; docs/formats.md lists those that can")
        handler(self, node)

    def finished(self, output: str) -> tuple[graph.Operation, ...]:
        """All operations of a network with this output."""
        if output not in self._names:
            raise InputError(f"the output '{output}' does not depend on the image")
        return tuple(self.operations)

    def _add(self, operation: graph.Operation, tensor: str) -> None:
        self._shapes[operation.name] = graph.output_shape(operation, [self._shapes[name] for name in operation.inputs])
        self.operations.append(operation)
        self._names[tensor] = operation.name

    def _emit(self, node: Node, kind: type[graph.Operation], *sources: str, **fields: Any) -> None:
        name = node.name
        while name in self._shapes:
            name += "_"
        self._add(kind(name=name, inputs=sources, **fields), node.outputs[0])

    def _same(self, node: Node) -> None:
        self._names[node.outputs[0]] = self._source(node)

    def _source(self, node: Node, index: int = 0) -> str:
        """The operation that an input comes from."""
        tensor = node.inputs[index] if index < len(node.inputs) else ""
        if tensor not in self._names:
            raise node.refuse(f"its input {index}, '{tensor}', should depend on the image, and does not")
        return self._names[tensor]

    def _value(self, node: Node, index: int, default: Any = None) -> Any:
        """An input that must be constant."""
        tensor = node.inputs[index] if index < len(node.inputs) else ""
        if not tensor:
            return default
        if tensor not in self.constants:
            raise node.refuse(f"its input {index}, '{tensor}', depends on the image; a constant is supported there")
        return self.constants[tensor]

    def _option(self, node: Node, key: str, index: int, default: Any = None) -> Any:
        """What used to be an attribute and became an input."""
        return node.attributes[key] if key in node.attributes else self._value(node, index, default)

    def _map(self, node: Node) -> tuple[str, Shape]:
        """The operation that is read, and its shape, which must be a map's."""
        source = self._source(node)
        if len(self._shapes[source]) != 3:
            raise node.refuse(f"reads features of shape {self._shapes[source]}; a map (C, H, W) was expected")
        return source, self._shapes[source]

    def _shape(self, node: Node) -> None:
        shape = (self._batch, *self._shapes[self._source(node)])
        self.constants[node.outputs[0]] = np.array(shape[node.get("start", 0) : node.get("end", len(shape))], np.int64)

    def _conv(self, node: Node) -> None:
        source, shape = self._map(node)
        weights, bias = self._value(node, 1), self._value(node, 2)
        if weights.ndim != 4:
            raise node.refuse(f"its weights have the shape {weights.shape}; convolutions of maps are supported")
        stride, dilation = _pair(node, "strides"), _pair(node, "dilations")
        self._emit(
            node,
            graph.Conv,
            source,
            weights=weights.astype(np.float64),
            bias=None if bias is None else bias.astype(np.float64),
            stride=stride,
            padding=_padding(node, shape, (weights.shape[2], weights.shape[3]), stride, dilation),
            dilation=dilation,
            groups=node.get("group", 1),
        )

    def _gemm(self, node: Node) -> None:
        if node.get("transA", 0):
            raise node.refuse("transA is not supported")
        weights = self._value(node, 1).astype(np.float64) * node.get("alpha", 1.0)
        weights = weights if node.get("transB", 0) else weights.T
        bias = self._value(node, 2)
        if bias is not None:
            bias = np.broadcast_to(bias, (1, len(weights)))[0] * node.get("beta", 1.0)
        self._emit(node, graph.Dense, self._source(node), weights=weights, bias=bias)

    def _matmul(self, node: Node) -> None:
        weights = self._value(node, 1)
        if weights.ndim != 2:
            raise node.refuse(f"its matrix has the shape {weights.shape}; two axes were expected")
        self._emit(node, graph.Dense, self._source(node), weights=weights.T.astype(np.float64))

    def _batch_norm(self, node: Node) -> None:
        if node.get("training_mode", 0):
            raise node.refuse("is in training mode; export the network in evaluation mode")
        names = ("gamma", "beta", "mean", "variance")
        values = {name: self._value(node, index).astype(np.float64) for index, name in enumerate(names, start=1)}
        self._emit(node, graph.BatchNorm, self._source(node), epsilon=node.get("epsilon", 1e-5), **values)

    def _sum(self, node: Node) -> None:
        if all(name in self._names for name in node.inputs):
            self._emit(node, graph.Add, *(self._names[name] for name in node.inputs))
        elif len(node.inputs) == 2:
            image, constant = (0, 1) if node.inputs[0] in self._names else (1, 0)
            self._affine(node, image, np.array(1.0), self._value(node, constant))
        else:
            raise node.refuse("constants among more than two terms are not supported")

    def _subtract(self, node: Node) -> None:
        self._affine(node, 0, np.array(1.0), -self._value(node, 1))

    def _multiply(self, node: Node) -> None:
        image, constant = (0, 1) if node.inputs[0] in self._names else (1, 0)
        self._affine(node, image, self._value(node, constant), np.array(0.0))

    def _divide(self, node: Node) -> None:
        self._affine(node, 0, 1 / self._value(node, 1).astype(np.float64), np.array(0.0))

    def _affine(self, node: Node, image: int, scale: Array, shift: Array) -> None:
        """``scale x + shift``, one or one a channel: a batch norm."""
        source = self._source(node, image)
        shape = self._shapes[source]

        def per_channel(value: Array) -> Array:
            value = value.reshape((1,) * (len(shape) + 1 - value.ndim) + value.shape).astype(np.float64)
            if value.ndim > len(shape) + 1 or value.size not in (1, value.shape[1]):
                raise node.refuse(f"a constant of shape {value.shape} is not supported; one number a channel is")
            return np.broadcast_to(value.reshape(-1), shape[:1]).copy()

        ones, zeros = np.ones(shape[0]), np.zeros(shape[0])
        gamma, beta = per_channel(scale), per_channel(shift)
        self._emit(node, graph.BatchNorm, source, mean=zeros, variance=ones, gamma=gamma, beta=beta, epsilon=0.0)

    def _relu(self, node: Node) -> None:
        self._rectify(node, None)

    def _clip(self, node: Node) -> None:
        low, high = self._option(node, "min", 1), self._option(node, "max", 2)
        if low is None or float(low) != 0:
            raise node.refuse(f"a clip from {low} is not supported; from 0 is")
        self._rectify(node, high)

    def _minimum(self, node: Node) -> None:
        """``min(relu(x), bound)``: how a learned clip leaves PyTorch."""
        image, constant = (0, 1) if node.inputs[0] in self._names else (1, 0)
        rectified = isinstance(self._operation(self._source(node, image)), graph.ReLU)
        if len(node.inputs) != 2 or not rectified:
            raise node.refuse("a minimum is supported of a ReLU and a constant")
        self._rectify(node, self._value(node, constant), image)

    def _rectify(self, node: Node, maximum: Any, image: int = 0) -> None:
        """A ReLU with a maximum; takes the place of a ReLU that it alone reads."""
        source = self._source(node, image)
        fields: dict[str, Any] = {}
        if maximum is not None and np.size(maximum) != 1:
            raise node.refuse(f"{np.size(maximum)} maxima are not supported; one is")
        if maximum is not None and float(np.max(maximum)) < np.finfo(np.float32).max:
            value = float(np.max(maximum))
            fields = {"bound": np.array(value)} if self._learned else {"maximum": value}
        before = self.operations[-1]
        tensors = [tensor for tensor, name in self._names.items() if name == source]
        alone = sum(self._readers[tensor] for tensor in tensors) == 1
        plain = isinstance(before, graph.ReLU) and before.maximum is None and before.bound is None
        if plain and before.name == source and alone:
            self.operations.pop()
            self._add(replace(before, **fields), node.outputs[0])
        else:
            self._emit(node, graph.ReLU, source, **fields)

    def _operation(self, name: str) -> graph.Operation:
        return next(each for each in self.operations if each.name == name)

    def _max_pool(self, node: Node) -> None:
        if any(self._readers[name] for name in node.outputs[1:]):
            raise node.refuse("its indices are not supported")
        self._pool(node, graph.MaxPool)

    def _average_pool(self, node: Node) -> None:
        self._pool(node, graph.AveragePool, count_padding=bool(node.get("count_include_pad", 0)))

    def _pool(self, node: Node, kind: type[graph.Operation], **fields: Any) -> None:
        source, shape = self._map(node)
        if _pair(node, "dilations") != (1, 1):
            raise node.refuse("dilation is not supported")
        kernel, stride = _pair(node, "kernel_shape"), _pair(node, "strides")
        padding = _padding(node, shape, kernel, stride, (1, 1))
        if node.get("ceil_mode", 0) and any(
            _hangs_over(shape[1 + axis], kernel[axis], stride[axis], *padding[2 * axis : 2 * axis + 2])
            for axis in (0, 1)
        ):
            raise node.refuse("ceil_mode is not supported where windows hang over the edge")
        self._emit(node, kind, source, kernel=kernel, stride=stride, padding=padding, **fields)

    def _global_max_pool(self, node: Node) -> None:
        source, shape = self._map(node)
        self._emit(node, graph.MaxPool, source, kernel=shape[1:], stride=shape[1:])

    def _global_average_pool(self, node: Node) -> None:
        source, shape = self._map(node)
        self._emit(node, graph.AveragePool, source, kernel=shape[1:], stride=shape[1:])

    def _mean(self, node: Node) -> None:
        source, shape = self._map(node)
        axes = self._option(node, "axes", 1)
        found = set() if axes is None else {int(axis) % 4 for axis in axes}
        if found != {2, 3}:
            raise node.refuse(
                f"a mean over the axes {sorted(found) or 'all'} is not supported; over height and width is"
            )
        self._emit(node, graph.AveragePool, source, kernel=shape[1:], stride=shape[1:])
        if not node.get("keepdims", 1):
            self._emit(node, graph.Flatten, self._names[node.outputs[0]])

    def _flatten(self, node: Node) -> None:
        shape = self._shapes[self._source(node)]
        if node.get("axis", 1) % (len(shape) + 1) != 1:
            raise node.refuse(f"flattening from axis {node.get('axis', 1)} is not supported; from axis 1 is")
        self._to_shape(node, (self._batch, int(np.prod(shape))))

    def _reshape(self, node: Node) -> None:
        shape = (self._batch, *self._shapes[self._source(node)])
        target = [int(size) for size in self._value(node, 1)]
        if not node.get("allowzero", 0):
            target = [size or shape[axis] for axis, size in enumerate(target)]
        try:
            self._to_shape(node, np.broadcast_to(np.False_, shape).reshape(target).shape)
        except (ValueError, IndexError) as error:
            if isinstance(error, InputError):
                raise
            raise node.refuse(f"{shape} cannot be reshaped to {target}") from error

    def _squeeze(self, node: Node) -> None:
        shape = (self._batch, *self._shapes[self._source(node)])
        axes = self._option(node, "axes", 1)
        chosen = range(1, len(shape)) if axes is None else [int(axis) % len(shape) for axis in axes]
        self._to_shape(node, tuple(size for axis, size in enumerate(shape) if axis not in chosen or size != 1))

    def _to_shape(self, node: Node, shape: Shape) -> None:
        source = self._source(node)
        if shape[0] != self._batch or len(shape) not in (2, 4):
            raise node.refuse(f"a shape of {shape} is not supported; the first axis must stay that of the images")
        if shape[1:] == self._shapes[source]:
            self._same(node)
        elif len(shape) == 2:
            self._emit(node, graph.Flatten, source)
        else:
            self._emit(node, graph.Reshape, source, shape=shape[1:])

    def _concatenate(self, node: Node) -> None:
        sources = [self._source(node, index) for index in range(len(node.inputs))]
        if node.attributes["axis"] % (len(self._shapes[sources[0]]) + 1) != 1:
            raise node.refuse(f"along axis {node.attributes['axis']} is not supported; along the channels, axis 1, is")
        self._emit(node, graph.Concatenate, *sources)

    def _pad(self, node: Node) -> None:
        source, _ = self._map(node)
        pads = [int(size) for size in self._option(node, "pads", 1)]
        value = float(node.get("value", 0) if "value" in node.attributes else self._value(node, 2, 0))
        mode = node.get("mode", "constant")
        if mode != "constant" or value != 0 or len(pads) != 8 or min(pads) < 0 or pads[0] or pads[4]:
            raise node.refuse(f"padding by {pads} in mode '{mode}' with {value:g} is not supported; with zeros is")
        before, top, left, after, bottom, right = (*pads[1:4], *pads[5:])
        if before or after:
            self._emit(node, graph.PadChannels, source, before=before, after=after)
            source = self._names[node.outputs[0]]
        if top or left or bottom or right or not (before or after):
            self._emit(node, graph.Pad, source, padding=(top, bottom, left, right))

    def _slice(self, node: Node) -> None:
        """``x[:, :, ::s, ::s]``, the parameter-free shortcut of CIFAR ResNets."""
        source, shape = self._map(node)
        starts, ends = (list(self._option(node, key, index)) for key, index in (("starts", 1), ("ends", 2)))
        axes = list(self._option(node, "axes", 3, range(len(starts))))
        steps = list(self._value(node, 4, [1] * len(starts)))
        stride, sizes = [1, 1, 1, 1], (self._batch, *shape)
        for start, end, axis, step in zip(starts, ends, axes, steps, strict=True):
            if start != 0 or end < sizes[axis] or step < 1 or (step > 1 and axis % 4 < 2):
                raise node.refuse("a slice is supported where it takes every s-th row and column from 0 on")
            stride[axis] = int(step)
        if stride == [1, 1, 1, 1]:
            self._same(node)
        else:
            self._emit(node, graph.AveragePool, source, kernel=(1, 1), stride=(stride[2], stride[3]))

    def _softmax(self, node: Node) -> None:
        source = self._source(node)
        axes = len(self._shapes[source]) + 1
        if node.get("axis", axes - 1) % axes != 1:
            raise node.refuse(f"along axis {node.get('axis', -1)} is not supported; along the channels, axis 1, is")
        self._emit(node, graph.Softmax, source)

    def _sigmoid(self, node: Node) -> None:
        self._emit(node, graph.Sigmoid, self._source(node))


def _pair(node: Node, key: str) -> Pair:
    value = node.get(key, (1, 1))
    if len(value) != 2:
        raise node.refuse(f"{key} has {len(value)} numbers; two, of height and width, were expected")
    return int(value[0]), int(value[1])


def _hangs_over(size: int, kernel: int, stride: int, before: int, after: int) -> bool:
    """Whether ceil_mode adds a window: one that begins inside the map and ends behind it."""
    whole = (size + before + after - kernel) // stride + 1
    return whole * stride + kernel > size + before + after and whole * stride < size + before


def _padding(node: Node, shape: Shape, kernel: Pair, stride: Pair, dilation: Pair) -> Padding:
    automatic = node.get("auto_pad", "NOTSET")
    if automatic == "VALID":
        return NO_PADDING
    if automatic == "NOTSET":
        top, left, bottom, right = (int(size) for size in node.get("pads", (0, 0, 0, 0)))
        return top, bottom, left, right
    sides: list[int] = []
    for axis in (0, 1):
        outputs = -(-shape[1 + axis] // stride[axis])
        total = max(0, (outputs - 1) * stride[axis] + (kernel[axis] - 1) * dilation[axis] + 1 - shape[1 + axis])
        before = (total + (automatic == "SAME_LOWER")) // 2
        sides += [before, total - before]
    return sides[0], sides[1], sides[2], sides[3]


OPERATORS: dict[str, Callable[[Translation, Node], None]] = {
    "Add": Translation._sum,
    "AveragePool": Translation._average_pool,
    "BatchNormalization": Translation._batch_norm,
    "Clip": Translation._clip,
    "Concat": Translation._concatenate,
    "Conv": Translation._conv,
    "Div": Translation._divide,
    "Dropout": Translation._same,
    "Flatten": Translation._flatten,
    "Gemm": Translation._gemm,
    "GlobalAveragePool": Translation._global_average_pool,
    "GlobalMaxPool": Translation._global_max_pool,
    "Identity": Translation._same,
    "MatMul": Translation._matmul,
    "MaxPool": Translation._max_pool,
    "Min": Translation._minimum,
    "Mul": Translation._multiply,
    "Pad": Translation._pad,
    "ReduceMean": Translation._mean,
    "Relu": Translation._relu,
    "Reshape": Translation._reshape,
    "Shape": Translation._shape,
    "Sigmoid": Translation._sigmoid,
    "Slice": Translation._slice,
    "Softmax": Translation._softmax,
    "Squeeze": Translation._squeeze,
    "Sub": Translation._subtract,
    "Sum": Translation._sum,
}
