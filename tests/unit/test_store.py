"""The store on disk: layout, refusals, planted damage, resumption. Bytes are compared: no tolerances."""

from __future__ import annotations

import json
import os
import pickle
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
import pytest
import xarray
from hypothesis import given, settings
from hypothesis import strategies as st

from trainphase.axes import Axis
from trainphase.engine.store import MANIFEST, Field, Store
from trainphase.errors import StoreError

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
    loss[... if index == (2, 0) else (0, 0)] = -np.nan
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


@pytest.fixture(scope="module")
def whole(tmp_path_factory) -> Path:
    """A finished store; tests copy it."""
    path = tmp_path_factory.mktemp("whole") / "s"
    with make(path) as store:
        fill(store)
    return path


@pytest.fixture
def copy(whole, tmp_path) -> Path:
    return Path(shutil.copytree(whole, tmp_path / "s"))


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
        "from pathlib import Path; from trainphase.engine._files import lock\n"
        "release = lock(Path(sys.argv[1])); print('held', flush=True); time.sleep(60)"
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


def refused(path, says: str) -> None:
    with pytest.raises(StoreError, match=says) as caught:
        make(path)
    assert "\n" not in str(caught.value) and caught.value.exit_code == 2


def test_a_file_in_the_place_of_the_directory(tmp_path):
    (tmp_path / "f").write_text("hello")
    refused(tmp_path / "f", "is a file")
    refused(tmp_path / "f" / "s", "cannot be made")


@pytest.mark.skipif(not Path("/proc/self").exists(), reason="needs a place where not even root may write")
def test_an_unwritable_place():
    refused("/proc/trainphase-store", "cannot be made")


@pytest.mark.skipif(os.name == "nt" or os.geteuid() == 0, reason="root may write anywhere")
def test_a_directory_without_permission(tmp_path):
    tmp_path.chmod(0o500)
    refused(tmp_path / "s", "cannot be made")
    refused(tmp_path, "cannot be written")


def test_somebody_elses_directory_is_left_alone(tmp_path):
    (tmp_path / "thesis.txt").write_text("x")
    refused(tmp_path, "is not empty and has no ledger/manifest.json")
    assert contents(tmp_path) == {"thesis.txt": b"x"}


def test_opening_what_is_not_there(tmp_path):
    for path in (tmp_path / "none", tmp_path):
        with pytest.raises(StoreError, match="there is no store at"):
            Store.open(path)


@pytest.mark.parametrize(
    ("spoil", "says"),
    [
        (lambda raw: raw[: len(raw) // 2], "not valid JSON"),
        (lambda raw: b"", "not valid JSON"),
        (lambda raw: raw.replace(b"1000", b"1001"), "fails its own checksum"),
        (lambda raw: raw + b" ", "fails its own checksum"),
        (lambda raw: raw.replace(b"0.3", b"NaN"), "fails its own checksum"),
        (lambda raw: b"[]", "does not say"),
        (lambda raw: raw.replace(b'"version": 1', b'"version": 7'), "version 7"),
    ],
)
def test_a_damaged_manifest(copy, spoil, says):
    raw = (copy / MANIFEST).read_bytes()
    assert spoil(raw) != raw
    (copy / MANIFEST).write_bytes(spoil(raw))
    refused(copy, f"manifest of the store .* is damaged .*{says}")


def test_a_missing_manifest(copy):
    (copy / MANIFEST).unlink()
    refused(copy, "not a store or has been damaged")


@pytest.mark.parametrize("name", ["a", "ledger", "x y", "../up", "loss", "sample"])
def test_a_name_that_would_collide_is_refused(tmp_path, name):
    with pytest.raises(StoreError, match="cannot keep"):
        make(tmp_path / "s", fields=[*FIELDS, Field(name, "uint8", 255)])


# -- damage --------------------------------------------------------------------------------------


def test_every_single_flipped_byte_of_a_chunk_is_found(copy):
    # an edge tile: most of its chunk is padding, which no checksum of the values would see
    chunk = copy / "steps/c/2/1"
    whole = chunk.read_bytes()
    store = Store.open(copy)
    for position in range(len(whole)):
        chunk.write_bytes(whole[:position] + bytes([whole[position] ^ 4]) + whole[position + 1 :])
        assert not store._holds((2, 1)), position
    chunk.write_bytes(whole)
    assert store._holds((2, 1))


@pytest.mark.parametrize("field", ["phase", "loss", "orbit", "steps"])
def test_a_flipped_byte_is_reported_as_exactly_that_tile_and_repaired(copy, whole, field):
    chunk = copy / field / "c/1/2"
    chunk = chunk / "0" if field == "orbit" else chunk
    raw = bytearray(chunk.read_bytes())
    raw[len(raw) // 2] ^= 1
    chunk.write_bytes(raw)
    with make(copy) as store:
        done, damaged = store.verify()
        assert damaged == {(1, 2)} and done == set(store.tiling.tiles()) - damaged
        assert not store.has((1, 2))
        fill(store, damaged)
    assert contents(copy) == contents(whole)


@pytest.mark.parametrize(
    "spoil",
    [lambda raw: raw[:-9], lambda raw: b"", lambda raw: raw.replace(b"0", b"1"), lambda raw: raw + b"\n"],
    ids=["truncated", "empty", "altered", "longer"],
)
def test_a_damaged_ledger_entry_is_a_damaged_tile(copy, whole, spoil):
    entry = copy / "ledger/1.0.json"
    entry.write_bytes(spoil(entry.read_bytes()))
    with make(copy) as store:
        assert store.verify()[1] == {(1, 0)}
        fill(store, [(1, 0)])
    assert contents(copy) == contents(whole)


def test_a_missing_chunk_is_a_damaged_tile_and_a_missing_entry_one_not_done(copy):
    (copy / "phase/c/0/0").unlink()
    (copy / "ledger/0.1.json").unlink()
    with make(copy) as store:
        done, damaged = store.verify()
        assert damaged == {(0, 0)} and done == set(store.tiling.tiles()) - {(0, 0), (0, 1)}


@pytest.mark.parametrize("name", ["zarr.json", "loss/zarr.json", "lr/c/0", "ledger/zarr.json"])
def test_damaged_metadata_is_repaired_by_resuming(copy, whole, name):
    raw = (copy / name).read_bytes()
    for damage in (raw[:-3], raw[:7] + bytes([raw[7] ^ 1]) + raw[8:]):
        (copy / name).write_bytes(damage)
        with pytest.raises(StoreError, match=f"{name} is missing or altered"):
            Store.open(copy)
        make(copy).close()
        assert contents(copy) == contents(whole)


def test_what_a_kill_leaves_behind_is_cleared(copy, whole):
    for place in ("ledger/1.1.json", "loss/c/1/1", "zarr.json"):
        (copy / f"{place}.{'ab' * 16}.partial").write_bytes(b"half")
    (copy / "ledger/0.2.json").unlink()  # killed between the data and the entry
    (copy / "loss/c/0/2").write_bytes(b"of another time")
    with make(copy) as store:
        assert len(store.verify()[0]) == 8
        assert not (copy / "loss/c/0/2").exists() and not (copy / "phase/c/0/2").exists()
        fill(store, [(0, 2)])
    assert contents(copy) == contents(whole)


def test_a_creation_cut_short_anywhere_is_completed(whole, tmp_path):
    empty = tmp_path / "empty"
    make(empty).close()
    names = sorted(contents(empty), key=lambda name: name != MANIFEST)  # the manifest is written first
    for kept in range(len(names)):
        path = tmp_path / f"cut{kept}"
        for name in names[:kept]:
            (path / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(empty / name, path / name)
        (path / "ledger").mkdir(parents=True, exist_ok=True)
        (path / f"ledger/manifest.json.{'0' * 32}.partial").write_bytes(b"{")
        with make(path) as store:
            store.verify()
        assert contents(path) == contents(empty)


@settings(max_examples=25, deadline=None)
@given(
    written=st.sets(st.tuples(st.integers(0, 2), st.integers(0, 2))),
    torn=st.sets(st.tuples(st.integers(0, 2), st.integers(0, 2)), max_size=3),
)
def test_resuming_is_idempotent_for_any_subset_of_tiles(whole, written, torn):
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "s"
        with make(path) as store:
            fill(store, sorted(written))
        for index in written & torn:
            (path / "ledger" / f"{index[0]}.{index[1]}.json").write_text("{")
        for expected in (written - torn, set(store.tiling.tiles())):
            with make(path) as store:
                done, _ = store.verify()
                assert done == expected
                fill(store, sorted(set(store.tiling.tiles()) - done))
        assert contents(path) == contents(whole)
