"""Taylor models: gradient descent on the expansion of any model around its parameters.

To second order this is the quadratic regression model with the model's own Jacobian and second derivative; neither is
ever formed: an expansion is evaluated by forward derivatives along the displacement, and differentiated backwards.
"""

from __future__ import annotations

from typing import Any, ClassVar

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np

from trainphase.errors import RequestError
from trainphase.problem import Problem
from trainphase.system import Map


class Taylor(Map):
    """Gradient descent of step size ``lr`` on the expansion of a problem; the state is the displacement phi, shape (P,).

    f(theta_0 + phi) = f + J phi + (1/2) Q(phi, phi) to second order, f + J phi to first.
    """

    lr: float | jax.Array
    theta: jax.Array | np.ndarray
    problem: Problem = eqx.field(static=True)
    order: int = eqx.field(static=True, default=2)
    vocabularies: ClassVar[tuple[str, ...]] = ("edge", "training")
    lanes: ClassVar[int] = 64
    settled: ClassVar[float] = 1e-10

    def init(self) -> jax.Array:
        """No displacement."""
        return jnp.zeros_like(jnp.asarray(self.theta))

    def residual(self, state: jax.Array) -> jax.Array:
        """Residual of the expansion, target units, shape (D,)."""
        theta = jnp.asarray(self.theta)

        def slope(at: jax.Array) -> tuple[jax.Array, jax.Array]:
            return jax.jvp(self.problem.residual, (at,), (state,))

        if self.order == 1:
            z, first = slope(theta)
            return z + first
        (z, first), (_, second) = jax.jvp(slope, (theta,), (state,))
        return z + first + 0.5 * second

    def step(self, state: jax.Array) -> jax.Array:
        """phi -> phi - lr J^T z, J the Jacobian of the expansion."""
        z, pull = jax.vjp(self.residual, state)
        return state - self.lr * pull(z)[0]

    def observed_step(self, state: jax.Array, memory: Any, look: bool) -> tuple[Any, jax.Array, jax.Array, Any]:
        """A step with its loss; the residual is evaluated once for both."""
        z, pull = jax.vjp(self.residual, state)
        loss = 0.5 * jnp.sum(jnp.square(z))
        curvature = self.curvature(state) if look else jnp.full_like(loss, jnp.nan)
        return state - self.lr * pull(z)[0], loss, curvature, memory

    def leading_curvatures(self, state: jax.Array) -> jax.Array:
        """lr times the eigenvalues of J J^T, ascending, shape (min(D, P),). Cost: min(D, P) derivatives of the model."""
        rows = jax.jacrev if self.problem.targets.size <= self.problem.size else jax.jacfwd
        J = rows(self.residual)(state)
        gram = J @ J.T if J.shape[0] <= J.shape[1] else J.T @ J
        return self.lr * jnp.linalg.eigvalsh(gram)

    def curvature(self, state: jax.Array) -> jax.Array:
        """lr times the largest eigenvalue of J J^T, dimensionless."""
        return self.leading_curvatures(state)[-1]

    def check(self) -> None:
        """lr above 0."""
        if not np.all(np.asarray(self.lr) > 0):
            raise RequestError(f"lr = {np.min(self.lr):g} is no step size; give a number above 0")


def taylor(problem: Problem, order: int = 2, lr: float = 0.1) -> Taylor:
    """The Taylor model of a problem around its parameters, to be run, or drawn over ``lr``.

    Parameters
    ----------
    order : 1 (the linearised model, whose kernel is constant) or 2 (the quadratic regression model).
    lr : step size of gradient descent on the sum of squares over two.

    Returns a system: ``tp.run(tp.taylor(problem), lr=0.2)``. Raises RequestError for another order.
    """
    if not isinstance(problem, Problem):
        raise RequestError(f"{type(problem).__name__} is no problem; give trainphase.Problem(fn, params, data)")
    if order not in (1, 2):
        raise RequestError(f"order = {order} is not available; give 1 or 2")
    return Taylor(lr=lr, theta=np.asarray(problem.flat()), problem=problem, order=order)
