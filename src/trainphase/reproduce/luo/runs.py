"""Relative distances of two-layer nets over points of the plane, widths and seeds, and their slopes S_w.

Data: the four points x = -1/2, -1/6, 1/6, 1/2 with y = x^2 (antisymmetric start, trained to mean(e^2) = 1e-6), the first 45
images of MNIST with their labels (a single net, to 1e-4), or ten Gaussian inputs in ten dimensions with random targets.
"""

from __future__ import annotations

import functools
from collections.abc import Sequence
from concurrent.futures import Future
from typing import TYPE_CHECKING, Any

import numpy as np

from trainphase.reproduce.context import Context
from trainphase.theory import relu2 as theory

if TYPE_CHECKING:
    import xarray

    from trainphase.relu.ladder import Sizes

PAPER = "luo"
WIDTHS = (1000, 5000, 10000, 20000, 40000)
# Relative accuracy of a distance where neurons are binned; over a factor of 40 in width it changes a slope by 0.01 at most.
ACCURACY = 0.02
# Points of a piece of work: the unit that is kept on the disk, and that an executor is given.
PIECE = 24

Point = tuple[float, float]


# The same object for the same data, so that draws and bins, which are kept with it, are made once.
@functools.lru_cache(maxsize=8)
def sizes(data: str, folders: tuple[str, ...] = (), factor: float = 1.0) -> Sizes:
    """The data as the solver takes them: "points", "gaussian" or "mnist"; targets are multiplied by ``factor``.

    RequestError where image files are not found in ``folders`` or the usual places.
    """
    from trainphase.data import targets
    from trainphase.relu import ladder

    found = targets.samples(data, search=folders) if data == "mnist" else targets.samples(data)
    if data == "points":
        # Rank equals dimension: in the inputs' own coordinates (x, 1) an angle is that of the papers.
        return ladder.Sizes(targets.augmented(found.X), 0, factor * found.y)
    X, outside = targets.reduced(found.X)
    images = data == "mnist"
    return ladder.Sizes(X, outside, factor * found.y, antisymmetric=not images, target=1e-4 if images else 1e-6)


def folders(context: Context) -> tuple[str, ...]:
    """Folders in which image data are looked for, besides the usual places."""
    return context.folders


def piece(
    data: str, places: tuple[str, ...], points: Sequence[Point], widths: Sequence[int], numbers: Sequence[int], accuracy: float,
    factor: float = 1.0,
) -> xarray.Dataset:  # fmt: skip
    """Train the points (gamma, gamma') at every width and seed, dims (point, width, seed); distance is RD of theta_w."""
    import xarray

    from trainphase.relu import ladder

    size = sizes(data, places, factor)
    shape = len(points), len(widths), len(numbers)
    runs = [ladder.train(*point, width, seed, size, accuracy) for point in points for width in widths for seed in numbers]
    names = {"distance": "relative_distance", "distance_a": "relative_distance_a", "error": "error", "attempts": "attempts"}
    dims = ("point", "width", "seed")
    columns = {new: (dims, np.reshape([float(getattr(run, old)) for run in runs], shape)) for new, old in names.items()}
    columns["converged"] = (dims, np.reshape([int(run.outcome == "converged") for run in runs], shape))
    return xarray.Dataset(columns)


def measured(
    context: Context, points: Sequence[Point], widths: Sequence[int], count: int, *, data: str = "points",
    accuracy: float = ACCURACY, size: int = PIECE, name: str = "runs", factor: float = 1.0, apart: bool = False,
) -> xarray.Dataset:  # fmt: skip
    """All runs with their slopes, in pieces of ``size`` points that are kept on the disk and computed beside each other.

    ``apart`` makes every width a piece of its own, for wide nets that take long. Adds ``gamma``, ``gamma_prime``, ``slope``,
    ``slope_se`` (of the fit; NaN where a run missed its target), and ``theory``, the exponent at infinite width.
    """
    import xarray

    numbers, places = context.seeds(count), folders(context) if data == "mnist" else ()
    parts = [list(points[k : k + size]) for k in range(0, len(points), size)]
    groups = [(m,) for m in widths] if apart else [tuple(widths)]
    jobs = {(k, j): f"{name}_{data}_{k}_{j}" for j in range(len(groups)) for k in range(len(parts))}
    waiting = [job for job, label in jobs.items() if not context.has(label)]
    context.progress.start(len(jobs), len(jobs) - len(waiting))
    futures: dict[Any, Future[Any]] = {}
    if context.executor is not None:
        # The widest first, so that no worker is left alone with them at the end.
        for k, j in reversed(waiting):
            futures[k, j] = context.executor.submit(piece, data, places, parts[k], groups[j], numbers, accuracy, factor)
    found: dict[tuple[int, int], Any] = {}
    for (k, j), label in jobs.items():
        future = futures.get((k, j))
        work = (
            future.result
            if future is not None
            else lambda k=k, j=j: piece(data, places, parts[k], groups[j], numbers, accuracy, factor)
        )
        found[k, j] = context.cached(label, work)
        if (k, j) in waiting:
            context.progress.advance(1)
    rows = [xarray.concat([found[k, j] for j in range(len(groups))], "width") for k in range(len(parts))]
    whole = xarray.concat(rows, "point").transpose("point", "width", "seed")
    return with_slopes(whole.drop_attrs().assign_coords(width=list(widths), seed=numbers), points)


def with_slopes(whole: xarray.Dataset, points: Sequence[Point]) -> xarray.Dataset:
    """Add the points, S_w by least squares over all widths and seeds with its standard error, and the exponents."""
    from trainphase.relu import ladder

    gamma, prime = (np.array([p[k] for p in points]) for k in (0, 1))
    fits = [ladder.fit(whole["width"].values, row) for row in whole["distance"].values]
    done = (whole["converged"].values == 1).all((1, 2))
    slope, error = (np.where(done, [f[k] for f in fits], np.nan) for k in (0, 1))
    return whole.assign_coords(gamma=("point", gamma), gamma_prime=("point", prime)).assign(
        slope=("point", slope), slope_se=("point", error), theory=("point", theory.slope(gamma, prime))
    )


def words(data: xarray.Dataset) -> str:
    """What was run: widths and seeds."""
    width, count = data["width"].values, data.sizes["seed"]
    return f"widths {', '.join(str(m) for m in width)}, {count} seed{'s' if count > 1 else ''}"
