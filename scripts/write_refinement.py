"""Where refinement cannot see, in numbers: periods of the cubic map with an offset, and basins of Newton's method.

Usage: python scripts/write_refinement.py           about two minutes: writes docs/results/refinement.json and
                                                    docs/images/refinement.png, and fills the tables of docs/refinement.md
       python scripts/write_refinement.py --check   exit code 1 when the page's tables are not those of the data file

Plain NumPy with the sampler alone (``trainphase.engine.sampling``): what a labelled plane of your own takes.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable
from typing import Any

import numpy as np
import pages

from trainphase.engine.sampling import Refine, Refined
from trainphase.figures import refinement, style

PAGE, DATA = pages.ROOT / "docs" / "refinement.md", pages.ROOT / "docs" / "results" / "refinement.json"
PICTURE = pages.ROOT / "docs" / "images" / "refinement.png"
PERIODS = (1, 2, 3, 4, 5, 6, 8, 10, 12)
NAMES = (*(f"period {p}" for p in PERIODS), "other", "escapes")
SIDE, AUDIT_SEEDS = 1025, 10
Label = Callable[[np.ndarray, np.ndarray], np.ndarray]


def periods(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Index of the period of x' = a x - x^3 + b, from its upper critical point; then none of them, then escape."""
    x = np.sqrt(a / 3)
    with np.errstate(all="ignore"):
        for _ in range(2000):
            x = x * (a - x * x) + b
        start, found = x.copy(), np.full(a.shape, len(PERIODS))
        for step in range(1, max(PERIODS) + 1):
            x = x * (a - x * x) + b
            if step in PERIODS:
                found[(np.abs(x - start) < 1e-7) & (found == len(PERIODS))] = PERIODS.index(step)
    found[~np.isfinite(x)] = len(PERIODS) + 1
    return found


def newton(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Which root of z^3 = 1 Newton's method ends at from z = x + iy."""
    z = x + 1j * y
    with np.errstate(all="ignore"):
        for _ in range(50):
            z = z - (z**3 - 1) / (3 * z**2)
    return np.argmin(np.abs(z[:, None] - np.exp(2j * np.pi * np.arange(3) / 3)), axis=1)


# Ends that no special point of the map lies on.
PLANES: dict[str, tuple[Label, tuple[float, float], tuple[float, float]]] = {
    "periods": (periods, (1.5013, 2.9), (0.0007, 1.2)),
    "newton": (newton, (-1.5013, 1.4987), (-1.5007, 1.4993)),
}


def axes(name: str, n: int) -> list[np.ndarray]:
    """The values along both axes."""
    return [np.linspace(*ends, n) for ends in PLANES[name][1:]]


def dense(name: str, n: int) -> np.ndarray:
    """Labels of the whole lattice, (n, n), row by row."""
    x, y = axes(name, n)
    return np.stack([PLANES[name][0](np.full(n, v), y) for v in x]).astype(np.uint8)


def refined(labels: np.ndarray, seed: int = 0) -> Refined:
    """The lattice refined, with answers from its dense labels."""
    sampler = Refine(labels.shape, seed=seed)
    kinds = np.arange(int(labels.max()) + 1)
    while len(points := sampler.ask()):
        sampler.tell(points, labels[tuple(points.T)][:, None] == kinds)
    return sampler.result()


def rows(truth: np.ndarray, got: Refined) -> list[dict[str, Any]]:
    """The audit with the true share of wrong labels beside it: among the points that were inferred before it."""

    def share(row: Any) -> float:
        left = (truth != row.label) & ~got.known & (got.labels == row.label)
        return (row.misses + int(np.count_nonzero(left))) / row.inferred

    return [
        {"label": r.label, "inferred": r.inferred, "asked": r.asked, "misses": r.misses, "rate": r.rate,
         "low": r.low, "high": r.high, "true": share(r)}
        for r in got.audit
    ]  # fmt: skip


def gather() -> dict[str, Any]:
    """All numbers of the page; draws the picture."""
    out: dict[str, Any] = {}
    for name in PLANES:
        truth = dense(name, SIDE)
        got = refined(truth)
        wrong = got.labels != truth
        inside = [row["low"] <= row["true"] <= row["high"]
                  for seed in range(AUDIT_SEEDS) for row in rows(truth, got if seed == 0 else refined(truth, seed))]  # fmt: skip
        assert got.dimension is not None and got.wrong is not None
        out[name] = {
            "side": SIDE, "points": got.evaluations, "share": got.evaluations / truth.size, "rounds": got.rounds,
            "audits": got.audits, "missed": sorted({*map(int, np.unique(truth))} - {*map(int, np.unique(got.labels))}),
            "wrong": float(wrong.mean()), "estimate": got.wrong[0], "at_most": got.wrong[1],
            "dimension": got.dimension, "audit": rows(truth, got), "inside": [sum(inside), len(inside)],
        }  # fmt: skip
        if name == "periods":
            ends = [("a", *PLANES[name][1]), ("b", *PLANES[name][2])]
            style.save(refinement.page(truth, wrong, ends, NAMES, out[name]["audit"]), PICTURE)
    return out


def percent(share: float) -> str:
    """A share in per cent, two digits."""
    return f"{100 * share:.2g} %"


def blocks(data: dict[str, Any]) -> dict[str, str]:
    """The text of each block."""
    names = {"periods": "periods of the cubic map", "newton": "basins of Newton's method"}
    planes = [
        [names[k], f"{v['points']} ({percent(v['share'])})", ", ".join(NAMES[c] for c in v["missed"]) or "none",
         percent(v["wrong"]), percent(v["at_most"]),
         f"{v['inside'][0]} of {v['inside'][1]}", "{:.3f} ± {:.3f}".format(*v["dimension"])]
        for k, v in data.items()
    ]  # fmt: skip
    head = ["plane", "points computed", "labels missed", "labels wrong", "audit: at most", "intervals that hold", "dimension"]
    audit = [
        [NAMES[r["label"]], r["inferred"], f"{r['misses']} of {r['asked']}", f"{percent(r['low'])} to {percent(r['high'])}",
         percent(r["true"])]
        for r in data["periods"]["audit"]
    ]  # fmt: skip
    tables = {"planes": pages.table(head, planes)}
    return tables | {"audit": pages.table(["inferred label", "points", "wrong", "95 % interval", "truth"], audit)}


def main() -> None:
    """Compute, write, fill; or check."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--check", action="store_true")
    args = parser.parse_args()
    if not args.check:
        DATA.parent.mkdir(exist_ok=True)
        DATA.write_text(json.dumps(gather(), indent=1) + "\n", encoding="utf-8")
    pages.fill(PAGE, DATA, blocks, args.check)


if __name__ == "__main__":
    main()
