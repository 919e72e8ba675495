"""The site's navigation is made from lists of links that are on the pages anyway, so that it cannot forget a page of them.

``docs/index.md`` has a heading for each group and below it a list, an item for each page; ``docs/api.md`` lists its parts.
"""

from __future__ import annotations

import posixpath
import re
from pathlib import Path
from typing import Any

LISTS = ("docs/index", "docs/api")
ITEM = re.compile(r"^- \[([^\]]+)\]\(([^()\s#]+\.md)\)", re.M)
ENTRANCE = """<!doctype html>
<meta charset="utf-8">
<title>Trainphase</title>
<meta http-equiv="refresh" content="0; url=docs/index.html">
<a href="docs/index.html">Trainphase: the documentation</a>
"""


def groups(text: str) -> list[tuple[str, list[tuple[str, str]]]]:
    """The headings of a page with the items below them: (heading, [(title, relative path), ...]); "" before the first."""
    found = []
    for part in re.split(r"^## +", "\n" + text, flags=re.M):
        head, _, body = part.partition("\n")
        items = ITEM.findall(body)
        if items:
            found.append((head.strip(), items))
    return found


def document(path: str, page: str) -> str:
    """The name under which Sphinx knows the page that ``page`` (docs/index) names by a relative path."""
    return posixpath.normpath(posixpath.join(posixpath.dirname(page), path)).removesuffix(".md")


def trees(text: str, page: str) -> str:
    """The tables of contents that Sphinx reads, hidden, one for each group."""
    out = []
    for head, items in groups(text):
        lines = [f"{title.replace('`', '')} </{document(path, page)}>" for title, path in items]
        caption = [f":caption: {head}"] if head else []
        out += ["", "```{toctree}", ":hidden:", *caption, "", *lines, "```"]
    return "\n".join(out)


def add(app: Any, page: str, source: list[str]) -> None:
    """Add its tables of contents to a page that lists others."""
    if page in LISTS:
        source[0] += "\n" + trees(source[0], page) + "\n"


def fetched(html: str) -> list[str]:
    """What a page would ask the network for when it is opened; links that a reader may follow are not meant."""
    return re.findall(r"<(?:script|link|img|iframe)\b[^>]*?(?:src|href)=[\"']?((?:https?:)?//[^\"'\s>]+)", html)


def finish(app: Any, why: Exception | None) -> None:
    """At the top of the site stands a page that leads to the first one; headings of groups get the level that readers need."""
    if why is not None:
        return
    for page in Path(app.outdir).rglob("*.html"):
        text = page.read_text(encoding="utf-8")
        if fetched(text):
            from sphinx.errors import SphinxError  # pyright: ignore[reportMissingImports]

            raise SphinxError(f"{page.name} would fetch {fetched(text)[0]}; nothing of the site may come from elsewhere")
        page.write_text(text.replace('class="caption" role="heading"', 'class="caption" role="heading" aria-level="2"'), "utf-8")
    (Path(app.outdir) / "index.html").write_text(ENTRANCE, encoding="utf-8")
