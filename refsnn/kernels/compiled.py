"""Compilation by Numba, kept on disk until the source of any kernel changes.

Numba's cache goes by the names of functions, and looks only at the file of the one that it compiles. So it would go on
running what that function inlined from another file before that one was changed; and of functions with the same name,
such as closures of one kind compiled by different processes, the linker takes the first for all. Here every compiled
function has a name of its own, which ends with a digest of all files.
"""

from __future__ import annotations

import gc
import hashlib
import inspect
import os
import signal
import sys
import threading
import time
import warnings
from collections.abc import Callable, Iterable
from contextlib import suppress
from functools import cache, partial, wraps
from importlib.resources import files
from pathlib import Path
from types import FunctionType
from typing import Any, ParamSpec, TypeVar

import numba
from llvmlite import ir
from numba import types
from numba.core import cgutils, event
from numba.core.compiler_lock import global_compiler_lock
from numba.extending import intrinsic

from refsnn.machine import processors

P = ParamSpec("P")
Made = TypeVar("Made")


def _digest(sources: Iterable[Any]) -> str:
    """Eight hexadecimal digits that change with the contents of these files."""
    whole = hashlib.sha256()
    for source in sources:
        whole.update(source.read_bytes())
    return whole.hexdigest()[:8]


def _sources() -> list[Any]:
    """All that may be inlined into a compiled function: this package, and the scalars that it jits."""
    package = files("refsnn")
    kernels = [source for source in (package / "kernels").iterdir() if source.name.endswith(".py")]
    return [*sorted(kernels, key=lambda source: source.name), package / "neurons.py"]


FORKS = sys.platform == "linux"
"""Whether a process may fork to compile; elsewhere the system's own libraries may fail in a fork."""

PATIENCE = 60.0
"""Seconds to wait for a fork when there is nothing else to compile: it may need what another thread had locked."""

_DIGEST = _digest(_sources())

_names: set[str] = set()

_making = threading.RLock()

_unpack: Any = cgutils.unpack_tuple
_unlikely: Any = cgutils.if_unlikely
_tuple: Any = types.Tuple


class _WithoutCollection(event.Listener):
    """Keeps Python from looking for garbage while Numba compiles, which makes much that stays and little garbage."""

    depth = 0
    enabled = False

    def on_start(self, event: Any) -> None:
        if self.depth == 0:
            self.enabled = gc.isenabled()
            gc.disable()
        self.depth += 1

    def on_end(self, event: Any) -> None:
        self.depth -= 1
        if self.depth == 0 and self.enabled:
            gc.enable()


_register: Any = event.register
_register("numba:compile", _WithoutCollection())  # Numba has a lock around it


def compiled(function: Any, *, within: bool = False, inline: bool = False) -> Any:
    """Let Numba compile a function when it is called, or find it in its cache. It runs without the global lock.

    Args:
        within: whether only compiled functions call it: what Python needs to do so takes longer to compile than most of
            them do.
        inline: whether LLVM has to inline it into these.

    Raises:
        ValueError: another one has its name, or a closure with other contents may have it.
    """
    name = f"{function.__module__}.{function.__qualname__}"
    if name in _names or "<locals>" in name:
        raise ValueError(f"'{name}' is not a name that no other compiled function has, now or in another process")
    _names.add(name)
    function.__qualname__ = f"{function.__qualname__}_{_DIGEST}"
    options: Any = {"forceinline": inline, "no_cpython_wrapper": within, "no_cfunc_wrapper": True}
    return numba.njit(cache=True, nogil=True, **options)(function)


within: Any = partial(compiled, within=True)
"""``compiled`` for functions that only compiled ones call."""

inlined: Any = numba.njit(inline="always")
"""Let Numba put a function's code into each compiled one that calls it, where it is cached. It copies what it knows of
the function for each call, so this is for short ones: others are left to LLVM, which takes a fifth of the time."""


def once(make: Callable[P, Made]) -> Callable[P, Made]:
    """Remember what ``make`` made of its arguments. Threads that ask at the same time are given the same."""
    cached: Any = cache(make)

    @wraps(make)
    def locked(*arguments: P.args, **named: P.kwargs) -> Made:
        with _making:
            made: Made = cached(*arguments, **named)
            return made

    return locked


def specialise(function: Any, name: str, parts: dict[str, Any], **options: bool) -> Any:
    """Compile a function again with other things behind the global names that it uses.

    This takes the place of a closure: Numba never finds compiled closures over jitted functions in its cache.

    Args:
        function: plain, in a module.
        name: of the result, unlike that of any other: it is what the cache goes by.
        parts: what to put behind which of its global names.
        options: of ``compiled``.
    """
    copy = FunctionType(function.__code__, {**function.__globals__, **parts}, name)
    copy.__module__ = function.__module__
    copy.__qualname__ = name
    return compiled(copy, **options)


def compile_together(functions: Iterable[Any]) -> None:
    """Compile functions of integers that return nothing, several at a time where there are processors for it.

    Numba compiles one function at a time in a process. So forks of this one compile some of those that are not in the
    cache yet, and this one finds them there. It compiles itself what a fork did not, for whatever reason.

    Args:
        functions: made by ``compiled``, those that take long before the others.
    """
    functions = tuple(functions)
    missing = [function for function in functions if not (function.signatures or _kept(function))]
    processes = max(1, min(processors(), len(missing))) if FORKS else 1
    forks = []
    with suppress(OSError):  # there may be no memory or number for another process
        for part in range(1, processes):
            forks.append(_fork(missing[part::processes]))
    for function in missing[::processes]:
        _compile(function)
    deadline = time.monotonic() + PATIENCE
    for fork in forks:
        _wait(fork, deadline)
    for function in functions:
        _compile(function)


def _compile(function: Any) -> tuple[Any, ...]:
    """Compile a function of integers, or find it in the cache; the types of its arguments."""
    signature = (types.intp,) * len(inspect.signature(function.py_func).parameters)
    function.compile(signature)
    return signature


def _kept(function: Any) -> bool:
    """Whether the cache has a function, if for another processor."""
    return any(Path(function.stats.cache_path).glob(f"*.{function.py_func.__qualname__}-*.nbi"))


def _fork(functions: Iterable[Any]) -> int:
    """The number of a process that compiles functions."""
    with global_compiler_lock, warnings.catch_warnings():
        # It has this thread alone, which holds the only lock that it needs.
        warnings.simplefilter("ignore", DeprecationWarning)
        process = os.fork()
    if process == 0:
        try:
            for function in functions:
                _compile(function)
        finally:
            os._exit(0)
    return process


def _wait(process: int, deadline: float) -> None:
    """Wait for a child of this process to end, and end it at the deadline, of ``time.monotonic()``."""
    with suppress(ChildProcessError):  # whoever asked the system to forget children is not told when they end
        while os.waitpid(process, os.WNOHANG) == (0, 0):
            if time.monotonic() > deadline:
                os.kill(process, signal.SIGKILL)
            time.sleep(0.005)


def address_of(function: Any) -> int:
    """Compile a function of integers that returns nothing; where its code is, for ``call``.

    Neither is then a part of what the other is compiled to: so many kernels and so many neurons take the time of their
    sum to compile, and not of their product.

    Args:
        function: made by ``compiled``; it keeps the code.
    """
    signature = _compile(function)
    made = function.overloads[signature]
    address: int = made.library.get_pointer_to_function(made.fndesc.llvm_func_name)
    return address


def _call(context: Any, address: Any, arguments: Any) -> Any:
    integers = [types.intp] * len(arguments)

    def generate(context: Any, builder: ir.IRBuilder, signature: Any, values: Any) -> Any:
        address, arguments = values
        convention = context.call_conv
        kind = convention.get_function_type(types.none, integers)
        function = builder.inttoptr(address, kind.as_pointer())
        unpacked = _unpack(builder, arguments)
        status, _ = convention.call_function(builder, function, types.none, integers, unpacked)
        with _unlikely(builder, status.is_error):
            convention.return_status_propagate(builder, status)
        return context.get_dummy_value()

    return types.void(types.intp, _tuple(integers)), generate


call: Any = intrinsic(_call)
"""``call(address, arguments)``: run what ``address_of`` compiled. An error in it is one of the caller."""
