"""One net trained to its loss target, and the slope S_w of its relative distance over a ladder of widths and seeds.

A wide net over data of rank 2 is first binned: coarsely, then four times finer with a smaller tolerance, until the error
is within the accuracy asked for, or there is a particle for every neuron. The error is estimated from the change of the
relative distances, which is mostly the error of the coarser of the two. Where the second level is fine enough for the first
seed of a width, the first one is enough for its other seeds if the change was small, else the second alone.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, NamedTuple

import numpy as np

from trainphase._arrays import precision
from trainphase.relu import descent as descent_of
from trainphase.relu import initial, two_layer

# Bins and the tolerance of a step: coarse, fine, finer; 0 bins for all neurons. Most of the error is that of the bins.
LEVELS = ((16, 3e-2), (64, 1e-2), (256, 1e-2), (1024, 3e-3))
# Further ones for nets with at least FEWER times as many particles. Between gamma = 1.1 and 1.25, at gamma' near -0.35 and
# 250 000 neurons, the first four leave an error of up to 8 %, the fifth of 2 %, in a fiftieth of the time that all neurons take.
FINER, FEWER = ((4096, 3e-3), (16_384, 3e-3)), 4
ALL = (0, 1e-3)
# Without bins the tolerance alone is refined.
UNBINNED = ((0, 1e-2), (0, 3e-3), ALL)
# Particles of a bin: three nodes, twice where there is a second copy; tails have further bins.
PER_BIN = 6
# The change from one level to the next, of both relative distances, is near the error of the coarser one. On 118 nets (14
# points, widths 1 500 to 10 000) this part of the larger change, with what bins of any size leave, covered 0.92 of the errors
# of the second level and 0.93 of those of the first; with 1.5 it would be 0.91 and 0.88.
SAFETY = 2.0
# Bins keep how much of their weight the first copy's a > 0 have, but not in which direction: this much over sqrt(width).
SAMPLING = 0.5
# Other seeds of a width are trained at the first level if the error it showed is at most this part of the accuracy.
HALF = 0.5
MOST_ATTEMPTS = 20_000
SERIES = ("time", "loss", "relative_distance", "relative_distance_a")
# Attempts between two looks of the host, which Ctrl-C waits for.
LOOK = 2_000
# Gradient descent: the paper's bound on steps, and how often the step may be halved (2^-40).
MOST_STEPS = 800_000
LEAST_LR0 = 1e-12


@dataclass(frozen=True, eq=False)
class Sizes:
    """The data and what does not vary over a diagram.

    X : (n, r) coordinates in the row space, bias included. outside : dimensions of the inputs beyond it. y : (n, c).
    antisymmetric : whether a second copy (-a, w) makes the start zero. target : mean squared residual to train to.
    """

    X: np.ndarray
    outside: int
    y: np.ndarray
    antisymmetric: bool = True
    target: float = 1e-6

    @property
    def bins(self) -> bool:
        """Whether neurons can be binned: a direction in a plane and one output."""
        return self.X.shape[1] == 2 and self.y.shape[1] == 1


class _Descended(NamedTuple):
    """What of a state the weights at the end are read from."""

    u: np.ndarray
    change: np.ndarray


@dataclass(frozen=True, eq=False)
class Trained:
    """A net at the end of training, of one width and seed.

    relative_distance : sup of |w(t) - w(0)| / |w(0)| over all input weights of the first copy; relative_distance_a of the
    output weights. error : estimated relative error of the former; NaN where there was nothing to compare with. loss : mean
    squared residual. time : rescaled. bins : 0 where each neuron was a particle of its own. forced : steps whose error
    was not within the tolerance. series : rescaled time, mean squared residual and relative distances after every step, by
    name, of a flow that was traced; else None.
    """

    width: int
    seed: int
    relative_distance: float
    relative_distance_a: float
    error: float
    loss: float
    time: float
    outcome: str
    attempts: int
    forced: int
    bins: int
    kappa_prime: float
    start: initial.Bundle
    state: two_layer.State | _Descended = field(repr=False)
    series: dict[str, np.ndarray] | None = field(default=None, repr=False)

    @property
    def particles(self) -> int:
        """Particles that stood for the neurons."""
        return self.start.mass.size

    @property
    def a(self) -> np.ndarray:
        """Output weights at the end in units of beta1, (c, N), of the particles ``start``."""
        return np.asarray(self.state.u) / self.kappa_prime

    @property
    def w(self) -> np.ndarray:
        """Input weights at the end in units of beta2 and in the row space of the data, (r, N)."""
        return self.start.w + np.asarray(self.state.change)

    @property
    def conserved(self) -> float:
        """Largest change of kappa'^2 a^2 - |w|^2 of a particle, relative to the sum of the two."""
        u0, u, w = self.kappa_prime * self.start.a, self.kappa_prime * self.a, self.w
        before = np.sum(u0 * u0, 0) - np.sum(np.square(self.start.w), 0)
        left, right = np.sum(u * u, 0), np.sum(w * w, 0)
        return float(np.max(np.abs(left - right - before) / (left + right)))


@dataclass(frozen=True, eq=False)
class Slope:
    """S_w over a ladder: least squares of ln RD over ln m, with the standard error of that fit.

    distances, errors, losses : (widths, seeds). narrower : the slope without the widest nets.
    """

    widths: tuple[int, ...]
    seeds: tuple[int, ...]
    slope: float
    slope_se: float
    narrower: float
    narrower_se: float
    distances: np.ndarray
    distances_a: np.ndarray
    errors: np.ndarray
    losses: np.ndarray
    converged: bool
    particles: int
    attempts: int
    widest: Trained | None = field(default=None, repr=False)


def train(
    gamma: float, gamma_prime: float, width: int, seed: int, sizes: Sizes, accuracy: float = 0.01, start: Any = None,
    level: int | None = None, descent: float | None = None, traced: bool = False,
) -> Trained:  # fmt: skip
    """Gradient flow of the net at (gamma, gamma') to its target; with ``descent`` gradient descent, of that lr0.

    Parameters
    ----------
    accuracy : relative error to reach for the relative distance, where neurons are binned. ``level`` : this entry of LEVELS
        instead (-1: all neurons), without an error estimate. start : :class:`initial.Weights` instead of draws of the seed.
    traced : keep what ``series`` of the result has; every step then costs a call.
    """
    kappa, kappa_prime = float(width) ** -gamma, float(width) ** -gamma_prime
    weights = start if start is not None else draws(width, seed, sizes)
    if descent is not None:
        return _descended(kappa, kappa_prime, weights, sizes, descent, (width, seed))
    copies = 2 if sizes.antisymmetric else 1
    if level is not None:
        chosen = [ALL if level < 0 else LEVELS[level]]
    else:
        chosen = [v for v in LEVELS if sizes.bins and v[0] * PER_BIN < copies * width]
        chosen += [v for v in FINER if sizes.bins and FEWER * v[0] * PER_BIN <= copies * width]
        chosen = [*chosen, ALL] if chosen else list(UNBINNED)
    previous, found = (np.nan, np.nan), None
    for bins, tolerance in chosen:
        found = _solve(kappa, kappa_prime, weights, sizes, bins, tolerance, (width, seed), previous, traced)
        if found.error <= accuracy or found.outcome != "converged":
            break
        previous = found.relative_distance, found.relative_distance_a
    assert found is not None
    return found


def _solve(
    kappa: float, kappa_prime: float, weights: initial.Weights, sizes: Sizes, bins: int, tolerance: float,
    who: tuple[int, int], previous: tuple[float, float], traced: bool,
) -> Trained:  # fmt: skip
    """One level."""
    bundle = _bundle(weights, sizes, bins)
    with precision("float64"):
        task, particles, limits = _problem(kappa, kappa_prime, weights, sizes, bundle, tolerance)
        flat = two_layer.start_flat(task, particles, limits, np.int32(0 if traced else LOOK))
        state = two_layer.parted(np.asarray(flat), task, particles)
        rows = [_row(state)]
        while state.status == two_layer.RUNNING:
            flat = two_layer.advance_flat(task, particles, flat, limits, np.int32(1 if traced else LOOK))
            state = two_layer.parted(np.asarray(flat), task, particles)
            if traced and state.taken >= len(rows):
                rows.append(_row(state))
        found = _trained(state, bundle, kappa_prime, bins, who, previous)
        return replace(found, series=dict(zip(SERIES, np.array(rows).T, strict=True))) if traced else found


def _row(state: two_layer.State) -> tuple[float, ...]:
    """What SERIES names."""
    return float(state.t), float(np.mean(np.square(state.e))), float(state.far_w), float(state.far_a)


def _problem(
    kappa: float, kappa_prime: float, weights: initial.Weights, sizes: Sizes, bundle: initial.Bundle, tolerance: float
) -> tuple[two_layer.Task, two_layer.Particles, two_layer.Limits]:
    scales = (np.float64(v) for v in (kappa, kappa_prime, weights.norm_w, weights.norm_a))
    particles = two_layer.Particles(kappa_prime * bundle.a, bundle.w, bundle.mass, bundle.share)
    limits = two_layer.Limits(np.float64(sizes.target), np.float64(tolerance), np.int32(MOST_ATTEMPTS))
    return two_layer.Task(sizes.X, sizes.y, *scales), particles, limits


def _descended(
    kappa: float, kappa_prime: float, weights: initial.Weights, sizes: Sizes, lr0: float, who: tuple[int, int]
) -> Trained:
    """Gradient descent, started again with half the step as often as the loss rises."""
    bundle = initial.neurons(weights, sizes.antisymmetric)
    with precision("float64"):
        first = descent_of.Net(bundle.a, bundle.w)
        h, tried = lr0 / kappa, 0
        while True:
            run = descent_of.train(
                first, bundle.share, sizes.X, sizes.y, kappa, kappa_prime, h, sizes.target, np.int32(MOST_STEPS)
            )
            tried += int(run.steps)
            if int(run.status) != descent_of.ROSE or h * kappa < LEAST_LR0 * lr0:
                break
            h *= 0.5
        distance, distance_a = float(run.far_w) / weights.norm_w, float(run.far_a) / weights.norm_a
        change = np.asarray(run.net.w) - bundle.w
        state = _Descended(np.asarray(run.net.a) * kappa_prime, change)
        outcome = descent_of.OUTCOMES[int(run.status)]
    return Trained(
        *who, distance, distance_a, np.nan, float(run.loss), float(h * int(run.steps)), outcome, tried, 0, 0, kappa_prime,
        bundle, state,
    )  # fmt: skip


# The same nets are trained at every point of a diagram: their draws and their bins are made once.
@functools.lru_cache(maxsize=64)
def draws(width: int, seed: int, sizes: Sizes) -> initial.Weights:
    """The start of the net of that width and seed, the same for all gamma and gamma'."""
    return initial.draw(width, seed, sizes.X.shape[1], sizes.outside, sizes.y.shape[1])


@functools.lru_cache(maxsize=256)
def _binned(weights: initial.Weights, sizes: Sizes, bins: int) -> initial.Bundle:
    return _padded(initial.binned(weights, sizes.X, bins, sizes.antisymmetric))


def _bundle(weights: initial.Weights, sizes: Sizes, bins: int) -> initial.Bundle:
    return _binned(weights, sizes, bins) if bins else _padded(initial.neurons(weights, sizes.antisymmetric))


def _padded(bundle: initial.Bundle) -> initial.Bundle:
    """As many particles as the next quarter of an octave, the last ones without mass: few shapes are few compilations."""
    count = bundle.mass.size
    step = max(2 ** int(np.floor(np.log2(count))), 256) // 4
    more = -count % step if count > 64 else 0
    if not more:
        return bundle
    a, w = (np.concatenate([v, np.repeat(v[:, :1], more, axis=1)], 1) for v in (bundle.a, bundle.w))
    mass, share = (np.concatenate([v, np.zeros(more)]) for v in (bundle.mass, bundle.share))
    return initial.Bundle(a, w, mass, share)


def _trained(
    state: two_layer.State, bundle: initial.Bundle, kappa_prime: float, bins: int, who: tuple[int, int],
    previous: tuple[float, float],
) -> Trained:  # fmt: skip
    time, loss, distance, distance_a = _row(state)
    changed = max(abs(v / w - 1) for v, w in zip((distance, distance_a), previous, strict=True))
    error = math.hypot(SAFETY * changed, SAMPLING / math.sqrt(who[0]) if bins else 0.0)
    return Trained(
        *who, distance, distance_a, error, loss, time, two_layer.OUTCOMES[int(state.status)], int(state.tried),
        int(state.forced), bins, kappa_prime, bundle, state,
    )  # fmt: skip


def fit(widths: Sequence[float] | np.ndarray, distances: np.ndarray) -> tuple[float, float]:
    """Slope of ln RD over ln m and its standard error, from all widths and seeds; ``distances`` (widths, seeds).

    The error is that of least squares: of the scatter about the line, bends of the line included. NaN from two points.
    """
    x = np.repeat(np.log(np.asarray(widths, float)), distances.shape[1])
    y = np.log(distances.ravel())
    good = np.isfinite(y)
    x, y = x[good], y[good]
    if np.unique(x).size < 2:
        return np.nan, np.nan
    x = x - x.mean()
    slope = float(x @ y / (x @ x))
    rest = y - y.mean() - slope * x
    return slope, float(np.sqrt(rest @ rest / (x.size - 2) / (x @ x))) if x.size > 2 else np.nan


def slope_along(
    place: Callable[[int], tuple[float, float]], widths: Sequence[int], seeds: Sequence[int], sizes: Sizes,
    accuracy: float = 0.05, starts: Callable[[int, int], initial.Weights] | None = None, descent: float | None = None,
    progress: Callable[[int, int], None] | None = None, traced: bool = False,
) -> Slope:  # fmt: skip
    """S_w over the widths and seeds; ``place(width)`` is (gamma, gamma').

    ``accuracy`` is that of each relative distance: over a factor of 40 in width two errors of 5 % in opposite directions
    change the slope by 0.03, and common errors cancel. ``progress(done, of)`` is called after each net. ``traced`` : trace the
    widest net of the first seed.
    """
    runs: list[list[Trained]] = []
    for k, width in enumerate(widths):
        row: list[Trained] = []
        for j, seed in enumerate(seeds):
            start = starts(width, seed) if starts is not None else None
            enough = row[0] if row and row[0].bins == LEVELS[1][0] and row[0].error <= accuracy else None
            if enough is None:
                trace = traced and k == len(widths) - 1 and j == 0
                run = train(*place(width), width, seed, sizes, accuracy, start, descent=descent, traced=trace)
            else:
                other = 0 if enough.error <= HALF * accuracy else 1
                run = replace(train(*place(width), width, seed, sizes, start=start, level=other), error=enough.error)
            row.append(run)
            if progress is not None:
                progress(k * len(seeds) + j + 1, len(widths) * len(seeds))
        runs.append(row)

    def table(name: str) -> np.ndarray:
        return np.array([[getattr(run, name) for run in row] for row in runs], float)

    converged = all(run.outcome == "converged" for row in runs for run in row)
    distances = table("relative_distance")
    full, less = fit(widths, distances), fit(widths[:-1], distances[:-1])
    return Slope(
        tuple(widths), tuple(seeds), *full, *less, distances, table("relative_distance_a"), table("error"), table("loss"),
        converged, int(table("particles").sum()), int(table("attempts").sum()), runs[-1][0],
    )  # fmt: skip


def slope(gamma: float, gamma_prime: float, widths: Sequence[int], seeds: Sequence[int], sizes: Sizes, accuracy: float = 0.05,
          starts: Callable[[int, int], initial.Weights] | None = None) -> Slope:  # fmt: skip
    """:func:`slope_along` the line of constant gamma and gamma'."""
    return slope_along(lambda _: (gamma, gamma_prime), widths, seeds, sizes, accuracy, starts)
