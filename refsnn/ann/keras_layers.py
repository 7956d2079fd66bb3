"""What each Keras layer does at inference, in the operations of ``refsnn.ann.graph``.

Everything is turned channels first on the way: kernels here, the order of elements in ``Flatten`` and ``Reshape``.
A layer without a counterpart is refused by name.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from typing import Any, Protocol, TypeAlias

import numpy as np

from refsnn.ann import graph
from refsnn.ann.graph import Array, Order
from refsnn.ann.keras_config import Call
from refsnn.errors import InputError
from refsnn.geometry import Padding, Pair, Shape

FIRST, LAST = "channels_first", "channels_last"

Role: TypeAlias = tuple[str, ...]
"""What a weight is to its layer: the names that the versions of Keras gave it, the current one first."""

KERNEL: Role = ("kernel", "W")
BIAS: Role = ("bias", "b")
DEPTHWISE: Role = ("depthwise_kernel",)
POINTWISE: Role = ("pointwise_kernel",)
GAMMA: Role = ("gamma",)
BETA: Role = ("beta",)
MOVING_MEAN: Role = ("moving_mean", "running_mean")
MOVING_VARIANCE: Role = ("moving_variance", "running_std", "running_var")  # Keras 1 kept a variance under "std"
MEAN: Role = ("mean",)
VARIANCE: Role = ("variance",)


class Weights(Protocol):
    """The weights of a file."""

    def take(self, call: Call, roles: tuple[Role, ...], optional: tuple[Role, ...] = ()) -> list[Array]:
        """The weights of a layer, float64, one for each of ``roles``, in that order.

        Raises:
            InputError: one is missing, double, or not made of floating-point numbers.
        """

    def check_all_read(self) -> None:
        """Check that the file holds no weights beyond those taken.

        Raises:
            InputError: it does; the message names them.
        """


class Builder:
    """Turns calls into operations, one after the other.

    Attributes:
        layout: ``channels_last`` or ``channels_first``: how the network's maps lie in Keras.
        backend: under which the file was written: Theano rotates the kernels of Conv2D by 180 degrees, and pads
            in its own way.
    """

    def __init__(self, calls: tuple[Call, ...], weights: Weights, backend: str) -> None:
        self.calls = calls
        self.weights = weights
        self.backend = backend
        self.layout = _layout(calls)
        self.operations: list[graph.Operation] = []
        self.shapes: dict[str, Shape] = {}
        self.outputs: dict[str, str] = {}
        self.uses = Counter(name for call in calls for name in call.inputs)
        # Images of shape (H, W) become maps of one channel; only layers for which that is the same may read them.
        self.without_channels: set[str] = set()
        self.scale: Array = np.ones(1)
        self.shift: Array = np.zeros(1)
        self.preprocessed = False

    def build(self) -> graph.Graph:
        """The graph.

        Raises:
            InputError: a layer that is not supported, or does not fit; the message names it.
        """
        for call in self.calls:
            rule = _RULES.get(call.kind)
            if rule is None:
                raise InputError(f"{call.label} is not supported; {_CURES.get(call.kind, _cure(call.kind))}")
            if call.kind != "InputLayer" and not call.inputs:
                raise InputError(f"{call.label} reads nothing")
            if any(self.outputs[name] in self.without_channels for name in call.inputs) and rule not in _SHAPELESS:
                raise InputError(
                    f"{call.label} reads images without a channel axis; give the model an input of (height, width, 1)"
                )
            try:
                self.outputs[call.name] = rule(self, call)
            except (KeyError, TypeError, ValueError) as error:
                if isinstance(error, InputError):
                    raise
                raise InputError(f"{call.label}: its settings cannot be understood ({error!r})") from error
        return graph.Graph(operations=tuple(_final_last(self.operations)), preprocessing=self._preprocessing())

    def add(self, operation: graph.Operation) -> str:
        """Append an operation; returns its name."""
        self.operations.append(operation)
        self.shapes[operation.name] = graph.output_shape(operation, [self.shapes[name] for name in operation.inputs])
        return operation.name

    def reads(self, call: Call) -> tuple[str, ...]:
        """Names of the operations that a call reads."""
        return tuple(self.outputs[name] for name in call.inputs)

    def source(self, call: Call) -> str:
        """Name of the one operation that a call reads."""
        if len(call.inputs) != 1:
            raise InputError(f"{call.label} reads {len(call.inputs)} layers; one was expected")
        return self.outputs[call.inputs[0]]

    def map_shape(self, call: Call) -> tuple[int, int, int]:
        """``(C, H, W)`` of the map that a call reads."""
        shape = self.shapes[self.source(call)]
        if len(shape) != 3:
            raise InputError(f"{call.label} reads features of shape {shape}; a map was expected")
        return shape[0], shape[1], shape[2]

    @property
    def order(self) -> Order:
        """The order of elements when a map is flattened."""
        return "hwc" if self.layout == LAST else "chw"

    def same(self, call: Call, size: Pair, kernel: Pair, stride: Pair) -> Padding:
        """The zeros that ``padding: same`` puts around a map, for a convolution with (dilated) ``kernel``.

        TensorFlow's rule (and that of JAX, PyTorch and NumPy under Keras 3): just enough for ``ceil(n / stride)``
        outputs, the odd one at the bottom right. Theano's: half the kernel at the top left.
        """
        if self.backend == "theano":
            before = (kernel[0] // 2, kernel[1] // 2)
        elif self.backend in _SAME_LIKE_TENSORFLOW:
            before = (_excess(size[0], kernel[0], stride[0]) // 2, _excess(size[1], kernel[1], stride[1]) // 2)
        elif stride == (1, 1) and kernel[0] % 2 and kernel[1] % 2:
            before = (kernel[0] // 2, kernel[1] // 2)
        else:
            raise InputError(
                f"{call.label}: how the backend '{self.backend}' pads ('same', kernel {kernel}, stride {stride}) is "
                "unknown; load the model under TensorFlow, check it there and save it again"
            )
        return _padding(size, kernel, stride, before)

    def _preprocessing(self) -> graph.Preprocessing | None:
        if not self.preprocessed:
            return None
        # (byte / s - mean) / std, equal to scale * byte + shift
        if self.scale.size == 1:
            return graph.Preprocessing(scale=1.0 / float(self.scale[0]), mean=tuple(map(float, -self.shift)))
        return graph.Preprocessing(
            mean=tuple(map(float, np.broadcast_to(-self.shift / self.scale, self.scale.shape))),
            std=tuple(map(float, 1.0 / self.scale)),
        )


_SAME_LIKE_TENSORFLOW = ("tensorflow", "jax", "torch", "numpy", "openvino")


def _layout(calls: tuple[Call, ...]) -> str:
    found: dict[str, Call] = {}
    for call in calls:
        # Flatten has a data_format too, but it says what to do, not how its input lies.
        if call.config.get("data_format") is not None and call.kind != "Flatten":
            found.setdefault(str(call.config["data_format"]), call)
    unknown = set(found) - {FIRST, LAST}
    if unknown:
        raise InputError(f"{found[min(unknown)].label}: unknown data_format '{min(unknown)}'")
    if len(found) > 1:
        raise InputError(
            f"{found[FIRST].label} is {FIRST}, {found[LAST].label} is {LAST}; networks in one layout are supported"
        )
    return next(iter(found), LAST)


def _final_last(operations: list[graph.Operation]) -> list[graph.Operation]:
    """Softmax and sigmoid stand last; one of them in front of a last reshape (old MobileNets) changes places with it.

    Raises:
        InputError: one stands somewhere else.
    """
    final = graph.Softmax | graph.Sigmoid
    if len(operations) > 2 and isinstance(operations[-1], graph.Flatten | graph.Reshape):
        activation, shaping = operations[-2:]
        if isinstance(activation, final) and shaping.inputs == (activation.name,):
            operations = [
                *operations[:-2],
                replace(shaping, inputs=activation.inputs),
                replace(activation, inputs=(shaping.name,)),
            ]
    for operation in operations[:-1]:
        if isinstance(operation, final):
            raise InputError(
                f"layer '{operation.name}': a {type(operation).__name__.lower()} inside the network has no spiking "
                "counterpart here; it is supported as the last layer"
            )
    return operations


def _cure(kind: str) -> str:
    return f"rebuild the network without {kind}, from the layers listed in docs/formats.md, and save it again"


_RETRAIN = "replace it by ReLU, train on for a few epochs and save the network again"
_CURES = {
    "LeakyReLU": _RETRAIN,
    "PReLU": _RETRAIN,
    "ELU": _RETRAIN,
    "ThresholdedReLU": _RETRAIN,
    "Permute": "it changes the order of a map's axes: build the model in one layout (data_format) without it",
    "Lambda": "it hides Python code that the file does not explain: use layers of Keras instead",
}


# ---------------------------------------------------------------------------------------------------------------------
# The rules: each adds a layer's operations and returns the name of its output.


def _input(b: Builder, call: Call) -> str:
    batch_shape = call.config.get("batch_input_shape") or call.config.get("batch_shape")
    if batch_shape is None:
        raise InputError(
            f"{call.label}: the file does not say the input's shape; give the first layer an input_shape and save again"
        )
    shape = tuple(batch_shape[1:])
    if any(size is None for size in shape):
        raise InputError(
            f"{call.label}: its shape {shape} leaves sizes open; build the model for one image size and save it again"
        )
    if len(shape) not in (1, 2, 3):
        raise InputError(f"{call.label}: its shape is {shape}; images or features were expected")
    if len(shape) == 2:
        b.without_channels.add(call.name)
        shape = (1, *shape)
    elif len(shape) == 3:
        shape = _channels_first(shape, b.layout)
    return b.add(graph.Input(name=call.name, shape=shape))


def _conv2d(b: Builder, call: Call) -> str:
    channels, *_ = b.map_shape(call)
    filters, kernel = int(call.config["filters"]), _pair(call.config["kernel_size"])
    groups = int(call.config.get("groups", 1))
    weights, bias = _kernel_and_bias(b, call, KERNEL)
    inputs = channels // groups
    if call.config["keras_1"] and b.layout == FIRST:
        _expect(call, "kernel", weights, (filters, inputs, *kernel))
    else:
        _expect(call, "kernel", weights, (*kernel, inputs, filters))
        weights = weights.transpose(3, 2, 0, 1)
    if b.backend == "theano":  # its Conv2D is a true convolution; its depthwise ones are not
        weights = weights[:, :, ::-1, ::-1]
    return _add_conv(b, call, b.source(call), weights, bias, groups)


def _depthwise_conv2d(b: Builder, call: Call) -> str:
    weights, bias = _kernel_and_bias(b, call, (*DEPTHWISE, *KERNEL))
    return _add_conv(b, call, b.source(call), _depthwise_kernel(b, call, weights), bias, b.map_shape(call)[0])


def _separable_conv2d(b: Builder, call: Call) -> str:
    use_bias = call.config.get("use_bias", True)
    weights = b.weights.take(call, (DEPTHWISE, POINTWISE, *((BIAS,) if use_bias else ())))
    depthwise = _depthwise_kernel(b, call, weights[0])
    filters, channels = int(call.config["filters"]), len(depthwise)
    pointwise = weights[1]
    if call.config["keras_1"] and b.layout == FIRST:
        _expect(call, "pointwise_kernel", pointwise, (filters, channels, 1, 1))
    else:
        _expect(call, "pointwise_kernel", pointwise, (1, 1, channels, filters))
        pointwise = pointwise.transpose(3, 2, 0, 1)
    first = replace(call, name=f"{call.name}.depthwise", config={**call.config, "activation": "linear"})
    middle = _add_conv(b, first, b.source(call), depthwise, None, b.map_shape(call)[0])
    bias = weights[2] if use_bias else None
    return _activated(b, call, b.add(graph.Conv(name=call.name, inputs=(middle,), weights=pointwise, bias=bias)))


def _depthwise_kernel(b: Builder, call: Call, weights: Array) -> Array:
    """``(Cin * multiplier, 1, Kh, Kw)``: output channel ``i * multiplier + m`` reads channel i, as in Keras."""
    channels, *_ = b.map_shape(call)
    multiplier, kernel = int(call.config.get("depth_multiplier", 1)), _pair(call.config["kernel_size"])
    if call.config["keras_1"] and b.layout == FIRST:
        _expect(call, "depthwise_kernel", weights, (multiplier, channels, *kernel))
        weights = weights.transpose(1, 0, 2, 3)
    else:
        _expect(call, "depthwise_kernel", weights, (*kernel, channels, multiplier))
        weights = weights.transpose(2, 3, 0, 1)
    return weights.reshape(channels * multiplier, 1, *kernel)


def _add_conv(b: Builder, call: Call, source: str, weights: Array, bias: Array | None, groups: int) -> str:
    stride, dilation = _pair(call.config.get("strides", 1)), _pair(call.config.get("dilation_rate", 1))
    kernel = (weights.shape[2], weights.shape[3])
    extent = (dilation[0] * (kernel[0] - 1) + 1, dilation[1] * (kernel[1] - 1) + 1)
    size = (b.shapes[source][1], b.shapes[source][2])
    padding = b.same(call, size, extent, stride) if _is_same(call) else (0, 0, 0, 0)
    operation = graph.Conv(
        name=call.name,
        inputs=(source,),
        weights=np.ascontiguousarray(weights),
        bias=bias,
        stride=stride,
        padding=padding,
        dilation=dilation,
        groups=groups,
    )
    return _activated(b, call, b.add(operation))


def _dense(b: Builder, call: Call) -> str:
    source, units = b.source(call), int(call.config["units"])
    shape = b.shapes[source]
    weights, bias = _kernel_and_bias(b, call, KERNEL)
    if len(shape) == 3 and b.layout == FIRST:
        raise InputError(
            f"{call.label} on a map acts on the last axis, which is the width in {FIRST}; use a 1x1 Conv2D"
        )
    _expect(call, "kernel", weights, (shape[0], units))
    weights = np.ascontiguousarray(weights.T)
    if len(shape) == 3:
        operation: graph.Operation = graph.Conv(
            name=call.name, inputs=(source,), weights=weights[:, :, None, None], bias=bias
        )
    else:
        operation = graph.Dense(name=call.name, inputs=(source,), weights=weights, bias=bias)
    return _activated(b, call, b.add(operation))


def _batch_normalization(b: Builder, call: Call) -> str:
    source = b.source(call)
    channels = b.shapes[source][0]
    if call.config.get("mode", 0) != 0:
        raise InputError(
            f"{call.label}: its mode {call.config['mode']} uses the statistics of the batch at inference; mode 0 is "
            "supported"
        )
    _check_channel_axis(b, call, call.config.get("axis", -1), source)
    scaled, centred = call.config.get("scale", True), call.config.get("center", True)
    roles = (*((GAMMA,) if scaled else ()), *((BETA,) if centred else ()), MOVING_MEAN, MOVING_VARIANCE)
    values = dict(zip(roles, b.weights.take(call, roles), strict=True))
    for role, value in values.items():
        _expect(call, role[0], value, (channels,))
    operation = graph.BatchNorm(
        name=call.name,
        inputs=(source,),
        mean=values[MOVING_MEAN],
        variance=values[MOVING_VARIANCE],
        gamma=values.get(GAMMA, np.ones(channels)),
        beta=values.get(BETA, np.zeros(channels)),
        epsilon=float(call.config.get("epsilon", 1e-3)),
    )
    return b.add(operation)


def _activation(b: Builder, call: Call) -> str:
    return _activated(b, call, b.source(call), name=call.name)


def _relu(b: Builder, call: Call) -> str:
    for key in ("negative_slope", "threshold"):
        if _number(call.config.get(key)):
            raise InputError(
                f"{call.label}: its {key} is {_number(call.config[key])}; 0 is supported: set it to 0, train on for a "
                "few epochs and save the network again"
            )
    return b.add(graph.ReLU(name=call.name, inputs=(b.source(call),), maximum=_number(call.config.get("max_value"))))


def _softmax(b: Builder, call: Call) -> str:
    source = b.source(call)
    _check_channel_axis(b, call, call.config.get("axis", -1), source)
    return b.add(graph.Softmax(name=call.name, inputs=(source,)))


def _activated(b: Builder, call: Call, source: str, name: str | None = None) -> str:
    """The activation that a layer's setting names, on its output."""
    stated = call.config.get("activation")
    function = str(stated.get("config") if isinstance(stated, dict) else stated or "linear")
    if isinstance(stated, dict) and isinstance(stated.get("config"), dict):
        raise InputError(f"{call.label}: the activation {stated.get('class_name')} is not supported; {_RETRAIN}")
    name = name or f"{call.name}.{function}"
    if function == "linear":
        return source
    if function in ("relu", "relu6"):
        return b.add(graph.ReLU(name=name, inputs=(source,), maximum=6.0 if function == "relu6" else None))
    if function == "softmax":
        _check_channel_axis(b, call, -1, source)
        return b.add(graph.Softmax(name=name, inputs=(source,)))
    if function == "sigmoid":
        return b.add(graph.Sigmoid(name=name, inputs=(source,)))
    raise InputError(f"{call.label}: the activation '{function}' is not supported; {_RETRAIN}")


def _pooling(b: Builder, call: Call) -> str:
    _, *size = b.map_shape(call)
    kernel = _pair(call.config["pool_size"])
    stride = _pair(call.config.get("strides") or kernel)
    padding = (0, 0, 0, 0)
    if _is_same(call):
        if b.backend == "theano":
            before = tuple(k - 2 if k > 2 and k % 2 else k - 1 for k in kernel)
            padding = _padding((size[0], size[1]), kernel, stride, (before[0], before[1]))
        else:
            padding = b.same(call, (size[0], size[1]), kernel, stride)
    if call.kind == "AveragePooling2D" and b.backend == "torch" and padding[::2] != padding[1::2]:
        raise InputError(
            f"{call.label}: its padding 'same' is {padding} here, where Keras on PyTorch averages a repeated border, "
            "unlike all other backends; use padding='valid'"
        )
    if call.kind == "MaxPooling2D":
        return b.add(graph.MaxPool(name=call.name, inputs=b.reads(call), kernel=kernel, stride=stride, padding=padding))
    return b.add(
        graph.AveragePool(
            name=call.name, inputs=b.reads(call), kernel=kernel, stride=stride, padding=padding, count_padding=False
        )
    )


def _global_pooling(b: Builder, call: Call) -> str:
    _, height, width = b.map_shape(call)
    kind = graph.MaxPool if call.kind == "GlobalMaxPooling2D" else graph.AveragePool
    pooled = b.add(kind(name=call.name, inputs=b.reads(call), kernel=(height, width), stride=(height, width)))
    if call.config.get("keepdims"):
        return pooled
    return b.add(graph.Flatten(name=f"{call.name}.flatten", inputs=(pooled,)))


def _zero_padding2d(b: Builder, call: Call) -> str:
    stated = call.config["padding"]
    if isinstance(stated, dict):
        sides = [stated.get(f"{side}_pad", 0) for side in ("top", "bottom", "left", "right")]
    else:
        flat = np.array(stated if isinstance(stated, list | tuple) else [stated, stated]).ravel().tolist()
        sides = [flat[0], flat[0], flat[1], flat[1]] if len(flat) == 2 else flat
    top, bottom, left, right = map(int, sides)
    return b.add(graph.Pad(name=call.name, inputs=(b.source(call),), padding=(top, bottom, left, right)))


def _add(b: Builder, call: Call) -> str:
    if len(call.inputs) < 2:
        raise InputError(f"{call.label} adds a constant or nothing; two layers or more were expected")
    return b.add(graph.Add(name=call.name, inputs=b.reads(call)))


def _concatenate(b: Builder, call: Call) -> str:
    if len(call.inputs) < 2:
        raise InputError(f"{call.label} reads {len(call.inputs)} layers; two or more were expected")
    _check_channel_axis(b, call, call.config.get("axis", -1), b.reads(call)[0])
    return b.add(graph.Concatenate(name=call.name, inputs=b.reads(call)))


def _flatten(b: Builder, call: Call) -> str:
    source = b.source(call)
    if len(b.shapes[source]) == 1:
        return source
    order = b.order
    # Flatten(data_format="channels_first") moves the channels last first, so that weights fit both layouts.
    if call.config.get("data_format") == FIRST and source not in b.without_channels:
        if b.layout == LAST:
            raise InputError(f"{call.label}: its data_format is {FIRST} in a network that is {LAST}; leave it out")
        order = "hwc"
    return b.add(graph.Flatten(name=call.name, inputs=(source,), order=order))


def _reshape(b: Builder, call: Call) -> str:
    source = b.source(call)
    size = int(np.prod(b.shapes[source]))
    target = [int(n) for n in call.config["target_shape"]]
    if -1 in target:
        target[target.index(-1)] = size // max(1, -int(np.prod(target)))
    if len(target) not in (1, 3):
        raise InputError(f"{call.label}: reshapes to {tuple(target)}; features or maps (3 numbers) are supported")
    shape = _channels_first(tuple(target), b.layout) if len(target) == 3 else tuple(target)
    if b.shapes[source] == shape and source not in b.without_channels:
        return source
    return b.add(graph.Reshape(name=call.name, inputs=(source,), shape=shape, order=b.order))


def _identity(b: Builder, call: Call) -> str:
    return b.source(call)


def _rescaling(b: Builder, call: Call) -> str:
    scale, shift = (np.array(call.config.get(key, default), float) for key, default in (("scale", 1), ("offset", 0)))
    return _affine(b, call, scale, shift)


def _normalization(b: Builder, call: Call) -> str:
    if call.config.get("invert"):
        raise InputError(f"{call.label}: invert=True is not supported; the network should read normalised images")
    mean, variance = call.config.get("mean"), call.config.get("variance")
    if mean is None:
        mean, variance = b.weights.take(call, (MEAN, VARIANCE), (("count",),))
    if np.size(mean) != 1:
        for axis in np.atleast_1d(call.config.get("axis", -1)):
            _check_channel_axis(b, call, int(axis), b.source(call))
    deviation = np.maximum(np.sqrt(np.array(variance, float)), 1e-7)  # Keras's own floor
    return _affine(b, call, 1.0 / deviation, -np.array(mean, float) / deviation)


def _affine(b: Builder, call: Call, scale: Array, shift: Array) -> str:
    """``scale x + shift``: part of the preprocessing where nothing but images comes in, else a batch norm."""
    source = b.source(call)
    channels = b.shapes[source][0]
    scale, shift = scale.ravel(), shift.ravel()
    if not {scale.size, shift.size} <= {1, channels} or (
        source in b.without_channels and max(scale.size, shift.size) > 1
    ):
        raise InputError(f"{call.label}: has {max(scale.size, shift.size)} factors for {channels} channels")
    if source == b.operations[0].name and b.uses[call.inputs[0]] == 1 and (scale > 0).all():
        b.scale, b.shift = b.scale * scale, b.shift * scale + shift
        b.preprocessed = True
        return source
    return b.add(
        graph.BatchNorm(
            name=call.name,
            inputs=(source,),
            mean=np.zeros(channels),
            variance=np.ones(channels),
            gamma=np.broadcast_to(scale, channels).copy(),
            beta=np.broadcast_to(shift, channels).copy(),
            epsilon=0.0,
        )
    )


Rule: TypeAlias = Callable[[Builder, Call], str]

_RULES: dict[str, Rule] = {
    "InputLayer": _input,
    "Conv2D": _conv2d,
    "DepthwiseConv2D": _depthwise_conv2d,
    "SeparableConv2D": _separable_conv2d,
    "Dense": _dense,
    "BatchNormalization": _batch_normalization,
    "BatchNormalizationV1": _batch_normalization,
    "BatchNormalizationV2": _batch_normalization,
    "SyncBatchNormalization": _batch_normalization,
    "Activation": _activation,
    "ReLU": _relu,
    "Softmax": _softmax,
    "MaxPooling2D": _pooling,
    "AveragePooling2D": _pooling,
    "GlobalAveragePooling2D": _global_pooling,
    "GlobalMaxPooling2D": _global_pooling,
    "ZeroPadding2D": _zero_padding2d,
    "Add": _add,
    "Concatenate": _concatenate,
    "Flatten": _flatten,
    "Reshape": _reshape,
    "Rescaling": _rescaling,
    "Normalization": _normalization,
    **dict.fromkeys(
        (
            "Dropout",
            "SpatialDropout2D",
            "AlphaDropout",
            "GaussianDropout",
            "GaussianNoise",
            "ActivityRegularization",
            "Identity",
            "RandomFlip",
            "RandomRotation",
            "RandomTranslation",
            "RandomZoom",
            "RandomContrast",
            "RandomBrightness",
        ),
        _identity,
    ),
}
_SHAPELESS = (_flatten, _reshape, _identity, _rescaling, _normalization)


def _kernel_and_bias(b: Builder, call: Call, kernel: Role) -> tuple[Array, Array | None]:
    if call.config.get("use_bias", True):
        weights, bias = b.weights.take(call, (kernel, BIAS))
        return weights, bias
    return b.weights.take(call, (kernel,))[0], None


def _expect(call: Call, what: str, array: Array, shape: Shape) -> None:
    if array.shape != shape:
        raise InputError(f"{call.label}: {what} has shape {array.shape} in the file, expected {shape}")


def _check_channel_axis(b: Builder, call: Call, axis: Any, source: str) -> None:
    stated = list(axis) if isinstance(axis, list | tuple) else [axis]
    if len(b.shapes[source]) == 1:
        allowed = (-1, 1)
    else:
        allowed = (-1, 3) if b.layout == LAST else (1, -3)
    if len(stated) != 1 or stated[0] not in allowed:
        raise InputError(
            f"{call.label}: acts on axis {axis}; the channels of this {b.layout} network are axis {allowed[1]}"
        )


def _is_same(call: Call) -> bool:
    padding = call.config.get("padding", "valid")
    if padding not in ("same", "valid"):
        raise InputError(f"{call.label}: padding '{padding}' is not supported; 'same' and 'valid' are")
    return bool(padding == "same")


def _excess(size: int, kernel: int, stride: int) -> int:
    """How many padded cells ``ceil(size / stride)`` windows need."""
    return max((-(-size // stride) - 1) * stride + kernel - size, 0)


def _padding(size: Pair, kernel: Pair, stride: Pair, before: Pair) -> Padding:
    """``before`` at the top left, and at the bottom right as much as ``ceil(size / stride)`` windows need."""
    after = tuple(max(_excess(n, k, s) - first, 0) for n, k, s, first in zip(size, kernel, stride, before, strict=True))
    return before[0], after[0], before[1], after[1]


def _pair(value: Any) -> Pair:
    height, width = value if isinstance(value, list | tuple) else (value, value)
    return int(height), int(width)


def _number(value: Any) -> float | None:
    """A number, or None; old Keras wrapped NumPy scalars in a dictionary."""
    if isinstance(value, dict):
        value = value["value"] if "value" in value else value["config"]["value"]
    return None if value is None else float(value)


def _channels_first(shape: Shape, layout: str) -> Shape:
    return (shape[-1], *shape[:-1]) if layout == LAST else shape
