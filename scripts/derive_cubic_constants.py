"""Recompute every constant of the cubic map from its defining equation, to more than 20 digits.

Usage: python scripts/derive_cubic_constants.py [--check] [--digits 30]
``--check`` compares with trainphase.theory.cubic.BOUNDARIES and ends with exit code 1 on a difference. Needs
mpmath.

f_a is entered once, in ``step``; everything else is Newton's method on a composition of it, so that no closed
form of the package is used to confirm itself. Starting guesses have three digits or come from Feigenbaum
scaling.
"""

from __future__ import annotations

import argparse
import sys
from typing import Any

from mpmath import mp, mpf

GUARD = 25
"""Decimal digits carried beyond those asked for."""

Real = Any
"""An mpf: mpmath's operators are not typed."""
Affine = tuple[Real, Real]


def step(z: Real, a: Real) -> Real:
    """f_a(z)."""
    return z**3 + (a - 2) * z**2 + (1 - 2 * a) * z


def jet(z: Real, a: Real, times: int) -> tuple[Real, Real, Real, Real, Real]:
    """F = f_a^times at z with its derivatives F_z, F_a, F_zz, F_za, by the chain rule."""
    value, dz, da, dzz, dza = z, mpf(1), mpf(0), mpf(0), mpf(0)
    for _ in range(times):
        f1 = 3 * value**2 + 2 * (a - 2) * value + 1 - 2 * a  # f_z
        f2 = 6 * value + 2 * (a - 2)  # f_zz
        fa, fza = value**2 - 2 * value, 2 * value - 2
        dzz, dza = f2 * dz * dz + f1 * dzz, (f2 * da + fza) * dz + f1 * dza
        value, dz, da = step(value, a), f1 * dz, f1 * da + fa
    return value, dz, da, dzz, dza


def cycle_with_multiplier(times: int, multiplier: int, z: Real, a: Real) -> tuple[Real, Real]:
    """(z, a) with f^times(z) = z and (f^times)'(z) = multiplier, by Newton's method from (z, a)."""
    for _ in range(100):
        value, dz, da, dzz, dza = jet(z, a, times)
        g, h = value - z, dz - multiplier
        det = (dz - 1) * dza - da * dzz
        move_z, move_a = (g * dza - da * h) / det, ((dz - 1) * h - dzz * g) / det
        z, a = z - move_z, a - move_a
        if abs(move_a) + abs(move_z) < _small():
            return z, a
    raise ArithmeticError(
        f"no cycle of length {times} with multiplier {multiplier} found near a = {mp.nstr(a, 8)}"
    )


def critical_orbit(times: int, target: Affine, a: Real) -> Real:
    """a with f^times(c) = target[0] + target[1] a, c = (1 - 2a)/3 the free critical point, from a."""
    for _ in range(100):
        value, _, da, _, _ = jet((1 - 2 * a) / 3, a, times)  # F_z = 0 at c
        move = (value - target[0] - target[1] * a) / (da - target[1])
        a -= move
        if abs(move) < _small():
            return a
    raise ArithmeticError(f"the critical orbit meets no target near a = {mp.nstr(a, 8)}")


def _itself() -> Affine:
    """c = (1 - 2a)/3 as an affine function of a, at the working precision."""
    return mpf(1) / 3, mpf(-2) / 3


def _small() -> Real:
    """A Newton step after which the next one is below the working precision."""
    return mpf(10) ** (-mp.dps + GUARD // 2 + 5)


def doublings(count: int) -> list[Real]:
    """a of the first ``count`` flips of the cascade: of periods 1, 2, 4, .."""
    z, a = cycle_with_multiplier(1, -1, mpf("0.1"), mpf("0.9"))
    points = [a]
    for k in range(1, count):
        # the next flip lies one Feigenbaum ratio further on
        guess = a + (mpf("0.24") if k == 1 else (a - points[-2]) / mpf("4.67"))
        z = _attractor_point(guess, 2**k)
        z, a = cycle_with_multiplier(2**k, -1, z, guess)
        points.append(a)
    return points


def _attractor_point(a: Real, period: int) -> Real:
    """A point close to the attracting (or weakly repelling) cycle of this period, from the critical orbit."""
    z = (1 - 2 * a) / 3
    for _ in range(period * 32):
        z = step(z, a)
    return z


def superstables(count: int) -> list[Real]:
    """a at which c has period 2^k, k = 1 .. count."""
    points = [critical_orbit(2, _itself(), mpf("1.12"))]
    points.append(critical_orbit(4, _itself(), mpf("1.265")))
    while len(points) < count:
        guess = points[-1] + (points[-1] - points[-2]) / mpf("4.67")
        points.append(critical_orbit(2 ** (len(points) + 1), _itself(), guess))
    return points


def wynn(sequence: list[Real]) -> tuple[Real, Real]:
    """Limit of a sequence with a sum of geometric errors (Wynn's epsilon), and its last change."""
    older, newer = [mpf(0)] * (len(sequence) + 1), list(sequence)
    limits = [sequence[-1]]
    for column in range(1, len(sequence)):
        steps = [newer[i + 1] - newer[i] for i in range(len(newer) - 1)]
        older, newer = newer, [older[i + 1] + 1 / s for i, s in enumerate(steps)]
        if column % 2 == 0:
            limits.append(newer[-1])
    moves = [abs(limits[i + 1] - limits[i]) for i in range(len(limits) - 1)]
    best = min(range(len(moves)), key=lambda i: moves[i])
    return limits[best + 1], moves[best]


def accumulation(levels: int) -> tuple[Real, Real]:
    """(a_inf, uncertainty): superstable points of period up to 2^levels, extrapolated."""
    return wynn(superstables(levels))


def simple_constants() -> dict[str, Real]:
    """The constants that are one root of a short composition."""
    _, tangent = cycle_with_multiplier(3, 1, *_period_three_guess(mpf("1.4505")))
    _, flip3 = cycle_with_multiplier(3, -1, *_period_three_guess(mpf("1.4608")))
    return {
        "monotonic/catapult": _double_root(),
        "superstable 2-cycle": critical_orbit(2, _itself(), mpf("1.12")),
        "two bands merge into one": critical_orbit(3, (mpf(0), mpf(0)), mpf("1.361")),
        "period-3 window opens (tangent)": tangent,
        "superstable 3-cycle": critical_orbit(3, _itself(), mpf("1.453")),
        "period-3 cycle flips": flip3,
        # f(c) = 1, and f(1) = -a is the fixed point: the critical orbit lands on it in two steps
        "crisis: critical orbit reaches -a": critical_orbit(1, (mpf(1), mpf(0)), mpf("1.6")),
        "chaotic/divergent": critical_orbit(1, (mpf(2), mpf(0)), mpf("1.99")),
    }


def _period_three_guess(a: Real) -> tuple[Real, Real]:
    """A start for Newton's method next to the period-3 cycle: its point next to c."""
    return (1 - 2 * a) / 3, a


def _double_root() -> Real:
    """a at which f(z) = -z first has a root z != 0, a double one of z^2 + (a-2) z + 2 - 2a."""
    z, a = mpf("0.6"), mpf("0.83")
    for _ in range(100):
        g, h = z**2 + (a - 2) * z + 2 - 2 * a, 2 * z + a - 2
        det = h * 1 - (z - 2) * 2  # g_z h_a - g_a h_z
        move_z, move_a = (g * 1 - (z - 2) * h) / det, (h * h - 2 * g) / det
        z, a = z - move_z, a - move_a
        if abs(move_a) + abs(move_z) < _small():
            return a
    raise ArithmeticError("the monotonic boundary was not found")


def constants(levels: int = 13) -> tuple[dict[str, Real], Real]:
    """Every constant by the name it has in BOUNDARIES, and the uncertainty of the accumulation point."""
    found = simple_constants()
    flips = doublings(7)
    found["catapult/periodic"] = flips[0]
    for k, a in enumerate(flips):
        found[f"period {2**k} to {2 ** (k + 1)}"] = a
    found["periodic/chaotic"], uncertainty = accumulation(levels)
    return found, uncertainty


def differences(found: dict[str, Real]) -> list[str]:
    """One sentence for each row of BOUNDARIES whose printed digits are not those found."""
    from trainphase.theory.cubic import BOUNDARIES

    wrong = [f"{name} is not in BOUNDARIES" for name in found if name not in {b.name for b in BOUNDARIES}]
    for row in BOUNDARIES:
        if row.name not in found:
            wrong.append(f"{row.name} has no derivation")
            continue
        places = len(row.digits.partition(".")[2])
        # one unit in the last printed place, or 1e-24 for the values that are exact integers
        tolerance = mpf(10) ** -(places or 24)
        if abs(found[row.name] - mpf(row.digits)) > tolerance:
            wrong.append(f"{row.name}: found {mp.nstr(found[row.name], 26)}, BOUNDARIES has {row.digits}")
    return wrong


def main(argv: list[str] | None = None) -> int:
    """Print the constants; with --check, compare."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--check", action="store_true", help="compare with trainphase.theory.cubic")
    parser.add_argument("--digits", type=int, default=30, help="significant digits to print")
    parser.add_argument("--levels", type=int, default=13, help="superstable cycles up to period 2^LEVELS")
    args = parser.parse_args(argv)
    with mp.workdps(args.digits + GUARD):
        found, uncertainty = constants(args.levels)
        for name, a in sorted(found.items(), key=lambda item: item[1]):
            print(f"{name:36s} {mp.nstr(a, args.digits, strip_zeros=False)}")
        print(f"{'(uncertainty of the accumulation)':36s} {mp.nstr(uncertainty, 2)}")
        flips = [found[f"period {2**k} to {2 ** (k + 1)}"] for k in range(7)]
        ratios = [(flips[k + 1] - flips[k]) / (flips[k + 2] - flips[k + 1]) for k in range(5)]
        print("ratios of doubling intervals:", ", ".join(str(mp.nstr(r, 8)) for r in ratios))
        wrong = differences(found) if args.check else []
    for line in wrong:
        print(line, file=sys.stderr)
    if args.check and not wrong:
        print("all constants agree with trainphase.theory.cubic")
    return 1 if wrong else 0


if __name__ == "__main__":
    raise SystemExit(main())
