"""Parts of pages that code fills when the site is built; where the pages are read as they are, a comment stands there."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

MARK = re.compile(r"^<!-- filled: (\w+) -->$", re.M)


def cell(text: str) -> str:
    """Text for a cell of a table of Markdown."""
    return re.sub(r"([\\|*_<])", r"\\\1", text)


def parameters() -> str:
    """For every built-in system its factory, parameters, observables and vocabularies, from the catalogue."""
    from trainphase import catalog

    out = []
    for info in catalog.systems().values():
        out += [f"### {info.name}", "", f"{cell(info.summary)}. In Python `{info.factory.replace(':', '.')}`.", ""]
        out += ["| parameter | default | unit | meaning |", "|---|---|---|---|"]
        for p in info.params:
            domain = "" if p.domain() in ("text", "a number") or p.name == "seed" else f"; {p.domain()}"
            default = "" if p.default is None else f"`{p.default}`"
            out.append(f"| `{p.name}` | {default} | {cell(p.units)} | {cell(p.help + domain)} |")
        seen = ", ".join(f"`{name}`" for name in info.observables)
        out += ["", f"Observables: {seen}. Vocabularies: {', '.join(f'`{v}`' for v in info.vocabularies)}.", ""]
    return "\n".join(out)


def phases() -> str:
    """The vocabularies with the definition of each label."""
    from trainphase.phase import VOCABULARIES

    out = []
    for words in VOCABULARIES.values():
        out += [f"### {words.name}", "", f"`trainphase.{words.name.upper()}`: {cell(words.question)}", ""]
        out += ["| label | symbol | definition |", "|---|---|---|"]
        out += [f"| `{p.label}` | {p.symbol} | {cell(p.definition)} |" for p in words.phases]
        out.append("")
    return "\n".join(out)


def commands() -> str:
    """Every command with its help, as the terminal shows it."""
    import click

    from trainphase.cli.main import cli

    out = []
    for name, command in cli.commands.items():
        with click.Context(cli, info_name="trainphase") as above:
            told = command.get_help(click.Context(command, parent=above, info_name=name, max_content_width=100))
        out += [f"## {name}", "", "```text", told.rstrip(), "```", ""]
    return "\n".join(out)


PARTS: dict[str, Callable[[], str]] = {"parameters": parameters, "phases": phases, "commands": commands}


def fill(app: Any, page: str, source: list[str]) -> None:
    """Sphinx's hook: put the parts in their places; a name that is none is an error."""
    source[0] = MARK.sub(lambda m: PARTS[m[1]](), source[0])
