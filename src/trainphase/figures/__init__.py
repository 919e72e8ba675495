"""Figures: one pure function per kind of figure, from a data set to axes or a page; nothing here simulates.

``plane.draw`` maps the phases over two parameters, ``border.draw`` one boundary in their plane, ``line.page`` follows one
parameter, ``orbit.page`` adds the orbit diagram of a scalar map, ``run.page`` shows one run, ``diagnose.page`` a diagnosis.
``save`` writes any of them. :func:`page` picks one for a diagram.

For developers: a new kind of figure is a module with ``draw(dataset, ax=None, ...) -> Axes`` or
``page(dataset, ...) -> Figure``. It touches no pyplot state: figures are made by ``style.figure`` within
``style.context``, and axes that a user gives are drawn into under the user's own settings.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

from matplotlib.figure import Figure

from trainphase.figures import border, diagnose, line, orbit, plane, run, style
from trainphase.figures.style import save

if TYPE_CHECKING:
    import xarray

__all__ = ["border", "diagnose", "line", "orbit", "page", "plane", "run", "save", "style"]


def page(
    dataset: xarray.Dataset, theory: Iterable[Mapping[str, Any]] = (), title: str | None = None,
    boundaries: Iterable[Mapping[str, Any]] = (),
) -> Figure:  # fmt: skip
    """The figure for a diagram: an orbit page for one axis with ``orbit``, a line page for one axis, else a plane.

    ``boundaries``, measured lines, are drawn in a plane.
    """
    if len(style.axis_names(dataset)) == 1:
        return (orbit if "orbit" in dataset else line).page(dataset, theory, title)
    figure = plane.draw(dataset, theory=theory, boundaries=boundaries, title=title).get_figure(root=True)
    assert figure is not None  # axes that were just made are in a figure
    return figure
