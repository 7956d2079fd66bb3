"""A waveform of one neuron through three steps, drawn from what a simulation recorded: ``python -m hdl.waveform``."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from html import escape
from pathlib import Path
from typing import Annotated, Any, Literal

import typer
from amaranth.sim import Simulator

from hdl.neuron import Constant, Fire, Neuron
from hdl.parameters import Parameters
from refsnn import files
from refsnn.terminal import Version, run_command, user_errors

HELP = """
Simulate one dual-threshold neuron for three time-steps and draw what its pipeline did.

The picture is drawn from the recorded signals; --vcd keeps them for a waveform viewer.
"""

THRESHOLD, NEGATIVE_THRESHOLD, INITIAL, LOW, HIGH = 10, 0, 5, 0, 3
CURRENTS = (6, -4, -9)
"""What the lanes left for the three steps: a spike, one taken back, and one that the gate blocks."""

Trace = Mapping[str, Sequence[int]]
"""For each signal its bits, cycle by cycle, as an unsigned integer."""


@dataclass(frozen=True, slots=True)
class Row:
    """A line of the picture: one signal.

    Attributes:
        signal: its name in the recording.
        note: what it is.
        form: how it is shown. ``bit``: high or low; the rest as text in a box.
        width: bits of a number.
        valid: the signal that says in which cycles the value means something; empty: in all.
    """

    signal: str
    note: str
    form: Literal["bit", "number", "binary", "spike"]
    width: int = 1
    valid: str = ""

    def text(self, value: int) -> str:
        """A value as it is shown."""
        if self.form == "binary":
            return f"{value:0{self.width}b}"
        if self.form == "spike":
            return ("0", "+1", "?", "-1")[value]
        return str(signed(value, self.width))


def rows(neuron: Neuron) -> list[Row]:
    """The lines of the picture: a beat's way through the pipeline."""
    parameters = neuron.parameters
    state, count, columns = parameters.state_bits, parameters.count_bits, parameters.columns
    at = neuron.combining
    return [
        Row("beat.valid", "a beat enters", "bit"),
        Row("beat.mask", "whose column counts", "binary", columns, "beat.valid"),
        Row("current_sum", "I = its sum + constant", "number", state, f"beat_{at + 2}.valid"),
        Row("total", "v + I, exact", "number", state + 1, f"beat_{at + 3}.valid"),
        Row("before", "u = v + I, clamped", "number", state, f"beat_{at + 4}.valid"),
        Row("constants.up", "threshold", "number", state),
        Row("constants.down", "fires negative below", "number", state),
        Row("positive", "u ≥ up and n < high", "bit"),
        Row("low", "u < down and n > low", "bit"),
        Row("spike", "s, while fired", "spike", 2, "fired"),
        Row("after.membrane", "v = u - s up, to be stored", "number", state, "stored"),
        Row("after.count", "n = n + s, to be stored", "number", count, "stored"),
        Row("state.membrane", "v in the memory", "number", state),
        Row("state.count", "n in the memory", "number", count),
    ]


def record(path: Path) -> Neuron:
    """Simulate a neuron: its initial membrane, then a time-step for each of ``CURRENTS``.

    Beats follow each other as closely as one neuron allows (``Neuron.revisit`` cycles). Between them, a core's unit
    serves the other pixels of a tile.

    Args:
        path: the VCD file to write.
    """
    neuron = Neuron(Parameters())
    constants = {
        "threshold": THRESHOLD,
        "up": THRESHOLD,
        "down": -NEGATIVE_THRESHOLD,
        "initial": INITIAL,
        "bias": 0,
        "shift": 0,
    }
    beats: list[dict[str, Any]] = [{"constant": Constant.INITIAL, "recount": 1}]
    for step in range(len(CURRENTS)):
        beats.append(
            {
                "mask": 1 << step,
                "keep": 1,
                "constant": Constant.BIAS,
                "clamp": 1,
                "fire": Fire.YES,
                "restart": 1,
            }
        )

    async def bench(context: Any) -> None:
        context.set(neuron.constants, constants)
        context.set(neuron.settings, {"negative": 1, "capped": 1, "gated": 1, "low": LOW, "high": HIGH})
        context.set(neuron.sums, [*CURRENTS, 0])
        for beat in beats:
            for cycle in range(neuron.revisit):
                context.set(neuron.beat, {"valid": 1, **beat} if cycle == 0 else {})
                stored, after = context.get(neuron.stored), context.get(neuron.after)
                await context.tick()
                if stored:
                    context.set(neuron.state, after)
        await context.tick()

    simulator = Simulator(neuron)
    simulator.add_clock(1e-6)
    simulator.add_testbench(bench)
    with simulator.write_vcd(str(path)):
        simulator.run()
    return neuron


def read(path: Path) -> dict[str, list[int]]:
    """The signals of a VCD file: their bits in every cycle of the clock ``clk``, just before the edge that ends it.

    Changes of strings are left out.
    """
    codes: dict[str, str] = {}
    now: dict[str, int] = {}
    cycles: list[dict[str, int]] = []
    for line in path.read_text(encoding="ascii").splitlines():
        words = line.split()
        if words[:1] == ["$var"]:
            codes[words[4].lstrip("\\")] = words[3]
        elif line[:1] == "b":
            now[words[1]] = int(words[0][1:], 2)
        elif line[:1] in ("0", "1"):
            if line == f"1{codes['clk']}":
                cycles.append(dict(now))
            now[line[1:]] = int(line[0])
    return {name: [cycle.get(code, 0) for cycle in cycles] for name, code in codes.items()}


def signed(value: int, width: int) -> int:
    """Bits as a number in two's complement."""
    return value - (1 << width) if value >> (width - 1) & 1 else value


# The picture, in pixels.

LEFT, TOP, CELL, LINE, BOX, MARGIN = 300, 108, 36, 32, 20, 16
BANDS = ("#f4f6f9", "#ffffff")
SPIKES = {"+1": "#cdeccf", "-1": "#f6cfcc"}


def draw(trace: Trace, neuron: Neuron) -> str:
    """The picture as SVG: clock cycles from left to right, a band for each beat."""
    lines = rows(neuron)
    cycles = len(trace["clk"])
    span = neuron.revisit
    width, height = LEFT + CELL * cycles + MARGIN, TOP + LINE * len(lines) + MARGIN
    inner = height - 2 * MARGIN
    out = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" width="{width}" height="{height}" '
        'font-family="DejaVu Sans, Verdana, sans-serif" font-size="12">',
        "<title>One dual-threshold neuron through three time-steps</title>",
        f'<rect width="{width}" height="{height}" fill="#ffffff"/>',
    ]
    found = headings(trace, neuron)
    for beat, heading in enumerate(found):
        x = LEFT + CELL * span * beat
        end = LEFT + CELL * (span * (beat + 1) if heading is not found[-1] else cycles)
        out.append(f'<rect x="{x}" y="{MARGIN}" width="{end - x}" height="{inner}" fill="{BANDS[beat % 2]}"/>')
        for line, text in enumerate(heading):
            weight = ' font-weight="bold"' if line == 0 else ""
            out.append(f'<text x="{x + 8}" y="{MARGIN + 18 + 17 * line}"{weight}>{escape(text)}</text>')
    for cycle in range(cycles):
        x = LEFT + CELL * cycle
        out.append(f'<path d="M{x} {TOP - 16}V{height - MARGIN}" stroke="#dfe3e8"/>')
        out.append(f'<text x="{x + CELL // 2}" y="{TOP - 6}" text-anchor="middle" fill="#6b7480">{cycle}</text>')
    out.append(f'<text x="{LEFT - 10}" y="{TOP - 6}" text-anchor="end" fill="#6b7480">clock cycle</text>')
    for number, row in enumerate(lines):
        out += _line(row, trace, TOP + LINE * number)
    return "\n".join([*out, "</svg>", ""])


def headings(trace: Trace, neuron: Neuron) -> list[tuple[str, ...]]:
    """For each beat what happened to the neuron, from the recording."""
    state, count = neuron.parameters.state_bits, neuron.parameters.count_bits
    result: list[tuple[str, ...]] = [("initial membrane", f"v = {INITIAL}, n = 0")]
    for step in range(1, len(CURRENTS) + 1):
        end = neuron.revisit * step + neuron.latency
        u = signed(trace["before"][end - 1], state)
        v, n = signed(trace["state.membrane"][end - 1], state), signed(trace["state.count"][end - 1], count)
        current = signed(trace["current_sum"][end - 3], state)
        if trace["positive"][end]:
            verdict = f"at least {THRESHOLD}: a spike"
        elif trace["low"][end]:
            verdict = f"below {-NEGATIVE_THRESHOLD}, n = {n}: a negative spike"
        elif u < -NEGATIVE_THRESHOLD:
            verdict = f"below {-NEGATIVE_THRESHOLD}, but n = {n}: blocked"
        else:
            verdict = "in between: no spike"
        sign = "-" if current < 0 else "+"
        result.append((f"step {step}", f"u = {v} {sign} {abs(current)} = {u}", verdict))
    return result


def _line(row: Row, trace: Trace, top: int) -> list[str]:
    """A line of the picture: its label, and a trace or boxes."""
    values = trace[row.signal]
    shown = [bool(valid) for valid in trace[row.valid]] if row.valid else [True] * len(values)
    upper, lower, middle = top + 6, top + 6 + BOX, top + 6 + BOX // 2
    out = [
        f'<text x="{MARGIN}" y="{middle + 4}" font-family="DejaVu Sans Mono, monospace">{row.signal}</text>',
        f'<text x="{LEFT - 10}" y="{middle + 4}" text-anchor="end" fill="#6b7480" font-size="11">'
        f"{escape(row.note)}</text>",
    ]
    if row.form == "bit":
        level = [upper if value else lower for value in values]
        path = f"M{LEFT} {level[0]}" + "".join(f"V{y}H{LEFT + CELL * (at + 1)}" for at, y in enumerate(level))
        return [*out, f'<path d="{path}" fill="none" stroke="#1c2530" stroke-width="1.5"/>']
    at = 0
    while at < len(values):
        end = at + 1
        while end < len(values) and shown[end] == shown[at] and (not shown[at] or values[end] == values[at]):
            end += 1
        x, right = LEFT + CELL * at, LEFT + CELL * end
        if shown[at]:
            text = row.text(values[at])
            fill = SPIKES.get(text, "#ffffff") if row.form == "spike" else "#e3ecf8"
            box = f'x="{x + 1}" y="{upper}" width="{right - x - 2}" height="{BOX}" rx="5"'
            out.append(f'<rect {box} fill="{fill}" stroke="#1c2530"/>')
            centre = (x + right) // 2
            out.append(f'<text x="{centre}" y="{middle + 4}" text-anchor="middle" font-size="11">{text}</text>')
        else:
            out.append(f'<path d="M{x} {middle}H{right}" stroke="#b7bec7"/>')
        at = end
    return out


def waveform(
    out: Annotated[Path, typer.Option(metavar="FILE", help="The picture, SVG.")],
    vcd: Annotated[Path | None, typer.Option(metavar="FILE", help="Also keep the recorded signals.")] = None,
    version: Version = False,
) -> None:
    with user_errors(), tempfile.TemporaryDirectory() as folder:
        recorded = Path(folder) / "neuron.vcd"
        neuron = record(recorded)
        files.write_text(out, draw(read(recorded), neuron))
        if vcd is not None:
            files.write_text(vcd, recorded.read_text(encoding="ascii"))


def main() -> None:
    """Run the command."""
    run_command(waveform, HELP, "python -m hdl.waveform")


if __name__ == "__main__":
    main()
