"""The page inline in a notebook, Jupyter or marimo: a frame that holds all of it and can reach nothing of the notebook."""

from __future__ import annotations

import html
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from trainphase.errors import RequestError
from trainphase.explorer import bundle, entry, export, stored

HEIGHT = 720


class Inline:
    """The explorer of one or more diagrams, shown by the notebook that it is the last value of a cell in.

    ``document`` is what the page shows; ``save`` writes it to a file.
    """

    def __init__(self, document: dict[str, Any], height: object = HEIGHT) -> None:
        if isinstance(height, bool) or not isinstance(height, int) or not 100 <= height <= 10_000:
            raise RequestError(f"height = {height!r} is no height of a page; give pixels, from 100 to 10000")
        self.document, self.height = document, height

    def save(self, path: str | Path) -> Path:
        """Write the page to one file that needs neither server nor network."""
        return export.write(path, self.document)

    def _repr_html_(self) -> str:
        page = html.escape(bundle.page({**self.document, "server": None}).html)
        # Scripts of the page run in an origin of their own: the notebook around it, and its token, are out of their reach.
        return (
            f'<iframe title="{html.escape(self.document["title"])}" srcdoc="{page}" sandbox="allow-scripts allow-downloads" '
            f'style="width:100%;height:{self.height}px;border:1px solid #8888" loading="lazy"></iframe>'
        )

    def _mime_(self) -> tuple[str, str]:
        """What marimo shows."""
        return "text/html", self._repr_html_()

    def __repr__(self) -> str:
        return f"<explorer: {self.document['title']}>"


def explore(diagrams: Sequence[Any], title: str | None = None, height: int = HEIGHT) -> Inline:
    """The page for diagrams in memory, dense or refined."""
    return Inline(entry.alone([stored.of_diagram(d) for d in diagrams], title), height)
