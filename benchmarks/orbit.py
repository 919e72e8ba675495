"""Orbit and Lyapunov exponent of the cubic map at a million values of a: trainphase, NumPy and C, one thread each.

The contenders take turns in rounds, so that whatever else the machine does falls on all of them; ratios are taken
within a round. Their results are compared first, and a disagreement ends the program with exit code 1. What is
measured and what limits it stands in README.md beside this file.
"""

from __future__ import annotations

import argparse
import ctypes
import itertools
import platform
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from _machine import machine, one_cpu
from _results import agreed, clock, place, print_requirements, span, within, write

# Before NumPy and JAX count the CPUs they may use.
FLAGS = one_cpu()

import jax  # noqa: E402
import jax.numpy as jnp  # noqa: E402
import numpy as np  # noqa: E402

from trainphase._arrays import precision  # noqa: E402
from trainphase.diagrams import SCALAR_TILE, samples_for  # noqa: E402
from trainphase.ensemble import stratified  # noqa: E402
from trainphase.phase import TRAINING  # noqa: E402
from trainphase.records import Recipe, answer, with_values  # noqa: E402
from trainphase.survey import BLOCK, QUARTERS, rounded_steps, survey  # noqa: E402
from trainphase.systems.cubic import Cubic  # noqa: E402
from trainphase.theory import cubic as theory  # noqa: E402

HERE = Path(__file__).resolve().parent
TOP = 2.2
NEEDED_NUMPY, NEEDED_C = 35.0, 0.5
OPERATIONS = 4  # vector operations an iteration needs at least: two fused multiply-adds, two multiplications

Results = dict[str, np.ndarray]


def starts(a: np.ndarray) -> np.ndarray:
    """The start that a survey with one start takes, in the coordinate x."""
    return stratified(1)[0] * np.sqrt(2.0 + a)


# ---- trainphase


def tiles(a: np.ndarray) -> list[np.ndarray]:
    """The values in tiles of equal size, the last one filled up with its last value, as a diagram does."""
    size = min(SCALAR_TILE, len(a))
    cut = [a[i : i + size] for i in range(0, len(a), size)]
    cut[-1] = np.concatenate([cut[-1], np.full(size - len(cut[-1]), cut[-1][-1])])
    return cut


def run_survey(a: np.ndarray, steps: int) -> Results:
    """trainphase's statistics kernel over all tiles."""
    blocks = rounded_steps(steps) // (BLOCK * QUARTERS)
    found = []
    with precision("float64"):
        for tile in tiles(a):
            system, batched = with_values(Cubic(a=1.0), {"a": tile}, "float64")
            out = survey(system, jnp.asarray(starts(tile)), blocks, batched, False)
            found.append(np.asarray(jax.block_until_ready(out)["full"]["lyapunov"]))
    return {"lyapunov": np.concatenate(found)[: len(a)]}


def run_answer(a: np.ndarray, steps: int) -> Results:
    """All that a diagram asks at a point: two horizons, search for cycles and for growth, classification."""
    recipe = Recipe(Cubic, {}, steps=steps, starts=1, samples=samples_for(len(a), 1))
    found = [answer(recipe, Cubic(a=1.0), {"a": tile}) for tile in tiles(a)]
    return {name: np.concatenate([f[name] for f in found])[: len(a)] for name in ("lyapunov", "phase")}


# ---- NumPy


def plain(a: np.ndarray, z: np.ndarray, s: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """One iteration as it is usually written."""
    z = z**3 + (a - 2) * z**2 + (1 - 2 * a) * z
    s += np.log(np.abs(3 * z**2 + 2 * (a - 2) * z + 1 - 2 * a))
    return z, s


def horner(a: np.ndarray, z: np.ndarray, s: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """One iteration as a careful user writes it: no powers."""
    z = z * (z * (z + (a - 2)) + (1 - 2 * a))
    s += np.log(np.abs(z * (3 * z + 2 * (a - 2)) + (1 - 2 * a)))
    return z, s


class NumPy:
    """A NumPy loop over the whole array that can be left and taken up again."""

    def __init__(self, step: Callable[..., Any], a: np.ndarray) -> None:
        self.step, self.a = step, a
        self.z, self.s = starts(a) ** 2 - a, np.zeros_like(a)

    def advance(self, count: int) -> None:
        with np.errstate(all="ignore"):
            for _ in range(count):
                self.z, self.s = self.step(self.a, self.z, self.s)

    def settle_and_measure(self, horizon: int) -> Results:
        """Lyapunov exponent over the second half of the horizon, as in the other contenders."""
        self.advance(horizon // 2)
        self.s = np.zeros_like(self.a)
        self.advance(horizon // 2)
        lyapunov = self.s / (horizon // 2)
        # Close to -a the coordinate z cannot hold the distance to that fixed point, and an orbit sticks to it.
        lyapunov[np.abs(self.z + self.a) < 1e-12] = np.nan
        return {"lyapunov": lyapunov}


# ---- C


class Kernel:
    """The C kernel, compiled with the given flags."""

    def __init__(self, folder: Path, lanes: int, flags: list[str]) -> None:
        path = folder / f"kernel{len(list(folder.iterdir()))}.so"
        command = ["gcc", "-O3", "-march=native", "-fPIC", "-shared", f"-DLANES={lanes}", *flags]
        self.lanes, self.flags = lanes, " ".join(command[1:3] + flags)
        subprocess.run([*command, "-o", str(path), str(HERE / "orbit_kernel.c"), "-lm"], check=True)
        self.library = ctypes.CDLL(str(path))
        self.library.peak.restype = ctypes.c_int

    def run(self, a: np.ndarray, steps: int) -> Results:
        half = rounded_steps(steps) // (2 * BLOCK)
        padded = np.concatenate([a, np.full(-len(a) % self.lanes, a[-1])])
        x, total, square = starts(padded), np.empty_like(padded), np.empty_like(padded)
        pointers = [v.ctypes.data_as(ctypes.POINTER(ctypes.c_double)) for v in (padded, x, total, square)]
        self.library.orbit(ctypes.c_size_t(len(padded)), ctypes.c_long(half), *pointers)
        with np.errstate(invalid="ignore", over="ignore"):
            gone = ~(x * x <= 5.0 + padded)
        return {"lyapunov": total[: len(a)] / (half * BLOCK), "escaped": gone[: len(a)]}

    def peak(self) -> float:
        """Fused multiply-adds per second, in doubles."""
        sink, rounds, best = ctypes.c_double(), 3_000_000, 0.0
        for _ in range(5):
            begin = time.perf_counter()
            width = self.library.peak(ctypes.c_long(rounds), ctypes.byref(sink))
            best = max(best, 12 * rounds * width / (time.perf_counter() - begin))
        return best


def compiled(folder: Path, fault: bool, lanes: tuple[int, ...]) -> dict[str, Kernel]:
    """The three C kernels, each with the number of lanes that is fastest here."""
    wide = ["-mprefer-vector-width=512"] if platform.machine() in ("x86_64", "AMD64") else []
    variants = {"C": [], "C fast-math": ["-ffast-math", *wide], "C fast-math bits": ["-ffast-math", *wide, "-DBITS"]}
    trial = (np.arange(4096) + 0.5) / 4096 * 2.0
    best = {}
    for name, flags in variants.items():
        kernels = [Kernel(folder, n, flags + (["-DTHREE=2.9"] if fault else [])) for n in lanes]
        best[name] = min(kernels, key=lambda k: min(clock(lambda k=k: k.run(trial, 2048)) for _ in range(3)))
    return best


# ---- the check


def compare(name: str, a: np.ndarray, one: np.ndarray, two: np.ndarray) -> dict[str, Any]:
    """Compare the Lyapunov exponents of two contenders at the same values of a; see README.md for the tolerances."""
    problems = []
    # Regular: |multiplier| of the cycle in (e^-2, 1) and contraction by at least e^-100 while settling.
    with np.errstate(invalid="ignore"):
        regular = (a > 0.02) & (a < 1.299) & (two < -0.02) & (two * theory.period(a) > -2)
        apart = np.abs(one - two)[regular]
        worst = float(apart.max(initial=0.0)) if np.isfinite(apart).all() else np.inf
    if not worst < 1e-11:
        problems.append(f"regular range: {worst:.2g} apart where 1e-11 is allowed")
    # Also all of them against the closed forms, so that a fault common to all is found.
    known = regular & (theory.period(a) <= 2)
    off = float(np.nan_to_num(np.abs(one - theory.lyapunov(a))[known], nan=np.inf).max(initial=0.0))
    if not off < 1e-11:
        problems.append(f"closed form: {off:.2g} apart where 1e-11 is allowed")
    sigmas, stuck, same = 0.0, 0, []
    bands = np.linspace(1.31, 1.99, 13)
    for low, high in itertools.pairwise(bands):
        band = (a >= low) & (a < high)
        d = (one - two)[band]
        stuck += int(np.isnan(d).sum())
        d = d[np.isfinite(d)]
        same.append(np.abs(d) < 1e-9)
        if len(d) < 16:
            problems.append(f"chaotic band at {low:.2f}: only {len(d)} points to compare")
            continue
        sigmas = max(sigmas, abs(d.mean()) / (d.std(ddof=1) / len(d) ** 0.5 + 1e-12))
    if not sigmas < 5:
        problems.append(f"chaotic range: a band's means are {sigmas:.1f} standard errors apart where 5 are allowed")
    if stuck > 2 + 1e-3 * len(a):
        problems.append(f"{stuck} orbits without an exponent")
    return {
        "pair": name, "regular_points": int(regular.sum()), "regular_worst": worst, "closed_form_worst": off,
        "band_sigmas": float(sigmas), "chaotic_same": float(np.concatenate(same).mean()) if same else None,
        "without_exponent": stuck, "problems": problems,
    }  # fmt: skip


def compare_phases(a: np.ndarray, codes: np.ndarray, escaped: np.ndarray) -> dict[str, Any]:
    """The labels against theory, and escape in C against them, away from the boundaries."""
    edges = np.array([boundary.a for boundary in theory.PHASE_BOUNDARIES])
    clear = np.abs(a[:, None] - edges).min(1) > 5e-3
    labels, expected = np.array(TRAINING.labels)[codes], theory.phases(a)
    # The chaotic range contains windows of periodic attractors.
    right = (labels == expected) | ((expected == "chaotic") & (labels == "periodic"))
    wrong, left = int((clear & ~right).sum()), int((clear & (escaped != (expected == "divergent"))).sum())
    undecided = int((clear & (labels == "undecided")).sum())
    problems = []
    # At the edge of a window a tangent bifurcation leaves a few labels undecided at any horizon.
    if wrong - undecided > 0 or undecided > 2 + 2e-3 * len(a):
        problems.append(f"{wrong} labels differ from theory, {undecided} of them undecided")
    if left:
        problems.append(f"{left} orbits in C escape where the phase is not divergent, or stay where it is")
    return {"pair": "phase and theory", "compared": int(clear.sum()), "undecided": undecided, "problems": problems}


# ---- the measurement


def check(
    a: np.ndarray, steps: int, few: int, kernels: dict[str, Kernel]
) -> tuple[list[dict[str, Any]], dict[str, float]]:
    """Compare all contenders; also the rates of the NumPy loops over the full horizon at the points of the check."""
    reference = run_survey(a, steps)["lyapunov"]
    whole = run_answer(a, steps)
    made = {name: kernel.run(a, steps) for name, kernel in kernels.items()}
    found = [compare(f"{name} and trainphase survey", a, got["lyapunov"], reference) for name, got in made.items()]
    found.append(compare("trainphase answer and survey", a, whole["lyapunov"], reference))
    found.append(compare_phases(a, whole["phase"], made["C"]["escaped"]))
    pick = np.arange(few) * len(a) // few
    rates = {}
    for name, step in (("NumPy", plain), ("NumPy Horner", horner)):
        loop, out = NumPy(step, a[pick]), {}
        seconds = clock(lambda loop=loop, out=out: out.update(loop.settle_and_measure(rounded_steps(steps))))
        rates[name] = few * rounded_steps(steps) / seconds
        found.append(compare(f"{name} and trainphase survey", a[pick], out["lyapunov"], reference[pick]))
    return found, rates


def measure(
    a: np.ndarray, steps: int, rounds: int, kernels: dict[str, Kernel], timer: Callable[[], float]
) -> dict[str, list[float]]:
    """Iterations per second of every contender in every round."""
    points, horizon = len(a), rounded_steps(steps)
    loops = {"NumPy": NumPy(plain, a), "NumPy Horner": NumPy(horner, a)}
    counts = {"NumPy": max(1, 12_000_000 // points), "NumPy Horner": max(1, 40_000_000 // points)}
    turns: dict[str, tuple[Callable[[], Any], int]] = {
        "trainphase survey": (lambda: run_survey(a, steps), horizon),
        "trainphase answer": (lambda: run_answer(a, steps), horizon),
    }
    for name, loop in loops.items():
        turns[name] = (lambda loop=loop, n=counts[name]: loop.advance(n), counts[name])
    for name, kernel in kernels.items():
        turns[name] = (lambda kernel=kernel: kernel.run(a, steps), horizon)
    rates: dict[str, list[float]] = {name: [] for name in turns}
    for k in range(rounds):
        for name, (work, iterations) in turns.items():
            rates[name].append(points * iterations / clock(work, timer))
        print(f"round {k + 1} of {rounds} done", file=sys.stderr, flush=True)
    return rates


def ratio(rates: dict[str, list[float]], one: str, two: str) -> dict[str, float]:
    """The ratio of the medians, with the spread of the ratios within a round."""
    return within(rates[one], rates[two]) | {"of_medians": float(np.median(rates[one]) / np.median(rates[two]))}


def gcc_version() -> str:
    return subprocess.run(["gcc", "-dumpfullversion"], capture_output=True, text=True, check=True).stdout.strip()


def report(result: dict[str, Any]) -> None:
    """The result as text."""
    size = f"{result['points']} values of a, {result['horizon']} iterations, {result['rounds']} rounds"
    print(f"\n{size}; {result['machine']['cpu']}")
    peak, most = result["peak_fma"] / 1e9, result["peak"] / 1e9
    print(f"measured peak {peak:.1f}e9 multiply-adds/s = {most:.2f}e9 iterations/s at best\n")
    print(f"{'iterations/s, in 1e6':24}{'min':>10}{'median':>10}{'max':>10}   share of peak")
    for name, rate in result["rates"].items():
        numbers = "".join(f"{rate[k] / 1e6:10.1f}" for k in ("min", "median", "max"))
        print(f"{name:24}{numbers}{100 * rate['median'] / result['peak']:13.1f}%")
    for name, rate in result["numpy_full_length"].items():
        print(f"{name + ', all steps':24}{rate / 1e6:20.1f}   (once, at {result['few']} points)")
    print(f"\n{'survey over':24}{'min':>10}{'median':>10}{'max':>10}   of the medians")
    for name, r in result["ratios"].items():
        print(f"{name:24}" + "".join(f"{r[k]:10.3g}" for k in ("min", "median", "max")) + f"{r['of_medians']:13.3g}")
    print_requirements(result["requirements"])


def parsed() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="32768 points, three rounds: seconds instead of minutes")
    parser.add_argument("--points", type=int, help="values of a in (0, 2.2) [1000000]")
    parser.add_argument("--steps", type=int, default=10_000, help="iterations per point, rounded up to 512s [10000]")
    parser.add_argument("--rounds", type=int, help="rounds in which the contenders take turns [5]")
    parser.add_argument("--cpu-time", action="store_true", help="count CPU seconds: for a machine that does other work, too")
    parser.add_argument("--plant-fault", action="store_true", help="a wrong derivative in C: the check must find it")
    parser.add_argument("--require", action="store_true", help="exit code 3 when a required ratio is not reached")
    parser.add_argument("--out", type=Path, help="where to write the result [benchmarks/results/orbit.json]")
    given = parser.parse_args()
    given.points = given.points or (32_768 if given.quick else 1_000_000)
    given.rounds = given.rounds or (3 if given.quick else 5)
    given.out = given.out or place("orbit", given.quick)
    if given.points < 1024 or given.rounds < 3 or given.steps < 10_000:
        parser.error("fewer than 1024 points, 3 rounds or 10000 steps compare nothing; give more")
    if shutil.which("gcc") is None:
        parser.error("gcc was not found, so there is no C kernel to compare with; install it")
    return given


def main() -> int:
    """Check, measure, report."""
    given = parsed()
    a = (np.arange(given.points) + 0.5) * (TOP / given.points)
    few = 1024 if given.quick else 4096
    with tempfile.TemporaryDirectory() as folder:
        kernels = compiled(Path(folder), given.plant_fault, (32, 64) if given.quick else (32, 64, 128))
        checks, full_length = check(a, given.steps, few, kernels)
        if not agreed(checks):
            return 1
        timer = time.process_time if given.cpu_time else time.perf_counter
        rates = measure(a, given.steps, given.rounds, kernels, timer)
        peak_fma = kernels["C fast-math"].peak()
    over = [name for name in rates if not name.startswith("trainphase")]
    ratios = {name: ratio(rates, "trainphase survey", name) for name in over}
    fastest_c = min(("C", "C fast-math"), key=lambda name: ratios[name]["of_medians"])
    result = {
        "benchmark": "orbit", "points": given.points, "horizon": rounded_steps(given.steps), "rounds": given.rounds,
        "few": few, "machine": machine(FLAGS) | {"gcc": gcc_version()}, "peak_fma": peak_fma, "peak": peak_fma / OPERATIONS,
        "rates": {name: span(r) for name, r in rates.items()}, "rounds_rates": rates, "ratios": ratios,
        "clock": "CPU" if given.cpu_time else "wall", "numpy_full_length": full_length, "checks": checks,
        "kernels": {name: {"lanes": k.lanes, "flags": k.flags} for name, k in kernels.items()},
        "requirements": [
            {"what": f"survey over {name}, at least {least:g}", "value": ratios[name]["of_medians"],
             "met": bool(ratios[name]["of_medians"] >= least)}
            for name, least in (("NumPy", NEEDED_NUMPY), (fastest_c, NEEDED_C))
        ],
    }  # fmt: skip
    report(result)
    write(result, given.out)
    return 3 if given.require and not all(need["met"] for need in result["requirements"]) else 0


if __name__ == "__main__":
    sys.exit(main())
