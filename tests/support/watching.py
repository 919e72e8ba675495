"""Fifty steps of a system, watched, for the tests that compare one dynamics written several ways."""

from __future__ import annotations

from typing import Any

import jax
import numpy as np

from trainphase._arrays import as_leaves

EPS = float(np.finfo(float).eps)
STEPS = 50
Array = np.ndarray


@jax.jit
def _watch(system: Any) -> Any:
    def one(state: Any, _: Any) -> Any:
        return system.step(state), (system.residual(state), system.curvature(state))

    return jax.lax.scan(one, system.init(), None, length=STEPS + 1)[1]


def watch(system: Any) -> tuple[Array, Array]:
    """Residual and curvature before each of STEPS + 1 steps, the step axis first; call within double precision."""
    z, curvature = _watch(as_leaves(system, "float64"))
    return np.asarray(z), np.asarray(curvature)
