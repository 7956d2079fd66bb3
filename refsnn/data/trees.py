"""A folder, or a tar archive of one, as names and contents.

Nothing is unpacked to the disk, so a path inside an archive, wherever it points, can reach nothing.
"""

from __future__ import annotations

import tarfile
import zlib
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from pathlib import Path

from refsnn.errors import InputError


class Tree:
    """Files by their path below the root, parts separated by ``/``.

    Attributes:
        source: the folder or archive.
        names: of all regular files, sorted, hidden ones left out, without a single folder around everything.
    """

    def __init__(self, source: Path) -> None:
        self.source = source
        self._files = _folder(source) if source.is_dir() else _archive(source)
        names = {name: name for name in self._files if not any(part.startswith(".") for part in name.split("/"))}
        while len(tops := {name.partition("/")[0] for name in names}) == 1 and all("/" in name for name in names):
            (top,) = tops
            names = {name.removeprefix(f"{top}/"): path for name, path in names.items()}
        self._paths = dict(sorted(names.items()))
        self.names = tuple(self._paths)

    def read(self, names: Iterable[str]) -> Iterator[tuple[str, bytes]]:
        """The contents of some files, in whatever order is quickest: an archive is read front to back, once.

        Raises:
            InputError: a truncated or damaged archive.
        """
        wanted = {self._paths[name]: name for name in names}
        if self.source.is_dir():
            for path, name in wanted.items():
                yield name, (self.source / path).read_bytes()
            return
        for path, content in _members(self.source):
            if path in wanted:
                yield wanted[path], content()


def is_archive(path: Path) -> bool:
    """Whether a file is a tar archive, compressed or not."""
    try:
        return tarfile.is_tarfile(path)
    except (OSError, EOFError, zlib.error):
        return False


def _folder(source: Path) -> list[str]:
    return [path.relative_to(source).as_posix() for path in source.rglob("*") if path.is_file()]


def _archive(source: Path) -> list[str]:
    return [path for path, _ in _members(source)]


def _members(source: Path) -> Iterator[tuple[str, Callable[[], bytes]]]:
    """The regular files of an archive, front to back: each can be read until the next is asked for."""
    try:
        with tarfile.open(source, "r|*") as archive:
            for member in archive:
                if member.isfile():
                    yield member.name.removeprefix("./"), partial(_content, archive, member)
    except (tarfile.TarError, OSError, EOFError, zlib.error) as error:
        raise InputError(f"{source}: is a truncated or damaged archive ({error}); download or copy it again") from error


def _content(archive: tarfile.TarFile, member: tarfile.TarInfo) -> bytes:
    file = archive.extractfile(member)
    assert file is not None  # None is for links and folders
    return file.read()
