"""The quadratic regression model with many data over the plane of its widths, and first against final curvature."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import LinearSegmentedColormap, to_rgba
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch

from trainphase.errors import RequestError
from trainphase.figures import plane, style
from trainphase.figures.many_data import CURVATURE, EDGE_HANDLE, WIDTH_J, WIDTH_Z, edge_line
from trainphase.phase import NOT_COMPUTED

if TYPE_CHECKING:
    import xarray

Lines = Iterable[Mapping[str, Any]]
TOP = 3.0
# Dark blue for 0 over white-green towards 2, warm beyond: 2 is where the hue changes.
SHADES = LinearSegmentedColormap.from_list(
    "edge", [(0.0, "#0B2545"), (0.3, "#2A6F97"), (0.5, "#A9D6C5"), (0.6667, "#F7F3B2"), (0.8, "#E8904C"), (1.0, "#8C1C13")]
)
DIVERGED = "#BDBDBD"


def page(dataset: xarray.Dataset, again: xarray.Dataset | None = None, theory: Lines = ()) -> Figure:
    """Median final curvature, most frequent phase, and the share of seeds at the edge, over (sigma_z, sigma_J).

    Parameters
    ----------
    dataset : a diagram's, ``phase`` and ``curvature`` of dims (sigma_z, sigma_J, seed).
    again : some of the seeds in another precision; cells with a label that differs get a dot in the second panel.
    theory : lines over the plane, as for :func:`plane.draw`.

    Raises RequestError without seeds.
    """
    if "seed" not in dataset["phase"].dims:
        raise RequestError("the dataset has no axis 'seed', and the figure shows medians over seeds; compute several seeds")
    words = style.vocabulary(dataset)
    x, y = (style.coordinate(dataset, name) for name in ("sigma_z", "sigma_J"))
    frame = ((x.edges, x.regular), (y.edges, y.regular))
    codes = dataset["phase"].transpose("sigma_z", "sigma_J", "seed").values
    theory = list(theory)
    with style.context():
        fig = style.figure(style.DOUBLE, 3.3)
        panels = fig.subplots(1, 3, sharey=True, gridspec_kw={"wspace": 0.05}).tolist()
        for ax in panels:
            style.pin(ax)
        image = _median(panels[0], dataset, frame)
        _bar(image, panels[0], f"median final {CURVATURE}", np.arange(0.0, 3.1, 0.5), extend="max")
        plane.draw(dataset, panels[1], names=True, legend=False)
        for line in theory:
            for ax in panels:
                ax.plot(*np.asarray(line["points"], float).T, **_dashed(line))
        if again is not None:
            _differing(panels[1], dataset, again)
        at = (codes == words.index("edge-of-stability")).mean(-1)
        share = style.cells(panels[2], *frame, 100 * at.T, cmap="Greens", vmin=0, vmax=100)
        _bar(share, panels[2], "seeds at the edge of stability (%)", np.arange(0.0, 101.0, 25.0))
        for ax, text in zip(panels, ("a", "b", "c"), strict=True):
            ax.set_xlabel(WIDTH_Z)
            ax.set_ylabel(WIDTH_J if text == "a" else "")
            ax.text(0.96, 0.95, f"({text})", transform=ax.transAxes, ha="right", va="top")
        panels[1].set_title("most frequent phase", fontsize="medium", pad=4)
        handles: list[Any] = [*style.phase_handles(words.consensus(dataset["phase"]), words)]
        handles.append(Patch(facecolor=DIVERGED, edgecolor=style.INK, linewidth=0.4, label="median diverges"))
        handles += [
            Line2D([], [], label=str(line["name"]), **_dashed(line)) for line in theory
        ]
        if again is not None:
            dot: dict[str, Any] = {"ls": "none", "marker": "o", "ms": 2.4, "mew": 0, "color": style.INK}
            handles.append(Line2D([], [], **dot, label=f"label differs in double precision ({again.sizes['seed']} seeds)"))
        style.legend(fig, handles)
        fig.suptitle(_words(dataset), fontsize="medium")
    return fig


def _bar(image: Any, ax: Axes, label: str, ticks: np.ndarray, **options: Any) -> None:
    """The scale of an image, above its panel."""
    fig: Any = ax.figure
    bar = fig.colorbar(image, ax=ax, location="top", fraction=0.05, pad=0.02, ticks=ticks.tolist(), **options)
    bar.set_label(label)
    bar.outline.set(linewidth=0.5)


def _dashed(line: Mapping[str, Any]) -> dict[str, Any]:
    return {"color": style.INK, "lw": 0.8, "ls": style.dashes(bool(line.get("exact", True)))}


def _words(dataset: xarray.Dataset) -> str:
    attrs, seeds = dataset.attrs, dataset.sizes["seed"]
    return f"$D = {attrs['D']}$, $P = {attrs['P']}$, {seeds} seeds. Cells share the draws of a seed: spreads are over seeds only"


def _median(ax: Axes, dataset: xarray.Dataset, frame: Any) -> Any:
    """The median over seeds, runs that diverge counted beyond all others; the cells where it is one of these in grey."""
    words = style.vocabulary(dataset)
    values = dataset["curvature"].transpose("sigma_z", "sigma_J", "seed").values.astype(float)
    gone = dataset["phase"].transpose("sigma_z", "sigma_J", "seed").values == words.index("divergent")
    values = np.where(gone, np.inf, values)
    with np.errstate(invalid="ignore"):
        middle = np.quantile(values, 0.5, axis=-1, method="lower")
    ax.set_facecolor(DIVERGED)
    shown = np.ma.masked_invalid(middle.T)
    across, up = frame
    return style.cells(ax, across, up, shown, cmap=SHADES, vmin=0.0, vmax=TOP)


def _differing(ax: Axes, dataset: xarray.Dataset, again: xarray.Dataset) -> None:
    same = dataset["phase"].sel(seed=again["seed"])
    differ = (same.values != again["phase"].values) & (again["phase"].values != NOT_COMPUTED)
    where = np.argwhere(differ.any(-1))
    x, y = dataset["sigma_z"].values, dataset["sigma_J"].values
    ax.plot(x[where[:, 0]], y[where[:, 1]], ls="none", marker="o", ms=1.8, mew=0, color=style.INK, zorder=4)


# --- first against final curvature --------------------------------------------------------------------------


def scatter(shapes: Sequence[xarray.Dataset], spread: xarray.Dataset) -> Figure:
    """Initial against final curvature, one panel per shape (D, P), and the spread of the final ones by shape.

    Parameters
    ----------
    shapes : diagrams over (sigma_z, sigma_J, seed) with ``phase``, ``curvature`` and ``curvature_start``; attributes D, P.
    spread : ``iqr``, ``median`` and their ``_se`` of dim (shape,), with coordinates D and P.
    """
    words = style.vocabulary(shapes[0])
    with style.context():
        fig = style.figure(style.DOUBLE, 4.3)
        grid = fig.subplots(2, 3, gridspec_kw={"wspace": 0.05, "hspace": 0.06})
        panels = grid.ravel().tolist()
        present = []
        for k, (ax, data) in enumerate(zip(panels, shapes, strict=False)):
            style.pin(ax)
            present.append(_cloud(ax, data, words))
            ax.set_title(f"$D = {data.attrs['D']}$, $P = {data.attrs['P']}$", fontsize="medium", pad=3)
            if k % 3 == 0:
                ax.set_ylabel(f"final {CURVATURE}")
            else:
                ax.tick_params(labelleft=False)
            if k >= 2:
                ax.set_xlabel("initial curvature")
            else:
                ax.tick_params(labelbottom=False)
        style.pin(panels[5])
        _spread(panels[5], spread)
        codes = np.concatenate([np.unique(c) for c in present])
        style.legend(fig, [*style.phase_handles(codes, words), Line2D([], [], **EDGE_HANDLE), Line2D(
            [], [], color=style.GREY, lw=0.7, label="final = initial")])  # fmt: skip
        fig.suptitle(f"{spread.attrs['seeds']} seeds, whose draws all cells share; error bars are over seeds", fontsize="medium")
    return fig


def _cloud(ax: Axes, data: xarray.Dataset, words: Any) -> np.ndarray:
    """The runs that do not diverge, by phase; returns the codes drawn."""
    codes = data["phase"].values.ravel()
    start, end = data["curvature_start"].values.ravel(), data["curvature"].values.ravel()
    shown = np.isfinite(end) & (codes != words.index("divergent")) & (codes != NOT_COMPUTED)
    ax.plot([0, 4], [0, 4], color=style.GREY, lw=0.7, zorder=1)
    # The points of a crowd are small and let others through.
    size, alpha = (2.2, 0.8) if shown.sum() < 1500 else (1.2, 0.45)
    order = np.random.default_rng(0).permutation(np.flatnonzero(shown))  # no phase lies above the others
    rgba = np.asarray([to_rgba(p.colour) for p in words.phases])[codes[order]]
    edges: dict[str, Any] = {"linewidths": 0.0, "alpha": alpha, "rasterized": True, "zorder": 2}
    ax.scatter(start[order], end[order], s=size**2, c=rgba, **edges)
    edge_line(ax)
    ax.set_xlim(0.0, 3.5)
    ax.set_ylim(0.0, 4.0)
    share = 100 * float((codes == words.index("divergent")).mean())
    ax.text(0.97, 0.04, f"{share:.0f} % diverge", transform=ax.transAxes, ha="right", va="bottom", fontsize="small")
    return codes[shown]


def _spread(ax: Axes, spread: xarray.Dataset) -> None:
    """Interquartile range by shape, with standard errors over seeds."""
    at = np.arange(spread.sizes["shape"])
    names = [f"{int(D)}, {int(P)}" for D, P in zip(spread["D"].values, spread["P"].values, strict=True)]
    bars: dict[str, Any] = {"ls": "none", "marker": "o", "ms": 4, "color": style.INK, "elinewidth": 0.9, "capsize": 2}
    ax.errorbar(at, spread["iqr"].values, spread["iqr_se"].values, **bars)
    ax.set_xticks(at, names)
    ax.set_xlim(-0.6, len(at) - 0.4)
    ax.set_ylim(0.0, None)
    ax.set_xlabel("$D, P$")
    ax.yaxis.set_label_position("right")
    ax.yaxis.tick_right()
    ax.set_ylabel("interquartile range\nof final curvature")
    ax.set_title(r"$0.3 \leq \tilde\sigma_z \leq 0.6$, $0.1 \leq \tilde\sigma_J \leq 0.55$", fontsize="medium", pad=3)
