# amaranth: UnusedElaboratable=no
"""Mutants that the vectors did not kill: can any legal input tell them from the original?"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Literal, TypeAlias

from amaranth.hdl import Assert, Assume, ClockSignal, Const, Elaboratable, Instance, Module, ResetSignal, Signal, Value
from amaranth.lib.wiring import Component, In

from hdl.formal.bench import Bench
from hdl.mutation.netlist import MUTANT, ORIGINAL, SELECT, Mutant, Netlist
from hdl.mutation.simulation import CLOCK, RESET
from hdl.toolchain import prove, verilog

Answer: TypeAlias = Literal["equivalent", "equivalent within the horizon", "differs"]


class Half(Elaboratable):
    """A netlist in the place of the component that it was made from.

    Args:
        component: lends its ports.
        netlist: of it.
        number: of the mutant; None for the original.

    Attributes:
        registers: what is in them, by name.
    """

    def __init__(self, component: Any, netlist: Netlist, number: int | None = None) -> None:
        self.component, self.netlist, self.number = component, netlist, number
        self.registers = {name: Signal(width) for name, width in netlist.registers.items()}

    def __getattr__(self, name: str) -> Any:
        return getattr(self.component, name)

    def elaborate(self, platform: Any) -> Module:
        m = Module()
        special = {CLOCK: ClockSignal(), RESET: ResetSignal()}
        ports: dict[str, Any] = {f"o_{name}": register for name, register in self.registers.items()}
        ports |= {f"o_{name}": Value.cast(getattr(self, name)) for name in self.netlist.outputs}
        for name, width in self.netlist.inputs.items():
            if name != SELECT:
                ports[f"i_{name}"] = special[name] if name in special else Value.cast(getattr(self, name))
            elif self.number is not None:
                ports[f"i_{name}"] = Const(self.number, width)
        m.submodules.netlist = Instance(ORIGINAL if self.number is None else MUTANT, **ports)
        return m


class Neurons(Bench):
    """Two neurons, under all that may be assumed of their inputs; they are reset at any time.

    Assumed besides: after a reset, thresholds are loaded before anything fires or halves them, and they are not halved
    below that of the least significant digit.
    """

    resets = True

    def __init__(self, original: Half, mutant: Half, tied: bool) -> None:
        super().__init__(original.parameters, lambda _: original)
        self.mutant, self.tied = mutant, tied

    def prove(self, m: Module) -> None:
        first, second, twin = self.neuron, self.mutant, self.twin
        m.submodules.mutant = second
        for name in ("beat", "sums", "state", "static", "constants", "settings"):
            m.d.comb += Value.cast(getattr(second, name)).eq(Value.cast(getattr(first, name)))
        loaded = Signal()
        with m.If(twin.beat.valid & twin.beat.restart):
            m.d.sync += loaded.eq(1)
        with m.Elif(twin.beat.valid):
            halved = twin.before_up >> 1 >= self.constants.threshold
            m.d.comb += [Assume(~twin.beat.halve | (loaded & halved)), Assume(~twin.beat.fire.as_value() | loaded)]
        for flag, names in (("fired", ()), ("stored", ("spike", "after")), ("committed", ("current",))):
            m.d.comb += Assert(getattr(first, flag) == getattr(second, flag))
            for name in names:
                m.d.comb += Assert(~getattr(first, flag) | same(first, second, name))
        if self.tied:
            ready = self.later(m, loaded, first.combining + 2)
            for name, before in (("up", twin.before_up), ("down", twin.before_down)):
                held = self.later(m, before, first.combining + 2)
                m.d.comb += [
                    Assert(~ready | (first.registers[name].as_signed() == held)),
                    Assert(~ready | (second.registers[name].as_signed() == held)),
                ]
            m.d.comb += Assert((twin.before_up >= 0) & (twin.before_down <= 0))


class Arrays(Component):
    """Two integrate arrays with the same inputs, which are free but for this: no event is off and negative."""

    def __init__(self, original: Half, mutant: Half, tied: bool) -> None:
        self.halves, self.tied = (original, mutant), tied
        self.names = ("weights", "enable", "negative", "shift")
        super().__init__({name: In(len(Value.cast(getattr(original, name)))) for name in self.names})

    def elaborate(self, platform: Any) -> Module:
        m = Module()
        m.submodules += self.halves
        for half in self.halves:
            m.d.comb += [Value.cast(getattr(half, name)).eq(getattr(self, name)) for name in self.names]
        m.d.comb += [Assume((self.negative & ~self.enable) == 0), Assert(same(*self.halves, "sums"))]
        if self.tied:
            first, second = (half.registers for half in self.halves)
            m.d.comb += [Assert(first[name] == second[name]) for name in first if name.endswith("total")]
        return m


Pair: TypeAlias = Callable[[Half, Half, bool], Component]
"""Makes a design that asserts of an original and a mutant that no legal input tells them apart; the flag: and that the
registers that feed themselves are equal."""


def same(first: Half, second: Half, name: str) -> Any:
    """Whether a port has the same value on both sides."""
    return Value.cast(getattr(first, name)) == Value.cast(getattr(second, name))


def compare(
    pair: Pair,
    component: Callable[[], Any],
    netlist: Netlist,
    mutant: Mutant,
    depth: int,
    horizon: int,
) -> Answer:
    """Ask a solver.

    By k-induction, which can close only if the registers that feed themselves are asserted to be equal, too. If they
    are not, or it does not close, the answer is about the outputs, for ``horizon`` cycles from power-up.

    Args:
        pair: for this component.
        component: makes what the netlist was made from.
        netlist: with all mutants.
        mutant: one that survived.
        depth: the k of the induction.
        horizon: enough cycles for any difference to come out.

    Raises:
        MissingExtraError: a tool is not installed.
        ToolError: a tool failed.
    """
    verdict = "UNKNOWN"
    for tied, cycles in ((True, depth), (False, horizon)):
        halves = Half(component(), netlist), Half(component(), netlist, mutant.number)
        name = f"mutant_{mutant.number}" + ("_tied" if tied else "")
        (netlist.folder / f"{name}.v").write_text(verilog(pair(*halves, tied), "pair"), encoding="utf-8")
        files = f"{name}.v", f"{ORIGINAL}.il", f"{MUTANT}.il"
        script = f"""[options]
mode prove
depth {cycles}
[engines]
smtbmc yices
[script]
read_verilog -formal {files[0]}
read_rtlil {files[1]}
read_rtlil {files[2]}
prep -flatten -top pair
[files]
{chr(10).join(files)}
"""
        verdict, _ = prove(name, script, netlist.folder)
        if verdict == "PASS":
            return "equivalent"
    return "differs" if verdict == "FAIL" else "equivalent within the horizon"
