"""Recipes: files that say how a network is trained, as the options of ``python -m tools.train``.

TOML, a key an option, ``_`` for ``-``. What is given on the command line replaces what the recipe says.
"""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Any

from refsnn.errors import InputError


def read(path: Path, known: set[str]) -> dict[str, Any]:
    """The options of a recipe.

    Args:
        path: the file.
        known: names of the options that there are.

    Raises:
        InputError: missing, no TOML, or with a key that is no option.
    """
    try:
        recipe = tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise InputError(f"{path}: is no recipe that can be read: {error}") from error
    if unknown := sorted(set(recipe) - known):
        raise InputError(f"{path}: '{unknown[0]}' is no option of a training; there are: {', '.join(sorted(known))}")
    return recipe
