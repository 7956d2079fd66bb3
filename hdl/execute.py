"""A layer on a core, whatever runs it: what goes in, and what the words that come out mean."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from hdl.core import Target
from hdl.layer import BIAS_MAP, Job, Layer
from hdl.neuron import constants_layout
from hdl.parameters import Parameters
from hdl.tables import fetch_layout, job_layout, segment_layout, tap_layout
from hdl.words import Parts, bit_planes, event_parts, pack_events, table_parts, unpack_events, weight_parts


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Words:
    """What a core sent: a row for each word.

    Attributes:
        fields: ``(N, 5) int64``: membrane, channel, row, group, index.
        data: ``(N, bits) uint8``: the data's bits, the least significant one first.
    """

    fields: NDArray[np.int64]
    data: NDArray[np.uint8]


class Machine(Protocol):
    """Something that runs a core: a simulator, or a board."""

    parameters: Parameters

    def run(self, parts: Parts) -> Words:
        """Load the parts, of which the last one starts a job, and collect what the core sends until it is done."""


def source_parts(layer: Layer, sources: Mapping[str, NDArray[Any]], parameters: Parameters) -> Parts:
    """The parts that store a layer's sources.

    Args:
        layer: the layer.
        sources: by population: ternary events ``(T', C, H, W)``, or the graded values ``(C, H, W)`` of a static one.
        parameters: of the core.
    """
    parts = []
    for source in layer.sources:
        values = layer.constants.get(source.name) if source.name == BIAS_MAP else sources[source.name]
        assert values is not None
        length = source.columns.length
        if source.static:
            events = bit_planes(values.reshape(source.shape), length)
        else:
            events = np.zeros((length, *source.shape), np.int8)
            given = values.reshape(-1, *source.shape)[:length]
            events[: len(given)] = given
        parts.append(event_parts(pack_events(events, source.columns.lead, parameters), source.address, parameters))
    return np.concatenate(parts)


def job_parts(job: Job, parameters: Parameters) -> Parts:
    """The parts of a job's weights and tables, and at the end of the job itself."""
    tables = (
        (Target.CONSTANTS, constants_layout(parameters), job.constants),
        (Target.FETCHES, fetch_layout(parameters), job.fetches),
        (Target.TAPS, tap_layout(parameters), job.taps),
        (Target.SEGMENTS, segment_layout(parameters), job.segments),
        (Target.JOB, job_layout(parameters), [job.fields]),
    )
    return np.concatenate(
        [
            weight_parts(job.weights, parameters),
            *(table_parts(target, layout, entries, parameters) for target, layout, entries in tables),
        ]
    )


def collect(layer: Layer, job: Job, words: Words, parameters: Parameters, result: NDArray[Any]) -> None:
    """Put a job's words where they belong.

    Args:
        layer, job: what was run.
        words: what came out.
        parameters: of the core.
        result: ``(L, C, H, W) int8`` events, or ``(C, H, W) int64`` membranes of a readout; written.

    Raises:
        ValueError: a word came twice, or one is missing.
    """
    channels = min(job.fields["channels"], layer.shape[0])
    seen = np.zeros(_expected_shape(layer, channels, parameters, result.ndim == 3), np.int64)
    width = layer.shape[2]
    if result.ndim == 3:
        seen[:, :, -1, (width - 1) % parameters.pixels + 1 :] = 1  # a row's last group may have fewer pixels
    for (membrane, channel, row, group, index), bits in zip(words.fields, words.data, strict=True):
        seen[channel, row, group, index] += 1
        x = group * parameters.pixels
        if membrane:
            value = int.from_bytes(np.packbits(bits[: parameters.state_bits], bitorder="little").tobytes(), "little")
            sign = 1 << (parameters.state_bits - 1)
            result[job.channel + channel, row, x + index] = (value ^ sign) - sign
        else:
            events = unpack_events(bits[: parameters.word_bits], parameters)  # (P, J)
            first = index * parameters.columns - layer.columns.lead
            begin, end = max(first, 0), min(first + parameters.columns, layer.columns.length)
            part = events[: width - x, begin - first : end - first]
            result[begin:end, job.channel + channel, row, x : x + parameters.pixels] = part.T
    if (seen != 1).any():
        at = np.argwhere(seen != 1)[0]
        raise ValueError(
            f"'{layer.population}': channel {at[0]}, row {at[1]}, group {at[2]}, word {at[3]} came "
            f"{seen[tuple(at)]} times"
        )


def _expected_shape(layer: Layer, channels: int, parameters: Parameters, membranes: bool) -> tuple[int, int, int, int]:
    _, height, width = layer.shape
    groups = -(-width // parameters.pixels)
    each = min(parameters.pixels, width) if membranes else layer.columns.chunks(parameters)
    return channels, height, groups, each


def run_layer(
    machine: Machine, layer: Layer, sources: Mapping[str, NDArray[Any]], *, readout: bool = False
) -> NDArray[Any]:
    """Compute a layer: events ``(L, C, H, W) int8``, or the membranes ``(C, H, W) int64`` of a readout."""
    parameters = machine.parameters
    length = layer.columns.length
    result = np.zeros(layer.shape, np.int64) if readout else np.zeros((length, *layer.shape), np.int8)
    stored = source_parts(layer, sources, parameters)
    for job in layer.jobs:
        words = machine.run(np.concatenate([stored, job_parts(job, parameters)]))
        collect(layer, job, words, parameters, result)
        stored = stored[:0]
    return result


def traced(layer: Layer, job: Job, beats: NDArray[np.int64], parameters: Parameters) -> dict[str, NDArray[np.int64]]:
    """What a core with a trace showed of a job's neurons, as maps.

    Args:
        layer, job: what was run; spiking neurons.
        beats: ``(beats, C, 6)``, as the machines keep them.
        parameters: of the core.

    Returns:
        ``current``, ``before``, ``spike``, ``membrane``, ``count``, ``saturated``: ``(L, channels, H, W)`` each, by
        their letters in the contract I, u, s, v, n. With temporal separation the current is that of the digit's beat
        (0, or the initial membrane in the first), and the count means nothing.
    """
    names = ("current", "before", "spike", "membrane", "count", "saturated")
    _, height, width = layer.shape
    fields = job.fields
    steps = layer.columns.chunks(parameters) * parameters.columns - layer.columns.lead
    tiles = fields["tile_rows"], fields["tile_columns"]
    maps = beats.reshape(
        fields["blocks"], *tiles, steps, parameters.rows, parameters.pixels, parameters.channels, len(names)
    )
    ordered = maps.transpose(7, 3, 0, 6, 1, 4, 2, 5)  # name, step, block, channel, tile row, row, tile column, pixel
    whole = ordered.reshape(
        len(names),
        steps,
        fields["blocks"] * parameters.channels,
        tiles[0] * parameters.rows,
        tiles[1] * parameters.pixels,
    )
    part = whole[:, : layer.columns.length, : fields["channels"], :height, :width]
    return dict(zip(names, part, strict=True))
