"""What a refinement hands back: the labels of all points, where they change, and how far they can be trusted."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from trainphase.engine.audit import Audited
from trainphase.engine.dyadic import Dyadic


@dataclass(frozen=True)
class Level:
    """Cells of one stride that a boundary runs through, in the refined lattice."""

    stride: int
    cells: int
    mixed: int


@dataclass(frozen=True)
class Refined:
    """A refined lattice.

    ``labels`` (shape) holds the label of every point and ``known`` (shape) whether it was asked for. ``crossings`` (m, 2, d)
    are pairs of neighbouring known points with different labels. ``audit`` has one row per label; ``audits`` is how many audits
    there were, of which the last is reported. ``wrong`` is the share of the lattice that has a wrong label, as the audit
    estimates it, and a bound; None without an audit. ``dimension`` is the slope of log2(mixed cells) over the levels with its
    standard error, None where there are too few levels with any.
    """

    labels: np.ndarray
    known: np.ndarray
    crossings: np.ndarray
    audit: tuple[Audited, ...]
    audits: int
    wrong: tuple[float, float] | None
    levels: tuple[Level, ...]
    dimension: tuple[float, float] | None
    evaluations: int
    rounds: int


def crossings(labels: np.ndarray, known: np.ndarray) -> np.ndarray:
    """Flat indices (m, 2) of neighbouring known points with different labels."""
    index = []
    for axis in range(labels.ndim):
        ahead = (slice(None),) * axis + (slice(1, None),)
        behind = (slice(None),) * axis + (slice(None, -1),)
        at = np.nonzero((labels[ahead] != labels[behind]) & known[ahead] & known[behind])
        low = np.ravel_multi_index(at, labels.shape)
        index.append(np.stack([low, low + math.prod(labels.shape[axis + 1 :])], -1))
    return np.concatenate(index)


def boxes(lattice: Dyadic, labels: np.ndarray) -> tuple[Level, ...]:
    """Cells of every level that hold more than one label, from the coarsest to the finest."""
    found = []
    low, high = labels, labels
    for axis in range(labels.ndim):
        a, b = (slice(None),) * axis + (slice(1, None),), (slice(None),) * axis + (slice(None, -1),)
        if labels.shape[axis] > 1:
            low, high = np.minimum(low[a], low[b]), np.maximum(high[a], high[b])
    for level in range(lattice.top + 1):
        if level:
            for axis, factor in enumerate(a // b for a, b in zip(lattice.stride(level), lattice.stride(level - 1), strict=True)):
                if factor > 1:
                    starts = np.arange(0, low.shape[axis], factor)
                    low, high = np.minimum.reduceat(low, starts, axis), np.maximum.reduceat(high, starts, axis)
        found.append(Level(max(lattice.stride(level)), low.size, int(np.count_nonzero(low != high))))
    return tuple(reversed(found))


def dimension(levels: tuple[Level, ...]) -> tuple[float, float] | None:
    """Slope of log2(mixed cells) over the levels with its standard error: the box-counting dimension of the boundaries.

    The finest level is left out: what lies between its corners cannot be seen.
    """
    use = [v for v in levels[:-1] if v.mixed]
    if len(use) < 3:
        return None
    x = np.array([-math.log2(v.stride) for v in use])
    y = np.log2([v.mixed for v in use])
    x = x - x.mean()
    slope = float(x @ y / (x @ x))
    rest = y - y.mean() - slope * x
    return slope, math.sqrt(float(rest @ rest) / (len(use) - 2) / float(x @ x))
