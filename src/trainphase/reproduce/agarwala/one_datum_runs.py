"""Figures 1, 2 and 11: single runs of the D = 1 model, from parameters and from (z~, T).

Figure 1 and 11: eigenvalues 1 and -0.1, E = 0. The start that the paper prints, (1.5, -4.32), has a positive residual and
cannot sharpen; (1.0, -4.32) has a negative one and does. Both are run. Figure 2: eigenvalues 1 and -0.005, E~ = 0.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np

from trainphase.reproduce.claims import Claim, Measured, absolute, exact, relative
from trainphase.reproduce.runner import Figure
from trainphase.theory import quadratic_1d as theory

if TYPE_CHECKING:
    import xarray

    from trainphase.reproduce.context import Context
    from trainphase.trajectory import Trajectory

claim = partial(Claim, "agarwala")
figure = partial(Figure, "agarwala")

EPS = 0.1
PRINTED, SHARPENING = (1.5, -4.32), (1.0, -4.32)
STARTS = (PRINTED, SHARPENING)
LR = 1.1  # the paper does not say; at this one both starts reach the edge
RATES = (0.5, 0.8, 1.0, 1.2, 2.2)
UNIT = {"units": "1"}
STEPS = {"units": "steps", "long_name": "step"}


def stacked(series: Sequence[np.ndarray]) -> np.ndarray:
    """Arrays of different lengths below each other, NaN after the end of each."""
    out = np.full((len(series), max(len(s) for s in series), *series[0].shape[1:]), np.nan)
    for row, values in zip(out, series, strict=True):
        row[: len(values)] = values
    return out


def changes(z: Any, T: Any, eps: float, E: float, steps: int) -> tuple[np.ndarray, np.ndarray]:
    """How much z~ and T change in so many steps of the system, in NumPy's double precision; any shape."""
    from trainphase.systems.quadratic_1d import Quadratic1DPlane

    system = Quadratic1DPlane(eps=eps, E=E)
    state = (z, T)
    with np.errstate(over="ignore", invalid="ignore"):
        for _ in range(steps):
            state = system.step(state)
        return np.asarray(state[0] - z), np.asarray(state[1] - T)


def in_parameters(start: Sequence[float], lr: float, eps: float = EPS, **more: Any) -> Trajectory:
    """Gradient descent on the parameters themselves (9), with the parameters as an observable."""
    import trainphase as tp
    from trainphase.observable import Observable

    theta = Observable("theta", "1", "parameters", lambda system, state: state, ("parameter",))
    words: dict[str, Any] = {"theta": ",".join(repr(float(v)) for v in start), "eigenvalues": f"1,{-eps!r}"}
    return tp.run("quadratic-1d", **words, lr=lr, coordinates="parameters", observables=(theta,), **more)


# --- figure 1 -----------------------------------------------------------------------------------------------


def compute_1(context: Context) -> xarray.Dataset:
    """The loss over the plane of parameters, and the iterates from both starts, every one and every other one."""
    import xarray

    runs = [in_parameters(start, LR) for start in STARTS]
    even = [run.two_step() for run in runs]
    n = context.pick(161, 321)
    one, two = np.linspace(0.7, 1.95, n), np.linspace(-4.75, -3.5, n)
    loss = 0.125 * np.square(one[:, None] ** 2 - EPS * two[None, :] ** 2)
    data = {
        "loss": (("theta_1", "theta_2"), loss, {"units": "target units squared"}),
        "kernel": (("theta_1", "theta_2"), one[:, None] ** 2 + (EPS * two[None, :]) ** 2, UNIT),
        "theta": (("start", "step", "parameter"), stacked([r.observables["theta"] for r in runs]), UNIT),
        "theta_even": (("start", "even", "parameter"), stacked([r.observables["theta"] for r in even]), UNIT),
        "curvature": (("start", "step"), stacked([r.observables["curvature"] / LR for r in runs]), UNIT),
        "residual": (("start", "step"), stacked([r.observables["residual"] for r in runs]), UNIT),
        "residual_even": (("start", "even"), stacked([r.observables["residual"] for r in even]), UNIT),
    }  # fmt: skip
    axes = {"theta_1": one, "theta_2": two}
    return xarray.Dataset(data, axes, {"lr": LR, "eps": EPS})


def draw_1(data: xarray.Dataset) -> Any:
    """The landscape with the iterates."""
    from trainphase.figures import one_datum

    return one_datum.landscape(data)


def flow_ratio(start: Sequence[float], eps: float = EPS) -> float:
    """Final over initial curvature under gradient flow at E = 0.

    theta_2 |theta_1|^eps is conserved and theta_1^2 = eps theta_2^2 at the end, where the curvature is (1 + eps) theta_1^2.
    """
    one, two = (float(v) for v in start)
    end = (eps * (two * abs(one) ** eps) ** 2) ** (1 / (1 + eps))
    return (1 + eps) * end / (one**2 + (eps * two) ** 2)


def _flow_ratio(context: Context, start: Sequence[float]) -> Measured:
    import trainphase as tp

    words: dict[str, Any] = {"theta": ",".join(map(repr, start)), "eigenvalues": f"1,{-EPS!r}", "flow": "true", "lr": 1.0}
    series = tp.run("quadratic-1d", **words, steps=60).observables["curvature"]
    return Measured(series[-1] / series[0], note=f"initial curvature {series[0]:.6f}, final {series[-1]:.4f}")


def _ratios(context: Context, start: int) -> tuple[np.ndarray, np.ndarray]:
    """Step sizes of figure 11 at which runs settle, and their final over initial curvature."""
    scan = context.of(FIGURE_11)["scan"].isel(start=start)
    ratio = (scan["curvature"] / scan["curvature_start"]).values
    kept = np.isfinite(ratio) & (scan["settled"].values > 0)
    return scan["lr"].values[kept], ratio[kept]


def _any_rise(context: Context) -> Measured:
    rates, ratio = _ratios(context, 0)
    k = int(ratio.argmax())
    note = f"{rates.size} step sizes up to 2.5 at which the run settles; the largest ratio is {ratio[k]:.4f}, at {rates[k]:.3g}"
    return Measured(bool((ratio > 1).any()), note=note)


def _fewer_turns(context: Context) -> Measured:
    data = context.data()

    def turns(values: np.ndarray) -> int:
        sign = np.sign(values[np.isfinite(values)])
        return int(np.count_nonzero(np.diff(sign[sign != 0])))

    pairs = [(turns(data["residual"].values[k]), turns(data["residual_even"].values[k])) for k in range(len(STARTS))]
    words = ", ".join(f"{every} against {other}" for every, other in pairs)
    return Measured(all(10 * other < every for every, other in pairs), note=f"changes of sign: {words}")


FIGURE_1 = figure(
    "1", "loss landscape of the D = 1 model with gradient descent, every step and every other step", compute_1, draw_1,
    (
        claim("Fig. 1", "From the printed start (1.5, -4.32) some step size in (0, 2.5) ends at a larger curvature.", True,
              exact("a truth value"), _any_rise, expected=False,
              correction="the printed start has z = +0.19 > 0 and T(1) > 0, so that curvature falls from the beginning; "
              "sharpening needs z < 0, that is |theta_1| < 1.366"),
        claim("Fig. 1", "Largest ratio of final to initial curvature from the printed start, over step sizes in (0, 2.5).", None,
              relative(0.01, "the smallest step size is 0.01, and descent departs from flow in proportion to it"),
              lambda c: Measured(_ratios(c, 0)[1].max()), expected=flow_ratio(PRINTED)),
        claim("Fig. 1", "Ratio of final to initial curvature under gradient flow from the printed start.", None,
              relative(1e-4, "tolerances of the ODE solver, and what is left of the loss after 60 units of time"),
              lambda c: _flow_ratio(c, PRINTED), expected=flow_ratio(PRINTED)),
        claim("Fig. 1", "The same from (1.0, -4.32), whose residual is negative.", None,
              relative(1e-4, "tolerances of the ODE solver, and what is left of the loss after 60 units of time"),
              lambda c: _flow_ratio(c, SHARPENING), expected=flow_ratio(SHARPENING)),
        claim("Fig. 1", "Every other step removes at least nine in ten of the residual's changes of sign.", True,
              exact("a truth value"), _fewer_turns),
    ),
    seconds_quick=10, seconds_full=11,
)  # fmt: skip


# --- figure 2 -----------------------------------------------------------------------------------------------

EPS_2 = 0.005
# (z~, T) at the start; the last one ends below the edge.
PLANE_STARTS = ((0.05, 2.2), (0.02, 2.1), (0.25, 2.72), (-0.1, 1.88), (-0.55, 1.1), (-0.4, 1.0))
STEP_SIZES = (1.0, 0.3, 0.1)


def parameters(z: float, T: float, lr: float, eps: float) -> tuple[float, float]:
    """A start in the eigenbasis that has the rescaled (z~, T) at this step size, E = 0; both components positive."""
    first, second = theory.eigen_curvatures(z, T, eps)
    return float(np.sqrt(first / lr)), float(np.sqrt(second / lr) / eps)


def compute_2(context: Context) -> dict[str, xarray.Dataset]:
    """Runs from the same (z~, T) at three step sizes, and the field of the two-step map around the edge."""
    import xarray

    def curvature(run: Trajectory) -> np.ndarray:
        return run.observables["curvature"]

    runs = [[in_parameters(parameters(*s, lr, EPS_2), lr, EPS_2) for s in PLANE_STARTS] for lr in STEP_SIZES]
    first = [run.two_step() for run in runs[0]]
    z, T = stacked([r.observables["residual"] for r in first]), stacked([curvature(r) for r in first])
    flat = stacked([curvature(r) for row in runs for r in row])
    every = flat.reshape(len(STEP_SIZES), len(PLANE_STARTS), -1)
    above = theory.two_step_nullclines(z, EPS_2)[0]
    data = xarray.Dataset(
        {
            "curvature": (("lr", "start", "step"), every, UNIT),
            "z": (("start", "even"), z, UNIT), "T": (("start", "even"), T, UNIT), "y": (("start", "even"), T - above, UNIT),
        },
        {"lr": np.asarray(STEP_SIZES)}, {"eps": EPS_2},
    )  # fmt: skip
    return {"runs": data, "field": _field_2()}


def _field_2() -> xarray.Dataset:
    """Nullclines and two-step changes in the planes (z~, T) and (z~, y), by two steps of the system."""
    import xarray

    line = np.linspace(-0.7, 0.45, 461)
    f_z, f_T = theory.two_step_nullclines(line, EPS_2)
    z, T = np.linspace(-0.64, 0.4, 19), np.linspace(0.9, 3.1, 16)
    zz, TT = np.meshgrid(z, T, indexing="ij")
    dz, dT = changes(zz, TT, EPS_2, 0.0, 2)
    near, y = np.linspace(-0.36, 0.3, 16), np.linspace(-0.03, 0.06, 13)
    nn, yy = np.meshgrid(near, y, indexing="ij")
    base = theory.two_step_nullclines(nn, EPS_2)[0]
    moved, lifted = changes(nn, base + yy, EPS_2, 0.0, 2)
    dy = base + yy + lifted - theory.two_step_nullclines(nn + moved, EPS_2)[0] - yy
    low = np.where(theory.allowed(zz, TT, EPS_2), 1.0, np.nan)
    return xarray.Dataset(
        {
            "f_z": ("line", f_z, UNIT), "f_T": ("line", f_T, UNIT),
            "delta_z": (("z", "T"), dz * low, UNIT), "delta_T": (("z", "T"), dT * low, UNIT),
            "delta_z_y": (("near", "y"), moved, UNIT), "delta_y": (("near", "y"), dy, UNIT),
        },
        {"line": line, "z": z, "T": T, "near": near, "y": y},
    )  # fmt: skip


def draw_2(data: dict[str, xarray.Dataset]) -> Any:
    """Curvature against steps, and even iterates in two planes."""
    from trainphase.figures import one_datum

    return one_datum.edge_page(data["runs"], data["field"])


def _ends(context: Context) -> np.ndarray:
    """Final curvature of the runs at step size 1, by start."""
    series = context.data()["runs"]["curvature"].values[0]
    return np.array([row[np.isfinite(row)][-1] for row in series])


def _last_y(context: Context) -> Measured:
    """The mean of y over the starts at the edge, once |z~| is below 0.02, and its spread."""
    runs = context.data()["runs"]
    close = np.abs(runs["z"].values[:-1]) < 0.02
    values = [y[near & (np.arange(y.size) > 100)][0] for y, near in zip(runs["y"].values[:-1], close, strict=True)]
    note = f"at the first even iterate with |z~| < 0.02, from {min(values):.6f} to {max(values):.6f}"
    return Measured(np.mean(values), note=note)


def _universal(context: Context) -> Measured:
    curves = context.data()["runs"]["curvature"].values
    apart = np.abs(curves[1:] - curves[:1])  # NaN after the earlier end of the two
    return Measured(np.nanmax(apart), note=f"{curves.shape[1]} starts, step sizes {', '.join(map(str, STEP_SIZES))}")


def _stages(context: Context) -> Measured:
    """Whether T and z~ first rise, then fall, and z~ falls by more than a factor of ten while T is within 0.02 of 2."""
    runs, right, words = context.data()["runs"], True, []
    for z, T in zip(runs["z"].values[:2], runs["T"].values[:2], strict=True):
        z, T = z[np.isfinite(z)], T[np.isfinite(T)]
        up, top = int(T.argmax()), int(z.argmax())
        late = z[top:][np.abs(T[top:] - 2) < 0.02]
        if not late.size:
            return Measured(False, note=f"T comes no nearer to 2 than {np.abs(T[top:] - 2).min():.2g} after z~ is largest")
        right &= bool(up > 0 and top > 0 and (np.diff(z[top:]) < 0).all() and late[0] > 10 * late[-1])
        words.append(f"T to {T[up]:.2f}, z~ to {z[top]:.2f}, then from {late[0]:.2f} to {late[-1]:.0e} near T = 2")
    return Measured(right, note="; ".join(words))


FIGURE_2 = figure(
    "2", "the edge of stability at eps = 0.005, in time and in the two-step planes", compute_2, draw_2,
    (
        claim("Fig. 2, Theorem 3.1", "Final T from (z~, T) = (0.05, 2.2) at eps = 0.005.", 2 - EPS_2 / 2,
              absolute(EPS_2**2, "the theorem's error term is O(eps^2), with a constant below 1"),
              lambda c: Measured(_ends(c)[0])),
        claim("Fig. 2", "The same against 2 - eps/2 - (27/32) eps^2 - (153/128) eps^3.", None,
              absolute(2e-6, "runs end when steps are 1e-8 of the largest, and T still swings by 2z~; the eps^4 term is 1e-9"),
              lambda c: Measured(_ends(c)[0]), expected=float(theory.final_curvature(EPS_2, 3))),
        claim("Fig. 2", "Starts with T from 1.1 to 2.7 end at one T: largest less smallest final T.", None,
              absolute(2e-6, "as above"), lambda c: Measured(np.ptp(_ends(c)[:-1]), note=f"{len(PLANE_STARTS) - 1} starts"),
              expected=0.0),
        claim("Fig. 2", "The start (-0.4, 1.0) does not reach the edge and ends at a lower T.", None, exact("a truth value"),
              lambda c: Measured(_ends(c)[-1] < 1.9, note=f"T = {_ends(c)[-1]:.4f} at the end"), expected=True),
        claim("Fig. 2, middle", "From above the edge T and z~ rise, both fall, and z~ falls on while T stays near 2.", True,
              exact("within 0.02 of 2, by a factor of ten"), _stages),
        claim("Fig. 2, right", "y on the curve where the iterates gather, close to -eps/2.", -EPS_2 / 2,
              absolute(EPS_2**2, "the theorem's error term is O(eps^2), with a constant below 1"), _last_y),
        claim("Fig. 2, left", "T(t) from one (z~, T) is the same at every step size, for these starts: largest difference.", 0.0,
              absolute(1e-10, "rounding of 1e-16 a step, magnified while the iterates leave z~ = 0"), _universal),
    ),
    seconds_quick=7, seconds_full=7,
)  # fmt: skip


# --- figure 11 ----------------------------------------------------------------------------------------------


def compute_11(context: Context) -> dict[str, xarray.Dataset]:
    """T(0) over the steps at several step sizes, and its final value over a scan of step sizes, from both starts."""
    import xarray

    import trainphase as tp

    runs = [in_parameters(start, lr) for start in STARTS for lr in RATES]
    series = stacked([r.observables["curvature"] for r in runs]).reshape(len(STARTS), len(RATES), -1)
    axes = {"lr": np.asarray(RATES)}
    shown = xarray.Dataset({"curvature": (("start", "lr", "step"), series, UNIT)}, axes, {"eps": EPS})
    n = context.pick(250, 2500)
    scans = []
    for start in STARTS:
        words: dict[str, Any] = {"theta": ",".join(map(repr, start)), "eigenvalues": f"1,{-EPS!r}"}
        got = tp.diagram("quadratic-1d", **words, lr=tp.linspace(2.5 / n, 2.5, n)).dataset
        scans.append(got[["phase", "curvature", "curvature_start", "settled"]])
    scan = xarray.concat(scans, "start").assign_attrs(vocabulary="edge", eps=EPS)
    return {"runs": shown, "scan": scan}


def draw_11(data: dict[str, xarray.Dataset]) -> Any:
    """T(0) against steps, and its final value against the step size."""
    from trainphase.figures import one_datum

    return one_datum.step_sizes(data["runs"], data["scan"], STARTS)


def _final(context: Context, start: int, lr: float) -> Measured:
    """Final T at a step size, NaN where the run diverges; from the run of the figure or a run of its own."""
    if lr in RATES:
        series = context.data()["runs"]["curvature"].sel(lr=lr).values[start]
        return Measured(series[np.isfinite(series)][-1])
    return Measured(in_parameters(STARTS[start], lr).observables["curvature"][-1])


def _plateau(context: Context) -> Measured:
    """The median final T for step sizes between 1.1 and 1.4, both starts."""
    scan = context.data()["scan"].sel(lr=slice(1.1, 1.4))
    values = scan["curvature"].values
    return Measured(np.median(values), note=f"{values.size} runs, from {values.min():.5f} to {values.max():.5f}")


def _below(context: Context) -> Measured:
    final = context.data()["scan"].sel(lr=slice(0, 0.8))["curvature"].values
    return Measured(bool((final < 1.9).all()), note=f"step sizes up to 0.8, largest final T {final.max():.3f}")


def _gone(context: Context) -> Measured:
    scan = context.data()["scan"].sel(lr=slice(2.2, 2.5))
    from trainphase.phase import EDGE

    code = scan["phase"].values
    return Measured(bool((code == EDGE.index("divergent")).all()), note=f"{code.size} runs with step sizes from 2.2 to 2.5")


FIGURE_11_VALUES = {
    0: {0.1: 0.209, 0.5: 1.043, 0.8: 1.662, 0.9: 1.857, 1.0: 1.9456, 1.1: 1.9401, 1.2: 1.9401},
    1: {1.0: 1.883, 1.1: 1.940, 1.2: 1.940, 1.4: 1.940},
}

FIGURE_11 = figure(
    "11", "T(0) over the steps for several step sizes, and its final value", compute_11, draw_11,
    (
        claim("Fig. 11", "Intermediate step sizes (1.1 to 1.4): median final T, as Theorem 3.1 predicts.", 2 - EPS / 2,
              absolute(EPS**2, "the theorem's error term is O(eps^2), with a constant below 1"), _plateau),
        claim("Fig. 11", "The same against the series 2 - eps/2 - (27/32) eps^2 - ... to eps^4.", None,
              absolute(5e-4, "five times the eps^4 term: the next ones, and a transient exp(-4 z0^2/eps)"),
              _plateau, expected=float(theory.final_curvature(EPS, 4))),
        claim("Fig. 11", "Small step sizes end below the edge.", True, exact("a truth value"), _below),
        claim("Fig. 11", "Large step sizes diverge, from both starts.", True, exact("a truth value"), _gone),
        *(
            claim("Fig. 11", f"Final T from {STARTS[start]} at step size {lr:g}.", None,
                  absolute(0.003, "the reference values, from an iteration of (9) on its own, have three digits"),
                  partial(_final, start=start, lr=lr), expected=value)
            for start, values in FIGURE_11_VALUES.items() for lr, value in values.items()
        ),
    ),
    seconds_quick=6, seconds_full=9,
)  # fmt: skip
