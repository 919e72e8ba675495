"""Means of the deviation over seeds: against draws whose answer is known, and on a few runs of the model. About 6 s."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import xarray as xr

from trainphase.phase import EDGE
from trainphase.reproduce.agarwala import deviation
from trainphase.reproduce.agarwala import deviation_statistics as stats
from trainphase.reproduce.context import Context


def test_the_error_counts_seeds_not_runs(rng: np.random.Generator) -> None:
    # Twelve cells that are copies of each other: the error of the mean is that of 40 seeds, not of 480 runs.
    one = rng.standard_normal(40)
    found = stats.mean(np.tile(one, (12, 1)), np.ones((12, 40), bool))
    assert found.runs == 480 and found.seeds == 40
    # Equal up to rounding: with as many runs in every seed the ratio estimate is the plain one.
    assert found.error == pytest.approx(one.std(ddof=1) / np.sqrt(40), rel=1e-12)


def test_the_error_is_the_scatter_of_the_mean(rng: np.random.Generator) -> None:
    # Seeds with their own level, and a number of runs that depends on it: 400 repetitions tell the true scatter to 3.5 %.
    means, errors = [], []
    for _ in range(400):
        level = rng.standard_normal(60)
        chosen = rng.random((8, 60)) < 1 / (1 + np.exp(-level))
        found = stats.mean(level + 0.5 * rng.standard_normal((8, 60)), chosen)
        means.append(found.value)
        errors.append(found.error)
    # 4 standard errors of the scatter, and the 2 % by which linearisation is small at 60 seeds.
    assert np.mean(errors) / np.std(means, ddof=1) == pytest.approx(1.0, abs=0.16)


def test_seeds_in_common_are_paired(rng: np.random.Generator) -> None:
    level = rng.standard_normal(50)
    every = np.ones((1, 50), bool)
    one, other = (stats.mean((level + 0.01 * rng.standard_normal(50))[None], every) for _ in range(2))
    apart, error = stats.difference(one, other)
    assert error < 0.1 * one.error and abs(apart) < 4 * error  # the common level cancels; 4 standard errors


def test_fits_find_the_law_and_exclude_another(rng: np.random.Generator) -> None:
    x, seeds = np.asarray([0.2, 0.3, 0.4, 0.5, 0.6]), 300
    values = 0.05 * x[:, None] ** -1.5 * (1 + 0.2 * rng.standard_normal(seeds) + 0.1 * rng.standard_normal((5, seeds)))
    means = [stats.mean(row[None], np.ones((1, seeds), bool)) for row in values]
    power, constant = stats.fit(x, means, "power"), stats.fit(x, means, "constant")
    # 4 standard errors of the fit, and a chance that a true law falls below once in a thousand times.
    assert abs(power.b + 1.5) < 4 * power.b_error and power.chance > 1e-3
    assert constant.chance < 1e-6
    assert stats.fit(x[:2], means[:2], "power").dof == 0


def fabricated() -> xr.Dataset:
    """A run of each fate, in the order of ``stats.fates``, and one of the band above 2."""
    edge, sharp, bounded, gone = (EDGE.index(k) for k in ("edge-of-stability", "sharpening", "bounded", "divergent"))
    rows = {
        "phase": [edge, edge, sharp, edge, bounded, gone, EDGE.undecided, sharp],
        "settled": [1, 1, 1, 0, 0, 0, 0, 1], "curvature": [1.97, 1.9, 1.2, 2.05, 2.6, np.nan, 1.0, 1.5],
        "curvature_peak": [2.4, 1.95, 1.2, 2.5, 3.0, 9.0, 1.0, 2.9],
        "curvature_mean": [1.97, 1.9, 1.2, 1.999, 2.2, np.nan, 1.0, 1.5],
    }  # fmt: skip
    dims = ("sigma_z", "sigma_J", "seed")
    return xr.Dataset({k: (dims, np.asarray(v)[None, None]) for k, v in rows.items()})


def test_every_run_has_one_fate() -> None:
    found = stats.fates(fabricated())
    assert np.stack(list(found.values())).sum(0).tolist() == [[[1] * 8]]
    assert [int(np.flatnonzero(v[0, 0])[0]) for v in found.values()] == list(range(7))
    # Far from 2, but it had been above: the choice does not look at the end.
    assert found["met"][0, 0, 7]


def test_runs_that_met_the_edge(tmp_path: Path) -> None:
    context = Context(deviation.FIGURES[0], tmp_path, quick=True)
    data = deviation._grid(context, (12, 24), 8, "float32")
    assert data.sizes == {"sigma_z": 3, "sigma_J": 3, "seed": 8}
    end, chosen = 2 - data["curvature"].values, stats.fates(data)["met"]
    # A peak is a lower bound of the curvature on the way; of a run that settles it is not below the end by more than the
    # tracking lags, 2 % here.
    settled = data["settled"].values == 1
    assert np.all(data["curvature_peak"].values[settled] > data["curvature"].values[settled] * 0.98)
    assert chosen.sum() >= 8
    # Settled at 2 or below: above it the end would not be stable. 1e-2 is what single precision lets through.
    assert end[chosen].min() > -1e-2 and end[chosen].mean() > 0
    # The label's band takes in runs that never met the edge, and those lie further out.
    near = stats.fates(data)["near"]
    assert near.any() and end[near].mean() > end[chosen].mean()
    # Kept by blocks: asked again, nothing is computed.
    again = deviation._grid(Context(deviation.FIGURES[0], tmp_path, quick=True), (12, 24), 8, "float32")
    xr.testing.assert_identical(again, data)
