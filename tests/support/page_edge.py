"""What the page's kernels of the edge vocabulary are compared with; a program, so that XLA starts with flags of its own."""

from __future__ import annotations

import json
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import page

Plane = dict[str, Any]
FIELDS = (
    "phase", "margin", "rule", "run_steps", "curvature", "curvature_start", "curvature_mean", "curvature_max", "curvature_peak",
    "loss", "max_ratio", "increases",
)  # fmt: skip
OBSERVED = ("loss", "curvature", "residual", "top_residual")


def plane(
    system: str, x: tuple[str, float, float], y: tuple[str, float, float], steps: int = 400, /, *, n: int = 96, **params: Any
) -> Plane:
    """A plane of n x n points, and the draws of the model where it has any; the axes are (name, lowest, highest)."""
    axes = {"x": [x[0], np.linspace(x[1], x[2], n).tolist()], "y": [y[0], np.linspace(y[1], y[2], n).tolist()]}
    return {"system": system, "params": params, "steps": steps, "draws": draws(system, params), **axes}


def draws(system: str, params: dict[str, Any]) -> dict[str, Any] | None:
    """The draws of the quadratic model, row by row."""
    if system != "quadratic":
        return None
    from trainphase.systems.quadratic import draws as drawn

    Q, z, J = drawn(params["D"], params["P"], params["seed"], "sym1")
    return {"D": params["D"], "P": params["P"], "Q": Q.ravel().tolist(), "z": z.tolist(), "J": J.ravel().tolist()}


def python_side(folder: Path, asked: dict[str, Any], **options: Any) -> dict[str, np.ndarray]:
    """What Python says of ``planes`` and ``paths``: arrays named "plane field", in the order (y, x), and "path field"."""
    (folder / "asked.json").write_text(json.dumps(asked))
    page.in_plain_python(Path(__file__), str(folder / "asked.json"), str(folder / "reference.npz"), **options)
    with np.load(folder / "reference.npz") as arrays:
        return {name: arrays[name] for name in arrays.files}


def _plane(asked: Plane) -> dict[str, np.ndarray]:
    """The fields of a diagram over the plane."""
    import trainphase

    given: dict[str, Any] = asked["params"] | {name: trainphase.values(v) for name, v in (asked["x"], asked["y"])}
    with tempfile.TemporaryDirectory() as place:
        drawn = trainphase.diagram(asked["system"], steps=asked["steps"], vocabulary="edge", store=Path(place) / "s", **given)
    return {field: drawn.dataset[field].values.T for field in FIELDS}


def _path(asked: dict[str, Any]) -> dict[str, np.ndarray]:
    """The series of one run."""
    import trainphase

    run = trainphase.run(asked["system"], steps=asked["steps"], vocabulary="edge", **asked["params"])
    return {"times": run.times} | {name: run.observables[name] for name in OBSERVED if name in run.observables}


def main() -> None:
    """Answer the file of the first argument into the file of the second."""
    import jax

    jax.config.update("jax_enable_x64", True)
    asked = json.loads(Path(sys.argv[1]).read_text())
    out: dict[str, Any] = {}
    for kind, answer in (("planes", _plane), ("paths", _path)):
        for name, given in asked.get(kind, {}).items():
            out |= {f"{name} {field}": values for field, values in answer(given).items()}
    np.savez(sys.argv[2], **out)


if __name__ == "__main__":
    main()
