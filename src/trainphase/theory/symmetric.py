"""The symmetric D=1 model, eigenvalues {1, -1}: exact divergence line, Chebyshev ellipse, one-hidden-layer net.

z is z~ = eta z, T = eta J J^T (edge at 2), E is E~ = T(-1) - 2 z~ (conserved), B = 2z + E. One step is
z -> z (1 - T) + z^2 B / 2 and T -> T - 2 z B + z^2 T. A linear net with one hidden layer on one datum is this
model: see ``linear_net_coordinates``. All functions broadcast and return float64 (bool for predicates).

References: Agarwala, Pedregosa and Pennington, "Second-order regression models exhibit progressive sharpening
to the edge of stability", 2022, App. A.2, A.3 and B.3; Lewkowycz, Bahri, Dyer, Sohl-Dickstein and Gur-Ari,
"The large learning rate phase of deep learning: the catapult mechanism", 2020; Bordelon and Pehlevan,
"Self-consistent dynamical field theory of kernel evolution in wide neural networks", 2022. The invariant for
E != 0 and the ellipse are derived here: with x^2 = eta J_+^2/2 and w^2 = eta J_-^2/2 a step is x -> x (1 - z),
w -> w (1 + z), z = x^2 - w^2 - E/2.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from trainphase.errors import RequestError

Floats = NDArray[np.float64]

CATAPULT_PHASES = ("lazy", "catapult", "divergent")
"""Phases at E = 0 in the order of growing T."""


def _floats(*values: ArrayLike) -> list[Floats]:
    return [np.asarray(v, np.float64) for v in values]


def _small_E(E: ArrayLike) -> Floats:
    """E as float64. Raises RequestError unless every |E| < 4."""
    values = np.asarray(E, np.float64)
    bad = values[~(np.abs(values) < 4)]
    if bad.size:
        raise RequestError(f"at E = {bad.flat[0]:g} every minimum is unstable and there is no bounded region: give |E| < 4.")
    return values


# --- invariant, divergence line -----------------------------------------------------------------------------


def allowed(z: ArrayLike, T: ArrayLike, E: ArrayLike = 0.0) -> Any:
    """Whether some parameters give (z, T): T >= |2z + E|, edges included, bool."""
    zs, ts, es = _floats(z, T, E)
    return (ts >= np.abs(2 * zs + es))[()]


def invariant(z: ArrayLike, T: ArrayLike, E: ArrayLike = 0.0) -> Any:
    """D = T - 4 - (E/2) z. A step multiplies it by ``invariant_multiplier``, so D = 0 is an invariant line."""
    zs, ts, es = _floats(z, T, E)
    return (ts - 4 - es * zs / 2)[()]


def invariant_multiplier(z: ArrayLike, E: ArrayLike = 0.0) -> Any:
    """D_{t+1}/D_t = 1 + z (z + E/2), at least 1 - E^2/16 and so positive for |E| < 4."""
    zs, es = _floats(z, E)
    return (1 + zs * (zs + es / 2))[()]


def divergence_line(z: ArrayLike, E: ArrayLike = 0.0) -> Any:
    """T on the exact divergence boundary: 4 + (E/2) z. Raises RequestError unless |E| < 4."""
    es = _small_E(E)
    return (4 + es * np.asarray(z, np.float64) / 2)[()]


def bounded(z: ArrayLike, T: ArrayLike, E: ArrayLike = 0.0) -> Any:
    """Whether a start stays bounded under gradient descent: T < 4 + E z / 2, bool.

    For starts inside ``allowed``. Below the line, the triangle is invariant: proved. Above it, all but
    exceptional starts (z = 0 and its preimages, a set of measure zero) are taken to diverge: simulated
    without exception. The line itself counts as not bounded, though it stays in the triangle: rounding throws
    runs off it. RequestError unless |E| < 4.
    """
    return (np.asarray(T, np.float64) < divergence_line(z, E))[()]


def triangle(E: float) -> Floats:
    """Vertices (z, T) of the bounded region, shape (3, 2): (-E/2, 0), (2, 4+E), (-2, 4-E). RequestError: |E| >= 4."""
    e = float(_small_E(E))
    return np.array([[-e / 2, 0.0], [2.0, 4.0 + e], [-2.0, 4.0 - e]])


def catapult_phases(T: ArrayLike) -> NDArray[np.str_]:
    """Phase of a start with small z at E = 0, label of ``CATAPULT_PHASES``; a boundary belongs below it.

    lazy, T <= 2: T hardly moves. catapult, 2 < T <= 4: the loss first grows, T falls below 2. divergent, T > 4.
    """
    return np.array(CATAPULT_PHASES)[np.searchsorted([2.0, 4.0], np.asarray(T, np.float64), side="left")]


# --- factor coordinates and the ellipse ---------------------------------------------------------------------


def to_factors(z: ArrayLike, T: ArrayLike, E: ArrayLike = 0.0) -> tuple[Any, Any]:
    """(x, w) >= 0 with x^2 = (T + B)/4 and w^2 = (T - B)/4. RequestError where (z, T) is not allowed."""
    zs, ts, es = _floats(z, T, E)
    b = 2 * zs + es
    if not np.all(ts >= np.abs(b)):
        raise RequestError("some (z, T) lie outside the cone T >= |2z + E|: give points inside it.")
    return (np.sqrt((ts + b) / 4))[()], (np.sqrt((ts - b) / 4))[()]


def from_factors(x: ArrayLike, w: ArrayLike, E: ArrayLike = 0.0) -> tuple[Any, Any]:
    """(z, T) = (x^2 - w^2 - E/2, 2 x^2 + 2 w^2), the inverse of ``to_factors`` up to signs of x and w."""
    xs, ws, es = _floats(x, w, E)
    return (xs * xs - ws * ws - es / 2)[()], (2 * (xs * xs + ws * ws))[()]


def ellipse(x: ArrayLike, w: ArrayLike, E: ArrayLike = 0.0) -> Any:
    """x^2/(2+a) + w^2/(2-a) with a = E/2: 1 on the divergence line, below 1 where bounded.

    Equal to 1 + D/(4 - a^2), D the ``invariant``. RequestError unless |E| < 4.
    """
    xs, ws = _floats(x, w)
    a = _small_E(E) / 2
    return (xs * xs / (2 + a) + ws * ws / (2 - a))[()]


def ellipse_angle(x: ArrayLike, w: ArrayLike, E: ArrayLike = 0.0) -> Any:
    """phi in (-pi, pi] with x : w = sqrt(2+a) cos phi : sqrt(2-a) sin phi, a = E/2. RequestError unless |E| < 4."""
    xs, ws = _floats(x, w)
    a = _small_E(E) / 2
    return np.arctan2(ws / np.sqrt(2 - a), xs / np.sqrt(2 + a))[()]


def ellipse_point(phi: ArrayLike, E: ArrayLike = 0.0) -> tuple[Any, Any]:
    """(x, w) = (sqrt(2+a) cos phi, sqrt(2-a) sin phi) on the ellipse, where z = 2 cos 2 phi. |E| < 4 as above."""
    angle, a = np.asarray(phi, np.float64), _small_E(E) / 2
    return (np.sqrt(2 + a) * np.cos(angle))[()], (np.sqrt(2 - a) * np.sin(angle))[()]


def ellipse_step(phi: ArrayLike) -> Any:
    """One step of gradient descent on the ellipse: phi -> pi - 3 phi, the Chebyshev map, chaotic (exponent ln 3)."""
    return (np.pi - 3 * np.asarray(phi, np.float64))[()]


# --- the linear net with one hidden layer -------------------------------------------------------------------


def linear_net_coordinates(lr: ArrayLike, norm: ArrayLike, residual: ArrayLike, y: ArrayLike) -> tuple[Any, Any]:
    """(z~, E~) = (lr |x| z, 2 lr |x| y) of f = v^T U x on one datum x with target y, loss z^2/2, z = f - y.

    T = lr (|U x|^2 + |v|^2 |x|^2) needs no factor. E~ = 0 only for y = 0, which the paper assumes silently.
    ``norm`` is |x|. Raises RequestError unless lr and norm are > 0.
    """
    rate, norms, z, target = _floats(lr, norm, residual, y)
    for name, values in (("lr", rate), ("norm", norms)):
        bad = values[~(values > 0)]
        if bad.size:
            raise RequestError(f"{name} = {bad.flat[0]:g} is not above 0: give {name} > 0.")
    return (rate * norms * z)[()], (2 * rate * norms * target)[()]


def linear_net_spectrum(norm: float, hidden: int, inputs: int) -> tuple[tuple[float, int], ...]:
    """Eigenvalues of Q and their multiplicities for f = v^T U x, U of shape (hidden, inputs): (value, how many).

    |x| and -|x|, ``hidden`` times each, and 0, hidden (inputs - 1) times; J has no part in the zero modes.
    Raises RequestError unless hidden and inputs are at least 1.
    """
    if hidden < 1 or inputs < 1:
        raise RequestError(f"a net of {hidden} hidden units and {inputs} inputs has no parameters: give at least 1.")
    return (float(norm), hidden), (-float(norm), hidden), (0.0, hidden * (inputs - 1))


def bordelon_pehlevan_velocity(K: ArrayLike, z: ArrayLike, y: ArrayLike, norm2: ArrayLike) -> tuple[Any, Any]:
    """(z', K') under gradient flow of the linear net: z' = -K z and K' = -4 |x|^2 z f, f = z + y (45).

    K = J J^T = |U x|^2 + |v|^2 |x|^2 and norm2 = |x|^2; eta = 1. In Bordelon and Pehlevan's model Delta = -z,
    and |x| plays the part of their coupling gamma_0. The printed constants of (45) belong to another
    normalisation of the kernel.
    """
    kernel, zs, target, norms = _floats(K, z, y, norm2)
    return (-kernel * zs)[()], (-4 * norms * zs * (zs + target))[()]


def kernel_invariant(K: ArrayLike, f: ArrayLike, norm2: ArrayLike) -> Any:
    """K^2 - 4 |x|^2 f^2 = 4 |x|^2 (c_+ c_-)^2 >= 0, constant under gradient flow of the linear net.

    It follows from f' = -K z and K' = -4 |x|^2 z f. Arguments as in ``bordelon_pehlevan_velocity``.
    """
    kernel, value, norms = _floats(K, f, norm2)
    return (kernel * kernel - 4 * norms * value * value)[()]
