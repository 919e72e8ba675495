"""Files of a store at any place that fsspec knows: memory, S3, another machine. The only place that imports fsspec.

An object of such a place appears whole or not at all, which is what the store needs. There is no lock that dies with its
holder: see ``Remote.lock``.
"""

from __future__ import annotations

import contextlib
import json
import os
import socket
import threading
import time
import uuid
from collections.abc import Callable, Generator, Mapping
from typing import Any

from trainphase.engine._locks import Part
from trainphase.errors import StoreError

RENEWED = 20.0  # seconds between two signs of life of a writer
STALE = 90.0  # seconds without one, after which its lock is void


class Remote:
    """A folder of a file system that fsspec knows, given by a URL; names of files are relative to it, with slashes."""

    def __init__(self, url: str) -> None:
        self.path = url.rstrip("/")
        self.options = _OPTIONS.get(url.partition(":")[0], {})
        try:
            import fsspec
        except ImportError:
            raise StoreError(f"the store {url} needs fsspec: install trainphase[remote], or give a folder") from None
        try:
            self.files: Any
            self.files, root = fsspec.core.url_to_fs(self.path, **self.options)
        except ImportError as why:
            raise StoreError(f"the store {url} needs another package ({why}): install it, or give a folder") from None
        except Exception as why:
            raise StoreError(f"the store {url} cannot be reached ({_told(why)}): give another --store") from None
        self.root = root.rstrip("/")

    def __str__(self) -> str:
        return self.path

    def reference(self) -> str:
        """The name under which another process finds the same place; StoreError for one in this process's memory."""
        if self.path.startswith("memory:"):
            raise StoreError(f"the store {self.path} is in the memory of one process: leave --workers and --executor out")
        return self.path

    def make(self) -> None:
        """Folders come with the files in them; StoreError when nothing can be written."""
        probe = f"{self.root}.{uuid.uuid4().hex}.probe"
        try:
            self.ready(probe)
            self.files.pipe_file(probe, b"")
            self.files.rm_file(probe)
        except Exception as why:
            raise StoreError(f"the store {self.path} cannot be made ({_told(why)}): give another --store") from why

    def there(self) -> bool:
        """Whether there is anything."""
        with _as_oserror():
            return bool(self.walk())

    def blank(self) -> bool:
        """Whether there is no file in it."""
        return not self.there()

    def read(self, name: str) -> bytes:
        """The content of a file; FileNotFoundError where there is none."""
        with _as_oserror():
            return self.files.cat_file(f"{self.root}/{name}")

    def write(self, name: str, data: bytes) -> None:
        """Write a file whole or not at all."""
        with _as_oserror():
            path = f"{self.root}/{name}"
            self.ready(path)
            self.files.pipe_file(path, data)

    def replace(self, files: Mapping[str, bytes | None]) -> None:
        """Write files, side by side where the place can do that; None removes one."""
        gone = [name for name, data in files.items() if data is None and self.exists(name)]
        with _as_oserror():
            kept = {f"{self.root}/{name}": data for name, data in files.items() if data is not None}
            for path in kept:
                self.ready(path)
            if kept:
                self.files.pipe(kept)
        self.remove(gone)

    def ready(self, path: str) -> None:
        """Make the folder of a path, where the place has folders."""
        known = self.files.protocol
        if set(_FOLDERS) & {*([known] if isinstance(known, str) else known)}:
            self.files.makedirs(path.rpartition("/")[0], exist_ok=True)

    def remove(self, names: list[str]) -> None:
        """Remove files, in this order, those that are there."""
        for name in names:
            with contextlib.suppress(FileNotFoundError), _as_oserror():
                self.files.rm_file(f"{self.root}/{name}")

    def exists(self, name: str) -> bool:
        """Whether there is a file of that name."""
        with _as_oserror():
            return bool(self.files.exists(f"{self.root}/{name}"))

    def walk(self, folder: str = "") -> list[str]:
        """All files below a folder."""
        with _as_oserror():
            self.files.invalidate_cache()
            start = f"{self.root}/{folder}" if folder else self.root
            found = [path for path in self.files.find(start) if path.startswith(f"{self.root}/")]
        return [path[len(self.root) + 1 :] for path in found]

    def written(self, names: list[str]) -> list[float]:
        """When files were written, seconds since the epoch; not a number where the place does not say."""
        with _as_oserror():
            self.files.invalidate_cache()
            known = self.files.find(self.root, detail=True)
        out = []
        for name in names:
            about = known.get(f"{self.root}/{name}", {})
            when: Any = next((about[k] for k in ("LastModified", "created", "mtime", "last_modified") if k in about), "nan")
            out.append(when.timestamp() if hasattr(when, "timestamp") else float(when))
        return out

    def delete(self) -> None:
        """Remove everything in it."""
        with contextlib.suppress(Exception):
            self.files.rm(self.root, recursive=True)

    def lock(self, part: Part | None) -> Callable[[], None]:
        """A sign of life beside the store, ``NAME.writers/whole`` or ``k-of-n``: an object rewritten every 20 seconds.

        It refuses a second writer that starts later. It is weaker than a lock of a file system: two that start within
        the same second may both go on where the place has no conditional writes, and a writer that was killed keeps
        others out until its sign is 90 seconds old (at once, when it ran on this machine and is gone). Two writers of
        one tile write the same bytes; what is done stays right, and only work is lost.

        Raises
        ------
        BlockingIOError : a live writer of the whole, of the same part, or of parts of another number.
        """
        own = "whole" if part is None else f"{part[0]}-of-{part[1]}"
        for name, sign in self._signs():
            clash = part is None or name == "whole" or name == own or not name.endswith(f"-of-{part[1]}")
            if clash and _alive(sign):
                raise BlockingIOError(f"another run is writing the store {self.path} ({_words(name, sign)})")
        return _Sign(self, f"{self.root}.writers/{own}").give_back

    @contextlib.contextmanager
    def creating(self) -> Generator[None, None, None]:
        """Parts that start at once write the same bytes: nobody has to wait."""
        yield

    def writers(self) -> list[str]:
        """Who writes the store now, in words."""
        return [_words(name, sign) for name, sign in self._signs() if _alive(sign)]

    def _signs(self) -> list[tuple[str, dict[str, Any]]]:
        found = []
        with _as_oserror():
            self.files.invalidate_cache()
            for path in sorted(self.files.find(f"{self.root}.writers")):
                with contextlib.suppress(FileNotFoundError, ValueError):
                    found.append((path.rpartition("/")[2], json.loads(self.files.cat_file(path))))
        return found


class _Sign:
    """The object that says a writer lives, renewed by a thread of its own until it is given back."""

    def __init__(self, place: Remote, path: str) -> None:
        self.place, self.path, self.over = place, path, threading.Event()
        with _as_oserror():
            place.ready(path)
            self._write()
        threading.Thread(target=self._renew, name="sign of life", daemon=True).start()

    def _write(self) -> None:
        sign = {"host": socket.gethostname(), "process": os.getpid(), "at": time.time()}
        self.place.files.pipe_file(self.path, json.dumps(sign).encode())

    def _renew(self) -> None:
        while not self.over.wait(RENEWED):
            with contextlib.suppress(Exception):  # a place that is away for a while is no reason to end
                self._write()

    def give_back(self) -> None:
        if not self.over.is_set():
            self.over.set()
            with contextlib.suppress(Exception):
                self.place.files.rm_file(self.path)


# Listings that are remembered would hide what other processes write.
_OPTIONS: dict[str, dict[str, Any]] = {"s3": {"use_listings_cache": False}, "local": {"auto_mkdir": True}}
_FOLDERS = ("file", "local", "sftp", "ssh", "smb")


def _alive(sign: Mapping[str, Any]) -> bool:
    if time.time() - float(sign.get("at", 0)) > STALE:
        return False
    if sign.get("host") != socket.gethostname() or os.name == "nt":
        return True
    try:
        os.kill(int(sign["process"]), 0)
    except ProcessLookupError:
        return False
    except OSError:
        pass
    return True


def _words(name: str, sign: Mapping[str, Any]) -> str:
    what = "a run of the whole store" if name == "whole" else f"part {name.replace('-of-', '/')}"
    return f"{what}, process {sign.get('process')} on {sign.get('host')}"


def _told(why: BaseException) -> str:
    return " ".join(str(why).split())[:200] or type(why).__name__


@contextlib.contextmanager
def _as_oserror() -> Generator[None, None, None]:
    """What a client library raises, as the error that a file would have raised."""
    try:
        yield
    except (OSError, StoreError):
        raise
    except Exception as why:
        raise OSError(f"{type(why).__name__}: {_told(why)}") from why
