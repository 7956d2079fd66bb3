"""The picture: images a second against T for each network, and the machine's roofline."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks import table
from benchmarks.peers import REFSNN
from benchmarks.results import Results, Row
from benchmarks.roofline import FLOATS, Roofline
from refsnn.errors import require

COLOURS = {
    "refsnn": ("#0072b2", "#56b4e9", "#003f66", "#7f9fbf"),
    "SpikingJelly": ("#d55e00", "#e69f00", "#8c3d00"),
    "snnTorch": ("#cc79a7",),
    "ONNX": ("#000000", "#009e73"),
}
"""Okabe and Ito's colours and shades of them, by how names begin."""
MARKERS = "osD^vPX"
PLAIN = "ONNX"
"""How the names begin of what runs the plain network once, whatever T is."""
GRID = "#e2e6ea"


def draw(results: Results, path: Path) -> None:
    """Write the picture, as SVG or PNG by the name of the file.

    Shown are the first spike rate, and the first number of threads, of those that were measured.
    """
    matplotlib = require("matplotlib", "peers")
    matplotlib.use("agg")
    from matplotlib.figure import Figure

    shown = [
        row for row in results.rows if (row.spiking, row.threads) == (results.rows[0].spiking, results.rows[0].threads)
    ]
    networks = list(dict.fromkeys(row.network for row in shown))
    batches = sorted({row.batch for row in shown})
    styles = _styles(table.names(shown))
    with matplotlib.rc_context({"font.size": 9, "svg.hashsalt": "refsnn", "axes.spines.top": False}):
        figure = Figure(figsize=(max(3.1 * len(networks), 9.0), 2.9 * len(batches) + 5.2), layout="constrained")
        upper, lower = np.asarray(figure.subfigures(2, 1, height_ratios=(2.9 * len(batches), 5.2)))
        grid = upper.subplots(len(batches), len(networks), squeeze=False, sharey="col")
        for line, batch in zip(grid, batches, strict=True):
            for axes, network in zip(line, networks, strict=True):
                _speeds(axes, [r for r in shown if (r.network, r.batch) == (network, batch)], styles)
                axes.set_title(f"{network}, batch {batch}", loc="left", fontsize=9)
            line[0].set_ylabel("images/s")
        for axes in grid[-1]:
            axes.set_xlabel("time-steps T")
        handles, labels = _legend(grid.ravel())
        upper.legend(handles, labels, loc="outside lower center", ncols=4, frameon=False)
        threads = results.rows[0].threads
        upper.suptitle(
            f"{results.rows[0].spiking:g} % of neurons spike in a step, threads: {threads}; medians, and all rounds",
            fontsize=10,
        )
        _roof(lower.subplots(), results.roofline(threads), shown, max(batches), styles)
        figure.savefig(path, dpi=150, metadata={"Date": None} if path.suffix == ".svg" else None)


def _styles(names: Sequence[str]) -> dict[str, dict[str, Any]]:
    used: dict[str, int] = {}
    styles = {}
    for index, name in enumerate(names):
        family = next((each for each in COLOURS if name.startswith(each)), None)
        number = used.get(family or "", 0)
        used[family or ""] = number + 1
        colours = COLOURS[family] if family else ("#888888",)
        styles[name] = {"color": colours[number % len(colours)], "marker": MARKERS[index % len(MARKERS)]}
    return styles


def _speeds(axes: Any, rows: Sequence[Row], styles: dict[str, dict[str, Any]]) -> None:
    rows = sorted(rows, key=lambda row: row.steps)
    for name, style in styles.items():
        points = [(row.steps, engine) for row in rows for engine in row.engines if engine.name == name]
        if not points:
            continue
        steps = [step for step, _ in points]
        medians = np.array([engine.median for _, engine in points])
        low = medians - [min(engine.per_second) for _, engine in points]
        high = np.array([max(engine.per_second) for _, engine in points]) - medians
        axes.errorbar(
            steps,
            medians,
            yerr=np.array([low, high]),
            label=name,
            markersize=4,
            linewidth=1.6 if name.startswith(REFSNN) else 1.1,
            linestyle="--" if name.startswith(PLAIN) else "-",
            elinewidth=0.8,
            **style,
        )
    axes.set_xscale("log", base=2)
    axes.set_yscale("log")
    ticks = [row.steps for row in rows]
    axes.set_xticks(ticks, [str(tick) for tick in ticks])
    axes.minorticks_off()
    axes.grid(color=GRID)
    axes.set_axisbelow(True)


def _legend(grid: Sequence[Any]) -> tuple[list[Any], list[str]]:
    found: dict[str, Any] = {}
    for axes in grid:
        for handle, label in zip(*axes.get_legend_handles_labels(), strict=True):
            found.setdefault(label, handle)
    return list(found.values()), list(found)


def _roof(
    axes: Any, roofline: Roofline | None, rows: Sequence[Row], batch: int, styles: dict[str, dict[str, Any]]
) -> None:
    """Multiply-adds a second over multiply-adds a byte, for the T in the middle."""
    all_steps = sorted({row.steps for row in rows if row.batch == batch})
    steps = 4 if 4 in all_steps else all_steps[len(all_steps) // 2]
    rows = [row for row in rows if (row.batch, row.steps) == (batch, steps)]
    intensities = [row.multiply_adds / row.traffic for row in rows]
    intensities += [row.plain_multiply_adds / row.plain_traffic for row in rows]
    span = np.geomspace(min(1.0, *intensities) / 2, max(intensities) * 4, 100)
    if roofline is not None:
        for name, (instruction, peak) in roofline.peaks.items():
            style = {"color": "#666666", "linestyle": ":"}
            if name != FLOATS:
                style = {"color": styles.get(f"{REFSNN} {name}", style)["color"], "linestyle": "-"}
            axes.plot(span, np.minimum(peak, span * roofline.bandwidth) / 1e9, linewidth=1.2, **style)
            label, right = f"{name}: {instruction}, {peak / 1e9:,.0f}", 60 if name == FLOATS else -1
            place = {"ha": "right", "va": "bottom", "fontsize": 8, "color": style["color"]}
            axes.annotate(label, (span[right], peak / 1e9), **place)
        axes.annotate(
            f"memory {roofline.bandwidth / 1e9:.1f} GB/s",
            (span[8], span[8] * roofline.bandwidth / 1e9),
            rotation=30,
            fontsize=8,
            va="bottom",
            color="#666666",
        )
    for row in rows:
        for engine in row.engines:
            plain = engine.name.startswith(PLAIN)
            work = row.plain_multiply_adds if plain else row.multiply_adds
            byte = row.plain_traffic if plain else row.traffic
            style = styles[engine.name]
            axes.plot(work / byte, engine.median * work / 1e9, linestyle="", markersize=6, **style)
        place = {"rotation": 90, "ha": "right", "va": "bottom", "fontsize": 8}
        axes.text(row.multiply_adds / row.traffic, 0.02, row.network, transform=axes.get_xaxis_transform(), **place)
    axes.set_xscale("log")
    axes.set_yscale("log")
    axes.set_xlabel("multiply-adds a byte of int8 weights and events (every synapse counted, spiking or not)")
    axes.set_ylabel("10^9 multiply-adds/s")
    axes.set_title(
        f"Roofline: T = {steps}, batch {batch}; what skips silent neurons or finds its data in a cache may pass it",
        loc="left",
        fontsize=9,
    )
    axes.grid(color=GRID)
    axes.set_axisbelow(True)
