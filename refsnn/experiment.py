"""The main job as a function: a network's file and images in, measured results out. The command line is around it."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any, Protocol, TypeAlias

import numpy as np
from numpy.typing import NDArray

from refsnn import __version__, files
from refsnn.analysis import energy, outputs, scaling
from refsnn.analysis.diagnosis import Diagnosis, diagnose
from refsnn.analysis.latency import latency
from refsnn.analysis.operations import multiply_adds
from refsnn.ann import Model
from refsnn.ann.forward import forward_images
from refsnn.ann.graph import Array, Graph, Preprocessing, ReLU, Sigmoid, Softmax
from refsnn.api import load, origin
from refsnn.convert import METHODS as PRESETS
from refsnn.convert import Calibration, Settings, convert, needs_calibration, preset
from refsnn.errors import InputError, WidthError
from refsnn.network import SCHEMA, Network
from refsnn.results import Ann, Data, Layer, Refused, Results, Run, Weights
from refsnn.selection import Selection, select
from refsnn.simulate import Simulation, simulate

METHODS = ("ecl", "qcfs", "opi", "spikeconverter", "spikeconverter-rate")
"""What ``all`` means; other presets run by name."""
STEPS = (1, 2, 4, 8)

Runner: TypeAlias = Callable[[Graph, NDArray[np.uint8], Preprocessing], Array]
"""Gives an ANN's logits of images."""

_STRIDE = 256
"""Images between two signs of progress."""


class Progress(Protocol):
    """Hears what is going on."""

    def stage(self, text: str, images: int) -> None:
        """A new stage begins, which will go through so many images."""

    def advance(self, images: int) -> None:
        """So many images more are done."""


class Silent:
    """Progress that nobody watches."""

    def stage(self, text: str, images: int) -> None:
        """Nothing."""

    def advance(self, images: int) -> None:
        """Nothing."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """What the main job is asked for. None: the default, or what the file says.

    Attributes:
        weights: the network's file, of any kind that refsnn reads.
        data, calibration: files or folders of images.
        methods: presets by name.
        steps: every T.
        overrides: settings of the conversion that replace the presets' (fields of ``refsnn.convert.Settings``).
        calibration_images: how many images to calibrate on, at most.
        scale, mean, std: what the network expects of a pixel, ``(byte / scale - mean) / std``.
        limit: how many images to measure on, at most.
        threads: workers; 0: as many as there are processors.
        batch: images that one worker simulates at a time.
        kernels: kernel set, or ``auto``.
    """

    weights: Path
    data: Path | None = None
    calibration: Path | None = None
    methods: tuple[str, ...] | None = None
    steps: tuple[int, ...] | None = None
    overrides: Mapping[str, Any] = field(default_factory=dict)
    calibration_images: int = 1000
    scale: float | None = None
    mean: tuple[float, ...] | None = None
    std: tuple[float, ...] | None = None
    limit: int | None = None
    threads: int = 0
    batch: int = 32
    kernels: str = "auto"


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Job:
    """An integer network to run.

    Attributes:
        methods: the methods whose integers these are.
        network: the integer network.
        steps: every T that it is to run.
    """

    methods: tuple[str, ...]
    network: Network
    steps: tuple[int, ...]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Simulated:
    """A network that ran.

    Attributes:
        methods: the methods whose integers these are.
        network: the integer network.
        simulation: what came out, for every T that it ran.
    """

    methods: tuple[str, ...]
    network: Network
    simulation: Simulation


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Material:
    """A trained network and the images for it: what all its conversions share.

    Attributes:
        selection: the images to measure and to calibrate on.
        preprocessing: from pixel bytes to the network's input; ``said_by`` whom, empty: nobody.
        classes: that the network tells apart; 0: its outputs are not classes.
        labels: ``(N,)``, or None where there are none or the outputs are not classes.
        logits: ``(N, *shape)``, the ANN's.
        calibration: statistics, or None where every threshold is learned.
        notes: what the user must hear.
    """

    model: Model
    selection: Selection
    preprocessing: Preprocessing
    said_by: str
    classes: int
    labels: NDArray[np.int64] | None
    logits: NDArray[np.float64]
    calibration: Calibration | None
    notes: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Plan:
    """Everything up to the simulations, and what their results are judged by.

    Attributes:
        jobs: every different network once.
        images, labels, logits: of ``Outcome``.
        settings: by method.
        refused: by method and T: why it cannot run.
        weights, data, ann, notes: of the results.
    """

    jobs: tuple[Job, ...]
    images: NDArray[np.uint8]
    labels: NDArray[np.int64] | None
    logits: NDArray[np.float64] | None
    settings: Mapping[str, Settings | dict[str, Any]]
    refused: dict[tuple[str, int], InputError]
    weights: Weights
    data: Data
    ann: Ann
    notes: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Outcome:
    """The results and what they were counted from.

    Attributes:
        results: the figures.
        images: ``(N, *shape) uint8``, what the figures are about.
        labels: ``(N,)`` or None.
        logits: ``(N, *shape)``, the ANN's; None where an integer network ran.
        simulated: the networks, in the order in which they ran.
    """

    results: Results
    images: NDArray[np.uint8]
    labels: NDArray[np.int64] | None
    logits: NDArray[np.float64] | None
    simulated: tuple[Simulated, ...]


def perform(request: Request, progress: Progress | None = None) -> Outcome:
    """Do the main job: read, choose images, convert, simulate, judge.

    Raises:
        InputError: anything about the request, the files or the images that the user can mend. A method and T that
            cannot run is refused in the results instead, as long as another one runs.
    """
    if request.steps is not None and min(request.steps, default=0) < 1:
        raise InputError(f"steps is {', '.join(map(str, request.steps))}; every T must be at least 1")
    if request.threads < 0 or request.batch < 1:
        raise InputError(f"threads is {request.threads} and batch {request.batch}; at least 0 and 1 were expected")
    watch = progress or Silent()
    source = load(request.weights)
    if isinstance(source, Network):
        plan = _plan_network(request, source)
    else:
        plan = plan_methods(request, gather(request, source, watch))
    return judge(plan, _simulate(plan, request, watch))


def gather(request: Request, model: Model, progress: Progress, *, run: Runner | None = None) -> Material:
    """Choose images for a trained network, run it on them, and look at its values on the calibration images.

    Args:
        run: gives the ANN's logits of images; None: computes them.

    Raises:
        InputError: of ``select``, unknown methods, or methods of which none can be set as the request asks.
    """
    graph = model.graph
    activation, shape = _output(graph)
    classes = outputs.classes(shape, activation, graph.input.shape)
    settings = _settings(request, (1,), {})
    selection = select(
        graph.input.shape,
        network=str(model.path),
        classes=classes or None,
        inside=model.test,
        inside_calibration=model.calibration,
        data=request.data,
        calibration=request.calibration,
        calibration_images=request.calibration_images,
        calibrate=any(needs_calibration(graph, each) for each in settings.values()),
        limit=request.limit,
    )
    data = selection.evaluation
    labels = data.labels if classes else None
    notes = list(selection.notes)
    if data.labels is not None and not classes:
        notes.append("the network's outputs are not classes: its labels are not used")
    preprocessing, said_by = _preprocessing(request, graph)
    if not said_by:
        notes.append(
            "nothing says what the network expects of a pixel: raw bytes are assumed (--scale, --mean and --std say it)"
        )
    logits = (run or partial(ann_logits, threads=request.threads, progress=progress))(graph, data.images, preprocessing)
    if labels is not None:
        notes += scaling.advice(
            graph, data.images, labels, logits, preprocessing, classes, activation, threads=request.threads
        )
    calibration = None
    if selection.calibration is not None:
        calibration = Calibration.measure(graph, selection.calibration, preprocessing, threads=request.threads)
    return Material(
        model=model,
        selection=selection,
        preprocessing=preprocessing,
        said_by=said_by,
        classes=classes,
        labels=labels,
        logits=logits,
        calibration=calibration,
        notes=tuple(notes),
    )


def plan_methods(request: Request, material: Material, progress: Progress | None = None) -> Plan:
    """Convert a trained network by every method of the request. What cannot be converted is refused in the plan."""
    (progress or Silent()).stage("converting", 0)
    model, selection, labels = material.model, material.selection, material.labels
    steps = tuple(dict.fromkeys(request.steps or STEPS))
    refused: dict[tuple[str, int], InputError] = {}
    settings = _settings(request, steps, refused)
    jobs, found = _convert(material, settings, steps, refused)
    activation, _ = _output(model.graph)
    operations = multiply_adds(model.graph)
    preprocessing = {**_spelled(material.preprocessing), "from": material.said_by or "nobody: raw bytes"}
    return Plan(
        jobs=jobs,
        images=selection.evaluation.images,
        labels=labels,
        logits=material.logits,
        settings=settings,
        refused=refused,
        weights=_weights(request, model.format, model.writer),
        data=_data(selection, labels is not None, material.classes, preprocessing),
        ann=Ann(
            accuracy=outputs.fraction_equal(outputs.predictions(material.logits, activation), labels),
            activation=activation,
            multiply_adds=operations,
            energy_uj=energy.ann(operations),
        ),
        notes=(*material.notes, *found),
    )


def _plan_network(request: Request, network: Network) -> Plan:
    """Run a network that is converted already: no ANN to compare with, nothing to choose about the conversion."""
    given = [name for name in ("calibration", "methods", "scale", "mean", "std") if getattr(request, name) is not None]
    given += request.overrides
    if given:
        raise InputError(
            f"{request.weights}: is an integer network already, its conversion is done: leave out "
            f"{', '.join('--' + {'methods': 'method'}.get(name, name).replace('_', '-') for name in given)}"
        )
    made = network.information
    steps = request.steps or ((network.steps,) if network.steps else tuple(made.get("steps", STEPS)))
    for each in steps:
        network.check_steps(each)
    readout = network.readout
    classes = outputs.classes(readout.shape, readout.activation, network.input.shape)
    selection = select(
        network.input.shape,
        network=str(request.weights),
        classes=classes or None,
        data=request.data,
        calibrate=False,
        limit=request.limit,
    )
    data = selection.evaluation
    labels = data.labels if classes else None
    settings = dict(made.get("settings", {}))
    method = str(settings.pop("method", "network"))
    return Plan(
        jobs=(Job(methods=(method,), network=network, steps=tuple(dict.fromkeys(steps))),),
        images=data.images,
        labels=labels,
        logits=None,
        settings={method: settings},
        refused={},
        weights=_weights(request, SCHEMA, "refsnn"),
        data=_data(selection, labels is not None, classes, None),
        ann=Ann(accuracy=None, activation=readout.activation),
        notes=("an integer network, converted already: there is no ANN to compare it with",),
    )


def judge(plan: Plan, simulated: tuple[Simulated, ...]) -> Outcome:
    """The results of a plan's simulations.

    Raises:
        InputError: nothing could run.
    """
    if not simulated:
        raise next(iter(plan.refused.values()))
    notes = plan.notes + tuple(
        f"{' and '.join(each.methods)} are the same integers here and ran once"
        for each in simulated
        if len(each.methods) > 1
    )
    results = Results(
        weights=plan.weights,
        data=plan.data,
        ann=plan.ann,
        runs=_runs(simulated, plan.settings, plan.labels, plan.logits, plan.ann.activation),
        refused=tuple(
            Refused(method=m, steps=t, reason=str(error), bits=error.bits if isinstance(error, WidthError) else None)
            for (m, t), error in plan.refused.items()
        ),
        notes=notes,
        version=__version__,
    )
    return Outcome(
        results=results, images=plan.images, labels=plan.labels, logits=plan.logits, simulated=tuple(simulated)
    )


def _settings(
    request: Request, steps: tuple[int, ...], refused: dict[tuple[str, int], InputError]
) -> dict[str, Settings]:
    """The settings of every method; one that contradicts the overrides is refused."""
    found = {}
    for method in dict.fromkeys(request.methods or METHODS):
        if method not in PRESETS:
            raise InputError(f"there is no method '{method}'; there are {', '.join(PRESETS)}, and all")
        try:
            found[method] = preset(method, **request.overrides)
        except InputError as error:
            refused.update({(method, each): error for each in steps})
    if not found:
        raise next(iter(refused.values()))
    return found


def _output(graph: Graph) -> tuple[str, tuple[int, ...]]:
    """What follows the logits, and their shape."""
    last = graph.output
    activation = {Softmax: "softmax", Sigmoid: "sigmoid", ReLU: "relu"}.get(type(last), "linear")
    return activation, graph.shapes[last.name]


def _preprocessing(request: Request, graph: Graph) -> tuple[Preprocessing, str]:
    """What the network expects of a pixel, and who says so; empty: nobody, raw bytes are assumed."""
    stated = graph.preprocessing
    given = {name: getattr(request, name) for name in ("scale", "mean", "std") if getattr(request, name) is not None}
    said_by = " and ".join(["the network's file"] * (stated is not None) + ["the command"] * bool(given))
    return replace(stated or Preprocessing(), **given), said_by


def _spelled(preprocessing: Preprocessing) -> dict[str, Any]:
    return {"scale": preprocessing.scale, "mean": list(preprocessing.mean), "std": list(preprocessing.std)}


def ann_logits(
    graph: Graph,
    images: NDArray[np.uint8],
    preprocessing: Preprocessing,
    *,
    threads: int = 0,
    progress: Progress | None = None,
) -> Array:
    """The ANN's logits ``(N, *shape)`` of images; they depend on neither the number of images nor the threads."""
    watch = progress or Silent()
    watch.stage("the ANN itself", len(images))
    parts = []
    for start in range(0, len(images), _STRIDE):
        part = images[start : start + _STRIDE]
        parts.append(forward_images(graph, part, preprocessing, threads=threads))
        watch.advance(len(part))
    return np.concatenate(parts)


def _convert(
    material: Material,
    settings: Mapping[str, Settings],
    steps: tuple[int, ...],
    refused: dict[tuple[str, int], InputError],
) -> tuple[tuple[Job, ...], tuple[str, ...]]:
    """Every different network once, and notes: one network for all T where the method allows, else one for each T."""
    jobs: dict[tuple[str, tuple[int, ...]], Job] = {}
    notes: dict[str, None] = {}
    for method, each in settings.items():
        groups = [(t,) for t in steps] if each.needs_steps else [steps]
        while groups:
            group = groups.pop(0)
            try:
                conversion = convert(
                    material.model.graph,
                    each,
                    group,
                    preprocessing=material.preprocessing,
                    calibration=material.calibration,
                    information=origin(material.model),
                )
            except InputError as error:
                if len(group) == 1:
                    refused[method, group[0]] = error
                else:  # a smaller T of the group may do
                    groups = [(t,) for t in group]
            else:
                notes.update(dict.fromkeys(f"{method}: {note}" for note in conversion.notes))
                key = (conversion.network.digest(), group)
                job = jobs.get(key, Job(methods=(), network=conversion.network, steps=group))
                jobs[key] = replace(job, methods=(*job.methods, method))
    return tuple(jobs.values()), tuple(notes)


def _simulate(plan: Plan, request: Request, progress: Progress) -> tuple[Simulated, ...]:
    """Run every network; what cannot run is refused in the plan."""
    simulated = []
    for job in plan.jobs:
        progress.stage(f"{' = '.join(job.methods)}, T = {', '.join(map(str, job.steps))}", len(plan.images))
        run = partial(
            simulate,
            job.network,
            steps=job.steps,
            kernels=request.kernels,
            threads=request.threads,
            batch=request.batch,
        )
        try:
            run(plan.images[:1])  # compiles what is not compiled yet, outside the measured time
            simulation = run(plan.images, progress=progress.advance)
        except InputError as error:
            plan.refused.update({(method, t): error for method in job.methods for t in job.steps})
        else:
            simulated.append(Simulated(methods=job.methods, network=job.network, simulation=simulation))
    return tuple(simulated)


def _runs(
    simulated: tuple[Simulated, ...],
    settings: Mapping[str, Settings | dict[str, Any]],
    labels: NDArray[np.int64] | None,
    logits: Array | None,
    activation: str,
) -> tuple[Run, ...]:
    """The figures of every method and T, methods in the order of ``settings``."""
    runs = [
        _run(each, index, method, settings[method], labels, logits, activation)
        for each in simulated
        for index in range(len(each.simulation.steps))
        for method in each.methods
    ]
    order = list(settings)
    return tuple(sorted(runs, key=lambda run: (order.index(run.method), run.steps)))


def _run(
    simulated: Simulated,
    index: int,
    method: str,
    settings: Settings | dict[str, Any],
    labels: NDArray[np.int64] | None,
    logits: Array | None,
    activation: str,
) -> Run:
    network, simulation = simulated.network, simulated.simulation
    steps, found = simulation.steps[index], simulation.logits[index]
    count = len(found)
    predictions = outputs.predictions(found, activation)
    reference = None if logits is None else outputs.predictions(logits, activation)
    spikes = {name: int(values[index]) for name, values in simulation.spikes.items()}
    operations = {label: int(values[index]) for label, values in simulation.synaptic_operations.items()}
    layers = tuple(
        Layer(
            name=population.name,
            neurons=math.prod(population.shape),
            spikes_per_image=spikes[population.name] / count,
            synaptic_operations_per_image=sum(
                operations.get(label, 0)
                for label in dict.fromkeys(projection.label for projection in network.incoming(population.name))
            )
            / count,
            saturations=int(simulation.saturations[population.name][index]),
        )
        for population in network.spiking
    )
    drain = simulation.drain_steps[index]
    total_spikes, total_operations = sum(spikes.values()) / count, sum(operations.values()) / count
    input_operations = simulation.input_operations / count
    return Run(
        method=method,
        steps=steps,
        settings=_plain(settings),
        network=network.digest(),
        same_as=simulated.methods[0] if method != simulated.methods[0] else None,
        accuracy=outputs.fraction_equal(predictions, labels),
        agreement=outputs.fraction_equal(predictions, reference),
        output_error=None if logits is None else outputs.output_error(found, logits, activation),
        spikes_per_image=total_spikes,
        synaptic_operations_per_image=total_operations,
        input_operations_per_image=input_operations,
        saturations=sum(layer.saturations for layer in layers),
        drain_steps=drain,
        membrane_bits=network.membrane_bits,
        latency=latency(network, steps, drain),
        energy_uj=energy.spiking(
            total_operations,
            input_operations,
            total_spikes,
            sum(layer.neurons for layer in layers) * (steps + drain),
        ),
        layers=layers,
        seconds=simulation.seconds[index],
        images_per_second=count / simulation.seconds[index],
    )


def _plain(settings: Settings | dict[str, Any]) -> dict[str, Any]:
    plain = settings if isinstance(settings, dict) else asdict(settings)
    return {name: value for name, value in plain.items() if name != "method"}


def _weights(request: Request, kind: str, writer: str) -> Weights:
    return Weights(name=request.weights.name, sha256=files.sha256(request.weights), format=kind, writer=writer)


def _data(selection: Selection, labelled: bool, classes: int, preprocessing: dict[str, Any] | None) -> Data:
    used = selection.calibration
    return Data(
        name=selection.evaluation.name,
        images=len(selection.evaluation),
        labelled=labelled,
        classes=classes,
        calibration=selection.origin,
        calibration_images=0 if used is None else len(used),
        preprocessing=preprocessing,
    )


def diagnose_all(outcome: Outcome, *, threads: int = 0, progress: Progress | None = None) -> tuple[Diagnosis, ...]:
    """A diagnosis of every different network at the largest T that it ran."""
    watch = progress or Silent()
    largest: dict[tuple[str, ...], Simulated] = {}
    for each in outcome.simulated:
        known = largest.get(each.methods)
        if known is None or max(each.simulation.steps) > max(known.simulation.steps):
            largest[each.methods] = each
    watch.stage("looking at layers", len(largest))
    found = []
    for methods, each in largest.items():
        steps = max(each.simulation.steps)
        found.append(diagnose(each.network, outcome.images, steps, methods=methods, threads=threads))
        watch.advance(1)
    return tuple(found)
