"""The D=1 model's cones, nullclines and ODE, and the (D, P) model's constants, against independent NumPy."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from trainphase.errors import RequestError
from trainphase.theory import quadratic, two_step
from trainphase.theory import quadratic_1d as model

# a few roundings of quantities below about 100
ROUNDING = 1e-12


def state(c1, c2, eps, E):
    """(z, T) of square-root shares c_i: z = (c_1^2 - c_2^2/eps - E)/2."""
    return (c1**2 - c2**2 / eps - E) / 2, c1**2 + c2**2


EPS = st.one_of(st.floats(0.05, 1.0), st.floats(-0.9, -0.05))
SHARE = st.floats(-1.5, 1.5)


@given(SHARE, SHARE, EPS, st.floats(-1, 1))
def test_coordinates_and_one_step(c1, c2, eps, E):
    z, T = state(c1, c2, eps, E)
    tol = ROUNDING * (1 + abs(z)) ** 4  # |z| reaches 25 at eps = 0.05
    first, second = model.eigen_curvatures(z, T, eps, E)
    assert abs(first - c1**2) < tol and abs(second - c2**2) < tol
    for k in range(-1, 4):
        assert abs(model.moment(k, z, T, eps, E) - (c1**2 + (-eps) ** k * c2**2)) < tol
    assert abs(model.T1(z, T, eps, E) - (c1**2 - eps * c2**2)) < tol
    assert abs(model.T2(z, T, eps, E) - (c1**2 + eps**2 * c2**2)) < tol
    z1, t1 = state(c1 * (1 - z), c2 * (1 + eps * z), eps, E)
    assert abs(model.delta_z(z, T, eps, E) - (z1 - z)) < tol
    assert abs(model.delta_T(z, T, eps, E) - (t1 - T)) < tol
    # gradient flow: c_i' = -w_i z c_i, so (c_i^2)' = -2 w_i z c_i^2
    slope = -2 * z * (c1**2 - eps * c2**2)
    if abs(slope) > tol:
        assert bool(model.sharpens_under_flow(z, T, eps, E)) == (slope > 0)


@pytest.mark.parametrize("eps", [0.05, 0.5, 1.0, -0.3, -0.9])
@pytest.mark.parametrize("E", [0.0, 0.7])
def test_cone_is_where_both_shares_exist(eps, E):
    rng = np.random.default_rng(3)
    z, T = rng.uniform(-2, 2, 4000), rng.uniform(-1, 5, 4000)
    # T = s1 + s2 and B = s1 - s2/eps, solved as a linear system
    shares = np.linalg.solve(np.array([[1, 1], [1, -1 / eps]]), np.stack([T, 2 * z + E]))
    want = np.all(shares >= 0, axis=0)
    assert 0 < np.mean(want) < 1
    assert np.array_equal(model.allowed(z, T, eps, E), want)
    assert np.array_equal(model.allowed_cone(z, T, 1 / eps, E), want)


def test_cone_at_eps_zero_and_on_its_edges():
    z = np.array([-0.5, 0.5, 0.5])
    assert model.allowed(z, [0.0, 1.0, 0.9], 0.0).tolist() == [True, True, False]
    assert model.allowed(z, [0.1, 1.0, 0.9], 0.1).tolist() == [True, True, False]
    assert model.allowed(0.5, [1.0, 0.99, 1.01, 0.1], -0.1).tolist() == [True, True, False, True]


@given(st.floats(0.05, 1.0), st.floats(-1, 1), st.floats(-1.5, 1.5))
def test_one_step_nullclines(eps, E, z):
    f_z, f_T = float(model.nullcline_z(z, eps, E)), float(model.nullcline_T(z, eps, E))
    assert abs(model.delta_z(z, f_z, eps, E)) < ROUNDING
    if abs((1 - eps + eps**2) * z - 2 * (1 - eps)) > 1e-3:  # away from the pole
        assert abs(model.delta_T(z, f_T, eps, E)) < ROUNDING * (1 + abs(f_T))
    a = 1 / eps
    b = 2 * z + E
    assert f_z == pytest.approx(z * b / (2 * a - (a - 1) * z), rel=1e-12, abs=1e-14)


def follow(coefficient, z, eps, steps):
    """The root of the cubic in T that starts at 2, by NumPy's roots at each of many z; NaN once it is complex."""
    T = 2.0
    for n in range(1, steps + 1):
        here = z * n / steps
        roots = np.roots([float(coefficient(k, here, eps)) for k in (3, 2, 1, 0)])
        nearest = roots[np.argmin(np.abs(roots - T))]
        if abs(nearest.imag) > 1e-7:
            return math.nan
        T = nearest.real
    return T


POINTS = [(-2.0, 0.1), (-1.7, 0.1), (-0.8, 0.5), (-1.1, 0.5), (0.9, 0.1), (1.0, 0.1), (1.3, 0.1), (0.4, 0.5), (0.6, 0.005)]


def test_two_step_nullclines_follow_their_branch():
    z, eps = np.array(POINTS).T
    f_z, f_T = model.two_step_nullclines(z, eps)
    for n, point in enumerate(POINTS):
        for got, coefficient in ((f_z[n], two_step.p), (f_T[n], two_step.q)):
            # eigenvalue solver: 1e-16 times the condition of a root at a distance of 0.1 from the next
            assert got == pytest.approx(follow(coefficient, *point, 250), rel=1e-8, nan_ok=True), point
    assert np.isnan(f_z[0]) and not np.isnan(f_T[0]) and np.isnan(f_T[2])
    assert np.allclose(two_step.delta_z(z[4], f_z[4], eps[4]), 0, atol=1e-10)
    assert np.allclose(two_step.delta_T(z[4], f_T[4], eps[4]), 0, atol=1e-10)


def test_two_step_nullclines_in_their_limits():
    assert model.two_step_nullclines(0.0, 0.3) == (2.0, 2.0)
    z = np.linspace(-2, 0.9, 30)
    for curve in model.two_step_nullclines(z, 0.0):
        assert np.allclose(curve, 2 / (1 - z), rtol=1e-9)  # Newton's tolerance
    assert np.all(np.isnan(model.two_step_nullclines(1.2, 0.0)))
    small = np.array([-0.02, 0.02])
    f_z, f_T = model.two_step_nullclines(small, 0.1)
    # the next terms of the series, 2 z^7
    assert np.allclose(f_z, model.series_f_z(small, 0.1, 6), rtol=0, atol=1e-11)
    assert np.allclose(f_z - f_T, model.series_f_gap(small, 0.1, 6), rtol=0, atol=1e-11)


def runge_kutta(z, y, eps, time, steps):
    v, h = np.array([z, y]), time / steps
    for _ in range(steps):
        k1 = np.array(model.ode_velocity(v[0], v[1], eps))
        k2 = np.array(model.ode_velocity(*(v + h / 2 * k1), eps))
        k3 = np.array(model.ode_velocity(*(v + h / 2 * k2), eps))
        k4 = np.array(model.ode_velocity(*(v + h * k3), eps))
        v = v + h / 6 * (k1 + 2 * k2 + 2 * k3 + k4)
    return v


@pytest.mark.parametrize("y0, z0", [(0.3, 0.05), (-0.02, 0.3), (-0.3, 0.2), (0.05, -0.1)])
def test_limit_of_the_ode(y0, z0):
    eps = 0.05
    z, y = runge_kutta(z0, y0, eps, 450.0, 9000)
    assert abs(z) < 1e-6  # so y is within z^2 of its limit
    assert y == pytest.approx(float(model.y_infinity(eps, y0, z0)), abs=1e-8)  # steps of 0.1 leave 4e-8, these a 16th
    on_the_way = runge_kutta(z0, y0, eps, 5.0, 500)
    start = model.ode_invariant(z0, y0, eps)
    assert model.ode_invariant(on_the_way[0], on_the_way[1], eps) == pytest.approx(start, rel=1e-8)


def test_ode_velocity_is_the_low_orders_of_the_normal_form():
    z, y, eps = 1e-3, 1e-4, 0.1
    dz, dy = two_step.normal_form(z, y, eps)
    vz, vy = model.ode_velocity(z, y, eps)
    assert vz == pytest.approx(dz, rel=2e-3)  # next: (1-eps) y z^2, half of z relative
    assert vy == pytest.approx(dy, rel=2e-3)  # next: (1-eps) z and 12 y^2/(4 eps)


def test_limit_of_the_ode_at_its_ends():
    eps = 0.01
    assert model.y_infinity(eps, 0.4, 0.0) == 0.4 and model.y_infinity(eps, -0.4, 0.0) == -0.4
    assert model.y_infinity(eps, float(model.y_star(eps)), 0.3) == pytest.approx(model.y_star(eps), abs=1e-15)
    # exp(-4 z0^2/eps) = e^-36 is all that is left of the start
    assert model.y_infinity(eps, [0.1, 0.0, -0.02], 0.3) == pytest.approx(model.y_star(eps), abs=1e-12)
    # u_0 = -4000: exp(-u_0) is past the largest double, the limit is not
    far = model.y_infinity(1e-3, -2.0, 0.01)
    assert np.isfinite(far) and -2.0 < far < model.y_star(1e-3)
    invariant = model.ode_invariant([0.01, 0.0], [-2.0, far], 1e-3)
    assert invariant[0] == pytest.approx(invariant[1], rel=1e-12)


def test_condition_of_theorem_3_1():
    eps = 0.01
    edge = math.sqrt(-eps * math.log(eps) / 16)
    assert model.theorem_3_1_applies([0.99 * edge, 1.01 * edge, -1.01 * edge], eps).tolist() == [False, True, True]
    # the closed form at the condition: eps^(1/4) of the transient is left, a third of it here
    limit = model.y_infinity(eps, 0.0, 3 * edge)
    assert limit == pytest.approx(model.y_star(eps), rel=0.02) and abs(limit) < abs(model.y_star(eps))


def test_family_that_sharpens():
    alternating = [2, -1, 2, -1]
    members = model.sharpening_family([0.1, -0.1, 0.1], [alternating, alternating, [2, 1, 2, 1]])
    assert members.tolist() == [True, False, False]
    # eigenvalues +-1 with more weight on -1, z > 0 (E < 0): the flow never lowers T
    z, shares, rates = 0.3, np.array([0.4, 0.9]), np.array([1.0, -1.0])
    moments = [np.sum(shares * rates**k) for k in range(8)]
    assert model.sharpening_family(z, moments)
    offset, last = z - np.sum(shares / rates) / 2, 0.0
    for _ in range(2000):
        z = np.sum(shares / rates) / 2 + offset
        assert np.sum(shares) >= last
        last = np.sum(shares)
        shares = shares * np.exp(-2 * rates * z * 0.005)
    assert last > 1.301


# --- the (D, P) model ---------------------------------------------------------------------------------------


def draw_q(rng, D, P, symmetry):
    a = rng.standard_normal((D, P, P))
    if symmetry == "iid":
        return a
    half = (a + a.transpose(0, 2, 1)) / 2
    return half * math.sqrt(2) if symmetry == "sym1" else half


def test_widths_there_and_back():
    std_z, std_J = quadratic.widths(0.3, 0.5, 20, [40, 80], lr=0.25)
    assert std_z == pytest.approx(0.3 / (0.25 * 20))
    assert std_J == pytest.approx(0.5 / (0.5 * np.array([800, 1600]) ** 0.25))
    back = quadratic.rescaled_widths(std_z, std_J, 20, [40, 80], lr=0.25)
    assert back[0] == pytest.approx(0.3) and back[1] == pytest.approx([0.5, 0.5])
    assert quadratic.r_NL(std_z, 20, 40, lr=0.25) == pytest.approx(quadratic.r_NL_rescaled(0.3, 20, 40))
    assert quadratic.top_eigenvalue(std_J, 20, [40, 80]) * 0.25 == pytest.approx(quadratic.initial_curvature(0.5, 20, [40, 80]))


@pytest.mark.parametrize("symmetry", quadratic.SYMMETRIES)
def test_nonlinearity_ratio_by_sampling(symmetry):
    rng, D, P, n, lr = np.random.default_rng(5), 4, 6, 20_000, 0.7
    z, J = 0.3 * rng.standard_normal((n, D)), 0.8 * rng.standard_normal((n, D, P))
    u = np.einsum("nai,na->ni", J, z)
    linear = np.sum(np.einsum("nai,ni->na", J, u) ** 2, axis=1)
    q = draw_q(rng, n * D, P, symmetry).reshape(n, D, P, P)
    bent = np.sum((0.5 * lr**2 * np.einsum("naij,ni,nj->na", q, u, u)) ** 2, axis=1)

    def close(sample, value):
        return abs(sample.mean() - value) < 4 * sample.std() / math.sqrt(n)

    expected = quadratic.linear_term(0.3, 0.8, D, P)
    assert close(linear, expected)
    assert close(bent, quadratic.r_NL(0.3, D, P, lr, symmetry, finite=True) ** 2 * lr**2 * expected)
    # the test would notice the factor of the symmetrisation and the paper's missing 1/(1 + D/P)
    assert not close(bent, 2 * quadratic.r_NL(0.3, D, P, lr, symmetry, finite=True) ** 2 * lr**2 * expected)
    assert not close(linear, 0.3**2 * 0.8**4 * D * P**2)


def test_nonlinearity_ratio_limits():
    for symmetry, s in zip(quadratic.SYMMETRIES, (2, 1, 1), strict=True):
        limit = quadratic.r_NL(1e-3, 4000, 8000, 2.0, symmetry)
        assert limit == pytest.approx(0.5 * 2 * 1e-3 * 4000 * math.sqrt(s / 1.5))
        # (1 + 2/D)(1 + 2/P)(1 - 1/(D+P)) to a half
        assert quadratic.r_NL(1e-3, 4000, 8000, 2.0, symmetry, finite=True) == pytest.approx(limit, rel=5e-4)
    assert quadratic.paper_r_NL(1e-3, 60) == pytest.approx(0.03)
    assert quadratic.r_NL(1e-3, 60, 120) / quadratic.paper_r_NL(1e-3, 60) == pytest.approx(math.sqrt(4 / 3))


def test_curvature_at_initialisation():
    assert quadratic.initial_curvature(1.0, 1, 1) == pytest.approx(4)
    assert quadratic.initial_curvature(0.35, 60, 120) == pytest.approx(0.505, abs=5e-4)
    assert quadratic.sigma_J_at_edge(60, 120) == pytest.approx(0.69662, abs=1e-5)
    assert quadratic.initial_curvature(quadratic.sigma_J_at_edge(30, 70), 30, 70) == pytest.approx(2)
    rng, D, P = np.random.default_rng(2), 60, 120
    tops = [np.linalg.svd(rng.standard_normal((D, P)), compute_uv=False)[0] ** 2 for _ in range(80)]
    # Johnstone's centring and scale with the Tracy-Widom mean -1.2065 put the mean of the top eigenvalue
    # below the edge, by 4.4 % here; 4 standard errors
    root, inverse = math.sqrt(P - 1) + math.sqrt(D), 1 / math.sqrt(P - 1) + 1 / math.sqrt(D)
    expected = root**2 - 1.2065 * root * inverse ** (1 / 3)
    assert abs(np.mean(tops) - expected) < 4 * np.std(tops) / math.sqrt(80)
    assert 0.95 < expected / quadratic.top_eigenvalue(1.0, D, P) < 0.96


def second_derivative(z, J, q):
    """lambda'' of the top eigenvalue of J J^T under z' = -J J^T z, J' = -Q(J^T z, .), for one draw."""
    u = J.T @ z
    j1 = -q @ u
    j2 = -q @ (j1.T @ z + J.T @ -(J @ u))
    m1, m2 = j1 @ J.T + J @ j1.T, j2 @ J.T + 2 * j1 @ j1.T + J @ j2.T
    values, vectors = np.linalg.eigh(J @ J.T)
    v = vectors[:, -1]
    mixed = vectors[:, :-1].T @ m1 @ v
    return v @ m2 @ v + 2 * np.sum(mixed**2 / (values[-1] - values[:-1]))


def test_second_derivative_of_one_draw_is_the_derivative():
    rng = np.random.default_rng(11)
    z, J, q = rng.standard_normal(3), rng.standard_normal((3, 5)), draw_q(rng, 3, 5, "sym1")

    def top(t):
        """Top eigenvalue at time t of the flow, by 40 Runge-Kutta steps."""
        y, h = [z, J], t / 40

        def velocity(z, J):
            u = J.T @ z
            return -J @ u, -q @ u

        for _ in range(40):
            k = [velocity(*y)]
            for part in (0.5, 0.5, 1.0):
                k.append(velocity(y[0] + part * h * k[-1][0], y[1] + part * h * k[-1][1]))
            y = [y[n] + h / 6 * (k[0][n] + 2 * k[1][n] + 2 * k[2][n] + k[3][n]) for n in range(2)]
        return np.linalg.eigvalsh(y[1] @ y[1].T)[-1]

    h = 1e-4
    numeric = (top(h) - 2 * top(0.0) + top(-h)) / h**2
    # rounding 1e-15 * 10 / h^2 = 1e-6 on a value near 1e2, and h^2 times the fourth derivative
    assert numeric == pytest.approx(second_derivative(z, J, q), rel=1e-4)


@pytest.mark.parametrize("symmetry", quadratic.SYMMETRIES)
def test_sharpening_given_the_spectrum(symmetry):
    """E[lambda'' | J] is exact: sampled over z and Q at one J, whose gaps are not small."""
    rng, D, P, n = np.random.default_rng(7), 3, 4, 10_000
    J = np.diag([3.0, 1.2, 0.8]) @ np.linalg.qr(rng.standard_normal((P, D)))[0].T
    draws = np.array(
        [second_derivative(0.5 * rng.standard_normal(D), J, draw_q(rng, D, P, symmetry)) for _ in range(n)]
    )
    value = quadratic.second_derivative(np.linalg.eigvalsh(J @ J.T), 0.5, P, symmetry)
    error = draws.std() / math.sqrt(n)
    assert abs(draws.mean() - value) < 4 * error
    # the factor of 2 between sym1 and the others would be noticed (iid and symh are 10 % apart here)
    for other in ("symh", "iid") if symmetry == "sym1" else ("sym1",):
        wrong = quadratic.second_derivative(np.linalg.eigvalsh(J @ J.T), 0.5, P, other)
        assert abs(draws.mean() - wrong) > 4 * error


@pytest.mark.parametrize("D, P", [(80, 160), (160, 80)])
def test_theorem_4_1_is_the_limit(D, P):
    rng = np.random.default_rng(13)
    spectra = np.array([np.linalg.svd(rng.standard_normal((D, P)), compute_uv=False) for _ in range(60)])
    values = spectra[:, : min(D, P)] ** 2
    if D > P:
        values = np.concatenate([values, np.zeros((len(values), D - P))], axis=1)
    ratio = 0.0
    for symmetry in quadratic.SYMMETRIES:
        exact = quadratic.second_derivative(values, 0.1, P, symmetry)
        ratio = exact.mean() / values.max(axis=1).mean()
        # the edge of the spectrum converges as D^(-2/3), 5 % here; 3 standard errors of about 2 %
        assert ratio == pytest.approx(quadratic.sharpening_ratio(0.1, D, P, symmetry), rel=0.12)
    # the paper's value lacks D P; the step without rotation lacks a factor of order D
    assert ratio > 1e4 * quadratic.paper_sharpening_ratio(0.1)
    assert ratio > 30 * quadratic.diagonal_sharpening_ratio(0.1, D, P)


def test_forms_of_theorem_4_1_agree():
    for symmetry, factor in zip(quadratic.SYMMETRIES, (2, 1, 2), strict=True):
        assert quadratic.sharpening_ratio_rescaled(0.3, 60, 120, symmetry) == pytest.approx(factor * 2 * 0.09)
        std_z, std_J = quadratic.widths(0.3, 0.5, 60, 120)
        ratio = quadratic.sharpening_ratio(std_z, 60, 120, symmetry)
        assert ratio == pytest.approx(quadratic.sharpening_ratio_rescaled(0.3, 60, 120, symmetry))
        whole = quadratic.second_derivative_limit(std_z, std_J, 60, 120, symmetry)
        assert whole == pytest.approx(ratio * quadratic.top_eigenvalue(std_J, 60, 120))
    assert quadratic.sharpening_ratio(0.1, 60, 120, finite=True) == pytest.approx(2 * 120 * 61 * 0.01)
    # (146) is the symh value to leading order
    big = quadratic.paper_second_derivative(0.1, 0.2, 6000, 12000)
    assert big == pytest.approx(quadratic.second_derivative_limit(0.1, 0.2, 6000, 12000, "symh"), rel=1e-4)
    assert quadratic.diagonal_sharpening_ratio(1.0, 10, 20) == pytest.approx(46.9, abs=0.05)


def test_requests_are_refused():
    for call in (
        lambda: model.allowed(0.1, 1.0, 1.5),
        lambda: model.allowed_cone(0.1, 1.0, 0.5),
        lambda: model.moment(-2, 0.1, 1.0, 0.1),
        lambda: model.two_step_nullclines(0.1, 1.0),
        lambda: model.y_infinity(0.0, 0.1, 0.1),
        lambda: quadratic.r_NL(0.1, 10, 20, symmetry="goe"),
        lambda: quadratic.r_NL(0.1, 10, 20, lr=0.0),
        lambda: quadratic.widths(0.1, 0.1, 0, 20),
        lambda: quadratic.second_derivative(1.0, 0.1, 3),
    ):
        with pytest.raises(RequestError):
            call()
