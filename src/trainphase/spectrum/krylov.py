"""Top eigenpairs of a symmetric operator known by its products, with bounds on their errors.

NumPy and SciPy only: a product may come from any library. One algorithm does it all, Lanczos with full orthogonalisation for
a band of starts: a cold search starts from random vectors, a warm one from the vectors of the last measurement, and every
further direction is the residual of the pair that needs it most. Between products A V = V H + C K holds, with V the basis
(rows), C the few candidates that are not in it yet, H and K small; all that is known follows from H and K.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from scipy.linalg import blas

from trainphase.errors import RequestError
from trainphase.spectrum._bounds import Law, above, from_residuals
from trainphase.spectrum._space import Product, Space, checked_image

WHICH = ("algebraic", "magnitude")
# Of the basis, beyond which it is reduced to its best part.
LARGEST = 160
# Up to this many rows the pairs are looked at after each product, then after two, three ...: they cost more by then.
OFTEN = 32
# Of r^2 over the top value: how far a pair of residual r rises at most where the unseen has 2/3 of that value.
RISE = 3.0
# The random starts of a cold search, at most: an eigenvalue of higher multiplicity is counted this many times.
COPIES = 3
# What a start that follows a run is taken to hold of the top eigenvector: a tenth of its length. Measured 50 steps apart along
# three runs of a tanh network, one to three products: bounds from it held in 96 to 100 % of 81 measurements each.
HELD = 0.01
# The last residual of a few products is made orthogonal twice where it is shorter than this share of the image: else what
# rounding leaves in it is a thousandth of it at most.
AGAIN = 1e-3


@dataclass(frozen=True, eq=False)
class Pairs:
    """The top eigenpairs of a symmetric operator, and how far to trust them.

    values : (k,), descending (by size for ``which="magnitude"``), in the operator's units.
    vectors : (k, P), unit rows.
    residuals : (k,), |A v - lambda v|, in the operator's units.
    errors : (k,), bound on |values - true values|, in the operator's units; :func:`top` says when it holds.
    products : matrix-vector products spent.
    converged : whether every error is within ``tol`` of the largest |value|.
    rows : (k + 1 or fewer, P), what to give as ``start`` to the next measurement along a run: the vectors, and the one behind.
    """

    values: np.ndarray
    vectors: np.ndarray
    residuals: np.ndarray
    errors: np.ndarray
    products: int
    converged: bool
    rows: np.ndarray


def top(
    product: Product,
    size: int,
    k: int = 1,
    tol: float = 1e-3,
    start: np.ndarray | Pairs | None = None,
    most: int | None = None,
    which: str = "algebraic",
    seed: int = 0,
    doubt: float = 0.05,
) -> Pairs:
    """The k largest eigenvalues of a symmetric operator with their vectors.

    Parameters
    ----------
    product : v -> A v for vectors of shape (P,); float64 goes in, float64 or float32 comes back.
    size : P.
    k : how many pairs, at least 1; fewer come back only where ``most`` or ``size`` is smaller.
    tol : what every error may be, relative to the largest |value|. The bound decides, not the residual.
    start : None, or what to begin from: ``rows`` (or the vectors) of the last measurement, shape (P,) or (any, P), or its Pairs.
    most : products at most; 200 + 20 k unless given.
    which : "algebraic", the largest values, or "magnitude", the largest in size.
    seed : of the random start.
    doubt : the share of random starts for which the bound on the first value may fail.

    The error bounds. From random starts (no ``start``) they follow from the law of the starts: with probability 1 - ``doubt``
    there is no eigenvalue further than ``errors`` above the first value, clustered or not (van Dorsselaer, Hochstenbach and
    van der Vorst, SIAM J. Matrix Anal. Appl. 22, 2000). They are never below the bounds from residuals alone, which is what a
    warm start has: the residual norm, or its square over the gap where that is less, the gap counted from the end of the
    neighbour's own residual interval; and room for the pair behind to overtake, where the unseen is taken to have two thirds
    of the top value at most. Such a bound fails when an eigenvector is almost orthogonal to all of the start. So follow a run
    warm with two rows or more, and look cold once in a while. Rounding of products is part of every bound.

    Along a run of gradient descent, ``start=[*last.rows, gradient]`` with ``most=5`` is cheap and good: the gradient leans
    to the modes that have become unstable. What is reached is then in ``errors``; ``converged`` says whether it is ``tol``.

    Raises RequestError when a product is not finite, has another shape, or the arguments are out of range.
    """
    _check(size, k, tol, which, doubt)
    k = min(k, size)
    rows = _starts(start, size, k, seed)
    space = Space(product, size, rows)
    law = Law(space.starts, size, doubt) if start is None else None
    limit = max(int(most), 1) if most is not None else 200 + 20 * k
    while True:
        space.advance()
        last = space.products >= limit or space.dimension == size or not space.C
        if not last and (space.waiting or space.dimension % (1 + space.dimension // OFTEN)):
            continue
        if not last and law is not None and k == 1 and which == "algebraic" and law.hopeless(space.H, space.K[0, -1], tol):
            continue
        found = _ritz(space, k, which, law is None)
        allowed = tol * float(np.max(np.abs(found.values)))
        enough = len(found.values) == k
        converged = enough and bool((found.errors <= allowed).all())
        if converged and law is not None:
            converged = bool(np.max(_by_law(law, space, found, which, allowed - space.floor())) < np.inf)
        if converged or space.products >= limit or space.dimension == size:
            break
        if space.C:
            # A warm search also looks at the pair behind, which may overtake before the next measurement.
            wanted = int(np.argmax(found.all_residuals[: k if law else k + 1]))
            if enough and np.max(found.residuals) <= 2 * space.floor():
                break  # rounding is all that is left
            space.aim(found.weights[:, wanted])
        elif enough:
            break
        else:
            space.refill(np.random.default_rng([seed, space.products]))
        if space.dimension >= max(LARGEST, 4 * k) and space.C:
            space.shrink(found.weights[:, : 2 * k + 10])
            law = None
    errors = found.errors
    if law is not None:
        errors = np.maximum(errors, _by_law(law, space, found, which) + space.floor())
    vectors = space.vectors(found.weights[:, : k + 1])
    vectors /= np.linalg.norm(vectors, axis=1)[:, None]
    return Pairs(found.values, vectors[:k], found.residuals, errors, space.products, converged, vectors)


def follow(product: Product, start: np.ndarray, most: int = 2, tol: float = 1e-3, held: float = HELD) -> Pairs:
    """The top eigenpair along a run, from one vector and with very few products: Lanczos, all in the precision of the products.

    product, tol : as for :func:`top`. start : (P,), ``rows`` of the last measurement. most : products at most, at least 1.
    held : the share |x . start|^2 of the top eigenvector x that the start is taken to hold at least, for a unit start.

    The error bound is that of :func:`top` for a random start with ``held`` in the place of the law: no eigenvalue further than
    ``errors`` above the value has an eigenvector of which the start holds that share. One of which it holds less is not seen, so
    now and then mix something into the start. ``rows`` is the image of the vector, one power step further, at no product.

    Raises RequestError when a product is not finite, has another shape, or the arguments are out of range.
    """
    u = np.asarray(start).ravel()
    _check(u.size, 1, tol, "algebraic", held)
    length = math.sqrt(float(u @ u))
    if not 0 < length < math.inf:
        raise RequestError(f"start has the length {length:g}; give a finite vector that is not zero")
    u = u / u.dtype.type(length) if u.dtype.kind == "f" else u / length
    d: list[float] = []
    e: list[float] = []
    basis: list[np.ndarray] = []
    axpy: Any = None
    while True:
        # In a large network each passage over a vector weighs: one product may be all that a probe can pay.
        w, norm = checked_image(product(u), u.size, len(d) + 1)
        u = u.astype(w.dtype, copy=False)
        axpy = blas.get_blas_funcs("axpy", (w,))
        basis.append(u)
        d.append(float(u @ w))
        for c, q in zip((d[-1], *e[-1:]), basis[:-3:-1], strict=True):
            axpy(q, w, a=-c)
        e.append(math.sqrt(float(w @ w)))
        last = len(d) >= min(most, u.size)
        if not last or e[-1] < AGAIN * norm:
            for q in basis:
                axpy(q, w, a=-float(q @ w))
            e[-1] = math.sqrt(float(w @ w))
        theta, weights = np.linalg.eigh(np.diag(d) + np.diag(e[:-1], 1) + np.diag(e[:-1], -1))
        value, s = float(theta[-1]), weights[:, -1].astype(w.dtype)
        floor = 8 * float(np.finfo(w.dtype).eps) * max(norm, abs(value))
        done = e[-1] <= floor
        error = floor if done else floor + above(d, e, value, held)
        if done or error <= tol * abs(value) or last:
            break
        u = w / w.dtype.type(e[-1])
    vector = s[0] * basis[0]
    for a, q in zip(s[1:], basis[1:], strict=True):
        axpy(q, vector, a=a)
    # The image of the vector: along itself, and the residual, at right angles to it.
    size = max(math.hypot(value, float(s[-1]) * e[-1]), float(np.finfo(w.dtype).tiny))
    image = axpy(w, vector * w.dtype.type(value / size), a=float(s[-1]) / size)
    residual = np.array([e[-1] * abs(float(s[-1])) + floor])
    converged = error <= tol * abs(value)
    return Pairs(np.array([value]), vector[None], residual, np.array([error]), len(d), converged, image[None])


@dataclass(frozen=True, eq=False)
class Density:
    """A spectral density by stochastic Lanczos quadrature.

    nodes, weights : (probes, order); the weights of a probe sum to 1.

    Source: Ubaru, Chen and Saad, SIAM J. Matrix Anal. Appl. 38, 2017.
    """

    nodes: np.ndarray
    weights: np.ndarray
    products: int

    def mean(self, f: Callable[[np.ndarray], np.ndarray]) -> tuple[float, float]:
        """Mean of f over the eigenvalues, and its standard error over the probes (NaN for one probe)."""
        each = np.sum(self.weights * f(self.nodes), axis=1)
        return float(each.mean()), _error(each)

    def curve(self, at: np.ndarray, width: float) -> tuple[np.ndarray, np.ndarray]:
        """Density per unit of eigenvalue at points (n,), smoothed by a Gaussian of deviation ``width``; its standard error."""
        apart = (np.asarray(at, float)[:, None, None] - self.nodes) / width
        each = np.sum(self.weights * np.exp(-0.5 * apart**2), axis=2) / (width * np.sqrt(2 * np.pi))
        return each.mean(axis=1), np.apply_along_axis(_error, 1, each)


def density(product: Product, size: int, probes: int = 8, order: int = 40, seed: int = 0) -> Density:
    """The whole spectrum as a density, from ``probes`` random starts with ``order`` products each.

    product, size : as for :func:`top`. Raises RequestError as it does. Memory: ``order`` vectors.
    """
    if probes < 1 or order < 1:
        raise RequestError(f"probes = {probes} and order = {order} must be at least 1")
    _check(size, 1, 1.0, "algebraic", 0.5)
    order = min(order, size)
    nodes, weights, products = np.zeros((probes, order)), np.zeros((probes, order)), 0
    for j in range(probes):
        # Signs and no Gaussian: the same for the mean, with less scatter.
        signs = np.random.default_rng([seed, j]).integers(0, 2, size) * 2.0 - 1.0
        space = Space(product, size, signs[None])
        while space.C and space.dimension < order:
            space.advance()
        theta, vectors = np.linalg.eigh(space.H)
        nodes[j, : len(theta)], weights[j, : len(theta)] = theta, vectors[0] ** 2
        nodes[j, len(theta) :] = theta[0]
        products += space.products
    return Density(nodes, weights, products)


def _error(each: np.ndarray) -> float:
    return float(np.std(each, ddof=1) / np.sqrt(len(each))) if len(each) > 1 else float("nan")


@dataclass(frozen=True, eq=False)
class _Found:
    """Ritz pairs in the basis, the best first.

    values, residuals, errors (k,) as in Pairs; theta (m,), weights (m, m), all_residuals (m,) of all pairs, without rounding.
    """

    values: np.ndarray
    residuals: np.ndarray
    errors: np.ndarray
    theta: np.ndarray
    weights: np.ndarray
    all_residuals: np.ndarray


def _ritz(space: Space, k: int, which: str, warm: bool) -> _Found:
    theta, weights = np.linalg.eigh(space.H)
    order = np.argsort(-np.abs(theta) if which == "magnitude" else -theta, kind="stable")
    theta, weights = theta[order], weights[:, order]
    residuals = np.linalg.norm(space.K @ weights, axis=0)
    errors = from_residuals(theta, residuals)
    found = errors[:k].copy()
    if warm:
        # How high a pair may still rise when its residual's direction has up to two thirds of the top's value on average:
        # where the one behind may overtake, the error reaches up to it.
        heights = np.abs(theta) if which == "magnitude" else theta
        scale = max(float(np.max(np.abs(theta))), np.finfo(float).tiny)
        rise = heights + np.minimum(residuals, RISE * residuals**2 / scale)
        found = np.array([max(error, float(np.max(rise[j : k + 1]) - heights[j])) for j, error in enumerate(found)])
    return _Found(theta[:k], residuals[:k] + space.floor(), found + space.floor(), theta, weights, residuals)


def _by_law(law: Law, space: Space, found: _Found, which: str, close: float | None = None) -> np.ndarray:
    """What the law of the start leaves for the error of each of the k values; infinite where it is more than ``close``."""
    heights, ends = (np.abs(found.values), (1, -1)) if which == "magnitude" else (found.values, (1,))
    # Starts that are still to be multiplied are no rows of the basis yet.
    law = replace(law, starts=min(law.starts, space.dimension))
    return law.reach(heights, ends, found.theta, found.weights[: law.starts], space.K @ found.weights, close)


def _starts(start: np.ndarray | Pairs | None, size: int, k: int, seed: int) -> np.ndarray:
    """The rows to begin from, shape (any, P)."""
    if start is None:
        return np.random.default_rng(seed).standard_normal((min(k, COPIES), size))
    rows = np.atleast_2d(np.asarray(start.rows if isinstance(start, Pairs) else start, np.float64))
    if rows.ndim != 2 or rows.shape[1] != size or not np.isfinite(rows).all() or not rows.any():
        raise RequestError(f"start has shape {rows.shape} and must be finite rows of {size} numbers, not all zero; leave it out")
    return rows


def _check(size: int, k: int, tol: float, which: str, doubt: float) -> None:
    if size < 1 or k < 1:
        raise RequestError(f"size = {size} and k = {k} must be at least 1; give the number of parameters and of pairs")
    if not tol > 0 or not 0 < doubt < 1:
        raise RequestError(f"tol = {tol} must be above 0 and doubt = {doubt} between 0 and 1; take tol=1e-3, doubt=0.05")
    if which not in WHICH:
        raise RequestError(f"which = {which!r} is not known; give {' or '.join(WHICH)}")
