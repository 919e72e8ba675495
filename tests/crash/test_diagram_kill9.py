"""The real command, killed with SIGKILL at random moments and given again, leaves the store of one undisturbed run.

A two-parameter diagram is computed once in peace and once with kills; then the two stores are compared file by file.
That no finished tile is computed again is seen in three ways: the files of a tile that had its ledger entry at a kill
keep inode and times to the end (computing a tile ends in writing it, and every write makes new files); every restart
says that it found that many tiles; and the last run counts the points that it computed.
"""

from __future__ import annotations

import json
import math
import os
import random
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from trainphase.diagrams import SCALAR_TILE
from trainphase.engine.lattice import Tiling, default_tile

pytestmark = [pytest.mark.crash, pytest.mark.skipif(os.name == "nt", reason="there is no SIGKILL")]

PATIENCE = 240.0  # seconds that any one wait may take; a run takes less than one minute on two cores
STARTUP = 5.0  # seconds in which a run has begun to write; kills without a condition fall in here


class Killed:
    """The command on one store: starts it, kills it, and looks at what is on disk."""

    def __init__(self, side: int, steps: int, store: Path) -> None:
        self.store, self.log = store, store.with_name(store.name + ".log")
        self.line = [sys.executable, "-m", "trainphase", "diagram", "cubic", f"a=0:2.2:{side}", f"z0=-1:2:{side}"]
        self.line += ["--steps", str(steps), "--json", "--store", str(store)]
        self.tiling = Tiling((side, side), default_tile((side, side), (), SCALAR_TILE))
        self.tiles = [self.tiling.key(index) for index in self.tiling.tiles()]

    @contextmanager
    def running(self) -> Iterator[subprocess.Popen[bytes]]:
        """The command in a process group of its own, which is killed at the end whatever happens."""
        # the package as this test imports it, wherever that is
        environment = {**os.environ, "PYTHONPATH": os.pathsep.join(p for p in sys.path if p)}
        with self.log.open("wb") as err, self.log.with_suffix(".json").open("wb") as out:
            child = subprocess.Popen(self.line, stdout=out, stderr=err, env=environment, start_new_session=True)
            try:
                yield child
            finally:
                if child.poll() is None:
                    os.killpg(child.pid, signal.SIGKILL)
                child.wait(PATIENCE)

    def complete(self, child: subprocess.Popen[bytes]) -> dict[str, Any]:
        """Wait for the end of the run; its document."""
        assert child.wait(PATIENCE) == 0, self.said()
        return json.loads(self.log.with_suffix(".json").read_text())

    def said(self) -> str:
        return self.log.read_text()

    def done(self) -> set[str]:
        """Tiles with a ledger entry."""
        try:
            names = os.listdir(self.store / "ledger")
        except FileNotFoundError:
            return set()
        return {name[:-5] for name in names if re.fullmatch(r"\d+\.\d+\.json", name)}

    def points(self, tile: str) -> int:
        """Grid points of a tile."""
        return math.prod(self.tiling.extent(self.tiling.index(tile)))

    def begun(self) -> set[str]:
        """Tiles of which any chunk is there."""
        chunks = self.store.glob("*/c/*/*")
        return {".".join(chunk.parts[-2:]) for chunk in chunks if re.fullmatch(r"\d+", chunk.name)}

    def marks(self, tiles: set[str]) -> dict[str, tuple[int, int, int]]:
        """Inode, time of the last change of content, and of the inode, of every file of the tiles."""
        found = {}
        for path in self.files():
            name = path.relative_to(self.store).as_posix()
            chunk = re.search(r"^ledger/(\d+\.\d+)\.json$|/c/(\d+/\d+)(?:/0)?$", name)
            if chunk and (chunk[1] or chunk[2].replace("/", ".")) in tiles:
                of = path.stat()
                found[name] = (of.st_ino, of.st_mtime_ns, of.st_ctime_ns)
        return found

    def files(self) -> list[Path]:
        return [path for path in self.store.rglob("*") if path.is_file()]

    def contents(self) -> dict[str, bytes]:
        return {path.relative_to(self.store).as_posix(): path.read_bytes() for path in self.files()}


def wait_for(condition: Callable[[], bool], child: subprocess.Popen[bytes], run: Killed) -> None:
    limit = time.monotonic() + PATIENCE
    while not condition():
        assert child.poll() is None, f"the run ended before it was killed: {run.said()}"
        assert time.monotonic() < limit, f"nothing happened: {run.said()}"
        time.sleep(0.002)


def kill_somewhere(run: Killed, kind: str, most: int, dice: random.Random) -> None:
    """Start the command and kill it: "early", "between" (any moment among tiles), or "writing" (within a tile's write)."""
    before = run.done()
    with run.running() as child:
        if kind == "early":
            # At the latest when ``most`` tiles are there: a fast machine might be at the end otherwise.
            end = time.monotonic() + dice.uniform(0, STARTUP)
            wait_for(lambda: time.monotonic() > end or len(run.done() - before) >= most, child, run)
        else:
            count = dice.randint(1, most)
            wait_for(lambda: len(run.done() - before) >= count, child, run)
            if kind == "writing":
                following = next(tile for tile in run.tiles if tile not in run.done()).replace(".", "/")
                wait_for((run.store / "phase" / "c" / following).exists, child, run)
                time.sleep(dice.uniform(0, 0.005))  # writing the fields of a tile takes about 15 ms
            else:
                time.sleep(dice.uniform(0, 0.3))  # a tile takes about 0.1 s
        assert child.poll() is None, f"the run ended before it was killed: {run.said()}"
        os.killpg(child.pid, signal.SIGKILL)
        assert child.wait(PATIENCE) == -signal.SIGKILL


def kill_and_compare(tmp_path: Path, side: int, steps: int, kinds: list[str], most: int) -> dict[str, int]:
    """Kill once for each of ``kinds``, complete, compare; returns how many kills found what on disk.

    ``most`` tiles at the most are completed between a start and its kill (and the few that are quicker than we look).
    """
    dice = random.Random(20240229)
    # Names of different length: a store that kept its path would differ in more than letters.
    plain, run = Killed(side, steps, tmp_path / "undisturbed"), Killed(side, steps, tmp_path / "s")
    with plain.running() as undisturbed:
        marks: dict[str, tuple[int, int, int]] = {}
        found = {"nothing": 0, "no tile": 0, "whole tiles": 0, "a part of a tile": 0}
        for kind in kinds:
            before = run.done()
            kill_somewhere(run, kind, most, dice)
            check_told(run, len(before), must=kind != "early")
            after = run.done()
            assert before <= after, f"written tiles were lost: {sorted(before - after)}"
            assert run.marks(before) == marks, "a written tile was written again"
            marks = run.marks(after)
            found["nothing" if not run.store.exists() else "whole tiles" if after else "no tile"] += 1
            found["a part of a tile"] += bool(run.begun() - after)
        before = run.done()
        assert 0 < len(before) < len(run.tiles), found
        with run.running() as last:
            doc = run.complete(last)
        check_told(run, len(before), must=True)
        wanted = plain.complete(undisturbed)
    assert run.marks(before) == marks, "a written tile was written again"
    missing = set(run.tiles) - before
    assert doc["evaluations"] == sum(run.points(tile) for tile in missing), "other points than the missing ones"
    assert wanted["evaluations"] == side * side
    own = ("evaluations", "seconds", "store")
    assert {k: v for k, v in doc.items() if k not in own} == {k: v for k, v in wanted.items() if k not in own}
    ours, theirs = run.contents(), plain.contents()
    assert sorted(ours) == sorted(theirs)
    assert [name for name in ours if ours[name] != theirs[name]] == []
    assert run.done() == set(run.tiles)
    print(f"kills found {found}; the last run computed {len(missing)} of {len(run.tiles)} tiles")  # shown by pytest -s
    return found


def check_told(run: Killed, held: int, must: bool) -> None:
    """A run tells how many tiles it has found, unless there were none: those that were there at its start."""
    told = re.search(rf"(\d+) of {len(run.tiles)} tiles are stored already", run.said())
    assert int(told[1]) == held if told else not (must and held), run.said()


def test_three_kills_in_a_small_diagram(tmp_path: Path) -> None:
    # One of each kind: every start costs seconds. 64 tiles; two kills within tiles leave at least 64 - 2 * 12 for the last run.
    found = kill_and_compare(tmp_path, 256, 1024, ["early", "between", "writing"], 12)
    assert found["whole tiles"] >= 2, found


@pytest.mark.slow
def test_twenty_kills_in_a_diagram_of_512_x_512(tmp_path: Path) -> None:
    # 256 tiles; 15 kills within tiles leave at least 256 - 15 * 12 for the last run.
    kinds = ["early", "between", "writing"] + ["early", "between", "writing", "between"] * 4 + ["between"]
    assert len(kinds) == 20
    found = kill_and_compare(tmp_path, 512, 16384, kinds, 12)
    assert found["whole tiles"] >= 15, found
    # Of the five kills that aim at it, one at least must have hit the middle of a tile's write.
    assert found["a part of a tile"] >= 1, found
