"""Sum-pools and max-pools on events in the layout of the dense kernels."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from refsnn.kernels.compiled import compiled
from refsnn.kernels.maps import Counts, Maps
from refsnn.kernels.vectors import make_access, make_record, prefer_wide_vectors
from refsnn.network import MaxPool, SumPool

load_sum, store_sum = make_access("sums", np.int8)
load_event, _ = make_access("events", np.int8)
load_running, store_running = make_access("membranes", np.int16)
load_largest, store_largest = make_access("counts", np.int16)
load_spikes, store_spikes = make_access("settings", np.int64)

LONGEST = 2**15 - 1
"""Steps whose events an int16 counts."""

JOB = np.dtype(
    [
        (name, np.int64)
        for name in (
            "source",  # address of the first pixel's event, then distances in bytes, and how many
            "source_block",
            "source_line",
            "source_column",
            "source_row",
            "lines",
            "columns",
            "target",  # likewise
            "target_block",
            "target_line",
            "target_column",
            "target_row",
            "height",
            "width",
            "blocks",
            "rows",
            "depth",
            "kernel_y",
            "kernel_x",
            "stride_y",
            "stride_x",
            "top",  # cells of padding
            "left",
            # Of a max-pool only:
            "images",
            "zero_padding",
            "base",
            "offset",  # subtracted from codes
            "memory",  # address of (kernel_y * kernel_x + 2, images, depth) int16
            "spikes",  # address of (steps, height, width) int64: events that are not 0 are added
        )
    ]
)
"""What a kernel needs to know of one call. As arguments of its own they would take longer to compile."""

_job_at = make_record(JOB)


def _describe(source: Maps, target: Maps, pool: SumPool | MaxPool) -> NDArray[np.void]:
    """A job of one call, but for what only max-pools need."""
    job = np.zeros(1, JOB)
    layout = target.layout
    for side, maps in (("source", source), ("target", target)):
        job[side] = maps.address + maps.layout.origin
        for name, distance in zip(("block", "line", "column", "row"), maps.layout.strides, strict=True):
            job[f"{side}_{name}"] = distance
    job["lines"], job["columns"] = source.layout.shape[1:]
    job["height"], job["width"] = layout.shape[1:]
    job["blocks"], job["rows"], job["depth"] = layout.size[0], layout.rows, layout.depth
    job["kernel_y"], job["kernel_x"] = pool.kernel
    job["stride_y"], job["stride_x"] = pool.stride
    job["top"], job["left"] = pool.padding[0], pool.padding[2]
    return job


class Sum:
    """Fills a target with sums of a source's events over windows; they must fit int8, and its shape must be theirs."""

    def __init__(self, source: Maps, target: Maps, pool: SumPool) -> None:
        self._job = _describe(source, target, pool)
        self._held = source, target  # the job knows their addresses only

    def run(self) -> None:
        """Sum every window."""
        _sum_windows(self._job.ctypes.data)


@compiled
def _sum_windows(address):  # type: ignore[no-untyped-def]
    prefer_wide_vectors()
    job = _job_at(address)
    depth = job.depth
    for block in range(job.blocks):
        for y in range(job.height):
            for x in range(job.width):
                begin = job.target + block * job.target_block + y * job.target_line + x * job.target_column
                for row in range(job.rows):
                    for c in range(depth):
                        store_sum(begin + row * job.target_row, c, np.int8(0))
                first_y = y * job.stride_y - job.top
                first_x = x * job.stride_x - job.left
                for line in range(max(0, first_y), min(first_y + job.kernel_y, job.lines)):
                    for column in range(max(0, first_x), min(first_x + job.kernel_x, job.columns)):
                        events = job.source + block * job.source_block
                        events += line * job.source_line + column * job.source_column
                        for row in range(job.rows):
                            at = begin + row * job.target_row
                            for c in range(depth):
                                store_sum(at, c, np.int8(load_sum(at, c) + load_event(events, c)))
                            events += job.source_row


class Maximum:
    """Fills a target with what a max-pool sends for a train, of at most ``LONGEST`` steps, or for codes of a base."""

    def __init__(self, source: Maps, target: Maps, pool: MaxPool, base: int) -> None:
        layout = target.layout
        cells = pool.kernel[0] * pool.kernel[1]
        self.population = pool.name
        self._spikes = np.zeros((target.steps, layout.shape[1] * layout.shape[2]), np.int64)
        self._memory = np.empty((cells + 2) * target.number * layout.depth, np.int16)
        self._job = job = _describe(source, target, pool)
        job["images"], job["zero_padding"], job["base"] = target.number, pool.zero_padding, base
        job["offset"] = source.offset
        job["memory"], job["spikes"] = self._memory.ctypes.data, self._spikes.ctypes.data

    def run(self) -> None:
        """Take every window's maximum."""
        _maximum_windows(self._job.ctypes.data)

    def take_counts(self) -> Counts:
        """Events that are not 0, of codes their digits, in all runs since these were taken."""
        counts = Counts(self._spikes.copy())
        self._spikes.fill(0)
        return counts


@compiled
def _maximum_windows(address):  # type: ignore[no-untyped-def]
    prefer_wide_vectors()
    job = _job_at(address)
    depth = job.depth
    all_images = job.images * depth
    largest = job.memory
    before = largest + 2 * all_images
    running = before + 2 * all_images
    for block in range(job.blocks):
        for y in range(job.height):
            for x in range(job.width):
                first_y = y * job.stride_y - job.top
                first_x = x * job.stride_x - job.left
                last_y = min(first_y + job.kernel_y, job.lines)
                last_x = min(first_x + job.kernel_x, job.columns)
                inside = (last_y - max(first_y, 0)) * (last_x - max(first_x, 0))
                whole = inside == job.kernel_y * job.kernel_x
                start = np.int16(-job.offset if job.zero_padding and not whole else -(2**15))
                for c in range((1 + job.kernel_y * job.kernel_x) * all_images):
                    store_running(before, c, np.int16(0))
                for step in range(job.rows // job.images):
                    for c in range(all_images):
                        store_largest(largest, c, start)
                    sums = running
                    for line in range(max(first_y, 0), last_y):
                        for column in range(max(first_x, 0), last_x):
                            events = job.source + block * job.source_block
                            events += line * job.source_line + column * job.source_column
                            events += step * job.images * job.source_row
                            for image in range(job.images):
                                most = largest + 2 * image * depth
                                for c in range(depth):
                                    total = np.int16(load_running(sums, c) + np.int16(load_event(events, c)))
                                    store_running(sums, c, total)
                                    store_largest(most, c, max(total, load_largest(most, c)))
                                events += job.source_row
                                sums += 2 * depth
                    out = job.target + block * job.target_block + y * job.target_line + x * job.target_column
                    out += step * job.images * job.target_row
                    sent = np.int32(0)
                    for image in range(job.images):
                        for c in range(depth):
                            now = load_largest(largest + 2 * image * depth, c)
                            event = np.int16(now - load_running(before + 2 * image * depth, c))
                            store_running(before + 2 * image * depth, c, now)
                            store_sum(out, c, np.int8(event))
                            size_of = np.int32(abs(event + job.offset))
                            if job.base == 1:
                                sent = np.int32(sent + size_of)
                            else:
                                for bit in range(8):
                                    sent = np.int32(sent + np.int32((size_of >> np.int32(bit)) & np.int32(1)))
                        out += job.target_row
                    at = (step * job.height + y) * job.width + x
                    store_spikes(job.spikes, at, load_spikes(job.spikes, at) + sent)
