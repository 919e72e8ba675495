"""Gradient descent on a two-layer net with quadratic activation and fixed outer layer, in parameter space.

f(x; U) = (1 / (sqrt(m) d)) sum_j (x.u_j)^2 (Chen, Balasubramanian, Ghosal, Agrawalla 2023). On orthogonal inputs each
sample follows the cubic map with a_i = 2 lr |x_i|^2 y_i / (n sqrt(m) d).
"""

from __future__ import annotations

from typing import Any, ClassVar

import jax
import jax.numpy as jnp
import numpy as np

from trainphase.data import design_matrix
from trainphase.errors import RequestError
from trainphase.systems._regression import Data, Regression, draw, start_flag, step_size


class QuadraticNet(Regression):
    """State: the weights U, shape (m, d). ``residual`` is z_i = s_i (f_i - y_i), s_i = 2 lr |x_i|^2 / (n sqrt(m) d)."""

    teacher_weights: Data
    theory: ClassVar[str] = "quadratic-net"

    @property
    def _factor(self) -> float:
        m, d = self.state0.shape
        return 1.0 / (float(np.sqrt(m)) * d)

    def predict(self, state: jax.Array, X: Data) -> jax.Array:
        """(1 / (sqrt(m) d)) sum_j (x.u_j)^2."""
        return self._factor * jnp.sum(jnp.square(X @ state.T), axis=1)

    def step(self, state: jax.Array) -> jax.Array:
        """U - lr grad of the loss."""
        h = self.X @ state.T
        error = self._factor * jnp.sum(jnp.square(h), axis=1) - self.targets()
        return state - (2 * self._factor * self.lr / self.X.shape[0]) * ((error[:, None] * h).T @ self.X)

    def residual(self, state: jax.Array) -> jax.Array:
        """z_i, shape (n,)."""
        norm2 = jnp.sum(jnp.square(self.X), axis=1)
        return 2 * self._factor * self.lr * norm2 / self.X.shape[0] * self.error(state)

    def kernel(self, state: jax.Array) -> jax.Array:
        """(4 / (m d^2)) G * H / n elementwise, with G = X X^T and H = (X U^T)(X U^T)^T."""
        h = self.X @ state.T
        return 4 * self._factor**2 * (self.X @ self.X.T) * (h @ h.T) / self.X.shape[0]

    def solution(self) -> jax.Array:
        """The teacher's weights times the square root of the scale; the noise is not fitted."""
        return jnp.sqrt(jnp.asarray(self.scale)) * self.teacher_weights

    def theory_inputs(self) -> dict[str, Any]:
        """What the theory needs: numbers and arrays, no state."""
        m, d = self.state0.shape
        return {
            "lr": np.asarray(self.lr),
            "scale": np.asarray(self.scale),
            "norm2": np.sum(np.square(self.X), axis=1),
            "n": self.X.shape[0],
            "m": m,
            "d": d,
            "teacher": np.asarray(self.teacher_train),
            "noise": float(self.noise) * np.asarray(self.noise_train),
        }


def quadratic_net(
    lr: float | None = None,
    scale: float = 1.0,
    data: str = "orthogonal",
    n: int = 80,
    d: int | None = None,
    m: int = 400,
    norm: str | float = "sqrt-d",
    noise: float = 0.0,
    init_scale: float = 1.0,
    start: str = "random",
    reach: float = 1.0,
    seed: int = 0,
    n_test: int = 256,
    data_dir: str | None = None,
    search: tuple[str, ...] = (),
    a: float | None = None,
) -> QuadraticNet:
    """Build the system from its parameters; see ``trainphase run quadratic-net --help`` for their meaning.

    Teacher and initial weights are standard normal (the latter times ``init_scale``). Raises RequestError for values
    out of range and DataError when the images are absent.
    """
    if int(m) < 1:
        raise RequestError(f"m = {m} hidden units make no net; give at least 1")
    matrix = design_matrix(data, n, d=d, seed=seed, norm=norm, data_dir=data_dir, search=search, n_test=n_test)
    x, dim, m = matrix.X, matrix.X.shape[1], int(m)
    weights = draw(seed, 1, m, dim)
    factor = 1.0 / (np.sqrt(m) * dim)
    system = QuadraticNet(
        lr=1.0, scale=scale, noise=noise, reach=reach, X=x, X_test=matrix.X_test,
        teacher_train=factor * np.sum((x @ weights.T) ** 2, axis=1),
        teacher_test=factor * np.sum((matrix.X_test @ weights.T) ** 2, axis=1),
        noise_train=draw(seed, 2, n), state0=init_scale * draw(seed, 3, m, dim), leading=start_flag(start),
        teacher_weights=weights,
    )  # fmt: skip
    return step_size(system, lr, a)
