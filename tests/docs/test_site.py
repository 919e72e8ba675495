"""The site: every page is in the navigation, every public name in the reference, and docstrings come out as they are written.

The build itself is ``make site``, which needs Sphinx; nothing here does.
"""

from __future__ import annotations

import ast
import importlib
import re
import sys
from pathlib import Path

import pytest

import trainphase
from trainphase import catalog, data, probe, systems, testing, training_log
from trainphase.cli.main import cli

ROOT = Path(__file__).resolve().parents[2]
DOCS = ROOT / "docs"
SRC = ROOT / "src" / "trainphase"
ELSEWHERE = ("README", "CHANGELOG", "benchmarks/README")


@pytest.fixture(scope="module")
def site():
    """The package beside the pages, and what conf.py takes from it."""
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(DOCS))
        yield {name: importlib.import_module(f"_site.{name}") for name in ("navigation", "docstrings", "filled")}
    for name in [n for n in sys.modules if n == "_site" or n.startswith("_site.")]:
        del sys.modules[name]


def pages() -> set[str]:
    """Every page, as Sphinx calls it."""
    found = {p.relative_to(ROOT).with_suffix("").as_posix() for p in DOCS.rglob("*.md") if "_build" not in p.parts}
    return found | set(ELSEWHERE)


def listed(navigation) -> list[str]:
    """The pages of the navigation, one after the other."""
    out = []
    for page in navigation.LISTS:
        for _, items in navigation.groups((ROOT / f"{page}.md").read_text()):
            out += [navigation.document(path, page) for _, path in items]
    return out


def test_every_page_is_in_the_navigation_once(site) -> None:
    found = listed(site["navigation"])
    assert sorted(found) == sorted(pages() - {"docs/index"})


def test_groups_are_those_of_the_page(site) -> None:
    text = "# T\n\n- [a](a.md) b\n\n## G H\n\ntext [no](no.md)\n\n- [`c` d](../c.md#x): e\n- [e](sub/e.md)\n"
    navigation = site["navigation"]
    assert navigation.groups(text) == [("", [("a", "a.md")]), ("G H", [("e", "sub/e.md")])]
    assert navigation.document("../c.md", "docs/index") == "c"
    assert navigation.document("api/e.md", "docs/api") == "docs/api/e"
    assert ":caption: G H\n\ne </docs/sub/e>" in navigation.trees(text, "docs/index")
    assert [head for head, _ in navigation.groups((DOCS / "index.md").read_text())] == [
        "Start", "Guides", "Understanding", "Reference",
    ]  # fmt: skip


def test_what_a_page_would_fetch_is_found(site) -> None:
    fetched = site["navigation"].fetched
    assert fetched('<a href="https://x.org">x</a><img alt="" src="_images/a.png"><link rel="s" href="a.css">') == []
    assert fetched('<script async src="https://x.org/a.js"></script><link href=//y.org/b.css>') == [
        "https://x.org/a.js",
        "//y.org/b.css",
    ]


def named() -> set[str]:
    """What the pages of the reference take from the code, by full name."""
    text = "".join(p.read_text() for p in (DOCS / "api").glob("*.md"))
    return set(re.findall(r"^\.\. (?:auto|py:)\w+:: ([\w.]+)", text, re.M))


def exported(path: Path) -> list[str]:
    """``__all__`` of a file, without importing it."""
    for node in ast.parse(path.read_text()).body:
        if isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name) and node.targets[0].id == "__all__":
            return ast.literal_eval(node.value)
    raise AssertionError(f"{path} has no __all__")


def public() -> set[str]:
    """Every public name that the reference must have."""
    tables = {"EDGE", "REGIME", "TRAINING"}  # filled in from the code
    out = {f"trainphase.{n}" for n in trainphase.__all__ if n not in tables | {"__version__"}}
    for module in (systems, testing, training_log):
        out |= {f"{module.__name__}.{n}" for n in module.__all__}
    out |= {f"trainphase.probe.{n}" for n in probe.__all__}
    out |= {f"trainphase.probe.torch.{n}" for n in exported(SRC / "probe" / "torch.py")}
    out |= {f"trainphase.data.{n}" for n in data.__all__ if not n.isupper()}
    for package in ("theory", "spectrum"):
        out |= {f"trainphase.{package}.{p.stem}" for p in (SRC / package).glob("[a-z]*.py")}
    # Each stands in one place, where it is shown under its shorter name.
    twice = {"systems.descent", "systems.taylor", "probe.watch", "probe.diagnose"}
    return out - {f"trainphase.{name}" for name in twice}


def test_every_public_name_is_in_the_reference() -> None:
    assert public() - named() == set()
    assert len(public()) > 80


def test_the_reference_names_what_exists() -> None:
    for name in sorted(named()):
        if name.startswith("trainphase.probe.torch."):
            assert name.rpartition(".")[2] in exported(SRC / "probe" / "torch.py")
            continue
        if name == "trainphase.probe.torch":
            continue
        module, _, last = name.rpartition(".")
        try:
            importlib.import_module(name)
        except ImportError:
            assert hasattr(importlib.import_module(module), last), name


def test_what_code_fills_is_whole(site) -> None:
    filled = site["filled"]
    marks = [m for p in DOCS.rglob("*.md") for m in filled.MARK.findall(p.read_text())]
    assert sorted(marks) == sorted(filled.PARTS)
    commands, parameters, phases = filled.commands(), filled.parameters(), filled.phases()
    assert re.findall(r"^## (.*)$", commands, re.M) == list(cli.commands)
    assert "--refine" in commands and "\x1b" not in commands
    assert re.findall(r"^### (.*)$", parameters, re.M) == list(catalog.systems())
    assert "| `eps` |" in parameters and "| `edge-of-stability` | E |" in phases
    source = ["before\n<!-- filled: phases -->\nafter <!-- filled: phases -->"]
    filled.fill(None, "x", source)
    assert source[0] == f"before\n{phases}\nafter <!-- filled: phases -->"
    with pytest.raises(KeyError):
        filled.fill(None, "x", ["<!-- filled: nothing -->"])


HOUSE = """One step z_i* -> |z|^2 of E~_ by ``f_a`` and :func:`run`, a `name`s.

(a) is no list, and *common growth* is stressed, a * b * c is not. Returns nothing here.

Parameters
----------
a, b_c : numbers, shape (n,);
    and more of it. odd : another, in the same line.
**more : the rest:

    x = 1

- first * item
  goes on
- second

    z -> f(z)

>>> 1 + 1
2

Returns a pair. Raises RequestError for |x|.
"""


def test_docstrings_come_out_as_they_are(site) -> None:
    lines = site["docstrings"].converted(HOUSE)
    assert lines[0] == r"One step z\_i\* -\> \|z\|^2 of E~\_ by ``f_a`` and :func:`run`, a ``name``\ s."
    assert lines[2] == r"\ (a) is no list, and *common growth* is stressed, a \* b \* c is not. Returns nothing here."
    text = "\n".join(lines)
    assert ".. rubric:: Parameters\n\n``a``, ``b_c``\n   numbers, shape (n,); and more of it.\n\n``odd``\n   another" in text
    assert "``**more``\n   the rest:" in text
    assert "- first \\* item goes on\n- second\n" in text
    assert ".. code-block:: text\n\n   z -> f(z)" in text
    assert ".. code-block:: pycon\n\n   >>> 1 + 1\n   2" in text
    hook = site["docstrings"].signature(None, "function", "f", None, None, "(x: TypeAliasForwardRef('ArrayLike') | None)", None)
    assert hook == ("(x: ArrayLike | None)", None)
    assert text.endswith("**Returns** a pair.\n\n**Raises** RequestError for \\|x\\|.")
