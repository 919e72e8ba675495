"""Means of the deviation 2 - curvature over runs that are chosen by their fate, with standard errors over seeds.

Runs of one seed share Q and the draws of the start. So the seed is the unit of evidence: the mean over many cells is a
ratio of two sums over seeds, its error comes from what each seed adds to it (linearisation of the ratio), and errors of
several means of the same seeds have a covariance. Arrays of runs have the shape (..., seed); -1 is the axis of seeds.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from trainphase.phase import EDGE

if TYPE_CHECKING:
    import xarray

BANDS = (0.05, 0.1, 0.2, 0.4, 0.8, 2.0)
# The band of the label edge-of-stability.
BAND = 0.2
# A run has met the edge when its curvature was above 2 at some step. The tracked curvature is a lower bound that lags, so
# other thresholds are shown beside this one.
CROSSED = 2.0
THRESHOLDS = (1.8, 1.9, 1.95, 2.0, 2.05, 2.1)
QUANTILES = (0.05, 0.25, 0.5, 0.75, 0.95)
LAWS = ("constant", "power", "exponential")
# A mean of fewer seeds than this enters no fit, nor one with a relative error above a half (its logarithm is not normal).
FEWEST, VAGUE = 12, 0.5


class Mean(NamedTuple):
    """A mean over runs, its standard error over seeds, runs and seeds in it, and what each seed adds, shape (seed,)."""

    value: float
    error: float
    runs: int
    seeds: int
    parts: np.ndarray


class Fit(NamedTuple):
    """log y = a + b g(x): parameters with errors, chi squared for ``dof`` degrees of freedom, and the chance of more."""

    a: float
    a_error: float
    b: float
    b_error: float
    chi2: float
    dof: int
    chance: float


NO_FIT = Fit(np.nan, np.nan, np.nan, np.nan, np.nan, 0, np.nan)


def mean(values: np.ndarray, chosen: np.ndarray) -> Mean:
    """Mean of the chosen ``values``, shape (..., seed), each run counted once; NaN where there are none.

    The error is NaN for a single seed. Cost: a pass over the values.
    """
    axes = tuple(range(values.ndim - 1))
    count, total = chosen.sum(axes), np.where(chosen, values, 0.0).sum(axes)
    runs, seeds, drawn = int(count.sum()), int((count > 0).sum()), count.size
    if runs == 0:
        return Mean(np.nan, np.nan, 0, 0, np.zeros(drawn))
    value = total.sum() / runs
    parts = (total - value * count) / runs
    error = np.sqrt(drawn / (drawn - 1) * np.sum(parts**2)) if seeds > 1 else np.nan
    return Mean(float(value), float(error), runs, seeds, parts)


def covariance(means: Sequence[Mean]) -> np.ndarray:
    """Covariance of means over the same seeds, shape (n, n); means of fewer seeds are of the first ones."""
    size = max(m.parts.size for m in means)
    rows = np.stack([np.pad(m.parts, (0, size - m.parts.size)) * np.sqrt(m.parts.size / (m.parts.size - 1)) for m in means])
    return rows @ rows.T


def difference(one: Mean, other: Mean) -> tuple[float, float]:
    """one - other and its standard error; seeds that both have are paired."""
    C = covariance([one, other])
    return one.value - other.value, float(np.sqrt(max(C[0, 0] + C[1, 1] - 2 * C[0, 1], 0.0)))


def fit(x: Any, means: Sequence[Mean], law: str) -> Fit:
    """Fit a law to means that share seeds, by generalised least squares in log y; NO_FIT when too few are usable.

    "constant": y = e^a. "power": y = e^a x^b. "exponential": y = e^a e^(b x). The chance of a larger chi squared takes
    account of the covariance having been estimated from the seeds (Hotelling).
    """
    from scipy.stats import f

    usable = [k for k, m in enumerate(means) if m.seeds >= FEWEST and m.value > 0 and m.error < VAGUE * m.value]
    terms = 1 if law == "constant" else 2
    if len(usable) < terms + 1:
        return NO_FIT
    kept = [means[k] for k in usable]
    at = np.asarray(x, float)[usable]
    level = np.asarray([m.value for m in kept])
    C = covariance(kept) / np.outer(level, level)
    design = np.stack([np.ones_like(at), np.log(at) if law == "power" else at], 1)[:, :terms]
    weight = np.linalg.inv(C)
    spread = np.linalg.inv(design.T @ weight @ design)
    found = spread @ design.T @ weight @ np.log(level)
    off = np.log(level) - design @ found
    chi2, dof, seeds = float(off @ weight @ off), len(usable) - terms, min(m.parts.size for m in kept)
    chance = float(f.sf(chi2 * (seeds - dof) / ((seeds - 1) * dof), dof, seeds - dof)) if seeds > dof else np.nan
    error = np.sqrt(np.diag(spread))
    second = (float(found[1]), float(error[1])) if terms == 2 else (0.0, 0.0)
    return Fit(float(found[0]), float(error[0]), *second, chi2, dof, chance)


def fates(data: xarray.Dataset) -> dict[str, np.ndarray]:
    """Which runs came to which end, truth values of shape (sigma_z, sigma_J, seed); each run has one of the fates.

    ``met``: settled after the curvature had been above CROSSED, whatever the final curvature. ``near``: settled within BAND
    of 2 without that. ``off``: settled elsewhere. ``fading``: in the band, steps still shrinking like a power of time at the
    horizon. ``bounded`` and ``divergent`` as labelled; ``rest`` is what remains (undecided, mostly).
    """
    phase, settled = data["phase"].values, data["settled"].values == 1
    crossed = data["curvature_peak"].values > CROSSED
    inside = np.abs(2 - data["curvature"].values) <= BAND
    out = {
        "met": settled & crossed, "near": settled & ~crossed & inside, "off": settled & ~crossed & ~inside,
        "fading": ~settled & (phase == EDGE.index("edge-of-stability")),
        "bounded": phase == EDGE.index("bounded"), "divergent": phase == EDGE.index("divergent"),
    }  # fmt: skip
    return out | {"rest": ~np.any(list(out.values()), axis=0)}


def quantiles(values: np.ndarray, chosen: np.ndarray, at: Sequence[float] = QUANTILES) -> np.ndarray:
    """Quantiles of the chosen values, NaN where there are none."""
    kept = values[chosen]
    return np.quantile(kept, at) if kept.size else np.full(len(at), np.nan)


def cells(data: xarray.Dataset) -> dict[str, np.ndarray]:
    """Per cell of the grid, arrays (sigma_z, sigma_J): shares of phases and fates, means, errors and medians."""
    deviation = 2 - data["curvature"].values
    late = 2 - data["curvature_mean"].values
    phase, settled, kinds = data["phase"].values, data["settled"].values == 1, fates(data)
    out = {f"share_{p.label.replace('-', '_')}": (phase == k).mean(-1) for k, p in enumerate(EDGE.phases)}
    out |= {f"share_{name}": kinds[name].mean(-1) for name in ("met", "fading")}
    samples = {
        "edge": settled & (phase == EDGE.index("edge-of-stability")), "met": kinds["met"],
        **{f"band_{b:g}": settled & (np.abs(deviation) <= b) for b in BANDS if b != BAND},
    }  # fmt: skip
    for name, chosen in samples.items():
        found = _each(deviation, chosen)
        out |= {f"{name}_runs": found["runs"], f"{name}_mean": found["mean"], f"{name}_se": found["se"]}
    for name in ("edge", "met"):
        out[f"{name}_median"] = _each(deviation, samples[name])["median"]
    out["fading_time_mean"] = _each(late, kinds["fading"])["mean"]
    out["bounded_time_mean"], out["bounded_time_mean_se"] = (_each(late, kinds["bounded"])[k] for k in ("mean", "se"))
    return out


def _each(values: np.ndarray, chosen: np.ndarray) -> dict[str, np.ndarray]:
    """Mean, standard error, median and number of runs of every cell."""
    shape = values.shape[:-1]
    means = [[mean(values[i, j], chosen[i, j]) for j in range(shape[1])] for i in range(shape[0])]
    middle = [[quantiles(values[i, j], chosen[i, j], (0.5,))[0] for j in range(shape[1])] for i in range(shape[0])]
    return {
        "mean": np.asarray([[m.value for m in row] for row in means]),
        "se": np.asarray([[m.error for m in row] for row in means]),
        "runs": np.asarray([[m.runs for m in row] for row in means]), "median": np.asarray(middle),
    }  # fmt: skip
