"""Binning for figures: edges of cells, and many points in few columns with nothing lost."""

from __future__ import annotations

import numpy as np
import pytest

from trainphase.figures import _bins
from trainphase.phase import NOT_COMPUTED, TRAINING


def test_edges_of_a_linear_axis_lie_half_way() -> None:
    scale = _bins.scale_of(np.linspace(0, 4, 5))
    assert not scale.log and scale.regular
    # Multiples of 1/2 are exact in binary.
    assert scale.edges.tolist() == [-0.5, 0.5, 1.5, 2.5, 3.5, 4.5]


def test_edges_of_a_logarithmic_axis_lie_half_way_in_the_logarithm() -> None:
    scale = _bins.scale_of(np.geomspace(1e-2, 1e2, 5))
    assert scale.log and scale.regular
    # Rounding of exp(log(x)): a few last bits.
    np.testing.assert_allclose(scale.edges, 10.0 ** np.arange(-2.5, 3.0), rtol=1e-14)


def test_a_listed_axis_is_sorted_and_may_have_one_value() -> None:
    scale = _bins.scale_of([3.0, 1.0, 1.5])
    assert scale.values.tolist() == [1.0, 1.5, 3.0] and scale.order.tolist() == [1, 2, 0]
    assert scale.edges.tolist() == [0.75, 1.25, 2.25, 3.75] and not scale.regular and not scale.log
    assert np.diff(_bins.scale_of([0.0]).edges)[0] > 0


@pytest.mark.parametrize("count", [50, 1000, 4099])
def test_binning_counts_every_sample_in_range_once(count: int, rng: np.random.Generator) -> None:
    samples = rng.normal(size=(count, 7)).astype(np.float32)
    samples[rng.random(samples.shape) < 0.1] = np.nan
    cols = _bins.columns(_bins.scale_of(np.linspace(0, 1, count)), 300)
    number = _bins.density(samples, cols, -1.0, 1.5, 40)
    inside = (samples >= -1.0) & (samples <= 1.5)
    assert number.sum() == inside.sum()
    per_column = np.bincount(cols.index, weights=inside.sum(1), minlength=cols.count)
    assert number.sum(0).tolist() == per_column.tolist()
    expected, _ = np.histogram(samples[inside].astype(float), 40, (-1.0, 1.5))
    # Values on the edge of a row may round to either side; there are none at random.
    assert number.sum(1).tolist() == expected.tolist()


def test_binning_in_chunks_gives_the_same(monkeypatch: pytest.MonkeyPatch, rng: np.random.Generator) -> None:
    samples = rng.normal(size=(500, 3))
    cols = _bins.columns(_bins.scale_of(np.linspace(0, 1, 500)), 60)
    whole = _bins.density(samples, cols, -2, 2, 30)
    monkeypatch.setattr(_bins, "CHUNK", 50)
    assert np.array_equal(_bins.density(samples, cols, -2, 2, 30), whole)


def test_columns_of_many_points_are_equally_wide_on_a_log_page() -> None:
    scale = _bins.scale_of(np.geomspace(1e-3, 1e3, 10_000))
    cols = _bins.columns(scale, 100)
    assert np.bincount(cols.index).tolist() == [100] * 100
    np.testing.assert_allclose(np.diff(np.log(cols.edges)), np.ptp(scale.positions) / 100, rtol=1e-9)


def test_envelope_and_majority(rng: np.random.Generator) -> None:
    values = rng.normal(size=999)
    values[10] = -np.inf
    values[300:600] = np.nan
    cols = _bins.columns(_bins.scale_of(np.linspace(0, 1, 999)), 3)
    got = _bins.envelope(values, cols)
    for k in (0, 2):
        part = np.sort(values[cols.index == k])
        part = part[~np.isnan(part)]
        assert (got.low[k], got.high[k], got.middle[k]) == (part[0], part[-1], part[(part.size - 1) // 2])
    assert got.low[0] == -np.inf
    codes = np.repeat(np.array([3, 2, NOT_COMPUTED], np.uint8), 333)
    codes[:100] = 1
    assert _bins.majority(codes, cols, TRAINING).tolist() == [3, 2, NOT_COMPUTED]


def test_one_stray_value_does_not_squash_the_orbit(rng: np.random.Generator) -> None:
    samples = rng.uniform(-1, 2, size=(1000, 64))
    assert _bins.span(samples)[1] == pytest.approx(2.12, abs=0.01)  # 4 % above; 64000 draws come within 1e-3 of the end
    samples[500, 3] = 1e9
    assert _bins.span(samples)[1] < 3
    assert _bins.span(np.full((4, 4), np.nan)) == (-1.0, 1.0)
