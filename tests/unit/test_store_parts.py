"""Parts of a sweep: any number of them write one store at once, and none touches another's tiles. No tolerances."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from stores import compute, contents, fill, make

from trainphase.engine.store import Store
from trainphase.engine.sweep import sweep
from trainphase.errors import StoreError


def test_parts_are_disjoint_and_together_all_tiles(tmp_path):
    stores = [make(tmp_path / "s", part=(k, 4)) for k in range(1, 5)]
    owned = [store.own() for store in stores]
    assert sorted(tile for own in owned for tile in own) == stores[0].tiling.tiles()
    assert max(map(len, owned)) - min(map(len, owned)) <= 1
    assert stores[1].own([(0, 1), (0, 0)]) == [(0, 1)]
    for store in stores:
        store.close()


def test_parts_side_by_side_leave_the_bytes_of_one_run(tmp_path, whole):
    with make(tmp_path / "s", part=(1, 2)) as first, make(tmp_path / "s", part=(2, 2)) as second:
        stray = tmp_path / "s/loss/c/0/1"  # a tile of the second part, half written
        stray.parent.mkdir(parents=True)
        stray.write_bytes(b"half")
        sweep(lambda index: compute(first, index), first, first.tiling.tiles())
        assert stray.read_bytes() == b"half"  # the first part clears its own tiles alone
        report = sweep(lambda index: compute(second, index), second, second.tiling.tiles())
        assert report.computed == second.own() and report.reused == 0
    with make(tmp_path / "s") as store:
        assert sweep(lambda index: pytest.fail("computed again"), store, store.tiling.tiles()).reused == 9
    assert contents(tmp_path / "s") == contents(whole)
    assert sorted(os.listdir(tmp_path)) == ["s"]  # the locks of the parts are gone


@pytest.mark.parametrize(
    ("held", "asked", "says"),
    [
        ((1, 2), (1, 2), "another run is writing part 1/2 of the store"),
        ((1, 2), None, "another run is writing the store"),
        ((1, 2), (1, 3), "another run is writing part 1/2 of the store"),
        (None, (1, 2), "a run without --part is writing the store"),
    ],
)
def test_who_may_not_write_beside_whom(tmp_path, held, asked, says):
    with make(tmp_path / "s", part=held):
        with pytest.raises(StoreError, match=says):
            make(tmp_path / "s", part=asked)
        if held:
            make(tmp_path / "s", part=(2, 2)).close()
    make(tmp_path / "s", part=asked).close()


def test_who_writes_is_told(tmp_path):
    with make(tmp_path / "s", part=(1, 2)) as first, make(tmp_path / "s", part=(2, 2)):
        told = first.place.writers()
        assert [words[:8] for words in told] == ["part 1/2", "part 2/2"] and f"process {os.getpid()}" in told[0]
    with make(tmp_path / "s") as store:
        assert "a run of the whole store" in store.place.writers()[0]
    assert Store.open(tmp_path / "s").place.writers() == []


CHILD = """
import sys
sys.path[:0] = sys.argv[2:]
from stores import compute, make
from trainphase.engine.sweep import sweep
k = int(sys.argv[1])
with make(sys.stdin.readline().strip(), part=(k, 3)) as store:
    report = sweep(lambda index: compute(store, index), store, store.tiling.tiles())
    print(len(report.computed))
"""


def test_parts_that_start_at_once_make_the_store_once(tmp_path, whole):
    """Three processes wait for the same line; each makes or finds the store and computes its third."""
    line = [sys.executable, "-c", CHILD]
    paths = [p for p in sys.path if p]
    pipe = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
    children = [subprocess.Popen([*line, str(k), *paths], **pipe) for k in (1, 2, 3)]
    for child in children:
        assert child.stdin is not None
        child.stdin.write(f"{tmp_path / 's'}\n")
        child.stdin.flush()
    assert [child.communicate(timeout=60)[0] for child in children] == ["3\n"] * 3
    with make(tmp_path / "s") as store:
        assert len(store.verify()[0]) == 9
    assert contents(tmp_path / "s") == contents(whole)


def test_a_part_that_was_killed_is_continued(tmp_path, whole):
    with make(tmp_path / "s", part=(1, 2)) as store:
        fill(store, store.own()[:2])
        (tmp_path / "s/ledger" / f"0.2.json.{'ab' * 16}.partial").write_bytes(b"{")
        Path(tmp_path / "s/loss/c/0/1").write_bytes(b"of another part")
    with make(tmp_path / "s", part=(1, 2)) as store:
        done, damaged = store.verify()
        assert done == set(store.own()[:2]) and not damaged
        assert not list(tmp_path.glob("s/ledger/*.partial")) and (tmp_path / "s/loss/c/0/1").exists()
        fill(store, set(store.own()) - done)
    with make(tmp_path / "s", part=(2, 2)) as store:
        sweep(lambda index: compute(store, index), store, store.tiling.tiles())
    assert contents(tmp_path / "s") == contents(whole)
