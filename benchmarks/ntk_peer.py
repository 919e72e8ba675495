"""neural-tangents on the finite-width tangent kernel of one network, in an interpreter of its own.

As a program it answers requests, one JSON object a line, from standard input: ``{"file": ..., "name": ..., "seed": ...,
"out": ...}``. It times itself in CPU seconds; compilation is in the first call of a name only. Needs neural-tangents, an old
JAX with which it works, NumPy and SciPy; nothing of trainphase.
"""

from __future__ import annotations

import functools
import importlib
import importlib.metadata
import itertools
import json
import os
import platform
import sys
import time
import types
from typing import Any

import numpy as np

TOL = 1e-3
WAYS = {"contraction": 1, "products": 2, "structured": 3}  # of its empirical_ntk_fn


def network(params: list[tuple[Any, Any]], x: Any) -> Any:
    """A tanh network, as spectrum.py has it."""
    import jax.numpy as jnp

    for w, b in params[:-1]:
        x = jnp.tanh(x @ w + b)
    w, b = params[-1]
    return x @ w + b


def loaded(file: str) -> tuple[list[tuple[Any, Any]], Any]:
    """Parameters and inputs; the file has ``theta`` (weights (in, out) and biases in turn), ``sizes`` and ``x``."""
    given = np.load(file)
    sizes, theta, at, params = [int(s) for s in given["sizes"]], given["theta"], 0, []
    for a, b in itertools.pairwise(sizes):
        params.append((theta[at : at + a * b].reshape(a, b), theta[at + a * b : at + a * b + b]))
        at += a * b + b
    return params, given["x"]


class Kernel:
    """The kernel of one network in the ways that the package has; results are compiled once and kept."""

    def __init__(self, file: str) -> None:
        self.jax: Any = importlib.import_module("jax")
        self.package: Any = importlib.import_module("neural_tangents")
        self.params, self.x = self.jax.tree_util.tree_map(self.jax.numpy.asarray, loaded(file))
        self.n = len(self.x)
        self.jitted: dict[str, Any] = {}
        for way, number in WAYS.items():
            function = self.package.empirical_ntk_fn(network, trace_axes=(), implementation=number)
            self.jitted[way] = self.jax.jit(functools.partial(function, x2=None))
        # Parameters as arguments, as ours: another point of a run compiles nothing.
        self.product = self.jax.jit(lambda params, v: self.package.empirical_ntk_vp_fn(network, self.x, None, params)(v))

    def whole(self, way: str) -> np.ndarray:
        """All of it, (n outputs, n outputs), samples first."""
        blocks = np.asarray(self.jitted[way](self.x, params=self.params))
        size = self.n * blocks.shape[-1]
        return blocks.transpose(0, 2, 1, 3).reshape(size, size)

    def top(self, way: str, seed: int) -> float:
        """The largest eigenvalue: by its products in SciPy's eigsh, tol 1e-3, or of the whole matrix."""
        if way != "vector":
            return float(np.linalg.eigvalsh(self.whole(way))[-1])
        sparse: Any = importlib.import_module("scipy.sparse.linalg")
        outputs = self.params[-1][1].shape[0]
        size = self.n * outputs

        def product(v: np.ndarray) -> np.ndarray:
            return np.asarray(self.product(self.params, v.astype(np.float32).reshape(self.n, outputs))).ravel()

        A = sparse.LinearOperator((size, size), matvec=product, dtype=np.float32)
        start = np.random.default_rng(seed).standard_normal(size).astype(np.float32)
        return float(sparse.eigsh(A, 1, which="LA", tol=TOL, v0=start)[0][0])


def main() -> None:
    """Say what is here, then answer until the input ends."""
    # The other interpreter's flags are those of a newer compiler; an older one ends at a flag that it does not know.
    os.environ.pop("XLA_FLAGS", None)
    # The package loads an experimental part with TensorFlow, two gigabytes that nothing here asks for: an empty module.
    sys.modules["neural_tangents.experimental"] = types.ModuleType("neural_tangents.experimental")
    packages = ("neural-tangents", "jax", "jaxlib", "numpy", "scipy")
    versions = {"python": platform.python_version()} | {name: importlib.metadata.version(name) for name in packages}
    print(json.dumps({"versions": versions}), flush=True)
    held: tuple[str, Kernel] | None = None
    for line in sys.stdin:
        job = json.loads(line)
        if held is None or held[0] != job["file"]:
            held = job["file"], Kernel(job["file"])
        question, way = job["name"].split()
        begin = time.process_time()
        value = held[1].whole(way) if question == "whole" else held[1].top(way, job["seed"])
        seconds = time.process_time() - begin
        if isinstance(value, np.ndarray):
            if job.get("out"):
                np.save(job["out"], value)
            value = None
        print(json.dumps({"seconds": seconds, "value": value}), flush=True)


if __name__ == "__main__":
    main()
