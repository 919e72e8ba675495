"""Stores and diagrams in memory give the same document, labels, tiles and numbers."""

from __future__ import annotations

import base64
import json
import shutil
import zlib
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import trainphase as tp
from trainphase.axes import Axis
from trainphase.engine.store import Field, Store
from trainphase.errors import RequestError, StoreError
from trainphase.explorer import entry, stored
from trainphase.explorer.numbers import Grid
from trainphase.explorer.stored import Stored, picked
from trainphase.phase import EDGE, NOT_COMPUTED

# z below, T to the right of nothing in particular: a corner of the plane has no start, another diverges.
FIXED: dict[str, Any] = {"y": 0.1, "vocabulary": "edge", "steps": 400}


def axes(n: int, m: int) -> dict[str, Any]:
    return {"z": tp.linspace(-1.6012, 0.7987, n), "T": tp.linspace(1.0013, 5, m)}


@pytest.fixture(scope="module")
def dense(tmp_path_factory: pytest.TempPathFactory) -> tuple[str, tp.Diagram]:
    place = str(tmp_path_factory.mktemp("dense") / "store")
    return place, tp.diagram("linear-net", store=place, **axes(9, 6), **FIXED)


@pytest.fixture(scope="module")
def refined(tmp_path_factory: pytest.TempPathFactory) -> tuple[str, tp.Diagram]:
    place = str(tmp_path_factory.mktemp("refined") / "store")
    return place, tp.diagram("linear-net", store=place, refine=True, audit=20, **axes(65, 33), **FIXED)


def unpacked(packed: dict[str, Any]) -> np.ndarray:
    """An array as the page reads it."""
    data = zlib.decompress(base64.b64decode(packed["data"]), -15)
    return np.frombuffer(data, np.dtype(packed["dtype"]).newbyteorder("<")).reshape(packed["shape"])


def by_seeds(place: Path) -> np.ndarray:
    """A store of 5 x 4 points and 3 seeds, made by hand; its labels, seeds last."""
    rng = np.random.default_rng(0)
    codes = rng.integers(0, 3, (5, 4, 3)).astype(np.uint8)
    codes[2, 1] = NOT_COMPUTED
    fields = [
        Field(name, "uint8", NOT_COMPUTED, "1", name) for name in ("phase", "phase_half", "settled")
    ] + [Field("loss", "float64", np.nan, "target units squared", "training loss")]  # fmt: skip
    grid = [Axis("a", 0, 1, 5), Axis("lr", 1e-3, 1.0, 4, "log", "step size"), Axis("seed", 0, 2, 3)]
    recipe = {"system": "mine.py:Mine", "params": {}, "steps": 400, "starts": 1, "dtype": "float64", "vocabulary": "edge"}
    with Store.create_or_resume(place, grid, fields, recipe, {}, (5, 4, 3)) as store:
        loss = codes.astype(float)
        loss[2, 1] = np.nan
        store.write((0, 0, 0), {"phase": codes, "phase_half": codes, "settled": codes, "loss": loss})
    return codes


@pytest.mark.parametrize("kind", ["dense", "refined"])
def test_a_store_and_its_diagram_are_told_alike(kind: str, request: pytest.FixtureRequest) -> None:
    place, diagram = request.getfixturevalue(kind)
    one, other = stored.with_theory(stored.of_store(place)), stored.of_diagram(diagram)
    assert np.array_equal(one.codes, diagram.codes)
    first, second = entry.entries([one])[0], entry.entries([other])[0]
    assert set(first) == set(second)
    different = [key for key in first if json.dumps(first[key]) != json.dumps(second[key])]
    # A store keeps the horizon and the parameters as the recipe has them, in their own order; boundaries are those of the labels.
    assert different == [], {k: (str(first[k])[:200], str(second[k])[:200]) for k in different}
    assert first["live"] and first["run"] and first["notes"] == []
    assert first["theory"][0]["name"] == "T = 4 + E z / 2"
    for p in ((3, 4), (0, 0), (8, 5)):
        assert one.point(*p) == other.point(*p)


def test_what_is_packed_is_what_was_computed(dense: tuple[str, tp.Diagram]) -> None:
    place, diagram = dense
    told = entry.entries([stored.of_store(place)])[0]
    assert np.array_equal(unpacked(told["labels"]), diagram.codes)
    assert [(a["name"], a["n"], a["lo"], a["hi"]) for a in told["axes"]] == [("z", 9, -1.6012, 0.7987), ("T", 6, 1.0013, 5.0)]
    for name, field in told["fields"].items():
        values = diagram.dataset[name].values
        if values.dtype == np.uint8:
            values = np.where(values == NOT_COMPUTED, np.nan, values)
        with np.errstate(over="ignore"):
            assert np.array_equal(unpacked(field), values.astype(np.float32), equal_nan=True), name
    point = stored.of_store(place).point(7, 3)
    assert point["fields"]["curvature"] == diagram.dataset["curvature"].values[7, 3]
    assert point["phase"] == EDGE.label(diagram.codes[7, 3]) and not point["inferred"]
    assert point["at"] == {"z": diagram.axes[0].values[7], "T": diagram.axes[1].values[3]}


def test_of_a_refined_one_numbers_are_at_computed_points_alone(refined: tuple[str, tp.Diagram]) -> None:
    place, diagram = refined
    got, known = stored.of_store(place), diagram.dataset["known"].values.astype(bool)
    assert 0 < known.sum() < known.size
    values = unpacked(entry.entries([got])[0]["fields"]["curvature_start"])
    ran = known & (diagram.codes != NOT_COMPUTED)
    assert np.array_equal(np.isfinite(values), ran)
    for here in (True, False):
        i, j = np.argwhere((known == here) & (diagram.codes != NOT_COMPUTED))[5]
        assert got.point(int(i), int(j))["inferred"] is not here
        assert (got.point(int(i), int(j))["fields"]["curvature_start"] is None) is not here


def test_a_refinement_that_is_not_finished_is_told(refined: tuple[str, tp.Diagram], tmp_path: Path) -> None:
    shutil.copytree(refined[0], tmp_path / "half")
    last = max((tmp_path / "half" / "ledger").glob("*.json"), key=lambda p: int(p.stem) if p.stem.isdecimal() else -1)
    last.unlink()
    with pytest.raises(StoreError, match="is not finished, or by another version: complete it"):
        stored.of_store(str(tmp_path / "half"))


def test_of_several_seeds_the_most_frequent_label_and_the_median(tmp_path: Path) -> None:
    codes = by_seeds(tmp_path / "store")
    got = stored.of_store(str(tmp_path / "store"))
    assert got.seeds == 3 and [a.name for a in got.axes] == ["a", "lr"]
    votes = (codes[..., None] == np.arange(6)).sum(2)
    assert np.array_equal(got.codes, np.where(votes.any(-1), votes.argmax(-1), NOT_COMPUTED))
    told = entry.entries([got])[0]
    expected = np.median(codes.astype(np.float32), -1)
    expected[2, 1] = np.nan
    assert np.array_equal(unpacked(told["fields"]["loss"]), expected, equal_nan=True)
    assert not told["live"] and not told["run"] and told["seeds"] == 3
    assert got.point(0, 2)["seeds"] == [EDGE.label(k) for k in codes[0, 2]]
    assert got.point(2, 1)["seeds"] == [None] * 3 and got.point(2, 1)["fields"] == {"settled": None, "loss": None}


def plain(codes: np.ndarray, quantities: dict[str, np.ndarray] | None = None) -> Stored:
    """A diagram of given labels and numbers."""
    grid = tuple(Axis(name, 0.0, float(n - 1), n) for name, n in zip("xy", codes.shape, strict=False))
    arrays = quantities or {}
    return Stored(
        "mine", {}, EDGE, grid, codes, {n: stored.Quantity("1", n) for n in arrays},
        Grid({n: v[..., None] for n, v in arrays.items()}), [], [], 400, 1, 1, "float64",
    )  # fmt: skip


@pytest.mark.parametrize("shape", [(5, 7), (600, 3), (2, 2), (513, 300), (1000,)])
def test_levels_and_tiles_hold_every_label_where_it_belongs(shape: tuple[int, ...]) -> None:
    codes = np.random.default_rng(1).integers(0, 6, shape).astype(np.uint8)
    got = plain(codes)
    level = 0
    while (1 << level) <= max(shape):
        rows = [picked(n, 1 << level) for n in shape]
        labels = got.labels(level)
        assert labels.shape == tuple(-(-(n - 1) // (1 << level)) + 1 for n in shape)
        assert np.array_equal(labels, codes[np.ix_(*rows)])
        counts = [-(-n // 256) for n in labels.shape] + [1]
        joined = np.concatenate([np.concatenate([got.tile(level, i, j) for j in range(counts[1])], -1) for i in range(counts[0])])
        assert np.array_equal(joined, labels)
        for outside in ((counts[0], 0), (0, counts[1]), (-1, 0), (0, -1)):
            with pytest.raises(IndexError):
                got.tile(level, *outside)
        level += 1
    for level in (-1, 40):
        with pytest.raises(IndexError):
            got.labels(level)


def test_what_does_not_fit_is_thinned_and_told(monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(2)
    codes, numbers = rng.integers(0, 6, (40, 30)).astype(np.uint8), rng.random((40, 30))
    got = plain(codes, {"loss": numbers})
    whole = entry.entry("0", got)
    assert whole["notes"] == [] and np.array_equal(unpacked(whole["fields"]["loss"]), numbers.astype(np.float32))
    small = entry.entry("0", got, budget=entry.Budget(len(whole["labels"]["data"]) + 3000))
    values = unpacked(small["fields"]["loss"])
    every = next(k for k in range(2, 40) if f"every {entry._nth(k)} point" in small["notes"][0])
    assert np.array_equal(values[::every, ::every], numbers[::every, ::every].astype(np.float32))
    assert np.isfinite(values).sum() == values[::every, ::every].size and len(small["fields"]["loss"]["data"]) <= 3000
    assert np.array_equal(unpacked(small["labels"]), codes)
    monkeypatch.setattr(entry, "MOST_LABELS", 300)
    coarse = entry.entry("0", got)
    assert coarse["notes"] == ["Only every second point along each axis is in this file."]
    assert np.array_equal(unpacked(coarse["labels"]), codes[::2, ::2])
    assert [(a["n"], a["lo"], a["hi"]) for a in coarse["axes"]] == [(20, 0.0, 38.0), (15, 0.0, 28.0)]
    served = entry.entry("0", got, remote=True)
    assert served["labels"] == {"remote": True} and served["axes"][0]["n"] == 40 and served["notes"] == []
    assert served["fields"] == {"loss": {"units": "1", "about": "loss", "remote": True}}


def test_boundaries_without_number_are_left_out() -> None:
    calm, noise = np.zeros((130, 130), np.uint8), np.random.default_rng(3).integers(0, 5, (130, 130)).astype(np.uint8)
    line = {"between": ["flat", "divergent"], "points": [[0.1 + 0.2, 1.0]], "half_cells": 0.5}
    assert stored._lines(calm, lambda: [line]) == [line]
    assert stored._lines(noise, lambda: pytest.fail("boundaries of noise are sought")) is None
    told = [entry.entry("0", replace(plain(codes), lines=lines)) for codes, lines in ((calm, [line]), (noise, None))]
    assert told[0]["boundaries"] == [{"between": ["flat", "divergent"], "points": [[0.3, 1.0]]}] and told[0]["notes"] == []
    assert told[1]["boundaries"] == [] and "would hide them" in told[1]["notes"][0]


def test_a_page_without_a_store_or_a_diagram_is_refused(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match="there is no store at"):
        stored.of_store(str(tmp_path / "none"))
    with Store.create_or_resume(tmp_path / "other", [Axis("a", 0, 1, 2)], [Field("x", "float64", np.nan)], {}, {}, (2,)):
        pass
    with pytest.raises(RequestError, match="holds no phase diagram"):
        stored.of_store(str(tmp_path / "other"))


@pytest.mark.parametrize(
    ("system", "params", "axes_", "expected"),
    [
        ("linear-net", {"y": 0.1}, ("z", "T"), True),
        ("quadratic-1d", {"eps": 0.17, "E": 0.0, "coordinates": "modes", "flow": "false"}, ("z", "T"), True),
        ("quadratic-1d", {"eps": 0.17, "flow": "true"}, ("z", "T"), False),
        ("quadratic-1d", {"theta": "1,2"}, ("lr",), False),
        ("quadratic", {"D": 4, "P": 8, "seed": 1, "symmetry": "sym1"}, ("sigma_z", "sigma_J"), True),
        ("quadratic", {"D": 4, "P": 9, "seed": 1}, ("sigma_z", "sigma_J"), False),
        ("quadratic", {"D": 4, "P": 8, "seed": 3}, ("sigma_z", "sigma_J"), False),
        ("relu2", {}, ("gamma",), False),
    ],
)
def test_the_page_runs_only_what_its_kernels_know(system: str, params: dict, axes_: tuple[str, ...], expected: bool) -> None:
    grid = tuple(Axis(name, 0.1, 1.0, 3) for name in axes_)
    got = replace(plain(np.zeros((3,) * len(grid), np.uint8)), system=system, params=params, axes=grid)
    assert entry.live(got) is expected
