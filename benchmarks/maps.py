"""Orbits and Lyapunov exponents of a user's own logistic map: trainphase, pynamical and the loops people write, one thread.

| contender | what it does |
|---|---|
| trainphase | ``trainphase.diagram`` of a class: last states, exponents at two horizons with errors, periods, phases |
| trainphase survey | the part of that which runs the map: exponents at two horizons with errors, last states |
| pynamical | ``simulate``: the same values of r, as many steps, as many last states; nothing else |
| NumPy | exponents alone, a loop over the steps with all values of r at once |
| numba | exponents alone, loops over r and the steps, compiled |
| Python | the same loops, not compiled, at 32 values of r, by their rate |

All but trainphase run in an interpreter of their own, ``--peers-python``: see ``maps_peers.py``. They take turns in rounds,
ratios are taken within a round; seconds are CPU seconds; the first calls, which compile, are apart. The results are compared
first, and a disagreement ends the program with exit code 1.
"""

from __future__ import annotations

from _machine import machine, one_cpu
from _other import Interpreter
from _results import agreed, place, within, write

# One CPU for this process and the one that it starts, before NumPy or JAX count the CPUs they may use.
FLAGS = one_cpu()

import argparse  # noqa: E402
import sys  # noqa: E402
import tempfile  # noqa: E402
import time  # noqa: E402
from pathlib import Path  # noqa: E402
from typing import Any  # noqa: E402

import jax  # noqa: E402
import jax.numpy as jnp  # noqa: E402
import numpy as np  # noqa: E402
from maps_peers import FEW, HIGH, LOW, START  # noqa: E402
from orbit import tiles  # noqa: E402

import trainphase as tp  # noqa: E402
from trainphase._arrays import precision  # noqa: E402
from trainphase.records import with_values  # noqa: E402
from trainphase.survey import BLOCK, QUARTERS, rounded_steps, survey  # noqa: E402

KEEP = 128  # last states of each run, which is what a diagram from one start keeps
# Values of r, and steps. The small one is what one draws by hand.
SIZES = {"small": (1_000, 1_024), "large": (65_536, 10_240)}
QUICK = {"small": (1_000, 1_024), "large": (8_192, 10_240)}


class Logistic(tp.Map):
    """x' = r x (1 - x) from one start."""

    r: float = 3.2

    def init(self) -> jax.Array:
        return jnp.asarray(START)

    def step(self, state: jax.Array) -> jax.Array:
        return self.r * state * (1 - state)


def diagram(values: int, steps: int) -> tuple[float, Any]:
    """CPU seconds of a diagram, and its data set."""
    begin = time.process_time()
    found = tp.diagram(Logistic, r=tp.linspace(LOW, HIGH, values), steps=steps, starts=1)
    return time.process_time() - begin, found.dataset


def surveyed(values: int, steps: int) -> tuple[float, np.ndarray]:
    """CPU seconds of the survey alone, tile by tile as a diagram runs it, and the exponents."""
    begin = time.process_time()
    blocks, found = rounded_steps(steps) // (BLOCK * QUARTERS), []
    with precision("float64"):
        for tile in tiles(np.linspace(LOW, HIGH, values)):
            system, batched = with_values(Logistic(), {"r": tile}, "float64")
            out = survey(system, jnp.full(len(tile), START), blocks, batched, False)
            found.append(np.asarray(jax.block_until_ready(out)["full"]["lyapunov"]))
    return time.process_time() - begin, np.concatenate(found)[:values]


def exact(r: np.ndarray) -> np.ndarray:
    """Lyapunov exponent of the cycles of periods one and two; NaN beyond r = 1 + sqrt(6)."""
    with np.errstate(divide="ignore"):
        one, two = np.log(np.abs(2 - r)), 0.5 * np.log(np.abs(4 + 2 * r - r * r))
    return np.where(r < 3, one, np.where(r < 1 + 6**0.5, two, np.nan))


def check(name: str, found: dict[str, np.ndarray], data: Any, steps: int, fault: bool) -> dict[str, Any]:
    """A contender's numbers beside ours at the same r: to rounding where runs are regular, in the mean where they are chaotic."""
    picked = slice(None, None, data.sizes["r"] // FEW) if name == "Python" else slice(None)
    data = data.isel(r=picked).isel(r=slice(0, FEW if name == "Python" else None))
    r, ours = data["r"].values, data["lyapunov"].values
    mine = {"lyapunov": ours * (1.001 if fault else 1), **{k: data[k].values for k in ("lower", "upper")}}
    mine["mean"] = data["orbit"].values.mean(-1)
    period = np.nan_to_num(data["period"].values, nan=0)
    # What is left of the start after the steps that are not counted is e^-40 of it; the multiplier is above e^-2, so that
    # rounding of x is magnified in ln|f'| by ten at the most.
    regular = (ours * steps / 2 < -40) & (period > 0) & (ours * period > -2)
    problems, worst = [], 0.0
    for key in found.keys() & {"lyapunov", "lower", "upper"}:
        # Two orders of the same multiplications: some eps a step, divided by the distance of the multiplier from 1, here
        # 0.01 or more, and times ten: 1e-12.
        apart = float(np.abs(found[key] - mine[key])[regular].max(initial=0))
        worst = max(worst, apart)
        if not apart < 1e-11:
            problems.append(f"{key}: {apart:.2g} apart where 1e-11 is allowed")
    if "lyapunov" in found:
        known = regular & np.isfinite(exact(r))
        for who, value in ((name, found["lyapunov"]), ("trainphase", mine["lyapunov"])):
            off = float(np.abs(value - exact(r))[known].max(initial=0))
            if not off < 1e-11:
                problems.append(f"{who}: {off:.2g} from the closed form where 1e-11 is allowed")
    sigmas = 0.0
    for low in np.arange(3.6, 3.99, 0.05):
        here = (r >= low) & (r < low + 0.05) & (ours > 0.05)
        key = "lyapunov" if "lyapunov" in found else "mean"
        apart = (found[key] - mine[key])[here]
        if len(apart) >= 16:
            sigmas = max(sigmas, float(abs(apart.mean()) / (apart.std(ddof=1) / len(apart) ** 0.5 + 1e-12)))
    if not sigmas < 5:
        problems.append(f"chaotic range: means {sigmas:.1f} standard errors apart where 5 are allowed")
    if not regular.any():
        problems.append("no regular run to compare")
    return {
        "pair": f"{name} and trainphase",
        "regular": int(regular.sum()),
        "worst": worst,
        "sigmas": sigmas,
        "problems": problems,
    }


def compare(
    peers: Interpreter, names: list[str], size: tuple[int, int], fault: bool
) -> tuple[list[dict[str, Any]], dict[str, float]]:
    """Every contender beside ours; and the seconds of first calls, compilation and all."""
    values, steps = size
    seconds, data = diagram(values, steps)
    alone, exponents = surveyed(values, steps)
    first, checks = {"trainphase": seconds, "trainphase survey": alone}, []
    checks.append(check("survey", {"lyapunov": exponents}, data, steps, fault))
    with tempfile.TemporaryDirectory() as folder:
        for name in names:
            file = Path(folder) / f"{name}.npz"
            first[name] = peers.ask(name=name, values=values, steps=steps, keep=KEEP, file=str(file))["seconds"]
            with np.load(file) as found:
                checks.append(check(name, dict(found), data, steps, fault))
    return checks, first


def measure(peers: Interpreter, names: list[str], size: tuple[int, int], rounds: int) -> dict[str, Any]:
    """CPU seconds of every contender in every round, and the ratios within rounds."""
    values, steps = size
    seconds: dict[str, list[float]] = {name: [] for name in ("trainphase", "trainphase survey", *names)}
    for k in range(rounds):
        seconds["trainphase"].append(diagram(values, steps)[0])
        seconds["trainphase survey"].append(surveyed(values, steps)[0])
        for name in names:
            seconds[name].append(peers.ask(name=name, values=values, steps=steps, keep=KEEP)["seconds"])
        print(f"{values} values: round {k + 1} of {rounds} done", file=sys.stderr, flush=True)
    return {
        "values": values, "steps": steps, "keep": KEEP, "seconds": seconds,
        "ratios": {f"{name} / {ours}": within(seconds[name], seconds[ours])
                   for ours in ("trainphase", "trainphase survey") for name in names},
    }  # fmt: skip


def report(result: dict[str, Any]) -> None:
    """The result as text."""
    for name, got in result["sizes"].items():
        print(f"\n{name}: {got['values']} values of r, {got['steps']} steps")
        print(f"{'':20}{'CPU s':>10}{'first':>10}")
        for who, seconds in got["seconds"].items():
            print(f"{who:20}{np.median(seconds):10.4g}{got['first'][who]:10.3g}")
        for who, ratio in got["ratios"].items():
            print(f"{who:32}" + "{median:10.3g} ({min:.3g} to {max:.3g})".format(**ratio))


def parsed() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--peers-python", metavar="PATH", default=sys.executable, help="an interpreter that has pynamical [this one]"
    )
    parser.add_argument("--quick", action="store_true", help="8192 values where there are 65536, three rounds")
    parser.add_argument("--rounds", type=int, help="rounds in which the contenders take turns [5; --quick: 3]")
    parser.add_argument("--plant-fault", action="store_true", help="an exponent that is off: the check must find it")
    parser.add_argument("--out", type=Path, help="where to write the result [benchmarks/results/maps.json]")
    given = parser.parse_args()
    given.rounds = given.rounds or (3 if given.quick else 5)
    given.out = given.out or place("maps", given.quick)
    return given


def main() -> int:
    """Check, measure, report."""
    given = parsed()
    peers = Interpreter(given.peers_python, "maps_peers.py")
    names = [name for name in ("pynamical", "NumPy", "numba", "Python") if name in peers.about["names"]]
    result: dict[str, Any] = {"benchmark": "maps", "clock": "CPU", "rounds": given.rounds, "checks": [], "sizes": {}}
    for label, size in (QUICK if given.quick else SIZES).items():
        checks, first = compare(peers, names, size, given.plant_fault)
        result["checks"] += checks
        if not agreed(checks):
            return 1
        result["sizes"][label] = measure(peers, names, size, given.rounds) | {"first": first}
    result["machine"] = machine(FLAGS) | {"peers": peers.about["versions"]}
    report(result)
    write(result, given.out)
    return 0


if __name__ == "__main__":
    sys.exit(main())
