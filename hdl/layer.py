"""A layer of an integer network as a job for the core: its tables, its weights, and where its sources lie."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import product
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hdl.parameters import SHIFT_BITS, Parameters
from hdl.words import chunks, plane_words, planes, row_words
from refsnn.errors import InputError, WidthError
from refsnn.geometry import Shape
from refsnn.network import NO_CAP, Input, MaxPool, Network, Population, Projection, Readout, Spiking
from refsnn.ranges import Range, analyse, signed_bits

BIAS_MAP = "bias"
"""The name under which a border bias ``(C, H, W)`` is placed among the sources."""


def cells(shape: Shape) -> tuple[int, int, int]:
    """``(C,)`` as ``(C, 1, 1)``."""
    return (shape[0], 1, 1) if len(shape) == 1 else (shape[0], shape[1], shape[2])


@dataclass(frozen=True, slots=True, kw_only=True)
class Columns:
    """The columns in which events are stored: T and drain steps, or the planes of static input.

    Attributes:
        length: columns used. lead: silent ones in front, so that codes end with a chunk.
    """

    length: int
    lead: int

    @classmethod
    def of(cls, length: int, code: bool, parameters: Parameters) -> Columns:
        """For ``length`` columns; the digits of a ``code`` end with a chunk."""
        return cls(length=length, lead=-length % parameters.columns if code else 0)

    def chunks(self, parameters: Parameters) -> int:
        """Chunks of J columns."""
        return chunks(self.lead + self.length, parameters)


@dataclass(frozen=True, slots=True, kw_only=True)
class Source:
    """What a job reads.

    Attributes:
        name: the population, or ``BIAS_MAP``.
        shape: ``(C, H, W)``.
        address: of its first word in each bank.
        columns: in which it is stored.
        static: whether the columns are bit-planes of graded values.
    """

    name: str
    shape: tuple[int, int, int]
    address: int
    columns: Columns
    static: bool

    def words(self, parameters: Parameters) -> int:
        """Words in each bank."""
        channels, height, width = self.shape
        return channels * plane_words(height, width, self.columns.length + self.columns.lead, parameters)

    def pitch(self, parameters: Parameters) -> int:
        """Words from one row to the next."""
        return self.columns.chunks(parameters) * row_words(self.shape[2], parameters)


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """One run of the core: some channels of a layer.

    Attributes:
        channel: the population's channel that the job's channel 0 is.
        fields: of ``job_layout``.
        segments, fetches, taps, constants: entries of the tables.
        weights: ``(words, C) int8``.
    """

    channel: int
    fields: dict[str, Any]
    segments: list[dict[str, Any]]
    fetches: list[dict[str, Any]]
    taps: list[dict[str, Any]]
    constants: list[dict[str, Any]]
    weights: NDArray[np.int8]

    @property
    def operations(self) -> int:
        """Micro-operations if nothing is silent."""
        tiles: int = self.fields["tile_rows"] * self.fields["tile_columns"]
        blocks: int = self.fields["blocks"] if self.fields.get("pooling") else 1
        total: int = 0
        for segment in self.segments:
            fetches = self.fetches[segment["first"] : segment["first"] + segment["number"]]
            total += segment["chunks"] * segment["inputs"] * sum(fetch["number"] for fetch in fetches)
        return total * tiles * blocks


@dataclass(frozen=True, slots=True, kw_only=True)
class Layer:
    """A population as the core computes it.

    Attributes:
        population: its name. shape: ``(C, H, W)``.
        columns: of its output; a readout has none.
        sources: what has to be in the event memory.
        constants: values of sources that are not populations: ``{BIAS_MAP: (C, H, W)}``.
        widths: the bits that it needs of those parameters that are widths.
        jobs: to be run one after the other.
    """

    population: str
    shape: tuple[int, int, int]
    columns: Columns
    sources: list[Source]
    constants: dict[str, NDArray[np.int64]]
    widths: dict[str, int]
    jobs: list[Job]


@dataclass(frozen=True, slots=True)
class _Tap:
    """A weight of a window: where its cell lies relative to the target's, and which word of a channel it is."""

    row: int
    column: int
    weight: int
    high: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class _Window:
    """A projection's windows: stride in source cells, taps, and each block's weights."""

    source: Source
    stride: tuple[int, int]
    taps: tuple[_Tap, ...]
    advance: int
    dense: bool
    static: bool
    shifted: bool
    weights: NDArray[np.int64]  # (target channels, source channels, words of a channel)


class _Tables:
    """Fetches and taps, each geometry once."""

    def __init__(self, parameters: Parameters) -> None:
        self.parameters = parameters
        self.fetches: list[dict[str, Any]] = []
        self.taps: list[dict[str, Any]] = []
        self.known: dict[Any, tuple[int, int]] = {}

    def add(self, window: _Window) -> tuple[int, int]:
        """The first fetch and the number of fetches of a window."""
        pitch = window.source.pitch(self.parameters)
        key = (window.taps, window.stride[1], window.dense, pitch)
        if key not in self.known:
            first = len(self.fetches)
            for row in sorted({tap.row for tap in window.taps}):
                items = [
                    item
                    for tap in window.taps
                    if tap.row == row
                    for item in self._lanes(tap, window.stride[1], 1 if window.dense else self.parameters.pixels)
                ]
                self._row(row, row * pitch, items)
            self.known[key] = first, len(self.fetches) - first
        return self.known[key]

    def _lanes(self, tap: _Tap, stride: int, lanes: int) -> Iterator[tuple[int, int, bool, int, _Tap]]:
        """Micro-operations that serve all lanes: pixel of lane 0, last pixel, wide, lanes, tap."""
        pixels, visible = self.parameters.pixels, self.parameters.visible
        served = 0
        if stride in (1, 2) or lanes == 1:
            step = min(stride, 2)
            reach = (visible - 1 - tap.column % pixels) // step + 1
            served = min(lanes, reach)
            yield tap.column, tap.column + (served - 1) * step, step == 2, (1 << served) - 1, tap
        for lane in range(served, lanes):
            begin = tap.column + lane * stride - lane
            yield begin, begin + lane, False, 1 << lane, tap

    def _row(self, row: int, offset: int, items: list[tuple[int, int, bool, int, _Tap]]) -> None:
        pixels, visible = self.parameters.pixels, self.parameters.visible
        items = sorted(items, key=lambda item: item[:4])
        while items:
            group = items[0][0] // pixels
            base = group * pixels
            here = [item for item in items if item[1] - base < visible]
            items = [item for item in items if item[1] - base >= visible]
            care = 0
            for begin, _, wide, lanes, _ in here:
                for lane in range(pixels):
                    if lanes >> lane & 1:
                        care |= 1 << (begin - base + lane * (2 if wide else 1))
            self.fetches.append(
                {
                    "row": row,
                    "offset": offset,
                    "group": group,
                    "care": care,
                    "first": len(self.taps),
                    "number": len(here),
                }
            )
            for begin, _, wide, lanes, tap in here:
                self.taps.append(
                    {
                        "shift": begin - base,
                        "wide": wide,
                        "lanes": lanes,
                        "weight": tap.weight,
                        "high": tap.high,
                    }
                )


def lower(network: Network, name: str, steps: int, drain: int, parameters: Parameters) -> Layer:
    """A population as jobs for a core.

    Args:
        network: the network.
        name: a spiking population, a max-pool or the readout.
        steps, drain: T, and the drain steps that the events have room for.
        parameters: of the core.

    Raises:
        InputError, WidthError: the core cannot hold it; the message says what it needs and what there is.
    """
    return _Lowering(network, network[name], steps, drain, parameters).layer()


class _Lowering:
    def __init__(
        self, network: Network, population: Population, steps: int, drain: int, parameters: Parameters
    ) -> None:
        self.network, self.population, self.steps, self.parameters = network, population, steps, parameters
        self.code = network.schedule.base == 2
        self.columns = Columns.of(steps + drain, self.code, parameters)
        self.shape = cells(population.shape)
        self.sources: dict[str, Source] = {}
        self.values: dict[str, NDArray[np.int64]] = {}
        self.widths: dict[str, int] = {}
        self.tables = _Tables(parameters)
        self.words = 0

    def layer(self) -> Layer:
        """The layer."""
        population = self.population
        if isinstance(population, Input):
            raise self._refusal("is the input; only what reads events is computed")
        jobs = [self._pool(population)] if isinstance(population, MaxPool) else list(self._neurons(population))
        self._limit("fetches", len(self.tables.fetches))
        self._limit("taps", len(self.tables.taps))
        return Layer(
            population=population.name,
            shape=self.shape,
            columns=self.columns,
            sources=list(self.sources.values()),
            constants=self.values,
            widths=self.widths,
            jobs=jobs,
        )

    def _refusal(self, text: str) -> InputError:
        return InputError(f"'{self.population.name}' {text}")

    def _limit(self, name: str, needed: int) -> None:
        there: int = getattr(self.parameters, name)
        if needed > there:
            raise self._refusal(
                f"needs {needed:,} {name.replace('_', ' ')}, the core has {there:,}: make it with more {name}"
            )

    def _width(self, name: str, what: str, bits: int) -> None:
        """Note that so many bits of a width are needed, and check that they are there."""
        self.widths[name] = max(bits, self.widths.get(name, 0))
        there: int = getattr(self.parameters, name)
        if bits > there:
            raise WidthError(
                f"'{self.population.name}': {what} need {bits} bits, the core has {there} {name.replace('_', ' ')}",
                bits,
            )

    def _source(self, name: str, shape: Shape, columns: Columns, static: bool) -> Source:
        """Place a source behind the ones before it."""
        if name not in self.sources:
            source = Source(name=name, shape=cells(shape), address=self.words, columns=columns, static=static)
            self.words += source.words(self.parameters)
            self._limit("event_words", self.words)
            self.sources[name] = source
        return self.sources[name]

    def _population(self, name: str) -> Source:
        population = self.network[name]
        static = self.network.is_static(name)
        columns = self.columns
        if static:
            table = self.network.input.table
            columns = Columns.of(planes(int(table.min()), int(table.max())), True, self.parameters)
        return self._source(name, population.shape, columns, static)

    # Max-pools

    def _pool(self, population: MaxPool) -> Job:
        source = self._population(population.source)
        levels = self.network.schedule.levels(self.steps)
        if source.static:
            levels = int(np.abs(self.network.input.table).max())
        bits = 1 + max(levels, self.columns.length if self.network.drain else 0).bit_length()
        self._width("count_bits", "sums of a max-pool", bits)
        if not self.parameters.pooling:
            raise self._refusal("is a max-pool; the core was made without a max-pool unit (pooling)")
        self.columns = source.columns
        top, _, left, _ = population.padding
        taps = tuple(
            _Tap(row=i - top, column=j - left, weight=0)
            for i, j in product(range(population.kernel[0]), range(population.kernel[1]))
        )
        window = _Window(
            source=source,
            stride=population.stride,
            taps=taps,
            advance=0,
            dense=False,
            static=False,
            shifted=False,
            weights=np.zeros((1, 1, 1), np.int64),
        )
        segment = self._segment(window, 0, 1, 0) | {"last": 1, "end": 1}
        fields = self._fields() | {
            "blocks": self.shape[0],
            "pooling": 1,
            "zeros": population.zero_padding,
            "double": self.code or source.static,
        }
        return Job(
            channel=0,
            fields=fields,
            segments=[segment],
            fetches=self.tables.fetches,
            taps=self.tables.taps,
            constants=[],
            weights=np.zeros((0, self.parameters.channels), np.int8),
        )

    # Neurons

    def _neurons(self, population: Spiking | Readout) -> Iterator[Job]:
        windows = [self._window(projection) for projection in self.network.incoming(population.name)]
        bias = population.bias.astype(np.int64)
        if bias.ndim > 1:
            windows.insert(0, self._bias_map(bias.reshape(self.shape)))
            bias = np.zeros(self.shape[0], np.int64)
        windows.sort(key=lambda window: not window.static)
        self._check(population, windows)
        constants = self._constants(population, bias)
        channels = self.parameters.channels
        blocks = [self._block(windows, first) for first in range(0, self.shape[0], channels)]
        most = min(self.parameters.segments // len(blocks[0][0]), self.parameters.neurons // channels)
        settings = self._settings(population, windows)
        start = 0
        while start < len(blocks):
            stop = start
            words = 0
            while (
                stop < len(blocks)
                and stop - start < most
                and words + len(blocks[stop][1]) <= self.parameters.weight_words
            ):
                words += len(blocks[stop][1])
                stop += 1
            if stop == start:
                self._limit("weight_words", len(blocks[start][1]))
                self._limit("segments", len(blocks[start][0]))
                self._limit("neurons", channels)
            yield self._job(blocks[start:stop], start * channels, constants, settings)
            start = stop

    def _job(
        self,
        blocks: list[tuple[list[dict[str, Any]], NDArray[np.int8]]],
        first: int,
        constants: list[dict[str, Any]],
        settings: dict[str, Any],
    ) -> Job:
        count = min(len(blocks) * self.parameters.channels, self.shape[0] - first)
        segments = []
        at = 0
        for entries, words in blocks:
            segments += [entry | {"weights": entry["weights"] + at} for entry in entries]
            at += len(words)
        return Job(
            channel=first,
            fields=self._fields() | settings | {"blocks": len(blocks), "channels": count},
            segments=segments,
            fetches=self.tables.fetches,
            taps=self.tables.taps,
            constants=constants[first : first + count],
            weights=np.concatenate([words for _, words in blocks]),
        )

    def _fields(self) -> dict[str, Any]:
        """What every job of this layer has in common."""
        channels, height, width = self.shape
        pixels = self.parameters.pixels
        return {
            "channels": channels,
            "tile_rows": -(-height // self.parameters.rows),
            "tile_columns": -(-width // pixels),
            "rows": height,
            "last": (1 << (width - 1) % pixels + 1) - 1,
            "steps": self.steps,
            "length": self.columns.length,
            "lead": self.columns.lead,
        }

    def _settings(self, population: Spiking | Readout, windows: list[_Window]) -> dict[str, Any]:
        still = all(window.static for window in windows)
        separated = population.schedule.separated
        fields: dict[str, Any] = {
            "separated": separated,
            "readout": isinstance(population, Readout),
            "double": self.code,
            "still": still,
            "static": any(window.static for window in windows),
            "repeats": 1 if self.code else self.steps,
        }
        if isinstance(population, Spiking):
            low, high = population.limits(self.steps)
            rate = not separated
            capped = rate and population.cap != NO_CAP
            fields["settings"] = {
                "negative": population.neuron == "signed" or (rate and population.neuron == "dual"),
                "capped": capped,
                "gated": rate and (population.neuron == "dual" or (population.neuron == "signed" and capped)),
                "low": low if rate and population.neuron != "if" and (capped or population.neuron == "dual") else 0,
                "high": high if capped else 0,
            }
            needed = max(self.columns.length, high if capped else 0).bit_length() + 1
            if rate:
                self._width("count_bits", f"net counts of {self.columns.length} steps", needed)
        return fields

    def _constants(self, population: Spiking | Readout, bias: NDArray[np.int64]) -> list[dict[str, Any]]:
        shift = np.zeros(self.shape[0], np.int64)
        for projection in self.network.incoming(population.name):
            if projection.shift is not None:
                part = slice(projection.channel, projection.channel + len(projection.shift))
                shift[part] = projection.shift
        if shift.max(initial=0) >= 1 << SHIFT_BITS:
            raise self._refusal(f"has an input shift of {shift.max()}; up to {(1 << SHIFT_BITS) - 1} are possible")
        result = []
        for channel in range(self.shape[0]):
            entry = {
                "bias": int(bias[channel]),
                "shift": int(shift[channel]),
                "threshold": 1,
                "up": 1,
                "down": 0,
                "initial": 0,
            }
            if isinstance(population, Spiking):
                threshold = int(population.threshold[channel])
                up = threshold << (self.steps - 1) if self.code else threshold
                separated = population.schedule.separated
                down = threshold - up if separated else -int(population.negative_threshold[channel])
                entry |= {
                    "threshold": threshold,
                    "up": up,
                    "down": down,
                    "initial": int(population.initial_membrane[channel]),
                }
            result.append(entry)
        return result

    def _block(self, windows: list[_Window], first: int) -> tuple[list[dict[str, Any]], NDArray[np.int8]]:
        """Segments and weight words of the C channels from ``first`` on."""
        channels = self.parameters.channels
        entries: list[dict[str, Any]] = []
        words: list[NDArray[np.int64]] = []
        at = 0
        moving = [window for window in windows if not window.static]
        for window in windows:
            lanes = np.zeros((channels, *window.weights.shape[1:]), np.int64)
            part = window.weights[first : first + channels]
            lanes[: len(part)] = part
            used = np.flatnonzero(lanes.any(axis=(0, 2)))
            begin, end = (int(used[0]), int(used[-1]) + 1) if len(used) else (0, 1)
            entry = self._segment(window, begin, end, at)
            entry["last"] = window.static or window is moving[-1]
            entry["end"] = window is windows[-1]
            entries.append(entry)
            words.append(lanes[:, begin:end].transpose(1, 2, 0).reshape(-1, channels))
            at += len(words[-1])
        return entries, np.concatenate(words).astype(np.int8)

    def _segment(self, window: _Window, begin: int, end: int, weights: int) -> dict[str, Any]:
        """The segment of a window for the source channels ``begin`` .. ``end``."""
        parameters, source = self.parameters, window.source
        _, height, width = source.shape
        pitch = source.pitch(parameters)
        plane = height * pitch
        stride = height if window.dense else window.stride[0]  # a dense layer has one row: the others see nothing
        fetch, number = self.tables.add(window)
        return {
            "events": source.address + begin * plane,
            "plane": plane,
            "tile_offset": parameters.rows * stride * pitch,
            "row_offset": stride * pitch,
            "chunk_offset": row_words(width, parameters),
            "rows": height,
            "groups": -(-width // parameters.pixels),
            "edge": (1 << (width - 1) % parameters.pixels + 1) - 1,
            "tile_rows": 0 if window.dense else parameters.rows * stride,
            "row_stride": stride,
            "tile_groups": window.stride[1],
            "inputs": end - begin,
            "weights": weights,
            "advance": window.advance,
            "first": fetch,
            "number": number,
            "chunks": source.columns.chunks(parameters),
            "last": 0,
            "end": 0,
            "static": window.static,
            "shifted": window.shifted,
        }

    # Projections as windows

    def _bias_map(self, bias: NDArray[np.int64]) -> _Window:
        """A border bias as static input: its own map, through the identity."""
        self.values[BIAS_MAP] = bias
        columns = Columns.of(planes(int(bias.min()), int(bias.max())), True, self.parameters)
        return _Window(
            source=self._source(BIAS_MAP, self.shape, columns, True),
            stride=(1, 1),
            taps=(_Tap(row=0, column=0, weight=0),),
            advance=1,
            dense=False,
            static=True,
            shifted=False,
            weights=np.eye(self.shape[0], dtype=np.int64)[:, :, None],
        )

    def _window(self, projection: Projection) -> _Window:
        source = self._population(projection.source)
        label = f"projection '{projection.label}'"
        pooled = projection.pool.output(self.network[projection.source].shape) if projection.pool else source.shape
        pooled = cells(pooled)
        weights = projection.weights.astype(np.int64)
        channels = self.shape[0]
        stride: tuple[int, int] = (1, 1)
        high: tuple[bool, ...] = (False,)
        if projection.kind == "dense":
            if self.shape[1:] != (1, 1):
                raise InputError(f"{label}: is dense into a map of {self.shape}; the core computes dense (C,) layers")
            cell_taps = [(y, x, y * pooled[2] + x) for y, x in product(range(pooled[1]), range(pooled[2]))]
            grid = weights.reshape(channels, pooled[0], -1)
        elif projection.kind == "identity":
            grid, high = self._wide(label, weights)
            stride = projection.stride
            cell_taps = [(0, 0, 0)]
            spread = np.zeros((channels, pooled[0], grid.shape[1]), np.int64)
            own = np.arange(pooled[0])
            spread[projection.channel + own, own] = grid
            grid = spread
        else:
            outputs, depth, height, width = weights.shape
            stride = projection.stride
            top, _, left, _ = projection.padding
            cell_taps = [
                (i * projection.dilation[0] - top, j * projection.dilation[1] - left, i * width + j)
                for i, j in product(range(height), range(width))
            ]
            grid = np.zeros((channels, pooled[0], height * width), np.int64)
            each = outputs // projection.groups
            for group in range(projection.groups):
                rows = slice(projection.channel + group * each, projection.channel + (group + 1) * each)
                grid[rows, group * depth : (group + 1) * depth] = weights[group * each : (group + 1) * each].reshape(
                    each, depth, -1
                )
        taps: list[_Tap] = []
        pool = projection.pool
        kernel, step, padding = (pool.kernel, pool.stride, pool.padding) if pool else ((1, 1), (1, 1), (0, 0, 0, 0))
        for y, x, word in cell_taps:
            for i, j in product(range(kernel[0]), range(kernel[1])):
                row, column = y * step[0] - padding[0] + i, x * step[1] - padding[2] + j
                if projection.kind == "dense" and not (0 <= row < source.shape[1] and 0 <= column < source.shape[2]):
                    continue
                taps.extend(_Tap(row=row, column=column, weight=word + plane, high=up) for plane, up in enumerate(high))
        if pool and projection.kind == "conv":
            self._check_pool(label, projection, source, pooled)
        return _Window(
            source=source,
            stride=(stride[0] * step[0], stride[1] * step[1]),
            taps=tuple(taps),
            advance=grid.shape[2],
            dense=projection.kind == "dense",
            static=source.static,
            shifted=projection.shift is not None,
            weights=grid,
        )

    def _wide(self, label: str, weights: NDArray[np.int64]) -> tuple[NDArray[np.int64], tuple[bool, ...]]:
        """Identity weights ``(C,)`` as one or two 8-bit words."""
        bits = signed_bits(weights, weights)
        if bits <= 8:
            return weights[:, None], (False,)
        low = (weights + 128) % 256 - 128
        upper = (weights - low) >> 8
        if np.abs(upper).max() > 127 or self.parameters.weight_planes == 1:
            raise WidthError(f"{label}: its weights need {bits} bits, the core has {self.parameters.weight_bits}", bits)
        return np.stack([low, upper], axis=1), (False, True)

    def _check_pool(self, label: str, projection: Projection, source: Source, pooled: tuple[int, int, int]) -> None:
        """Cells that the convolution pads must not cover pixels: lanes cannot tell them apart."""
        pool = projection.pool
        assert pool is not None
        for axis in (0, 1):
            size, cells_there = source.shape[1 + axis], pooled[1 + axis]
            kernel = projection.weights.shape[2 + axis]
            for out, tap in product(range(self.shape[1 + axis]), range(kernel)):
                cell = out * projection.stride[axis] + tap * projection.dilation[axis] - projection.padding[2 * axis]
                first = cell * pool.stride[axis] - pool.padding[2 * axis]
                if not 0 <= cell < cells_there and first < size and first + pool.kernel[axis] > 0:
                    raise InputError(
                        f"{label}: pads a pooled map whose windows leave pixels over; the core cannot do that. Pad in "
                        "front of the pooling, or choose a pooling that divides the map"
                    )

    # Widths

    def _check(self, population: Spiking | Readout, windows: list[_Window]) -> None:
        parameters = self.parameters
        found: Range = analyse(self.network, self.steps)[population.name]
        shifted = [p for p in self.network.incoming(population.name) if p.shift is not None]
        if len(shifted) > 1:
            raise self._refusal(
                f"takes {len(shifted)} shifted projections from the input; the core has one shift a channel"
            )
        needs = {"currents": found.current_bits}
        if isinstance(population, Readout):
            needs["membranes"] = found.membrane_bits
        else:
            network = self.network
            self.widths["membrane_bits"] = found.membrane_bits
            if network.membrane_bits != parameters.membrane_bits and found.membrane_bits > min(
                network.membrane_bits, parameters.membrane_bits
            ):
                raise WidthError(
                    f"'{population.name}': membranes need {found.membrane_bits} bits; the network clamps them to "
                    f"{network.membrane_bits}, the core to {parameters.membrane_bits}: make the core with as many",
                    found.membrane_bits,
                )
            for key in ("initial_membrane", "negative_threshold"):
                needs[f"{key.replace('_', ' ')}s"] = signed_bits(-getattr(population, key), getattr(population, key))
            if self.code:
                needs["thresholds"] = 1 + (int(population.threshold.max()) << (self.steps - 1)).bit_length()
        for window in windows:
            if window.static:
                largest = np.abs(self.values[BIAS_MAP]) if window.source.name == BIAS_MAP else self.network.input.table
                most = self._sums(window).max(initial=0) * int(np.abs(largest).max(initial=0))
                needs["input currents"] = max(needs.get("input currents", 0), 1 + int(most).bit_length())
        for what, bits in needs.items():
            self._width("state_bits", what, bits)
        passes = [self._sums(window) for window in windows if window.static]
        passes.append(sum((self._sums(w) for w in windows if not w.static), np.zeros(self.shape[0], np.int64)))
        bits = 1 + max(int(sums.max(initial=0)).bit_length() for sums in passes)
        self._width("accumulator_bits", "the sums of a step", bits)

    def _sums(self, window: _Window) -> NDArray[np.int64]:
        """The largest magnitude that one column of a window can sum to, for each target channel."""
        total = np.zeros(self.shape[0], np.int64)
        for tap in window.taps:
            total += np.abs(window.weights[:, :, tap.weight]).sum(axis=1) << (8 if tap.high else 0)
        return total
