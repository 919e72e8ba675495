"""A tanh net on ten classes of real images at the edge of stability: figures 5, 6 and 15."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np

from trainphase._arrays import precision
from trainphase.reproduce.agarwala import images_data, images_follow, images_steps
from trainphase.reproduce.agarwala.images_follow import Plan
from trainphase.reproduce.agarwala.images_steps import STILL, crossings, drift, fine, first_fall, scatter, slope, two_steps
from trainphase.reproduce.agarwala.many_data_start import PAPER, PLAIN
from trainphase.reproduce.claims import Claim, Measured, absolute, exact, relative, standard_errors
from trainphase.reproduce.context import Context
from trainphase.reproduce.runner import Figure

if TYPE_CHECKING:
    import xarray

LR = 0.01
QUICK = Plan(LR, 2600, 20, 1.99, 600, hessian=1, ratio=True, tol=3e-5)
FULL = Plan(LR, 4400, 50, 1.99, 700, hessian=1, ratio=True, tol=3e-5, piece=25)
# Order of the paper's Lanczos runs for Q, and our random starts.
ORDER, PROBES = 36, 4
# Share of the first peak of |z_1| below which the top mode does not yet act back on the curvature.
SMALL = 0.02


# --- Fig. 5 -------------------------------------------------------------------------------------------------


def compute_5(context: Context) -> dict[str, Any]:
    """The run: one row per measurement, and the parameters at the two ends of the part where each step is measured."""
    plan = context.pick(QUICK, FULL)
    return images_follow.follow(context, "run", lambda: images_data.ten_classes(context), plan)


def _run(context: Context) -> Any:
    return context.of(FIGURE_5)["run"]


def _after(context: Context) -> Any:
    """The series from the first crossing of the edge on."""
    part = fine(_run(context))
    cross = crossings(part["curvature"].values)
    return part.isel(time=slice(int(cross[0]) + 1 if cross.size else part.sizes["time"], None))


def _sizes(context: Context) -> str:
    n, width = context.pick((500, 50), (5000, 200))
    return f"{n} images, {images_data.images(context)}; width {width}, step size {LR:g}"


def _level(context: Context) -> Measured:
    part = _after(context)
    values = part["curvature"].values
    bound = float(np.nanmax(part["bound"].values))
    note = f"mean over {values.size} steps from the first crossing on; errors of values below {bound:.1g}; {_sizes(context)}"
    return Measured(values.mean() if values.size else float("nan"), note=note)


def _band(context: Context) -> Measured:
    values = _after(context)["curvature"].values
    return Measured(bool(np.max(np.abs(values - 2.0)) <= 0.2), note=f"from {values.min():.3f} to {values.max():.3f}")


def _crosses(context: Context) -> Measured:
    part = fine(_run(context))
    cross = crossings(part["curvature"].values)
    times = ", ".join(f"{t:g}" for t in part["time"].values[cross][:6])
    mean = crossings((part["curvature"].values[1:] + part["curvature"].values[:-1]) / 2)
    note = f"{cross.size} crossings, the first after steps {times}; {mean.size} of the mean over two steps"
    return Measured(bool(cross.size >= 3), note=note)


def _second(context: Context) -> Measured:
    run = _run(context)
    return Measured(float(run["curvature_2"].max()), note=f"the largest of {run.sizes['time']} measurements, in units of 1/eta")


def _second_below(context: Context) -> Measured:
    found = _second(context)
    return Measured(bool(found.value < 2.0), note=f"largest eta lambda_2: {found.value:.3f}")


def _smooth(context: Context) -> Measured:
    """Median two-step change over the median one-step change of z_1, after the first crossing."""
    z = _after(context)["z1"].values
    two, one = np.median(np.abs(z[2:] - z[:-2])), np.median(np.abs(np.diff(z)))
    return Measured(two / one, note="medians of |z1(t+2) - z1(t)| and |z1(t+1) - z1(t)|")


def _hessian(context: Context) -> Measured:
    part = fine(_run(context))
    apart = (part["sharpness"] / part["curvature"] - 1).dropna("time").values
    return Measured(
        np.max(np.abs(apart)),
        note=f"largest and median of {apart.size}: {np.max(np.abs(apart)):.3f}, {np.median(np.abs(apart)):.3f}",
    )


def _draw_5(data: Any) -> Any:
    from trainphase.figures import images

    return images.edge(data["run"])


CLAIMS_5 = (
    Claim(PAPER, "Fig. 5", "The top kernel eigenvalue reaches 2/eta: mean of eta lambda_1 after the first crossing.", 2.0,
          relative(0.02, "the mean is over a few slow cycles of a band some percent wide"), _level),
    Claim(PAPER, "Fig. 5", "From the first crossing on eta lambda_1 stays within a tenth of 2.", None,
          exact("the paper gives no number; a tenth is what a plot shows as hovering"), _band, expected=True),
    Claim(PAPER, "Fig. 5", "The top kernel eigenvalue crosses 2/eta several times.", True, exact("three or more"), _crosses),
    Claim(PAPER, "Fig. 5", "The second kernel eigenvalue stays below 2/eta.", True, PLAIN, _second_below),
    Claim(PAPER, "Fig. 5", "Every second step z_1 moves smoothly: two-step over one-step change.", 0.0,
          absolute(0.25, "two steps change z_1 by 2 y against 2 for one step, and |y| stays below 0.2"), _smooth),
    Claim(PAPER, "Fig. 5", "The Hessian's top eigenvalue moves like the kernel's: largest relative difference.", 0.0,
          absolute(0.1, "they differ by the residuals times the second derivative, small near convergence"), _hessian),
)  # fmt: skip

FIGURE_5 = Figure(
    PAPER, "5", "a net on CIFAR-10 at the edge of stability", compute_5, _draw_5, CLAIMS_5, seconds_quick=120, seconds_full=14000,
)  # fmt: skip


# --- Fig. 6 -------------------------------------------------------------------------------------------------


def compute_6(context: Context) -> dict[str, Any]:
    """The run of Fig. 5, and spectra of v . Q at both ends of its fine part: v = v_1, and a random direction."""
    found = context.of(FIGURE_5)
    return {"run": found["run"], "spectra": spectra(images_data.ten_classes(context), found["snapshots"], context.seed)}


def spectra(problem: Any, snapshots: xarray.Dataset, seed: int, probes: int = PROBES, order: int = ORDER) -> xarray.Dataset:
    """Lanczos nodes and weights of v . Q, dims (direction, probe, node): v_1 at the first and last snapshot, and a random v."""
    import xarray

    from trainphase.spectrum import krylov, operators

    rows, names, steps = [], [], []
    with precision("float32"):
        problem = images_follow.ready(problem, "float32")
        for which, name in ((0, "top"), (-1, "top"), (0, "random")):
            theta = snapshots["theta"].values[which]
            kernel = operators.ntk(problem, theta, side="outputs")
            if name == "top":
                v = krylov.top(kernel.product, kernel.size, tol=1e-4).vectors[0]
            else:
                v = np.random.default_rng(seed).standard_normal(kernel.size)
                v /= np.linalg.norm(v)
            q = operators.projected_q(problem, theta, v.astype(np.float32))
            found = krylov.density(q.product, q.size, probes, order, seed)
            rows.append((found.nodes, found.weights))
            names.append(name)
            steps.append(int(snapshots["snapshot"].values[which]))
    dims = ("direction", "probe", "node")
    return xarray.Dataset(
        {"value": (dims, np.stack([r[0] for r in rows])), "weight": (dims, np.stack([r[1] for r in rows]))},
        {"name": ("direction", names), "step": ("direction", steps)}, {"size": problem.size},
    )  # fmt: skip


# What gradient descent does to z_1. With the Jacobian frozen for two steps, z_1(t+2) - z_1(t) = (2 y + y^2) z_1: slope 1 against
# 2 y z_1 to first order in y, 1 + y/2 to second. On a real network two things are of first order, too:
# - what grows is governed by the Hessian, J^T J + z . Q, not by the kernel, J J^T: y counts in the residuals of all other
#   modes, which are not gone when the edge is reached. The difference is as large as y itself.
# - y changes from a step to the next, by -8 times the ratio of Fig. 6, as soon as z_1 is large. Over two steps
#   z_1(t+2) = (1 + y(t)) (1 + y(t+1)) z_1(t): y(t) + y(t+1) is in the place of 2 y(t).


def _fitted(x: np.ndarray, d: np.ndarray, y: np.ndarray, words: str) -> Measured:
    value, error = slope(x, d, y)
    rest = 1 - np.sum((d - value * x) ** 2) / np.sum(d**2)
    told = f"R^2 = {rest:.3f}; a frozen Jacobian makes {images_steps.frozen(x, y):.3f}; the error is the weighted mean of |y|/2"
    return Measured(value, error, f"{words}: {len(x)} steps, {told}")


def _slope(context: Context) -> Measured:
    part, steps = fine(_run(context)), two_steps(_run(context))
    y, h = (part[name].values - 2.0 for name in ("curvature", "sharpness"))
    sizes = [np.median(np.abs(v)) for v in (y, h - y, np.diff(y))]
    why = "medians: |y| {:.3f}, its difference to that of the Hessian {:.3f}, its change in one step {:.3f}".format(*sizes)
    if max(sizes[1:]) > 0.5 * sizes[0]:
        why += ", so that 2 y of the kernel leaves out what is comparable to itself"
    return _fitted(steps["predicted"], steps["dz"], steps["y"], f"all steps, y of the kernel; {why}; {_sizes(context)}")


def _growing(context: Context, name: str) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """z_1, its two-step change, and y at t and t + 1 up to the first peak of |z_1|, where it is below a fiftieth of that."""
    part = fine(_run(context))
    z, y = part["z1"].values, part[name].values - 2.0
    top = int(np.argmax(np.abs(z)))
    here = np.flatnonzero(np.abs(z[:top]) < SMALL * np.abs(z[top]))
    here = here[here < len(z) - 2]
    return z[here], z[here + 2] - z[here], y[here], y[here + 1]


def _growth(context: Context, name: str) -> Measured:
    """The slope while z_1 grows from rest, with y of the kernel or of the Hessian."""
    z, d, y, _ = _growing(context, name)
    if name == "sharpness":
        return _fitted(2 * y * z, d, y, "y of the Hessian")
    other, change, h, _ = _growing(context, "sharpness")
    right, lies = slope(2 * h * other, change, h)[0], float(np.median(h - y))
    words = f"y of the kernel; that of the Hessian, which governs the growth, lies {lies:+.3f} from it and makes {right:.3f}"
    return _fitted(2 * y * z, d, y, words)


def _unexpanded(context: Context) -> Measured:
    """The same with (1 + y(t)) (1 + y(t+1)) - 1 of the Hessian in the place of 2 y(t)."""
    z, d, y, following = _growing(context, "sharpness")
    value, _ = slope(((1 + y) * (1 + following) - 1) * z, d, y)
    return Measured(value, note=f"y of the Hessian: {len(z)} steps, from |z_1| = {abs(z[0]):.1g} to {abs(z[-1]):.1g}")


def _both(context: Context) -> Measured:
    """The slope over all steps, with y(t) + y(t+1) of the Hessian in the place of 2 y(t)."""
    part = fine(_run(context))
    z, y = part["z1"].values, part["sharpness"].values - 2.0
    x, d, top = (y[:-2] + y[1:-1]) * z[:-2], z[2:] - z[:-2], int(np.argmax(np.abs(z)))
    late = slope(x[top:], d[top:], y[top:-2])[0] if top < len(x) else float("nan")
    return _fitted(x, d, y[:-2], f"y of the Hessian; after the first peak of |z_1| alone {late:.2f}, where y swings most")


def widest(spectra: xarray.Dataset) -> np.ndarray:
    """Root mean square of the eigenvalues, and the largest in size, of each direction; shape (directions, 2)."""
    value, weight = spectra["value"].values, spectra["weight"].values
    return np.stack([np.sqrt(np.mean(np.sum(weight * value**2, -1), -1)), np.abs(value).max((-1, -2))], -1)


def _wider(context: Context) -> Measured:
    sizes = widest(context.data()["spectra"])
    over = sizes[:2] / sizes[2]
    (a, b), (c, d) = over
    note = f"root mean square {a:.2f}, {c:.2f}, largest {b:.1f}, {d:.1f} times a random one's"
    return Measured(bool((over > 1).all()), note=note)


def _constant(context: Context) -> Measured:
    spectra = context.data()["spectra"]
    sizes = widest(spectra)
    change = np.abs(sizes[1] / sizes[0] - 1)
    first, last = spectra["step"].values[:2]
    return Measured(change[1], note=f"largest eigenvalue in size, steps {first} and {last}; root mean square: {change[0]:.3f}")


def _ratio_before(context: Context) -> Measured:
    run = _run(context)
    before = run.isel(time=slice(0, int(np.flatnonzero(run["curvature"].values >= 2.0)[0])))
    before = before.isel(time=np.flatnonzero(before["time"].values >= 0.5 * float(before["time"][-1])))
    return Measured(
        float(np.abs(before["ratio"]).max()), note="largest over the second half of the steps up to the first crossing"
    )


def _ratio_at_fall(context: Context) -> Measured:
    part = fine(_run(context))
    fall = first_fall(part)
    near = np.abs(part["ratio"].values[fall : fall + 30])
    above = float(part["curvature"].values[fall] - 2.0)
    note = (
        f"largest within 30 steps from step {part['time'].values[fall]:g}, where lambda_1 begins to fall; it need not be larger: "
        f"it moves y by 8 times itself in a step, {8 * near.max():.2f}, and y is {above:.2f} there"
    )
    return Measured(near.max(), note=note)


def _strong(context: Context) -> Measured:
    """Whether what the top mode does to y in one step is of the order of y itself, about the first fall."""
    part = fine(_run(context))
    fall = first_fall(part)
    made = 8 * np.abs(part["ratio"].values[fall : fall + 30]).max()
    over = made / (part["curvature"].values[fall] - 2.0)
    return Measured(bool(0.2 < over < 5), note=f"8 |ratio| is up to {made:.3f}, {over:.2f} times y where lambda_1 begins to fall")


def _feedback(context: Context) -> Measured:
    """Slope of the one-step change of y against -8 ratio, what the top mode alone makes of it."""
    part = fine(_run(context))
    x, d = -8 * part["ratio"].values[:-1], np.diff(part["curvature"].values)
    value = np.sum(x * d) / np.sum(x * x)
    rest = 1 - np.sum((d - value * x) ** 2) / np.sum(d**2)
    return Measured(value, note=f"R^2 = {rest:.3f}; largest |8 ratio| {np.abs(x).max():.3f}")


def _draw_6(data: Any) -> Any:
    from trainphase.figures import images

    return images.mechanism(data["run"], data["spectra"])


GROWS = "relative error y/2 of a frozen Jacobian, and half as much for the rise of y between the two steps"
CLAIMS_6 = (
    Claim(PAPER, "Fig. 6", "Slope of z_1(t+2) - z_1(t) against 2 y z_1, y = eta lambda_1 - 2 of the kernel, all steps.", 1.0,
          standard_errors(1, "a frozen Jacobian gives (2 y + y^2) z_1: relative error y/2, weighted as the points are; but y of "
                             "the kernel leaves out what the other residuals do, and y changes from step to step"), _slope),
    Claim(PAPER, "Fig. 6", "The same slope while z_1 grows from rest, y of the kernel.", 1.0,
          standard_errors(1.5, GROWS), partial(_growth, name="curvature")),
    Claim(PAPER, "Fig. 6", "The same slope while z_1 grows from rest, y = eta times the top Hessian eigenvalue - 2.", None,
          standard_errors(1.5, GROWS), partial(_growth, name="sharpness"), expected=1.0),
    Claim(PAPER, "Fig. 6", "While it grows: slope against ((1 + y(t)) (1 + y(t+1)) - 1) z_1, y of the Hessian.", None,
          absolute(0.02, "nothing is expanded in y: left are the angle of the two top vectors, and other modes in z_1"),
          _unexpanded, expected=1.0),
    Claim(PAPER, "Fig. 6", "Slope of z_1(t+2) - z_1(t) against (y(t) + y(t+1)) z_1, y of the Hessian, all steps.", None,
          standard_errors(2, "y/2 as before, and as much again for the rotation of v_1 from step to step"), _both, expected=1.0),
    Claim(PAPER, "Fig. 6", "The spectrum of Q_1 is wider than that of a random direction.", True, PLAIN, _wider),
    Claim(PAPER, "Fig. 6", "The spectrum of Q_1 stays: relative change of its largest eigenvalue.", 0.0,
          absolute(0.25, "nearly constant: a change that a plot of the spectrum hardly shows"), _constant),
    Claim(PAPER, "Fig. 6", "Nonlinear over linear change of the top mode is small while the curvature rises.", 0.0,
          absolute(1e-3, "small beside its values after the crossing, some percent"), _ratio_before),
    Claim(PAPER, "Fig. 6", "It is of order 1 just before the curvature falls first.", 1.0,
          absolute(0.9, "of order 1: above 0.1"), _ratio_at_fall),
    Claim(PAPER, "Fig. 6", "What the top mode does to y in one step is of the order of y when the curvature falls first.", None,
          exact("of order 1: from 1/5 to 5"), _strong, expected=True),
    Claim(PAPER, "Fig. 6", "The top mode alone makes y(t+1) - y(t): slope against -8 times that ratio.", None,
          absolute(0.25, "other modes and the rotation of v_1 come in at the same order"), _feedback, expected=1.0),
)  # fmt: skip

FIGURE_6 = Figure(
    PAPER, "6", "what drives the edge of stability on CIFAR-10", compute_6, _draw_6, CLAIMS_6, seconds_quick=25, seconds_full=600,
)  # fmt: skip


# --- Fig. 15 ------------------------------------------------------------------------------------------------


def compute_15(context: Context) -> xarray.Dataset:
    """Two-step changes along the run of Fig. 5."""
    import xarray

    steps = two_steps(_run(context))
    b = drift(steps)
    return xarray.Dataset({k: ("time", steps[k]) for k in ("z", "y", "dz", "dy")}, {"time": steps["t"]}, {"b": b, "lr": LR})


def _no_function(context: Context) -> Measured:
    data = context.data()
    moved = np.abs(data["z"].values) > 0.1 * np.abs(data["z"].values).max()
    z, y, dy = (data[k].values[moved] for k in ("z", "y", "dy"))
    (found, pairs), (known, _) = scatter(z, y, (dy - data.attrs["b"]) / z**2), scatter(z, y, y * z)
    note = (
        f"{found:.2f} of the variance of (y(t+2) - y(t) - b) / z1^2 lies between near neighbours in (z1, y), {pairs} pairs; "
        f"{known:.4f} of that of y z1, which is a function of them"
    )
    return Measured(bool(found > 0.1 and found > 10 * known), note=note)


def _falls_with_z(context: Context) -> Measured:
    data = context.data()
    strong = np.abs(data["z"].values) > 0.5 * np.abs(data["z"].values).max()
    value = np.corrcoef(data["z"].values ** 2, data["dy"].values)[0, 1]
    change = data["dy"].values[strong].mean()
    note = f"{strong.sum()} steps above half the largest |z1|: mean change {change:.2g}, b = {data.attrs['b']:.2g}"
    return Measured(bool(value < 0), note=f"correlation of y(t+2) - y(t) with z1^2: {value:.2f}; {note}")


def _rises_at_rest(context: Context) -> Measured:
    b = float(context.data().attrs["b"])
    return Measured(bool(b > 0), note=f"b = {b:.3g} per two steps, where |z1| < {STILL:g}")


def _draw_15(data: Any) -> Any:
    from trainphase.figures import images

    return images.two_step(data)


FIGURE_15 = Figure(
    PAPER, "15", "two-step changes of the curvature on CIFAR-10", compute_15, _draw_15,
    (
        Claim(PAPER, "Fig. 15, D.2", "The change of y in two steps is no function of (z_1, y).", True,
              exact("a tenth of the variance, ten times what a function of them has"), _no_function),
        Claim(PAPER, "Sec. 5", "The change of y in two steps is negatively correlated with z_1^2.", True, PLAIN, _falls_with_z),
        Claim(PAPER, "D.2", "With the top mode at rest the curvature still rises: b > 0.", True, PLAIN, _rises_at_rest),
    ),
    seconds_quick=1, seconds_full=1,
)  # fmt: skip

FIGURES = (FIGURE_5, FIGURE_6, FIGURE_15)
