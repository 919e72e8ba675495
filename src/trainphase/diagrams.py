"""Diagram: axes times a recipe, computed tile by tile into a store, with the phases, their stability and the theory."""

from __future__ import annotations

import functools
import hashlib
import json
import shutil
import time
from collections.abc import Mapping, Sequence
from concurrent.futures import Executor
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from trainphase import _html, boundaries, extensions
from trainphase.axes import MOST_POINTS, Axis
from trainphase.engine.lattice import Tiling, default_tile
from trainphase.engine.store import Field, Store
from trainphase.engine.sweep import Progress, Report, sweep
from trainphase.errors import RequestError, TrainphaseError
from trainphase.evidence import is_scalar
from trainphase.observable import named
from trainphase.phase import EDGE, NOT_COMPUTED, REGIME, VOCABULARIES, Vocabulary, vocabulary
from trainphase.records import Recipe, answer, batchable
from trainphase.system import System
from trainphase.trajectory import plain

if TYPE_CHECKING:
    import xarray

MOST_SAMPLES = 2**21
# Points in a tile. A run with a vector state does more work per point; smaller tiles put less at stake
# when a sweep is killed.
SCALAR_TILE, VECTOR_TILE = 2048, 1024
# Ladders of widths take a second or more each.
LADDER_TILE = 4

_TRAINING = (
    Field("period", "float32", np.nan, "steps", "period of the attractor"),
    Field("lyapunov", "float64", np.nan, "1/step", "Lyapunov exponent"),
    Field("lyapunov_se", "float64", np.nan, "1/step", "standard error of the Lyapunov exponent"),
    Field("loss", "float64", np.nan, "target units squared", "training loss at the end, mean over starts"),
    Field("max_ratio", "float64", np.nan, "1", "largest one-step growth of the loss"),
    Field("increases", "float32", np.nan, "steps", "steps at which the loss rose"),
)
_EDGE = (
    Field("curvature", "float64", np.nan, "1", "step size times top kernel eigenvalue at the end"),
    Field("curvature_start", "float64", np.nan, "1", "step size times top kernel eigenvalue at the start"),
    Field("curvature_mean", "float64", np.nan, "1", "mean over the last quarter, followed from below; its end where settled"),
    Field("curvature_max", "float64", np.nan, "1", "largest of the last quarter, followed from below; its end where settled"),
    Field("curvature_peak", "float64", np.nan, "1", "largest of every fifth step of the run, followed from below"),
    Field("loss", "float64", np.nan, "target units squared", "training loss at the end"),
    Field("max_ratio", "float64", np.nan, "1", "largest one-step growth of the loss"),
    Field("increases", "float32", np.nan, "steps", "steps at which the loss rose"),
    Field("run_steps", "float32", np.nan, "steps", "steps until the run settled, escaped or reached the horizon"),
    Field("settled", "uint8", NOT_COMPUTED, "1", "1 where the steps have become negligible"),
)
_REGIME = (
    Field("slope", "float64", np.nan, "1", "S_w: slope of ln(relative distance) over ln(width)"),
    Field("slope_se", "float64", np.nan, "1", "standard error of the slope, from widths and seeds"),
    Field("slope_other", "float64", np.nan, "1", "the other layer's slope, of three layers"),
    Field("slope_other_se", "float64", np.nan, "1", "standard error of the other layer's slope"),
    Field("relative_distance", "float64", np.nan, "1", "largest distance of the input weights over their length, widest nets"),
    Field("relative_distance_a", "float64", np.nan, "1", "the same of the output weights"),
    Field("error", "float32", np.nan, "1", "largest estimated relative error of a relative distance"),
    Field("loss", "float64", np.nan, "target units squared", "largest mean squared residual at the end"),
    Field("attempts", "float32", np.nan, "steps", "steps of all nets, rejected ones included"),
)
_CURVATURE = Field("curvature", "float64", np.nan, "1", "step size times top kernel eigenvalue at the end")
_SCALAR = (
    Field("multiplier", "float64", np.nan, "1", "multiplier of the stable cycle"),
    Field("lower", "float64", np.nan, "1", "lower bound of the attractor in the residual z"),
    Field("upper", "float64", np.nan, "1", "upper bound of the attractor in the residual z"),
)


@dataclass(frozen=True, eq=False)
class Diagram:
    """A computed diagram.

    Attributes
    ----------
    dataset : all records over the axes. theory : lines of the theory. store : where it is kept, or None.
    evaluations : points computed by this call; points that a store already held are not computed again.
    part : (k, n) where this call computed part k of n alone; the data set then has what was stored at its end.
    refinement : what a refined diagram asked for and what its audit says; empty for a dense one.
    tiles : how many there are (``all``), are stored (``stored``), were this call's (``own``) and were computed (``computed``).
    """

    system: str
    axes: tuple[Axis, ...]
    dataset: xarray.Dataset
    theory: list[dict[str, Any]]
    evaluations: int
    seconds: float
    store: str | None
    failed: dict[str, str] = field(default_factory=dict)
    part: tuple[int, int] | None = None
    tiles: dict[str, int] = field(default_factory=dict)
    refinement: dict[str, Any] = field(default_factory=dict)

    @property
    def words(self) -> Vocabulary:
        """The vocabulary of the phases."""
        return vocabulary(self.dataset.attrs["vocabulary"])

    @property
    def codes(self) -> np.ndarray:
        """Phase codes over the axes; over seeds, where there are several, the most frequent one."""
        return self.words.consensus(self.dataset["phase"])

    @property
    def phases(self) -> dict[str, float]:
        """Share of the points in each phase."""
        return self.words.fractions(self.codes)

    @property
    def unstable(self) -> float:
        """Share of the points whose label changes when the horizon doubles (from half of it to the whole)."""
        return changed(self.dataset["phase"].values, self.dataset["phase_half"].values)

    @property
    def drawn(self) -> list[Axis]:
        """The axes of a figure: those without the seeds, unless there is nothing else."""
        return [a for a in self.axes if a.name != "seed"] or list(self.axes)

    @property
    def boundaries(self) -> list[dict[str, Any]]:
        """Where neighbouring points differ: midpoints along one axis, ordered lines in a plane (``boundaries.of_labels``)."""
        return boundaries.of_labels(self.codes, self.drawn, self.words)

    def to_xarray(self) -> xarray.Dataset:
        """The dataset, with names, units and provenance."""
        return self.dataset

    def plot(self, ax: Any = None) -> Any:
        """Draw the plane of a two-parameter diagram, or the orbit or phase panel of a one-parameter one.

        ``ax`` are matplotlib axes to draw into; without them a figure is made. Returns the axes.
        """
        from trainphase.figures import line, orbit, plane

        if len(self.drawn) == 2:
            return plane.draw(self.dataset, ax, self.theory)
        return orbit.draw(self.dataset, ax) if "orbit" in self.dataset else line.draw(self.dataset, ax, self.theory)

    def save_plot(self, path: str | Path) -> None:
        """Write the whole page (.png, .pdf or .svg): for one parameter of a scalar map, orbit, exponent and phases."""
        from trainphase import figures

        figures.save(figures.page(self.dataset, self.theory), path)

    def explore(self, height: int = 720) -> Any:
        """The diagram on a page that one can move in, inline in a notebook (Jupyter, marimo); ``save`` writes it to a file.

        ``height`` is in pixels.
        """
        from trainphase.explorer import notebook

        return notebook.explore([self], height=height)

    def _repr_html_(self) -> str:
        axes = ", ".join(f"{a.name} {a.lo:g} to {a.hi:g} ({a.n})" for a in self.axes)
        told = f"{self.evaluations} of {self.dataset['phase'].size} points computed in {self.seconds:.1f} s"
        return _html.whole(f"{self.system} over {axes}", [_html.shares(self.words, self.phases), _html.line(told)])

    def to_json(self) -> dict[str, Any]:
        """The JSON document of ``trainphase diagram``."""
        provenance, lines = json.loads(self.dataset.attrs["provenance"]), self.boundaries
        return plain({
            "system": self.system, "axes": [a.to_json() for a in self.axes], "phases": self.phases,
            "evaluations": self.evaluations, "grid_points": int(self.dataset["phase"].size),
            "seconds": self.seconds, "store": self.store, "unstable": self.unstable,
            "boundaries": lines, "theory": boundaries.beside_theory(lines, self.theory, self.drawn), "failed": self.failed,
            "version": provenance.get("trainphase"),
            "seed": json.loads(self.dataset.attrs["params"]).get("seed"), "dtype": self.dataset.attrs["dtype"],
        })  # fmt: skip


def changed(phase: np.ndarray, half: np.ndarray) -> float:
    """Share of the points with a run whose label at half the horizon is another."""
    ran = phase != NOT_COMPUTED
    return float(np.mean(phase[ran] != half[ran])) if ran.any() else 0.0


def _common(words: Vocabulary) -> list[Field]:
    codes = {"flag_values": list(range(len(words.labels))), "flag_meanings": " ".join(words.labels)}
    return [
        Field("phase", "uint8", NOT_COMPUTED, "1", "phase", attrs=codes),
        Field("phase_half", "uint8", NOT_COMPUTED, "1", "phase at half the horizon", attrs=codes),
        Field("margin", "float32", np.nan, "1", "distance of the deciding number from its threshold"),
        Field("rule", "uint8", NOT_COMPUTED, "1", "index of the rule that decided"),
    ]


def fields_for(system: System, recipe: Recipe) -> list[Field]:
    """What is kept at each point of a diagram of this system."""
    if recipe.words is EDGE:
        return [*_common(EDGE), *_EDGE]
    if recipe.words is REGIME:
        return [*_common(REGIME), *_REGIME]
    fields = [*_common(recipe.words), *_TRAINING, *_measured(recipe)]
    if hasattr(system, "curvature"):
        fields.append(_CURVATURE)
    if is_scalar(system):
        fields += _SCALAR
        if recipe.samples:
            text = "residual z on the attractor"
            fields.append(Field("orbit", "float32", np.nan, "1", text, dims=("sample",), sizes=(recipe.samples,)))
    return fields


def _measured(recipe: Recipe) -> list[Field]:
    """A field for each observable of another package; RequestError where one is no single number."""
    found = [named(name) for name in recipe.observed]
    for o in found:
        if o.dims:
            raise RequestError(f"{o.name} has the axes {', '.join(o.dims)}; a diagram keeps single numbers, so leave it out")
    return [Field(o.name, "float64", np.nan, o.units, f"{o.long_name} at the end, mean over starts") for o in found]


class Tile:
    """Computes one tile: a picklable callable ``index -> record``."""

    def __init__(
        self, recipe: Recipe, axes: Sequence[Axis], static: Sequence[str], tiling: Tiling, fields: Sequence[Field]
    ) -> None:
        self.recipe, self.axes, self.static, self.tiling, self.fields = recipe, tuple(axes), tuple(static), tiling, fields
        # Factories may require a value for every parameter; those that move are set after the system is built.
        self.sample = {a.name: native(a.values[-1]) for a in axes}

    def __call__(self, index: tuple[int, ...]) -> dict[str, np.ndarray]:
        slices = self.tiling.slices(index)
        shape = self.tiling.extent(index)
        values = {a.name: a.values[s] for a, s in zip(self.axes, slices, strict=True)}
        fixed = {name: native(values[name][0]) for name in self.static}
        moving = [a.name for a in self.axes if a.name not in self.static]
        mesh = np.meshgrid(*[values[name] for name in moving], indexing="ij")
        full = int(np.prod([t for t, a in zip(self.tiling.tile, self.axes, strict=True) if a.name in moving]))
        out = self.records(fixed, {name: grid.ravel() for name, grid in zip(moving, mesh, strict=True)}, full)
        return {name: data.reshape(shape + data.shape[1:]) for name, data in out.items()}

    def records(self, fixed: Mapping[str, Any], moving: Mapping[str, np.ndarray], full: int) -> dict[str, np.ndarray]:
        """The fields at points given by the values of the moving parameters, arrays of one length up to ``full``."""
        system = _built(self.recipe.build, _frozen({**self.recipe.fixed, **self.sample, **fixed}))
        size = len(next(iter(moving.values()))) if moving else 1
        # Every tile has the same number of points, so that all share one compiled program.
        batch = {name: np.concatenate([flat, np.full(full - size, flat[-1])]) for name, flat in moving.items()}
        got = answer(self.recipe, system, batch)
        return {f.name: got[f.name][:size].astype(f.dtype) for f in self.fields}


def native(value: Any) -> Any:
    """The number as Python has it, whole ones as int; a float where JAX's integers of 32 bits do not reach."""
    number = float(value)
    return int(number) if number.is_integer() and abs(number) < 2**31 else number


def _frozen(params: Mapping[str, Any]) -> tuple[tuple[str, Any], ...]:
    return tuple(sorted(params.items()))


@functools.lru_cache(maxsize=2)
def _built(build: Any, params: tuple[tuple[str, Any], ...]) -> System:
    """Systems are rebuilt only when a parameter changes that cannot be batched: data are drawn once."""
    return build(**dict(params))


def compute(
    name: str, recipe: Recipe, axes: Sequence[Axis], theory: list[dict[str, Any]], provenance: Mapping[str, Any],
    store: str | Path | None = None, executor: Executor | None = None, progress: Progress | None = None,
    params: Mapping[str, Any] | None = None, cache: Path | None = None, part: tuple[int, int] | None = None,
) -> Diagram:  # fmt: skip
    """Compute every point of the axes and return the diagram; see :func:`trainphase.diagram`.

    Without ``store`` the tiles are kept under ``cache`` until the diagram is complete, so that an interrupted call
    continues when it is repeated.
    """
    start = time.perf_counter()
    system, static = prepared(recipe, axes)
    shape = tuple(len(a.values) for a in axes)
    if np.prod(shape, dtype=float) > MOST_POINTS:
        raise RequestError(f"{np.prod(shape, dtype=float):.3g} points are too many for one diagram; give at most {MOST_POINTS}")
    still = tuple(i for i, a in enumerate(axes) if a.name in static)
    tiling = Tiling(shape, default_tile(shape, still, _tile_points(system, recipe)))
    fields = fields_for(system, recipe)
    who = identity(name, recipe, params or recipe.fixed, provenance)
    place = store if store is not None else scratch(cache, who, axes)
    with Store.create_or_resume(place, axes, fields, who, provenance, tiling.tile, part=part) as kept:
        report = sweep(Tile(recipe, axes, static, tiling, fields), kept, tiling.tiles(), executor, progress)
        if report.failed and len(report.failed) == len(tiling):
            raise TrainphaseError(f"no tile could be computed: {next(iter(report.failed.values()))}")
        dataset = kept.load() if part is None else kept.dataset()
        own, stored = len(kept.own()), len(kept.claimed())
    if store is None:
        shutil.rmtree(place, ignore_errors=True)
    describe(dataset, name, recipe, params, provenance)
    failed = {tiling.key(k): v for k, v in report.failed.items()}
    return Diagram(
        name, tuple(axes), dataset, theory, _computed(report, tiling), time.perf_counter() - start,
        None if store is None else str(store), failed, part,
        {"all": len(tiling), "stored": stored, "own": own, "computed": len(report.computed)},
    )  # fmt: skip


def prepared(recipe: Recipe, axes: Sequence[Axis]) -> tuple[System, list[str]]:
    """The system at the last value of every axis, and the axes along which it has to be built again for each value."""
    system = _built(recipe.build, _frozen({**recipe.fixed, **{a.name: native(a.values[-1]) for a in axes}}))
    return system, [a.name for a in axes if not batchable(system, a.name)]


def describe(
    dataset: xarray.Dataset, name: str, recipe: Recipe, params: Mapping[str, Any] | None, provenance: Mapping[str, Any]
) -> None:
    """Give a dataset the attributes of a diagram."""
    dataset.attrs |= {
        "system": name, "title": f"phase diagram of {name}", "vocabulary": recipe.vocabulary, "dtype": recipe.dtype,
        "params": json.dumps(plain(params or recipe.fixed), sort_keys=True),
        "provenance": json.dumps(plain(provenance), sort_keys=True), "steps": recipe.horizon, "starts": recipe.starts,
    }  # fmt: skip


def _tile_points(system: System, recipe: Recipe) -> int:
    """Points of a tile: for marched runs eight times the lanes, so that short runs make room for waiting ones."""
    if recipe.words is REGIME:
        return LADDER_TILE
    if recipe.words is EDGE:
        return 8 * system.lanes
    return SCALAR_TILE if is_scalar(system) else min(VECTOR_TILE, 8 * system.lanes)


def _computed(report: Report, tiling: Tiling) -> int:
    return int(sum(np.prod(tiling.extent(index)) for index in report.computed))


def identity(name: str, recipe: Recipe, params: Mapping[str, Any], provenance: Mapping[str, Any]) -> dict[str, Any]:
    """What decides the numbers, and so must match when a sweep is resumed."""
    theirs = {}
    if recipe.observed or recipe.vocabulary not in VOCABULARIES or name in extensions.names(extensions.SYSTEMS):
        theirs = {"packages": provenance.get("packages"), "observe": list(recipe.observed)}
    return plain({
        "system": name, "params": dict(params), "steps": recipe.horizon, "starts": recipe.starts,
        "dtype": recipe.dtype, "samples": recipe.samples, "vocabulary": recipe.vocabulary,
        "trainphase": provenance.get("trainphase"), "data_sha256": provenance.get("data_sha256"),
    } | theirs)  # fmt: skip


def scratch(cache: Path | None, who: Mapping[str, Any], axes: Sequence[Axis]) -> Path:
    """Where the tiles of an unfinished diagram without a store are kept."""
    text = json.dumps([who, [a.to_json() for a in axes]], sort_keys=True)
    root = cache if cache is not None else Path.home() / ".cache" / "trainphase"
    return root / "unfinished" / hashlib.sha256(text.encode()).hexdigest()[:20]


def samples_for(points: int, starts: int) -> int:
    """Samples of the attractor to keep per point: 256, fewer from one start or when the points are many (2^21 in all)."""
    return int(max(1, min(256, 128 * starts, MOST_SAMPLES // max(points, 1))))
