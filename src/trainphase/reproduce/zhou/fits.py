"""What three-layer nets make of the four points at gamma3 = 1, 1.5 and 2: jagged, smooth, and a linear spline."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from trainphase._arrays import precision
from trainphase.errors import TrainphaseError
from trainphase.reproduce import four_points
from trainphase.reproduce.claims import Claim, Measured, exact
from trainphase.reproduce.context import Context
from trainphase.reproduce.four_points import GRID
from trainphase.reproduce.runner import Figure
from trainphase.reproduce.zhou.runs import MOST_STEPS, PAPER, TARGET

if TYPE_CHECKING:
    import xarray

GAMMA3 = (1.0, 1.5, 2.0)
WHERE = "fits of four points"


def compute(context: Context) -> xarray.Dataset:
    """f on a grid at the start and at the end, dims (gamma3, seed, x): single random nets, not antisymmetric ones."""
    import xarray

    from trainphase.data import targets
    from trainphase.relu.three_layer import CONVERGED, flow3
    from trainphase.systems.relu3 import relu3

    data = targets.samples("points")
    inputs = targets.augmented(GRID[:, None])
    width, seeds = context.pick(400, 1000), context.pick(3, 6)
    ends, starts = np.zeros((2, len(GAMMA3), seeds, GRID.size))
    context.progress.start(len(GAMMA3) * seeds, 0)
    with precision("float64"):
        for i, gamma3 in enumerate(GAMMA3):
            for k, seed in enumerate(context.seeds(seeds)):
                system = relu3(width, data.X, data.y[:, 0], gamma3=gamma3, gamma2=0.0, seed=seed)
                run = flow3(system, TARGET, max_steps=MOST_STEPS, weights=True)
                if run.outcome != CONVERGED or run.weights is None:
                    who = f"the net of seed {seed} at gamma3 = {gamma3:g}"
                    raise TrainphaseError(f"{who} ends {run.outcome}, at a loss of {run.loss:.2g}; give another --seed")
                starts[i, k], ends[i, k] = (np.asarray(system.outputs(s, inputs)) for s in (system.init(), run.weights))
                context.progress.advance(1)
    dims = ("gamma3", "seed", "x")
    return xarray.Dataset(
        {"f": (dims, ends), "f_start": (dims, starts), "y": ("datum", data.y[:, 0])},
        {"gamma3": list(GAMMA3), "x": GRID, "x_data": ("datum", data.X[:, 0])},
        {"width": width, "target": TARGET},
    )


def _draw(data: Any) -> Any:
    from trainphase.figures import three_layer

    return three_layer.fits(data)


def _order(context: Context) -> Measured:
    """By how much the mean roughness at gamma3 = 1 exceeds that at 1.5, in standard errors over seeds."""
    rough = four_points.roughness(context.data())
    error = float(np.sqrt((rough[:2].var(1, ddof=1) / rough.shape[1]).sum()))
    first, second = rough[0].mean(), rough[1].mean()
    return Measured(bool(first - second > 3 * error), note=f"{first:.2f} and {second:.2f}, +- {error:.2f}")


CLAIMS = (
    *four_points.claims(PAPER, WHERE, [f"gamma3 = {g:g}" for g in GAMMA3], lambda context: context.data()),
    Claim(
        PAPER, WHERE, "f is rougher at gamma3 = 1 than at 1.5, by more than 3 standard errors", True,
        exact("chance: 1 in 700"), _order,
    ),
)  # fmt: skip

FIGURE = Figure(PAPER, "fits", "Fits of four points at three gamma3", compute, _draw, CLAIMS, seconds_quick=12, seconds_full=80)
