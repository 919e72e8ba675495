"""Kill a sweep with SIGKILL at random moments, resume it, compare the store with an undisturbed one by bytes.

Run as a program, this file is the sweep that gets killed:  test_kill9.py STORE LOG
"""

from __future__ import annotations

import os
import random
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from trainphase.axes import Axis
from trainphase.engine.store import Field, Store
from trainphase.engine.sweep import sweep

KILLS = 10
SIDE, TILE = 75, 5  # 15 x 15 tiles
FIELDS = [
    Field("phase", "uint8", 255),
    Field("loss", "float64", np.nan),
    Field("orbit", "float64", np.nan, dims=("sample",), sizes=(8,)),
]


def run(path: str, log: str) -> None:
    """The sweep: each tile notes its beginning in ``log``, in an unbuffered append that outlives us."""
    notes = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    axes = [Axis("a", 0.0, 1.0, SIDE), Axis("b", 0.0, 1.0, SIDE)]
    os.write(notes, b"up\n")
    with Store.create_or_resume(path, axes, FIELDS, {"steps": 1}, {}, (TILE, TILE)) as store:
        tiling = store.tiling

        def compute(index):
            os.write(notes, f"{tiling.key(index)}\n".encode())
            rng, extent = np.random.default_rng(index), tiling.extent(index)
            time.sleep(0.002)
            phase = rng.integers(0, 5, extent).astype("uint8")
            if sum(index) % 3 == 0:
                phase[:] = 255  # a chunk that zarr does not write
            return {"phase": phase, "loss": rng.random(extent), "orbit": rng.random((*extent, 8))}

        report = sweep(compute, store, tiling.tiles())
        assert not report.failed


def contents(root: Path) -> dict[str, bytes]:
    return {p.relative_to(root).as_posix(): p.read_bytes() for p in root.rglob("*") if p.is_file()}


def ledger(root: Path) -> set[str]:
    """Tiles whose entry is there under its final name."""
    return {p.stem for p in (root / "ledger").glob("*.json")} - {"zarr", "manifest"}


def lines(log: Path) -> list[str]:
    return log.read_text().split() if log.exists() else []


def start(root: Path, log: Path) -> subprocess.Popen:
    # the modules imported here, wherever they were imported from
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(p for p in sys.path if p)}
    return subprocess.Popen([sys.executable, __file__, str(root), str(log)], env=environment)


@pytest.mark.crash
@pytest.mark.skipif(os.name == "nt", reason="there is no SIGKILL")
def test_ten_kills_leave_the_bytes_of_an_undisturbed_run_and_compute_no_written_tile_twice(tmp_path):
    dice = random.Random(20240229)
    plain, root, log = tmp_path / "plain", tmp_path / "s", tmp_path / "log"
    undisturbed = start(plain, tmp_path / "plain.log")
    tiles = (SIDE // TILE) ** 2
    landed = {"in creation or verification": 0, "in the sweep": 0}
    number = -1
    # More kills where the machine was too quick, or too busy, for any to fall before the first tile.
    while (number := number + 1) < KILLS or (min(landed.values()) == 0 and number < 3 * KILLS):
        seen, before = len(lines(log)), ledger(root)
        child = start(root, log)
        # Every third kill falls before the first tile; the others some tiles later, so that each
        # run gets somewhere on a slow machine and none gets to the end on a fast one.
        count = 0 if number % 3 == 1 else dice.randint(1, 12)
        while len(lines(log)) < seen + 1 + count:
            assert child.poll() is None, "the sweep ended before it was killed"
            time.sleep(0.0005)
        # Now and then at once: a quick machine is through with creation in a few milliseconds.
        time.sleep(0 if number % 6 == 1 else dice.uniform(0, 0.12 if count == 0 else 0.006))
        child.kill()
        child.wait()
        begun = lines(log)[seen + 1 :]
        landed["in the sweep" if begun else "in creation or verification"] += 1
        assert not before & set(begun), "a tile that had been written was computed again"
        assert len(begun) == len(set(begun))
        assert before <= ledger(root), "a written tile was lost"
    before, seen = ledger(root), len(lines(log))
    assert 0 < len(before) < tiles and min(landed.values()) > 0, landed  # the kills were where they matter
    with start(root, log) as last:
        assert last.wait(60) == 0
    begun = lines(log)[seen + 1 :]
    assert before.isdisjoint(begun) and before | set(begun) == ledger(root) and len(ledger(root)) == tiles
    assert undisturbed.wait(60) == 0
    a, b = contents(plain), contents(root)
    assert set(a) == set(b)
    assert [name for name in a if a[name] != b[name]] == []


if __name__ == "__main__":
    run(*sys.argv[1:])
