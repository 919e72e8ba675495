"""The D = 1 model of Agarwala et al.: its figures, and claims that belong to no figure.

The claims here are identities and orders: the two-step polynomials, the symmetric model, gradient flow, and the linear
network that the model contains. Each is measured by iterating something that the formula was not derived from.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable
from typing import Any

import numpy as np

from trainphase._arrays import precision
from trainphase.reproduce.agarwala.one_datum_edge import FIGURE_10, NORMAL_FORM, THEOREM
from trainphase.reproduce.agarwala.one_datum_net import LINEAR_NET
from trainphase.reproduce.agarwala.one_datum_planes import FIGURE_7, FIGURE_8, FIGURE_9
from trainphase.reproduce.agarwala.one_datum_runs import FIGURE_1, FIGURE_2, FIGURE_11, changes, claim, figure
from trainphase.reproduce.agarwala.one_datum_steps import ONE_STEP, PROOF
from trainphase.reproduce.claims import Measured, absolute, exact, largest
from trainphase.reproduce.context import Context
from trainphase.theory import quadratic_1d as theory
from trainphase.theory import symmetric, two_step

# --- two steps as polynomials: whole numbers, {(power of z, of T, of eps): coefficient} ---------------------------

Poly = dict[tuple[int, int, int], float]


def product(*factors: Poly) -> Poly:
    """The product; coefficients are halves and quarters of whole numbers, which doubles hold exactly."""
    out: Poly = {(0, 0, 0): 1.0}
    for factor in factors:
        terms: defaultdict[tuple[int, int, int], float] = defaultdict(float)
        for p, a in out.items():
            for q, b in factor.items():
                terms[p[0] + q[0], p[1] + q[1], p[2] + q[2]] += a * b
        out = {key: value for key, value in terms.items() if value}
    return out


def total(*terms: tuple[float, Poly]) -> Poly:
    """The sum of multiples."""
    out: defaultdict[tuple[int, int, int], float] = defaultdict(float)
    for factor, poly in terms:
        for key, value in poly.items():
            out[key] += factor * value
    return {key: value for key, value in out.items() if value}


Z, T, EPS = ({key: 1.0} for key in ((1, 0, 0), (0, 1, 0), (0, 0, 1)))
ONE: Poly = {(0, 0, 0): 1.0}


def one_step(z: Poly, t: Poly) -> tuple[Poly, Poly]:
    """z~ and T after a step, (14) and (15) at E~ = 0, as polynomials."""
    less = total((1, ONE), (-1, EPS))
    first = total((1, product(less, t)), (2, product(EPS, z)))
    second = total((1, t), (-1, product(EPS, less, t)), (2, product(EPS, less, z)))
    new = total((1, z), (-1, product(z, t)), (0.5, product(z, z, first)))
    return new, total((1, t), (-2, product(z, first)), (1, product(z, z, second)))


def composed() -> tuple[Poly, Poly]:
    """The two-step changes of z~ and T, by putting one step into the other."""
    z, t = one_step(*one_step(Z, T))
    return total((1, z), (-1, Z)), total((1, t), (-1, T))


# The series (73) and (74) as restored from a copy of the paper that has lost every eps:
# {(power of z, of T): coefficients of 1, eps, eps^2, ..}.
SERIES_Z: dict[tuple[int, int], tuple[float, ...]] = {
    (1, 1): (-2,), (1, 2): (1,), (2, 1): (3, -3), (2, 2): (-3.5, 3.5), (2, 3): (0.5, -0.5),
    (3, 0): (0, 6), (3, 1): (-2, -5, -2), (3, 2): (4.5, -5, 4.5), (3, 3): (-1.5, 2, -1.5),
}  # fmt: skip
SERIES_T: dict[tuple[int, int], tuple[float, ...]] = {
    (1, 1): (-4, 4), (1, 2): (2, -2), (2, 0): (0, -8), (2, 1): (6, -2, 6), (2, 2): (-7, 8, -7), (2, 3): (1, -1, 1),
    (3, 0): (0, 12, -12), (3, 1): (-4, -12, 12, 4), (3, 2): (9, -10, 10, -9), (3, 3): (-3, 4, -4, 3),
}  # fmt: skip


def _coefficients(which: int) -> Measured:
    """Coefficients of the series to z^3 that the composition does not have, either way."""
    stated = {
        (i, k, j): c for (i, k), row in (SERIES_Z, SERIES_T)[which].items() for j, c in enumerate(row) if c
    }  # fmt: skip
    found = {key: value for key, value in composed()[which].items() if key[0] <= 3}
    wrong = [key for key in stated.keys() | found.keys() if stated.get(key, 0) != found.get(key, 0)]
    return Measured(len(wrong), note=f"{len(found)} coefficients; the copy of the paper has lost every eps, which are restored")


def _table(which: int) -> Measured:
    """Coefficients of the stored polynomials that differ from the composition."""
    stored = two_step.exact(("DELTA_Z", "DELTA_T")[which])
    found = composed()[which]
    wrong = [key for key in stored.keys() | found.keys() if float(stored.get(key, 0)) != found.get(key, 0)]
    return Measured(len(wrong), note=f"{len(found)} coefficients of the whole polynomial")


def _degree(variable: int) -> Measured:
    return Measured(max(key[variable] for poly in composed() for key in poly))


def _nullcline(series: Callable[..., Any], which: int, power: int, eps: float = 0.2) -> Measured:
    """The power of z at which the two-step change vanishes on a series cut after z^power, less the z of the change."""
    z = np.geomspace(0.002, 0.02, 7)
    moved = np.abs(changes(z, series(z, eps, power), eps, 0.0, 2)[which])
    slope, _ = np.polyfit(np.log(z), np.log(moved / z), 1)
    return Measured(slope, note=f"eps = {eps:g}, z~ from 0.002 to 0.02")


def _printed_81() -> Measured:
    """Whether T stands still to second order on (81) with the sign that is printed."""

    def printed(z: Any, eps: float, power: int) -> Any:
        return 4.0 - theory.series_f_T(z, eps, 1)  # 2 - (...) z

    found = _nullcline(printed, 1, 1).value
    return Measured(bool(found > 1.9), note=f"the change of T over z~ falls as z~^{found:.2f}")


def _gap() -> Measured:
    """The slope in eps of (f_z - f_T)/z, of exact nullclines, as eps goes to 0."""
    eps, z = np.geomspace(1e-3, 3e-2, 6), 1e-4
    f_z, f_T = theory.two_step_nullclines(np.full(eps.size, z), eps)
    slope, _ = np.polyfit(np.log(eps), np.log(np.abs(f_z - f_T) / z), 1)
    return Measured(slope, note="at z~ = 1e-4, eps from 0.001 to 0.03")


def _gap_value() -> Measured:
    f_z, f_T = theory.two_step_nullclines(1e-4, 0.2)
    return Measured((f_z - f_T) / 1e-4, note="of the exact nullclines at z~ = 1e-4, eps = 0.2")


def _slope_in_T(which: int) -> Measured:
    """d/dT of the two-step change over z~ at (eps, z~, T) = (0, 0, 2), from the composed polynomial."""
    terms = {k: c for (i, k, j), c in composed()[which].items() if (i, j) == (1, 0) and k > 0}
    return Measured(sum(k * c * 2.0 ** (k - 1) for k, c in terms.items()))


# Two steps at eps = 0 from (Z_0, 2): f_z is 2/(1-z~) there, and T changes twice as much as z~.
Z_0 = 0.01


def _f_z_without_eps() -> Measured:
    """f_z(Z_0) - 2 at eps = 0: the T near 2 at which two steps do not change z~, by Newton's method on the system."""
    T, h = 2.0, 1e-5
    for _ in range(8):
        (low, here, high), _ = changes(np.full(3, Z_0), T + h * np.array([-1.0, 0.0, 1.0]), 0.0, 0.0, 2)
        T -= float(here) / float((high - low) / (2 * h))
    return Measured(T - 2, note=f"at z~ = {Z_0}")


def _changes_without_eps() -> Measured:
    """Change of z~ over that of T in one step at eps = 0, random starts: the farthest from their mean is noted."""
    rng = np.random.default_rng(0)
    dz, dT = changes(rng.uniform(-1, 1, 1000), rng.uniform(0.1, 4, 1000), 0.0, 0.0, 1)
    found = dz / dT
    return Measured(np.mean(found), note=f"1000 random starts, from {found.min():.6f} to {found.max():.6f}")


NO = absolute(0.0, "an identity of polynomials with rational coefficients")
TWO_STEP = figure(
    "two-step", "the two-step map as polynomials, and its nullclines", None, None,
    (
        claim("(71), (72)", "Degree of the two-step changes in T.", 3.0, NO, lambda c: _degree(1)),
        claim("(71), (72)", "Degree in z~.", 9.0, NO, lambda c: _degree(0)),
        claim("(71), (72)", "Degree in eps.", 6.0, NO, lambda c: _degree(2)),
        claim("(73)", "Coefficients of the change of z~ to z~^3 that are not the composition's.", 0.0, NO,
              lambda c: _coefficients(0)),
        claim("(74)", "Coefficients of the change of T to z~^3 that are not the composition's.", 0.0, NO,
              lambda c: _coefficients(1)),
        claim("(71)", "Coefficients of our whole polynomial for z~ that are not the composition's.", None, NO,
              lambda c: _table(0), expected=0.0),
        claim("(72)", "Coefficients of our whole polynomial for T that are not the composition's.", None, NO,
              lambda c: _table(1), expected=0.0),
        claim("(77)", "Slope in T of the change of z~ over z~ at eps = 0, z~ = 0, T = 2.", 2.0, NO, lambda c: _slope_in_T(0)),
        claim("(77)", "The same of the change of T over z~.", 4.0, NO, lambda c: _slope_in_T(1)),
        claim("(78)", f"f_z - 2 at eps = 0 and z~ = {Z_0}, where the sum over powers of eps begins at eps^1.", 0.0,
              absolute(1e-9, "rounding 1e-16 over the slope z~, and a difference quotient with steps of 1e-5"),
              lambda c: _f_z_without_eps(), expected=2 / (1 - Z_0) - 2,
              correction="at eps = 0 f_z is 2/(1-z~), as (80) has it to second order: the sum must begin at eps^0"),
        claim("(83), (84)", "Change of z~ over that of T in a step at eps = 0.", 2.0,
              absolute(1e-9, "rounding; no start is near the zero of both changes"), lambda c: _changes_without_eps(),
              expected=0.5, correction="they are -z~ T (1 - z~/2) and twice that: the sentence after (84) has the two exchanged, "
              "which changes nothing in what follows from it"),
        claim("(80)", "The change of z~ over z~, on f_z cut after z~^2: order in z~.", 3.0,
              absolute(0.1, "the next order is a few percent of it at z~ = 0.02"),
              lambda c: _nullcline(theory.series_f_z, 0, 2)),
        claim("(81)", "The change of T over z~, on f_T cut after z~, with the printed sign: is it of order z~^2?", True,
              exact("a truth value"), lambda c: _printed_81(), expected=False,
              correction="the z~ term of f_T is +(2-3eps+2eps^2)/(1-eps); (82) of the same text needs the plus sign, so the slip "
              "may be that of our copy"),
        claim("(81)", "The change of T over z~, on f_T cut after z~^2, with a plus sign: order in z~.", None,
              absolute(0.1, "the next order is a few percent of it at z~ = 0.02"),
              lambda c: _nullcline(theory.series_f_T, 1, 2), expected=3.0),
        claim("(82)", "f_z - f_T is linear in eps: exponent of eps.", 1.0,
              absolute(0.05, "the factor 1/(1-eps) raises it by 0.01"), lambda c: _gap()),
        claim("(82)", "(f_z - f_T)/z~ at z~ = 0: -eps/(1-eps), at eps = 0.2.", -0.25,
              absolute(1e-4, "the term (3/2) eps z~ is 3e-5"), lambda c: _gap_value()),
    ),
)  # fmt: skip


# --- the symmetric model ------------------------------------------------------------------------------------

SHIFTS = (0.0, 0.3, -0.7, 1.0, -1.5, 2.0, -2.5, 3.0, -3.5)  # E~


def random_starts(rng: np.random.Generator, count: int, E: float) -> tuple[np.ndarray, np.ndarray]:
    """Starts (z~, T) that the model allows, even over a box around the bounded triangle."""
    z, t = rng.uniform(-3, 3, 8 * count), rng.uniform(0, 9, 8 * count)
    inside = symmetric.allowed(z, t, E)
    return z[inside][:count], t[inside][:count]


def _bounded(context: Context) -> Measured:
    """Starts whose simulated fate is not that of the line T = 4 + E~ z~/2; only whether |z~| stays below 1e3 is asked."""
    from trainphase.systems.linear_net import LinearNet

    rng, wrong, count, nearest = np.random.default_rng(context.seed), 0, 0, np.inf
    for E in SHIFTS:
        z, t = random_starts(rng, 20_000 // len(SHIFTS) + 1, E)
        system, state = LinearNet(y=E / 2), (z, t)
        with np.errstate(over="ignore", invalid="ignore"):
            for _ in range(4000):
                state = system.step(state)
        inside = np.abs(state[0]) < 1e3
        wrong += np.count_nonzero(inside != symmetric.bounded(z, t, E))
        count, nearest = count + z.size, min(nearest, np.abs(symmetric.invariant(z, t, E)).min())
    return Measured(wrong, note=f"{count} random starts at 9 values of E~, 4000 steps, the nearest {nearest:.1e} from the line")


def _invariant(context: Context) -> Measured:
    """The largest relative error of D -> D (1 + z (z + E/2)) over one step of random starts."""
    worst, rng = 0.0, np.random.default_rng(context.seed)
    for E in SHIFTS:
        z, t = random_starts(rng, 2000, E)
        dz, dT = changes(z, t, 1.0, E, 1)
        after = symmetric.invariant(z + dz, t + dT, E)
        stated = symmetric.invariant(z, t, E) * symmetric.invariant_multiplier(z, E)
        worst = largest(worst, np.abs(after - stated) / (1 + np.abs(t + dT)))
    return Measured(worst)


def _signs(context: Context) -> Measured:
    z, t = random_starts(np.random.default_rng(context.seed), 20_000, 0.0)
    _, dT = changes(z, t, 1.0, 0.0, 1)
    return Measured(np.count_nonzero(np.sign(dT) != np.sign(t - 4)), note=f"of {z.size} random starts")


SYMMETRIC = figure(
    "symmetric", "the symmetric model: which starts stay bounded", None, None,
    (
        claim("section 3.2.1", "At E~ = 0 the sign of T(t+1) - T(t) is that of T - 4: starts for which it is not.", 0.0,
              absolute(0.0, "T(t+1) - T(t) = z~^2 (T - 4) exactly, and no start is within rounding of T = 4"), _signs),
        claim("App. B.3", "D = T - 4 - E~ z~/2 is multiplied by 1 + z~(z~ + E~/2) in a step: largest error over 1 + T.", None,
              absolute(1e-12, "rounding"), _invariant, expected=0.0),
        claim("App. B.3", "A run stays bounded exactly when T < 4 + E~ z~/2 at the start: starts for which this fails.", None,
              absolute(0.0, "exact, for starts that are not on the line"), _bounded, expected=0.0),
    ),
    seconds_quick=2, seconds_full=2,
)  # fmt: skip


# --- gradient flow ------------------------------------------------------------------------------------------


def flow(state: tuple[Any, Any], w: np.ndarray, times: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """z~ and c along gradient flow of the system, classical Runge-Kutta between the times; arrays (times, runs, ...)."""
    import jax
    import jax.numpy as jnp

    from trainphase.systems.quadratic_1d import Modes, Quadratic1DFlow

    def rate(z: Any, c: Any) -> Modes:
        return system.velocity(jnp.zeros(()), Modes(z, c))

    with precision("float64"):
        system = Quadratic1DFlow(theta=np.ones(w.size), w=w)
        velocity = jax.jit(jax.vmap(rate))
        now = tuple(np.asarray(v, float) for v in state)
        kept = [now]
        for h in np.diff(times):
            slopes: list[Any] = []
            for part in (0.0, 0.5, 0.5, 1.0):
                at = now if not slopes else tuple(v + part * h * k for v, k in zip(now, slopes[-1], strict=True))
                slopes.append([np.asarray(v) for v in velocity(*at)])
            now = tuple(v + h * (a + 2 * b + 2 * c + d) / 6 for v, a, b, c, d in zip(now, *slopes, strict=True))
            kept.append(now)
    z, c = zip(*kept, strict=True)
    return np.asarray(z), np.asarray(c)


def _family(context: Context) -> Measured:
    """Runs from the family of App. B.1 whose curvature falls at some time, of random starts with eigenvalues +-1 and +-0.5."""
    rng, w = np.random.default_rng(context.seed), np.array([1.0, 0.5, -0.5, -1.0])
    c = np.abs(rng.normal(size=(1200, 4)))  # of a third the negative modes weigh enough
    z = rng.uniform(0.05, 1.5, 1200)
    moments = np.stack([(c**2 * w**k).sum(1) for k in range(12)], 1)
    inside = theory.sharpening_family(z, moments)
    _, path = flow((z[inside], c[inside]), w, np.linspace(0, 3, 301))
    rise = np.diff((path**2).sum(-1), axis=0)
    falls = ~(rise >= -1e-12 * (path[1:] ** 2).sum(-1)).all(0)  # what is no number falls, too
    return Measured(np.count_nonzero(falls), note=f"{np.count_nonzero(inside)} runs with eigenvalues 1, 0.5, -0.5, -1")


def _sign_rule(context: Context) -> Measured:
    """Starts at which T rises along the flow and z~ T(1) is not negative, or the other way."""
    rng, w = np.random.default_rng(context.seed), np.array([1.0, -0.4, 0.2])
    c, z = rng.normal(size=(4000, 3)), rng.uniform(-1, 1, 4000)
    _, path = flow((z, c), w, np.array([0.0, 1e-6]))
    rise = np.diff((path**2).sum(-1), axis=0)[0]
    product_ = z * (c**2 * w).sum(1)
    clear = np.abs(product_) > 1e-6
    wrong = (rise > 0) != (product_ < 0)
    note = f"{np.count_nonzero(clear)} random starts with eigenvalues 1, -0.4, 0.2"
    return Measured(np.count_nonzero(wrong & clear), note=note)


GRADIENT_FLOW = figure(
    "gradient-flow", "progressive sharpening under gradient flow", None, None,
    (
        claim("App. B.1", "From z~ > 0, T(k) >= 0 for even and <= 0 for odd k, T(0) never falls: runs for which it does.", 0.0,
              absolute(0.0, "a theorem; falls below rounding (1e-12 of T) are not counted"), _family),
        claim("(8)", "T(0) rises along the flow exactly where z~ T(1) < 0: starts for which it does not.", 0.0,
              absolute(0.0, "exact; starts with |z~ T(1)| below 1e-6 are left out, where rounding decides"), _sign_rule),
    ),
    seconds_quick=3, seconds_full=3,
)  # fmt: skip

FIGURES = (
    FIGURE_1, FIGURE_2, FIGURE_7, FIGURE_8, FIGURE_9, FIGURE_10, FIGURE_11,
    THEOREM, ONE_STEP, TWO_STEP, NORMAL_FORM, PROOF, SYMMETRIC, GRADIENT_FLOW, LINEAR_NET,
)  # fmt: skip
