"""The page of one run: losses, curvature and residuals against time, with the phase in the title."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator, SymmetricalLogLocator

from trainphase.errors import RequestError
from trainphase.figures import style
from trainphase.figures._panels import EDGE, LOSS_FLOOR, few_decades

if TYPE_CHECKING:
    import xarray

FIRST, LAST = 100, 50
MOST_SAMPLES = 5
# A run that converges is shown until its loss has come down to this share of its largest: the rest is rounding.
DONE = 1e-24
# One that escapes, until its loss has grown by this much (or is not finite): from there on it only squares and cubes.
GONE = 1e12
# What is greater is not drawn, since axes cannot reach the largest double.
CEILING = 1e30

LOSSES = {
    "loss": ("training", "#1F4E79", "-"),
    "test_loss": ("test", "#C44E00", "-"),
    "averaged_test_loss": ("averaged predictions, test", style.INK, (0, (3, 1.2))),
}


def page(dataset: xarray.Dataset, title: str | None = None) -> Figure:
    """Losses (logarithmic), curvature with the edge of stability at 2, and residuals, for what the dataset has.

    A run that settles is shown until it has, one that escapes until it is not finite. Of a long run that goes on, the
    first 100 and the last 50 steps are shown. Of many samples, five are shown. ``title`` replaces the phase, the
    period and the Lyapunov exponent. Returns the figure. Raises RequestError when there is no ``time``.
    """
    if "time" not in dataset.dims:
        raise RequestError("the dataset has no dimension 'time', so it is no run; give Trajectory.to_xarray()")
    drawers: list[Callable[..., None]] = []
    if any(name in dataset for name in LOSSES):
        drawers.append(_losses)
    more = (("relative_distance", _distances), ("curvature", _curvature), ("residual", _residuals))
    drawers += [d for n, d in more if n in dataset]
    if not drawers:
        raise RequestError("the dataset has neither loss, curvature nor residual; record one of them")
    pieces = _pieces(dataset)
    with style.context():
        fig = style.figure(style.DOUBLE if len(pieces) > 1 else 4.6, 1.35 * len(drawers) + 0.75)
        ratios = {"width_ratios": [3, 2] if len(pieces) > 1 else [1], "hspace": 0.04, "wspace": 0.04}
        grid = fig.subplots(
            len(drawers), len(pieces), sharex="col", sharey="row", squeeze=False, gridspec_kw=ratios
        )
        for row, drawer in zip(grid, drawers, strict=True):
            for ax, piece in zip(row, pieces, strict=True):
                style.pin(ax)
                drawer(ax, dataset.isel(time=piece), ax is row[0])
                _frame(ax, ax is row[0], ax is row[-1])
            if row[0].get_yscale() == "log":
                few_decades(row[0])  # once all of the row is there
        for ax, piece in zip(grid[-1], pieces, strict=True):
            ax.set_xlabel(_time_label(dataset, piece, len(pieces)))
            if ax.get_xscale() == "linear":
                ax.xaxis.set_major_locator(MaxNLocator(5, integer=True))
        present = [LOSSES[n] for n in LOSSES if n in dataset and _shown(dataset[n].values, pieces)]
        handles = [Line2D([], [], color=c, ls=d, label=f"{label} loss") for label, c, d in present]
        if "sharpness" in dataset and "curvature" in dataset:
            handles = handles if len(present) > 1 else []
            handles += [Line2D([], [], color="#2E8B6F", label="curvature (kernel)"),
                        Line2D([], [], color="#C44E00", ls=(0, (1, 1)), label="sharpness (Hessian)")]  # fmt: skip
        if len(handles) > 1:
            style.legend(fig, handles)
        fig.suptitle(headline(dataset) if title is None else title, fontsize="medium")
        fig.align_ylabels(grid[:, 0])
        return fig


def _shown(values: np.ndarray, pieces: list[slice]) -> bool:
    return any(bool(np.isfinite(values[piece]).any()) for piece in pieces)


def headline(dataset: xarray.Dataset) -> str:
    """'cubic, a = 1.2: periodic, period 2, Lyapunov exponent -0.193 ± 0.001 per step' for what the dataset knows."""
    attrs = dataset.attrs
    params = json.loads(attrs.get("params", "{}"))
    numbers = {k: v for k, v in params.items() if isinstance(v, int | float) and not isinstance(v, bool)}
    given = ", ".join(f"{style.symbol(k)} = {_short(v)}" for k, v in list(numbers.items())[:6])
    head = ", ".join(w for w in (str(attrs.get("system", "")), given) if w)
    facts = [str(attrs["phase"])] if "phase" in attrs else []
    period = _scalar(dataset, "period")
    if period is not None and period >= 1:
        facts.append(f"period {period:.0f}")
    exponent, error = _scalar(dataset, "lyapunov"), _scalar(dataset, "lyapunov_se")
    if exponent is not None:
        digits = 4 if error is None or error <= 0 else int(np.clip(1 - np.floor(np.log10(error)), 2, 5))
        spread = f" ± {error:.{digits}f}" if error is not None and round(error, digits) > 0 else ""
        facts.append(f"Lyapunov exponent {exponent:.{digits}f}{spread} per step".replace("-", "\N{MINUS SIGN}"))
    slope = _scalar(dataset, "slope")
    if slope is not None:
        facts.append(f"slope {slope:.3f}".replace("-", "\N{MINUS SIGN}"))
    return ": ".join(w for w in (head, ", ".join(facts)) if w)


def _short(value: Any) -> str:
    return f"{value:.6g}" if isinstance(value, float) else str(value)


def _scalar(dataset: xarray.Dataset, name: str) -> float | None:
    if name not in dataset or dataset[name].ndim:
        return None
    value = float(dataset[name].values)
    return value if np.isfinite(value) else None


def _pieces(dataset: xarray.Dataset) -> list[slice]:
    """Which records to show, in one or two columns."""
    total = dataset.sizes["time"]
    name = next((n for n in ("loss", "residual", "curvature") if n in dataset), None)
    values = np.ones((total, 1)) if name is None else np.abs(dataset[name].values.reshape(total, -1)).max(1)
    gone = ~(values <= GONE * max(float(values[0]), 1.0))
    if gone.any():
        total = int(np.argmax(gone)) + 1
    elif name == "loss" and values[-1] <= DONE * values.max():
        late = int(np.flatnonzero(values > DONE * values.max())[-1]) + 1
        return [slice(0, min(total, max(10, late + late // 20)))]
    if total > FIRST + LAST + 100:
        return [slice(0, FIRST + 1), slice(total - LAST, total)]
    return [slice(0, total)]


def _time_label(dataset: xarray.Dataset, piece: slice, pieces: int) -> str:
    times = dataset["time"].values
    units = dataset["time"].attrs.get("units", "steps")
    gaps = np.diff(times[piece])
    if gaps.size and np.all(gaps % 2 == 0):
        units += ", every other one" if np.all(gaps == 2) else ", even ones"
    if pieces == 1:
        whole = piece.stop >= len(times)
        return f"time ({units})" if whole else f"time ({units}); shown to {times[piece.stop - 1]:g} of {times[-1]:g}"
    which = "first" if piece.start == 0 else "last"
    return f"time ({units}), the {which} {times[piece.stop - 1] - times[piece.start] + (which == 'last'):g}"


def _frame(ax: Axes, first: bool, last: bool) -> None:
    """Two columns of one run share a frame that is open between them."""
    ax.margins(x=0.01)
    if not first:
        ax.spines["left"].set(linestyle=(0, (1, 2)), color=style.GREY)
        ax.tick_params(axis="y", which="both", left=False)
    if not last:
        ax.spines["right"].set_visible(False)


def _trace(ax: Axes, x: np.ndarray, y: np.ndarray, **options: Any) -> None:
    marks: dict[str, Any] = {"marker": "o", "ms": 1.8, "mew": 0} if len(x) <= 130 else {}
    looks: dict[str, Any] = {"lw": 0.9, **marks, **options}
    ax.plot(x, y, **looks)


def _losses(ax: Axes, dataset: xarray.Dataset, first: bool) -> None:
    ax.set_yscale("log")
    for name, (_, colour, dash) in LOSSES.items():
        if name not in dataset:
            continue
        values = dataset[name].values
        values = np.maximum(_drawable(values), LOSS_FLOOR)
        if np.isfinite(values).any():
            _trace(ax, dataset["time"].values, values, color=colour, ls=dash, **({} if dash == "-" else {"marker": ""}))
    if first:
        units = str(next(dataset[n] for n in LOSSES if n in dataset).attrs.get("units", "1"))
        ax.set_ylabel("loss" if units == "1" else f"loss\n({units})")


def _drawable(values: np.ndarray) -> np.ndarray:
    with np.errstate(invalid="ignore"):
        return np.where(np.abs(values) <= CEILING, values, np.nan)


def _wide(values: np.ndarray) -> bool:
    finite = np.abs(values[np.isfinite(values)])
    return bool(finite.size and finite.max() > 1e3)


def _distances(ax: Axes, dataset: xarray.Dataset, first: bool) -> None:
    """Relative distances of the weights; time is logarithmic, since training has many scales of it."""
    ax.set_yscale("log")
    times = dataset["time"].values
    drawn = {"relative_distance": ("#2E8B6F", "input weights"), "relative_distance_a": ("#C44E00", "output weights")}
    for name, (colour, label) in drawn.items():
        if name in dataset and dataset[name].ndim:
            values = dataset[name].values
            ax.plot(times[values > 0], values[values > 0], color=colour, lw=1.1, label=label)
    if times.size > 2 and times[1] > 0:
        ax.set_xscale("log")
    if first:
        ax.set_ylabel("relative distance")
        ax.legend(loc="best", fontsize="small")


def _curvature(ax: Axes, dataset: xarray.Dataset, first: bool) -> None:
    values = dataset["curvature"].values
    if _wide(values):
        ax.set_yscale("log")
    ax.axhline(EDGE, color=style.INK, lw=0.9, ls=(0, (3, 2)), zorder=3)
    _trace(ax, dataset["time"].values, _drawable(values), color="#2E8B6F")
    if "sharpness" in dataset and dataset["sharpness"].ndim == 1:
        thin: dict[str, Any] = {"marker": "", "lw": 0.8, "ls": (0, (1, 1))}
        _trace(ax, dataset["time"].values, _drawable(dataset["sharpness"].values), color="#C44E00", **thin)
    if first:
        ax.set_ylabel(r"curvature $\eta\lambda_{\max}$")


def chosen(dataset: xarray.Dataset, most: int = MOST_SAMPLES) -> np.ndarray:
    """Indices of the samples shown: all of a few, else spread evenly over the ranks of the theory's a, or the index."""
    count = int(np.prod(dataset["residual"].shape[1:]))
    if count <= most:
        return np.arange(count)
    order = np.arange(count)
    if "theory_a" in dataset and dataset["theory_a"].size == count:
        order = np.argsort(dataset["theory_a"].values.ravel(), kind="stable")
    return order[np.round(np.linspace(0, count - 1, most)).astype(int)]


def _residuals(ax: Axes, dataset: xarray.Dataset, first: bool) -> None:
    values = dataset["residual"].values
    values = values.reshape(values.shape[0], -1)
    pick = chosen(dataset)
    if _wide(values):
        ax.set_yscale("symlog", linthresh=1.0, linscale=2.0)
        locator = SymmetricalLogLocator(base=10, linthresh=1.0)
        locator.set_params(numticks=5)
        ax.yaxis.set_major_locator(locator)
    colours = mpl.colormaps["viridis"](np.linspace(0.0, 0.85, len(pick))) if len(pick) > 1 else ["#1F4E79"]
    ax.axhline(0.0, color=style.GREY, lw=0.5)
    for k, colour in zip(pick, colours, strict=True):
        thin: dict[str, Any] = {} if len(pick) == 1 else {"lw": 0.6, "marker": ""}
        _trace(ax, dataset["time"].values, _drawable(values[:, k]), color=colour, **thin)
    if first:
        note = "" if values.shape[1] == 1 else f"\n{len(pick)} of {values.shape[1]} samples"
        ax.set_ylabel("residual $z$" + note)
