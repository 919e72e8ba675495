"""The contenders of quadratic.py that run one trajectory at a time: the model's draws, NumPy steps, and a jitted JAX loop."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

EVERY = 5  # steps per look at the curvature, as in trainphase


class Draws(NamedTuple):
    """Q: (D P, P), Q[a P + i, j] = Q_a,ij, symmetric. z: (D,). J: (D, P). Standard draws of one seed, float64."""

    Q: np.ndarray
    z: np.ndarray
    J: np.ndarray

    def cube(self, dtype: str) -> np.ndarray:
        """Q_a,ij, shape (D, P, P)."""
        D, P = self.J.shape
        return self.Q.reshape(D, P, P).astype(dtype)

    def start(self, sigma_z: float, sigma_J: float, dtype: str) -> tuple[np.ndarray, np.ndarray]:
        """Residual and Jacobian of the start at rescaled widths and lr = 1; source: theory, (29)."""
        D, P = self.J.shape
        return (sigma_z / D * self.z).astype(dtype), (sigma_J / (D * P) ** 0.25 * self.J).astype(dtype)


def printed(Q: np.ndarray, z: np.ndarray, J: np.ndarray, half: float) -> tuple[np.ndarray, np.ndarray]:
    """One step as (25) and (26) of the paper stand there; Q of shape (D, P, P)."""
    u = z @ J
    return z - J @ u + half * np.einsum("aij,i,j->a", Q, u, u), J - np.einsum("aij,j->ai", Q, u)


def careful(Q: np.ndarray, z: np.ndarray, J: np.ndarray, half: float) -> tuple[np.ndarray, np.ndarray]:
    """One step with one matrix-vector product."""
    u = z @ J
    M = (Q.reshape(-1, u.size) @ u).reshape(J.shape)
    return z - J @ u + half * (M @ u), J - M


def numpy_run(step: Callable[..., Any], Q: np.ndarray, start: Any, steps: int, fault: bool) -> tuple[Any, ...]:
    """(z, J, largest loss, largest curvature seen) after ``steps`` steps of one trajectory."""
    z, J = start
    w = z / np.linalg.norm(z)
    half = z.dtype.type(0.45 if fault else 0.5)
    loss_max, top = 0.0, 0.0
    for k in range(steps):
        loss_max = max(loss_max, 0.5 * float(z @ z))
        if k % EVERY == 0:
            image = J @ (w @ J)
            top = max(top, float(w @ image))
            w = image / np.linalg.norm(image)
        z, J = step(Q, z, J, half)
    return z, J, max(loss_max, 0.5 * float(z @ z)), top


@partial(jax.jit, static_argnames=("form",))
def jax_run(Q: jax.Array, z: jax.Array, J: jax.Array, steps: jax.Array, form: str) -> tuple[jax.Array, ...]:
    """The same, compiled; Q of shape (D, P, P) for ``printed``, (P, D P) for ``left`` and (D P, P) for ``right``."""

    def step(z: jax.Array, J: jax.Array) -> tuple[jax.Array, jax.Array]:
        u = z @ J
        if form == "printed":
            return z - J @ u + 0.5 * jnp.einsum("aij,i,j->a", Q, u, u), J - jnp.einsum("aij,j->ai", Q, u)
        M = jnp.reshape(u @ Q if form == "left" else Q @ u, J.shape)
        return z - J @ u + 0.5 * (M @ u), J - M

    def body(_: Any, c: Any) -> Any:
        z, J, w, loss_max, top = c
        image = J @ (w @ J)
        top = jnp.maximum(top, w @ image)
        w = image / jnp.linalg.norm(image)
        for _ in range(EVERY):
            loss_max = jnp.maximum(loss_max, 0.5 * (z @ z))
            z, J = step(z, J)
        return z, J, w, loss_max, top

    zero = jnp.zeros((), z.dtype)
    z, J, _, loss_max, top = lax.fori_loop(0, steps // EVERY, body, (z, J, z / jnp.linalg.norm(z), zero, zero))
    return z, J, jnp.maximum(loss_max, 0.5 * (z @ z)), top
