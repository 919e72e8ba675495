"""The page on systems: its table is the catalogue's, and the commands that it suggests run (slow: 50 s)."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest

from trainphase import catalog
from trainphase.cli.main import cli, main

SCRIPT = "write_systems"
ROOT = Path(__file__).resolve().parents[2]
TEXT = (ROOT / "docs" / "systems.md").read_text()
FIRST = re.findall(r"\| `(trainphase .*?)` \|$", TEXT, re.M)


def test_the_table_is_the_catalogues(script) -> None:
    assert script.filled(TEXT) == TEXT


def test_every_system_is_named_in_a_question() -> None:
    questions = TEXT.partition("## All of them")[0]
    assert {name for name in catalog.systems() if f"`{name}`" not in questions} == set()


def test_every_first_command_names_what_exists() -> None:
    """Each command, its system and its parameters; that they run is the slow test below."""
    for line in FIRST:
        _, verb, *words = shlex.split(line)
        assert verb in cli.commands, line
        if verb != "locate":
            known = {p.name for p in catalog.system(words[0]).params}
            assert {w.partition("=")[0] for w in words[1:] if "=" in w} <= known, line


@pytest.mark.slow
@pytest.mark.parametrize("line", FIRST)
def test_a_first_command(line: str, capsys: pytest.CaptureFixture[str]) -> None:
    # The diagram at a size that a test can afford.
    assert main([word.replace(":256", ":16") for word in shlex.split(line)[1:]]) == 0
    assert capsys.readouterr().out


def test_there_are_first_commands() -> None:
    assert len(FIRST) >= 7
