"""Gradient descent on any problem, plain or with momentum, and the curvature of the loss along it.

Curvatures are in units of the step size's own threshold, so that 2 is the edge of stability whatever the method: with
eigenvalue lambda, plain gradient descent is stable below lambda = 2 / lr, with momentum b in Polyak's form (m = b m + g,
theta = theta - lr m) below (2 + 2 b) / lr, and in Nesterov's (theta = theta - lr (g + b m)) below (2 + 2 b) / ((1 + 2 b) lr)
(Cohen et al. 2021, 2103.00065). What is reported is 2 lambda / threshold; without momentum that is lr lambda.
"""

from __future__ import annotations

from typing import Any, NamedTuple, cast

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np

from trainphase.errors import RequestError
from trainphase.problem import Problem
from trainphase.systems._training import Number, Training

METHODS = ("polyak", "nesterov")
ADAPTIVE = ("adam", "rmsprop")


class Moving(NamedTuple):
    """theta, and the velocity m; both of shape (P,)."""

    theta: jax.Array
    velocity: jax.Array


class Descent(Training):
    """Full-batch gradient descent of step size ``lr``; with ``momentum`` b the state is :class:`Moving`, else theta.

    method : "polyak" or "nesterov", where there is momentum.
    """

    momentum: Number | None = None
    method: str = eqx.field(static=True, default="polyak")

    def init(self) -> Any:
        """The problem's own parameters, at rest."""
        theta = self.problem.flat()
        return theta if self.momentum is None else Moving(theta, jnp.zeros_like(theta))

    def place(self, state: Any) -> jax.Array:
        """theta, shape (P,)."""
        return state if self.momentum is None else state.theta

    def moved(self, state: Any, gradient: jax.Array) -> Any:
        """theta - lr g; with momentum m = b m + g, and theta - lr m or (Nesterov) theta - lr (g + b m)."""
        if self.momentum is None:
            return state - self.lr * gradient
        velocity = self.momentum * state.velocity + gradient
        ahead = gradient + self.momentum * velocity if self.method == "nesterov" else velocity
        return Moving(state.theta - self.lr * ahead, velocity)

    def rate(self) -> jax.Array:
        """lr; lr / (1 + b); lr (1 + 2 b) / (1 + b)."""
        if self.momentum is None:
            return jnp.asarray(self.lr)
        b = jnp.asarray(self.momentum)
        return jnp.asarray(self.lr) * ((1 + 2 * b) / (1 + b) if self.method == "nesterov" else 1 / (1 + b))

    def check(self) -> None:
        """lr above 0, momentum in [0, 1)."""
        super().check()
        b = np.asarray(0.0 if self.momentum is None else self.momentum)
        if not np.all((b >= 0) & (b < 1)):
            wrong = float(b.ravel()[np.argmax(~((b >= 0) & (b < 1)).ravel())])
            raise RequestError(f"momentum = {wrong:g} is out of range; give a number from 0 to below 1")


def descent(problem: Problem, lr: float = 0.1, momentum: float | None = None, method: Any = "polyak") -> Any:
    """Training on a problem, to be run, or drawn over ``lr`` and ``momentum``.

    Parameters
    ----------
    lr : step size.
    momentum : b in [0, 1), or None; for Adam beta1, default 0.9.
    method : "polyak" (gradient descent, with momentum the heavy ball) or "nesterov"; "adam" or "rmsprop" as optax has them;
        or a function from a step size to an optax transformation, such as ``optax.lion``, whose curvature is not reported.

    Returns a system: ``tp.run(tp.descent(problem), lr=0.2)``. Raises RequestError for another method or no problem, and
    where optax is wanted and not installed.
    """
    if not isinstance(cast(object, problem), Problem):
        raise RequestError(f"{type(problem).__name__} is no problem; give trainphase.Problem(fn, params, data)")
    if callable(method) or method in ADAPTIVE:
        from trainphase.systems._optax import stepped

        return stepped(problem, lr, momentum, method)
    if method not in METHODS:
        raise RequestError(f"method = {method!r} is unknown; give {', '.join(METHODS + ADAPTIVE)}, or an optax optimiser")
    return Descent(lr=lr, problem=problem, momentum=momentum, method=method)
