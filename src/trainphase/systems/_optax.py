"""Training by the optimisers of optax: Adam and RMSProp with their thresholds, and any other without.

The only file of the systems that imports optax. Adaptive methods are stable below a threshold of the preconditioned Hessian
P^-1/2 H P^-1/2: RMSProp 2 / lr, Adam (2 + 2 b1) / ((1 - b1) lr), which is 38 / lr at b1 = 0.9 (Cohen et al. 2022, 2207.14484).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, ClassVar, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np

from trainphase.errors import RequestError
from trainphase.problem import Problem
from trainphase.systems._training import Number, Trained, Training

BETA1 = 0.9
B2, DECAY, EPS = 0.999, 0.9, 1e-8


def optax() -> Any:
    """The module; RequestError with the install line where it is absent."""
    try:
        import optax as module
    except ImportError:
        raise RequestError("this method is one of optax, which is not installed; pip install 'trainphase[optax]'") from None
    return module


class Carried(NamedTuple):
    """theta, shape (P,), and the optimiser's own state, a pytree."""

    theta: jax.Array
    inner: Any


class _Stepped(Trained):
    """A state that an optax transformation advances; subclasses say which one."""

    def rule(self) -> Any:
        """The transformation, at this step size."""
        raise NotImplementedError

    def init(self) -> Carried:
        """The problem's parameters, and the transformation's state for them."""
        theta = self.problem.flat()
        return Carried(theta, self.rule().init(self.problem.restore(theta)))

    def place(self, state: Carried) -> jax.Array:
        """theta, shape (P,)."""
        return state.theta

    def moved(self, state: Carried, gradient: jax.Array) -> Carried:
        """theta plus the update; parameters are handed over in their own shapes."""
        restore = self.problem.restore
        updates, inner = self.rule().update(restore(gradient), state.inner, restore(state.theta))
        # A step size of higher precision must not change that of the state from step to step.
        inner = jax.tree.map(lambda new, old: jnp.asarray(new, jnp.asarray(old).dtype), inner, state.inner)
        change = jnp.concatenate([jnp.ravel(leaf) for leaf in jax.tree.leaves(updates)])
        return Carried(state.theta + change.astype(state.theta.dtype), inner)

    def tangent(self, state: Any, v: Any) -> tuple[Any, Any]:
        """As for any map; counters have no derivative."""
        moving, counts = eqx.partition(state, eqx.is_inexact_array)
        along, nothing = eqx.partition(v, jax.tree.map(eqx.is_inexact_array, state))

        def step(x: Any) -> tuple[Any, Any]:
            new = self.step(eqx.combine(x, counts))
            return eqx.partition(new, eqx.is_inexact_array)

        new, change, counted = jax.jvp(step, (moving,), (along,), has_aux=True)
        return eqx.combine(new, counted), eqx.combine(change, nothing)


class Stepped(_Stepped):
    """Any optimiser: ``make(lr)`` returns a transformation. Its threshold is not known: the training vocabulary only."""

    make: Callable[[Any], Any] = eqx.field(static=True)

    def rule(self) -> Any:
        """What ``make`` returns."""
        return self.make(self.lr)


class Adaptive(_Stepped, Training):
    """Adam or RMSProp as optax has them; ``momentum`` is Adam's b1.

    The preconditioner P is that of the step to come: with nu the running mean of squared gradients, the present one
    included, sqrt(nu / (1 - b2^t)) + eps for Adam, sqrt(nu + eps) for RMSProp.
    """

    momentum: Number | None = None
    name: str = eqx.field(static=True, default="adam")
    vocabularies: ClassVar[tuple[str, ...]] = ("edge", "training")

    def rule(self) -> Any:
        """optax.adam(lr, b1) or optax.rmsprop(lr), all else as optax sets it."""
        module = optax()
        if self.name == "rmsprop":
            return module.rmsprop(self.lr, decay=DECAY, eps=EPS)
        return module.adam(self.lr, b1=self._beta1(), b2=B2, eps=EPS)

    def _beta1(self) -> Any:
        return BETA1 if self.momentum is None else self.momentum

    def rate(self) -> jax.Array:
        """lr (1 - b1) / (1 + b1); lr for RMSProp."""
        if self.name == "rmsprop":
            return jnp.asarray(self.lr)
        b = jnp.asarray(self._beta1())
        return jnp.asarray(self.lr) * (1 - b) / (1 + b)

    def metric(self, state: Carried) -> jax.Array:
        """P^-1/2, shape (P,)."""
        square = jnp.square(self.problem.gradient(state.theta))
        nu = jnp.concatenate([jnp.ravel(leaf) for leaf in jax.tree.leaves(state.inner[0].nu)])
        if self.name == "rmsprop":
            return (DECAY * nu + (1 - DECAY) * square + EPS) ** -0.25
        count = state.inner[0].count.astype(nu.dtype) + 1
        return (jnp.sqrt((B2 * nu + (1 - B2) * square) / (1 - B2**count)) + EPS) ** -0.5

    def check(self) -> None:
        """lr above 0, momentum in [0, 1), and none for RMSProp."""
        super().check()
        b = np.asarray(self._beta1())
        if not np.all((b >= 0) & (b < 1)):
            raise RequestError(f"momentum = {float(b.max()):g} is out of range; give a number from 0 to below 1")
        if self.name == "rmsprop" and self.momentum is not None:
            raise RequestError("rmsprop has no momentum here; leave momentum out, or take method=adam")


def stepped(problem: Problem, lr: float, momentum: float | None, method: Any) -> _Stepped:
    """Training by "adam" or "rmsprop", or by ``method(lr)``, a function that returns an optax transformation."""
    if isinstance(method, str):
        optax()
        return Adaptive(lr=lr, problem=problem, momentum=momentum, name=method)
    if momentum is not None:
        raise RequestError(f"momentum = {momentum:g} has no place in a method of your own; set it there")
    made = method(lr)
    if not (hasattr(made, "init") and hasattr(made, "update")):
        raise RequestError(f"method(lr) is a {type(made).__name__} and no optax transformation; give for example optax.adam")
    return Stepped(lr=lr, problem=problem, make=method)
