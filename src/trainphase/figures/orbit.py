"""The page of a scalar map: orbit (bifurcation) diagram, Lyapunov exponent and band of phases over one parameter."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import LinearSegmentedColormap
from matplotlib.figure import Figure

from trainphase.errors import RequestError
from trainphase.figures import _panels, style
from trainphase.figures._bins import Columns, Scale, columns, density, span

if TYPE_CHECKING:
    import xarray

# Cells of the density: the more samples, the finer, from about one sample a cell of the attractor to a printed dot.
MOST_COLUMNS, LEAST_COLUMNS = 1600, 500
INKS = LinearSegmentedColormap.from_list("ink", ["#FFFFFF", "#8FA9C4", "#3B5F86", "#14253D", "#000000"])
# Share of a column's samples in one cell at which the shade leaves the paper's white: the logarithm starts there.
FAINT = 2e-4


def counts(dataset: xarray.Dataset) -> tuple[np.ndarray, Columns, tuple[float, float]]:
    """How many samples of the attractor lie in each cell (rows, columns), the columns, and the range of the residual.

    Every sample in range is counted once; points that diverge have none. Raises RequestError without ``orbit``.
    """
    axis = _panels.only_axis(dataset)
    if "orbit" not in dataset:
        raise RequestError("the dataset has no variable 'orbit'; give the diagram of a scalar map, or draw a line page")
    scale = style.coordinate(dataset, axis)
    samples = _samples(dataset, axis, scale)
    width = int(np.clip(np.sqrt(10 * samples.size), LEAST_COLUMNS, MOST_COLUMNS))
    cols = columns(scale, width)
    low, high = span(samples)
    return density(samples, cols, low, high, max(200, width // 3)), cols, (low, high)


def _samples(dataset: xarray.Dataset, axis: str, scale: Scale) -> np.ndarray:
    samples = _panels.rows_of(dataset, "orbit", axis, scale)
    words = style.vocabulary(dataset)
    if "divergent" not in words.labels:
        return samples
    gone = words.consensus(dataset["phase"])[scale.order] == words.index("divergent")
    return np.where(gone[:, None], np.nan, samples) if np.isfinite(samples[gone]).any() else samples


def draw(dataset: xarray.Dataset, ax: Axes | None = None, title: str | None = None) -> Axes:
    """The orbit diagram alone: the density of the attractor at each parameter, dark where it is great, log shades.

    Returns the axes. Raises RequestError when the dataset has no ``orbit`` or more than one axis.
    """
    axis = _panels.only_axis(dataset)
    number, cols, (low, high) = counts(dataset)
    scale = style.coordinate(dataset, axis)
    with style.context(ax):
        target = ax if ax is not None else style.figure(style.DOUBLE, 3.4).add_subplot()
        if ax is None:
            style.pin(target)
        target.set_xscale("log" if scale.log else "linear")
        share = number / np.maximum(number.sum(0), 1)
        shade = np.log1p(share / FAINT) / np.log1p(1 / FAINT)
        rows = (np.linspace(low, high, number.shape[0] + 1), True)
        image = style.cells(target, (cols.edges, cols.regular), rows, shade, cmap=INKS, vmin=0, vmax=0.8)
        if hasattr(image, "set_interpolation"):
            image.set_interpolation("bilinear")  # smooth, as phases must not be
        target.set_xlabel(style.label_of(dataset[axis]))
        target.set_ylabel(style.label_of(dataset["orbit"], "residual $z$"))
        if title:
            target.set_title(title)
    return target


def page(dataset: xarray.Dataset, theory: Iterable[Mapping[str, Any]] = (), title: str | None = None) -> Figure:
    """Band of phases, orbit diagram and Lyapunov exponent over one parameter, two columns wide.

    However many points there are, every one counts: samples are binned exactly, the exponent is drawn as median and
    range of each pixel column, the band as the most frequent phase. Lines of the theory go through all panels.
    Returns the figure. Raises RequestError when the dataset has no ``orbit`` or more than one axis.
    """
    axis = _panels.only_axis(dataset)
    scale = style.coordinate(dataset, axis)
    cols = _panels.columns_for(scale, style.DOUBLE)
    below = ["lyapunov"] if "lyapunov" in dataset else []
    with style.context():
        fig, panels = _panels.stack(style.DOUBLE, [0.17, 3.0, *([1.1] * len(below))], scale, 0.85)
        codes = _panels.band(panels[0], dataset, scale, cols)
        draw(dataset, panels[1])
        panels[1].set_xlabel("")
        if below:
            _panels.lyapunov(panels[2], dataset, axis, scale, cols)
        return _panels.finish(fig, panels, dataset, theory, codes, title)
