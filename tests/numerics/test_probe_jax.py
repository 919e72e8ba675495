"""The probe for JAX: against dense linear algebra, along real runs, and what it refuses."""

from __future__ import annotations

from typing import Any, cast

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from jax.flatten_util import ravel_pytree
from probe_runs import catapult_problem, tanh_problem

import trainphase as tp
from trainphase.errors import RequestError
from trainphase.probe.jax_probe import _regime
from trainphase.probe.recorder import minibatches

PROBLEM = tanh_problem()
BATCH = (PROBLEM.inputs, PROBLEM.targets)


def loss_of(params, batch):
    return 0.5 * jnp.sum((PROBLEM.fn(params, batch[0]) - batch[1]) ** 2) / batch[1].shape[0]


def dense(params, metric=None) -> np.ndarray:
    """Eigenvalues of S H S, ascending."""
    theta, restore = ravel_pytree(params)
    h = np.asarray(jax.jit(jax.hessian(lambda t: loss_of(restore(t), BATCH)))(theta))
    return np.linalg.eigvalsh(h if metric is None else metric[:, None] * h * metric[None, :])


def trained(optimiser, watch, steps: int, **more):
    """A loop as users write it."""
    params = jax.tree.map(jnp.asarray, PROBLEM.params)
    opt_state = optimiser.init(params)
    state = watch.init(params)

    @jax.jit
    def step(params, opt_state):
        value, slope = jax.value_and_grad(loss_of)(params, BATCH)
        change, opt_state = optimiser.update(slope, opt_state, params)
        return optax.apply_updates(params, change), opt_state, value

    for _ in range(steps):
        params, opt_state, value = step(params, opt_state)
        state = watch.update(state, params, loss=value, opt_state=opt_state)
    return state, params, opt_state


def test_a_taylor_model_is_watched_and_not_the_model_that_it_expands() -> None:
    expansion = tp.taylor(PROBLEM, order=2).problem
    away = expansion.restore(jnp.asarray(np.random.default_rng(0).normal(0, 0.3, expansion.size)))
    state = tp.watch(expansion, every=1, budget=None, lr=0.05, tol=1e-8).init(away)
    theta = ravel_pytree(away)[0]
    top = np.linalg.eigvalsh(np.asarray(jax.jit(jax.hessian(expansion.loss_at))(theta)))[-1]
    assert state.recorder.rows["probe_loss"] == [pytest.approx(float(expansion.loss_at(theta)), rel=1e-12)]
    # The tolerance asked for.
    assert state.recorder.rows["sharpness"] == [pytest.approx(top, rel=1e-8)]


@pytest.mark.parametrize("reduction", ["mean", "sum"])
@pytest.mark.parametrize("order", [None, 2])
def test_the_minibatches_of_a_problem_are_those_of_its_own_kind_of_model(order: int | None, reduction: str) -> None:
    def model(rows: slice | np.ndarray) -> tp.Problem:
        data = (PROBLEM.inputs[rows], PROBLEM.targets[rows])
        problem = tp.Problem(PROBLEM.fn, PROBLEM.params, data, PROBLEM.loss, reduction)
        return problem if order is None else tp.taylor(problem, order=order).problem

    whole, half = model(slice(None)), PROBLEM.samples // 2
    params = whole.restore(whole.flat() + jnp.asarray(np.random.default_rng(0).normal(0, 0.2, whole.size)))
    state = tp.watch(whole, None, ("batch_sharpness",), every=1, budget=None, lr=0.05, minibatch=half).init(params)
    theta, found = ravel_pytree(params)[0], []
    for rows in minibatches(whole.samples, half, 0):
        hessian, slope = (np.asarray(jax.jit(f(model(rows).loss_at))(theta)) for f in (jax.hessian, jax.grad))
        found.append(slope @ hessian @ slope / (slope @ slope))
    assert len(found) == 2
    # Rounding, of sums in another order.
    assert state.recorder.rows["batch_sharpness"] == [pytest.approx(np.mean(found), rel=1e-9)]


def test_sharpness_and_the_next_eigenvalue_are_those_of_the_dense_matrix() -> None:
    names = ("sharpness", "second", "gradient_norm", "batch_sharpness")
    watch = tp.watch(loss_of, BATCH, names, every=20, budget=None, lr=0.05, tol=1e-8, minibatch=24)
    state, params, _ = trained(optax.sgd(0.05), watch, 60)
    rows, values = state.recorder.rows, dense(params)
    assert rows["step"] == [0, 20, 40, 60]
    # The tolerance asked for, 1e-8 of the top; the second is as good, since it must converge too.
    assert rows["sharpness"][-1] == pytest.approx(values[-1], rel=1e-8)
    assert rows["second"][-1] == pytest.approx(values[-2], abs=1e-8 * values[-1])
    theta, restore = ravel_pytree(params)
    gradient = jax.jit(jax.grad(lambda t: loss_of(restore(t), BATCH)))
    slope = gradient(theta)
    assert rows["gradient_norm"][-1] == pytest.approx(float(jnp.linalg.norm(slope)), rel=1e-10)  # rounding
    # One minibatch that is the whole probe batch: g.Hg / g.g exactly.
    along = jax.jvp(gradient, (theta,), (slope,))[1]
    assert rows["batch_sharpness"][-1] == pytest.approx(float(slope @ along / (slope @ slope)), rel=1e-10)  # rounding


def test_a_problem_and_a_loss_of_ones_own_are_the_same() -> None:
    options = {"every": 10, "budget": None, "lr": 0.05, "tol": 1e-8}
    a, _, _ = trained(optax.sgd(0.05), tp.watch(loss_of, BATCH, **options), 10)
    b, _, _ = trained(optax.sgd(0.05), tp.watch(PROBLEM, **options), 10)
    np.testing.assert_allclose(a.recorder.rows["sharpness"], b.recorder.rows["sharpness"], rtol=2e-8)  # both tolerances


@pytest.mark.parametrize("name", ["adam", "rmsprop"])
def test_adaptive_methods_are_measured_in_their_metric(name: str) -> None:
    lr = 1e-2
    optimiser = optax.inject_hyperparams(getattr(optax, name))(learning_rate=lr)
    watch = tp.watch(loss_of, BATCH, every=15, budget=None, method=name, tol=1e-8)
    params = jax.tree.map(jnp.asarray, PROBLEM.params)
    opt_state = optimiser.init(params)
    state = watch.init(params, opt_state)

    @jax.jit
    def step(params, opt_state):
        value, slope = jax.value_and_grad(loss_of)(params, BATCH)
        change, opt_state = optimiser.update(slope, opt_state, params)
        return optax.apply_updates(params, change), opt_state, value

    for _ in range(30):
        params, opt_state, value = step(params, opt_state)
        state = watch.update(state, params, value, opt_state=opt_state)
    inner = next(s for s in cast(Any, opt_state).inner_state if hasattr(s, "nu"))
    nu = np.asarray(ravel_pytree(inner.nu)[0])
    p = np.sqrt(nu / (1 - 0.999**30)) + 1e-8 if name == "adam" else np.sqrt(nu + 1e-8)
    rows = state.recorder.rows
    assert rows["sharpness"][-1] == pytest.approx(dense(params, p**-0.5)[-1], rel=1e-8)  # the tolerance asked for
    assert rows["threshold"][-1] == pytest.approx((38 if name == "adam" else 2) / lr, rel=1e-12)
    assert state.report().kind == "preconditioned sharpness"


def test_three_runs_are_read_for_what_they_are() -> None:
    problem = catapult_problem()
    top = tp.diagnose(problem, lr=1e-3, steps=1, show=False).sharpness
    stable = tp.diagnose(problem, lr=0.3 / top, steps=200, show=False)
    assert (stable.phase, stable.training, len(stable.reading.catapults)) == ("flat", "monotonic", 0)
    # Linear nets are stable up to 4 / lambda: in between they catapult to a flatter place (Lewkowycz et al. 2020).
    catapult = tp.diagnose(problem, lr=2.6 / top, steps=200, show=False)
    assert catapult.training == "catapult" and len(catapult.reading.catapults) == 1
    assert catapult.ratio < 1 < catapult.run.sharpness[0] / catapult.run.threshold[0]
    digits = tp.systems.mlp(n=64, width=16, lr=0.1).problem
    edge = tp.diagnose(digits, lr=0.15, steps=600, show=False)
    assert edge.phase == "edge-of-stability"
    assert edge.ratio == pytest.approx(1.0, abs=0.1)  # the band of the vocabulary
    assert edge.largest_lr == pytest.approx(0.15 / edge.ratio, rel=1e-12)


def test_momentum_and_adam_use_their_own_thresholds() -> None:
    for options, times in (({"momentum": 0.9}, 3.8), ({"method": "adam"}, 38.0)):
        found = tp.diagnose(PROBLEM, lr=1e-3, steps=2, show=False, **options)
        assert found.threshold * found.lr == pytest.approx(times, rel=1e-6), options  # lr may be single precision inside


def test_a_loss_that_is_not_finite_is_divergence_with_its_step() -> None:
    watch = tp.watch(PROBLEM, every=10, budget=None, lr=0.1)
    state = watch.init(PROBLEM.params)
    for k in range(50):
        state = watch.update(state, PROBLEM.params, loss=jnp.nan if k == 37 else 1.0)
    found = tp.diagnose(state, show=False)
    assert (found.phase, found.reading.diverged_at) == ("divergent", 37)


@jax.custom_jvp
def _odd(x):
    return jnp.sin(x)


@_odd.defjvp
def _odd_jvp(primals, tangents):
    # The first derivative is right; the second is lost.
    return jnp.sin(primals[0]), jax.lax.stop_gradient(jnp.cos(primals[0])) * tangents[0]


def test_the_user_is_told_of_wrong_second_derivatives() -> None:
    watch = tp.watch(lambda p, b: jnp.sum(_odd(p * b)), jnp.linspace(1, 2, 8), lr=0.1, budget=None)
    with pytest.warns(RuntimeWarning, match="finite difference"):
        state = watch.init(jnp.linspace(0.5, 1, 8))
    assert any("finite difference" in note for note in state.report().notes)


@pytest.mark.parametrize(
    ("make", "match"),
    [
        (lambda: tp.watch(loss_of, (np.zeros((0, 5)), np.zeros((0, 2))), lr=0.1), "empty"),
        (lambda: tp.watch(loss_of, lr=0.1), "no probe batch"),
        (lambda: tp.watch(PROBLEM, BATCH, lr=0.1), "data of its own|own data"),
        (lambda: tp.watch(cast(Any, 3), BATCH, lr=0.1), "neither a loss nor a Problem"),
        (lambda: tp.watch(loss_of, BATCH, lr=0.1, method="lion"), "no known threshold"),
        (lambda: tp.watch(loss_of, BATCH, lr=-1.0), "positive step size"),
        (lambda: tp.watch(lambda p, b: b[0], BATCH, lr=0.1).init(PROBLEM.params), "must be one float"),
        (lambda: tp.watch(loss_of, BATCH, lr=0.1).init([1, 2]), "no array of floats"),
        (lambda: tp.watch(loss_of, (np.zeros((3, 4)), BATCH[1][:3]), lr=0.1).init(PROBLEM.params), "fails on the probe batch"),
        (lambda: tp.diagnose(PROBLEM), "lr is missing"),
        (lambda: tp.diagnose(PROBLEM, lr=0.1, colour=1), "no option"),
    ],
)
def test_what_is_refused(make, match: str) -> None:
    with pytest.raises(RequestError, match=match) as caught:
        make()
    assert "\n" not in str(caught.value)


def test_an_update_inside_jit_is_refused() -> None:
    watch = tp.watch(PROBLEM, lr=0.1, budget=None)
    state = watch.init(PROBLEM.params)
    with pytest.raises(RequestError, match="inside jit"):
        jax.jit(lambda p: watch.update(state, p, loss=0.0) and p)(PROBLEM.params)


def test_adam_without_its_state_is_told() -> None:
    watch = tp.watch(PROBLEM, lr=0.1, method="adam", every=1, budget=None)
    state = watch.init(PROBLEM.params)
    with pytest.raises(RequestError, match="opt_state=opt_state"):
        watch.update(state, PROBLEM.params, loss=1.0)


def test_the_regime_of_the_initialisation() -> None:
    rng = np.random.default_rng(0)
    params = [rng.normal(size=(5, 64)), rng.normal(size=(64, 1))]
    relu = tp.Problem(_relu_net, params, (rng.normal(size=(8, 5)), rng.normal(size=(8, 1))))
    words, place = _regime(relu, relu.params)
    assert words == f"{place.regime}, if its activation is a ReLU" and place.width == 64
    assert _regime(tp.systems.mlp(n=32).problem, relu.params) == ("not a 2- or 3-layer ReLU network", None)
    assert _regime(relu, relu.params[:1])[1] is None


def _relu_net(params, x):
    return jax.nn.relu(x @ params[0]) @ params[1]
