"""The pipelined neuron is its naive twin, ``latency`` cycles later."""

from __future__ import annotations

from typing import Any

from amaranth.hdl import Assert, Module, Mux, signed
from amaranth.lib import data
from amaranth.lib.wiring import Component, In

from hdl.formal.bench import Bench
from hdl.formal.twin import in_halves
from hdl.parameters import Parameters


class Equivalence(Bench):
    """Pipeline and twin agree in every output, for every kind of beat, in any order, one a cycle."""

    def prove(self, m: Module) -> None:
        neuron, twin, latency = self.neuron, self.twin, self.neuron.latency
        valid = self.later(m, twin.beat.valid, latency - 1)
        commit = self.later(m, twin.beat.valid & twin.beat.commit, latency)

        def equal(found: Any, expected: Any, where: Any = valid, cycles: int = latency - 1) -> None:
            m.d.comb += Assert(~where | (found == self.later(m, expected, cycles)[: len(found)]))

        m.d.comb += [Assert(neuron.stored == valid), Assert(neuron.committed == commit)]
        m.d.comb += Assert(neuron.fired == (valid & self.later(m, twin.beat.fire.as_value(), latency - 1)))
        equal(neuron.spike, twin.spike)
        equal(neuron.after.membrane.as_unsigned(), twin.v)
        equal(neuron.after.count.as_unsigned(), twin.n)
        equal(neuron.trace.current.as_unsigned(), twin.current)
        equal(neuron.trace.before.as_unsigned(), twin.u)
        equal(neuron.trace.saturated, twin.saturated)
        equal(neuron.current.as_unsigned(), twin.static_current, commit, latency)
        for held, before in ((neuron.up, twin.before_up), (neuron.down, twin.before_down)):
            m.d.comb += Assert(held == self.later(m, before, neuron.combining + 2))


class Columns(Component):
    """The twin may add columns half by half: the sum is that of column after column, each with its own power of two.

    Ports:
        sums: In, J times signed(A). double: In(1): they are digits.
    """

    def __init__(self, parameters: Parameters) -> None:
        sums = data.ArrayLayout(signed(parameters.accumulator_bits), parameters.columns)
        super().__init__({"sums": In(sums), "double": In(1)})

    def elaborate(self, platform: Any) -> Module:
        m = Module()
        columns = list(self.sums)
        plain: Any = 0
        for column, total in enumerate(columns):
            plain = plain + Mux(self.double, total << (len(columns) - 1 - column), total)
        m.d.comb += Assert(in_halves(self.double, columns) == plain)
        return m
