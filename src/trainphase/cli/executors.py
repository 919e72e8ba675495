"""Where tiles are computed: this process, processes beside it, or Dask. The only place that imports Dask.

A tile's result goes from the worker to the store; what a worker returns is the tile's key. So a lost worker costs the
tiles it was at, and the driver holds nothing.
"""

from __future__ import annotations

import contextlib
import logging
import os
import signal
import threading
import time
from collections.abc import Callable, Generator
from concurrent.futures import BrokenExecutor, Executor, Future, ProcessPoolExecutor
from multiprocessing import get_context, parent_process
from multiprocessing.connection import wait
from typing import Any

from trainphase.cli import environment
from trainphase.cli.parse import shown
from trainphase.errors import RequestError, SweepInterrupted, TrainphaseError

CONNECT = 10.0  # seconds until a scheduler must have answered, at the start and after it was lost
NOBODY = 60.0  # seconds without any worker after which a sweep ends
LOOK = 2.0  # seconds between two looks at the workers


@contextlib.contextmanager
def chosen(name: str, workers: int | None, flags: str, store: str | None) -> Generator[Executor | None, None, None]:
    """The executor that ``--executor`` and ``--workers`` ask for; None is this process.

    flags : what JAX is started with here, so that workers elsewhere compute the same bytes.
    """
    if name not in ("local", "dask") and workers is not None:
        raise RequestError(f"--workers {workers} is not possible: {shown(name)} has those that were started; leave it out")
    workers = workers or (1 if name == "local" else os.cpu_count() or 1)
    if name == "local" and workers == 1:
        yield None
        return
    if (store or "").startswith("memory:"):
        raise RequestError(f"--store {store} is in the memory of one process; leave --executor and --workers out")
    if name == "local":
        environment.one_thread_each()
        pool = ProcessPoolExecutor(workers, mp_context=get_context("spawn"), initializer=_in_pool)
        patient = True
        try:
            yield pool
        except SweepInterrupted as why:
            patient = not why.aborted
            raise
        finally:
            pool.shutdown(wait=patient, cancel_futures=True)
        return
    if name != "dask" and "://" not in name:
        raise RequestError(f"--executor {shown(name)} is unknown; give local, dask, or a scheduler such as tcp://host:8786")
    if name == "dask":
        environment.one_thread_each()
    with _dask(name, workers, flags) as pool:
        yield pool


@contextlib.contextmanager
def _dask(name: str, workers: int, flags: str) -> Generator[Executor, None, None]:
    try:
        import distributed
        from dask import config
    except ImportError:
        raise RequestError(f"--executor {shown(name)} needs Dask: install trainphase[dask]") from None
    settings = {
        "distributed.comm.timeouts.connect": f"{CONNECT:g}s",
        "distributed.worker.memory.terminate": False,
    }
    for logger in ("distributed", "distributed.client", "distributed.worker", "tornado"):
        logging.getLogger(logger).setLevel(logging.CRITICAL)  # what goes wrong is said in sentences
    with config.set(settings), contextlib.ExitStack() as stack:
        try:
            if name == "dask":
                # Nannies restart the workers that die. Nothing listens beyond this machine.
                cluster = distributed.LocalCluster(
                    n_workers=workers, threads_per_worker=1, processes=True, host="127.0.0.1", memory_limit=0,
                    dashboard_address="127.0.0.1:0", silence_logs=50,
                )  # fmt: skip
                stack.callback(_quietly, lambda: cluster.close(timeout=5))
                client = distributed.Client(cluster, timeout=CONNECT)
            else:
                client = distributed.Client(name, timeout=CONNECT)
        except (OSError, ValueError, TimeoutError) as why:
            told = shown(" ".join(str(why).split()), 120)
            raise TrainphaseError(f"no Dask scheduler answers at {shown(name)} ({told}); start one, or mend the address") from why
        stack.callback(_quietly, lambda: client.close(timeout=2))
        client.register_plugin(_setup(distributed.WorkerPlugin, flags))
        pool = DaskExecutor(client, "this machine" if name == "dask" else name)
        stack.callback(pool.shutdown)
        yield pool


def _setup(plugin: Any, flags: str) -> Any:
    """What a worker does first: take the compiler's flags, before JAX reads them, and leave Ctrl-C to the driver."""

    class Setup(plugin):
        name = "trainphase"
        idempotent = False

        def setup(self, worker: Any) -> None:
            environment.take_flags(flags)
            _ignore_interrupts()

    return Setup()


def _in_pool() -> None:
    """What a process of a pool does first: leave Ctrl-C to the driver, and end when the driver does, however that ends."""
    _ignore_interrupts()
    parent = parent_process()
    if parent is not None:
        threading.Thread(target=lambda: (wait([parent.sentinel]), os._exit(1)), name="parent", daemon=True).start()


def _ignore_interrupts() -> None:
    """A Ctrl-C goes to every process of a terminal; the driver alone decides what it means."""
    if threading.current_thread() is threading.main_thread():
        signal.signal(signal.SIGINT, signal.SIG_IGN)


def _quietly(close: Callable[[], Any]) -> None:
    with contextlib.suppress(Exception):
        close()


class DaskExecutor(Executor):
    """A Dask client as an executor: a task whose worker dies is run again, and a future that is running cannot be cancelled.

    Every pending future fails with BrokenExecutor when the scheduler is lost, or when there has been no worker for a minute.
    """

    def __init__(self, client: Any, address: str) -> None:
        self.client, self.address = client, address
        self._open: dict[Any, _DaskFuture] = {}
        self._lock = threading.Lock()
        self._over = threading.Event()
        self._workers = len(client.scheduler_info(n_workers=-1)["workers"])
        self._seen: tuple[float, set[str]] = (-1e9, set())
        threading.Thread(target=self._watch, name="dask workers", daemon=True).start()

    @property
    def workers(self) -> int:
        """How many workers there were a moment ago, at least 1."""
        return max(1, self._workers)

    def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future[Any]:
        """Have a worker compute ``fn(*args)``."""
        if self._over.is_set():
            raise BrokenExecutor(f"the connection to the scheduler at {self.address} is over")
        task = self.client.submit(fn, *args, pure=False, **kwargs)
        future = _DaskFuture(self, task)
        with self._lock:
            self._open[task.key] = future
        task.add_done_callback(lambda done: self._settle(done, future))
        return future

    def _settle(self, task: Any, future: _DaskFuture) -> None:
        """In a thread of the client: hand the outcome of a task over."""
        with self._lock:
            self._open.pop(task.key, None)
        why: BaseException | None = None
        if task.status != "finished":
            try:
                task.result()
            except BaseException as raised:
                why = raised
        if type(why).__name__ in ("CancelledError", "FutureCancelledError"):
            why = BrokenExecutor(f"the scheduler at {self.address} is gone")
        with contextlib.suppress(Exception):  # cancelled, or given up meanwhile
            if why is None:
                future.set_result(_THERE)
            else:
                future.set_exception(why)

    def running(self) -> set[str]:
        """Keys of the tasks that workers have begun."""
        at, keys = self._seen
        if time.monotonic() - at > LOOK:
            with contextlib.suppress(Exception):
                keys = {key for each in self.client.run(_executing).values() for key in each}
            self._seen = (time.monotonic(), keys)
        return keys

    def _watch(self) -> None:
        there = time.monotonic()
        while not self._over.wait(LOOK):
            with contextlib.suppress(Exception):
                if self.client.status == "closed":
                    self._break(f"the scheduler at {self.address} is gone")
                    return
                self._workers = len(self.client.scheduler_info(n_workers=-1)["workers"])
                there = time.monotonic() if self._workers else there
            if time.monotonic() - there > NOBODY:
                self._break(f"the scheduler at {self.address} has had no worker for {NOBODY:g} s")
                return

    def _break(self, why: str) -> None:
        self._over.set()
        with self._lock:
            pending, self._open = list(self._open.values()), {}
        for future in pending:
            with contextlib.suppress(Exception):
                future.set_exception(BrokenExecutor(why))

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        """Have nothing more to do with the client, which whoever made it closes."""
        self._over.set()


_THERE = object()  # a result that is with a worker yet


class _DaskFuture(Future[Any]):
    """A future that can be cancelled unless a worker has begun its task."""

    def __init__(self, pool: DaskExecutor, task: Any) -> None:
        super().__init__()
        self._pool, self._task = pool, task

    def result(self, timeout: float | None = None) -> Any:
        """What the task returned, fetched from the worker when it is asked for: a sweep never does."""
        known = super().result(timeout)
        return self._task.result() if known is _THERE else known

    def cancel(self) -> bool:
        if not self.done() and self._task.key in self._pool.running():
            return False
        cancelled = super().cancel()
        if cancelled:
            _quietly(self._task.cancel)
        return cancelled


def _executing(dask_worker: Any) -> list[str]:
    """Keys of the tasks a worker is at, asked of the worker."""
    return [task.key for task in dask_worker.state.executing]
