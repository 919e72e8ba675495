"""What the regime vocabulary reads of a net: the slope of its relative distance over a ladder, at one place of the diagram."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import numpy as np

from trainphase.observables import condensation
from trainphase.relu import ladder, three_layer
from trainphase.systems.relu2 import Plan, ReLU2
from trainphase.systems.relu3 import relu3
from trainphase.systems.relu3_ladder import ReLU3Ladder

Record = dict[str, float]
# Three layers take 50 to 400 steps; a net that rests at a saddle point takes any number.
MOST_STEPS = 2000
# Points over the range of one input, on which a function and its linearisation are compared.
GRID = 201


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


def slope_of(system: ReLU2, progress: Callable[[int, int], None] | None = None) -> ladder.Slope:
    """S_w of the system."""
    plan = system.plan
    return ladder.slope_along(
        lambda width: place_of(system, width), plan.widths, plan.seeds, sizes_of(system), plan.accuracy,
        descent=plan.lr0 if plan.descent else None, progress=progress,
    )  # fmt: skip


def record(system: Any, progress: Callable[[int, int], None] | None = None) -> Record:
    """Numbers of one place: slopes with and without the widest nets, distances, losses and what was spent.

    ``converged`` is 0 when a net did not reach its target.
    """
    if isinstance(system, ReLU3Ladder):
        return _three_layers(system, progress)
    got = slope_of(system, progress)
    last = len(got.widths) - 1
    return {
        "slope": got.slope, "slope_se": got.slope_se, "narrower": got.narrower, "narrower_se": got.narrower_se,
        "relative_distance": _mean(got.distances[last]), "relative_distance_a": _mean(got.distances_a[last]),
        "error": _largest(got.errors), "loss": float(np.max(got.losses)), "converged": float(got.converged),
        "particles": float(got.particles), "attempts": float(got.attempts), "slope_other": np.nan, "slope_other_se": np.nan,
    }  # fmt: skip


def _mean(values: np.ndarray) -> float:
    """Geometric mean: slopes are those of logarithms."""
    return float(np.exp(np.mean(np.log(np.maximum(values, 1e-300)))))


def _largest(errors: np.ndarray) -> float:
    known = errors[np.isfinite(errors)]
    return float(known.max()) if known.size else np.nan


def _three_layers(system: ReLU3Ladder, progress: Callable[[int, int], None] | None) -> Record:
    plan = system.plan
    done = 0

    def tell(*_: Any) -> None:
        nonlocal done
        done += 1
        if progress is not None:
            progress(done, done)

    got = three_layer.slopes3(
        float(np.asarray(system.gamma3)), float(np.asarray(system.gamma2)), system.inputs, system.y, widths=plan.widths,
        seeds=plan.seeds, target=plan.target, antisymmetric=plan.antisymmetric, bias=system.bias, progress=tell,
        max_steps=MOST_STEPS,
    )  # fmt: skip
    mine, other = (0, 1) if system.layer == "w1" else (1, 0)
    # (seeds, widths, layers) to (widths, seeds).
    distances = [np.moveaxis(got.distance[..., k], 0, 1) for k in (mine, other)]
    converged = bool(np.all(got.outcome == "converged"))
    (slope, se), (narrower, narrower_se) = (ladder.fit(w, v) for w, v in
                                            ((plan.widths, distances[0]), (plan.widths[:-1], distances[0][:-1])))  # fmt: skip
    slope_other, other_se = ladder.fit(plan.widths, distances[1])
    return {
        "slope": slope, "slope_se": se, "narrower": narrower, "narrower_se": narrower_se,
        "relative_distance": _mean(distances[0][-1]), "relative_distance_a": _mean(got.distance[:, -1, 2]),
        "error": np.nan, "loss": plan.target, "converged": float(converged), "particles": float(sum(plan.widths)),
        "attempts": float(got.steps.sum()), "slope_other": slope_other, "slope_other_se": other_se,
    }  # fmt: skip


def widest(system: Any) -> tuple[dict[str, np.ndarray], Any, dict[str, float]]:
    """Series of the widest net of the first seed, its final weights, and its scales."""
    if isinstance(system, ReLU3Ladder):
        net = relu3(
            system.plan.widths[-1], system.inputs, system.y, gamma3=float(np.asarray(system.gamma3)),
            gamma2=float(np.asarray(system.gamma2)), seed=system.plan.seeds[0], bias=system.bias,
            antisymmetric=system.plan.antisymmetric,
        )  # fmt: skip
        run = three_layer.flow3(net, system.plan.target, max_steps=MOST_STEPS)
        mine = 0 if system.layer == "w1" else 1
        series = {"time": run.times, "loss": run.losses, "relative_distance": run.distances[:, mine],
                  "relative_distance_a": run.distances[:, 2]}  # fmt: skip
        return series, run.predictions, {"kappa": float(net.kappa)}
    width, seed = system.plan.widths[-1], system.plan.seeds[0]
    gamma, gamma_prime = place_of(system, width)
    scales = {"kappa": width**-gamma, "kappa_prime": width**-gamma_prime}
    sizes = sizes_of(system)
    if system.plan.descent:
        run = ladder.train(gamma, gamma_prime, width, seed, sizes, descent=system.plan.lr0)
        ends = {"time": [0.0, run.time], "loss": [np.nan, run.loss], "relative_distance": [0.0, run.relative_distance],
                "relative_distance_a": [0.0, run.relative_distance_a]}  # fmt: skip
        return {k: np.array(v) for k, v in ends.items()}, (run.a, run.w), scales
    series, run = ladder.history(gamma, gamma_prime, width, seed, sizes)
    return series, (run.a, run.w), scales | _neurons(run, sizes, scales["kappa"])


def _neurons(run: ladder.Trained, sizes: ladder.Sizes, kappa: float) -> dict[str, float]:
    """How condensed the neurons of a net are, and how far its function is from its linearisation at the start."""
    mass = run.start.mass
    grid = sizes.X
    if grid.shape[1] == 2 and np.all(grid[:, 1] == 1):
        x = np.linspace(grid[:, 0].min(), grid[:, 0].max(), GRID)
        grid = np.stack([x, np.ones(GRID)], 1)
    f = condensation.function(grid, run.a, run.w, mass, kappa)
    g = condensation.linearised(grid, (run.start.a, run.start.w), (run.a, run.w), mass, kappa)
    return {
        "condensation": condensation.condensation(run.a, run.w, mass),
        "directions": float(condensation.active_directions(run.a, run.w, mass).shares.size),
        "linearisation": condensation.function_distance(f, g),
    }
