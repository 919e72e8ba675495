"""Records: the question a diagram asks at each point, answered for a batch of points.

For the training vocabulary the record of a point is reduced from a survey over its starts: the phase of the ensemble, and
the numbers behind it. For the edge vocabulary it is that of one run, marched to its end; for the regime vocabulary that of
a ladder of widths and seeds.
"""

from __future__ import annotations

import copy
import dataclasses
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

import equinox as eqx
import jax
import numpy as np

from trainphase import evolve, march
from trainphase._arrays import as_leaves, precision
from trainphase.classifiers import edge, regime, training
from trainphase.errors import TrainphaseError
from trainphase.evidence import gather
from trainphase.observable import check_needs, named
from trainphase.phase import EDGE, NOT_COMPUTED, REGIME, TRAINING, VOCABULARIES, Classifier, Vocabulary, foreign, vocabulary
from trainphase.survey import batch_axes, rounded_steps
from trainphase.system import Flow, Map, System

if TYPE_CHECKING:
    from trainphase.relu import regimes

Build = Callable[..., System]

# XLA on a CPU runs programs and the matrix products inside them on one pool of threads; two programs at a time can wait
# for each other for ever. One at a time, each with the whole pool, is safe whatever executor calls us.
_ONE_AT_A_TIME = threading.Lock()


@dataclass(frozen=True)
class Recipe:
    """How to answer: which system, from how many starts, over what horizon.

    ``build(**params)`` makes the system; ``fixed`` are the parameters that do not vary. ``samples`` is the number of
    points of the attractor to keep per grid point (scalar maps only). ``observe`` names observables of other packages.
    """

    build: Build
    fixed: Mapping[str, Any]
    steps: int = 8192
    starts: int = 4
    dtype: str = "float64"
    samples: int = 64
    vocabulary: str = TRAINING.name
    observe: tuple[str, ...] = ()

    @property
    def horizon(self) -> int:
        """The steps actually run."""
        return march.rounded_steps(self.steps) if self.words is EDGE else rounded_steps(self.steps)

    @property
    def words(self) -> Vocabulary:
        """The vocabulary itself."""
        return vocabulary(self.vocabulary)

    @property
    def foreign(self) -> Classifier | None:
        """The classifier of another package, where the vocabulary is of one."""
        return None if self.vocabulary in VOCABULARIES else foreign(self.vocabulary)

    @property
    def observed(self) -> tuple[str, ...]:
        """The observables of other packages that are measured: those asked for, and those that the classifier reads."""
        own = self.foreign
        return tuple(dict.fromkeys((*self.observe, *(own.observables if own is not None else ()))))


def batchable(system: System, name: str) -> bool:
    """True when the parameter is a scalar field of the system, so that values can be batched without a rebuild."""
    if name in getattr(system, "aliases", ()):
        return True
    if name in getattr(system, "rebuilt", ()):
        return False  # data that the factory drew depend on it
    if any(f.name == name and f.metadata.get("static") for f in dataclasses.fields(system)):
        return False
    value = getattr(system, name, None)
    return isinstance(value, float | int | np.ndarray | jax.Array) and np.ndim(value) == 0


def with_values(system: System, values: Mapping[str, np.ndarray], dtype: str) -> tuple[Any, tuple[str, ...]]:
    """The system with the named fields set to arrays of one length, and the names of those fields."""
    resolve = getattr(system, "resolve", None)
    if resolve is not None:
        values = resolve(values)
    names = tuple(sorted(values))
    if names:
        # A field that is None (cubic's z0) becomes a leaf here, hence is_leaf.
        fields = [np.asarray(values[n], dtype) for n in names]
        system = eqx.tree_at(lambda s: [getattr(s, n) for n in names], system, fields, is_leaf=lambda x: x is None)
    _check(system, names)
    return as_leaves(system, dtype), names


def _check(system: System, names: tuple[str, ...]) -> None:
    """The system's own check; of one that is written for single numbers, as a user's may be, value by value."""
    try:
        system.check()
    except ValueError:
        if not names:
            raise
        for row in zip(*(getattr(system, n) for n in names), strict=True):
            one = copy.copy(system)
            for name, value in zip(names, row, strict=True):
                object.__setattr__(one, name, float(value))
            one.check()


def answer(recipe: Recipe, system: System, values: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Records at a batch of parameter values, arrays of one length P; returns arrays with a leading axis P."""
    with _ONE_AT_A_TIME, precision(recipe.dtype):
        implied = getattr(system, "implied", None)
        if implied is not None and values:
            size = len(next(iter(values.values())))
            values = {k: np.full(size, v) for k, v in implied(recipe.fixed, tuple(values)).items()} | dict(values)
        ready, batched = with_values(system, values, recipe.dtype)
        points = len(next(iter(values.values()))) if values else 1
        if recipe.words is REGIME:
            return _regime_record(ready, batched, points)
        if recipe.words is EDGE:
            run = evolve.flow_march if isinstance(ready, Flow) else march.march
            return _edge_record(run(ready, batched, points, recipe.steps))
        measured = tuple(named(name) for name in recipe.observed)
        for observable in measured:
            check_needs(observable, ready)
        got = gather(ready, batched, points, recipe.steps, recipe.starts, measured)
        out = _reduce(got)
        out |= {o.name: _mean(got["full"][o.name], ~got["full"]["escaped"]) for o in measured}
        if got["full"]["scalar"].all():
            out |= _attractor(ready, batched, got["full"]["tail"], recipe.samples, out["phase"])
        if recipe.foreign is not None:
            out |= _read_by(recipe.foreign, got)
    return _without_run(out, np.broadcast_to(np.asarray(ready.admissible()), (points,)))


def _without_run(record: dict[str, np.ndarray], ran: np.ndarray) -> dict[str, np.ndarray]:
    """The record with nothing in it where the parameters describe no run."""
    if ran.all():
        return record
    out = {}
    for name, values in record.items():
        nothing = np.nan if values.dtype.kind == "f" else NOT_COMPUTED
        out[name] = np.where(ran.reshape(-1, *[1] * (values.ndim - 1)), values, nothing).astype(values.dtype)
    return out


def _edge_record(got: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """The records of marched runs, arrays of shape (points,); label 255 where there was no run."""
    ran = got["status"] >= 0
    half = march.WINDOWS // 2
    over = got["run_steps"] <= got["horizon"] / 2
    windows = ("motion", "curvature_mean", "curvature_top", "loss_mean")
    evidence = {
        "escaped": got["status"] == march.ESCAPED, "settled": got["status"] == march.SETTLED, "moved": got["motion_max"],
        "flow": got.get("flow", np.asarray(False)), **{k: got[k] for k in ("unstable", "curvature_start", "curvature")},
    }  # fmt: skip
    # As many windows for the whole of the horizon as for half of it: neighbours are joined.
    pairs = {k: got[k].reshape(-1, half, 2) for k in windows}
    joined = {k: v.mean(2) if k.endswith("mean") else v.max(2) for k, v in pairs.items()}
    codes, margin, rule = edge(evidence | joined)
    early = evidence | {k: evidence[k] & over for k in ("escaped", "settled")} | {k: got[k][:, :half] for k in windows}
    before = edge(early)[0]
    with np.errstate(invalid="ignore"):
        late = got["curvature_top"][:, -WINDOWS_LATE:].max(1)
        mean = got["curvature_mean"][:, -WINDOWS_LATE:].mean(1)
    ended = got["run_steps"] < got["horizon"]
    settled = (got["status"] == march.SETTLED) & (rule == 1)
    return {
        "phase": np.where(ran, codes, NOT_COMPUTED).astype(np.uint8),
        "phase_half": np.where(ran, before, NOT_COMPUTED).astype(np.uint8),
        "margin": np.where(ran, np.where(np.isfinite(margin), margin, 0.0), np.nan),
        "rule": np.where(ran, rule, NOT_COMPUTED).astype(np.uint8),
        "settled": np.where(ran, settled, NOT_COMPUTED).astype(np.uint8),
        "curvature_mean": np.where(ended, got["curvature"], mean),
        "curvature_max": np.where(ended, got["curvature"], late),
        "curvature_peak": np.nan_to_num(got["curvature_top"], nan=0.0).max(1),
        "increases": got["rises"],
        **{k: got[k] for k in ("curvature", "curvature_start", "loss", "max_ratio", "run_steps")},
    }


def _regime_record(system: Any, batched: tuple[str, ...], points: int) -> dict[str, np.ndarray]:
    """The records of nets over a ladder, arrays of shape (points,); places that occur twice are measured once."""
    from trainphase.relu import regimes

    known: dict[tuple[float, ...], dict[str, float]] = {}
    rows = []
    for k in range(points):
        place = tuple(float(getattr(system, n)[k]) for n in batched)
        if place not in known:
            here = eqx.tree_at(lambda s: [getattr(s, n) for n in batched], system, list(place)) if batched else system
            known[place] = regimes.record(here)
        rows.append(known[place])
    return _labelled(rows)


def ladder_record(
    recipe: Recipe, system: System, progress: regimes.Progress | None = None
) -> tuple[dict[str, np.ndarray], regimes.Widest]:
    """The record of one place by the regime vocabulary, arrays of length 1, and the widest net, traced, of its first seed.

    ``progress(done, of)`` is called after each net of the ladder.
    """
    from trainphase.relu import regimes

    with _ONE_AT_A_TIME, precision(recipe.dtype):
        record, widest = regimes.measure(with_values(system, {}, recipe.dtype)[0], progress, traced=True)
    return _labelled([record]), widest


def _labelled(rows: Sequence[Mapping[str, float]]) -> dict[str, np.ndarray]:
    """Records as arrays, each with its label by all widths and by all but the widest."""
    got = {name: np.array([row[name] for row in rows]) for name in rows[0]}
    codes, margin, rule = regime(got)
    before = regime(got | {"slope": got["narrower"], "slope_se": got["narrower_se"]})[0]
    return got | {"phase": codes, "phase_half": before, "margin": np.where(np.isfinite(margin), margin, 0.0), "rule": rule}


# The last quarter of the horizon.
WINDOWS_LATE = march.WINDOWS // 4


def _mean(x: np.ndarray, ok: np.ndarray) -> np.ndarray:
    count = ok.sum(1)
    total = np.where(ok, x, 0.0).sum(1)
    return np.where(count > 0, total / np.maximum(count, 1), np.nan)


def _reduce(got: Mapping[str, Mapping[str, np.ndarray]]) -> dict[str, np.ndarray]:
    """From (points, starts) to (points,)."""
    full = got["full"]
    codes, margins, rules = training(full)
    phase = TRAINING.worst(codes)
    half = TRAINING.worst(training(got["half"])[0])
    own = codes == phase[:, None]
    margin = np.where(own, margins, np.inf).min(1)
    ok = ~full["escaped"] & np.isfinite(full["lyapunov"])
    se = np.sqrt(np.where(ok, np.square(full["lyapunov_se"]), 0.0).sum(1)) / np.maximum(ok.sum(1), 1)
    lasting = full["cycle"] if "cycle" in full else full["repeat"]
    settled = np.where((rules == 1) | (rules == 2), np.maximum(lasting, 1), 0)
    if "approach" in full:
        settled = np.where(rules == 5, full["approach"], settled)
    period = settled.max(1).astype(float)
    first = np.argmax(settled, axis=1)
    out = {
        "phase": phase,
        "phase_half": half,
        "margin": np.where(np.isfinite(margin), margin, 0.0),
        "period": np.where((period > 0) & np.isin(phase, SETTLED), period, np.nan),
        "lyapunov": _mean(full["lyapunov"], ok),
        "lyapunov_se": np.where(ok.any(1), se, np.nan),
        "loss": _mean(full["loss"], ~full["escaped"]),
        "max_ratio": full["max_ratio"].max(1),
        "increases": full["rises"].max(1).astype(float),
        "rule": np.where(own, rules, 255).min(1).astype(np.uint8),
    }
    if "multiplier" in full:
        out["multiplier"] = full["multiplier"][np.arange(len(first)), first]
    if "curvature" in full:
        curvature = np.where(np.isfinite(full["curvature"]), full["curvature"], -np.inf).max(1)
        out["curvature"] = np.where(np.isfinite(curvature), curvature, np.nan)
    return out


def _read_by(own: Classifier, got: Mapping[str, Mapping[str, np.ndarray]]) -> dict[str, np.ndarray]:
    """What the classifier of another package says of the same runs, as :func:`_reduce` of the training vocabulary."""
    words = own.vocabulary
    read = {}
    for when in ("half", "full"):
        evidence = {name: values for name, values in got[when].items() if values.ndim == 2}
        shape = evidence["loss"].shape
        try:
            answer = [np.broadcast_to(np.asarray(part), shape) for part in own.classify(evidence)]
            codes, margins, rules = answer
            inside = codes.dtype.kind in "iu" and (not codes.size or (codes.min() >= 0 and codes.max() <= words.undecided))
        except Exception as why:
            told = " ".join(str(why).split())[:200]
            raise TrainphaseError(f"the classifier of {words.name!r} failed ({type(why).__name__}: {told}); mend it") from why
        if not inside:
            raise TrainphaseError(f"the classifier of {words.name!r} gave codes that are none of its phases; mend it")
        read[when] = words.worst(codes), codes, margins, rules
    phase, codes, margins, rules = read["full"]
    own_runs = codes == phase[:, None]
    margin = np.where(own_runs, margins, np.inf).min(1)
    return {
        "phase": phase, "phase_half": read["half"][0], "margin": np.where(np.isfinite(margin), margin, 0.0),
        "rule": np.where(own_runs, rules, NOT_COMPUTED).min(1).astype(np.uint8),
    }  # fmt: skip


SETTLED = tuple(TRAINING.index(name) for name in ("monotonic", "catapult", "periodic"))


@partial(jax.jit, static_argnames=("batched",))
def _residuals(system: Map, states: Any, batched: tuple[str, ...]) -> Any:
    def one(s: Map, x: Any) -> Any:
        return jax.vmap(lambda y: s.residual(y).reshape(()))(x)

    return jax.vmap(one, in_axes=(batch_axes(system, batched), 0))(system, states)


def _attractor(
    system: Map, batched: tuple[str, ...], tails: np.ndarray, samples: int, phase: np.ndarray
) -> dict[str, np.ndarray]:
    """Bounds and samples of the attractor in the residual, from the recorded tails (points, starts, TAIL, 1)."""
    points, starts, length = tails.shape[:3]
    z = np.asarray(_residuals(system, tails.reshape(points, starts * length), batched))
    gone = (phase == TRAINING.index("divergent"))[:, None]
    z = np.where(gone, np.nan, z)
    with np.errstate(invalid="ignore"):
        lower = np.where(np.isnan(z), np.inf, z).min(1)
        upper = np.where(np.isnan(z), -np.inf, z).max(1)
    # Of every tail a stretch near its end, at another time for each point: samples at one fixed time would show one
    # branch of a cycle only.
    per = -(-samples // starts)
    first = length - per - (37 * np.arange(points)) % 64
    index = np.maximum(first[:, None] + np.arange(per), 0)[:, None, :]
    stretch = np.take_along_axis(z.reshape(points, starts, length), np.broadcast_to(index, (points, starts, per)), 2)
    ends = stretch.reshape(points, -1)[:, :samples]
    return {
        "lower": np.where(np.isfinite(lower), lower, np.nan),
        "upper": np.where(np.isfinite(upper), upper, np.nan),
        "orbit": ends.astype(np.float32),
    }
