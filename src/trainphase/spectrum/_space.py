"""The growing space of a Krylov search: an orthonormal basis, the operator's matrix in it, and what of its image lies outside."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np

from trainphase.errors import RequestError

Product = Callable[[np.ndarray], np.ndarray]
FIRST = 24  # rows that are set aside at first
# A vector that keeps less than this share of itself when the basis is taken out needs the basis taken out again.
AGAIN = 0.5
FLOATS = (np.dtype(np.float32), np.dtype(np.float64))


class Space:
    """Band Lanczos with full orthogonalisation: A V = V H + C K at all times (the rows of V and C written as columns).

    V : (m, P), the basis. C : (c, P), the candidates: directions that products have shown, and starts not yet multiplied.
    H : (m, m), symmetric. K : (c, m). What the basis holds is in the precision that the products come in.
    """

    def __init__(self, product: Product, size: int, rows: np.ndarray) -> None:
        self.size, self._product = size, product
        self.products, self.norm, self.noise = 0, 0.0, 0.0
        self._basis = np.empty((0, size))
        self.H, self.K = np.empty((0, 0)), np.empty((0, 0))
        self.C: list[np.ndarray] = []
        for row in rows:
            self._admit(np.array(row, np.float64))
        self.starts = self.waiting = len(self.C)

    @property
    def dimension(self) -> int:
        """m, the rows of the basis."""
        return len(self.H)

    @property
    def V(self) -> np.ndarray:
        """The basis, shape (m, P)."""
        return self._basis[: self.dimension]

    def advance(self) -> None:
        """Multiply the first candidate and take it into the basis."""
        u, known = self.C.pop(0), self.K[0]
        w, length = self._multiply(u)
        m = self.dimension
        u = u.astype(w.dtype, copy=False)
        self._store(m, u)
        self.C = [c.astype(w.dtype, copy=False) for c in self.C]
        self.norm = max(self.norm, length)
        # By symmetry most of what lies in the basis is known, so that one more passage over the basis is enough.
        basis, first = self._basis[: m + 1], np.empty(m + 1)
        first[:m], first[m] = known, float(u @ w)
        for j in np.flatnonzero(first):
            w -= w.dtype.type(first[j]) * basis[j]
        rest = self._without(w, basis)
        column = self._without(w, np.array(self.C)) if self.C else np.empty(0)
        # Products are not quite symmetric: half of the difference is what rounding does to H.
        self.noise = max(self.noise, float(np.max(np.abs(rest[:m]), initial=0.0)) / 2)
        first[:m] += rest[:m] / 2
        first[m] += rest[m]
        H = np.empty((m + 1, m + 1))
        H[:m, :m], H[m], H[:, m] = self.H, first, first
        self.H = H
        self.waiting = max(self.waiting - 1, 0)
        left = _length(w)
        more = left > 2 * float(np.finfo(w.dtype).eps) * self.norm and m + 1 + len(self.C) < self.size
        K = np.zeros((len(self.C) + more, m + 1))
        K[: len(self.C), :m], K[: len(self.C), m] = self.K[1:], column
        if more:
            self.C.append(w / w.dtype.type(left))
            K[-1, -1] = left
        self.K = K

    def aim(self, weights: np.ndarray) -> None:
        """Turn the candidates so that the residual of V^T weights comes first. ``weights`` : (m,)."""
        if len(self.C) < 2:
            return
        towards = self.K @ weights
        turn = np.linalg.qr(np.column_stack([towards, np.eye(len(towards))]))[0]
        self.K = turn.T @ self.K
        dtype = self.C[0].dtype
        self.C = list((turn.T @ np.array(self.C)).astype(dtype, copy=False))

    def refill(self, rng: np.random.Generator) -> None:
        """A random candidate: for a space that is invariant and yet too small."""
        self._admit(rng.standard_normal(self.size))

    def shrink(self, combinations: np.ndarray) -> None:
        """Keep the span of the Ritz vectors whose weights are the columns of ``combinations``, (m, kept)."""
        kept = self._combined(combinations)
        self._basis[: len(kept)] = kept
        self.H = combinations.T @ self.H @ combinations
        self.K = self.K @ combinations

    def vectors(self, combinations: np.ndarray) -> np.ndarray:
        """The vectors whose weights are the columns of ``combinations``, (m, any), as float64 rows."""
        return self._combined(combinations).astype(np.float64)

    def _combined(self, combinations: np.ndarray) -> np.ndarray:
        # In one precision: a product of two precisions is converted, and slow.
        return combinations.T.astype(self._basis.dtype) @ self.V

    def floor(self) -> float:
        """What rounding does to a value or a residual at most, in the operator's units."""
        return 8 * float(np.finfo(self._basis.dtype).eps) * self.norm + self.noise

    def _multiply(self, u: np.ndarray) -> tuple[np.ndarray, float]:
        self.products += 1
        return checked_image(self._product(u), self.size, self.products)

    def _store(self, m: int, u: np.ndarray) -> None:
        if m == 0:
            self._basis = np.empty((max(FIRST, self.starts), self.size), u.dtype)
        elif m == len(self._basis):
            self._basis = np.concatenate([self._basis, np.empty((m // 2 + 1, self.size), u.dtype)])
        self._basis[m] = u

    @staticmethod
    def _without(w: np.ndarray, rows: np.ndarray) -> np.ndarray:
        """Take the span of orthonormal ``rows`` out of w, in place; the components taken out."""
        before = _length(w)
        found = rows @ w
        w -= found @ rows
        found = found.astype(np.float64)
        for _ in range(2):
            after = _length(w)
            if after > AGAIN * before:
                break
            more = rows @ w
            w -= more @ rows
            found += more
            before = after
        return found

    def _admit(self, row: np.ndarray) -> None:
        """A start, made orthogonal to all that is there; one that depends on the others is left out."""
        before = _length(row)
        if not before > 0 or not np.isfinite(before) or self.dimension + len(self.C) >= self.size:
            return
        unit = row / before
        for _ in range(3):
            for rows in (self.V, self.C):
                for other in rows:
                    unit -= (other @ unit) * other
            left = _length(unit)
            if left < 1e-6:
                return
            unit /= left
        self.C.append(unit.astype(self._basis.dtype, copy=False) if self.dimension else unit)
        self.K = np.vstack([self.K, np.zeros(self.dimension)]) if self.dimension else np.empty((len(self.C), 0))


def _length(v: np.ndarray) -> float:
    # Not np.linalg.norm: a look at a small network costs as much as these calls do.
    return math.sqrt(float(v @ v))


def checked_image(image: np.ndarray, size: int, count: int) -> tuple[np.ndarray, float]:
    """A copy of a product's image, in floats, and its length. RequestError unless it is finite and (size,).

    count : which product it was.
    """
    w = np.array(image)
    if w.shape != (size,):
        raise RequestError(f"the product has shape {w.shape} for vectors of shape ({size},); give a square operator")
    if w.dtype not in FLOATS:
        w = w.astype(np.float64)
    with np.errstate(over="ignore", invalid="ignore"):
        length = _length(w)
    # One passage for both: only what is not finite, or too long for its precision, makes a length that is not.
    if not math.isfinite(length) and not np.isfinite(w).all():
        raise RequestError(
            f"product {count} with the operator is not finite; look for parameters or data that are not, or too large"
        )
    return w, length
