"""The report's pictures, as SVG text that is the same for equal results."""

from __future__ import annotations

import io
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np

from refsnn.analysis.diagnosis import Diagnosis
from refsnn.errors import require
from refsnn.results import Results, Run

# Okabe and Ito's colours: told apart by colour-blind readers too.
_COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#000000")
_MARKERS = "osD^vPX"
_ERRORS = (("clipping", "#d55e00"), ("quantisation", "#56b4e9"), ("unevenness", "#cc79a7"))
_STYLE = {
    "svg.hashsalt": "refsnn",  # else element names are random
    "font.size": 10.0,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.titlesize": 10.5,
    "axes.titlelocation": "left",
    "axes.grid": True,
    "grid.color": "#e2e6ea",
    "axes.axisbelow": True,
    "axes.edgecolor": "#6b7680",
    "legend.frameon": False,
}


@contextmanager
def _style() -> Iterator[None]:
    with require("matplotlib", "report").rc_context(_STYLE):
        yield


@_style()
def accuracy(results: Results) -> str:
    """The accuracy against T, a line a method; agreement with the ANN, or the outputs' error, where there is none."""
    runs = _unique(results)
    if all(run.accuracy is not None for run in runs):
        label, values, reference = "accuracy (%)", [100 * (run.accuracy or 0) for run in runs], results.ann.accuracy
    elif results.data.classes and all(run.agreement is not None for run in runs):
        label, values, reference = "agreement with the ANN (%)", [100 * (run.agreement or 0) for run in runs], 1.0
    else:
        label, reference = "RMSE of the outputs, relative", None
        values = [run.output_error.relative if run.output_error else 0.0 for run in runs]
    figure = _figure(8.2, 3.6)
    axes = figure.subplots()
    for number, method in enumerate(dict.fromkeys(run.method for run in runs)):
        points = sorted((run.steps, value) for run, value in zip(runs, values, strict=True) if run.method == method)
        axes.plot(*zip(*points, strict=True), **_line(number), label=_label(results, method))
    if reference is not None:
        axes.axhline(100 * reference, color="#444c54", linestyle="--", linewidth=1.2, label="ANN")
    steps = sorted({run.steps for run in runs})
    axes.set_xscale("log", base=2)
    axes.set_xticks(steps, [str(t) for t in steps])
    axes.minorticks_off()
    axes.set_xlabel("time-steps T")
    axes.set_ylabel(label)
    axes.legend(loc="center left", bbox_to_anchor=(1.0, 0.5))
    return _svg(figure)


@_style()
def errors(diagnoses: Sequence[Diagnosis]) -> str:
    """The conversion error of each layer, split in three, a panel a network."""
    figure = _figure(9.2, 0.7 + 1.75 * len(diagnoses))
    panels = figure.subplots(len(diagnoses), sharey=True, squeeze=False).ravel()
    highest = 0.0
    for axes, diagnosis in zip(panels, diagnoses, strict=True):
        places = np.arange(len(diagnosis.layers))
        bottom = np.zeros(len(places))
        for part, colour in _ERRORS:
            heights = np.array([100 * getattr(layer.error, part) for layer in diagnosis.layers])
            axes.bar(places, heights, 0.72, bottom=bottom, color=colour, label=part)
            bottom += heights
        highest = max(highest, bottom.max(initial=0.0))
        for place, total in zip(places, bottom, strict=True):
            axes.annotate(f"{total:.1f}", (place, total), (0, 2), textcoords="offset points", ha="center", fontsize=7.5)
        axes.set_title(diagnosis.title)
        axes.set_ylabel("error (%)")
        axes.grid(axis="x", visible=False)
        _name_layers(axes, [layer.name for layer in diagnosis.layers], last=axes is panels[-1])
    panels[0].set_ylim(0, 1.25 * highest or 1)  # room for the figure above the highest bar
    panels[0].legend(loc="lower right", bbox_to_anchor=(1.0, 1.0), ncols=3)
    return _svg(figure)


@_style()
def rates(results: Results, diagnoses: Sequence[Diagnosis]) -> str:
    """Spikes a neuron and time-step, layer by layer, a line a network at the T that its diagnosis looks at."""
    figure = _figure(9.2, 3.4)
    axes = figure.subplots()
    names: list[str] = []
    for number, diagnosis in enumerate(diagnoses):
        run = next(r for r in results.runs if (r.method, r.steps) == (diagnosis.methods[0], diagnosis.steps))
        rate = [layer.spikes_per_image / layer.neurons / run.steps for layer in run.layers]
        axes.plot(np.arange(len(rate)), rate, **_line(number), label=diagnosis.title)
        names = [layer.name for layer in run.layers]
    axes.set_ylim(bottom=0)
    axes.set_ylabel("spikes a neuron and step")
    axes.grid(axis="x", visible=False)
    _name_layers(axes, names)
    axes.legend(loc="lower left", bbox_to_anchor=(0.0, 1.0), ncols=2)
    return _svg(figure)


@_style()
def membranes(diagnoses: Sequence[Diagnosis]) -> str:
    """How many bits the membranes need, layer by layer, against the width that they have; a panel a network."""
    layers = max(len(diagnosis.layers) for diagnosis in diagnoses)
    columns = 2 if len(diagnoses) > 1 else 1
    rows = -(-len(diagnoses) // columns)
    figure = _figure(9.2, rows * (1.3 + 0.19 * layers))
    figure.get_layout_engine().set(hspace=0.08, wspace=0.04)
    panels = figure.subplots(rows, columns, squeeze=False).ravel()
    image: Any = None
    for axes, diagnosis in zip(panels, diagnoses, strict=False):
        widths = np.array([layer.widths for layer in diagnosis.layers], float)
        shown = max(diagnosis.membrane_bits, 8) + 1
        share = widths[:, 1 : shown + 1] / widths.sum(axis=1, keepdims=True)
        image = axes.imshow(
            np.where(share > 0, np.log10(np.where(share > 0, share, 1)), np.nan),
            aspect="auto",
            cmap="viridis",
            vmin=-5,
            vmax=0,
            interpolation="nearest",
            extent=(0.5, shown + 0.5, len(diagnosis.layers) - 0.5, -0.5),
        )
        axes.grid(visible=False)
        places = np.arange(len(diagnosis.layers))
        marks = [layer.threshold_bits for layer in diagnosis.layers]
        axes.plot(marks, places, linestyle="none", marker="|", color="#000000", markersize=9, markeredgewidth=2.2)
        axes.axvline(diagnosis.membrane_bits + 0.5, color="#b00020", linewidth=2)
        axes.set_title(diagnosis.title)
        axes.set_yticks(places, [_short(layer.name) for layer in diagnosis.layers], fontsize=8)
        axes.set_xlabel("bits that a membrane needs")
        axes.set_xlim(0.5, shown + 0.5)
        axes.set_xticks(range(2, shown + 1, 2))
    for axes in panels[len(diagnoses) :]:
        axes.set_visible(False)
    bar = figure.colorbar(image, ax=list(panels), shrink=0.6, aspect=30)
    bar.set_ticks(range(-5, 1), labels=["0.001 %", "0.01 %", "0.1 %", "1 %", "10 %", "100 %"])
    bar.set_label("share of the layer's membranes")
    return _svg(figure)


def _unique(results: Results) -> tuple[Run, ...]:
    return tuple(run for run in results.runs if run.same_as is None)


def _label(results: Results, method: str) -> str:
    same = dict.fromkeys(run.method for run in results.runs if run.same_as == method)
    return " = ".join((method, *same))


def _line(number: int) -> dict[str, Any]:
    return {
        "color": _COLOURS[number % len(_COLOURS)],
        "marker": _MARKERS[number % len(_MARKERS)],
        "markersize": 5,
        "linewidth": 1.6,
    }


def _figure(width: float, height: float) -> Any:
    return require("matplotlib.figure", "report").Figure(figsize=(width, height), layout="constrained")


def _short(name: str, length: int = 18) -> str:
    return name if len(name) <= length else f"{name[: length // 2 - 1]}…{name[-length // 2 :]}"


def _name_layers(axes: Any, names: Sequence[str], *, last: bool = True) -> None:
    labels = [_short(name, 14) for name in names] if last else [""] * len(names)
    axes.set_xticks(np.arange(len(names)), labels, rotation=60 if len(names) > 6 else 0, fontsize=8)
    if len(names) > 6:
        for label in axes.get_xticklabels():
            label.set_horizontalalignment("right")
            label.set_rotation_mode("anchor")
    axes.set_xlim(-0.7, len(names) - 0.3)


def _svg(figure: Any) -> str:
    stream = io.StringIO()
    figure.savefig(stream, format="svg", metadata={"Date": None})
    return stream.getvalue()
