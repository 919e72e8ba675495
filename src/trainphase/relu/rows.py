"""Matrices with a column per neuron, as a tuple of rows where there are few: XLA then fuses a whole step of them.

A row is an array (N,). Where the data have many numbers the tuple holds one array (rows, N), and products are those of
matrices.
"""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
from jax import lax

# Data of so few numbers are written out, row by row: a matrix product of a few rows costs more than its sums.
WRITTEN_OUT = 64

# Rows of a matrix with a column per particle: a tuple of arrays (N,), or of one array (rows, N) where there are many.
Rows = tuple[Any, ...]


def as_rows(matrix: Any, numbers: int) -> Rows:
    """The rows of a matrix: one array each when the data have few ``numbers``, else all in one."""
    return tuple(matrix) if numbers <= WRITTEN_OUT else (matrix,)


def as_matrix(rows: Rows) -> jax.Array:
    """The matrix of the rows."""
    return rows[0] if rows[0].ndim == 2 else jnp.stack(rows)


def each(f: Any, *rows: Rows) -> Rows:
    return tuple(f(*r) for r in zip(*rows, strict=True))


def mix(A: jax.Array, rows: Rows) -> Rows:
    """A times the matrix of the rows."""
    if rows[0].ndim == 2:
        return (A @ rows[0],)
    rest = range(1, len(rows))
    return tuple(sum((A[i, j] * rows[j] for j in rest), A[i, 0] * rows[0]) for i in range(A.shape[0]))


def weigh(E: jax.Array, rows: Rows) -> Rows:
    """Row i times E[i]."""
    return (E[:, None] * rows[0],) if rows[0].ndim == 2 else tuple(E[i] * row for i, row in enumerate(rows))


def dots(A: Rows, B: Rows) -> Any:
    """Scalar products column by column, (N,)."""
    if A[0].ndim == 2:
        return jnp.sum(A[0] * B[0], axis=0)
    return sum((a * b for a, b in zip(A[1:], B[1:], strict=True)), A[0] * B[0])


def stacked(rows: Rows) -> jax.Array:
    # Fused into its reader, a stack costs a branch per number.
    return rows[0] if rows[0].ndim == 2 else lax.optimization_barrier(jnp.stack(rows))


def difference(A: Rows, B: Rows) -> Rows:
    return each(jnp.subtract, A, B)


def plus(A: Rows, B: Rows) -> Rows:
    return each(jnp.add, A, B)
