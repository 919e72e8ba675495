"""Write what the item agarwala:deviation has found where readers look: a small data file, a picture, the tables of a page.

Usage: python scripts/write_edge_deviation.py [OUT]     after  trainphase reproduce agarwala:deviation --out OUT
       python scripts/write_edge_deviation.py --check   exit code 1 when the page's tables are not those of the data file

Writes docs/results/edge_deviation.json and docs/images/edge-deviation.png, and fills the blocks of docs/edge-deviation.md
that stand between <!-- numbers: NAME --> and <!-- end -->. Without OUT the page is filled from the data file as it is.
"""

from __future__ import annotations

import argparse
import json
import shutil
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pages

from trainphase.march import rounded_steps

PAGE, DATA = pages.ROOT / "docs" / "edge-deviation.md", pages.ROOT / "docs" / "results" / "edge_deviation.json"
PICTURE = pages.ROOT / "docs" / "images" / "edge-deviation.png"
COMMAND = "trainphase reproduce agarwala:deviation"
TABLES = ("cells", "along_z", "along_J", "box", "fits", "checks")
ATTRS = ("steps", "dtype", "crossed", "band", "lowest_sigma_z", "highest_sigma_J", "device", "cores", "jax")


def plain(value: Any) -> Any:
    """A number with four digits, null where there is none; a text as it is."""
    if isinstance(value, str):
        return value
    number = float(value)
    if not np.isfinite(number):
        return None
    return int(number) if number.is_integer() and abs(number) < 1e9 else float(f"{number:.4g}")


def table(dataset: Any) -> dict[str, Any]:
    """A data set as columns and rows; lists along bands, thresholds and quantiles become columns of their own."""
    rows_of = [d for d in dataset.dims if d not in ("band", "peak", "quantile")]
    flat = {}
    for name in [*dataset.coords, *dataset.data_vars]:
        array = dataset[name]
        lists = [d for d in array.dims if d not in rows_of]
        if name in ("band", "peak", "quantile", "by_size", "by_ratio"):
            continue
        if not lists:
            flat[name] = array
        for k, at in enumerate(dataset[lists[0]].values if lists else ()):
            flat[f"{name}_{at:g}"] = array.isel({lists[0]: k})
    columns = {k: v.transpose(*[d for d in rows_of if d in v.dims]) for k, v in flat.items()}
    shape = [dataset.sizes[d] for d in rows_of]
    spread = [np.broadcast_to(_aligned(v, rows_of), shape).ravel() for v in columns.values()]
    return {"columns": list(columns), "rows": [[plain(v) for v in row] for row in zip(*spread, strict=True)]}


def _aligned(array: Any, dims: list[Any]) -> np.ndarray:
    return array.values.reshape([array.sizes.get(d, 1) for d in dims])


def gather(out: Path) -> dict[str, Any]:
    """The document of a finished run in ``out``."""
    import xarray

    found = sorted((out / "data").glob("agarwala-deviation-full-*/data.json"), key=lambda p: p.stat().st_mtime)
    if not found:
        sys.exit(f"{out} has no full run of the item; give: {COMMAND} --out {out}")
    folder = found[-1].parent
    parts = {name: xarray.load_dataset(folder / f"data.{name}.nc", engine="scipy") for name in TABLES}
    seconds = json.loads((folder / "data.json").read_text())["seconds"]
    attrs = parts["box"].attrs
    about = {"command": COMMAND, **json.loads(attrs["reproduced"]), **{k: plain(attrs[k]) for k in ATTRS}}
    about |= {"seeds": "0 to n - 1, n in column seeds", "seconds": round(seconds), "errors": "standard errors over seeds"}
    return {"provenance": about, **{name: table(data) for name, data in parts.items()}}


# --- the page -----------------------------------------------------------------------------------------------


def records(document: dict[str, Any], name: str) -> list[dict[str, Any]]:
    """The rows of a table as dictionaries."""
    return [dict(zip(document[name]["columns"], row, strict=True)) for row in document[name]["rows"]]


def pm(row: dict[str, Any], name: str) -> str:
    """The mean of a sample and its error."""
    return _pair(row, f"{name}_mean", f"{name}_se")


def blocks(document: dict[str, Any]) -> dict[str, str]:
    """The text of every block of the page."""
    about, box = document["provenance"], records(document, "box")
    shape = {id(r): f"({r['D']}, {r['P']})" for r in box}
    made = (
        f"Made by `{about['command']}`, version {about['version']}, {about['dtype']}, horizon {about['steps']} steps "
        f"(rounded up to {rounded_steps(about['steps'])}), on "
        f"{about['device']} with {about['cores']} cores (JAX {about['jax']}), {about['seconds'] / 60:.0f} minutes of computing.\n"
    )
    means = pages.table(
        ["(D, P)", "D/P", "seeds", "runs", "met the edge", "median", "settled within 0.2", "met, first half of horizon",
         "met and fading"],
        [[shape[id(r)], f"{r['D'] / r['P']:g}", str(r["seeds"]), str(r["met_runs"]), pm(r, "met"),
          "-" if r["met_quantiles_0.5"] is None else f"{r['met_quantiles_0.5']:.4f}", pm(r, "edge"), pm(r, "met_early"),
          pm(r, "met_and_fading")] for r in box],
    )  # fmt: skip
    bands, peaks = (_by(document, kind) for kind in ("band", "peak"))
    kinds = [c.removeprefix("fate_") for c in document["box"]["columns"] if c.startswith("fate_")]
    fates = pages.table(
        ["(D, P)", *kinds, "time mean of 2 - curvature, bounded"],
        [[shape[id(r)], *(f"{100 * r['fate_' + k]:.1f} %" for k in kinds), pm(r, "bounded")] for r in box],
    )
    along = pages.table(
        ["(D, P)", "sigma_z", "runs", "seeds with some", "met the edge", "settled within 0.2"],
        [[f"({r['D']}, {r['P']})", f"{r['sigma_z']:g}", str(r["met_runs"]), str(r["met_seeds"]), pm(r, "met"), pm(r, "edge")]
         for r in records(document, "along_z") if r["met_runs"]],
    )  # fmt: skip
    return {"made": made, "means": means, "bands": bands, "peaks": peaks, "fates": fates, "along": along,
            "fits": _fits(document), "precision": _precision(document)}  # fmt: skip


def _by(document: dict[str, Any], kind: str) -> str:
    """Means of the box by band or by threshold, a column each."""
    start = f"{kind}_mean_"
    at = [c.removeprefix(start) for c in document["box"]["columns"] if c.startswith(start)]
    rows = [[f"({r['D']}, {r['P']})", *(_pair(r, start + k, f"{kind}_se_{k}") for k in at)] for r in records(document, "box")]
    return pages.table(["(D, P)", *at], rows)


def _pair(row: dict[str, Any], name: str, error: str) -> str:
    return "-" if row[name] is None else f"{row[name]:.4f}" + ("" if row[error] is None else f" ± {row[error]:.4f}")


def _fits(document: dict[str, Any]) -> str:
    rows = []
    for r in records(document, "fits"):
        if r["chi2"] is None:
            continue
        shape = f"({r['D']}, {r['P']})" if r["D"] else "several"
        slope = "-" if r["law"] == "constant" else f"{r['b']:.2f} ± {r['b_error']:.2f}"
        fits = "yes" if r["chance"] is not None and r["chance"] > 0.01 else "no"
        chance = "-" if r["chance"] is None else f"{r['chance']:.2g}"
        level = f"{r['a']:.2f} ± {r['a_error']:.2f}"
        rows.append([r["against"], r["law"], shape, level, slope, f"{r['chi2']:.1f} / {r['dof']}", chance, fits])
    return pages.table(["against x", "law", "(D, P)", "a", "b", "chi squared / dof", "chance", "not excluded at 1 %"], rows)


def _precision(document: dict[str, Any]) -> str:
    c = records(document, "checks")[0]
    return (
        f"Double precision on {c['precision_seeds']} seeds of the reference shape: mean over runs that met the edge "
        f"{c['met_double']:.5f}, single precision {c['met_single']:.5f} ± {c['met_single_se']:.5f}, "
        f"difference {c['met_apart']:.2g}; {100 * c['precision_differ']:.1f} % of the labels differ.\n"
    )


def main() -> None:
    """Gather, write, fill; or check."""
    parser = argparse.ArgumentParser()
    parser.add_argument("out", nargs="?", type=Path)
    parser.add_argument("--check", action="store_true")
    args = parser.parse_args()
    if args.out is not None:
        DATA.parent.mkdir(exist_ok=True)
        text = json.dumps(gather(args.out), separators=(",", ":"), ensure_ascii=False)
        DATA.write_text(text.replace("],[", "],\n[") + "\n", encoding="utf-8")
        shutil.copyfile(args.out / "agarwala-deviation.png", PICTURE)
    pages.fill(PAGE, DATA, blocks, args.check)


if __name__ == "__main__":
    main()
