"""The store on disk: layout, refusals, planted damage, resumption. Bytes are compared: no tolerances."""

from __future__ import annotations

import json
import pickle
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import xarray
from stores import AXES, FIELDS, LABELS, RECIPE, TILE, compute, contents, fill, make

from trainphase.axes import Axis
from trainphase.engine.store import Store
from trainphase.errors import StoreError

# -- what is written -----------------------------------------------------------------------------


def test_xarray_opens_it_with_names_units_flags_and_provenance(whole):
    # filterwarnings is "error": a warning of zarr or xarray about a foreign file fails here
    for consolidated in (False, None):
        with xarray.open_zarr(whole, consolidated=consolidated, chunks=None) as data:
            assert set(data.data_vars) == {f.name for f in FIELDS}
    data = Store.open(whole).dataset()
    assert list(data.data_vars) == ["phase", "loss", "orbit", "steps"]
    assert data["orbit"].dims == ("a", "lr", "sample") and data["phase"].dims == ("a", "lr")
    np.testing.assert_array_equal(data["lr"], AXES[1].values)
    assert data["lr"].attrs["units"] == "1/step" and data["steps"].attrs["units"] == "step"
    assert data["phase"].attrs == {"units": "1", "long_name": "phase of training", **LABELS}
    assert data["phase"].dtype == np.uint8 and data["phase"].encoding["chunks"] == TILE
    assert json.loads(data.attrs["recipe"]) == RECIPE
    assert json.loads(data.attrs["provenance"]) == {"device": "cpu"}


def test_data_come_back_and_the_rest_is_fill(tmp_path):
    with make(tmp_path / "s") as store:
        fill(store, [(0, 1), (2, 2)])
        data = store.dataset().load()
        where = store.tiling.slices((0, 1))
        for name, values in compute(store, (0, 1)).items():
            np.testing.assert_array_equal(data[name].values[where], values)
            np.testing.assert_array_equal(store.read((0, 1))[name], values)
        assert (data["phase"].values == 255).sum() == 70 - 12
        assert [store.has(t) for t in ((0, 1), (2, 2), (0, 0))] == [True, True, False]


def test_a_tile_equal_to_the_fill_is_done_although_zarr_writes_no_chunk_for_it(whole):
    assert not (whole / "loss/c/2/2").exists()
    assert (2, 2) in Store.open(whole).verify()[0]


def test_a_store_has_no_paths_or_times_in_it(whole, tmp_path):
    with make(tmp_path / "elsewhere" / "t") as store:
        fill(store, reversed(store.tiling.tiles()))
    assert contents(tmp_path / "elsewhere" / "t") == contents(whole)
    assert not any(str(whole).encode() in data for data in contents(whole).values())


@pytest.mark.parametrize(
    ("spoil", "says"),
    [
        (lambda d: d.pop("loss"), "'loss' is missing"),
        (lambda d: d.update(extra=d["loss"]), "'extra' is unknown"),
        (lambda d: d.update(loss=d["loss"][:2]), r"float64 \(2, 3\).*keeps float64 \(4, 3\)"),
        (lambda d: d.update(loss=d["loss"].astype("float32")), "is float32"),
    ],
)
def test_a_record_of_the_wrong_kind_is_refused(tmp_path, spoil, says):
    with make(tmp_path / "s") as store:
        data = compute(store, (0, 0))
        spoil(data)
        with pytest.raises(StoreError, match=says):
            store.write((0, 0), data)
        assert not store.has((0, 0))


def test_a_write_that_fails_raises_and_the_tile_is_not_done(tmp_path):
    with make(tmp_path / "s") as store:
        (tmp_path / "s/steps/c").write_text("in the way")
        with pytest.raises(
            StoreError, match=r"tile 0\.0 .* could not be written \(.*same command to continue"
        ):
            store.write((0, 0), compute(store, (0, 0)))
        assert not store.has((0, 0))


# -- whose store it is ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"recipe": {**RECIPE, "steps": 2000}}, "steps is 1000 there and 2000 here"),
        (
            {"recipe": {**RECIPE, "parameters": {"z0": 0.4, "n": 4}}},
            r"parameters\.z0 is 0\.3 there and 0\.4 here",
        ),
        ({"recipe": {**RECIPE, "seed": 1}}, "seed is absent there and 1 here"),
        ({"recipe": {**RECIPE, "steps": 9, "dtype": "float32"}}, "dtype is float64 .*, and 1 more"),
        ({"axes": [Axis("a", 0.0, 2.4, 10), AXES[1]]}, r"axis a\.hi is 2\.2 there and 2\.4 here"),
        ({"axes": AXES[::-1]}, "the list of axes is a, lr there and lr, a here"),
        ({"fields": FIELDS[:3]}, "the list of fields is"),
        ({"tile": (5, 3)}, "the tile is 4 x 3 there and 5 x 3 here"),
    ],
)
def test_a_store_of_another_diagram_is_refused_by_naming_what_differs(copy, changes, says):
    before = contents(copy)
    with pytest.raises(StoreError, match=says) as caught:
        make(copy, **changes)
    assert "give another --store" in str(caught.value) and "\n" not in str(caught.value)
    assert contents(copy) == before


def test_the_refusal_quotes_the_command_that_made_the_store(tmp_path):
    make(tmp_path / "s", provenance={"command": "trainphase diagram cubic a=0:2"}).close()
    with pytest.raises(StoreError, match=r"made with \(trainphase diagram cubic a=0:2\)"):
        make(tmp_path / "s", recipe={})


def test_provenance_is_that_of_the_first_run(copy):
    with make(copy, provenance={"device": "gpu"}) as store:
        assert store.provenance == {"device": "cpu"}


def test_numpy_values_and_tuples_in_a_recipe_match_themselves(tmp_path):
    recipe = {"eps": np.float64(0.1), "widths": (1, 2), "start": np.arange(2.0), "bound": float("inf")}
    for _ in range(2):
        make(tmp_path / "s", recipe=recipe).close()


def test_one_writer_at_a_time(tmp_path):
    with make(tmp_path / "s"), pytest.raises(StoreError, match="another run is writing the store"):
        make(tmp_path / "s")
    make(tmp_path / "s").close()
    with pytest.raises(StoreError):  # a refusal must give the lock back
        make(tmp_path / "s", recipe={})
    make(tmp_path / "s").close()


def test_one_writer_at_a_time_across_processes_and_the_lock_dies_with_its_holder(tmp_path):
    code = (
        "import sys, time; sys.path.insert(0, sys.argv[2])\n"
        "from pathlib import Path; from trainphase.engine._locks import take as lock\n"
        "release = lock(Path(sys.argv[1]), None); print('held', flush=True); time.sleep(60)"
    )
    make(tmp_path / "s").close()
    src = Path(sys.modules["trainphase.errors"].__file__ or "").parents[1]
    child = subprocess.Popen([sys.executable, "-c", code, tmp_path / "s", src], stdout=subprocess.PIPE)
    with child:
        try:
            assert child.stdout is not None and child.stdout.readline() == b"held\n"
            with pytest.raises(StoreError, match="another run is writing"):
                make(tmp_path / "s")
        finally:
            child.kill()
        child.wait()
        make(tmp_path / "s").close()


def test_a_copy_for_a_worker_writes_and_holds_no_lock(tmp_path):
    with make(tmp_path / "s") as store:
        worker = pickle.loads(pickle.dumps(store))
        worker.write((0, 0), compute(worker, (0, 0)))
        assert store.verify() == ({(0, 0)}, set())


def test_reading_writes_nothing(copy):
    (copy / "ledger" / f"x.{'0' * 32}.partial").write_text("")
    (copy / "ledger/0.0.json").write_text("{}")
    before = contents(copy)
    store = Store.open(copy)
    assert store.verify()[1] == {(0, 0)}
    with pytest.raises(StoreError, match="reading only"):
        store.write((0, 0), compute(store, (0, 0)))
    assert contents(copy) == before


# -- places that are not a store -----------------------------------------------------------------
