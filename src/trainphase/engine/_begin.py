"""Where a boundary is followed from: the nearest change of label to a point, and the directions in which it goes on."""

from __future__ import annotations

import itertools

import numpy as np

from trainphase.engine.polish import Ask, Brackets, narrow

# Changes of label near the start that are looked at.
TRIES = 24
# Angle between two steps above which the step is halved, and by which two directions may miss being opposite.
MOST_TURN = np.radians(20.0)


def start_of(
    ask: Ask, start: np.ndarray, between: tuple[int, int] | None, undecided: tuple[int, ...], step: float, tol: float
) -> tuple[int, int, Brackets] | None:
    """The labels on the right and left, and the bracket narrowed to ``tol``, of a boundary near the start.

    Where a third label turns out to lie between the two points of a change, the boundary with that one is taken, or, if it is
    not the one that was asked for, the next change.
    """
    for a, b, one, other in _changes(ask, start, between, undecided, step)[:TRIES]:
        for _ in range(3):
            (left, low), (right, high) = sorted([(a, one), (b, other)], key=lambda item: item[0])
            bracket = Brackets(high[None], low[None])
            bracket = narrow(ask, bracket, np.array([left]), np.array([right]), tol)
            inner = bracket.lo + np.linspace(0, 1, 34)[1:-1, None] * (bracket.hi - bracket.lo)
            codes = ask(inner) if bracket.half[0] > tol else np.array([left])
            third = np.flatnonzero((codes != left) & (codes != right) & ~np.isin(codes, undecided))
            if not third.size:
                return right, left, bracket
            if between is not None:
                break
            # From the right label to the first third one.
            a, b, one, other = right, int(codes[third[0]]), bracket.lo[0], inner[third[0]]
    return None


def _changes(
    ask: Ask, start: np.ndarray, between: tuple[int, int] | None, undecided: tuple[int, ...], step: float
) -> list[tuple[int, int, np.ndarray, np.ndarray]]:
    """Changes of label along rays from the start and around it, the nearest first: two labels and a point with each.

    From a start on the boundary itself no ray crosses it, but circles do.
    """
    angles = 2 * np.pi * (np.arange(16) + 0.25) / 16
    rays = np.stack([np.cos(angles), np.sin(angles)], 1)
    # Up to the side of the square, on which the last point of each ray lies.
    way = np.where(rays > 0, (1 - start) / rays, -start / rays).min(1)
    radii = np.minimum(np.geomspace(step / 16, 1.5, 24), way[:, None])
    far = start + radii[..., None] * rays[:, None]
    ends = radii == way[:, None]
    far[ends] = np.clip(far[ends], 0.0, 1.0)
    points = np.concatenate([np.broadcast_to(start, (16, 1, 2)), far], 1)
    inside = np.all((points >= 0) & (points <= 1), axis=2)
    codes = np.full(inside.shape, -1)
    codes[inside] = ask(points[inside])
    away = np.hypot(*np.moveaxis(points - start, -1, 0))
    shown = inside & ~np.isin(codes, undecided)
    number = np.arange(points.shape[0] * points.shape[1]).reshape(shown.shape)
    circles = np.concatenate([number, number[:1]])[:, 1:].T
    pairs: list[tuple[float, int, int]] = []
    for line in (*number, *circles):
        for a, b in itertools.pairwise(line[shown.ravel()[line]]):
            p, q = int(codes.flat[a]), int(codes.flat[b])
            if p == q or (between is not None and {p, q} != set(between)):
                continue
            pairs.append((float(max(away.flat[a], away.flat[b])), int(a), int(b)))
    flat = points.reshape(-1, 2)
    return [(int(codes.flat[a]), int(codes.flat[b]), flat[a], flat[b]) for _, a, b in sorted(pairs)]


def headings(ask: Ask, first: Brackets, left: int, right: int, step: float) -> tuple[float, float, float]:
    """The directions in which a boundary leaves a point, with ``left`` on the left and on the right, and a step to begin with.

    From the widest of some circles about the point that the boundary crosses twice; else at right angles to the bracket.
    """
    origin, across = first.middle[0], first.hi[0] - first.lo[0]
    ahead = float(np.arctan2(across[1], across[0]) - 0.5 * np.pi)
    least = 4 * float(np.hypot(*across))
    radii = np.unique(np.minimum(step, np.maximum(step / 2.0 ** np.arange(1, 6), least)))[::-1]
    angles = 2 * np.pi * (np.arange(48) + 0.5) / 48
    points = origin + radii[:, None, None] * np.stack([np.cos(angles), np.sin(angles)], 1)
    inside = np.all((points >= 0) & (points <= 1), axis=2)
    codes = np.full(inside.shape, -1)
    codes[inside] = ask(points[inside])
    for radius, code in zip(radii, codes, strict=True):
        mine = np.flatnonzero((code == left) | (code == right))
        known, here = code[mine], angles[mine]
        changes = np.flatnonzero(known != np.roll(known, -1))
        if len(changes) != 2:
            continue
        following = np.append(here[1:], here[0] + 2 * np.pi)
        at = 0.5 * (here + following)[changes]
        # Counter-clockwise: from the right to the left label ahead, and back behind.
        if abs(abs(at[1] - at[0]) - np.pi) > MOST_TURN:
            continue  # the boundary turns on this scale
        k = int(known[changes[0]] == left)
        return float(at[k]), float(at[1 - k]), float(radius)
    return ahead, ahead + np.pi, max(step / 32, min(least, step))
