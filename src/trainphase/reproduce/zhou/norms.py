"""W2 measured in the operator norm: its change has low rank, so that it is larger by sqrt(m) beside |W2(0)| than in Frobenius'.

The paper's own norm is not in our documents. In the operator norm the critical line is gamma3 = 3/2 for gamma2 >= 0, where in
Frobenius norm W2 is still linear.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING

import numpy as np

from trainphase.reproduce.claims import Claim, Measured, absolute, untestable
from trainphase.reproduce.runner import Figure
from trainphase.reproduce.zhou import runs
from trainphase.reproduce.zhou.slopes import REASON
from trainphase.theory import relu3 as theory

if TYPE_CHECKING:
    import xarray

    from trainphase.reproduce.context import Context

# Linear, critical and condensed by the operator norm; by Frobenius' they are linear, linear and critical.
POINTS = ((1.0, 0.4), (1.5, 0.4), (3.0, 0.0))
WIDTHS, QUICK = (250, 500, 1000, 2000), (125, 500)
FINITE = f"as of the item slopes: {REASON}"


def distances(point: runs.Point, width: int, seed: int) -> tuple[float, float]:
    """RD of W2 at the end in operator and in Frobenius norm; NaN when the net does not reach the target loss."""
    from trainphase.data import targets
    from trainphase.relu.three_layer import CONVERGED, flow3
    from trainphase.systems.relu3 import relu3

    data, (gamma3, gamma2) = targets.samples("points"), point
    system = relu3(
        width, data.X, data.y[:, 0], gamma3=gamma3, gamma2=gamma2, seed=seed, w2_dtype="float64",
        antisymmetric=gamma3 <= runs.ANTISYMMETRIC_UP_TO,
    )  # fmt: skip
    run = flow3(system, runs.TARGET, max_steps=runs.MOST_STEPS, operator_norm=True)
    return (run.distance_operator, run.distance["W2"]) if run.outcome == CONVERGED else (np.nan, np.nan)


def compute(context: Context, measure: Callable[..., tuple[float, float]] = distances) -> xarray.Dataset:
    """Slopes of ln RD against ln m, dims (point, seed, norm), norm = operator, frobenius."""
    import xarray

    widths, numbers = context.pick(QUICK, WIDTHS), context.seeds(context.pick(6, 3))
    context.progress.start(len(POINTS) * len(numbers), 0)
    logs = np.log(np.asarray(widths, float))
    weights = (logs - logs.mean()) / np.sum((logs - logs.mean()) ** 2)
    slope = np.empty((len(POINTS), len(numbers), 2))
    for i, point in enumerate(POINTS):
        for k, seed in enumerate(numbers):
            slope[i, k] = weights @ np.log([measure(point, width, seed) for width in widths])
            context.progress.advance(1)
    coords = {"norm": ["operator", "frobenius"], "gamma3": ("point", [p[0] for p in POINTS])}
    return xarray.Dataset({"slope": (("point", "seed", "norm"), slope)}, coords, {"widths": list(widths)})


def _of(values: np.ndarray, words: str) -> Measured:
    found = values[np.isfinite(values)]
    if found.size < 2:
        return untestable(f"{found.size} seeds reached the target loss at every width ({words})")
    return Measured(found.mean(), found.std(ddof=1) / np.sqrt(found.size), f"{words}, {found.size} seeds")


def _slope(context: Context, point: int) -> Measured:
    data = context.data()
    widths = data.attrs["widths"]
    return _of(data["slope"].sel(norm="operator").values[point], f"widths {widths[0]} to {widths[-1]}")


def _between(context: Context) -> Measured:
    """The operator norm's slope less Frobenius', over all points and seeds."""
    slope = context.data()["slope"]
    apart = (slope.sel(norm="operator") - slope.sel(norm="frobenius")).values
    rows = ", ".join(f"{v:+.3f} at gamma3 = {g3:g}, gamma2 = {g2:g}" for v, (g3, g2) in zip(apart.mean(1), POINTS, strict=True))
    return _of(apart.ravel(), rows)


FIGURE = Figure(
    runs.PAPER, "norms", "Relative distance of W2 in the operator norm", compute, None,
    (
        *(
            Claim(
                runs.PAPER, "exponents", f"slope of ln RD(W2 (operator norm)) against ln m at gamma3 = {g3:g}, gamma2 = {g2:g}",
                None, absolute(0.1, FINITE), partial(_slope, point=k),
                expected=round(float(theory.slopes(g3, g2)["w2_operator"]), 12),
            )
            for k, (g3, g2) in enumerate(POINTS)
        ),
        Claim(
            runs.PAPER, "exponents", "slope of ln RD(W2) in the operator norm less that in Frobenius norm", None,
            absolute(0.05, "|W2(0)| is 2 sqrt(m) and m, the change of low rank; its rank and edges shift with small widths"),
            _between, expected=0.5,
        ),
    ),
    seconds_quick=10, seconds_full=300,
)  # fmt: skip
