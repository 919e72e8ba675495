"""What a figure and its claims are given: how large, which seed, where to tell progress, and data kept on disk.

    OUT/data/PAPER-ITEM-(quick|full)-seedN-VERSION/NAME[.PART].nc   a data set
                                                  /NAME.json        its checksums; written last, so it means "whole"
                                                  /...              whatever a figure stores itself (context.folder)

The folder's name is the key, so a quick and a full run, two seeds, or two versions share nothing.
"""

from __future__ import annotations

import hashlib
import json
import re
import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from trainphase._arrays import for_netcdf3, from_netcdf3
from trainphase._version import __version__
from trainphase.axes import Axis, ensemble
from trainphase.engine import _files
from trainphase.errors import RequestError, TrainphaseError

if TYPE_CHECKING:
    from concurrent.futures import Executor

    from trainphase.engine.sweep import Progress
    from trainphase.reproduce.runner import Figure

T = TypeVar("T")
MOST_SEEDS = 1000
_NAME = re.compile(r"[A-Za-z0-9_]+")


class _Silent:
    """Progress that says nothing."""

    def start(self, total: int, done: int) -> None: ...

    def advance(self, k: int) -> None: ...

    def close(self) -> None: ...


@dataclass(frozen=True, eq=False)
class Context:
    """What ``compute`` and ``measure`` are given.

    Parameters
    ----------
    figure : the item that this context belongs to.
    out : the folder of the results.
    quick : small sizes, for a look and for tests; the claims' tolerances must fit.
    seed : of everything that is drawn. Single draws take it; ensembles take ``seeds`` of their own for each.
    executor : where the tiles of a sweep may be computed beside each other; None: in this process.
    folders : where image data are looked for, besides the usual places.
    progress : ``start(total, done)``, ``advance(k)``, ``close()``; a figure may tell about its pieces of work.
    """

    figure: Figure
    out: Path
    quick: bool = False
    seed: int = 0
    progress: Progress = field(default_factory=_Silent)
    memory: dict[tuple[str, str], Any] = field(default_factory=dict, repr=False)
    executor: Executor | None = None
    folders: tuple[str, ...] = ()

    def pick(self, quick: T, full: T) -> T:
        """One of two values, by the size of the run."""
        return quick if self.quick else full

    @property
    def folder(self) -> Path:
        """The folder of the item's data, which also is the place for stores of its own (a sweep's, say)."""
        size = "quick" if self.quick else "full"
        name = f"{self.figure.paper}-{self.figure.name}-{size}-seed{self.seed}-{__version__}"
        return self.out / "data" / name

    def seeds(self, count: int) -> list[int]:
        """The seeds of an ensemble of at most a thousand, from 1000 times the seed on: no two runs share one."""
        return [MOST_SEEDS * self.seed + k for k in range(count)]

    def ensemble(self, count: int) -> Axis:
        """The same as the axis ``seed`` of a diagram."""
        return ensemble(count, MOST_SEEDS * self.seed)

    def data(self) -> Any:
        """The item's data as ``compute`` returned it (a data set or a dict of them), computed once and then kept.

        Raises what ``compute`` raises (also when asked again), and RequestError for an item that computes nothing.
        """
        compute = self.figure.compute
        if compute is None:
            raise RequestError(f"{self.figure.paper}:{self.figure.name} computes no data; measure the claim on its own")
        return self.cached("data", lambda: compute(self))

    def of(self, figure: Figure) -> Any:
        """The data of another item; computed if need be, and kept as that item's."""
        return replace(self, figure=figure).data()

    def cached(self, name: str, compute: Callable[[], Any]) -> Any:
        """What ``compute`` returns, a data set or a dict of them: from memory, else from the disk, else computed.

        What is returned has been read back from the disk, so a continued run has the same numbers as a whole one.
        Raises what ``compute`` raises (also when asked again), TrainphaseError for what NetCDF cannot hold.
        """
        key = (self.folder.name, name)
        if key not in self.memory:
            try:
                self.memory[key] = self._stored(name, compute)
            except Exception as why:
                self.memory[key] = why
        if isinstance(self.memory[key], Exception):
            raise self.memory[key]
        return self.memory[key]

    def seconds(self, name: str = "data") -> float | None:
        """How long it took to compute what is stored, now or by an earlier run; None when nothing is."""
        ledger = _ledger(self.folder, name)
        return None if ledger is None else ledger["seconds"]

    def has(self, name: str = "data") -> bool:
        """True when the data are on the disk, whole."""
        return _ledger(self.folder, name) is not None

    def _stored(self, name: str, compute: Callable[[], Any]) -> Any:
        if not _NAME.fullmatch(name):
            raise RequestError(f"{name!r} is no name for data; use letters, digits and underscores")
        if not self.has(name):
            begun = time.perf_counter()
            found = compute()
            seconds = time.perf_counter() - begun
            provenance = {
                "figure": f"{self.figure.paper}:{self.figure.name}", "quick": self.quick, "seed": self.seed,
                "version": __version__,
            }  # fmt: skip
            _write(self.folder, name, found, json.dumps(provenance, sort_keys=True), seconds)
        return _read(self.folder, name)


def paths(context: Context, name: str = "data") -> list[Path]:
    """The files of data that are stored."""
    ledger = _ledger(context.folder, name) or {"files": {}}
    return [context.folder / file for file in ledger["files"]]


def _ledger(folder: Path, name: str) -> dict[str, Any] | None:
    """The record of whole data; None when there is none or a file is not what was written."""
    try:
        found = json.loads((folder / f"{name}.json").read_text(encoding="utf-8"))
        whole = all(_digest(folder / file) == digest for file, digest in found["files"].items())
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return None
    return found if whole else None


def _digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def _write(folder: Path, name: str, found: Any, provenance: str, seconds: float) -> None:
    """Write data sets, then their ledger."""
    import xarray

    from trainphase import api

    # A data set of xarray is a Mapping too, hence dict.
    parts: dict[str, Any] = found if isinstance(found, dict) else {"": found}
    bad = next((key for key in parts if isinstance(found, dict) and not _NAME.fullmatch(str(key))), None)
    if bad is not None or not parts:
        raise RequestError(f"{bad!r} is no name for a data set of {name}; use letters, digits and underscores")
    odd = [type(v).__name__ for v in parts.values() if not isinstance(v, xarray.Dataset)]
    if odd:
        raise RequestError(f"the data {name} are a {odd[0]} and no xarray.Dataset; return that or a dict of them")
    folder.mkdir(parents=True, exist_ok=True)
    files: dict[str, str] = {}
    for key, dataset in parts.items():
        path = folder / (f"{name}.{key}.nc" if key else f"{name}.nc")
        try:
            api.save(for_netcdf3(dataset, remember=True).assign_attrs(reproduced=provenance), path)
        except (ValueError, TypeError) as why:
            raise TrainphaseError(f"the data {path.stem} cannot be kept as NetCDF 3 ({why}); change their types") from why
        files[path.name] = _digest(path)
    ledger = {"files": files, "seconds": seconds, "parts": isinstance(found, dict)}
    _files.write_file(folder / f"{name}.json", json.dumps(ledger, indent=1).encode())


def _read(folder: Path, name: str) -> Any:
    import xarray

    ledger = _ledger(folder, name)
    if ledger is None:
        raise TrainphaseError(f"the data {folder / name} were written but cannot be read back; is the disk full?")
    loaded = {file: from_netcdf3(xarray.load_dataset(folder / file, engine="scipy")) for file in ledger["files"]}
    if not ledger["parts"]:
        return next(iter(loaded.values()))
    return {file.split(".")[1]: dataset for file, dataset in loaded.items()}
