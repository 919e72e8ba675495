"""The (D, P) quadratic regression model: f_a = y_a + G_a.theta + (1/2) theta.Q_a.theta, loss (1/2) sum_a z_a^2.

Gradient descent is closed in the residual z and the Jacobian J (Agarwala, Pedregosa, Pennington 2022, (25), (26)):
z -> z - lr J J^T z + (lr^2 / 2) Q(J^T z, J^T z) and J -> J - lr Q(J^T z, .). With symmetric Q the same run is that of the
displacement phi = theta - theta_0: J = J_0 + Q(phi, .), z = z_0 + J_0 phi + (1/2) Q(phi, phi).

Runs that share Q are one matrix product a step: Q (D P x P) times phi (P x B). Q, and the standard draws of z_0 and J_0,
are shared by all widths of one seed; so cells of a grid over the widths are correlated, and error bars come from seeds.
"""

from __future__ import annotations

from functools import partial
from typing import Any, ClassVar, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from trainphase._draws import SYMMETRIES
from trainphase._draws import quadratic as draws
from trainphase.errors import RequestError
from trainphase.system import Flow, Map
from trainphase.systems._krylov import krylov_top
from trainphase.systems._lanes import dot, pull, push, together
from trainphase.systems._options import truth
from trainphase.systems._parts import contracted, in_halves, parts_of

# Entries of the second derivative: 4 GiB in double precision, with what drawing it takes three times that.
MOST_NUMBERS = 2**29
LEADING = 4
Number = float | jax.Array
Data = np.ndarray | jax.Array


class Pair(NamedTuple):
    """z: residual, shape (D,). J: Jacobian, shape (D, P)."""

    z: jax.Array
    J: jax.Array


class _Model(eqx.Module):
    """Draws and parameters shared by all forms of the model.

    Parameters
    ----------
    Q : second derivative as a matrix, shape (D P, P): Q[a P + j, i] = Q_a,ij.
    z_draw, J_draw : standard draws of shape (D,) and (D, P); the start is z_0 = s_z z_draw, J_0 = s_J J_draw.
    sigma_z, sigma_J : rescaled widths (29); s_z = sigma_z / (lr D), s_J = sigma_J / (sqrt(lr) (D P)^(1/4)).
    lr : step size.
    symmetry : how Q was drawn; only the theory asks.
    """

    sigma_z: Number
    sigma_J: Number
    lr: Number
    Q: Data
    z_draw: Data
    J_draw: Data
    symmetry: str = eqx.field(static=True, default="sym1")

    @property
    def units(self) -> dict[str, str]:
        """Units that differ from the usual ones: residuals are not rescaled."""
        return dict.fromkeys(("residual", "lower", "upper"), "target units")

    @property
    def shape(self) -> tuple[int, int]:
        """(D, P)."""
        D, P = self.J_draw.shape
        return D, P

    def z0(self) -> jax.Array:
        """Residual of the start, shape (D,)."""
        return jnp.asarray(self.sigma_z / (self.lr * self.shape[0])) * self.z_draw

    def J_width(self) -> jax.Array:
        """Standard deviation of the Jacobian's entries at the start, shape ()."""
        D, P = self.shape
        return jnp.asarray(self.sigma_J / (jnp.sqrt(self.lr) * (D * P) ** 0.25))

    def J0(self) -> jax.Array:
        """Jacobian of the start, shape (D, P)."""
        return self.J_width() * self.J_draw

    def along(self, v: jax.Array) -> jax.Array:
        """Q(v, .), shape (D, P), for v of shape (P,)."""
        return jnp.reshape(self.Q @ v, self.shape)

    def pair(self, state: Any) -> Pair:
        """Residual and Jacobian of a state."""
        raise NotImplementedError

    def residual(self, state: Any) -> jax.Array:
        """z, target units, shape (D,)."""
        return self.pair(state).z

    def loss(self, state: Any) -> jax.Array:
        """(1/2) sum_a z_a^2."""
        return 0.5 * jnp.sum(jnp.square(self.pair(state).z))

    def curvature(self, state: Any) -> jax.Array:
        """lr times the largest eigenvalue of J J^T, dimensionless."""
        return self.leading_curvatures(state)[-1]

    def leading_curvatures(self, state: Any) -> jax.Array:
        """lr times the eigenvalues of J J^T (the zero ones beyond min(D, P) left out), ascending, shape (min(D, P),)."""
        J = self.pair(state).J
        gram = J @ J.T if J.shape[0] <= J.shape[1] else J.T @ J
        return self.lr * jnp.linalg.eigvalsh(gram)

    def sharpness(self, state: Any) -> jax.Array:
        """lr times the largest eigenvalue of the Hessian J^T J + sum_a z_a Q_a, dimensionless."""
        return self.lr * jnp.linalg.eigvalsh(self.hessian(state))[-1]

    def hessian(self, state: Any) -> jax.Array:
        """J^T J + sum_a z_a Q_a, shape (P, P)."""
        z, J = self.pair(state)
        D, P = self.shape
        return J.T @ J + jnp.einsum("aji,a->ij", jnp.reshape(self.Q, (D, P, P)), z)

    def top_mode(self, state: Any) -> jax.Array:
        """Unit eigenvector of J J^T of the largest eigenvalue, shape (D,); its largest component is positive."""
        J = self.pair(state).J
        v = jnp.linalg.eigh(J @ J.T)[1][:, -1]
        return v * jnp.sign(v[jnp.argmax(jnp.abs(v))])

    def nonlinearity(self, state: Any) -> jax.Array:
        """|(lr^2 / 2) Q(J^T z, J^T z)| / |lr J J^T z|: the terms of second and first order of a step, dimensionless."""
        z, J = self.pair(state)
        u = J.T @ z
        linear = self.lr * jnp.linalg.norm(J @ u)
        return 0.5 * self.lr**2 * jnp.linalg.norm(self.along(u) @ u) / jnp.where(linear > 0, linear, 1.0)

    def projected_Q(self, state: Any) -> jax.Array:
        """Eigenvalues of v1.Q(., .), the second derivative projected on the top mode, ascending, shape (P,)."""
        D, P = self.shape
        v = self.top_mode(state)
        return jnp.linalg.eigvalsh(jnp.einsum("aji,a->ij", jnp.reshape(self.Q, (D, P, P)), v))

    def start_curvature(self) -> jax.Array:
        """As ``curvature`` of no displacement; the decomposition is that of the draws, one for all widths of a seed."""
        D, P = self.shape
        draw = jnp.asarray(self.J_draw)
        gram = draw @ draw.T if D <= P else draw.T @ draw
        return self.lr * self.J_width() ** 2 * jnp.linalg.eigvalsh(gram)[-1]

    def memory(self) -> tuple[jax.Array, jax.Array]:
        """Two estimates of the top mode, unit, shape (D,), for even and odd steps, between which it may jump."""
        first = jnp.asarray(self.z_draw) / jnp.linalg.norm(self.z_draw)
        return first, first

    def track(self, push: Any, pull: Any, memory: Any) -> tuple[jax.Array, Any]:
        """The curvature from three products with J J^T, started from the mode of two looks ago, and the modes renewed.

        The largest Ritz value over a Krylov space of three dimensions: a lower bound, to second order in the error of the
        mode. ``push`` is v -> J v, ``pull`` v -> v J.
        """
        value, memory = _track(push, pull, memory)
        return self.lr * value[0], memory

    def check(self) -> None:
        """Raise RequestError for parameters outside their domain: widths not negative, lr above 0, all finite."""
        for name in ("sigma_z", "sigma_J", "lr"):
            value = np.asarray(getattr(self, name))
            if not np.all(np.isfinite(value)):
                raise RequestError(f"{name} is not a finite number; give for example {name}=0.3")
            if np.any(value < 0) or (name == "lr" and np.any(value == 0)):
                raise RequestError(f"{name} = {value.min():g} is out of range; give a number above 0")


class Quadratic(_Model, Map):
    """Gradient descent in parameter space; the state is the displacement phi = theta - theta_0, shape (P,).

    ``J_turned`` is J_draw with its axes swapped, (P, D), as an array of its own, and ``parts`` is Q in parts: see ``ready``.
    """

    J_turned: Data | None = None
    parts: tuple[jax.Array, ...] | None = None
    theory: ClassVar[str] = "quadratic"
    vocabularies: ClassVar[tuple[str, ...]] = ("edge",)
    lanes: ClassVar[int] = 256
    lane_axis: ClassVar[int] = -1
    tile: ClassVar[int] = 32
    many: ClassVar[int] = 1024
    records: ClassVar[int] = 1024
    # Slow modes of the kernel go on shrinking long after the curvature stands still; float32 resolves 1e-5 of a step.
    settled: ClassVar[float] = 1e-10

    def ready(self) -> Quadratic:
        """With ``parts`` and ``J_turned``: a product with a matrix that is turned on the fly takes two to three times as long."""
        # In double precision, 64 runs at once gain nothing.
        single = np.dtype(self.Q.dtype) == np.float32
        turned = jax.device_put(np.ascontiguousarray(np.asarray(self.J_draw).T))
        new = (turned, parts_of(self.Q, self.shape[0]) if single else None)
        return eqx.tree_at(lambda s: (s.J_turned, s.parts), self, new, is_leaf=lambda x: x is None)

    def tile_of(self, points: int) -> int:
        """Two tiles where Q is in parts and runs are ``many``: the last ones of few would leave half of them empty for long."""
        return self.tile if self.parts is None or points < self.many else 2 * self.tile

    def init(self) -> jax.Array:
        """No displacement."""
        return jnp.zeros_like(jnp.asarray(self.J_draw[0]))

    def escaped(self, state: jax.Array) -> jax.Array:
        """True once the displacement, rescaled to step size 1, is not finite or larger than 1e6."""
        return jnp.logical_not(jnp.all(jnp.abs(jnp.sqrt(self.lr) * state) <= 1e6))

    def pair(self, state: jax.Array) -> Pair:
        """z_0 + J_0 phi + (1/2) Q(phi, phi) and J_0 + Q(phi, .)."""
        M, J0 = self.along(state), self.J0()
        return Pair(self.z0() + (J0 + 0.5 * M) @ state, J0 + M)

    def step(self, state: jax.Array) -> jax.Array:
        """phi -> phi - lr J^T z."""
        return self.observed_step(state, (), False)[0]

    def observed_step(self, state: jax.Array, memory: Any, look: bool) -> tuple[jax.Array, jax.Array, jax.Array, Any]:
        """A step, its loss, and with ``look`` the tracked curvature."""
        widths = (jnp.asarray(self.sigma_z / (self.lr * self.shape[0])), self.J_width(), jnp.asarray(self.lr))
        scalars = jax.tree.map(lambda x: x[None], widths)
        draw = jnp.asarray(self.J_draw)
        turned = draw.T if self.J_turned is None else self.J_turned
        shared = (jnp.asarray(self.Q), jnp.asarray(self.z_draw), draw, turned, self.parts)
        new, loss, curvature, memory = together(partial(_observed, look), 1)(shared, scalars, state, memory)
        return new, loss[0], curvature[0], memory


def _observed(look: bool, shared: Any, scalars: Any, state: jax.Array, memory: Any) -> tuple[Any, ...]:
    """``Quadratic.observed_step`` of one run, or of many with the runs last."""
    (Q, z_draw, draw, turned, parts), (start, width, lr) = shared, scalars
    base = start * jnp.reshape(z_draw, (-1, *[1] * (state.ndim - 1))) + width * (draw @ state)
    if parts is not None and state.ndim == 2 and state.shape[1] == 2 * Quadratic.tile:
        if look:
            return in_halves(partial(_observed, True, shared), scalars, state, memory)
        z, u = contracted(parts, base, state)
        return state - lr * (width * (turned @ z) + u), 0.5 * dot(z, z), jnp.full_like(lr, jnp.nan), memory
    M = jnp.reshape(Q @ state, (*draw.shape, *state.shape[1:]))

    def forth(v: jax.Array) -> jax.Array:
        return width * (draw @ v) + push(M, v)

    def back(v: jax.Array) -> jax.Array:
        return width * (turned @ v) + pull(M, v)

    # J is not formed: that would be one more pass over Q(phi, .).
    z = base + 0.5 * push(M, state)
    curvature = jnp.full_like(lr, jnp.nan)
    if look:
        curvature, memory = _track(forth, back, memory)
        curvature = lr * curvature
    return state - lr * back(z), 0.5 * dot(z, z), curvature, memory


def _track(push: Any, pull: Any, memory: Any) -> tuple[jax.Array, Any]:
    mode, other = memory
    value, mode = krylov_top(push, pull, mode)
    return value, (other, mode)


class _InPairs(_Model):
    """The model in function space; the state is :class:`Pair`."""

    def escaped(self, state: Pair) -> jax.Array:
        """True once the state, rescaled to step size 1, is not finite or larger than 1e6."""
        inside = jnp.all(jnp.abs(self.lr * state.z) <= 1e6) & jnp.all(jnp.abs(jnp.sqrt(self.lr) * state.J) <= 1e6)
        return jnp.logical_not(inside)

    def init(self) -> Pair:
        """z_0 and J_0."""
        return Pair(self.z0(), self.J0())

    def pair(self, state: Pair) -> Pair:
        """The state itself."""
        return state


class QuadraticFunction(_InPairs, Map):
    """Gradient descent in function space; the state is :class:`Pair`. Any Q, symmetric or not. Source: (25), (26)."""

    theory: ClassVar[str] = "quadratic"
    vocabularies: ClassVar[tuple[str, ...]] = ("edge",)
    lanes: ClassVar[int] = 256
    records: ClassVar[int] = 1024
    settled: ClassVar[float] = 1e-10

    def step(self, state: Pair) -> Pair:
        """(25) and (26)."""
        z, J = state
        u = self.lr * (z @ J)
        change = self.along(u)
        return Pair(z - J @ u + 0.5 * (change @ u), J - change)

    def observed_step(self, state: Pair, memory: Any, look: bool) -> tuple[Pair, jax.Array, jax.Array, Any]:
        """A step, its loss, and with ``look`` the tracked curvature."""
        curvature = jnp.full_like(state.z[0], jnp.nan)
        if look:
            curvature, memory = self.track(lambda v: state.J @ v, lambda v: v @ state.J, memory)
        return self.step(state), 0.5 * jnp.sum(jnp.square(state.z)), curvature, memory


class QuadraticFlow(_InPairs, Flow):
    """Gradient flow in function space: z' = -lr J J^T z, J' = -lr Q(J^T z, .), time in steps. Source: (22)."""

    theory: ClassVar[str] = "quadratic"
    lanes: ClassVar[int] = 256
    settled: ClassVar[float] = 1e-10

    def velocity(self, t: jax.Array, state: Pair) -> Pair:
        """Rates per step of gradient descent."""
        u = self.lr * (state.z @ state.J)
        return Pair(-state.J @ u, -self.along(u))


class TangentHierarchy(Flow):
    """The neural tangent hierarchy cut at the third order: z' = -lr K z, K' = -lr K3(., ., z), K3 constant. Source: (46), (47).

    The quadratic model has the same K, and K3, at the start, but its K3 changes with the Jacobian; here it is kept. The
    state is the pair (z, K), of shapes (D,) and (D, D).
    """

    model: QuadraticFlow
    theory: ClassVar[str] = "quadratic"

    def init(self) -> tuple[jax.Array, jax.Array]:
        """z_0 and the kernel J_0 J_0^T."""
        z, J = self.model.init()
        return z, J @ J.T

    def third(self) -> jax.Array:
        """K3_abc = Q_a,ij J_bi J_cj + Q_b,ij J_ai J_cj at the start, shape (D, D, D)."""
        D, P = self.model.shape
        J = self.model.J0()
        half = jnp.einsum("aji,bi,cj->abc", jnp.reshape(self.model.Q, (D, P, P)), J, J, precision=lax.Precision.HIGHEST)
        return half + jnp.swapaxes(half, 0, 1)

    def velocity(self, t: jax.Array, state: Any) -> Any:
        """Rates per step of gradient descent."""
        z, K = state
        return -self.model.lr * (K @ z), -self.model.lr * (self.third() @ z)

    def residual(self, state: Any) -> jax.Array:
        """z, target units, shape (D,)."""
        return state[0]

    def curvature(self, state: Any) -> jax.Array:
        """lr times the largest eigenvalue of the kernel, dimensionless."""
        return self.model.lr * jnp.linalg.eigvalsh(state[1])[-1]

    def check(self) -> None:
        """As for the model."""
        self.model.check()


def quadratic(
    D: int = 20, P: int = 40, sigma_z: float = 0.3, sigma_J: float = 0.35, lr: float = 1.0, symmetry: str = "sym1",
    space: str = "parameters", flow: str = "false", truncated: str = "false", seed: int = 0,
) -> Any:  # fmt: skip
    """Build the model from its parameters; see ``trainphase run quadratic --help`` for their meaning."""
    for name, value in (("D", D), ("P", P)):
        if int(value) < 1 or int(value) != value:
            raise RequestError(f"{name} = {value} is no dimension; give a whole number of at least 1")
    if int(D) * int(P) ** 2 > MOST_NUMBERS:
        size = 8 * int(D) * int(P) ** 2 / 2**30
        raise RequestError(f"D = {D} and P = {P} need {size:.3g} GiB for the second derivative; give smaller ones")
    if seed < 0 or seed != int(seed):
        raise RequestError(f"seed = {seed} is {'negative' if seed < 0 else 'not whole'}; give a whole number from 0 on")
    if symmetry not in SYMMETRIES:
        raise RequestError(f"symmetry = {symmetry!r} is unknown; give one of {', '.join(SYMMETRIES)}")
    if space not in ("parameters", "function"):
        raise RequestError(f"space = {space!r} is unknown; give parameters or function")
    Q, z, J = draws(int(D), int(P), int(seed), symmetry)
    fields: dict[str, Any] = {"sigma_z": sigma_z, "sigma_J": sigma_J, "lr": lr, "Q": Q, "z_draw": z, "J_draw": J}
    fields["symmetry"] = symmetry
    cut = truth("truncated", truncated)
    if truth("flow", flow):
        model = QuadraticFlow(**fields)
        return TangentHierarchy(model) if cut else model
    if cut:
        raise RequestError("truncated = true is a gradient flow; give flow=true as well")
    # Without symmetry there is no loss whose gradient this is; the recursion in z and J is still defined.
    return QuadraticFunction(**fields) if space == "function" or symmetry == "iid" else Quadratic(**fields)
