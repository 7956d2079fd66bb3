"""What every kernel set shares: neurons that integrate and fire or accumulate and send, and max-pools.

The neuron's mathematics is inlined from ``refsnn.neurons``; here are only loops and counters. P are a map's pixels.
"""

from __future__ import annotations

import numpy as np

from refsnn.kernels.compiled import compiled
from refsnn.kernels.neurons import clamp, fire, send
from refsnn.kernels.vectors import WORD, nonzero_mask, population_count, prefer_wide_vectors


@compiled
def integrate_and_fire(  # type: ignore[no-untyped-def]
    currents, membrane, count, neuron, limits, width, arithmetic, first, part, train, saturated
):
    """Run neurons through the steps of ``currents``, from the start or on from where an earlier call left them.

    The neurons are cut into rows of equal length whose settings repeat (a few pixels of all channels): long rows, so
    that the loop over one is worth entering, short enough for the first-level cache.

    Args:
        currents: ``(N, T, R, L) int32``: the whole current of each step.
        membrane, count: ``(N, R, L) int32``, read (unless ``first`` is 0) and written.
        neuron: threshold, negative threshold and initial membrane, each ``(L,) int32``.
        limits: ``(low, high)`` of ``refsnn.neurons.fire``.
        width: smallest and largest membrane.
        arithmetic: the integer type in which ``membrane + current`` is exact: ``np.int32`` or ``np.int64``.
        first: the step of the train that ``currents`` begin with.
        part: the first row to run, and the one behind the last.
        train: ``(N, T', R, L) int8``: receives the spikes.
        saturated: ``(T',) int64``: the number of clamped membranes is added.
    """
    prefer_wide_vectors()
    threshold, negative_threshold, initial = neuron
    low = np.int32(limits[0])
    high = np.int32(limits[1])
    smallest = arithmetic(width[0])
    largest = arithmetic(width[1])
    images, steps, _, length = currents.shape
    for image in range(images):
        for row in range(part[0], part[1]):
            if first == 0:
                for i in range(length):
                    membrane[image, row, i] = initial[i]
                    count[image, row, i] = 0
            for step in range(steps):
                clamped = np.int32(0)
                for i in range(length):
                    v = arithmetic(membrane[image, row, i])
                    total = arithmetic(v + arithmetic(currents[image, step, row, i]))
                    u = clamp(total, smallest, largest)
                    n = count[image, row, i]
                    spike, after = fire(u, n, threshold[i], negative_threshold[i], low, high)
                    membrane[image, row, i] = after
                    count[image, row, i] = np.int32(n + spike)
                    train[image, first + step, row, i] = spike
                    clamped = np.int32(clamped + np.int32(u != total))  # an int64 would halve the vectors
                saturated[first + step] += clamped


@compiled
def count_events(train, counts):  # type: ignore[no-untyped-def]
    """Add the number of non-zero ternary events of each pixel to ``counts``.

    Args:
        train: ``(N, T, P, C) int8``.
        counts: ``(T, P) int64``.
    """
    address = train.ctypes.data
    images, steps, pixels, channels = train.shape
    for image in range(images):
        for step in range(steps):
            for pixel in range(pixels):
                at = ((image * steps + step) * pixels + pixel) * channels
                found = 0
                whole = channels // WORD * WORD
                for channel in range(0, whole, WORD):
                    found += population_count(nonzero_mask(address + at + channel))
                for channel in range(whole, channels):
                    found += train[image, step, pixel, channel] != 0
                counts[step, pixel] += found


@compiled
def accumulate_and_send(  # type: ignore[no-untyped-def]
    sums, closing, threshold, signed, base, steps, width, arithmetic, membrane, codes, spikes
):
    """Close the accumulation of temporally separated neurons and send their digits, as one code for each neuron.

    Args:
        sums: ``(N, P, C) int32``: weights times codes of the sources.
        closing: ``(N or 1, P, C) int64``: bias, the input's current and the initial membrane, of the whole window.
        threshold: ``(C,) int32``.
        signed: whether there are negative digits.
        base, steps: of the schedule.
        width: smallest and largest membrane.
        arithmetic: the integer type that holds ``threshold * base^(T-1)`` and ``threshold - membrane``: ``np.int32`` or
            ``np.int64``.
        membrane: ``(C,)`` of that type: scratch.
        codes: ``(N, P, C) int32``: receives the sum of the digits, each weighted ``base^(T-1-t)``.
        spikes: ``(P,) int64``: the number of non-zero digits is added.

    Returns:
        The number of clamped membranes.
    """
    prefer_wide_vectors()
    images, pixels, channels = sums.shape
    smallest = np.int64(width[0])
    largest = np.int64(width[1])
    clamped = 0
    for image in range(images):
        shared = image if closing.shape[0] > 1 else 0
        for pixel in range(pixels):
            for c in range(channels):
                total = np.int64(sums[image, pixel, c]) + closing[shared, pixel, c]
                v = clamp(total, smallest, largest)
                clamped += v != total
                membrane[c] = v
                codes[image, pixel, c] = 0
            weight = base ** (steps - 1)
            for _ in range(steps):
                sent = np.int32(0)
                for c in range(channels):
                    weighted = arithmetic(threshold[c] * arithmetic(weight))
                    digit = np.int32(send(membrane[c], weighted, arithmetic(threshold[c]), signed))
                    membrane[c] = membrane[c] - arithmetic(arithmetic(digit) * weighted)
                    codes[image, pixel, c] = np.int32(np.int32(base) * codes[image, pixel, c]) + digit
                    sent = np.int32(sent + np.int32(digit != 0))
                spikes[pixel] += sent
                weight //= base
    return clamped


@compiled
def window_maximum(maps, window, zero_padding, maxima):  # type: ignore[no-untyped-def]
    """The largest value in each window.

    Args:
        maps: ``(F, H, W, C) int32``.
        window: kernel and stride, each ``(height, width)``, then padding on top and on the left.
        zero_padding: whether padded cells are a 0; otherwise they are ignored.
        maxima: ``(F, H', W', C) int32``: receives the result.
    """
    kernel_y, kernel_x, stride_y, stride_x, top, left = window
    frames, height, width, channels = maxima.shape
    for frame in range(frames):
        for y in range(height):
            for x in range(width):
                begin_y = y * stride_y - top
                begin_x = x * stride_x - left
                inside = (
                    begin_y >= 0
                    and begin_x >= 0
                    and begin_y + kernel_y <= maps.shape[1]
                    and begin_x + kernel_x <= maps.shape[2]
                )
                start = 0 if zero_padding and not inside else np.iinfo(np.int32).min
                for c in range(channels):
                    maxima[frame, y, x, c] = start
                for source_y in range(max(begin_y, 0), min(begin_y + kernel_y, maps.shape[1])):
                    for source_x in range(max(begin_x, 0), min(begin_x + kernel_x, maps.shape[2])):
                        for c in range(channels):
                            value = maps[frame, source_y, source_x, c]
                            maxima[frame, y, x, c] = max(maxima[frame, y, x, c], value)
