"""Every relative link and picture of the README and the pages resolves, to the heading where one is named."""

from __future__ import annotations

import re
from pathlib import Path
from urllib.parse import unquote

import pytest

ROOT = Path(__file__).resolve().parents[2]
FILES = sorted([ROOT / "README.md", ROOT / "CHANGELOG.md", ROOT / "benchmarks" / "README.md", *(ROOT / "docs").rglob("*.md")])
LINK = re.compile(r"!?\[[^\]]*\]\(([^()\s]+)\)")


def prose(path: Path) -> str:
    """The text without its code."""
    return re.sub(r"`[^`\n]*`", "", re.sub(r"^```.*?^```", "", path.read_text(), flags=re.S | re.M))


def anchors(path: Path) -> set[str]:
    """The headings as links name them: lower case, spaces as hyphens, other signs left out."""
    text = re.sub(r"^```.*?^```", "", path.read_text(), flags=re.S | re.M)
    heads = re.findall(r"^#+ +(.*?) *$", text, re.M)
    return {re.sub(r"[^\w\- ]", "", head.lower()).replace(" ", "-") for head in heads}


def broken(path: Path) -> list[str]:
    """The links of a file that lead nowhere."""
    found = []
    for link in LINK.findall(prose(path)):
        if re.match(r"[a-z]+:", link):
            continue
        place, _, anchor = unquote(link).partition("#")
        target = (path.parent / place).resolve() if place else path
        whole = target.exists() and target.is_relative_to(ROOT)
        if not whole or (anchor and (target.suffix != ".md" or anchor not in anchors(target))):
            found.append(link)
    return found


@pytest.mark.parametrize("path", FILES, ids=lambda p: p.relative_to(ROOT).as_posix())
def test_links_resolve(path: Path) -> None:
    assert broken(path) == []


@pytest.mark.parametrize("path", FILES, ids=lambda p: p.relative_to(ROOT).as_posix())
def test_links_say_in_words_where_they_lead(path: Path) -> None:
    """A file name tells a reader of the site nothing."""
    assert re.findall(r"\[[^\]]*\.(?:md|json)\]\(", prose(path)) == []


def test_the_index_has_every_page() -> None:
    pages = {p.relative_to(ROOT / "docs").as_posix() for p in (ROOT / "docs").glob("*.md")} - {"index.md"}
    linked = {link.partition("#")[0] for link in LINK.findall(prose(ROOT / "docs" / "index.md"))}
    assert pages <= linked
    assert "docs/index.md" in LINK.findall(prose(ROOT / "README.md"))


def test_a_broken_link_is_found(tmp_path: Path) -> None:
    (tmp_path / "page.md").write_text("[a](nowhere.md) ![b](none.png) [c](#no-heading) `[d](code.md)` [e](https://example.org)")
    assert broken(tmp_path / "page.md") == ["nowhere.md", "none.png", "#no-heading"]
