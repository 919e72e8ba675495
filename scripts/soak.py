"""200 random kills of sweeps across executors, and what they found: ``make soak``, about ten minutes.

Usage: soak.py [KILLS [SEED]]
"""

from __future__ import annotations

import random
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "tests" / "support"))

import soak


def main(kills: int = 200, seed: int = 1) -> None:
    """Kill, kind by kind in random order, and say how often each kind hit a sweep under way."""
    dice, start = random.Random(seed), time.monotonic()
    shares = {"driver": 6, "driver asked": 3, "full disk": 3, "driver of a pool": 2, "worker of a pool": 2, "worker of dask": 3,
              "driver of dask": 1, "full disk of a worker": 1, "scheduler": 1}  # fmt: skip
    with tempfile.TemporaryDirectory() as folder:
        run = soak.Soak(Path(folder) / "soak", seed)
        while sum(run.counts.values()) < kills:
            kind = dice.choices(list(shares), list(shares.values()))[0]
            run.kill(kind)
            done = sum(run.counts.values())
            print(f"{time.monotonic() - start:6.0f} s  {done:3d} kills, {run.completed} stores complete  {kind}", flush=True)
        run.run([])
    print(f"{sum(run.counts.values())} kills, {run.completed} stores, each with the bytes of an undisturbed sweep;")
    print("no written tile was lost and none computed again")
    for kind, count in sorted(run.counts.items()):
        print(f"{count:4d}  {kind}")


if __name__ == "__main__":
    main(*(int(word) for word in sys.argv[1:]))
