"""What every proof about the neuron shares: the neuron, its twin, and what may be assumed of the world around them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from amaranth.hdl import Assume, Module, Mux, ResetSignal, Signal, signed
from amaranth.lib import data
from amaranth.lib.wiring import Component, In

from hdl.formal.twin import Twin
from hdl.neuron import Neuron, beat_layout, constants_layout, settings_layout, state_layout
from hdl.parameters import Parameters


def fits(value: Any, width: int) -> Any:
    """Whether a signed value has room in ``width`` bits."""
    top = value[width - 1 :]
    return top.all() | ~top.any()


class Bench(Component):
    """A neuron whose inputs are free, beside its twin, which has the same beat in cycle 1.

    Assumed: there is no reset; constants and settings change only when no beat is under way; ``up`` is at least 1 and
    ``down`` at most 0; and, of every valid beat, that the contract's integers fit the widths for which a network was
    exported: the current, the doubled membrane, a total that is not clamped, and a static current have X bits.

    Args:
        parameters: of the neuron; with a trace.
        neuron: what is to be proved: ``Neuron``, or something that claims to be one.

    Ports:
        beat, sums, state, static, constants, settings: In, as those of ``Neuron``: in every cycle anything at all.
    """

    resets = False
    """Whether there may be a reset, at any time."""

    def __init__(self, parameters: Parameters, neuron: Callable[[Parameters], Any] = Neuron) -> None:
        self.parameters = parameters
        self.neuron, self.twin = neuron(parameters), Twin(parameters)
        super().__init__(
            {
                "beat": In(beat_layout(parameters)),
                "sums": In(data.ArrayLayout(signed(parameters.accumulator_bits), parameters.columns)),
                "state": In(state_layout(parameters)),
                "static": In(signed(parameters.state_bits)),
                "constants": In(constants_layout(parameters)),
                "settings": In(settings_layout(parameters)),
                "mine": In(1),
            }
        )

    def elaborate(self, platform: Any) -> Module:
        m = Module()
        m.submodules.neuron, m.submodules.twin = neuron, twin = self.neuron, self.twin
        m.d.comb += [neuron.beat.eq(self.beat), neuron.state.eq(self.found(m)), twin.state.eq(neuron.state)]
        for name in ("sums", "static", "constants", "settings"):
            m.d.comb += getattr(neuron, name).eq(getattr(self, name))
            m.d.comb += getattr(twin, name).eq(getattr(self, name))
        m.d.comb += twin.beat.eq(self.later(m, self.beat, 1))
        with m.If(twin.beat.valid):
            m.d.sync += [twin.before_up.eq(twin.up), twin.before_down.eq(twin.down)]
        self.assume(m)
        self.prove(m)
        return m

    def found(self, m: Module) -> Any:
        """The state that a beat finds in cycle 1: anything."""
        return self.state

    def assume(self, m: Module) -> None:
        """What the neuron may rely on."""
        width, twin = self.parameters.state_bits, self.twin
        flying = Signal(self.neuron.latency + 1)
        m.d.sync += flying.eq((flying << 1) | self.beat.valid)
        for value in (self.constants, self.settings):
            m.d.comb += Assume(~flying.any() | (value.as_value() == self.later(m, value, 1).as_value()))
        m.d.comb += [Assume(self.constants.up >= 1), Assume(self.constants.down <= 0)]
        if not self.resets:
            m.d.comb += Assume(~ResetSignal())
        doubled = Mux(twin.beat.double, twin.state.membrane << self.parameters.columns, twin.state.membrane)
        with m.If(twin.beat.valid):
            m.d.comb += [
                Assume(fits(twin.current, width)),
                Assume(~twin.beat.keep | fits(doubled, width)),
                Assume((twin.beat.clamp & ~twin.beat.commit) | fits(twin.total, width)),
                Assume(~twin.beat.commit | fits(twin.static_current, width)),
            ]

    def prove(self, m: Module) -> None:
        """The assertions."""
        raise NotImplementedError

    def later(self, m: Module, value: Any, cycles: int) -> Any:
        """A value that goes along with a beat."""
        for _ in range(cycles):
            register = Signal.like(value, name="later")
            m.d.sync += register.eq(value)
            value = register
        return value


class Tracked(Bench):
    """One neuron among others: its beats (``mine``) find the membrane and net count that its last one stored.

    The beats of the others find anything, and enter at any time; its own are at least ``revisit`` cycles apart, and
    constants and settings never change.
    """

    def found(self, m: Module) -> Any:
        self.memory = Signal(state_layout(self.parameters), name="memory")
        self.entered = Signal(name="entered")
        self.ended = self.later(m, self.entered, self.neuron.latency)
        m.d.comb += self.entered.eq(self.mine & self.beat.valid)
        with m.If(self.ended):
            m.d.sync += self.memory.eq(self.neuron.after)
        return Mux(self.later(m, self.entered, 1), self.memory.as_value(), self.state.as_value())

    def assume(self, m: Module) -> None:
        super().assume(m)
        recent = Signal(self.neuron.revisit - 1)
        running = Signal()
        m.d.sync += [recent.eq((recent << 1) | self.entered), running.eq(1)]
        m.d.comb += Assume(~self.entered | ~recent.any())
        for value in (self.constants, self.settings):
            m.d.comb += Assume(~running | (value.as_value() == self.later(m, value, 1).as_value()))

    def at_end(self, m: Module, value: Any) -> Any:
        """Something that the twin said in cycle 1, when the neuron's beat ends."""
        return self.later(m, value, self.neuron.latency - 1)
