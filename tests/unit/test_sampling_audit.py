"""The random audit of a refined lattice: what it draws, what it reports, and that the report is honest."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import binom, chisquare

from trainphase.engine.audit import Audited, draw, interval, overall
from trainphase.engine.sampling import Refine


def refine(plane, **chosen):
    """Refine a labelled plane to the end."""
    sampler, labels = Refine(plane.shape, **chosen), int(plane.max()) + 1
    while (points := sampler.ask()).size:
        sampler.tell(points, np.eye(labels, dtype=int)[plane[tuple(points.T)]])
    return sampler.result()


def islands(rng, count, side=129):
    """Squares of label 1, of 1 to 5 points a side, on a plane of label 0, all between the 8th points that are asked for first."""
    plane = np.zeros((side, side), int)
    for _ in range(count):
        size = rng.integers(1, 6)
        a, b = 8 * rng.integers(0, side // 8, 2) + rng.integers(1, 9 - size, 2)
        plane[a : a + size, b : b + size] = 1
    return plane


def true_rate(plane, result, row):
    """The share of wrong labels among the points that the last audit drew from; its own misses were put right since."""
    wrong = np.count_nonzero((result.labels == row.label) & (plane != row.label))
    return (wrong + row.misses) / row.inferred


def covered(count, audits, seeds):
    """In how many of so many planes, each with a sample of its own, the interval holds the true rate."""
    held, missed = 0, 0
    for seed in range(seeds):
        plane = islands(np.random.default_rng([seed, 1]), count)
        result = refine(plane, audit=150, audits=audits, seed=seed)
        row = result.audit[0]
        assert row.label == 0
        held += row.low <= true_rate(plane, result, row) <= row.high
        missed += row.misses > 0
    return held, missed


@pytest.mark.parametrize(("count", "audits", "seeds"), [(1, 1, 100), (60, 1, 200), (6, 3, 40)])
def test_islands_between_the_points_are_reported_within_the_interval(count, audits, seeds):
    held, missed = covered(count, audits, seeds)
    # At least 95 % of the intervals hold the truth. With exactly 95 %, fewer than this happens once in a thousand times.
    assert held >= binom.ppf(0.001, seeds, 0.95)
    if count == 60:  # some 600 of 16 000 points are in islands: an audit of 150 meets five of them
        assert missed > 0.9 * seeds


def test_without_an_audit_nothing_is_reported():
    result = refine(islands(np.random.default_rng(0), 10), audit=0)
    assert result.audit == () and result.audits == 0


def test_a_miss_sends_refinement_back_and_a_fresh_audit_follows():
    plane = np.zeros((257, 257), int)
    plane[98:111, 98:111] = 1  # 169 points, between the 16th ones: 96 and 112
    found = [refine(plane, audit=1500, seed=s) for s in range(5)]
    for result in found:
        assert result.audits == 2  # 1500 of 65 000 points miss 169 of them once in 50 times
        assert np.array_equal(result.labels, plane)
        assert result.audit[0].misses == 0
    assert len({r.evaluations for r in found}) > 1  # other seeds draw other points


def test_undecided_and_failed_points_are_labels_like_any_other():
    plane = np.zeros((257, 257), int)
    plane[:, 100:] = 3
    plane[200:, 150:] = 4
    result = refine(plane, audit=300)
    assert [r.label for r in result.audit] == [0, 3, 4] and all(r.asked >= 50 for r in result.audit)
    assert sum(r.inferred for r in result.audit) == plane.size - result.evaluations + sum(r.asked for r in result.audit)


@settings(max_examples=40)
@given(st.integers(1, 40), st.integers(1, 40), st.integers(0, 5000), st.integers(0, 99))
def test_a_draw_takes_unknown_points_once_and_leaves_no_label_out(rows, columns, count, seed):
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, 4, (rows, columns)).astype(np.uint8)
    known = rng.random((rows, columns)) < 0.3
    points = draw(labels, known, count, np.random.default_rng(seed))
    assert np.array_equal(points, np.unique(points)) and not known.ravel()[points].any()
    sizes = np.bincount(labels[~known], minlength=4)
    got = np.bincount(labels.ravel()[points], minlength=4)
    assert min(count, sizes.sum()) - 8 <= points.size <= count  # what does not divide is left over
    assert np.all(got >= np.minimum(sizes, count // 2 // 4))  # half of the sample is shared equally
    assert np.all(got >= np.minimum(sizes, sizes * (count // 2) // max(1, sizes.sum()) - 1))  # the rest goes by size


def test_a_draw_is_uniform_within_a_label():
    labels, known = np.zeros((6, 5), np.uint8), np.zeros((6, 5), bool)
    labels[:, 3:], known[2] = 1, True
    hits = np.zeros(30)
    for seed in range(2000):
        hits[draw(labels, known, 8, np.random.default_rng(seed))] += 1
    for label in (0, 1):
        mine = hits[(labels == label).ravel() & ~known.ravel()]
        # Draws without replacement scatter less than the test assumes, so that it is the stricter against a trend.
        assert mine.sum() >= 3 * 2000 and chisquare(mine).pvalue > 1e-3
    assert hits[known.ravel()].sum() == 0


def test_the_interval_is_clopper_and_pearson_s():
    assert interval(0, 100, 0.95) == (0.0, pytest.approx(1 - 0.025 ** (1 / 100)))
    assert interval(100, 100, 0.95) == (pytest.approx(0.025 ** (1 / 100)), 1.0)
    low, high = interval(7, 100, 0.95)  # by its definition: the rates at which as few or as many have a chance of 2.5 %
    assert binom.sf(6, 100, low) == pytest.approx(0.025) and binom.cdf(7, 100, high) == pytest.approx(0.025)
    assert interval(0, 0, 0.95) == (0.0, 1.0)


def test_the_bound_of_the_whole_holds_whatever_the_rates_of_the_labels():
    rng, rates, total = np.random.default_rng(5), (0.002, 0.05, 0.3), 100_000
    sizes, asked = (70_000, 25_000, 2_000), (250, 130, 60)
    truth = sum(n * p for n, p in zip(sizes, rates, strict=True)) / total
    held, trials = 0, 400
    for _ in range(trials):
        found = rng.binomial(asked, rates)
        rows = tuple(Audited(k, n, m, int(x), x / m, 0, 1) for k, (n, m, x) in enumerate(zip(sizes, asked, found, strict=True)))
        held += overall(rows, total, 0.95)[1] >= truth
    assert held >= binom.ppf(0.001, trials, 0.975)  # one of the two tails
    # One rate for all and no miss: Clopper and Pearson's bound itself.
    even = tuple(Audited(k, 30_000, 100, 0, 0.0, 0, 1) for k in range(3))
    assert overall(even, 100_000, 0.95) == (0.0, pytest.approx(0.9 * interval(0, 300, 0.95)[1]))
    whole = (Audited(0, 100, 100, 7, 0.07, 0, 1),)  # all of them were asked for, and so put right
    assert overall(whole, 1000, 0.95) == (0.0, 0.0)
