"""refsnn: a bit-exact integer simulator of spiking neural networks converted from ordinary trained networks.

In a few lines::

    import refsnn

    model = refsnn.load("weights.h5")                         # what the file holds: network, images
    network = refsnn.convert(model, "ecl", steps=4)           # integers: populations and projections
    result = refsnn.simulate(network, model.test, steps=4)    # logits, predictions, counters
    print((result.predictions[0] == model.test.labels).mean())

``refsnn.convert`` and ``refsnn.simulate`` are packages with everything else about conversion and simulation in them,
and can be called all the same, which calls the function of the same name in ``refsnn.api``. Nothing heavy is imported
before it is used.
"""

from __future__ import annotations

import importlib
import sys
from types import ModuleType
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from refsnn.api import convert, load, simulate

__version__ = "0.1.0"

__all__ = ["__version__", "convert", "load", "simulate"]


class _Callable(ModuleType):
    """A submodule that is called as the function of its name in ``refsnn.api``."""

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        function = getattr(importlib.import_module("refsnn.api"), self.__name__.rpartition(".")[2])
        return function(*args, **kwargs)


class _Package(ModuleType):
    """This package: whoever imports a submodule binds it here, and here it becomes callable."""

    def __setattr__(self, name: str, value: Any) -> None:
        if name in ("convert", "simulate"):
            value.__class__ = _Callable
        super().__setattr__(name, value)


def __getattr__(name: str) -> Any:
    if name == "load":
        return importlib.import_module("refsnn.api").load
    if name in ("convert", "simulate"):
        return importlib.import_module(f"refsnn.{name}")
    raise AttributeError(f"module 'refsnn' has no attribute '{name}'")


sys.modules[__name__].__class__ = _Package
