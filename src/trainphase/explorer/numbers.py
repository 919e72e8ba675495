"""Where the numbers of a diagram come from: the tiles of a dense store, arrays in memory, or the points of a refined one."""

from __future__ import annotations

import functools
import warnings
from collections.abc import Mapping, Sequence
from typing import Protocol

import numpy as np

from trainphase.axes import Axis
from trainphase.engine.sampling import Refine
from trainphase.engine.store import Store
from trainphase.errors import StoreError
from trainphase.phase import NOT_COMPUTED, Vocabulary

SEED = "seed"
# Of the record: the label, and that at half the horizon. They are words and no numbers.
LABELS = ("phase", "phase_half")
# Tiles of a store that are kept in memory for the next click beside the last one.
CACHED = 8


class Numbers(Protocol):
    """The quantities of a diagram, by name, over its axes without the seeds."""

    def plane(self, name: str, stride: int) -> np.ndarray:
        """A quantity at every ``stride``-th point, float32, the median over seeds; NaN where it is not known."""
        ...

    def point(self, place: tuple[int, ...]) -> dict[str, np.ndarray]:
        """Everything at one point, labels too, an array (seeds,) each; empty where the label is inferred."""
        ...


def median(values: np.ndarray) -> np.ndarray:
    """Median along the last axis of what is not NaN, float64; NaN where nothing is. Codes 255 of integers count as NaN."""
    floats = as_floats(values)
    if floats.shape[-1] == 1:
        return floats[..., 0]
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "All-NaN slice", RuntimeWarning)
        return np.nanmedian(floats, -1)


def as_floats(values: np.ndarray) -> np.ndarray:
    """Codes as numbers, 255 as NaN; floats as they are."""
    return np.where(values == NOT_COMPUTED, np.nan, values) if values.dtype.kind in "ui" else values


def as_single(values: np.ndarray) -> np.ndarray:
    """In single precision; what is beyond it, of runs that escaped, becomes infinite."""
    with np.errstate(over="ignore"):
        return values.astype(np.float32)


class Grid:
    """Arrays in memory of shape axes + (seeds,)."""

    def __init__(self, arrays: Mapping[str, np.ndarray]) -> None:
        self.arrays = arrays

    def plane(self, name: str, stride: int) -> np.ndarray:
        """See :class:`Numbers`."""
        values = self.arrays[name]
        return as_single(median(values[(*[slice(None, None, stride)] * (values.ndim - 1), slice(None))]))

    def point(self, place: tuple[int, ...]) -> dict[str, np.ndarray]:
        """See :class:`Numbers`."""
        return {name: values[place] for name, values in self.arrays.items()}


class Tiles:
    """A dense store, of which only what is asked for is read."""

    def __init__(self, store: Store) -> None:
        names = [f.name for f in store.fields.values() if not f.sizes]
        axes = [a["name"] for a in store.axes]
        # With no other axis, the seeds are the axis that is drawn.
        self.seed = axes.index(SEED) if SEED in axes and len(axes) > 1 else None
        self.seeds = 1 if self.seed is None else int(store.axes[self.seed]["n"])
        self.store = store
        self._read = functools.lru_cache(CACHED)(lambda index: store.read(index, names))

    def plane(self, name: str, stride: int) -> np.ndarray:
        """See :class:`Numbers`."""
        values = self.store.load([name])[name].values
        return Grid({name: seeds_last(values, self.seed)}).plane(name, stride)

    def point(self, place: tuple[int, ...]) -> dict[str, np.ndarray]:
        """See :class:`Numbers`."""
        found: dict[str, list[float]] = {}
        for seed in range(self.seeds):
            at = list(place)
            if self.seed is not None:
                at.insert(self.seed, seed)
            index = tuple(i // t for i, t in zip(at, self.store.tiling.tile, strict=True))
            inside = tuple(i % t for i, t in zip(at, self.store.tiling.tile, strict=True))
            try:
                tile = self._read(index)
            except Exception as why:  # whatever a codec says of a damaged chunk
                key = self.store.tiling.key(index)
                raise StoreError(f"tile {key} of the store is damaged; give the command that made it again") from why
            for name, values in tile.items():
                found.setdefault(name, []).append(values[inside])
        return {name: np.asarray(values) for name, values in found.items()}


class Points:
    """Values at some points of a lattice: ``places`` (m, d) with the values (m,), every place once for each of the seeds."""

    def __init__(self, places: np.ndarray, shape: Sequence[int], values: Mapping[str, np.ndarray]) -> None:
        self.shape, self.values = tuple(shape), values
        flat = np.ravel_multi_index(tuple(places.T), self.shape) if len(places) else np.zeros(0, np.int64)
        order = np.argsort(flat, kind="stable")
        self.flat = np.unique(flat)
        self.rows = order.reshape(len(self.flat), -1) if len(order) else order.reshape(0, 1)

    def plane(self, name: str, stride: int) -> np.ndarray:
        """See :class:`Numbers`."""
        out = np.full([-(-n // stride) for n in self.shape], np.nan, np.float32)
        places = np.stack(np.unravel_index(self.flat, self.shape))
        on = np.all(places % stride == 0, axis=0)
        out[tuple(places[:, on] // stride)] = as_single(median(self.values[name][self.rows[on]]))
        return out

    def point(self, place: tuple[int, ...]) -> dict[str, np.ndarray]:
        """See :class:`Numbers`."""
        flat = int(np.ravel_multi_index(place, self.shape))
        k = int(np.searchsorted(self.flat, flat))
        if k == len(self.flat) or self.flat[k] != flat:
            return {}
        return {name: values[self.rows[k]] for name, values in self.values.items()}


def seeds_last(values: np.ndarray, seed: int | None) -> np.ndarray:
    """The array with its axis of seeds last; without one, with an axis of length 1 there."""
    return values[..., None] if seed is None else np.moveaxis(values, seed, -1)


def replayed(store: Store, axes: Sequence[Axis], words: Vocabulary) -> tuple[np.ndarray, Points]:
    """Labels of the whole lattice of a refined store, and the numbers at its points.

    The sampler is asked again and told the answers that are stored: the same answers give the same questions.
    Raises StoreError where an answer is missing.
    """
    shape = tuple(len(a.values) for a in axes)
    columns = [k for k, a in enumerate(store.axes) if a["name"] != SEED or len(store.axes) == 1]
    names = [f.name for f in store.fields.values() if not f.sizes]
    data = store.load(names)
    there = np.flatnonzero(data["i0"].values >= 0)
    places = np.stack([data[f"i{k}"].values[there] for k in columns], 1)
    points = Points(places, shape, {n: data[n].values[there] for n in names if n not in {f"i{k}" for k in range(3)}})
    labels = points.values["phase"][points.rows]
    known = store.recipe["refine"]
    sampler, kinds = Refine(shape, audit=int(known["audit"]), seed=int(known["seed"])), len(words.labels)
    while len(asked := sampler.ask()):
        flat = np.ravel_multi_index(tuple(asked.T), shape)
        rows = np.searchsorted(points.flat, flat)
        if len(points.flat) == 0 or np.any(points.flat[np.minimum(rows, len(points.flat) - 1)] != flat):
            command = store.provenance.get("command") or "the call that made it"
            raise StoreError(
                f"the refinement in the store {store.path} is not finished, or by another version: complete it with {command}"
            )
        codes = np.where(labels[rows] == NOT_COMPUTED, kinds, labels[rows])
        sampler.tell(asked, (codes[:, :, None] == np.arange(kinds + 1)).sum(1))
    codes = sampler.result().labels
    return np.where(codes == kinds, NOT_COMPUTED, codes).astype(np.uint8), points
