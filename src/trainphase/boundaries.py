"""The boundaries of a diagram as lines in units of its axes, and how far they are from those of the theory."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from trainphase.axes import Axis
from trainphase.engine import curves
from trainphase.engine.polish import extrapolated, polish, sharpen
from trainphase.phase import NOT_COMPUTED, Vocabulary

# Undecided points between two labels are carried over when there are no more than this many from either side.
REACH = 2
# How far from a vertex, in cells, a boundary is looked for along the normal.
NEAR = 1.5
# Cells by which half of the horizon may move a boundary that follows the law c / T.
CHAOS = 0.5

Ask = Callable[[np.ndarray], tuple[np.ndarray, np.ndarray]]
Line = dict[str, Any]


def of_labels(codes: np.ndarray, axes: Sequence[Axis], words: Vocabulary) -> list[Line]:
    """The boundaries of a grid of labels: along one axis the midpoints of neighbours that differ, in a plane polylines.

    Each is ``{"between": [p, q], "points": [[x], ..] or [[x, y], ..]}``; a polyline, along which p is on the left, has besides
    ``closed``, ``ends`` (edge of the diagram, triple point, undecided, closed) and ``half_cells``, how far the boundary may
    be from the line, in cells.
    """
    if codes.ndim == 1:
        return _along(codes, axes[0], words)
    return in_units(found(codes, words), axes, words)


def found(codes: np.ndarray, words: Vocabulary) -> curves.Curves:
    """The polylines and triple points of a plane of labels, in cells."""
    if codes.ndim != 2 or min(codes.shape) < 2:
        return curves.Curves((), ())
    labels, depth = curves.bridged(codes, words.undecided, REACH)
    return curves.extract(labels, (NOT_COMPUTED, words.undecided), depth=depth)


def _along(codes: np.ndarray, axis: Axis, words: Vocabulary) -> list[Line]:
    skip = (words.undecided, NOT_COMPUTED)
    lines: dict[tuple[int, int], list[list[float]]] = {}
    for i in np.flatnonzero((codes[1:] != codes[:-1]) & ~np.isin(codes[1:], skip) & ~np.isin(codes[:-1], skip)):
        p, q = sorted((int(codes[i]), int(codes[i + 1])))
        lines.setdefault((p, q), []).append([float(axis.at(np.asarray(i + 0.5)))])
    return [{"between": [words.label(p), words.label(q)], "points": sorted(at)} for (p, q), at in sorted(lines.items())]


def in_units(known: curves.Curves, axes: Sequence[Axis], words: Vocabulary) -> list[Line]:
    """Polylines in cells as lines in units of the axes."""
    out = []
    for c in known.curves:
        points = np.stack([a.at(x) for a, x in zip(axes, c.points.T, strict=True)], 1)
        between = [words.label(k) for k in c.between]
        ends = list(c.ends)
        out.append({
            "between": between, "points": points.tolist(), "closed": c.closed, "ends": ends, "half_cells": float(c.half.max())
        })  # fmt: skip
    return out


def triple_points(known: curves.Curves, axes: Sequence[Axis], words: Vocabulary) -> list[Line]:
    """Where three phases meet: ``{"at": [x, y], "phases": [..], "half_cells"}``."""
    return [
        {
            "at": [float(a.at(np.asarray(x))) for a, x in zip(axes, t.at, strict=True)],
            "phases": [words.label(k) for k in t.labels], "half_cells": t.half,
        }
        for t in known.triples
    ]  # fmt: skip


def polished(known: curves.Curves, ask: Ask, tol: float, limits: Sequence[int]) -> tuple[curves.Curves, float]:
    """Polylines and triple points known to within ``tol`` cells, and the largest shift that a longer run would bring, in cells.

    ``ask`` gives labels at the horizon and at half of it. A finite run moves a boundary by some c / T. Where labels at T / 2
    have moved by more than the tolerance, the position is extrapolated as 1 / T and its uncertainty covers the shift; where they
    have moved by half a cell or more, it stays, and is as uncertain as that.
    """

    def labels(which: int) -> Callable[[np.ndarray], np.ndarray]:
        # The normal of a vertex at the border may lead outside, where there is nothing to ask.
        return lambda points: ask(np.clip(points, 0, np.asarray(limits) - 1.0))[which]

    sharp = sharpen(known._replace(curves=polish(known.curves, labels(0), tol, NEAR)), labels(0), tol)
    final, shift = [], 0.0
    for before, after in zip(sharp.curves, extrapolated(sharp.curves, labels(1), tol, NEAR), strict=True):
        moved = np.hypot(*(after.points - before.points).T)
        # Bisection cannot tell shifts of its own width; one of half a cell is no c / T but chaos.
        law = (moved > 2 * tol) & (moved < CHAOS)
        # Where labels at T / 2 show no boundary, ``after`` has not moved and says that it is uncertain.
        quiet = (moved <= 2 * tol) & (after.half <= 8 * tol)
        half = np.where(quiet, before.half, np.maximum(after.half, np.where(law, 0.0, moved)))
        final.append(replace(after, points=np.where(law[:, None], after.points, before.points), half=half))
        shift = max(shift, float(moved.max()))
    return sharp._replace(curves=tuple(final)), shift


def beside_theory(lines: Sequence[Line], theory: Sequence[Mapping[str, Any]], axes: Sequence[Axis]) -> list[Line]:
    """The theory's lines of a plane, each with its distance from the measured boundary between its phases.

    ``distance``: from points of the theory's line, a cell apart, to the nearest measured line; largest, mean and rms in
    cells, and in units of the axes where both have the same. Points of the line within a cell of the edge of the diagram,
    beyond which nothing is measured, are left out; ``compared`` is the length that remains, in cells.
    """
    out = []
    for line in theory:
        entry, measured = dict(line), [x for x in lines if _same(x["between"], line.get("between", ()))]
        if len(axes) == 2 and measured and len(line["points"]) > 1 and all(a.scale != "list" for a in axes):
            apart = _apart(np.asarray(line["points"], float), measured, axes)
            entry |= {} if apart is None else {"distance": apart}
        out.append(entry)
    return out


def _apart(line: np.ndarray, measured: Sequence[Line], axes: Sequence[Axis]) -> dict[str, float] | None:
    path = _cells(line, axes)
    length = np.concatenate([[0.0], np.cumsum(np.hypot(*np.diff(path, axis=0).T))])
    along = np.linspace(0.0, length[-1], max(2, int(length[-1]) + 1))
    at = np.stack([np.interp(along, length, x) for x in path.T], 1)
    inside = np.all((at >= 1) & (at <= np.array([a.n for a in axes]) - 2), axis=1)
    if not inside.any():
        return None
    closed = [np.asarray(x["points"] + x["points"][: int(x["closed"])]) for x in measured]
    gaps, _, _ = curves.to_lines(at[inside], [_cells(x, axes) for x in closed])
    out = {"compared": int(inside.sum()), "largest_cells": float(gaps.max()), "mean_cells": float(gaps.mean())}
    if axes[0].units == axes[1].units:
        units = np.stack([a.at(x) for a, x in zip(axes, at[inside].T, strict=True)], 1)
        gaps, _, _ = curves.to_lines(units, closed)
        out |= {"largest": float(gaps.max()), "mean": float(gaps.mean()), "rms": float(np.sqrt(np.mean(gaps**2)))}
    return out


def _same(measured: Sequence[str], stated: Sequence[str]) -> bool:
    # In the theory's words "bounded" is whatever does not diverge.
    wanted = {p for p in stated if p != "bounded"}
    return bool(wanted) and wanted <= set(measured)


def _cells(points: np.ndarray, axes: Sequence[Axis]) -> np.ndarray:
    return np.stack([a.position(x) for a, x in zip(axes, points.T, strict=True)], 1)
