"""``trainphase reproduce`` on a paper that does not exist: documents, tables, exit codes."""

from __future__ import annotations

import json
import sys

import pytest
from fake_paper import Paper, install

from trainphase.cli.main import main

KEYS = {"paper", "locator", "statement", "paper_value", "measured", "error", "tolerance", "verdict", "seconds"}


@pytest.fixture
def paper(monkeypatch, tmp_path) -> Paper:
    monkeypatch.chdir(tmp_path)
    return install(monkeypatch)


def test_the_document(paper, tmp_path, capsys) -> None:
    assert main(["reproduce", "fake", "--out", "here", "--json"]) == 0
    out, err = capsys.readouterr()
    assert out.count("\n") == 1
    document = json.loads(out, parse_constant=pytest.fail)
    assert all(row.keys() >= KEYS for row in document["claims"])
    assert [row["verdict"] for row in document["claims"]] == ["agree", "differ", "agree", "agree", "not-testable"]
    assert all(row.keys() >= {"paper", "figure", "file"} for row in document["figures"])
    assert [(tmp_path / row["file"]).is_file() for row in document["figures"]] == [True, True]
    assert document["claims"] == json.loads((tmp_path / "here" / "claims.json").read_text())["claims"]
    assert "1 of 3: fake:1" in err


def test_the_table(paper, capsys) -> None:
    assert main(["reproduce", "--quiet"]) == 0
    out, err = capsys.readouterr()
    assert err == ""
    assert "\x1b" not in out  # colours are for terminals
    row = next(line for line in out.splitlines() if "as it should be" in line)
    assert row.startswith("fake:1 ") and row.endswith("differ by -0.5; ours: agree")
    assert "5 claims: 3 agree, 1 differ, 1 not-testable" in out


def test_colours_on_a_terminal(paper, capsys, monkeypatch) -> None:
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True)
    monkeypatch.delenv("NO_COLOR", raising=False)
    assert main(["reproduce", "--quiet"]) == 0
    assert "\x1b[32magree" in capsys.readouterr().out
    monkeypatch.setenv("NO_COLOR", "1")
    assert main(["reproduce", "--quiet"]) == 0
    assert "\x1b" not in capsys.readouterr().out


def test_one_figure_quick_with_a_seed(paper, capsys, tmp_path) -> None:
    assert main(["reproduce", "fake:fig1", "--quick", "--seed", "7", "--json"]) == 0
    document = json.loads(capsys.readouterr().out)
    assert (document["quick"], document["seed"]) == (True, 7)
    assert document["claims"][0]["measured"] == 0.5  # the mean of 0 and 1, exact in binary
    assert (tmp_path / "reproduced" / "fake-1.png").is_file()
    assert paper.computed == {"1": 1}


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("fak", "there is no paper 'fak'"),
        ("fake:theorem3", "the nearest is theorem3.1"),
        ("fake:1 fake:44", "'44'"),
        ("fake --seed x", "--seed x"),
        ("fake --quik", "the nearest is --quick"),
    ],
)
def test_wrong_requests(paper, line: str, words: str, capsys, tmp_path) -> None:
    assert main(["reproduce", *line.split()]) == 2
    out, err = capsys.readouterr()
    assert out == "" and err.count("\n") == 1 and words in err
    assert list(tmp_path.iterdir()) == [] and not paper.computed


def test_a_folder_that_is_a_file(paper, capsys, tmp_path) -> None:
    (tmp_path / "reproduced").write_text("")
    assert main(["reproduce"]) == 2
    assert "is a file" in capsys.readouterr().err


def test_a_failing_figure(paper, capsys) -> None:
    paper.trouble["1"] = ValueError("planted")
    assert main(["reproduce", "--json", "--quiet"]) == 1
    out, err = capsys.readouterr()
    document = json.loads(out)
    assert document["failed"][0]["item"] == "fake:1"
    assert sum(document["counts"].values()) == len(document["claims"])
    assert [row["figure"] for row in document["figures"]] == ["2"]
    assert err == "trainphase: fake:1: computing failed: ValueError: planted\n"
    assert main(["reproduce", "--json", "--quiet", "--debug"]) == 1
    assert "raise self.trouble" in capsys.readouterr().err


def test_interrupted_and_continued(paper, capsys, tmp_path) -> None:
    paper.trouble["2"] = KeyboardInterrupt()
    assert main(["reproduce", "--quiet"]) == 130
    out, err = capsys.readouterr()
    assert out == ""
    assert err == (
        "trainphase: interrupted at fake:2, with 1 of 3 done; what is computed is kept in reproduced; "
        "give the same command again to continue\n"
    )
    paper.trouble.clear()
    assert main(["reproduce"]) == 0
    assert "fake:1, figure 1 of the fake; its data are kept from before" in capsys.readouterr().err
    assert paper.computed == {"1": 1, "2": 2}


def test_the_list_of_papers_says_what_can_be_reproduced(paper, capsys) -> None:
    assert main(["list", "papers", "--json"]) == 0
    rows = json.loads(capsys.readouterr().out)["papers"]
    assert rows[-1]["reproduce"] == ["fake:1", "fake:2", "fake:theorem3.1"]
    assert rows[-1]["name"] == "fake"
    assert rows[0]["systems"] and rows[0]["reproduce"] == []
