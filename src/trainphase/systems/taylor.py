"""Taylor models: training on the expansion of any model around a point of its parameter space.

To second order this is the quadratic regression model with the model's own Jacobian and second derivative. No derivative is
ever formed as an array: an expansion is evaluated by nested forward derivatives along the displacement. It is a problem in
its own right, with the loss of the model it expands, so that whatever trains or measures a problem works on it.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, cast

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np

from trainphase.errors import RequestError
from trainphase.problem import Problem
from trainphase.systems.descent import METHODS, Descent, descent

ORDERS = (1, 2, 3)


def series(f: Callable[[jax.Array], Any], at: jax.Array, along: jax.Array, order: int) -> Any:
    """sum_k (1/k!) D^k f(at)[along, .., along] for k up to ``order``; f may return any pytree of arrays.

    Cost: nested forward derivatives, about 3^order evaluations of f before the compiler joins what they share.
    """
    terms = [f]
    for _ in range(order):
        terms.append(_derivative(terms[-1], along))
    # The derivative of the highest order brings those below it along: the compiler computes each once.
    parts = [term(at) for term in terms]
    weights = [1.0 / math.factorial(k) for k in range(order + 1)]
    return jax.tree.map(lambda *leaves: sum(w * leaf for w, leaf in zip(weights, leaves, strict=True)), *parts)


def _derivative(f: Callable[[jax.Array], Any], along: jax.Array) -> Callable[[jax.Array], Any]:
    return lambda x: jax.jvp(f, (x,), (along,))[1]


class Expansion(Problem):
    """The Taylor expansion of a problem's model around ``at``, to ``order``; theta is the displacement, its start 0.

    f(at + phi) = f + J phi + (1/2) Q(phi, phi) + (1/6) C(phi, phi, phi), everything at ``at``.
    """

    at: np.ndarray | jax.Array
    order: int = eqx.field(static=True)

    def __init__(self, problem: Problem, order: int, at: Any = None) -> None:
        point = problem.flat() if at is None else jnp.asarray(at)
        for name in ("inputs", "targets", "fn", "loss", "reduction", "weight"):
            setattr(self, name, getattr(problem, name))
        self.params = jax.tree.map(lambda leaf: np.zeros(np.shape(leaf), np.asarray(leaf).dtype), problem.params)
        self.at, self.order = np.asarray(point), order

    def predict(self, theta: jax.Array, inputs: Any) -> jax.Array:
        """The expansion's outputs at the displacement ``theta``."""
        return series(lambda t: self.fn(self.restore(t), inputs), jnp.asarray(self.at), theta, self.order)

    def loss_and_gradient(self, theta: jax.Array) -> tuple[jax.Array, jax.Array]:
        """The loss and its gradient.

        The gradient is J^T u + Q(phi, .)^T u + .. for u = dloss/df: the expansion, to one order less, of the gradient of
        u . f. Forward derivatives of one reverse pass are cheaper than a reverse pass through nested forward ones.
        """
        f = self.outputs(theta)
        # u depends on theta: held still, it would leave the kernel's share out of the derivative of a step.
        u = self.weight * self.residual_of_outputs(f)

        def pulled(t: jax.Array) -> jax.Array:
            return jax.vjp(lambda s: jnp.ravel(self.fn(self.restore(s), self.inputs)), t)[1](u)[0]

        return self.loss_of_outputs(f), series(pulled, jnp.asarray(self.at), theta, self.order - 1)


class Taylor(Descent):
    """Gradient descent on an :class:`Expansion`; the state is the displacement phi, shape (P,), with momentum Moving."""

    @property
    def theta(self) -> jax.Array | np.ndarray:
        """The point of the expansion, shape (P,)."""
        return self.problem.at  # pyright: ignore[reportAttributeAccessIssue]


def taylor(
    problem: Problem, order: int = 2, lr: float = 0.1, at: Any = None, momentum: float | None = None, method: Any = "polyak"
) -> Any:
    """The Taylor model of a problem around a point, to be run, or drawn over ``lr`` and ``momentum``.

    Parameters
    ----------
    order : 1 (the linearised model, whose kernel is constant), 2 (the quadratic regression model) or 3.
    lr : step size of gradient descent on the problem's own loss.
    at : the point, shape (P,), or a pytree like the parameters; default: the problem's parameters.
    momentum, method : as for ``trainphase.descent``.

    Returns a system: ``tp.run(tp.taylor(problem), lr=0.2)``. Raises RequestError for another order, or a point that does
    not fit.
    """
    if not isinstance(cast(object, problem), Problem):
        raise RequestError(f"{type(problem).__name__} is no problem; give trainphase.Problem(fn, params, data)")
    if isinstance(problem, Expansion):
        raise RequestError(f"the problem is an expansion of order {problem.order} already; give the one it is of")
    if order not in ORDERS:
        raise RequestError(f"order = {order} is not available; give 1, 2 or 3")
    expansion = Expansion(problem, order, _point(problem, at))
    if isinstance(method, str) and method in METHODS:
        return Taylor(lr=lr, problem=expansion, momentum=momentum, method=method)
    return descent(expansion, lr, momentum, method)


def _point(problem: Problem, at: Any) -> np.ndarray | None:
    if at is None:
        return None
    leaves = jax.tree.leaves(at)
    point = np.concatenate([np.ravel(np.asarray(leaf)) for leaf in leaves]) if leaves else np.zeros(0)
    if point.shape != (problem.size,) or point.dtype.kind != "f":
        raise RequestError(f"at has {point.size} numbers of type {point.dtype}; give the model's {problem.size} parameters")
    if not np.all(np.isfinite(point)):
        raise RequestError("at holds a number that is not finite; give parameters from before training diverged")
    return point
