"""From a record to its reading: what ``diagnose`` returns and prints."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from trainphase.phase import EDGE, TRAINING, Reading, Vocabulary
from trainphase.training_log.record import Distance, Record, Spike, distance, make_record, spikes
from trainphase.training_log.verdicts import Verdict, edge_verdict, training_verdict


@dataclass(frozen=True)
class Evidence:
    """One number that a reading rests on, and the sentence that says what it means."""

    name: str
    value: float
    sentence: str


@dataclass(frozen=True)
class LogReading:
    """What a recorded run says.

    ``edge`` and ``training`` are the readings by the two vocabularies (label, margin, rule, numbers); ``spikes`` every
    excursion of the loss, ``catapults`` those that the curvature explains; ``distance`` to the edge, None without a
    measurement; ``largest_lr``, the step size at which the last measured curvature would be at the edge (NaN if unknown);
    ``diverged_at``, the step of the first loss that is not finite; ``evidence``, numbers with one sentence each.
    """

    edge: Reading
    training: Reading
    spikes: tuple[Spike, ...]
    distance: Distance | None
    largest_lr: float
    diverged_at: int | None
    evidence: tuple[Evidence, ...]
    record: Record

    @property
    def phase(self) -> str:
        """The label of the vocabulary ``edge``."""
        return self.edge.phase

    @property
    def catapults(self) -> tuple[Spike, ...]:
        """The spikes that are catapults: the curvature was at the edge or beyond at their foot, and the loss came back.

        Without any measurement a spike that came back counts, unless the loss is noisy.
        """
        known = ("curvature",) if self.record.noise else ("curvature", "unmeasured")
        return tuple(s for s in self.spikes if s.cause in known and s.end is not None and s.seen)


def read(
    loss: ArrayLike,
    *,
    steps: ArrayLike | None = None,
    sharpness: ArrayLike | None = None,
    sharpness_steps: ArrayLike | None = None,
    threshold: ArrayLike = 1.0,
    lr: ArrayLike | None = None,
    gradient_norm: ArrayLike | None = None,
    minibatch: bool | None = None,
) -> LogReading:
    """Read a recorded training run.

    Parameters
    ----------
    loss : (n,), bounded by 0 from below; NaN or infinity is a divergence.
    steps : (n,) growing whole numbers, the steps of the losses; 0, 1, 2 ... by default.
    sharpness : (m,), of the matrix that belongs to the optimiser; NaN for a measurement that failed.
    sharpness_steps : (m,) their steps; by default those of the losses.
    threshold : the sharpness at which the optimiser becomes unstable, one number or (m,) for a step size that changes; 1 for
        a sharpness that is given in units of its threshold already.
    lr : the step size, one number or (m,); for ``largest_lr``.
    gradient_norm : (n,), at the steps of the losses; evidence only, decides nothing.
    minibatch : whether each loss is that of a minibatch; by default it is judged from the scatter of the loss.

    Raises RequestError for arrays that do not fit each other, a negative loss, or a threshold that is not positive.
    """
    record = make_record(
        loss, steps=steps, sharpness=sharpness, sharpness_steps=sharpness_steps, threshold=threshold, lr=lr, minibatch=minibatch
    )
    where, seen = distance(record), spikes(record)
    edge, training = edge_verdict(record, where), training_verdict(record, where, seen)
    largest = record.lr / where.last if where is not None and where.last > 0 else np.nan
    numbers = {} if where is None else {k: v for k, v in vars(where).items() if v is not None}
    evidence = (*_of_the_edge(where, largest), *_of_the_loss(record, seen), *_of_the_gradient(gradient_norm, record))
    return LogReading(
        edge=_reading(EDGE, edge, numbers),
        training=_reading(TRAINING, training, {"spikes": len(seen), "noise": record.noise}),
        spikes=seen,
        distance=where,
        largest_lr=float(largest),
        diverged_at=record.diverged_at,
        evidence=evidence,
        record=record,
    )


def _reading(vocabulary: Vocabulary, verdict: Verdict, numbers: dict[str, float]) -> Reading:
    label = vocabulary.label(vocabulary.index(verdict.label))
    return Reading(vocabulary, label, verdict.margin, verdict.why, numbers)


def _of_the_edge(where: Distance | None, largest: float) -> list[Evidence]:
    if where is None:
        return []
    found = [
        Evidence("ratio", where.last, f"sharpness is {where.last:.4g} of its threshold at step {where.at}"),
        Evidence(
            "ratio_mean",
            where.mean,
            f"over the last quarter it is {where.mean:.4g} with a scatter of {where.scatter:.2g} "
            f"({where.count} measurement{'' if where.count == 1 else 's'})",
        ),
        Evidence(
            "ratio_start", where.start, f"it was {where.start:.4g} at the first measurement and {where.highest:.4g} at most"
        ),
    ]
    if where.met is not None:
        found.append(Evidence("met", where.met, f"it was first at the edge or beyond at step {where.met}"))
    if np.isfinite(where.steps_to_edge):
        sentence = f"at the present trend it meets the edge in {where.steps_to_edge:.3g} steps"
        found.append(Evidence("steps_to_edge", where.steps_to_edge, sentence))
    if np.isfinite(largest):
        found.append(Evidence("largest_lr", largest, f"at this curvature the run is stable up to lr = {largest:.4g}"))
    return found


def _of_the_loss(record: Record, seen: tuple[Spike, ...]) -> list[Evidence]:
    found = []
    if record.loss.size:
        first, last = record.loss[0], record.loss[-1]
        found.append(Evidence("loss", float(last), f"the loss went from {first:.4g} to {last:.4g} in {record.loss.size} records"))
    if record.noise:
        sentence = f"the loss carries noise of {100 * record.noise:.2g} %; a rise within it is no spike"
        found.append(Evidence("noise", record.noise, sentence))
    say: dict[str, Callable[[Spike], str]] = {
        # What has not come back is no catapult: of a run that diverges nobody knows whether it would have.
        "curvature": lambda s: f"at {s.before:.3g} of the threshold: {'for the step size' if s.end is None else 'a catapult'}",
        "unmeasured": lambda s: "with no measurement of the sharpness before it",
        "other": lambda s: f"at {s.before:.3g} of the threshold: not for the step size",
    }
    for s in seen:
        end = "has not come back" if s.end is None else f"was back at step {s.end}"
        rose = (
            f"rose {s.height:.3g}-fold from step {s.start} to {s.peak}"
            if s.seen
            else f"may have risen unseen between steps {s.start} and {s.end}"
        )
        found.append(Evidence("spike", s.height, f"the loss {rose}, {say[s.cause](s)}; it {end}"))
    if record.dropped:
        found.append(
            Evidence(
                "dropped", record.dropped, f"{record.dropped} measurements of the sharpness are not finite, or after the end"
            )
        )
    return found


def _of_the_gradient(gradient_norm: ArrayLike | None, record: Record) -> list[Evidence]:
    if gradient_norm is None:
        return []
    norms = np.asarray(gradient_norm, np.float64)[: record.loss.size]
    norms = norms[np.isfinite(norms)]
    if norms.size == 0 or norms[0] <= 0:
        return []
    share = float(norms[-1] / norms[0])
    return [Evidence("gradient", share, f"the gradient is {share:.3g} of its first norm")]
