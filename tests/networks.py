"""Random small integer networks of every kind that the contract knows, as Hypothesis strategies."""

from __future__ import annotations

import numpy as np
from hypothesis import strategies as st

from refsnn.errors import InputError
from refsnn.geometry import window_output
from refsnn.network import (
    CAP_STEPS,
    NO_CAP,
    UNTIL_QUIET,
    Input,
    MaxPool,
    Network,
    Projection,
    Readout,
    Schedule,
    Spiking,
    SumPool,
)

RATE = Schedule()
SEPARATED = Schedule(separated=True)
BINARY = Schedule(separated=True, base=2)


class Builder:
    """Grows a network population by population; all numbers come from one generator, all choices from Hypothesis."""

    def __init__(self, draw, schedules, neurons, caps, lossless) -> None:
        self.draw = draw
        self.random = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
        self.schedules = schedules
        self.neurons = neurons
        self.caps = caps
        self.lossless = lossless
        self.populations = []
        self.projections = []

    def some(self, *options):
        return self.draw(st.sampled_from(options))

    def between(self, low, high):
        return self.draw(st.integers(low, high))

    def weights(self, *shape):
        if self.some(True, False, False):
            return self.random.choice(np.array([-127, 127], np.int8), shape)
        return self.random.integers(-127, 128, shape).astype(np.int8)

    def static(self, population):
        if isinstance(population, MaxPool):
            return self.static(next(p for p in self.populations if p.name == population.source))
        return isinstance(population, Input)

    def input(self):
        flat = self.some(True, False, False, False)
        shape = (self.between(1, 7),) if flat else (self.between(1, 4), self.between(2, 6), self.between(2, 6))
        low, high = self.some((0, 256), (-127, 128))
        table = self.random.integers(low, high, (shape[0], 256)).astype(np.int16)
        self.populations.append(Input(name="input", shape=shape, table=table, unit=1.0, schedule=self.schedules[0]))

    def pool(self, shape):
        """A sum-pool that fits a map, or None."""
        if len(shape) == 1 or not self.some(True, False, False):
            return None
        kernel = (self.between(1, min(3, shape[1])), self.between(1, min(3, shape[2])))
        padding = tuple(self.between(0, kernel[side // 2] - 1) for side in range(4))
        return SumPool(kernel=kernel, stride=(self.between(1, 2), self.between(1, 2)), padding=padding)

    def projection(self, source, kind, target=None, shape=None):
        """A projection from ``source``; to ``shape`` where given, else its own; returns it with what it makes."""
        pool = self.pool(source.shape)
        inside = pool.output(source.shape) if pool else source.shape
        channels = inside[0]
        extra = {"source": source.name, "target": target, "kind": kind, "pool": pool}
        if kind == "dense":
            shape = shape or self.some((self.between(1, 9),), (self.between(1, 5), 2, 3), (40,))
            extra["weights"] = self.weights(int(np.prod(shape)), int(np.prod(inside)))
        elif kind == "identity":
            stride = (1, 1) if len(inside) == 1 else (self.between(1, 2), self.between(1, 2))
            extra |= {"weights": self.random.integers(-3000, 3001, channels).astype(np.int32), "stride": stride}
            made = (channels, *(-(-size // step) for size, step in zip(inside[1:], stride, strict=False)))
            offset = self.some(0, 0, 2) if shape is None else self.between(0, max(shape[0] - channels, 0))
            extra["channel"] = offset
            shape = shape or (channels + offset, *made[1:])
        else:
            kernel = (1, 1) if len(inside) == 1 else (self.between(1, 3), self.between(1, 3))
            stride = (self.between(1, 2), self.between(1, 2))
            dilation = (self.between(1, 2), self.between(1, 2))
            padding = (0, 0, 0, 0) if len(inside) == 1 else tuple(self.between(0, 2) for _ in range(4))
            groups = self.draw(st.sampled_from([g for g in range(1, channels + 1) if channels % g == 0]))
            if groups == channels and self.some(True, False):
                outputs = channels * self.between(1, 2)
            else:
                outputs = groups * self.some(1, 2, 3, 35 // groups + 1)
            offset = 0
            if shape is not None:
                outputs = min(outputs, shape[0]) // groups * groups
                offset = self.between(0, shape[0] - outputs) if outputs else 0
            extra |= {
                "weights": self.weights(max(outputs, groups), channels // groups, *kernel),
                "stride": stride,
                "padding": padding,
                "dilation": dilation,
                "groups": groups,
                "channel": offset,
            }
            size = window_output(inside[1:], kernel, stride, padding, dilation) if len(inside) == 3 else ()
            shape = shape or (max(outputs, groups), *size)
        if self.static(source) and self.some(True, False):
            extra["shift"] = self.random.integers(0, 9, len(extra["weights"])).astype(np.int32)
        return Projection(**extra), shape

    def spiking(self, name, shape):
        number = shape[0]
        threshold = self.random.integers(1, self.some(8, 900, 1 << 14), number).astype(np.int32)
        half = self.lossless or self.some(True, False)
        negative = (
            self.random.integers(0, 300, number) if not self.lossless and self.some(True, False) else np.zeros(number)
        )
        bias_shape = shape if self.some(True, False, False) else shape[:1]
        bias = self.random.integers(-400, 401, bias_shape)
        schedule = self.some(*self.schedules)
        neuron = self.some(*self.neurons)
        cap = self.some(*self.caps)
        return Spiking(
            name=name,
            shape=shape,
            neuron=neuron,
            threshold=threshold,
            negative_threshold=negative.astype(np.int32),
            initial_membrane=(threshold >> 1) if half else self.random.integers(-99, 100, number).astype(np.int32),
            bias=bias.astype(np.int32),
            cap=cap,
            unit=np.ones(number),
            schedule=schedule,
        )

    def max_pool(self, name):
        maps = [p for p in self.populations if len(p.shape) == 3]
        if not maps:
            return
        source = self.some(*maps)
        kernel = (self.between(1, min(3, source.shape[1])), self.between(1, min(3, source.shape[2])))
        padding = tuple(self.between(0, kernel[side // 2] - 1) for side in range(4))
        stride = (self.between(1, 2), self.between(1, 2))
        self.populations.append(
            MaxPool(
                name=name,
                shape=(source.shape[0], *window_output(source.shape[1:], kernel, stride, padding)),
                source=source.name,
                kernel=kernel,
                stride=stride,
                padding=padding,
                zero_padding=self.some(True, False),
                schedule=self.schedules[0],
            )
        )

    def layer(self, name, make):
        """A population with one to three projections; ``make(name, shape)`` builds it."""
        first, shape = self.projection(
            self.some(*self.populations[-3:]), self.some("conv", "conv", "dense", "identity"), name
        )
        if int(np.prod(shape)) > 400 or min(shape) < 1:
            return False
        projections = [first]
        for _ in range(self.some(0, 0, 1, 2)):
            source = self.some(*self.populations)
            kind = self.some("conv", "dense", "identity")
            another, _ = self.projection(source, kind, name, shape)
            made = another.output(source.shape, shape)
            if made[1:] == shape[1:] and another.channel + made[0] <= shape[0]:
                projections.append(another)
        self.populations.append(make(name, shape))
        self.projections.extend(projections)
        return True

    def build(self, drains):
        self.input()
        for index in range(self.between(1, 4)):
            if self.some(True, False, False):
                self.max_pool(f"pool {index}")
            self.layer(f"layer {index}", self.spiking)

        def readout(name, shape):
            bias = self.random.integers(-500, 500, self.some(shape, shape[:1])).astype(np.int32)
            return Readout(name=name, shape=shape, bias=bias, unit=0.25, schedule=self.some(*self.schedules))

        while not self.layer("readout", readout):
            pass
        return Network(
            populations=tuple(self.populations),
            projections=tuple(self.projections),
            membrane_bits=32 if self.lossless else self.some(8, 12, 16, 20, 31, 32),
            drain=self.draw(st.sampled_from(drains)),
        )


@st.composite
def networks(draw, schedules=(RATE,), drains=(0,), neurons=("if", "dual", "signed"), lossless=False):
    """A random network: its populations' schedules are drawn from ``schedules``, all of one base.

    ``lossless``: half membranes, caps of T, no negative threshold and 32-bit membranes, as the theorems ask for.
    """
    caps = (CAP_STEPS,) if lossless else (CAP_STEPS, 1, 3)
    if not lossless and UNTIL_QUIET not in drains:  # without a cap a wild network takes thousands of steps to be quiet
        caps = (*caps, NO_CAP)
    try:
        return Builder(draw, schedules, neurons, caps, lossless).build(drains)
    except InputError as error:
        raise AssertionError(f"the strategy made an impossible network: {error}") from error
