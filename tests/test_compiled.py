"""What Numba keeps of compiled kernels is used for as long as the source of all that they inline is the same."""

import gc
import shutil
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numba
import numpy as np
import pytest

import refsnn
from refsnn.kernels.compiled import address_of, call, compiled, within
from refsnn.kernels.dense import Kernel, Kernels
from refsnn.kernels.vectors import make_access

_, store = make_access("sums", np.int64)

KERNEL = """
from refsnn.kernels.compiled import compiled
from refsnn.kernels.neurons import clamp

@compiled
def limited(value):
    return clamp(value, 0, 7)

print(limited(9), sum(limited.stats.cache_hits.values()))
"""


def test_a_changed_file_is_compiled_again_where_another_inlines_it(tmp_path):
    package = tmp_path / "refsnn"
    shutil.copytree(Path(refsnn.__file__).parent, package, ignore=shutil.ignore_patterns("__pycache__"))
    (package / "kernels" / "limited.py").write_text(KERNEL)

    def run():
        result = subprocess.run(
            [sys.executable, "-m", "refsnn.kernels.limited"], cwd=tmp_path, check=True, capture_output=True, text=True
        )
        return tuple(map(int, result.stdout.split()))

    assert run() == (7, 0)
    assert run() == (7, 1)
    source = package / "neurons.py"
    text = source.read_text()
    changed = text.replace("return min(max(value, low), high)", "return min(max(value, low), high - 1)")
    assert changed != text
    source.write_text(changed)
    assert run() == (6, 0)


def twice():
    """Something to compile."""


def test_no_two_functions_share_a_name():
    """Two closures of one kind, each compiled by another process, would be one function to the linker."""

    def closure():
        """Something with contents that its name does not tell."""

    with pytest.raises(ValueError, match=r"closure' is not a name that no other"):
        compiled(closure)
    name = f"{twice.__module__}.{twice.__qualname__}"
    compiled(twice)
    twice.__qualname__ = "twice"
    with pytest.raises(ValueError, match=f"'{name}' is not a name"):
        compiled(twice)


def test_threads_make_a_kernel_once():
    """A run with several threads may be the first to need it."""

    kernels = Kernels("together", Kernel(begin=None, add=None, end=None))
    with ThreadPoolExecutor(8) as pool:
        made = list(pool.map(lambda _: kernels.layer(), range(64)))
    assert len(set(map(id, made))) == 1


@pytest.mark.parametrize("enabled", [True, False])
def test_python_looks_for_garbage_after_a_compilation_as_before(enabled):
    """Also where compilations are nested, and where one fails."""
    seen = []

    @numba.extending.intrinsic
    def look(context):
        seen.append(gc.isenabled())
        return numba.types.intp(), lambda context, builder, signature, arguments: context.get_constant(
            signature.return_type, 0
        )

    outer = numba.njit(lambda: inner() + look())
    inner = numba.njit(lambda: look())
    broken = numba.njit(lambda: look() + "")
    assert gc.isenabled()
    try:
        if not enabled:
            gc.disable()
        with pytest.raises(numba.TypingError):
            broken()
        assert gc.isenabled() == enabled
        try:
            outer()
        finally:
            assert gc.isenabled() == enabled
    finally:
        gc.enable()
    assert seen
    assert not any(seen)


@within
def write_quotient(address, first, second):
    """Something that code elsewhere calls."""
    store(address, 0, first // second)


@within
def write_difference(address, first, second):
    """The same, another one."""
    store(address, 0, first - second)


@compiled
def call_both(here, there, address, first, second):
    """Knows no more of what it calls than where it is."""
    call(here, (address, first, second))
    call(there, (address + 8, second, first))


def test_code_is_called_where_it_is():
    quotient, difference = address_of(write_quotient), address_of(write_difference)
    assert address_of(write_quotient) == quotient != difference
    found = np.zeros(2, np.int64)
    call_both(quotient, difference, found.ctypes.data, -17, 5)
    assert found.tolist() == [-4, 22]
    call_both(difference, quotient, found.ctypes.data, -17, 5)
    assert found.tolist() == [-22, -1]
    assert len(call_both.signatures) == 1


def test_an_error_where_it_is_reaches_the_caller_of_its_caller():
    found = np.full(2, 7)
    with pytest.raises(ZeroDivisionError):
        call_both(address_of(write_quotient), address_of(write_difference), found.ctypes.data, 1, 0)
    assert found.tolist() == [7, 7]


TOGETHER = """
import os
import signal
import sys
import time

import numpy as np
from numba import types
from numba.extending import intrinsic

from refsnn.kernels import compiled
from refsnn.kernels.vectors import make_access

_, store = make_access("sums", np.int64)
main = os.getpid()


@intrinsic
def note(context):
    def generate(context, builder, signature, arguments):
        os.write(1, b"main\\n" if os.getpid() == main else b"fork\\n")  # whole lines, whoever else writes
        if os.getpid() != main:
            {in_fork}
        return context.get_dummy_value()

    return types.void(), generate


@compiled.within
def write_square(address, value):
    note()
    store(address, 0, value * value)


@compiled.within
def write_next(address, value):
    note()
    store(address, 0, value + 1)


@compiled.within
def write_opposite(address, value):
    note()
    store(address, 0, -value)


@compiled.compiled
def call(function, address, value):
    compiled.call(function, (address, value))


def refuse():
    raise BlockingIOError("no process left")


{before}
functions = write_square, write_next, write_opposite
compiled.processors = lambda: {processors}
compiled.compile_together(functions)
found = np.zeros(1, np.int64)
for function in functions:
    call(compiled.address_of(function), found.ctypes.data, 5)
    print(found[0])
"""


@pytest.mark.parametrize(
    ("processors", "before", "in_fork", "compiles"),
    [
        (1, "", "pass", ["main"] * 3),
        (2, "", "time.sleep(0.01)", ["fork", *["main"] * 2]),
        (8, "", "pass", [*["fork"] * 2, "main"]),
        (2, "", "raise RuntimeError('no memory left')", ["fork", *["main"] * 3]),
        (2, "compiled.PATIENCE = 5.0", "time.sleep(600)", ["fork", *["main"] * 3]),
        (2, "os.fork = refuse", "pass", ["main"] * 3),
        (2, "signal.signal(signal.SIGCHLD, signal.SIG_IGN)", "pass", ["fork", *["main"] * 2]),
    ],
    ids=["alone", "two", "many", "a fork fails", "a fork waits for ever", "no fork", "children are forgotten"],
)
@pytest.mark.skipif(sys.platform != "linux", reason="it forks on Linux only")
def test_forks_compile_what_they_can(tmp_path, processors, before, in_fork, compiles):
    """Each function once, if nothing goes wrong; and none where the cache has them."""
    module = tmp_path / "together.py"
    module.write_text(TOGETHER.format(processors=processors, before=before, in_fork=in_fork))

    def run():
        result = subprocess.run([sys.executable, module], check=True, capture_output=True, text=True)
        *lines, square, following, opposite = result.stdout.split()
        assert (square, following, opposite) == ("25", "6", "-5")
        return sorted(lines)

    assert run() == compiles
    assert run() == []
