"""The conformance check of an executor. No JAX here: its worker processes load this module."""

from __future__ import annotations

import os
import tempfile
import time
from collections.abc import Callable, Mapping
from concurrent.futures import Executor, Future, as_completed
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import numpy as np

from trainphase.axes import Axis
from trainphase.engine.store import Field, Store
from trainphase.engine.sweep import Report, sweep
from trainphase.testing._say import call, need

Made = TypeVar("Made", bound=Callable[[], Any])

TILES, POINTS, BAD, SLOW = 8, 4, 5, 0
PATIENCE = 120.0


def check_executor(make_executor: Made) -> Made:
    """Hold an executor of yours to what a sweep relies on; returns ``make_executor``.

    The contract
    ------------
    - ``make_executor()`` returns a ``concurrent.futures.Executor``, or another context manager that gives one.
    - ``submit(function, *args)`` returns a ``concurrent.futures.Future`` at once. Function and arguments may be sent to another
      process; what the function raises is the future's exception, and costs no other task.
    - Every task is run; a tile is computed once. Results may come in any order: a slow task holds up no other where there are
      several workers.
    - What a sweep stores has the same bytes as that of a sweep in this process.
    - After the ``with`` block, ``submit`` raises RuntimeError.

    The workers must see the temporary folder of this machine. Raises AssertionError. Cost: two dozen short tasks.
    """
    with tempfile.TemporaryDirectory(prefix="trainphase-check-") as folder:
        root = Path(folder)
        here = _swept(root / "here", root / "calls-here", None)
        pool = call("make_executor()", "return a concurrent.futures.Executor", make_executor)
        told, remedy = f"make_executor() returned {type(pool).__name__}", "return a concurrent.futures.Executor"
        need(hasattr(pool, "__enter__"), told, remedy)
        with pool as executor:
            what = type(executor).__name__
            need(hasattr(executor, "submit"), told, remedy)
            _futures(what, executor)
            there = _swept(root / "there", root / "calls-there", executor)
            _compare(what, root, here, there)
        # A context manager that ends may hold a pool that was started elsewhere; an executor of its own has ended with it.
        if isinstance(pool, Executor):
            _ended(what, pool)
    return make_executor


def _answer(k: int) -> int:
    """A task: the number, doubled; the one that is slow, later; the bad one raises."""
    if k == BAD:
        raise ZeroDivisionError(f"tile {k}")
    if k == SLOW:
        time.sleep(0.05)
    return 2 * k


def _futures(what: str, pool: Any) -> None:
    futures = [call(f"{what}.submit", "take a function and its arguments", pool.submit, _answer, k) for k in range(TILES)]
    odd = [type(f).__name__ for f in futures if not isinstance(f, Future)]
    need(not odd, f"{what}.submit returned {odd[:1]}", "return a concurrent.futures.Future")
    remedy = "run every task and set its future's result, or what it raised"
    came = call(f"{what}: not every task ended: it", remedy, lambda: list(as_completed(futures, timeout=PATIENCE)))
    need(len(came) == TILES, f"{what} ended {len(came)} of {TILES} tasks", remedy)
    for k, future in enumerate(futures):
        why = future.exception()
        if k == BAD:
            told = f"{what} gave {type(why).__name__} for a task that raised ZeroDivisionError"
            need(isinstance(why, ZeroDivisionError), told, "set the exception as the future's")
        else:
            need(why is None, f"{what} lost task {k} ({why!r:.100})", "let a task that raises cost no other")
            need(future.result() == 2 * k, f"{what} gave {future.result()!r} for task {k}, not {2 * k}", "keep tasks apart")


@dataclass(frozen=True)
class _Tile:
    """A tile's numbers; each computation leaves a file behind. The bad tile raises at every attempt."""

    calls: str

    def __call__(self, index: tuple[int, ...]) -> Mapping[str, np.ndarray]:
        handle, _ = tempfile.mkstemp(prefix=f"{index[0]}.", dir=self.calls)
        os.close(handle)
        if index[0] == SLOW:
            time.sleep(0.05)
        if index[0] == BAD:
            raise ZeroDivisionError(f"tile {index[0]}")
        return {"x": np.sin(np.arange(float(POINTS)) + POINTS * index[0])}


def _swept(path: Path, calls: Path, pool: Any) -> Report:
    calls.mkdir()
    axes, fields = [Axis("a", 0.0, 1.0, TILES * POINTS)], [Field("x", "float64", np.nan)]
    with Store.create_or_resume(path, axes, fields, {}, {}, (POINTS,)) as store:
        tiles = [(k,) for k in range(TILES)]
        return call("a sweep with the executor", "mend what it says", lambda: sweep(_Tile(str(calls)), store, tiles, pool))


def _bytes(path: Path) -> dict[str, bytes]:
    """What is stored of the numbers."""
    return {str(p.relative_to(path)): p.read_bytes() for p in sorted((path / "x").rglob("*")) if p.is_file()}


def _compare(what: str, root: Path, here: Report, there: Report) -> None:
    counts = [len(list((root / "calls-there").glob(f"{k}.*"))) for k in range(TILES)]
    once = [k for k, n in enumerate(counts) if n != 1 and k != BAD]
    told = f"{what} computed tile {once[:1]} {counts[once[0]] if once else 1} times"
    need(not once, told, "run every task once, and no task again that has ended")
    need(set(there.failed) == set(here.failed), f"{what}: tiles {sorted(there.failed)} failed, not {sorted(here.failed)}",
         "let a tile that raises cost no other")  # fmt: skip
    done, want = sorted(there.computed), sorted(here.computed)
    need(done == want, f"{what}: tiles {done} were computed, not {want}", "run every task")
    one, two = _bytes(root / "here"), _bytes(root / "there")
    other = sorted(k for k in one.keys() | two.keys() if one.get(k) != two.get(k))
    need(not other, f"{what} stored other bytes in {other[:1]} than this process", "pass arguments on as they are")


def _ended(what: str, pool: Executor) -> None:
    try:
        pool.submit(_answer, 1)
    except RuntimeError:
        return
    raise AssertionError(f"{what} took a task after it was shut down; raise RuntimeError then")
