"""Runs that the page asks a server for: what may be asked, and the one process that computes them.

A request names a system of the catalogue or a diagram that is shown, and gives numbers and choices: no text, since text
may name files. The process is spawned at the first run and kept, so that later runs find JAX loaded and programs compiled;
it is killed when a run is no longer wanted.
"""

from __future__ import annotations

import contextlib
import json
import math
import multiprocessing
import multiprocessing.connection
import os
import signal
import threading
import time
import warnings
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from trainphase import catalog
from trainphase.errors import RequestError, TrainphaseError
from trainphase.explorer.stored import Stored
from trainphase.phase import VOCABULARIES, third_party
from trainphase.trajectory import plain

MOST_POINTS = 2000
MOST_STEPS = 2**20
KEYS = ("diagram", "system", "params", "steps", "vocabulary")
# Seconds between two messages on how far a run is, when nothing else is heard of it.
BEAT = 0.25

Job = dict[str, Any]


def asked(body: Any, diagrams: Mapping[str, Stored]) -> Job:
    """What a request's JSON asks for, as keywords of :func:`trainphase.run`; RequestError for anything that is not allowed."""
    if not isinstance(body, dict) or set(body) - set(KEYS) or ("diagram" in body) == ("system" in body):
        raise RequestError("a run is asked for by an object with diagram or system, params, and perhaps steps and vocabulary")
    params = body.get("params", {})
    if not isinstance(params, dict):
        raise RequestError("params is no object; give names and values")
    job: Job
    if "diagram" in body:
        stored = diagrams.get(body["diagram"]) if isinstance(body["diagram"], str) else None
        if stored is None:
            raise KeyError("there is no diagram of that name here")
        name, job = stored.system, {"params": dict(stored.params), "steps": stored.steps, "vocabulary": stored.words.name}
        job |= {"starts": stored.starts, "dtype": stored.dtype}
    else:
        name, job = body["system"], {"params": {}, "steps": None, "vocabulary": None}
    info = catalog.systems().get(name) if isinstance(name, str) else None
    if info is None:
        raise KeyError("there is no system of that name in the catalogue")
    known = {k: v for k, v in job["params"].items() if v is not None}
    # What the diagram has anyway may be said again, text too.
    job["params"] = known | _checked(info, {k: v for k, v in params.items() if k not in known or known[k] != v})
    for key, value in (("steps", _steps(body)), ("vocabulary", _words(body))):
        job[key] = job[key] if value is None else value
    if job["vocabulary"] == "regime":
        job["steps"] = None
    return {"system": name, **job}


def _checked(info: catalog.SystemInfo, params: dict[str, Any]) -> dict[str, Any]:
    out = {}
    for name, value in params.items():
        param = info.param(name[:80])
        if param.kind == "text":
            raise RequestError(f"{param.name} is text and cannot be given here; use trainphase run {info.name}")
        if value is None:
            continue
        if param.kind == "choice":
            if value not in param.choices:
                raise RequestError(f"{param.name} must be {param.domain()}")
        elif isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
            raise RequestError(f"{param.name} must be {param.domain()}")
        else:
            if param.kind == "int":
                if value != math.floor(value):
                    raise RequestError(f"{param.name} must be {param.domain()}")
                value = int(value)
            param.check(value)
        out[name] = value
    return out


def _steps(body: dict[str, Any]) -> int | None:
    steps = body.get("steps")
    if steps is not None and (isinstance(steps, bool) or not isinstance(steps, int) or not 1 <= steps <= MOST_STEPS):
        raise RequestError(f"steps must be a whole number from 1 to {MOST_STEPS}")
    return steps


def _words(body: dict[str, Any]) -> str | None:
    words = body.get("vocabulary")
    known = (*VOCABULARIES, *third_party())
    if words is not None and words not in known:
        raise RequestError(f"vocabulary must be one of {', '.join(known)}")
    return words


def shown(run: Any) -> dict[str, Any]:
    """A trajectory as the page draws it: at most ``MOST_POINTS`` records, none after an escape, nothing that is not finite."""
    escaped = run.outcome == "escaped"
    finite = np.isfinite(np.asarray(run.observables.get("loss", run.times), float))
    end = len(run.times) if finite.all() else int(np.argmin(finite))
    # Odd, so that an oscillation of period two is seen.
    stride = max(1, -(-end // MOST_POINTS)) | 1 if end > MOST_POINTS else 1
    rows = slice(0, end, stride)
    series = {name: np.asarray(v)[rows] for name, v in run.observables.items() if np.ndim(v) == 1}
    return plain({
        "times": run.times[rows], "loss": series.pop("loss", None), "curvature": series.pop("curvature", None),
        "series": series, "units": run.units, "escapedAt": run.steps if escaped else -1, "thinned": stride,
        "time_units": run.time_units, "run": run.to_json(),
    })  # fmt: skip


class Worker:
    """The process that computes, as the server sees it. ``prepare`` is called in it before JAX is loaded.

    ``folders`` are searched for data sets. One run at a time; not for several threads.
    """

    def __init__(self, prepare: Callable[[], Any] = dict, folders: tuple[str, ...] = ()) -> None:
        self._prepare, self._folders = prepare, folders
        self._process: Any = None
        self._pipe: Any = None

    def start(self, job: Job) -> None:
        """Send a job, to a fresh process if there is none."""
        if self._process is None or not self._process.is_alive():
            self.stop()
            context = multiprocessing.get_context("spawn")
            self._pipe, theirs = context.Pipe()
            self._process = context.Process(target=_serve, args=(theirs, self._prepare, self._folders), daemon=True)
            self._process.start()
            theirs.close()
        self._pipe.send_bytes(json.dumps(job).encode())

    def poll(self) -> dict[str, Any] | None:
        """The next message, None when there is none yet; a process that died is an error message."""
        try:
            return json.loads(self._pipe.recv_bytes()) if self._pipe.poll() else None
        except (EOFError, OSError):
            self.stop()
            return {"error": "the process of the run ended, perhaps for want of memory; ask for a smaller run"}

    def stop(self) -> None:
        """Kill the process, whatever it is at."""
        if self._process is not None:
            self._process.kill()
            self._process.join()
            self._process.close()
        if self._pipe is not None:
            self._pipe.close()
        self._process = self._pipe = None


def _serve(pipe: Any, prepare: Callable[[], Any], folders: tuple[str, ...]) -> None:
    """The process: jobs in, messages out, until the server is gone."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the server's to hear; it ends this process
    parent = multiprocessing.parent_process()
    if parent is not None:
        threading.Thread(target=_end_with, args=(parent.sentinel,), daemon=True).start()
    warnings.simplefilter("ignore")  # of numbers that overflow where a run escapes, which the answer says
    prepare()
    told = _Told(pipe)
    # One for all runs: programs are compiled again for an observable that is another.
    tick = _tick(told)
    while True:
        try:
            job = json.loads(pipe.recv_bytes())
        except (EOFError, OSError):
            return
        with contextlib.suppress(BrokenPipeError):
            pipe.send_bytes(json.dumps(_answered(job, folders, told, tick)).encode())


def _end_with(sentinel: int) -> None:
    multiprocessing.connection.wait([sentinel])
    os._exit(1)


class _Told:
    """How far a run is, told along the pipe: nets of a ladder, or records of a run once its phase is known."""

    def __init__(self, pipe: Any) -> None:
        self.pipe, self.total, self.done, self.said = pipe, 1, 0, 0.0

    def start(self, total: int, done: int) -> None:
        """There are ``total`` pieces of work."""
        self.total, self.done = max(total, 1), done

    def advance(self, k: int) -> None:
        """``k`` more are done."""
        self.done += k
        now = time.monotonic()
        if now - self.said >= BEAT:
            self.said = now
            share = min(1.0, self.done / self.total)
            self.pipe.send_bytes(json.dumps({"progress": round(share, 4)}).encode())

    def close(self) -> None:
        """Nothing."""


def _answered(job: Job, folders: tuple[str, ...], told: _Told, tick: Any) -> dict[str, Any]:
    """The result of a job as the page takes it, or why there is none, in a sentence."""
    from trainphase import api, request

    info = catalog.system(job.pop("system"))
    params = job.pop("params") | ({"search": folders} if info.reads_data and folders else {})
    options = {k: v for k, v in job.items() if v is not None}
    told.start(_records(job.get("steps") or request.EDGE_STEPS), 0)
    try:
        ladder = "regime" in info.vocabularies
        run = api.run(info.name, progress=told, observables=() if ladder else (tick,), **options, **params)
        for kept in (run.observables, run.summary):
            kept.pop(tick.name, None)
        return {"result": shown(run)}
    except TrainphaseError as why:
        return {"error": str(why)}
    except MemoryError:
        return {"error": "there is not enough memory for this run; ask for a smaller one"}
    except Exception as why:  # the page is told, and the server goes on
        return {"error": f"unexpected error ({type(why).__name__}: {why})"}


def _tick(told: _Told) -> Any:
    """An observable that measures nothing: a sign of life at every record of a run."""
    import jax
    import jax.numpy as jnp

    from trainphase.observable import Observable

    def tick(system: Any, state: Any) -> Any:
        jax.debug.callback(lambda _: told.advance(1), jax.tree.leaves(state)[0].ravel()[0])
        return jnp.zeros(())

    return Observable("progress", "1", "records", tick)


def _records(steps: int) -> int:
    """Records of a run that takes its whole horizon; one that settles or escapes has fewer."""
    return steps // (max(1, -(-steps // RECORDS)) | 1) + 1


# Records of a run at most, where its system does not say otherwise.
RECORDS = 1024
