"""Cold searches for the top eigenvalue from many random starts: products, and how often the stated bound covers the true error.

On diagonal matrices with the eigenvalues named (a random start knows no direction), and with ``--networks`` on the networks
of ``spectrum.py``. For each doubt: how many starts took so many products, and in how many the value is off by more than
it states. A pair of eigenvalues one to three tolerances apart is the worst case of any rule: from a start that holds little of
the first, the two look like one.

``--sharp``: could a rule stop sooner? To a record at which the law still waits, one product before the end, belongs an operator
that gives the same record and whose top eigenvalue lies just outside of the tolerance (``fitting``). A rule that accepts the
record is put to that operator, from many starts: how often it stops there, and is wrong.
"""

from __future__ import annotations

from _machine import one_cpu

one_cpu()

import argparse  # noqa: E402
import collections  # noqa: E402
from collections.abc import Callable  # noqa: E402
from pathlib import Path  # noqa: E402

import numpy as np  # noqa: E402
from scipy.stats import chi2  # noqa: E402

from trainphase.spectrum import krylov  # noqa: E402
from trainphase.spectrum._bounds import fitting, seen  # noqa: E402
from trainphase.spectrum._space import Space  # noqa: E402

SIZE, TOL = 20_000, 1e-3
TOPS = {
    "lambda_1 / lambda_2 = 1.13": (1, 1 / 1.13),
    "1.05": (1, 1 / 1.05, 0.9),
    "1.01": (1, 1 / 1.01, 0.8),
    "1.003": (1, 1 / 1.003, 0.8),
    "1.0015": (1, 1 / 1.0015, 0.8),
    "1.0005": (1, 1 / 1.0005, 0.8),
    "five within 2 %": (1, 0.995, 0.99, 0.985, 0.98),
    "twice the same": (1, 1, 0.8),
}


def eigenvalues(tops: tuple[float, ...]) -> np.ndarray:
    """The top that is given, forty in a geometric row, and a bulk around 0."""
    rng = np.random.default_rng(1)
    bulk = rng.exponential(0.02, SIZE - 40) * rng.choice([-0.3, 1.0], SIZE - 40)
    return np.concatenate([tops, 0.6 * 0.85 ** np.arange(40 - len(tops)), bulk])


def score(
    name: str, product: Callable[[np.ndarray], np.ndarray], size: int, true: float, starts: int, doubts: list[float]
) -> None:
    """Print a line per doubt."""
    for doubt in doubts:
        spent: collections.Counter[int] = collections.Counter()
        uncovered = 0
        for seed in range(starts):
            found = krylov.top(product, size, tol=TOL, seed=seed, doubt=doubt)
            spent[found.products] += 1
            # The truth of a network is known to 1e-6, in single precision.
            uncovered += abs(found.values[0] - true) > found.errors[0] + 1e-6 * true
        counts = ", ".join(f"{k} ({spent[k]})" for k in sorted(spent))
        print(f"{name:28} doubt {doubt:4g}: products {counts}; not covered {uncovered} of {starts}", flush=True)


def sharp(values: np.ndarray, records: int, starts: int, doubt: float = 0.05) -> None:
    """Print a line per record: the doubt at which it would be accepted, and how often a rule of that doubt is wrong."""
    for seed in range(records):
        spent = krylov.top(lambda v: values * v, SIZE, tol=TOL, seed=seed, doubt=doubt).products - 1
        space = Space(lambda v: values * v, SIZE, np.random.default_rng(seed).standard_normal((1, SIZE)))
        for _ in range(spent):
            space.advance()
        d, e = np.diag(space.H).tolist(), [*np.diag(space.H, 1).tolist(), float(space.K[0, -1])]
        # A little outside, so that the answer of a rule that accepts is wrong.
        t = float(np.linalg.eigvalsh(space.H)[-1]) * (1 + TOL) * (1 + 1e-6)
        nodes, vectors = np.linalg.eigh(fitting(d, e, t))
        # Each node as often as it would have to be for the start to hold what it holds, the top once.
        times = np.maximum(np.round(vectors[0] ** 2 * SIZE), 1).astype(int)
        times[-1] = 1
        times[np.argmax(times)] += SIZE - times.sum()
        other = np.repeat(nodes, times)
        lax, wrong, stopped = float(chi2.cdf(SIZE / seen(d, e, t), 1)) * (1 + 1e-6), 0, 0
        for start in range(starts):
            found = krylov.top(lambda v, other=other: other * v, SIZE, tol=TOL, most=spent, seed=1000 + start, doubt=lax)
            stopped += found.converged
            wrong += bool(found.converged and found.values[0] * (1 + TOL) < t)
        told = f"nearest below {nodes[-2] / t:.4f} of the top; wrong in {wrong} of {starts} starts, stopped in {stopped}"
        print(f"record of {spent} products: accepted at a doubt of {lax:.0%}; {told}", flush=True)


def main() -> None:
    """All spectra."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--starts", type=int, default=200, help="random starts [200]; of networks at most 60")
    parser.add_argument("--doubts", type=float, nargs="+", default=[0.05, 0.1, 0.2])
    parser.add_argument("--networks", nargs="*", default=[], choices=("small", "image"), help="those of spectrum.py, too")
    parser.add_argument("--data-dir", type=Path, help="where the images are looked for; absent, images are made up")
    parser.add_argument("--sharp", action="store_true", help="whether a rule could stop a product sooner, on the first spectrum")
    given = parser.parse_args()
    if given.sharp:
        sharp(eigenvalues(next(iter(TOPS.values()))), 5, given.starts)
        return
    for name, tops in TOPS.items():
        values = eigenvalues(tops)
        score(name, lambda v, values=values: values * v, SIZE, float(values.max()), given.starts, given.doubts)
    if not given.networks:
        return
    from spectrum import Case

    from trainphase._arrays import precision
    from trainphase.spectrum import operators

    with precision("float32"):
        for network in given.networks:
            case = Case(network, given.data_dir)
            case.train()
            for where, theta in case.points.items():
                true, product = float(case.exact(theta)[0]), operators.hessian(case.problem, theta).product
                score(f"{network}, {where}", product, case.size, true, min(given.starts, 60), given.doubts)


if __name__ == "__main__":
    main()
