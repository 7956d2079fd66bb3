"""What every kernel set shares: neurons that integrate and fire or accumulate and send, and max-pools.

The neuron's mathematics is inlined from ``refsnn.neurons``; here are only loops and counters. Arrays are
``(N, T, P, C)``, P the pixels of a map.
"""

from __future__ import annotations

import numba
import numpy as np

from refsnn.neurons import clamp, fire, send


@numba.njit(cache=True, nogil=True)
def integrate_and_fire(  # type: ignore[no-untyped-def]
    currents, membrane, count, neuron, limits, width, arithmetic, first, train, spikes, saturated
):
    """Run neurons through the steps of ``currents``; membranes and counts carry over from call to call.

    Args:
        currents: ``(N, T, P, C) int32``: the whole current of each step.
        membrane, count: ``(N, P, C) int32``, read and written.
        neuron: threshold and negative threshold, each ``(C,) int32``.
        limits: ``(low, high)`` of ``refsnn.neurons.fire``.
        width: smallest and largest membrane.
        arithmetic: the integer type in which ``membrane + current`` is exact: ``np.int32`` or ``np.int64``.
        first: the step of the train that ``currents`` begin with.
        train: ``(N, T', P, C) int8``: receives the spikes.
        spikes: ``(T', P) int64``: the spikes' number is added.
        saturated: ``(T',) int64``: the number of clamped membranes is added.
    """
    threshold, negative_threshold = neuron
    low = np.int32(limits[0])
    high = np.int32(limits[1])
    smallest = arithmetic(width[0])
    largest = arithmetic(width[1])
    images, steps, pixels, channels = currents.shape
    for image in range(images):
        for pixel in range(pixels):
            for step in range(steps):
                fired = np.int32(0)
                clamped = np.int32(0)
                for c in range(channels):
                    total = arithmetic(
                        arithmetic(membrane[image, pixel, c]) + arithmetic(currents[image, step, pixel, c])
                    )
                    u = clamp(total, smallest, largest)
                    spike = np.int32(fire(u, count[image, pixel, c], threshold[c], negative_threshold[c], low, high))
                    membrane[image, pixel, c] = np.int32(u) - np.int32(spike * threshold[c])
                    count[image, pixel, c] = np.int32(count[image, pixel, c] + spike)
                    train[image, first + step, pixel, c] = spike
                    fired += np.int32(spike != 0)
                    clamped += np.int32(u != total)
                spikes[first + step, pixel] += fired
                saturated[first + step] += clamped


@numba.njit(cache=True, nogil=True)
def accumulate_and_send(sums, closing, threshold, signed, base, steps, width, codes, spikes):  # type: ignore[no-untyped-def]
    """Close the accumulation of temporally separated neurons and send their digits, as one code for each neuron.

    Args:
        sums: ``(N, P, C) int32``: weights times codes of the sources.
        closing: ``(N or 1, P, C) int64``: bias, the input's current and the initial membrane, of the whole window.
        threshold: ``(C,) int32``.
        signed: whether there are negative digits.
        base, steps: of the schedule.
        width: smallest and largest membrane.
        codes: ``(N, P, C) int32``: receives the sum of the digits, each weighted ``base^(T-1-t)``.
        spikes: ``(P,) int64``: the number of non-zero digits is added.

    Returns:
        The number of clamped membranes.
    """
    images, pixels, channels = sums.shape
    smallest = np.int64(width[0])
    largest = np.int64(width[1])
    clamped = 0
    for image in range(images):
        shared = image if closing.shape[0] > 1 else 0
        for pixel in range(pixels):
            sent = 0
            for c in range(channels):
                total = np.int64(sums[image, pixel, c]) + closing[shared, pixel, c]
                v = clamp(total, smallest, largest)
                clamped += v != total
                code = 0
                for step in range(steps):
                    weight = base ** (steps - 1 - step) if base > 1 else 1
                    weighted = np.int64(threshold[c]) * weight
                    digit = send(v, weighted, threshold[c], signed)
                    v -= digit * weighted
                    code = base * code + digit
                    sent += digit != 0
                codes[image, pixel, c] = code
            spikes[pixel] += sent
    return clamped


@numba.njit(cache=True, nogil=True)
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
