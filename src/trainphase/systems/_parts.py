"""Steps of many runs of the quadratic model that share Q, part of Q by part.

Products with Q are faster the more runs they take at once, but while Q(phi, .) of 64 runs is formed, twice what a second-level
cache holds passes through it, and Q(phi, .) is no longer there when it is contracted with phi and with z. The product with
a part of Q is used up while it is there: the residuals of a part's outputs need no other part, and J^T z is a sum over parts.
A look at the curvature needs all outputs of a run at once; it takes half of the runs at a time.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from trainphase.systems._lanes import pull, push

# Bytes of a part of Q, at most, and its outputs, at least: with fewer, what a product costs beside its operations is more
# than the cache saves.
PART, LEAST = 900_000, 4


def parts_of(Q: Any, D: int) -> tuple[jax.Array, ...] | None:
    """Q, shape (D P, P), as equal parts of whole outputs; None where it is small, or D has no divisor for that."""
    pieces = next((c for c in range(2, D // LEAST + 1) if D % c == 0 and Q.nbytes <= c * PART), 0)
    if Q.nbytes <= PART or not pieces:
        return None
    # Arrays of their own: a slice in a loop would be a copy at every step. Of the same memory: looks read all of Q, and two
    # copies would drive each other from the caches, which costs more than the parts save.
    return tuple(jax.device_put(part, may_alias=True) for part in np.split(np.asarray(Q), pieces))


def contracted(parts: tuple[jax.Array, ...], base: jax.Array, phi: jax.Array) -> tuple[jax.Array, jax.Array]:
    """z = base + Q(phi, phi) / 2 and Q(phi, .)^T z, shapes (D, runs) and (P, runs), for the displacements phi, (P, runs)."""
    (P, runs), d = phi.shape, len(base) // len(parts)
    # XLA fuses nothing through a product: without one, it would compute the residuals anew for every term of the last sum.
    wall = jnp.eye(d, dtype=phi.dtype)
    products = [lambda phi, parts, k=k: parts[k] @ phi for k in range(len(parts))]

    def one(k: Any, sums: Any) -> Any:
        z, u = sums
        M = jnp.reshape(lax.switch(k, products, phi, parts), (d, P, runs))
        mine = lax.dynamic_slice_in_dim(base, k * d, d) + 0.5 * push(M, phi)
        return lax.dynamic_update_slice_in_dim(z, wall @ mine, k * d, 0), u + pull(M, mine)

    return lax.fori_loop(0, len(parts), one, (jnp.zeros_like(base), jnp.zeros_like(phi)))


def in_halves(look: Callable[..., Any], scalars: Any, state: jax.Array, memory: Any) -> Any:
    """``look(scalars, state, memory)`` of the first half of the runs, then of the second, in a loop with one buffer."""
    half = state.shape[-1] // 2

    def one(k: Any, out: Any) -> Any:
        part = partial(lax.dynamic_slice_in_dim, start_index=k * half, slice_size=half, axis=-1)
        new = look(*jax.tree.map(part, (scalars, state, memory)))
        return jax.tree.map(lambda x, y: lax.dynamic_update_slice_in_dim(x, y, k * half, -1), out, new)

    none = jnp.zeros((1, 2 * half), state.dtype)
    return lax.fori_loop(0, 2, one, (state, none, none, memory))
