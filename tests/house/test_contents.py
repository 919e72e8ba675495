"""Everything that the documents contain is reproduced, or the list says why not (the list is support/contents.py)."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import contents
import pytest
from contents import ROWS, Row

from trainphase.reproduce import papers


def missing(row: Row, known: dict[str, Any]) -> str:
    """What is wanting of a row, in words; empty when nothing is."""
    if not row.item:
        return "" if len(row.why_not) > 20 else "neither an item nor a reason"
    if row.item not in known:
        return f"there is no item {row.item}"
    figure = known[row.item]
    if row.drawn and figure.draw is None:
        return f"{row.item} draws nothing"
    if not any(row.locator in claim.locator for claim in figure.claims):
        return f"{row.item} has no claim at {row.locator!r}"
    return ""


@pytest.fixture(scope="module")
def known() -> dict[str, Any]:
    return {f"{p.name}:{name}": item for p in papers.PAPERS.values() for name, item in p.load().items() if name in p.items}


def test_nothing_of_the_documents_is_missing(known) -> None:
    lacking = {f"{row.document}, {row.what}": missing(row, known) for row in ROWS}
    assert {k: v for k, v in lacking.items() if v} == {}


def test_a_missing_item_figure_or_claim_is_found(known) -> None:
    row = next(row for row in ROWS if row.item == "agarwala:4")
    item = known[row.item]
    assert missing(row, known) == ""
    assert "no item" in missing(row, {})
    assert "draws nothing" in missing(row, {row.item: replace(item, draw=None)})
    assert "no claim" in missing(row, {row.item: replace(item, claims=())})
    assert "nor a reason" in missing(Row("x", "y"), known)


def test_every_item_belongs_to_something_of_a_document(known) -> None:
    assert set(known) - {row.item for row in ROWS} == contents.OURS


def test_rows_are_listed_once() -> None:
    names = [(row.document, row.what) for row in ROWS]
    assert len(set(names)) == len(names)
    assert {row.document for row in ROWS} == {"agarwala", "notes", "slides", "chen"}


def test_every_item_has_claims_that_say_where_they_stand(known) -> None:
    for name, item in known.items():
        assert item.claims, name
        assert all(claim.locator.strip() for claim in item.claims), name
