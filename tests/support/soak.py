"""Random kills of sweeps, by the hundred: the harness, and (run as a program) the sweep that is killed.

    python soak.py STORE EVENTS EXECUTOR WORKERS PAUSE

A sweep of 100 tiles runs in this process, in a pool of processes, on a Dask cluster of its own or on one started by hand.
The driver, a worker or the scheduler gets SIGKILL, the driver SIGTERM, or a process's files may grow no further (a full
disk), at random moments; then the sweep is started again. After every one of them: no tile that was stored is lost, and
none is computed again. When the store is complete its bytes are those of an undisturbed sweep, and another is begun.

Each computation of a tile notes itself as an empty file in EVENTS, named by time, process and tile: that outlives the
process and needs no space. The tiles are toys and JAX is never started, so that a kill costs about a second.
"""

from __future__ import annotations

import contextlib
import json
import os
import random
import resource
import shutil
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

SIDE, TILE = 50, 5  # 10 x 10 tiles
PATIENCE = 60.0  # seconds that any one wait may take

KINDS = ("driver", "driver asked", "driver of a pool", "worker of a pool", "worker of dask", "driver of dask", "scheduler",
         "full disk", "full disk of a worker")  # fmt: skip


# -- the sweep -----------------------------------------------------------------------------------


class Toy:
    """Computes a tile from its index alone, after ``pause`` seconds, and notes that it began."""

    def __init__(self, events: str, pause: float) -> None:
        self.events, self.pause = events, pause

    def __call__(self, index: tuple[int, ...]) -> dict[str, np.ndarray]:
        key = ".".join(map(str, index))
        note = os.path.join(self.events, f"{time.monotonic_ns():020d}_{os.getpid()}_{key}")
        os.close(os.open(note, os.O_CREAT | os.O_EXCL | os.O_WRONLY))
        time.sleep(self.pause)
        rng = np.random.default_rng(index)
        phase = rng.integers(0, 5, (TILE, TILE)).astype("uint8")
        if sum(index) % 3 == 0:
            phase[:] = 255  # a chunk that is not kept
        return {"phase": phase, "loss": rng.random((TILE, TILE)), "orbit": rng.random((TILE, TILE, 8))}


def sweep_once(path: str, events: str, executor: str, workers: int, pause: float) -> None:
    from trainphase.axes import Axis
    from trainphase.cli import environment, executors
    from trainphase.engine.store import Field, Store
    from trainphase.engine.sweep import sweep

    environment.one_thread_each = lambda: None  # it starts JAX
    fields = [Field("phase", "uint8", 255), Field("loss", "float64", np.nan),
              Field("orbit", "float64", np.nan, dims=("sample",), sizes=(8,))]  # fmt: skip
    axes = [Axis("a", 0.0, 1.0, SIDE), Axis("b", 0.0, 1.0, SIDE)]
    with (
        executors.chosen(executor, None if "://" in executor else workers, "", path) as pool,
        Store.create_or_resume(path, axes, fields, {"steps": 1}, {}, (TILE, TILE)) as store,
    ):
        report = sweep(Toy(events, pause), store, store.tiling.tiles(), pool)
    assert not report.failed, report.failed


def main(arguments: list[str]) -> int:
    """The sweep as the command line would end it: one sentence, and an exit code."""
    from trainphase.cli import main as cli

    signal.signal(signal.SIGTERM, cli._terminated)
    path, events, executor, workers, pause = arguments
    try:
        sweep_once(path, events, executor, int(workers), float(pause))
        return 0
    except BaseException as why:
        code, sentence = cli.explain(why)
        print(sentence, file=sys.stderr, flush=True)
        os._exit(code)


# -- the kills -----------------------------------------------------------------------------------


class Soak:
    """One store after the other, killed at random; ``counts`` says how often each kind of kill hit a running sweep."""

    def __init__(self, folder: Path, seed: int) -> None:
        self.dice, self.counts = random.Random(seed), Counter[str]()
        self.folder, self.store, self.events = folder, folder / "s", folder / "events"
        self.completed = self.seen = 0
        self.held: tuple[int, set[str]] = (0, set())
        self.events.mkdir(parents=True)
        plain = folder / "undisturbed sweep"
        sweep_once(str(plain), str(self.events), "local", 1, 0.0)
        self.wanted = contents(plain)
        self._begin()

    def run(self, kinds: list[str]) -> None:
        """Kill once for each of the kinds, in their order, and complete the last store."""
        for kind in kinds:
            before = self.counts[kind]
            for _ in range(5):
                self.kill(kind)
                if self.counts[kind] > before:
                    break
            assert self.counts[kind] > before, f"five sweeps ended before they were killed: {kind}"
        with self.driver("local", 1, 0.0) as child:
            assert child.wait(PATIENCE) == 0, told(child)
        self._complete()

    def kill(self, kind: str) -> None:
        """Start (or resume) a sweep and kill what ``kind`` says; counted if the sweep was still under way."""
        of_dask, of_pool = "dask" in kind or kind == "full disk of a worker", "pool" in kind
        if kind == "scheduler":
            with self.cluster() as (scheduler, address), self.driver(address, 2, 0.05) as child:
                self._moment(child)
                hit = child.poll() is None
                os.kill(scheduler.pid, signal.SIGKILL)
                self._ended(kind, child, hit, 1, "gone")
            return
        workers, pause = (2, 0.05) if of_dask or of_pool else (1, 0.005)
        with self.driver("dask" if of_dask else "local", workers, pause) as child:
            self._moment(child)
            hit = child.poll() is None
            if kind == "worker of dask":
                # Several in one cluster, since it takes seconds to start; the sweep goes on each time.
                for _ in range(self.dice.randint(1, 3)):
                    self._kill_worker(kind, child)
            self._check()
            if "worker" in kind and kind != "worker of dask":
                victim = self._worker(child)
                hit = hit and victim is not None and alive(victim)
            else:
                victim = child.pid
            if kind.startswith("full disk") and hit and victim:
                resource.prlimit(victim, resource.RLIMIT_FSIZE, (0, resource.RLIM_INFINITY))
                self._ended(kind, child, hit, 1, "File too large")
            elif kind == "driver asked":
                child.send_signal(signal.SIGTERM)
                self._ended(kind, child, hit, 130, "tiles are kept")
            elif kind == "worker of a pool" and hit and victim:
                os.kill(victim, signal.SIGKILL)
                self._ended(kind, child, hit, 1, "lost its workers")
            elif kind == "worker of dask":
                assert child.wait(PATIENCE) == 0, told(child)  # with all those kills it completes
                self._complete()
            else:
                child.kill()
                child.wait(PATIENCE)
                self.counts[kind] += hit and child.returncode == -signal.SIGKILL
                self._settled(child)

    def _kill_worker(self, kind: str, child: subprocess.Popen[bytes]) -> None:
        self._moment(child)
        victim = self._worker(child)
        if child.poll() is None and victim is not None and alive(victim) and len(self.ledger()) < self.tiles - 10:
            os.kill(victim, signal.SIGKILL)
            self.counts[kind] += 1
            self._check()

    def _ended(self, kind: str, child: subprocess.Popen[bytes], hit: bool, code: int, says: str) -> None:
        """The sweep must end by itself, in a sentence, unless it was over before the blow."""
        child.wait(PATIENCE)
        text = told(child)
        if hit and child.returncode != 0:
            assert child.returncode == code and says in text and text.count("\n") == 1, (kind, child.returncode, text)
            self.counts[kind] += 1
        self._settled(child)

    def _settled(self, child: subprocess.Popen[bytes]) -> None:
        self._check()
        if child.returncode == 0:
            self._complete()

    def _begin(self) -> None:
        self.tiles = (SIDE // TILE) ** 2
        self.held = time.monotonic_ns(), set()

    def _complete(self) -> None:
        """The store has the bytes of an undisturbed one; begin another."""
        self._check()
        found = contents(self.store)
        assert sorted(found) == sorted(self.wanted)
        assert [name for name in found if found[name] != self.wanted[name]] == []
        shutil.rmtree(self.store)
        self.completed += 1
        self._begin()

    def _check(self) -> None:
        """No stored tile is lost, and none was begun after it had been stored."""
        since, before = self.held
        now = self.ledger()
        assert before <= now, f"written tiles were lost: {sorted(before - now)}"
        again = {key for at, _, key in self.begun() if at > since and key in before}
        assert not again, f"written tiles were computed again: {sorted(again)}"
        self.held = time.monotonic_ns(), now

    def ledger(self) -> set[str]:
        """The tiles stored."""
        try:
            names = os.listdir(self.store / "ledger")
        except FileNotFoundError:
            return set()
        return {name.removesuffix(".json") for name in names if name.endswith(".json") and name[0].isdigit()}

    def begun(self) -> list[tuple[int, int, str]]:
        """Time, process and tile of every computation begun, in order."""
        words = (name.split("_") for name in sorted(os.listdir(self.events)))
        return [(int(at), int(process), key) for at, process, key in words]

    def _worker(self, child: subprocess.Popen[bytes]) -> int | None:
        """A process that was computing a moment ago, other than the driver."""
        return next((p for _, p, _ in reversed(self.begun()) if p not in (child.pid, os.getpid()) and alive(p)), None)

    def _moment(self, child: subprocess.Popen[bytes]) -> None:
        """Wait for a random moment: before the first tile, or some tiles later."""
        seen, count = len(os.listdir(self.events)), self.dice.randint(0, 8)
        wait_for(lambda: child.poll() is not None or len(os.listdir(self.events)) > seen + count)
        time.sleep(self.dice.uniform(0, 0.01))

    @contextlib.contextmanager
    def driver(self, executor: str, workers: int, pause: float) -> Iterator[subprocess.Popen[bytes]]:
        """The sweep in a process group of its own, which is gone at the end whatever happens."""
        line = [sys.executable, __file__, str(self.store), str(self.events), executor, str(workers), str(pause)]
        with subprocess.Popen(line, stderr=subprocess.PIPE, env=environment(), start_new_session=True) as child:
            try:
                yield child
            finally:
                with contextlib.suppress(ProcessLookupError):
                    os.killpg(child.pid, signal.SIGKILL)

    @contextlib.contextmanager
    def cluster(self) -> Iterator[tuple[subprocess.Popen[bytes], str]]:
        """A scheduler and two workers, started as one does by hand."""
        place = self.folder / "scheduler.json"
        place.unlink(missing_ok=True)
        dask = [sys.executable, "-m"]
        quiet: Any = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL, "env": environment()}
        scheduler = [*dask, "distributed.cli.dask_scheduler", "--host", "127.0.0.1", "--port", "0", "--no-dashboard"]
        worker = [*dask, "distributed.cli.dask_worker", "--scheduler-file", str(place), "--nthreads", "1", "--no-nanny",
                  "--no-dashboard"]  # fmt: skip
        with contextlib.ExitStack() as stack:
            first = subprocess.Popen[bytes]([*scheduler, "--scheduler-file", str(place)], **quiet)
            started = [first]
            stack.callback(lambda: [(each.kill(), each.wait()) for each in started])
            wait_for(lambda: place.exists() and place.read_text().rstrip().endswith("}"))
            started += [subprocess.Popen[bytes](worker, **quiet) for _ in range(2)]
            yield first, json.loads(place.read_text())["address"]


def wait_for(condition: Callable[[], bool]) -> None:
    limit = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < limit, "nothing happened"
        time.sleep(0.001)


def alive(process: int) -> bool:
    """Whether a process runs; one that is dead and not yet waited for does not."""
    try:
        return Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0] not in "ZX"
    except OSError:
        return False


def told(child: subprocess.Popen[bytes]) -> str:
    assert child.stderr is not None
    return child.stderr.read().decode()


def contents(root: Path) -> dict[str, bytes]:
    return {p.relative_to(root).as_posix(): p.read_bytes() for p in root.rglob("*") if p.is_file()}


def environment() -> dict[str, str]:
    """The modules imported here, wherever they were imported from."""
    return {**os.environ, "PYTHONPATH": os.pathsep.join(p for p in sys.path if p)}


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
