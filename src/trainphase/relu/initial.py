"""Initial weights of two-layer ReLU nets, and particles that stand for many neurons.

The flow of a neuron is linear in (u, w) as long as its active set stands still, and neurons meet only through the
residual. So neurons of one active set, of nearly one direction of w and nearly one ratio of |a| to |w|, move alike up to
their size, and a few particles can stand for them, which keep their means of a^2, of a w and of the products of w. What is
lost is that members of a bin flip at slightly different times; and, of a start without a second copy, a part of f(0): a
node may lie outside of the active set of its bin.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple

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
        net = _Net(a[mine], w[mine])
        cells = _cells(net, X, bins)
        count = np.bincount(cells).astype(float)
        sums = _sums(net, cells, len(count))
        # The part of its weight that neurons with a > 0 have: what a neuron moves is in proportion to its size.
        above = count * (sums["positive"] / sums["weight"]) if antisymmetric else count
        for part, u, node in _nodes(sums, count):
            for side, share in ((1.0, above), (-1.0, count - above)) if antisymmetric else ((sign, count),):
                groups.append((side * u, node, part * count, part * share))
    u, v, mass, share = (np.concatenate(column, axis=-1) for column in zip(*groups, strict=True))
    kept = (mass > 0) & ((u != 0) | (v[0] != 0) | (v[1] != 0))
    return Bundle(u[None, kept], v[:, kept], mass[kept], share[kept])


# Neurons at a time: what is computed of them stays in cache, and in memory that the allocator keeps.
CHUNK = 8192
# Directions are told apart to this part of a turn, but exactly where the active set changes.
DIRECTIONS = 4096
# Ratios |a| / |w| are told apart to 1/32 of an octave, less than a cell holds: then no neuron need be sorted.
OCTAVE_BITS = 5
EXTREME = 1e9


class _Net(NamedTuple):
    """Neurons a (N,), w (N, 2), looked at chunk by chunk."""

    a: np.ndarray
    w: np.ndarray

    def chunks(self) -> Iterator[tuple[slice, np.ndarray, np.ndarray, np.ndarray, np.ndarray]]:
        """Which neurons, |a|, the two components of w, and |w|."""
        for k in range(0, len(self.a), CHUNK):
            some = slice(k, k + CHUNK)
            x, y = np.ascontiguousarray(self.w[some].T)
            yield some, np.abs(self.a[some]), x, y, np.sqrt(x * x + y * y)


def _cells(net: _Net, X: np.ndarray, bins: int) -> np.ndarray:
    """The cell of each neuron: strips hold about the same share of the weight, a^2 + |w|^2 / 2.

    Half of the cells of a strip share its weight, the others its logarithm, down to single neurons at the largest and the
    smallest ratios: with small kappa m and large kappa' a few of these carry the whole fit.
    """
    strips = max(int(1.4 * np.sqrt(bins)), 1)
    place, weight = np.empty(len(net.a), np.int64), np.empty(len(net.a))
    low, high = np.inf, 0.0
    for some, a, x, y, lengths in net.chunks():
        weight[some] = a * a + 0.5 * lengths * lengths
        place[some] = np.minimum((np.arctan2(y, x) / (2 * np.pi) + 0.5) * DIRECTIONS, DIRECTIONS - 1)
        ratio = _ratio(a, lengths)
        low, high = min(low, ratio.min()), max(high, ratio.max())
    box = _strips(net, place, weight, X, strips)
    top = _level(np.array([high]))
    levels = int((top - _level(np.array([low])))[0]) + 1
    for some, a, _, _, lengths in net.chunks():
        box[some] = box[some] * levels + (top - _level(_ratio(a, lengths)))
    # Boxes in use, strip by strip and from the largest ratio down; of a strip, the part before the middle of a box.
    count = np.bincount(box)
    full = np.flatnonzero(count)
    mass, strip = np.bincount(box, weights=weight)[full], full // levels
    new = np.diff(strip, prepend=-1) != 0
    first, number = np.flatnonzero(new), np.cumsum(new) - 1
    total = np.cumsum(mass)
    before = np.append(0.0, total)[first]
    members, whole = np.add.reduceat(count[full], first)[number], np.diff(before, append=total[-1])[number]
    share = (total - 0.5 * mass - before[number]) / whole
    tails = np.log1p(share * members) - np.log1p((1 - share) * members)
    part = 0.5 * share + 0.25 * (1 + tails / np.log1p(members))
    cell = (part * max(bins / strips, 1)).astype(np.int64)
    count[full] = np.cumsum(new | (np.diff(cell, prepend=cell[0]) != 0)) - 1
    return np.take(count, box, out=box, mode="clip")


def _ratio(a: np.ndarray, lengths: np.ndarray) -> np.ndarray:
    return np.clip(a / np.maximum(lengths, 1e-300), 1 / EXTREME, EXTREME)


def _level(ratio: np.ndarray) -> np.ndarray:
    """A whole number that grows as the logarithm does: the bits of a positive float32, but for straight pieces."""
    return ratio.astype(np.float32).view(np.int32) >> (23 - OCTAVE_BITS)


def _strips(net: _Net, place: np.ndarray, weight: np.ndarray, X: np.ndarray, strips: int) -> np.ndarray:
    """The strip of directions of each neuron, cut where the active set changes, in the memory of ``place``: its direction."""
    total = np.cumsum(np.bincount(place, weights=weight, minlength=DIRECTIONS))
    number = np.minimum((total / total[-1] * strips).astype(np.int64), strips - 1)
    # The active set changes where a direction is at right angles to an input: between these, an arc has one set.
    normal = np.sort(np.concatenate([np.arctan2(X[:, 0], -X[:, 1]), np.arctan2(-X[:, 0], X[:, 1])]))
    arcs = len(normal) + 1
    edges = (np.arange(DIRECTIONS + 1) / DIRECTIONS - 0.5) * (2 * np.pi)
    # Rounding may put an angle on the other side of an edge.
    before, after = np.searchsorted(normal, edges[:-1] - 1e-12), np.searchsorted(normal, edges[1:] + 1e-12)
    mixed = np.flatnonzero((before != after)[place])
    exact = np.searchsorted(normal, np.arctan2(net.w[mixed, 1], net.w[mixed, 0]))
    exact += number[place[mixed]] * arcs
    strip = np.take(number * arcs + before, place, out=place, mode="clip")
    strip[mixed] = exact
    return strip


def _sums(net: _Net, cells: np.ndarray, count: int) -> dict[str, np.ndarray]:
    """Over the neurons of each cell: moments, the weight, that of neurons with a > 0; and the smallest ratio. Each (cells,)."""
    names = ("x", "y", "xx", "xy", "yy", "aa", "ax", "ay", "weight", "positive")
    found = {name: np.zeros(count) for name in names} | {"ratio": np.full(count, np.inf)}
    for some, a, x, y, lengths in net.chunks():
        mine, weight = cells[some], a * a + 0.5 * lengths * lengths
        values = (x, y, x * x, x * y, y * y, a * a, a * x, a * y, weight, weight * (net.a[some] > 0))
        for name, value in zip(names, values, strict=True):
            found[name] += np.bincount(mine, weights=value, minlength=count)
        np.minimum.at(found["ratio"], mine, a / np.maximum(lengths, 1e-300))
    return found


def _nodes(sums: dict[str, np.ndarray], count: np.ndarray) -> list[tuple[np.ndarray, np.ndarray, np.ndarray]]:
    """Four weights for each cell, with the cell's means of the squares and products of a and w.

    Along the mean direction of w this is a Gauss-Radau rule in the ratio: one node at the cell's smallest ratio, one within
    it. The larger of them is two, on both sides, for the spread across that direction. Returns of each node the part of
    the cell it stands for, a and w, shapes (cells,), (cells,) and (2, cells).
    """
    ratio = sums["ratio"]
    x, y, xx, xy, yy, aa, ax, ay = (sums[name] / count for name in ("x", "y", "xx", "xy", "yy", "aa", "ax", "ay"))
    along = np.stack([x, y])
    along = along / np.sqrt(np.sum(along * along, axis=0))
    across = np.stack([-along[1], along[0]])
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
