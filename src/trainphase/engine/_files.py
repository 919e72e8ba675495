"""Files of a store in a directory: written whole or not at all, temporaries left by a kill, one writer at a time."""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import uuid
from collections.abc import Callable, Mapping
from pathlib import Path

from trainphase.engine import _locks
from trainphase.engine._locks import Part
from trainphase.errors import StoreError

_TEMPORARY = re.compile(r"\.[0-9a-f]{32}\.partial$")  # zarr's LocalStore names them so, too

_NEW = os.O_WRONLY | os.O_CREAT | os.O_EXCL | getattr(os, "O_BINARY", 0)


class Directory:
    """A directory of the file system that keeps a store; names of files are relative to it, with slashes."""

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.path = Path(path)

    def __str__(self) -> str:
        return str(self.path)

    def reference(self) -> str:
        """The name under which another process finds the same place."""
        return str(self.path.resolve())

    def make(self) -> None:
        """Make the directory and its parents; StoreError when that is impossible."""
        if self.path.exists() and not self.path.is_dir():
            raise StoreError(f"{self.path} is a file, and a store is a directory: give another --store")
        try:
            self.path.mkdir(parents=True, exist_ok=True)
        except (OSError, ValueError) as why:
            raise StoreError(f"the store {self.path} cannot be made ({reason(why)}): give another --store") from why

    def there(self) -> bool:
        """Whether there is a directory."""
        return self.path.is_dir()

    def blank(self) -> bool:
        """Whether there is no file in it, temporaries apart."""
        return all(temporary(name) is not None for name in self.walk())

    def read(self, name: str) -> bytes:
        """The content of a file; FileNotFoundError where there is none."""
        with open(os.path.join(self.path, name), "rb") as f:
            return f.read()

    def write(self, name: str, data: bytes) -> None:
        """Write a file whole or not at all, and flush it to the disk before it takes its name."""
        write_file(os.path.join(self.path, name), data)

    def replace(self, files: Mapping[str, bytes | None]) -> None:
        """Write files, each whole or not at all; None removes one. They are on the disk when the system pleases."""
        for name, data in files.items():
            if data is None:
                self.remove([name])
            else:
                write_file(os.path.join(self.path, name), data, flush=False)

    def remove(self, names: list[str]) -> None:
        """Remove files, in this order, those that are there."""
        for name in names:
            with contextlib.suppress(FileNotFoundError, NotADirectoryError):
                os.unlink(os.path.join(self.path, name))

    def exists(self, name: str) -> bool:
        """Whether there is a file of that name."""
        return os.path.isfile(os.path.join(self.path, name))

    def walk(self, folder: str = "") -> list[str]:
        """All files below a folder."""
        found = []
        for place, _, names in os.walk(self.path / folder):
            prefix = os.path.relpath(place, self.path).replace(os.sep, "/")
            found += names if prefix == "." else [f"{prefix}/{name}" for name in names]
        return found

    def written(self, names: list[str]) -> list[float]:
        """When files were written, seconds since the epoch."""
        return [os.stat(os.path.join(self.path, name)).st_mtime for name in names]

    def delete(self) -> None:
        """Remove the directory with everything in it."""
        shutil.rmtree(self.path, ignore_errors=True)

    def lock(self, part: Part | None) -> Callable[[], None]:
        """The writer's lock, of the whole store or of a part; see ``_locks.take``."""
        return _locks.take(self.path, part)

    def creating(self) -> contextlib.AbstractContextManager[None]:
        """One of several parts that start at once makes the store; the others wait."""
        return _locks.creating(self.path)

    def writers(self) -> list[str]:
        """Who writes the store now, in words."""
        return _locks.holders(self.path)


def write_file(path: str | os.PathLike[str], data: bytes, flush: bool = True) -> None:
    """Write a file whole or not at all, and flush it to the disk before it takes its name (``flush``)."""
    path = os.fspath(path)
    partial = f"{path}.{uuid.uuid4().hex}.partial"
    try:
        try:
            fd = os.open(partial, _NEW, 0o666)
        except FileNotFoundError:
            os.makedirs(os.path.dirname(path), exist_ok=True)
            fd = os.open(partial, _NEW, 0o666)
        try:
            rest = memoryview(data)
            while rest:  # a full disk takes a part, and refuses the next
                rest = rest[os.write(fd, rest) :]
            if flush:
                os.fsync(fd)
        finally:
            os.close(fd)
        os.replace(partial, path)
    except BaseException:
        with contextlib.suppress(OSError):
            os.unlink(partial)
        raise


def temporary(name: str) -> str | None:
    """The name that a temporary file was to get, or None for any other file."""
    found = _TEMPORARY.search(name)
    return name[: found.start()] if found else None


def reason(why: BaseException) -> str:
    """The error in a few words, without the file name that Python puts behind it."""
    return (why.strerror if isinstance(why, OSError) else None) or str(why) or type(why).__name__
