"""A register that synthesis leaves alone."""

from __future__ import annotations

from typing import Any

from amaranth.hdl import ClockSignal, Instance, Module, Signal
from amaranth.lib.wiring import Component, In, Out

from hdl.parameters import Device

ECP5_FLIP_FLOP = {
    "p_GSR": "DISABLED",
    "p_CEMUX": "1",
    "p_CLKMUX": "CLK",
    "p_LSRMUX": "LSR",
    "p_REGSET": "RESET",
    "p_SRMODE": "LSR_OVER_CE",
    "i_CE": 1,
}
"""An ECP5 flip-flop that always listens; ``LSR`` acts with the clock."""


class Register(Component):
    """``q`` is ``d``, one cycle later, in flip-flops of its own.

    Synthesis merges registers of equal contents, which undoes a broadcast that was split to keep wires short. It leaves
    flip-flops of the device alone. There is no reset: the contents follow the input.

    Args:
        width: bits.
        device: whose flip-flops; ``generic`` leaves everything to synthesis.

    Ports:
        d: In(width).
        q: Out(width), always valid.
    """

    latency = 1

    def __init__(self, width: int, device: Device = "generic") -> None:
        self.device = device
        super().__init__({"d": In(width), "q": Out(width)})

    def elaborate(self, platform: Any) -> Module:
        m = Module()
        clock = ClockSignal()
        if self.device == "generic":
            flip_flops = Signal(len(self.d), reset_less=True)
            m.d.sync += flip_flops.eq(self.d)
            m.d.comb += self.q.eq(flip_flops)
        elif self.device == "ecp5":
            for i in range(len(self.d)):
                m.submodules += Instance(
                    "TRELLIS_FF", **ECP5_FLIP_FLOP, i_CLK=clock, i_DI=self.d[i], i_LSR=0, o_Q=self.q[i]
                )
        else:
            for i in range(len(self.d)):
                m.submodules += Instance("SB_DFF", i_C=clock, i_D=self.d[i], o_Q=self.q[i])
        return m
