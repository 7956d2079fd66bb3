"""Unpickling that can build NumPy arrays, lists and dictionaries, and nothing else."""

from __future__ import annotations

import io
import pickle
from typing import Any

import numpy as np

from refsnn.errors import InputError


def _encode(text: str, encoding: str) -> bytes:
    """How Python 3 writes bytes into protocol 2."""
    if encoding != "latin1":
        raise pickle.UnpicklingError(f"bytes encoded as {encoding}")
    return text.encode("latin1")


_RECONSTRUCT = np.empty(0).__reduce__()[0]
_FROM_BUFFER = np.empty(0).__reduce_ex__(5)[0]
_ALLOWED: dict[tuple[str, str], Any] = {("_codecs", "encode"): _encode, ("numpy", "ndarray"): np.ndarray}
_ALLOWED["numpy", "dtype"] = np.dtype
for _core in ("core", "_core"):  # NumPy 1 and 2
    _ALLOWED[f"numpy.{_core}.multiarray", "_reconstruct"] = _RECONSTRUCT
    _ALLOWED[f"numpy.{_core}.numeric", "_frombuffer"] = _FROM_BUFFER


class _Unpickler(pickle.Unpickler):
    def find_class(self, module_name: str, global_name: str) -> Any:
        try:
            return _ALLOWED[module_name, global_name]
        except KeyError:
            raise _ForbiddenError(f"{module_name}.{global_name}") from None


class _ForbiddenError(Exception):
    """A global that no pickle of arrays needs."""


def loads(content: bytes, where: str) -> Any:
    """Unpickle lists, dictionaries, numbers, strings (of Python 2 as bytes) and NumPy arrays.

    Args:
        content: the pickle.
        where: the file, for the error.

    Raises:
        InputError: the pickle asks for another class or function, which could run code and is named; or it is damaged.
    """
    try:
        return _Unpickler(io.BytesIO(content), encoding="bytes").load()
    except _ForbiddenError as error:
        raise InputError(
            f"{where}: this pickle asks for '{error}', which could run code; only NumPy arrays and plain values are "
            "loaded. Save the arrays as .npz"
        ) from error
    except Exception as error:  # a damaged pickle can raise nearly anything
        raise InputError(f"{where}: is a damaged pickle ({error}); download or copy it again") from error
