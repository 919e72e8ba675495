"""One boundary followed from a point, without computing the plane: continuation by labels alone. NumPy alone.

From a point of the boundary the labels on small arcs ahead tell where the boundary crosses them: an arc of radius h about the
point, densest around the direction that the last two steps predict, and arcs of h/2 and h/4 in case the boundary turns more
than that. Both ends advance in the same question, since a question costs about as much for one point as for a few hundred. At
last all points are narrowed together.

Coordinates are those of the unit square; the first of the two labels, the smaller code, is on the left of the curve.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from trainphase.engine._begin import MOST_TURN, headings, start_of
from trainphase.engine.curves import CLOSED, EDGE, TRIPLE, UNDECIDED, Curve, Curves, Triple
from trainphase.engine.polish import BATCH, Ask, Brackets, narrow, sharpen

LIMIT, LOST = "limit", "lost"

# Directions on an arc, from the predicted one: a boundary that is smooth on the scale of the step lies between the smallest.
_RIGHT = -np.array([80.0, 64.0, 32.0, 16.0, 8.0, 4.0, 2.0, 1.0, 0.5])
_BEHIND = -np.array([165.0, 140.0, 110.0])
ANGLES = np.radians(np.concatenate([_RIGHT, [0.0], -_RIGHT[::-1]]))
# At the smallest steps it may also turn back, round the tip of a wedge.
WIDE = np.radians(np.concatenate([_BEHIND, np.degrees(ANGLES), -_BEHIND[::-1]]))
RADII = (1.0, 0.5, 0.25)
# Angle between two steps below which the step is doubled; above MOST_TURN it is halved.
LEAST_TURN = np.radians(6.0)
# An arc on which another label takes more than this between the two tells nothing about the direction.
MOST_BAND = np.radians(70.0)
# The smallest step, as a share of the largest.
SMALLEST = 2.0**-12
# After this many steps that led nowhere a front is lost.
CIRCLE = 24


@dataclass(frozen=True, eq=False)
class Followed:
    """A boundary that was followed, the point where it ended in a third label, if it did, and what it cost."""

    curve: Curve
    triples: tuple[Triple, ...]
    evaluations: int
    questions: int


@dataclass
class _Front:
    """One end of the curve on its way. ``left`` is the label on its left as it goes."""

    left: int
    right: int
    heading: float
    step: float
    brackets: list[tuple[np.ndarray, np.ndarray]]  # a point on the right and one on the left, for each point so far
    turn: float = 0.0  # of the last step, per length
    sharp: bool = True  # whether the last bracket is as narrow as labels make it
    end: str | None = None
    third: int | None = None  # another label seen between the two on the way to the next point, and how far from here
    reach: float = 0.0

    @property
    def at(self) -> np.ndarray:
        """Where the front is."""
        low, high = self.brackets[-1]
        return 0.5 * (low + high)

    @property
    def band(self) -> float:
        """Width of the last bracket."""
        low, high = self.brackets[-1]
        return float(np.hypot(*(high - low)))


class _Counted:
    """A question that counts itself."""

    def __init__(self, ask: Ask) -> None:
        self.ask, self.evaluations, self.questions = ask, 0, 0

    def __call__(self, points: np.ndarray) -> np.ndarray:
        self.evaluations += len(points)
        self.questions += 1
        return np.asarray(self.ask(points)).astype(int)


def follow(
    ask: Ask, start: Sequence[float] | np.ndarray, *, between: tuple[int, int] | None = None, undecided: Sequence[int] = (255,),
    step: float = 1 / 32, tol: float = 1e-9, most: int = 4096,
) -> Followed | None:  # fmt: skip
    """Follow the boundary nearest to ``start``, in the unit square, in both directions.

    Parameters
    ----------
    ask : labels of points (m, 2) in the unit square, codes (m,).
    between : the two labels, in any order; left out, those of the boundary that is nearest.
    undecided : codes that are no label: a boundary may run inside a strip of them.
    step : largest distance between neighbouring points; where the curve turns it is less.
    tol : width to which each point is narrowed. most : points after which it ends.

    Returns None when there is no such boundary around the start. An end is at the ``edge`` of the square, in a ``triple
    point`` (a third label, which is reported), ``closed``, in ``undecided``, at the ``limit`` of points, or ``lost`` (the
    boundary turns or branches at any scale).

    Cost: about 60 evaluations per point and direction, in one question for both, then log2(step / tol) per point.
    """
    counted = _Counted(ask)
    smallest = max(SMALLEST * step, 4 * tol)
    found = start_of(counted, np.asarray(start, float), between, tuple(undecided), step, smallest / 8)
    if found is None:
        return None
    right, left, first = found
    ahead, behind, size = headings(counted, first, left, right, step)
    start_at, turned = (first.lo[0], first.hi[0]), (first.hi[0], first.lo[0])
    fronts = (_Front(left, right, ahead, size, [start_at]), _Front(right, left, behind, size, [turned]))
    closed = _advance(counted, fronts, set(undecided), step, smallest, most)
    return _finished(counted, fronts, closed, tol)


def _advance(
    ask: _Counted, fronts: tuple[_Front, _Front], undecided: set[int], largest: float, smallest: float, most: int
) -> bool:
    """Take both fronts to their ends; True when they meet."""
    while True:
        going = [f for f in fronts if f.end is None]
        if not going:
            return False
        if sum(len(f.brackets) for f in fronts) >= most:
            for f in going:
                f.end = LIMIT
            return False
        near = _near(*fronts) if len(going) == 2 else np.inf
        if near <= 1.0:
            return True
        if near < 2.0:
            going = going[:1]  # one waits, lest they pass each other
        plans = [_plan(f, smallest) for f in going]
        arcs = [arc for plan in plans for arc in plan]
        points = np.concatenate([arc.points for arc in arcs])
        inside = np.all((points >= 0) & (points <= 1), axis=1)
        codes = np.full(len(points), -1)
        codes[inside] = ask(points[inside])
        k = 0
        for f, plan in zip(going, plans, strict=True):
            for arc in plan:
                arc.codes = codes[k : k + len(arc.points)]
                k += len(arc.points)
            if not _step(f, plan, undecided, largest, smallest) and not f.sharp:
                # Shorter steps need a better place to start from.
                low, high = (x[None] for x in f.brackets[-1])
                sharp = narrow(ask, Brackets(low, high), np.array([f.left]), np.array([f.right]), smallest / 8)
                f.brackets[-1], f.sharp = (sharp.lo[0], sharp.hi[0]), True


@dataclass
class _Arc:
    """Points ahead of a front in order from its right to its left, on an arc or along a side of the square."""

    points: np.ndarray
    angles: np.ndarray
    codes: np.ndarray | None = None
    side: bool = False


def _plan(front: _Front, smallest: float) -> list[_Arc]:
    """The arcs to ask for, the widest first; where the square ends before the first of them, its side comes before it."""
    plan, fan = [], WIDE if front.step <= 8 * smallest else ANGLES
    for share in RADII:
        radius = share * front.step
        angles = front.heading + 0.5 * front.turn * radius + fan
        plan.append(_Arc(front.at + radius * np.stack([np.cos(angles), np.sin(angles)], 1), fan))
    return [*_side(front, 1.5 * front.step), *plan]


def _side(front: _Front, reach: float) -> list[_Arc]:
    """Points along the side of the square that the front is about to meet within ``reach``, if it is."""
    direction = np.array([np.cos(front.heading), np.sin(front.heading)])
    with np.errstate(divide="ignore", invalid="ignore"):
        ahead = np.where(direction > 0, (1 - front.at) / direction, np.where(direction < 0, -front.at / direction, np.inf))
    axis = int(np.argmin(ahead))
    distance = float(max(ahead[axis], 0.0))
    if distance > reach:
        return []
    place, wall = front.at + distance * direction, float(direction[axis] > 0)
    # From right to left as seen by the front: counter-clockwise around the square.
    sense = (1.0 if wall else -1.0) * (1.0 if axis == 0 else -1.0)
    spread = max(distance, 1e-3 * reach) * np.tan(np.clip(ANGLES, -1.2, 1.2)) / max(abs(direction[axis]), 0.2)
    points = np.empty((len(ANGLES), 2))
    points[:, axis] = wall
    points[:, 1 - axis] = np.clip(place[1 - axis] + sense * spread, 0.0, 1.0)
    return [_Arc(points, ANGLES, side=True)]


def _change(arc: _Arc, left: int, right: int, undecided: set[int]) -> tuple[int, int, int | None] | None:
    """Positions on an arc of the last right label and the first left one after it, and a third label between, if any.

    Of several changes the one nearest the middle; None when there is none.
    """
    codes = arc.codes
    assert codes is not None  # asked before
    mine = np.flatnonzero((codes == left) | (codes == right))
    pairs = [(a, b) for a, b in itertools.pairwise(mine) if codes[a] == right and codes[b] == left]
    if not pairs:
        return None
    a, b = min(pairs, key=lambda ab: abs(ab[0] + ab[1] - (len(codes) - 1)))
    among = [int(c) for c in codes[a + 1 : b] if c not in undecided and c != -1]
    return int(a), int(b), (among[0] if among else None)


def _step(front: _Front, plan: list[_Arc], undecided: set[int], largest: float, smallest: float) -> bool:
    """Move a front to the widest arc that the boundary crosses without turning much; else make its step smaller: False."""
    third: int | None = None
    for arc in plan:
        change = _change(arc, front.left, front.right, undecided)
        if change is None or change[2] is not None:
            third = change[2] if change is not None else _other(front, [arc], undecided) if third is None else third
            continue
        low, high = arc.points[change[0]], arc.points[change[1]]
        move = 0.5 * (low + high) - front.at
        length = float(np.hypot(*move))
        # What the bracket leaves open of the direction of the chord.
        blur = 0.0 if length == 0 else 0.5 * (float(np.hypot(*(high - low))) + front.band) / length
        if length == 0 or (not arc.side and blur > MOST_BAND):
            continue
        # The chord against the direction that the front had: a circle turns by twice that along it.
        turned = float((np.arctan2(move[1], move[0]) - front.heading + np.pi) % (2 * np.pi) - np.pi)
        turned = float(np.sign(turned) * max(abs(turned) - blur, 0.0))
        if abs(turned) > 0.5 * MOST_TURN and length > 4 * smallest and not arc.side:
            continue
        front.brackets.append((low, high))
        front.sharp, front.third, front.reach = False, None, 0.0
        front.end = EDGE if arc.side else None
        front.turn = 2 * turned / length
        front.heading += 2 * turned
        longer = 2 * length if abs(2 * turned) < LEAST_TURN else length
        front.step = max(smallest, min(largest, longer))
        if _circles(front, smallest):
            del front.brackets[-CIRCLE:]
            front.end = LOST
        return True
    if third is not None:
        front.third, front.reach = third, front.step
    if front.step > smallest or not front.sharp:
        front.step = max(smallest, front.step / 8)
        return False
    front.end = _why(front, plan, undecided)
    return False


def _circles(front: _Front, smallest: float) -> bool:
    """True when the last steps have led nowhere: back and forth in the tip of a thin wedge."""
    if len(front.brackets) <= CIRCLE + 1:
        return False
    low, high = front.brackets[-1 - CIRCLE]
    return float(np.hypot(*(front.at - 0.5 * (low + high)))) < 8 * smallest


def _other(front: _Front, plan: list[_Arc], undecided: set[int]) -> int | None:
    """A third label that arcs show, if any."""
    codes = np.concatenate([arc.codes for arc in plan if arc.codes is not None])
    return next((int(c) for c in codes if c not in (front.left, front.right, -1) and c not in undecided), None)


def _why(front: _Front, plan: list[_Arc], undecided: set[int]) -> str:
    """Why a front goes no further: what it saw on the way, and what is around it at the smallest step."""
    codes = np.concatenate([arc.codes for arc in plan if arc.codes is not None])
    if front.third is None:
        front.third, front.reach = _other(front, plan, undecided), front.step
    if front.third is not None:
        return TRIPLE
    if (codes == -1).any():
        return EDGE
    return UNDECIDED if np.isin(codes, list(undecided)).any() else LOST


def _near(one: _Front, other: _Front) -> float:
    """How near two fronts are that run head on into each other, in steps: a curve closes at 1. Others are far away."""
    gap = other.at - one.at
    ahead = np.array([np.cos(one.heading), np.sin(one.heading)]), np.array([np.cos(other.heading), np.sin(other.heading)])
    facing = gap @ ahead[0] >= 0 and -gap @ ahead[1] >= 0 and ahead[0] @ ahead[1] < -0.5
    if not facing or len(one.brackets) + len(other.brackets) < 6:
        return float("inf")
    return float(np.hypot(*gap)) / max(one.step, other.step)


def _finished(ask: _Counted, fronts: tuple[_Front, _Front], closed: bool, tol: float) -> Followed:
    """The curve of two fronts, every point narrowed, and the triple points at its ends."""
    ahead, behind = fronts
    # Behind, the labels on either side change places.
    low = [b for _, b in reversed(behind.brackets[1:])] + [a for a, _ in ahead.brackets]
    high = [a for a, _ in reversed(behind.brackets[1:])] + [b for _, b in ahead.brackets]
    count = len(low)
    sharp = narrow(
        ask, Brackets(np.array(low), np.array(high)), np.full(count, ahead.left), np.full(count, ahead.right), tol, BATCH
    )
    points, half = sharp.middle, sharp.half
    ends = (CLOSED, CLOSED) if closed else (behind.end or LOST, ahead.end or LOST)
    triples = []
    for front, at in ((behind, points[0]), (ahead, points[-1])):
        if not closed and front.end == TRIPLE and front.third is not None:
            labels = tuple(sorted({front.left, front.right, front.third}))
            triples.append(Triple((float(at[0]), float(at[1])), labels, 3 * max(front.step, front.reach)))
    ordered = (min(ahead.left, ahead.right), max(ahead.left, ahead.right))
    curve = Curve(ordered, points, half, closed, ends)
    if triples:
        triples = list(sharpen(Curves((), tuple(triples)), lambda p: _clipped(ask, p), tol).triples)
    return Followed(curve, tuple(triples), ask.evaluations, ask.questions)


def _clipped(ask: Ask, points: np.ndarray) -> np.ndarray:
    """Labels of points; those outside of the square have that of the nearest point inside."""
    return ask(np.clip(points, 0.0, 1.0))
