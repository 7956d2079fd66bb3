"""``refsnn inspect FILE``: what a file holds, who wrote it, its layers and shapes, and the widths it needs."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from refsnn.errors import InputError
from refsnn.terminal import Version, show_table, user_errors

if TYPE_CHECKING:
    from refsnn.ann import Model
    from refsnn.ann.graph import Operation
    from refsnn.convert import Range
    from refsnn.data import Dataset
    from refsnn.network import Network, Projection, Spiking

HELP = """
Show what a file holds: a trained network, an integer network, or images.

Of a trained network: who wrote it, the images inside, every layer with its shape, parameters and multiply-adds, and for
each method and T the widths that its integers need. Of an integer network: populations, projections and widths.

[bold]Examples[/bold]

    refsnn inspect model.h5

    refsnn inspect model.h5 --steps 4,32

    refsnn inspect out/network-ecl.h5
"""

_LEFT = (
    "layer",
    "operation",
    "output",
    "settings",
    "method",
    "population",
    "kind",
    "shape",
    "projection",
    "pool",
    "of",
)


def inspect(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="Any file that refsnn reads.", show_default=False)],
    steps: Annotated[
        str | None,
        typer.Option(
            metavar="T[,T..]", help="Show widths for these. Default: 1,2,4,8, or what the network was made for."
        ),
    ] = None,
    version: Version = False,
) -> None:
    with user_errors():
        from refsnn.api import load
        from refsnn.network import Network
        from refsnn.options import numbers

        wanted = None if steps is None else numbers("--steps", steps, int)
        if wanted is not None and min(wanted) < 1:
            raise InputError(f"--steps is {steps}; every T must be at least 1")
        try:
            content = load(file)
        except InputError as error:
            if not _show_data(file):
                raise error
            return
        if isinstance(content, Network):
            _show_network(file, content, wanted)
        else:
            _show_model(content, wanted or (1, 2, 4, 8))


def _facts(pairs: list[tuple[str, str]]) -> None:
    width = max(len(name) for name, _ in pairs)
    for name, value in pairs:
        print(f"{name:<{width}}  {value}")
    print()


def _show_model(model: Model, steps: tuple[int, ...]) -> None:
    from refsnn.analysis.operations import multiply_adds, of_operation

    graph = model.graph
    scaling = graph.preprocessing
    stated = "not stated: raw bytes" if scaling is None else _scaling(scaling.scale, scaling.mean, scaling.std)
    total = sum(_parameters(operation) for operation in graph)
    _facts(
        [
            ("file", str(model.path)),
            ("holds", f"a trained network ({model.format})"),
            ("written by", model.writer),
            ("SHA-256", model.sha256),
            ("preprocessing", stated),
            ("test images", _images(model.test)),
            ("calibration images", _images(model.calibration)),
            ("parameters", f"{total:,}"),
            ("multiply-adds", f"{multiply_adds(graph):,} an image"),
        ]
    )
    rows = [
        (
            operation.name,
            type(operation).__name__,
            _shape(graph.shapes[operation.name]),
            _number(_parameters(operation)),
            _number(of_operation(operation, graph)),
            _settings(operation),
        )
        for operation in graph
    ]
    show_table("Layers", ("layer", "operation", "output", "parameters", "multiply-adds", "settings"), rows, left=_LEFT)
    print()
    _show_widths(model, steps)


def _show_widths(model: Model, steps: tuple[int, ...]) -> None:
    """Convert by every method, with what the file has, and show the widths that result."""
    from refsnn.ann.graph import Preprocessing
    from refsnn.convert import METHODS, Calibration, analyse, convert, needs_calibration, preset

    graph = model.graph
    settings = {method: preset(method) for method in METHODS}
    if model.calibration is None and needs_calibration(graph, settings[METHODS[0]]):
        print(
            "Widths depend on thresholds, and neither thresholds nor calibration images are in the file: "
            "refsnn run FILE --data IMAGES --out DIR finds them; then inspect the networks in DIR."
        )
        return
    calibration = None
    if model.calibration is not None:
        preprocessing = graph.preprocessing or Preprocessing()
        calibration = Calibration.measure(graph, model.calibration.images, preprocessing, threads=0)
    rows = []
    for method, each in settings.items():
        cells = []
        for t in steps:
            try:
                network = convert(graph, each, t, calibration=calibration).network
            except InputError as error:
                cells.append(str(error))
                continue
            ranges = analyse(network, t)
            current = max(found.current_bits for found in ranges.values())
            cells.append(f"{current} / {network.membrane_bits} / {ranges[network.readout.name].membrane_bits}")
        rows.append((method, *cells))
    title = "Bits that cannot overflow or saturate: currents / membranes / readout"
    show_table(title, ("method", *(f"T = {t}" for t in steps)), rows, left=_LEFT)


def _show_network(file: Path, network: Network, steps: tuple[int, ...] | None) -> None:
    import json

    from refsnn import files
    from refsnn.convert import analyse
    from refsnn.network import SCHEMA, UNTIL_QUIET, Spiking

    made = network.information
    wanted = steps or ((network.steps,) if network.steps else tuple(made.get("steps", (1, 2, 4, 8))))
    for t in wanted:
        network.check_steps(t)
    settings = made.get("settings", {})
    _facts(
        [
            ("file", str(file)),
            ("holds", f"an integer network ({SCHEMA})"),
            ("SHA-256", files.sha256(file)),
            ("digest", network.digest()),
            ("method", str(settings.get("method", "not stated"))),
            ("settings", json.dumps({key: value for key, value in settings.items() if key != "method"})),
            ("made from", f"{made.get('weights', 'not stated')} (SHA-256 {made.get('weights_sha256', 'not stated')})"),
            ("steps", "any" if network.steps is None else f"{network.steps} and no other"),
            ("drain steps", "until quiet" if network.drain == UNTIL_QUIET else str(network.drain)),
            ("membrane bits", str(network.membrane_bits)),
        ]
    )
    ranges = {t: analyse(network, t) for t in wanted}
    rows = [
        (
            population.name,
            type(population).__name__,
            _shape(population.shape),
            _spiking(population) if isinstance(population, Spiking) else "",
            *(_bits(ranges[t].get(population.name)) for t in wanted),
        )
        for population in network.populations
    ]
    columns = ("population", "kind", "shape", "settings", *(f"T = {t}" for t in wanted))
    show_table("Populations, with the bits that their currents / membranes need", columns, rows, left=_LEFT)
    print()
    projections = [
        (each.label, each.kind, _shape(each.weights.shape), _number(each.weights.size), _wiring(each))
        for each in network.projections
    ]
    show_table("Projections", ("projection", "kind", "shape", "weights", "settings"), projections, left=_LEFT)


def _show_data(file: Path) -> bool:
    """Show the images that a file or folder holds; False if it is no data set."""
    from refsnn.data.readers import read

    try:
        splits = read(file)
    except InputError:
        return False
    _facts(
        [
            ("file", str(file)),
            ("holds", "images"),
            ("to measure on", _images(splits.test)),
            ("to calibrate or train on", _images(splits.train)),
        ]
    )
    return True


def _images(data: Dataset | None) -> str:
    if data is None:
        return "none"
    labels = "without labels" if data.labels is None else f"labels {data.labels.min()}..{data.labels.max()}"
    names = f" ({', '.join(data.class_names)})" if data.class_names else ""
    return f"{len(data):,} of {_shape(data.images.shape[1:])}, {labels}{names}; {data.name}"


def _scaling(scale: float, mean: tuple[float, ...], std: tuple[float, ...]) -> str:
    numbers = (", ".join(f"{value:g}" for value in values) for values in (mean, std))
    return "(byte / {:g} - mean) / std with mean {}, std {}".format(scale, *numbers)


def _parameters(operation: Operation) -> int:
    names = ("weights", "bias", "mean", "variance", "gamma", "beta")
    arrays = (getattr(operation, name, None) for name in names)
    return sum(array.size for array in arrays if array is not None)


def _settings(operation: Operation) -> str:
    """What is not in the shapes."""
    from refsnn.ann import graph

    if isinstance(operation, graph.Conv):
        kernel = _shape(operation.weights.shape[2:])
        text = f"kernel {kernel}, stride {_shape(operation.stride)}, padding {', '.join(map(str, operation.padding))}"
        groups = f", groups {operation.groups}" if operation.groups > 1 else ""
        dilation = f", dilation {_shape(operation.dilation)}" if operation.dilation != (1, 1) else ""
        return text + groups + dilation
    if isinstance(operation, graph.MaxPool | graph.AveragePool):
        padding = ", ".join(map(str, operation.padding))
        return f"kernel {_shape(operation.kernel)}, stride {_shape(operation.stride)}, padding {padding}"
    if isinstance(operation, graph.ReLU):
        bound, parts = operation.bound, []
        if bound is not None:
            each = f"{bound.min():.4g}" if bound.size == 1 else f"{bound.min():.4g} .. {bound.max():.4g}"
            parts.append(f"learned threshold {each}")
        parts += [f"{operation.levels} levels"] * (operation.levels is not None)
        parts += [f"maximum {operation.maximum:g}"] if operation.maximum is not None else []
        return ", ".join(parts)
    if isinstance(operation, graph.Flatten | graph.Reshape):
        return f"order {operation.order}"
    return f"reads {', '.join(operation.inputs)}" if len(operation.inputs) > 1 else ""


def _spiking(population: Spiking) -> str:
    from refsnn.network import CAP_STEPS, NO_CAP

    low, high = int(population.threshold.min()), int(population.threshold.max())
    cap = {CAP_STEPS: "T", NO_CAP: "none"}.get(population.cap, str(population.cap))
    schedule = f"accumulate then fire, base {population.schedule.base}" if population.schedule.separated else "rate"
    return f"{population.neuron}, {schedule}, threshold {low if low == high else f'{low}..{high}'}, cap {cap}"


def _bits(found: Range | None) -> str:
    return "" if found is None else f"{found.current_bits} / {found.membrane_bits}"


def _wiring(projection: Projection) -> str:
    parts = []
    if projection.pool is not None:
        pool = projection.pool
        parts.append(f"sum-pool {_shape(pool.kernel)}, stride {_shape(pool.stride)}")
    if projection.kind == "conv":
        parts.append(f"stride {_shape(projection.stride)}, padding {', '.join(map(str, projection.padding))}")
    parts += [f"groups {projection.groups}"] if projection.groups > 1 else []
    parts += [f"from channel {projection.channel} on"] if projection.channel else []
    parts += [f"shift {projection.shift.min()}..{projection.shift.max()}"] if projection.shift is not None else []
    return "; ".join(parts)


def _shape(shape: tuple[int, ...]) -> str:
    return "x".join(map(str, shape)) or "1"


def _number(count: int) -> str:
    return f"{count:,}" if count else "-"
