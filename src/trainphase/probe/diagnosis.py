"""The diagnosis of a training run: its phase, its distance to the edge of stability, and what went on, with evidence."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from trainphase import _html, training_log
from trainphase.errors import RequestError
from trainphase.phase import EDGE, TRAINING
from trainphase.probe.recorded import ENDINGS, Recorded, load, of_mapping
from trainphase.training_log import LogReading
from trainphase.training_log.record import FEWEST
from trainphase.training_log.verdicts import SHORTEST

if TYPE_CHECKING:
    import xarray

# Steps that a problem is trained for when none are given, and measurements along them.
STEPS, MEASUREMENTS = 400, 40
# Measurements evenly apart of which the last quarter has FEWEST, and a few to spare.
ENOUGH = 4 * FEWEST


@dataclass(frozen=True, eq=False)
class Diagnosis:
    """What a training run says: its phases, its distance to the edge, and what went on. Numbers are NaN where none was measured.

    Attributes
    ----------
    reading : both vocabularies, the spikes and the distance, with the evidence.
    run : the record that it was read from.
    """

    reading: LogReading
    run: Recorded

    @property
    def phase(self) -> str:
        """The label of the vocabulary ``edge``."""
        return self.reading.phase

    @property
    def training(self) -> str:
        """The label of the vocabulary ``training``."""
        return self.reading.training.phase

    @property
    def ratio(self) -> float:
        """Sharpness over its threshold at the last measurement."""
        return float("nan") if self.reading.distance is None else self.reading.distance.last

    @property
    def distance(self) -> float:
        """1 - ratio: what is left to the edge, in units of it; negative beyond."""
        return 1.0 - self.ratio

    @property
    def sharpness(self) -> float:
        """The last finite measurement, in units of the loss per squared (rescaled) parameter."""
        return self._last(self.run.sharpness)

    @property
    def threshold(self) -> float:
        """That of the optimiser at the last finite measurement."""
        return self._last(self.run.threshold)

    @property
    def lr(self) -> float:
        """The step size at the last finite measurement."""
        return self._last(self.run.lr)

    @property
    def largest_lr(self) -> float:
        """The largest stable step size now."""
        return self.reading.largest_lr

    @property
    def regime(self) -> str:
        """Of the initialisation, or why it is not known."""
        return self.run.regime or "not known: the record does not hold the initial weights"

    @property
    def advice(self) -> str:
        """What to do where measurements are too few for the edge to be decided; empty where they are not what is missing."""
        r, where, cost = self.reading, self.reading.distance, self.run.cost
        steps = r.record.steps
        if r.phase != "undecided" or len(steps) < SHORTEST:
            return ""
        if where is not None and where.count >= FEWEST and steps[-1] - where.at <= (steps[-1] - steps[0]) / 4:
            return ""
        count = r.record.ratio.size
        known = f"there {'was' if count == 1 else 'were'} only {count} measurement{'' if count == 1 else 's'} of the sharpness"
        if count == 0:
            known = "the sharpness was never measured"
        more = "record the sharpness more often" if cost is None else cost.advice(ENOUGH)
        span = int(steps[-1] - steps[0]) + 1
        return f"{known} in {span} steps, and the edge is decided by {FEWEST} in the last quarter: {more}"

    @property
    def notes(self) -> tuple[str, ...]:
        """What the user should know about the measurement."""
        return self.run.notes

    @property
    def _curvature_of(self) -> str:
        """Which curvature the largest stable step size belongs to: of a run that diverged, the last says little."""
        where, rates = self.reading.distance, self.run.lr
        if self.phase != "divergent" or where is None:
            return "at the present curvature"
        last = f"at the curvature of step {where.at}, on its way out"
        good = np.flatnonzero(np.isfinite(self.run.sharpness) & (self.run.sharpness > 0))
        early = rates[good[0]] / where.start if good.size and where.start > 0 else np.nan
        return f"{last}; {early:.4g} at that of the first measurement" if np.isfinite(early) else last

    def _last(self, values: np.ndarray) -> float:
        good = np.flatnonzero(np.isfinite(self.run.sharpness) & np.isfinite(self.run.threshold))
        return float(values[good[-1]]) if good.size and values.size else float("nan")

    @property
    def headline(self) -> str:
        """One sentence: the phase, the ratio, the catapults."""
        r = self.reading
        if r.diverged_at is not None:
            return f"{r.phase}: the loss is not finite at step {r.diverged_at}"
        count = len(r.catapults)
        seen = "no catapult" if count == 0 else "1 catapult" if count == 1 else f"{count} catapults"
        if r.distance is None:
            return f"{r.phase}: the sharpness was not measured; {seen} seen"
        side = "below" if r.distance.last < 1 else "beyond"
        where = f"{self.run.kind} at {r.distance.last:.4g} of its threshold, {abs(self.distance):.2%} {side} the edge"
        return f"{r.phase}: {where}; {seen} seen"

    def to_json(self) -> dict[str, Any]:
        """As one document."""
        r = self.reading
        spikes = [{"start": s.start, "peak": s.peak, "end": s.end, "height": s.height, "cause": s.cause} for s in r.spikes]
        cost = self.run.cost
        percent = {} if cost is None else {"overhead_percent": cost.overhead, "with_setup_percent": cost.overhead_with_setup}
        return {
            "phase": r.phase, "margin": r.edge.margin, "rule": r.edge.rule,
            "training": {"phase": self.training, "margin": r.training.margin, "rule": r.training.rule},
            "optimiser": self.run.what, "kind": self.run.kind, "sharpness": self.sharpness, "threshold": self.threshold,
            "ratio": self.ratio, "distance": self.distance, "lr": self.lr, "sharpness_times_lr": self.sharpness * self.lr,
            "threshold_times_lr": self.threshold * self.lr, "largest_lr": self.largest_lr, "diverged_at": r.diverged_at,
            "catapults": len(r.catapults), "spikes": spikes, "regime": self.regime,
            "location": None if self.run.place is None else self.run.place.to_json(),
            "evidence": [{"name": e.name, "value": e.value, "sentence": e.sentence} for e in r.evidence],
            "notes": list(self.notes), "advice": self.advice,
            "cost": None if cost is None else {**vars(cost), **percent},
        }  # fmt: skip

    def _repr_html_(self) -> str:
        r = self.reading
        rows = [
            ("edge", _html.Label(EDGE, r.phase), r.edge.rule),
            ("training", _html.Label(TRAINING, self.training), r.training.rule),
            ("ratio to the threshold", self.ratio, self.run.kind), ("largest stable step size", self.largest_lr, ""),
        ]  # fmt: skip
        return _html.whole(self.headline, [_html.line(self.advice)] * bool(self.advice) + [_html.table(("", "", ""), rows)])

    def __str__(self) -> str:
        r = self.reading
        lines = [self.headline, *([self.advice] if self.advice else []), ""]
        rows = [
            ("edge", f"{r.phase} ({r.edge.rule})"),
            ("training", f"{self.training} ({r.training.rule})"),
            ("optimiser", self.run.what or "not known"),
        ]
        if np.isfinite(self.lr) and np.isfinite(self.sharpness):
            rows.append(("sharpness x lr", f"{self.sharpness * self.lr:.4g}, stable below {self.threshold * self.lr:.4g}"))
        if np.isfinite(self.largest_lr):
            rows.append(("largest stable lr", f"{self.largest_lr:.4g} {self._curvature_of}"))
        rows.append(("initialisation", self.regime))
        lines += [f"{name:<18} {text}" for name, text in rows]
        lines += ["", *(f"- {e.sentence}" for e in r.evidence), *(f"- note: {note}" for note in self.notes)]
        if self.run.cost is not None and self.run.cost.measurements:
            lines.append(f"- {self.run.cost.sentence}")
        return "\n".join(lines)

    def to_xarray(self) -> xarray.Dataset:
        """Loss over ``step``; ratio, its error bound, sharpness and threshold over ``measured``; spikes; words as attributes."""
        import xarray

        run, spikes = self.run, self.reading.spikes
        ratio = run.sharpness / run.threshold
        error = np.full(ratio.shape, np.nan) if run.error is None else run.error / run.threshold
        data: dict[str, Any] = {
            "loss": (("step",), run.loss, {"long_name": "loss", "units": "1"}),
            "ratio": (("measured",), ratio, {"long_name": f"{run.kind} / threshold", "units": "1"}),
            "ratio_error": (("measured",), error),
            "sharpness": (("measured",), run.sharpness),
            "threshold": (("measured",), run.threshold),
            "spike_start": (("spike",), np.array([s.start for s in spikes], float)),
            "spike_end": (("spike",), np.array([np.nan if s.end is None else s.end for s in spikes], float)),
            "spike_is_catapult": (("spike",), np.array([s in self.reading.catapults for s in spikes], bool)),
        }
        data |= {f"more_{name}": (("measured",), values) for name, values in run.more.items()}
        attrs = {
            "phase": self.phase, "training": self.training, "headline": self.headline, "optimiser": run.what, "kind": run.kind,
            "diverged_at": -1 if self.reading.diverged_at is None else self.reading.diverged_at,
        }  # fmt: skip
        return xarray.Dataset(data, {"step": run.steps, "measured": run.sharpness_steps}, attrs)

    def plot(self, path: str | Path | None = None, ax: Any = None) -> Any:
        """The ratio along the run with the edge and its band, and the loss below; written to ``path`` when one is given.

        With ``ax`` only the ratio, into the user's own axes. Returns the figure, or the axes.
        """
        from trainphase.figures import diagnose as drawing
        from trainphase.figures import save

        drawn = drawing.draw(self.to_xarray(), ax) if ax is not None else drawing.page(self.to_xarray())
        if path is not None:
            save(drawn, path)
        return drawn


def diagnose(x: Any, *, show: bool = True, **options: Any) -> Diagnosis:
    """Diagnose a training run; prints the diagnosis (``show``) and returns it.

    Parameters
    ----------
    x : the state of ``watch``, a PyTorch probe, a Recorded; a mapping of arrays (``loss``, ``sharpness``, ``lr`` ...) or a
        file with one (.npz, .csv, .json), see ``recorded.of_mapping``; a Trajectory; or a Problem, which is then trained
        here with the options of ``trainphase.descent`` (``lr``, ``momentum``, ``method``) for ``steps`` steps (default 400).
    options : for a mapping or a file, entries that it lacks, such as ``lr=0.1, optimiser="adam"``.

    Raises RequestError for anything else, and for a record that cannot be read.
    """
    found = read(_recorded(x, options))
    if show:
        print(found)
    return found


def read(run: Recorded) -> Diagnosis:
    """The diagnosis of a record."""
    loss, notes = run.loss, run.notes
    finite = loss[np.isfinite(loss)]
    if finite.size and finite.min() < 0:
        loss = loss - finite.min()
        notes = (*notes, f"the loss is negative, down to {finite.min():.4g}: what is read is its excess over that")
    reading = training_log.read(
        loss, steps=run.steps, sharpness=run.sharpness, sharpness_steps=run.sharpness_steps,
        threshold=np.where(run.threshold > 0, run.threshold, np.nan) if run.sharpness.size else 1.0,
        lr=run.lr if run.sharpness.size else None, gradient_norm=run.gradient_norm, minibatch=run.minibatch,
    )  # fmt: skip
    return Diagnosis(reading, replace(run, notes=notes))


def _recorded(x: Any, options: Mapping[str, Any]) -> Recorded:
    if isinstance(x, Mapping):
        return of_mapping(dict(x) | dict(options))
    if isinstance(x, str | Path):
        return load(x, options)
    if hasattr(x, "loss_and_gradient"):  # a Problem, which is not imported with JAX for a record in a file
        return _trained(x, **options)
    if options:
        raise RequestError(f"{next(iter(options))} is no option for a {type(x).__name__}, which knows its own; leave it out")
    if isinstance(x, Recorded):
        return x
    if isinstance(x, Diagnosis):
        return x.run
    if callable(getattr(x, "report", None)):
        return x.report()
    if hasattr(x, "observables") and hasattr(x, "times"):
        return _of_trajectory(x)
    raise RequestError(
        f"a {type(x).__name__} cannot be diagnosed; give what watch returned, arrays by name with a loss, a file "
        f"({', '.join(ENDINGS)}), or a Problem with lr"
    )


def _of_trajectory(x: Any) -> Recorded:
    """A run of this package: its curvature is in units in which 2 is the edge."""
    series = x.observables
    name = next((n for n in ("sharpness", "curvature") if n in series and series[n].ndim == 1), None)
    if "loss" not in series:
        raise RequestError(f"the run of {x.system} has no loss; record it")
    given: dict[str, Any] = {"loss": series["loss"], "steps": x.times, "minibatch": False}
    if name is not None:
        given |= {"sharpness": series[name], "threshold": 2.0, "optimiser": f"{x.system}, {name} in units in which 2 is the edge"}
    lr = x.params.get("lr")
    return of_mapping(given | ({"lr": lr} if isinstance(lr, float) and name is not None else {}))


def _trained(problem: Any, steps: int = STEPS, lr: float | None = None, **options: Any) -> Recorded:
    """A problem trained by gradient descent, watched all along."""
    import jax

    from trainphase._arrays import precision
    from trainphase.probe.jax_probe import train

    odd = [name for name in options if name not in ("momentum", "method")]
    if odd:
        raise RequestError(f"{odd[0]} is no option for a Problem; give lr, momentum, method or steps")

    if lr is None:
        raise RequestError("lr is missing; give the step size with which the problem is trained, diagnose(problem, lr=0.1)")
    if isinstance(steps, bool) or int(steps) != steps or steps < 1:
        raise RequestError(f"steps = {steps} is no number of steps; give a whole number of at least 1")
    dtype = "float64" if jax.tree.leaves(problem.params)[0].dtype == np.float64 else "float32"
    with precision(dtype):
        return train(problem, float(lr), int(steps), max(int(steps) // MEASUREMENTS, 1), **options)


__all__ = ["Diagnosis", "diagnose", "read"]
