"""A register that synthesis leaves alone."""

from __future__ import annotations

from typing import Any

from amaranth.hdl import ClockSignal, Instance, Module, ResetSignal, Signal, Value
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
    flip-flops of the device alone.

    Args:
        width: bits.
        device: whose flip-flops; ``generic`` leaves everything to synthesis.
        reset: a reset clears it; otherwise the contents follow the input, whatever happens.

    Ports:
        d: In(width).
        q: Out(width), always valid.
    """

    latency = 1

    def __init__(self, width: int, device: Device = "generic", *, reset: bool = False) -> None:
        self.device, self.reset = device, reset
        super().__init__({"d": In(width), "q": Out(width)})

    def elaborate(self, platform: Any) -> Module:
        m = Module()
        clock, reset = ClockSignal(), ResetSignal() if self.reset else 0
        if self.device == "generic":
            flip_flops = Signal(len(self.d), reset_less=not self.reset)
            m.d.sync += flip_flops.eq(self.d)
            m.d.comb += self.q.eq(flip_flops)
        elif self.device == "ecp5":
            for i in range(len(self.d)):
                m.submodules += Instance(
                    "TRELLIS_FF", **ECP5_FLIP_FLOP, i_CLK=clock, i_DI=self.d[i], i_LSR=reset, o_Q=self.q[i]
                )
        else:
            for i in range(len(self.d)):
                kind = {"i_R": reset} if self.reset else {}
                name = "SB_DFFSR" if self.reset else "SB_DFF"
                m.submodules += Instance(name, i_C=clock, i_D=self.d[i], o_Q=self.q[i], **kind)
        return m


def copy(m: Module, value: Value, device: Device, name: str, *, reset: bool = False) -> Signal:
    """``value`` one cycle later, in flip-flops of its own (``Register``): for a few of the many that listen to it."""
    m.submodules[name] = register = Register(len(value), device, reset=reset)
    m.d.comb += register.d.eq(value)
    return register.q
