"""The table of results, the same for the terminal and the report."""

from __future__ import annotations

from dataclasses import dataclass

from refsnn.results import Results, Run


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One line.

    Attributes:
        cells: from the left; shorter than the columns where a method and T has no figures: the last one says why.
        first: whether a new method starts here.
    """

    cells: tuple[str, ...]
    first: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Table:
    """Headings and lines."""

    columns: tuple[str, ...]
    rows: tuple[Row, ...]


def main(results: Results, *, timed: bool) -> Table:
    """The ANN, then a line a method and T. Columns without any content are left out.

    Args:
        results: what to show.
        timed: whether to show images per second, which differ from run to run.
    """
    shown = {
        "method": True,
        "T": True,
        "accuracy": results.data.labelled and bool(results.data.classes),
        "difference": results.ann.accuracy is not None,
        "agreement": any(run.agreement is not None for run in results.runs),
        # a softmax hides differences of logits; without classes they are all there is
        "output error": results.ann.activation != "softmax" and any(run.output_error for run in results.runs),
        "spikes/image": True,
        "syn. ops/image": True,
        "saturations": True,
        "images/s": timed,
    }
    columns = tuple(name for name, wanted in shown.items() if wanted)
    rows = []
    if results.ann.multiply_adds is not None:
        values = {"method": "ANN", "T": "-", "accuracy": percent(results.ann.accuracy), "agreement": percent(1.0)}
        rows.append(Row(cells=tuple(values.get(column, "-") for column in columns)))
    refused = {(item.method, item.steps): item for item in results.refused}
    done = {(run.method, run.steps): run for run in results.runs}
    methods = dict.fromkeys([*(run.method for run in results.runs), *(item.method for item in results.refused)])
    for method in methods:
        for number, steps in enumerate(sorted(t for name, t in (*done, *refused) if name == method)):
            run = done.get((method, steps))
            if run is None:
                bits = refused[method, steps].bits
                reason = "did not run" if bits is None else f"needs {bits} bits"
                rows.append(Row(cells=(method, str(steps), reason), first=number == 0))
            else:
                values = _values(run, results)
                rows.append(Row(cells=tuple(values[column] for column in columns), first=number == 0))
    return Table(columns=columns, rows=tuple(rows))


def energy(results: Results) -> Table:
    """The estimated energies: the ANN in floating point and in 8 bits, then a line a method and T."""
    columns = ("", "T", "synapses", "neurons", "input layer", "arithmetic", "weight reads")
    rows = []
    if results.ann.energy_uj is not None:
        for name, key in (("ANN, 32-bit floating point", "float32"), ("ANN, 8-bit integers", "int8")):
            amount = results.ann.energy_uj
            # a weight of the float32 network has four bytes
            reads = amount["weight_reads"] * (4 if key == "float32" else 1)
            rows.append(Row(cells=(name, "-", "-", "-", "-", _energy(amount[key]), _energy(reads))))
    before = ""
    for run in results.runs:
        if run.same_as is not None:
            continue
        part = run.energy_uj
        amounts = (part.synapses, part.neurons, part.input, part.arithmetic, part.weight_reads)
        rows.append(Row(cells=(run.method, str(run.steps), *map(_energy, amounts)), first=run.method != before))
        before = run.method
    return Table(columns=columns, rows=tuple(rows))


def percent(fraction: float | None) -> str:
    """A fraction 0..1 as a percentage with two decimals."""
    return "-" if fraction is None else f"{100 * fraction:.2f} %"


def _values(run: Run, results: Results) -> dict[str, str]:
    difference = ""
    if run.accuracy is not None and results.ann.accuracy is not None:
        difference = f"{100 * (run.accuracy - results.ann.accuracy):+.2f}"
    return {
        "method": run.method,
        "T": str(run.steps),
        "accuracy": percent(run.accuracy),
        "difference": difference or "-",
        "agreement": percent(run.agreement),
        "output error": percent(run.output_error.relative) if run.output_error else "-",
        "spikes/image": f"{run.spikes_per_image:,.0f}",
        "syn. ops/image": f"{run.synaptic_operations_per_image:,.0f}",
        "saturations": f"{run.saturations:,}",
        "images/s": f"{run.images_per_second:,.0f}",
    }


def _energy(microjoules: float) -> str:
    return f"{microjoules:,.2f} µJ" if microjoules >= 1 else f"{1000 * microjoules:,.2f} nJ"
