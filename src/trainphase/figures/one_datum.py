"""Runs of the D = 1 model: iterates on the loss landscape, curvature against steps and step size, distance from the edge."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import LinearSegmentedColormap, LogNorm
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import NullFormatter

from trainphase.figures import style
from trainphase.figures._panels import EDGE
from trainphase.figures.one_datum_planes import (
    BLUE,
    CURVATURE,
    GREEN,
    ORANGE,
    PURPLE,
    RED,
    RESIDUAL,
    SKY,
    arrows,
    panel_letters,
)

if TYPE_CHECKING:
    import xarray

# Starts: colour and symbol together, so that they are told apart without colour.
LOOKS = ((BLUE, "o"), (RED, "s"), (SKY, "^"), (ORANGE, "D"), ("#7F7F7F", "v"), ("#000000", "P"))
VALLEY = LinearSegmentedColormap.from_list("valley", ["#FFFFFF", "#DCE6F0", "#9DB7D2", "#6285AE"])
LOWEST = 1e-5  # losses below this have one shade


def landscape(dataset: xarray.Dataset) -> Figure:
    """Figure 1: loss over the parameters; a row for each start, every step on the left, every other step on the right.

    Dashed: the curve on which the curvature is that of the start. A run that ends outside of it has sharpened.
    """
    rows = dataset.sizes["start"]
    with style.context():
        fig = style.figure(0.86 * style.DOUBLE, 2.55 * rows + 0.75)
        axes = fig.subplots(rows, 2, sharex=True, sharey=True, squeeze=False)
        image: Any = None
        for k, row in enumerate(axes):
            start = dataset["theta"].values[k, 0]
            for ax, name, word in zip(row, ("theta", "theta_even"), ("every step", "every other step"), strict=True):
                style.pin(ax)
                image = _valley(ax, dataset)
                _level(ax, dataset, start)
                path = dataset[name].values[k]
                path = path[np.isfinite(path).all(1)]
                ax.plot(*path.T, color=style.INK, lw=0.5, marker="o", ms=1.9, mew=0, zorder=3)
                ax.plot(*path[0], marker="x", ms=6, mew=1.6, color=style.INK, ls="none", zorder=5)
                ax.plot(*path[-1], marker="*", ms=9, mfc="#F0E442", mec=style.INK, mew=0.7, ls="none", zorder=5)
                if k == 0:
                    ax.set_title(word)
                if k == rows - 1:
                    ax.set_xlabel(r"$\theta_1$")
            curvature = dataset["curvature"].values[k]
            ends = curvature[0], curvature[np.isfinite(curvature)][-1]
            words = rf"$\theta_0 = {pair(start)}$" + "\n" + rf"$\lambda$: {ends[0]:.3f} $\rightarrow$ {ends[1]:.3f}"
            box = {"facecolor": "white", "alpha": 0.85, "lw": 0, "pad": 1.5}
            row[0].text(0.97, 0.03, words, transform=row[0].transAxes, fontsize="small", bbox=box, zorder=6, ha="right")
            row[0].set_ylabel(r"$\theta_2$")
        fig.colorbar(image, ax=axes, label="loss (target units squared)", pad=0.015, aspect=35, extend="min")
        same = Line2D([], [], color=RED, lw=1.2, ls=(0, (4, 1.5)), label=r"curvature $\lambda$ of the start")
        style.legend(fig, [*_marks(), same])
        fig.suptitle(rf"eigenvalues 1 and $-{dataset.attrs['eps']:g}$, step size {dataset.attrs['lr']:g}", fontsize="medium")
        return fig


def pair(start: Sequence[float]) -> str:
    """A point of the plane of parameters as mathematics."""
    return f"({start[0]:.1f}, {start[1]:.2f})".replace("-", "{-}")


def _valley(ax: Axes, dataset: xarray.Dataset) -> Any:
    loss = np.maximum(dataset["loss"].values.T, LOWEST)
    norm = LogNorm(LOWEST, float(loss.max()))
    x, y = dataset["theta_1"].values, dataset["theta_2"].values
    image = ax.pcolormesh(x, y, loss, norm=norm, cmap=VALLEY, shading="gouraud", rasterized=True)
    minimum = -x / np.sqrt(dataset.attrs["eps"])
    ax.plot(x, minimum, color=BLUE, lw=1.0, zorder=2)
    ax.set_xlim(x[0], x[-1])
    ax.set_ylim(y[0], y[-1])
    return image


def _level(ax: Axes, dataset: xarray.Dataset, start: np.ndarray) -> None:
    """The curve of equal curvature through the start."""
    value = float(start[0] ** 2 + (dataset.attrs["eps"] * start[1]) ** 2)
    x, y = dataset["theta_1"].values, dataset["theta_2"].values
    ax.contour(x, y, dataset["kernel"].values.T, [value], colors=[RED], linewidths=1.2, linestyles=[(0, (4, 1.5))], zorder=2.5)


def _marks() -> list[Line2D]:
    none: dict[str, Any] = {"ls": "none", "color": style.INK}
    return [
        Line2D([], [], marker="x", ms=5, mew=1.4, label="start", **none),
        Line2D([], [], marker="*", ms=8, mfc="#F0E442", mec=style.INK, mew=0.7, label="end", **none),
        Line2D([], [], color=BLUE, lw=1.0, label="minima (zero loss)"),
    ]


def edge_page(runs: xarray.Dataset, field: xarray.Dataset) -> Figure:
    """Figure 2: curvature against steps for several step sizes, then even iterates in (z~, T) and in (z~, y)."""
    eps = runs.attrs["eps"]
    with style.context():
        fig = style.figure(style.DOUBLE, 2.9)
        left, middle, right = fig.subplots(1, 3, gridspec_kw={"width_ratios": [1, 1.05, 1], "wspace": 0.06})
        for ax in (left, middle, right):
            style.pin(ax)
        handles = _in_time(left, runs)
        _limits(middle, (field["z"], 0.03), (field["T"], 0.06))
        middle.axhline(EDGE, color=style.INK, lw=0.7, ls=(0, (1, 1.4)), zorder=2)
        middle.plot(field["line"], field["f_z"], color=PURPLE, lw=2.2, alpha=0.8, zorder=2.6)
        middle.plot(field["line"], field["f_T"], color=GREEN, lw=1.0, ls=(0, (3, 1.5)), zorder=2.7)
        _paths(middle, runs, "T")
        middle.set(xlabel=RESIDUAL, ylabel=CURVATURE)
        _limits(right, (field["near"], 0.02), (field["y"], 0.003))
        right.axhline(0.0, color=PURPLE, lw=2.2, alpha=0.8, zorder=2.3)
        right.axhline(-eps / 2, color=style.INK, lw=0.9, ls=(0, (4, 1.5)), zorder=4)
        _paths(right, runs, "y")
        right.set(xlabel=RESIDUAL, ylabel=r"$y = T(0) - f_{\tilde{z}}(\tilde{z})$")
        panel_letters((left, middle, right))
        handles += [
            Line2D([], [], color=PURPLE, lw=2.2, alpha=0.8, label=r"$f_{\tilde{z}}$: $\tilde{z}_{t+2} = \tilde{z}_t$"),
            Line2D([], [], color=GREEN, lw=1.0, ls=(0, (3, 1.5)), label="$f_T$: $T_{t+2} = T_t$"),
            Line2D([], [], color=style.INK, lw=0.9, ls=(0, (4, 1.5)), label=r"$y = -\epsilon/2$"),
        ]
        style.legend(fig, handles)
        fig.draw_without_rendering()
        around = {"signs": False}
        arrows(middle, *(field[k].values for k in ("z", "T", "delta_z", "delta_T")), **around)
        arrows(right, *(field[k].values for k in ("near", "y", "delta_z_y", "delta_y")), **around)
        return fig


def _limits(ax: Axes, x: tuple[Any, float], y: tuple[Any, float]) -> None:
    """From the first to the last arrow, and a margin."""
    ax.set_xlim(float(x[0][0]) - x[1], float(x[0][-1]) + x[1])
    ax.set_ylim(float(y[0][0]) - y[1], float(y[0][-1]) + y[1])


def _in_time(ax: Axes, runs: xarray.Dataset) -> list[Any]:
    """T at even steps on a logarithmic axis, a line for the first step size and symbols for the others."""
    values, rates = runs["curvature"].values, runs["lr"].values
    marks = ("", "x", "+", "1")
    handles: list[Any] = []
    for j, rate in enumerate(rates):
        symbol: dict[str, Any] = {"marker": marks[j], "ls": "none", "ms": 4, "mew": 0.8}
        ink: dict[str, Any] = {"color": style.INK, "lw": 0.9} if j == 0 else symbol
        shown: dict[str, Any] = {"color": style.INK, **ink}
        handles.append(Line2D([], [], **shown, label=rf"$\eta = {rate:g}$"))
        for k in range(values.shape[1]):
            even = np.arange(0, values.shape[2], 2)
            even = even[np.isfinite(values[j, k, even])]
            if j:
                even = np.unique(even[np.searchsorted(even, np.geomspace(1.5 + j, even[-1], 14)).clip(0, even.size - 1)])
            ax.plot(even + 1, values[j, k, even], **dict(ink, color=LOOKS[k % len(LOOKS)][0]), zorder=3 - 0.1 * j)
    ax.axhline(EDGE, color=style.INK, lw=0.7, ls=(0, (1, 1.4)), zorder=2)
    ax.set_xscale("log")
    ax.set(xlabel="step + 1 (even steps)", ylabel=CURVATURE)
    ax.xaxis.set_minor_formatter(NullFormatter())
    return handles


def _paths(ax: Axes, runs: xarray.Dataset, name: str) -> None:
    """Even iterates of every start, with its symbol at the first."""
    for k in range(runs.sizes["start"]):
        z, value = runs["z"].values[k], runs[name].values[k]
        colour, mark = LOOKS[k % len(LOOKS)]
        ax.plot(z, value, color=colour, lw=0.8, marker="o", ms=1.5, mew=0, zorder=3)
        ax.plot(z[0], value[0], marker="x", color=style.INK, ms=6, mew=1.5, zorder=5)
        ax.plot(z[0], value[0], marker=mark, color=colour, ms=3.5, mec="white", mew=0.4, zorder=4.9)


def step_sizes(runs: xarray.Dataset, scan: xarray.Dataset, starts: Sequence[Sequence[float]], shown: int = 61) -> Figure:
    """Figure 11: T against steps at several step sizes from each start, and final T against the step size."""
    eps = runs.attrs["eps"]
    with style.context():
        fig = style.figure(style.DOUBLE, 2.9)
        axes = fig.subplots(1, len(starts) + 1)
        handles: list[Any] = []
        for k, (ax, start) in enumerate(zip(axes, starts, strict=False)):
            style.pin(ax)
            handles = []
            for lr, (colour, mark) in zip(runs["lr"].values, LOOKS, strict=False):
                values = _held(runs["curvature"].sel(lr=lr).values[k])[:shown]
                # An odd stride, so that symbols fall on both branches of an oscillation.
                every = (list(runs["lr"].values).index(lr) if values[-1] < 10 else 0, 7)
                ax.plot(values, color=colour, marker=mark, ms=3.2, mew=0, lw=0.8, markevery=every)
                handles.append(Line2D([], [], color=colour, marker=mark, ms=3.5, lw=0.9, label=rf"$\eta = {lr:g}$"))
            ax.axhline(EDGE, color=style.INK, lw=0.7, ls=(0, (1, 1.4)))
            ax.axhline(2 - eps / 2, color=style.INK, lw=0.8, ls=(0, (4, 1.5)))
            ax.set(xlabel="step", ylim=(0, 4.6), xlim=(-1, shown - 1))
            ax.set_title(rf"$\theta_0 = {pair(start)}$")
        axes[0].set_ylabel(CURVATURE)
        handles.append(Line2D([], [], color=style.INK, lw=0.8, ls=(0, (4, 1.5)), label=r"$2 - \epsilon/2$"))
        _scan(axes[-1], scan, starts, eps)
        panel_letters(axes)
        style.legend(fig, handles)
        return fig


def _held(values: np.ndarray) -> np.ndarray:
    """A series with its last value held after a run has settled, and infinite after it has escaped."""
    kept = np.isfinite(values) & (np.abs(values) < 1e3)
    end = int(np.argmin(kept)) if not kept.all() else values.size
    settled = not (values[end:] > 1e3).any() and end > 0
    return np.concatenate([values[:end], np.full(values.size - end, values[end - 1] if settled else 1e3)])


def _scan(ax: Axes, scan: xarray.Dataset, starts: Sequence[Sequence[float]], eps: float) -> None:
    """Final T against the step size; above the frame's upper line, the step sizes that diverge."""
    style.pin(ax)
    lr, top = scan["lr"].values, 2.3
    gone = scan["phase"].values == style.vocabulary(scan).index("divergent")
    for k, ((colour, mark), start) in enumerate(zip(((SKY, "o"), (RED, "s")), starts, strict=False)):
        kept = np.where(gone[k], np.nan, scan["curvature"].values[k])
        many: dict[str, Any] = {"color": colour, "mew": 0, "ls": "none", "rasterized": lr.size > 500}
        ax.plot(lr, kept, marker=mark, ms=2.0, label=rf"${pair(start)}$", **many)
        ax.plot(lr[gone[k]], np.full(gone[k].sum(), top + 0.1 + 0.15 * k), marker="|", ms=4, **dict(many, mew=0.6))
    ax.axhline(top, color=style.INK, lw=0.6)
    ax.text(0.03, top + 0.175, "diverges:", fontsize="small", va="center")
    ax.axhline(EDGE, color=style.INK, lw=0.7, ls=(0, (1, 1.4)))
    ax.axhline(2 - eps / 2, color=style.INK, lw=0.8, ls=(0, (4, 1.5)))
    ax.set(xlabel=r"step size $\eta$", ylabel="final $T(0)$", xlim=(0, lr[-1]), ylim=(0, top + 0.35), yticks=[0, 0.5, 1, 1.5, 2])
    ax.legend(loc="lower right", markerscale=2)


def deviation(dataset: xarray.Dataset) -> Figure:
    """Figure 10: 2 - T at the end against eps, for the map and the ODE, and what is left of it beyond eps/2."""
    eps, fine = dataset["eps"].values, np.geomspace(dataset["eps"].values[0] / 1.2, dataset["eps"].values[-1] * 1.2, 50)
    looks = {"deviation": (BLUE, "o", "gradient descent"), "ode_deviation": (ORANGE, "s", "ODE (132)")}
    with style.context():
        fig = style.figure(0.86 * style.DOUBLE, 2.9)
        axes = fig.subplots(1, 2)
        handles: list[Any] = []
        for ax in axes:
            style.pin(ax)
            ax.set_xscale("log")
            ax.set_yscale("log")
            ax.set_xlabel(r"$\epsilon$")
            ax.set_xlim(fine[0], fine[-1])
        for name, (colour, mark, word) in looks.items():
            values = dataset[name].values
            marker: dict[str, Any] = {"marker": mark, "ms": 5, "mew": 1.0, "color": colour, "mfc": "none", "ls": "none"}
            axes[0].plot(eps, values, **marker, zorder=3)
            axes[1].plot(eps, values - eps / 2, **marker, zorder=3)
            handles.append(Line2D([], [], **marker, label=f"{word}, median"))
        lines = (
            (fine / 2, axes[0], style.INK, "-", r"$\epsilon/2$"),
            (27 / 32 * fine**2, axes[1], BLUE, (0, (4, 1.5)), r"$\frac{27}{32}\epsilon^2$"),
            (3 / 8 * fine**2, axes[1], ORANGE, (0, (1, 1.2)), r"$\frac{3}{8}\epsilon^2$"),
        )
        for values, ax, colour, ls, word in lines:
            ax.plot(fine, values, color=colour, lw=0.9, ls=ls, zorder=2)
            handles.append(Line2D([], [], color=colour, lw=0.9, ls=ls, label=word))
        axes[0].set_ylabel(r"$2 - T(0)$ at the end")
        axes[1].set_ylabel(r"$2 - T(0) - \epsilon/2$ at the end")
        panel_letters(axes)
        style.legend(fig, handles)
        return fig
