"""Projections made ready to run: packed weights, fan-out for the counters, and bounds that prove int32 is enough."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from refsnn.errors import InputError
from refsnn.geometry import Shape, taps
from refsnn.kernels import KernelSet, Synapses
from refsnn.network import MaxPool, Network, Projection, Readout, Spiking
from refsnn.ranges import analyse
from refsnn.simulate.signals import spatial

LONGEST_DRAIN = 4096
"""A population that still fires after so many steps has no cap and a hopeless membrane."""


@dataclass(frozen=True, eq=False)
class Link:
    """A projection, made ready.

    Attributes:
        kernels: the kernel set.
        source, target: ``(C, H, W)`` of the populations.
        fan_out: ``(H, W) int64``: the synapses of one neuron of the source at each pixel.
        weight: the largest sum of the magnitudes of a target's weights, times the window of the sum-pool.
    """

    projection: Projection
    kernels: KernelSet
    source: Shape
    target: Shape
    fan_out: NDArray[np.int64]
    weight: int

    @cached_property
    def synapses(self) -> Synapses:
        """The packed weights, made when they are first needed: dense kernels have their own."""
        return self.kernels.connect(self.projection, self.source, self.target)


Links = dict[str, tuple[Link, ...]]
"""The projections that feed each population."""


def connect(network: Network, kernels: KernelSet) -> Links:
    """The projections of each population, made ready for a kernel set."""
    links: Links = {}
    for projection in network.projections:
        source, target = spatial(network[projection.source].shape), spatial(network[projection.target].shape)
        link = Link(
            projection,
            kernels,
            source,
            target,
            fan_out(projection, source, target),
            _heaviest(projection),
        )
        links[projection.target] = (*links.get(projection.target, ()), link)
    return links


def fan_out(projection: Projection, source: Shape, target: Shape) -> NDArray[np.int64]:
    """In-bounds synapses of one neuron at each pixel of the source, through the sum-pool: ``(H, W) int64``."""
    pool = projection.pool
    pooled = pool.output(source) if pool else source
    output = projection.output(source, target)
    lines = []
    for axis in (0, 1):
        if projection.kind == "dense":
            reached = np.ones(pooled[1 + axis], np.int64)
        else:
            kernel = 1 if projection.kind == "identity" else projection.weights.shape[2 + axis]
            reached = _reached(
                np.ones(output[1 + axis], np.int64),
                pooled[1 + axis],
                kernel,
                projection.stride[axis],
                projection.padding[2 * axis],
                projection.dilation[axis],
            )
        if pool:
            reached = _reached(reached, source[1 + axis], pool.kernel[axis], pool.stride[axis], pool.padding[2 * axis])
        lines.append(reached)
    if projection.kind == "dense":
        channels = int(np.prod(target))
    else:
        channels = 1 if projection.kind == "identity" else projection.weights.shape[0] // projection.groups
    synapses: NDArray[np.int64] = channels * np.outer(*lines)
    return synapses


def _reached(
    worth: NDArray[np.int64], size: int, kernel: int, stride: int, padding: int, dilation: int = 1
) -> NDArray[np.int64]:
    """Along one axis: the worth of the outputs of a sliding window, summed over those that read each input."""
    cells, inside = taps(size, len(worth), kernel, stride, padding, dilation)
    result = np.zeros(size, np.int64)
    np.add.at(result, cells[inside], np.broadcast_to(worth, cells.shape)[inside])
    return result


def input_operations(network: Network, links: Links) -> int:
    """In-bounds multiply-adds of projections from static sources, for one image."""
    total = 0
    for link in (link for group in links.values() for link in group):
        source = link.projection.source
        if network.is_static(source):
            total += network[source].shape[0] * int(link.fan_out.sum())
    return total


def largest_currents(network: Network, links: Links, steps: int) -> dict[str, int]:
    """By population, a bound of a step's current; with temporal separation of the accumulation.

    Raises:
        InputError: a current might not fit int32.
    """
    pixel = network.input.largest
    bounds = {}
    for population in network.populations:
        if not isinstance(population, Spiking | Readout):
            continue
        separated = population.schedule.separated
        static = int(np.abs(population.bias.astype(np.int64)).max(initial=0))
        moving = 0
        for link in links.get(population.name, ()):
            source = link.projection.source
            if network.is_static(source):
                sums = link.weight * pixel
                if sums >= 2**31:  # in front of the shift, of which the range analysis does not speak
                    raise InputError(
                        f"projection '{link.projection.label}': its sums need {sums.bit_length() + 1} bits, "
                        "32 are there; use fewer weight bits"
                    )
                static += sums
            else:
                moving += link.weight * (_largest_code(network, source, steps) if separated else 1)
        times = steps if separated and population.schedule.base == 1 else 1
        bounds[population.name] = moving + times * static
    if max(bounds.values()) >= 2**31:
        analyse(network, steps)  # looks closer: proves that the sums fit, or refuses
        bounds = {name: min(bound, 2**31) for name, bound in bounds.items()}
    return bounds


def _largest_code(network: Network, name: str, steps: int) -> int:
    """The largest sum of a population's events, weighted in base 2."""
    population = network[name]
    if isinstance(population, MaxPool):
        return _largest_code(network, population.source, steps)
    if population.schedule.separated:
        return population.schedule.levels(steps)
    return steps + (network.drain if network.drain >= 0 else 2 * LONGEST_DRAIN)


def _heaviest(projection: Projection) -> int:
    weights = projection.weights
    magnitudes = np.abs(weights, dtype=np.int16 if weights.dtype == np.int8 else np.int64)
    if projection.kind != "identity":
        magnitudes = magnitudes.reshape(len(weights), -1).sum(axis=1, dtype=np.int64)
    window = int(np.prod(projection.pool.kernel)) if projection.pool else 1
    return int(magnitudes.max(initial=0)) * window
