"""A phase diagram over two parameters: a map of the phases with the lines of the theory on it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.axis import Axis
from matplotlib.colors import ListedColormap
from matplotlib.font_manager import FontProperties
from matplotlib.lines import Line2D
from matplotlib.patches import Patch
from matplotlib.ticker import FixedLocator, FuncFormatter, NullLocator

from trainphase.errors import RequestError
from trainphase.figures import style
from trainphase.figures._bins import Scale
from trainphase.figures._labels import (
    along_right,
    along_top,
    dense_path,
    exit_of,
    name_regions,
    on_lines,
    path_of,
    short_name,
)

if TYPE_CHECKING:
    import xarray

Lines = Iterable[Mapping[str, Any]]
# Values have ticks of their own up to so many.
MOST_TICKS = 9


def draw(
    dataset: xarray.Dataset, ax: Axes | None = None, theory: Lines = (), boundaries: Lines = (),
    title: str | None = None, *, unstable: bool = False, names: bool = True, legend: bool = True,
) -> Axes:  # fmt: skip
    """Draw the phases of a diagram with two axes; the first axis of ``phase`` is horizontal.

    Parameters
    ----------
    dataset : a diagram's. Over seeds, the most frequent phase is drawn.
    ax : axes to draw into, under the settings in force; without them a figure one column wide is made.
    theory, boundaries : lines ``{"name", "between", "points": [[x, y], ...]}``; a line of the theory with
        ``"exact": False`` is dotted. Boundaries are drawn as points, those that say whether they are ``closed`` as lines.
    unstable : darken the points whose phase changes when the horizon doubles (they need ``phase_half``).
    names : write the phases' names, or letters, into regions with room for them. legend : below the axes.

    Returns the axes. Raises RequestError when the dataset has not two axes.
    """
    axes = style.axis_names(dataset)
    if len(axes) != 2:
        raise RequestError(f"a map of phases needs two axes, and the dataset has {len(axes)} ({', '.join(axes)})")
    theory, boundaries = list(theory), list(boundaries)
    words = style.vocabulary(dataset)
    with style.context(ax):
        target = ax if ax is not None else style.figure(style.SINGLE, 3.3).add_subplot()
        if ax is None:
            style.pin(target)
        x, y = (style.coordinate(dataset, name) for name in axes)
        codes = _rows(words.consensus(dataset["phase"]), x, y)
        _scales(target, x, y)
        _round_ticks(target.xaxis, x)
        _round_ticks(target.yaxis, y)
        style.phase_cells(target, (x.edges, x.regular), (y.edges, y.regular), codes, words)
        handles: list[Any] = list(style.phase_handles(codes, words))
        if unstable:
            handles += _mark_unstable(target, dataset, x, y)
        if boundaries:
            handles.append(_measured(target, boundaries))
        handles += style.theory_handles(theory)
        lines = [(line, path_of(line)) for line in theory]
        for line, points in lines:
            _line(target, points, bool(line.get("exact", True)))
        target.set_xlabel(style.label_of(dataset[axes[0]]))
        target.set_ylabel(style.label_of(dataset[axes[1]]))
        if legend:
            style.legend(target.figure if ax is None else target, handles)  # pyright: ignore[reportArgumentType]
        if ax is None:
            # The frame's size, which the places of labels depend on, is known once everything around it is there.
            target.figure.draw_without_rendering()  # pyright: ignore[reportAttributeAccessIssue]
        paths = [(line, dense_path(target, points)) for line, points in lines]
        above = _name_lines(target, paths, words)
        if names:
            size = 1.05 * mpl.rcParams["font.size"]
            name_regions(target, codes, x, y, words, [path for _, path in paths], size)
        if title:
            target.set_title(title, pad=6.0 + above)
    return target


def _rows(values: np.ndarray, x: Scale, y: Scale) -> np.ndarray:
    """Values over (x, y) as an image: rows along y, both in increasing order."""
    return values[np.ix_(x.order, y.order)].T


def _scales(ax: Axes, x: Scale, y: Scale) -> None:
    ax.set_xscale("log" if x.log else "linear")
    ax.set_yscale("log" if y.log else "linear")


def _round_ticks(axis: Axis, scale: Scale) -> None:
    """Ticks at the values themselves, and nowhere else, where they are few and round and not crowded: widths 8, 16, 32."""
    x, at = scale.values, scale.positions
    few = 1 < x.size <= MOST_TICKS and np.all(x == [float(f"{value:.3g}") for value in x])
    if not few or np.min(np.diff(at)) < (at[-1] - at[0]) / (2 * MOST_TICKS):
        return
    axis.set_major_locator(FixedLocator(scale.values.tolist()))
    axis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    axis.set_minor_locator(NullLocator())


def _line(ax: Axes, points: np.ndarray, exact: bool) -> None:
    """A dashed black line on a white one, so that it shows on every colour."""
    if len(points) == 0:
        return
    ax.plot(*points.T, color="white", lw=2.0, alpha=0.85, solid_capstyle="butt", zorder=3)
    ax.plot(*points.T, color=style.INK, lw=1.0, ls=style.dashes(exact), zorder=3.1)


def _measured(ax: Axes, boundaries: list[Mapping[str, Any]]) -> Line2D:
    if all("closed" in line for line in boundaries):
        options: dict[str, Any] = {"color": style.INK, "lw": 0.6}
        for line in boundaries:
            points = path_of(line)
            ax.plot(*np.concatenate([points, points[: int(line["closed"])]]).T, **options, zorder=2.5)
        return Line2D([], [], **options, label="measured boundary")
    points = np.concatenate([path_of(line) for line in boundaries])
    options = {"ls": "none", "marker": "o", "ms": 1.1, "mew": 0, "color": style.INK}
    ax.plot(*points.T, **options, rasterized=True, zorder=2.5)
    return Line2D([], [], **dict(options, ms=2.5), label="measured boundary")


def _mark_unstable(ax: Axes, dataset: xarray.Dataset, x: Scale, y: Scale) -> list[Patch]:
    if "phase_half" not in dataset:
        raise RequestError("the dataset has no variable 'phase_half', so unstable points are not known; leave them out")
    words = style.vocabulary(dataset)
    changed = _rows(words.consensus(dataset["phase"]) != words.consensus(dataset["phase_half"]), x, y)
    shade = ListedColormap([(0, 0, 0, 0.55)])
    marks = np.ma.masked_where(~changed, np.ones(changed.shape))
    style.cells(ax, (x.edges, x.regular), (y.edges, y.regular), marks, cmap=shade, vmin=0, vmax=2, zorder=2)
    return [Patch(facecolor=(0, 0, 0, 0.55), label="changes with the horizon")] if changed.any() else []


def _name_lines(ax: Axes, paths: list[tuple[Mapping[str, Any], np.ndarray]], words: Any) -> float:
    """Write the short names where the lines leave the frame; returns the height in points used above it."""
    size = FontProperties(size="small").get_size_in_points()
    sides: dict[str, list[tuple[float, str]]] = {"top": [], "right": []}
    inside: list[tuple[np.ndarray, str]] = []
    for line, path in paths:
        name = short_name(line, words)
        if name and len(path):
            side, at = exit_of(path)
            if side == "inside":
                inside.append((path, name))
            else:
                sides[side].append((at, name))
    along_top(ax, [(at, name, name) for at, name in sides["top"]], size)
    along_right(ax, sides["right"], size)
    on_lines(ax, inside, size)
    return 2.0 * size if sides["top"] else 0.0
