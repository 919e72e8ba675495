"""The D = 1 quadratic regression model: one datum, z = (1/2)(theta.Q theta - E), L = z^2 / 2.

In the eigenbasis of Q (eigenvalues w_i) and in rescaled coordinates z~ = lr z, c_i = sqrt(lr) J_i, gradient descent is
exact for any number of parameters: c_i -> c_i (1 - w_i z~). The curvature is T(0) = sum c_i^2, and E~ = lr E =
sum c_i^2 / w_i - 2 z~ is conserved (Agarwala, Pedregosa, Pennington 2022, section 3; theory.md, section B).
"""

from __future__ import annotations

from typing import Any, ClassVar, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np

from trainphase.errors import RequestError
from trainphase.system import Flow, Map
from trainphase.systems._options import numbers, truth

Number = float | jax.Array
# Cancellation between T and 2 z~ + E~ puts a start on the edge of the allowed cone this far outside, relative to T.
ROUNDING = 1e-12


class Modes(NamedTuple):
    """z: the rescaled residual z~, shape (). c: sqrt(lr) J in the eigenbasis of Q, shape (P,)."""

    z: jax.Array
    c: jax.Array


def mode_weights(eps: Any, E: Any, z: Any, T: Any) -> tuple[Any, Any]:
    """c_1^2 and c_2^2 for eigenvalues 1 and -eps from (z~, T, E~); negative where no such start exists."""
    B = 2 * z + E
    return (eps * B + T) / (1 + eps), eps * (T - B) / (1 + eps)


class _Start(eqx.Module):
    """Parameters and the start, shared by gradient descent and flow.

    Parameters
    ----------
    eps, E, z, T : eigenvalues 1 and -eps of Q, and the rescaled E~, z~, T(0) of the start (all dimensionless).
    theta, w, lr : instead of z and T: parameters in the eigenbasis, shape (P,), eigenvalues, shape (P,), and the step
        size; then E is the unscaled E of the model.
    """

    eps: Number = 0.005
    E: Number = 0.0
    z: Number = 0.05
    T: Number = 2.2
    lr: Number = 1.0
    theta: jax.Array | np.ndarray | None = None
    w: jax.Array | np.ndarray | None = None

    @property
    def unused(self) -> tuple[str, ...]:
        """Parameters of the factory that this start makes no use of."""
        if self.theta is None:
            return ()
        return ("z", "T") if self.w is None else ("z", "T", "eps")

    def eigenvalues(self) -> jax.Array:
        """w, shape (P,)."""
        if self.w is not None:
            return jnp.asarray(self.w)
        eps = jnp.asarray(self.eps)
        return jnp.stack([jnp.ones_like(eps), -eps], axis=-1)

    @property
    def units(self) -> dict[str, str]:
        """Units that differ from the usual ones: a start from (z~, T) has no targets."""
        return {"loss": "1"} if self.theta is None else {}

    def begin(self) -> Modes:
        """The state before the first step."""
        if self.theta is None:
            first, second = mode_weights(self.eps, self.E, self.z, self.T)
            c = jnp.sqrt(jnp.maximum(jnp.stack([jnp.asarray(first), jnp.asarray(second)]), 0.0))
            return Modes(jnp.asarray(self.z), c)
        theta, w = jnp.asarray(self.theta), self.eigenvalues()
        return Modes(self.lr * 0.5 * (jnp.sum(w * theta**2) - self.E), jnp.sqrt(self.lr) * w * theta)

    def admissible(self) -> np.ndarray:
        """True where c_1^2 and c_2^2 are not negative: the start lies in the allowed cone."""
        if self.theta is not None:
            return np.asarray(True)
        size = 1 + np.abs(self.T) + np.abs(self.z) + np.abs(self.E)
        weights = mode_weights(*(np.asarray(v, float) for v in (self.eps, self.E, self.z, self.T)))
        return np.all([weight >= -ROUNDING * size for weight in weights], axis=0)

    def check(self) -> None:
        """Raise RequestError for parameters outside their domain: eps and lr above 0, all finite."""
        for name in ("eps", "E", "z", "T", "lr"):
            if not np.all(np.isfinite(np.asarray(getattr(self, name)))):
                raise RequestError(f"{name} is not a finite number; give for example {name}=0.1")
        if np.any(np.asarray(self.eps) <= 0):
            raise RequestError(f"eps = {np.min(self.eps):g} makes the second eigenvalue positive; give eps above 0")
        if np.any(np.asarray(self.lr) <= 0):
            raise RequestError(f"lr = {np.min(self.lr):g} is no step size; give a number above 0")


class _InModes(_Start):
    """What is measured on a state of :class:`Modes`."""

    def init(self) -> Modes:
        """The start."""
        return self.begin()

    def residual(self, state: Modes) -> jax.Array:
        """z~, dimensionless, shape ()."""
        return state.z

    def loss(self, state: Modes) -> jax.Array:
        """z^2 / 2 with z = z~ / lr; from (z~, T), where lr is 1, that is z~^2 / 2."""
        return 0.5 * jnp.square(state.z / self.lr)

    def curvature(self, state: Modes) -> jax.Array:
        """T(0) = lr times the kernel eigenvalue, dimensionless."""
        return jnp.sum(jnp.square(state.c))

    def sharpness(self, state: Modes) -> jax.Array:
        """lr times the largest eigenvalue of the Hessian J^T J + z Q, dimensionless."""
        return jnp.linalg.eigvalsh(jnp.outer(state.c, state.c) + state.z * jnp.diag(self.eigenvalues()))[-1]

    def conserved(self, state: Modes) -> jax.Array:
        """E~ recomputed from the state; its drift is the rounding of the run. Zero eigenvalues are left out."""
        w = self.eigenvalues()
        return jnp.sum(jnp.where(w != 0, state.c**2 / jnp.where(w != 0, w, 1.0), 0.0)) - 2 * state.z


class Quadratic1D(_InModes, Map):
    """Gradient descent of the D = 1 model in the eigenbasis; the state is :class:`Modes`.

    From (z~, T) with eigenvalues 1 and -eps, or from theta, lr and any eigenvalues. Source: (9)-(11), (14), (15).
    """

    theory: ClassVar[str] = "quadratic-1d"
    vocabularies: ClassVar[tuple[str, ...]] = ("edge",)

    def step(self, state: Modes) -> Modes:
        """z~ -> z~ - z~ T(0) + z~^2 T(1) / 2 and c_i -> c_i (1 - w_i z~)."""
        w, (z, c) = self.eigenvalues(), state
        squares = c * c
        new = z * (1 - jnp.sum(squares) + 0.5 * z * jnp.sum(w * squares))
        return Modes(new, c * (1 - w * z))


class Quadratic1DFlow(_InModes, Flow):
    """Gradient flow of the D = 1 model: z~' = -z~ T(0), c_i' = -w_i z~ c_i, time in steps. Source: (8)."""

    theory: ClassVar[str] = "quadratic-1d"

    def velocity(self, t: jax.Array, state: Modes) -> Modes:
        """Rates per step of gradient descent."""
        return Modes(-state.z * jnp.sum(state.c**2), -self.eigenvalues() * state.z * state.c)


class Quadratic1DPlane(_Start, Map):
    """Gradient descent in the plane (z~, T) for eigenvalues 1 and -eps: equations (14) and (15) themselves.

    The state is the pair (z~, T). The same dynamics as :class:`Quadratic1D`, by other arithmetic.
    """

    theory: ClassVar[str] = "quadratic-1d"
    vocabularies: ClassVar[tuple[str, ...]] = ("edge",)

    def init(self) -> tuple[jax.Array, jax.Array]:
        """(z~, T)."""
        return jnp.asarray(self.z), jnp.asarray(self.T)

    def step(self, state: Any) -> Any:
        """(14) and (15)."""
        z, T = state
        e, B = self.eps, 2 * z + self.E
        new = z - z * T + 0.5 * z * z * ((1 - e) * T + e * B)
        return new, T - 2 * z * (e * B + (1 - e) * T) + z * z * (T + e * (e - 1) * (T - B))

    def residual(self, state: Any) -> jax.Array:
        """z~, dimensionless, shape ()."""
        return state[0]

    def curvature(self, state: Any) -> jax.Array:
        """T(0), dimensionless."""
        return state[1]


class Quadratic1DParameters(_Start, Map):
    """Gradient descent on theta itself, shape (P,), in the eigenbasis of Q; needs theta, w and lr. Source: (9)."""

    theory: ClassVar[str] = "quadratic-1d"
    vocabularies: ClassVar[tuple[str, ...]] = ("edge",)

    def init(self) -> jax.Array:
        """theta."""
        return jnp.asarray(self.theta)

    def error(self, state: jax.Array) -> jax.Array:
        """z = (theta.Q theta - E) / 2, unscaled, shape ()."""
        return 0.5 * (jnp.sum(self.eigenvalues() * state**2) - self.E)

    def step(self, state: jax.Array) -> jax.Array:
        """theta -> theta - lr z Q theta."""
        return state - self.lr * self.error(state) * self.eigenvalues() * state

    def residual(self, state: jax.Array) -> jax.Array:
        """z~ = lr z, dimensionless, shape ()."""
        return self.lr * self.error(state)

    def loss(self, state: jax.Array) -> jax.Array:
        """z^2 / 2, target units squared."""
        return 0.5 * jnp.square(self.error(state))

    def curvature(self, state: jax.Array) -> jax.Array:
        """lr |Q theta|^2, dimensionless."""
        return self.lr * jnp.sum(jnp.square(self.eigenvalues() * state))


def quadratic_1d(
    eps: float = 0.005, E: float = 0.0, z: float = 0.05, T: float = 2.2, theta: str | None = None,
    eigenvalues: str | None = None, lr: float | None = None, coordinates: str = "modes", flow: str = "false",
) -> Any:  # fmt: skip
    """Build the system from its parameters; see ``trainphase run quadratic-1d --help`` for their meaning."""
    fields: dict[str, Any] = {"eps": eps, "E": E, "z": z, "T": T}
    if theta is not None:
        start = numbers("theta", theta)
        w = None if eigenvalues is None else numbers("eigenvalues", eigenvalues)
        count = 2 if w is None else w.size
        if start.size != count:
            raise RequestError(f"theta has {start.size} numbers and there are {count} eigenvalues; give as many of both")
        given = {"z": (z, 0.05), "T": (T, 2.2)} | ({} if w is None else {"eps": (eps, 0.005)})
        odd = [f"{name}={value:g}" for name, (value, usual) in given.items() if value != usual]
        if odd:
            raise RequestError(f"{odd[0]} means nothing beside {'eigenvalues' if odd[0][0] == 'e' else 'theta'}; leave one out")
        fields |= {"theta": start, "w": w, "lr": 1.0 if lr is None else lr}
    elif eigenvalues is not None or lr is not None:
        given = "eigenvalues" if eigenvalues is not None else "lr"
        raise RequestError(f"{given} belongs to a start in parameter space; give theta as well, such as theta=1.0,-4.32")
    kinds = {"modes": Quadratic1D, "plane": Quadratic1DPlane, "parameters": Quadratic1DParameters}
    if coordinates not in kinds:
        raise RequestError(f"coordinates = {coordinates!r} is unknown; give one of {', '.join(kinds)}")
    if coordinates == "plane" and theta is not None:
        raise RequestError("coordinates = 'plane' starts from z and T; leave theta out, or leave coordinates out")
    if coordinates == "parameters" and theta is None:
        raise RequestError("coordinates = 'parameters' needs theta; give for example theta=1.0,-4.32 eigenvalues=1,-0.1 lr=1")
    if truth("flow", flow):
        if coordinates != "modes":
            raise RequestError(f"flow is written for coordinates = 'modes', not {coordinates!r}; leave coordinates out")
        return Quadratic1DFlow(**fields)
    return kinds[coordinates](**fields)
