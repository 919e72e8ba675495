"""The PyTorch packages that spectrum.py compares with: the top Hessian eigenvalue of one network, in an interpreter of its own.

As a program it answers requests, one JSON object a line, from standard input: ``{"file": ..., "name": ..., "seed": ...}``.
It times itself in CPU seconds, so the transport is in no time. Needs PyTorch and NumPy, and those of PyHessian,
curvlinops-for-pytorch and hessian-eigenthings that are to be compared; nothing of trainphase.
"""

from __future__ import annotations

import importlib
import importlib.metadata
import itertools
import json
import platform
import sys
import time
from collections.abc import Callable
from typing import Any

import numpy as np

PACKAGES = {
    "pyhessian": ("PyHessian",),
    "curvlinops-for-pytorch": ("curvlinops eigsh",),
    "hessian-eigenthings": ("eigenthings lanczos", "eigenthings lanczos 21"),
}


class Network:
    """A tanh network with its data; the file has ``theta`` (weights (in, out) and biases in turn), ``sizes``, ``x`` and ``y``."""

    def __init__(self, torch: Any, file: str) -> None:
        self.torch = torch
        given = np.load(file)
        self.x, self.y = torch.tensor(given["x"]), torch.tensor(given["y"])
        sizes, theta, at, layers = [int(s) for s in given["sizes"]], given["theta"], 0, []
        for a, b in itertools.pairwise(sizes):
            layer = torch.nn.Linear(a, b)
            with torch.no_grad():
                layer.weight.copy_(torch.tensor(theta[at : at + a * b].reshape(a, b).T.copy()))
                layer.bias.copy_(torch.tensor(theta[at + a * b : at + a * b + b]))
            at += a * b + b
            layers += [layer, torch.nn.Tanh()]
        self.model = torch.nn.Sequential(*layers[:-1])
        # The mean over samples and outputs, which all packages know; its Hessian is this part of that of (1/2n) sum (f - y)^2.
        self.loss, self.scale = torch.nn.MSELoss(), sizes[-1] / 2

    def gradient(self) -> float:
        """CPU seconds of a gradient, the median of nine."""
        seconds = []
        for _ in range(10):
            begin = time.process_time()
            self.model.zero_grad()
            self.loss(self.model(self.x), self.y).backward()
            seconds.append(time.process_time() - begin)
        self.model.zero_grad(set_to_none=True)
        return float(np.median(seconds[1:]))


class Count:
    """A function that counts its calls."""

    def __init__(self, function: Callable[..., Any]) -> None:
        self.function, self.calls = function, 0

    def __call__(self, *given: Any, **named: Any) -> Any:
        self.calls += 1
        return self.function(*given, **named)


def pyhessian(net: Network, seed: int) -> tuple[float, int]:
    """Its default: power iteration, at most 100 steps, until two estimates differ by 1e-3."""
    module: Any = importlib.import_module("pyhessian.hessian")
    net.torch.manual_seed(seed)
    count = Count(module.hessian_vector_product) if not isinstance(module.hessian_vector_product, Count) else None
    if count is not None:
        module.hessian_vector_product = count
    counter = module.hessian_vector_product
    counter.calls = 0
    value = module.hessian(net.model, net.loss, data=(net.x, net.y), cuda=False).eigenvalues()[0][0]
    return value, counter.calls


def curvlinops(net: Network, seed: int) -> tuple[float, int]:
    """Its Hessian as a SciPy operator, with SciPy's eigsh as its documentation shows; tol=1e-3."""
    sparse: Any = importlib.import_module("scipy.sparse.linalg")
    module = importlib.import_module("curvlinops")
    params = list(net.model.parameters())
    # The check of determinism costs products and is no part of the question.
    hessian = module.HessianLinearOperator(net.model, net.loss, params, [(net.x, net.y)], check_deterministic=False)
    inner = hessian.to_scipy()
    product = Count(lambda v: inner @ v.astype(np.float32))
    outer = sparse.LinearOperator(inner.shape, matvec=product, dtype=np.float32)
    start = np.random.default_rng(seed).standard_normal(inner.shape[0]).astype(np.float32)
    return float(sparse.eigsh(outer, 1, which="LA", tol=1e-3, v0=start)[0][0]), product.calls


def eigenthings(net: Network, seed: int, **options: Any) -> tuple[float, int]:
    """Its Lanczos for one pair; the default does two steps."""
    module = importlib.import_module("hessian_eigenthings")
    loss = module.supervised_loss(net.loss)
    operator = module.HessianOperator(net.model, [(net.x, net.y)], loss)
    operator.matvec = Count(operator.matvec)
    found = module.lanczos(operator, k=1, seed=seed, **options)
    return float(found.eigenvalues[0]), operator.matvec.calls


METHODS: dict[str, Callable[[Network, int], tuple[float, int]]] = {
    "PyHessian": pyhessian,
    "curvlinops eigsh": curvlinops,
    "eigenthings lanczos": eigenthings,
    "eigenthings lanczos 21": lambda net, seed: eigenthings(net, seed, max_iter=21, which="LA"),
}


def main() -> None:
    """Say what is here, then answer until the input ends."""
    torch = importlib.import_module("torch")
    torch.set_num_threads(1)
    versions, names = {"torch": torch.__version__, "python": platform.python_version()}, []
    for package, methods in PACKAGES.items():
        try:
            versions[package] = importlib.metadata.version(package)
            names += methods
        except importlib.metadata.PackageNotFoundError:
            continue
    print(json.dumps({"versions": versions, "names": names}), flush=True)
    held: tuple[str, Network] | None = None
    for line in sys.stdin:
        job = json.loads(line)
        if held is None or held[0] != job["file"]:
            held = job["file"], Network(torch, job["file"])
        net = held[1]
        unit = net.gradient()
        begin = time.process_time()
        value, products = METHODS[job["name"]](net, job["seed"])
        seconds = time.process_time() - begin
        net.model.zero_grad(set_to_none=True)
        print(json.dumps({"value": value * net.scale, "products": products, "seconds": seconds, "gradient": unit}), flush=True)


if __name__ == "__main__":
    main()
