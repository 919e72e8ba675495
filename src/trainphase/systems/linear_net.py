"""A one-hidden-layer linear net on one datum: the catapult model (Lewkowycz et al. 2020).

f(x) = v.U x is quadratic in its parameters, with eigenvalues +-|x| of the second derivative: the D = 1 model with
symmetric eigenvalues. In z~ = lr |x| z and T = lr times the kernel eigenvalue it is a map of the plane; the label y
enters as E~ = 2 lr |x| y (theory.md, section C).
"""

from __future__ import annotations

from typing import Any, ClassVar

import jax
import jax.numpy as jnp
import numpy as np

from trainphase.errors import RequestError
from trainphase.system import Map

ROUNDING = 1e-12


class LinearNet(Map):
    """Gradient descent in the plane (z~, T); the state is that pair. Source: (12), (13).

    Parameters
    ----------
    T : step size times the kernel eigenvalue at the start, dimensionless.
    z : rescaled residual z~ = lr |x| (f - y) at the start, dimensionless.
    y : rescaled label lr |x| y, dimensionless.
    """

    T: float | jax.Array = 2.5
    z: float | jax.Array = 0.01
    y: float | jax.Array = 0.0
    theory: ClassVar[str] = "linear-net"
    vocabularies: ClassVar[tuple[str, ...]] = ("training", "edge")

    def init(self) -> tuple[jax.Array, jax.Array]:
        """(z~, T)."""
        return jnp.asarray(self.z), jnp.asarray(self.T)

    def step(self, state: Any) -> Any:
        """z~ -> z~ (1 - T) + z~^2 B / 2 and T -> T - 2 z~ B + z~^2 T, with B = 2 (z~ + y)."""
        z, T = state
        half = z + self.y
        return z * (1 - T + z * half), T + z * (z * T - 4 * half)

    def residual(self, state: Any) -> jax.Array:
        """z~, dimensionless, shape ()."""
        return state[0]

    def curvature(self, state: Any) -> jax.Array:
        """T, dimensionless."""
        return state[1]

    def sharpness(self, state: Any) -> jax.Array:
        """Step size times the largest Hessian eigenvalue: (T + sqrt(T^2 + 4 z~ (z~ B + z~))) / 2 with B = 2 (z~ + y).

        Of the 2 x 2 matrix c c^T + z~ diag(1, -1), whose trace is T and whose determinant is -z~ (B + z~), by
        c_1^2 - c_2^2 = B.
        """
        z, T = state
        B = 2 * (z + self.y)
        return 0.5 * (T + jnp.sqrt(T * T + 4 * z * (B + z)))

    def admissible(self) -> np.ndarray:
        """True where |2 (z~ + y)| <= T: both modes have a non-negative weight."""
        z, T, y = (np.asarray(v, float) for v in (self.z, self.T, self.y))
        return np.abs(2 * (z + y)) <= T + ROUNDING * (1 + np.abs(T))

    def check(self) -> None:
        """All parameters finite."""
        for name in ("T", "z", "y"):
            if not np.all(np.isfinite(np.asarray(getattr(self, name)))):
                raise RequestError(f"{name} is not a finite number; give for example {name}=1")
