"""The event memory, and the fetching of rows of pixels from it for all R rows at a time; silent rows are dropped."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import product
from typing import Any

from amaranth.hdl import Array as Choice
from amaranth.hdl import Cat, Const, Module, Mux, Signal, signed, unsigned
from amaranth.lib import data, stream
from amaranth.lib.wiring import Component, In, Out

from hdl.delay import carried, later
from hdl.parameters import Parameters
from hdl.queue import Queue
from hdl.ram import ram, registered
from hdl.register import copy
from hdl.sequencer import mark_layout, request_layout
from hdl.tables import COORDINATE_BITS, address_bits

DEPTH = 17
"""Windows on their way or waiting for the lanes: one in a register, the others in a memory of 16."""
LISTENERS = 16
"""Bits of a window that share a register which chooses their bank."""


def window_layout(parameters: Parameters) -> data.StructLayout:
    """What a fetch found, or the end of a pass.

    Fields:
        marks, mark: as in the request.
        first, number, weights: of the fetch: its taps, and the input channel's first weight word.
        single: it takes one cycle: there is one tap, or the lanes have one pixel to be read out.
        events: R rows of the visible pixels of J ternary events; outside the map there are none.
        inside: for max-pools, R rows of a bit for each visible pixel: it lies inside the map.
    """
    taps = unsigned(address_bits(parameters.taps))
    fields: dict[str, Any] = {
        "marks": 1,
        "mark": mark_layout(),
        "first": taps,
        "number": taps,
        "single": 1,
        "weights": unsigned(address_bits(parameters.weight_words)),
        "events": data.ArrayLayout(unsigned(parameters.visible * 2 * parameters.columns), parameters.rows),
    }
    if parameters.pooling:
        fields["inside"] = data.ArrayLayout(unsigned(parameters.visible), parameters.rows)
    return data.StructLayout(fields)


def store_layout(parameters: Parameters) -> data.StructLayout:
    """A write into the event memory: a group of P pixels of J events, pixel by pixel, column by column."""
    return data.StructLayout(
        {
            "enable": 1,
            "bank": unsigned(address_bits(parameters.banks)),
            "address": unsigned(address_bits(parameters.event_words)),
            "data": unsigned(parameters.word_bits),
        }
    )


class Gather(Component):
    """Turns requests into windows.

    The event memory has a copy for each of the R rows, so that they read on their own, and B banks in each: group g of
    a row lies in bank g mod B, so that B neighbouring groups are read at once, wherever they begin.

    Ports:
        requests: In, stream of ``request_layout``: taken while there is room for what they find.
        windows: Out, stream of ``window_layout``: in the same order, without the silent ones.
        store: In, ``store_layout``: at any time.
        keep: In(1): windows are kept even if they are silent: they are for the max-pool unit. zeros: In(1): everything
            counts as inside the map.
        dropped: Out(1): a silent window is dropped in this cycle.

    ``latency``: cycles from a request to its window, more if windows wait.
    """

    latency = 12

    def __init__(self, parameters: Parameters) -> None:
        self.parameters = parameters
        super().__init__(
            {
                "requests": In(stream.Signature(request_layout(parameters))),
                "windows": Out(stream.Signature(window_layout(parameters))),
                "store": In(store_layout(parameters)),
                "keep": In(1),
                "zeros": In(1),
                "dropped": Out(1),
            }
        )

    def model(
        self, stored: Sequence[Sequence[int]], request: Mapping[str, Any], keep: int = 0, zeros: int = 0
    ) -> dict[str, Any] | None:
        """A request in plain integers.

        Args:
            stored: each bank's words.
            request: fields of ``request_layout``.
            keep, zeros: as at the ports.

        Returns:
            fields of ``window_layout``, of the end of a pass only ``marks``, ``mark`` and ``single``; None: dropped.
        """
        if request["marks"]:
            return {"marks": 1, "mark": request["mark"], "single": int(self.parameters.pixels == 1 and not keep)}
        parameters = self.parameters
        bits = 2 * parameters.columns
        events, inside = [0] * parameters.rows, [0] * parameters.rows
        found = False
        for r in range(parameters.rows):
            row = request["row"] + r * request["row_stride"]
            for x in range(parameters.visible):
                step, pixel = divmod(x, parameters.pixels)
                group = request["group"] + step
                there = 0 <= row < request["rows"] and 0 <= group < request["groups"]
                if there:
                    address = request["address"] + r * request["row_offset"] + group // parameters.banks
                    word = stored[group % parameters.banks][address % parameters.event_words]
                    event = word >> pixel * bits & (1 << bits) - 1
                    events[r] |= event << x * bits
                    found |= bool(event and request["care"] >> x & 1)
                exists = group < request["groups"] - 1 or request["last"] >> pixel & 1
                inside[r] |= int(bool(zeros or (there and exists))) << x
        if not found and not keep:
            return None
        window = {"marks": 0, "events": events, "single": int(request["number"] == 1)}
        window |= {name: request[name] for name in ("first", "number", "weights")}
        return window | ({"inside": inside} if parameters.pooling else {})

    def elaborate(self, platform: Any) -> Module:
        m = Module()
        parameters = self.parameters
        rows, banks, pixel_bits = parameters.rows, parameters.banks, 2 * parameters.columns
        group_bits = parameters.pixels * pixel_bits

        m.submodules.queue = queue = Queue(window_layout(parameters), DEPTH - 1)
        # ``ready`` is a register, and one request behind the credits.
        credits = Signal(range(DEPTH + 1), init=DEPTH)
        accepted, taken, ready = Signal(), Signal(), Signal()
        m.d.comb += [
            self.requests.ready.eq(ready),
            accepted.eq(self.requests.valid & self.requests.ready),
            self.windows.valid.eq(queue.words.valid),
            self.windows.payload.eq(queue.words.payload),
            taken.eq(self.windows.valid & self.windows.ready),
            queue.words.ready.eq(self.windows.ready),
        ]
        returned = later(m, Cat(taken, self.dropped), 2, "returned")
        m.d.sync += [ready.eq(credits > 1), credits.eq(credits - accepted + returned[0] + returned[1])]

        # A register first: requests may come from afar. The rest of a request travels along, a register a stage.
        request = later(m, self.requests.payload, request_layout(parameters), "request")
        valid = [later(m, accepted, 1, "valid")]
        along: list[Any] = [request]
        for stage in range(1, 9):
            valid.append(Signal(name=f"valid_{stage}"))
            along.append(Signal(request.shape(), name=f"request_{stage}"))
            m.d.sync += [valid[stage].eq(valid[stage - 1]), along[stage].eq(along[stage - 1])]

        # Stage 1: where each row lies, and which row and groups it is.
        address = [Signal(address_bits(parameters.event_words), name=f"address_{r}") for r in range(rows)]
        row = [Signal(signed(COORDINATE_BITS), name=f"row_{r}") for r in range(rows)]
        in_order = [Signal.like(request.group, name=f"group_{k}") for k in range(banks)]
        m.d.sync += [in_order[k].eq(request.group + k) for k in range(banks)]
        base, at_row = request.address, request.row
        for r in range(rows):
            m.d.sync += [address[r].eq(base), row[r].eq(at_row)]
            base, at_row = base + request.row_offset, at_row + request.row_stride

        # Stage 2: the address in each bank, and what lies inside the map.
        turn_bits = address_bits(banks)
        group = along[1].group
        word = [[Signal.like(address[r], name=f"word_{r}_{b}") for b in range(banks)] for r in range(rows)]
        row_inside, group_inside = Signal(rows), Signal(banks)
        for r in range(rows):
            m.d.sync += row_inside[r].eq((row[r] >= 0) & (row[r] < along[1].rows))
            for b in range(banks):
                m.d.sync += word[r][b].eq(carried(address[r], group >> turn_bits, b < group[:turn_bits]))
        for k in range(banks):
            m.d.sync += group_inside[k].eq((in_order[k] >= 0) & (in_order[k] < along[1].groups))

        # Stage 3: the memories read; 4 and 5: registers.
        found: list[list[Any]] = [[] for _ in range(rows)]
        for r in range(rows):
            for b in range(banks):
                m.submodules[f"events_{r}_{b}"] = events = ram(unsigned(group_bits), parameters.event_words)
                read, write = events.read_port(), events.write_port()
                m.d.comb += [
                    write.en.eq(self.store.enable & (self.store.bank == b)),
                    write.addr.eq(self.store.address),
                    write.data.eq(self.store.data),
                    read.addr.eq(word[r][b]),
                ]
                found[r].append(registered(m, read, group_bits, f"found_{r}_{b}", 2))
        inside = later(m, Cat(row_inside, group_inside), rows + banks, "inside", 2)
        inside_rows, inside_groups = inside[:rows], inside[rows:]

        # Stage 6: the groups in order, silent outside the map; 7: which pixels have events; 8: whether any matters.
        # A few bits listen to a choice of their own: it crosses the memories in the stage before.
        window = []
        silent = Signal(rows)
        for r in range(rows):
            lined = [Signal(parameters.visible * pixel_bits, name=f"lined_{stage}_{r}") for stage in (6, 7, 8)]
            for k, first in product(range(banks), range(0, group_bits, LISTENERS)):
                choice = Cat(inside_rows[r] & inside_groups[k], along[4].group[:turn_bits])
                choice = copy(m, choice, parameters.device, f"choice_{r}_{k}_{first}")
                bits = [found[r][(k + t) % banks][first : first + LISTENERS] for t in range(banks)]
                shown = Choice(bits)[choice[1:]] & choice[0].replicate(len(bits[0]))
                m.d.sync += lined[0][k * group_bits + first :][: len(shown)].eq(shown)
            occupied = Signal(parameters.visible, name=f"occupied_{r}")
            m.d.sync += [
                occupied.eq(Cat(lined[0].word_select(x, pixel_bits).any() for x in range(parameters.visible))),
                lined[1].eq(lined[0]),
                lined[2].eq(lined[1]),
                silent[r].eq(~(occupied & along[7].care).any()),
            ]
            window.append(lined[2])
        if parameters.pooling:
            whole = later(m, inside, rows + banks, "whole", 4)
            edge, distance = Signal(banks), Signal(signed(COORDINATE_BITS + 1))
            m.d.sync += [
                distance.eq(along[6].groups - along[6].group),
                edge.eq(Cat(distance == k + 1 for k in range(banks))),
            ]

        # Stage 9: into the queue, or dropped.
        single = Signal()
        at_once = ~self.keep if parameters.pixels == 1 else Const(0, 1)
        m.d.sync += single.eq(Mux(along[7].marks, at_once, along[7].number == 1))
        payload = Signal(window_layout(parameters))
        m.d.comb += [
            payload.marks.eq(along[8].marks),
            payload.mark.eq(along[8].mark),
            payload.first.eq(along[8].first),
            payload.number.eq(along[8].number),
            payload.single.eq(single),
            payload.weights.eq(along[8].weights),
            *(payload.events[r].eq(window[r]) for r in range(rows)),
            queue.word.eq(later(m, payload, payload.shape(), "entry")),
        ]
        idle = ~along[8].marks & ~self.keep & silent.all()
        m.d.sync += [self.dropped.eq(valid[8] & idle), queue.put.eq(valid[8] & ~idle)]
        if parameters.pooling:
            for r in range(rows):
                groups = (
                    (along[8].last | (~edge[k]).replicate(parameters.pixels))
                    & (whole[r] & whole[rows + k]).replicate(parameters.pixels)
                    | self.zeros.replicate(parameters.pixels)
                    for k in range(banks)
                )
                m.d.comb += payload.inside[r].eq(Cat(*groups))
        return m
