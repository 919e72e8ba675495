"""The finite-width tangent kernel J J^T of a network on images: its top eigenvalue, and all of it; one thread, single precision.

| contender | top eigenvalue | whole matrix |
|---|---|---|
| trainphase | ``krylov.top`` on ``operators.ntk``, to 1e-3, with no matrix | one product of ``operators.ntk`` a column |
| JAX, dense | ``eigvalsh`` of that matrix | ``jax.jacrev`` and J J^T, jitted |
| neural-tangents: contraction, products, structured | ``eigvalsh`` of it | ``empirical_ntk_fn``, implementations 1 to 3 |
| neural-tangents: vector | ``empirical_ntk_vp_fn`` in SciPy's ``eigsh``, tol 1e-3 | |

neural-tangents runs in an interpreter of its own, ``--ntk-python``, with the JAX that it needs: see ``ntk_peer.py``. They take
turns in rounds, ratios are taken within a round; seconds are CPU seconds, compilation apart. The matrices and the eigenvalues are
compared first, and a disagreement ends the program with exit code 1.
"""

from __future__ import annotations

from _machine import machine, one_cpu
from _other import Interpreter
from _results import agreed, place, within, write

# One CPU for this process and the one that it starts, before NumPy or JAX count the CPUs they may use.
FLAGS = one_cpu()

import argparse  # noqa: E402
import functools  # noqa: E402
import sys  # noqa: E402
import tempfile  # noqa: E402
import time  # noqa: E402
from collections.abc import Callable  # noqa: E402
from pathlib import Path  # noqa: E402
from typing import Any  # noqa: E402

import numpy as np  # noqa: E402
from ntk_peer import TOL, WAYS  # noqa: E402
from spectrum import network, pictures, start  # noqa: E402

SIZES, IMAGES = (784, 240, 40, 10), (40, 100)  # layers (198 450 parameters); images with --quick, and without
# Sums of 2e5 products in single precision, of mixed signs, in another order: 6e-8 sqrt(2e5) of the largest entry.
APART = 3e-5
# A call shorter than this, in seconds, is made twice and the second counts: after a dense matrix has been freed the first one
# waits for the system to give memory again, three times as long as a search takes.
SHORT = 0.5
Answer = tuple[float, Any]  # CPU seconds; an eigenvalue or a matrix


class Ours:
    """What runs in this interpreter."""

    def __init__(self, x: np.ndarray, y: np.ndarray) -> None:
        import jax
        import jax.numpy as jnp

        from trainphase.problem import Problem

        # A sum over the data: the kernel is J J^T itself.
        self.problem = Problem(network, start(SIZES), (x, y), loss="squared", reduction="sum")
        self.theta = np.asarray(self.problem.flat())

        @jax.jit
        def dense(theta: Any) -> Any:
            J = jax.jacrev(self.problem.outputs)(theta)
            J = J.reshape(-1, theta.size)
            return J @ J.T

        self.jitted = lambda: np.asarray(dense(jnp.asarray(self.theta)))

    def top(self, seed: int) -> float:
        from trainphase.spectrum import krylov, operators

        operator = operators.ntk(self.problem, self.theta, side="outputs")
        return float(krylov.top(operator.product, operator.size, tol=TOL, seed=seed).values[0])

    def whole(self) -> np.ndarray:
        from trainphase.spectrum import operators

        operator = operators.ntk(self.problem, self.theta, side="outputs")
        return np.stack([operator.product(row) for row in np.eye(operator.size, dtype=np.float32)])

    def ways(self) -> dict[str, Callable[[int], Any]]:
        """Contenders by question and name."""
        return {
            "top trainphase": self.top,
            "top JAX": lambda seed: float(np.linalg.eigvalsh(self.jitted())[-1]),
            "whole trainphase": lambda seed: self.whole(),
            "whole JAX": lambda seed: self.jitted(),
        }


def timed(work: Callable[[int], Any], seed: int) -> Answer:
    begin = time.process_time()
    value = work(seed)
    return time.process_time() - begin, value


def asked(peer: Interpreter, file: str, name: str, out: str, seed: int, keep: bool = False) -> Answer:
    """An answer of neural-tangents; its matrix only where it is to be compared."""
    got = peer.ask(file=file, name=name, seed=seed, out=out if keep else None)
    return got["seconds"], np.load(out) if keep and got["value"] is None else got["value"]


def compared(name: str, value: Any, truth: np.ndarray, fault: bool) -> dict[str, Any]:
    """A matrix or an eigenvalue beside those of the dense matrix in double precision."""
    if isinstance(value, float):
        top = float(np.linalg.eigvalsh(truth)[-1])
        apart, allowed = abs(value * (1.01 if fault and name == "top trainphase" else 1) / top - 1), TOL
    else:
        apart, allowed = float(np.abs(value - truth).max() / np.abs(truth).max()), APART
    problems = [] if apart <= allowed else [f"{apart:.2g} apart where {allowed:g} is allowed"]
    return {"pair": f"{name} and the dense matrix in double precision", "name": name, "apart": apart, "problems": problems}


def truth(ours: Ours) -> np.ndarray:
    """J J^T in double precision."""
    import jax
    import jax.numpy as jnp

    from trainphase._arrays import precision

    with precision("float64"):
        double = jax.tree.map(lambda leaf: jnp.asarray(leaf, jnp.float64), ours.problem)
        J = np.asarray(jax.jacrev(double.outputs)(jnp.asarray(ours.theta, jnp.float64)))
    J = J.reshape(-1, len(ours.theta))
    return J @ J.T


def contenders(ours: Ours, peer: Interpreter | None, folder: Path, x: np.ndarray) -> dict[str, Callable[..., Answer]]:
    """Every contender, by question and name, as a function of the seed (and, for the check, of whether a matrix is kept)."""
    found: dict[str, Callable[..., Answer]] = {
        name: lambda seed, keep=False, work=work: timed(work, seed) for name, work in ours.ways().items()
    }
    if peer is not None:
        file = folder / "network.npz"
        np.savez(file, theta=ours.theta, sizes=SIZES, x=x)
        for name in (*(f"{question} {way}" for question in ("top", "whole") for way in WAYS), "top vector"):
            found[name] = functools.partial(asked, peer, str(file), name, str(folder / "kernel.npy"))
    return found


def measure(given: argparse.Namespace, peer: Interpreter | None) -> dict[str, Any]:
    """Check, then CPU seconds of every contender in every round, and the ratios to ours."""
    x, y, source = pictures("fashion-mnist", given.images, SIZES[0], given.data_dir)
    ours = Ours(x, y)
    with tempfile.TemporaryDirectory() as folder:
        work = contenders(ours, peer, Path(folder), x)
        matrix = truth(ours)
        checks = [compared(name, one(99, keep=True)[1], matrix, given.plant_fault) for name, one in work.items()]
        seconds: dict[str, list[float]] = {name: [] for name in work}
        ok = agreed(checks)
        for k in range(given.rounds if ok else 0):
            for name, one in work.items():
                took = one(k)[0]
                seconds[name].append(one(k)[0] if took < SHORT else took)
            print(f"round {k + 1} of {given.rounds} done", file=sys.stderr, flush=True)
    ratios = {name: within(s, seconds[f"{name.split()[0]} trainphase"]) for name, s in seconds.items() if ok}
    about = {"images": source, "samples": len(x), "outputs": SIZES[-1], "parameters": ours.problem.size}
    return about | {"agreed": ok, "checks": checks, "seconds": seconds, "ratios": ratios}


def parsed() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--ntk-python", metavar="PATH", help="an interpreter that has neural-tangents; absent: dense JAX alone")
    parser.add_argument("--quick", action="store_true", help=f"{IMAGES[0]} images where there are {IMAGES[1]}, three rounds")
    parser.add_argument("--rounds", type=int, help="rounds in which the contenders take turns [5; --quick: 3]")
    parser.add_argument("--data-dir", type=Path, help="where the images are looked for; absent, images are made up")
    parser.add_argument("--plant-fault", action="store_true", help="a value that is off: the check must find it")
    parser.add_argument("--out", type=Path, help="where to write the result [benchmarks/results/ntk.json]")
    given = parser.parse_args()
    given.images = IMAGES[0 if given.quick else 1]
    given.rounds = given.rounds or (3 if given.quick else 5)
    given.out = given.out or place("ntk", given.quick)
    return given


def main() -> int:
    """Check, measure, report."""
    from trainphase._arrays import precision

    given = parsed()
    peer = Interpreter(given.ntk_python, "ntk_peer.py") if given.ntk_python else None
    with precision("float32"):
        got = measure(given, peer)
    if not got["agreed"]:
        return 1
    about = machine(FLAGS) | {"peers": peer.about["versions"] if peer else {}}
    print(f"\n{got['samples']} images, {got['outputs']} outputs, {got['parameters']} parameters")
    print(f"{'':24}{'CPU s':>10}{'over trainphase':>18}")
    for name, ratio in got["ratios"].items():
        median, over = np.median(got["seconds"][name]), "{median:10.3g} ({min:.3g} to {max:.3g})".format(**ratio)
        print(f"{name:24}{median:10.4g}{over}")
    write({"benchmark": "ntk", "clock": "CPU", "rounds": given.rounds, "machine": about, **got}, given.out)
    return 0


if __name__ == "__main__":
    sys.exit(main())
