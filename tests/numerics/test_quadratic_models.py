"""Quadratic regression: one dynamics written several ways, its observables against autodiff, and its random draws.

The right side of each comparison is plain NumPy in the original parameters: no eigenbasis, no Jacobian recursion.
"""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from watching import STEPS, Array, watch

import trainphase as tp
from trainphase._arrays import as_leaves
from trainphase.errors import RequestError
from trainphase.systems import Quadratic
from trainphase.systems.quadratic import QuadraticFunction, draws, quadratic

# --- (D, P) -------------------------------------------------------------------------------------------------

SHAPES = [(1, 2), (5, 7), (20, 40), (60, 120)]


def tensor(system: Any) -> Array:
    """Q_a,ij of shape (D, P, P)."""
    D, P = system.shape
    return np.swapaxes(np.asarray(system.Q).reshape(D, P, P), 1, 2)


def by_theta(system: Any, rng: np.random.Generator) -> tuple[Array, Array]:
    """z and lr * top kernel eigenvalue by gradient descent on f = y + G theta + theta Q theta / 2, from a random theta."""
    Q = tensor(system)
    D, P = system.shape
    lr, theta = float(system.lr), 0.1 * rng.standard_normal(P)
    M = (Q.reshape(D * P, P) @ theta).reshape(D, P)
    G = np.asarray(system.J0()) - M
    y = np.asarray(system.z0()) - G @ theta - 0.5 * M @ theta
    z_all, top = [], []
    for _ in range(STEPS + 1):
        M = (Q.reshape(D * P, P) @ theta).reshape(D, P)
        z, J = y + G @ theta + 0.5 * M @ theta, G + M
        z_all.append(z)
        top.append(lr * np.linalg.norm(J, 2) ** 2)
        theta = theta - lr * J.T @ z
    return np.array(z_all), np.array(top)


@pytest.mark.parametrize(("D", "P", "symmetry"), [*((D, P, "sym1") for D, P in SHAPES), (5, 7, "symh")])
def test_parameter_and_function_space_agree_with_plain_gradient_descent(
    D: int, P: int, symmetry: str, rng: np.random.Generator
) -> None:
    # Progressive sharpening, below the edge for 50 steps, so that errors do not grow.
    common: dict[str, Any] = {"D": D, "P": P, "sigma_z": 0.2, "sigma_J": 0.35, "symmetry": symmetry, "seed": 3}
    phi, function = quadratic(**common), quadratic(**common, space="function")
    assert isinstance(phi, Quadratic) and isinstance(function, QuadraticFunction)
    want_z, want_top = by_theta(phi, rng)
    for system in (phi, function):
        z, top = watch(system)
        # The figure: 1e-12, relative to the start, over 50 steps.
        assert np.max(np.abs(z - want_z)) < 1e-12 * np.max(np.abs(want_z))
        assert np.max(np.abs(top - want_top)) < 1e-12 * np.max(want_top)
    assert np.linalg.norm(want_z[-1] - want_z[0]) > 0.05 * np.linalg.norm(want_z[0])


def test_a_wrong_second_order_term_is_seen(rng: np.random.Generator) -> None:
    """The comparison above can fail: without the factor 1/2 of (25) the residuals are off by per cents."""

    class Wrong(QuadraticFunction):
        def step(self, state: Any) -> Any:
            new = super().step(state)
            u = self.lr * (state.z @ state.J)
            return new._replace(z=new.z + 0.5 * (self.along(u) @ u))

    good = quadratic(5, 7, 0.2, 0.35, space="function", seed=3)
    wrong = Wrong(0.2, 0.35, 1.0, good.Q, good.z_draw, good.J_draw)
    assert isinstance(good, QuadraticFunction)
    assert np.max(np.abs(watch(wrong)[0] - by_theta(good, rng)[0])) > 1e-3 * np.max(np.abs(watch(good)[0]))


def test_without_symmetry_the_recursion_of_function_space_is_run() -> None:
    system = quadratic(4, 6, 0.2, 0.4, symmetry="iid", seed=1)
    assert isinstance(system, QuadraticFunction)
    Q = tensor(system)
    assert np.max(np.abs(Q - np.swapaxes(Q, 1, 2))) > 0.1
    z, J = np.asarray(system.z0()), np.asarray(system.J0())
    got, _ = watch(system)
    for k in range(STEPS + 1):
        np.testing.assert_allclose(got[k], z, rtol=0, atol=1e-13)
        u = J.T @ z
        z, J = z - J @ u + 0.5 * np.einsum("aij,i,j->a", Q, u, u), J - np.einsum("aij,i->aj", Q, u)


@pytest.mark.parametrize("space", ["parameters", "function"])
@pytest.mark.parametrize("lr", [0.25, 0.037, 6.0])
def test_rescaled_widths_make_the_step_size_irrelevant(lr: float, space: str) -> None:
    """(28), (29): lr z and lr times the kernel are those of lr = 1."""
    z, top = watch(quadratic(5, 7, 0.25, 0.4, space=space, seed=2))
    other_z, other_top = watch(quadratic(5, 7, 0.25, 0.4, lr=lr, space=space, seed=2))
    # 50 steps of sums over 35 terms, below the edge: some 1e-14.
    np.testing.assert_allclose(lr * other_z, z, rtol=0, atol=1e-12 * np.max(np.abs(z)))
    np.testing.assert_allclose(other_top, top, rtol=1e-12)
    assert np.max(np.abs(other_z / np.max(np.abs(z)))) > 1.5 or lr > 1


# --- draws --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("symmetry", "off", "diagonal"), [("sym1", 1.0, 2.0), ("symh", 0.5, 1.0), ("iid", 1.0, 1.0)])
def test_variances_of_the_draws(symmetry: str, off: float, diagonal: float) -> None:
    D, P = 40, 50
    flat, z, J = draws(D, P, 7, symmetry)
    Q = np.swapaxes(flat.reshape(D, P, P), 1, 2)
    upper = Q[:, *np.triu_indices(P, 1)].ravel()
    lower = np.swapaxes(Q, 1, 2)[:, *np.triu_indices(P, 1)].ravel()
    on = np.diagonal(Q, axis1=1, axis2=2).ravel()
    # Five standard errors: of a mean of n draws sqrt(v/n), of a variance of normal draws v sqrt(2/n).
    for sample, v in ((upper, off), (on, diagonal), (J.ravel(), 1.0), (z, 1.0)):
        assert abs(sample.mean()) < 5 * np.sqrt(v / sample.size)
        assert abs(np.mean(sample**2) - v) < 5 * v * np.sqrt(2 / sample.size)
    if symmetry == "iid":
        assert abs(np.mean(upper * lower)) < 5 / np.sqrt(upper.size)
    else:
        np.testing.assert_array_equal(Q, np.swapaxes(Q, 1, 2))


def test_the_draws_of_a_seed_are_shared_by_all_widths_and_by_no_other_seed() -> None:
    one, two = quadratic(4, 6, 0.1, 0.2, seed=5), quadratic(4, 6, 0.7, 0.9, lr=0.3, seed=5)
    other = quadratic(4, 6, 0.1, 0.2, seed=6)
    for name in ("Q", "z_draw", "J_draw"):
        np.testing.assert_array_equal(getattr(one, name), getattr(two, name))
        assert np.max(np.abs(getattr(one, name) - getattr(other, name))) > 0.1
    np.testing.assert_allclose(two.z0() * 0.3 * 4 / 0.7, one.z_draw, rtol=1e-14)
    np.testing.assert_allclose(two.J0() * np.sqrt(0.3) * 24**0.25 / 0.9, one.J_draw, rtol=1e-14)
    # The symmetrisations of one seed are of one matrix, so that they can be compared draw by draw.
    np.testing.assert_allclose(draws(4, 6, 5, "sym1")[0], np.sqrt(2) * draws(4, 6, 5, "symh")[0], rtol=1e-14)
    np.testing.assert_array_equal(draws(4, 6, 5, "iid")[2], draws(4, 6, 5, "sym1")[2])


# --- observables --------------------------------------------------------------------------------------------


OBSERVED = (
    "residual", "loss", "hessian", "sharpness", "curvature", "leading_curvatures", "top_mode", "projected_Q", "nonlinearity",
)  # fmt: skip


@pytest.mark.parametrize(("D", "P", "space"), [(3, 5, "function"), (6, 4, "parameters")])
def test_observables_are_those_of_autodiff(D: int, P: int, space: str) -> None:
    system = as_leaves(quadratic(D, P, 0.8, 0.5, lr=0.3, space=space, seed=4), "float64")
    phi = as_leaves(quadratic(D, P, 0.8, 0.5, lr=0.3, seed=4), "float64")
    assert isinstance(phi, Quadratic)
    Q, lr = tensor(system), 0.3
    z0, J0 = np.asarray(phi.z0()), np.asarray(phi.J0())

    def model(theta: jax.Array) -> Any:
        return z0 + J0 @ theta + 0.5 * jnp.einsum("aij,i,j->a", Q, theta, theta)

    def loss(theta: jax.Array) -> jax.Array:
        return 0.5 * jnp.sum(model(theta) ** 2)

    @jax.jit
    def compare(system: Any, phi: Any) -> Any:
        state, theta = system.init(), phi.init()
        for _ in range(3):
            state, theta = system.step(state), phi.step(theta)
        autodiff = model(theta), jax.jacfwd(model)(theta), jax.hessian(loss)(theta), theta - lr * jax.grad(loss)(theta)
        own = {name: getattr(system, name)(state) for name in OBSERVED} | {"step": phi.step(theta)}
        return own | {"start": system.start_curvature(), "first": system.curvature(system.init())}, autodiff

    own, (z, J, H, stepped) = jax.tree.map(np.asarray, compare(system, phi))
    u = J.T @ z
    kernel, modes = np.linalg.eigh(J @ J.T)
    v = modes[:, -1] * np.sign(modes[np.argmax(np.abs(modes[:, -1])), -1])
    second = 0.5 * lr**2 * np.linalg.norm(np.einsum("aij,i,j->a", Q, u, u))
    want = {
        "residual": z, "loss": 0.5 * z @ z, "hessian": H, "sharpness": lr * np.linalg.eigvalsh(H)[-1],
        "curvature": lr * kernel[-1], "leading_curvatures": lr * kernel[-min(D, P) :], "top_mode": v,
        "projected_Q": np.linalg.eigvalsh(np.einsum("a,aij->ij", v, Q)),
        "nonlinearity": second / (lr * np.linalg.norm(J @ u)), "step": stepped, "start": own["first"],
    }  # fmt: skip
    for name, value in want.items():
        # Matrices of a few numbers of order 1: rounding.
        np.testing.assert_allclose(own[name], value, rtol=1e-11, atol=1e-12, err_msg=name)


def test_a_run_records_them() -> None:
    run = tp.run("quadratic", D=4, P=6, sigma_z=0.3, sigma_J=0.4, steps=400, observables=())
    names = ("loss", "residual", "curvature", "sharpness", "leading_curvatures", "nonlinearity", "projected_q", "top_residual")
    for name in names:
        assert name in run.observables, name
        assert np.all(np.isfinite(run.observables[name])), name
    np.testing.assert_allclose(run.observables["leading_curvatures"][:, 0], run.observables["curvature"], rtol=1e-12)
    assert np.all(np.diff(run.observables["leading_curvatures"], axis=1) <= 0)
    # The top mode is continuous in sign, so its residual changes sign only when the residual does.
    v = run.observables["top_mode"]
    assert np.all(np.sum(v[1:] * v[:-1], axis=1) > 0)


def test_two_step_view_keeps_the_even_times() -> None:
    run = tp.run("quadratic-1d", steps=400)
    even = run.two_step()
    assert np.all(even.times % 2 == 0) and len(even.times) >= len(run.times) // 2
    for name, values in even.observables.items():
        np.testing.assert_array_equal(values, run.observables[name][run.times % 2 == 0])
    # At the edge the residual alternates from step to step and not over two.
    late = even.observables["residual"][-40:]
    assert np.all(late[1:] * late[:-1] > 0)
    odd = run.observables["residual"][-40:]
    assert np.all(odd[1:] * odd[:-1] < 0)
    assert even.phase == run.phase and even.summary == run.summary


@pytest.mark.parametrize("lr", [1e-14, 1e6])
@pytest.mark.parametrize("more", [{}, {"space": "function"}, {"flow": "true"}])
def test_the_step_size_changes_no_label(lr: float, more: dict[str, Any]) -> None:
    """(28): in rescaled widths every step size is the same run, also where the unscaled numbers are huge."""
    run = tp.run("quadratic", D=3, P=4, lr=lr, steps=400, **more)
    same = tp.run("quadratic", D=3, P=4, steps=400, **more)
    assert run.phase == same.phase and run.outcome == same.outcome == "converged"
    # A run ends when its steps are 1e-5 of the largest, and how z and J weigh in a step depends on their units.
    assert run.summary["curvature"] == pytest.approx(same.summary["curvature"], rel=2e-5)


def test_sizes_that_no_memory_holds_are_refused() -> None:
    with pytest.raises(RequestError, match="373 GiB"):
        tp.run("quadratic", D=2000, P=5000)
