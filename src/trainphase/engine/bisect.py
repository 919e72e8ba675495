"""Where a label changes along one parameter: a scan, then every change narrowed by sections. No numerics of its own.

A change is followed from its more regular side (the smaller code): the bracket keeps the last point of the unbroken run
of that label and the first point of another. A sweep through chaos meets periodic windows at every scale, so a section
may step over the first change; an audit of the regular side at all scales catches that and sends the search back.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from math import ceil, log

import numpy as np

SECTIONS = 15
AUDIT = 64
ROUNDS = 60

Ask = Callable[[np.ndarray], np.ndarray]


@dataclass(frozen=True)
class Bracket:
    """A change of label between ``lo`` (label ``left``) and ``hi`` (label ``right``), in the search coordinate.

    ``first`` and ``last`` are the far ends of the unbroken runs of the two labels, as far as they have been seen;
    ``island`` tells that beyond the run of the more regular label lies the other label again.
    """

    lo: float
    hi: float
    left: int
    right: int
    first: float
    last: float
    island: bool = False
    stalled: int = 0
    audited: bool = False

    @property
    def width(self) -> float:
        """Distance between the two ends."""
        return self.hi - self.lo

    @property
    def from_left(self) -> bool:
        """True when the left label is the more regular one, from which the change is followed."""
        return self.left < self.right

    @property
    def origin(self) -> float:
        """The far end of the run of the more regular label."""
        return self.first if self.from_left else self.last


@dataclass(frozen=True)
class Scan:
    """Everything a search found: the scanned points, their codes, and one bracket per change."""

    points: np.ndarray
    codes: np.ndarray
    brackets: tuple[Bracket, ...]
    evaluations: int


def _changes(x: np.ndarray, codes: np.ndarray, undecided: int) -> list[Bracket]:
    """Neighbouring decided points with different labels; undecided points between them are stepped over."""
    keep = codes != undecided
    x, codes = x[keep], codes[keep]
    at = np.flatnonzero(codes[1:] != codes[:-1])
    starts, ends = np.concatenate([[0], at + 1]), np.concatenate([at, [len(x) - 1]])
    runs = [int(c) for c in codes[starts]] if codes.size else []
    out = []
    for k, i in enumerate(at):
        left, right = runs[k], runs[k + 1]
        beyond = (runs[k - 1] if k > 0 else -1) if left < right else (runs[k + 2] if k + 2 < len(runs) else -1)
        far = float(x[starts[k]]), float(x[ends[k + 1]])
        out.append(Bracket(float(x[i]), float(x[i + 1]), left, right, *far, island=beyond == max(left, right)))
    return out


def _narrow(b: Bracket, x: np.ndarray, codes: np.ndarray, undecided: int) -> list[Bracket]:
    """The bracket after new points inside it were labelled.

    Of several changes between its own two labels only the first, seen from the regular side, is followed: the others
    bound windows. Changes to and from a third label are brackets of their own.
    """
    xs = np.concatenate([[b.lo], x, [b.hi]])
    cs = np.concatenate([[b.left], codes, [b.right]])
    changes = []
    for c in _changes(xs, cs, undecided):
        outer = c.first == b.lo if c.from_left else c.last == b.hi
        first, last = b.first if c.first == b.lo else c.first, b.last if c.last == b.hi else c.last
        changes.append(replace(c, first=first, last=last, island=b.island if outer else c.island))
    own = [c for c in changes if {c.left, c.right} == {b.left, b.right}]
    followed = (own[:1] if b.from_left else own[-1:]) if own else []
    kept = [c for c in changes if c in followed or {c.left, c.right} != {b.left, b.right}]
    if len(kept) == 1:
        stalled = b.stalled + 1 if kept[0].width > 0.9 * b.width else 0
        return [replace(kept[0], stalled=stalled)]
    return kept


def _audit_points(b: Bracket, rng: np.random.Generator, audit: int) -> np.ndarray:
    """Points on the regular side of a change, at every scale between where it was known to hold and the change."""
    end = b.lo if b.from_left else b.hi
    reach = end - b.origin
    if reach == 0:
        return np.empty(0)
    decades = max(1.0, np.log10(abs(reach) / max(b.width, 1e-15)))
    return np.sort(end - reach * 10.0 ** -(decades * rng.random(audit)))


def _after_audit(b: Bracket, x: np.ndarray, codes: np.ndarray, undecided: int) -> list[Bracket]:
    """The bracket itself when the audit met no other label, or a wider one that ends at the label it met.

    An island that turns out to be several keeps its outer edge beside the inner one that was met.
    """
    own = b.left if b.from_left else b.right
    wrong = np.flatnonzero((codes != own) & (codes != undecided))
    if wrong.size == 0:
        return [replace(b, audited=True)]
    if b.from_left:
        wide = replace(b, lo=b.first, stalled=0)
        inner = _narrow(wide, np.append(x, b.lo), np.append(codes, own), undecided)
        edge = replace(b, first=b.lo, audited=True)
    else:
        wide = replace(b, hi=b.last, stalled=0)
        inner = _narrow(wide, np.append(b.hi, x), np.append(own, codes), undecided)
        edge = replace(b, last=b.hi, audited=True)
    return [*(c for c in inner if (c.lo, c.hi) != (b.lo, b.hi)), edge] if b.island else inner


def _ahead(width: float, audited: bool, tol: float, sections: int, audit: int) -> int:
    """Points that a bracket of this width needs yet where labels do not surprise."""
    rounds = ceil(log(width / tol) / log(sections + 1)) if width > tol else 0
    return sections * rounds + (0 if audited else audit)


def search(
    ask: Ask, lo: float, hi: float, n: int, tol: float, undecided: int = -1, seed: int = 0, *, sections: int = SECTIONS,
    audit: int = AUDIT, expect: Callable[[int], object] = lambda total: None,
) -> Scan:  # fmt: skip
    """Find every change of label that a scan of ``n`` points shows, each narrowed to ``tol`` where labels allow it.

    Parameters
    ----------
    ask : labels of an array of points, as integer codes of the same shape; a smaller code is a more regular label.
    tol : target width, in the coordinate of ``lo`` and ``hi``. A bracket whose inside stays undecided is left wider.
    sections : points that a change is narrowed by at a time; many where they are answered together. audit : points of the
        audit of its regular side.
    expect : told before each round how many points the whole search is going to take; at first as if there were one change.

    Cost: n points, then about ``sections`` log(spacing / tol) / log(``sections`` + 1) + ``audit`` points per change.
    """
    rng = np.random.default_rng(seed)
    points = np.linspace(lo, hi, n)
    expect(n + _ahead((hi - lo) / (n - 1), False, tol, sections, audit))
    codes = np.asarray(ask(points))
    count = n
    active = _changes(points, codes, undecided)
    done: list[Bracket] = []
    for _ in range(ROUNDS):
        expect(count + sum(_ahead(b.width, b.audited, tol, sections, audit) for b in active))
        if not active:
            break
        jobs: list[tuple[Bracket, np.ndarray, bool]] = []
        for b in active:
            finished = (
                b.width <= tol or b.stalled >= 3 or b.width <= 4 * np.spacing(max(abs(b.lo), abs(b.hi)))
            )
            if finished and b.audited:
                done.append(b)
                continue
            inside = _audit_points(b, rng, audit) if finished else np.linspace(b.lo, b.hi, sections + 2)[1:-1]
            jobs.append((b, inside, finished))
        if not jobs:
            break
        flat = np.concatenate([inside for _, inside, _ in jobs])
        labels = np.asarray(ask(flat)) if flat.size else np.empty(0, int)
        count += flat.size
        active, start = [], 0
        for b, inside, auditing in jobs:
            mine = labels[start : start + inside.size]
            start += inside.size
            active += (_after_audit if auditing else _narrow)(b, inside, mine, undecided)
    unique = {(round(b.lo, 14), round(b.hi, 14), b.left, b.right): b for b in done + active}
    return Scan(points, codes, _once(sorted(unique.values(), key=lambda b: b.lo)), count)


def _once(ordered: list[Bracket]) -> tuple[Bracket, ...]:
    """The brackets, with one for two of the same change: an audit may send the search to a change that it is at already."""
    out: list[Bracket] = []
    for b in ordered:
        a = out[-1] if out else None
        if a is not None and b.lo < a.hi and (a.left, a.right) == (b.left, b.right):
            out[-1] = replace(a, lo=b.lo, hi=min(a.hi, b.hi))  # the labels at both ends are known, so the change is between
        else:
            out.append(b)
    return tuple(out)
