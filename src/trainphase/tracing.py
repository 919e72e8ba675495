"""One boundary in the plane of two parameters, followed from a point: the verb behind ``boundary`` with two ranges."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from trainphase import _html, overlay
from trainphase.axes import Axis, check_tolerance
from trainphase.engine.curves import Curve, bridged, distance, extract
from trainphase.engine.follow import Followed, follow
from trainphase.engine.polish import across, narrow, normals
from trainphase.errors import RequestError
from trainphase.phase import NOT_COMPUTED, REGIME, VOCABULARIES, Vocabulary
from trainphase.records import Recipe, batchable
from trainphase.system import System
from trainphase.trajectory import plain
from trainphase.verbs import records_at

# Points per side of the scan that finds a boundary to follow, and rounds in which undecided points of it are filled.
SCAN, BRIDGE = 32, 2
STEP = 1 / 32


@dataclass(frozen=True, eq=False)
class CurveResult:
    """A boundary in a plane of two parameters.

    Attributes
    ----------
    axes : the two parameters with their ranges.
    between : the two phases; the first is on the left along the curve, with the first parameter to the right.
    points : (m, 2), in the units of the axes. width : (m,), the bracket of each point, in the coordinate where it is wider.
    ends : why the curve ends at its first and last point: edge, triple point, closed, undecided, limit or lost.
    triples : points where a third phase begins: {"at", "phases", "width"}.
    bias : largest distance between the curve and that of half the horizon, in the coordinate where it is larger; 0 where the
        labels at half the horizon give the same curve to within its width, NaN where they show none near it.
    theory : the theory's name for it and the distance of the points from it, or None.
    lines : the theory's lines between these phases.
    found : for each pair of phases that the scan saw, how many of its cells their boundary crosses.
    """

    system: str
    axes: tuple[Axis, Axis]
    between: tuple[str, str] | None
    points: np.ndarray
    width: np.ndarray
    closed: bool
    ends: tuple[str, str] | None
    triples: tuple[dict[str, Any], ...]
    bias: float
    theory: dict[str, Any] | None
    lines: tuple[dict[str, Any], ...]
    found: dict[tuple[str, str], int]
    vocabulary: str
    evaluations: int

    def _repr_html_(self) -> str:
        names = " and ".join(a.name for a in self.axes)
        if self.between is None:
            return _html.whole(f"{self.system} over {names}", [_html.line("no boundary was found")])
        words, widest = VOCABULARIES[self.vocabulary], float(self.width.max()) if self.width.size else float("nan")
        rows: list[tuple[str, Any]] = [
            ("between", _html.pair(words, self.between)), ("points", len(self.points)), ("known to", widest),
            ("half of the horizon would move it by", self.bias), ("ends", " and ".join(self.ends or ())),
        ]  # fmt: skip
        if self.theory is not None:
            rows += [("theory", self.theory["name"]), ("largest distance from it", self.theory["largest"])]
        return _html.whole(f"{self.system} over {names}", [_html.table(("", ""), rows)])

    def to_json(self) -> dict[str, Any]:
        """The JSON document of ``trainphase boundary`` with two ranges; ``curve`` is null where there is no boundary."""
        curve = None
        if self.between is not None:
            curve = {
                "between": list(self.between), "points": self.points, "width": self.width, "closed": self.closed,
                "ends": list(self.ends or ()), "theory": self.theory, "bias": self.bias,
            }  # fmt: skip
        return plain({
            "system": self.system, "params": [a.name for a in self.axes], "curve": curve, "triple_points": list(self.triples),
            "evaluations": self.evaluations,
        })  # fmt: skip

    def plot(self, ax: Any = None) -> Any:
        """Draw the curve into matplotlib axes; without them a figure is made. Returns the axes."""
        from trainphase.figures import border

        return border.draw(self.to_json(), self.axes, ax, self.lines, vocabulary=self.vocabulary)

    def save_plot(self, path: str | Path) -> None:
        """Write the picture (.png, .pdf or .svg)."""
        from trainphase import figures

        figures.save(self.plot(), path)


class _Plane:
    """Labels over the unit square of two axes, with the number of points asked for."""

    def __init__(
        self, recipe: Recipe, system: System, axes: tuple[Axis, Axis], report: Callable[[int, int], None] | None
    ) -> None:
        self.recipe, self.system, self.axes, self.report = recipe, system, axes, report
        self.asked = 0

    def to_axes(self, points: np.ndarray) -> np.ndarray:
        """Points of the unit square in the units of the axes."""
        out = np.stack([a.at(points[..., k] * (a.n - 1)) for k, a in enumerate(self.axes)], -1)
        # Rounding must not lead out of a parameter's domain.
        return np.clip(out, [a.lo for a in self.axes], [a.hi for a in self.axes])

    def to_unit(self, point: np.ndarray) -> np.ndarray:
        """A point in the units of the axes as one of the unit square."""
        return np.array([float(axis.position(value)) / (axis.n - 1) for axis, value in zip(self.axes, point, strict=True)])

    def spread(self, a: np.ndarray, b: np.ndarray) -> np.ndarray:
        """How far points of the unit square are apart, in the coordinate of the axes where it is more."""
        return np.abs(self.to_axes(a) - self.to_axes(b)).max(-1)

    def labels(self, points: np.ndarray, key: str = "phase") -> np.ndarray:
        """Codes of points of the unit square."""
        before, told = self.asked, self.report
        at = self.to_axes(points)
        values = {axis.name: at[:, k] for k, axis in enumerate(self.axes)}
        got = records_at(self.recipe, self.system, values, lambda k: told(before + k, 0) if told is not None else None)
        self.asked += len(points)
        return got[key].astype(int)

    def before(self, points: np.ndarray) -> np.ndarray:
        """Codes at half the horizon."""
        return self.labels(points, "phase_half")


def boundary(
    name: str, recipe: Recipe, axes: tuple[Axis, Axis], *, tol: float, near: tuple[float, float] | None,
    between: tuple[str, str] | None, scan: int = SCAN, step: float = STEP, report: Callable[[int, int], None] | None = None,
) -> CurveResult:  # fmt: skip
    """Follow one boundary in the plane of two parameters; see :func:`trainphase.boundary`."""
    words = recipe.words
    if words is REGIME:
        raise _too_dear(name, "a ladder of nets", axes)
    system = recipe.build(**recipe.fixed, **{a.name: float(a.lo) if a.lo > 0 else float(a.hi) for a in axes})
    if getattr(system, "costly", False):
        raise _too_dear(name, "the training of a network", axes)
    for axis in axes:
        if not batchable(system, axis.name):
            raise RequestError(f"{axis.name} cannot be searched: it changes the shape of the system; use diagram instead")
    _check(axes, tol, near, between, words)
    plane = _Plane(recipe, system, axes, report)
    pair = None if between is None else (words.index(between[0]), words.index(between[1]))
    undecided = (words.undecided, NOT_COMPUTED)
    found: dict[tuple[str, str], int] = {}
    if near is None:
        start, pair, found = _scan(plane, scan, pair, words)
    else:
        start = plane.to_unit(np.asarray(near, float))
    # A unit of the square is at most this much of either parameter.
    longest = max((a.hi * np.log(a.hi / a.lo) if a.scale == "log" else a.hi - a.lo) for a in axes)
    got = None
    if start is not None:
        got = follow(plane.labels, start, between=pair, undecided=undecided, step=step, tol=tol / longest)
    if got is None:
        empty = np.empty((0, 2))
        return CurveResult(
            name, axes, None, empty, empty[:, 0], False, None, (), np.nan, None, (), found, words.name, plane.asked
        )  # fmt: skip
    return _result(name, plane, got, found, step)


def _too_dear(name: str, what: str, axes: tuple[Axis, Axis]) -> RequestError:
    one = f"give {axes[0].name} or {axes[1].name} one value, or use diagram"
    return RequestError(f"each point of {name} is {what}, too dear to follow a boundary in a plane; {one}")


def _check(
    axes: tuple[Axis, Axis], tol: float, near: tuple[float, float] | None, between: tuple[str, str] | None, words: Vocabulary
) -> None:
    """RequestError unless the tolerance fits the ranges, the point lies in them, and the phases can have a boundary."""
    for axis in axes:
        check_tolerance(f"tol = {tol:g}", tol, axis.lo, axis.hi)
    if near is not None:
        if np.shape(near) != (2,):
            raise RequestError(f"near = {near!r} is no point; give two numbers in the order of the ranges")
        for axis, x in zip(axes, near, strict=True):
            if not axis.lo <= x <= axis.hi:
                raise RequestError(f"near has {axis.name} = {x:g} outside of {axis.lo:g}:{axis.hi:g}; give a point inside")
    if between is not None:
        if isinstance(between, str) or len(between) != 2:
            raise RequestError(f"between = {between!r} are not two phases; give for example ('flat', 'divergent')")
        codes = [words.index(label) for label in between]
        if len(set(codes)) != 2 or words.undecided in codes:
            raise RequestError(f"between = {','.join(between)} has no boundary; give two decided phases that differ")


def _scan(
    plane: _Plane, n: int, pair: tuple[int, int] | None, words: Vocabulary
) -> tuple[np.ndarray | None, tuple[int, int] | None, dict[tuple[str, str], int]]:
    """The middle of the longest curve on a lattice of n x n points, its labels, and what pairs there are.

    The points stand in the middle of cells: what holds on lines such as z = 0 only is not seen.
    """
    at = (np.arange(n) + 0.5) / n
    points = np.stack(np.meshgrid(at, at, indexing="ij"), -1).reshape(-1, 2)
    labels = plane.labels(points).reshape(n, n)
    filled, _ = bridged(labels, words.undecided, BRIDGE)
    curves = extract(filled, skip=(words.undecided, NOT_COMPUTED)).curves
    found: dict[tuple[str, str], int] = {}
    for c in curves:
        key = words.label(c.between[0]), words.label(c.between[1])
        found[key] = found.get(key, 0) + len(c.points)
    wanted = [c for c in curves if pair is None or set(c.between) == set(pair)]
    if not wanted:
        return None, pair, found
    longest = max(wanted, key=lambda c: len(c.points))
    return (longest.points[len(longest.points) // 2] + 0.5) / n, longest.between, found


def _result(name: str, plane: _Plane, got: Followed, found: dict[tuple[str, str], int], step: float) -> CurveResult:
    """The curve in the units of the axes, beside the theory."""
    curve, words = got.curve, plane.recipe.words
    between = words.label(curve.between[0]), words.label(curve.between[1])
    across_it = normals(curve) * curve.half[:, None]
    points = plane.to_axes(curve.points)
    width = plane.spread(np.clip(curve.points - across_it, 0, 1), np.clip(curve.points + across_it, 0, 1))
    lines = tuple(overlay.named_lines(plane.system, plane.axes, between))
    triples = tuple(
        {
            "at": plane.to_axes(np.array(t.at)).tolist(), "phases": [words.label(k) for k in t.labels],
            "width": float(plane.spread(np.array(t.at) - t.half, np.array(t.at) + t.half)),
        }
        for t in got.triples
    )  # fmt: skip
    bias = _bias(plane, curve, step)
    return CurveResult(
        name, plane.axes, between, points, width, curve.closed, curve.ends, triples, bias, _beside(points, lines), lines, found,
        words.name, plane.asked,
    )  # fmt: skip


def _beside(points: np.ndarray, lines: tuple[dict[str, Any], ...]) -> dict[str, Any] | None:
    """The nearest of the theory's lines, and how far the points are from it."""
    compared = [(distance(points, np.array(line["points"])), line) for line in lines]
    known = [(d, line) for d, line in compared if d is not None]
    if not known:
        return None
    d, line = min(known, key=lambda item: item[0].mean)
    return {"name": line["name"], "largest": d.largest, "mean": d.mean, "rms": d.rms, "compared": d.compared}


def _bias(plane: _Plane, curve: Curve, reach: float) -> float:
    """Largest distance from the curve to the one of half the horizon, looked for within ``reach``."""
    left, right = (np.full(len(curve.points), k) for k in curve.between)
    normal, half = normals(curve), 2 * curve.half[:, None]
    sides = [np.clip(curve.points + sign * half * normal, 0, 1) for sign in (1, -1)]
    codes = plane.before(np.concatenate(sides)).reshape(2, -1)
    moved = np.flatnonzero((codes[0] != left) | (codes[1] != right))
    # At the ends, a step across the curve may lead out of the square or into a third phase.
    moved = moved[(moved > 0) & (moved < len(left) - 1)] if not curve.closed else moved
    if not moved.size:
        return 0.0
    inside = lambda points: plane.before(np.clip(points, 0, 1))  # noqa: E731
    seen, brackets = across(inside, curve.points[moved], normal[moved], left[moved], right[moved], reach)
    if not seen.any():
        return float("nan")
    where = moved[seen]
    before = narrow(inside, brackets, left[where], right[where], 1e-3 * reach).middle
    return float(plane.spread(np.clip(before, 0, 1), curve.points[where]).max())
