"""The figure of a diagnosis: curvature over its threshold along a run, with the edge and its band, and the loss below."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from trainphase.errors import RequestError
from trainphase.figures import style
from trainphase.figures._panels import few_decades

if TYPE_CHECKING:
    import xarray

GONE = 1e12
BAND = 0.1  # of the threshold: within it, a run is at the edge
CURVATURE, LOSS, CATAPULT, OTHER = "#2E8B6F", "#1F4E79", "#E69F00", "#BBBBBB"


def draw(dataset: xarray.Dataset, ax: Axes | None = None) -> Axes:
    """The ratio at each measurement with its error bound, the edge at 1 and its band; returns the axes.

    dataset : of ``Diagnosis.to_xarray``. Raises RequestError when it has no ratio.
    """
    if "ratio" not in dataset:
        raise RequestError("the dataset has no ratio, so it is no diagnosis; give Diagnosis.to_xarray()")
    with style.context(ax):
        if ax is None:
            ax = style.figure(4.6, 2.4).subplots()
            style.pin(ax)
            ax.set_title(_title(dataset), fontsize="medium")
        _ratio(ax, dataset)
        ax.set_xlabel("step")
        return ax


def page(dataset: xarray.Dataset, title: str | None = None) -> Figure:
    """The ratio, and below it the loss with its spikes; with the phase in the title. Returns the figure."""
    with style.context():
        fig = style.figure(4.6, 3.6)
        top, low = fig.subplots(2, 1, sharex=True)
        for ax in (top, low):
            style.pin(ax)
        _ratio(top, dataset)
        _loss(low, dataset)
        low.set_xlabel("step")
        low.xaxis.set_major_locator(MaxNLocator(5, integer=True))
        fig.suptitle(_title(dataset) if title is None else title, fontsize="medium")
        fig.align_ylabels([top, low])
        return fig


def _title(dataset: xarray.Dataset) -> str:
    head, _, tail = str(dataset.attrs.get("headline", "")).partition(": ")
    first, _, rest = tail.partition("; ")
    return f"{head}: {first}" + (f"\n{rest}" if rest else "")


def _ratio(ax: Axes, dataset: xarray.Dataset) -> None:
    x, y = dataset["measured"].values, dataset["ratio"].values
    ax.axhspan(1 - BAND, 1 + BAND, color=CATAPULT, alpha=0.15, lw=0)
    ax.axhline(1.0, color=style.INK, lw=0.9, ls=(0, (3, 2)), zorder=3)
    good = np.isfinite(y)
    _spans(ax, dataset)
    if (step := int(dataset.attrs.get("diverged_at", -1))) >= 0:
        ax.set_xlim(-0.02 * step, 1.05 * step)  # what comes after is not finite
    if good.any():
        error = np.where(np.isfinite(dataset["ratio_error"].values), dataset["ratio_error"].values, 0.0)
        few = int(good.sum()) <= 130
        ax.fill_between(x[good], (y - error)[good], (y + error)[good], color=CURVATURE, alpha=0.25, lw=0)
        ax.plot(x[good], y[good], color=CURVATURE, marker="o" if few else "", ms=2.2, mew=0)
        top = float(np.nanmax(y[good]))
        if top > 4:
            ax.set_yscale("symlog", linthresh=2.0)
        ax.set_ylim(0.0, max(1.25, 1.1 * top))
    else:
        ax.text(0.5, 0.4, "not measured", transform=ax.transAxes, ha="center", color=style.GREY)
    ax.set_ylabel(f"{dataset.attrs.get('kind', 'sharpness')}\n/ threshold")


def _loss(ax: Axes, dataset: xarray.Dataset) -> None:
    x, y = dataset["step"].values, dataset["loss"].values
    step = int(dataset.attrs.get("diverged_at", -1))
    good = np.isfinite(y)
    if step >= 0 and good.any():
        good &= y <= GONE * y[good][0]  # beyond, it only squares and cubes
    _spans(ax, dataset)
    if good.any():
        ax.plot(x[good], y[good], color=LOSS)
        low, high = float(y[good].min()), float(y[good].max())
        if low > 0:
            ax.set_yscale("log")
            ax.set_ylim(low / 1.5, high * 1.5)
    if step >= 0:
        ax.axvline(step, color="#D55E00", lw=0.9)
        there: dict[str, Any] = {"xycoords": ("data", "axes fraction"), "ha": "right", "va": "top", "rotation": 90}
        ax.annotate("not finite", (step, 0.95), fontsize="small", **there)
    if ax.get_yscale() == "log":
        few_decades(ax)
    ax.set_ylabel("loss")


def _spans(ax: Axes, dataset: xarray.Dataset) -> None:
    """A stripe for every spike: catapults in colour, others grey."""
    end = float(dataset["step"].values[-1]) if dataset.sizes["step"] else 0.0
    end = min(end, step) if (step := int(dataset.attrs.get("diverged_at", -1))) >= 0 else end
    spikes = zip(dataset["spike_start"].values, dataset["spike_end"].values, dataset["spike_is_catapult"].values, strict=True)
    for start, stop, catapult in spikes:
        ax.axvspan(start, stop if np.isfinite(stop) else end, color=CATAPULT if catapult else OTHER, alpha=0.35, lw=0, zorder=0)
