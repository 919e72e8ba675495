"""Every claim of the documents beside what is measured: docs/reproduction.md from a run of ``trainphase reproduce all --quick``.

Usage: python scripts/write_reproduction.py FOLDER   the run's folder: writes docs/results/reproduction.json and fills
                                                     docs/reproduction.md
       python scripts/write_reproduction.py          fills the page from the data file as it is
       python scripts/write_reproduction.py --check  exit code 1 when the page is not what its data say
"""

from __future__ import annotations

import argparse
import json
from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pages

from trainphase.reproduce.papers import PAPERS
from trainphase.reproduce.tables import number

PAGE, DATA = pages.ROOT / "docs" / "reproduction.md", pages.ROOT / "docs" / "results" / "reproduction.json"
OURS = {"agree": "agrees", "differ": "differs", "not-testable": "not testable"}
# What the page needs of a claim; times and paths of a machine stay out of the repository.
FIELDS = (
    "paper", "item", "locator", "statement", "paper_value", "expected", "measured", "error", "tolerance", "reason", "verdict",
    "expected_verdict", "difference", "correction", "note",
)  # fmt: skip


def kept(report: dict[str, Any]) -> dict[str, Any]:
    """What of a run's claims.json stands in the repository; exits where the run is not whole."""
    if report["failed"] or not report["quick"]:
        raise SystemExit(f"not a whole run at quick sizes: failed {report['failed']}, quick {report['quick']}")
    claims = [{k: c[k] for k in FIELDS if c.get(k) not in (None, "")} for c in report["claims"]]
    figures = [{k: f[k] for k in ("paper", "figure", "title")} for f in report["figures"]]
    seconds = sum(part["seconds"] for part in (*report["claims"], *report["figures"]))
    return {"version": report["version"], "seed": report["seed"], "seconds": round(seconds), "figures": figures, "claims": claims}


def blocks(report: dict[str, Any]) -> dict[str, str]:
    """The page's blocks."""
    claims = report["claims"]
    order = [p for p in PAPERS if any(c["paper"] == p for c in claims)]
    return {
        "counts": _counts(report, order),
        "differ": _list(c for c in claims if c["verdict"] == "differ" and "paper_value" in c),
        "untestable": _list(c for c in claims if c["verdict"] == "not-testable"),
        "ours": _list(c for c in claims if c.get("expected_verdict") == "differ"),
        "claims": "\n".join(_section(paper, claims) for paper in order),
    }


def _counts(report: dict[str, Any], order: list[str]) -> str:
    rows = []
    for paper in [*order, None]:
        claims = [c for c in report["claims"] if paper in (None, c["paper"])]
        drawn = sum(paper in (None, f["paper"]) for f in report["figures"])
        found = Counter(c["verdict"] for c in claims)
        rows.append([PAPERS[paper].citation if paper else "**all**", drawn, len(claims), *(found[v] for v in OURS)])
    text = pages.table(["document", "figures", "claims", "agree", "differ", "not testable"], rows)
    how = f"Trainphase {report['version']}, quick sizes, seed {report['seed']}; its items took {report['seconds']} s together."
    return f"{text}\n{how}\n"


def _value(claim: dict[str, Any], key: str) -> str:
    text = number(claim.get(key))
    return f"{text} +- {claim['error']:.2g}" if key == "measured" and "error" in claim else text


def _stated(claim: dict[str, Any]) -> str:
    if "expected" not in claim:
        return _value(claim, "paper_value")
    return f"{_value(claim, 'paper_value')} (ours: {_value(claim, 'expected')})"


def _told(claim: dict[str, Any]) -> str:
    """A claim in words: what the paper says, what is measured, why."""
    why = "; ".join(claim[k] for k in ("correction", "note") if k in claim)
    ours = f", ours {_value(claim, 'expected')} ({OURS[claim['expected_verdict']]})" if "expected" in claim else ""
    said = f"paper {_value(claim, 'paper_value')}{ours}, measured {_value(claim, 'measured')}"
    return f"- **{claim['paper']}:{claim['item']}, {claim['locator']}**: {claim['statement']}: {said}. {why}"


def _list(claims: Iterable[dict[str, Any]]) -> str:
    return "\n".join(map(_told, claims)) + "\n" if (claims := list(claims)) else "Nothing.\n"


def _section(paper: str, claims: list[dict[str, Any]]) -> str:
    cells = [
        [f"{c['item']}: {c['locator']}", c["statement"], _stated(c), _value(c, "measured"), c["tolerance"], c["verdict"]]
        for c in claims
        if c["paper"] == paper
    ]
    clean = [[" ".join(str(x).split()).replace("|", "\\|") for x in row] for row in cells]
    table = pages.table(["claim", "statement", "paper", "measured", "tolerance", "verdict"], clean)
    return f"### {PAPERS[paper].citation}\n\n{PAPERS[paper].title}\n\n{table}"


def main() -> None:
    """Gather and fill, as the arguments say."""
    parser = argparse.ArgumentParser(description="Every claim of the documents beside what is measured: docs/reproduction.md.")
    parser.add_argument("folder", nargs="?", type=Path, help="the folder of a run of trainphase reproduce all --quick")
    parser.add_argument("--check", action="store_true", help="only compare the page with its data")
    args = parser.parse_args()
    if args.folder:
        report = kept(json.loads((args.folder / "claims.json").read_text(encoding="utf-8")))
        DATA.write_text(json.dumps(report, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    pages.fill(PAGE, DATA, blocks, args.check)


if __name__ == "__main__":
    main()
