"""How fast the curvature changes under gradient flow: first and second time derivative of the kernel's top eigenvalue.

They are exact at a state. The kernel's derivatives in time are derivatives along the flow's own velocity, by forward
differentiation; those of the eigenvalue follow by second-order perturbation theory from all eigenvectors:
lambda' = v.K'v and lambda'' = v.K''v + 2 sum_b (v.K'v_b)^2 / (lambda - lambda_b). No closed form of any model is used.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from trainphase.system import Flow


class Rates(NamedTuple):
    """The curvature (dimensionless) and its derivatives, per step and per step squared; each of shape ()."""

    curvature: jax.Array
    first: jax.Array
    second: jax.Array


def tangent_kernel(system: Any, state: Any) -> jax.Array:
    """Step size times J J^T, dimensionless, shape (D, D), for a system with ``pair(state)`` and ``lr``."""
    J = system.pair(state).J
    return system.lr * (J @ J.T)


def curvature_rates(system: Flow, state: Any, kernel: Callable[[Any, Any], jax.Array] = tangent_kernel) -> Rates:
    """Value, first and second time derivative of the largest eigenvalue of ``kernel`` as ``state`` follows the flow.

    Parameters
    ----------
    system : a flow; its velocity must not depend on time.
    state : where to differentiate; any state, also one that the flow did not come to.
    kernel : (system, state) -> symmetric matrix of shape (D, D).

    The largest eigenvalue must be simple; where two coincide, the second derivative is not finite. Pure, so that
    ``jax.vmap`` takes many systems or states at once.

    Cost: two nested forward derivatives of the velocity, and one eigendecomposition of a D x D matrix.
    """

    def velocity(x: Any) -> Any:
        return system.velocity(jnp.zeros(()), x)

    def along(f: Callable[[Any], Any]) -> Callable[[Any], Any]:
        """The time derivative of f along the flow, as a function of the state."""
        return lambda x: jax.jvp(f, (x,), (velocity(x),))[1]

    once = along(lambda x: kernel(system, x))
    value, change, bend = kernel(system, state), once(state), along(once)(state)
    levels, modes = jnp.linalg.eigh(value)
    top, others = modes[:, -1], modes[:, :-1]
    coupling = (top @ change) @ others
    repulsion = jnp.sum(jnp.square(coupling) / (levels[-1] - levels[:-1]))
    return Rates(levels[-1], top @ change @ top, top @ bend @ top + 2.0 * repulsion)
