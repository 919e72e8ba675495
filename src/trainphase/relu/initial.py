"""Initial weights of two-layer ReLU nets, and particles that stand for many neurons.

The flow of a neuron is linear in (u, w) as long as its active set stands still, and neurons meet only through the
residual. So neurons of one active set, of nearly one direction of w and nearly one ratio of |a| to |w|, move alike up to
their size, and a few particles can stand for them, which keep their means of a^2, of a w and of the products of w. What is
lost is that members of a bin flip at slightly different times; and, of a start without a second copy, a part of f(0): a
node may lie outside of the active set of its bin.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from trainphase.systems.relu2 import Weights, draw

__all__ = ["Bundle", "Weights", "binned", "draw", "neurons"]


@dataclass(frozen=True, eq=False)
class Bundle:
    """Particles: a (c, N), w (r, N), mass and share (N,): weights in sums over all neurons, and over those of the first copy."""

    a: np.ndarray
    w: np.ndarray
    mass: np.ndarray
    share: np.ndarray


def neurons(weights: Weights, antisymmetric: bool) -> Bundle:
    """One particle a neuron; with a second copy (-a, w) of each where the start is antisymmetric."""
    a, w = weights.a.T, weights.w.T
    one = np.ones(a.shape[1])
    if not antisymmetric:
        return Bundle(np.ascontiguousarray(a), np.ascontiguousarray(w), one, one)
    both = np.concatenate([one, one])
    return Bundle(np.concatenate([a, -a], 1), np.concatenate([w, w], 1), both, np.concatenate([one, 0 * one]))


def binned(weights: Weights, X: np.ndarray, bins: int, antisymmetric: bool) -> Bundle:
    """Particles from about ``bins`` cells for each sign of a (one sign in all for two copies), one output, data of rank 2.

    Strips of the direction of w, none across a change of the active set, are divided by the ratio |a| / |w|. Of every cell
    the sums of squares and products of a and w are kept, by four nodes.
    """
    a, w = weights.a[:, 0], weights.w
    groups = []
    # The copy of a neuron with a < 0 is one with a > 0: bins of |a| serve both signs.
    for sign in (0.0,) if antisymmetric else (1.0, -1.0):
        mine = slice(None) if antisymmetric else a * sign > 0
        height, v = np.abs(a[mine]), w[mine]
        lengths = np.sqrt(v[:, 0] * v[:, 0] + v[:, 1] * v[:, 1])
        ratio = height / np.maximum(lengths, 1e-300)
        cells = _bins(height, v, lengths, ratio, X, bins)
        count = np.bincount(cells).astype(float)
        above = np.bincount(cells, weights=a > 0, minlength=len(count)) if antisymmetric else count
        for part, u, node in _nodes(cells, count, height, v, ratio):
            for side, share in ((1.0, above), (-1.0, count - above)) if antisymmetric else ((sign, count),):
                groups.append((side * u, node, part * count, part * share))
    u, v, mass, share = (np.concatenate(column, axis=-1) for column in zip(*groups, strict=True))
    kept = (mass > 0) & ((u != 0) | (v[0] != 0) | (v[1] != 0))
    return Bundle(u[None, kept], v[:, kept], mass[kept], share[kept])


# Directions are told apart to this part of a turn when strips are laid out.
DIRECTIONS = 4096


def _bins(
    a: np.ndarray, w: np.ndarray, lengths: np.ndarray, ratio: np.ndarray, X: np.ndarray, bins: int
) -> np.ndarray:
    """The cell of each neuron: strips hold about the same share of a^2 + |w|^2 / 2.

    Half of the cells of a strip share its weight, the others its logarithm, down to single neurons at the largest and the
    smallest ratios: with small kappa m and large kappa' a few of these carry the whole fit.
    """
    strips = max(int(1.4 * np.sqrt(bins)), 1)
    weight = a * a + 0.5 * lengths * lengths
    angle = np.arctan2(w[:, 1], w[:, 0])
    place = np.minimum(((angle / (2 * np.pi) + 0.5) * DIRECTIONS).astype(np.int64), DIRECTIONS - 1)
    total = np.cumsum(np.bincount(place, weights=weight, minlength=DIRECTIONS))
    strip = np.minimum((total / total[-1] * strips).astype(np.int64), strips - 1)[place]
    # The active set changes where a direction is at right angles to an input: between these, an arc has one set.
    normal = np.sort(np.concatenate([np.arctan2(X[:, 0], -X[:, 1]), np.arctan2(-X[:, 0], X[:, 1])]))
    key = strip * (len(normal) + 1) + np.searchsorted(normal, angle)
    order = np.argsort(-ratio)
    order = order[np.argsort(key[order].astype(np.int16 if key.max() < 2**15 else np.int64), kind="stable")]
    number = _numbers(key[order])
    total = np.cumsum(weight[order])
    first = np.flatnonzero(np.concatenate([[True], number[1:] != number[:-1]]))
    count = np.diff(np.append(first, len(a)))[number]
    before = np.concatenate([[0.0], total])[first][number]
    after = total[np.append(first[1:], len(a)) - 1][number]
    share = (total - 0.5 * weight[order] - before) / (after - before)
    tails = np.log1p(share * count) - np.log1p((1 - share) * count)
    level = 0.5 * share + 0.25 * (1 + tails / np.log1p(count))
    cell = np.empty(len(a), np.int64)
    cell[order] = _numbers((level * max(bins / strips, 1)).astype(np.int64), number)
    return cell


def _numbers(*keys: np.ndarray) -> np.ndarray:
    """0, 1, 2, ... : the next number wherever a key changes."""
    new = np.zeros(len(keys[0]), bool)
    for key in keys:
        new[1:] |= key[1:] != key[:-1]
    return np.cumsum(new)


def _nodes(
    cells: np.ndarray, count: np.ndarray, a: np.ndarray, w: np.ndarray, ratios: np.ndarray
) -> list[tuple[np.ndarray, np.ndarray, np.ndarray]]:
    """Four weights for each cell, with the cell's means of the squares and products of a and w.

    Along the mean direction of w this is a Gauss-Radau rule in the ratio: one node at the cell's smallest ratio, one within
    it. The larger of them is two, on both sides, for the spread across that direction. Returns of each node the part of
    the cell it stands for, a and w, shapes (cells,), (cells,) and (2, cells).
    """

    def mean(values: np.ndarray) -> np.ndarray:
        return np.bincount(cells, weights=values) / count

    x, y = w[:, 0], w[:, 1]
    ratio = np.full(len(count), np.inf)
    np.minimum.at(ratio, cells, ratios)
    along = np.stack([mean(x), mean(y)])
    along = along / np.sqrt(np.sum(along * along, axis=0))
    across = np.stack([-along[1], along[0]])
    xx, xy, yy, aa, ax, ay = mean(x * x), mean(x * y), mean(y * y), mean(a * a), mean(a * x), mean(a * y)
    # The same moments along p and across q, and of the rise a - ratio p, which is not negative.
    (c, s), (d, e) = along, across
    pp, pq, qq = c * c * xx + 2 * c * s * xy + s * s * yy, c * d * xx + (c * e + s * d) * xy + s * e * yy, 0 * xx
    qq = d * d * xx + 2 * d * e * xy + e * e * yy
    ap, aq = c * ax + s * ay, d * ax + e * ay
    rise, rise_p, rise_q = aa - 2 * ratio * ap + ratio * ratio * pp, ap - ratio * pp, aq - ratio * pq
    # In units of the cell's own size, what is below rounding is nothing.
    some = rise > 1e-13 * aa
    u = np.sqrt(np.where(some, rise, 0.0))
    far, aside = (np.where(some, v / np.where(some, u, 1.0), 0.0) for v in (rise_p, rise_q))
    left_pp, left_pq, left_qq = pp - far * far, pq - far * aside, qq - aside * aside
    width = np.sqrt(np.where(left_qq > 1e-13 * pp, left_qq, 0.0))
    lean = np.where(width > 0, left_pq / np.where(width > 0, width, 1.0), 0.0)
    near = left_pp - lean * lean
    near = np.sqrt(np.where(near > 1e-13 * pp, near, 0.0))
    found = []
    for p, q, more, mine in ((far, aside, u, far >= near), (near, 0 * near, 0 * u, far < near)):
        sideways, off = np.where(mine, lean, 0.0), np.where(mine, width, 0.0)
        single = (sideways == 0) & (off == 0)
        for sign in (1.0, -1.0):
            part = np.where(single, 0.5 + 0.5 * sign, 0.5)
            v = (p + sign * sideways) * along + (q + sign * off) * across
            found.append((part, more + ratio * (p + sign * sideways), v))
    return found
