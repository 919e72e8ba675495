"""Evolve: one run of a Map with observables recorded along it."""

from __future__ import annotations

from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from trainphase.observable import Observable
from trainphase.system import Map

MOST_RECORDS = 4096


@partial(jax.jit, static_argnames=("observables", "records", "stride", "average_from"))
def _series(
    system: Any, state: Any, observables: tuple[Observable, ...], records: int, stride: int, average_from: int
) -> Any:
    """Record before the first step and after every ``stride`` steps, ``records`` times in all."""
    averaging = hasattr(system, "predict_test")
    total = jnp.zeros_like(system.predict_test(state)) if averaging else jnp.zeros(())

    def step(t: jax.Array, c: tuple[Any, jax.Array]) -> tuple[Any, jax.Array]:
        state, total = c
        if averaging:
            total = total + jnp.where(t >= average_from, 1.0, 0.0) * system.predict_test(state)
        return system.step(state), total

    def record(c: tuple[Any, jax.Array], k: jax.Array) -> tuple[Any, Any]:
        state, total = c
        out = {o.name: o.function(system, state) for o in observables}
        out["escaped"] = system.escaped(state)
        if averaging:
            count = jnp.maximum(k * stride - average_from, 0)
            mean = total / jnp.maximum(count, 1)
            loss = 0.5 * jnp.mean(jnp.square(mean - system.test_targets()))
            out["averaged_test_loss"] = jnp.where(count > 0, loss, jnp.nan)
        c = lax.fori_loop(k * stride, (k + 1) * stride, step, c)
        return c, out

    return lax.scan(record, (state, total), jnp.arange(records))


def series(
    system: Map, state: Any, steps: int, observables: tuple[Observable, ...]
) -> tuple[np.ndarray, dict[str, np.ndarray], Any]:
    """Run ``steps`` steps; record at most 4096 times, evenly, the start and the end included.

    Returns the times (in steps), the observables (each (times, ...)), and the last recorded state. Predictions on the
    test rows are averaged over every step of the second half, whatever is recorded.

    Cost: ``steps`` steps, and one evaluation of every observable per record.
    """
    stride = max(1, -(-steps // MOST_RECORDS))
    records = steps // stride + 1
    usable = tuple(o for o in observables if o.available(system))
    (last, _), out = _series(system, state, usable, records, stride, steps // 2)
    return np.arange(records) * stride, {k: np.asarray(v) for k, v in out.items()}, last
