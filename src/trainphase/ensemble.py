"""The phase of a map over a family of starts: what sampling starts alone would miss.

Two events hide in slivers of the interval. Next to the first catapult, only starts in a sliver of width
sqrt(a - a_c) are thrown up; the largest one-step growth of the loss is therefore searched for, not sampled. Next to
divergence, only starts close to a critical point leave; critical points are found and their orbits followed.
"""

from __future__ import annotations

from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from trainphase.survey import batch_axes
from trainphase.system import TYPICAL, Map

GRID = 65
PEAKS = 3
GOLDEN = 0.6180339887498949
SHRINKS = 40
ORBIT = 64


def stratified(count: int) -> np.ndarray:
    """Fractions in (0, 1) of ``count`` starts, one per stratum, off every special point, shape (count,)."""
    return (np.arange(count) + TYPICAL) / count


def _growth(system: Map, size: jax.Array, u: jax.Array) -> jax.Array:
    """The loss after one step over the loss before, at the start of fraction u; 0 where the loss is at its floor."""
    x = system.start(u)
    before, after = system.loss(x), system.loss(system.step(x))
    return jnp.where(before > 1e-10 * size, after / jnp.where(before > 0, before, 1.0), 0.0)


def _slope(system: Map, u: jax.Array) -> jax.Array:
    x = system.start(u)
    return system.tangent(x, jnp.ones_like(x))[1]


def _largest(x: jax.Array) -> jax.Array:
    """Indices of the PEAKS largest entries; repeated argmax, since sorting many short rows is slow."""
    found = []
    for _ in range(PEAKS):
        at = jnp.argmax(x)
        found.append(at)
        x = jnp.where(jnp.arange(x.size) == at, -jnp.inf, x)
    return jnp.stack(found)


def _peak(system: Map, size: jax.Array, lo: jax.Array, hi: jax.Array) -> tuple[jax.Array, jax.Array]:
    """Golden-section search for the largest growth between two fractions; returns the fraction and the growth."""

    def body(_: Any, c: tuple[jax.Array, jax.Array]) -> tuple[jax.Array, jax.Array]:
        lo, hi = c
        left, right = hi - GOLDEN * (hi - lo), lo + GOLDEN * (hi - lo)
        up = _growth(system, size, right) > _growth(system, size, left)
        return jnp.where(up, left, lo), jnp.where(up, hi, right)

    lo, hi = lax.fori_loop(0, SHRINKS, body, (lo, hi))
    u = 0.5 * (lo + hi)
    return u, _growth(system, size, u)


def _critical(system: Map, lo: jax.Array, hi: jax.Array) -> jax.Array:
    """Bisection for a zero of the slope between two fractions."""
    sign = jnp.sign(_slope(system, lo))

    def body(_: Any, c: tuple[jax.Array, jax.Array]) -> tuple[jax.Array, jax.Array]:
        lo, hi = c
        mid = 0.5 * (lo + hi)
        same = jnp.sign(_slope(system, mid)) == sign
        return jnp.where(same, mid, lo), jnp.where(same, hi, mid)

    lo, hi = lax.fori_loop(0, 56, body, (lo, hi))
    return 0.5 * (lo + hi)


def _highest(system: Map, u: jax.Array) -> tuple[jax.Array, jax.Array]:
    """The largest one-step growth of the loss over all starts, and the fraction where it occurs."""
    size = jnp.max(jax.vmap(lambda w: system.loss(system.start(w)))(u))
    growth = jax.vmap(partial(_growth, system, size))(u)
    inner = (growth[1:-1] >= growth[:-2]) & (growth[1:-1] >= growth[2:])
    order = _largest(jnp.where(inner, growth[1:-1], -1.0)) + 1
    at, peak = jax.vmap(partial(_peak, system, size))(u[order - 1], u[order + 1])
    best = jnp.argmax(peak)
    sampled = jnp.argmax(growth)
    higher = growth[sampled] > peak[best]
    return jnp.where(higher, growth[sampled], peak[best]), jnp.where(higher, u[sampled], at[best])


def _critical_escapes(system: Map, u: jax.Array) -> jax.Array:
    """True when the orbit of some critical point of a scalar map escapes."""
    slope = jax.vmap(partial(_slope, system))(u)
    turns = jnp.sign(slope[1:]) != jnp.sign(slope[:-1])
    where = _largest(jnp.where(turns, 1.0, 0.0))
    critical = jax.vmap(partial(_critical, system))(u[where], u[where + 1])

    def leaves(u: jax.Array) -> jax.Array:
        def body(_: Any, c: tuple[jax.Array, jax.Array]) -> tuple[jax.Array, jax.Array]:
            x, gone = c
            x = jnp.where(gone, x, system.step(x))
            return x, gone | system.escaped(x)

        return lax.fori_loop(0, ORBIT, body, (system.start(u), jnp.asarray(False)))[1]

    return jnp.any(jax.vmap(leaves)(critical) & turns[where])


def _probe(system: Map, scalar: bool) -> dict[str, jax.Array]:
    u = jnp.asarray(stratified(GRID))
    ratio, at = _highest(system, u)
    escapes = _critical_escapes(system, u) if scalar else jnp.asarray(False)
    return {"sup_ratio": ratio, "sup_at": at, "critical_escapes": escapes}


@partial(jax.jit, static_argnames=("batched", "scalar"))
def probe(system: Map, size: jax.Array, batched: tuple[str, ...], scalar: bool) -> dict[str, jax.Array]:
    """For each point of a batch: the supremum over starts of the one-step growth of the loss, and critical escapes.

    ``size`` is an array of shape (points,), used only for its length. Returns arrays of shape (points,):
    ``sup_ratio`` (after / before), ``sup_at`` (fraction of the interval), ``critical_escapes`` (bool).
    """
    return jax.vmap(lambda s, _: _probe(s, scalar), in_axes=(batch_axes(system, batched), 0))(system, size)
