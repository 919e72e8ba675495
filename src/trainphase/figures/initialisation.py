"""The phase diagrams of initialisations: regimes, critical lines, contours of the exponent, and where networks lie.

``draw`` is the plane (gamma, gamma') of two layers (Luo et al. 2021), ``draw3`` the plane (gamma3, gamma2) of three
(Zhou et al. 2022). Both show closed forms of ``theory`` and the one place they are given.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import LinearSegmentedColormap, TwoSlopeNorm, to_rgb
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch

from trainphase.figures import style
from trainphase.phase import REGIME
from trainphase.theory import relu2, relu3

if TYPE_CHECKING:
    import xarray

LINEAR, CRITICAL, CONDENSED = (REGIME.phases[REGIME.index(name)].colour for name in relu2.REGIMES)
# Okabe and Ito's colours too: regions of three layers in which one layer is linear and the other condensed.
W1_ONLY, W2_ONLY = "#009E73", "#F0E442"
TINT = 0.4
STAR = "#CC79A7"
REGIONS3 = (("both linear", LINEAR), ("$W_1$ condensed", W1_ONLY), ("$W_2$ condensed", W2_ONLY), ("both condensed", CONDENSED))
# Slopes below 0 to those above, through white.
SLOPES = LinearSegmentedColormap.from_list("slopes", [LINEAR, "#FFFFFF", CONDENSED], N=512)
SECTOR_WORDS = (
    (0.5, -0.5, r"$\gamma - 1$"), (0.5, 0.5, r"$\gamma - 1 - 2\gamma'$"), (1.335, 0.75, r"$2(\gamma - 1 - \gamma')$"),
    (1.66, 0.0, r"$(\gamma - 1 - \gamma')/2$"), (1.3, -0.72, r"$\gamma - 1$"),
)  # fmt: skip
# Text, colour, mark and line of the rows of the table; rows that coincide are told apart by the mark.
TABLE_LOOKS: dict[str, tuple[str, str, str, Any]] = {
    "lecun": ("LeCun", "#0072B2", "v", "-"), "he": ("He", "#56B4E9", "^", "-"), "xavier": ("Xavier", "#D55E00", "s", "-"),
    "ntk": ("NTK", "#009E73", "o", "-"), "mean-field": ("mean field", "#E69F00", "D", (0, (3, 3))),
    "e": (r"E et al., $\beta = m^{-3/4}$", "#CC79A7", "P", "-"),
}  # fmt: skip
DOTTED = (0, (1, 1.4))
DASHES3 = {"w1": "-", "w2": (0, (4, 1.6))}
STEP = 0.5  # of the exponent between two contours
# Initialisations that share a limit share a mark.
MARKS = ((("lecun", "he"), "LeCun, He", "v"), (("xavier", "mean-field"), "Xavier, mean field", "s"), (("ntk",), "NTK", "^"))
Place = tuple[str, float, float]
Points = dict[str, tuple[float, float]]
Span = tuple[float, float]


def draw(ax: Axes | None = None, *, place: Place | None = None, width: int | None = None, inputs: int | None = None) -> Axes:
    """Draw the diagram of two layers.

    Parameters
    ----------
    ax : axes to draw into, under the settings in force; without them a figure one column wide is made.
    place : (name, gamma, gamma') of a network, marked with a star.
    width, inputs : with both, each named initialisation has an open mark where it lies at that width, joined to its
        limit; with a width, the star has a bar of one blur, 1 / ln m, to either side.
    """
    with style.context(ax):
        target = _axes(ax)
        _finish(target, _diagram(target, place, width, inputs), own=ax is None)
        _contours(target, target.get_xlim(), target.get_ylim())
    return target


def _diagram(ax: Axes, place: Place | None = None, width: int | None = None, inputs: int | None = None) -> list[Any]:
    """The diagram of two layers without its contours; legend entries."""
    finite = _finite(2, width, inputs)
    (left, right), (low, high) = _limits(ax, finite, place, ((0.0, 2.0), (-1.0, 1.0)))
    line = relu2.critical_line(low, high)
    ax.fill_betweenx(line[:, 1], left, line[:, 0], color=_tint(LINEAR), lw=0, zorder=0.5)
    ax.fill_betweenx(line[:, 1], line[:, 0], right, color=_tint(CONDENSED), lw=0, zorder=0.5)
    edge: dict[str, Any] = {"color": CRITICAL, "lw": 2.6, "label": "critical", "zorder": 2.5, "solid_joinstyle": "miter"}
    ax.plot(*line.T, **edge)
    ends = np.array([max(left, low), min(right, high)])
    dots: dict[str, Any] = {"color": style.GREY, "lw": 0.9, "ls": DOTTED, "zorder": 2.2}
    ax.plot(ends, ends, **dots)
    ax.set_xlabel(r"$\gamma$")
    ax.set_ylabel(r"$\gamma'$")
    handles: list[Any] = [_box("linear", LINEAR), Line2D([], [], **edge), _box("condensed", CONDENSED)]
    handles += [*_marks(ax, finite, 2), Line2D([], [], **dots, label="E et al.")]
    return handles + _star(ax, place, width)


def draw3(ax: Axes | None = None, *, place: Place | None = None, width: int | None = None, inputs: int | None = None) -> Axes:
    """Draw the diagram of three layers: four regions by the regimes of W1 and W2; arguments as in :func:`draw`."""
    with style.context(ax):
        target = _axes(ax)
        finite = _finite(3, width, inputs)
        (left, right), (low, high) = _limits(target, finite, place, ((0.5, 3.5), (-1.0, 1.5)))
        regions3(target, (left, right), (low, high))
        handles: list[Any] = [_box(text, colour) for text, colour in REGIONS3]
        handles += [line3(target, layer, (low, high)) for layer in relu3.LAYERS]
        target.set_xlabel(r"$\gamma_3$")
        target.set_ylabel(r"$\gamma_2$")
        handles += [*_marks(target, finite, 3), *_star(target, place, width)]
        _finish(target, handles, own=ax is None)
    return target


def regions3(ax: Axes, x: Span, y: Span) -> None:
    """Fill the four regions of three layers within the spans, in the colours of ``REGIONS3``."""
    # The critical lines bend at gamma2 = 0 and 1/2, and cross at 1/2: these rows make the regions exact.
    rows = np.unique([*y, *(v for v in (0.0, 0.5) if y[0] < v < y[1])])
    first, second = (relu3.critical_gamma3(layer, rows) for layer in relu3.LAYERS)
    lower, upper = np.minimum(first, second), np.maximum(first, second)
    look: dict[str, Any] = {"lw": 0, "zorder": 0.5}
    ax.fill_betweenx(rows, x[0], lower, color=_tint(LINEAR), **look)
    ax.fill_betweenx(rows, upper, x[1], color=_tint(CONDENSED), **look)
    for where, colour in ((first <= second, W1_ONLY), (second <= first, W2_ONLY)):
        ax.fill_betweenx(rows, lower, upper, where=where.tolist(), color=_tint(colour), **look)


def line3(ax: Axes, layer: str, y: Span) -> Line2D:
    """The critical line of a layer of three-layer nets, over a span of gamma2."""
    look: dict[str, Any] = {"color": style.INK, "lw": 1.3, "ls": DASHES3[layer], "label": f"$W_{layer[1]}$ critical"}
    return ax.plot(*relu3.critical_line(layer, *y).T, zorder=2.5, **look)[0]


def limits3(ax: Axes) -> list[Line2D]:
    """Mark the limits of the named initialisations of three layers; legend entries."""
    return _marks(ax, {}, 3)


def _axes(ax: Axes | None) -> Axes:
    if ax is not None:
        return ax
    made = style.figure(style.SINGLE, 3.9).add_subplot()
    style.pin(made)
    return made


def _tint(colour: str) -> tuple[float, float, float]:
    r, g, b = (1 - TINT * (1 - value) for value in to_rgb(colour))
    return r, g, b


def _box(label: str, colour: str) -> Patch:
    return Patch(facecolor=_tint(colour), edgecolor=style.INK, linewidth=0.4, label=label)


def _finite(layers: int, width: int | None, inputs: int | None) -> Points:
    """Where the named initialisations lie at a width."""
    if width is None or inputs is None:
        return {}
    found: Points = {}
    for name in (name for names, _, _ in MARKS for name in names):
        if layers == 2:
            alpha, beta1, beta2 = relu2.log_scales(name, width, inputs)
            size = math.log(width)
            found[name] = (alpha - beta1 - beta2) / size, (beta2 - beta1) / size
        else:
            found[name] = relu3.coordinates(width, *relu3.log_scales(name, width, inputs))[:2]
    return found


def _limits(ax: Axes, finite: Points, place: Place | None, spans: tuple[Span, Span]) -> list[Span]:
    """Spans of both axes, set: the given ones, widened by steps of a half until every point is well inside."""
    points = [*finite.values(), *([place[1:]] if place is not None else [])]
    found = []
    for k, (low, high) in enumerate(spans):
        values = [p[k] for p in points]
        low = min([low, *(math.floor(2 * (v - 0.1)) / 2 for v in values)])
        high = max([high, *(math.ceil(2 * (v + 0.1)) / 2 for v in values)])
        found.append((low, high))
    ax.set_xlim(*found[0])
    ax.set_ylim(*found[1])
    return found


def _contours(ax: Axes, x: Span, y: Span) -> None:
    """Lines of equal exponent S_w, straight within each sector; the zero is the boundary, which is drawn already."""
    gx, gy = np.linspace(*x, 401), np.linspace(*y, 401)
    values = relu2.slope(gx[None, :], gy[:, None])
    step = STEP * max(1.0, np.ceil(np.ptp(values) / (12 * STEP)))
    levels = step * np.arange(math.ceil(values.min() / step), math.floor(values.max() / step) + 1)
    look: dict[str, Any] = {"colors": [style.INK], "linewidths": 0.4, "linestyles": "-", "alpha": 0.7, "zorder": 1.5}
    drawn = ax.contour(gx, gy, values, levels[levels != 0], **look)
    # Each value where its line is clear of the frame: left to itself, matplotlib writes across it.
    at = []
    for level, pieces in zip(drawn.levels, drawn.allsegs, strict=True):
        points = np.concatenate([*pieces, np.empty((0, 2))])
        share = (points - [x[0], y[0]]) / [np.ptp(x), np.ptp(y)]
        points = points[((share > 0.1) & (share < 0.9)).all(1)]
        if len(points):
            at.append((level, points[int(0.3 * len(points))]))
    if at:
        words: dict[str, Any] = {"fmt": lambda v: f"{v:g}".replace("-", "\N{MINUS SIGN}"), "fontsize": 6.5, "inline_spacing": 2}
        ax.clabel(drawn, [level for level, _ in at], manual=[tuple(where) for _, where in at], **words)


def _marks(ax: Axes, finite: Points, layers: int) -> list[Line2D]:
    """Limits of the named initialisations as filled marks, their places at the width as open ones; legend entries."""
    handles: list[Line2D] = []
    look: dict[str, Any] = {"ls": "none", "mec": style.INK, "mew": 0.7}
    for names, text, marker in MARKS:
        scheme = relu2.SCHEMES[names[0]]
        limit = scheme.limit if layers == 2 else scheme.limit3
        handles += ax.plot(*limit, marker=marker, ms=5.5, mfc=style.INK, label=text, zorder=4, **look)
        for name in names:
            if name in finite and math.dist(finite[name], limit) > 0.01:
                ax.plot(*np.array([limit, finite[name]]).T, color=style.INK, lw=0.6, zorder=3.2)
                ax.plot(*finite[name], marker=marker, ms=5.0, mfc="white", zorder=3.8, **look)
    if finite:
        handles.append(Line2D([], [], marker="o", ms=5.0, mfc="white", label="the same at this width", **look))
    return handles


def _star(ax: Axes, place: Place | None, width: int | None) -> list[Line2D]:
    if place is None:
        return []
    name, x, y = place
    if width is not None:
        ax.errorbar(x, y, xerr=1 / math.log(width), color=STAR, elinewidth=1.2, capsize=2.5, capthick=1.2, zorder=4.8)
    look: dict[str, Any] = {"marker": "*", "ms": 10, "mfc": STAR, "mec": "white", "mew": 0.7, "ls": "none"}
    return ax.plot(x, y, label=name, zorder=5, **look)


def _finish(ax: Axes, handles: list[Any], *, own: bool) -> None:
    figure = ax.get_figure(root=True)
    style.legend(figure if own and figure is not None else ax, handles)  # pyright: ignore[reportArgumentType]
    if own and figure is not None:
        figure.draw_without_rendering()  # labels on contours are cut out of them at the final size


# --- pages --------------------------------------------------------------------------------------------------


def theory(dataset: xarray.Dataset) -> Figure:
    """The diagram of two layers on the left; the exponent by colour with the five sectors and their formulas on the right.

    ``slope`` (gamma, gamma_prime) on even grids.
    """
    with style.context():
        fig = style.figure(style.DOUBLE, 3.7)
        left, right = fig.subplots(1, 2, sharey=True, gridspec_kw={"wspace": 0.07})
        for ax in (left, right):
            style.pin(ax)
        handles = _diagram(left)
        _sectors(right, dataset)
        for letter, ax in zip("ab", (left, right), strict=True):
            ax.set_title(f"({letter})", loc="left")
            ax.set_xticks([0, 0.5, 1, 1.5, 2])
        style.legend(fig, handles)
        fig.draw_without_rendering()  # labels on contours are cut out of them at the final size
        _contours(left, left.get_xlim(), left.get_ylim())
        return fig


def _sectors(ax: Axes, dataset: xarray.Dataset) -> None:
    spans = []
    for name in ("gamma", "gamma_prime"):
        values = dataset[name].values
        half = 0.5 * float(values[1] - values[0])
        spans.append(np.array([*(values - half), values[-1] + half]))
    options: dict[str, Any] = {"cmap": SLOPES, "norm": TwoSlopeNorm(0.0, -3.0, 1.0)}
    image = style.cells(ax, (spans[0], True), (spans[1], True), dataset["slope"].values.T, **options)
    for x, y in (((0, 1), (0, 0)), ((1, 1), (-1, 1)), ((1, 2), (0, 1)), ((1, 2), (0, -1))):
        ax.plot(x, y, color=style.INK, lw=0.8)
    for x, y, words in SECTOR_WORDS:
        ax.text(x, y, words, ha="center", va="center", fontsize=7.5)
    ax.set(xlim=(0, 2), ylim=(-1, 1), xlabel=r"$\gamma$")
    figure = ax.get_figure(root=True)
    bar = figure.colorbar(image, ax=ax, location="right", aspect=28, pad=0.02, ticks=[-3, -2, -1, 0, 0.5, 1])  # pyright: ignore
    bar.set_label("$S_w$", labelpad=2)
    bar.ax.tick_params(length=2, width=0.6)


def table(dataset: xarray.Dataset) -> Figure:
    """gamma and gamma' of drawn weights against the width, on the exact curves, and their limits.

    ``gamma``, ``gamma_prime`` (init, width, seed), with ``_exact`` (init, long_width) and ``_limit`` (init).
    """
    with style.context():
        fig = style.figure(0.86 * style.DOUBLE, 2.9)
        axes = fig.subplots(1, 2)
        handles = []
        for ax, name, word in zip(axes, ("gamma", "gamma_prime"), (r"$\gamma$", r"$\gamma'$"), strict=True):
            style.pin(ax)
            handles = []
            for k, init in enumerate(dataset["init"].values):
                text, colour, mark, dash = TABLE_LOOKS[str(init)]
                row = dataset.isel(init=k)
                ax.plot(row["long_width"].values, row[f"{name}_exact"].values, color=colour, lw=1.0, ls=dash)
                look: dict[str, Any] = {"color": colour, "marker": mark, "ms": 3.6, "mfc": "white", "mew": 0.8}
                ax.plot(row["width"].values, row[name].values, ls="none", **look)
                ax.axhline(float(row[f"{name}_limit"]), color=style.GREY, lw=0.5, ls=DOTTED, zorder=0.5)
                handles.append(Line2D([], [], lw=1.0, ls=dash, label=text, **look))
            ax.set(xscale="log", xlabel="width $m$", ylabel=word)
        handles.append(Line2D([], [], color=style.GREY, lw=0.7, ls=DOTTED, label="limits"))
        for letter, ax in zip("ab", axes, strict=True):
            ax.set_title(f"({letter})", loc="left")
        style.legend(fig, handles)
        return fig
