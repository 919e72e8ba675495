"""Who may write a store in a directory: one run, or one run for each part of it.

The locks are the operating system's advisory ones, which die with their process, kill -9 included. A run of the whole
store holds the directory alone. A run of part k of n shares the directory with the other parts of n and holds a file
``.NAME.locks/k-of-n`` beside the store alone, so that nothing foreign lies in the store.
"""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import socket
import sys
import time
from collections.abc import Callable, Generator
from pathlib import Path

Part = tuple[int, int]

# A look at who writes takes the lock for an instant; a run that starts just then asks again.
_PATIENCE = 0.5  # seconds
_CREATION = 120.0  # seconds for which a part waits while another makes the store

if sys.platform == "win32":
    import msvcrt

    def _try_lock(fd: int, shared: bool = False) -> None:
        if shared:
            return  # there are none: parts have their own locks alone
        try:
            msvcrt.locking(fd, msvcrt.LK_NBLCK, 1)
        except OSError as held:
            raise BlockingIOError(str(held)) from None
else:
    import fcntl

    def _try_lock(fd: int, shared: bool = False) -> None:
        fcntl.flock(fd, (fcntl.LOCK_SH if shared else fcntl.LOCK_EX) | fcntl.LOCK_NB)


def take(directory: Path, part: Part | None) -> Callable[[], None]:
    """Take the writer's lock of ``directory``, or of one part; return the function that gives it back.

    The directory itself is locked, so that no file has to exist for it. Where that is not possible
    (Windows; file systems that lock only files open for writing, such as NFS), an empty file
    ``.NAME.lock`` beside the directory is locked and left there. A file system without locks gets none.
    A child made by ``fork`` shares the lock until it ends.

    Raises
    ------
    BlockingIOError : another process, or another handle in this one, holds it; the message says which.
    """
    if part is None:
        whole = _patiently(lambda: _lock_directory(directory), "another run is writing the store {0}", directory)
        with contextlib.suppress(OSError):
            shutil.rmtree(_beside(directory, "locks"))  # nobody else is here
        return whole
    shared = _patiently(
        lambda: _lock_directory(directory, shared=True), "a run without --part is writing the store {0}", directory
    )
    try:
        own = _lock_part(directory, part)
    except BaseException:
        shared()
        raise

    def release() -> None:
        own()
        shared()

    return release


@contextlib.contextmanager
def creating(directory: Path) -> Generator[None, None, None]:
    """Keep other parts out while the store is made or looked at for the first time."""
    fd = _open(_beside(directory, "locks") / "creation")
    limit = time.monotonic() + _CREATION
    while fd is not None:
        try:
            _try_lock(fd)
            break
        except BlockingIOError:
            if time.monotonic() > limit:
                break  # whatever holds it up: the same bytes are written by all
            time.sleep(0.02)
        except OSError:
            break
    try:
        yield
    finally:
        if fd is not None:
            os.close(fd)


def holders(directory: Path) -> list[str]:
    """Who writes the store, in words; nobody, where the file system has no locks."""
    try:
        _lock_directory(directory)()
    except BlockingIOError:
        pass
    else:
        return []
    found = []
    for path, k, n in _part_files(directory):
        if _is_held(path):
            with contextlib.suppress(OSError):
                found.append(f"part {k}/{n} ({path.read_text().strip() or 'another machine'})")
    return found or [f"a run of the whole store ({_process(directory)})"]


def _patiently(attempt: Callable[[], Callable[[], None]], says: str, directory: Path) -> Callable[[], None]:
    limit = time.monotonic() + _PATIENCE
    while True:
        try:
            return attempt()
        except BlockingIOError:
            if time.monotonic() > limit:
                raise BlockingIOError(says.format(directory)) from None
            time.sleep(0.02)


def _lock_directory(directory: Path, shared: bool = False) -> Callable[[], None]:
    for opener in (_open_directory, _open_beside):
        try:
            fd = opener(directory)
        except OSError:
            continue
        try:
            _try_lock(fd, shared)
        except BlockingIOError:
            os.close(fd)
            raise
        except OSError:
            os.close(fd)
            continue
        return _release(fd)
    return lambda: None


def _lock_part(directory: Path, part: Part) -> Callable[[], None]:
    k, n = part
    fd = _open(_beside(directory, "locks") / f"{k}-of-{n}")
    if fd is None:
        return lambda: None
    try:
        _patiently(lambda: _locked(fd), f"another run is writing part {k}/{n} of the store {{0}}", directory)
        for path, other, of in _part_files(directory):
            # Parts of another number share tiles with this one.
            if of != n and _is_held(path):
                raise BlockingIOError(f"another run is writing part {other}/{of} of the store {directory}")
        with contextlib.suppress(OSError):
            os.ftruncate(fd, 0)
            os.pwrite(fd, f"process {os.getpid()} on {socket.gethostname()}\n".encode(), 0)
    except BaseException:
        os.close(fd)
        raise
    return _release(fd)


def _locked(fd: int) -> Callable[[], None]:
    try:
        _try_lock(fd)
    except BlockingIOError:
        raise
    except OSError:
        pass  # there are no locks here
    return lambda: None


def _is_held(path: Path) -> bool:
    try:
        fd = os.open(path, os.O_RDWR)
    except OSError:
        return False
    try:
        _try_lock(fd)
    except BlockingIOError:
        return True
    except OSError:
        return False
    else:
        return False
    finally:
        os.close(fd)


def _part_files(directory: Path) -> list[tuple[Path, int, int]]:
    folder, found = _beside(directory, "locks"), []
    with contextlib.suppress(OSError):
        for name in sorted(os.listdir(folder)):
            part = re.fullmatch(r"(\d+)-of-(\d+)", name)
            if part:
                found.append((folder / name, int(part[1]), int(part[2])))
    return found


def _process(directory: Path) -> str:
    """The process that holds the lock of a directory, where the kernel says so."""
    with contextlib.suppress(OSError, ValueError):
        inode = str(directory.stat().st_ino)
        for line in Path("/proc/locks").read_text().splitlines():
            words = line.split()
            if words[1] == "FLOCK" and words[5].rsplit(":", 1)[1] == inode:
                return f"process {words[4]} on {socket.gethostname()}"
    return "another process or machine"


def _release(fd: int) -> Callable[[], None]:
    held = [fd]
    return lambda: os.close(held.pop()) if held else None  # a second call must close no stranger's file


def _open_directory(directory: Path) -> int:
    return os.open(directory, os.O_RDONLY)  # fails on Windows, which opens no directories


def _open_beside(directory: Path) -> int:
    return os.open(_beside(directory, "lock"), os.O_RDWR | os.O_CREAT, 0o666)


def _open(path: Path) -> int | None:
    try:
        path.parent.mkdir(exist_ok=True)
        return os.open(path, os.O_RDWR | os.O_CREAT, 0o666)
    except OSError:
        return None  # a place beside the store that cannot be written: no lock


def _beside(directory: Path, kind: str) -> Path:
    full = directory.resolve()
    return full.with_name(f".{full.name}.{kind}")
