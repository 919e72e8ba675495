"""The table of systems in docs/systems.md, from the catalogue.

Usage: python scripts/write_systems.py           fills the table
       python scripts/write_systems.py --check   exit code 1 when the page's table is not that of the catalogue
"""

from __future__ import annotations

import argparse
import re
import sys
from pathlib import Path

from trainphase import catalog

PAGE = Path(__file__).resolve().parents[1] / "docs" / "systems.md"
BLOCK = re.compile(r"(<!-- table -->\n).*?(<!-- end -->)", re.S)


def table() -> str:
    """One row for each built-in system: what it is, its phases, the parameters that may be axes, its paper."""
    rows = ["| system | what it is | phases | axes | paper |", "|---|---|---|---|---|"]
    for info in catalog.systems().values():
        axes = ", ".join(f"`{p.name}`" for p in info.params if p.axis)
        summary = info.summary.replace("|", r"\|")
        rows.append(f"| `{info.name}` | {summary} | {', '.join(info.vocabularies)} | {axes} | {info.paper} |")
    return "\n".join(rows) + "\n"


def filled(text: str) -> str:
    """The page with its table made anew."""
    return BLOCK.sub(lambda m: m[1] + table() + m[2], text)


def main() -> int:
    """Write the page, or compare it."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--check", action="store_true", help="write nothing; exit code 1 where the table is old")
    check = parser.parse_args().check
    old = PAGE.read_text()
    new = filled(old)
    if check:
        if new != old:
            print("docs/systems.md is not what the catalogue says: run python scripts/write_systems.py", file=sys.stderr)
        return int(new != old)
    PAGE.write_text(new)
    return 0


if __name__ == "__main__":
    sys.exit(main())
