"""The same runs by three vocabularies over (gamma, step size), and the order parameter of each along rows of that plane."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from trainphase.figures import plane, style
from trainphase.phase import VOCABULARIES

if TYPE_CHECKING:
    import xarray

ROWS = (0.3, 1.2, 4.8)
ROW_COLOURS = ("#4477AA", "#CC6677", "#222255")
MARKS = ("o", "s", "^")
X = "$\\gamma$"
MULTIPLE = "step size  $\\eta\\lambda_0$"


def page(data: xarray.Dataset) -> Figure:
    """(a) to (c) the labels of one plane by vocabulary, (d) to (f) growth of the loss, curvature at the end, slope S_w.

    Parameters
    ----------
    data : over ``gamma`` and ``multiple`` (step size times the kernel's first eigenvalue): ``training``, ``edge``, ``regime``
        (codes), ``growth`` (largest one-step growth of the loss), ``end`` (step size times eigenvalue at the end), ``dead``
        (true where no neuron is left); over ``gamma``: ``sharpest`` (step size at which the gentlest run would end at 2),
        ``slope``, ``slope_se``, ``theory_slope``; attribute ``critical``: the theory's gamma of the critical line.
    """
    with style.context():
        fig = style.figure(style.DOUBLE, 4.9)
        above, below = fig.subplots(2, 3, height_ratios=(1.25, 1))
        handles: dict[str, Any] = {}
        for ax, name, letter in zip(above, ("training", "edge", "regime"), "abc", strict=True):
            style.pin(ax)
            _labels(ax, data, name)
            ax.set_title(f"({letter}) {name}", loc="left", pad=3.0)
            for handle in style.phase_handles(data[name].values, VOCABULARIES[name]):
                handles.setdefault(str(handle.get_label()), handle)
        for ax, letter in zip(below, "def", strict=True):
            style.pin(ax)
            ax.set_xlabel(X)
            ax.axvline(data.attrs["critical"], color=style.INK, lw=0.7, ls=style.dashes(True))
            ax.set_title(f"({letter})", loc="left", pad=3.0)
        rows = _along(below[0], data, "growth", "largest growth of the loss a step")
        _along(below[1], data, "end", "$\\eta\\lambda$ at the end")
        below[1].axhline(2.0, color=style.INK, lw=0.6)
        slopes = _slopes(below[2], data)
        for ax in below:
            ax.set_xlim(*above[0].get_xlim())
        style.legend(fig, [*handles.values(), *rows, *slopes, *_marks()])
    return fig


def _labels(ax: Axes, data: xarray.Dataset, name: str) -> None:
    """One vocabulary over the plane, with the line between the regimes, 2, and where the gentlest run's end would be at 2."""
    part = data[[name]].rename({name: "phase"})
    part.attrs["vocabulary"] = name
    plane.draw(part, ax, names=False, legend=False)
    ax.set_xlabel(X)
    ax.set_ylabel(MULTIPLE)
    ax.set_yticks([0.1, 1, 10], ["0.1", "1", "10"])
    y = np.asarray(ax.get_ylim())
    for points, exact in (
        (([data.attrs["critical"]] * 2, y), True),
        ((data["gamma"].values, np.full(data.sizes["gamma"], 2.0)), True),
        ((data["gamma"].values, data["sharpest"].values), False),
    ):
        ax.plot(*points, color="white", lw=2.0, alpha=0.85)
        ax.plot(*points, color=style.INK, lw=1.0, ls=style.dashes(exact))
    ax.set_ylim(*y)
    i, j = np.nonzero(data["dead"].values)
    ax.plot(data["gamma"].values[i], data["multiple"].values[j], "x", ms=2.2, mew=0.5, color=style.INK)


def _along(ax: Axes, data: xarray.Dataset, name: str, label: str) -> list[Line2D]:
    """An order parameter along three rows of the plane; runs whose neurons are all dead have none."""
    handles = []
    for at, colour, mark in zip(ROWS, ROW_COLOURS, MARKS, strict=True):
        row = data.sel(multiple=at, method="nearest")
        values = np.where(row["dead"].values & (name == "end"), np.nan, row[name].values)
        text = f"$\\eta\\lambda_0$ = {float(row['multiple']):.2g}"
        ax.plot(row["gamma"].values, values, marker=mark, ms=2.8, lw=0.8, color=colour)
        handles.append(Line2D([], [], marker=mark, ms=3, lw=0.8, color=colour, label=text))
    ax.set_yscale("log")
    ax.set_ylabel(label)
    return handles


def _slopes(ax: Axes, data: xarray.Dataset) -> list[Any]:
    """S_w of the ladder of widths, and the theory's."""
    x = data["gamma"].values
    ax.errorbar(x, data["slope"].values, 2 * data["slope_se"].values, fmt="o", ms=2.8, lw=0.8, color="#117733")
    ax.plot(x, data["theory_slope"].values, color=style.INK, lw=0.8, ls=style.dashes(True))
    ax.axhspan(-0.05, 0.05, color="#DDDDDD", zorder=0)
    ax.set_ylabel("$S_w$")
    return [Line2D([], [], marker="o", ms=3, ls="none", color="#117733", label="$S_w$ by gradient flow, two standard errors")]


def _marks() -> list[Any]:
    return [
        Line2D([], [], color=style.INK, lw=1.0, ls=style.dashes(True), label="theory: regimes, threshold 2"),
        Line2D([], [], color=style.INK, lw=1.0, ls=style.dashes(False), label="$2\\lambda_0/\\lambda$ of the gentlest run"),
        Line2D([], [], color=style.INK, marker="x", ms=3, mew=0.6, ls="none", label="all neurons dead"),
    ]
