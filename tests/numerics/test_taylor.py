"""Taylor models: exact for models that are quadratic, of the stated order for others, and runnable like any system."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import trainphase as tp
from trainphase._arrays import precision
from trainphase.systems.quadratic import Quadratic, draws

D, P = 5, 7


def quadratic_problem(sigma_z: float, sigma_J: float) -> tuple[tp.Problem, Quadratic]:
    """One start of the quadratic model as a user would write it, at a theta_0 that is not 0, and as our system."""
    Q, z_draw, J_draw = draws(D, P, 3, "sym1")
    system = Quadratic(sigma_z, sigma_J, 1.0, Q, z_draw, J_draw)
    tensor = np.swapaxes(Q.reshape(D, P, P), 1, 2)
    theta = np.linspace(-1.0, 1.0, P)
    with precision("float64"):
        z0, J0 = np.asarray(system.z0()), np.asarray(system.J0())
    G = J0 - tensor @ theta
    targets = 0.5 * np.einsum("i,aij,j->a", theta, tensor, theta) + G @ theta - z0

    def fn(params: Any, _: Any) -> jax.Array:
        t = jnp.concatenate([params["first"], params["rest"]])
        return jnp.asarray(G) @ t + 0.5 * jnp.einsum("i,aij,j->a", t, tensor, t)

    with precision("float64"):
        return tp.Problem(fn, {"first": theta[:2], "rest": theta[2:]}, (None, targets)), system


def net(params: Any, x: Any) -> jax.Array:
    """A two-layer net with tanh units."""
    first, second = params
    return jnp.tanh(x @ first) @ second


def net_problem(loss: str = "squared") -> tp.Problem:
    rng = np.random.default_rng(5)
    params = (rng.normal(size=(3, 8)) / np.sqrt(3), rng.normal(size=8) / np.sqrt(8))
    if loss == "cross-entropy":
        pair = (params[0], np.stack([params[1], -params[1][::-1]], 1)[:, :2])
        return tp.Problem(net, pair, (rng.normal(size=(6, 3)), np.array([0, 1, 1, 0, 1, 0])), loss=loss)
    with precision("float64"):
        return tp.Problem(net, params, (rng.normal(size=(6, 3)), rng.normal(size=6)))


def test_the_expansion_of_a_quadratic_model_is_the_model() -> None:
    problem, system = quadratic_problem(0.3, 0.3)
    with precision("float64"):
        model = tp.taylor(problem, lr=1.0)
        ours, theirs = jnp.asarray(model.init()), system.init()
        step = jax.jit(lambda a, b: (model.step(a), system.step(b)))
        for _ in range(50):
            ours, theirs = step(ours, theirs)
        # 50 steps that neither amplify nor damp by more than the curvature's 2: rounding of some 100 operations a step.
        assert np.allclose(ours, theirs, rtol=1e-11, atol=1e-13)
        assert np.isclose(model.curvature(ours), system.curvature(theirs), rtol=1e-11)


def cubic_problem() -> tp.Problem:
    """A model of degree three in its parameters, with a softmax on top."""
    rng = np.random.default_rng(8)
    params = {"a": rng.normal(size=(4, 3)), "b": rng.normal(size=(3, 3)), "c": rng.normal(size=(3, 5))}
    data = (rng.normal(size=(6, 4)), rng.integers(0, 5, 6))
    return tp.Problem(lambda p, x: x @ p["a"] @ p["b"] @ p["c"], params, data, loss="cross-entropy", reduction="mean")


@pytest.mark.parametrize("order", [1, 2, 3])
@pytest.mark.parametrize("loss", ["squared", "cross-entropy"])
def test_the_error_of_an_expansion_has_its_order(order: int, loss: str) -> None:
    problem = net_problem() if loss == "squared" else cubic_problem() if order < 3 else net_problem("cross-entropy")
    model = tp.taylor(problem, order=order)
    direction = jnp.cos(jnp.arange(problem.size) * 1.7)
    error = jax.jit(lambda s: jnp.linalg.norm(model.residual(s * direction) - problem.residual(model.theta + s * direction)))
    sizes = np.array([0.002, 0.004, 0.008, 0.016])
    errors = [float(error(s)) for s in sizes]
    # The next term of the series: slope order + 1; 0.1 is for the term after it, a few per cent at these sizes.
    assert abs(np.polyfit(np.log(sizes), np.log(errors), 1)[0] - (order + 1)) < 0.1


def test_the_expansion_of_a_cubic_model_is_the_model_with_any_loss_and_momentum() -> None:
    problem = cubic_problem()
    theirs, ours = tp.descent(problem, 0.05, 0.8), tp.taylor(problem, 3, 0.05, momentum=0.8)
    at = np.linspace(-1.0, 1.0, problem.size)

    @jax.jit
    def both(theta: jax.Array) -> Any:
        a, b = theirs.init()._replace(theta=theta), ours.init()
        for _ in range(20):
            a, b = theirs.step(a), ours.step(b)
        return a.theta, ours.theta + b.theta, theirs.loss(a), ours.loss(b)

    a, b, loss, same = both(problem.flat())
    # Rounding of some hundred operations a step, over twenty steps that do not amplify it.
    assert np.allclose(a, b, rtol=1e-11, atol=1e-12)
    assert np.isclose(loss, same, rtol=1e-11)
    # Around another point the displacement starts elsewhere, and the model is still the same.
    for point in (at, problem.restore(jnp.asarray(at))):
        moved = tp.taylor(problem, 3, at=point)
        assert np.isclose(moved.problem.loss_at(problem.flat() - at), problem.loss_at(problem.flat()), rtol=1e-11)


def test_the_gradient_of_an_expansion_is_that_of_its_loss() -> None:
    phi = 0.3 * jnp.cos(jnp.arange(40))
    for order in (1, 2, 3):
        model = tp.taylor(net_problem("cross-entropy"), order).problem
        value, gradient = jax.jit(lambda x, m=model: m.loss_and_gradient(x))(phi)
        assert np.isclose(value, model.loss_at(phi), rtol=1e-12)
        # Two orders of differentiation of the same terms.
        assert np.allclose(gradient, jax.jit(lambda x, m=model: jax.grad(m.loss_at)(x))(phi), rtol=1e-10, atol=1e-13)


def test_the_kernel_is_that_of_the_model_at_the_start() -> None:
    problem = net_problem()
    with precision("float64"):
        J = jax.jit(jax.jacfwd(problem.residual))(problem.flat())
        for order in (1, 2):
            model = tp.taylor(problem, order=order, lr=0.3)
            expected = 0.3 * np.linalg.eigvalsh(np.asarray(J @ J.T))[-1]
            assert np.isclose(model.curvature(model.init()), expected, rtol=1e-12)


def test_the_linearised_model_keeps_its_curvature_and_the_quadratic_one_does_not() -> None:
    first = tp.run(tp.taylor(net_problem(), order=1), lr=0.05, steps=4000)
    second = tp.run(tp.taylor(net_problem(), order=2), lr=0.05, steps=4000)
    assert first.phase == "flat"
    assert np.ptp(first.observables["curvature"]) < 1e-12
    assert np.ptp(second.observables["curvature"]) > 0.01


def test_a_diagram_over_the_step_size() -> None:
    d = tp.diagram(tp.taylor(net_problem()), lr=tp.linspace(0.01, 1.0, 24), steps=2000)
    assert d.words is tp.EDGE
    assert {"divergent"} < set(d.phases)


def test_wrong_requests() -> None:
    problem = net_problem()
    with pytest.raises(tp.RequestError, match="order = 4"):
        tp.taylor(problem, order=4)
    with pytest.raises(tp.RequestError, match="at has 3 numbers"):
        tp.taylor(problem, at=np.zeros(3))
    with pytest.raises(tp.RequestError, match="expansion of order 2 already"):
        tp.taylor(tp.taylor(problem).problem)
    with pytest.raises(tp.RequestError, match="no problem"):
        tp.taylor(net)  # pyright: ignore[reportArgumentType]
    with pytest.raises(tp.RequestError, match="shape"):
        tp.Problem(net, problem.params, (problem.inputs, np.zeros(5)))
    with pytest.raises(tp.RequestError, match="loss"):
        tp.Problem(net, problem.params, (problem.inputs, np.zeros(6)), loss="hinge")
    with pytest.raises(tp.RequestError, match="lr"):
        tp.run(tp.taylor(problem), lr=-1.0)


@pytest.mark.parametrize("order", [1, 2, 3])
def test_the_sharpness_is_that_of_the_dense_hessian(order: int) -> None:
    rng = np.random.default_rng(7)
    params = (rng.standard_normal((3, 4)), rng.standard_normal((4, 2)))
    with precision("float64"):
        problem = tp.Problem(net, params, (rng.standard_normal((5, 3)), rng.standard_normal((5, 2))))
        system = tp.taylor(problem, order, lr=0.01)
        away = 0.1 * rng.standard_normal(problem.size)
        dense = jax.jit(jax.hessian(system.problem.loss_at))(away)
        # Lanczos and the dense solver are asked for 1e-3 at least; up to 200 parameters the eigenvalues are exact to rounding.
        np.testing.assert_allclose(jax.jit(system.sharpness)(away), system.rate() * np.linalg.eigvalsh(dense)[-1], rtol=1e-3)
