"""What a recorded loss shows by itself: its rounding, its noise, its spikes, whether it repeats, falls or explodes.

Plain functions of NumPy arrays; a *record* is a loss and the steps it was recorded at. Nothing here smooths a loss that
carries no noise: a spike of a few steps is what is looked for.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from trainphase.classifiers import GROWTH, RISE

Floats = NDArray[np.float64]
Steps = NDArray[np.int64]

# A spike is a rise of the loss by more than a tenth above its lowest value so far ...
HEIGHT = 1.1
# ... and, in a loss that carries noise, by more than 6 standard deviations of it: the lowest and the highest of 10 000
# medians of nine draws are 3.4 apart.
NOISES = 6.0
# Where the noise was judged and not told, single values count as well, above 8: 10 000 draws span 7.7.
SINGLE = 8.0
# The loss carries noise when values next to each other scatter by more than this share, whatever the stride.
NOISY = 3e-3
# Medians of nine records keep a spike of five and more.
MEDIAN = 9
# A cycle of the loss is looked for up to this period; it repeats when its range is this many times what it repeats to.
LONGEST, REPEATING = 64, 1e5
# Chaos is looked for in this many losses, and found where the 0-1 test is above this.
CHAOS_LENGTH, CHAOS_SCORE = 400, 0.8
# Rounding and chaos are judged on this many values: the test for chaos takes time with the square of their number.
ENOUGH = 2000
# A growth speeds up when its rate gains a tenth from record to record; ten decades are far, at any rate.
FASTER, FAR = 1.1, 23.0


@dataclass(frozen=True)
class Rise:
    """An excursion of the loss above its lowest value so far; the indices are into the record, ``end`` -1 if it lasts."""

    start: int
    peak: int
    end: int
    height: float


def rounding(loss: Floats) -> float:
    """The relative rounding of a record: that of float32 or of a decimal logger where all values are such, else float64.

    Values in float32 come from sums in float32, so their noise is some 16 units in the last place.
    """
    finite = loss[np.isfinite(loss) & (np.abs(loss) < 1e30)][:ENOUGH]
    if finite.size == 0:
        return RISE
    single = finite.astype(np.float32).astype(np.float64)
    if np.array_equal(single, finite):
        return 16 * float(np.finfo(np.float32).eps)
    for digits in (3, 4, 5, 6) if np.unique(finite).size >= 8 else ():
        if np.array_equal(finite, [float(f"{v:.{digits}g}") for v in finite]):
            return 10.0 ** (1 - digits)
    return RISE


def log_noise(log_loss: Floats) -> float:
    """Standard deviation of the noise of a log loss, from second and fourth differences at strides 1, 2 and 4, by quarters.

    White noise has one and the same scatter in all of them; an oscillation of period two or four has none at its own stride,
    a smooth loss little at stride 1, and less in fourth differences. The least of these, the largest over quarters.
    """
    largest = 0.0
    for quarter in np.array_split(log_loss, 4):
        found = []
        for order, norm in ((2, 6.0), (4, 70.0)):
            for stride in (1, 2, 4):
                bends = np.abs(np.concatenate([np.diff(quarter[k::stride], order) for k in range(stride)]))
                if bends.size >= 12:
                    found.append(1.4826 * float(np.median(bends)) / np.sqrt(norm))
        largest = max(largest, min(found, default=0.0))
    return float(largest)


def running_median(values: Floats, width: int = MEDIAN) -> Floats:
    """Median over a centred window, which is shorter at the ends."""
    if values.size < width:
        return values.copy()
    half = width // 2
    padded = np.concatenate([np.full(half, np.nan), values, np.full(half, np.nan)])
    return np.nanmedian(np.lib.stride_tricks.sliding_window_view(padded, width), axis=1)


def excursions(loss: Floats, height: float) -> list[Rise]:
    """Excursions of a finite loss above ``height`` times its lowest value so far, each until it is back there."""
    found: list[Rise] = []
    values = loss.tolist()
    low, peak, above = 0, -1, False
    for k, value in enumerate(values):
        if value <= values[low]:
            if above:
                found.append(Rise(low, peak, k, values[peak] / max(values[low], 1e-300)))
            low, peak, above = k, -1, False
        else:
            peak = k if peak < 0 or value > values[peak] else peak
            above = above or value > height * values[low]
    if above:
        found.append(Rise(low, peak, -1, values[peak] / max(values[low], 1e-300)))
    return found


def rises(loss: Floats, eps: float, scale: float) -> NDArray[np.bool_]:
    """Where the loss exceeds its predecessor by more than rounding, shape (n - 1,).

    ``scale`` is the loss at the start: residuals are differences of outputs of that size, and carry their rounding.
    """
    return np.diff(loss) > eps * np.maximum(loss[:-1], scale)


def period(loss: Floats, least: float) -> int:
    """The least period at which the last half of a loss repeats: 0 for none, 1 for a range of no more than ``least``."""
    late = loss[loss.size // 2 :]
    span = float(np.ptp(late))
    if span <= least:
        return 1
    for p in range(2, min(LONGEST, late.size // 4) + 1):
        if float(np.max(np.abs(late[p:] - late[:-p]))) * REPEATING <= span:
            return p
    return 0


def explodes(steps: Steps, loss: Floats) -> bool:
    """Whether a finite loss ends in a growth with no bound in sight: at its highest, far above its start, and speeding up.

    A catapult grows at one rate while its curvature stands still, and slows down before its peak. Growth at one rate counts
    from ten decades on, which is more than the catapult of a net of 10^9 neurons.
    """
    if loss.size < 4 or int(np.argmax(loss)) != loss.size - 1:
        return False
    with np.errstate(divide="ignore"):
        before, last = np.diff(np.log(loss[-3:])) / np.diff(steps[-3:])
        total = float(np.log(loss[-1] / max(loss[0], 1e-300)))
    faster = last > FASTER * before > 0
    return bool(total > GROWTH and faster) or (total > FAR and before > 0)


def zero_one(values: Floats, seed: int = 0) -> float:
    """The 0-1 test for chaos of Gottwald and Melbourne: near 1 for a chaotic series, near 0 for a regular one.

    The median, over 60 random angles, of the correlation of the mean square displacement with time ("On the implementation
    of the 0-1 test for chaos", 2009, the correlation method, for the centred series). Noise gives 1 as well.
    """
    x = values[-ENOUGH:] - np.mean(values[-ENOUGH:])
    n, reach = x.size, x.size // 10
    lags, j = np.arange(1, reach + 1), np.arange(1, n + 1)
    scores = []
    for c in np.random.default_rng(seed).uniform(np.pi / 5, 4 * np.pi / 5, 60):
        p, q = np.cumsum(x * np.cos(j * c)), np.cumsum(x * np.sin(j * c))
        m = n - reach
        walk = np.array([np.mean((p[k : k + m] - p[:m]) ** 2 + (q[k : k + m] - q[:m]) ** 2) for k in lags])
        scores.append(np.corrcoef(lags, walk)[0, 1] if np.ptp(walk) > 0 else 0.0)
    return float(np.median(scores))


def changes(loss: Floats, eps: float) -> NDArray[np.bool_]:
    """Where the loss differs from its start by more than rounding."""
    return np.abs(loss - loss[0]) > eps * loss[0]


def trends(values: Floats) -> bool:
    """Whether the first and the second half of a series differ in mean or scatter by more than a tenth of its scatter."""
    first, second = np.array_split(values, 2)
    scatter = float(np.std(values))
    apart = abs(float(np.mean(first) - np.mean(second))) > 0.2 * scatter
    return scatter == 0 or apart or abs(float(np.std(first) - np.std(second))) > 0.2 * scatter


def climbs(values: Floats, sigmas: float) -> bool:
    """Whether the second half of a noisy series lies above the first by this many standard errors of eight block means."""
    blocks = np.array([np.mean(b) for b in np.array_split(values, 8)])
    first, second = blocks[:4], blocks[4:]
    error = float(np.sqrt((np.var(first, ddof=1) + np.var(second, ddof=1)) / 4))
    return bool(np.mean(second) - np.mean(first) > sigmas * max(error, 1e-300))
