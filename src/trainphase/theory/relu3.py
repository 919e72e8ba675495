"""The plane of initialisations of three-layer ReLU networks, in closed form: coordinates, exponents of both hidden layers.

f(x) = (1/alpha) a . relu(W2 relu(W1 x)) with two hidden layers of m neurons; entries of W1, W2 and a have standard
deviations beta1, beta2 and beta3. Beware: here beta1 is the first layer, in the two-layer papers it is the last.
Coordinates: beta1 beta2 beta3 / alpha = m^-gamma3, beta3 / beta1 = m^-gamma2, and beta2 / beta3 = m^-third. All
common initialisations have beta2 = beta3 up to a constant, hence third = 0, which leaves the plane of the paper.

The exponents of RD = ||W(t) - W(0)|| / ||W(0)|| come from the rule of common growth (see ``relu2``), with
n_1 = sqrt(m) beta1, s_2 = sqrt(m) beta2 and n_3 = sqrt(m) beta3; s_2 is the operator norm of W2, whose change has low
rank, while its Frobenius norm m beta2 is sqrt(m) larger: RD(W2) in Frobenius norm is RD in operator norm / sqrt(m).

References: Zhou, Zhou, Jin, Luo, Zhang and Xu, "Empirical phase diagram for three-layer neural networks with infinite
width", NeurIPS 2022: coordinates and regimes. Exponents and critical lines are derived here.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from trainphase.errors import RequestError
from trainphase.theory import relu2
from trainphase.theory.relu2 import REGIMES, ROUNDING, SCHEMES, Floats

LAYERS = ("w1", "w2")
"""The layers whose regime is asked for: W1, and W2 in Frobenius norm."""

NORMS = (*LAYERS, "w2_operator")
"""Relative distances with an exponent of their own."""

REGIONS = (("linear", "linear"), ("condensed", "linear"), ("linear", "condensed"), ("condensed", "condensed"))
"""The four regions of the plane as (regime of W1, regime of W2)."""

# --- coordinates --------------------------------------------------------------------------------------------


def log_scales(name: str, width: float, inputs: int, outputs: int = 1) -> tuple[float, float, float, float]:
    """(ln alpha, ln beta1, ln beta2, ln beta3) of a named initialisation of three layers, exactly, at any width."""
    if name not in SCHEMES:
        raise RequestError(f"the initialisation {name!r} is not known for three layers; give one of {', '.join(SCHEMES)}")
    scheme, m = SCHEMES[name], width
    first, second, last = (math.log(scheme.deviation(*fans)) for fans in ((inputs, m), (m, m), (m, outputs)))
    return scheme.log_alpha(m, 3), first, second, last


def coordinates(
    width: float, log_alpha: float, log_beta1: float, log_beta2: float, log_beta3: float
) -> tuple[float, float, float]:
    """(gamma3, gamma2, third) at a finite width, exactly, from the logarithms of the scales."""
    size = relu2.log_width(width)
    total = log_alpha - log_beta1 - log_beta2 - log_beta3
    # Adding 0.0 turns -0.0 into 0.0.
    return total / size + 0.0, (log_beta1 - log_beta3) / size + 0.0, (log_beta3 - log_beta2) / size + 0.0


# --- exponents and critical lines ---------------------------------------------------------------------------


def slopes(gamma3: ArrayLike, gamma2: ArrayLike, third: ArrayLike = 0.0) -> dict[str, Any]:
    """d ln RD / d ln m at infinite width of W1 ("w1") and W2 ("w2" Frobenius, "w2_operator"); broadcasts.

    With x_l the powers of m in n_1, s_2, n_3, and A that in alpha, Delta ~ m^(2h): h solves
    sum_l max(x_l, h) = A if A > sum x_l, and 2h = 2 min x_l + A - sum x_l otherwise; then RD_l ~ m^(2 (h - x_l)) or
    m^(h - x_l), the smaller one. For third = 0 and gamma3 <= 3/2 that is gamma3 - 3/2 - 2 max(gamma2, 0) for W1 and
    gamma3 - 2 + 2 min(gamma2, 0) for W2; beyond 3/2 there are three sectors each.
    """
    g3, g2, t = np.broadcast_arrays(*[np.asarray(v, np.float64) for v in (gamma3, gamma2, third)])
    x = np.stack([np.zeros_like(g3), -g2 - t, -g2])  # in units of n_1
    strength = x.sum(0) + g3 - 1.5
    a, b, c = np.sort(x, axis=0)
    # The left side is the largest of h + b + c, 2h + c and 3h, so its root is the smallest of theirs.
    grown = np.minimum(np.minimum(strength - b - c, (strength - c) / 2), strength / 3)
    h = np.where(g3 <= 1.5, a + (g3 - 1.5) / 2, grown)
    w1, operator = (np.minimum(2 * (h - n), h - n) for n in x[:2])
    return {"w1": w1[()], "w2": (operator - 0.5)[()], "w2_operator": operator[()]}


def critical_gamma3(layer: str, gamma2: ArrayLike, third: ArrayLike = 0.0) -> Any:
    """gamma3 at which RD of the layer (of ``NORMS``) keeps its size as m grows; condensed above, linear below.

    RD = 1 means that Delta is the layer's squared norm, m^(2h): gamma3 = 3/2 + sum_l max(h - x_l, 0). For third = 0:
    W1 3/2 + 2 max(gamma2, 0); W2 max(5/2, 3 - gamma2); W2 in operator norm 3/2 + max(-gamma2, 0).
    """
    if layer not in NORMS:
        raise RequestError(f"there is no critical line of {layer!r}; give {', '.join(NORMS)}")
    g2, t = np.broadcast_arrays(np.asarray(gamma2, np.float64), np.asarray(third, np.float64))
    x = np.stack([np.zeros_like(g2), -g2 - t, -g2])
    h = {"w1": x[0], "w2": x[1] + 0.5, "w2_operator": x[1]}[layer]
    return (1.5 + np.maximum(h - x, 0.0).sum(0))[()]


def critical_line(layer: str, lo: float = -1.0, hi: float = 1.5) -> Floats:
    """A critical line of the plane third = 0 as corners (gamma3, gamma2), shape (n, 2), from gamma2 = lo to hi."""
    corner = 0.5 if layer == "w2" else 0.0
    ends = [lo, corner, hi] if lo < corner < hi else [lo, hi]
    return np.array([(float(critical_gamma3(layer, g)), g) for g in ends])


def regime(layer: str, gamma3: float, gamma2: float, third: float = 0.0, within: float = ROUNDING) -> str:
    """The regime of a layer at a point; critical up to ``within`` of its critical line along gamma3."""
    distance = gamma3 - float(critical_gamma3(layer, gamma2, third))
    return REGIMES[1 + (distance > within) - (distance < -within)]


def region_index(gamma3: ArrayLike, gamma2: ArrayLike) -> Any:
    """Index into ``REGIONS`` of each point of the plane third = 0; a critical line belongs to the side below it."""
    above = [np.asarray(gamma3, np.float64) > critical_gamma3(layer, gamma2) for layer in LAYERS]
    return (above[0] + 2 * above[1])[()]


# --- the rule at finite width -------------------------------------------------------------------------------


def log_relative_distances(
    log_m: ArrayLike, log_alpha: ArrayLike, log_beta1: ArrayLike, log_beta2: ArrayLike, log_beta3: ArrayLike,
    target: float = 1.0,
) -> dict[str, Any]:  # fmt: skip
    """ln RD of W1 and W2 (see ``NORMS``) by the rule, for any scales, equal or not; broadcasts.

    ``target`` is the size of the targets over that of the inputs. Sizes are good to an order of magnitude.
    """
    if not (math.isfinite(target) and target > 0):
        raise RequestError(f"target = {target:g} is not possible; give a finite target above 0")
    half = 0.5 * np.asarray(log_m, np.float64)
    norms = [half + np.asarray(b, np.float64) for b in (log_beta1, log_beta2, log_beta3)]
    delta = relu2.log_growth(norms, np.asarray(log_alpha, np.float64) + math.log(target))
    operator = relu2.log_distance(norms[1], delta)
    return {"w1": relu2.log_distance(norms[0], delta), "w2": operator - half, "w2_operator": operator}


def slopes_at(scales: Any, width: float, target: float = 1.0) -> dict[str, float]:
    """d ln RD / d ln m of the rule at a finite width, along ``scales``: ln m -> (ln alpha, ln beta1, ln beta2, ln beta3)."""
    at, step = relu2.log_width(width), 1e-3  # as in relu2.slope_at
    above, below = at + step, max(at - step, math.log(2.0))
    up, down = (log_relative_distances(v, *scales(v), target=target) for v in (above, below))
    return {name: float((up[name] - down[name]) / (above - below)) for name in NORMS}
