"""Numbers behind the figures, numpy only: cell edges, and exact aggregation of many points into few pixel columns."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from trainphase.phase import NOT_COMPUTED, Vocabulary

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

# Most samples that are binned at a time, so that a diagram of 64 million samples needs little memory.
CHUNK = 2**22


@dataclass(frozen=True)
class Scale:
    """A coordinate in increasing order, with the cells around its values.

    ``order`` sorts the data along the coordinate; ``edges`` (n + 1) are in the units of the coordinate, halfway between
    values (on a logarithmic scale, geometrically); ``regular`` tells that the cells look equally wide.
    """

    values: Floats
    order: Ints
    edges: Floats
    log: bool
    regular: bool

    @property
    def positions(self) -> Floats:
        """The edges on the scale of the page: the logarithm of a logarithmic coordinate."""
        return np.log(self.edges) if self.log else self.edges


def _even(x: Floats) -> bool:
    steps = np.diff(x)
    # Rounding of linspace and geomspace, in units of a step, stays below 1e-6 for up to 1e9 values.
    return bool(np.ptp(steps) <= 1e-6 * np.abs(steps).max()) if steps.size > 1 else True


def scale_of(values: Any, kind: str | None = None) -> Scale:
    """The scale of a coordinate: logarithmic when ``kind`` is "log", or when the values are in geometric progression.

    A single value gets a cell of relative width 1, so that it can be drawn.
    """
    raw = np.asarray(values, np.float64)
    order = np.argsort(raw, kind="stable")
    x = raw[order]
    positive = bool(x[0] > 0)
    guess = positive and x.size > 2 and not _even(x) and _even(np.log(x))
    log = kind == "log" if kind in ("linear", "log") else guess
    u = np.log(x) if log else x
    if u.size > 1:
        middle = 0.5 * (u[1:] + u[:-1])
        cells = np.concatenate([[2 * u[0] - middle[0]], middle, [2 * u[-1] - middle[-1]]])
    else:
        half = 0.5 if log else 0.5 * (abs(u[0]) or 1.0)
        cells = np.array([u[0] - half, u[0] + half])
    return Scale(x, order, np.exp(cells) if log else cells, log, _even(u))


@dataclass(frozen=True)
class Columns:
    """Pixel columns: ``index`` (n,) is the column of each sorted point, ``edges`` (count + 1) are in data units."""

    index: Ints
    edges: Floats
    regular: bool

    @property
    def count(self) -> int:
        """Number of columns."""
        return self.edges.size - 1

    @property
    def centres(self) -> Floats:
        """Middles of the columns, in data units."""
        return 0.5 * (self.edges[1:] + self.edges[:-1])


def columns(scale: Scale, most: int) -> Columns:
    """One column per point for up to ``most`` points, else ``most`` columns of equal width on the page."""
    n = scale.values.size
    if n <= most:
        return Columns(np.arange(n), scale.edges, scale.regular)
    at = scale.positions
    u = np.log(scale.values) if scale.log else scale.values
    index = np.minimum(((u - at[0]) / (at[-1] - at[0]) * most).astype(np.int64), most - 1)
    edges = np.linspace(at[0], at[-1], most + 1)
    return Columns(index, np.exp(edges) if scale.log else edges, True)


def majority(codes: Any, cols: Columns, vocabulary: Vocabulary) -> NDArray[np.uint8]:
    """The most frequent phase code of each column, ties to the more regular one; 255 where nothing is computed."""
    k = len(vocabulary.phases)
    codes = np.asarray(codes)
    known = codes != NOT_COMPUTED
    flat = cols.index[known] * k + codes[known]
    counts = np.bincount(flat, minlength=cols.count * k).reshape(cols.count, k)
    return np.where(counts.any(1), counts.argmax(1), NOT_COMPUTED).astype(np.uint8)


@dataclass(frozen=True)
class Envelope:
    """Least, median and greatest finite value of each column; NaN where there is none."""

    low: Floats
    middle: Floats
    high: Floats


def envelope(values: Any, cols: Columns) -> Envelope:
    """The envelope of sorted points over the columns. Minus infinity counts as a value, NaN does not."""
    v = np.asarray(values, np.float64)
    use = ~np.isnan(v)
    index, v = cols.index[use], v[use]
    order = np.lexsort((v, index))
    v = v[order]
    size = np.bincount(index, minlength=cols.count)
    start = np.concatenate([[0], np.cumsum(size)[:-1]])
    some = size > 0

    def pick(offset: Ints) -> Floats:
        out = np.full(cols.count, np.nan)
        out[some] = v[(start + offset)[some]]
        return out

    last = np.maximum(size - 1, 0)
    # The lower of the two middles of an even count: a value that occurs, as the ends are.
    return Envelope(pick(np.zeros_like(size)), pick(last // 2), pick(last))


def density(samples: Any, cols: Columns, low: float, high: float, rows: int) -> Ints:
    """How many samples lie in each cell of rows x columns, exact; row 0 starts at ``low``.

    ``samples`` (n, samples) is sorted along the columns. Values outside [low, high] and NaN are not counted.
    """
    data = np.asarray(samples)
    per = max(1, CHUNK // max(data.shape[1], 1))
    counts = np.zeros(rows * cols.count, np.int64)
    for first in range(0, data.shape[0], per):
        z = data[first : first + per].astype(np.float64)
        inside = (z >= low) & (z <= high)
        row = ((np.where(inside, z, low) - low) / (high - low) * rows).astype(np.int64)
        flat = np.minimum(row, rows - 1) * cols.count + cols.index[first : first + per, None]
        counts += np.bincount(flat[inside], minlength=counts.size)
    return counts.reshape(rows, cols.count)


def span(samples: Any, most: int = 2**20) -> tuple[float, float]:
    """Range to draw samples in: all finite ones, unless a few (1 in 1000) would stretch it more than threefold."""
    flat = np.asarray(samples).ravel()
    thin = flat[:: max(1, flat.size // most)].astype(np.float64)
    thin = thin[np.isfinite(thin)]
    if thin.size == 0:
        return -1.0, 1.0
    full = (float(np.nanmin(flat[np.isfinite(flat)])), float(np.nanmax(flat[np.isfinite(flat)])))
    core = (float(np.quantile(thin, 0.0005)), float(np.quantile(thin, 0.9995)))
    low, high = core if full[1] - full[0] > 3 * (core[1] - core[0]) > 0 else full
    pad = 0.04 * (high - low) or 0.5
    return low - pad, high + pad
