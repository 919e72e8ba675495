"""Phase planes of the D = 1 model: the allowed cone, nullclines, arrows of the map, and where starts end."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import ListedColormap
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch
from matplotlib.ticker import MaxNLocator

from trainphase.figures import style
from trainphase.figures._panels import EDGE

if TYPE_CHECKING:
    import xarray

# Okabe and Ito's colours, which differ in every kind of colour vision; lines differ in dashes or width too.
BLUE, ORANGE, GREEN, PURPLE, RED, SKY = "#0072B2", "#E69F00", "#009E73", "#CC79A7", "#D55E00", "#56B4E9"
FORBIDDEN, GONE = "#C9C9C9", "#F6D5C2"
ARROW = "#5A5A5A"
RESIDUAL, CURVATURE = r"residual $\tilde{z}$", r"curvature $T(0)$"


def arrows(ax: Axes, x: np.ndarray, y: np.ndarray, dx: np.ndarray, dy: np.ndarray, *, signs: bool) -> None:
    """Arrows of one length at the points (x, y) of a grid, changes of shape (x, y); NaN draws none.

    With ``signs`` they point along a diagonal, which shows the signs of both changes and no more; without, along the
    change as it is on the page. The limits and the size of the axes must be set.
    """
    box = ax.get_window_extent()
    right = dx * box.width / np.ptp(ax.get_xlim())
    up = dy * box.height / np.ptp(ax.get_ylim())
    if signs:
        right, up = np.sign(dx), np.sign(dy)
    with np.errstate(invalid="ignore", divide="ignore"):
        length = np.hypot(right, up)
        u, v = right / length, up / length
    xx, yy = np.meshgrid(x, y, indexing="ij")
    drawn = np.isfinite(u) & np.isfinite(v)
    # A tenth of an inch long; pivoted in the middle, they stay at the point they belong to.
    options: dict[str, Any] = {"scale": 10, "scale_units": "inches", "width": 0.008, "units": "inches"}
    options |= {"headwidth": 4.2, "headlength": 4.4, "headaxislength": 3.8}
    ax.quiver(xx[drawn], yy[drawn], u[drawn], v[drawn], color=ARROW, pivot="mid", zorder=2.2, **options)


def frame(ax: Axes, dataset: xarray.Dataset) -> None:
    """Limits, labels and ticks of a plane."""
    for name, axis in (("z", "x"), ("T", "y")):
        values = dataset[name].values
        getattr(ax, f"set_{axis}lim")(values.min(), values.max())
        getattr(ax, f"{axis}axis").set_major_locator(MaxNLocator(6, steps=[1, 2, 5, 10]))
    ax.set_xlabel(RESIDUAL)
    ax.set_ylabel(CURVATURE)


def background(ax: Axes, dataset: xarray.Dataset) -> None:
    """Grey where no parameters exist; a tint where runs diverge, if the data have ``phase``."""
    if "phase" in dataset:
        gone = dataset["phase"].values == style.vocabulary(dataset).index("divergent")
        edges = [style.coordinate(dataset, name).edges for name in ("z", "T")]
        shown = np.ma.masked_where(~gone.T, np.ones(gone.T.shape))
        limits = ax.get_xlim(), ax.get_ylim()
        style.cells(ax, (edges[0], True), (edges[1], True), shown, cmap=ListedColormap([GONE]), vmin=0, vmax=1, zorder=1)
        ax.set_xlim(limits[0])
        ax.set_ylim(limits[1])
    line, (bottom, top) = dataset["line"].values, ax.get_ylim()
    low = np.minimum(dataset["low"].values, top)
    high = np.maximum(np.minimum(dataset["high"].values, top), bottom)
    beyond = np.where(np.isfinite(dataset["low"].values), np.maximum(high, np.maximum(low, bottom)), bottom)
    options: dict[str, Any] = {"color": FORBIDDEN, "lw": 0, "zorder": 1.5}
    ax.fill_between(line, bottom, np.maximum(low, bottom), **options)
    ax.fill_between(line, beyond, top, **options)
    for edge in (dataset["low"].values, dataset["high"].values):
        kept = np.where(np.isfinite(edge) & (edge <= top), edge, np.nan)
        ax.plot(line, kept, color=style.GREY, lw=0.6, zorder=1.6)


def nullclines(ax: Axes, dataset: xarray.Dataset, colours: tuple[str, str]) -> list[Line2D]:
    """Lines where z~ and where T stand still; returns their legend entries."""
    steps = int(dataset.attrs["steps"])
    line, handles = dataset["line"].values, []
    after = r"_{t+2}" if steps == 2 else r"_{t+1}"
    looks: tuple[dict[str, Any], ...] = (
        {"color": colours[0], "lw": 1.5, "ls": "-", "zorder": 3.2},
        {"color": colours[1], "lw": 1.5, "ls": (0, (4, 1.6)), "zorder": 3.3},
    )
    for name, symbol, look in zip(("f_z", "f_T"), (r"\tilde{z}", "T"), looks, strict=True):
        ax.plot(line, dataset[name].values, **look)
        others = name.replace("f", "rate")
        if others in dataset:
            shape: dict[str, Any] = {"colors": [look["color"]], "linewidths": 0.7, "linestyles": [look["ls"]], "zorder": 3}
            z, T = dataset["z_fine"].values, dataset["T_fine"].values
            near = np.abs(T[None, :] - np.interp(z, line, dataset[name].values)[:, None]) < 0.03 * np.ptp(T)
            ax.contour(z, T, np.where(near, np.nan, dataset[others].values).T, [0.0], **shape)
        handles.append(Line2D([], [], **look, label=f"${symbol}{after} = {symbol}_t$"))
    return handles


def plane(ax: Axes, dataset: xarray.Dataset, colours: tuple[str, str] = (BLUE, ORANGE)) -> list[Any]:
    """A phase plane over ``z`` and ``T`` as ``reproduce`` makes them; returns legend entries. Arrows are not drawn yet."""
    frame(ax, dataset)
    background(ax, dataset)
    ax.axhline(EDGE, color=style.INK, lw=0.7, ls=(0, (1, 1.4)), zorder=2)
    ax.axvline(0.0, color=style.GREY, lw=0.5, zorder=2)
    handles: list[Any] = nullclines(ax, dataset, colours)
    if "divergence" in dataset:
        inside = dataset["divergence"].values >= dataset["low"].values
        look: dict[str, Any] = {"color": style.INK, "lw": 1.1, "ls": (0, (6, 1.5, 1, 1.5)), "zorder": 3.1}
        ax.plot(dataset["line"].values, np.where(inside, dataset["divergence"].values, np.nan), **look)
        handles.append(Line2D([], [], **look, label=r"$T = 4 + \tilde{E}\tilde{z}/2$"))
    return handles


def patches(dataset: xarray.Dataset) -> list[Patch]:
    """Legend entries of the areas."""
    out = [Patch(facecolor=FORBIDDEN, edgecolor=style.GREY, lw=0.5, label="no such parameters")]
    if "phase" in dataset:
        out.append(Patch(facecolor=GONE, lw=0, label="diverges"))
    return out


def settle(fig: Figure, planes: list[tuple[Axes, xarray.Dataset]], *, signs: bool = True) -> Figure:
    """Lay the figure out, then add the arrows, which depend on the size of the axes."""
    fig.draw_without_rendering()
    for ax, dataset in planes:
        x, y = dataset["z_arrow"].values, dataset["T_arrow"].values
        arrows(ax, x, y, dataset["delta_z"].values, dataset["delta_T"].values, signs=signs)
    return fig


def final_curvatures(dataset: xarray.Dataset) -> np.ndarray:
    """Final curvature of the runs that settle."""
    words = style.vocabulary(dataset)
    kept = [words.index(name) for name in ("flat", "sharpening", "edge-of-stability")]
    return dataset["curvature"].values[np.isin(dataset["phase"].values, kept)]


def panel_letters(axes: Any) -> None:
    """(a), (b), .. above the left ends of the panels."""
    for ax, letter in zip(axes, "abcdefgh", strict=False):
        ax.set_title(f"({letter})", loc="left", fontsize=mpl.rcParams["font.size"])


def symmetric_page(zero: xarray.Dataset, shifted: xarray.Dataset) -> Figure:
    """Figure 7: the planes of the symmetric model without and with E~, and the final curvatures of both."""
    with style.context():
        fig = style.figure(style.DOUBLE, 2.95)
        axes = fig.subplots(1, 3, gridspec_kw={"width_ratios": [1, 1, 0.95]})
        handles: list[Any] = []
        for ax, dataset in zip(axes, (zero, shifted), strict=False):
            style.pin(ax)
            handles = plane(ax, dataset)
            ax.set_title(rf"$\tilde{{E}} = {dataset.attrs['E']:g}$")
        axes[1].set_ylabel("")
        style.pin(axes[2])
        bins = np.arange(0, 4.4, 0.1)
        for dataset, colour, fill, ls in ((zero, SKY, True, "-"), (shifted, RED, False, (0, (3, 1)))):
            values, word = final_curvatures(dataset), rf"$\tilde{{E}} = {dataset.attrs['E']:g}$"
            weights = np.full(values.size, 1 / values.size)
            kind = {"histtype": "stepfilled", "alpha": 0.75} if fill else {"histtype": "step", "lw": 1.2, "ls": ls}
            axes[2].hist(values, bins, weights=weights, color=colour, label=word, zorder=2 + (not fill), **kind)
        finish_histogram(axes[2])
        axes[2].set_xlim(0, 3)
        axes[2].legend(loc="upper right")
        panel_letters(axes)
        style.legend(fig, [*handles, *patches(zero)])
        return settle(fig, [(axes[0], zero), (axes[1], shifted)])


def finish_histogram(ax: Axes) -> None:
    """Labels of a histogram of final curvatures, and the edge of stability."""
    ax.axvline(EDGE, color=style.INK, lw=0.7, ls=(0, (1, 1.4)), zorder=3)
    ax.set_xlabel("final curvature $T(0)$")
    ax.set_ylabel("share of the runs that settle")


def cones_page(up: xarray.Dataset, sideways: xarray.Dataset) -> Figure:
    """Figure 8: the cone for a negative and for a positive second eigenvalue."""
    with style.context():
        fig = style.figure(0.8 * style.DOUBLE, 3.1)
        axes = fig.subplots(1, 2)
        handles: list[Any] = []
        for ax, dataset in zip(axes, (up, sideways), strict=True):
            style.pin(ax)
            handles = plane(ax, dataset)
            E, second = dataset.attrs["E"], -dataset.attrs["eps"]
            ax.plot([-E / 2], [0], marker="o", ms=4, color=style.INK, zorder=5, clip_on=False)
            ax.set_title(rf"$\lambda = {second:g}$, $\tilde{{E}} = {E:g}$".replace("-", "\N{MINUS SIGN}"))
        minima(axes[0], up)
        found = minima(axes[1], sideways)
        axes[1].set_ylabel("")
        vertex = Line2D([], [], color=style.INK, marker="o", ms=4, ls="none", label=r"vertex $\tilde{z} = -\tilde{E}/2$")
        panel_letters(axes)
        style.legend(fig, [*handles, *patches(up), vertex, found])
        return settle(fig, [(axes[0], up), (axes[1], sideways)])


def minima(ax: Axes, dataset: xarray.Dataset) -> Line2D:
    """Mark the part of z~ = 0 where the runs from the grid of starts end; returns its legend entry."""
    final = dataset["final"].values
    final = final[np.isfinite(final)]
    look: dict[str, Any] = {"color": GREEN, "lw": 3.2, "alpha": 0.9, "solid_capstyle": "butt", "zorder": 2.6}
    ax.plot([0, 0], [final.min(), final.max()], **look)
    return Line2D([], [], **look, label="runs end here")


def histogram_page(dataset: xarray.Dataset, levels: Mapping[str, float], width: float) -> Figure:
    """Figure 9: the two-step plane, and the final curvatures with named levels of the theory; ``width`` of a bin."""
    with style.context():
        fig = style.figure(style.DOUBLE, 3.1)
        axes = fig.subplots(1, 2, gridspec_kw={"width_ratios": [1.15, 1]})
        for ax in axes:
            style.pin(ax)
        handles = plane(axes[0], dataset, (PURPLE, GREEN))
        values = final_curvatures(dataset)
        axes[1].hist(values, np.arange(0, 2.2, width), weights=np.full(values.size, 1 / values.size), color=SKY, zorder=2)
        finish_histogram(axes[1])
        axes[1].set_xlim(0, 2.15)
        for (name, level), ls in zip(levels.items(), ((0, (4, 1.5)), "-"), strict=False):
            axes[1].axvline(level, color=RED, lw=0.9, ls=ls, zorder=1.5, label=f"{name}: {level:.4f}")
        named = axes[1].get_legend_handles_labels()
        axes[1].legend(*named, loc="upper left", title=f"{values.size:,} runs", alignment="left", title_fontsize="small")
        panel_letters(axes)
        axes[0].set_title(rf"$\epsilon = {dataset.attrs['eps']:g}$, $\tilde{{E}} = 0$, two steps")
        style.legend(fig, [*handles, *patches(dataset)])
        return settle(fig, [(axes[0], dataset)])
