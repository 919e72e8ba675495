"""Gradient flows: closed forms and conserved quantities of one datum, gradient descent of vanishing step, and where flows end."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.integrate import quad
from scipy.optimize import brentq

import trainphase as tp
from trainphase import evolve
from trainphase._arrays import as_leaves
from trainphase.phase import EDGE, NOT_COMPUTED
from trainphase.records import Recipe, answer
from trainphase.system import Flow
from trainphase.systems import Quadratic1DFlow
from trainphase.systems.quadratic import QuadraticFlow, TangentHierarchy, draws, quadratic

Arrays = dict[str, np.ndarray]


@jax.jit
def _states(system: Any, times: jax.Array) -> Any:
    return evolve.solve(system, times, None)[0]


def states(system: Flow, times: np.ndarray) -> Any:
    """States at the times, each leaf with a leading axis of times."""
    return jax.tree.map(np.asarray, _states(as_leaves(system, "float64"), jnp.asarray(times)))


POINTS = 60  # one program for all


def ask(system: Flow, values: Arrays, steps: int, dtype: str = "float64") -> Arrays:
    n = len(next(iter(values.values())))
    full = {k: np.concatenate([v, np.full(POINTS - n, v[-1])]) for k, v in values.items()}
    got = answer(Recipe(type(system), {}, steps, vocabulary="edge", dtype=dtype), system, full)
    return {k: v[:n] for k, v in got.items()}


# --- one datum: exact ---------------------------------------------------------------------------------------


class Exact:
    """With s = int z dt every mode is c_i exp(-w_i s): z and T are functions of s, and t = int ds / z(s)."""

    def __init__(self, c: np.ndarray, w: np.ndarray) -> None:
        self.c2, self.w = c**2, w
        self.E = 0.0

    def z(self, s: float) -> float:
        return 0.5 * (np.sum(self.c2 / self.w * np.exp(-2 * self.w * s)) - self.E)

    def T(self, s: float) -> float:
        return float(np.sum(self.c2 * np.exp(-2 * self.w * s)))


CASES = [(1.0, 1.0, -0.1, 4.32), (1.5, 1.0, -0.1, 4.32), (0.8, 0.9, -0.4, -1.1), (-1.3, 1.2, 0.5, 0.7)]


@pytest.mark.parametrize("case", CASES)
def test_one_datum_follows_its_closed_form(case: tuple[float, float, float, float]) -> None:
    first, w1, w2, second = case
    w, theta = np.array([w1, w2]), np.array([first, second])
    E = 0.6
    exact = Exact(w * theta, w)
    exact.E = E
    times = np.array([0.0, 0.05, 0.3, 1.0, 3.0])
    path = states(Quadratic1DFlow(theta=theta, w=w, lr=1.0, E=E), times)
    s = -np.log(path.c[:, 0] / path.c[0, 0]) / w1
    # The solver's relative error is 1e-9 a step; tens of steps, and a sensitivity of e^{|w s|} of some tens.
    for k, t in enumerate(times):
        assert path.z[k] == pytest.approx(exact.z(s[k]), abs=1e-7)
        assert np.sum(path.c[k] ** 2) == pytest.approx(exact.T(s[k]), rel=1e-7)
        if abs(path.z[k]) > 1e-5:
            assert quad(lambda u: 1 / exact.z(u), 0, s[k], epsabs=1e-11)[0] == pytest.approx(t, abs=1e-5)
    # E~ is kept to the solver's tolerance.
    assert np.max(np.abs(np.sum(path.c**2 / w, axis=1) - 2 * path.z - E)) < 1e-7
    assert abs(path.z[-1]) < 0.5 * abs(path.z[0])


@pytest.mark.parametrize("z0", [0.4, -0.4, 1e-3])
def test_opposite_eigenvalues_are_a_hyperbolic_sine(z0: float) -> None:
    """eps = 1, E~ = 0: T^2 - 4 z^2 = C^2 is conserved and z = C / (2 sinh(C t + u0))."""
    T = 1.5
    C = np.sqrt(T**2 - 4 * z0**2)
    u0 = np.arcsinh(C / (2 * z0))
    times = np.linspace(0, 8, 17)
    path = states(Quadratic1DFlow(eps=1.0, z=z0, T=T), times)
    want = C / (2 * np.sinh(np.sign(z0) * C * times + u0))
    np.testing.assert_allclose(path.z, want, rtol=1e-6, atol=1e-9 * abs(z0))
    np.testing.assert_allclose(np.sum(path.c**2, axis=1), np.sqrt(C**2 + 4 * want**2), rtol=1e-8)


def test_where_the_model_of_fig_1_ends() -> None:
    """theory.md B: from (1.0, -4.32) the curvature rises 1.634-fold under the flow."""
    run = tp.run("quadratic-1d", theta="1.0,-4.32", eigenvalues="1,-0.1", flow="true", steps=400)
    start, end = run.summary["curvature_start"], run.summary["curvature"]
    # theory.md gives three digits.
    assert end / start == pytest.approx(1.634, abs=1e-3)
    exact = Exact(np.array([1.0, 0.432]), np.array([1.0, -0.1]))
    root: Any = brentq(exact.z, -3, 3)
    assert end == pytest.approx(exact.T(float(root)), rel=1e-7)
    # It ends at 1.94 by its own accord: a flow has no step, and 2 is no edge for it.
    assert run.outcome == "converged" and run.phase == "sharpening"
    # The flow's loss falls: it has no edge to be thrown back from.
    assert np.all(np.diff(run.observables["loss"]) <= 1e-15)


# --- many data: the limit of gradient descent ---------------------------------------------------------------


def euler(D: int, P: int, sigma_z: float, sigma_J: float, time: float, steps: int) -> tuple[np.ndarray, np.ndarray]:
    """z and J after ``steps`` steps of gradient descent in theta, by NumPy, of total length ``time``."""
    flat, z_draw, J_draw = draws(D, P, 5, "sym1")
    Q = flat
    z0, J0 = sigma_z / D * z_draw, sigma_J / (D * P) ** 0.25 * J_draw
    phi, lr = np.zeros(P), time / steps
    for _ in range(steps):
        M = (Q @ phi).reshape(D, P)
        phi = phi - lr * (J0 + M).T @ (z0 + J0 @ phi + 0.5 * M @ phi)
    M = (Q @ phi).reshape(D, P)
    return z0 + J0 @ phi + 0.5 * M @ phi, J0 + M


def test_the_flow_is_the_limit_of_gradient_descent() -> None:
    D, P, time = 4, 6, 6.0
    path = states(quadratic(D, P, 0.6, 0.5, flow="true", seed=5), np.array([0.0, 1.0, 2.0, time]))
    errors = []
    for steps in (50, 100, 200, 400):
        z, J = euler(D, P, 0.6, 0.5, time, steps)
        errors.append(np.concatenate([z - path.z[-1], (J - path.J[-1]).ravel()]))
    size = [np.linalg.norm(e) for e in errors]
    # Euler's method is of first order: halving the step halves the error, up to the next order (0.1 at 50 steps).
    ratios = np.array(size[:-1]) / np.array(size[1:])
    assert np.all(np.abs(ratios - 2) < [0.15, 0.08, 0.04])
    # Three extrapolations cancel the first three orders; what is left is the fourth, and the solver's 1e-9 a step.
    once = [2 * b - a for a, b in pairwise(errors)]
    twice = [(4 * b - a) / 3 for a, b in pairwise(once)]
    thrice = (8 * twice[1] - twice[0]) / 7
    assert np.linalg.norm(thrice) < 1e-5 * np.linalg.norm(path.J[-1] - path.J[0])
    assert np.linalg.norm(path.z[-1]) < 0.7 * np.linalg.norm(path.z[0])


def test_lr_only_sets_the_unit_of_time() -> None:
    one = states(quadratic(4, 6, 0.4, 0.5, flow="true", seed=1), np.array([0.0, 1.0, 2.0, 5.0]))
    other = states(quadratic(4, 6, 0.4, 0.5, lr=0.01, flow="true", seed=1), np.array([0.0, 1.0, 2.0, 5.0]))
    # Two solutions with step control on differently scaled numbers: 1e-9 a step.
    np.testing.assert_allclose(0.01 * other.z, one.z, rtol=1e-6, atol=1e-10)
    np.testing.assert_allclose(0.1 * other.J, one.J, rtol=1e-6, atol=1e-10)


def test_the_cut_hierarchy_departs_at_the_second_order_in_time() -> None:
    """K3 is kept constant: its first change, of order t, enters K at t^2 and z at t^3."""
    model = quadratic(4, 6, 1.5, 0.8, flow="true", seed=3)
    cut = quadratic(4, 6, 1.5, 0.8, flow="true", truncated="true", seed=3)
    assert isinstance(cut, TangentHierarchy) and isinstance(model, QuadraticFlow)
    times = np.array([0.0, 0.02, 0.04, 0.08])
    full, (z, K) = states(model, times), states(cut, times)
    dK = np.linalg.norm(full.J @ np.swapaxes(full.J, 1, 2) - K, axis=(1, 2))
    dz = np.linalg.norm(full.z - z, axis=1)
    # Orders 2 and 3 within the next order, which is t times as large; differences are above the solver's 1e-12.
    np.testing.assert_allclose(dK[2:] / dK[1:-1], 4, rtol=0.1)
    np.testing.assert_allclose(dz[2:] / dz[1:-1], 8, rtol=0.1)
    moved = np.linalg.norm(K - K[0], axis=(1, 2))[1:]
    # K itself moves at first order, so the two agree to first order in t.
    np.testing.assert_allclose(moved[1:] / moved[:-1], 2, rtol=0.1)
    assert np.all(dK[1:] < 0.2 * moved)


def test_the_third_kernel_is_the_derivative_of_the_second() -> None:
    cut = quadratic(3, 4, 0.9, 0.7, lr=0.3, flow="true", truncated="true", seed=2)
    assert isinstance(cut, TangentHierarchy)

    @jax.jit
    def rates(cut: Any) -> Any:
        state = cut.model.init()
        velocity = cut.model.velocity(jnp.zeros(()), state)
        return jax.jvp(lambda J: J @ J.T, (state.J,), (velocity.J,))[1], cut.velocity(jnp.zeros(()), cut.init())

    want, (dz, dK) = rates(as_leaves(cut, "float64"))
    np.testing.assert_allclose(dK, want, rtol=1e-12, atol=1e-14)
    J = np.asarray(cut.model.J0())
    np.testing.assert_allclose(dz, -0.3 * J @ J.T @ np.asarray(cut.model.z0()), rtol=1e-12)


# --- where flows end ----------------------------------------------------------------------------------------


def test_a_flow_ends_when_its_speed_has_fallen_by_1e_8() -> None:
    z0, T = 0.4, 1.5
    C = np.sqrt(T**2 - 4 * z0**2)
    u0 = np.arcsinh(C / (2 * z0))

    def speed2(t: float) -> float:
        z = C / (2 * np.sinh(C * t + u0))
        T = np.sqrt(C**2 + 4 * z**2)
        return z**2 * (T**2 + T)

    at: Any = brentq(lambda t: np.log(speed2(t) / speed2(0.0) * 1e16), 1, 40)
    got = ask(Quadratic1DFlow(eps=1.0), {"z": np.array([z0, 0.01 * z0]), "T": np.array([T, T])}, 2000)
    assert np.all(got["settled"] == 1) and np.all(got["rule"] == 1)
    # The solver looks after each of its steps; at the end they are limited by stability, 3.3 / C, and a little more.
    assert at - 0.05 <= got["run_steps"][0] <= at + 4 / C
    assert got["curvature"][0] == pytest.approx(C, rel=1e-7)
    assert got["curvature_start"][0] == pytest.approx(T, rel=1e-14)


@pytest.mark.parametrize("dtype", ["float64", "float32"])
def test_a_gradient_flow_settles_wherever_it_starts(dtype: str) -> None:
    """Its loss falls: it is never bounded without settling and never divergent, at no distance from a solution."""
    size = np.logspace(-9 if dtype == "float64" else -5, 0, 6)
    z, T = (v.ravel() for v in np.meshgrid(np.r_[-size, size], np.linspace(0.3, 3.9, 5), indexing="ij"))
    got = ask(Quadratic1DFlow(eps=0.17), {"z": z, "T": T}, 2000, dtype)
    ran = got["phase"] != NOT_COMPUTED
    assert ran.sum() > 45
    labels = np.array(EDGE.labels)[got["phase"][ran]]
    assert set(labels) <= {"flat", "sharpening", "edge-of-stability"}, np.unique(labels, return_counts=True)
    # Near a solution the curvature hardly moves: |T_end - T| <= |s| |dT/ds|, and s is z / T or so.
    near = ran & (np.abs(z) < 1e-3)
    np.testing.assert_allclose(got["curvature"][near], T[near], rtol=0.05)


def test_a_flow_does_not_depend_on_its_neighbours() -> None:
    rng = np.random.default_rng(0)
    values: dict[str, Any] = {"z": rng.uniform(-1, 1, 24), "T": rng.uniform(0.0, 1.2, 24)}
    system = Quadratic1DFlow(eps=0.3)
    whole, order = ask(system, values, 2000), rng.permutation(24)[:9]
    mixed = ask(system, {k: v[order] for k, v in values.items()}, 2000)
    for name, value in whole.items():
        np.testing.assert_array_equal(value[order], mixed[name], err_msg=name)
    outside = ~Quadratic1DFlow(eps=0.3, **values).admissible()
    np.testing.assert_array_equal(whole["phase"] == NOT_COMPUTED, outside)
    assert outside.sum() > 2 and not outside.all() and np.all(np.isnan(whole["curvature"][outside]))


def test_a_flow_that_does_not_move_has_no_phase() -> None:
    still = ask(Quadratic1DFlow(eps=0.3), {"z": np.array([0.0]), "T": np.array([1.0])}, 2000)
    assert int(still["phase"][0]) == EDGE.undecided and int(still["rule"][0]) == 5


def test_sharpening_of_the_flow_grows_with_the_width_of_the_residual() -> None:
    """Fig. 13: larger sigma_z, more sharpening; sigma_z to 0, none."""
    rises = []
    for sigma_z in (1e-3, 0.3, 0.9):
        path = states(quadratic(4, 6, sigma_z, 0.5, flow="true", seed=5), np.array([0.0, 1.0, 2.0, 6.0]))
        first, last = (np.linalg.norm(path.J[k], 2) ** 2 for k in (0, -1))
        rises.append(last / first)
    assert rises[0] == pytest.approx(1, abs=0.01) and rises[0] < rises[1] < rises[2]
