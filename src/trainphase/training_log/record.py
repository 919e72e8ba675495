"""A record of a training run, checked once, and the two things measured on it: the distance to the edge and the spikes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike

from trainphase.classifiers import AT_EDGE, STABLE
from trainphase.errors import RequestError
from trainphase.training_log import series
from trainphase.training_log.series import Floats, Steps

# At the edge is within a tenth of it, in units of the threshold.
BAND = AT_EDGE / STABLE
# A spike is a catapult when the ratio was at least this at its foot: measurements are apart, and the ratio was rising.
UNSTABLE = 1 - BAND
# A window is the last quarter of the measurements' span; it says something with this many of them.
FEWEST = 4

Cause = Literal["curvature", "unmeasured", "other"]


@dataclass(frozen=True)
class Record:
    """A checked record. ``loss`` holds the finite values up to ``diverged_at``, the step of the first that is not finite.

    ``ratio`` is sharpness / threshold at ``measured``; ``lr`` the step size at the last measurement, NaN if unknown.
    ``noise`` is the standard deviation of the noise of the log loss, 0 for a loss without, and ``told`` whether the user said
    that there is any or none; ``eps`` is the loss's relative rounding; ``dropped`` counts measurements that are of no use.
    """

    steps: Steps
    loss: Floats
    measured: Steps
    ratio: Floats
    lr: float
    diverged_at: int | None
    finite_after: int
    eps: float
    noise: float
    told: bool
    dropped: int

    @property
    def every_step(self) -> bool:
        """Whether the loss was recorded at every step, so that no spike can hide."""
        return self.steps.size > 1 and bool(np.all(np.diff(self.steps) == 1))


@dataclass(frozen=True)
class Distance:
    """Where the run is relative to its edge, in units of the threshold: 1 is the edge.

    ``last`` at step ``at``; ``mean`` and ``scatter`` (standard deviation) over the ``count`` measurements of the last window,
    a quarter of the record; ``late``, the mean over its second half, and ``trend``, the change from its first half to its
    second as far as it exceeds two standard errors; ``start`` and ``highest`` over the record;
    ``met``, the first step at which the ratio was 1 or more; ``steps_to_edge`` at the present trend, NaN unless the
    ratio is rising and was below 1 for the last half of the record.
    """

    at: int
    last: float
    mean: float
    scatter: float
    trend: float
    late: float
    count: int
    start: float
    highest: float
    met: int | None
    steps_to_edge: float


@dataclass(frozen=True)
class Spike:
    """The loss left its lowest value so far at step ``start``, peaked ``height`` times above at ``peak``, was back at ``end``.

    ``before`` and ``after`` are the ratio at its foot and when it was back (NaN: not measured). ``cause``: "curvature" for a
    ratio at the edge or above at its foot, which is a catapult; "unmeasured" without a measurement; "other" for a ratio
    below. ``seen`` is false for one that may have passed between two records: the ratio fell from beyond the edge to below
    it, and nothing was recorded meanwhile. Its height is NaN, its peak the start.
    """

    start: int
    peak: int
    end: int | None
    height: float
    before: float
    after: float
    cause: Cause
    seen: bool = True


def _column(name: str, values: ArrayLike, shape: tuple[int, ...] | None = None) -> Floats:
    array = np.asarray(values, np.float64)
    if shape is not None and array.ndim == 0:
        array = np.full(shape, float(array))
    if array.ndim != 1 or (shape is not None and array.shape != shape):
        need = "one number per record" if shape is None else f"one number, or {shape[0]} of them"
        raise RequestError(f"{name} has shape {array.shape}; give {need}.")
    return array


def _clock(name: str, values: ArrayLike, like: Floats) -> Steps:
    steps = _column(name, values, like.shape)
    whole = np.asarray(np.rint(np.where(np.isfinite(steps), steps, -1)), np.int64)
    if np.any(whole != steps) or np.any(np.diff(whole) <= 0):
        raise RequestError(f"{name} is no growing list of whole steps; give the step number of each record, in order.")
    return whole


def make_record(
    loss: ArrayLike,
    *,
    steps: ArrayLike | None = None,
    sharpness: ArrayLike | None = None,
    sharpness_steps: ArrayLike | None = None,
    threshold: ArrayLike = 1.0,
    lr: ArrayLike | None = None,
    minibatch: bool | None = None,
) -> Record:
    """Check a record; arguments as of :func:`trainphase.training_log.read`. Raises RequestError for what does not fit."""
    values = _column("loss", loss)
    if values.size == 0:
        raise RequestError("loss is empty; give at least one record.")
    clock = np.arange(values.size, dtype=np.int64) if steps is None else _clock("steps", steps, values)
    bad = np.flatnonzero(~np.isfinite(values))
    finite = values[: bad[0]] if bad.size else values
    if finite.size and np.min(finite) < 0:
        raise RequestError(
            f"loss is negative ({np.min(finite):g}); give one that is bounded by 0, such as its excess over the least."
        )
    sharp = np.empty(0) if sharpness is None else _column("sharpness", sharpness)
    if sharpness_steps is None and sharp.size not in (0, values.size):
        raise RequestError(f"sharpness has {sharp.size} values for {values.size} losses; give sharpness_steps.")
    when = clock[: sharp.size] if sharpness_steps is None else _clock("sharpness_steps", sharpness_steps, sharp)
    limit = _column("threshold", threshold, sharp.shape)
    if not np.all(limit > 0):
        raise RequestError(f"threshold = {limit[~(limit > 0)][0]:g} is no stability threshold; give positive numbers.")
    rates = np.full(sharp.shape, np.nan) if lr is None or sharp.size == 0 else _column("lr", lr, sharp.shape)
    good = np.isfinite(sharp) & np.isfinite(limit)
    if bad.size:
        good &= when <= clock[bad[0]]
    eps = series.rounding(finite)
    return Record(
        steps=clock[: finite.size],
        loss=finite,
        measured=when[good],
        ratio=(sharp[good] / limit[good]),
        lr=float(rates[good][-1]) if np.any(good) else np.nan,
        diverged_at=int(clock[bad[0]]) if bad.size else None,
        finite_after=int(np.sum(np.isfinite(values[bad[0] :]))) if bad.size else 0,
        eps=eps,
        noise=_noise(finite, eps, minibatch),
        told=minibatch is not None,
        dropped=int(sharp.size - np.sum(good)),
    )


def _noise(loss: Floats, eps: float, minibatch: bool | None) -> float:
    """The noise of the log loss; 0 for a full batch, and where it is too small to tell from rounding and curvature."""
    if minibatch is False or loss.size < 16 or not np.any(loss > 0):
        return 0.0
    found = series.log_noise(np.log(np.maximum(loss, eps * float(np.max(loss)))))
    return found if minibatch or found > series.NOISY else 0.0


def distance(record: Record) -> Distance | None:
    """The distance to the edge; None without a finite measurement."""
    t, r = record.measured, record.ratio
    if r.size == 0:
        return None
    span = float(t[-1] - t[0])
    late = t > t[-1] - span / 4 if span else np.ones(1, bool)
    second = t > t[-1] - span / 8 if span else np.ones(1, bool)
    first = late & ~second
    end = float(np.mean(r[second]))
    trend = _trend(t, r, late, end - float(np.mean(r[first]))) if np.any(first) else np.nan
    met = np.flatnonzero(r >= 1)
    rising = trend > 0 and not np.any(r[t >= t[-1] - span / 2] >= 1)
    return Distance(
        at=int(t[-1]),
        last=float(r[-1]),
        mean=float(np.mean(r[late])),
        scatter=float(np.std(r[late])),
        trend=trend,
        late=end,
        count=int(np.sum(late)),
        start=float(r[0]),
        highest=float(np.max(r)),
        met=int(t[met[0]]) if met.size else None,
        steps_to_edge=float((1 - r[-1]) / trend * span / 8) if rising else np.nan,
    )


def _trend(t: Steps, r: Floats, late: np.ndarray, change: float) -> float:
    """The change from the first to the second half of a window, less two standard errors: nothing, if it is within them.

    The error is from the scatter about a straight line, so that a steady rise has none.
    """
    n = int(np.sum(late))
    if n < FEWEST:
        return change
    x = (t[late] - t[late].mean()) / np.ptp(t[late])
    bend = r[late] - np.mean(r[late]) - x * float(x @ r[late] / (x @ x))
    error = float(np.sqrt(np.sum(bend**2) / (n - 2) * 4 / n))
    return float(np.sign(change) * max(abs(change) - 2 * error, 0.0))


def spikes(record: Record) -> tuple[Spike, ...]:
    """The spikes of the loss, in order, with the curvature at their feet; and the catapults that passed between records."""
    loss = record.loss
    if loss.size < 2:
        return ()
    base = np.maximum(loss, record.eps * max(loss[0], 1e-300))
    if not record.noise:
        found = _spikes(record, base, series.HEIGHT)
    else:
        smooth = np.exp(series.running_median(np.log(base)))
        found = _spikes(record, smooth, max(series.HEIGHT, float(np.exp(series.NOISES * record.noise))))
        if not record.told:
            single = _spikes(record, base, max(series.HEIGHT, float(np.exp(series.SINGLE * record.noise))))
            found += [s for s in single if s.before >= 1 and not any(_overlap(s, f.start, f.end) for f in found)]
    return tuple(sorted([*found, *_hidden(record, found)], key=lambda s: s.start))


def _spikes(record: Record, loss: Floats, height: float) -> list[Spike]:
    found, steps = [], record.steps
    for rise in series.excursions(loss, height):
        start, peak = int(steps[rise.start]), int(steps[rise.peak])
        end = int(steps[rise.end]) if rise.end >= 0 else None
        before, after = _around(record, start, peak, end)
        cause: Cause = "unmeasured" if np.isnan(before) else "curvature" if before >= UNSTABLE else "other"
        found.append(Spike(start, peak, end, rise.height, before, after, cause))
    return found


def _overlap(spike: Spike, start: int, end: int | None) -> bool:
    return (end is None or spike.start <= end) and (spike.end is None or spike.end >= start)


def _around(record: Record, start: int, peak: int, end: int | None) -> tuple[float, float]:
    """The largest ratio from the last measurement before the foot up to the peak, and the first once the loss is back."""
    t, r = record.measured, record.ratio
    first = max(int(np.searchsorted(t, start, side="right")) - 1, 0)
    near = r[first : int(np.searchsorted(t, peak, side="right"))]
    before = float(np.max(near)) if near.size else np.nan
    later = r[t >= end] if end is not None else r[:0]
    return before, float(later[0]) if later.size else np.nan


def _hidden(record: Record, seen: list[Spike]) -> list[Spike]:
    """Catapults between two records: the ratio was beyond the band, then below the edge, and no spike was seen meanwhile."""
    t, r, steps = record.measured, record.ratio, record.steps
    found: list[Spike] = []
    above: int | None = None
    for k in range(r.size):
        if r[k] > 1 + BAND:
            above = k if above is None else above
        elif r[k] < 1 and above is not None:
            start, end = int(t[above]), int(t[k])
            between = steps[(steps >= start) & (steps <= end)]
            apart = between.size < 2 or bool(np.any(np.diff(between) > 1))
            overlap = any(_overlap(s, start, end) for s in seen)
            loss_then, loss_now = (_at(record, when) for when in (start, end))
            if apart and not overlap and not record.noise and loss_now < loss_then:
                found.append(Spike(start, start, end, np.nan, float(np.max(r[above:k])), float(r[k]), "curvature", False))
            above = None
    return found


def _at(record: Record, step: int) -> float:
    """The loss at the last record up to ``step``."""
    return float(record.loss[max(int(np.searchsorted(record.steps, step, side="right")) - 1, 0)])
