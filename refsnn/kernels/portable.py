"""Event-driven synapses for every machine: only what spikes is added, from lists of active inputs.

For each source pixel the active channels are listed once. An output pixel joins the lists of its window and adds one
row of weights for each event, a block of output channels at a time, whose sums stay in vector registers in int16 and
go to int32 before they could overflow (``vectors.make_gather``). The block's weights stay in the second-level cache
because pixels, steps and images are the inner loops.

A depthwise projection and an identity have one synapse for each channel and tap, which leaves nothing to gather: they
run through all channels of a tap. A sum-pool is a depthwise projection whose weights are 1.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cache
from typing import Any, TypeAlias

import numpy as np
from llvmlite import binding
from numpy.typing import NDArray

from refsnn.geometry import Shape
from refsnn.kernels import Events, Workspace, populations
from refsnn.kernels.compiled import compiled, specialise
from refsnn.kernels.vectors import (
    COPIED,
    LANES,
    WORD,
    make_gather,
    negative_mask,
    pair,
    population_count,
    positive_mask,
    prefer_wide_vectors,
    shifted_copy,
    trailing_zeros,
)
from refsnn.network import Projection, SumPool

Window: TypeAlias = tuple[int, int, int, int, int, int, int, int]
"""Kernel, stride and dilation, each ``(height, width)``, then padding on top and on the left."""

EXACT = 255
"""An int16 holds a sum of weights (magnitude up to 128) times events while the events' magnitudes sum to this."""

WIDE = 16
"""Added to the number of vectors where accumulators are int32."""

UNPACKED = 4
"""Bits that ``_unpack`` takes at a time: it may write so many entries too many, less one."""

SHORTEST_CHUNK = 8
"""With fewer events between two flushes, accumulating in int32 from the start is faster."""


__all__ = ["available", "connect", "dense", "populations"]

dense = None
"""What spikes is gathered; dense sums would be slower."""


def available() -> bool:
    """Whether this machine can run it: any can."""
    return True


def connect(projection: Projection, source: Shape, target: Shape) -> Synapses:
    """Pack a projection's weights, for populations of the shapes ``(C, H, W)``."""
    return connect_with(loops(), projection, source, target)


def connect_with(loops: Loops, projection: Projection, source: Shape, target: Shape) -> Synapses:
    """Pack a projection's weights for loops compiled for some kind of machine."""
    pool = projection.pool
    pooled = pool.output(source) if pool else source
    synapses: Synapses
    if projection.kind == "dense":
        synapses = _dense(loops, projection.weights, pooled, target)
    elif projection.kind == "identity" or (projection.groups > 1 and projection.weights.shape[1] == 1):
        synapses = _channelwise(loops, projection, pooled)
    else:
        synapses = _convolution(loops, projection)
    return Pooled(loops, pool, pooled, synapses) if pool else synapses


@dataclass(frozen=True, slots=True)
class Loops:
    """The jitted loops, compiled for some kind of machine, and how many accumulators fit its registers."""

    list_signs: Callable[..., None]
    list_graded: Callable[..., None]
    gather_signs: Callable[..., None]
    gather_graded: Callable[..., None]
    add_channelwise: Callable[..., None]
    widest: int


@dataclass(frozen=True, slots=True)
class Block:
    """The weights from some of the source's channels to a few vectors of the target's.

    Attributes:
        source: first channel of the source.
        depth: how many of its channels.
        target: first channel of the target.
        vectors: how many vectors of ``LANES`` output channels.
        weights: ``(taps * depth, vectors * LANES) int8``: rows of words made by ``vectors.pair``; aligned.
    """

    source: int
    depth: int
    target: int
    vectors: int
    weights: NDArray[np.int8]


@dataclass(frozen=True, slots=True)
class Gathered:
    """A convolution, or a dense projection as a convolution of a single pixel.

    Attributes:
        loops: what to run.
        window: of the convolution.
        blocks: in the order of their source channels.
        flat: whether source and target are one pixel with all neurons as its channels.
    """

    loops: Loops
    window: Window
    blocks: tuple[Block, ...]
    flat: bool = False

    def add(self, events: Events, largest: int, currents: NDArray[np.int32], workspace: Workspace) -> None:
        """See ``refsnn.kernels.Synapses``."""
        frames = events.shape[0] * events.shape[1]
        inside = (1, 1, events[0, 0].size) if self.flat else events.shape[2:]
        outside = (1, 1, currents[0, 0].size) if self.flat else currents.shape[2:]
        maps = events.reshape(frames, *inside)
        sums = currents.reshape(frames, *outside)
        listed: tuple[NDArray[Any], ...] = ()
        listed_source = -1
        for block in self.blocks:
            if block.source != listed_source:
                listed = _listed(self.loops, maps, block, workspace)
                listed_source = block.source
            self._gather(block, listed, (*inside[:2], block.depth), largest, sums, workspace)

    def _gather(
        self,
        block: Block,
        listed: tuple[NDArray[Any], ...],
        size: Shape,
        largest: int,
        sums: NDArray[np.int32],
        workspace: Workspace,
    ) -> None:
        """Add a block's weights to ``(F, H, W, C)`` sums, whose lines the threads of a slice share."""
        room = self.window[0] * self.window[1] * block.depth + COPIED
        chunk = EXACT // max(largest, 1)
        wide = chunk < SHORTEST_CHUNK
        kind = block.vectors + WIDE * wide
        length = room if wide else chunk
        graded = len(listed) == 3

        def work(part: int, first: int, last: int) -> None:
            offsets = workspace.take(f"offsets {part}", room, np.int32)
            lines, weights, target = (first, last), block.weights, block.target
            if graded:
                factors = workspace.take(f"factors {part}", room, np.int32)
                self.loops.gather_graded(
                    listed, size, self.window, weights, kind, length, offsets, factors, sums, target, lines
                )
            else:
                self.loops.gather_signs(listed, size, self.window, weights, block.vectors, offsets, sums, target, lines)

        workspace.memory.share(sums.shape[0] * sums.shape[1], sums.size, work)


@dataclass(frozen=True, slots=True)
class Channelwise:
    """One synapse for each channel and tap: depthwise convolutions, identities, sum-pools.

    Attributes:
        loops: what to run.
        window: of the convolution.
        weights: ``(taps, C) int32``.
        repeat: how many output channels each source channel has.
        channel: first channel of the target.
    """

    loops: Loops
    window: Window
    weights: NDArray[np.int32]
    repeat: int = 1
    channel: int = 0

    def add(self, events: Events, largest: int, currents: NDArray[np.int32], workspace: Workspace) -> None:
        """See ``refsnn.kernels.Synapses``."""
        frames = events.shape[0] * events.shape[1]
        maps = events.reshape(frames, *events.shape[2:])
        if self.repeat > 1:
            maps = np.repeat(maps, self.repeat, axis=-1)
        sums = currents.reshape(frames, *currents.shape[2:])

        def work(part: int, first: int, last: int) -> None:
            self.loops.add_channelwise(maps, self.weights, self.window, sums, self.channel, (first, last))

        workspace.memory.share(frames * sums.shape[1], sums.size, work)


@dataclass(frozen=True, slots=True)
class Pooled:
    """Synapses behind a sum-pool.

    Attributes:
        loops: what to run.
        pool: the sum-pool.
        shape: ``(C, H, W)`` of the pooled events.
        synapses: what the pooled events go to.
    """

    loops: Loops
    pool: SumPool
    shape: Shape
    synapses: Gathered | Channelwise

    def add(self, events: Events, largest: int, currents: NDArray[np.int32], workspace: Workspace) -> None:
        """See ``refsnn.kernels.Synapses``."""
        channels, height, width = self.shape
        taps = self.pool.kernel[0] * self.pool.kernel[1]
        sums = Channelwise(
            self.loops,
            (*self.pool.kernel, *self.pool.stride, 1, 1, self.pool.padding[0], self.pool.padding[2]),
            np.ones((taps, channels), np.int32),
        )
        pooled = workspace.currents("pooled", (*events.shape[:2], height, width, channels))
        pooled.fill(0)
        sums.add(events, largest, pooled, workspace)
        self.synapses.add(pooled, largest * taps, currents, workspace)


Synapses: TypeAlias = Gathered | Channelwise | Pooled


def _convolution(loops: Loops, projection: Projection) -> Gathered:
    outputs, depth, *kernel = projection.weights.shape
    window: Window = (*kernel, *projection.stride, *projection.dilation, projection.padding[0], projection.padding[2])
    each = outputs // projection.groups
    blocks: list[Block] = []
    for group in range(projection.groups):
        weights = projection.weights[group * each : (group + 1) * each]
        rows = weights.transpose(2, 3, 1, 0).reshape(-1, each)
        blocks.extend(_blocks(loops, rows, group * depth, depth, projection.channel + group * each))
    return Gathered(loops, window, tuple(blocks))


def _dense(loops: Loops, weights: NDArray[Any], source: Shape, target: Shape) -> Gathered:
    channels_last = weights.reshape(*target, *source).transpose(4, 5, 3, 1, 2, 0)
    sources, targets = int(np.prod(source)), int(np.prod(target))
    rows = channels_last.reshape(sources, targets)
    return Gathered(loops, (1, 1, 1, 1, 1, 1, 0, 0), tuple(_blocks(loops, rows, 0, sources, 0)), flat=True)


def _channelwise(loops: Loops, projection: Projection, source: Shape) -> Channelwise:
    if projection.kind == "identity":
        weights = projection.weights.astype(np.int32)[np.newaxis]
        return Channelwise(loops, (1, 1, *projection.stride, 1, 1, 0, 0), weights, channel=projection.channel)
    outputs, _, *kernel = projection.weights.shape
    window: Window = (*kernel, *projection.stride, *projection.dilation, projection.padding[0], projection.padding[2])
    weights = projection.weights.reshape(outputs, -1).T.astype(np.int32, order="C")
    return Channelwise(loops, window, weights, outputs // source[0], projection.channel)


def _blocks(loops: Loops, rows: NDArray[Any], source: int, depth: int, target: int) -> Iterator[Block]:
    first = 0
    while first < rows.shape[1]:
        left = -(-(rows.shape[1] - first) // LANES)
        addressable = (2**31 - 1) // (len(rows) * LANES)  # offsets of rows are int32
        vectors = next(size for size in (8, 4, 2, 1) if size <= min(left, loops.widest, addressable))
        part = rows[:, first : first + vectors * LANES]
        padded = np.zeros((len(rows), vectors * LANES), np.int8)
        padded[:, : part.shape[1]] = part
        weights = _aligned(padded.shape)
        weights.view(np.int16)[:] = pair(padded)
        yield Block(source, depth, target + first, vectors, weights)
        first += vectors * LANES


@cache
def loops() -> Loops:
    """The loops, compiled for this machine."""
    wide = binding.get_host_cpu_features().get("avx512bw")
    # Accumulators take half of 32 registers with 512 bits, else half of 16 with 256.
    return Loops(_list_signs, _list_graded, _gather_signs, _gather_graded, _add_channelwise, widest=8 if wide else 4)


def loops_for(name: str, prepare: Any, widest: int) -> Loops:
    """The loops, compiled for another machine than this one.

    Args:
        name: of the machine.
        prepare: takes the place of ``vectors.prefer_wide_vectors``, which every loop calls.
        widest: see ``Loops``.
    """
    parts: dict[str, Any] = {"prefer_wide_vectors": prepare}
    for helper in (_unpack, _masks, _collect, *_LOOPS):
        function = helper.py_func
        parts[function.__name__] = specialise(function, f"{function.__name__}_{name}", parts)
    names = (loop.py_func.__name__ for loop in _LOOPS)
    return Loops(**{name.removeprefix("_"): parts[name] for name in names}, widest=widest)


def _aligned(shape: Shape) -> NDArray[np.int8]:
    """Zeros that begin a cache line, so that no vector straddles two."""
    size, line = int(np.prod(shape)), 64
    memory = np.zeros(size + line, np.int8)
    start = -memory.ctypes.data % line
    return memory[start : start + size].reshape(shape)


def _listed(loops: Loops, maps: Events, block: Block, workspace: Workspace) -> tuple[NDArray[Any], ...]:
    """The events of each pixel of ``(F, H, W, C)`` maps in the block's source channels.

    Returns ``(rows, starts)`` for the positive and the negative ternary events, or ``(rows, values, starts)`` for
    graded ones. Pixel p of frame f owns entries ``starts[f * H * W + p]`` up to the next pixel's start. A row is
    ``x * depth + channel``: the pixels that a window covers in one line of the map are one stretch of the list, and
    their rows differ from the rows of the weights by a constant.
    """
    frames, height, width, _ = maps.shape
    pixels = maps.reshape(frames * height * width, -1)
    room = len(pixels) * block.depth + COPIED
    rows = workspace.take("rows", room, np.int32)
    starts = workspace.take("starts", len(pixels) + 1, np.int64)
    if maps.dtype == np.int8:
        minus_rows = workspace.take("minus rows", room, np.int32)
        minus_starts = workspace.take("minus starts", len(pixels) + 1, np.int64)
        loops.list_signs(pixels, width, block.source, block.depth, rows, starts, minus_rows, minus_starts)
        return rows, starts, minus_rows, minus_starts
    values = workspace.take("values", room, np.int32)
    loops.list_graded(pixels, width, block.source, block.depth, rows, values, starts)
    return rows, values, starts


@compiled
def _unpack(word, row, rows, count):  # type: ignore[no-untyped-def]
    """Append ``row`` plus the index of each set bit of a word; returns the new number of rows (a uint64).

    Bits are taken ``UNPACKED`` at a time without a test, which costs surplus entries but hardly a mispredicted branch.
    """
    prefer_wide_vectors()
    found = population_count(word)
    done = 0
    while done < found:
        for index in range(UNPACKED):
            rows[count + np.uint64(done + index)] = row + trailing_zeros(word)
            word &= word - np.uint64(1)
        done += UNPACKED
    return count + np.uint64(found)


@compiled
def _list_signs(pixels, width, source, depth, plus, plus_starts, minus, minus_starts):  # type: ignore[no-untyped-def]
    prefer_wide_vectors()
    address = pixels.ctypes.data
    pluses = np.uint64(0)  # unsigned: an index that might be negative takes twice as long
    minuses = np.uint64(0)
    row = 0
    for pixel in range(pixels.shape[0]):
        plus_starts[pixel] = pluses
        minus_starts[pixel] = minuses
        for channel in range(0, depth, WORD):
            at = pixel * pixels.shape[1] + source + channel
            if at + WORD <= pixels.size:
                positive = positive_mask(address + at)
                negative = negative_mask(address + at)
            else:  # the last pixels, behind which there may be no memory
                positive, negative = _masks(pixels.reshape(-1)[at:])
            keep = ~np.uint64(0) >> np.uint64(max(0, WORD - (depth - channel)))
            pluses = _unpack(positive & keep, row + channel, plus, pluses)
            minuses = _unpack(negative & keep, row + channel, minus, minuses)
        row = row + depth if row + depth < width * depth else 0
    plus_starts[pixels.shape[0]] = pluses
    minus_starts[pixels.shape[0]] = minuses


@compiled
def _masks(events):  # type: ignore[no-untyped-def]
    """The masks of positive and negative events, at most ``WORD`` of them."""
    prefer_wide_vectors()
    positive = np.uint64(0)
    negative = np.uint64(0)
    for bit in range(len(events)):
        positive |= np.uint64(events[bit] > 0) << np.uint64(bit)
        negative |= np.uint64(events[bit] < 0) << np.uint64(bit)
    return positive, negative


@compiled
def _list_graded(pixels, width, source, depth, rows, values, starts):  # type: ignore[no-untyped-def]
    prefer_wide_vectors()
    count = 0
    for pixel in range(pixels.shape[0]):
        starts[pixel] = count
        column = (pixel % width) * depth
        for channel in range(depth):
            value = pixels[pixel, source + channel]
            rows[count] = column + channel
            values[count] = value
            count += value != 0
    starts[pixels.shape[0]] = count


@compiled
def _collect(entries, starts, target, frame, y, x, size, window, move, scale):  # type: ignore[no-untyped-def]
    """Join the entries of an output pixel's window; ``move`` 1 turns rows of the list into rows of the weights.

    Returns how many there are.
    """
    prefer_wide_vectors()
    height, width, depth = size
    kernel_y, kernel_x, stride_y, stride_x, dilation_y, dilation_x, top, left = window
    source_address = entries.ctypes.data
    target_address = target.ctypes.data
    first_x = x * stride_x - left
    count = 0
    for tap_y in range(kernel_y):
        source_y = y * stride_y - top + tap_y * dilation_y
        if source_y < 0 or source_y >= height:
            continue
        line = (frame * height + source_y) * width
        if dilation_x == 1:
            begin = max(first_x, 0)
            end = min(first_x + kernel_x, width)
            if begin < end:
                start = starts[line + begin]
                length = starts[line + end] - start
                shift = move * (tap_y * kernel_x - first_x) * depth
                shifted_copy(source_address + 4 * start, target_address + 4 * count, length, shift, scale)
                count += length
        else:
            for tap_x in range(kernel_x):
                source_x = first_x + tap_x * dilation_x
                if 0 <= source_x < width:
                    start = starts[line + source_x]
                    length = starts[line + source_x + 1] - start
                    shift = move * (tap_y * kernel_x + tap_x - source_x) * depth
                    shifted_copy(source_address + 4 * start, target_address + 4 * count, length, shift, scale)
                    count += length
    return count


_signs_8, _signs_4, _signs_2, _signs_1 = (make_gather(vectors) for vectors in (8, 4, 2, 1))
_graded_8, _graded_4, _graded_2, _graded_1 = (make_gather(vectors, graded=True) for vectors in (8, 4, 2, 1))
_wide_8, _wide_4, _wide_2, _wide_1 = (make_gather(vectors, graded=True, wide=True) for vectors in (8, 4, 2, 1))


@compiled
def _gather_signs(  # type: ignore[no-untyped-def]
    listed, size, window, weights, vectors, offsets, currents, target, lines
):
    prefer_wide_vectors()
    plus, plus_starts, minus, minus_starts = listed
    _, height, width, depth = currents.shape
    pixels = size[0] * size[1]
    scale = trailing_zeros(np.uint64(weights.shape[1]))
    at = weights.ctypes.data
    events = offsets.ctypes.data
    for line in range(lines[0], lines[1]):
        frame = line // height
        y = line % height
        signs = 1 + (minus_starts[(frame + 1) * pixels] > minus_starts[frame * pixels])
        for x in range(width):
            out = currents.ctypes.data + 4 * ((line * width + x) * depth + target)
            for sign in range(signs):
                if sign == 0:
                    count = _collect(plus, plus_starts, offsets, frame, y, x, size, window, 1, scale)
                else:
                    count = _collect(minus, minus_starts, offsets, frame, y, x, size, window, 1, scale)
                factor = 1 - 2 * sign
                if vectors == 8:
                    _signs_8(events, events, count, EXACT, factor, at, out)
                elif vectors == 4:
                    _signs_4(events, events, count, EXACT, factor, at, out)
                elif vectors == 2:
                    _signs_2(events, events, count, EXACT, factor, at, out)
                else:
                    _signs_1(events, events, count, EXACT, factor, at, out)


@compiled
def _gather_graded(  # type: ignore[no-untyped-def]
    listed, size, window, weights, kind, chunk, offsets, factors, currents, target, lines
):
    prefer_wide_vectors()
    rows, values, starts = listed
    _, height, width, depth = currents.shape
    scale = trailing_zeros(np.uint64(weights.shape[1]))
    at = weights.ctypes.data
    events = offsets.ctypes.data
    graded = factors.ctypes.data
    for line in range(lines[0], lines[1]):
        frame = line // height
        y = line % height
        for x in range(width):
            out = currents.ctypes.data + 4 * ((line * width + x) * depth + target)
            count = _collect(rows, starts, offsets, frame, y, x, size, window, 1, scale)
            _collect(values, starts, factors, frame, y, x, size, window, 0, 0)
            if kind == 8:
                _graded_8(events, graded, count, chunk, 1, at, out)
            elif kind == 4:
                _graded_4(events, graded, count, chunk, 1, at, out)
            elif kind == 2:
                _graded_2(events, graded, count, chunk, 1, at, out)
            elif kind == 1:
                _graded_1(events, graded, count, chunk, 1, at, out)
            elif kind == WIDE + 8:
                _wide_8(events, graded, count, chunk, 1, at, out)
            elif kind == WIDE + 4:
                _wide_4(events, graded, count, chunk, 1, at, out)
            elif kind == WIDE + 2:
                _wide_2(events, graded, count, chunk, 1, at, out)
            else:
                _wide_1(events, graded, count, chunk, 1, at, out)


@compiled
def _add_channelwise(maps, weights, window, currents, channel, lines):  # type: ignore[no-untyped-def]
    prefer_wide_vectors()
    assert channel >= 0  # or the compiler expects indices from the end, and gives up on vectors
    kernel_y, kernel_x, stride_y, stride_x, dilation_y, dilation_x, top, left = window
    _, height, width, _ = currents.shape
    for line in range(lines[0], lines[1]):
        frame = line // height
        y = line % height
        for x in range(width):
            for tap_y in range(kernel_y):
                source_y = y * stride_y - top + tap_y * dilation_y
                if source_y < 0 or source_y >= maps.shape[1]:
                    continue
                for tap_x in range(kernel_x):
                    source_x = x * stride_x - left + tap_x * dilation_x
                    if source_x < 0 or source_x >= maps.shape[2]:
                        continue
                    tap = tap_y * kernel_x + tap_x
                    for c in range(weights.shape[1]):
                        term = np.int32(weights[tap, c] * maps[frame, source_y, source_x, c])
                        currents[frame, y, x, channel + c] += term


_LOOPS: Any = (_list_signs, _list_graded, _gather_signs, _gather_graded, _add_channelwise)
"""Those of ``Loops``."""
