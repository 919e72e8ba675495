"""Verbs on systems: run one, find a boundary. (``diagram`` is in its own module.)"""

from __future__ import annotations

import platform
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

import jax
import numpy as np

from trainphase import _html, overlay
from trainphase._arrays import as_leaves, checksum, precision
from trainphase._version import __version__
from trainphase.axes import Axis
from trainphase.classifiers import rules_of
from trainphase.engine.bisect import Bracket, search
from trainphase.engine.sweep import Progress, Quiet
from trainphase.errors import RequestError
from trainphase.evolve import flow_series, series
from trainphase.extensions import packages
from trainphase.observable import Observable, check_needs
from trainphase.observables import STANDARD, with_projection
from trainphase.phase import EDGE, NOT_COMPUTED, REGIME, TRAINING, Reading, Vocabulary
from trainphase.records import Recipe, answer, batchable, ladder_record
from trainphase.system import Flow, Map, System
from trainphase.trajectory import Trajectory, plain

BATCH = 256
# Of systems of which a single run takes long: points that a change is narrowed by at a time, and points of its audit.
FEW_SECTIONS, FEW_AUDIT = 3, 8


@jax.jit
def _init(system: Map) -> Any:
    return system.init()


def provenance(system: System | None, dtype: str, command: str = "", flags: str = "") -> dict[str, Any]:
    """Versions, device, precision and data checksum: what someone needs to compute the same numbers again."""
    out = {
        "trainphase": __version__, "jax": jax.__version__, "numpy": np.__version__,
        "python": platform.python_version(), "device": jax.devices()[0].device_kind, "dtype": dtype,
        "xla_flags": flags, "command": command,
    } | ({"packages": packages()} if packages() else {})  # fmt: skip
    problem = getattr(system, "problem", None)
    arrays = [] if problem is None else [np.asarray(x) for x in (*jax.tree.leaves(problem.inputs), problem.targets)]
    arrays += [np.asarray(getattr(system, n)) for n in ("X", "X_test", "inputs", "y") if getattr(system, n, None) is not None]
    if arrays:
        out["data_sha256"] = checksum(*arrays)
    return out


def run(
    name: str, system: System, params: Mapping[str, Any], *, steps: int, starts: int, dtype: str,
    vocabulary: str = TRAINING.name, observables: tuple[Observable, ...] = (), progress: Progress | None = None,
    command: str = "", flags: str = "",
) -> Trajectory:  # fmt: skip
    """Run a system once, record its observables, and name its phase; see :func:`trainphase.run`."""
    system.check()
    for observable in observables:
        check_needs(observable, system)
        if any(observable.name == o.name for o in STANDARD):
            raise RequestError(f"the observable {observable.name!r} has the name of a built-in one; give yours another")
    if not np.all(system.admissible()):
        given = ", ".join(f"{k} = {params[k]:g}" for k in ("z", "T", "E", "y", "eps") if isinstance(params.get(k), float | int))
        raise RequestError(f"{name} has no start with {given}: the curvature is too small for the residual; raise T")
    recipe = Recipe(type(system), {}, steps, starts, dtype, samples=0, vocabulary=vocabulary)
    chosen, words = STANDARD + tuple(observables), recipe.words
    if words is REGIME:
        return _ladder(name, recipe, system, params, progress, command, flags)
    record = {k: v[0] for k, v in answer(recipe, system, {}).items()}
    if words is EDGE:
        # What has settled or escaped is recorded to there: the rest would be more of the same.
        steps = max(1, min(recipe.horizon, int(np.ceil(record["run_steps"]))))
    with precision(dtype):
        ready = as_leaves(system, dtype)
        if isinstance(ready, Flow):
            times, values, final, rises = flow_series(ready, steps, chosen)
        else:
            times, values, final, rises = series(ready, _init(ready), steps, chosen)
    escaped = values.pop("escaped").astype(bool)
    values = with_projection(values)
    phase = words.label(int(record["phase"]))
    evidence = {k: plain(v) for k, v in record.items() if np.ndim(v) == 0}
    reading = Reading(words, phase, float(record["margin"]), _rule(words, int(record["rule"])), evidence)
    known = {o.name: o for o in chosen}
    units = {o.name: o.units for o in chosen} | _UNITS | getattr(system, "units", {})
    names = {o.name: o.long_name for o in chosen} | _NAMES
    taken = int(np.argmax(escaped)) if escaped.any() else len(times) - 1
    return Trajectory(
        name, dict(params), times, values, _summary(values, record, rises), _outcome(words, phase, record, escaped), reading,
        int(times[taken]), dtype, final, units, names, {o: known[o].dims for o in known}, plain(overlay.report(system)),
        provenance(system, dtype, command, flags),
    )  # fmt: skip


def _ladder(
    name: str, recipe: Recipe, system: System, params: Mapping[str, Any], progress: Progress | None, command: str, flags: str
) -> Trajectory:
    """The trajectory of the widest net of the first seed, with the slope over the whole ladder."""
    from trainphase.relu import regimes
    from trainphase.relu.reported import REPORTED

    progress = progress or Quiet()
    try:
        progress.start(regimes.nets(system), 0)
        arrays, widest = ladder_record(recipe, system, lambda done, of: progress.advance(1))
    finally:
        progress.close()
    record = {k: v[0] for k, v in arrays.items()}
    series, final, scales = regimes.shown(system, widest)
    phase = REGIME.label(int(record["phase"]))
    evidence = {k: plain(v) for k, v in record.items()}
    reading = Reading(REGIME, phase, float(record["margin"]), _rule(REGIME, int(record["rule"])), evidence)
    times = series.pop("time")
    kept = ("slope", "slope_se", "slope_other", "slope_other_se", "relative_distance", "relative_distance_a", "error", "loss")
    summary = {k: float(record[k]) for k in kept if np.isfinite(record[k]) or "other" not in k} | scales
    units, names = ({k: v[i] for k, v in REPORTED.items()} for i in (0, 1))
    return Trajectory(
        name, dict(params), times, series, summary, "converged" if record["converged"] else "step-limit", reading,
        len(times) - 1, recipe.dtype, final, units, names, {}, plain(overlay.report(system)),
        provenance(system, recipe.dtype, command, flags), "beta1 beta2",
    )  # fmt: skip


def _outcome(words: Vocabulary, phase: str, record: Mapping[str, Any], escaped: np.ndarray) -> str:
    """How the run ended, one of OUTCOMES."""
    if phase == "divergent" or escaped[-1]:
        return "escaped"
    if words is not EDGE and words is not TRAINING:  # of another package, whose labels say nothing here
        return "converged" if record["period"] == 1 else "step-limit"
    settled = bool(record["settled"]) if words is EDGE else phase in ("monotonic", "catapult")
    return "converged" if settled else "step-limit"


def _summary(values: Mapping[str, np.ndarray], record: Mapping[str, Any], rises: int) -> dict[str, float]:
    """One number per observable for the whole run."""
    summary = {k: float(v[-1]) for k, v in values.items() if v.ndim == 1}
    if "residual" in values and values["residual"].ndim > 1:
        summary["residual"] = float(np.max(np.abs(values["residual"][-1])))
    for key in ("lyapunov", "lyapunov_se", "period", "multiplier", "lower", "upper", "curvature_start", "curvature_max"):
        if key in record:
            summary[key] = float(record[key])
    summary["increases"] = float(rises)
    if "lower" not in record:
        # Bounds of the attractor over all samples, from the second half of the run.
        late = values["residual"][len(values["residual"]) // 2 :]
        summary["lower"], summary["upper"] = float(np.min(late)), float(np.max(late))
    return summary


_UNITS = {
    "averaged_test_loss": "target units squared", "curvature_start": "1", "curvature_max": "1",
    "top_residual": "target units", "lyapunov": "1/step", "lyapunov_se": "1/step", "period": "steps",
    "increases": "steps", "multiplier": "1", "lower": "1", "upper": "1",
}  # fmt: skip
_NAMES = {
    "averaged_test_loss": "test loss of trajectory-averaged predictions", "lyapunov": "Lyapunov exponent",
    "lyapunov_se": "standard error of the Lyapunov exponent", "period": "period of the attractor",
    "increases": "steps at which the loss rose", "multiplier": "multiplier of the stable cycle",
    "curvature_start": "curvature at the start", "curvature_max": "largest curvature of the last quarter",
    "top_residual": "residual along the kernel's top mode", "lower": "lower bound of the attractor",
    "upper": "upper bound of the attractor",
}  # fmt: skip


def _rule(words: Vocabulary, code: int) -> str:
    rules = rules_of(words.name)
    return rules[code] if code < len(rules) else "the starts differ, and one of them is undecided"


@dataclass(frozen=True)
class Crossing:
    """A change of label along a parameter: at ``at``, known to within ``width``; ``theory`` is what theory says."""

    between: tuple[str, str]
    at: float
    width: float
    theory: float | None = None
    theory_name: str | None = None


@dataclass(frozen=True)
class Window:
    """A periodic window inside the chaotic range: its ends (NaN: not found) and the period at its regular end."""

    phase: str
    period: int | None
    lo: float
    hi: float


@dataclass(frozen=True)
class BoundaryResult:
    """The crossings along one parameter, in order, and the periodic windows that are not boundaries; ``tol`` was asked for."""

    system: str
    param: str
    crossings: tuple[Crossing, ...]
    windows: tuple[Window, ...]
    evaluations: int
    tol: float

    def _repr_html_(self) -> str:
        rows = [(" / ".join(c.between), f"{c.at:.12g}", c.width, c.theory, c.theory_name) for c in self.crossings]
        head = ("boundary", f"at {self.param} =", "known to", "theory", "")
        told = f"{self.evaluations} values computed; {len(self.windows)} periodic windows"
        return _html.whole(f"{self.system} along {self.param}", [_html.table(head, rows), _html.line(told)])

    def to_json(self) -> dict[str, Any]:
        """The JSON document of ``trainphase boundary``."""
        return plain({
            "system": self.system, "param": self.param,
            "crossings": [vars(c) | {"between": list(c.between)} for c in self.crossings],
            "windows": [vars(w) for w in self.windows], "evaluations": self.evaluations, "tol": self.tol,
        })  # fmt: skip


def boundary(
    name: str, recipe: Recipe, axis: Axis, *, tol: float, points: int, of: str = "phase",
    report: Callable[[int, int], None] | None = None,
) -> BoundaryResult:  # fmt: skip
    """Find every value of one parameter at which the phase (or the period) changes; see :func:`trainphase.boundary`."""
    system = recipe.build(**recipe.fixed, **{axis.name: float(axis.lo) if axis.lo > 0 else float(axis.hi)})
    if not batchable(system, axis.name):
        raise RequestError(f"{axis.name} cannot be searched: it changes the shape of the system; use diagram instead")
    asked = about = 0

    def expect(total: int) -> None:
        nonlocal about
        about = total

    def ask(x: np.ndarray) -> np.ndarray:
        nonlocal asked
        before = asked
        told = max(about, before + x.size)
        record = records_at(recipe, system, {axis.name: x}, lambda k: report(before + k, told) if report is not None else None)
        asked += x.size
        if recipe.words is REGIME:
            # The line between the regimes is where the slope changes its sign.
            return np.where(record["slope"] < 0, REGIME.index("linear"), REGIME.index("condensed"))
        if of == "phase":
            # A value without a run is as good as undecided.
            codes = record["phase"].astype(int)
            return np.where(codes == NOT_COMPUTED, recipe.words.undecided, codes)
        return np.where(np.isfinite(record["period"]), record["period"], -1).astype(int)

    few = {"sections": FEW_SECTIONS, "audit": FEW_AUDIT} if getattr(system, "costly", False) else {}
    undecided = recipe.words.undecided if of == "phase" else -1
    scan = search(ask, axis.lo, axis.hi, points, tol, undecided, expect=expect, **few)
    whole = _without_points(scan.brackets, 1e-8 * (axis.hi - axis.lo))
    if of == "phase" and recipe.words is TRAINING:
        crossings, windows = _sort_phases(whole, recipe, system, axis)
    elif of == "phase":
        crossings, windows = [_crossing(b, recipe.words.label) for b in whole], []
    else:
        # Where the periods on either side are separated by a stretch without one, neither gives way to the other.
        sharp = [b for b in scan.brackets if b.width <= max(100 * tol, 1e-7 * (axis.hi - axis.lo))]
        crossings, windows = [_crossing(b, str) for b in sharp], []
    crossings = _beside_theory(crossings, overlay.named_values(system, axis, of))
    return BoundaryResult(name, axis.name, tuple(crossings), tuple(windows), scan.evaluations, tol)


def records_at(
    recipe: Recipe, system: System, values: Mapping[str, np.ndarray], report: Callable[[int], Any] = lambda k: None
) -> dict[str, np.ndarray]:
    """Records at parameter values, arrays of one length, computed in batches of one size so that nothing is compiled twice.

    ``report`` is called with the number of values that are done.
    """
    # Ladders of nets are not batched, and each takes long enough to be told of; so does a run of a network, of which several
    # together take as long as one after the other, and as long as the longest.
    pieces, size = [], 1 if recipe.words is REGIME or getattr(system, "costly", False) else BATCH
    count = len(next(iter(values.values())))
    for k in range(0, count, size):
        part = {name: x[k : k + size] for name, x in values.items()}
        here = min(size, count - k)
        batch = {name: np.concatenate([x, np.full(size - here, x[-1])]) for name, x in part.items()}
        pieces.append({key: v[:here] for key, v in answer(recipe, system, batch).items()})
        report(k + here)
    return {key: np.concatenate([p[key] for p in pieces]) for key in pieces[0]}


def _without_points(brackets: tuple[Bracket, ...], narrow: float) -> tuple[Bracket, ...]:
    """The changes, with one for two where a label between two others holds at a single value alone, as on the border itself.

    A search by halves falls on round numbers, and so on borders of the theory; what runs do there they do nowhere else.
    ``narrow`` is the width, in units of the parameter, up to which two changes may be taken for one.
    """
    out: list[Bracket] = []
    for b in brackets:
        a = out[-1] if out else None
        if a is not None and a.hi == b.lo and a.right == b.left and a.left != b.right and b.hi - a.lo <= narrow:
            out[-1] = replace(a, hi=b.hi, right=b.right, last=b.last)
        else:
            out.append(b)
    return tuple(out)


def _crossing(b: Bracket, label: Callable[[int], str]) -> Crossing:
    return Crossing((label(b.left), label(b.right)), 0.5 * (b.lo + b.hi), b.width)


def _beside_theory(
    crossings: list[Crossing], known: list[tuple[tuple[str, ...], float, str]]
) -> list[Crossing]:
    """Give each value of the theory to the nearest crossing between the same labels, and to no other."""
    out = list(crossings)
    for between, value, name in known:
        same = [i for i, c in enumerate(out) if set(between) <= set(c.between)]
        if same:
            nearest = min(same, key=lambda i: abs(out[i].at - value))
            out[nearest] = replace(out[nearest], theory=float(value), theory_name=name)
    return out


def _sort_phases(
    brackets: tuple[Bracket, ...], recipe: Recipe, system: System, axis: Axis
) -> tuple[list[Crossing], list[Window]]:
    """Tell windows from boundaries: a periodic interval with chaos on both sides is a window."""
    chaos, cycle = TRAINING.index("chaotic"), TRAINING.index("periodic")
    crossings, windows, used = [], [], set()
    for i, b in enumerate(brackets[:-1]):
        after = brackets[i + 1]
        if (b.left, b.right, after.left, after.right) == (chaos, cycle, cycle, chaos):
            inside = b.hi + 0.05 * (after.lo - b.hi)
            period = float(records_at(recipe, system, {axis.name: np.asarray([inside])})["period"][0])
            lo, hi = 0.5 * (b.lo + b.hi), 0.5 * (after.lo + after.hi)
            windows.append(Window("periodic", int(period) if np.isfinite(period) else None, lo, hi))
            used |= {i, i + 1}
    for i, b in enumerate(brackets):
        if i in used:
            continue
        following = brackets[i + 1].left if i + 1 < len(brackets) else b.right
        before = brackets[i - 1].right if i > 0 else b.left
        middle = 0.5 * (b.lo + b.hi)
        # One edge of a window whose other edge a coarse scan has stepped over.
        if (b.left, b.right) == (chaos, cycle) and following == chaos:
            windows.append(Window("periodic", None, middle, np.nan))
        elif (b.left, b.right) == (cycle, chaos) and before == chaos:
            windows.append(Window("periodic", None, np.nan, middle))
        else:
            crossings.append(_crossing(b, TRAINING.label))
    return crossings, _distinct(windows, 1e-5 * (axis.hi - axis.lo))


def _distinct(windows: list[Window], near: float) -> list[Window]:
    """The windows in order, without single edges that lie next to a window known as a whole."""
    whole = [w for w in windows if np.isfinite(w.lo + w.hi)]
    ends = [e for w in whole for e in (w.lo, w.hi)]
    fresh = [w for w in windows if w not in whole and all(abs(np.fmin(w.lo, w.hi) - e) > near for e in ends)]
    return sorted(whole + fresh, key=lambda w: float(np.fmin(w.lo, w.hi)))
