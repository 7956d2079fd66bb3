"""``docs/results.md`` as text. It holds no times and no dates: equal results give an equal page."""

from __future__ import annotations

from collections.abc import Sequence

from refsnn.results import Results, Run
from refsnn.sweep.results import Sweep
from tools.reproduction.entries import ABOUT, Entry
from tools.reproduction.published import FIGURES, Figure

INTRODUCTION = """# Results

Every network that the project knows, by all methods, at T = {steps} and with {bits} weight bits, beside what the papers
publish. This page is written by

    {command}

which goes on where it was stopped; nothing here is written by hand. Networks whose trained weights are not there read
*not trained*: their recipes are in `tools/recipes` ([training.md](training.md)).

- **accuracy** is that of the integer network, **difference** is to the ANN in percentage points. All rows of a table
  are about the same images, and none of these was calibrated on.
- **latency** in time-steps: of one image alone, and from one answer to the next where layers are pipelined
  ([the model](command.md#latency)).
- **energy** an image is an estimate by counted operations in 45 nm ([the model](command.md#the-report)), arithmetic and
  weight reads apart: the second depends on the machine more than on the network.
- **saturations** are clamped neuron-steps over all images; membranes are as wide as they need to be, so there are none
  unless something is wrong.
- `needs N bits`: base 2 at a T whose sums do not fit the 32 bits of an accumulator.
- Methods that are the same integers ran once and share their rows.
"""


def page(
    measured: Sequence[tuple[Entry, Sweep | None]], *, steps: Sequence[int], bits: Sequence[int], command: str
) -> str:
    """The page.

    Args:
        measured: every entry with what it gave; None: it was not measured (``Entry.missing`` says why).
        steps, bits: what was swept over.
        command: that makes this page.
    """
    parts = [INTRODUCTION.format(steps=_listed(steps), bits=_listed(bits), command=command)]
    parts.append(_overview(measured, steps, bits[0]))
    parts.append(_beside_the_papers(measured))
    parts += [_network(entry, sweep) for entry, sweep in measured if sweep is not None]
    return "\n".join(part.strip() + "\n" for part in parts)


def _overview(measured: Sequence[tuple[Entry, Sweep | None]], steps: Sequence[int], bits: int) -> str:
    lines = [f"## Accuracy with {bits}-bit weights, in percent\n"]
    lines += _head(["network", "data", "images", "ANN", "method", *(f"T = {t}" for t in steps)])
    for entry, sweep in measured:
        name = f"{entry.network}, {entry.activation}"
        if sweep is None:
            lines.append(_row([name, entry.data, entry.missing]))
            continue
        results = sweep.results[bits]
        for method, label in _methods(results).items():
            cells = [_accuracy(results, method, t) for t in steps]
            lines.append(
                _row([name, entry.data, f"{results.data.images:,}", _percent(results.ann.accuracy), label, *cells])
            )
    return "\n".join(lines)


def _beside_the_papers(measured: Sequence[tuple[Entry, Sweep | None]]) -> str:
    lines = [
        "## Beside the papers\n",
        "Losses compare; accuracies do not, because the data are not the same. Ours is the network of the same name "
        "and, where there are several, that whose activation is the method's own, with 8-bit weights.\n",
        *(f"- {name}: {text}." for name, text in ABOUT.items() if name in {entry.data for entry, _ in measured}),
        "",
        *_head(["method", "network", "T", "paper: data", "ANN", "SNN", "loss", "ours: data", "ANN", "SNN", "loss"]),
    ]
    for figure in FIGURES:
        loss = "" if figure.ann is None else f"{figure.ann - figure.accuracy:.2f}"
        mark = "" if figure.checked else " †"
        theirs = [figure.data, "" if figure.ann is None else f"{figure.ann:.2f}", f"{figure.accuracy:.2f}{mark}", loss]
        for ours in _ours(figure, measured):
            lines.append(_row([figure.method, figure.network, str(figure.steps), *theirs, *ours]))
    lines.append("\n† As commonly quoted; not checked against the paper itself.")
    lines += ["", "Papers: " + "; ".join(f"{m}, {p}" for m, p in {f.method: f.paper for f in FIGURES}.items()) + "."]
    return "\n".join(lines)


def _ours(figure: Figure, measured: Sequence[tuple[Entry, Sweep | None]]) -> list[list[str]]:
    """Data, ANN, SNN and loss of our networks of the same name."""
    same = [(entry, sweep) for entry, sweep in measured if entry.network == figure.network]
    own = {"qcfs": "QCFS", "ecl": "ECL"}.get(figure.method, "")
    same = [pair for pair in same if own in pair[0].activation] or same
    found: list[list[str]] = []
    for entry, sweep in same:
        if sweep is None:
            if [entry.data, entry.missing] not in found:
                found.append([entry.data, entry.missing])
            continue
        results = sweep.results[max(sweep.results)]
        run = _find(results, figure.method, figure.steps)
        if run is None or run.accuracy is None or results.ann.accuracy is None:
            found.append([entry.data, _percent(results.ann.accuracy), "not run"])
        else:
            loss = 100 * (results.ann.accuracy - run.accuracy)
            found.append([entry.data, _percent(results.ann.accuracy), _percent(run.accuracy), f"{loss:.2f}"])
    return found or [["no such network"]]


def _network(entry: Entry, sweep: Sweep) -> str:
    first = next(iter(sweep.results.values()))
    data, ann = first.data, first.ann
    lines = [
        f"## {entry.network}, {entry.activation}, on {entry.data}\n",
        f"{data.images:,} images of {entry.data}: {ABOUT.get(entry.data, data.name)}. "
        f"The ANN is right on {_percent(ann.accuracy)} %, with {ann.multiply_adds or 0:,} multiply-adds an image"
        + (f" ({ann.energy_uj['int8']:.2f} µJ in 8-bit integers, reads of its weights" if ann.energy_uj else "")
        + (f" {ann.energy_uj['weight_reads']:.2f} µJ). " if ann.energy_uj else ". ")
        + f"Calibration: {data.calibration}. Network `{first.weights.name}`, SHA-256 `{first.weights.sha256[:16]}…`.\n",
    ]
    for bits, results in sweep.results.items():
        lines.append(f"### {bits}-bit weights\n")
        columns = ["method", "T", "accuracy", "difference", "agreement", "spikes/image", "syn. ops/image"]
        columns += ["latency alone", "pipelined", "arithmetic, µJ", "weight reads, µJ", "saturations", "membrane bits"]
        lines += _head(columns)
        refused = {(item.method, item.steps): item for item in results.refused}
        for method, label in _methods(results).items():
            steps = {run.steps for run in results.runs if run.method == method} | {t for m, t in refused if m == method}
            for t in sorted(steps):
                run = _find(results, method, t)
                cells = _needs(results, method, t) if run is None else _cells(run, results)
                lines.append(_row([label, str(t), *cells]))
        lines.append("")
    return "\n".join(lines)


def _cells(run: Run, results: Results) -> list[str]:
    known = run.accuracy is not None and results.ann.accuracy is not None
    difference = 100 * ((run.accuracy or 0) - (results.ann.accuracy or 0))
    return [
        f"{_percent(run.accuracy)} %",
        f"{difference:+.2f}" if known else "-",
        f"{_percent(run.agreement)} %",
        f"{run.spikes_per_image:,.0f}",
        f"{run.synaptic_operations_per_image:,.0f}",
        str(run.latency.alone),
        str(run.latency.pipelined),
        f"{run.energy_uj.arithmetic:.3g}",
        f"{run.energy_uj.weight_reads:.3g}",
        f"{run.saturations:,}",
        str(run.membrane_bits),
    ]


def _methods(results: Results) -> dict[str, str]:
    """The methods whose integers differ, with the names of those that are the same."""
    names = dict.fromkeys([*(run.method for run in results.runs), *(item.method for item in results.refused)])
    same: dict[str, str] = {run.method: run.same_as for run in results.runs if run.same_as is not None}
    return {
        name: " = ".join([name, *(other for other, first in same.items() if first == name)])
        for name in names
        if name not in same
    }


def _accuracy(results: Results, method: str, steps: int) -> str:
    run = _find(results, method, steps)
    return _needs(results, method, steps)[0] if run is None else _percent(run.accuracy)


def _needs(results: Results, method: str, steps: int) -> list[str]:
    """Why a method and T did not run."""
    item = next((each for each in results.refused if (each.method, each.steps) == (method, steps)), None)
    if item is None:
        return ["-"]
    if item.bits is None:
        return [f"did not run: {item.reason}"]
    return [f"needs {item.bits} bits" + (" or more" if "or more" in item.reason else "")]


def _find(results: Results, method: str, steps: int) -> Run | None:
    return next((run for run in results.runs if (run.method, run.steps) == (method, steps)), None)


def _percent(fraction: float | None) -> str:
    return "-" if fraction is None else f"{100 * fraction:.2f}"


def _listed(numbers: Sequence[int]) -> str:
    *most, last = map(str, numbers)
    return f"{', '.join(most)} and {last}" if most else last


def _head(columns: Sequence[str]) -> list[str]:
    return [_row(columns), "|" + "---|" * len(columns)]


def _row(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |"
