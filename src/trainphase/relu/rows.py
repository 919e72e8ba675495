"""Sums over the rows of a matrix that has a column per neuron, written out where there are few rows: XLA then fuses them."""

from __future__ import annotations

import jax
import jax.numpy as jnp

# A product with a matrix of so few entries is written out: a matrix product of a few rows costs more than its sums.
WRITTEN_OUT = 64


def mix(A: jax.Array, rows: jax.Array) -> jax.Array:
    """A times the matrix of the rows, shape (A.shape[0], N)."""
    if A.size > WRITTEN_OUT:
        return A @ rows
    parts = (A[:, j][:, None] * rows[j][None] for j in range(1, rows.shape[0]))
    return sum(parts, A[:, 0][:, None] * rows[0][None])


def dots(A: jax.Array, B: jax.Array) -> jax.Array:
    """Scalar products column by column, (N,)."""
    if len(A) > WRITTEN_OUT:
        return jnp.sum(A * B, axis=0)
    return sum((a * b for a, b in zip(A[1:], B[1:], strict=True)), A[0] * B[0])
