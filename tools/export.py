"""From PyTorch to the project's own ANN file: any module that ``torch.fx`` can trace, and the zoo's state dicts.

``python -m tools.export --network resnet8 --state-dict F --shape 1,28,28 --classes 10 --out weights.h5``

For a module of your own, in Python: ``refsnn.ann.project.write(path, export(module, shape), writer="me")``.
Layers come out as they are (convolution, batch norm, activation); folding is the conversion's business.
"""

from __future__ import annotations

import copy
import operator
import pickle
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import torch
import typer
from torch import Tensor, fx, nn
from torch.nn import functional

from refsnn.ann import graph, project
from refsnn.ann.forward import forward
from refsnn.ann.graph import Graph, Preprocessing
from refsnn.errors import InputError
from tools import activations, networks

BATCH = 3
"""Images that the shapes are propagated with, and the finished graph is compared on."""
TOLERANCE = 1e-6
"""Of the largest output: float64 in another order of additions, through networks of any depth."""


def export(module: nn.Module, shape: tuple[int, ...], preprocessing: Preprocessing | None = None) -> Graph:
    """A module in evaluation mode as a graph, compared with the module on random images before it is returned.

    Args:
        module: reads one batch ``(N, *shape)`` and returns one tensor. It is left as it was.
        shape: ``(C, H, W)`` or ``(C,)``.
        preprocessing: what the graph shall say of its images.

    Raises:
        InputError: ``torch.fx`` cannot trace the module, a layer or function has no counterpart in the graph (the
            message names its node), or the graph computes something else than the module.
    """
    module = copy.deepcopy(module).cpu().double().eval()
    x = torch.randn((BATCH, *shape), generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    try:
        expected = module(x)
        trace = fx.GraphModule(module, _Tracer().trace(module))
        _Shapes(trace).run(x)
    except Exception as error:  # the module's own code runs here, and may raise anything
        raise InputError(f"torch.fx cannot trace {type(module).__name__} on images of {shape}: {error}") from error
    result = Graph(operations=_Translation(trace).operations, preprocessing=preprocessing)
    outputs: list[np.ndarray] = []
    forward(result, x.numpy(), lambda operation, output: outputs.append(output.copy()))
    worst = np.abs(outputs[-1] - expected.detach().numpy()).max() / max(1.0, expected.abs().max().item())
    if not worst <= TOLERANCE:
        raise InputError(
            f"the exported graph differs from the module by {worst:g} of its largest output: the module does something "
            "that its trace does not show, such as a branch on its input"
        )
    return result


class _Tracer(fx.Tracer):
    def is_leaf_module(self, m: nn.Module, module_qualified_name: str) -> bool:
        leaf: bool = super().is_leaf_module(m, module_qualified_name)
        return leaf or isinstance(m, activations.QCFS | activations.Clip)


class _Shapes(fx.Interpreter):
    """Runs the trace and notes the shape of every tensor in ``node.meta``."""

    def run_node(self, n: fx.Node) -> Any:
        result = super().run_node(n)
        if isinstance(result, Tensor):
            n.meta["shape"] = tuple(result.shape)
        return result


class _Translation:
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

    def handle(translation: _Translation, node: fx.Node, x: fx.Node, module: nn.Module) -> None:
        handler(translation, node, x, **{name: getattr(module, name) for name in attributes})

    return handle


POOL = ("kernel_size", "stride", "padding", "ceil_mode")
MODULES: dict[type[nn.Module], Callable[..., None]] = {
    nn.Conv2d: _Translation._conv,
    nn.Linear: _Translation._linear,
    nn.BatchNorm1d: _Translation._batch_norm,
    nn.BatchNorm2d: _Translation._batch_norm,
    activations.QCFS: _Translation._qcfs,
    activations.Clip: _Translation._learned_clip,
    nn.ReLU: _by_attributes(_Translation._relu),
    nn.Hardtanh: _by_attributes(_Translation._hardtanh, "min_val", "max_val"),  # ReLU6 is one
    nn.MaxPool2d: _by_attributes(_Translation._max_pool, *POOL, "dilation", "return_indices"),
    nn.AvgPool2d: _by_attributes(_Translation._average_pool, *POOL, "count_include_pad", "divisor_override"),
    nn.AdaptiveAvgPool2d: _by_attributes(_Translation._adaptive_average_pool, "output_size"),
    nn.Flatten: _by_attributes(_Translation._reshape),
    nn.Unflatten: _by_attributes(_Translation._reshape),
    nn.ZeroPad2d: lambda translation, node, x, module: translation._pad(node, x, module.padding),
    nn.Dropout: _by_attributes(_Translation._same),
    nn.Dropout2d: _by_attributes(_Translation._same),
    nn.Identity: _by_attributes(_Translation._same),
    nn.Softmax: _by_attributes(_Translation._softmax, "dim"),
    nn.Sigmoid: _by_attributes(_Translation._sigmoid),
}
FUNCTIONS: dict[Callable[..., Any], Callable[..., None]] = {
    functional.relu: _Translation._relu,
    torch.relu: _Translation._relu,
    functional.relu6: _Translation._relu6,
    functional.hardtanh: _Translation._hardtanh,
    torch.clamp: _Translation._clamp,
    torch.clip: _Translation._clamp,
    functional.max_pool2d: _Translation._max_pool,
    torch.max_pool2d: _Translation._max_pool,
    functional.avg_pool2d: _Translation._average_pool,
    functional.adaptive_avg_pool2d: _Translation._adaptive_average_pool,
    torch.mean: _Translation._mean,
    torch.flatten: _Translation._reshape,
    torch.reshape: _Translation._reshape,
    operator.add: _Translation._add,
    operator.iadd: _Translation._add,
    torch.add: _Translation._add,
    torch.cat: _Translation._concatenate,
    torch.concat: _Translation._concatenate,
    functional.pad: _Translation._pad,
    operator.getitem: _Translation._stride,
    functional.dropout: _Translation._same,
    functional.softmax: _Translation._softmax,
    torch.softmax: _Translation._softmax,
    torch.sigmoid: _Translation._sigmoid,
    functional.sigmoid: _Translation._sigmoid,
}
METHODS: dict[str, Callable[..., None]] = {
    "relu": _Translation._relu,
    "clamp": _Translation._clamp,
    "clip": _Translation._clamp,
    "mean": _Translation._mean,
    "flatten": _Translation._reshape,
    "view": _Translation._reshape,
    "reshape": _Translation._reshape,
    "squeeze": _Translation._reshape,
    "add": _Translation._add,
    "add_": _Translation._add,
    "contiguous": _Translation._same,
    "softmax": _Translation._softmax,
    "sigmoid": _Translation._sigmoid,
}


def load(path: Path) -> dict[str, Any]:
    """A file of ``torch.save``: tensors, numbers and names only, nothing that would run code.

    Raises:
        InputError: missing, damaged, or holding anything else.
    """
    try:
        content = torch.load(path, weights_only=True, map_location="cpu")
    except (OSError, RuntimeError, EOFError, pickle.UnpicklingError) as error:
        raise InputError(f"{path}: is no file of torch.save that holds only tensors: {error}") from error
    if not isinstance(content, dict):
        raise InputError(f"{path}: holds a {type(content).__name__}; a state dict was expected")
    return content


def numbers(value: str, kind: Callable[[str], Any] = float) -> tuple[Any, ...]:
    """Numbers separated by commas, as an option gives them.

    Raises:
        InputError: something else.
    """
    try:
        return tuple(kind(part) for part in value.split(","))
    except ValueError as error:
        raise InputError(f"'{value}': numbers separated by commas were expected") from error


def main(
    network: Annotated[str, typer.Option(help=f"One of {', '.join(networks.NETWORKS)}.")],
    state_dict: Annotated[Path, typer.Option(help="torch.save(module.state_dict()), or a checkpoint of tools.train.")],
    shape: Annotated[str, typer.Option(help="Of an image: channels, height, width, separated by commas.")],
    classes: Annotated[int, typer.Option(min=1)],
    out: Annotated[Path, typer.Option(help="The refsnn-ann file to write.")],
    width: Annotated[int | None, typer.Option(help="Channels of the first layer, if not the network's own.")] = None,
    activation: Annotated[str, typer.Option(help=f"One of {', '.join(activations.KINDS)}.")] = "qcfs",
    levels: Annotated[int, typer.Option(help="Levels of qcfs.", min=1)] = 4,
    scale: Annotated[float, typer.Option(help="Divisor of the pixel bytes.")] = 255.0,
    mean: Annotated[str, typer.Option(help="Subtracted after scaling, one or one a channel.")] = "0",
    std: Annotated[str, typer.Option(help="Divisor after that, one or one a channel.")] = "1",
) -> None:
    """Write a network of the zoo from its state dict."""
    try:
        size = numbers(shape, int)
        if len(size) != 3:
            raise InputError(f"--shape {shape}: channels, height and width were expected")
        state = load(state_dict)
        try:
            module = networks.build(network, size, classes, lambda: activations.activation(activation, levels), width)
            module.load_state_dict(state.get("network", state))
        except ValueError as error:
            raise InputError(str(error)) from error
        except RuntimeError as error:
            raise InputError(f"{state_dict}: does not fit the network '{network}' as described: {error}") from error
        preprocessing = Preprocessing(scale=scale, mean=numbers(mean), std=numbers(std))
        graph_of_module = export(module, size, preprocessing)
        project.write(out, graph_of_module, writer=f"refsnn tools.export, PyTorch {torch.__version__}")
    except InputError as error:
        typer.echo(f"error: {error}", err=True)
        raise typer.Exit(2) from error


if __name__ == "__main__":
    typer.run(main)
