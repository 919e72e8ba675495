"""App. B.2, B.3 and B.6: the equations of one step of the D = 1 model, and the two phases of the proof of Theorem 3.1.

What is measured is gradient descent on the parameters themselves (9), several starts at once; the moments T(k) are taken from
the parameters by their definition (7). Nothing here starts from (z~, T).
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np

from trainphase._arrays import precision
from trainphase.reproduce.agarwala.one_datum_runs import changes, claim, figure
from trainphase.reproduce.claims import Measured, absolute, exact, largest
from trainphase.theory import cubic
from trainphase.theory import quadratic_1d as theory

if TYPE_CHECKING:
    import xarray

    from trainphase.reproduce.context import Context

LR = 0.3
STARTS = 500
# Eigenvalues of Q for the equations that hold for any number of parameters.
MANY = np.array([1.0, 0.6, 0.2, -0.35, -0.9])
# (second eigenvalue, E) for those of two parameters: both kinds of cone, and E of both signs.
PAIRS = ((-0.005, 0.0), (-0.17, 0.4), (-0.6, -0.8), (0.4, 0.7))
ROUNDING = absolute(1e-12, "rounding of a step of numbers of order 1, over 1 + the largest of them")


def starts(context: Context, w: np.ndarray, count: int = STARTS) -> np.ndarray:
    """Random parameters, shape (count, P), whose curvature is up to some 4."""
    theta = np.random.default_rng([context.seed, len(w)]).normal(size=(count, len(w))) / np.maximum(np.abs(w), 0.2)
    return 1.5 * theta / np.sqrt(LR * len(w))


def descended(theta: np.ndarray, w: np.ndarray, E: float, steps: int = 1, lr: float = LR) -> np.ndarray:
    """The parameters after so many steps of (9), shape as ``theta``."""
    import jax

    from trainphase.systems.quadratic_1d import Quadratic1DParameters

    with precision("float64"):
        step = jax.jit(jax.vmap(Quadratic1DParameters(E=E, lr=lr, theta=theta[0], w=w).step))
        for _ in range(steps):
            theta = step(theta)
        return np.asarray(theta)


def moments(theta: np.ndarray, w: np.ndarray, E: float) -> tuple[np.ndarray, Callable[[int], np.ndarray]]:
    """z~ and k -> T(k) = lr J Q^k J^T (7), with J = Q theta."""
    J = w * theta
    return LR * 0.5 * ((w * theta**2).sum(-1) - E), lambda k: LR * (J**2 * w ** float(k)).sum(-1)


def _error(found: Any, stated: Any, size: Any) -> float:
    """The largest difference over 1 + ``size``."""
    return float(np.max(np.abs(found - stated) / (1 + np.abs(size))))


# --- any number of parameters -------------------------------------------------------------------------------

ORDERS = range(-1, 4)
SHIFT = 0.4


def _flow(context: Context) -> Measured:
    """Rates of z~ and T(k) along theta' = -lr z Q theta (5); a central difference of a quadratic function is exact."""
    theta = starts(context, MANY)
    z, T = moments(theta, MANY, SHIFT)
    velocity = descended(theta, MANY, SHIFT) - theta  # one step is one unit of time along the gradient
    (up, Tu), (down, Td) = (moments(theta + s * velocity, MANY, SHIFT) for s in (0.5, -0.5))
    worst = _error(up - down, -z * T(0), z * T(0))
    for k in ORDERS:
        worst = largest(worst, _error(Tu(k) - Td(k), -2 * z * T(k + 1), z * T(k + 1)))
    return Measured(worst, note=f"{STARTS} starts of 5 parameters, k from -1 to 3")


def _step_z(context: Context) -> Measured:
    theta = starts(context, MANY)
    z, T = moments(theta, MANY, SHIFT)
    after, _ = moments(descended(theta, MANY, SHIFT), MANY, SHIFT)
    return Measured(_error(after - z, -z * T(0) + 0.5 * z**2 * T(1), z**2 * T(1)), note=f"{STARTS} starts of 5 parameters")


def _step_T(context: Context) -> Measured:
    theta = starts(context, MANY)
    z, T = moments(theta, MANY, SHIFT)
    _, after = moments(descended(theta, MANY, SHIFT), MANY, SHIFT)
    worst = largest(*(_error(after(k) - T(k), -z * (2 * T(k + 1) - z * T(k + 2)), z**2 * T(k + 2)) for k in ORDERS))
    return Measured(worst, note=f"{STARTS} starts of 5 parameters, k from -1 to 3")


def _conserved(context: Context) -> Measured:
    """The drift of T(-1) - 2 z~ over runs from small parameters, which stay bounded."""
    theta, worst = 0.3 * starts(context, MANY), 0.0
    for _ in range(4):
        theta = descended(theta, MANY, SHIFT, 25)
        z, T = moments(theta, MANY, SHIFT)
        worst = largest(worst, _error(T(-1) - 2 * z, LR * SHIFT, T(0)))
    return Measured(worst, note=f"{STARTS} starts of 5 parameters, 100 steps, E~ = {LR * SHIFT:g}")


# --- two parameters -----------------------------------------------------------------------------------------

Point = tuple[np.ndarray, np.ndarray, float, float]


def _pairs(context: Context, stated: Callable[..., Any], found: Callable[..., Any]) -> Measured:
    """The largest difference of ``stated(z, T, eps, E~)`` and ``found(theta, w, E)`` over the two-parameter models."""
    worst = 0.0
    for second, shift in PAIRS:
        w, E = np.array([1.0, second]), shift / LR
        theta = starts(context, w)
        z, T = moments(theta, w, E)
        given = found(theta, w, E)
        worst = largest(worst, _error(given, stated(z, T(0), -second, shift), given))
    return Measured(worst, note=f"{STARTS} starts at each of {len(PAIRS)} second eigenvalues, -0.6 to 0.4")


def _moment(theta: np.ndarray, w: np.ndarray, E: float, k: int) -> np.ndarray:
    return moments(theta, w, E)[1](k)


def _change(theta: np.ndarray, w: np.ndarray, E: float, which: str) -> np.ndarray:
    (z, T), (after, Tn) = moments(theta, w, E), moments(descended(theta, w, E), w, E)
    return after - z if which == "z" else Tn(0) - T(0)


def _symmetric(context: Context, which: str) -> Measured:
    """(12) and (13) for the eigenvalues 1 and -1."""
    w, worst = np.array([1.0, -1.0]), 0.0
    for shift in (0.0, 0.9, -1.4):
        theta = starts(context, w)
        z, T = moments(theta, w, shift / LR)
        B, t = 2 * z + shift, T(0)
        stated = -z * t + 0.5 * z**2 * B if which == "z" else -2 * z * B + z**2 * t
        given = _change(theta, w, shift / LR, which)
        worst = largest(worst, _error(given, stated, given))
    return Measured(worst, note=f"{STARTS} starts at each of E~ = 0, 0.9, -1.4")


def _last_moment(z: Any, T: Any, eps: float, E: float) -> Any:
    """(61) with a = 1/eps: (1-a) T + a T(1), T(1) by (63)."""
    a = 1 / eps
    return (1 - a) * T + a * theory.T1(z, T, eps, E)


def _edge(context: Context) -> Measured:
    """Runs on the edge T = B, where the second component is 0, beside the cubic map with a = E~/2; 30 steps."""
    w, worst = np.array([1.0, -0.3]), 0.0
    for a in (0.6, 0.95, 1.2):
        z = np.linspace(-0.9 * a, 1.8, 41)
        # T = c_1^2 = B fixes the first component: z~ = (c_1^2 - E~)/2.
        theta = np.stack([np.sqrt(2 * (z + a) / LR), np.zeros_like(z)], 1)
        for _ in range(3):
            theta = descended(theta, w, 2 * a / LR, 10)
            for _ in range(10):
                z = cubic.f(z, a)
            worst = largest(worst, _error(moments(theta, w, 2 * a / LR)[0], z, z))
    return Measured(worst, note="41 starts at each of a = 0.6, 0.95, 1.2; after 10, 20 and 30 steps")


ONE_STEP = figure(
    "B.2", "the equations of a step, from gradient descent on the parameters", None, None,
    (
        claim("(6), (8)", "Along gradient flow z~' = -z~ T(0) and T(k)' = -2 z~ T(k+1): largest error.", 0.0, ROUNDING, _flow),
        claim("(10), (53)", "z~ changes by -z~ T(0) + z~^2 T(1)/2 in a step: largest error.", 0.0, ROUNDING, _step_z),
        claim("(11), (55)", "T(k) changes by -z~ (2 T(k+1) - z~ T(k+2)) in a step: largest error.", 0.0, ROUNDING, _step_T),
        claim("(60)", "T(-1) - 2 z~ stays E~ along gradient descent: largest drift over 1 + T.", 0.0,
              absolute(1e-12, "100 steps, each rounded a few times"), _conserved),
        claim("(12)", "z~ after a step of the symmetric model: largest error.", 0.0, ROUNDING, partial(_symmetric, which="z")),
        claim("(13)", "T after a step of the symmetric model: largest error.", 0.0, ROUNDING, partial(_symmetric, which="T")),
        claim("(14), (65)", "z~ after a step, from z~ and T alone: largest error.", 0.0, ROUNDING,
              lambda c: _pairs(c, theory.delta_z, partial(_change, which="z"))),
        claim("(15), (66)", "T after a step, with (1-a)/a^2 where our copy has lost a power: largest error.", 0.0, ROUNDING,
              lambda c: _pairs(c, theory.delta_T, partial(_change, which="T"))),
        claim("(61)", "T(-1) = (1-a) T + a T(1) with a = -1/lambda: largest error.", 0.0,
              absolute(1e-10, "rounding times a, which is up to 200"), lambda c: _pairs(c, _last_moment, partial(_moment, k=-1))),
        claim("(63)", "T(1) from z~ and T: largest error.", 0.0, ROUNDING,
              lambda c: _pairs(c, theory.T1, partial(_moment, k=1))),
        claim("(64)", "T(2) from z~ and T, with a^2 in the denominator where our copy has 2: largest error.", 0.0, ROUNDING,
              lambda c: _pairs(c, theory.T2, partial(_moment, k=2))),
        claim("App. B.3", "On the cone's edge T = 2 z~ + E~ descent is the cubic map with a = E~/2: largest difference.", None,
              absolute(1e-10, "rounding over 30 steps of orbits that do not diverge from each other"), _edge, expected=0.0),
    ),
    seconds_quick=4, seconds_full=4,
)  # fmt: skip


# --- the proof of theorem 3.1 -------------------------------------------------------------------------------

SMALL = 0.005  # eps
SERIES = 6  # highest power of z~ in f_z: the next one errs by 1e-5 of y at z~ = 0.2


def compute_proof(context: Context) -> xarray.Dataset:
    """Even iterates (z~, y), dims (even, run), from 0.05 <= z~ <= 0.2 and 0 < y <= z~^2; y = T - f_z(z~)."""
    import xarray

    n = context.pick(8, 24)
    z, share = (v.ravel() for v in np.meshgrid(np.linspace(0.05, 0.2, n), np.linspace(1 / n, 1, n), indexing="ij"))
    T = theory.series_f_z(z, SMALL, SERIES) + share * z**2
    rows = [(z, share * z**2)]
    for _ in range(context.pick(2500, 5000)):
        dz, dT = changes(z, T, SMALL, 0.0, 2)
        z, T = z + dz, T + dT
        rows.append((z, T - theory.series_f_z(z, SMALL, SERIES)))
    zs, ys = (np.asarray(v) for v in zip(*rows, strict=True))
    return xarray.Dataset({"z": (("even", "run"), zs), "y": (("even", "run"), ys)}, attrs={"eps": SMALL})


def _series(context: Context) -> tuple[np.ndarray, np.ndarray]:
    data = context.data()
    return data["z"].values, data["y"].values


def _first_phase(context: Context) -> Measured:
    """Whether z~ stays below twice its start until y is negative, and how low y then is."""
    z, y = _series(context)
    turn = np.argmax(y < 0, axis=0)
    runs = np.arange(turn.size)
    growth = np.array([z[: t + 1, k].max() for k, t in enumerate(turn)]) / z[0]
    depth = -y[turn, runs] / (16 * SMALL * z[0] ** 2)
    note = f"{turn.size} starts; largest z~/z~0 {growth.max():.3f}, y down to {-depth.max():.3f} of 16 eps z~0^2"
    return Measured(bool((y < 0).any(0).all() and growth.max() <= 2 and depth.max() <= 1), note=note)


def _second_phase(context: Context) -> Measured:
    """Whether, once y is negative, it stays so and z~ falls at every second step."""
    z, y = _series(context)
    later = np.cumsum(y < 0, axis=0) > 0
    low, falls = (y < 0)[later].all(), (np.diff(z, axis=0) < 0)[later[:-1]].all()
    note = f"lowest y {y.min() / (SMALL / 2):.3f} eps/2; at the end z~ is {z[-1].max():.1e} or less"
    return Measured(bool(low and falls and y.min() > -SMALL), note=note)


PROOF = figure(
    "B.6", "the two phases of the proof of Theorem 3.1", compute_proof, None,
    (
        claim("(109)-(116)", "Until y is negative z~ at most doubles, and y is then above -16 eps z~0^2, from y0 <= z~0^2.", True,
              exact("inequalities; B of (116) goes to 0 with the neighbourhood"), _first_phase),
        claim("(117)-(122)", "From then on y stays between -eps and 0, and z~ falls.", True, exact("inequalities"),
              _second_phase),
    ),
    seconds_quick=2, seconds_full=6,
)  # fmt: skip

FIGURES = (ONE_STEP, PROOF)
