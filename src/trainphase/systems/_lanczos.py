"""The largest eigenvalue of a symmetric operator to a tolerance, inside compiled code.

Lanczos with full reorthogonalisation; a Ritz pair (value, vector) with residual r = |A vector - value vector| has an
eigenvalue within r of its value, and one within r^2 over the gap to the others.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import lax

# Vectors kept at a time, and how often the iteration begins anew from its best vector.
KEPT, CYCLES = 32, 3
# Residual over value: on a spectrum whose two largest values differ by 2 % the value is then right to 5e-5.
TOLERANCE = 1e-3


class Top(NamedTuple):
    """value, shape (); vector, unit, shape (n,); residual, shape (); products: how many were taken."""

    value: jax.Array
    vector: jax.Array
    residual: jax.Array
    products: jax.Array


class _Basis(NamedTuple):
    vectors: jax.Array
    diagonal: jax.Array
    beside: jax.Array
    used: jax.Array
    value: jax.Array
    weights: jax.Array
    residual: jax.Array


def lanczos_top(
    product: Callable[[jax.Array], jax.Array], start: jax.Array, tolerance: float = TOLERANCE, kept: int = KEPT
) -> Top:
    """The largest eigenvalue of ``product``, from the vector ``start`` of shape (n,): of the last measurement, or any.

    Ends when the residual is below ``tolerance`` of the value, or after CYCLES times ``kept`` products; NaN where the
    operator is not finite.
    """
    kept = min(kept, start.shape[0])

    def cycle(c: tuple[Top, jax.Array]) -> tuple[Top, jax.Array]:
        top, k = c
        basis = _grow(product, top.vector, tolerance, kept)
        vector = basis.weights @ basis.vectors
        return Top(basis.value, _unit(vector), basis.residual, top.products + basis.used), k + 1

    def unfinished(c: tuple[Top, jax.Array]) -> jax.Array:
        top, k = c
        return (k < CYCLES) & ~(top.residual <= tolerance * jnp.abs(top.value)) & ((k == 0) | jnp.isfinite(top.value))

    none = jnp.full((), jnp.inf, start.dtype)
    first = Top(jnp.ones((), start.dtype), _unit(start), none, jnp.zeros((), jnp.int32))
    return lax.while_loop(unfinished, cycle, (first, jnp.zeros((), jnp.int32)))[0]


def _unit(v: jax.Array) -> jax.Array:
    # A start of zeros, or one that is not finite, is replaced by the diagonal.
    size = jnp.linalg.norm(v)
    fine = (size > 0) & jnp.isfinite(size)
    return jnp.where(fine, v / jnp.where(fine, size, 1.0), 1.0 / jnp.sqrt(jnp.asarray(v.shape[0], v.dtype)))


def _grow(product: Any, start: jax.Array, tolerance: float, kept: int) -> _Basis:
    """A Krylov basis from the unit vector ``start``, grown until its top Ritz pair is good enough or it is full."""
    zeros, dtype = jnp.zeros(kept, start.dtype), start.dtype
    one = jnp.ones((), dtype)
    vectors = jnp.zeros((kept, start.shape[0]), dtype).at[0].set(start)
    begun = _Basis(vectors, zeros, zeros, jnp.zeros((), jnp.int32), one, zeros.at[0].set(1.0), jnp.inf * one)

    def extend(b: _Basis) -> _Basis:
        k, own = b.used, jnp.arange(kept)
        v = b.vectors[k]
        image = product(v)
        diagonal = b.diagonal.at[k].set(jnp.vdot(image, v))
        rest = image
        for _ in range(2):  # twice is enough
            rest = rest - (b.vectors @ rest) @ b.vectors
        size = jnp.linalg.norm(rest)
        # Below rounding of the operator a direction is noise: the basis is closed.
        size = jnp.where(size > 10 * jnp.finfo(dtype).eps * jnp.linalg.norm(image), size, 0.0)
        value, weights = _ritz(diagonal, b.beside, own <= k)
        follows = jnp.where(size > 0, rest / jnp.where(size > 0, size, 1.0), 0.0)
        vectors = b.vectors.at[jnp.minimum(k + 1, kept - 1)].set(jnp.where(k + 1 < kept, follows, v))
        return _Basis(vectors, diagonal, b.beside.at[k].set(size), k + 1, value, weights, size * jnp.abs(weights[k]))

    def unfinished(b: _Basis) -> jax.Array:
        poor = ~(b.residual <= tolerance * jnp.abs(b.value))
        return (b.used < kept) & poor & ((b.used == 0) | jnp.isfinite(b.value))

    return lax.while_loop(unfinished, extend, begun)


def _ritz(diagonal: jax.Array, beside: jax.Array, used: jax.Array) -> tuple[jax.Array, jax.Array]:
    """Top eigenvalue and vector of the tridiagonal matrix in its ``used`` rows; NaN where it is not finite."""
    joined = used[1:] & used[:-1]
    off = jnp.where(joined, beside[:-1], 0.0)
    # Rows that are not in use get a value below all others.
    spread = jnp.sum(jnp.abs(jnp.where(used, diagonal, 0.0))) + 2 * jnp.sum(jnp.abs(off))
    full = jnp.diag(jnp.where(used, diagonal, -2 * spread - 1.0)) + jnp.diag(off, 1) + jnp.diag(off, -1)
    fine = jnp.all(jnp.isfinite(full))
    # A decomposition of a matrix with NaN may not end.
    values, vectors = jnp.linalg.eigh(jnp.where(fine, full, jnp.eye(full.shape[0], dtype=full.dtype)))
    return jnp.where(fine, values[-1], jnp.nan), vectors[:, -1]
