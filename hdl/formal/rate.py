"""A neuron through rate steps: conservation, net count, widths, and when it spikes."""

from __future__ import annotations

from typing import Any

from amaranth.hdl import Assert, Assume, Module, Mux, Signal

from hdl.formal.bench import Tracked, fits
from hdl.neuron import Constant
from hdl.parameters import THRESHOLD_BITS


class Rate(Tracked):
    """A neuron that is loaded with its initial membrane and then makes steps; loaded again whenever it pleases.

    Assumed besides: its beats are such loads and steps; nobody halves thresholds; ``up`` is the threshold, at most
    ``2^(B-1)``; B bits hold the initial membrane; ``low <= 0 <= high``; and a run has no more steps than a net count
    has room for.

    Ghosts: ``loaded``, ``live``: a first load has entered, has ended; ``steps``: since the last load that has ended.
    """

    def assume(self, m: Module) -> None:
        super().assume(m)
        beat, constants, settings, parameters = self.beat, self.constants, self.settings, self.parameters
        self.load = ~beat.keep & ~beat.clamp & ~beat.fire.as_value() & beat.restart & beat.recount & ~beat.mask.any()
        self.load &= beat.constant == Constant.INITIAL
        step = beat.keep & beat.clamp & beat.fire.as_value() & ~beat.recount & ~beat.double & ~beat.commit
        self.loaded = Signal(name="loaded")
        with m.If(self.entered):
            m.d.sync += self.loaded.eq(1)
            m.d.comb += Assume(Mux(self.loaded, self.load | step, self.load))
        m.d.comb += [
            Assume(~beat.halve),
            Assume(constants.up == constants.threshold),
            Assume(constants.threshold <= 1 << min(parameters.membrane_bits - 1, THRESHOLD_BITS - 1)),
            Assume(fits(constants.initial, parameters.membrane_bits)),
            Assume((settings.low <= 0) & (settings.high >= 0)),
        ]

    def follow(self, m: Module) -> None:
        """The ghosts, and what ties them to the neuron."""
        neuron, twin, constants = self.neuron, self.twin, self.constants
        self.live, self.steps = Signal(name="live"), Signal(self.parameters.count_bits, name="steps")
        load = self.later(m, self.load, neuron.latency)
        with m.If(self.ended):
            m.d.sync += [self.live.eq(1), self.steps.eq(Mux(load, 0, self.steps + 1))]
        most = (1 << (self.parameters.count_bits - 1)) - 1
        m.d.comb += [Assert(self.steps <= most), Assume(~self.ended | load | (self.steps < most))]
        for cycles, up, down in (
            (neuron.combining + 3, neuron.up, neuron.down),
            (1, twin.before_up, twin.before_down),
        ):
            ready = self.later(m, self.loaded, cycles)
            m.d.comb += Assert(~ready | ((up == constants.up) & (down == constants.down)))
        n = self.memory.count
        m.d.comb += [
            Assert(self.live == self.later(m, self.loaded, neuron.latency)),
            Assert(~self.live | ((n <= self.steps) & (n >= -self.steps))),
        ]

    def spent(self) -> Any:
        """What the spike of the beat that ends now takes from the membrane."""
        threshold = self.constants.threshold
        return Mux(self.neuron.spike == 1, threshold, Mux(self.neuron.spike == 3, -threshold, 0))


class Conservation(Rate):
    """``v + threshold * n - sum(I) = initial``: a load sets ``v``; a step that is not clamped moves it by exactly what
    enters less what its spike takes, and n by the spike."""

    def prove(self, m: Module) -> None:
        self.follow(m)
        twin, load = self.twin, self.later(m, self.load, self.neuron.latency)
        before, after = self.memory, self.neuron.after
        step = self.ended & ~load & ~self.at_end(m, twin.saturated)
        moved = after.membrane + self.spent() == before.membrane + self.at_end(m, twin.current)
        counted = after.count - before.count == self.neuron.spike.as_signed()
        # The twin conserves, and the neuron begins and ends with what the twin said: these halve the solver's time.
        taken = Mux(twin.spike == 1, twin.up, Mux(twin.spike == -1, -twin.up, 0))
        m.d.comb += [
            Assert(twin.v + taken == twin.u),
            Assert(~self.ended | (after.membrane == self.at_end(m, twin.v))),
            Assert(~self.ended | (before.membrane == self.at_end(m, twin.state.membrane))),
            Assert(~step | (self.spent() == self.at_end(m, taken))),
            Assert(~(self.ended & load) | ((after.membrane == self.constants.initial) & (after.count == 0))),
            Assert(~step | moved),
            Assert(~step | counted),
        ]


class NetCount(Rate):
    """A gated net count never falls below ``low``, a capped one never exceeds ``high``; others cannot wrap."""

    def prove(self, m: Module) -> None:
        self.follow(m)
        n, settings = self.memory.count, self.settings
        m.d.comb += [
            Assert(~(self.live & settings.gated) | (n >= settings.low)),
            Assert(~(self.live & settings.capped) | (n <= settings.high)),
            Assert(~(self.live & ~settings.negative) | (n >= 0)),
        ]


class NoWrap(Rate):
    """The membrane has B bits after every step, and is the exact integer: nothing wraps on the way."""

    def prove(self, m: Module) -> None:
        self.follow(m)
        m.d.comb += [
            Assert(~self.live | fits(self.memory.membrane, self.parameters.membrane_bits)),
            Assert(~self.ended | (self.neuron.after.membrane == self.at_end(m, self.twin.v))),
            Assert(~self.ended | (self.neuron.trace.before == self.at_end(m, self.twin.u))),
            Assert(~self.ended | (self.neuron.trace.current == self.at_end(m, self.twin.current))),
        ]


class OneSpike(Rate):
    """Never both spikes: membrane and net count move by exactly the one that is sent."""

    def prove(self, m: Module) -> None:
        self.follow(m)
        after, trace, spike = self.neuron.after, self.neuron.trace, self.neuron.spike
        step = self.ended & ~self.later(m, self.load, self.neuron.latency)
        moved = (after.count - self.memory.count)[: self.parameters.count_bits].as_signed()
        m.d.comb += [
            Assert(~self.ended | (spike != 0b10)),
            Assert(~step | (trace.before - after.membrane == self.spent())),
            Assert(~step | (moved == spike.as_signed())),
        ]


class Firing(Rate):
    """A spike when, and only when, the contract's ``fire`` has one."""

    def prove(self, m: Module) -> None:
        self.follow(m)
        u, n, settings = self.neuron.trace.before, self.memory.count, self.settings
        step = self.ended & ~self.later(m, self.load, self.neuron.latency)
        positive = (u >= self.constants.threshold) & (~settings.capped | (n < settings.high))
        negative = (u < self.constants.down) & settings.negative & (~settings.gated | (n > settings.low))
        m.d.comb += [
            Assert(~step | ((self.neuron.spike == 1) == positive)),
            Assert(~step | ((self.neuron.spike == 3) == (negative & ~positive))),
            Assert(self.neuron.fired | ~step),
        ]
