"""Folders that appear whole or not at all, and never in the place of something else."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from golden import manifest as manifests
from refsnn.errors import InputError


def check_target(path: Path) -> None:
    """Check that a case may be written to ``path``: nothing is there, an empty folder, or a golden case.

    Raises:
        InputError: something else is there.
    """
    if not path.exists():
        return
    if not path.is_dir():
        raise InputError(f"{path}: is a file; name a folder for the case")
    if any(path.iterdir()):
        try:
            manifests.read(path / manifests.FILE)
        except InputError as error:
            raise InputError(
                f"{path}: is not empty and is no golden case of this version ({error}); name another folder, or "
                "remove it"
            ) from error


@contextmanager
def replaced(path: Path, check: Callable[[Path], None] = check_target) -> Iterator[Path]:
    """Yield an empty folder that takes the place of ``path`` when the block ends without an error.

    Args:
        path: the folder.
        check: raises where ``path`` must not be replaced.

    Raises:
        InputError: something that is no case is at ``path``, or it cannot be written.
    """
    check(path)
    target = path.absolute()
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        room = Path(tempfile.mkdtemp(prefix=f".{target.name}.", dir=target.parent))
    except OSError as error:
        raise InputError(f"{path}: cannot write into the folder {target.parent}: {error.strerror}") from error
    try:
        new, old = room / "new", room / "old"
        new.mkdir()
        yield new
        if target.exists():
            target.rename(old)
        try:
            new.rename(target)
        except OSError:
            if old.exists():
                old.rename(target)
            raise
    except OSError as error:
        raise InputError(f"{path}: could not be written: {error.strerror or error}") from error
    finally:
        shutil.rmtree(room, ignore_errors=True)
