"""Training on problems: thresholds of the methods, curvatures against dense matrices, and real networks at the edge."""

from __future__ import annotations

import sys
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import lax

import trainphase as tp
from trainphase import march
from trainphase._arrays import as_leaves, precision
from trainphase.systems import _training
from trainphase.systems._lanczos import TOLERANCE, lanczos_top
from trainphase.systems.mlp import mlp

SMALL: dict[str, Any] = {"n": 12, "width": 6, "depth": 1}


def linear_problem() -> tuple[tp.Problem, np.ndarray]:
    """Least squares in five parameters: the loss is quadratic; and its Hessian."""
    X = np.random.default_rng(2).normal(size=(9, 5))
    return tp.Problem(lambda p, x: x @ p, np.ones(5), (X, np.zeros(9)), reduction="mean"), X.T @ X / 9


METHODS = [(None, "polyak"), (0.7, "polyak"), (0.7, "nesterov")]


@pytest.mark.parametrize("momentum, method", METHODS)
def test_the_threshold_of_a_method_is_a_curvature_of_two(momentum: float | None, method: str) -> None:
    problem, H = linear_problem()
    unit = tp.descent(problem, 1.0, momentum, method)
    assert np.isclose(unit.sharpness(unit.init()), float(unit.rate()) * np.linalg.eigvalsh(H)[-1], rtol=1e-12)
    for factor, grows in ((0.99, False), (1.01, True)):
        system = tp.descent(problem, factor * 2 / float(unit.curvature(unit.init())), momentum, method)
        run = jax.jit(lambda n, s=system: s.loss(lax.fori_loop(0, n, lambda _, x: s.step(x), s.init())))
        early, late = run(400), run(1600)
        # The unstable mode changes by about 1 % of its threshold's slope a step: over 1200 steps by a factor of e^2 or more.
        assert (float(late) > 7 * float(early)) if grows else (float(late) < float(early) / 7)


def test_adaptive_methods_step_along_their_own_metric() -> None:
    problem = mlp(**SMALL).problem
    for name, momentum in (("adam", 0.0), ("rmsprop", None)):
        system = tp.descent(problem, 1e-2, momentum, name)
        state = system.init()
        both = jax.jit(lambda x, s=system: (s.step(x), s.place(x) - s.rate() * s.metric(x) ** 2 * problem.gradient(s.place(x))))
        for _ in range(3):
            state, expected = both(state)
            # Without momentum a step is -lr P^-1 g with the very P whose threshold is 2 / lr.
            assert np.allclose(state.theta, expected, rtol=1e-10, atol=1e-14)
    # Cohen et al. 2022: at beta1 = 0.9 the threshold is 38 / lr.
    assert np.isclose(38 / 1e-2 * float(tp.descent(problem, 1e-2, None, "adam").rate()), 2.0, rtol=1e-12)


@pytest.mark.parametrize("loss, method", [("cross-entropy", "adam")])
def test_curvatures_are_those_of_dense_matrices(loss: str, method: str) -> None:
    system = mlp(lr=0.5, loss=loss, method=method, **SMALL)
    assert not system.small
    state = system.step(system.init())
    problem, theta = system.problem, system.place(state)
    J, L, H = jax.jit(lambda t: (
        jax.jacrev(problem.outputs)(t), jax.hessian(problem.loss_of_outputs)(problem.outputs(t)), jax.hessian(problem.loss_at)(t)
    ))(theta)  # fmt: skip
    S = np.ones(theta.size) if system.metric(state) is None else np.asarray(system.metric(state))
    scale = float(system.rate())
    for got, matrix in ((system.curvature, J.T @ L @ J), (system.sharpness, H)):
        dense = scale * np.linalg.eigvalsh(S[:, None] * np.asarray(matrix) * S[None, :])[-1]
        # The iteration ends at a residual of 1e-3 of the value, which bounds the error.
        assert abs(float(jax.jit(lambda x, got=got: got(x))(state)) - dense) < TOLERANCE * dense


def test_the_iteration_finds_the_top_of_a_cluster_and_survives_what_is_not_finite() -> None:
    rng = np.random.default_rng(0)
    Q = np.linalg.qr(rng.normal(size=(200, 200)))[0]
    levels = np.concatenate([np.linspace(-3, 0.9, 198), [0.98, 1.0]])
    A = jnp.asarray((Q * levels) @ Q.T)
    found = jax.jit(lambda A: lanczos_top(lambda v: A @ v, jnp.ones(200)))
    top = found(A)
    assert float(jnp.linalg.norm(A @ top.vector - top.value * top.vector)) <= 1.01 * float(top.residual) + 1e-12
    # A residual r bounds the error by r^2 over the gap, here 0.02 beside the second value, as soon as the top is found.
    assert abs(float(top.value) - 1.0) < TOLERANCE**2 / 0.02
    # A negative value at the start is not taken for the top of rows that are not yet there.
    assert float(found(A - 0.01 * jnp.ones((200, 200))).value) > 0.5
    assert np.isnan(float(found(A * jnp.nan).value))
    assert float(found(0 * A).value) == 0.0


def test_looks_along_a_run_follow_the_curvature_from_below() -> None:
    system = mlp(lr=0.1, **SMALL)

    @jax.jit
    def run(x: jax.Array) -> Any:
        def body(_: Any, c: Any) -> Any:
            return system.observed_step(c[0], c[3], True)

        x, _, _, memory = lax.fori_loop(0, 100, body, (x, *[jnp.zeros(())] * 2, system.memory()))
        return x, system.observed_step(x, memory, True), system.loss(x), system.step(x), system.curvature(x)

    _, (new, loss, curvature, _), exact_loss, step, exact = run(system.init())
    assert np.isclose(loss, exact_loss, rtol=1e-13)
    assert np.allclose(new, step, rtol=1e-13)
    # A Ritz value: never above, and of second order in how far the mode has turned in two steps; the exact one has 1e-3.
    assert float(exact) * (1 - 2e-3) < float(curvature) < float(exact) * (1 + TOLERANCE)


def test_runs_side_by_side_and_one_after_the_other_are_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    lr: Any = np.array([0.02, 0.05, 3.0])
    got = []
    for most in (1e9, 0.0):
        monkeypatch.setattr(_training, "IN_TURN", most)
        jax.clear_caches()
        with precision("float64"):
            got.append(march.march(as_leaves(mlp(lr=lr, n=8, depth=0), "float64"), ("lr",), 3, 400))
    side, turn = got
    assert list(side["status"]) == list(turn["status"])
    assert turn["status"][2] == march.ESCAPED
    for name in ("curvature", "curvature_start", "loss", "curvature_mean"):
        # Sums in another order, in runs that do not amplify it.
        np.testing.assert_allclose(side[name][:2], turn[name][:2], rtol=1e-9)


def test_a_real_network_sharpens_to_the_edge_and_stays_there() -> None:
    d = tp.diagram("mlp", lr=tp.values([0.04, 0.2, 3.0]), n=64, width=16, steps=2000)
    assert list(d.dataset["phase"].values) == [tp.EDGE.index(p) for p in ("flat", "edge-of-stability", "divergent")]
    # Hovering, not settled: the largest and the mean curvature of the last quarter are at 2 within 2 %.
    at_edge = d.dataset.isel(lr=1)
    assert int(at_edge["increases"]) > 20
    assert abs(float(at_edge["curvature_mean"]) - 2) < 0.04


def test_any_optimiser_of_optax_trains_a_problem() -> None:
    import optax

    problem = mlp(**SMALL).problem
    system = tp.descent(problem, 1e-2, method=lambda lr: optax.chain(optax.clip(1.0), optax.sgd(lr, 0.5)))
    assert not hasattr(system, "curvature")
    state, other = system.init(), tp.descent(problem, 1e-2, 0.5)
    same = other.init()
    both = jax.jit(lambda x, y: (system.step(x), other.step(y)))
    for _ in range(5):
        state, same = both(state, same)
    # Gradients are far below 1, so nothing is clipped, and optax's momentum is Polyak's.
    assert np.allclose(state.theta, same.theta, rtol=1e-12)
    adam = tp.descent(problem, 1e-2, method=optax.adam)
    start = adam.init()
    v = jax.tree.map(lambda leaf: jnp.zeros(jnp.shape(leaf)), start)._replace(theta=jnp.ones(problem.size))
    new, change = jax.jit(adam.tangent.__func__)(adam, start, v)
    assert jax.tree.structure(new) == jax.tree.structure(start)
    step = jax.jit(lambda shift: adam.step(start._replace(theta=start.theta + shift)).theta)
    # A difference quotient along the same direction has an error of second order in its length.
    assert np.allclose(change.theta, (step(1e-5) - step(-1e-5)) / 2e-5, rtol=1e-4, atol=1e-4)


def test_wrong_requests(monkeypatch: pytest.MonkeyPatch) -> None:
    problem, _ = linear_problem()
    wrong: list[tuple[dict[str, Any], str]] = [
        ({"method": "newton"}, "method = 'newton'"), ({"method": "adam", "momentum": 1.0}, "momentum = 1"),
        ({"momentum": -0.1}, "momentum = -0.1"), ({"lr": 0.0}, "lr = 0"), ({"method": lambda lr: lr}, "no optax"),
        ({"method": "rmsprop", "momentum": 0.5}, "rmsprop has no momentum"),
    ]  # fmt: skip
    for given, words in wrong:
        with pytest.raises(tp.RequestError, match=words):
            tp.descent(problem, **given).check()
    monkeypatch.setitem(sys.modules, "optax", None)
    with pytest.raises(tp.RequestError, match=r"pip install 'trainphase\[optax\]'"):
        tp.descent(problem, method="adam")
