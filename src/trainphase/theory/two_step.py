"""Two steps of gradient descent on the D=1, P=2 quadratic model at E~ = 0: exact polynomials and their series.

Eigenvalues {1, -eps}; z is the rescaled residual z~ = eta z and T = eta J J^T the dimensionless curvature, at
its edge at T = 2. One step is (14), (15); two steps change z and T by polynomials of degree 3 in T and 9 in
z, of degree 5 (z) and 6 (T) in eps. Everything here is evaluated from the exact integers of
``_two_step_table``, which ``scripts/derive_two_step.py`` writes and checks.

All functions broadcast and return float64. ``order`` is the highest power of z that is kept.

References: Agarwala, Pedregosa and Pennington, "Second-order regression models exhibit progressive sharpening
to the edge of stability", 2022, section 3 and App. B.4 to B.6. Terms beyond those printed there come from the
script.
"""

from __future__ import annotations

from fractions import Fraction
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from trainphase.errors import RequestError
from trainphase.theory import _two_step_table as table

Floats = NDArray[np.float64]

DEGREE = max(i for i, _, _ in table.DELTA_Z[1])
"""Degree in z of the two-step map, 9."""
NULLCLINE_ORDER = max(i for i, _, _ in table.F_Z[1])
"""Highest power of z stored for the nullclines."""
NORMAL_ORDER = max(i for i, _, _ in table.NORMAL_Y[1])
"""Highest power of z stored for the normal form."""
FINAL_ORDER = max(len(c) - 1 for _, _, c in table.CURVE[1])
"""Highest power of eps stored for the final curvature."""


def _floats(*values: ArrayLike) -> list[Floats]:
    return [np.asarray(v, np.float64) for v in values]


def _order(order: object, highest: int, lowest: int = 0) -> int:
    """``order`` if the table reaches it. Raises RequestError otherwise."""
    if not (isinstance(order, int | np.integer) and lowest <= order <= highest):
        raise RequestError(f"order = {order} is not stored: give a whole number from {lowest} to {highest}.")
    return int(order)


def _in_eps(coefficients: tuple[int, ...], eps: Floats) -> Floats:
    """The polynomial c_0 + c_1 eps + .. by Horner's rule."""
    out = np.zeros_like(eps)
    for c in reversed(coefficients):
        out = out * eps + c
    return out


def _sum(source: table.Table, z: Floats, second: Floats, eps: Floats, order: int) -> Any:
    """The table's polynomial with z^i up to ``order``: Horner in z over polynomials in the second variable."""
    denominator, rows = source
    z, second, eps = np.broadcast_arrays(z, second, eps)
    by_power: dict[int, Floats] = {}
    for i, k, coefficients in rows:
        if i <= order:
            by_power[i] = by_power.get(i, np.zeros_like(eps)) + _in_eps(coefficients, eps) * second**k
    out = np.zeros_like(eps)
    for i in range(max(by_power, default=0), -1, -1):
        out = out * z + by_power.get(i, 0.0)
    return (out / denominator)[()]


def exact(name: str) -> dict[tuple[int, int, int], Fraction]:
    """Exact coefficients of a table by (power of z, power of the second variable, power of eps).

    ``name`` is one of DELTA_Z, DELTA_T (second variable T), F_Z, F_T, F_GAP (second variable 1/(1-eps)),
    NORMAL_Z, NORMAL_Y, CURVE (second variable y). Raises RequestError for another name.
    """
    names = [n for n in dir(table) if n.isupper()]
    if name not in names:
        raise RequestError(f"there is no two-step table {name!r}: give one of {', '.join(names)}.")
    denominator, rows = getattr(table, name)
    return {
        (i, k, j): Fraction(c, denominator)
        for i, k, coefficients in rows
        for j, c in enumerate(coefficients)
        if c
    }


# --- the map ------------------------------------------------------------------------------------------------


def _of_power(source: table.Table, k: int, z: ArrayLike, eps: ArrayLike) -> Any:
    denominator, rows = source
    if k not in (0, 1, 2, 3):
        raise RequestError(f"there is no coefficient of T^{k}: give k = 0, 1, 2 or 3.")
    zs, es = _floats(z, eps)
    part = denominator, tuple((i, 0, c) for i, power, c in rows if power == k)
    return _sum(part, zs, np.ones(()), es, DEGREE)


def p(k: int, z: ArrayLike, eps: ArrayLike) -> Any:
    """p_k(z, eps), the coefficient of T^k in the two-step change of z (71), exact. RequestError unless k <= 3."""
    return _of_power(table.DELTA_Z, k, z, eps)


def q(k: int, z: ArrayLike, eps: ArrayLike) -> Any:
    """q_k(z, eps), the coefficient of T^k in the two-step change of T (72), exact. RequestError unless k <= 3."""
    return _of_power(table.DELTA_T, k, z, eps)


def delta_z(z: ArrayLike, T: ArrayLike, eps: ArrayLike, order: int | None = None) -> Any:
    """z_{t+2} - z_t = p_0 + p_1 T + p_2 T^2 + p_3 T^3 (71), exact; with ``order=3``, its series (73)."""
    zs, ts, es = _floats(z, T, eps)
    return _sum(table.DELTA_Z, zs, ts, es, DEGREE if order is None else _order(order, DEGREE, 1))


def delta_T(z: ArrayLike, T: ArrayLike, eps: ArrayLike, order: int | None = None) -> Any:
    """T_{t+2} - T_t = q_0 + q_1 T + q_2 T^2 + q_3 T^3 (72), exact; with ``order=3``, its series (74)."""
    zs, ts, es = _floats(z, T, eps)
    return _sum(table.DELTA_T, zs, ts, es, DEGREE if order is None else _order(order, DEGREE, 1))


# --- nullclines ---------------------------------------------------------------------------------------------


def _below_one(eps: ArrayLike) -> Floats:
    values = np.asarray(eps, np.float64)
    bad = values[~((values > -1) & (values < 1))]
    if bad.size:
        raise RequestError(f"the series has a pole at eps = 1, here eps = {bad.flat[0]:g}: give -1 < eps < 1.")
    return values


def series_f_z(z: ArrayLike, eps: ArrayLike, order: int = 2) -> Any:
    """Nullcline T = f_z(z) of z through (0, 2), as a power series (80): 2 + 2(1-eps) z + 2(1-eps+eps^2) z^2.

    Error O(z^(order+1)); at eps = 0 the sum is 2/(1-z). RequestError unless 0 <= order <= NULLCLINE_ORDER.
    """
    zs, es = _floats(z, eps)
    return _sum(table.F_Z, zs, np.ones(()), es, _order(order, NULLCLINE_ORDER))


def series_f_T(z: ArrayLike, eps: ArrayLike, order: int = 2) -> Any:
    """Nullcline T = f_T(z) of T through (0, 2), as a power series (81).

    2 + (2-3eps+2eps^2)/(1-eps) z + (4-eps+4eps^2)/2 z^2 + ..; the paper prints the z term with the wrong
    sign. Error O(z^(order+1)), with a constant that grows as (1-eps)^-(order+1). RequestError unless
    |eps| < 1 and 0 <= order <= NULLCLINE_ORDER.
    """
    zs, es = np.asarray(z, np.float64), _below_one(eps)
    return _sum(table.F_T, zs, 1 / (1 - es), es, _order(order, NULLCLINE_ORDER))


def series_f_gap(z: ArrayLike, eps: ArrayLike, order: int = 2) -> Any:
    """f_z - f_T as a power series (82): -eps/(1-eps) z - (3/2) eps z^2 - ..; every term has a factor eps.

    RequestError unless |eps| < 1 and 0 <= order <= NULLCLINE_ORDER.
    """
    zs, es = np.asarray(z, np.float64), _below_one(eps)
    return _sum(table.F_GAP, zs, 1 / (1 - es), es, _order(order, NULLCLINE_ORDER))


# --- normal form and arrival at the edge --------------------------------------------------------------------


def normal_form(z: ArrayLike, y: ArrayLike, eps: ArrayLike, order: int = 3) -> tuple[Any, Any]:
    """Two-step changes (z_{t+2} - z_t, y_{t+2} - y_t) with y = T - f_z(z) (18), (19), up to z^order.

    Complete in y and eps at each power of z; error O(z^(order+1)). To z^2: 2yz + y^2 z - (1-eps)(y + y^2/2 -
    y^3/2) z^2 and -[4 eps + 2(4-3eps+4eps^2) y + 12(1-eps+eps^2) y^2 + ..] z^2. RequestError unless
    1 <= order <= NORMAL_ORDER.
    """
    zs, ys, es = _floats(z, y, eps)
    order = _order(order, NORMAL_ORDER, 1)
    return _sum(table.NORMAL_Z, zs, ys, es, order), _sum(table.NORMAL_Y, zs, ys, es, order)


def y_star(eps: ArrayLike) -> Any:
    """y at which the z^2 terms of (19) linear in y cancel: -2 eps / (4 - 3 eps + 4 eps^2) = -eps/2 - ..."""
    e = np.asarray(eps, np.float64)
    return -2 * e / (4 - 3 * e + 4 * e * e)


def arrival_curve(z: ArrayLike, eps: ArrayLike) -> Any:
    """y = h(z, eps), the curve along which trajectories creep up to the edge, as a formal series.

    -eps/2 - (27/32) eps^2 - (3/8) eps z^2 - (3/8) eps z^3 - ..: all terms eps^j z^k with 2j + k <= 8. The
    curve is invariant under the two-step map; starts with z0^2 >> eps reach it before z decays.
    """
    zs, es = _floats(z, eps)
    return _sum(table.CURVE, zs, np.ones(()), es, DEGREE)


def final_curvature(eps: ArrayLike, order: int = 2) -> Any:
    """lim T(0), eta times the final top eigenvalue (Theorem 3.1, (20)): 2 + h(0, eps) to eps^order.

    2 - eps/2 (order 1, the theorem) - (27/32) eps^2 - (153/128) eps^3 - (17385/8192) eps^4. Holds for starts
    in a neighbourhood of (z, T) = (0, 2) that meet ``theorem_3_1_applies``. RequestError unless
    0 <= order <= FINAL_ORDER.
    """
    denominator, rows = table.CURVE
    coefficients = next(c for i, _, c in rows if i == 0)
    kept = coefficients[: _order(order, FINAL_ORDER) + 1]
    return (2 + _in_eps(kept, np.asarray(eps, np.float64)) / denominator)[()]
