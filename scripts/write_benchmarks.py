"""The table and the plot of the benchmarks against peers, from the summary that ``make bench BENCH=peers`` leaves.

Usage: python scripts/write_benchmarks.py SUMMARY            keeps it as docs/results/peers.json, draws docs/images/peers.png and
                                                             fills the tables of docs/benchmarks.md
       python scripts/write_benchmarks.py SUMMARY --beside   .md and .png beside the summary, the page as it is
       python scripts/write_benchmarks.py --check            exit code 1 when the page's tables are not those of the data file
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

import pages

PAGE, DATA = pages.ROOT / "docs" / "benchmarks.md", pages.ROOT / "docs" / "results" / "peers.json"
PICTURE = pages.ROOT / "docs" / "images" / "peers.png"
GROUPS = {
    "curvature": "Curvature", "kernel": "Tangent kernel", "maps": "Orbit diagrams, Lyapunov exponents",
    "refinement": "Refinement", "relu": "Two-layer sweeps", "quadratic": "Quadratic models",
}  # fmt: skip
OURS, THEIRS, PALE = "#0072B2", "#D55E00", "#C8C8C8"
HEAD = ["question", "peer", "its CPU seconds over ours", "agreement", "what limits ours"]
Data = dict[str, Any]


def wins(row: Data) -> bool:
    """Whether the peer is as fast or faster and reaches the tolerance."""
    return row["ratio"]["median"] <= 1 and row["agrees"]


def told(ratio: Data) -> str:
    """Median and range."""
    return f"{ratio['median']:.3g} ({ratio['min']:.3g} to {ratio['max']:.3g})"


def table(rows: list[Data]) -> str:
    """The lines of one group, a question once."""
    body, last = [], None
    for row in rows:
        ratio = told(row["ratio"])
        faster = row["ratio"]["median"] <= 1
        shown = f"**{ratio}**" if wins(row) else f"{ratio}, but off" if faster and not row["agrees"] else ratio
        question = "" if row["what"] == last else row["what"]
        body.append([question, f"{row['peer']}; {row['version']}", shown, row["agreement"], row["limits"] if question else ""])
        last = row["what"]
    return pages.table(HEAD, body)


def machine(data: Data) -> str:
    """Where it was measured, and with what."""
    about = dict(data["machine"])
    cpu, flags = about.pop("cpu"), about.pop("xla_flags", "")
    versions = ", ".join(f"{name} {version}" for name, version in about.items())
    source = "; images: " + ", ".join(data["images"]) if data["images"] else ""
    changed = " (with changes)" if data["changed"] else ""
    size = "quick sizes" if data["quick"] else "full sizes"
    wall, busy = (sum(took[clock] for took in data["seconds"].values()) / 60 for clock in ("wall", "cpu"))
    took = f"; {busy:.1f} minutes of CPU in {wall:.1f}" if wall else ""
    return (
        f"{cpu}, one CPU; {versions}; `XLA_FLAGS={flags}`; {size}{source}; commit `{str(data['commit'])[:12]}`{changed}, "
        f"`src` tree `{str(data['src'])[:12]}`{took}.\n"
    )


def losses(data: Data) -> str:
    """Where a peer wins, or is faster without reaching the tolerance."""
    lines = []
    for row in data["rows"]:
        ratio = row["ratio"]
        where = f"{row['peer']}: {row['what']}"
        if wins(row):
            lines.append(f"- **{where}**: {1 / ratio['median']:.3g} times as fast.\n")
        elif ratio["median"] <= 1:
            lines.append(f"- {where}: {1 / ratio['median']:.3g} times as fast, but {row['agreement']}.\n")
    return "".join(lines) or "- Nowhere in this run.\n"


def blocks(data: Data) -> dict[str, str]:
    """The text of each block of the page."""
    found = {name: table([row for row in data["rows"] if row["group"] == name]) for name in GROUPS}
    missing = "".join(f"- {gap['what']}: {gap['why']}.\n" for gap in data["missing"]) or "- Nothing.\n"
    return found | {"machine": machine(data), "wins": losses(data), "missing": missing}


def alone(data: Data) -> str:
    """The same as one page without prose."""
    text = blocks(data)
    parts = [f"## {title}\n\n{text[name]}" for name, title in GROUPS.items()]
    head = f"# Benchmarks against peers\n\n{text['machine']}\n## Where a peer wins\n\n{text['wins']}"
    return "\n".join([head, *parts, f"## Not measured\n\n{text['missing']}"])


def lines(data: Data) -> list[str | Data]:
    """What stands below each other in the plot: a question, and the rows that answer it."""
    found: list[str | Data] = []
    last = None
    for row in (row for name in GROUPS for row in data["rows"] if row["group"] == name):
        if row["what"] != last:
            last = row["what"]
            found.append(last)
        found.append(row)
    return found


def draw(data: Data, path: Path) -> None:
    """Bars from 1 to the median ratio, lines from the smallest to the largest, on a logarithmic axis."""
    from matplotlib.ticker import FuncFormatter, NullFormatter

    from trainphase.figures import style

    shown = lines(data)
    ends = [row["ratio"][k] for row in data["rows"] for k in ("min", "max")]
    with style.context():
        fig = style.figure(style.DOUBLE, 0.7 + 0.125 * len(shown))
        ax = fig.subplots()
        for at, row in enumerate(shown):
            if isinstance(row, str):
                ax.annotate(row, (0, at), xycoords=("axes fraction", "data"), xytext=(-4, 0), textcoords="offset points",
                            ha="right", va="center", fontsize=6.5, fontweight="bold")  # fmt: skip
                continue
            r = row["ratio"]
            colour = OURS if r["median"] > 1 else THEIRS if row["agrees"] else PALE
            ax.barh(at, r["median"] - 1, left=1, height=0.75, color=colour, hatch=None if row["agrees"] else "/////",
                    edgecolor="white", linewidth=0)  # fmt: skip
            ax.plot([r["min"], r["max"]], [at, at], color=style.INK, linewidth=0.8, solid_capstyle="butt")
            number = f"{r['median']:.0f}" if r["median"] >= 10 else f"{r['median']:.2g}"
            ax.annotate(number, (max(r["max"], 1), at), xytext=(3, 0), textcoords="offset points", va="center", fontsize=6)
        ax.axvline(1, color=style.INK, linewidth=0.8)
        ax.set_xscale("log")
        ax.set_xlim(min(*ends, 1) / 1.5, max(*ends, 1) * 2.5)
        ax.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
        ax.xaxis.set_minor_formatter(NullFormatter())
        ax.set_yticks(range(len(shown)), ["" if isinstance(row, str) else row["peer"] for row in shown], fontsize=6.5)
        ax.tick_params(axis="y", length=0)
        ax.tick_params(axis="x", top=True, labeltop=True)
        ax.set_ylim(len(shown) - 0.4, -0.6)
        ax.set_xlabel("the peer's CPU seconds over ours; hatched: it misses the tolerance")
        style.save(fig, path)


def main() -> None:
    """Keep, draw, fill; or beside; or check."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("summary", nargs="?", type=Path, help="the summary of a run")
    parser.add_argument("--beside", action="store_true", help="write .md and .png beside the summary and leave the page as it is")
    parser.add_argument("--check", action="store_true", help="write nothing")
    given = parser.parse_args()
    summary: Path | None = given.summary
    if not given.check:
        if summary is None:
            parser.error("which summary? Give the file that make bench BENCH=peers has written, or --check")
        data = json.loads(summary.read_text(encoding="utf-8"))
        if given.beside:
            summary.with_suffix(".md").write_text(alone(data), encoding="utf-8")
            draw(data, summary.with_suffix(".png"))
            return
        DATA.write_text(json.dumps(data, indent=1) + "\n", encoding="utf-8")
        draw(data, PICTURE)
    pages.fill(PAGE, DATA, blocks, given.check)


if __name__ == "__main__":
    main()
