"""The store of points: the same promises over one dimension of batches. Bytes are compared: no tolerances."""

from __future__ import annotations

import numpy as np
import pytest
import xarray
from stores import AXES, FIELDS, compute, contents, make

from trainphase.engine.store import Store
from trainphase.engine.sweep import sweep
from trainphase.errors import StoreError

CAPACITY, BATCH = 50, (8,)  # 7 tiles, the last of 2 points


def points(path, **changes) -> Store:
    return make(path, **{"tile": BATCH, "points": CAPACITY, **changes})


def write(store: Store, *tiles: int) -> None:
    for k in tiles:
        store.write((k,), compute(store, (k,)))


def test_points_come_back_up_to_the_last_tile_that_is_done(tmp_path):
    with points(tmp_path / "s") as store:
        assert store.points == CAPACITY and len(store.tiling) == 7 and store.tiling.extent((6,)) == (2,)
        assert store.dataset().sizes["point"] == 0
        write(store, 0, 2)
        data = store.dataset().load()
        assert data["orbit"].dims == ("point", "sample") and data.sizes["point"] == 24
        np.testing.assert_array_equal(data["steps"][16:24], compute(store, (2,))["steps"])
        assert (data["steps"].values[8:16] == -1).all()  # a tile that is not done has fill values
        for axis in AXES:
            np.testing.assert_array_equal(data[axis.name], axis.values)
        write(store, 6)
        assert store.dataset().sizes["point"] == CAPACITY
    with xarray.open_zarr(tmp_path / "s", consolidated=None, chunks=None) as whole:  # warnings are errors
        assert whole["phase"].shape == (CAPACITY,)


def test_resumed_it_has_the_bytes_of_an_undisturbed_one(tmp_path):
    with points(tmp_path / "whole") as store:
        write(store, 0, 1, 2, 3)
    with points(tmp_path / "s") as store:
        write(store, 0, 3, 2)
    chunk = tmp_path / "s/loss/c/3"
    chunk.write_bytes(chunk.read_bytes()[:-1])
    (tmp_path / "s/phase/c/1").write_bytes(b"half a tile")
    with points(tmp_path / "s") as store:
        assert store.verify() == ({(0,), (2,)}, {(3,)})
        write(store, 1, 3)
    assert contents(tmp_path / "s") == contents(tmp_path / "whole")


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"points": 60}, "the capacity in points is 50 there and 60 here"),
        ({"points": None, "tile": (8, 3)}, "the capacity in points is 50 there and absent here"),
    ],
)
def test_another_capacity_is_another_diagram(tmp_path, changes, says):
    points(tmp_path / "s").close()
    with pytest.raises(StoreError, match=says):
        points(tmp_path / "s", **changes)


def test_a_field_called_point_is_refused(tmp_path):
    with pytest.raises(StoreError, match="cannot keep"):
        points(tmp_path / "s", fields=[*FIELDS, type(FIELDS[0])("point", "uint8", 255)])


def test_many_sweeps_of_a_store_verify_it_once(tmp_path, monkeypatch):
    with points(tmp_path / "s") as store:
        write(store, 0)
        done, _ = store.verify()
        monkeypatch.setattr(store, "verify", lambda: pytest.fail("verified again"))
        calls = []

        def record(index):
            calls.append(index)
            return compute(store, index)

        first = sweep(record, store, [(0,), (1,)], done=done)
        second = sweep(record, store, [(1,), (2,)], done=done)
        assert calls == [(1,), (2,)] and done == {(0,), (1,), (2,)}
        assert (first.reused, second.reused) == (1, 1)
