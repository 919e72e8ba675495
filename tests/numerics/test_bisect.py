"""The search for changes of label, on synthetic labels whose changes are known exactly.

Labels are integers, a smaller one is more regular, -1 (or 9) is undecided; nothing here runs a map.
"""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

import trainphase as tp
from trainphase.engine.bisect import AUDIT, SECTIONS, Scan, search
from trainphase.verbs import BoundaryResult

Labels = Callable[[np.ndarray], np.ndarray]
UNDECIDED = 9
TOL = 1e-10
# A bracket is never narrower than four spacings of its ends, the smallest target the search gives itself.
ULPS = 4 * np.spacing(1.0)


def steps(edges: list[float], codes: list[int]) -> Labels:
    """Label ``codes[k]`` between ``edges[k-1]`` and ``edges[k]``; an edge belongs to its right side."""
    return lambda x: np.asarray(codes)[np.searchsorted(edges, x, side="right")]


def pairs(scan: Scan) -> list[tuple[int, int]]:
    return [(b.left, b.right) for b in scan.brackets]


def sound(scan: Scan, label: Labels) -> None:
    """What holds for every search: ends in order, brackets apart, and each end labelled as it says."""
    for b in scan.brackets:
        assert b.lo < b.hi
        assert b.left != b.right
        assert label(np.array([b.lo, b.hi])).tolist() == [b.left, b.right]
    for one, other in pairwise(scan.brackets):
        assert one.hi <= other.lo


def test_a_single_step_is_narrowed_to_the_tolerance() -> None:
    at = 1 / np.pi
    scan = search(steps([at], [0, 1]), 0.0, 1.0, 16, TOL)
    sound(scan, steps([at], [0, 1]))
    (b,) = scan.brackets
    assert (b.left, b.right) == (0, 1)
    assert b.lo < at <= b.hi
    assert b.width <= TOL


def test_no_change_costs_the_scan_and_nothing_else() -> None:
    scan = search(lambda x: np.full(x.shape, 3), -1.0, 1.0, 33, TOL)
    assert scan.brackets == () and scan.evaluations == 33
    assert scan.points[0] == -1.0 and scan.points[-1] == 1.0 and scan.codes.tolist() == [3] * 33


def test_everything_undecided_gives_nothing() -> None:
    scan = search(lambda x: np.full(x.shape, UNDECIDED), 0.0, 1.0, 8, TOL, UNDECIDED)
    assert scan.brackets == () and scan.evaluations == 8


def test_evaluations_are_counted_and_cost_is_as_documented() -> None:
    calls: list[int] = []
    label = steps([0.3, 0.7], [0, 1, 2])

    def ask(x: np.ndarray) -> np.ndarray:
        calls.append(x.size)
        return label(x)

    scan = search(ask, 0.0, 1.0, 11, TOL)
    assert scan.evaluations == sum(calls)
    # The docstring's cost, with the number of rounds rounded up to a whole one.
    rounds = np.ceil(np.log(0.1 / TOL) / np.log(SECTIONS + 1))
    assert scan.evaluations <= 11 + 2 * (SECTIONS * rounds + AUDIT)


def test_few_points_at_a_time_and_what_is_expected_of_a_search() -> None:
    told: list[int] = []
    scan = search(steps([0.3], [0, 1]), 0.0, 1.0, 11, 1e-3, sections=3, audit=8, expect=told.append)
    (b,) = scan.brackets
    assert b.width <= 1e-3 and b.lo < 0.3 <= b.hi
    # Four rounds of three, since 4^3 < 0.1 / 1e-3 <= 4^4, and the audit. With one change the first guess is right.
    assert scan.evaluations == 11 + 4 * 3 + 8
    assert told[0] == told[-1] == scan.evaluations
    two: list[int] = []
    scan = search(steps([0.3, 0.7], [0, 1, 2]), 0.0, 1.0, 11, 1e-3, sections=3, audit=8, expect=two.append)
    assert two[0] == told[0] and two[1] == two[-1] == scan.evaluations == 11 + 2 * (4 * 3 + 8)


def test_the_search_is_deterministic() -> None:
    label = steps([0.21, 0.5, 0.77], [0, 2, 3, 4])
    one, two = search(label, 0.0, 1.0, 32, TOL), search(label, 0.0, 1.0, 32, TOL)
    assert one.brackets == two.brackets and one.evaluations == two.evaluations


@pytest.mark.parametrize("tol", [1e-3, 1e-6, 1e-12])
def test_the_tolerance_asked_for_is_met(tol: float) -> None:
    scan = search(steps([np.sqrt(0.5)], [1, 0]), 0.0, 1.0, 8, tol)
    assert scan.brackets[0].width <= tol


def test_a_tolerance_below_the_spacing_of_numbers_ends_at_that_spacing() -> None:
    at = 0.7
    (b,) = search(steps([at], [0, 1]), 0.0, 1.0, 8, 1e-30).brackets
    assert b.lo < at <= b.hi and b.width <= ULPS


# Edges on a grid of 1/40 and off it, so that each lies in a cell of the scan of its own.
cells = st.lists(st.integers(1, 38), min_size=1, max_size=8, unique=True).map(sorted)


@given(cells, st.floats(0.01, 0.99), st.randoms(use_true_random=False))
def test_every_step_between_scan_points_is_found(where: list[int], shift: float, random: object) -> None:
    edges = [(k + shift) / 40 for k in where]
    codes = [0]
    for _ in edges:
        codes.append(random.choice([c for c in range(5) if c != codes[-1]]))  # type: ignore[attr-defined]
    label = steps(edges, codes)
    scan = search(label, 0.0, 1.0, 41, TOL)
    sound(scan, label)
    assert pairs(scan) == list(pairwise(codes))
    for b, edge in zip(scan.brackets, edges, strict=True):
        assert b.lo < edge <= b.hi and b.width <= TOL


@given(cells, st.floats(0.01, 0.99))
def test_a_mirrored_axis_gives_mirrored_brackets(where: list[int], shift: float) -> None:
    edges = [(k + shift) / 40 for k in where]
    label = steps(edges, [k % 4 for k in range(len(edges) + 1)])
    forward = search(label, 0.0, 1.0, 41, TOL)
    backward = search(lambda x: label(-x), -1.0, 0.0, 41, TOL)
    assert [(b.right, b.left) for b in reversed(backward.brackets)] == pairs(forward)
    for b, m in zip(forward.brackets, reversed(backward.brackets), strict=True):
        assert abs(b.lo + m.hi) <= TOL and abs(b.hi + m.lo) <= TOL


@pytest.mark.parametrize("codes", [[0, 1, 2], [0, 2, 1], [2, 1, 0], [2, 0, 1], [3, 0, 2]])
def test_a_third_label_between_two_scan_points_is_found(codes: list[int]) -> None:
    """No noise, one section wide enough to be met: both of its ends are changes."""
    edges = [0.53, 0.58]
    label = steps(edges, codes)
    scan = search(label, 0.0, 1.0, 6, TOL)
    sound(scan, label)
    assert pairs(scan) == [(codes[0], codes[1]), (codes[1], codes[2])]
    for b, edge in zip(scan.brackets, edges, strict=True):
        assert b.lo < edge <= b.hi and b.width <= TOL


def test_all_labels_between_two_scan_points_are_found() -> None:
    """With two scan points for the whole range, sections meet every label; none may be dropped on the way."""
    edges = [0.15, 0.35, 0.6, 0.85]
    label = steps(edges, [0, 1, 2, 3, 4])
    scan = search(label, 0.0, 1.0, 2, TOL)
    sound(scan, label)
    assert pairs(scan) == [(0, 1), (1, 2), (2, 3), (3, 4)]


@given(
    st.lists(st.integers(0, 399), min_size=1, max_size=10, unique=True).map(sorted),
    st.lists(st.integers(0, 4), min_size=11, max_size=11),
    st.sampled_from([2, 5, 20]),
)
@example([120, 240], [3, 0, 2] + [0] * 8, 2)
@example([0, 1, 27, 100, 101, 102, 109, 200], [0, 1, 2, 1, 0, 0, 0, 1, 2, 0, 0], 5)
def test_whatever_the_labels_the_brackets_are_sound(where: list[int], codes: list[int], points: int) -> None:
    """Coarse scans of arbitrary labels may miss changes, but what is reported is there, in order, and apart."""
    label = steps([(k + 0.37) / 400 for k in where], codes[: len(where) + 1])
    sound(search(label, 0.0, 1.0, points, 1e-6), label)


@given(st.floats(0.05, 0.95), st.floats(1e-6, 2e-2), st.sampled_from([(0, 1), (1, 0), (2, 3)]))
def test_an_undecided_band_stays_inside_the_bracket(at: float, half: float, codes: tuple[int, int]) -> None:
    def label(x: np.ndarray) -> np.ndarray:
        return np.where(np.abs(x - at) < half, UNDECIDED, np.where(x < at, *codes))

    scan = search(label, 0.0, 1.0, 16, TOL, UNDECIDED)
    sound(scan, label)
    (b,) = scan.brackets
    assert (b.left, b.right) == codes
    assert b.lo <= at <= b.hi
    # The ends approach the band until three rounds of 16 sections gain less than a tenth each: the two parts outside
    # the band are then below one section each, an eighth of the bracket in all.
    assert 2 * half <= b.width <= 2 * half / (1 - 2 / (SECTIONS + 1)) * (1 + 1e-9) + TOL


def test_an_undecided_stretch_between_equal_labels_is_no_change() -> None:
    def label(x: np.ndarray) -> np.ndarray:
        return np.where((x > 0.3) & (x < 0.5), UNDECIDED, 1)

    assert search(label, 0.0, 1.0, 64, TOL, UNDECIDED).brackets == ()


def windows(first: float, inside: list[tuple[float, float]]) -> Labels:
    """Label 2 up to ``first``, then 3, with intervals of 2 in it."""

    def label(x: np.ndarray) -> np.ndarray:
        regular = x < first
        for lo, hi in inside:
            regular = regular | ((x >= lo) & (x < hi))
        return np.where(regular, 2, 3)

    return label


@given(st.floats(0.2, 0.4), st.lists(st.floats(0.05, 0.5), min_size=1, max_size=3), st.integers(0, 30))
@example(0.3125, [0.38], 11)
def test_the_first_change_is_followed_past_windows(first: float, gaps: list[float], move: int) -> None:
    """Windows at geometric distances above the change, a twentieth of that wide: the change is not lost to them.

    The audit is random, so this is about likelihood: a window's end and the change are a factor 21 apart as seen from
    the end, which is 1.3 of about 10 decades, so all 64 points miss with probability exp(-8).
    """
    inside = [(first + g * 2.0**-k / 8, first + 1.05 * g * 2.0**-k / 8) for k, g in enumerate(gaps)]
    label = windows(first, inside)
    scan = search(label, 0.0 - move * 1e-3, 1.0, 9, TOL)
    sound(scan, label)
    b = scan.brackets[0]
    assert (b.left, b.right) == (2, 3)
    assert b.lo < first <= b.hi and b.width <= TOL


@pytest.mark.parametrize("points", [8, 16, 32, 64, 128])
def test_a_scan_point_inside_a_window_does_not_hide_the_change(points: int) -> None:
    """One scan point sits in a window and none in the chaos before it: the window's end is not the change.

    The chaos before the window is 0.38 of a cell long and the window 0.04: one decade, as seen from its end.
    """
    spacing = 1 / (points - 1)
    at = spacing * (points // 2)
    first, window = at - 0.4 * spacing, (at - 0.02 * spacing, at + 0.02 * spacing)
    label = windows(first, [window])
    scan = search(label, 0.0, 1.0, points, TOL)
    sound(scan, label)
    b = scan.brackets[0]
    assert b.lo < first <= b.hi


def test_a_planted_shift_is_seen() -> None:
    """The checks above can fail: a bracket about another place does not hold the step."""
    (b,) = search(steps([0.3 + 2 * TOL], [0, 1]), 0.0, 1.0, 16, TOL).brackets
    assert not b.lo < 0.3 <= b.hi


def test_a_label_at_a_single_value_is_no_phase() -> None:
    """The border T = 4 of linear-net is met exactly from 2:8; its run is bounded there and nowhere beside it. No tolerance: the
    bracket must hold the theory's value."""
    found = tp.boundary("linear-net", T=(3.0, 5.0), z=0.3, y=0.0, vocabulary="edge", points=9, steps=4096)
    assert isinstance(found, BoundaryResult)
    last = found.crossings[-1]
    assert last.between == ("flat", "divergent") and abs(last.at - 4.0) <= last.width < 1e-8 and last.theory == 4.0
    assert not any("bounded" in c.between for c in found.crossings)
