"""The neuron once more, naively: one beat at a time, straight from ``docs/numerics.md``, in widths that cannot wrap."""

from __future__ import annotations

from typing import Any

from amaranth.hdl import Array as Choice
from amaranth.hdl import Module, Mux, signed
from amaranth.lib import data
from amaranth.lib.wiring import Component, In, Out

from hdl.neuron import beat_layout, constants_layout, settings_layout, state_layout
from hdl.parameters import Parameters


def in_halves(double: Any, columns: list[Any]) -> Any:
    """The sum of columns, or with ``double`` the value of digits, the most significant first: half by half.

    In which order things are added makes no difference to integers, but much to a solver, which would have to find that
    out in every cycle of every proof. ``Columns`` proves it once.
    """
    if len(columns) == 1:
        return columns[0]
    half = len(columns) // 2
    first, second = in_halves(double, columns[:half]), in_halves(double, columns[half:])
    return Mux(double, first << half, first) + second


class Twin(Component):
    """One beat of a neuron, without a clock.

    Amaranth's arithmetic is exact: a sum has one bit more than what it adds up. Nothing is cut to a width here, so that
    the twin computes the contract's integers, and a bench can ask whether they would have fitted.

    Args:
        parameters: widths of the inputs, and B.

    Ports:
        beat, sums, state, static, constants, settings: In, as those of ``Neuron``, all of the same beat.
        before_up, before_down: In, signed(X): the thresholds that the beat before left.
        up, down: Out: the thresholds in force in this beat.
        current: Out: I, what is added to the membrane. total: Out: ``v + I``, or ``2^J v + I``.
        u: Out: the membrane after clamping. spike: Out(signed(2)): -1, 0 or 1. v, n: Out: membrane and net count
            afterwards.
        static_current: Out: what a ``commit`` keeps.
        saturated: Out(1): u is not the total.
    """

    def __init__(self, parameters: Parameters) -> None:
        self.parameters = parameters
        state = signed(parameters.state_bits)
        exact = signed(parameters.state_bits + parameters.columns + 3)
        super().__init__(
            {
                "beat": In(beat_layout(parameters)),
                "sums": In(data.ArrayLayout(signed(parameters.accumulator_bits), parameters.columns)),
                "state": In(state_layout(parameters)),
                "static": In(state),
                "constants": In(constants_layout(parameters)),
                "settings": In(settings_layout(parameters)),
                "before_up": In(state),
                "before_down": In(state),
                "up": Out(state),
                "down": Out(state),
                "current": Out(exact),
                "total": Out(exact),
                "u": Out(exact),
                "spike": Out(signed(2)),
                "v": Out(exact),
                "n": Out(signed(parameters.count_bits + 1)),
                "static_current": Out(exact),
                "saturated": Out(1),
            }
        )

    def elaborate(self, platform: Any) -> Module:
        m = Module()
        beat, constants, settings = self.beat, self.constants, self.settings

        columns = self.parameters.columns
        counted = [Mux(beat.mask[column], self.sums[column], 0) for column in range(columns)]
        constant = Choice([0, constants.bias, self.static, constants.initial])[beat.constant.as_value()]
        flow = in_halves(beat.double, counted) + constant
        doubled = Mux(beat.double, self.state.membrane << columns, self.state.membrane)
        m.d.comb += [self.current.eq(flow), self.total.eq(Mux(beat.keep, doubled, 0) + self.current)]

        lowest, highest = -(1 << (self.parameters.membrane_bits - 1)), (1 << (self.parameters.membrane_bits - 1)) - 1
        m.d.comb += self.u.eq(self.total)
        with m.If(beat.clamp & (self.total < lowest)):
            m.d.comb += [self.u.eq(lowest), self.saturated.eq(1)]
        with m.Elif(beat.clamp & (self.total > highest)):
            m.d.comb += [self.u.eq(highest), self.saturated.eq(1)]

        m.d.comb += [self.up.eq(self.before_up), self.down.eq(self.before_down)]
        with m.If(beat.restart):
            m.d.comb += [self.up.eq(constants.up), self.down.eq(constants.down)]
        with m.Elif(beat.halve):
            m.d.comb += [self.up.eq(self.before_up >> 1), self.down.eq(constants.threshold - self.up)]

        count = Mux(beat.recount, 0, self.state.count)
        m.d.comb += [self.spike.eq(0), self.v.eq(self.u), self.n.eq(count)]
        with m.If(beat.fire.as_value() & (self.u >= self.up) & (~settings.capped | (count < settings.high))):
            m.d.comb += [self.spike.eq(1), self.v.eq(self.u - self.up), self.n.eq(count + 1)]
        with m.Elif(
            beat.fire.as_value() & settings.negative & (self.u < self.down) & (~settings.gated | (count > settings.low))
        ):
            m.d.comb += [self.spike.eq(-1), self.v.eq(self.u + self.up), self.n.eq(count - 1)]

        shift = Mux(beat.shifted, constants.shift, 0)
        rounded = (self.total + ((1 << shift) >> 1)) >> shift
        m.d.comb += self.static_current.eq(Mux(beat.again, self.static, constants.bias) + rounded)
        return m
