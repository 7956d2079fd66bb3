"""The integrate array: lanes for output rows x channels x columns x pixels, and the broadcast that feeds them."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any

from amaranth.hdl import Cat, Module, Signal, signed
from amaranth.lib import data
from amaranth.lib.wiring import Component, In, Out

from hdl.lane import Lane
from hdl.parameters import Device
from hdl.register import copy

PLACES = 8
"""So many lanes of a channel listen to one copy of its weight: wires, not adders, limit the clock."""
CHANNELS = 2
"""So many channels listen to one copy of an event: lanes stay near their channel's neuron, not near each other."""
REGION = 8
"""So many channels' copies of an event come from one copy."""


class Array(Component):
    """Accumulators of a tile of outputs; one micro-operation a cycle for all of them.

    The lane of (row, channel, column, pixel) adds its channel's weight if the event of its (row, pixel, column) is on,
    or subtracts it if that is negative. In a shift, all accumulators of a (row, channel, column) move up by one pixel,
    and pixel 0 takes 0: P shifts bring all of them past ``sums``, the last pixel first, and leave the array cleared.
    Contents at power-up are arbitrary: P shifts clear them.

    Weights, events and shifts that enter in the same cycle act together, ``latency`` cycles later. Operations may
    follow each other in any order, one a cycle; one with no event changes nothing.

    Args:
        rows, channels, columns, pixels: R, C, J, P.
        weight_bits: WB.
        accumulator_bits: A; sums wrap at this width.
        device: what lanes and broadcasts are made of.

    Ports:
        weights: In, C times signed(WB).
        enable: In(R*P*J): which events are on; bit ``(row*P + pixel)*J + column``.
        negative: In(R*P*J): which of them subtract; only where ``enable`` is set.
        shift: In(1): a shift, whatever the events.
        sums: Out, R*C*J times signed(A), index ``(row*C + channel)*J + column``: the accumulators of the last pixel,
            always valid. What a shift at the inputs in cycle t takes out is there in cycle ``t + latency``; an
            operation of cycle t shows from cycle ``t + latency + 1``.
    """

    latency = 3
    """Cycles from the inputs to the lanes."""

    def __init__(
        self,
        rows: int,
        channels: int,
        columns: int,
        pixels: int,
        weight_bits: int,
        accumulator_bits: int,
        device: Device = "generic",
    ) -> None:
        for name, value in (("rows", rows), ("channels", channels), ("columns", columns), ("pixels", pixels)):
            if value < 1:
                raise ValueError(f"{name} is {value}; at least 1 was expected")
        self.rows, self.channels, self.columns, self.pixels = rows, channels, columns, pixels
        self.weight_bits, self.accumulator_bits, self.device = weight_bits, accumulator_bits, device
        super().__init__(
            {
                "weights": In(data.ArrayLayout(signed(weight_bits), channels)),
                "enable": In(rows * pixels * columns),
                "negative": In(rows * pixels * columns),
                "shift": In(1),
                "sums": Out(data.ArrayLayout(signed(accumulator_bits), rows * channels * columns)),
            }
        )

    def model(
        self, totals: Sequence[int], weights: Sequence[int], enable: int, negative: int, shift: int
    ) -> tuple[list[int], list[int]]:
        """One operation on plain integers.

        Args:
            totals: R*C*J*P accumulators, index ``((row*C + channel)*J + column)*P + pixel``.
            weights, enable, negative, shift: as at the ports.

        Returns:
            the totals after it, and the R*C*J sums before it: those that a shift takes out.
        """
        following = []
        for index, total in enumerate(totals):
            rest, pixel = divmod(index, self.pixels)
            rest, column = divmod(rest, self.columns)
            row, channel = divmod(rest, self.channels)
            event = (row * self.pixels + pixel) * self.columns + column
            previous = totals[index - 1] if pixel else 0
            on, minus = enable >> event & 1, negative >> event & 1
            following.append(Lane.model(self.accumulator_bits, total, weights[channel], on, minus, shift, previous))
        return following, list(totals[self.pixels - 1 :: self.pixels])

    def elaborate(self, platform: Any) -> Module:
        m = Module()
        inputs = Cat(self.weights.as_value(), self.enable, self.negative, self.shift)
        first = Signal(len(inputs), name="first", reset_less=True)
        m.d.sync += first.eq(inputs)
        places = len(self.enable)
        split = len(self.weights.as_value())

        # A broadcast, in two stages: a register for many lanes, then one for a few.
        few = partial(copy, m, device=self.device)
        weights = Signal(self.weights.shape(), name="second", reset_less=True)
        m.d.sync += weights.eq(data.View(self.weights.shape(), first[:split]))
        regions = [few(first[split:], name=f"region_{region}") for region in range(-(-self.channels // REGION))]
        blocks = range(-(-places // PLACES))
        weight_copies = [
            [few(weights[channel], name=f"weight_{block}_{channel}") for channel in range(self.channels)]
            for block in blocks
        ]
        groups = [(group, regions[group * CHANNELS // REGION]) for group in range(-(-self.channels // CHANNELS))]
        shift_copies = [
            [few(source[2 * places], name=f"shift_{block}_{group}") for group, source in groups] for block in blocks
        ]
        event_copies = [
            [few(Cat(source[place], source[places + place]), name=f"event_{place}_{group}") for group, source in groups]
            for place in range(places)
        ]
        for row in range(self.rows):
            for channel in range(self.channels):
                for column in range(self.columns):
                    previous: Any = 0
                    for pixel in range(self.pixels):
                        place = (row * self.pixels + pixel) * self.columns + column
                        block, group = place // PLACES, channel // CHANNELS
                        lane = Lane(self.accumulator_bits, self.weight_bits, self.device)
                        m.submodules[f"lane_{row}_{channel}_{column}_{pixel}"] = lane
                        m.d.comb += [
                            lane.weight.eq(weight_copies[block][channel]),
                            Cat(lane.enable, lane.negative).eq(event_copies[place][group]),
                            lane.shift.eq(shift_copies[block][group]),
                            lane.previous.eq(previous),
                        ]
                        previous = lane.total
                    m.d.comb += self.sums[(row * self.channels + channel) * self.columns + column].eq(previous)
        return m
