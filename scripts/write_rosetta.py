"""The same runs by all three vocabularies: gradient descent on two-layer ReLU nets over gamma and the step size.

Usage: python scripts/write_rosetta.py           about six minutes: writes docs/results/rosetta.json and
                                                 docs/images/rosetta.png, and fills the tables of docs/rosetta.md
       python scripts/write_rosetta.py --draw    the picture and the tables from the data file as it is
       python scripts/write_rosetta.py --check   exit code 1 when the page's tables are not those of the data file
"""

from __future__ import annotations

import argparse
import json
from typing import Any

import equinox as eqx
import jax.numpy as jnp
import numpy as np
import pages

import trainphase as tp
from trainphase.systems import relu2
from trainphase.systems.descent import Descent
from trainphase.theory import relu2 as theory

PAGE, DATA = pages.ROOT / "docs" / "rosetta.md", pages.ROOT / "docs" / "results" / "rosetta.json"
PICTURE = pages.ROOT / "docs" / "images" / "rosetta.png"
WIDTH, STEPS, LADDER, LADDER_SEEDS = 100, 4096, "1000,5000,10000", "0,1,2"
# No value lies on a line of the theory: gamma = 1 and 1.5, step size 2.
GAMMAS = np.round(np.linspace(0.5, 2.0, 11), 2)
MULTIPLES = 2.0 ** np.arange(-4.25, 4.0, 0.5)
# gamma', seeds of the nets, every how many values of gamma.
PLANES = ((0.0, (0, 1), 1), (-0.5, (0,), 2), (0.5, (0,), 2))
RUNS = ("end", "peak", "growth", "loss")
# The largest eigenvalue of a net without an active neuron is zero to rounding.
DEAD, UNFITTED = 1e-9, 0.1


def outputs(params: Any, x: Any) -> Any:
    """f(x) = sum_k a_k relu(w_k . x), (n, 1), of inputs x (n, r)."""
    a, w = params
    return jnp.maximum(x @ w, 0) @ a.T


class Net(Descent):
    """A two-layer ReLU net at a place of Luo's plane, and a step size in units of its own first eigenvalue.

    f is homogeneous in all weights together: kappa = m^-gamma is their scale squared, eigenvalues go like kappa, and any alpha,
    beta1 and beta2 of one kappa and kappa' are the same run. gamma : the place. multiple : eta lambda_0. top : lambda_0 at
    kappa = 1. width : m.
    """

    gamma: Any = 1.0
    multiple: Any = 1.0
    top: float = 1.0
    width: int = eqx.field(static=True, default=WIDTH)

    def kappa(self) -> Any:
        """beta1 beta2 / alpha."""
        return float(self.width) ** -jnp.asarray(self.gamma)

    def init(self) -> Any:
        """The draws, scaled."""
        return jnp.sqrt(self.kappa()) * self.problem.flat()

    def rate(self) -> Any:
        """The step size eta."""
        return self.multiple / (self.top * self.kappa())

    def moved(self, state: Any, gradient: Any) -> Any:
        """theta - eta g."""
        return state - self.rate() * gradient


def net(gamma_prime: float, seed: int) -> Net:
    """The start of ``relu2``, its layers scaled by sqrt(kappa') and 1 / sqrt(kappa')."""
    system = relu2.relu2(gamma=1.0, gamma_prime=gamma_prime, width=WIDTH, seed=seed)
    start, ratio = system.init(), float(system.kappa_prime()) ** 0.5
    problem = tp.Problem(outputs, (start.a * ratio, start.w / ratio), data=(system.X, system.y), reduction="mean")
    plain = tp.descent(problem, lr=1.0)
    return Net(lr=1.0, problem=problem, top=float(plain.curvature(plain.init())))


def labelled(gammas: list[float], gamma_prime: float, seed: int) -> list[dict[str, Any]]:
    """One net at all scales and step sizes, by the two vocabularies of gradient descent: a row for each gamma."""
    axes: dict[str, Any] = {"gamma": tp.values(gammas), "multiple": tp.values(MULTIPLES.tolist())}
    system = net(gamma_prime, seed)
    found = {v: tp.diagram(system, vocabulary=v, steps=STEPS, **axes) for v in ("training", "edge")}
    edge, training = found["edge"].dataset, found["training"].dataset
    targets = np.asarray(system.problem.targets)
    first = 0.5 * float(np.mean(np.square(targets)))  # the antisymmetric start has f = 0
    numbers = {"end": edge["curvature"], "peak": edge["curvature_peak"], "growth": edge["max_ratio"]}
    numbers["loss"] = edge["loss"] / first
    labels = {"training": training["phase"], "training_half": training["phase_half"], "edge": edge["phase"]}
    words = {k: found[k.removesuffix("_half")].words for k in labels}
    return [
        {"gamma": gamma, "seed": seed, **{k: [words[k].labels[c] for c in v.values[i]] for k, v in labels.items()},
         **{k: [digits(x) for x in v.values[i]] for k, v in numbers.items()}}
        for i, gamma in enumerate(gammas)
    ]  # fmt: skip


def digits(value: Any) -> float | None:
    """Five digits; None where there is no number."""
    return float(f"{float(value):.5g}") if np.isfinite(value) else None


def ladder(gamma: float, gamma_prime: float) -> dict[str, Any]:
    """The regime at that place: measured by gradient flow over widths, and the theory's."""
    run = tp.run("relu2", gamma=gamma, gamma_prime=gamma_prime, width=LADDER, seed=LADDER_SEEDS)
    return {
        "gamma": gamma, "regime": run.phase, "slope": digits(run.summary["slope"]), "slope_se": digits(run.summary["slope_se"]),
        "theory": theory.regime(gamma, gamma_prime), "theory_slope": digits(theory.slope(gamma, gamma_prime)),
    }  # fmt: skip


def gather() -> dict[str, Any]:
    """All planes."""
    planes = []
    for gamma_prime, seeds, every in PLANES:
        at = [float(g) for g in GAMMAS[::every]]
        runs = [row for s in seeds for row in labelled(at, gamma_prime, s)]
        planes.append({"gamma_prime": gamma_prime, "seeds": list(seeds), "gamma": at, "runs": runs,
                       "ladder": [ladder(g, gamma_prime) for g in at]})  # fmt: skip
    about = {"version": tp.__version__, "width": WIDTH, "steps": STEPS, "ladder": LADDER, "ladder_seeds": LADDER_SEEDS,
             "data": "points", "antisymmetric": True}  # fmt: skip
    return {"provenance": about, "multiples": MULTIPLES.tolist(), "planes": planes}


# --- picture and page ---------------------------------------------------------------------------------------


def plane(document: dict[str, Any], index: int, seed: int = 0) -> Any:
    """One plane of one seed as the data set that the figure takes."""
    import xarray

    from trainphase.phase import VOCABULARIES

    part = document["planes"][index]
    runs, steps = [r for r in part["runs"] if r["seed"] == seed], document["multiples"]
    over, alone = ("gamma", "multiple"), "gamma"
    number = {k: np.asarray([[np.nan if x is None else x for x in r[k]] for r in runs], float) for k in RUNS}
    codes = {v: [[VOCABULARIES[v].index(x) for x in r[v]] for r in runs] for v in ("training", "edge")}
    regimes = [[VOCABULARIES["regime"].index(r["regime"])] * len(steps) for r in part["ladder"]]
    return xarray.Dataset(
        {
            **{k: (over, np.asarray(v, np.uint8)) for k, v in {**codes, "regime": regimes}.items()},
            **{k: (over, v) for k, v in number.items()},
            "dead": (over, number["end"] <= DEAD),
            "sharpest": (alone, 2 * steps[0] / number["end"][:, 0]),
            **{k: (alone, [r[k] for r in part["ladder"]]) for k in ("slope", "slope_se", "theory_slope")},
        },
        {"gamma": part["gamma"], "multiple": ("multiple", steps, {"long_name": "step size", "scale": "log"})},
        {"critical": float(theory.critical_gamma(part["gamma_prime"])), "gamma_prime": part["gamma_prime"]},
    )  # fmt: skip


def span(values: Any) -> str:
    """The least and the largest of step sizes, or a dash."""
    ends = sorted({f"{x:.2g}" for x in values}, key=float)
    return " to ".join([ends[0], *ends[1:][-1:]]) if ends else "-"


def rows(document: dict[str, Any], index: int) -> list[list[Any]]:
    """By gamma, what each vocabulary says along the step size."""
    data, part = plane(document, index), document["planes"][index]
    out = []
    for k, place in enumerate(part["ladder"]):
        run, at = part["runs"][k], data["multiple"].values
        alive = ~data["dead"].values[k]
        quiet = [x for x, name in zip(at, run["training"], strict=True) if name == "monotonic"]
        catapult = [x for x, name, on in zip(at, run["training"], alive, strict=True) if name == "catapult" and on]
        edge = [x for x, name in zip(at, run["edge"], strict=True) if name == "edge-of-stability"]
        out.append([
            f"{place['gamma']:g}", f"{run['end'][0] / at[0]:.3g}", f"{float(data['sharpest'][k]):.2g}", span(quiet),
            span(catapult), span(edge), span(at[~alive]), f"{place['slope']:.3f} ± {place['slope_se'] or 0:.3f}",
            f"{place['theory_slope']:.2f}", place["regime"],
        ])  # fmt: skip
    return out


def blocks(document: dict[str, Any]) -> dict[str, str]:
    """The text of each block."""
    about, planes = document["provenance"], document["planes"]
    head = ["gamma", "lambda / lambda_0, gentlest run", "2 lambda_0 / lambda", "monotonic", "catapult, alive",
            "edge of stability", "all neurons dead", "S_w", "S_w, theory", "regime"]  # fmt: skip
    counts = []
    for k, part in enumerate(planes):
        for seed in part["seeds"]:
            runs = [r for r in part["runs"] if r["seed"] == seed]
            total = sum(len(r["edge"]) for r in runs)
            open_ = [sum(r[v].count("undecided") for r in runs) for v in ("training", "edge")]
            moved = sum(a != b for r in runs for a, b in zip(r["training"], r["training_half"], strict=True))
            data = plane(document, k, seed)
            dead, stuck = int(data["dead"].sum()), int(((data["loss"] > UNFITTED) & ~data["dead"]).sum())
            counts.append([f"{part['gamma_prime']:g}", seed, total, *open_, moved, dead, stuck])
    first = [[r for r in planes[0]["runs"] if r["seed"] == s] for s in planes[0]["seeds"]]
    same = {v: np.mean([a == b for x, y in zip(*first, strict=True) for a, b in zip(x[v], y[v], strict=True)])
            for v in ("training", "edge")}  # fmt: skip
    made = (
        f"Made by `scripts/write_rosetta.py`, version {about['version']}: width {about['width']} (twice as many neurons with the "
        f"antisymmetric copy), {about['steps']} steps at most, double precision; the regimes from widths "
        f"{about['ladder']} and seeds {about['ladder_seeds']}, by gradient flow.\n"
    )
    agree = (
        f"The two seeds of the plane gamma' = 0 have the same label at {100 * same['training']:.0f} % (training) and "
        f"{100 * same['edge']:.0f} % (edge) of the points.\n"
    )
    columns = ["gamma'", "seed", "runs", "undecided, training", "undecided, edge", "training label changed in the second half",
               "all neurons dead", "alive, loss above a tenth"]  # fmt: skip
    return {"made": made, "main": pages.table(head, rows(document, 0)), "below": pages.table(head, rows(document, 1)),
            "above": pages.table(head, rows(document, 2)), "counts": pages.table(columns, counts), "agree": agree}  # fmt: skip


def draw(document: dict[str, Any]) -> None:
    """The picture: the plane gamma' = 0, seed 0."""
    from trainphase.figures import rosetta, style

    style.save(rosetta.page(plane(document, 0)), PICTURE)


def main() -> None:
    """Compute, write, draw, fill; or draw; or check."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--check", action="store_true")
    parser.add_argument("--draw", action="store_true")
    args = parser.parse_args()
    if not (args.check or args.draw):
        DATA.parent.mkdir(exist_ok=True)
        text = json.dumps(gather(), separators=(",", ":"))
        DATA.write_text(text.replace("},{", "},\n{") + "\n", encoding="utf-8")
    if not args.check:
        draw(json.loads(DATA.read_text(encoding="utf-8")))
    pages.fill(PAGE, DATA, blocks, args.check)


if __name__ == "__main__":
    main()
