"""Classifiers: from the evidence of a run to its phase. Pure functions of numbers; they never meet a system.

The thresholds below are the whole of the judgement. A label is given when the numbers exclude the others; everything
else is ``undecided``, which is an answer.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from trainphase.phase import EDGE, REGIME, TRAINING, Reading, Vocabulary, foreign

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

    with np.errstate(invalid="ignore", divide="ignore", over="ignore"):
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


# --- edge ---------------------------------------------------------------------------------------------------

# The edge is met when the curvature is within a tenth of 2 ...
AT_EDGE = 0.2
# ... and the curvature has risen when it is more than a twentieth above its start.
SHARPER = 0.05
# Motion per window counts as steady below this relative change: a cycle that is reached repeats to rounding.
STEADY = 1e-6
# Steps that shrink like a power of time lose log(7/6) in the last window and log(3/2), 2.6 times that, in the third; steps
# that close in on a value above zero lose ever less.
FADING = 0.3
# Over three quarters of the horizon a loss that vanishes like the inverse square root of time loses log(7/2) / 2 at least.
FALLEN = 0.5
# A wandering run's windows are within this factor of each other, or its last one is half of its largest after turning
# twice: less may be the tail of a burst.
ALIKE, LASTING = 2.0, 0.5
# A run that hovers at the edge loses a quarter of its loss between the first and the last third of the time that is judged,
# and some of it in each: the mean losses of a run that goes nowhere are the same but for fluctuations.
PROGRESS = 0.25

EDGE_RULES = (
    "the state escaped",
    "the run settled; margin of the final curvature to the nearest threshold",
    "the steps shrink from window to window; margin of the extrapolated curvature to the nearest threshold",
    "the steps repeat from window to window, at or beyond the edge; margin in decades below a change of 1e-6",
    "the steps go up and down without shrinking, at or beyond the edge; margin is the last window's share less 0.5",
    "nothing moves the run from where it is, stable or not",
    "nothing decides within the horizon",
    "the loss falls while the curvature stays at the edge; margin of the window farthest from 2 to the band of 0.2",
)


def _where_it_ends(
    start: np.ndarray, low: np.ndarray, high: np.ndarray, flow: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """The label of a run whose curvature ends between ``low`` and ``high``, or undecided; and its margin.

    For a flow 2 is a number like any other: it has no step, and so no edge.
    """
    flat, sharp, edge = (EDGE.index(name) for name in ("flat", "sharpening", "edge-of-stability"))

    def one(c: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        off, up = np.where(flow, np.inf, np.abs(c - STABLE) - AT_EDGE), c - (1 + SHARPER) * start
        code = np.where(off <= 0, edge, np.where(up > 0, sharp, flat))
        return code, np.where(off <= 0, -off, np.minimum(off, np.abs(up)))

    (below, left), (above, right) = one(low), one(high)
    # Between two values with one label lies no other label, but for the edge's band between two values off it.
    across = ~flow & (low < STABLE - AT_EDGE) & (high > STABLE + AT_EDGE)
    return np.where((below == above) & ~across, below, EDGE.undecided), np.minimum(left, right)


def _progress(losses: Any, shape: tuple[int, ...]) -> np.ndarray:
    """True where the mean loss falls from third to third of the last three quarters of the windows, and by PROGRESS in all."""
    if losses is None:
        return np.zeros(shape[0], bool)
    late = np.asarray(losses, float)[:, shape[1] // 4 :]
    first, second, third = (part.mean(axis=1) for part in np.array_split(late, 3, axis=1))
    return (third < second) & (second < first) & (third <= (1 - PROGRESS) * first)


def edge(evidence: Mapping[str, Any]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Phases of the ``edge`` vocabulary.

    Parameters
    ----------
    evidence : ``escaped``, ``settled`` (the steps are negligible beside the largest, by the system's measure), shape (N,);
        ``moved``, the largest squared step; ``unstable``, settled where the sharpness is above 2; ``flow``, whether the loss
        falls by construction; ``curvature_start`` and ``curvature`` (step size times top kernel eigenvalue,
        exactly, at both ends); ``motion`` (largest squared step per window, windows of equal length), ``curvature_mean``
        and ``curvature_top`` per window, shape (N, W); optionally ``loss_mean`` per window.

    Returns codes, margins (in units of the curvature unless the rule says otherwise) and the index into ``EDGE_RULES``.
    """
    escaped, settled = _column(evidence, "escaped", 0.0) > 0, _column(evidence, "settled", 0.0) > 0
    start, end = _column(evidence, "curvature_start", np.nan), _column(evidence, "curvature", np.nan)
    motion, mean = _column(evidence, "motion", np.nan), _column(evidence, "curvature_mean", np.nan)
    top = _column(evidence, "curvature_top", np.nan)
    still = ~(_column(evidence, "moved", np.nan) > 0) | (_column(evidence, "unstable", 0.0) > 0)
    flow = _column(evidence, "flow", 0.0) > 0
    late = motion[:, motion.shape[1] // 4 :]
    with np.errstate(invalid="ignore", divide="ignore", over="ignore"):
        change = np.diff(np.log(late), axis=1)
        # Signs are those of the numbers: of two that differ in the last bit, the logarithms may be equal or not.
        sign = np.sign(np.diff(late, axis=1))
        down, up = np.all(sign < 0, axis=1), np.all(sign > 0, axis=1)
        lasts = np.abs(change[:, -1]) >= FADING * np.abs(change[:, 0])
        falls = down & lasts & (-np.sum(change, axis=1) >= FALLEN) & ((top[:, -1] < STABLE + AT_EDGE) | flow)
        drift = 2 * np.abs(mean[:, -1] - mean[:, -2])
        settled_as, settled_by = _where_it_ends(start, end, end, flow)
        falling_as, falling_by = _where_it_ends(start, mean[:, -1] - drift, mean[:, -1] + drift, flow)
        repeats = np.max(np.abs(change), axis=1, where=np.isfinite(change), initial=0.0)
        share = late[:, -1] / np.max(late, axis=1)
        turns = np.sum(np.diff(sign, axis=1) != 0, axis=1)
        beyond = (top[:, -1] > STABLE - AT_EDGE) & ~flow
        alike = (np.max(late, axis=1) <= ALIKE * np.min(late, axis=1)) & ~down & ~up
        wanders = alike | ((turns >= 2) & (share >= LASTING))
        falling_as = np.where(falls & (falling_by > 0), falling_as, EDGE.undecided)
        near = AT_EDGE - np.max(np.abs(mean[:, mean.shape[1] // 4 :] - STABLE), axis=1)
        hovers = (near > 0) & ~flow & _progress(evidence.get("loss_mean"), motion.shape)
    last = EDGE.undecided
    steady = beyond & np.isfinite(repeats) & (repeats < STEADY)
    tests = [escaped, still, settled, steady, falling_as != last, hovers, beyond & wanders]
    rule = np.select(tests, [0, 5, 1, 3, 2, 7, 4], 6)
    bounded = EDGE.index("bounded")
    codes = np.select(
        [rule == k for k in (0, 1, 2, 3, 4, 7)],
        [EDGE.index("divergent"), settled_as, falling_as, bounded, bounded, EDGE.index("edge-of-stability")],
        last,
    )
    with np.errstate(invalid="ignore", divide="ignore", over="ignore"):
        decades = np.log10(STEADY / np.maximum(repeats, 1e-300))
        by = [np.inf, settled_by, falling_by, decades, share - LASTING, near]
        margin = np.select([rule == k for k in (0, 1, 2, 3, 4, 7)], by, 0.0)
    return codes.astype(np.uint8), margin, rule.astype(np.uint8)


# --- regime -------------------------------------------------------------------------------------------------

# A slope within 0.05 of zero is critical: over a factor of 40 in width the distance then changes by less than a fifth ...
LEVEL = 0.05
# ... and a label is given when two standard errors do not reach the threshold.
REGIME_SIGMAS = 2.0

REGIME_RULES = (
    "slope S_w against the thresholds at -0.05 and 0.05; margin of two standard errors to the nearest",
    "a net did not reach its target loss",
    "one width has no slope; give a ladder such as width=1000,5000,10000",
)


def regime(evidence: Mapping[str, Any]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Phases of the ``regime`` vocabulary.

    Parameters
    ----------
    evidence : ``slope``, d ln RD / d ln m, and ``slope_se``, its standard error (NaN from two nets: taken as 0);
        ``converged``, whether every net reached its target loss; arrays of one shape.

    Returns codes, margins (in units of the slope) and the index into ``REGIME_RULES``.
    """
    slope, se = _column(evidence, "slope", np.nan), _column(evidence, "slope_se", np.nan)
    reach = REGIME_SIGMAS * np.where(np.isfinite(se), se, 0.0)
    converged = _column(evidence, "converged", 1.0) > 0
    with np.errstate(invalid="ignore"):
        margin = np.abs(np.abs(slope) - LEVEL) - reach
        name = np.where(np.abs(slope) <= LEVEL, REGIME.index("critical"),
                        np.where(slope < 0, REGIME.index("linear"), REGIME.index("condensed")))  # fmt: skip
        known = np.isfinite(slope) & converged & (margin > 0)
    codes = np.where(known, name, REGIME.undecided)
    rule = np.where(~np.isfinite(slope), 2, np.where(converged, 0, 1))
    return codes.astype(np.uint8), np.where(rule == 0, margin, 0.0), rule.astype(np.uint8)


RULES_OF = {TRAINING.name: RULES, EDGE.name: EDGE_RULES, REGIME.name: REGIME_RULES}


def rules_of(name: str) -> tuple[str, ...]:
    """What decides in the vocabulary of that name, built in or of another package."""
    return RULES_OF[name] if name in RULES_OF else foreign(name).rules


def read(vocabulary: Vocabulary, evidence: Mapping[str, Any]) -> Reading:
    """The reading of one run; keys as for :func:`training`, :func:`regime` (numbers) or :func:`edge` (and windows)."""
    if vocabulary is EDGE:
        codes, margin, rule = edge({k: np.asarray(v)[None] for k, v in evidence.items()})
    elif vocabulary is REGIME:
        codes, margin, rule = regime(evidence)
    else:
        codes, margin, rule = training(evidence) if vocabulary is TRAINING else foreign(vocabulary.name).classify(evidence)
    code, by, why = (np.asarray(x).reshape(-1)[0] for x in (codes, margin, rule))
    shown = {k: np.asarray(v).item() for k, v in evidence.items() if np.ndim(v) == 0}
    return Reading(vocabulary, vocabulary.label(int(code)), float(by), rules_of(vocabulary.name)[int(why)], shown)
