"""What a net makes of the four points of x^2: jagged, smooth, or a linear spline. Measures, and claims that papers share."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import TYPE_CHECKING

import numpy as np

from trainphase.reproduce.claims import Claim, Measured, exact

if TYPE_CHECKING:
    import xarray

    from trainphase.reproduce.context import Context

# Inputs that are drawn; between the outer data, spaced evenly, they contain the data.
GRID = np.linspace(-0.6, 0.6, 361)
# Inputs on either side of a datum that count as at it.
NEAR = 0.02


def departure(data: xarray.Dataset) -> np.ndarray:
    """Largest |f - linear spline| between the outer data, over the largest of |y|, shape (place, seed)."""
    x, y = data["x_data"].values, data["y"].values
    inside = np.abs(data["x"].values) <= x[-1] + 1e-9
    spline = np.interp(data["x"].values[inside], x, y)
    return np.abs(data["f"].values[..., inside] - spline).max(-1) / np.abs(y).max()


def roughness(data: xarray.Dataset) -> np.ndarray:
    """Total variation of f' between the outer data over that of the linear spline, the least that fits; (place, seed)."""
    x, y = data["x_data"].values, data["y"].values
    inside = np.abs(data["x"].values) <= x[-1] + 1e-9
    slopes = np.diff(data["f"].values[..., inside]) / np.diff(data["x"].values[inside])
    return np.abs(np.diff(slopes)).sum(-1) / np.abs(np.diff(np.diff(y) / np.diff(x))).sum()


def concentration(data: xarray.Dataset) -> np.ndarray:
    """Share of the total variation of f' that lies in its few largest bends: within NEAR of the two inner data."""
    x = data["x"].values
    bends = np.abs(np.diff(data["f"].values, 2))
    inside = np.abs(x[1:-1]) < data["x_data"].values[-1] - 1e-9
    near = inside & (np.abs(np.abs(x[1:-1]) - data["x_data"].values[2]) <= NEAR)
    return bends[..., near].sum(-1) / bends[..., inside].sum(-1)


Curves = Callable[["Context"], "xarray.Dataset"]


def _measured(context: Context, curves: Curves, place: int, holds: Callable[[float, float, float], bool]) -> Measured:
    """Whether it holds of the means over seeds of roughness, concentration and departure, with a note of them."""
    data = curves(context)
    rough, share, apart = (float(measure(data)[place].mean()) for measure in (roughness, concentration, departure))
    note = (
        f"width {data.attrs['width']}, mean over {data.sizes['seed']} seeds: f' varies {rough:.2f} times as much as that of the "
        f"linear spline, {100 * share:.0f} % of it within {NEAR} of the inner data; f is off the spline by "
        f"{100 * apart:.1f} % of the largest target"
    )
    return Measured(holds(rough, share, apart), note=note)


def claims(paper: str, where: str, places: Sequence[str], curves: Curves) -> tuple[Claim, ...]:
    """Claims that f is jagged at the first of three places (such as ``gamma = 0.5``), smooth at the next, then a spline.

    ``curves`` : the data set of an item with ``f`` (place, seed, x), ``y`` and ``x_data``; its attributes have the width.
    """
    said = (
        (
            "f is jagged: f' varies more than twice as much between the data as it must",
            "a convex f reaches the least, 1; a factor of 2 is far outside the scatter over seeds",
            lambda rough, share, apart: rough > 2,
        ),
        (
            "f is smooth: f' varies by less than 1.5 times the least, less than half of it at the data",
            "f' of a parabola varies evenly, 8 % of it within 0.02 of the inner data; that of a spline wholly",
            lambda rough, share, apart: rough < 1.5 and share < 0.5,
        ),
        (
            "f is the linear spline, to 5 % of the largest target",
            "a parabola is off by 11 %, so that 5 % tells the two apart",
            lambda rough, share, apart: apart <= 0.05,
        ),
    )
    return tuple(
        Claim(paper, where, f"{place}: {statement}", True, exact(reason), partial(_measured, curves=curves, place=k, holds=holds))
        for k, (place, (statement, reason, holds)) in enumerate(zip(places, said, strict=True))
    )
