"""Files of a store: written whole or not at all, temporaries left by a kill, one writer at a time."""

from __future__ import annotations

import os
import re
import sys
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path

from trainphase.errors import StoreError

if sys.platform == "win32":
    import msvcrt

    def _try_lock(fd: int) -> None:
        try:
            msvcrt.locking(fd, msvcrt.LK_NBLCK, 1)
        except OSError as held:
            raise BlockingIOError(str(held)) from None
else:
    import fcntl

    def _try_lock(fd: int) -> None:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)


def lock(directory: Path) -> Callable[[], None]:
    """Take the writer's lock of ``directory``; return the function that gives it back.

    It is the operating system's advisory lock, which dies with its process, kill -9 included.

    The directory itself is locked, so that no file has to exist for it. Where that is not possible
    (Windows; file systems that lock only files open for writing, such as NFS), an empty file
    ``.NAME.lock`` beside the directory is locked and left there. A file system without locks gets none.
    A child made by ``fork`` shares the lock until it ends.

    Raises
    ------
    BlockingIOError : another process, or another handle in this one, holds it.
    """
    for opener in (_open_directory, _open_beside):
        try:
            fd = opener(directory)
        except OSError:
            continue
        try:
            _try_lock(fd)
        except BlockingIOError:
            os.close(fd)
            raise
        except OSError:
            os.close(fd)
            continue
        held = [fd]
        return lambda: os.close(held.pop()) if held else None  # a second call must close no stranger's file
    return lambda: None


def _open_directory(directory: Path) -> int:
    return os.open(directory, os.O_RDONLY)  # fails on Windows, which opens no directories


def _open_beside(directory: Path) -> int:
    full = directory.resolve()
    return os.open(full.with_name(f".{full.name}.lock"), os.O_RDWR | os.O_CREAT, 0o666)


_TEMPORARY = re.compile(r"\.[0-9a-f]{32}\.partial$")  # zarr's LocalStore and `write_file` name them so


def make_directory(root: Path) -> None:
    """Make the directory and its parents; StoreError when that is impossible."""
    if root.exists() and not root.is_dir():
        raise StoreError(f"{root} is a file, and a store is a directory: give another --store")
    try:
        root.mkdir(parents=True, exist_ok=True)
    except (OSError, ValueError) as why:
        raise StoreError(f"the store {root} cannot be made ({reason(why)}): give another --store") from why


def write_file(path: Path, data: bytes) -> None:
    """Write a file whole or not at all, and flush it to the disk before it takes its name."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f"{path.name}.{uuid.uuid4().hex}.partial")
    try:
        with open(temporary, "wb") as f:
            f.write(data)
            f.flush()
            os.fsync(f.fileno())
        os.replace(temporary, path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise


def remove_temporaries(root: Path) -> None:
    """Remove the temporary files that killed writers have left anywhere under ``root``."""
    for path in list(_files(root)):
        if _TEMPORARY.search(path):
            os.unlink(path)


def is_blank(root: Path) -> bool:
    """Whether there is no file under ``root``, temporaries apart."""
    return all(_TEMPORARY.search(path) for path in _files(root))


def reason(why: BaseException) -> str:
    """The error in a few words, without the file name that Python puts behind it."""
    return (why.strerror if isinstance(why, OSError) else None) or str(why) or type(why).__name__


def _files(root: Path) -> Iterator[str]:
    return (os.path.join(folder, name) for folder, _, names in os.walk(root) for name in names)
