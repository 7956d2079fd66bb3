"""The float64 forward pass of an ANN graph in NumPy: the reference for accuracies and calibration statistics.

Images go through in blocks of a fixed size, each on one BLAS thread, so results depend on neither the number of images
given at once nor the number of threads.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeAlias, TypeVar

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray
from threadpoolctl import threadpool_limits

from refsnn.ann import graph
from refsnn.ann.graph import Array, Graph, Operation, Preprocessing
from refsnn.errors import InputError
from refsnn.geometry import NO_PADDING, Padding, Pair, window_output
from refsnn.machine import processors

Observer: TypeAlias = Callable[[Operation, Array], None]
Result = TypeVar("Result")

BLOCK = 16
"""Images in a block."""
_COLUMNS = 1 << 21
"""Numbers that the unfolded windows of a convolution may take at once (16 MB): larger inputs go image by image."""


def forward(network: Graph, x: Array, observe: Observer | None = None) -> Array:
    """Run images through a network.

    Args:
        network: the graph.
        x: ``(N, C, H, W)`` or ``(N, C)`` float64, preprocessed (``pixels``).
        observe: called with every operation and its output ``(N, ...)``, in order, the input's included. The array is
            valid during the call; keep a copy, not the array.

    Returns:
        The logits, ``(N, classes)`` or ``(N, C, H, W)``: what the final softmax or sigmoid reads, or the output of a
        network that ends in neither.

    Raises:
        InputError: the images have another shape than the network's input.
    """
    if x.shape[1:] != network.input.shape:
        raise InputError(f"images have the shape {x.shape[1:]}, the network's input is {network.input.shape}")
    last = network.output
    result = last.inputs[0] if isinstance(last, graph.Softmax | graph.Sigmoid) else last.name
    unread = Counter(name for operation in network for name in operation.inputs)
    unread[result] += 1
    values: dict[str, Array] = {}
    for operation in network:
        inputs = [x] if isinstance(operation, graph.Input) else [values[name] for name in operation.inputs]
        values[operation.name] = evaluate(operation, inputs)
        if observe is not None:
            observe(operation, values[operation.name])
        for name in operation.inputs:
            unread[name] -= 1
            if not unread[name]:
                del values[name]
    return values[result]


def forward_images(
    network: Graph,
    images: NDArray[np.uint8],
    preprocessing: Preprocessing | None = None,
    *,
    block: int = BLOCK,
    threads: int = 0,
) -> Array:
    """The logits of images given as pixel bytes.

    Args:
        network: the graph.
        images: ``(N, C, H, W)`` or ``(N, C)`` uint8.
        preprocessing: None: what the network's file says, else raw bytes.
        block: images at a time; the last bits of the logits may depend on it, and on nothing else.
        threads: blocks at a time; 0: as many as there are processors.

    Returns:
        ``(N, classes)``, or ``(N, C, H, W)`` where the network ends in a map.

    Raises:
        InputError: the images have another shape than the network's input.
    """
    parts = map_blocks(lambda x: forward(network, x), network, images, preprocessing, block=block, threads=threads)
    return np.concatenate(parts) if parts else np.zeros((0, *network.shapes[network.output.name]))


def map_blocks(
    function: Callable[[Array], Result],
    network: Graph,
    images: NDArray[np.uint8],
    preprocessing: Preprocessing | None = None,
    *,
    block: int = BLOCK,
    threads: int = 0,
) -> list[Result]:
    """``function`` of every block of preprocessed images, in their order; arguments as in ``forward_images``."""
    if images.shape[1:] != network.input.shape:
        raise InputError(f"images have the shape {images.shape[1:]}, the network's input is {network.input.shape}")
    settings = preprocessing or network.preprocessing or Preprocessing()
    table = settings.table(network.input.shape[0])
    starts = range(0, len(images), block)
    with threadpool_limits(1, "blas"), ThreadPoolExecutor(threads or processors()) as pool:
        return list(pool.map(lambda start: function(pixels(images[start : start + block], table)), starts))


def pixels(images: NDArray[np.uint8], table: Array) -> Array:
    """Pixel bytes to real values: ``table[c, byte]``, with ``table`` from ``Preprocessing.table``."""
    channel = np.arange(images.shape[1]).reshape(-1, *(1,) * (images.ndim - 2))
    values: Array = table[channel, images]
    return values


def evaluate(operation: Operation, inputs: list[Array]) -> Array:
    """The output ``(N, ...)`` of one operation for the outputs of those that it reads."""
    rule: Callable[[Any, list[Array]], Array] = _RULES[type(operation)]
    return rule(operation, inputs)


def _conv(operation: graph.Conv, inputs: list[Array]) -> Array:
    x, weights = inputs[0], operation.weights
    kernel: Pair = (weights.shape[2], weights.shape[3])
    if operation.groups == x.shape[1] and operation.groups > 1:
        result = _depthwise(operation, x, kernel)
    else:
        size = window_output(x.shape[2:], kernel, operation.stride, operation.padding, operation.dilation)
        result = np.empty((len(x), weights.shape[0], *size))
        grouped = weights.reshape(operation.groups, weights.shape[0] // operation.groups, -1)
        images = max(1, _COLUMNS // (x.shape[1] * kernel[0] * kernel[1] * size[0] * size[1]))
        for start in range(0, len(x), images):
            part = _padded(x[start : start + images], operation.padding, 0.0)
            windows = _windows(part, kernel, operation.stride, operation.dilation)
            columns = windows.transpose(0, 1, 4, 5, 2, 3).reshape(len(part), *grouped.shape[::2], -1)
            result[start : start + images] = (grouped @ columns).reshape(len(part), *result.shape[1:])
    if operation.bias is not None:
        result += operation.bias[:, None, None]
    return result


def _depthwise(operation: graph.Conv, x: Array, kernel: Pair) -> Array:
    """A channel of its own for every ``Cout / Cin`` outputs: a sum of shifted maps, without unfolding."""
    channels = x.shape[1]
    windows = _windows(_padded(x, operation.padding, 0.0), kernel, operation.stride, operation.dilation)
    weights = operation.weights.reshape(channels, -1, *kernel)
    result = np.zeros((len(x), *weights.shape[:2], *windows.shape[2:4]))
    for row, column in np.ndindex(*kernel):
        result += weights[None, :, :, row, column, None, None] * windows[:, :, None, :, :, row, column]
    return result.reshape(len(x), -1, *windows.shape[2:4])


def _dense(operation: graph.Dense, inputs: list[Array]) -> Array:
    result: Array = inputs[0] @ operation.weights.T
    return result if operation.bias is None else result + operation.bias


def _batch_norm(operation: graph.BatchNorm, inputs: list[Array]) -> Array:
    scale, shift = operation.scale_and_shift()
    return inputs[0] * per_channel(scale, inputs[0]) + per_channel(shift, inputs[0])


def _relu(operation: graph.ReLU, inputs: list[Array]) -> Array:
    x = inputs[0]
    bound = None if operation.bound is None else per_channel(operation.bound, x)
    if bound is not None and operation.levels is not None:
        return bound * np.clip(np.floor(x * operation.levels / bound + 0.5) / operation.levels, 0.0, 1.0)
    x = np.maximum(x, 0.0)
    if bound is not None:
        x = np.minimum(x, bound)
    return x if operation.maximum is None else np.minimum(x, operation.maximum)


def _max_pool(operation: graph.MaxPool, inputs: list[Array]) -> Array:
    padded = _padded(inputs[0], operation.padding, 0.0 if operation.zero_padding else -np.inf)
    windows = _windows(padded, operation.kernel, operation.stride)
    result: Array = windows[..., 0, 0].copy()
    for row, column in np.ndindex(*operation.kernel):
        np.maximum(result, windows[..., row, column], out=result)
    return result


def _average_pool(operation: graph.AveragePool, inputs: list[Array]) -> Array:
    result = _window_sums(operation, inputs[0])
    if operation.count_padding or operation.padding == NO_PADDING:
        return result / (operation.kernel[0] * operation.kernel[1])
    return result / _window_sums(operation, np.ones((1, 1, *inputs[0].shape[2:])))


def _window_sums(operation: graph.AveragePool, x: Array) -> Array:
    windows = _windows(_padded(x, operation.padding, 0.0), operation.kernel, operation.stride)
    result = np.zeros(windows.shape[:4])
    for row, column in np.ndindex(*operation.kernel):
        result += windows[..., row, column]
    return result


def _flatten(operation: graph.Flatten, inputs: list[Array]) -> Array:
    return _in_order(inputs[0], operation.order).reshape(len(inputs[0]), -1)


def _reshape(operation: graph.Reshape, inputs: list[Array]) -> Array:
    elements, shape = _in_order(inputs[0], operation.order), operation.shape
    if operation.order == "hwc" and len(shape) == 3:
        return elements.reshape(len(elements), *shape[1:], shape[0]).transpose(0, 3, 1, 2)
    return elements.reshape(len(elements), *shape)


def _in_order(x: Array, order: graph.Order) -> Array:
    return x.transpose(0, 2, 3, 1) if order == "hwc" and x.ndim == 4 else x


def _pad_channels(operation: graph.PadChannels, inputs: list[Array]) -> Array:
    x = inputs[0]
    return np.pad(x, ((0, 0), (operation.before, operation.after), *((0, 0),) * (x.ndim - 2)))


def _softmax(operation: graph.Softmax, inputs: list[Array]) -> Array:
    powers: Array = np.exp(inputs[0] - inputs[0].max(axis=1, keepdims=True))
    total: Array = powers.sum(axis=1, keepdims=True)
    return powers / total


def _sigmoid(operation: graph.Sigmoid, inputs: list[Array]) -> Array:
    return 0.5 * (1.0 + np.tanh(0.5 * inputs[0]))


_RULES: dict[type[Operation], Callable[..., Array]] = {
    graph.Input: lambda operation, inputs: inputs[0],
    graph.Conv: _conv,
    graph.Dense: _dense,
    graph.BatchNorm: _batch_norm,
    graph.ReLU: _relu,
    graph.MaxPool: _max_pool,
    graph.AveragePool: _average_pool,
    graph.Pad: lambda operation, inputs: _padded(inputs[0], operation.padding, 0.0),
    graph.PadChannels: _pad_channels,
    graph.Add: lambda operation, inputs: sum(inputs[1:], start=inputs[0]),
    graph.Concatenate: lambda operation, inputs: np.concatenate(inputs, axis=1),
    graph.Flatten: _flatten,
    graph.Reshape: _reshape,
    graph.Softmax: _softmax,
    graph.Sigmoid: _sigmoid,
}


def per_channel(values: Array, x: Array) -> Array:
    """A scalar or ``(C,)``, shaped so that it broadcasts over ``x``, ``(N, C, ...)``."""
    shaped: Array = values.reshape(-1, *(1,) * (x.ndim - 2))
    return shaped


def _padded(x: Array, padding: Padding, value: float) -> Array:
    if padding == NO_PADDING:
        return x
    top, bottom, left, right = padding
    return np.pad(x, ((0, 0), (0, 0), (top, bottom), (left, right)), constant_values=value)


def _windows(x: Array, kernel: Pair, stride: Pair, dilation: Pair = (1, 1)) -> Array:
    """``(N, C, H', W', Kh, Kw)``: a view of every window of a padded map."""
    extent = tuple(step * (size - 1) + 1 for size, step in zip(kernel, dilation, strict=True))
    view = sliding_window_view(x, extent, axis=(2, 3))
    return view[:, :, :: stride[0], :: stride[1], :: dilation[0], :: dilation[1]]
