"""Statistics of orbits of the cubic map against closed forms and a plain NumPy iteration in another coordinate.

The package iterates x with z = x^2 - a in compiled blocks; the independent check iterates z in a loop below.
"""

from __future__ import annotations

from functools import cache

import numpy as np
import pytest

import trainphase as tp
from trainphase._arrays import as_leaves, precision
from trainphase.evidence import gather
from trainphase.records import Recipe, answer, with_values
from trainphase.systems import Cubic
from trainphase.theory import cubic

SIGMAS = 4.0  # the figure
CLOSED = (0.2, 0.7, 0.95, 1.05, 1.1, 1.15, 1.2)
CHAOTIC = (1.4, 1.5, 1.9)
WINDOW = 1.7  # a stable 6-cycle
STEPS = 32768
STARTS = 8

Record = dict[str, np.ndarray]


@cache
def records() -> dict[float, dict[str, float]]:
    """What the package says at every a of this file, from one survey."""
    a = np.array([*CLOSED, *CHAOTIC, WINDOW, 2.0])
    got = answer(Recipe(Cubic, {}, STEPS, STARTS, samples=0), Cubic(1.0), {"a": a})
    return {float(x): {k: v[i] for k, v in got.items()} for i, x in enumerate(a)}


@cache
def plain(a: float, orbits: int = 400, steps: int = 4000, burn: int = 500) -> tuple[float, float]:
    """Lyapunov exponent by a loop over z, and its standard error from independent orbits as blocks."""
    z = np.random.default_rng(7).uniform(-a, 2.0, orbits)
    total = np.zeros(orbits)
    for t in range(steps + burn):
        if t >= burn:
            total += np.log(np.abs(cubic.df(z, a)))
        z = cubic.f(z, a)
    each = total / steps
    return float(np.mean(each)), float(np.std(each, ddof=1) / np.sqrt(orbits))


# --- Lyapunov exponents -------------------------------------------------------------------------------------


@pytest.mark.parametrize("a", CLOSED)
def test_lyapunov_against_closed_forms(a: float) -> None:
    got = records()[a]
    exact = float(cubic.lyapunov(a))
    assert abs(got["lyapunov"] - exact) <= SIGMAS * got["lyapunov_se"]
    # The standard error is not bought by being large: on a cycle only rounding is left, and the burn-in.
    assert got["lyapunov_se"] < 1e-8


@pytest.mark.parametrize("a", CHAOTIC)
def test_lyapunov_in_chaos_against_a_plain_loop(a: float) -> None:
    got = records()[a]
    mean, se = plain(a)
    assert abs(got["lyapunov"] - mean) <= SIGMAS * np.hypot(got["lyapunov_se"], se)
    assert 0 < got["lyapunov_se"] < 0.01 * got["lyapunov"]


def test_lyapunov_at_1_5_is_the_figure_of_the_reference() -> None:
    """theory.md D gives +.4914 with four digits and no error; a hundredth is generous to both."""
    assert records()[1.5]["lyapunov"] == pytest.approx(0.4914, abs=0.01)


def test_lyapunov_in_a_window_is_that_of_its_cycle() -> None:
    """At a = 1.7 the multiplier of the 6-cycle gives the exponent; the cycle comes from NumPy alone."""
    z = np.array(0.1)
    for _ in range(20000):
        z = cubic.f(z, WINDOW)
    slope = 1.0
    for _ in range(6):
        slope *= float(cubic.df(z, WINDOW))
        z = cubic.f(z, WINDOW)
    got = records()[WINDOW]
    assert got["period"] == 6
    assert got["multiplier"] == pytest.approx(slope, abs=1e-10)
    # 128 steps of a block are no multiple of 6, so blocks differ by what the phase leaves: an honest, larger error.
    assert abs(got["lyapunov"] - np.log(abs(slope)) / 6) <= SIGMAS * got["lyapunov_se"]


def test_lyapunov_at_2_is_ln_3() -> None:
    got = records()[2.0]
    assert abs(got["lyapunov"] - np.log(3)) < 1e-3
    assert abs(got["lyapunov"] - np.log(3)) <= SIGMAS * got["lyapunov_se"]


@pytest.mark.parametrize("a", [0.7, 1.2, 1.5])
def test_a_shifted_value_is_seen(a: float) -> None:
    """Planted fault: the exponent of a neighbouring parameter is more than 4 standard errors away."""
    got = records()[a]
    shift = 0.05
    wrong = plain(a + shift)[0] if a in CHAOTIC else float(cubic.lyapunov(a + 1e-7))
    assert abs(got["lyapunov"] - wrong) > SIGMAS * got["lyapunov_se"]


def lanes(a: float, starts: int, steps: int) -> Record:
    """Readings of single starts, arrays of shape (starts,)."""
    with precision("float64"):
        ready, batched = with_values(Cubic(1.0), {"a": np.array([a])}, "float64")
        full = gather(ready, batched, 1, steps, starts)["full"]
    return {k: np.asarray(v)[0] for k, v in full.items()}


@pytest.mark.parametrize("a", [1.4, 1.5, 1.9])
def test_standard_errors_cover(a: float) -> None:
    """z-scores of 200 runs about an independent value have a standard deviation of one, to 30 or 40 per cent.

    With 200 scores the deviation itself is known to 5 per cent, so the band is for what the estimate cannot know: 48
    blocks of 128 steps, correlated a little.
    """
    got = lanes(a, 200, 12288)
    mean, se = plain(a)
    score = (got["lyapunov"] - mean) / np.hypot(got["lyapunov_se"], se)
    assert 0.7 < np.std(score) < 1.4
    assert abs(np.mean(score)) < 1.0
    assert np.mean(np.abs(score) > SIGMAS) <= 0.01
    # Planted fault: errors of half the size would not cover.
    assert np.std(2 * score) > 1.4


def test_at_2_the_error_is_conservative() -> None:
    """There ln|f'| telescopes (f is 2 cos p -> 2 cos 3p): blocks cancel one another, the true error is smaller."""
    got = lanes(2.0, 200, 12288)
    score = (got["lyapunov"] - np.log(3)) / got["lyapunov_se"]
    assert np.std(score) < 1.0


def test_standard_error_falls_like_the_root_of_the_horizon() -> None:
    short, long = lanes(1.5, 64, 8192)["lyapunov_se"], lanes(1.5, 64, 32768)["lyapunov_se"]
    # A factor 2 expected; the mean of 64 errors with at least 32 blocks each is known to 2 per cent, blocks to a few.
    assert np.mean(short) / np.mean(long) == pytest.approx(2.0, rel=0.1)


# --- cycles -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("a", [1.02, 1.1, 1.1213203435596426, 1.2, 1.23])
def test_the_2_cycle_to_1e_12(a: float) -> None:
    run = tp.run("cubic", a=a, z0=0.3, steps=4096)
    low, high = cubic.two_cycle(a)
    last = np.sort(run.observables["residual"][-2:])
    assert abs(last[0] - low) < 1e-12 and abs(last[1] - high) < 1e-12
    assert run.phase == "periodic" and run.summary["period"] == 2
    assert abs(run.summary["multiplier"] - float(cubic.two_cycle_multiplier(a))) < 1e-12
    assert abs(run.summary["lower"] - low) < 1e-12 and abs(run.summary["upper"] - high) < 1e-12


@pytest.mark.parametrize("a", [0.1, 0.5, 0.8, 0.9, 0.99])
def test_the_fixed_point_and_its_multiplier(a: float) -> None:
    run = tp.run("cubic", a=a, z0=0.3, steps=4096)
    assert run.summary["period"] == 1
    assert abs(run.observables["residual"][-1]) < 1e-12
    assert abs(run.summary["multiplier"] - (1 - 2 * a)) < 1e-12


CYCLES = [(1.26, 4), (1.295, 8), (1.3005, 16), (1.3019, 32), (1.3022, 64), (1.4537, 3)]


@pytest.mark.parametrize(("a", "period"), CYCLES)
def test_longer_cycles(a: float, period: int) -> None:
    got = answer(Recipe(Cubic, {}, 32768, 4, samples=0), Cubic(1.0), {"a": np.full(4, a)})
    assert np.all(got["period"] == period)
    z = 0.1
    for _ in range(200_000):
        z = ((z + (a - 2)) * z + (1 - 2 * a)) * z
    slope = 1.0
    for _ in range(period):
        slope *= (z - 1) * (3 * z + 2 * a - 1)
        z = ((z + (a - 2)) * z + (1 - 2 * a)) * z
    # A product of up to 64 derivatives taken at points known to some ulps times 1 / (1 - |multiplier|).
    assert np.all(np.abs(got["multiplier"] - slope) < 1e-9)


# --- attractors ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("a", [0.5, 0.95])
def test_the_attractor_of_convergent_maps_is_a_point(a: float) -> None:
    got = answer(Recipe(Cubic, {}, 8192, 4, samples=8), Cubic(1.0), {"a": np.array([a])})
    assert abs(got["lower"][0]) < 1e-12 and abs(got["upper"][0]) < 1e-12
    assert np.max(np.abs(got["orbit"])) < 1e-12


@pytest.mark.parametrize("a", [1.37, 1.4, 1.5, 1.55, 1.65, 1.9, 1.99])
def test_bounds_of_chaotic_attractors(a: float) -> None:
    got = answer(Recipe(Cubic, {}, 8192, 64, samples=256), Cubic(1.0), {"a": np.array([a])})
    low, high = cubic.attractor_bounds(a)
    # Never outside: f maps the interval into itself, up to rounding.
    assert got["lower"][0] >= low - 1e-12 and got["upper"][0] <= high + 1e-12
    # One band of chaos reaches both ends. The density is 1/sqrt there: 64 x 192 points come within the square of 1e-4
    # of the top; the bottom is the image of a neighbourhood of the top, stretched by |f'| < 10.
    assert got["upper"][0] > high - 1e-3 and got["lower"][0] < low + 1e-2
    orbit = got["orbit"][0]
    assert np.all((orbit >= low - 1e-6) & (orbit <= high + 1e-6))  # orbits are kept in single precision


def test_bounds_are_missing_beyond_divergence() -> None:
    got = answer(Recipe(Cubic, {}, 2048, 4, samples=8), Cubic(1.0), {"a": np.array([2.1])})
    assert np.isnan(got["lower"][0]) and np.isnan(got["upper"][0]) and np.all(np.isnan(got["orbit"]))


def test_the_density_at_2_is_the_arcsine_law() -> None:
    got = answer(Recipe(Cubic, {}, 4096, 64, samples=64 * 64), Cubic(1.0), {"a": np.array([2.0])})
    z = np.sort(got["orbit"][0].astype(float))
    law = 0.5 + np.arcsin(np.clip(z / 2, -1, 1)) / np.pi
    distance = np.max(np.abs(law - (np.arange(z.size) + 0.5) / z.size))
    # Kolmogorov's 1.63 / sqrt(n) is one in a hundred for independent points; successive ones are nearly so.
    assert distance < 2 * 1.63 / np.sqrt(z.size)
    mean, square = cubic.moments(2.0)
    # Standard deviations of z and z^2 under the law are sqrt 2 each.
    assert abs(np.mean(z) - mean) < 5 * np.sqrt(2 / z.size)
    assert abs(np.mean(z**2) - square) < 5 * np.sqrt(2 / z.size)


# --- what a run reports -------------------------------------------------------------------------------------


def test_the_final_state_is_the_one_last_recorded() -> None:
    run = tp.run("cubic", a=1.1, z0=0.3, steps=10)
    assert len(run.times) == 11
    with precision("float64"):
        last = as_leaves(Cubic(1.1, 0.3), "float64").residual(np.asarray(run.final))
    assert float(last) == pytest.approx(float(run.observables["residual"][-1]), abs=1e-14)


@pytest.mark.parametrize("steps", [100, 4096, 5001, 10000])
def test_the_end_of_the_run_is_recorded(steps: int) -> None:
    assert tp.run("cubic", a=0.5, z0=0.3, steps=steps).times[-1] == steps


@pytest.mark.parametrize("z0", [None, 0.3])
def test_increases_grow_with_the_horizon(z0: float | None) -> None:
    """On a 2-cycle with points of unequal size the loss rises every other step, however sparse the record."""
    for steps in (4096, 40960):
        run = tp.run("cubic", a=1.1, z0=z0, steps=steps)
        assert run.summary["increases"] == pytest.approx(steps / 2, rel=0.01)
