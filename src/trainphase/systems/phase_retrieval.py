"""Gradient descent on generalised phase retrieval, in parameter space.

g(x; w) = (gamma / 2) (x.w)^2 + c x.w (Chen, Balasubramanian, Ghosal, Agrawalla 2023). On orthogonal inputs each sample
follows the cubic map with a_i = (lr |x_i|^2 / n) (gamma y_i + c^2 / 2).
"""

from __future__ import annotations

from typing import Any, ClassVar

import jax
import jax.numpy as jnp
import numpy as np

from trainphase.data import design_matrix
from trainphase.errors import RequestError
from trainphase.systems._regression import Data, Regression, draw, start_flag, step_size


class PhaseRetrieval(Regression):
    """State: the weights w, shape (d,). ``residual`` is z_i = gamma (lr |x_i|^2 / n) (g_i - y_i), dimensionless."""

    gamma: float | Data
    c: float | Data
    pinv: Data
    branch: Data
    theory: ClassVar[str] = "phase-retrieval"

    def predict(self, state: jax.Array, X: Data) -> jax.Array:
        """(gamma / 2) p^2 + c p with p = X w."""
        p = X @ state
        return (0.5 * self.gamma * p + self.c) * p

    def step(self, state: jax.Array) -> jax.Array:
        """w - lr grad of the loss."""
        p = self.X @ state
        error = (0.5 * self.gamma * p + self.c) * p - self.targets()
        return state - (self.lr / self.X.shape[0]) * ((error * (self.gamma * p + self.c)) @ self.X)

    def residual(self, state: jax.Array) -> jax.Array:
        """z_i, shape (n,)."""
        norm2 = jnp.sum(jnp.square(self.X), axis=1)
        return self.gamma * self.lr * norm2 / self.X.shape[0] * self.error(state)

    def kernel(self, state: jax.Array) -> jax.Array:
        """D G D / n with D_i = gamma x_i.w + c and G = X X^T."""
        slope = self.gamma * (self.X @ state) + self.c
        return slope[:, None] * slope[None, :] * (self.X @ self.X.T) / self.X.shape[0]

    def solution(self) -> jax.Array:
        """Least-squares weights of p_i with g(p_i) = y_i, each on the teacher's branch of the square root."""
        root = jnp.sqrt(jnp.maximum(jnp.square(self.c) + 2 * self.gamma * self.targets(), 0.0))
        return self.pinv @ ((self.branch * root - self.c) / self.gamma)

    def check(self) -> None:
        """As for every regression; gamma must be above 0."""
        super().check()
        gamma, c = np.asarray(self.gamma), np.asarray(self.c)
        if not np.all(np.isfinite(gamma)) or np.any(gamma <= 0):
            raise RequestError(f"gamma = {gamma.ravel()[0]} is out of range; give a gamma above 0")
        if not np.all(np.isfinite(c)):
            raise RequestError(f"c = {c.ravel()[0]} is not a finite number; give c = 0 or a real number")

    def theory_inputs(self) -> dict[str, Any]:
        """What the theory needs: numbers and arrays, no state."""
        return {
            "lr": np.asarray(self.lr),
            "scale": np.asarray(self.scale),
            "norm2": np.sum(np.square(self.X), axis=1),
            "n": self.X.shape[0],
            "gamma": float(self.gamma),
            "c": float(self.c),
            "teacher": np.asarray(self.teacher_train),
            "noise": float(self.noise) * np.asarray(self.noise_train),
        }


def phase_retrieval(
    lr: float | None = None,
    scale: float = 1.0,
    data: str = "orthogonal",
    n: int = 20,
    d: int | None = None,
    norm: str | float = "sqrt-d",
    gamma: float = 1.0,
    c: float = 0.0,
    noise: float = 0.0,
    teacher: str = "normal",
    init_scale: float = 1.0,
    start: str = "random",
    reach: float = 1.0,
    seed: int = 0,
    n_test: int = 256,
    data_dir: str | None = None,
    search: tuple[str, ...] = (),
    a: float | None = None,
) -> PhaseRetrieval:
    """Build the system from its parameters; see ``trainphase run phase-retrieval --help`` for their meaning.

    With ``teacher="normal"`` the teacher's weights are drawn such that p = x.w* is of order one; with ``"equal"`` they
    are chosen such that every p_i is 1, so that all samples have the same target (and, with rows of one norm, the same
    a). Raises RequestError for values out of range and DataError when the images are absent.
    """
    matrix = design_matrix(data, n, d=d, seed=seed, norm=norm, data_dir=data_dir, search=search, n_test=n_test)
    x, dim = matrix.X, matrix.X.shape[1]
    typical = float(np.sqrt(np.mean(np.sum(x * x, axis=1))))
    pinv = np.linalg.pinv(x)
    if teacher == "normal":
        weights = draw(seed, 1, dim) / typical
    elif teacher == "equal":
        weights = pinv @ np.ones(n)
    else:
        raise RequestError(f"teacher = {teacher!r} is unknown; give normal or equal")
    p, p_test = x @ weights, matrix.X_test @ weights
    system = PhaseRetrieval(
        lr=1.0, scale=scale, noise=noise, reach=reach, X=x, X_test=matrix.X_test,
        teacher_train=(0.5 * gamma * p + c) * p, teacher_test=(0.5 * gamma * p_test + c) * p_test,
        noise_train=draw(seed, 2, n), state0=init_scale * draw(seed, 3, dim) / typical, leading=start_flag(start),
        gamma=gamma, c=c, pinv=pinv, branch=np.where(gamma * p + c >= 0, 1.0, -1.0),
    )  # fmt: skip
    system.check()  # first: at gamma = 0 there is no step size for ``a``
    return step_size(system, lr, a)
