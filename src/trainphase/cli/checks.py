"""What ``trainphase doctor`` looks at beside the devices: versions, extras, folders, the browser. Nothing here loads JAX."""

from __future__ import annotations

import importlib.metadata
import os
import re
import tempfile
import webbrowser
from pathlib import Path
from typing import Any

# The oldest release that pyproject.toml allows, of the dependencies of which it asks for one; a test compares.
OLDEST = {
    "jax": "0.10", "numpy": "2", "scipy": "1.13", "equinox": "0.13", "diffrax": "0.7", "xarray": "2025.1", "zarr": "3.1.3",
    "numcodecs": "0.14", "google-crc32c": "1.5", "matplotlib": "3.9", "scikit-learn": "1.5", "click": "8.1", "rich": "13",
}  # fmt: skip
# The first release that pyproject.toml shuts out.
BEYOND = {"numpy": "3", "zarr": "4"}
# The newest that the tests were run with: a newer one may work, and is told of.
TESTED = {"jax": "0.12", "python": "3.13"}
# The extras of pyproject.toml: their packages, and what they are for; a test compares.
EXTRAS = {
    "optax": (("optax",), "Adam, RMSprop and other optimisers in descent and mlp"),
    "torch": (("torch",), "the probe for PyTorch loops"),
    "dask": (("dask", "distributed"), "diagram --executor dask or tcp://HOST:PORT"),
    "explore": (("starlette", "uvicorn"), "explore from a server; explore --export needs neither"),
    "remote": (("fsspec", "s3fs"), "stores at URLs such as s3://"),
}
# What is only slower where its folder cannot be written.
SPARED = ("matplotlib's list of fonts",)


def version(name: str) -> str:
    """The installed release of a package; empty where there is none."""
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return ""


def release(text: str) -> tuple[int, ...]:
    """The numbers in front of a version: (0, 10, 2) of 0.10.2.dev1."""
    found = re.match(r"\d+(?:\.\d+)*", text)
    return tuple(int(piece) for piece in found[0].split(".")) if found else ()


def fault(name: str, found: str) -> str:
    """What is wrong with the installed release of a dependency, with the line that mends it; empty when nothing is."""
    low, high = OLDEST.get(name), BEYOND.get(name)
    # Not shell-safe without the quotes: > and < are redirections.
    remedy = f"pip install '{name}{f'>={low}' if low else ''}{f',<{high}' if low and high else ''}'"
    if not found:
        return f"{name} is not installed: {remedy}"
    if low and release(found) < release(low):
        return f"{name} {found} is too old: {remedy}"
    if high and release(found) >= release(high):
        return f"{name} {found} is too new: {remedy}"
    return ""


def untested(versions: dict[str, str]) -> list[str]:
    """A sentence for each release that is newer than any that the tests have seen."""
    notes = []
    for name, newest in TESTED.items():
        last = release(newest)
        if release(versions.get(name, ""))[: len(last)] > last:
            told = f"{name} {versions[name]} is newer than {newest}, the newest that trainphase was tested with"
            notes.append(f"{told}: if something fails, pip install '{name}<={newest}.99'" if name != "python" else f"{told}")
    jax, jaxlib = release(versions.get("jax", ""))[:2], release(versions.get("jaxlib", ""))[:2]
    if jax and jaxlib and jax != jaxlib:
        notes.append(
            f"jax {versions['jax']} and jaxlib {versions['jaxlib']} are of different releases: pip install --upgrade jax jaxlib"
        )
    return notes


def extras() -> list[dict[str, Any]]:
    """The extras: whether each is here, what it is for, and the line that installs it."""
    rows = []
    for name, (packages, about) in EXTRAS.items():
        missing = [package for package in packages if not version(package)]
        rows.append(
            {"name": name, "found": not missing, "missing": missing, "for": about, "pip": f"pip install 'trainphase[{name}]'"}
        )
    return rows


def writable(folder: Path) -> bool:
    """Whether a file can be made in a folder that is there."""
    try:
        with tempfile.TemporaryFile(dir=folder):
            return True
    except OSError:
        return False


def can_be_used(folder: Path) -> bool:
    """Whether files can be made in a folder, which need not be there yet: then in the nearest one above it."""
    here = folder
    while not os.path.lexists(here) and here != here.parent:
        here = here.parent
    return writable(here)


def folders() -> list[dict[str, Any]]:
    """The folders that are written besides those one names: what for, whether that works, and what to do if not."""
    home = Path(os.path.expanduser("~"))
    base = Path(os.environ.get("XDG_CACHE_HOME") or home / ".cache")
    try:
        temporary = tempfile.gettempdir()
    except FileNotFoundError:  # none of the usual ones can be written
        temporary = ""
    fonts = Path(os.environ.get("MPLCONFIGDIR") or base / "matplotlib")
    known = (
        (
            str(home / ".cache" / "trainphase"),
            "the tiles of an unfinished diagram",
            "make it so, or give every diagram a --store",
        ),
        (str(fonts), "matplotlib's list of fonts", "name one that can be in MPLCONFIGDIR, or every plot is slow to begin"),
        (temporary, "temporary files", "name one that can be in TMPDIR"),
    )
    return [
        {"folder": path, "for": about, "writable": bool(path) and can_be_used(Path(path)), "remedy": remedy}
        for path, about, remedy in known
    ]


def browser() -> str:
    """The kind of browser that explore would open; empty where there is none."""
    try:
        return type(webbrowser.get()).__name__
    except webbrowser.Error:
        return ""
