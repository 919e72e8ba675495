"""Figures 7, 8 and 9: where starts in the (z~, T) plane of the D = 1 model with two parameters end.

Figure 7: the symmetric model, eigenvalues 1 and -1. Figure 8: the allowed cones. Figure 9: eps = 0.17 with its two-step
nullclines.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from trainphase.reproduce.agarwala.one_datum_runs import UNIT, changes, claim, figure
from trainphase.reproduce.claims import Measured, absolute, exact, largest
from trainphase.theory import quadratic_1d as theory
from trainphase.theory import symmetric

if TYPE_CHECKING:
    import xarray

    from trainphase.reproduce.context import Context

SETTLED = ("flat", "sharpening", "edge-of-stability")


def plane(z: np.ndarray, T: np.ndarray, eps: float, E: float, steps: int, arrows: tuple[int, int]) -> xarray.Dataset:
    """Arrows, nullclines and the bounds of the allowed region for the box that z and T span; no runs.

    ``eps`` below 0 means a second eigenvalue above 0. ``steps`` (1 or 2) is the map whose changes are shown.
    """
    import xarray

    line = np.linspace(z.min(), z.max(), 601)
    b = 2 * line + E
    low, high = (np.maximum(b, -eps * b), np.full(line.size, np.inf)) if eps > 0 else (-eps * b, b)
    void = high < low
    za, Ta = (np.linspace(v.min(), v.max(), 2 * n + 1)[1::2] for v, n in ((z, arrows[0]), (T, arrows[1])))
    zz, TT = np.meshgrid(za, Ta, indexing="ij")
    dz, dT = changes(zz, TT, eps, E, steps)
    inside = np.where(theory.allowed(zz, TT, eps, E), 1.0, np.nan)
    lines = (theory.nullcline_z(line, eps, E), theory.nullcline_T(line, eps, E)) if steps == 1 else \
        theory.two_step_nullclines(line, eps)  # fmt: skip
    kept = [np.where((f >= low) & (f <= high), f, np.nan) for f in lines]
    out = xarray.Dataset(
        {
            "low": ("line", np.where(void, np.inf, low), UNIT), "high": ("line", high, UNIT),
            "f_z": ("line", kept[0], UNIT), "f_T": ("line", kept[1], UNIT),
            "delta_z": (("z_arrow", "T_arrow"), dz * inside, UNIT), "delta_T": (("z_arrow", "T_arrow"), dT * inside, UNIT),
        },
        {"line": line, "z_arrow": za, "T_arrow": Ta, "z": z, "T": T}, {"eps": eps, "E": E, "steps": steps},
    )  # fmt: skip
    if steps == 1:
        return out
    # The other branches have no closed form: they are drawn where the changes over z~ are 0.
    zf, Tf = np.linspace(z.min(), z.max(), 240), np.linspace(T.min(), T.max(), 241)
    zz, TT = np.meshgrid(zf, Tf, indexing="ij")
    rates = [np.where(theory.allowed(zz, TT, eps, E), d / zz, np.nan) for d in changes(zz, TT, eps, E, steps)]
    fine = {name: (("z_fine", "T_fine"), rate, UNIT) for name, rate in zip(("rate_z", "rate_T"), rates, strict=True)}
    return out.assign(fine).assign_coords(z_fine=zf, T_fine=Tf)


def settled(data: xarray.Dataset) -> np.ndarray:
    """True for starts whose runs settle."""
    from trainphase.phase import EDGE

    return np.isin(data["phase"].values, [EDGE.index(name) for name in SETTLED])


def share(found: Any, of: Any) -> float:
    """The share of ``of`` that is ``found``; NaN of nothing."""
    count = np.count_nonzero(of)
    return float(np.count_nonzero(np.asarray(found) & np.asarray(of)) / count) if count else np.nan


# --- figure 7 -----------------------------------------------------------------------------------------------

SHIFT = 1.0  # the E~ beside 0


def compute_7(context: Context) -> dict[str, xarray.Dataset]:
    """Where an even grid of starts of the linear net ends, for E~ = 0 and E~ = 1."""
    import trainphase as tp

    n = context.pick(96, 384)
    out = {}
    for name, E in (("zero", 0.0), ("shifted", SHIFT)):
        axes: dict[str, Any] = {"z": tp.linspace(-2.6, 2.6, n), "T": tp.linspace(0, 5.6, n)}
        got = tp.diagram("linear-net", y=E / 2, vocabulary="edge", steps=4000, **axes).dataset
        field = plane(got["z"].values, got["T"].values, 1.0, E, 1, (13, 14))
        field["divergence"] = ("line", symmetric.divergence_line(field["line"].values, E), UNIT)
        kept = got[["phase", "curvature", "curvature_start"]].drop_vars(["z", "T"])
        out[name] = field.merge(kept).assign_attrs(field.attrs, vocabulary="edge")
    return out


def draw_7(data: dict[str, xarray.Dataset]) -> Any:
    """Two planes and the final curvatures."""
    from trainphase.figures import one_datum_planes

    return one_datum_planes.symmetric_page(data["zero"], data["shifted"])


def _rises(context: Context, name: str) -> Measured:
    data = context.data()[name]
    of = settled(data)
    risen = data["curvature"].values > data["curvature_start"].values * (1 + 1e-9)
    return Measured(share(risen, of), note=f"{np.count_nonzero(of)} runs that settle, of an even grid of starts")


def arrivals(data: xarray.Dataset) -> tuple[float, int]:
    """Of settled runs that start below T = 1.9: the share that ends between 1.9 and 2.1, and their number."""
    of = settled(data) & (data["curvature_start"].values < 1.9)
    return share(np.abs(data["curvature"].values - 2.0) < 0.1, of), int(np.count_nonzero(of))


def _arrivals(context: Context, name: str) -> Measured:
    found, count = arrivals(context.data()[name])
    return Measured(found, note=f"of {count} settled runs that start below T = 1.9")


def _other_side(context: Context) -> Measured:
    """Starts at E~ = 0 whose run settles on the wrong side of T = 4."""
    data = context.data()["zero"]
    known = data["phase"].values != 255
    wrong = settled(data) != (data["curvature_start"].values < 4)
    undecided = np.count_nonzero(data["phase"].values[known] == 5)
    return Measured(np.count_nonzero(wrong & known), note=f"of {np.count_nonzero(known)} starts, {undecided} undecided")


FIGURE_7 = figure(
    "7", "phase planes of the symmetric model, E~ = 0 and E~ = 1, and final curvatures", compute_7, draw_7,
    (
        claim("Fig. 7, left", "At E~ = 0, the share of settled runs whose curvature has risen.", 0.0,
              absolute(0.0, "T(t+1) - T(t) = z~^2 (T - 4) has the sign of T - 4, so a run that settles never rises"),
              lambda c: _rises(c, "zero")),
        claim("Fig. 7, left", "At E~ = 0, T = 4 parts the starts that settle from those that diverge: starts on the wrong side.",
              0.0, absolute(0.0, "exact, and no start of the grid lies on T = 4"), _other_side),
        claim("Fig. 7, middle", "At E~ = 1 some runs settle at a larger curvature.", True, exact("a truth value"),
              lambda c: Measured(_rises(c, "shifted").value > 0, note=f"{100 * _rises(c, 'shifted').value:.1f} % of them")),
        claim("Fig. 7, right", "No edge of stability at E~ = 0: share of starts below 1.9 that end within 0.1 of 2.", 0.0,
              absolute(1e-4, "a few starts in ten thousand may pass by chance"), lambda c: _arrivals(c, "zero")),
        claim("Fig. 7, right", "No edge of stability at E~ = 1: the same share.", 0.0,
              absolute(2e-3, "runs that happen to end there; at the edge of stability it is tens of percent"),
              lambda c: _arrivals(c, "shifted")),
    ),
    seconds_quick=3, seconds_full=4,
)  # fmt: skip


# --- figure 8 -----------------------------------------------------------------------------------------------

CONES = {"up": (0.3, 1.0), "sideways": (-0.35, 1.5)}  # eps (minus the second eigenvalue) and E~
HORIZON = 4000


def compute_8(context: Context) -> dict[str, xarray.Dataset]:
    """The allowed cones with the one-step nullclines, for a negative and a positive second eigenvalue."""
    boxes = {"up": ((-3.2, 3.2), (0.0, 7.2)), "sideways": ((-1.4, 3.6), (-0.3, 8.2))}
    n = context.pick(42, 122)  # even, so that no start has z~ = 0
    out = {}
    for name, (eps, E) in CONES.items():
        z, T = (np.linspace(*box, n) for box in boxes[name])
        field = plane(z, T, eps, E, 1, (13, 13))
        final = _iterated(*np.meshgrid(z, T, indexing="ij"), eps, E)
        out[name] = field.assign(final=(("z", "T"), final, UNIT))
    return out


def _iterated(z: np.ndarray, T: np.ndarray, eps: float, E: float) -> np.ndarray:
    """T after HORIZON steps, NaN for starts outside the cone and where z~ does not go to 0."""
    outside = ~theory.allowed(z, T, eps, E)
    dz, dT = changes(np.where(outside, 0.0, z), np.where(outside, 1.0, T), eps, E, HORIZON)
    return np.where(outside | ~(np.abs(z + dz) < 1e-3), np.nan, T + dT)


def draw_8(data: dict[str, xarray.Dataset]) -> Any:
    """Two planes."""
    from trainphase.figures import one_datum_planes

    return one_datum_planes.cones_page(data["up"], data["sideways"])


def _cone(context: Context) -> Measured:
    """Starts drawn as parameters that the cone forbids, and points of the cone whose weights are negative."""
    rng = np.random.default_rng(context.seed)
    wrong, count = 0, context.pick(20_000, 200_000)
    for eps, E in CONES.values():
        w = np.array([1.0, -eps])
        theta = rng.normal(size=(count, 2)) * rng.choice([0.3, 1.0, 3.0], size=(count, 2))
        T, z = np.sum((w * theta) ** 2, 1), 0.5 * (np.sum(w * theta**2, 1) - E)
        slack = 1e-9 * (1 + T)  # the edges themselves are met to rounding only
        wrong += np.count_nonzero(~(theory.allowed(z, T + slack, eps, E) | theory.allowed(z, T - slack, eps, E)))
        z, T = rng.uniform(-2, 2, count), rng.uniform(-1, 4, count)
        square = np.array([(T + eps * (2 * z + E)) / (1 + eps), eps * (T - 2 * z - E) / (1 + eps)])
        wrong += np.count_nonzero(theory.allowed(z, T, eps, E) != (square >= 0).all(0))
    return Measured(wrong, note=f"{2 * len(CONES) * count} random starts")


def _on_nullcline(which: str) -> Measured:
    """The largest change of z~ or T in a step of the system from the points of its nullcline, relative to T."""
    worst = 0.0
    for eps, E in CONES.values():
        z = np.linspace(-1.9, 1.9, 77)
        T = (theory.nullcline_z if which == "z" else theory.nullcline_T)(z, eps, E)
        moved = changes(z, T, eps, E, 1)[0 if which == "z" else 1]
        worst = largest(worst, np.abs(moved) / (1 + np.abs(T)))
    return Measured(worst, note="both cones, 77 points each")


def _printed_70(context: Context) -> Measured:
    """Whether T stands still on the printed curve (70)."""
    eps, E = CONES["up"]
    a, z = 1 / eps, np.linspace(-1.9, 1.9, 77)
    T = -((a - 1) * z - 2 * a) / ((a - 1) * z - 2 * a * (a - 1)) * (2 * z + E)
    moved = np.abs(changes(z, T, eps, E, 1)[1]) / (1 + np.abs(T))
    return Measured(bool(moved.max() < 1e-9), note=f"largest change {moved.max():.2g} of 1 + |T|, at eps = {eps:g}, E~ = {E:g}")


def _bounds(context: Context) -> Measured:
    """Final T from starts in the sideways cone at E~ > 0."""
    eps, E = CONES["sideways"]
    final = context.data()["sideways"]["final"].values
    final = final[np.isfinite(final)]
    inside = bool((final >= -eps * E - 1e-9).all() and (final <= E + 1e-9).all())
    return Measured(inside, note=f"{final.size} runs, final T from {final.min():.4f} to {final.max():.4f}, "
                    f"bounds {-eps * E:g} and {E:g}")  # fmt: skip


def _only_zero(context: Context) -> Measured:
    """The largest final T in the sideways cone at E~ = 0."""
    eps = CONES["sideways"][0]
    z, T = np.meshgrid(np.linspace(0.01, 2, 40), np.linspace(0.01, 4, 41), indexing="ij")
    final = _iterated(z, T, eps, 0.0)
    kept = np.isfinite(final)
    return Measured(final[kept].max(), note=f"{np.count_nonzero(kept)} runs that converge, {HORIZON} steps")


FIGURE_8 = figure(
    "8", "allowed cones and one-step nullclines of the D = 1 model with two parameters", compute_8, draw_8,
    (
        claim("(67), (68)", "Parameters exist exactly for (z~, T) in the cone: random starts for which this fails.", 0.0,
              absolute(0.0, "exact; the cone's edges count as met within 1e-9"), _cone),
        claim("(69)", "z~ stands still in a step from the curve (69): largest change over 1 + |T|.", 0.0,
              absolute(1e-12, "rounding"), lambda c: _on_nullcline("z")),
        claim("(70)", "T stands still in a step from the curve (70) as printed.", True, exact("a truth value"), _printed_70,
              expected=False, correction="solving (66) for T gives f_T = B ((a-1)z - 2a) / (2a(a-1) - (a^2-a+1)z); "
              "our copy of the paper has lost symbols, so the slip may be the copy's"),
        claim("(70)", "T stands still in a step from the corrected curve (70): largest change over 1 + |T|.", None,
              absolute(1e-12, "rounding"), lambda c: _on_nullcline("T"), expected=0.0),
        claim("Fig. 8, right", "With both eigenvalues positive, runs converge only to T in [lambda E~, E~].", True,
              exact("a truth value"), _bounds),
        claim("App. B.3", "With both eigenvalues positive and E~ = 0, nothing converges but to T = 0: the largest final T.", 0.0,
              absolute(1 / (0.35 * HORIZON), "z~' < -2 lambda z~^2, so that T < 2 z~ < 1/(lambda t) after t steps"), _only_zero),
    ),
    seconds_quick=2, seconds_full=3,
)  # fmt: skip


# --- figure 9 -----------------------------------------------------------------------------------------------

EPS_9 = 0.17
BIN = 0.02


def compute_9(context: Context) -> xarray.Dataset:
    """Where an even grid of starts ends at eps = 0.17, E~ = 0."""
    import trainphase as tp

    n = context.pick(128, 512)  # even: a column of starts at z~ = 0 would not move
    axes: dict[str, Any] = {"z": tp.linspace(-1.5, 1.5, n), "T": tp.linspace(0, 4, n)}
    got = tp.diagram("quadratic-1d", eps=EPS_9, **axes).dataset
    field = plane(got["z"].values, got["T"].values, EPS_9, 0.0, 2, (15, 16))
    kept = got[["phase", "curvature", "curvature_start"]].drop_vars(["z", "T"])
    return field.merge(kept).assign_attrs(field.attrs, vocabulary="edge")


def draw_9(data: xarray.Dataset) -> Any:
    """The two-step plane and the final curvatures."""
    from trainphase.figures import one_datum_planes

    theorem = {"Theorem 3.1": 2 - EPS_9 / 2, "to second order": float(theory.final_curvature(EPS_9, 2))}
    return one_datum_planes.histogram_page(data, theorem, BIN)


def histogram(data: xarray.Dataset) -> tuple[np.ndarray, np.ndarray]:
    """Counts of the final T of settled runs, and the edges of the bins."""
    values = data["curvature"].values[settled(data)]
    return np.histogram(values, np.arange(0.0, 2.2 + BIN / 2, BIN))


def _mode(context: Context) -> float:
    count, edges = histogram(context.data())
    return float(edges[count.argmax()] + BIN / 2)


def _converged(context: Context) -> Measured:
    data = context.data()
    inside = data["phase"].values != 255
    return Measured(share(settled(data), inside), note=f"{np.count_nonzero(inside)} starts in |z~| < 1.5, 0 < T < 4")


def _peak(context: Context) -> Measured:
    count, _ = histogram(context.data())
    words = f"the bin at {_mode(context):.2f} holds {count.max() / np.median(count[count > 0]):.0f} times the median bin"
    return Measured(bool(1.8 <= _mode(context) <= 2.0), note=words)


def _arrive_9(context: Context) -> Measured:
    wide = settled(context.data()) & (context.data()["curvature_start"].values < 1.8)
    at = share(np.abs(context.data()["curvature"].values - 2) < 0.2, wide)
    return Measured(bool(at > 0.1), note=f"{100 * at:.0f} % of the settled runs that start below 1.8 end within 0.2 of 2")


FIGURE_9 = figure(
    "9", "two-step plane at eps = 0.17, and final curvatures from an even grid of starts", compute_9, draw_9,
    (
        claim("Fig. 9, right", "The final T has its peak just below 2, in [1.8, 2].", True, exact("a truth value"), _peak),
        claim("Fig. 9, right", "Its mode is at the T of the series to second order.", None,
              absolute(BIN, f"bins are {BIN} wide, half of it each way; the third-order term is 0.006"),
              lambda c: Measured(_mode(c)), expected=float(theory.final_curvature(EPS_9, 2))),
        claim("Fig. 9, right", "Share of the starts of the cone in the box that settle.", None,
              absolute(0.03, "the reference is 'about three quarters', which is no more exact than a few percent"),
              _converged, expected=0.75),
        claim("Fig. 9", "Unlike at eps = 1, many starts below the edge end at it.", True, exact("a truth value"), _arrive_9),
    ),
    seconds_quick=3, seconds_full=9,
)  # fmt: skip
