"""The report as HTML: what stands in it without script, its policy, and that nothing in it can break out."""

from __future__ import annotations

import base64
import hashlib
import re
from html.parser import HTMLParser
from pathlib import Path

import fake_paper
import pytest
from fake_paper import NAME, claim, install

from trainphase.reproduce import page, papers
from trainphase.reproduce.claims import Measured, check
from trainphase.reproduce.context import Context
from trainphase.reproduce.runner import Figure, reproduce

VOID = {"meta", "img", "input", "br"}


class Tags(HTMLParser):
    """Every start tag with its attributes; raises when tags are not closed in order."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.found: list[tuple[str, dict[str, str | None]]] = []
        self.open: list[str] = []
        self.feed(text)
        assert self.open == []

    def handle_starttag(self, tag, attrs) -> None:
        self.found.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag) -> None:
        assert self.open.pop() == tag

    def named(self, tag: str) -> list[dict[str, str | None]]:
        return [attrs for name, attrs in self.found if name == tag]


@pytest.fixture
def paper(monkeypatch) -> fake_paper.Paper:
    return install(monkeypatch)


@pytest.fixture
def text(paper, tmp_path) -> str:
    reproduce(paper.figures, tmp_path, quick=True)
    return (tmp_path / page.NAME).read_text()


def test_claims_stand_beside_their_figure(text: str) -> None:
    tags = Tags(text)
    assert [s["id"] for s in tags.named("section")] == ["fake:1", "fake:2", "fake:theorem3.1"]
    rows = [r for r in tags.named("tr") if "data-verdict" in r]
    assert [r["data-verdict"] for r in rows] == ["differ", "differ", "agree", "agree", "not-testable"]  # quick: mean 0.5
    assert all(r["data-paper"] == NAME for r in rows)
    first = text[text.index('id="fake:1"') : text.index('id="fake:2"')]
    assert "<img" in first and "the mean, as it should be" in first and "0 to 9 have the mean 4.5" in first
    assert "rounding of a mean of ten numbers" in first and "differ by -4" in first
    assert "it needs a larger machine" in text


def test_figures_are_embedded_whole(text: str, tmp_path) -> None:
    images = Tags(text).named("img")
    kept = [base64.b64decode(str(i["src"]).removeprefix("data:image/png;base64,")) for i in images]
    assert kept == [(tmp_path / f"fake-{k}.png").read_bytes() for k in (1, 2)]
    assert all(i["alt"] for i in images)


def test_nothing_is_loaded_and_only_our_script_may_run(text: str) -> None:
    tags = Tags(text)
    policy = next(str(m["content"]) for m in tags.named("meta") if m.get("http-equiv") == "Content-Security-Policy")
    assert "default-src 'none'" in policy and "unsafe" not in policy and "http" not in policy
    for tag in ("style", "script"):
        (inside,) = re.findall(rf"<{tag}>(.*?)</{tag}>", text, re.S)
        assert base64.b64encode(hashlib.sha256(inside.encode()).digest()).decode() in policy
    for _, attrs in tags.found:
        assert not [name for name in attrs if name.startswith("on") or name in ("style", "href")]
        assert str(attrs.get("src", "data:")).startswith("data:")


def test_it_is_readable_without_script(text: str) -> None:
    tags = Tags(text)
    # Filters do nothing without the script, so that they are hidden until it has run; nothing else is.
    assert [name for name, attrs in tags.found if "hidden" in attrs] == ["form"]
    boxes = {(b["name"], b["value"]) for b in tags.named("input")}
    assert boxes == {("verdict", v) for v in ("agree", "differ", "not-testable")} | {("paper", NAME)}
    assert "prefers-color-scheme: dark" in text


def test_words_cannot_become_tags(tmp_path) -> None:
    bad = '</td><script>alert("x")</script>'
    item = Figure(NAME, "x", bad, claims=(claim(bad, 1.0, lambda c: Measured(1.0, note=bad)),))
    reproduce([item], tmp_path)
    text = (tmp_path / page.NAME).read_text()
    assert len(Tags(text).named("script")) == 1 and "&lt;script&gt;" in text


def test_failures_and_missing_pictures_are_told(paper, tmp_path) -> None:
    paper.trouble["2"] = ValueError("planted <b>")
    report = reproduce(paper.figures, tmp_path)
    assert "planted &lt;b&gt;" in page.html(report)
    Path(report.pictures[0].file).unlink()
    assert "fake-1.png is missing" in page.html(report)


def test_a_difference_without_explanation_is_told(tmp_path) -> None:
    def unexplained(**more) -> bool:
        found = claim("x", 1.0, lambda c: Measured(more["value"], note=more.get("note", "")))
        return page.unexplained(check(found, Context(Figure(NAME, "x", "x"), tmp_path)))

    assert unexplained(value=2.0)
    assert not unexplained(value=2.0, note="why")
    assert not unexplained(value=1.0)
    ours = claim("x", None, lambda c: Measured(2.0), expected=1.0)
    assert page.unexplained(check(ours, Context(Figure(NAME, "x", "x"), tmp_path)))


def test_all_is_everything(paper) -> None:
    assert papers.select(["all"]) == papers.select([]) == papers.select(["fake:1", "ALL"])
