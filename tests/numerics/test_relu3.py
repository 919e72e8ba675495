"""Solver of the three-layer net against diffrax, plain Euler, the linear theory, and itself at finer tolerance."""

from __future__ import annotations

import math
from typing import Any

import diffrax
import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from trainphase.relu import three_layer
from trainphase.relu.three_layer import LAYERS, _Control, flow3, slopes3
from trainphase.systems.relu3 import ReLU3, relu3

X = np.array([-0.5, -1 / 6, 1 / 6, 0.5])
Y = X**2


def euler(system: ReLU3, end: float, steps: int) -> np.ndarray:
    """Relative distances after plain Euler steps of equal length."""

    @jax.jit
    def run(s: ReLU3) -> jax.Array:
        def one(_: jax.Array, state):
            return jax.tree.map(lambda w, v: w + end / steps * v, state, s.velocity(jnp.zeros(()), state))

        return s.relative_distances(jax.lax.fori_loop(0, steps, one, s.init()))

    return np.asarray(run(system))


@jax.jit
def runge_kutta(system: ReLU3, times: jax.Array) -> tuple[jax.Array, jax.Array, jax.Array]:
    """Relative distances and mean(e^2) at the times by an adaptive method of fifth order, and the drift of what is conserved."""
    term = diffrax.ODETerm(lambda t, y, args: system.velocity(jnp.asarray(t), y))
    solution = diffrax.diffeqsolve(
        term, diffrax.Tsit5(), 0.0, times[-1], None, system.init(),
        saveat=diffrax.SaveAt(ts=times), stepsize_controller=diffrax.PIDController(rtol=1e-7, atol=1e-9), max_steps=4000,
    )  # fmt: skip
    states: Any = solution.ys
    drift = [jnp.max(jnp.abs(q - q[:1])) / jnp.max(jnp.abs(q[0])) for q in jax.vmap(system.conserved)(states)]
    return jax.vmap(system.relative_distances)(states), 2 * jax.vmap(system.loss)(states), jnp.stack(drift)


@pytest.mark.parametrize(
    ("gamma3", "gamma2", "antisymmetric", "seed", "part"),
    [(0.5, 0.0, False, 1, 1.0), (1.0, 0.0, True, 0, 0.1), (1.5, 0.0, True, 0, 0.06), (2.5, 0.3, False, 2, 0.03)],
)
def test_solver_follows_the_adaptive_runge_kutta_solution(
    gamma3: float, gamma2: float, antisymmetric: bool, seed: int, part: float
) -> None:
    # Over the first part of a run. Later some neurons slide: they switch to and fro on a datum, and the steps of a
    # method of high order shrink without end; there plain Euler is the oracle.
    system = relu3(20, X, Y, gamma3=gamma3, gamma2=gamma2, seed=seed, antisymmetric=antisymmetric)
    run = flow3(system, tolerance=0.005)
    assert run.outcome == "converged" and 0.8e-6 < run.loss <= 1e-6  # it ends at the target, and not somewhere below
    at = int(part * run.steps)
    distances, losses, drift = (np.asarray(v) for v in runge_kutta(system, jnp.asarray([0.0, run.times[at]])))
    # A tenth of the tolerance is usual; twenty neurons switch one by one, so the tolerance itself is asked.
    np.testing.assert_allclose(run.distances[at], distances[1], rtol=0.005)
    np.testing.assert_allclose(run.losses[at], losses[1], rtol=0.01)
    assert np.all(drift < 1e-5)  # the oracle keeps what the flow conserves: its tolerance over some hundred steps


@pytest.mark.parametrize(("gamma3", "gamma2", "seed"), [(2.0, -0.2, 1), (2.5, 0.3, 2)])
def test_solver_agrees_with_small_steps_of_euler(gamma3: float, gamma2: float, seed: int) -> None:
    system = relu3(20, X, Y, gamma3=gamma3, gamma2=gamma2, seed=seed)
    run = flow3(system, tolerance=0.01)
    # Euler's error is of first order in its steps, here some 1e-3; the solver's a tenth of its tolerance.
    np.testing.assert_allclose(run.distances[-1], euler(system, run.time, 20_000), rtol=0.005)


def test_a_kernel_machine_takes_few_steps_and_moves_as_linear_theory_says() -> None:
    # With alpha -> 0 the weights hardly move: V - V(0) = r J^T (J r J^T)^-1 y / kappa, whatever the stiffness.
    system = relu3(20, X, Y, scales=(1.0, 1.0, 1.0, 1e-4), antisymmetric=True)
    run = flow3(system, 1e-18)
    assert run.outcome == "converged" and run.steps <= 12
    start = system.init()
    J = jax.jit(jax.jacobian(lambda s: system.residual(s)))(start)  # includes kappa
    flat = [np.asarray(j).reshape(4, -1) for j in J]
    rates = np.asarray(system.rates)
    dual = np.linalg.solve(sum(r * j @ j.T for r, j in zip(rates, flat, strict=True)), Y)
    for layer, (r, j) in enumerate(zip(rates, J, strict=True)):
        change = r * np.tensordot(dual, np.asarray(j)[:, 0], 1)
        want = np.linalg.norm(change) / np.linalg.norm(np.asarray(start[layer][0]))
        # Corrections of second order in the change, which is 1e-5; the target leaves 1e-8 of the residual.
        np.testing.assert_allclose(run.distances[-1][layer], want, rtol=1e-3)
        assert want < 1e-4


def test_units_and_tiny_scales_do_not_matter() -> None:
    m, g3, g2 = 20, 2.0, 0.3
    b3 = 1e-60  # its cube over alpha is nothing that a product in double precision could hold
    by_gamma = flow3(relu3(m, X, Y, gamma3=g3, gamma2=g2))
    scales = (b3 * m**g2, b3, b3, b3**3 * m ** (g2 + g3))
    by_scale = flow3(relu3(m, X, Y, scales=scales))
    # Rounding of the logarithms of the scales, some 1e-13; neurons that switch make of it some 1e-5.
    np.testing.assert_allclose(list(by_scale.distance.values()), list(by_gamma.distance.values()), rtol=1e-3)


def test_single_precision_of_the_start_loses_no_small_change() -> None:
    system = relu3(20, X, Y, gamma3=0.2, gamma2=0.8, seed=4, w2_dtype="float32")
    double = eqx.tree_at(lambda s: s.W2, system, np.asarray(system.W2, np.float64))
    one, two = flow3(system), flow3(double)
    assert one.distance["W1"] < 2e-3
    np.testing.assert_allclose(list(one.distance.values()), list(two.distance.values()), rtol=1e-9)  # rounding, grown


def test_check_reports_the_finer_run_and_its_difference() -> None:
    system = relu3(20, X, Y, gamma3=2.0, gamma2=0.0, seed=1)
    coarse, fine = flow3(system, tolerance=0.1), flow3(system, tolerance=0.025)
    checked = flow3(system, tolerance=0.1, check=True)
    assert checked.distance == fine.distance and checked.steps == fine.steps
    assert checked.uncertainty == {k: abs(coarse.distance[k] - fine.distance[k]) for k in LAYERS}
    truth = flow3(system, tolerance=0.004).distance
    for layer in LAYERS:
        # Three times: the error falls at least as the tolerance does, so the finer run is off by a third of the difference.
        assert abs(fine.distance[layer] - truth[layer]) <= 3 * checked.uncertainty[layer] + 1e-3 * truth[layer]


def test_columns_of_the_change_are_shortened_along_a_long_run() -> None:
    # 256 columns hold 64 steps on four data: this run shortens them several times.
    system = relu3(20, X, Y, gamma3=2.0, gamma2=0.0, seed=1)
    run = flow3(system, tolerance=0.01, operator_norm=True)
    assert run.steps > 150
    assert 0 < run.distance_operator <= run.distance["W2"] * math.sqrt(20)
    np.testing.assert_allclose(run.distances[-1], euler(system, run.time, 20_000), rtol=0.01)  # the tolerance


@pytest.mark.parametrize(("gamma3", "antisymmetric", "dtype"), [(1.0, True, "float64"), (2.0, False, "float32")])
def test_weights_at_the_end_are_those_of_the_run(gamma3: float, antisymmetric: bool, dtype: str) -> None:
    system = relu3(30, X, Y, gamma3=gamma3, gamma2=0.0, seed=3, antisymmetric=antisymmetric, w2_dtype=dtype)
    run = flow3(system, weights=True, tolerance=0.02)
    assert run.steps > 64 and run.weights is not None  # more than 256 columns: the change of W2 has been shortened
    # What the run says of itself comes from pre-activations carried along and from norms of factors. Sums of 30 and 900 terms;
    # 1e-10 of the change of W2 is dropped at each shortening.
    np.testing.assert_allclose(system.outputs(run.weights, system.X), run.predictions, rtol=1e-8)
    np.testing.assert_allclose(system.relative_distances(run.weights), run.distances[-1], rtol=1e-8)
    assert flow3(system, max_steps=1).weights is None
    # With a check, those of the finer run.
    checked = flow3(system, check=True, weights=True, max_steps=3)
    assert checked.weights is not None
    np.testing.assert_allclose(system.relative_distances(checked.weights), checked.distances[-1], rtol=1e-8)


def test_outcomes_are_told_apart() -> None:
    system = relu3(20, X, Y, gamma3=1.5, gamma2=0.0)
    seen: list[int] = []
    assert flow3(system, max_steps=3, progress=lambda steps, s, loss: seen.append(steps)).outcome == "step-limit"
    assert seen == [1, 2, 3]
    limited = flow3(system, max_time=0.01)
    assert limited.outcome == "time-limit" and limited.time == pytest.approx(0.01)
    assert flow3(system, 1e6).outcome == "converged" and flow3(system, 1e6).steps == 0
    dead = eqx.tree_at(lambda s: s.W2, system, -np.abs(np.asarray(system.W2)))
    assert flow3(dead).outcome == "at-rest"
    # A target below what double precision resolves.
    assert flow3(relu3(20, X, Y, scales=(1.0, 1.0, 1.0, 1e-6), antisymmetric=True), 1e-30, max_steps=500).outcome == "stalled"
    # No weights fit two targets at one input: the mean is learnt, and then nothing moves, but for rounding of large terms.
    apart = relu3(20, np.array([0.5, 0.5]), np.array([0.0, 1.0]), scales=(1.0, 1.0, 1.0, 1e-4))
    run = flow3(apart)
    assert run.outcome == "at-rest"
    np.testing.assert_allclose(run.predictions, 0.5, atol=1e-6)


def test_a_net_held_at_a_saddle_point_by_sliding_neurons_is_at_rest(monkeypatch: pytest.MonkeyPatch) -> None:
    # Condensed on one direction it fits the mean of the targets. Kinks that sit on data keep its steps short for ever.
    system = relu3(100, X, Y, gamma3=4.0, gamma2=-0.5, seed=0)
    run = flow3(system, max_steps=1000)
    assert run.outcome == "at-rest" and run.steps < 400
    np.testing.assert_allclose(run.predictions, Y.mean(), rtol=1e-6)
    # It is so: twice as many steps lead nowhere, and grow no longer.
    monkeypatch.setattr(three_layer, "REST", 10_000)
    on = flow3(system, max_steps=2 * run.steps)
    assert on.outcome == "step-limit" and on.time > 1.5 * run.time
    np.testing.assert_allclose(on.distances[-1], run.distances[-1], rtol=1e-9)


def test_rest_is_told_from_slow_motion() -> None:
    def ends(losses: np.ndarray, distances: np.ndarray, length: float) -> str:
        control = _Control(tolerance=0.1, max_steps=10_000, max_time=np.inf, h=length)
        outcome, before = "", float(losses[0])
        for loss, distance in zip(losses.tolist(), distances.tolist(), strict=True):
            control.steps, control.s = control.steps + 1, control.s + length
            outcome = control.outcome(before, loss, np.full(3, distance), 1e-15, 1e-6)
            before = loss
            if outcome:
                break
        return outcome

    k, same = np.arange(400.0), np.ones(400)
    assert ends(same, same, 1.0) == "at-rest"
    # The loss falls, or a weight moves, by 1e-7 over the last 300 steps: less than 1e-9 a step.
    assert ends(1 - 3e-10 * k, same, 1.0) == ""
    assert ends(same, 1 + 3e-10 * k, 1.0) == ""
    # A weight that leaves a saddle point, e-fold in thirty steps, from 1e-10 of the whole: seen after seventy.
    assert ends(same, 1 + 1e-10 * np.exp(k / 30), 1.0) == ""


def test_slopes_over_widths_have_errors_from_seeds() -> None:
    widths, seeds = (20, 70), (0, 1)
    got = slopes3(3.0, 0.0, X, Y, widths=widths, seeds=seeds)
    for k, layer in enumerate(LAYERS):
        each = [np.polyfit(np.log(widths), np.log(got.distance[i, :, k]), 1)[0] for i in range(2)]
        assert got.slope[layer] == pytest.approx(np.mean(each))
        assert got.error[layer] == pytest.approx(abs(each[0] - each[1]) / 2)
    # Theory at large width: W1 1/2, W2 0, a 1/2. At these widths half of it tells condensed from linear.
    assert got.slope["W1"] > 0.25 and abs(got.slope["W2"]) < 0.25
    assert math.isnan(slopes3(3.0, 0.0, X, Y, widths=widths, seeds=(0,)).error["a"])
