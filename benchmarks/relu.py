"""Two-layer ReLU networks: the slope S_w and a step on images, trainphase and plain PyTorch loops, one thread each.

| contender | what it does |
|---|---|
| trainphase | ``trainphase.relu.ladder`` from starts drawn anew: a single point |
| trainphase again | the same from starts it has binned before: a point of a map, all but the first |
| PyTorch | full-batch gradient descent, ``Linear`` layers and ``SGD``, best fixed step, to a mean squared error of 1e-6 |
| PyTorch careful | the same with tensors laid out for the product and updated in place; no part of the requirement |
| the paper's rule | PyTorch careful, step lr0 sqrt(b1 b2) alpha, lr0 halved and all begun anew when the loss rises; extra |

PyTorch runs in an interpreter of its own (``--torch-python``), on the same CPU; while one works the other waits. They take
turns in rounds, and ratios are taken within a round. The slopes are compared first with those of the PyTorch loop at a
quarter of its step, in double precision, and a disagreement ends the program with exit code 1.
"""

from __future__ import annotations

from _machine import machine, one_cpu
from _other import Interpreter
from _results import agreed, place, print_requirements, within, write

# One CPU for this process and the one that it starts, before NumPy or JAX count the CPUs they may use.
FLAGS = one_cpu()

import argparse  # noqa: E402
import sys  # noqa: E402
import tempfile  # noqa: E402
import time  # noqa: E402
from collections.abc import Callable  # noqa: E402
from pathlib import Path  # noqa: E402
from typing import Any  # noqa: E402

import numpy as np  # noqa: E402
from relu_loops import FINE, SEEDS, STEPS, TARGET, WIDTHS, draws, four_points, image_start  # noqa: E402

HERE = Path(__file__).resolve().parent
NEEDED_SLOPE, AIM_SLOPE, NEEDED_STEP = 20.0, 30.0, 6.0
AGREE = 0.01  # of S_w, between any two contenders
# Where a few neurons carry the fit, RD turns on which data points their kinks cross: at (2, -0.5) it changes by some 10 % a run
# with the step of PyTorch itself. Over 15 runs, ln m spread by 1.24, the slopes of two solvers then differ by
# sqrt(2) 0.1 / (sqrt(15) 1.24) = 0.03 (one sigma): two of these.
LOOSE = {(2.0, -0.5): 0.06}
# Over three widths, 9 runs with ln m spread by 0.98, errors of RD weigh sqrt(15) 1.24 / (3 0.98) = 1.6 times as much.
SHORT = 2.0
RULE_LR0 = 1.0  # where the search of the paper's rule starts
QUICK = ((0.5, 0.0), (1.0, 0.0), (1.3, -0.3))  # where the best steps of all widths also do for three of them
IMAGES, PIXELS = 100, 784
IMAGE_WIDTHS = (10_000, 50_000)
IMAGE_LR = 1e-4
DTYPES = ("float32", "float64")
LOOPS = {"PyTorch": "plain", "PyTorch careful": "careful"}
MINE = {"trainphase": False, "trainphase again": True}  # whether the bins of the starts are known
Point = tuple[float, float]


# ---- trainphase


class Ours:
    """S_w by trainphase: the slope of a point of the phase diagram, from the benchmark's draws."""

    def __init__(self, target: float) -> None:
        from trainphase.relu import initial, ladder

        x, y = four_points()
        self.ladder, self.weights = ladder, initial.Weights
        self.sizes = ladder.Sizes(x, 0, y[:, None], antisymmetric=True, target=target)
        self.kept: dict[tuple[int, int], Any] = {}

    def start(self, width: int, seed: int) -> Any:
        """Drawn anew: trainphase has not seen it, and bins it anew."""
        a, w = draws(seed, width)
        return self.weights(a[:, None], w, 0.0)

    def again(self, width: int, seed: int) -> Any:
        """The same start as at the last point, of which trainphase has the bins: so it is at all points of a map but one."""
        if (width, seed) not in self.kept:
            self.kept[width, seed] = self.start(width, seed)
        return self.kept[width, seed]

    def slope(self, point: Point, widths: tuple[int, ...], known: bool = False) -> Any:
        """RD of the first copy's input weights at mean(e^2) = target on the four points, and the S_w of these."""
        found = self.ladder.slope(*point, widths, SEEDS, self.sizes, starts=self.again if known else self.start)
        if not found.converged:
            raise SystemExit(f"trainphase did not reach the target at {point}")
        return found


def ours_steps(x: np.ndarray, y: np.ndarray, width: int, lr: float, dtype: str) -> Callable[[int], np.ndarray]:
    """A function that does so many steps of gradient descent from ``relu_loops.image_start`` and returns the losses.

    x: (n, d) with the 1 of the bias. y: (n,). Losses: R = mean(e^2) / 2 before each step. alpha = 1. The function goes on
    from where the last call left; what is done once per network is done before it is returned. The weights go on in the
    row space of the inputs, n numbers a neuron and not d.
    """
    import jax
    import jax.numpy as jnp

    from trainphase._arrays import precision
    from trainphase.data import targets
    from trainphase.relu import descent

    a, w = image_start(width, x.shape[1])
    basis = targets.row_space(x, bias=False)
    with precision(dtype):
        held = [descent.Net(jnp.asarray(a[None], dtype), jnp.asarray(basis.T @ w, dtype))]
        data = jnp.asarray(x @ basis, dtype), jnp.asarray(y[:, None], dtype)
        one = jnp.ones((), dtype)
        jax.block_until_ready((held, data))

    def work(count: int) -> np.ndarray:
        with precision(dtype):
            # beta1 = beta2 = alpha = 1: the draws have their scales in them.
            net, losses = descent.descend(held[0], *data, one, one, jnp.asarray(lr, dtype), count)
            held[0] = jax.block_until_ready(net)
            return np.asarray(losses) / 2

    return work


# ---- PyTorch, in its own interpreter


class Torch(Interpreter):
    """PyTorch's loops; see ``relu_loops.py``."""

    def __init__(self, python: str) -> None:
        super().__init__(python, "relu_loops.py")

    def slope(self, point: Point, given: argparse.Namespace, form: str, scale: float = 1.0, **other: Any) -> dict[str, Any]:
        """One ladder with the best step times ``scale``; in ``other``, what is not as usual."""
        lr0 = [scale * step for step in STEPS[point][: len(given.widths)]]
        usual = {
            "task": "slope", "form": form, "gamma": point[0], "gamma_prime": point[1], "widths": given.widths, "seeds": SEEDS,
            "lr0": lr0, "rule": False, "dtype": "float32", "limit": {"steps": 800_000, "seconds": given.limit},
        }  # fmt: skip
        return self.ask(**(usual | other))

    def steps(self, file: Path, width: int, dtype: str, steps: int, repeat: int = 1, warm: bool = True) -> dict[str, Any]:
        return self.ask(task="step", file=str(file), width=width, dtype=dtype, steps=steps, repeat=repeat, warm=warm, lr=IMAGE_LR)


def pictures(folder: Path, data_dir: Path | None) -> tuple[np.ndarray, np.ndarray, Path, str]:
    """The first images of MNIST, or made-up ones of that size (a step takes as long); with a 1 for the bias, and a file."""
    from trainphase.data.targets import samples
    from trainphase.errors import DataError

    source = "MNIST"
    try:
        found = samples("mnist", n=IMAGES, data_dir=data_dir)
        x, y = np.asarray(found.X, float), np.asarray(found.y, float)[:, 0]
    except DataError:
        rng, source = np.random.default_rng(0), "made up, of MNIST's size"
        x = rng.random((IMAGES, PIXELS)) * (rng.random((IMAGES, PIXELS)) < 0.2)
        y = rng.integers(0, 10, IMAGES).astype(float)
    x = np.concatenate([x, np.ones((len(x), 1))], 1)
    file = folder / "images.npz"
    np.savez(file, x=x, y=y)
    return x, y, file, source


# ---- the check


def allowed(point: Point, given: argparse.Namespace) -> float:
    """How far apart two slopes may be."""
    return LOOSE.get(point, AGREE) * (1 if given.widths == WIDTHS else SHORT)


def agree(pair: str, bar: float, one: float, two: float) -> dict[str, Any]:
    """Compare two slopes."""
    problems = [] if abs(one - two) <= bar else [f"S_w = {one:.4f} and {two:.4f}, apart by more than {bar:g}"]
    return {"pair": pair, "slopes": [one, two], "problems": problems}


def check(torch: Torch, mine: Ours, given: argparse.Namespace, x: np.ndarray, y: np.ndarray, file: Path) -> list[dict[str, Any]]:
    """Slopes against those at a quarter of PyTorch's step, and the losses of a few steps on the images.

    The first call of trainphase at a point, compilation and all, is timed on the way: ``first_call`` of its entry.
    """
    found = []
    for point in given.points:
        known = given.widths == WIDTHS and not given.recheck
        fine = FINE[point] if known else torch.slope(point, given, "careful", 0.25, dtype="float64")["slope"]
        loops = {name: torch.slope(point, given, form)["slope"] for name, form in LOOPS.items()}
        other, bar = f"PyTorch at a quarter of its step, {point}", allowed(point, given)
        if fine is None or None in loops.values():
            found.append({"pair": f"PyTorch at {point}", "problems": ["not every run reached the target"]})
            continue
        found += [agree(f"{name} and {other}", bar, got, fine) for name, got in loops.items()]
        if not given.baseline:
            begin = time.perf_counter()
            got = mine.slope(point, given.widths)
            first = time.perf_counter() - begin
            found.append(agree(f"trainphase and {other}", bar, got.slope + (2 * bar if given.plant_fault else 0.0), fine))
            found[-1] |= {"point": point, "first_call": first, "slope_se": got.slope_se, "particles": got.particles}
    if not given.baseline:
        # Four steps at 500 neurons. Sums of 785 or 500 terms differ by the order of summation: some tens of eps.
        for dtype, most in (("float64", 1e-12), ("float32", 5e-4)):
            theirs = np.array(torch.steps(file, 500, dtype, 4, warm=False)["losses"])
            losses = np.asarray(ours_steps(x, y, 500, IMAGE_LR, dtype)(4), float)
            apart = float(np.abs(losses / theirs - 1).max())
            problems = [] if apart <= most else [f"{apart:.2g} apart where {most:.2g} is allowed"]
            found.append({"pair": f"losses on images, {dtype}", "apart": apart, "problems": problems})
    return found


# ---- the measurement


def measure(torch: Torch, mine: Ours, given: argparse.Namespace) -> dict[str, Any]:
    """Seconds of each contender at each point in each round."""
    key = "cpu" if given.cpu_time else "seconds"
    timer = time.process_time if given.cpu_time else time.perf_counter
    rows: dict[Point, dict[str, Any]] = {p: {name: [] for name in (*LOOPS, *MINE)} for p in given.points}
    if not given.baseline:
        for point in given.points:
            mine.slope(point, given.widths, known=True)
    for k in range(given.rounds):
        for point, row in rows.items():
            if not given.baseline:
                for name, known in MINE.items():
                    begin = timer()
                    row["found"] = mine.slope(point, given.widths, known).slope
                    row[name].append(timer() - begin)
            for name, form in LOOPS.items():
                got = torch.slope(point, given, form)
                row[name].append(got[key])
                row["runs"], row["slope"] = got["runs"], got["slope"]
        print(f"slopes: round {k + 1} of {given.rounds} done", file=sys.stderr, flush=True)
    for point, row in rows.items():
        row |= {"point": point, "lr0": STEPS[point][: len(given.widths)]}
        row["ratios"] = {f"{a} / {b}": within(row[a], row[b]) if row[b] else None for b in MINE for a in LOOPS}
        if given.rule:
            # In double precision: in single the loss rises by rounding while a condensed network has not yet begun to grow.
            start = [RULE_LR0] * len(given.widths)
            row["rule"] = torch.slope(point, given, "careful", lr0=start, rule=True, dtype="float64")
    return {"points": list(rows.values())}


def measure_steps(torch: Torch, given: argparse.Namespace, x: np.ndarray, y: np.ndarray, file: Path) -> list[dict[str, Any]]:
    """Seconds per step on the images in each round."""
    key = "cpu" if given.cpu_time else "seconds"
    timer = time.process_time if given.cpu_time else time.perf_counter
    rows = []
    for width in given.image_widths:
        for dtype in DTYPES:
            row: dict[str, Any] = {"width": width, "dtype": dtype, "PyTorch": [], "trainphase": []}
            work = None if given.baseline else ours_steps(x, y, width, IMAGE_LR, dtype)
            if work:
                work(given.image_steps)
            for _ in range(given.rounds):
                if work:
                    begin = timer()
                    work(given.image_steps)
                    row["trainphase"].append((timer() - begin) / given.image_steps)
                row["PyTorch"] += torch.steps(file, width, dtype, given.image_steps)[key]
            row["ratios"] = {"PyTorch / trainphase": within(row["PyTorch"], row["trainphase"]) if row["trainphase"] else None}
            # Forward and backward are two products each of (n, d) by (d, m) for PyTorch, of (n, n) by (n, m) for trainphase.
            row["gflops"] = [4e-9 * IMAGES * size * width / np.median(row[name]) if row[name] else None for name, size in
                             (("PyTorch", x.shape[1]), ("trainphase", IMAGES))]  # fmt: skip
            rows.append(row)
            print(f"steps at {width}, {dtype}: done", file=sys.stderr, flush=True)
    return rows


def requirements(points: list[dict[str, Any]], steps: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The median over the plane of the points' median ratios, and the least of the steps' median ratios."""
    over = [[row["ratios"][f"PyTorch / {name}"] for row in points] for name in MINE]
    least = [row["ratios"]["PyTorch / trainphase"] for row in steps]
    if None in [*over[0], *least]:
        return []
    once, often = (float(np.median([ratio["median"] for ratio in ratios])) for ratios in over)
    worst = min(ratio["median"] for ratio in least)
    needs = [
        (f"S_w over PyTorch, median over the plane, at least {NEEDED_SLOPE:g}", once, NEEDED_SLOPE),
        ("the same with known bins", often, NEEDED_SLOPE),
        (f"the same with known bins, the aim: {AIM_SLOPE:g}", often, AIM_SLOPE),
        (f"step on images over PyTorch, least of all sizes, at least {NEEDED_STEP:g}", worst, NEEDED_STEP),
    ]
    return [{"what": what, "value": v, "met": v >= bar, "aim": bar == AIM_SLOPE} for what, v, bar in needs]


def report(result: dict[str, Any]) -> None:
    """The result as text."""
    sizes, cpu = ", ".join(map(str, result["widths"])), result["clock"] == "CPU"
    print(f"\nS_w over the widths {sizes}, {len(SEEDS)} seeds, {result['rounds']} rounds; {result['clock']} seconds")
    heads = ("PyTorch", "careful", "ours", "again", "ratio: min, median, max", "again")
    print(f"{'point':>12} {'S_w':>8} {'ours':>8} {'steps':>11} {'lr0':>17} {' '.join(f'{h:>9}' for h in heads)}")
    for row in result["points"]:
        steps = [run["steps"] for run in row["runs"]]
        found = "-" if row["slope"] is None else f"{row['slope']:.4f}"
        spread = [f"{min(v):.4g}..{max(v):.4g}" for v in (steps, row["lr0"])]
        mine = f"{row['found']:.4f}" if "found" in row else "-"
        print(f"{row['point']!s:>12} {found:>8} {mine:>8} {spread[0]:>11} {spread[1]:>17} {times(row)}")
        if "rule" in row:
            rule = row["rule"]
            left = sum(run["end"] != "trained" for run in rule["runs"])
            last = sum(run["last_cpu" if cpu else "last_seconds"] for run in rule["runs"])
            whole = rule["cpu" if cpu else "seconds"]
            print(f"{'':12} by the paper's rule {whole:.3g} s, the last trials alone {last:.3g} s; {left} runs not finished")
    firsts = [check["first_call"] for check in result["checks"] if "first_call" in check]
    if firsts:
        print(
            f"compilation apart: first calls of trainphase took {firsts[0]:.2f} s at the first point, {sum(firsts):.2f} s in all"
        )
    print(f"\nseconds per step, {IMAGES} images, {result['images']}")
    for row in result["steps"]:
        rates = ", ".join("-" if rate is None else f"{rate:.0f}" for rate in row["gflops"])
        print(f"m = {row['width']:6} {row['dtype']}: {times(row)}   in products, Gflop/s: {rates}")
    print_requirements(result["requirements"])


def times(row: dict[str, Any]) -> str:
    """Medians of the contenders, and the ratios to PyTorch as one writes it."""
    medians = [f"{np.median(row[name]):9.4g}" if row[name] else f"{'-':>9}" for name in (*LOOPS, *MINE) if name in row]
    ratios = [row["ratios"][f"PyTorch / {name}"] for name in MINE if name in row]
    text = ["  ".join(f"{ratio[k]:.3g}" for k in ("min", "median", "max")) if ratio else "-" for ratio in ratios]
    return f"{' '.join(medians)}   {'   '.join(text)}"


def parsed() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--torch-python", required=True, metavar="PATH", help="an interpreter that has PyTorch and NumPy")
    parser.add_argument("--quick", action="store_true", help="three points, widths to 10 000, three rounds")
    parser.add_argument("--rounds", type=int, help="rounds in which the contenders take turns [5]")
    parser.add_argument("--limit", type=float, default=120.0, help="seconds a run of PyTorch may take [120]")
    parser.add_argument("--baseline", action="store_true", help="only PyTorch")
    parser.add_argument("--recheck", action="store_true", help="find the slopes at a quarter of PyTorch's steps anew")
    parser.add_argument("--rule", action="store_true", help="also PyTorch by the paper's rule, once")
    parser.add_argument("--data-dir", type=Path, help="where MNIST is looked for; absent, images are made up")
    parser.add_argument("--cpu-time", action="store_true", help="count CPU seconds: for a machine that does other work, too")
    parser.add_argument("--plant-fault", action="store_true", help="a slope that is off: the check must find it")
    parser.add_argument("--require", action="store_true", help="exit code 3 when a required value is not reached")
    parser.add_argument("--out", type=Path, help="where to write the result [benchmarks/results/relu.json]")
    given = parser.parse_args()
    given.rounds = given.rounds or (3 if given.quick else 5)
    given.widths = WIDTHS[:3] if given.quick else WIDTHS
    given.points = list(QUICK) if given.quick else list(STEPS)
    given.image_widths = IMAGE_WIDTHS[:1] if given.quick else IMAGE_WIDTHS
    given.image_steps = 3
    given.out = given.out or place("relu", given.quick)
    if given.rounds < 3:
        parser.error("fewer than 3 rounds compare nothing; give more")
    return given


def main() -> int:
    """Check, measure, report."""
    given = parsed()
    torch = Torch(given.torch_python)
    with tempfile.TemporaryDirectory() as folder:
        x, y, file, source = pictures(Path(folder), given.data_dir)
        mine = Ours(TARGET)
        checks = check(torch, mine, given, x, y, file)
        if not agreed(checks):
            return 1
        got = measure(torch, mine, given)
        steps = measure_steps(torch, given, x, y, file)
    about = machine(FLAGS) | {"torch_side": torch.about}
    result = {
        "benchmark": "relu", "widths": given.widths, "seeds": SEEDS, "rounds": given.rounds, "images": source,
        "clock": "CPU" if given.cpu_time else "wall", "machine": about, "checks": checks, **got,
        "steps": steps, "requirements": requirements(got["points"], steps),
    }  # fmt: skip
    report(result)
    write(result, given.out)
    met = all(need["met"] or need["aim"] for need in result["requirements"])
    return 3 if given.require and not met else 0


if __name__ == "__main__":
    sys.exit(main())
