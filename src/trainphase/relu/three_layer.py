"""Gradient flow of the three-layer ReLU net to a target loss, and slopes of its relative distances over widths.

The flow is stiff where the net is a kernel machine and grows exponentially where its neurons condense; time scales
differ by ten orders of magnitude over the phase diagram. With the Jacobian J of F (n x parameters; see
:mod:`trainphase.systems.relu3`) the residual obeys e' = -K e with K = (kappa / n) J r J^T, a small n x n matrix. A step
of length h solves this exactly with K frozen,

    predictor:  dV = -(r/n) J_0^T E,  E = int e ds = h phi_1(-h K_0) e,  phi_1(x) = (exp(x) - 1) / x,

and then again with a mean Jacobian Jm between the ends,

    corrector:  dV = -(r/n) Jm^T E,  E = h phi_1(-h K_m) e,  K_m = (kappa / n) Jm r Jm^T.

Jm is the discrete gradient: weights and activations are means of both ends, and the slope of a ReLU is that of its secant,
(relu(z_1) - relu(z_0)) / (z_1 - z_0). Then Jm dV is the exact change of F between the ends: the stiff part of the residual
lands where the exponential says, and a neuron that switches within the step does so at its time, to second order in h.
Predictor minus corrector estimates the error. Where the kernel hardly moves, a few steps do, however stiff it is; where
neurons grow, the step follows the growth. The residual is always computed from the weights.

The change of W2 is kept apart from W2(0), as a product A B^T of matrices with few columns: every step appends n of
them, and a singular value decomposition drops what is below rounding. So W2(0) is only read (four times a step), it may
be in single precision without loss of small changes, and |W2 - W2(0)| is exact to rounding.

Sliding: on few data a neuron can come to rest with its kink on a datum, pushed there from both sides. Its velocity is
discontinuous, and an adaptive method of high order shrinks its steps without end; here the secant averages both sides,
and the error is of first order in h.

Memory: m^2 numbers for W2(0) (8 or 4 bytes each), several times while it is laid out, and 16 R bytes per neuron and copy
for A and B, R = 256 or more: at m = 10000 in single precision 2.4 GB at most.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from scipy.sparse.linalg import svds

from trainphase._arrays import precision
from trainphase.errors import RequestError
from trainphase.relu._step3 import Factors, State, attempt, layout, shorten, singular, start
from trainphase.systems.relu3 import Data, Layers, ReLU3, relu3

LAYERS: tuple[str, ...] = ("W1", "W2", "a")
CONVERGED, STEP_LIMIT, TIME_LIMIT = "converged", "step-limit", "time-limit"
AT_REST, STALLED = "at-rest", "stalled"
TOLERANCE, FINER = 0.05, 0.25
SAFETY, GROWTH, SHRINK = 0.85, 5.0, 0.1
FIRST_STEP = 0.01  # relative change of the fastest layer in the first step, before the step control knows better
STALL = 30  # steps in a row that are refused, or that grow to the limit while the loss stands still
# A net is at rest when loss and relative distances have stood still, to this part of themselves, for so many steps and since
# the time was so many times less. Steps need not grow then: neurons that slide keep them short.
STILL, REST, SINCE = 1e-9, 100, 2.0


@dataclass(frozen=True)
class Run3:
    """A run of the three-layer net.

    outcome : "converged", "step-limit", "time-limit", "at-rest" (above the target the loss has stopped falling, and to
        rounding no weight moves: such as at a saddle point) or "stalled" (rounding: the residual is below it, or no step
        is accepted).
    distance : layer -> supremum over time of the relative distance (Frobenius norm; of the first copy).
    uncertainty : layer -> by how much ``distance`` moved when the tolerance was cut to a quarter; NaN unless checked.
    distance_operator : the relative distance of W2 at the end in the operator norm; NaN unless asked for.
    loss : mean(e^2) at the end, squared units of y. time : s at the end (see :mod:`trainphase.systems.relu3`).
    steps, rejected : accepted and repeated steps. seconds : wall clock, compilation included.
    times, losses : shape (steps + 1,). distances : shape (steps + 1, 3), of W1, W2, a along the run.
    predictions : f on the data at the end, shape (n,).
    weights : all weights at the end, rescaled (see :class:`trainphase.systems.relu3.Layers`); None unless asked for.
    """

    outcome: str
    distance: dict[str, float]
    uncertainty: dict[str, float]
    distance_operator: float
    loss: float
    time: float
    steps: int
    rejected: int
    seconds: float
    times: np.ndarray
    losses: np.ndarray
    distances: np.ndarray
    predictions: np.ndarray
    weights: Layers | None = None


def flow3(
    system: ReLU3,
    target: float = 1e-6,
    *,
    tolerance: float = TOLERANCE,
    check: bool = False,
    max_steps: int = 20_000,
    max_time: float = math.inf,
    operator_norm: bool = False,
    weights: bool = False,
    progress: Callable[[int, float, float], None] | None = None,
) -> Run3:
    """Gradient flow until mean(e^2) <= ``target``.

    Parameters
    ----------
    target : of the loss mean(e^2), squared units of y.
    tolerance : of the predictor in one step, relative to the change of each layer so far. The corrector does better:
        relative distances come out to about a tenth of the tolerance, and to about the tolerance itself where few
        neurons carry the fit (gamma3 >= 2 and gamma2 well below 3/2 - gamma3): see ``check``.
    check : run again with a quarter of the tolerance (some three times the steps), and report the finer run with the
        difference as its uncertainty.
    max_steps, max_time : where to give up; time in units of s.
    operator_norm : also the relative distance of W2 in the operator norm, at the end.
    weights : also the weights at the end; W2 is 8 m^2 bytes for each copy.
    progress : called after every accepted step with (steps, s, loss).

    Raises RequestError for a target, a tolerance or a limit that is not positive.
    """
    for name, value in (("target", target), ("tolerance", tolerance), ("max_steps", max_steps), ("max_time", max_time)):
        if not value > 0:
            raise RequestError(f"{name} = {value} is not positive; give a number above 0")
    system.check()
    with precision("float64"):
        run = _run(system, target, _Control(tolerance, max_steps, max_time), operator_norm, weights and not check, progress)
        if not check:
            return run
        fine = _run(system, target, _Control(FINER * tolerance, max_steps, max_time), operator_norm, weights, progress)
    moved = {layer: abs(fine.distance[layer] - run.distance[layer]) for layer in LAYERS}
    return replace(fine, uncertainty=moved, seconds=run.seconds + fine.seconds)


@dataclass
class _Control:
    """Lengths of steps, and when to stop."""

    tolerance: float
    max_steps: int
    max_time: float
    h: float = math.inf
    s: float = 0.0
    steps: int = 0
    rejected: int = 0
    refused: int = 0
    still: int = 0
    grew: bool = False
    most: float = GROWTH
    # Steps, time, loss and distances when the net last moved.
    moved: tuple[int, float, float, np.ndarray] | None = None

    def next(self) -> float:
        """The length of the next attempt."""
        return min(self.h, self.max_time - self.s)

    def accept(self, error: float, used: float) -> bool:
        """Whether an attempt of length ``used`` counts, from its error in tolerances; sets the next length."""
        if not error <= 1.0:
            # Neurons that switch leave an error of first order in h. A step after a failure does not grow at once.
            self.h = used * (max(SAFETY / error, SHRINK) if error < math.inf else SHRINK)
            self.rejected, self.refused, self.most = self.rejected + 1, self.refused + 1, 1.0
            return False
        factor = min(SAFETY / math.sqrt(max(error, 1e-9)), self.most)
        self.h, self.grew, self.most = used * factor, factor == GROWTH, GROWTH
        self.s, self.steps, self.refused = self.s + used, self.steps + 1, 0
        return True

    def outcome(self, before: float, loss: float, distances: np.ndarray, noise: float, target: float) -> str:
        """The outcome after an accepted step, or an empty word while the run goes on; ``noise`` is that of the residual."""
        stands = self._stands(before, loss, noise)
        self.still = self.still + 1 if self.grew and stands else 0
        if loss <= target:
            return CONVERGED
        if math.sqrt(loss) <= noise:
            return STALLED
        if self._rests(loss, distances, noise) or self.still >= STALL:
            return AT_REST
        if self.steps >= self.max_steps:
            return STEP_LIMIT
        if self.s >= self.max_time * (1 - 1e-12):
            return TIME_LIMIT
        return ""

    @staticmethod
    def _stands(before: float, loss: float, noise: float) -> bool:
        return abs(loss - before) <= max(STILL * before, 4 * noise * math.sqrt(before))

    def _rests(self, loss: float, distances: np.ndarray, noise: float) -> bool:
        """Whether loss and distances are what they were REST steps ago and when the time was a SINCE-th."""
        if self.moved is not None:
            steps, s, then, there = self.moved
            if self._stands(then, loss, noise) and np.all(np.abs(distances - there) <= STILL * there):
                return self.steps - steps >= REST and self.s >= SINCE * s
        self.moved = self.steps, self.s, loss, distances
        return False


def _run(system: ReLU3, target: float, control: _Control, operator_norm: bool, weights: bool, progress: Any) -> Run3:
    began = time.perf_counter()
    net, room = layout(system), len(system.y)
    columns = max(256, 16 * room)
    factors, count = Factors(*(jnp.zeros((*net.a.shape, columns)) for _ in "AB")), 0
    state, speeds = start(net)
    sizes = np.array([np.linalg.norm(np.asarray(W, np.float64).ravel()) for W in (system.W1, system.W2, system.a)])
    fastest = float(np.max(np.asarray(speeds) / sizes))
    loss = float(np.mean(np.square(np.asarray(state.e))))
    path = [(0.0, loss, np.zeros(3))]
    outcome = CONVERGED if loss <= target else "" if fastest > 0 else AT_REST
    control.h = FIRST_STEP / fastest if fastest > 0 else math.inf
    limits = jnp.asarray(target), jnp.asarray(control.tolerance)
    while not outcome:
        if count + room > factors.A.shape[2]:
            factors, count, square = shorten(factors, count, 8 * room)
            state = state._replace(filled=jnp.asarray(count, jnp.int32), square=jnp.asarray(square))
        new, factors, out = attempt(net, state, factors, jnp.asarray(control.next()), *limits)
        if not control.accept(float(np.max(np.asarray(out["errors"]))), float(out["h"])):
            outcome = STALLED if control.refused >= STALL else ""
            continue
        state, before, loss, count = new, loss, float(out["loss"]), count + room
        path.append((control.s, loss, np.asarray(out["change"]) / sizes))
        if progress is not None:
            progress(control.steps, control.s, loss)
        outcome = control.outcome(before, loss, path[-1][2], float(out["noise"]), target)
    times, losses, distances = (np.array(column) for column in zip(*path, strict=True))
    return Run3(
        outcome, dict(zip(LAYERS, distances.max(0).tolist(), strict=True)), dict.fromkeys(LAYERS, math.nan),
        _operator(system, factors, count) if operator_norm else math.nan, loss, control.s, control.steps, control.rejected,
        time.perf_counter() - began, times, losses, distances, np.asarray(state.e) + np.asarray(system.y),
        _weights(system, state, factors, count) if weights else None,
    )  # fmt: skip


def _weights(system: ReLU3, state: State, factors: Factors, count: int) -> Layers:
    """The start and its change, as arrays of NumPy."""
    start = system.init()
    change = jnp.einsum("kpr,kmr->kpm", factors.A[:, :, :count], factors.B[:, :, :count])
    return jax.tree.map(np.asarray, Layers(start.W1 + state.W1, start.W2 + change, start.a + state.a))


def _operator(system: ReLU3, factors: Factors, count: int) -> float:
    """|W2 - W2(0)| / |W2(0)| in the operator norm, of the first copy."""
    if not count:
        return 0.0
    change = singular(np.asarray(factors.A[0])[:, :count], np.asarray(factors.B[0])[:, :count])[1][0]
    W2 = np.asarray(system.W2)
    # The top of the spectrum of a random matrix is dense: a relative accuracy of 1e-3 in its norm is what iterating gives.
    top: Any = partial(svds, k=1, return_singular_vectors=False)
    return float(change / top(W2, tol=1e-3, v0=np.ones(len(W2), W2.dtype))[0])


@dataclass(frozen=True)
class Slopes3:
    """Slopes of ln(sup over time of the relative distance) against ln m, per layer.

    slope, error : layer -> mean over seeds of the least-squares slope, and its standard error over seeds (NaN for one
        seed). Both are NaN when a run did not reach the target loss.
    distance : shape (seeds, widths, 3), of W1, W2, a. outcome, loss, steps, seconds : shape (seeds, widths).
    widest : the run of the last width and the first seed.
    """

    slope: dict[str, float]
    error: dict[str, float]
    widths: tuple[int, ...]
    distance: np.ndarray
    outcome: np.ndarray
    loss: np.ndarray
    steps: np.ndarray
    seconds: np.ndarray
    widest: Run3


def slopes3(
    gamma3: float,
    gamma2: float,
    inputs: Data,
    targets: Data,
    *,
    widths: Sequence[int] = (125, 250, 500, 1000, 2000),
    seeds: Sequence[int] = (0, 1, 2),
    target: float = 1e-6,
    tolerance: float = TOLERANCE,
    bias: bool = True,
    antisymmetric: bool = False,
    w2_dtype: str = "float64",
    max_steps: int = 20_000,
    progress: Callable[[int, int, Run3], None] | None = None,
) -> Slopes3:
    """Slopes over a ladder of widths; draws are independent between widths and seeds. Arguments: :func:`relu3`, :func:`flow3`.

    ``progress`` is called after every run with (seed, width, run). Raises RequestError for less than two widths or no seed.
    """
    if len(set(widths)) < 2 or not len(seeds):
        raise RequestError(f"widths = {tuple(widths)} and seeds = {tuple(seeds)} give no slope; give two widths and a seed")
    shape = len(seeds), len(widths)
    distance, outcome = np.zeros((*shape, 3)), np.full(shape, "", "U16")
    steps, seconds, loss = np.zeros(shape, int), np.zeros(shape), np.zeros(shape)
    widest: Run3 | None = None
    for j, width in enumerate(widths):
        for i, seed in enumerate(seeds):
            system = relu3(
                width, inputs, targets, gamma3=gamma3, gamma2=gamma2, seed=seed, bias=bias,
                antisymmetric=antisymmetric, w2_dtype=w2_dtype,
            )  # fmt: skip
            run = flow3(system, target, tolerance=tolerance, max_steps=max_steps)
            distance[i, j] = [run.distance[layer] for layer in LAYERS]
            outcome[i, j], loss[i, j], steps[i, j], seconds[i, j] = run.outcome, run.loss, run.steps, run.seconds
            widest = run if j == len(widths) - 1 and i == 0 else widest
            if progress is not None:
                progress(seed, width, run)
    x = np.log(np.asarray(widths, float))
    x = x - x.mean()
    with np.errstate(divide="ignore", invalid="ignore"):
        each = np.einsum("j,ijl->il", x, np.log(distance)) / np.sum(x * x)
    each = each if np.all(outcome == CONVERGED) else np.full_like(each, math.nan)
    error = each.std(0, ddof=1) / math.sqrt(len(seeds)) if len(seeds) > 1 else np.full(3, math.nan)
    named = [dict(zip(LAYERS, v.tolist(), strict=True)) for v in (each.mean(0), error)]
    assert widest is not None
    return Slopes3(named[0], named[1], tuple(widths), distance, outcome, loss, steps, seconds, widest)
