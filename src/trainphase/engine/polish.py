"""Boundaries made sharp: brackets across a boundary narrowed by sections, all of them in each question. NumPy alone.

A question is a call ``ask(points (m, 2)) -> labels (m,)``, in the coordinates of the curve. It costs about as much for one
point as for a few hundred, so few brackets are cut into many sections, and many into two.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import NamedTuple

import numpy as np

from trainphase.engine.curves import TRIPLE, Curve, Curves, Triple

Ask = Callable[[np.ndarray], np.ndarray]

BATCH = 256
ROUNDS = 200
# Where along the normal a boundary is looked for first, as shares of the reach.
FAN = (-1.0, -0.5, 0.5, 1.0)
# Points per side of the small lattices in which triple points are looked for.
ZOOM = 16


class Brackets(NamedTuple):
    """Pairs of points (m, 2) on either side of a boundary: ``lo`` has the label of the right side, ``hi`` of the left."""

    lo: np.ndarray
    hi: np.ndarray

    @property
    def middle(self) -> np.ndarray:
        """The best guess of the boundary, (m, 2)."""
        return 0.5 * (self.lo + self.hi)

    @property
    def half(self) -> np.ndarray:
        """Half the distance of the two points, (m,)."""
        return 0.5 * np.hypot(*(self.hi - self.lo).T)


def narrow(
    ask: Ask, brackets: Brackets, left: np.ndarray, right: np.ndarray, tol: np.ndarray | float, batch: int = BATCH
) -> Brackets:
    """The brackets narrowed until the boundary is known to within ``tol`` (their whole width), or to rounding.

    Labels that are neither ``left`` nor ``right`` (undecided, a third one) may lie between: both of their ends are then
    looked for, and the bracket stays as wide as they are. Cost: log2(width / tol) points per bracket, at the least.
    """
    lo, hi = brackets.lo.astype(float), brackets.hi.astype(float)
    length = np.maximum(np.hypot(*(hi - lo).T), np.finfo(float).tiny)
    least = 4 * np.spacing(np.maximum(np.abs(lo), np.abs(hi)).max(1)) / length
    goal = np.maximum(np.broadcast_to(tol, length.shape) / length, least)
    # Shares of the way: the bracket, and the extent of other labels known inside it (NaN: none).
    ends = np.tile([0.0, 1.0], (len(lo), 1))
    other = np.full((len(lo), 2), np.nan)
    for _ in range(ROUNDS):
        gap = _wider_gap(ends, other)
        active = np.flatnonzero(gap[:, 1] - gap[:, 0] > goal)
        if not active.size:
            break
        cuts = max(1, batch // active.size)
        shares = np.arange(1, cuts + 1) / (cuts + 1)
        s = gap[active, :1] + shares * (gap[active, 1:] - gap[active, :1])
        points = lo[active, None] + s[..., None] * (hi - lo)[active, None]
        codes = np.asarray(ask(points.reshape(-1, 2))).reshape(s.shape)
        ends[active], other[active] = _cut(ends[active], other[active], s, codes, left[active], right[active])
    step = hi - lo
    return Brackets(lo + ends[:, :1] * step, lo + ends[:, 1:] * step)


def _wider_gap(ends: np.ndarray, other: np.ndarray) -> np.ndarray:
    """The stretch of each bracket to look into next: all of it, or the wider of those beside the other labels."""
    before, after = np.stack([ends[:, 0], other[:, 0]], 1), np.stack([other[:, 1], ends[:, 1]], 1)
    first = (np.diff(before) >= np.diff(after))[:, 0]
    parted = np.where(first[:, None], before, after)
    return np.where(np.isnan(other[:, :1]), ends, parted)


def _cut(
    ends: np.ndarray, other: np.ndarray, s: np.ndarray, codes: np.ndarray, left: np.ndarray, right: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """The brackets after points inside them were labelled: from the last right label before the first left one, to that."""
    rows = len(ends)
    kind = np.where(codes == left[:, None], 1, np.where(codes == right[:, None], -1, 0))
    place = np.concatenate([ends[:, :1], np.where(np.isnan(other), ends[:, :1], other), s, ends[:, 1:]], 1)
    missing = np.isnan(other).astype(int)  # stands for the right end then
    kinds = np.concatenate([np.full((rows, 1), -1), -missing, kind, np.ones((rows, 1), int)], 1)
    order = np.argsort(place, axis=1, kind="stable")
    place, kinds = np.take_along_axis(place, order, 1), np.take_along_axis(kinds, order, 1)
    column = np.arange(place.shape[1])
    last = (kinds == 1).argmax(1)
    first = np.where((kinds == -1) & (column < last[:, None]), column, 0).max(1)
    inside = (column > first[:, None]) & (column < last[:, None])
    each = np.arange(rows)
    low = np.where(inside, place, np.inf).min(1)
    high = np.where(inside, place, -np.inf).max(1)
    some = inside.any(1)
    between = np.where(some[:, None], np.stack([low, high], 1), np.nan)
    return np.stack([place[each, first], place[each, last]], 1), between


def normals(curve: Curve) -> np.ndarray:
    """Unit vectors (m, 2) across a curve to its left, from the direction between the second neighbours of each point."""
    points, count = curve.points, len(curve.points)
    at = np.arange(count)
    back, on = at - 2, at + 2
    if curve.closed:
        back, on = back % count, on % count
    else:
        back, on = np.maximum(back, 0), np.minimum(on, count - 1)
    along = points[on] - points[back]
    size = np.hypot(*along.T)[:, None]
    return np.stack([-along[:, 1], along[:, 0]], 1) / np.where(size > 0, size, 1.0)


def across(
    ask: Ask, points: np.ndarray, normal: np.ndarray, left: np.ndarray, right: np.ndarray, reach: float
) -> tuple[np.ndarray, Brackets]:
    """Which points have the boundary within ``reach`` along their normal, and brackets of it for those.

    Of several changes from ``right`` to ``left`` the nearest is taken; other labels may lie between.
    """
    shares = np.array(FAN) * reach
    asked = points[:, None] + shares[:, None] * normal[:, None]
    codes = np.asarray(ask(asked.reshape(-1, 2))).reshape(len(points), len(FAN))
    best, first, last = np.full(len(points), np.inf), np.zeros(len(points), int), np.zeros(len(points), int)
    for a in range(len(FAN)):
        for b in range(a + 1, len(FAN)):
            among = codes[:, a + 1 : b]
            clear = ~((among == left[:, None]) | (among == right[:, None])).any(1)
            away = abs(shares[a] + shares[b]) + 0.5 * (shares[b] - shares[a])
            nearer = (codes[:, a] == right) & (codes[:, b] == left) & clear & (away < best)
            best[nearer], first[nearer], last[nearer] = away, a, b
    found = np.isfinite(best)
    rows = np.flatnonzero(found)
    return found, Brackets(asked[rows, first[rows]], asked[rows, last[rows]])


def polish(curves: Sequence[Curve], ask: Ask, tol: float, reach: float = 1.0) -> tuple[Curve, ...]:
    """The curves with every point moved along its normal to where the label changes, known to within ``tol``.

    Points whose normal does not meet the boundary within ``reach`` (a cell) stay where they are, as uncertain as they were;
    so do ends in a triple point, which :func:`sharpen` finds. Parameters of ``ask`` and units of ``tol`` are those of the
    points.

    Cost: 4 + log2(reach / tol) evaluations per point; each round asks for all curves at once.
    """
    return _moved(curves, ask, tol, reach, lambda curve, found, brackets: (brackets.middle, brackets.half))


def extrapolated(curves: Sequence[Curve], ask_half: Ask, tol: float, reach: float = 1.0) -> tuple[Curve, ...]:
    """The curves where an unlimited horizon would put them, from those of the horizon T and labels at half of it.

    A finite run moves a boundary by about c / T: x(inf) = 2 x(T) - x(T/2), along the normals of the curves, which must have
    been polished at T. The uncertainty covers the difference of the two and both of their own. Where labels at T/2 show no
    boundary within ``reach``, the point stays and is uncertain by ``reach``.
    """

    def beyond(curve: Curve, found: np.ndarray, brackets: Brackets) -> tuple[np.ndarray, np.ndarray]:
        now, before = curve.points[found], brackets.middle
        return 2 * now - before, 2 * curve.half[found] + brackets.half + np.hypot(*(now - before).T)

    lost = [replace(c, half=np.where(_fixed(c), c.half, np.maximum(c.half, reach))) for c in curves]
    moved = _moved(curves, ask_half, tol, reach, beyond)
    kept = zip(curves, moved, lost, strict=True)
    return tuple(replace(m, half=np.where(m.half == c.half, w.half, m.half)) for c, m, w in kept)


def _fixed(curve: Curve) -> np.ndarray:
    """True for the points that are triple points."""
    out = np.zeros(len(curve.points), bool)
    for end, at in zip(curve.ends, (0, -1), strict=True):
        if end == TRIPLE:
            out[at] = True
    return out


def _moved(
    curves: Sequence[Curve], ask: Ask, tol: float, reach: float,
    rule: Callable[[Curve, np.ndarray, Brackets], tuple[np.ndarray, np.ndarray]],
) -> tuple[Curve, ...]:  # fmt: skip
    """The curves with points and uncertainties by a rule from the brackets across them, all curves in each question."""
    if not curves:
        return ()
    free = [~_fixed(c) for c in curves]
    points = np.concatenate([c.points[f] for c, f in zip(curves, free, strict=True)])
    normal = np.concatenate([normals(c)[f] for c, f in zip(curves, free, strict=True)])
    counts = [int(f.sum()) for f in free]
    left, right = (np.repeat([c.between[k] for c in curves], counts) for k in (0, 1))
    found, brackets = across(ask, points, normal, left, right, reach)
    brackets = narrow(ask, brackets, left[found], right[found], tol)
    out, start, taken = [], 0, 0
    for curve, f, count in zip(curves, free, counts, strict=True):
        mine = np.zeros(len(curve.points), bool)
        mine[f] = found[start : start + count]
        span = slice(taken, taken + int(mine.sum()))
        start, taken = start + count, span.stop
        where, half = curve.points.copy(), curve.half.copy()
        where[mine], half[mine] = rule(curve, mine, Brackets(brackets.lo[span], brackets.hi[span]))
        out.append(replace(curve, points=where, half=half))
    return tuple(out)


def sharpen(found: Curves, ask: Ask, tol: float) -> Curves:
    """Triple points known to within ``tol``, and the ends of curves moved to them.

    Around each a small lattice is labelled; the next one stands about the blocks of it that show all the labels. A point where
    no block does, or many along a thin wedge do, is left as it is. Cost: 256 evaluations per point and factor of 2 to 4.
    """
    at = np.array([t.at for t in found.triples]).reshape(-1, 2)
    half = np.array([t.half for t in found.triples])
    going = half > tol
    steps = np.linspace(-1, 1, ZOOM)
    grid = np.stack(np.meshgrid(steps, steps, indexing="ij"), -1).reshape(-1, 2)
    for _ in range(ROUNDS):
        todo = np.flatnonzero(going)
        if not todo.size:
            break
        # The true point is within `half`: the lattice reaches a little further.
        span = 1.25 * half[todo]
        codes = np.asarray(ask((at[todo, None] + span[:, None, None] * grid).reshape(-1, 2))).reshape(-1, ZOOM, ZOOM)
        for k, code, wide in zip(todo, codes, span, strict=True):
            block = _block(code, found.triples[k].labels)
            if block is None or wide * block[1] > 0.8 * half[k]:
                half[k] = half[k] if block is None else max(half[k], wide * block[1])
                going[k] = False
                continue
            at[k] += wide * block[0]
            half[k] = wide * block[1]
            going[k] = half[k] > max(tol, 8 * np.spacing(np.abs(at[k]).max()))
    triples = tuple(
        Triple((float(x), float(y)), t.labels, float(h)) for t, (x, y), h in zip(found.triples, at, half, strict=True)
    )
    return Curves(tuple(_ended(c, found.triples, triples) for c in found.curves), triples)


def _block(codes: np.ndarray, labels: tuple[int, ...]) -> tuple[np.ndarray, float] | None:
    """Centre and half the side, in a square from -1 to 1, of what holds all blocks of 2 x 2 points with all the labels.

    Else of 3 x 3 points. More on each side, by the length over which the thinnest wedge of a label is thinner than a cell.
    """
    cell = 2.0 / (ZOOM - 1)
    rim = np.concatenate([codes[0], codes[-1], codes[1:-1, 0], codes[1:-1, -1]])
    share = max(min(int((rim == label).sum()) for label in labels), 0.5) / len(rim)
    margin = 0.5 * cell / np.tan(min(np.pi * share, 0.25 * np.pi))
    for size in (2, 3):
        count = ZOOM + 1 - size
        shows = np.ones((count, count), bool)
        for label in labels:
            here = codes == label
            shows &= np.any([here[i : i + count, j : j + count] for i in range(size) for j in range(size)], axis=0)
        first = np.argwhere(shows)
        if len(first):
            low, high = first.min(0) * cell - 1.0, (first.max(0) + size - 1) * cell - 1.0
            return 0.5 * (low + high), float(0.5 * (high - low).max() + margin)
    return None


def _ended(curve: Curve, before: Sequence[Triple], after: Sequence[Triple]) -> Curve:
    """The curve with its ends where the triple points have gone."""
    points, half = curve.points.copy(), curve.half.copy()
    for end, k in zip(curve.ends, (0, -1), strict=True):
        if end == TRIPLE and before:
            which = int(np.argmin([np.hypot(*(points[k] - t.at)) for t in before]))
            points[k], half[k] = after[which].at, after[which].half
    return replace(curve, points=points, half=half)
