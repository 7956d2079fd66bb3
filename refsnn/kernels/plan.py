"""The plan of a network for dense kernels, made once: layouts, packed weights, and which population goes which way.

A projection becomes steps: 64 bytes of events, each with the weights of a block of columns (``_steps``); steps whose
weights are all 0 are left out, so groups and concatenations cost what they hold. What has one weight for each column
and tap becomes taps instead (``_channelwise``). A population that cannot be packed is left to the event-driven kernels.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from refsnn.errors import WidthError
from refsnn.geometry import NO_PADDING, Padding, Shape
from refsnn.kernels.compiled import address_of, compile_together
from refsnn.kernels.dense import Kernels
from refsnn.kernels.folding import FOLD, FOLDED, folded_rows, largest_sum
from refsnn.kernels.job import JOB
from refsnn.kernels.maps import COLUMNS, DEPTH, REACH, ROWS, Counts, Layout, Maps, Memory, narrow_depth
from refsnn.kernels.remembered import remember
from refsnn.kernels.rows import SCRATCH, SETTINGS, count_codes, count_spikes, fire_once, fires, keep
from refsnn.kernels.vectors import SIGNED_BITS, UNSIGNED_BITS
from refsnn.network import Input, MaxPool, Network, Projection, Readout, Spiking, SumPool
from refsnn.ranges import analyse

LARGEST = 127
"""The largest magnitude of an event that an int8 holds."""

LARGEST_WITH_OFFSET = 255
"""The largest event of a source that is never negative, held with an offset."""

OFFSET = 128

PARTS = 24
"""An identity onto other columns is split into so many weights of 8 bits at most."""

PANEL_BYTES = 700_000
"""Weights that stay in the second-level cache while the map passes line by line; larger ones stay for the whole map."""

ABREAST_BYTES = 1 << 13
"""Weights of two blocks of columns that are worked on by turns; larger ones would leave the first-level cache."""

FOLDING = 120
"""What folding four rows of 64 bytes takes: as long as so many ``Dense.operands``."""

UNFOLDING = 32
"""What unfolding four rows of sums of a block of columns takes, likewise."""

Feed: TypeAlias = tuple[str, SumPool | None]
"""A population and the sum-pool that its events go through."""


@dataclass(frozen=True, eq=False)
class _Reader:
    """How a projection reads a feed.

    Attributes:
        padding: of the projection.
        halo: the same, and on the right what an incomplete group of pixels reads as well.
        lines, columns: from one position to the next.
    """

    feed: Feed
    padding: Padding
    halo: Padding
    lines: int
    columns: int

    def first(self, maps: Layout) -> tuple[int, int]:
        """The line and the column of maps, halo included, that the first position's window begins with."""
        return maps.halo[0] - self.padding[0], maps.halo[2] - self.padding[2]


@dataclass(frozen=True, eq=False)
class Dense:
    """A population and all that feeds it, packed for dense kernels.

    Attributes:
        population: which.
        shape: its ``(C, H, W)``.
        readers: of its projections.
        symbols: ``(K, 4) int64``: each step's block of channels, line, column and byte in its reader's windows.
        readers_of: ``(K,) int64``.
        bounds: ``(blocks, S + 1) int64``.
        weights: ``(K, 2, 16, 16, 4) int8``.
        signed: whether there may be negative events, as they are held.
        fold_bits: k of ``folding`` for the rows that have steps, or 0.
        corrections: ``(blocks, COLUMNS) int32``: minus 128 times the sums of weights where ``signed``, else 0.
        tap_symbols, tap_readers: as ``symbols`` and ``readers_of``, ``(Q, 4)`` and ``(Q,)``.
        tap_bounds: as ``bounds``.
        tap_weights: ``(Q, COLUMNS) int16``, or int32 where their sums need it.
        adjust: ``(blocks, 3, COLUMNS) int32``, or None.
        bias: as ``spread`` makes it.
        settings: ``(blocks, SETTINGS, COLUMNS) int32``.
        lines_inner: whether lines are worked on before columns.
        static: whether what it reads is the same in every step.
        beside: whether it has currents that are, beside those that it reads itself.
        counted, clamped: of ``rows.make_fire``.
        length: T', of its train.
        prepared: what ``run`` made ready, by number of images and layouts.
    """

    population: Spiking | Readout
    shape: Shape
    readers: tuple[_Reader, ...]
    symbols: NDArray[np.int64]
    readers_of: NDArray[np.int64]
    bounds: NDArray[np.int64]
    weights: NDArray[np.int8]
    signed: bool
    fold_bits: int
    corrections: NDArray[np.int32]
    tap_symbols: NDArray[np.int64]
    tap_readers: NDArray[np.int64]
    tap_bounds: NDArray[np.int64]
    tap_weights: NDArray[np.int16] | NDArray[np.int32]
    adjust: NDArray[np.int32] | None
    bias: NDArray[np.int32]
    settings: NDArray[np.int32]
    static: bool
    beside: bool
    counted: bool
    clamped: bool
    steps: int
    length: int
    limits: tuple[int, int]
    width: tuple[int, int]
    lines_inner: bool
    kernels: Kernels
    prepared: dict[tuple[int, tuple[Layout, ...], Layout | None], Prepared] = field(default_factory=dict)

    @property
    def offset(self) -> int:
        """Of the maps that receive its events."""
        schedule = self.population.schedule
        return OFFSET if schedule.separated and schedule.levels(self.steps) > LARGEST else 0

    @cached_property
    def quads(self) -> NDArray[np.int64]:
        """``(K, 3)``: a step's inputs, by four, go to the first half of the columns up to the first number, to both up
        to the second, and to the second half up to the third; what is left out has no weights."""
        count = DEPTH // 4
        place = np.arange(count, dtype=np.int8)[:, np.newaxis, np.newaxis]
        used = self.weights != 0
        end = np.where(used, place + 1, 0).max(axis=(2, 3, 4), initial=0)  # of each half
        begin = np.where(used[:, 1], place, count).min(axis=(1, 2, 3), initial=count)
        ends = np.stack([np.minimum(begin, end[:, 0]), end[:, 0], end.max(axis=1)], axis=1)
        return np.ascontiguousarray(ends, np.int64)

    def neurons(self) -> tuple[Any, Any]:
        """What its neurons make of sums, and what counts their events: compiled functions of ``rows``."""
        separated = self.population.schedule.separated
        update = fire_once if separated else fires[self.counted, self.clamped]
        if isinstance(self.population, Readout):
            update = keep
        return update, count_codes if separated else count_spikes

    @cached_property
    def operands(self) -> int:
        """How often a row of events is multiplied with weights: four inputs with one half of a block's columns."""
        return int((self.quads @ (-1, 1, 1)).sum()) if self.kernels.halves else len(self.quads) * DEPTH // 2

    @cached_property
    def feeds(self) -> tuple[Feed, ...]:
        """What it reads, each once."""
        return tuple(dict.fromkeys(reader.feed for reader in self.readers))

    def call(self, feeds: dict[Feed, Maps], number: int, out: Maps | None, memory: Memory) -> Call:
        """What runs the population on ``number`` images, made once.

        Args:
            feeds: the events that it reads.
            out: receives its events; None for a readout.
            memory: the thread's.
        """
        read = [feeds[reader.feed] for reader in self.readers]
        key = self, number, out, *read
        known = memory.calls.get(key)
        if isinstance(known, Call):
            return known
        layouts = number, tuple(maps.layout for maps in read), None if out is None else out.layout
        if layouts not in self.prepared:
            self.prepared[layouts] = self._prepare(*layouts)
        call = memory.calls[key] = Call(self, self.prepared[layouts], read, out, memory)
        return call

    def _prepare(self, number: int, layouts: tuple[Layout, ...], out: Layout | None) -> Prepared:
        """All that a run needs but the addresses of what differs from run to run."""
        separated = self.population.schedule.separated
        rows = number if self.static or separated else number * self.length
        target = out or Layout(self.shape, rows)
        pixels = target.pixels
        groups = -(-self.shape[2] // pixels)
        inner, outer = (self.shape[1], groups) if self.lines_inner else (groups, self.shape[1])
        outers = 2 if self.lines_inner and not target.wide else 1  # two neighbours' events are a cache line
        turns = target.wide and 2 * self.weights.nbytes <= len(self.bounds) * ABREAST_BYTES
        split = self._split(layouts) if 1 < rows < ROWS else {}
        views = [split[index].layout if index in split else layout for index, layout in enumerate(layouts)]
        sources = self._sources(layouts, views, split)
        flat = len(sources) > 0 and bool((sources[:, 2] == rows * sources[:, 3]).all())
        group = _group(rows) if flat else 1
        folds = self._folds(layouts, views, inner * outer, group)
        if folds:
            views = [folds[index].layout if index in folds else view for index, view in enumerate(views)]
            sources = self._sources(layouts, views, split)
        offsets = self._offsets(self.symbols, self.readers_of, layouts, views, split)
        taps = self._offsets(self.tap_symbols, self.tap_readers, layouts, views, split)
        sums = (inner * outer, rows, len(self.bounds) * COLUMNS)
        if out is None:
            row = 4 * sums[2]
            out_pair, out_block, out_outer, out_inner = 8 * COLUMNS, 4 * COLUMNS, inner * rows * row, rows * row
        else:
            out_pair, line, column, row = out.strides
            out_block = COLUMNS
            out_outer, out_inner = (column * pixels, line) if self.lines_inner else (line, column * pixels)
        update, count = self.neurons()
        counted = np.zeros((1 if separated else self.length, outer, inner, pixels, target.depth), np.int32)
        if target.wide and not separated:  # all channels of a pixel are counted together, and may be many
            counted = np.zeros((*counted.shape[:-1], 1), np.int64)
        values = {
            "number": len(sources),
            "offsets": offsets.ctypes.data,
            "bounds": self.bounds.ctypes.data,
            "quads": self.quads.ctypes.data,
            "weights": self.weights.ctypes.data,
            "corrections": self.corrections.ctypes.data,
            "tap_offsets": taps.ctypes.data,
            "tap_bounds": self.tap_bounds.ctypes.data,
            "tap_weights": self.tap_weights.ctypes.data,
            "tap_wide": self.tap_weights.itemsize == 4,
            "blocks": len(self.bounds),
            "inner": inner,
            "group": group,
            "rows": rows,
            "dense_rows": folded_rows(rows) if folds else rows,
            "fold_bits": self.fold_bits if folds else 0,
            "band": outers if self.weights.nbytes <= PANEL_BYTES else outer,
            "outers_abreast": outers,
            "blocks_abreast": 2 if turns else 1,
            "adjust": 0 if self.adjust is None else self.adjust.ctypes.data,
            "times": self.steps if separated and self.population.schedule.base == 1 else 1,
            "update": address_of(update),
            "count": address_of(count),
            "settings": self.settings.ctypes.data,
            "low": self.limits[0],
            "high": self.limits[1],
            "smallest": self.width[0],
            "largest": self.width[1],
            "base": self.population.schedule.base,
            "images": number,
            "steps": self.steps if separated else self.length,
            "input_steps": self.steps,
            "step_rows": 0 if self.static else number,
            "out_pair": out_pair,
            "out_block": out_block,
            "out_outer": out_outer,
            "out_inner": out_inner,
            "out_row": row,
            "out_wide": target.wide,
            "out_offset": self.offset,
            "pixels": pixels,
            "depth": min(target.depth, COLUMNS),
            "lines_inner": self.lines_inner,
            "width": self.shape[2],
            **{f"counted_{name}": counted.strides[axis] for axis, name in enumerate(("step", "outer", "inner"))},
        }
        job = np.zeros(1, JOB)
        for name, value in values.items():
            job[name] = value
        room = -(-group * rows // ROWS) * ROWS
        job["scratch_half"] = 4 * room * COLUMNS
        return Prepared(job, sources, outer, sums, counted, room, split, folds, held=(offsets, taps))

    def _sources(
        self, layouts: Sequence[Layout], views: Sequence[Layout], split: dict[int, Split]
    ) -> NDArray[np.int64]:
        """The job's, relative to the first byte of what is read: ``views`` of maps with these ``layouts``."""
        pixels = Layout(self.shape, 1).pixels
        sources = np.empty((len(self.readers), 4), np.int64)
        for index, (reader, layout, view) in enumerate(zip(self.readers, layouts, views, strict=True)):
            _, line, column, row = view.strides
            first = list(reader.first(layout))
            by_line, by_group = reader.lines * line, reader.columns * pixels * column
            by_outer, by_inner = (by_group, by_line) if self.lines_inner else (by_line, by_group)
            if index in split:
                by_inner //= split[index].stride
                first[split[index].axis - 1] = 0
            elif view.rows == 1 and by_inner <= REACH * row:
                row = by_inner  # the only row of a position, so the next one is that of the next position
            sources[index] = first[0] * line + first[1] * column, by_outer, by_inner, row
        return sources

    def _offsets(
        self,
        symbols: NDArray[np.int64],
        readers: NDArray[np.int64],
        layouts: Sequence[Layout],
        views: Sequence[Layout],
        split: dict[int, Split],
    ) -> NDArray[np.int64]:
        """Of the events of symbols, each of its reader, from their source."""
        cells = symbols.copy()
        for index, each in split.items():
            first = self.readers[index].first(layouts[index])[each.axis - 1]
            cells[readers == index, each.axis] = each.place(first + cells[readers == index, each.axis])
        strides = np.array([(*view.strides[:3], 1) for view in views], np.int64).reshape(-1, 4)
        offsets: NDArray[np.int64] = (cells * strides[readers]).sum(axis=1)
        return offsets

    def _split(self, layouts: tuple[Layout, ...]) -> dict[int, Split]:
        """By reader, the copies that let neighbouring positions fill a tile where strides part them."""
        axis = 1 if self.lines_inner else 2
        if any(layout.strides[axis] != layout.rows * layout.strides[3] for layout in layouts):
            return {}
        strides = [reader.lines if self.lines_inner else reader.columns for reader in self.readers]
        return {index: Split(layouts[index], axis, stride) for index, stride in enumerate(strides) if stride > 1}

    def _folds(self, layouts: Sequence[Layout], views: Sequence[Layout], positions: int, group: int) -> dict[int, Fold]:
        """By reader, how what it reads is folded, where that takes less than it saves."""
        dense = [int(index) for index in np.unique(self.readers_of)]
        rows = views[dense[0]].rows if dense and self.fold_bits else 0
        taken = self.kernels.folds
        if taken is None or rows < FOLDED:
            return {}
        fewer = taken(group * rows) - taken(group * folded_rows(rows))
        saved = fewer * self.operands * positions // group
        blocks = int((self.bounds[:, 0] < self.bounds[:, -1]).sum())
        spent = UNFOLDING * blocks * positions * (rows // FOLDED)
        spent += sum(FOLDING * views[index].bytes // (FOLDED * DEPTH) for index in dense)
        return {index: self._fold(index, layouts[index], views[index]) for index in dense} if saved > spent else {}

    def _fold(self, index: int, maps: Layout, view: Layout) -> Fold:
        """Narrow maps are folded all at once, others line by line."""
        layout = replace(view, rows=folded_rows(view.rows))
        reader = self.readers[index]
        first, step = reader.first(maps)[0], reader.lines
        span = 1 + int(self.symbols[self.readers_of == index, 1].max())
        if self.lines_inner:
            first, step, span = 0, 0, view.size[1]
        units, size = (view.size[2], DEPTH) if view.wide else (1, view.size[2] * view.depth)
        how = np.zeros(view.size[0], FOLD)
        how["source"] = np.arange(len(how)) * view.strides[0]
        how["target"] = np.arange(len(how)) * layout.strides[0]
        how["source_line"], how["target_line"] = view.strides[1], layout.strides[1]
        how["units"], how["size"] = units, size
        how["first"], how["step"], how["span"] = first, step, span
        return Fold(layout, how)

    def membranes(
        self, sums: NDArray[np.int32], number: int, static: NDArray[np.int32] | None, marks: tuple[int, ...]
    ) -> NDArray[np.int64]:
        """A readout's membranes ``(marks, N, *shape)`` from what ``run`` gave: at several T in rate schedules only."""
        channels, height, width = self.shape
        layout = Layout(self.shape, 1)
        constant = self.bias if static is None else spread(static, self.shape, self.bias)
        groups = -(-width // layout.pixels)
        lines_inner = self.lines_inner
        rows = sums.shape[1]
        order = (groups, height) if lines_inner else (height, groups)
        maps = sums.reshape(*order, rows // number, number, -1).astype(np.int64)
        maps = maps.transpose(2, 3, 1, 0, 4) if lines_inner else maps.transpose(2, 3, 0, 1, 4)
        added = constant.reshape(*constant.shape[:3], -1)
        if self.population.schedule.separated:
            ends = maps + added  # the bias is that of all steps already
        else:
            length = maps.shape[0]
            running = np.cumsum(maps, axis=0)
            last = [min(mark, length) - 1 for mark in marks] if len(marks) > 1 else [length - 1]
            times = np.array(marks, np.int64).reshape(-1, 1, 1, 1, 1)
            sent = maps * times if self.static else running[last]
            ends = sent + times * added
        outputs = ends.reshape(*ends.shape[:3], groups * layout.pixels, -1)[:, :, :, :width, :channels]
        shape = *outputs.shape[:2], *self.population.shape
        return outputs.transpose(0, 1, 4, 2, 3).reshape(shape).copy()  # a view would keep all columns


@dataclass(frozen=True, eq=False)
class Prepared:
    """A call of a kernel, but for addresses.

    Attributes:
        job: ``(1,)`` of ``JOB``.
        sources: the job's, relative to the first byte of the maps.
        outer: outer positions.
        sums: shape of a readout's sums.
        counted: zeros ``(T', outer, inner, pixels, columns of each)``: events that are not 0, of codes their digits.
        rows: of sums that a group may write.
        split, folds: by reader, what is read from a copy, and what is folded.
        held: arrays that the job knows by address only.
    """

    job: NDArray[np.void]
    sources: NDArray[np.int64]
    outer: int
    sums: Shape
    counted: NDArray[np.int64] | NDArray[np.int32]
    rows: int
    split: dict[int, Split]
    folds: dict[int, Fold]
    held: tuple[Any, ...]


@dataclass(frozen=True, eq=False)
class Split:
    """A copy of maps in which what a stride reads one after the other follows each other.

    Attributes:
        source: of the maps.
        axis: 1: lines are parted by their remainder, 2: columns are; halo included.
        stride: by what they are divided.
    """

    source: Layout
    axis: int
    stride: int

    @property
    def _each(self) -> int:
        """Lines or columns of one remainder."""
        return -(-self.source.size[self.axis] // self.stride)

    @cached_property
    def layout(self) -> Layout:
        """Of the copy, which has its halo inside."""
        _, *size = self.source.size
        size[self.axis - 1] = self.stride * self._each
        return Layout((self.source.shape[0], *size), self.source.rows)

    def place(self, cells: NDArray[np.int64]) -> NDArray[np.int64]:
        """Where lines or columns of the maps are in the copy."""
        return cells % self.stride * self._each + cells // self.stride

    def views(self, maps: NDArray[np.int8], copy: NDArray[np.int8]) -> list[tuple[NDArray[np.int8], NDArray[np.int8]]]:
        """What is to be copied, and where to."""
        before, cells = math.prod(self.source.size[: self.axis]), self.source.size[self.axis]
        source = maps[: self.source.bytes].reshape(before, cells, -1)
        target = copy[: self.layout.bytes].reshape(before, self.stride, self._each, -1)
        parts = [source[:, remainder :: self.stride] for remainder in range(self.stride)]
        return [(part, target[:, remainder, : part.shape[1]]) for remainder, part in enumerate(parts)]


@dataclass(frozen=True, eq=False)
class Fold:
    """A copy of maps in which four rows are three.

    Attributes:
        layout: of the copy.
        how: ``(blocks of channels,)`` of ``FOLD``, relative to the first bytes.
    """

    layout: Layout
    how: NDArray[np.void]


class Call:
    """A call of a kernel on maps of a thread's memory, made once: Python's share of a layer's time counts.

    Attributes:
        population: whose.
        sums: of a readout, until the next run; else None.
    """

    def __init__(self, dense: Dense, prepared: Prepared, read: list[Maps], out: Maps | None, memory: Memory) -> None:
        self.population = dense.population.name
        self._dense = dense
        self._kernel = dense.kernels.layer()
        self._held = prepared.held  # another thread may have prepared the same, and its arrays are kept instead
        self._memory = memory
        self._parts = parts = min(memory.parts, prepared.outer)
        self._cuts = [prepared.outer * part // parts for part in range(parts + 1)]
        self._sources = prepared.sources.copy()
        self._copies: list[tuple[NDArray[np.int8], NDArray[np.int8]]] = []
        self._flips: list[tuple[NDArray[np.int8], NDArray[np.int8]]] = []
        folds = [np.zeros(0, FOLD)]
        for index, maps in enumerate(read):
            events = maps.memory
            if index in prepared.split:
                split = prepared.split[index]
                events = memory.room("split", index, split.layout.bytes + split.layout.slack)
                self._copies.extend(split.views(maps.memory, events))
            if index in prepared.folds:
                fold = prepared.folds[index]
                copy = memory.room("folded", index, fold.layout.bytes + fold.layout.slack)
                folds.append(fold.how.copy())
                folds[-1]["source"] += events.ctypes.data
                folds[-1]["target"] += copy.ctypes.data
                events = copy
            elif dense.signed and dense.kernels.unsigned and index in dense.readers_of:
                copy = memory.room("flipped", index, events.size)
                self._flips.append((events, copy))
                events = copy
            self._sources[index, 0] += events.ctypes.data
        self._counted = prepared.counted.copy()
        self._clamps = np.zeros((parts, len(self._counted)), np.int64)
        self.sums = np.zeros(prepared.sums, np.int32) if out is None else None
        self._jobs = jobs = np.repeat(prepared.job, parts)
        jobs["sources"] = self._sources.ctypes.data
        self._folds = np.concatenate(folds)
        jobs["folds"], jobs["folds_number"] = self._folds.ctypes.data, len(self._folds)
        if out is not None:
            jobs["out"] = out.address + out.layout.origin
            jobs["counted"] = self._counted.ctypes.data
        if self.sums is not None:
            jobs["out"] = self.sums.ctypes.data
        for part in range(parts):
            jobs["scratch"][part] = memory.scratch("sums", part, 8 * prepared.rows * COLUMNS)
            jobs["folded"][part] = memory.scratch("folded", part, 4 * prepared.rows * COLUMNS)
            jobs["membranes"][part] = memory.scratch("neurons", part, SCRATCH)
            jobs["saturated"][part] = self._clamps[part].ctypes.data
        self._addresses = [jobs[part : part + 1].ctypes.data for part in range(parts)]
        jobs["address"] = self._addresses
        self._add(dense.bias)

    @property
    def multiply_adds(self) -> int:
        """Of a run's dense sums, with the zeros that the instruction cannot leave out; taps are no part of it."""
        job, dense = self._jobs[0], self._dense
        return dense.operands * 2 * COLUMNS * self._cuts[-1] * int(job["inner"]) * int(job["dense_rows"])

    def add(self, static: NDArray[np.int32]) -> None:
        """Add currents ``(N, H, W, C)`` in each step, until the next ones."""
        self._add(spread(static, self._dense.shape, self._dense.bias))

    def _add(self, constant: NDArray[np.int32]) -> None:
        distances = [0 if size == 1 else stride for size, stride in zip(constant.shape, constant.strides, strict=True)]
        jobs = self._jobs
        jobs["constant"] = constant.ctypes.data
        jobs["constant_image"], jobs["constant_block"] = distances[0], distances[3]
        outer, inner = distances[2:0:-1] if self._dense.lines_inner else distances[1:3]
        jobs["constant_outer"], jobs["constant_inner"] = outer, inner
        self._constant = constant  # the job knows no more than its address

    def run(self) -> None:
        """Run the kernel."""
        for part, copy in self._copies:
            np.copyto(copy, part)
        for events, copy in self._flips:
            np.bitwise_xor(events, np.int8(-128), out=copy)
        if self._parts == 1:
            self._work(0)
            return
        assert self._memory.helpers is not None
        list(self._memory.helpers.map(self._work, range(self._parts)))

    def take_counts(self) -> Counts:
        """What was counted in all runs since these were taken; a readout counts nothing."""
        if self.sums is not None:
            return Counts()
        _, height, width = self._dense.shape
        counted = self._counted.sum(axis=-1, dtype=np.int64)
        maps = counted.swapaxes(1, 2) if self._dense.lines_inner else counted
        spikes = maps.reshape(len(maps), height, -1)[:, :, :width].reshape(len(maps), -1)
        counts = Counts(spikes, self._clamps.sum(axis=0))
        self._counted.fill(0)
        self._clamps.fill(0)
        return counts

    def _work(self, part: int) -> None:
        self._kernel(self._addresses[part], self._cuts[part], self._cuts[part + 1])


def _group(rows: int) -> int:
    """How many positions to work on in one go, so that few rows of a tile are empty."""
    if rows >= ROWS:
        return 1
    return min(
        range(ROWS // rows, 9), key=lambda size: -(-size * rows // 16) * 16 / (size * rows), default=ROWS // rows
    )


def spread(maps: NDArray[np.int32], shape: Shape, more: NDArray[np.int32] | None = None) -> NDArray[np.int32]:
    """Currents in the order of outputs: ``(N or 1, H or 1, groups of pixels or 1, blocks, COLUMNS)``.

    Args:
        maps: ``(N, H, W, C)``, or ``(C,)`` where they are the same for all images and pixels.
        shape: ``(C, H, W)``.
        more: of this kind, to be added.
    """
    layout = Layout(shape, 1)
    depth, pixels = layout.depth, layout.pixels
    blocks = -(-shape[0] // COLUMNS)
    if maps.ndim == 1:
        maps = maps[np.newaxis, np.newaxis, np.newaxis]
        whole = np.zeros((1, 1, 1, pixels, blocks * COLUMNS // pixels), np.int32)
        whole[..., : shape[0]] = maps[..., np.newaxis, :]
    else:
        groups = -(-shape[2] // pixels)
        whole = np.zeros((*maps.shape[:2], groups * pixels, blocks * COLUMNS // pixels), np.int32)
        whole[:, :, : shape[2], : shape[0]] = maps
        whole = whole.reshape(*maps.shape[:2], groups, pixels, -1)
    assert pixels == 1 or whole.shape[4] == depth
    result = whole.reshape(*whole.shape[:3], blocks, COLUMNS)
    return result if more is None else result + more


def plan(network: Network, kernels: Kernels, largest: dict[str, int], steps: int) -> dict[str, Dense]:
    """The populations for which dense kernels are made ready, for a run of ``steps`` time-steps.

    Args:
        network: which.
        kernels: of the kernel set.
        largest: by population, a bound of a step's current; with temporal separation of the accumulation.
        steps: T.
    """
    if network.drain < 0 or len({p.schedule for p in network.populations}) > 1:
        return {}
    key = "plan", kernels, steps
    return remember(network, key, lambda: _new_plan(network, kernels, largest, steps))


def _new_plan(network: Network, kernels: Kernels, largest: dict[str, int], steps: int) -> dict[str, Dense]:
    try:
        bits = {name: found.membrane_bits for name, found in analyse(network, steps).items()}
    except WidthError:
        return {}
    found: dict[str, Dense] = {}
    for population in network.populations:
        if isinstance(population, Spiking | Readout):
            clamped = bits[population.name] > network.membrane_bits
            dense = _plan(network, population, kernels, largest[population.name], clamped, steps)
            if dense is not None:
                found[population.name] = dense
    if all(isinstance(dense.population, Readout) for dense in found.values()):
        return {}  # a slice for dense kernels is smaller than what suits the others
    return found


def compile_for(plan: dict[str, Dense]) -> None:
    """Compile what its populations need, now and together."""
    layers = [dense.kernels.layer() for dense in plan.values()]
    neurons = [part for dense in plan.values() for part in dense.neurons()]
    compile_together(dict.fromkeys([*layers, *neurons]))


def halos(plan: dict[str, Dense]) -> dict[Feed, Padding]:
    """By feed, the cells of 0 that its readers need around it."""
    result: dict[Feed, Padding] = {}
    for dense in plan.values():
        for reader in dense.readers:
            before = result.get(reader.feed, NO_PADDING)
            top, bottom, left, right = (max(pair) for pair in zip(before, reader.halo, strict=True))
            result[reader.feed] = top, bottom, left, right
    return result


def _plan(
    network: Network, population: Spiking | Readout, kernels: Kernels, largest: int, clamped: bool, steps: int
) -> Dense | None:
    shape = _spatial(population.shape)
    incoming = network.incoming(population.name)
    static = all(network.is_static(projection.source) for projection in incoming)
    moving = [
        _without_pool(projection, _spatial(network[projection.source].shape))
        for projection in incoming
        if static or not network.is_static(projection.source)
    ]
    separated = population.schedule.separated
    length = steps if separated else steps + network.drain
    half = 1 << (network.membrane_bits - 1)
    limits, counted = (0, 0), False
    settings = np.zeros((-(-shape[0] // COLUMNS), SETTINGS, COLUMNS), np.int32)
    settings[:, 0] = 1 << 14
    if isinstance(population, Spiking):
        limits = population.limits(steps)
        threshold, initial = int(population.threshold.max()), int(np.abs(population.initial_membrane).max())
        if separated:
            limits = int(population.neuron == "signed"), 0
            fits = (
                population.schedule.levels(steps) <= _most(network, population.name)
                and largest + initial < 2**31
                and threshold << (steps if population.schedule.base == 2 else 0) < 2**31
            )
        else:
            counted = population.neuron != "if" or limits[1] < length
            fits = half + largest < 2**31
        if not fits or max(limits) >= 2**31:
            return None
        for row, values in enumerate(
            (population.threshold, population.negative_threshold, population.initial_membrane)
        ):
            settings[:, row] = spread(values, shape)[0, 0, 0]
        settings[:, 0][settings[:, 0] == 0] = 1 << 14
    insides = [_spatial(network[projection.source].shape) for projection in moving]
    packed = _pack(network, moving, shape, steps, static, folds=kernels.folds is not None and not static)
    if packed is None:
        return None
    bias = population.bias.astype(np.int32)
    bias = bias if bias.ndim == 1 else np.ascontiguousarray(bias.reshape(shape).transpose(1, 2, 0))[np.newaxis]
    times = steps if separated and population.schedule.base == 1 else 1
    return Dense(
        population=population,
        shape=shape,
        bias=times * spread(bias, shape),
        settings=settings,
        static=static,
        beside=len(moving) < len(incoming),
        counted=counted,
        clamped=clamped,
        steps=steps,
        length=length,
        limits=limits,
        width=(-half, half - 1),
        lines_inner=not any(Layout(each, 1).wide for each in (shape, *insides)),
        kernels=kernels,
        **packed,
    )


def _pack(
    network: Network, projections: list[Projection], shape: Shape, steps: int, static: bool, *, folds: bool
) -> dict[str, Any] | None:
    """Readers, steps, weights and taps of a population's projections, or None where one cannot be packed."""
    layout = Layout(shape, 1)
    blocks = -(-shape[0] // COLUMNS)
    readers: list[_Reader] = []
    symbols, weights = [], []
    taps: list[list[tuple[int, Any, Any]]] = [[] for _ in range(blocks)]
    reach = np.zeros((blocks, COLUMNS), np.int64)  # the largest sum of a column's taps
    adjust = np.zeros((blocks, 3, COLUMNS), np.int32)
    for projection in projections:
        inside = _spatial(network[projection.source].shape)
        inside = projection.pool.output(inside) if projection.pool else inside
        biggest = _largest(network, projection, steps)
        if biggest > (LARGEST if projection.pool else _most(network, projection.source)):
            return None
        kernels = _kernels(projection, inside, shape)
        if kernels is None:
            return None
        stride = (1, 1) if projection.kind == "dense" else projection.stride
        index = len(readers)
        padding = projection.padding
        kernel = inside[1:] if projection.kind == "dense" else (*projection.weights.shape[2:], 1, 1)
        end = (-(-shape[2] // layout.pixels) * layout.pixels - 1) * stride[1] - padding[2]
        right = end + (kernel[1] - 1) * projection.dilation[1] - (inside[2] - 1)
        halo = padding[0], padding[1], padding[2], max(padding[3], right)
        readers.append(_Reader((projection.source, projection.pool), padding, halo, *stride))
        if projection.shift is not None:
            shift = np.zeros(shape[0], np.int32)
            if projection.kind == "dense":
                shift[:] = projection.shift
            else:
                shift[projection.channel : projection.channel + len(projection.shift)] = projection.shift
            if len(projections) > 1:
                return None
            adjust[:, 2] = spread(shift, shape)[0, 0, 0]
            adjust[:, 1] = (np.int32(1) << adjust[:, 2]) >> 1
        single = _channelwise(projection, inside, shape)
        if single is not None:
            symbols.append(np.zeros((0, 4), np.int64))
            weights.append(np.zeros((0, blocks, DEPTH, COLUMNS), np.int8))
            for block, symbol, row in single:
                taps[block].append((index, symbol, row))
                reach[block] += biggest * np.abs(row.astype(np.int64))
                if biggest > LARGEST:
                    adjust[block, 0] += OFFSET * row
            continue
        if not kernels:
            return None
        made = [_steps(part, projection, stride, inside, layout) for part in kernels]
        symbols.append(np.concatenate([part[0] for part in made]))
        weights.append(np.concatenate([part[1] for part in made]))
        if biggest > LARGEST:
            adjust[:, 0] += OFFSET * weights[-1].sum(axis=(0, 2), dtype=np.int32)
    signed = any(
        _may_be_negative(network, projection.source) or _largest(network, projection, steps) > LARGEST
        for projection in projections
    )
    fold_bits = _fold_bits(network, projections, weights, signed, steps) if folds else 0
    corrections = np.zeros((blocks, COLUMNS), np.int32)
    for each in weights if signed else ():
        corrections -= OFFSET * each.sum(axis=(0, 2), dtype=np.int32)
    bounds = np.zeros((blocks, len(readers) + 1), np.int64)
    ordered_symbols, ordered_weights, readers_of = [np.zeros((0, 4), np.int64)], [], []
    count = 0
    for block in range(blocks):
        for index in range(len(readers)):
            bounds[block, index] = count
            used = weights[index][:, block].any(axis=(1, 2))
            ordered_symbols.append(symbols[index][used])
            ordered_weights.append(_tiles(weights[index][used, block]))
            readers_of.append(np.full(int(used.sum()), index, np.int64))
            count += int(used.sum())
        bounds[block, len(readers)] = count
    flat = [tap for group in taps for tap in group]
    tap_ends = np.array([np.searchsorted([tap[0] for tap in group], range(len(readers) + 1)) for group in taps])
    tap_starts = np.cumsum([0, *(len(group) for group in taps[:-1])])
    tap_kind = np.int16 if reach.max() <= np.iinfo(np.int16).max else np.int32
    times = network.readout.schedule.separated and network.readout.schedule.base == 1 and static
    return {
        "readers": tuple(readers),
        "symbols": np.concatenate(ordered_symbols),
        "readers_of": np.concatenate([np.zeros(0, np.int64), *readers_of]),
        "bounds": bounds,
        "weights": _aligned_copy(np.concatenate([_tiles(np.zeros((0, DEPTH, COLUMNS), np.int8)), *ordered_weights])),
        "signed": signed,
        "fold_bits": fold_bits,
        "corrections": corrections,
        "tap_symbols": np.array([symbol for _, symbol, _ in flat], np.int64).reshape(-1, 4),
        "tap_readers": np.array([index for index, _, _ in flat], np.int64),
        "tap_bounds": tap_starts[:, np.newaxis] + tap_ends,
        "tap_weights": _aligned_copy(np.array([row for _, _, row in flat], tap_kind).reshape(-1, COLUMNS)),
        "adjust": adjust if adjust.any() or times else None,
    }


def _fold_bits(
    network: Network, projections: list[Projection], weights: list[NDArray[np.int8]], signed: bool, steps: int
) -> int:
    """k of ``folding`` for what a population reads by steps, or 0 where that is more than spikes, or sums too much."""
    packed = [projection for projection, each in zip(projections, weights, strict=True) if len(each)]
    if network.schedule.separated or any(_largest(network, projection, steps) > 1 for projection in packed):
        return 0
    bits = SIGNED_BITS if signed else UNSIGNED_BITS
    sums: Any = sum(np.abs(each.astype(np.int64)).sum(axis=(0, 2)) for each in weights)
    return bits if sums.max() <= largest_sum(bits) else 0


def _without_pool(projection: Projection, source: Shape) -> Projection:
    """A dense projection behind a sum-pool as one that reads every pixel, where windows do not overlap.

    It needs neither a kernel for the pool nor sums that fit 8 bits as events do. Weights that would leave the
    second-level cache are not repeated.
    """
    pool = projection.pool
    if pool is None or projection.kind != "dense" or any(pool.padding):
        return projection
    outputs, pooled = len(projection.weights), pool.output(source)
    overlap = any(
        size > 1 and step < kernel for size, step, kernel in zip(pooled[1:], pool.stride, pool.kernel, strict=True)
    )
    if overlap or -(-outputs // COLUMNS) * COLUMNS * math.prod(source) > PANEL_BYTES:
        return projection
    weights = np.zeros((outputs, *source), np.int8)
    for y, x in np.ndindex(*pool.kernel):
        cells = weights[:, :, y :: pool.stride[0], x :: pool.stride[1]]
        cells[:, :, : pooled[1], : pooled[2]] = projection.weights.reshape(outputs, *pooled)
    return replace(projection, pool=None, weights=weights.reshape(outputs, -1))


def _kernels(projection: Projection, inside: Shape, shape: Shape) -> list[NDArray[np.int8]] | None:
    """A projection as ordinary convolutions ``(C', C, Kh, Kw)`` of all channels, which are added; None: it is none."""
    if projection.kind == "dense":
        if shape[1:] != (1, 1):
            return None
        return [projection.weights.astype(np.int8).reshape(shape[0], *inside)]
    if projection.kind == "identity":
        most = int(np.abs(projection.weights.astype(np.int64)).max(initial=0))
        parts = max(1, -(-most // LARGEST))
        if parts > PARTS:
            return None if _channelwise(projection, inside, shape) is None else []
        left = projection.weights.astype(np.int64)
        kernels = []
        for _ in range(parts):
            part = np.clip(left, -LARGEST, LARGEST)
            left = left - part
            kernels.append(np.diag(part).astype(np.int8)[:, :, np.newaxis, np.newaxis])
        return kernels
    outputs, depth, *kernel = projection.weights.shape
    if projection.groups == 1:
        return [projection.weights.astype(np.int8)]
    each = outputs // projection.groups
    whole = np.zeros((outputs, inside[0], *kernel), np.int8)
    for group in range(projection.groups):
        rows = slice(group * each, (group + 1) * each)
        whole[rows, group * depth : (group + 1) * depth] = projection.weights[rows]
    return [whole]


def _steps(
    kernel: NDArray[np.int8], projection: Projection, stride: tuple[int, int], inside: Shape, target: Layout
) -> tuple[NDArray[np.int64], NDArray[np.int8]]:
    """Symbols ``(K, 4)`` and weights ``(K, blocks, DEPTH, COLUMNS)`` of a convolution onto a block of outputs."""
    outputs, channels, height, width = kernel.shape
    first = projection.channel
    depth, pixels = narrow_depth(inside[0]), target.pixels
    dilation = projection.dilation
    blocks = -(-target.shape[0] // COLUMNS)
    used = min(pixels, target.shape[2])
    span = (used - 1) * stride[1] + (width - 1) * dilation[1] + 1
    inputs = -(-channels // DEPTH) * DEPTH if depth == DEPTH else depth
    whole = np.zeros((height, span, inputs, pixels, blocks * COLUMNS // pixels), np.int8)
    for pixel in range(used):
        for x in range(width):
            taps = kernel[:, :, :, x].transpose(2, 1, 0)
            whole[:, pixel * stride[1] + x * dilation[1], :channels, pixel, first : first + outputs] = taps
    lines = np.arange(height) * dilation[0]
    if depth == DEPTH:
        chunks = whole.reshape(height, span, inputs // DEPTH, DEPTH, -1).transpose(2, 0, 1, 3, 4)
        symbols = _grid(np.arange(inputs // DEPTH), lines, np.arange(span), np.zeros(1, np.int64))
    else:
        size = -(-span * depth // DEPTH) * DEPTH
        lengthened = np.zeros((height, size, pixels * whole.shape[4]), np.int8)
        lengthened[:, : span * depth] = whole.reshape(height, span * depth, -1)
        chunks = lengthened.reshape(height, size // DEPTH, DEPTH, -1)
        symbols = _grid(np.zeros(1, np.int64), lines, np.zeros(1, np.int64), np.arange(0, size, DEPTH))
    weights = chunks.reshape(-1, DEPTH, blocks, COLUMNS).transpose(0, 2, 1, 3)
    return symbols, weights


def _grid(*axes: NDArray[np.int64]) -> NDArray[np.int64]:
    """Every combination of the axes' values, the last axis the fastest: ``(K, axes)``."""
    return np.stack([axis.ravel() for axis in np.meshgrid(*axes, indexing="ij")], axis=-1)


def _channelwise(
    projection: Projection, inside: Shape, shape: Shape
) -> list[tuple[int, tuple[int, int, int, int], NDArray[np.int32]]] | None:
    """Block, symbol and weights ``(COLUMNS,)`` of each tap of a projection with one synapse a channel, else None.

    Outputs must lie in their block as the inputs lie in theirs.
    """
    outputs = len(projection.weights)
    single = projection.kind == "conv" and projection.groups == outputs == inside[0] and outputs > 1
    if projection.kind != "identity" and not single:
        return None
    source, target = Layout(inside, 1), Layout(shape, 1)
    if source.wide != target.wide:
        return None
    if target.wide and projection.channel % COLUMNS:
        return None
    if not target.wide and (source.depth != target.depth or projection.channel or projection.stride[1] != 1):
        return None
    weights = projection.weights.astype(np.int32).reshape(outputs, -1)
    kernel = (1, 1) if projection.kind == "identity" else (projection.weights.shape[2], projection.weights.shape[3])
    result = []
    for block in range(-(-shape[0] // COLUMNS)):
        first = block * COLUMNS - projection.channel
        if not 0 <= first < outputs:
            continue
        part = weights[first : first + COLUMNS]
        for tap in range(kernel[0] * kernel[1]):
            y, x = divmod(tap, kernel[1])
            row = np.zeros((target.pixels, min(target.depth, COLUMNS)), np.int32)
            row[:, : len(part)] = part[:, tap]
            at = first // DEPTH, y * projection.dilation[0], x * projection.dilation[1], first % DEPTH
            result.append((block, at, row.ravel()))
    return result


def _tiles(weights: NDArray[np.int8]) -> NDArray[np.int8]:
    """``(K, DEPTH, COLUMNS)`` as ``(K, 2, 16, 16, 4)``: half of the columns, inputs by four, column, input."""
    return weights.reshape(-1, 16, 4, 2, 16).transpose(0, 3, 1, 4, 2)


def _aligned_copy(weights: NDArray[Any]) -> NDArray[Any]:
    memory = np.empty(weights.nbytes + DEPTH, np.int8)
    start = -memory.ctypes.data % DEPTH
    copy = memory[start : start + weights.nbytes].view(weights.dtype).reshape(weights.shape)
    copy[:] = weights
    return copy


def _largest(network: Network, projection: Projection, steps: int) -> int:
    """The largest magnitude of an event that a projection reads, behind its sum-pool."""
    window = projection.pool.kernel[0] * projection.pool.kernel[1] if projection.pool else 1
    source = network[projection.source]
    if network.is_static(projection.source):
        return window * network.input.largest
    return window * (source.schedule.levels(steps) if source.schedule.separated else 1)


def _may_be_negative(network: Network, name: str) -> bool:
    """Whether a population's events may be negative."""
    population = network[name]
    if isinstance(population, MaxPool):  # of trains it sends what the largest count grows by
        return _may_be_negative(network, population.source)
    if isinstance(population, Spiking):
        return population.neuron != "if" and not (population.neuron == "dual" and population.schedule.separated)
    return not isinstance(population, Input) or bool((population.table < 0).any())


def _most(network: Network, name: str) -> int:
    """The largest event of a population that 8 bits hold: without negative ones they may have an offset."""
    graded = network.is_static(name) or network.schedule.base == 2
    return LARGEST_WITH_OFFSET if graded and not _may_be_negative(network, name) else LARGEST


def _spatial(shape: Shape) -> Shape:
    return shape if len(shape) == 3 else (shape[0], 1, 1)
