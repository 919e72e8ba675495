"""Plain gradient descent of a two-layer ReLU net, with the step-size rule of Luo et al. 2021: halve and start again when the
loss rises.

In the rescaled variables a step of size lr is one of h = lr / (beta1 beta2); with lr = lr0 sqrt(beta1 beta2) alpha and
beta1 beta2 = 1, h = lr0 / kappa. What is advanced are the pre-activations, n numbers per neuron, by the Gram matrix: one
product a step instead of two, and none with the d input weights.
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
    """At the end: the net, the steps taken, the mean squared residual, and the largest distances."""

    net: Net
    steps: jax.Array
    loss: jax.Array
    far_w: jax.Array
    far_a: jax.Array
    status: jax.Array


class _State(NamedTuple):
    """a : (c, N). H : pre-activations, (n, N). forces : their sum, (n, N): w has changed by -X^T forces, H by -X X^T forces."""

    a: jax.Array
    H: jax.Array
    forces: jax.Array


class _Problem(NamedTuple):
    """G = X X^T, targets (n, c), scales, and the rescaled step h."""

    G: Any
    y: Any
    kappa: Any
    kappa_prime: Any
    h: Any


def _begin(first: Net, X: Any) -> _State:
    H = X @ first.w
    return _State(jnp.asarray(first.a), H, jnp.zeros_like(H))


def _end(first: Net, X: Any, now: _State) -> Net:
    return Net(now.a, first.w - X.T @ now.forces)


def _step(p: _Problem, now: _State) -> tuple[_State, jax.Array]:
    """One step of descent, and the mean squared residual before it."""
    R = jnp.maximum(now.H, 0)
    e = p.kappa * R @ now.a.T - p.y
    scale = p.h * p.kappa / p.y.shape[0]
    force = (scale * p.kappa_prime) * jnp.where(now.H > 0, e @ now.a, 0)
    new = _State(now.a - (scale / p.kappa_prime) * e.T @ R, now.H - p.G @ force, now.forces + force)
    return new, jnp.mean(jnp.square(e))


@partial(jax.jit, static_argnames=("steps",))
def descend(net: Net, X: Any, y: Any, kappa: Any, kappa_prime: Any, h: Any, steps: int) -> tuple[Net, jax.Array]:
    """So many steps; the net after them, and the mean squared residual before each, (steps,)."""
    problem = _Problem(X @ X.T, y, kappa, kappa_prime, h)
    now, losses = lax.scan(lambda now, _: _step(problem, now), _begin(net, X), None, length=steps)
    return _end(net, X, now), losses


@jax.jit
def train(first: Net, share: Any, X: Any, y: Any, kappa: Any, kappa_prime: Any, h: Any, target: Any, most: Any) -> Run:
    """From the start to the target, to the first rise of the loss, or to ``most`` steps.

    ``share``, (N,), counts the neurons whose distance is measured. Distances are looked at after every step.
    """
    problem, start = _Problem(X @ X.T, y, kappa, kappa_prime, h), _begin(first, X)
    none = jnp.zeros((), X.dtype)

    def body(s: tuple[_State, Run]) -> tuple[_State, Run]:
        now, run = s
        new, loss = _step(problem, now)
        rose = jnp.logical_not(loss <= run.loss * (1 + RISE))
        status = jnp.where(run.steps >= most, STEP_LIMIT, jnp.where(rose, ROSE, RUNNING))
        status = jnp.where(loss <= target, CONVERGED, status).astype(jnp.int32)
        # |X^T forces|^2 = forces . X X^T forces
        far_w = jnp.sqrt(jnp.maximum(jnp.dot(share, jnp.sum(now.forces * (start.H - now.H), axis=0)), 0))
        far_a = jnp.sqrt(jnp.dot(share, jnp.sum(jnp.square(now.a - first.a), axis=0)))
        # The loss is that of the net before the step: where it decides, the net stays.
        now = jax.tree.map(lambda old, new: jnp.where(status != RUNNING, old, new), now, new)
        return now, Run(first, run.steps + 1, loss, jnp.maximum(run.far_w, far_w), jnp.maximum(run.far_a, far_a), status)

    begin = Run(first, jnp.zeros((), jnp.int32), jnp.full((), jnp.inf, X.dtype), none, none, jnp.zeros((), jnp.int32))
    now, run = lax.while_loop(lambda s: s[1].status == RUNNING, body, (start, begin))
    return run._replace(net=_end(first, X, now))
