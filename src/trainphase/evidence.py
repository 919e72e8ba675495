"""Evidence: what a survey of a batch of points says, reduced to the numbers that classifiers read."""

from __future__ import annotations

from functools import partial
from typing import Any

import equinox as eqx
import jax
import numpy as np

from trainphase import cycles, ensemble
from trainphase.classifiers import REPEATS, SIGMAS
from trainphase.observable import Observable
from trainphase.survey import BLOCK, QUARTERS, is_number, over_lanes, rounded_steps, survey
from trainphase.system import Map, System

Arrays = dict[str, np.ndarray]


def is_scalar(system: System) -> bool:
    """True when the state is a single number."""
    leaves = jax.tree.leaves(jax.eval_shape(system.init))
    return len(leaves) == 1 and leaves[0].shape == ()


@partial(jax.jit, static_argnames=("batched",))
def _begin(system: Map, u: jax.Array, batched: tuple[str, ...]) -> Any:
    def begin(s: Map, u: jax.Array) -> Any:
        return s.start(u) if s.over_starts() else s.init()

    return over_lanes(begin, system, batched, u)


def _lanes(system: Map, batched: tuple[str, ...], starts: int, points: int) -> tuple[Map, Any]:
    """One lane per (point, start): the system with repeated parameters, and the start states."""
    if batched:
        fields = [np.repeat(getattr(system, name), starts) for name in batched]
        system = eqx.tree_at(lambda s: [getattr(s, name) for name in batched], system, fields)
    u = np.tile(ensemble.stratified(starts), points)

    return system, _begin(system, u, batched)


def _cycle_evidence(system: Map, states: Any, reading: Arrays, batched: tuple[str, ...]) -> Arrays:
    """For scalar maps: the stable cycle that each lane approaches, unless it escaped or is clearly chaotic."""
    lam, se = reading["lyapunov"], reading["lyapunov_se"]
    with np.errstate(invalid="ignore"):
        wanted = ~reading["escaped"] & ~(lam > SIGMAS * se + 1e-3)
    starts, tails = np.asarray(jax.tree.leaves(states)[0]), reading["tail"][..., 0]
    return cycles.stable_cycle(system, starts, tails, reading["recurrence"], wanted, batched)


def _repeat_evidence(reading: Arrays) -> Arrays:
    """For other maps: the least period at which the recorded tail repeats."""
    scale = np.sqrt(2 * reading["loss_max"])[:, None]
    with np.errstate(invalid="ignore", divide="ignore"):
        relative = reading["recurrence"] / scale
    hits = relative <= REPEATS
    first = np.argmax(hits, axis=1)
    any_hit = hits.any(axis=1)
    finite = np.where(np.isfinite(relative), relative, np.inf)
    distance = np.where(any_hit, relative[np.arange(len(first)), first], finite.min(axis=1))
    # A run that swings from side to side ever less repeats after two steps before it has converged: no cycle.
    shrinking = (first >= 1) & (reading["swing"] < 0.99 * reading["swing_before"])
    return {"repeat": np.where(any_hit & ~shrinking, first + 1, 0), "repeat_distance": distance}


def _approach_evidence(earlier: Arrays, later: Arrays) -> np.ndarray:
    """The period of a cycle that a run with a vector state closes in on without having reached it; 0 for none.

    After p steps the state comes back to within 1e-3 of the largest residual and twenty times closer than after one
    step, closer than it did at half that time (its slow modes still converge), and the swing itself does not shrink.
    """
    scale = np.sqrt(2 * later["loss_max"])[:, None]
    with np.errstate(invalid="ignore", divide="ignore"):
        now, before = later["recurrence"] / scale, earlier["recurrence"] / scale
        near = (now <= 1e-3) & (now <= 0.05 * now[:, :1]) & (now <= 0.8 * before)
        steady = later["swing"] >= 0.99 * later["swing_before"]
    return np.where(near.any(axis=1) & steady, np.argmax(near, axis=1) + 1, 0)


def gather(
    system: Map, batched: tuple[str, ...], points: int, steps: int, starts: int, observables: tuple[Observable, ...] = ()
) -> dict[str, Arrays]:
    """Survey ``points`` parameter values from ``starts`` starts each.

    Parameters
    ----------
    system : the named ``batched`` fields hold arrays of shape (points,).
    steps : horizon, rounded up to a multiple of 512.
    observables : single numbers that are measured at the end of each run too.

    Returns ``{"half": ..., "full": ...}``: evidence at half the horizon and at the whole of it, arrays of shape
    (points, starts) (``tail`` with more dimensions behind).

    Cost: points * starts * steps map steps, and as many derivatives.
    """
    wide = system.over_starts()
    starts = starts if wide else 1
    lanes, states = _lanes(system, batched, starts, points)
    scalar = is_number(states, lanes=1)
    extra: Arrays = {}
    if wide:
        extra = {k: np.asarray(v) for k, v in ensemble.probe(system, np.zeros(points), batched, scalar).items()}
    blocks = rounded_steps(steps) // (BLOCK * QUARTERS)
    raw = survey(lanes, states, blocks, batched, not (wide and scalar))
    raw = {when: dict(raw[when]) for when in ("quarter", "half", "full")}
    final = {when: raw[when].pop("state") for when in ("half", "full")}
    out: dict[str, Arrays] = {}
    if not scalar:
        looks = [{k: np.asarray(v) for k, v in raw[when].items()} for when in ("quarter", "half", "full")]
        raw["half"]["approach"] = _approach_evidence(looks[0], looks[1])
        raw["full"]["approach"] = _approach_evidence(looks[1], looks[2])
    for when in ("half", "full"):
        reading = {k: np.asarray(v) for k, v in raw[when].items()}
        reading["tail"] = np.moveaxis(reading["tail"], 1, 0)
        if scalar:
            found = _cycle_evidence(lanes, states, reading, batched)
            reading |= {"cycle": found["period"], "multiplier": found["multiplier"]}
            # An orbit that repeats to rounding on no stable cycle sits on an unstable one: no chaos, whatever its exponent.
            size = np.max(np.abs(reading["tail"][..., 0]), axis=1)
            reading["repeats"] = np.min(reading["recurrence"], axis=1) <= 1e-12 * size
        else:
            reading |= _repeat_evidence(reading)
        if hasattr(system, "curvature"):
            reading["curvature"] = np.asarray(_curvature(lanes, final[when], batched))
        for o in observables:
            reading[o.name] = np.asarray(_observed(lanes, final[when], batched, o), float).reshape(reading["loss"].shape)
        reading["scalar"] = np.full(reading["loss"].shape, scalar)
        reading = {k: v.reshape((points, starts, *v.shape[1:])) for k, v in reading.items()}
        if wide:
            reading["max_ratio"] = np.maximum(reading["max_ratio"], extra["sup_ratio"][:, None])
            reading["escaped"] = reading["escaped"] | extra["critical_escapes"][:, None]
            reading["critical_escapes"] = np.repeat(extra["critical_escapes"][:, None], starts, 1)
        out[when] = reading
    half, full = out["half"], out["full"]
    for reading in (half, full):
        reading["loss_half"] = half["loss"] if reading is full else half["loss_max"]
        reading["late_rises"] = full["rises"] - half["rises"] if reading is full else half["rises"]
        if "curvature" in full:
            reading["curvature_half"] = half["curvature"]
    return out


@partial(jax.jit, static_argnames=("batched",))
def _curvature(system: Any, states: Any, batched: tuple[str, ...]) -> jax.Array:
    return over_lanes(lambda s, x: s.curvature(x), system, batched, states)


@partial(jax.jit, static_argnames=("batched", "observable"))
def _observed(system: Any, states: Any, batched: tuple[str, ...], observable: Observable) -> jax.Array:
    return over_lanes(observable.function, system, batched, states)
