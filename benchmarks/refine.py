#!/usr/bin/env python3
"""Refined diagrams against dense ones on the same lattice: points computed, seconds, labels missed, labels that are wrong.

    python benchmarks/refine.py            # three planes, lattices up to 2049 x 2049, about twenty minutes of one CPU
    python benchmarks/refine.py --quick    # small lattices, about a minute
    python benchmarks/refine.py --only quadratic-1d relu2

See benchmarks/README.md for what is measured and what is alike.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from _machine import machine, one_cpu
from _results import place, print_requirements, span, within, write

FLAGS = one_cpu()

import numpy as np  # noqa: E402
from scipy import ndimage  # noqa: E402

import trainphase as tp  # noqa: E402
from trainphase.axes import Axis  # noqa: E402
from trainphase.engine.sampling import Refine  # noqa: E402

# What is required at 1025 points a side.
SHARE, BOUNDARY_SHARE, SPEEDUP, EXPONENT, SIDE = 0.012, 0.003, 15.0, 1.1, 1025


@dataclass(frozen=True)
class Plane:
    """A plane of two parameters, its lattices, and how much of the dense one is computed.

    ``ends`` : (lo, hi, scale) by parameter. ``sizes`` : points a side, and ``side`` the one at which seconds are compared, in
    ``rounds`` turns. ``sample`` : so many random rows and columns of the dense lattice are computed, None for all of it.
    ``whole`` : side of a lattice whose dense labels are all compared.
    """

    system: str
    fixed: dict[str, Any]
    ends: dict[str, tuple[float, float, str]]
    sizes: tuple[int, ...]
    side: int
    whole: int
    sample: int | None = None
    rounds: int = 3
    options: dict[str, Any] = field(default_factory=dict)

    def axes(self, n: int) -> dict[str, Axis]:
        """The axes of a lattice of n points a side."""
        return {name: (tp.logspace if scale == "log" else tp.linspace)(lo, hi, n) for name, (lo, hi, scale) in self.ends.items()}

    def diagram(self, axes: dict[str, Axis], refine: bool) -> Timed:
        """A diagram and the seconds that it took."""
        params: dict[str, Any] = {**self.fixed, **self.options, **axes}
        cpu, wall = time.process_time(), time.perf_counter()
        found = tp.diagram(self.system, refine=refine, **params)
        return Timed(found, time.process_time() - cpu, time.perf_counter() - wall)


@dataclass(frozen=True)
class Timed:
    """A diagram with its CPU and wall seconds."""

    found: Any
    cpu: float
    wall: float

    @property
    def labels(self) -> np.ndarray:
        """Codes over the axes."""
        return self.found.dataset["phase"].values


def planes(quick: bool) -> dict[str, Plane]:
    """The planes of the issue, at their size or at one of a minute."""
    one = Plane(
        "quadratic-1d", {"eps": 0.03}, {"z": (-0.6012, 0.5987, "linear"), "T": (0.0013, 2.5, "linear")},
        (129, 257) if quick else (257, 513, 1025, 2049), 257 if quick else SIDE, 257 if quick else SIDE,
    )  # fmt: skip
    # As far as the first cycles: beyond the period doublings are windows of every size (docs/refinement.md).
    many = Plane(
        "phase-retrieval", {"data": "digits-orthogonal", "start": "leading", "n": 16},
        {"lr": (0.0203, 0.05, "log"), "scale": (0.503, 2.0, "log")},
        (33, 65) if quick else (257, 513, 1025, 2049), 65 if quick else SIDE, 17 if quick else 129, 16 if quick else 48,
        options={"steps": 512 if quick else 1024},
    )  # fmt: skip
    nets = Plane(
        "relu2", {"width": "100,1000", "seed": "0"},
        {"gamma": (0.6013, 1.4, "linear"), "gamma_prime": (-0.3987, 0.4, "linear")},
        (17, 33) if quick else (129, 257, 513, SIDE), 33 if quick else SIDE, 9 if quick else 33, 6 if quick else 16, rounds=1,
    )  # fmt: skip
    return {"quadratic-1d": one, "phase-retrieval": many, "relu2": nets}


def boundary_points(refined: Timed) -> int:
    """Points that the refinement asks for without an audit: its questions once more, answered from what is known."""
    known = refined.found.dataset["known"].values
    labels = refined.labels
    missing = int(labels[labels < 250].max()) + 1
    codes = np.where(labels == 255, missing, labels)
    sampler = Refine(labels.shape, audit=0)
    while len(points := sampler.ask()):
        at = tuple(points.T)
        if not known[at].all():
            raise AssertionError("without its audit the refinement asks for points that it does not ask for with it")
        sampler.tell(points, codes[at][:, None] == np.arange(missing + 1))
    return sampler.evaluations


def compared(dense: np.ndarray, refined: np.ndarray) -> dict[str, Any]:
    """Labels of a dense lattice that the refined one lacks, and the share and the distance of labels that differ.

    The distance of a point is that to the nearest one where the dense lattice has the label it was given, or that to the
    nearest one that was given its true label, whichever is larger: a missed island counts with its distance from the next.
    """
    wrong, far = dense != refined, np.zeros(dense.shape)
    for label in np.union1d(dense[wrong], refined[wrong]):
        for mine, other in ((dense, refined), (refined, dense)):
            here = wrong & (other == label)
            if not here.any():
                continue
            away = ndimage.distance_transform_edt(mine != label) if (mine == label).any() else np.full(mine.shape, np.inf)
            far[here] = np.maximum(far[here], np.asarray(away)[here])
    return {
        "side": len(dense), "missed": sorted({*map(int, np.unique(dense))} - {*map(int, np.unique(refined))}),
        "wrong": int(wrong.sum()), "share": float(wrong.mean()),
        "farthest_cells": float(far.max()), "beyond_a_cell": int((far > 1.5).sum()),
    }  # fmt: skip


def sampled(plane: Plane, n: int, rng: np.random.Generator) -> tuple[dict[str, Axis], tuple[np.ndarray, ...]]:
    """The axes of the dense diagram, and which lattice points they are."""
    axes = plane.axes(n)
    if plane.sample is None:
        return axes, tuple(np.arange(n) for _ in axes)
    places = tuple(np.sort(rng.choice(n, plane.sample, replace=False)) for _ in axes)
    return {name: tp.values(a.values[at].tolist()) for (name, a), at in zip(axes.items(), places, strict=True)}, places


def race(plane: Plane, rounds: int) -> dict[str, Any]:
    """Seconds of refined and dense in turns, and the labels where both are known."""
    n, rng = plane.side, np.random.default_rng(0)
    axes, places = sampled(plane, n, rng)
    refined, dense = [], []
    for _ in range(min(rounds, plane.rounds)):
        refined.append(plane.diagram(plane.axes(n), True))
        dense.append(plane.diagram(axes, False))
        print(f"  {refined[-1].cpu:.2f} s refined, {dense[-1].cpu:.2f} s dense", file=sys.stderr, flush=True)
    part, whole = dense[-1].labels.size, n**2
    there = refined[-1].labels[np.ix_(*places)]
    seconds = [d.cpu * whole / part for d in dense]
    known = refined[-1].found.refinement
    return {
        "side": n, "points": known["points"], "share": known["points"] / whole, "rounds": known["rounds"],
        "boundary_points": (edge := boundary_points(refined[-1])), "boundary_share": edge / whole,
        "refined_seconds": span([r.cpu for r in refined]), "dense_seconds": span(seconds),
        "dense_points": part, "ratio": within(seconds, [r.cpu for r in refined]),
        "audit": known["audit"], "wrong_at_most": known["wrong_at_most"], "dimension": known["dimension"],
        "sample_wrong": float((there != dense[-1].labels).mean()),
        "sample_missed": sorted({*map(int, np.unique(dense[-1].labels))} - {*map(int, np.unique(refined[-1].labels))}),
        "compared": compared(dense[-1].labels, refined[-1].labels) if part == whole else None,
    }  # fmt: skip


def growth(plane: Plane, done: dict[str, Any]) -> dict[str, Any]:
    """Points and seconds by the lattice, and the exponents of their growth with the points a side."""
    seconds = done["refined_seconds"]["median"]
    rows = [{"side": plane.side, "points": done["points"], "boundary_points": done["boundary_points"], "cpu": seconds}]
    for n in plane.sizes:
        if n == plane.side:
            continue
        got = plane.diagram(plane.axes(n), True)
        points = got.found.refinement["points"]
        rows.append({"side": n, "points": points, "boundary_points": boundary_points(got), "cpu": got.cpu})
        print(f"  {n}: {rows[-1]['points']} points, {got.cpu:.2f} s", file=sys.stderr, flush=True)
    rows.sort(key=lambda row: row["side"])
    steps = np.log2([r["side"] - 1 for r in rows])

    def slope(key: str) -> float:
        return float(np.polyfit(steps, np.log2([r[key] for r in rows]), 1)[0])

    def last(key: str) -> float:
        return float(np.log2(rows[-1][key] / rows[-2][key]) / (steps[-1] - steps[-2]))

    kinds = ("points", "boundary_points", "cpu")
    return {"rows": rows, "exponents": {k: slope(k) for k in kinds}, "last": {k: last(k) for k in kinds}}


def measure(plane: Plane, rounds: int) -> dict[str, Any]:
    """Everything of one plane. The first calls, at small sizes, compile everything; the seconds after that are without."""
    small = plane.axes(plane.sizes[0])
    first = [plane.diagram(small, True).cpu for _ in range(2)]
    # A tile of full size, so that nothing is left to compile.
    plane.diagram({name: tp.linspace(a.lo, a.hi, 32) for name, a in plane.axes(plane.side).items()} if plane.sample is None
                  else sampled(plane, plane.side, np.random.default_rng(1))[0], False)  # fmt: skip
    got = race(plane, rounds)
    if got["compared"] is None:
        axes = plane.axes(plane.whole)
        got["compared"] = compared(plane.diagram(axes, False).labels, plane.diagram(axes, True).labels)
    return got | {"first": {"cold": first[0], "warm": first[1], "side": plane.sizes[0]}, "growth": growth(plane, got)}


def requirements(name: str, got: dict[str, Any]) -> list[dict[str, Any]]:
    """What is required, at the lattices that it is required of."""
    bounds = [
        ("points over the lattice", got["share"], SHARE), ("points without the audit", got["boundary_share"], BOUNDARY_SHARE),
        ("exponent of the points", got["growth"]["exponents"]["points"], EXPONENT),
        ("exponent of the points, last step", got["growth"]["last"]["points"], EXPONENT),
    ]  # fmt: skip
    missed = len(got["compared"]["missed"]) + len(got["sample_missed"])
    needs = [{"what": f"{name}: {what}, at most {most:g}", "value": v, "met": v <= most} for what, v, most in bounds]
    needs.append({"what": f"{name}: labels missed", "value": missed, "met": missed == 0})
    ratio = got["ratio"]["median"]
    return [
        *needs,
        {"what": f"{name}: dense over refined seconds, at least {SPEEDUP:g}", "value": ratio, "met": ratio >= SPEEDUP},
    ]


def report(name: str, got: dict[str, Any]) -> None:
    """The result of a plane as text."""
    c, r, first, side = got["compared"], got["ratio"], got["first"], got["side"]
    print(
        f"\n{name}, {side} x {side}: {got['points']} points ({100 * got['share']:.3g} %), "
        f"{got['boundary_points']} without the audit ({100 * got['boundary_share']:.3g} %), in {got['rounds']} rounds"
    )
    by_rate = "" if got["dense_points"] == side**2 else f" (by the rate of {got['dense_points']} of its points)"
    print(
        f"  refined {got['refined_seconds']['median']:.3g} s, dense {got['dense_seconds']['median']:.3g} s of CPU{by_rate}: "
        f"ratio {r['median']:.3g} ({r['min']:.3g} to {r['max']:.3g})"
    )
    print(
        f"  the first refined diagram, with imports and compilation, {first['side']} x {first['side']}: {first['cold']:.3g} s; "
        f"again: {first['warm']:.3g} s"
    )
    print(
        f"  against all of the dense lattice, {c['side']} x {c['side']}: labels missed {c['missed']}, wrong {c['wrong']} "
        f"({100 * c['share']:.2g} %), {c['beyond_a_cell']} of them more than a cell away, at most {c['farthest_cells']:.3g}; "
        f"in the sample {100 * got['sample_wrong']:.2g} %"
    )
    for row in got["growth"]["rows"]:
        print(f"  {row['side']:5d}: {row['points']:6d} points, {row['boundary_points']:6d} without the audit, {row['cpu']:.3g} s")
    last = got["growth"]["last"]
    print(
        "  exponents: "
        + ", ".join(f"{k.replace('_', ' ')} {v:.2f} (last step {last[k]:.2f})" for k, v in got["growth"]["exponents"].items())
    )


def parsed(names: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="small lattices, a minute")
    parser.add_argument("--only", nargs="+", choices=names, default=list(names), help="some of the planes")
    parser.add_argument("--rounds", type=int, help="rounds in which refined and dense take turns [3; --quick: 1]")
    parser.add_argument("--require", action="store_true", help="exit code 3 when a required value is not reached")
    parser.add_argument("--out", type=Path, help="where to write the result [benchmarks/results/refine.json]")
    given = parser.parse_args()
    given.rounds = given.rounds or (1 if given.quick else 3)
    given.out = given.out or place("refine", given.quick)
    if given.rounds < 1:
        parser.error("fewer than one round compares nothing; give more")
    return given


def main() -> int:
    """Measure, report."""
    given = parsed(list(planes(False)))
    results, needs = {}, []
    for name in given.only:
        results[name] = measure(planes(given.quick)[name], given.rounds)
        report(name, results[name])
        needs += requirements(name, results[name])
    if not given.quick:
        print_requirements(needs)
    write({"benchmark": "refine", "machine": machine(FLAGS), "results": results, "requirements": needs}, given.out)
    return 3 if given.require and not all(need["met"] for need in needs) else 0


if __name__ == "__main__":
    sys.exit(main())
