"""From the ANN graph to populations and projections, still with real weights.

Every value in the graph is one of two things: a ``Reference`` (the values that populations represent, side by side,
pooled, scaled, padded, flattened) or a ``Linear`` (what a population would integrate: weighted references and a bias).
Linear operations turn references into linears; a non-linearity turns a linear into a population. Where an operation
needs a reference but has a linear (a depthwise convolution in front of a pointwise one, a sum without activation, an
average over pre-activations, a value with several readers), a signed population represents it.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal, TypeAlias

import numpy as np

from refsnn.ann import graph as ann
from refsnn.ann.graph import Array, Graph, Operation, Order
from refsnn.errors import InputError
from refsnn.geometry import NO_PADDING, Padding, Pair, Shape, taps
from refsnn.network import ProjectionKind, SumPool

ONE_HOT_LIMIT = 4096
"""Largest number of features that are passed on one by one through a unit matrix."""

RealKind: TypeAlias = Literal["input", "rectified", "signed", "max_pool", "readout"]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Term:
    """A projection with real weights; the fields are those of ``refsnn.network.Projection``."""

    source: str
    kind: ProjectionKind
    weights: Array
    pool: SumPool | None = None
    stride: Pair = (1, 1)
    padding: Padding = NO_PADDING
    dilation: Pair = (1, 1)
    groups: int = 1
    channel: int = 0

    @property
    def channels(self) -> slice:
        """The target's channels that this term feeds; meaningless for dense, which feeds all."""
        return slice(self.channel, self.channel + self.weights.shape[0])


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class RealPopulation:
    """A population before quantisation.

    Attributes:
        name: unique; mostly the operation's.
        operation: the graph's operation whose output (a max-pool over a concatenation: a part of it) it represents.
        bias: ``(C,)`` or ``(C, H, W)``.
        terms: what it integrates.
        activation: the rectifier, for rectified populations.
        pool: kernel, stride, padding and their meaning, for max-pools; ``source`` is what these read.
        output: what the ANN applies to a readout's logits.
    """

    name: str
    operation: str
    kind: RealKind
    shape: Shape
    bias: Array
    terms: tuple[Term, ...] = ()
    activation: ann.ReLU | None = None
    pool: ann.MaxPool | None = None
    source: str = ""
    output: str = "linear"


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class _Segment:
    """A population's values at channels ``start ..`` of a reference."""

    source: str
    start: int
    channels: int


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class _Reference:
    """Values of populations: laid side by side by channel, average-pooled, scaled and shifted, padded, flattened.

    ``shape`` is that of the map after all this, before the flattening; channels without a segment are 0.
    """

    segments: tuple[_Segment, ...]
    shape: Shape
    pool: SumPool | None = None
    scale: Array
    shift: Array
    padding: Padding = NO_PADDING
    order: Order | None = None

    @property
    def plain(self) -> bool:
        """Whether these are the populations' values themselves."""
        return (
            self.pool is None
            and self.padding == NO_PADDING
            and self.order is None
            and bool((self.scale == 1).all() and (self.shift == 0).all())
            and sum(segment.channels for segment in self.segments) == self.shape[0]
        )

    @property
    def weights(self) -> Array:
        """``(C,)``: the factor from a pooled event sum to the value."""
        return self.scale / (np.prod(self.pool.kernel) if self.pool else 1)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class _Linear:
    terms: tuple[Term, ...]
    bias: Array
    shape: Shape


def lower(graph: Graph) -> tuple[RealPopulation, ...]:
    """The populations of a normalised graph, in topological order.

    Raises:
        InputError: an operation has no equivalent in spikes; the message names it.
    """
    return _Lowering(graph).run()


class _Lowering:
    def __init__(self, graph: Graph) -> None:
        self.graph = graph
        self.values: dict[str, _Reference | _Linear] = {}
        self.populations: dict[str, RealPopulation] = {}

    def run(self) -> tuple[RealPopulation, ...]:
        logits, output = self._output()
        for operation in self.graph:
            value = self._apply(operation)
            self.values[operation.name] = value
            if operation.name == logits:
                self._readout(operation, value, output)
                break
            if isinstance(value, _Linear) and len(self.graph.readers[operation.name]) > 1:
                self._signed(operation.name)
        return tuple(self.populations.values())

    def _output(self) -> tuple[str, str]:
        """The operation whose values are the logits, and what the ANN applies to them."""
        last = self.graph.output
        if isinstance(last, ann.Softmax | ann.Sigmoid):
            return last.inputs[0], type(last).__name__.lower()
        if isinstance(last, ann.ReLU) and last.maximum is None and last.bound is None:
            return last.inputs[0], "relu"
        return last.name, "linear"

    def _readout(self, operation: Operation, value: _Reference | _Linear, output: str) -> None:
        linear = self._as_linear(operation, value)
        taken = operation.name in self.populations  # the logits are themselves what a population represents
        name = f"{operation.name}.readout" if taken else operation.name
        self._add(operation, "readout", linear, name=name, output=output)

    def _add(
        self, operation: Operation, kind: RealKind, linear: _Linear, *, name: str = "", output: str = "linear"
    ) -> None:
        name = name or operation.name
        self.populations[name] = RealPopulation(
            name=name,
            operation=operation.name,
            kind=kind,
            shape=linear.shape,
            bias=linear.bias,
            terms=linear.terms,
            activation=operation if isinstance(operation, ann.ReLU) else None,
            output=output,
        )

    def _represent(self, name: str) -> _Reference:
        """The reference to a population as it is."""
        shape = self.populations[name].shape
        return _Reference(
            segments=(_Segment(source=name, start=0, channels=shape[0]),),
            shape=shape,
            scale=np.ones(shape[0]),
            shift=np.zeros(shape[0]),
        )

    def _signed(self, name: str) -> _Reference:
        """A signed population for a linear value; the value becomes the reference to it."""
        value = self.values[name]
        linear = self._as_linear(self.graph[name], value)
        self._add(self.graph[name], "signed", linear)
        self.values[name] = self._represent(name)
        return self._represent(name)

    def _reference(self, name: str) -> _Reference:
        value = self.values[name]
        return value if isinstance(value, _Reference) else self._signed(name)

    def _plain(self, name: str) -> _Reference:
        """A reference to populations' own values."""
        reference = self._reference(name)
        return reference if reference.plain else self._signed(name)

    def _apply(self, operation: Operation) -> _Reference | _Linear:
        match operation:
            case ann.Input():
                self.populations[operation.name] = RealPopulation(
                    name=operation.name,
                    operation=operation.name,
                    kind="input",
                    shape=operation.shape,
                    bias=np.zeros(operation.shape[0]),
                )
                return self._represent(operation.name)
            case ann.Conv():
                return self._conv(operation)
            case ann.Dense():
                return self._dense(operation)
            case ann.BatchNorm():
                return self._batch_norm(operation)
            case ann.ReLU():
                return self._relu(operation)
            case ann.MaxPool():
                return self._max_pool(operation)
            case ann.AveragePool():
                return self._average_pool(operation)
            case ann.Pad():
                reference = self._reference(operation.inputs[0])
                return replace(
                    reference,
                    padding=_sum(reference.padding, operation.padding),
                    shape=self.graph.shapes[operation.name],
                )
            case ann.PadChannels():
                return self._pad_channels(operation)
            case ann.Add():
                parts = [self._as_linear(operation, self.values[name]) for name in operation.inputs]
                shape = self.graph.shapes[operation.name]
                return _Linear(
                    terms=tuple(term for part in parts for term in part.terms),
                    bias=_add_biases([part.bias for part in parts], shape),
                    shape=shape,
                )
            case ann.Concatenate():
                return self._concatenate(operation)
            case ann.Flatten():
                return self._flatten(operation, operation.order)
            case ann.Reshape():
                return self._reshape(operation)
        raise InputError(
            f"layer '{operation.name}' ({type(operation).__name__}) has no equivalent in spikes here; "
            "it is supported only as the last layer of the network"
        )

    def _conv(self, operation: ann.Conv) -> _Linear:
        reference = self._reference(operation.inputs[0])
        groups, (outputs, per_group, *kernel) = operation.groups, operation.weights.shape
        grouped = operation.weights.reshape(groups, outputs // groups, per_group, *kernel)
        padding = _sum(operation.padding, reference.padding)
        weights = (grouped * reference.weights.reshape(groups, 1, per_group, 1, 1)).reshape(operation.weights.shape)
        bias = np.zeros(outputs) if operation.bias is None else operation.bias
        if reference.shift.any():
            shifted = (grouped * reference.shift.reshape(groups, 1, per_group, 1, 1)).sum(axis=2)
            border = self._shift_bias(operation, shifted.reshape(outputs, *kernel), reference, padding)
            bias = _add_biases([bias, border], self.graph.shapes[operation.name])
        terms = []
        for segment in reference.segments:
            if groups == 1:
                part, channel, segment_groups = weights[:, segment.start : segment.start + segment.channels], 0, 1
            else:
                if segment.start % per_group or segment.channels % per_group:
                    raise InputError(
                        f"layer '{operation.name}': its groups of {per_group} channels cut across the concatenated "
                        f"'{segment.source}' of {segment.channels} channels; this is not supported"
                    )
                first, segment_groups = segment.start // per_group, segment.channels // per_group
                size = outputs // groups
                channel = first * size
                part = weights[channel : channel + segment_groups * size]
            terms.append(
                Term(
                    source=segment.source,
                    kind="conv",
                    weights=part,
                    pool=reference.pool,
                    stride=operation.stride,
                    padding=padding,
                    dilation=operation.dilation,
                    groups=segment_groups,
                    channel=channel,
                )
            )
        return _Linear(terms=tuple(terms), bias=bias, shape=self.graph.shapes[operation.name])

    def _shift_bias(self, operation: ann.Conv, folded: Array, reference: _Reference, padding: Padding) -> Array:
        """What a constant per channel in front of a convolution adds: ``(C,)``, or ``(C, H, W)`` where padding cuts it.

        ``folded`` is ``(Cout, Kh, Kw)``: the constant times the weights, summed over the input channels.
        """
        if padding == NO_PADDING:
            total: Array = folded.sum(axis=(1, 2))
            return total
        own = reference.padding
        height = reference.shape[1] - own[0] - own[1]
        width = reference.shape[2] - own[2] - own[3]
        output = self.graph.shapes[operation.name]
        rows = taps(height, output[1], folded.shape[1], operation.stride[0], padding[0], operation.dilation[0])[1]
        columns = taps(width, output[2], folded.shape[2], operation.stride[1], padding[2], operation.dilation[1])[1]
        total = np.einsum("okl,ky,lx->oyx", folded, rows.astype(np.float64), columns.astype(np.float64))
        return total

    def _dense(self, operation: ann.Dense) -> _Linear:
        reference = self._reference(operation.inputs[0])
        outputs = operation.weights.shape[0]
        columns = operation.weights
        if len(reference.shape) == 3:
            if reference.order == "hwc":
                channels, height, width = reference.shape
                columns = columns.reshape(outputs, height, width, channels).transpose(0, 3, 1, 2)
            columns = columns.reshape(outputs, *reference.shape)
            top, bottom, left, right = reference.padding
            columns = columns[:, :, top : reference.shape[1] - bottom, left : reference.shape[2] - right]
        columns = columns.reshape(outputs, reference.shape[0], -1)
        bias = np.zeros(outputs) if operation.bias is None else operation.bias
        bias = bias + columns.sum(axis=2) @ reference.shift
        columns = columns * reference.weights[:, None]
        terms = tuple(
            Term(
                source=segment.source,
                kind="dense",
                weights=columns[:, segment.start : segment.start + segment.channels].reshape(outputs, -1),
                pool=reference.pool,
            )
            for segment in reference.segments
        )
        return _Linear(terms=terms, bias=bias, shape=(outputs,))

    def _batch_norm(self, operation: ann.BatchNorm) -> _Reference | _Linear:
        name = operation.inputs[0]
        scale, shift = operation.scale_and_shift()
        value = self.values[name]
        if isinstance(value, _Reference):
            if value.order is not None and len(value.shape) == 3 and value.shape[1:] != (1, 1):
                value = self._as_linear(operation, value)
            elif value.padding != NO_PADDING:
                value = self._signed(name)
        if isinstance(value, _Reference):
            return replace(value, scale=value.scale * scale, shift=value.shift * scale + shift)
        terms = tuple(replace(term, weights=_scale_rows(term, scale, value.shape)) for term in value.terms)
        return _Linear(
            terms=terms, bias=_per_map(scale, value.bias) * value.bias + _per_map(shift, value.bias), shape=value.shape
        )

    def _relu(self, operation: ann.ReLU) -> _Reference:
        value = self.values[operation.inputs[0]]
        unbounded = operation.maximum is None and operation.bound is None
        if (
            isinstance(value, _Reference)
            and unbounded
            and not value.shift.any()
            and (value.scale >= 0).all()
            and all(self._never_negative(segment.source) for segment in value.segments)
        ):
            return value
        linear = self._as_linear(operation, value)
        self._add(operation, "rectified", linear)
        return self._represent(operation.name)

    def _never_negative(self, name: str) -> bool:
        population = self.populations[name]
        if population.kind == "max_pool":
            return self._never_negative(population.source)
        return population.kind == "rectified"

    def _max_pool(self, operation: ann.MaxPool) -> _Reference:
        reference = self._reference(operation.inputs[0])
        padding = reference.padding
        if padding != NO_PADDING and operation.padding != NO_PADDING and not operation.zero_padding:
            raise InputError(f"layer '{operation.name}': padding of its own behind a zero padding is not supported")
        if not replace(reference, padding=NO_PADDING).plain:
            reference, padding = self._signed(operation.inputs[0]), NO_PADDING
        shape = self.graph.shapes[operation.name]
        segments = []
        for index, segment in enumerate(reference.segments):
            name = operation.name if len(reference.segments) == 1 else f"{operation.name}.{index}"
            self.populations[name] = RealPopulation(
                name=name,
                operation=operation.name,
                kind="max_pool",
                shape=(segment.channels, *shape[1:]),
                bias=np.zeros(segment.channels),
                pool=replace(
                    operation,
                    padding=_sum(operation.padding, padding),
                    zero_padding=operation.zero_padding or padding != NO_PADDING,
                ),
                source=segment.source,
            )
            segments.append(replace(segment, source=name))
        return _Reference(segments=tuple(segments), shape=shape, scale=np.ones(shape[0]), shift=np.zeros(shape[0]))

    def _average_pool(self, operation: ann.AveragePool) -> _Reference:
        if operation.padding != NO_PADDING and not operation.count_padding:
            raise InputError(
                f"layer '{operation.name}': average pooling that divides by the count of valid pixels ('same' padding) "
                "has no exact equivalent in spikes; use 'valid' padding, or a global average pool"
            )
        reference = self._reference(operation.inputs[0])
        padding = _sum(operation.padding, reference.padding)
        if reference.pool is not None or (reference.shift.any() and padding != NO_PADDING):
            reference, padding = self._signed(operation.inputs[0]), operation.padding
        return replace(
            reference,
            pool=SumPool(kernel=operation.kernel, stride=operation.stride, padding=padding),
            shape=self.graph.shapes[operation.name],
            padding=NO_PADDING,
        )

    def _pad_channels(self, operation: ann.PadChannels) -> _Reference | _Linear:
        value = self.values[operation.inputs[0]]
        before, after = operation.before, operation.after
        shape = self.graph.shapes[operation.name]
        if isinstance(value, _Linear) and any(term.kind == "dense" for term in value.terms):
            value = self._signed(operation.inputs[0])
        if isinstance(value, _Linear):
            widths = [(before, after)] + [(0, 0)] * (value.bias.ndim - 1)
            terms = tuple(replace(term, channel=term.channel + before) for term in value.terms)
            return _Linear(terms=terms, bias=np.pad(value.bias, widths), shape=shape)
        return replace(
            value,
            segments=tuple(replace(segment, start=segment.start + before) for segment in value.segments),
            shape=shape,
            scale=np.pad(value.scale, (before, after), constant_values=1),
            shift=np.pad(value.shift, (before, after)),
        )

    def _concatenate(self, operation: ann.Concatenate) -> _Reference:
        parts = [self._reference(name) for name in operation.inputs]
        same = {(part.pool, part.padding, part.order if len(part.shape) == 3 else None) for part in parts}
        if len(same) > 1:
            parts = [
                part if part.pool is None and part.padding == NO_PADDING else self._signed(name)
                for part, name in zip(parts, operation.inputs, strict=True)
            ]
        if any(part.order is not None for part in parts):
            raise InputError(
                f"layer '{operation.name}': concatenation of flattened maps is not supported; "
                "concatenate before flattening"
            )
        starts = np.cumsum([0, *(part.shape[0] for part in parts)])
        return replace(
            parts[0],
            segments=tuple(
                replace(segment, start=segment.start + int(start))
                for part, start in zip(parts, starts, strict=False)
                for segment in part.segments
            ),
            shape=self.graph.shapes[operation.name],
            scale=np.concatenate([part.scale for part in parts]),
            shift=np.concatenate([part.shift for part in parts]),
        )

    def _flatten(self, operation: Operation, order: Order) -> _Reference:
        return replace(self._reference(operation.inputs[0]), order=order)

    def _reshape(self, operation: ann.Reshape) -> _Reference | _Linear:
        if len(operation.shape) == 1:
            return self._flatten(operation, operation.order)
        value = self.values[operation.inputs[0]]
        if not isinstance(value, _Linear) or any(term.kind != "dense" for term in value.terms):
            raise InputError(
                f"layer '{operation.name}': reshaping to a map is supported only behind a dense layer "
                "(and its activation)"
            )
        channels, height, width = operation.shape
        rows = np.arange(channels * height * width)
        if operation.order == "hwc":
            rows = rows.reshape(height, width, channels).transpose(2, 0, 1).ravel()
        terms = tuple(replace(term, weights=term.weights[rows]) for term in value.terms)
        return _Linear(terms=terms, bias=value.bias[rows].reshape(operation.shape), shape=operation.shape)

    def _as_linear(self, operation: Operation, value: _Reference | _Linear) -> _Linear:
        """A reference as something to integrate: one synapse for each value."""
        if isinstance(value, _Linear):
            return value
        if value.padding != NO_PADDING:
            raise InputError(
                f"layer '{operation.name}': a zero padding that no convolution or pooling reads is not supported"
            )
        if value.order is not None and len(value.shape) == 3:
            return self._one_hot(operation, value)
        pool = value.pool
        stride: Pair = (1, 1)
        if pool is not None and pool.kernel == (1, 1) and pool.padding == NO_PADDING:
            stride, pool = pool.stride, None
        terms = tuple(
            Term(
                source=segment.source,
                kind="identity",
                weights=value.weights[segment.start : segment.start + segment.channels],
                pool=pool,
                stride=stride,
                channel=segment.start,
            )
            for segment in value.segments
        )
        return _Linear(terms=terms, bias=value.shift, shape=value.shape)

    def _one_hot(self, operation: Operation, value: _Reference) -> _Linear:
        size = int(np.prod(value.shape))
        if size > ONE_HOT_LIMIT:
            raise InputError(
                f"layer '{operation.name}': {size} flattened values are used without a dense layer; "
                f"up to {ONE_HOT_LIMIT} are supported"
            )
        channels, height, width = value.shape
        order = np.arange(size).reshape(channels, height, width)
        if value.order == "hwc":
            order = order.transpose(1, 2, 0)
        unit = np.eye(size)[order.ravel()].reshape(size, channels, height * width)
        terms = tuple(
            Term(
                source=segment.source,
                kind="dense",
                weights=(unit * value.weights[:, None])[:, segment.start : segment.start + segment.channels].reshape(
                    size, -1
                ),
                pool=value.pool,
            )
            for segment in value.segments
        )
        return _Linear(terms=terms, bias=unit.sum(axis=2) @ value.shift, shape=(size,))


def _sum(one: Padding, other: Padding) -> Padding:
    return (one[0] + other[0], one[1] + other[1], one[2] + other[2], one[3] + other[3])


def _per_map(channels: Array, like: Array) -> Array:
    return channels.reshape(-1, *(1,) * (like.ndim - 1))


def _scale_rows(term: Term, scale: Array, target: Shape) -> Array:
    if term.kind == "dense":
        return term.weights * np.repeat(scale, int(np.prod(target[1:])))[:, None]
    return term.weights * _per_map(scale[term.channels], term.weights)


def _add_biases(biases: list[Array], shape: Shape) -> Array:
    if any(bias.ndim > 1 for bias in biases):
        biases = [np.broadcast_to(bias.reshape(bias.shape + (1,) * (len(shape) - bias.ndim)), shape) for bias in biases]
    total: Array = np.sum(biases, axis=0)
    return total
