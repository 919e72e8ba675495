"""The package ``adaptive`` on the three-phase plane, in an interpreter of its own: points and CPU seconds until it is resolved.

As a program it answers requests, one JSON object a line, from standard input: ``{"loss": ..., "side": ..., "points": ...,
"seconds": ..., "batch": ...}``. Needs adaptive and NumPy, nothing of trainphase.
"""

from __future__ import annotations

import importlib
import importlib.metadata
import json
import sys
import time
from typing import Any

import numpy as np
from refine_planes import three_phases

START = 16  # cells of the start level of the refinement it is compared with


def size(learner2d: Any, ip: Any) -> np.ndarray:
    """Side of the right-angled triangle with the same area as each, in units of the plane's side."""
    return np.sqrt(2 * learner2d.areas(ip))


def mixed(ip: Any) -> np.ndarray:
    """Triangles whose corners differ."""
    values = ip.values[ip.tri.simplices][..., 0]
    return values.max(1) != values.min(1)


def categorical(learner2d: Any, side: int) -> Any:
    """A loss that is at its goal of 1 when no triangle with several labels is larger than half a cell of ``side`` a side, and no
    other one larger than half a cell of the start level."""

    def loss(ip: Any) -> np.ndarray:
        return size(learner2d, ip) * np.where(mixed(ip), side, START)

    return loss


def learn(loss: str, side: int, points: int, seconds: float, batch: int) -> dict[str, Any]:
    """Ask and tell until the plane is resolved, or so many points or seconds were spent."""
    adaptive: Any = importlib.import_module("adaptive")
    learner2d: Any = importlib.import_module("adaptive.learner.learner2D")
    goal = categorical(learner2d, side)
    chosen = goal if loss == "categorical" else learner2d.default_loss
    # No numbers but labels are known: offset from 0, so that "same label" is no "same as nothing".
    learner = adaptive.Learner2D(None, bounds=[(0.0, 1.0), (0.0, 1.0)], loss_per_triangle=chosen)
    begin = time.process_time()
    done = False
    while not done and learner.npoints < points and time.process_time() - begin < seconds:
        asked, _ = learner.ask(batch)
        x, y = np.array(asked).T
        for point, label in zip(asked, three_phases(x, y), strict=True):
            learner.tell(point, float(label))
        done = learner.bounds_are_done and bool(goal(learner.interpolator(scaled=True)).max() <= 1)
    spent = time.process_time() - begin
    ip = learner.interpolator(scaled=True)
    coarse = float(np.mean(size(learner2d, ip)[mixed(ip)] * side > 1))
    return {"points": learner.npoints, "seconds": spent, "resolved": done, "coarse": coarse}


def main() -> None:
    """Serve requests until standard input ends."""
    print(json.dumps({"adaptive": importlib.metadata.version("adaptive"), "numpy": np.__version__}), flush=True)
    for line in sys.stdin:
        print(json.dumps(learn(**json.loads(line))), flush=True)


if __name__ == "__main__":
    main()
