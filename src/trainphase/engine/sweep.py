"""Compute the tiles that a store does not have yet, on any ``concurrent.futures.Executor``. No numerics.

Each task computes its tile, writes it, and returns nothing but its index: no result travels, so a lost
worker costs the tiles it was at and nothing else. What is done is the store's ledger, never a list kept here.
"""

from __future__ import annotations

import contextlib
import math
import os
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import (
    BrokenExecutor,
    CancelledError,
    Executor,
    Future,
    ThreadPoolExecutor,
    wait,
)
from dataclasses import dataclass, field
from queue import Empty, SimpleQueue
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from trainphase.engine.lattice import Index
from trainphase.errors import StoreError, SweepInterrupted, TrainphaseError

if TYPE_CHECKING:
    from trainphase.engine.store import Store  # which loads Zarr

Compute = Callable[[Index], Mapping[str, np.ndarray]]

# A wait without an end cannot be interrupted on every system; one second is below notice.
_WAIT_SECONDS = 1.0


class Progress(Protocol):
    """What a sweep tells about itself; every call comes from the thread that called ``sweep``."""

    def start(self, total: int, done: int) -> None:
        """There are ``total`` tiles, ``done`` of them stored already."""

    def advance(self, k: int) -> None:
        """``k`` more tiles are settled (stored, or given up)."""

    def close(self) -> None:
        """The sweep is over, however it ended."""

    # One that has a method ``scale(points, workers)`` too is told how many grid points a tile has on average and how
    # many workers there are; one that has ``refine(number, asked, lattice)``, which round of a refinement begins, how many
    # points were asked for before, and how many a dense diagram has.


class Quiet:
    """Progress that nobody is told of."""

    def start(self, total: int, done: int) -> None: ...

    def advance(self, k: int) -> None: ...

    def close(self) -> None: ...


@dataclass(frozen=True)
class Report:
    """What a sweep did.

    Parameters
    ----------
    computed : the tiles computed and stored by this sweep, in order of completion.
    reused : how many tiles were in the store, whole, and were left alone.
    recomputed_damaged : how many of ``computed`` replace a tile that failed its checksum.
    failed : tile -> why, for the tiles whose computation raised at every attempt.
    """

    computed: list[Index] = field(default_factory=list)
    reused: int = 0
    recomputed_damaged: int = 0
    failed: dict[Index, str] = field(default_factory=dict)


def sweep(
    compute: Compute,
    store: Store,
    tiles: Iterable[Index],
    executor: Executor | None = None,
    progress: Progress | None = None,
    retries: int = 1,
    in_flight: int | None = None,
    done: set[Index] | None = None,
) -> Report:
    """Compute and store each of ``tiles`` that the store does not hold whole; of a store opened for a part, that part's.

    Parameters
    ----------
    compute : index -> the record's fields over that tile, as ``Store.write`` wants them. It must be pure: the
        same index gives the same values. With an executor of processes it must be picklable. One that holds more than a
        tile needs may have a method ``alone(index)``: what that returns is submitted instead, and computes that tile.
    store : open for writing.
    executor : where tiles are computed; by default one thread of this process, whose compute may use every
        core (JAX does). An executor that is passed in is left running.
    retries : how often a tile whose computation raises is tried again before it is listed as failed. The store keeps
        the list (``Store.holes``), and the next sweep tries those tiles again.
    in_flight : how many tiles are submitted at a time; by default twice the executor's workers, however many it has then.
    done : the tiles that the store holds whole, when the caller knows them: what ``Store.verify`` said, once, for
        many sweeps of one store (the rounds of a refinement). The tiles computed here are added to it. Without it
        the store is verified here.

    Raises
    ------
    SweepInterrupted : Ctrl-C. Nothing more is submitted, the tiles being computed are ended and written
        (a second Ctrl-C abandons them).
    StoreError : a tile could not be written.
    TrainphaseError : the executor has died.

    Cost: 1 to 3 ms per tile for writing, and what ``Store.verify`` takes for the tiles kept.
    """
    tiles = store.own(list(dict.fromkeys(tuple(t) for t in tiles)))
    progress = progress or Quiet()
    pool = executor or ThreadPoolExecutor(1, thread_name_prefix="tile")
    pending: dict[Future[Index], Index] = {}
    finished = True
    try:
        damaged: set[Index] = set()
        if done is None:
            done, damaged = store.verify()
        todo = [t for t in tiles if t not in done]
        progress.start(len(tiles), len(tiles) - len(todo))
        _scale(progress, store, tiles, _workers(pool) if executor else 1)
        computed, failed = _drive(pool, pending, compute, store, todo, lambda: in_flight or 2 * _workers(pool), retries, progress)
        done.update(computed)
        for index, why in failed.items():
            store.fail(index, why)
        if executor is not None:
            store.tidy()  # a worker that was killed while it wrote, whose tile another has computed
        renewed = len(damaged.intersection(computed))
        return Report(computed, len(tiles) - len(todo), renewed, failed)
    except KeyboardInterrupt:
        finished = _drain(pending, None if executor else pool)
        raise SweepInterrupted(_kept(store, tiles), aborted=not finished) from None
    except BrokenExecutor as why:
        raise TrainphaseError(f"the executor has lost its workers ({why}): {_kept(store, tiles)}") from why
    except TrainphaseError:
        finished = _drain(pending, None)
        raise
    finally:
        progress.close()
        if executor is None:
            pool.shutdown(wait=finished, cancel_futures=True)


def _drive(
    pool: Executor,
    pending: dict[Future[Index], Index],
    compute: Compute,
    store: Store,
    todo: list[Index],
    limit: Callable[[], int],
    retries: int,
    progress: Progress,
) -> tuple[list[Index], dict[Index, str]]:
    """Keep at most ``limit()`` tiles submitted until all are settled; ``pending`` holds those under way."""
    computed: list[Index] = []
    failed: dict[Index, str] = {}
    attempts: dict[Index, int] = {}
    alone: Callable[[Index], Compute] | None = getattr(compute, "alone", None)
    queue = iter(todo)
    again: list[Index] = []
    # Futures announce themselves: to ask each of thousands would cost milliseconds per tile.
    settled: SimpleQueue[Future[Index]] = SimpleQueue()
    while True:
        most = limit()
        while len(pending) < most:
            index = again.pop() if again else next(queue, None)
            if index is None:
                break
            future = pool.submit(_work, compute if alone is None else alone(index), store, index)
            pending[future] = index
            future.add_done_callback(settled.put)
        if not pending:
            return computed, failed
        for future in _taken(settled):
            index = pending.pop(future)
            why = CancelledError("the executor dropped it") if future.cancelled() else future.exception()
            if why is None:
                computed.append(index)
            elif isinstance(why, TrainphaseError | BrokenExecutor) or not isinstance(why, Exception):
                raise why
            elif attempts.get(index, 0) < retries:
                attempts[index] = attempts.get(index, 0) + 1
                again.append(index)
                continue
            else:
                failed[index] = f"{type(why).__name__}: {why}" if str(why) else type(why).__name__
            progress.advance(1)


def _scale(progress: Any, store: Store, tiles: list[Index], workers: int) -> None:
    """Tell a progress that wants to know how large a tile is and how many workers there are."""
    tell = getattr(progress, "scale", None)
    if tell is not None and tiles:
        tell(sum(math.prod(store.tiling.extent(t)) for t in tiles) / len(tiles), workers)


def _taken(settled: SimpleQueue[Future[Index]]) -> list[Future[Index]]:
    """All that has come, after waiting for the first of it; nothing, when the wait was long."""
    found = []
    with contextlib.suppress(Empty):
        found.append(settled.get(timeout=_WAIT_SECONDS))
        while True:
            found.append(settled.get_nowait())
    return found


def _work(compute: Compute, store: Store, index: Index) -> Index:
    """One task, in the worker: compute the tile, write it, return its index.

    Dask runs a task again whose result it has lost, although the tile is written: only what was verified or erased
    before the sweep can be there, so a tile with a ledger entry is done.
    """
    if not store.has(index):
        store.write(index, compute(index))
    return index


def _drain(pending: dict[Future[Index], Index], own: Executor | None) -> bool:
    """Drop the tiles not begun and wait for the others; False when interrupted while waiting.

    An interrupt inside ``submit`` leaves a task that ``pending`` lacks: the end of our own pool waits for it.
    """
    try:
        running = [future for future in pending if not future.cancel()]
        while running:
            running = list(wait(running, timeout=_WAIT_SECONDS).not_done)
        if own is not None:
            own.shutdown(cancel_futures=True)
    except KeyboardInterrupt:
        return False
    return True


def _kept(store: Store, tiles: list[Index]) -> str:
    try:
        kept = len(store.claimed().intersection(tiles))
    except StoreError as why:
        return str(why)
    return f"{kept} of {len(tiles)} tiles are kept in {store.path}; give the same command again to continue"


def _workers(pool: Any) -> int:
    # Of the standard library's executors the first, of ours for Dask the second; others do not say.
    workers = getattr(pool, "_max_workers", None) or getattr(pool, "workers", None)
    return workers if isinstance(workers, int) else os.cpu_count() or 1
