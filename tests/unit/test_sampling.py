"""Refinement of a lattice: what is asked for, what is inferred, and at what cost. Planes are functions of lattice addresses."""

from __future__ import annotations

import math
import time
import tracemalloc

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from scipy.ndimage import maximum_filter

from trainphase.engine.dyadic import Dyadic
from trainphase.engine.refined import Level, dimension
from trainphase.engine.sampling import Refine


def drive(plane, sampler, told=None):
    """Ask until there is nothing left; the result and the rounds of questions. ``told`` may reorder and divide a round."""
    rounds = []
    labels = int(plane.max()) + 1
    while (points := sampler.ask()).size:
        rounds.append(points)
        for part in [points] if told is None else told(points):
            sampler.tell(part, np.eye(labels, dtype=int)[plane[tuple(part.T)]])
    return sampler.result(), rounds


def unit(shape):
    """Coordinates in [0, 1] of the lattice points."""
    return np.meshgrid(*[np.linspace(0, 1, n) for n in shape], indexing="ij")


def three_phases(n):
    """Two smooth lines that meet in a triple point."""
    x, y = unit((n, n))
    lower = y < 0.5 + 0.18 * np.sin(5 * x + 0.4) - 0.1 * x
    return np.where(lower, 0, np.where(x > 0.62 + 0.25 * (y - 0.3) ** 2, 2, 1))


def waves(shape, seed, labels):
    """A random smooth field cut into labels; with few waves smooth lines, with many islands everywhere."""
    rng = np.random.default_rng(seed)
    axes = unit(shape)
    field = sum(
        np.sin(sum(k * x for k, x in zip(rng.normal(0, 8, len(shape)), axes, strict=True)) + rng.uniform(0, 6)) for _ in range(3)
    )
    cuts = np.sort(rng.uniform(-2, 2, labels - 1))
    return np.searchsorted(cuts, np.asarray(field))


def far(plane, found, steps=1):
    """Wrong points that have no point of their inferred label within so many lattice steps (diagonals are one step)."""
    lost = found != plane
    for label in np.unique(found[lost]):
        near = maximum_filter((plane == label).astype(np.uint8), size=2 * steps + 1).astype(bool)
        lost &= ~((found == label) & near)
    return lost


planes = st.builds(
    waves,
    st.one_of(st.tuples(st.integers(1, 80), st.integers(1, 80)), st.tuples(st.integers(1, 300))),
    st.integers(0, 10**6),
    st.integers(2, 5),
)
options = st.fixed_dictionaries(
    {
        "ring": st.booleans(),
        "smooth": st.sampled_from([False, True, 4, 16]),
        "levels": st.sampled_from([None, 0, 2, 9]),
        "audit": st.sampled_from([0, 30]),
    }
)


@settings(max_examples=30)
@given(planes, options)
def test_every_round_asks_for_new_points_of_the_lattice_and_the_rounds_end(plane, chosen):
    result, rounds = drive(plane, Refine(plane.shape, **chosen))
    flat = np.concatenate([np.ravel_multi_index(tuple(p.T), plane.shape) for p in rounds])  # raises when outside
    assert np.unique(flat).size == flat.size == result.evaluations <= plane.size
    assert all(np.array_equal(p, np.unique(p, axis=0)) for p in rounds)
    assert result.rounds == len(rounds)
    assert np.array_equal(np.flatnonzero(result.known), np.sort(flat))
    assert np.array_equal(result.labels[result.known], plane[result.known])
    assert set(np.unique(result.labels)) <= set(np.unique(plane))  # nothing is made up and no point is left out
    ends = [tuple(result.crossings[:, k].T) for k in (0, 1)]
    assert np.all(plane[ends[0]] != plane[ends[1]]) and np.all(np.abs(np.diff(result.crossings, axis=1)).sum(2) == 1)


@settings(max_examples=10)
@given(planes, options, st.integers(0, 99))
def test_the_order_of_the_answers_changes_nothing(plane, chosen, seed):
    rng = np.random.default_rng(seed)
    one, first = drive(plane, Refine(plane.shape, **chosen))
    two, second = drive(plane, Refine(plane.shape, **chosen), lambda p: np.array_split(rng.permutation(p), min(3, len(p))))
    assert len(first) == len(second) and all(map(np.array_equal, first, second))
    assert np.array_equal(one.labels, two.labels) and one.audit == two.audit


@settings(max_examples=10)
@given(planes, options, st.permutations(range(5)))
def test_other_names_of_the_labels_give_the_same_questions_and_renamed_answers(plane, chosen, names):
    named = np.array(names)[plane]
    one, first = drive(plane, Refine(plane.shape, **chosen))
    two, second = drive(named, Refine(plane.shape, **chosen))
    assert all(map(np.array_equal, first, second))
    assert np.array_equal(np.array(names)[one.labels], two.labels)


@settings(max_examples=10)
@given(planes, options)
def test_a_transposed_plane_gives_transposed_labels(plane, chosen):
    one, _ = drive(plane, Refine(plane.shape, **{**chosen, "audit": 0}))
    two, _ = drive(plane.T, Refine(plane.T.shape, **{**chosen, "audit": 0}))
    assert np.array_equal(one.labels.T, two.labels) and np.array_equal(one.known.T, two.known)


@given(st.tuples(st.integers(2, 200), st.integers(2, 200)), st.sampled_from([None, 0, 1, 3, 9]))
def test_cells_of_every_level_tile_the_lattice(shape, levels):
    lattice = Dyadic.of(shape, levels)
    for level in range(lattice.top + 1):
        count = math.prod(lattice.cells(level))
        corners = lattice.where(lattice.corners(level, np.arange(count)).ravel()).reshape(count, 4, 2)
        area = np.prod(corners[:, 3] - corners[:, 0], axis=1)
        assert area.min() > 0 and area.sum() == (shape[0] - 1) * (shape[1] - 1)
        if level:
            below = lattice.children(level, np.arange(count))
            assert np.array_equal(below, np.arange(math.prod(lattice.cells(level - 1))))


def test_a_uniform_plane_costs_the_start_level_and_one_audit():
    result, rounds = drive(np.zeros((513, 513), int), Refine((513, 513), audit=400))
    assert [len(p) for p in rounds] == [17 * 17, 400]
    assert (result.labels == 0).all() and result.dimension is None and result.crossings.size == 0
    assert [(r.asked, r.misses, r.low) for r in result.audit] == [(400, 0, 0.0)]


def test_a_smooth_plane_at_1024_costs_a_third_of_a_percent_and_is_right_to_one_step():
    plane = three_phases(1025)
    begin = time.process_time()
    sampler = Refine(plane.shape)
    result, rounds = drive(plane, sampler)
    assert time.process_time() - begin < 1.0  # the target; 0.1 s on the machine that this was written on, answers included
    audited = sum(r.asked for r in result.audit)
    # 0.3 % for the points that find the boundary: the target. The start level is among them.
    assert result.evaluations - audited <= 0.003 * plane.size
    assert len(rounds) <= 20
    assert not far(plane, result.labels).any()
    assert set(np.unique(result.labels)) == {0, 1, 2}
    # A line has dimension 1; bends and the triple point move the slope by some thousandths at these strides.
    assert result.dimension is not None and abs(result.dimension[0] - 1) < 0.01


def test_the_cost_grows_no_faster_than_the_boundary():
    sides = (257, 513, 1025)
    spent = [drive(three_phases(n), Refine((n, n), audit=0, smooth=16))[0].evaluations for n in sides]
    exponent = np.polyfit(np.log([n - 1 for n in sides]), np.log(spent), 1)[0]
    assert exponent <= 1.1  # the target; a dense grid has 2


@pytest.mark.parametrize("radius", [0.4, 0.1, 0.05])
def test_bent_boundaries_are_right_to_one_step(radius):
    x, y = unit((513, 513))
    for seed in range(3):
        a, b = np.random.default_rng(seed).uniform(0.45, 0.55, 2)
        plane = (np.hypot(x - a, y - b) < radius).astype(int)
        result, _ = drive(plane, Refine(plane.shape))
        assert not far(plane, result.labels).any()
        plane = (y > 0.5 + radius / 4 * np.sin(5 / radius * x + 6 * a)).astype(int)
        assert not far(plane, drive(plane, Refine(plane.shape))[0].labels).any()


@pytest.mark.parametrize("half", [0.3, 3.0, 8.0])
def test_a_narrow_band_along_a_line_stays_affordable(half):
    """Beside a boundary, where runs decide slowly, lies a band of undecided points."""
    x, y = unit((1025, 1025))
    line = 0.5 + 0.18 * np.sin(5 * x + 0.4) - 0.1 * x
    plane = np.where(np.abs(y - line) * 1024 < half, 2, y > line)
    result, _ = drive(plane, Refine(plane.shape))
    assert result.evaluations < 0.012 * plane.size  # the target for smooth planes; no band at all costs 0.25 %
    assert not far(plane, result.labels).any()


@pytest.mark.parametrize("smooth", [False, True])
def test_a_tongue_is_followed_to_its_tip(smooth):
    """It is wide where the start level meets it, and slips between its points from there on."""
    x, y = unit((513, 513))
    plane = (np.abs(y - 0.4 - 0.1 * x) < 0.05 * (1 - x)).astype(int)
    result, _ = drive(plane, Refine(plane.shape, ring=False, smooth=smooth, audit=0))
    # The last lattice steps, where it is no wider than they are, come and go.
    assert not far(plane, result.labels)[:480].any()


@pytest.mark.parametrize("half", [1.2, 2.0, 6.0])
def test_a_strip_between_two_phases_costs_two_boundaries(half):
    """It is cut by two chords: subdivided down to the lattice, it would cost seven times as much."""
    x, y = unit((1025, 1025))
    middle = 0.5 + 0.1 * np.sin(2 * x + 0.4) - 0.3 * x
    plane = np.where(np.abs(y - middle) * 1024 < half, 2, y > middle)
    result, _ = drive(plane, Refine(plane.shape, audit=0))
    # 0.3 %: the target for points without an audit; 0.15 to 0.2 % are seen.
    assert result.evaluations < 0.003 * plane.size
    assert not far(plane, result.labels).any()


def test_a_lattice_that_is_no_power_of_two_and_far_from_square():
    x, y = unit((1000, 37))
    plane = (y > 0.3 + 0.4 * x**2).astype(int)
    result, _ = drive(plane, Refine(plane.shape))
    assert not far(plane, result.labels).any() and result.evaluations < 0.08 * plane.size


def test_one_axis_is_bisected():
    plane = np.searchsorted([1234, 40000, 40961], np.arange(65537), side="right")
    result, rounds = drive(plane, Refine(plane.shape, audit=0))
    assert np.array_equal(result.labels, plane)
    # 17 points to start with; ring and bisection add 5 a level and change at most, of 12 levels.
    assert result.evaluations <= 17 + 3 * 5 * 12 and len(rounds) <= 14
    assert sorted(result.crossings[:, 1, 0]) == [1234, 40000, 40961]


def newton(n):
    """Basins of Newton's method for z^3 - 1 in a square that is not centred on the origin."""
    x, y = unit((n, n))
    z = 3 * x - 1.51 + 1j * (3 * y - 1.53)
    for _ in range(40):
        z = z - (z**3 - 1) / (3 * z**2)
    roots = np.exp(2j * np.pi * np.arange(3) / 3)
    return np.argmin(np.abs(z[..., None] - roots[None, None]), axis=-1)


def test_the_basins_of_newton_s_method():
    plane = newton(513)
    # Twice the usual audit: with one miss among 600 points, which is likely once in ten, the bound is 1.03 %.
    result, _ = drive(plane, Refine(plane.shape, audit=1200))
    wrong = float(np.mean(plane != result.labels))
    assert wrong <= 0.01  # the target; 0.02 % are wrong here, and none without bisection
    full, _ = drive(plane, Refine(plane.shape, smooth=False))
    assert np.array_equal(full.labels, plane)
    assert result.wrong is not None and wrong <= result.wrong[1] < 0.01 and result.evaluations < 0.2 * plane.size
    bare, _ = drive(plane, Refine(plane.shape, ring=False))
    assert bare.evaluations < 0.85 * result.evaluations  # the ring costs something, and finds what would be missed
    assert np.count_nonzero(plane != bare.labels) > np.count_nonzero(plane != result.labels)
    value, error = result.dimension or (0.0, 0.0)
    assert abs(value - 1.42) < 0.03 and 0 < error < 0.02  # published: 1.42, of ever finer grids


def test_the_dimension_of_known_counts_and_its_error():
    counts = [Level(2**k, 4**9, round(2 ** (1.5 * (9 - k)))) for k in range(8, -1, -1)]
    value, error = dimension(tuple(counts)) or (0.0, 0.0)
    assert value == pytest.approx(1.5, abs=0.02) and error < 0.02  # counts are rounded: 2^1.5 is 3
    assert dimension(tuple(counts[-3:])) is None  # two levels have no error


def test_a_large_plane_needs_little_memory_and_time():
    begin = time.process_time()
    tracemalloc.start()
    sampler = Refine((2049, 2049))
    while (points := sampler.ask()).size:
        x, y = points.T / 2048
        lower = y < 0.5 + 0.18 * np.sin(5 * x + 0.4) - 0.1 * x
        sampler.tell(points, np.eye(3, dtype=int)[np.where(lower, 0, np.where(x > 0.62 + 0.25 * (y - 0.3) ** 2, 2, 1))])
    result = sampler.result()
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    # The targets are 500 MB and some seconds for 4097 points a side, four times as many; a quarter of 230 MB and 1.5 s are seen.
    assert peak < 125e6
    assert time.process_time() - begin < 2
    assert result.evaluations < 0.0015 * result.labels.size


def ensemble(chance, shape, seeds, seed, **chosen):
    """Refine with so many random answers per point; ``chance`` gives the frequencies (m, labels) at addresses (m, 2)."""
    rng = np.random.default_rng(seed)
    sampler = Refine(shape, **chosen)
    while (points := sampler.ask()).size:
        sampler.tell(points, rng.multinomial(seeds, chance(points)))
    return sampler.result()


@pytest.mark.parametrize("seeds", [2, 4, 16])
@pytest.mark.parametrize("frequencies", [(0.5, 0.5), (0.9, 0.1), (0.4, 0.3, 0.3)])
def test_noise_is_not_refined(seeds, frequencies):
    for seed in range(3):
        result = ensemble(lambda p: np.tile(frequencies, (len(p), 1)), (513, 513), seeds, seed, audit=0)
        # 289 points to start with. One cell in twenty differs by chance and costs five points, some more below it.
        assert result.evaluations < 3 * 289


@pytest.mark.parametrize("seeds", [2, 3, 5, 20])
def test_a_sharp_boundary_of_an_ensemble_is_found_to_one_step(seeds):
    x, y = unit((257, 257))
    plane = (y > 0.4 + 0.2 * np.sin(4 * x)).astype(int)
    result = ensemble(lambda p: np.eye(2)[plane[tuple(p.T)]], plane.shape, seeds, 0, audit=0)
    assert not far(plane, result.labels).any() and result.evaluations < 0.1 * plane.size


def test_a_gradual_change_of_an_ensemble_is_refined_where_it_is_significant():
    def ramp(width):
        def chance(points):
            p = 1 / (1 + np.exp((0.5 - points[:, 1] / 512) / width))
            return np.stack([1 - p, p], -1)

        return chance

    steep, gentle = (ensemble(ramp(w), (513, 513), 16, 0, audit=0) for w in (0.01, 0.2))
    # Across a cell of the start level, a sixteenth of the side, the frequency changes by at most 1 / (64 width): 0.08 of the
    # gentle ramp, which is lost in the noise of 16 seeds (0.18 and more between two points), and all of the steep one.
    assert gentle.evaluations < 2 * 289 < steep.evaluations < 0.02 * 513**2
    assert np.abs(np.argmax(steep.labels, axis=1) - 256).max() < 0.04 * 512  # four widths


def test_points_that_were_told_once_count_as_one_seed():
    """A plane of single answers, told as counts of five here and there, is refined like any other."""
    x, y = unit((129, 129))
    plane = (y > 0.3 + 0.3 * x).astype(int)
    sampler, round_ = Refine(plane.shape, audit=0), 0
    while (points := sampler.ask()).size:
        sampler.tell(points, np.eye(2, dtype=int)[plane[tuple(points.T)]] * (5 if round_ % 2 else 1))
        round_ += 1
    assert not far(plane, sampler.result().labels).any()


def test_wrong_use_is_refused():
    for shape in ((), (0, 4), (4, 4, 4)):
        with pytest.raises(ValueError, match="one or two axes"):
            Refine(shape)
    sampler = Refine((33, 33))
    points, one = sampler.ask(), np.ones((1, 1), int)
    with pytest.raises(ValueError, match="not told yet"):
        sampler.result()
    for bad, match in (((1, 1), "did not ask"), ((0, 33), "outside"), ((-1, 0), "outside")):
        with pytest.raises(ValueError, match=match):
            sampler.tell(np.array([bad]), one)
    with pytest.raises(ValueError, match="labels"):
        sampler.tell(points, np.ones(len(points), int))
    for counts in (0 * one, np.array([[2, -1]])):
        with pytest.raises(ValueError, match="at least one seed"):
            sampler.tell(points[:1], counts)
    sampler.tell(points[:1], one)
    with pytest.raises(ValueError, match="told before"):
        sampler.tell(points[:1], one)
    assert np.array_equal(sampler.ask(), points[1:])


@example((1,))
@example((1, 1))
@example((1, 2))
@given(st.tuples(st.integers(1, 3), st.integers(1, 3)))
def test_the_smallest_lattices(shape):
    plane = np.arange(math.prod(shape)).reshape(shape)
    result, _ = drive(plane, Refine(shape))
    assert np.array_equal(result.labels, plane) and result.known.all()
