"""What the refinement of a lattice asks for, and how long it thinks: three planes in plain NumPy, no JAX, one thread.

| plane | measured |
|---|---|
| two smooth lines with a triple point | points and CPU seconds of sampling at 1/1024 of the side, against a dense grid and against ``adaptive``; the exponent of points against resolution |
| basins of Newton's method for z^3 - 1 | share of wrong points, the bound that the audit gives, the dimension of the boundary |
| periods of the cubic map x' = a x - x^3 + b | the same; here labels hide between the points |

``adaptive`` runs in an interpreter of its own, ``--adaptive-python``: see ``refine_adaptive.py``. Labels of the refined lattice are
compared with those of a dense one. A smooth plane that is wrong more than one lattice step from its lines ends the program
with exit code 1.
"""  # noqa: E501

from __future__ import annotations

from _machine import machine, one_cpu
from _other import Interpreter
from _results import place, print_requirements, within, write

# One CPU for this process and the one that it starts, before NumPy counts the CPUs it may use.
FLAGS = one_cpu()

import argparse  # noqa: E402
import sys  # noqa: E402
import time  # noqa: E402
from pathlib import Path  # noqa: E402
from typing import Any  # noqa: E402

import numpy as np  # noqa: E402
from refine_planes import PLANES  # noqa: E402

SIDE, ALL, LINES, WRONG, EXPONENT, DIMENSION = 1025, 0.012, 0.003, 0.01, 1.1, 1.42


def refined(plane: str, side: int, **chosen: Any) -> tuple[dict[str, Any], np.ndarray]:
    """Refine a plane on ``side`` points a side; what it cost and found, and the labels."""
    from trainphase.engine.sampling import Refine

    function, labels = PLANES[plane]
    eye = np.eye(labels, dtype=np.int64)
    begin, inside = time.process_time(), 0.0
    sampler = Refine((side, side), **chosen)
    while (points := sampler.ask()).size:
        start = time.process_time()
        counts = eye[function(*(points.T / (side - 1)))]
        inside += time.process_time() - start
        sampler.tell(points, counts)
    thought = time.process_time() - begin - inside
    found = sampler.result()
    audited = sum(row.asked for row in found.audit)
    about = {
        "plane": plane, "side": side, "points": found.evaluations, "of_last_audit": audited, "rounds": found.rounds,
        "sampling_seconds": thought, "result_seconds": time.process_time() - begin - inside - thought,
        "wrong_estimate": found.wrong and found.wrong[0], "wrong_bound": found.wrong and found.wrong[1],
        "dimension": found.dimension,
        "audit": [vars(row) for row in found.audit],
    }  # fmt: skip
    return about, found.labels


def dense(plane: str, side: int) -> np.ndarray:
    """Labels of every point."""
    x = np.linspace(0, 1, side)
    function = PLANES[plane][0]
    parts = [function(np.repeat(rows, side), np.tile(x, rows.size)) for rows in np.array_split(x, max(1, side // 32))]
    return np.concatenate(parts).reshape(side, side)


def astray(true: np.ndarray, found: np.ndarray) -> int:
    """Wrong points none of whose eight neighbours, nor they, truly have the label that was inferred."""
    from scipy.ndimage import maximum_filter

    lost = found != true
    for label in np.unique(found[lost]):
        lost &= ~((found == label) & maximum_filter((true == label).astype(np.uint8), size=3).astype(bool))
    return int(lost.sum())


def compared(plane: str, side: int, **chosen: Any) -> dict[str, Any]:
    """A refined plane beside the dense one."""
    about, labels = refined(plane, side, **chosen)
    true = dense(plane, side)
    missing = sorted(set(np.unique(true).tolist()) - set(np.unique(labels).tolist()))
    return about | {"wrong": float(np.mean(labels != true)), "astray": astray(true, labels), "missing": missing}


def exponent(quick: bool) -> tuple[float, list[dict[str, Any]]]:
    """Slope of the logarithm of points over that of the side, without the audit, and the runs."""
    sides = (257, 513, 1025) if quick else (257, 513, 1025, 2049, 4097)
    rows = [refined("three-phases", n, audit=0, smooth=16)[0] for n in sides]
    return float(np.polyfit(np.log([n - 1 for n in sides]), np.log([r["points"] for r in rows]), 1)[0]), rows


def peers(python: str, quick: bool) -> list[dict[str, Any]]:
    """``adaptive`` with a loss for labels, one point and sixteen at a time, and with its default loss."""
    other = Interpreter(python, "refine_adaptive.py")
    side = (SIDE - 1) // (4 if quick else 1)
    jobs = [("categorical", 16, 20_000, 600.0), ("categorical", 1, 20_000, 600.0), ("default", 16, 14_723, 200.0)]
    rows = []
    for loss, batch, points, seconds in jobs:
        job = {"loss": loss, "side": side, "batch": batch, "points": points, "seconds": seconds / (20 if quick else 1)}
        # In turns with ours. What does not get done in its time says no more when it is asked again.
        turns = 1 if loss == "default" else 3
        ours, theirs = zip(*((refined("three-phases", side + 1)[0], other.ask(**job)) for _ in range(turns)), strict=True)
        ratio = within([r["seconds"] for r in theirs], [r["sampling_seconds"] for r in ours])
        rows.append(job | theirs[-1] | other.about | {"ratio": ratio, "our_points": ours[-1]["points"]})
    return rows


def requirements(result: dict[str, Any]) -> list[dict[str, Any]]:
    """The demands, the value reached, and whether it is met."""

    def need(what: str, value: float, most: float) -> dict[str, Any]:
        return {"what": what, "value": value, "met": bool(value <= most)}

    smooth = result["smooth"]
    lines = (smooth["points"] - smooth["of_last_audit"]) / smooth["side"] ** 2
    needs = [
        need(f"smooth plane: points over dense, at most {ALL:g}", smooth["points"] / smooth["side"] ** 2, ALL),
        need(f"smooth plane: the same without the audit, at most {LINES:g}", lines, LINES),
        need("smooth plane: labels missed, none", len(smooth["missing"]), 0),
        need("smooth plane: seconds of sampling, at most 1", smooth["sampling_seconds"], 1.0),
        need(f"points against resolution: exponent, at most {EXPONENT:g}", result["exponent"], EXPONENT),
    ]
    for row in result["fractal"]:
        needs.append(need(f"{row['plane']}, {row['side']} points a side: share wrong, at most {WRONG:g}", row["wrong"], WRONG))
    for row in result["adaptive"]:
        least = smooth if row["side"] == smooth["side"] - 1 else result["quick"]
        name = f"adaptive, {row['loss']} loss, {row['batch']} at a time"
        needs.append(need(f"points over those of {name}, below 1", least["points"] / row["points"], 1.0))
    return needs


def report(result: dict[str, Any]) -> None:
    """Print the tables."""
    rows = [result["smooth"], *result["fractal"]]
    print(
        f"{'plane':14}{'side':>6}{'points':>9}{'dense':>10}{'rounds':>8}{'sampling':>10}{'wrong':>9}{'bound':>8}{'dimension':>16}"
    )
    for r in rows:
        value, error = r["dimension"]
        print(f"{r['plane']:14}{r['side']:6}{r['points']:9}{r['points'] / r['side'] ** 2:10.3%}{r['rounds']:8}"
              f"{r['sampling_seconds']:8.3g} s{r['wrong']:9.3%}{r['wrong_bound']:8.2%}{value:9.4f} +-{error:.4f}")  # fmt: skip
    for r in result["scaling"]:
        print(f"three phases, {r['side']:5} points a side: {r['points']:6} points, sampling {r['sampling_seconds']:.3g} s, "
              f"result {r['result_seconds']:.3g} s")  # fmt: skip
    print(f"points ~ side^{result['exponent']:.3f}")
    for r in result["adaptive"]:
        state = "resolved" if r["resolved"] else f"not done: {r['coarse']:.0%} of the triangles on a line are too coarse"
        print(f"adaptive {r['adaptive']}, {r['loss']} loss, {r['batch']} at a time, 1/{r['side']}: {r['points']} points, "
              f"{r['seconds']:.3g} s, {r['ratio']['median']:.3g} times ours, {state}")  # fmt: skip
    print_requirements(result["requirements"])


def parsed() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="small planes, under half a minute")
    parser.add_argument("--adaptive-python", metavar="INTERPRETER", help="a Python with adaptive, to compare with")
    parser.add_argument("--require", action="store_true", help="exit code 3 when a demand is not met")
    parser.add_argument("--plant-fault", action="store_true", help="compare with a shifted plane: must end with exit code 1")
    parser.add_argument("--out", type=Path, help="where the result goes")
    given = parser.parse_args()
    given.out = given.out or place("refine_points", given.quick)
    return given


def main() -> int:
    """Measure, check, report."""
    given = parsed()
    refined("three-phases", 65)  # imports are not sampling
    slope, scaling = exponent(given.quick)
    side = 257 if given.quick else 1025
    result: dict[str, Any] = {
        "benchmark": "refine_points", "clock": "CPU", "exponent": slope, "scaling": scaling,
        "smooth": compared("three-phases", SIDE), "quick": refined("three-phases", (SIDE - 1) // 4 + 1)[0],
        "fractal": [compared(plane, n) for plane in ("newton", "periods") for n in sorted({side, (side - 1) // 2 + 1})],
        "adaptive": peers(given.adaptive_python, given.quick) if given.adaptive_python else [],
        "machine": machine(FLAGS),
    }  # fmt: skip
    if given.plant_fault:
        _, labels = refined("three-phases", SIDE)
        result["smooth"]["astray"] = astray(np.roll(dense("three-phases", SIDE), 3, axis=1), labels)
    result["requirements"] = requirements(result)
    report(result)
    if result["smooth"]["astray"] or result["smooth"]["missing"]:
        print(f"DIFFER: {result['smooth']['astray']} points of the smooth plane are wrong more than a step from its lines, "
              f"labels missed: {result['smooth']['missing']}")  # fmt: skip
        return 1
    write(result, given.out)
    return 3 if given.require and not all(need["met"] for need in result["requirements"]) else 0


if __name__ == "__main__":
    sys.exit(main())
