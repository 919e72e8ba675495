"""Cycles of scalar maps: found by Newton's method on the iterated map, judged by their multiplier.

Waiting for a run to converge takes 1 / |1 - |multiplier|| steps, which is without bound next to every boundary. Newton's
method finds the cycle itself from a point near it, and the product of derivatives along it decides.
"""

from __future__ import annotations

from functools import partial
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from trainphase.survey import TAIL, batch_axes
from trainphase.system import Map

NEWTON = 40
# How far below 1 a multiplier must be to count as stable: rounding of the product, and the case of a newborn cycle.
NEUTRAL, NEWBORN = 1e-13, 2e-9
# At most this many candidate periods are tried for a lane; 60, the number up to 64 with most divisors, has twelve.
RANKS = 12
# Lanes that are judged at a time. Of one size, so that one program is compiled whatever the number of lanes.
LANES = 256


def _iterate(system: Map, x: jax.Array, period: jax.Array, longest: jax.Array) -> tuple[jax.Array, jax.Array]:
    """f^period(x) and its derivative; the loop runs to ``longest`` so that lanes of several periods share it."""

    def body(k: jax.Array, c: tuple[jax.Array, jax.Array]) -> tuple[jax.Array, jax.Array]:
        y, v = c
        y2, v2 = system.tangent(y, v)
        on = k < period
        return jnp.where(on, y2, y), jnp.where(on, v2, v)

    return lax.fori_loop(0, longest, body, (x, jnp.ones_like(x)))


def _newton(system: Map, x: jax.Array, period: jax.Array, longest: jax.Array) -> tuple[jax.Array, jax.Array]:
    """Newton's method on f^period(x) = x; returns the root and the last step taken."""

    def go(c: tuple[jax.Array, jax.Array, jax.Array]) -> jax.Array:
        x, step, k = c
        return (k < NEWTON) & (jnp.abs(step) > 2 * jnp.finfo(x.dtype).eps * jnp.abs(x))

    def body(c: tuple[jax.Array, jax.Array, jax.Array]) -> tuple[jax.Array, jax.Array, jax.Array]:
        x, _, k = c
        y, slope = _iterate(system, x, period, longest)
        denominator = slope - 1.0
        step = -(y - x) / jnp.where(denominator == 0, 1.0, denominator)
        return x + step, step, k + 1

    x, step, _ = lax.while_loop(go, body, (x, jnp.full_like(x, jnp.inf), jnp.asarray(0)))
    return x, step


def _distance(system: Map, tail: jax.Array, root: jax.Array, period: jax.Array, longest: jax.Array) -> tuple[Any, Any]:
    """Distance to the cycle through ``root`` from the tail's last point, and from an early point of the same phase.

    The two points are a multiple of twice the period apart: next to a period doubling the run alternates between the
    two sides of the cycle, at unequal distances.
    """
    lag = 2 * jnp.maximum(period, 1)
    early = tail[(TAIL - 1) % lag]

    def body(k: jax.Array, c: tuple[jax.Array, jax.Array, jax.Array]) -> tuple[jax.Array, jax.Array, jax.Array]:
        y, first, last = c
        first = jnp.where(k < period, jnp.minimum(first, jnp.abs(early - y)), first)
        last = jnp.where(k < period, jnp.minimum(last, jnp.abs(tail[-1] - y)), last)
        return system.step(y), first, last

    big = jnp.full_like(root, jnp.inf)
    _, first, last = lax.fori_loop(0, longest, body, (root, big, big))
    return first, last


def _minimal(
    system: Map, root: jax.Array, period: jax.Array, longest: jax.Array, scale: jax.Array
) -> tuple[jax.Array, jax.Array]:
    """The least p with f^p(root) = root to 1e-9 of the scale, the true period of what Newton found; its multiplier."""

    def body(k: jax.Array, c: tuple[jax.Array, jax.Array, jax.Array]) -> tuple[jax.Array, jax.Array, jax.Array]:
        y, v, least = c
        y2, v2 = system.tangent(y, v)
        on = (k < period) & (least == 0)
        back = on & (jnp.abs(y2 - root) <= 1e-9 * scale)
        return jnp.where(on, y2, y), jnp.where(on, v2, v), jnp.where(back, k + 1, least)

    _, multiplier, least = lax.fori_loop(0, longest, body, (root, jnp.ones_like(root), jnp.zeros_like(period)))
    return jnp.where(least == 0, period, least), multiplier


def _judge(
    system: Map, start: jax.Array, tail: jax.Array, period: jax.Array, longest: jax.Array
) -> dict[str, jax.Array]:
    """Look for a cycle of the period from the end of the tail; tell its multiplier and whether the run closes in on it."""
    scale = jnp.max(jnp.abs(tail))
    root, step = _newton(system, tail[-1], period, longest)
    found = jnp.isfinite(root) & (jnp.abs(step) <= 1e-6 * scale)
    root = jnp.where(found, root, tail[-1])
    true_period, multiplier = _minimal(system, root, period, longest, scale)
    first, last = _distance(system, tail, root, true_period, longest)
    # A run on the cycle stays within rounding of it; a run on its way has come closer over the tail: by a clear factor,
    # or, next to a boundary, by little but from nearby. Near is meant by the size of the run: where the fixed point is 0,
    # that of the tail is the distance itself.
    size = jnp.maximum(scale, jnp.abs(start))
    close = (last <= 1e-9 * size) | (last < 0.9 * first) | ((last < first) & (last <= 0.1 * size))
    # Where a cycle is born at the flip of a shorter one, it is a triple root of f^p(x) = x and known to the cube root of
    # rounding only; its computed multiplier falls short of 1 by up to 1e-9 although the cycle does not exist.
    newborn = (true_period % 2 == 0) & (multiplier > 0)
    stable = jnp.abs(multiplier) < 1.0 - jnp.where(newborn, NEWBORN, NEUTRAL)
    return {
        "found": found & close & stable,
        "period": true_period,
        "multiplier": multiplier,
        "root": root,
        "distance": last,
    }


@partial(jax.jit, static_argnames=("batched",))
def judge(
    system: Map, values: list[Any], starts: jax.Array, tails: jax.Array, periods: jax.Array, batched: tuple[str, ...]
) -> dict[str, jax.Array]:
    """Judge one candidate period per lane; a candidate of 0 is skipped. ``starts`` (lanes,), ``tails`` (lanes, TAIL).

    ``values``: those of the fields ``batched``, (lanes,) each; what ``system`` has there is not looked at.
    """
    longest = jnp.max(periods)
    system, axes = _with(system, batched, values), batch_axes(system, batched)
    return jax.vmap(_judge, in_axes=(axes, 0, 0, 0, None))(system, starts, tails, periods, longest)


def _with(system: Map, batched: tuple[str, ...], values: list[Any]) -> Map:
    return eqx.tree_at(lambda s: [getattr(s, name) for name in batched], system, values) if batched else system


def _candidates(recurrence: np.ndarray) -> np.ndarray:
    """Periods to try for each lane, in increasing order, 0 where there are no more; shape (lanes, RANKS).

    They are the divisors of every period at which the tail repeats within ten times the best repetition.
    """
    longest = recurrence.shape[1]
    floor = 10 * np.min(recurrence, axis=1, keepdims=True)
    with np.errstate(invalid="ignore"):
        good = recurrence <= floor
    periods = np.arange(1, longest + 1)
    divides = periods[:, None] % periods[None, :] == 0  # of a period (row) by a smaller one
    wanted = (good.astype(np.float32) @ divides.astype(np.float32)) > 0
    lane, at = np.nonzero(wanted)
    count = wanted.sum(1)
    rank = np.arange(lane.size) - (np.cumsum(count) - count)[lane]
    out = np.zeros((len(recurrence), RANKS), int)
    kept = rank < RANKS
    out[lane[kept], rank[kept]] = at[kept] + 1
    return out


def stable_cycle(
    system: Map, starts: np.ndarray, tails: np.ndarray, recurrence: np.ndarray, wanted: np.ndarray, batched: tuple[str, ...]
) -> dict[str, np.ndarray]:
    """The stable cycle that each wanted lane approaches, if any.

    The periods at which the tail repeats best are multiples of the true one; their divisors are tried in increasing
    order, and the first whose cycle is stable and approached by the run is taken. That order is what tells a slow
    approach to a 2-cycle just below its doubling from a 4-cycle just above.

    Parameters
    ----------
    starts : (lanes,) states of scalar maps that the runs began from; tails : (lanes, TAIL) states; recurrence : (lanes, 64);
        wanted : (lanes,) bool.

    Returns arrays of shape (lanes,): ``period`` (0 where none was found), ``multiplier``, ``root``.
    """
    lanes = tails.shape[0]
    out = {
        "period": np.zeros(lanes, np.int32),
        "multiplier": np.full(lanes, np.nan),
        "root": np.full(lanes, np.nan),
    }
    todo = np.flatnonzero(wanted & np.isfinite(recurrence).all(1))
    candidates = _candidates(recurrence[todo])
    fields = [np.asarray(getattr(system, name)) for name in batched]
    bare = _with(system, batched, [x[:1] for x in fields])
    while todo.size and candidates.shape[1]:
        # Of few lanes several candidates at a time; of those that are found in one lane, the first counts.
        next_few = candidates[:, : max(1, LANES // todo.size)]
        which, rank = np.nonzero(next_few)
        if which.size == 0:
            break
        got = _judge_some(bare, fields, starts, tails, todo[which], next_few[which, rank], batched)
        hit, first = np.unique(which[got["found"]], return_index=True)
        for name in out:
            out[name][todo[hit]] = got[name][got["found"]][first]
        left = np.ones(todo.size, bool)
        left[hit] = False
        todo, candidates = todo[left], candidates[left, next_few.shape[1] :]
    return out


def _judge_some(
    system: Map, fields: list[np.ndarray], starts: np.ndarray, tails: np.ndarray, lanes: np.ndarray, periods: np.ndarray,
    batched: tuple[str, ...],
) -> dict[str, np.ndarray]:  # fmt: skip
    """Judge some of the lanes, LANES at a time: one program, whose loops are as long as the longest period in it asks for."""
    order, pieces = np.argsort(periods, kind="stable"), []
    for k in range(0, lanes.size, LANES):
        some = order[k : k + LANES]
        rows = np.concatenate([lanes[some], np.full(LANES - some.size, lanes[some[0]])])
        asked = np.concatenate([periods[some], np.zeros(LANES - some.size, periods.dtype)]).astype(np.int32)
        got = judge(system, [x[rows] for x in fields], starts[rows], tails[rows], asked, batched)
        pieces.append({name: np.asarray(v)[: some.size] for name, v in got.items()})
    back = np.argsort(order, kind="stable")
    return {name: np.concatenate([piece[name] for piece in pieces])[back] for name in pieces[0]}
