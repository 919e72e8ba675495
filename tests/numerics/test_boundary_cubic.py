"""Boundaries of the cubic map, found by bisecting labels, against the constants of the theory.

The search and the labels know nothing of the constants: they come from iterating and from cycles that were found.
"""

from __future__ import annotations

import json
from functools import cache
from itertools import pairwise

import numpy as np
import pytest
import searched

import trainphase as tp
from trainphase.theory import cubic
from trainphase.verbs import BoundaryResult

# A bracket's ends are labelled in double precision: they and the constants carry an ulp or two each.
ROUNDING = 4 * float(np.spacing(2.2))
EXACT = {
    ("monotonic", "catapult"): cubic.A_CATAPULT,
    ("catapult", "periodic"): cubic.A_EDGE,
    ("periodic", "chaotic"): cubic.A_ACCUMULATION,
    ("chaotic", "divergent"): cubic.A_DIVERGENT,
}
# The figures. At the accumulation point, cycles longer than the horizon are not told from chaos.
TOLERANCE = {pair: 2e-5 if pair == ("periodic", "chaotic") else 1e-9 for pair in EXACT}
A3_OPEN, A3_FLIP = 1.4504409644878751728155, 1.460828673878579913615201
# The cascade of the period-3 window ends where this test's own iteration says, to six digits.
A3_END = 1.46716
# At a tangency, chaos needs a Lyapunov exponent of 10 / (growth steps) to be named; it grows from zero like
# sqrt(a - a_c), so with 65 536 steps and a factor of about one half the window's start is late by (3e-4)^2 = 1e-7.
TANGENCY = 1e-6


@cache
def whole(points: int = 256) -> BoundaryResult:
    return searched.along("cubic", a=(0.5, 2.2), points=points)


@cache
def short(lo: float, hi: float) -> BoundaryResult:
    """A cheaper search: an eighth of the points and horizon."""
    return searched.along("cubic", a=(lo, hi), points=64, steps=16384)


def honest(result: BoundaryResult) -> None:
    """Every crossing lies in the range, has a width above zero, and where theory is named it is inside the bracket."""
    for c in result.crossings:
        assert c.between[0] != c.between[1]
        assert c.width > 0
    ends = [(c.at - c.width / 2, c.at + c.width / 2) for c in result.crossings]
    for (_, hi), (lo, _) in pairwise(ends):
        assert hi <= lo + ROUNDING


# --- the four boundaries ------------------------------------------------------------------------------------


def test_the_four_crossings_in_order_and_no_other() -> None:
    assert [c.between for c in whole().crossings] == list(EXACT)
    honest(whole())


@pytest.mark.parametrize("pair", EXACT)
def test_a_crossing_is_where_theory_says(pair: tuple[str, str]) -> None:
    (c,) = [c for c in whole().crossings if c.between == pair]
    assert abs(c.at - EXACT[pair]) < TOLERANCE[pair]
    assert c.theory == EXACT[pair]
    assert c.theory_name is not None and "/".join(pair) in c.theory_name


@pytest.mark.parametrize("pair", EXACT)
def test_a_width_is_honest(pair: tuple[str, str]) -> None:
    (c,) = [c for c in whole().crossings if c.between == pair]
    assert abs(c.at - EXACT[pair]) <= c.width / 2 + ROUNDING
    assert c.width <= 2 * TOLERANCE[pair]


def test_planted_fault_another_constant_is_seen() -> None:
    (c,) = [c for c in whole().crossings if c.between == ("periodic", "chaotic")]
    # The next doubling below the accumulation point is outside the bracket.
    assert abs(c.at - 1.3022534377421285) > c.width / 2 + ROUNDING


@pytest.mark.parametrize(("lo", "hi", "points"), [(0.5, 2.2, 32), (1.0, 1.5, 64)])
def test_the_accumulation_point_does_not_depend_on_the_scan(lo: float, hi: float, points: int) -> None:
    """Windows above the accumulation point hold scan points of some scans; their ends are not the boundary."""
    result = searched.along("cubic", a=(lo, hi), points=points, steps=32768)
    (c,) = [c for c in result.crossings if c.between == ("periodic", "chaotic")]
    assert abs(c.at - cubic.A_ACCUMULATION) < 2e-5


def test_a_coarse_scan_drops_none_of_the_labels_it_meets() -> None:
    result = searched.along("cubic", a=(0.5, 2.2), points=3, steps=16384)
    assert [c.between for c in result.crossings] == list(EXACT)


def test_a_wide_tolerance_is_kept_and_honest() -> None:
    result = searched.along("cubic", a=(0.7, 1.2), points=16, steps=4096, tol=1e-4)
    assert [c.between for c in result.crossings] == [("monotonic", "catapult"), ("catapult", "periodic")]
    for c in result.crossings:
        assert c.theory is not None and abs(c.at - c.theory) <= c.width / 2 + ROUNDING and c.width <= 1e-4


@pytest.mark.parametrize(
    ("asked", "says"),
    [({"a": (0.9, 1.1), "tol": 0.2001}, "tol = 0.2001 is not below the width of the range 0.9:1.1"),
     ({"a": (0.0, 1e-11)}, "tol = 1e-10 is not below"), ({"a": (2.0, 1.0)}, "a: the range 2:1 is empty")],
)  # fmt: skip
def test_a_tolerance_wider_than_the_range_and_an_empty_range_are_refused(asked: dict, says: str) -> None:
    with pytest.raises(tp.RequestError, match=says):
        tp.boundary("cubic", **asked)


# --- windows ------------------------------------------------------------------------------------------------


def test_the_period_3_window_is_listed() -> None:
    (w,) = [w for w in whole().windows if w.period == 3]
    assert w.phase == "periodic"
    assert abs(w.lo - A3_OPEN) < TANGENCY
    # A window lasts to the end of its own cascade, above the first flip.
    assert w.hi > A3_FLIP and abs(w.hi - A3_END) < 2e-5


def test_windows_lie_in_the_chaotic_range_in_order_and_apart() -> None:
    windows = whole().windows
    assert windows, "a scan of 256 points meets at least the period-3 window"
    for w in windows:
        assert cubic.A_ACCUMULATION < w.lo < w.hi < cubic.A_DIVERGENT
        assert w.period is None or w.period >= 3
    for one, other in pairwise(windows):
        assert one.hi < other.lo


def test_windows_are_no_crossings() -> None:
    for w in whole().windows:
        for c in whole().crossings:
            assert not w.lo - 1e-6 <= c.at <= w.hi + 1e-6


def test_the_end_of_the_period_3_cascade() -> None:
    """A3_END, by the plain map: the sum of ln|f'| along the orbit is below zero before and above it after."""
    for a, sign in ((A3_END - 2e-5, -1), (A3_END + 5e-5, 1)):
        z, total = 0.1, 0.0
        for t in range(300_000):
            if t >= 100_000:
                total += np.log(abs((z - 1) * (3 * z + 2 * a - 1)))
            z = ((z + (a - 2)) * z + (1 - 2 * a)) * z
        assert np.sign(total) == sign


# --- periods ------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def doublings() -> BoundaryResult:
    return searched.along("cubic", a=(0.9, 1.3), points=64, steps=32768, of="period")


@pytest.mark.parametrize("low", [1, 2, 4, 8])
def test_a_doubling_is_where_theory_says(doublings: BoundaryResult, low: int) -> None:
    pair = (str(low), str(2 * low))
    (c,) = [c for c in doublings.crossings if c.between == pair]
    row = cubic.crossing(*pair)
    assert row is not None
    assert abs(c.at - row.a) < 1e-8  # the figure
    assert abs(c.at - row.a) <= c.width / 2 + ROUNDING
    assert c.theory == row.a


def test_the_cascade_holds_nothing_else(doublings: BoundaryResult) -> None:
    assert [c.between for c in doublings.crossings] == [("1", "2"), ("2", "4"), ("4", "8"), ("8", "16")]
    honest(doublings)


def test_periods_over_the_whole_range_are_sound() -> None:
    """Inside chaos there is no period: a change of period is a point, or it is not listed."""
    result = searched.along("cubic", a=(0.5, 2.2), points=128, steps=16384, of="period")
    honest(result)
    for c in result.crossings:
        assert c.width < 1e-6, f"{c.between} at {c.at} is no point"
        if c.theory is not None:
            # A doubling 4 -> 8 of some window is not the doubling 4 -> 8 of the theory's table.
            assert abs(c.at - c.theory) < 1e-6


# --- other ranges -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("interval", [(0.1, 0.7), (0.85, 0.98), (1.05, 1.28), (1.4512, 1.4602), (2.05, 2.2)])
def test_no_crossing_where_there_is_none(interval: tuple[float, float]) -> None:
    result = short(*interval)
    assert result.crossings == () and result.windows == ()
    assert result.evaluations == 64


def test_only_windows() -> None:
    """From chaos to chaos: no boundary of phases between, whatever windows are met."""
    result = short(1.44, 1.48)
    assert result.crossings == ()
    (w,) = [w for w in result.windows if w.period == 3]
    # A horizon an eighth of the default one: 64 times the shift of the tangency.
    assert abs(w.lo - A3_OPEN) < 64 * TANGENCY
    assert abs(w.hi - A3_END) < 2e-4


@pytest.mark.parametrize("start", [1.42, 1.75])
def test_a_range_that_starts_in_chaos_has_one_boundary(start: float) -> None:
    result = short(start, 2.2)
    (c,) = result.crossings
    assert c.between == ("chaotic", "divergent") and abs(c.at - 2) < 1e-9
    honest(result)


@pytest.mark.parametrize(
    ("interval", "pair"),
    [
        ((0.6, 0.95), ("monotonic", "catapult")),
        ((0.9, 1.1), ("catapult", "periodic")),
        ((1.25, 1.3035), ("periodic", "chaotic")),
        ((1.95, 2.05), ("chaotic", "divergent")),
    ],
)
def test_one_crossing_alone(interval: tuple[float, float], pair: tuple[str, str]) -> None:
    result = short(*interval)
    (c,) = [c for c in result.crossings if c.between == pair]
    assert abs(c.at - EXACT[pair]) < TOLERANCE[pair]
    assert len(result.crossings) == 1


def test_a_range_that_starts_in_a_window_does_not_borrow_a_constant() -> None:
    """The window's end is a change from periodic to chaotic, but not the theory's periodic/chaotic."""
    for c in short(1.4512, 1.5).crossings + short(1.445, 1.4602).crossings:
        assert c.theory is None or abs(c.at - c.theory) < 1e-3


def test_a_single_run_does_not_borrow_the_constants_of_the_ensemble() -> None:
    """From z0 = 0.1 the loss first rises at another a than from the worst of all starts: |f(z0)| = |z0|."""
    result = searched.along("cubic", a=(0.5, 0.999), z0=0.1, points=64, steps=4096)
    (c,) = [c for c in result.crossings if c.between == ("monotonic", "catapult")]
    assert abs(c.at - cubic.A_CATAPULT) > 0.05
    assert c.theory is None or abs(c.at - c.theory) < 1e-6


# --- the document and the requests --------------------------------------------------------------------------


def test_the_document() -> None:
    doc = json.loads(json.dumps(whole().to_json()))
    assert set(doc) >= {"system", "param", "crossings", "windows", "evaluations"}
    assert doc["system"] == "cubic" and doc["param"] == "a"
    assert set(doc["crossings"][0]) >= {"between", "at", "width", "theory", "theory_name"}
    assert set(doc["windows"][0]) >= {"phase", "period", "lo", "hi"}
    assert doc["evaluations"] == whole().evaluations


def test_an_axis_is_scanned_at_its_own_points() -> None:
    result = searched.along("cubic", a=tp.linspace(0.1, 0.7, 20), steps=512)
    assert result.evaluations == 20


@pytest.mark.parametrize(
    "params",
    [
        {},
        {"a": 1.0},
        {"a": (0.5, 2.0), "z0": (0.1, 0.2), "of": "period"},
        {"a": (2.0, 0.5)},
        {"a": (0.5, float("nan"))},
        {"a": (0.5,)},
        {"a": ("low", "high")},
        {"a": (-0.5, 1.0)},
        {"b": (0.5, 1.0)},
        {"a": (0.5, 1.0), "tol": 0.0},
        {"a": (0.5, 1.0), "points": 1},
        {"a": (0.5, 1.0), "of": "colour"},
        {"a": (0.5, 1.0), "steps": 0},
    ],
)
def test_wrong_requests_are_answered_in_a_sentence(params: dict[str, object]) -> None:
    with pytest.raises(tp.RequestError) as why:
        tp.boundary("cubic", **params)  # type: ignore[arg-type]
    assert "\n" not in str(why.value)
