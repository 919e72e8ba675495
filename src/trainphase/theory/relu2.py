"""The plane of initialisations of two-layer ReLU networks, in closed form: coordinates, regimes, exponents, bounds.

f(x) = (1/alpha) sum_k a_k relu(w_k . x) with m hidden neurons and x augmented by a constant 1; a_k ~ N(0, beta1^2),
w_k ~ N(0, beta2^2 I); loss (1/2n) sum (f - y)^2. The coordinates are kappa = beta1 beta2 / alpha and
kappa' = beta1 / beta2, as powers of the width: kappa = m^-gamma, kappa' = m^-gamma'. The relative distance
RD = ||theta_w(t) - theta_w(0)|| / ||theta_w(0)|| of all input weights, biases included, goes as m^S_w.

The exponents come from one rule, the *common growth* of the layers: gradient flow keeps |layer|^2 - |other layer|^2,
so every squared norm grows by the same Delta, and it grows until the layers can represent targets of size 1:

    prod_l sqrt(n_l^2 + Delta) = prod_l n_l + alpha,    n_w = sqrt(m) beta2,  n_a = sqrt(m) beta1.

It gives powers of m exactly, and sizes to a factor of about two. Everything here is a formula or the root of one.

References: Luo, Xu, Ma and Zhang, "Phase diagram for two-layer ReLU neural networks at infinite-width limit", JMLR 22
(71), 2021: coordinates, regimes, Table 1, Theorems 6 and 8, Proposition 26. The rule and the map of exponents are
derived here.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from trainphase.errors import RequestError

Floats = NDArray[np.float64]

REGIMES = ("linear", "critical", "condensed")
"""Regimes by S_w below, at and above 0, in the order in which growing gamma meets them."""

SECTORS = ("kernel-w", "kernel-a", "w-lazy", "both-grow", "a-lazy")
"""Sectors of the map of exponents: which layer moves more in the kernel regime; beyond it, which layer stays behind."""

ROUNDING = 1e-12
"""Coordinates nearer to the boundary than this lie on it: differences such as 1.2 - 1 - 0.2 are not exactly 0."""

# --- coordinates --------------------------------------------------------------------------------------------


def kappa(alpha: float, beta1: float, beta2: float) -> float:
    """Size of the network's output per neuron, beta1 beta2 / alpha. RequestError unless all are finite and > 0."""
    _positive(alpha=alpha, beta1=beta1, beta2=beta2)
    return beta1 * beta2 / alpha


def kappa_prime(beta1: float, beta2: float) -> float:
    """Size of the output weights over that of the input weights, beta1 / beta2. RequestError unless finite and > 0."""
    _positive(beta1=beta1, beta2=beta2)
    return beta1 / beta2


def gamma(kappa: float, width: float) -> float:
    """The exponent -ln kappa / ln m at a finite width m, exactly. RequestError unless kappa > 0 and m >= 2."""
    _positive(kappa=kappa)
    return 0.0 - math.log(kappa) / log_width(width)


def gamma_prime(kappa_prime: float, width: float) -> float:
    """The exponent -ln kappa' / ln m at a finite width m, exactly. RequestError unless kappa' > 0 and m >= 2."""
    _positive(kappa_prime=kappa_prime)
    return 0.0 - math.log(kappa_prime) / log_width(width)


def log_width(width: float) -> float:
    """ln m, for whole numbers of any size. RequestError unless m >= 2 (a power of 1 says nothing)."""
    if not width >= 2 or width == math.inf:
        raise RequestError(f"width {width} has no exponent; give a width of at least 2")
    return math.log(width)


def _positive(**values: float) -> None:
    for name, value in values.items():
        if not (math.isfinite(value) and value > 0):
            raise RequestError(f"{name} = {value:g} is not possible; give a finite {name} above 0")


# --- named initialisations ----------------------------------------------------------------------------------


@dataclass(frozen=True)
class Scheme:
    """A named initialisation: each weight has variance gain / fan, and the output is divided by m^power.

    ``fan`` is "in", "mean" ((fan_in + fan_out) / 2) or "one" (the variance does not depend on the layer's size).
    ``power`` is that of two layers and of three. ``biases`` is their standard deviation over that of the hidden
    weights: 0 (they start at 0) or 1. ``limit`` is (gamma, gamma') and ``limit3`` is (gamma3, gamma2) for
    infinite width at a fixed number of inputs. ``source`` says whose it is.
    """

    name: str
    gain: float
    fan: str
    power: tuple[float, float]
    biases: int
    limit: tuple[float, float]
    limit3: tuple[float, float]
    source: str

    def deviation(self, fan_in: float, fan_out: float) -> float:
        """Standard deviation of a layer's weights."""
        fan = {"one": 1, "in": fan_in, "mean": (fan_in + fan_out) / 2}[self.fan]
        return math.sqrt(self.gain / fan)

    def alpha(self, width: float, layers: int) -> float:
        """What the output of two or three layers is divided by; inf where float64 ends."""
        try:
            return float(width) ** self.power[layers - 2]
        except OverflowError:
            return math.inf

    def log_alpha(self, width: float, layers: int) -> float:
        """ln of what the output is divided by."""
        return self.power[layers - 2] * log_width(width)


_HALF, _KERNEL, _MEAN = (0.5, 0.5), (0.5, 0.0), (1.0, 0.0)
_PLAIN = (0.0, 0.0)
SCHEMES: dict[str, Scheme] = {
    s.name: s
    for s in (
        Scheme("lecun", 1.0, "in", _PLAIN, 0, _HALF, (1.0, 0.5), "LeCun et al. 2012"),
        Scheme("he", 2.0, "in", _PLAIN, 0, _HALF, (1.0, 0.5), "He et al. 2015 (Kaiming)"),
        Scheme("xavier", 1.0, "mean", _PLAIN, 0, _MEAN, (1.5, 0.0), "Glorot and Bengio 2010"),
        Scheme("ntk", 1.0, "one", (0.5, 1.0), 1, _KERNEL, (1.0, 0.0), "Jacot et al. 2018"),
        Scheme("mean-field", 1.0, "one", (1.0, 1.5), 1, _MEAN, (1.5, 0.0), "Mei et al. 2018 and others"),
        Scheme("pytorch", 1 / 3, "in", _PLAIN, 1, _HALF, (1.0, 0.5), "torch.nn.Linear's default, U(-1, 1)/sqrt(fan_in)"),
        Scheme("equinox", 1 / 3, "in", _PLAIN, 1, _HALF, (1.0, 0.5), "equinox.nn.Linear's default, that of PyTorch"),
        Scheme("flax", 1.0, "in", _PLAIN, 0, _HALF, (1.0, 0.5), "flax Dense's default, lecun_normal"),
        Scheme("keras", 1.0, "mean", _PLAIN, 0, _MEAN, (1.5, 0.0), "Keras Dense's default, glorot_uniform"),
    )
}
"""Initialisations without a free parameter. That of E et al. 2019 (alpha = 1, beta1 = beta, beta2 = 1) has one."""


def log_scales(name: str, width: float, inputs: int, outputs: int = 1, beta: float | None = None) -> tuple[float, float, float]:
    """(ln alpha, ln beta1, ln beta2) of a named initialisation of two layers, exactly, at any width.

    ``inputs`` does not count the constant 1 that carries the biases. ``name`` is one of ``SCHEMES``, or "e", which
    takes ``beta``. Logarithms, because products such as (m+1)(m+d) overflow at widths where limits are looked at.
    Raises RequestError for a name that is not known, and for "e" without a beta above 0.
    """
    if name == "e":
        if beta is None:
            raise RequestError("the initialisation 'e' has a free scale; give beta")
        _positive(beta=beta)
        return 0.0, math.log(beta), 0.0
    if name not in SCHEMES:
        raise RequestError(f"the initialisation {name!r} is not known; give one of {', '.join(SCHEMES)}, e")
    scheme = SCHEMES[name]
    layers = scheme.deviation(width, outputs), scheme.deviation(inputs, width)
    return scheme.log_alpha(width, 2), math.log(layers[0]), math.log(layers[1])


# --- regimes and exponents ----------------------------------------------------------------------------------


def critical_gamma(gamma_prime: ArrayLike) -> Any:
    """The boundary: gamma = 1 for gamma' <= 0, and gamma = 1 + gamma' above."""
    return 1.0 + np.maximum(np.asarray(gamma_prime, np.float64), 0.0)


def excess(gamma: ArrayLike, gamma_prime: ArrayLike) -> Any:
    """Distance from the boundary along gamma: negative in the linear regime, positive in the condensed one.

    At a finite width it is -ln(m kappa / min(1, kappa')) / ln m.
    """
    return np.asarray(gamma, np.float64) - critical_gamma(gamma_prime)


def regime(gamma: float, gamma_prime: float, within: float = ROUNDING) -> str:
    """The regime of a point; critical up to ``within`` of the boundary along gamma."""
    distance = float(excess(gamma, gamma_prime))
    return REGIMES[1 + (distance > within) - (distance < -within)]


def critical_line(lo: float = -1.0, hi: float = 1.0) -> Floats:
    """The boundary as corners (gamma, gamma'), shape (n, 2), from gamma' = lo to hi."""
    ends = [lo, 0.0, hi] if lo < 0 < hi else [lo, hi]
    return np.array([(float(critical_gamma(g)), g) for g in ends])


def sector_index(gamma: ArrayLike, gamma_prime: ArrayLike) -> NDArray[np.intp]:
    """Index into ``SECTORS``; a point on a border belongs to the one named first. Broadcasts."""
    g, p = np.broadcast_arrays(np.asarray(gamma, np.float64), np.asarray(gamma_prime, np.float64))
    inside = [(g <= 1) & (p <= 0), g <= 1, p >= g - 1, p >= 1 - g]
    return np.select(inside, [0, 1, 2, 3], 4).astype(np.intp)


def sector(gamma: float, gamma_prime: float) -> str:
    """The sector of a point; see ``SECTORS`` and ``slope``."""
    return SECTORS[int(sector_index(gamma, gamma_prime))]


def slope(gamma: ArrayLike, gamma_prime: ArrayLike) -> Any:
    """S_w = d ln RD / d ln m at infinite width; continuous, linear in each of the five sectors; broadcasts.

    kernel-w (gamma <= 1, gamma' <= 0) gamma - 1; kernel-a (gamma <= 1, gamma' >= 0) gamma - 1 - 2 gamma';
    w-lazy (gamma >= 1, gamma' >= gamma - 1) 2 (gamma - 1 - gamma'); both-grow (|gamma'| between) (gamma - 1 - gamma')/2;
    a-lazy (gamma >= 1, gamma' <= 1 - gamma) gamma - 1. In the last the few neurons that are active on all data
    may not be able to fit them, and S_w then depends on the data.
    """
    g, p = np.broadcast_arrays(np.asarray(gamma, np.float64), np.asarray(gamma_prime, np.float64))
    values = [g - 1, g - 1 - 2 * p, 2 * (g - 1 - p), (g - 1 - p) / 2, g - 1]
    return np.choose(sector_index(g, p), values)[()]


# --- the rule of common growth at finite width --------------------------------------------------------------


def _log_softplus(z: Floats) -> Floats:
    """ln ln(1 + e^z), accurate however small e^z is."""
    return np.where(z < -40.0, z, np.log(np.logaddexp(0.0, np.maximum(z, -40.0))))


def log_growth(log_norms: Sequence[ArrayLike], log_capacity: ArrayLike) -> Floats:
    """ln Delta of prod_l sqrt(n_l^2 + Delta) = prod_l n_l + c, from ln n_l and ln c; broadcasts over both.

    As 1/2 sum_l ln(1 + Delta/n_l^2) = ln(1 + c / prod n_l), whose left side grows with Delta: bisected in ln Delta
    to the last bit. For a product far above c it is 2 min n_l^2 c / prod n_l when one n_l is far the smallest.
    """
    x = np.stack(np.broadcast_arrays(*[np.asarray(n, np.float64) for n in log_norms], np.asarray(log_capacity, np.float64)))
    x, target = x[:-1], _log_softplus(x[-1] - x[:-1].sum(0))
    # ln(1 + r) <= r gives the lower end; the largest term alone, halved, can reach the target at the upper end.
    lo = target + math.log(2.0) - np.logaddexp.reduce(-2.0 * x, axis=0)
    hi = lo + 1.0
    for _ in range(64):  # the end doubles its distance each time, so this spans any ratio of scales
        short = _half_sum(x, hi) < target
        if not short.any():
            break
        hi = np.where(short, lo + 2.0 * (hi - lo), hi)
    for _ in range(80):
        middle = 0.5 * (lo + hi)
        below = _half_sum(x, middle) < target
        lo, hi = np.where(below, middle, lo), np.where(below, hi, middle)
    return 0.5 * (lo + hi)


def _half_sum(log_norms: Floats, log_delta: Floats) -> Floats:
    """ln of 1/2 sum_l ln(1 + Delta/n_l^2)."""
    return np.logaddexp.reduce(_log_softplus(log_delta - 2.0 * log_norms), axis=0) - math.log(2.0)


def log_distance(log_norm: ArrayLike, log_delta: ArrayLike) -> Any:
    """ln RD of a layer whose squared norm grows by Delta along itself: RD = sqrt(1 + Delta/n^2) - 1.

    Delta / (2 n^2) while small and sqrt(Delta) / n when large.
    """
    z = np.asarray(log_delta, np.float64) - 2.0 * np.asarray(log_norm, np.float64)
    half = 0.5 * np.logaddexp(0.0, np.clip(z, -40.0, 80.0))
    return np.select([z < -40.0, z > 80.0], [z - math.log(2.0), 0.5 * z], np.log(np.expm1(half)))[()]


def log_relative_distance(log_m: ArrayLike, log_kappa: ArrayLike, log_kappa_prime: ArrayLike, target: float = 1.0) -> Any:
    """ln RD by the rule, from ln m, ln kappa and ln kappa'; broadcasts.

    Only m kappa / ``target`` and kappa' count. ``target`` is the size of the targets over that of the inputs.
    """
    _positive(target=target)
    log_p = np.asarray(log_m, np.float64) + np.asarray(log_kappa, np.float64)
    ratio = np.asarray(log_kappa_prime, np.float64)
    ratio, log_p = np.broadcast_arrays(ratio, log_p)
    nothing = np.zeros_like(ratio)  # in units of n_w
    return log_distance(nothing, log_growth((ratio, nothing), ratio - log_p + math.log(target)))


def relative_distance(
    width: float, alpha: float, beta1: float, beta2: float, *, target: float = 1.0, inputs: int = 1
) -> float:  # fmt: skip
    """RD of the input weights by the rule at a finite width: an order of magnitude, to a factor of about two.

    ``inputs`` above 1 counts the weights in directions in which the data do not lie, which do not move: they lengthen
    ||theta_w(0)|| by sqrt(inputs), whatever the width.
    """
    logs = log_width(width), math.log(kappa(alpha, beta1, beta2)), math.log(kappa_prime(beta1, beta2))
    if inputs < 1:
        raise RequestError(f"inputs = {inputs} is not possible; give a whole number of at least 1")
    return math.exp(float(log_relative_distance(*logs, target))) / math.sqrt(inputs)


def slope_at(scales: Callable[[float], tuple[float, float]], width: float, target: float = 1.0) -> float:
    """d ln RD / d ln m of the rule at a finite width, along m -> (ln kappa, ln kappa') given as ``scales(ln m)``.

    It tends to ``slope`` as m grows; near a border of two sectors it lies between their values.
    """
    # A central difference: error about step^2, and rounding 1e-15 ln m / step; one-sided at the width of 2, where widths begin.
    at, step = log_width(width), 1e-3
    above, below = at + step, max(at - step, math.log(2.0))
    up, down = (float(log_relative_distance(v, *scales(v), target)) for v in (above, below))
    return (up - down) / (above - below)


def zero_crossing(gamma_prime: float, widths: Sequence[float], target: float = 1.0) -> float:
    """gamma at which S_w, fitted over the ladder of widths, crosses 0 by the rule: where experiments see the boundary.

    It goes to ``critical_gamma`` as the widths grow, and lies above it for gamma' > 0. On the four points of Luo et al.
    the measured crossings (widths 1000 to 40 000) are within 0.05 of it.
    """
    logs = np.array([log_width(m) for m in widths])
    if np.ptp(logs) == 0:
        raise RequestError(f"the widths {list(widths)} give no slope; give two different ones")
    weights = logs - logs.mean()
    lo, hi = -1.0, 3.0 + max(0.0, gamma_prime)
    for _ in range(60):
        g = 0.5 * (lo + hi)
        rising = weights @ log_relative_distance(logs, -g * logs, -gamma_prime * logs, target) > 0
        lo, hi = (lo, g) if rising else (g, hi)
    return 0.5 * (lo + hi)


# --- theorems of the paper ----------------------------------------------------------------------------------


def theorem_6(gamma: float, gamma_prime: float, antisymmetric: bool = False) -> bool:
    """Whether Theorem 6 puts the point into the linear regime: gamma < 1 or gamma' > gamma - 1.

    For gamma <= 1/2 it assumes an antisymmetric initialisation, whose output is 0; for all, Gram matrices that are
    positive definite.
    """
    return (gamma < 1 or gamma_prime > gamma - 1) and (gamma > 0.5 or antisymmetric)


def theorem_6_bound(width: float, kappa: float, kappa_prime: float, case: str = "gamma") -> float:
    """The order of Theorem 6's upper bound on RD, without its constant, which depends on the data.

    ln m / (m kappa) for gamma < 1 (case "gamma"); kappa' ln m / (m kappa) for gamma' > gamma - 1 ("gamma_prime").
    """
    if case not in ("gamma", "gamma_prime"):
        raise RequestError(f"Theorem 6 has no case {case!r}; give gamma or gamma_prime")
    _positive(kappa=kappa, kappa_prime=kappa_prime)
    return (1.0 if case == "gamma" else kappa_prime) * log_width(width) / (width * kappa)


def theorem_8(gamma: float, gamma_prime: float) -> bool:
    """Whether Theorem 8 puts the point into the condensed regime: gamma > 1 and gamma' < gamma - 1.

    It assumes targets of size max y >= 1/2 and training to a loss of at most 1/(32 n).
    """
    return gamma > 1 and gamma_prime < gamma - 1


def theorem_8_bound(width: float, kappa: float, kappa_prime: float) -> float:
    """The order of Theorem 8's lower bound on RD, without its constant: sqrt(min(1, kappa') / (m kappa))."""
    _positive(width=width, kappa=kappa, kappa_prime=kappa_prime)
    return math.sqrt(min(1.0, kappa_prime) / (width * kappa))


def proposition_26(gamma: float, gamma_prime: float) -> bool:
    """Hypothesis of Proposition 26 as it must read: gamma' < 1 - gamma, that is 1/(m kappa kappa') -> 0.

    The paper prints gamma' < gamma - 1, which does not give what its proof uses.
    """
    return gamma_prime < 1 - gamma
