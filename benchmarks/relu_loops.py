"""The PyTorch loops that relu.py compares with: full-batch gradient descent of a two-layer ReLU network, in its own interpreter.

As a program it answers requests, one JSON object a line, from standard input: ``{"task": "slope", ...}``, the relative
distances of a ladder of widths, or ``{"task": "step", ...}``, seconds per step with images. It times itself, so the
transport is in no time. Needs PyTorch and NumPy, and nothing of trainphase; imported, it needs NumPy only.
"""

from __future__ import annotations

import importlib
import json
import platform
import sys
import time
from collections.abc import Callable
from typing import Any

import numpy as np

WIDTHS = (1000, 5000, 10000, 20000, 40000)
SEEDS = (0, 1, 2)
TARGET = 1e-6  # of the mean squared error

# The points of the plane (gamma, gamma'), and the best fixed step of the plain loop there: lr0 for each of WIDTHS, where the
# step is lr0 sqrt(b1 b2) alpha. README.md says how they were found, and what "best" means.
STEPS: dict[tuple[float, float], tuple[float, ...]] = {
    (0.5, 0.0): (0.02902, 0.01483, 0.01037, 0.00725, 0.005145),
    (1.0, 0.0): (0.9176, 1.0, 1.0, 1.0, 1.0),
    (1.75, 0.0): (5.657, 5.657, 5.657, 5.657, 5.657),
    (0.7, 0.3): (0.0221, 0.01156, 0.007729, 0.00497, 0.003289),
    (1.3, -0.3): (1.761, 2.151, 2.186, 2.191, 2.238),
    (1.2, 0.2): (1.587, 1.873, 1.906, 1.866, 1.878),
    (0.9, -0.4): (0.03979, 0.02162, 0.01551, 0.01098, 0.007927),
    (1.4, 0.4): (1.663, 1.923, 1.947, 1.896, 1.9),
    (2.0, -0.5): (1.0, 1.0, 1.0, 1.0, 1.0),
}
# S_w over WIDTHS and SEEDS at a quarter of these steps, in double precision; --recheck finds them anew.
FINE: dict[tuple[float, float], float] = {
    (0.5, 0.0): -0.5080, (1.0, 0.0): -0.0054, (1.75, 0.0): 0.3822, (0.7, 0.3): -0.8798, (1.3, -0.3): 0.3146,
    (1.2, 0.2): -0.0192, (0.9, -0.4): -0.1493, (1.4, 0.4): -0.0048, (2.0, -0.5): 0.7878,
}  # fmt: skip


def four_points() -> tuple[np.ndarray, np.ndarray]:
    """Inputs, each with a 1 for the bias, and targets x^2; shapes (4, 2) and (4,). Source: the papers' one-dimensional task."""
    x = np.linspace(-0.5, 0.5, 4)
    return np.stack([x, np.ones(4)], 1), x**2


def draws(seed: int, width: int) -> tuple[np.ndarray, np.ndarray]:
    """Standard normal output weights, (width,), and input weights, (width, 2), that both contenders start from."""
    rng = np.random.default_rng([seed, width])
    return rng.standard_normal(width), rng.standard_normal((width, 2))


def slope(rd: np.ndarray, widths: tuple[int, ...]) -> float:
    """S_w: least squares of ln RD over ln m; ``rd`` has the shape (widths, seeds)."""
    m = np.log(np.repeat(widths, rd.shape[1]))
    return float(np.polyfit(m, np.log(rd.ravel()), 1)[0])


class Net:
    """A network with its antisymmetric copy behind it: f = (a . relu(W x)) / alpha, 2 m neurons; ``step`` descends once.

    ``plain``: two ``Linear`` layers, the first with its bias, and ``SGD``, as one writes it. ``careful``: two tensors laid
    out for the product, the gradients by ``autograd.grad`` and added in place.
    """

    def __init__(self, torch: Any, job: dict[str, Any], width: int, seed: int, lr0: float) -> None:
        self.torch, self.form = torch, job["form"]
        kappa_prime = float(width) ** -job["gamma_prime"]
        # b1 b2 = 1 by choice of the unit of time: b1 / b2 = kappa', b1 b2 / alpha = kappa.
        self.alpha = float(width) ** job["gamma"]
        self.lr = lr0 * self.alpha
        a, w = draws(seed, width)
        a, w = a * kappa_prime**0.5, w / kappa_prime**0.5
        real = {"dtype": getattr(torch, job["dtype"])}
        x, y = four_points()
        self.first = torch.tensor(w)
        a, w = torch.tensor(np.concatenate([a, -a]), **real), torch.tensor(np.concatenate([w, w]), **real)
        if self.form == "careful":
            self.x, self.y = torch.tensor(x, **real), torch.tensor(y, **real)
            self.W, self.a = w.T.contiguous().requires_grad_(), a.requires_grad_()
            return
        self.x, self.y = torch.tensor(x[:, :1], **real), torch.tensor(y[:, None], **real)
        linear = torch.nn.Linear
        self.layers = torch.nn.Sequential(linear(1, 2 * width, **real), torch.nn.ReLU(), linear(2 * width, 1, bias=False, **real))
        with torch.no_grad():
            for parameter, value in zip(self.layers.parameters(), (w[:, :1], w[:, 1], a[None]), strict=True):
                parameter.copy_(value)
        self.sgd = torch.optim.SGD(self.layers.parameters(), lr=self.lr)

    def loss(self) -> Any:
        """The mean of e^2."""
        if self.form == "careful":
            e = self.torch.relu(self.x @ self.W) @ self.a / self.alpha - self.y
            return (e @ e) / 4
        return self.torch.nn.functional.mse_loss(self.layers(self.x) / self.alpha, self.y)

    def step(self, mean: Any) -> None:
        """Gradient descent on R = mean / 2."""
        if self.form == "careful":
            gW, ga = self.torch.autograd.grad(0.5 * mean, (self.W, self.a))
            with self.torch.no_grad():
                self.W.sub_(gW, alpha=self.lr)
                self.a.sub_(ga, alpha=self.lr)
            return
        self.sgd.zero_grad()
        (0.5 * mean).backward()
        self.sgd.step()

    def distance(self) -> float:
        """RD of the first copy's input weights, biases included."""
        now = self.W.T if self.form == "careful" else self.torch.cat([self.layers[0].weight, self.layers[0].bias[:, None]], 1)
        return float((now.detach()[: len(self.first)].double() - self.first).norm() / self.first.norm())


def descend(net: Net, limit: dict[str, float], monotone: bool) -> dict[str, Any]:
    """The loop with a fixed step, to the target or to the limit of steps or seconds."""
    begin, last, loss, k = time.process_time(), float("inf"), float("inf"), 0
    end = "limit"
    while True:
        mean = net.loss()
        loss = mean.item()
        if loss <= TARGET:
            end = "trained"
            break
        # Written so that NaN counts as a rise.
        if (monotone and not loss <= last) or not loss <= 1e6:
            end = "rose"
            break
        if k >= limit["steps"] or (k % 64 == 0 and time.process_time() - begin > limit["seconds"]):
            break
        last = loss
        net.step(mean)
        k += 1
    return {"end": end, "steps": k, "loss": loss, "rd": net.distance()}


def train(torch: Any, job: dict[str, Any], width: int, seed: int, lr0: float) -> dict[str, Any]:
    """One run of the ladder. The paper's rule: lr0 is halved and the run starts anew whenever the loss rises."""
    begin, cpu, halved = time.perf_counter(), time.process_time(), 0
    while True:
        net = Net(torch, job, width, seed, lr0)
        last, last_cpu = time.perf_counter(), time.process_time()
        limit = dict(job["limit"], seconds=job["limit"]["seconds"] - (last_cpu - cpu))
        run = descend(net, limit, job["rule"])
        if not (job["rule"] and run["end"] == "rose"):
            break
        lr0, halved = lr0 / 2, halved + 1
    now, now_cpu = time.perf_counter(), time.process_time()
    times = {"seconds": now - begin, "cpu": now_cpu - cpu, "last_seconds": now - last, "last_cpu": now_cpu - last_cpu}
    return {"width": width, "seed": seed, "lr0": lr0, "halved": halved, **run, **times}


def ladder(torch: Any, job: dict[str, Any]) -> dict[str, Any]:
    """All widths and seeds of one point, one after the other."""
    begin, cpu = time.perf_counter(), time.process_time()
    runs = [
        train(torch, job, width, seed, lr0) for width, lr0 in zip(job["widths"], job["lr0"], strict=True) for seed in job["seeds"]
    ]
    trained = all(run["end"] == "trained" for run in runs)
    rd = np.array([run["rd"] for run in runs]).reshape(len(job["widths"]), -1)
    found = slope(rd, tuple(job["widths"])) if trained else None
    return {"slope": found, "runs": runs, "seconds": time.perf_counter() - begin, "cpu": time.process_time() - cpu}


def image_start(width: int, size: int) -> tuple[np.ndarray, np.ndarray]:
    """Output weights (width,) and input weights (size, width) at LeCun's scales, that both contenders start from."""
    rng = np.random.default_rng(0)
    return rng.standard_normal(width) / width**0.5, rng.standard_normal((size, width)) / size**0.5


def image_steps(torch: Any, job: dict[str, Any]) -> dict[str, Any]:
    """Seconds per step: forward, backward, update. The file has x, (n, d) with the 1 of the bias, and y, (n,).

    Also the losses R = mean(e^2) / 2 before each of the steps.
    """
    real = getattr(torch, job["dtype"])
    with np.load(job["file"]) as data:
        x, y = torch.tensor(data["x"], dtype=real), torch.tensor(data["y"], dtype=real)
    a, W = (torch.tensor(v, dtype=real, requires_grad=True) for v in image_start(job["width"], x.shape[1]))
    losses: list[float] = []

    def step() -> None:
        e = torch.relu(x @ W) @ a - y
        loss = (e @ e) / (2 * len(y))
        losses.append(loss.item())
        gW, ga = torch.autograd.grad(loss, (W, a))
        with torch.no_grad():
            W.sub_(gW, alpha=job["lr"])
            a.sub_(ga, alpha=job["lr"])

    if job["warm"]:
        step()
    times = [clocked(step, job["steps"]) for _ in range(job["repeat"])]
    return {"seconds": [t[0] for t in times], "cpu": [t[1] for t in times], "losses": losses}


def clocked(step: Callable[[], None], count: int) -> tuple[float, float]:
    """Wall and CPU seconds per step."""
    begin, cpu = time.perf_counter(), time.process_time()
    for _ in range(count):
        step()
    return (time.perf_counter() - begin) / count, (time.process_time() - cpu) / count


def serve() -> None:
    """Answer requests until standard input ends."""
    torch = importlib.import_module("torch")
    torch.set_num_threads(1)
    torch.set_num_interop_threads(1)
    versions = {"torch": str(torch.__version__), "numpy": np.__version__, "python": platform.python_version()}
    print(json.dumps(versions | {"threads": torch.get_num_threads()}), flush=True)
    for line in sys.stdin:
        job = json.loads(line)
        answer = ladder(torch, job) if job["task"] == "slope" else image_steps(torch, job)
        print(json.dumps(answer), flush=True)


if __name__ == "__main__":
    serve()
