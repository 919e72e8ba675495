"""Neurons of two-layer ReLU nets sorted into cells: of one active set, of nearly one direction and one ratio |a| / |w|."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np

from trainphase.relu.nodes import Moments

# Neurons at a time: what is computed of them stays in cache, and in memory that the allocator keeps.
CHUNK = 8192
# Directions are told apart to this part of a turn, but exactly where the active set changes.
DIRECTIONS = 4096
# The nodes of a cell may lie beyond its strip by this part of the strip's width or this angle, but not beyond its active set.
WIDER, MARGIN = 0.5, 0.1
# No strip is nearly half a turn: directions within it are told by two coordinates along its edges.
WIDEST = 3.0
# Ratios a^2 / |w|^2 are told apart to 1/16 of an octave, less than a cell holds: then no neuron need be sorted.
OCTAVE_BITS = 4
EXTREME = 1e18


class Net(NamedTuple):
    """Neurons: a (N,), w (N, 2)."""

    a: np.ndarray
    w: np.ndarray

    def chunks(self) -> Iterator[tuple[slice, np.ndarray, np.ndarray, np.ndarray]]:
        """Which neurons, a, and the two components of w."""
        for k in range(0, len(self.a), CHUNK):
            some = slice(k, k + CHUNK)
            x, y = np.ascontiguousarray(self.w[some].T)
            yield some, self.a[some], x, y


class Cells(NamedTuple):
    """Which cell each neuron is in, and what a cell holds.

    cell : of each neuron, (N,). Of each cell, (cells,): how many ``members`` it has; angles ``low`` and ``high`` between which
    the directions of their w are; ``least``, which no ratio |a| / |w| of theirs is below.
    """

    cell: np.ndarray
    members: np.ndarray
    low: np.ndarray
    high: np.ndarray
    least: np.ndarray


def divided(net: Net, X: np.ndarray, bins: int) -> Cells:
    """About ``bins`` cells. Strips of directions hold about the same share of the weight, a^2 + |w|^2 / 2.

    Half of the cells of a strip share its weight, the others its logarithm, down to single neurons at the largest and the
    smallest ratios: with small kappa m and large kappa' a few of these carry the whole fit.
    """
    strips = max(int(1.4 * np.sqrt(bins)), 1)
    number = len(net.a)
    place, level, weight = np.empty(number, np.int64), np.empty(number, np.int32), np.empty(number)
    for some, a, x, y in net.chunks():
        squares, aa = x * x + y * y, a * a
        weight[some] = aa + 0.5 * squares
        place[some] = np.arctan2(y, x) * (DIRECTIONS / (2 * np.pi)) + 0.5 * DIRECTIONS
        level[some] = _level(aa, squares)
    box, cuts, arcs = _strips(net, place, weight, X, strips)
    top = level.max()
    levels = int(top - level.min()) + 1
    box *= levels
    np.subtract(top, level, out=level)
    box += level
    # Boxes in use, strip by strip and from the largest ratio down; of a strip, the part before the middle of a box.
    count = np.bincount(box)
    full = (count > 0).nonzero()[0]
    held, mass, strip = count[full], np.bincount(box, weights=weight)[full], full // levels
    new = _changes(strip)
    first, index = new.nonzero()[0], np.cumsum(new) - 1
    total = np.cumsum(mass)
    before = total[first] - mass[first]
    members, whole = np.add.reduceat(held, first)[index], np.add.reduceat(mass, first)[index]
    share = (total - 0.5 * mass - before[index]) / whole
    tails = np.log1p(share * members) - np.log1p((1 - share) * members)
    part = 0.5 * share + 0.25 * (1 + tails / np.log1p(members))
    begins = new | _changes((part * max(bins / strips, 1)).astype(np.int64))
    first = begins.nonzero()[0]
    last = np.append(first[1:], len(full)) - 1
    least, inside, mine = _least(top - full[last] % levels), np.add.reduceat(held, first), strip[first]
    count[full] = np.cumsum(begins) - 1
    # The nodes may lie on either side of their strip, but not beyond the change of the active set next to it.
    low, high = cuts[:-1], cuts[1:]
    more, arc = np.maximum(WIDER * (high - low), MARGIN), np.searchsorted(arcs, 0.5 * (low + high))
    low, high = np.maximum(low - more, arcs[arc - 1]), np.minimum(high + more, arcs[arc])
    return Cells(np.take(count, box, out=box, mode="clip"), inside, low[mine], high[mine], least)


def _changes(values: np.ndarray) -> np.ndarray:
    """Where a value is another than the one before it, and at the first."""
    return np.concatenate([[True], values[1:] != values[:-1]])


def _level(aa: np.ndarray, squares: np.ndarray) -> np.ndarray:
    """A whole number that grows as the logarithm of a^2 / |w|^2 does: the bits of a positive float32, but for straight pieces."""
    ratio = (aa / np.maximum(squares, 1e-300)).astype(np.float32)
    return np.minimum(np.maximum(ratio, np.float32(1 / EXTREME)), np.float32(EXTREME)).view(np.int32) >> (23 - OCTAVE_BITS)


def _least(level: np.ndarray) -> np.ndarray:
    """A little less than any ratio |a| / |w| of that level; rounding to float32 may have lifted one to the level."""
    ratio = (level.astype(np.int32) << (23 - OCTAVE_BITS)).view(np.float32).astype(float)
    return np.where(ratio * EXTREME > 2, 0.999 * np.sqrt(ratio), 0.0)


def _strips(
    net: Net, place: np.ndarray, weight: np.ndarray, X: np.ndarray, strips: int
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The strip of directions of each neuron, in the memory of ``place``: its direction.

    Also the angles between which the strips are, one more than there are of them, and those where the active set changes.
    """
    turn = 2 * np.pi
    np.minimum(place, DIRECTIONS - 1, out=place)
    total = np.cumsum(np.bincount(place, weights=weight, minlength=DIRECTIONS))
    even = np.searchsorted(total, total[-1] / strips * np.arange(1, strips)) + 1
    # The active set changes where a direction is at right angles to an input: between these, an arc has one set.
    normal = np.arctan2(X[:, 0], -X[:, 1])
    arcs = np.sort(np.concatenate([normal, np.where(normal > 0, normal - np.pi, normal + np.pi), [-np.pi, np.pi]]))
    wide = np.flatnonzero(arcs[1:] - arcs[:-1] > WIDEST)
    if wide.size:
        arcs = np.sort(np.append(arcs, 0.5 * (arcs[wide] + arcs[wide + 1])))
    at = arcs[1:-1] * (DIRECTIONS / turn) + 0.5 * DIRECTIONS
    cuts = np.sort(np.concatenate([arcs, even * (turn / DIRECTIONS) - np.pi]))
    # Strips by direction; those where an arc ends, to rounding, hold neurons of both.
    begins = np.bincount(np.concatenate([at.astype(np.int64) + 1, even]), minlength=DIRECTIONS + 1)
    strip = np.cumsum(begins)[:DIRECTIONS]
    for off in (-1e-9, 1e-9):
        strip[np.clip((at + off).astype(np.int64), 0, DIRECTIONS - 1)] = -1
    box = np.take(strip, place, out=place, mode="clip")
    mixed = (box < 0).nonzero()[0]
    box[mixed] = np.searchsorted(cuts[1:-1], np.arctan2(net.w[mixed, 1], net.w[mixed, 0]))
    return box, cuts, arcs


def halved(net: Net, cells: Cells, which: np.ndarray) -> tuple[Net, Cells]:
    """The neurons of ``which`` of the cells, (cells,) of bool, in cells on the two sides of the mean angle."""
    some = np.flatnonzero(which[cells.cell])
    part, parent = Net(net.a[some], net.w[some]), cells.cell[some]
    angle = np.arctan2(part.w[:, 1], part.w[:, 0])
    mean = np.bincount(parent, weights=angle, minlength=len(which)) / cells.members
    key = 2 * parent + (angle > mean[parent])
    used, cell, count = np.unique(key, return_inverse=True, return_counts=True)
    old, above = used // 2, used % 2 == 1
    low, high = np.where(above, mean[old], cells.low[old]), np.where(above, cells.high[old], mean[old])
    return part, Cells(cell, count, low, high, cells.least[old])


def summed(net: Net, cells: Cells) -> tuple[Moments, np.ndarray]:
    """Over the neurons of each cell: squares and products of |a| and w, and the weight of those with a > 0; each (cells,)."""
    size = len(cells.members)
    found = np.zeros((7, size))
    for some, a, x, y in net.chunks():
        mine, large, xx, yy, aa = cells.cell[some], np.abs(a), x * x, y * y, a * a
        weight = (aa + 0.5 * (xx + yy)) * (a > 0)
        for row, value in zip(found, (xx, x * y, yy, aa, large * x, large * y, weight), strict=True):
            row += np.bincount(mine, weights=value, minlength=size)
    return Moments(*found[:6]), found[6]
