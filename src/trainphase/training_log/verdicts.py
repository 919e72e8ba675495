"""The rules: from a record, its distance to the edge and its spikes to a phase of each vocabulary.

Each rule returns a :class:`Verdict`: label, margin, and the sentence that says what decided. The margin of ``edge`` is in
units of the ratio (1 is the edge), that of ``training`` too unless its sentence says otherwise.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from trainphase.classifiers import SHARPER
from trainphase.training_log import series
from trainphase.training_log.record import BAND, FEWEST, UNSTABLE, Distance, Record, Spike

# A record says something about where a run goes when it has this many losses.
SHORTEST = 16
# The edge is met at this ratio: measurements are apart, and in between the ratio is higher.
MET = 0.98
# A ratio comes to rest where its trend over an eighth of the record, four times on, changes nothing.
AHEAD = 4.0
# A run leaves the edge when its trend, twice on, takes it out of the band: at the edge the ratio comes and goes.
LEAVING = 2.0
# Within the band the run converges for good only when the loss is this small a share of its start.
SMALL = 1e-10
# A log with fewer digits than this hides rises.
FINE = 1e-5
# Windows over which a noisy loss must fall, and by how many standard errors.
SIGMAS = 4.0


@dataclass(frozen=True)
class Verdict:
    """A label, its margin and the sentence that says why."""

    label: str
    margin: float
    why: str


def divergence(record: Record, where: Distance | None) -> Verdict | None:
    """Whether the run has left every bound: a loss that is not finite, or one that explodes up to the record's end."""
    if record.diverged_at is not None:
        after = f"; {record.finite_after} finite values follow, so leave it out if only the log is at fault"
        tail = after if record.finite_after else ""
        return Verdict("divergent", np.inf, f"the loss is not finite at step {record.diverged_at}{tail}")
    if series.explodes(record.steps, record.loss):
        times = record.loss[-1] / max(record.loss[0], 1e-300)
        return Verdict(
            "divergent", float(np.log10(times)), f"the loss grows ever faster, {times:.3g} times its start; margin in decades"
        )
    return None


def _plain(record: Record, where: Distance | None) -> Verdict | None:
    """What both vocabularies say alike: a run that diverges, a record too short, a loss that never changes; else None."""
    diverged = divergence(record, where)
    if diverged is not None:
        return diverged
    if record.loss.size < SHORTEST:
        return Verdict("undecided", 0.0, f"{record.loss.size} records are too few; {SHORTEST} say something")
    if not np.any(series.changes(record.loss, record.eps)):
        return Verdict("undecided", 0.0, "the loss never changes: nothing moves the run from where it is")
    return None


def edge_verdict(record: Record, where: Distance | None) -> Verdict:
    """The phase of the vocabulary ``edge`` at the end of the record."""
    plain = _plain(record, where)
    if plain is not None:
        return plain
    cycle = _cycle(record)
    if cycle is not None:
        return Verdict("bounded", cycle.margin, cycle.why)
    if where is None or where.count < FEWEST:
        count = 0 if where is None else where.count
        return Verdict(
            "undecided", 0.0, f"the sharpness was measured {count} times in the last quarter; {FEWEST} times say something"
        )
    if record.steps[-1] - where.at > (record.steps[-1] - record.steps[0]) / 4:
        return Verdict("undecided", 0.0, f"the sharpness was last measured at step {where.at}, long before the record's end")
    return _against_the_edge(record, where)


def _against_the_edge(record: Record, where: Distance) -> Verdict:
    late, lead = where.late, AHEAD * where.trend
    arrived = _since_arrival(record)
    if (
        arrived.size >= FEWEST
        and abs(float(np.mean(arrived)) - 1) <= BAND
        and min(late, late + LEAVING * where.trend) >= UNSTABLE
    ):
        mean = float(np.mean(arrived))
        return Verdict("edge-of-stability", BAND - abs(mean - 1), f"the ratio has met 1 and stays within {BAND:g}, at {mean:.4g}")
    if late > 1 + BAND:
        return _beyond(record, where)
    inside = abs(late - 1) <= BAND
    if inside and abs(late + lead - 1) <= BAND:
        margin = BAND - max(abs(late - 1), abs(late + lead - 1))
        return Verdict("edge-of-stability", margin, f"the ratio comes to rest at {late:.4g}, within {BAND:g} of 1")
    if inside:
        return Verdict("undecided", 0.0, f"the ratio is at {late:.4g} and still moves; a longer run decides")
    return _below(record, where)


def _since_arrival(record: Record) -> np.ndarray:
    """The measurements of the last half of the record from the first at the edge on; none where it was not met there."""
    t = record.measured
    half = record.ratio[t >= t[-1] - (t[-1] - t[0]) // 2]
    met = np.flatnonzero(half >= MET)
    return half[met[0] :] if met.size else half[:0]


def _beyond(record: Record, where: Distance) -> Verdict:
    loss = record.loss
    late, scale = loss[-(loss.size // 4) :], float(loss[0])
    if np.any(series.rises(late, record.eps, scale)):
        return Verdict(
            "bounded",
            where.late - 1 - BAND,
            f"the ratio stays beyond the edge, at {where.late:.4g}, and the loss goes up and down",
        )
    return Verdict("undecided", 0.0, f"the ratio is {where.late:.4g} and yet the loss falls: too early, or a wrong threshold")


def _below(record: Record, where: Distance) -> Verdict:
    limit = (1 + SHARPER) * where.start
    up, room = where.late - limit, UNSTABLE - where.late
    if up > 0:
        return Verdict(
            "sharpening", min(up, room), f"the ratio has risen from {where.start:.4g} to {where.late:.4g}, below the edge"
        )
    if where.late + AHEAD * where.trend > limit:
        return Verdict(
            "undecided", 0.0, f"the ratio, {where.late:.4g}, has not risen by 5 % yet but is rising; a longer run decides"
        )
    return Verdict("flat", min(-up, room), f"the ratio ends at {where.late:.4g} after {where.start:.4g} and does not rise")


def _cycle(record: Record) -> Verdict | None:
    """A loss that repeats, or wanders without a trend like a chaotic one; None for noise and for sparse records."""
    if not record.every_step or record.noise or record.loss.size < 4 * FEWEST:
        return None
    least = record.eps * float(record.loss[0])
    period = series.period(record.loss, least)
    if period == 1:
        return None
    if period > 1:
        return Verdict("periodic", float(period), f"the loss repeats every {period} steps; the margin is the period")
    late = record.loss[record.loss.size // 2 :]
    if late.size < series.CHAOS_LENGTH or series.trends(late):
        return None
    score = series.zero_one(late)
    if score > series.CHAOS_SCORE:
        return Verdict(
            "chaotic",
            score - series.CHAOS_SCORE,
            f"the loss wanders without a trend; 0-1 test for chaos {score:.3g}, margin above {series.CHAOS_SCORE:g}",
        )
    return None


def training_verdict(record: Record, where: Distance | None, seen: tuple[Spike, ...]) -> Verdict:
    """The phase of the vocabulary ``training``."""
    plain = _plain(record, where)
    if plain is not None:
        return plain
    cycle = _cycle(record)
    if cycle is not None:
        return cycle
    unstable, reach = _converges(record, where, seen)
    if unstable:
        return Verdict("undecided", 0.0, unstable)
    margin = 1 - reach if np.isfinite(reach) else np.nan
    if any(s.cause == "curvature" and s.seen for s in seen):
        return Verdict("catapult", margin, "the loss rose where the curvature was beyond the edge, and the run converges")
    if any(s.cause == "other" for s in seen):
        return Verdict(
            "undecided", 0.0, "the loss rose where the curvature was below the edge: momentum or noise, and no catapult"
        )
    if not record.noise and np.any(series.rises(record.loss, record.eps, float(record.loss[0]))):
        if where is not None and where.highest < UNSTABLE:
            return Verdict(
                "undecided", 0.0, "the loss rose though the curvature was below the edge: momentum or noise, and no catapult"
            )
        return Verdict("catapult", margin, "the loss rose at least once and the run converges")
    if any(not s.seen for s in seen):
        return Verdict(
            "undecided", 0.0, "the curvature fell from beyond the edge to below it between records: a catapult may have passed"
        )
    if (not record.every_step or record.eps > FINE) and (where is None or where.highest >= 1):
        return Verdict("undecided", 0.0, "no rise was recorded, but one may lie between records or below their rounding")
    return Verdict("monotonic", margin, "the loss never rises and the run converges")


def _converges(record: Record, where: Distance | None, seen: tuple[Spike, ...]) -> tuple[str, float]:
    """Why the run cannot be said to converge, or an empty text; and the ratio that it reaches, NaN if unknown."""
    half, loss = record.steps[-1] - (record.steps[-1] - record.steps[0]) // 2, record.loss
    reach = np.nan if where is None or where.count < FEWEST else where.late + abs(AHEAD * where.trend)
    if any(s.end is None for s in seen):
        return "the last spike is not over", reach
    if any(s.peak >= half for s in seen):
        return "the loss has spikes in the second half of the record", reach
    late, scale = loss[record.steps >= half], float(loss[0])
    if record.noise:
        if series.climbs(np.log(np.maximum(late, 1e-300)), SIGMAS):
            return "the loss, noise aside, climbs in the second half of the record", reach
    elif np.any(series.rises(late, record.eps, scale)):
        return "the loss still rises at times in the second half of the record", reach
    if reach >= 1:
        return f"the ratio heads for {reach:.3g}, beyond the edge", reach
    if where is not None and where.late >= UNSTABLE and loss[-1] > SMALL * loss[0]:
        return f"the run is at the edge, at {where.late:.3g}, and its loss is not gone: it may rise again", reach
    return "", reach
