"""A design with two pins, for measuring: nothing in it is optimised away, and no pins limit it."""

from __future__ import annotations

from typing import Any

from amaranth.hdl import Cat, Module, Signal, Value
from amaranth.lib.wiring import Component, In, Out

FOLD = 4
"""Bits that a level of the output's tree folds into one: the inputs of a look-up table."""


class Harness(Component):
    """All inputs of a component come from a chain of registers, and all outputs go through a registered tree of XORs.

    Args:
        design: a component; its ports are found by its signature.

    Attributes:
        luts, flip_flops: of the harness alone.

    Ports:
        serial: In(1), into the chain. A bit of it is the XOR of the bit before and itself: a plain shift register
            would be merged with registers behind it.
        parity: Out(1), the XOR of all output bits, some cycles ago.
    """

    def __init__(self, design: Component) -> None:
        self.design = design
        super().__init__({"serial": In(1), "parity": Out(1)})
        ports = [(member.flow, Value.cast(port)) for _, member, port in design.signature.flatten(design)]
        self.inputs = Cat(port for flow, port in ports if flow is In)
        self.outputs = Cat(port for flow, port in ports if flow is Out)
        self.levels: list[Signal] = []
        width = len(self.outputs)
        while width > 1:
            width = -(-width // FOLD)
            self.levels.append(Signal(width, name=f"folded_{len(self.levels)}", reset_less=True))
        self.flip_flops = len(self.inputs) + sum(map(len, self.levels))
        self.luts = self.flip_flops - sum(
            wide % FOLD == 1 for wide in (len(self.outputs), *(len(level) for level in self.levels[:-1]))
        )

    def elaborate(self, platform: Any) -> Module:
        m = Module()
        m.submodules.design = self.design
        chain = Signal(len(self.inputs), reset_less=True)
        m.d.sync += chain.eq(Cat(self.serial, chain) ^ chain)
        m.d.comb += self.inputs.eq(chain)
        outputs: Value = self.outputs
        for level in self.levels:
            m.d.sync += level.eq(Cat(outputs[bit : bit + FOLD].xor() for bit in range(0, len(outputs), FOLD)))
            outputs = level
        m.d.comb += self.parity.eq(outputs)
        return m
