"""Events in the layout of the dense kernels: 64 bytes hold what one row of a tile multiplies, around them a zero halo.

A row of events is one image in one step: row ``t * N + n`` of ``R = T * N``. Maps of more than 32 channels are *wide*:
``(C / 64, H, W, R, 64)``, so that the rows of a pixel are one stretch of memory, and so are those of its neighbour.
Others are *narrow*: ``(H, R, W, D)`` with D = 4, 8, 16 or 32 channels; 64 bytes then hold several pixels of a line, and
the lines of a map follow each other at a constant distance. Either way a convolution reads its taps in place, whatever
its stride and dilation.
"""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Executor
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from refsnn.geometry import NO_PADDING, Padding, Shape

DEPTH = 64
"""Channels, that is bytes, in a row of a tile."""

COLUMNS = 32
"""Outputs that are worked on at a time: channels, or channels of neighbouring pixels."""

ROWS = 32
"""Rows that are worked on at a time; reading so many past the last one is allowed."""

REACH = 2
"""... and so many times as far, where rows of neighbouring positions are worked on."""

WORTH_SHARING = 1 << 16
"""Sums, or neurons' steps: from so many on threads share them."""


def narrow_depth(channels: int) -> int:
    """Bytes of a pixel in a map of so many channels: 4 to 32, or 64 where the map is wide."""
    return next(depth for depth in (4, 8, 16, 32, DEPTH) if channels <= depth or depth == DEPTH)


@dataclass(frozen=True)
class Layout:
    """Where the events of a population are.

    Attributes:
        shape: ``(C, H, W)``.
        rows: R.
        halo: cells of 0 around the map, ``(top, bottom, left, right)``.
    """

    shape: Shape
    rows: int
    halo: Padding = NO_PADDING

    @cached_property
    def depth(self) -> int:
        """Bytes of a pixel in one row."""
        return narrow_depth(self.shape[0])

    @property
    def wide(self) -> bool:
        """Whether there are more than 32 channels."""
        return self.depth == DEPTH

    @property
    def pixels(self) -> int:
        """Neighbouring pixels in ``COLUMNS`` outputs."""
        return max(1, COLUMNS // self.depth)

    @cached_property
    def size(self) -> Shape:
        """Blocks of channels, lines and columns, halo included."""
        channels, height, width = self.shape
        top, bottom, left, right = self.halo
        return -(-channels // DEPTH), top + height + bottom, left + width + right

    @cached_property
    def strides(self) -> tuple[int, int, int, int]:
        """Bytes from one block of channels, line, column and row to the next."""
        _, height, width = self.size
        if self.wide:
            return height * width * self.rows * DEPTH, width * self.rows * DEPTH, self.rows * DEPTH, DEPTH
        return 0, self.rows * width * self.depth, self.depth, width * self.depth

    @cached_property
    def origin(self) -> int:
        """Bytes in front of the first pixel."""
        return self.halo[0] * self.strides[1] + self.halo[2] * self.strides[2]

    @cached_property
    def bytes(self) -> int:
        """Size in memory, without the slack behind."""
        blocks, height, width = self.size
        return blocks * height * width * self.rows * self.depth

    @property
    def slack(self) -> int:
        """Bytes behind that may be read."""
        return REACH * ROWS * self.strides[3] + 4 * DEPTH


class Maps:
    """The events of a population for some images.

    Attributes:
        layout: where they are.
        number: N.
        memory: all of it, with the slack behind.
        offset: is subtracted from every event, so that pixels of 0..255 fit; the halo then holds minus it.
    """

    def __init__(self, layout: Layout, number: int, offset: int = 0) -> None:
        self.layout = layout
        self.number = number
        self.offset = offset
        memory = np.full(layout.bytes + layout.slack + DEPTH, -offset, np.int8)
        start = -memory.ctypes.data % DEPTH
        self.memory = memory[start:]
        self.address: int = self.memory.ctypes.data
        """Of the first byte; the first pixel begins ``layout.origin`` after it."""

    @property
    def steps(self) -> int:
        """T."""
        return self.layout.rows // self.number

    @property
    def events(self) -> NDArray[np.int8]:
        """A view ``(T, N, H, W, blocks, D)``; blocks of channels times D are the channels, padded."""
        blocks, height, width = self.layout.size
        depth, steps = self.layout.depth, self.steps
        flat = self.memory[: self.layout.bytes]
        if self.layout.wide:
            view = flat.reshape(blocks, height, width, steps, self.number, depth).transpose(3, 4, 1, 2, 0, 5)
        else:
            view = flat.reshape(height, steps, self.number, width, 1, depth).transpose(1, 2, 0, 3, 4, 5)
        _, lines, columns = self.layout.shape
        top, _, left, _ = self.layout.halo
        return view[:, :, top : top + lines, left : left + columns]

    def plain(self) -> NDArray[Any]:
        """A contiguous copy ``(N, T, H, W, C)``: int8, with an offset int32."""
        view = self.events.transpose(1, 0, 2, 3, 4, 5)
        copy = view.reshape(*view.shape[:4], -1)[..., : self.layout.shape[0]]
        plain = np.ascontiguousarray(copy)
        return plain.astype(np.int32) + self.offset if self.offset else plain

    def look_up(self, table: NDArray[Any], images: NDArray[np.uint8]) -> None:
        """Take the entries of a table ``(C, 256)`` at the bytes of images ``(N, *shape)``."""
        channels, height, width = self.layout.shape
        rows = 256 * np.arange(channels).reshape(-1, 1, 1)
        values = table.ravel()[images.reshape(-1, channels, height, width) + rows]
        self.fill(values.transpose(0, 2, 3, 1)[:, np.newaxis])

    def fill(self, plain: NDArray[Any]) -> None:
        """Take the events from an array ``(N, T, H, W, C)``."""
        view = self.events
        values = plain.transpose(1, 0, 2, 3, 4)
        channels = self.layout.shape[0]
        for block in range(view.shape[4]):
            part = values[..., block * DEPTH : min((block + 1) * DEPTH, channels)]
            np.subtract(part, self.offset, out=view[..., block, : part.shape[-1]], casting="unsafe")


@dataclass(frozen=True, slots=True)
class Counts:
    """What a population's kernel counted.

    Attributes:
        spikes: ``(T', pixels) int64``: events other than 0, of codes their digits; None: none are counted.
        saturated: ``(T',) int64``: clamped membranes; None likewise.
    """

    spikes: NDArray[np.int64] | None = None
    saturated: NDArray[np.int64] | None = None


class KernelCall(Protocol):
    """A kernel on certain maps: ``run`` may be called again and again."""

    population: str

    def run(self) -> None:
        """Make events of events."""

    def take_counts(self) -> Counts:
        """What was counted in all runs since these were taken."""


class Memory:
    """The memory of a thread that runs slices: scratch, and maps that it may use again.

    Attributes:
        helpers: share the work on each layer, where there are fewer slices than threads; or None.
        parts: into how many.
        calls: of kernels, made for this memory (``plan``, ``pools``).
    """

    def __init__(self, helpers: Executor | None = None, parts: int = 1) -> None:
        self.helpers = helpers
        self.parts = parts
        self.calls: dict[Any, KernelCall] = {}
        self._scratch: dict[tuple[str, int, int], NDArray[np.int8]] = {}
        self._free: dict[tuple[Layout, int], list[Maps]] = {}

    def scratch(self, name: str, part: int, size: int) -> int:
        """The address of so many bytes, that begin a cache line, for one part of the work."""
        address: int = self.room(f"{name}, scratch", part, size).ctypes.data  # a room of this name is another
        return address

    def room(self, name: str, part: int, size: int) -> NDArray[np.int8]:
        """So many bytes that begin a cache line, the same ones for the same arguments."""
        key = name, part, size
        if key not in self._scratch:
            memory = np.empty(size + DEPTH, np.int8)
            self._scratch[key] = memory[-memory.ctypes.data % DEPTH :][:size]
        return self._scratch[key]

    def share(self, total: int, outputs: int, work: Callable[[int, int, int], None]) -> None:
        """Do ``work(part, first, last)`` for the parts of ``range(total)``, each by one of those who share.

        Work that makes few ``outputs`` is done sooner than handed over.
        """
        parts = min(self.parts, total)
        if self.helpers is None or parts < 2 or outputs < WORTH_SHARING:
            work(0, 0, total)
            return
        ends = [total * part // parts for part in range(parts + 1)]
        list(self.helpers.map(work, range(parts), ends[:-1], ends[1:]))

    def take(self, layout: Layout, number: int, offset: int = 0) -> Maps:
        """Maps with zeros in the halo and anything inside."""
        free = self._free.get((layout, offset))
        if free:
            maps = free.pop()
            maps.number = number
            return maps
        return Maps(layout, number, offset)

    def give(self, maps: Maps) -> None:
        """Let maps be used again."""
        self._free.setdefault((maps.layout, maps.offset), []).append(maps)
