"""Cycle-exact stimuli of a component, with what its plain-integer model expects: for simulators and for mutants."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from random import Random
from typing import Any

from amaranth.hdl import Value
from amaranth.lib import data
from amaranth.lib.wiring import Component

from hdl.array import Array
from hdl.neuron import Constant, Neuron
from hdl.parameters import THRESHOLD_BITS, Parameters

Values = dict[str, Any]
"""Ports by name; fields of a structure as a dictionary, of an array as a list, else an integer."""


@dataclass(slots=True)
class Cycles:
    """What enters a component and what must leave it, cycle by cycle.

    Attributes:
        inputs: the ports driven in each cycle; the others keep what they had.
        expected: the outputs that matter in each cycle, as seen before the clock edge that ends it.
    """

    inputs: list[Values] = field(default_factory=list)
    expected: list[Values] = field(default_factory=list)

    def __len__(self) -> int:
        return len(self.inputs)

    def at(self, cycle: int) -> tuple[Values, Values]:
        """Inputs and expectations of a cycle, to be added to; cycles in between are empty."""
        while len(self.inputs) <= cycle:
            self.inputs.append({})
            self.expected.append({})
        return self.inputs[cycle], self.expected[cycle]


def bits(component: Component, name: str, value: Any) -> int:
    """The value of a port as its bits: what Verilog sees."""
    port = getattr(component, name)
    if isinstance(port, data.View):
        return int(Value.cast(port.shape().const(value)).value) & (1 << len(Value.cast(port))) - 1
    return int(value) & (1 << len(Value.cast(port))) - 1


def fits(value: int, width: int) -> bool:
    """Whether a signed value has room in ``width`` bits."""
    return -(1 << (width - 1)) <= value < 1 << (width - 1)


class NeuronStream:
    """Beats for a ``Neuron``: a beat a cycle at most, membranes in a little memory, and the model beside it.

    The memory behaves as the core's: what a beat stores can be read by a beat that enters ``revisit`` cycles later, and
    a new static current by one that enters ``settled`` cycles later. What a beat does not read is noise.

    Args:
        neuron: the unit, with its model.
        places: how many neurons it serves in turn.
        random: source of the noise.
    """

    def __init__(self, neuron: Neuron, places: int, random: Random) -> None:
        self.neuron, self.parameters, self.random = neuron, neuron.parameters, random
        self.cycles = Cycles()
        self.cycle = 0
        self.constants: dict[str, int] = {}
        self.settings: dict[str, int] = {}
        self.thresholds = (0, 0)
        self.state = [(0, 0)] * places
        self.static = [0] * places
        self.stored = [-neuron.revisit] * places
        self.committed = [-neuron.settled] * places

    def change(self, constants: Mapping[str, int], settings: Mapping[str, int]) -> None:
        """Other constants and settings, once nothing is under way."""
        self.idle(self.neuron.latency + 1)
        self.constants, self.settings = dict(constants), dict(settings)
        self.cycles.at(self.cycle)[0].update(constants=self.constants, settings=self.settings)

    def idle(self, cycles: int = 1) -> None:
        """No beat; the other fields of the instruction are noise."""
        for _ in range(cycles):
            noise = {name: self.random.getrandbits(1) for name in self.neuron.beat.shape().members}
            self._enter(noise | {"valid": 0}, self._noise(self.parameters.state_bits))

    def ready(self, place: int, static: bool = False) -> bool:
        """Whether a beat for this place may enter now; with ``static``, one that reads its static current."""
        stored = self.cycle - self.stored[place] >= self.neuron.revisit
        return stored and (not static or self.cycle - self.committed[place] >= self.neuron.settled)

    def expect(self, place: int, beat: Mapping[str, int], sums: list[int]) -> dict[str, Any]:
        """What the model makes of a beat that would enter now."""
        return self.neuron.model(
            beat, sums, self.state[place], self.static[place], self.constants, self.settings, self.thresholds
        )

    def beat(self, place: int, beat: Mapping[str, int], sums: list[int]) -> dict[str, Any]:
        """A beat enters; the model's results."""
        result = self.expect(place, beat, sums)
        cycle, latency = self.cycle, self.neuron.latency
        membrane, count = self.state[place]
        self._enter(
            {**beat, "valid": 1},
            self.static[place] if reads_static(beat) else self._noise(self.parameters.state_bits),
            sums=sums,
            state={"membrane": membrane, "count": count},
        )
        self.thresholds = result["thresholds"]
        self.state[place] = result["membrane"], result["count"]
        self.stored[place] = cycle
        spike = (0, 1, 3)[result["spike"]]
        after = {"membrane": result["membrane"], "count": result["count"]}
        leaves = self.cycles.at(cycle + latency)[1]
        leaves.update(stored=1, fired=beat["fire"], spike=spike, after=after)
        if self.parameters.trace:
            names = ("current", "before", "membrane", "count", "saturated")
            leaves["trace"] = {name: int(result[name]) for name in names} | {"spike": spike}
        if beat["commit"]:
            self.cycles.at(cycle + latency + 1)[1].update(committed=1, current=result["static"])
            self.static[place], self.committed[place] = result["static"], cycle
        return result

    def finish(self) -> Cycles:
        """Everything has left; outputs that nothing claims say so."""
        self.idle(self.neuron.latency + 2)
        for expected in self.cycles.expected[: self.cycle]:
            for name in ("fired", "stored", "committed"):
                expected.setdefault(name, 0)
        del self.cycles.inputs[self.cycle :], self.cycles.expected[self.cycle :]
        return self.cycles

    def _enter(self, beat: Values, static: int, **values: Any) -> None:
        self.cycles.at(self.cycle)[0]["beat"] = beat
        noise: Values = {
            "sums": [self._noise(self.parameters.accumulator_bits) for _ in range(self.parameters.columns)],
            "state": {
                "membrane": self._noise(self.parameters.state_bits),
                "count": self._noise(self.parameters.count_bits),
            },
        }
        self.cycles.at(self.cycle + 1)[0].update(noise | values, static=static)
        self.cycle += 1

    def _noise(self, width: int) -> int:
        return self.random.getrandbits(width) - (1 << (width - 1))


def reads_static(beat: Mapping[str, int]) -> bool:
    """Whether the result of a beat depends on the static current."""
    return Constant(beat["constant"]) is Constant.STATIC or bool(beat["commit"] and beat["again"])


def random_neurons(parameters: Parameters, random: Random) -> tuple[dict[str, int], dict[str, int]]:
    """Constants and settings of a channel as the contract may have them: rate steps or a code, small or large."""
    state = parameters.state_bits
    free = random.randint(1, 1 << random.choice([THRESHOLD_BITS - 1, random.randint(1, THRESHOLD_BITS - 1)]))
    threshold = random.choice([1, 2, 1 << (THRESHOLD_BITS - 1), free, free, free])
    steps = random.randint(1, min(12, state - threshold.bit_length()))
    code = random.random() < 0.5
    up = threshold << (steps - 1) if code else threshold
    down = threshold - up if code else -random.choice([0, threshold - 1, random.randint(0, threshold)])
    count = (1 << (parameters.count_bits - 1)) - 1
    bias, initial = _extreme(random, state), _extreme(random, state)
    return {
        "threshold": threshold,
        "up": up,
        "down": down,
        "initial": random.choice([initial, threshold >> 1]),
        "bias": bias,
        "shift": random.choice([0, 1, random.randint(0, 30)]),
    }, {
        "negative": int(random.random() < 0.7),
        "capped": random.getrandbits(1),
        "gated": random.getrandbits(1),
        "low": -random.randint(0, min(3, count)),
        "high": random.randint(0, min(3, count)),
    }


def random_beats(neuron: Neuron, random: Random, beats: int) -> Cycles:
    """Beats of every kind, most of them near a threshold or a limit, that overflow nothing that the contract bounds."""
    stream = NeuronStream(neuron, random.randint(1, neuron.revisit + 1), random)
    hurry = random.choice([0.5, 0.9, 1.0])
    for entered in range(beats):
        if entered % 20 == 0:
            stream.change(*random_neurons(neuron.parameters, random))
        while random.random() > hurry or not any(map(stream.ready, range(len(stream.state)))):
            stream.idle()
        place = random.choice([place for place in range(len(stream.state)) if stream.ready(place)])
        if random.random() < 0.05:
            stream.state[place] = _extreme(random, neuron.parameters.state_bits), stream.state[place][1]
        stream.beat(place, *_random_beat(stream, place, first=entered % 20 == 0))
    return stream.finish()


def _random_beat(stream: NeuronStream, place: int, first: bool) -> tuple[dict[str, int], list[int]]:
    parameters, random = stream.parameters, stream.random
    while True:
        beat = {name: random.getrandbits(1) for name in stream.neuron.beat.shape().members}
        beat |= {
            "mask": random.getrandbits(parameters.columns),
            "double": int(random.random() < 0.3),
            "constant": random.randrange(4),
            "fire": int(random.random() < 0.8),
            "restart": int(first or random.random() < 0.1),
            "halve": int(stream.thresholds[0] >> 1 >= stream.constants["threshold"] and random.random() < 0.2),
        }
        reach = random.randint(1, parameters.accumulator_bits)
        sums = [_magnitude(random, reach) for _ in range(parameters.columns)]
        if random.random() < 0.7:
            _aim(stream, place, beat, sums)
        if stream.ready(place, reads_static(beat)) and _legal(stream, place, beat, sums):
            return beat, sums


def _aim(stream: NeuronStream, place: int, beat: Mapping[str, int], sums: list[int]) -> None:
    """Change the last column's sum, or else the membrane, so that a threshold or a limit is met or missed by one."""
    result = stream.expect(place, {**beat, "clamp": 0}, sums)
    limit = 1 << (stream.parameters.membrane_bits - 1)
    target = stream.random.choice([*result["thresholds"], limit, -limit]) - stream.random.choice([0, 0, 1, -1])
    missing = target - result["before"]
    if beat["mask"] >> (len(sums) - 1) & 1 and fits(sums[-1] + missing, stream.parameters.accumulator_bits):
        sums[-1] += missing
    elif beat["keep"] and not beat["double"] and fits(stream.state[place][0] + missing, stream.parameters.state_bits):
        stream.state[place] = stream.state[place][0] + missing, stream.state[place][1]


def _legal(stream: NeuronStream, place: int, beat: Mapping[str, int], sums: list[int]) -> bool:
    """Whether nothing overflows that the contract's analysis of widths, and the exporter, keep from overflowing."""
    parameters, state = stream.parameters, stream.parameters.state_bits
    result = stream.expect(place, beat, sums)
    membrane = stream.state[place][0] * beat["keep"] << parameters.columns * beat["double"]
    total = membrane + result["current"]
    narrow = (membrane, result["current"], result["membrane"], result["static"] if beat["commit"] else 0)
    exact = () if beat["clamp"] and not beat["commit"] else (total,)
    return all(fits(value, state) for value in (*narrow, *exact)) and fits(result["count"], parameters.count_bits)


def random_operations(array: Array, random: Random, operations: int) -> Cycles:
    """Operations for an ``Array``: extreme weights, and no or all events, are frequent."""
    cycles = Cycles()
    low, high = -1 << (array.weight_bits - 1), (1 << (array.weight_bits - 1)) - 1
    places = len(array.enable)
    full = (1 << places) - 1
    totals = [0] * (array.rows * array.channels * array.columns * array.pixels)
    for cycle in range(operations + array.latency):
        clear = cycle < array.pixels
        weights = [random.choice([low, high, -1, 0, random.randint(low, high)]) for _ in range(array.channels)]
        enable = random.choice([0, full, random.getrandbits(places), random.getrandbits(places)])
        negative = enable & random.choice([0, full, random.getrandbits(places)])
        operation: Values = {
            "weights": weights,
            "enable": enable,
            "negative": negative,
            "shift": int(clear or random.random() < 0.2),
        }
        cycles.at(cycle)[0].update(operation)
        totals, sums = array.model(totals, *operation.values())
        if not clear:
            cycles.at(cycle + array.latency)[1]["sums"] = sums
    del cycles.inputs[operations + array.latency :], cycles.expected[operations + array.latency :]
    return cycles


def _extreme(random: Random, width: int) -> int:
    """Sometimes the least or the largest number of ``width`` bits, else any."""
    return random.choice([-1 << (width - 1), (1 << (width - 1)) - 1, *(_magnitude(random, width) for _ in range(6))])


def _magnitude(random: Random, width: int) -> int:
    """A signed number of up to ``width`` bits; all lengths are equally frequent."""
    bound = 1 << (random.randint(1, width) - 1)
    return random.randint(-bound, bound - 1)
