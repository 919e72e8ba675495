"""Figure 10, Theorem 3.1 and the normal form: how far from 2 runs at the edge of stability end, as eps goes to zero."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np

from trainphase.reproduce.agarwala.one_datum_runs import UNIT, changes, claim, figure
from trainphase.reproduce.claims import Measured, absolute, largest, relative
from trainphase.theory import quadratic_1d as theory
from trainphase.theory import two_step

if TYPE_CHECKING:
    import xarray

    from trainphase.reproduce.context import Context

# --- figure 10 ----------------------------------------------------------------------------------------------

WINDOW = (1.9, 2.0)


def compute_10(context: Context) -> xarray.Dataset:
    """Median final T at the edge over an even grid of starts around it, for the map and for the ODE (132)."""
    import xarray

    import trainphase as tp

    n = context.pick(12, 32)
    scale = np.geomspace(1e-3, 0.1, context.pick(5, 13))
    context.progress.start(scale.size, 0)
    rows = []
    for eps in scale:
        axes: dict[str, Any] = {"z": tp.linspace(-0.5, 0.5, n), "T": tp.linspace(1.5, 2.5, n)}
        # At the edge steps shrink by eps/2 a step, and 1e-8 is left after 37/eps of them.
        got = tp.diagram("quadratic-1d", eps=float(eps), steps=int(60 / eps), **axes).dataset
        z, T = np.meshgrid(got["z"].values, got["T"].values, indexing="ij")
        inside = theory.allowed(z, T, eps)
        y = T[inside] - theory.two_step_nullclines(z[inside], eps)[0]
        rows.append([*_median(got["curvature"].values), *_median(2 + theory.y_infinity(eps, y, z[inside]))])
        context.progress.advance(1)
    names = ("median", "error", "count", "ode_median", "ode_error", "ode_count")
    columns = zip(names, np.asarray(rows).T, strict=True)
    attrs = {"units": "1", "long_name": "eps"}
    data = {"deviation" if k == "median" else "ode_deviation" if k == "ode_median" else k:
            ("eps", 2 - v if k.endswith("median") else v, UNIT) for k, v in columns}  # fmt: skip
    order = {f"order_{k}": ("eps", 2 - theory.final_curvature(scale, k), UNIT) for k in (1, 2)}
    ode = {"ode_theory": ("eps", -theory.y_star(scale), UNIT)}
    return xarray.Dataset(data | order | ode, {"eps": ("eps", scale, attrs)}, {"starts": n * n})


def _median(final: np.ndarray) -> tuple[float, float, int]:
    """Median of the values in the window, half the distance between its quartiles, and their number."""
    kept = final[(final >= WINDOW[0]) & (final <= WINDOW[1])]
    low, middle, high = np.quantile(kept, [0.25, 0.5, 0.75]) if kept.size else (np.nan,) * 3
    return float(middle), float(high - low) / 2, kept.size


def draw_10(data: xarray.Dataset) -> Any:
    """The deviation, and what is left of it beyond eps/2."""
    from trainphase.figures import one_datum

    return one_datum.deviation(data)


def excess(data: xarray.Dataset, name: str = "deviation") -> np.ndarray:
    """What is left of a deviation beyond eps/2."""
    return data[name].values - data["eps"].values / 2


def _slope(context: Context, name: str) -> Measured:
    """The exponent of eps in the excess, a straight line in logarithms."""
    data = context.data()
    slope, _ = np.polyfit(np.log(data["eps"].values), np.log(excess(data, name)), 1)
    return Measured(slope, note=f"{data['eps'].size} values of eps from 0.001 to 0.1")


def _coefficient(context: Context, name: str) -> Measured:
    """The excess over eps^2 at the smallest eps."""
    data = context.data()
    return Measured(excess(data, name)[0] / data["eps"].values[0] ** 2, note="at eps = 0.001")


def _half(context: Context) -> Measured:
    """The largest relative distance of the deviation from eps/2 over all eps."""
    data = context.data()
    return Measured((excess(data) / (data["eps"].values / 2)).max(), note="at eps = 0.1")


FIGURE_10 = figure(
    "10", "distance from 2 at the end against eps, for the map and the ODE", compute_10, draw_10,
    (
        claim("Fig. 10, left", "The deviation is eps/2 up to eps = 0.1: largest relative difference.", 0.0,
              absolute(0.2, "the next terms are 2 c eps of it, c from 27/32 to 1, so at most 0.2 at eps = 0.1"), _half),
        claim("Fig. 10, right", "The deviation less eps/2 grows as eps^2: exponent for eps from 0.001 to 0.1.", 2.0,
              absolute(0.1, "the eps^3 term raises the slope by about 0.02"), lambda c: _slope(c, "deviation")),
        claim("Fig. 10, right", "The same for the ODE (132).", 2.0,
              absolute(0.1, "the eps^3 term lowers the slope by about 0.02"), lambda c: _slope(c, "ode_deviation")),
        claim("Fig. 10, right", "Coefficient of eps^2, at the smallest eps.", None,
              absolute(0.02, "the median is over starts, some of which have not quite arrived"),
              lambda c: _coefficient(c, "deviation"), expected=27 / 32),
        claim("Fig. 10, right", "The same for the ODE, which is not the map's.", None,
              absolute(0.02, "as above"), lambda c: _coefficient(c, "ode_deviation"), expected=3 / 8),
    ),
    seconds_quick=7, seconds_full=22,
)  # fmt: skip


# --- theorem 3.1 --------------------------------------------------------------------------------------------

SCALES = (0.001, 0.005, 0.02, 0.05, 0.1)
START = (-0.3, 2.2)  # z~ and T: far enough from z~ = 0 for every one of these eps
DOUBLINGS = (0.01, 0.02, 0.04)
SHARP = 0.02  # eps of the run whose Hessian is looked at
CROWD = 8  # starts along each side of the neighbourhood


def compute_theorem(context: Context) -> xarray.Dataset:
    """Final T from one start at several eps, and from a neighbourhood of starts at two of them."""
    import xarray

    import trainphase as tp

    eps = np.unique([*SCALES, *DOUBLINGS])
    got = tp.diagram("quadratic-1d", eps=tp.values(eps.tolist()), z=START[0], T=START[1], steps=60_000).dataset
    box: dict[str, Any] = {"z": tp.linspace(-0.4, -0.15, CROWD), "T": tp.linspace(1.9, 2.4, CROWD)}
    crowd = [tp.diagram("quadratic-1d", eps=e, steps=int(60 / e), **box).dataset["curvature"].values for e in (0.005, 0.02)]
    data = {"final": ("eps", got["curvature"].values, UNIT), "crowd": (("few", "z", "T"), np.asarray(crowd), UNIT)}
    return xarray.Dataset(data, {"eps": eps, "few": [0.005, 0.02]})


def _final(context: Context, eps: float) -> Measured:
    return Measured(context.data()["final"].sel(eps=eps).item(), note=f"from (z~, T) = {START}")


def _exponent(context: Context) -> Measured:
    data = context.data().sel(eps=list(SCALES))
    eps = data["eps"].values
    slope, _ = np.polyfit(np.log(eps), np.log(2 - eps / 2 - data["final"].values), 1)
    return Measured(slope, note=f"eps = {', '.join(f'{e:g}' for e in eps)}")


def _limit(context: Context) -> Measured:
    """The excess over eps^2 at three eps, extrapolated to 0 by a parabola."""
    eps = np.array(DOUBLINGS)
    excess_of = (2 - eps / 2 - context.data()["final"].sel(eps=eps).values) / eps**2
    return Measured(np.polyfit(eps, excess_of, 2)[-1], note=f"from eps = {', '.join(map(str, DOUBLINGS))}")


def _crowd(context: Context, k: int) -> Measured:
    data = context.data()["crowd"].values[k]
    return Measured(np.ptp(data), note=f"{data.size} starts with z~ from -0.4 to -0.15 and T from 1.9 to 2.4")


def _transient(context: Context) -> Measured:
    """Final y of the map over that of the ODE, from a start too close to z~ = 0 for the theorem."""
    eps, z = 0.02, 0.03
    start = (z, float(theory.two_step_nullclines(z, eps)[0]))
    state = np.asarray(start[0]), np.asarray(start[1])
    _, dT = changes(*state, eps, 0.0, 40_000)
    y, ode = float(state[1] + dT - 2), float(theory.y_infinity(eps, 0.0, z))
    applies = bool(theory.theorem_3_1_applies(z, eps))
    note = f"eps = {eps}, z0 = {z}, y0 = 0: y ends at {y:.6f}, ODE {ode:.6f}, theorem {-eps / 2}; (130) holds: {applies}"
    return Measured(y / ode, note=note)


def _sharpness(context: Context) -> Measured:
    """Step size times the top eigenvalue of the Hessian at the end of a run from (z~, T) = START."""
    import trainphase as tp

    words: dict[str, Any] = {"eps": SHARP, "z": START[0], "T": START[1]}
    run = tp.run("quadratic-1d", **words, steps=int(60 / SHARP))
    sharp, kernel = (float(run.observables[name][-1]) for name in ("sharpness", "curvature"))
    return Measured(sharp, note=f"the kernel's differs by {kernel - sharp:.0e}, z~ is {run.observables['residual'][-1]:.0e}")


THEOREM = figure(
    "theorem3.1", "final curvature 2 - eps/2 at the edge of stability", compute_theorem, None,
    (
        *(
            claim("Theorem 3.1", f"T at the end for eps = {eps:g}: 2 - eps/2.", 2 - eps / 2,
                  absolute(eps**2, "the theorem's error term is O(eps^2), with a constant below 1"), partial(_final, eps=eps))
            for eps in SCALES
        ),
        *(
            claim("Theorem 3.1", f"The same for eps = {eps:g} against 2 - eps/2 - (27/32) eps^2.", None,
                  absolute(2 * eps**3 + 1e-7, "the third-order term is (153/128) eps^3; runs end within 1e-7 of their limit"),
                  partial(_final, eps=eps), expected=float(theory.final_curvature(eps, 2)))
            for eps in SCALES[:-1]
        ),
        claim("Theorem 3.1", "Its error term: exponent of eps in 2 - eps/2 - T for eps from 0.001 to 0.1.", 2.0,
              absolute(0.1, "the eps^3 term raises the slope by about 0.02"), _exponent),
        claim("Theorem 3.1", "Coefficient of eps^2 in 2 - eps/2 - T, extrapolated to eps = 0.", None,
              relative(0.003, "T is known to 1e-7 (it still swings by 2z~), which is 0.1 % of eps^2 at eps = 0.01"), _limit,
              expected=27 / 32),
        *(
            claim("Theorem 3.1", f"All starts of a neighbourhood end at one T at eps = {eps:g}: largest less smallest.", 0.0,
                  absolute(eps**2, "the theorem's error term"), partial(_crowd, k=k))
            for k, eps in enumerate((0.005, 0.02))
        ),
        claim("App. A.1", f"eta times the top eigenvalue of the Hessian ends there as well, at eps = {SHARP:g}: 2 - eps/2.",
              2 - SHARP / 2, absolute(SHARP**2, "the theorem's error term is O(eps^2), with a constant below 1"), _sharpness),
        claim("(130), (132)", "Where z0^2/eps is too small for the theorem, y ends where the ODE says: ratio of the two.", None,
              relative(0.1, "terms of relative order z0 and eps are left out of the ODE"), _transient, expected=1.0),
    ),
    seconds_quick=4, seconds_full=4,
)  # fmt: skip


# --- the normal form ----------------------------------------------------------------------------------------


def _order(which: str, order: int | None) -> Measured:
    """The power of s at which a two-step change of the system leaves the expansion at (s z, s y, s eps).

    ``order`` None: against the leading terms as (18) and (19) print them; else against the series to that power of z.
    """
    scale = np.geomspace(0.004, 0.04, 7)
    worst = np.zeros(scale.size)
    for z, y, eps in ((1.0, 0.7, 0.5), (-0.8, 0.9, 1.0), (0.6, -1.0, 0.8)):
        zs, ys, es = z * scale, y * scale, eps * scale
        for k, (a, b, e) in enumerate(zip(zs, ys, es, strict=True)):
            # The nullcline's series errs by z^7, beyond every order that is tested.
            dz, dT = changes(a, theory.series_f_z(a, e, NULL) + b, e, 0.0, 2)
            dy = dT - (theory.series_f_z(a + dz, e, NULL) - theory.series_f_z(a, e, NULL))
            first = 2 * b * a, -2 * (4 - 3 * e + 4 * e * e) * b * a * a - 4 * e * a * a
            known = first if order is None else theory.normal_form(a, b, e, order)
            pick = 0 if which == "z" else 1
            worst[k] = largest(worst[k], abs((dz, dy)[pick] - known[pick]))
    slope, _ = np.polyfit(np.log(scale), np.log(worst), 1)
    return Measured(slope, note="z~, y and eps all in proportion to s, s from 0.004 to 0.04, three directions")


def _remainder() -> Measured:
    """The power of y with which y's two-step change beyond -8 y z~^2 vanishes at eps = 0, where f_z is 2/(1-z~)."""
    z, y = 0.05, np.geomspace(1e-5, 1e-3, 6)
    dz, dT = changes(z, 2 / (1 - z) + y, 0.0, 0.0, 2)
    dy = dT - (2 / (1 - z - dz) - 2 / (1 - z))
    rest = dy + 8 * y * z**2
    slope, _ = np.polyfit(np.log(y), np.log(np.abs(rest)), 1)
    return Measured(slope, note=f"at z~ = {z}; over y z~^3 it is {rest[0] / (y[0] * z**3):.2f}")


NULL = two_step.NULLCLINE_ORDER

NORMAL_FORM = figure(
    "normal-form", "two-step changes in (z~, y), (18) and (19)", None, None,
    (
        claim("(18)", "z~ changes by 2yz~ + O(y^2 z~) + O(y z~^2) in two steps: order of the error.", 3.0,
              absolute(0.1, "the next order is 4 to 10 % of it at the largest s"), lambda c: _order("z", None)),
        claim("(19)", "y changes by -2(4-3eps+4eps^2) y z~^2 - 4 eps z~^2 in two steps: order of the error.", 4.0,
              absolute(0.1, "the next order is 4 to 10 % of it at the largest s"), lambda c: _order("y", None)),
        claim("Lemma B.1", "Power of y in the rest of (19) at eps = 0: beside y^2 z~^2 and eps z~^3 there is y z~^3.", None,
              absolute(0.1, "the term y^2 z~^2 is a few percent of it at the largest y"), lambda c: _remainder(), expected=1.0),
        claim("(18)", "z~ against the series to z~^2, complete in y and eps: order of the error.", None,
              absolute(0.1, "the first terms left out, eps y z~^3 and y^2 z~^3, are of order 5"), lambda c: _order("z", 2),
              expected=5.0),
        claim("(19)", "y against the series to z~^3, complete in y and eps: order of the error.", None,
              absolute(0.1, "the first terms left out, such as eps z~^4, are of order 5"), lambda c: _order("y", 3),
              expected=5.0),
    ),
    seconds_quick=1, seconds_full=1,
)  # fmt: skip
