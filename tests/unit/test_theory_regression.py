"""Gradient descent in parameter space, written out here, is one cubic map per sample on orthogonal rows."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from trainphase.errors import RequestError
from trainphase.theory import regression as reg

N, D, M = 6, 9, 7
GAMMA, C = 0.7, 0.45
NORM2 = np.array([0.3, 1.0, 2.5, 4.0, 9.0, 0.8])
# one sample per kind of dynamics: monotonic, catapult, period 2, period 4, chaotic, monotonic
LEVELS = np.array([0.4, 0.93, 1.17, 1.26, 1.5, 0.7])
REGULAR = np.array([True, True, True, True, False, True])
LR = 0.8
STEPS = 30


def orthogonal_rows(seed, norm2):
    q, _ = np.linalg.qr(np.random.default_rng(seed).normal(size=(D, D)))
    return q[: len(norm2)] * np.sqrt(norm2)[:, None]


def cubic(z, a):
    return z**3 + (a - 2) * z**2 + (1 - 2 * a) * z


def descend_phase_retrieval(x, y, w, lr, steps):
    """Predictions at each of ``steps`` + 1 times, gradient written from the loss (1/2n) sum (g - y)^2."""
    out = []
    for _ in range(steps + 1):
        p = x @ w
        g = GAMMA / 2 * p**2 + C * p
        out.append(g)
        w = w - lr / len(y) * x.T @ ((g - y) * (GAMMA * p + C))
    return np.array(out), w


def descend_quadratic_net(x, y, u, lr, steps, d):
    """As above, for f = (1/(sqrt(m) d)) sum_j (x.u_j)^2 with u of shape (m, inputs)."""
    out = []
    for _ in range(steps + 1):
        p = x @ u.T
        g = (p**2).sum(axis=1) / (math.sqrt(len(u)) * d)
        out.append(g)
        u = u - lr / len(y) * 2 / (math.sqrt(len(u)) * d) * ((g - y)[:, None] * p).T @ x
    return np.array(out), u


def phase_retrieval_case(levels=LEVELS):
    """Data whose a_i are ``levels`` at step size LR, and a start with z_i(0) in (-a_i, 0.6)."""
    x = orthogonal_rows(1, NORM2)
    y = (levels * N / (LR * NORM2) - C**2 / 2) / GAMMA
    u = np.sqrt(2 * N / (LR * NORM2)) * np.random.default_rng(2).uniform(0.2, 1.2, N)
    return x, y, np.linalg.pinv(x) @ ((u - C) / GAMMA)


def quadratic_net_case(levels=LEVELS, d=5.0):
    x = orthogonal_rows(3, NORM2)
    rate = 2 * NORM2 / (N * math.sqrt(M) * d)
    y = levels / (LR * rate)
    p = np.random.default_rng(4).normal(size=(N, M))
    p *= (np.random.default_rng(2).uniform(0.2, 1.2, N) / np.linalg.norm(p, axis=1))[
        :, None
    ]  # sum p^2 = x^2 below
    p *= np.sqrt(math.sqrt(M) * d / (LR * rate))[:, None]
    return x, y, (np.linalg.pinv(x) @ p).T


def follow(z, a):
    orbit = [z]
    for _ in range(STEPS):
        orbit.append(cubic(orbit[-1], a))
    return np.array(orbit)


def compare(z, a):
    """z (times, samples) of a run against the map, by steps and by orbits."""
    assert np.all(z[0] > -a) and np.all(z[0] < 2)
    # one step: some tens of roundings of numbers up to 10
    assert np.max(np.abs(z[1:] - cubic(z[:-1], a))) < 1e-13
    gap = np.abs(z - follow(z[0], a))
    assert gap[:, REGULAR].max() < 1e-12
    # the chaotic sample separates at a rate of about exp(0.5) a step; x 100 for its fluctuation
    horizon = 1e-15 * np.exp(0.5 * np.arange(STEPS + 1)) * 100
    assert np.all(gap[:, ~REGULAR] < horizon[:, None])


def test_phase_retrieval_is_a_cubic_map_per_sample():
    x, y, w = phase_retrieval_case()
    a = reg.phase_retrieval_a(LR, NORM2, N, GAMMA, C, y)
    np.testing.assert_allclose(a, LEVELS, rtol=1e-14)  # a few roundings
    g, _ = descend_phase_retrieval(x, y, w, LR, STEPS)
    compare(reg.phase_retrieval_z(g, y, LR, NORM2, N, GAMMA), a)


def test_quadratic_net_is_a_cubic_map_per_sample():
    x, y, u = quadratic_net_case()
    a = reg.quadratic_net_a(LR, NORM2, N, M, 5.0, y)
    np.testing.assert_allclose(a, LEVELS, rtol=1e-14)  # a few roundings
    g, _ = descend_quadratic_net(x, y, u, LR, STEPS, 5.0)
    compare(reg.quadratic_net_z(g, y, LR, NORM2, N, M, 5.0), a)


def test_a_is_half_the_step_size_times_the_kernel_eigenvalue_at_the_solution():
    levels = np.linspace(0.3, 0.8, N)  # all converge
    x, y, w = phase_retrieval_case(levels)
    g, w = descend_phase_retrieval(x, y, w, LR, 400)
    jac = (GAMMA * (x @ w) + C)[:, None] * x
    # 400 steps contract residuals by 0.6^400, so only rounding is left
    assert np.max(np.abs(g[-1] - y)) < 1e-12
    kernel = np.sort(np.linalg.eigvalsh(jac @ jac.T / N))
    np.testing.assert_allclose(reg.effective_a(LR, kernel), np.sort(levels), rtol=1e-12)

    x, y, u = quadratic_net_case(levels)
    _, u = descend_quadratic_net(x, y, u, LR, 400, 5.0)
    jac = np.einsum("ij,ik->ijk", 2 * (x @ u.T) / (math.sqrt(M) * 5.0), x).reshape(N, -1)
    top = np.linalg.eigvalsh(jac @ jac.T / N)[-1]
    np.testing.assert_allclose(reg.effective_a(LR, top), levels.max(), rtol=1e-12)
    np.testing.assert_allclose(reg.effective_lr_at(1.0, top), LR / levels.max(), rtol=1e-12)


def test_sample_with_negative_a_settles_where_the_slope_vanishes():
    levels = np.array([0.4, -0.3, 0.5, 0.6, 0.7, -0.9])
    x, y, w = phase_retrieval_case(levels)
    g, _ = descend_phase_retrieval(x, y, w, LR, 400)
    z = reg.phase_retrieval_z(g[-1], y, LR, NORM2, N, GAMMA)
    # contraction by at worst 0.49 a step; rounding is left
    np.testing.assert_allclose(z, np.where(levels < 0, -levels, 0.0), atol=1e-12)


SCALES = np.array([0.25, 1.0, 3.0])


@pytest.mark.parametrize("level", [0.8284271247461901, 1.0, 1.3022834627007122, 2.0])
def test_lines_in_the_plane_of_step_size_and_target_scale(level):
    t = np.random.default_rng(7).uniform(-0.5, 2.0, N)
    lr = reg.phase_retrieval_lr_at(level, NORM2, N, GAMMA, C, t, SCALES)
    for rate, scale in zip(lr, SCALES, strict=True):
        # a few roundings
        largest = reg.phase_retrieval_a(rate, NORM2, N, GAMMA, C, scale * t).max()
        assert abs(largest - level) < 1e-14 * 4
    lr = reg.quadratic_net_lr_at(level, NORM2, N, M, 5.0, t, SCALES)
    for rate, scale in zip(lr, SCALES, strict=True):
        largest = reg.quadratic_net_a(rate, NORM2, N, M, 5.0, scale * t).max()
        assert abs(largest - level) < 1e-14 * 4
    # the net's line is lr * scale = constant; phase retrieval's is not, for c does not scale
    np.testing.assert_allclose(lr * SCALES, lr[1], rtol=1e-14)


def test_descent_diverges_exactly_above_the_line_of_a_two():
    t = np.random.default_rng(8).uniform(0.5, 2.0, N)
    for scale in SCALES:
        lr = reg.phase_retrieval_lr_at(2.0, NORM2, N, GAMMA, C, t, scale)
        x, y = orthogonal_rows(1, NORM2), scale * t
        for factor, bounded in ((0.999, True), (1.001, False)):
            a = reg.phase_retrieval_a(lr * factor, NORM2, N, GAMMA, C, y)
            u = np.sqrt(2 * N / (lr * factor * NORM2)) * np.sqrt(a) * 0.9
            with np.errstate(all="ignore"):
                g, _ = descend_phase_retrieval(x, y, np.linalg.pinv(x) @ ((u - C) / GAMMA), lr * factor, 4000)
            assert bool(np.all(np.isfinite(g[-1]))) is bounded, (scale, factor)


def test_start_above_the_line_of_the_start_escapes():
    t = np.random.default_rng(9).uniform(0.2, 1.0, N)
    x = orthogonal_rows(1, NORM2)
    w = np.linalg.pinv(x) @ np.full(N, 3.0)
    g0 = GAMMA / 2 * 9.0 + C * 3.0
    lr = reg.phase_retrieval_lr_start(NORM2, N, GAMMA, np.full(N, g0), t, 0.5)
    assert lr < reg.phase_retrieval_lr_at(2.0, NORM2, N, GAMMA, C, t, 0.5)
    for factor, bounded in ((0.99, True), (1.01, False)):
        assert (
            abs(reg.phase_retrieval_z(g0, 0.5 * t, lr * factor, NORM2, N, GAMMA).max() - 2 * factor) < 1e-13
        )
        with np.errstate(all="ignore"):
            g, _ = descend_phase_retrieval(x, 0.5 * t, w, lr * factor, 4000)
        assert bool(np.all(np.isfinite(g[-1]))) is bounded
    start = reg.quadratic_net_lr_start(NORM2, N, M, 5.0, np.full(N, 4.0), t, SCALES)
    for rate, scale in zip(start, SCALES, strict=True):
        assert abs(reg.quadratic_net_z(4.0, scale * t, rate, NORM2, N, M, 5.0).max() - 2) < 1e-13
    # already below every target: no step size throws the start out
    assert reg.quadratic_net_lr_start(NORM2, N, M, 5.0, np.zeros(N), t) == math.inf


def test_no_line_where_no_sample_has_a_positive_a():
    assert reg.quadratic_net_lr_at(1.0, NORM2, N, M, 5.0, -np.ones(N)) == math.inf
    lines = reg.phase_retrieval_lr_at(1.0, NORM2, N, GAMMA, C, -np.ones(N), [0.0, 1.0])
    # at scale 0 the term c^2/2 is left, by hand for the largest norm
    assert lines[1] == math.inf and abs(lines[0] - N / (9.0 * C**2 / 2)) < 1e-13


@given(st.floats(0.01, 10), st.floats(0.01, 10), st.floats(0.1, 5), st.floats(-2, 2))
def test_a_is_linear_in_the_step_size_and_affine_in_the_scale(lr, factor, norm2, y):
    def a(rate, target):
        return float(reg.phase_retrieval_a(rate, norm2, N, GAMMA, C, target))

    size = 20 * max(1.0, factor) * lr * norm2  # bounds the terms; 1e-15 of it is a few roundings
    assert abs(a(factor * lr, y) - factor * a(lr, y)) < 1e-15 * size * 10
    assert abs(a(lr, factor * y) - (a(lr, 0.0) + factor * (a(lr, y) - a(lr, 0.0)))) < 1e-15 * size * 10


@pytest.mark.parametrize("bad", [0.0, -1.0, math.nan, math.inf])
def test_wrong_values_are_refused_by_name(bad):
    with pytest.raises(RequestError, match=r"^lr = .*give lr > 0\.$"):
        reg.phase_retrieval_a(bad, NORM2, N, GAMMA, C, 1.0)
    with pytest.raises(RequestError, match=r"^norm2 = "):
        reg.quadratic_net_a(LR, [1.0, bad], N, M, 5.0, 1.0)
    with pytest.raises(RequestError, match=r"^m = "):
        reg.quadratic_net_lr_at(1.0, NORM2, N, bad, 5.0, 1.0)
    with pytest.raises(RequestError, match=r"^a = "):
        reg.phase_retrieval_lr_at(bad, NORM2, N, GAMMA, C, 1.0)
    with pytest.raises(RequestError, match=r"^lambda_max_ntk = "):
        reg.effective_a(LR, bad)


def test_scale_that_is_not_finite_is_refused():
    with pytest.raises(RequestError, match="scale"):
        reg.quadratic_net_lr_at(1.0, NORM2, N, M, 5.0, 1.0, [1.0, math.nan])
