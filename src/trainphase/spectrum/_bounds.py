"""Bounds on the error of Ritz values: what residuals and gaps say, and what the law of a random start says."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.linalg import eigh, lapack
from scipy.special import gammaincinv

HALVINGS = 20
GAP_POINTS = 24


def from_residuals(values: np.ndarray, residuals: np.ndarray) -> np.ndarray:
    """Distance of each Ritz value to the nearest eigenvalue, from the residual norms of all Ritz pairs; shape (m,).

    The residual norm r itself, or r^2 / gap where that is less (Kato 1949, Temple 1928): the gap to the next Ritz value on each
    side, less that one's own residual. An eigenvalue that no Ritz value has met makes a gap too large; nothing here can tell.
    """
    if len(values) == 1:
        return residuals.copy()
    order = np.argsort(values)
    v, r = values[order], residuals[order]
    apart = np.diff(v)
    below = np.concatenate([[np.inf], apart - r[:-1]])
    above = np.concatenate([apart - r[1:], [np.inf]])
    gap = np.minimum(below, above)
    errors = np.empty_like(r)
    errors[order] = np.where(gap > r, r * r / np.where(gap > r, gap, 1.0), r)
    return errors


@dataclass(frozen=True)
class Law:
    """The start was random: ``starts`` Gaussian rows of ``size`` numbers, spanning the first rows of the basis.

    An eigenvector x to an eigenvalue t has in the basis the components y = (t - H)^-1 K^T c, where c are those among the
    candidates. So its share of the span of the starts is at most share(t), the largest |y_start|^2 / (|y|^2 + |c|^2). But with
    probability 1 - doubt that share is not below the quantile ``doubt`` of chi^2 of ``starts`` degrees of freedom, by ``size``.
    For one start: van Dorsselaer, Hochstenbach and van der Vorst, SIAM J. Matrix Anal. Appl. 22, 837 (2000).
    """

    starts: int
    size: int
    doubt: float

    @property
    def least(self) -> float:
        """The share that an eigenvector has, but for the doubt."""
        return 2 * float(gammaincinv(self.starts / 2, self.doubt)) / self.size

    def share(self, t: float, theta: np.ndarray, first: np.ndarray, rest: np.ndarray) -> float:
        """The largest share an eigenvector to ``t`` may have. first : (starts, m), rest : (c, m), in the Ritz basis."""
        apart = t - theta
        nothing = 1e-16 * max(abs(t), float(np.max(np.abs(theta))))
        M = (rest / np.where(np.abs(apart) < nothing, nothing, apart)).T
        outer = first @ M
        outer, inner = outer.T @ outer, M.T @ M
        if len(inner) == 1:
            return float(outer[0, 0] / (1 + inner[0, 0]))
        one = np.eye(len(inner))
        size = max(float(np.trace(inner)), 1.0)
        return float(eigh(outer / size, (one + inner) / size + 1e-14 * one, eigvals_only=True)[-1])

    def hopeless(self, H: np.ndarray, beta: float, tol: float) -> bool:
        """Whether :meth:`reach` cannot yet answer ``tol`` of the top value: one start, one candidate, the top value wanted.

        H is then tridiagonal but for rounding, and 1 / share follows at a tenth of the cost of all pairs (:func:`seen`). A tenth
        is left for what rounding does to H.
        """
        d, e = np.diagonal(H), np.append(np.diagonal(H, 1), beta)
        values, failed = lapack.dsterf(d, e[:-1]) if len(d) > 1 else (d, 0)  # pyright: ignore[reportAttributeAccessIssue]
        if failed or not values[-1] > 0:
            return False
        return 1.1 * self.least * seen(d.tolist(), e.tolist(), float(values[-1]) * (1 + tol)) < 1

    def reach(
        self,
        heights: np.ndarray,
        ends: tuple[int, ...],
        theta: np.ndarray,
        first: np.ndarray,
        rest: np.ndarray,
        close: float | None = None,
    ) -> np.ndarray:
        """How far above each of some values there may be an eigenvalue that no higher Ritz value stands for.

        heights : (k,), the values or their sizes, descending. ends : (1,), or (1, -1) where sizes count. theta : (m,).
        close : what is aimed at; then an answer is only ``close`` or infinity, at a fraction of the cost.
        """
        found = np.zeros(len(heights))
        if not len(rest):
            return found
        scale = max(float(np.max(np.abs(theta))), np.finfo(float).tiny)
        for j, height in enumerate(heights):
            room = heights[j - 1] - height if j else np.inf

            def clear(distance: float, height: float = float(height)) -> bool:
                return all(self.share(end * (height + distance), theta, first, rest) < self.least for end in ends)

            if close is not None:
                found[j] = close if clear(close) else np.inf
                continue
            tries = room * np.linspace(0, 1, GAP_POINTS + 2)[1:-1] if j else scale * np.logspace(-15, 3, 37)
            which = next((i for i, distance in enumerate(tries) if clear(distance)), None)
            if which is None:
                found[j] = room + found[j - 1] if j else np.inf
                continue
            lo, hi = tries[which - 1] if which else 0.0, tries[which]
            for _ in range(HALVINGS):
                mid = 0.5 * (lo + hi)
                lo, hi = (lo, mid) if clear(mid) else (mid, hi)
            found[j] = hi
        return found


def seen(d: list[float], e: list[float], t: float) -> float:
    """1 / the largest share of a start that an eigenvector to ``t`` may have: the start's orthonormal polynomials at t, squared.

    d, e : (m,), the diagonal of Lanczos' tridiagonal matrix and what is beside it, the last one outside.
    """
    side, before, now, total = 0.0, 0.0, 1.0, 1.0
    for a, b in zip(d, e, strict=True):
        before, now = now, ((t - a) * now - side * before) / b
        side, total = b, total + now * now
    return total


def fitting(d: list[float], e: list[float], t: float) -> np.ndarray:
    """An operator that gives the same record and has the eigenvalue ``t``, as its Lanczos matrix, (m + 1, m + 1).

    d, e : as for :func:`seen`. The start is the first unit vector; the last entry of the diagonal is what a record leaves open.
    With t above the Ritz values it is the top eigenvalue, and of its vector the start holds the share 1 / seen, not less: so no
    law says more from a record (Christoffel's function; Akhiezer, The Classical Moment Problem, 1965, chapter 2).
    """
    side, before, now = 0.0, 0.0, 1.0
    for a, b in zip(d, e, strict=True):
        before, now, side = now, ((t - a) * now - side * before) / b, b
    last = t - side * before / now
    return np.diag([*d, last]) + np.diag(e, 1) + np.diag(e, -1)


def above(d: list[float], e: list[float], theta: float, held: float) -> float:
    """How far above the largest Ritz value there may be an eigenvalue of whose vector the start holds the share ``held``."""
    if not e[-1] > 0:
        return 0.0
    lo, hi = 0.0, max(abs(theta), e[-1])
    while seen(d, e, theta + hi) * held < 1:
        lo, hi = hi, 4 * hi
    for _ in range(2 * HALVINGS):
        mid = 0.5 * (lo + hi)
        lo, hi = (lo, mid) if seen(d, e, theta + mid) * held >= 1 else (mid, hi)
    return hi
