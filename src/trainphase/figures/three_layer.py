"""Three-layer ReLU nets: relative distance against width, the measured diagram, slopes against theory, fits of four points."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import TwoSlopeNorm
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch
from matplotlib.ticker import FuncFormatter, NullFormatter

from trainphase.figures import initialisation, style
from trainphase.phase import REGIME
from trainphase.theory import relu3

if TYPE_CHECKING:
    import xarray

# Colour and mark of each gamma3, from the linear side to the condensed one: those of the regimes.
LOOKS = tuple(zip((p.colour for p in REGIME.phases[:3]), ("o", "s", "^"), strict=True))
LAYER_LOOKS = {"w1": ("#0072B2", "o", "$W_1$"), "w2": ("#D55E00", "s", "$W_2$")}
STAR: dict[str, Any] = {"marker": "*", "ms": 8.5, "mfc": "#F0E442", "mec": style.INK, "mew": 0.6, "ls": "none"}
# Places within the regions for their names, in the order of initialisation.REGIONS3, clear of the lines.
CENTRES = ((1.5, 0.85), (2.15, -0.3), (2.95, 1.12), (3.12, 0.4))
UNKNOWN = "#BDBDBD"
TOP = 1.5  # slopes beyond have the last colour
CAPS: dict[str, Any] = {"elinewidth": 0.8, "capsize": 1.6, "capthick": 0.8}


# --- relative distance against width ------------------------------------------------------------------------


def distances(dataset: xarray.Dataset) -> Figure:
    """RD(W1) on the left and RD(W2) on the right against the width, a mark for each seed, and the fitted lines.

    ``distance`` (point, width, seed, layer), ``slope`` and ``theory`` (point, layer); coordinate ``gamma3`` (point).
    """
    with style.context():
        fig = style.figure(0.86 * style.DOUBLE, 2.7)
        for j, ax in enumerate(fig.subplots(1, 2)):
            style.pin(ax)
            _ladders(ax, dataset.isel(layer=j))
            _, _, name = LAYER_LOOKS[str(dataset["layer"].values[j])]
            ax.set(xlabel="width $m$", ylabel=f"relative distance of {name}")
            ax.set_title(f"({'ab'[j]})", loc="left")
        return fig


def _ladders(ax: Axes, data: xarray.Dataset) -> None:
    widths = data["width"].values
    for k in range(data.sizes["point"]):
        row = data.isel(point=k)
        colour, mark = LOOKS[k % len(LOOKS)]
        values = row["distance"].transpose("width", "seed").values
        look: dict[str, Any] = {"marker": mark, "ms": 3.4, "mec": colour, "mfc": "none", "mew": 0.7, "ls": "none"}
        ax.plot(widths, values, **look)
        middle = np.exp(np.log(values).mean())
        fit = middle * (widths / np.exp(np.log(widths).mean())) ** float(row["slope"])
        slope, theory = (f"{float(row[name]):+.2f}".replace("-", "\N{MINUS SIGN}") for name in ("slope", "theory"))
        label = rf"$\gamma_3$ = {float(row['gamma3']):g}: slope {slope} (theory {theory})"
        ax.plot(widths, fit, color=colour, lw=1.1, label=label)
    ax.set(xscale="log", yscale="log")
    low, high = ax.get_ylim()
    ax.set_ylim(low, high * (high / low) ** 0.42)  # room for the legend
    ax.set_xticks(widths, [f"{m:g}" for m in widths])
    ax.xaxis.set_minor_formatter(NullFormatter())
    ax.tick_params(axis="x", which="minor", bottom=False)
    ax.yaxis.set_major_formatter(FuncFormatter(lambda v, _: f"{v:g}"))
    ax.legend(loc="upper left", handlelength=1.2)


# --- the diagram --------------------------------------------------------------------------------------------


def diagram(dataset: xarray.Dataset) -> Figure:
    """Slopes d ln RD / d ln m of W1 and of W2 over (gamma3, gamma2) with critical lines and measured zeros, and the four regions.

    ``slope`` (gamma3, gamma2, layer), NaN where it is not known; ``crossing`` (gamma2, layer).
    """
    with style.context():
        fig = style.figure(style.DOUBLE, 3.2)
        axes = fig.subplots(1, 3, sharey=True)
        spans = [_span(dataset[name].values) for name in ("gamma3", "gamma2")]
        image: Any = None
        for j, ax in enumerate(axes[:2]):
            image = _slope_map(ax, dataset.isel(layer=j), spans)
        lines = _regions(axes[2], dataset, spans)
        axes[0].set_ylabel(r"$\gamma_2$")
        for letter, ax, words in zip("abc", axes, ("$W_1$", "$W_2$", "regions"), strict=True):
            style.pin(ax)
            ax.set(xlabel=r"$\gamma_3$", xlim=spans[0], ylim=spans[1])
            ax.set_title(f"({letter})", loc="left")
            ax.set_title(words, loc="right", fontsize="small")
        bar = fig.colorbar(image, ax=axes[1], location="right", aspect=28, pad=0.02, extend="both")
        bar.ax.set_title("slope", fontsize="small", pad=8)
        bar.ax.tick_params(length=2, width=0.6)
        zero = Line2D([], [], label="measured zero; in (c) $W_1$ filled, $W_2$ open", **STAR)
        handles: list[Any] = [*lines, zero, *initialisation.limits3(axes[2])]
        if np.isnan(dataset["slope"].values).any():
            handles.append(Patch(color=UNKNOWN, lw=0, label="loss not reached"))
        style.legend(fig, handles)
        return fig


def _span(values: np.ndarray) -> tuple[float, float]:
    """Edges of cells around values that are evenly spaced."""
    half = 0.5 * float(values[1] - values[0])
    return float(values[0]) - half, float(values[-1]) + half


def _slope_map(ax: Axes, data: xarray.Dataset, spans: list[tuple[float, float]]) -> Any:
    """One layer: the measured slopes by cell, the critical line, measured zeros."""
    layer = str(data["layer"].values)
    options: dict[str, Any] = {"cmap": initialisation.SLOPES.with_extremes(bad=UNKNOWN), "norm": TwoSlopeNorm(0.0, -TOP, TOP)}
    x, y = (np.linspace(*span, data.sizes[name] + 1) for span, name in zip(spans, ("gamma3", "gamma2"), strict=True))
    image = style.cells(ax, (x, True), (y, True), data["slope"].transpose("gamma2", "gamma3").values, **options)
    initialisation.line3(ax, layer, spans[1])
    ax.plot(data["crossing"].values, data["gamma2"].values, zorder=4, **STAR)
    return image


def _regions(ax: Axes, dataset: xarray.Dataset, spans: list[tuple[float, float]]) -> list[Line2D]:
    """The four regions with their names, both critical lines, and the measured zeros; legend entries of the lines."""
    initialisation.regions3(ax, *spans)
    lines = [initialisation.line3(ax, layer, spans[1]) for layer in relu3.LAYERS]
    for layer, fill in zip(relu3.LAYERS, (style.INK, "white"), strict=True):
        part = dataset.sel(layer=layer)
        ax.plot(part["crossing"].values, part["gamma2"].values, zorder=4, **dict(STAR, ms=5.5, mfc=fill))
    for (words, _), (x, y) in zip(initialisation.REGIONS3, CENTRES, strict=True):
        ax.text(x, y, words.replace(" ", "\n"), ha="center", va="center", fontsize=7, linespacing=1.15, zorder=3.5)
    return lines


# --- slopes against theory ----------------------------------------------------------------------------------


def slopes(dataset: xarray.Dataset) -> Figure:
    """Measured slopes with standard errors against the exponents of theory, each point by its (gamma3, gamma2).

    ``slope``, ``slope_se`` and ``theory`` (point, layer), coordinates ``gamma3`` and ``gamma2``. Shaded: within 0.1.
    """
    with style.context():
        fig = style.figure(0.86 * style.DOUBLE, 3.0)
        left, right = fig.subplots(1, 2, gridspec_kw={"width_ratios": (1.0, 1.25)})
        for ax in (left, right):
            style.pin(ax)
        bars = dataset["slope_se"].fillna(0)
        reach = [dataset["theory"], dataset["slope"] - bars, dataset["slope"] + bars]
        ends = np.array([min(float(v.min()) for v in reach) - 0.1, max(float(v.max()) for v in reach) + 0.1])
        left.fill_between(ends, ends - 0.1, ends + 0.1, color="#E6E6E6", lw=0, zorder=0.5)
        left.plot(ends, ends, color=style.INK, lw=0.7, zorder=1)
        rows = np.arange(dataset.sizes["point"])[::-1]
        right.axvspan(-0.1, 0.1, color="#E6E6E6", lw=0, zorder=0.5)
        right.axvline(0, color=style.INK, lw=0.7, zorder=1)
        for j, layer in enumerate(dataset["layer"].values):
            colour, mark, name = LAYER_LOOKS[str(layer)]
            part = dataset.isel(layer=j)
            theory, value, error = (part[k].values for k in ("theory", "slope", "slope_se"))
            look: dict[str, Any] = {"color": colour, "marker": mark, "ms": 3.8, "ls": "none", "mew": 0, **CAPS}
            left.errorbar(theory, value, np.nan_to_num(error), label=name, **look)
            right.errorbar(value - theory, rows + 0.14 - 0.28 * j, xerr=np.nan_to_num(error), **look)
        left.set(xlabel="theory", ylabel="measured slope", xlim=ends, ylim=ends)
        left.legend(loc="upper left")
        names = [f"({a:g}, {b:g})" for a, b in zip(dataset["gamma3"].values, dataset["gamma2"].values, strict=True)]
        right.set_yticks(rows, [n.replace("-", "\N{MINUS SIGN}") for n in names])
        right.tick_params(axis="y", length=0)
        right.set(xlabel="measured less theory", ylim=(-0.6, rows[0] + 0.6))
        right.set_ylabel(r"$(\gamma_3, \gamma_2)$")
        for letter, ax in zip("ab", (left, right), strict=True):
            ax.set_title(f"({letter})", loc="left")
        return fig


# --- fits ---------------------------------------------------------------------------------------------------


def fits(dataset: xarray.Dataset) -> Figure:
    """f of trained nets over x, a panel for each gamma3: one seed in colour, the others grey; the data, the linear spline.

    ``f`` and ``f_start`` (gamma3, seed, x), ``x_data`` and ``y`` (datum).
    """
    with style.context():
        fig = style.figure(style.DOUBLE, 2.55)
        axes = fig.subplots(1, dataset.sizes["gamma3"], sharey=True, squeeze=False)[0]
        x, data = dataset["x"].values, dataset["x_data"].values
        for k, ax in enumerate(axes):
            style.pin(ax)
            part, colour = dataset.isel(gamma3=k), LOOKS[k % len(LOOKS)][0]
            ax.plot(x, part["f"].values[1:].T, color="#B5B5B5", lw=0.6)
            ax.plot(x, part["f"].values[0], color=colour, lw=1.4)
            ax.plot(data, dataset["y"].values, color=style.INK, lw=0.7, ls=style.dashes(True), zorder=2.5)
            ax.plot(data, dataset["y"].values, marker="o", ms=4.2, mfc=style.INK, mec="white", mew=0.6, ls="none", zorder=4)
            ax.set_title(f"({'abcdef'[k]})", loc="left")
            ax.set_title(rf"$\gamma_3$ = {float(part['gamma3']):g}", loc="right", fontsize="small")
            ax.set_xlabel("$x$")
            ax.set_xlim(x[0], x[-1])
        axes[0].set_ylabel("$f(x)$")
        handles = [
            Line2D([], [], marker="o", ms=4.2, mfc=style.INK, mec="white", mew=0.6, ls="none", label="data"),
            Line2D([], [], color=style.INK, lw=0.7, ls=style.dashes(True), label="linear spline"),
            Line2D([], [], color=style.INK, lw=1.4, label="a net"), Line2D([], [], color="#B5B5B5", lw=0.6, label="other draws"),
        ]  # fmt: skip
        style.legend(fig, handles)
        return fig
