"""The neuron of one channel: a pipeline that combines sums, charges a membrane, fires and resets.

It holds no membranes: they come in with each beat and leave at its end, so that one unit serves all pixels of a tile in
turn. One beat is one neuron in one time-step (or one part of an accumulation).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial, reduce
from operator import or_
from typing import Any

from amaranth.hdl import Cat, Const, Module, Mux, Signal, signed, unsigned
from amaranth.lib import data, enum
from amaranth.lib.wiring import Component, In, Out

from hdl.delay import carried, exceeds, later, less
from hdl.parameters import SHIFT_BITS, THRESHOLD_BITS, Parameters
from hdl.register import copy


class Constant(enum.Enum, shape=2):  # type: ignore[call-arg]
    """What a beat adds to the membrane besides the sums of the columns."""

    NONE = 0
    BIAS = 1
    STATIC = 2
    INITIAL = 3


class Fire(enum.Enum, shape=1):  # type: ignore[call-arg]
    """Whether a beat may spike."""

    NO = 0
    YES = 1


def beat_layout(parameters: Parameters) -> data.StructLayout:
    """One beat's instructions, the same for the neurons of all channels.

    Fields:
        valid: there is a beat.
        mask: J bits: the columns whose sums count.
        double: the columns are digits of a binary code, the most significant first: column j counts ``2^(J-1-j)``, and
            the membrane is multiplied by ``2^J`` first.
        keep: start from the membrane; otherwise from 0.
        constant: what else is added.
        clamp: limit the result to B bits, as in front of every firing.
        fire: compare with the thresholds, spike and reset.
        restart: first beat of a train of digits: take the loaded thresholds.
        halve: first beat of each later digit: halve the threshold.
        commit: round and shift the result and keep it as static current, on top of the bias or of the static current so
            far (``constant`` is NONE in such a beat; ``again`` chooses).
        again, shifted: of ``commit``.
        recount: the net count starts at 0.
    """
    return data.StructLayout(
        {
            "valid": 1,
            "mask": unsigned(parameters.columns),
            "double": 1,
            "keep": 1,
            "constant": Constant,
            "clamp": 1,
            "fire": Fire,
            "restart": 1,
            "halve": 1,
            "commit": 1,
            "again": 1,
            "shifted": 1,
            "recount": 1,
        }
    )


def constants_layout(parameters: Parameters) -> data.StructLayout:
    """What is particular to a channel.

    Fields:
        threshold: of the least significant spike.
        up: the threshold of the first beat of a train: the threshold itself, with codes ``threshold * 2^(T-1)``.
        down: fires negative below this: minus the negative threshold; with codes ``threshold - up``.
        initial, bias: initial membrane, bias.
        shift: the rounding right shift of the input's current.
    """
    state = signed(parameters.state_bits)
    return data.StructLayout(
        {
            "threshold": unsigned(THRESHOLD_BITS),
            "up": state,
            "down": state,
            "initial": state,
            "bias": state,
            "shift": unsigned(SHIFT_BITS),
        }
    )


def settings_layout(parameters: Parameters) -> data.StructLayout:
    """What is particular to a population.

    Fields:
        negative: whether there are negative spikes at all.
        capped: whether positive spikes stop at a net count of ``high``.
        gated: whether negative spikes stop at a net count of ``low``.
    """
    count = signed(parameters.count_bits)
    return data.StructLayout({"negative": 1, "capped": 1, "gated": 1, "low": count, "high": count})


def state_layout(parameters: Parameters) -> data.StructLayout:
    """The state of one neuron: its membrane (or accumulation) and net count."""
    return data.StructLayout({"membrane": signed(parameters.state_bits), "count": signed(parameters.count_bits)})


def trace_layout(parameters: Parameters) -> data.StructLayout:
    """What a trace shows of a beat: the contract's I, u, s, v and n, and whether the membrane was clamped."""
    state = signed(parameters.state_bits)
    return data.StructLayout(
        {
            "current": state,
            "before": state,
            "spike": 2,
            "membrane": state,
            "count": signed(parameters.count_bits),
            "saturated": 1,
        }
    )


def combining(parameters: Parameters) -> int:
    """Cycles in which the columns are added up, two at a time."""
    return max(1, (parameters.columns - 1).bit_length())


def neuron_latency(parameters: Parameters) -> int:
    """Cycles from a beat to its results."""
    return combining(parameters) + 5


def revisit(parameters: Parameters) -> int:
    """A neuron's next beat may enter this many cycles after the last one."""
    return neuron_latency(parameters) + 1


def _if(condition: Any, value: Any) -> Any:
    """``value`` or 0, by gates: synthesis makes a choice of 0 the reset of a register, and resets are slow."""
    found = value.as_unsigned() & condition.replicate(len(value))
    return found.as_signed() if value.shape().signed else found


class Neuron(Component):
    """The neuron of one channel.

    A beat enters at ``beat`` in cycle 0. Its ``sums``, ``state`` and ``static`` are taken in cycle 1. Its results are
    at the outputs in cycle ``latency``; a write at the end of that cycle can be read by a beat that enters ``revisit``
    cycles after this one. A static current ends a cycle later: it can be read by a beat that enters ``settled`` cycles
    after its ``commit``. There is no back-pressure: a beat a cycle.

    Ports:
        beat: In, ``beat_layout``.
        sums: In, J times signed(A): the columns' sums.
        state: In, ``state_layout``. static: In, signed(X).
        constants: In, ``constants_layout``; settings: In, ``settings_layout``: steady while beats are under way.
        fired: Out(1): the beat that ends now may have spiked; spike: Out(2): bit 0 a spike, bit 1 a negative one.
        stored: Out(1): ``after``, the new state, is to be written.
        after: Out, ``state_layout``.
        committed: Out(1): ``current`` is to be written as static current. It ends one cycle later than the rest.
        current: Out, signed(X).
        trace: Out, ``trace_layout``, if the parameters ask for it: of the beat that ends now.

    Attributes:
        up, down: signed(X) registers: the thresholds in force. Proofs tie them to the loaded ones.
    """

    def __init__(self, parameters: Parameters) -> None:
        self.parameters = parameters
        self.combining, self.latency = combining(parameters), neuron_latency(parameters)
        self.revisit, self.settled = revisit(parameters), revisit(parameters) + 1
        state = signed(parameters.state_bits)
        ports: dict[str, Any] = {
            "beat": In(beat_layout(parameters)),
            "sums": In(data.ArrayLayout(signed(parameters.accumulator_bits), parameters.columns)),
            "state": In(state_layout(parameters)),
            "static": In(state),
            "constants": In(constants_layout(parameters)),
            "settings": In(settings_layout(parameters)),
            "fired": Out(1),
            "spike": Out(2),
            "stored": Out(1),
            "after": Out(state_layout(parameters)),
            "committed": Out(1),
            "current": Out(state),
        }
        if parameters.trace:
            ports["trace"] = Out(trace_layout(parameters))
        super().__init__(ports)
        self.up, self.down = Signal(state, name="up"), Signal(state, name="down")

    def elaborate(self, platform: Any) -> Module:
        m = Module()
        width, membrane = self.parameters.state_bits, self.parameters.membrane_bits
        # The first register is the neuron's own: those of all neurons are equal, and synthesis would make them one.
        first = copy(m, self.beat.as_value(), self.parameters.device, "beat_1", reset=True)
        beats = [self.beat, data.View(self.beat.shape(), first)]
        for cycle in range(2, self.latency + 2):
            beats.append(Signal(self.beat.shape(), name=f"beat_{cycle}"))
            m.d.sync += beats[cycle].eq(beats[cycle - 1])

        register = partial(later, m)

        # Cycle 1 on: columns two by two; what else is added waits.
        parts: list[Any] = [_if(beats[1].mask[j], self.sums[j]) for j in range(self.parameters.columns)]
        start: Any = _if(beats[1].keep, self.state.membrane)
        columns = self.parameters.columns
        double = beats[1].double
        start = Cat(_if(~double, start[:columns]), Mux(double, start[:-columns], start[columns:])).as_signed()
        added = {
            Constant.BIAS: self.constants.bias,
            Constant.STATIC: self.static,
            Constant.INITIAL: self.constants.initial,
        }
        constant: Any = reduce(or_, (_if(beats[1].constant == which, value) for which, value in added.items()))
        static, count = self.static, _if(~beats[1].recount, self.state.count)
        for level in range(1, self.combining + 1):
            weight = 1 << (level - 1)  # of the earlier one of two, as a power of two
            pairs = zip(parts[::2], parts[1::2], strict=True) if len(parts) > 1 else ((0, parts[0]),)
            parts = [
                register(
                    Mux(beats[level].double, early << weight, early) + late, signed(width), f"combined_{level}_{index}"
                )
                for index, (early, late) in enumerate(pairs)
            ]
            start = register(start, signed(width), f"start_{level}")
            constant = register(constant, signed(width), f"constant_{level}")
            static = register(static, signed(width), f"static_{level}")
            count = register(count, signed(self.parameters.count_bits), f"count_{level}")
        at = self.combining + 1
        current = register(parts[0] + constant, signed(width), "current_sum")
        start = register(start, signed(width), "start_last")
        total = register(start + current, signed(width + 1), "total")
        flow = register(current, signed(width), "flow")
        for level in range(2):
            count = register(count, signed(self.parameters.count_bits), f"count_late_{level}")
            static = register(static, signed(width), f"static_late_{level}")
        # Clamp, and have the thresholds of this beat ready for the next cycle, and what the net count allows.
        at += 2
        fits = Signal()
        top = total[membrane - 1 :]
        m.d.comb += fits.eq(~beats[at].clamp | top.all() | ~top.any())
        sign = total[-1]
        limit = Cat((~sign).replicate(membrane - 1), sign.replicate(width - membrane + 1))
        before = register(Mux(fits, total[:width].as_signed(), limit.as_signed()), signed(width), "before")
        up, down = self.up, self.down
        with m.If(beats[at].valid & beats[at].restart):
            m.d.sync += [up.eq(self.constants.up), down.eq(self.constants.down)]
        with m.Elif(beats[at].valid & beats[at].halve):
            m.d.sync += [up.eq(up >> 1), down.eq(self.constants.threshold - (up >> 1))]
        settings = self.settings
        fires = beats[at].fire == Fire.YES
        rises = register(fires & (~settings.capped | less(count, settings.high)), 1, "rises")
        falls = register(fires & settings.negative & (~settings.gated | less(settings.low, count)), 1, "falls")
        count = register(count, signed(self.parameters.count_bits), "count_late_2")
        static = register(static, signed(width), "static_late_2")
        # Compare; whatever is left if there is a spike comes with it.
        at += 1
        positive = register(exceeds(rises, before, up, equal=True), 1, "positive")
        low = register(exceeds(falls, down, before), 1, "low")
        unspent, spent = register(before, signed(width), "unspent"), register(before - up, signed(width), "spent")
        repaid = register(before + up, signed(width), "repaid")
        risen, fallen, count = (
            register(count + step, signed(self.parameters.count_bits), f"count_{name}")
            for step, name in ((1, "risen"), (-1, "fallen"), (0, "last"))
        )
        # Reset.
        at += 1
        negative = low & ~positive
        assert at == self.latency
        m.d.comb += [
            self.fired.eq(beats[at].valid & (beats[at].fire == Fire.YES)),
            self.spike.eq(Cat(positive | negative, negative)),
            self.stored.eq(beats[at].valid),
            self.after.membrane.eq(Mux(positive, spent, Mux(low, repaid, unspent))),
            self.after.count.eq(Mux(positive, risen, Mux(low, fallen, count))),
        ]
        # The rounding shift runs beside the firing: coarse, fine, then the sum; one bit more keeps the half.
        doubled = Cat(Const(0, 1), total[:width]).as_signed()
        amount = register(_if(beats[at - 3].shifted, self.constants.shift), SHIFT_BITS, "amount")
        coarse = register(doubled >> Cat(Const(0, 2), amount[2:]), signed(width + 1), "coarse")
        fine_amount = register(amount[:2], 2, "fine_amount")
        fine = register(coarse >> fine_amount, signed(width + 1), "fine")
        static = register(static, signed(width), "static_last")
        base = Mux(beats[at].again, static, self.constants.bias)
        committed = register(carried(base, fine[1:].as_signed(), fine[0]), signed(width), "committed_current")
        m.d.comb += [
            self.committed.eq(beats[at + 1].valid & beats[at + 1].commit),
            self.current.eq(committed),
        ]
        if self.parameters.trace:
            flow = register(flow, signed(width), "flow_before")
            flow = register(flow, signed(width), "flow_last")
            saturated = register(register(~fits, 1, "saturated_before"), 1, "saturated_last")
            m.d.comb += [
                self.trace.current.eq(flow),
                self.trace.before.eq(unspent),
                self.trace.spike.eq(self.spike),
                self.trace.membrane.eq(self.after.membrane),
                self.trace.count.eq(self.after.count),
                self.trace.saturated.eq(saturated),
            ]
        return m

    def model(
        self,
        beat: Mapping[str, int],
        sums: Sequence[int],
        state: tuple[int, int],
        static: int,
        constants: Mapping[str, int],
        settings: Mapping[str, int],
        thresholds: tuple[int, int],
    ) -> dict[str, Any]:
        """One valid beat in plain integers.

        Args:
            beat: fields of ``beat_layout``.
            sums: of the J columns.
            state: membrane and count.
            static: the static current so far.
            constants, settings: fields of their layouts.
            thresholds: ``up`` and ``down`` as the beat before left them.

        Returns:
            ``thresholds`` now in force; ``current``, ``before``, ``spike`` (-1, 0, 1), ``membrane``, ``count``,
            ``saturated``; ``static``: what a ``commit`` keeps.
        """
        columns = self.parameters.columns
        counted = [value if beat["mask"] >> j & 1 else 0 for j, value in enumerate(sums)]
        flow = sum(value << (columns - 1 - j if beat["double"] else 0) for j, value in enumerate(counted))
        flow += (0, constants["bias"], static, constants["initial"])[beat["constant"]]
        total = (state[0] << (columns if beat["double"] else 0) if beat["keep"] else 0) + flow
        limit = 1 << (self.parameters.membrane_bits - 1)
        before = min(max(total, -limit), limit - 1) if beat["clamp"] else total
        up, down = thresholds
        if beat["restart"]:
            up, down = constants["up"], constants["down"]
        elif beat["halve"]:
            up, down = up >> 1, constants["threshold"] - (up >> 1)
        count = 0 if beat["recount"] else state[1]
        spike = 0
        if beat["fire"]:
            if before >= up and not (settings["capped"] and count >= settings["high"]):
                spike = 1
            elif before < down and settings["negative"] and not (settings["gated"] and count <= settings["low"]):
                spike = -1
        shift = constants["shift"] if beat["shifted"] else 0
        rounded = (total + (1 << shift >> 1)) >> shift
        return {
            "thresholds": (up, down),
            "current": flow,
            "before": before,
            "spike": spike,
            "membrane": before - spike * up,
            "count": count + spike,
            "saturated": before != total,
            "static": (static if beat["again"] else constants["bias"]) + rounded,
        }
