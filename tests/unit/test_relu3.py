"""The three-layer ReLU net: equations, kernel, builder, and the parts of a step of its solver."""

from __future__ import annotations

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from trainphase.errors import RequestError
from trainphase.relu import _step3 as step3
from trainphase.relu.three_layer import _Control, _operator, flow3, slopes3
from trainphase.systems.relu3 import Layers, ReLU3, gram, relu3

X = np.array([-0.5, -1 / 6, 1 / 6, 0.5])
Y = X**2
SCALES = (0.7, 0.3, 1.9, 2.5)


def physical_loss(W: Layers, system: ReLU3, alpha: float) -> jax.Array:
    """(1 / 2n) sum (f - y)^2 in the weights of the definition, every copy, written out."""
    f = jnp.zeros(len(system.y))
    for W1, W2, a in zip(*W, strict=True):
        f = f + jnp.stack([a @ jax.nn.relu(W2 @ jax.nn.relu(W1 @ x)) / alpha for x in jnp.asarray(system.X)])
    return 0.5 * jnp.mean((f - jnp.asarray(system.y)) ** 2)


def moved(system: ReLU3, rng: np.random.Generator) -> Layers:
    """A state off the start, so that nothing cancels by symmetry."""
    start = system.init()
    return Layers(*(jnp.asarray(np.asarray(W) + 0.3 * rng.standard_normal(W.shape)) for W in start))


@pytest.mark.parametrize("antisymmetric", [False, True])
def test_velocity_is_the_gradient_of_the_loss_in_rescaled_weights_and_time(antisymmetric: bool, rng) -> None:
    system = relu3(7, X, Y, scales=SCALES, seed=3, antisymmetric=antisymmetric)
    state = moved(system, rng)
    betas, alpha = np.array(SCALES[:3]), SCALES[3]
    weights = Layers(*(jnp.asarray(b * np.asarray(W)) for b, W in zip(betas, state, strict=True)))
    loss, gradient = jax.jit(jax.value_and_grad(physical_loss))(weights, system, alpha)
    velocity = jax.jit(lambda s, x: s.velocity(0.0, x))(system, state)
    # dV/ds = (dW/dt) (dt/ds) / beta with dt/ds = g^2 / kappa.
    clock = np.prod(betas) ** (2 / 3) / (np.prod(betas) / alpha)
    for got, by, beta in zip(velocity, gradient, betas, strict=True):
        np.testing.assert_allclose(
            got, -np.asarray(by) * clock / beta, rtol=1e-11, atol=1e-13
        )  # rounding of sums of some ten terms
    np.testing.assert_allclose(jax.jit(ReLU3.loss)(system, state), loss, rtol=1e-12)


def test_curvature_is_the_top_eigenvalue_of_the_kernel_of_the_residual(rng) -> None:
    system = relu3(6, X, Y, scales=SCALES, antisymmetric=True)
    state = moved(system, rng)

    @jax.jit
    def both(s: ReLU3, x: Layers):
        e, rate = jax.jvp(s.residual, (x,), (s.velocity(jnp.zeros(()), x),))
        return e, rate, s.kappa / 4 * gram(s.jacobian(x), jnp.asarray(s.X @ s.X.T), s.rates), s.curvature(x)

    e, rate, K, curvature = both(system, state)
    np.testing.assert_allclose(rate, -K @ e, rtol=1e-11, atol=1e-13)  # rounding
    np.testing.assert_allclose(curvature, np.linalg.eigvalsh(K)[-1], rtol=1e-12)


def test_conserved_quantities_do_not_move_along_the_velocity(rng) -> None:
    system = relu3(6, X, Y, scales=SCALES)
    state = moved(system, rng)

    @jax.jit
    def along(s: ReLU3, x: Layers):
        v = s.velocity(jnp.zeros(()), x)
        return jax.jvp(s.conserved, (x,), (v,))[1], s.conserved(v)

    for rate, size in zip(*along(system, state), strict=True):
        assert float(np.max(np.abs(size))) > 1e-4  # otherwise nothing moves
        np.testing.assert_allclose(rate, 0.0, atol=1e-13)  # rounding of sums of order one


def test_gammas_are_scales() -> None:
    m, g3, g2 = 50, 2.1, -0.4
    b3 = 0.02
    b1 = b3 * m**g2
    by_gamma = relu3(m, X, Y, gamma3=g3, gamma2=g2)
    by_scale = relu3(m, X, Y, scales=(b1, b3, b3, b1 * b3 * b3 * m**g3))
    np.testing.assert_allclose(by_gamma.kappa, m**-g3, rtol=1e-13)
    np.testing.assert_allclose(by_gamma.kappa, by_scale.kappa, rtol=1e-13)
    np.testing.assert_allclose(by_gamma.rates, by_scale.rates, rtol=1e-13)
    np.testing.assert_allclose(jnp.prod(by_gamma.rates), 1.0, rtol=1e-13)
    np.testing.assert_allclose(by_gamma.rates[0] / by_gamma.rates[2], m ** (-2 * g2), rtol=1e-13)


def test_draws_are_standard_and_independent_between_widths_and_seeds() -> None:
    a, b = relu3(64, X, Y, gamma3=1, gamma2=0, seed=1), relu3(65, X, Y, gamma3=1, gamma2=0, seed=1)
    assert not np.any(np.asarray(a.W2) == np.asarray(b.W2)[:64, :64])
    assert not np.any(np.asarray(a.W2) == np.asarray(relu3(64, X, Y, gamma3=1, gamma2=0, seed=2).W2))
    # Five standard errors of the mean square of 64^2 standard normals, sqrt(2 / 4096).
    assert abs(np.mean(np.square(a.W2)) - 1) < 5 * np.sqrt(2 / 4096)
    assert relu3(64, X, Y, gamma3=1, gamma2=0, w2_dtype="float32").W2.dtype == np.float32


def test_antisymmetric_start_is_zero_and_distances_are_of_the_first_copy() -> None:
    system = relu3(9, X, Y, scales=SCALES, antisymmetric=True)
    np.testing.assert_allclose(system.residual(system.init()), -Y, atol=1e-14)  # rounding of a difference of order one
    W1, W2, a = system.init()
    state = Layers(W1.at[1].mul(5.0), W2.at[0].mul(1.25), a)
    np.testing.assert_allclose(system.relative_distances(state), [0.0, 0.25, 0.0], rtol=1e-14)


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"gamma3": None}, "do not set the scales"),
        ({"scales": SCALES}, "given together"),
        ({"gamma3": None, "gamma2": None, "scales": (1.0, 1.0, 0.0, 1.0)}, "four positive numbers"),
        ({"width": 1}, "width = 1"),
        ({"inputs": X[:3]}, r"shape \(3, 1\)"),
        ({"targets": np.array([0.0, 1.0, np.nan, 1.0])}, "not finite"),
        ({"w2_dtype": "float16"}, "float16"),
    ],
)
def test_wrong_requests_are_named(change: dict, says: str) -> None:
    request = {"width": 8, "inputs": X, "targets": Y, "gamma3": 1.0, "gamma2": 0.0} | change
    with pytest.raises(RequestError, match=says):
        relu3(request.pop("width"), request.pop("inputs"), request.pop("targets"), **request)


def test_solver_refuses_limits_and_ladders_that_mean_nothing() -> None:
    system = relu3(8, X, Y, gamma3=1, gamma2=0)
    with pytest.raises(RequestError, match="target = 0"):
        flow3(system, 0.0)
    with pytest.raises(RequestError, match="max_time = nan"):
        flow3(system, max_time=float("nan"))
    with pytest.raises(RequestError, match="W2, a, X, y"):
        flow3(eqx.tree_at(lambda s: s.y, system, Y[:3]))
    with pytest.raises(RequestError, match="give no slope"):
        slopes3(1, 0, X, Y, widths=(8, 8))


# --- a step -----------------------------------------------------------------------------------------------


def problem(**more) -> tuple[ReLU3, step3.Net, step3.State]:
    system = relu3(70, X, Y, scales=SCALES, seed=5, **more)  # 70: more than one block of rows, the last not full
    net = step3.layout(system)
    return system, net, step3.start(net)[0]


@jax.jit
def arrive(net: step3.Net, W1: jax.Array, a: jax.Array, low: step3.Factors) -> step3.State:
    return step3._arrive(net, W1, a, [low], jnp.zeros((), int), jnp.zeros(len(a)))


def factors_of(rng: np.random.Generator, copies: int, m: int, columns: int, size: float) -> step3.Factors:
    return step3.Factors(*(jnp.asarray(size * rng.standard_normal((copies, m, columns))) for _ in "AB"))


def test_passes_in_blocks_with_a_change_of_few_columns_are_those_of_the_net(rng) -> None:
    system, net, _ = problem(antisymmetric=True)
    low = factors_of(rng, 2, 70, 3, 0.5)
    W1, a = (0.3 * jnp.asarray(rng.standard_normal(v.shape)) for v in (net.W1, net.a))
    got = arrive(net, W1, a, low)
    start = system.init()
    state = Layers(start.W1 + W1, start.W2 + jnp.einsum("kpr,kmr->kpm", *low), start.a + a)
    e, jacobian = jax.jit(lambda s, x: (s.residual(x), s.jacobian(x)))(system, state)
    np.testing.assert_allclose(got.e, e, rtol=1e-11, atol=1e-11)  # rounding of sums of 70 terms
    for mine, theirs in zip(got.J, jacobian, strict=True):
        np.testing.assert_allclose(mine, theirs, rtol=1e-10, atol=1e-11)


def test_mean_jacobian_gives_the_exact_change_of_the_output_however_many_neurons_switch(rng) -> None:
    system, net, state = problem(antisymmetric=True)
    W1, a = (jnp.asarray(rng.standard_normal(v.shape)) for v in (net.W1, net.a))
    none, new = factors_of(rng, 2, 70, 1, 0.0), factors_of(rng, 2, 70, 4, 0.7)
    J = jax.jit(step3._between)(net, state, W1, a, none, new)
    end = arrive(net, W1, a, new)
    assert int(jnp.sum((state.z1 > 0) != (end.z1 > 0))) > 20
    change = (
        jnp.einsum("knm,nd,kmd->n", J.s1, net.X, W1)
        + jnp.einsum("knp,knm,kpm->n", J.s2, J.h1, jnp.einsum("kpr,kmr->kpm", *new))
        + jnp.einsum("knm,km->n", J.h2, a)
    )
    np.testing.assert_allclose(system.kappa * change, end.e - state.e, rtol=1e-10)  # rounding of sums of thousands of terms


def test_residual_of_a_frozen_kernel_and_its_integral() -> None:
    rng = np.random.default_rng(0)
    B = rng.standard_normal((4, 4)) * np.array([1e3, 1.0, 1e-3, 0.0])  # rates over twelve decades, and one of zero
    K, e = B @ B.T, rng.standard_normal(4)
    for h in (1e-9, 1e-3, 1.0):
        integral, end = step3._integral(jnp.asarray(K), jnp.asarray(e), jnp.asarray(h))
        np.testing.assert_allclose(end, e - K @ integral, atol=1e-9)  # rounding of the largest rate times the integral
    integral, end = step3._integral(jnp.asarray(K), jnp.asarray(e), jnp.asarray(1e15))
    Q = np.linalg.eigh(K)[1]
    np.testing.assert_allclose(end, Q[:, 0] * (Q[:, 0] @ e), atol=1e-9)  # what no weight can move stays


def test_last_step_ends_at_the_target() -> None:
    K, e, target = jnp.diag(jnp.array([5.0, 0.1])), jnp.array([1.0, 0.4]), 1e-4
    h = step3._landing(K, e, jnp.asarray(1e6), jnp.asarray(target))
    reached = np.mean((np.exp(-np.array([5.0, 0.1]) * float(h)) * np.array([1.0, 0.4])) ** 2)
    np.testing.assert_allclose(reached, step3.LANDING * target, rtol=1e-6)  # 60 halvings of 1e6
    assert float(step3._landing(K, e, jnp.asarray(0.5), jnp.asarray(target))) == 0.5


def test_shortened_factors_keep_the_change(rng) -> None:
    few = factors_of(rng, 2, 40, 5, 1.0)
    mixed = np.asarray(rng.standard_normal((2, 5, 30)))
    long = step3.Factors(few.A @ mixed, few.B @ np.asarray(rng.standard_normal((2, 5, 30))))
    padded = step3.Factors(*(jnp.concatenate([f, jnp.full((2, 40, 2), 7.0)], 2) for f in long))
    short, rank, square = step3.shorten(padded, 30, 40)
    want = np.einsum("kpr,kmr->kpm", *map(np.asarray, long))
    assert rank == 5 and short.A.shape[2] == 64
    # What is dropped is 1e-10 of the norm; rounding stays far below.
    np.testing.assert_allclose(np.einsum("kpr,kmr->kpm", *map(np.asarray, short)), want, atol=1e-9 * np.abs(want).max())
    np.testing.assert_allclose(square, np.sum(want**2, (1, 2)), rtol=1e-9)


def test_operator_norms(rng) -> None:
    system, _, _ = problem()
    factors = factors_of(rng, 1, 70, 6, 1.0)
    change = np.asarray(factors.A[0, :, :4]) @ np.asarray(factors.B[0, :, :4]).T
    want = np.linalg.norm(change, 2) / np.linalg.norm(np.asarray(system.W2), 2)
    np.testing.assert_allclose(_operator(system, factors, 4), want, rtol=1e-3)  # the accuracy asked of the iteration


def test_steps_shrink_after_failures_and_grow_by_no_more_than_the_limit() -> None:
    control = _Control(tolerance=0.1, max_steps=10, max_time=np.inf, h=1.0)
    assert not control.accept(np.nan, 1.0) and control.h == pytest.approx(0.1)
    assert not control.accept(1.7, 0.1) and control.h == pytest.approx(0.05)
    assert control.accept(1e-6, 0.05) and control.h == pytest.approx(0.05)  # no growth at once after a failure
    assert control.accept(0.0, 0.05) and control.h == pytest.approx(0.25)
    assert (control.s, control.steps, control.rejected) == (pytest.approx(0.1), 2, 2)
