"""One integrate lane: an accumulator that adds or subtracts the weight at hand, and passes sums along."""

from __future__ import annotations

from typing import Any

from amaranth.hdl import Cat, ClockSignal, Const, Instance, Module, Mux, Signal, signed
from amaranth.lib.wiring import Component, In, Out

from hdl.parameters import Device
from hdl.register import ECP5_FLIP_FLOP

CARRY_IN = 0x000A
"""Lower half of a CCU2C as a way into the carry chain: with B = C = D = 1 it sends A on as carry."""
ADD = 0x96AA
"""Half of a CCU2C as one bit of a lane: A plus carry plus (B xor C if D)."""


class Lane(Component):
    """``total`` becomes ``previous`` if ``shift``, else ``total`` plus or minus ``weight`` or as it is.

    Sums wrap at A bits: two's complement, so that only a final sum must fit, not what comes on the way to it. There is
    no reset, and the contents at power-up are arbitrary: a shift defines them.

    On an ECP5, a lane is one carry chain of A/2 + 1 cells CCU2C (negation is the chain's carry-in), and the shift loads
    the flip-flops behind the adder through their second data input, so that it costs no logic. Elsewhere synthesis
    makes it from plain logic. The two are proved equal in ``tests/hdl/test_lane.py``.

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
        """-w is ~w + 1; the 1 is carried in from one bit below."""
        m = Module()
        width = len(self.total)
        total = Signal(signed(width), reset_less=True)
        operand, following = Signal(signed(width)), Signal(width + 1)
        m.d.comb += [
            self.total.eq(total),
            operand.eq(Mux(self.enable, self.weight ^ self.negative.replicate(len(self.weight)).as_signed(), 0)),
            following.eq(Cat(Const(1, 1), total) + Cat(self.negative, operand)),
        ]
        m.d.sync += total.eq(Mux(self.shift, self.previous, following[1:]))
        return m

    def _ecp5(self) -> Module:
        m = Module()
        width, clock = len(self.total), ClockSignal()
        following = Signal(width)
        halves: list[tuple[Any, ...]] = [(CARRY_IN, self.negative, 1, 1, 1, Signal(name="unused"))]
        for i in range(width):
            weight = self.weight[min(i, len(self.weight) - 1)]
            halves.append((ADD, self.total[i], weight, self.negative, self.enable, following[i]))
            m.submodules[f"bit_{i}"] = Instance(
                "TRELLIS_FF",
                **ECP5_FLIP_FLOP,
                p_LSRMODE="PRLD",
                i_CLK=clock,
                i_DI=following[i],
                i_M=self.previous[i],
                i_LSR=self.shift,
                o_Q=self.total[i],
            )
        carry: Any = 0
        for cell in range((len(halves) + 1) // 2):
            ports = {"p_INJECT1_0": "NO", "p_INJECT1_1": "NO", "i_CIN": carry}
            for half, (init, a, b, c, d, s) in enumerate(halves[2 * cell : 2 * cell + 2]):
                ports |= {f"p_INIT{half}": Const(init, 16), f"o_S{half}": s}
                ports |= {f"i_A{half}": a, f"i_B{half}": b, f"i_C{half}": c, f"i_D{half}": d}
            carry = Signal(name=f"carry_{cell}")
            m.submodules[f"add_{cell}"] = Instance("CCU2C", **ports, o_COUT=carry)
        return m
