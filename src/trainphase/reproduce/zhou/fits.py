"""What three-layer nets make of the four points at gamma3 = 1, 1.5 and 2: jagged, smooth, and a linear spline."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from trainphase._arrays import precision
from trainphase.reproduce.claims import Claim, Measured, exact
from trainphase.reproduce.context import Context
from trainphase.reproduce.runner import Figure
from trainphase.reproduce.zhou.runs import PAPER, TARGET

if TYPE_CHECKING:
    import xarray

GAMMA3 = (1.0, 1.5, 2.0)
# Inputs that are drawn; between the outer data, spaced evenly, they contain the data.
GRID = np.linspace(-0.6, 0.6, 361)
WHERE = "fits of four points"


def compute(context: Context) -> xarray.Dataset:
    """f on a grid at the start and at the end, dims (gamma3, seed, x): single random nets, not antisymmetric ones."""
    import xarray

    from trainphase.data import targets
    from trainphase.reproduce.zhou import net
    from trainphase.systems.relu3 import relu3

    data = targets.samples("points")
    width, seeds = context.pick(400, 1000), context.pick(3, 6)
    ends, starts = np.zeros((2, len(GAMMA3), seeds, GRID.size))
    context.progress.start(len(GAMMA3) * seeds, 0)
    with precision("float64"):
        for i, gamma3 in enumerate(GAMMA3):
            for k in range(seeds):
                system = relu3(width, data.X, data.y[:, 0], gamma3=gamma3, gamma2=0.0, seed=100 * context.seed + k)
                starts[i, k] = net.function(system, system.init(), GRID)
                ends[i, k] = net.function(system, net.flow(system, TARGET), GRID)
                context.progress.advance(1)
    dims = ("gamma3", "seed", "x")
    return xarray.Dataset(
        {"f": (dims, ends), "f_start": (dims, starts), "y": ("datum", data.y[:, 0])},
        {"gamma3": list(GAMMA3), "x": GRID, "x_data": ("datum", data.X[:, 0])},
        {"width": width, "target": TARGET},
    )


def _draw(data: Any) -> Any:
    from trainphase.figures import three_layer

    return three_layer.fits(data)


def departure(data: xarray.Dataset) -> np.ndarray:
    """Largest |f - linear spline| between the outer data, over the largest of |y|, shape (gamma3, seed)."""
    x, y = data["x_data"].values, data["y"].values
    inside = np.abs(data["x"].values) <= x[-1] + 1e-9
    spline = np.interp(data["x"].values[inside], x, y)
    return np.abs(data["f"].values[..., inside] - spline).max(-1) / np.abs(y).max()


def roughness(data: xarray.Dataset) -> np.ndarray:
    """Total variation of f' between the outer data over that of the linear spline, the least that fits; (gamma3, seed)."""
    x, y = data["x_data"].values, data["y"].values
    inside = np.abs(data["x"].values) <= x[-1] + 1e-9
    slopes = np.diff(data["f"].values[..., inside]) / np.diff(data["x"].values[inside])
    return np.abs(np.diff(slopes)).sum(-1) / np.abs(np.diff(np.diff(y) / np.diff(x))).sum()


def concentration(data: xarray.Dataset) -> np.ndarray:
    """Share of the total variation of f' that lies in its few largest bends: within 0.02 of the two inner data."""
    x = data["x"].values
    bends = np.abs(np.diff(data["f"].values, 2))
    inside = np.abs(x[1:-1]) < data["x_data"].values[-1] - 1e-9
    near = inside & (np.abs(np.abs(x[1:-1]) - data["x_data"].values[2]) <= 0.02)
    return bends[..., near].sum(-1) / bends[..., inside].sum(-1)


def _words(context: Context, k: int) -> tuple[float, float, float, str]:
    """Means over seeds of the three measures at a gamma3, and a note of them."""
    data = context.data()
    rough, share, apart = (float(measure(data)[k].mean()) for measure in (roughness, concentration, departure))
    note = (
        f"width {data.attrs['width']}, mean over {data.sizes['seed']} seeds: f' varies {rough:.2f} times as much as that of the "
        f"linear spline, {100 * share:.0f} % of it within 0.02 of the inner data; f is off the spline by "
        f"{100 * apart:.1f} % of the largest target"
    )
    return rough, share, apart, note


def _jagged(context: Context) -> Measured:
    rough, _, _, note = _words(context, 0)
    return Measured(rough > 2, note=note)


def _smooth(context: Context) -> Measured:
    rough, share, _, note = _words(context, 1)
    return Measured(rough < 1.5 and share < 0.5, note=note)


def _spline(context: Context) -> Measured:
    *_, note = _words(context, 2)
    return Measured(bool(departure(context.data())[2].mean() <= 0.05), note=note)


def _order(context: Context) -> Measured:
    """By how much the mean roughness at gamma3 = 1 exceeds that at 1.5, in standard errors over seeds."""
    rough = roughness(context.data())
    error = float(np.sqrt((rough[:2].var(1, ddof=1) / rough.shape[1]).sum()))
    first, second = rough[0].mean(), rough[1].mean()
    return Measured(bool(first - second > 3 * error), note=f"{first:.2f} and {second:.2f}, +- {error:.2f}")


CLAIMS = (
    Claim(
        PAPER, WHERE, "gamma3 = 1: f is jagged: f' varies more than twice as much between the data as it must", True,
        exact("a convex f reaches the least, 1; a factor of 2 is far outside the scatter over seeds"), _jagged,
    ),
    Claim(
        PAPER, WHERE, "gamma3 = 1.5: f is smooth: f' varies by less than 1.5 times the least, less than half of it at the data",
        True, exact("f' of a parabola varies evenly, 8 % of it within 0.02 of the inner data; that of a spline wholly"), _smooth,
    ),
    Claim(
        PAPER, WHERE, "gamma3 = 2: f is the linear spline, to 5 % of the largest target", True,
        exact("a parabola is off by 11 %, so that 5 % tells the two apart"), _spline,
    ),
    Claim(
        PAPER, WHERE, "f is rougher at gamma3 = 1 than at 1.5, by more than 3 standard errors", True,
        exact("chance: 1 in 700"), _order,
    ),
)  # fmt: skip

FIGURE = Figure(PAPER, "fits", "Fits of four points at three gamma3", compute, _draw, CLAIMS, seconds_quick=5, seconds_full=40)
