"""Operators of a network - Hessian, Gauss-Newton, kernel, projected second derivative, preconditioned - against dense ones."""

from __future__ import annotations

import itertools
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from trainphase.errors import RequestError
from trainphase.problem import Problem
from trainphase.spectrum import _linear, operators
from trainphase.spectrum.checks import compare
from trainphase.spectrum.krylov import top


def network(params: list[tuple[jax.Array, jax.Array]], x: jax.Array) -> jax.Array:
    for w, b in params[:-1]:
        x = jnp.tanh(x @ w + b[None])
    w, b = params[-1]
    return x @ w + b[None]


def problem(loss: str, reduction: str, rows: int = 11, sizes: tuple[int, ...] = (4, 5, 3)) -> Problem:
    rng = np.random.default_rng(3)
    params = [(rng.standard_normal((a, b)) / np.sqrt(a), 0.1 * rng.standard_normal(b)) for a, b in itertools.pairwise(sizes)]
    x = rng.standard_normal((rows, sizes[0]))
    y = rng.standard_normal((rows, sizes[-1])) if loss == "squared" else rng.integers(0, sizes[-1], rows)
    return Problem(network, params, (x, y), loss=loss, reduction=reduction)


def dense(given: Problem, theta: jax.Array) -> dict[str, np.ndarray]:
    """All operators as matrices, by derivatives of whole functions."""
    n, f = len(given.targets), given.outputs

    def loss(outputs: jax.Array) -> jax.Array:
        if given.loss == "squared":
            return 0.5 * jnp.sum((outputs - given.targets.ravel()) ** 2)
        rows = outputs.reshape(n, -1)
        return jnp.sum(jax.nn.logsumexp(rows, axis=1) - jnp.sum(rows * given.targets, axis=1))

    scale = 1 / n if given.reduction == "mean" else 1.0
    J = np.asarray(jax.jit(jax.jacrev(f))(theta))
    curve = np.asarray(jax.jit(lambda t: jax.hessian(loss)(f(t)))(theta))
    return {
        "hessian": scale * np.asarray(jax.jit(jax.hessian(lambda t: loss(f(t))))(theta)),
        "gauss_newton": scale * J.T @ curve @ J,
        "outputs": scale * J @ J.T,
        "parameters": scale * J.T @ J,
    }


@pytest.mark.parametrize(("loss", "reduction", "batch"), [("squared", "sum", None), ("cross-entropy", "mean", 4)])
def test_operators_against_dense_matrices(loss: str, reduction: str, batch: int | None, rng: np.random.Generator) -> None:
    # 11 rows in blocks of 4: two whole ones and three rows that are left over.
    given = problem(loss, reduction)
    theta = given.flat()
    want = dense(given, theta)
    got = {
        "hessian": operators.hessian(given, theta, batch),
        "gauss_newton": operators.gauss_newton(given, theta, batch),
        "outputs": operators.ntk(given, theta, batch, side="outputs"),
        "parameters": operators.ntk(given, theta, batch, side="parameters"),
    }
    for name, operator in got.items():
        A = want[name]
        v = rng.standard_normal(len(A))
        # Rounding of two orders of summation.
        assert np.allclose(operator.product(v), A @ v, rtol=0, atol=1e-12 * np.abs(A).sum()), name
        found = top(operator.product, operator.size, 2, tol=1e-9)
        exact = np.linalg.eigvalsh(A)[::-1][:2]
        # The requirement of the issue, 1e-8; the tolerance asked for is a tenth of it.
        assert np.max(np.abs(found.values - exact)) <= 1e-8 * exact[0], name
        residuals = np.linalg.norm(found.vectors @ A - found.values[:, None] * found.vectors, axis=1)
        assert np.all(residuals <= found.residuals * (1 + 1e-6) + 1e-13 * exact[0]), name
    assert np.allclose(operators.gradient(given, theta, batch), operators.gradient(given, theta), rtol=1e-12, atol=1e-14)


def test_kernel_takes_the_smaller_side_and_gives_the_vectors_of_both() -> None:
    given = problem("squared", "mean")
    theta = given.flat()
    assert operators.ntk(given, theta).size == 33 < given.size
    assert operators.ntk(problem("squared", "mean", rows=40), theta).size == given.size
    J = np.asarray(jax.jit(jax.jacrev(given.outputs))(theta))
    for side, A in (("outputs", J.T @ J / 11), ("parameters", J @ J.T / 11)):
        kernel = operators.ntk(given, theta, side=side)
        found = top(kernel.product, kernel.size, 2, tol=1e-12)
        assert kernel.other is not None
        images = kernel.other(found.vectors)
        # The residual at this tolerance is its root, 1e-6 of the value, over a gap of a tenth.
        assert np.linalg.norm(images @ A - found.values[:, None] * images) <= 1e-5 * found.values[0]


def test_projected_second_derivative(rng: np.random.Generator) -> None:
    given = problem("squared", "mean")
    theta, v = given.flat(), rng.standard_normal(33)
    Q = np.asarray(jax.jit(jax.hessian(given.outputs))(theta))
    A = np.einsum("a,aij->ij", v, Q)
    exact = np.linalg.eigvalsh(A)
    for batch in (None, 4):
        operator = operators.projected_q(given, theta, v, batch)
        for which, value in (("algebraic", exact[-1]), ("magnitude", exact[np.argmax(np.abs(exact))])):
            found = top(operator.product, operator.size, tol=1e-10, which=which)
            assert abs(found.values[0] - value) <= 1e-8 * abs(value)
    with pytest.raises(RequestError, match="33 outputs"):
        operators.projected_q(given, theta, np.ones(3))


def test_preconditioned(rng: np.random.Generator) -> None:
    given = problem("cross-entropy", "mean")
    theta, p = given.flat(), np.exp(rng.standard_normal(given.size))
    H = dense(given, theta)["hessian"]
    operator = operators.preconditioned(operators.hessian(given, theta), p)
    exact = np.max(np.linalg.eigvals(H / p[:, None]).real)
    assert abs(top(operator.product, operator.size, tol=1e-10).values[0] - exact) <= 1e-8 * exact
    with pytest.raises(RequestError, match="above 0"):
        operators.preconditioned(operators.hessian(given, theta), -p)


@pytest.mark.parametrize("batch", [None, 4])
def test_another_point_costs_no_compilation(batch: int | None) -> None:
    given = problem("squared", "mean")
    theta, v = np.asarray(given.flat()), np.ones(given.size)

    def work(at: np.ndarray) -> None:
        operators.hessian(given, at, batch).product(v)
        operators.gauss_newton(given, at, batch).product(v)

    work(theta)
    forms: list[Any] = [_linear.prepare, _linear.apply, _linear.in_blocks]
    before = [form._cache_size() for form in forms]
    for k in range(1, 4):
        work(theta + 0.1 * k)
    assert [form._cache_size() for form in forms] == before


def test_products_are_checked_against_differences_of_the_gradient() -> None:
    given = problem("cross-entropy", "mean")
    theta = np.asarray(given.flat())
    for at in (theta, theta.astype(np.float32)):
        one = given if at is theta else single(given)
        check = operators.check_products(one, at)
        # Central differences: eps^(2/3) of the size of theta, 4e-11 in double and 2e-5 in single precision, times derivatives.
        assert check.agrees and check.sentence == ""
        assert check.disagreement <= (1e-6 if at is theta else 2e-2)
    H = dense(given, jnp.asarray(theta))["hessian"]
    slope = lambda at: operators.gradient(given, at)  # noqa: E731
    wrong = compare(lambda v: 1.1 * (H @ v), slope, theta)
    assert not wrong.agrees and "off by" in wrong.sentence


def single(given: Problem) -> Problem:
    params = jax.tree.map(lambda a: np.asarray(a, np.float32), given.params)
    return Problem(given.fn, params, (given.inputs, given.targets), loss=given.loss, reduction=given.reduction)
