"""What the page's kernels of the training vocabulary are compared with; a program, so that XLA starts with flags of its own.

``python tests/support/page_training.py golden`` writes the labels and steps of ``PLANES`` to ``tests/data`` again; a slow
test tells whether they are still what Python computes.
"""

from __future__ import annotations

import json
import sys
import tempfile
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np
import page

from trainphase.theory import cubic

# Compiling takes most of the time for few points; without optimisation it takes less, and no operation changes.
QUICK = (*page.PLAIN, "--xla_backend_optimization_level=0")
FIELDS = (
    "phase", "margin", "rule", "loss", "lyapunov", "lyapunov_se", "period", "multiplier", "increases", "max_ratio", "curvature",
)  # fmt: skip
STARTS = 4
# Points computed at a time, as in a tile of a diagram; for few points a smaller number saves compiling large programs.
BATCH, SMALL = 2048, 512
GOLDEN = Path(__file__).resolve().parent.parent / "data" / "page_training.npz"

Plane = dict[str, Any]


def axis(name: str, lo: float, hi: float, n: int) -> tuple[str, list[float]]:
    """``n`` values of a parameter from ``lo`` to ``hi``."""
    return name, np.linspace(lo, hi, n).tolist()


def plane(system: str, steps: int, x: Any, y: Any = None, /, **params: float) -> Plane:
    """Points over one axis or two, with the other parameters and the horizon."""
    return {"system": system, "params": params, "x": x, "y": y, "steps": steps}


ONSET = cubic.A_ACCUMULATION
# Both sides of everything that happens to the map, from afar to next to it.
BESIDE = "a", sorted(b.a + side * 10.0**-k for b in cubic.BOUNDARIES for k in range(3, 13) for side in (-1, 1))
CLOSE = (4.12 - 1e-9, 4.12 + 1e-9)
PLANES = {
    "cubic from a start": plane("cubic", 2048, axis("a", 0, 2.2, 64), axis("z0", -2.5, 2.5, 16)),
    "cubic, onset of chaos": plane("cubic", 8192, axis("a", ONSET - 1e-4, ONSET + 1e-4, 64), axis("z0", 0.1, 0.4, 16)),
    "cubic over starts": plane("cubic", 2048, axis("a", 0, 2.2, 2048)),
    "cubic from a start, boundaries": plane("cubic", 4096, BESIDE, axis("z0", -0.7, 0.9, 3)),
    "cubic over starts, boundaries": plane("cubic", 4096, BESIDE),
    "linear net": plane("linear-net", 1024, axis("z", -3, 3, 64), axis("T", 0, 5, 32)),
    # The exact line T = 4 + y z crosses this square.
    "linear net, close": plane("linear-net", 1024, axis("z", 0.4, 0.4 + 1e-9, 32), axis("T", *CLOSE, 16), y=0.3),
    "linear net, labels": plane("linear-net", 512, axis("y", -2.5, 2.5, 64), axis("T", 0, 6, 32), z=0.07394415914358521),
}  # fmt: skip


def python_side(folder: Path, asked: dict[str, Any], **options: Any) -> dict[str, np.ndarray]:
    """What Python says of ``planes`` and ``paths``: arrays named "plane.field", in the order (y, x), and "path.field"."""
    (folder / "asked.json").write_text(json.dumps(asked))
    page.in_plain_python(Path(__file__), str(folder / "asked.json"), str(folder / "reference.npz"), **options)
    with np.load(folder / "reference.npz") as arrays:
        return {name: arrays[name] for name in arrays.files}


def golden() -> dict[str, np.ndarray]:
    """The stored labels and steps of ``PLANES``."""
    with np.load(GOLDEN) as arrays:
        return {name: arrays[name] for name in arrays.files}


def grid(plane: Plane) -> dict[str, np.ndarray]:
    """Values of the parameters that vary, one point after another, x fastest."""
    x_name, xs = plane["x"]
    if plane["y"] is None:
        return {x_name: np.asarray(xs, float)}
    y_name, ys = plane["y"]
    y, x = np.meshgrid(np.asarray(ys, float), np.asarray(xs, float), indexing="ij")
    return {x_name: x.ravel(), y_name: y.ravel()}


def _records(plane: Plane) -> dict[str, np.ndarray]:
    """What a diagram stores of the points of a plane, and the steps of the survey (-1 where there is no run)."""
    from trainphase import catalog, records

    build = catalog.system(plane["system"]).load()
    values = grid(plane)
    recipe = records.Recipe(build, plane["params"], plane["steps"], STARTS, "float64", 0)
    system = build(**plane["params"], **{name: float(column[-1]) for name, column in values.items()})
    size = len(next(iter(values.values())))
    width = BATCH if size > BATCH else SMALL
    pieces = []
    for first in range(0, size, width):
        here = min(width, size - first)
        batch = {k: np.pad(v[first : first + here], (0, width - here), mode="edge") for k, v in values.items()}
        got = _with_steps(recipe, system, batch)
        pieces.append({k: got[k][:here] for k in (*FIELDS, "steps") if k in got})
    return {k: np.concatenate([piece[k] for piece in pieces]) for k in pieces[0]}


def _with_steps(recipe: Any, system: Any, batch: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """The records of points, and the steps of the survey that they are made from, which no record keeps."""
    from trainphase import records
    from trainphase.evidence import gather
    from trainphase.phase import NOT_COMPUTED

    seen: list[Any] = []

    def keeping(*asked: Any) -> Any:
        seen.append(gather(*asked))
        return seen[-1]

    with mock.patch.object(records, "gather", keeping):
        got = records.answer(recipe, system, batch)
    steps = seen[0]["full"]["steps"].max(1)
    return got | {"steps": np.where(got["phase"] != NOT_COMPUTED, steps, -1)}


def _path(asked: dict[str, Any]) -> dict[str, np.ndarray]:
    """The series of one run, record by record as ``run`` takes them."""
    import jax

    from trainphase import catalog
    from trainphase._arrays import as_leaves
    from trainphase.evolve import series
    from trainphase.observables import STANDARD

    system = as_leaves(catalog.system(asked["system"]).load()(**asked["params"]), "float64")
    times, values, _, _ = series(system, jax.jit(lambda s: s.init())(system), asked["count"], STANDARD)
    return {name: np.asarray(values[name]) for name in ("loss", "curvature", "residual", "escaped")} | {"times": times}


def _write_golden() -> None:
    with tempfile.TemporaryDirectory() as folder:
        got = python_side(Path(folder), {"planes": PLANES})
    kinds: dict[str, Any] = {"phase": np.uint8, "steps": np.int32}
    kept: dict[str, Any] = {f"{name}.{k}": got[f"{name}.{k}"].astype(kind) for name in PLANES for k, kind in kinds.items()}
    np.savez_compressed(GOLDEN, **kept)


def main() -> None:
    """Answer the file of the first argument into the file of the second, or write the golden data."""
    if sys.argv[1:] == ["golden"]:
        return _write_golden()
    import jax

    jax.config.update("jax_enable_x64", True)
    asked = json.loads(Path(sys.argv[1]).read_text())
    out: dict[str, Any] = {}
    for name, one in asked.get("planes", {}).items():
        out |= {f"{name}.{field}": values for field, values in _records(one).items()}
    for name, one in asked.get("paths", {}).items():
        out |= {f"{name}.{field}": values for field, values in _path(one).items()}
    np.savez(sys.argv[2], **out)


if __name__ == "__main__":
    main()
