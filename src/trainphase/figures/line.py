"""A diagram over one parameter of any system: the band of phases above loss, curvature and Lyapunov exponent."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from trainphase.errors import RequestError
from trainphase.figures import _panels, style

if TYPE_CHECKING:
    import xarray

PANELS: Mapping[str, Callable[..., None]] = {
    "loss": _panels.loss,
    "curvature": _panels.curvature,
    "lyapunov": _panels.lyapunov,
}


def draw(
    dataset: xarray.Dataset, ax: Axes | None = None, theory: Iterable[Mapping[str, Any]] = (),
    title: str | None = None, *, name: str = "lyapunov",
) -> Axes:  # fmt: skip
    """One panel over the parameter: ``name`` is loss, curvature or lyapunov, or phase for the band.

    ``ax`` are axes to draw into, under the settings in force; without them a figure one column wide is made. Lines of
    the theory are ``{"name", "between", "at"}`` (or ``"points": [[x]]``).
    Returns the axes. Raises RequestError when the dataset lacks the variable or has more than one axis.
    """
    axis = _panels.only_axis(dataset)
    if name not in dataset or name not in ("phase", *PANELS):
        known = ", ".join(n for n in ("phase", *PANELS) if n in dataset)
        raise RequestError(f"the dataset has no panel {name!r}; it has {known}")
    scale = style.coordinate(dataset, axis)
    cols = _panels.columns_for(scale, style.SINGLE)
    with style.context(ax):
        target = ax if ax is not None else style.figure(style.SINGLE, 0.7 if name == "phase" else 1.9).add_subplot()
        if ax is None:
            style.pin(target)
        target.set_xscale("log" if scale.log else "linear")
        if name == "phase":
            _panels.band(target, dataset, scale, cols)
        else:
            PANELS[name](target, dataset, axis, scale, cols)
        _panels.limits(target, scale)
        target.set_xlabel(style.label_of(dataset[axis]))
        if ax is None:
            target.figure.draw_without_rendering()  # pyright: ignore[reportAttributeAccessIssue]
        count = _panels.theory_lines([target], theory, dataset)
        if title:
            target.set_title(title, pad=22.0 if count else 6.0)
    return target


def page(
    dataset: xarray.Dataset, theory: Iterable[Mapping[str, Any]] = (), title: str | None = None,
    *, width: float = style.SINGLE,
) -> Figure:  # fmt: skip
    """The band of phases and every panel that the dataset has values for; over seeds, median and range.

    ``width`` in inches: ``style.SINGLE`` or ``style.DOUBLE``. Lines of the theory go through all panels.
    Returns the figure. Raises RequestError when the dataset has more than one axis.
    """
    axis = _panels.only_axis(dataset)
    scale = style.coordinate(dataset, axis)
    cols = _panels.columns_for(scale, width)
    shown = [n for n in PANELS if n in dataset and np.isfinite(dataset[n].values).any()]
    with style.context():
        fig, panels = _panels.stack(width, [0.16, *([1.0] * len(shown))], scale, 0.95)
        codes = _panels.band(panels[0], dataset, scale, cols)
        for ax, name in zip(panels[1:], shown, strict=True):
            PANELS[name](ax, dataset, axis, scale, cols)
        return _panels.finish(fig, panels, dataset, theory, codes, title)
