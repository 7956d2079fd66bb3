"""Golden vectors: everything that a network does, every population, every step, for implementations to compare with.

In a few lines::

    import golden

    case = golden.write(network, images, steps=4, path="case", reason="a first look")
    case = golden.load("case")                     # checks every file against the manifest
    case.events("conv1")[0][t, c, y, x]            # image 0: what the neuron sent in step t, counted from 0

``docs/golden.md`` describes the format; ``python -m golden --help`` the commands.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from golden.case import Case, PerImage, load
    from golden.manifest import SCHEMA, VERSION, Manifest
    from golden.writer import write

__all__ = ["SCHEMA", "VERSION", "Case", "Manifest", "PerImage", "load", "write"]

_HOMES = {
    **dict.fromkeys(("Case", "PerImage", "load"), "golden.case"),
    **dict.fromkeys(("SCHEMA", "VERSION", "Manifest"), "golden.manifest"),
    "write": "golden.writer",
}


def __getattr__(name: str) -> Any:
    """Import what is asked for: the command line starts without the simulator."""
    if name in _HOMES:
        return getattr(import_module(_HOMES[name]), name)
    raise AttributeError(f"module 'golden' has no attribute '{name}'")
