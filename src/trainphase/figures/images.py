"""Real networks on real images: the edge of stability, what drives it, two-step changes, Taylor models."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from trainphase.errors import RequestError
from trainphase.figures import style
from trainphase.figures._panels import EDGE, few_decades

if TYPE_CHECKING:
    import xarray

BLUE, ORANGE, GREEN = "#1F4E79", "#C44E00", "#3B7D4F"
DASHED = (0, (3, 1.4))
TIME = "time (steps)"
Z1 = r"$z_1$ (target units)"
CURVATURE = r"$\eta\lambda$"


def need(dataset: xarray.Dataset, *names: str) -> None:
    """RequestError when one of the variables is missing."""
    missing = [name for name in names if name not in dataset]
    if missing:
        raise RequestError(f"the dataset has no variable {missing[0]!r}, which the figure shows; give the data of its item")


def _panels(count: int, ratios: Sequence[float] | None = None) -> tuple[Figure, list[Axes]]:
    fig = style.figure(style.DOUBLE, 2.6)
    panels = fig.subplots(1, count, squeeze=False, gridspec_kw={"wspace": 0.08, "width_ratios": ratios})[0].tolist()
    for ax, letter in zip(panels, "abcd", strict=False):
        style.pin(ax)
        ax.set_title(f"({letter})", loc="left", pad=3.0)
    return fig, panels


def _edge(ax: Axes) -> None:
    ax.axhline(EDGE, color=style.INK, lw=0.8, ls=(0, (1, 1.4)), zorder=1.5)


def _fine(run: xarray.Dataset) -> xarray.Dataset:
    return run.isel(time=np.flatnonzero(run["fine"].values))


# --- the run ------------------------------------------------------------------------------------------------


def edge(run: xarray.Dataset) -> Figure:
    """z_1 at every step, z_1 at every second step, and the two top eigenvalues of kernel and Hessian.

    Parameters
    ----------
    run : ``z1``, ``curvature``, ``curvature_2``, ``sharpness``, ``sharpness_2``, ``fine`` of dims (time).

    Raises RequestError when a variable is missing.
    """
    need(run, "z1", "curvature", "curvature_2", "sharpness", "sharpness_2", "fine")
    part = _fine(run)
    with style.context():
        fig, (left, middle, right) = _panels(3, [1.0, 1.0, 1.25])
        time, z = part["time"].values, part["z1"].values
        left.plot(time, z, color=BLUE, lw=0.45)
        two_step_lines(middle, time, z)
        for ax in (left, middle):
            ax.axhline(0.0, color=style.GREY, lw=0.5, zorder=1)
            ax.set_ylabel(Z1)
            ax.set_xlim(time[0], time[-1])
        middle.set_ylim(left.get_ylim())
        middle.set_ylabel(r"$z_1$, each second step")
        _edge(right)
        for name, sharp, colour in (("curvature", "sharpness", BLUE), ("curvature_2", "sharpness_2", ORANGE)):
            _branches(right, run[name], run["fine"].values > 0, color=colour, lw=0.8)
            _branches(right, run[sharp], run["fine"].values > 0, color=colour, lw=0.7, ls=DASHED, alpha=0.8)
        start = max(float(time[0]) - 0.5 * float(time[-1] - time[0]), float(run["time"][0]))
        right.set_xlim(start, float(time[-1]))
        seen = run.isel(time=np.flatnonzero(run["time"].values >= start))
        right.set_ylim(*_span([seen[k].values for k in ("curvature", "curvature_2", "sharpness", "sharpness_2")]))
        right.set_ylabel(CURVATURE)
        for ax in (left, middle, right):
            ax.set_xlabel(TIME)
        looks = (
            (BLUE, 1.2, "-", r"$\eta\lambda_1$"), (ORANGE, 1.2, "-", r"$\eta\lambda_2$"), (style.INK, 0.9, "-", "kernel"),
            (style.INK, 0.9, DASHED, "Hessian"), (style.INK, 0.8, (0, (1, 1.4)), "edge of stability, 2"),
        )  # fmt: skip
        handles = [Line2D([], [], color=c, lw=lw, ls=ls, label=words) for c, lw, ls, words in looks]
        style.legend(fig, handles)
    return fig


def _span(series: Sequence[np.ndarray]) -> tuple[float, float]:
    values = np.concatenate([s[np.isfinite(s)] for s in series])
    low, high = float(values.min()), float(values.max())
    return low - 0.05 * (high - low), high + 0.05 * (high - low)


def _branches(ax: Axes, series: xarray.DataArray, fine: np.ndarray, **look: Any) -> None:
    """Where each step is measured even and odd ones are a line each: they lie on two curves once the top mode moves."""
    time, values = series["time"].values, series.values
    for k in (0, 1):
        here = np.isfinite(values) & (~fine | (time.astype(int) % 2 == k))
        ax.plot(time[here], values[here], **look)


def two_step_lines(ax: Axes, time: np.ndarray, values: np.ndarray, colours: Sequence[str] = (BLUE, ORANGE)) -> None:
    """Values at even and at odd steps, a line each."""
    for k, colour in enumerate(colours):
        here = (time.astype(int) % 2) == k
        ax.plot(time[here], values[here], color=colour, lw=0.9)
        ax.annotate(
            ("even", "odd")[k], (0.04, 0.94 - 0.09 * k), xycoords="axes fraction", color=colour, fontsize="small", va="top"
        )


# --- what drives it -----------------------------------------------------------------------------------------


def mechanism(run: xarray.Dataset, spectra: xarray.Dataset) -> Figure:
    """Spectra of v . Q, two-step changes of z_1 against 2 y z_1, and nonlinear over linear change with y.

    Parameters
    ----------
    run : ``z1``, ``curvature``, ``ratio``, ``fine`` of dims (time).
    spectra : ``value`` and ``weight`` of dims (direction, probe, node), with the coordinates ``name`` and ``step``.

    Raises RequestError when a variable is missing.
    """
    need(run, "z1", "curvature", "ratio", "fine")
    need(spectra, "value", "weight")
    part = _fine(run)
    z, y = part["z1"].values, part["curvature"].values - EDGE
    with style.context():
        fig, (left, middle, right) = _panels(3, [1.0, 1.0, 1.2])
        _spectra(left, spectra)
        x, d = 2 * y[:-2] * z[:-2], z[2:] - z[:-2]
        if "sharpness" in part and np.isfinite(part["sharpness"].values).all():
            w = part["sharpness"].values - EDGE
            middle.plot((w[:-2] + w[1:-1]) * z[:-2], d, ls="none", marker="x", ms=2.0, mew=0.4, color=style.GREY, zorder=1)
        marks = middle.scatter(x, d, c=part["time"].values[:-2], s=3.0, lw=0, cmap="viridis", rasterized=True)
        ends = np.array([min(x.min(), d.min()), max(x.max(), d.max())])
        middle.plot(ends, ends, color=style.INK, lw=0.7, ls=DASHED)
        middle.set_xlabel(r"$2\, y\, z_1$")
        middle.set_ylabel(r"$z_1(t+2) - z_1(t)$")
        fig.colorbar(marks, ax=middle, pad=0.02, aspect=30).set_label(TIME, fontsize="small")
        size = np.abs(part["ratio"].values)
        every = np.ones(part.sizes["time"], bool)
        _branches(right, part["ratio"].copy(data=size), every, color=BLUE, lw=0.7)
        right.set_yscale("log")
        few_decades(right)
        right.set_ylabel("|nonlinear / linear| of the top mode", color=BLUE)
        right.set_xlabel(TIME)
        right.set_xlim(*part["time"].values[[0, -1]])
        beside = right.twinx()
        style.pin(beside)
        _branches(beside, part["curvature"] - EDGE, every, color=ORANGE, lw=0.7)
        beside.axhline(0.0, color=style.INK, lw=0.6, ls=(0, (1, 1.4)))
        beside.set_ylabel(r"$y = \eta\lambda_1 - 2$", color=ORANGE)
        cross = Line2D(
            [], [], ls="none", marker="x", ms=3.0, mew=0.5, color=style.GREY, label="$(y(t)+y(t+1))\\,z_1$ of the Hessian"
        )
        line = Line2D([], [], color=style.INK, lw=0.8, ls=DASHED, label="slope 1")
        style.legend(fig, [*_directions(spectra), line, cross])
    return fig


def _looks(spectra: xarray.Dataset) -> list[tuple[str, Any, str]]:
    """Colour, style and words of each direction."""
    shades = iter((BLUE, ORANGE, style.INK))
    out = []
    for name, step in zip(spectra["name"].values, spectra["step"].values, strict=True):
        words = r"$v_1$" if str(name) == "top" else "random direction"
        out.append((GREEN if str(name) == "random" else next(shades), "-", f"{words}, step {int(step)}"))
    return out


def _directions(spectra: xarray.Dataset) -> list[Any]:
    return [Line2D([], [], color=c, lw=1.2, ls=ls, label=words) for c, ls, words in _looks(spectra)]


def _spectra(ax: Axes, spectra: xarray.Dataset) -> None:
    """Densities, smoothed by a fortieth of the whole range."""
    value, weight = spectra["value"].values, spectra["weight"].values
    reach = 1.15 * np.abs(value).max()
    at, width = np.linspace(-reach, reach, 801), reach / 40
    top = 0.0
    for k, (colour, line, _) in enumerate(_looks(spectra)):
        bell = np.exp(-0.5 * ((at[:, None, None] - value[k]) / width) ** 2) / (width * np.sqrt(2 * np.pi))
        density = np.mean(np.sum(weight[k] * bell, -1), -1)
        top = max(top, float(density.max()))
        ax.plot(at, density, color=colour, ls=line, lw=0.9)
    ax.set_yscale("log")
    # A tenth of what one eigenvalue makes.
    ax.set_ylim(0.1 / float(spectra.attrs.get("size", 1e4)) / width, 3 * top)
    few_decades(ax)
    ax.set_xlabel("eigenvalue of $v \\cdot Q$")
    ax.set_ylabel("density")


# --- two-step changes ---------------------------------------------------------------------------------------


def two_step(data: xarray.Dataset) -> Figure:
    """The change of y in two steps, less its mean b at rest, against z_1, and over z_1^2 against y.

    Parameters
    ----------
    data : ``z``, ``y``, ``dy`` of dims (time), ``time`` in steps, the attribute ``b``.

    Raises RequestError when a variable is missing.
    """
    need(data, "z", "y", "dy")
    z, y, rest = data["z"].values, data["y"].values, data["dy"].values - float(data.attrs["b"])
    with style.context():
        fig, (left, right) = _panels(2)
        options: dict[str, Any] = {"c": data["time"].values, "s": 4.0, "lw": 0, "cmap": "viridis", "rasterized": True}
        left.scatter(z, rest, **options)
        left.set_xlabel(Z1)
        left.set_ylabel(r"$y(t+2) - y(t) - b$")
        moved = np.abs(z) > 0.1 * np.abs(z).max()
        options["c"] = options["c"][moved]
        marks = right.scatter(y[moved], rest[moved] / z[moved] ** 2, **options)
        right.set_xlabel(r"$y = \eta\lambda_1 - 2$")
        right.set_ylabel(r"$(y(t+2) - y(t) - b)\ /\ z_1^2$")
        fig.colorbar(marks, ax=right, pad=0.02, aspect=30).set_label(TIME, fontsize="small")
        for ax in (left, right):
            ax.axhline(0.0, color=style.GREY, lw=0.5, zorder=1)
    return fig


# --- Taylor models ------------------------------------------------------------------------------------------


def taylor(runs: Mapping[str, xarray.Dataset]) -> Figure:
    """Losses from the start; z_1 of the model and of expansions near the edge, to second and to third order.

    Parameters
    ----------
    runs : ``model`` and ``start2`` (loss, curvature from the start), ``near``, ``near2``, ``near3`` (z1 at each step from a
        point near the edge), each of dims (time).

    Raises RequestError when one is missing.
    """
    names = ("model", "start2", "near", "near2", "near3")
    absent = [name for name in names if name not in runs]
    if absent:
        raise RequestError(f"there is no run {absent[0]!r}, which the figure shows; give the data of its item")
    with style.context():
        fig, (left, middle, right) = _panels(3)
        beside = left.twinx()
        style.pin(beside)
        for name, colour in (("model", style.INK), ("start2", BLUE)):
            run = runs[name]
            left.plot(run["time"].values, run["loss"].values, color=colour, lw=0.9)
            beside.plot(run["time"].values, run["curvature"].values, color=colour, lw=0.7, ls=DASHED)
        _edge(beside)
        left.set_yscale("log")
        few_decades(left)
        left.set_ylabel("loss (lines)")
        beside.set_ylabel(r"$\eta\lambda_1$ (dashes)")
        left.set_xlim(0.0, float(runs["model"]["time"][-1]))
        for ax, name, colour in ((middle, "near2", BLUE), (right, "near3", ORANGE)):
            for key, shade in (("near", style.INK), (name, colour)):
                run = runs[key]
                even = run["time"].values.astype(int) % 2 == int(runs["near"]["time"][0]) % 2
                ax.plot(run["time"].values[even], run["z1"].values[even], color=shade, lw=0.9)
            ax.axhline(0.0, color=style.GREY, lw=0.5, zorder=1)
            ax.set_xlim(*runs["near"]["time"].values[[0, -1]])
            ax.set_ylabel(r"$z_1$, each second step")
        for ax in (left, middle, right):
            ax.set_xlabel(TIME)
        labels = ((style.INK, "model"), (BLUE, "second order"), (ORANGE, "third order"))
        handles = [Line2D([], [], color=c, lw=1.2, label=words) for c, words in labels]
        style.legend(fig, [*handles, Line2D([], [], color=style.INK, lw=0.8, ls=(0, (1, 1.4)), label="edge of stability, 2")])
    return fig
