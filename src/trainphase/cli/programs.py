"""Compiled programs, kept in a private folder between commands: what the second command of a kind need not compile again.

JAX keeps them (its persistent compilation cache); here is which folder, and when not. A program is machine code that a later
command runs. So it is taken from nowhere but a folder of the user's own that nobody else can write, as Python takes its
``.pyc`` files; and the folder is named by the processor, which JAX's own key need not tell apart where a home folder is
shared by machines of several kinds.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import platform
import shutil
import stat
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

# Bytes of all programs; beyond it the older half goes. A program takes 2 to 50 kB, a command compiles ten or so.
MOST = 64 * 2**20
# How JAX tells of a file that it cannot read, or write.
UNREAD, UNWRITTEN = "Error reading persistent compilation cache", "Error writing persistent compilation cache"
_OF_PROCESSOR = ("flags", "Features", "model name", "vendor_id", "cpu family", "model", "stepping", "CPU ")


def processor() -> str:
    """A name for the kind of processor and, where that cannot be told, for the machine; empty where neither is known."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace").splitlines()
        told = sorted({line for line in lines if line.startswith(_OF_PROCESSOR)})
    except OSError:
        told = [platform.node()] if platform.node() else []
    return hashlib.sha256("\n".join([platform.machine(), *told]).encode()).hexdigest()[:16] if told else ""


def folder(base: Path) -> Path | None:
    """Where the programs of this processor are kept under ``base``; None where nobody can say what it is."""
    name = processor()
    return base / name if name else None


def refusal(place: Path) -> str:
    """Make the folder; why it must not be used, empty when it may."""
    if not hasattr(os, "getuid"):
        return "this system does not say whose a folder is"
    try:
        place.parent.parent.mkdir(parents=True, exist_ok=True)
        for each in (place.parent, place):
            each.mkdir(mode=0o700, exist_ok=True)
            found = each.lstat()
            if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.getuid() or stat.S_IMODE(found.st_mode) & 0o022:
                return f"{each} is not a folder that its owner alone can write"
    except OSError as why:
        return f"{place} cannot be used ({why.strerror or why})"
    return "" if os.access(place, os.R_OK | os.W_OK | os.X_OK) else f"{place} cannot be written"


def _files(base: Path) -> Iterator[os.DirEntry[str]]:
    """The files of all processors' folders."""
    with contextlib.suppress(OSError):
        for each in list(os.scandir(base)):
            if each.is_dir(follow_symlinks=False):
                yield from (f for f in os.scandir(each) if f.is_file(follow_symlinks=False))


def size(base: Path) -> tuple[int, int]:
    """How many programs there are for all processors, and how many bytes they take."""
    sizes = [0]
    for each in _files(base):
        with contextlib.suppress(OSError):
            sizes.append(each.stat().st_size)
    return len(sizes) - 1, sum(sizes)


def prune(base: Path, most: int = MOST) -> None:
    """Remove the older half, by bytes, once there are more than ``most`` bytes; other commands may do the same meanwhile."""
    found = []
    for each in _files(base):
        with contextlib.suppress(OSError):
            known = each.stat()
            found.append((known.st_mtime, known.st_size, each.path))
    total = sum(row[1] for row in found)
    if total <= most:
        return
    for _, length, path in sorted(found):
        if total <= most // 2:
            break
        with contextlib.suppress(OSError):
            os.unlink(path)
        total -= length


def mend(place: Path) -> None:
    """Have a program that JAX cannot read removed, with all others, and nothing said: it is compiled again.

    A full disk or a kill leaves half a file, which JAX finds by its checksum, tells of in every command, and never replaces.
    """
    others = warnings.showwarning

    def show(message: Any, *rest: Any, **more: Any) -> None:
        if str(message).startswith(UNREAD):
            shutil.rmtree(place, ignore_errors=True)
            with contextlib.suppress(OSError):
                place.mkdir(mode=0o700)
        elif not str(message).startswith(UNWRITTEN):
            others(message, *rest, **more)

    warnings.showwarning = show
