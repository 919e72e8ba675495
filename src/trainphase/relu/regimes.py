"""What the regime vocabulary reads of a net: the slope of its relative distance over a ladder, at one place of the diagram."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import numpy as np

from trainphase.observables import condensation
from trainphase.relu import ladder, three_layer
from trainphase.systems.relu2 import Plan, ReLU2
from trainphase.systems.relu3_ladder import ReLU3Ladder

Record = dict[str, float]
Progress = Callable[[int, int], None]
Widest = ladder.Trained | three_layer.Run3
# Three layers take 50 to 400 steps; one that creeps takes any number.
MOST_STEPS = 2000
# Points over the range of one input, on which a function and its linearisation are compared.
GRID = 201
# Directions are compared pair by pair, which takes half a minute for so many particles; of more they are not.
MOST_COMPARED = 50_000


@functools.lru_cache(maxsize=8)
def _sizes(X: Any, y: Any, plan: Plan) -> ladder.Sizes:
    """One per data set and plan, so that draws and bins are shared over a diagram."""
    return ladder.Sizes(X.array, plan.outside, y.array, plan.antisymmetric, plan.target)


class _Same:
    """An array as a key: equal to every array with the same numbers."""

    def __init__(self, array: np.ndarray) -> None:
        self.array = np.asarray(array)

    def __hash__(self) -> int:
        return hash((self.array.shape, self.array.tobytes()))

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Same) and np.array_equal(self.array, other.array)


def sizes_of(system: ReLU2) -> ladder.Sizes:
    """The data and the plan as the ladder takes them."""
    return _sizes(_Same(system.X), _Same(system.y), system.plan)


def place_of(system: ReLU2, width: int) -> tuple[float, float]:
    """(gamma, gamma') at a width: the parameters themselves, or what the scales make there."""
    if system.plan.scales is None:
        return float(np.asarray(system.gamma)), float(np.asarray(system.gamma_prime))
    beta1, beta2, alpha = (power.log(width) for power in system.plan.scales)
    return -(beta1 + beta2 - alpha) / np.log(width), -(beta1 - beta2) / np.log(width)


def record(system: Any) -> Record:
    """Numbers of one place: slopes with and without the widest nets, distances, losses and what was spent.

    ``converged`` is 0 when a net did not reach its target.
    """
    return measure(system)[0]


def nets(system: Any) -> int:
    """How many nets the ladder has."""
    return len(system.plan.widths) * len(system.plan.seeds)


def measure(system: Any, progress: Progress | None = None, traced: bool = False) -> tuple[Record, Widest]:
    """The record of one place, and the widest net of the first seed.

    ``progress(done, of)`` is called after each net. ``traced`` : keep what :func:`shown` draws; steps of that net cost more.
    """
    if isinstance(system, ReLU3Ladder):
        return _three_layers(system, progress)
    plan = system.plan
    got = ladder.slope_along(
        lambda width: place_of(system, width), plan.widths, plan.seeds, sizes_of(system), plan.accuracy,
        descent=plan.lr0 if plan.descent else None, progress=progress, traced=traced,
    )  # fmt: skip
    assert got.widest is not None
    last = len(got.widths) - 1
    return {
        "slope": got.slope, "slope_se": got.slope_se, "narrower": got.narrower, "narrower_se": got.narrower_se,
        "relative_distance": _mean(got.distances[last]), "relative_distance_a": _mean(got.distances_a[last]),
        "error": _largest(got.errors), "loss": float(np.max(got.losses)), "converged": float(got.converged),
        "particles": float(got.particles), "attempts": float(got.attempts), "slope_other": np.nan, "slope_other_se": np.nan,
    }, got.widest  # fmt: skip


def _mean(values: np.ndarray) -> float:
    """Geometric mean: slopes are those of logarithms."""
    return float(np.exp(np.mean(np.log(np.maximum(values, 1e-300)))))


def _largest(errors: np.ndarray) -> float:
    known = errors[np.isfinite(errors)]
    return float(known.max()) if known.size else np.nan


def _layer(system: ReLU3Ladder) -> int:
    """Which of W1, W2 the regime is of."""
    return 0 if system.layer == "w1" else 1


def _three_layers(system: ReLU3Ladder, progress: Progress | None) -> tuple[Record, three_layer.Run3]:
    plan, done = system.plan, 0

    def tell(*_: Any) -> None:
        nonlocal done
        done += 1
        if progress is not None:
            progress(done, nets(system))

    got = three_layer.slopes3(
        float(np.asarray(system.gamma3)), float(np.asarray(system.gamma2)), system.inputs, system.y, widths=plan.widths,
        seeds=plan.seeds, target=plan.target, antisymmetric=plan.antisymmetric, bias=system.bias, progress=tell,
        max_steps=MOST_STEPS,
    )  # fmt: skip
    mine = _layer(system)
    # (seeds, widths, layers) to (widths, seeds).
    distances = [np.moveaxis(got.distance[..., k], 0, 1) for k in (mine, 1 - mine)]
    converged = bool(np.all(got.outcome == three_layer.CONVERGED))
    (slope, se), (narrower, narrower_se) = (ladder.fit(w, v) for w, v in
                                            ((plan.widths, distances[0]), (plan.widths[:-1], distances[0][:-1])))  # fmt: skip
    slope_other, other_se = ladder.fit(plan.widths, distances[1])
    return {
        "slope": slope, "slope_se": se, "narrower": narrower, "narrower_se": narrower_se,
        "relative_distance": _mean(distances[0][-1]), "relative_distance_a": _mean(got.distance[:, -1, 2]),
        "error": np.nan, "loss": float(np.max(got.loss)), "converged": float(converged), "particles": float(sum(plan.widths)),
        "attempts": float(got.steps.sum()), "slope_other": slope_other, "slope_other_se": other_se,
    }, got.widest  # fmt: skip


def shown(system: Any, net: Widest) -> tuple[dict[str, np.ndarray], Any, dict[str, float]]:
    """Series of the widest net of the first seed, what it ends as, and its scales and neurons in numbers.

    It ends as its weights (a, w), that of three layers as its predictions on the data. Gradient descent has no series but its
    two ends.
    """
    width = system.plan.widths[-1]
    if isinstance(net, three_layer.Run3):
        far = np.maximum.accumulate(net.distances, 0)
        values = (net.times, net.losses, far[:, _layer(system)], far[:, 2])
        series: dict[str, np.ndarray] = dict(zip(ladder.SERIES, values, strict=True))
        return series, net.predictions, {"kappa": width ** -float(np.asarray(system.gamma3))}
    gamma, gamma_prime = place_of(system, width)
    ends = (0.0, net.time), (np.nan, net.loss), (0.0, net.relative_distance), (0.0, net.relative_distance_a)
    series = net.series or {name: np.array(pair) for name, pair in zip(ladder.SERIES, ends, strict=True)}
    scales = {"kappa": width**-gamma, "kappa_prime": width**-gamma_prime}
    return dict(series), (net.a, net.w), scales | _neurons(net, sizes_of(system), scales["kappa"])


def _neurons(run: ladder.Trained, sizes: ladder.Sizes, kappa: float) -> dict[str, float]:
    """How condensed the neurons of a net are, and how far its function is from its linearisation at the start."""
    mass = run.start.mass
    grid = sizes.X
    if grid.shape[1] == 2 and np.all(grid[:, 1] == 1):
        x = np.linspace(grid[:, 0].min(), grid[:, 0].max(), GRID)
        grid = np.stack([x, np.ones(GRID)], 1)
    f = condensation.function(grid, run.a, run.w, mass, kappa)
    g = condensation.linearised(grid, (run.start.a, run.start.w), (run.a, run.w), mass, kappa)
    apart = {"linearisation": condensation.function_distance(f, g)}
    if mass.size > MOST_COMPARED:
        return apart
    return apart | {
        "condensation": condensation.condensation(run.a, run.w, mass),
        "directions": float(condensation.active_directions(run.a, run.w, mass).shares.size),
    }
