"""The observables that runs record; statistics of whole runs (Lyapunov exponent, period) come from the survey."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp

from trainphase.observable import Observable


def _test_loss(system: Any, state: Any) -> jax.Array:
    return 0.5 * jnp.mean(jnp.square(system.predict_test(state) - system.test_targets()))


LOSS = Observable("loss", "target units squared", "training loss", lambda s, x: s.loss(x))
RESIDUAL = Observable("residual", "1", "scaled residual z", lambda s, x: jnp.squeeze(s.residual(x)), ("sample",))
CURVATURE = Observable(
    "curvature", "1", "step size times top kernel eigenvalue", lambda s, x: s.curvature(x), (), ("curvature",)
)
TEST_LOSS = Observable(
    "test_loss", "target units squared", "test loss", _test_loss, (), ("predict_test", "test_targets")
)

STANDARD = (LOSS, RESIDUAL, CURVATURE, TEST_LOSS)
