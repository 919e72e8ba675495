"""Two-layer ReLU nets: relative distance against width, S_w against gamma, over the plane, and against the exponents."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import LinearSegmentedColormap, TwoSlopeNorm
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import FuncFormatter, NullFormatter

from trainphase.figures import style
from trainphase.phase import REGIME
from trainphase.theory import relu2

if TYPE_CHECKING:
    import xarray

LINEAR, CRITICAL, CONDENSED = (REGIME.phases[REGIME.index(name)].colour for name in ("linear", "critical", "condensed"))
# Marks of the three regimes, and of the five sectors of the map of exponents.
LOOKS = ((LINEAR, "o"), (CRITICAL, "s"), (CONDENSED, "^"))
SECTOR_LOOKS: dict[str, tuple[str, str]] = dict(
    zip(relu2.SECTORS, (("#D55E00", "o"), ("#E69F00", "s"), ("#009E73", "D"), ("#0072B2", "^"), ("#CC79A7", "v")), strict=True)
)
# Reddish below zero, bluish above, white at zero.
SLOPES = LinearSegmentedColormap.from_list("slopes", [LINEAR, "#F7D9C4", "#FFFFFF", "#C7DFEE", CONDENSED])
STAR: dict[str, Any] = {"marker": "*", "ms": 8.5, "mfc": "#F0E442", "mec": style.INK, "mew": 0.6, "ls": "none"}
TOP = 0.6  # slopes beyond have the last colour
CAPS: dict[str, Any] = {"elinewidth": 0.8, "capsize": 1.6, "capthick": 0.8}
MINUS = "\N{MINUS SIGN}"


def number(value: float, digits: int = 2) -> str:
    """A signed number as figures print it."""
    return f"{value:+.{digits}f}".replace("-", MINUS)


# --- relative distance against width ------------------------------------------------------------------------


def distances(dataset: xarray.Dataset) -> Figure:
    """RD against the width, a panel for each point, a mark for each seed, and the fitted line with its slope.

    ``distance`` (point, width, seed), ``slope`` and ``slope_se`` (point), coordinates ``gamma`` and ``gamma_prime``.
    """
    with style.context():
        fig = style.figure(style.DOUBLE, 2.3)
        axes = fig.subplots(1, dataset.sizes["point"], squeeze=False)[0]
        for k, ax in enumerate(axes):
            style.pin(ax)
            row = dataset.isel(point=k)
            _ladder(ax, row, *LOOKS[k % len(LOOKS)])
            ax.set_title(f"({'abcdef'[k]})", loc="left")
            ax.set_title(rf"$\gamma$ = {float(row['gamma']):g}", loc="right", fontsize="small")
            ax.set_xlabel("width $m$")
        axes[0].set_ylabel("relative distance RD")
        return fig


def _ladder(ax: Axes, row: xarray.Dataset, colour: str, mark: str) -> None:
    widths, values, slope = row["width"].values, row["distance"].transpose("width", "seed").values, float(row["slope"])
    ax.plot(widths, values, marker=mark, ms=3.6, mec=colour, mfc="none", mew=0.8, ls="none")
    centre = np.exp(np.log(values).mean())
    fit = centre * (widths / np.exp(np.log(widths).mean())) ** slope
    label = f"slope {number(slope, 3)} \N{PLUS-MINUS SIGN} {float(row['slope_se']):.3f}"
    ax.plot(widths, fit, color=style.GREY, lw=1.0, label=label, zorder=1.5)
    ax.set(xscale="log", yscale="log")
    # At least a factor of two in all, lest the scatter of a level line fill the panel.
    low, high = (float(v) for v in (values.min(), values.max()))
    spread = max(high / low, 2.0) ** 0.5 * 1.15
    middle = (low * high) ** 0.5
    ax.set_ylim(middle / spread, middle * spread)
    _plain_ticks(ax, middle / spread, middle * spread)
    ax.set_xticks([1e3, 1e4])
    ax.xaxis.set_minor_formatter(NullFormatter())
    ax.legend(loc="upper left" if slope > 0.1 else "upper right", handlelength=1.2)


def _plain_ticks(ax: Axes, low: float, high: float) -> None:
    """Ticks at 1, 2 and 5 of every decade, written out."""
    decades = np.arange(np.floor(np.log10(low)), np.ceil(np.log10(high)) + 1)
    steps = (1.0, 2.0, 5.0) if high / low > 3 else (1.0, 1.5, 2.0, 2.5, 3.0, 4.0, 5.0, 7.0)
    ticks = [s * 10.0**d for d in decades for s in steps if low <= s * 10.0**d <= high]
    ax.set_yticks(ticks)
    ax.yaxis.set_major_formatter(FuncFormatter(lambda v, _: f"{v:g}"))
    ax.yaxis.set_minor_formatter(NullFormatter())


# --- scales -------------------------------------------------------------------------------------------------

PAIRS = {0.0: r"$\beta_1 = \beta_2 = 1$", 0.5: r"$\beta_1 = \beta_2 = m^{-1/2}$", 1.0: r"$\beta_1 = \beta_2 = m^{-1}$"}
PAIR_LOOKS = (("#0072B2", "o", 8.5), ("#E69F00", "s", 5.5), ("#009E73", "D", 2.6))


def scales(dataset: xarray.Dataset) -> Figure:
    """S_w against gamma at gamma' = 0 for pairs of scales, on top of each other, with the exponent of theory.

    ``slope`` (power, gamma), ``normalised`` (gamma).
    """
    with style.context():
        fig = style.figure(style.SINGLE, 2.7)
        ax = fig.subplots()
        style.pin(ax)
        gamma = dataset["gamma"].values
        fine = np.linspace(gamma[0] - 0.05, gamma[-1] + 0.05, 201)
        ax.axhline(0, color=style.GREY, lw=0.6)
        ax.plot(fine, relu2.slope(fine, 0.0), color=style.INK, lw=0.9, ls=style.dashes(True), label="theory")
        cross: dict[str, Any] = {"marker": "x", "ms": 9, "mew": 0.8, "color": style.INK, "ls": "none"}
        ax.plot(gamma, dataset["normalised"].values, label="normalised flow", **cross)
        for k, power in enumerate(dataset["power"].values):
            colour, mark, size = PAIR_LOOKS[k % len(PAIR_LOOKS)]
            label = PAIRS.get(float(power), rf"$\beta_1 = \beta_2 = m^{{-{power:g}}}$")
            values, face = dataset["slope"].values[k], "none" if k < 2 else colour
            ax.plot(gamma, values, color=colour, lw=0.8, marker=mark, ms=size, mfc=face, mew=1.0, label=label)
        ax.set(xlabel=r"$\gamma$", ylabel="$S_w$", xlim=(fine[0], fine[-1]))
        ax.legend(loc="upper left")
        return fig


# --- the plane ----------------------------------------------------------------------------------------------


def slope_map(dataset: xarray.Dataset) -> Figure:
    """S_w over the plane: red where it is negative (linear), blue where positive (condensed); zeros, and critical lines.

    ``slope`` (gamma_prime, gamma), NaN where it is not known; ``zero`` and ``rule`` (gamma_prime).
    """
    with style.context():
        fig = style.figure(1.25 * style.SINGLE, 3.5)
        ax = fig.subplots()
        style.pin(ax)
        spans = [_span(dataset[name].values) for name in ("gamma", "gamma_prime")]
        values = dataset["slope"].transpose("gamma_prime", "gamma").values
        options: dict[str, Any] = {"cmap": SLOPES, "norm": TwoSlopeNorm(0.0, -TOP, TOP)}
        x, y = (np.linspace(*span, dataset.sizes[n] + 1) for span, n in zip(spans, ("gamma", "gamma_prime"), strict=True))
        image = style.cells(ax, (x, True), (y, True), values, **options)
        line = relu2.critical_line(*spans[1])
        handles = ax.plot(*line.T, color=style.INK, lw=1.2, ls=style.dashes(True), label="theory, infinite width")
        rows = dataset["gamma_prime"].values
        widths = np.atleast_1d(dataset.attrs["widths"])
        look: dict[str, Any] = {"color": style.INK, "lw": 0.8, "ls": style.dashes(False)}
        handles += ax.plot(dataset["rule"].values, rows, label="rule, these widths", **look)
        handles += ax.plot(dataset["zero"].values, rows, zorder=4, label="measured zero", **STAR)
        ax.set(xlabel=r"$\gamma$", ylabel=r"$\gamma'$", xlim=spans[0], ylim=spans[1])
        bar = fig.colorbar(image, ax=ax, location="right", aspect=28, pad=0.02, extend="both")
        bar.set_label("$S_w$", labelpad=2)
        bar.ax.tick_params(length=2, width=0.6)
        seeds = int(dataset.attrs["seeds"])
        words = f"widths {int(widths[0])} to {int(widths[-1])}, {seeds} seed{'s' if seeds > 1 else ''}"
        ax.set_title(words, loc="right", fontsize="small")
        style.legend(fig, handles)
        return fig


def _span(values: np.ndarray) -> tuple[float, float]:
    """Edges of cells around values that are evenly spaced."""
    half = 0.5 * float(values[1] - values[0])
    return float(values[0]) - half, float(values[-1]) + half


# --- exponents ----------------------------------------------------------------------------------------------


def exponents(data: dict[str, xarray.Dataset]) -> Figure:
    """Measured S_w against the exponent by sector, and their difference point by point; shaded: within 0.05.

    ``points``, ``lazy`` and ``gaussian``, each with ``slope``, ``slope_se``, ``theory`` (point), ``gamma`` and ``gamma_prime``.
    ``lazy``, open marks: four points in one dimension where these deviate, in the sector a-lazy.
    """
    with style.context():
        fig = style.figure(0.9 * style.DOUBLE, 3.3)
        left, right = fig.subplots(1, 2, gridspec_kw={"width_ratios": (1.0, 1.2)})
        rows = _rows(data)
        exponent = np.array([row[2] for row in rows])
        ends = np.array([exponent.min() - 0.2, exponent.max() + 0.25])
        for ax in (left, right):
            style.pin(ax)
        left.fill_between(ends, ends - 0.05, ends + 0.05, color="#E0E0E0", lw=0, zorder=0.5)
        left.plot(ends, ends, color=style.INK, lw=0.7, zorder=1)
        right.axvspan(-0.05, 0.05, color="#E0E0E0", lw=0, zorder=0.5)
        right.axvline(0, color=style.INK, lw=0.7, zorder=1)
        for k, (gamma, prime, theory, slope, error, one) in enumerate(rows):
            colour, mark = SECTOR_LOOKS[relu2.sector(gamma, prime)]
            look: dict[str, Any] = {"color": colour, "marker": mark, "ms": 4.4, "mew": 0.9, "ls": "none", **CAPS}
            look["mfc"] = "white" if one else colour
            left.errorbar(theory, slope, np.nan_to_num(error), **look)
            right.errorbar(slope - theory, k, xerr=np.nan_to_num(error), **look)
        left.set(xlabel="exponent of theory", ylabel="measured $S_w$", xlim=ends, ylim=ends)
        names = [f"({g:g}, {p:g})".replace("-", MINUS) + (" 1-D" if one else "") for g, p, *_, one in rows]
        right.set_yticks(range(len(rows)), names)
        right.set(ylim=(len(rows) - 0.4, -0.6), xlabel="measured less theory", ylabel=r"$(\gamma, \gamma')$")
        right.tick_params(axis="y", length=0)
        handles = [Line2D([], [], color=c, marker=m, ms=4.4, ls="none", label=s) for s, (c, m) in SECTOR_LOOKS.items()]
        grey = Line2D([], [], color=style.GREY, marker="v", mfc="white", ms=4.4, ls="none", label="a-lazy on four points (1-D)")
        style.legend(fig, [*handles, grey])
        for letter, ax in zip("ab", (left, right), strict=True):
            ax.set_title(f"({letter})", loc="left")
        return fig


def _rows(data: dict[str, xarray.Dataset]) -> list[tuple[float, float, float, float, float, bool]]:
    """(gamma, gamma', exponent, slope, error, whether the four points deviate there) by sector."""
    found = []
    for name, part in data.items():
        columns = (part[k].values for k in ("gamma", "gamma_prime", "theory", "slope", "slope_se"))
        for g, p, t, s, e in zip(*columns, strict=True):
            one = name == "lazy"
            found.append((float(g), float(p), float(t), float(s), float(e), one))
    return sorted(found, key=lambda row: (row[5], int(relu2.sector_index(row[0], row[1])), row[0]))
