"""Every benchmark that has a peer, one after the other, and one summary of them: ratios, agreement, what limits ours, who wins.

Usage: make bench BENCH=peers BENCH_ARGS=--quick    which makes the environments with the peers first

A ratio is the peer's CPU seconds over those of trainphase for the same question, both on one CPU, taken within rounds in which
the contenders take turns: smallest, median, largest. Below 1 the peer is faster. The result goes to ``benchmarks/results``, and
``scripts/write_benchmarks.py`` puts a table and a plot beside it. A benchmark that fails is named in the summary, and the program
ends with exit code 1.
"""

from __future__ import annotations

import argparse
import itertools
import json
import resource
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from _results import place, span, write

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent
Row = dict[str, Any]
Result = dict[str, Any]
TOL = 1e-3  # of eigenvalues

# What limits ours, by the kind of row.
LIMITS = {
    "hessian": "Hessian products until the stated bound holds; on small networks the call of each",
    "kernel-top": "products with J and its transpose, a dozen of them",
    "kernel-whole": "one call and one product a column; there is no blocked form",
    "diagram-small": "tiles, records and the data set, a fixed cost of each diagram",
    "diagram-large": "a tangent beside each state and two horizons, then the search for cycles in the recorded tails",
    "survey": "a tangent beside each state, and the tails recorded at two horizons",
    "cubic": "states in the second-level cache, loaded and stored every eight steps; recorded tails",
    "refinement": "Python between rounds; arrays of points in each",
    "relu": "steps of some ten microseconds a net, and where few neurons carry the fit all of them are trained",
    "image": "one product of pre-activations a step; at many neurons memory",
    "quadratic": "one matrix product a step, at more than half of the peak",
}


def row(group: str, what: str, peer: str, version: str, ratio: Any, agreement: str, limits: str, agrees: bool = True) -> Row:
    """A line of the table. ``agrees`` : whether the peer reaches the tolerance; ``ratio`` : min, median, max."""
    ratio = {k: float(f"{ratio[k]:.3g}") for k in ("min", "median", "max")}
    return {
        "group": group, "what": what, "peer": peer, "version": version, "ratio": ratio, "agreement": agreement,
        "agrees": agrees, "limits": LIMITS[limits],
    }  # fmt: skip


def regular(worst: float) -> str:
    """How runs agree that may."""
    return f"regular runs {f'to {worst:.1g}' if worst else 'bit for bit'}, chaotic ones in the mean"


def named(versions: dict[str, str], *packages: str) -> str:
    """Packages with their versions."""
    return ", ".join(f"{name} {versions[name]}" for name in packages if name in versions)


# ---- a line from each benchmark's result


def curvature(result: Result) -> Iterator[Row]:
    """The top Hessian eigenvalue, at initialisation and at the edge of stability."""
    versions = result["machine"]["peers"]
    peers = {
        "PyHessian": ("PyHessian", named(versions, "pyhessian", "torch")),
        "curvlinops eigsh": ("curvlinops in eigsh", named(versions, "curvlinops-for-pytorch", "torch")),
        "eigenthings lanczos 21": ("hessian-eigenthings, 21 steps", named(versions, "hessian-eigenthings", "torch")),
        "eigenthings lanczos": ("hessian-eigenthings, default", named(versions, "hessian-eigenthings", "torch")),
        "SciPy ARPACK": ("SciPy eigsh, JAX products", named(result["machine"], "jax")),
    }
    for at in result["cold"]:
        ours = at["found"]["trainphase"]
        place_ = {"init": "initialisation", "edge": "edge of stability"}[at["where"]]
        for name, (peer, version) in peers.items():
            if name not in at["found"]:
                continue
            found = at["found"][name]
            ratios = span([b["seconds"] / a["seconds"] for a, b in zip(ours, found, strict=True)])
            theirs, mine = (max(got["error"] for got in who) for who in (found, ours))
            told = f"off by {theirs:.1g}, ours by {mine:.1g}"
            what = f"top Hessian eigenvalue to 1e-3, {at['network']} network, {place_}"
            yield row("curvature", what, peer, version, ratios, told, "hessian", theirs <= TOL)


def kernel(result: Result) -> Iterator[Row]:
    """The finite-width tangent kernel."""
    versions, off = result["machine"]["peers"], {c["name"]: c["apart"] for c in result["checks"]}
    size = f"{result['samples']} images x {result['outputs']} outputs"
    for question, words in (("top", "top eigenvalue of the tangent kernel to 1e-3"), ("whole", "all of the tangent kernel")):
        what = f"{words}, {size}"
        ways = [name for way in ("contraction", "products", "structured") if (name := f"{question} {way}") in result["ratios"]]
        picked = {f"{question} JAX": "jax.jacrev, J J^T"}
        if ways:
            best = min(ways, key=lambda name: result["ratios"][name]["median"])
            picked = {best: f"neural-tangents, {best.split()[1]} (the fastest of its three)"} | picked
        if f"{question} vector" in result["ratios"]:
            picked[f"{question} vector"] = "neural-tangents products in eigsh"
        for name, peer in picked.items():
            ours = named(result["machine"], "jax")
            version = ours if name.endswith("JAX") else named(versions, "neural-tangents", "jax")
            told = f"off by {off[name]:.1g}, ours by {off[f'{question} trainphase']:.1g}"
            yield row("kernel", what, peer, version, result["ratios"][name], told, f"kernel-{question}")


def maps(result: Result) -> Iterator[Row]:
    """Orbit diagrams and exponents of the user's own logistic map."""
    versions = result["machine"]["peers"]
    peers = {
        "pynamical": ("pynamical (orbits alone)", "pynamical", "numba"), "NumPy": ("NumPy loop (exponents alone)", "numpy"),
        "numba": ("numba loop (exponents alone)", "numba"), "Python": ("Python loop (exponents alone)", "python"),
    }  # fmt: skip
    worst: dict[str, float] = {}
    for check in result["checks"]:
        name = check["pair"].split()[0]
        worst[name] = max(check["worst"], worst.get(name, 0.0))
    for label, got in result["sizes"].items():
        size = f"a user's logistic map, {got['values']} values of r, {got['steps']} steps"
        asked = {"trainphase": (f"diagram of {size}", f"diagram-{label}"), "trainphase survey": (f"survey of {size}", "survey")}
        for (ours, (what, limits)), (name, (peer, *packages)) in itertools.product(asked.items(), peers.items()):
            ratio = got["ratios"].get(f"{name} / {ours}")
            if ratio is not None:
                yield row("maps", what, peer, named(versions, *packages), ratio, regular(worst[name]), limits)


def orbit(result: Result) -> Iterator[Row]:
    """Exponents of the cubic map."""
    worst = {c["pair"].split(" and ")[0]: c["regular_worst"] for c in result["checks"] if "regular_worst" in c}
    what = f"orbit and exponent of the cubic map, {result['points']} values of a, {result['horizon']} steps"
    versions = {"NumPy": named(result["machine"], "numpy"), "C": named(result["machine"], "gcc")}
    peers = {"NumPy": "NumPy loop", "NumPy Horner": "NumPy loop, no powers", "C": "C", "C fast-math": "C, -ffast-math",
             "C fast-math bits": "C with our algorithm, by hand"}  # fmt: skip
    for name, peer in peers.items():
        yield row("maps", what, peer, versions[name.split()[0]], result["ratios"][name], regular(worst[name]), "cubic")


def refinement(result: Result) -> Iterator[Row]:
    """Points asked for, and the time it takes to ask."""
    for got in result["adaptive"]:
        points = got["points"] / got["our_points"]
        left = "" if got["resolved"] else f", not resolved: {got['coarse']:.0%} of the triangles on a line too coarse"
        told = f"{points:.2g} times the points{left}"
        what = f"sampling of three phases to 1/{got['side']}"
        peer = f"adaptive, {got['loss']} loss, {got['batch']} at a time"
        yield row("refinement", what, peer, f"adaptive {got['adaptive']}", got["ratio"], told, "refinement", got["resolved"])


def relu(result: Result) -> Iterator[Row]:
    """The slope S_w at points of the plane, and a step on images."""
    version = named(result["machine"]["torch_side"], "torch")
    most = max(result["widths"])
    for got in result["points"]:
        x, y = got["point"]
        for name, peer in (("PyTorch", "PyTorch loop"), ("PyTorch careful", "PyTorch loop, careful")):
            ratio = got["ratios"][f"{name} / trainphase"]
            if ratio is not None:
                told = f"S_w {got['slope']:.3f}, ours {got['found']:.3f}"
                yield row("relu", f"S_w at ({x:g}, {y:g}), widths to {most}", peer, version, ratio, told, "relu")
    apart = {c["pair"].split(", ")[1]: c["apart"] for c in result["checks"] if "losses on images" in c["pair"]}
    for got in result["steps"]:
        ratio = got["ratios"]["PyTorch / trainphase"]
        if ratio is not None:
            what = f"a step on 100 images, {got['width']} neurons, {got['dtype']}"
            yield row("relu", what, "PyTorch loop", version, ratio, f"losses to {apart[got['dtype']]:.1g}", "image")


def quadratic(result: Result) -> Iterator[Row]:
    """The phase diagram of quadratic models that share Q."""
    for dtype, got in result["results"].items():
        for name, peer in (("JAX", "JAX loop"), ("JAX careful", "JAX loop, careful"), ("NumPy", "NumPy loop")):
            check = next(c for c in result["checks"] if c["pair"] == f"{name} and trainphase, {dtype}")
            what = f"diagram of the ({result['D']}, {result['P']}) quadratic model, {result['side']} x {result['side']}, {dtype}"
            told = f"curvature and loss to {max(check['worst'].values()):.1g}"
            version = named(result["machine"], "jax" if name.startswith("JAX") else "numpy")
            yield row("quadratic", what, peer, version, got["ratios"][name], told, "quadratic")


# Program, what it takes besides, and its lines. {peers} and {ntk} are interpreters, {data} a folder.
BENCHMARKS: dict[str, tuple[tuple[str, ...], Callable[[Result], Iterator[Row]]]] = {
    "spectrum": (("--peers-python", "{peers}", "--data-dir", "{data}"), curvature),
    "ntk": (("--ntk-python", "{ntk}", "--data-dir", "{data}"), kernel),
    "maps": (("--peers-python", "{peers}"), maps),
    "orbit": (("--cpu-time",), orbit),
    "refine_points": (("--adaptive-python", "{peers}"), refinement),
    "relu": (("--torch-python", "{peers}", "--cpu-time", "--data-dir", "{data}"), relu),
    "quadratic": (("--cpu-time",), quadratic),
}


# ---- running and gathering


def command(name: str, given: argparse.Namespace) -> list[str]:
    """The command line of a benchmark; an option whose value is not there is left out."""
    known = {"{peers}": given.peers_python, "{ntk}": given.ntk_python, "{data}": given.data_dir}
    words: list[str] = []
    for word in BENCHMARKS[name][0]:
        if word not in known:
            words.append(word)
        elif known[word]:
            words.append(str(known[word]))
        else:
            words.pop()
    quick = ["--quick"] if given.quick else []
    return [sys.executable, str(HERE / f"{name}.py"), *words, *quick, "--out", str(place(name, given.quick))]


def spent() -> float:
    """CPU seconds of all benchmarks so far, and of the interpreters that they started."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def commit() -> dict[str, Any]:
    """The commit that was measured, whether files differed from it, and the tree of src."""

    def git(*words: str) -> str:
        done = subprocess.run(["git", *words], cwd=ROOT, capture_output=True, text=True, check=False)
        return done.stdout.strip() if done.returncode == 0 else ""

    changed = bool(git("status", "--porcelain", "--", "src", "benchmarks"))
    return {"commit": git("rev-parse", "HEAD") or None, "changed": changed, "src": git("rev-parse", "HEAD:src") or None}


def gather(results: dict[str, Result], failed: dict[str, str]) -> dict[str, Any]:
    """The summary: rows, machine and versions, what is missing."""
    machines = [results[name]["machine"] for name in results]
    about = {k: v for k, v in (machines[0] if machines else {}).items() if isinstance(v, str)}
    if any(other["cpu"] != about["cpu"] for other in machines):
        raise SystemExit("the results are of more than one machine; measure them in one run")
    rows = [line for name, (_, lines) in BENCHMARKS.items() if name in results for line in lines(results[name])]
    missing = [{"what": name, "why": why} for name, why in failed.items()]
    if "ntk" in results and not results["ntk"]["machine"]["peers"]:
        missing.append({"what": "neural-tangents", "why": "its environment could not be made here"})
    images = sorted({about["images"] for about in results.get("spectrum", {}).get("networks", {}).values()})
    return {"benchmark": "peers", "machine": about, "images": images, "rows": rows, "missing": missing}


def parsed() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--peers-python", metavar="PATH", help="an interpreter with what requirements/peers.txt names")
    parser.add_argument("--ntk-python", metavar="PATH", help="an interpreter with neural-tangents; absent: without it")
    parser.add_argument("--data-dir", type=Path, help="where the images are looked for; absent, images are made up")
    parser.add_argument("--quick", action="store_true", help="the quick sizes of all, under ten minutes")
    parser.add_argument("--only", nargs="+", choices=list(BENCHMARKS), default=list(BENCHMARKS), help="some of the benchmarks")
    parser.add_argument("--gather", action="store_true", help="measure nothing, put together what there is")
    parser.add_argument("--out", type=Path, help="where to write the summary [benchmarks/results/peers.json]")
    given = parser.parse_args()
    given.out = given.out or place("peers", given.quick)
    if given.peers_python is None and not given.gather and set(given.only) & {"relu"}:
        parser.error("relu needs PyTorch: give --peers-python, or run make bench BENCH=peers")
    return given


def main() -> int:
    """Run all, gather, write."""
    given, results, failed, seconds = parsed(), {}, {}, {}
    for name in given.only:
        file, begin, cpu = place(name, given.quick), time.monotonic(), spent()
        if not given.gather:
            file.unlink(missing_ok=True)
            print(f"== {name}", flush=True)
            code = subprocess.run(command(name, given), check=False).returncode
            seconds[name] = {"wall": round(time.monotonic() - begin, 1), "cpu": round(spent() - cpu, 1)}
            if code:
                failed[name] = f"ended with exit code {code}"
        if file.exists():
            results[name] = json.loads(file.read_text(encoding="utf-8"))
        else:
            failed.setdefault(name, "has left no result")
    document = gather(results, failed) | commit() | {"quick": given.quick, "seconds": seconds}
    write(document, given.out)
    table = [sys.executable, str(ROOT / "scripts" / "write_benchmarks.py"), str(given.out), "--beside"]
    print(f"\n{len(document['rows'])} ratios in {given.out}", flush=True)
    return subprocess.run(table, check=False).returncode or (1 if failed else 0)


if __name__ == "__main__":
    sys.exit(main())
