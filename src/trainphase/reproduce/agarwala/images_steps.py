"""What is read from the series of a network at the edge: two-step changes, slopes, crossings. NumPy only."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    import xarray

# |z_1| up to which the change of y is one that the top mode has no part in (the paper's number).
STILL = 1e-4
# Steps by which near neighbours in the plane (z_1, y) must lie apart in time.
APART = 20
# How near, in standard deviations of the two.
WITHIN = 0.1


def fine(run: xarray.Dataset) -> xarray.Dataset:
    """The part of the series in which each step is measured."""
    return run.isel(time=np.flatnonzero(run["fine"].values))


def two_steps(run: xarray.Dataset) -> dict[str, np.ndarray]:
    """From each step to the next but one: ``t``, ``z`` and ``y`` at the first, ``dz`` and ``dy``, and ``predicted`` = 2 y z."""
    part = fine(run)
    z, y = part["z1"].values, part["curvature"].values - 2.0
    return {
        "t": part["time"].values[:-2], "z": z[:-2], "y": y[:-2], "dz": z[2:] - z[:-2], "dy": y[2:] - y[:-2],
        "predicted": 2.0 * y[:-2] * z[:-2],
    }  # fmt: skip


def slope(x: np.ndarray, d: np.ndarray, y: np.ndarray) -> tuple[float, float]:
    """Slope of d against x through the origin by least squares, and the error that the neglected y^2 z makes in it.

    With a frozen Jacobian d = (2 y + y^2) z: a point's slope is off by y/2, and points count by x^2.
    """
    weight = x * x / np.sum(x * x)
    return float(np.sum(x * d) / np.sum(x * x)), float(np.sum(weight * np.abs(y)) / 2)


def frozen(x: np.ndarray, y: np.ndarray) -> float:
    """The slope of the same fit that a frozen Jacobian makes, with the sign of y: 1 + y/2, points counting by x^2."""
    return 1 + float(np.sum(x * x * y) / np.sum(x * x)) / 2


def drift(steps: dict[str, np.ndarray]) -> float:
    """b, the mean of y(t+2) - y(t) where |z_1| < STILL; NaN where there is no such step."""
    still = np.abs(steps["z"]) < STILL
    return float(np.mean(steps["dy"][still])) if still.any() else float("nan")


def scatter(z: np.ndarray, y: np.ndarray, value: np.ndarray, apart: int = APART, within: float = WITHIN) -> tuple[float, int]:
    """How far ``value`` is from a function of (z, y), and from how many pairs of near neighbours that is known.

    Half the mean squared difference of ``value`` between each point and the nearest one at least ``apart`` steps away, over
    its variance: 0 for a smooth function, 1 where neighbours have nothing in common. Only neighbours nearer than ``within``
    count; the plane's axes are in units of their standard deviations.
    """
    at = np.column_stack([z / np.std(z), y / np.std(y)])
    far = np.sum((at[:, None] - at[None]) ** 2, -1)
    index = np.arange(len(z))
    far[np.abs(index[:, None] - index[None]) < apart] = np.inf
    near = np.argmin(far, axis=1)
    close = far[index, near] < within**2
    if close.sum() < 2:
        return float("nan"), int(close.sum())
    return float(0.5 * np.mean((value - value[near])[close] ** 2) / np.var(value[close])), int(close.sum())


def crossings(curvature: np.ndarray) -> np.ndarray:
    """Indices after which the curvature has changed sides of 2."""
    return np.flatnonzero(np.diff((curvature > 2.0).astype(int)))


def first_fall(part: xarray.Dataset) -> int:
    """Index of the first largest curvature: from there the curvature falls for the first time (by more than a percent)."""
    value = part["curvature"].values
    top = np.maximum.accumulate(value)
    fallen = np.flatnonzero(value < top - 0.02)
    return int(np.argmax(value[: fallen[0] + 1])) if fallen.size else len(value) - 1
