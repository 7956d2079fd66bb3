"""The neurons of C channels with their memories: what the lanes left, membranes, static currents, constants."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from amaranth.hdl import Array as Choice
from amaranth.hdl import Cat, Module, Signal, signed, unsigned
from amaranth.lib import data, memory
from amaranth.lib.wiring import Component, In, Out

from hdl.delay import later
from hdl.neuron import (
    Neuron,
    beat_layout,
    constants_layout,
    latency,
    settings_layout,
    state_layout,
    trace_layout,
)
from hdl.parameters import Parameters
from hdl.ram import ram
from hdl.tables import address_bits, write_layout

SMALL = {"generic": "distributed", "ecp5": "distributed", "ice40": "logic"}
"""How synthesis is to make small memories: an iCE40 has no memory but block RAM."""

HALVES = 2
"""Tiles that the lanes may have left: one is read while the next one is written."""


def sums_layout(parameters: Parameters) -> data.StructLayout:
    """One pixel of every chain of lanes: R * C * J sums, as the lanes put them out."""
    sums = parameters.rows * parameters.channels * parameters.columns
    return data.StructLayout(
        {
            "enable": 1,
            "half": unsigned(1),
            "slot": unsigned(address_bits(parameters.pixels)),
            "sums": data.ArrayLayout(signed(parameters.accumulator_bits), sums),
        }
    )


class NeuronBank(Component):
    """C neurons, and the memories of the R * P pixels that they serve in turn.

    Ports:
        store: In, ``sums_layout``: at any time, into the half that is not read.
        beat: In, ``beat_layout``: for the neurons of the pixel ``place``; sums from ``half``.
        place: In, 0 .. R * P - 1, row by row. half: In(1).
        settings: In, ``settings_layout``.
        spikes: Out, C times 2 bits, ``latency`` cycles after the beat: bit 0 a spike, bit 1 a negative one.
        membranes: Out, C times signed(X): of the pixel that ``place`` named a cycle ago.
        load: In(1): a pulse: take the constants of C channels from address ``first`` on; ``loaded``: Out(1): done,
            C + 3 cycles later; beats may enter from the next cycle on.
        write: In, ``write_layout``: the table of constants.
        trace: Out, C times ``trace_layout``, if the parameters ask for it: with ``spikes``.
    """

    def __init__(self, parameters: Parameters) -> None:
        self.parameters = parameters
        self.latency = latency(parameters)
        channels = parameters.channels
        self.neurons = [Neuron(parameters) for _ in range(channels)]
        ports: dict[str, Any] = {
            "store": In(sums_layout(parameters)),
            "beat": In(beat_layout(parameters)),
            "place": In(unsigned(address_bits(parameters.places))),
            "half": In(1),
            "settings": In(settings_layout(parameters)),
            "spikes": Out(data.ArrayLayout(2, channels)),
            "membranes": Out(data.ArrayLayout(signed(parameters.state_bits), channels)),
            "load": In(1),
            "first": In(unsigned(address_bits(parameters.neurons))),
            "loaded": Out(1),
            "write": In(write_layout(parameters.neurons, constants_layout(parameters).size)),
        }
        if parameters.trace:
            ports["trace"] = Out(data.ArrayLayout(trace_layout(parameters), channels))
        super().__init__(ports)

    def model(
        self,
        beats: Sequence[tuple[int, Mapping[str, int], Sequence[Sequence[int]]]],
        constants: Sequence[Mapping[str, int]],
        settings: Mapping[str, int],
    ) -> list[list[dict[str, Any]]]:
        """Beats in plain integers.

        Args:
            beats: place, fields of ``beat_layout``, and for each channel the sums of its J columns. The first beat of a
                place keeps nothing and recounts; what it commits is not ``again``.
            constants: fields of ``constants_layout`` for each channel.
            settings: fields of ``settings_layout``.

        Returns:
            for every beat and channel what ``Neuron.model`` says.
        """
        channels = range(self.parameters.channels)
        neuron = self.neurons[0]
        thresholds = [(0, 0) for _ in channels]
        states: dict[tuple[int, int], tuple[int, int]] = {}
        statics: dict[tuple[int, int], int] = {}
        result = []
        for place, beat, sums in beats:
            each = []
            for c in channels:
                state, static = states.get((place, c), (0, 0)), statics.get((place, c), 0)
                found = neuron.model(beat, sums[c], state, static, constants[c], settings, thresholds[c])
                thresholds[c] = found["thresholds"]
                states[place, c] = found["membrane"], found["count"]
                if beat["commit"]:
                    statics[place, c] = found["static"]
                each.append(found)
            result.append(each)
        return result

    def elaborate(self, platform: Any) -> Module:
        m = Module()
        parameters = self.parameters
        rows, channels, columns, places = parameters.rows, parameters.channels, parameters.columns, parameters.places
        width = parameters.accumulator_bits

        def small(name: str, shape: Any, depth: int) -> memory.Memory:
            """A few wide words: better in logic cells than in block RAM."""
            made = ram(shape, max(depth, 2), ram_style=SMALL[parameters.device])
            m.submodules[name] = made
            return made

        left = small("left", unsigned(self.store.sums.as_value().shape().width), HALVES * parameters.pixels)
        states = small("states", data.ArrayLayout(state_layout(parameters), channels), places)
        statics = small("statics", data.ArrayLayout(signed(parameters.state_bits), channels), places)
        write_left, read_left = left.write_port(), left.read_port()
        write_state, read_state = states.write_port(), states.read_port()
        write_static, read_static = statics.write_port(), statics.read_port()

        # ``place`` counts row by row; the lanes left all rows of a pixel in one word.
        pixel = self.place % parameters.pixels if rows > 1 else self.place
        row = Signal(range(max(rows, 2)))
        m.d.sync += row.eq(self.place // parameters.pixels)
        m.d.comb += [
            write_left.en.eq(self.store.enable),
            write_left.addr.eq(self.store.slot + parameters.pixels * self.store.half),
            write_left.data.eq(self.store.sums.as_value()),
            read_left.addr.eq(pixel + parameters.pixels * self.half),
            read_state.addr.eq(self.place),
            read_static.addr.eq(self.place),
        ]
        places_late = [self.place]
        for cycle in range(self.latency + 1):
            late = Signal(self.place.shape(), name=f"place_{cycle + 1}")
            m.d.sync += late.eq(places_late[-1])
            places_late.append(late)

        # Constants come from their table one channel a cycle, and move up.
        m.submodules.constants = table = ram(constants_layout(parameters), parameters.neurons)
        write, read = table.write_port(), table.read_port()
        m.d.comb += [write.en.eq(self.write.enable), write.addr.eq(self.write.address), write.data.eq(self.write.data)]
        constants = Signal(data.ArrayLayout(constants_layout(parameters), channels))
        remaining, shifting = Signal(range(channels + 3)), Signal()
        found = later(m, read.data.as_value(), constants_layout(parameters).size, "found", 2)
        there = (remaining > 1) & (remaining <= channels + 1)
        m.d.comb += [
            shifting.eq(later(m, there, 1, "shifting", 2)),
            self.loaded.eq(later(m, remaining == 2, 1, "loaded", 2)),
        ]
        with m.If(self.load):
            m.d.sync += [remaining.eq(channels + 2), read.addr.eq(self.first)]
        with m.Elif(remaining != 0):
            m.d.sync += [remaining.eq(remaining - 1), read.addr.eq(read.addr + 1)]
        with m.If(shifting):
            m.d.sync += constants.as_value().eq(Cat(constants.as_value()[len(found) :], found))

        for channel in range(channels):
            m.submodules[f"neuron_{channel}"] = neuron = self.neurons[channel]
            m.d.comb += [
                neuron.beat.eq(self.beat),
                neuron.state.eq(read_state.data[channel]),
                neuron.static.eq(read_static.data[channel]),
                neuron.constants.eq(constants[channel]),
                neuron.settings.eq(self.settings),
                write_state.data[channel].eq(neuron.after),
                write_static.data[channel].eq(neuron.current),
                self.spikes[channel].eq(neuron.spike & neuron.fired.replicate(2)),
                self.membranes[channel].eq(read_state.data[channel].membrane),
            ]
            for j in range(columns):
                of_rows = [(r * channels + channel) * columns + j for r in range(rows)]
                sums = [read_left.data[at * width : (at + 1) * width].as_signed() for at in of_rows]
                m.d.comb += neuron.sums[j].eq(Choice(sums)[row] if rows > 1 else sums[0])
            if parameters.trace:
                m.d.comb += self.trace[channel].eq(neuron.trace)
        m.d.comb += [
            write_state.en.eq(neuron.stored),
            write_state.addr.eq(places_late[self.latency]),
            write_static.en.eq(neuron.committed),
            write_static.addr.eq(places_late[self.latency + 1]),
        ]
        return m
