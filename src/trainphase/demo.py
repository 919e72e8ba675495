"""The demonstration: five phases of gradient descent on real digit images, beside the exact theory.

Two planes step size x target scale of generalised phase retrieval on 8x8 digits: the images made orthogonal, where the
reduction to the cubic map is exact, and the images as they are, where it is not. Then one run in the middle of each
phase, from random initialisations, with and without averaging predictions over the trajectory.
"""

from __future__ import annotations

import json
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from trainphase import overlay, verbs
from trainphase.axes import logspace
from trainphase.diagrams import Diagram, compute
from trainphase.engine.sweep import Progress
from trainphase.errors import RequestError
from trainphase.explorer import notebook
from trainphase.figures import demo as picture
from trainphase.phase import TRAINING
from trainphase.records import Recipe
from trainphase.system import Map
from trainphase.systems import phase_retrieval, quadratic_net
from trainphase.theory import cubic
from trainphase.trajectory import plain

GRID = 48
STEPS = 2048
STARTS = 2
SAMPLES = 16
COMMON: dict[str, Any] = {"n": SAMPLES, "c": 2.0, "seed": 1, "start": "leading"}
PLANES: dict[str, dict[str, Any]] = {
    "orthogonalised": {"data": "digits-orthogonal", "reach": 1.0},
    "raw": {"data": "digits", "reach": 0.5},
}
# Runs of the quadratic net in each phase, by the largest cubic parameter a of its samples. Wide, so that the samples
# differ little in a; started a little too large, so that their residuals start where a catapult throws them up.
CHOSEN = {"monotonic": 0.5, "catapult": 0.97, "periodic": 1.18, "chaotic": 1.6, "divergent": 2.3}
NET = {"data": "digits-orthogonal", "n": 24, "m": 400, "init_scale": 1.25, "noise": 0.2}
SEEDS = 3
RUN_STEPS = 1024


@dataclass(frozen=True, eq=False)
class Demo:
    """The two diagrams, how their boundaries compare with the theory, and the runs."""

    diagrams: dict[str, Diagram]
    comparison: dict[str, list[dict[str, Any]]]
    runs: list[dict[str, Any]]
    files: tuple[str, ...]
    seconds: float

    def to_json(self) -> dict[str, Any]:
        """One JSON document with everything the table shows."""
        return plain({
            "planes": {
                name: {"phases": d.phases, "unstable": d.unstable, "boundaries": self.comparison[name]}
                for name, d in self.diagrams.items()
            },
            "runs": [{k: v for k, v in row.items() if k != "loss"} for row in self.runs],
            "files": list(self.files), "seconds": self.seconds,
        })  # fmt: skip

    def table(self) -> str:
        """The comparison and the runs as text."""
        out = ["Boundaries of the phases over the plane step size x target scale (theory: the exact cubic map)"]
        head = f"{'measured/theory':>17}{'worst, cells':>14}{'against orthogonal formula':>28}"
        out.append(f"  {'images':<16}{'boundary':<22}{'rows':>5}{head}")
        for name, rows in self.comparison.items():
            for row in rows:
                ratio = f"{row['ratio']:.3f}" if row["rows"] else "-"
                worst = f"{row['worst_cells']:.1f}" if row["rows"] else "-"
                naive = f"{row['ratio_orthogonal']:.3f}" if row["rows"] else "-"
                out.append(f"  {name:<16}{row['boundary']:<22}{row['rows']:>5}{ratio:>17}{worst:>14}{naive:>28}")
        for name, d in self.diagrams.items():
            shares = ", ".join(f"{k} {v:.0%}" for k, v in d.phases.items())
            out.append(f"  {name}: {shares}; labels that change when the horizon doubles: {d.unstable:.1%}")
        out.append("")
        out.append(f"Quadratic net ({NET['m']} units) on {NET['n']} orthogonalised digits, noisy targets, {SEEDS} seeds each")
        out.append(f"  {'theory':<12}{'a':>5}  {'measured':<30}{'test loss':>11}{'averaged':>11}{'averaged/last':>15}")
        for row in self.runs:
            seen = ", ".join(f"{n} {k}" for k, n in row["measured"].items())
            last, mean = row["test_loss"], row["averaged_test_loss"]
            numbers = f"{last:>11.3g}{mean:>11.3g}{mean / last:>15.2f}" if np.isfinite(last) else f"{'diverged':>22}"
            out.append(f"  {row['phase']:<12}{row['a']:>5.2f}  {seen:<30}{numbers}")
        out.append("")
        out.append("  test loss: (1/2n) sum of squares against the noiseless teacher on 256 other digits, median over seeds;")
        out.append("  averaged: predictions averaged over the second half of the run")
        out += [f"wrote {f}" for f in self.files]
        out.append(f"done in {self.seconds:.0f} s")
        return "\n".join(out)


class _Joined:
    """One progress bar over several sweeps."""

    def __init__(self, inner: Progress | None, total: int) -> None:
        self.inner, self.total = inner, total
        if inner is not None:
            inner.start(total, 0)

    def start(self, total: int, done: int) -> None:
        self.advance(done)

    def advance(self, k: int) -> None:
        if self.inner is not None and k:
            self.inner.advance(k)

    def close(self) -> None: ...


def plane(name: str, progress: Progress | None = None, grid: int = GRID, steps: int = STEPS) -> Diagram:
    """The diagram step size x target scale of one of ``PLANES``."""
    params = {**COMMON, **PLANES[name]}
    system = phase_retrieval(**params)
    edge = 2.0 / system.top_eigenvalue(1.0)
    axes = (
        logspace(edge / 3, edge * 3, grid).named("lr", "step size"),
        logspace(0.5, 2.0, grid).named("scale", "target units"),
    )
    recipe = Recipe(phase_retrieval, params, steps, STARTS)
    return compute(
        f"phase retrieval on {name} digits", recipe, axes, overlay.lines(system, axes),
        verbs.provenance(system, "float64"), progress=progress,
    )  # fmt: skip


def compare(diagram: Diagram, system: Map) -> list[dict[str, Any]]:
    """Each boundary against the theory, row by row of the target scale.

    The measured boundary of a row lies between the last point before a phase is reached and the first that has reached
    it (or a later one). ``worst_cells`` is the largest distance of the theory's step size from that interval, in cells
    of the grid; ``ratio`` the median of measured over theoretical step size. The theory of raw images takes the kernel
    at the solution (effective a); ``ratio_orthogonal`` compares with the formula for orthogonal inputs instead, and so
    tells the whole shift.
    """
    lr, scale = diagram.axes
    order = np.where(diagram.codes == TRAINING.undecided, -1, diagram.codes.astype(int))
    grid = np.log(lr.values)
    out = []
    for code, label in enumerate(TRAINING.labels[1:-1], start=1):
        line = next((t for t in diagram.theory if t["between"][1] == label), None)
        rows = [_row(order[:, j], code, grid, line, scale.values[j]) for j in range(len(scale.values))]
        rows = [r for r in rows if r is not None]
        ratios, cells = np.array([r[0] for r in rows]), np.array([r[1] for r in rows])
        level = cubic.PHASE_BOUNDARIES[code - 1].a
        naive = [r[2] / overlay.orthogonal_step_size(system, level, r[3]) for r in rows]
        name = f"{TRAINING.labels[code - 1]}/{label}"
        out.append({
            "boundary": name, "rows": len(rows),
            "ratio": float(np.median(ratios)) if rows else None, "worst_cells": float(cells.max()) if rows else None,
            "ratio_orthogonal": float(np.median(naive)) if rows else None,
        })  # fmt: skip
    return out


def _row(codes: np.ndarray, code: int, grid: np.ndarray, line: Any, scale: float) -> tuple[float, ...] | None:
    """For one row: measured over theory, distance in cells, the measured step size, the scale.

    None when the row does not show the boundary or the theory has none there.
    """
    reached = np.flatnonzero(codes >= code)
    if line is None or reached.size == 0 or reached[0] == 0:
        return None
    before = np.flatnonzero((codes[: reached[0]] >= 0) & (codes[: reached[0]] < code))
    points = np.asarray(line["points"])
    if before.size == 0 or not points[:, 1].min() <= scale <= points[:, 1].max():
        return None
    theory = np.interp(np.log(scale), np.log(points[:, 1]), np.log(points[:, 0]))
    lo, hi, cell = grid[before[-1]], grid[reached[0]], grid[1] - grid[0]
    away = max(lo - theory, theory - hi, 0.0) / cell
    return float(np.exp(0.5 * (lo + hi) - theory)), float(away), float(np.exp(0.5 * (lo + hi))), float(scale)


def representative(seeds: Sequence[int] = range(SEEDS), steps: int = RUN_STEPS, tick: Any = None) -> list[dict[str, Any]]:
    """Runs in the middle of each phase: measured phases, test losses (median over seeds), and one loss curve."""
    out = []
    for phase, a in CHOSEN.items():
        measured: dict[str, int] = {}
        tests, averages, curve = [], [], None
        for seed in seeds:
            params: dict[str, Any] = {**NET, "a": a, "seed": seed}
            run = verbs.run("quadratic-net", quadratic_net(**params), params, steps=steps, starts=1, dtype="float64")
            measured[run.phase] = measured.get(run.phase, 0) + 1
            tests.append(run.summary["test_loss"])
            averages.append(run.summary["averaged_test_loss"])
            curve = run.observables["loss"] if curve is None else curve
            if tick is not None:
                tick()
        out.append({
            "phase": phase, "a": a, "measured": measured, "test_loss": float(np.median(tests)),
            "averaged_test_loss": float(np.median(averages)), "loss": curve,
        })  # fmt: skip
    return out


def run_demo(out: Path, progress: Progress | None = None, grid: int = GRID) -> Demo:
    """Compute everything; write ``trainphase-demo.png``, ``.html`` (the planes, to move in) and ``.json`` into ``out``."""
    begun = time.perf_counter()
    try:
        out.mkdir(parents=True, exist_ok=True)
    except OSError as why:
        raise RequestError(f"the folder {out} cannot be made ({why.strerror or why}); give another --out") from why
    tiles = len(PLANES) * (-(-grid // 32)) ** 2
    bar = _Joined(progress, tiles + SEEDS * len(CHOSEN))
    diagrams = {name: plane(name, bar, grid) for name in PLANES}
    comparison = {name: compare(d, phase_retrieval(**{**COMMON, **PLANES[name]})) for name, d in diagrams.items()}
    runs = representative(tick=lambda: bar.advance(1))
    image, page, document = (out / f"trainphase-demo.{ending}" for ending in ("png", "html", "json"))
    picture.write({n: (d.dataset, d.theory) for n, d in diagrams.items()}, runs, image)
    notebook.explore(list(diagrams.values()), "Five phases of gradient descent on digits").save(page)
    if progress is not None:
        progress.close()
    files = (str(image), str(page), str(document))
    demo = Demo(diagrams, comparison, runs, files, time.perf_counter() - begun)
    document.write_text(json.dumps(demo.to_json(), indent=2) + "\n")
    return demo


