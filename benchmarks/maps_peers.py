"""Pynamical and the loops that people write, on the logistic map, in an interpreter of their own.

As a program it answers requests, one JSON object a line, from standard input: ``{"name": ..., "values": ..., "steps": ...,
"keep": ..., "file": ...}``, where ``file`` is where what was found goes. It times itself in CPU seconds, so neither the
transport nor the file is in any time. Needs NumPy, and those of pynamical and numba that are to be compared.
"""

from __future__ import annotations

import importlib
import importlib.metadata
import json
import math
import platform
import sys
import time
from collections.abc import Callable
from typing import Any

import numpy as np

LOW, HIGH, START = 2.6, 3.99, 0.3
FEW = 32  # values of r for the loop in plain Python
Job = dict[str, Any]
Found = dict[str, np.ndarray]


def rates(job: Job) -> np.ndarray:
    """The values of r."""
    return np.linspace(LOW, HIGH, job["values"])


def pynamical(job: Job) -> Found:
    """Its simulator as its documentation shows it: a data frame of the last states, one column a value of r."""
    module: Any = importlib.import_module("pynamical")
    frame = module.simulate(
        model=module.logistic_map, num_gens=job["keep"], rate_min=LOW, rate_max=HIGH, num_rates=job["values"],
        num_discard=job["steps"] - job["keep"], initial_pop=START,
    )  # fmt: skip
    states = np.asarray(frame.values)
    return {"lower": states.min(0), "upper": states.max(0), "mean": states.mean(0)}


def numpy_loop(job: Job) -> Found:
    """Exponents over the second half, all values of r at once."""
    r = rates(job)
    x, total = np.full_like(r, START), np.zeros_like(r)
    half = job["steps"] // 2
    for _ in range(half):
        x = r * x * (1 - x)
    for _ in range(half):
        total += np.log(np.abs(r * (1 - 2 * x)))
        x = r * x * (1 - x)
    return {"lyapunov": total / half}


def python_loop(job: Job) -> Found:
    """The same for a few values of r, number by number."""
    half, found = job["steps"] // 2, []
    for r in rates(job)[:: job["values"] // FEW][:FEW].tolist():
        x, total = START, 0.0
        for _ in range(half):
            x = r * x * (1 - x)
        for _ in range(half):
            total += math.log(abs(r * (1 - 2 * x)))
            x = r * x * (1 - x)
        found.append(total / half)
    return {"lyapunov": np.array(found)}


def numba_loop() -> Callable[[Job], Found]:
    """The same for all values of r, compiled by numba, which pynamical brings."""
    numba: Any = importlib.import_module("numba")

    @numba.njit
    def exponents(rates: np.ndarray, half: int) -> np.ndarray:
        found = np.empty_like(rates)
        for i in range(len(rates)):
            r, x, total = rates[i], START, 0.0
            for _ in range(half):
                x = r * x * (1 - x)
            for _ in range(half):
                total += math.log(abs(r * (1 - 2 * x)))
                x = r * x * (1 - x)
            found[i] = total / half
        return found

    return lambda job: {"lyapunov": exponents(rates(job), job["steps"] // 2)}


def main() -> None:
    """Say what is here, then answer until the input ends."""
    versions = {"python": platform.python_version(), "numpy": np.__version__}
    methods: dict[str, Callable[[Job], Found]] = {"NumPy": numpy_loop, "Python": python_loop}
    for package in ("pynamical", "numba"):
        try:
            versions[package] = importlib.metadata.version(package)
            methods[package] = pynamical if package == "pynamical" else numba_loop()
        except importlib.metadata.PackageNotFoundError:
            continue
    print(json.dumps({"versions": versions, "names": list(methods)}), flush=True)
    for line in sys.stdin:
        job = json.loads(line)
        begin = time.process_time()
        found = methods[job["name"]](job)
        seconds = time.process_time() - begin
        if job.get("file"):
            np.savez(job["file"], allow_pickle=False, **found)
        values = FEW if job["name"] == "Python" else job["values"]
        print(json.dumps({"seconds": seconds * job["values"] / values}), flush=True)


if __name__ == "__main__":
    main()
