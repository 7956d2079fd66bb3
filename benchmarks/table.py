"""The tables: images a second of every engine, and how many times as fast as each peer refsnn is."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from benchmarks.peers import REFSNN
from benchmarks.results import Rates, Results, Row
from refsnn.terminal import show_table

CASE = ("network", "spiking", "T", "batch", "threads")
LEFT = ("network", "kernels")


@dataclass(frozen=True, slots=True)
class Table:
    """Headings and cells.

    Attributes:
        breaks: where there is a line in front of a row.
    """

    title: str
    columns: list[str]
    rows: list[list[str]]
    breaks: list[bool]

    def show(self) -> None:
        """Print it on stdout."""
        show_table(self.title, self.columns, self.rows, left=LEFT, breaks=self.breaks)

    def markdown(self) -> str:
        """The same for a page."""
        rule = ["---" if column in LEFT else "---:" for column in self.columns]
        lines = [self.columns, rule, *self.rows]
        return f"{self.title}\n\n" + "\n".join(f"| {' | '.join(line)} |" for line in lines) + "\n"


def names(rows: Sequence[Row]) -> list[str]:
    """All engines, in the order in which they appear."""
    return list(dict.fromkeys(engine.name for row in rows for engine in row.engines))


def speeds(results: Results) -> Table:
    """A line a case, a column an engine."""
    rows, engines = ordered(results.rows), names(results.rows)
    cells = []
    for row in rows:
        by_name = {engine.name: engine for engine in row.engines}
        cells.append([*_case(row), *(_speed(by_name[name]) if name in by_name else "-" for name in engines)])
    rounds = sorted({len(engine.per_second) for row in rows for engine in row.engines})
    title = f"images a second: median of {_several(rounds)} rounds (slowest .. fastest)"
    return Table(title, [*CASE, *engines], cells, _breaks(rows))


def ratios(results: Results) -> Table:
    """A line a case and kernel set, a column a peer: refsnn's median over the peer's."""
    engines = names(results.rows)
    own = [name for name in engines if name.startswith(REFSNN)]
    peers = [name for name in engines if name not in own]
    lines, cells = [], []
    for row in ordered(results.rows):
        for name in own:
            mine = row.median(name)
            if mine is None:
                continue
            others = [row.median(peer) for peer in peers]
            lines.append(row)
            kernels = name.removeprefix(REFSNN).strip()
            cells.append([*_case(row), kernels, *("-" if other is None else f"{mine / other:.2f}" for other in others)])
    return Table("times as fast: refsnn's median over the peer's", [*CASE, "kernels", *peers], cells, _breaks(lines))


def notes(results: Results) -> list[str]:
    """What a reader of the tables must know, a paragraph each: how often neurons spike, settings, who is missing."""
    lines = [", ".join(f"{key} {value}" for key, value in results.machine.items())]
    for roofline in results.rooflines:
        peaks = "; ".join(f"{key} {rate / 1e9:,.0f} ({name})" for key, (name, rate) in roofline.peaks.items())
        lines.append(
            f"threads: {roofline.threads}: at most, in 10^9 multiply-adds a second: {peaks}; "
            f"memory {roofline.bandwidth / 1e9:.1f} GB/s"
        )
    for row in ordered(results.rows):
        lines.append(f"{_name(row)}: {rates(row)}; {cores(row)}")
        told = [f"{engine.name}: {engine.note}" for engine in row.engines if engine.note]
        if told:
            lines.append(f"{_name(row)}: {'; '.join(told)}")
    lines += [f"left out: {peer}: {reason}" for peer, reason in results.missing.items()]
    return list(dict.fromkeys(lines))


def rates(row: Row) -> str:
    """How often neurons spike, layer by layer."""
    reached = " ".join(f"{100 * rate:.1f}" for rate in row.reached.values())
    return f"neurons that spike in a step, by layer, in %: {reached}"


def cores(row: Row) -> str:
    """Whether the machine was free."""
    return f"processor time over time while measuring: {row.cores:.2f} (threads: {row.threads})"


def ordered(rows: Sequence[Row]) -> list[Row]:
    """By network as measured, then batch, threads, spiking, T."""
    networks = list(dict.fromkeys(row.network for row in rows))
    return sorted(rows, key=lambda r: (networks.index(r.network), r.batch, r.threads, r.spiking, r.steps))


def _case(row: Row) -> list[str]:
    return [row.network, f"{row.spiking:g} %", str(row.steps), str(row.batch), str(row.threads)]


def _name(row: Row) -> str:
    return f"{row.network}, {row.spiking:g} %, T = {row.steps}, batch {row.batch}, threads {row.threads}"


def _speed(engine: Rates) -> str:
    values = engine.per_second
    return f"{_number(engine.median)} ({_number(min(values))} .. {_number(max(values))})"


def _number(value: float) -> str:
    return f"{value:,.0f}" if value >= 100 else f"{value:.1f}"


def _several(numbers: Sequence[int]) -> str:
    return str(numbers[0]) if len(numbers) == 1 else f"{numbers[0]} to {numbers[-1]}" if numbers else "no"


def _breaks(rows: Sequence[Row]) -> list[bool]:
    groups = [(row.network, row.batch, row.threads) for row in rows]
    return [index > 0 and group != groups[index - 1] for index, group in enumerate(groups)]
