"""A small store and how to fill it, for the tests of the store."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from trainphase.axes import Axis
from trainphase.engine.store import Field, Store

AXES = [Axis("a", 0.0, 2.2, 10, "linear"), Axis("lr", 1e-3, 1.0, 7, "log", "1/step")]
LABELS = {"flag_values": [0, 1, 2], "flag_meanings": "monotonic catapult periodic"}
FIELDS = [
    Field("phase", "uint8", 255, "1", "phase of training", attrs=LABELS),
    Field("loss", "float64", np.nan, "1", "last loss"),
    Field("orbit", "float32", np.nan, "1", "orbit sample", ("sample",), (5,)),
    Field("steps", "int32", -1, "step", "steps taken"),
]
RECIPE = {"system": "cubic", "parameters": {"z0": 0.3, "n": 4}, "dtype": "float64", "steps": 1000}
TILE = (4, 3)  # 3 x 3 tiles, smaller ones on both far edges


def make(path, **changes) -> Store:
    asked = {"axes": AXES, "fields": FIELDS, "recipe": RECIPE, "provenance": {"device": "cpu"}, "tile": TILE}
    return Store.create_or_resume(path, **{**asked, **changes})


def compute(store: Store, index) -> dict[str, np.ndarray]:
    """A fake recipe: what it returns depends on the index alone. Tile (2, 2) is all fill values."""
    extent, rng = store.tiling.extent(index), np.random.default_rng(index)
    if index == (2, 2):
        return {f.name: np.full(extent + f.sizes, f.fill, f.dtype) for f in FIELDS}
    loss = rng.random(extent)
    # A NaN with its sign set, as 0/0 gives on x86; a tile of nothing else comes back as the fill's NaN.
    loss[... if index == (2, 0) else (0,) * loss.ndim] = -np.nan
    return {
        "phase": rng.integers(0, 3, extent).astype("uint8"),
        "loss": loss,
        "orbit": rng.random((*extent, 5)).astype("float32"),
        "steps": rng.integers(0, 99, extent).astype("int32"),
    }


def fill(store: Store, tiles=None) -> None:
    for index in store.tiling.tiles() if tiles is None else tiles:
        store.write(index, compute(store, index))


def contents(path) -> dict[str, bytes]:
    root = Path(path)
    return {p.relative_to(root).as_posix(): p.read_bytes() for p in root.rglob("*") if p.is_file()}
