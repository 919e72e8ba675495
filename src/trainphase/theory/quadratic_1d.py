"""The D=1 quadratic regression model with P=2: cones, one-step and two-step nullclines, the edge, its ODE.

Residual z = (theta^T Q theta - E)/2, loss z^2/2. Eigenvalues of Q are {1, lambda}, |lambda| <= 1, written
lambda = -eps or a = -1/lambda. Rescaled variables: z~ = eta z, T(k) = eta J Q^k J^T (T = T(0) is the
dimensionless curvature, its edge at 2) and E~ = eta E = T(-1) - 2 z~, conserved by descent and flow. In the
signatures z is z~, E is E~ and B = 2z + E = T(-1). ``eps`` may be negative (lambda > 0: both curve upwards).

All functions broadcast and return float64 (bool for predicates). Raises RequestError where ``eps`` is not in
(-1, 1]. At eps = 0 the cone is the limit from above.

References: Agarwala, Pedregosa and Pennington, "Second-order regression models exhibit progressive sharpening
to the edge of stability", 2022, section 3 and App. B. Formulas that differ from the print say so.
"""

from __future__ import annotations

from typing import Any, cast

import numpy as np
from numpy.typing import ArrayLike, NDArray

from trainphase.errors import RequestError
from trainphase.theory import two_step
from trainphase.theory.two_step import (
    arrival_curve,
    final_curvature,
    normal_form,
    series_f_gap,
    series_f_T,
    series_f_z,
    y_star,
)

__all__ = [
    "T1",
    "T2",
    "allowed",
    "allowed_cone",
    "arrival_curve",
    "delta_T",
    "delta_z",
    "eigen_curvatures",
    "final_curvature",
    "moment",
    "normal_form",
    "nullcline_T",
    "nullcline_z",
    "ode_invariant",
    "ode_velocity",
    "series_f_T",
    "series_f_gap",
    "series_f_z",
    "sharpening_family",
    "sharpens_under_flow",
    "theorem_3_1_applies",
    "two_step_nullclines",
    "y_infinity",
    "y_star",
]

Floats = NDArray[np.float64]


def _floats(*values: ArrayLike) -> list[Floats]:
    return [np.asarray(v, np.float64) for v in values]


def _eps(eps: ArrayLike, low: float = -1.0) -> Floats:
    """``eps`` as float64. Raises RequestError unless low < eps <= 1."""
    values = np.asarray(eps, np.float64)
    bad = values[~((values > low) & (values <= 1))]
    if bad.size:
        raise RequestError(f"the eigenvalues {{1, -eps}} allow no eps = {bad.flat[0]:g} here: give {low:g} < eps <= 1.")
    return values


# --- moments and the allowed region -------------------------------------------------------------------------


def eigen_curvatures(z: ArrayLike, T: ArrayLike, eps: ArrayLike, E: ArrayLike = 0.0) -> tuple[Any, Any]:
    """(eta J_1^2, eta J_lambda^2), the shares of T in the eigenvectors of 1 and lambda = -eps.

    (aT + B)/(1+a) and (T - B)/(1+a) with a = 1/eps, that is (T + eps B)/(1+eps) and eps (T - B)/(1+eps). A
    negative share means that no parameters give (z, T).
    """
    zs, ts, es, shift = *_floats(z, T), _eps(eps), np.asarray(E, np.float64)
    b = 2 * zs + shift
    return ((ts + es * b) / (1 + es))[()], (es * (ts - b) / (1 + es))[()]


def moment(k: int, z: ArrayLike, T: ArrayLike, eps: ArrayLike, E: ArrayLike = 0.0) -> Any:
    """T(k) = eta J_1^2 + (-eps)^k eta J_lambda^2 for k >= 0 (T(-1) = 2z + E). RequestError for another k."""
    if not (isinstance(cast(object, k), int | np.integer) and k >= -1):
        raise RequestError(f"there is no moment T({k}): give a whole number k >= -1.")
    if k == -1:
        return (2 * np.asarray(z, np.float64) + np.asarray(E, np.float64) + 0 * _eps(eps))[()]
    first, second = eigen_curvatures(z, T, eps, E)
    return first + (-np.asarray(eps, np.float64)) ** int(k) * second


def T1(z: ArrayLike, T: ArrayLike, eps: ArrayLike, E: ArrayLike = 0.0) -> Any:
    """T(1) = (B + (a-1) T)/a = eps B + (1-eps) T (63)."""
    zs, ts, es, shift = *_floats(z, T), _eps(eps), np.asarray(E, np.float64)
    return (es * (2 * zs + shift) + (1 - es) * ts)[()]


def T2(z: ArrayLike, T: ArrayLike, eps: ArrayLike, E: ArrayLike = 0.0) -> Any:
    """T(2) = T + ((1-a)/a^2)(T - B) = T - eps (1-eps)(T - B) (64), whose print has another denominator."""
    zs, ts, es, shift = *_floats(z, T), _eps(eps), np.asarray(E, np.float64)
    return (ts - es * (1 - es) * (ts - (2 * zs + shift)))[()]


def allowed_cone(z: ArrayLike, T: ArrayLike, a: ArrayLike, E: ArrayLike = 0.0) -> Any:
    """Whether some parameters give (z, T), for a = -1/lambda: the cone (67), (68) with its edges, bool.

    a >= 1: T >= B and T >= -B/a, opening upwards from (-E/2, 0). a < -1: -B/a <= T <= B, opening sideways.
    Both edges are invariant. Raises RequestError unless a >= 1 or a < -1.
    """
    zs, ts, slope, shift = _floats(z, T, a, E)
    bad = slope[~((slope >= 1) | (slope < -1))]
    if bad.size:
        raise RequestError(f"no eigenvalue -1/a of size at most 1 has a = {bad.flat[0]:g}: give a >= 1 or a < -1.")
    b = 2 * zs + shift
    # aT + B and T - B have the sign of 1 + a
    return (np.where(slope > 0, ts >= b, ts <= b) & (ts >= -b / slope))[()]


def allowed(z: ArrayLike, T: ArrayLike, eps: ArrayLike, E: ArrayLike = 0.0) -> Any:
    """``allowed_cone`` with a = 1/eps, bool; at eps = 0 its limit T >= max(B, 0)."""
    zs, ts, es, shift = *_floats(z, T), _eps(eps), np.asarray(E, np.float64)
    b = 2 * zs + shift
    return (np.where(es >= 0, ts >= b, ts <= b) & (ts >= -es * b))[()]


# --- one step -----------------------------------------------------------------------------------------------


def delta_z(z: ArrayLike, T: ArrayLike, eps: ArrayLike, E: ArrayLike = 0.0) -> Any:
    """z_{t+1} - z_t = -z T + z^2 T(1) / 2 (10), (14)."""
    zs, ts = _floats(z, T)
    return (-zs * ts + zs * zs * T1(zs, ts, eps, E) / 2)[()]


def delta_T(z: ArrayLike, T: ArrayLike, eps: ArrayLike, E: ArrayLike = 0.0) -> Any:
    """T_{t+1} - T_t = -z (2 T(1) - z T(2)) (11), (15)."""
    zs, ts = _floats(z, T)
    return (-zs * (2 * T1(zs, ts, eps, E) - zs * T2(zs, ts, eps, E)))[()]


def nullcline_z(z: ArrayLike, eps: ArrayLike, E: ArrayLike = 0.0) -> Any:
    """T on the one-step nullcline of z: z B / (2a - (a-1) z) = eps z B / (2 - (1-eps) z) (69).

    Infinite or NaN at its pole z = 2/(1-eps). The line z = 0 is a nullcline too.
    """
    zs, es, shift = np.asarray(z, np.float64), _eps(eps), np.asarray(E, np.float64)
    with np.errstate(divide="ignore", invalid="ignore"):
        return (es * zs * (2 * zs + shift) / (2 - (1 - es) * zs))[()]


def nullcline_T(z: ArrayLike, eps: ArrayLike, E: ArrayLike = 0.0) -> Any:
    """T on the one-step nullcline of T: eps B (2 - (1-eps) z) / ((1-eps+eps^2) z - 2 (1-eps)).

    This is (70) as it follows from (66); the printed formula does not. Infinite or NaN at its pole. The line
    z = 0 is a nullcline too.
    """
    zs, es, shift = np.asarray(z, np.float64), _eps(eps), np.asarray(E, np.float64)
    top = es * (2 * zs + shift) * (2 - (1 - es) * zs)
    with np.errstate(divide="ignore", invalid="ignore"):
        return (top / ((1 - es + es * es) * zs - 2 * (1 - es)))[()]


# --- gradient flow ------------------------------------------------------------------------------------------


def sharpens_under_flow(z: ArrayLike, T: ArrayLike, eps: ArrayLike, E: ArrayLike = 0.0) -> Any:
    """Whether gradient flow raises T: T(0)' = -2 z T(1) (8), so exactly where z T(1) < 0, bool."""
    return (np.asarray(z, np.float64) * T1(z, T, eps, E) < 0)[()]


def sharpening_family(z: ArrayLike, moments: ArrayLike) -> Any:
    """Whether a start is in the family of App. B.1: z > 0, T(k) >= 0 for even k and <= 0 for odd k, bool.

    ``moments`` has T(0), T(1), .. T(K) on its last axis and ``z`` the shape of the others. When the signs
    hold for every k, gradient flow keeps them and T(0) never falls. (For P = 2 with eps < 1 all k together
    leave only the edge of the cone where eta J_1^2 = 0; for eps = 1 the whole part with B <= 0.)
    """
    values = np.asarray(moments, np.float64)
    signs = np.where(np.arange(values.shape[-1]) % 2 == 0, 1.0, -1.0)
    return ((np.asarray(z, np.float64) > 0) & np.all(signs * values >= 0, axis=-1))[()]


# --- two steps at E~ = 0 ------------------------------------------------------------------------------------

_STRIDES = 400
"""Steps of the continuation from z = 0: each moves u by a few parts in 400, well inside Newton's basin."""


def _cubic(coefficients: list[Floats], u: Floats) -> tuple[Floats, Floats]:
    """Value and derivative of c_0 u^3 + c_1 u^2 + c_2 u + c_3."""
    c0, c1, c2, c3 = coefficients
    return ((c0 * u + c1) * u + c2) * u + c3, (3 * c0 * u + 2 * c1) * u + c2


def _branch(coefficient: Any, z: Floats, eps: Floats) -> Floats:
    """The root T, equal to 2 at z = 0, of sum_k coefficient(k, z, eps) T^k / z, followed from 0 to z.

    In u = 1/T the branch passes a pole of T without a jump, so that leaving through infinity is seen. It ends
    (NaN) there, and where it meets another root: the slope, -1 or -2 (1-eps) at the start, then vanishes.
    """
    u, before = np.full(z.shape, 0.5), np.full(z.shape, 0.5)
    alive = np.ones(z.shape, bool)
    for n in range(1, _STRIDES + 1):
        here = np.where(z == 0, 1e-12, z * (n / _STRIDES))
        cubic = [coefficient(k, here, eps) / here for k in range(4)]
        guess = 2 * u - before
        before, u = u, guess
        for _ in range(4 if n < _STRIDES else 7):
            value, slope = _cubic(cubic, u)
            u = u - np.where(alive & (slope < 0), value / np.where(slope < 0, slope, -1.0), 0.0)
        # Newton converges quadratically; what is left after four rounds is a fold or a jump to another root
        value, slope = _cubic(cubic, u)
        alive &= (slope < 0) & (u > 0) & (np.abs(value) < 1e-9 * np.abs(slope)) & (np.abs(u - guess) < 0.1)
        u = np.where(alive, u, 0.5)
    return np.where(z == 0, 2.0, np.where(alive, 1 / u, np.nan))


def two_step_nullclines(z: ArrayLike, eps: ArrayLike) -> tuple[Any, Any]:
    """(f_z, f_T), the two-step nullclines through (z, T) = (0, 2) at E~ = 0, exact for every z.

    Real roots in T of the cubics p_0 + p_1 T + p_2 T^2 + p_3 T^3 (71) and q_0 + .. (72), on the branch that is
    T = 2 at z = 0. NaN where the branch has ended, by meeting another root (f_z at z = 0.973 and -1.714 for
    eps = 0.1) or by going to infinity: at eps = 0 both are 2/(1-z). Cost: 400 continuation steps, vectorised
    over the points. RequestError unless 0 <= eps < 1.
    """
    zs, es = np.broadcast_arrays(*_floats(z, eps))
    bad = es[~((es >= 0) & (es < 1))]
    if bad.size:
        raise RequestError(f"there is no branch through (0, 2) to follow at eps = {bad.flat[0]:g}: give 0 <= eps < 1.")
    return _branch(two_step.p, zs, es)[()], _branch(two_step.q, zs, es)[()]


def theorem_3_1_applies(z0: ArrayLike, eps: ArrayLike) -> Any:
    """Whether the transient exp(-4 z0^2/eps) is small enough for Theorem 3.1: z0^2/eps >= -ln(eps)/16 (130).

    ``z0`` is the residual where the trajectory enters the neighbourhood of the edge. Bool. Otherwise y_infinity
    depends on the start. RequestError unless 0 < eps <= 1.
    """
    es = _eps(eps, 0.0)
    return (np.asarray(z0, np.float64) ** 2 / es >= -np.log(es) / 16)[()]


# --- the ODE of the normal form -----------------------------------------------------------------------------


def _alpha(es: Floats) -> Floats:
    return 4 - 3 * es + 4 * es * es


def ode_velocity(z: ArrayLike, y: ArrayLike, eps: ArrayLike) -> tuple[Any, Any]:
    """(z', y') of the lowest-order ODE (132): 2yz and -2 (4-3eps+4eps^2) y z^2 - 4 eps z^2; time in two-steps."""
    zs, ys, es = *_floats(z, y), _eps(eps)
    return (2 * ys * zs)[()], (-2 * _alpha(es) * ys * zs**2 - 4 * es * zs**2)[()]


def ode_invariant(z: ArrayLike, y: ArrayLike, eps: ArrayLike) -> Any:
    """u - ln|u| + alpha^2 z^2/(4 eps), u = 1 + alpha y/(2 eps), alpha = 4-3eps+4eps^2: constant under (132).

    Infinite on the invariant line u = 0, that is y = ``y_star(eps)``. RequestError unless 0 < eps <= 1.
    """
    zs, ys, es = *_floats(z, y), _eps(eps, 0.0)
    alpha = _alpha(es)
    u = 1 + alpha * ys / (2 * es)
    with np.errstate(divide="ignore"):
        return (u - np.log(np.abs(u)) + alpha**2 * zs**2 / (4 * es))[()]


def y_infinity(eps: ArrayLike, y0: ArrayLike, z0: ArrayLike) -> Any:
    """Limit of y under the ODE (132) from (z0, y0), in closed form; ``y0`` itself where z0 = 0.

    (2 eps/alpha)(u - 1) with u = -W_0(-u_0 exp(-u_0 - alpha^2 z0^2/(4 eps))), u_0 = 1 + alpha y0/(2 eps), W_0 the
    principal branch of Lambert's function. Tends to ``y_star(eps)`` as z0^2/eps grows: to -eps/2 - (3/8) eps^2,
    where the map itself has -eps/2 - (27/32) eps^2. RequestError unless 0 < eps <= 1.
    """
    from scipy.special import lambertw, wrightomega  # here, since it takes a quarter as long to load as JAX

    es, ys, zs = np.broadcast_arrays(_eps(eps, 0.0), *_floats(y0, z0))
    alpha = _alpha(es)
    u0, gain = 1 + alpha * ys / (2 * es), alpha**2 * zs**2 / (4 * es)
    below, above = np.where(u0 < 0, u0, -1.0), np.where(u0 > 0, u0, 1.0)
    # W_0(exp(x)) is Wright's omega(x), which does not overflow for u_0 far below 0
    negative = -wrightomega(np.log(-below) - below - gain)
    positive = -lambertw(-above * np.exp(-above - gain)).real
    u = np.where(u0 < 0, negative, np.where(u0 > 0, positive, 0.0))
    return np.where(zs == 0, ys, 2 * es / alpha * (u - 1))[()]
