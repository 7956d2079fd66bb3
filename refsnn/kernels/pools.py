"""Sum-pools and max-pools on events in the layout of the dense kernels."""

from __future__ import annotations

import numpy as np

from refsnn.kernels.compiled import compiled
from refsnn.kernels.maps import Counts, Maps
from refsnn.kernels.vectors import make_access, prefer_wide_vectors
from refsnn.network import MaxPool, SumPool

load_sum, store_sum = make_access("sums", np.int8)
load_event, _ = make_access("events", np.int8)
load_running, store_running = make_access("membranes", np.int16)
load_largest, store_largest = make_access("counts", np.int16)

LONGEST = 2**15 - 1
"""Steps whose events an int16 counts."""


def sum_pool(source: Maps, target: Maps, pool: SumPool) -> None:
    """Fill a target with the sums of a source's events over windows; they must fit int8, as the target's shape must."""
    strides = np.array([source.layout.strides, target.layout.strides])
    _, height, width = source.layout.shape
    window = (*pool.kernel, *pool.stride, pool.padding[0], pool.padding[2])
    _sum_windows(
        source.address + source.layout.origin,
        target.address + target.layout.origin,
        strides,
        (height, width),
        (source.layout.size[0], *target.layout.shape[1:], source.layout.rows, source.layout.depth),
        window,
    )


@compiled
def _sum_windows(source, target, strides, inside, size, window):  # type: ignore[no-untyped-def]
    prefer_wide_vectors()
    blocks, height, width, rows, depth = size
    kernel_y, kernel_x, stride_y, stride_x, top, left = window
    for block in range(blocks):
        for y in range(height):
            for x in range(width):
                begin = target + block * strides[1, 0] + y * strides[1, 1] + x * strides[1, 2]
                for row in range(rows):
                    for c in range(depth):
                        store_sum(begin + row * strides[1, 3], c, np.int8(0))
                for tap_y in range(max(0, top - y * stride_y), kernel_y):
                    line = y * stride_y - top + tap_y
                    for tap_x in range(max(0, left - x * stride_x), kernel_x):
                        column = x * stride_x - left + tap_x
                        if line >= inside[0] or column >= inside[1]:
                            continue
                        events = source + block * strides[0, 0] + line * strides[0, 1] + column * strides[0, 2]
                        for row in range(rows):
                            at = begin + row * strides[1, 3]
                            for c in range(depth):
                                event = load_event(events + row * strides[0, 3], c)
                                store_sum(at, c, np.int8(load_sum(at, c) + event))


class Maximum:
    """Fills a target with what a max-pool sends for a train, of at most ``LONGEST`` steps, or for codes of a base."""

    def __init__(self, source: Maps, target: Maps, pool: MaxPool, base: int) -> None:
        layout = target.layout
        cells = pool.kernel[0] * pool.kernel[1]
        self.population = pool.name
        self._spikes = np.zeros((target.steps, layout.shape[1] * layout.shape[2]), np.int64)
        self._arguments = (
            source.address + source.layout.origin,
            target.address + layout.origin,
            np.array([source.layout.strides, layout.strides]),
            source.layout.shape[1:],
            (layout.size[0], *layout.shape[1:], target.steps, target.number, layout.depth),
            (*pool.kernel, *pool.stride, pool.padding[0], pool.padding[2]),
            pool.zero_padding,
            base,
            np.empty((cells + 2) * target.number * layout.depth, np.int16),
            self._spikes,
        )

    def run(self) -> None:
        """Take every window's maximum."""
        _maximum_windows(*self._arguments)

    def take_counts(self) -> Counts:
        """Events that are not 0, of codes their digits, in all runs since these were taken."""
        counts = Counts(self._spikes.copy())
        self._spikes.fill(0)
        return counts


@compiled
def _maximum_windows(  # type: ignore[no-untyped-def]
    source, target, strides, inside, size, window, zero_padding, base, memory, spikes
):
    prefer_wide_vectors()
    blocks, height, width, steps, number, depth = size
    kernel_y, kernel_x, stride_y, stride_x, top, left = window
    largest = memory.ctypes.data
    before = largest + 2 * number * depth
    running = before + 2 * number * depth
    for block in range(blocks):
        for y in range(height):
            for x in range(width):
                first_y = y * stride_y - top
                first_x = x * stride_x - left
                last_y = min(first_y + kernel_y, inside[0])
                last_x = min(first_x + kernel_x, inside[1])
                whole = (last_y - max(first_y, 0)) * (last_x - max(first_x, 0)) == kernel_y * kernel_x
                start = np.int16(0 if zero_padding and not whole else -(2**15))
                memory[:] = 0
                for step in range(steps):
                    for c in range(number * depth):
                        store_largest(largest, c, start)
                    cell = 0
                    for line in range(max(first_y, 0), last_y):
                        for column in range(max(first_x, 0), last_x):
                            events = source + block * strides[0, 0] + line * strides[0, 1] + column * strides[0, 2]
                            events += step * number * strides[0, 3]
                            for image in range(number):
                                sums = running + 2 * (cell * number + image) * depth
                                most = largest + 2 * image * depth
                                for c in range(depth):
                                    total = np.int16(load_running(sums, c) + np.int16(load_event(events, c)))
                                    store_running(sums, c, total)
                                    store_largest(most, c, max(total, load_largest(most, c)))
                                events += strides[0, 3]
                            cell += 1
                    out = target + block * strides[1, 0] + y * strides[1, 1] + x * strides[1, 2]
                    out += step * number * strides[1, 3]
                    sent = np.int32(0)
                    for image in range(number):
                        for c in range(depth):
                            now = load_largest(largest + 2 * image * depth, c)
                            event = np.int16(now - load_running(before + 2 * image * depth, c))
                            store_running(before + 2 * image * depth, c, now)
                            store_sum(out, c, np.int8(event))
                            size_of = np.int32(abs(event))
                            if base == 1:
                                sent = np.int32(sent + size_of)
                            else:
                                for bit in range(7):
                                    sent = np.int32(sent + np.int32((size_of >> np.int32(bit)) & np.int32(1)))
                        out += strides[1, 3]
                    spikes[step, y * width + x] += sent
