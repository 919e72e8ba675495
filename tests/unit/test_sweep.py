"""A sweep computes what the store lacks, keeps what it has, and survives failures. Counts: no tolerances."""

from __future__ import annotations

import os
import signal
import threading
import time
from concurrent.futures import BrokenExecutor, Future, ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

from trainphase.axes import Axis
from trainphase.engine.store import Field, Store
from trainphase.engine.sweep import sweep
from trainphase.errors import StoreError, SweepInterrupted, TrainphaseError

TILES = [(k,) for k in range(12)]


def make(path) -> Store:
    axes, fields = [Axis("a", 0.0, 1.0, 48)], [Field("x", "float64", np.nan)]
    return Store.create_or_resume(path, axes, fields, {}, {}, (4,))


def record(index) -> dict[str, np.ndarray]:
    """A module-level recipe, which a process pool can import."""
    return {"x": np.arange(4.0) + 4 * index[0]}


class Recipe:
    """``record`` that counts its calls and raises where it is told to."""

    def __init__(self, fail=lambda index, attempt: False):
        self.calls: list[tuple[int, ...]] = []
        self.fail = fail

    def __call__(self, index):
        self.calls.append(index)
        if self.fail(index, self.calls.count(index)):
            raise ZeroDivisionError(f"at {index[0]}")
        return record(index)


class Watch:
    def __init__(self):
        self.events: list = []

    def start(self, total, done):
        self.events.append(("start", total, done))

    def advance(self, k):
        self.events.append(k)

    def close(self):
        self.events.append("close")


@pytest.fixture
def store(tmp_path):
    with make(tmp_path / "s") as store:
        yield store


def test_every_tile_is_computed_once_and_then_never_again(store):
    recipe, watch = Recipe(), Watch()
    report = sweep(recipe, store, TILES, progress=watch)
    assert sorted(recipe.calls) == sorted(report.computed) == TILES and not report.failed
    assert watch.events == [("start", 12, 0), *[1] * 12, "close"]
    np.testing.assert_array_equal(store.dataset()["x"], np.arange(48.0))
    again = sweep(recipe, store, TILES, progress=(watch := Watch()))
    assert len(recipe.calls) == 12 and again.reused == 12 and again.computed == []
    assert watch.events == [("start", 12, 12), "close"]


def test_only_the_tiles_asked_for(store):
    report = sweep(Recipe(), store, [(3,), (1,), (3,)])
    assert sorted(report.computed) == [(1,), (3,)]
    assert sweep(Recipe(), store, TILES).reused == 2


def test_a_damaged_tile_is_recomputed_and_reported(store):
    sweep(Recipe(), store, TILES)
    chunk = Path(store.path, "x/c/5")
    chunk.write_bytes(chunk.read_bytes()[:-1])
    report = sweep(recipe := Recipe(), store, TILES)
    assert recipe.calls == [(5,)] == report.computed
    assert (report.reused, report.recomputed_damaged) == (11, 1)


def test_a_tile_that_fails_once_is_tried_again(store):
    recipe = Recipe(fail=lambda index, attempt: index == (4,) and attempt == 1)
    report = sweep(recipe, store, TILES)
    assert recipe.calls.count((4,)) == 2 and sorted(report.computed) == TILES and not report.failed


def test_a_tile_that_always_fails_is_listed_and_the_rest_completed(store):
    recipe, watch = Recipe(fail=lambda index, attempt: index[0] in (0, 7)), Watch()
    report = sweep(recipe, store, TILES, retries=2, progress=watch)
    assert report.failed == {(0,): "ZeroDivisionError: at 0", (7,): "ZeroDivisionError: at 7"}
    assert recipe.calls.count((7,)) == 3 and len(report.computed) == 10
    assert watch.events.count(1) == 12 and watch.events[-1] == "close"
    assert sorted(sweep(Recipe(), store, TILES).computed) == [(0,), (7,)]


def test_a_tile_that_cannot_be_written_ends_the_sweep(store):
    recipe = Recipe()

    def obstructed(index):
        if index == (4,):
            Path(store.path, "x/c/4").mkdir()  # where the chunk would go
        return recipe(index)

    with ThreadPoolExecutor(1) as pool, pytest.raises(StoreError, match=r"tile 4 .* could not be written"):
        sweep(obstructed, store, TILES, executor=pool)
    assert len(recipe.calls) <= 6  # one thread: at most one more tile had begun when the failure was heard of
    assert not store.has((4,)) and all(store.has((k,)) for k in range(4))


def test_a_record_of_the_wrong_shape_ends_the_sweep(store):
    with pytest.raises(StoreError, match="return that"):
        sweep(lambda index: {"x": np.zeros(5)}, store, TILES)


class Counting(ThreadPoolExecutor):
    """Counts how many futures are open at once."""

    def __init__(self, workers):
        super().__init__(workers)
        self.open, self.most, self.lock = 0, 0, threading.Lock()

    def submit(self, fn, /, *args, **kwargs):
        with self.lock:
            self.open += 1
            self.most = max(self.most, self.open)
        future = super().submit(fn, *args, **kwargs)
        future.add_done_callback(self._ended)
        return future

    def _ended(self, _):
        with self.lock:
            self.open -= 1


@pytest.mark.parametrize(("asked", "most"), [(None, 4), (3, 3)])
def test_tiles_in_flight_are_bounded_and_a_given_executor_is_left_running(store, asked, most):
    with Counting(2) as pool:
        sweep(Recipe(), store, TILES, executor=pool, in_flight=asked)
        assert pool.most == most
        assert pool.submit(int).result() == 0


class Dying(ThreadPoolExecutor):
    def submit(self, fn, /, *args, **kwargs):
        if args[-1] == (6,):
            future: Future = Future()
            future.set_exception(BrokenExecutor("a worker was killed"))
            return future
        return super().submit(fn, *args, **kwargs)


def test_an_executor_that_dies_is_told_in_a_sentence(store):
    with (
        Dying(1) as pool,
        pytest.raises(TrainphaseError, match=r"lost its workers.*of 12 tiles are kept.*again"),
    ):
        sweep(Recipe(), store, TILES, executor=pool)
    assert sorted(sweep(Recipe(), store, TILES).computed)[-1] == (11,)


# -- Ctrl-C --------------------------------------------------------------------------------------


@pytest.mark.skipif(os.name == "nt", reason="sends the signal of a Ctrl-C to this process")
def test_an_interrupt_keeps_the_tiles_in_flight_and_the_same_call_resumes(store):
    recipe = Recipe()

    def interrupted(index):
        if index == (3,):
            time.sleep(0.1)  # until the sweep is waiting, as it is when a user presses Ctrl-C
            os.kill(os.getpid(), signal.SIGINT)
            time.sleep(0.2)  # still in flight when the sweep hears of it
        return recipe(index)

    watch = Watch()
    with ThreadPoolExecutor(1) as pool, pytest.raises(SweepInterrupted) as caught:
        sweep(interrupted, store, TILES, executor=pool, progress=watch)
    assert recipe.calls == TILES[:4]
    assert str(caught.value).startswith("4 of 12 tiles are kept in ") and "again to continue" in str(
        caught.value
    )
    assert caught.value.exit_code == 130 and not caught.value.aborted and watch.events[-1] == "close"
    assert store.verify() == (set(TILES[:4]), set())
    assert sweep(recipe, store, TILES).reused == 4 and sorted(recipe.calls) == TILES


@pytest.mark.skipif(os.name == "nt", reason="sends the signal of a Ctrl-C to this process")
def test_a_second_interrupt_does_not_wait(store):
    release = threading.Event()

    def stuck(index):
        for _ in range(2):
            time.sleep(0.2)  # until the sweep is waiting
            os.kill(os.getpid(), signal.SIGINT)
        release.wait(30)
        return record(index)

    start = time.monotonic()
    with ThreadPoolExecutor(1) as pool:
        with pytest.raises(SweepInterrupted, match="0 of 12") as caught:
            sweep(stuck, store, TILES, executor=pool)
        release.set()
    assert caught.value.aborted
    assert time.monotonic() - start < 10  # far below the 30 s for which the tile would have held it


def test_what_a_killed_worker_left_is_cleared_when_its_tile_is_done(store):
    def leaving(index):
        if index == (3,):
            Path(store.path, f"ledger/3.json.{'ab' * 16}.partial").write_bytes(b"half")
        return record(index)

    with ThreadPoolExecutor(1) as pool:
        sweep(leaving, store, TILES, executor=pool)
    assert not list(Path(store.path).rglob("*.partial"))


def test_a_task_that_is_run_again_does_not_compute_a_tile_that_is_written(store):
    """Dask runs a task again when the worker that held its result is lost."""

    class Twice(ThreadPoolExecutor):
        def submit(self, fn, /, *args, **kwargs):
            super().submit(fn, *args, **kwargs).result()
            return super().submit(fn, *args, **kwargs)

    recipe = Recipe()
    with Twice(1) as pool:
        sweep(recipe, store, TILES, executor=pool)
    assert recipe.calls == TILES


def test_what_computes_a_tile_alone_is_submitted_alone(store):
    class Many(Recipe):
        def alone(self, index):
            return lambda asked: record(asked) if asked == index else {}

    class Sent(ThreadPoolExecutor):
        def submit(self, fn, /, *args, **kwargs):
            assert not any(isinstance(x, Many) for x in args)
            return super().submit(fn, *args, **kwargs)

    with Sent(1) as pool:
        report = sweep(Many(), store, [(0,), (1,)], pool)
    assert report.failed == {} and sorted(report.computed) == [(0,), (1,)]


def test_a_progress_that_asks_is_told_how_large_a_tile_is_and_how_many_workers_there_are(store):
    class Curious(Watch):
        def scale(self, points, workers):
            self.events.append((points, workers))

    with ThreadPoolExecutor(3) as pool:
        sweep(Recipe(), store, TILES, executor=pool, progress=(watch := Curious()))
    assert watch.events[1] == (4.0, 3)
