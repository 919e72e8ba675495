"""Refined diagrams: points are asked for where the phases change, round by round, and kept in a store of points.

The sampler (``engine.sampling``) says which points; a round of them is cut into batches, which are tiles of the store, and
its labels are told. The same labels give the same questions, so that an interrupted diagram continues by asking the store
first.
"""

from __future__ import annotations

import dataclasses
import json
import shutil
import time
from collections.abc import Mapping, Sequence
from concurrent.futures import Executor
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from trainphase import boundaries
from trainphase.axes import SEED, Axis
from trainphase.diagrams import LADDER_TILE, Diagram, Tile, changed, describe, fields_for, identity, native, prepared, scratch
from trainphase.engine.audit import needed
from trainphase.engine.lattice import Index, Tiling
from trainphase.engine.sampling import AUDIT_ROOM, Refine, Refined
from trainphase.engine.store import Field, Store
from trainphase.engine.sweep import Progress, sweep
from trainphase.errors import RequestError, StoreError, TrainphaseError
from trainphase.evidence import is_scalar
from trainphase.phase import EDGE, NOT_COMPUTED, REGIME, Vocabulary
from trainphase.records import Recipe
from trainphase.system import System
from trainphase.trajectory import plain

if TYPE_CHECKING:
    import xarray

# Points in a batch. Rounds are small where the boundary is known well, and a batch is computed whole.
SCALAR_BATCH, VECTOR_BATCH = 256, 64
AUDIT = 600
MOST_LATTICE = 2**27
MOST_DRAWN = 200


@dataclass(frozen=True)
class Options:
    """How to refine: ``tol``, to which width in cells boundaries are polished, None for not; ``audit``, points of an audit."""

    tol: float | None = None
    audit: int = AUDIT
    seed: int = 0


@dataclass(frozen=True, eq=False)
class RefinedDiagram(Diagram):
    """A diagram of which only the points near the boundaries, and those of a random audit, were computed.

    ``dataset`` has ``phase`` and ``known`` (1 where the phase was computed, 0 where it is inferred) over the axes, and every
    quantity of the record over the dimension ``point``, as ``point_NAME``, with the points' coordinates.
    """

    lines: list[dict[str, Any]] = dataclasses.field(default_factory=list)

    @property
    def unstable(self) -> float:
        """Share of the computed points whose label changes when the horizon doubles; they lie near the boundaries."""
        return changed(self.dataset["point_phase"].values, self.dataset["point_phase_half"].values)

    @property
    def boundaries(self) -> list[dict[str, Any]]:
        """The boundaries as ordered lines."""
        return self.lines

    @property
    def _drawn(self) -> list[dict[str, Any]]:
        """The boundaries that a figure shows: none where there are so many that they would hide the phases."""
        return self.lines if len(self.lines) <= MOST_DRAWN else []

    def plot(self, ax: Any = None) -> Any:
        """Draw the plane, or the band of phases along one axis, with the measured boundaries; returns the axes."""
        from trainphase.figures import line, plane

        if len(self.dataset["phase"].dims) == 2:
            return plane.draw(self.dataset, ax, self.theory, self._drawn)
        return line.draw(self.dataset, ax, self.theory, name="phase")

    def save_plot(self, path: str | Path) -> None:
        """Write the whole page (.png, .pdf or .svg)."""
        from trainphase import figures

        figures.save(figures.page(self.dataset, self.theory, boundaries=self._drawn), path)

    def to_json(self) -> dict[str, Any]:
        """The JSON document of ``trainphase diagram``."""
        return super().to_json() | {"refinement": self.refinement}


class Chosen:
    """Computes one batch of points, all of one seed, given by their ``addresses`` (m, axes): a picklable ``index -> record``."""

    def __init__(self, tile: Tile, addresses: np.ndarray, size: int) -> None:
        self.tile, self.addresses, self.size = tile, addresses, size

    def __call__(self, index: Index) -> dict[str, np.ndarray]:
        mine = self.addresses
        values = {a.name: a.values[mine[:, k]] for k, a in enumerate(self.tile.axes)}
        fixed = {SEED: native(values.pop(SEED)[0])} if SEED in values else {}
        got = self.tile.records(fixed, values, self.size)
        for k in range(mine.shape[1]):
            got[f"i{k}"] = mine[:, k].astype(np.int32)
        fields = {f.name: f for f in (*self.tile.fields, *_addresses(len(self.tile.axes)))}
        return {name: _padded(data, self.size, fields[name]) for name, data in got.items()}


class Batch:
    """The batches of a round, as a sweep wants them: a callable ``index -> record``.

    ``points`` (m, d) are those of the round, whose first batch is number ``first``; every seed takes them all.
    """

    def __init__(self, tile: Tile, points: np.ndarray, first: int, size: int) -> None:
        self.tile, self.points, self.first, self.size = tile, points, first, size
        self.per_seed = -(-len(points) // size)
        self.seeds = len(tile.axes[-1].values) if tile.axes[-1].name == SEED else 0

    def numbers(self) -> list[int]:
        """The batches of the round."""
        return list(range(self.first, self.first + self.per_seed * max(self.seeds, 1)))

    def part(self, number: int) -> np.ndarray:
        """The addresses (m, axes) of a batch; the seed's place is the last column."""
        seed, k = divmod(number - self.first, self.per_seed)
        mine = self.points[k * self.size : (k + 1) * self.size]
        return np.concatenate([mine, np.full((len(mine), 1), seed)], 1) if self.seeds else mine

    def alone(self, index: Index) -> Chosen:
        """What computes a batch without the points of the others: a round of a fractal boundary has tens of thousands."""
        return Chosen(self.tile, self.part(index[0]), self.size)

    def __call__(self, index: Index) -> dict[str, np.ndarray]:
        return self.alone(index)(index)


def _padded(data: np.ndarray, size: int, field: Field) -> np.ndarray:
    out = np.full((size, *data.shape[1:]), field.fill, field.dtype)
    out[: len(data)] = data
    return out


def _addresses(count: int) -> list[Field]:
    return [Field(f"i{k}", "int32", -1, "1", f"place along axis {k}") for k in range(count)]


def compute(
    name: str, recipe: Recipe, axes: Sequence[Axis], theory: list[dict[str, Any]], provenance: Mapping[str, Any],
    store: str | Path | None = None, executor: Executor | None = None, progress: Progress | None = None,
    params: Mapping[str, Any] | None = None, cache: Path | None = None, options: Options = Options(),
) -> RefinedDiagram:  # fmt: skip
    """Refine the boundaries of a diagram to the resolution of its axes; see :func:`trainphase.diagram`."""
    start = time.perf_counter()
    system, static = prepared(recipe, axes)
    lattice = [a for a in axes if a.name != SEED]
    shape = tuple(len(a.values) for a in lattice)
    _check(static, lattice, shape)
    if options.tol is not None and len(shape) == 2 and axes[-1].name == SEED:
        raise RequestError("a boundary over several seeds is no single line to be polished; leave --tol or --seeds out")
    fields, batch = fields_for(system, recipe), _batch(system, recipe)
    who = identity(name, recipe, params or recipe.fixed, provenance) | {"refine": {"audit": options.audit, "seed": options.seed}}
    place = store if store is not None else scratch(cache, who, axes)
    tile = Tile(recipe, axes, (), Tiling((1,), (1,)), fields)
    capacity = batch * (int(np.prod(shape, dtype=float)) * (len(axes[-1].values) if axes[-1].name == SEED else 1) // batch + 64)
    every = [*fields, *_addresses(len(axes))]
    with Store.create_or_resume(place, axes, every, who, provenance, (batch,), points=capacity) as kept:
        run = _Rounds(tile, kept, batch, recipe.words, executor, progress)
        sampler = Refine(shape, audit=options.audit, seed=options.seed)
        run.all(sampler)
        points = kept.load()
    if store is None:
        shutil.rmtree(place, ignore_errors=True)
    points = points.isel(point=np.flatnonzero(points["i0"].values >= 0))
    refined = sampler.result()
    dataset = _dataset(refined, points, lattice, recipe.words)
    describe(dataset, name, recipe, params, provenance)
    lines, triples, polish = _lines(dataset["phase"].values, lattice, recipe, tile, batch, options)
    summary = _summary(refined, recipe.words) | {"triple_points": triples, "polish": polish}
    summary["unheard"] = _unheard(refined, options.audit)
    dataset.attrs["refinement"] = json.dumps(plain(summary), sort_keys=True)
    _keep_lines(dataset, lines, lattice, recipe.words)
    return RefinedDiagram(
        name, tuple(axes), dataset, theory, run.evaluations, time.perf_counter() - start, None if store is None else str(store),
        refinement=summary, lines=lines,
    )  # fmt: skip


def _check(static: Sequence[str], lattice: Sequence[Axis], shape: tuple[int, ...]) -> None:
    fixed = [name for name in static if name != SEED]
    if fixed:
        raise RequestError(f"{fixed[0]} cannot be refined: each of its values needs a system of its own; leave --refine out")
    if not lattice:
        raise RequestError("seed alone has nothing to refine between its values; give another parameter a range too")
    odd = [a.name for a in lattice if a.scale == "list"]
    if odd:
        raise RequestError(f"{odd[0]} is a list of values, between which there is nothing to refine; give a range lo:hi:n")
    if np.prod(shape, dtype=float) > MOST_LATTICE:
        raise RequestError(f"{np.prod(shape, dtype=float):.3g} points are too fine a lattice; give at most {MOST_LATTICE}")


def _batch(system: System, recipe: Recipe) -> int:
    if recipe.words is REGIME:
        return LADDER_TILE
    if recipe.words is EDGE:
        return min(4 * system.lanes, 1024)
    return SCALAR_BATCH if is_scalar(system) else VECTOR_BATCH


class _Rounds:
    """The rounds of a refinement: what the sampler asks for is computed, or read from the store, and told."""

    def __init__(
        self, tile: Tile, store: Store, batch: int, words: Vocabulary, executor: Executor | None, progress: Progress | None
    ) -> None:
        self.tile, self.store, self.size, self.words = tile, store, batch, words
        self.executor, self.progress = executor, progress
        self.done, _ = store.verify()
        self.next = self.evaluations = self.rounds = 0

    def all(self, sampler: Refine) -> None:
        """Ask and tell until the sampler is content."""
        while True:
            points = sampler.ask()
            if not len(points):
                return
            self.rounds += 1
            if (refine := getattr(self.progress, "refine", None)) is not None:
                refine(self.rounds, sampler.evaluations, int(np.prod(sampler.shape)))
            labels = self.labels(points)
            kinds = len(self.words.labels)
            codes = np.where(labels == NOT_COMPUTED, kinds, labels)
            sampler.tell(points, (codes[:, :, None] == np.arange(kinds + 1)).sum(1))

    def labels(self, points: np.ndarray) -> np.ndarray:
        """Labels of lattice points (m, d) for every seed, (m, seeds or 1); 255 where there is no run.

        Raises TrainphaseError when a batch failed at every attempt.
        """
        batch = Batch(self.tile, points, self.next, self.size)
        numbers = batch.numbers()
        self.next = numbers[-1] + 1
        report = sweep(batch, self.store, [(k,) for k in numbers], self.executor, self.progress, done=self.done)
        if report.failed:
            # What is asked for next depends on every answer: with a hole here, a store could not be continued later.
            why = next(iter(report.failed.values()))
            raise TrainphaseError(
                f"{len(report.failed)} of {len(numbers)} batches of points could not be computed ({why}): what is computed is "
                f"kept in {self.store.path}; put that right and give the same command again to continue"
            )
        codes = [self._read(k, batch.part(k)) for k in numbers]
        self.evaluations += sum(len(batch.part(k)) for (k,) in report.computed)
        return np.concatenate(codes).astype(int).reshape(-1, len(points)).T

    def _read(self, k: int, addresses: np.ndarray) -> np.ndarray:
        place = [f"i{j}" for j in range(addresses.shape[1])]
        kept = self.store.read((k,), ["phase", *place])
        there = np.stack([kept[name][: len(addresses)] for name in place], 1)
        if not np.array_equal(there, addresses):
            raise StoreError(f"the store {self.store.path} holds other points than are asked for here; give another --store")
        return kept["phase"][: len(addresses)]


def _dataset(refined: Refined, points: Any, lattice: Sequence[Axis], words: Vocabulary) -> xarray.Dataset:
    """Labels over the axes, records over the points."""
    import xarray

    names = [a.name for a in lattice]
    missing = len(words.labels)
    labels = np.where(refined.labels == missing, NOT_COMPUTED, refined.labels).astype(np.uint8)
    known = {"long_name": "1 where the phase was computed", "units": "1"}
    out = xarray.Dataset(
        {"phase": (names, labels, dict(points["phase"].attrs)), "known": (names, refined.known.astype(np.uint8), known)},
        {a.name: (a.name, a.values, {"units": a.units}) for a in lattice},
    )
    for key, field in points.data_vars.items():
        out[f"point_{key}"] = ("point", field.values, dict(field.attrs))
    for k, a in enumerate(lattice):
        out[f"point_{a.name}"] = ("point", a.values[points[f"i{k}"].values], {"units": a.units})
    return out


def _keep_lines(dataset: xarray.Dataset, lines: Sequence[Mapping[str, Any]], lattice: Sequence[Axis], words: Vocabulary) -> None:
    """Put the boundaries into the dataset, over the dimension ``vertex``: ``boundary`` numbers the lines."""
    sizes = [len(x["points"]) for x in lines]
    numbers = np.repeat(np.arange(len(lines)), sizes)
    points = np.concatenate([np.asarray(x["points"], float) for x in lines]) if lines else np.zeros((0, len(lattice)))
    dataset["boundary"] = ("vertex", numbers.astype(np.int32), {"units": "1", "long_name": "number of the boundary"})
    for a, x in zip(lattice, points.T, strict=True):
        dataset[f"boundary_{a.name}"] = ("vertex", x, {"units": a.units, "long_name": f"{a.name} along the boundary"})
    flags = {k: dataset["phase"].attrs[k] for k in ("flag_values", "flag_meanings")}
    for side, k in (("first", 0), ("second", 1)):
        codes = np.array([words.index(x["between"][k]) for x in lines], np.uint8)[numbers]
        dataset[f"boundary_{side}"] = ("vertex", codes, {"units": "1", "long_name": f"{side} of the two phases", **flags})


def _summary(refined: Refined, words: Vocabulary) -> dict[str, Any]:
    """What the refinement asked for, and how good the inferred labels are."""
    rate, bound = refined.wrong or (None, None)

    def named(code: int) -> str:
        return words.label(code) if code < len(words.labels) else "not computed"

    return {
        "points": refined.evaluations, "lattice": int(refined.labels.size), "rounds": refined.rounds,
        "levels": [vars(level) for level in refined.levels],
        "dimension": None if refined.dimension is None else {"slope": refined.dimension[0], "se": refined.dimension[1]},
        "audits": refined.audits, "wrong": rate, "wrong_at_most": bound,
        "audit": [
            {"phase": named(r.label), "inferred": r.inferred, "asked": r.asked, "misses": r.misses, "rate": r.rate,
             "low": r.low, "high": r.high}
            for r in refined.audit
        ],
    }  # fmt: skip


def _unheard(refined: Refined, wanted: int) -> str | None:
    """Why inferred points of some label, or of all, were not audited, with the remedy; None where all labels were heard."""
    inferred = set(np.unique(refined.labels[~refined.known]).tolist())
    silent = inferred - {row.label for row in refined.audit if row.asked}
    need, size = needed(len(inferred)), refined.labels.size
    if wanted == 0 or not silent:
        return None
    lacks = f"{len(silent)} of {len(inferred)} labels had no audited point"
    if size // AUDIT_ROOM < need:
        room = f"{size} lattice points allow an audit of {size // AUDIT_ROOM}"
        return f"{lacks}: {room}; give ranges of at least {AUDIT_ROOM * need} points in all, or leave refine out"
    return f"{lacks}: an audit of {wanted} is too small; give at least {need}" if wanted < need else lacks


def _lines(
    codes: np.ndarray, lattice: Sequence[Axis], recipe: Recipe, tile: Tile, batch: int, options: Options
) -> tuple[list[dict[str, Any]], list[dict[str, Any]], dict[str, Any] | None]:
    """The boundaries in units of the axes, the triple points, and what polishing them took."""
    if codes.ndim == 1:
        return boundaries.of_labels(codes, lattice, recipe.words), [], None
    known, polish = boundaries.found(codes, recipe.words), None
    if options.tol is not None:
        question = _Question(tile, lattice, batch)
        known, shift = boundaries.polished(known, question, options.tol, codes.shape)
        polish = {"tol_cells": options.tol, "evaluations": question.evaluations, "horizon_shift_cells": shift}
    return boundaries.in_units(known, lattice, recipe.words), boundaries.triple_points(known, lattice, recipe.words), polish


class _Question:
    """Labels at any points of the plane, in cells: at the horizon and at half of it."""

    def __init__(self, tile: Tile, lattice: Sequence[Axis], batch: int) -> None:
        self.tile, self.lattice, self.batch, self.evaluations = tile, lattice, batch, 0

    def __call__(self, points: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        parts = []
        for k in range(0, len(points), self.batch):
            some = points[k : k + self.batch]
            got = self.tile.records({}, {a.name: a.at(x) for a, x in zip(self.lattice, some.T, strict=True)}, self.batch)
            parts.append((got["phase"].astype(int), got["phase_half"].astype(int)))
        self.evaluations += len(points)
        empty = np.zeros(0, int)
        return (np.concatenate([empty, *(p for p, _ in parts)]), np.concatenate([empty, *(h for _, h in parts)]))
