"""The catalogue of errors is what the code says, and it holds the sentences that a user sees."""

from __future__ import annotations

import ast
import re
import sys
from pathlib import Path

import pytest

from trainphase import errors as known
from trainphase.cli.main import main

SCRIPT = "write_errors"


def test_the_page_is_what_the_code_says(script, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "argv", ["write_errors.py", "--check"])
    assert script.main() == 0, "run: python scripts/write_errors.py"


def test_a_changed_sentence_is_found_out(script, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    old = tmp_path / "errors.md"
    old.write_text(script.PAGE.read_text().replace("give at least 1", "give at least 2", 1))
    monkeypatch.setattr(script, "PAGE", old)
    monkeypatch.setattr(sys, "argv", ["write_errors.py", "--check"])
    assert script.main() == 1


def test_exit_codes_are_those_of_the_classes(script) -> None:
    codes = {name: code for name, (code, _) in script.exit_codes(script.modules()).items()}
    for name, found in vars(known).items():
        if isinstance(found, type) and issubclass(found, known.TrainphaseError):
            assert codes.pop(name) == found.exit_code, name
    assert set(codes) == {"BundleError", "ReproduceInterrupted"}  # those that live beside what raises them


def test_every_raise_of_an_error_is_counted(script) -> None:
    """Independent of how sentences are spelled: as many raises with a text as the page has, or more of one text."""
    trees = script.modules()
    codes = script.exit_codes(trees)
    for module, tree in trees.items():
        raised = [n.exc for n in ast.walk(tree) if isinstance(n, ast.Raise) and isinstance(n.exc, ast.Call)]
        here = [c for c in raised if isinstance(c.func, ast.Name) and c.func.id in codes and c.args]
        listed = [s for s in script.sentences({module: tree}, codes) if s.error in codes]
        assert len(listed) >= len(here), module


def test_sentences_are_spelled_with_placeholders(script) -> None:
    def spelled(text: str) -> str:
        return script.spelled(ast.parse(text, mode="eval").body)

    assert spelled('f"{name!r} has {len(points)} points" + "; give 2"') == "<name> has <len(points)> points; give 2"
    assert spelled('f"{shown(name)} is {a if b else c}"') == "<name> is <a if b else c>"
    assert spelled("f\"one of {', '.join(words)}\"") == "one of <...>"
    assert spelled("f\"a {'store' if stored else 'file'}\"") == "a <store | file>"


@pytest.mark.parametrize(
    "line", ["run cubic a=x", "run nothing", "diagram cubic", "run cubic b=1", "list stars", "explore no-store"]
)
def test_what_a_user_sees_is_in_the_catalogue(script, line: str, capsys: pytest.CaptureFixture[str]) -> None:
    """Some row fits what was said, where placeholders stand for anything; a row of placeholders alone does not count."""
    code = main(line.split())
    said = " ".join(capsys.readouterr().err.removeprefix("trainphase: ").split())
    rows = re.findall(r"^\| (\d+) \| `\w+` \| `` (.*) `` \|$", script.PAGE.read_text(), re.M)
    assert len(rows) > 400
    fitting = []
    for exit_code, text in rows:
        pieces = re.split(r"<[^<>]*(?:<[^<>]*>)?[^<>]*>", text.replace(r"\|", "|"))
        if max(map(len, pieces)) >= 12 and re.fullmatch(".*".join(map(re.escape, pieces)), said):
            fitting.append(int(exit_code))
    assert code in fitting, said
