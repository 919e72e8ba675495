"""The page of all claims says what its data say, and its data hold every claim and figure that the code has."""

from __future__ import annotations

import json

import pytest

from trainphase.reproduce import papers

SCRIPT = "write_reproduction"


@pytest.fixture
def report(script):
    return json.loads(script.DATA.read_text(encoding="utf-8"))


def test_the_page_is_that_of_its_data(script, report) -> None:
    text = script.PAGE.read_text(encoding="utf-8")
    assert script.pages.filled(text, script.blocks(report)) == text


def test_every_claim_and_figure_of_the_code_is_on_the_page(report) -> None:
    items = [paper.load()[name] for paper in papers.PAPERS.values() for name in paper.items]
    claims = {(c.paper, i.name, c.locator, c.statement) for i in items for c in i.claims}
    assert claims == {(c["paper"], c["item"], c["locator"], c["statement"]) for c in report["claims"]}
    drawn = {(i.paper, i.name) for i in items if i.draw is not None}
    assert drawn == {(f["paper"], f["figure"]) for f in report["figures"]}


def test_whatever_differs_or_cannot_be_tested_says_why(report) -> None:
    told = [c for c in report["claims"] if c["verdict"] != "agree"]
    assert told
    for claim in told:
        assert len(claim.get("correction", "") + claim.get("note", "")) > 20, claim["statement"]


def test_a_run_that_failed_or_is_not_quick_is_refused(script, report) -> None:
    whole = {"failed": [], "quick": True, "version": "0", "seed": 0, "figures": [], "claims": []}
    assert script.kept(whole)["claims"] == []
    for change in ({"failed": [{"item": "luo:map"}]}, {"quick": False}):
        with pytest.raises(SystemExit, match="not a whole run"):
            script.kept({**whole, **change})
