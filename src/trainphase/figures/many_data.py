"""The quadratic regression model with many data: runs over the start's width, its start, and its relatives."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from trainphase.errors import RequestError
from trainphase.figures import style
from trainphase.figures._panels import EDGE, few_decades
from trainphase.phase import NOT_COMPUTED

if TYPE_CHECKING:
    import xarray

CURVATURE = r"curvature $\eta\lambda_{\max}$"
WIDTH_Z, WIDTH_J = r"$\tilde\sigma_z$", r"$\tilde\sigma_J$"
TIME = "time (steps)"
# Shares of the first loss that are drawn: below, rounding; above, a run that only grows.
LOWEST, HIGHEST = 1e-8, 1e3
BLUE, ORANGE = "#1F4E79", "#C44E00"


def colours(count: int) -> Any:
    """Colours of an ordered parameter, dark to light."""
    return mpl.colormaps["viridis"](np.linspace(0.0, 0.88, count))


def panel_letters(panels: Sequence[Axes]) -> None:
    """(a), (b), ... above the left corners."""
    for ax, letter in zip(panels, "abcdefgh", strict=False):
        ax.set_title(f"({letter})", loc="left", pad=3.0)


def edge_line(ax: Axes) -> None:
    """The edge of stability."""
    ax.axhline(EDGE, color=style.INK, lw=0.8, ls=(0, (3, 2)), zorder=1.5)


EDGE_HANDLE: dict[str, Any] = {"color": style.INK, "lw": 0.8, "ls": (0, (3, 2)), "label": "edge of stability, 2"}


def _need(dataset: xarray.Dataset, *names: str) -> None:
    missing = [name for name in names if name not in dataset]
    if missing:
        raise RequestError(f"the dataset has no variable {missing[0]!r}, which the figure shows; give the data of its item")


# --- runs ---------------------------------------------------------------------------------------------------


def runs(dataset: xarray.Dataset, ends: xarray.Dataset | None = None) -> Figure:
    """Loss (over its start) and curvature against time, a colour for each width, thin lines for the further seeds.

    Parameters
    ----------
    dataset : ``loss`` and ``curvature`` of dims (sigma_z, seed, time).
    ends : a diagram's ``phase`` and ``curvature`` over (sigma_z, seed): how the runs end, in a third panel.

    Raises RequestError when a variable is missing.
    """
    _need(dataset, "loss", "curvature")
    widths = dataset["sigma_z"].values
    shades = colours(len(widths))
    with style.context():
        fig = style.figure(style.DOUBLE, 2.75)
        ratios = [1.0, 1.0, 0.72] if ends is not None else [1.0, 1.0]
        panels = fig.subplots(1, len(ratios), squeeze=False, gridspec_kw={"width_ratios": ratios, "wspace": 0.06})[0].tolist()
        for ax in panels:
            style.pin(ax)
        share = dataset["loss"] / dataset["loss"].isel(time=0)
        _lines(panels[0], share.where(share < HIGHEST * 10), shades)
        _lines(panels[1], dataset["curvature"], shades)
        panels[0].set_yscale("log")
        low, high = float(share.min()), float(share.where(share < HIGHEST).max())
        panels[0].set_ylim(max(LOWEST, 0.5 * low), HIGHEST if high > 3 else 2.0)
        panels[0].set_ylabel("loss, over its start")
        few_decades(panels[0])
        edge_line(panels[1])
        panels[1].set_ylim(0.0, _top(dataset["curvature"].values))
        panels[1].set_ylabel(CURVATURE)
        for ax in panels[:2]:
            _time_axis(ax, dataset, logarithmic=ends is not None)
        handles: list[Any] = [
            Line2D([], [], color=c, lw=1.4, label=f"{WIDTH_Z} = {w:g}") for w, c in zip(widths, shades, strict=True)
        ]  # fmt: skip
        handles.append(Line2D([], [], **EDGE_HANDLE))
        if ends is not None:
            _need(ends, "phase", "curvature")
            handles += _end_points(panels[2], ends, panels[1].get_ylim()[1])
        panel_letters(panels)
        style.legend(fig, handles)
        fig.suptitle(_shape(dataset), fontsize="medium")
    return fig


def _shape(dataset: xarray.Dataset) -> str:
    """'D = 60, P = 120, sigma_J = 0.35, 3 seeds' for what the dataset knows."""
    attrs = dataset.attrs
    words = [f"${k} = {attrs[k]:g}$" for k in ("D", "P") if k in attrs]
    words += [f"{name} = {attrs[k]:g}" for k, name in (("sigma_z", WIDTH_Z), ("sigma_J", WIDTH_J)) if k in attrs]
    if "seed" in dataset.sizes:
        words.append(f"{dataset.sizes['seed']} seeds")
    return ", ".join(words)


def _top(values: np.ndarray) -> float:
    """The upper end of a curvature axis: all of what stays bounded."""
    bounded = values[np.isfinite(values).all(-1)]
    return 1.08 * max(float(bounded.max()) if bounded.size else EDGE, 1.2 * EDGE)


def _lines(ax: Axes, variable: xarray.DataArray, shades: Any) -> None:
    times = variable["time"].values
    for k, (shade, rows) in enumerate(zip(shades, variable.values, strict=True)):
        # Small widths above large ones, whose oscillations fill the panel; the first seed above the others.
        on = 3.0 - 0.1 * k
        ax.plot(times, rows[1:].T, color=shade, lw=0.45, alpha=0.6, zorder=on)
        ax.plot(times, rows[0], color=shade, lw=0.9, zorder=on + 0.05)


def _time_axis(ax: Axes, dataset: xarray.Dataset, logarithmic: bool) -> None:
    last = float(dataset["time"].values[-1])
    if logarithmic:
        ax.set_xscale("symlog", linthresh=1.0, linscale=0.4)
        ax.set_xticks([0.0, *(10.0**k for k in range(int(np.log10(max(last, 1.0))) + 1))])
        ax.set_xticklabels(["0", *(f"$10^{k}$" if k else "1" for k in range(int(np.log10(max(last, 1.0))) + 1))])
    ax.set_xlim(0.0, last)
    ax.set_xlabel(TIME)


def _end_points(ax: Axes, ends: xarray.Dataset, top: float) -> list[Any]:
    """Final curvature of each seed against the width, in the colour of its phase; those that diverge along the top."""
    words = style.vocabulary(ends)
    widths, codes = ends["sigma_z"].values, ends["phase"].values
    values = np.where(np.isfinite(ends["curvature"].values), ends["curvature"].values, np.inf)
    gone = codes == words.index("divergent")
    heights = np.where(gone, 0.96 * top, np.minimum(values, 0.96 * top))
    # Seeds stand side by side, so that equal ones are seen.
    gap = 0.5 * float(np.min(np.diff(np.sort(widths)))) if len(widths) > 1 else 0.1
    beside = widths[:, None] + np.linspace(-0.4, 0.4, codes.shape[1]) * gap
    for k, phase in enumerate(words.phases):
        here = (codes == k) & (codes != NOT_COMPUTED)
        marker = "^" if phase.label == "divergent" else "o"
        ax.plot(beside[here], heights[here], ls="none", marker=marker, ms=3.0, mew=0.4, color=phase.colour, mec=style.INK)
    if gone.any():
        last = float(beside[gone].min())
        ax.annotate("diverged", (last, 0.96 * top), (-5, 0), "data", "offset points", ha="right", va="center", fontsize="small")
    edge_line(ax)
    ax.set_ylim(0.0, top)
    ax.set_xlim(0.0, 1.04 * float(beside.max()))
    ax.set_xlabel(WIDTH_Z)
    ax.set_ylabel("final curvature")
    return list(style.phase_handles(codes, words))


# --- the start ----------------------------------------------------------------------------------------------


def sharpening(dataset: xarray.Dataset) -> Figure:
    """Mean second derivative of the curvature at the start against the residual's width, with both predictions.

    Parameters
    ----------
    dataset : ``second`` and ``predicted`` of dims (case, sigma_z, seed); ``std_z``, ``corrected``, ``printed`` of dims
        (case, sigma_z); coordinates D and P of case.

    The second panel divides by the corrected prediction. Error bars are standard errors over seeds; short bars are the
    mean of ``predicted``.
    """
    _need(dataset, "second", "predicted", "std_z", "corrected", "printed")
    count = dataset.sizes["case"]
    shades, markers = colours(count), "osD^vP*X"
    mean = dataset["second"].mean("seed").values
    error = dataset["second"].std("seed", ddof=1).values / np.sqrt(dataset.sizes["seed"])
    std, corrected, printed = (dataset[name].values for name in ("std_z", "corrected", "printed"))
    with style.context():
        fig = style.figure(style.DOUBLE, 3.2)
        left, right = fig.subplots(1, 2, gridspec_kw={"wspace": 0.06})
        handles: list[Any] = []
        for k in range(count):
            style_of: dict[str, Any] = {"color": shades[k], "marker": markers[k % len(markers)], "ms": 3.4, "mew": 0.0}
            label = f"$({int(dataset['D'][k])}, {int(dataset['P'][k])})$"
            left.plot(std[k], corrected[k], color=shades[k], lw=0.9)
            left.plot(std[k], printed[k], color=shades[k], lw=0.8, ls=(0, (1, 1.4)))
            seen = np.where(mean[k] > 0, mean[k], np.nan)
            left.errorbar(std[k], seen, np.minimum(error[k], 0.99 * np.abs(seen)), ls="none", elinewidth=0.8, **style_of)
            aside = 1.0 + 0.05 * (k - (count - 1) / 2)
            at = dataset["sigma_z"].values * aside
            given = dataset["predicted"].mean("seed").values[k] / corrected[k]
            right.plot(at, given, ls="none", marker="_", ms=8, mew=1.2, color=shades[k], zorder=1.8)
            right.errorbar(
                at, mean[k] / corrected[k], error[k] / corrected[k], ls="none", elinewidth=0.8,
                **style_of,
            )  # fmt: skip
            handles.append(Line2D([], [], ls="none", label=f"$(D, P)$ = {label}" if k == 0 else label, **style_of))
        for ax in (left, right):
            style.pin(ax)
            ax.set_xscale("log")
        left.set_yscale("log")
        left.set_xlabel(r"width of the residuals $\sigma_z = \tilde\sigma_z / D$")
        left.set_ylabel(r"$E[\lambda_{\max}^{\prime\prime}(0)]$ (step$^{-2}$)")
        right.axhline(1.0, color=style.INK, lw=0.8)
        right.set_xlabel(f"rescaled width {WIDTH_Z}")
        right.set_ylabel("measured over corrected prediction")
        right.set_ylim(min(0.6, right.get_ylim()[0]), max(1.4, right.get_ylim()[1]))
        handles += [
            Line2D([], [], color=style.INK, lw=0.9, label=r"corrected: $2P(D+1)\,\sigma_z^2\,E[\lambda_{\max}]$"),
            Line2D([], [], color=style.INK, ls="none", marker="_", ms=8, mew=1.2, label=r"exact mean, given $JJ^T$"),
            Line2D([], [], color=style.INK, lw=0.8, ls=(0, (1, 1.4)), label=r"as printed: $\sigma_z^2\,E[\lambda_{\max}]$"),
        ]
        panel_letters([left, right])
        style.legend(fig, handles)
        J, n = dataset.attrs["sigma_J"], dataset.sizes["seed"]
        fig.suptitle(f"{WIDTH_J} = {J:g}, {n} draws of $Q$, {int(dataset.attrs['starts'])} starts each", fontsize="medium")
    return fig


# --- relatives ----------------------------------------------------------------------------------------------


def sharpness(dataset: xarray.Dataset) -> Figure:
    """Curvature (kernel) and sharpness (Hessian) along the first seed's runs, and their difference against the residual.

    ``dataset`` has ``loss``, ``curvature`` and ``sharpness`` of dims (sigma_z, seed, time).
    """
    _need(dataset, "loss", "curvature", "sharpness")
    widths = dataset["sigma_z"].values
    shades = colours(len(widths))
    with style.context():
        fig = style.figure(style.DOUBLE, 2.75)
        left, right = fig.subplots(1, 2, gridspec_kw={"wspace": 0.06})
        first = dataset.isel(seed=0)
        for k, shade in enumerate(shades):
            one = first.isel(sigma_z=k)
            left.plot(one["time"], one["curvature"], color=shade, lw=1.1)
            left.plot(one["time"], one["sharpness"], color=shade, lw=0.8, ls=(0, (2, 1)))
            all_of = dataset.isel(sigma_z=k)
            size = np.sqrt(2 * all_of["loss"].values)
            apart = np.abs(all_of["sharpness"].values - all_of["curvature"].values)
            seen = apart > 1e-13  # below is the rounding of eigenvalues
            right.plot(size[seen], apart[seen], ls="none", marker="o", ms=1.3, mew=0, color=shade, alpha=0.6, rasterized=True)
        edge_line(left)
        _time_axis(left, dataset, logarithmic=True)
        left.set_ylim(0.0, None)
        left.set_ylabel(r"top eigenvalue times $\eta$")
        right.set_xscale("log")
        right.set_yscale("log")
        ends = np.asarray(right.get_xlim())
        reach = right.get_ylim()
        right.plot(ends, _through(dataset) * ends, color=style.INK, lw=0.8, ls=style.dashes(False))
        right.set_xlim(*ends)
        right.set_ylim(*reach)
        few_decades(right)
        right.set_xlabel("residual $|z|$ (target units)")
        right.set_ylabel("|sharpness \N{MINUS SIGN} curvature|")
        for ax in (left, right):
            style.pin(ax)
        handles = [Line2D([], [], color=c, lw=1.4, label=f"{WIDTH_Z} = {w:g}") for w, c in zip(widths, shades, strict=True)]
        handles += [
            Line2D([], [], color=style.INK, lw=1.1, label="curvature: kernel"),
            Line2D([], [], color=style.INK, lw=0.8, ls=(0, (2, 1)), label="sharpness: Hessian"),
            Line2D([], [], **EDGE_HANDLE),
            Line2D([], [], color=style.INK, lw=0.8, ls=style.dashes(False), label=r"$\propto |z|$"),
        ]
        panel_letters([left, right])
        style.legend(fig, handles)
        fig.suptitle(_shape(dataset), fontsize="medium")
    return fig


def _through(dataset: xarray.Dataset) -> float:
    """The factor of a line of slope 1 through the middle of the small differences."""
    size = np.sqrt(2 * dataset["loss"].values)
    apart = np.abs(dataset["sharpness"].values - dataset["curvature"].values)
    small = (apart > 1e-12) & (size < 1e-3 * np.nanmax(size[..., 0]))
    return float(np.exp(np.median(np.log(apart[small] / size[small])))) if small.any() else 1.0


def hierarchy(dataset: xarray.Dataset) -> Figure:
    """The model and the cut hierarchy from one start: curvature, loss, and how far apart kernels and residuals are.

    ``dataset`` has ``curvature``, ``loss``, both with ``_cut`` too, ``lowest_cut`` (the lowest eigenvalue of the cut
    hierarchy's kernel), ``kernel_gap`` and ``residual_gap`` of dims (seed, time).
    """
    _need(dataset, "curvature", "curvature_cut", "loss", "loss_cut", "lowest_cut", "kernel_gap", "residual_gap")
    times = dataset["time"].values
    with style.context():
        fig = style.figure(style.DOUBLE, 2.75)
        panels = fig.subplots(1, 3, gridspec_kw={"wspace": 0.07})
        for ax, name in zip(panels, ("curvature", "loss"), strict=False):
            whole, cut = dataset[name].values, dataset[name + "_cut"].values
            unit = whole[:, :1] if name == "loss" else 1.0
            ax.plot(times, (whole / unit).T, color=BLUE, lw=0.9)
            ax.plot(times, (cut / unit).T, color=ORANGE, lw=0.9, ls=(0, (3, 1.2)))
            ax.set_xlim(0.0, times[-1])
            ax.set_xlabel(TIME)
        panels[0].plot(times, dataset["lowest_cut"].values.T, color=ORANGE, lw=0.9, ls=(0, (1, 1.2)))
        panels[0].axhline(0.0, color=style.GREY, lw=0.5)
        panels[0].set_ylabel(r"eigenvalues of the kernel times $\eta$")
        panels[1].set_yscale("log")
        panels[1].set_ylabel("loss, over its start")
        later = times > 0
        for name, colour in (("kernel_gap", "#2E8B6F"), ("residual_gap", "#7A4E9E")):
            panels[2].plot(times[later], dataset[name].values[:, later].T, color=colour, lw=0.9)
        panels[2].set_xscale("log")
        panels[2].set_yscale("log")
        for name, power in (("kernel_gap", 2), ("residual_gap", 3)):
            start = np.exp(np.log(dataset[name].values[:, later][:, 0]).mean()) / times[later][0] ** power
            early = times[later & (times <= 1.0)]
            panels[2].plot(early, 0.5 * start * early**power, color=style.INK, lw=0.7, ls=style.dashes(False))
        panels[2].set_xlabel(TIME)
        panels[2].set_ylabel("distance, over the start")
        for ax in panels:
            style.pin(ax)
        handles = [
            Line2D([], [], color=BLUE, lw=1.2, label="quadratic model"),
            Line2D([], [], color=ORANGE, lw=1.2, ls=(0, (3, 1.2)), label="hierarchy cut at third order"),
            Line2D([], [], color=ORANGE, lw=1.2, ls=(0, (1, 1.2)), label="its lowest eigenvalue"),
            Line2D([], [], color="#2E8B6F", lw=1.2, label="distance of the kernels"),
            Line2D([], [], color="#7A4E9E", lw=1.2, label="of the residuals"),
            Line2D([], [], color=style.INK, lw=0.7, ls=style.dashes(False), label="$t^2$ and $t^3$"),
        ]
        panel_letters(panels)
        style.legend(fig, handles)
        fig.suptitle(_shape(dataset), fontsize="medium")
    return fig
