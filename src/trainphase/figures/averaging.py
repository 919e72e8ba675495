"""Test losses along runs at several step sizes: of single predictions and of those averaged over the trajectory."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from trainphase.figures import style

if TYPE_CHECKING:
    import xarray

SINGLE, AVERAGED, TRAINING = "#0072B2", "#D55E00", style.GREY
# Shades tell seeds apart: the first is drawn in full.
OTHERS = 0.35


def page(dataset: xarray.Dataset) -> Figure:
    """One panel for each step size, with a common logarithmic axis.

    ``test``, ``averaged`` (NaN before averaging begins) and ``loss``, dims (lr, seed, time), in target units squared.
    Returns the figure.
    """
    with style.context():
        fig = style.figure(style.DOUBLE, 2.6)
        panels = fig.subplots(1, dataset.sizes["lr"], sharey=True, squeeze=False)[0]
        steps = np.arange(dataset.sizes["time"])
        for k, ax in enumerate(panels):
            style.pin(ax)
            ax.set_yscale("log")
            for j in range(dataset.sizes["seed"]):
                look = {"alpha": 1.0 if j == 0 else OTHERS, "lw": 0.8 if j == 0 else 0.5}
                here = dataset.isel(lr=k, seed=j)
                for name, colour in (("loss", TRAINING), ("test", SINGLE), ("averaged", AVERAGED)):
                    values = here[name].values
                    order = {"loss": 1, "test": 2, "averaged": 3}[name]
                    ax.plot(steps, np.where(values > 0, values, np.nan), color=colour, zorder=order, **look)
            ax.set(xlabel="time (steps)", xlim=(0, steps[-1]))
            ax.set_title(f"step size {float(dataset['lr'].values[k]):g}")
        panels[0].set_ylabel("loss (target units squared)")
        # Training losses of runs that converge would take most of the page.
        late = [dataset[name].values[..., steps[-1] // 4 :] for name in ("test", "loss")]
        seen, every = (values[np.isfinite(values)] for values in (late[0], np.stack(late)))
        if seen.size:
            panels[0].set_ylim(float(seen.min()) / 30, float(every.max()) * 2)
        names = (("test, single predictions", SINGLE), ("test, averaged predictions", AVERAGED), ("training", TRAINING))
        style.legend(fig, [Line2D([], [], color=colour, label=label) for label, colour in names])
    return fig
