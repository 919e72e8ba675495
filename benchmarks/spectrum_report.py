"""What came of the benchmark of eigenvalues: what must be right, what is required, and the result as text."""

from __future__ import annotations

from typing import Any

import numpy as np
from _results import print_requirements

TOL, COLD, SPREAD, WARM, KERNEL = 1e-3, 21, 13, 5, 5.0
SPREAD_GAP = 0.9  # lambda_2 / lambda_1 below which the top is not clustered


def check(result: dict[str, Any], plant: bool) -> list[str]:
    """Values of trainphase that are off by more than the tolerance or than their own bound."""
    wrong = []
    for row in result["cold"]:
        for got in row["found"]["trainphase"]:
            value = got["value"] * (1.05 if plant else 1.0)
            off = abs(value - row["true"][0])
            if off > TOL * row["true"][0] or off > got["bound"]:
                wrong.append(f"{row['network']}, {row['where']}: off by {off / row['true'][0]:.2g}")
    for row in result["warm"]:
        for got in row["found"]:
            if abs(got["value"] - got["true"]) > got["bound"] + 1e-6 * got["true"]:
                wrong.append(f"{row['network']}, every {row['every']}: off by {got['error']:.2g}, more than its bound")
    if result["kernel"]["error"] > TOL:
        wrong.append(f"kernel: off by {result['kernel']['error']:.2g}")
    return wrong


def requirements(result: dict[str, Any]) -> list[dict[str, Any]]:
    """The demands, the value reached, and whether it is met."""

    def need(what: str, value: float, most: float = np.inf, least: float = -np.inf) -> dict[str, Any]:
        return {"what": what, "value": value, "met": bool(least <= value <= most)}

    every = [got for row in result["cold"] for got in row["found"]["trainphase"]]
    spread = [row for row in result["cold"] if row["true"][1] / row["true"][0] < SPREAD_GAP]
    later = [got for row in result["warm"] for got in row["found"][1:]]
    needs = [
        need(f"cold: most products, at most {COLD}", max(got["products"] for got in every), COLD),
        need(f"cold: largest true error, at most {TOL:g}", max(got["error"] for got in every), TOL),
        need(f"warm: most products, at most {WARM}", max(got["products"] for got in later), WARM),
        need(f"warm: largest true error, at most {TOL:g}", max(got["error"] for got in later), TOL),
        need(f"kernel: dense over trainphase, at least {KERNEL:g}", float(np.median(result["kernel"]["ratios"])), least=KERNEL),
    ]
    if spread:
        products = [got["products"] for row in spread for got in row["found"]["trainphase"]]
        needs.append(need(f"cold, not clustered: median of products, at most {SPREAD}", float(np.median(products)), SPREAD))
    for row in result["cold"]:
        mine = np.array([got["seconds"] for got in row["found"]["trainphase"]])
        for name, found in row["found"].items():
            if name == "trainphase" or max(got["error"] for got in found) > TOL:
                continue
            ratio = float(np.median([got["seconds"] for got in found] / mine))
            needs.append(need(f"{row['network']}, {row['where']}: {name} over trainphase, at least 1", ratio, least=1.0))
    return needs


def report(result: dict[str, Any]) -> None:
    """The result as text."""
    for row in result["cold"]:
        gap = row["true"][0] / row["true"][1]
        print(f"\n{row['network']} network, {row['where']}: lambda_1 = {row['true'][0]:.6g}, lambda_1 / lambda_2 = {gap:.4f}")
        print(f"{'':24} {'products':>10} {'CPU s':>9} {'gradients':>10} {'true error':>22} {'bound':>10}")
        for name, found in row["found"].items():
            line(name, found)
    for row in result["warm"]:
        print(f"\n{row['network']} network along the run, every {row['every']} steps; the first cold")
        line("trainphase cold", row["found"][:1])
        line("trainphase warm", row["found"][1:])
    k = result["kernel"]
    seconds = {name: np.median([got["seconds"] for got in found]) for name, found in k["found"].items()}
    print(f"\nkernel, {k['size']} parameters: trainphase {seconds['trainphase']:.4g} s, dense {seconds['dense']:.4g} s, "
          f"ratios {min(k['ratios']):.3g} to {max(k['ratios']):.3g}, relative difference {k['error']:.2g}")  # fmt: skip
    print_requirements(result["requirements"])


def line(name: str, found: list[dict[str, Any]]) -> None:
    """One contender: medians, the range of products and of true errors."""
    products, errors = [got["products"] for got in found], [got["error"] for got in found]
    seconds = float(np.median([got["seconds"] for got in found]))
    units = float(np.median([got["seconds"] / got["gradient"] for got in found]))
    spent = f"{min(products)}..{max(products)}" if min(products) < max(products) else f"{products[0]}"
    bound = f"{max(got['bound'] / got['value'] for got in found):10.1e}" if "bound" in found[0] else f"{'-':>10}"
    print(f"{name:24} {spent:>10} {seconds:9.3g} {units:10.1f} {min(errors):10.1e}..{max(errors):10.1e} {bound}")
