"""Classifiers: from the evidence of a run to its phase. Pure functions of numbers; they never meet a system.

The thresholds below are the whole of the judgement. A label is given when the numbers exclude the others; everything
else is ``undecided``, which is an answer.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from trainphase.phase import TRAINING, Reading

# The loss rises when it exceeds its predecessor by more than rounding.
RISE = 1e-12
# A Lyapunov exponent has a sign when it is 4 standard errors from zero ...
SIGMAS = 4.0
# ... and has changed the tangent by e^10 over the window it was measured on: more than a power law would, since a
# tangent that grows like the number of steps reaches e^8.5 over 5 000.
GROWTH = 10.0
# A state repeats when the distance is below this share of the largest residual.
REPEATS = 1e-7
# The loss is gone when the residual is below 1e-8 of the largest.
GONE = 1e-16
# Below this, the curvature extrapolated over twice its recent drift keeps gradient descent stable.
STABLE = 2.0

RULES = (
    "the state escaped",
    "stable cycle found, 1 - |multiplier| is the margin",
    "the state repeats within 1e-7, or the loss is gone (1e-16 of the largest); margin in decades",
    "Lyapunov exponent above 4 standard errors, the excess is the margin",
    "Lyapunov exponent below -4 standard errors: an unresolved stable cycle",
    "the state closes in on a cycle, its slow modes still converging",
    "the loss falls and the extrapolated curvature stays below 2 by the margin",
    "nothing decides within the horizon",
)


def _column(evidence: Mapping[str, Any], name: str, default: float) -> np.ndarray:
    return np.asarray(evidence.get(name, default), float)


def training(evidence: Mapping[str, Any]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Phases of the ``training`` vocabulary.

    Parameters
    ----------
    evidence : arrays that broadcast to one shape. ``escaped``; ``max_ratio``, the largest loss(t+1)/loss(t);
        ``lyapunov``, ``lyapunov_se`` per step and ``growth_steps``, the steps they were measured over; ``loss``,
        ``loss_half``, ``loss_max``; for scalar maps ``cycle`` (the period of a stable cycle, 0 for none) and
        ``multiplier``; for others ``repeat`` (the least period at which the state repeats, 0 for none) and
        ``repeat_distance``; ``curvature`` and ``curvature_half`` (step size times kernel eigenvalue); ``late_rises``,
        the rises of the loss in the second half; ``scalar``, true for scalar maps;
        ``approach``, the period of a cycle that a vector state closes in on; ``repeats``, true for an orbit of a scalar
        map that repeats to rounding.

    Returns codes, margins and the index into ``RULES`` of the rule that decided.
    """
    escaped = _column(evidence, "escaped", 0.0) > 0
    rises = _column(evidence, "max_ratio", 0.0) > 1 + RISE
    lam, se = _column(evidence, "lyapunov", np.nan), _column(evidence, "lyapunov_se", np.nan)
    cycle, multiplier = _column(evidence, "cycle", 0.0), np.abs(_column(evidence, "multiplier", np.nan))
    repeat, distance = _column(evidence, "repeat", 0.0), _column(evidence, "repeat_distance", np.nan)
    loss, loss_max = _column(evidence, "loss", np.nan), _column(evidence, "loss_max", np.nan)
    curvature, half = _column(evidence, "curvature", np.nan), _column(evidence, "curvature_half", np.nan)
    scalar = _column(evidence, "scalar", 0.0) > 0

    with np.errstate(invalid="ignore", divide="ignore"):
        enough = np.abs(lam) * _column(evidence, "growth_steps", 0.0) > GROWTH
        on_cycle = (cycle >= 1) & (multiplier < 1)
        gone = ~scalar & (loss <= GONE * loss_max)
        again = ~scalar & ((repeat >= 1) | gone)
        chaotic = enough & (lam > SIGMAS * se) & ~(_column(evidence, "repeats", 0.0) > 0)
        contracting = scalar & enough & (lam < -SIGMAS * se)
        reach = curvature + 2 * np.abs(curvature - half)
        falling = (
            ~scalar
            & (loss < _column(evidence, "loss_half", np.nan))
            & (_column(evidence, "late_rises", 1.0) == 0)
            & (reach < STABLE)
        )
        approach = _column(evidence, "approach", 0.0)
        tests = [escaped, on_cycle, again, chaotic, contracting, approach > 1, falling]
        rule = np.select(tests, range(7), 7)
        period = np.where(on_cycle, cycle, np.where(gone, 1, repeat))
        settles = ((rule == 1) | (rule == 2)) & (period == 1) | (rule == 6)
        cycles = ((rule == 1) | (rule == 2)) & (period > 1) | (rule == 4) | (rule == 5)
        closeness = -np.log10(np.maximum(distance / REPEATS, 1e-300))
        depth = np.log10(np.maximum(GONE * loss_max, 1e-300) / np.maximum(loss, 1e-300))
        margin = np.select(
            tests,
            [np.full_like(lam, np.inf), 1 - multiplier, np.where(repeat >= 1, closeness, depth),
             lam - SIGMAS * se, -lam - SIGMAS * se, np.zeros_like(lam), STABLE - reach],
            0.0,
        )  # fmt: skip
    code = {name: TRAINING.index(name) for name in TRAINING.labels}
    codes = np.select(
        [rule == 0, settles & ~rises, settles & rises, cycles, rule == 3],
        [code["divergent"], code["monotonic"], code["catapult"], code["periodic"], code["chaotic"]],
        code["undecided"],
    )
    return codes.astype(np.uint8), margin, rule.astype(np.uint8)


def read_training(evidence: Mapping[str, Any]) -> Reading:
    """The reading of one run from scalar evidence; keys as for :func:`training`."""
    codes, margin, rule = training(evidence)
    shown = {k: np.asarray(v).item() for k, v in evidence.items() if np.ndim(v) == 0}
    return Reading(TRAINING, TRAINING.label(int(codes)), float(margin), RULES[int(rule)], shown)
