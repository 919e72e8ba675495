"""Pages of documentation whose tables are made from a data file: what the scripts that write them share.

A block of a page stands between ``<!-- numbers: NAME -->`` and ``<!-- end -->``.
"""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
BLOCK = re.compile(r"(<!-- numbers: (\w+) -->\n).*?(<!-- end -->)", re.S)


def table(head: Sequence[Any], body: Sequence[Sequence[Any]]) -> str:
    """A table of Markdown."""
    lines = [head, ["---"] * len(head), *body]
    return "".join("| " + " | ".join(map(str, line)) + " |\n" for line in lines)


def filled(page: str, blocks: Mapping[str, str]) -> str:
    """The page with its blocks filled."""
    return BLOCK.sub(lambda m: m[1] + blocks[m[2]] + m[3], page)


def fill(page: Path, data: Path, blocks: Callable[[Any], Mapping[str, str]], check: bool) -> None:
    """Fill the page's blocks from the data file; with ``check`` write nothing, and exit with 1 where they would change."""
    text = page.read_text(encoding="utf-8")
    new = filled(text, blocks(json.loads(data.read_text(encoding="utf-8"))))
    if check:
        name = page.relative_to(ROOT).as_posix()
        sys.exit(f"{name} is not what its data say; run scripts/{Path(sys.argv[0]).name}" if new != text else 0)
    page.write_text(new, encoding="utf-8")
