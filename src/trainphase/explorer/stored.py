"""A diagram as the page shows it, from a store, dense or refined, or from memory: labels, numbers, lines.

Labels are held whole; of a store, the numbers are read when they are asked for. Over several seeds a label is the most
frequent one and a number the median.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import PurePosixPath
from typing import Any

import numpy as np

from trainphase import boundaries, catalog
from trainphase.axes import Axis
from trainphase.engine.store import Store
from trainphase.errors import RequestError, TrainphaseError
from trainphase.explorer.numbers import LABELS, SEED, Grid, Numbers, Points, Tiles, median, replayed, seeds_last
from trainphase.phase import NOT_COMPUTED, Vocabulary, vocabulary

TILE = 256
# Vertices of measured boundaries that are drawn, and of large diagrams how many lines from edge to edge would have.
MOST_VERTICES, ACROSS = 20_000, 12
# Systems of which the theory knows lines; of the others there is no use in building one.
KNOWN = ("cubic", "phase-retrieval", "quadratic-net", "linear-net", "quadratic-1d", "relu2", "relu3")


@dataclass(frozen=True)
class Quantity:
    """A number kept at every point: its units and what it is."""

    units: str
    about: str


@dataclass(frozen=True, eq=False)
class Stored:
    """A diagram.

    ``axes`` are those that are drawn, without the seeds; ``codes`` (their shape) the labels, 255 for not computed.
    ``refined`` tells that numbers are known at some points only. ``name`` is that of the store, without its folder.
    ``lines`` and ``theory`` are as ``boundaries.of_labels`` and ``overlay.lines`` give them; no lines (None) where there
    would be more than ``MOST_VERTICES`` points of them or, in a large diagram, more than lines have.
    """

    system: str
    params: dict[str, Any]
    words: Vocabulary
    axes: tuple[Axis, ...]
    codes: np.ndarray
    quantities: dict[str, Quantity]
    numbers: Numbers
    lines: list[dict[str, Any]] | None
    theory: list[dict[str, Any]]
    steps: int
    starts: int
    seeds: int
    dtype: str
    name: str = ""
    refined: bool = False

    def labels(self, level: int) -> np.ndarray:
        """The codes at every 2^level-th point, the last of each axis included; IndexError for a level that is none."""
        return np.ascontiguousarray(self.codes[np.ix_(*self._level(level))])

    def tile(self, level: int, i: int, j: int) -> np.ndarray:
        """The block (i, j) of 256 x 256 codes of a level, smaller at the far edges; IndexError outside."""
        places = self._level(level)
        self._inside([-(-len(p) // TILE) for p in places], i, j)
        rows = [p[k * TILE : (k + 1) * TILE] for p, k in zip(places, (i, j), strict=False)]
        return np.ascontiguousarray(self.codes[np.ix_(*rows)])

    def point(self, i: int, j: int) -> dict[str, Any]:
        """What is known at a point: its phase, numbers (None where there is none), and of several seeds their phases.

        ``inferred`` tells that a refined diagram has taken the phase from the neighbours. IndexError outside.
        """
        place = self._inside(self.codes.shape, i, j)
        found = self.numbers.point(place)
        out: dict[str, Any] = {
            "at": {a.name: float(a.values[k]) for a, k in zip(self.axes, place, strict=True)},
            "code": int(self.codes[place]), "phase": self._label(self.codes[place]), "inferred": self.refined and not found,
            "fields": {name: _finite(median(found[name])) if found else None for name in self.quantities},
        }  # fmt: skip
        if found and self.seeds > 1:
            out["seeds"] = [self._label(k) for k in found["phase"]]
        elif found:
            out["phase_half"] = self._label(found["phase_half"][0])
        return out

    def _label(self, code: Any) -> str | None:
        return None if int(code) == NOT_COMPUTED else self.words.label(int(code))

    def _level(self, level: int) -> list[np.ndarray]:
        if not 0 <= level <= max(self.codes.shape).bit_length():
            raise IndexError(level)
        return [picked(n, 1 << level) for n in self.codes.shape]

    def _inside(self, limits: Any, i: int, j: int) -> tuple[int, ...]:
        """(i, j), or of one axis (i,); IndexError outside of the limits."""
        place = (i, j)[: len(self.axes)]
        if min(i, j) < 0 or (len(self.axes) == 1 and j) or any(k >= n for k, n in zip(place, limits, strict=True)):
            raise IndexError((i, j))
        return place


def picked(n: int, stride: int) -> np.ndarray:
    """The places 0, stride, 2 stride, .. below n, and the last one."""
    places = np.arange(0, n, stride)
    return places if places[-1] == n - 1 else np.append(places, n - 1)


def of_store(path: str) -> Stored:
    """The diagram in a store, finished or not; a refined one must be finished. It has no lines of the theory yet.

    Raises StoreError where there is no store or a damaged one, and RequestError for one that holds no diagram or whose
    vocabulary is of a package that is not here.
    """
    store = Store.open(path)
    recipe = store.recipe
    if not isinstance(recipe.get("vocabulary"), str) or "phase" not in store.fields or "system" not in recipe:
        raise RequestError(f"the store {store.path} holds no phase diagram; give one that trainphase diagram --store made")
    words = vocabulary(recipe["vocabulary"])
    axes = tuple(_axis(a) for a in store.axes)
    drawn = _drawn(axes)
    if len(drawn) > 2:
        raise RequestError(f"the store {store.path} has {len(drawn)} axes; the page shows one or two")
    if store.points is None:
        codes, numbers = words.consensus(store.load(["phase"])["phase"]), Tiles(store)
    else:
        codes, numbers = replayed(store, drawn, words)
    quantities = {
        f.name: Quantity(f.units, f.long_name)
        for f in store.fields.values() if not f.sizes and f.name not in LABELS and not _place(f.name)
    }  # fmt: skip
    lines = _lines(codes, lambda: boundaries.of_labels(codes, drawn, words))
    return Stored(
        str(recipe["system"]), dict(recipe.get("params", {})), words, drawn, codes, quantities, numbers, lines, [],
        int(recipe["steps"]), int(recipe["starts"]), _seeds(axes),
        str(recipe["dtype"]), PurePosixPath(str(store.path)).name, store.points is not None,
    )  # fmt: skip


def of_diagram(diagram: Any) -> Stored:
    """A :class:`trainphase.Diagram`, dense or refined, in memory."""
    data, axes = diagram.dataset, tuple(diagram.axes)
    drawn, seeds, refined = _drawn(axes), _seeds(axes), "known" in data
    names, prefix = [a.name for a in axes], "point_" if refined else ""
    dims = {"point"} if refined else set(names)
    arrays = {str(n)[len(prefix) :]: v for n, v in data.data_vars.items() if set(v.dims) == dims and str(n).startswith(prefix)}
    places = np.stack([arrays.pop(f"i{k}").values for k in range(len(axes))], 1) if refined else None
    arrays = {n: v for n, v in arrays.items() if n not in names}
    if places is not None:
        columns = [k for k, a in enumerate(axes) if a in drawn]
        shape = [len(a.values) for a in drawn]
        numbers: Numbers = Points(places[:, columns], shape, {n: v.values for n, v in arrays.items()})
    else:
        order = [*(a.name for a in drawn), *([SEED] if len(drawn) < len(axes) else [])]
        last = len(drawn) if len(drawn) < len(axes) else None
        numbers = Grid({n: seeds_last(v.transpose(*order).values, last) for n, v in arrays.items()})
    quantities = {
        n: Quantity(str(v.attrs.get("units", "1")), str(v.attrs.get("long_name", n)))
        for n, v in arrays.items() if n not in LABELS
    }  # fmt: skip
    attrs, lines = data.attrs, _lines(diagram.codes, lambda: diagram.boundaries)
    return Stored(
        diagram.system, json.loads(attrs["params"]), diagram.words, drawn, diagram.codes, quantities, numbers, lines,
        diagram.theory, int(attrs["steps"]), int(attrs["starts"]), seeds, str(attrs["dtype"]),
        PurePosixPath(diagram.store or "").name, refined,
    )  # fmt: skip


def _lines(codes: np.ndarray, found: Callable[[], list[dict[str, Any]]]) -> list[dict[str, Any]] | None:
    """The boundaries, unless neighbours differ in so many places that lines would hide the phases; nor are they sought then."""
    places = sum(int(np.count_nonzero(np.diff(codes.astype(np.int16), axis=k))) for k in range(codes.ndim))
    return found() if places <= max(MOST_VERTICES, ACROSS * sum(codes.shape)) else None


def with_theory(stored: Stored) -> Stored:
    """The same with the lines of the theory, where the system can be built here; loads JAX.

    A system of the user's own, or one whose data are not on this machine, goes without.
    """
    if stored.system not in KNOWN:
        return stored
    from trainphase import overlay

    values = {a.name: _native(a.values[-1]) for a in stored.axes}
    try:
        built = catalog.system(stored.system).load()(**{**stored.params, **values})
        return replace(stored, theory=overlay.lines(built, stored.axes))
    except (TrainphaseError, TypeError, ValueError):
        return stored


def _native(value: Any) -> float | int:
    number = float(value)
    return int(number) if number.is_integer() else number


def _axis(stated: dict[str, Any]) -> Axis:
    listed = tuple(float(v) for v in stated.get("values", ()))
    return Axis(
        stated["name"], float(stated["lo"]), float(stated["hi"]), int(stated["n"]), stated["scale"],
        stated.get("units", "1"), listed,
    )  # fmt: skip


def _drawn(axes: tuple[Axis, ...]) -> tuple[Axis, ...]:
    return tuple(a for a in axes if a.name != SEED) or axes


def _seeds(axes: tuple[Axis, ...]) -> int:
    return next((len(a.values) for a in axes if a.name == SEED and len(axes) > 1), 1)


def _place(name: str) -> bool:
    """Whether a field says where a point lies along an axis."""
    return name[:1] == "i" and name[1:].isdecimal()


def _finite(value: Any) -> float | None:
    return float(value) if np.isfinite(value) else None
