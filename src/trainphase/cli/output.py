"""What a command hands back: one JSON document or a short text on standard output, and files.

Places for files are checked before anything is computed.
"""

from __future__ import annotations

import contextlib
import json
import math
import os
import sys
import tempfile
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from trainphase.errors import RequestError, TrainphaseError

PLOT_ENDINGS = (".png", ".pdf", ".svg")
DATA_ENDINGS = (".nc", ".zarr")
PAGE_ENDINGS = (".html", ".htm")


def jsonable(value: Any) -> Any:
    """The value in the types of JSON; what is not a finite number becomes null."""
    if isinstance(value, Mapping):
        return {str(k): jsonable(v) for k, v in value.items()}
    if isinstance(value, np.ndarray | np.generic):
        return jsonable(value.tolist())
    if isinstance(value, list | tuple):
        return [jsonable(v) for v in value]
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if value is None or isinstance(value, bool | int | str):
        return value
    return str(value)


def emit(document: Any, text: Callable[[], str], as_json: bool) -> None:
    """Print the document as JSON, or else the text, on standard output."""
    say(json.dumps(jsonable(document), allow_nan=False) if as_json else text())


def say(text: str) -> None:
    """Print on standard output; what its encoding lacks becomes a question mark."""
    encoding = getattr(sys.stdout, "encoding", None) or "utf-8"
    print(text.encode(encoding, "replace").decode(encoding))


def note(text: str) -> None:
    """One line on standard error, which may be closed or have nobody who listens."""
    if sys.stderr is not None:
        with contextlib.suppress(OSError):
            print("trainphase: " + " ".join(text.split()), file=sys.stderr, flush=True)


def cell(value: Any) -> str:
    """A value as a cell of a table: numbers to ten digits, "-" for what is not there."""
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return "-"
    return f"{value:.10g}" if isinstance(value, float) else str(value)


def table(header: Sequence[str], rows: Iterable[Sequence[Any]]) -> str:
    """Columns set in line, two spaces apart, the header first."""
    cells = [list(header), *([cell(v) for v in row] for row in rows)]
    widths = [max(len(row[k]) for row in cells) for k in range(len(header))]
    lines = ("  ".join(text.ljust(width) for text, width in zip(row, widths, strict=True)).rstrip() for row in cells)
    return "\n".join(lines)


def check_plot(path: str | None) -> None:
    """RequestError unless a picture can be written at the path."""
    _check_file("--plot", path, PLOT_ENDINGS)


def check_out(path: str | None) -> None:
    """RequestError unless a data set can be written at the path."""
    _check_file("--out", path, DATA_ENDINGS)


def check_page(option: str, path: str | None) -> None:
    """RequestError unless a page can be written at the path."""
    _check_file(option, path, PAGE_ENDINGS)


def check_folder(option: str, path: str | None) -> None:
    """RequestError unless the path is a folder that can be written in, or can become one."""
    if path is None:
        return
    if not path.strip():
        raise RequestError(f"{option} '{path}' is no name; give a folder, new or existing")
    place = Path(path)
    if place.exists() and not place.is_dir():
        raise RequestError(f"{option} {path} is a file; give a folder, new or existing")
    while not place.exists() and place != place.parent:
        place = place.parent
    _check_writable(option, path, place)


def check_store(option: str, path: str | None) -> None:
    """RequestError unless the path is a URL, or a folder that can be written in or can become one."""
    if path is not None and "://" not in path:
        check_folder(option, path)


def write(option: str, path: str | None, save: Callable[[Path], Any]) -> None:
    """Have ``save`` write the file and say so on standard error; TrainphaseError when the disk refuses."""
    if path is None:
        return
    try:
        save(Path(path))
    except OSError as why:
        reason = why.strerror or why
        raise TrainphaseError(f"{option} {path} could not be written: {reason}; give another place") from why
    note(f"wrote {path}")


def deliver(writes: Iterable[tuple[str, str | None, Callable[[Path], Any]]], document: Callable[[], None]) -> None:
    """Write the files, then print; a file that fails must not cost the user the printed result."""
    try:
        for option, path, save in writes:
            write(option, path, save)
    finally:
        document()


def _check_file(option: str, path: str | None, endings: tuple[str, ...]) -> None:
    if path is None:
        return
    place = Path(path)
    if place.suffix not in endings or not place.stem:
        raise RequestError(f"{option} {path or repr(path)} has no known ending; give a name in {' or '.join(endings)}")
    if place.exists() and place.is_dir() != (place.suffix == ".zarr"):
        kind = "a folder" if place.is_dir() else "a file"
        raise RequestError(f"{option} {path} is {kind} already; give another name")
    if place.suffix == ".zarr" and place.is_dir() and not _is_zarr(place):
        raise RequestError(f"{option} {path} is a folder that holds something else than Zarr; give another name")
    if not place.parent.is_dir():
        raise RequestError(f"{option} {path} cannot be written: there is no folder {place.parent}; make it first")
    _check_writable(option, path, place.parent)
    if place.is_file() and not os.access(place, os.W_OK):
        raise RequestError(f"{option} {path} exists and may not be written; give another name")


def _is_zarr(place: Path) -> bool:
    """Whether the folder is empty or a Zarr group: what writing there may replace."""
    return any((place / name).is_file() for name in ("zarr.json", ".zgroup")) or not any(place.iterdir())


def _check_writable(option: str, path: str, folder: Path) -> None:
    # Only an attempt tells: permissions are not the only reason why a folder refuses files.
    try:
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as why:
        reason = why.strerror or why
        raise RequestError(f"{option} {path} cannot be written: {reason}; give a place in another folder") from None
