"""Initial weights of two-layer ReLU nets, and particles that stand for many neurons.

The flow of a neuron is linear in (u, w) as long as its active set stands still, and neurons meet only through the
residual. So neurons of one active set, of nearly one direction of w and nearly one ratio of |a| to |w|, move alike up to
their size, and a few particles can stand for them, which keep their means of a^2, of a w and of the products of w. What is
lost is that members of a bin flip at slightly different times.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from trainphase.relu.cells import Cells, Net, divided, halved, summed
from trainphase.relu.nodes import Moments, three
from trainphase.systems.relu2 import Weights, draw

__all__ = ["Bundle", "Weights", "binned", "draw", "neurons"]


# A cell whose nodes would leave its active set is halved, but so few neurons are particles of their own; so many times at most.
FEW, HALVINGS = 20, 20


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
    the sums of squares and products of a and w are kept, by three nodes that lie in the cell's active set.
    """
    a, w = weights.a[:, 0], weights.w
    groups = []
    # The copy of a neuron with a < 0 is one with a > 0: bins of |a| serve both signs.
    for sign in (0.0,) if antisymmetric else (1.0, -1.0):
        mine = slice(None) if antisymmetric else a * sign > 0
        net = Net(a[mine], w[mine])
        groups += _groups(net, divided(net, X, bins), sign)
    a, x, y, mass, share = np.concatenate(groups, axis=1)
    kept = (mass > 0) & ((a != 0) | (x != 0) | (y != 0))
    return Bundle(a[None, kept], np.stack([x[kept], y[kept]]), mass[kept], share[kept])


def _groups(net: Net, cells: Cells, sign: float) -> Iterator[np.ndarray]:
    """Rows a, x, y, mass and share of particles; ``sign`` of a, 0 for both."""
    sides = np.array([sign] if sign else [1.0, -1.0])
    for left in range(HALVINGS, -1, -1):
        sums, positive = summed(net, cells)
        found, inside = three(Moments(*(v / cells.members for v in sums)), cells.least, cells.low, cells.high)
        inside &= cells.members > 1
        # The part of its weight that neurons with a > 0 have: what a neuron moves is in proportion to its size.
        above = np.minimum(positive / (sums.aa + 0.5 * (sums.xx + sums.yy)), 1.0)
        yield _rows(found[..., inside], cells.members[inside], above[inside], sides)
        if inside.all():
            return
        single = ~inside & ((cells.members <= FEW) | (left == 0))
        some = single[cells.cell].nonzero()[0]
        a, w = net.a[some], net.w[some].T
        yield _rows(np.array([np.abs(a), *w])[:, None], np.ones(len(some)), a > 0, sides)
        inside |= single
        if inside.all():
            return
        net, cells = halved(net, cells, ~inside)


def _rows(found: np.ndarray, count: np.ndarray, above: np.ndarray, sides: np.ndarray) -> np.ndarray:
    """a, x, y, mass and share, (5, particles), on the given sides of a = 0, of ``found``, (3, nodes, cells)."""
    shares = np.array([above, 1 - above]) if len(sides) == 2 else np.ones((1, len(count)))
    rows = np.empty((5, len(sides), *found.shape[1:]))
    rows[0], rows[1:3] = sides[:, None, None] * found[0], found[1:, None]
    rows[3], rows[4] = count, (shares * count)[:, None]
    return rows.reshape(5, -1)
