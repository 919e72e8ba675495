"""Taylor models of an Erf net on two classes of real images: figure 16."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from trainphase.reproduce.agarwala import images_data
from trainphase.reproduce.agarwala.images_follow import Plan, follow
from trainphase.reproduce.agarwala.many_data_start import PAPER, PLAIN
from trainphase.reproduce.claims import Claim, Measured, absolute, exact, relative
from trainphase.reproduce.context import Context
from trainphase.reproduce.runner import Figure

if TYPE_CHECKING:
    import xarray

# The model from its start, each second step measured once the curvature is at the edge: that is where it is expanded again.
QUICK = Plan(0.02, 1200, 10, 2.0, 800, tol=1e-6, dtype="float64", beat=2)
FULL = Plan(0.003204, 6000, 50, 2.0, 2000, tol=1e-6, dtype="float64", beat=2)
# z_1 of the runs that are pushed, in target units: a millionth of the first peak.
PUSH = 1e-6


def compute(context: Context) -> dict[str, xarray.Dataset]:
    """Series of the model, of its second-order expansion at the start, and of those of both orders near the edge.

    ``model``, ``start2`` from the start; ``near``, ``near2``, ``near3`` from where every second step is measured, ``time`` of all
    in steps of the model. What grows at the edge begins there as rounding, at another size in each of them. ``pushed``,
    ``pushed2``, ``pushed3`` begin with the same z_1.
    """
    plan = context.pick(QUICK, FULL)
    found = follow(context, "model", lambda: images_data.two_classes(context), plan)
    model, begun = found["run"], int(found["run"].attrs["begun"])
    theta = found["snapshots"]["theta"].values[0]
    near = replace(plan, near=0.0, steps=plan.fine)
    from_start = replace(plan, near=np.inf, steps=int(model["time"][-1]))
    part = model.isel(time=np.flatnonzero(model["fine"].values))
    runs = {
        "model": model,
        "start2": follow(context, "start2", _expansion(context, 2, None), from_start)["run"],
        "near": part,
    }  # fmt: skip
    for order in (2, 3):
        run = follow(context, f"near{order}", _expansion(context, order, theta), near)["run"]
        # An eigenvector has no sign of its own: the first peaks are drawn to the same side.
        side = np.sign(run["z1"].values[peak(run)] * part["z1"].values[peak(part)])
        runs[f"near{order}"] = run.assign(z1=side * run["z1"]).assign_coords(time=run["time"] + begun)
    first = replace(near, fine=context.pick(500, plan.fine))
    for order in (0, 2, 3):
        name = f"pushed{order or ''}"
        runs[name] = follow(context, name, _expansion(context, order, theta, pushed=True), first)["run"]
    return {name: run.assign_attrs(begun=begun, lr=plan.lr) for name, run in runs.items()}


def _expansion(context: Context, order: int, at: np.ndarray | None, pushed: bool = False) -> Callable[[], Any]:
    """Makes the expansion at that point, or for order 0 the model there; ``pushed``: off it, so that z_1 is PUSH."""

    def make() -> Any:
        from trainphase.systems.taylor import Expansion

        model = images_data.two_classes(context)
        found = Expansion(model, order, at) if order else model
        if not pushed:
            return found
        assert at is not None
        return beginning(found, push(model, at, PUSH) + (0.0 if order else at))

    return make


def beginning(problem: Any, theta: np.ndarray) -> Any:
    """The same problem with another start."""
    import equinox as eqx

    return eqx.tree_at(lambda p: p.params, problem, problem.restore(theta))


def push(problem: Any, theta: np.ndarray, size: float) -> np.ndarray:
    """The shortest displacement from ``theta`` that makes z_1 ``size``, to first order: along J^T v_1. Call in its precision."""
    import jax

    from trainphase.spectrum import krylov, operators

    kernel = operators.ntk(problem, theta, side="outputs")
    v1 = krylov.top(kernel.product, kernel.size, tol=1e-10).vectors[0]
    f, pull = jax.vjp(problem.outputs, theta)
    along, z1 = np.asarray(pull(v1)[0]), float(v1 @ np.asarray(problem.residual_of_outputs(f)))
    return (np.copysign(size, z1) - z1) / float(along @ along) * along


# --- what is read from the series ---------------------------------------------------------------------------


def peak(run: xarray.Dataset) -> int:
    """Index of the first peak of |z_1|: the largest value up to where it has come down to a third of that."""
    size = np.abs(run["z1"].values)
    top = int(np.argmax(size))
    # A later peak may be as high as the first one.
    for k in range(1, len(size)):
        best = float(size[:k].max())
        if best > 0.2 * size[top] and size[k] < best / 3:
            return int(np.argmax(size[:k]))
    return top


def second_peak(run: xarray.Dataset) -> int | None:
    """Index of the next peak of |z_1|, after the valley behind the first; None when the series ends before it."""
    size, first = np.abs(run["z1"].values), peak(run)
    rest = size[first:]
    rising = np.flatnonzero(np.diff(rest) > 0)
    if not rising.size:
        return None
    valley = int(rising[0])
    falling = np.flatnonzero(np.diff(rest[valley:]) < 0)
    return first + valley + int(falling[0]) if falling.size else None


def shape(model: xarray.Dataset, other: xarray.Dataset, around: int = 15) -> tuple[float, float]:
    """(largest distance between the |z_1| of the two about their first peaks over the model's peak, shift of time in steps).

    The other series is moved in time, by a fraction of a beat too (log-linear between beats), to where the distance is least.
    """
    a, b = np.abs(model["z1"].values), np.abs(other["z1"].values)
    i, j = peak(model), peak(other)
    beat = float(model["time"][1] - model["time"][0])
    low, high = max(i - around, 0), min(i + around + 1, len(a))
    at = np.arange(low, high, dtype=float)
    best = (np.inf, 0.0)
    for extra in np.linspace(-2, 2, 81):
        moved = np.exp(np.interp(at - i + j + extra, np.arange(len(b)), np.log(np.maximum(b, 1e-300))))
        best = min(best, (float(np.max(np.abs(moved - a[low:high]))) / a[i], float(extra)))
    return best[0], (j - i + best[1]) * beat


def departs(model: xarray.Dataset, other: xarray.Dataset, factor: float = 1.5) -> float:
    """Step at which the losses first differ by more than ``factor``; infinity when they never do."""
    times = np.intersect1d(model["time"].values, other["time"].values)
    ratio = model["loss"].sel(time=times).values / other["loss"].sel(time=times).values
    off = np.flatnonzero(np.maximum(ratio, 1 / ratio) > factor)
    return float(times[off[0]]) if off.size else float("inf")


# --- claims -------------------------------------------------------------------------------------------------


def _misses(context: Context) -> Measured:
    data = context.data()
    values = [float(data[k]["curvature"].max()) for k in ("model", "start2")]
    note = f"largest eta lambda_1: {values[0]:.3f} of the model, {values[1]:.3f} of the expansion at the start"
    return Measured(bool(values[0] > 2.0 and values[1] < 2.0), note=note)


def _follows(context: Context) -> Measured:
    data = context.data()
    begun = data["model"].attrs["begun"]
    when = departs(data["model"], data["start2"])
    edge = float(peak(data["near"]) * (data["near"]["time"][1] - data["near"]["time"][0])) + float(data["near"]["time"][0])
    note = f"within a factor 1.5 up to step {when:g}; the model meets 2/eta at step {begun}, its z_1 peaks at {edge:g}"
    return Measured(bool(begun < when), note=note)


def _apart_after(context: Context) -> Measured:
    data = context.data()
    values = {k: float(data[k]["loss"].max()) for k in ("near",)}
    other = data["start2"]
    here = other["loss"].values[other["time"].values >= data["near"].attrs["begun"]].max()
    return Measured(
        bool(values["near"] > 3 * here),
        note=f"largest loss from the edge on: {values['near']:.3g} of the model, {here:.3g} of the expansion",
    )


def _height(context: Context, name: str) -> Measured:
    data = context.data()
    a, b = (float(np.abs(data[k]["z1"].values[peak(data[k])])) for k in ("near", name))
    return Measured(b / a, note=f"{b:.3f} and {a:.3f} target units")


def _shape(context: Context) -> Measured:
    far, shift = shape(context.data()["near"], context.data()["near2"])
    return Measured(far, note=f"within 30 steps of the peak; the expansion's comes {-shift:.0f} steps earlier")


def _earlier(context: Context) -> Measured:
    _, shift = shape(context.data()["near"], context.data()["near2"])
    return Measured(bool(shift < 0), note=f"by {-shift:.0f} steps")


def _second_peaks(context: Context, name: str) -> dict[int, tuple[float, float]]:
    """Steps from the first to the second peak of z_1, and the height of the second, of the model (0) and of both orders."""
    found = {}
    for order in (0, 2, 3):
        run = context.data()[f"{name}{order or ''}"]
        first, second = peak(run), second_peak(run)
        nothing = (float("nan"), float("nan"))
        times = run["time"].values
        found[order] = nothing if second is None else (float(times[second] - times[first]), float(abs(run["z1"].values[second])))
    return found


def _nearer(context: Context, which: int, name: str = "near") -> Measured:
    """Whether the third order is nearer to the model than the second, in the period (0) or the height (1) of what follows."""

    def told(name: str) -> tuple[float, float, str]:
        model, second, third = (found[which] for found in _second_peaks(context, name).values())
        off = f"{model:.3g} (model), the orders 2 and 3 are off by {second - model:+.2g} and {third - model:+.2g}"
        return abs(second - model), abs(third - model), off

    second, third, off = told(name)
    note = f"{('steps between peaks', 'height of the second peak')[which]}: {off}"
    if name == "near":
        note += f"; rounding, which begins what grows, is another in each: begun alike, with z_1 = {PUSH:g}, {told('pushed')[2]}"
    return Measured(bool(third < second), note=note)


def _ends_below(context: Context) -> Measured:
    """Whether eta lambda_1 of the second order is within a tenth of 2 over the last fifth of its run, and below 2 in the mean."""
    run = context.data()["near2"]
    last = run["curvature"].values[-max(run.sizes["time"] // 5, 1) :]
    size = np.abs(run["z1"].values)
    note = (
        f"from {last.min():.4f} to {last.max():.4f}, mean {last.mean():.4f}, the peak {float(run['curvature'].max()):.3f}; "
        f"|z_1| is {size[-1]:.2g} at the end, {size.max():.2g} at its peak: this run need not have come to its limit"
    )
    return Measured(bool(np.abs(last - 2).max() < 0.1 and last.mean() < 2), note=note)


def _draw(data: Any) -> Any:
    from trainphase.figures import images

    return images.taylor(data)


CLAIMS = (
    Claim(PAPER, "Fig. 16, left", "The second-order expansion at the start follows the loss up to the edge.", True,
          exact("within a factor of 1.5, while the loss falls by two orders of magnitude"), _follows),
    Claim(PAPER, "Fig. 16, left", "It misses the edge: the model crosses 2/eta, the expansion does not.", True, PLAIN, _misses),
    Claim(PAPER, "Fig. 16, left", "At the edge the model's loss has a spike that the expansion has not.", True,
          exact("a factor of three"), _apart_after),
    Claim(PAPER, "Fig. 16, middle", "Expanded at the edge, order 2: height of the first peak of z_1 over the model's.", 1.0,
          relative(0.1, "z_1 changes by up to a third from one measurement to the next, so a peak is hit within some percent"),
          lambda context: _height(context, "near2")),
    Claim(PAPER, "Fig. 16, middle", "Shape of that peak after a shift in time: largest distance over its height.", 0.0,
          absolute(0.15, "what a plot shows as the same; rounding decides on the time, the expansion on the shape"), _shape),
    Claim(PAPER, "Fig. 16, middle", "The expansion's exponential growth comes earlier.", True, PLAIN, _earlier),
    Claim(PAPER, "Section 6.1", "Expanded at the edge, order 2 ends there: eta lambda_1 within a tenth of 2, its mean below.",
          True, exact("the last fifth of the run; the paper gives no number"), _ends_below),
    Claim(PAPER, "Fig. 16, right", "Order 3: height of the first peak of z_1 over the model's.", 1.0,
          relative(0.1, "as for second order"), lambda context: _height(context, "near3")),
    Claim(PAPER, "Fig. 16, right", "Third order is nearer in the amplitude of the second peak.", True, PLAIN,
          lambda context: _nearer(context, 1)),
    Claim(PAPER, "Fig. 16, right", "Third order is nearer in the time from the first peak to the second.", True, PLAIN,
          lambda context: _nearer(context, 0)),
    Claim(PAPER, "Fig. 16, right", "All begun with one z_1, third order is nearer in the amplitude of the second peak.", None,
          PLAIN, lambda context: _nearer(context, 1, "pushed"), expected=True),
    Claim(PAPER, "Fig. 16, right", "All begun with one z_1, it is nearer in the time from the first peak to the second.", None,
          PLAIN, lambda context: _nearer(context, 0, "pushed"), expected=True),
)  # fmt: skip

FIGURE_16 = Figure(
    PAPER, "16", "Taylor models of a net on two classes of CIFAR-10", compute, _draw, CLAIMS,
    seconds_quick=100, seconds_full=7500,
)  # fmt: skip

FIGURES = (FIGURE_16,)
