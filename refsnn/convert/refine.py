"""Conversion that corrects itself: every layer in turn is fitted to what the layers before it really send.

For each population, in topological order, on unlabelled calibration images:

1. its weights are fitted by ridge regression so that, with the spikes that it really receives, it comes closest to the
   ANN's pre-activation; where that is negative only positive predictions count as errors, for the rectifier takes away
   the rest (``refit``);
2. a threshold for each channel is searched, with the least squared error of what the neurons answer, step by step, to
   the ANN's activation;
3. the weights are rounded with error feedback (``rounding``);
4. its bias, and by fractions of a step its initial membrane, are moved until each channel's mean is that of the ANN;
5. the integer population runs on all calibration images, and the next one sees its spikes.

Nothing needs labels or gradients, and the network that comes out is an ordinary one: only its numbers differ.

Sources: matched means are Nagel et al., "Data-free quantization through weight equalization and bias correction", ICCV
2019, section 4.2 (empirical variant); least squares that know of the rectifier are Zhang et al., "Accelerating very
deep convolutional networks", TPAMI 2016, section 3.2; calibration on spikes instead of activations is Li et al., "A
free lunch from ANN: towards efficient, accurate spiking neural networks calibration", ICML 2021. Departures: closed
forms throughout, and everything past the weights is measured on the integers.

Memory: the spikes and real activations of the populations that are still to be read, on all images (int8 a step or
code of up to 7 bits, float32), and the second moments of a layer's inputs (K x K float64; K = 9 * 512 takes 170 MB).
Past the regression nothing is kept but samples. Conversion is repeatable on one platform for any number of threads.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray
from threadpoolctl import threadpool_limits

from refsnn.ann.forward import evaluate
from refsnn.ann.graph import Array
from refsnn.convert.calibration import Calibration
from refsnn.convert.columns import Sites, columns, currents
from refsnn.convert.lower import RealPopulation, Term
from refsnn.convert.quantise import Integers, Quantised, Quantiser, Scales
from refsnn.convert.refit import Moments, Part, parts
from refsnn.convert.response import Response
from refsnn.convert.rounding import nearest, with_feedback
from refsnn.convert.settings import Settings
from refsnn.convert.thresholds import choose, is_learned
from refsnn.machine import processors
from refsnn.network import Input

Values = NDArray[Any]
Block = TypeVar("Block")
Result = TypeVar("Result")

FITTED = 1 << 16
"""Sites that a regression sees, about: spread over all images."""
ANSWERED = 1 << 22
"""Currents (sites, channels, steps) that thresholds and means are found on, at most."""
BLOCK = 1 << 22
"""Numbers in the columns of the sites worked on at a time."""
NEGATIVE_PASSES = 2
"""Solutions of the regression in which negative targets follow negative predictions."""
GRID = np.geomspace(0.2, 1.05, 32)
"""Candidates for theta, as fractions of the 99.99th percentile."""
SHRINKS = (1.0, 0.9, 0.8, 0.7, 0.6, 0.5)
"""Candidates for the largest weight that is not clipped, as fractions of the largest."""
MEAN_PASSES = 6
EXACT_FLOAT32 = 1 << 24


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class _Look:
    """Some sites of the images ``begin .. end``, counted from ``begin``, and the ANN's pre-activations there."""

    begin: int
    end: int
    sites: Sites
    target: Values


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class _Fit:
    """Weights ``(R, K)`` and constants ``(R,)`` of a part; ``scale`` and ``fixed`` are those of ``Moments.solve``."""

    weights: Array
    constant: Array
    scale: Array
    fixed: NDArray[np.bool_]

    def solved(self, moments: Moments) -> _Fit:
        weights, constant = moments.solve(self.weights, self.scale, self.fixed)
        return replace(self, weights=weights, constant=constant)


def refine(
    populations: tuple[RealPopulation, ...],
    settings: Settings,
    steps: int,
    calibration: Calibration,
) -> tuple[tuple[RealPopulation, ...], dict[str, Array], Quantised]:
    """The refined populations, theta ``(C,)`` of every firing one, and the integer network.

    Args:
        populations: from ``refsnn.convert.lower``.
        settings: the method.
        steps: the T that the network is made for.
        calibration: images and preprocessing.

    Raises:
        InputError: as ``refsnn.convert.thresholds.choose`` and ``refsnn.convert.quantise.quantise``.
    """
    refiner = Refiner(settings, steps, calibration)
    last = _last_readers(populations)
    for index, population in enumerate(populations):
        refiner.add(population)
        refiner.forget([name for name, reader in last.items() if reader <= index])
    return tuple(refiner.refined), refiner.theta, refiner.quantiser.result


def _last_readers(populations: tuple[RealPopulation, ...]) -> dict[str, int]:
    last = {p.name: i for i, p in enumerate(populations)}
    for index, population in enumerate(populations):
        for name in [*(term.source for term in population.terms), population.source]:
            if name:
                last[name] = index
    return last


class Refiner:
    """A refined conversion on its way through the populations.

    Attributes:
        refined: the populations so far.
        quantiser: holds the integer network so far.
        theta: ``(C,)`` of the firing populations.
        reals: by population, ``(N, *shape) float32``: the ANN's own values on the calibration images.
        events: by population, ``(N, length, *shape)``: what the integer population sends, or its codes; static values.
    """

    def __init__(self, settings: Settings, steps: int, calibration: Calibration) -> None:
        self.workers = calibration.threads or processors()
        self.settings = settings
        self.corrections = settings.corrections
        self.steps = steps
        self.calibration = calibration
        self.quantiser = Quantiser(settings, steps, calibration.preprocessing)
        self.refined: list[RealPopulation] = []
        self.theta: dict[str, Array] = {}
        self.reals: dict[str, Values] = {}
        self.events: dict[str, Values] = {}

    def forget(self, names: list[str]) -> None:
        """Let go of populations that nothing reads any more."""
        for name in names:
            self.reals.pop(name, None)
            self.events.pop(name, None)

    def add(self, population: RealPopulation) -> None:
        """Fit, quantise and run one population."""
        with threadpool_limits(1, "blas"):
            self._add(population)

    def _add(self, population: RealPopulation) -> None:
        match population.kind:
            case "input":
                self.quantiser.add(population)
                self.refined.append(population)
                source = self.quantiser.result.populations[-1]
                assert isinstance(source, Input)
                images = self.calibration.images
                channel = np.arange(len(source.table)).reshape(-1, *(1,) * (images.ndim - 2))
                real = self.calibration.preprocessing.table(len(source.table))
                self.reals[population.name] = real.astype(np.float32)[channel, images]
                self.events[population.name] = source.table[channel, images][:, np.newaxis]
            case "max_pool":
                self.quantiser.add(population)
                self.refined.append(population)
                self._max_pool(population)
            case _:
                self._integrating(population)

    def _max_pool(self, population: RealPopulation) -> None:
        assert population.pool is not None
        self.reals[population.name] = evaluate(population.pool, [self.reals[population.source]])
        sent = self.events[population.source]
        sums = np.cumsum(sent, axis=1, dtype=np.float64)  # a static source and codes have one step
        pooled = evaluate(population.pool, [sums.reshape(-1, *sums.shape[2:])])
        pooled = pooled.reshape(*sums.shape[:2], *pooled.shape[1:])
        self.events[population.name] = np.diff(pooled, axis=1, prepend=0).astype(sent.dtype)

    def _integrating(self, original: RealPopulation) -> None:
        looks = self._looks(original, FITTED)
        groups = parts(original)
        moments = self._moments(original, groups, looks)
        population = self._refit(original, groups, moments, looks)

        response = Response.of(self.settings, self.steps, signed=population.kind == "signed")
        sites = sum(len(look.sites) for look in looks)
        every = -(-sites * population.shape[0] * response.length // ANSWERED)
        thin = [replace(look, sites=look.sites.thinned(every), target=look.target[::every]) for look in looks]
        wanted = np.concatenate([look.target for look in thin])
        if population.kind == "readout":
            scales = self.quantiser.readout_scales(population)
        else:
            activity = _activity(population, wanted)
            theta = self._theta(population, response, thin, activity)
            self.theta[population.name] = theta
            scales = self._scales(population, theta, groups, moments)
        integers = self._integers(population, scales, groups, moments)
        sums = self._concatenated(thin, lambda look: self._currents(population, integers, look, response, scales))
        if population.kind == "readout":
            answer = sums.sum(axis=0) * (scales.unit / response.times)
            error = (wanted - answer - self._biases(population, thin)).mean(axis=0)
            population = _moved(population, error * ("means" in self.corrections))
            self.refined.append(population)
            self.quantiser.readout(population, scales, integers)
            return
        population, initial = self._matched(population, response, scales, thin, sums, activity)
        self.refined.append(population)
        self.quantiser.spiking(population, scales, integers, initial)
        self._run(population, original, response, scales, integers, initial)

    # What a population should be, and what it reads

    def _looks(self, population: RealPopulation, number: int) -> list[_Look]:
        """About ``number`` sites, spread over all images."""
        size = int(np.prod(population.shape[1:]))
        each = min(size, -(-number // len(self.calibration.images)))
        return list(self._each(self._spans(population, each), lambda images: self._look(population, images, each)))

    def _spans(self, population: RealPopulation, each: int) -> list[range]:
        """All images in blocks whose columns have a bounded size, with ``each`` sites an image."""
        images = len(self.calibration.images)
        widest = max([term.weights[0].size * term.groups for term in population.terms], default=1)
        size = max(1, BLOCK // (each * max(widest, population.shape[0])))
        return [range(begin, min(begin + size, images)) for begin in range(0, images, size)]

    def _look(self, population: RealPopulation, images: range, each: int) -> _Look:
        """``each`` sites of some images."""
        sites = Sites.spread(images, population.shape, each)
        target = np.broadcast_to(_bias(population, sites), (len(sites), population.shape[0])).astype(np.float32)
        for term in population.terms:
            values = self.reals[term.source][images.start : images.stop]
            target[:, _channels(term)] += currents(term, term.weights, values, sites, population.shape, np.float32)
        return _Look(begin=images.start, end=images.stop, sites=sites, target=target)

    def _each(self, blocks: list[Block], function: Callable[[Block], Result]) -> Iterator[Result]:
        """``function`` of every block, in order, a few at a time."""
        with ThreadPoolExecutor(self.workers) as pool:
            for begin in range(0, len(blocks), self.workers):
                yield from pool.map(function, blocks[begin : begin + self.workers])

    def _concatenated(self, looks: list[_Look], function: Callable[[_Look], Values]) -> Values:
        """Arrays ``(length, n, C)`` of every block, as one."""
        return np.concatenate(list(self._each(looks, function)), axis=1)

    def _summed(self, looks: list[_Look], function: Callable[[_Look], list[Values]]) -> list[Array]:
        """The float64 sums over all blocks, in their order."""
        total: list[Array] = []
        for found in self._each(looks, function):
            total = [a + b for a, b in zip(total or [np.zeros(1)] * len(found), found, strict=True)]
        return total

    def _sums(self, term: Term, look: _Look) -> Values:
        """What a source sends in all, ``(N, *shape)``: net counts, codes, or static values."""
        events = self.events[term.source][look.begin : look.end]
        return events[:, 0] if events.shape[1] == 1 else events.sum(axis=1, dtype=np.int32)

    def _amplitude(self, term: Term) -> Array:
        """``(C,)``: the real value of a net count of 1 of the source."""
        times = 1 if term.source in self.static or self.settings.schedule.base == 2 else self.steps
        return self.quantiser.amplitude[term.source] / times

    def _scale(self, term: Term) -> Array:
        """``(groups, K)``: the real value of a net count of 1, for each column of a conv or dense term."""
        amplitude = self._amplitude(term)
        if term.kind == "dense":
            return np.repeat(amplitude, term.weights.shape[1] // len(amplitude))[np.newaxis]
        return np.repeat(amplitude.reshape(term.groups, -1), term.weights[0, 0].size, axis=1)

    def _columns(self, population: RealPopulation, look: _Look) -> dict[int, Values]:
        """``(groups, n, K)`` of every conv or dense term: what the sites read, in net counts."""
        return {
            index: columns(term, self._sums(term, look).astype(np.float32), look.sites)
            for index, term in enumerate(population.terms)
            if term.kind != "identity"
        }

    def _beside(self, population: RealPopulation, look: _Look) -> Values:
        """``(n, C)``: the bias, and the identities of what is really sent."""
        result = _bias(population, look.sites) + np.zeros((len(look.sites), 1))
        for term in population.terms:
            if term.kind == "identity":
                weights = term.weights * self._amplitude(term)
                values = self._sums(term, look)
                result[:, _channels(term)] += currents(term, weights, values, look.sites, population.shape, np.float32)
        return result

    # Regression

    def _moments(self, population: RealPopulation, groups: tuple[Part, ...], looks: list[_Look]) -> list[Moments]:
        """Of every part, with the ANN's pre-activations as targets."""

        def block(look: _Look) -> list[Values]:
            read = self._columns(population, look)
            y = (look.target - self._beside(population, look)).astype(np.float32)
            result = []
            for part in groups:
                x, targets = part.read(read), y[:, part.channels]
                result += [x.sum(axis=0), x.T @ x, targets.sum(axis=0), x.T @ targets]
            return result

        found = iter(self._summed(looks, block))
        count = sum(len(look.sites) for look in looks)
        return [
            Moments(count=count, x=x, xx=xx, y=y, xy=xy)
            for x, xx, y, xy in zip(found, found, found, found, strict=True)
        ]

    def _followed(
        self,
        population: RealPopulation,
        groups: tuple[Part, ...],
        moments: list[Moments],
        fits: list[_Fit],
        looks: list[_Look],
    ) -> list[Moments]:
        """The moments where negative targets are replaced by the prediction, as far as that is negative."""

        def block(look: _Look) -> list[Values]:
            read = self._columns(population, look)
            beside = self._beside(population, look)
            result = []
            for part, fit in zip(groups, fits, strict=True):
                x, z, other = part.read(read), look.target[:, part.channels], beside[:, part.channels]
                predicted = x @ (fit.weights * fit.scale).T.astype(np.float32) + fit.constant
                y = np.where(z < 0, np.minimum(predicted, -other), z - other).astype(np.float32)
                result += [y.sum(axis=0), x.T @ y]
            return result

        found = iter(self._summed(looks, block))
        return [replace(m, y=y, xy=xy) for m, y, xy in zip(moments, found, found, strict=True)]

    def _refit(
        self, population: RealPopulation, groups: tuple[Part, ...], moments: list[Moments], looks: list[_Look]
    ) -> RealPopulation:
        """The population with weights and bias fitted; those from static sources, which are exact, stay."""
        if "weights" not in self.corrections or all(term.source in self.static for term in population.terms):
            return population
        weights = [term.weights.copy() for term in population.terms]
        scales = [self._scale(term) if term.kind != "identity" else np.ones((1, 1)) for term in population.terms]
        fits = []
        for part in groups:
            scale = np.concatenate([scales[piece.term][piece.group] for piece in part.pieces])
            static = [population.terms[piece.term].source in self.static for piece in part.pieces]
            sizes = [weights[piece.term][0].size for piece in part.pieces]
            fits.append(
                _Fit(
                    weights=part.gather(weights),
                    constant=np.zeros(len(part.channels)),
                    scale=scale,
                    fixed=np.repeat(static, sizes),
                )
            )
        originals = fits
        fits = [o.solved(m) for o, m in zip(originals, moments, strict=True)]
        for _ in range(NEGATIVE_PASSES if population.kind == "rectified" and groups else 0):
            followed = self._followed(population, groups, moments, fits, looks)
            fits = [o.solved(m) for o, m in zip(originals, followed, strict=True)]
        constant = np.zeros(population.shape[0])
        for part, fit in zip(groups, fits, strict=True):
            part.scatter(fit.weights, weights)
            constant[part.channels] = fit.constant
        terms = tuple(replace(term, weights=w) for term, w in zip(population.terms, weights, strict=True))
        return _moved(replace(population, terms=terms), constant)

    @property
    def static(self) -> set[str]:
        return self.quantiser.static

    # Thresholds, rounding, means

    def _theta(self, population: RealPopulation, response: Response, looks: list[_Look], activity: Values) -> Array:
        """``(C,)``: learned or by the rule asked for, else the least squared error of the answer."""
        if is_learned(population, self.settings) or self.settings.threshold not in ("auto", "mse"):
            return choose(population, self.settings, response.levels, self.calibration)
        weights = [self.quantiser.real(term) for term in population.terms]
        found = self._concatenated(looks, lambda look: self._currents(population, weights, look, response))
        constant = self._biases(population, looks)
        largest = np.percentile(np.abs(activity), 99.99, axis=0).astype(np.float64)
        safe = np.where(largest > 0, largest, 1.0)
        best, error = safe.copy(), np.full(len(safe), np.inf)
        for fraction in GRID:
            theta = fraction * safe
            threshold = theta / self.quantiser.divisor
            sent = response.counts(found, constant, threshold, response.initial * threshold)
            now = ((sent * (threshold / response.times) - activity) ** 2).sum(axis=0)
            better = now < error
            best[better], error[better] = theta[better], now[better]
        best[largest == 0] = 0.0
        activation = population.activation
        if activation is not None and activation.maximum is not None:
            best = np.minimum(best, activation.maximum)
        return best

    def _scales(
        self, population: RealPopulation, theta: Array, groups: tuple[Part, ...], moments: list[Moments]
    ) -> Scales:
        """Scales with the largest weights clipped where rounding the others more finely gains more."""
        best, error = np.ones(len(theta)), np.full(len(theta), np.inf)
        for shrink in SHRINKS if "rounding" in self.corrections else ():
            scales = self.quantiser.scales(population, theta, np.full(len(theta), shrink))
            scaled = self.quantiser.scaled(population, scales)
            now = np.zeros(len(theta))
            for part, found in zip(groups, moments, strict=True):
                weights, grid = self._on_grid(population, part, scales, scaled)
                difference = weights - nearest(weights, grid, self.quantiser.largest) * grid
                now[part.channels] = (difference**2 @ np.diag(found.covariance)) * scales.unit[part.channels] ** 2
            better = now < error
            best[better], error[better] = shrink, now[better]
        return self.quantiser.scales(population, theta, best)

    def _on_grid(
        self, population: RealPopulation, part: Part, scales: Scales, scaled: list[Array]
    ) -> tuple[Array, Array]:
        """``(R, K)`` each: weights in units of the membrane, and what an integer weight of 1 is there."""
        grids = [
            2.0 ** -scales.shift[part.channels] * self.quantiser.has_shift(population.terms[p.term])
            + (not self.quantiser.has_shift(population.terms[p.term]))
            for p in part.pieces
        ]
        grid = np.concatenate(
            [
                np.repeat(g[:, np.newaxis], population.terms[p.term].weights[0].size, axis=1)
                for g, p in zip(grids, part.pieces, strict=True)
            ],
            axis=1,
        )
        return part.gather(scaled) * grid, grid

    def _integers(
        self, population: RealPopulation, scales: Scales, groups: tuple[Part, ...], moments: list[Moments]
    ) -> list[Integers]:
        integers = self.quantiser.rounded(population, scales)
        if "rounding" not in self.corrections:
            return integers
        scaled = self.quantiser.scaled(population, scales)
        for part, found in zip(groups, moments, strict=True):
            weights, grid = self._on_grid(population, part, scales, scaled)
            part.scatter(with_feedback(weights, grid, self.quantiser.largest, found.covariance), integers)
        return integers

    def _biases(self, population: RealPopulation, looks: list[_Look]) -> Array:
        """The real biases ``(C,)``, or ``(n, C)`` at the sites."""
        if population.bias.ndim == 1:
            return population.bias
        return np.concatenate([_bias(population, look.sites) for look in looks])

    def _matched(
        self,
        population: RealPopulation,
        response: Response,
        scales: Scales,
        looks: list[_Look],
        sums: Values,
        activity: Values,
    ) -> tuple[RealPopulation, NDArray[np.int32]]:
        """The population with a bias that gives every channel the mean of ``activity``, and its initial membranes."""
        value = scales.threshold * scales.unit / response.times
        mean = activity.mean(axis=0, dtype=np.float64)
        best, least = population, np.full(len(mean), np.inf)
        kept = np.zeros(len(mean))
        moved = np.zeros(len(mean))
        for _ in range(MEAN_PASSES if "means" in self.corrections else 0):
            now = _moved(population, moved)
            bias, initial = self._constants(now, response, scales)
            constant = bias if bias.ndim == 1 else np.concatenate([look.sites.of(bias[np.newaxis]) for look in looks])
            sent = response.counts(sums, constant.astype(np.float64), scales.threshold, initial.astype(np.float64))
            error = mean - sent.mean(axis=0) * value
            better = np.abs(error) < least
            kept[better], least[better] = moved[better], np.abs(error)[better]
            moved = moved + error
        best = _moved(population, kept)
        return best, self._constants(best, response, scales)[1]

    def _constants(
        self, population: RealPopulation, response: Response, scales: Scales
    ) -> tuple[NDArray[np.int32], NDArray[np.int32]]:
        """The integer bias and initial membranes; these take what rounding the bias leaves, T times over."""
        bias = self.quantiser.bias(population, scales)
        initial = np.floor(response.initial * scales.threshold)
        if bias.ndim == 1 and response.times > 1:
            left = np.where(scales.unit > 0, population.bias / np.where(scales.unit > 0, scales.unit, 1.0) - bias, 0.0)
            initial = np.clip(initial + np.rint(response.times * left), 0, scales.threshold)
        return bias, initial.astype(np.int32)

    # Running

    def _currents(
        self,
        population: RealPopulation,
        weights: list[Any],
        look: _Look,
        response: Response,
        scales: Scales | None = None,
    ) -> Values:
        """The currents ``(length, n, C)`` at the sites, without the bias; with ``scales`` those of integer weights."""
        result = np.zeros((response.length, len(look.sites), population.shape[0]))
        for term, term_weights in zip(population.terms, weights, strict=True):
            events = self.events[term.source][look.begin : look.end]
            channels = _channels(term)
            dtype = np.float32 if scales is None or _bound(term, term_weights, events) < EXACT_FLOAT32 else np.float64
            if term.source not in self.static:
                for step in range(response.length):
                    result[step, :, channels] += currents(
                        term, term_weights, events[:, step], look.sites, population.shape, dtype
                    )
                continue
            added = currents(term, term_weights, events[:, 0], look.sites, population.shape, dtype)
            if scales is not None and self.quantiser.has_shift(term):
                shift = scales.shift[channels] if term.kind != "dense" else scales.shift
                added = (added.astype(np.int64) + ((1 << shift.astype(np.int64)) >> 1)) >> shift
            if response.exact:
                result[0, :, channels] += response.times * added
            else:
                result[: self.steps, :, channels] += added
        return result

    def _run(
        self,
        population: RealPopulation,
        original: RealPopulation,
        response: Response,
        scales: Scales,
        integers: list[Integers],
        initial: NDArray[np.int32],
    ) -> None:
        """Keep what the integer population sends, and the ANN's own values."""
        shape = population.shape
        images = len(self.calibration.images)
        kind = np.int8 if response.levels <= 127 or not response.exact else np.int32
        events = np.empty((images, response.length, *shape), kind)
        reals = np.empty((images, *shape), np.float32)
        bias = self.quantiser.bias(population, scales)
        each = int(np.prod(shape[1:]))

        def block(images: range) -> None:
            look = self._look(original, images, each)
            values = _activity(original, look.target)
            reals[look.begin : look.end] = look.sites.maps(values[np.newaxis], shape)[:, 0]
            found = self._currents(population, integers, look, response, scales)
            constant = bias if bias.ndim == 1 else look.sites.of(bias[np.newaxis])
            sent = response.events(found, constant.astype(np.float64), scales.threshold, initial.astype(np.float64))
            events[look.begin : look.end] = look.sites.maps(sent, shape)

        for _ in self._each(self._spans(population, each), block):
            pass
        self.events[population.name], self.reals[population.name] = events, reals


def _activity(population: RealPopulation, target: Values) -> Values:
    """What the ANN makes of its pre-activations."""
    return target if population.activation is None else evaluate(population.activation, [target])


def _channels(term: Term) -> slice:
    """The target's channels that a term feeds."""
    return slice(None) if term.kind == "dense" else term.channels


def _bias(population: RealPopulation, sites: Sites) -> Array:
    """``(1, C)`` or ``(n, C)``: the bias at the sites."""
    bias: Array = population.bias[np.newaxis]
    return bias if bias.ndim == 2 else sites.of(bias)


def _moved(population: RealPopulation, constant: Array) -> RealPopulation:
    """The population with ``(C,)`` added to its bias."""
    return replace(population, bias=population.bias + constant.reshape(-1, *(1,) * (population.bias.ndim - 1)))


def _bound(term: Term, weights: Integers, events: Values) -> float:
    """What no sum of integer weights times pooled events exceeds."""
    pooled = 1 if term.pool is None else int(np.prod(term.pool.kernel))
    most = pooled * float(np.abs(weights.astype(np.int64)).reshape(len(weights), -1).sum(axis=1).max(initial=0))
    return most * float(max(events.max(initial=0), -events.min(initial=0)))
