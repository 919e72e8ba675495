"""Diagrams in the ``edge`` vocabulary: stored and resumed to the byte, over seeds, with points that have no run, written out."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import searched
import stores
import xarray

import trainphase as tp
from trainphase import api, diagrams, request
from trainphase.errors import RequestError, StoreError, SweepInterrupted
from trainphase.phase import EDGE, NOT_COMPUTED

CODE = {name: EDGE.index(name) for name in EDGE.labels}
GRID: Any = {"z": tp.linspace(-1.2, 1.2, 9), "T": tp.linspace(0.0, 4.0, 9), "eps": 0.17, "steps": 400}


@pytest.fixture(scope="module")
def plane() -> diagrams.Diagram:
    return tp.diagram("quadratic-1d", **GRID)


class Interrupts:
    """Progress that stops the sweep after some tiles, as Ctrl-C does."""

    def __init__(self, after: int) -> None:
        self.left = after

    def start(self, total: int, done: int) -> None:
        pass

    def advance(self, k: int) -> None:
        self.left -= k
        if self.left <= 0:
            raise KeyboardInterrupt

    def finish(self, *_: Any) -> None:
        pass

    def __getattr__(self, name: str) -> Any:
        return self.finish


# --- what is kept -------------------------------------------------------------------------------------------


def test_the_record_of_a_point_is_that_of_its_run(plane: diagrams.Diagram) -> None:
    data = plane.dataset
    assert data["phase"].attrs["flag_meanings"] == " ".join(EDGE.labels)
    assert data.attrs["vocabulary"] == "edge" and data.attrs["steps"] == 400
    here = data.sel(z=-0.3, T=1.0, method="nearest")
    assert here["z"] == pytest.approx(-0.3) and here["T"] == pytest.approx(1.0)
    run = tp.run("quadratic-1d", eps=0.17, z=float(here["z"]), T=1.0, steps=400)
    assert run.phase == EDGE.label(int(here["phase"]))
    assert run.steps == int(here["run_steps"]) and run.reading.margin == pytest.approx(float(here["margin"]), rel=1e-6)
    # The same arithmetic in programs of other widths; a run that settles forgets rounding.
    assert float(here["curvature"]) == pytest.approx(run.summary["curvature"], rel=1e-9)
    assert float(here["curvature_start"]) == pytest.approx(1.0, rel=1e-12)


def test_points_outside_the_cone_have_no_label(plane: diagrams.Diagram) -> None:
    data = plane.dataset
    z, T = np.meshgrid(data["z"], data["T"], indexing="ij")
    # The cone: T >= B and T >= -eps B with B = 2 z.
    outside = np.maximum(2 * z, -2 * 0.17 * z) - T > 1e-12
    assert 5 < outside.sum() < 40
    np.testing.assert_array_equal(data["phase"] == NOT_COMPUTED, outside)
    for name in ("curvature", "curvature_start", "loss", "run_steps", "margin"):
        escaped = np.isnan(data[name]) & (data["phase"] == CODE["divergent"])
        np.testing.assert_array_equal(np.isnan(data[name]), outside | escaped)
    for name in ("phase_half", "rule", "settled"):
        assert np.all(data[name].values[outside] == NOT_COMPUTED), name
    assert sum(plane.phases.values()) == pytest.approx(1)
    assert set(plane.phases) <= set(EDGE.labels)
    # Nothing moves at z = 0.
    assert np.all(data["phase"].sel(z=0.0).values == EDGE.undecided)
    assert not any(NOT_COMPUTED in (EDGE.index(a), EDGE.index(b)) for entry in plane.boundaries for a, b in [entry["between"]])


def test_json_and_plot(plane: diagrams.Diagram, tmp_path: Path) -> None:
    text = json.dumps(plane.to_json(), allow_nan=False)
    assert json.loads(text)["grid_points"] == 81
    plane.save_plot(tmp_path / "plane.png")
    assert (tmp_path / "plane.png").stat().st_size > 10_000


@pytest.mark.parametrize("ending", ["nc", "zarr"])
def test_written_out_and_read_again(plane: diagrams.Diagram, ending: str, tmp_path: Path) -> None:
    """255 for no run survives; NetCDF 3 knows signed bytes only."""
    path = tmp_path / f"x.{ending}"
    api.save(plane.dataset, path)
    open_ = (lambda p: xarray.open_dataset(p, engine="scipy", mask_and_scale=False)) if ending == "nc" else (
        lambda p: xarray.open_zarr(p, consolidated=False, mask_and_scale=False)
    )
    with open_(path) as back:
        for name in plane.dataset.data_vars:
            np.testing.assert_array_equal(back[name].values, plane.dataset[name].values, err_msg=str(name))
        assert back["phase"].attrs["flag_meanings"] == " ".join(EDGE.labels)
        assert set(back["phase"].attrs) == set(plane.dataset["phase"].attrs)
        # CF conventions: of the type of the variable, here 16 bits.
        assert ending == "zarr" or back["phase"].attrs["flag_values"].itemsize == back["phase"].dtype.itemsize == 2
        assert back.attrs["vocabulary"] == "edge"


# --- stores -------------------------------------------------------------------------------------------------


def test_interrupted_and_resumed_to_the_same_bytes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(diagrams, "_tile_points", lambda system, recipe: 16)
    whole = tp.diagram("quadratic-1d", store=tmp_path / "whole", **GRID)
    interrupts: Any = Interrupts(2)
    with pytest.raises(SweepInterrupted):
        tp.diagram("quadratic-1d", store=tmp_path / "parts", progress=interrupts, **GRID)
    assert len(stores.contents(tmp_path / "parts")) < len(stores.contents(tmp_path / "whole"))
    again = tp.diagram("quadratic-1d", store=tmp_path / "parts", **GRID)
    assert 0 < again.evaluations < whole.evaluations == 81
    one, two = stores.contents(tmp_path / "whole"), stores.contents(tmp_path / "parts")
    chunks = {name for name in one if "/c/" in name}
    assert chunks and chunks == {name for name in two if "/c/" in name}
    assert all(one[name] == two[name] for name in chunks)
    xarray.testing.assert_identical(whole.dataset.drop_attrs(), again.dataset.drop_attrs())
    # A finished one is not computed again.
    assert tp.diagram("quadratic-1d", store=tmp_path / "whole", **GRID).evaluations == 0
    # Another horizon, vocabulary or parameter is another diagram.
    with pytest.raises(StoreError):
        tp.diagram("quadratic-1d", store=tmp_path / "whole", **(GRID | {"steps": 800}))


# --- seeds --------------------------------------------------------------------------------------------------


def test_over_seeds() -> None:
    d = tp.diagram("quadratic", D=3, P=5, sigma_z=tp.linspace(0.05, 1.6, 4), sigma_J=0.3, seeds=3, steps=400)
    assert d.dataset["phase"].dims == ("sigma_z", "seed") and d.codes.shape == (4,)
    spread = d.dataset["curvature_start"].values
    # One Jacobian a seed, shared by all widths of the residual.
    assert np.all(np.ptp(spread, axis=0) < 1e-12) and np.ptp(spread[0]) > 0.01
    one = tp.diagram("quadratic", D=3, P=5, sigma_z=tp.linspace(0.05, 1.6, 4), sigma_J=0.3, seed=2, steps=400)
    for name in ("phase", "curvature", "loss", "rule"):
        np.testing.assert_array_equal(d.dataset[name].values[:, 2], one.dataset[name].values)


def test_an_ensemble_may_begin_anywhere(tmp_path: Path) -> None:
    plane: dict[str, Any] = {"D": 3, "P": 5, "sigma_z": tp.linspace(0.05, 1.6, 4), "sigma_J": tp.values([0.3, 0.4]), "steps": 400}
    zero = tp.diagram("quadratic", seeds=3, store=tmp_path / "zero", **plane)
    # Wherever it is named, the ensemble comes last: it is the same diagram, and nothing is computed again.
    assert tp.diagram("quadratic", seed=tp.linspace(0, 2, 3), store=tmp_path / "zero", **plane).evaluations == 0
    later = tp.diagram("quadratic", seed=tp.values([7, 2]), **plane)
    assert later.dataset["phase"].dims == zero.dataset["phase"].dims and later.codes.shape == (4, 2)
    for name in ("phase", "curvature", "loss"):
        np.testing.assert_array_equal(later.dataset[name].sel(seed=2), zero.dataset[name].sel(seed=2))
    assert not np.array_equal(later.dataset["curvature"].sel(seed=7), zero.dataset["curvature"].sel(seed=2))


def test_consensus_leaves_out_what_was_not_computed() -> None:
    none, flat, edge, bad = NOT_COMPUTED, CODE["flat"], CODE["edge-of-stability"], CODE["divergent"]
    phase = xarray.DataArray(
        np.array([[none, none, none], [none, none, bad], [edge, edge, none], [bad, flat, none], [bad, bad, flat]], np.uint8),
        dims=("z", "seed"),
    )
    got = EDGE.consensus(phase)
    assert got.dtype == np.uint8
    # None at all; the only one; the majority; a tie, to the more regular; the majority.
    np.testing.assert_array_equal(got, [none, bad, edge, flat, bad])


# --- boundaries ---------------------------------------------------------------------------------------------


def test_boundary_of_the_linear_net_by_the_edge() -> None:
    """theory.md C: divergence at T = 4 + E~ z / 2 exactly; E~ = 2 y = 0.4, z = 0.1: 4.02."""
    found = searched.along("linear-net", T=(3.0, 5.0), z=0.1, y=0.2, points=16, tol=1e-4, steps=800, vocabulary="edge")
    at = [c for c in found.crossings if "divergent" in c.between]
    assert len(at) == 1
    # Close to the line a run takes ever longer to show where it goes: within 0.01 after 800 steps.
    assert at[0].at == pytest.approx(4.02, abs=0.01)


def test_boundary_of_the_model_with_starts_that_do_not_exist() -> None:
    """Along T the search begins below the cone: no start there, no label, and no boundary with nothing."""
    found = searched.along("quadratic-1d", eps=0.17, z=0.4, T=(0.0, 4.5), points=32, tol=1e-4, steps=400)
    assert {w for c in found.crossings for w in c.between} <= set(EDGE.labels)
    pairs = {frozenset(c.between) for c in found.crossings}
    assert frozenset(("flat", "edge-of-stability")) in pairs
    assert all(0.8 - 0.2 < c.at < 4.5 for c in found.crossings)


def test_there_are_no_periods_in_the_edge_vocabulary() -> None:
    with pytest.raises(RequestError, match="period"):
        tp.boundary("quadratic-1d", z=0.3, T=(1.0, 4.0), points=8, tol=1e-2, steps=400, of="period")


def test_a_vocabulary_that_does_not_fit_is_refused() -> None:
    with pytest.raises(RequestError, match="does not describe"):
        tp.diagram("quadratic-1d", vocabulary="training", **GRID)
    with pytest.raises(RequestError, match="does not describe"):
        tp.run("cubic", vocabulary="edge")


def test_the_horizon_is_that_of_the_vocabulary_asked_for() -> None:
    d = tp.diagram("linear-net", T=tp.linspace(0.5, 1.0, 2), z=0.1, vocabulary="edge")
    assert d.dataset.attrs["steps"] >= request.EDGE_STEPS
