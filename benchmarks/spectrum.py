"""The top Hessian eigenvalue of small and image-size networks on real images: trainphase and its peers, one thread.

| contender | what it does |
|---|---|
| trainphase | ``spectrum.krylov.top`` on ``spectrum.operators.hessian``, cold, at most 21 products |
| trainphase warm | the same along a run, from the last measurement's rows and the gradient, at most 5 products |
| SciPy ARPACK | ``eigsh(k=1, which="LA", tol=1e-3)`` around a jitted ``jvp(grad)`` |
| JAX lobpcg | ``jax.experimental.sparse.linalg.lobpcg_standard``, one vector, defaults |
| power 20 | 20 power iterations from a random start |
| PyHessian, curvlinops, hessian-eigenthings | in an interpreter of their own, ``--peers-python``: see ``spectrum_peers.py`` |

Each is measured from three random starts at initialisation and at the edge of stability of a run on the images, against ARPACK
in double precision to 1e-10. They take turns; seconds are CPU seconds. A wrong value of trainphase, or a bound that does
not cover the truth, ends the program with exit code 1. Then: the kernel's top eigenvalue, with no matrix and from the
dense Gram matrix.
"""

from __future__ import annotations

from _machine import machine, one_cpu
from _other import Interpreter
from _results import place, write

# One CPU for this process and the one that it starts, before NumPy or JAX count the CPUs they may use.
FLAGS = one_cpu()

import argparse  # noqa: E402
import functools  # noqa: E402
import importlib  # noqa: E402
import itertools  # noqa: E402
import sys  # noqa: E402
import tempfile  # noqa: E402
import time  # noqa: E402
from collections.abc import Callable  # noqa: E402
from pathlib import Path  # noqa: E402
from typing import Any  # noqa: E402

import numpy as np  # noqa: E402
from spectrum_report import COLD, TOL, WARM, check, report, requirements  # noqa: E402

HERE = Path(__file__).resolve().parent
SEEDS = (0, 1, 2)
# Sizes of the layers, the images, how many, step size, and how many steps after the sharpness has first passed 2 / lr the
# edge is measured: some time on, when several modes are there. The runs meet the edge in some hundred steps.
NETWORKS: dict[str, tuple[tuple[int, ...], str, int, float, int]] = {
    "small": ((784, 32, 32, 10), "fashion-mnist", 500, 0.05, 3000),
    "image": ((3072, 200, 200, 10), "cifar10", 500, 0.015, 200),
}
WINDOW, EVERY = 12, (1, 10)  # measurements along the run from there on
LAST = 3000  # steps in which the edge must come


def arpack_library() -> Any:
    """SciPy's module, whose type stubs know less than it does."""
    return importlib.import_module("scipy.sparse.linalg")


def network(params: list[tuple[Any, Any]], x: Any) -> Any:
    """A tanh network: hidden layers and a linear one."""
    import jax.numpy as jnp

    for w, b in params[:-1]:
        x = jnp.tanh(x @ w + b[None])
    w, b = params[-1]
    return x @ w + b[None]


def start(sizes: tuple[int, ...], seed: int = 0) -> list[tuple[np.ndarray, np.ndarray]]:
    """PyTorch's default: weights and biases uniform within 1 / sqrt(inputs)."""
    rng, params = np.random.default_rng(seed), []
    for a, b in itertools.pairwise(sizes):
        k = a**-0.5
        params.append((rng.uniform(-k, k, (a, b)).astype(np.float32), rng.uniform(-k, k, b).astype(np.float32)))
    return params


def pictures(name: str, count: int, pixels: int, data_dir: Path | None) -> tuple[np.ndarray, np.ndarray, str]:
    """Images standardised pixel by pixel and one-hot labels, float32; or made-up ones, which the third says."""
    from trainphase.data import sets
    from trainphase.errors import DataError

    try:
        found = sets.load(name, data_dir)
        x, y, source = sets.flat(name, found.x_train[:count]), found.y_train[:count], name
    except DataError:
        rng, source = np.random.default_rng(0), f"made up, of the size of {name}"
        y = rng.integers(0, 10, count)
        # Directions as unequal as those of images: with equal ones the run does not come to the edge.
        basis = np.linalg.qr(rng.standard_normal((pixels, pixels)))[0] * np.arange(1, pixels + 1)[:, None] ** -0.75
        x = (rng.standard_normal((10, pixels))[y] + 2 * rng.standard_normal((count, pixels))) @ basis
    x = (x - x.mean(0)) / (x.std(0) + 1e-6)
    return x.astype(np.float32), np.eye(10, dtype=np.float32)[np.asarray(y).ravel()], source


# ---- a network and its run


class Case:
    """A network, its data, and points of its run: ``points["init"]``, ``points["edge"]``, ``windows[every]``."""

    def __init__(self, name: str, data_dir: Path | None) -> None:
        import jax

        from trainphase.problem import Problem

        sizes, images, count, self.lr, self.after = NETWORKS[name]
        self.name, self.sizes = name, sizes
        x, y, self.source = pictures(images, count, sizes[0], data_dir)
        self.x, self.y = x, y
        self.problem = Problem(network, start(sizes), (x, y), loss="squared", reduction="mean")
        self.size = self.problem.size
        # A user's own code: the data are constants of a jitted function.
        self.gradient = jax.jit(jax.grad(self.problem.loss_at))
        self.hvp = jax.jit(lambda t, v: jax.jvp(jax.grad(self.problem.loss_at), (t,), (v,))[1])

    def train(self) -> None:
        """Descend until the edge and on; keep the points."""
        theta, edge, step, kept, last = self.problem.flat(), None, 0, {}, None
        while edge is None or step <= edge + self.after + WINDOW * max(EVERY):
            if edge is None and step % 50 == 0:
                last = ours(self, np.asarray(theta), 0, None if last is None else last.rows, COLD if last is None else WARM)[
                    "pairs"
                ]
                # At the start a network may lie above the edge for a few steps.
                if step >= 100 and last.values[0] * self.lr > 2:
                    edge = step
            if step == 0 or (edge is not None and step >= edge + self.after):
                kept[step] = np.asarray(theta)
            if edge is None and step > LAST:
                raise SystemExit(f"the {self.name} network did not reach the edge in {LAST} steps")
            theta, step = theta - self.lr * self.gradient(theta), step + 1
        first = edge + self.after
        self.edge_step = first
        self.points = {"init": kept[0], "edge": kept[first]}
        self.windows = {every: [kept[first + every * i] for i in range(WINDOW)] for every in EVERY}

    def exact(self, theta: np.ndarray, count: int = 2) -> np.ndarray:
        """The leading eigenvalues in double precision, by ARPACK to 1e-10."""
        import jax
        import jax.numpy as jnp

        from trainphase._arrays import precision

        with precision("float64"):
            double = jax.tree.map(lambda leaf: jnp.asarray(leaf, jnp.float64), self.problem)
            product = jax.jit(lambda t, v: jax.jvp(jax.grad(double.loss_at), (t,), (v,))[1])
            point = jnp.asarray(theta, jnp.float64)
            A = arpack_library().LinearOperator(
                (self.size,) * 2, matvec=lambda v: np.asarray(product(point, v.ravel())), dtype=float
            )
            values = arpack_library().eigsh(
                A, count, which="LA", tol=1e-10, v0=np.random.default_rng(9).standard_normal(self.size)
            )[0]
        return np.sort(values)[::-1]

    def close(self, theta: np.ndarray, guess: np.ndarray | None) -> tuple[float, np.ndarray]:
        """The top eigenvalue in single precision, by ARPACK to 1e-6 from a guess, and its vector."""

        values, vectors = arpack_library().eigsh(self.operator(theta)[0], 2, which="LA", tol=1e-6, v0=guess)
        return float(values[-1]), vectors.sum(axis=1)

    def operator(self, theta: np.ndarray) -> tuple[Any, list[int]]:
        """The user's product as a SciPy operator, and the count of its products."""
        import jax.numpy as jnp

        spent, point = [0], jnp.asarray(theta)

        def product(v: np.ndarray) -> np.ndarray:
            spent[0] += 1
            return np.asarray(self.hvp(point, v.astype(np.float32).ravel()))

        return arpack_library().LinearOperator((self.size,) * 2, matvec=product, dtype=np.float32), spent

    def unit(self, theta: np.ndarray) -> float:
        """CPU seconds of one gradient, the median of nine."""
        import jax

        seconds = []
        for _ in range(10):
            begin = time.process_time()
            jax.block_until_ready(self.gradient(theta))
            seconds.append(time.process_time() - begin)
        return float(np.median(seconds[1:]))


# ---- the contenders: value, products, CPU seconds


def timed(work: Callable[[], tuple[float, int]]) -> dict[str, Any]:
    begin = time.process_time()
    value, products = work()
    return {"value": value, "products": products, "seconds": time.process_time() - begin}


def ours(case: Case, theta: np.ndarray, seed: int, rows: Any, most: int | None) -> dict[str, Any]:
    from trainphase.spectrum import krylov, operators

    begin = time.process_time()
    if rows is not None and most is not None:
        rows = [*rows, operators.gradient(case.problem, theta)]
    product = operators.hessian(case.problem, theta).product
    pairs = krylov.top(product, case.size, tol=TOL, start=None if rows is None else np.asarray(rows), most=most, seed=seed)
    seconds = time.process_time() - begin
    return {"value": float(pairs.values[0]), "products": pairs.products, "seconds": seconds,
            "bound": float(pairs.errors[0]), "pairs": pairs}  # fmt: skip


def arpack(case: Case, theta: np.ndarray, seed: int) -> tuple[float, int]:

    A, spent = case.operator(theta)
    v0 = np.random.default_rng(seed).standard_normal(case.size).astype(np.float32)
    return float(arpack_library().eigsh(A, 1, which="LA", tol=TOL, v0=v0)[0][0]), spent[0]


@functools.lru_cache
def _lobpcg(case: Case) -> Callable[..., Any]:
    import jax
    from jax.experimental.sparse.linalg import lobpcg_standard

    def search(theta: Any, first: Any) -> Any:
        columns = jax.vmap(lambda v: jax.jvp(jax.grad(case.problem.loss_at), (theta,), (v,))[1], in_axes=1, out_axes=1)
        return lobpcg_standard(columns, first)

    return jax.jit(search)


def lobpcg(case: Case, theta: np.ndarray, seed: int) -> tuple[float, int]:
    first = np.random.default_rng(seed).standard_normal((case.size, 1)).astype(np.float32)
    values, _, steps = _lobpcg(case)(theta, first)
    # Three columns a step, one before and one after: lobpcg_standard multiplies X, P and R again each time.
    return float(values[0]), 4 * int(steps) + 1


def power(case: Case, theta: np.ndarray, seed: int) -> tuple[float, int]:
    v = np.random.default_rng(seed).standard_normal(case.size).astype(np.float32)
    value = 0.0
    for _ in range(20):
        v /= np.linalg.norm(v)
        image = np.asarray(case.hvp(theta, v))
        value, v = float(v @ image), image.copy()
    return value, 20


class Peers(Interpreter):
    """The packages for PyTorch; see ``spectrum_peers.py``."""

    def __init__(self, python: str) -> None:
        super().__init__(python, "spectrum_peers.py")
        self.versions, self.names = self.about["versions"], self.about["names"]

    def measured(self, file: str, name: str, seed: int) -> dict[str, Any]:
        """The eigenvalue of the network in ``file`` by the contender ``name``."""
        return self.ask(file=file, name=name, seed=seed)


# ---- the measurement


def cold(case: Case, peers: Peers | None, folder: Path, given: argparse.Namespace) -> list[dict[str, Any]]:
    """Every contender at initialisation and at the edge, from each seed."""
    rows = []
    for where, theta in case.points.items():
        true = case.exact(theta)
        file = folder / f"{case.name}-{where}.npz"
        np.savez(file, theta=theta, sizes=case.sizes, x=case.x, y=case.y)
        mine: dict[str, Callable[[int], dict[str, Any]]] = {
            "trainphase": lambda seed, theta=theta: ours(case, theta, seed, None, COLD),
            "SciPy ARPACK": lambda seed, theta=theta: timed(lambda: arpack(case, theta, seed)),
            "JAX lobpcg": lambda seed, theta=theta: timed(lambda: lobpcg(case, theta, seed)),
            "power 20": lambda seed, theta=theta: timed(lambda: power(case, theta, seed)),
        }
        if peers:
            mine |= {name: functools.partial(peers.measured, str(file), name) for name in peers.names}
        for name in mine:
            mine[name](99)  # compile
        found: dict[str, list[dict[str, Any]]] = {name: [] for name in mine}
        for seed in given.seeds:
            unit = case.unit(theta)
            for name, work in mine.items():
                got = {"gradient": unit} | work(seed)
                got.pop("pairs", None)
                found[name].append(got | {"error": abs(got["value"] / true[0] - 1)})
        rows.append({"network": case.name, "where": where, "true": true.tolist(), "found": found})
        print(f"{case.name}, {where}: done", file=sys.stderr, flush=True)
    return rows


def warm(case: Case) -> list[dict[str, Any]]:
    """Along the run: trainphase from its last rows, one cold measurement first, against a tight ARPACK at each point."""
    rows = []
    for every, points in case.windows.items():
        last, guess, found = None, None, []
        for theta in points:
            true, guess = case.close(theta, guess)
            got = ours(case, theta, 0, None if last is None else last.rows, COLD if last is None else WARM)
            last = got.pop("pairs")
            found.append(got | {"true": true, "error": abs(got["value"] / true - 1), "gradient": case.unit(theta)})
        rows.append({"network": case.name, "every": every, "found": found})
        print(f"{case.name}, along the run: done", file=sys.stderr, flush=True)
    return rows


def kernel(given: argparse.Namespace) -> dict[str, Any]:
    """The top eigenvalue of J J^T: n = 100, ten outputs, 2e5 parameters; with no matrix, and from the dense Gram matrix."""
    import jax
    import jax.numpy as jnp

    from trainphase.problem import Problem
    from trainphase.spectrum import krylov, operators

    sizes = (784, 240, 40, 10)
    x, y, source = pictures("fashion-mnist", 100, sizes[0], given.data_dir)
    problem = Problem(network, start(sizes), (x, y), loss="squared", reduction="mean")
    theta = np.asarray(problem.flat())

    @jax.jit
    def dense(t: Any) -> Any:
        J = jax.jacrev(problem.outputs)(t)
        return jnp.linalg.eigvalsh(J @ J.T)[-1] / len(x)

    def free() -> tuple[float, int]:
        pairs = krylov.top((operator := operators.ntk(problem, theta)).product, operator.size, tol=TOL)
        return float(pairs.values[0]), pairs.products

    forms = {"trainphase": free, "dense": lambda: (float(dense(theta)), 0)}
    found: dict[str, list[dict[str, Any]]] = {name: [] for name in forms}
    for name in forms:
        forms[name]()
    for _ in given.seeds:
        for name, work in forms.items():
            found[name].append(timed(work))
    ratios = [b["seconds"] / a["seconds"] for a, b in zip(found["trainphase"], found["dense"], strict=True)]
    error = abs(found["trainphase"][0]["value"] / found["dense"][0]["value"] - 1)
    return {"images": source, "size": problem.size, "found": found, "ratios": ratios, "error": error}


def parsed() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--peers-python", metavar="PATH", help="an interpreter that has PyTorch and the packages; absent: none")
    parser.add_argument("--quick", action="store_true", help="the small network only")
    parser.add_argument("--data-dir", type=Path, help="where the images are looked for; absent, images are made up")
    parser.add_argument("--plant-fault", action="store_true", help="a value that is off: the check must find it")
    parser.add_argument("--require", action="store_true", help="exit code 3 when a required value is not reached")
    parser.add_argument("--out", type=Path, help="where to write the result [benchmarks/results/spectrum.json]")
    given = parser.parse_args()
    given.networks = ("small",) if given.quick else tuple(NETWORKS)
    given.seeds = SEEDS
    given.out = given.out or place("spectrum", given.quick)
    return given


def main() -> int:
    """Measure, check, report."""
    from trainphase._arrays import precision

    given = parsed()
    peers = Peers(given.peers_python) if given.peers_python else None
    result: dict[str, Any] = {"benchmark": "spectrum", "clock": "CPU", "cold": [], "warm": [], "networks": {}}
    with tempfile.TemporaryDirectory() as folder, precision("float32"):
        for name in given.networks:
            case = Case(name, given.data_dir)
            case.train()
            about = {"sizes": case.sizes, "images": case.source, "size": case.size, "lr": case.lr, "edge_step": case.edge_step}
            result["networks"][name] = about
            result["cold"] += cold(case, peers, Path(folder), given)
            result["warm"] += warm(case)
        result["kernel"] = kernel(given)
    result["machine"] = machine(FLAGS) | {"peers": peers.versions if peers else {}}
    result["requirements"] = requirements(result)
    report(result)
    wrong = check(result, given.plant_fault)
    for problem in wrong:
        print(f"DIFFER: {problem}")
    if wrong:
        return 1
    write(result, given.out)
    return 3 if given.require and not all(need["met"] for need in result["requirements"]) else 0


if __name__ == "__main__":
    sys.exit(main())
