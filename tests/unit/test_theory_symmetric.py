"""The symmetric model's exact line, ellipse and linear net, against independent NumPy."""

from __future__ import annotations

import math
from fractions import Fraction as F

import numpy as np
import pytest

from trainphase.errors import RequestError
from trainphase.theory import symmetric

ROUNDING = 1e-12  # a few roundings of values below 100


def step(z, T, E):
    """One step in (z, T), as (65), (66) give it for eigenvalues {1, -1}."""
    b = 2 * z + E
    return z * (1 - T) + z * z * b / 2, T - 2 * z * b + z * z * T


@pytest.mark.parametrize("E", [0.0, 0.5, -1.3, 3.9])
def test_invariant_and_its_multiplier(E):
    rng = np.random.default_rng(1)
    z, T = rng.uniform(-2, 2, 200), rng.uniform(0, 8, 200)
    z1, t1 = step(z, T, E)
    got = symmetric.invariant(z1, t1, E)
    assert np.allclose(got, symmetric.invariant(z, T, E) * symmetric.invariant_multiplier(z, E), rtol=0, atol=ROUNDING)
    assert np.all(symmetric.invariant_multiplier(z, E) >= 1 - E**2 / 16 - ROUNDING)
    on = symmetric.divergence_line(z, E)
    z1, t1 = step(z, on, E)
    assert np.allclose(t1, symmetric.divergence_line(z1, E), rtol=0, atol=10 * ROUNDING)


def test_invariant_in_exact_arithmetic():
    z, T, E = F(3, 7), F(22, 5), F(5, 6)
    z1, t1 = step(z, T, E)
    assert t1 - 4 - E * z1 / 2 == (T - 4 - E * z / 2) * (1 + z * (z + E / 2))


@pytest.mark.parametrize("E", [0.0, 1.0, -2.5, 3.5])
def test_bounded_against_iteration(E):
    rng = np.random.default_rng(17)
    z, T = rng.uniform(-2.5, 2.5, 4000), rng.uniform(0, 9, 4000)
    keep = symmetric.allowed(z, T, E) & (np.abs(symmetric.invariant(z, T, E)) > 1e-3)
    z, T = z[keep], T[keep]
    predicted = symmetric.bounded(z, T, E)
    assert min(predicted.sum(), (~predicted).sum()) > 50
    inside = np.ones(z.shape, bool)
    for _ in range(3000):
        z, T = step(z, T, E)
        inside &= np.abs(z) < 10
        z, T = np.where(inside, z, 0.0), np.where(inside, T, 0.0)
    assert np.array_equal(predicted, inside)


def test_triangle():
    E = 1.5
    low, right, left = symmetric.triangle(E)
    assert low.tolist() == [-0.75, 0.0] and right.tolist() == [2.0, 5.5] and left.tolist() == [-2.0, 2.5]
    # the upper vertices lie on the line and on the edges of the cone; the lower one is the cone's tip
    for z, T in (right, left):
        assert symmetric.divergence_line(z, E) == T and abs(2 * z + E) == T
    assert symmetric.allowed(low[0], low[1], E) and not symmetric.allowed(low[0], -1e-9, E)


def test_ellipse_and_chebyshev():
    rng, E = np.random.default_rng(4), 1.2
    z, T = rng.uniform(-2, 2, 500), rng.uniform(0, 6, 500)
    keep = symmetric.allowed(z, T, E)
    z, T = z[keep], T[keep]
    x, w = symmetric.to_factors(z, T, E)
    back = symmetric.from_factors(x, w, E)
    assert np.allclose(back[0], z, atol=ROUNDING) and np.allclose(back[1], T, atol=ROUNDING)
    a = E / 2
    assert np.allclose(symmetric.ellipse(x, w, E), 1 + symmetric.invariant(z, T, E) / (4 - a * a), atol=ROUNDING)
    assert np.array_equal(symmetric.ellipse(x, w, E) < 1, symmetric.bounded(z, T, E))
    # the map is x (1 - z), w (1 + z)
    z1, t1 = step(z, T, E)
    moved = symmetric.from_factors(x * (1 - z), w * (1 + z), E)
    assert np.allclose(moved[0], z1, atol=ROUNDING) and np.allclose(moved[1], t1, atol=ROUNDING)
    phi = rng.uniform(-math.pi, math.pi, 200)
    x, w = symmetric.ellipse_point(phi, E)
    assert np.allclose(symmetric.ellipse_angle(x, w, E), phi, atol=ROUNDING)
    z, T = symmetric.from_factors(x, w, E)
    assert np.allclose(z, 2 * np.cos(2 * phi), atol=ROUNDING)
    assert np.allclose(T, symmetric.divergence_line(z, E), atol=ROUNDING)
    ahead = symmetric.ellipse_point(symmetric.ellipse_step(phi), E)
    assert np.allclose(ahead[0], x * (1 - z), atol=ROUNDING) and np.allclose(ahead[1], w * (1 + z), atol=ROUNDING)


def test_catapult_phases():
    assert symmetric.catapult_phases([1.0, 2.0, 2.5, 4.0, 4.1]).tolist() == ["lazy", "lazy", "catapult", "catapult", "divergent"]
    ends = []
    for T0 in (1.5, 2.5, 3.5):
        z, T, top = 0.01, T0, 0.01
        for _ in range(5000):
            z, T = step(z, T, 0.0)
            top = max(top, abs(z))
        ends.append((T, top))
    assert ends[0][0] == pytest.approx(1.5, abs=1e-3) and ends[0][1] == 0.01  # T moves by 4 z^2 a step at most
    assert ends[1][1] > 0.1 and ends[2][1] > 0.1
    assert ends[1][0] == pytest.approx(1.282, abs=1e-3) and ends[2][0] == pytest.approx(0.554, abs=1e-3)


def net(rng, hidden=3, inputs=4):
    return rng.standard_normal((hidden, inputs)), rng.standard_normal(hidden), rng.standard_normal(inputs)


def test_linear_net_is_the_symmetric_model():
    rng, lr, y = np.random.default_rng(8), 0.02, 0.7
    U, v, x = net(rng)
    norm = math.sqrt(x @ x)

    def coordinates():
        z, E = symmetric.linear_net_coordinates(lr, norm, v @ U @ x - y, y)
        h = U @ x
        return float(z), lr * float(h @ h + v @ v * norm**2), float(E)

    z, T, E = coordinates()
    for _ in range(30):
        r = v @ U @ x - y
        U, v = U - lr * r * np.outer(v, x), v - lr * r * (U @ x)
        z, T = step(z, T, E)
        got = coordinates()
        assert got == pytest.approx((z, T, E), abs=1e-12)  # 30 steps of rounding
    assert abs(z) < 1e-3 and E != 0  # it converged, on a target that is not 0


def test_linear_net_spectrum():
    hidden, inputs = 2, 3
    x = np.array([0.3, -1.2, 0.8])
    # theta = (U rows, v); f = v^T U x is theta^T Q theta / 2
    size = hidden * inputs + hidden
    q = np.zeros((size, size))
    for i in range(hidden):
        q[i * inputs : (i + 1) * inputs, hidden * inputs + i] = x
    values = np.sort(np.linalg.eigvalsh(q + q.T))
    listed = symmetric.linear_net_spectrum(math.sqrt(x @ x), hidden, inputs)
    expected = np.sort(np.concatenate([np.full(count, value) for value, count in listed]))
    assert np.allclose(values, expected, atol=1e-14)


def test_bordelon_pehlevan_identity():
    rng, y = np.random.default_rng(9), -0.4
    U, v, x = net(rng)
    norm2 = x @ x

    def kernel(U, v):
        return (U @ x) @ (U @ x) + v @ v * norm2

    z = v @ U @ x - y
    dU, dv = -z * np.outer(v, x), -z * (U @ x)
    got_z, got_K = symmetric.bordelon_pehlevan_velocity(kernel(U, v), z, y, norm2)
    h = 1e-5
    # central differences: h^2 times a third derivative below 1e3, and rounding 1e-15 * 10 / h
    far, near = (U + h * dU, v + h * dv), (U - h * dU, v - h * dv)
    assert got_K == pytest.approx((kernel(*far) - kernel(*near)) / (2 * h), rel=1e-6)
    assert got_z == pytest.approx((far[1] @ far[0] @ x - near[1] @ near[0] @ x) / (2 * h), rel=1e-6)
    ends = [symmetric.kernel_invariant(kernel(*p), p[1] @ p[0] @ x, norm2) for p in (far, near)]
    start = symmetric.kernel_invariant(kernel(U, v), v @ U @ x, norm2)
    assert start > 0 and abs(ends[0] - ends[1]) / (2 * h) < 1e-5 * start


def test_requests_are_refused():
    for call in (
        lambda: symmetric.divergence_line(0.1, 4.0),
        lambda: symmetric.bounded(0.1, 1.0, [0.0, -5.0]),
        lambda: symmetric.to_factors(1.0, 1.0),
        lambda: symmetric.linear_net_coordinates(0.0, 1.0, 0.1, 0.1),
        lambda: symmetric.linear_net_spectrum(1.0, 0, 3),
    ):
        with pytest.raises(RequestError):
            call()
