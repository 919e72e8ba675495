"""Plain gradient descent of a two-layer ReLU net, with the step-size rule of Luo et al. 2021: halve and start again when the
loss rises.

In the rescaled variables a step of size lr is one of h = lr / (beta1 beta2); with lr = lr0 sqrt(beta1 beta2) alpha and
beta1 beta2 = 1, h = lr0 / kappa. Only the row space of the data is advanced: n coordinates per neuron and not d.
"""

from __future__ import annotations

from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import lax

RUNNING, CONVERGED, ROSE, STEP_LIMIT = range(4)
OUTCOMES = ("running", "converged", "rose", "step-limit")
# A loss that rises by less than this part is rounding.
RISE = 1e-9


class Net(NamedTuple):
    """a : (c, N) output weights in units of beta1, w : (r, N) input weights in units of beta2."""

    a: Any
    w: Any


class Run(NamedTuple):
    """Under way: the net, the steps taken, the mean squared residual, and the largest distances so far."""

    net: Net
    steps: jax.Array
    loss: jax.Array
    far_w: jax.Array
    far_a: jax.Array
    status: jax.Array


def residual(net: Net, X: Any, y: Any, kappa: Any) -> tuple[jax.Array, jax.Array]:
    """f - y, (n, c), and the pre-activations, (n, N)."""
    H = X @ net.w
    return kappa * jnp.maximum(H, 0) @ net.a.T - y, H


def step(net: Net, X: Any, y: Any, kappa: Any, kappa_prime: Any, h: Any) -> tuple[Net, jax.Array]:
    """One step of descent, and the mean squared residual before it."""
    e, H = residual(net, X, y, kappa)
    scale = h * kappa / X.shape[0]
    on = H > 0
    change_a = (scale / kappa_prime) * e.T @ jnp.maximum(H, 0)
    change_w = (scale * kappa_prime) * X.T @ jnp.where(on, e @ net.a, 0)
    return Net(net.a - change_a, net.w - change_w), jnp.mean(jnp.square(e))


@partial(jax.jit, static_argnames=("steps",))
def descend(net: Net, X: Any, y: Any, kappa: Any, kappa_prime: Any, h: Any, steps: int) -> tuple[Net, jax.Array]:
    """So many steps; the net after them, and the mean squared residual before each, (steps,)."""

    def one(now: Net, _: Any) -> tuple[Net, jax.Array]:
        return step(now, X, y, kappa, kappa_prime, h)

    return lax.scan(one, net, None, length=steps)


@jax.jit
def train(first: Net, share: Any, X: Any, y: Any, kappa: Any, kappa_prime: Any, h: Any, target: Any, most: Any) -> Run:
    """From the start to the target, to the first rise of the loss, or to ``most`` steps.

    ``share``, (N,), counts the neurons whose distance is measured. Distances are looked at after every step.
    """

    def begin() -> Run:
        none = jnp.zeros((), X.dtype)
        return Run(first, jnp.zeros((), jnp.int32), jnp.full((), jnp.inf, X.dtype), none, none, jnp.zeros((), jnp.int32))

    def body(s: Run) -> Run:
        new, loss = step(s.net, X, y, kappa, kappa_prime, h)
        rose = jnp.logical_not(loss <= s.loss * (1 + RISE))
        status = jnp.where(s.steps >= most, STEP_LIMIT, jnp.where(rose, ROSE, RUNNING))
        status = jnp.where(loss <= target, CONVERGED, status).astype(jnp.int32)
        far_w = jnp.sqrt(jnp.dot(share, jnp.sum(jnp.square(s.net.w - first.w), axis=0)))
        far_a = jnp.sqrt(jnp.dot(share, jnp.sum(jnp.square(s.net.a - first.a), axis=0)))
        # The loss is that of the net before the step: where it decides, the net stays.
        keep = status != RUNNING
        net = jax.tree.map(lambda old, now: jnp.where(keep, old, now), s.net, new)
        return Run(net, s.steps + 1, loss, jnp.maximum(s.far_w, far_w), jnp.maximum(s.far_a, far_a), status)

    return lax.while_loop(lambda s: s.status == RUNNING, body, begin())
