"""One boundary in the plane of two parameters: the curve, the phases on either side of it, and the theory's line."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.lines import Line2D
from matplotlib.patheffects import withStroke

from trainphase.axes import Axis
from trainphase.errors import RequestError
from trainphase.figures import style
from trainphase.figures._labels import dense_path
from trainphase.phase import TRAINING
from trainphase.phase import vocabulary as vocabulary_named

# Width of the coloured bands beside the curve, in points.
BAND = 5.0


def draw(
    document: Mapping[str, Any], axes: Sequence[Axis], ax: Axes | None = None, theory: Iterable[Mapping[str, Any]] = (),
    title: str | None = None, *, vocabulary: str = TRAINING.name,
) -> Axes:  # fmt: skip
    """Draw the ``curve`` of a boundary's document over the ranges of two axes.

    ``ax`` are matplotlib axes to draw into, under the settings in force; without them a figure one column wide is made. Lines
    of the theory are ``{"name", "between", "points"}``. Bands in the colours of the phases tell which is on which side.
    Returns the axes. Raises RequestError for a document without a curve.
    """
    curve = document["curve"]
    if curve is None:
        raise RequestError("the document has no curve, since no boundary was found; leave the plot out, or give other ranges")
    words, theory = vocabulary_named(vocabulary), list(theory)
    with style.context(ax):
        target = ax if ax is not None else style.figure(style.SINGLE, 3.0).add_subplot()
        if ax is None:
            style.pin(target)
        x, y = axes
        target.set_xscale("log" if x.scale == "log" else "linear")
        target.set_yscale("log" if y.scale == "log" else "linear")
        target.set_xlim(x.lo, x.hi)
        target.set_ylim(y.lo, y.hi)
        points = np.asarray(curve["points"], float)
        points = np.concatenate([points, points[:1]]) if curve["closed"] else points
        codes = [words.index(label) for label in curve["between"]]
        for sign, code in zip((1.0, -1.0), codes, strict=True):
            _band(target, points, sign, words.phases[code].colour)
        target.plot(*points.T, color=style.INK, lw=1.2, solid_capstyle="butt", zorder=2.5)
        if ax is None:
            target.figure.draw_without_rendering()  # pyright: ignore[reportAttributeAccessIssue]
        for line in theory:
            path = dense_path(target, np.asarray(line["points"], float))
            if len(path):
                target.plot(*path.T, transform=target.transAxes, zorder=2.6, **_look(bool(line.get("exact", True))))
        for triple in document.get("triple_points", ()):
            target.plot(*triple["at"], marker="o", ms=4.0, mfc="white", mec=style.INK, mew=0.8, zorder=3)
        target.set_xlabel(_label(x))
        target.set_ylabel(_label(y))
        handles: list[Any] = [*style.phase_handles(codes, words), Line2D([], [], color=style.INK, lw=1.2, label="boundary")]
        for handle in style.theory_handles(theory):
            handle.set(**_look(not str(handle.get_label()).endswith("(approximate)")))
            handles.append(handle)
        style.legend(target.figure if ax is None else target, handles)  # pyright: ignore[reportArgumentType]
        if title:
            target.set_title(title)
    return target


def _look(exact: bool) -> dict[str, Any]:
    """White dashes with a dark rim: seen on the curve itself, which an exact line covers."""
    rim = withStroke(linewidth=2.0, foreground=style.INK)
    return {"color": "white", "linewidth": 1.0, "linestyle": style.dashes(exact), "path_effects": [rim]}


def _label(axis: Axis) -> str:
    name = style.symbol(axis.name)
    return name if axis.units in ("", "1") else f"{name} ({axis.units})"


def _band(ax: Axes, points: np.ndarray, sign: float, colour: str) -> None:
    """A band beside a curve, on its left for ``sign`` 1."""
    if len(points) < 2:
        return
    place = ax.transData.transform(points)
    along = np.gradient(place, axis=0)
    size = np.hypot(*along.T)[:, None]
    across = np.stack([-along[:, 1], along[:, 0]], 1) / np.where(size > 0, size, 1.0)
    # Pixels per point of the printed page.
    unit = ax.get_figure(root=True).dpi / 72.0  # pyright: ignore[reportOptionalMemberAccess]
    outer = ax.transData.inverted().transform(place + sign * BAND * unit * across)
    ring = np.concatenate([points, outer[::-1]])
    ax.fill(*ring.T, facecolor=colour, edgecolor="none", zorder=2)
