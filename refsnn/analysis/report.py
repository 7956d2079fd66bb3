"""The report: one HTML file with everything inside it, the same for equal results (measured times are left out)."""

from __future__ import annotations

import base64
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from refsnn.analysis import pictures, table
from refsnn.analysis.diagnosis import Diagnosis
from refsnn.errors import require
from refsnn.results import Results

TEMPLATE = Path(__file__).with_name("report.html")


def check_installed() -> None:
    """Check that the packages that draw and fill in the report are there.

    Raises:
        MissingExtraError: they are not. Cure: ``pip install 'refsnn[report]'``.
    """
    for module in ("matplotlib", "jinja2"):
        require(module, "report")


def render(results: Results, diagnoses: Sequence[Diagnosis]) -> str:
    """The report as HTML text without any reference to another file.

    Args:
        results: the figures.
        diagnoses: what the pictures of layers show; a network a diagnosis.
    """
    jinja2 = require("jinja2", "report")
    environment = jinja2.Environment(
        autoescape=True, undefined=jinja2.StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    text: str = environment.from_string(TEMPLATE.read_text(encoding="utf-8")).render(
        results=results,
        facts=_facts(results),
        table=table.main(results, timed=False),
        energy=table.energy(results),
        pictures=_pictures(results, diagnoses),
        making=_making(results),
        methods=_methods(results),
    )
    return text


def _facts(results: Results) -> list[tuple[str, str]]:
    facts = []
    if results.ann.accuracy is not None:
        facts.append((table.percent(results.ann.accuracy), "accuracy of the ANN"))
    rated = [run for run in results.runs if run.accuracy is not None]
    best = max(rated, key=lambda run: run.accuracy or 0, default=None)
    if best is not None:
        facts.append((table.percent(best.accuracy), f"best spiking network: {best.method}, T = {best.steps}"))
    agreeing = [run for run in results.runs if run.agreement is not None]
    closest = max(agreeing, key=lambda run: run.agreement or 0, default=None)
    if closest is not None:
        label = f"agreement with the ANN: {closest.method}, T = {closest.steps}"
        facts.append((table.percent(closest.agreement), label))
    errors = [(run.output_error.relative, run) for run in results.runs if run.output_error]
    if best is None and errors:
        error, nearest = min(errors, key=lambda pair: pair[0])
        facts.append((table.percent(error), f"relative error of the outputs: {nearest.method}, T = {nearest.steps}"))
    facts.append((f"{sum(run.saturations for run in results.runs):,}", "saturated membranes in all runs"))
    return facts


def _pictures(results: Results, diagnoses: Sequence[Diagnosis]) -> list[dict[str, str]]:
    images = diagnoses[0].images if diagnoses else 0
    shown = [
        (
            "Accuracy against time-steps",
            "Line chart: accuracy, or what stands in for it, against the number of time-steps, a line a method.",
            "Methods joined by '=' are the same integers here. The dashed line is the ANN.",
            pictures.accuracy(results),
        )
    ]
    if diagnoses and diagnoses[0].layers:
        shown += [
            (
                "Conversion error of each layer",
                "Stacked bars: clipping, quantisation and unevenness error of each layer, a panel a network.",
                "Mean absolute error relative to the mean activation, given the input that the layer really got. "
                "Clipping: above the threshold. Quantisation: between two levels. Unevenness: spikes at the wrong "
                f"time, 0 in the lossless modes. On {images} images.",
                pictures.errors(diagnoses),
            ),
            (
                "Spike rates",
                "Line chart: spikes a neuron and time-step of each layer, a line a network.",
                "Spikes of either sign, a neuron and time-step, over all images.",
                pictures.rates(results, diagnoses),
            ),
            (
                "Membranes against their width",
                "Heat maps: how many bits the membranes of each layer need, against the width that they have.",
                "Each row is a histogram of the membranes before firing, in all steps, by the bits that they need, "
                "sign included (after accumulation, where a layer accumulates before it fires). The red line is the "
                f"width of the membranes, the black tick the largest threshold of the layer. On {images} images.",
                pictures.membranes(diagnoses),
            ),
        ]
    return [
        {"title": title, "alt": alt, "caption": caption, "source": _inline(svg)} for title, alt, caption, svg in shown
    ]


def _inline(svg: str) -> str:
    return "data:image/svg+xml;base64," + base64.b64encode(svg.encode()).decode()


def _making(results: Results) -> list[tuple[str, str]]:
    weights, data = results.weights, results.data
    rows = [
        ("network", f"{weights.name}: {weights.format}, written by {weights.writer}"),
        ("its SHA-256", weights.sha256),
        ("images", f"{data.images:,} of {data.name}{'' if data.labelled else ', without labels'}"),
        ("calibration", f"{data.calibration} ({data.calibration_images:,})" if data.calibration_images else "none"),
    ]
    if data.preprocessing is not None:
        given = ", ".join(f"{name} {_plain(data.preprocessing[name])}" for name in ("scale", "mean", "std"))
        rows.append(("preprocessing", f"(byte / scale - mean) / std with {given}; from {data.preprocessing['from']}"))
    if results.ann.multiply_adds is not None:
        rows.append(("multiply-adds of the ANN", f"{results.ann.multiply_adds:,} an image"))
    if results.runs:
        rows.append(("of the input layer", f"{results.runs[0].input_operations_per_image:,.0f} an image"))
    rows.append(("made by", f"refsnn {results.version}"))
    return rows


def _methods(results: Results) -> list[tuple[str, list[tuple[str, str]], list[tuple[int, str]]]]:
    found = []
    for method in dict.fromkeys(run.method for run in results.runs):
        runs = [run for run in results.runs if run.method == method]
        settings = [(name, _plain(value)) for name, value in runs[0].settings.items()]
        settings.append(("membrane bits", ", ".join(f"{run.membrane_bits} (T = {run.steps})" for run in runs)))
        found.append((method, settings, [(run.steps, run.network) for run in runs]))
    return found


def _plain(value: Any) -> str:
    if isinstance(value, list | tuple):
        return ", ".join(map(_plain, value))
    return value if isinstance(value, str) else json.dumps(value)
