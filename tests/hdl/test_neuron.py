# amaranth: UnusedElaboratable=no
"""The neuron in Amaranth's simulator against its model, and the model against the numeric contract."""

from __future__ import annotations

from itertools import product
from random import Random
from typing import Any

import pytest
from amaranth.hdl import Value
from amaranth.sim import Simulator
from hypothesis import given, settings
from hypothesis import strategies as st

from hdl.neuron import Constant, Neuron, beat_layout
from hdl.parameters import Parameters
from hdl.stimuli import Cycles, NeuronStream, bits, random_beats
from refsnn.neurons import NEVER, clamp, fire, send

IDLE = dict.fromkeys((name for name in beat_layout(Parameters()).members if name != "valid"), 0)
LOAD = IDLE | {"constant": Constant.INITIAL.value, "restart": 1, "recount": 1}
STEP = IDLE | {"keep": 1, "clamp": 1, "fire": 1}


def simulate(neuron: Neuron, cycles: Cycles) -> list[dict[str, tuple[int, int]]]:
    """Drive a neuron: for each cycle, the outputs that differ, found and expected."""
    differ: list[dict[str, tuple[int, int]]] = []

    async def bench(context: Any) -> None:
        for inputs, expected in zip(cycles.inputs, cycles.expected, strict=True):
            for name, value in inputs.items():
                context.set(Value.cast(getattr(neuron, name)), bits(neuron, name, value))
            pairs = {
                name: (context.get(Value.cast(getattr(neuron, name)).as_unsigned()), bits(neuron, name, value))
                for name, value in expected.items()
            }
            differ.append({name: pair for name, pair in pairs.items() if pair[0] != pair[1]})
            await context.tick()

    simulator = Simulator(neuron)
    simulator.add_clock(1e-6)
    simulator.add_testbench(bench)
    simulator.run()
    return differ


@st.composite
def sizes(draw: st.DrawFn) -> Parameters:
    state = draw(st.sampled_from([16, 20, 24, 32, 40]))
    planes = draw(st.sampled_from([1, 2]))
    return Parameters(
        columns=draw(st.sampled_from([1, 2, 4, 8])),
        weight_planes=planes,
        accumulator_bits=draw(st.integers(8 * planes, state)),
        state_bits=state,
        membrane_bits=draw(st.integers(8, state)),
        count_bits=draw(st.integers(3, 8)),
        trace=draw(st.booleans()),
    )


@settings(deadline=None, max_examples=30)
@given(sizes(), st.integers(1, 160), st.randoms(use_true_random=True))
def test_random_beats(parameters: Parameters, beats: int, random: Random) -> None:
    neuron = Neuron(parameters)
    cycles = random_beats(neuron, random, beats)
    assert sum("after" in expected for expected in cycles.expected) == beats
    assert not any(simulate(neuron, cycles))


def test_random_beats_meet_what_they_aim_at() -> None:
    """The stimuli are worth their name: every outcome is frequent, and beats follow each other at ``revisit``."""
    neuron = Neuron(Parameters(trace=True))
    seen: dict[str, int] = {}
    for seed in range(20):
        cycles = random_beats(neuron, Random(seed), 200)
        constants: dict[str, int] = {}
        for inputs, expected in zip(cycles.inputs, cycles.expected, strict=True):
            constants = inputs.get("constants", constants)
            for name in ("committed", "fired"):
                seen[name] = seen.get(name, 0) + expected.get(name, 0)
            if "trace" not in expected:
                continue
            trace = expected["trace"]
            found = {
                "spike": trace["spike"] == 1,
                "negative": trace["spike"] == 3,
                "saturated": trace["saturated"],
                "highest": trace["before"] == (1 << 19) - 1,
                "lowest": trace["before"] == -1 << 19,
                "met": expected["fired"] and trace["before"] == constants["up"],
                "missed": expected["fired"] and trace["before"] == constants["up"] - 1,
                "met below": expected["fired"] and trace["before"] == constants["down"],
                "passed below": expected["fired"] and trace["before"] == constants["down"] - 1,
            }
            for name, value in found.items():
                seen[name] = seen.get(name, 0) + bool(value)
    assert min(seen.values()) >= 40, seen


@pytest.mark.parametrize("threshold", [1, 1 << 14])
@pytest.mark.parametrize("columns", [1, 4])
def test_corners(threshold: int, columns: int) -> None:
    """Met exactly and missed by one, at either threshold and either limit; gate and cap; the smallest and largest
    thresholds."""
    neuron = Neuron(Parameters(columns=columns, trace=True))
    limit = 1 << (neuron.parameters.membrane_bits - 1)
    stream = NeuronStream(neuron, 1, Random(0))
    negative = threshold - 1
    seen = set()
    for signed, gate, cap in product((0, 1), repeat=3):
        constants = {"threshold": threshold, "up": threshold, "down": -negative, "bias": 0, "shift": 0}
        for u in (threshold, threshold - 1, -negative, -negative - 1, limit - 1, limit, -limit, -limit - 1):
            stream.change(
                constants | {"initial": u - 5},
                {"negative": signed, "gated": gate, "capped": cap, "low": 0, "high": 1},
            )
            stream.beat(0, LOAD, [0] * columns)
            for _ in range(2):
                stream.idle(neuron.revisit - 1)
                result = stream.beat(0, STEP | {"mask": 1}, [5] * columns)
                seen.add((result["before"] - u, result["spike"], result["count"]))
    assert {(0, 1, 1), (0, -1, -1), (0, 0, 0), (-1, 1, 1), (1, 0, 0)} <= seen  # clamped from above, and from below
    assert not any(simulate(neuron, stream.finish()))


def test_a_difference_is_seen() -> None:
    neuron = Neuron(Parameters())
    cycles = random_beats(neuron, Random(1), 20)
    index = next(i for i, expected in enumerate(cycles.expected) if "after" in expected)
    cycles.expected[index]["after"] = dict(cycles.expected[index]["after"], membrane=12345)
    differ = simulate(neuron, cycles)
    assert [i for i, difference in enumerate(differ) if difference] == [index]
    assert list(differ[index]) == ["after"]


# The model against the contract.

KINDS = {
    # low, high, negative threshold as a part of the threshold
    "if": (NEVER, NEVER, 0),
    "if, capped": (NEVER, 3, 0),
    "dual": (0, 3, 0),
    "dual, uncapped": (0, NEVER, 1),
    "dual, half": (0, 3, 0.5),
    "signed": (-3, 3, 0),
}
thresholds = st.one_of(st.sampled_from([1, 2, 1 << 14]), st.integers(1, 1 << 14))


def kind_settings(low: int, high: int) -> dict[str, int]:
    """How ``low`` and ``high`` of the contract are told to a neuron."""
    return {
        "negative": int(low != NEVER),
        "gated": int(low != NEVER),
        "capped": int(high != NEVER),
        "low": 0 if low == NEVER else low,
        "high": 0 if high == NEVER else high,
    }


class Unit:
    """One neuron that lives in the model: beats one after another."""

    def __init__(self, neuron: Neuron, constants: dict[str, int], settings: dict[str, int]) -> None:
        self.neuron, self.constants, self.settings = neuron, constants, settings
        self.state, self.static, self.thresholds = (0, 0), 0, (0, 0)

    def beat(self, beat: dict[str, int], sums: list[int]) -> dict[str, Any]:
        result = self.neuron.model(beat, sums, self.state, self.static, self.constants, self.settings, self.thresholds)
        self.state, self.thresholds = (result["membrane"], result["count"]), result["thresholds"]
        if beat["commit"]:
            self.static = result["static"]
        return result


@given(st.sampled_from(sorted(KINDS)), thresholds, st.sampled_from([1, 2, 4, 8]), st.integers(8, 24), st.data())
def test_rate_steps_follow_the_contract(kind: str, threshold: int, columns: int, width: int, data: Any) -> None:
    low, high, part = KINDS[kind]
    negative = max(-int(-part * threshold // 1) - 1, 0)
    bias = data.draw(st.integers(-2 * threshold, 2 * threshold))
    initial = threshold >> 1
    unit = Unit(
        Neuron(Parameters(columns=columns, membrane_bits=width)),
        {"threshold": threshold, "up": threshold, "down": -negative, "initial": initial, "bias": bias, "shift": 0},
        kind_settings(low, high),
    )
    unit.beat(LOAD, [0] * columns)
    limits = -(1 << (width - 1)), (1 << (width - 1)) - 1
    v, n = initial, 0
    for step in range(12):
        sums = data.draw(st.lists(st.integers(-3 * threshold, 3 * threshold), min_size=columns, max_size=columns))
        drain = step >= 8
        current = 0 if drain else bias + sums[step % columns]
        u = clamp(v + current, *limits)
        s = fire(u, n, threshold, negative, low, high)
        saturated = u != v + current
        v, n = u - s * threshold, n + s
        beat = STEP if drain else STEP | {"mask": 1 << step % columns, "constant": Constant.BIAS.value}
        result = unit.beat(beat, sums)
        assert (result["current"], result["before"], result["saturated"]) == (current, u, saturated)
        assert (result["spike"], result["membrane"], result["count"]) == (s, v, n)


@given(thresholds, st.integers(1, 2), st.integers(1, 8), st.booleans(), st.sampled_from([1, 2, 4, 8]), st.data())
def test_separated_neurons_follow_the_contract(
    threshold: int, base: int, steps: int, signed: bool, columns: int, data: Any
) -> None:
    """Accumulate in chunks of columns, then add bias and initial membrane, clamp once, then send."""
    up = threshold * base ** (steps - 1)
    bias = data.draw(st.integers(-2 * up, 2 * up))
    neuron = Neuron(Parameters(columns=columns, state_bits=40, accumulator_bits=24, membrane_bits=24))
    unit = Unit(
        neuron,
        {"threshold": threshold, "up": up, "down": threshold - up, "initial": threshold >> 1, "bias": bias, "shift": 0},
        {"negative": int(signed), "gated": 0, "capped": 0, "low": 0, "high": 0},
    )
    flows = data.draw(st.lists(st.integers(-2 * threshold, 2 * threshold), min_size=steps, max_size=steps))
    v = 0
    for flow in flows:
        v = base * v + flow
    v += bias * (steps if base == 1 else 1) + (threshold >> 1)
    v = clamp(v, -(1 << 23), (1 << 23) - 1)

    padded = [0] * (-steps % columns) + flows
    for chunk in range(0, len(padded), columns):
        beat = IDLE | {"mask": (1 << columns) - 1, "double": base - 1, "keep": int(chunk > 0)}
        unit.beat(beat, padded[chunk : chunk + columns])
    for _ in range(steps if base == 1 else 1):
        unit.beat(IDLE | {"keep": 1, "constant": Constant.BIAS.value}, [0] * columns)
    ended = unit.beat(IDLE | {"keep": 1, "constant": Constant.INITIAL.value, "clamp": 1}, [0] * columns)
    assert ended["membrane"] == v
    for step in range(steps):
        weighted = threshold * base ** (steps - 1 - step)
        digit = send(v, weighted, threshold, signed)
        v -= digit * weighted
        beat = STEP | {"restart": int(step == 0), "halve": int(base == 2 and step > 0)}
        result = unit.beat(beat, [0] * columns)
        assert (result["spike"], result["membrane"]) == (digit, v)


@given(st.lists(st.tuples(st.integers(-(2**20), 2**20), st.booleans()), min_size=1, max_size=3), st.integers(0, 30))
def test_static_currents_are_rounded_and_added_up(sums: list[tuple[int, bool]], shift: int) -> None:
    """Several static projections, of the input (shifted) or of a max-pool over it (not)."""
    bias = -77
    neuron = Neuron(Parameters(columns=1, state_bits=24, accumulator_bits=24))
    unit = Unit(
        neuron,
        {"threshold": 5, "up": 5, "down": 0, "initial": 2, "bias": bias, "shift": shift},
        kind_settings(NEVER, NEVER),
    )
    expected = bias
    for index, (total, shifted) in enumerate(sums):
        expected += (total + ((1 << shift) >> 1)) >> shift if shifted else total
        unit.beat(IDLE | {"mask": 1, "commit": 1, "again": int(index > 0), "shifted": int(shifted)}, [total])
    assert unit.static == expected
