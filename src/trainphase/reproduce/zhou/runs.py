"""Relative distances of three-layer nets over points of the diagram, widths and seeds, and their slopes.

The data are the four points x = -1/2, -1/6, 1/6, 1/2 with y = x^2, the loss is mean(e^2) and ends at 1e-6.

The output of a random net is of size m^(1 - gamma3) before training. Up to gamma3 = 3/2 it is not small beside the targets
at these widths, and its removal would be what is measured; there the start is antisymmetric (two copies with +a and -a),
so that f = 0. Beyond, it is small and the start is that of a single net: of two copies one may come to carry the fit, which
costs a ladder of small widths its slope.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from concurrent.futures import Future
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np

from trainphase.reproduce.claims import Measured, untestable
from trainphase.reproduce.context import Context
from trainphase.theory import relu3 as theory

if TYPE_CHECKING:
    import xarray

PAPER = "zhou"
LAYERS = ("w1", "w2")
TARGET = 1e-6
# Points of a piece of work: the unit that is kept on the disk, and that an executor is given.
PIECE = 16
# Wider nets keep W2(0) in single precision, which loses nothing of its change (see relu.three_layer).
DOUBLE_UP_TO = 2000
ANTISYMMETRIC_UP_TO = 1.5
# Usual runs take 50 to 400. Where neurons condense onto one direction, a net may fit the mean and come to rest there.
MOST_STEPS = 1000

Point = tuple[float, float]


def piece(points: Sequence[Point], width: int, seed: int) -> xarray.Dataset:
    """Run the points (gamma3, gamma2) at one width and seed: sup over time of the relative distances, dims (point, layer)."""
    import xarray

    from trainphase.data import targets
    from trainphase.relu.three_layer import CONVERGED, flow3
    from trainphase.systems.relu3 import relu3

    data, runs = targets.samples("points"), []
    dtype = "float64" if width <= DOUBLE_UP_TO else "float32"
    for gamma3, gamma2 in points:
        system = relu3(
            width, data.X, data.y[:, 0], gamma3=gamma3, gamma2=gamma2, seed=seed, w2_dtype=dtype,
            antisymmetric=gamma3 <= ANTISYMMETRIC_UP_TO,
        )  # fmt: skip
        runs.append(flow3(system, TARGET, max_steps=MOST_STEPS))
    return xarray.Dataset(
        {
            "distance": (("point", "layer"), [[run.distance["W1"], run.distance["W2"]] for run in runs]),
            "converged": ("point", [int(run.outcome == CONVERGED) for run in runs]),
            "steps": ("point", [run.steps for run in runs]),
        },
        {"layer": list(LAYERS)},
    )


def distances(context: Context, points: Sequence[Point], widths: Sequence[int], seeds: int) -> xarray.Dataset:
    """All runs, dims (point, width, seed, layer), in pieces that are kept on the disk and computed beside each other.

    Coordinates ``gamma3`` and ``gamma2`` along point. Seeds are those of the draws, other ones for another seed of the
    context. Raises what a run raises; what is computed by then is kept.
    """
    import xarray

    numbers = [100 * context.seed + k for k in range(seeds)]
    parts = [list(points[k : k + PIECE]) for k in range(0, len(points), PIECE)]
    jobs = {(k, m, s): f"runs_{k}_{m}_{s}" for m in widths for s in numbers for k in range(len(parts))}
    waiting = [job for job, name in jobs.items() if not context.has(name)]
    context.progress.start(len(jobs), len(jobs) - len(waiting))
    futures: dict[Any, Future[Any]] = {}
    if context.executor is not None:
        # The widest first, so that no worker is left alone with them at the end.
        for k, m, s in sorted(waiting, key=lambda job: -job[1]):
            futures[k, m, s] = context.executor.submit(piece, parts[k], m, s)
    found: dict[tuple[int, int, int], Any] = {}
    for (k, m, s), name in jobs.items():
        # cached() calls it at once, or not at all.
        compute = futures[k, m, s].result if (k, m, s) in futures else partial(piece, parts[k], m, s)
        found[k, m, s] = context.cached(name, compute)
        if (k, m, s) in waiting:
            context.progress.advance(1)
    by_width = [
        xarray.concat([xarray.concat([found[k, m, s] for k in range(len(parts))], "point") for s in numbers], "seed")
        for m in widths
    ]
    whole = xarray.concat(by_width, "width").transpose("point", "width", "seed", "layer")
    coords = {
        "width": list(widths), "seed": numbers, "gamma3": ("point", [p[0] for p in points]),
        "gamma2": ("point", [p[1] for p in points]),
    }  # fmt: skip
    return whole.drop_attrs().assign_coords(coords).assign_attrs(target=TARGET, antisymmetric_up_to=ANTISYMMETRIC_UP_TO)


def with_slopes(data: xarray.Dataset) -> xarray.Dataset:
    """Add ``slope`` and ``slope_se`` (point, layer): d ln RD / d ln m by least squares, mean and standard error over seeds.

    Seeds count that reached the target loss at every width, ``reached`` of them; without one the slope is NaN, and
    without two its error. ``theory`` is the exponent of the map, and ``rule`` the slope of the rule of common growth
    over the same widths.
    """
    x = np.log(data["width"].values)
    x = x - x.mean()
    known = data["distance"].where(data["converged"] == 1).transpose("point", "width", "seed", "layer").values
    each = np.einsum("w,pwsl->psl", x / np.sum(x * x), np.log(known))
    count = np.isfinite(each).sum(1)
    slope = np.where(count > 0, np.nansum(each, 1) / np.maximum(count, 1), np.nan)
    square = np.nansum((each - slope[:, None]) ** 2, 1)
    error = np.where(count > 1, np.sqrt(square / np.maximum(count * (count - 1), 1)), np.nan)
    exponents = theory.slopes(data["gamma3"].values, data["gamma2"].values)
    return data.assign(
        slope=(("point", "layer"), slope), slope_se=(("point", "layer"), error), reached=("point", count[:, 0]),
        theory=(("point", "layer"), np.stack([exponents[name] for name in LAYERS], -1)),
        rule=(("point", "layer"), rule(data["gamma3"].values, data["gamma2"].values, data["width"].values)),
    )  # fmt: skip


def rule(gamma3: Any, gamma2: Any, widths: Sequence[float] | np.ndarray) -> np.ndarray:
    """Slopes of the rule of common growth over a ladder of widths, for beta2 = beta3 = 1, shape (..., layer).

    Finite widths blur the borders of sectors; the rule does so too.
    """
    g3, g2 = np.broadcast_arrays(np.asarray(gamma3, float), np.asarray(gamma2, float))
    log_m = np.log(np.asarray(widths, float))
    zero = np.zeros((*g3.shape, log_m.size))
    found = theory.log_relative_distances(log_m + zero, (g3 + g2)[..., None] * log_m, g2[..., None] * log_m, zero, zero)
    weights = log_m - log_m.mean()
    weights /= np.sum(weights**2)
    return np.stack([found[name] @ weights for name in LAYERS], -1)


def crossing(gamma3: np.ndarray, slope: np.ndarray) -> float:
    """Where the slope crosses 0 upwards along gamma3: between the last point below and the next one; NaN if it does not.

    Points without a slope are passed over.
    """
    known = np.isfinite(slope)
    x, y = np.asarray(gamma3)[known], np.asarray(slope)[known]
    below = np.flatnonzero(y <= 0)
    if not below.size or below[-1] + 1 >= y.size:
        return math.nan
    k = int(below[-1])
    return float(x[k] - y[k] * (x[k + 1] - x[k]) / (y[k + 1] - y[k]))


def measured_slope(data: xarray.Dataset, point: int, layer: int) -> Measured:
    """A slope with its standard error; not testable when no seed reached the target loss at every width.

    Few seeds know their standard error only roughly, so the note has the chance of the distance by Student's t.
    """
    from scipy.special import stdtr

    row = data.isel(point=point, layer=layer)
    value, error, width = float(row["slope"]), float(row["slope_se"]), data["width"].values
    start = "antisymmetric" if float(row["gamma3"]) <= ANTISYMMETRIC_UP_TO else "single"
    reached, seeds = int(row["reached"]), data.sizes["seed"]
    note = f"widths {width[0]} to {width[-1]}, {seeds} seeds, {start} starts"
    if not np.isfinite(value):
        return untestable(f"no seed reached the target loss at every width ({note})")
    note += "" if reached == seeds else f"; {reached} of them reached the target loss at every width"
    # What finite widths alone make of the slope, without training: how far such a ladder is from the exponent.
    rule = float(row["rule"])
    note += f"; at these widths the rule of common growth has {rule:+.3f}"
    if np.isfinite(error) and error > 0:
        off, exponent = value - rule, float(row["theory"])
        note += f" where the exponent is {exponent:+.3f}: the rest, {off:+.3f}, is {abs(off) / error:.1f} standard errors"
        note += f", by chance so far off with p = {2 * stdtr(reached - 1, -abs(off) / error):.2g} (Student's t, {reached} seeds)"
    return Measured(value, error if np.isfinite(error) else None, note)
