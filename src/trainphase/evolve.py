"""Evolve: one run of a Map with observables recorded along it."""

from __future__ import annotations

from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from trainphase.observable import Observable
from trainphase.survey import FLOOR, RISE
from trainphase.system import Map

MOST_RECORDS = 4096


@partial(jax.jit, static_argnames=("observables", "records", "stride", "rest", "average_from"))
def _series(
    system: Any, state: Any, observables: tuple[Observable, ...], records: int, stride: int, rest: int, average_from: int
) -> Any:
    """Record at 0, stride, 2 stride, .. (``records`` times) and at the very end, ``rest`` steps after the last stretch."""
    averaging = hasattr(system, "predict_test")
    total = jnp.zeros_like(system.predict_test(state)) if averaging else jnp.zeros(())
    loss = system.loss(state)

    def step(t: jax.Array, c: Any) -> Any:
        state, total, loss, most, rises = c
        if averaging:
            total = total + jnp.where(t >= average_from, 1.0, 0.0) * system.predict_test(state)
        state = system.step(state)
        new = system.loss(state)
        rose = (new > FLOOR * most) & (new > loss * (1 + RISE))
        return state, total, new, jnp.maximum(most, new), rises + rose

    def observe(c: Any, t: jax.Array) -> dict[str, jax.Array]:
        state, total, *_ = c
        out = {o.name: o.function(system, state) for o in observables}
        out["escaped"] = system.escaped(state)
        if averaging:
            count = jnp.maximum(t - average_from, 0)
            error = total / jnp.maximum(count, 1) - system.test_targets()
            out["averaged_test_loss"] = jnp.where(count > 0, 0.5 * jnp.mean(jnp.square(error)), jnp.nan)
        return out

    def record(c: Any, k: jax.Array) -> Any:
        out = observe(c, k * stride)
        return lax.fori_loop(k * stride, (k + 1) * stride, step, c), out

    start = (state, total, loss, loss, jnp.zeros((), jnp.int32))
    carry, out = lax.scan(record, start, jnp.arange(records))
    carry = lax.fori_loop(records * stride, records * stride + rest, step, carry)
    last = observe(carry, jnp.asarray(records * stride + rest))
    out = {k: jnp.concatenate([v, last[k][None]]) for k, v in out.items()}
    return carry[0], carry[4], out


def series(
    system: Map, state: Any, steps: int, observables: tuple[Observable, ...]
) -> tuple[np.ndarray, dict[str, np.ndarray], Any, int]:
    """Run ``steps`` steps; record at most 4097 times, evenly, the start and the end included.

    Returns the times (in steps), the observables (each (times, ...)), the final state, and the number of steps at which
    the loss rose. Predictions on the test rows are averaged over every step of the second half, whatever is recorded.

    Cost: ``steps`` steps and losses, and one evaluation of every observable per record.
    """
    stride = max(1, -(-steps // MOST_RECORDS))
    records = steps // stride
    usable = tuple(o for o in observables if o.available(system))
    final, rises, out = _series(system, state, usable, records, stride, steps - records * stride, steps // 2)
    times = np.append(np.arange(records) * stride, steps)
    return times, {k: np.asarray(v) for k, v in out.items()}, final, int(rises)
