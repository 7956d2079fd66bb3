"""A core in Amaranth's own simulator: slow, needs nothing else, and sees everything."""

from __future__ import annotations

import random
from typing import Any

import numpy as np
from amaranth.sim import Simulator

from hdl.core import Core
from hdl.execute import Words
from hdl.parameters import Parameters
from hdl.words import Parts


class Simulated:
    """A ``Machine`` in Amaranth's simulator.

    Args:
        parameters: of the core.
        stalls: how often, of 1, the sender pauses and the receiver is not ready, in any cycle.
        seed: of the stalls.

    Attributes:
        cycles: cycles that jobs have run; active: of these, cycles in which the lanes were given a tap; dropped: silent
            rows that were skipped.
        traces: if the core has a trace, for each job a list of its beats, ``(C, 6)`` each: current, before, spike (-1,
            0, 1), membrane, count, saturated.
    """

    def __init__(self, parameters: Parameters, stalls: float = 0.0, seed: int = 0) -> None:
        self.parameters = parameters
        self.core = Core(parameters)
        self.stalls = stalls
        self.random = random.Random(seed)
        self.cycles = self.active = self.dropped = 0
        self.traces: list[list[list[tuple[int, ...]]]] = []

    def run(self, parts: Parts) -> Words:
        """Load the parts and collect the words of the job that they start."""
        core, stalls = self.core, self.stalls
        fields: list[tuple[int, ...]] = []
        data: list[int] = []
        trace: list[list[tuple[int, ...]]] = []
        done = False

        async def send(context: Any) -> None:
            nonlocal done
            for target, last, address, value in parts.tolist():
                while self.random.random() < stalls:
                    await context.tick()
                context.set(core.load.payload, {"target": target, "last": last, "address": address, "data": value})
                context.set(core.load.valid, 1)
                await context.tick().until(core.load.ready)
                context.set(core.load.valid, 0)
            await context.tick().repeat(3)
            await context.tick().until(core.load.ready)
            done = True

        async def receive(context: Any) -> None:
            while True:
                context.set(core.words.ready, self.random.random() >= stalls)
                _, _, valid, ready, word = await context.tick().sample(
                    core.words.valid, core.words.ready, core.words.payload
                )
                if valid and ready:
                    fields.append((word.membrane, word.channel, word.row, word.group, word.index))
                    data.append(word.data)

        async def watch(context: Any) -> None:
            signals = [core.busy, core.active, core.dropped]
            if self.parameters.trace:
                signals += [core.trace.valid, core.trace.neurons]
            while True:
                _, _, busy, active, dropped, *traced = await context.tick().sample(*signals)
                self.cycles += busy
                self.active += active
                self.dropped += dropped
                if traced and traced[0]:
                    trace.append(
                        [
                            (n.current, n.before, (0, 1, 0, -1)[n.spike], n.membrane, n.count, n.saturated)
                            for n in traced[1]
                        ]
                    )

        simulator = Simulator(core)
        simulator.add_clock(1e-6)
        simulator.add_testbench(send)
        simulator.add_testbench(receive, background=True)
        simulator.add_testbench(watch, background=True)
        simulator.run()
        if self.parameters.trace:
            self.traces.append(trace)
        assert done
        width = len(core.words.payload.data)
        bits = np.array([[value >> bit & 1 for bit in range(width)] for value in data], np.uint8).reshape(-1, width)
        return Words(fields=np.array(fields, np.int64).reshape(-1, 5), data=bits)
