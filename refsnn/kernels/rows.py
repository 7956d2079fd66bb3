"""What neurons make of the sums in a tile: loops over ``COLUMNS`` outputs around the scalars of ``refsnn.neurons``.

Sums are ``COLUMNS`` int32 a row, in scratch memory of the first-level cache. Every access states which of the arrays it
goes to (``vectors.make_access``), so that LLVM turns the loops into a few vector instructions.
"""

from __future__ import annotations

from collections.abc import Callable

import numba
import numpy as np

from refsnn.kernels.maps import COLUMNS
from refsnn.kernels.neurons import clamp, fire, send
from refsnn.kernels.vectors import make_access, nonzero_columns, nonzero_mask, population_count, prefer_wide_vectors
from refsnn.neurons import NEVER

LINE = 4 * COLUMNS
"""Bytes in a row of sums."""

SETTINGS = 4
"""Rows of a block of neurons' settings: threshold, negative threshold, initial membrane, zeros."""

load_sum, store_sum = make_access("sums", np.int32)
load_setting, _ = make_access("settings", np.int32)
load_membrane, store_membrane = make_access("membranes", np.int32)
load_count, store_count = make_access("counts", np.int32)
load_index, _ = make_access("settings", np.int64)
load_event, store_event = make_access("events", np.int8)


def make_fire(counted: bool, clamped: bool) -> Callable[..., None]:
    """Build the update of a pixel's neurons over all steps, in a rate schedule.

    Args:
        counted: whether the net count of spikes matters: there are negative spikes, or a cap that can be reached.
        clamped: whether a membrane could reach the end of its width.

    The update takes ``columns`` outputs; a number that the compiler does not know, or it would unroll the loops.
    """

    @numba.njit(cache=True, nogil=True)
    def neurons(sums, job, columns, constant, settings, out, saturated):  # type: ignore[no-untyped-def]
        prefer_wide_vectors()
        low = np.int32(job.low if counted else NEVER)
        high = np.int32(job.high if counted else NEVER)
        smallest = np.int32(job.smallest)
        largest = np.int32(job.largest)
        membranes = job.membranes
        counts = membranes + job.images * LINE
        for image in range(job.images):
            for c in range(columns):
                store_membrane(membranes + image * LINE, c, load_setting(settings + 2 * LINE, c))
                if counted:
                    store_count(counts + image * LINE, c, np.int32(0))
        for step in range(job.steps):
            clamps = np.int32(0)
            for image in range(job.images):
                now = sums + (step * job.step_rows + image) * LINE
                added = constant + image * job.constant_image
                if step >= job.input_steps:  # what is the same in every step ends with the input
                    added = settings + 3 * LINE
                    now = now if job.step_rows else added
                membrane = membranes + image * LINE
                count = counts + image * LINE
                row = out + (step * job.images + image) * job.out_row
                for c in range(columns):
                    total = np.int32(np.int32(load_sum(now, c) + load_setting(added, c)) + load_membrane(membrane, c))
                    u = clamp(total, smallest, largest) if clamped else total
                    threshold = load_setting(settings, c)
                    negative = load_setting(settings + LINE, c)
                    n = load_count(count, c) if counted else np.int32(0)
                    spike = np.int32(fire(u, n, threshold, negative, low, high))
                    store_membrane(membrane, c, np.int32(u - np.int32(spike * threshold)))
                    if counted:
                        store_count(count, c, np.int32(n + spike))
                    store_event(row, c, np.int8(spike))
                    if clamped:
                        clamps = np.int32(clamps + np.int32(u != total))
            if clamped:
                saturated[step] += clamps

    return neurons


fires = {(counted, clamped): make_fire(counted, clamped) for counted in (False, True) for clamped in (False, True)}
"""The updates, by ``counted`` and ``clamped``."""


@numba.njit(cache=True, nogil=True)
def fire_once(sums, job, columns, constant, settings, out, saturated):  # type: ignore[no-untyped-def]
    """Close the accumulation of a pixel's temporally separated neurons and send their digits as codes."""
    prefer_wide_vectors()
    smallest = np.int32(job.smallest)
    largest = np.int32(job.largest)
    base = np.int32(job.base)
    signed = job.low != 0
    offset = np.int32(job.out_offset)
    membranes = job.membranes
    counts = membranes + job.images * LINE
    clamps = np.int32(0)
    for image in range(job.images):
        membrane = membranes + image * LINE
        count = counts + image * LINE
        row = out + image * job.out_row
        for c in range(columns):
            initial = load_setting(settings + 2 * LINE, c)
            added = load_setting(constant + image * job.constant_image, c)
            total = np.int32(np.int32(load_sum(sums + image * LINE, c) + added) + initial)
            u = clamp(total, smallest, largest)
            store_membrane(membrane, c, u)
            store_count(count, c, np.int32(0))
            clamps = np.int32(clamps + np.int32(u != total))
        weight = np.int32(job.base ** (job.steps - 1))
        for _ in range(job.steps):
            for c in range(columns):
                threshold = load_setting(settings, c)
                weighted = np.int32(threshold * weight)
                v = load_membrane(membrane, c)
                digit = np.int32(send(v, weighted, threshold, signed))
                store_membrane(membrane, c, np.int32(v - np.int32(digit * weighted)))
                store_count(count, c, np.int32(np.int32(base * load_count(count, c)) + digit))
            weight = np.int32(weight // base)
        for c in range(columns):
            store_event(row, c, np.int8(load_count(count, c) - offset))
    saturated[0] += clamps


@numba.njit(cache=True, nogil=True)
def keep(sums, job, columns, constant, settings, out, saturated):  # type: ignore[no-untyped-def]
    """Store the sums themselves: ``job.rows`` rows of int32."""
    for row in range(job.rows):
        for c in range(columns):
            store_count(out + row * job.out_row, c, load_sum(sums + row * LINE, c))


@numba.njit(cache=True, nogil=True)
def adjust(job, sums, rows, settings):  # type: ignore[no-untyped-def]
    """Turn what pixels make into a current: add a correction, round and shift right, then multiply by ``job.times``.

    Args:
        sums: address of the first row.
        rows: how many.
        settings: address of three rows: correction, half, and shift.
    """
    prefer_wide_vectors()
    times = np.int32(job.times)
    columns = job.pixels * job.depth
    for _ in range(rows):
        for c in range(columns):
            total = np.int32(load_sum(sums, c) + load_setting(settings, c))
            rounded = np.int32(total + load_setting(settings + LINE, c))
            store_sum(sums, c, np.int32(np.int32(rounded >> load_setting(settings + 2 * LINE, c)) * times))
        sums += LINE


@numba.njit(cache=True, nogil=True)
def add_channelwise(job, sums, events, distance, weights):  # type: ignore[no-untyped-def]
    """Add ``weights * events``, column by column, to the sums of a position; rows of events are ``distance`` apart."""
    prefer_wide_vectors()
    columns = job.pixels * job.depth
    for _ in range(job.rows):
        for c in range(columns):
            term = np.int32(np.int32(load_event(events, c)) * load_setting(weights, c))
            store_sum(sums, c, np.int32(load_sum(sums, c) + term))
        events += distance
        sums += LINE


@numba.njit(cache=True, nogil=True)
def count_spikes(job, pair, outer, spikes):  # type: ignore[no-untyped-def]
    """Count the events that are not 0, in each step and at each pixel of an outer position, of two blocks of columns.

    This is done when the line has left the first-level cache's store buffers: reading what was just written in other
    pieces stalls the processor.
    """
    every = (np.uint64(1) << np.uint64(job.depth)) - np.uint64(1)
    for inner in range(job.inner):
        events = job.out + pair * job.out_pair + outer * job.out_outer + inner * job.out_inner
        y = inner if job.lines_inner else outer
        x = (outer if job.lines_inner else inner) * job.pixels
        pixel = y * job.width + x
        for step in range(job.steps):
            if job.out_wide:
                found = 0
                for _ in range(job.images):
                    found += population_count(nonzero_mask(events))
                    events += job.out_row
                spikes[step, pixel] += found
            else:
                for _ in range(job.images):
                    mask = nonzero_columns(events)
                    for index in range(min(job.pixels, job.width - x)):
                        found = population_count((mask >> np.uint64(index * job.depth)) & every)
                        spikes[step, pixel + index] += found
                    events += job.out_row


@numba.njit(cache=True, nogil=True)
def count_codes(job, pair, outer, spikes):  # type: ignore[no-untyped-def]
    """Count the digits of codes that are not 0 as ``count_spikes`` does, in all steps together."""
    columns = 2 * job.depth if job.out_wide else job.depth
    offset = np.int32(job.out_offset)
    for inner in range(job.inner):
        events = job.out + pair * job.out_pair + outer * job.out_outer + inner * job.out_inner
        y = inner if job.lines_inner else outer
        x = (outer if job.lines_inner else inner) * job.pixels
        for index in range(min(job.pixels, job.width - x)):
            digits = np.int32(0)
            for image in range(job.images):
                row = events + image * job.out_row + index * job.depth
                for c in range(columns):
                    code = abs(np.int32(np.int32(load_event(row, c)) + offset))
                    if job.base == 1:
                        digits = np.int32(digits + code)
                    else:
                        for bit in range(8):
                            digits = np.int32(digits + np.int32((code >> np.int32(bit)) & np.int32(1)))
            spikes[0, y * job.width + x + index] += digits
