"""What each PyTorch layer, function and method of a trace does at inference, in the operations of ``refsnn.ann.graph``.

One without a counterpart is refused by its node's name.
"""

from __future__ import annotations

import operator
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor, fx, nn
from torch.nn import functional

from refsnn.ann import graph
from refsnn.errors import InputError
from tools import activations

BATCH = 3
"""Images that the shapes in a trace were propagated with."""


class Translation:
    """Walks the trace once. The handlers of functions have the parameters of PyTorch's own, so Python binds them."""

    def __init__(self, trace: fx.GraphModule) -> None:
        self.operations: tuple[graph.Operation, ...] = ()
        self._names: dict[fx.Node, str] = {}
        for node in trace.graph.nodes:
            if node.op == "output":
                if not isinstance(node.args[0], fx.Node):
                    raise _refuse(node, "returns several values; networks with one output are supported")
            elif "shape" in node.meta:  # else a size, which the shapes of the tensors tell as well
                self._translate(node, trace)

    def _translate(self, node: fx.Node, trace: fx.GraphModule) -> None:
        what: Any = node.target
        if node.op == "placeholder":
            self._emit(node, graph.Input, (), shape=_shape(node))
        elif node.op == "call_module":
            module = trace.get_submodule(str(node.target))
            handler = next((MODULES[kind] for kind in type(module).__mro__ if kind in MODULES), None)
            if handler is None:
                raise _refuse(node, f"{type(module).__name__} is not supported")
            handler(self, node, node.args[0], module)
        elif node.op == "call_function" and what in FUNCTIONS:
            FUNCTIONS[what](self, node, *node.args, **node.kwargs)
        elif node.op == "call_method" and what in METHODS:
            METHODS[what](self, node, *node.args, **node.kwargs)
        else:
            raise _refuse(node, f"{node.op.replace('_', ' ')} {getattr(what, '__name__', what)} is not supported")

    def _emit(self, node: fx.Node, kind: type[graph.Operation], sources: Sequence[Any], **fields: Any) -> None:
        """Append an operation; a node that takes several keeps the name of the last."""
        inputs = []
        for source in sources:
            if not isinstance(source, fx.Node):
                raise _refuse(node, f"the constant {source!r} as an operand is not supported")
            inputs.append(self._names[source])
        taken = {operation.name for operation in self.operations}
        name = str(node.target) if node.op == "call_module" else node.name
        while name in taken:
            name += "_"
        self.operations = (*self.operations, kind(name=name, inputs=tuple(inputs), **fields))
        self._names[node] = name

    def _same(self, node: fx.Node, x: fx.Node, *_: Any, **__: Any) -> None:
        self._names[node] = self._names[x]

    def _conv(self, node: fx.Node, x: fx.Node, module: nn.Conv2d) -> None:
        if module.padding_mode != "zeros":
            raise _refuse(node, f"padding mode '{module.padding_mode}' is not supported, 'zeros' is")
        if module.padding == "same":
            totals = [d * (k - 1) for d, k in zip(module.dilation, module.kernel_size, strict=True)]
            padding = tuple(side for total in totals for side in (total // 2, total - total // 2))
        else:
            padding = _sides((0, 0) if module.padding == "valid" else module.padding)
        self._emit(
            node,
            graph.Conv,
            (x,),
            weights=_array(module.weight),
            bias=_array(module.bias),
            stride=_pair(module.stride),
            padding=padding,
            dilation=_pair(module.dilation),
            groups=module.groups,
        )

    def _linear(self, node: fx.Node, x: fx.Node, module: nn.Linear) -> None:
        self._emit(node, graph.Dense, (x,), weights=_array(module.weight), bias=_array(module.bias))

    def _batch_norm(self, node: fx.Node, x: fx.Node, module: nn.BatchNorm2d) -> None:
        if module.running_mean is None or module.running_var is None:
            raise _refuse(
                node, "batch norm without running statistics is not supported: it mixes the images of a batch"
            )
        channels = module.num_features
        self._emit(
            node,
            graph.BatchNorm,
            (x,),
            mean=_array(module.running_mean),
            variance=_array(module.running_var),
            gamma=_array(module.weight) if module.affine else np.ones(channels),
            beta=_array(module.bias) if module.affine else np.zeros(channels),
            epsilon=module.eps,
        )

    def _qcfs(self, node: fx.Node, x: fx.Node, module: activations.QCFS) -> None:
        self._emit(node, graph.ReLU, (x,), bound=_array(module.bound), levels=module.levels)

    def _learned_clip(self, node: fx.Node, x: fx.Node, module: activations.Clip) -> None:
        self._emit(node, graph.ReLU, (x,), bound=_array(module.bound))

    def _relu(self, node: fx.Node, input: fx.Node, inplace: bool = False) -> None:
        self._emit(node, graph.ReLU, (input,))

    def _relu6(self, node: fx.Node, input: fx.Node, inplace: bool = False) -> None:
        self._clamp(node, input, 0, 6)

    def _hardtanh(
        self, node: fx.Node, input: fx.Node, min_val: float = -1, max_val: float = 1, inplace: bool = False
    ) -> None:
        self._clamp(node, input, min_val, max_val)

    def _clamp(self, node: fx.Node, input: fx.Node, min: Any = None, max: Any = None) -> None:
        if min != 0 or isinstance(max, fx.Node):
            raise _refuse(node, f"a clip from {min} to {max} is not supported; from 0 to a number is")
        self._emit(node, graph.ReLU, (input,), maximum=None if max is None else float(max))

    def _max_pool(
        self,
        node: fx.Node,
        input: fx.Node,
        kernel_size: Any,
        stride: Any = None,
        padding: Any = 0,
        dilation: Any = 1,
        ceil_mode: bool = False,
        return_indices: bool = False,
    ) -> None:
        if ceil_mode or return_indices or _pair(dilation) != (1, 1):
            raise _refuse(node, "maximum pooling with ceil_mode, indices or dilation is not supported")
        kernel = _pair(kernel_size)
        stride = _pair(stride) if stride else kernel
        self._emit(node, graph.MaxPool, (input,), kernel=kernel, stride=stride, padding=_sides(padding))

    def _average_pool(
        self,
        node: fx.Node,
        input: fx.Node,
        kernel_size: Any,
        stride: Any = None,
        padding: Any = 0,
        ceil_mode: bool = False,
        count_include_pad: bool = True,
        divisor_override: int | None = None,
    ) -> None:
        if ceil_mode or divisor_override is not None:
            raise _refuse(node, "average pooling with ceil_mode or divisor_override is not supported")
        kernel = _pair(kernel_size)
        self._emit(
            node,
            graph.AveragePool,
            (input,),
            kernel=kernel,
            stride=_pair(stride) if stride else kernel,
            padding=_sides(padding),
            count_padding=count_include_pad,
        )

    def _adaptive_average_pool(self, node: fx.Node, input: fx.Node, output_size: Any) -> None:
        size, wanted = _shape(input)[1:], _shape(node)[1:]
        if any(large % small for large, small in zip(size, wanted, strict=True)):
            raise _refuse(node, f"adaptive pooling from {size} to {wanted} has windows of several sizes: not supported")
        kernel = (size[0] // wanted[0], size[1] // wanted[1])
        self._emit(node, graph.AveragePool, (input,), kernel=kernel, stride=kernel)

    def _mean(self, node: fx.Node, input: fx.Node, dim: Any = None, keepdim: bool = False, **_: Any) -> None:
        shape = _shape(input)
        axes = {axis % (len(shape) + 1) for axis in dim} if isinstance(dim, list | tuple) else set()
        if len(shape) != 3 or axes != {2, 3}:
            raise _refuse(node, f"a mean over {dim} is not supported; over the two axes of a map (2, 3) is")
        size = (shape[1], shape[2])
        self._emit(node, graph.AveragePool, (input,), kernel=size, stride=size)
        if not keepdim:
            self._emit(node, graph.Flatten, (node,))

    def _reshape(self, node: fx.Node, input: fx.Node, *_: Any, **__: Any) -> None:
        shape = _shape(node)
        if shape == _shape(input):
            self._same(node, input)
        elif len(shape) == 1:
            self._emit(node, graph.Flatten, (input,))
        else:
            self._emit(node, graph.Reshape, (input,), shape=shape)

    def _add(self, node: fx.Node, input: Any, other: Any, *, alpha: float = 1) -> None:
        if alpha != 1:
            raise _refuse(node, f"a sum with the factor alpha = {alpha} is not supported")
        self._emit(node, graph.Add, (input, other))

    def _concatenate(self, node: fx.Node, tensors: Sequence[fx.Node], dim: int = 0) -> None:
        if dim % (len(_shape(node)) + 1) != 1:
            raise _refuse(node, f"concatenation along axis {dim} is not supported; along the channels, axis 1, is")
        self._emit(node, graph.Concatenate, tensors)

    def _pad(self, node: fx.Node, input: fx.Node, pad: Any, mode: str = "constant", value: float | None = None) -> None:
        sides = [*pad, 0, 0, 0, 0][: max(len(pad), 6)]
        if mode != "constant" or value not in (None, 0) or min(sides) < 0 or len(sides) != 6:
            raise _refuse(
                node, f"padding by {tuple(pad)} in mode '{mode}' with {value} is not supported; with zeros is"
            )
        left, right, top, bottom, before, after = sides
        source = input
        if any(sides[:4]):
            self._emit(node, graph.Pad, (source,), padding=(top, bottom, left, right))
            source = node
        if before or after:
            self._emit(node, graph.PadChannels, (source,), before=before, after=after)
            source = node
        if source is input:
            self._same(node, input)

    def _stride(self, node: fx.Node, x: fx.Node, index: Any) -> None:
        """``x[:, :, ::s, ::s]``, the parameter-free shortcut of CIFAR ResNets."""
        parts = index if isinstance(index, tuple) else (index,)
        plain = all(isinstance(part, slice) and part.start is None and part.stop is None for part in parts)
        steps = [part.step or 1 for part in parts] if plain else []
        if len(steps) != 4 or steps[:2] != [1, 1] or len(_shape(x)) != 3:
            raise _refuse(node, f"the index {index} is not supported; [:, :, ::s, ::s] is")
        self._emit(node, graph.AveragePool, (x,), kernel=(1, 1), stride=(steps[2], steps[3]))

    def _softmax(self, node: fx.Node, input: fx.Node, dim: int | None = None, **_: Any) -> None:
        if dim is None or dim % (len(_shape(input)) + 1) != 1:
            raise _refuse(node, f"softmax along axis {dim} is not supported; along the channels, dim=1, is")
        self._emit(node, graph.Softmax, (input,))

    def _sigmoid(self, node: fx.Node, input: fx.Node) -> None:
        self._emit(node, graph.Sigmoid, (input,))


def _refuse(node: fx.Node, message: str) -> InputError:
    target = f" ('{node.target}')" if node.op == "call_module" and node.target != node.name else ""
    return InputError(f"layer '{node.name}'{target}: {message}")


def _shape(node: fx.Node) -> tuple[int, ...]:
    batch, *shape = node.meta["shape"]
    if batch != BATCH:
        raise _refuse(node, "changes the batch axis, which is not supported")
    return tuple(int(size) for size in shape)


def _array(tensor: Tensor | None) -> np.ndarray | None:
    return None if tensor is None else tensor.detach().numpy().copy()


def _pair(value: Any) -> tuple[int, int]:
    if isinstance(value, int):
        return value, value
    height, width = value if len(value) == 2 else (value[0], value[0])
    return int(height), int(width)


def _sides(padding: Any) -> tuple[int, int, int, int]:
    height, width = _pair(padding)
    return height, height, width, width


def _by_attributes(handler: Callable[..., None], *attributes: str) -> Callable[..., None]:
    """A module's handler out of its function's: the function's arguments are the module's attributes."""

    def handle(translation: Translation, node: fx.Node, x: fx.Node, module: nn.Module) -> None:
        handler(translation, node, x, **{name: getattr(module, name) for name in attributes})

    return handle


POOL = ("kernel_size", "stride", "padding", "ceil_mode")
MODULES: dict[type[nn.Module], Callable[..., None]] = {
    nn.Conv2d: Translation._conv,
    nn.Linear: Translation._linear,
    nn.BatchNorm1d: Translation._batch_norm,
    nn.BatchNorm2d: Translation._batch_norm,
    activations.QCFS: Translation._qcfs,
    activations.Clip: Translation._learned_clip,
    nn.ReLU: _by_attributes(Translation._relu),
    nn.Hardtanh: _by_attributes(Translation._hardtanh, "min_val", "max_val"),  # ReLU6 is one
    nn.MaxPool2d: _by_attributes(Translation._max_pool, *POOL, "dilation", "return_indices"),
    nn.AvgPool2d: _by_attributes(Translation._average_pool, *POOL, "count_include_pad", "divisor_override"),
    nn.AdaptiveAvgPool2d: _by_attributes(Translation._adaptive_average_pool, "output_size"),
    nn.Flatten: _by_attributes(Translation._reshape),
    nn.Unflatten: _by_attributes(Translation._reshape),
    nn.ZeroPad2d: lambda translation, node, x, module: translation._pad(node, x, module.padding),
    nn.Dropout: _by_attributes(Translation._same),
    nn.Dropout2d: _by_attributes(Translation._same),
    nn.Identity: _by_attributes(Translation._same),
    nn.Softmax: _by_attributes(Translation._softmax, "dim"),
    nn.Sigmoid: _by_attributes(Translation._sigmoid),
}
FUNCTIONS: dict[Callable[..., Any], Callable[..., None]] = {
    functional.relu: Translation._relu,
    torch.relu: Translation._relu,
    functional.relu6: Translation._relu6,
    functional.hardtanh: Translation._hardtanh,
    torch.clamp: Translation._clamp,
    torch.clip: Translation._clamp,
    functional.max_pool2d: Translation._max_pool,
    torch.max_pool2d: Translation._max_pool,
    functional.avg_pool2d: Translation._average_pool,
    functional.adaptive_avg_pool2d: Translation._adaptive_average_pool,
    torch.mean: Translation._mean,
    torch.flatten: Translation._reshape,
    torch.reshape: Translation._reshape,
    operator.add: Translation._add,
    operator.iadd: Translation._add,
    torch.add: Translation._add,
    torch.cat: Translation._concatenate,
    torch.concat: Translation._concatenate,
    functional.pad: Translation._pad,
    operator.getitem: Translation._stride,
    functional.dropout: Translation._same,
    functional.softmax: Translation._softmax,
    torch.softmax: Translation._softmax,
    torch.sigmoid: Translation._sigmoid,
    functional.sigmoid: Translation._sigmoid,
}
METHODS: dict[str, Callable[..., None]] = {
    "relu": Translation._relu,
    "clamp": Translation._clamp,
    "clip": Translation._clamp,
    "mean": Translation._mean,
    "flatten": Translation._reshape,
    "view": Translation._reshape,
    "reshape": Translation._reshape,
    "squeeze": Translation._reshape,
    "add": Translation._add,
    "add_": Translation._add,
    "contiguous": Translation._same,
    "softmax": Translation._softmax,
    "sigmoid": Translation._sigmoid,
}
