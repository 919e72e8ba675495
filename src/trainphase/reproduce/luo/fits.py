"""What nets of width 1000 make of the four points at gamma = 0.5, 1 and 1.75, and where their neurons point."""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING, Any

import numpy as np

from trainphase.observables import condensation
from trainphase.reproduce import four_points
from trainphase.reproduce.claims import Claim, Measured, absolute, exact
from trainphase.reproduce.context import Context
from trainphase.reproduce.four_points import GRID
from trainphase.reproduce.luo import runs
from trainphase.reproduce.runner import Figure

if TYPE_CHECKING:
    import xarray

GAMMAS = (0.5, 1.0, 1.75)
WIDTH = 1000
WHERE = "Fig. 1.3"
# Kinks at the inner data, b = -w x: at x = 1/6 with w > 0, and at x = -1/6 with w < 0.
KINKS = (float(np.arctan2(-1, 6)), float(np.arctan2(-1, -6)))


def compute(context: Context) -> dict[str, xarray.Dataset]:
    """Functions on a grid, dims (gamma, seed, x), and the neurons of the first seed, dims (gamma, neuron)."""
    import xarray

    from trainphase.data import targets
    from trainphase.relu import ladder

    size, X, numbers = runs.sizes("points"), targets.augmented(GRID[:, None]), context.seeds(context.pick(3, 6))
    shape = len(GAMMAS), len(numbers)
    f, linear = np.zeros((2, *shape, GRID.size))
    score, before = np.zeros((2, *shape))
    neurons: list[dict[str, np.ndarray]] = []
    for i, gamma in enumerate(GAMMAS):
        kappa = float(WIDTH) ** -gamma
        for k, seed in enumerate(numbers):
            run = ladder.train(gamma, 0.0, WIDTH, seed, size, level=-1)
            start, mass = (run.start.a, run.start.w), run.start.mass
            f[i, k] = condensation.function(X, run.a, run.w, mass, kappa)[:, 0]
            linear[i, k] = condensation.linearised(X, start, (run.a, run.w), mass, kappa)[:, 0]
            score[i, k] = condensation.condensation(run.a, run.w, mass)
            before[i, k] = condensation.condensation(*start, mass)
            if k == 0:
                real = mass > 0
                pairs = {"start": (start[0][:, real], start[1][:, real]), "end": (run.a[:, real], run.w[:, real])}
                neurons.append(
                    {f"amplitude_{when}": condensation.amplitude(a, w) for when, (a, w) in pairs.items()}
                    | {f"orientation_{when}": condensation.orientation(w) for when, (_, w) in pairs.items()}
                )
    dims = ("gamma", "seed", "x")
    curves = xarray.Dataset(
        {
            "f": (dims, f), "linearised": (dims, linear), "score": (dims[:2], score), "score_start": (dims[:2], before),
            "y": ("datum", size.y[:, 0]),
        },
        {"gamma": list(GAMMAS), "seed": numbers, "x": GRID, "x_data": ("datum", size.X[:, 0])}, {"width": WIDTH},
    )  # fmt: skip
    points = {name: (("gamma", "neuron"), np.stack([row[name] for row in neurons])) for name in neurons[0]}
    return {"curves": curves, "neurons": xarray.Dataset(points, {"gamma": list(GAMMAS)})}


def _draw(data: Any) -> Any:
    from trainphase.figures import neurons

    return neurons.fits(data)


def active(data: dict[str, xarray.Dataset], k: int) -> condensation.Directions:
    """Active directions at the end, from amplitudes and angles of the first seed."""
    row = data["neurons"].isel(gamma=k)
    angle, size = row["orientation_end"].values, row["amplitude_end"].values
    return condensation.active_directions(size, np.stack([np.cos(angle), np.sin(angle)]))


def _kink(context: Context, which: int) -> Measured:
    """The active direction nearest to a kink at an inner datum, among the two largest."""
    found = active(context.data(), 2)
    angles = found.angles[:2]
    nearest = int(np.argmin(np.abs(angles - KINKS[which])))
    return Measured(float(angles[nearest]), note=f"it carries {100 * found.shares[nearest]:.1f} % of the amplitude")


def _two(context: Context) -> Measured:
    """Share of the amplitude in the two largest directions."""
    found = active(context.data(), 2)
    score = float(context.data()["curves"]["score"].values[2].mean())
    return Measured(float(found.shares[:2].sum()), note=f"condensation score {score:.3f}; two equal directions give 0.5")


def _still(context: Context) -> Measured:
    """Largest change of orientation at gamma = 0.5, weighted by amplitude: root mean square, radians."""
    row = context.data()["neurons"].isel(gamma=0)
    turn = row["orientation_end"].values - row["orientation_start"].values
    turn = (turn + np.pi) % (2 * np.pi) - np.pi
    weight = row["amplitude_start"].values
    return Measured(float(np.sqrt(np.sum(weight * turn**2) / np.sum(weight))), note="root mean square, weighted by amplitude")


def _linear(context: Context, k: int) -> tuple[float, float]:
    """Distance of f from its linearisation at the start, relative: mean over seeds and standard error."""
    curves = context.data()["curves"].isel(gamma=k)
    pairs = zip(curves["f"].values, curves["linearised"].values, strict=True)
    values = np.array([condensation.function_distance(*pair) for pair in pairs])
    return float(values.mean()), float(values.std(ddof=1) / np.sqrt(values.size))


def _order(context: Context) -> Measured:
    found = [_linear(context, k) for k in range(len(GAMMAS))]
    note = ", ".join(f"{v:.3f} +- {e:.3f} at gamma = {g:g}" for (v, e), g in zip(found, GAMMAS, strict=True))
    rising = all(b[0] - a[0] > 3 * np.hypot(a[1], b[1]) for a, b in pairwise(found))
    return Measured(bool(rising), note=f"relative distance on the grid, mean over seeds: {note}")


def _scores(context: Context) -> Measured:
    score = context.data()["curves"]["score"].values.mean(1)
    start = float(context.data()["curves"]["score_start"].values.mean())
    note = f"at the start {start:.3f}; at the end " + ", ".join(f"{s:.3f} at {g:g}" for s, g in zip(score, GAMMAS, strict=True))
    return Measured(bool(score[0] < 1.1 * start < score[1] < 0.5 * score[2]), note=note)


CLAIMS = (
    *four_points.claims(runs.PAPER, WHERE, [f"gamma = {g:g}" for g in GAMMAS], lambda context: context.data()["curves"]),
    Claim(
        runs.PAPER, WHERE, "gamma = 0.5: orientations stay as they were: how far they turn, radians", 0.0,
        absolute(0.05, "they turn by about RD, 0.009, and more for small weights; the circle is 6.28 around"), _still,
    ),
    *(
        Claim(
            runs.PAPER, WHERE, f"gamma = 1.75: orientation of neurons with their kink at x = {x}, radians", None,
            absolute(0.01, "a kink between a datum and its neighbours within 0.01 of it moves the angle so far"),
            lambda c, which=which: _kink(c, which), expected=round(KINKS[which], 4),
        )
        for which, x in enumerate(("1/6", "-1/6"))
    ),
    Claim(
        runs.PAPER, WHERE, "gamma = 1.75: share of the amplitude that lies in two directions", 1.0,
        absolute(0.05, "neurons that are active on no datum keep the amplitude of the start"), _two,
    ),
    Claim(
        runs.PAPER, WHERE, "amplitude clusters more as gamma grows: not at 0.5, partly at 1, most at 1.75", True,
        exact("scores differ by a tenth, then by a factor of two"), _scores,
    ),
    Claim(
        runs.PAPER, "Section 1.5", "the distance from the linearisation at the start grows with gamma", True,
        exact("each step by more than 3 standard errors over seeds"), _order,
    ),
)  # fmt: skip

FIGURE = Figure(
    runs.PAPER, "fits", "Fits of four points and the neurons at three gamma", compute, _draw, CLAIMS,
    seconds_quick=15, seconds_full=20,
)  # fmt: skip
FIGURES = (FIGURE,)
