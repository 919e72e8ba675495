"""The constants and closed forms of the cubic map, against their defining equations in independent NumPy."""

from __future__ import annotations

import importlib.util
import math
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from trainphase.errors import RequestError
from trainphase.theory import cubic

ROWS = {b.name: b for b in cubic.BOUNDARIES}
EXACT = {
    "2*sqrt(2) - 2": 2 * math.sqrt(2) - 2,
    "1": 1.0,
    "3/sqrt(2) - 1": 3 / math.sqrt(2) - 1,
    "sqrt(5) - 1": math.sqrt(5) - 1,
    "3*sqrt(3)/2 - 1": 3 * math.sqrt(3) / 2 - 1,
    "2": 2.0,
}
DOUBLINGS = [b for b in cubic.PERIOD_BOUNDARIES if b.a > 1]
SCRIPT = Path(__file__).parents[2] / "scripts" / "derive_cubic_constants.py"


def step(z, a):
    """f_a(z), written from the definition and not taken from the package."""
    return z**3 + (a - 2) * z**2 + (1 - 2 * a) * z


def slope(z, a):
    return 3 * z**2 + 2 * (a - 2) * z + 1 - 2 * a


def compose(z, a, times):
    """f^times(z) and its derivative in z."""
    factor = 1.0
    for _ in range(times):
        factor, z = factor * slope(z, a), step(z, a)
    return z, factor


def cycle(a, period, z):
    """The point of period ``period`` near z, by Newton's method, and the multiplier of its cycle."""
    for _ in range(60):
        value, factor = compose(z, a, period)
        z -= (value - z) / (factor - 1)
    value, factor = compose(z, a, period)
    # the cycle closes to rounding, times a small amplification of errors along it
    assert abs(value - z) < 1e-13
    return z, factor


def near_attractor(a, steps=4096):
    return compose((1 - 2 * a) / 3, a, steps)[0]


# --- constants --------------------------------------------------------------------------------------------


def test_rows_are_in_order_and_as_printed():
    values = [b.a for b in cubic.BOUNDARIES]
    assert sorted(values) == values
    assert len(set(ROWS)) == len(cubic.BOUNDARIES)
    assert all(b.a == float(b.digits) for b in cubic.BOUNDARIES)
    assert {b.kind for b in cubic.BOUNDARIES} == {"phase", "period", "event"}
    assert all((b.between is None) == (b.kind == "event") for b in cubic.BOUNDARIES)


@pytest.mark.parametrize("row", [b for b in cubic.BOUNDARIES if b.exact], ids=lambda b: b.name)
def test_exact_formula_gives_the_digits(row):
    # two roundings of numbers below 4: at most 2 ulp of 4
    assert abs(EXACT[row.exact] - row.a) < 1e-15


@pytest.mark.parametrize("row", DOUBLINGS, ids=lambda b: b.name)
def test_doubling_point_has_multiplier_minus_one(row):
    period = int(row.between[0])
    # from just below, where the cycle attracts, to the point itself
    gap = 0.03 * (row.a - ROWS[f"period {period // 2} to {period}"].a)
    below = near_attractor(row.a - gap, steps=256 * period)
    _, factor = cycle(row.a, period, below)
    # d(multiplier)/da is at most about 10 * 4.7^k, so an error of 1e-16 in a shows as 1e-15 * 4.7^k; the
    # factor 100 is for rounding along the cycle
    assert abs(factor + 1) < 1e-13 * 4.7 ** math.log2(period)


def test_doublings_accumulate_at_feigenbaum_rate_below_the_chaotic_boundary():
    points = np.array([b.a for b in cubic.PERIOD_BOUNDARIES])
    gaps = np.diff(points)
    ratios = gaps[:-1] / gaps[1:]
    # the ratios approach 4.669201609 by a factor of about 4.7 each time
    errors = np.abs(ratios - 4.669201609102990)
    assert np.all(errors[1:] < errors[:-1] / 3)
    # geometric tail of the last gap: the remaining error of the ratio (3e-4 of 4.67) times the tail, 3e-5
    assert abs(points[-1] + gaps[-1] / (4.669201609102990 - 1) - cubic.A_ACCUMULATION) < 1e-8


def test_events_satisfy_their_defining_equations():
    def critical(name, times):
        a = ROWS[name].a
        return compose((1 - 2 * a) / 3, a, times)[0], (1 - 2 * a) / 3, a

    # each tolerance is 1e-15 times the derivative of the left side in a, below 100
    value, c, _ = critical("superstable 2-cycle", 2)
    assert abs(value - c) < 1e-13
    value, _, _ = critical("two bands merge into one", 3)
    assert abs(value) < 1e-13
    value, c, _ = critical("superstable 3-cycle", 3)
    assert abs(value - c) < 1e-13
    value, _, a = critical("crisis: critical orbit reaches -a", 2)
    assert abs(value + a) < 1e-13
    value, _, _ = critical("crisis: critical orbit reaches -a", 1)
    assert abs(value - 1) < 1e-14
    value, _, _ = critical("chaotic/divergent", 1)
    assert abs(value - 2) < 1e-14


def test_period_three_window():
    flip = ROWS["period-3 cycle flips"].a
    _, factor = cycle(flip, 3, near_attractor(ROWS["superstable 3-cycle"].a, 3000))
    assert abs(factor + 1) < 1e-11  # d(multiplier)/da ~ 200 there, times 1e-16 in a and rounding
    tangent = ROWS["period-3 window opens (tangent)"].a
    # the cycle is born with multiplier 1 - const * sqrt(a - tangent)
    _, above = cycle(tangent + 1e-10, 3, near_attractor(tangent + 1e-6, 300_000))
    assert 0 < 1 - above < 1e-2
    # just above, f^3(z) - z has six more zeros than just below, in three pairs about sqrt(1e-8) apart
    grid = np.linspace(-tangent + 0.05, 1.0, 400_001)
    zeros = []
    for a in (tangent - 1e-8, tangent + 1e-8):
        zeros.append(np.count_nonzero(np.diff(compose(grid, a, 3)[0] > grid)))
    assert zeros[1] == zeros[0] + 6


@pytest.mark.skipif(importlib.util.find_spec("mpmath") is None, reason="mpmath is a development dependency")
def test_derivation_script_finds_the_printed_digits():
    from mpmath import mp, mpf

    spec = importlib.util.spec_from_file_location("derive_cubic_constants", SCRIPT)
    assert spec is not None and spec.loader is not None
    derive = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(derive)
    with mp.workdps(50):
        found = derive.simple_constants()
        for k, a in enumerate(derive.doublings(7)):
            found[f"period {2**k} to {2 ** (k + 1)}"] = a
        accumulation, moved = derive.accumulation(9)
        for name, a in found.items():
            # the rows print 21 places or more
            assert abs(a - mpf(ROWS[name].digits)) <= mpf(10) ** -20, name
        # nine superstable cycles give sixteen digits (thirteen, in the full run of the script, give 24)
        assert moved < 1e-15 and abs(accumulation - mpf(ROWS["periodic/chaotic"].digits)) < 1e-14
        broken = dict(found, **{"superstable 2-cycle": found["superstable 2-cycle"] + mpf(10) ** -20})
        assert any(line.startswith("superstable 2-cycle") for line in derive.differences(broken))


# --- identities -------------------------------------------------------------------------------------------

A = st.floats(0.01, 2.0)
Z = st.floats(-2.0, 2.0)
# polynomials of degree 3 with terms below 40 in size: a few tens of roundings of 40 * 1.1e-16
ROUNDING = 1e-13


@given(Z, A)
def test_polynomial_identities(z, a):
    value = float(cubic.f(z, a))
    assert abs(value - step(z, a)) < ROUNDING
    assert abs(value - ((z + a) * (z - 1) ** 2 - a)) < ROUNDING
    assert abs((value - 2) - (z - 2) * (z * z + a * z + 1)) < ROUNDING
    assert abs((value - z) - z * (z - 2) * (z + a)) < ROUNDING
    assert abs(cubic.df(z, a) - slope(z, a)) < ROUNDING


@given(st.floats(0.0, 2.0), A)
def test_conjugacy(x, a):
    assert abs(cubic.from_x(cubic.odd_map(x, a), a) - step(x * x - a, a)) < 10 * ROUNDING  # degree 6 in x
    # the square root costs half of the digits only at z = -a, where the error in z is 1 ulp of a
    assert abs(cubic.to_x(cubic.from_x(x, a), a) - x) < 1e-7
    if x > 0.1:
        assert abs(cubic.to_x(cubic.from_x(x, a), a) - x) < 1e-14


@given(A)
def test_fixed_and_critical_points(a):
    for z, multiplier in zip(cubic.fixed_points(a), cubic.multipliers(a), strict=True):
        assert abs(step(z, a) - z) < ROUNDING
        assert abs(slope(z, a) - multiplier) < ROUNDING
    for z in cubic.critical_points(a):
        assert abs(slope(z, a)) < ROUNDING
    c, one = cubic.critical_points(a)
    assert abs(step(one, a) + a) < ROUNDING
    assert abs(step(c, a) - cubic.critical_value(a)) < ROUNDING


@given(A)
def test_intervals_are_mapped_into_themselves(a):
    for low, high in (cubic.invariant_interval(a), cubic.attractor_bounds(a)):
        images = step(np.linspace(low, high, 1001), a)
        assert images.min() >= low - ROUNDING and images.max() <= high + ROUNDING


def test_attractor_fills_its_bounds():
    # one band of chaos, a where no long window is known; z is iterated through x, which does not stick at -a
    for a in (1.45, 1.5, 1.55, 1.65, 1.9, 2.0):
        x = np.random.default_rng(0).uniform(0.2, 1.2, 200)
        low, high = np.inf, -np.inf
        for k in range(20_000):
            x = x * (1 + a - x * x)
            if k > 1000:
                low, high = min(low, float(np.min(x * x - a))), max(high, float(np.max(x * x - a)))
        expected = cubic.attractor_bounds(a)
        # 4e6 points: the density has square-root spikes at both ends, so gaps of about (1/4e6)^2
        assert abs(low - expected[0]) < 1e-8 and abs(high - expected[1]) < 1e-8, (a, low, high, expected)


@given(st.floats(-5.0, 5.0), A)
def test_schwarzian_is_negative_and_right(z, a):
    value = float(cubic.schwarzian(z, a))
    assert value < 0
    f1 = slope(z, a)
    if abs(f1) > 1e-3:
        direct = 6 / f1 - 1.5 * ((6 * z + 2 * (a - 2)) / f1) ** 2
        assert abs(value - direct) < 1e-9 * max(abs(value), 6 / f1**2 * 100)  # cancellation of the two terms


def test_chebyshev_at_two():
    angle = np.linspace(0, math.pi, 1001)
    assert np.max(np.abs(cubic.f(2 * np.cos(angle), 2.0) - 2 * np.cos(3 * angle))) < ROUNDING
    # the density of z = 2 cos(p), p uniform: mass and second moment by the midpoint rule in p
    p = (np.arange(2000) + 0.5) * math.pi / 2000
    weight = cubic.invariant_density(2 * np.cos(p)) * 2 * np.sin(p) * math.pi / 2000
    # the trapezoidal family is exact for trigonometric polynomials; only rounding is left
    assert abs(weight.sum() - 1) < 1e-12 and abs(weight @ (4 * np.cos(p) ** 2) - 2) < 1e-12
    assert cubic.invariant_density(3.0) == 0
    assert (
        abs(weight @ np.log(np.abs(slope(2 * np.cos(p), 2.0))) - cubic.lyapunov(2.0)) < 2e-3
    )  # log singularity


# --- cycles, averages, phases -----------------------------------------------------------------------------


@given(st.floats(1.0, 2.0))
def test_two_cycle(a):
    low, high = cubic.two_cycle(a)
    assert abs(step(low, a) - high) < ROUNDING and abs(step(high, a) - low) < ROUNDING
    assert abs(slope(low, a) * slope(high, a) - cubic.two_cycle_multiplier(a)) < ROUNDING
    assert abs((1 - low) * (1 - high) - 1) < ROUNDING  # <ln|1 - z|> = 0
    if a <= cubic.A_TWO_CYCLE_FLIP:
        mean, square = cubic.moments(a)
        assert abs((low + high) / 2 - mean) < ROUNDING
        assert abs((low**2 + high**2) / 2 - square) < ROUNDING


@given(A)
def test_catapult_set_is_where_one_step_grows(a):
    z = np.linspace(-a, 2, 1003)[1:-1]
    z = z[np.abs(z) > 1e-9]
    grows = np.abs(step(z, a)) > np.abs(z)
    ends = cubic.catapult_set(a)
    inside = np.zeros_like(grows) if ends is None else (z > ends[0]) & (z < ends[1])
    margin = np.ones_like(grows) if ends is None else np.minimum(abs(z - ends[0]), abs(z - ends[1])) > 1e-6
    # a double root of |f| - |z| at the boundary itself: leave out a sliver in a
    if abs(a - cubic.A_CATAPULT) > 1e-9:
        assert np.array_equal(grows[margin], inside[margin])
    assert (ends is None) == (a <= cubic.A_CATAPULT)


def test_averages_along_orbits():
    a, z, logs, total = 1.2, 0.3, 0.0, 0.0
    for _ in range(2000):
        z = step(z, a)
    for _ in range(1000):
        logs, total, z = logs + math.log(abs(slope(z, a))), total + z, step(z, a)
    # whole cycles after convergence: rounding of a thousand terms only
    assert abs(logs / 1000 - cubic.lyapunov(a)) < 1e-12
    assert abs(total / 1000 - cubic.moments(a)[0]) < 1e-12
    assert abs(cubic.lyapunov(0.95) - math.log(0.9)) < 1e-14
    assert cubic.lyapunov(0.5) == -math.inf and cubic.lyapunov(cubic.A_EDGE) == 0
    assert cubic.lyapunov(2.0) == math.log(3)
    assert np.array_equal(np.isnan(cubic.lyapunov([0.5, 1.2, 1.24, 1.9, 2.0, 2.1])), [0, 0, 1, 1, 0, 1])
    assert cubic.moments(2.0) == (0.0, 2.0) and cubic.moments(0.3) == (0.0, 0.0)
    assert math.isnan(cubic.moments(1.5)[0])


def test_phase_labels():
    near = np.array([0.01, 0.828, 0.829, 0.999, 1.001, 1.302, 1.303, 1.999, 2.001, 50.0])
    names = ["monotonic"] * 2 + ["catapult"] * 2 + ["periodic"] * 2 + ["chaotic"] * 2 + ["divergent"] * 2
    assert cubic.phases(near).tolist() == names
    assert [cubic.phase(a) for a in near] == names
    # a boundary belongs to the phase below
    assert [cubic.phase(b.a) for b in cubic.PHASE_BOUNDARIES] == list(cubic.PHASES[:-1])
    assert cubic.phases(near.reshape(5, 2)).shape == (5, 2)


def test_period_in_the_cascade():
    middles = [0.5, 1.1, 1.26, 1.295, 1.3005, 1.302, 1.3022, 1.3023, 1.5]
    for a, expected in zip(middles, cubic.period(middles), strict=True):
        if not math.isnan(expected):
            period = int(expected)
            z = near_attractor(a, 64 * 2000)
            gaps = [abs(compose(z, a, k)[0] - z) for k in range(1, period + 1)]
            assert gaps[-1] < 1e-9 and all(g > 1e-6 for g in gaps[:-1])
    assert np.array_equal(cubic.period(middles)[:7], [1, 2, 4, 8, 16, 32, 64])
    assert np.all(np.isnan(cubic.period(middles)[7:]))


def test_boundaries_are_found_by_label_and_by_value():
    assert cubic.crossing("chaotic", "periodic") is ROWS["periodic/chaotic"]
    assert cubic.crossing("4", "2") is ROWS["period 2 to 4"]
    assert cubic.crossing("monotonic", "chaotic") is None
    assert cubic.nearest(1.0, ("catapult", "periodic")) is ROWS["catapult/periodic"]
    assert cubic.nearest(1.45) is ROWS["period-3 window opens (tangent)"]
    assert cubic.nearest(1.45, ("periodic", "chaotic")) is ROWS["periodic/chaotic"]
    assert cubic.nearest(1.45, ("monotonic", "chaotic")) is None


@pytest.mark.parametrize("a", [0.0, -1.0, math.nan, math.inf])
@pytest.mark.parametrize("ask", [cubic.phase, cubic.phases, cubic.period, cubic.lyapunov, cubic.moments])
def test_phase_of_a_wrong_a_is_refused(ask, a):
    with pytest.raises(RequestError, match=r"a = .*: give a finite a > 0\.$"):
        ask(a)


def test_other_wrong_requests_are_refused():
    with pytest.raises(RequestError, match=r"a = 0\.9"):
        cubic.two_cycle(0.9)
    with pytest.raises(RequestError, match=r"a = 2\.5"):
        cubic.attractor_bounds(2.5)
    with pytest.raises(RequestError, match="give z >= -a"):
        cubic.to_x(-1.5, 1.0)
    with pytest.raises(RequestError, match="nan"):
        cubic.nearest(math.nan)
    with pytest.raises(RequestError, match="-3"):
        cubic.phases([0.5, -3.0])


def test_labels_are_those_of_the_vocabulary():
    phase = pytest.importorskip("trainphase.phase")
    assert [phase.TRAINING.index(label) for label in cubic.PHASES] == [0, 1, 2, 3, 4]
