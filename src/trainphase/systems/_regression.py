"""What phase retrieval and the quadratic net share: data, targets, the leading mode, and starts along it."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any, ClassVar

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np

from trainphase._arrays import precision
from trainphase.errors import RequestError
from trainphase.system import Map, State

Data = Any  # a jax.Array inside compiled code, a NumPy array outside

STARTS = ("random", "leading")
# Without a step size, the one for which the cubic parameter a is 1.1: just past the edge of stability.
DEFAULT_A = 1.1
# Size of the displacement of the other modes, relative to the weights at the solution.
OFF = 0.01


class Regression(Map):
    """Gradient descent in parameter space on the loss (1/2n) sum_i (g_i - y_i)^2 of a model quadratic in its parameters.

    Subclasses give ``predict(state, X)``, ``solution()`` and the kernel. Targets are
    ``y = scale * teacher + noise * e`` with e standard normal, fixed by the seed.

    ``start="leading"`` makes the phase that over all starts displaced from the solution along the leading eigenvector v
    of the kernel J J^T there. The residual along v is a parabola in the displacement; its apex is the saddle (z = -a in
    the cubic map) and the other end is where z = 2. ``reach`` shrinks the displacements to a share of that interval: on
    inputs that are not orthogonal the far starts lie where the kernel is another.
    """

    lr: float | Data
    scale: float | Data
    noise: float | Data
    reach: float | Data
    X: Data
    X_test: Data
    teacher_train: Data
    teacher_test: Data
    noise_train: Data
    state0: Data
    rebuilt: ClassVar[tuple[str, ...]] = ("gamma", "c")
    aliases: ClassVar[tuple[str, ...]] = ("a",)
    leading: bool = eqx.field(static=True)
    vocabularies: ClassVar[tuple[str, ...]] = ("training",)

    def predict(self, state: State, X: Data) -> jax.Array:
        """Outputs on the rows of X, shape (rows,)."""
        raise NotImplementedError

    def solution(self) -> State:
        """Parameters that fit the targets, on the teacher's branch."""
        raise NotImplementedError

    def kernel(self, state: State) -> jax.Array:
        """J J^T / n, shape (n, n)."""
        raise NotImplementedError

    def targets(self) -> jax.Array:
        """Training targets, shape (n,)."""
        return self.scale * self.teacher_train + self.noise * self.noise_train

    def test_targets(self) -> jax.Array:
        """Test targets, without noise, shape (n_test,)."""
        return self.scale * self.teacher_test

    def predict_test(self, state: State) -> jax.Array:
        """Outputs on the test rows, shape (n_test,)."""
        return self.predict(state, self.X_test)

    def error(self, state: State) -> jax.Array:
        """g_i - y_i, unscaled, shape (n,)."""
        return self.predict(state, self.X) - self.targets()

    def loss(self, state: State) -> jax.Array:
        """Training loss (1/2n) sum (g_i - y_i)^2."""
        return 0.5 * jnp.mean(jnp.square(self.error(state)))

    def init(self) -> State:
        """The random initialisation."""
        return jnp.asarray(self.state0)

    def curvature(self, state: State) -> jax.Array:
        """Step size times the largest eigenvalue of J J^T / n, dimensionless."""
        # eigvalsh of a NaN matrix may fail to converge; an escaped run has no curvature.
        k = self.kernel(state)
        fine = jnp.all(jnp.isfinite(k))
        top = jnp.linalg.eigvalsh(jnp.where(fine, k, jnp.eye(k.shape[0])))[-1]
        return jnp.where(fine, self.lr * top, jnp.nan)

    def escaped(self, state: State) -> jax.Array:
        """The loss exceeds 1e8 times that of predicting zero, or is not a number."""
        size = 0.5 * jnp.mean(jnp.square(self.targets())) + jnp.finfo(jnp.asarray(self.lr).dtype).tiny
        return jnp.logical_not(self.loss(state) <= 1e8 * size)

    def resolve(self, values: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        """Turn values of ``a`` into step sizes: lr = 2 a / (top kernel eigenvalue at the solution, for that scale)."""
        out = dict(values)
        if "a" not in out:
            return out
        a = np.asarray(out.pop("a"), float)
        scales = np.broadcast_to(np.asarray(out.get("scale", self.scale), float), a.shape)
        noises = np.broadcast_to(np.asarray(out.get("noise", self.noise), float), a.shape)
        pairs = list(zip(scales.ravel().tolist(), noises.ravel().tolist(), strict=True))
        tops = {pair: self.top_eigenvalue(*pair) for pair in dict.fromkeys(pairs)}
        out["lr"] = 2 * a / np.array([tops[pair] for pair in pairs]).reshape(a.shape)
        return out

    def implied(self, fixed: Mapping[str, Any], moving: Collection[str]) -> dict[str, float]:
        """Where targets vary and the step size is given by ``a`` (or by default), ``a`` is what stays the same."""
        if "lr" in fixed or "lr" in moving or "a" in moving or not {"scale", "noise"} & set(moving):
            return {}
        given = fixed.get("a")
        return {"a": DEFAULT_A if given is None else float(given)}

    def top_eigenvalue(self, scale: float, noise: float | None = None) -> float:
        """The largest eigenvalue of J J^T / n at the solution for targets of that scale and noise (default: its own)."""
        with precision("float64"):
            values = [np.asarray(scale, float), np.asarray(self.noise if noise is None else noise, float)]
            there = eqx.tree_at(lambda s: [s.scale, s.noise], self, values)
            return float(np.linalg.eigvalsh(np.asarray(there.kernel(there.solution())))[-1])

    def over_starts(self) -> bool:
        """True for ``start="leading"``."""
        return self.leading

    def start(self, u: jax.Array) -> State:
        """The start at the fraction u between the saddle (0) and the end of the invariant interval (1), on mode v."""
        solution = self.solution()
        n = self.X.shape[0]
        kernel = self.kernel(solution)
        # Samples with equal kernel eigenvalues would mix in v; a trace of a diagonal ramp tells them apart.
        ramp = 1e-7 * jnp.trace(kernel) / n * jnp.diag(jnp.linspace(1.0, 0.0, n))
        values, vectors = jnp.linalg.eigh(kernel + ramp)
        v = vectors[:, -1]
        a = 0.5 * self.lr * values[-1]
        _, pullback = jax.vjp(lambda s: self.predict(s, self.X), solution)
        (direction,) = pullback(v)
        plus, minus = self.predict(solution + direction, self.X), self.predict(solution - direction, self.X)
        bend = jnp.dot(v, plus + minus - 2 * self.predict(solution, self.X))
        apex = n * values[-1] / jnp.where(jnp.abs(bend) > 0, bend, 1.0)
        # The other modes start a little off the solution too: one that sits exactly on it stays there although unstable.
        size = jnp.sqrt(jnp.mean(jnp.square(solution)) / jnp.mean(jnp.square(self.state0)))
        along = jnp.sum(self.state0 * direction) / jnp.sum(jnp.square(direction))
        aside = OFF * size * (self.state0 - along * direction)
        displacement = self.reach * (u * jnp.sqrt((2.0 + a) / a) - 1.0)
        return solution + displacement * apex * direction + aside

    def check(self) -> None:
        """Step sizes and target scales must be finite; step sizes above 0, scales and noise not negative."""
        for name, least in (("lr", 0.0), ("scale", 0.0), ("noise", 0.0), ("reach", 0.0)):
            value = np.asarray(getattr(self, name))
            if not np.all(np.isfinite(value)):
                raise RequestError(f"{name} = {value.ravel()[0]} is not a finite number; give a positive one")
            if np.any(value < least) or (name != "noise" and np.any(value == 0)):
                raise RequestError(f"{name} = {float(value.min()):g} is out of range; give a {name} above 0")


def draw(seed: int, stream: int, *shape: int) -> np.ndarray:
    """Standard normal numbers of one named stream of a seed; streams are independent."""
    return np.random.default_rng([int(seed), stream]).standard_normal(shape)


def step_size(system: Any, lr: float | None, a: float | None) -> Any:
    """The system with the step size ``lr``, or with the one that ``a`` asks for; with neither, that of a = 1.1."""
    if lr is not None and a is not None:
        raise RequestError(f"lr = {lr:g} and a = {a:g} both set the step size; give one of them")
    if lr is None:
        a = DEFAULT_A if a is None else a
        if not np.isfinite(a) or a <= 0:
            raise RequestError(f"a = {a} is out of range; give an a above 0, or lr")
        lr = float(system.resolve({"a": np.asarray([a])})["lr"][0])
    system = eqx.tree_at(lambda s: s.lr, system, lr)
    system.check()
    return system


def start_flag(start: Any) -> bool:
    """True for ``leading``, False for ``random``."""
    if start not in STARTS:
        raise RequestError(f"start = {start!r} is unknown; give random or leading")
    return start == "leading"
