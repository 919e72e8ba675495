"""Initial weights of two-layer ReLU nets, and particles that stand for many neurons.

The flow of a neuron is linear in (u, w) as long as its active set stands still, and neurons meet only through the
residual. So neurons of one active set, of nearly one direction of w and nearly one ratio of |a| to |w|, move alike up to
their size, and one particle can stand for them: with their mean square of a, and their mean of a w, the function and its
derivative along w are kept exactly at the start. What is lost is that members of a bin flip at slightly different times.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np


@dataclass(frozen=True)
class Weights:
    """Standard normal draws of one net.

    a : output weights, (m, c). w : input weights in the row space of the data, (m, r). outside : squared length of all input
    weights outside of it, which training never moves.
    """

    a: np.ndarray
    w: np.ndarray
    outside: float

    @property
    def norm_w(self) -> float:
        """Length of all input weights."""
        return float(np.sqrt(np.sum(np.square(self.w)) + self.outside))

    @property
    def norm_a(self) -> float:
        """Length of all output weights."""
        return float(np.sqrt(np.sum(np.square(self.a))))


@dataclass(frozen=True)
class Bundle:
    """Particles: a (c, N), w (r, N), mass and share (N,); ``mass`` neurons each, ``share`` of them in the first copy."""

    a: np.ndarray
    w: np.ndarray
    mass: np.ndarray
    share: np.ndarray


def draw(width: int, seed: int, rank: int, outside: int = 0, outputs: int = 1) -> Weights:
    """Weights of a net of ``width`` neurons over data of that rank, with so many further input dimensions.

    Widths and seeds are independent of each other. The directions outside of the row space enter the length of the
    weights only: their squares are drawn at once.
    """
    rng = np.random.default_rng([seed, width])
    a = rng.standard_normal(width if outputs == 1 else (width, outputs)).reshape(width, outputs)
    w = rng.standard_normal((width, rank))
    return Weights(a, w, float(rng.chisquare(width * outside)) if outside else 0.0)


def neurons(weights: Weights, antisymmetric: bool) -> Bundle:
    """One particle a neuron; with a second copy (-a, w) of each where the start is antisymmetric."""
    a, w = weights.a.T, weights.w.T
    one = np.ones(a.shape[1])
    if not antisymmetric:
        return Bundle(np.ascontiguousarray(a), np.ascontiguousarray(w), one, one)
    both = np.concatenate([one, one])
    return Bundle(np.concatenate([a, -a], 1), np.concatenate([w, w], 1), both, np.concatenate([one, 0 * one]))


def binned(weights: Weights, X: np.ndarray, bins: int, antisymmetric: bool) -> Bundle:
    """About ``bins`` particles for each sign of a, of one output and data of rank 2.

    Strips of the direction of w, none across a change of the active set, are divided by the ratio |a| / |w|; the cells
    hold about the same share of a^2 + |w|^2 / 2.
    """
    a, w = weights.a[:, 0], weights.w
    groups = []
    # The copy of a neuron with a < 0 is one with a > 0: bins of |a| serve both signs.
    for sign in (1.0,) if antisymmetric else (1.0, -1.0):
        mine = np.ones(len(a), bool) if antisymmetric else a * sign > 0
        height = np.abs(a[mine])
        cells = _bins(height, w[mine], X, bins)
        size = np.bincount(cells).astype(float)
        above = np.bincount(cells, weights=a[mine] > 0, minlength=len(size)) if antisymmetric else size
        for part, u, v in _nodes(cells, size, height, w[mine]):
            groups.append((sign * u, v, part * size, part * above))
            if antisymmetric:
                groups.append((-u, v, part * size, part * (size - above)))
    u, v, mass, share = (np.concatenate(column) for column in zip(*groups, strict=True))
    kept = (mass > 0) & ((np.abs(u) > 0) | (np.sum(np.square(v), axis=1) > 0))
    return Bundle(u[None, kept], np.ascontiguousarray(v[kept].T), mass[kept], share[kept])


def _bins(a: np.ndarray, w: np.ndarray, X: np.ndarray, bins: int) -> np.ndarray:
    """The cell of each neuron.

    Half of the cells of a strip share its weight, the others its logarithm, down to single neurons at the largest and the
    smallest ratios: with small kappa m and large kappa' a few of these carry the whole fit.
    """
    strips = max(int(1.4 * np.sqrt(bins)), 1)
    weight = np.square(a) + 0.5 * np.sum(np.square(w), axis=1)
    angle, ratio = np.arctan2(w[:, 1], w[:, 0]), a / np.sqrt(np.sum(np.square(w), axis=1))
    active = (w @ X.T > 0) @ (np.arange(X.shape[0]) + 1)
    order = np.argsort(angle)
    total = np.cumsum(weight[order])
    strip = np.empty(len(a), np.int64)
    strip[order] = _numbers(np.minimum((total / total[-1] * strips).astype(np.int64), strips - 1), active[order])
    order = np.lexsort((-ratio, strip))
    place, total = strip[order], np.cumsum(weight[order])
    first = np.flatnonzero(np.concatenate([[True], place[1:] != place[:-1]]))
    count = np.diff(np.append(first, len(a)))[place]
    before = np.concatenate([[0.0], total])[first][place]
    after = total[np.append(first[1:], len(a)) - 1][place]
    share = (total - 0.5 * weight[order] - before) / (after - before)
    tails = np.log1p(share * count) - np.log1p((1 - share) * count)
    level = 0.5 * share + 0.25 * (1 + tails / np.log1p(count))
    cell = np.empty(len(a), np.int64)
    cell[order] = _numbers((level * max(bins / strips, 1)).astype(np.int64), place)
    return cell


def _numbers(*keys: np.ndarray) -> np.ndarray:
    """0, 1, 2, ... : the next number wherever a key changes."""
    new = np.zeros(len(keys[0]), bool)
    for key in keys:
        new[1:] |= key[1:] != key[:-1]
    return np.cumsum(new)


def _nodes(
    cells: np.ndarray, size: np.ndarray, a: np.ndarray, w: np.ndarray
) -> list[tuple[np.ndarray, np.ndarray, np.ndarray]]:
    """Four weights (a, w) for each cell, and the part of the cell each stands for, with the cell's means of the squares
    and products of a and w.

    Along the mean direction of w this is a Gauss-Radau rule in the ratio: one node at the cell's smallest ratio, one within
    it. The larger of them is two, on both sides, for the spread across that direction.
    """

    def mean(values: np.ndarray) -> np.ndarray:
        return np.bincount(cells, weights=values) / size

    centre = np.stack([mean(w[:, 0]), mean(w[:, 1])])
    along = centre / np.sqrt(np.sum(centre * centre, axis=0))
    across = np.stack([-along[1], along[0]])
    p, q = np.sum(along.T[cells] * w, axis=1), np.sum(across.T[cells] * w, axis=1)
    ratio = np.full(len(size), np.inf)
    np.minimum.at(ratio, cells, a / np.maximum(p, 1e-300))
    rise = a - ratio[cells] * p
    scale = mean(p * p)
    # In units of the cell's own size, what is below rounding is nothing.
    height = mean(rise * rise)
    some = height > 1e-24 * np.maximum(mean(a * a), 1e-300)
    u = np.sqrt(np.where(some, height, 0.0))
    far, aside = (np.where(some, mean(rise * x) / np.where(some, u, 1.0), 0.0) for x in (p, q))
    pp, pq, qq = scale - far * far, mean(p * q) - far * aside, mean(q * q) - aside * aside
    width = np.sqrt(np.where(qq > 1e-13 * scale, qq, 0.0))
    lean = np.where(width > 0, pq / np.where(width > 0, width, 1.0), 0.0)
    near = np.sqrt(np.maximum(pp - lean * lean, 0.0))
    near = np.where(near * near > 1e-13 * scale, near, 0.0)
    # The spread goes with the larger of the two.
    outer = far >= near

    def node(part: Any, x: np.ndarray, y: np.ndarray, more: np.ndarray) -> tuple[Any, np.ndarray, np.ndarray]:
        return part, more + ratio * x, (x * along + y * across).T

    found = []
    for x, y, more, mine in ((far, aside, u, outer), (near, 0 * near, 0 * u, ~outer)):
        left, off = np.where(mine, lean, 0.0), np.where(mine, width, 0.0)
        single = (left == 0) & (off == 0)
        found.append(node(np.where(single, 1.0, 0.5), x + left, y + off, more))
        found.append(node(np.where(single, 0.0, 0.5), x - left, y - off, more))
    return found
