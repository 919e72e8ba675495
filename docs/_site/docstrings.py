"""Docstrings of the house as reStructuredText.

They are written for people who read source: formulas in plain text, in which ``*``, ``_`` and ``|`` mean what they mean in
mathematics; names followed by " : " and what they are; sections underlined by hyphens. Marked up are code between backquotes,
references such as ``:func:`run```, lists stressed words and indented blocks. Everything else must come out as it is.
"""

from __future__ import annotations

import re
from typing import Any

# What keeps its meaning: code, references, a word or a few that are stressed.
KEPT = re.compile(r"``.+?``|:(?:[a-z]+:)?[a-z]+:`[^`]+`|`[^`\n]+`|(?<![^\s(])\*[A-Za-z]+(?: [a-z]+)*\*(?=[\s.,;:)])")
# One name or several, and what they are: at the start of a line, or of a sentence within it.
NAMES = r"(?:\*{0,2}[A-Za-z_]\w*(?:, \*{0,2}[A-Za-z_]\w*)*)"
ENTRY = re.compile(rf"(?:^|(?<=[.;] ))({NAMES}) : ", re.M)
# Within a section of parameters the space before the colon may be left out.
LISTED = re.compile(rf"^({NAMES}) ?: ", re.M)
LISTS = ("Parameters", "Attributes")
BULLET = re.compile(r"[-*] ")


def escaped(text: str) -> str:
    """Text whose signs stand for themselves, but for code and references; a name in single backquotes is code, too."""
    out, at = [], 0
    for found in KEPT.finditer(text):
        whole = found[0]
        out.append(re.sub(r"([\\*_|`<>])", r"\\\1", text[at : found.start()]))
        out.append(f"`{whole}`" if re.fullmatch(r"`[^`]+`", whole) else whole)
        # Between a mark and a letter that follows at once something must stand that is not seen.
        out.append("\\ " if re.match(r"\w", text[found.end() :]) else "")
        at = found.end()
    out.append(re.sub(r"([\\*_|`<>])", r"\\\1", text[at:]))
    return "".join(out)


def paragraph(text: str) -> str:
    """One line of reStructuredText; never the beginning of an enumeration, as "E. Alpaydin" would be."""
    line = escaped(" ".join(text.split()))
    line = re.sub(r"^(Returns|Raises)\b", r"**\1**", line)
    return f"\\ {line}" if re.match(r"\(?\w+[.)] |[-+*] ", line) else line


def entries(text: str, pattern: re.Pattern[str]) -> list[str] | None:
    """A list of definitions from "name : what it is" entries; None where the text is no such list."""
    starts = list(pattern.finditer(text))
    if not starts or starts[0].start() != 0:
        return None
    out = []
    for k, start in enumerate(starts):
        end = starts[k + 1].start() if k + 1 < len(starts) else len(text)
        names = ", ".join(f"``{name}``" for name in start[1].split(", "))
        inner = text[start.end() : end]
        within = [m.start() for m in ENTRY.finditer(inner)] if pattern is LISTED else []
        out += [names, *indented(blocks(dedented(inner[: within[0]] if within else inner))), ""]
        if within:
            out += [*(entries(inner[within[0] :], ENTRY) or []), ""]
    return out[:-1]


def dedented(text: str) -> str:
    """The text with the hanging indent of its second and later lines taken off."""
    first, *rest = text.strip().split("\n")
    depth = min((len(line) - len(line.lstrip()) for line in rest if line.strip()), default=0)
    return "\n".join([first, *(line[depth:] for line in rest)])


def indented(lines: list[str]) -> list[str]:
    """The lines one step further in."""
    return [f"   {line}" if line else "" for line in lines]


def bullets(text: str) -> list[str]:
    """A list: its items, each with its indented lines."""
    items = re.split(r"^[-*] ", text, flags=re.M)[1:]
    return [f"- {paragraph(item)}" for item in items]


def literal(text: str) -> list[str]:
    """A block that is shown as it stands: an example, or a formula on lines of its own."""
    body = dedented("\n" + text).strip("\n").split("\n")
    kind = ".. code-block:: pycon" if body[0].startswith(">>> ") else ".. code-block:: text"
    return [kind, "", *indented(body)]


def blocks(text: str, pattern: re.Pattern[str] = ENTRY) -> list[str]:
    """Paragraphs, lists and indented blocks, an empty line between each two."""
    out: list[str] = []
    parts = re.split(r"\n{2,}", text.strip("\n"))
    for part in parts:
        intro, *rest = re.split(r"\n(?=[-*] )", part, maxsplit=1)
        listed = "\n".join(rest)
        if BULLET.match(intro):
            intro, listed = "", part
        if intro.startswith((" ", ">>> ")):
            out += [*literal(intro), ""]
        elif intro:
            intro = re.sub(r"::$", ":", intro)
            found = entries(intro, pattern)
            out += [*(found if found is not None else split(intro)), ""]
        if listed:
            out += [*bullets(listed), ""]
    return out[:-1]


def split(text: str) -> list[str]:
    """A paragraph; what is said of errors after what is returned becomes one of its own."""
    first, sign, rest = text.partition(". Raises ") if text.startswith("Returns") else (text, "", "")
    return [paragraph(first + "."), "", paragraph("Raises " + rest)] if sign else [paragraph(text)]


def converted(text: str) -> list[str]:
    """The lines of a docstring as reStructuredText."""
    out: list[str] = []
    pieces = re.split(r"^(\w[^\n]*)\n-{3,}\n", text.strip("\n"), flags=re.M)
    out += blocks(pieces[0])
    for head, body in zip(pieces[1::2], pieces[2::2], strict=True):
        if head == "Raises":  # its entries are classes of errors
            out += ["", *(f"**Raises** {paragraph(line)}" for line in blocks_of(body))]
            continue
        out += ["", f".. rubric:: {head}", ""]
        out += section(body) if head in LISTS else blocks(body)
    return out


def section(body: str) -> list[str]:
    """A list of parameters, and what stands below it."""
    first, _, rest = body.strip("\n").partition("\n\n")
    found = entries(first, LISTED)
    out = found if found is not None else blocks(first)
    return out + (["", *blocks(rest)] if rest else [])


def blocks_of(body: str) -> list[str]:
    """The paragraphs of a text."""
    return [p for p in re.split(r"\n{2,}", body.strip("\n")) if p]


def signature(app: Any, what: str, name: str, thing: Any, options: Any, arguments: str | None, back: str | None) -> Any:
    """Sphinx's hook: the types that conf.py leaves unexplained are shown by their names alone, in unions too."""
    bare = [text and re.sub(r"TypeAliasForwardRef\('(\w+)'\)", r"\1", text) for text in (arguments, back)]
    return tuple(bare)


def process(app: Any, what: str, name: str, thing: Any, options: Any, lines: list[str]) -> None:
    """Sphinx's hook: the docstring of each object that is shown."""
    lines[:] = [*converted("\n".join(lines)), ""]
