"""What refinement infers where labels hide between its points: the plane, the points with a wrong label, the audit."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import ListedColormap
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch

from trainphase.figures import style

# Paul Tol's light colours, and pale ones for what is everywhere.
COLOURS = ("#DDDDDD", "#77AADD", "#EE8866", "#EEDD88", "#99DDFF", "#44BB99", "#AAAA00", "#FFAABB", "#BBCC33", "#225588",
           "#FFFFFF", "#555555")  # fmt: skip
WRONG = "#C00000"


def page(
    labels: np.ndarray, wrong: np.ndarray, axes: Sequence[tuple[str, float, float]], names: Sequence[str],
    audit: Sequence[Mapping[str, Any]],
) -> Figure:  # fmt: skip
    """(a) the dense lattice, (b) the points at which the refined one is wrong, (c) what the audit says, label by label.

    Parameters
    ----------
    labels : codes of the dense lattice (n1, n2), indices into ``names``. wrong : True (n1, n2) where the refined one differs.
    axes : name, first and last value of each axis.
    audit : rows with ``label``, ``rate``, ``low``, ``high`` (shares of the inferred points) and ``true``, the true share.
    """
    with style.context():
        fig = style.figure(style.DOUBLE, 2.7)
        left, middle, right = fig.subplots(1, 3, width_ratios=(1, 1, 0.9))
        for ax, letter in zip((left, middle, right), "abc", strict=True):
            style.pin(ax)
            ax.set_title(f"({letter})", loc="left", pad=3.0)
        colours = ListedColormap([COLOURS[k % len(COLOURS)] for k in range(len(names))])
        _image(left, labels.T, axes, cmap=colours, vmin=-0.5, vmax=len(names) - 0.5)
        _image(middle, _spread(wrong).T, axes, cmap=ListedColormap(["white", WRONG]), vmin=-0.5, vmax=1.5)
        _audit(right, audit, names)
        present = [k for k in range(len(names)) if (labels == k).any()]
        patches = [Patch(facecolor=colours.colors[k], edgecolor=style.INK, lw=0.4, label=names[k]) for k in present]  # pyright: ignore
        patches.append(Patch(facecolor=WRONG, label="wrong label inferred"))
        style.legend(fig, [*patches, *_handles()])
    return fig


def _image(ax: Axes, values: np.ndarray, axes: Sequence[tuple[str, float, float]], **options: Any) -> None:
    edges = [(np.linspace(lo, hi, n + 1), True) for (_, lo, hi), n in zip(axes, values.T.shape, strict=True)]
    style.cells(ax, edges[0], edges[1], values, **options)
    ax.set_xlabel(style.symbol(axes[0][0]))
    ax.set_ylabel(style.symbol(axes[1][0]))


def _spread(wrong: np.ndarray) -> np.ndarray:
    """Each wrong point as 3 x 3 points, so that it can be seen."""
    wide = np.pad(wrong, 1)
    n, m = wrong.shape
    return np.any([wide[i : i + n, j : j + m] for i in range(3) for j in range(3)], axis=0)


def _handles() -> list[Any]:
    audit = Line2D([], [], color=style.INK, marker="o", ms=3, lw=0.8, label="audit, 95 % interval")
    return [audit, Line2D([], [], color=WRONG, marker="x", ms=4, ls="none", label="true share")]


def _audit(ax: Axes, audit: Sequence[Mapping[str, Any]], names: Sequence[str]) -> None:
    """Shares of wrong labels among the inferred ones, as the audit has them and as they are."""
    at = np.arange(len(audit))[::-1]
    for y, row in zip(at, audit, strict=True):
        ax.plot([row["low"], row["high"]], [y, y], color=style.INK, lw=0.8)
        ax.plot(row["rate"], y, "o", ms=3, color=style.INK)
        ax.plot(row["true"], y, "x", ms=4, color=WRONG)
    ax.set_xscale("symlog", linthresh=1e-3)
    ax.set_xlim(-1e-4, 1.3)
    ax.set_xticks([0, 1e-3, 1e-2, 1e-1, 1], ["0", "0.1 %", "1 %", "10 %", "100 %"])
    ax.minorticks_off()
    ax.set_yticks(at, [str(names[row["label"]]) for row in audit])
    ax.set_xlabel("wrong among the inferred")
