"""The digits of a binary code are those of ``floor(v / threshold)``, limited to T bits."""

from __future__ import annotations

from typing import Any

from amaranth.hdl import Assert, Assume, Module, Mux, ResetSignal, Signal, signed
from amaranth.lib.wiring import Component, In

from hdl.formal.bench import fits
from hdl.formal.twin import Twin
from hdl.neuron import Fire
from hdl.parameters import THRESHOLD_BITS, Parameters


class Code(Component):
    """The twin through trains of T digits, one a cycle, the most significant first. That the pipeline is the twin is
    what ``Equivalence`` says.

    Let ``v`` be the membrane before the first digit and ``w`` the threshold that a digit was compared with. What is
    proved after every digit: what is left plus what was sent is ``v``; and if T bits can express
    ``floor(v / threshold)``, then what is left is below ``w``, and at least 0, or, where negative digits are sent, at
    least ``threshold - w``. After the last digit ``w`` is the threshold: 0 <= rest < threshold and
    ``v = threshold * code + rest``, which is what floor means. Where T bits cannot, all digits are the largest or the
    smallest.

    Args:
        parameters: X and B.
        twin: ``Twin``, or something that claims to be one.

    Assumed: T and the constants never change; ``threshold * 2^(T-1)`` has X bits and ``v`` has B.

    Ports:
        membrane: In, signed(B): v, in the cycle of a first digit.
        steps: In: T - 1. threshold: In: of the least significant digit. negative: In(1): -1 is sent, too.
    """

    def __init__(self, parameters: Parameters, twin: type[Twin] = Twin) -> None:
        self.parameters, self.twin = parameters, twin(parameters)
        super().__init__(
            {
                "membrane": In(signed(parameters.membrane_bits)),
                "steps": In(range(parameters.state_bits - 1)),
                "threshold": In(THRESHOLD_BITS),
                "negative": In(1),
            }
        )

    def elaborate(self, platform: Any) -> Module:
        m = Module()
        m.submodules.twin = twin = self.twin
        state = signed(self.parameters.state_bits)
        to_come, running = Signal.like(self.steps, name="to_come"), Signal()
        first, up = to_come == 0, Signal(signed(2 * self.parameters.state_bits))
        for value in (self.steps, self.threshold, self.negative):
            before = Signal.like(value, name="before")
            m.d.sync += before.eq(value)
            m.d.comb += Assume(~running | (value == before))
        m.d.comb += [
            up.eq(self.threshold << self.steps),
            Assume(~ResetSignal()),
            Assume((self.threshold >= 1) & (self.threshold <= 1 << (THRESHOLD_BITS - 1))),
            Assume(fits(up, self.parameters.state_bits)),
        ]
        v, origin, left = Signal(state), Signal(state), Signal(state)
        m.d.comb += [
            v.eq(Mux(first, self.membrane, left)),
            twin.state.membrane.eq(v),
            twin.beat.keep.eq(1),
            twin.beat.clamp.eq(1),
            twin.beat.fire.eq(Fire.YES),
            twin.beat.restart.eq(first),
            twin.beat.halve.eq(~first),
            twin.constants.threshold.eq(self.threshold),
            twin.constants.up.eq(up),
            twin.constants.down.eq(self.threshold - up),
            twin.settings.negative.eq(self.negative),
        ]
        exact = signed(self.parameters.state_bits + 2)
        sent, highest, lowest = Signal(exact), Signal(), Signal()
        taken = Mux(twin.spike == 1, twin.up, Mux(twin.spike == -1, -twin.up, 0))
        m.d.sync += [
            running.eq(1),
            to_come.eq(Mux(first, self.steps, to_come - 1)),
            left.eq(twin.v),
            origin.eq(Mux(first, self.membrane, origin)),
            sent.eq(Mux(first, 0, sent) + taken),
            highest.eq((first | highest) & (twin.spike == 1)),
            lowest.eq((first | lowest) & (twin.spike == Mux(self.negative, -1, 0))),
            twin.before_up.eq(twin.up),
            twin.before_down.eq(twin.down),
        ]
        smallest = Mux(self.negative, self.threshold - (up << 1), 0)
        above, below = origin >= up << 1, origin < smallest
        w = twin.before_up
        m.d.comb += [
            Assert((to_come <= self.steps) & (running | first)),
            Assert(first | fits(left, self.parameters.membrane_bits)),
            Assert(~running | (w == self.threshold << to_come)),
            Assert(~running | (twin.before_down == self.threshold - w)),
            Assert(~running | (left + sent == origin)),
            Assert(~(running & above) | (highest & (left >= w))),
            Assert(~(running & below) | (lowest & (left < Mux(self.negative, self.threshold - w, 0)))),
            Assert(~running | above | below | ((left < w) & (left >= Mux(self.negative, self.threshold - w, 0)))),
            Assert(~(running & first) | above | below | ((left >= 0) & (left < self.threshold))),
        ]
        return m
