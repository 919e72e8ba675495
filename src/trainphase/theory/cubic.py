"""The cubic map of quadratic regression, in closed form: cycles, phases, constants.

f_a(z) = z^3 + (a - 2) z^2 + (1 - 2a) z = (z + a)(z - 1)^2 - a is one step of gradient descent on one sample:
z is the scaled residual and a = eta lambda / 2 (dimensionless), lambda the top eigenvalue of the neural
tangent kernel at the interpolating solution, so that a = 1 is the edge of stability. Starts of interest are z
in (-a, 2).

References: Chen, Balasubramanian, Ghosal and Agrawalla, "From Stability to Chaos: Analyzing Gradient Descent
Dynamics in Quadratic Regression", TMLR 2024. Every decimal below is recomputed from its defining equation by
``scripts/derive_cubic_constants.py``.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from trainphase.errors import RequestError

Floats = NDArray[np.float64]
Pair = tuple[float, float]

PHASES = ("monotonic", "catapult", "periodic", "chaotic", "divergent")
"""Labels of the ``training`` vocabulary in the order in which growing a meets them."""


@dataclass(frozen=True)
class Boundary:
    """A value of a at which the dynamics of f_a changes or something notable happens.

    ``between`` names what lies below and above: two phases (kind "phase") or two periods (kind "period");
    None for an "event". ``exact`` is a formula in ASCII, empty where none is known; ``digits`` is the decimal
    expansion, correct to the last place but one.
    """

    name: str
    a: float
    between: tuple[str, str] | None
    exact: str
    kind: str
    digits: str


def _row(
    name: str, digits: str, kind: str, between: tuple[str, str] | None = None, exact: str = ""
) -> Boundary:
    return Boundary(name, float(digits), between, exact, kind, digits)


BOUNDARIES: tuple[Boundary, ...] = (
    _row(
        "monotonic/catapult",
        "0.8284271247461900976033774",
        "phase",
        ("monotonic", "catapult"),
        "2*sqrt(2) - 2",
    ),
    _row("catapult/periodic", "1", "phase", ("catapult", "periodic"), "1"),
    _row("period 1 to 2", "1", "period", ("1", "2"), "1"),
    _row("superstable 2-cycle", "1.121320343559642573202533", "event", None, "3/sqrt(2) - 1"),
    _row("period 2 to 4", "1.236067977499789696409174", "period", ("2", "4"), "sqrt(5) - 1"),
    _row("period 4 to 8", "1.2880317544828427619543", "period", ("4", "8")),
    _row("period 8 to 16", "1.2992279396502040941632", "period", ("8", "16")),
    _row("period 16 to 32", "1.3016289140370811951978", "period", ("16", "32")),
    _row("period 32 to 64", "1.3021432715814581229967", "period", ("32", "64")),
    _row("period 64 to 128", "1.3022534377421285651721", "period", ("64", "128")),
    _row("periodic/chaotic", "1.302283462700712160782", "phase", ("periodic", "chaotic")),
    _row("two bands merge into one", "1.360893769096574513597", "event"),
    _row("period-3 window opens (tangent)", "1.4504409644878751728155", "event"),
    _row("superstable 3-cycle", "1.453155583645754316370087", "event"),
    _row("period-3 cycle flips", "1.460828673878579913615201", "event"),
    _row("crisis: critical orbit reaches -a", "1.598076211353315940291170", "event", None, "3*sqrt(3)/2 - 1"),
    _row("chaotic/divergent", "2", "phase", ("chaotic", "divergent"), "2"),
)
"""Every constant of the map, in the order of a."""

PHASE_BOUNDARIES = tuple(b for b in BOUNDARIES if b.kind == "phase")
PERIOD_BOUNDARIES = tuple(b for b in BOUNDARIES if b.kind == "period")
A_CATAPULT, A_EDGE, A_ACCUMULATION, A_DIVERGENT = (b.a for b in PHASE_BOUNDARIES)
A_CRISIS = next(b.a for b in BOUNDARIES if b.name.startswith("crisis"))
A_TWO_CYCLE_FLIP = PERIOD_BOUNDARIES[1].a


def _positive(a: ArrayLike) -> Floats:
    """``a`` as a float64 array. Raises RequestError unless every value is finite and > 0."""
    values = np.asarray(a, dtype=np.float64)
    bad = ~(np.isfinite(values) & (values > 0))
    if np.any(bad):
        value = float(values[bad].ravel()[0]) if values.ndim else float(values)
        raise RequestError(f"the cubic map has no phase at a = {value:g}: give a finite a > 0.")
    return values


# --- the map ------------------------------------------------------------------------------------------------


def f(z: ArrayLike, a: ArrayLike) -> Any:
    """One step z -> z^3 + (a-2) z^2 + (1-2a) z; broadcasts. Polynomial in Horner form."""
    z, a = np.asarray(z, np.float64), np.asarray(a, np.float64)
    return ((z + (a - 2)) * z + (1 - 2 * a)) * z


def df(z: ArrayLike, a: ArrayLike) -> Any:
    """Derivative f_a'(z) = (z - 1)(3z + 2a - 1); broadcasts."""
    z, a = np.asarray(z, np.float64), np.asarray(a, np.float64)
    return (z - 1) * (3 * z + 2 * a - 1)


def fixed_points(a: float) -> tuple[float, float, float]:
    """Fixed points (-a, 0, 2), roots of f(z) - z = z (z - 2)(z + a)."""
    return -float(a), 0.0, 2.0


def multipliers(a: float) -> tuple[float, float, float]:
    """Multipliers f'(z) at ``fixed_points(a)``: (1+a)^2, 1-2a, 5+2a. Only 0 is ever stable, for 0 < a < 1."""
    return (1.0 + a) ** 2, 1.0 - 2.0 * a, 5.0 + 2.0 * a


def critical_points(a: float) -> Pair:
    """Critical points (c, 1): c = (1-2a)/3, a local maximum, and 1, a local minimum that f sends onto -a."""
    return (1.0 - 2.0 * a) / 3.0, 1.0


def critical_value(a: ArrayLike) -> Any:
    """f(c) = 4 (1+a)^3 / 27 - a, the largest value of f on [-a, 1]."""
    a = np.asarray(a, np.float64)
    return 4.0 * (1.0 + a) ** 3 / 27.0 - a


def invariant_interval(a: float) -> Pair:
    """The interval [-a, 2] that f maps into itself. Raises RequestError unless 0 < a <= 2."""
    if not 0 < a <= A_DIVERGENT:
        raise RequestError(f"the cubic map keeps no interval at a = {a:g}: give 0 < a <= 2.")
    return -float(a), 2.0


def attractor_bounds(a: float) -> Pair:
    """Closed interval that the attractor of almost every start in (-a, 2) lies in.

    The point 0 for a <= 1; [f^2(c), f(c)] up to the crisis 3 sqrt(3)/2 - 1; [-a, f(c)] from there to 2 (from
    there on f(c) >= 1, so the minimum f(1) = -a is reached). f maps the interval into itself; both ends are
    attained when the attractor is one band of chaos. For 1 < a <= sqrt(5) - 1 the attractor is
    ``two_cycle(a)``, inside it. Raises RequestError unless 0 < a <= 2.
    """
    invariant_interval(a)
    if a <= A_EDGE:
        return 0.0, 0.0
    top = float(critical_value(a))
    return (float(f(top, a)) if a < A_CRISIS else -float(a)), top


def schwarzian(z: ArrayLike, a: ArrayLike) -> Any:
    """Schwarzian derivative f'''/f' - (3/2)(f''/f')^2 = -[36 (z + (a-2)/3)^2 + 2 (a+1)^2] / f'(z)^2.

    Negative at every z that is not critical, for every a != -1 (-inf at a critical point); with one free
    critical orbit, Singer's theorem leaves at most one attracting cycle.
    """
    z, a = np.asarray(z, np.float64), np.asarray(a, np.float64)
    with np.errstate(divide="ignore"):
        return -(36.0 * (z + (a - 2) / 3.0) ** 2 + 2.0 * (a + 1) ** 2) / df(z, a) ** 2


# --- conjugacy ----------------------------------------------------------------------------------------------


def from_x(x: ArrayLike, a: ArrayLike) -> Any:
    """z = x^2 - a, which turns the odd map x -> (1+a) x - x^3 into f_a."""
    return np.asarray(x, np.float64) ** 2 - np.asarray(a, np.float64)


def to_x(z: ArrayLike, a: ArrayLike) -> Any:
    """x = sqrt(z + a) >= 0, the inverse of ``from_x``. Raises RequestError where z < -a (no data)."""
    shifted = np.asarray(z, np.float64) + np.asarray(a, np.float64)
    if not np.all(shifted >= 0):
        raise RequestError(f"z + a = {float(np.min(shifted)):g} has no square root: give z >= -a.")
    return np.sqrt(shifted)


def odd_map(x: ArrayLike, a: ArrayLike) -> Any:
    """The conjugate map x -> (1+a) x - x^3."""
    x, a = np.asarray(x, np.float64), np.asarray(a, np.float64)
    return x * (1.0 + a - x * x)


# --- cycles, catapult, averages -----------------------------------------------------------------------------


def two_cycle(a: float) -> Pair:
    """The 2-cycle born at a = 1: z = ((1-a) -+ sqrt((a-1)(a+3)))/2, in order. RequestError for a < 1."""
    if not (math.isfinite(a) and a >= A_EDGE):
        raise RequestError(f"there is no 2-cycle at a = {a:g}: give a >= 1.")
    root = math.sqrt((a - 1.0) * (a + 3.0))
    return (1.0 - a - root) / 2.0, (1.0 - a + root) / 2.0


def two_cycle_multiplier(a: ArrayLike) -> Any:
    """Multiplier (f^2)' = 9 - 2 (1+a)^2 of the 2-cycle: 1 at a = 1, 0 at 3/sqrt(2) - 1, -1 at sqrt(5) - 1."""
    return 9.0 - 2.0 * (1.0 + np.asarray(a, np.float64)) ** 2


def catapult_set(a: float) -> Pair | None:
    """Interval of z in (-a, 2) where |f(z)| > |z|: ends ((2-a) -+ sqrt(a^2+4a-4))/2; None if empty.

    Empty exactly for 0 < a <= 2 sqrt(2) - 2; just above, a sliver about z = 2 - sqrt(2) of width
    sqrt(a^2+4a-4). Raises RequestError unless a > 0.
    """
    _positive(a)
    # the factored discriminant keeps full relative accuracy where the interval opens
    gap = (a - A_CATAPULT) * (a + A_CATAPULT + 4.0)
    if gap <= 0:
        return None
    root = math.sqrt(gap)
    return (2.0 - a - root) / 2.0, (2.0 - a + root) / 2.0


def lyapunov(a: ArrayLike) -> Any:
    """Lyapunov exponent (per step, natural logarithm) where it has a closed form, NaN elsewhere.

    ln|1-2a| for 0 < a <= 1, (1/2) ln|9 - 2(1+a)^2| for 1 < a <= sqrt(5) - 1 (-inf where superstable), ln 3 at
    a = 2. Shape of ``a``. Raises RequestError unless a > 0.
    """
    a = _positive(a)
    with np.errstate(divide="ignore"):
        fixed, cycle = np.log(np.abs(1.0 - 2.0 * a)), 0.5 * np.log(np.abs(two_cycle_multiplier(a)))
    beyond = np.where(a == A_DIVERGENT, math.log(3.0), np.nan)
    return np.where(a <= A_EDGE, fixed, np.where(a <= A_TWO_CYCLE_FLIP, cycle, beyond))[()]


def moments(a: float) -> Pair:
    """Time averages (<z>, <z^2>) along almost every orbit, where closed forms exist; (NaN, NaN) elsewhere.

    (0, 0) for a <= 1; ((1-a)/2, (a^2-1)/2) on the 2-cycle, 1 < a <= sqrt(5) - 1; (0, 2) at a = 2. The mean is
    the bias that averaged predictions keep. On any orbit bounded away from -a, <ln|1 - z|> = 0. RequestError
    unless a > 0.
    """
    _positive(a)
    if a <= A_EDGE:
        return 0.0, 0.0
    if a <= A_TWO_CYCLE_FLIP:
        return (1.0 - a) / 2.0, (a * a - 1.0) / 2.0
    return (0.0, 2.0) if a == A_DIVERGENT else (math.nan, math.nan)


def invariant_density(z: ArrayLike) -> Any:
    """Invariant density of f_2, the arcsine law 1 / (pi sqrt(4 - z^2)) on (-2, 2), 0 outside.

    f_2 is the Chebyshev map 2 cos(p) -> 2 cos(3p).
    """
    z = np.asarray(z, np.float64)
    inside = np.abs(z) < 2.0
    return np.where(inside, 1.0 / (math.pi * np.sqrt(np.where(inside, 4.0 - z * z, 1.0))), 0.0)[()]


# --- phases -------------------------------------------------------------------------------------------------


def phases(a: ArrayLike) -> NDArray[np.str_]:
    """Phase label of the map at each a (array of ``PHASES``); a boundary belongs to the phase below it.

    The phase over almost every start in (-a, 2), outside the periodic windows of the chaotic range, which
    have no closed form. Raises RequestError unless every a > 0.
    """
    return np.array(PHASES)[np.searchsorted([b.a for b in PHASE_BOUNDARIES], _positive(a), side="left")]


def phase(a: float) -> str:
    """Phase label of the map at one a; see ``phases``."""
    return str(phases(float(a)))


def period(a: ArrayLike) -> Any:
    """Period of the attractor in the doubling cascade: 1, 2, 4, .. 64, and NaN above.

    Float, shape of ``a``; a doubling point still has the lower period. Raises RequestError unless a > 0.
    """
    points = [b.a for b in PERIOD_BOUNDARIES]
    table = np.append(2.0 ** np.arange(len(points)), np.nan)
    return table[np.searchsorted(points, _positive(a), side="left")]


def crossing(label_p: str, label_q: str) -> Boundary | None:
    """Boundary between two phases ("periodic", "chaotic") or periods ("2", "4") in either order, or None."""
    return next((b for b in BOUNDARIES if b.between in ((label_p, label_q), (label_q, label_p))), None)


def nearest(value: float, between: tuple[str, str] | None = None) -> Boundary | None:
    """The boundary nearest in a to ``value``: of all, or of those between two labels (None if none).

    Raises RequestError unless ``value`` is finite.
    """
    if not math.isfinite(value):
        raise RequestError(f"no boundary is nearest to a = {value}: give a finite value.")
    pairs = None if between is None else (between, between[::-1])
    rows = [b for b in BOUNDARIES if pairs is None or b.between in pairs]
    return min(rows, key=lambda b: abs(b.a - value), default=None)
