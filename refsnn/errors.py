"""The errors that a user can mend."""

from __future__ import annotations

import importlib
from types import ModuleType


class InputError(ValueError):
    """Something given to refsnn is wrong: a file, a layer, an option, an image.

    The message names the file and the layer where there is one, what was expected, what was found and what to do.
    The commands print it without a traceback and exit with status 2.
    """


class WidthError(InputError):
    """Integers would not fit.

    Attributes:
        bits: how many they need.
    """

    def __init__(self, message: str, bits: int) -> None:
        super().__init__(message)
        self.bits = bits

    def __reduce__(self) -> tuple[type[WidthError], tuple[str, int]]:
        """Errors travel between processes."""
        return type(self), (str(self), self.bits)


class MissingExtraError(InputError, ImportError):
    """An optional package is not installed; the message names the extra that brings it."""


def require(module: str, extra: str) -> ModuleType:
    """Import an optional module, or say which extra installs it.

    Raises:
        MissingExtraError: the module is not installed. Cure: ``pip install 'refsnn[extra]'``.
    """
    try:
        return importlib.import_module(module)
    except ImportError as error:
        raise MissingExtraError(
            f"this needs the package '{module.partition('.')[0]}': install it with: pip install 'refsnn[{extra}]'"
        ) from error
