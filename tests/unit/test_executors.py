"""What stands between a sweep and Dask: futures, their ends, and who may cancel. Toy clients, so Dask is not needed."""

from __future__ import annotations

import threading
import time
from concurrent.futures import BrokenExecutor
from types import SimpleNamespace
from typing import Any

import pytest

from trainphase.cli import executors
from trainphase.cli.executors import DaskExecutor
from trainphase.errors import RequestError, TrainphaseError


class FutureCancelledError(Exception):
    """Named as Dask's, which says that the scheduler has gone."""


class Task:
    """What a client returns: a future with a key."""

    def __init__(self, key: str) -> None:
        self.key, self.cancelled = key, False
        self.then: Any = None

    def add_done_callback(self, then: Any) -> None:
        self.then = then

    def cancel(self) -> None:
        self.cancelled = True

    def end(self, value: Any = None, why: BaseException | None = None) -> None:
        def result() -> Any:
            if why is not None:
                raise why
            return value

        self.result, self.status = result, "finished" if why is None else "error"
        self.then(self)


class Client:
    """A cluster of two workers that begins what it is told to."""

    def __init__(self) -> None:
        self.tasks: list[Task] = []
        self.status, self.workers, self.begun = "running", {"w1": {}, "w2": {}}, ["0"]

    def submit(self, fn: Any, *args: Any, pure: bool) -> Task:
        assert not pure  # the same call twice is two tasks
        self.tasks.append(Task(str(len(self.tasks))))
        return self.tasks[-1]

    def scheduler_info(self, n_workers: int) -> dict[str, Any]:
        return {"workers": self.workers}

    def run(self, ask: Any) -> dict[str, list[str]]:
        told = ask(SimpleNamespace(state=SimpleNamespace(executing=[SimpleNamespace(key=k) for k in self.begun])))
        return {"w1": told, "w2": []}


@pytest.fixture
def client():
    return Client()


@pytest.fixture
def pool(client, monkeypatch):
    monkeypatch.setattr(executors, "LOOK", 0.01)
    with DaskExecutor(client, "tcp://there") as pool:
        yield pool


def test_results_and_failures_are_handed_over(client, pool):
    good, bad = pool.submit(int, "7"), pool.submit(int, "x")
    client.tasks[0].end(7)
    client.tasks[1].end(why=ZeroDivisionError("no"))
    assert good.result(1) == 7 and isinstance(bad.exception(1), ZeroDivisionError) and pool.workers == 2


def test_what_a_worker_has_begun_is_not_cancelled(client, pool):
    begun, waiting = pool.submit(int, 0), pool.submit(int, 1)
    assert not begun.cancel() and waiting.cancel()
    assert [task.cancelled for task in client.tasks] == [False, True]
    client.tasks[0].end(0)
    client.tasks[1].end(1)  # too late, and no matter
    assert begun.result(1) == 0 and waiting.cancelled()


def test_a_lost_scheduler_breaks_the_executor(client, pool):
    future = pool.submit(int, 0)
    client.tasks[0].end(why=FutureCancelledError("scheduler-connection-lost"))
    with pytest.raises(BrokenExecutor, match="the scheduler at tcp://there is gone"):
        future.result(1)


def test_a_client_that_closed_breaks_all_that_waits(client, pool):
    future = pool.submit(int, 0)
    client.status = "closed"
    with pytest.raises(BrokenExecutor, match="is gone"):
        future.result(10)
    with pytest.raises(BrokenExecutor):
        pool.submit(int, 1)


def test_a_cluster_without_workers_is_given_up_after_a_while(client, pool, monkeypatch):
    monkeypatch.setattr(executors, "NOBODY", 0.05)
    future = pool.submit(int, 0)
    client.workers = {}
    with pytest.raises(BrokenExecutor, match="has had no worker"):
        future.result(10)


def test_workers_that_join_are_counted(client, pool):
    client.workers = {str(k): {} for k in range(5)}
    limit = time.monotonic() + 10
    while pool.workers != 5:
        assert time.monotonic() < limit
        time.sleep(0.01)
    assert threading.active_count() < 50


def test_no_scheduler_and_no_dask_are_told_in_a_sentence(monkeypatch):
    pytest.importorskip("distributed", reason="needs trainphase[dask]")
    monkeypatch.setattr(executors, "CONNECT", 0.3)
    with (
        pytest.raises(TrainphaseError, match=r"no Dask scheduler answers at tcp://127\.0\.0\.1:1 "),
        executors.chosen("tcp://127.0.0.1:1", None, "", None),
    ):
        pass
    monkeypatch.setitem(__import__("sys").modules, "distributed", None)
    with pytest.raises(RequestError, match=r"install trainphase\[dask\]"), executors.chosen("tcp://h:1", None, "", None):
        pass
