"""Gradient descent in parameter space against the cubic map, and every hand-written derivative against autodiff.

The left side of each comparison is a system of the package (weights, matrix products); the right side is
``theory.cubic.f`` with ``theory.regression``'s a, which share no code with it.
"""

from __future__ import annotations

from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from trainphase import overlay
from trainphase._arrays import as_leaves, precision
from trainphase.system import Map
from trainphase.systems import Cubic, phase_retrieval, quadratic_net
from trainphase.systems._regression import Regression
from trainphase.theory import cubic, regression

EPS = float(np.finfo(float).eps)
STEPS = 60


# Small, so that compiling is the only cost; the real images are the largest.
SYNTHETIC: dict[str, tuple[Any, dict[str, Any]]] = {
    "phase-retrieval": (phase_retrieval, {"n": 6, "d": 9, "init_scale": 0.6}),
    "phase-retrieval, linear term": (phase_retrieval, {"n": 6, "d": 9, "c": 0.8, "init_scale": 0.6}),
    "phase-retrieval, gamma and noise": (
        phase_retrieval, {"n": 6, "d": 9, "gamma": 2.5, "c": -0.4, "noise": 0.1, "init_scale": 0.5}),
    "phase-retrieval, unit rows": (phase_retrieval, {"n": 6, "d": 9, "norm": "unit", "init_scale": 0.6}),
    "quadratic-net": (quadratic_net, {"n": 6, "d": 9, "m": 12, "init_scale": 0.9}),
    "quadratic-net, noise": (quadratic_net, {"n": 6, "d": 9, "m": 12, "noise": 0.05, "init_scale": 0.9}),
}  # fmt: skip
DIGITS: dict[str, Any] = {"data": "digits-orthogonal", "n": 10, "norm": "keep"}
IMAGES: dict[str, tuple[Any, dict[str, Any]]] = {
    "phase-retrieval on images": (phase_retrieval, DIGITS | {"init_scale": 0.6}),
    "phase-retrieval on images, linear term": (phase_retrieval, DIGITS | {"c": 0.8, "init_scale": 0.6}),
    "quadratic-net on images": (quadratic_net, DIGITS | {"m": 12, "init_scale": 0.9}),
}  # fmt: skip
ORTHOGONAL = SYNTHETIC | IMAGES
RAW: dict[str, tuple[Any, dict[str, Any]]] = {
    "phase-retrieval, gaussian": (phase_retrieval, {"data": "gaussian", "n": 6, "d": 9, "c": 0.3}),
    "phase-retrieval, digits": (phase_retrieval, {"data": "digits", "n": 10, "norm": "keep"}),
    "quadratic-net, gaussian": (quadratic_net, {"data": "gaussian", "n": 6, "d": 9, "m": 12}),
}


def build(case: str, **more: Any) -> Regression:
    factory, params = (ORTHOGONAL | RAW)[case]
    return factory(**params, **more)


def sample_a(system: Regression) -> np.ndarray:
    """a_i by the theory, from the rows and targets alone."""
    lr, n = float(np.asarray(system.lr)), system.X.shape[0]
    norm2 = np.sum(np.square(np.asarray(system.X)), axis=1)
    y = float(system.scale) * np.asarray(system.teacher_train) + float(system.noise) * np.asarray(system.noise_train)
    if system.theory == "phase-retrieval":
        return regression.phase_retrieval_a(lr, norm2, n, float(system.gamma), float(system.c), y)  # type: ignore[attr-defined]
    m, d = system.state0.shape
    return regression.quadratic_net_a(lr, norm2, n, m, d, y)


@jax.jit
def _residuals(system: Map) -> jax.Array:
    def one(state: Any, _: Any) -> Any:
        return system.step(state), system.residual(state)

    return jax.lax.scan(one, system.init(), None, length=STEPS)[1]


def residuals(system: Map, count: int) -> np.ndarray:
    """z of every sample before each of ``count`` steps, shape (count, n); one length is compiled for all."""
    return np.asarray(_residuals(as_leaves(system, "float64")))[:count]


def by_theory(z0: np.ndarray, a: np.ndarray, count: int) -> np.ndarray:
    out = [z0]
    for _ in range(count - 1):
        out.append(cubic.f(out[-1], a))
    return np.array(out)


def predicted_error(z: np.ndarray, a: np.ndarray, fresh: float) -> np.ndarray:
    """First-order error of two computations of the orbits z, each step of which adds ``fresh``; shape of z.

    e(t+1) = |f'(z_t)| e(t) + fresh. On average it grows like exp(lambda t), lambda the Lyapunov exponent of a.
    """
    e = np.full(z.shape[1:], fresh)
    out = [e]
    for row in z[:-1]:
        e = np.abs(cubic.df(row, a)) * e + fresh
        out.append(e)
    return np.array(out)


def fresh_error(system: Regression) -> float:
    """Rounding that one step adds to z: sums over d inputs (and m units) of terms of the size of z + a <= 4, in ulps.

    Dot products of length d err by d ulps at worst; there are two (forward and back) and the weights' own rounding.
    """
    return 4 * (2 * system.X.shape[1] + 10) * EPS


# --- gradient descent and the map ---------------------------------------------------------------------------


@pytest.mark.parametrize("case", ORTHOGONAL)
@pytest.mark.parametrize("a", [0.7, 0.95, 1.2])
def test_regular_runs_follow_the_map_to_1e_12(case: str, a: float) -> None:
    system = build(case)
    # By theory and not by the package's own solver for a, so that the step size is checked too.
    lr = a / np.max(sample_a(eqx.tree_at(lambda s: s.lr, system, 1.0)))
    system = eqx.tree_at(lambda s: s.lr, system, lr)
    own = sample_a(system)
    assert np.max(own) == pytest.approx(a, rel=1e-14)
    z = residuals(system, 31)
    assert np.all(z[0] < 2) and np.all(z[0] >= -own - 1e-12)
    # The figure. The derivative's product stays bounded for a <= 1.2, so 30 steps gather some 1e-14.
    assert np.max(np.abs(z - by_theory(z[0], own, 31))) < 1e-12
    # The comparison is of something: residuals move by far more than the tolerance.
    assert np.max(np.abs(np.diff(z, axis=0))) > 1e-2


@pytest.mark.parametrize("case", ORTHOGONAL)
@pytest.mark.parametrize("a", [1.5, 1.9])
def test_chaotic_runs_follow_the_map_to_the_lyapunov_horizon(case: str, a: float) -> None:
    system = build(case)
    lr = a / np.max(sample_a(eqx.tree_at(lambda s: s.lr, system, 1.0)))
    system = eqx.tree_at(lambda s: s.lr, system, lr)
    own = sample_a(system)
    z = residuals(system, STEPS)
    theory = by_theory(z[0], own, STEPS)
    bound = predicted_error(theory, own, fresh_error(system))
    # First order holds while the error is small: |f''| <= 10 adds 5 e^2, below a tenth of e for e < 1e-2 / 5.
    small = np.cumsum(bound > 2e-3, axis=0) == 0
    error = np.abs(z - theory)
    assert np.all(error[small] <= 1.2 * bound[small])
    # The horizon is the one that the Lyapunov exponents of theory.md allow (0.49 at 1.5, 0.88 at 1.9): from the
    # fresh error to 2e-3 in ln(2e-3 / fresh) / lambda steps, of which fluctuations of the growth may take a half.
    lam = {1.5: 0.4914, 1.9: 0.88}[a]
    chaotic = int(np.argmax(own))
    horizon = int(small[:, chaotic].sum())
    assert horizon >= 0.5 * np.log(2e-3 / fresh_error(system)) / lam
    # It is chaos that limits it: a little later the two are strangers, unless the bound was never reached.
    if horizon < 40:
        assert np.max(error[horizon:, chaotic]) > 1e3 * np.max(error[: horizon // 2, chaotic])


def test_a_wrong_a_is_seen() -> None:
    """Planted fault: a shifted by 1e-9 is far outside the tolerance of the comparison."""
    system = build("phase-retrieval", a=0.95)
    own = sample_a(system)
    z = residuals(system, 31)
    assert np.max(np.abs(z - by_theory(z[0], own + 1e-9, 31))) > 1e-11


def test_on_raw_images_the_reduction_does_not_hold() -> None:
    """The comparison can fail: rows that are not orthogonal couple the samples."""
    system = build("phase-retrieval, digits", a=0.9, init_scale=0.3)
    z = residuals(system, 31)
    assert np.max(np.abs(z - by_theory(z[0], sample_a(system), 31))) > 1e-2


@pytest.mark.parametrize("case", ORTHOGONAL)
def test_the_theory_a_that_a_run_reports(case: str) -> None:
    system = build(case, lr=0.37)
    told = overlay.report(system)
    own = sample_a(system)
    assert told["orthogonal"]
    np.testing.assert_allclose(told["a"], own, rtol=1e-13)
    assert told["a_max"] == np.max(told["a"])
    if float(system.noise) == 0:
        # With noise the solution is the teacher's and not the interpolating one.
        assert told["a_effective"] == pytest.approx(np.max(own), rel=1e-10)


@pytest.mark.parametrize("case", [c for c in ORTHOGONAL if "noise" not in c])
def test_asking_for_a_gives_that_a(case: str) -> None:
    assert np.max(sample_a(build(case, a=1.37))) == pytest.approx(1.37, rel=1e-10)


def test_norms_are_kept_on_images_made_orthogonal() -> None:
    x = np.asarray(build("phase-retrieval on images").X)
    gram = x @ x.T
    np.testing.assert_allclose(gram, np.diag(np.diag(gram)), atol=1e-12 * np.max(gram))
    assert np.ptp(np.sqrt(np.diag(gram))) > 0.1, "images have different lengths"


# --- derivatives --------------------------------------------------------------------------------------------


@pytest.fixture(params=[*ORTHOGONAL, *RAW])
def system(request: pytest.FixtureRequest) -> Regression:
    return as_leaves(build(request.param, lr=0.21, scale=0.8), "float64")


def test_a_step_is_minus_lr_times_the_gradient(system: Regression) -> None:
    state = system.init()
    for _ in range(3):
        want = jax.jit(lambda s: s - system.lr * jax.grad(system.loss)(s))(state)
        got = system.step(state)
        # A gradient of terms that partly cancel: rounding relative to the largest entry.
        scale = float(jnp.max(jnp.abs(want)) + jnp.max(jnp.abs(state)))
        assert float(jnp.max(jnp.abs(got - want))) < 1e-13 * scale
        state = got


def test_the_loss_is_half_the_mean_square_error(system: Regression) -> None:
    state = system.init()
    by_hand = 0.5 * np.mean((np.asarray(system.predict(state, system.X)) - np.asarray(system.targets())) ** 2)
    assert float(system.loss(state)) == pytest.approx(by_hand, rel=1e-14)


def test_the_kernel_is_that_of_the_jacobian(system: Regression) -> None:
    state = system.init()
    jacobian = jax.jit(jax.jacrev(lambda s: system.predict(s, system.X).ravel()))(state)
    jacobian = jacobian.reshape(system.X.shape[0], -1)
    want = np.asarray(jacobian @ jacobian.T) / system.X.shape[0]
    got = np.asarray(system.kernel(state))
    np.testing.assert_allclose(got, want, atol=1e-13 * np.max(np.abs(want)))
    top = float(system.lr) * np.linalg.eigvalsh(want)[-1]
    assert float(system.curvature(state)) == pytest.approx(top, rel=1e-12)


def tangent_agrees(system: Map, state: Any, v: Any) -> None:
    new, slope = system.tangent(state, v)
    want_new, want_slope = jax.jvp(system.step, (state,), (v,))
    np.testing.assert_allclose(new, want_new, rtol=1e-14, atol=1e-14)
    np.testing.assert_allclose(slope, want_slope, rtol=1e-12, atol=1e-12 * float(jnp.max(jnp.abs(want_slope)) + 1))


def test_the_tangent_is_the_derivative_of_the_step(system: Regression) -> None:
    state = system.init()
    v = jnp.asarray(np.random.default_rng(0).standard_normal(state.shape))
    tangent_agrees(system, state, v)
    # ... and of a difference quotient, which knows nothing of automatic differentiation. The step is a cubic: a
    # central difference of 1e-5 errs by its third derivative times 1e-10 and by eps / 1e-5.
    h = 1e-5
    quotient = (system.step(state + h * v) - system.step(state - h * v)) / (2 * h)
    size = float(jnp.max(jnp.abs(quotient)))
    np.testing.assert_allclose(system.tangent(state, v)[1], quotient, atol=1e-6 * size)


def test_the_solution_fits_noiseless_targets(system: Regression) -> None:
    if float(system.noise) != 0 and system.theory == "quadratic-net":
        pytest.skip("the net's solution is the teacher's, documented as not fitting the noise")
    quiet = eqx.tree_at(lambda s: s.noise, system, 0.0)
    error = np.asarray(quiet.error(quiet.solution()))
    # The pseudo-inverse of raw rows is exact to eps times their condition number, below 1e3 here.
    assert np.max(np.abs(error)) < 1e-11 * max(1.0, np.max(np.abs(np.asarray(quiet.targets()))))
    # At the solution the step stays.
    there = quiet.solution()
    assert float(jnp.max(jnp.abs(quiet.step(there) - there))) < 1e-11


@given(st.floats(0.05, 2.0), st.floats(-2.0, 2.0))
def test_a_run_from_z0_iterates_the_map_itself(a: float, z: float) -> None:
    with precision("float64"):
        system = as_leaves(Cubic(a, z), "float64")
        state = system.init()
        assert float(system.residual(state)) == z
        assert float(system.step(state)) == pytest.approx(float(cubic.f(z, a)), abs=100 * EPS)
        tangent_agrees(system, state, jnp.ones(()))


@given(st.floats(0.05, 2.0), st.floats(1e-3, 1.0))
def test_the_cubic_in_x_is_the_cubic_in_z(a: float, u: float) -> None:
    with precision("float64"):
        system = as_leaves(Cubic(a), "float64")
        x = jnp.asarray(u * np.sqrt(2 + a))
        z = float(system.residual(x))
        # Ten operations on numbers below 16.
        assert float(system.residual(system.step(x))) == pytest.approx(float(cubic.f(z, a)), abs=200 * EPS)
        # Gradient descent with step size 1 on half the loss of the map: z^2 / 4 has x (x^2 - a) as its gradient.
        assert float(system.step(x)) == pytest.approx(float(x - 0.5 * jax.grad(system.loss)(x)), abs=50 * EPS)
        tangent_agrees(system, x, jnp.ones(()))
        # The chain rule links the two derivatives: f'(z) dz/dx = dz/dx(new) dx(new)/dx.
        _, slope = system.tangent(x, jnp.ones(()))
        want = float(cubic.df(z, a)) * 2 * float(x)
        assert float(2 * system.step(x) * slope) == pytest.approx(want, abs=1e-12)
        assert float(system.curvature(x)) == pytest.approx(2 * (z + a), abs=50 * EPS)


@given(st.floats(0.1, 2.0), st.floats(0.001, 0.999))
def test_starts_from_z0_come_back(a: float, fraction: float) -> None:
    with precision("float64"):
        z0 = -a + fraction * (2 + a)
        system = as_leaves(Cubic(a, z0), "float64")
        assert float(system.residual(system.init())) == pytest.approx(z0, abs=20 * EPS)


@pytest.mark.parametrize("below", [1e-6, 0.1, 1.0])
def test_starts_below_minus_a_escape_like_the_map(below: float) -> None:
    """z0 < -a has no data behind it; the map pushes it out, and so does the chart."""
    a = 1.1
    system = as_leaves(Cubic(a, -a - below), "float64")
    z = residuals(system, 4)
    np.testing.assert_allclose(z, by_theory(np.array(-a - below), np.array(a), 4), rtol=1e-12, atol=1e-13)


# --- starts on the leading mode -----------------------------------------------------------------------------

FRACTIONS = np.linspace(0.02, 0.98, 9)


@jax.jit
def _spread(system: Map, u: jax.Array) -> jax.Array:
    """Residuals at the starts of fractions u, shape (starts, n)."""
    return jax.vmap(lambda w: system.residual(system.start(w)))(u)


QUIET = ("phase-retrieval", "phase-retrieval, linear term", "quadratic-net", "phase-retrieval on images")


@pytest.mark.parametrize("case", QUIET)
@pytest.mark.parametrize("a", [0.9, 1.4])
def test_leading_starts_span_the_interval_of_the_cubic_map(case: str, a: float) -> None:
    """On orthogonal rows the leading mode is one sample, whose z runs from -a (saddle) to 2 as u goes from 0 to 1.

    The other modes start off the solution by 1 per cent of the weights, which also moves the leading one: x^2 = z + a
    by some per cent of its range.
    """
    system = as_leaves(build(case, a=a, start="leading"), "float64")
    own = sample_a(system)
    k = int(np.argmax(own))
    u = jnp.asarray(FRACTIONS)
    z = np.asarray(_spread(system, u))
    x = np.sqrt(z[:, k] + a)
    assert system.over_starts()
    np.testing.assert_allclose(x, np.asarray(u) * np.sqrt(2 + a), atol=0.1)
    assert np.all(z[:, k] > -a) and np.all(z[:, k] < 2.2)
    others = np.delete(z, k, axis=1)
    # The rest sits near the solution: within a tenth of the leading mode's range.
    assert np.max(np.abs(others)) < 0.1 * (2 + a)
