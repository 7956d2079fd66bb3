"""Layers on a machine against the simulator's records of the same network."""

from __future__ import annotations

import numpy as np

from hdl.execute import run_layer, traced
from hdl.layer import lower
from refsnn.errors import InputError
from refsnn.network import Input, Readout, Spiking
from refsnn.simulate import simulate


class Records:
    """A ``refsnn.simulate.Recorder`` that keeps everything."""

    def __init__(self):
        self.activity = {}

    def wants(self, image):
        return True

    def record(self, steps, image, population, activity):
        self.activity[image, population] = activity


class Reference:
    """What the simulator says of a network: events by population, membranes."""

    def __init__(self, network, images, steps):
        records = Records()
        result = simulate(network, images, steps, record=records, threads=1)
        self.network, self.steps = network, steps
        self.drain = result.drain_steps[0]
        self.membranes = result.membranes[0]
        self.activity = records.activity

    def sources(self, image):
        """What populations send, as ``run_layer`` takes it."""
        return {
            name: activity.events[0] if self.network.is_static(name) else activity.events
            for (index, name), activity in self.activity.items()
            if index == image and activity.events is not None
        }

    def expected(self, layer, image):
        """What a layer must send: events ``(L, C, H, W)`` or membranes."""
        if isinstance(self.network[layer.population], Readout):
            return self.membranes[image].reshape(layer.shape)
        events = self.activity[image, layer.population].events
        if self.network.is_static(layer.population):
            return events[0].reshape(layer.shape)
        full = np.zeros((layer.columns.length, *layer.shape), np.int8)
        full[: len(events)] = events.reshape(-1, *layer.shape)
        return full


def graded(planes):
    """The values of bit-planes ``(planes, C, H, W)``, the first of them negative where it is the sign."""
    value = np.zeros(planes.shape[1:], np.int64)
    for plane in planes:
        value = 2 * value + plane
    return value


def check_trace(layer, machine, activity, population):
    """The membranes of every neuron in every step, not only what it sends."""
    names = {"before": activity.before, "spike": activity.events, "membrane": activity.membrane}
    if not population.schedule.separated:
        names |= {"current": activity.current, "count": activity.count}
    for job, beats in zip(layer.jobs, machine.traces[-len(layer.jobs) :], strict=True):
        maps = traced(layer, job, np.asarray(beats), machine.parameters)
        part = slice(job.channel, job.channel + job.fields["channels"])
        for name, values in names.items():
            expected = values.reshape(len(values), *layer.shape)[:, part]
            np.testing.assert_array_equal(maps[name][: len(expected)], expected, err_msg=f"{layer.population} {name}")


def compare(network, images, steps, machine, reference=None, most=10**9):
    """Run every layer on a machine, its sources as the simulator recorded them.

    Args:
        network, images, steps: what to run.
        machine: the core.
        reference: a ``Reference`` of the same, if there is one already.
        most: layers with more micro-operations are left out.

    Returns:
        The layers that ran, and the refusals of the others.
    """
    reference = reference or Reference(network, images, steps)
    ran, refused = [], []
    for population in network.populations:
        if isinstance(population, Input):
            continue
        try:
            layer = lower(network, population.name, steps, reference.drain, machine.parameters)
        except InputError as error:
            refused.append(str(error))
            continue
        if sum(job.operations for job in layer.jobs) > most:
            continue
        for image in range(len(images)):
            readout = isinstance(population, Readout)
            found = run_layer(machine, layer, reference.sources(image), readout=readout)
            if network.is_static(population.name):
                found = graded(found)
            np.testing.assert_array_equal(found, reference.expected(layer, image), err_msg=population.name)
            if machine.parameters.trace and isinstance(population, Spiking):
                check_trace(layer, machine, reference.activity[image, population.name], population)
        ran.append(population.name)
    return ran, refused
