"""The fit of S_w and the ladder it is taken over."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from trainphase.relu import initial, ladder

X = np.stack([np.linspace(-0.5, 0.5, 4), np.ones(4)], 1)
POINTS = ladder.Sizes(X, 0, X[:, :1] ** 2)
WIDTHS = (1000, 5000, 20000)


@given(
    st.integers(2, 6),
    st.integers(1, 4),
    st.floats(-2, 2),
    st.integers(0, 1000),
)
def test_the_slope_and_its_error_are_those_of_least_squares(widths, seeds, slope, seed):
    rng = np.random.default_rng(seed)
    m = np.round(1000 * 2.0 ** np.arange(widths))
    rd = m[:, None] ** slope * np.exp(0.1 * rng.standard_normal((widths, seeds)))
    got, error = ladder.fit(m, rd)
    x, y = np.repeat(np.log(m), seeds), np.log(rd.ravel())
    # Sums of a few terms of order 10 each way.
    assert got == pytest.approx(np.polyfit(x, y, 1)[0], abs=1e-11)
    if x.size > 2:
        # numpy's covariance has the same scale: the squared rest over x.size - 2.
        _, covariance = np.polyfit(x, y, 1, cov=True) if x.size > 3 else (None, None)
        if covariance is not None:
            assert error == pytest.approx(np.sqrt(covariance[0, 0]), rel=1e-8)
    else:
        assert np.isnan(error)


def test_the_standard_error_is_the_scatter_of_slopes():
    """Over 2000 ladders with a known scatter: the mean square of the errors is the variance of the slopes."""
    rng = np.random.default_rng(0)
    m = np.array([1000.0, 5000, 10000, 20000, 40000])
    found = np.array([ladder.fit(m, np.exp(0.2 * rng.standard_normal((5, 3)))) for _ in range(2000)])
    # A variance from 2000 draws has a relative standard error of sqrt(2 / 2000) = 0.03: four of these.
    assert np.mean(found[:, 1] ** 2) == pytest.approx(np.var(found[:, 0]), rel=0.13)


def test_a_distance_that_is_no_number_is_left_out():
    m, rd = np.array([1.0, 10, 100]), np.array([[1.0], [10.0], [np.nan]])
    slope, error = ladder.fit(m, rd)
    assert slope == pytest.approx(1, abs=1e-14)
    assert np.isnan(error)
    assert np.isnan(ladder.fit(m[:1], rd[:1])[0])


def test_a_ladder_is_its_nets_and_their_fit():
    told: list[tuple[int, int]] = []
    found = ladder.slope_along(lambda _: (1.0, 0.0), WIDTHS, (0, 1), POINTS, progress=lambda done, of: told.append((done, of)))
    assert told == [(k + 1, 6) for k in range(6)]
    assert found.converged and found.widest is not None and found.widest.width == WIDTHS[-1]
    assert (found.losses <= POINTS.target).all()
    assert (found.slope, found.slope_se) == ladder.fit(WIDTHS, found.distances)
    assert (found.narrower, found.narrower_se) == ladder.fit(WIDTHS[:-1], found.distances[:-1])
    first = ladder.train(1.0, 0.0, WIDTHS[1], 0, POINTS, accuracy=0.05)
    assert (found.distances[1, 0], found.errors[1, 0]) == (first.relative_distance, first.error)
    # The first seed needed no more than the second level: the first level is enough for the other.
    assert first.bins == ladder.LEVELS[1][0]
    other = ladder.train(1.0, 0.0, WIDTHS[1], 1, POINTS, level=0)
    assert (found.distances[1, 1], found.errors[1, 1]) == (other.relative_distance, first.error)
    # Near the boundary of the regimes nothing grows: 0.007 in Luo et al. 2021 with three seeds; here within the scatter.
    assert abs(found.slope) <= 0.03 + 3 * found.slope_se


def test_a_ladder_takes_the_starts_it_is_given():
    def start(width: int, seed: int) -> initial.Weights:
        return initial.draw(width, seed + 100, 2)

    given_starts = ladder.slope(1.0, 0.0, (1000, 5000), (0,), POINTS, starts=start)
    drawn = ladder.slope(1.0, 0.0, (1000, 5000), (100,), POINTS)
    np.testing.assert_array_equal(given_starts.distances, drawn.distances)


def test_a_net_that_does_not_reach_its_target_is_not_converged(monkeypatch):
    monkeypatch.setattr(ladder, "MOST_ATTEMPTS", 5)
    found = ladder.slope(1.0, 0.0, (1000,), (0,), POINTS)
    assert not found.converged
    assert found.widest is not None and found.widest.outcome == "step-limit"


@pytest.mark.parametrize(
    ("width", "levels"),
    [(10_000, [16, 64, 256, 1024, 0]), (40_000, [16, 64, 256, 1024, 0]), (250_000, [16, 64, 256, 1024, 4096, 16_384, 0])],
)
def test_finer_bins_come_before_all_neurons_where_these_are_many_more(width, levels, monkeypatch):
    tried: list[int] = []
    nothing: Any = None  # the net itself is not looked at

    def solve(*given):
        tried.append(given[4])
        return ladder.Trained(width, 0, 1.0, 1.0, np.inf, 0.0, 0.0, "converged", 1, 0, given[4], 1.0, nothing, nothing)

    monkeypatch.setattr(ladder, "_solve", solve)
    monkeypatch.setattr(ladder, "draws", lambda *_: None)
    ladder.train(1.2, -0.3, width, 0, POINTS)
    assert tried == levels
