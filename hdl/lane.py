"""One integrate lane: an accumulator that adds or subtracts the weight at hand, and passes sums along."""

from __future__ import annotations

from typing import Any

from amaranth.hdl import Cat, ClockSignal, Const, Instance, Module, Mux, Signal, signed
from amaranth.lib.wiring import Component, In, Out

from hdl.parameters import Device
from hdl.register import ECP5_FLIP_FLOP

ADD = 0x96AA
"""Half of a CCU2C as one bit of a lane: A plus carry plus (B xor C if D)."""


class Lane(Component):
    """``total`` becomes ``previous`` if ``shift``, else ``total`` plus or minus ``weight`` or as it is.

    Sums wrap at A bits: two's complement, so that only a final sum must fit, not what comes on the way to it. There is
    no reset, and the contents at power-up are arbitrary: a shift defines them.

    On an ECP5, a lane is one carry chain: a cell CCU2C for two bits, and one into which place and route feeds the first
    carry, so that A = 20 takes 22 look-up tables, and 21 takes 24. The shift loads the flip-flops behind the adder
    through their second data input and costs no logic. Elsewhere synthesis makes the lane from plain logic. The two are
    proved equal in ``tests/hdl/test_lane.py``.

    Args:
        accumulator_bits: A.
        weight_bits: WB, at most A.
        device: what the lane is made of.

    Ports:
        weight: In(signed(WB)).
        enable: In(1): there is an event.
        negative: In(1): it subtracts; only with ``enable``.
        shift: In(1): take ``previous``, whatever the other inputs.
        previous: In(signed(A)).
        total: Out(signed(A)), always valid, ``latency`` cycles after the inputs.
    """

    latency = 1

    def __init__(self, accumulator_bits: int, weight_bits: int, device: Device = "generic") -> None:
        if not 1 <= weight_bits <= accumulator_bits:
            raise ValueError(f"a lane of {accumulator_bits} bits cannot add weights of {weight_bits} bits")
        self.device = device
        super().__init__(
            {
                "weight": In(signed(weight_bits)),
                "enable": In(1),
                "negative": In(1),
                "shift": In(1),
                "previous": In(signed(accumulator_bits)),
                "total": Out(signed(accumulator_bits)),
            }
        )

    @staticmethod
    def model(
        accumulator_bits: int, total: int, weight: int, enable: int, negative: int, shift: int, previous: int
    ) -> int:
        """The next total, on plain integers."""
        if shift:
            return previous
        total += enable * (-weight if negative else weight)
        half = 1 << (accumulator_bits - 1)
        return (total + half) % (2 * half) - half

    def elaborate(self, platform: Any) -> Module:
        return self._ecp5() if self.device == "ecp5" else self._plain()

    def _plain(self) -> Module:
        m = Module()
        width = len(self.total)
        total = Signal(signed(width), reset_less=True)
        operand, following = Signal(signed(width)), Signal(width + 1)
        m.d.comb += [
            self.total.eq(total),
            operand.eq(Mux(self.enable, self.weight ^ self.negative.replicate(len(self.weight)).as_signed(), 0)),
            following.eq(Cat(Const(1, 1), total) + Cat(self.negative, operand)),  # -w is ~w + 1, carried in from below
        ]
        m.d.sync += total.eq(Mux(self.shift, self.previous, following[1:]))
        return m

    def _ecp5(self) -> Module:
        m = Module()
        width = len(self.total)
        following = Signal(width)
        carry: Any = self.negative  # -w is ~w + 1
        for low in range(0, width, 2):
            ports = {"p_INJECT1_0": "NO", "p_INJECT1_1": "NO", "i_CIN": carry}
            for half, i in enumerate(range(low, min(low + 2, width))):
                weight = self.weight[min(i, len(self.weight) - 1)]
                ports |= {f"p_INIT{half}": Const(ADD, 16), f"o_S{half}": following[i]}
                ports |= {f"i_A{half}": self.total[i], f"i_B{half}": weight}
                ports |= {f"i_C{half}": self.negative, f"i_D{half}": self.enable}
            if low + 2 < width:  # a carry that leads nowhere would cost a cell
                ports["o_COUT"] = carry = Signal(name=f"carry_{low}")
            m.submodules[f"add_{low}"] = Instance("CCU2C", **ports)
        for i in range(width):
            m.submodules[f"bit_{i}"] = Instance(
                "TRELLIS_FF",
                **ECP5_FLIP_FLOP,
                p_LSRMODE="PRLD",
                i_CLK=ClockSignal(),
                i_DI=following[i],
                i_M=self.previous[i],
                i_LSR=self.shift,
                o_Q=self.total[i],
            )
        return m
