"""Quadratic regression models that share Q: trainphase, a NumPy loop and a jitted JAX loop, one thread each.

Workload: the phase diagram of the final curvature over the rescaled widths (sigma_z, sigma_J), each run until it settles,
escapes or reaches the horizon, at D = 60 outputs and P = 120 parameters. Rates are trajectory-steps per second; steps that
a finished lane would idle through, the curvature along the way and at both ends, and the host are in the time and not in
the count. The other contenders run one trajectory after the other, with the same looks at loss and curvature, for a fixed
number of steps of trajectories that stay finite.

| contender | what it does |
|---|---|
| trainphase | ``march`` over the grid: what ``trainphase diagram quadratic sigma_z=... sigma_J=...`` runs for a seed |
| NumPy | the equations for z and J as they are printed, with ``einsum``: Q(u, u) and Q(u, .) each for itself |
| NumPy careful | Q(u, .) once, as a matrix-vector product, and Q(u, u) from it; no part of the requirement |
| JAX | the printed form, jitted, ``fori_loop`` over the steps |
| JAX careful | the careful form, jitted; of two orders of the product the faster; no part of the requirement |

They take turns in rounds, and ratios are taken within a round. The results are compared first, and a disagreement ends the
program with exit code 1. The machine's matrix-product peak is the best of XLA's and NumPy's BLAS over square matrices and
over the shape of the model, in all rounds; a step counts as 2 D P^2 operations, all else as none.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

from _machine import machine, one_cpu
from _results import agreed, clock, place, print_requirements, span, within, write

# Before NumPy and JAX count the CPUs they may use.
FLAGS = one_cpu()

import jax  # noqa: E402
import jax.numpy as jnp  # noqa: E402
import numpy as np  # noqa: E402
from jax import lax  # noqa: E402
from quadratic_loops import EVERY, Draws, careful, jax_run, numpy_run, printed  # noqa: E402

from trainphase._arrays import precision  # noqa: E402
from trainphase.march import HORIZON, march  # noqa: E402
from trainphase.records import with_values  # noqa: E402
from trainphase.survey import batch_axes  # noqa: E402
from trainphase.systems.quadratic import Quadratic, draws  # noqa: E402

INNER = 25  # steps per compiled call in the breakdown
DTYPES = ("float32", "float64")
# Contenders that run one trajectory at a time: calls of 200 steps in a round.
LOOPS = {"NumPy": 3, "NumPy careful": 15, "JAX": 10, "JAX careful": 15}
NEEDED_NUMPY = {"float32": 60.0, "float64": 35.0}
NEEDED_JAX = {"float32": 10.0}
NEEDED_SHARE = {"float32": 0.50, "float64": 0.35}

Results = dict[str, np.ndarray]


# ---- trainphase


def model(sigma_z: np.ndarray, sigma_J: np.ndarray, drawn: Draws, dtype: str) -> tuple[Any, tuple[str, ...]]:
    """The product's system for many widths and one Q; call within ``precision(dtype)``."""
    one = Quadratic(sigma_z=0.1, sigma_J=0.1, lr=1.0, Q=drawn.Q, z_draw=drawn.z, J_draw=drawn.J)
    return with_values(one, {"sigma_z": sigma_z, "sigma_J": sigma_J}, dtype)


def ours(sigma_z: np.ndarray, sigma_J: np.ndarray, drawn: Draws, steps: int, dtype: str) -> Results:
    """THE PRODUCT'S CALL. Returns run_steps, status, loss, loss_max and curvature, arrays of shape (runs,)."""
    with precision(dtype):
        system, batched = model(sigma_z, sigma_J, drawn, dtype)
        return march(system, batched, len(sigma_z), steps)


def pieces(drawn: Draws, dtype: str, runs: int) -> tuple[int, dict[str, Callable[[], Any]]]:
    """Parts of a step on a full tile, INNER steps a call: the product alone, with the rest of a step, with the looks.

    And the lanes of a tile where so many runs are advanced.
    """
    P = drawn.J.shape[1]
    with precision(dtype):
        width = jax.tree.map(jnp.asarray, model(np.zeros(1), np.zeros(1), drawn, dtype)[0]).ready().tile_of(runs)
        system, batched = model(np.full(width, 0.2), np.linspace(0.3, 0.4, width), drawn, dtype)
        system = jax.tree.map(jnp.asarray, system).ready()
        axes = batch_axes(system, batched)
        state, memory = jax.vmap(lambda s: (s.init(), s.memory()), (axes,), Quadratic.lane_axis, axis_size=width)(system)
        Q, zero = (jnp.asarray(system.Q),) if width == system.tile else system.parts, jnp.zeros(width, dtype)

    def product(phi: jax.Array, Q: tuple[jax.Array, ...]) -> jax.Array:
        for part in Q:
            phi = phi - 1e-6 * lax.optimization_barrier(part @ phi)[:P]
        return phi

    def step(look: bool, s: Any, c: Any) -> Any:
        one = jax.vmap(lambda s, x, w: s.observed_step(x, w, look), (axes, -1, -1), (-1, 0, 0, -1))
        new, loss, seen, w = one(s, *c[:2])
        return new, w, jnp.maximum(c[2], loss), jnp.maximum(c[3], seen) if look else c[3]

    @jax.jit
    def alone(phi: jax.Array, Q: tuple[jax.Array, ...]) -> jax.Array:
        return lax.fori_loop(0, INNER // EVERY, lambda _, p: _repeat(product, p, Q), phi)

    @partial(jax.jit, static_argnums=0)
    def whole(tracked: bool, s: Any, c: Any) -> Any:
        plain, first = partial(step, False, s), partial(step, tracked, s)
        return lax.fori_loop(0, INNER, lambda k, c: lax.cond(k % EVERY == 0, first, plain, c), c)

    carry = (state, memory, zero, zero)

    def call(f: Callable[..., Any], *given: Any) -> Callable[[], Any]:
        def run() -> Any:
            with precision(dtype):
                return jax.block_until_ready(f(*given))

        return run

    return width, {
        "product alone": call(alone, state, Q),
        "steps": call(whole, False, system, carry),
        "steps and looks": call(whole, True, system, carry),
    }


def _repeat(step: Callable[..., Any], state: Any, *given: Any) -> Any:
    for _ in range(EVERY):
        state = step(state, *given)
    return state


# ---- one trajectory at a time


class Loop:
    """One contender that runs trajectories one after the other."""

    def __init__(self, name: str, drawn: Draws, dtype: str, fault: bool = False) -> None:
        self.name, self.drawn, self.dtype, self.fault = name, drawn, dtype, fault
        self.Q = drawn.cube(dtype)
        forms = {"printed": self.Q, "left": np.ascontiguousarray(drawn.Q.T, dtype), "right": drawn.Q.astype(dtype)}
        mine = {"JAX": ("printed",), "JAX careful": ("left", "right")}.get(name, ())
        with precision(dtype):
            self.forms = {form: jnp.asarray(forms[form]) for form in mine}
        self.form = min(mine, key=self._trial) if mine else ""

    def _trial(self, form: str) -> float:
        self.form = form
        return min([clock(lambda: self.one(0.2, 0.35, 200)) for _ in range(4)][1:])

    def one(self, sigma_z: float, sigma_J: float, steps: int) -> tuple[Any, ...]:
        """(z, J, largest loss, largest curvature seen) of one trajectory."""
        start = self.drawn.start(sigma_z, sigma_J, self.dtype)
        if self.form:
            with precision(self.dtype):
                return jax.block_until_ready(jax_run(self.forms[self.form], *start, steps, form=self.form))
        step = printed if self.name == "NumPy" else careful
        return numpy_run(step, self.Q, start, steps, self.fault)

    def results(self, sigma_z: np.ndarray, sigma_J: np.ndarray, run_steps: np.ndarray) -> Results:
        """What trainphase returns, after as many steps of each run."""
        rows = []
        for a, b, n in zip(sigma_z.tolist(), sigma_J.tolist(), run_steps.tolist(), strict=True):
            z, J, loss_max, _ = self.one(a, b, int(n))
            z, J = np.asarray(z, float), np.asarray(J, float)
            rows.append((0.5 * z @ z, loss_max, np.linalg.eigvalsh(J @ J.T)[-1]))
        return dict(zip(("loss", "loss_max", "curvature"), np.array(rows, float).T, strict=True))


# ---- the check


def compare(name: str, one: Results, two: Results, allowed: float) -> dict[str, Any]:
    """Largest relative distance of curvature and largest loss, and of the last loss relative to the largest one."""
    scale = {"curvature": two["curvature"], "loss_max": two["loss_max"], "loss": two["loss_max"]}
    apart = {key: np.abs(one[key] - two[key]) / scale[key] for key in scale}
    worst = {key: float(d.max()) if np.isfinite(d).all() else np.inf for key, d in apart.items()}
    problems = [f"{k}: {v:.2g} apart where {allowed:.0e} is allowed" for k, v in worst.items() if not v < allowed]
    return {"pair": name, "worst": worst, "allowed": allowed, "problems": problems}


def check(drawn: Draws, fault: bool) -> list[dict[str, Any]]:
    """Compare all contenders over 200 steps, at widths where runs settle or sharpen and do not become chaotic."""
    sigma_z, sigma_J = (v.ravel() for v in np.meshgrid([0.03, 0.1, 0.2], [0.2, 0.3, 0.4]))
    found = []
    reference = {}
    # A step rounds z and J by some ten eps, and regular runs do not magnify that: 200 steps, 2000 eps. Found: 10 eps.
    for dtype, allowed in (("float64", 5e-13), ("float32", 3e-4)):
        got = ours(sigma_z, sigma_J, drawn, 200, dtype)
        for name in LOOPS:
            loop = Loop(name, drawn, dtype, fault)
            theirs = loop.results(sigma_z, sigma_J, got["run_steps"])
            found.append(compare(f"{name} and trainphase, {dtype}", theirs, got, allowed))
        reference[dtype] = got
    if (reference["float32"]["run_steps"] == reference["float64"]["run_steps"]).all():
        found.append(compare("float32 and float64", reference["float32"], reference["float64"], 3e-4))
    return found


# ---- the measurement


def peak(D: int, P: int, dtype: str, timer: Callable[[], float]) -> dict[str, float]:
    """Operations per second of one matrix product, for each shape the better of XLA and NumPy, best of five."""
    shapes = [(n, n, n) for n in (1024, 1536, 2048)] + [(Quadratic.lanes, P, D * P), (D * P, P, Quadratic.lanes)]
    rng = np.random.default_rng(0)
    multiply = jax.jit(jnp.matmul)
    rates = {}
    for m, k, n in shapes:
        a, b = rng.standard_normal((m, k)).astype(dtype), rng.standard_normal((k, n)).astype(dtype)
        out = np.empty((m, n), dtype)
        with precision(dtype):
            x, y = jnp.asarray(a), jnp.asarray(b)
            xla = min(clock(lambda x=x, y=y: jax.block_until_ready(multiply(x, y)), timer) for _ in range(6))
        blas = min(clock(lambda a=a, b=b, out=out: np.matmul(a, b, out=out), timer) for _ in range(5))
        rates[f"{m}x{k}x{n}"] = 2.0 * m * k * n / min(xla, blas)
    return rates


def repeated(work: Callable[[], Any], times: int, steps: int) -> float:
    """Do the work so many times; trajectory-steps done."""
    for _ in range(times):
        work()
    return float(times * steps)


def measure(drawn: Draws, dtype: str, given: argparse.Namespace) -> dict[str, Any]:
    """Trajectory-steps per second of every contender and every part in every round, and the peaks."""
    D, P = drawn.J.shape
    axis = (np.arange(given.side) + 0.5) / given.side
    sigma_z, sigma_J = (v.ravel() for v in np.meshgrid(axis, axis))
    warm = ours(sigma_z, sigma_J, drawn, given.steps, dtype)
    turns: dict[str, Callable[[], float]] = {
        "trainphase": lambda: float(ours(sigma_z, sigma_J, drawn, given.steps, dtype)["run_steps"].sum())
    }
    # A run that goes on to the horizon, as often as there are runs: no lane is ever idle.
    staying = np.flatnonzero(warm["status"] == HORIZON)
    if staying.size:
        pick = np.full(len(sigma_z), staying[staying.size // 2])
        turns["trainphase, lanes full"] = lambda: float(ours(sigma_z[pick], sigma_J[pick], drawn, 400, dtype)["run_steps"].sum())
        turns["trainphase, lanes full"]()
    width, parts = pieces(drawn, dtype, len(sigma_z))
    for name, work in parts.items():
        work()
        turns[name] = partial(repeated, work, given.repeat, INNER * width)
    # 200 steps from the start each time: a residual that shrinks for thousands of steps ends in subnormal numbers, with
    # which NumPy is many times slower.
    for name, count in LOOPS.items():
        turns[name] = partial(repeated, partial(Loop(name, drawn, dtype).one, 0.2, 0.35, 200), count, 200)
    timer, wall, cpu = time.process_time if given.cpu_time else time.perf_counter, time.perf_counter(), time.process_time()
    rates: dict[str, list[float]] = {name: [] for name in turns}
    peaks: list[dict[str, float]] = []
    for k in range(given.rounds):
        peaks.append(peak(D, P, dtype, timer))
        for name, work in turns.items():
            begin = timer()
            steps = work()
            rates[name].append(steps / (timer() - begin))
        print(f"{dtype}: round {k + 1} of {given.rounds} done", file=sys.stderr, flush=True)
    return {
        "rates": rates, "peaks": peaks, "peak": max(max(p.values()) for p in peaks) / (2.0 * D * P * P),
        "cpu_share": (time.process_time() - cpu) / (time.perf_counter() - wall), "clock": "CPU" if given.cpu_time else "wall",
        "run_steps_mean": float(warm["run_steps"].mean()), "runs": len(sigma_z), "tile": width,
        "ends": np.bincount(warm["status"], minlength=4).tolist(),
    }  # fmt: skip


def budget(rates: dict[str, list[float]], most: float) -> dict[str, float]:
    """Where the time of a trajectory-step goes, as shares of it; from the medians, so a share can come out negative."""
    at = {name: 1.0 / float(np.median(values)) for name, values in rates.items()}
    whole, full = at["trainphase"], at.get("trainphase, lanes full", at["steps and looks"])
    parts = {
        "product at the peak": 1.0 / most,
        "product below the peak": at["product alone"] - 1.0 / most,
        "rest of a step": at["steps"] - at["product alone"],
        "looks at the curvature": at["steps and looks"] - at["steps"],
        "records, host, exact ends": full - at["steps and looks"],
        "idle lanes, entering runs": whole - full,
    }
    return {name: seconds / whole for name, seconds in parts.items()}


def summary(got: dict[str, Any], dtype: str) -> dict[str, Any]:
    """Ratios within rounds, share of the peak, budget, requirements."""
    rates, most = got["rates"], got["peak"]
    ratios = {k: within(rates["trainphase"], rates[k]) for k in LOOPS}
    shares = {k: float(np.median(v)) / most for k, v in rates.items()}
    needs = [(f"trainphase over {k}", need[dtype], ratios[k]["median"])
             for k, need in (("NumPy", NEEDED_NUMPY), ("JAX", NEEDED_JAX)) if dtype in need]  # fmt: skip
    needs.append(("share of the peak, whole runs", NEEDED_SHARE[dtype], shares["trainphase"]))
    return got | {
        "rates": {k: span(v) for k, v in rates.items()}, "rounds_rates": rates, "ratios": ratios, "shares": shares,
        "budget": budget(rates, most),
        "requirements": [{"what": f"{what}, at least {least:g}", "value": value, "met": bool(value >= least)}
                         for what, least, value in needs],
    }  # fmt: skip


def report(dtype: str, got: dict[str, Any], flops: float) -> None:
    """The result of one precision as text."""
    print(f"\n{dtype}: peak {got['peak'] * flops / 1e9:.1f} GF/s = {got['peak']:.0f} trajectory-steps/s at best")
    print(f"{got['runs']} runs of {got['run_steps_mean']:.0f} steps on average; settled, escaped, horizon: {got['ends'][1:4]}")
    print(f"share of the CPU that this process had: {100 * got['cpu_share']:.0f} %; counted in {got['clock']} seconds")
    print(f"{'trajectory-steps/s':24}{'min':>10}{'median':>10}{'max':>10}   share of peak")
    for name, rate in got["rates"].items():
        numbers = "".join(f"{rate[k]:10.0f}" for k in ("min", "median", "max"))
        print(f"{name:24}{numbers}{100 * got['shares'][name]:13.1f}%")
    print("where the time goes:  " + "; ".join(f"{name} {100 * share:.0f} %" for name, share in got["budget"].items()))
    for name, r in got["ratios"].items():
        print(f"over {name:19}" + "".join(f"{r[k]:10.3g}" for k in ("min", "median", "max")))
    print_requirements(got["requirements"])


def parsed() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="16 x 16 widths, 1000 steps, three rounds: a minute")
    parser.add_argument("--side", type=int, help="values of each width in (0, 1) [32]")
    parser.add_argument("--steps", type=int, help="horizon, rounded up to 400s [5000]")
    parser.add_argument("--rounds", type=int, help="rounds in which the contenders take turns [5]")
    parser.add_argument("--D", type=int, default=60, help="outputs [60]")
    parser.add_argument("--P", type=int, default=120, help="parameters [120]")
    parser.add_argument("--cpu-time", action="store_true", help="count CPU seconds: for a machine that does other work, too")
    parser.add_argument("--plant-fault", action="store_true", help="a wrong factor in NumPy: the check must find it")
    parser.add_argument("--require", action="store_true", help="exit code 3 when a required value is not reached")
    parser.add_argument("--out", type=Path, help="where to write the result [benchmarks/results/quadratic.json]")
    given = parser.parse_args()
    given.side = given.side or (16 if given.quick else 32)
    given.steps = given.steps or (1000 if given.quick else 5000)
    given.rounds = given.rounds or (3 if given.quick else 5)
    given.repeat = 4 if given.quick else 10
    given.out = given.out or place("quadratic", given.quick)
    if given.side < 8 or given.rounds < 3 or given.steps < 200:
        parser.error("fewer than 8 x 8 widths, 3 rounds or 200 steps compare nothing; give more")
    return given


def main() -> int:
    """Check, measure, report."""
    given = parsed()
    Q, z, J = draws(given.D, given.P, 0, "sym1")
    drawn = Draws(Q, z, J)
    checks = check(drawn, given.plant_fault)
    if not agreed(checks):
        return 1
    flops = 2.0 * given.D * given.P**2
    results = {}
    for dtype in DTYPES:
        results[dtype] = summary(measure(drawn, dtype, given), dtype)
        report(dtype, results[dtype], flops)
    result = {
        "benchmark": "quadratic", "D": given.D, "P": given.P, "side": given.side, "steps": given.steps,
        "rounds": given.rounds, "lanes": Quadratic.lanes, "machine": machine(FLAGS), "checks": checks, "results": results,
    }  # fmt: skip
    write(result, given.out)
    met = all(need["met"] for got in results.values() for need in got["requirements"])
    return 3 if given.require and not met else 0


if __name__ == "__main__":
    sys.exit(main())
