"""The deviation 2 - curvature at the edge in the (D, P) model: means with error bars, distribution, and how runs are chosen."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch
from matplotlib.ticker import FixedLocator, FuncFormatter, NullFormatter, NullLocator

from trainphase.figures import style

if TYPE_CHECKING:
    import xarray

# Okabe and Ito's colours, each with a symbol.
LOOKS = (("#0072B2", "o"), ("#D55E00", "s"), ("#009E73", "^"), ("#CC79A7", "D"), ("#E69F00", "v"))
# A mean of fewer seeds is not drawn: its error bar would mean little.
FEWEST = 5
BARS: dict[str, Any] = {"ms": 3, "elinewidth": 0.8, "capsize": 1.6, "capthick": 0.8}
MEAN = r"mean of $2 - \eta\lambda_{\max}$"
SIGMA_Z, SIGMA_J = r"$\tilde{\sigma}_z$", r"$\tilde{\sigma}_J$"
# Colours of the vocabulary where a fate is one of its phases; shades of its yellow for the three kinds at the edge.
FATES = {
    "met": ("settles after meeting the edge", "#C9A400"), "near": ("settles within 0.2 of 2 otherwise", "#F0E442"),
    "fading": ("within 0.2 of 2, still settling", "#F8F3B0"), "off": ("settles elsewhere", "#009E73"),
    "bounded": ("bounded, does not settle", "#E69F00"), "divergent": ("diverges", "#D55E00"),
    "rest": ("undecided, or still settling elsewhere", "#999999"),
}  # fmt: skip


def page(data: Mapping[str, xarray.Dataset]) -> Figure:
    """Six panels from the data of the item ``deviation``; the lower three are of its reference shape.

    (a) mean against sigma_z by size, (b) by D/P, (c) against sigma_J by D/P, all of runs that met the edge; (d) their
    distribution; (e) mean over settled runs within a band, against its width; (f) what becomes of all runs.
    """
    along_z, along_J = data["along_z"], data["along_J"]
    middle = reference(along_z)
    with style.context():
        fig = style.figure(style.DOUBLE, 5.1)
        axes = fig.subplots(2, 3)
        for ax in axes.flat:
            style.pin(ax)
        a, b, c, d, e, f = axes.flat
        _series(a, along_z.isel(shape=_members(along_z, "by_size")), "sigma_z")
        by_ratio = _members(along_z, "by_ratio")
        by_ratio = by_ratio[np.argsort((along_z["D"] / along_z["P"]).values[by_ratio])]
        _series(b, along_z.isel(shape=by_ratio), "sigma_z", first=1)
        _series(c, along_J.isel(shape=by_ratio), "sigma_J", first=1)
        _spread(d, along_z.isel(shape=middle))
        _bands(e, along_z.isel(shape=middle))
        handles = _fates(f, along_z.isel(shape=middle))
        for ax, word in zip((b, c), (SIGMA_Z, SIGMA_J), strict=True):
            ax.set_xlabel(word)
        for ax in (a, d, f):
            ax.set_xlabel(SIGMA_Z)
        for ax in (a, b, c):
            ax.set_ylabel(MEAN)
        c.set_ylim(b.get_ylim())
        for letter, ax in zip("abcdef", axes.flat, strict=True):
            ax.set_title(f"({letter})", loc="left")
        shape = f"$D$, $P$ = {int(along_z['D'][middle])}, {int(along_z['P'][middle])}"
        for ax, words in ((a, r"$D/P$ = 1/2"), (b, "one size"), (c, "one size"), (d, shape), (e, shape), (f, shape)):
            ax.set_title(words, loc="right", fontsize="small")
        style.legend(fig, handles)
        return fig


def reference(dataset: xarray.Dataset) -> int:
    """Index of the shape that stands both in the series of sizes and in that of D/P."""
    both = (dataset["by_size"].values == 1) & (dataset["by_ratio"].values == 1)
    return int(np.flatnonzero(both)[0])


def _members(dataset: xarray.Dataset, series: str) -> np.ndarray:
    return np.flatnonzero(dataset[series].values == 1)


def _ratio(D: int, P: int) -> str:
    """D/P to the nearest power of two, as a fraction."""
    k = round(np.log2(D / P))
    return str(2**k) if k >= 0 else f"1/{2**-k}"


def _steps(span: float) -> tuple[float, ...]:
    """Ticks of a decade."""
    if span < 20:
        return (1, 1.5, 2, 3, 5, 7)
    return (1, 2, 5) if span < 1000 else (1,)


def _log(ax: Axes) -> None:
    """A logarithmic vertical axis with plain numbers."""
    ax.set_yscale("log", nonpositive="clip")
    low, high = ax.get_ylim()
    ticks = [m * 10.0**k for k in range(-5, 2) for m in _steps(high / low)]
    ax.yaxis.set_major_locator(FixedLocator([t for t in ticks if low <= t <= high]))
    ax.yaxis.set_major_formatter(FuncFormatter(lambda v, _: f"{v:g}"))
    ax.yaxis.set_minor_formatter(NullFormatter())


def _series(ax: Axes, dataset: xarray.Dataset, along: str, first: int = 0) -> None:
    """A curve with error bars for each shape, moved aside a little so that bars do not cover each other."""
    at, lows, highs = dataset[along].values, [], []
    apart = 0.12 * float(np.diff(at).min())
    for k in range(dataset.sizes["shape"]):
        row = dataset.isel(shape=k)
        colour, mark = LOOKS[k % len(LOOKS)]
        shown = (row["met_seeds"].values >= FEWEST) & (row["met_mean"].values > 0)
        value, error = row["met_mean"].values[shown], row["met_se"].values[shown]
        D, P = int(row["D"]), int(row["P"])
        label = f"({D}, {P})" if first == 0 else f"{_ratio(D, P)}: ({D}, {P})"
        label += "" if shown.any() else ", too few"
        x = at[shown] + apart * (k - (dataset.sizes["shape"] - 1) / 2)
        ax.errorbar(x, value, error, color=colour, marker=mark, label=label, mew=0, lw=0.8, **BARS)
        lows += list(np.maximum(value - error, 0.3 * value))
        highs += list(value + error)
    if lows:
        ax.set_ylim(0.35 * min(lows), 1.15 * max(highs))  # room for the legend below
    _log(ax)
    ax.set_xlim(at[0] - 5 * apart, at[-1] + 5 * apart)
    ax.legend(title="$(D, P)$" if first == 0 else "$D/P$: $(D, P)$", title_fontsize="small", loc="lower left", handlelength=1.2)


def _spread(ax: Axes, row: xarray.Dataset) -> None:
    """Quantiles of the deviation of the runs that met the edge, and their mean."""
    at, q = row["sigma_z"].values, row["met_quantiles"].transpose("sigma_z", "quantile").values
    shown = row["met_seeds"].values >= FEWEST
    colour = LOOKS[0][0]
    q = np.where(shown[:, None], q, np.nan)
    ax.fill_between(at, q[:, 0], q[:, 4], color=colour, alpha=0.18, lw=0)
    ax.fill_between(at, q[:, 1], q[:, 3], color=colour, alpha=0.32, lw=0)
    ax.plot(at, q[:, 2], color=colour, lw=1.1)
    means, errors = row["met_mean"].values[shown], row["met_se"].values[shown]
    ax.errorbar(at[shown], means, errors, color=style.INK, marker="o", mew=0, lw=0, **BARS)
    ax.set_ylabel(r"$2 - \eta\lambda_{\max}$ of runs that met the edge")
    if np.any(q > 0):
        ax.set_ylim(0.1 * float(np.min(q[q > 0])), 1.3 * float(np.nanmax(q)))
    _log(ax)
    edge = 0.02 * (at[-1] - at[0])
    ax.set_xlim(at[0] - edge, at[-1] + edge)
    handles = [
        Line2D([], [], color=style.INK, marker="o", ms=3, mew=0, ls="none", label="mean"),
        Line2D([], [], color=colour, lw=1.1, label="median"),
        Patch(color=colour, alpha=0.5, lw=0, label="middle half"), Patch(color=colour, alpha=0.18, lw=0, label="5 to 95 %"),
    ]  # fmt: skip
    ax.legend(handles=handles, loc="lower left", handlelength=1.2)


def _bands(ax: Axes, row: xarray.Dataset) -> None:
    """Mean over settled runs within a band around 2, against its half width; apart on the right, runs that met the edge."""
    at, bands = row["sigma_z"].values, row["band"].values
    picked = np.unique(np.linspace(0, at.size - 1, min(at.size, 4)).round().astype(int))
    beyond = bands[-1] * 2.0
    for k, j in enumerate(picked):
        one = row.isel(sigma_z=j)
        colour, mark = LOOKS[k]
        shown = one["band_runs"].values >= FEWEST
        options: dict[str, Any] = {"color": colour, "marker": mark, "lw": 0.8, **BARS}
        means, errors = one["band_mean"].values[shown], one["band_se"].values[shown]
        ax.errorbar(bands[shown], means, errors, mew=0, label=f"{at[j]:g}", **options)
        if int(one["met_seeds"]) >= FEWEST:
            ax.errorbar(beyond * 1.12 ** (k - 1.5), one["met_mean"].item(), one["met_se"].item(), mfc="white", mew=0.8, **options)
    ax.set_xscale("log")
    _log(ax)
    ax.set_xlim(bands[0] / 1.3, beyond * 1.6)
    ax.axvline(beyond / 1.5, color=style.GREY, lw=0.5)
    ax.axvline(0.2, color=style.INK, lw=0.7, ls=(0, (1, 1.4)))
    ax.xaxis.set_major_locator(FixedLocator([*bands, beyond]))
    words = {**{b: f"{b:g}" for b in bands}, beyond: "met"}
    ax.xaxis.set_major_formatter(FuncFormatter(lambda v, _: words[min(words, key=lambda w: abs(w - v))]))
    ax.xaxis.set_minor_locator(NullLocator())
    ax.set_xlabel(r"half width of the band around 2")
    ax.set_ylabel(MEAN)
    ax.legend(title=SIGMA_Z, title_fontsize="small", loc="upper left", handlelength=1.2)


def _fates(ax: Axes, row: xarray.Dataset) -> list[Patch]:
    """Shares of all runs by what becomes of them, stacked; returns legend entries."""
    at, below, handles = row["sigma_z"].values, np.zeros(row.sizes["sigma_z"]), []
    for name, (words, colour) in FATES.items():
        share = row[f"fate_{name}"].values
        ax.fill_between(at, below, below + share, facecolor=colour, edgecolor="white", lw=0.4)
        below = below + share
        handles.append(Patch(facecolor=colour, edgecolor=style.INK, lw=0.4, label=words))
    ax.set(xlim=(at[0], at[-1]), ylim=(0, 1), ylabel="share of runs")
    return handles
