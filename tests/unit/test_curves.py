"""Boundaries of lattices of labels as curves: joined without a gap, the right way round, as near as is stated."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as stn

from trainphase.engine.curves import CLOSED, EDGE, TRIPLE, UNDECIDED, Curve, Curves, bridged, distance, extract
from trainphase.engine.polish import Brackets, extrapolated, narrow, normals, polish, sharpen

LATTICES = stn.arrays(np.uint8, st.tuples(st.integers(2, 7), st.integers(2, 7)), elements=st.integers(0, 3))
CENTRE, RADIUS, LEVEL = np.array([30.2, 31.7]), 17.3, 75.1
UNKNOWN = 9


def grid(n: int) -> np.ndarray:
    """All points (i, j) of a square lattice."""
    return np.stack(np.meshgrid(np.arange(n), np.arange(n), indexing="ij"), -1).reshape(-1, 2).astype(float)


def disc(points: np.ndarray, radius: float = RADIUS) -> np.ndarray:
    """0 inside of a disc, 1 outside."""
    return np.where(np.hypot(*(points - CENTRE).T) < radius, 0, 1)


def three(points: np.ndarray) -> np.ndarray:
    """A disc, and outside of it the sides of a line."""
    codes = disc(points)
    return np.where((codes == 1) & (points.sum(1) > LEVEL), 2, codes)


def off_circle(points: np.ndarray) -> np.ndarray:
    """Distance from the circle, positive outside."""
    return np.hypot(*(points - CENTRE).T) - RADIUS


class Asked:
    """A question that counts its calls and its points."""

    def __init__(self, codes) -> None:
        self.codes, self.calls, self.points = codes, 0, 0

    def __call__(self, points: np.ndarray) -> np.ndarray:
        self.calls += 1
        self.points += len(points)
        return self.codes(points)


@given(LATTICES)
def test_every_crossing_edge_is_on_one_curve_with_the_smaller_label_on_the_left(labels: np.ndarray) -> None:
    crossed = int((labels[1:] != labels[:-1]).sum() + (labels[:, 1:] != labels[:, :-1]).sum())
    seen: Counter[tuple[float, float]] = Counter()
    for curve in extract(labels).curves:
        p, q = curve.between
        assert p < q
        assert curve.closed == (curve.ends == (CLOSED, CLOSED))
        inner = [end == TRIPLE for end in curve.ends]
        first, last = int(inner[0]), len(curve.points) - int(inner[1])
        around = curve.points[np.arange(-1, len(curve.points) + 1) % len(curve.points)]
        for k in range(first, last):
            x = curve.points[k]
            seen[tuple(x)] += 1
            low, high = np.floor(x).astype(int), np.ceil(x).astype(int)
            assert sorted((labels[tuple(low)], labels[tuple(high)])) == [p, q]
            smaller = low if labels[tuple(low)] == p else high
            onward = around[k + 2] - x if curve.closed or k + 1 < len(curve.points) else x - around[k]
            assert onward[0] * (smaller - x)[1] - onward[1] * (smaller - x)[0] > 0
            # Neighbours on a curve are sides of one cell.
            if curve.closed or k + 1 < len(curve.points):
                assert np.abs(onward).max() <= 1
        for end, at in zip(curve.ends, (0, -1), strict=True):
            x = curve.points[at]
            border = any(float(v).is_integer() and v in (0, n - 1) for v, n in zip(x, labels.shape, strict=True))
            assert border or end != EDGE
    assert len(seen) == crossed
    assert set(seen.values()) <= {1}


@given(LATTICES)
def test_labels_that_are_left_out_have_no_boundary_and_others_keep_theirs(labels: np.ndarray) -> None:
    kept = labels != 3
    crossed = int(((labels[1:] != labels[:-1]) & kept[1:] & kept[:-1]).sum())
    crossed += int(((labels[:, 1:] != labels[:, :-1]) & kept[:, 1:] & kept[:, :-1]).sum())
    curves = extract(labels, skip=(3,)).curves
    assert all(3 not in c.between for c in curves)
    assert sum(len(c.points) - c.ends.count(TRIPLE) for c in curves) <= crossed


def test_a_disc_and_a_line_are_curves_that_meet_in_triple_points() -> None:
    found = extract(three(grid(65)).reshape(65, 65).astype(np.uint8))
    assert [(c.between, c.ends, c.closed) for c in found.curves] == [
        ((0, 1), (TRIPLE, TRIPLE), False), ((0, 2), (TRIPLE, TRIPLE), False),
        ((1, 2), (EDGE, TRIPLE), False), ((1, 2), (TRIPLE, EDGE), False),
    ]  # fmt: skip
    circle = np.concatenate([c.points[1:-1] for c in found.curves[:2]])
    # A label is known at both ends of an edge of length 1: its middle is half of it away at most.
    assert np.abs(off_circle(circle)).max() <= 0.5
    assert all((c.half <= 0.75).all() for c in found.curves)
    s = np.sqrt(2 * RADIUS**2 - (LEVEL - CENTRE.sum()) ** 2)
    exact = [(0.5 * (LEVEL - 1.5 - sign * s), 0.5 * (LEVEL + 1.5 + sign * s)) for sign in (1, -1)]
    assert [t.labels for t in found.triples] == [(0, 1, 2)] * 2
    for t, at in zip(found.triples, exact, strict=True):
        assert np.abs(np.subtract(t.at, at)).max() <= t.half


def test_where_labels_change_along_edges_can_be_given() -> None:
    def along(low: np.ndarray, axis: np.ndarray) -> np.ndarray:
        share = np.linspace(0, 1, 1001)
        step = np.stack([axis == 0, axis == 1], 1)
        gap = off_circle((low[:, None] + share[:, None] * step[:, None]).reshape(-1, 2)).reshape(len(low), -1)
        return share[np.abs(gap).argmin(1)]

    (curve,) = extract(disc(grid(65)).reshape(65, 65), along=along).curves
    assert curve.closed
    # Of a thousand shares of an edge the nearest is half of one away.
    assert np.abs(off_circle(curve.points)).max() <= 5.1e-4


def test_saddles_join_the_smaller_label() -> None:
    labels = np.array([[0, 1, 1], [1, 0, 1], [1, 1, 1]], np.uint8)
    (curve,) = extract(labels).curves
    assert len(curve.points) == 6
    curves = extract(1 - labels).curves
    assert [len(c.points) for c in curves] == [4, 2]


def test_a_strip_of_undecided_points_is_bridged_and_widens_the_curve() -> None:
    def strip(points: np.ndarray) -> np.ndarray:
        gap = off_circle(points)
        return np.where(gap < -0.7, 0, np.where(gap > 0.9, 1, UNKNOWN))

    labels = strip(grid(65)).reshape(65, 65).astype(np.uint8)
    assert not any(c.closed for c in extract(labels, skip=(UNKNOWN,)).curves)
    filled, depth = bridged(labels, UNKNOWN, 3)
    assert (filled[labels != UNKNOWN] == labels[labels != UNKNOWN]).all()
    (curve,) = extract(filled, skip=(UNKNOWN,), depth=depth).curves
    assert curve.closed
    assert curve.half.max() > 0.5
    # Both edges of the strip are within what is stated.
    assert (off_circle(curve.points) + 0.7 >= -curve.half).all()
    assert (off_circle(curve.points) - 0.9 <= curve.half).all()
    (sharp,) = polish([curve], strip, 1e-9, reach=3.0)
    moved = sharp.half != curve.half
    assert moved.mean() > 0.9
    # The strip itself stays open: 1.6 wide where the normal crosses it at right angles.
    assert sharp.half[moved].min() == pytest.approx(0.8, abs=0.01)
    assert np.abs(off_circle(sharp.points[moved]) - 0.1).max() < 0.05


def test_an_undecided_point_takes_the_label_that_most_of_its_neighbours_have() -> None:
    labels = np.array([[0, 1, 1], [0, UNKNOWN, 1], [0, 1, 1]], np.uint8)
    filled, depth = bridged(labels, UNKNOWN, 2)
    assert filled[1, 1] == 1 and depth[1, 1] == 1 and depth.sum() == 1
    assert bridged(np.full((3, 3), UNKNOWN, np.uint8), UNKNOWN, 2)[0].min() == UNKNOWN


def test_a_line_that_meets_what_is_left_out_ends_there() -> None:
    labels = np.zeros((6, 6), np.uint8)
    labels[:, 3:] = 1
    labels[4:] = UNKNOWN
    (curve,) = extract(labels, skip=(UNKNOWN,)).curves
    assert set(curve.ends) == {EDGE, UNDECIDED}
    assert len(curve.points) == 4


@pytest.mark.parametrize("labels", [np.zeros((1, 5)), np.zeros(4), np.zeros((2, 2, 2))])
def test_what_is_no_lattice_is_refused(labels: np.ndarray) -> None:
    with pytest.raises(ValueError, match="lattice"):
        extract(labels)


# -- polish ------------------------------------------------------------------------------------------


def test_polished_to_a_tolerance_all_curves_at_once() -> None:
    ask = Asked(three)
    found = extract(three(grid(65)).reshape(65, 65))
    curves = polish(found.curves, ask, 1e-9)
    count = sum(len(c.points) for c in curves)
    # Four on the normal and 30 halvings from a cell to 1e-9; more where a third label lies between, and for the last few,
    # which are cut into more than two.
    assert ask.points <= 40 * count
    assert ask.calls <= 45
    for curve in curves[:2]:
        moved = np.arange(len(curve.points))[1:-1]
        sharp = moved[curve.half[moved] <= 0.5e-9]
        assert len(sharp) > 0.9 * len(moved)
        assert (np.abs(off_circle(curve.points)) <= np.maximum(curve.half, 1e-12))[moved].all()
    whole = sharpen(Curves(curves, found.triples), ask, 1e-9)
    s = np.sqrt(2 * RADIUS**2 - (LEVEL - CENTRE.sum()) ** 2)
    for t, sign in zip(whole.triples, (1, -1), strict=True):
        at = 0.5 * (LEVEL - 1.5 - sign * s), 0.5 * (LEVEL + 1.5 + sign * s)
        assert t.half <= 1e-9
        assert np.abs(np.subtract(t.at, at)).max() <= t.half
    ends = [c.points[k] for c in whole.curves for k, end in zip((0, -1), c.ends, strict=True) if end == TRIPLE]
    assert {tuple(x) for x in ends} == {t.at for t in whole.triples}


def test_normals_point_to_the_left() -> None:
    (curve,) = extract(disc(grid(65)).reshape(65, 65)).curves
    inward = (CENTRE - curve.points) / np.hypot(*(CENTRE - curve.points).T)[:, None]
    # Of a circle of 17 cells a chord between second neighbours is off by less than the corner that a lattice cuts.
    assert ((normals(curve) * inward).sum(1) > 0.8).all()


def test_points_without_a_boundary_on_their_normal_stay_as_uncertain_as_they_were() -> None:
    curve = Curve((0, 1), np.array([[10.0, 10.0], [11.0, 10.0], [12.0, 10.0]]), np.full(3, 0.5), False, (EDGE, EDGE))
    (same,) = polish([curve], disc, 1e-9)
    assert (same.points == curve.points).all()
    assert (same.half == 0.5).all()
    assert polish([], disc, 1e-9) == ()


@pytest.mark.parametrize("count", [1, 300])
def test_brackets_end_at_the_change_however_few_or_many(count: int) -> None:
    at = np.linspace(0.05, 0.95, count)
    ask = Asked(lambda points: np.where(points[:, 0] < at[np.round(points[:, 1]).astype(int)], 5, 2))
    rows = np.arange(count, dtype=float)
    ends = Brackets(np.stack([np.zeros(count), rows], 1), np.stack([np.ones(count), rows], 1))
    got = narrow(ask, ends, np.full(count, 2), np.full(count, 5), 1e-8)
    assert (got.lo[:, 0] < at).all() and (got.hi[:, 0] >= at).all()
    assert (got.hi[:, 0] - got.lo[:, 0] <= 1e-8).all()
    # 27 halvings; one bracket alone is cut by 256 points at once.
    assert ask.calls <= (4 if count == 1 else 27)


def test_a_boundary_that_the_horizon_moves_is_extrapolated() -> None:
    c = 40.0

    def at(horizon: float):
        return lambda points: disc(points, RADIUS - c / horizon)

    found = extract(disc(grid(65), RADIUS - c / 1000).reshape(65, 65)).curves
    (now,) = polish(found, at(1000), 1e-9)
    (beyond,) = extrapolated([now], at(500), 1e-9)
    assert np.abs(off_circle(now.points)).min() > 0.039  # c / 1000
    # What is left is that normals of a polygon are not those of the circle: an angle of 0.03 at most, squared, times c / 500.
    assert np.abs(off_circle(beyond.points)).max() < 1e-4
    assert (beyond.half >= 0.039).all() and (beyond.half < 0.05).all()
    # Labels at half the horizon that show no boundary leave the points where they are, uncertain by the whole reach.
    (lost,) = extrapolated([now], lambda points: np.ones(len(points), int), 1e-9, reach=2.0)
    assert (lost.points == now.points).all() and (lost.half == 2.0).all()


# -- distance ----------------------------------------------------------------------------------------


def test_distance_from_a_line_counts_what_is_beside_it() -> None:
    line = np.array([[0.0, 0.0], [4.0, 0.0], [4.0, 3.0]])
    points = np.array([[1.0, 0.5], [3.0, -1.0], [5.0, 2.0], [-1.0, 0.0], [4.0, 9.0], [5.0, -1.0]])
    found = distance(points, line)
    assert found is not None
    # Of the six, two lie beyond the ends; the last is nearest to the corner.
    assert found.compared == 4
    assert found.largest == np.sqrt(2)
    assert found.mean == pytest.approx((0.5 + 1 + 1 + np.sqrt(2)) / 4, rel=1e-15)
    assert found.rms == pytest.approx(np.sqrt((0.25 + 1 + 1 + 2) / 4), rel=1e-15)
    assert distance(np.array([[-1.0, 0.0]]), line) is None
    assert distance(points, line[:1]) is None
    # A closed line has no ends to lie beyond.
    square = np.array([[0.0, 0.0], [4.0, 0.0], [4.0, 4.0], [0.0, 4.0], [0.0, 0.0]])
    around = distance(np.array([[-1.0, -1.0]]), square)
    assert around is not None and around.compared == 1
