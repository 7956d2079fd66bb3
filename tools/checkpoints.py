"""Checkpoints of the zoo's networks, in the layouts that people have, to the project's own ANN file.

``python -m tools.checkpoints FILE --network resnet18 --shape 3,32,32 --activation qcfs --levels 4 --out weights.h5``
"""

from __future__ import annotations

from refsnn.errors import InputError, require

require("torch", "train")

import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any

import torch
import typer
from torch import Tensor, nn

from refsnn.ann import project
from refsnn.ann.graph import Preprocessing
from refsnn.terminal import notice, run_command, user_errors
from tools import activations, networks, numbers, options
from tools.export import export, halve
from tools.layouts import LAYOUTS, LEAVES, Table

WRAPPERS = ("state_dict", "model_state_dict", "network", "model", "net")
"""Keys under which training programs keep a state dict beside other things."""
PREFIXES = ("module.", "_orig_mod.", "model.", "net.")
"""What DataParallel, torch.compile and Lightning modules put in front of every name."""
BOOKKEEPING = "num_batches_tracked"
"""Of batch norms: old files lack it, and nothing at inference reads it."""
SHOWN = 5
"""Names of a kind that a message lists."""


def read(path: Path) -> dict[str, Any]:
    """What a file of ``torch.save`` holds: tensors, numbers and names; nothing in it can run code.

    Raises:
        InputError: missing, damaged, or holding anything else.
    """
    try:
        content = torch.load(path, weights_only=True, map_location="cpu")
    except FileNotFoundError as error:
        raise InputError(f"{path}: there is no such file") from error
    except Exception as error:  # PyTorch's unpickler trips over damage in many ways
        if found := re.search(r"GLOBAL (\S+)", str(error)):
            raise InputError(
                f"{path}: holds more than tensors ({found[1]}), which could run code, so it is not opened. Where you "
                "trust it, save its tensors alone: "
                "torch.save(torch.load(FILE, weights_only=False)['state_dict'], 'tensors.pt')"
            ) from error
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        raise InputError(f"{path}: is no file of torch.save, or damaged: {reason}") from error
    if not isinstance(content, dict):
        raise InputError(f"{path}: holds a {type(content).__name__}; a state dict was expected")
    return content


def state_dict(content: dict[str, Any], path: Path) -> dict[str, Any]:
    """The state dict inside a checkpoint: without wrappers, and without prefixes that all names share.

    Raises:
        InputError: there are no tensors.
    """
    while inner := next((content[key] for key in WRAPPERS if isinstance(content.get(key), dict)), None):
        content = inner
    if not any(isinstance(value, Tensor) for value in content.values()):
        raise InputError(f"{path}: holds no tensors under {_some(list(map(str, content)))}; a state dict was expected")
    while prefix := next((p for p in PREFIXES if all(key.startswith(p) for key in content)), None):
        content = {key.removeprefix(prefix): value for key, value in content.items()}
    return content


@dataclass
class Match:
    """How a state dict fits a network in one layout.

    Attributes:
        values: what the network gets, by its own names.
        names: the file's name of each of these.
        missing, surplus: names of what the file lacks and has too much, as the layout has them.
        misshapen: what has another shape, in words.
    """

    layout: str
    values: dict[str, Tensor] = field(default_factory=dict)
    names: dict[str, str] = field(default_factory=dict)
    missing: list[str] = field(default_factory=list)
    surplus: list[str] = field(default_factory=list)
    misshapen: list[str] = field(default_factory=list)

    @property
    def problems(self) -> int:
        """How many names and shapes do not fit."""
        return len(self.missing) + len(self.surplus) + len(self.misshapen)


def match(network: nn.Module, state: dict[str, Any], layout: str, table: Table) -> Match:
    """Compare a state dict in a layout with what a network needs."""
    result = Match(layout)
    needed = {name: value for name, value in network.state_dict().items() if not name.endswith(BOOKKEEPING)}
    for theirs, value in state.items():
        path, _, leaf = theirs.rpartition(".")
        ours = f"{table[path]}.{LEAVES.get(leaf, leaf)}" if path in table else ""
        if leaf == BOOKKEEPING and path in table:
            continue
        if ours not in needed or not isinstance(value, Tensor):
            result.surplus.append(theirs)
            continue
        result.names[ours] = theirs
        if value.numel() == needed[ours].numel() == 1:
            value = value.reshape(())  # the QCFS code's thresholds are (1,)
        if value.shape != needed[ours].shape:
            shapes = (tuple(value.shape), tuple(needed[ours].shape))
            result.misshapen.append(f"{theirs} is {shapes[0]}, the network's {shapes[1]}")
        result.values[ours] = value
    theirs_of: dict[str, str] = {}
    for theirs, ours in table.items():
        theirs_of.setdefault(ours, theirs)
    leaves = {ours: theirs for theirs, ours in reversed(LEAVES.items())} if layout == "qcfs" else {}
    for ours in needed:
        if ours not in result.names:
            path, _, leaf = ours.rpartition(".")
            result.missing.append(f"{theirs_of.get(path, path)}.{leaves.get(leaf, leaf)}")
    return result


def fit(network: nn.Module, content: dict[str, Any], path: Path, layout: str = "auto") -> str:
    """Put the weights of a checkpoint into a network of the zoo.

    Args:
        content: what ``read`` gave.
        path: for the messages.
        layout: a key of ``LAYOUTS``, or ``auto``: the one that fits best.

    Returns:
        The layout.

    Raises:
        InputError: the file does not fit the network: the message has the missing and surplus names; or a learned
            threshold is not above 0.
    """
    if layout not in (*LAYOUTS, "auto"):
        raise InputError(f"there is no layout '{layout}'; there are: auto, {', '.join(LAYOUTS)}")
    state = state_dict(content, path)
    tables = {name: LAYOUTS[name](network) for name in (LAYOUTS if layout == "auto" else (layout,))}
    matches = [match(network, state, name, table) for name, table in tables.items() if table is not None]
    if not matches:
        raise InputError(f"{path}: this network has no names in the layout '{layout}'; use --layout auto")
    best = min(matches, key=lambda each: each.problems)
    if best.problems:
        parts = [("missing", best.missing), ("surplus", best.surplus), ("of another shape", best.misshapen)]
        found = "; ".join(f"{len(names)} {kind}: {_some(names)}" for kind, names in parts if names)
        closest = " (the closest)" if layout == "auto" else ""
        raise InputError(f"{path}: does not fit the network in the layout '{best.layout}'{closest}. {found}")
    for name, value in best.values.items():
        if name.endswith(".bound") and not value.item() > 0:
            raise InputError(
                f"{path}: the learned threshold '{best.names[name]}' is {value.item():g}; thresholds must be above 0: "
                "train the network again, or further with the threshold set to a small number above 0"
            )
    network.load_state_dict(best.values, strict=False)
    return best.layout


def _some(names: list[str]) -> str:
    rest = len(names) - SHOWN
    return ", ".join(names[:SHOWN]) + (f" and {rest} more" if rest > 0 else "")


def main(
    file: Annotated[Path, typer.Argument(help="A file of torch.save: a state dict, or a checkpoint with one inside.")],
    network: options.Network,
    shape: Annotated[str, typer.Option(help="Of an image: channels, height, width, separated by commas.")],
    activation: options.Activation,
    out: Annotated[Path, typer.Option(help="The refsnn-ann file to write.")],
    levels: options.Levels = 4,
    classes: Annotated[int | None, typer.Option(help="If not those of the file's last linear layer.", min=1)] = None,
    layout: Annotated[str, typer.Option(help=f"Whose names the file has: auto, {', '.join(LAYOUTS)}.")] = "auto",
    width: options.Width = None,
    stem: options.Stem = None,
    pool: options.Pool = None,
    hidden: options.Hidden = None,
    bottleneck: options.Bottleneck = None,
    scale: options.Scale = 255.0,
    mean: options.Mean = "0",
    std: options.Std = "1",
    half: options.Half = False,
) -> None:
    with user_errors():
        channels, height, columns = numbers.read("shape", shape, int, 3)
        content = read(file)
        module = networks.build(
            network,
            (channels, height, columns),
            classes or _classes(state_dict(content, file)),
            lambda: activations.activation(activation, levels),
            width,
            stem=stem,
            pool=pool,
            hidden=hidden,
            bottleneck=bottleneck,
        )
        used = fit(module, content, file, layout)
        if half:
            halve(module)
        preprocessing = Preprocessing(scale=scale, mean=numbers.read("mean", mean), std=numbers.read("std", std))
        graph = export(module, (channels, height, columns), preprocessing)
        project.write(out, graph, writer=f"refsnn tools.checkpoints, PyTorch {torch.__version__}")
        notice(f"{file} has the layout '{used}'")


def _classes(state: dict[str, Any]) -> int:
    """Rows of the last matrix, which is the last linear layer's; 1 where there is none: then nothing fits anyway."""
    matrices = [value for value in state.values() if isinstance(value, Tensor) and value.ndim == 2]
    return len(matrices[-1]) if matrices else 1


if __name__ == "__main__":
    run_command(main, "Write a network of the zoo from its checkpoint as refsnn-ann.", "python -m tools.checkpoints")
