"""What neurons make of the sums in a tile: loops over ``COLUMNS`` outputs around the scalars of ``refsnn.neurons``.

Sums are ``COLUMNS`` int32 a row, in scratch memory of the first-level cache. Every access states which of the arrays it
goes to (``vectors.make_access``), so that LLVM turns the loops into a few vector instructions.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from refsnn.kernels.compiled import specialise, within
from refsnn.kernels.job import job_at
from refsnn.kernels.maps import COLUMNS
from refsnn.kernels.neurons import clamp, fire, send
from refsnn.kernels.vectors import (
    count_rows,
    make_access,
    make_taps,
    nonzero_mask,
    population_count,
    prefer_wide_vectors,
)
from refsnn.neurons import NEVER

LINE = 4 * COLUMNS
"""Bytes in a row of sums."""

TOGETHER = 4
"""Steps that are taken while membranes stay in registers, and rows to which a tap's weights are added."""

SCRATCH = 3 * LINE
"""Bytes of scratch memory that the neurons need: membranes, counts, events."""

SETTINGS = 4
"""Rows of a block of neurons' settings: threshold, negative threshold, initial membrane, zeros."""

load_sum, store_sum = make_access("sums", np.int32)
load_setting, _ = make_access("settings", np.int32)
load_membrane, store_membrane = make_access("membranes", np.int32)
load_count, store_count = make_access("counts", np.int32)
load_total, store_total = make_access("counts", np.int64)
load_index, _ = make_access("settings", np.int64)
load_event, store_event = make_access("events", np.int8)
_add_some, _add_one = make_taps(TOGETHER, wide=False), make_taps(1, wide=False)
_add_wide = make_taps(1, wide=True)


number: Any = None
counted: Any = None
clamped: Any = None
advance_one: Any = None
advance_two: Any = None
advance_some: Any = None
"""Stand for the parts of the next two functions, which ``make_fire`` puts in."""


def _advance(step, sums, job, columns, constant, settings, row, distance):  # type: ignore[no-untyped-def]
    """Take ``number`` steps from ``step`` on; return how often a membrane was clamped."""
    prefer_wide_vectors()  # LLVM makes vectors of it before it is inlined
    low = np.int32(job.low if counted else NEVER)
    high = np.int32(job.high if counted else NEVER)
    smallest = np.int32(job.smallest)
    largest = np.int32(job.largest)
    membranes = job.membranes
    counts = membranes + LINE
    between = job.step_rows * LINE
    now = sums + step * between
    added = constant
    if step >= job.input_steps:  # what is the same in every step ends with the input
        added = settings + 3 * LINE
        now = now if between else added
    clamps = np.int32(0)
    first = step == 0
    for c in range(COLUMNS):
        # Both are read in any case: read from one address or the other, LLVM would have to look whether it is where
        # they are stored, and take the columns one by one if it is.
        initial = load_setting(settings + 2 * LINE, c)
        u = load_membrane(membranes, c)
        u = initial if first else u
        n = load_count(counts, c) if counted else np.int32(0)
        n = np.int32(0) if first else n
        current = load_setting(added, c)
        threshold = load_setting(settings, c)
        negative = load_setting(settings + LINE, c)
        for part in range(number):
            total = np.int32(np.int32(load_sum(now + part * between, c) + current) + u)
            u = clamp(total, smallest, largest) if clamped else total
            if clamped:
                clamps = np.int32(clamps + np.int32(u != total and c < columns))
            spike, u = fire(u, n, threshold, negative, low, high)
            if counted:
                n = np.int32(n + spike)
            store_event(row + part * distance, c, np.int8(spike))
        store_membrane(membranes, c, u)
        if counted:
            store_count(counts, c, n)
    return clamps


def _fire(address, sums, columns, constant, settings, out, begin, end):  # type: ignore[no-untyped-def]
    prefer_wide_vectors()
    job = job_at(address)
    by_step = job.images * job.out_row
    steady = 0 if clamped else job.input_steps  # of these steps, several are taken at a time
    whole = columns == COLUMNS
    distance = by_step if whole else COLUMNS
    for image in range(begin, end):
        now = sums + image * LINE
        added = constant + image * job.constant_image
        target = out + image * job.out_row
        step = np.int64(0)
        while step < job.steps:
            row = target if whole else job.membranes + 2 * LINE
            if step + TOGETHER <= steady:
                advance_some(step, now, job, columns, added, settings, row, distance)
                taken = TOGETHER
            elif step + 2 <= steady:
                advance_two(step, now, job, columns, added, settings, row, distance)
                taken = 2
            else:
                clamps = advance_one(step, now, job, columns, added, settings, row, distance)
                if clamped:
                    store_total(job.saturated, step, load_total(job.saturated, step) + clamps)
                taken = 1
            for part in range(taken):
                if not whole:
                    copy_events(target, row + part * COLUMNS, columns)
                target += by_step
            step += taken


def make_fire(counted: bool, clamped: bool) -> Callable[..., None]:
    """Build the update of one image's neurons at a pixel over all steps, in a rate schedule.

    Args:
        counted: whether the net count of spikes matters: there are negative spikes, or a cap that can be reached.
        clamped: whether a membrane could reach the end of its width.

    Algorithm:
        The loop over columns is around ``TOGETHER`` steps, or 2, so that membranes stay in registers. All numbers
        are known to the compiler (arguments would come too late), and no vector is left in part. At the edge of a
        narrow map, where there are fewer columns than ``COLUMNS``, events take the way through scratch memory.
    """
    kind = "_counted" * counted + "_clamped" * clamped
    parts: dict[str, Any] = {"counted": counted, "clamped": clamped}
    for name, number in {"advance_one": 1, "advance_two": 2, "advance_some": TOGETHER}.items():
        parts["number"] = number
        parts[name] = specialise(_advance, name + kind, parts, within=True, inline=True)
    made: Callable[..., None] = specialise(_fire, "fire" + kind, parts, within=True)
    return made


@within
def copy_events(target, source, columns):  # type: ignore[no-untyped-def]
    """Copy so many events."""
    for c in range(columns):
        store_event(target, c, load_event(source, c))


fires = {(counted, clamped): make_fire(counted, clamped) for counted in (False, True) for clamped in (False, True)}
"""The updates, by ``counted`` and ``clamped``."""


@within
def fire_once(address, sums, columns, constant, settings, out, first, last):  # type: ignore[no-untyped-def]
    """Close the accumulation of a pixel's temporally separated neurons and send their digits as codes."""
    prefer_wide_vectors()
    job = job_at(address)
    smallest = np.int32(job.smallest)
    largest = np.int32(job.largest)
    base = np.int32(job.base)
    signed = job.low != 0
    offset = np.int32(job.out_offset)
    membrane = job.membranes
    count = membrane + LINE
    clamps = np.int32(0)
    for image in range(first, last):
        now = sums + image * LINE
        added = constant + image * job.constant_image
        for c in range(COLUMNS):
            initial = load_setting(settings + 2 * LINE, c)
            total = np.int32(np.int32(load_sum(now, c) + load_setting(added, c)) + initial)
            u = clamp(total, smallest, largest)
            store_membrane(membrane, c, u)
            store_count(count, c, np.int32(0))
            clamps = np.int32(clamps + np.int32(u != total and c < columns))
        weight = np.int32(job.base ** (job.steps - 1))
        for _ in range(job.steps):
            for c in range(COLUMNS):
                threshold = load_setting(settings, c)
                weighted = np.int32(threshold * weight)
                v = load_membrane(membrane, c)
                digit = np.int32(send(v, weighted, threshold, signed))
                store_membrane(membrane, c, np.int32(v - np.int32(digit * weighted)))
                store_count(count, c, np.int32(np.int32(base * load_count(count, c)) + digit))
            weight = np.int32(weight // base)
        target = out + image * job.out_row
        row = target if columns == COLUMNS else membrane + 2 * LINE
        for c in range(COLUMNS):
            store_event(row, c, np.int8(load_count(count, c) - offset))
        if columns != COLUMNS:
            copy_events(target, row, columns)
    store_total(job.saturated, 0, load_total(job.saturated, 0) + clamps)


@within
def keep(address, sums, columns, constant, settings, out, first, last):  # type: ignore[no-untyped-def]
    """Store the sums themselves, int32, as readouts need them."""
    prefer_wide_vectors()
    job = job_at(address)
    for image in range(first, last):
        for step in range(job.rows // job.images):
            row = step * job.images + image
            for c in range(COLUMNS):
                store_count(out + row * job.out_row, c, load_sum(sums + row * LINE, c))


@within
def adjust(job, sums, settings, first, last):  # type: ignore[no-untyped-def]
    """Turn what pixels make into a current: add a correction, round and shift right, then multiply by ``job.times``.

    Args:
        sums: address of a pixel's first row.
        settings: address of three rows: correction, half, and shift.
        first, last: images.
    """
    prefer_wide_vectors()
    times = np.int32(job.times)
    for step in range(job.rows // job.images):
        for image in range(first, last):
            now = sums + (step * job.images + image) * LINE
            for c in range(COLUMNS):
                total = np.int32(load_sum(now, c) + load_setting(settings, c))
                rounded = np.int32(total + load_setting(settings + LINE, c))
                store_sum(now, c, np.int32(np.int32(rounded >> load_setting(settings + 2 * LINE, c)) * times))


@within
def add_taps(job, sums, events, distance, begin, end, first, last, fresh):  # type: ignore[no-untyped-def]
    """Add the taps ``begin`` to ``end``, column by column, to a pixel's sums of some images.

    Args:
        sums: address of a pixel's first row.
        events: address of the first row's, from which the taps' offsets count; rows are ``distance`` apart.
        first, last: images.
        fresh: whether the sums are 0 so far, whatever is there; without taps they are made so.
    """
    prefer_wide_vectors()
    offsets = job.tap_offsets + 8 * begin
    size = 4 if job.tap_wide else 2
    weights = job.tap_weights + size * COLUMNS * begin
    count = end - begin
    stop = job.rows
    between = job.images
    if last - first == job.images:  # all rows follow each other
        last = between = stop
    while last <= stop:
        row = first
        while row < last:
            now = sums + row * LINE
            here = events + row * distance
            if job.tap_wide:
                _add_wide(here, distance, offsets, weights, count, now, fresh)
                row += 1
            elif row + TOGETHER <= last:
                _add_some(here, distance, offsets, weights, count, now, fresh)
                row += TOGETHER
            else:
                _add_one(here, distance, offsets, weights, count, now, fresh)
                row += 1
        first += between
        last += between


@within
def count_spikes(address, pair, outer):  # type: ignore[no-untyped-def]
    """Count the events that are not 0, in each step and at each position, of two blocks of columns.

    This is done when the line has left the first-level cache's store buffers: reading what was just written in other
    pieces stalls the processor. Where a position holds several pixels, their columns are added up when all is done.
    """
    job = job_at(address)
    for inner in range(job.inner):
        events = job.out + pair * job.out_pair + outer * job.out_outer + inner * job.out_inner
        counted = job.counted + outer * job.counted_outer + inner * job.counted_inner
        for _ in range(job.steps):
            if job.out_wide:
                found = 0
                for _ in range(job.images):
                    found += population_count(nonzero_mask(events))
                    events += job.out_row
                store_total(counted, 0, load_total(counted, 0) + found)
            else:
                count_rows(events, job.out_row, job.images, counted)
                events += job.images * job.out_row
            counted += job.counted_step


@within
def count_codes(address, pair, outer):  # type: ignore[no-untyped-def]
    """Count the digits of codes that are not 0 as ``count_spikes`` does, in all steps together and in each column."""
    prefer_wide_vectors()
    job = job_at(address)
    offset = np.int32(job.out_offset)
    for inner in range(job.inner):
        events = job.out + pair * job.out_pair + outer * job.out_outer + inner * job.out_inner
        counted = job.counted + outer * job.counted_outer + inner * job.counted_inner
        for half in range(2 if job.out_wide else 1):
            for image in range(job.images):
                row = events + image * job.out_row + half * COLUMNS
                for c in range(COLUMNS):
                    code = np.int32(abs(np.int32(np.int32(load_event(row, c)) + offset)))
                    digits = code if job.base == 1 else population_count(code)
                    store_count(counted, c, np.int32(load_count(counted, c) + digits))
            counted += LINE
