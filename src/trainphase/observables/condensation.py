"""Where the neurons of a two-layer ReLU net point, how few directions they share, and how far the net is from linear.

f(x) = kappa sum_k mass_k a_k relu(w_k . x). A neuron is fixed, as a function, by its direction w / |w|, its amplitude
A = |a| |w| and the sign of a. ``mass`` is how many neurons a particle stands for; every number here is the same when a
particle is split into lighter ones, when particles are reordered, and when a and w are rescaled by common factors.

Reference: Luo, Xu, Ma and Zhang, JMLR 22 (71), 2021: amplitude and orientation (Figures 2, 6, 7). The score is ours.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from trainphase.errors import RequestError

Floats = NDArray[np.float64]

WIDTH = 0.1
"""Directions this far apart (radians) count as different: standard deviation of the window of :func:`density`."""

# Pairs of particles that are compared at a time: 32 MB of double precision.
PAIRS = 4_000_000


class Directions(NamedTuple):
    """Clusters of neurons, the largest first: unit vectors (r, clusters) and their shares of the whole amplitude."""

    vectors: Floats
    shares: Floats

    @property
    def angles(self) -> Floats:
        """Angles of the vectors in the plane, radians; RequestError unless r = 2."""
        return orientation(self.vectors)


def amplitude(a: ArrayLike, w: ArrayLike) -> Floats:
    """|a| |w| of every particle, shape (N,), from ``a`` (c, N) or (N,) and ``w`` (r, N)."""
    a = np.atleast_2d(np.asarray(a, np.float64))
    w = np.asarray(w, np.float64)
    if w.ndim != 2 or a.ndim != 2 or a.shape[1] != w.shape[1]:
        raise RequestError(f"weights of shapes {a.shape} and {w.shape} do not belong together; give a (c, N) and w (r, N)")
    return np.linalg.norm(a, axis=0) * np.linalg.norm(w, axis=0)


def directions(w: ArrayLike) -> Floats:
    """w / |w|, shape (r, N); 0 where w is 0."""
    w = np.asarray(w, np.float64)
    size = np.linalg.norm(w, axis=0)
    return w / np.where(size > 0, size, 1.0)


def orientation(w: ArrayLike) -> Floats:
    """atan2(w_2, w_1), radians in (-pi, pi], shape (N,): of the bias against the weight when x is a number.

    RequestError unless ``w`` has shape (2, N).
    """
    w = np.asarray(w, np.float64)
    if w.ndim != 2 or len(w) != 2:
        raise RequestError(f"weights of shape {w.shape} have no angle; give shape (2, N), or project them")
    return np.arctan2(w[1], w[0])


def shares(a: ArrayLike, w: ArrayLike, mass: ArrayLike | None = None) -> Floats:
    """Share of every particle in the sum of mass |a| |w|, shape (N,). RequestError when the sum is 0 or not finite."""
    weight = amplitude(a, w) * (1.0 if mass is None else np.asarray(mass, np.float64))
    total = float(np.sum(weight))
    if not (np.isfinite(total) and total > 0):
        raise RequestError(f"the amplitudes sum to {total}, which has no shares; give weights that are finite and not all 0")
    return weight / total


def density(unit: Floats, share: Floats, width: float = WIDTH) -> Floats:
    """Share of amplitude around every particle's direction, (N,): sum_k share_k exp((cos angle_jk - 1) / width^2).

    For small angles the window is a Gaussian of standard deviation ``width``. Cost: N^2 r.
    """
    rows = max(PAIRS // max(unit.shape[1], 1), 1)
    scale = 1.0 / width**2
    parts = [
        np.exp(scale * (np.minimum(unit[:, k : k + rows].T @ unit, 1.0) - 1.0)) @ share for k in range(0, unit.shape[1], rows)
    ]
    return np.concatenate(parts)


def condensation(a: ArrayLike, w: ArrayLike, mass: ArrayLike | None = None, width: float = WIDTH) -> float:
    """The condensation score, in (0, 1]: sum_jk share_j share_k exp((cos angle_jk - 1) / width^2).

    The chance that two units of amplitude, picked at random, point the same way within ``width``. It is 1 when all
    amplitude has one direction, 1/q for q directions of equal shares, and about width / sqrt(2 pi) for an even spread over
    all angles of the plane. Its inverse is an effective number of directions. Cost: N^2 r.
    """
    share = shares(a, w, mass)
    kept = share > 0
    return float(min(density(directions(w)[:, kept], share[kept], width) @ share[kept], 1.0))


def active_directions(
    a: ArrayLike, w: ArrayLike, mass: ArrayLike | None = None, within: float = WIDTH, least: float = 0.01
) -> Directions:  # fmt: skip
    """Directions that carry more than the share ``least`` of the amplitude.

    The densest direction takes all that lie within the angle 2 ``within`` of it, then the densest of the rest, and so
    on; a cluster's vector is the mean weighted by amplitude. Cost: N^2 r.
    """
    share, unit = shares(a, w, mass), directions(w)
    kept = share > 0
    share, unit = share[kept], unit[:, kept]
    dense = density(unit, share, within)
    cosine, left = np.cos(2 * within), np.ones(share.size, bool)
    vectors, sizes = [], []
    while left.any() and share[left].sum() > least:
        top = int(np.argmax(np.where(left, dense, -1.0)))
        mine = left & (unit[:, top] @ unit >= cosine)
        mine[top] = True
        left &= ~mine
        size = float(share[mine].sum())
        if size > least:
            vectors.append(directions((unit[:, mine] @ share[mine])[:, None])[:, 0])
            sizes.append(size)
    order = np.argsort(-np.array(sizes), kind="stable")
    found = np.array(vectors).reshape(-1, len(unit))[order]
    return Directions(found.T, np.array(sizes)[order])


# --- functions ----------------------------------------------------------------------------------------------


def function(X: ArrayLike, a: ArrayLike, w: ArrayLike, mass: ArrayLike, kappa: float) -> Floats:
    """f at the inputs ``X`` (n, r), shape (n, c)."""
    a, w = np.atleast_2d(np.asarray(a, np.float64)), np.asarray(w, np.float64)
    return kappa * np.maximum(np.asarray(X, np.float64) @ w, 0.0) @ (np.asarray(mass) * a).T


def linearised(
    X: ArrayLike, start: tuple[ArrayLike, ArrayLike], end: tuple[ArrayLike, ArrayLike], mass: ArrayLike, kappa: float
) -> Floats:  # fmt: skip
    """f(theta_0) + grad f(theta_0) . (theta - theta_0) at the inputs ``X`` (n, r), shape (n, c).

    ``start`` and ``end`` are (a, w) at theta_0 and theta. At a kink the derivative of relu is 0.
    """
    X, mass = np.asarray(X, np.float64), np.asarray(mass, np.float64)
    a0, a = (np.atleast_2d(np.asarray(v[0], np.float64)) for v in (start, end))
    w0, w = (np.asarray(v[1], np.float64) for v in (start, end))
    H = X @ w0
    # f0 + (a - a0) . d f / d a is the net with the new output weights over the old hidden ones.
    return kappa * (np.maximum(H, 0.0) @ (mass * a).T + ((H > 0) * (X @ (w - w0))) @ (mass * a0).T)


def function_distance(f: ArrayLike, g: ArrayLike) -> float:
    """Root mean square of f - g over the grid that both are given on, over that of f."""
    f, g = np.asarray(f, np.float64), np.asarray(g, np.float64)
    size = float(np.linalg.norm(f))
    if not size > 0:
        raise RequestError("the function is 0 on the whole grid, so there is no relative distance; give another grid")
    return float(np.linalg.norm(f - g)) / size
