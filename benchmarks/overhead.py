"""What the engine costs per tile, and how many workers that allows: ask, submit, tell, write, checksum.

    python benchmarks/overhead.py [--quick] [--tiles 10000] [--workers 2] [--no-dask] [--folder DIR]

Tiles are computed in no time: a record of 14 fields, that of ``cubic``, over 16 x 16 points. So all that is measured is the
engine's own. Seconds are wall seconds per tile, and beside them processor seconds of this process, which other load on the
machine does not change. Then the schedule is simulated from what was measured, up to 1000 workers: see docs/scale.md.
"""

from __future__ import annotations

import argparse
import functools
import heapq
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from _results import place, print_requirements, write

from trainphase.axes import Axis
from trainphase.cli import environment, executors
from trainphase.engine.store import Field, Store
from trainphase.engine.sweep import sweep

SIDE = 16
IN_PROCESS, DASK = 5.0, 15.0  # milliseconds per tile that are allowed
FIELDS = [
    *(Field(name, "uint8", 255) for name in ("phase", "phase_half", "rule")),
    *(Field(name, "float32", np.nan) for name in ("margin", "period", "increases")),
    *(Field(f"number{k}", "float64", np.nan) for k in range(8)),
]
WORKERS = (1, 10, 30, 100, 300, 1000)
TILES = (0.5, 5.0, 60.0)  # seconds that a tile takes


class Instant:
    """Returns a record at once; it is made in the worker, since what is sent with a tile is small."""

    def __call__(self, index: tuple[int, ...]) -> dict[str, np.ndarray]:
        return record()


@functools.cache
def record() -> dict[str, np.ndarray]:
    """Random numbers, so that nothing compresses better than real ones."""
    rng = np.random.default_rng(0)
    codes = {f.name: rng.integers(0, 6, (SIDE, SIDE)).astype(f.dtype) for f in FIELDS if f.dtype == "uint8"}
    return codes | {f.name: rng.random((SIDE, SIDE)).astype(f.dtype) for f in FIELDS if f.dtype != "uint8"}


def timed(name: str, work: Callable[[], Any], tiles: int) -> dict[str, dict[str, float]]:
    """Milliseconds per tile, of the wall and of this process; printed when they are known."""
    wall, own = time.perf_counter(), time.process_time()
    work()
    cost = {"wall": 1e3 * (time.perf_counter() - wall) / tiles, "process": 1e3 * (time.process_time() - own) / tiles}
    print(f"{name:34}{cost['wall']:6.2f}{cost['process']:14.2f}", flush=True)
    return {name: cost}


def made(folder: Path, tiles: int) -> Store:
    axes = [Axis("a", 0.0, 1.0, SIDE * tiles), Axis("b", 0.0, 1.0, SIDE)]
    return Store.create_or_resume(folder, axes, FIELDS, {}, {}, (SIDE, SIDE))


def in_process(folder: Path, tiles: int) -> dict[str, dict[str, float]]:
    with made(folder, tiles) as store:
        parts = timed("sweep in process", lambda: sweep(Instant(), store, store.tiling.tiles()), tiles)
        parts |= timed("verify, when resumed", store.verify, tiles)
        parts |= timed("load into memory", store.load, tiles)
    with made(folder.with_name("alone"), tiles) as store:
        some = store.tiling.tiles()[: tiles // 4]
        parts |= timed("encode, write, checksum alone", lambda: [store.write(t, record()) for t in some], len(some))
    return parts


def on_dask(folder: Path, tiles: int, workers: int) -> dict[str, dict[str, float]]:
    environment.one_thread_each = lambda: None  # nothing here needs JAX
    with executors.chosen("dask", workers, "", str(folder)) as pool, made(folder, tiles) as store:
        sweep(Instant(), store, store.tiling.tiles()[:50], pool)
        out = timed(f"sweep on Dask, {workers} workers", lambda: sweep(Instant(), store, store.tiling.tiles(), pool), tiles - 50)
    return out


def simulated(workers: int, seconds: float, driver: float, write: float, per_worker: int = 50) -> float:
    """Tiles per second of ``workers`` over what they would be without overhead.

    A tile takes ``seconds`` +- 30 % and then ``write`` in its worker; the driver and scheduler, one after the other, need
    ``driver`` seconds for each, and keep two tiles per worker submitted.
    """
    rng, total = np.random.default_rng(workers), workers * per_worker
    work = seconds * (1 + 0.3 * (2 * rng.random(total) - 1)) + write
    free_driver, sent = 0.0, 0
    waiting: list[float] = []  # when each tile that is submitted reaches a worker
    for _ in range(2 * workers):
        free_driver += driver
        waiting.append(free_driver)
        sent += 1
    waiting.reverse()
    idle = [0.0] * workers
    ended: list[float] = []
    at = 0.0
    for k in range(total):
        at = max(heapq.heappop(idle), waiting.pop())
        finish = at + work[k]
        heapq.heappush(idle, finish)
        heapq.heappush(ended, finish)
        if sent < total and not waiting:  # the driver hears of the earliest ends, and sends as many more
            while ended and sent < total:
                free_driver = max(free_driver, heapq.heappop(ended)) + driver
                waiting.insert(0, free_driver)
                sent += 1
                if len(waiting) >= workers:
                    break
            waiting.sort(reverse=True)
    return total * seconds / (max(idle) * workers)


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="500 tiles")
    parser.add_argument("--tiles", type=int, default=10_000)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--no-dask", action="store_true")
    parser.add_argument("--folder", type=Path, help="where the stores are put meanwhile; default: the system's")
    parser.add_argument("--out", type=Path)
    given = parser.parse_args()
    tiles = 500 if given.quick else given.tiles
    print(f"{tiles} tiles of {len(FIELDS)} fields, milliseconds per tile\n\n{'':36}wall  this process")
    with tempfile.TemporaryDirectory(dir=given.folder) as scratch:
        parts = in_process(Path(scratch) / "s", tiles)
        if not given.no_dask:
            parts |= on_dask(Path(scratch) / "dask", tiles, given.workers)
    needs = [{"what": "ms per tile in process", "value": (v := parts["sweep in process"]["wall"]), "met": v < IN_PROCESS}]
    result: dict[str, Any] = {"tiles": tiles, "ms_per_tile": parts}
    dask = next((cost for name, cost in parts.items() if "Dask" in name), None)
    if dask is not None:
        needs.append({"what": "ms per tile on Dask", "value": dask["wall"], "met": dask["wall"] < DASK})
        result["schedule"] = schedule(dask["process"] / 1e3, parts["encode, write, checksum alone"]["process"] / 1e3)
    print()
    print_requirements(needs)
    write(result | {"requirements": needs}, given.out or place("overhead", given.quick))
    return 0 if all(need["met"] for need in needs) else 1


def schedule(driver: float, written: float) -> list[dict[str, float]]:
    """The simulated schedule, printed: share of the workers' time that is spent on tiles."""
    print(f"\nsimulated: driver and scheduler {1e3 * driver:.2f} ms a tile, writing {1e3 * written:.2f} ms in the worker")
    print(f"{'workers':>10}" + "".join(f"{f'{s:g} s tiles':>14}" for s in TILES))
    rows = []
    for workers in WORKERS:
        shares = [simulated(workers, seconds, driver, written) for seconds in TILES]
        rows += [{"workers": workers, "seconds": s, "share": share} for s, share in zip(TILES, shares, strict=True)]
        print(f"{workers:10d}" + "".join(f"{100 * share:13.1f}%" for share in shares))
    print("saturated at" + ", ".join(f" {s / driver:.0f} workers for tiles of {s:g} s" for s in TILES))
    return rows


if __name__ == "__main__":
    sys.exit(main())
