"""The command: ``python -m benchmarks``."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Annotated, TypeVar

import typer

from refsnn import kernels as kernel_sets
from refsnn import output
from refsnn.errors import InputError
from refsnn.terminal import user_errors

Number = TypeVar("Number", int, float)

HELP = """
Measure refsnn against other simulators on the same spiking networks, and
against an int8 runtime on the plain network.

Every case is a network, a spike rate, a number of time-steps and a batch.
All simulators run it in turns, round after round; before that, the outputs
of those that compute exactly must be equal. What was measured stays in
results.json: a run that was interrupted goes on where it stopped, and a run
with other options adds to it. Tables and picture show all that is there.
"""

app = typer.Typer(add_completion=False, rich_markup_mode="rich")


@app.command(help=HELP)
def main(
    networks: Annotated[
        str, typer.Option(metavar="NAME[,NAME..]", help="ResNet-18, ResNet-20, VGG-16, MobileNet-v2, tiny.")
    ] = "ResNet-18,ResNet-20,VGG-16,MobileNet-v2",
    spiking: Annotated[
        str,
        typer.Option(metavar="P[,P..]", help="Per cent of neurons that spike in a step; the first is measured first."),
    ] = "15,5,40",
    steps: Annotated[str, typer.Option(metavar="T[,T..]", help="Numbers of time-steps.")] = "1,2,4,8",
    batch: Annotated[str, typer.Option(metavar="N[,N..]", help="Images handed over at a time.")] = "1,32",
    threads: Annotated[int, typer.Option(help="Threads of everything that is measured.")] = 1,
    kernels: Annotated[
        str, typer.Option(metavar="NAME[,NAME..]", help="refsnn's kernel sets; all: those that this machine can run.")
    ] = "all",
    peers: Annotated[
        str, typer.Option(metavar="NAME[,NAME..]", help="spikingjelly, snntorch, onnxruntime.")
    ] = "spikingjelly,snntorch,onnxruntime",
    compiled: Annotated[
        bool,
        typer.Option(
            "--compile/--no-compile",
            help="Try SpikingJelly under torch.compile too: its fastest setting, about a minute a case.",
        ),
    ] = True,
    rounds: Annotated[int, typer.Option(help="Measured runs of everything in each case.")] = 5,
    seconds: Annotated[float, typer.Option(help="A run takes about so long, and at least one batch.")] = 0.5,
    seed: Annotated[int, typer.Option(help="Of weights and images.")] = 0,
    out: Annotated[Path, typer.Option(metavar="FOLDER", help="Where results are kept.")] = Path("out/benchmarks"),
    again: Annotated[bool, typer.Option("--again", help="Measure again what is there already.")] = False,
    render: Annotated[bool, typer.Option("--render", help="Measure nothing: tables and picture from OUT.")] = False,
) -> None:
    """Parse, measure, render."""
    with user_errors():
        output.prepare(out)
        if rounds < 1 or threads < 1 or seconds <= 0:
            raise InputError("rounds and threads must be at least 1, and seconds more than 0")
        from benchmarks import session

        if not render:
            settings = session.Settings(
                threads=threads,
                kernels=_kernel_sets(kernels),
                peers=tuple(_split(peers)),
                compiled=compiled,
                rounds=rounds,
                seconds=seconds,
                seed=seed,
                again=again,
            )
            session.run(
                out,
                settings,
                _split(networks),
                _numbers(spiking, float),
                _numbers(steps, int),
                _numbers(batch, int),
            )
        session.render(out)


def _split(text: str) -> list[str]:
    return [each.strip() for each in text.split(",") if each.strip()]


def _numbers(text: str, kind: Callable[[str], Number]) -> list[Number]:
    try:
        values = [kind(each) for each in _split(text)]
    except ValueError as error:
        raise InputError(f"'{text}': numbers with commas between them were expected") from error
    if not values or min(values) <= 0:
        raise InputError(f"'{text}': at least one number, all above 0, was expected")
    return values


def _kernel_sets(text: str) -> tuple[str, ...]:
    if text != "all":
        names = tuple(_split(text))
        for name in names:
            kernel_sets.select(name)
        return names
    return kernel_sets.available()


if __name__ == "__main__":
    app()
