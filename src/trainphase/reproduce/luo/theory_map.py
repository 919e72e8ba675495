"""The diagram of the theory (Fig. 1.2): the boundary, the five sectors of exponents, and the named initialisations."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from trainphase.reproduce.claims import Claim, Measured, absolute, exact, largest
from trainphase.reproduce.context import Context
from trainphase.reproduce.runner import Figure
from trainphase.theory import relu2

if TYPE_CHECKING:
    import xarray

PAPER, WHERE = "luo", "Fig. 1.2"
# Inside the sectors of ``relu2.SECTORS``, at 0.25 or more from every border.
DEEP = {
    "kernel-w": ((0.5, -0.6), (0.2, -0.3), (0.7, -0.9)), "kernel-a": ((0.4, 0.6), (0.2, 0.3), (0.7, 0.9)),
    "w-lazy": ((1.3, 0.8), (1.4, 1.0)), "both-grow": ((1.75, 0.0), (2.0, 0.3), (2.0, -0.3)),
    "a-lazy": ((1.4, -0.9), (1.3, -0.7)),
}  # fmt: skip
NAMED = {
    "lecun": "linear", "he": "linear", "xavier": "critical", "ntk": "linear", "mean-field": "critical",
}  # fmt: skip


def compute(context: Context) -> xarray.Dataset:
    """Exponents S_w on a grid, dims (gamma, gamma_prime)."""
    import xarray

    n = context.pick(201, 401)
    g, p = np.linspace(0.0, 2.0, n), np.linspace(-1.0, 1.0, n)
    return xarray.Dataset(
        {"slope": (("gamma", "gamma_prime"), relu2.slope(g[:, None], p[None, :]))}, {"gamma": g, "gamma_prime": p}
    )


def _draw(data: Any) -> Any:
    from trainphase.figures import initialisation

    return initialisation.theory(data)


def _theorems(context: Context) -> Measured:
    """Random points at which the sign of our exponent is not what Theorems 6 and 8 say."""
    rng = np.random.default_rng(context.seed)
    points = np.stack([rng.uniform(-0.5, 3.0, 20_000), rng.uniform(-2.0, 2.0, 20_000)], 1)
    slopes = relu2.slope(*points.T)
    wrong = sum(
        bool(relu2.theorem_6(g, p, antisymmetric=True)) != (s < 0) or bool(relu2.theorem_8(g, p)) != (s > 0)
        for (g, p), s in zip(points, slopes, strict=True)
    )
    return Measured(wrong, note="20 000 points in [-0.5, 3] x [-2, 2]; Theorem 6 with an antisymmetric start")


def _continuous(context: Context) -> Measured:
    """The largest jump of the exponent over a distance of 1e-9 around random points of the four borders."""
    rng = np.random.default_rng(context.seed)
    t = rng.uniform(0.0, 2.0, 1000)
    one, nil = np.ones_like(t), np.zeros_like(t)
    borders = [(1 - t, nil), (one, t), (one, -t), (1 + t, t), (1 + t, -t)]
    step, worst = 0.5e-9, 0.0
    for g, p in borders:
        for a, b in ((step, 0.0), (0.0, step)):
            worst = largest(worst, np.abs(relu2.slope(g + a, p + b) - relu2.slope(g - a, p - b)))
    return Measured(worst)


def _rule(context: Context) -> Measured:
    """The largest difference of the exponent from the slope of the rule at a width of e^200, over the deep points."""
    worst = 0.0
    for name, points in DEEP.items():
        for g, p in points:
            if relu2.sector(g, p) != name:
                return Measured(np.inf, note=f"({g}, {p}) lies in {relu2.sector(g, p)} and not in {name}")
            found = relu2.slope_at(lambda log_m, g=g, p=p: (-g * log_m, -p * log_m), np.exp(200.0))
            worst = largest(worst, abs(found - float(relu2.slope(g, p))))
    return Measured(worst, note=f"{sum(map(len, DEEP.values()))} points in five sectors")


def _named(context: Context) -> Measured:
    """Named initialisations whose limit is not in the regime in which the figure shows them."""
    wrong = [name for name, regime in NAMED.items() if relu2.regime(*relu2.SCHEMES[name].limit) != regime]
    return Measured(len(wrong), note=", ".join(wrong) or "LeCun, He and NTK linear; Xavier and mean field critical")


CLAIMS = (
    Claim(
        PAPER, "Theorems 6 and 8", "points at which our exponent has not the sign that the theorems give", 0.0,
        absolute(0.0, "both are sets with the same boundary, and no random point is on it"), _theorems,
    ),
    Claim(
        PAPER, WHERE, "named initialisations that do not lie in the regime in which they are drawn", 0.0,
        exact("a count"), _named,
    ),
    Claim(
        PAPER, WHERE, "five sectors: the largest jump of the exponent across their borders", None,
        absolute(1e-8, "slopes of at most 2 over a distance of 1e-9, and rounding"), _continuous, expected=0.0,
    ),
    Claim(
        PAPER, WHERE, "five sectors: largest difference of the exponent from the slope of the rule of common growth at e^200",
        None, absolute(1e-3, "corrections are powers m^-0.25 or smaller of a width of 1e86, and a central difference"), _rule,
        expected=0.0,
    ),
)  # fmt: skip

FIGURE = Figure(PAPER, "theory", "Diagram of the theory for two layers", compute, _draw, CLAIMS, seconds_quick=2, seconds_full=3)
