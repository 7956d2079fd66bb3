"""What Numba keeps of compiled kernels is used for as long as the source of all that they inline is the same."""

import gc
import shutil
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numba
import pytest

import refsnn
from refsnn.kernels.compiled import compiled
from refsnn.kernels.dense import Kernel, Kernels

KERNEL = """
from refsnn.kernels.compiled import compiled
from refsnn.kernels.dense import Kernel, Kernels
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

    def add():
        """Takes the place of a kernel set's."""

    kernels = Kernels("together", Kernel(begin=None, add=add, end=None))
    with ThreadPoolExecutor(8) as pool:
        made = list(pool.map(lambda _: kernels.rate(True, True), range(64)))
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
