"""The neurons of C channels with their memories: what the lanes left, membranes, static currents, constants."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

from amaranth.hdl import Array as Choice
from amaranth.hdl import Cat, Module, Mux, Signal, Value, signed, unsigned
from amaranth.lib import data
from amaranth.lib.wiring import Component, In, Out

from hdl.delay import later
from hdl.neuron import (
    Neuron,
    beat_layout,
    constants_layout,
    neuron_latency,
    settings_layout,
    state_layout,
    trace_layout,
)
from hdl.parameters import Parameters
from hdl.ram import ram, registered
from hdl.register import copy
from hdl.tables import address_bits, write_layout

SMALL = {"generic": "distributed", "ecp5": "distributed", "ice40": "logic"}
"""How synthesis is to make small memories: an iCE40 has no memory but block RAM."""

HALVES = 2
"""Tiles that the lanes may have left: one is read while the next one is written."""

SHARERS = 4
"""Channels that share a register on the way to a register of their own."""


def latency(parameters: Parameters) -> int:
    """Cycles from a beat to its results: a neuron's, and two for the copies of what all channels listen to."""
    return neuron_latency(parameters) + 2


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
        store: In, ``sums_layout``: at any time, into a half that no beat names now or named in the cycle before.
        beat: In, ``beat_layout``: for the neurons of the pixel ``place``; sums from ``half``.
        place: In, 0 .. R * P - 1, row by row. half: In(1).
        settings: In, ``settings_layout``.
        spikes: Out, C times 2 bits, ``latency`` cycles after the beat: bit 0 a spike, bit 1 a negative one.
        membranes: Out, C times signed(X): of the pixel that ``place`` named three cycles ago.
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
        rows, channels, columns = parameters.rows, parameters.channels, parameters.columns
        width = parameters.accumulator_bits

        def small(name: str, shape: Any, depth: int) -> tuple[Any, Any]:
            """The ports of a few words: better in logic cells than in block RAM."""
            m.submodules[name] = made = ram(shape, max(depth, 2), ram_style=SMALL[parameters.device])
            return made.read_port(), made.write_port()

        # What all channels listen to has a register for each: wires, not memories, limit the clock. It takes two steps
        # to get there.
        own = partial(copy, m, device=parameters.device, reset=True)

        def near(value: Any, name: str) -> list[Any]:
            """For each channel a register that it shares with its neighbours."""
            shared = [own(Value.cast(value), name=f"{name}_near_{first}") for first in range(0, channels, SHARERS)]
            return [shared[channel // SHARERS] for channel in range(channels)]

        # ``place`` counts row by row; the lanes left all rows of a pixel in one word.
        store, pixel_bits = self.store, (parameters.pixels - 1).bit_length()
        sums = later(m, store.sums, store.sums.shape(), "sums")
        places, halves = near(self.place, "place"), near(self.half, "half")
        ended = near(later(m, self.place, self.place.shape(), "place", self.latency - 2), "end")
        beats, settings = near(later(m, self.beat, self.beat.shape(), "beat"), "beat"), near(self.settings, "settings")

        # Constants come from their table one channel a cycle, and move up.
        m.submodules.constants = table = ram(constants_layout(parameters), parameters.neurons)
        write, read = table.write_port(), table.read_port()
        m.d.comb += [write.en.eq(self.write.enable), write.addr.eq(self.write.address), write.data.eq(self.write.data)]
        constants = Signal(data.ArrayLayout(constants_layout(parameters), channels))
        remaining = Signal(range(channels + 3))
        found = registered(m, read, constants_layout(parameters), "found", 2).as_value()
        there = (remaining > 1) & (remaining <= channels + 1)
        shifting = later(m, there, 1, "shifting")
        m.d.comb += self.loaded.eq(later(m, remaining == 2, 1, "loaded", 2))
        m.d.sync += read.addr.eq(Mux(self.load, self.first, read.addr + 1))
        with m.If(self.load):
            m.d.sync += remaining.eq(channels + 2)
        with m.Elif(remaining != 0):
            m.d.sync += remaining.eq(remaining - 1)
        for channel in range(channels):
            with m.If(own(shifting, name=f"shifting_{channel}")):
                following = constants[channel + 1].as_value() if channel + 1 < channels else found
                m.d.sync += constants[channel].as_value().eq(following)

        for channel in range(channels):
            m.submodules[f"neuron_{channel}"] = neuron = self.neurons[channel]
            read_left, write_left = small(
                f"left_{channel}", unsigned(rows * columns * width), HALVES * parameters.pixels
            )
            read_state, write_state = small(f"states_{channel}", state_layout(parameters), parameters.places)
            read_static, write_static = small(f"statics_{channel}", signed(parameters.state_bits), parameters.places)
            of_rows = [sums[(r * channels + channel) * columns + j] for r in range(rows) for j in range(columns)]
            place, end = own(places[channel], name=f"place_{channel}"), own(ended[channel], name=f"end_{channel}")
            m.d.comb += [
                Cat(write_left.addr, write_left.en).eq(
                    own(Cat(store.slot[:pixel_bits], store.half, store.enable), name=f"store_{channel}")
                ),
                write_left.data.eq(Cat(of_rows)),
                read_left.addr.eq(own(Cat(places[channel][:pixel_bits], halves[channel]), name=f"pixel_{channel}")),
                read_state.addr.eq(place),
                read_static.addr.eq(place),
                neuron.beat.eq(beats[channel]),
                neuron.state.eq(read_state.data),
                neuron.static.eq(read_static.data),
                neuron.constants.eq(constants[channel]),
                neuron.settings.eq(settings[channel]),
                write_state.en.eq(neuron.stored),
                write_state.addr.eq(end),
                write_state.data.eq(neuron.after),
                write_static.en.eq(neuron.committed),
                write_static.addr.eq(later(m, end, end.shape(), f"committed_{channel}")),
                write_static.data.eq(neuron.current),
                self.spikes[channel].eq(neuron.spike & neuron.fired.replicate(2)),
                self.membranes[channel].eq(read_state.data.membrane),
            ]
            row = own(place[pixel_bits:], name=f"row_{channel}") if rows > 1 else None
            for j in range(columns):
                parts = [read_left.data[(r * columns + j) * width :][:width].as_signed() for r in range(rows)]
                m.d.comb += neuron.sums[j].eq(Choice(parts)[row] if rows > 1 else parts[0])
            if parameters.trace:
                m.d.comb += self.trace[channel].eq(neuron.trace)
        return m
