"""Small tables for notebooks: text in HTML, without scripts, with the phases in their colours."""

from __future__ import annotations

import html
import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

# Rows of one table and letters of one cell: what a result shows of itself stays below 10 kB.
MOST_ROWS, MOST_LETTERS = 12, 120
_CELL = "text-align:left;padding:1px 12px 1px 0"


class Label:
    """A phase as a cell: its name on its colour."""

    def __init__(self, words: Any, label: str) -> None:
        self.label = label
        self.colour = next((p.colour for p in words.phases if p.label == label), "#FFFFFF")

    def html(self) -> str:
        """The cell."""
        ink = "#000" if _luminance(self.colour) > 0.18 else "#fff"
        style = f"background:{self.colour};color:{ink};border-radius:3px;padding:0 6px"
        return f'<span style="{style}">{html.escape(self.label)}</span>'


def shares(words: Any, phases: Mapping[str, float]) -> str:
    """A table of the share of each phase; ``words`` is their vocabulary."""
    return table(("phase", "share"), [(Label(words, name), f"{100 * share:.2f}%") for name, share in phases.items()])


def pair(words: Any, between: Sequence[str]) -> list[Any]:
    """Two phases as one cell."""
    return [Label(words, between[0]), " / ", Label(words, between[1])]


def table(header: Sequence[str], rows: Iterable[Sequence[Any]]) -> str:
    """A table; of many rows the first ones and how many there are besides. Cells are text, numbers, labels or lists of these."""
    rows = list(rows)
    top = "".join(f'<th style="{_CELL}">{html.escape(name)}</th>' for name in header)
    lines = ["".join(f'<td style="{_CELL}">{_cell(v)}</td>' for v in row) for row in rows[:MOST_ROWS]]
    more = len(rows) - MOST_ROWS
    if more > 0:
        lines.append(f'<td colspan="{len(header)}">and {more} more</td>')
    body = "".join(f"<tr>{line}</tr>" for line in lines)
    return f"<table><thead><tr>{top}</tr></thead><tbody>{body}</tbody></table>"


def whole(title: Sequence[Any] | str, parts: Iterable[str]) -> str:
    """A title, a cell like those of a table, and below it the parts."""
    return f"<div><p><b>{_cell(title)}</b></p>{''.join(parts)}</div>"


def line(text: str) -> str:
    """A line of text."""
    return f"<p>{html.escape(text)}</p>"


def _cell(value: Any) -> str:
    if isinstance(value, Label):
        return value.html()
    if isinstance(value, list | tuple):
        return "".join(_cell(v) for v in value)
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return "-"
    text = f"{value:.6g}" if isinstance(value, float) else str(value)
    return html.escape(text if len(text) <= MOST_LETTERS else f"{text[:MOST_LETTERS]}..")


def _luminance(colour: str) -> float:
    """Relative luminance of an sRGB colour, 0 to 1 (WCAG 2)."""
    parts = [int(colour[k : k + 2], 16) / 255 for k in (1, 3, 5)]
    red, green, blue = (x / 12.92 if x <= 0.03928 else ((x + 0.055) / 1.055) ** 2.4 for x in parts)
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue
