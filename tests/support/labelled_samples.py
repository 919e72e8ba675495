"""The few labelled runs that the tests read from tests/data/labelled_runs.npz. Running this file trains and stores them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
from labelled_runs import Recipe, Run, deep_linear, digits, train, wide_net

PATH = Path(__file__).resolve().parents[1] / "data" / "labelled_runs.npz"


def _catapult(beyond: float) -> Run:
    """A wide linear net that starts beyond the edge by this factor."""
    task = wide_net(2)
    first = float(train(task, 1e-3, 100, every=5).sharpness[0])
    return train(task, beyond * 2 / first, 200, every=5)


RUNS: dict[str, Callable[[], Run]] = {
    "catapult, 20 steps": lambda: _catapult(1.15),
    "catapult, 10 steps": lambda: _catapult(1.3),
    # The flow would reach 1.8 times this run's edge.
    "edge": lambda: train(digits(0, scale=0.4), 1.11, 1000, every=5),
    # The flow's sharpness ends at 13.14.
    "flow": lambda: train(deep_linear(0, scale=0.4), 0.82 * 2 / 13.14, 400, every=5),
    # Beyond 2 / 20.78 no minimum is stable.
    "late": lambda: train(deep_linear(1, depth=4, scale=0.5), 1.5 * 2 / 20.78, 300, every=5),
    "sgd": lambda: train(digits(0, scale=0.4), 0.3, 600, Recipe(batch=8), every=5),
}


def main() -> None:
    """Train all and write them, in single precision."""
    arrays = {}
    for name, make in RUNS.items():
        run = make()
        with np.errstate(over="ignore"):
            arrays[f"{name}.loss"] = run.loss.astype(np.float32)
            arrays[f"{name}.sharpness"] = run.sharpness.astype(np.float32)
        arrays[f"{name}.lr"] = np.float64(run.lr)
    PATH.parent.mkdir(exist_ok=True)
    np.savez_compressed(PATH, **arrays)


if __name__ == "__main__":
    main()
