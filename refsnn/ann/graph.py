"""The ANN graph: what a file says, one dataclass an operation, and nothing of spikes.

Images are channels first, ``(N, C, H, W)``; features are ``(N, C)``. A reader of a channels-last format transposes the
kernels and says so in ``Flatten.order`` and ``Reshape.order``; nothing else depends on the order of axes.
Paddings are ``(top, bottom, left, right)``; kernels, strides and dilations ``(height, width)``.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cached_property
from typing import Literal, TypeAlias

import numpy as np
from numpy.typing import NDArray

from refsnn.errors import InputError
from refsnn.geometry import NO_PADDING, Padding, Pair, Shape, window_output

Order: TypeAlias = Literal["chw", "hwc"]
Array: TypeAlias = NDArray[np.float64]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Operation:
    """One node: its own name, which is also its output's, and the names of the operations that it reads."""

    name: str
    inputs: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Input(Operation):
    """The images, after preprocessing: ``shape`` is ``(C, H, W)`` or ``(C,)``."""

    shape: Shape


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Conv(Operation):
    """``y[o] = sum_i,kh,kw weights[o, i, kh, kw] x[i] + bias[o]``: cross-correlation, depthwise where groups = Cin.

    Attributes:
        weights: ``(Cout, Cin/groups, Kh, Kw)``.
        bias: ``(Cout,)`` or None.
    """

    weights: Array
    bias: Array | None = None
    stride: Pair = (1, 1)
    padding: Padding = NO_PADDING
    dilation: Pair = (1, 1)
    groups: int = 1


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Dense(Operation):
    """``y = weights x + bias``; weights ``(out, in)``, bias ``(out,)`` or None. Reads features, not maps."""

    weights: Array
    bias: Array | None = None


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class BatchNorm(Operation):
    """``y = gamma (x - mean) / sqrt(variance + epsilon) + beta`` per channel; all arrays ``(C,)``."""

    mean: Array
    variance: Array
    gamma: Array
    beta: Array
    epsilon: float

    def scale_and_shift(self) -> tuple[Array, Array]:
        """``(scale, shift)``, each ``(C,)``, with ``y = scale x + shift``."""
        scale = self.gamma / np.sqrt(self.variance + self.epsilon)
        return scale, self.beta - self.mean * scale


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class ReLU(Operation):
    """``y = clip(x, 0, maximum)``, or its quantised form.

    Attributes:
        maximum: a fixed clip (6 for ReLU6), or None.
        bound: a learned clip (QCFS's lambda, TCL's and ECL's threshold), ``()`` or ``(C,)``; becomes the threshold.
        levels: None: no quantisation. L: QCFS, ``y = bound * clip(floor(x L / bound + 1/2) / L, 0, 1)`` (Bu et al.,
            ICLR 2022, eq. 14 with shift 1/2); needs ``bound``.
    """

    maximum: float | None = None
    bound: Array | None = None
    levels: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class MaxPool(Operation):
    """Maximum over windows. Padded cells are ignored, or a real 0 where ``zero_padding`` says so."""

    kernel: Pair
    stride: Pair
    padding: Padding = NO_PADDING
    zero_padding: bool = False


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class AveragePool(Operation):
    """Mean over windows; ``count_padding`` says whether padded zeros count in the divisor."""

    kernel: Pair
    stride: Pair
    padding: Padding = NO_PADDING
    count_padding: bool = True


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Pad(Operation):
    """Zeros around a map."""

    padding: Padding


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class PadChannels(Operation):
    """Zero channels before and after (the parameter-free shortcut of CIFAR ResNets; He et al., 2016, option A)."""

    before: int
    after: int


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Add(Operation):
    """Sum of two or more inputs of one shape."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Concatenate(Operation):
    """Inputs one after the other along the channels."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Flatten(Operation):
    """A map to features, read in ``order``: ``chw`` (channels first) or ``hwc`` (channels last, as Keras does)."""

    order: Order = "chw"


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Reshape(Operation):
    """To ``shape`` (channels first: ``(C, H, W)`` or ``(C,)``), elements taken and laid out in ``order``."""

    shape: Shape
    order: Order = "chw"


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Softmax(Operation):
    """Softmax over the channels; only as the last operation."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Sigmoid(Operation):
    """Logistic function; only as the last operation."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Preprocessing:
    """From pixel bytes to what the network was trained on: ``x = (byte / scale - mean) / std`` per channel.

    Attributes:
        scale: divisor of the byte; 1 for raw bytes, 255 for the range 0..1.
        mean, std: one number a channel, or one for all.
    """

    scale: float = 1.0
    mean: tuple[float, ...] = (0.0,)
    std: tuple[float, ...] = (1.0,)

    def __post_init__(self) -> None:
        values = np.array([self.scale, *self.mean, *self.std])
        if not np.isfinite(values).all() or self.scale <= 0 or min(self.std) <= 0:
            raise InputError(f"preprocessing needs finite numbers, a scale and std above 0; found {self}")

    def table(self, channels: int) -> Array:
        """``(channels, 256)``: the real value of every byte.

        Raises:
            InputError: ``mean`` or ``std`` have another number of channels.
        """
        for key, value in (("mean", self.mean), ("std", self.std)):
            if len(value) not in (1, channels):
                raise InputError(f"preprocessing: {key} has {len(value)} numbers, the images have {channels} channels")
        mean = np.broadcast_to(np.array(self.mean)[:, None], (channels, 1))
        std = np.broadcast_to(np.array(self.std)[:, None], (channels, 1))
        table: Array = (np.arange(256) / self.scale - mean) / std
        return table


@dataclass(frozen=True, kw_only=True)
class Graph:
    """A feed-forward network.

    Attributes:
        operations: in topological order; the first is the ``Input``, the last the output.
        preprocessing: what the file says of it; None: it says nothing.

    Raises:
        InputError: names clash, an operation reads one that does not come before it, shapes do not fit, a weight is
            not finite. The message names the layer.
    """

    operations: tuple[Operation, ...]
    preprocessing: Preprocessing | None = None
    shapes: dict[str, Shape] = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "shapes", {})
        if not self.operations or not isinstance(self.operations[0], Input):
            raise InputError("a network starts with its input")
        for operation in self.operations:
            if operation.name in self.shapes:
                raise InputError(f"two layers are named '{operation.name}'; give each its own name")
            if isinstance(operation, Input) and operation is not self.operations[0]:
                raise InputError(f"layer '{operation.name}': a second input; networks with one input are supported")
            for name in operation.inputs:
                if name not in self.shapes:
                    raise InputError(f"layer '{operation.name}' reads '{name}', which does not come before it")
            _check_values(operation)
            self.shapes[operation.name] = output_shape(operation, [self.shapes[name] for name in operation.inputs])
        read = {name for operation in self.operations for name in operation.inputs}
        loose = [operation.name for operation in self.operations[:-1] if operation.name not in read]
        if loose:
            raise InputError(f"nothing reads the layers {loose}; networks with one output are supported")

    def __getitem__(self, name: str) -> Operation:
        return self._by_name[name]

    def __iter__(self) -> Iterator[Operation]:
        return iter(self.operations)

    @cached_property
    def _by_name(self) -> dict[str, Operation]:
        return {operation.name: operation for operation in self.operations}

    @property
    def input(self) -> Input:
        """The input operation."""
        first = self.operations[0]
        assert isinstance(first, Input)
        return first

    @property
    def output(self) -> Operation:
        """The last operation."""
        return self.operations[-1]

    @cached_property
    def readers(self) -> dict[str, tuple[Operation, ...]]:
        """Who reads each operation."""
        result: dict[str, tuple[Operation, ...]] = {operation.name: () for operation in self.operations}
        for operation in self.operations:
            for name in operation.inputs:
                result[name] = (*result[name], operation)
        return result


def _check_values(operation: Operation) -> None:
    for key in ("weights", "bias", "mean", "variance", "gamma", "beta", "bound"):
        value = getattr(operation, key, None)
        if value is not None and not np.isfinite(value).all():
            bad = int(np.size(value) - np.isfinite(value).sum())
            raise InputError(
                f"layer '{operation.name}': {bad} of {np.size(value)} values of {key} are NaN or infinite; "
                "the training diverged or the file is damaged"
            )
    if isinstance(operation, BatchNorm) and (operation.variance + operation.epsilon <= 0).any():
        raise InputError(f"layer '{operation.name}': a variance of the batch norm is not positive")
    if isinstance(operation, ReLU):
        if operation.bound is not None and (operation.bound <= 0).any():
            raise InputError(
                f"layer '{operation.name}': a learned threshold is {operation.bound.min():g}; "
                "thresholds must be above 0"
            )
        if operation.maximum is not None and not operation.maximum > 0:
            raise InputError(f"layer '{operation.name}': its maximum is {operation.maximum}; it must be above 0")
        if operation.levels is not None and (operation.bound is None or operation.levels < 1):
            raise InputError(f"layer '{operation.name}': quantisation to levels needs a bound and at least 1 level")


def output_shape(operation: Operation, inputs: list[Shape]) -> Shape:
    """The shape of what an operation makes of inputs of these shapes.

    Raises:
        InputError: the shapes do not fit; the message names the layer.
    """

    def fail(message: str) -> InputError:
        return InputError(f"layer '{operation.name}': {message}")

    if isinstance(operation, Input):
        if len(operation.shape) not in (1, 3) or min(operation.shape) < 1:
            raise fail(f"the input shape is {operation.shape}; (C, H, W) or (C,) was expected")
        return operation.shape
    many = isinstance(operation, Add | Concatenate)
    if not inputs or (len(inputs) > 1 and not many):
        raise fail(f"reads {len(inputs)} layers; {'at least one' if many else 'one'} was expected")
    shape = inputs[0]
    maps = isinstance(operation, Conv | MaxPool | AveragePool | Pad)
    if maps and len(shape) != 3:
        raise fail(f"reads features of shape {shape}; a map (C, H, W) was expected")
    if isinstance(operation, Conv):
        output, needed = operation.weights.shape[0], operation.weights.shape[1] * operation.groups
        if operation.weights.ndim != 4 or needed != shape[0] or output % operation.groups:
            raise fail(
                f"weights {operation.weights.shape} with {operation.groups} groups do not fit "
                f"an input of {shape[0]} channels"
            )
        _check_bias(operation, operation.bias, output)
        kernel = (operation.weights.shape[2], operation.weights.shape[3])
        return (output, *_window(operation, shape, kernel, operation.stride, operation.padding, operation.dilation))
    if isinstance(operation, Dense):
        if len(shape) != 1 or operation.weights.ndim != 2 or operation.weights.shape[1] != shape[0]:
            raise fail(f"weights {operation.weights.shape} do not fit an input of shape {shape}")
        _check_bias(operation, operation.bias, operation.weights.shape[0])
        return (operation.weights.shape[0],)
    if isinstance(operation, BatchNorm):
        for key in ("mean", "variance", "gamma", "beta"):
            if getattr(operation, key).shape != (shape[0],):
                raise fail(f"{key} has shape {getattr(operation, key).shape}, expected ({shape[0]},)")
        return shape
    if isinstance(operation, ReLU):
        if operation.bound is not None and operation.bound.shape not in ((), (shape[0],)):
            raise fail(f"its learned threshold has shape {operation.bound.shape}, expected () or ({shape[0]},)")
        return shape
    if isinstance(operation, MaxPool | AveragePool):
        return (shape[0], *_window(operation, shape, operation.kernel, operation.stride, operation.padding, (1, 1)))
    if isinstance(operation, Pad):
        top, bottom, left, right = operation.padding
        return (shape[0], shape[1] + top + bottom, shape[2] + left + right)
    if isinstance(operation, PadChannels):
        return (operation.before + shape[0] + operation.after, *shape[1:])
    if isinstance(operation, Add):
        if any(other != shape for other in inputs):
            raise fail(f"adds different shapes: {', '.join(map(str, inputs))}")
        return shape
    if isinstance(operation, Concatenate):
        if any(other[1:] != shape[1:] for other in inputs):
            raise fail(f"concatenates maps of different sizes: {', '.join(map(str, inputs))}")
        return (sum(other[0] for other in inputs), *shape[1:])
    if isinstance(operation, Flatten):
        return (int(np.prod(shape)),)
    if isinstance(operation, Reshape):
        if np.prod(shape) != np.prod(operation.shape) or len(operation.shape) not in (1, 3):
            raise fail(f"cannot reshape {shape} to {operation.shape}")
        return operation.shape
    if isinstance(operation, Softmax | Sigmoid):
        return shape
    raise fail(f"unknown operation {type(operation).__name__}")


def _check_bias(operation: Operation, bias: Array | None, channels: int) -> None:
    if bias is not None and bias.shape != (channels,):
        raise InputError(f"layer '{operation.name}': bias has shape {bias.shape}, expected ({channels},)")


def _window(operation: Operation, shape: Shape, kernel: Pair, stride: Pair, padding: Padding, dilation: Pair) -> Pair:
    if min(*kernel, *stride, *dilation) < 1 or min(padding) < 0:
        raise InputError(f"layer '{operation.name}': kernel {kernel}, stride {stride}, padding {padding} make no sense")
    height, width = window_output(shape[1:], kernel, stride, padding, dilation)
    if height < 1 or width < 1:
        raise InputError(f"layer '{operation.name}': a window of {kernel} is larger than its padded input {shape}")
    return height, width
