"""Bands of phases below each other: several diagrams over the same parameter, compared at a glance."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
from matplotlib.figure import Figure

from trainphase.figures import line, style
from trainphase.phase import TRAINING

if TYPE_CHECKING:
    import xarray

HEIGHT = 0.52  # inches for a band


def page(datasets: Mapping[str, xarray.Dataset], theory: Iterable[Mapping[str, Any]] = ()) -> Figure:
    """One band for each diagram over the same parameter, titled by its key, and lines of the theory through all of them.

    Every data set has ``phase`` in the training vocabulary over one axis. Returns the figure.
    """
    theory = list(theory)
    with style.context():
        fig = style.figure(style.DOUBLE, HEIGHT * len(datasets) + 0.9)
        panels = fig.subplots(len(datasets), 1, sharex=True, squeeze=False)[:, 0]
        for ax, (name, dataset) in zip(panels, datasets.items(), strict=True):
            style.pin(ax)
            line.draw(dataset, ax, name="phase")
            ax.set_title(name, loc="left")
            for mark in theory:
                ax.axvline(mark["points"][0][0], color=style.INK, lw=0.7, ls=style.dashes(True))
            if ax is not panels[-1]:
                ax.set_xlabel("")
        seen = np.concatenate([TRAINING.consensus(dataset["phase"]).ravel() for dataset in datasets.values()])
        style.legend(fig, style.phase_handles(seen, TRAINING))
    return fig
