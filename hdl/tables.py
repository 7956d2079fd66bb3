"""The tables that describe a layer to the core: their fields, shared by the hardware and by what fills them.

A **job** computes a layer (or some rows of one). It goes through **blocks** of C output channels, and for each through
the tiles of the map. For a tile it runs through the block's **segments**, one for each projection (and for each plane
of static input): for every input channel, every **fetch** makes some groups of pixels of one source row visible, and
every **tap** of that fetch is one micro-operation of the integrate lanes: where each lane finds its pixel, and which
weight goes with it.

Consecutive segments form a **pass**: what flows into the lanes until they are read. A pass is repeated for each chunk
of J columns. Passes over static input come first.
"""

from __future__ import annotations

from amaranth.hdl import signed, unsigned
from amaranth.lib import data

from hdl.neuron import settings_layout
from hdl.parameters import Parameters

COORDINATE_BITS = 11
"""Signed width of a row or a group of pixels: maps have up to 1,023 rows."""
COUNT_BITS = 13
"""Unsigned width of a number of channels: up to 8,191."""
STEP_BITS = 9
"""Unsigned width of a number of time-steps: up to 511."""
CHUNK_BITS = 6
"""Unsigned width of a number of chunks."""


def address_bits(depth: int) -> int:
    """Bits of an address into a memory of ``depth`` words."""
    return max(1, (depth - 1).bit_length())


def tap_layout(parameters: Parameters) -> data.StructLayout:
    """One micro-operation of a fetch.

    Fields:
        shift: the visible pixel that lane 0 takes.
        wide: lane p takes pixel ``shift + 2 p``; otherwise ``shift + p``.
        lanes: P bits: the lanes that take part.
        weight: offset of its weight word, from the first of the input channel.
        high: the weights count 256 times.
    """
    return data.StructLayout(
        {
            "shift": unsigned(address_bits(parameters.visible)),
            "wide": 1,
            "lanes": unsigned(parameters.pixels),
            "weight": unsigned(address_bits(parameters.weight_words)),
            "high": 1,
        }
    )


def fetch_layout(parameters: Parameters) -> data.StructLayout:
    """One row of one input channel, made visible.

    Fields:
        row: source row, relative to the tile's first; offset: the same in words of the event memory.
        group: the first visible group, relative to the tile's first.
        care: a bit for each visible pixel: the fetch is silent if none of these has an event.
        first, number: its taps.
    """
    return data.StructLayout(
        {
            "row": signed(COORDINATE_BITS),
            "offset": unsigned(address_bits(parameters.event_words)),
            "group": signed(COORDINATE_BITS),
            "care": unsigned(parameters.visible),
            "first": unsigned(address_bits(parameters.taps)),
            "number": unsigned(address_bits(parameters.taps)),
        }
    )


def segment_layout(parameters: Parameters) -> data.StructLayout:
    """A projection, as one block of output channels sees it.

    Fields (addresses and offsets in words of a bank of the event memory):
        events: address of the first input channel's first row. plane: to the next channel. tile_offset: to the next
            tile row's. row_offset: from one of the R rows to the next. chunk_offset: to the next chunk.
        rows, groups: of the source map. edge: P bits: the pixels of a row's last group that exist (for max-pools).
        tile_rows: source rows from one tile row to the next. row_stride: from one of the R rows to the next.
        tile_groups: source groups from one tile to the next.
        inputs: input channels, at least 1.
        weights: address of the first weight word. advance: to the next input channel.
        first, number: its fetches.
        chunks: how often its pass runs. last: it ends the pass. end: it ends the tile's last pass.
        static: its events are bit-planes of static input. shifted: and its current is shifted.
    """
    event = unsigned(address_bits(parameters.event_words))
    weight = unsigned(address_bits(parameters.weight_words))
    fetch = unsigned(address_bits(parameters.fetches))
    return data.StructLayout(
        {
            "events": event,
            "plane": event,
            "tile_offset": event,
            "row_offset": event,
            "chunk_offset": event,
            "rows": unsigned(COORDINATE_BITS - 1),
            "groups": unsigned(COORDINATE_BITS - 1),
            "edge": unsigned(parameters.pixels),
            "tile_rows": unsigned(COORDINATE_BITS - 1),
            "row_stride": unsigned(COORDINATE_BITS - 1),
            "tile_groups": unsigned(COORDINATE_BITS - 1),
            "inputs": unsigned(COUNT_BITS),
            "weights": weight,
            "advance": weight,
            "first": fetch,
            "number": fetch,
            "chunks": unsigned(CHUNK_BITS),
            "last": 1,
            "end": 1,
            "static": 1,
            "shifted": 1,
        }
    )


def job_layout(parameters: Parameters) -> data.StructLayout:
    """A layer.

    Fields:
        blocks: blocks of C output channels. channels: output channels.
        tile_rows, tile_columns: tiles down and across. rows: output rows.
        last: P bits: the pixels of a row's last group that exist.
        segments: the first block's first segment. constants: the first channel's constants.
        pooling: the job is a max-pool: its events are pooled, and no neurons fire. A block is one channel then.
        zeros: of a max-pool: cells outside the map are zeros, and not ignored.
        separated: accumulate, then send. readout: accumulate, then show the membranes.
        double: columns are digits of a binary code. still: there are no moving inputs. static: there are static ones.
        steps: T. length: columns sent, T or T and the drain. lead: unused columns in front of the first chunk's.
        repeats: how often bias and static current are added at the end of an accumulation.
        settings: of the neurons.
    """
    return data.StructLayout(
        {
            "blocks": unsigned(COUNT_BITS),
            "channels": unsigned(COUNT_BITS),
            "tile_rows": unsigned(COORDINATE_BITS - 1),
            "tile_columns": unsigned(COORDINATE_BITS - 1),
            "rows": unsigned(COORDINATE_BITS - 1),
            "last": unsigned(parameters.pixels),
            "segments": unsigned(address_bits(parameters.segments)),
            "constants": unsigned(address_bits(parameters.neurons)),
            "pooling": 1,
            "zeros": 1,
            "separated": 1,
            "readout": 1,
            "double": 1,
            "still": 1,
            "static": 1,
            "steps": unsigned(STEP_BITS),
            "length": unsigned(STEP_BITS),
            "lead": unsigned(address_bits(parameters.columns)),
            "repeats": unsigned(STEP_BITS),
            "settings": settings_layout(parameters),
        }
    )


def write_layout(depth: int, width: int) -> data.StructLayout:
    """A write into a table or memory."""
    return data.StructLayout({"enable": 1, "address": unsigned(address_bits(depth)), "data": unsigned(width)})
