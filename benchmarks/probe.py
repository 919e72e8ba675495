"""What the PyTorch probe costs a training loop: CPU seconds of a loop with it and without, 50 steps in turns, on one CPU.

Loops on the digits that come with scikit-learn: the full batch, which is the probe batch too; and minibatches, with a probe
batch of 256. The probe is set up before the clock starts; "with setup" counts that in; "own" is what the probe says of itself.
Products and errors are those of the measurements after the first; "true error" compares each with a converged one, made outside
the clock: median, and the worst; "bound" is the median of those stated, and "covers" how many cover the true
error. Needs PyTorch: pip install 'trainphase[torch]'.
"""

from __future__ import annotations

import argparse
import json
import statistics
import time
from typing import Any

from _machine import machine, one_cpu

FLAGS = one_cpu()

import numpy as np  # noqa: E402

try:
    import torch  # pyright: ignore[reportMissingImports]
except ImportError:
    raise SystemExit("this benchmark needs PyTorch: run make bench BENCH=probe, or an interpreter that has it") from None
from sklearn.datasets import load_digits  # noqa: E402
from torch import nn  # noqa: E402  # pyright: ignore[reportMissingImports]

from trainphase.probe.torch import watch  # noqa: E402
from trainphase.spectrum import krylov  # noqa: E402

torch.set_num_threads(1)
EVERY = 50
# Samples in a step, whether they are all there are, the optimiser, and samples in the probe batch.
CASES = {
    "full batch of 256, SGD": (256, True, "sgd", 256),
    "the same, probe of 64": (256, True, "sgd", 64),
    "minibatches of 256, Adam": (256, False, "adam", 256),
    "minibatches of 768, SGD": (768, False, "sgd", 256),
}
X, Y = load_digits(return_X_y=True)
DIGITS = torch.tensor((X - X.mean()) / X.std(), dtype=torch.float32), torch.tensor(Y)


def network(optimiser: str) -> tuple[nn.Module, torch.optim.Optimizer]:
    """64-512-512-10, tanh: 300 000 parameters."""
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(64, 512), nn.Tanh(), nn.Linear(512, 512), nn.Tanh(), nn.Linear(512, 10))
    if optimiser == "adam":
        return model, torch.optim.Adam(model.parameters(), lr=1e-3)
    return model, torch.optim.SGD(model.parameters(), lr=0.1)


class Loop:
    """A training loop, with a probe or without, that advances for some steps at a time."""

    def __init__(self, case: str, budget: float | None, watched: bool) -> None:
        self.size, self.full, optimiser, probed = CASES[case]
        self.model, self.optimizer = network(optimiser)
        self.done = 0
        (x, y), loss_fn = DIGITS, nn.functional.cross_entropy
        watching = {"every": EVERY, "budget": budget}
        self.probe = watch(self.model, loss_fn, (x[:probed], y[:probed]), self.optimizer, **watching) if watched else None
        self.errors: list[tuple[float, float]] = []
        if self.probe is not None:
            self.probe.recorder.clock = time.process_time  # on a shared machine its own, wall time, counts others' work, too
        loss_fn(self.model(x[: self.size]), y[: self.size]).backward()
        self.optimizer.step()  # from here on Adam has its second moments
        if self.probe is not None:
            self.probe.start()

    def advance(self, steps: int, check: bool = False) -> float:
        """CPU seconds of so many steps; with ``check`` the true error of each measurement is found, outside the clock."""
        (x, y), loss_fn, probe = DIGITS, nn.functional.cross_entropy, self.probe
        if probe is not None:
            probe.recorder._resumed = time.process_time()
        apart, began = 0.0, time.process_time()
        for k in range(self.done, self.done + steps):
            rows = slice(0, self.size) if self.full else slice(k * self.size % 1536, k * self.size % 1536 + self.size)
            self.optimizer.zero_grad()
            loss = loss_fn(self.model(x[rows]), y[rows])
            loss.backward()
            self.optimizer.step()
            if probe is not None and probe.step(loss) and check:
                paused = time.process_time()
                self.errors.append(true_error(probe))
                took = time.process_time() - paused
                apart += took
                probe.recorder._resumed = (probe.recorder._resumed or paused) + took
        self.done += steps
        if probe is not None:
            probe.stop()
        return time.process_time() - began - apart

    def told(self) -> dict[str, Any]:
        """What the probe says of itself."""
        assert self.probe is not None
        cost, products = self.probe.recorder.cost, self.probe.recorder.rows["products"][1:] or [0.0]
        return {
            "measurements": cost.measurements, "products": statistics.mean(products), "setup_seconds": cost.setup,
            "own_overhead": cost.overhead,
        }  # fmt: skip


def pair(case: str, budget: float | None, steps: int) -> tuple[float, float, dict[str, Any]]:
    """CPU seconds without a probe and with one: two loops in turns, EVERY steps at a time, so that both meet the same machine."""
    plain, watched = Loop(case, budget, False), Loop(case, budget, True)
    spent = {plain: 0.0, watched: 0.0}
    for k in range(steps // EVERY):
        for which in ((plain, watched), (watched, plain))[k % 2]:
            spent[which] += which.advance(EVERY)
    return spent[plain], spent[watched], watched.told()


def true_error(probe: Any) -> tuple[float, float]:
    """Of the last measurement, against a search from its vectors and a random one, to 1e-5; and the bound it states.

    Both relative to the true value.
    """
    point = probe._look()
    extra = np.random.default_rng(0).standard_normal(point.gradient.size)
    start = np.stack([*probe.recorder._pairs.rows, extra])
    true = krylov.top(point.setting.product(point.product), extra.size, 1, 1e-5, start, 200).values[0]
    rows = probe.recorder.rows
    return abs(rows["sharpness"][-1] / true - 1), rows["error"][-1] / true


def main() -> None:
    """Print a table, or with --json one document."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--quick", action="store_true", help="fewer steps and turns")
    parser.add_argument("--steps", type=int, help="so many steps, one turn unless --turns says otherwise")
    parser.add_argument("--turns", type=int, help="so many turns")
    parser.add_argument("--budgeted", action="store_true", help="only with the budget")
    parser.add_argument("--json", action="store_true", help="one JSON document")
    chosen = parser.parse_args()
    steps, turns = (1000, 2) if chosen.quick else (2000, 5)
    if chosen.steps:
        steps, turns = chosen.steps, 1
    turns = chosen.turns or turns
    rows = []
    if not chosen.json:
        names = ("overhead", "least", "worst", "own", "with setup", "every", "products", "true error", "", "bound", "covers")
        widths = (9, 8, 8, 8, 10, 9, 8, 10, 8, 8, 7)
        print(f"{'loop':<25} {'budget':>6}", *(f"{name:>{width}}" for name, width in zip(names, widths, strict=True)))
    for case in CASES:
        for budget in (10.0,) if chosen.budgeted else (10.0, None):
            rows.append(row(case, budget, steps, turns))
            if not chosen.json:
                show(rows[-1])
    if chosen.json:
        print(json.dumps({"machine": machine(FLAGS) | {"torch": torch.__version__}, "every": EVERY, "rows": rows}))


def show(r: dict[str, Any]) -> None:
    """A line of the table."""
    budget = "none" if r["budget"] is None else f"{r['budget']:g} %"
    each = f"{r['steps'] / (r['measurements'] - 1):.0f} steps" if r["measurements"] > 1 else "-"
    percents = (("overhead", 7), ("least", 6), ("worst", 6), ("own_overhead", 6), ("with_setup", 8))
    shares = " ".join(f"{r[name]:>{width}.1f} %" for name, width in percents)
    errors = f"{r['median_error']:>8.1e} ({r['worst_error']:.1e}) {r['median_bound']:>8.1e} {r['covered']:>3} of {r['checked']}"
    print(f"{r['loop']:<25} {budget:>6} {shares} {each:>9} {r['products']:>8.1f} {errors}", flush=True)


def row(case: str, budget: float | None, steps: int, turns: int) -> dict[str, Any]:
    """Medians over the turns, in per cent of the loop without a probe."""
    pairs = [pair(case, budget, steps) for _ in range(turns)]
    ratios = [100 * (with_it / without - 1) for without, with_it, _ in pairs]
    setups = [100 * ((with_it + told["setup_seconds"]) / without - 1) for without, with_it, told in pairs]
    checked = Loop(case, budget, True)
    checked.advance(steps, check=True)
    told, (errors, bounds) = checked.told(), np.array(checked.errors or [(np.nan, np.nan)]).T
    told["own_overhead"] = statistics.median(p[2]["own_overhead"] for p in pairs)
    return told | {
        "loop": case, "budget": budget, "steps": steps,
        "overhead": statistics.median(ratios), "least": min(ratios), "worst": max(ratios),
        "with_setup": statistics.median(setups), "median_error": float(np.median(errors)), "worst_error": float(np.max(errors)),
        "median_bound": float(np.median(bounds)), "covered": int(np.sum(errors <= bounds + 1e-5)), "checked": len(errors),
    }  # fmt: skip


if __name__ == "__main__":
    main()
