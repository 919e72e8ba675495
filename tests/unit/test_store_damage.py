"""Stores in trouble: damaged, foreign, unwritable, cut short; each is refused in a sentence or repaired."""

from __future__ import annotations

import errno
import os
import shutil
import tempfile
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from stores import FIELDS, contents, fill, make

from trainphase.engine.store import MANIFEST, Field, Store
from trainphase.errors import StoreError, WriteError


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


# -- a thousand flipped bits, a full disk --------------------------------------------------------


def test_every_one_of_a_thousand_flipped_bits_is_detected_and_mended_and_none_is_served(copy, whole, rng):
    sizes = {name: len(data) for name, data in contents(whole).items()}
    names = [n for n in sizes if n.count("/") > 2 or (n.startswith("ledger/") and n[7].isdigit())]
    weights = np.array([sizes[name] for name in names], float)
    flips = 0
    with make(copy) as store:
        while flips < 1000:
            # One bit in one file of each of some tiles, drawn evenly over all bits; then what the next sweep does.
            hit: dict[tuple[int, ...], str] = {}
            for name in map(str, rng.choice(names, 14, p=weights / weights.sum())):
                if tile_of(name) in hit:
                    continue
                hit[tile_of(name)] = name
                raw = bytearray((copy / name).read_bytes())
                raw[rng.integers(len(raw))] ^= 1 << rng.integers(8)
                (copy / name).write_bytes(raw)
            flips += len(hit)
            for index, name in hit.items():
                if not name.startswith("ledger"):
                    with pytest.raises((ValueError, RuntimeError)):
                        store.read(index)
            done, damaged = store.verify()
            assert damaged == set(hit) and done == set(store.tiling.tiles()) - damaged
            fill(store, damaged)
    assert contents(copy) == contents(whole)


def tile_of(name: str) -> tuple[int, ...]:
    parts = name.removeprefix("ledger/").removesuffix(".json").split(".") if name.startswith("ledger") else name.split("/")[2:4]
    return int(parts[0]), int(parts[1])


def test_a_damaged_chunk_is_no_part_of_a_data_set(copy):
    chunk = copy / "loss/c/1/1"
    chunk.write_bytes(chunk.read_bytes()[:-1])
    with pytest.raises(StoreError, match=r"tile 1\.1 .* is damaged"):
        Store.open(copy).load()


def test_a_full_disk_ends_in_a_sentence_and_the_store_resumes(tmp_path, whole, monkeypatch):
    real, left = os.write, [4000]  # bytes of space

    def write(fd, data):
        taken = min(len(data), left[0])
        left[0] -= taken
        if taken == 0:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return real(fd, bytes(data[:taken]))

    with make(tmp_path / "s") as store:
        monkeypatch.setattr(os, "write", write)
        with pytest.raises(WriteError, match=r"could not be written \(No space left on device\).*same command") as caught:
            fill(store)
        assert caught.value.exit_code == 1
        monkeypatch.undo()
    assert not [name for name in contents(tmp_path / "s") if name.endswith(".partial")]
    with make(tmp_path / "s") as store:
        done, damaged = store.verify()
        assert done and not damaged
        fill(store, set(store.tiling.tiles()) - done)
    assert contents(tmp_path / "s") == contents(whole)


def test_a_hole_is_told_until_the_tile_is_tried_again(tmp_path, whole):
    with make(tmp_path / "s") as store:
        fill(store, [t for t in store.tiling.tiles() if t != (1, 2)])
        store.fail((1, 2), "ZeroDivisionError: at 1")
    assert Store.open(tmp_path / "s").holes() == {(1, 2): "ZeroDivisionError: at 1"}
    with make(tmp_path / "s") as store:
        assert (1, 2) not in store.verify()[0] and store.holes() == {}
        fill(store, [(1, 2)])
    assert contents(tmp_path / "s") == contents(whole)


def test_a_permission_that_is_taken_away_ends_in_a_sentence_and_the_store_resumes(tmp_path, whole, monkeypatch):
    """As root may write anywhere, the refusal comes from the call that would have made the file."""
    real = os.open

    def refuse(path, flags, *args, **kwargs):
        if flags & os.O_CREAT and "loss" in str(path):
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), path)
        return real(path, flags, *args, **kwargs)

    with make(tmp_path / "s") as store:
        fill(store, [(0, 0)])
        monkeypatch.setattr(os, "open", refuse)
        with pytest.raises(WriteError, match=r"tile 0\.1 .* could not be written \(Permission denied\)"):
            fill(store, [(0, 1)])
        monkeypatch.undo()
    with make(tmp_path / "s") as store:
        assert store.verify() == ({(0, 0)}, set())
        fill(store, set(store.tiling.tiles()) - {(0, 0)})
    assert contents(tmp_path / "s") == contents(whole)
