"""Sums and comparisons in one chain of adders, on all small operands."""

from itertools import product

import pytest
from amaranth.hdl import Cat, Module, Signal, signed
from amaranth.sim import Simulator

from hdl.delay import carried, exceeds, less

WIDTH = 4
VALUES = range(-(1 << WIDTH - 1), 1 << WIDTH - 1)


@pytest.mark.parametrize("bit", [0, 1])
def test_chains(bit: int) -> None:
    m, one, other = Module(), Signal(signed(WIDTH)), Signal(signed(WIDTH))
    gate, total, found = Signal(), Signal(signed(WIDTH + 1)), Signal(3)
    m.d.comb += [
        total.eq(carried(one, other, gate)),
        found.eq(Cat(less(one, other), exceeds(gate, one, other), exceeds(gate, one, other, equal=True))),
    ]

    async def check(ctx):
        ctx.set(gate, bit)
        for a, b in product(VALUES, VALUES):
            ctx.set(one, a)
            ctx.set(other, b)
            await ctx.delay(1e-9)
            assert ctx.get(total) == a + b + bit
            assert [ctx.get(found[k]) for k in range(3)] == [a < b, bit and a > b, bit and a >= b]

    simulator = Simulator(m)
    simulator.add_testbench(check)
    simulator.run()
