"""The order of work: blocks, tiles, passes, segments, input channels, fetches, as a stream of requests for events."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import product
from typing import Any

from amaranth.hdl import Module, Mux, Signal, signed, unsigned
from amaranth.lib import data, stream
from amaranth.lib.wiring import Component, In, Out

from hdl.delay import at_last, later
from hdl.parameters import Parameters
from hdl.queue import Queue
from hdl.ram import ram, registered
from hdl.register import copy
from hdl.tables import (
    CHUNK_BITS,
    COORDINATE_BITS,
    COUNT_BITS,
    address_bits,
    fetch_layout,
    job_layout,
    segment_layout,
    write_layout,
)

QUEUE = 8
"""Requests that may wait to be taken."""
UNDER_WAY = 4
"""Requests between the decision to make them and the queue's count of them."""


def mark_layout() -> data.StructLayout:
    """The end of a pass over one chunk of columns.

    Fields:
        static, shifted: as in the segment.
        first, last: the pass's first, last chunk. end: the tile ends with it.
    """
    return data.StructLayout({"static": 1, "shifted": 1, "first": 1, "last": 1, "end": 1})


def request_layout(parameters: Parameters) -> data.StructLayout:
    """A request for events, or the end of a pass.

    Fields:
        marks: 1: the end of a pass, told by ``mark``; all but these two fields are idle.
        address: of the row for the first of the R rows, without the group. row_offset: from one of the R to the next.
        row: its source row; row_stride: from one of the R to the next; rows: of the source map.
        group: the first visible one; groups: of a source row; last: P bits: the existing pixels of its last group.
        care, first, number: of the fetch. weights: address of the input channel's first weight word.
    """
    coordinate = signed(COORDINATE_BITS)
    event = unsigned(address_bits(parameters.event_words))
    taps = unsigned(address_bits(parameters.taps))
    return data.StructLayout(
        {
            "marks": 1,
            "mark": mark_layout(),
            "address": event,
            "row_offset": event,
            "row": coordinate,
            "row_stride": unsigned(COORDINATE_BITS - 1),
            "rows": unsigned(COORDINATE_BITS - 1),
            "group": coordinate,
            "groups": unsigned(COORDINATE_BITS - 1),
            "last": unsigned(parameters.pixels),
            "care": unsigned(parameters.visible),
            "first": taps,
            "number": taps,
            "weights": unsigned(address_bits(parameters.weight_words)),
        }
    )


class Sequencer(Component):
    """Walks through a job's tables.

    Ports:
        job: In, ``job_layout``: steady while ``busy``.
        start: In(1): a pulse while not busy.
        busy: Out(1): requests are still to come.
        block: Out(1): a pulse: the constants of the block ``block_index`` are to be loaded; the sequencer waits for
            ``ready``.
        ready: In(1): all earlier tiles are done and the constants are there.
        requests: Out, stream of ``request_layout``: one a cycle while inside a segment.
        write_segment, write_fetch: In, ``write_layout``: the tables; while not busy.

    The first request comes 11 cycles after ``ready``. Between two segments there are 5 or 6 cycles without a request,
    and 8 after the end of a block, if requests are taken and ``ready`` is there at once.
    """

    def __init__(self, parameters: Parameters) -> None:
        self.parameters = parameters
        super().__init__(
            {
                "job": In(job_layout(parameters)),
                "start": In(1),
                "busy": Out(1),
                "block": Out(1),
                "ready": In(1),
                "requests": Out(stream.Signature(request_layout(parameters))),
                "write_segment": In(write_layout(parameters.segments, segment_layout(parameters).size)),
                "write_fetch": In(write_layout(parameters.fetches, fetch_layout(parameters).size)),
            }
        )

    def model(
        self, job: Mapping[str, Any], segments: Sequence[Mapping[str, int]], fetches: Sequence[Mapping[str, int]]
    ) -> list[list[dict[str, Any]]]:
        """A job's requests, block by block, in plain integers.

        Args:
            job: fields of ``job_layout``.
            segments, fetches: the tables, entries as dictionaries.

        Returns:
            fields of ``request_layout``; of the end of a pass only ``marks`` and ``mark``.
        """
        events, weights = address_bits(self.parameters.event_words), address_bits(self.parameters.weight_words)
        ends = [at for at, segment in enumerate(segments) if segment["end"] and at >= job["segments"]]
        result: list[list[dict[str, Any]]] = []
        for block in range(job["blocks"]):
            number, skipped = (0, block) if job["pooling"] else (block, 0)
            begin = ends[number - 1] + 1 if number else job["segments"]
            passes: list[list[Mapping[str, int]]] = [[]]
            for segment in segments[begin : ends[number] + 1]:
                passes[-1].append(segment)
                if segment["last"]:
                    passes.append([])
            requests: list[dict[str, Any]] = []
            for y, x in product(range(job["tile_rows"]), range(job["tile_columns"])):
                for each in passes[:-1]:
                    final = each[-1]
                    for chunk in range(final["chunks"]):
                        for segment in each:
                            first = segment["events"] + y * segment["tile_offset"] + chunk * segment["chunk_offset"]
                            used = fetches[segment["first"] : segment["first"] + segment["number"]]
                            for channel, fetch in product(range(segment["inputs"]), used):
                                plane = first + (skipped + channel) * segment["plane"]
                                requests.append(
                                    {
                                        "marks": 0,
                                        "address": (plane + fetch["offset"]) % (1 << events),
                                        "row": y * segment["tile_rows"] + fetch["row"],
                                        "group": x * segment["tile_groups"] + fetch["group"],
                                        "last": segment["edge"],
                                        "weights": (segment["weights"] + channel * segment["advance"]) % (1 << weights),
                                    }
                                    | {name: segment[name] for name in ("row_offset", "row_stride", "rows", "groups")}
                                    | {name: fetch[name] for name in ("care", "first", "number")}
                                )
                        last = chunk == final["chunks"] - 1
                        mark = {
                            "static": final["static"],
                            "shifted": final["shifted"],
                            "first": int(chunk == 0),
                            "last": int(last),
                            "end": int(last and final["end"]),
                        }
                        requests.append({"marks": 1, "mark": mark})
            result.append(requests)
        return result

    def elaborate(self, platform: Any) -> Module:
        m = Module()
        parameters, job = self.parameters, self.job
        m.submodules.segments = segments = ram(segment_layout(parameters), parameters.segments)
        m.submodules.fetches = fetches = ram(fetch_layout(parameters), parameters.fetches)
        read_segment, read_fetch = segments.read_port(), fetches.read_port()
        for port, write in ((segments.write_port(), self.write_segment), (fetches.write_port(), self.write_fetch)):
            m.d.comb += [port.en.eq(write.enable), port.addr.eq(write.address), port.data.eq(write.data)]

        event = address_bits(parameters.event_words)
        pointer = Signal(address_bits(parameters.segments))
        block_first = Signal.like(pointer)
        pass_first = Signal.like(pointer)
        blocks = Signal(COUNT_BITS)
        tile_row, tile_column = Signal(COORDINATE_BITS - 1), Signal(COORDINATE_BITS - 1)
        chunk = Signal(CHUNK_BITS)
        segment = Signal(segment_layout(parameters))
        row, group = Signal(signed(COORDINATE_BITS)), Signal(signed(COORDINATE_BITS))
        down, over, offset, origin = Signal(event), Signal(event), Signal(event), Signal(event)
        # What is compared changes some cycles before it matters: its comparison waits in a register.
        ends_row = at_last(m, tile_column, job.tile_columns, "ends_row")
        ends_map = at_last(m, tile_row, job.tile_rows, "ends_map")
        ends_pass = at_last(m, chunk, segment.chunks, "ends_pass")
        ends_block = Signal()
        lone_fetch, last_fetch, last_input, last_block = Signal(), Signal(), Signal(), Signal()
        repeats, skips = Signal(), Signal()
        m.d.sync += [
            ends_block.eq(ends_row & ends_map),
            lone_fetch.eq(segment.number == 1),
            last_block.eq(blocks == 0),
            # The tables of a max-pool's first channel serve the others too.
            repeats.eq(~(ends_row & ends_map) | job.pooling),
            skips.eq(ends_row & ends_map & job.pooling),
        ]
        inputs, number = Signal(COUNT_BITS), Signal(address_bits(parameters.fetches))
        channel = Signal(event)
        plane, weights = Signal(event), Signal(address_bits(parameters.weight_words))
        m.d.comb += [read_segment.addr.eq(pointer), self.busy.eq(1)]

        # What is asked for, but for the fetch's entry, which is still read. Requests queue: nothing in here has to stop
        # at once.
        m.submodules.queue = queue = Queue(request_layout(parameters), QUEUE, UNDER_WAY)
        waiting, read, made = Signal(), Signal(), Signal()
        asked = Signal(request_layout(parameters))
        asks = later(m, asked, request_layout(parameters), "asks", 2)
        fetch = registered(m, read_fetch, fetch_layout(parameters), "fetch", 2)
        following = registered(m, read_segment, segment_layout(parameters), "following")
        request = queue.word
        m.d.comb += [
            request.eq(asks),
            request.address.eq(asks.address + fetch.offset),
            request.row.eq(asks.row + fetch.row),
            request.group.eq(asks.group + fetch.group),
            request.care.eq(fetch.care),
            request.first.eq(fetch.first),
            request.number.eq(fetch.number),
            queue.put.eq(made),
            self.requests.payload.eq(queue.words.payload),
            self.requests.valid.eq(queue.words.valid),
            queue.words.ready.eq(self.requests.ready),
        ]
        m.d.sync += [
            waiting.eq(0),
            read.eq(waiting),
            made.eq(read),
        ]

        # Each multiplier has factors and a product of its own beside it: what stood there two cycles before.
        factors = {
            "down": (tile_row, following.tile_offset),
            "over": (chunk, following.chunk_offset),
            "row": (tile_row, following.tile_rows),
            "group": (tile_column, following.tile_groups),
        }
        products = {}
        for name, pair in factors.items():
            one, other = (
                copy(m, factor, parameters.device, f"{name}_factor_{k}", reset=True) for k, factor in enumerate(pair)
            )
            products[name] = copy(m, one * other, parameters.device, f"{name}_product", reset=True)

        # Three states are known beforehand: much follows from them.
        running, closing, closed, tiled, steps, closes = Signal(), Signal(), Signal(), Signal(), Signal(), Signal()
        takes = Signal()
        m.d.comb += [steps.eq(running & queue.room), closes.eq(closing & queue.room)]
        with m.FSM():
            with m.State("idle"):
                m.d.comb += self.busy.eq(0)
                m.d.sync += [
                    blocks.eq(job.blocks - 1),
                    pointer.eq(job.segments),
                    tile_row.eq(0),
                    tile_column.eq(0),
                    chunk.eq(0),
                    channel.eq(0),
                ]
                with m.If(self.start):
                    m.next = "block"
            with m.State("block"):
                m.d.comb += self.block.eq(1)
                m.d.sync += [block_first.eq(pointer), pass_first.eq(pointer)]
                m.next = "load"
            with m.State("load"), m.If(self.ready):
                m.next = "take"
            with m.State("take"):
                m.d.comb += takes.eq(1)
                m.next = "multiply"
            with m.State("multiply"):
                m.next = "product"
            with m.State("product"):
                m.d.sync += [
                    down.eq(products["down"]),
                    over.eq(products["over"]),
                    row.eq(products["row"]),
                    group.eq(products["group"]),
                    weights.eq(segment.weights),
                ]
                m.next = "offset"
            with m.State("offset"):
                m.d.sync += [offset.eq(down + over), origin.eq(segment.events + channel)]
                m.next = "add"
            with m.State("add"):
                m.d.sync += [
                    plane.eq(origin + offset),
                    read_fetch.addr.eq(segment.first),
                    inputs.eq(segment.inputs - 1),
                    number.eq(segment.number - 1),
                    last_input.eq(segment.inputs == 1),
                    last_fetch.eq(lone_fetch),
                    running.eq(1),
                ]
                # Where it goes on is known; the table is read meanwhile.
                m.d.sync += pointer.eq(pointer + 1)
                with m.If(segment.last):
                    m.d.sync += pass_first.eq(pointer + 1)
                    with m.If(~ends_pass):
                        m.d.sync += [pointer.eq(pass_first), pass_first.eq(pass_first)]
                    with m.Elif(segment.end & repeats):
                        m.d.sync += [pointer.eq(block_first), pass_first.eq(block_first)]
                m.next = "run"
            with m.State("run"), m.If(closed):
                m.d.comb += takes.eq(1)
                m.next = "multiply"
                with m.If(tiled):
                    m.next = "tile"
            with m.State("tile"):
                m.next = "multiply"
                with m.If(ends_block):
                    m.next = "block"
                    with m.If(last_block):
                        m.next = "finish"
            with m.State("finish"), m.If(~waiting & ~read & ~made & queue.empty):
                m.next = "idle"

        m.d.sync += [closed.eq(closes), tiled.eq(closes & segment.last & segment.end & ends_pass)]
        with m.If(takes):
            m.d.sync += segment.eq(following)
        with m.If(tiled):
            m.d.sync += tile_column.eq(Mux(ends_row, 0, tile_column + 1))
            with m.If(ends_row):
                m.d.sync += tile_row.eq(Mux(ends_map, 0, tile_row + 1))
            with m.If(ends_block):
                m.d.sync += blocks.eq(blocks - 1)
            with m.If(skips):
                m.d.sync += channel.eq(channel + segment.plane)
        with m.If(steps):
            m.d.sync += [
                waiting.eq(1),
                asked.marks.eq(0),
                asked.address.eq(plane),
                asked.row.eq(row),
                asked.group.eq(group),
                asked.weights.eq(weights),
                asked.last.eq(segment.edge),
                *(asked[name].eq(segment[name]) for name in ("row_offset", "row_stride", "rows", "groups")),
                number.eq(number - 1),
                read_fetch.addr.eq(read_fetch.addr + 1),
                last_fetch.eq(number == 1),
            ]
            with m.If(last_fetch):
                m.d.sync += [
                    number.eq(segment.number - 1),
                    read_fetch.addr.eq(segment.first),
                    last_fetch.eq(lone_fetch),
                    inputs.eq(inputs - 1),
                    last_input.eq(inputs == 1),
                    plane.eq(plane + segment.plane),
                    weights.eq(weights + segment.advance),
                ]
                with m.If(last_input):
                    m.d.sync += [running.eq(0), closing.eq(1)]
        with m.If(closes):
            m.d.sync += closing.eq(0)
            with m.If(segment.last):
                m.d.sync += [
                    waiting.eq(1),
                    asked.marks.eq(1),
                    asked.mark.static.eq(segment.static),
                    asked.mark.shifted.eq(segment.shifted),
                    asked.mark.first.eq(chunk == 0),
                    asked.mark.last.eq(ends_pass),
                    asked.mark.end.eq(ends_pass & segment.end),
                    chunk.eq(Mux(ends_pass, 0, chunk + 1)),
                ]
        return m
