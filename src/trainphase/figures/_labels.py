"""Where words go in a figure: names of the lines of the theory along the frame, names of phases in their regions."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from scipy import ndimage

from trainphase.errors import RequestError
from trainphase.figures._bins import Scale
from trainphase.figures.style import INK, measure
from trainphase.phase import Vocabulary

Theory = Iterable[Mapping[str, Any]]

# Points per side of the raster on which free places are looked for.
RASTER = 192
# A line that ends this near to a side, as a fraction of the axes, leaves there: it may be sampled coarsely.
NEAR = 0.04
# Points along a line of the theory: fine enough that its end is found to less than a printed dot.
DENSE = 3000


def points_of(ax: Axes) -> tuple[float, float]:
    """Width and height of the axes in points."""
    box = ax.get_window_extent()
    scale = 72.0 / ax.get_figure(root=True).dpi  # pyright: ignore[reportOptionalMemberAccess]
    return box.width * scale, box.height * scale


def spread(centres: Sequence[float], widths: Sequence[float], low: float, high: float, gap: float) -> np.ndarray | None:
    """Places for labels along a line: as near to their centres as they can be (least squares) without touching.

    ``centres`` increase; the labels stay within [low, high]. None when they do not fit.
    """
    w = np.asarray(widths, float)
    if w.size == 0:
        return np.zeros(0)
    steps = 0.5 * (w[1:] + w[:-1]) + gap
    offset = np.concatenate([[0.0], np.cumsum(steps)])
    first, last = low + w[0] / 2, high - w[-1] / 2 - offset[-1]
    if last < first:
        return None
    # Pool adjacent violators: neighbours that would overlap move together.
    pools: list[list[float]] = []
    for value in np.asarray(centres, float) - offset:
        pools.append([float(value), 1.0])
        while len(pools) > 1 and pools[-2][0] > pools[-1][0]:
            (v, n), (u, m) = pools.pop(), pools.pop()
            pools.append([(v * n + u * m) / (n + m), n + m])
    places = np.concatenate([np.full(int(n), v) for v, n in pools])
    return np.clip(places, first, last) + offset


def along_top(ax: Axes, items: Sequence[tuple[float, str, str]], size: float) -> list[Any]:
    """Write (x as a fraction of the axes, name, shorter name) above the frame, each tied to its x by a thin line.

    The names stand side by side; without room for them the shorter names do, and without room for those they slant.
    """
    items = sorted(items)
    across, _ = points_of(ax)
    centres = [x * across for x, _, _ in items]
    options: dict[str, Any] = {"ha": "center", "va": "bottom"}
    places: np.ndarray | None = None
    texts: list[str] = []
    for texts in ([i[1] for i in items], [i[2] for i in items]):
        places = spread(centres, [measure(text, size)[0] for text in texts], 0.0, across, 0.8 * size)
        if places is not None:
            break
    if places is None:
        options = {"ha": "left", "va": "bottom", "rotation": 40, "rotation_mode": "anchor"}
        places = spread(centres, [1.7 * size] * len(items), 0.0, across, 0.0)
    if places is None:
        places = np.asarray(centres)
    relpos = (0.5, 0.0) if options["ha"] == "center" else (0.0, 0.0)
    arrow = {"arrowstyle": "-", "lw": 0.5, "color": INK, "shrinkA": 0, "shrinkB": 0, "relpos": relpos}
    return [
        ax.annotate(
            text, (x, 1.0), (place / across, 0.9 * size), "axes fraction", ("axes fraction", "offset points"),
            arrowprops=arrow, fontsize=size, color=INK, annotation_clip=False, **options,
        )
        for (x, _, _), text, place in zip(items, texts, places, strict=True)
    ]  # fmt: skip


def along_right(ax: Axes, items: Sequence[tuple[float, str]], size: float) -> list[Any]:
    """Write (y as a fraction of the axes, text) right of the frame, one below the other, each tied to its y."""
    items = sorted(items)
    _, up = points_of(ax)
    centres = [y * up for y, _ in items]
    places = spread(centres, [1.15 * size] * len(items), 0.0, up, 0.0)
    places = np.asarray(centres) if places is None else places
    return [
        ax.annotate(
            text, (1.0, y), (0.9 * size, place / up), "axes fraction", ("offset points", "axes fraction"),
            fontsize=size, color=INK, annotation_clip=False, ha="left", va="center",
            arrowprops={"arrowstyle": "-", "lw": 0.5, "color": INK, "shrinkA": 0, "shrinkB": 0, "relpos": (0.0, 0.5)},
        )
        for (y, text), place in zip(items, places, strict=True)
    ]  # fmt: skip


def on_lines(ax: Axes, items: Sequence[tuple[np.ndarray, str]], size: float) -> list[Any]:
    """Write the names of lines (of :func:`dense_path`) on the lines themselves, each further along than the last."""
    drawn = []
    for k, (path, text) in enumerate(items):
        along = path if path[0, 1] >= path[-1, 1] else path[::-1]
        where = along[int((0.15 + 0.2 * (k % 4)) * (len(along) - 1))]
        box = {"boxstyle": "round,pad=0.15", "facecolor": "white", "edgecolor": "none", "alpha": 0.9}
        options: dict[str, Any] = {"ha": "center", "va": "center", "fontsize": size, "color": INK, "bbox": box}
        drawn.append(ax.text(float(where[0]), float(where[1]), text, transform=ax.transAxes, zorder=4, **options))
    return drawn


# --- lines of the theory ------------------------------------------------------------------------------------


def short_name(line: Mapping[str, Any], words: Vocabulary) -> str:
    """'M/C' for a line between monotonic and catapult; the name of any other line."""
    pair: list[Any] = list(line.get("between") or ())
    if len(pair) == 2 and all(p in words.labels for p in pair):
        return "/".join(words.phases[words.index(p)].symbol for p in pair)
    return str(line.get("name", ""))


def levels(theory: Theory) -> list[tuple[float, Mapping[str, Any]]]:
    """Where a one-parameter theory changes, in order: (value, line). Lines with no finite value are left out."""
    found: list[tuple[float, Mapping[str, Any]]] = []
    for line in theory:
        given = line.get("points", ()) if line.get("at") is None else [line["at"]]
        points = np.asarray(given, float)
        values = points.reshape(len(points), -1)[:, 0] if points.size else points
        found += [(float(v), line) for v in values if np.isfinite(v)]
    return sorted(found, key=lambda pair: pair[0])


def path_of(line: Mapping[str, Any]) -> np.ndarray:
    """The points (n, 2) of a line over a plane, finite ones only. RequestError when they are not pairs."""
    points = np.asarray(line.get("points", ()), float)
    if points.size == 0:
        return np.zeros((0, 2))
    if points.ndim != 2 or points.shape[1] != 2:
        name = line.get("name", "without a name")
        raise RequestError(f"the line {name} has points of shape {points.shape}; over a plane give pairs (x, y)")
    return points[np.isfinite(points).all(1)]


def dense_path(ax: Axes, points: np.ndarray) -> np.ndarray:
    """A polyline, drawn straight on the page, as many points in fractions of the axes, the ones inside only."""
    at = (ax.transData + ax.transAxes.inverted()).transform(points)
    at = at[np.isfinite(at).all(1)]
    if len(at) < 2:
        return np.zeros((0, 2))
    length = np.concatenate([[0.0], np.cumsum(np.hypot(*np.diff(at, axis=0).T))])
    if length[-1] == 0:
        return np.zeros((0, 2))
    t = np.linspace(0.0, length[-1], DENSE)
    fine = np.stack([np.interp(t, length, at[:, k]) for k in (0, 1)], 1)
    return fine[((fine >= -1e-9) & (fine <= 1 + 1e-9)).all(1)]


def exit_of(path: np.ndarray) -> tuple[str, float]:
    """Where a line (of :func:`dense_path`) is labelled: ("top", x) or ("right", y), the side it ends nearest to.

    A line that ends near neither is labelled on itself: ("inside", height of its upper end).
    """
    ends = path[[0, -1]]
    top, right = 1 - ends[:, 1], 1 - ends[:, 0]
    if min(top.min(), right.min()) > NEAR:
        return "inside", float(ends[:, 1].max())
    if top.min() <= right.min():
        return "top", float(ends[top.argmin(), 0])
    return "right", float(ends[right.argmin(), 1])


# --- names of phases in their regions -----------------------------------------------------------------------


def _raster(codes: np.ndarray, x: Scale, y: Scale) -> np.ndarray:
    """Codes (rows y, columns x) at the middles of a square raster over the axes."""
    at = (np.arange(RASTER) + 0.5) / RASTER
    picks = []
    for scale in (y, x):
        u = scale.positions
        picks.append(np.clip(np.searchsorted(u, u[0] + at * (u[-1] - u[0]), side="right") - 1, 0, u.size - 2))
    return codes[np.ix_(picks[0], picks[1])]


def name_regions(
    ax: Axes, codes: np.ndarray, x: Scale, y: Scale, words: Vocabulary, paths: Sequence[np.ndarray], size: float
) -> list[Any]:
    """Write the name of each phase in the roomiest place of its region, or its letter, or nothing where none fits.

    Lines (``paths``, from :func:`dense_path`) are kept clear of. ``codes`` is (rows y, columns x) in increasing order.
    """
    raster = _raster(codes, x, y)
    free = np.ones(raster.shape, bool)
    for path in paths:
        column, row = np.clip((path * RASTER).astype(int), 0, RASTER - 1).T
        free[row, column] = False
    across, up = points_of(ax)
    cell = (up / RASTER, across / RASTER)
    drawn = []
    for k, phase in enumerate(words.phases):
        for text, pad in ((phase.label, 0.35 * size), (phase.symbol, 0.15 * size)):
            place = _place(raster == k, free, measure(text, size), cell, pad)
            if place is not None:
                where = ((place[1] + 0.5) / RASTER, (place[0] + 0.5) / RASTER)
                options: dict[str, Any] = {"transform": ax.transAxes, "fontsize": size, "color": INK}
                drawn.append(ax.text(*where, text, ha="center", va="center_baseline", **options))
                break
    return drawn


def _place(
    region: np.ndarray, free: np.ndarray, box: tuple[float, float], cell: tuple[float, float], pad: float
) -> tuple[int, int] | None:
    """Row and column of the middle of the roomiest place where the box (points) fits; None when it fits nowhere."""
    rows = int(np.ceil((box[1] + 2 * pad) / cell[0])) | 1
    cols = int(np.ceil((box[0] + 2 * pad) / cell[1])) | 1
    if rows >= RASTER or cols >= RASTER:
        return None
    # A few stray points of another phase under a name do no harm; a line does.
    share: Any = ndimage.uniform_filter(region.astype(float), [rows, cols], mode="constant")  # pyright: ignore
    clear = ndimage.minimum_filter(free.astype(np.uint8), (rows, cols), mode="constant") == 1
    fits = (share > 0.98) & clear
    if not fits.any():
        return None
    padded = np.pad(region & free, 1)
    distances: Any = ndimage.distance_transform_edt(padded, sampling=cell)
    room = distances[1:-1, 1:-1]
    # Of places that are about equally roomy, along a strip say, the one in their middle.
    good = np.argwhere(fits & (room >= 0.9 * room[fits].max()))
    best = good[np.square(good - good.mean(0)).sum(1).argmin()]
    return int(best[0]), int(best[1])
