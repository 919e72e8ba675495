"""Problems: losses against independent formulas, their second derivatives, parts that add up, and wrong requests."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import trainphase as tp

RNG = np.random.default_rng(11)
X, LABELS = RNG.normal(size=(6, 3)), np.array([0, 3, 1, 1, 2, 0])
PARAMS = {"a": RNG.normal(size=(3, 5)), "b": RNG.normal(size=(5, 4))}
# Some dozens of operations on numbers of order one.
ROUNDING: dict[str, Any] = {"rtol": 1e-12, "atol": 1e-13}


def net(params: Any, x: Any) -> jax.Array:
    """Two layers, four outputs."""
    return jnp.tanh(x @ params["a"]) @ params["b"]


def outputs(params: Any = PARAMS) -> np.ndarray:
    return np.tanh(X @ params["a"]) @ params["b"]


@pytest.mark.parametrize("reduction, weight", [("sum", 1.0), ("mean", 1 / 6)])
def test_losses_are_those_of_the_textbook(reduction: str, weight: float) -> None:
    f = outputs()
    y = RNG.normal(size=f.shape)
    squared = tp.Problem(net, PARAMS, (X, y), reduction=reduction)
    assert np.isclose(squared.loss_at(squared.flat()), weight * 0.5 * np.sum((f - y) ** 2), **ROUNDING)
    entropy = tp.Problem(net, PARAMS, (X, LABELS), loss="cross-entropy", reduction=reduction)
    p = np.exp(f) / np.exp(f).sum(1, keepdims=True)
    assert np.isclose(entropy.loss_at(entropy.flat()), -weight * np.sum(np.log(p[np.arange(6), LABELS])), **ROUNDING)
    rows = tp.Problem(net, PARAMS, (X, np.eye(4)[LABELS]), loss="cross-entropy", reduction=reduction)
    assert float(rows.loss_at(rows.flat())) == float(entropy.loss_at(entropy.flat()))


@pytest.mark.parametrize("loss", ["squared", "cross-entropy"])
def test_gradient_and_root_are_derivatives_of_the_loss(loss: str) -> None:
    y = LABELS if loss == "cross-entropy" else RNG.normal(size=(6, 4))
    problem = tp.Problem(net, PARAMS, (X, y), loss, "mean")

    @jax.jit
    def measured(theta: jax.Array) -> Any:
        f, unit = problem.outputs(theta), jnp.eye(problem.outputs_size)
        R = jax.vmap(lambda v: problem.root(f, v), out_axes=1)(unit)
        transpose = jax.vmap(lambda v: problem.root_transpose(f, v), out_axes=1)(unit)
        pulled = problem.weight * problem.residual(theta) @ jax.jacrev(problem.outputs)(theta)
        return R, transpose, jax.hessian(problem.loss_of_outputs)(f), problem.gradient(theta), pulled

    R, transpose, hessian, gradient, pulled = measured(problem.flat())
    assert np.allclose(gradient, pulled, **ROUNDING)
    assert np.allclose(transpose, R.T, **ROUNDING)
    assert np.allclose(R.T @ R, hessian, **ROUNDING)


def test_parts_add_up_and_parameters_come_back() -> None:
    problem = tp.Problem(net, PARAMS, (X, LABELS), "cross-entropy", "mean")
    theta = problem.flat() + 0.1
    parts = [problem.rows(0, 2), problem.rows(2, 6)]
    assert np.isclose(sum(float(p.loss_at(theta)) for p in parts), problem.loss_at(theta), **ROUNDING)
    assert np.allclose(problem.restore(theta)["b"], PARAMS["b"] + 0.1, **ROUNDING)
    assert problem.restore(theta.astype(jnp.float32))["a"].dtype == jnp.float32
    with pytest.raises(tp.RequestError, match="samples first"):
        tp.Problem(lambda p, x: net(p, x[0]), PARAMS, ((X, np.ones(2)), np.zeros((6, 4)))).rows(0, 2)


def test_problems_of_one_shape_share_compiled_code() -> None:
    traced = []

    @jax.jit
    def loss(problem: tp.Problem, theta: jax.Array) -> jax.Array:
        traced.append(1)
        return problem.loss_at(theta)

    for shift in (0.0, 1.0):
        problem = tp.Problem(net, PARAMS, (X + shift, np.zeros((6, 4))))
        assert np.isfinite(loss(problem, problem.flat()))
    assert len(traced) == 1


@pytest.mark.parametrize(
    "changes, words",
    [
        ({"loss": "hinge"}, "give squared or cross-entropy"),
        ({"reduction": "max"}, "give sum or mean"),
        ({"params": {"a": np.ones((3, 5), int), "b": PARAMS["b"]}}, "array of int64"),
        ({"params": {"a": PARAMS["a"] * np.nan, "b": PARAMS["b"]}}, "not finite"),
        ({"params": {}}, "no parameters"),
        ({"data": (X, np.zeros((6, 4), int))}, "squared loss are int64"),
        ({"data": (X, np.zeros((6, 3)))}, r"outputs have shape \(6, 4\) and the targets \(6, 3\)"),
        ({"data": (X[:0], np.zeros((0, 4)))}, "batch is empty"),
        ({"data": (X, np.full((6, 4), np.inf))}, "targets hold a number that is not finite"),
        ({"data": (X * np.nan, np.zeros((6, 4)))}, "inputs hold a number that is not finite"),
        ({"data": X}, "no pair"),
        ({"data": (X, LABELS + 1), "loss": "cross-entropy"}, "label 4 is out of range"),
        ({"data": (X, LABELS * 1.0), "loss": "cross-entropy"}, "labels are float64"),
        ({"data": (X, np.ones((6, 4))), "loss": "cross-entropy"}, "set of probabilities"),
        ({"data": (X, LABELS[:5]), "loss": "cross-entropy"}, r"give labels of shape \(6,\)"),
    ],
)
def test_wrong_requests(changes: dict[str, Any], words: str) -> None:
    fn = net if changes.get("params") != {} else lambda p, x: x
    given: dict[str, Any] = {"fn": fn, "params": PARAMS, "data": (X, np.zeros((6, 4)))}
    with pytest.raises(tp.RequestError, match=words):
        tp.Problem(**(given | changes))
