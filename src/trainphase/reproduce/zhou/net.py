"""Weights and function of a trained three-layer net, which the solver of ``relu.three_layer`` does not hand out."""

from __future__ import annotations

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np

from trainphase.errors import TrainphaseError
from trainphase.systems.relu3 import Layers, ReLU3, gram

# By how much the residual may miss its prediction in a step, relative to itself.
TOLERANCE = 0.02
FIRST_STEP, MOST_STEPS = 1e-3, 20_000


@jax.jit
def _step(system: ReLU3, state: Layers, h: jax.Array) -> tuple[Layers, jax.Array, jax.Array]:
    """Weights after h with the kernel K frozen, the miss of the residual relative to itself, and mean(e^2)."""
    J, e, X = system.jacobian(state), system.residual(state), jnp.asarray(system.X)
    values, vectors = jnp.linalg.eigh(system.kappa / len(e) * gram(J, X @ X.T, system.rates))
    x = h * jnp.maximum(values, 0.0)
    small = x < 1e-8  # there (1 - exp(-x)) / x is 1 to rounding
    share = jnp.where(small, 1.0, -jnp.expm1(-x) / jnp.where(small, 1.0, x))
    along = vectors.T @ e
    push, rates = -(vectors @ (h * share * along)) / len(e), system.rates
    new = Layers(
        state.W1 + rates[0] * jnp.einsum("n,knm,nd->kmd", push, J.s1, X),
        state.W2 + rates[1] * jnp.einsum("n,knp,knm->kpm", push, J.s2, J.h1),
        state.a + rates[2] * jnp.einsum("n,knm->km", push, J.h2),
    )
    after = system.residual(new)
    miss = jnp.linalg.norm(after - vectors @ (jnp.exp(-x) * along)) / jnp.linalg.norm(e)
    return new, miss, jnp.mean(jnp.square(after))


def flow(system: ReLU3, target: float) -> Layers:
    """Weights at the end of gradient flow, where mean(e^2) <= ``target``; call it under double precision.

    A step solves e' = -K e with K frozen and is taken when the residual that its weights give misses that by a fiftieth
    of itself at most. First order in the step: relative distances are good to some 3 %, enough for a picture of f.
    Raises TrainphaseError when the target is not reached in 20 000 steps.
    """
    state, h = system.init(), FIRST_STEP
    for _ in range(MOST_STEPS):
        new, miss, loss = _step(system, state, jnp.asarray(h))
        error = float(miss)
        if error <= TOLERANCE:
            state = new
            if float(loss) <= target:
                return state
        h *= float(np.clip(0.8 * TOLERANCE / max(error, 1e-12), 0.2, 1.5)) if np.isfinite(error) else 0.2
    raise TrainphaseError(f"a three-layer net has not reached the loss {target:g} in {MOST_STEPS} steps; please report it")


def function(system: ReLU3, state: Layers, x: np.ndarray) -> np.ndarray:
    """f at one-dimensional inputs x, shape (len(x),)."""
    inputs = jnp.stack([jnp.asarray(x), jnp.ones(len(x))], 1)
    there = eqx.tree_at(lambda s: (s.X, s.y), system, (inputs, jnp.zeros(len(x))))
    return np.asarray(there.residual(state))
