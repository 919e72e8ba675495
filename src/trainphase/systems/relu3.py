"""The three-layer ReLU net under gradient flow.

f(x) = (1/alpha) a . relu(W2 relu(W1 x)), x with a 1 appended for the biases, both hidden layers of width m; entries of
W1, W2 and a are Gaussian of standard deviations beta_1, beta_2, beta_3 (Zhou et al. 2022). The loss is
R = (1 / 2n) sum_i e_i^2 with e = f - y.

In the rescaled variables V1 = W1 / beta_1, V2 = W2 / beta_2, c = a / beta_3, whose entries start of order one,
f = kappa F with F = c . relu(V2 relu(V1 x)) and kappa = beta_1 beta_2 beta_3 / alpha, and with
g = (beta_1 beta_2 beta_3)^(1/3) and the time s = t kappa / g^2 the flow is

    V' = -r (1/n) sum_i e_i dF_i/dV,    r_l = g^2 / beta_l^2,    r_1 r_2 r_3 = 1,

layer by layer, so that only kappa and two ratios of scales enter and nothing underflows. Conserved are
|row k of V1|^2 / r_1 - |column k of V2|^2 / r_2 and |row k of V2|^2 / r_2 - c_k^2 / r_3 of every neuron.
"""

from __future__ import annotations

import math
from typing import ClassVar, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np

from trainphase.errors import RequestError
from trainphase.system import Flow

Number = float | jax.Array
Data = np.ndarray | jax.Array
PRECISIONS = ("float64", "float32")
ADVICE = "give gamma3 and gamma2 (and not the scales), or the scales beta_1, beta_2, beta_3, alpha (and not the gammas)"


class Layers(NamedTuple):
    """Rescaled weights of all copies. W1: shape (copies, m, d). W2: shape (copies, m, m). a: shape (copies, m)."""

    W1: jax.Array
    W2: jax.Array
    a: jax.Array


class Jacobian(NamedTuple):
    """The vectors that make up dF_i/dV of every sample, each of shape (copies, n, m).

    h1, h2: hidden activations. s1, s2: derivatives of F by the hidden pre-activations. dF_i/dV1 = s1_i x_i^T,
    dF_i/dV2 = s2_i h1_i^T, dF_i/dc = h2_i.
    """

    h1: jax.Array
    h2: jax.Array
    s1: jax.Array
    s2: jax.Array


def gram(J: Jacobian, inner: jax.Array, rates: jax.Array) -> jax.Array:
    """J r J^T, that is sum over layers of r_l <dF_i/dV_l, dF_j/dV_l>, shape (n, n).

    ``inner`` = X X^T, shape (n, n); ``rates`` = (r_1, r_2, r_3). Jacobians are never formed: those of the first two
    layers are outer products, whose inner products are products of inner products.
    """
    h1, h2, s1, s2 = (jnp.einsum("kim,kjm->kij", v, v) for v in J)
    return rates[0] * jnp.sum(s1, 0) * inner + rates[1] * jnp.sum(s2 * h1, 0) + rates[2] * jnp.sum(h2, 0)


class ReLU3(Flow):
    """Gradient flow of the three-layer net; the state is :class:`Layers`, time is s (see the module).

    Parameters
    ----------
    log_beta1, log_beta2, log_beta3, log_alpha : natural logarithms of the scales.
    W1, W2, a : standard Gaussian draws, shapes (m, d), (m, m), (m,).
    X : inputs, the 1 of the biases included, shape (n, d). y : targets, shape (n,).
    antisymmetric : two copies with the same W1 and W2 and with +a and -a, so that f = 0 at the start; relative
        distances are those of the first copy.
    """

    log_beta1: Number
    log_beta2: Number
    log_beta3: Number
    log_alpha: Number
    W1: Data
    W2: Data
    a: Data
    X: Data
    y: Data
    antisymmetric: bool = eqx.field(static=True, default=False)
    vocabularies: ClassVar[tuple[str, ...]] = ()

    @property
    def copies(self) -> int:
        """1, or 2 when antisymmetric."""
        return 2 if self.antisymmetric else 1

    @property
    def kappa(self) -> jax.Array:
        """beta_1 beta_2 beta_3 / alpha, dimensionless."""
        return jnp.exp(jnp.asarray(self.log_beta1 + self.log_beta2 + self.log_beta3 - self.log_alpha))

    @property
    def rates(self) -> jax.Array:
        """(r_1, r_2, r_3), shape (3,)."""
        logs = jnp.stack([jnp.asarray(v) for v in (self.log_beta1, self.log_beta2, self.log_beta3)])
        return jnp.exp(2 * (jnp.mean(logs) - logs))

    def init(self) -> Layers:
        """The draws, once per copy."""
        a = jnp.asarray(self.a)
        W1, W2 = (jnp.repeat(jnp.asarray(W)[None].astype(a.dtype), self.copies, 0) for W in (self.W1, self.W2))
        return Layers(W1, W2, jnp.stack([a, -a][: self.copies]))

    def _activations(self, state: Layers, X: Data) -> tuple[jax.Array, jax.Array]:
        """Hidden activations at inputs X (n, d), shape (copies, n, m). They are positive where the pre-activations are."""
        h1 = jax.nn.relu(jnp.einsum("nd,kmd->knm", jnp.asarray(X), state.W1))
        return h1, jax.nn.relu(jnp.einsum("knm,kpm->knp", h1, state.W2))

    def jacobian(self, state: Layers) -> Jacobian:
        """Forward and backward vectors of every sample."""
        h1, h2 = self._activations(state, self.X)
        s2 = jnp.where(h2 > 0, state.a[:, None, :], 0.0)
        return Jacobian(h1, h2, jnp.where(h1 > 0, jnp.einsum("knp,kpm->knm", s2, state.W2), 0.0), s2)

    def outputs(self, state: Layers, X: Data) -> jax.Array:
        """f at inputs X (n, d), the 1 of the biases included, in the units of y, shape (n,)."""
        return self.kappa * jnp.einsum("knm,km->n", self._activations(state, X)[1], state.a)

    def residual(self, state: Layers) -> jax.Array:
        """e = f - y in the units of y, shape (n,)."""
        return self.outputs(state, self.X) - jnp.asarray(self.y)

    def loss(self, state: Layers) -> jax.Array:
        """(1 / 2n) sum_i e_i^2."""
        return 0.5 * jnp.mean(jnp.square(self.residual(state)))

    def velocity(self, t: jax.Array, state: Layers) -> Layers:
        """Rates per unit of s."""
        J = self.jacobian(state)
        e = self.residual(state) / len(self.y)
        r = -self.rates
        return Layers(
            r[0] * jnp.einsum("n,knm,nd->kmd", e, J.s1, jnp.asarray(self.X)),
            r[1] * jnp.einsum("n,knp,knm->kpm", e, J.s2, J.h1),
            r[2] * jnp.einsum("n,knm->km", e, J.h2),
        )

    def curvature(self, state: Layers) -> jax.Array:
        """Largest eigenvalue of the kernel K in e' = -K e, per unit of s."""
        X = jnp.asarray(self.X)
        return self.kappa / len(self.y) * jnp.linalg.eigvalsh(gram(self.jacobian(state), X @ X.T, self.rates))[-1]

    def relative_distances(self, state: Layers) -> jax.Array:
        """|V(t) - V(0)| / |V(0)| of W1, W2 and a in the Frobenius norm, of the first copy, shape (3,)."""
        pairs = zip(state, self.init(), strict=True)
        return jnp.stack([jnp.linalg.norm((now[0] - then[0]).ravel()) / jnp.linalg.norm(then[0].ravel()) for now, then in pairs])

    def conserved(self, state: Layers) -> tuple[jax.Array, jax.Array]:
        """The two conserved quantities of every neuron (see the module), each of shape (copies, m)."""
        r = self.rates
        W1, W2 = jnp.square(state.W1), jnp.square(state.W2) / r[1]
        return jnp.sum(W1, 2) / r[0] - jnp.sum(W2, 1), jnp.sum(W2, 2) - jnp.square(state.a) / r[2]

    def check(self) -> None:
        """Finite scales; arrays whose shapes belong together."""
        for name in ("log_beta1", "log_beta2", "log_beta3", "log_alpha"):
            if not np.all(np.isfinite(np.asarray(getattr(self, name)))):
                raise RequestError(f"{name} is not a finite number; give scales that are positive and finite")
        m, d = np.shape(self.W1)
        found = (np.shape(self.W2), np.shape(self.a), np.shape(self.X)[1:], np.shape(self.y))
        if found != ((m, m), (m,), (d,), np.shape(self.X)[:1]):
            raise RequestError(f"shapes of W2, a, X, y are {found} with W1 of shape {(m, d)}; build the net with relu3()")


def relu3(
    width: int,
    inputs: Data,
    targets: Data,
    *,
    gamma3: float | None = None,
    gamma2: float | None = None,
    scales: tuple[float, float, float, float] | None = None,
    seed: int = 0,
    bias: bool = True,
    antisymmetric: bool = False,
    w2_dtype: str = "float64",
) -> ReLU3:
    """A three-layer net on data, from (gamma3, gamma2) with beta_2 = beta_3, or from explicit scales.

    Parameters
    ----------
    width : m, of both hidden layers.
    inputs : shape (n, d) or (n,). targets : shape (n,).
    gamma3, gamma2 : -ln(beta_1 beta_2 beta_3 / alpha) / ln m and -ln(beta_3 / beta_1) / ln m.
    scales : (beta_1, beta_2, beta_3, alpha), all positive.
    seed : of the draws; they depend on the seed and the width only, and are independent between widths.
    bias : append a 1 to every input.
    antisymmetric : see :class:`ReLU3`.
    w2_dtype : "float32" draws and keeps W2 in single precision: m^2 numbers of 4 bytes (400 MB at m = 10000).

    Raises RequestError for a width below 2, data of wrong shapes or not finite, or scales that are not positive.
    """
    X, y = np.asarray(inputs, np.float64), np.asarray(targets, np.float64)
    X = X[:, None] if X.ndim == 1 else X
    if X.ndim != 2 or y.shape != X.shape[:1] or not y.size:
        raise RequestError(f"inputs of shape {X.shape} and targets of shape {y.shape}; give shapes (n, d) and (n,), n >= 1")
    if not (np.all(np.isfinite(X)) and np.all(np.isfinite(y))):
        raise RequestError("inputs or targets hold a number that is not finite; remove those rows")
    if width < 2:
        raise RequestError(f"width = {width} is too small; give at least 2")
    if w2_dtype not in PRECISIONS:
        raise RequestError(f"w2_dtype = {w2_dtype!r} is not a precision; give one of {', '.join(PRECISIONS)}")
    X = np.concatenate([X, np.ones((len(X), 1))], 1) if bias else X
    # Keyed by both: a ladder of widths of one seed has independent draws, and its slope has a standard error over seeds.
    rng = np.random.Generator(np.random.Philox(key=np.array([seed, width], np.uint64)))
    W1, a = rng.standard_normal((width, X.shape[1])), rng.standard_normal(width)
    W2 = rng.standard_normal((width, width), np.float32 if w2_dtype == "float32" else np.float64)
    return ReLU3(*_log_scales(width, gamma3, gamma2, scales), W1, W2, a, X, y, antisymmetric)


def _log_scales(
    width: int, gamma3: float | None, gamma2: float | None, scales: tuple[float, float, float, float] | None
) -> tuple[float, float, float, float]:
    """(ln beta_1, ln beta_2, ln beta_3, ln alpha); from the gammas with beta_2 = beta_3 = 1, as only ratios matter."""
    if scales is not None:
        if gamma3 is not None or gamma2 is not None:
            raise RequestError(f"gamma3 = {gamma3}, gamma2 = {gamma2} and scales = {scales} are given together; {ADVICE}")
        if len(scales) != 4 or not all(math.isfinite(s) and s > 0 for s in scales):
            raise RequestError(f"scales = {scales} are not four positive numbers; {ADVICE}")
        b1, b2, b3, alpha = (math.log(s) for s in scales)
        return b1, b2, b3, alpha
    if gamma3 is None or gamma2 is None or not (math.isfinite(gamma3) and math.isfinite(gamma2)):
        raise RequestError(f"gamma3 = {gamma3} and gamma2 = {gamma2} do not set the scales; {ADVICE}")
    unit = math.log(width)
    return gamma2 * unit, 0.0, 0.0, (gamma2 + gamma3) * unit
