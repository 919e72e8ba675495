"""The random audit of a refined lattice: which inferred points to ask for, and what their answers say of the others."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Audited:
    """What an audit found among the points that were given one label without being asked for.

    ``rate`` is the share of them whose label is another one, ``low`` and ``high`` its Clopper-Pearson interval.
    """

    label: int
    inferred: int
    asked: int
    misses: int
    rate: float
    low: float
    high: float


def draw(labels: np.ndarray, known: np.ndarray, count: int, rng: np.random.Generator) -> np.ndarray:
    """Flat indices, sorted, of a random sample of the points that are not known.

    Half of the sample is shared equally by the labels, so that a rare one is heard; the rest goes by their sizes. Labels are
    drawn from in the order in which they first occur, so that naming them differently does not change the sample.
    """
    rows = (labels.shape[0], int(np.prod(labels.shape[1:])))
    codes, free = labels.reshape(rows), ~known.reshape(rows)
    sizes, first = np.zeros(256, np.int64), np.full(256, labels.size, np.int64)
    flat, open_ = codes.ravel(), free.ravel()
    for code in np.flatnonzero(np.bincount(flat, minlength=256)):
        mine = (flat == code) & open_
        sizes[code], first[code] = np.count_nonzero(mine), np.argmax(mine)
    present = np.flatnonzero(sizes)
    share = _shares(sizes[present], count)
    found = [np.zeros(0, np.int64)]
    for k in np.argsort(first[present]):
        rank = np.sort(rng.choice(sizes[present[k]], share[k], replace=False, shuffle=False))
        found.append(_ranked((codes == present[k]) & free, rank))
    return np.sort(np.concatenate(found))


def needed(labels: int) -> int:
    """How many points an audit must have so that every one of so many labels is heard, by the half shared equally."""
    return 2 * labels


def _shares(sizes: np.ndarray, count: int) -> np.ndarray:
    """How many to draw from strata of these sizes: half of the count equally, the rest in proportion."""
    share = np.zeros(sizes.size, np.int64)
    for done, k in enumerate(np.argsort(sizes, kind="stable")):
        share[k] = min(sizes[k], (count // 2 - share.sum()) // (sizes.size - done))
    rest, room = sizes - share, count - share.sum()
    return share + (rest if room >= rest.sum() else rest * room // rest.sum())


def _ranked(mask: np.ndarray, rank: np.ndarray) -> np.ndarray:
    """Flat indices of the rank-th true elements of a mask of two axes, without an index of all of them."""
    before = np.concatenate([[0], np.cumsum(np.count_nonzero(mask, axis=1))])
    row = np.searchsorted(before, rank, side="right") - 1
    column = np.empty_like(row)
    for part in np.array_split(np.arange(rank.size), 1 + rank.size * mask.shape[1] // 2**22):
        seen = np.cumsum(mask[row[part]], axis=1, dtype=np.int32)
        column[part] = np.argmax(seen > (rank[part] - before[row[part]])[:, None], axis=1)
    return row * mask.shape[1] + column


def judge(inferred: np.ndarray, missed: np.ndarray, sizes: np.ndarray, confidence: float) -> tuple[Audited, ...]:
    """The audit's rows, one per label that was inferred anywhere.

    Parameters
    ----------
    inferred : labels (m,) that the asked points had been given.
    missed : True (m,) where the answer was another.
    sizes : points with each label that had been inferred, by label.
    """
    rows = []
    for label in np.flatnonzero(sizes):
        mine = inferred == label
        asked, misses = int(mine.sum()), int(missed[mine].sum())
        low, high = interval(misses, asked, confidence)
        rows.append(Audited(int(label), int(sizes[label]), asked, misses, misses / asked if asked else 0.0, low, high))
    return tuple(rows)


def overall(rows: tuple[Audited, ...], total: int, confidence: float) -> tuple[float, float]:
    """Share of ``total`` points that have a wrong label: the estimate, and a bound that holds with the confidence.

    The share is at most the mean number of misses of such an audit times the largest number of points that one audited point
    stands for; and whatever the labels' own rates are, few misses are not likelier than with one rate for all (Hoeffding, Ann.
    Math. Stat. 27, 713, 1956), so that Clopper and Pearson's bound holds for their mean.
    """
    open_ = [r for r in rows if r.asked < r.inferred]  # a label that was asked for whole has no wrong point left
    estimate = sum(r.inferred * r.rate for r in open_) / total
    asked, misses = sum(r.asked for r in open_), sum(r.misses for r in open_)
    if not open_ or min(r.asked for r in open_) == 0:
        return estimate, sum(r.inferred for r in open_) / total
    weight = max(r.inferred / r.asked for r in open_)
    return estimate, min(1.0, weight * asked * interval(misses, asked, confidence)[1] / total)


def interval(misses: int, asked: int, confidence: float) -> tuple[float, float]:
    """Clopper-Pearson interval of a share of which ``misses`` of ``asked`` were seen (Biometrika 26, 404, 1934)."""
    # The inverse of the beta distribution: scipy.stats has it too, and takes half a second to import.
    from scipy.special import betaincinv

    tail = (1 - confidence) / 2
    low = float(betaincinv(misses, asked - misses + 1, tail)) if misses else 0.0
    high = float(betaincinv(misses + 1, asked - misses, 1 - tail)) if misses < asked else 1.0
    return low, high
