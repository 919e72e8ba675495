"""Luo et al.: raw weights against the solver, what the claims measure on cases with a known answer, and planted faults."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import xarray as xr
from reproduced import context

from trainphase.errors import TrainphaseError
from trainphase.relu import ladder
from trainphase.reproduce import luo
from trainphase.reproduce.claims import Verdict, check
from trainphase.reproduce.context import Context
from trainphase.reproduce.luo import checks, condensed, distance, fits, plane, raw, runs
from trainphase.theory import relu2 as theory


def verdicts(figure: Any, made: Context) -> list[Verdict]:
    found = [check(claim, made) for claim in figure.claims]
    return [(r.expected or r.paper).verdict for r in found]  # pyright: ignore


# --- runs ---------------------------------------------------------------------------------------------------


def test_pieces_are_nets_of_the_solver_and_are_kept(tmp_path, monkeypatch) -> None:
    points = [(1.0, 0.0), (0.5, 0.2), (1.5, -0.2)]
    found = runs.measured(context(checks.THEOREM_6, tmp_path), points, (30, 60), 2, size=2)
    assert found["distance"].dims == ("point", "width", "seed")
    run = ladder.train(1.5, -0.2, 60, 1, runs.sizes("points"), runs.ACCURACY)
    assert found["distance"].values[2, 1, 1] == run.relative_distance
    np.testing.assert_allclose(found["theory"].values, [theory.slope(*p) for p in points])
    monkeypatch.setattr(runs, "piece", lambda *args: pytest.fail("computed again"))
    again = runs.measured(context(checks.THEOREM_6, tmp_path), points, (30, 60), 2, size=2)
    xr.testing.assert_identical(again, found)


def powers(data: str, places: Any, points: Any, widths: Any, numbers: Any, accuracy: float, factor: float = 1.0) -> xr.Dataset:
    """In place of nets: RD = m^exponent, times 1 or 1.21 by seed; (9, 9) misses its target."""
    m, scale = np.array(widths, float), np.array([1.21**k for k in range(len(numbers))])
    values = np.array([m[:, None] ** theory.slope(*p) * scale for p in points])
    done = np.array([np.full(values.shape[1:], int(p != (9.0, 9.0))) for p in points])
    dims = ("point", "width", "seed")
    zero = (dims, np.zeros(values.shape))
    return xr.Dataset(
        {"distance": (dims, values), "converged": (dims, done), "error": zero, "attempts": zero, "distance_a": zero}
    )


def test_slopes_are_powers_in_any_order_of_work(tmp_path, monkeypatch) -> None:
    monkeypatch.setattr(runs, "piece", powers)
    points = [(0.3 * k, 0.1 * k) for k in range(5)] + [(9.0, 9.0)]
    whole = runs.measured(context(checks.THEOREM_6, tmp_path / "one"), points, (10, 100, 1000), 2, size=4)
    np.testing.assert_allclose(whole["slope"].values[:5], [theory.slope(*p) for p in points[:5]], atol=1e-12)  # rounding
    # Residuals +-ln(1.21)/2 at every width: their sum of squares over 4 and over that of ln m.
    spread = 6 * (np.log(1.21) / 2) ** 2 / 4 / (4 * np.log(10) ** 2)
    np.testing.assert_allclose(whole["slope_se"].values[:5], np.sqrt(spread), rtol=1e-9)
    assert np.isnan(whole["slope"].values[5])
    with ThreadPoolExecutor(2) as pool:
        spread_out = replace(context(checks.THEOREM_6, tmp_path / "two"), executor=pool)
        xr.testing.assert_identical(runs.measured(spread_out, points, (10, 100, 1000), 2, size=4, apart=True), whole)


def test_missing_images_are_told_and_other_seeds_are_other_draws(tmp_path) -> None:
    made = replace(context(plane.MNIST, tmp_path), seed=3)
    assert made.seeds(2) == [3000, 3001]
    assert runs.folders(made) == ()


# --- the weights themselves ---------------------------------------------------------------------------------


@pytest.mark.parametrize("gamma", [0.5, 1.0, 1.5])
def test_weights_in_their_own_time_go_as_far_as_the_normalised_flow(gamma) -> None:
    found = [raw.distance_of((power, gamma, 200, 0)) for power in (0.0, 1.0)]
    # Rounding, which a neuron that switches late may magnify.
    assert found[1] == pytest.approx(found[0], rel=1e-8)
    normal = ladder.train(gamma, 0.0, 200, 0, runs.sizes("points"), level=-1).relative_distance
    # Euler steps of 1/20 of the fastest time scale: first order; a fifth of that step was within 0.2 %.
    assert found[0] == pytest.approx(normal, rel=5e-3)


def test_weights_that_do_not_arrive_are_told(monkeypatch) -> None:
    monkeypatch.setattr(raw, "MOST_STEPS", 3)
    with pytest.raises(TrainphaseError, match="3 Euler steps"):
        raw.distance_of((0.0, 1.0, 20, 0))


# --- claims -------------------------------------------------------------------------------------------------


def ladders(slopes: Any) -> xr.Dataset:
    m = np.array(runs.WIDTHS, float)
    starts = [end[0] for end in distance.DISTANCES]
    values = np.array([s * (m / 1000) ** p for s, p in zip(starts, slopes, strict=True)])[:, :, None] * [0.999, 1.0, 1.001]
    made = xr.Dataset({"distance": (("point", "width", "seed"), values)}, {"width": list(runs.WIDTHS), "seed": [0, 1, 2]}).assign(
        converged=(("point", "width", "seed"), np.ones(values.shape, int))
    )
    return runs.with_slopes(made, distance.POINTS)


def test_slopes_of_the_paper_agree_and_others_differ(tmp_path) -> None:
    ends = [np.log(b / a) / np.log(40) for a, b in distance.DISTANCES]
    assert set(verdicts(distance.DISTANCE, context(distance.DISTANCE, tmp_path, ladders(ends)))) == {Verdict.AGREE}
    wrong = verdicts(distance.DISTANCE, context(distance.DISTANCE, tmp_path, ladders([e + 0.06 for e in ends])))
    assert wrong[:3] == [Verdict.DIFFER] * 3 and wrong[4::2] == [Verdict.DIFFER] * 3  # RD at width 40000 is 25 % larger


def test_zeros_of_the_map_are_found_between_its_columns(tmp_path, monkeypatch) -> None:
    monkeypatch.setattr(runs, "piece", powers)
    data = plane.compute(context(plane.MAP, tmp_path))
    # The exponents change their slope at the line: interpolation is exact where a column lies on it.
    np.testing.assert_allclose(data["zero"].values, theory.critical_gamma(data["gamma_prime"].values), atol=1e-9)
    assert np.isfinite(plane._zero(context(plane.MAP, tmp_path, data), 0.4).value)
    assert plane._wrong(context(plane.MAP, tmp_path, data)).value == 0
    flipped = data.assign(slope=-data["slope"])
    assert plane._wrong(context(plane.MAP, tmp_path, flipped)).value > 40
    # Nets that all missed their loss have no wrong sign, and no right one.
    lost = data.assign(slope=np.nan * data["slope"])
    assert plane._wrong(context(plane.MAP, tmp_path, lost)).value is None
    assert plane._images(context(plane.MNIST, tmp_path, lost)).value is None
    none = data.assign(zero=data["zero"] * np.nan)
    assert plane._zero(context(plane.MAP, tmp_path, none), 0.4).value is None


def test_bounds_hold_for_the_exponents_and_fail_for_others(tmp_path) -> None:
    for figure in (checks.THEOREM_6, checks.THEOREM_8):
        points, widths = _points(figure), [100, 1000, 10000]
        data = runs.with_slopes(powers("points", (), points, widths, (0, 1), 0.1).assign_coords(width=widths), points)
        assert verdicts(figure, context(figure, tmp_path, data)) == [Verdict.AGREE]
        steeper = (data["width"].astype(float) ** (0.4 if figure is checks.THEOREM_6 else -0.4)).values[None, :, None]
        broken = data.assign(distance=data["distance"] * steeper)
        assert verdicts(figure, context(figure, tmp_path, broken)) == [Verdict.DIFFER]


def _points(figure: Any) -> Any:
    return [p[:2] for p in checks.UPPER] if figure is checks.THEOREM_6 else list(checks.LOWER)


@pytest.mark.parametrize(("factor", "verdict"), [(1.0, Verdict.AGREE), (2.0, Verdict.DIFFER)])
def test_output_weights_that_grow_as_stated_agree_and_others_differ(factor, verdict, tmp_path, monkeypatch) -> None:
    def power(point: tuple[float, float], width: int, seed: int) -> float:
        g, p = point
        return width ** (factor * ((g - 1 - p) / (1 if p > g - 1 else 2))) * (1 + 1e-3 * seed)

    monkeypatch.setattr(checks, "output_scale", power)
    made = context(checks.CAPACITY, tmp_path)
    data = checks.compute_capacity(made)
    assert set(verdicts(checks.CAPACITY, context(checks.CAPACITY, tmp_path, data))) == {verdict}


def test_estimates_that_are_too_small_are_found_out(tmp_path) -> None:
    count = len(checks.POINTS)
    coords = {name: ("point", [p[k] for p in checks.POINTS]) for k, name in enumerate(("gamma", "gamma_prime"))}
    values = {"binned": 1.004, "single": 1.0, "estimate": 0.005, "particles": 1.0, "converged": 1.0}
    honest = xr.Dataset({name: ("point", np.full(count, v)) for name, v in values.items()}, coords, {"width": 10})
    assert verdicts(checks.BINNED, context(checks.BINNED, tmp_path, honest)) == [Verdict.AGREE, Verdict.AGREE]
    boast = honest.assign(estimate=("point", [0.001] * 2 + [0.005] * (count - 2)))
    assert verdicts(checks.BINNED, context(checks.BINNED, tmp_path, boast)) == [Verdict.AGREE, Verdict.DIFFER]
    coarse = honest.assign(binned=honest["single"] * 1.02)
    assert verdicts(checks.BINNED, context(checks.BINNED, tmp_path, coarse)) == [Verdict.DIFFER, Verdict.DIFFER]


def test_fits_agree_and_an_untrained_net_does_not(tmp_path) -> None:
    made = context(fits.FIGURE, tmp_path)
    assert set(verdicts(fits.FIGURE, made)) == {Verdict.AGREE}
    data = made.data()
    still = data["neurons"].assign({f"{k}_end": data["neurons"][f"{k}_start"] for k in ("orientation", "amplitude")})
    curves = data["curves"].assign(f=data["curves"]["linearised"], score=data["curves"]["score_start"])
    wrong = verdicts(fits.FIGURE, context(fits.FIGURE, tmp_path / "b", {"curves": curves, "neurons": still}))
    # What holds before training too: jagged at 0.5 (of the linearisation), and orientations that stay.
    assert wrong.count(Verdict.AGREE) <= 3 and wrong[6:] == [Verdict.DIFFER] * 3


def test_a_sample_of_neurons_stands_for_all() -> None:
    tall = np.random.default_rng(0).permutation(np.concatenate([np.zeros(50), np.linspace(0.1, 1.0, 901), [40.0, 50.0]]))
    shown, stands = condensed.sample(tall, 100)
    assert len(set(shown.tolist())) == 100 and stands.sum() == pytest.approx(903)  # all with an amplitude
    # Evenly spaced ranks of a linear law: the sum is a trapezoidal rule, off by half an end value of 1 in 50.
    assert (stands * tall[shown]).sum() == pytest.approx(tall.sum(), rel=0.02)
    assert {40.0, 50.0} <= set(tall[shown])
    every, ones = condensed.sample(tall, 903)
    assert set(every) == set(np.flatnonzero(tall)) and (ones == 1).all()


def test_positions_compare_widths(tmp_path, monkeypatch) -> None:
    monkeypatch.setattr(condensed, "WIDTHS", (40, 80))
    made = context(condensed.POINTS, tmp_path)
    data = condensed.compute(made)
    assert data["m80"]["orientation"].shape == (9, 2, 160)
    assert float(data["m80"]["amplitude"].max()) == 1.0
    # Narrow nets have few neurons, but condensed ones still point fewer ways than linear ones.
    score = data["m80"]["score"].values[:, 1].reshape(3, 3)
    assert (score[:, 2] > score[:, 0]).all()
    flat = {k: v.assign(score=v["score"] * 0 + 0.1) for k, v in data.items()}
    assert verdicts(condensed.POINTS, context(condensed.POINTS, tmp_path, flat))[0] == Verdict.DIFFER


def test_items_are_listed_once_and_pictures_come_with_data() -> None:
    names = [figure.name for figure in luo.FIGURES]
    assert len(set(names)) == len(names)
    assert all(figure.claims for figure in luo.FIGURES)
