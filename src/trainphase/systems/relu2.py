"""Two-layer ReLU nets under gradient flow or gradient descent: f(x) = (1/alpha) sum_k a_k relu(w_k . x).

In units of the initial scales, a = beta1 abar, w = beta2 wbar, t = beta1 beta2 tbar, the flow depends on two numbers,
kappa = beta1 beta2 / alpha and kappa' = beta1 / beta2 (Luo et al. 2021, (1.8), (1.9)):

    abar' = -(kappa / kappa') (1/n) sum_i relu(wbar . x_i) e_i,
    wbar' = -kappa kappa' (1/n) sum_i abar 1[wbar . x_i > 0] e_i x_i,

e = kappa sum_k abar relu(wbar . x) - y, x with a 1 for the bias. A place on the diagram is gamma = -ln kappa / ln m and
gamma' = -ln kappa' / ln m. Only the part of wbar in the row space of the data moves: the system has the data in
coordinates of that space, and the squared length of the rest.

The regime is that of a ladder of widths and seeds; a single net, of the first width and the first seed, is what ``init`` and
``velocity`` describe.
"""

from __future__ import annotations

import functools
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np

from trainphase.data.targets import augmented, reduced, row_space, samples
from trainphase.errors import RequestError
from trainphase.system import Flow
from trainphase.systems._options import truth

Number = float | jax.Array
WIDTHS, SEEDS = "1000,5000,10000,20000,40000", "0,1,2"
MOST_NEURONS = 10_000_000
SCALE = re.compile(r"(?:(?P<factor>[0-9.eE+-]+)\*)?m\^(?P<power>[0-9.eE+-]+)|(?P<number>[0-9.eE+-]+)", re.ASCII)


@dataclass(frozen=True, eq=False)
class Weights:
    """Standard normal draws of one net.

    a : output weights, (m, c). w : input weights in the row space of the data, (m, r). outside : squared length of all
    input weights outside of it, which training never moves.
    """

    a: np.ndarray
    w: np.ndarray
    outside: float

    @functools.cached_property
    def norm_w(self) -> float:
        """Length of all input weights."""
        return float(np.sqrt(np.vdot(self.w, self.w) + self.outside))

    @functools.cached_property
    def norm_a(self) -> float:
        """Length of all output weights."""
        return float(np.sqrt(np.vdot(self.a, self.a)))


def draw(width: int, seed: int, rank: int, outside: int = 0, outputs: int = 1) -> Weights:
    """Weights of a net of ``width`` neurons over data of that rank, with so many further input dimensions.

    Widths and seeds are independent of each other. The directions outside of the row space enter the length of the
    weights only: their squares are drawn at once.
    """
    rng = np.random.default_rng([seed, width])
    a = rng.standard_normal(width if outputs == 1 else (width, outputs)).reshape(width, outputs)
    w = rng.standard_normal((width, rank))
    return Weights(a, w, float(rng.chisquare(width * outside)) if outside else 0.0)


@dataclass(frozen=True)
class Power:
    """A scale c m^p: what a beta or alpha is at width m."""

    factor: float
    power: float

    def log(self, width: float) -> float:
        """Its logarithm at a width."""
        return float(np.log(self.factor) + self.power * np.log(width))


@dataclass(frozen=True)
class Plan:
    """What does not vary over a diagram: the ladder, and how each net is trained.

    accuracy : relative error wanted of each relative distance. scales : beta1, beta2 and alpha instead of (gamma, gamma'),
    or None. descent : gradient descent with the step lr0 sqrt(beta1 beta2) alpha, halved when the loss rises.
    """

    widths: tuple[int, ...]
    seeds: tuple[int, ...]
    antisymmetric: bool
    target: float
    accuracy: float
    outside: int
    scales: tuple[Power, Power, Power] | None = None
    descent: bool = False
    lr0: float = 1.0


class Neurons(NamedTuple):
    """a : (c, N) and w : (r, N), in units of beta1 and beta2."""

    a: jax.Array
    w: jax.Array


class ReLU2(Flow):
    """Gradient flow of the normalised net; time in the rescaled units tbar.

    gamma, gamma_prime : place on the diagram. X : inputs, bias included, in the row space of the data, (n, r). y : (n, c).
    basis : orthonormal basis of that space in the space of inputs, (d + 1, r).
    """

    gamma: Number
    gamma_prime: Number
    X: np.ndarray
    y: np.ndarray
    basis: np.ndarray
    plan: Plan = eqx.field(static=True)

    theory: ClassVar[str] = "relu2"
    vocabularies: ClassVar[tuple[str, ...]] = ("regime",)
    units: ClassVar[dict[str, str]] = {"residual": "target units"}

    @property
    def unused(self) -> tuple[str, ...]:
        """Parameters that this net makes no use of."""
        scales = ("gamma", "gamma_prime") if self.plan.scales else ("beta1", "beta2", "alpha")
        return scales if self.plan.descent else (*scales, "lr0")

    def kappa(self) -> jax.Array:
        """beta1 beta2 / alpha at the first width."""
        return jnp.asarray(float(self.plan.widths[0])) ** -jnp.asarray(self.gamma)

    def kappa_prime(self) -> jax.Array:
        """beta1 / beta2 at the first width."""
        return jnp.asarray(float(self.plan.widths[0])) ** -jnp.asarray(self.gamma_prime)

    def init(self) -> Neurons:
        """The draws of the first width and seed; of an antisymmetric start, the second copy (-a, w) follows."""
        start = draw(self.plan.widths[0], self.plan.seeds[0], self.X.shape[1], self.plan.outside, self.y.shape[1])
        a, w = start.a.T, start.w.T
        if self.plan.antisymmetric:
            a, w = np.concatenate([a, -a], 1), np.concatenate([w, w], 1)
        return Neurons(jnp.asarray(a), jnp.asarray(w))

    def residual(self, state: Neurons) -> jax.Array:
        """f - y, target units, shape (n, c)."""
        return self.kappa() * jnp.maximum(self.X @ state.w, 0) @ state.a.T - self.y

    def loss(self, state: Neurons) -> jax.Array:
        """(1 / 2n) sum e^2."""
        return 0.5 * jnp.mean(jnp.sum(jnp.square(self.residual(state)), axis=1))

    def escaped(self, state: Neurons) -> jax.Array:
        """True once a weight is not finite: weights may grow by any factor."""
        return jnp.logical_not(jnp.all(jnp.isfinite(state.a)) & jnp.all(jnp.isfinite(state.w)))

    def velocity(self, t: jax.Array, state: Neurons) -> Neurons:
        """(1.8) and (1.9)."""
        e, n = self.residual(state), self.X.shape[0]
        H = self.X @ state.w
        force = jnp.where(H > 0, e @ state.a, 0.0)
        scale = self.kappa() / n
        return Neurons(
            -(scale / self.kappa_prime()) * e.T @ jnp.maximum(H, 0), -(scale * self.kappa_prime()) * self.X.T @ force
        )

    def check(self) -> None:
        """Raise RequestError for coordinates that are no finite numbers."""
        for name in ("gamma", "gamma_prime"):
            if not np.all(np.isfinite(np.asarray(getattr(self, name)))):
                raise RequestError(f"{name} is not a finite number; give for example {name}=1")


def numbers(name: str, text: Any, least: int, what: str) -> tuple[int, ...]:
    """Whole numbers separated by commas, each once."""
    parts = [part.strip() for part in str(text).split(",")]
    try:
        values = tuple(int(float(part)) for part in parts)
    except (ValueError, OverflowError):
        raise RequestError(f"{name} = {text} is no list of whole numbers; give for example {name}={what}") from None
    if any(float(part) != value for part, value in zip(parts, values, strict=True)) or min(values) < least:
        raise RequestError(f"{name} = {text} has a value below {least} or not whole; give for example {name}={what}")
    if len(set(values)) < len(values):
        raise RequestError(f"{name} = {text} lists a value twice; list each once")
    return values


def _power(name: str, text: Any) -> Power:
    found = SCALE.fullmatch(str(text).replace(" ", ""))
    try:
        texts = found.group("factor", "power", "number") if found else (None, None, None)
        factor, power, number = (float(v) if v else None for v in texts)
    except ValueError:
        factor = power = number = None
    size = number if number is not None else (1.0 if factor is None else factor)
    if (power is None and number is None) or not (np.isfinite(size) and size > 0):
        raise RequestError(f"{name} = {text} is no scale; give a number above 0 or a power of the width such as {name}=m^-0.5")
    return Power(size, power or 0.0)


def _scales(beta1: Any, beta2: Any, alpha: Any) -> tuple[Power, Power, Power] | None:
    given = {"beta1": beta1, "beta2": beta2, "alpha": alpha}
    if all(v is None for v in given.values()):
        return None
    missing = [name for name, v in given.items() if v is None]
    if missing:
        raise RequestError(f"{missing[0]} is missing; give beta1, beta2 and alpha together, or gamma and gamma_prime")
    b1, b2, a = (_power(name, v) for name, v in given.items())
    return b1, b2, a


def relu2(
    gamma: float | None = None, gamma_prime: float | None = None, width: Any = WIDTHS, data: str = "points",
    n: int | None = None, d: int | None = None, targets: str = "label", bias: str = "true", antisymmetric: str | None = None,
    beta1: Any = None, beta2: Any = None, alpha: Any = None, flow: str = "true", lr0: float = 1.0,
    target: float | None = None, accuracy: float = 0.05, seed: Any = SEEDS,
    data_dir: str | Path | None = None, search: Any = (),
) -> ReLU2:  # fmt: skip
    """Build the net from its parameters; see ``trainphase run relu2 --help`` for their meaning."""
    widths = tuple(sorted(numbers("width", width, 2, WIDTHS)))
    if max(widths) > MOST_NEURONS:
        raise RequestError(f"width = {max(widths)} is more than {MOST_NEURONS} neurons; give less")
    scales = _scales(beta1, beta2, alpha)
    if scales is not None and (gamma is not None or gamma_prime is not None):
        raise RequestError("gamma and the scales beta1, beta2, alpha are two ways to say one thing; give only one of them")
    for name, value in (("target", target), ("accuracy", accuracy), ("lr0", lr0)):
        if value is not None and not (np.isfinite(value) and value > 0):
            raise RequestError(f"{name} = {value} is out of range; give a number above 0")
    found = samples(data, n, d, 0, data_dir, targets=targets, search=search)
    with_bias = truth("bias", bias)
    inputs = augmented(found.X, with_bias)
    # A basis that is the whole space would only rotate the draws.
    if np.linalg.matrix_rank(inputs) == inputs.shape[1]:
        X, outside, basis = inputs, 0, np.eye(inputs.shape[1])
    else:
        (X, outside), basis = reduced(found.X, with_bias), row_space(found.X, with_bias)
    synthetic = data in ("points", "gaussian")
    plan = Plan(
        widths, numbers("seed", seed, 0, SEEDS), truth("antisymmetric", antisymmetric or ("true" if synthetic else "false")),
        target if target is not None else (1e-6 if synthetic else 1e-4), float(accuracy), int(outside), scales,
        not truth("flow", flow), float(lr0),
    )  # fmt: skip
    return ReLU2(1.0 if gamma is None else gamma, 0.0 if gamma_prime is None else gamma_prime, X, found.y, basis, plan)
