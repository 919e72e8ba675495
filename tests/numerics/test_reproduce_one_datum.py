"""The D = 1 half of Agarwala et al.: what the claims measure, on cases with a known answer, and claims that can fail."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import xarray as xr
from scipy.integrate import solve_ivp

from trainphase.phase import EDGE
from trainphase.reproduce.agarwala import (
    one_datum,
    one_datum_edge,
    one_datum_net,
    one_datum_planes,
    one_datum_runs,
    one_datum_steps,
)
from trainphase.reproduce.claims import Verdict, check
from trainphase.reproduce.context import Context
from trainphase.systems.linear_net import LinearNet
from trainphase.systems.quadratic_1d import Quadratic1DPlane

QUICK = (
    one_datum.TWO_STEP, one_datum.NORMAL_FORM, one_datum.GRADIENT_FLOW, one_datum_net.LINEAR_NET, one_datum_planes.FIGURE_8,
    one_datum_steps.ONE_STEP, one_datum_steps.PROOF,
)  # fmt: skip
# Statements of the paper that cannot be right, each with a correction.
WRONG = {"Fig. 1", "(70)", "(78)", "(81)", "(83), (84)", "(44)"}


def verdicts(figure: Any, tmp_path: Any) -> list[Any]:
    """The checked claims of an item, quick."""
    context = Context(figure, tmp_path, quick=True)
    return [check(claim, context) for claim in figure.claims]


@pytest.mark.parametrize("figure", QUICK, ids=lambda figure: figure.name)
def test_claims_agree_except_where_the_paper_is_corrected(figure, tmp_path):
    for result in verdicts(figure, tmp_path):
        own = result.expected or result.paper
        assert own.verdict == Verdict.AGREE, result
        if result.paper is not None and result.paper.verdict != Verdict.AGREE:
            assert result.claim.correction and result.claim.locator in WRONG, result


@pytest.mark.slow
def test_figure_11_and_1_agree_with_their_values(tmp_path):
    results = verdicts(one_datum_runs.FIGURE_11, tmp_path) + verdicts(one_datum_runs.FIGURE_1, tmp_path)
    assert all((r.expected or r.paper).verdict == Verdict.AGREE for r in results), results
    assert [r.claim.locator for r in results if r.paper and r.paper.verdict == Verdict.DIFFER] == ["Fig. 1"]


def test_items_are_listed_once_and_every_figure_is_drawn():
    names = [figure.name for figure in one_datum.FIGURES]
    assert len(set(names)) == len(names)
    assert {"1", "2", "7", "8", "9", "10", "11", "theorem3.1"} <= set(names)
    assert all((figure.draw is not None) == figure.name.isdigit() for figure in one_datum.FIGURES)


# --- a wrong system is found out ----------------------------------------------------------------------------


@pytest.mark.parametrize("figure", [one_datum.TWO_STEP, one_datum.NORMAL_FORM], ids=lambda figure: figure.name)
def test_a_wrong_step_makes_claims_differ(figure, tmp_path, monkeypatch):
    right = Quadratic1DPlane.step
    # A relative error of 1e-3 in the curvature's change: the nullclines through T = 2 are then elsewhere.
    monkeypatch.setattr(Quadratic1DPlane, "step", lambda self, s: (right(self, s)[0], s[1] + 1.001 * (right(self, s)[1] - s[1])))
    assert any((r.expected or r.paper).verdict == Verdict.DIFFER for r in verdicts(figure, tmp_path))


def test_a_wrong_net_or_map_makes_its_claims_differ(tmp_path, monkeypatch):
    right = LinearNet.step
    monkeypatch.setattr(LinearNet, "step", lambda self, s: (right(self, s)[0], right(self, s)[1] * (1 + 1e-9)))
    failed = {r.claim.statement for r in verdicts(one_datum_net.LINEAR_NET, tmp_path) if r.comparison.verdict == Verdict.DIFFER}
    assert any("largest difference of z~ and T" in statement for statement in failed)


FORMULAS = {"T1": "T(1) from", "T2": "T(2) from", "delta_z": "z~ after", "delta_T": "T after"}


@pytest.mark.parametrize("factor", [1 + 1e-9, np.nan])
@pytest.mark.parametrize(("name", "found"), FORMULAS.items())
def test_a_wrong_formula_is_found_by_descent_on_the_parameters(name, found, factor, tmp_path, monkeypatch):
    right, planted = getattr(one_datum_steps.theory, name), 0
    for claim in one_datum_steps.ONE_STEP.claims:
        if claim.statement.startswith(found) and "symmetric" not in claim.statement:
            # A factor of 1 + 1e-9 is a thousand times the tolerance, and a millionth of what a lost power of a makes.
            monkeypatch.setattr(one_datum_steps.theory, name, lambda *args: factor * right(*args))
            planted += check(claim, Context(one_datum_steps.ONE_STEP, tmp_path, quick=True)).comparison.verdict == Verdict.DIFFER
    assert planted == 1


@pytest.mark.parametrize(
    ("module", "name", "measure"),
    [
        (one_datum.symmetric, "invariant_multiplier", one_datum._invariant),
        (one_datum.symmetric, "bordelon_pehlevan_velocity", one_datum_net._kernel_flow),
        (one_datum_planes.theory, "nullcline_z", lambda context: one_datum_planes._on_nullcline("z")),
        (one_datum_edge.theory, "normal_form", lambda context: one_datum_edge._order("z", 2)),
    ],
)
def test_what_is_no_number_agrees_with_nothing(module, name, measure, tmp_path, monkeypatch):
    right = getattr(module, name)
    monkeypatch.setattr(module, name, lambda *args: np.nan * np.asarray(right(*args)))
    assert np.isnan(measure(Context(one_datum.SYMMETRIC, tmp_path, quick=True)).value)


def test_a_slower_fall_of_y_breaks_the_phases_of_the_proof(tmp_path):
    # z~ that triples before y is negative, and y that comes back above 0: each is seen by its own claim.
    z, y = np.array([[0.1], [0.11], [0.1], [0.05]]), np.array([[0.01], [0.001], [-0.0005], [-0.001]])
    for change, first, second in (((0, 0, 0.0), True, True), ((1, 0, 0.2), False, True), ((3, 1, 0.003), True, False)):
        row, which, more = change
        moved = [z.copy(), y.copy()]
        moved[which][row] += more
        data = xr.Dataset({"z": (("even", "run"), moved[0]), "y": (("even", "run"), moved[1])})
        made = Context(one_datum_steps.PROOF, tmp_path, quick=True)
        made.memory[made.folder.name, "data"] = data
        assert (one_datum_steps._first_phase(made).value, one_datum_steps._second_phase(made).value) == (first, second)


def test_a_wrong_line_is_found_by_the_starts(tmp_path, monkeypatch):
    # Nine values of E~: a line too high by 1 % has starts of the 20 000 between itself and the right one.
    right = one_datum.symmetric.bounded
    monkeypatch.setattr(one_datum.symmetric, "bounded", lambda z, T, E: right(z, 0.99 * T, E))
    found = one_datum._bounded(Context(one_datum.SYMMETRIC, tmp_path, quick=True))
    assert found.value > 20


# --- the reference values, and what becomes of them -------------------------------------------------


@pytest.mark.parametrize("start", [0, 1])
def test_reference_values_are_those_of_the_rule_itself(start):
    w = np.array([1.0, -one_datum_runs.EPS])
    for lr, value in one_datum_runs.FIGURE_11_VALUES[start].items():
        theta = np.array(one_datum_runs.STARTS[start])
        for _ in range(4000):
            theta = theta - lr * 0.5 * (w * theta**2).sum() * w * theta
        # The values have three or four digits.
        assert lr * ((w * theta) ** 2).sum() == pytest.approx(value, abs=6e-4)


def test_a_rise_of_the_curvature_would_be_seen(tmp_path):
    eleven = Context(one_datum_runs.FIGURE_11, tmp_path, quick=True)
    columns = {"curvature": [0.5, 1.2, np.nan], "curvature_start": [1.0, 1.0, 1.0], "settled": [1, 1, 0]}
    for factor, answer in ((1.0, True), (0.5, False)):
        scaled = {k: (("start", "lr"), np.array([v]) * (factor if k == "curvature" else 1)) for k, v in columns.items()}
        memory: dict[Any, Any] = {(eleven.folder.name, "data"): {"scan": xr.Dataset(scaled, {"lr": [0.5, 1.0, 2.4]})}}
        context = Context(one_datum_runs.FIGURE_1, tmp_path, quick=True, memory=memory)
        assert one_datum_runs._any_rise(context).value is answer


def test_stages_of_a_run_at_the_edge_are_told_apart(tmp_path):
    k = np.arange(400)
    z = np.where(k < 4, 0.05 * (k + 1), 0.2 * np.exp(-0.05 * (k - 3)))
    T = 2 + 2 * z + np.where(k < 200, 0.0, -2e-3)
    for change_z, change_T, stages in ((z, T, True), (z[::-1], T, False), (z, np.sort(T)[::-1], False), (z, T + 0.5, False)):
        both = {"z": (("start", "even"), np.stack([change_z] * 2)), "T": (("start", "even"), np.stack([change_T] * 2))}
        made = Context(one_datum_runs.FIGURE_2, tmp_path, quick=True)
        made.memory[made.folder.name, "data"] = {"runs": xr.Dataset(both)}
        assert one_datum_runs._stages(made).value is stages


# --- the pieces that measure --------------------------------------------------------------------------------


def test_changes_are_those_of_the_modes(rng):
    eps, E = 0.3, 0.7
    c, w = rng.uniform(0.2, 1.0, (2, 50)), np.array([[1.0], [-eps]])
    z, T = 0.5 * ((c**2 / w).sum(0) - E), (c**2).sum(0)
    state = z
    for _ in range(3):
        c = c * (1 - w * state)
        state = 0.5 * ((c**2 / w).sum(0) - E)
    dz, dT = one_datum_runs.changes(z, T, eps, E, 3)
    # Three steps of O(1) numbers, each rounded a few times.
    np.testing.assert_allclose(z + dz, state, atol=1e-12)
    np.testing.assert_allclose(T + dT, (c**2).sum(0), atol=1e-12)


def test_composed_polynomials_are_two_steps_of_the_map(rng):
    z, T, eps = rng.uniform(-0.5, 0.5, 20), rng.uniform(0.5, 3, 20), 0.23
    for poly, moved in zip(one_datum.composed(), one_datum_runs.changes(z, T, eps, 0.0, 2), strict=True):
        value = sum(a * z**i * T**k * eps**j for (i, k, j), a in poly.items())
        np.testing.assert_allclose(value, moved, atol=1e-11)  # a hundred terms of size up to 30, rounded


@pytest.mark.parametrize("start", one_datum_runs.STARTS)
def test_flow_ratio_is_the_integrated_one(start):
    w = np.array([1.0, -one_datum_runs.EPS])
    got = solve_ivp(lambda t, x: -0.5 * (w * x**2).sum() * w * x, (0, 80), start, rtol=1e-10, atol=1e-12)
    kernel = ((w[:, None] * got.y) ** 2).sum(0)
    # The solver's tolerance, over a path of length one.
    assert one_datum_runs.flow_ratio(start) == pytest.approx(kernel[-1] / kernel[0], rel=1e-7)


@pytest.mark.parametrize("lr", [1.0, 0.1])
def test_parameters_have_the_rescaled_start(lr):
    one, two = one_datum_runs.parameters(-0.3, 1.7, lr, 0.05)
    assert lr * 0.5 * (one**2 - 0.05 * two**2) == pytest.approx(-0.3, abs=1e-13)
    assert lr * (one**2 + (0.05 * two) ** 2) == pytest.approx(1.7, abs=1e-13)


def test_stacked_ends_in_nan():
    out = one_datum_runs.stacked([np.arange(2.0), np.arange(3.0)])
    np.testing.assert_array_equal(out, [[0, 1, np.nan], [0, 1, 2]])


def runs(phase: list[str], start: list[float], end: list[float]) -> xr.Dataset:
    """Six runs as a diagram has them."""
    codes = np.array([255 if name == "" else EDGE.index(name) for name in phase], np.uint8)
    return xr.Dataset({"phase": ("z", codes), "curvature_start": ("z", start), "curvature": ("z", end)})


def test_arrivals_and_histogram_count_settled_runs_only():
    data = runs(
        ["flat", "edge-of-stability", "edge-of-stability", "divergent", "sharpening", ""],
        [1.0, 1.5, 2.5, 1.0, 0.5, 1.0],
        [0.9, 1.95, 1.95, 1.95, 1.2, 1.95],
    )
    # Three settled runs start below 1.9; one of them ends between 1.9 and 2.1.
    assert one_datum_planes.arrivals(data) == (pytest.approx(1 / 3), 3)
    count, edges = one_datum_planes.histogram(data)
    assert count.sum() == 4
    assert edges[count.argmax()] == pytest.approx(1.94)


def test_shares_of_nothing_are_nan():
    assert np.isnan(one_datum_planes.share(np.ones(3, bool), np.zeros(3, bool)))


def test_median_leaves_out_what_is_not_at_the_edge():
    middle, error, count = one_datum_edge._median(np.array([0.3, np.nan, 1.95, 1.97, 1.99, 2.4]))
    assert (middle, count) == (1.97, 3)
    assert error == pytest.approx(0.01)


def test_plane_has_no_arrows_outside_the_cone_and_its_nullclines_inside():
    field = one_datum_planes.plane(np.linspace(-1, 1, 5), np.linspace(0, 3, 5), 0.2, 0.5, 1, (6, 6))
    z, T = np.meshgrid(field["z_arrow"], field["T_arrow"], indexing="ij")
    forbidden = (2 * z + 0.5 > T) | (-0.2 * (2 * z + 0.5) > T)
    np.testing.assert_array_equal(np.isnan(field["delta_z"].values), forbidden)
    assert np.nanmin(field["f_T"] - field["low"]) >= 0
