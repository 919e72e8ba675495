"""The pages run: every console and python block of each, from top to bottom in one folder, and prints what the page shows.

A block below the line ``<!-- slow -->`` runs with the slow tests only. ``sh`` blocks are for the reader's machine: their
commands and options, and what they ask to reproduce, must exist. 40 s of one core in all.
"""

from __future__ import annotations

import contextlib
import importlib.util
import io
import re
import shlex
from pathlib import Path
from typing import Any

import pytest

from trainphase.cli.main import cli, main
from trainphase.reproduce.papers import select

ROOT = Path(__file__).resolve().parents[2]
PAGES = ("start", "systems", "choosing", "probe", "refinement", "explore", "data", "maths", "api")
# Pages whose blocks have a test of their own: README and extending.
ELSEWHERE = ("../README", "extending")
BLOCK = re.compile(r"(?:<!-- (?P<mark>[a-z]+) -->\n)?```(?P<kind>\w*)\n(?P<body>.*?)```", re.S)


def texts(page: str) -> str:
    return (ROOT / "docs" / f"{page}.md").read_text()


def sessions(body: str) -> list[tuple[str, list[str]]]:
    """The commands of a console block, each with the lines that the page shows below it."""
    found: list[tuple[str, list[str]]] = []
    for line in body.replace("\\\n", " ").splitlines():
        if line.startswith("$ "):
            found.append((line[2:], []))
        elif line.strip():
            found[-1][1].append(line)
    return found


def plain(text: str) -> str:
    return " ".join(text.split())


def missing(shown: list[str], out: str) -> list[str]:
    """The lines shown that are not printed, spaces aside; ``...`` stands for anything on the same line."""
    lines = [plain(line) for line in out.splitlines()]
    patterns = [".*".join(map(re.escape, plain(line).split("..."))) for line in shown if plain(line) != "..."]
    return [pattern for pattern in patterns if not any(re.fullmatch(pattern, line) for line in lines)]


def typed(line: str) -> str:
    """What the command prints, on both streams; it must end well."""
    words = shlex.split(line, comments=True)
    assert words[0] == "trainphase", line
    out = io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(out):
        code = main(words[1:])
    assert code == 0, f"{line}: {out.getvalue()}"
    for option in {"--plot", "--html", "--export", "--out"} & set(words):
        assert Path(words[words.index(option) + 1]).exists(), line
    return out.getvalue()


def console(body: str) -> None:
    """Type what a block shows."""
    for line, shown in sessions(body):
        assert missing(shown, typed(line)) == [], line


def python(body: str, name: str, space: dict[str, Any]) -> None:
    """Run a block; what a comment behind a print promises must be printed."""
    out = io.StringIO()
    with contextlib.redirect_stdout(out):
        exec(compile(body, name, "exec", dont_inherit=True), space)
    promised = re.findall(r"print\(.*\) +# (.*)$", body, re.M)
    assert missing(promised, out.getvalue()) == [], out.getvalue()


@pytest.mark.parametrize("page", PAGES)
def test_page(page: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Blocks of one page share a folder and, in Python, their names."""
    monkeypatch.chdir(tmp_path)
    space: dict[str, Any] = {"__name__": page}
    for number, block in enumerate(BLOCK.finditer(texts(page))):
        kind, body = block["kind"], block["body"]
        assert kind in ("console", "python", "sh", "text"), f"{page}: a block of kind {kind!r} is not known to this test"
        if kind == "console" and block["mark"] != "slow":
            console(body)
        elif block["mark"] == "slow":
            continue
        elif kind == "python" and "import torch" in body:
            if importlib.util.find_spec("torch") is not None:
                exec(compile(body, f"{page} block {number}", "exec", dont_inherit=True), {"__name__": page})
        elif kind == "python":
            python(body, f"{page} block {number}", space)


@pytest.mark.slow
def test_slow_blocks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    found = [block for page in PAGES for block in BLOCK.finditer(texts(page))]
    slow = [(block["kind"], block["body"]) for block in found if block["mark"] == "slow"]
    assert {kind for kind, _ in slow} == {"console", "python"}
    for kind, body in slow:
        if kind == "console":
            console(body)
        else:
            python(body, "slow block", {"__name__": "slow"})


def every_page() -> list[str]:
    """The pages of this folder and the README, as ``texts`` takes them."""
    return ["../README", *(p.relative_to(ROOT / "docs").with_suffix("").as_posix() for p in (ROOT / "docs").glob("*.md"))]


@pytest.mark.parametrize("page", sorted(every_page()))
def test_every_block_is_run_or_says_why_not(page: str) -> None:
    """A new page with code must be listed above; a block without a kind would be looked at by nobody."""
    kinds = {block["kind"] for block in BLOCK.finditer(texts(page))}
    # toml: the package of extending; py: callbacks of libraries that are not here, tested in tests/unit.
    assert kinds <= {"console", "python", "sh", "text"} | {"../README": {"py"}, "extending": {"toml"}}.get(page, set())
    assert not kinds & {"console", "python"} or page in (*PAGES, *ELSEWHERE)


@pytest.mark.parametrize("page", sorted(every_page()))
def test_commands_for_the_readers_machine_exist(page: str) -> None:
    bodies = [block["body"].replace("\\\n", " ") for block in BLOCK.finditer(texts(page)) if block["kind"] == "sh"]
    for line in [line for body in bodies for line in body.splitlines() if line.startswith("trainphase ")]:
        words = line.split("#")[0].split()
        known = {option for param in cli.commands[words[1]].params for option in param.opts}
        assert {word for word in words if word.startswith("--")} <= known, line


def test_what_is_to_be_reproduced_exists() -> None:
    asked = [line.split()[2:] for page in PAGES for line in re.findall(r"^\$? ?(trainphase reproduce .*)$", texts(page), re.M)]
    assert len(asked) >= 8
    for words in asked:
        assert select([word for word in words if not word.startswith("--")])


def test_the_comparison_can_fail() -> None:
    assert missing(["phase  periodic (...)"], "phase    periodic (margin 1)") == []
    assert missing(["phase  chaotic (...)"], "phase    periodic (margin 1)") != []
