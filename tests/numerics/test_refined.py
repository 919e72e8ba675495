"""Refined diagrams against dense ones, their stores, and the sentences for what cannot be refined."""

from __future__ import annotations

import json
import pickle
from collections.abc import Iterator
from concurrent.futures import Executor, Future
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import trainphase as tp
from trainphase import boundaries, refined
from trainphase.cli import diagram as diagram_command
from trainphase.diagrams import Tile
from trainphase.engine import curves
from trainphase.engine.lattice import Tiling
from trainphase.engine.sampling import Refine
from trainphase.engine.store import Store
from trainphase.errors import RequestError, StoreError, SweepInterrupted
from trainphase.phase import TRAINING
from trainphase.records import Recipe

PLANE: dict[str, Any] = {"eps": 0.03, "z": tp.linspace(-0.6012, 0.5987, 129), "T": tp.linspace(0.0013, 2.5, 129)}


class Dome(tp.Map):
    """Stays where it is inside an ellipse of the parameters, and leaves outside."""

    a: float
    b: float
    seed: float = 0.0

    def init(self) -> Any:
        return self.a * 0 + 1.0

    def step(self, state: Any) -> Any:
        inside = self.a**2 + 2 * self.b**2 < 1 + 0.02 * self.seed
        return state * np.float64(0.5) * inside + (1 - inside) * 3 * state

    def residual(self, state: Any) -> Any:
        return state


class Here(Executor):
    """Runs tasks at once, and stops the sweep after some."""

    def __init__(self, most: int = 10**9) -> None:
        self.left, self.ran = most, 0

    def submit(self, fn: Any, /, *args: Any, **kwargs: Any) -> Future:
        if self.left <= 0:
            raise KeyboardInterrupt
        self.left, self.ran = self.left - 1, self.ran + 1
        future: Future = Future()
        try:
            future.set_result(fn(*args, **kwargs))
        except Exception as why:
            future.set_exception(why)
        return future


@pytest.fixture(scope="module")
def both() -> tuple[tp.Diagram, tp.Diagram]:
    return tp.diagram("quadratic-1d", **PLANE), tp.diagram("quadratic-1d", **PLANE, refine=True)


def contents(root: Path) -> dict[str, bytes]:
    return {str(p.relative_to(root)): p.read_bytes() for p in sorted(root.rglob("*")) if p.is_file() and "lock" not in p.name}


def apart(a: np.ndarray, b: np.ndarray) -> Iterator[tuple[int, int]]:
    """Where two labelled planes differ and the label of neither occurs in the other within a step."""
    for i, j in np.argwhere(a != b):
        near = (slice(max(i - 1, 0), i + 2), slice(max(j - 1, 0), j + 2))
        if b[i, j] not in a[near] or a[i, j] not in b[near]:
            yield i, j


def test_labels_are_those_of_the_dense_diagram_within_a_cell(both: tuple[tp.Diagram, tp.Diagram]) -> None:
    dense, fine = (d.dataset["phase"].values for d in both)
    known = both[1].dataset["known"].values == 1
    assert (dense[known] == fine[known]).all()
    # Between two bisected sides a boundary is drawn as a chord, which a curved one leaves by less than a cell. What is further
    # away are islands of a point or two between the points asked for, whose share the audit bounds.
    assert len(list(apart(dense, fine))) <= both[1].refinement["wrong_at_most"] * dense.size
    assert set(np.unique(dense)) == set(np.unique(fine))
    # An eighth of the points: 129 lattice points a side are few above a start level of 17 and an audit of 600.
    assert both[1].evaluations < dense.size / 8


def test_records_of_the_computed_points_are_those_of_the_dense_diagram(both: tuple[tp.Diagram, tp.Diagram]) -> None:
    dense, fine = both[0].dataset, both[1].dataset
    at = tuple(fine[f"point_i{k}"].values for k in range(2))
    for name in ("curvature", "loss", "margin", "run_steps"):
        # The same runs, in other company: rounding of vectorised elementary functions, grown over the run.
        np.testing.assert_allclose(fine[f"point_{name}"].values, dense[name].values[at], rtol=1e-6, atol=1e-9, err_msg=name)
    assert (fine["point_z"].values == dense["z"].values[at[0]]).all()


def test_boundaries_are_lines_and_stand_in_the_dataset(both: tuple[tp.Diagram, tp.Diagram]) -> None:
    fine = both[1]
    pairs = sorted(tuple(line["between"]) for line in fine.boundaries)
    assert pairs == [("flat", "edge-of-stability"), ("flat", "sharpening"), ("sharpening", "edge-of-stability")]
    data = fine.dataset
    for k, line in enumerate(fine.boundaries):
        mine = data["boundary"].values == k
        points = np.stack([data[f"boundary_{name}"].values[mine] for name in "zT"], 1)
        np.testing.assert_array_equal(points, line["points"])
    doc = json.loads(json.dumps(fine.to_json()))
    assert doc["refinement"]["lattice"] == 129**2 and doc["refinement"]["audits"] >= 1
    assert sum(row["asked"] for row in doc["refinement"]["audit"]) in range(590, 601)  # 600, shared out in whole numbers
    assert 0.8 < doc["refinement"]["dimension"]["slope"] < 1.2  # lines


def test_a_task_carries_its_own_points_alone() -> None:
    axes = [tp.linspace(0, 1, 99).named("a"), tp.linspace(0, 1, 99).named("b"), tp.linspace(0, 2, 3).named("seed")]
    tile = Tile(Recipe(Dome, {}), axes, (), Tiling((1,), (1,)), ())
    points = np.random.default_rng(0).integers(0, 99, (1000, 2))
    batch = refined.Batch(tile, points, 5, 64)
    assert len(batch.numbers()) == 3 * 16
    tasks = {k: batch.alone((k,)) for k in batch.numbers()}
    for seed in range(3):
        mine = np.concatenate([tasks[5 + 16 * seed + k].addresses for k in range(16)])
        np.testing.assert_array_equal(mine, np.c_[points, np.full(1000, seed)])
    # Beside its 64 addresses of three whole numbers, a task has no more than the names of the recipe and the axes.
    assert max(len(pickle.dumps(task)) for task in tasks.values()) < 64 * 3 * 8 + 2000


def test_an_interrupted_refinement_continues_to_the_same_bytes(tmp_path: Path) -> None:
    box: dict[str, Any] = {"a": tp.linspace(-1.21, 1.2, 65), "b": tp.linspace(-1.01, 1.02, 65)}
    tp.diagram(Dome, **box, refine=True, audit=100, store=tmp_path / "whole", executor=(one := Here()))
    assert one.ran > 4
    for most in (0, 1, 3):
        with pytest.raises(SweepInterrupted, match="give the same command again"):
            tp.diagram(Dome, **box, refine=True, audit=100, store=tmp_path / "s", executor=Here(most))
    rest = Here()
    d = tp.diagram(Dome, **box, refine=True, audit=100, store=tmp_path / "s", executor=rest)
    assert rest.ran == one.ran - 4
    assert contents(tmp_path / "s") == contents(tmp_path / "whole")
    again = tp.diagram(Dome, **box, refine=True, audit=100, store=tmp_path / "s", executor=(idle := Here()))
    assert idle.ran == again.evaluations == 0 and again.phases == d.phases
    with pytest.raises(StoreError, match="another diagram"):
        tp.diagram(Dome, **box, refine=True, audit=101, store=tmp_path / "s")


def test_a_polished_boundary_lies_on_the_ellipse() -> None:
    box: dict[str, Any] = {"a": tp.linspace(-1.21, 1.2, 65), "b": tp.linspace(-1.01, 1.02, 65)}
    d = tp.diagram(Dome, **box, refine=True, audit=100, tol=1e-7)
    (line,) = d.boundaries
    a, b = np.array(line["points"]).T
    assert line["closed"] and len(a) > 50
    # Twice the tolerance of 1e-7 cells, a cell being 0.038, times the gradient, at most 2 sqrt(2).
    assert np.abs(a**2 + 2 * b**2 - 1).max() < 2 * 1e-7 * 0.038 * 2.9
    assert d.to_json()["refinement"]["polish"]["evaluations"] > 0


def test_seeds_vote_and_one_axis_is_bisected() -> None:
    axis: dict[str, Any] = {"a": tp.linspace(-1.21, 1.2, 513), "b": 0.0}
    d = tp.diagram(Dome, **axis, refine=True, seeds=3, audit=30)
    # The thresholds of the seeds are 1, sqrt(1.02), sqrt(1.04): two of three agree on either side of the middle one.
    found = sorted(p[0] for line in d.boundaries for p in line["points"])
    step = 2.41 / 512
    assert found == [pytest.approx(x, abs=step) for x in (-(1.02**0.5), 1.02**0.5)]
    assert d.evaluations < 3 * 513 / 3
    assert d.plot() is not None
    named = tp.diagram(Dome, seed=tp.linspace(0, 2, 3), **axis, refine=True, audit=30)
    np.testing.assert_array_equal(named.codes, d.codes)


def test_points_without_a_run_have_no_label_in_any_vocabulary() -> None:
    box: dict[str, Any] = {"z": tp.linspace(0.05, 1.95, 17), "T": tp.linspace(1.0, 3.0, 17), "y": 0.2}
    codes = tp.diagram("linear-net", **box).dataset["phase"].values
    z, T = np.meshgrid(box["z"].values, box["T"].values, indexing="ij")
    np.testing.assert_array_equal(codes == 255, 2 * np.abs(z + 0.2) > T + 1e-9)


@pytest.mark.parametrize(
    ("given", "says"),
    [
        ({"a": tp.values([0.1, 0.2, 0.5]), "b": 0.1, "refine": True}, "list of values"),
        ({"a": tp.linspace(0, 1, 9), "b": 0.1, "tol": 0.1}, "belongs to a refined diagram"),
        ({"a": tp.linspace(0, 1, 9), "b": 0.1, "audit": 5}, "belongs to a refined diagram"),
        ({"a": tp.linspace(0, 1, 9), "b": 0.1, "refine": True, "tol": 2.0}, "between 0 and 1"),
        ({"a": 0.1, "b": 0.1, "seed": tp.linspace(0, 2, 3), "refine": True}, "seed alone has nothing to refine"),
        ({"a": tp.linspace(0, 1, 9), "b": tp.linspace(0, 1, 9), "refine": True, "tol": 0.1, "seeds": 2}, "--tol or --seeds"),
    ],
)
def test_what_cannot_be_refined_is_said(given: dict[str, Any], says: str) -> None:
    with pytest.raises(RequestError, match=says):
        tp.diagram(Dome, **given)


def test_a_store_of_other_points_is_refused(tmp_path: Path) -> None:
    box: dict[str, Any] = {"a": tp.linspace(-1.21, 1.2, 33), "b": tp.linspace(-1.01, 1.02, 33)}
    tp.diagram(Dome, **box, refine=True, audit=0, store=tmp_path / "s")
    kept = Store.open(tmp_path / "s")
    assert kept.dataset()["phase"].dims == ("point",)


def test_without_an_audit_no_share_of_wrong_labels_is_claimed():
    sampler = Refine((33, 33), audit=0)
    while (points := sampler.ask()).size:
        sampler.tell(points, np.eye(2, dtype=int)[(points[:, 0] > 11).astype(int)])
    summary = refined._summary(sampler.result(), TRAINING)
    assert summary["wrong"] is None and summary["wrong_at_most"] is None and summary["audit"] == []


def refinement(shape: tuple[int, ...], audit: int) -> dict[str, Any]:
    """What is told of a refinement of three bands of labels."""
    sampler = Refine(shape, audit=audit)
    while (points := sampler.ask()).size:
        sampler.tell(points, np.eye(3, dtype=int)[np.digitize(points[:, 0] / shape[0], (0.31, 0.71))])
    told = {"polish": None, "unheard": refined._unheard(sampler.result(), audit)}
    return refined._summary(sampler.result(), TRAINING) | told


NOT_AUDITED = "not audited: how many of the inferred labels are wrong is not known"


@pytest.mark.parametrize(
    ("shape", "audit", "says"),
    [
        # Half of an audit is shared equally by the three labels, and an audit takes a twentieth of the lattice at most.
        ((65,), 20, ("65 lattice points allow an audit of 3; give ranges of at least 120 points in all, or leave refine out",)),
        ((33,), 20, (NOT_AUDITED, "3 of 3 labels had no audited point: 33 lattice points allow an audit of 1; give ranges")),
        ((129,), 4, ("of 3 labels had no audited point: an audit of 4 is too small; give at least 6",)),
        ((129,), 6, ("audit 1: at most ", "of the lattice has a wrong label")),
        ((33,), 0, (NOT_AUDITED,)),
        ((17,), 20, ("refined: all 17 lattice points asked for, so that none is inferred",)),
    ],
)
def test_an_audit_that_is_too_small_says_what_it_needs(shape: tuple[int, ...], audit: int, says: tuple[str, ...]) -> None:
    text = "\n".join(diagram_command._refinement(refinement(shape, audit)))
    assert all(words in text for words in says), text
    assert ("no audited point" in text) == any("audited point" in words or "allow" in words for words in says)
    assert ("not audited" in text) == (NOT_AUDITED in says)


def moving(bias: float) -> Any:
    """Labels of the two sides of x = 5.3, which half of the horizon puts ``bias`` further to the right."""
    return lambda points: tuple((points[:, 0] > 5.3 + shift).astype(int) for shift in (bias, 2 * bias))


@pytest.mark.parametrize(
    ("bias", "at", "half"),
    [(0.0, 5.3, 1e-6), (0.01, 5.3, 0.0101), (0.4, 5.3, 0.41), (0.6, 5.9, 1.3), (2.0, 7.3, 1.6)],
)
def test_a_shift_by_the_horizon_is_extrapolated_unless_it_is_chaos(bias: float, at: float, half: float) -> None:
    labels = (np.arange(12)[:, None] > 5.3 + bias) * np.ones((1, 8), int)
    known = curves.extract(labels.astype(np.uint8))
    sharp, shift = boundaries.polished(known, moving(bias), 1e-6, labels.shape)
    (line,) = sharp.curves
    # Within half the width to which bisection goes, twice over for an extrapolated point; c / T is extrapolated exactly.
    assert line.points[:, 0] == pytest.approx(at, abs=2e-6)
    assert shift == pytest.approx(0.0 if bias > 1.5 else bias, abs=2e-6)
    assert np.all(line.half <= half) and np.all(line.half >= min(0.9 * bias, 1.5))
