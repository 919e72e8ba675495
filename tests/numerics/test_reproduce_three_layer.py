"""Zhou et al. and the items of Luo et al. without training: what the claims measure, on cases with a known answer."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import xarray as xr
from reproduced import context

from trainphase.relu.three_layer import flow3
from trainphase.reproduce import four_points
from trainphase.reproduce.claims import Verdict, check
from trainphase.reproduce.context import Context
from trainphase.reproduce.luo import table, theory_map
from trainphase.reproduce.zhou import diagram, distance, fits, norms, runs, slopes
from trainphase.systems.relu3 import relu3
from trainphase.theory import relu2
from trainphase.theory import relu3 as theory

X = np.array([-0.5, -1 / 6, 1 / 6, 0.5])
POINTS = [(1.0, 0.0), (2.0, 0.5)]


def verdicts(figure: Any, made: Context) -> dict[str, Verdict]:
    """Verdict by statement; on our own value where there is one."""
    found = [check(claim, made) for claim in figure.claims]
    return {r.claim.statement: (r.expected or r.paper).verdict for r in found}  # pyright: ignore


# --- runs and slopes ----------------------------------------------------------------------------------------


def test_pieces_are_runs_of_the_solver_and_are_kept(tmp_path, monkeypatch) -> None:
    first = context(distance.FIGURE, tmp_path)
    found = runs.distances(first, POINTS, (16,), 2)
    assert found["distance"].dims == ("point", "width", "seed", "layer")
    for k, (g3, g2) in enumerate(POINTS):
        run = flow3(relu3(16, X, X**2, gamma3=g3, gamma2=g2, seed=1, antisymmetric=g3 <= 1.5), 1e-6)
        np.testing.assert_array_equal(found["distance"].values[k, 0, 1], [run.distance["W1"], run.distance["W2"]])
    monkeypatch.setattr(runs, "piece", lambda *args: pytest.fail("computed again"))
    xr.testing.assert_identical(runs.distances(context(distance.FIGURE, tmp_path), POINTS, (16,), 2), found)


def small(points: Any, width: int, seed: int) -> xr.Dataset:
    """In place of runs: numbers that say where they belong."""
    values = [[1000 * g3 + width + seed / 10, g2] for g3, g2 in points]
    count = ("point", np.ones(len(points), int))
    coords = {"layer": list(runs.LAYERS)}
    return xr.Dataset({"distance": (("point", "layer"), values), "converged": count, "steps": count}, coords)


def test_an_executor_and_a_continued_run_give_the_same(tmp_path, monkeypatch) -> None:
    points = [(float(k), -float(k)) for k in range(20)]  # two pieces
    calls: list[Any] = []

    def stubborn(part: Any, width: int, seed: int) -> xr.Dataset:
        calls.append((len(part), width, seed))
        if len(calls) == 3:
            raise OSError("the disk is full")
        return small(part, width, seed)

    monkeypatch.setattr(runs, "piece", stubborn)
    with pytest.raises(OSError):
        runs.distances(context(distance.FIGURE, tmp_path / "one"), points, (10, 20), 2)
    again = runs.distances(context(distance.FIGURE, tmp_path / "one"), points, (10, 20), 2)
    assert len(calls) == 3 + 6  # two of the eight pieces were done
    with ThreadPoolExecutor(2) as pool:
        spread = runs.distances(replace(context(distance.FIGURE, tmp_path / "two"), executor=pool), points, (10, 20), 2)
    xr.testing.assert_identical(again, spread)
    np.testing.assert_allclose(again["distance"].sel(layer="w1").values[7, :, 1], [7010.1, 7020.1])


def ladder(distances: np.ndarray, converged: int = 1) -> xr.Dataset:
    """Distances (point, width, seed, layer) at the widths 10, 100 and 1000, all at (1, 0.5)."""
    points = len(distances)
    coords = {"gamma3": ("point", [1.0] * points), "gamma2": ("point", [0.5] * points), "width": [10, 100, 1000],
              "layer": ["w1", "w2"]}  # fmt: skip
    data = xr.Dataset({"distance": (("point", "width", "seed", "layer"), distances)}, coords)
    return data.assign(converged=xr.full_like(data["distance"].isel(layer=0, drop=True), converged, int))


def test_slopes_of_powers_are_the_powers() -> None:
    m = np.array([10.0, 100.0, 1000.0])
    values = np.stack([[m**0.3, m**-0.5], [m**-1.1, 5 * m**-0.9]], 0)  # (seed, layer, width)
    data = runs.with_slopes(ladder(values.transpose(2, 0, 1)[None]))
    np.testing.assert_allclose(data["slope"].values, [[(0.3 - 1.1) / 2, (-0.5 - 0.9) / 2]], atol=1e-12)  # rounding
    np.testing.assert_allclose(data["slope_se"].values, [[0.7, 0.2]], atol=1e-12)
    np.testing.assert_allclose(data["theory"].values, [[-1.5, -1.0]])
    assert np.isnan(runs.with_slopes(ladder(values.transpose(2, 0, 1)[None], converged=0))["slope"].values).all()


def test_a_seed_that_missed_its_loss_does_not_count() -> None:
    m = np.array([10.0, 100.0, 1000.0])
    data = ladder(np.stack([m**0.3, m**0.5, m**9], 1)[None, :, :, None] * np.ones(2))
    data["converged"][0, 1, 2] = 0
    data = runs.with_slopes(data.assign_coords(seed=[0, 1, 2]))
    np.testing.assert_allclose(data["slope"].values, [[0.4, 0.4]], atol=1e-12)  # rounding
    np.testing.assert_allclose(data["slope_se"].values, [[0.1, 0.1]], atol=1e-12)
    found = runs.measured_slope(data, 0, 0)
    assert found.value == pytest.approx(0.4) and "2 of them reached the target loss at every width" in found.note
    off = 0.4 - float(data["rule"][0, 0])
    assert f"the rest, {off:+.3f}, is {abs(off) / 0.1:.1f} standard errors" in found.note
    # With one degree of freedom Student's t is Cauchy's distribution.
    p = 1 - 2 / np.pi * np.arctan(abs(off) / 0.1)
    assert found.note.endswith(f"by chance so far off with p = {p:.2g} (Student's t, 2 seeds)")


@pytest.mark.parametrize(("off", "agree"), [(0.0, True), (0.2, False)])
def test_operator_norms_that_grow_as_theory_says_agree_and_others_differ(off, agree, tmp_path) -> None:
    def power(point: runs.Point, width: int, seed: int) -> tuple[float, float]:
        found = theory.slopes(*point)
        chance = 1 + 1e-3 * seed * width / 500  # a standard error above 0
        return float(width ** (found["w2_operator"] + off)) * chance, float(width ** found["w2"]) * chance

    made = context(norms.FIGURE, tmp_path)
    made.memory[made.folder.name, "data"] = norms.compute(made, power)
    assert set(verdicts(norms.FIGURE, made).values()) == {Verdict.AGREE if agree else Verdict.DIFFER}


def test_nets_that_miss_the_loss_leave_operator_norms_untested(tmp_path) -> None:
    made = context(norms.FIGURE, tmp_path)
    made.memory[made.folder.name, "data"] = norms.compute(made, lambda *job: (np.nan, np.nan))
    assert set(verdicts(norms.FIGURE, made).values()) == {Verdict.NOT_TESTABLE}


def test_the_rule_over_wide_nets_has_the_exponents_of_theory() -> None:
    g3, g2 = np.array(slopes.POINTS).T
    found, exact = runs.rule(g3, g2, (1e60, 1e70)), theory.slopes(g3, g2)
    # Corrections are powers of the width, of 0.1 and more away from the borders of sectors.
    clear = np.abs(g3 - 1.5) > 0.05
    np.testing.assert_allclose(found[clear], np.stack([exact["w1"], exact["w2"]], -1)[clear], atol=1e-3)


def test_crossings() -> None:
    x = np.array([1.0, 2.0, 3.0, 4.0])
    assert runs.crossing(x, np.array([-1.0, -0.5, 0.5, 1.0])) == pytest.approx(2.5)
    assert runs.crossing(x, np.array([-1.0, 0.2, -0.1, 0.3])) == pytest.approx(3.25)
    assert runs.crossing(x, np.array([-1.0, -0.5, np.nan, 0.5])) == pytest.approx(3.0)
    for values in ([1.0, 2.0, 3.0, 4.0], [-1.0, -2.0, -3.0, -4.0], [np.nan] * 4):
        assert np.isnan(runs.crossing(x, np.array(values)))


# --- claims on data with a known answer ---------------------------------------------------------------------


def plane(change: float = 0.0) -> xr.Dataset:
    """The diagram as theory has it; ``change`` is added to the slopes of W2."""
    g3, g2 = diagram.QUICK_GAMMA3, diagram.QUICK_GAMMA2
    exact = theory.slopes(g3[:, None], g2[None, :])
    slope = np.stack([exact["w1"], exact["w2"] + change], -1)
    cut = np.array([[runs.crossing(g3, slope[:, k, j]) for j in range(2)] for k in range(len(g2))])
    dims = ("gamma3", "gamma2", "layer")
    return xr.Dataset(
        {"slope": (dims, slope), "theory": (dims, np.stack([exact["w1"], exact["w2"]], -1)), "crossing": (dims[1:], cut)},
        {"gamma3": g3, "gamma2": g2, "layer": list(runs.LAYERS)},
    )


def test_the_diagram_of_theory_agrees_and_another_does_not(tmp_path) -> None:
    right = verdicts(diagram.FIGURE, context(diagram.FIGURE, tmp_path, plane()))
    assert set(right.values()) == {Verdict.AGREE}, right
    # W2 always far on the linear side: two regions are left, and its zeros are gone.
    wrong = verdicts(diagram.FIGURE, context(diagram.FIGURE, tmp_path, plane(-3.0)))
    assert sum(v == Verdict.DIFFER for v in wrong.values()) >= 2 and Verdict.NOT_TESTABLE in wrong.values()


def test_distance_claims_can_fail(tmp_path) -> None:
    data = xr.Dataset(
        {"slope": (("point", "layer"), [[-0.58, 0], [0.03, 0], [0.24, 0]]), "slope_se": (("point", "layer"), np.ones((3, 2)))},
        {"width": [100, 1000], "seed": [0, 1], "layer": list(runs.LAYERS), "gamma3": ("point", list(distance.GAMMA3))},
    )
    known = (("point", "layer"), np.array([[-0.6, -1.1], [0.0, -0.5], [0.2, -0.3]]))
    data = data.assign(reached=("point", [2, 2, 2]), rule=known, theory=known)
    assert set(verdicts(distance.FIGURE, context(distance.FIGURE, tmp_path, data)).values()) == {Verdict.AGREE}
    flipped = data.assign(slope=-data["slope"])
    assert list(verdicts(distance.FIGURE, context(distance.FIGURE, tmp_path, flipped)).values()).count(Verdict.DIFFER) == 3


def drawn_fits(*functions: Any) -> xr.Dataset:
    """Data of the item ``fits`` with these functions of x, twice each; the second is a trifle different."""
    f = np.array([[[g(x) for x in four_points.GRID]] * 2 for g in functions])
    f[:, 1] *= 1 + 1e-6
    data = {"f": (("gamma3", "seed", "x"), f), "y": ("datum", X**2)}
    return xr.Dataset(data, {"x": four_points.GRID, "x_data": ("datum", X)}, {"width": 10})


def test_measures_of_fits(tmp_path) -> None:
    def spline(x: float) -> float:
        return float(np.interp(x, X, X**2))

    data = drawn_fits(lambda x: spline(x) + 0.03 * np.sin(40 * x), lambda x: x**2, spline)
    # f' of x^2 runs from -1 to 1, that of the spline from -2/3 to 2/3; sampled at a spacing of 1/300.
    assert four_points.roughness(data)[1, 0] == pytest.approx(1.5, abs=0.02)
    assert four_points.roughness(data)[2, 0] == pytest.approx(1.0, abs=1e-9)
    assert four_points.concentration(data)[2, 0] == pytest.approx(1.0, abs=1e-9)
    assert four_points.concentration(data)[1, 0] == pytest.approx(0.08, abs=0.01)  # 0.04 of a length of 1, twice
    # x^2 is off by 1/36 in the middle, of a largest target of 1/4.
    assert four_points.departure(data)[1, 0] == pytest.approx(1 / 9, abs=1e-6)
    smooth = drawn_fits(lambda x: spline(x) + 0.03 * np.sin(40 * x), lambda x: 0.9 * x**2, spline)
    assert set(verdicts(fits.FIGURE, context(fits.FIGURE, tmp_path, smooth)).values()) == {Verdict.AGREE}
    other_way = smooth.assign(f=smooth["f"][::-1].drop_vars("gamma3", errors="ignore"))
    assert list(verdicts(fits.FIGURE, context(fits.FIGURE, tmp_path, other_way)).values()).count(Verdict.DIFFER) >= 3


# --- Luo et al. ---------------------------------------------------------------------------------------------


def test_the_table_agrees_but_for_its_misprint(tmp_path) -> None:
    made = context(table.FIGURES[0], tmp_path)
    found = [check(claim, made) for claim in table.CLAIMS]
    assert all((r.expected or r.paper).verdict == Verdict.AGREE for r in found), found  # pyright: ignore
    assert [r.claim.statement for r in found if r.comparison.verdict == Verdict.DIFFER] == ["E et al.: gamma'"]


def test_a_wrong_initialisation_is_found(tmp_path, monkeypatch) -> None:
    monkeypatch.setitem(relu2.SCHEMES, "he", replace(relu2.SCHEMES["he"], gain=1.9))
    monkeypatch.setitem(relu2.SCHEMES, "ntk", replace(relu2.SCHEMES["ntk"], power=(0.55, 1.0)))
    found = verdicts(table.FIGURES[0], context(table.FIGURES[0], tmp_path))
    wrong = [statement for statement, verdict in found.items() if verdict == Verdict.DIFFER]
    assert "He: kappa of drawn weights over the table's formula" in wrong
    assert "NTK: gamma = -d ln kappa / d ln m of drawn weights" in wrong


def test_the_map_of_theory_agrees_and_another_does_not(tmp_path, monkeypatch) -> None:
    assert set(verdicts(theory_map.FIGURE, context(theory_map.FIGURE, tmp_path)).values()) == {Verdict.AGREE}
    right = relu2.slope
    monkeypatch.setattr(relu2, "slope", lambda g, p: right(g, p) + 0.01 * (np.asarray(g) > 1.2))
    found = verdicts(theory_map.FIGURE, context(theory_map.FIGURE, tmp_path))
    assert list(found.values()).count(Verdict.DIFFER) == 2, found
