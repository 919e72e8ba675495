"""Panels that share one horizontal axis, a parameter: the band of phases, curves, lines of the theory."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.font_manager import FontProperties
from matplotlib.ticker import FixedLocator, LogLocator, NullFormatter, NullLocator

from trainphase.errors import RequestError
from trainphase.figures import style
from trainphase.figures._bins import Columns, Scale, columns, envelope, majority
from trainphase.figures._labels import along_top, levels, short_name

if TYPE_CHECKING:
    import xarray

BLUE = "#1F4E79"
# The edge of stability: step size times the top kernel eigenvalue.
EDGE = 2.0
# Losses below this are rounding: (1e-16)^2, the square of the last bit of a residual.
LOSS_FLOOR = 1e-32


def only_axis(dataset: xarray.Dataset) -> str:
    """The name of the one axis of a dataset; RequestError when it has more."""
    axes = style.axis_names(dataset)
    if len(axes) != 1:
        raise RequestError(f"a figure over one axis cannot show {len(axes)} ({', '.join(axes)}); draw a plane instead")
    return axes[0]


def rows_of(dataset: xarray.Dataset, name: str, axis: str, scale: Scale) -> np.ndarray:
    """A variable as (points in increasing order of the axis, everything else)."""
    values = dataset[name]
    moved = np.moveaxis(np.asarray(values.values), values.dims.index(axis), 0)
    return moved.reshape(moved.shape[0], -1)[scale.order]


def stack(width: float, heights: Sequence[float], scale: Scale, extra: float) -> tuple[Figure, list[Axes]]:
    """A figure of panels below each other with one horizontal axis; heights and ``extra`` in inches."""
    fig = style.figure(width, sum(heights) + extra)
    ratios = {"height_ratios": list(heights), "hspace": 0.03}
    panels = fig.subplots(len(heights), 1, sharex=True, squeeze=False, gridspec_kw=ratios)[:, 0].tolist()
    for ax in panels:
        style.pin(ax)
        ax.set_xscale("log" if scale.log else "linear")
    fig.align_ylabels(panels)
    return fig, panels


def limits(ax: Axes, scale: Scale) -> None:
    """From edge to edge of the data, ticks on the scale of the coordinate."""
    ax.set_xlim(scale.edges[0], scale.edges[-1])


def band(ax: Axes, dataset: xarray.Dataset, scale: Scale, cols: Columns) -> np.ndarray:
    """A strip of the phases, the most frequent one in each pixel column; returns the codes drawn."""
    words = style.vocabulary(dataset)
    codes = majority(words.consensus(dataset["phase"])[scale.order], cols, words)
    style.phase_cells(ax, (cols.edges, cols.regular), (np.array([0.0, 1.0]), True), codes[None, :], words)
    ax.yaxis.set_major_locator(NullLocator())
    ax.yaxis.set_minor_locator(NullLocator())
    ax.tick_params(axis="x", which="both", length=0)
    return codes


def curve(ax: Axes, values: np.ndarray, scale: Scale, cols: Columns, colour: str = BLUE) -> None:
    """Values (points, k) over the coordinate: a line; the median in the range of each pixel column where there are more
    values than columns.
    """
    if values.shape[1] == 1 and cols.count == len(values):
        marker: dict[str, Any] = {"marker": "o", "ms": 2.2} if len(values) <= 60 else {}
        ax.plot(scale.values, values[:, 0], color=colour, lw=0.9, **marker)
        return
    each = Columns(np.repeat(cols.index, values.shape[1]), cols.edges, cols.regular)
    got = envelope(values.ravel(), each)
    centres = np.sqrt(cols.edges[1:] * cols.edges[:-1]) if scale.log else cols.centres
    ax.fill_between(centres, got.low, got.high, color=colour, alpha=0.3, lw=0)
    ax.plot(centres, got.middle, color=colour, lw=0.7)


def lyapunov(ax: Axes, dataset: xarray.Dataset, axis: str, scale: Scale, cols: Columns) -> None:
    """The Lyapunov exponent with its zero line and, where every point is drawn, plus and minus its standard error.

    The depths of superstable cycles, which have no bottom, are cut off.
    """
    values = rows_of(dataset, "lyapunov", axis, scale).astype(float)
    finite = values[np.isfinite(values)]
    top = max(float(finite.max()), 0.0) if finite.size else 1.0
    low = float(finite.min()) if finite.size else -1.0
    bottom = max(low, -1.6 * max(top, 0.5))
    pad = 0.08 * max(top - bottom, 1e-3)
    ax.axhline(0.0, color=style.GREY, lw=0.6)
    shown = np.where(values == -np.inf, 10 * bottom - 1.0, values)
    if values.shape[1] == 1 and cols.count == len(values) and "lyapunov_se" in dataset:
        se = rows_of(dataset, "lyapunov_se", axis, scale)[:, 0]
        ax.fill_between(scale.values, shown[:, 0] - se, shown[:, 0] + se, color=BLUE, alpha=0.25, lw=0)
    curve(ax, shown, scale, cols)
    ax.set_ylim(bottom - pad, top + pad)
    ax.set_ylabel(style.label_of(dataset["lyapunov"], "Lyapunov\nexponent"))


def loss(ax: Axes, dataset: xarray.Dataset, axis: str, scale: Scale, cols: Columns) -> None:
    """The loss on a logarithmic scale; what is below the last bit of the residuals is drawn at the bottom."""
    values = rows_of(dataset, "loss", axis, scale).astype(float)
    values = np.where(np.isfinite(values), np.maximum(values, LOSS_FLOOR), np.nan)
    ax.set_yscale("log")
    curve(ax, values, scale, cols)
    ax.set_ylabel(style.label_of(dataset["loss"], "loss at the end").replace(" (", "\n("))
    few_decades(ax)


# Ten times the edge: below it, small curvatures are rather seen as small.
FAR = 20.0


def curvature(ax: Axes, dataset: xarray.Dataset, axis: str, scale: Scale, cols: Columns) -> None:
    """The curvature at the end, and at the start (grey), with the edge; logarithmic over three decades, if far beyond it."""
    values = rows_of(dataset, "curvature", axis, scale).astype(float)
    values = np.where(np.isfinite(values), values, np.nan)
    positive = values[values > 0]
    wide = bool(positive.size and positive.max() > max(1e3 * max(positive.min(), 1e-300), FAR))
    if wide:
        ax.set_yscale("log")
    ax.axhline(EDGE, color=style.INK, lw=0.8, ls=(0, (2, 2)))
    if "curvature_start" in dataset:
        start = rows_of(dataset, "curvature_start", axis, scale).astype(float)
        curve(ax, np.where(np.isfinite(start), start, np.nan), scale, cols, style.GREY)
    curve(ax, values, scale, cols)
    if wide:
        few_decades(ax)
    ax.set_ylabel(style.label_of(dataset["curvature"], r"curvature $\eta\lambda_{\max}$"))


def few_decades(ax: Axes) -> None:
    """At most five labelled decades on a logarithmic vertical axis; 1, 2 and 5 where it spans less than two decades."""
    low, high = ax.get_ylim()
    if high < 100 * low:
        ax.yaxis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0) if high > 10 * low else (1.0, 2.0, 3.0, 5.0, 7.0)))
    else:
        ax.yaxis.set_major_locator(LogLocator(numticks=5))
    ax.yaxis.set_minor_formatter(NullFormatter())


def theory_lines(panels: Sequence[Axes], theory: Iterable[Mapping[str, Any]], dataset: xarray.Dataset) -> int:
    """Vertical lines of the theory through the panels, named above the first; returns how many are in view.

    The panels must have their final width: call it after the figure was laid out.
    """
    words = style.vocabulary(dataset)
    low, high = panels[0].get_xlim()
    names = []
    for value, line in levels(theory):
        if not low <= value <= high:
            continue
        for ax in panels:
            ax.axvline(value, color=style.INK, lw=0.7, ls=style.dashes(bool(line.get("exact", True))), zorder=1.5)
        ends = np.log([low, high, value]) if panels[0].get_xscale() == "log" else np.array([low, high, value])
        at = float((ends[2] - ends[0]) / (ends[1] - ends[0]))
        names.append((at, str(line.get("name", "")), short_name(line, words)))
    along_top(panels[0], names, FontProperties(size="small").get_size_in_points())
    return len(names)


def finish(
    fig: Figure, panels: Sequence[Axes], dataset: xarray.Dataset, theory: Iterable[Mapping[str, Any]],
    codes: np.ndarray, title: str | None,
) -> Figure:  # fmt: skip
    """Label the horizontal axis, and add the legend, the theory and the title."""
    axis = only_axis(dataset)
    theory = list(theory)
    scale = style.coordinate(dataset, axis)
    limits(panels[0], scale)
    if not scale.log and scale.values.size <= 8 and not scale.regular:
        panels[-1].xaxis.set_major_locator(FixedLocator(scale.values.tolist()))
    panels[-1].set_xlabel(style.label_of(dataset[axis]))
    visible = [v for v, _ in levels(theory) if scale.edges[0] <= v <= scale.edges[-1]]
    handles: list[Any] = list(style.phase_handles(codes, style.vocabulary(dataset)))
    style.legend(fig, handles + (style.theory_handles(theory) if visible else []))
    if title:
        fig.suptitle(title, fontsize="medium")
    fig.align_ylabels(panels)  # pyright: ignore[reportArgumentType]
    fig.draw_without_rendering()
    theory_lines(panels, theory, dataset)
    return fig


def columns_for(scale: Scale, inches: float) -> Columns:
    """Pixel columns for a panel of that width, at 250 a printed inch."""
    # A point or two to a printed dot are drawn one by one: binning them would beat with the grid.
    most = int(250 * inches)
    return columns(scale, scale.values.size if scale.values.size <= 2 * most else most)
