"""The page of ``trainphase demo``: two planes of phases, a loss curve for each phase, test errors."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from trainphase.figures import plane, style
from trainphase.phase import TRAINING

SHOWN_STEPS = 60
COLOURS = {p.label: p.colour for p in TRAINING.phases}


def page(planes: Mapping[str, tuple[Any, Sequence[Any]]], runs: Sequence[Mapping[str, Any]]) -> Figure:
    """Compose the page; ``planes``: title -> (dataset, theory lines), ``runs``: rows with phase, a, loss, test losses."""
    with style.context():
        fig = style.figure(style.DOUBLE, 6.6)
        axes = fig.subplots(2, 2, height_ratios=[1.25, 1])
        for ax, (name, (dataset, theory)) in zip(axes[0], planes.items(), strict=True):
            plane.draw(dataset, ax, theory, legend=False, title=f"digits, {name}")
        _losses(axes[1, 0], runs)
        _tests(axes[1, 1], runs)
        seen = np.concatenate([TRAINING.consensus(dataset["phase"]).ravel() for dataset, _ in planes.values()])
        exact = [line for _, theory in planes.values() for line in theory]
        style.legend(fig, [*style.phase_handles(seen, TRAINING), *style.theory_handles(exact)])
    return fig


def _losses(ax: Axes, runs: Sequence[Mapping[str, Any]]) -> None:
    for row in runs:
        loss = np.asarray(row["loss"])[:SHOWN_STEPS]
        loss = np.where(np.isfinite(loss) & (loss > 0) & (loss < 1e6), loss, np.nan)
        colour = "#B8A800" if row["phase"] == "periodic" else COLOURS[row["phase"]]
        ax.semilogy(loss, color=colour, label=f"{row['phase']}, $a={row['a']:g}$")
    ax.set_xlabel("time (steps)")
    ax.set_ylabel("training loss (target units squared)")
    ax.set_ylim(1e-13, 1e6)
    ax.legend(ncols=2, loc="lower right")
    ax.set_title("quadratic net: one run in each phase")


def _tests(ax: Axes, runs: Sequence[Mapping[str, Any]]) -> None:
    bounded = [row for row in runs if np.isfinite(row["test_loss"])]
    at = np.arange(len(bounded))
    for k, (key, label, hatch) in enumerate((("test_loss", "last step", ""), ("averaged_test_loss", "averaged", "////"))):
        heights = [row[key] for row in bounded]
        colours = [COLOURS[row["phase"]] for row in bounded]
        ax.bar(at + 0.4 * k - 0.2, heights, 0.38, color=colours, hatch=hatch, edgecolor=style.INK, linewidth=0.5)
        ax.bar([0], [0], color="white", edgecolor=style.INK, linewidth=0.5, hatch=hatch, label=label)
    ax.set_xticks(at, [row["phase"] for row in bounded])
    ax.set_ylabel("test loss (target units squared)")
    ax.legend(loc="upper left")
    ax.set_title("test loss, predictions of the last step or averaged")


def write(planes: Mapping[str, tuple[Any, Sequence[Any]]], runs: Sequence[Mapping[str, Any]], path: Path) -> None:
    """Draw the page and write it to ``path``."""
    style.save(page(planes, runs), path, "step size x target scale of phase retrieval on 8x8 digits")
