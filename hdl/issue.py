"""From windows to micro-operations: one tap a cycle, its weights and its events side by side."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from amaranth.hdl import Array as Choice
from amaranth.hdl import Cat, Const, Module, Mux, Signal, signed, unsigned
from amaranth.lib import data, stream
from amaranth.lib.wiring import Component, In, Out

from hdl.delay import later
from hdl.gather import window_layout
from hdl.parameters import Parameters
from hdl.pool import Pool
from hdl.ram import ram, registered
from hdl.register import copy
from hdl.sequencer import mark_layout
from hdl.tables import address_bits, tap_layout, write_layout

NEIGHBOURS = 4
"""Channels whose weights share a memory and a copy of its address: wires, not memories, limit the clock."""
COARSE, MIDDLE = 8, 2
"""Pixels by which the first and the second stage of the shifter shift; the third shifts by one."""


def operation_layout(parameters: Parameters) -> data.StructLayout:
    """A micro-operation of the integrate lanes.

    Fields:
        weights: C times signed(8 or 16).
        enable, negative: a bit for each lane of a channel, at ``(row * P + pixel) * J + column``: there is an event; it
            is negative.
        shift: the lanes are read out by one pixel instead; then there are no events.
        pooled: these are events for the max-pool unit; ``inside``: R * P bits: which of them lie inside the map.
        ends: a pass ends here, for the max-pool unit; ``mark`` tells which.
    """
    events = parameters.places * parameters.columns
    fields: dict[str, Any] = {
        "weights": data.ArrayLayout(signed(parameters.weight_bits), parameters.channels),
        "enable": unsigned(events),
        "negative": unsigned(events),
        "shift": 1,
    }
    if parameters.pooling:
        fields |= {"pooled": 1, "inside": unsigned(parameters.places), "ends": 1, "mark": mark_layout()}
    return data.StructLayout(fields)


class Issue(Component):
    """Runs through the taps of each window; at the end of a pass reads the lanes out.

    For P cycles after a reset the lanes are cleared, whatever they held; windows must come later.

    Ports:
        windows: In, stream of ``window_layout``.
        operation: Out, ``operation_layout``: ``latency`` cycles after the tap was reached. No back-pressure.
        marked: Out(1): the lanes begin to be read out for the pass that ``mark`` tells; a pulse.
        mark: Out, ``mark_layout``.
        slot: Out: of a ``shift``: the pixel that comes out; ``filled``: Out(1): it is the last one.
        stored: Out(1): a ``shift`` reads the lanes out; without it, it only clears them, as at the end of a max-pool's
            pass, whose events they have added up to no purpose.
        room: In(1): there is room for what a pass leaves; asked once for each. It does not go away but by a pass: two
            cycles after ``marked``, or a cycle after ``operation.ends``.
        pooling: In(1): windows are for the max-pool unit.
        write_tap, write_weights: In, ``write_layout``: the table and the memory; while no windows come.
        active: Out(1): a tap is reached in this cycle.
    """

    latency = 9

    def __init__(self, parameters: Parameters) -> None:
        self.parameters = parameters
        super().__init__(
            {
                "windows": In(stream.Signature(window_layout(parameters))),
                "operation": Out(operation_layout(parameters)),
                "marked": Out(1),
                "mark": Out(mark_layout()),
                "slot": Out(unsigned(address_bits(parameters.pixels))),
                "filled": Out(1),
                "stored": Out(1),
                "room": In(1),
                "pooling": In(1),
                "write_tap": In(write_layout(parameters.taps, tap_layout(parameters).size)),
                "write_weights": In(write_layout(parameters.weight_words, 8 * parameters.channels)),
                "active": Out(1),
            }
        )

    def model(
        self,
        window: Mapping[str, Any],
        taps: Sequence[Mapping[str, int]],
        weights: Sequence[Sequence[int]],
        pooling: int = 0,
    ) -> list[dict[str, Any]]:
        """A window's micro-operations, one a cycle, in plain integers.

        Args:
            window: fields of ``window_layout``.
            taps: the table. weights: C bytes a word.
            pooling: as at the port.

        Returns:
            of taps, ``weights``, ``enable``, ``negative``, for max-pools also ``inside``; at the end of a pass, P
            times ``slot``, or ``mark`` for the max-pool unit.
        """
        parameters = self.parameters
        if window["marks"]:
            if pooling:
                return [{"mark": window["mark"]}]
            return [{"slot": slot} for slot in reversed(range(parameters.pixels))]
        columns, result = parameters.columns, []
        for tap in taps[window["first"] : window["first"] + window["number"]]:
            word = weights[(window["weights"] + tap["weight"]) % parameters.weight_words]
            enable = negative = inside = 0
            for place in range(parameters.places):
                row, pixel = divmod(place, parameters.pixels)
                x = tap["shift"] + pixel * (2 if tap["wide"] else 1)
                if not tap["lanes"] >> pixel & 1 or x >= parameters.visible:
                    continue
                for j in range(columns):
                    event = window["events"][row] >> 2 * (x * columns + j)
                    enable |= (event & 1) << place * columns + j
                    negative |= (event >> 1 & 1) << place * columns + j
                if parameters.pooling:
                    inside |= (window["inside"][row] >> x & 1) << place
            operation = {
                "weights": [weight * (256 if tap["high"] else 1) for weight in word],
                "enable": enable,
                "negative": negative,
            }
            result.append(operation | ({"inside": inside} if parameters.pooling else {}))
        return result

    def elaborate(self, platform: Any) -> Module:
        m = Module()
        parameters = self.parameters
        rows, pixels, columns = parameters.rows, parameters.pixels, parameters.columns
        m.submodules.taps = taps = ram(tap_layout(parameters), parameters.taps)
        read_tap, write_tap = taps.read_port(), taps.write_port()
        m.d.comb += [
            write_tap.en.eq(self.write_tap.enable),
            write_tap.addr.eq(self.write_tap.address),
            write_tap.data.eq(self.write_tap.data),
        ]

        # Cycle 0: the window at hand, and how far it is done.
        window = self.windows.payload
        index = Signal(range(max(parameters.taps, pixels, Pool.pause(parameters) + 1)))
        going, last = Signal(), Signal()
        # Whether it is the last step is known a cycle ahead: it decides what the queue does next.
        begins, at_last = Signal(init=1), Signal()
        reading = Signal()
        # After a reset the lanes hold anything; they are read out once.
        uncleared = Signal(range(pixels + 1), init=pixels)
        clearing = Signal()
        m.d.comb += clearing.eq(uncleared != 0)
        with m.If(clearing):
            m.d.sync += uncleared.eq(uncleared - 1)
        # Room does not go away but by a mark; it is asked for a cycle before, and knows of a mark two cycles later, the
        # max-pool unit only when the mark has reached it.
        room, told, told_before, ending = Signal(), Signal(), Signal(), Signal()
        m.d.sync += [room.eq(self.room & ~told & ~told_before & ~ending), told_before.eq(told)]
        # A window that is single never waits once it is there, but for room, where there is only one pixel to be read
        # out: its first step is its last.
        alone = window.single & (room | ~window.marks) if pixels == 1 else window.single
        m.d.comb += [
            going.eq(self.windows.valid & (room | ~(window.marks & begins))),
            told.eq(reading & begins),
            reading.eq(going & window.marks),
            last.eq(at_last | alone),
            self.marked.eq(told & ~self.pooling),
            self.active.eq(going & ~window.marks),
            read_tap.addr.eq(window.first + index),
            self.windows.ready.eq(last),
            self.mark.eq(window.mark),
        ]
        steps = Mux(window.marks, Mux(self.pooling, max(Pool.pause(parameters) + 1, pixels), pixels), window.number)
        with m.If(going):
            m.d.sync += [index.eq(Mux(last, 0, index + 1)), begins.eq(last), at_last.eq(~last & (index + 2 == steps))]

        def late(value: Any, shape: Any, cycles: int, name: str) -> Any:
            return later(m, value, shape, name, cycles)

        operation = self.operation
        m.d.comb += [
            operation.shift.eq(late(reading | clearing, 1, self.latency, "shift")),
            self.stored.eq(late(reading & ~self.pooling, 1, self.latency, "stored")),
            self.slot.eq(late(pixels - 1 - index, self.slot.shape(), self.latency, "slot")),
            self.filled.eq(late(reading & ~self.pooling & last, 1, self.latency, "filled")),
        ]

        # Cycle 1: the tap is read; 2 and 3: registers.
        tap = registered(m, read_tap, tap_layout(parameters), "tap", 2)

        # Weights. Cycle 4: their address; 5: a copy for a few memories, which read; 6 and 7: registers; 8: their plane.
        first_weights = late(window.weights, window.weights.shape(), 3, "weights")
        address = late(first_weights + tap.weight, window.weights.shape(), 1, "address")
        high = late(tap.high, 1, 4, "high")
        highs = [
            copy(m, high, parameters.device, f"high_{first}") for first in range(0, parameters.channels, NEIGHBOURS)
        ]
        found: list[Any] = []
        for first in range(0, parameters.channels, NEIGHBOURS):
            number = min(NEIGHBOURS, parameters.channels - first)
            m.submodules[f"weights_{first}"] = weights = ram(unsigned(8 * number), parameters.weight_words)
            read, write = weights.read_port(), weights.write_port()
            new = self.write_weights
            new_here = Cat(new.enable, new.address, new.data[8 * first :][: 8 * number])
            m.d.comb += [
                read.addr.eq(copy(m, address, parameters.device, f"address_{first}")),
                Cat(write.en, write.addr, write.data).eq(copy(m, new_here, parameters.device, f"write_{first}")),
            ]
            word = registered(m, read, unsigned(8 * number), f"weights_{first}", 2)
            found += [word[8 * at :][:8] for at in range(number)]
        for channel in range(parameters.channels):
            weight = found[channel]
            if parameters.weight_planes == 2:
                # By gates: synthesis makes a choice of 0 the reset of a register, and resets are slow.
                upper = highs[channel // NEIGHBOURS]
                weight = Cat(weight & (~upper).replicate(8), Mux(upper, weight, weight[7].replicate(8)))
            m.d.sync += operation.weights[channel].eq(weight)

        # Events. Cycles 4 to 6: the shifter; each stage keeps what the next ones can still reach. Then registers.
        live = late(self.active, 1, 3, "live")
        middle = late(tap.shift[:3], 3, 1, "shift_middle")
        fine = late(middle[0], 1, 1, "shift_fine")
        wide = late(tap.wide, 1, 2, "wide")
        lanes = late(Mux(live, tap.lanes, 0), pixels, 2, "lanes")
        pixel_bits = 2 * columns + (1 if parameters.pooling else 0)
        reach = 2 * pixels - 1
        for r in range(rows):
            events = window.events[r]
            parts = []
            for x in range(parameters.visible):
                parts.append(events.word_select(x, 2 * columns))
                if parameters.pooling:
                    parts.append(window.inside[r][x])
            seen = late(Cat(*parts), parameters.visible * pixel_bits, 3, f"seen_{r}")
            seen = self._shifted(m, seen, tap.shift[3:], COARSE, reach + 7, pixel_bits, f"coarse_{r}")
            seen = self._shifted(m, seen, middle[1:], MIDDLE, reach + 1, pixel_bits, f"middle_{r}")
            for p in range(pixels):
                reached = [seen[(at * pixel_bits) : (at + 1) * pixel_bits] for at in (p, p + 1, 2 * p, 2 * p + 1)]
                pixel = Mux(lanes[p], Choice(reached)[Cat(fine, wide)], 0)
                chosen = late(pixel, pixel_bits, 4, f"chosen_{r}_{p}")
                place = r * pixels + p
                for j in range(columns):
                    at = place * columns + j
                    m.d.comb += [operation.enable[at].eq(chosen[2 * j]), operation.negative[at].eq(chosen[2 * j + 1])]
                if parameters.pooling:
                    m.d.comb += operation.inside[place].eq(chosen[-1])
        if parameters.pooling:
            with m.If(told & self.pooling):
                m.d.sync += ending.eq(1)
            with m.If(operation.ends):
                m.d.sync += ending.eq(0)
            m.d.comb += [
                operation.pooled.eq(late(self.active & self.pooling, 1, self.latency, "pooled")),
                operation.ends.eq(late(reading & self.pooling & begins, 1, self.latency, "ends")),
                operation.mark.eq(late(window.mark, mark_layout(), self.latency, "mark")),
            ]
        return m

    def _shifted(
        self, m: Module, seen: Signal, amount: Any, step: int, keep: int, pixel_bits: int, name: str
    ) -> Signal:
        """The ``keep`` pixels of ``seen`` from ``amount * step`` on, a cycle later; beyond its end there are none."""
        result = Signal(keep * pixel_bits, name=name)
        padded = Cat(seen, Const(0, (keep + step * ((1 << max(len(amount), 0)) - 1)) * pixel_bits))
        choices = [
            padded[k * step * pixel_bits : (k * step + keep) * pixel_bits] for k in range(1 << max(len(amount), 0))
        ]
        m.d.sync += result.eq(Choice(choices)[amount] if len(choices) > 1 else choices[0])
        return result
