"""Matrices and vectors of one run, or of many runs at once with the runs along the last axis.

Written for one run, a step that needs a matrix of its own is a product of a matrix and a vector; batched, XLA goes through
the runs one by one. With the runs along the last axis they fill the vector registers instead, and matrices may stay as a
matrix product left them. All arrays here, scalars too, have a leading axis over components: (n,) or (n, runs).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jax.custom_batching import custom_vmap

CHAINS = 4  # of additions that do not wait for each other


def dot(v: jax.Array, w: jax.Array) -> jax.Array:
    """v . w, shape (1,) or (1, runs)."""
    # As a product: a sum that XLA fused with one of the products below would run many times slower.
    return jnp.reshape(jnp.ones((1, v.shape[0]), v.dtype) @ (v * w), (1, *v.shape[1:]))


def push(M: jax.Array, v: jax.Array) -> jax.Array:
    """M v, for M of shape (m, n) or (m, n, runs)."""
    if M.ndim == 2:
        return M @ v
    # Term by term: as a sum over a middle axis XLA does not use vector registers.
    return _sum([M[:, k] * v[k : k + 1] for k in range(M.shape[1])])


def pull(M: jax.Array, v: jax.Array) -> jax.Array:
    """v M, for M of shape (m, n) or (m, n, runs)."""
    return v @ M if M.ndim == 2 else _sum([M[k] * v[k : k + 1] for k in range(M.shape[0])])


def _sum(terms: list[jax.Array]) -> jax.Array:
    sums = terms[:CHAINS]
    for k, term in enumerate(terms[CHAINS:]):
        sums[k % CHAINS] = sums[k % CHAINS] + term
    return sum(sums[1:], sums[0])


def together(body: Callable[..., Any], shared: int) -> Callable[..., Any]:
    """``body``, which under vmap is called once, with the runs last in all arguments but the first ``shared`` ones.

    The arguments and results are pytrees of arrays with a leading axis over components. Where one of the ``shared`` ones
    varies from run to run, it is vmap as usual.
    """

    def many(size: int, batched: Any, *given: Any) -> Any:
        if any(jax.tree.leaves(batched[:shared])):
            out = jax.vmap(body, in_axes=jax.tree.map(lambda b: 0 if b else None, tuple(batched)))(*given)
            return out, jax.tree.map(lambda _: True, out)

        def last(x: jax.Array, b: bool) -> jax.Array:
            return jnp.moveaxis(x, 0, -1) if b else jnp.broadcast_to(x[..., None], (*x.shape, size))

        out = body(*given[:shared], *jax.tree.map(last, tuple(given[shared:]), tuple(batched[shared:])))
        return jax.tree.map(lambda x: jnp.moveaxis(x, -1, 0), out), jax.tree.map(lambda _: True, out)

    one = custom_vmap(body)
    one.def_vmap(many)
    return one
