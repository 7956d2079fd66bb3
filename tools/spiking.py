"""An integer spiking network as a PyTorch module: forward it is the integers, backward it has gradients.

The parameters are real weights, biases and thresholds. Each forward pass rounds them by the rules of the conversion
(``refsnn.convert.quantise``) and answers with its neurons (``refsnn.convert.response``), so that what comes out is what
the simulator makes of the network that these parameters convert to, bit for bit as long as sums stay below 2^24, which
single precision holds. Backward, rounding is passed over (Bengio et al., "Estimating or propagating gradients through
stochastic neurons for conditional computation", 2013), and a neuron's net count follows its summed current as the
clipped linear function does that it approximates: with slope 1 / threshold between the smallest and the largest count,
else 0. A threshold thereby learns as a step size does in Esser et al., "Learned step size quantization", ICLR 2020.
Gradients go through the counts alone, so a rate code costs
no more there than one step.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

from refsnn.ann.graph import Preprocessing
from refsnn.convert import Fitted, Settings
from refsnn.convert.lower import RealPopulation, Term
from refsnn.convert.quantise import Integers, Quantiser, Scales, quantise, term_rows
from refsnn.convert.response import Response
from refsnn.geometry import Padding
from refsnn.network import Input, Readout, Spiking


class SpikingNetwork(nn.Module):
    """A network that was fitted for a method and a T.

    Args:
        fitted: of ``refsnn.convert.fit``.
        settings: its settings.
        steps: its T.
        preprocessing: from pixel bytes to real inputs.

    Attributes:
        learned: by population: ``bias``, ``theta`` of a firing one, and ``weights_i`` of its i-th term.
    """

    def __init__(self, fitted: Fitted, settings: Settings, steps: int, preprocessing: Preprocessing) -> None:
        super().__init__()
        self.fitted, self.settings, self.steps, self.preprocessing = fitted, settings, steps, preprocessing
        self.learned = nn.ModuleList()
        for population in fitted.populations:
            values = {f"weights_{i}": term.weights for i, term in enumerate(population.terms)}
            if population.kind not in ("input", "max_pool"):
                values["bias"] = population.bias
            if population.name in fitted.theta:
                values["theta"] = fitted.theta[population.name]
            self.learned.append(
                nn.ParameterDict({n: nn.Parameter(torch.tensor(v, dtype=torch.float32)) for n, v in values.items()})
            )

    def refitted(self) -> Fitted:
        """What the parameters are now, and its integers."""
        pairs = list(zip(self.fitted.populations, self.learned, strict=True))
        populations = tuple(_present(population, learned) for population, learned in pairs)
        theta = {p.name: _array(learned.get_parameter("theta")) for p, learned in pairs if p.name in self.fitted.theta}
        quantised = quantise(populations, theta, self.settings, self.steps, self.preprocessing)
        return replace(self.fitted, populations=populations, theta=theta, quantised=quantised)

    def forward(self, images: Tensor) -> Tensor:
        """The logits ``(N, *readout shape) float32`` in the ANN's unit, of images ``(N, C, H, W) uint8``."""
        way = _Pass(self.settings, self.steps, self.preprocessing)
        for population, learned in zip(self.fitted.populations, self.learned, strict=True):
            match population.kind:
                case "input":
                    way.input(population, images)
                case "max_pool":
                    way.max_pool(population)
                case "readout":
                    return way.readout(_present(population, learned), learned)
                case _:
                    way.firing(_present(population, learned), learned)
        raise AssertionError("a network ends in a readout")


class _Pass:
    """One forward pass.

    Attributes:
        quantiser: the integers so far.
        amplitudes: by population ``(C,)``: the real value of one event.
        events: by population ``(length, N, *shape)``: what is sent, or its codes; of static ones their values. Without
            gradients.
        counts: by population ``(N, *shape)``: the sums of all events, with the gradients.
    """

    def __init__(self, settings: Settings, steps: int, preprocessing: Preprocessing) -> None:
        self.settings, self.steps = settings, steps
        self.quantiser = Quantiser(settings, steps, preprocessing)
        self.amplitudes: dict[str, Tensor] = {}
        self.events: dict[str, Tensor] = {}
        self.counts: dict[str, Tensor] = {}

    def input(self, population: RealPopulation, images: Tensor) -> None:
        self.quantiser.add(population)
        source = self.quantiser.result.populations[-1]
        assert isinstance(source, Input)
        table = torch.tensor(source.table, dtype=torch.float32)
        channel = torch.arange(len(table)).reshape(-1, *(1,) * (images.ndim - 2))
        values = table[channel, images.int()]
        if values.ndim == 4:
            values = values.contiguous(memory_format=torch.channels_last)
        self.counts[population.name], self.events[population.name] = values, values[None]
        self.amplitudes[population.name] = _tensor(self.quantiser.amplitude[population.name])

    def max_pool(self, population: RealPopulation) -> None:
        self.quantiser.add(population)
        sums = self.events[population.source].cumsum(0)
        pooled = _max_pooled(population, sums.flatten(0, 1))
        pooled = pooled.reshape(*sums.shape[:2], *pooled.shape[1:])
        self.events[population.name] = pooled.diff(dim=0, prepend=torch.zeros_like(pooled[:1]))
        self.counts[population.name] = _max_pooled(population, self.counts[population.source])
        self.amplitudes[population.name] = self.amplitudes[population.source]

    def firing(self, population: RealPopulation, learned: Any) -> None:
        theta = learned["theta"]
        scales = self.quantiser.scales(population, _array(theta))
        integers = self.quantiser.rounded(population, scales)
        self.quantiser.spiking(population, scales, integers)
        made = self.quantiser.result.populations[-1]
        assert isinstance(made, Spiking)
        # The unit goes with theta; the integer threshold, the ratio of both, is a constant.
        unit = _tensor(scales.unit) * theta / torch.where(theta == 0, 1.0, theta.detach())
        response = Response.of(self.settings, self.steps, signed=population.kind == "signed")
        weights = self._weights(population, learned, scales, unit, integers)
        current = self._currents(population, scales, weights, self.counts, response.times)
        bias = _constant(learned, unit, made.bias)
        if response.exact:
            currents = current.detach()[None]
        else:
            with torch.no_grad():
                steps = [
                    self._currents(population, scales, weights, each, int(step < self.steps))
                    for step, each in enumerate(self._steps(response.length))
                ]
                currents = torch.stack(steps)
        initial = made.initial_membrane.astype(np.float64)
        events = _respond(response, currents, bias.detach(), scales.threshold, initial)
        self.amplitudes[population.name] = _tensor(made.threshold) * unit
        self.events[population.name] = events

        size = population.shape[1:]
        membrane = current + response.times * _by_channel(bias, size) + _by_channel(_tensor(initial), size)
        most = response.levels if response.exact else min(response.levels, self.steps)
        clipped = (membrane / _by_channel(_tensor(scales.threshold), size)).clamp(
            -most if response.low < 0 else 0, most + 1
        )
        self.counts[population.name] = _take(clipped, events.sum(0))

    def readout(self, population: RealPopulation, learned: Any) -> Tensor:
        scales = self.quantiser.readout_scales(population)
        integers = self.quantiser.rounded(population, scales)
        self.quantiser.readout(population, scales, integers)
        made = self.quantiser.result.populations[-1]
        assert isinstance(made, Readout)
        unit = _tensor(scales.unit)
        response = Response.of(self.settings, self.steps, signed=False)
        weights = self._weights(population, learned, scales, unit, integers)
        current = self._currents(population, scales, weights, self.counts, response.times)
        return (current + response.times * _constant(learned, unit, made.bias)) * (made.unit / response.times)

    def _weights(
        self, population: RealPopulation, learned: Any, scales: Scales, unit: Tensor, integers: list[Integers]
    ) -> list[Tensor]:
        """The integer weights of every term."""
        result = []
        for index, (term, whole) in enumerate(zip(population.terms, integers, strict=True)):
            real = learned[f"weights_{index}"] * _by_column(term, self.amplitudes[term.source])
            factor = self._divisor(population, term, scales) * _inverse(unit)[term_rows(term, population)]
            result.append(_take(real * factor.reshape(-1, *(1,) * (real.ndim - 1)), _tensor(whole)))
        return result

    def _divisor(self, population: RealPopulation, term: Term, scales: Scales) -> Tensor:
        """``(rows,)``: two to the power of the shift."""
        return _tensor(2.0 ** (scales.shift[term_rows(term, population)] * self.quantiser.has_shift(term)))

    def _steps(self, length: int) -> Iterator[dict[str, Tensor]]:
        """What every population sends in each step; static ones always the same."""
        for step in range(length):
            yield {name: sent[0] if name in self.quantiser.static else sent[step] for name, sent in self.events.items()}

    def _currents(
        self,
        population: RealPopulation,
        scales: Scales,
        weights: list[Tensor],
        events: dict[str, Tensor],
        times: int,
    ) -> Tensor:
        """``(N, *shape)``: what the terms add to the membranes, the bias left out.

        Args:
            population, scales, weights: whose.
            events: by source ``(N, *shape)``: of one step or of all.
            times: how often static sources count.
        """
        result = torch.zeros(1)
        for term, each in zip(population.terms, weights, strict=True):
            added = _synapses(term, each, events[term.source])
            if self.quantiser.has_shift(term):
                divisor = _by_channel(self._divisor(population, term, scales), added.shape[2:])
                added = _take(added / divisor, torch.floor((added + torch.floor(divisor / 2)) / divisor))
            if term.source in self.quantiser.static:
                added = times * added
            if term.kind == "dense":
                added = added.reshape(-1, *population.shape)
            elif added.shape[1] < population.shape[0]:
                before, after = term.channel, population.shape[0] - term.channel - added.shape[1]
                added = functional.pad(added, (0, 0) * (added.ndim - 2) + (before, after))
            result = result + added
        return result


class _Take(torch.autograd.Function):
    """The second argument, with the gradient of the first."""

    @staticmethod
    def forward(ctx: Any, real: Tensor, whole: Tensor) -> Tensor:
        return whole.view_as(whole)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None]:
        return gradients[0], None


def _take(real: Tensor, whole: Tensor) -> Tensor:
    taken: Tensor = _Take.apply(real, whole.detach())  # type: ignore[no-untyped-call]  # PyTorch's
    return taken


def _respond(
    response: Response,
    currents: Tensor,
    bias: Tensor,
    threshold: NDArray[np.int64],
    initial: NDArray[np.float64],
) -> Tensor:
    """Events ``(length, N, *shape)`` of currents of that shape and a bias ``(C,)`` or ``shape``."""
    length, images, channels, *size = currents.shape
    added = bias if bias.ndim == 1 else bias.movedim(0, -1).expand(images, *size, channels).flatten(0, -2)
    sites = currents.movedim(2, -1).reshape(length, -1, channels)
    sent = response.events(sites.numpy(), added.double().numpy(), threshold, initial).astype(np.float32)
    return torch.from_numpy(sent).reshape(length, images, *size, channels).movedim(-1, 2)


def _max_pooled(population: RealPopulation, values: Tensor) -> Tensor:
    """Of ``(N, C, H, W)``."""
    pool = population.pool
    assert pool is not None
    padded = functional.pad(values, _sides(pool.padding), value=0.0 if pool.zero_padding else -torch.inf)
    return functional.max_pool2d(padded, pool.kernel, pool.stride)


def _synapses(term: Term, weights: Tensor, events: Tensor) -> Tensor:
    """``(N, rows, ...)``: a term's sums of events ``(N, *shape)``; rows are those of its weights."""
    if term.pool is not None:
        padded = functional.pad(events, _sides(term.pool.padding))
        events = functional.avg_pool2d(padded, term.pool.kernel, term.pool.stride, divisor_override=1)
    match term.kind:
        case "identity":
            if events.ndim == 4:
                events = events[:, :, :: term.stride[0], :: term.stride[1]]
            return _by_channel(weights, events.shape[2:]) * events
        case "dense":
            return events.flatten(1) @ weights.T
        case _:
            return functional.conv2d(
                functional.pad(events, _sides(term.padding)),
                weights,
                stride=term.stride,
                dilation=term.dilation,
                groups=term.groups,
            )


def _by_column(term: Term, amplitude: Tensor) -> Tensor:
    """The source's amplitude ``(C,)`` for each of a term's weights, as ``Quantiser.real`` has it."""
    if term.kind == "identity":
        return amplitude
    if term.kind == "dense":
        return amplitude.repeat_interleave(term.weights.shape[1] // len(amplitude))
    outputs = len(term.weights) // term.groups
    return amplitude.reshape(term.groups, -1).repeat_interleave(outputs, dim=0)[:, :, None, None]


def _constant(learned: Any, unit: Tensor, whole: NDArray[np.int32]) -> Tensor:
    """The bias in units of the membrane."""
    bias = learned["bias"]
    return _take(bias * _by_channel(_inverse(unit), bias.shape[1:]), _tensor(whole))


def _present(population: RealPopulation, learned: Any) -> RealPopulation:
    """A population with the present weights and bias."""
    if "bias" not in learned:
        return population
    terms = tuple(replace(term, weights=_array(learned[f"weights_{i}"])) for i, term in enumerate(population.terms))
    return replace(population, terms=terms, bias=_array(learned["bias"]))


def _by_channel(values: Tensor, size: Any) -> Tensor:
    """``(C,)`` beside maps of some size; what is a map already stays."""
    return values.reshape(-1, *(1,) * len(size)) if values.ndim == 1 else values


def _inverse(unit: Tensor) -> Tensor:
    """1 / unit, and 0 for silent channels."""
    return 1 / torch.where(unit == 0, torch.inf, unit)


def _sides(padding: Padding) -> tuple[int, int, int, int]:
    top, bottom, left, right = padding
    return left, right, top, bottom


def _array(parameter: Tensor) -> NDArray[np.float64]:
    values: NDArray[np.float64] = parameter.detach().numpy().astype(np.float64)
    return values


def _tensor(values: NDArray[Any]) -> Tensor:
    return torch.tensor(values, dtype=torch.float32)
