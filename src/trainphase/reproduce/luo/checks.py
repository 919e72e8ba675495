"""Binned against single neurons, the bounds of Theorems 6 and 8, and the scaling argument (1.13): items without figures."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from trainphase.reproduce.claims import Claim, Measured, absolute, exact
from trainphase.reproduce.context import Context
from trainphase.reproduce.luo import runs
from trainphase.reproduce.runner import Figure
from trainphase.theory import relu2 as theory

if TYPE_CHECKING:
    import xarray

# All sectors, both sides of the critical line, and the corner (2, -0.5) where few neurons carry the fit.
POINTS = (
    (0.5, 0.0), (0.5, -0.6), (0.4, 0.6), (1.0, 0.0), (1.2, 0.2),
    (1.5, 1.2), (1.75, 0.0), (1.3, -0.3), (1.5, 0.5), (2.0, -0.5),
)  # fmt: skip
ACCURACY = 0.01
ALL = -1


def pair(point: runs.Point, width: int, seed: int) -> tuple[float, float, float, float, float]:
    """RD binned, its estimated error, RD of single neurons, particles, and whether both reached the target."""
    from trainphase.relu import ladder

    size = runs.sizes("points")
    binned = ladder.train(*point, width, seed, size, ACCURACY)
    single = ladder.train(*point, width, seed, size, level=ALL)
    done = binned.outcome == single.outcome == "converged"
    return binned.relative_distance, binned.error, single.relative_distance, float(binned.particles), float(done)


def compute(context: Context) -> xarray.Dataset:
    """Ten points at width 40 000 (10 000 when quick), one seed."""
    import xarray

    width, seed = context.pick(10000, 40000), context.seeds(1)[0]
    context.progress.start(len(POINTS), 0)
    jobs = (POINTS, [width] * len(POINTS), [seed] * len(POINTS))
    rows = list(map(pair, *jobs) if context.executor is None else context.executor.map(pair, *jobs))
    names = ("binned", "estimate", "single", "particles", "converged")
    variables = {name: ("point", [row[k] for row in rows]) for k, name in enumerate(names)}
    coords = {"gamma": ("point", [p[0] for p in POINTS]), "gamma_prime": ("point", [p[1] for p in POINTS])}
    return xarray.Dataset(variables, coords, {"width": width})


def _errors(context: Context) -> tuple[np.ndarray, np.ndarray, str]:
    """True relative error and estimate of every point, and a note."""
    data = context.data()
    true = np.abs(data["binned"].values / data["single"].values - 1)
    estimate = data["estimate"].values
    rows = zip(data["gamma"].values, data["gamma_prime"].values, true, estimate, data["particles"].values, strict=True)
    each = "; ".join(f"({g:g}, {p:g}): {100 * t:.2f} %, estimate {100 * e:.2f} %, {int(n)} particles" for g, p, t, e, n in rows)
    return true, estimate, f"width {data.attrs['width']}; {each}"


def _largest(context: Context) -> Measured:
    true, _, note = _errors(context)
    return Measured(float(true.max()), note=note)


def _covered(context: Context) -> Measured:
    true, estimate, _ = _errors(context)
    covered = true <= estimate
    note = f"{int(covered.sum())} of {true.size}"
    if not covered.all():
        over = (true / estimate)[~covered]
        note += f"; the others exceed it by up to {over.max():.1f} times, with errors up to {100 * true[~covered].max():.2f} %"
    return Measured(bool(covered.sum() >= 9), note=note)


BINNED = Figure(
    runs.PAPER, "binned", "Relative distance of binned against single neurons", compute, None,
    (
        Claim(
            runs.PAPER, "solver", "largest relative error of RD by binning, ten points of the plane", None,
            absolute(ACCURACY, "the accuracy that is asked for"), _largest, expected=0.0,
        ),
        Claim(
            runs.PAPER, "solver", "the estimated error covers the true one at nine of ten points or more", None,
            exact("a count"), _covered, expected=True,
        ),
    ),
    seconds_quick=25, seconds_full=150,
)  # fmt: skip


# --- theorems -----------------------------------------------------------------------------------------------

# Each case of Theorem 6 on its own side of the line, and Theorem 8 for both signs of gamma'.
UPPER = ((0.5, 0.0, "gamma"), (0.7, -0.4, "gamma"), (0.6, 0.4, "gamma"), (1.2, 0.6, "gamma_prime"), (1.5, 1.0, "gamma_prime"))
LOWER = ((1.5, 0.0), (1.75, 0.0), (2.0, -0.5), (2.0, 0.5), (1.5, -0.2))
# Theorem 8 wants a target of at least 1/2; the four points have 1/4 at most, so that they are multiplied.
FACTOR = 4.0


def _data(context: Context, points: tuple[runs.Point, ...], factor: float) -> xarray.Dataset:
    return runs.measured(context, points, context.pick(runs.WIDTHS[:3], runs.WIDTHS), context.pick(2, 3), factor=factor)


def compute_6(context: Context) -> xarray.Dataset:
    """Five points where Theorem 6 bounds RD from above."""
    return _data(context, tuple((g, p) for g, p, _ in UPPER), 1.0)


def compute_8(context: Context) -> xarray.Dataset:
    """Five points where Theorem 8 bounds RD from below, with targets 4 x^2."""
    return _data(context, LOWER, FACTOR)


def ratios(data: xarray.Dataset, bounds: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """RD over the bound (point, width), means over seeds, and the exponent of their growth with its standard error."""
    from trainphase.relu import ladder

    found = data["distance"].values / bounds[..., None]
    fits = np.array([ladder.fit(data["width"].values, row) for row in found])
    return found.mean(-1), fits[:, 0], fits[:, 1]


def _order_of(width: float, gamma: float, prime: float, case: str) -> float:
    """The bound of Theorem 6 in that case; of Theorem 8 without one."""
    scales = width**-gamma, width**-prime
    return theory.theorem_6_bound(width, *scales, case) if case else theory.theorem_8_bound(width, *scales)


def _bound(context: Context, upper: bool) -> tuple[np.ndarray, str]:
    """How fast RD outgrows the upper bound, or falls behind the lower one, less 3 standard errors; and a note."""
    data = context.data()
    widths = data["width"].values
    cases = UPPER if upper else tuple((g, p, "") for g, p in LOWER)
    bounds = np.array([[_order_of(float(m), *case) for m in widths] for case in cases])
    ratio, growth, error = ratios(data, bounds)
    rows = "; ".join(
        f"({c[0]:g}, {c[1]:g}): {r[0]:.3g} to {r[-1]:.3g}, exponent {g:+.3f} +- {e:.3f}"
        for c, r, g, e in zip(cases, ratio, growth, error, strict=True)
    )
    return (growth if upper else -growth) - 3 * error, f"RD over the bound from the narrowest to the widest: {rows}"


def _holds(context: Context, upper: bool) -> Measured:
    excess, note = _bound(context, upper)
    return Measured(bool((excess <= 0).all()), note=note)


THEOREM_6 = Figure(
    runs.PAPER, "theorem6", "Theorem 6: RD below its upper bound as the width grows", compute_6, None,
    (
        Claim(
            runs.PAPER, "Theorem 6", "RD over ln m / (m kappa), or kappa' ln m / (m kappa), does not grow with the width", True,
            exact("its exponent is above 0 by no more than 3 standard errors; the theorem's constant is not known"),
            lambda c: _holds(c, True),
        ),
    ),
    seconds_quick=10, seconds_full=20,
)  # fmt: skip

THEOREM_8 = Figure(
    runs.PAPER, "theorem8", "Theorem 8: RD above its lower bound as the width grows", compute_8, None,
    (
        Claim(
            runs.PAPER, "Theorem 8", "RD over sqrt(min(1, kappa') / (m kappa)) does not fall with the width", True,
            exact("its exponent is below 0 by no more than 3 standard errors; the theorem's constant is not known"),
            lambda c: _holds(c, False),
        ),
    ),
    seconds_quick=10, seconds_full=30,
)  # fmt: skip

# --- the scaling argument -----------------------------------------------------------------------------------

# Two points at which the input weights stay while the output weights grow (1.13), and one at which both grow.
LAZY, GROWING = ((1.5, 1.2), (1.3, 1.0)), (2.0, 0.5)
CAPACITY_WIDTHS = (1000, 4000, 16000)


def output_scale(point: runs.Point, width: int, seed: int) -> float:
    """E|a| / beta2 over the neurons at the end of training, that is kappa' E|abar|; bins would average a over directions."""
    from trainphase.relu import ladder

    run = ladder.train(*point, width, seed, runs.sizes("points"), level=ALL)
    mass = run.start.mass
    return width ** -point[1] * float(np.sum(mass * np.abs(run.a).mean(0)) / mass.sum())


def compute_capacity(context: Context) -> xarray.Dataset:
    """E|a| / beta2 at the end, dims (point, width, seed), and its slopes."""
    import xarray

    points, numbers = (*LAZY, GROWING), context.seeds(context.pick(2, 4))
    context.progress.start(len(points), 0)
    found = np.empty((len(points), len(CAPACITY_WIDTHS), len(numbers)))
    for k, point in enumerate(points):
        found[k] = [[output_scale(point, width, seed) for seed in numbers] for width in CAPACITY_WIDTHS]
        context.progress.advance(1)
    coords = {"gamma": ("point", [p[0] for p in points]), "gamma_prime": ("point", [p[1] for p in points])}
    return xarray.Dataset({"scale": (("point", "width", "seed"), found)}, {**coords, "width": list(CAPACITY_WIDTHS)})


def _output_slope(context: Context, k: int) -> Measured:
    from trainphase.relu import ladder

    data = context.data()
    value, error = ladder.fit(data["width"].values, data["scale"].values[k])
    sizes = data["scale"].values[k].mean(-1)
    low, *_, high = CAPACITY_WIDTHS
    return Measured(value, error, f"from {sizes[0]:.3g} at width {low} to {sizes[-1]:.3g} at {high}")


FINITE = absolute(0.05, "finite widths, as of the exponents: these points are well inside their sectors")
CAPACITY = Figure(
    runs.PAPER, "capacity", "The scaling argument: how far the output weights must grow", compute_capacity, None,
    (
        *(
            # m beta2 E|a| / alpha is of order 1 at the end, so that E|a| / beta2 goes as kappa' / (m kappa).
            Claim(
                runs.PAPER, "(1.13), (1.14)", f"slope of ln(E|a| / beta2) against ln m at gamma = {g:g}, gamma' = {p:g}",
                round(g - 1 - p, 12), FINITE, lambda c, k=k: _output_slope(c, k),
            )
            for k, (g, p) in enumerate(LAZY)
        ),
        Claim(
            runs.PAPER, "Section 1.7",
            f"the same at gamma = {GROWING[0]:g}, gamma' = {GROWING[1]:g}, where a cannot fit the target alone", None, FINITE,
            lambda c: _output_slope(c, len(LAZY)), expected=(GROWING[0] - 1 - GROWING[1]) / 2,
        ),
    ),
    seconds_quick=12, seconds_full=25,
)  # fmt: skip

FIGURES = (BINNED, THEOREM_6, THEOREM_8, CAPACITY)
