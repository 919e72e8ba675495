"""The cubic map of quadratic regression.

On orthogonal inputs, gradient descent on quadratic regression acts on the scaled residual of each sample by
f_a(z) = z^3 + (a - 2) z^2 + (1 - 2 a) z with a = (step size) lambda* / 2, lambda* the kernel eigenvalue at the
solution (Chen, Balasubramanian, Ghosal, Agrawalla 2023).
"""

from __future__ import annotations

from typing import ClassVar

import jax
import jax.numpy as jnp
import numpy as np

from trainphase.errors import RequestError
from trainphase.system import Map

# The bound of an escape, 5 + 2 a, is a number in single precision too.
LARGEST = 1e37


class Cubic(Map):
    """The cubic map at the parameter ``a`` (dimensionless step size), over all starts in (-a, 2) or from ``z0``.

    A run from ``z0`` has the state z, the scaled residual. For the map over all starts the state is x with
    z = x^2 - a, in which the map reads x -> x (1 + a - x^2): near z = -a the coordinate z cannot hold the distance to
    the fixed point there, and a long orbit would stick to it; x can.

    Parameters
    ----------
    a : dimensionless, a >= 0; a = 1 is the edge of stability of the solution z = 0.
    z0 : start, dimensionless; None takes the phase over all starts.
    """

    a: float | jax.Array = 1.1
    z0: float | jax.Array | None = None
    theory: ClassVar[str] = "cubic"

    def residual(self, state: jax.Array) -> jax.Array:
        """The residual z, dimensionless, shape ()."""
        return state * state - self.a if self.z0 is None else state

    def loss(self, state: jax.Array) -> jax.Array:
        """z^2 / 2."""
        return 0.5 * jnp.square(self.residual(state))

    def init(self) -> jax.Array:
        """The start z0, or without one a start inside the interval, off its special points."""
        return super().init() if self.z0 is None else jnp.asarray(self.z0)

    def step(self, state: jax.Array) -> jax.Array:
        """x -> x (1 + a - x^2), or z -> z^3 + (a - 2) z^2 + (1 - 2 a) z."""
        if self.z0 is None:
            return state * ((1.0 + self.a) - state * state)
        return state * ((state + (self.a - 2.0)) * state + (1.0 - 2.0 * self.a))

    def tangent(self, state: jax.Array, v: jax.Array) -> tuple[jax.Array, jax.Array]:
        """The step and its derivative along ``v``; in x, with t = r - x^2 and r = 1 + a: x t and 3 t - 2 r."""
        if self.z0 is None:
            r = 1.0 + self.a
            t = r - state * state
            return state * t, v * (3.0 * t - 2.0 * r)
        return self.step(state), v * ((3.0 * state + 2.0 * (self.a - 2.0)) * state + (1.0 - 2.0 * self.a))

    def escaped(self, state: jax.Array) -> jax.Array:
        """Far outside the invariant interval -a <= z <= 2: from z > 2 and from z < -a orbits only grow."""
        z = self.residual(state)
        return jnp.logical_not(jnp.abs(z) <= 5.0 + 2.0 * self.a)

    def interval(self) -> tuple[jax.Array, jax.Array] | None:
        """z in (-a, 2) in the coordinate x: (0, sqrt(2 + a))."""
        if self.z0 is not None:
            return None
        a = jnp.asarray(self.a)
        return jnp.zeros_like(a), jnp.sqrt(2.0 + a)

    def curvature(self, state: jax.Array) -> jax.Array:
        """Step size times the kernel eigenvalue, dimensionless: 2 (z + a), the rate at which the residual is reduced."""
        return 2.0 * (self.residual(state) + self.a)

    def check(self) -> None:
        """a must be finite and not negative."""
        a = np.asarray(self.a)
        if not np.all(np.isfinite(a)):
            raise RequestError(f"a = {float(a.ravel()[0]):g} is not a finite number; give a between 0 and about 3")
        if np.any(a < 0):
            raise RequestError(f"a = {float(a.min()):g} is negative; a is a scaled step size and starts at 0")
        if np.any(a > LARGEST):
            raise RequestError(f"a = {float(a.max()):g} is too large to compute with; from 2 on all diverges, so give less")
        if self.z0 is not None and not np.all(np.isfinite(np.asarray(self.z0))):
            raise RequestError("z0 is not a finite number; give a start such as 0.5, or leave z0 out for all starts")


