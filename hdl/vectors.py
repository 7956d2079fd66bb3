"""What a layer is given and what it must send, from a golden case: nothing here comes from a run of the core."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from golden.case import Case
from golden.synapses import window_maximum
from hdl.collector import word_layout
from hdl.execute import source_parts
from hdl.layer import BIAS_MAP, Job, Layer
from hdl.parameters import Parameters
from hdl.words import Parts, bit_planes, pack_events
from refsnn.errors import InputError
from refsnn.network import MaxPool, Readout

FIELDS = ("channel", "row", "group", "index")
"""Where a word belongs."""


def stimulus(case: Case, image: int, layer: Layer, parameters: Parameters) -> Parts:
    """The parts that store what the layer's sources send for an image.

    Raises:
        InputError: the image's run is longer than the events have room for.
    """
    given: dict[str, NDArray[Any]] = {}
    for source in layer.sources:
        if source.name == BIAS_MAP:
            given[source.name] = layer.constants[BIAS_MAP]
            continue
        events = case.read(source.name, "events", image)
        given[source.name] = events[0] if source.static else _fitting(case, image, events, source.columns.length)
    return source_parts(layer, given, parameters)


def result(case: Case, image: int, layer: Layer, parameters: Parameters) -> NDArray[Any]:
    """What a layer computes for an image: events ``(L, C, H, W)``, or a readout's membranes ``(C, H, W)``.

    Raises:
        InputError: the image's run is longer than the events have room for.
    """
    population = case.network[layer.population]
    if isinstance(population, Readout):
        membranes: NDArray[Any] = case.read(population.name, "membrane", image)[-1]
        return membranes
    if isinstance(population, MaxPool) and layer.sources[0].static:
        return _pooled_planes(population, case.read(population.source, "events", image)[0], layer)
    events = _fitting(case, image, case.read(population.name, "events", image), layer.columns.length)
    whole = np.zeros((layer.columns.length, *layer.shape), np.int8)
    whole[: len(events)] = events
    return whole


def _fitting(case: Case, image: int, events: NDArray[Any], room: int) -> NDArray[Any]:
    if len(events) > room:
        raise InputError(
            f"{case.path}: image {image} ran for {len(events)} steps, the core has room for {room}: "
            f"export with --drain {len(events) - case.steps}"
        )
    return events


def _pooled_planes(pool: MaxPool, values: NDArray[Any], layer: Layer) -> NDArray[np.int64]:
    """A max-pool over graded events, which come as bit-planes: the contract's max-pool of a binary code."""
    sums = np.zeros((layer.columns.length, *values.shape), np.int64)
    for step, plane in enumerate(bit_planes(values, layer.columns.length)):
        sums[step] = 2 * sums[step - 1] * (step > 0) + plane
    maxima = window_maximum(pool, sums)
    gains = maxima.copy()
    gains[1:] -= 2 * maxima[:-1]
    return gains


def expected_words(layer: Layer, job: Job, computed: NDArray[Any], parameters: Parameters) -> NDArray[np.uint8]:
    """The words that a job must send, in any order: ``(N, bits of a word)``, the least significant bit first.

    Args:
        layer, job: what is run.
        computed: what ``result`` says.
        parameters: of the core.
    """
    channels = min(job.fields["channels"], layer.shape[0])
    part = slice(job.channel, job.channel + channels)
    if computed.ndim == 3:
        return _membranes(computed[part], parameters)
    return _groups(computed[:, part], layer.columns.lead, parameters)


def _groups(events: NDArray[Any], lead: int, parameters: Parameters) -> NDArray[np.uint8]:
    _, channels, height, width = events.shape
    stored = pack_events(events, lead, parameters)  # channel, row, chunk, word; bank; bit
    groups = -(-width // parameters.pixels)
    chunked = stored.reshape(channels, height, -1, -(-groups // parameters.banks) * parameters.banks, stored.shape[-1])
    data = chunked[:, :, :, :groups].transpose(0, 1, 3, 2, 4)
    return _words(np.zeros(1, np.int64), data, parameters)


def _membranes(values: NDArray[Any], parameters: Parameters) -> NDArray[np.uint8]:
    channels, height, width = values.shape
    pixels = parameters.pixels
    length = word_layout(parameters)["data"].width
    bits = (values.astype(np.int64)[..., None] >> np.minimum(np.arange(length), 63)) & 1
    padded = np.zeros((channels, height, -(-width // pixels) * pixels, length), np.uint8)
    padded[:, :, :width] = bits
    words = _words(np.ones(1, np.int64), padded.reshape(channels, height, -1, pixels, length), parameters)
    there = np.arange(padded.shape[2]) < width
    existing: NDArray[np.uint8] = words[np.tile(there, channels * height)]
    return existing


def _words(membrane: NDArray[np.int64], data: NDArray[np.uint8], parameters: Parameters) -> NDArray[np.uint8]:
    """Words of ``(channel, row, group, index, bit)``."""
    layout = word_layout(parameters)
    places = np.indices(data.shape[:-1]).reshape(len(FIELDS), -1)
    flat = data.reshape(-1, data.shape[-1])
    words = np.zeros((len(flat), layout.size), np.uint8)
    for name, values in (("membrane", membrane), *zip(FIELDS, places, strict=True)):
        field = layout[name]
        words[:, field.offset : field.offset + field.width] = values[:, None] >> np.arange(field.width) & 1
    at = layout["data"].offset
    words[:, at : at + flat.shape[1]] = flat
    return words
