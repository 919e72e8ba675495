"""What the (D, P) half of Agarwala et al. measures with: series of many runs, statistics over seeds, orders, medians."""

from __future__ import annotations

import numpy as np
import pytest
import xarray

from trainphase._arrays import as_leaves, precision
from trainphase.phase import EDGE
from trainphase.reproduce import claims, papers
from trainphase.reproduce.agarwala import (
    many_data,
    many_data_kernels,
    many_data_planes,
    many_data_proof,
    many_data_runs,
    many_data_start,
)
from trainphase.reproduce.context import Context
from trainphase.systems.quadratic import Quadratic, draws, quadratic
from trainphase.theory import quadratic as theory

WIDTHS = (0.1, 0.6)


@pytest.fixture
def context(tmp_path):
    return Context(many_data_start.FIGURE_12, tmp_path, quick=True)


def test_items_are_registered():
    listed = papers.PAPERS["agarwala"].items
    assert {figure.name for figure in many_data.FIGURES} <= set(listed)
    assert [f.name for f in papers.load(papers.select(["agarwala:fig4", "agarwala:A.4"]))] == ["4", "A.4"]


def plain(width: float, seed: int, count: int, step: float | None):
    """Loss, curvature, sharpness after each of ``count`` steps at (5, 8) in NumPy: of descent, or of the flow in steps."""
    D, P = 5, 8
    Q, z, J = draws(D, P, seed, "sym1")
    Q = np.swapaxes(Q.reshape(D, P, P), 1, 2)
    z, J = width / D * z, many_data_runs.SIGMA_J / (D * P) ** 0.25 * J

    def flow(z, J):
        return -J @ (J.T @ z), -np.einsum("aij,j->ai", Q, J.T @ z)

    rows = []
    for _ in range(count + 1):
        top = np.linalg.eigvalsh(J.T @ J + np.einsum("aij,a->ij", Q, z))[-1]
        rows.append((0.5 * z @ z, np.linalg.norm(J, 2) ** 2, top))
        if step is None:
            u = J.T @ z
            change = np.einsum("aij,j->ai", Q, u)
            z, J = z - J @ u + 0.5 * change @ u, J - change
            continue
        k = [flow(z, J)]
        for part in (0.5, 0.5, 1.0):
            k.append(flow(z + part * step * k[-1][0], J + part * step * k[-1][1]))
        z, J = (v + step / 6 * (k[0][i] + 2 * k[1][i] + 2 * k[2][i] + k[3][i]) for i, v in enumerate((z, J)))
    return dict(zip(("loss", "curvature", "sharpness"), np.asarray(rows).T, strict=True))


def test_many_descents_are_single_ones(context):
    data = many_data_runs.follow(context, (5, 8), WIDTHS, 2, ("loss", "curvature", "sharpness"), steps=20)
    one = plain(WIDTHS[1], 1, 20, None)
    for name, values in one.items():
        # Rounding of products taken in another order, over 20 steps that amplify it little.
        np.testing.assert_allclose(data[name].sel(sigma_z=WIDTHS[1]).isel(seed=1).values, values, rtol=1e-10, atol=1e-14)


def test_many_flows_are_single_ones(context):
    data = many_data_runs.follow(context, (5, 8), WIDTHS, 1, ("loss", "curvature"), times=np.array([0.0, 0.4, 4.0]))
    one = plain(WIDTHS[0], 0, 100, 0.04)
    for name in ("loss", "curvature"):
        # The solver keeps 1e-9 per step; the fourth-order method here has an error of 0.04^4 times small derivatives.
        np.testing.assert_allclose(data[name].sel(sigma_z=WIDTHS[0]).isel(seed=0).values, one[name][[0, 10, 100]], rtol=1e-7)


def test_second_derivative_lies_on_its_exact_mean(context):
    data = many_data_start.measure(context, many_data_start._rates, [(8, 12, "sym1"), (8, 12, "iid")], (1.0,), 150)
    data = many_data_start.with_predictions(data)
    for case in range(2):
        one = data.isel(case=case, sigma_z=0)
        value, error = many_data_start.ratio(one["second"].values, one["predicted"].values)
        assert error < 0.1
        assert abs(value - 1) < 4 * error  # chance 1 in 16 000
        printed, width = many_data_start.ratio(one["second"].values, np.full(150, float(one["printed"])))
        assert printed - 1 > 10 * width  # the constant of the print is far off, also at this small size
        slope, width = many_data_start.ratio(one["first"].values, one["curvature"].values)
        assert abs(slope) < 4 * width


def test_terms_of_a_step_have_the_stated_ratio(context):
    cases = [(10, 16, symmetry) for symmetry in ("sym1", "symh", "iid")]
    data = many_data_start.measure(context, many_data_start._terms, cases, (0.5,), 150)
    for case, (D, P, symmetry) in enumerate(cases):
        one = data.isel(case=case, sigma_z=0)
        value, error = many_data_start.ratio(one["nonlinear"].values, one["linear"].values)
        stated = theory.r_NL(0.5 / D, D, P, symmetry=symmetry, finite=True) ** 2
        assert abs(value - stated) < 4 * error < stated  # chance 1 in 16 000
        assert abs(value - theory.paper_r_NL(0.5 / D, D) ** 2) > 4 * error


def test_ratio_has_the_error_of_a_ratio(rng):
    true, found = 3.0, []
    for _ in range(400):
        below = 2 + rng.standard_normal(100)
        found.append(many_data_start.ratio(true * below + 0.5 * rng.standard_normal(100), below))
    values, errors = np.asarray(found).T
    # 400 samples know a standard deviation to 3.5 %; first order in the scatter adds a few percent.
    assert abs(values.std(ddof=1) / errors.mean() - 1) < 0.15


def test_error_bars_are_over_seeds_and_not_over_cells(rng):
    each = rng.standard_normal((1, 60))
    alone = many_data_planes._over_seeds(each, np.mean)
    assert abs(alone - each.std() / np.sqrt(60)) < 0.15 * alone  # 400 resamples know it to 3.5 %, four of these
    # A hundred cells that share the seeds' draws know no more than one.
    np.testing.assert_allclose(many_data_planes._over_seeds(np.repeat(each, 100, axis=0), np.mean), alone, rtol=1e-12)


def test_runs_that_diverge_count_beyond_all_others():
    codes = np.full((1, 5), EDGE.index("sharpening"))
    codes[0, :3] = EDGE.index("divergent")
    data = xarray.Dataset({"phase": (("x", "seed"), codes), "curvature": (("x", "seed"), [[0.1, 0.2, np.nan, 1.5, 1.7]])})
    np.testing.assert_array_equal(many_data_planes.ends(data), [[np.inf, np.inf, np.inf, 1.5, 1.7]])
    assert np.isinf(np.median(many_data_planes.ends(data)))


def test_hierarchy_leaves_the_model_at_second_order():
    times = np.concatenate([[0.0], np.geomspace(1e-2, 1.0, 9)])
    with precision("float64"):
        system = as_leaves(quadratic(D=5, P=8, sigma_J=0.5, flow="true"), "float64")
        got = {k: np.asarray(v) for k, v in many_data_kernels._pair()(system, np.asarray(0.6), times).items()}
    early = slice(1, 6)  # 0.01 to 0.1
    for name, order in (("kernel_gap", 2), ("residual_gap", 3)):
        slope = np.polyfit(np.log(times[early]), np.log(got[name][early]), 1)[0]
        assert abs(slope - order) < 0.1, name  # the next order in time, at most 10 % of the first


def test_equalities(context):
    assert many_data_kernels._spaces(context, 5, 7).value < 1e-12
    assert many_data_kernels._rescaled(context).value < 1e-12


def test_the_linear_model_has_its_edge_at_2(context, monkeypatch):
    # A count, and rounding of two steps.
    assert many_data_kernels._linear_threshold(context).value == 0
    assert many_data_kernels._linear_two_step(context).value < 1e-12
    right = Quadratic.step
    monkeypatch.setattr(Quadratic, "step", lambda self, x: x + 1.05 * (right(self, x) - x))
    assert many_data_kernels._linear_threshold(context).value > 0
    assert many_data_kernels._linear_two_step(context).value > 1e-2


def test_displayed_averages_of_the_proof_hold_and_twice_of_them_do_not(context):
    data = many_data_start.measure(context, many_data_proof._singular, many_data_proof.CASES, (many_data_proof.WIDTH,), 150)
    context.memory[context.folder.name, "data"] = data
    for measured in (many_data_proof._speed(context), many_data_proof._bend(context)):
        # 4 standard errors: chance 1 in 16 000. (144) is (P + 1)/P for a symmetric Q, which is 2.5 % more.
        assert abs(measured.value - 1) < 4 * measured.error + 0.025
        assert 4 * measured.error < 0.6
        assert abs(measured.value - 2) > 4 * measured.error


def test_every_claim_states_its_values():
    for figure in many_data.FIGURES:
        for claim in figure.claims:
            assert claim.statement.endswith(".") and claim.reason, claim.statement
    excluded = [c for f in many_data.FIGURES for c in f.claims if "excluded" in c.statement]
    assert len(excluded) == 3 and all(isinstance(c, claims.Claim) for c in excluded)
