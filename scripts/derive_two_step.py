"""Derive the two-step map of the D=1, P=2 quadratic model by exact algebra, and write its table.

Usage: python scripts/derive_two_step.py [--check] [--out FILE]
Without options, writes src/trainphase/theory/_two_step_table.py. ``--check`` compares that file with a fresh
derivation, writes nothing and ends with exit code 1 on a difference. Needs sympy (polynomial rings over the
rationals only; half a second).

The one-step map (14), (15) with E~ = 0 is entered once, in ``step``; all else follows from it:

* the two-step map itself (71), (72), and with it the series (73), (74), which are its low orders in z;
* the nullclines through (z, T) = (0, 2) as power series in z, by undetermined coefficients: (80), (81), (82);
* the normal form (18), (19) in y = T - f_z(z);
* the curve on which trajectories arrive at the edge, as a formal series in z and eps: y = h(z, eps) with
  h(z + Delta z) = h + Delta y. With z of weight 1 and eps and y of weight 2, the equation at each weight is
  linear, -8 z^2 h_w + eps z h_w' = known; the solution that stays bounded as z^2/eps grows is a polynomial.
  h(0, eps) is the limit of T(0) - 2.

References: Agarwala, Pedregosa and Pennington, "Second-order regression models exhibit progressive sharpening
to the edge of stability", 2022, App. B.4 to B.6.
"""

from __future__ import annotations

import argparse
import math
import sys
from collections import defaultdict
from fractions import Fraction
from pathlib import Path
from typing import Any

from sympy import QQ, ring

TABLE = Path(__file__).resolve().parents[1] / "src" / "trainphase" / "theory" / "_two_step_table.py"
NULLCLINE_ORDER = 6
"""Highest power of z kept in the nullclines."""
NORMAL_ORDER = 3
"""Highest power of z kept in the normal form."""
CURVE_WEIGHT = 8
"""Highest weight kept in the curve, which fixes the final curvature to eps^(CURVE_WEIGHT / 2)."""

Poly = Any
"""An element of the ring below: sympy's operators are not typed."""
Rows = dict[tuple[int, int], dict[int, Fraction]]
"""Coefficients by (power of z, power of T or y), then by power of eps."""

# x stands for T in the map and for y in the normal form
R, z, x, e = ring("z,x,eps", QQ)


def step(zt: Poly, curvature: Poly) -> tuple[Poly, Poly]:
    """One step (14), (15) of gradient descent at E~ = 0, where T(-1) = 2 z~."""
    b = 2 * zt
    moved = zt - zt * curvature + zt**2 * ((1 - e) * curvature + e * b) * QQ(1, 2)
    bent = curvature - 2 * zt * (e * b + (1 - e) * curvature)
    return moved, bent + zt**2 * (curvature + e * (e - 1) * (curvature - b))


def two_step() -> tuple[Poly, Poly]:
    """Delta z and Delta T over two steps, exact polynomials in (z, T = x, eps)."""
    z2, t2 = step(*step(z, x))
    return z2 - z, t2 - x


def keep(p: Poly, order: int) -> Poly:
    """Terms of p up to z^order."""
    return R.from_dict({m: c for m, c in p.items() if m[0] <= order})


def light(p: Poly, weight: int) -> Poly:
    """Terms of p up to the weight, with z of weight 1 and x and eps of weight 2."""
    return R.from_dict({m: c for m, c in p.items() if m[0] + 2 * m[1] + 2 * m[2] <= weight})


def insert(p: Poly, value: Poly, cut: Any) -> Poly:
    """p with x replaced by ``value``; ``cut`` is applied after every product."""
    parts: dict[int, Poly] = defaultdict(lambda: R(0))
    for (i, k, j), c in p.items():
        parts[k] += c * z**i * e**j
    out = R(0)
    for k in range(max(parts), -1, -1):
        out = cut(out * value) + parts[k]
    return cut(out)


def derivative(p: Poly, times: int) -> Poly:
    """The derivative of p in z, ``times`` times."""
    for _ in range(times):
        p = p.diff(z)
    return p


def shift(p: Poly, by: Poly, cut: Any, terms: int) -> Poly:
    """p(z + by) - p(z) by Taylor's formula, with ``by`` of order z at least."""
    out, power = R(0), R(1)
    for n in range(1, terms + 1):
        power = cut(power * by)
        out += cut(derivative(p, n) * power) * QQ(1, math.factorial(n))
    return out


# --- nullclines ---------------------------------------------------------------------------------------------


def nullcline_z(dz: Poly, order: int) -> Poly:
    """f_z with Delta z(z, f_z) = 0, as 2 + sum_k c_k(eps) z^k. d(Delta z / z)/dT = 2 at (0, 2)."""
    curve = R(2)
    for k in range(1, order + 1):
        rest = insert(dz, curve, lambda p, k=k: keep(p, k + 1))
        curve -= R.from_dict({(k, 0, m[2]): c / 2 for m, c in rest.items() if m[0] == k + 1})
    return curve


def nullcline_T(dt: Poly, order: int) -> list[Poly]:
    """N_k(eps) with f_T = 2 + sum_k N_k/(1-eps)^(k or less) z^k; N_k is given over (1-eps)^k.

    d(Delta T / z)/dT = 4 (1-eps) at (0, 2). With z = (1-eps) s the coefficients are polynomials.
    """
    scaled = R.from_dict({})
    for (i, k, j), c in dt.items():
        scaled += c * x**k * e**j * z**i * (1 - e) ** i
    curve = R(2)
    divisor = 4 * (1 - e) ** 2  # one factor from the derivative and one from z = (1-eps) s in Delta T / s
    for k in range(1, order + 1):
        rest = insert(scaled, curve, lambda p, k=k: keep(p, k + 1))
        found = R.from_dict({(0, 0, m[2]): c for m, c in rest.items() if m[0] == k + 1})
        curve -= found.exquo(divisor) * z**k
    return [R.from_dict({(0, 0, m[2]): c for m, c in curve.items() if m[0] == k}) for k in range(order + 1)]


def lowest(p: Poly, power: int) -> tuple[Poly, int]:
    """p / (1-eps)^power in lowest terms: the polynomial and the power that is left."""
    while power > 0 and p.div(1 - e)[1] == 0:
        p, power = p.exquo(1 - e), power - 1
    return p, power


# --- normal form and the curve ------------------------------------------------------------------------------


def normal_form(dz: Poly, dt: Poly, fz: Poly, order: int) -> tuple[Poly, Poly]:
    """Delta z and Delta y in (z, y = x), up to z^order."""

    def cut(p: Poly) -> Poly:
        return keep(p, order)

    move = insert(dz, fz + x, cut)
    return move, insert(dt, fz + x, cut) - shift(fz, move, cut, order)


def arrival_curve(dz: Poly, dt: Poly, fz: Poly, weight: int) -> Poly:
    """y = h(z, eps) up to the weight. ArithmeticError if the formal solution does not exist."""
    curve = R(0)
    for w in range(2, weight + 1):
        top = w + 2

        def cut(p: Poly, top: int = top) -> Poly:
            return light(p, top)

        at = light(fz, top) + curve
        rest = insert(dt, at, cut) - shift(at, insert(dz, at, cut), cut, top)
        if any(m[0] + 2 * m[2] < top for m in rest):
            raise ArithmeticError(f"the curve has no formal series at weight {w - 1}")
        coefficient = QQ(0)
        for j in range(w // 2 + 1):
            k = w - 2 * j
            coefficient = (rest.get((k + 2, 0, j), QQ(0)) + (k + 2) * coefficient) / 8
            curve += coefficient * z**k * e**j
    return curve


# --- the table ----------------------------------------------------------------------------------------------


def rows(p: Poly) -> Rows:
    """p sorted by the powers of z and x."""
    out: Rows = defaultdict(dict)
    for (i, k, j), c in p.items():
        out[i, k][j] = Fraction(int(c.numerator), int(c.denominator))
    return dict(sorted(out.items()))


def derive() -> dict[str, tuple[str, Rows]]:
    """Every table by name, with what it is."""
    dz, dt = two_step()
    longer = nullcline_z(dz, CURVE_WEIGHT + 2)
    fz = keep(longer, NULLCLINE_ORDER)
    normal_z, normal_y = normal_form(dz, dt, fz, NORMAL_ORDER)
    over = nullcline_T(dt, NULLCLINE_ORDER)
    reduced_t, reduced_gap = R(0), R(0)
    for k, numerator in enumerate(over):
        fz_k = R.from_dict({(0, 0, m[2]): c for m, c in fz.items() if m[0] == k})
        # the power of x in these two tables is the power of 1/(1-eps)
        top, power = lowest(numerator, k)
        reduced_t += top * z**k * x**power
        gap, power = lowest(fz_k * (1 - e) ** k - numerator, k)
        reduced_gap += gap * z**k * x**power
    curve = arrival_curve(dz, dt, longer, CURVE_WEIGHT)
    return {
        "DELTA_Z": ("Two-step change of z~, exact (71): powers of z, T.", rows(dz)),
        "DELTA_T": ("Two-step change of T(0), exact (72): powers of z, T.", rows(dt)),
        "F_Z": ("Nullcline of z~ (80): powers of z, 1/(1-eps).", rows(fz)),
        "F_T": ("Nullcline of T(0) (81): powers of z, 1/(1-eps).", rows(reduced_t)),
        "F_GAP": ("f_z - f_T (82): powers of z, 1/(1-eps).", rows(reduced_gap)),
        "NORMAL_Z": ("Two-step change of z~ (18), up to z^3: powers of z, y.", rows(normal_z)),
        "NORMAL_Y": ("Two-step change of y (19), up to z^3: powers of z, y.", rows(normal_y)),
        "CURVE": ("The curve y = h(z, eps) of arrival, complete to weight 8: powers of z, y.", rows(curve)),
    }


def text(tables: dict[str, tuple[str, Rows]]) -> str:
    """The table as a Python module."""
    lines = [
        '"""Exact coefficients of the two-step map. Written by scripts/derive_two_step.py; do not edit.',
        "",
        "A table is (denominator, rows); a row (i, k, (c_0, c_1, ..)) stands for the sum over j of",
        "c_j eps^j / denominator, times z^i and the k-th power of the second variable.",
        '"""',
        "",
        "from __future__ import annotations",
        "",
        "Table = tuple[int, tuple[tuple[int, int, tuple[int, ...]], ...]]",
    ]
    for name, (what, table) in tables.items():
        denominator = math.lcm(*(c.denominator for by_eps in table.values() for c in by_eps.values()))
        lines += ["", f"{name}: Table = (", f"    {denominator},", "    ("]
        for (i, k), by_eps in table.items():
            numbers = [int(by_eps.get(j, Fraction(0)) * denominator) for j in range(max(by_eps) + 1)]
            joined = ", ".join(map(str, numbers)) + ("," if len(numbers) == 1 else "")
            lines.append(f"        ({i}, {k}, ({joined})),")
        lines += ["    ),", ")", f'"""{what}"""']
    return "\n".join(lines) + "\n"


def main(argv: list[str] | None = None) -> int:
    """Write the table; with --check, compare."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--check", action="store_true", help="compare the file with a fresh derivation")
    parser.add_argument("--out", type=Path, default=TABLE, help="file to write or to check")
    args = parser.parse_args(argv)
    fresh = text(derive())
    if not args.check:
        args.out.write_text(fresh, encoding="utf-8")
        print(f"wrote {args.out}")
        return 0
    found = args.out.read_text(encoding="utf-8") if args.out.exists() else ""
    if found == fresh:
        print("the table agrees with a fresh derivation")
        return 0
    old, new = found.splitlines(), fresh.splitlines()
    where = next((n for n, (a, b) in enumerate(zip(old, new, strict=False)) if a != b), min(len(old), len(new)))
    print(f"{args.out} differs from a fresh derivation at line {where + 1}", file=sys.stderr)
    return 1


if __name__ == "__main__":
    raise SystemExit(main())
