"""Stores at URLs: the same bytes and promises as in a folder, through fsspec; and who may write. No tolerances."""

from __future__ import annotations

import json
import os
import pickle
import time
from pathlib import Path

import fsspec
import numpy as np
import pytest
import xarray
import zarr
from stores import FIELDS, contents, fill, make

from trainphase.engine import _chunk, _remote
from trainphase.engine._place import is_remote, place_of
from trainphase.engine.store import Field, Store
from trainphase.errors import StoreError


@pytest.fixture(params=["memory", "local"])
def url(request, tmp_path):
    """A place of fsspec: this process's memory, and a folder that fsspec (and not our own way) writes."""
    if request.param == "memory":
        yield "memory://trainphase-test/s"
        fsspec.filesystem("memory").rm("/trainphase-test", recursive=True)
    else:
        yield f"local://{tmp_path}/remote/s"


def held(url: str) -> dict[str, bytes]:
    files, root = fsspec.core.url_to_fs(url)
    return {name[len(root) + 1 :]: files.cat_file(name) for name in files.find(root)}


def test_a_sweep_at_a_url_leaves_the_bytes_of_one_in_a_folder(url, whole):
    with make(url) as store:
        fill(store, store.tiling.tiles()[:4])
        assert store.path == url and store.has((0, 0)) and not store.has((2, 2))
    with make(url) as store:
        assert len(store.verify()[0]) == 4
        fill(store, set(store.tiling.tiles()) - store.verify()[0])
    assert held(url) == contents(whole)
    expected = Store.open(whole).dataset().load()
    for data in (Store.open(url).dataset().load(), Store.open(url).load()):
        xarray.testing.assert_identical(data, expected)


def test_damage_at_a_url_is_found_cleared_and_mended(url, whole):
    files, root = fsspec.core.url_to_fs(url)
    with make(url) as store:
        fill(store)
    raw = files.cat_file(f"{root}/loss/c/1/1")
    files.pipe_file(f"{root}/loss/c/1/1", raw[:-1])
    files.pipe_file(f"{root}/ledger/0.2.json", b"{")
    files.rm_file(f"{root}/zarr.json")
    with make(url) as store:
        assert store.verify()[1] == {(1, 1), (0, 2)}
        assert not store.has((1, 1)) and not files.exists(f"{root}/phase/c/1/1")
        fill(store, [(1, 1), (0, 2)])
    assert held(url) == contents(whole)


def test_a_second_writer_is_refused_until_the_first_is_done_or_dead(url, monkeypatch):
    files, root = fsspec.core.url_to_fs(url)
    with make(url) as store:
        assert store.place.writers() == [f"a run of the whole store, process {os.getpid()} on {os.uname().nodename}"]
        with pytest.raises(StoreError, match=r"another run is writing the store .* on "):
            make(url)
    make(url).close()
    sign = {"host": "elsewhere", "process": 1, "at": time.time()}
    files.pipe_file(f"{root}.writers/whole", json.dumps(sign).encode())
    with pytest.raises(StoreError, match="process 1 on elsewhere"):
        make(url)
    sign["at"] -= _remote.STALE + 1
    files.pipe_file(f"{root}.writers/whole", json.dumps(sign).encode())
    make(url).close()


def test_a_writer_renews_its_sign_of_life(monkeypatch):
    monkeypatch.setattr(_remote, "RENEWED", 0.01)
    with make("memory://trainphase-test/t") as store:
        files = fsspec.filesystem("memory")
        first = files.cat_file("/trainphase-test/t.writers/whole")
        limit = time.monotonic() + 10
        while files.cat_file("/trainphase-test/t.writers/whole") == first:
            assert time.monotonic() < limit
            time.sleep(0.01)
        del store
    files.rm("/trainphase-test", recursive=True)


def test_parts_at_a_url(url, whole):
    with make(url, part=(1, 2)) as first, make(url, part=(2, 2)) as second:
        for same in ((1, 2), None, (1, 3)):
            with pytest.raises(StoreError, match="another run is writing"):
                make(url, part=same)
        fill(first, first.own())
        fill(second, second.own())
    assert held(url) == contents(whole)


def test_a_store_in_memory_cannot_go_to_another_process():
    with make("memory://trainphase-test/p") as store, pytest.raises(StoreError, match="memory of one process"):
        pickle.dumps(store)
    fsspec.filesystem("memory").rm("/trainphase-test", recursive=True)


@pytest.mark.parametrize(
    ("url", "says"),
    [
        ("nonsense://bucket/s", "cannot be reached .*nonsense"),
        ("gopher+x://bucket/s", "cannot be reached"),
    ],
)
def test_a_place_that_is_none_is_refused_in_a_sentence(url, says):
    with pytest.raises(StoreError, match=says) as caught:
        make(url)
    assert "\n" not in str(caught.value) and caught.value.exit_code == 2


def test_file_urls_are_folders(tmp_path):
    place = place_of(f"file://{tmp_path}/a%20b")
    assert place.path == tmp_path / "a b" and not is_remote(f"file://{tmp_path}") and not is_remote("C:/x") and is_remote("s3://b/x")


# -- chunks are Zarr's own -----------------------------------------------------------------------


@pytest.mark.parametrize("field", [*FIELDS, Field("flag", "bool", 0), Field("zero", "float32", 0.0), Field("count", "int64", -1)],
                         ids=lambda f: f.name)  # fmt: skip
def test_a_chunk_has_the_bytes_that_zarr_writes(tmp_path, field, rng):
    """Zarr writes the same values into the same array through its own codecs."""
    make(tmp_path / "s", fields=[field]).close()
    array = zarr.open_array(tmp_path / "s" / field.name, mode="r+", config={"write_empty_chunks": False})
    values = rng.integers(0, 2, (10, 7, *field.sizes)).astype(field.dtype)
    values[4:8, 3:6] = field.fill
    values[4, 6] = -values[4, 6] if field.dtype.startswith("float") else values[4, 6]  # minus zero is no fill value
    array[:] = values
    store = Store.open(tmp_path / "s")
    for index in store.tiling.tiles():
        path = Path(tmp_path, "s", field.name, "c", *map(str, index), *("0" for _ in field.sizes))
        wanted = path.read_bytes() if path.exists() else None
        piece = values[store.tiling.slices(index)]
        assert _chunk.encode(field, store.tiling.tile, piece) == wanted, index
        np.testing.assert_array_equal(store.read(index)[field.name], piece)
