"""The observables that runs record; statistics of whole runs (Lyapunov exponent, period) come from the survey."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

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

SHARPNESS = Observable(
    "sharpness", "1", "step size times top Hessian eigenvalue", lambda s, x: s.sharpness(x), (), ("sharpness",)
)
LEADING = Observable(
    "leading_curvatures", "1", "step size times the kernel's leading eigenvalues, largest first",
    lambda s, x: s.leading_curvatures(x)[::-1][:LEADING_MODES], ("mode",), ("leading_curvatures",),
)  # fmt: skip
TOP_MODE = Observable(
    "top_mode", "1", "unit eigenvector of the kernel's top eigenvalue", lambda s, x: s.top_mode(x), ("sample",), ("top_mode",)
)
NONLINEARITY = Observable(
    "nonlinearity", "1", "terms of second over first order in a step", lambda s, x: s.nonlinearity(x), (), ("nonlinearity",)
)
PROJECTED_Q = Observable(
    "projected_q", "1/parameter^2", "extreme eigenvalues of the second derivative along the top mode",
    lambda s, x: s.projected_Q(x)[jnp.asarray([0, -1])], ("end",), ("projected_Q",),
)  # fmt: skip
CONSERVED = Observable("conserved", "1", "E~ recomputed from the state", lambda s, x: s.conserved(x), (), ("conserved",))

LEADING_MODES = 4
STANDARD = (LOSS, RESIDUAL, CURVATURE, SHARPNESS, LEADING, TOP_MODE, NONLINEARITY, PROJECTED_Q, CONSERVED, TEST_LOSS)


def with_projection(values: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """The series with ``top_mode`` made continuous in sign, and ``top_residual``, the residual's component along it."""
    if "top_mode" not in values:
        return values
    v = values["top_mode"]
    turn = np.sign(np.sum(v[1:] * v[:-1], axis=1))
    v = v * np.concatenate([[1.0], np.cumprod(np.where(turn == 0, 1.0, turn))])[:, None]
    z = values["residual"].reshape(v.shape)
    return values | {"top_mode": v, "top_residual": np.sum(v * z, axis=1)}
