"""What the figures of real networks measure with: runs in pieces, the top mode's own terms, two-step laws, peaks."""

from __future__ import annotations

import dataclasses

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
import xarray

from trainphase.problem import Problem
from trainphase.reproduce import papers
from trainphase.reproduce.agarwala import images, images_data, images_edge, images_follow, images_steps, images_taylor
from trainphase.reproduce.agarwala.images_follow import Plan
from trainphase.reproduce.context import Context
from trainphase.systems.mlp import Network, weights
from trainphase.systems.taylor import Expansion


def net(ntk=False, n=10, d=16, outputs=3, hidden=(10,)):
    """A small net on Gaussian inputs, fewer than they have dimensions."""
    rng = np.random.default_rng(3)
    params = weights((d, *hidden, outputs), "ntk" if ntk else "pytorch", ntk, not ntk, 1.5, 1)
    y = (rng.integers(0, outputs, n)[:, None] == np.arange(outputs)).astype(float)
    return Problem(Network("tanh", ntk), params, (rng.standard_normal((n, d)), y), "squared", "mean")


def top(problem, theta):
    """The top eigenpair of weight J J^T from the whole Jacobian."""
    J = np.asarray(jax.jit(jax.jacobian(problem.outputs))(theta))
    values, vectors = np.linalg.eigh(problem.weight * J @ J.T)
    return values[-2:][::-1], vectors[:, -1], J


def test_items_are_registered():
    assert {figure.name for figure in images.FIGURES} == {"5", "6", "15", "16"} <= set(papers.PAPERS["agarwala"].items)
    assert [figure.name for figure in papers.load(papers.select(["agarwala:fig16"]))] == ["16"]


def test_ratio_is_what_a_step_along_the_top_mode_does():
    problem, lr = net(), 1e-4
    theta = problem.flat()
    values, v, J = top(problem, theta)
    z1 = float(v @ problem.residual(theta))
    square, second = images_follow.bending(problem, theta, v)
    assert problem.weight * square == pytest.approx(values[0], rel=1e-12)
    moved = theta - lr * problem.weight * z1 * J.T @ v
    change = float(v @ (problem.outputs(moved) - problem.outputs(theta)))
    ratio = (change + lr * values[0] * z1) / (lr * values[0] * z1)
    # The next term of the expansion is smaller by eta lambda_1, here below 1e-3; rounding leaves 1e-16 / 1e-4 / the ratio.
    assert images_follow.nonlinear_over_linear(lr, problem.weight, z1, second) == pytest.approx(ratio, rel=2e-3)
    assert abs(ratio) > 1e-7


@pytest.mark.parametrize("ntk", [False, True])
def test_rotated_inputs_leave_the_run_as_it_is(ntk):
    problem = net(ntk)
    turned = images_data.rotated(problem)
    assert turned.size < problem.size
    for one in range(2):
        pair = [p.flat() for p in (problem, turned)]
        for _ in range(5 * one):
            pair = [theta - 0.3 * p.gradient(theta) for p, theta in zip((problem, turned), pair, strict=True)]
        outputs = [p.outputs(theta) for p, theta in zip((problem, turned), pair, strict=True)]
        np.testing.assert_allclose(*outputs, rtol=0, atol=1e-12)  # rounding
        np.testing.assert_allclose(top(problem, pair[0])[0], top(turned, pair[1])[0], rtol=1e-12)


def rising():
    """The net after ten steps, from where its curvature rises; and the step size, 1 over its first curvature."""
    problem = net(hidden=(8, 8))
    theta = problem.flat()
    lr = 1 / float(top(problem, theta)[0][0])
    for _ in range(10):
        theta = theta - lr * problem.gradient(theta)
    return eqx.tree_at(lambda p: p.params, problem, problem.restore(theta)), lr


def test_a_run_in_pieces_is_the_run(tmp_path):
    problem, lr = rising()
    # In units of the first curvature it is 0.85 now, and 0.94 after 20 more steps.
    plan = Plan(lr=lr, steps=60, coarse=5, near=0.92, fine=12, hessian=4, ratio=True, tol=1e-9, dtype="float64")

    def followed(name, plan):
        context = Context(images_edge.FIGURE_5, tmp_path, quick=True)
        return images_follow.follow(context, name, lambda: problem, plan), context

    whole, _ = followed("whole", plan)
    parts, context = followed("parts", dataclasses.replace(plan, piece=3))
    for name in ("loss", "curvature", "curvature_2", "z1", "ratio"):
        # Both are right to the tolerance of the eigenpairs, 1e-9 in values and some 1e-5 in vectors.
        np.testing.assert_allclose(parts["run"][name], whole["run"][name], rtol=1e-7, atol=1e-5, err_msg=name)
    assert whole["run"]["fine"].values.sum() == plan.fine + 1 and not whole["run"]["fine"].values.all()
    np.testing.assert_array_equal(parts["snapshots"]["theta"], whole["snapshots"]["theta"])
    theta = jnp.asarray(whole["snapshots"]["theta"].values[-1])
    values, v, _ = top(problem, theta)
    np.testing.assert_allclose(whole["run"]["curvature"][-1], plan.lr * values[0], rtol=1e-8)
    np.testing.assert_allclose(whole["run"]["curvature_2"][-1], plan.lr * values[1], rtol=1e-8)
    assert abs(float(whole["run"]["z1"][-1])) == pytest.approx(abs(float(v @ problem.residual(theta))), abs=1e-5)

    def never():
        raise AssertionError("the run is on the disk and was computed again")

    again = images_follow.follow(Context(images_edge.FIGURE_5, tmp_path, quick=True), "parts", never, plan)
    assert again["run"].equals(parts["run"])
    assert context.has("parts_1")


def series(z, curvature, **more):
    time = np.arange(len(z), dtype=float)
    data = {"z1": z, "curvature": curvature, "fine": np.ones(len(z)), **more}
    return xarray.Dataset({k: ("time", np.asarray(v)) for k, v in data.items()}, {"time": time})


def test_two_step_laws():
    y = 0.06
    z = 1e-3 * (-(1 + y)) ** np.arange(60.0)
    steps = images_steps.two_steps(series(z, 2 + y + 0 * z))
    value, error = images_steps.slope(steps["predicted"], steps["dz"], steps["y"])
    # The frozen Jacobian itself: (2 y + y^2) z, off by exactly y/2.
    assert (value - 1, error) == (pytest.approx(y / 2), pytest.approx(y / 2))
    assert images_steps.frozen(steps["predicted"], steps["y"]) == pytest.approx(value)
    assert images_steps.frozen(steps["predicted"], -steps["y"]) == pytest.approx(1 - y / 2)
    rest = images_steps.two_steps(series(np.where(np.arange(60) < 30, 1e-6, 1.0), 1.9 + 1e-3 * np.arange(60)))
    assert images_steps.drift(rest) == pytest.approx(2e-3)
    curvature = 2 + 0.1 * np.sin(np.arange(60.0) / 5 - 1)
    assert images_steps.crossings(curvature).tolist() == [5, 20, 36, 52]  # at 5 it is 2 to the last bit
    assert images_steps.first_fall(series(z, curvature)) == int(np.argmax(curvature[:20]))


def test_scatter_tells_a_function_from_none():
    rng = np.random.default_rng(0)
    z, y = rng.uniform(-1, 1, (2, 1500))
    function, pairs = images_steps.scatter(z, y, z * y + y**2)
    noise, _ = images_steps.scatter(z, y, rng.standard_normal(1500))
    # Neighbours lie within a tenth of a deviation: a smooth function differs there by about a hundredth of its variance at most.
    assert function < 0.01 and pairs > 500
    assert noise == pytest.approx(1, abs=0.15)  # 3 standard errors of a variance of some 750 pairs


def test_peaks_and_shapes():
    time = np.arange(0.0, 400, 2)

    def run(at, height, second):
        z = height * np.exp(-0.5 * ((time - at) / 9) ** 2) + second * np.exp(-0.5 * ((time - at - 150) / 30) ** 2) + 1e-6
        return xarray.Dataset({"z1": ("time", z), "loss": ("time", np.exp(-time / 50) + z**2)}, {"time": time})

    model, early = run(201.0, 2.0, 0.5), run(140.0, 2.0, 0.5)
    assert abs(time[images_taylor.peak(model)] - 201) <= 2
    second = images_taylor.second_peak(model)
    assert second is not None and abs(time[second] - 351) <= 2
    far, shift = images_taylor.shape(model, early)
    assert far < 0.03 and shift == pytest.approx(-61, abs=1)  # interpolated between samples two steps apart
    assert images_taylor.shape(model, run(140.0, 1.6, 0.5))[0] == pytest.approx(0.2, abs=0.03)
    assert images_taylor.departs(model, model) == np.inf
    assert 150 < images_taylor.departs(model, early.assign(z1=early["z1"], loss=np.exp(-early["time"] / 50))) < 201


def test_spectra_of_the_second_derivative(tmp_path):
    problem = net()
    theta = np.asarray(problem.flat(), np.float32)
    shots = xarray.Dataset({"theta": (("snapshot", "parameter"), np.stack([theta, theta]))}, {"snapshot": [3, 9]})
    found = images_edge.spectra(problem, shots, 0, probes=3, order=24)
    _, v, _ = top(problem, problem.flat())
    exact = np.linalg.eigvalsh(jax.jit(jax.hessian(lambda t: v @ problem.outputs(t)))(problem.flat()))
    sizes = images_edge.widest(found)
    # Single precision; 24 Lanczos steps have converged at the ends of a spectrum of 200.
    assert sizes[0, 1] == pytest.approx(np.abs(exact).max(), rel=1e-3)
    # Three probes: the mean square has an error of some ten percent.
    assert sizes[0, 0] == pytest.approx(np.sqrt(np.mean(exact**2)), rel=0.3)
    np.testing.assert_allclose(sizes[1], sizes[0], rtol=1e-3)


def test_an_expansion_is_followed_like_a_model(tmp_path):
    context = Context(images_taylor.FIGURE_16, tmp_path, quick=True)
    plan = Plan(lr=0.01, steps=4, coarse=2, near=0.0, fine=4, tol=1e-8, dtype="float64", beat=2)
    found = images_follow.follow(context, "near2", lambda: Expansion(net(), 2), plan)["run"]
    model = images_follow.follow(context, "near", net, plan)["run"]
    np.testing.assert_array_equal(found["time"], [0, 2, 4])
    np.testing.assert_allclose(found["curvature"][0], model["curvature"][0], rtol=1e-8)
    # What is left out is of third order in the displacement: 5 % at ten times the step size, and so 5e-5 here.
    np.testing.assert_allclose(found["loss"], model["loss"], rtol=3e-4)
    assert float(found["loss"][-1]) != float(model["loss"][-1])


def test_a_push_gives_a_model_and_its_expansion_the_same_top_residual():
    problem, more = net(), 1e-4
    theta = np.asarray(problem.flat())
    values, v, _ = top(problem, theta)
    z1 = abs(v @ np.asarray(problem.residual(jnp.asarray(theta))))
    moved = images_taylor.push(problem, theta, z1 + more)
    starts = (problem, theta + moved), (Expansion(problem, 2, theta), moved)
    for begun, at in ((images_taylor.beginning(p, start), start) for p, start in starts):
        np.testing.assert_allclose(begun.flat(), at, atol=1e-15)  # rounding
        # First order: the next one is smaller by the displacement times the second derivative, below a hundredth here.
        assert abs(v @ np.asarray(begun.residual(begun.flat()))) - z1 == pytest.approx(more, rel=1e-2)
    # The shortest: J^T v_1 is as long as the root of the kernel's eigenvalue. The eigenpair is one to 1e-10.
    assert np.linalg.norm(moved) == pytest.approx(more / np.sqrt(values[0] / problem.weight), rel=1e-6)


def test_every_claim_states_its_values():
    for figure in images.FIGURES:
        for claim in figure.claims:
            assert claim.statement.endswith(".") and claim.reason, claim.statement


@pytest.mark.parametrize(("level", "swing", "ends"), [(1.995, 0.01, True), (2.005, 0.01, False), (1.95, 0.06, False)])
def test_an_expansion_that_stays_above_or_away_from_the_edge_is_seen(level, swing, ends, tmp_path):
    t = np.arange(200)
    late = level + swing * (-1.0) ** t
    series = {"curvature": ("time", np.where(t < 100, 2.2, late)), "z1": ("time", np.exp(-0.01 * t))}
    made = Context(images_taylor.FIGURE_16, tmp_path, quick=True)
    made.memory[made.folder.name, "data"] = {"near2": xarray.Dataset(series, {"time": t})}
    assert images_taylor._ends_below(made).value is ends
